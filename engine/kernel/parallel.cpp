#include "kernel/parallel.hpp"

#include "core/abi.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace perigee::kernel {

namespace {

constexpr std::int64_t far = std::int64_t(1) << 40; // counters and what is added to them stay within, so nothing wraps
constexpr std::int64_t most_times = 1 << 16;
constexpr std::int64_t worth = 32768; // as many operations make a piece: threads take some 10 us to start
constexpr std::size_t most_loops = 64, most_nodes = 20000;

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

class Paralleliser {
 public:
  Paralleliser(Module &module, std::vector<LoopVerdict> &verdicts)
      : module_(module), f_(module.functions[0]), verdicts_(verdicts) {}

  void run() {
    block(f_.body);
    for (Function &g : made_)
      module_.functions.push_back(std::move(g));
  }

 private:
  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }
  Type type(std::int32_t variable) const { return f_.variables[std::size_t(variable)].type; }
  const std::string &name(std::int32_t variable) const { return f_.variables[std::size_t(variable)].name; }
  const std::string &array_name(std::int32_t array) const { return f_.arrays[std::size_t(array)].name; }

  void block(std::vector<Instruction> &steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool loop = steps[i].step == Step::for_ || steps[i].step == Step::while_ || steps[i].step == Step::repeat;
      if (loop) {
        LoopVerdict verdict{f_.chunk, steps[i].at};
        try {
          examine(steps[i]);
          std::vector<Instruction> instead = split(steps[i]);
          verdict.parallel = true;
          verdicts_.push_back(verdict);
          const auto here = steps.erase(steps.begin() + std::ptrdiff_t(i));
          const std::size_t count = instead.size();
          steps.insert(here, std::make_move_iterator(instead.begin()), std::make_move_iterator(instead.end()));
          i += count - 1;
          continue;
        } catch (const Dependent &d) {
          verdict.why = d.why;
          verdict.where = d.where;
          verdicts_.push_back(verdict);
        }
      }
      for (auto &b : steps[i].blocks)
        block(b);
    }
  }

  // --------------------------------------------------------------------------------------------- what a loop does ----
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

  void read(Ref ref, Uses &uses) const {
    const Node &n = node(ref);
    static constexpr Math heavy = Math::sin;
    uses.work += n.op == Op::power || (n.op == Op::math && n.math >= heavy && n.math <= Math::fmod) ? 20 : 1;
    if (n.op == Op::variable)
      ++uses.reads[n.index];
    if (n.op == Op::load)
      uses.accesses.push_back({n.index, n.arguments, false, n.at});
    if (n.op == Op::length)
      uses.named.insert(n.index);
    if (n.op == Op::call) {
      uses.work = worth;
      for (std::size_t i = 0; i < n.arguments.size(); ++i)
        if (n.arguments[i] < 0) {
          const Function &callee = module_.functions[std::size_t(n.index)];
          Access access{-1 - n.arguments[i], {}, false, n.at};
          access.writes = callee.arrays[std::size_t(callee.parameters[i].index)].written;
          for (const Row &row : n.rows)
            if (row.argument == std::int32_t(i))
              access.indices = row.indices;
          uses.accesses.push_back(access);
        }
    }
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0)
        read(r, uses);
    for (const Ref r : n.arguments)
      if (r >= 0)
        read(r, uses);
    for (const Row &row : n.rows)
      for (const Ref r : row.indices)
        read(r, uses);
  }

  void scan(const std::vector<Instruction> &steps, Uses &uses) const {
    for (const Instruction &s : steps)
      scan(s, uses);
  }

  void scan(const Instruction &s, Uses &uses) const {
    for (const Ref r : {s.a, s.b, s.c})
      if (r >= 0)
        read(r, uses);
    for (const Ref r : s.arguments)
      if (r >= 0)
        read(r, uses);
    if (s.step == Step::assign || s.step == Step::for_)
      uses.writes[s.variable].push_back(&s);
    for (const std::int32_t t : s.targets)
      if (t >= 0)
        uses.writes[t].push_back(&s);
    if ((s.step == Step::assign || s.step == Step::check_index) && s.array >= 0)
      uses.named.insert(s.array);
    if (s.step == Step::store) {
      if (s.arguments.empty())
        uses.cleared.insert(s.array);
      else
        uses.accesses.push_back({s.array, s.arguments, true, s.at});
    }
    if (s.step == Step::if_ && s.blocks[0].size() == 1 && s.blocks[1].empty() && s.blocks[0][0].step == Step::assign)
      uses.chosen[&s.blocks[0][0]] = &s;
    if (s.step == Step::while_ || s.step == Step::repeat || s.step == Step::for_) {
      Uses inner;
      for (const auto &b : s.blocks)
        scan(b, inner);
      const bool counted = s.step == Step::for_ && node(s.a).op == Op::constant && node(s.b).op == Op::constant &&
                           node(s.b).type == Type::int64 && node(s.c).op == Op::constant && node(s.c).integer != 0;
      const std::int64_t rounds =
          counted ? std::clamp<std::int64_t>((node(s.b).integer - node(s.a).integer) / node(s.c).integer + 1, 0, worth)
                  : worth;
      uses.work = std::min<std::int64_t>(worth, uses.work + rounds * inner.work);
      merge(uses, inner);
      return;
    }
    for (const auto &b : s.blocks)
      scan(b, uses);
  }

  static void merge(Uses &uses, Uses &inner) {
    for (const auto &[v, n] : inner.reads)
      uses.reads[v] += n;
    for (const auto &[v, list] : inner.writes)
      uses.writes[v].insert(uses.writes[v].end(), list.begin(), list.end());
    uses.accesses.insert(uses.accesses.end(), inner.accesses.begin(), inner.accesses.end());
    uses.cleared.insert(inner.cleared.begin(), inner.cleared.end());
    uses.named.insert(inner.named.begin(), inner.named.end());
    uses.chosen.insert(inner.chosen.begin(), inner.chosen.end());
  }

  // What leaves a loop before its last round.
  static void leaves(const std::vector<Instruction> &steps, bool inner) {
    for (const Instruction &s : steps) {
      if (s.step == Step::return_)
        throw Dependent{"return may leave it, so that its rounds have to run in order", s.at};
      if (s.step == Step::break_ && !inner)
        throw Dependent{"break may leave it, so that its rounds have to run in order", s.at};
      const bool loop = s.step == Step::for_ || s.step == Step::while_ || s.step == Step::repeat;
      for (const auto &b : s.blocks)
        leaves(b, inner || loop);
    }
  }

  // Throws Dependent where the rounds of a loop are not proved independent, or else fills what split() needs.
  void examine(const Instruction &loop) {
    if (loop.step != Step::for_)
      throw Dependent{"how often it runs is not known before it begins: only a for loop can run on several threads",
                      loop.at};
    if (type(loop.variable) != Type::int64)
      throw Dependent{"it counts in fractions: count in whole numbers and multiply", loop.at};
    if (node(loop.c).op != Op::constant || node(loop.c).integer == 0 || std::abs(node(loop.c).integer) > most_times)
      throw Dependent{"its step is not known when it is compiled", loop.at};
    if (f_.nodes.size() > most_nodes || made_.size() >= most_loops)
      throw Dependent{"the kernel is too large to look at all of its loops", loop.at};
    leaves(loop.blocks[0], false);
    uses_ = Uses();
    scan(loop.blocks[0], uses_);
    loop_ = &loop;
    all_ = Uses();
    scan(f_.body, all_);
    variables();
    arrays();
  }

  // Whether a variable is used anywhere but in the loop's body.
  bool outlives(std::int32_t v) const {
    for (const Argument &p : f_.parameters)
      if (!p.is_array && p.index == v)
        return true;
    auto count = [&](const Uses &uses) {
      const auto reads = uses.reads.find(v);
      const auto writes = uses.writes.find(v);
      return (reads == uses.reads.end() ? 0 : std::size_t(reads->second)) +
             (writes == uses.writes.end() ? 0 : writes->second.size());
    };
    return count(all_) > count(uses_);
  }

  // ------------------------------------------------------------------------------------------------------ variables
  // ----
  void variables() {
    totals_.clear();
    scalars_.clear();
    for (const auto &[v, list] : uses_.writes) {
      if (v == loop_->variable || !outlives(v))
        continue;
      std::optional<Total> total;
      int reads = 0;
      for (const Instruction *s : list) {
        const auto one = total_of(v, *s);
        if (!one || (total && *one != *total)) {
          reads = -1;
          break;
        }
        total = one;
        ++reads;
      }
      const auto found = uses_.reads.find(v);
      if (reads < 0 || found == uses_.reads.end() || found->second != reads)
        throw Dependent{"'" + name(v) +
                            "' is declared outside it and goes from one round to the next, and is no plain total "
                            "(s = s + e, m = math.max(m, e)): declare it inside if each round has its own",
                        list[0]->at};
      totals_.push_back(*total);
    }
    for (const auto &[v, n] : uses_.reads)
      if (!uses_.writes.contains(v) && v != loop_->variable)
        scalars_.push_back(v);
  }

  bool mentions(Ref ref, std::int32_t v) const {
    Uses uses;
    read(ref, uses);
    return uses.reads.contains(v);
  }

  bool same(Ref x, Ref y) const {
    if (x == y)
      return true;
    if (x < 0 || y < 0)
      return false;
    const Node &a = node(x), &b = node(y);
    if (a.op != b.op || a.type != b.type || a.math != b.math || a.index != b.index || a.op == Op::call ||
        (a.integer != b.integer && a.op != Op::load) || !(a.number == b.number) || !(a.imaginary == b.imaginary) ||
        a.arguments.size() != b.arguments.size() || !same(a.a, b.a) || !same(a.b, b.b) || !same(a.c, b.c))
      return false;
    for (std::size_t i = 0; i < a.arguments.size(); ++i)
      if (!same(a.arguments[i], b.arguments[i]))
        return false;
    return true;
  }

  // v = v + e and the like, as which every assignment to a total has to be.
  std::optional<Total> total_of(std::int32_t v, const Instruction &s) const {
    const Type t = type(v);
    if (s.step != Step::assign || s.array >= 0 || t == Type::none || t == Type::boolean)
      return {};
    Total total;
    total.variable = v;
    const auto choice = uses_.chosen.find(&s);
    if (choice != uses_.chosen.end() && !mentions(s.a, v)) {
      const Node &test = node(choice->second->a);
      if ((test.op != Op::less && test.op != Op::less_equal) || node(test.a).type != t)
        return {};
      total.how = Total::How::choice;
      total.compare = test.op;
      total.left = node(test.a).op == Op::variable && node(test.a).index == v;
      const Ref mine = total.left ? test.a : test.b, other = total.left ? test.b : test.a;
      if (node(mine).op != Op::variable || node(mine).index != v || !same(other, s.a))
        return {};
      return total;
    }
    const Node &root = node(s.a);
    if (root.op == Op::add || root.op == Op::subtract)
      total.how = Total::How::sum;
    else if (root.op == Op::multiply && t != Type::complex128) // (1 + 0i) times infinity is NaN
      total.how = Total::How::product;
    else if (root.op == Op::math && (root.math == Math::minimum || root.math == Math::maximum)) {
      total.how = Total::How::extreme;
      total.math = root.math;
      total.first = mentions(root.arguments[0], v);
    } else
      return {};
    if (!spine(s.a, total, t))
      return {};
    if (total.how == Total::How::extreme && t == Type::int64)
      total.first = false; // which of two equal integers makes no difference
    return total;
  }

  // Whether v is one operand of a tree of the total's operation.
  bool spine(Ref ref, const Total &total, Type t) const {
    const Node &n = node(ref);
    if (n.type != t)
      return false;
    if (n.op == Op::variable)
      return n.index == total.variable;
    Ref x = n.a, y = n.b;
    bool ordered = false; // v may be the first operand alone
    switch (total.how) {
    case Total::How::sum:
      if (n.op != Op::add && n.op != Op::subtract)
        return false;
      ordered = n.op == Op::subtract;
      break;
    case Total::How::product:
      if (n.op != Op::multiply)
        return false;
      break;
    default:
      if (n.op != Op::math || n.math != total.math)
        return false;
      x = n.arguments[0];
      y = n.arguments[1];
      if (t != Type::int64 && mentions(x, total.variable) != total.first)
        return false;
    }
    const bool in_x = mentions(x, total.variable), in_y = mentions(y, total.variable);
    if (in_x == in_y || (ordered && in_y))
      return false;
    return spine(in_x ? x : y, total, t);
  }

  // --------------------------------------------------------------------------------------------------------- arrays
  // ---- An index as a sum of the counter and of what the loop leaves alone.
  std::optional<Linear> linear(Ref ref, int depth = 0) const {
    const Node &n = node(ref);
    if (n.type != Type::int64 || depth > 40)
      return {};
    Linear out;
    switch (n.op) {
    case Op::constant:
      out.plus = n.integer;
      break;
    case Op::length:
      out.lengths[{n.index, n.integer}] = 1;
      break;
    case Op::variable: {
      if (n.index == loop_->variable) {
        out.times = 1;
        break;
      }
      const auto written = uses_.writes.find(n.index);
      if (written == uses_.writes.end()) {
        out.variables[n.index] = 1;
        break;
      }
      const Instruction &by = *written->second[0];
      // (One that outlives the loop may be read before it is assigned.)
      if (written->second.size() != 1 || by.step != Step::assign || outlives(n.index))
        return {};
      return linear(by.a, depth + 1);
    }
    case Op::negate: {
      const auto a = linear(n.a, depth + 1);
      if (!a)
        return {};
      out = *a;
      out.scale(-1);
      break;
    }
    case Op::add:
    case Op::subtract: {
      const auto a = linear(n.a, depth + 1);
      auto b = linear(n.b, depth + 1);
      if (!a || !b)
        return {};
      out = *a;
      if (n.op == Op::subtract)
        b->scale(-1);
      out.add(*b);
      break;
    }
    case Op::multiply: {
      auto a = linear(n.a, depth + 1), b = linear(n.b, depth + 1);
      if (!a || !b)
        return {};
      if (!b->constant())
        std::swap(a, b);
      if (!b->constant() || b->plus < -most_times || b->plus > most_times)
        return {};
      out = *a;
      if (b->plus == 0)
        return Linear();
      out.scale(b->plus);
      break;
    }
    default:
      return {};
    }
    return out.small() ? std::optional(out) : std::nullopt;
  }

  // The accesses of an array in one dimension, where all of them are the same sum of the counter.
  std::optional<Linear> form(std::int32_t array, std::size_t dimension) const {
    std::optional<Linear> out;
    for (const Access &access : uses_.accesses) {
      if (access.array != array)
        continue;
      if (access.indices.size() <= dimension)
        return {};
      const auto one = linear(access.indices[dimension]);
      if (!one || one->times == 0 || (out && *out != *one))
        return {};
      out = one;
    }
    return out;
  }

  std::string counter_name() const { return "'" + name(loop_->variable) + "'"; }

  void arrays() {
    arrays_.clear();
    forms_.clear();
    apart_.clear();
    std::set<std::int32_t> used, written;
    for (const Access &access : uses_.accesses) {
      if (uses_.cleared.contains(access.array))
        continue; // made anew in every round
      used.insert(access.array);
      if (access.writes)
        written.insert(access.array);
    }
    for (const std::int32_t a : uses_.named)
      if (!uses_.cleared.contains(a))
        used.insert(a);
    arrays_.assign(used.begin(), used.end());
    for (const std::int32_t a : written) {
      const std::size_t ndim = std::size_t(f_.arrays[std::size_t(a)].ndim);
      std::size_t d = 0;
      while (d < ndim && !form(a, d))
        ++d;
      if (d == ndim)
        refuse_array(a);
      forms_.push_back({a, d, *form(a, d)});
    }
    for (const std::int32_t a : written)
      for (const std::int32_t b : used) {
        if (a == b || (written.contains(b) && b < a))
          continue;
        const Array &x = f_.arrays[std::size_t(a)], &y = f_.arrays[std::size_t(b)];
        if (!x.lengths.empty() || !y.lengths.empty() || !accessed(b))
          continue; // the function's own share memory with nothing
        const auto mine = std::find_if(forms_.begin(), forms_.end(), [&](const Form &f) { return f.array == a; });
        const auto theirs = x.ndim == y.ndim ? form(b, mine->dimension) : std::nullopt;
        const bool alike = theirs && *theirs == mine->index && x.dtype == y.dtype && x.contiguous == y.contiguous;
        apart_.insert(apart_.end(), {a, b, std::int32_t(alike)});
      }
  }

  bool accessed(std::int32_t array) const {
    return std::any_of(uses_.accesses.begin(), uses_.accesses.end(),
                       [&](const Access &access) { return access.array == array; });
  }

  [[noreturn]] void refuse_array(std::int32_t a) const {
    auto follows = [&](const Access &access) {
      for (const Ref r : access.indices)
        if (const auto one = linear(r); one && one->times != 0)
          return true;
      return false;
    };
    for (const Access &access : uses_.accesses)
      if (access.array == a && access.writes && !follows(access))
        throw Dependent{"two of its rounds may write the same element of '" + array_name(a) +
                            "': no index there follows from " + counter_name() + " alone",
                        access.at};
    const Access *write = nullptr;
    for (const Access &access : uses_.accesses)
      if (access.array == a && access.writes)
        write = write ? write : &access;
    for (const Access &access : uses_.accesses)
      if (access.array == a && !access.writes && !(alike(access, *write)))
        throw Dependent{"a round may read what another one writes: '" + array_name(a) +
                            "' is read here at another index than it is written at (line " +
                            std::to_string(write->at.line) + ")",
                        access.at};
    throw Dependent{"two of its rounds may write the same element of '" + array_name(a) +
                        "', which is written at different indices",
                    write->at};
  }
  // Whether two accesses have an index in common that follows from the counter.
  bool alike(const Access &x, const Access &y) const {
    for (std::size_t d = 0; d < std::min(x.indices.size(), y.indices.size()); ++d) {
      const auto a = linear(x.indices[d]), b = linear(y.indices[d]);
      if (a && b && a->times != 0 && *a == *b)
        return true;
    }
    return false;
  }

  // -------------------------------------------------------------------------------------------------------- in pieces
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

  static std::int32_t dtype_of(Type type) {
    switch (type) {
    case Type::boolean:
      return PG_BOOL;
    case Type::int64:
      return PG_INT64;
    case Type::float32:
      return PG_FLOAT32;
    case Type::complex128:
      return PG_COMPLEX128;
    default:
      return PG_FLOAT64;
    }
  }

  // What changes no total: -0, so that a sum of -0 stays it.
  static Ref identity(Writer &w, const Total &total, Type t) {
    switch (total.how) {
    case Total::How::sum:
      return w.constant(t, t == Type::int64 ? 0 : -0.0, 0);
    case Total::How::product:
      return w.constant(t, 1, 1);
    default:
      return w.constant(t, total.greatest() ? -HUGE_VAL : HUGE_VAL, total.greatest() ? INT64_MIN : INT64_MAX);
    }
  }

  // Of math.min(v, e) with floats, NaN in e is taken and then passed over: pieces tell whether they have met one.
  static bool takes_nan(const Total &total, Type t) {
    return total.how == Total::How::extreme && total.first && t != Type::int64;
  }

  // `v` combined with `e` as the loop does.
  static Instruction combined(Writer &w, const Total &total, Ref e) {
    const std::int32_t v = total.variable;
    const Type t = w.f.variables[std::size_t(v)].type;
    switch (total.how) {
    case Total::How::sum:
      return w.assign(v, w.make(Op::add, t, w.variable(v), e));
    case Total::How::product:
      return w.assign(v, w.make(Op::multiply, t, w.variable(v), e));
    case Total::How::extreme:
      return w.assign(v, w.math(total.math, t,
                                total.first ? std::vector<Ref>{w.variable(v), e} : std::vector<Ref>{e, w.variable(v)}));
    default: {
      Instruction choice{Step::if_, {}};
      choice.a = total.left ? w.make(total.compare, Type::boolean, w.variable(v), e)
                            : w.make(total.compare, Type::boolean, e, w.variable(v));
      choice.blocks.resize(2);
      choice.blocks[0].push_back(w.assign(v, e));
      return choice;
    }
    }
  }

  // The body's assignments to totals in a piece's function: sums and products may be reordered; see takes_nan.
  void rewrite(std::vector<Instruction> &steps, Writer &w, const std::map<std::int32_t, std::int32_t> &flags) const {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (auto &b : steps[i].blocks)
        rewrite(b, w, flags);
      if (steps[i].step != Step::assign)
        continue;
      const std::int32_t v = steps[i].variable;
      const auto total = std::find_if(totals_.begin(), totals_.end(), [&](const Total &t) { return t.variable == v; });
      if (total == totals_.end() || total->how == Total::How::choice)
        continue;
      std::vector<Instruction> before;
      steps[i].a = retold(steps[i].a, *total, w, flags, before);
      const std::size_t count = before.size();
      steps.insert(steps.begin() + std::ptrdiff_t(i), before.begin(), before.end());
      i += count;
    }
  }

  Ref retold(Ref ref, const Total &total, Writer &w, const std::map<std::int32_t, std::int32_t> &flags,
             std::vector<Instruction> &before) const {
    Node n = w.f.nodes[std::size_t(ref)];
    if (n.op == Op::variable)
      return ref;
    const Type t = n.type;
    if (total.how != Total::How::extreme) {
      if (n.op == Op::subtract && t != Type::int64) {
        n.op = Op::add;
        n.b = w.make(Op::negate, t, n.b);
      }
      Ref &inner = mentions(n.a, total.variable) ? n.a : n.b;
      inner = retold(inner, total, w, flags, before);
      n.integer = n.op == Op::add || n.op == Op::multiply;
      return w.add(n);
    }
    const std::size_t mine = mentions(n.arguments[0], total.variable) ? 0 : 1;
    n.arguments[mine] = retold(n.arguments[mine], total, w, flags, before);
    if (takes_nan(total, t)) {
      const std::int32_t kept = w.new_variable("(value)", t), flag = flags.at(total.variable);
      before.push_back(w.assign(kept, n.arguments[1 - mine]));
      before.push_back(
          w.assign(flag, w.make(Op::logical_or, Type::boolean, w.variable(flag),
                                w.make(Op::not_equal, Type::boolean, w.variable(kept), w.variable(kept)))));
      n.arguments[1 - mine] = w.variable(kept);
    }
    return w.add(n);
  }

  // A bound of the loop, computed once.
  Ref held(Writer &w, Ref bound, std::vector<Instruction> &out) {
    const Node n = node(bound);
    if (n.op == Op::constant)
      return bound;
    if (n.op == Op::convert) { // of a float, which must be whole where the loop starts
      const Ref inner = held(w, n.a, out);
      Node convert = n;
      convert.a = inner;
      return w.add(convert);
    }
    const std::int32_t v = w.new_variable("(bound)", n.type);
    out.push_back(w.assign(v, bound));
    return w.variable(v);
  }

  // As an integer: `round` says how where it may be none.
  static Ref whole(Writer &w, Ref bound, Math round) {
    const Node n = w.f.nodes[std::size_t(bound)];
    if (n.type == Type::int64 && n.op != Op::convert)
      return bound;
    Ref value = n.op == Op::convert ? n.a : bound;
    if (w.f.nodes[std::size_t(value)].type == Type::int64)
      return value;
    if (w.f.nodes[std::size_t(value)].type == Type::float32)
      value = w.make(Op::convert, Type::float64, value);
    return w.math(Math::truncate_int64, Type::int64, {w.math(round, Type::float64, {value})});
  }

  void require(Writer &w, Ref &all, Ref condition) {
    all = all < 0 ? condition : w.make(Op::logical_and, Type::boolean, all, condition);
  }
  void require_near(Writer &w, Ref &all, Ref value) {
    const Node n = w.f.nodes[std::size_t(value)];
    if (n.op == Op::constant && n.integer >= -far && n.integer <= far)
      return;
    require(w, all, w.make(Op::less_equal, Type::boolean, w.integer(-far), value));
    require(w, all, w.make(Op::less_equal, Type::boolean, value, w.integer(far)));
  }

  // That no index counts from the end, where two might mean one element, and that nothing wraps. -1: nothing to ask.
  Ref conditions(Writer &w, Ref from, Ref to) {
    const std::int64_t step = node(loop_->c).integer;
    const Ref start = whole(w, from, Math::floor), limit = whole(w, to, step > 0 ? Math::floor : Math::ceil);
    Ref all = -1;
    require_near(w, all, start);
    require_near(w, all, limit);
    for (const Form &form : forms_) {
      const Linear &index = form.index;
      const Ref end = (index.times > 0) == (step > 0) ? start : limit;
      const Node known = w.f.nodes[std::size_t(end)];
      if (known.op == Op::constant && known.integer >= -far && known.integer <= far && index.variables.empty() &&
          index.lengths.empty()) {
        require(w, all, w.constant(Type::boolean, 0, index.times * known.integer + index.plus >= 1));
        continue;
      }
      Ref least = w.make(Op::add, Type::int64, w.make(Op::multiply, Type::int64, end, w.integer(index.times)),
                         w.integer(index.plus));
      auto more = [&](Ref value, std::int64_t times) {
        require_near(w, all, value);
        least = w.make(Op::add, Type::int64, least, w.make(Op::multiply, Type::int64, value, w.integer(times)));
      };
      for (const auto &[v, times] : index.variables)
        more(w.variable(v), times);
      for (const auto &[key, times] : index.lengths) {
        Node n;
        n.op = Op::length;
        n.type = Type::int64;
        n.index = key.first;
        n.integer = key.second;
        more(w.add(n), times);
      }
      require(w, all, w.make(Op::less_equal, Type::boolean, w.integer(1), least));
    }
    return all;
  }

  // Leaves the nodes that the body uses: those of the whole function would count in decisions by size.
  static void drop_unused(Function &g) {
    std::vector<Ref> moved(g.nodes.size(), -1);
    std::vector<Node> nodes;
    const auto move = [&](auto &self, Ref &ref) -> void {
      if (ref < 0)
        return;
      Ref &to = moved[std::size_t(ref)];
      if (to < 0) {
        Node n = g.nodes[std::size_t(ref)];
        for (Ref *r : {&n.a, &n.b, &n.c})
          self(self, *r);
        for (Ref &r : n.arguments)
          self(self, r);
        for (Row &row : n.rows)
          for (Ref &r : row.indices)
            self(self, r);
        to = Ref(nodes.size());
        nodes.push_back(std::move(n));
      }
      ref = to;
    };
    const auto steps = [&](auto &self, std::vector<Instruction> &list) -> void {
      for (Instruction &s : list) {
        for (Ref *r : {&s.a, &s.b, &s.c})
          move(move, *r);
        for (Ref &r : s.arguments)
          move(move, r);
        for (auto &b : s.blocks)
          self(self, b);
      }
    };
    steps(steps, g.body);
    g.nodes = std::move(nodes);
  }

  // What stands for a loop whose rounds are independent; the function of a piece of it goes to made_.
  std::vector<Instruction> split(Instruction &loop) {
    Function g = f_;
    g.body.clear();
    g.results.clear();
    g.parameters.clear();
    g.name += ", a piece of the loop of line " + std::to_string(loop.at.line);
    g.at = loop.at;
    Writer in{g}, w{f_};
    const std::int32_t piece = in.new_variable("(piece)", Type::int64), first = in.new_variable("(first)", Type::int64),
                       last = in.new_variable("(last)", Type::int64);
    for (const std::int32_t v : {piece, first, last})
      g.parameters.push_back({false, v});

    Instruction spawn{Step::spawn, loop.at};
    const std::int32_t pieces = w.new_variable("(pieces)", Type::int64);
    spawn.variable = loop.variable;
    spawn.targets = {pieces};
    spawn.array = std::int32_t(module_.functions.size() + made_.size());
    spawn.integer = std::max<std::int64_t>(1, worth / std::max<std::int64_t>(1, uses_.work));
    spawn.apart = apart_;
    for (const std::int32_t v : scalars_) {
      g.parameters.push_back({false, v});
      spawn.arguments.push_back(w.variable(v));
    }
    for (const std::int32_t a : arrays_) {
      g.parameters.push_back({true, a});
      spawn.arguments.push_back(-1 - a);
    }
    for (std::size_t a = 0; a < g.arrays.size(); ++a)
      if (!uses_.cleared.contains(std::int32_t(a)))
        g.arrays[a].lengths.clear(); // given, not its own

    // Totals: of each piece in arrays of the caller.
    std::vector<Instruction> combine, ends;
    const std::int32_t p = w.new_variable("(piece)", Type::int64);
    std::map<std::int32_t, std::int32_t> flags;
    auto part = [&](Type t) {
      Array array;
      array.name = "(totals)";
      array.dtype = dtype_of(t);
      array.ndim = 1;
      array.contiguous = array.written = true;
      g.arrays.push_back(array);
      array.lengths = {most_pieces};
      f_.arrays.push_back(array);
      const std::int32_t mine = std::int32_t(g.arrays.size()) - 1, its = std::int32_t(f_.arrays.size()) - 1;
      g.parameters.push_back({true, mine});
      spawn.arguments.push_back(-1 - its);
      return std::pair(its, mine);
    };
    for (const Total &total : totals_) {
      const Type t = type(total.variable);
      g.body.push_back(in.assign(total.variable, identity(in, total, t)));
      const auto [its, mine] = part(t);
      ends.push_back(in.put(mine, piece, in.variable(total.variable)));
      const std::int32_t value = w.new_variable("(total)", t);
      combine.push_back(w.assign(value, w.element(its, t, p)));
      Instruction join = combined(w, total, w.variable(value));
      if (takes_nan(total, t)) {
        const std::int32_t flag = in.new_variable("(nan)", Type::boolean);
        flags[total.variable] = flag;
        g.body.push_back(in.assign(flag, in.constant(Type::boolean, 0, 0)));
        const auto [its_flag, my_flag] = part(Type::boolean);
        ends.push_back(in.put(my_flag, piece, in.variable(flag)));
        Instruction either{Step::if_, {}};
        either.a = w.element(its_flag, Type::boolean, p);
        either.blocks.resize(2);
        either.blocks[0].push_back(w.assign(total.variable, w.variable(value)));
        either.blocks[1].push_back(std::move(join));
        join = std::move(either);
      }
      combine.push_back(std::move(join));
    }

    Instruction rounds = loop;
    rounds.a = in.variable(first);
    rounds.b = in.variable(last);
    rounds.c = in.integer(node(loop.c).integer);
    rounds.integer = 1;
    rewrite(rounds.blocks[0], in, flags);
    g.body.push_back(std::move(rounds));
    for (Instruction &s : ends)
      g.body.push_back(std::move(s));
    drop_unused(g);

    std::vector<Instruction> out;
    loop.a = held(w, loop.a, out);
    loop.b = held(w, loop.b, out);
    spawn.a = loop.a;
    spawn.b = loop.b;
    spawn.c = loop.c;
    const Ref good = conditions(w, loop.a, loop.b);
    out.push_back(w.assign(pieces, w.integer(-1)));
    if (good < 0) {
      out.push_back(std::move(spawn));
    } else {
      Instruction ask{Step::if_, loop.at};
      ask.a = good;
      ask.blocks.resize(2);
      ask.blocks[0].push_back(std::move(spawn));
      out.push_back(std::move(ask));
    }
    Instruction which{Step::if_, loop.at};
    which.a = w.make(Op::less, Type::boolean, w.variable(pieces), w.integer(0));
    which.blocks.resize(2);
    Instruction serial = std::move(loop);
    hardly(serial);
    which.blocks[0].push_back(std::move(serial));
    if (!combine.empty()) {
      Instruction each{Step::for_, {}};
      each.variable = p;
      each.a = w.integer(1);
      each.b = w.variable(pieces);
      each.c = w.integer(1);
      each.integer = 2;
      each.blocks.push_back(std::move(combine));
      which.blocks[1].push_back(std::move(each));
    }
    out.push_back(std::move(which));
    made_.push_back(std::move(g));
    return out;
  }

  static void hardly(Instruction &s) {
    if (s.step == Step::for_ || s.step == Step::while_ || s.step == Step::repeat)
      s.integer = 2;
    for (auto &b : s.blocks)
      for (Instruction &inner : b)
        hardly(inner);
  }

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

} // namespace

std::vector<LoopVerdict> parallelise(Module &module) {
  std::vector<LoopVerdict> verdicts;
  Paralleliser(module, verdicts).run();
  return verdicts;
}

} // namespace perigee::kernel
