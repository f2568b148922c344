#include "kernel/typing.hpp"

#include "core/abi.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <utility>

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

namespace {

Type type_of(Kind kind) {
  switch (kind) {
  case Kind::unknown:
    return Type::none;
  case Kind::boolean:
    return Type::boolean;
  case Kind::integer:
    return Type::int64;
  case Kind::number:
  case Kind::float64:
    return Type::float64;
  case Kind::float32:
    return Type::float32;
  case Kind::complex:
    return Type::complex128;
  }
  return Type::none;
}

bool numeric(Kind kind) {
  return kind >= Kind::integer;
}

Kind kind_of_dtype(std::int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
    return Kind::boolean;
  case PG_FLOAT32:
    return Kind::float32;
  case PG_FLOAT64:
    return Kind::float64;
  case PG_COMPLEX64:
  case PG_COMPLEX128:
    return Kind::complex;
  default:
    return Kind::integer; // elements of integer arrays are Lua numbers
  }
}

// The kind that holds both; unknown where there is none. Kinds are in the order of what they hold, so the greater one.
Kind join(Kind a, Kind b) {
  if (a == Kind::unknown || b == Kind::unknown || a == b)
    return std::max(a, b);
  if (a == Kind::boolean || b == Kind::boolean)
    return Kind::unknown;
  return std::max(a, b);
}

struct Builtin {
  const char *name;
  Math math;
  int arguments; // -1: one or more
};
constexpr Builtin functions[] = {
    {"math.abs", Math::absolute, 1},      {"math.sqrt", Math::sqrt, 1},
    {"math.floor", Math::floor, 1},       {"math.ceil", Math::ceil, 1},
    {"math.sin", Math::sin, 1},           {"math.cos", Math::cos, 1},
    {"math.tan", Math::tan, 1},           {"math.asin", Math::asin, 1},
    {"math.acos", Math::acos, 1},         {"math.atan", Math::atan, 1},
    {"math.sinh", Math::sinh, 1},         {"math.cosh", Math::cosh, 1},
    {"math.tanh", Math::tanh, 1},         {"math.exp", Math::exp, 1},
    {"math.log10", Math::log10, 1},       {"math.atan2", Math::atan2, 2},
    {"math.fmod", Math::fmod, 2},         {"math.min", Math::minimum, -1},
    {"math.max", Math::maximum, -1},      {"bit.band", Math::bit_and, -1},
    {"bit.bor", Math::bit_or, -1},        {"bit.bxor", Math::bit_xor, -1},
    {"bit.bnot", Math::bit_not, 1},       {"bit.lshift", Math::shift_left, 2},
    {"bit.rshift", Math::shift_right, 2}, {"bit.arshift", Math::shift_arithmetic, 2},
    {"bit.rol", Math::rotate_left, 2},    {"bit.ror", Math::rotate_right, 2},
    {"bit.bswap", Math::byte_swap, 1},    {"bit.tobit", Math::to_bit, 1},
};

// What only kernels of a GPU know: values (dimensions: .x, .y and .z follow) and functions.
struct Special {
  const char *name;
  Gpu gpu;
};
constexpr Special places[] = {{"gpu.threadIdx", Gpu::thread_idx}, {"gpu.blockIdx", Gpu::block_idx},
                              {"gpu.blockDim", Gpu::block_dim},   {"gpu.gridDim", Gpu::grid_dim},
                              {"gpu.laneid", Gpu::lane},          {"gpu.warpsize", Gpu::warp_size}};
constexpr Special grids[] = {{"gpu.grid", Gpu::grid}, {"gpu.gridsize", Gpu::grid_size}};
constexpr Special atomics[] = {{"gpu.atomic.add", Gpu::atomic_add},
                               {"gpu.atomic.sub", Gpu::atomic_subtract},
                               {"gpu.atomic.min", Gpu::atomic_minimum},
                               {"gpu.atomic.max", Gpu::atomic_maximum},
                               {"gpu.atomic.band", Gpu::atomic_and},
                               {"gpu.atomic.bor", Gpu::atomic_or},
                               {"gpu.atomic.bxor", Gpu::atomic_xor},
                               {"gpu.atomic.exchange", Gpu::atomic_exchange},
                               {"gpu.atomic.cas", Gpu::atomic_compare_and_swap}};
constexpr Special warps[] = {{"gpu.shfl", Gpu::shuffle},
                             {"gpu.shfl_up", Gpu::shuffle_up},
                             {"gpu.shfl_down", Gpu::shuffle_down},
                             {"gpu.shfl_xor", Gpu::shuffle_xor},
                             {"gpu.ballot", Gpu::ballot},
                             {"gpu.any", Gpu::any},
                             {"gpu.all", Gpu::all},
                             {"gpu.popc", Gpu::popcount}};
constexpr const char *syncs[] = {"gpu.sync", "gpu.syncwarp", "gpu.threadfence"}; // in the order of Step::sync

template <std::size_t n> Gpu special(const Special (&table)[n], std::string_view name) {
  for (const Special &s : table)
    if (name == s.name)
      return s.gpu;
  return Gpu::none;
}

// threadIdx.x and the like: which, and the dimension. Gpu::none for what is none.
std::pair<Gpu, int> place_named(const std::string &text) {
  if (const Gpu whole = special(places, text); whole == Gpu::lane || whole == Gpu::warp_size)
    return {whole, 0};
  if (text.size() > 2 && text[text.size() - 2] == '.' && text.back() >= 'x' && text.back() <= 'z')
    return {special(places, std::string_view(text).substr(0, text.size() - 2)), text.back() - 'x'};
  return {Gpu::none, 0};
}

// What a name in a scope stands for.
struct Name {
  enum class What { variable, array, binding, refused } what = What::refused;
  std::int32_t index = -1;           // variable; array
  std::vector<std::int32_t> leading; // array: int64 variables that index its first dimensions, checked
  Binding binding;
  std::string text; // refused: why
};

// An array with some of its first dimensions indexed.
struct View {
  std::int32_t array = -1;
  std::vector<Ref> leading;
  int unchecked = 0; // the last so many of `leading` are not yet known to be inside
};

struct Callee {
  std::int32_t index = -1;
  std::vector<Kind> results;
};

class Specialiser;

// One function with the types of its arguments.
class Builder {
 public:
  Builder(Specialiser &owner, const Source &source, const std::vector<ArgumentType> &arguments)
      : owner_(owner), source_(source), arguments_(arguments) {}

  Function build(std::vector<Kind> *results) {
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

 private:
  [[noreturn]] void fail(Position at, const std::string &message) const {
    throw CompileError{message, source_.chunk, at};
  }

  // ------------------------------------------------------------------------------------------------ passes
  // ------------
  void run() {
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
      fail(f.at, "'" + source_.name + "' has " + std::to_string(f.parameters.size()) + " parameters, and got " +
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

  static bool always_returns(const Block &body) {
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
  static bool breaks(const Block &body) {
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

  // --------------------------------------------------------------------------------------------- variables
  // ------------ Declarations come in the same order in every pass, and keep what was learnt of them.
  std::int32_t declare_variable(const std::string &name, Position at) {
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
  std::int32_t new_variable(const std::string &name, Position at, Kind kind) {
    out_.variables.push_back({name, Type::none, at});
    ordinals_.resize(out_.variables.size(), -1);
    ordinals_.back() = -1;
    fixed_.resize(out_.variables.size(), Kind::unknown);
    fixed_.back() = kind;
    return std::int32_t(out_.variables.size()) - 1;
  }

  Kind kind_of(std::int32_t variable) const {
    const std::int32_t ordinal = ordinals_[std::size_t(variable)];
    return ordinal < 0 ? fixed_[std::size_t(variable)] : learnt_[std::size_t(ordinal)];
  }

  void assign_kind(std::int32_t variable, Kind kind, Position at) {
    Kind &learnt = learnt_[std::size_t(ordinals_[std::size_t(variable)])];
    const Kind both = join(learnt, kind);
    if (both == Kind::unknown && kind != Kind::unknown)
      fail(at, "'" + out_.variables[std::size_t(variable)].name + "' is a " + kind_name(learnt) + " elsewhere and a " +
                   kind_name(kind) + " here: use two variables");
    if (both != learnt) {
      learnt = both;
      changed_ = true;
    }
  }

  // ------------------------------------------------------------------------------------------------- nodes
  // ------------
  Ref add(Node node, Kind kind) {
    node.type = type_of(kind);
    out_.nodes.push_back(std::move(node));
    kinds_.push_back(kind);
    return Ref(out_.nodes.size()) - 1;
  }
  Kind kind(Ref ref) const { return kinds_[std::size_t(ref)]; }
  Position at(Ref ref) const { return out_.nodes[std::size_t(ref)].at; }

  Ref make(Op op, Kind kind, Position at, Ref a = -1, Ref b = -1, Ref c = -1) {
    Node node;
    node.op = op;
    node.at = at;
    node.a = a;
    node.b = b;
    node.c = c;
    return add(std::move(node), kind);
  }

  Ref constant(double value, Kind kind, Position at) {
    Node node;
    node.op = Op::constant;
    node.at = at;
    node.number = kind == Kind::float32 ? double(float(value)) : value;
    if (kind == Kind::integer || kind == Kind::boolean)
      node.integer = std::int64_t(value);
    return add(std::move(node), kind);
  }
  Ref integer(std::int64_t value, Position at) {
    Node node;
    node.op = Op::constant;
    node.at = at;
    node.integer = value;
    node.number = double(value);
    return add(std::move(node), Kind::integer);
  }

  Ref variable(std::int32_t index, Position at) {
    Node node;
    node.op = Op::variable;
    node.at = at;
    node.index = index;
    return add(std::move(node), kind_of(index));
  }

  Ref unknown(Position at) { return make(Op::constant, Kind::unknown, at); }

  Ref convert(Ref ref, Kind to) {
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
  void need_number(Ref ref, const std::string &what) const {
    if (kind(ref) == Kind::boolean)
      fail(at(ref), what + " takes numbers, and this is a boolean");
  }

  Kind floating(Kind k) const { return k == Kind::integer ? Kind::number : k; }

  // ------------------------------------------------------------------------------------------------ scopes
  // ------------
  const Name *find(const std::string &name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      for (auto entry = scope->rbegin(); entry != scope->rend(); ++entry)
        if (entry->first == name)
          return &entry->second;
    return nullptr;
  }

  Name resolve(const std::string &name, Position at) const {
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
  Binding constant_binding(const Expression &e) const {
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

  // -------------------------------------------------------------------------------------------- statements
  // ------------
  void block(const Block &statements, std::vector<Instruction> &into, bool keep_scope) {
    scopes_.emplace_back();
    for (std::size_t i = 0; i < statements.size(); ++i)
      statement(*statements[i], into, i + 1 == statements.size());
    if (!keep_scope)
      scopes_.pop_back();
  }

  void statement(const Statement &s, std::vector<Instruction> &into, bool last) {
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

  static std::string next_label(const Block &body) {
    return !body.empty() && body.back()->kind == StatementKind::label ? body.back()->names[0] : std::string();
  }

  void set(std::int32_t target, Ref value, Position at, std::vector<Instruction> &into) {
    assign_kind(target, kind(value), at);
    Instruction i{Step::assign, at};
    i.variable = target;
    i.a = convert(value, kind_of(target));
    into.push_back(std::move(i));
  }

  void local(const Statement &s, std::vector<Instruction> &into) {
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
  void store_result(Instruction &call, std::int32_t target, Kind from, Position at) {
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

  void flush_call(Instruction call, std::vector<Instruction> &into) {
    into.push_back(std::move(call));
    for (auto &move : after_call_)
      into.push_back(std::move(move));
    after_call_.clear();
  }

  void assign(const Statement &s, std::vector<Instruction> &into) {
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
  std::vector<View> target_views(const Statement &s, std::vector<Instruction> &into) {
    std::vector<View> views(s.targets.size());
    hold_ = &into;
    for (std::size_t i = 0; i < s.targets.size(); ++i)
      if (s.targets[i]->kind != ExpressionKind::name)
        views[i] = target_view(*s.targets[i]);
    hold_ = nullptr;
    return views;
  }

  std::int32_t target_variable(const Expression &target) const {
    const Name name = resolve(target.text, target.at);
    if (name.what == Name::What::variable)
      return name.index;
    if (name.what == Name::What::array)
      fail(target.at, "'" + target.text + "' names an array and cannot be given another value: use a new local");
    if (name.what == Name::What::refused)
      fail(target.at, name.text);
    fail(target.at, "'" + target.text +
                        "' is captured from outside and frozen when the kernel is compiled: a kernel "
                        "cannot assign to it; return the value or store it in an array");
  }

  void assign_one(const Expression &target, Ref v, std::vector<Instruction> &into) {
    if (target.kind == ExpressionKind::name)
      set(target_variable(target), v, target.at, into);
    else
      element_store(target_view(target), v, target.at, into);
  }

  View target_view(const Expression &target) {
    if (target.operands[1]->kind == ExpressionKind::string)
      fail(target.at, "kernels have no tables: '." + target.operands[1]->text + "' cannot be assigned to");
    return array_view(target);
  }

  void element_store(const View &view, Ref v, Position where, std::vector<Instruction> &into) {
    Array &array = out_.arrays[std::size_t(view.array)];
    if (int(view.leading.size()) != array.ndim)
      fail(where, "'" + array.name + "' has " + std::to_string(array.ndim) + " dimensions, and " +
                      std::to_string(view.leading.size()) +
                      " indices name no element: kernels assign elements, one by one");
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

  void call_statement(const Statement &s, std::vector<Instruction> &into) {
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

  void if_statement(const Statement &s, std::vector<Instruction> &into, std::size_t branch) {
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

  void for_statement(const Statement &s, std::vector<Instruction> &into) {
    const Ref start = value(*s.expressions[0]), limit = value(*s.expressions[1]);
    const Ref step = s.expressions.size() > 2 ? value(*s.expressions[2]) : integer(1, s.at);
    counted_loop(s, start, limit, step, into);
  }

  // for i in gpu.stride(n) do: for i = gpu.grid(1), n, gpu.gridsize(1) do
  void stride_statement(const Statement &s, std::vector<Instruction> &into) {
    const Expression &call = *s.expressions[0];
    need_gpu("gpu.stride", call.at);
    if (call.operands.size() != 2)
      fail(call.at, "'gpu.stride' takes the last index, as in: for i in gpu.stride(#x) do");
    const Ref start = place(Gpu::grid, 0, "gpu.stride", call.at);
    const Ref limit = value(*call.operands[1]);
    counted_loop(s, start, limit, place(Gpu::grid_size, 0, "gpu.stride", call.at), into);
  }

  void counted_loop(const Statement &s, Ref start, Ref limit, Ref step, std::vector<Instruction> &into) {
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
    loop.integer =
        from.kind == ExpressionKind::name && from.text.starts_with("(first"); // over an index of parallel_for
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

  void return_statement(const Statement &s, std::vector<Instruction> &into) {
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

  // ------------------------------------------------------------------------------------------------ arrays
  // ------------ Whether an expression is an array or a row of one.
  bool as_view(const Expression &e, View &view) {
    if (e.kind == ExpressionKind::parenthesised)
      return as_view(*e.operands[0], view);
    if (e.kind == ExpressionKind::name) {
      const Name *name = find(e.text);
      if (!name || name->what != Name::What::array)
        return false;
      view.array = name->index;
      view.unchecked = 0;
      for (const std::int32_t v : name->leading)
        view.leading.push_back(variable(v, e.at));
      return true;
    }
    if (e.kind == ExpressionKind::index && e.operands[1]->kind != ExpressionKind::string) {
      if (!as_view(*e.operands[0], view))
        return false;
      if (int(view.leading.size()) >= out_.arrays[std::size_t(view.array)].ndim)
        return false;
      push_index(view, *e.operands[1]);
      return true;
    }
    return false;
  }

  void push_index(View &view, const Expression &e) {
    const Array &array = out_.arrays[std::size_t(view.array)];
    if (int(view.leading.size()) >= array.ndim)
      fail(e.at, "'" + array.name + "' has " + std::to_string(array.ndim) + " dimensions: this is one index too many");
    std::vector<Instruction> *const hold = std::exchange(hold_, nullptr); // of this index, not of those within it
    Ref index = value(e);
    hold_ = hold;
    need_number(index, "an index");
    if (kind(index) == Kind::complex)
      fail(e.at, "an index is a whole number");
    if (hold && out_.nodes[std::size_t(index)].op != Op::constant) {
      const std::int32_t held = new_variable("index", e.at, kind(index));
      Instruction keep{Step::assign, e.at};
      keep.variable = held;
      keep.a = index;
      hold->push_back(std::move(keep));
      index = variable(held, e.at);
    }
    view.leading.push_back(convert(index, kind(index) == Kind::unknown ? Kind::unknown : Kind::integer));
    ++view.unchecked;
  }

  int dimensions(const View &view) const { return out_.arrays[std::size_t(view.array)].ndim; }

  View array_view(const Expression &e) {
    View view;
    if (!as_view(e, view)) {
      const Expression &object = *e.operands[0];
      View whole;
      if (as_view(object, whole))
        push_index(whole, *e.operands[1]); // says that it has no such dimension
      std::string name = object.kind == ExpressionKind::name ? "'" + object.text + "'" : "this";
      fail(e.at, name + " is not an array: kernels index arrays only");
    }
    return view;
  }

  Ref load(const View &view, Position where) {
    const Array &array = out_.arrays[std::size_t(view.array)];
    if (int(view.leading.size()) != array.ndim)
      fail(where, "'" + array.name + "' has " + std::to_string(array.ndim) + " dimensions, and " +
                      std::to_string(view.leading.size()) + (view.leading.size() == 1 ? " index" : " indices") +
                      " is a row, no number: index further, or give the row a name (local row = ...)");
    Node node;
    node.op = Op::load;
    node.at = where;
    node.index = view.array;
    node.arguments = view.leading;
    node.integer = std::int64_t(view.leading.size()) - view.unchecked; // how many indices are checked
    return add(std::move(node), kind_of_dtype(array.dtype));
  }

  // local row = a[i], local b = a, local f = math.sin, local t = array.zeros(3): names for what is no scalar.
  bool alias(const Expression &e, const std::string &as, Name &name, std::vector<Instruction> &into) {
    if (e.kind == ExpressionKind::name || e.kind == ExpressionKind::index || e.kind == ExpressionKind::parenthesised) {
      View view;
      if (as_view(e, view)) {
        if (int(view.leading.size()) == out_.arrays[std::size_t(view.array)].ndim && !(e.kind == ExpressionKind::name))
          return false;
        name.what = Name::What::array;
        name.index = view.array;
        const std::size_t checked = view.leading.size() - std::size_t(view.unchecked);
        for (std::size_t i = 0; i < view.leading.size(); ++i) {
          const std::int32_t kept = new_variable(as, e.at, Kind::integer);
          Instruction keep{Step::assign, e.at};
          keep.variable = kept;
          keep.a = view.leading[i];
          keep.array = view.array; // a float must be whole, and messages say of what it is an index
          keep.integer = std::int64_t(i);
          into.push_back(keep);
          if (i >= checked) {
            Instruction check{Step::check_index, e.at};
            check.array = view.array;
            check.integer = std::int64_t(i);
            check.a = variable(kept, e.at);
            into.push_back(check);
          }
          name.leading.push_back(kept);
        }
        return true;
      }
      if (e.kind != ExpressionKind::name || !find(e.text) || find(e.text)->what == Name::What::binding) {
        const Binding binding = constant_binding(e);
        if (binding.what == Binding::What::function ||
            (binding.what == Binding::What::builtin && !builtin_value(binding.text, nullptr))) {
          name.what = Name::What::binding;
          name.binding = binding;
          return true;
        }
      }
      return false;
    }
    if (e.kind == ExpressionKind::call) {
      const Binding binding = callee(e);
      if (binding.what == Binding::What::builtin && binding.text == "gpu.shared") {
        name.what = Name::What::array;
        name.index = shared_array(e, as);
        return true;
      }
      if (binding.what == Binding::What::builtin && (binding.text == "array.zeros" || binding.text == "array.ones")) {
        name.what = Name::What::array;
        name.index = local_array(e, as, binding.text == "array.ones", into);
        return true;
      }
    }
    return false;
  }

  std::int32_t own_dtype(const std::string &dtype, Position where) const {
    const std::pair<const char *, std::int32_t> known[] = {
        {"float64", PG_FLOAT64}, {"float32", PG_FLOAT32}, {"int32", PG_INT32},          {"int64", PG_INT64},
        {"uint8", PG_UINT8},     {"bool", PG_BOOL},       {"complex128", PG_COMPLEX128}};
    const auto found = std::find_if(std::begin(known), std::end(known), [&](auto &k) { return dtype == k.first; });
    if (found == std::end(known))
      fail(where, "the dtype of a kernel's own array is float64, float32, int32, int64, uint8, bool or complex128");
    return found->second;
  }

  std::int32_t local_array(const Expression &e, const std::string &as, bool ones, std::vector<Instruction> &into) {
    Array array;
    array.name = as;
    array.at = e.at;
    array.dtype = PG_FLOAT64;
    array.contiguous = true;
    std::int64_t size = 1;
    auto length = [&](const Expression &item) {
      const auto known = known_integer(value(item));
      if (!known || *known < 1 || *known > 4096)
        fail(item.at, "a kernel's own array has a length known when it is compiled, from 1 to 4096");
      array.lengths.push_back(*known);
      size *= *known;
    };
    if (e.operands.size() < 2)
      fail(e.at, "the length of the array is missing");
    const Expression &shape = *e.operands[1];
    if (shape.kind == ExpressionKind::table) {
      if (shape.value)
        fail(shape.at, "a shape is a list of lengths");
      for (const auto &item : shape.operands)
        length(*item);
    } else {
      length(shape);
    }
    array.ndim = std::int32_t(array.lengths.size());
    if (array.ndim < 1 || array.ndim > 8 || size > 4096)
      fail(e.at, "a kernel's own array has 1 to 8 dimensions and at most 4096 elements");
    if (e.operands.size() > 2) {
      const Expression &options = *e.operands[2];
      std::string dtype;
      if (options.kind == ExpressionKind::string)
        dtype = options.text;
      else if (options.kind == ExpressionKind::table && options.value && options.operands.size() == 2 &&
               options.operands[0]->kind == ExpressionKind::string && options.operands[0]->text == "dtype" &&
               options.operands[1]->kind == ExpressionKind::string)
        dtype = options.operands[1]->text;
      array.dtype = own_dtype(dtype, options.at);
    }
    out_.arrays.push_back(array);
    const std::int32_t index = std::int32_t(out_.arrays.size()) - 1;
    Instruction clear{Step::store, e.at}; // without indices: every element
    clear.array = index;
    clear.a = constant(ones ? 1 : 0, kind_of_dtype(array.dtype), e.at);
    into.push_back(clear);
    return index;
  }

  // ------------------------------------------------------------------------------------------- expressions
  // ------------
  Ref condition(const Expression &e, const char *what) {
    const Ref r = value(e);
    if (kind(r) != Kind::boolean && kind(r) != Kind::unknown)
      fail(e.at, std::string("'") + what + "' with a number: every number is true in Lua; compare it (x ~= 0)");
    return r;
  }

  static bool is_call(const Expression &e) {
    return e.kind == ExpressionKind::call || e.kind == ExpressionKind::method_call;
  }

  Binding callee(const Expression &call) const { return constant_binding(*call.operands[0]); }

  bool user_function(const Expression &e) const {
    return e.kind == ExpressionKind::call && callee(e).what == Binding::What::function;
  }

  Ref value(const Expression &e) {
    switch (e.kind) {
    case ExpressionKind::number: {
      if (e.number_kind == NumberKind::integer || e.number_kind == NumberKind::int64)
        return integer(e.integer, e.at);
      if (e.number_kind == NumberKind::imaginary) {
        const Ref r = constant(0, Kind::complex, e.at);
        out_.nodes[std::size_t(r)].imaginary = e.number;
        return r;
      }
      if (e.number_kind == NumberKind::uint64)
        fail(e.at, "kernels have no unsigned 64-bit integers: write " + e.text.substr(0, e.text.size() - 3) + "LL");
      return constant(e.number, Kind::number, e.at);
    }
    case ExpressionKind::boolean:
      return constant(e.value, Kind::boolean, e.at);
    case ExpressionKind::parenthesised:
      return value(*e.operands[0]);
    case ExpressionKind::unary:
      return unary(e);
    case ExpressionKind::binary:
      return binary(e);
    case ExpressionKind::name:
      return name_value(e);
    case ExpressionKind::index:
      return index_value(e);
    case ExpressionKind::method_call:
      return method_value(e);
    case ExpressionKind::call:
      return call_value(e);
    case ExpressionKind::nil:
      fail(e.at, "kernels have no nil");
    case ExpressionKind::string:
      fail(e.at, "kernels have no strings");
    case ExpressionKind::variadic:
      fail(e.at, "kernels have no '...': name the parameters");
    case ExpressionKind::function:
      fail(e.at, "kernels do not support functions inside functions: define it outside, and call it");
    case ExpressionKind::table:
      fail(e.at, "kernels have no tables: pass an array, or make one of a fixed size (array.zeros(3))");
    }
    fail(e.at, "this is not supported in kernels");
  }

  // Constants such as math.pi.
  bool builtin_value(const std::string &text, double *v) const {
    if (place_named(text).first != Gpu::none)
      return true;
    const std::pair<const char *, double> values[] = {{"math.pi", M_PI}, {"math.huge", HUGE_VAL}};
    for (const auto &[name, number] : values)
      if (text == name) {
        if (v)
          *v = number;
        return true;
      }
    return false;
  }

  Ref binding_value(const Binding &binding, const std::string &name, Position where) {
    switch (binding.what) {
    case Binding::What::number: {
      // Small whole numbers are integers, so that they may start a loop or index; products of larger ones might wrap.
      const bool whole = binding.number == std::floor(binding.number) && std::abs(binding.number) <= 2147483648.0 &&
                         !(binding.number == 0 && std::signbit(binding.number));
      return whole ? integer(std::int64_t(binding.number), where) : constant(binding.number, Kind::number, where);
    }
    case Binding::What::boolean:
      return constant(binding.boolean, Kind::boolean, where);
    case Binding::What::function:
      fail(where, "'" + name + "' is a function: kernels can only call it");
    case Binding::What::builtin: {
      double v = 0;
      if (const auto [gpu, dimension] = place_named(binding.text); gpu != Gpu::none)
        return place(gpu, dimension, binding.text, where);
      if (special(places, binding.text) != Gpu::none)
        fail(where, "'" + binding.text + "' is no number: take its .x, .y or .z");
      if (special(grids, binding.text) != Gpu::none)
        fail(where, "'" + binding.text + "' is no number: call it, as in " + binding.text + "(1)");
      if (binding.text.starts_with("gpu."))
        no_special(binding.text, where);
      if (builtin_value(binding.text, &v))
        return constant(v, Kind::number, where);
      fail(where, "'" + binding.text + "' is no value that kernels know");
    }
    case Binding::What::refused:
      break;
    }
    fail(where, "'" + name + "' is " + binding.text +
                    ": kernels capture numbers, booleans and functions; pass arrays as arguments");
  }

  Ref name_value(const Expression &e) {
    const Name name = resolve(e.text, e.at);
    switch (name.what) {
    case Name::What::variable: {
      if (final_ && kind_of(name.index) == Kind::unknown)
        fail(e.at, "'" + e.text + "' has no value here: it is never given one");
      return variable(name.index, e.at);
    }
    case Name::What::array:
      fail(e.at, "'" + e.text + "' is an array: kernels compute with elements (" + e.text +
                     "[i]); array.fused and kernel.elementwise take whole arrays");
    case Name::What::binding:
      return binding_value(name.binding, e.text, e.at);
    case Name::What::refused:
      fail(e.at, name.text);
    }
    fail(e.at, "this is not supported in kernels");
  }

  Ref length_of(const View &view, std::int64_t dimension, Position where) {
    const Array &array = out_.arrays[std::size_t(view.array)];
    const std::int64_t index = std::int64_t(view.leading.size()) + dimension; // from 1
    if (dimension < 1 || index > array.ndim)
      fail(where, "'" + array.name + "' has " + std::to_string(array.ndim - std::int32_t(view.leading.size())) +
                      " dimensions here, and no dimension " + std::to_string(dimension));
    if (!array.lengths.empty() && array.lengths[0] > 0)
      return integer(array.lengths[std::size_t(index - 1)], where);
    Node node;
    node.op = Op::length;
    node.at = where;
    node.index = view.array;
    node.integer = index - 1;
    return add(std::move(node), Kind::integer);
  }

  Ref index_value(const Expression &e) {
    const Expression &object = *e.operands[0], &key = *e.operands[1];
    if (key.kind == ExpressionKind::string) {
      View view; // (an element of it is a number, and may be a complex one)
      if (as_view(object, view) && (view.leading.empty() || int(view.leading.size()) < dimensions(view))) {
        const Array &array = out_.arrays[std::size_t(view.array)];
        if (key.text == "ndim")
          return integer(array.ndim - std::int64_t(view.leading.size()), e.at);
        if (key.text == "size") {
          Ref size = integer(1, e.at);
          for (std::int64_t d = 1; d <= array.ndim - std::int64_t(view.leading.size()); ++d)
            size = make(Op::multiply, Kind::integer, e.at, size, length_of(view, d, e.at));
          return size;
        }
        fail(e.at, "kernels know size, ndim and shape[k] of an array, and not '" + key.text + "'");
      }
      const Binding binding = constant_binding(e);
      if (binding.what == Binding::What::refused && !binding.text.empty()) {
        const Expression *root = &object;
        while (root->kind == ExpressionKind::index || root->kind == ExpressionKind::parenthesised)
          root = root->operands[0].get();
        if (binding.text == "nil" && special(places, "gpu." + root->text) != Gpu::none)
          fail(e.at, "'" + root->text + "' is nil: write gpu." + root->text);
        return binding_value(binding, root->text, e.at);
      }
      if (binding.what != Binding::What::refused)
        return binding_value(binding, binding.text.empty() ? key.text : binding.text, e.at);
      const Ref number = value(object);
      if (kind(number) == Kind::unknown)
        return unknown(e.at);
      if (kind(number) == Kind::complex && (key.text == "re" || key.text == "im"))
        return math(key.text == "re" ? Math::real : Math::imaginary, {number}, Kind::number, e.at);
      fail(e.at, std::string("a ") + kind_name(kind(number)) + " has no field '" + key.text + "'");
    }
    // a.shape[k]
    if (object.kind == ExpressionKind::index && object.operands[1]->kind == ExpressionKind::string &&
        object.operands[1]->text == "shape") {
      View view;
      if (as_view(*object.operands[0], view))
        return length_of(view, constant_index(key), e.at);
    }
    return load(array_view(e), e.at);
  }

  // An integer that is known when the kernel is compiled: sums, differences and products of such as well.
  std::optional<std::int64_t> known_integer(Ref r) const {
    const Node &node = out_.nodes[std::size_t(r)];
    if (kind(r) != Kind::integer)
      return {};
    if (node.op == Op::constant)
      return node.integer;
    if (node.op != Op::add && node.op != Op::subtract && node.op != Op::multiply)
      return {};
    const auto a = known_integer(node.a), b = known_integer(node.b);
    std::int64_t out = 0;
    if (!a || !b ||
        (node.op == Op::add        ? __builtin_add_overflow(*a, *b, &out)
         : node.op == Op::subtract ? __builtin_sub_overflow(*a, *b, &out)
                                   : __builtin_mul_overflow(*a, *b, &out)))
      return {};
    return out;
  }

  std::int64_t constant_index(const Expression &e) {
    const auto known = known_integer(value(e));
    if (!known)
      fail(e.at, "the dimension is a number known when the kernel is compiled");
    return *known;
  }

  Ref method_value(const Expression &e) {
    View view;
    if (!as_view(*e.operands[0], view))
      fail(e.at, "kernels know no method '" + e.text + "' of this");
    if (e.text == "dim") {
      if (e.operands.size() != 2)
        fail(e.at, "dim takes the dimension, from 1");
      return length_of(view, constant_index(*e.operands[1]), e.at);
    }
    if (e.text == "at" || e.text == "get") {
      for (std::size_t i = 1; i < e.operands.size(); ++i)
        push_index(view, *e.operands[i]);
      return load(view, e.at);
    }
    fail(e.at, "kernels know a:dim(k), a:at(i, ...) and a:set(i, ..., value), and not '" + e.text + "'");
  }

  Ref unary(const Expression &e) {
    if (e.op == TokenKind::hash) {
      View view;
      if (!as_view(*e.operands[0], view))
        fail(e.at, "'#' takes an array in kernels");
      return length_of(view, 1, e.at);
    }
    if (e.op == TokenKind::not_)
      return make(Op::logical_not, Kind::boolean, e.at, condition(*e.operands[0], "not"));
    const Ref operand = value(*e.operands[0]);
    need_number(operand, "'-'");
    const Node node = out_.nodes[std::size_t(operand)];
    if (node.op == Op::constant && kind(operand) == Kind::integer && node.integer != INT64_MIN && node.integer != 0)
      return integer(-node.integer, e.at);
    if (node.op == Op::constant && kind(operand) == Kind::number)
      return constant(-node.number, Kind::number, e.at);
    if (node.op == Op::constant && kind(operand) == Kind::integer && node.integer == 0)
      return constant(-0.0, Kind::number, e.at); // -0 is a number of Lua's
    return make(Op::negate, kind(operand), e.at, operand);
  }

  Ref binary(const Expression &e) {
    const TokenKind op = e.op;
    if (op == TokenKind::or_ || op == TokenKind::and_)
      return logical(e);
    if (op == TokenKind::concat)
      fail(e.at, "kernels have no strings: '..' is not supported");
    Ref a = value(*e.operands[0]), b = value(*e.operands[1]);
    if (kind(a) == Kind::unknown || kind(b) == Kind::unknown) {
      const bool compares = op == TokenKind::eq || op == TokenKind::ne || op == TokenKind::lt || op == TokenKind::le ||
                            op == TokenKind::gt || op == TokenKind::ge;
      return compares ? make(Op::constant, Kind::boolean, e.at) : unknown(e.at);
    }
    if (op == TokenKind::eq || op == TokenKind::ne) {
      const Kind both = join(kind(a), kind(b));
      if (both == Kind::unknown)
        fail(e.at, "a boolean never equals a number");
      return make(op == TokenKind::eq ? Op::equal : Op::not_equal, Kind::boolean, e.at, convert(a, both),
                  convert(b, both));
    }
    static const std::pair<TokenKind, const char *> names[] = {
        {TokenKind::plus, "'+'"},    {TokenKind::minus, "'-'"}, {TokenKind::star, "'*'"}, {TokenKind::slash, "'/'"},
        {TokenKind::percent, "'%'"}, {TokenKind::caret, "'^'"}, {TokenKind::lt, "'<'"},   {TokenKind::le, "'<='"},
        {TokenKind::gt, "'>'"},      {TokenKind::ge, "'>='"}};
    std::string name;
    for (const auto &[token, text] : names)
      if (token == op)
        name = text;
    need_number(a, name);
    need_number(b, name);
    Kind both = join(kind(a), kind(b));
    switch (op) {
    case TokenKind::lt:
    case TokenKind::le:
    case TokenKind::gt:
    case TokenKind::ge:
      if (both == Kind::complex)
        fail(e.at, "complex numbers have no order");
      a = convert(a, both);
      b = convert(b, both);
      if (op == TokenKind::gt || op == TokenKind::ge)
        std::swap(a, b);
      return make(op == TokenKind::lt || op == TokenKind::gt ? Op::less : Op::less_equal, Kind::boolean, e.at, a, b);
    case TokenKind::plus: {
      const Ref sum = make(Op::add, both, e.at, convert(a, both), convert(b, both));
      out_.nodes[std::size_t(sum)].integer = e.value; // of a parallel loop's total
      return sum;
    }
    case TokenKind::minus:
      return make(Op::subtract, both, e.at, convert(a, both), convert(b, both));
    case TokenKind::star: {
      const Ref product = make(Op::multiply, both, e.at, convert(a, both), convert(b, both));
      out_.nodes[std::size_t(product)].integer = e.value;
      return product;
    }
    case TokenKind::slash:
      both = floating(both);
      return make(Op::divide, both, e.at, convert(a, both), convert(b, both));
    case TokenKind::percent:
      if (both == Kind::complex)
        fail(e.at, "'%' takes real numbers");
      return make(Op::modulo, both, e.at, convert(a, both), convert(b, both));
    case TokenKind::caret: {
      if (both == Kind::complex)
        fail(e.at, "kernels do not support '^' of complex numbers: multiply");
      both = floating(both);
      const Node exponent = out_.nodes[std::size_t(b)];
      if (exponent.op == Op::constant) {
        const double by = kind(b) == Kind::integer ? double(exponent.integer) : exponent.number;
        for (const double known : {2.0, 3.0, 4.0, -1.0, -2.0, 0.5, 1.5, 2.5})
          if (by == known) {
            const Ref r = math(Math::power_of, {convert(a, both)}, both, e.at);
            out_.nodes[std::size_t(r)].number = by;
            return r;
          }
        if (by == 1)
          return convert(a, both);
      }
      return make(Op::power, both, e.at, convert(a, both), convert(b, both));
    }
    default:
      fail(e.at, "this operator is not supported in kernels");
    }
  }

  // `and`, `or` of booleans; (condition and x or y) with numbers x and y.
  Ref logical(const Expression &e) {
    if (e.op == TokenKind::or_) {
      const Expression *left = e.operands[0].get();
      while (left->kind == ExpressionKind::parenthesised)
        left = left->operands[0].get();
      if (left->kind == ExpressionKind::binary && left->op == TokenKind::and_) {
        const Ref test = value(*left->operands[0]);
        const Ref yes = value(*left->operands[1]);
        if (kind(test) == Kind::boolean && kind(yes) != Kind::boolean) {
          const Ref no = value(*e.operands[1]);
          if (kind(no) == Kind::boolean)
            fail(e.at, "this is a number or a boolean: kernels know the type of every value when they are compiled");
          const Kind both = join(kind(yes), kind(no));
          return make(Op::choose, both, e.at, test, convert(yes, both), convert(no, both));
        }
        // (Not typed once more, which would double at every level.)
        return of_booleans(e, of_booleans(*left, test, yes), value(*e.operands[1]));
      }
    }
    const Ref a = value(*e.operands[0]);
    return of_booleans(e, a, value(*e.operands[1]));
  }

  Ref of_booleans(const Expression &e, Ref a, Ref b) {
    const char *word = e.op == TokenKind::or_ ? "or" : "and";
    for (const Ref r : {a, b})
      if (kind(r) != Kind::boolean && kind(r) != Kind::unknown)
        fail(at(r), std::string("'") + word +
                        "' takes booleans in kernels (or: condition and x or y): every number is "
                        "true in Lua");
    return make(e.op == TokenKind::or_ ? Op::logical_or : Op::logical_and, Kind::boolean, e.at, a, b);
  }

  Ref math(Math function, std::vector<Ref> arguments, Kind kind, Position where) {
    Node node;
    node.op = Op::math;
    node.math = function;
    node.at = where;
    node.arguments = std::move(arguments);
    return add(std::move(node), kind);
  }

  Ref call_value(const Expression &e) {
    const Binding binding = callee(e);
    if (binding.what == Binding::What::builtin)
      return builtin_call(e, binding.text);
    std::vector<Kind> kinds;
    return call_many(e, 1, kinds);
  }

  // A call of a function in Lua: its node, and the kinds of its first `wanted` results (-1: all).
  Ref call_many(const Expression &e, std::size_t wanted, std::vector<Kind> &kinds);

  Ref builtin_call(const Expression &e, const std::string &name) {
    if (name.starts_with("gpu."))
      return gpu_call(e, name);
    std::vector<Ref> arguments;
    for (std::size_t i = 1; i < e.operands.size(); ++i)
      arguments.push_back(value(*e.operands[i]));
    Kind both = Kind::unknown;
    for (const Ref r : arguments) {
      need_number(r, "'" + name + "'");
      if (kind(r) == Kind::unknown)
        return name == "kernel.int64" || name.starts_with("bit.") ? make(Op::constant, Kind::integer, e.at)
                                                                  : unknown(e.at);
      both = join(both, kind(r));
    }
    auto count = [&](std::size_t low, std::size_t high) {
      if (arguments.size() < low || arguments.size() > high)
        fail(e.at, "'" + name + "' takes " + std::to_string(low) +
                       (high == low  ? ""
                        : high > 100 ? " or more"
                                     : " to " + std::to_string(high)) +
                       (high == 1 ? " argument" : " arguments") + ", got " + std::to_string(arguments.size()));
    };
    auto real = [&] {
      if (both == Kind::complex)
        fail(e.at, "'" + name + "' of a complex number is not supported in kernels");
    };
    if (name == "math.log") {
      count(1, 2);
      real();
      both = floating(both);
      const Ref log = math(Math::log, {convert(arguments[0], both)}, both, e.at);
      if (arguments.size() == 1)
        return log;
      return make(Op::divide, both, e.at, log, math(Math::log, {convert(arguments[1], both)}, both, e.at));
    }
    if (name == "math.pow") {
      count(2, 2);
      real();
      both = floating(both);
      return make(Op::power, both, e.at, convert(arguments[0], both), convert(arguments[1], both));
    }
    if (name == "math.rad" || name == "math.deg") {
      count(1, 1);
      real();
      both = floating(both);
      const double by = name == "math.rad" ? M_PI / 180 : 180 / M_PI;
      return make(Op::multiply, both, e.at, convert(arguments[0], both), constant(by, both, e.at));
    }
    const std::pair<const char *, Kind> casts[] = {{"kernel.float32", Kind::float32},
                                                   {"kernel.float64", Kind::float64}};
    for (const auto &[cast, to] : casts)
      if (name == cast) {
        count(1, 1);
        real();
        return convert(arguments[0], to);
      }
    if (name == "kernel.int64") { // towards zero
      count(1, 1);
      real();
      return both == Kind::integer ? arguments[0] : math(Math::truncate_int64, {arguments[0]}, Kind::integer, e.at);
    }
    if (name == "kernel.complex") {
      count(2, 2);
      real();
      const Ref imaginary = make(Op::multiply, Kind::complex, e.at, convert(arguments[1], Kind::complex), unit(e.at));
      return make(Op::add, Kind::complex, e.at, convert(arguments[0], Kind::complex), imaginary);
    }
    for (const Builtin &f : functions) {
      if (name != f.name)
        continue;
      if (f.arguments < 0)
        count(1, 250);
      else
        count(std::size_t(f.arguments), std::size_t(f.arguments));
      if (name.starts_with("bit.")) {
        real();
        for (Ref &r : arguments)
          r = kind(r) == Kind::integer ? r : bits(r);
        if (f.arguments < 0 && arguments.size() > 2) {
          Ref r = arguments[0];
          for (std::size_t i = 1; i < arguments.size(); ++i)
            r = math(f.math, {r, arguments[i]}, Kind::integer, e.at);
          return r;
        }
        if (f.arguments < 0 && arguments.size() == 1)
          return math(Math::to_bit, arguments, Kind::integer, e.at);
        return math(f.math, arguments, Kind::integer, e.at);
      }
      const bool complex_absolute = f.math == Math::absolute && both == Kind::complex;
      if (complex_absolute)
        return math(f.math, arguments, Kind::number, e.at);
      real();
      const bool keeps = f.math == Math::absolute || f.math == Math::floor || f.math == Math::ceil ||
                         f.math == Math::minimum || f.math == Math::maximum;
      if (both == Kind::integer && (f.math == Math::floor || f.math == Math::ceil))
        return arguments[0];
      const Kind as = keeps ? both : floating(both);
      for (Ref &r : arguments)
        r = convert(r, as);
      Ref r = arguments[0];
      if (f.math == Math::minimum || f.math == Math::maximum) {
        for (std::size_t i = 1; i < arguments.size(); ++i)
          r = math(f.math, {r, arguments[i]}, as, e.at);
        return r;
      }
      return math(f.math, arguments, as, e.at);
    }
    fail(e.at, "'" + name + "' is not supported in kernels");
  }

  // ----------------------------------------------------------------------------------------------------- GPU
  // ------------
  void need_gpu(const std::string &name, Position where) const;

  Ref place(Gpu which, int dimension, const std::string &name, Position where) {
    need_gpu(name, where);
    Node node;
    node.op = Op::place;
    node.gpu = which;
    node.integer = dimension;
    node.at = where;
    return add(std::move(node), Kind::integer);
  }

  bool grid_call(const Expression &e) const {
    return e.kind == ExpressionKind::call && callee(e).what == Binding::What::builtin &&
           special(grids, callee(e).text) != Gpu::none;
  }

  // The first `wanted` results of gpu.grid(n) or gpu.gridsize(n).
  std::vector<Ref> grid_values(const Expression &e, std::size_t wanted) {
    const std::string name = callee(e).text;
    need_gpu(name, e.at);
    const std::int64_t dimensions = e.operands.size() == 2 ? constant_index(*e.operands[1]) : 0;
    if (dimensions < 1 || dimensions > 3)
      fail(e.at, "'" + name + "' takes the number of dimensions: 1, 2 or 3");
    if (wanted > std::size_t(dimensions))
      fail(e.at, "'" + name + "(" + std::to_string(dimensions) + ")' returns " + std::to_string(dimensions) +
                     (dimensions == 1 ? " value, and " : " values, and ") + std::to_string(wanted) + " are expected");
    std::vector<Ref> values;
    for (std::size_t d = 0; d < wanted; ++d)
      values.push_back(place(special(grids, name), int(d), name, e.at));
    return values;
  }

  // gpu.shared("float32", 16, 16), or without lengths: what the launch gives.
  std::int32_t shared_array(const Expression &e, const std::string &as);

  Ref gpu_call(const Expression &e, const std::string &name) {
    need_gpu(name, e.at);
    if (special(grids, name) != Gpu::none)
      return grid_values(e, 1)[0];
    if (const Gpu which = special(atomics, name); which != Gpu::none)
      return atomic(e, name, which);
    if (const Gpu which = special(warps, name); which != Gpu::none)
      return warp(e, name, which);
    if (name == "gpu.shared")
      fail(e.at, "shared memory needs a name: local tile = gpu.shared(\"float32\", 256)");
    if (name == "gpu.stride")
      fail(e.at, "'gpu.stride' stands in a loop: for i in gpu.stride(#x) do");
    if (std::find(std::begin(syncs), std::end(syncs), name) != std::end(syncs))
      fail(e.at, "'" + name + "' returns nothing");
    if (place_named(name).first != Gpu::none || special(places, name) != Gpu::none)
      fail(e.at, "'" + name + "' is no function: write " + (place_named(name).first != Gpu::none ? name : name + ".x") +
                     " without brackets");
    no_special(name, e.at);
  }

  [[noreturn]] void no_special(const std::string &name, Position where) const {
    if (name == "gpu.syncthreads" || name == "gpu.barrier")
      fail(where, "'" + name + "' is nothing that kernels know: gpu.sync() is the barrier of a block");
    fail(where, "'" + name +
                    "' is nothing that kernels know: of gpu they know threadIdx, blockIdx, blockDim, gridDim (.x, "
                    ".y, .z), grid, gridsize, stride, laneid, warpsize, shared, sync, syncwarp, threadfence, "
                    "atomic.add (sub, min, max, band, bor, bxor, exchange, cas), shfl, shfl_up, shfl_down, "
                    "shfl_xor, ballot, any, all and popc");
  }

  Ref atomic(const Expression &e, const std::string &name, Gpu which) {
    const bool swap = which == Gpu::atomic_compare_and_swap;
    const std::size_t values = swap ? 2 : 1;
    const std::string usage = swap ? name + "(a, i, expected, value)" : name + "(a, i, value)";
    View view;
    if (e.operands.size() < 2 + values || !as_view(*e.operands[1], view))
      fail(e.at, "'" + name + "' takes an array, the indices of an element and " + (swap ? "two values" : "a value") +
                     ": " + usage);
    for (std::size_t i = 2; i + values < e.operands.size(); ++i)
      push_index(view, *e.operands[i]);
    Array &array = out_.arrays[std::size_t(view.array)];
    if (int(view.leading.size()) != array.ndim)
      fail(e.at, "'" + array.name + "' has " + std::to_string(array.ndim) + " dimensions, and " +
                     std::to_string(view.leading.size()) +
                     (view.leading.size() == 1 ? " index names" : " indices name") + " no element: " + usage);
    if (!array.writable)
      fail(e.at, "'" + array.name + "' is read-only");
    if (!array.lengths.empty() && !array.shared)
      fail(e.at, "'" + array.name + "' is this thread's own: nothing else changes it, so it needs no atomics");
    const bool whole =
        array.dtype == PG_INT32 || array.dtype == PG_UINT32 || array.dtype == PG_INT64 || array.dtype == PG_UINT64;
    const bool floats = array.dtype == PG_FLOAT32 || array.dtype == PG_FLOAT64;
    const bool bits = which == Gpu::atomic_and || which == Gpu::atomic_or || which == Gpu::atomic_xor;
    if (!whole && (!floats || bits || swap))
      fail(e.at, "'" + name + "' works on arrays of int32, uint32, int64" + (bits || swap ? " and" : ",") + " uint64" +
                     (bits || swap ? "" : ", float32 and float64") + ", and '" + array.name + "' is of another dtype");
    array.written = true;
    Node node;
    node.op = Op::atomic;
    node.gpu = which;
    node.at = e.at;
    node.index = view.array;
    node.arguments = view.leading;
    node.integer = std::int64_t(view.leading.size()) - view.unchecked;
    const Kind element = kind_of_dtype(array.dtype);
    for (std::size_t i = 0; i < values; ++i) {
      const Ref v = value(*e.operands[e.operands.size() - values + i]);
      need_number(v, "'" + name + "'");
      if (kind(v) == Kind::complex || (element == Kind::integer && kind(v) > Kind::integer))
        fail(at(v), std::string("a ") + kind_name(kind(v)) + " cannot be stored in '" + array.name + "', an array of " +
                        (element == Kind::integer ? "integers: kernel.int64(x) cuts the fraction" : "real numbers"));
      (i == 0 ? node.a : node.b) = convert(v, element);
    }
    return add(std::move(node), element);
  }

  Ref warp(const Expression &e, const std::string &name, Gpu which) {
    const bool shuffle = which <= Gpu::shuffle_xor;
    const std::size_t count = e.operands.size() - 1;
    if (shuffle ? count < 2 || count > 3 : count != 1)
      fail(e.at, "'" + name + "' takes " +
                     (which == Gpu::shuffle       ? "a value and a lane (from 1)"
                      : which == Gpu::shuffle_xor ? "a value and a mask"
                      : shuffle                   ? "a value and how many lanes away"
                      : which == Gpu::popcount    ? "an integer"
                                                  : "a condition"));
    const Ref a = value(*e.operands[1]);
    Node node;
    node.op = Op::warp;
    node.gpu = which;
    node.at = e.at;
    if (!shuffle) {
      const bool number = which == Gpu::popcount;
      if (kind(a) != Kind::unknown && kind(a) != (number ? Kind::integer : Kind::boolean))
        fail(e.at, "'" + name + "' takes " + (number ? "an integer" : "a condition: compare with something"));
      node.a = a;
      return add(std::move(node), which == Gpu::any || which == Gpu::all ? Kind::boolean : Kind::integer);
    }
    if (kind(a) == Kind::complex)
      fail(e.at, "'" + name + "' of a complex number is not supported: shuffle its parts");
    const Ref b = value(*e.operands[2]);
    if (kind(b) != Kind::integer && kind(b) != Kind::unknown)
      fail(at(b), "'" + name + "': lanes are integers");
    node.integer = 32;
    if (count == 3) {
      node.integer = constant_index(*e.operands[3]);
      if (node.integer < 2 || node.integer > 32 || (node.integer & (node.integer - 1)) != 0)
        fail(at(b), "'" + name + "': the width is 2, 4, 8, 16 or 32");
    }
    node.a = a;
    node.b = b;
    const Kind result = kind(a);
    return add(std::move(node), result);
  }

  Ref unit(Position where) {
    const Ref r = constant(0, Kind::complex, where);
    out_.nodes[std::size_t(r)].imaginary = 1;
    return r;
  }

  // A float as what the bit library takes: wrapped to 32 bits later, so any int64 with the right low bits.
  Ref bits(Ref r) { return math(Math::to_bit, {convert(r, Kind::number)}, Kind::integer, at(r)); }

  struct Loop {
    std::string label; // that ends its body: `goto` it continues
  };

  Specialiser &owner_;
  const Source &source_;
  const std::vector<ArgumentType> &arguments_;
  Function out_;
  std::vector<Kind> kinds_; // of nodes
  std::vector<std::vector<std::pair<std::string, Name>>> scopes_;
  std::vector<Kind> learnt_;           // of declarations, kept over passes
  std::vector<std::int32_t> ordinals_; // of variables: their declaration; -1: ours
  std::vector<Kind> fixed_;            // of ours
  std::size_t next_variable_ = 0;
  bool changed_ = false, final_ = false, returned_ = false, returned_seen_ = false;
  std::vector<Kind> results_;
  Position first_return_;
  std::vector<Loop> loops_;
  std::vector<Instruction> after_call_;
  std::vector<Instruction> *hold_ = nullptr; // where indices are computed before they are used: of several targets
};

class Specialiser {
 public:
  Callee function(const Source &source, const std::vector<ArgumentType> &arguments, Position at,
                  const std::string &chunk) {
    std::string key = std::to_string(reinterpret_cast<std::uintptr_t>(source.body));
    for (const ArgumentType &a : arguments)
      key += "," + std::to_string(a.is_array) + ":" + std::to_string(int(a.kind)) + ":" + std::to_string(a.dtype) +
             ":" + std::to_string(a.ndim) + ":" + std::to_string(a.contiguous) + ":" + std::to_string(a.writable);
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

  Module module;
  bool gpu() const { return module.entry == Entry::grid; }

 private:
  // Of an element of an array that a kernel makes (own_dtype).
  static int own_bytes(std::int32_t dtype) {
    return dtype == PG_BOOL || dtype == PG_UINT8      ? 1
           : dtype == PG_INT32 || dtype == PG_FLOAT32 ? 4
           : dtype == PG_COMPLEX128                   ? 16
                                                      : 8;
  }
  static constexpr std::int64_t most_shared =
      227 * 1024; // compute capability 9.0 (CUDA C++ Programming Guide, table 27)
  std::int64_t shared_bytes_ = 0;
  int launch_arrays_ = 0; // of the memory that the launch gives
  std::map<std::string, Callee> done_;
  std::int64_t own_bytes_ = 0; // of arrays inside functions
  std::vector<const FunctionBody *> running_;
};

void Builder::need_gpu(const std::string &name, Position where) const {
  if (!owner_.gpu())
    fail(where, "'" + name + "' is for kernels of a GPU: make this one with gpu.kernel");
}

std::int32_t Builder::shared_array(const Expression &e, const std::string &as) {
  need_gpu("gpu.shared", e.at);
  Array array;
  array.name = as;
  array.at = e.at;
  array.contiguous = true;
  array.shared = true;
  if (e.operands.size() < 2 || e.operands[1]->kind != ExpressionKind::string)
    fail(e.at, "'gpu.shared' takes a dtype and lengths: gpu.shared(\"float32\", 16, 16)");
  array.dtype = own_dtype(e.operands[1]->text, e.operands[1]->at);
  for (std::size_t i = 2; i < e.operands.size(); ++i) {
    const auto known = known_integer(value(*e.operands[i]));
    if (!known || *known < 1 || *known > 232448)
      fail(e.operands[i]->at,
           "a shared array has lengths known when the kernel is compiled, from 1 to 232448; or none: "
           "gpu.shared(\"float32\") is the memory that the launch gives, k{shared = bytes}");
    array.lengths.push_back(*known);
  }
  if (array.lengths.empty())
    array.lengths = {0};
  if (array.lengths.size() > 8)
    fail(e.at, "an array has at most 8 dimensions");
  array.ndim = std::int32_t(array.lengths.size());
  out_.arrays.push_back(array);
  return std::int32_t(out_.arrays.size()) - 1;
}

Ref Builder::call_many(const Expression &e, std::size_t wanted, std::vector<Kind> &kinds) {
  if (e.kind != ExpressionKind::call)
    fail(e.at, "kernels know no method '" + e.text + "' here");
  const Binding binding = callee(e);
  if (binding.what == Binding::What::builtin) {
    if (wanted > 1)
      fail(e.at, "'" + binding.text + "' returns one value");
    if (wanted == 0 && special(atomics, binding.text) == Gpu::none) {
      if (binding.text.starts_with("gpu."))
        builtin_call(e, binding.text); // which may know better
      fail(e.at, "the result of '" + binding.text + "' is not used");
    }
    const Ref r = builtin_call(e, binding.text);
    kinds.push_back(kind(r));
    return r;
  }
  if (binding.what != Binding::What::function) {
    const Expression &f = *e.operands[0];
    const std::string name = f.kind == ExpressionKind::name ? "'" + f.text + "'" : "this";
    fail(e.at, binding.text.empty() ? name + " is no function that kernels can call"
                                    : name + " is " + binding.text + ", which kernels cannot call");
  }
  Node node;
  node.op = Op::call;
  node.at = e.at;
  std::vector<ArgumentType> types;
  bool known = true;
  for (std::size_t i = 1; i < e.operands.size(); ++i) {
    ArgumentType type;
    View view;
    const Expression &argument = *e.operands[i];
    if (as_view(argument, view) && int(view.leading.size()) < out_.arrays[std::size_t(view.array)].ndim) {
      const Array &array = out_.arrays[std::size_t(view.array)];
      if (!view.leading.empty())
        node.rows.push_back({std::int32_t(i) - 1, std::int64_t(view.leading.size()) - view.unchecked, view.leading});
      type.is_array = true;
      type.kind = Kind::unknown;
      type.dtype = array.dtype;
      type.ndim = array.ndim - std::int32_t(view.leading.size());
      type.contiguous = array.contiguous;
      type.writable = array.writable;
      node.arguments.push_back(-1 - view.array); // below zero: an array
    } else {
      const Ref r = value(argument);
      type.kind = kind(r);
      known = known && type.kind != Kind::unknown;
      node.arguments.push_back(r);
    }
    types.push_back(type);
  }
  if (!known) {
    kinds.assign(wanted == std::size_t(-1) ? 0 : wanted, Kind::unknown);
    return unknown(e.at);
  }
  const Callee target = owner_.function(*binding.function, types, e.at, source_.chunk);
  for (std::size_t i = 0; i < types.size(); ++i)
    if (types[i].is_array && owner_.module.functions[std::size_t(target.index)].arrays.size() > 0) {
      const Argument &parameter = owner_.module.functions[std::size_t(target.index)].parameters[i];
      if (owner_.module.functions[std::size_t(target.index)].arrays[std::size_t(parameter.index)].written)
        out_.arrays[std::size_t(-1 - node.arguments[i])].written = true;
    }
  if (wanted != std::size_t(-1) && target.results.size() < wanted)
    fail(e.at, "'" + binding.function->name + "' returns " + std::to_string(target.results.size()) + " values, and " +
                   std::to_string(wanted) + (wanted == 1 ? " is" : " are") + " expected");
  kinds = target.results;
  if (wanted != std::size_t(-1))
    kinds.resize(wanted);
  node.index = target.index;
  node.integer = 0;
  return add(std::move(node), kinds.empty() ? Kind::unknown : kinds[0]);
}

} // namespace

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

} // namespace perigee::kernel
