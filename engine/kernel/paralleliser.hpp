// What the files of automatic parallelisation share.
#pragma once

#include "kernel/parallel.hpp"

#include "core/abi.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace perigee::kernel {

// Counters and what is added to them stay within, so that nothing wraps.
inline constexpr std::int64_t far = std::int64_t(1) << 40;
inline constexpr std::int64_t most_times = 1 << 16;
inline constexpr std::int64_t worth = 32768; // as many operations make a piece: threads take some 10 us to start
inline constexpr std::size_t most_loops = 64, most_nodes = 20000;

struct Dependent { // the rounds of a loop are not proved independent
  std::string why;
  Position where;
};

// A sum of a multiple of the loop's counter, multiples of what the loop leaves alone, and a constant.
struct Linear {
  std::int64_t times = 0, plus = 0;
  std::map<std::int32_t, std::int64_t> variables;
  std::map<std::pair<std::int32_t, std::int64_t>, std::int64_t> lengths; // of array, dimension

  bool operator==(const Linear &) const = default;
  bool constant() const { return times == 0 && variables.empty() && lengths.empty(); }
  void scale(std::int64_t by) {
    times *= by;
    plus *= by;
    for (auto &[key, n] : variables)
      n *= by;
    for (auto &[key, n] : lengths)
      n *= by;
  }
  void add(const Linear &other) {
    times += other.times;
    plus += other.plus;
    for (const auto &[key, n] : other.variables)
      if ((variables[key] += n) == 0)
        variables.erase(key);
    for (const auto &[key, n] : other.lengths)
      if ((lengths[key] += n) == 0)
        lengths.erase(key);
  }
  bool small() const {
    auto few = [](std::int64_t n) { return n >= -most_times && n <= most_times; };
    return few(times) && plus >= -far && plus <= far && variables.size() + lengths.size() <= 8 &&
           std::all_of(variables.begin(), variables.end(), [&](auto &v) { return few(v.second); }) &&
           std::all_of(lengths.begin(), lengths.end(), [&](auto &v) { return few(v.second); });
  }
};

// A variable that the rounds of a loop combine.
struct Total {
  enum class How { sum, product, extreme, choice } how = How::sum;
  std::int32_t variable = -1;
  Math math = Math::minimum; // extreme
  bool first = false;        // extreme: the variable is the first operand
  Op compare = Op::less;     // choice: if (e compare v) or (v compare e) then v = e end,
  bool left = false;         // of which this is the second
  bool greatest() const { return how == How::extreme ? math == Math::maximum : left; }
  bool operator==(const Total &) const = default;
};

// The loops of a function, from the outermost inwards.
class Paralleliser {
 public:
  Paralleliser(Module &module, std::vector<LoopVerdict> &verdicts)
      : module_(module), f_(module.functions[0]), verdicts_(verdicts) {}

  void run();

 private:
  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }
  Type type(std::int32_t variable) const { return f_.variables[std::size_t(variable)].type; }
  const std::string &name(std::int32_t variable) const { return f_.variables[std::size_t(variable)].name; }
  const std::string &array_name(std::int32_t array) const { return f_.arrays[std::size_t(array)].name; }
  void block(std::vector<Instruction> &steps);

  // -------------------------------------------------------------------------------- what a loop does (parallel.cpp)
  struct Access {
    std::int32_t array = -1;
    std::vector<Ref> indices;
    bool writes = false;
    Position at;
  };
  struct Uses {
    std::map<std::int32_t, int> reads; // of variables
    std::map<std::int32_t, std::vector<const Instruction *>> writes;
    std::vector<Access> accesses;
    std::set<std::int32_t> cleared;                            // the function's own arrays, where they are made
    std::set<std::int32_t> named;                              // arrays whose lengths are asked for
    std::map<const Instruction *, const Instruction *> chosen; // the one assignment of an if without else
    std::int64_t work = 0;                                     // operations of a round; `worth` for what is not known
  };
  void read(Ref ref, Uses &uses) const;
  void scan(const std::vector<Instruction> &steps, Uses &uses) const;
  void scan(const Instruction &s, Uses &uses) const;
  static void merge(Uses &uses, Uses &inner);
  static void leaves(const std::vector<Instruction> &steps, bool inner);
  void examine(const Instruction &loop);
  bool outlives(std::int32_t v) const;
  void variables();
  bool mentions(Ref ref, std::int32_t v) const;
  bool same(Ref x, Ref y) const;
  std::optional<Total> total_of(std::int32_t v, const Instruction &s) const;
  bool spine(Ref ref, const Total &total, Type t) const;
  std::optional<Linear> linear(Ref ref, int depth = 0) const;
  std::optional<Linear> form(std::int32_t array, std::size_t dimension) const;
  std::string counter_name() const { return "'" + name(loop_->variable) + "'"; }
  void arrays();
  bool accessed(std::int32_t array) const;
  [[noreturn]] void refuse_array(std::int32_t a) const;
  bool alike(const Access &x, const Access &y) const;

  // -------------------------------------------------------------------------------- in pieces (parallel_pieces.cpp)
  // ---- Nodes and variables of a function being made.
  struct Writer {
    Function &f;
    Ref add(Node n) {
      f.nodes.push_back(std::move(n));
      return Ref(f.nodes.size()) - 1;
    }
    Ref integer(std::int64_t value) { return constant(Type::int64, double(value), value); }
    Ref constant(Type type, double value, std::int64_t whole = 0) {
      Node n;
      n.type = type;
      n.number = value;
      n.imaginary = type == Type::complex128 ? value : 0;
      n.integer = whole;
      return add(n);
    }
    Ref make(Op op, Type type, Ref a, Ref b = -1) {
      Node n;
      n.op = op;
      n.type = type;
      n.a = a;
      n.b = b;
      return add(n);
    }
    Ref math(Math which, Type type, std::vector<Ref> arguments) {
      Node n;
      n.op = Op::math;
      n.math = which;
      n.type = type;
      n.arguments = std::move(arguments);
      return add(n);
    }
    Ref variable(std::int32_t v) {
      Node n;
      n.op = Op::variable;
      n.type = f.variables[std::size_t(v)].type;
      n.index = v;
      return add(n);
    }
    std::int32_t new_variable(const char *name, Type type) {
      f.variables.push_back({name, type, {}});
      return std::int32_t(f.variables.size()) - 1;
    }
    Instruction assign(std::int32_t v, Ref value) {
      Instruction s{Step::assign, {}};
      s.variable = v;
      s.a = value;
      return s;
    }
    Ref element(std::int32_t array, Type type, std::int32_t index) {
      Node n;
      n.op = Op::load;
      n.type = type;
      n.index = array;
      n.arguments = {variable(index)};
      n.integer = 1; // checked
      return add(n);
    }
    Instruction put(std::int32_t array, std::int32_t index, Ref value) {
      Instruction s{Step::store, {}};
      s.array = array;
      s.arguments = {variable(index)};
      s.integer = 1;
      s.a = value;
      return s;
    }
  };
  static std::int32_t dtype_of(Type type);
  static Ref identity(Writer &w, const Total &total, Type t);
  static bool takes_nan(const Total &total, Type t);
  static Instruction combined(Writer &w, const Total &total, Ref e);
  void rewrite(std::vector<Instruction> &steps, Writer &w, const std::map<std::int32_t, std::int32_t> &flags) const;
  Ref retold(Ref ref, const Total &total, Writer &w, const std::map<std::int32_t, std::int32_t> &flags,
             std::vector<Instruction> &before) const;
  Ref held(Writer &w, Ref bound, std::vector<Instruction> &out);
  static Ref whole(Writer &w, Ref bound, Math round);
  void require(Writer &w, Ref &all, Ref condition);
  void require_near(Writer &w, Ref &all, Ref value);
  Ref conditions(Writer &w, Ref from, Ref to);
  static void drop_unused(Function &g);
  std::vector<Instruction> split(Instruction &loop);
  static void hardly(Instruction &s);

  struct Form {
    std::int32_t array = -1;
    std::size_t dimension = 0;
    Linear index;
  };

  Module &module_;
  Function &f_;
  std::vector<LoopVerdict> &verdicts_;
  std::vector<Function> made_;
  const Instruction *loop_ = nullptr;
  Uses uses_, all_; // of the loop's body; of the function
  std::vector<Total> totals_;
  std::vector<std::int32_t> scalars_, arrays_; // that the body takes as they are
  std::vector<Form> forms_;                    // of arrays that it writes
  std::vector<std::int32_t> apart_;            // of Step::spawn
};

} // namespace perigee::kernel
