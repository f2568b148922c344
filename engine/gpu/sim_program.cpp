// From the typed form of a kernel to steps of a warp.
#include "gpu/sim_program.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace perigee::sim {

using namespace kernel;

namespace {

using kernel::Step; // of the typed form: sim::Step is written in full

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

Cost cost_of(Type type) {
  return type == Type::float32                               ? Cost::float32
         : type == Type::float64 || type == Type::complex128 ? Cost::float64
                                                             : Cost::integer;
}

class Compiler {
 public:
  explicit Compiler(const Module &module) : module_(module) {}

  Program run() {
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

 private:
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
  Operand allocate(Type type) {
    const Operand made = top_ * 2;
    top_ += type == Type::complex128 ? 2 : 1;
    most_ = std::max(most_, top_);
    if (top_ > 1 << 20)
      throw UnsupportedError("this kernel is too large for the simulator");
    return made;
  }

  Operand uniform(const Uniform &u) {
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

  std::int32_t add_slot(const ArraySlot &slot) {
    program_.arrays.push_back(slot);
    return std::int32_t(program_.arrays.size()) - 1;
  }
  std::int32_t add_site(Position at, Site::Kind kind, std::int32_t array) {
    program_.sites.push_back({at, f_ ? f_->chunk : module_.chunk, array, kind});
    return std::int32_t(program_.sites.size()) - 1;
  }

  sim::Step &emit(Code code, Operand to = 0, Operand a = 0, Operand b = 0, Operand c = 0) {
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
  sim::Step &emit(Code code, Cost cost, Operand to, Operand a = 0, Operand b = 0, Operand c = 0) {
    sim::Step &step = emit(code, to, a, b, c);
    step.cost = cost;
    return step;
  }
  std::int32_t here() const { return std::int32_t(program_.steps.size()); }

  // Types none, boolean, int64, float32 and float64.
  sim::Step &move(Operand to, Operand from, Type type) {
    return emit(type == Type::boolean   ? Code::move_mask
                : type == Type::float32 ? Code::move_float
                                        : Code::move_wide,
                to, from);
  }
  void assign(Operand to, Operand from, Type type) {
    if (type == Type::complex128) {
      move(to, from, Type::float64);
      move(to + 2, from + 2, Type::float64).statement = true;
    } else {
      move(to, from, type).statement = true;
    }
  }

  void begin(Frame &frame, const Function &f) {
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
  void block(const std::vector<Instruction> &steps) {
    for (const Instruction &s : steps) {
      const std::int32_t before = top_;
      step(s);
      top_ = before;
    }
  }

  struct Deeper {
    explicit Deeper(Compiler &c) : c(c) { c.program_.depth = std::max(c.program_.depth, ++c.depth_); }
    ~Deeper() { --c.depth_; }
    Compiler &c;
  };

  void step(const Instruction &s) {
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

  void for_loop(const Instruction &s) {
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

  // --------------------------------------------------------------------------------------------------- memory ----
  Operand widen(Operand v, Type type) {
    if (type != Type::float32)
      return v;
    const Operand wide = allocate(Type::float64);
    emit(Code::float_to_double, wide, v);
    return wide;
  }

  // An index: a float must be whole.
  Operand index(Ref ref, std::int32_t array, int dimension) {
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

  // The operands that index an element; where they begin.
  std::int32_t indices(std::int32_t array, const std::vector<Ref> &arguments) {
    const Binding &binding = frame_->arrays[std::size_t(array)];
    std::vector<Operand> all = binding.leading;
    for (std::size_t d = 0; d < arguments.size(); ++d)
      all.push_back(index(arguments[d], array, int(binding.leading.size() + d)));
    const auto first = program_.operands.size();
    program_.operands.insert(program_.operands.end(), all.begin(), all.end());
    return std::int32_t(first);
  }

  sim::Step &access(Code code, std::int32_t array, std::int32_t first, Position at, Site::Kind kind, Operand to,
                    Operand a, Operand b = 0) {
    const std::int32_t slot = frame_->arrays[std::size_t(array)].slot;
    const ArraySlot &s = program_.arrays[std::size_t(slot)];
    site_ = add_site(at, kind, slot);
    sim::Step &step = emit(code, s.where == ArraySlot::Where::own ? Cost::none : Cost::memory, to, a, b);
    step.array = slot;
    step.target = first;
    return step;
  }

  void store(const Instruction &s) {
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

  Operand load(const Node &n) {
    const std::int32_t first = indices(n.index, n.arguments);
    const std::int32_t slot = frame_->arrays[std::size_t(n.index)].slot;
    const bool own = program_.arrays[std::size_t(slot)].where == ArraySlot::Where::own;
    const Operand to = allocate(n.type);
    const std::int32_t before = site_;
    access(own ? Code::load_own : Code::load, n.index, first, n.at, Site::Kind::read, to, 0);
    site_ = before;
    return to;
  }

  Operand atomic(const Node &n) {
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
  const Node &node(Ref r) const { return f_->nodes[std::size_t(r)]; }

  // Whether computing it for a lane that does not need it does no harm.
  bool harmless(Ref ref) const {
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

  Operand constant(const Node &n) {
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

  Operand value(Ref ref) {
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

  // An operand that only some lanes need: those where the test is true (`otherwise`: false).
  Operand guarded(Operand test, bool otherwise, Ref ref, Type type) {
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

  Operand convert(Operand v, Type from, Type to) {
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

  Operand arithmetic(const Node &n, Code whole, Code single, Code wide) {
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

  Operand compare(const Node &n, Code whole, Code single, Code wide) {
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

  Operand mathematics(const Node &n) {
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
    sim::Step &step = emit(t == Type::float32 ? Code::math_f : Code::math_d, plain ? cost_of(t) : Cost::special, to,
                           a[0], a.size() > 1 ? a[1] : a[0]);
    step.which = std::uint8_t(n.math);
    if (n.math == Math::power_of)
      step.c = uniform({Uniform::What::real, 0, n.number, 0, Type::float64, Gpu::none});
    return to;
  }

  Operand warp(const Node &n) {
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

  // The function in its place. Its results.
  std::vector<Operand> call(const Node &n) {
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

} // namespace

Program compile(const Module &module) {
  return Compiler(module).run();
}

} // namespace perigee::sim
