#include "kernel/ranges.hpp"

#include "core/abi.hpp"

#include <algorithm>

namespace perigee::kernel {

namespace {

using Wide = __int128;

constexpr Range any{};

// What an operation that does not wrap gives; where it can wrap, anything.
Range interval(Wide low, Wide high) {
  if (low < INT64_MIN || high > INT64_MAX)
    return any;
  return {std::int64_t(low), std::int64_t(high), false};
}

Range of_dtype(std::int32_t dtype) {
  switch (dtype) {
  case PG_INT8:
    return {-128, 127, false};
  case PG_UINT8:
    return {0, 255, false};
  case PG_INT16:
    return {-32768, 32767, false};
  case PG_UINT16:
    return {0, 65535, false};
  case PG_INT32:
    return {INT32_MIN, INT32_MAX, false};
  case PG_UINT32:
    return {0, UINT32_MAX, false};
  default:
    return any;
  }
}

Range hull(const Range &a, const Range &b) {
  if (a.empty)
    return b;
  if (b.empty)
    return a;
  return {std::min(a.low, b.low), std::max(a.high, b.high), false};
}

} // namespace

Ranges::Ranges(const Function &f, std::int64_t longest, std::int64_t blocks)
    : f_(f), longest_(longest), blocks_(blocks), nodes_(f.nodes.size()), variables_(f.variables.size()) {
  for (Range &v : variables_)
    v.empty = true;
  for (const Argument &p : f.parameters)
    if (!p.is_array)
      variables_[std::size_t(p.index)] = any;
  // Intervals that still grow after some rounds are taken for anything.
  for (int round = 0; round < 64; ++round) {
    changed_ = false;
    widen_ = round >= 4;
    update_nodes();
    run(f.body);
    if (!changed_)
      return;
  }
}

// A node's operands come before it or after it: until nothing changes.
void Ranges::update_nodes() {
  for (int round = 0; round < 256; ++round) {
    bool changed = false;
    for (std::size_t i = 0; i < f_.nodes.size(); ++i) {
      const Range now = f_.nodes[i].type == Type::int64 ? evaluate(f_.nodes[i]) : any;
      changed |= now.low != nodes_[i].low || now.high != nodes_[i].high || now.empty != nodes_[i].empty;
      nodes_[i] = now;
    }
    if (!changed)
      return;
  }
  for (Range &r : nodes_)
    r = any;
}

void Ranges::join(std::int32_t variable, Range range) {
  if (variable < 0)
    return;
  Range &v = variables_[std::size_t(variable)];
  const Range joined = hull(v, range);
  if (joined.low == v.low && joined.high == v.high && joined.empty == v.empty)
    return;
  v = widen_ ? any : joined;
  changed_ = true;
}

void Ranges::run(const std::vector<Instruction> &steps) {
  for (const Instruction &s : steps) {
    const bool whole = s.variable >= 0 && f_.variables[std::size_t(s.variable)].type == Type::int64;
    switch (s.step) {
    case Step::assign:
      if (whole)
        join(s.variable, nodes_[std::size_t(s.a)]);
      break;
    case Step::assign_call:
      for (const std::int32_t target : s.targets)
        join(target, any);
      break;
    case Step::for_:
      if (whole) {
        const Range &from = nodes_[std::size_t(s.a)];
        const Range to = f_.nodes[std::size_t(s.b)].type == Type::int64 ? nodes_[std::size_t(s.b)]
                                                                        : Range{-(1ll << 62), 1ll << 62, false};
        const Node &by = f_.nodes[std::size_t(s.c)];
        if (from.empty || to.empty)
          break;
        if (by.op == Op::constant && by.integer > 0)
          join(s.variable, {from.low, std::max(from.low, to.high), false});
        else if (by.op == Op::constant && by.integer < 0)
          join(s.variable, {std::min(from.high, to.low), from.high, false});
        else
          join(s.variable, hull(from, to));
      }
      break;
    default:
      break;
    }
    for (const auto &block : s.blocks)
      run(block);
  }
}

Range Ranges::evaluate(const Node &n) const {
  auto at = [&](Ref r) { return nodes_[std::size_t(r)]; };
  switch (n.op) {
  case Op::constant:
    return {n.integer, n.integer, false};
  case Op::variable:
    return variables_[std::size_t(n.index)];
  case Op::length:
    return {0, longest_, false};
  case Op::load:
    return of_dtype(f_.arrays[std::size_t(n.index)].dtype);
  case Op::atomic:
    return of_dtype(f_.arrays[std::size_t(n.index)].dtype);
  case Op::place:
    switch (n.gpu) {
    case Gpu::thread_idx:
    case Gpu::block_dim:
      return {1, 1024, false};
    case Gpu::block_idx:
    case Gpu::grid_dim:
      return {1, blocks_, false};
    case Gpu::lane:
      return {1, 32, false};
    case Gpu::warp_size:
      return {32, 32, false};
    default:
      return {1, longest_, false};
    }
  case Op::warp:
    if (n.gpu == Gpu::ballot)
      return {0, UINT32_MAX, false};
    if (n.gpu == Gpu::popcount)
      return {0, 32, false};
    return f_.nodes[std::size_t(n.a)].type == Type::int64 ? at(n.a) : any;
  case Op::negate: {
    const Range a = at(n.a);
    return a.empty ? a : interval(-Wide(a.high), -Wide(a.low));
  }
  case Op::add:
  case Op::subtract:
  case Op::multiply: {
    const Range a = at(n.a), b = at(n.b);
    if (a.empty || b.empty)
      return {0, 0, true};
    if (n.op == Op::add)
      return interval(Wide(a.low) + b.low, Wide(a.high) + b.high);
    if (n.op == Op::subtract)
      return interval(Wide(a.low) - b.high, Wide(a.high) - b.low);
    const Wide p[] = {Wide(a.low) * b.low, Wide(a.low) * b.high, Wide(a.high) * b.low, Wide(a.high) * b.high};
    return interval(*std::min_element(p, p + 4), *std::max_element(p, p + 4));
  }
  case Op::modulo: {
    const Range b = at(n.b);
    if (!b.empty && b.low > 0)
      return {0, b.high - 1, false};
    return any;
  }
  case Op::choose:
    return hull(at(n.b), at(n.c));
  case Op::math:
    switch (n.math) {
    case Math::minimum:
    case Math::maximum: {
      const Range a = at(n.arguments[0]), b = at(n.arguments[1]);
      if (a.empty || b.empty)
        return {0, 0, true};
      return n.math == Math::minimum ? Range{std::min(a.low, b.low), std::min(a.high, b.high), false}
                                     : Range{std::max(a.low, b.low), std::max(a.high, b.high), false};
    }
    case Math::absolute: {
      if (f_.nodes[std::size_t(n.arguments[0])].type != Type::int64)
        return any;
      const Range a = at(n.arguments[0]);
      if (a.empty || a.low == INT64_MIN)
        return a.empty ? a : any;
      return {a.low >= 0 ? a.low : a.high < 0 ? -a.high : 0, std::max(a.high, -a.low), false};
    }
    case Math::bit_and:
      for (const Ref r : n.arguments)
        if (!at(r).empty && at(r).low >= 0 && at(r).high <= INT32_MAX)
          return {0, at(r).high, false};
      return {INT32_MIN, INT32_MAX, false};
    case Math::bit_or:
    case Math::bit_xor:
    case Math::bit_not:
    case Math::shift_left:
    case Math::shift_right:
    case Math::shift_arithmetic:
    case Math::rotate_left:
    case Math::rotate_right:
    case Math::byte_swap:
    case Math::to_bit:
      return {INT32_MIN, INT32_MAX, false};
    default:
      return any;
    }
  default:
    return any;
  }
}

} // namespace perigee::kernel
