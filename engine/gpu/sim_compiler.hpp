// What the files that make steps of a kernel's typed form share: sim_program.cpp (functions, statements) and
// sim_expressions.cpp (memory, expressions).
#pragma once

#include "gpu/sim_program.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace perigee::sim {

using namespace kernel;

class Compiler {
 public:
  explicit Compiler(const Module &module) : module_(module) {}

  Program run();

 private:
  using Step = kernel::Step; // of the typed form: sim::Step is written in full

  struct Binding { // an array of a function: a slot, with its first dimensions indexed
    std::int32_t slot = -1;
    std::vector<Operand> leading;
  };
  struct Frame {
    std::vector<Operand> variables;
    std::vector<Binding> arrays;
    std::vector<Operand> results;
  };

  // ------------------------------------------------------------------------------------------------ registers ----
  Operand allocate(Type type);

  Operand uniform(const Uniform &u);

  std::int32_t add_slot(const ArraySlot &slot) {
    program_.arrays.push_back(slot);
    return std::int32_t(program_.arrays.size()) - 1;
  }
  std::int32_t add_site(Position at, Site::Kind kind, std::int32_t array) {
    program_.sites.push_back({at, f_ ? f_->chunk : module_.chunk, array, kind});
    return std::int32_t(program_.sites.size()) - 1;
  }

  sim::Step &emit(Code code, Operand to = 0, Operand a = 0, Operand b = 0, Operand c = 0);
  sim::Step &emit(Code code, Cost cost, Operand to, Operand a = 0, Operand b = 0, Operand c = 0);
  std::int32_t here() const { return std::int32_t(program_.steps.size()); }

  // Types none, boolean, int64, float32 and float64.
  sim::Step &move(Operand to, Operand from, Type type);
  void assign(Operand to, Operand from, Type type);

  void begin(Frame &frame, const Function &f);

  // ----------------------------------------------------------------------------------------------- statements ----
  void block(const std::vector<Instruction> &steps);

  struct Deeper {
    explicit Deeper(Compiler &c) : c(c) { c.program_.depth = std::max(c.program_.depth, ++c.depth_); }
    ~Deeper() { --c.depth_; }
    Compiler &c;
  };

  void step(const Instruction &s);

  void for_loop(const Instruction &s);

  // --------------------------------------------------------------------------------------------------- memory ----
  Operand widen(Operand v, Type type);

  // An index: a float must be whole.
  Operand index(Ref ref, std::int32_t array, int dimension);

  // The operands that index an element; where they begin.
  std::int32_t indices(std::int32_t array, const std::vector<Ref> &arguments);

  sim::Step &access(Code code, std::int32_t array, std::int32_t first, Position at, Site::Kind kind, Operand to,
                    Operand a, Operand b = 0);

  void store(const Instruction &s);

  Operand load(const Node &n);

  Operand atomic(const Node &n);

  // ---------------------------------------------------------------------------------------------- expressions ----
  const Node &node(Ref r) const { return f_->nodes[std::size_t(r)]; }

  // Whether computing it for a lane that does not need it does no harm.
  bool harmless(Ref ref) const;

  Operand constant(const Node &n);

  Operand value(Ref ref);

  // An operand that only some lanes need: those where the test is true (`otherwise`: false).
  Operand guarded(Operand test, bool otherwise, Ref ref, Type type);

  Operand convert(Operand v, Type from, Type to);

  Operand arithmetic(const Node &n, Code whole, Code single, Code wide);

  Operand compare(const Node &n, Code whole, Code single, Code wide);

  Operand mathematics(const Node &n);

  Operand warp(const Node &n);

  // The function in its place. Its results.
  std::vector<Operand> call(const Node &n);

  const Module &module_;
  Program program_;
  const Function *f_ = nullptr;
  Frame *frame_ = nullptr;
  bool outermost_ = true;
  std::int32_t top_ = 0, most_ = 0, depth_ = 0, site_ = -1;
  std::int32_t counter_ = -1; // the hidden variable of the loop around
  Position last_position_;
  std::map<const Array *, std::int32_t> shared_;
};

} // namespace perigee::sim
