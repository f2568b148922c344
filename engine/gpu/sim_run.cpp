// The interpreter of the checked simulator. A warp runs in step, as hardware does: each instruction for all lanes that
// are there, branches one side after the other. Warps of a block take turns at barriers, blocks run on the engine's
// threads.
#include "gpu/sim_run.hpp"

#include "core/plugin_support.hpp"
#include "core/status.hpp"
#include "gpu/sim_math.hpp"
#include "gpu/sim_warp.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>

namespace perigee::sim {

using kernel::Gpu;
using kernel::Type;

namespace {

constexpr std::uint64_t turn_jumps = 4096; // rounds of loops before another warp of the block has its turn
constexpr std::uint64_t most_jumps = std::uint64_t(1) << 25; // of one warp: some seconds; then it never ends
constexpr std::size_t level1_sectors = 2048; // 64 KiB: what a block gets of an SM's first-level cache, about

std::uint32_t all_of(int n) {
  return n >= lanes ? ~0u : (1u << n) - 1;
}

template <class F> void each(std::uint32_t mask, F &&f) {
  for (; mask != 0; mask &= mask - 1)
    f(std::countr_zero(mask));
}

} // namespace

Worker::Worker(Grid &grid)
    : sites(grid.program.sites.size()), grid_(grid), program_(grid.program),
      registers_(std::size_t(grid.program.registers) * std::size_t(grid.warps)), uniforms_(grid.uniforms),
      warps_(std::size_t(grid.warps)), places_(grid.places), level1_(level1_sectors) {
  for (Warp &warp : warps_)
    warp.control.resize(std::size_t(program_.depth) + 1);
  // Shared arrays one after another; the memory that the launch gives at the end.
  std::int64_t cells = 0, bytes = program_.shared_bytes;
  std::vector<std::int64_t> first(places_.size());
  for (std::size_t k = 0; k < places_.size(); ++k) {
    const ArraySlot &slot = program_.arrays[k];
    if (slot.where != ArraySlot::Where::shared)
      continue;
    first[k] = cells;
    std::int64_t size = 1;
    for (int d = 0; d < slot.ndim; ++d)
      size *= places_[k].shape[d];
    cells += size;
    places_[k].device = slot.offset;
    if (std::int32_t(k) == program_.launch_array) {
      places_[k].device = bytes = (bytes + 15) / 16 * 16;
      bytes += size * places_[k].bytes;
    }
  }
  shared_.resize(std::size_t(bytes) + 64);
  shared_cells_.resize(std::size_t(cells));
  const bool atomics = std::any_of(program_.sites.begin(), program_.sites.end(), [&](const Site &site) {
    return site.kind == Site::Kind::atomic &&
           program_.arrays[std::size_t(site.array)].where == ArraySlot::Where::shared;
  });
  shared_atomics_.resize(std::size_t(atomics ? cells : 0));
  char *base = shared_.data() + (64 - reinterpret_cast<std::uintptr_t>(shared_.data()) % 64) % 64;
  for (std::size_t k = 0; k < places_.size(); ++k)
    if (program_.arrays[k].where == ArraySlot::Where::shared) {
      places_[k].data = base + places_[k].device;
      places_[k].cells = shared_cells_.data() + first[k];
      places_[k].atomics = atomics ? shared_atomics_.data() + first[k] : nullptr;
    }
}

Diagnosis Worker::diagnose(Problem problem, const Step &step, const Warp &warp, int lane) const {
  Diagnosis d;
  d.problem = problem;
  d.site = step.site;
  d.thread = thread(warp, lane);
  d.count = 1;
  return d;
}

void Worker::run_block(std::int64_t number) {
  block_ = number;
  first_thread_ = number * grid_.block_size;
  epoch_ = 0;
  atomics_ = false;
  const Launch &launch = grid_.launch;
  const std::int64_t block[3] = {number % launch.grid[0], number / launch.grid[0] % launch.grid[1],
                                 number / launch.grid[0] / launch.grid[1]};
  for (std::size_t u = 0; u < uniforms_.size(); ++u) {
    const Uniform &uniform = program_.uniforms[u];
    if (uniform.what == Uniform::What::place && uniform.gpu == Gpu::block_idx)
      std::fill_n(uniforms_[u].i, lanes, block[uniform.integer] + 1);
  }
  std::fill(level1_.begin(), level1_.end(), ~0u);
  std::fill(shared_cells_.begin(), shared_cells_.end(), Cell{});
  std::fill(shared_atomics_.begin(), shared_atomics_.end(), Access{});
  std::memset(shared_.data(), 0xff, shared_.size()); // NaN, or -1: what nothing wrote is seen
  for (std::int32_t w = 0; w < grid_.warps; ++w) {
    Warp &warp = warps_[std::size_t(w)];
    std::vector<Control> control = std::move(warp.control);
    warp = Warp();
    warp.control = std::move(control);
    warp.number = w;
    warp.registers = registers_.data() + std::size_t(w) * std::size_t(program_.registers);
    warp.exists = all_of(int(std::min<std::int64_t>(lanes, grid_.block_size - std::int64_t(w) * lanes)));
    warp.mask = warp.exists;
    for (int l = 0; l < lanes; ++l) {
      const std::int64_t t = std::int64_t(w) * lanes + l;
      const std::int64_t at[3] = {t % launch.block[0], t / launch.block[0] % launch.block[1],
                                  t / launch.block[0] / launch.block[1]};
      for (int d = 0; d < 3; ++d) {
        warp.registers[thread_x + d].i[l] = at[d] + 1;
        warp.registers[grid_x + d].i[l] = block[d] * launch.block[d] + at[d] + 1;
      }
      warp.registers[lane_number].i[l] = l + 1;
    }
  }
  for (;;) {
    bool any = false;
    for (Warp &warp : warps_) {
      if (warp.state != Warp::State::ready)
        continue;
      const Why why = run_warp(warp);
      warp.state = why == Why::done ? Warp::State::done : why == Why::sync ? Warp::State::at_sync : Warp::State::ready;
      any |= why == Why::turn;
    }
    if (grid_.stop.load(std::memory_order_relaxed))
      return;
    if (any)
      continue;
    if (std::all_of(warps_.begin(), warps_.end(), [](const Warp &w) { return w.state == Warp::State::done; }))
      return;
    release_barrier();
  }
}

// All warps have ended or wait: what is wrong about that, and on.
void Worker::release_barrier() {
  const Warp *waiting = nullptr, *ended = nullptr, *elsewhere = nullptr;
  for (const Warp &warp : warps_) {
    if (warp.state == Warp::State::at_sync) {
      if (!waiting)
        waiting = &warp;
      else if (!elsewhere && program_.sites[std::size_t(warp.sync_site)].at.line !=
                                 program_.sites[std::size_t(waiting->sync_site)].at.line)
        elsewhere = &warp;
    }
    if (!ended && warp.exited != 0)
      ended = &warp;
  }
  Step step;
  step.code = Code::sync;
  step.site = waiting->sync_site;
  if (ended) {
    Diagnosis d = diagnose(Problem::sync_exited, step, *ended, std::countr_zero(ended->exited));
    d.other_site = ended->exit_site;
    int count = 0;
    for (const Warp &warp : warps_)
      count += std::popcount(warp.exited);
    d.length = count;
    problems.add(d);
  } else if (elsewhere) {
    Diagnosis d = diagnose(Problem::sync_lines, step, *waiting, std::countr_zero(waiting->exists));
    d.other_site = elsewhere->sync_site;
    d.other_thread = thread(*elsewhere, std::countr_zero(elsewhere->exists));
    problems.add(d);
  }
  ++epoch_;
  ++counts.syncs;
  for (Warp &warp : warps_)
    if (warp.state == Warp::State::at_sync) {
      warp.state = Warp::State::ready;
      ++warp.epoch;
    }
}

#define EACH_LANE for (int l = 0; l < lanes; ++l)
#define UNARY(name, field, expression)                                                                                 \
  case Code::name: {                                                                                                   \
    const Register &a = R(s.a);                                                                                        \
    Register &t = R(s.to);                                                                                             \
    _Pragma("GCC ivdep") EACH_LANE t.field[l] = expression;                                                            \
    break;                                                                                                             \
  }
#define BINARY(name, field, expression)                                                                                \
  case Code::name: {                                                                                                   \
    const Register &a = R(s.a), &b = R(s.b);                                                                           \
    Register &t = R(s.to);                                                                                             \
    _Pragma("GCC ivdep") EACH_LANE t.field[l] = expression;                                                            \
    break;                                                                                                             \
  }
#define COMPARE(name, field, op)                                                                                       \
  case Code::name: {                                                                                                   \
    const Register &a = R(s.a), &b = R(s.b);                                                                           \
    std::uint32_t m = 0;                                                                                               \
    EACH_LANE m |= std::uint32_t(a.field[l] op b.field[l]) << l;                                                       \
    R(s.to).m = m;                                                                                                     \
    break;                                                                                                             \
  }
#define WRAPPING(op) std::int64_t(std::uint64_t(a.i[l]) op std::uint64_t(b.i[l]))

Worker::Why Worker::run_warp(Warp &warp) {
  Register *const files[2] = {warp.registers, uniforms_.data()};
  auto R = [&](Operand o) -> Register & { return files[o & 1][o >> 1]; };
  const Step *const steps = program_.steps.data();
  std::uint32_t mask = warp.mask, off = warp.off;
  std::uint64_t active = std::uint64_t(std::popcount(mask)), turn = 0;
  Control *control = warp.control.data();
  auto narrow = [&](std::uint32_t m) {
    mask = m;
    active = std::uint64_t(std::popcount(m));
  };
  auto push = [&](std::uint32_t other) -> Control & {
    Control &c = control[warp.depth++];
    c = {mask, other, 0, 0, warp.loop, warp.call};
    return c;
  };
  auto leave = [&](Why why, std::int32_t pc) {
    warp.mask = mask;
    warp.off = off;
    warp.pc = pc;
    return why;
  };
  auto complain = [&](Problem problem, const Step &s, std::uint32_t who) {
    Diagnosis d = diagnose(problem, s, warp, std::countr_zero(who));
    d.count = std::popcount(who);
    problems.add(d);
  };
  // All of the warp that still run must be here.
  auto together = [&](const Step &s, Problem problem) {
    const std::uint32_t missing = warp.exists & ~warp.exited & ~mask;
    if (missing != 0) {
      Diagnosis d = diagnose(problem, s, warp, std::countr_zero(mask));
      d.other_thread = thread(warp, std::countr_zero(missing));
      d.length = std::popcount(missing);
      problems.add(d);
    }
  };
  for (std::int32_t pc = warp.pc;; ++pc) {
    const Step &s = steps[pc];
    counts.warp_steps += active != 0;
    counts.cost[std::size_t(s.cost)] += active;
    if (s.statement)
      counts.statements += active;
    switch (s.code) {
    case Code::move_wide: {
      const Register &a = R(s.a);
      Register &t = R(s.to);
      if (mask == ~0u)
        std::memcpy(t.i, a.i, sizeof t.i);
      else
        EACH_LANE t.i[l] = mask >> l & 1 ? a.i[l] : t.i[l];
      break;
    }
    case Code::move_float: {
      const Register &a = R(s.a);
      Register &t = R(s.to);
      EACH_LANE t.f[l] = mask >> l & 1 ? a.f[l] : t.f[l];
      break;
    }
    case Code::move_mask: {
      Register &t = R(s.to);
      t.m = (t.m & ~mask) | (R(s.a).m & mask);
      break;
    }
      BINARY(add_i, i, WRAPPING(+))
      BINARY(subtract_i, i, WRAPPING(-))
      BINARY(multiply_i, i, WRAPPING(*))
    case Code::modulo_i: {
      const Register &a = R(s.a), &b = R(s.b);
      Register &t = R(s.to);
      std::uint32_t zero = 0;
      each(mask, [&](int l) {
        const std::int64_t y = b.i[l];
        if (y == 0) {
          zero |= 1u << l;
          t.i[l] = 0;
          return;
        }
        const std::int64_t r = y == -1 ? 0 : a.i[l] % y;
        t.i[l] = r != 0 && (r ^ y) < 0 ? r + y : r;
      });
      if (zero != 0)
        complain(Problem::modulo_zero, s, zero);
      break;
    }
      UNARY(negate_i, i, std::int64_t(0 - std::uint64_t(a.i[l])))
      UNARY(absolute_i, i, a.i[l] < 0 ? std::int64_t(0 - std::uint64_t(a.i[l])) : a.i[l])
      BINARY(minimum_i, i, b.i[l] < a.i[l] ? b.i[l] : a.i[l])
      BINARY(maximum_i, i, a.i[l] < b.i[l] ? b.i[l] : a.i[l])
      BINARY(add_f, f, a.f[l] + b.f[l])
      BINARY(subtract_f, f, a.f[l] - b.f[l])
      BINARY(multiply_f, f, a.f[l] * b.f[l])
      BINARY(divide_f, f, a.f[l] / b.f[l])
      BINARY(modulo_f, f, a.f[l] - std::floor(a.f[l] / b.f[l]) * b.f[l])
      UNARY(negate_f, f, -a.f[l])
      BINARY(minimum_f, f, a.f[l] < b.f[l] ? a.f[l] : b.f[l])
      BINARY(maximum_f, f, a.f[l] > b.f[l] ? a.f[l] : b.f[l])
      BINARY(add_d, d, a.d[l] + b.d[l])
      BINARY(subtract_d, d, a.d[l] - b.d[l])
      BINARY(multiply_d, d, a.d[l] * b.d[l])
      BINARY(divide_d, d, a.d[l] / b.d[l])
      BINARY(modulo_d, d, a.d[l] - std::floor(a.d[l] / b.d[l]) * b.d[l])
      UNARY(negate_d, d, -a.d[l])
      BINARY(minimum_d, d, a.d[l] < b.d[l] ? a.d[l] : b.d[l])
      BINARY(maximum_d, d, a.d[l] > b.d[l] ? a.d[l] : b.d[l])
    case Code::multiply_c:
    case Code::divide_c: {
      const Register *a = &R(s.a), *b = &R(s.b);
      Register *t = &R(s.to);
      EACH_LANE {
        const double ar = a[0].d[l], ai = a[1].d[l], br = b[0].d[l], bi = b[1].d[l];
        const std::complex<double> v = s.code == Code::divide_c
                                           ? divide({ar, ai}, {br, bi})
                                           : std::complex<double>(ar * br - ai * bi, ar * bi + ai * br);
        t[0].d[l] = v.real();
        t[1].d[l] = v.imag();
      }
      break;
    }
    case Code::equal_c: {
      const Register *a = &R(s.a), *b = &R(s.b);
      std::uint32_t m = 0;
      EACH_LANE m |= std::uint32_t(a[0].d[l] == b[0].d[l] && a[1].d[l] == b[1].d[l]) << l;
      R(s.to).m = m;
      break;
    }
    case Code::absolute_c: {
      const Register *a = &R(s.a);
      Register &t = R(s.to);
      EACH_LANE t.d[l] = std::hypot(a[0].d[l], a[1].d[l]);
      break;
    }
      COMPARE(less_i, i, <)
      COMPARE(less_equal_i, i, <=)
      COMPARE(equal_i, i, ==)
      COMPARE(not_equal_i, i, !=)
      COMPARE(less_f, f, <)
      COMPARE(less_equal_f, f, <=)
      COMPARE(equal_f, f, ==)
      COMPARE(not_equal_f, f, !=)
      COMPARE(less_d, d, <)
      COMPARE(less_equal_d, d, <=)
      COMPARE(equal_d, d, ==)
      COMPARE(not_equal_d, d, !=)
    case Code::and_m:
      R(s.to).m = R(s.a).m & R(s.b).m;
      break;
    case Code::or_m:
      R(s.to).m = R(s.a).m | R(s.b).m;
      break;
    case Code::not_m:
      R(s.to).m = ~R(s.a).m;
      break;
    case Code::xor_m:
      R(s.to).m = R(s.a).m ^ R(s.b).m;
      break;
    case Code::equal_m:
      R(s.to).m = ~(R(s.a).m ^ R(s.b).m);
      break;
    case Code::select_wide: {
      const std::uint32_t m = R(s.a).m;
      const Register &a = R(s.b), &b = R(s.c);
      Register &t = R(s.to);
      EACH_LANE t.i[l] = m >> l & 1 ? a.i[l] : b.i[l];
      break;
    }
    case Code::select_float: {
      const std::uint32_t m = R(s.a).m;
      const Register &a = R(s.b), &b = R(s.c);
      Register &t = R(s.to);
      EACH_LANE t.f[l] = m >> l & 1 ? a.f[l] : b.f[l];
      break;
    }
    case Code::select_mask: {
      const std::uint32_t m = R(s.a).m;
      R(s.to).m = (R(s.b).m & m) | (R(s.c).m & ~m);
      break;
    }
      UNARY(int_to_float, f, float(a.i[l]))
      UNARY(int_to_double, d, double(a.i[l]))
      UNARY(float_to_double, d, double(a.f[l]))
      UNARY(double_to_float, f, float(a.d[l]))
      UNARY(float_to_int, i, to_integer(double(a.f[l])))
      UNARY(double_to_int, i, to_integer(s.which ? std::nearbyint(a.d[l]) : a.d[l]))
    case Code::whole_index:
    case Code::whole_start: {
      const Register &a = R(s.a);
      Register &t = R(s.to);
      EACH_LANE t.i[l] = to_integer(a.d[l]);
      each(mask, [&](int l) {
        if (double(t.i[l]) == a.d[l])
          return;
        Diagnosis d = diagnose(s.code == Code::whole_index ? Problem::fraction : Problem::start_fraction, s, warp, l);
        d.array = program_.sites[std::size_t(s.site)].array;
        d.dimension = s.which + 1;
        d.value = a.d[l];
        problems.add(d);
      });
      break;
    }
    case Code::limit: { // the last whole number before or at the limit; NaN: no round at all
      const Register &a = R(s.a), &by = R(s.b);
      Register &t = R(s.to);
      EACH_LANE {
        const bool up = by.i[l] > 0;
        const double v = a.d[l];
        t.i[l] = v != v ? (up ? INT64_MIN : INT64_MAX) : to_integer(up ? std::floor(v) : std::ceil(v));
      }
      break;
    }
    case Code::step_zero: {
      const Register &a = R(s.a);
      std::uint32_t zero = 0;
      EACH_LANE zero |= std::uint32_t(s.which ? a.i[l] == 0 : a.d[l] == 0) << l;
      zero &= mask;
      if (zero != 0) {
        complain(Problem::step_zero, s, zero);
        grid_.stop = true;
        return leave(Why::done, pc);
      }
      break;
    }
    case Code::math_f: {
      const Register &a = R(s.a), &b = R(s.b);
      Register &t = R(s.to);
      const Math math = Math(s.which);
      if (math == Math::power_of && s.target == 0) {
        const double exponent = R(s.c).d[0];
        EACH_LANE t.f[l] = power_of(a.f[l], exponent);
      } else {
        each(mask, [&](int l) { t.f[l] = mathematics(math, a.f[l], b.f[l]); });
      }
      break;
    }
    case Code::math_d: {
      const Register &a = R(s.a), &b = R(s.b);
      Register &t = R(s.to);
      const Math math = Math(s.which);
      if (math == Math::power_of && s.target == 0) {
        const double exponent = R(s.c).d[0];
        EACH_LANE t.d[l] = power_of(a.d[l], exponent);
      } else {
        each(mask, [&](int l) { t.d[l] = mathematics(math, a.d[l], b.d[l]); });
      }
      break;
    }
    case Code::math_i: {
      const Register &a = R(s.a), &b = R(s.b);
      Register &t = R(s.to);
      EACH_LANE t.i[l] = bits(Math(s.which), a.i[l], b.i[l]);
      break;
    }
    case Code::load:
      if (mask != 0)
        load(s, warp, mask);
      break;
    case Code::store:
      if (mask != 0)
        store(s, warp, mask);
      break;
    case Code::atomic:
      if (mask != 0)
        atomic(s, warp, mask);
      break;
    case Code::load_own:
      if (mask != 0)
        load_own(s, warp, mask);
      break;
    case Code::store_own:
      if (mask != 0)
        store_own(s, warp, mask);
      break;
    case Code::fill_own:
      fill_own(s, warp, mask);
      break;
    case Code::if_: {
      const std::uint32_t yes = mask & R(s.a).m, no = mask & ~yes;
      push(no);
      counts.branches += mask != 0;
      if (yes != 0 && no != 0) {
        ++counts.divergent;
        ++sites[std::size_t(s.site)].divergent;
      }
      sites[std::size_t(s.site)].requests += mask != 0;
      narrow(yes);
      if (yes == 0)
        pc = s.target - 1;
      break;
    }
    case Code::else_:
      narrow(control[warp.depth - 1].other);
      if (mask == 0)
        pc = s.target - 1;
      break;
    case Code::end_if:
    case Code::widen:
      narrow(control[--warp.depth].saved & ~off);
      break;
    case Code::narrow:
    case Code::narrow_not: {
      const std::uint32_t m = R(s.a).m;
      push(0);
      narrow(mask & (s.code == Code::narrow ? m : ~m));
      if (mask == 0)
        pc = s.target - 1;
      break;
    }
    case Code::loop_begin:
      push(mask);
      warp.loop = warp.depth - 1;
      break;
    case Code::for_test_i:
    case Code::for_test_d:
    case Code::while_test: {
      std::uint32_t in = 0;
      if (s.code == Code::while_test) {
        in = R(s.a).m;
      } else {
        const Register &i = R(s.a), &last = R(s.b), &by = R(s.c);
        if (s.code == Code::for_test_i)
          EACH_LANE in |= std::uint32_t(by.i[l] > 0 ? i.i[l] <= last.i[l] : i.i[l] >= last.i[l]) << l;
        else
          EACH_LANE in |= std::uint32_t(by.d[l] > 0 ? i.d[l] <= last.d[l] : i.d[l] >= last.d[l]) << l;
      }
      in &= mask;
      counts.branches += mask != 0;
      sites[std::size_t(s.site)].requests += mask != 0;
      if (in != 0 && in != mask) {
        ++counts.divergent;
        ++sites[std::size_t(s.site)].divergent;
      }
      control[warp.depth - 1].other = in;
      narrow(in);
      if (in == 0)
        pc = s.target - 1;
      break;
    }
    case Code::until_test: {
      const std::uint32_t again = mask & ~R(s.a).m;
      counts.branches += mask != 0;
      sites[std::size_t(s.site)].requests += mask != 0;
      if (again != 0 && again != mask) {
        ++counts.divergent;
        ++sites[std::size_t(s.site)].divergent;
      }
      control[warp.depth - 1].other = again;
      narrow(again);
      if (again == 0)
        break;
      pc = s.target - 1;
      if (++warp.jumps > most_jumps) {
        complain(Problem::endless, s, mask);
        grid_.stop = true;
        return leave(Why::done, pc);
      }
      if (++turn >= turn_jumps && warps_.size() > 1)
        return leave(Why::turn, pc + 1);
      break;
    }
    case Code::loop_next: {
      Control &c = control[warp.depth - 1];
      off &= ~c.skipped;
      c.skipped = 0;
      narrow(c.other & ~off);
      if (s.which != 0) {
        Register &i = R(s.to);
        const Register &by = R(s.a);
        if (s.which == 1)
          EACH_LANE i.i[l] = mask >> l & 1 ? std::int64_t(std::uint64_t(i.i[l]) + std::uint64_t(by.i[l])) : i.i[l];
        else
          EACH_LANE i.d[l] = mask >> l & 1 ? i.d[l] + by.d[l] : i.d[l];
      }
      pc = s.target - 1;
      if (s.target <= pc + 1 && ++warp.jumps > most_jumps) {
        complain(Problem::endless, s, mask != 0 ? mask : warp.exists);
        grid_.stop = true;
        return leave(Why::done, pc);
      }
      if (++turn >= turn_jumps && warps_.size() > 1)
        return leave(Why::turn, pc + 1);
      break;
    }
    case Code::loop_end: {
      Control &c = control[--warp.depth];
      off &= ~c.left;
      warp.loop = c.loop;
      narrow(c.saved & ~off);
      break;
    }
    case Code::break_:
      control[warp.loop].left |= mask;
      off |= mask;
      narrow(0);
      break;
    case Code::continue_:
      control[warp.loop].skipped |= mask;
      off |= mask;
      narrow(0);
      break;
    case Code::call_begin:
      push(0);
      warp.call = warp.depth - 1;
      break;
    case Code::return_:
      control[warp.call].left |= mask;
      off |= mask;
      narrow(0);
      break;
    case Code::call_end: {
      Control &c = control[--warp.depth];
      off &= ~c.left;
      warp.call = c.call;
      warp.loop = c.loop;
      narrow(c.saved & ~off);
      break;
    }
    case Code::exit:
      if (mask != 0)
        warp.exit_site = s.site;
      warp.exited |= mask;
      off |= mask;
      narrow(0);
      if (warp.exited == warp.exists)
        return leave(Why::done, pc);
      break;
    case Code::sync:
      if (mask == 0)
        break;
      together(s, Problem::sync_divergent);
      warp.sync_site = s.site;
      return leave(Why::sync, pc + 1);
    case Code::sync_warp:
      if (mask != 0) {
        together(s, Problem::warp_divergent);
        ++warp.epoch;
      }
      break;
    case Code::fence:
      if (mask != 0)
        grid_.fenced[std::size_t(block_)].store(1, std::memory_order_relaxed);
      break;
    case Code::shuffle:
    case Code::shuffle_up:
    case Code::shuffle_down:
    case Code::shuffle_xor: {
      if (mask == 0)
        break;
      together(s, Problem::warp_divergent);
      const Register from = R(s.a);
      const Register &b = R(s.b);
      Register &t = R(s.to);
      const std::int64_t width = s.target;
      const Type type = Type(s.which);
      each(mask, [&](int l) {
        const std::int64_t group = l / width * width, in = l - group;
        std::int64_t source = s.code == Code::shuffle        ? b.i[l] - 1
                              : s.code == Code::shuffle_up   ? in - b.i[l]
                              : s.code == Code::shuffle_down ? in + b.i[l]
                                                             : in ^ b.i[l];
        if (s.code == Code::shuffle && source >= 0 && source < lanes)
          source %= width;
        if (source < 0 || source >= width) {
          if (s.code == Code::shuffle || s.code == Code::shuffle_xor) {
            Diagnosis d = diagnose(Problem::lane_missing, s, warp, l);
            d.index[0] = group + source + 1;
            problems.add(d);
          }
          source = in;
        }
        const int lane = int(group + source);
        if (!(mask >> lane & 1)) {
          Diagnosis d = diagnose(Problem::lane_missing, s, warp, l);
          d.index[0] = lane + 1;
          d.length = std::popcount(warp.exists);
          problems.add(d);
        }
        if (type == Type::boolean)
          t.m = (t.m & ~(1u << l)) | (from.m >> lane & 1) << l;
        else if (type == Type::float32)
          t.f[l] = from.f[lane];
        else
          t.i[l] = from.i[lane];
      });
      break;
    }
    case Code::ballot:
    case Code::any:
    case Code::all: {
      if (mask == 0)
        break;
      together(s, Problem::warp_divergent);
      const std::uint32_t votes = R(s.a).m & mask;
      Register &t = R(s.to);
      if (s.code == Code::ballot)
        EACH_LANE t.i[l] = std::int64_t(votes);
      else
        t.m = (s.code == Code::any ? votes != 0 : votes == mask) ? ~0u : 0u;
      break;
    }
      UNARY(popcount, i, std::int64_t(std::popcount(std::uint32_t(a.i[l]))))
    }
  }
}

} // namespace perigee::sim
