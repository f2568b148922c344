#include "kernel/cuda_writer.hpp"

#include <algorithm>
#include <cmath>

namespace perigee::kernel::cuda {

// What is true where the expression is not.
Text Writer::negation(Ref ref) {
  const Node &n = node(ref);
  if (n.op == Op::equal)
    return two(n, "!=", equality);
  if (n.op == Op::not_equal)
    return two(n, "==", equality);
  const bool integers = n.a >= 0 && node(n.a).type == Type::int64; // of floats, NaN is neither less nor not
  if (integers && n.op == Op::less)
    return two(n, ">=", relation);
  if (integers && n.op == Op::less_equal)
    return two(n, ">", relation);
  if (n.op == Op::logical_not)
    return value(n.a);
  return {"!" + paren(value(ref), prefix), prefix};
}

std::string Writer::indices(const std::vector<Ref> &refs) {
  std::string text;
  for (const Ref r : refs) {
    text += text.empty() ? "" : ", ";
    // An index that came as a float is whole, as on the processor.
    const Node &n = node(r);
    if (n.op == Op::convert && node(n.a).type != Type::int64)
      text += "index_t(" + value(n.a).s + ")";
    else
      text += value(r).s;
  }
  return text;
}

Text Writer::two(const Node &n, const char *op, int binding) {
  const Text a = value(n.a), b = value(n.b);
  return {paren(a, binding) + " " + op + " " + paren(b, binding + 1), binding};
}

// An int64 expression whose value may not fit the int that its operands have.
Text Writer::integer_two(const Node &n, Ref ref, const char *op, int binding, const char *wrapping) {
  // blockIdx counts from 0: without the 1 that is taken off again.
  const Node &first = node(n.a), &second = node(n.b);
  if (n.op == Op::subtract && second.op == Op::constant && second.integer == 1 && first.op == Op::place &&
      (first.gpu == Gpu::thread_idx || first.gpu == Gpu::block_idx || first.gpu == Gpu::grid))
    return place(first, false);
  Text a = value(n.a), b = value(n.b);
  const Range &r = ranges_[ref];
  const bool fits_64 = r.empty || r.low != INT64_MIN || r.high != INT64_MAX;
  if (!fits_64) {
    use("wrap");
    return {std::string(wrapping) + "(" + a.s + ", " + b.s + ")"};
  }
  const bool narrow = r.within(INT32_MIN, INT32_MAX) && a.narrow && b.narrow;
  if (!narrow && a.narrow && b.narrow)
    a = {"int64(" + a.s + ")"};
  return {paren(a, binding) + " " + op + " " + paren(b, binding + 1), binding, narrow};
}

Text Writer::value(Ref ref) {
  const Node &n = node(ref);
  switch (n.op) {
  case Op::constant:
    return constant(n);
  case Op::variable: {
    const std::string &name = variables_[std::size_t(n.index)];
    return {name, primary, narrow_variable(n.index)};
  }
  case Op::convert:
    return convert(n);
  case Op::negate: {
    const Text a = value(n.a);
    if (n.type == Type::int64 && !ranges_[ref].within(INT64_MIN + 1, INT64_MAX)) {
      use("wrap");
      return {"wrap_subtract(0, " + a.s + ")"};
    }
    if (n.type == Type::int64 && a.narrow && !ranges_[ref].within(INT32_MIN, INT32_MAX))
      return {"-int64(" + a.s + ")", prefix};
    return {"-" + paren(a, primary), prefix, a.narrow};
  }
  case Op::logical_not:
    return negation(n.a);
  case Op::add:
    return n.type == Type::int64 ? integer_two(n, ref, "+", sum, "wrap_add") : two(n, "+", sum);
  case Op::subtract:
    return n.type == Type::int64 ? integer_two(n, ref, "-", sum, "wrap_subtract") : two(n, "-", sum);
  case Op::multiply:
    return n.type == Type::int64 ? integer_two(n, ref, "*", product, "wrap_multiply") : two(n, "*", product);
  case Op::divide:
    return two(n, "/", product);
  case Op::modulo:
    return modulo(n, ref);
  case Op::power:
    return {"pow(" + value(n.a).s + ", " + value(n.b).s + ")"};
  case Op::less:
    return two(n, "<", relation);
  case Op::less_equal:
    return two(n, "<=", relation);
  case Op::equal:
    return two(n, "==", equality);
  case Op::not_equal:
    return two(n, "!=", equality);
  case Op::logical_and:
    return two(n, "&&", both);
  case Op::logical_or: {
    // Compilers warn of && within ||.
    const Text a = value(n.a), b = value(n.b);
    auto side = [](const Text &t) { return t.binding == both ? "(" + t.s + ")" : paren(t, either); };
    return {side(a) + " || " + side(b), either};
  }
  case Op::choose: {
    const Text a = value(n.a), b = value(n.b), c = value(n.c);
    return {paren(a, either) + " ? " + paren(b, either) + " : " + paren(c, choice), choice, b.narrow && c.narrow};
  }
  case Op::call: {
    const Function &f = shared_.module.functions[std::size_t(n.index)];
    Text t = call(n);
    if (f.results.size() > 1)
      t.s += ".r1";
    return t;
  }
  case Op::math:
    return mathematics(n, ref);
  case Op::load:
    return load(n);
  case Op::length:
    return {arrays_[std::size_t(n.index)] + ".n[" + std::to_string(n.integer) + "]", primary, !shared_.options.wide};
  case Op::place:
    return place(n);
  case Op::atomic:
    return atomic(n);
  case Op::warp:
    return warp(n);
  }
  throw InternalError("an expression that has no CUDA C++");
}

Text Writer::constant(const Node &n) {
  switch (n.type) {
  case Type::boolean:
    return {n.integer ? "true" : "false"};
  case Type::complex128:
    use("complex128");
    return {"complex(" + number_text(n.number, false) + ", " + number_text(n.imaginary, false) + ")"};
  case Type::float32:
  case Type::float64: {
    if (!std::isfinite(n.number))
      use("infinity");
    const std::string t = number_text(n.number, n.type == Type::float32);
    return {t, t[0] == '-' ? int(prefix) : int(primary)};
  }
  default:
    break;
  }
  if (n.integer == INT64_MIN)
    return {"(-9223372036854775807LL - 1)"};
  const bool small = n.integer >= INT32_MIN + 1 && n.integer <= INT32_MAX;
  return {std::to_string(n.integer) + (small ? "" : "LL"), n.integer < 0 ? prefix : primary, small};
}

Text Writer::convert(const Node &n) {
  const Text a = value(n.a);
  const Type from = node(n.a).type;
  if (from == n.type)
    return a;
  if (n.type == Type::complex128) {
    use("complex128");
    return {"complex(" + a.s + ", 0)"};
  }
  if (n.type == Type::int64) {
    use("to_int64");
    return {"to_int64(" + a.s + ")"};
  }
  const Node &inner = node(n.a);
  if (inner.op == Op::constant && std::isfinite(inner.number)) // as the number it is
    return {number_text(from == Type::int64 ? double(inner.integer) : inner.number, n.type == Type::float32)};
  if (n.type == Type::float32 && inner.op == Op::variable && is_parameter(inner.index) &&
      parameter_type(inner.index) == "float")
    return a;
  return {type_text(n.type) + "(" + a.s + ")"};
}

Text Writer::modulo(const Node &n, Ref) {
  const Text a = value(n.a), b = value(n.b);
  if (n.type == Type::int64) {
    const Range &x = ranges_[n.a], &y = ranges_[n.b];
    if ((x.empty || x.low >= 0) && !y.empty && y.low > 0)
      return {paren(a, product) + " % " + paren(b, product + 1), product, a.narrow && b.narrow};
    use("floor_mod");
    if (a.narrow && b.narrow)
      return {"floor_mod<int>(" + a.s + ", " + b.s + ")", primary, true};
    return {"floor_mod<int64>(" + a.s + ", " + b.s + ")"};
  }
  use("floor_mod");
  return {"floor_mod(" + a.s + ", " + b.s + ")"};
}

Text Writer::load(const Node &n) {
  const Array &a = f_.arrays[std::size_t(n.index)];
  Text t{arrays_[std::size_t(n.index)] + "(" + indices(n.arguments) + ")"};
  switch (a.dtype) {
  case PG_COMPLEX64:
    t.s = "complex(" + t.s + ")";
    break;
  case PG_INT32:
    t.narrow = true;
    break;
  case PG_INT8:
  case PG_UINT8:
  case PG_INT16:
  case PG_UINT16:
    t = {"int(" + t.s + ")", primary, true};
    break;
  case PG_UINT32:
  case PG_UINT64:
    t.s = "int64(" + t.s + ")";
    break;
  default:
    break;
  }
  return t;
}

Text Writer::call(const Node &n) {
  std::string text = shared_.names[std::size_t(n.index)] + "(";
  for (std::size_t i = 0; i < n.arguments.size(); ++i) {
    text += i > 0 ? ", " : "";
    const Ref r = n.arguments[i];
    if (r >= 0) {
      const Text v = value(r);
      text += v.s;
      continue;
    }
    const std::string &name = arrays_[std::size_t(-1 - r)];
    const auto row =
        std::find_if(n.rows.begin(), n.rows.end(), [&](const Row &w) { return w.argument == std::int32_t(i); });
    text += row == n.rows.end() ? name : name + ".row(" + indices(row->indices) + ")";
  }
  return {text + ")"};
}

// Where the thread stands; from 0 where not `from_one`.
Text Writer::place(const Node &n, bool from_one) {
  const std::string one = from_one ? " + 1" : "";
  const int loose = from_one ? sum : primary;
  const std::string d(1, "xyz"[std::size_t(std::min<std::int64_t>(n.integer, 2))]);
  const bool narrow = !shared_.options.wide;
  switch (n.gpu) {
  case Gpu::thread_idx:
    return {"int(threadIdx." + d + ")" + one, loose, true};
  case Gpu::block_idx:
    return {(narrow ? "int(blockIdx." : "int64(blockIdx.") + d + ")" + one, loose, narrow};
  case Gpu::block_dim:
    return {"int(blockDim." + d + ")", primary, true};
  case Gpu::grid_dim:
    return {(narrow ? "int(gridDim." : "int64(gridDim.") + d + ")", primary, narrow};
  case Gpu::grid:
    if (narrow)
      return {"int(blockIdx." + d + " * blockDim." + d + " + threadIdx." + d + ")" + one, loose, true};
    return {"int64(blockIdx." + d + ") * blockDim." + d + " + threadIdx." + d + one, sum};
  case Gpu::grid_size:
    if (narrow)
      return {"int(gridDim." + d + " * blockDim." + d + ")", primary, true};
    return {"int64(gridDim." + d + ") * blockDim." + d, product};
  case Gpu::lane:
    use("lane");
    return {"lane()", primary, true};
  default:
    return {"32", primary, true};
  }
}

Text Writer::atomic(const Node &n) {
  use("atomics");
  const Array &a = f_.arrays[std::size_t(n.index)];
  const std::string at = "&" + arrays_[std::size_t(n.index)] + "(" + indices(n.arguments) + ")";
  auto operand = [&](Ref r) { return value(r).s; };
  std::string text;
  switch (n.gpu) {
  case Gpu::atomic_add:
    text = "atomic_add(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_subtract:
    text = "atomic_add(" + at + ", -" + paren(value(n.a), primary) + ")";
    break;
  case Gpu::atomic_minimum:
    text = "atomic_minimum(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_maximum:
    text = "atomic_maximum(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_and:
    text = "atomic_and(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_or:
    text = "atomic_or(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_xor:
    text = "atomic_xor(" + at + ", " + operand(n.a) + ")";
    break;
  case Gpu::atomic_exchange:
    text = "atomic_exchange(" + at + ", " + operand(n.a) + ")";
    break;
  default:
    text = "atomic_cas(" + at + ", " + operand(n.a) + ", " + operand(n.b) + ")";
  }
  if (is_integer(a.dtype) && a.dtype != PG_INT64)
    return {(a.dtype == PG_INT32 ? "" : "int64(") + text + (a.dtype == PG_INT32 ? "" : ")"), primary,
            a.dtype == PG_INT32};
  return {text};
}

Text Writer::warp(const Node &n) {
  const std::string all = "0xffffffffu";
  const Text a = value(n.a);
  const std::string width = n.integer == 32 || n.integer == 0 ? "" : ", " + std::to_string(n.integer);
  auto shuffled = [&](const char *name, const std::string &by) -> Text {
    const bool boolean = n.type == Type::boolean;
    const std::string text =
        std::string(name) + "(" + all + ", " + (boolean ? "int(" + a.s + ")" : a.s) + ", " + by + width + ")";
    return boolean ? Text{text + " != 0", equality} : Text{text, primary, a.narrow};
  };
  auto whole = [&](Ref r) {
    const Text t = value(r);
    return t.narrow ? t : Text{"int(" + t.s + ")", primary, true};
  };
  switch (n.gpu) {
  case Gpu::shuffle:
    return shuffled("__shfl_sync", paren(whole(n.b), sum) + " - 1");
  case Gpu::shuffle_up:
    return shuffled("__shfl_up_sync", whole(n.b).s);
  case Gpu::shuffle_down:
    return shuffled("__shfl_down_sync", whole(n.b).s);
  case Gpu::shuffle_xor:
    return shuffled("__shfl_xor_sync", whole(n.b).s);
  case Gpu::ballot:
    return {"int64(__ballot_sync(" + all + ", " + a.s + "))"};
  case Gpu::any:
    return {"__any_sync(" + all + ", " + a.s + ") != 0", equality};
  case Gpu::all:
    return {"__all_sync(" + all + ", " + a.s + ") != 0", equality};
  default:
    return {"__popc(unsigned(" + a.s + "))", primary, true};
  }
}

Text Writer::mathematics(const Node &n, Ref ref) {
  std::vector<Text> a;
  for (const Ref r : n.arguments)
    a.push_back(value(r));
  const Type t = node(n.arguments[0]).type;
  auto function = [&](const char *name) {
    std::string text = std::string(name) + "(";
    for (std::size_t i = 0; i < a.size(); ++i)
      text += (i > 0 ? ", " : "") + a[i].s;
    return Text{text + ")"};
  };
  auto bits = [&](std::size_t i) { // as int
    return a[i].narrow ? a[i] : Text{"int(" + a[i].s + ")"};
  };
  auto bitwise = [&](const char *op) {
    return Text{"(" + paren(bits(0), prefix) + " " + op + " " + paren(bits(1), prefix) + ")", primary, true};
  };
  switch (n.math) {
  case Math::absolute:
    if (t == Type::complex128)
      return {"hypot(" + paren(a[0], primary) + ".re, " + paren(a[0], primary) + ".im)"};
    if (t == Type::int64) {
      const bool narrow = a[0].narrow && ranges_[ref].within(INT32_MIN, INT32_MAX);
      return {(narrow ? "abs(" : "llabs(") + a[0].s + ")", primary, narrow};
    }
    return function("fabs");
  case Math::power_of:
    use("powers");
    if (n.number == -1)
      return {(t == Type::float32 ? "1.0f / " : "1.0 / ") + paren(a[0], product + 1), product};
    if (n.number == -2)
      return {(t == Type::float32 ? "1.0f / pow2(" : "1.0 / pow2(") + a[0].s + ")", product};
    return function(n.number == 2     ? "pow2"
                    : n.number == 3   ? "pow3"
                    : n.number == 4   ? "pow4"
                    : n.number == 0.5 ? "pow0_5"
                    : n.number == 1.5 ? "pow1_5"
                                      : "pow2_5");
  case Math::sqrt:
    return function("sqrt");
  case Math::floor:
    return function("floor");
  case Math::ceil:
    return function("ceil");
  case Math::sin:
    return function("sin");
  case Math::cos:
    return function("cos");
  case Math::tan:
    return function("tan");
  case Math::asin:
    return function("asin");
  case Math::acos:
    return function("acos");
  case Math::atan:
    return function("atan");
  case Math::sinh:
    return function("sinh");
  case Math::cosh:
    return function("cosh");
  case Math::tanh:
    return function("tanh");
  case Math::exp:
    return function("exp");
  case Math::log:
    return function("log");
  case Math::log10:
    return function("log10");
  case Math::log2:
    return function("log2");
  case Math::atan2:
    return function("atan2");
  case Math::fmod:
    return function("fmod");
  case Math::minimum:
  case Math::maximum: {
    use("minimum");
    const std::string name = n.math == Math::minimum ? "minimum" : "maximum";
    if (t == Type::int64) {
      const bool narrow = a[0].narrow && a[1].narrow;
      return {name + (narrow ? "<int>(" : "<int64>(") + a[0].s + ", " + a[1].s + ")", primary, narrow};
    }
    return function(name.c_str());
  }
  case Math::real:
    return {paren(a[0], primary) + ".re"};
  case Math::imaginary:
    return {paren(a[0], primary) + ".im"};
  case Math::truncate_int64:
    if (t == Type::int64)
      return a[0];
    use("to_int64");
    return function("to_int64");
  case Math::to_bit:
    if (t == Type::int64)
      return a[0].narrow ? a[0] : Text{"int(" + a[0].s + ")", primary, true};
    use("to_int64");
    return {"int(to_int64(rint(" + a[0].s + ")))", primary, true};
  case Math::bit_and:
    return bitwise("&");
  case Math::bit_or:
    return bitwise("|");
  case Math::bit_xor:
    return bitwise("^");
  case Math::bit_not:
    return {"~" + paren(bits(0), primary), prefix, true};
  case Math::shift_left:
    return {"int(unsigned(" + a[0].s + ") << (" + paren(bits(1), prefix) + " & 31))", primary, true};
  case Math::shift_right:
    return {"int(unsigned(" + a[0].s + ") >> (" + paren(bits(1), prefix) + " & 31))", primary, true};
  case Math::shift_arithmetic:
    return {"(" + paren(bits(0), prefix) + " >> (" + paren(bits(1), prefix) + " & 31))", primary, true};
  case Math::rotate_left:
  case Math::rotate_right:
    return {"int(__funnelshift_" + std::string(n.math == Math::rotate_left ? "l" : "r") + "(" + a[0].s + ", " + a[0].s +
                ", " + a[1].s + "))",
            primary, true};
  case Math::byte_swap:
    return {"int(__byte_perm(" + a[0].s + ", 0, 0x0123))", primary, true};
  }
  throw InternalError("a function that has no CUDA C++");
}

} // namespace perigee::kernel::cuda
