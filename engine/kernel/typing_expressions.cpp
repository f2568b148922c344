// Typing: expressions but for calls.
#include "kernel/builder.hpp"

namespace perigee::kernel {

Ref Builder::condition(const Expression &e, const char *what) {
  const Ref r = value(e);
  if (kind(r) != Kind::boolean && kind(r) != Kind::unknown)
    fail(e.at, std::string("'") + what + "' with a number: every number is true in Lua; compare it (x ~= 0)");
  return r;
}

Ref Builder::value(const Expression &e) {
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
    fail(e.at, "kernels have no nil: return or store a number that stands for nothing (0, -1, 0 / 0), or a boolean "
               "beside the value");
  case ExpressionKind::string:
    fail(
        e.at,
        "kernels have no strings: they compute with numbers, booleans and arrays; leave text to what calls the kernel");
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
bool Builder::builtin_value(const std::string &text, double *v) const {
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

Ref Builder::binding_value(const Binding &binding, const std::string &name, Position where) {
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

Ref Builder::name_value(const Expression &e) {
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

Ref Builder::index_value(const Expression &e) {
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
std::optional<std::int64_t> Builder::known_integer(Ref r) const {
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

std::int64_t Builder::constant_index(const Expression &e) {
  const auto known = known_integer(value(e));
  if (!known)
    fail(e.at, "the dimension is a number known when the kernel is compiled");
  return *known;
}

Ref Builder::method_value(const Expression &e) {
  View view;
  if (!as_view(*e.operands[0], view))
    fail(e.at, "kernels know no method '" + e.text +
                   "' of this: methods of whole arrays are called outside kernels; "
                   "in one, write a loop over the elements");
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

Ref Builder::unary(const Expression &e) {
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

Ref Builder::binary(const Expression &e) {
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
Ref Builder::logical(const Expression &e) {
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

Ref Builder::of_booleans(const Expression &e, Ref a, Ref b) {
  const char *word = e.op == TokenKind::or_ ? "or" : "and";
  for (const Ref r : {a, b})
    if (kind(r) != Kind::boolean && kind(r) != Kind::unknown)
      fail(at(r), std::string("'") + word +
                      "' takes booleans in kernels (or: condition and x or y): every number is "
                      "true in Lua");
  return make(e.op == TokenKind::or_ ? Op::logical_or : Op::logical_and, Kind::boolean, e.at, a, b);
}

} // namespace perigee::kernel
