// Which loops are parallel.
#include "kernel/paralleliser.hpp"

namespace perigee::kernel {

void Paralleliser::run() {
  block(f_.body);
  for (Function &g : made_)
    module_.functions.push_back(std::move(g));
}

void Paralleliser::block(std::vector<Instruction> &steps) {
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

void Paralleliser::read(Ref ref, Uses &uses) const {
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

void Paralleliser::scan(const std::vector<Instruction> &steps, Uses &uses) const {
  for (const Instruction &s : steps)
    scan(s, uses);
}

void Paralleliser::scan(const Instruction &s, Uses &uses) const {
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

void Paralleliser::merge(Uses &uses, Uses &inner) {
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
void Paralleliser::leaves(const std::vector<Instruction> &steps, bool inner) {
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
void Paralleliser::examine(const Instruction &loop) {
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
bool Paralleliser::outlives(std::int32_t v) const {
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

// ----
void Paralleliser::variables() {
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

bool Paralleliser::mentions(Ref ref, std::int32_t v) const {
  Uses uses;
  read(ref, uses);
  return uses.reads.contains(v);
}

bool Paralleliser::same(Ref x, Ref y) const {
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
std::optional<Total> Paralleliser::total_of(std::int32_t v, const Instruction &s) const {
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
bool Paralleliser::spine(Ref ref, const Total &total, Type t) const {
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

// ---- An index as a sum of the counter and of what the loop leaves alone.
std::optional<Linear> Paralleliser::linear(Ref ref, int depth) const {
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
std::optional<Linear> Paralleliser::form(std::int32_t array, std::size_t dimension) const {
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

void Paralleliser::arrays() {
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

bool Paralleliser::accessed(std::int32_t array) const {
  return std::any_of(uses_.accesses.begin(), uses_.accesses.end(),
                     [&](const Access &access) { return access.array == array; });
}

void Paralleliser::refuse_array(std::int32_t a) const {
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
bool Paralleliser::alike(const Access &x, const Access &y) const {
  for (std::size_t d = 0; d < std::min(x.indices.size(), y.indices.size()); ++d) {
    const auto a = linear(x.indices[d]), b = linear(y.indices[d]);
    if (a && b && a->times != 0 && *a == *b)
      return true;
  }
  return false;
}

std::vector<LoopVerdict> parallelise(Module &module) {
  std::vector<LoopVerdict> verdicts;
  Paralleliser(module, verdicts).run();
  return verdicts;
}

} // namespace perigee::kernel
