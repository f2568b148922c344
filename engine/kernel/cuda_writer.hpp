// Writes a module's functions as CUDA C++ (cuda.hpp): what cuda.cpp (functions and variables), cuda_statements.cpp and
// cuda_expressions.cpp share.
#pragma once

#include "core/abi.hpp"
#include "core/status.hpp"
#include "kernel/cuda.hpp"
#include "kernel/ranges.hpp"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace perigee::kernel::cuda {

// How tightly an expression's outermost operator binds, as in C++.
enum Precedence { choice = 1, either, both, equality, relation, sum, product, prefix, primary };

struct Text {
  std::string s;
  int binding = primary;
  bool narrow = false; // of int64: its type in C++ is int
};

// cuda_names.cpp. A name of CUDA C++ that stands for one of the kernel's; one that is not taken yet (it is afterwards).
std::string identifier(const std::string &name);
std::string unused(const std::string &wish, std::set<std::string> &taken);
const char *element_name(std::int32_t dtype);
bool is_integer(std::int32_t dtype);
std::string type_text(Type t);
std::string number_text(double x, bool single);

// What all functions of a module share.
struct Shared {
  const Module &module;
  const CudaOptions &options;
  std::set<std::string> parts; // of the prelude, that are used
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::string>> lines; // of the sources, by chunk
};

class Writer {
 public:
  Writer(Shared &shared, std::size_t index)
      : shared_(shared), f_(shared.module.functions[index]), index_(index), kernel_(index == 0),
        ranges_(f_, shared.options.wide ? std::int64_t{1} << 46 : std::int64_t{1} << 30,
                shared.options.wide ? std::int64_t{1} << 31 : std::int64_t{1} << 20) {}
  std::string prototype();
  std::string results_struct();
  std::string define();
  std::string codes();
  std::vector<std::size_t> callees() const;

 private:
  void names();
  std::string results_name() const { return shared_.names[index_] + "_results"; }
  bool partials() const { return kernel_ && shared_.options.spread > 0 && !f_.results.empty(); }
  bool is_parameter(std::int32_t v) const;
  std::string array_type(const Array &a);
  std::string parameter_type(std::int32_t v);
  bool only_single(std::int32_t v) const;
  int uses(Ref ref) const;
  static int uses_in(const std::vector<Instruction> &steps, Ref ref);
  static bool assigned(const std::vector<Instruction> &steps, std::int32_t v);
  bool narrow_variable(std::int32_t v) const;
  std::string variable_type(std::int32_t v);
  void use(const char *part) { shared_.parts.insert(part); }
  // A variable is declared where it is first assigned, if all that use it come after that in the same block; a
  // loop's counter by the loop; else at the top of the function.
  struct Place {
    std::vector<const std::vector<Instruction> *> blocks; // around it, outermost first
    const Instruction *step = nullptr;                    // of the innermost
    bool assigns = false;
  };
  void find_places();
  void note(std::int32_t v, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step,
            bool assigns);
  void note_node(Ref ref, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step);
  void visit(const std::vector<Instruction> &steps, std::vector<const std::vector<Instruction> *> &around);
  bool fits_with_step(const Instruction &s) const;
  void line(const std::string &text, Position at);
  std::string comment_first() const;
  void own_array(std::size_t i);
  void block(const std::vector<Instruction> &steps, bool outermost = false);
  void body(const std::vector<Instruction> &steps);
  std::size_t assignments(std::int32_t v);
  std::string target(std::int32_t v, const Instruction &s);
  void step(const Instruction &s);
  void if_chain(const Instruction &s, const std::string &head);
  void return_values(const Instruction &s);
  bool invariant(Ref ref, const std::vector<Instruction> &steps, std::int32_t counter) const;
  void for_loop(const Instruction &s);
  void store(const Instruction &s);
  std::string as_element(Ref ref, const Array &a);
  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }
  static std::string paren(const Text &t, int at_least) { return t.binding >= at_least ? t.s : "(" + t.s + ")"; }
  Text negation(Ref ref);
  std::string indices(const std::vector<Ref> &refs);
  Text two(const Node &n, const char *op, int binding);
  Text integer_two(const Node &n, Ref ref, const char *op, int binding, const char *wrapping);
  Text value(Ref ref);
  Text constant(const Node &n);
  Text convert(const Node &n);
  Text modulo(const Node &n, Ref);
  Text load(const Node &n);
  Text call(const Node &n);
  Text place(const Node &n, bool from_one = true);
  Text atomic(const Node &n);
  Text warp(const Node &n);
  Text mathematics(const Node &n, Ref ref);
  Shared &shared_;
  const Function &f_;
  const std::size_t index_;
  const bool kernel_;
  const Ranges ranges_;
  std::string out_;
  int depth_ = 0, last_line_ = 0, spread_ = 0;
  const Instruction *skipped_ = nullptr;
  std::vector<std::string> variables_, arrays_;
  std::set<std::string> taken_;
  std::map<std::int32_t, std::vector<Place>> places_;
  std::map<const Instruction *, std::vector<std::int32_t>> declared_at_;
  std::set<std::int32_t> outside_, counters_, wide_counters_;
};

} // namespace perigee::kernel::cuda
