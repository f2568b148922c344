// Typing: calls, of the mathematics and bit libraries and of other functions in Lua.
#include "kernel/builder.hpp"

namespace perigee::kernel {

namespace {

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

} // namespace

bool Builder::is_call(const Expression &e) {
  return e.kind == ExpressionKind::call || e.kind == ExpressionKind::method_call;
}

bool Builder::user_function(const Expression &e) const {
  return e.kind == ExpressionKind::call && callee(e).what == Binding::What::function;
}

Ref Builder::math(Math function, std::vector<Ref> arguments, Kind kind, Position where) {
  Node node;
  node.op = Op::math;
  node.math = function;
  node.at = where;
  node.arguments = std::move(arguments);
  return add(std::move(node), kind);
}

Ref Builder::call_value(const Expression &e) {
  const Binding binding = callee(e);
  if (binding.what == Binding::What::builtin)
    return builtin_call(e, binding.text);
  std::vector<Kind> kinds;
  return call_many(e, 1, kinds);
}

Ref Builder::builtin_call(const Expression &e, const std::string &name) {
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
  const std::pair<const char *, Kind> casts[] = {{"kernel.float32", Kind::float32}, {"kernel.float64", Kind::float64}};
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
  if (name == "math.random" || name == "math.randomseed")
    fail(e.at, "'" + name +
                   "' is not supported in kernels: pass an array of random numbers "
                   "(perigee.random: generator(1):uniform(0, 1, {shape = n}))");
  fail(e.at, "'" + name + "' is not supported in kernels");
}

Ref Builder::unit(Position where) {
  const Ref r = constant(0, Kind::complex, where);
  out_.nodes[std::size_t(r)].imaginary = 1;
  return r;
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
    const Expression *root = &f; // of string.rep
    while (root->kind == ExpressionKind::index || root->kind == ExpressionKind::parenthesised)
      root = root->operands[0].get();
    const std::string name = root->kind == ExpressionKind::name ? "'" + root->text + "'" : "this";
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

} // namespace perigee::kernel
