// Parallel loops, made of the function that is their body.
#include "array/array.hpp"
#include "kernel/builder.hpp"

#include <cctype>

namespace perigee::kernel {

namespace {

ExpressionPtr clone(const Expression &e);
Block clone(const Block &block);

std::unique_ptr<FunctionBody> clone(const FunctionBody &f) {
  auto out = std::make_unique<FunctionBody>();
  out->at = f.at;
  out->last_line = f.last_line;
  out->parameters = f.parameters;
  out->parameter_positions = f.parameter_positions;
  out->variadic = f.variadic;
  out->body = clone(f.body);
  return out;
}

ExpressionPtr clone(const Expression &e) {
  auto out = std::make_unique<Expression>();
  out->kind = e.kind;
  out->at = e.at;
  out->text = e.text;
  out->value = e.value;
  out->number = e.number;
  out->integer = e.integer;
  out->number_kind = e.number_kind;
  out->op = e.op;
  out->height = e.height;
  for (const auto &operand : e.operands)
    out->operands.push_back(clone(*operand));
  if (e.function)
    out->function = clone(*e.function);
  return out;
}

Block clone(const Block &block) {
  Block out;
  for (const auto &s : block) {
    auto c = std::make_unique<Statement>();
    c->kind = s->kind;
    c->at = s->at;
    c->names = s->names;
    c->name_positions = s->name_positions;
    for (const auto &e : s->targets)
      c->targets.push_back(clone(*e));
    for (const auto &e : s->expressions)
      c->expressions.push_back(clone(*e));
    for (const auto &b : s->blocks)
      c->blocks.push_back(clone(b));
    if (s->function)
      c->function = clone(*s->function);
    out.push_back(std::move(c));
  }
  return out;
}

// Names that no source can have.
constexpr const char *total_name = "(total)", *next_name = "(next)";

ExpressionPtr name(const std::string &text, Position at) {
  auto e = std::make_unique<Expression>();
  e->kind = ExpressionKind::name;
  e->at = at;
  e->text = text;
  return e;
}

ExpressionPtr call_of(const std::string &function, std::vector<ExpressionPtr> arguments, Position at) {
  auto e = std::make_unique<Expression>();
  e->kind = ExpressionKind::call;
  e->at = at;
  e->operands.push_back(name(function, at));
  for (auto &a : arguments)
    e->operands.push_back(std::move(a));
  return e;
}

class Loop {
 public:
  Loop(const Source &source, std::string reduce) : source_(source), reduce_(std::move(reduce)) {}

  // `return e` as: total = total + e, and on to the next round.
  void returns(Block &block, bool in_loop) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      Statement &s = *block[i];
      if (s.kind == StatementKind::return_) {
        if (in_loop)
          fail(s.at, "the body of a parallel loop returns outside loops of its own only: break, and return after them");
        if (reduce_.empty() && !s.expressions.empty())
          fail(s.at, "the body of a parallel loop returns a value only where reduce says how values are combined");
        if (!reduce_.empty() && s.expressions.size() != 1)
          fail(s.at, "the body of this parallel loop returns one value, to be combined by reduce");
        auto on = std::make_unique<Statement>();
        on->kind = StatementKind::goto_;
        on->at = s.at;
        on->names = {next_name};
        on->name_positions = {s.at};
        if (reduce_.empty()) {
          block[i] = std::move(on);
          continue;
        }
        auto add = std::make_unique<Statement>();
        add->kind = StatementKind::assign;
        add->at = s.at;
        add->targets.push_back(name(total_name, s.at));
        add->expressions.push_back(combined(std::move(s.expressions[0]), s.at));
        auto both = std::make_unique<Statement>();
        both->kind = StatementKind::do_;
        both->at = s.at;
        both->blocks.resize(1);
        both->blocks[0].push_back(std::move(add));
        both->blocks[0].push_back(std::move(on));
        block[i] = std::move(both);
        continue;
      }
      const bool loops = s.kind == StatementKind::numeric_for || s.kind == StatementKind::while_ ||
                         s.kind == StatementKind::repeat || s.kind == StatementKind::generic_for;
      for (Block &inner : s.blocks)
        returns(inner, in_loop || loops);
    }
  }

 private:
  [[noreturn]] void fail(Position at, const std::string &message) const {
    throw CompileError{message, source_.chunk, at};
  }

  ExpressionPtr combined(ExpressionPtr value, Position at) {
    if (reduce_ == "min" || reduce_ == "max") {
      std::vector<ExpressionPtr> both;
      both.push_back(std::move(value)); // this way round NaN is passed over, wherever it comes
      both.push_back(name(total_name, at));
      return call_of("(" + reduce_ + ")", std::move(both), at);
    }
    auto e = std::make_unique<Expression>();
    e->kind = ExpressionKind::binary;
    e->at = at;
    e->op = reduce_ == "sum" ? TokenKind::plus : TokenKind::star;
    e->value = true; // may be reordered
    e->operands.push_back(name(total_name, at));
    e->operands.push_back(std::move(value));
    return e;
  }

  const Source &source_;
  const std::string reduce_;
};

} // namespace

namespace {

// The loop as a function of ranges (first, last of each index) and of what the body works on. `made` holds its tree.
Source loop_over_ranges(const Source &source, int dimensions, const std::string &reduce,
                        std::unique_ptr<FunctionBody> &made) {
  const FunctionBody &f = *source.body;
  const Position at = f.at;
  if (f.variadic || int(f.parameters.size()) < dimensions)
    throw CompileError{"the body of this parallel loop has " + std::to_string(dimensions) +
                           " indices as its first parameters, then what it works on",
                       source.chunk, at};
  made = std::make_unique<FunctionBody>();
  made->at = at;
  made->last_line = f.last_line;
  auto parameter = [&](const std::string &text, Position where) {
    made->parameters.push_back(text);
    made->parameter_positions.push_back(where);
  };
  for (int d = 0; d < dimensions; ++d) {
    parameter("(first" + std::to_string(d) + ")", at);
    parameter("(last" + std::to_string(d) + ")", at);
  }
  for (std::size_t i = std::size_t(dimensions); i < f.parameters.size(); ++i)
    parameter(f.parameters[i], f.parameter_positions[i]);

  Block inner = clone(f.body);
  Loop(source, reduce).returns(inner, false);
  { // the body has a scope of its own, and the label comes after it
    auto scope = std::make_unique<Statement>();
    scope->kind = StatementKind::do_;
    scope->at = at;
    scope->blocks.push_back(std::move(inner));
    auto label = std::make_unique<Statement>();
    label->kind = StatementKind::label;
    label->at = at;
    label->names = {next_name};
    label->name_positions = {at};
    Block with_label;
    with_label.push_back(std::move(scope));
    with_label.push_back(std::move(label));
    inner = std::move(with_label);
  }
  for (int d = dimensions - 1; d >= 0; --d) {
    auto loop = std::make_unique<Statement>();
    loop->kind = StatementKind::numeric_for;
    loop->at = at;
    loop->names = {f.parameters[std::size_t(d)]};
    loop->name_positions = {f.parameter_positions[std::size_t(d)]};
    loop->expressions.push_back(name("(first" + std::to_string(d) + ")", at));
    loop->expressions.push_back(name("(last" + std::to_string(d) + ")", at));
    loop->blocks.push_back(std::move(inner));
    inner.clear();
    inner.push_back(std::move(loop));
  }
  Source whole = source;
  whole.body = made.get();
  if (!reduce.empty()) {
    auto start = std::make_unique<Statement>();
    start->kind = StatementKind::local;
    start->at = at;
    start->names = {total_name};
    start->name_positions = {at};
    auto value = std::make_unique<Expression>();
    value->kind = ExpressionKind::number;
    value->at = at;
    value->number_kind = NumberKind::integer;
    value->integer = reduce == "product" ? 1 : 0;
    value->number = double(value->integer);
    if (reduce == "min" || reduce == "max") { // infinities are floats
      value->number_kind = NumberKind::real;
      value->number = reduce == "min" ? __builtin_inf() : -__builtin_inf();
    }
    start->expressions.push_back(std::move(value));
    auto end = std::make_unique<Statement>();
    end->kind = StatementKind::return_;
    end->at = at;
    end->expressions.push_back(name(total_name, at));
    Block body;
    body.push_back(std::move(start));
    body.push_back(std::move(inner[0]));
    body.push_back(std::move(end));
    made->body = std::move(body);
    for (const char *function : {"min", "max"}) {
      Binding &binding = whole.bindings["(" + std::string(function) + ")"];
      binding.what = Binding::What::builtin;
      binding.text = "math." + std::string(function);
    }
  } else {
    made->body = std::move(inner);
  }
  return whole;
}

} // namespace

Module parallel_for(const Source &source, int dimensions, const std::string &reduce,
                    const std::vector<ArgumentType> &arguments) {
  std::unique_ptr<FunctionBody> made;
  Module module = specialise(loop_over_ranges(source, dimensions, reduce, made), arguments);
  module.entry = Entry::packed;
  return module;
}

// ------------------------------------------------------------------------------------------------------- on a GPU ----
namespace {

std::unique_ptr<Statement> statement(StatementKind kind, Position at) {
  auto s = std::make_unique<Statement>();
  s->kind = kind;
  s->at = at;
  return s;
}

ExpressionPtr binary(TokenKind op, ExpressionPtr a, ExpressionPtr b, Position at) {
  auto e = std::make_unique<Expression>();
  e->kind = ExpressionKind::binary;
  e->at = at;
  e->op = op;
  e->operands.push_back(std::move(a));
  e->operands.push_back(std::move(b));
  return e;
}

// local z, y, x = gpu.grid(n), so that the last index goes along x: names are in the order of the loop.
std::unique_ptr<Statement> place_in_grid(const std::vector<std::string> &names, Position at) {
  auto s = statement(StatementKind::local, at);
  for (auto n = names.rbegin(); n != names.rend(); ++n) {
    s->names.push_back(*n);
    s->name_positions.push_back(at);
  }
  auto count = std::make_unique<Expression>();
  count->kind = ExpressionKind::number;
  count->at = at;
  count->number_kind = NumberKind::integer;
  count->integer = std::int64_t(names.size());
  count->number = double(names.size());
  std::vector<ExpressionPtr> arguments;
  arguments.push_back(std::move(count));
  s->expressions.push_back(call_of("(grid)", std::move(arguments), at));
  return s;
}

Module grid_of(Source whole, FunctionBody &made, const std::vector<ArgumentType> &arguments) {
  whole.body = &made;
  Binding &binding = whole.bindings["(grid)"];
  binding.what = Binding::What::builtin;
  binding.text = "gpu.grid";
  return grid(whole, arguments);
}

} // namespace

Module grid_loop(const Source &source, int dimensions, const std::vector<ArgumentType> &arguments) {
  const FunctionBody &f = *source.body;
  const Position at = f.at;
  if (f.variadic || int(f.parameters.size()) < dimensions)
    throw CompileError{"the body of this parallel loop has " + std::to_string(dimensions) +
                           " indices as its first parameters, then what it works on",
                       source.chunk, at};
  FunctionBody made;
  made.at = at;
  made.last_line = f.last_line;
  std::vector<std::string> indices;
  ExpressionPtr inside;
  for (int d = 0; d < dimensions; ++d) {
    const std::string length = "(length" + std::to_string(d) + ")";
    made.parameters.push_back(length);
    made.parameter_positions.push_back(at);
    indices.push_back(f.parameters[std::size_t(d)]);
    ExpressionPtr test = binary(TokenKind::le, name(indices.back(), at), name(length, at), at);
    inside = inside ? binary(TokenKind::and_, std::move(inside), std::move(test), at) : std::move(test);
  }
  for (std::size_t i = std::size_t(dimensions); i < f.parameters.size(); ++i) {
    made.parameters.push_back(f.parameters[i]);
    made.parameter_positions.push_back(f.parameter_positions[i]);
  }
  made.body.push_back(place_in_grid(indices, at));
  auto guard = statement(StatementKind::if_, at);
  guard->expressions.push_back(std::move(inside));
  guard->blocks.push_back(clone(f.body));
  made.body.push_back(std::move(guard));
  return grid_of(source, made, arguments);
}

Module grid_elementwise(const std::shared_ptr<Source> &source, int results,
                        const std::vector<ArgumentType> &arguments) {
  const FunctionBody &f = *source->body;
  const Position at = f.at;
  auto element = [&](const std::string &array) {
    auto e = std::make_unique<Expression>();
    e->kind = ExpressionKind::index;
    e->at = at;
    e->operands.push_back(name(array, at));
    e->operands.push_back(name("(i)", at));
    return e;
  };
  FunctionBody made;
  made.at = at;
  made.last_line = f.last_line;
  std::vector<ExpressionPtr> given;
  const std::size_t inputs = f.parameters.size();
  for (std::size_t k = 0; k < arguments.size(); ++k) {
    const bool input = k > 0 && k <= inputs;
    made.parameters.push_back(k == 0 ? "(n)" : input ? f.parameters[k - 1] : "result " + std::to_string(k - inputs));
    made.parameter_positions.push_back(at);
    if (input)
      given.push_back(arguments[k].is_array ? element(made.parameters[k]) : name(made.parameters[k], at));
  }
  made.body.push_back(place_in_grid({"(i)"}, at));
  auto work = statement(results > 0 ? StatementKind::assign : StatementKind::call, at);
  for (int r = 0; r < results; ++r)
    work->targets.push_back(element("result " + std::to_string(r + 1)));
  work->expressions.push_back(call_of("(f)", std::move(given), at));
  auto guard = statement(StatementKind::if_, at);
  guard->expressions.push_back(binary(TokenKind::le, name("(i)", at), name("(n)", at), at));
  guard->blocks.emplace_back();
  guard->blocks.back().push_back(std::move(work));
  made.body.push_back(std::move(guard));
  Source whole;
  whole.chunk = source->chunk;
  whole.tree = source->tree;
  whole.name = source->name;
  Binding &binding = whole.bindings["(f)"];
  binding.what = Binding::What::function;
  binding.function = source;
  return grid_of(std::move(whole), made, arguments);
}

namespace {

std::int32_t dtype_of(Kind kind) {
  switch (kind) {
  case Kind::boolean:
    return PG_BOOL;
  case Kind::integer:
    return PG_INT64;
  case Kind::float32:
    return PG_FLOAT32;
  case Kind::complex:
    return PG_COMPLEX128;
  default:
    return PG_FLOAT64;
  }
}

} // namespace

Module elementwise(const Source &source, const std::vector<Operand> &operands, std::vector<std::int32_t> &outputs,
                   bool outputs_contiguous) {
  const Position at = source.body->at;
  Specialiser specialiser;
  Module &module = specialiser.module;
  module.chunk = source.chunk;
  module.entry = Entry::loop;
  module.functions.emplace_back(); // the loop
  std::vector<ArgumentType> types;
  for (const Operand &operand : operands) {
    ArgumentType type;
    type.kind = operand.is_array ? kind_of_dtype(operand.dtype) : operand.kind;
    types.push_back(type);
  }
  const Callee callee = specialiser.function(source, types, at, source.chunk);
  if (callee.results.empty())
    throw CompileError{"'" + source.name +
                           "' returns nothing: a whole-array operation returns the elements of its results",
                       source.chunk, at};
  const bool given = !outputs.empty();
  if (given && outputs.size() != callee.results.size())
    throw CompileError{"'" + source.name + "' returns " + std::to_string(callee.results.size()) + " values, and " +
                           std::to_string(outputs.size()) + " arrays are given for them",
                       source.chunk, at};

  Function loop;
  loop.name = source.name;
  loop.chunk = source.chunk;
  loop.text = source.text;
  loop.at = at;
  auto add_node = [&](Node node) {
    node.at = at;
    loop.nodes.push_back(std::move(node));
    return Ref(loop.nodes.size()) - 1;
  };
  auto variable = [&](std::int32_t index) {
    Node node;
    node.op = Op::variable;
    node.type = loop.variables[std::size_t(index)].type;
    node.index = index;
    return add_node(node);
  };
  auto new_variable = [&](const char *name, Type type) {
    loop.variables.push_back({name, type, at});
    return std::int32_t(loop.variables.size()) - 1;
  };
  auto whole = [&](std::int64_t value) {
    Node node;
    node.type = Type::int64;
    node.integer = value;
    node.number = double(value);
    return add_node(node);
  };
  const std::int32_t i = new_variable("i", Type::int64);
  Node call;
  call.op = Op::call;
  call.index = callee.index;
  call.type = type_of(callee.results[0]);
  for (std::size_t k = 0; k < operands.size(); ++k) {
    const std::string &name = source.body->parameters[k];
    if (!operands[k].is_array) {
      const std::int32_t v = new_variable(name.c_str(), type_of(operands[k].kind));
      loop.parameters.push_back({false, v});
      call.arguments.push_back(variable(v));
      continue;
    }
    Array array;
    array.name = name;
    array.at = at;
    array.dtype = operands[k].dtype;
    array.ndim = 1;
    array.contiguous = operands[k].contiguous;
    loop.arrays.push_back(array);
    loop.parameters.push_back({true, std::int32_t(loop.arrays.size()) - 1});
    Node load;
    load.op = Op::load;
    load.type = type_of(kind_of_dtype(array.dtype));
    load.index = std::int32_t(loop.arrays.size()) - 1;
    load.arguments = {variable(i)};
    load.integer = 1; // checked
    call.arguments.push_back(add_node(load));
  }
  Instruction body{Step::for_, at}, evaluate{Step::assign_call, at};
  evaluate.a = add_node(call);
  std::vector<Instruction> steps;
  for (std::size_t k = 0; k < callee.results.size(); ++k) {
    const Kind kind = callee.results[k];
    const std::int32_t result = new_variable("result", type_of(kind));
    evaluate.targets.push_back(result);
    if (!given)
      outputs.push_back(dtype_of(kind));
    const Kind element = kind_of_dtype(outputs[k]);
    const bool fits = kind == Kind::boolean      ? element == Kind::boolean
                      : element == Kind::boolean ? false
                      : kind == Kind::complex    ? element == Kind::complex
                      : kind == Kind::integer    ? true
                                                 : element != Kind::integer;
    if (!fits)
      throw CompileError{"'" + source.name + "' gives a " + kind_name(kind) + " as result " + std::to_string(k + 1) +
                             ", which the array given for it does not hold",
                         source.chunk, at};
    Array array;
    array.name = "result " + std::to_string(k + 1);
    array.at = at;
    array.dtype = outputs[k];
    array.ndim = 1;
    array.contiguous = outputs_contiguous;
    array.written = true;
    loop.arrays.push_back(array);
    loop.parameters.push_back({true, std::int32_t(loop.arrays.size()) - 1});
    Instruction store{Step::store, at};
    store.array = std::int32_t(loop.arrays.size()) - 1;
    store.a = variable(result);
    const Type wanted = element == Kind::integer ? Type::int64 : type_of(element);
    if (loop.nodes[std::size_t(store.a)].type != wanted) {
      Node convert;
      convert.op = Op::convert;
      convert.type = wanted;
      convert.a = store.a;
      store.a = add_node(convert);
    }
    store.arguments = {variable(i)};
    store.integer = 1;
    steps.push_back(store);
  }
  body.variable = i;
  body.integer = 1;
  body.a = whole(1);
  Node length; // of the last array: an output
  length.op = Op::length;
  length.type = Type::int64;
  length.index = std::int32_t(loop.arrays.size()) - 1;
  body.b = add_node(length);
  body.c = whole(1);
  body.blocks.resize(1);
  body.blocks[0].push_back(evaluate);
  for (auto &step : steps)
    body.blocks[0].push_back(std::move(step));
  loop.body.push_back(std::move(body));
  module.functions[0] = std::move(loop);
  return std::move(specialiser.module);
}

namespace {

// What combines `value` with `total`.
std::string combined_text(const std::string &reduce, const std::string &value, const std::string &total) {
  if (reduce == "sum" || reduce == "product")
    return total + (reduce == "sum" ? " + " : " * ") + value;
  return "_p_math." + reduce + "(" + value + ", " + total + ")"; // this way round NaN is passed over
}

} // namespace

Module grid_reduce(const Source &source, int dimensions, const std::string &reduce,
                   const std::vector<ArgumentType> &arguments) {
  std::unique_ptr<FunctionBody> made;
  auto loop = std::make_shared<Source>(loop_over_ranges(source, dimensions, reduce, made));
  const std::string tile = array::dtype_name(arguments.back().dtype);
  const std::string identity = reduce == "product" ? "1" : reduce == "sum" ? "0" : reduce == "min" ? "1/0" : "-1/0";

  // Lua, all on the body's first line, so that whatever names a line names that one. Names lose their prefix where the
  // body has no such parameters.
  std::string given, parameters, loops, ends;
  static const char *const axes[] = {"x", "y", "z"};
  std::string place, sizes;
  for (int d = 0; d < dimensions; ++d) {
    const std::string n = std::to_string(d), axis = axes[dimensions - 1 - d]; // the last index goes along x
    parameters += "_p_length" + n + ", ";
    place += std::string(d ? ", " : "") + "_p_thread_" + axes[d];
    sizes += std::string(d ? ", " : "") + "_p_threads_" + axes[d];
    loops += "for _p_round" + n + " = _p_thread_" + axis + ", _p_length" + n + ", _p_threads_" + axis + " do ";
    given += (d ? ", _p_round" : "_p_round") + n + ", _p_round" + n;
    ends += "end ";
  }
  for (std::size_t i = std::size_t(dimensions); i < source.body->parameters.size(); ++i) {
    parameters += source.body->parameters[i] + ", ";
    given += ", " + source.body->parameters[i];
  }
  const std::string count = std::to_string(dimensions);
  std::string text =
      std::string(std::size_t(source.body->at.line - 1), '\n') + "local f = function(" + parameters + "_p_parts) " +
      "local _p_tile = _p_gpu.shared('" + tile + "', " + std::to_string(reduce_threads) + ") " + "local " + place +
      " = _p_gpu.grid(" + count + ") local " + sizes + " = _p_gpu.gridsize(" + count + ") " +
      "local _p_total = " + identity + " " + loops +
      "_p_total = " + combined_text(reduce, "_p_loop(" + given + ")", "_p_total") + " " + ends +
      "local _p_thread = _p_gpu.threadIdx.x + _p_gpu.blockDim.x * (_p_gpu.threadIdx.y - 1 + _p_gpu.blockDim.y * "
      "(_p_gpu.threadIdx.z - 1)) "
      "_p_tile[_p_thread] = _p_total _p_gpu.sync() local _p_half = " +
      std::to_string(reduce_threads / 2) + " while _p_half >= 1 do if _p_thread <= _p_half then _p_tile[_p_thread] = " +
      combined_text(reduce, "_p_tile[_p_thread + _p_half]", "_p_tile[_p_thread]") +
      " end _p_gpu.sync() _p_half = _p_bit.rshift(_p_half, 1) end "
      "if _p_thread == 1 then _p_parts[_p_gpu.blockIdx.x + _p_gpu.gridDim.x * (_p_gpu.blockIdx.y - 1 + "
      "_p_gpu.gridDim.y * "
      "(_p_gpu.blockIdx.z - 1))] = _p_tile[1] end end";
  const std::string prefix = "_p_";
  auto names = [&](const std::string &parameter) { // whether the text has it as a name of its own
    const std::string wanted = prefix + parameter;
    for (std::size_t at = 0; (at = text.find(wanted, at)) != std::string::npos; ++at)
      if (const char after = text[at + wanted.size()]; after != '_' && !std::isalnum(static_cast<unsigned char>(after)))
        return true;
    return false;
  };
  bool plain = true;
  for (const std::string &parameter : source.body->parameters)
    plain &= parameter.find(prefix) == std::string::npos && !names(parameter);
  for (std::size_t at = 0; plain && (at = text.find(prefix, at)) != std::string::npos;)
    text.erase(at, prefix.size());
  Source whole;
  whole.chunk = source.chunk;
  whole.name = source.name;
  auto tree = std::make_shared<Chunk>(parse(text));
  int ignored = 0;
  whole.body = find_function(*tree, source.body->at.line, source.body->at.line, &ignored);
  whole.tree = tree;
  for (const char *name : {"gpu", "bit", "math"}) {
    Binding &binding = whole.bindings[(plain ? "" : prefix) + name];
    binding.what = Binding::What::builtin;
    binding.text = name;
  }
  Binding &binding = whole.bindings[(plain ? "" : prefix) + "loop"];
  binding.what = Binding::What::function;
  binding.function = loop;
  return grid(whole, arguments);
}

} // namespace perigee::kernel
