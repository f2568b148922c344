#include "kernel/builder.hpp"

namespace perigee::kernel {

const char *kind_name(Kind kind) {
  switch (kind) {
  case Kind::unknown:
    return "nothing yet";
  case Kind::boolean:
    return "boolean";
  case Kind::integer:
    return "integer";
  case Kind::number:
    return "number";
  case Kind::float32:
    return "float32";
  case Kind::float64:
    return "float64";
  case Kind::complex:
    return "complex128";
  }
  return "?";
}

Function Builder::build(std::vector<Kind> *results) {
  for (int pass = 0;; ++pass) {
    changed_ = false;
    final_ = false;
    run();
    if (!changed_)
      break;
    if (pass > 200)
      fail(source_.body->at, "the types of this function's variables do not settle");
  }
  final_ = true;
  run();
  *results = results_;
  return std::move(out_);
}

void Builder::fail(Position at, const std::string &message) const {
  throw CompileError{message, source_.chunk, at};
}

void Builder::run() {
  out_ = Function();
  out_.name = source_.name;
  out_.chunk = source_.chunk;
  out_.text = source_.text;
  out_.at = source_.body->at;
  kinds_.clear();
  scopes_.clear();
  scopes_.emplace_back();
  next_variable_ = 0;
  loops_.clear();
  returned_ = false;
  const FunctionBody &f = *source_.body;
  if (f.variadic)
    fail(f.at, "a kernel has no '...': name its parameters");
  if (f.parameters.size() != arguments_.size())
    fail(f.at, "'" + source_.name + "' has " + counted(std::int64_t(f.parameters.size()), "parameter") + ", and got " +
                   std::to_string(arguments_.size()) + " arguments");
  for (std::size_t i = 0; i < arguments_.size(); ++i) {
    const ArgumentType &argument = arguments_[i];
    Name name;
    if (argument.is_array) {
      Array array;
      array.name = f.parameters[i];
      array.at = f.parameter_positions[i];
      array.dtype = argument.dtype;
      array.ndim = argument.ndim;
      array.contiguous = argument.contiguous;
      array.writable = argument.writable;
      out_.arrays.push_back(array);
      name.what = Name::What::array;
      name.index = std::int32_t(out_.arrays.size()) - 1;
    } else {
      name.what = Name::What::variable;
      name.index = declare_variable(f.parameters[i], f.parameter_positions[i]);
      assign_kind(name.index, argument.kind, f.parameter_positions[i]);
    }
    out_.parameters.push_back({argument.is_array, name.index});
    scopes_.back().emplace_back(f.parameters[i], name);
  }
  // A parameter may be given another value of a wider kind: its own variable holds what was passed.
  for (std::size_t i = 0; i < arguments_.size(); ++i) {
    if (arguments_[i].is_array)
      continue;
    const std::int32_t parameter = out_.parameters[i].index;
    if (kind_of(parameter) == arguments_[i].kind)
      continue;
    const std::int32_t copy = new_variable(f.parameters[i], f.parameter_positions[i], arguments_[i].kind);
    out_.parameters[i].index = copy;
    Instruction set{Step::assign, f.at};
    set.variable = parameter;
    set.a = convert(variable(copy, f.at), kind_of(parameter));
    out_.body.push_back(set);
  }
  block(f.body, out_.body, false);
  if (returned_ && !results_.empty() && !always_returns(f.body))
    fail({f.last_line, 1}, "'" + source_.name + "' can end here without returning a value, and returns " +
                               std::to_string(results_.size()) + " elsewhere");
  for (std::size_t i = 0; i < out_.variables.size(); ++i)
    out_.variables[i].type = type_of(kind_of(std::int32_t(i)));
}

bool Builder::always_returns(const Block &body) {
  if (body.empty())
    return false;
  const Statement &last = *body.back();
  switch (last.kind) {
  case StatementKind::return_:
    return true;
  case StatementKind::do_:
    return always_returns(last.blocks[0]);
  case StatementKind::if_:
    return last.blocks.size() > last.expressions.size() &&
           std::all_of(last.blocks.begin(), last.blocks.end(), [](const Block &b) { return always_returns(b); });
  case StatementKind::while_:
    return last.expressions[0]->kind == ExpressionKind::boolean && last.expressions[0]->value &&
           !breaks(last.blocks[0]);
  case StatementKind::repeat:
    return always_returns(last.blocks[0]) && !breaks(last.blocks[0]);
  default:
    return false;
  }
}

// Whether a `break` in the block leaves the loop it is the body of.
bool Builder::breaks(const Block &body) {
  for (const auto &s : body) {
    if (s->kind == StatementKind::break_)
      return true;
    if (s->kind == StatementKind::if_ || s->kind == StatementKind::do_)
      for (const Block &b : s->blocks)
        if (breaks(b))
          return true;
  }
  return false;
}

// Declarations come in the same order in every pass, and keep what was learnt of them.
std::int32_t Builder::declare_variable(const std::string &name, Position at) {
  const std::size_t ordinal = next_variable_++;
  if (learnt_.size() <= ordinal)
    learnt_.push_back(Kind::unknown);
  out_.variables.push_back({name, Type::none, at});
  ordinals_.resize(out_.variables.size(), -1);
  ordinals_.back() = std::int32_t(ordinal);
  fixed_.resize(out_.variables.size(), Kind::unknown);
  return std::int32_t(out_.variables.size()) - 1;
}

// A variable of ours, of a known kind.
std::int32_t Builder::new_variable(const std::string &name, Position at, Kind kind) {
  out_.variables.push_back({name, Type::none, at});
  ordinals_.resize(out_.variables.size(), -1);
  ordinals_.back() = -1;
  fixed_.resize(out_.variables.size(), Kind::unknown);
  fixed_.back() = kind;
  return std::int32_t(out_.variables.size()) - 1;
}

Kind Builder::kind_of(std::int32_t variable) const {
  const std::int32_t ordinal = ordinals_[std::size_t(variable)];
  return ordinal < 0 ? fixed_[std::size_t(variable)] : learnt_[std::size_t(ordinal)];
}

void Builder::assign_kind(std::int32_t variable, Kind kind, Position at) {
  Kind &learnt = learnt_[std::size_t(ordinals_[std::size_t(variable)])];
  const Kind both = join(learnt, kind);
  if (both == Kind::unknown && kind != Kind::unknown)
    fail(at, "'" + out_.variables[std::size_t(variable)].name + "' is " + (learnt == Kind::integer ? "an " : "a ") +
                 kind_name(learnt) + " elsewhere and " + (kind == Kind::integer ? "an " : "a ") + kind_name(kind) +
                 " here: a variable has one type; use two variables, or a number for both (0 for false)");
  if (both != learnt) {
    learnt = both;
    changed_ = true;
  }
}

Ref Builder::add(Node node, Kind kind) {
  if (out_.nodes.size() >= most_operations)
    fail(node.at, "'" + out_.name + "' has more than " + std::to_string(most_operations) +
                      " operations by here, the most that a function of a kernel may have: write repeated statements "
                      "as loops, or make several kernels of it");
  node.type = type_of(kind);
  out_.nodes.push_back(std::move(node));
  kinds_.push_back(kind);
  return Ref(out_.nodes.size()) - 1;
}

Ref Builder::make(Op op, Kind kind, Position at, Ref a, Ref b, Ref c) {
  Node node;
  node.op = op;
  node.at = at;
  node.a = a;
  node.b = b;
  node.c = c;
  return add(std::move(node), kind);
}

Ref Builder::constant(double value, Kind kind, Position at) {
  Node node;
  node.op = Op::constant;
  node.at = at;
  node.number = kind == Kind::float32 ? double(float(value)) : value;
  if (kind == Kind::integer || kind == Kind::boolean)
    node.integer = std::int64_t(value);
  return add(std::move(node), kind);
}

Ref Builder::integer(std::int64_t value, Position at) {
  Node node;
  node.op = Op::constant;
  node.at = at;
  node.integer = value;
  node.number = double(value);
  return add(std::move(node), Kind::integer);
}

Ref Builder::variable(std::int32_t index, Position at) {
  Node node;
  node.op = Op::variable;
  node.at = at;
  node.index = index;
  return add(std::move(node), kind_of(index));
}

Ref Builder::convert(Ref ref, Kind to) {
  const Kind from = kind(ref);
  if (from == to || from == Kind::unknown || to == Kind::unknown)
    return ref;
  const Node node = out_.nodes[std::size_t(ref)];
  if (node.op == Op::constant && numeric(from) && numeric(to) && from != Kind::complex && to != Kind::integer)
    return constant(from == Kind::integer ? double(node.integer) : node.number, to, node.at);
  if (type_of(from) == type_of(to)) { // number and float64: another kind, the same machine type
    const Ref same = add(node, to);
    return same;
  }
  return make(Op::convert, to, node.at, ref);
}

// A number for what is about to be done with it.
void Builder::need_number(Ref ref, const std::string &what) const {
  if (kind(ref) == Kind::boolean)
    fail(at(ref), what + " takes numbers, and this is a boolean");
}

const Name *Builder::find(const std::string &name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    for (auto entry = scope->rbegin(); entry != scope->rend(); ++entry)
      if (entry->first == name)
        return &entry->second;
  return nullptr;
}

Name Builder::resolve(const std::string &name, Position at) const {
  if (const Name *local = find(name))
    return *local;
  const auto binding = source_.bindings.find(name);
  Name out;
  out.what = Name::What::binding;
  if (binding == source_.bindings.end())
    fail(at, "'" + name + "' is not known here");
  out.binding = binding->second;
  return out;
}

// What a path such as `math.sin` or `sin` stands for, when it is no value of this function; nullopt-like:
// What::refused with empty text.
Binding Builder::constant_binding(const Expression &e) const {
  Binding none;
  if (e.kind == ExpressionKind::parenthesised)
    return constant_binding(*e.operands[0]);
  if (e.kind == ExpressionKind::name) {
    const Name name = resolve(e.text, e.at);
    if (name.what == Name::What::binding)
      return name.binding;
    if (name.what == Name::What::refused)
      fail(e.at, name.text);
    return none;
  }
  if (e.kind == ExpressionKind::index && e.operands[1]->kind == ExpressionKind::string) {
    Binding table = constant_binding(*e.operands[0]);
    if (table.what == Binding::What::builtin) {
      table.text = table.text == "perigee" ? e.operands[1]->text : table.text + "." + e.operands[1]->text;
      return table;
    }
    if (table.what == Binding::What::refused && !table.text.empty())
      return table;
  }
  return none;
}

Callee Specialiser::function(const Source &source, const std::vector<ArgumentType> &arguments, Position at,
                             const std::string &chunk) {
  std::string key = std::to_string(reinterpret_cast<std::uintptr_t>(source.body));
  for (const ArgumentType &a : arguments)
    key += "," + std::to_string(a.is_array) + ":" + std::to_string(int(a.kind)) + ":" + std::to_string(a.dtype) + ":" +
           std::to_string(a.ndim) + ":" + std::to_string(a.contiguous) + ":" + std::to_string(a.writable);
  if (const auto found = done_.find(key); found != done_.end())
    return found->second;
  for (const FunctionBody *busy : running_)
    if (busy == source.body)
      throw CompileError{"'" + source.name + "' calls itself: kernels do not support recursion; write a loop", chunk,
                         at};
  running_.push_back(source.body);
  Callee callee;
  callee.index = std::int32_t(module.functions.size());
  module.functions.emplace_back();
  Function built = Builder(*this, source, arguments).build(&callee.results);
  for (const Array &a : built.arrays) {
    std::int64_t bytes = a.lengths.empty() ? 0 : a.shared ? own_bytes(a.dtype) : std::max(own_bytes(a.dtype), 8);
    for (const std::int64_t n : a.lengths)
      bytes *= n;
    (a.shared ? shared_bytes_ : own_bytes_) += bytes;
    if (a.shared && a.lengths[0] == 0 && ++launch_arrays_ > 1)
      throw CompileError{"a second array of the memory that the launch gives: there is one; give the others lengths",
                         source.chunk, a.at};
  }
  if (shared_bytes_ > most_shared)
    throw CompileError{"the shared arrays of this kernel take " + std::to_string(shared_bytes_) +
                           " bytes; no GPU gives a block more than " + std::to_string(most_shared),
                       chunk, at};
  if (own_bytes_ > 1 << 20) // they stand on the stack
    throw CompileError{"the arrays of this kernel's own take more than 1 MiB: pass arrays as arguments", chunk, at};
  module.functions[std::size_t(callee.index)] = std::move(built);
  running_.pop_back();
  if (module.functions.size() > 500)
    throw CompileError{"more than 500 functions in one kernel", chunk, at};
  done_[key] = callee;
  return callee;
}

Module specialise(const Source &source, const std::vector<ArgumentType> &arguments) {
  Specialiser specialiser;
  specialiser.module.chunk = source.chunk;
  specialiser.function(source, arguments, source.body->at, source.chunk);
  return std::move(specialiser.module);
}

Module grid(const Source &source, const std::vector<ArgumentType> &arguments) {
  Specialiser specialiser;
  specialiser.module.chunk = source.chunk;
  specialiser.module.entry = Entry::grid;
  const Callee callee = specialiser.function(source, arguments, source.body->at, source.chunk);
  if (!callee.results.empty())
    throw CompileError{"'" + source.name +
                           "' returns a value, and a kernel of a GPU returns none: each of its threads "
                           "stores what it computes in an array",
                       source.chunk, source.body->at};
  return std::move(specialiser.module);
}

} // namespace perigee::kernel
