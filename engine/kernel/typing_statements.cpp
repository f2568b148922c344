// Typing: statements.
#include "kernel/builder.hpp"

namespace perigee::kernel {

void Builder::block(const Block &statements, std::vector<Instruction> &into, bool keep_scope) {
  scopes_.emplace_back();
  for (std::size_t i = 0; i < statements.size(); ++i)
    statement(*statements[i], into, i + 1 == statements.size());
  if (!keep_scope)
    scopes_.pop_back();
}

void Builder::statement(const Statement &s, std::vector<Instruction> &into, bool last) {
  switch (s.kind) {
  case StatementKind::local:
    return local(s, into);
  case StatementKind::assign:
    return assign(s, into);
  case StatementKind::call:
    return call_statement(s, into);
  case StatementKind::do_:
    return block(s.blocks[0], into, false);
  case StatementKind::if_:
    return if_statement(s, into, 0);
  case StatementKind::numeric_for:
    return for_statement(s, into);
  case StatementKind::while_: {
    Instruction loop{Step::while_, s.at};
    loop.blocks.resize(1);
    loop.a = condition(*s.expressions[0], "while");
    loops_.push_back({next_label(s.blocks[0])});
    block(s.blocks[0], loop.blocks[0], false);
    loops_.pop_back();
    into.push_back(std::move(loop));
    return;
  }
  case StatementKind::repeat: {
    Instruction loop{Step::repeat, s.at};
    loop.blocks.resize(1);
    loops_.push_back({next_label(s.blocks[0])});
    block(s.blocks[0], loop.blocks[0], true);
    loops_.pop_back();
    loop.a = condition(*s.expressions[0], "until");
    scopes_.pop_back();
    into.push_back(std::move(loop));
    return;
  }
  case StatementKind::break_:
    if (loops_.empty())
      fail(s.at, "'break' is not inside a loop");
    into.push_back(Instruction{Step::break_, s.at});
    return;
  case StatementKind::goto_:
    if (loops_.empty() || loops_.back().label != s.names[0])
      fail(s.at,
           "kernels do not support 'goto', but to a label that ends the body of the loop around it (goto continue)");
    into.push_back(Instruction{Step::continue_, s.at});
    return;
  case StatementKind::label:
    if (!last || loops_.empty() || loops_.back().label != s.names[0])
      fail(s.at, "kernels do not support labels, but at the end of a loop's body (goto continue)");
    return;
  case StatementKind::return_:
    return return_statement(s, into);
  case StatementKind::generic_for:
    if (s.expressions.size() == 1 && s.names.size() == 1 && s.expressions[0]->kind == ExpressionKind::call &&
        callee(*s.expressions[0]).text == "gpu.stride")
      return stride_statement(s, into);
    fail(s.at, "kernels do not support 'for ... in': count with 'for i = 1, #a do'");
  case StatementKind::function:
  case StatementKind::local_function:
    fail(s.at, "kernels do not support functions inside functions: define '" +
                   (s.names.empty() ? std::string("it") : s.names[0]) + "' outside, and call it");
  }
}

std::string Builder::next_label(const Block &body) {
  return !body.empty() && body.back()->kind == StatementKind::label ? body.back()->names[0] : std::string();
}

void Builder::set(std::int32_t target, Ref value, Position at, std::vector<Instruction> &into) {
  assign_kind(target, kind(value), at);
  Instruction i{Step::assign, at};
  i.variable = target;
  i.a = convert(value, kind_of(target));
  into.push_back(std::move(i));
}

void Builder::local(const Statement &s, std::vector<Instruction> &into) {
  // Names of arrays, rows, functions and local arrays are names only.
  if (s.names.size() == s.expressions.size() || s.expressions.empty()) {
    std::vector<std::pair<std::string, Name>> named;
    std::vector<Ref> values(s.names.size(), -1);
    for (std::size_t i = 0; i < s.expressions.size(); ++i) {
      Name name;
      if (alias(*s.expressions[i], s.names[i], name, into))
        named.emplace_back(s.names[i], name);
      else {
        values[i] = value(*s.expressions[i]);
        named.emplace_back(s.names[i], Name());
      }
    }
    for (std::size_t i = 0; i < s.names.size(); ++i) {
      if (i < named.size() && values[i] < 0) {
        scopes_.back().push_back(named[i]);
        continue;
      }
      Name name;
      name.what = Name::What::variable;
      name.index = declare_variable(s.names[i], s.name_positions[i]);
      if (i < s.expressions.size())
        set(name.index, values[i], s.name_positions[i], into);
      else if (kind_of(name.index) != Kind::unknown) { // nil in Lua; every round of a loop starts anew
        Instruction zero{Step::assign, s.at};
        zero.variable = name.index;
        zero.a = kind_of(name.index) == Kind::boolean ? constant(0, Kind::boolean, s.at)
                                                      : convert(constant(0, Kind::number, s.at), kind_of(name.index));
        if (kind_of(name.index) == Kind::integer)
          zero.a = integer(0, s.at);
        into.push_back(std::move(zero));
      }
      scopes_.back().emplace_back(s.names[i], name);
    }
    return;
  }
  if (s.expressions.size() == 1 && grid_call(*s.expressions[0])) { // local i, j = gpu.grid(2)
    const std::vector<Ref> values = grid_values(*s.expressions[0], s.names.size());
    for (std::size_t i = 0; i < s.names.size(); ++i) {
      Name name;
      name.what = Name::What::variable;
      name.index = declare_variable(s.names[i], s.name_positions[i]);
      set(name.index, values[i], s.name_positions[i], into);
      scopes_.back().emplace_back(s.names[i], name);
    }
    return;
  }
  if (s.expressions.size() == 1 && is_call(*s.expressions[0])) { // local a, b = f()
    Instruction call{Step::assign_call, s.at};
    std::vector<Kind> kinds;
    call.a = call_many(*s.expressions[0], s.names.size(), kinds);
    for (std::size_t i = 0; i < s.names.size(); ++i) {
      const std::int32_t target = declare_variable(s.names[i], s.name_positions[i]);
      store_result(call, target, kinds[i], s.name_positions[i]);
      Name name;
      name.what = Name::What::variable;
      name.index = target;
      scopes_.back().emplace_back(s.names[i], name);
    }
    flush_call(std::move(call), into);
    return;
  }
  fail(s.at, std::to_string(s.names.size()) + " variables and " + std::to_string(s.expressions.size()) +
                 " values: give each its own");
}

// A result of a call goes into a variable; where that is of a wider kind, by way of one of its own kind.
void Builder::store_result(Instruction &call, std::int32_t target, Kind from, Position at) {
  assign_kind(target, from, at);
  if (kind_of(target) == from || from == Kind::unknown) {
    call.targets.push_back(target);
    return;
  }
  const std::int32_t between = new_variable(out_.variables[std::size_t(target)].name, at, from);
  call.targets.push_back(between);
  Instruction move{Step::assign, at};
  move.variable = target;
  move.a = convert(variable(between, at), kind_of(target));
  after_call_.push_back(std::move(move));
}

void Builder::flush_call(Instruction call, std::vector<Instruction> &into) {
  into.push_back(std::move(call));
  for (auto &move : after_call_)
    into.push_back(std::move(move));
  after_call_.clear();
}

void Builder::assign(const Statement &s, std::vector<Instruction> &into) {
  if (s.targets.size() != s.expressions.size()) {
    if (s.expressions.size() == 1 && grid_call(*s.expressions[0])) { // none of it reads what it assigns
      const std::vector<Ref> values = grid_values(*s.expressions[0], s.targets.size());
      for (std::size_t i = 0; i < s.targets.size(); ++i)
        assign_one(*s.targets[i], values[i], into);
      return;
    }
    if (s.expressions.size() == 1 && is_call(*s.expressions[0])) {
      Instruction call{Step::assign_call, s.at};
      std::vector<Kind> kinds;
      const std::vector<View> views = target_views(s, into);
      call.a = call_many(*s.expressions[0], s.targets.size(), kinds);
      for (std::size_t i = 0; i < s.targets.size(); ++i) {
        if (s.targets[i]->kind == ExpressionKind::name) {
          store_result(call, target_variable(*s.targets[i]), kinds[i], s.targets[i]->at);
          continue;
        }
        const std::int32_t between = new_variable("result", s.at, kinds[i]);
        call.targets.push_back(between);
        std::vector<Instruction> after;
        element_store(views[i], variable(between, s.at), s.targets[i]->at, after);
        for (auto &step : after)
          after_call_.push_back(std::move(step));
      }
      flush_call(std::move(call), into);
      return;
    }
    fail(s.at, std::to_string(s.targets.size()) + " targets and " + std::to_string(s.expressions.size()) +
                   " values: give each its own");
  }
  if (s.targets.size() == 1) {
    assign_one(*s.targets[0], value(*s.expressions[0]), into);
    return;
  }
  for (const auto &target : s.targets) // arrays swap names: said before what its values are
    if (target->kind == ExpressionKind::name)
      target_variable(*target);
  // All indices and values first, and then the last target before the first, as Lua does.
  const std::vector<View> views = target_views(s, into);
  std::vector<std::int32_t> held;
  for (const auto &e : s.expressions) {
    const Ref v = value(*e);
    const std::int32_t temporary = new_variable("value", e->at, kind(v));
    Instruction keep{Step::assign, e->at};
    keep.variable = temporary;
    keep.a = v;
    into.push_back(std::move(keep));
    held.push_back(temporary);
  }
  for (std::size_t i = s.targets.size(); i-- > 0;) {
    const Expression &target = *s.targets[i];
    const Ref v = variable(held[i], s.expressions[i]->at);
    if (target.kind == ExpressionKind::name)
      set(target_variable(target), v, target.at, into);
    else
      element_store(views[i], v, target.at, into);
  }
}

// The elements among several targets, with their indices computed.
std::vector<View> Builder::target_views(const Statement &s, std::vector<Instruction> &into) {
  std::vector<View> views(s.targets.size());
  hold_ = &into;
  for (std::size_t i = 0; i < s.targets.size(); ++i)
    if (s.targets[i]->kind != ExpressionKind::name)
      views[i] = target_view(*s.targets[i]);
  hold_ = nullptr;
  return views;
}

std::int32_t Builder::target_variable(const Expression &target) const {
  const Name name = resolve(target.text, target.at);
  if (name.what == Name::What::variable)
    return name.index;
  if (name.what == Name::What::array)
    fail(target.at, "'" + target.text +
                        "' names an array and cannot be given another value: use a new local; arrays "
                        "change places outside, from call to call (k(u, v), then k(v, u))");
  if (name.what == Name::What::refused)
    fail(target.at, name.text);
  if (name.binding.what == Binding::What::refused && name.binding.text == "nil")
    fail(target.at, "'" + target.text + "' is no variable of the kernel: write 'local " + target.text + " = ...'");
  fail(target.at, "'" + target.text +
                      "' is captured from outside and frozen when the kernel is compiled: a kernel "
                      "cannot assign to it; return the value or store it in an array");
}

void Builder::assign_one(const Expression &target, Ref v, std::vector<Instruction> &into) {
  if (target.kind == ExpressionKind::name)
    set(target_variable(target), v, target.at, into);
  else
    element_store(target_view(target), v, target.at, into);
}

View Builder::target_view(const Expression &target) {
  if (target.operands[1]->kind == ExpressionKind::string)
    fail(target.at, "kernels have no tables: '." + target.operands[1]->text + "' cannot be assigned to");
  return array_view(target);
}

void Builder::element_store(const View &view, Ref v, Position where, std::vector<Instruction> &into) {
  Array &array = out_.arrays[std::size_t(view.array)];
  if (int(view.leading.size()) != array.ndim)
    fail(where, "'" + array.name + "' has " + counted(array.ndim, "dimension") + ", and " +
                    std::to_string(view.leading.size()) +
                    (view.leading.size() == 1 ? " index names" : " indices name") +
                    " no element: kernels assign elements, one by one");
  if (!array.writable)
    fail(where, "'" + array.name + "' is read-only");
  array.written = true;
  const Kind element = kind_of_dtype(array.dtype);
  const Kind from = kind(v);
  if (from != Kind::unknown) {
    if ((from == Kind::boolean) != (element == Kind::boolean))
      fail(where, std::string("a ") + kind_name(from) + " cannot be stored in '" + array.name + "', an array of " +
                      (element == Kind::boolean ? "bool: compare it with something" : "numbers"));
    if (from == Kind::complex && element != Kind::complex)
      fail(where, "a complex number cannot be stored in '" + array.name + "', an array of real numbers");
  }
  Instruction store{Step::store, where};
  store.array = view.array;
  // A float into integers stays a float: the backend checks that it is whole and fits.
  store.a = element == Kind::integer ? v : convert(v, element);
  store.arguments = view.leading;
  store.integer = std::int64_t(view.leading.size()) - view.unchecked; // how many indices are checked
  into.push_back(std::move(store));
}

void Builder::call_statement(const Statement &s, std::vector<Instruction> &into) {
  const Expression &e = *s.expressions[0];
  if (e.kind == ExpressionKind::method_call && (e.text == "set" || e.text == "fill")) {
    View view;
    if (as_view(*e.operands[0], view)) {
      if (e.text == "fill")
        fail(e.at, "kernels do not support a:fill(): write a loop");
      if (e.operands.size() < 3)
        fail(e.at, "set takes indices and a value");
      for (std::size_t i = 1; i + 1 < e.operands.size(); ++i)
        push_index(view, *e.operands[i]);
      element_store(view, value(*e.operands.back()), e.at, into);
      return;
    }
  }
  if (e.kind == ExpressionKind::call && callee(e).what == Binding::What::builtin) {
    const std::string name = callee(e).text;
    const auto found = std::find(std::begin(syncs), std::end(syncs), name);
    if (found != std::end(syncs)) {
      need_gpu(name, e.at);
      if (e.operands.size() > 1)
        fail(e.at, "'" + name + "' takes no arguments");
      Instruction sync{Step::sync, s.at};
      sync.integer = found - std::begin(syncs);
      into.push_back(std::move(sync));
      return;
    }
  }
  Instruction call{Step::assign_call, s.at};
  std::vector<Kind> kinds;
  call.a = call_many(e, 0, kinds);
  flush_call(std::move(call), into);
}

void Builder::if_statement(const Statement &s, std::vector<Instruction> &into, std::size_t branch) {
  Instruction choice{Step::if_, s.expressions[branch]->at};
  choice.a = condition(*s.expressions[branch], "if");
  choice.blocks.resize(2);
  block(s.blocks[branch], choice.blocks[0], false);
  if (branch + 1 < s.expressions.size())
    if_statement(s, choice.blocks[1], branch + 1);
  else if (branch + 1 < s.blocks.size())
    block(s.blocks[branch + 1], choice.blocks[1], false);
  into.push_back(std::move(choice));
}

void Builder::for_statement(const Statement &s, std::vector<Instruction> &into) {
  const Ref start = value(*s.expressions[0]), limit = value(*s.expressions[1]);
  const Ref step = s.expressions.size() > 2 ? value(*s.expressions[2]) : integer(1, s.at);
  counted_loop(s, start, limit, step, into);
}

// for i in gpu.stride(n) do: for i = gpu.grid(1), n, gpu.gridsize(1) do
void Builder::stride_statement(const Statement &s, std::vector<Instruction> &into) {
  const Expression &call = *s.expressions[0];
  need_gpu("gpu.stride", call.at);
  if (call.operands.size() != 2)
    fail(call.at, "'gpu.stride' takes the last index, as in: for i in gpu.stride(#x) do");
  const Ref start = place(Gpu::grid, 0, "gpu.stride", call.at);
  const Ref limit = value(*call.operands[1]);
  counted_loop(s, start, limit, place(Gpu::grid_size, 0, "gpu.stride", call.at), into);
}

void Builder::counted_loop(const Statement &s, Ref start, Ref limit, Ref step, std::vector<Instruction> &into) {
  const Position where = s.at;
  for (const Ref r : {start, limit, step}) {
    need_number(r, "'for'");
    if (kind(r) == Kind::complex)
      fail(at(r), "'for' counts in real numbers");
  }
  const Node &first = out_.nodes[std::size_t(start)];
  const bool fraction =
      first.op == Op::constant && kind(start) == Kind::number && first.number != std::floor(first.number);
  // A whole step makes an integer loop, whose start must be whole; a fractional one counts in float64.
  const bool whole = kind(step) == Kind::integer && !fraction;
  const Kind counter = kind(step) == Kind::unknown || kind(start) == Kind::unknown ? Kind::unknown
                       : whole                                                     ? Kind::integer
                                                                                   : Kind::number;
  Instruction loop{Step::for_, where};
  loop.blocks.resize(1);
  const std::int32_t hidden = new_variable(s.names[0], s.name_positions[0], counter);
  loop.variable = hidden;
  const Expression &from = *s.expressions[0];
  loop.integer = from.kind == ExpressionKind::name && from.text.starts_with("(first"); // over an index of parallel_for
  loop.a = whole ? convert(start, Kind::integer) : convert(start, counter);
  // The limit of an integer loop may be any number: the backend rounds it towards the start.
  loop.b = whole && kind(limit) == Kind::float32 ? convert(limit, Kind::number)
           : whole                               ? limit
                                                 : convert(limit, counter);
  loop.c = convert(step, counter);
  const Node &by = out_.nodes[std::size_t(loop.c)];
  if (by.op == Op::constant && final_ && (counter == Kind::integer ? by.integer == 0 : by.number == 0))
    fail(at(step), "'for' step is zero");
  loops_.push_back({next_label(s.blocks[0])});
  scopes_.emplace_back();
  // The body may assign to its variable without changing the count.
  Name name;
  name.what = Name::What::variable;
  name.index = declare_variable(s.names[0], s.name_positions[0]);
  scopes_.back().emplace_back(s.names[0], name);
  set(name.index, variable(hidden, where), where, loop.blocks[0]);
  block(s.blocks[0], loop.blocks[0], false);
  scopes_.pop_back();
  loops_.pop_back();
  into.push_back(std::move(loop));
}

void Builder::return_statement(const Statement &s, std::vector<Instruction> &into) {
  Instruction back{Step::return_, s.at};
  std::vector<Ref> values;
  if (s.expressions.size() == 1 && is_call(*s.expressions[0]) && user_function(*s.expressions[0])) { // return f(x)
    std::vector<Kind> kinds;
    Instruction call{Step::assign_call, s.at};
    call.a = call_many(*s.expressions[0], std::size_t(-1), kinds);
    for (const Kind k : kinds) {
      const std::int32_t between = new_variable("result", s.at, k);
      call.targets.push_back(between);
      values.push_back(variable(between, s.at));
    }
    into.push_back(std::move(call));
  } else {
    for (const auto &e : s.expressions)
      values.push_back(value(*e));
  }
  if (!returned_seen_) {
    returned_seen_ = true;
    results_.assign(values.size(), Kind::unknown);
    first_return_ = s.at;
  }
  returned_ = true;
  if (values.size() != results_.size())
    fail(s.at, "this returns " + std::to_string(values.size()) + " values, and line " +
                   std::to_string(first_return_.line) + " returns " + std::to_string(results_.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Kind both = join(results_[i], kind(values[i]));
    if (both == Kind::unknown && kind(values[i]) != Kind::unknown)
      fail(s.at, std::string("this returns a ") + kind_name(kind(values[i])) + ", and line " +
                     std::to_string(first_return_.line) + " a " + kind_name(results_[i]));
    if (both != results_[i]) {
      results_[i] = both;
      changed_ = true;
    }
    back.arguments.push_back(convert(values[i], results_[i]));
  }
  out_.results.clear();
  for (const Kind k : results_)
    out_.results.push_back(type_of(k));
  into.push_back(std::move(back));
}

} // namespace perigee::kernel
