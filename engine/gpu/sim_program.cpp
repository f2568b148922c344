// From the typed form of a kernel to steps of a warp: functions, registers, statements.
#include "gpu/sim_compiler.hpp"

namespace perigee::sim {

namespace {

constexpr std::size_t most_steps = 1 << 20;

std::int64_t element_bytes(std::int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
  case PG_UINT8:
  case PG_INT8:
    return 1;
  case PG_INT16:
  case PG_UINT16:
    return 2;
  case PG_INT32:
  case PG_UINT32:
  case PG_FLOAT32:
    return 4;
  case PG_COMPLEX128:
    return 16;
  default:
    return 8;
  }
}

} // namespace

Program Compiler::run() {
  const Function &f = module_.functions[0];
  top_ = most_ = fixed_registers;
  program_.parameters = std::int32_t(f.parameters.size());
  Frame frame;
  begin(frame, f);
  for (std::size_t k = 0; k < f.parameters.size(); ++k) {
    const Argument &p = f.parameters[k];
    program_.parameter_is_array.push_back(p.is_array);
    if (p.is_array) {
      const Array &array = f.arrays[std::size_t(p.index)];
      program_.parameter_types.push_back(Type::none);
      ArraySlot slot;
      slot.name = array.name;
      slot.at = array.at;
      slot.dtype = array.dtype;
      slot.ndim = array.ndim;
      slot.parameter = std::int32_t(k);
      frame.arrays[std::size_t(p.index)].slot = add_slot(slot);
      continue;
    }
    const Type type = f.variables[std::size_t(p.index)].type;
    program_.parameter_types.push_back(type);
    const Operand variable = frame.variables[std::size_t(p.index)];
    Uniform u{Uniform::What::argument, std::int64_t(k), 0, 0, type, Gpu::none};
    if (type == Type::none)
      continue;
    move(variable, uniform(u), type == Type::complex128 ? Type::float64 : type);
    if (type == Type::complex128) {
      u.what = Uniform::What::imaginary;
      move(variable + 2, uniform(u), Type::float64);
    }
  }
  f_ = &f;
  frame_ = &frame;
  outermost_ = true;
  block(f.body);
  program_.last = f.at;
  site_ = add_site(last_position_.line > 0 ? last_position_ : f.at, Site::Kind::other, -1);
  emit(Code::exit);
  program_.registers = most_;
  return std::move(program_);
}

// ------------------------------------------------------------------------------------------------ registers ----

Operand Compiler::allocate(Type type) {
  const Operand made = top_ * 2;
  top_ += type == Type::complex128 ? 2 : 1;
  most_ = std::max(most_, top_);
  if (top_ > 1 << 20)
    throw UnsupportedError("this kernel is too large for the simulator");
  return made;
}

Operand Compiler::uniform(const Uniform &u) {
  auto same = [&](const Uniform &v) {
    return u.what == v.what && u.integer == v.integer && std::memcmp(&u.number, &v.number, sizeof u.number) == 0 &&
           u.dimension == v.dimension && u.type == v.type && u.gpu == v.gpu;
  };
  const auto found = std::find_if(program_.uniforms.begin(), program_.uniforms.end(), same);
  const auto index = found - program_.uniforms.begin();
  if (found == program_.uniforms.end())
    program_.uniforms.push_back(u);
  return Operand(index) * 2 + 1;
}

sim::Step &Compiler::emit(Code code, Operand to, Operand a, Operand b, Operand c) {
  if (program_.steps.size() > most_steps)
    throw UnsupportedError("this kernel is too large for the simulator: more than a million steps once the functions "
                           "that it calls stand in their places");
  sim::Step step;
  step.code = code;
  step.to = to;
  step.a = a;
  step.b = b;
  step.c = c;
  step.site = site_;
  program_.steps.push_back(step);
  return program_.steps.back();
}

sim::Step &Compiler::emit(Code code, Cost cost, Operand to, Operand a, Operand b, Operand c) {
  sim::Step &step = emit(code, to, a, b, c);
  step.cost = cost;
  return step;
}

sim::Step &Compiler::move(Operand to, Operand from, Type type) {
  return emit(type == Type::boolean   ? Code::move_mask
              : type == Type::float32 ? Code::move_float
                                      : Code::move_wide,
              to, from);
}

void Compiler::assign(Operand to, Operand from, Type type) {
  if (type == Type::complex128) {
    move(to, from, Type::float64);
    move(to + 2, from + 2, Type::float64).statement = true;
  } else {
    move(to, from, type).statement = true;
  }
}

void Compiler::begin(Frame &frame, const Function &f) {
  for (const Variable &v : f.variables)
    frame.variables.push_back(allocate(v.type));
  frame.arrays.resize(f.arrays.size());
  for (std::size_t a = 0; a < f.arrays.size(); ++a) {
    const Array &array = f.arrays[a];
    if (array.lengths.empty())
      continue;
    ArraySlot slot;
    slot.name = array.name;
    slot.at = array.at;
    slot.dtype = array.dtype;
    slot.ndim = array.ndim;
    slot.lengths = array.lengths;
    std::int64_t size = 1;
    for (const std::int64_t n : array.lengths)
      size *= n;
    if (array.shared) {
      slot.where = ArraySlot::Where::shared;
      const auto found = shared_.find(&array);
      if (found != shared_.end()) { // a function that is called at several places has one
        frame.arrays[a].slot = found->second;
        continue;
      }
      if (size > 0) {
        program_.shared_bytes = (program_.shared_bytes + 15) / 16 * 16;
        slot.offset = program_.shared_bytes;
        program_.shared_bytes += size * element_bytes(array.dtype);
      }
      frame.arrays[a].slot = add_slot(slot);
      shared_[&array] = frame.arrays[a].slot;
      if (size == 0)
        program_.launch_array = frame.arrays[a].slot;
      continue;
    }
    slot.where = ArraySlot::Where::own;
    slot.offset = top_;
    top_ += std::int32_t(size * (array.dtype == PG_COMPLEX128 ? 2 : 1));
    most_ = std::max(most_, top_);
    if (top_ > 1 << 20)
      throw UnsupportedError("this kernel's own arrays are too large for the simulator");
    frame.arrays[a].slot = add_slot(slot);
  }
}

// ----------------------------------------------------------------------------------------------- statements ----

void Compiler::block(const std::vector<Instruction> &steps) {
  for (const Instruction &s : steps) {
    const std::int32_t before = top_;
    step(s);
    top_ = before;
  }
}

void Compiler::step(const Instruction &s) {
  if (s.at.line > last_position_.line && outermost_)
    last_position_ = s.at;
  site_ = add_site(s.at, Site::Kind::other, -1);
  const std::int32_t site = site_;
  switch (s.step) {
  case Step::assign: {
    const Type type = f_->variables[std::size_t(s.variable)].type;
    if (type == Type::none)
      return;
    const Operand v = s.array >= 0 ? index(s.a, s.array, int(s.integer)) : value(s.a);
    site_ = site;
    assign(frame_->variables[std::size_t(s.variable)], v, type);
    if (node(s.a).op == Op::variable && node(s.a).index == counter_) // the loop's own: no statement of the source
      program_.steps.back().statement = false;
    return;
  }
  case Step::assign_call: {
    const Node &n = node(s.a);
    if (n.op != Op::call) {
      const Operand v = value(s.a);
      site_ = site;
      if (!s.targets.empty() && s.targets[0] >= 0)
        assign(frame_->variables[std::size_t(s.targets[0])], v, n.type);
      else
        program_.steps.back().statement = true;
      return;
    }
    const std::vector<Operand> results = call(n);
    const Function &target = module_.functions[std::size_t(n.index)];
    site_ = site;
    for (std::size_t i = 0; i < s.targets.size(); ++i)
      if (s.targets[i] >= 0 && target.results[i] != Type::none)
        assign(frame_->variables[std::size_t(s.targets[i])], results[i], target.results[i]);
    return;
  }
  case Step::store:
    return store(s);
  case Step::check_index: // every access checks its own
    return;
  case Step::for_:
    return for_loop(s);
  case Step::while_:
  case Step::repeat: {
    const bool first = s.step == Step::while_;
    const Deeper deeper(*this);
    emit(Code::loop_begin);
    const std::int32_t again = here();
    auto test = [&] {
      const std::int32_t before = top_;
      const Operand condition = value(s.a);
      top_ = before;
      site_ = site;
      program_.sites[std::size_t(site)].kind = Site::Kind::branch;
      sim::Step &t = emit(first ? Code::while_test : Code::until_test, Cost::control, 0, condition);
      t.statement = true;
      return here() - 1;
    };
    if (first) {
      const std::int32_t at = test();
      block(s.blocks[0]);
      site_ = site;
      emit(Code::loop_next).target = again;
      program_.steps[std::size_t(at)].target = here();
    } else {
      block(s.blocks[0]);
      site_ = site;
      emit(Code::loop_next).target = here() + 1; // those that went on early are back
      const std::int32_t at = test();
      program_.steps[std::size_t(at)].target = again;
    }
    emit(Code::loop_end);
    return;
  }
  case Step::if_: {
    const Deeper deeper(*this);
    const std::int32_t before = top_;
    const Operand condition = value(s.a);
    top_ = before;
    site_ = site;
    program_.sites[std::size_t(site)].kind = Site::Kind::branch;
    emit(Code::if_, Cost::control, 0, condition).statement = true;
    const std::int32_t at = here() - 1;
    block(s.blocks[0]);
    site_ = site;
    program_.steps[std::size_t(at)].target = here();
    emit(Code::else_);
    const std::int32_t middle = here() - 1;
    block(s.blocks[1]);
    site_ = site;
    program_.steps[std::size_t(middle)].target = here();
    emit(Code::end_if);
    return;
  }
  case Step::break_:
    emit(Code::break_, Cost::control, 0).statement = true;
    return;
  case Step::continue_:
    emit(Code::continue_, Cost::control, 0).statement = true;
    return;
  case Step::return_: {
    std::vector<Operand> values;
    for (const Ref r : s.arguments)
      values.push_back(value(r));
    site_ = site;
    for (std::size_t i = 0; i < values.size(); ++i)
      assign(frame_->results[i], values[i], f_->results[i]);
    emit(outermost_ ? Code::exit : Code::return_, Cost::control, 0).statement = true;
    return;
  }
  case Step::spawn:
    throw InternalError("threads of this processor in a kernel of a GPU");
  case Step::sync:
    emit(s.integer == 0   ? Code::sync
         : s.integer == 1 ? Code::sync_warp
                          : Code::fence,
         Cost::control, 0)
        .statement = true;
    program_.syncs |= s.integer == 0;
    program_.fences |= s.integer == 2;
    return;
  }
}

void Compiler::for_loop(const Instruction &s) {
  const Deeper deeper(*this);
  const Type counter = f_->variables[std::size_t(s.variable)].type;
  const bool whole = counter == Type::int64;
  const std::int32_t site = site_;
  const Operand i = frame_->variables[std::size_t(s.variable)];
  const Operand limit = allocate(counter), by = allocate(counter); // they stay for the loop
  const std::int32_t before = top_;
  const Node &first = node(s.a);
  Operand start;
  if (whole && first.op == Op::convert && node(first.a).type != Type::int64) {
    const Operand number = widen(value(first.a), node(first.a).type);
    start = allocate(Type::int64);
    site_ = site;
    emit(Code::whole_start, Cost::integer, start, number);
  } else {
    start = value(s.a);
  }
  const Operand step = value(s.c);
  Operand last = value(s.b);
  site_ = site;
  if (whole && node(s.b).type != Type::int64) {
    last = widen(last, node(s.b).type);
    const Operand rounded = allocate(Type::int64);
    emit(Code::limit, Cost::integer, rounded, last, step);
    last = rounded;
  }
  const Type moved = whole ? Type::int64 : Type::float64;
  if (node(s.c).op != Op::constant)
    emit(Code::step_zero, 0, step).which = whole;
  move(i, start, moved);
  move(limit, last, moved);
  move(by, step, moved);
  top_ = before;
  emit(Code::loop_begin);
  const std::int32_t again = here();
  program_.sites[std::size_t(site)].kind = Site::Kind::branch;
  sim::Step &test = emit(whole ? Code::for_test_i : Code::for_test_d, Cost::control, 0, i, limit, by);
  test.statement = true;
  const std::int32_t at = here() - 1;
  const std::int32_t outer = std::exchange(counter_, s.variable);
  block(s.blocks[0]);
  counter_ = outer;
  site_ = site;
  sim::Step &next = emit(Code::loop_next, Cost::integer, i, by);
  next.which = whole ? 1 : 2;
  next.target = again;
  program_.steps[std::size_t(at)].target = here();
  emit(Code::loop_end);
}

Program compile(const Module &module) {
  return Compiler(module).run();
}

} // namespace perigee::sim
