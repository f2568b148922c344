#include "kernel/bounds.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace perigee::kernel {

namespace {

// Guards are computed in int64: what enters them is held to these bounds, so that they cannot overflow.
constexpr std::int64_t alone = std::int64_t(1) << 40, multiplied = std::int64_t(1) << 30;
constexpr std::size_t most_nodes = 20000; // beyond this, a function is left as it is

class Hoister {
 public:
  Hoister(Function &f, bool willing) : f_(f), willing_(willing) {
    assignments_.assign(f.variables.size(), 0);
    for (const Argument &p : f.parameters)
      if (!p.is_array)
        ++assignments_[std::size_t(p.index)];
    count(f.body);
  }

  void run() { block(f_.body); }

 private:
  // Where a variable that is assigned once gets its value: by an assignment, or as a loop's counter.
  struct Definition {
    const Instruction *by = nullptr;
    int depth = 0; // how many loops of the nest are around it
  };

  void count(const std::vector<Instruction> &steps) {
    for (const Instruction &s : steps) {
      if (s.step == Step::assign || s.step == Step::for_) {
        ++assignments_[std::size_t(s.variable)];
      }
      for (const std::int32_t t : s.targets)
        if (t >= 0)
          assignments_[std::size_t(t)] += 2; // of a call: no expression to look into
      for (const auto &b : s.blocks)
        count(b);
    }
  }

  void block(std::vector<Instruction> &steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (f_.nodes.size() < most_nodes && steps[i].step == Step::for_ && steps[i].integer != 2 &&
          !spawns(steps[i].blocks[0]) && version(steps, i)) {
        // steps[i] is now the choice; what is left in the fast nest's inner loops may go out of those.
        for (Instruction &s : steps[i].blocks[0])
          for (auto &b : s.blocks)
            block(b);
        continue;
      }
      for (auto &b : steps[i].blocks)
        block(b);
    }
  }

  // Whether a loop on several threads is inside: what is left of it here hardly runs.
  static bool spawns(const std::vector<Instruction> &steps) {
    for (const Instruction &s : steps) {
      if (s.step == Step::spawn)
        return true;
      for (const auto &b : s.blocks)
        if (spawns(b))
          return true;
    }
    return false;
  }

  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }

  // ---------------------------------------------------------------------------------------------- what the nest does
  // --
  struct Access {
    std::int32_t array = -1;
    std::vector<Ref> indices;
    std::int64_t checked = 0;   // so many are checked already
    std::int64_t dimension = 0; // of the first index
    bool conditional = false;
    Ref load = -1;                     // the node,
    const Instruction *step = nullptr; // or the store or check
  };

  void collect(const std::vector<Instruction> &steps, bool conditional, int depth = 0) {
    for (const Instruction &s : steps) {
      if (s.step == Step::assign || s.step == Step::for_)
        definitions_[s.variable] = {&s, depth};
      if (s.step == Step::assign || s.step == Step::for_)
        changed_.insert(s.variable);
      for (const std::int32_t t : s.targets)
        changed_.insert(t);
      const bool loops = s.step == Step::while_ || s.step == Step::repeat;
      for (const Ref r : {s.a, s.b, s.c})
        if (r >= 0)
          expression(r, conditional || loops);
      for (const Ref r : s.arguments)
        if (r >= 0)
          expression(r, conditional);
      if (s.step == Step::store && !s.arguments.empty()) {
        Access access;
        access.array = s.array;
        access.indices = s.arguments;
        access.checked = s.integer;
        access.conditional = conditional;
        access.step = &s;
        accesses_.push_back(access);
      } else if (s.step == Step::check_index) {
        Access access;
        access.array = s.array;
        access.indices = {s.a};
        access.dimension = s.integer;
        access.conditional = conditional;
        access.step = &s;
        accesses_.push_back(access);
      }
      // What follows a break or a return that may happen is still within the ranges: they only get shorter.
      for (const auto &b : s.blocks)
        collect(b, conditional || s.step != Step::for_, depth + 1);
    }
  }

  void expression(Ref ref, bool conditional) {
    const Node &n = node(ref);
    if (n.op == Op::load) {
      Access access;
      access.array = n.index;
      access.indices = n.arguments;
      access.checked = n.integer;
      access.conditional = conditional;
      access.load = ref;
      accesses_.push_back(access);
    }
    const bool lazy = n.op == Op::logical_and || n.op == Op::logical_or || n.op == Op::choose;
    if (n.a >= 0)
      expression(n.a, conditional);
    if (n.b >= 0)
      expression(n.b, conditional || lazy);
    if (n.c >= 0)
      expression(n.c, conditional || lazy);
    for (const Ref r : n.arguments)
      if (r >= 0)
        expression(r, conditional);
    for (const Row &row : n.rows)
      for (const Ref r : row.indices)
        expression(r, conditional);
  }

  // --------------------------------------------------------------------------------------------------- expressions
  // ----
  Ref add(Node n) {
    f_.nodes.push_back(std::move(n));
    return Ref(f_.nodes.size()) - 1;
  }
  Ref integer(std::int64_t value) {
    Node n;
    n.type = Type::int64;
    n.integer = value;
    n.number = double(value);
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
  Ref function(Math f, Type type, std::vector<Ref> arguments) {
    Node n;
    n.op = Op::math;
    n.math = f;
    n.type = type;
    n.arguments = std::move(arguments);
    return add(n);
  }
  Ref sum_of_two(Ref a, Ref b) { return known(a, 0) ? b : known(b, 0) ? a : make(Op::add, Type::int64, a, b); }
  Ref difference(Ref a, Ref b) { return known(b, 0) ? a : make(Op::subtract, Type::int64, a, b); }
  Ref product(Ref a, Ref b) { return known(a, 1) ? b : known(b, 1) ? a : make(Op::multiply, Type::int64, a, b); }
  Ref least(Ref a, Ref b) { return same(a, b) ? a : function(Math::minimum, Type::int64, {a, b}); }
  Ref greatest(Ref a, Ref b) { return same(a, b) ? a : function(Math::maximum, Type::int64, {a, b}); }
  bool constant(Ref r) const { return node(r).op == Op::constant && node(r).type == Type::int64; }
  bool known(Ref r, std::int64_t value) const { return constant(r) && node(r).integer == value; }
  bool same(Ref a, Ref b) const { return a == b || key(a) == key(b); }

  static std::string digits(double value) { // all of them: std::to_string has six
    char text[32];
    std::snprintf(text, sizeof text, "%a", value);
    return text;
  }

  // Equal texts are equal values, as long as variables and shapes are those of before the nest.
  std::string key(Ref ref) const {
    const Node &n = node(ref);
    std::string text = std::to_string(int(n.op)) + ":" + std::to_string(int(n.type));
    if (n.op == Op::constant)
      text += "=" + std::to_string(n.integer) + "/" + digits(n.number) + "/" + digits(n.imaginary);
    if (n.op == Op::variable || n.op == Op::length)
      text += "#" + std::to_string(n.index) + "." + std::to_string(n.integer);
    if (n.op == Op::math)
      text += "m" + std::to_string(int(n.math)) + "^" + digits(n.number);
    text += "(";
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0)
        text += key(r) + ",";
    for (const Ref r : n.arguments)
      text += key(r) + ";";
    return text + ")";
  }

  Ref copy(Ref ref) {
    Node n = node(ref);
    for (Ref *r : {&n.a, &n.b, &n.c})
      if (*r >= 0)
        *r = copy(*r);
    for (Ref &r : n.arguments)
      if (r >= 0)
        r = copy(r);
    for (Row &row : n.rows)
      for (Ref &r : row.indices)
        r = copy(r);
    if (const auto hoisted = loads_.find(ref); n.op == Op::load && hoisted != loads_.end())
      n.integer = hoisted->second;
    return add(std::move(n));
  }

  // Whether the nest leaves the value of an expression alone, and computing it can raise nothing.
  bool invariant(Ref ref) const {
    const Node &n = node(ref);
    switch (n.op) {
    case Op::load:
    case Op::call:
      return false;
    case Op::variable:
      return !changed_.contains(n.index);
    case Op::modulo:
      if (n.type == Type::int64 && !(node(n.b).op == Op::constant && node(n.b).integer != 0))
        return false;
      break;
    default:
      break;
    }
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0 && !invariant(r))
        return false;
    for (const Ref r : n.arguments)
      if (r < 0 || !invariant(r))
        return false;
    return true;
  }

  // ------------------------------------------------------------------------------------------------------- ranges
  // -----
  struct Range {
    Ref low = -1, high = -1;
    double reach = 0; // neither is further from zero, where the guards hold
  };
  // Products are those of low and high only as long as nothing wraps.
  static std::optional<Range> within_int64(const Range &range) {
    return range.reach < 9e18 ? std::optional(range) : std::nullopt;
  }
  using Guards = std::map<std::string, Ref>; // conditions, each once

  void require(Guards &guards, Ref condition) { guards.emplace(key(condition), condition); }
  void require_between(Guards &guards, Ref value, std::int64_t bound) {
    if (node(value).op != Op::length)
      require(guards, make(Op::less_equal, Type::boolean, integer(-bound), value));
    require(guards, make(Op::less_equal, Type::boolean, value, integer(bound)));
  }

  // A float that indexes or bounds a loop, as an integer: rounded by `round` where it need not be whole.
  std::optional<Ref> whole(Ref ref, std::optional<Math> round, Guards &guards) {
    if (!invariant(ref))
      return {};
    Ref value = copy(ref);
    if (node(value).type == Type::float32)
      value = make(Op::convert, Type::float64, value);
    if (round)
      value = function(*round, Type::float64, {value});
    const Ref integer = function(Math::truncate_int64, Type::int64, {value});
    if (!round)
      require(guards, make(Op::equal, Type::boolean, make(Op::convert, Type::float64, copy(integer)), copy(value)));
    return integer;
  }

  std::optional<Range> leaf(Ref value, Guards &guards, bool in_product) {
    if (constant(value)) {
      const std::int64_t v = node(value).integer;
      if (v < -multiplied || v > multiplied)
        return {};
      return Range{value, value, std::abs(double(v))};
    }
    require_between(guards, value, in_product ? multiplied : alone);
    return Range{value, value, double(in_product ? multiplied : alone)};
  }

  std::optional<Range> range(Ref ref, Guards &guards, bool in_product = false, int depth = 0) {
    if (depth > 40 || f_.nodes.size() > most_nodes)
      return {};
    const Node n = node(ref);
    if (n.type != Type::int64) {
      const auto as_integer = whole(ref, {}, guards);
      return as_integer ? leaf(*as_integer, guards, in_product) : std::nullopt;
    }
    if (n.op == Op::convert) {
      const auto as_integer = whole(n.a, {}, guards);
      return as_integer ? leaf(*as_integer, guards, in_product) : std::nullopt;
    }
    if (invariant(ref))
      return leaf(copy(ref), guards, in_product);
    switch (n.op) {
    case Op::variable: {
      if (assignments_[std::size_t(n.index)] != 1)
        return {};
      const auto found = definitions_.find(n.index);
      if (found == definitions_.end())
        return {};
      const Instruction &by = *found->second.by;
      if (by.step == Step::assign)
        return range(by.a, guards, in_product, depth + 1);
      return counter(by, guards, in_product, depth + 1);
    }
    case Op::add:
    case Op::subtract: {
      const auto a = range(n.a, guards, in_product, depth + 1), b = range(n.b, guards, in_product, depth + 1);
      if (!a || !b)
        return {};
      const double reach = a->reach + b->reach;
      return within_int64(n.op == Op::add ? Range{sum_of_two(a->low, b->low), sum_of_two(a->high, b->high), reach}
                                          : Range{difference(a->low, b->high), difference(a->high, b->low), reach});
    }
    case Op::negate: {
      const auto a = range(n.a, guards, in_product, depth + 1);
      if (!a)
        return {};
      return Range{difference(integer(0), a->high), difference(integer(0), a->low), a->reach};
    }
    case Op::multiply: {
      const auto a = range(n.a, guards, true, depth + 1), b = range(n.b, guards, true, depth + 1);
      if (!a || !b || !within_int64({-1, -1, a->reach * b->reach}))
        return {};
      const double reach = a->reach * b->reach;
      if (same(b->low, b->high)) {
        if (constant(b->low) && node(b->low).integer >= 0)
          return Range{product(a->low, b->low), product(a->high, b->low), reach};
        const Ref x = product(a->low, b->low), y = product(a->high, b->low);
        return Range{least(x, y), greatest(x, y), reach};
      }
      if (same(a->low, a->high)) {
        if (constant(a->low) && node(a->low).integer >= 0)
          return Range{product(a->low, b->low), product(a->low, b->high), reach};
        const Ref x = product(a->low, b->low), y = product(a->low, b->high);
        return Range{least(x, y), greatest(x, y), reach};
      }
      return {};
    }
    case Op::modulo:
      if (constant(n.b) && node(n.b).integer > 0)
        return Range{integer(0), integer(node(n.b).integer - 1), double(node(n.b).integer)};
      return {};
    case Op::math:
      if (n.math == Math::minimum || n.math == Math::maximum) {
        const auto a = range(n.arguments[0], guards, in_product, depth + 1);
        const auto b = range(n.arguments[1], guards, in_product, depth + 1);
        if (!a || !b)
          return {};
        const double reach = std::max(a->reach, b->reach);
        return n.math == Math::minimum ? Range{least(a->low, b->low), least(a->high, b->high), reach}
                                       : Range{greatest(a->low, b->low), greatest(a->high, b->high), reach};
      }
      if (n.math == Math::bit_and)
        for (const Ref r : n.arguments)
          if (constant(r) && node(r).integer >= 0 && node(r).integer < multiplied)
            return Range{integer(0), integer(node(r).integer), double(node(r).integer)};
      return {};
    default:
      return {};
    }
  }

  // The counter of a loop of the nest.
  std::optional<Range> counter(const Instruction &loop, Guards &guards, bool in_product, int depth) {
    if (!constant(loop.c) || node(loop.c).integer == 0)
      return {};
    const std::int64_t step = node(loop.c).integer;
    std::optional<Range> first, last;
    first = range(loop.a, guards, in_product, depth);
    if (node(loop.b).type == Type::int64) {
      last = range(loop.b, guards, in_product, depth);
    } else if (const auto bound = whole(loop.b, step > 0 ? Math::floor : Math::ceil, guards)) {
      last = leaf(*bound, guards, in_product);
    }
    if (!first || !last)
      return {};
    double reach = std::max(first->reach, last->reach);
    Ref end = step > 0 ? last->high : last->low;
    if (step != 1 && step != -1 && same(first->low, first->high)) { // where it really ends
      end = difference(end, make(Op::modulo, Type::int64, difference(end, first->low), integer(step)));
      reach = first->reach + last->reach + std::abs(double(step));
    }
    return within_int64(step > 0 ? Range{first->low, end, reach} : Range{end, first->high, reach});
  }

  // A sum of whole multiples of counters and of what the nest leaves alone. Bounds of one counter may name others, and
  // cancel: with j from 1 to n - i, the greatest i + j is n, where ranges of i and j apart would say 2 n - 1.
  struct Sum {
    struct Term {
      Ref value = -1;            // of what the nest leaves alone
      std::int32_t counter = -1; // or the variable of a loop
      std::int64_t times = 0;
    };
    std::map<std::string, Term> terms;
    std::int64_t plus = 0;

    void add(const Sum &other, std::int64_t times) {
      plus += other.plus * times;
      for (const auto &[name, term] : other.terms) {
        Term &mine = terms[name];
        mine.value = term.value;
        mine.counter = term.counter;
        mine.times += term.times * times;
        if (mine.times == 0)
          terms.erase(name);
      }
    }
    bool small() const {
      if (plus > multiplied || plus < -multiplied || terms.size() > 16)
        return false;
      for (const auto &[name, term] : terms)
        if (term.times > 1 << 16 || term.times < -(1 << 16))
          return false;
      return true;
    }
  };

  std::optional<Sum> term(Ref value) {
    Sum sum;
    if (constant(value)) {
      sum.plus = node(value).integer;
      if (!sum.small())
        return {};
      return sum;
    }
    sum.terms[key(value)] = {value, -1, 1};
    return sum;
  }

  std::optional<Sum> sum_of(Ref ref, Guards &guards, int depth = 0) {
    if (depth > 40 || f_.nodes.size() > most_nodes)
      return {};
    const Node n = node(ref);
    if (n.type != Type::int64 || n.op == Op::convert) {
      const auto integer = whole(n.type != Type::int64 ? ref : n.a, {}, guards);
      return integer ? term(*integer) : std::nullopt;
    }
    if (invariant(ref) && n.op != Op::add && n.op != Op::subtract)
      return term(copy(ref));
    switch (n.op) {
    case Op::constant:
      return term(ref);
    case Op::variable: {
      const auto found = definitions_.find(n.index);
      if (assignments_[std::size_t(n.index)] != 1 || found == definitions_.end())
        return {};
      if (found->second.by->step == Step::assign)
        return sum_of(found->second.by->a, guards, depth + 1);
      Sum sum;
      sum.terms["counter " + std::to_string(n.index)] = {-1, n.index, 1};
      return sum;
    }
    case Op::add:
    case Op::subtract: {
      auto a = sum_of(n.a, guards, depth + 1);
      const auto b = sum_of(n.b, guards, depth + 1);
      if (!a || !b)
        return {};
      a->add(*b, n.op == Op::add ? 1 : -1);
      return a->small() ? a : std::nullopt;
    }
    case Op::negate: {
      const auto a = sum_of(n.a, guards, depth + 1);
      if (!a)
        return {};
      Sum sum;
      sum.add(*a, -1);
      return sum;
    }
    case Op::multiply: {
      auto a = sum_of(n.a, guards, depth + 1), b = sum_of(n.b, guards, depth + 1);
      if (!a || !b)
        return {};
      if (!b->terms.empty())
        std::swap(a, b);
      if (!b->terms.empty() || b->plus > 1 << 16 || b->plus < -(1 << 16))
        return {};
      Sum sum;
      sum.add(*a, b->plus);
      return sum.small() ? std::optional(sum) : std::nullopt;
    }
    default:
      return {};
    }
  }

  // The least or greatest value of a sum: counters go, the innermost first, by the bounds of their loops.
  std::optional<Sum> extreme(Sum sum, bool greatest, Guards &guards) {
    while (true) {
      const Sum::Term *innermost = nullptr;
      std::string name;
      for (const auto &[text, term] : sum.terms)
        if (term.counter >= 0 &&
            (!innermost || definitions_[term.counter].depth > definitions_[innermost->counter].depth)) {
          innermost = &term;
          name = text;
        }
      if (!innermost)
        break;
      const Sum::Term counter = *innermost;
      const Instruction &loop = *definitions_[counter.counter].by;
      if (!constant(loop.c) || (node(loop.c).integer != 1 && node(loop.c).integer != -1))
        return {};
      const bool up = node(loop.c).integer == 1;
      std::optional<Sum> bound;
      if ((counter.times > 0) == greatest ? up : !up) { // its limit
        if (node(loop.b).type == Type::int64)
          bound = sum_of(loop.b, guards);
        else if (const auto integer = whole(loop.b, up ? Math::floor : Math::ceil, guards))
          bound = term(*integer);
      } else {
        bound = sum_of(loop.a, guards);
      }
      if (!bound)
        return {};
      sum.terms.erase(name);
      sum.add(*bound, counter.times);
      if (!sum.small())
        return {};
    }
    return sum;
  }

  Ref value_of(const Sum &sum, Guards &guards) {
    Ref value = -1;
    for (const auto &[text, term] : sum.terms) {
      require_between(guards, term.value, alone);
      const Ref part = term.times == 1 ? term.value : term.times == -1 ? -1 : product(integer(term.times), term.value);
      if (part < 0)
        value = value < 0 ? difference(integer(0), term.value) : difference(value, term.value);
      else
        value = value < 0 ? part : sum_of_two(value, part);
    }
    if (value < 0)
      return integer(sum.plus);
    return sum.plus == 0  ? value
           : sum.plus > 0 ? sum_of_two(value, integer(sum.plus))
                          : difference(value, integer(-sum.plus));
  }

  // Whether the conditions added to `guards` prove that an index lies from 1 to `size`.
  bool prove(Ref index, Ref size, Guards &guards) {
    Guards mine;
    const auto sum = sum_of(index, mine), length = term(size);
    if (sum && length) {
      const auto low = extreme(*sum, false, mine), high = extreme(*sum, true, mine);
      if (low && high) {
        // Differences that are known need no condition: with i from 1 to #x, x[i] is inside.
        Sum below = *low, above = *length;
        below.plus -= 1;
        above.add(*high, -1);
        if ((below.terms.empty() && below.plus < 0) || (above.terms.empty() && above.plus < 0))
          return false;
        if (!below.terms.empty())
          require(mine, make(Op::less_equal, Type::boolean, integer(1), value_of(*low, mine)));
        if (!above.terms.empty())
          require(mine, make(Op::less_equal, Type::boolean, value_of(*high, mine), size));
        guards.merge(mine);
        return true;
      }
    }
    const auto r = range(index, guards);
    if (!r)
      return false;
    bool possible = true;
    auto within = [&](Ref low, Ref high) {
      if (constant(low) && constant(high))
        possible = possible && node(low).integer <= node(high).integer;
      else
        require(guards, make(Op::less_equal, Type::boolean, low, high));
    };
    within(integer(1), r->low);
    within(r->high, size);
    return possible;
  }

  // ----------------------------------------------------------------------------------------------------- versions
  // -----
  bool version(std::vector<Instruction> &steps, std::size_t at) {
    definitions_.clear();
    changed_.clear();
    accesses_.clear();
    loads_.clear();
    steps_.clear();
    if (f_.variables[std::size_t(steps[at].variable)].type != Type::int64)
      return false;
    std::vector<Instruction> nest{steps[at]};
    collect(nest, false);
    // Bounds of the loop itself are computed before it: what they read is no access of the nest.
    Guards guards;
    for (const bool conditional : {false, true})
      for (const Access &access : accesses_) {
        if (access.conditional != conditional)
          continue;
        std::int64_t proved = access.checked;
        for (; proved < std::int64_t(access.indices.size()); ++proved) {
          Guards more;
          Node length;
          length.op = Op::length;
          length.type = Type::int64;
          length.index = access.array;
          length.integer = access.dimension + proved;
          const auto &own = f_.arrays[std::size_t(access.array)].lengths;
          const Ref size = own.empty() ? add(length) : integer(own[std::size_t(length.integer)]);
          if (!prove(access.indices[std::size_t(proved)], size, more))
            break;
          if (conditional && !willing_) {
            bool proves = true;
            for (const auto &[text, condition] : more)
              proves = proves && guards.contains(text);
            if (!proves)
              break;
          }
          guards.merge(more);
        }
        if (proved == access.checked)
          continue;
        if (access.load >= 0)
          loads_[access.load] = proved;
        else
          steps_[access.step] = proved;
      }
    if (loads_.empty() && steps_.empty())
      return false;
    Instruction choice{Step::if_, steps[at].at};
    choice.blocks.resize(2);
    choice.blocks[0] = clone(nest);
    choice.blocks[1] = std::move(nest);
    hardly(choice.blocks[1]);
    for (const auto &[text, condition] : guards) {
      if (choice.a < 0)
        choice.a = condition;
      else
        choice.a = make(Op::logical_and, Type::boolean, choice.a, condition);
    }
    if (choice.a < 0) { // proved without looking
      Node yes;
      yes.type = Type::boolean;
      yes.integer = 1;
      choice.a = add(yes);
      choice.blocks[1].clear();
    }
    steps[at] = std::move(choice);
    return true;
  }

  // Tells backends that the loops of a block hardly run: only to find the element that is outside.
  static void hardly(std::vector<Instruction> &steps) {
    for (Instruction &s : steps) {
      if (s.step == Step::for_ || s.step == Step::while_ || s.step == Step::repeat)
        s.integer = 2;
      for (auto &b : s.blocks)
        hardly(b);
    }
  }

  std::vector<Instruction> clone(const std::vector<Instruction> &steps) {
    std::vector<Instruction> out;
    for (const Instruction &s : steps) {
      const auto proved = steps_.find(&s);
      if (s.step == Step::check_index && proved != steps_.end())
        continue;
      Instruction c{s.step, s.at};
      c.variable = s.variable;
      c.array = s.array;
      c.integer = proved != steps_.end() ? proved->second : s.integer;
      c.targets = s.targets;
      if (s.a >= 0)
        c.a = copy(s.a);
      if (s.b >= 0)
        c.b = copy(s.b);
      if (s.c >= 0)
        c.c = copy(s.c);
      for (const Ref r : s.arguments)
        c.arguments.push_back(copy(r));
      for (const auto &b : s.blocks)
        c.blocks.push_back(clone(b));
      out.push_back(std::move(c));
    }
    return out;
  }

  Function &f_;
  const bool willing_;
  std::vector<int> assignments_;                   // of each variable, in the whole function
  std::map<std::int32_t, Definition> definitions_; // in the nest
  std::set<std::int32_t> changed_;
  std::vector<Access> accesses_;
  std::map<Ref, std::int64_t> loads_;                 // of the nest: how many indices are proved
  std::map<const Instruction *, std::int64_t> steps_; // stores and checks alike
};

} // namespace

void hoist_checks(Module &module, bool willing) {
  for (Function &f : module.functions)
    Hoister(f, willing).run();
}

} // namespace perigee::kernel
