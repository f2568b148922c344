// Parallel loops in pieces.
#include "kernel/paralleliser.hpp"

namespace perigee::kernel {

std::int32_t Paralleliser::dtype_of(Type type) {
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
Ref Paralleliser::identity(Writer &w, const Total &total, Type t) {
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
bool Paralleliser::takes_nan(const Total &total, Type t) {
  return total.how == Total::How::extreme && total.first && t != Type::int64;
}

// `v` combined with `e` as the loop does.
Instruction Paralleliser::combined(Writer &w, const Total &total, Ref e) {
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
void Paralleliser::rewrite(std::vector<Instruction> &steps, Writer &w,
                           const std::map<std::int32_t, std::int32_t> &flags) const {
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

Ref Paralleliser::retold(Ref ref, const Total &total, Writer &w, const std::map<std::int32_t, std::int32_t> &flags,
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
    before.push_back(w.assign(flag, w.make(Op::logical_or, Type::boolean, w.variable(flag),
                                           w.make(Op::not_equal, Type::boolean, w.variable(kept), w.variable(kept)))));
    n.arguments[1 - mine] = w.variable(kept);
  }
  return w.add(n);
}

// A bound of the loop, computed once.
Ref Paralleliser::held(Writer &w, Ref bound, std::vector<Instruction> &out) {
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
Ref Paralleliser::whole(Writer &w, Ref bound, Math round) {
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

void Paralleliser::require(Writer &w, Ref &all, Ref condition) {
  all = all < 0 ? condition : w.make(Op::logical_and, Type::boolean, all, condition);
}

void Paralleliser::require_near(Writer &w, Ref &all, Ref value) {
  const Node n = w.f.nodes[std::size_t(value)];
  if (n.op == Op::constant && n.integer >= -far && n.integer <= far)
    return;
  require(w, all, w.make(Op::less_equal, Type::boolean, w.integer(-far), value));
  require(w, all, w.make(Op::less_equal, Type::boolean, value, w.integer(far)));
}

// That no index counts from the end, where two might mean one element, and that nothing wraps. -1: nothing to ask.
Ref Paralleliser::conditions(Writer &w, Ref from, Ref to) {
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
void Paralleliser::drop_unused(Function &g) {
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
std::vector<Instruction> Paralleliser::split(Instruction &loop) {
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

void Paralleliser::hardly(Instruction &s) {
  if (s.step == Step::for_ || s.step == Step::while_ || s.step == Step::repeat)
    s.integer = 2;
  for (auto &b : s.blocks)
    for (Instruction &inner : b)
      hardly(inner);
}

} // namespace perigee::kernel
