// From the typed form of a kernel to steps of a warp: memory and expressions.
#include "gpu/sim_compiler.hpp"

namespace perigee::sim {

namespace {

Cost cost_of(Type type) {
  return type == Type::float32                               ? Cost::float32
         : type == Type::float64 || type == Type::complex128 ? Cost::float64
                                                             : Cost::integer;
}

} // namespace

// --------------------------------------------------------------------------------------------------- memory ----

Operand Compiler::widen(Operand v, Type type) {
  if (type != Type::float32)
    return v;
  const Operand wide = allocate(Type::float64);
  emit(Code::float_to_double, wide, v);
  return wide;
}

Operand Compiler::index(Ref ref, std::int32_t array, int dimension) {
  const Node &n = node(ref);
  if (n.op != Op::convert || node(n.a).type == Type::int64)
    return value(ref);
  const Operand number = widen(value(n.a), node(n.a).type);
  const Operand whole = allocate(Type::int64);
  const std::int32_t before = site_;
  site_ = add_site(n.at, Site::Kind::other, frame_->arrays[std::size_t(array)].slot);
  emit(Code::whole_index, Cost::integer, whole, number).which = std::uint8_t(dimension);
  site_ = before;
  return whole;
}

std::int32_t Compiler::indices(std::int32_t array, const std::vector<Ref> &arguments) {
  const Binding &binding = frame_->arrays[std::size_t(array)];
  std::vector<Operand> all = binding.leading;
  for (std::size_t d = 0; d < arguments.size(); ++d)
    all.push_back(index(arguments[d], array, int(binding.leading.size() + d)));
  const auto first = program_.operands.size();
  program_.operands.insert(program_.operands.end(), all.begin(), all.end());
  return std::int32_t(first);
}

sim::Step &Compiler::access(Code code, std::int32_t array, std::int32_t first, Position at, Site::Kind kind, Operand to,
                            Operand a, Operand b) {
  const std::int32_t slot = frame_->arrays[std::size_t(array)].slot;
  const ArraySlot &s = program_.arrays[std::size_t(slot)];
  site_ = add_site(at, kind, slot);
  sim::Step &step = emit(code, s.where == ArraySlot::Where::own ? Cost::none : Cost::memory, to, a, b);
  step.array = slot;
  step.target = first;
  return step;
}

void Compiler::store(const Instruction &s) {
  const Array &array = f_->arrays[std::size_t(s.array)];
  const std::int32_t slot = frame_->arrays[std::size_t(s.array)].slot;
  const std::int32_t site = site_;
  const Operand v = value(s.a);
  if (s.arguments.empty()) { // the thread's own, whole
    site_ = site;
    sim::Step &fill = emit(Code::fill_own, 0, v);
    fill.array = slot;
    fill.which = std::uint8_t(node(s.a).type);
    fill.statement = true;
    return;
  }
  const std::int32_t first = indices(s.array, s.arguments);
  const bool own = program_.arrays[std::size_t(slot)].where == ArraySlot::Where::own;
  program_.arrays[std::size_t(slot)].stored = true;
  sim::Step &step = access(own ? Code::store_own : Code::store, s.array, first, s.at, Site::Kind::write, 0, v);
  step.which = std::uint8_t(node(s.a).type);
  step.statement = true;
  (void)array;
}

Operand Compiler::load(const Node &n) {
  const std::int32_t first = indices(n.index, n.arguments);
  const std::int32_t slot = frame_->arrays[std::size_t(n.index)].slot;
  const bool own = program_.arrays[std::size_t(slot)].where == ArraySlot::Where::own;
  const Operand to = allocate(n.type);
  const std::int32_t before = site_;
  access(own ? Code::load_own : Code::load, n.index, first, n.at, Site::Kind::read, to, 0);
  site_ = before;
  return to;
}

Operand Compiler::atomic(const Node &n) {
  const Operand a = value(n.a), b = n.b >= 0 ? value(n.b) : 0;
  const std::int32_t first = indices(n.index, n.arguments);
  const Operand to = allocate(n.type);
  const std::int32_t before = site_;
  sim::Step &step = access(Code::atomic, n.index, first, n.at, Site::Kind::atomic, to, a, b);
  step.which = std::uint8_t(n.gpu);
  site_ = before;
  return to;
}

// ---------------------------------------------------------------------------------------------- expressions ----

bool Compiler::harmless(Ref ref) const {
  const Node &n = node(ref);
  if (n.op == Op::call || n.op == Op::load || n.op == Op::atomic || n.op == Op::warp ||
      (n.op == Op::modulo && n.type == Type::int64))
    return false;
  for (const Ref r : {n.a, n.b, n.c})
    if (r >= 0 && !harmless(r))
      return false;
  for (const Ref r : n.arguments)
    if (r >= 0 && !harmless(r))
      return false;
  return true;
}

Operand Compiler::constant(const Node &n) {
  Uniform u{Uniform::What::integer, 0, 0, 0, n.type, Gpu::none};
  switch (n.type) {
  case Type::boolean:
    u.what = Uniform::What::boolean;
    u.integer = n.integer != 0;
    break;
  case Type::int64:
  case Type::none:
    u.integer = n.type == Type::none ? 0 : n.integer;
    break;
  case Type::float32:
    u.what = Uniform::What::single;
    u.number = n.number;
    break;
  case Type::float64:
    u.what = Uniform::What::real;
    u.number = n.number;
    break;
  case Type::complex128: { // both parts in registers of the warp, side by side
    u.what = Uniform::What::real;
    u.type = Type::float64;
    const Operand pair = allocate(Type::complex128);
    u.number = n.number;
    const Operand re = uniform(u);
    u.number = n.imaginary;
    const Operand im = uniform(u);
    move(pair, re, Type::float64);
    move(pair + 2, im, Type::float64);
    return pair;
  }
  }
  return uniform(u);
}

Operand Compiler::value(Ref ref) {
  const Node &n = node(ref);
  switch (n.op) {
  case Op::constant:
    return constant(n);
  case Op::variable:
    return frame_->variables[std::size_t(n.index)];
  case Op::convert:
    return convert(value(n.a), node(n.a).type, n.type);
  case Op::negate: {
    const Operand a = value(n.a), to = allocate(n.type);
    if (n.type == Type::complex128)
      emit(Code::negate_d, Cost::float64, to + 2, a + 2);
    emit(n.type == Type::int64     ? Code::negate_i
         : n.type == Type::float32 ? Code::negate_f
                                   : Code::negate_d,
         cost_of(n.type), to, a);
    return to;
  }
  case Op::logical_not: {
    const Operand a = value(n.a), to = allocate(Type::boolean);
    emit(Code::not_m, Cost::integer, to, a);
    return to;
  }
  case Op::add:
    return arithmetic(n, Code::add_i, Code::add_f, Code::add_d);
  case Op::subtract:
    return arithmetic(n, Code::subtract_i, Code::subtract_f, Code::subtract_d);
  case Op::multiply:
    return arithmetic(n, Code::multiply_i, Code::multiply_f, Code::multiply_d);
  case Op::divide:
    return arithmetic(n, Code::divide_f, Code::divide_f, Code::divide_d);
  case Op::modulo: {
    const Operand to = arithmetic(n, Code::modulo_i, Code::modulo_f, Code::modulo_d);
    if (n.type == Type::int64)
      program_.steps.back().site = add_site(n.at, Site::Kind::other, -1);
    return to;
  }
  case Op::power: {
    const Operand a = value(n.a), b = value(n.b), to = allocate(n.type);
    sim::Step &step = emit(n.type == Type::float32 ? Code::math_f : Code::math_d, Cost::special, to, a, b);
    step.which = std::uint8_t(Math::power_of); // with an operand for the exponent
    step.target = 1;
    return to;
  }
  case Op::less:
    return compare(n, Code::less_i, Code::less_f, Code::less_d);
  case Op::less_equal:
    return compare(n, Code::less_equal_i, Code::less_equal_f, Code::less_equal_d);
  case Op::equal:
    return compare(n, Code::equal_i, Code::equal_f, Code::equal_d);
  case Op::not_equal:
    return compare(n, Code::not_equal_i, Code::not_equal_f, Code::not_equal_d);
  case Op::logical_and:
  case Op::logical_or: {
    const bool both = n.op == Op::logical_and;
    const Operand a = value(n.a), to = allocate(Type::boolean);
    const Operand b = harmless(n.b) ? value(n.b) : guarded(a, !both, n.b, Type::boolean);
    emit(both ? Code::and_m : Code::or_m, Cost::integer, to, a, b);
    return to;
  }
  case Op::choose: {
    const Operand test = value(n.a), to = allocate(n.type);
    const Operand yes = harmless(n.b) ? value(n.b) : guarded(test, false, n.b, n.type);
    const Operand no = harmless(n.c) ? value(n.c) : guarded(test, true, n.c, n.type);
    const Code code = n.type == Type::boolean   ? Code::select_mask
                      : n.type == Type::float32 ? Code::select_float
                                                : Code::select_wide;
    emit(code, Cost::integer, to, test, yes, no);
    if (n.type == Type::complex128)
      emit(code, Cost::integer, to + 2, test, yes + 2, no + 2);
    return to;
  }
  case Op::call: {
    const std::vector<Operand> results = call(n);
    return results[0];
  }
  case Op::math:
    return mathematics(n);
  case Op::load:
    return load(n);
  case Op::length: {
    const Binding &binding = frame_->arrays[std::size_t(n.index)];
    return uniform({Uniform::What::length, binding.slot, 0,
                    std::int32_t(binding.leading.size()) + std::int32_t(n.integer), Type::int64, Gpu::none});
  }
  case Op::place:
    switch (n.gpu) {
    case Gpu::thread_idx:
      return 2 * (thread_x + Operand(n.integer));
    case Gpu::grid:
      return 2 * (grid_x + Operand(n.integer));
    case Gpu::lane:
      return 2 * lane_number;
    default:
      return uniform({Uniform::What::place, n.integer, 0, 0, Type::int64, n.gpu});
    }
  case Op::atomic:
    return atomic(n);
  case Op::warp:
    return warp(n);
  }
  throw InternalError("an expression that the simulator does not know");
}

Operand Compiler::guarded(Operand test, bool otherwise, Ref ref, Type type) {
  const Deeper deeper(*this);
  const Operand kept = allocate(type);
  const std::int32_t site = site_;
  emit(otherwise ? Code::narrow_not : Code::narrow, 0, test);
  const std::int32_t at = here() - 1;
  const Operand v = value(ref);
  site_ = site;
  if (type == Type::complex128)
    move(kept + 2, v + 2, Type::float64);
  if (type != Type::none)
    move(kept, v, type == Type::complex128 ? Type::float64 : type);
  program_.steps[std::size_t(at)].target = here();
  emit(Code::widen);
  return kept;
}

Operand Compiler::convert(Operand v, Type from, Type to) {
  if (from == to || from == Type::none || to == Type::none)
    return v;
  if (to == Type::complex128) {
    const Operand pair = allocate(to);
    move(pair, convert(v, from, Type::float64), Type::float64);
    move(pair + 2, uniform({Uniform::What::real, 0, 0, 0, Type::float64, Gpu::none}), Type::float64);
    return pair;
  }
  const Operand out = allocate(to);
  const Code code = to == Type::int64     ? from == Type::float32 ? Code::float_to_int : Code::double_to_int
                    : from == Type::int64 ? to == Type::float32 ? Code::int_to_float : Code::int_to_double
                    : to == Type::float64 ? Code::float_to_double
                                          : Code::double_to_float;
  emit(code, Cost::integer, out, v);
  return out;
}

Operand Compiler::arithmetic(const Node &n, Code whole, Code single, Code wide) {
  const Operand a = value(n.a), b = value(n.b);
  const Operand to = allocate(n.type);
  if (n.type != Type::complex128) {
    Cost cost = cost_of(n.type);
    if (n.op == Op::divide || (n.op == Op::modulo && n.type != Type::int64))
      cost = n.type == Type::float32 ? Cost::special : cost;
    emit(n.type == Type::int64 ? whole : n.type == Type::float32 ? single : wide, cost, to, a, b);
    return to;
  }
  if (n.op == Op::add || n.op == Op::subtract) {
    emit(wide, Cost::float64, to, a, b);
    emit(wide, Cost::float64, to + 2, a + 2, b + 2);
  } else {
    emit(n.op == Op::multiply ? Code::multiply_c : Code::divide_c, Cost::float64, to, a, b);
  }
  return to;
}

Operand Compiler::compare(const Node &n, Code whole, Code single, Code wide) {
  const Operand a = value(n.a), b = value(n.b);
  const Operand to = allocate(Type::boolean);
  switch (node(n.a).type) {
  case Type::boolean:
    emit(n.op == Op::equal ? Code::equal_m : Code::xor_m, Cost::integer, to, a, b);
    break;
  case Type::float32:
    emit(single, Cost::integer, to, a, b);
    break;
  case Type::float64:
    emit(wide, Cost::integer, to, a, b);
    break;
  case Type::complex128:
    emit(Code::equal_c, Cost::integer, to, a, b);
    if (n.op == Op::not_equal)
      emit(Code::not_m, Cost::integer, to, to);
    break;
  default:
    emit(whole, Cost::integer, to, a, b);
  }
  return to;
}

Operand Compiler::mathematics(const Node &n) {
  std::vector<Operand> a;
  for (const Ref r : n.arguments)
    a.push_back(value(r));
  const Type t = node(n.arguments[0]).type;
  if (n.math == Math::real)
    return a[0];
  if (n.math == Math::imaginary)
    return a[0] + 2;
  const Operand to = allocate(n.type);
  if (n.math == Math::truncate_int64) {
    emit(t == Type::float32 ? Code::float_to_int : Code::double_to_int, Cost::integer, to, a[0]);
    return to;
  }
  if (n.math == Math::absolute && t == Type::complex128) {
    emit(Code::absolute_c, Cost::special, to, a[0]);
    return to;
  }
  if (n.math == Math::absolute && t == Type::int64) {
    emit(Code::absolute_i, Cost::integer, to, a[0]);
    return to;
  }
  if (n.math == Math::minimum || n.math == Math::maximum) {
    const bool least = n.math == Math::minimum;
    const Code code = t == Type::int64     ? least ? Code::minimum_i : Code::maximum_i
                      : t == Type::float32 ? least ? Code::minimum_f : Code::maximum_f
                      : least              ? Code::minimum_d
                                           : Code::maximum_d;
    emit(code, cost_of(t), to, a[0], a[1]);
    return to;
  }
  if (n.type == Type::int64) { // bit library
    Operand x = a[0];
    if (t != Type::int64) { // to_bit of a float
      const Operand whole = allocate(Type::int64);
      emit(Code::double_to_int, Cost::integer, whole, widen(x, t)).which = 1; // to the nearest
      x = whole;
    }
    emit(Code::math_i, Cost::integer, to, x, a.size() > 1 ? a[1] : x).which = std::uint8_t(n.math);
    return to;
  }
  const bool plain =
      n.math == Math::absolute || n.math == Math::floor || n.math == Math::ceil || n.math == Math::power_of;
  sim::Step &step = emit(t == Type::float32 ? Code::math_f : Code::math_d, plain ? cost_of(t) : Cost::special, to, a[0],
                         a.size() > 1 ? a[1] : a[0]);
  step.which = std::uint8_t(n.math);
  if (n.math == Math::power_of)
    step.c = uniform({Uniform::What::real, 0, n.number, 0, Type::float64, Gpu::none});
  return to;
}

Operand Compiler::warp(const Node &n) {
  const Operand a = value(n.a), b = n.b >= 0 ? value(n.b) : 0;
  const Operand to = allocate(n.type);
  const std::int32_t before = site_;
  site_ = add_site(n.at, Site::Kind::other, -1);
  const Code code = n.gpu == Gpu::shuffle        ? Code::shuffle
                    : n.gpu == Gpu::shuffle_up   ? Code::shuffle_up
                    : n.gpu == Gpu::shuffle_down ? Code::shuffle_down
                    : n.gpu == Gpu::shuffle_xor  ? Code::shuffle_xor
                    : n.gpu == Gpu::ballot       ? Code::ballot
                    : n.gpu == Gpu::any          ? Code::any
                    : n.gpu == Gpu::all          ? Code::all
                                                 : Code::popcount;
  sim::Step &step = emit(code, Cost::integer, to, a, b);
  step.which = std::uint8_t(n.type);
  step.target = std::int32_t(n.integer);
  site_ = before;
  return to;
}

std::vector<Operand> Compiler::call(const Node &n) {
  const Deeper deeper(*this);
  const Function &target = module_.functions[std::size_t(n.index)];
  const std::int32_t site = site_;
  Frame frame;
  for (const Type t : target.results)
    frame.results.push_back(allocate(t));
  begin(frame, target);
  for (std::size_t i = 0; i < n.arguments.size(); ++i) {
    const Argument &p = target.parameters[i];
    if (!p.is_array) {
      const Type type = target.variables[std::size_t(p.index)].type;
      const Operand v = value(n.arguments[i]);
      if (type == Type::none)
        continue;
      const Operand to = frame.variables[std::size_t(p.index)];
      if (type == Type::complex128)
        move(to + 2, v + 2, Type::float64);
      move(to, v, type == Type::complex128 ? Type::float64 : type);
      continue;
    }
    const std::int32_t array = -1 - n.arguments[i];
    Binding binding = frame_->arrays[std::size_t(array)];
    const auto row =
        std::find_if(n.rows.begin(), n.rows.end(), [&](const Row &w) { return w.argument == std::int32_t(i); });
    if (row != n.rows.end())
      for (std::size_t d = 0; d < row->indices.size(); ++d) {
        const Operand v = index(row->indices[d], array, int(binding.leading.size()));
        const Operand kept = allocate(Type::int64); // what it is now
        move(kept, v, Type::int64);
        binding.leading.push_back(kept);
      }
    frame.arrays[std::size_t(p.index)] = std::move(binding);
  }
  const Function *const outer = f_;
  Frame *const outer_frame = frame_;
  const bool was_outermost = outermost_;
  f_ = &target;
  frame_ = &frame;
  outermost_ = false;
  const std::int32_t counter = std::exchange(counter_, -1);
  emit(Code::call_begin);
  block(target.body);
  counter_ = counter;
  f_ = outer;
  frame_ = outer_frame;
  outermost_ = was_outermost;
  site_ = site;
  emit(Code::call_end);
  return frame.results;
}

} // namespace perigee::sim
