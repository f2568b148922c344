// Accesses of a warp to memory in the checked simulator: bounds, races, what was never written, sectors and banks.
#include "core/status.hpp"
#include "gpu/sim_warp.hpp"

#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <type_traits>

namespace perigee::sim {

namespace {

template <class F> void with_type(std::int32_t dtype, F &&f) {
  switch (dtype) {
  case PG_BOOL:
    return f(std::type_identity<bool>{});
  case PG_UINT8:
    return f(std::type_identity<std::uint8_t>{});
  case PG_INT8:
    return f(std::type_identity<std::int8_t>{});
  case PG_INT16:
    return f(std::type_identity<std::int16_t>{});
  case PG_UINT16:
    return f(std::type_identity<std::uint16_t>{});
  case PG_INT32:
    return f(std::type_identity<std::int32_t>{});
  case PG_UINT32:
    return f(std::type_identity<std::uint32_t>{});
  case PG_INT64:
    return f(std::type_identity<std::int64_t>{});
  case PG_UINT64:
    return f(std::type_identity<std::uint64_t>{});
  case PG_FLOAT32:
    return f(std::type_identity<float>{});
  case PG_FLOAT64:
    return f(std::type_identity<double>{});
  case PG_COMPLEX64:
    return f(std::type_identity<std::complex<float>>{});
  default:
    return f(std::type_identity<std::complex<double>>{});
  }
}

template <class T>
constexpr bool is_complex = std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

template <class F> void each(std::uint32_t mask, F &&f) {
  for (; mask != 0; mask &= mask - 1)
    f(std::countr_zero(mask));
}

// A vector of the sectors that a launch touches.
void touch(Zeroed<std::uint64_t> &bits, std::int64_t sector) {
  std::uint64_t &word = bits[std::size_t(sector >> 6)];
  const std::uint64_t bit = std::uint64_t(1) << (sector & 63);
  if (!(std::atomic_ref(word).load(std::memory_order_relaxed) & bit))
    std::atomic_ref(word).fetch_or(bit, std::memory_order_relaxed);
}

} // namespace

// Where the elements lie, in elements from the first; lanes whose indices are outside are diagnosed and left out.
std::uint32_t Worker::elements(const Step &step, const Warp &warp, std::uint32_t mask, std::int64_t *offsets) {
  const ArraySlot &slot = program_.arrays[std::size_t(step.array)];
  const Place &place = places_[std::size_t(step.array)];
  const Operand *indices = &program_.operands[std::size_t(step.target)];
  std::uint32_t bad = 0;
  for (int l = 0; l < lanes; ++l)
    offsets[l] = 0;
  for (int d = 0; d < slot.ndim; ++d) {
    const Register &index = at(warp, indices[d]);
    const std::uint64_t length = std::uint64_t(place.shape[d]), stride = std::uint64_t(place.strides[d]);
    std::uint32_t outside = 0;
    for (int l = 0; l < lanes; ++l) {
      const std::uint64_t from_zero = std::uint64_t(index.i[l]) - 1;
      outside |= std::uint32_t(from_zero >= length) << l;
      offsets[l] = std::int64_t(std::uint64_t(offsets[l]) + from_zero * stride);
    }
    outside &= mask & ~bad;
    bad |= outside;
    each(outside, [&](int l) {
      Diagnosis found = diagnose(Problem::outside, step, warp, l);
      found.array = step.array;
      found.dimension = d + 1;
      found.index[0] = index.i[l];
      found.length = place.shape[d];
      if (slot.where == ArraySlot::Where::global && index.i[l] > place.shape[d])
        for (int g = 0; g < 3; ++g) {
          const std::int64_t extent = grid_.launch.grid[g] * grid_.launch.block[g];
          if (extent <= 1 || warp.registers[grid_x + g].i[l] != index.i[l])
            continue;
          // x goes along the last axis where indices are not swapped.
          const int natural = slot.ndim - 1 - g;
          const bool swapped = natural >= 0 && natural != d && place.shape[natural] > extent - grid_.launch.block[g];
          found.problem = swapped ? Problem::outside : Problem::guard;
          found.index[1] = swapped ? natural + 1 : 0;
          break;
        }
      problems.add(found);
    });
  }
  return mask & ~bad;
}

// What the access costs.
void Worker::traffic(const Step &step, std::uint32_t mask, const std::int64_t *offsets, bool write) {
  const Place &place = places_[std::size_t(step.array)];
  SiteCounts &site = sites[std::size_t(step.site)];
  const int active = std::popcount(mask);
  site.requests += 1;
  site.threads += std::uint64_t(active);
  if (!place.region) {
    std::int64_t bytes[lanes];
    for (int l = 0; l < lanes; ++l)
      bytes[l] = place.device + offsets[l] * place.bytes;
    const Rounds rounds = bank_rounds(bytes, mask, place.bytes);
    site.sectors += std::uint64_t(rounds.taken);
    site.ideal += std::uint64_t(rounds.ideal);
    counts.shared_requests += 1;
    counts.shared_wavefronts += std::uint64_t(rounds.taken);
    counts.shared_ideal += std::uint64_t(rounds.ideal);
    return;
  }
  Distinct sectors, elements;
  each(mask, [&](int l) {
    const std::int64_t address = place.device + offsets[l] * place.bytes;
    elements.add(offsets[l]);
    sectors.add(address >> 5);
    if (((address + place.bytes - 1) >> 5) != (address >> 5))
      sectors.add((address + place.bytes - 1) >> 5);
  });
  const std::uint64_t taken = std::uint64_t(sectors.count);
  const std::uint64_t ideal = std::uint64_t((std::int64_t(elements.count) * place.bytes + 31) / 32);
  site.sectors += taken;
  site.ideal += ideal;
  Region &region = *place.region;
  const std::int64_t first = region.device >> 5;
  for (int i = 0; i < sectors.count; ++i) {
    const std::int64_t sector = sectors.values[i];
    touch(write ? region.written : region.read, sector - first);
    std::uint32_t &tag = level1_[std::size_t(sector) % level1_.size()];
    if (write || tag != std::uint32_t(sector)) // stores go through to the second level
      ++counts.level2_sectors;
    tag = std::uint32_t(sector);
  }
  const std::uint64_t bytes = std::uint64_t(active) * std::uint64_t(place.bytes);
  if (write) {
    counts.store_requests += 1;
    counts.store_sectors += taken;
    counts.store_ideal += ideal;
    counts.store_bytes += bytes;
  } else {
    counts.load_requests += 1;
    counts.load_sectors += taken;
    counts.load_ideal += ideal;
    counts.load_bytes += bytes;
  }
}

// -------------------------------------------------------------------------------------------------------- races ------
// Published by gpu.threadfence() and an atomic, taken over after an atomic: the pattern of last-block reductions and of
// locks. (That the atomics were on the same element is not looked at.)
bool Worker::published(std::uint32_t other) const {
  return program_.fences && atomics_ &&
         grid_.fenced[std::size_t((other - 1) / std::uint32_t(grid_.block_size))].load(std::memory_order_relaxed) != 0;
}

// Whether something orders what thread `other` did (from 1 in the launch, at its `when`) before what `me` does now.
bool Worker::ordered(std::uint32_t other, std::uint32_t when, const Warp &warp, std::uint32_t me) const {
  if (in_block(other)) {
    const std::uint32_t current = now(warp);
    if (one_warp(other, me) ? when != current : when >> 10 != current >> 10)
      return true;
  }
  return published(other);
}

// The same of the one beside the last, where the last is `me` or ordered before it (else there is a race anyway).
bool Worker::ordered_beside(const Access &access, const Warp &warp, std::uint32_t me) const {
  const std::uint32_t other = access.beside;
  if (!in_block(other))
    return published(other);
  if (!in_block(access.thread)) // which was published: when the other was is not known
    return true;
  return ordered(other, access.when, warp, me);
}

// Notes an access of `me`, and keeps beside it who says most about races to come.
void Worker::note(Access &access, const Step &step, const Warp &warp, std::uint32_t me) const {
  const std::uint32_t current = now(warp);
  if (access.thread == me) {
    if (access.when != current && access.beside != 0 && in_block(access.beside) &&
        (access.when >> 10 != current >> 10 || one_warp(access.beside, me)))
      access.beside = 0; // a barrier lies between
  } else if (access.thread != 0) {
    const bool here = in_block(access.thread), beside = access.beside != 0 && access.beside != me;
    auto rank = [&](std::uint32_t other) {
      if (!in_block(other))
        return 3;
      if (!here || ordered(other, access.when, warp, me))
        return 0;
      return one_warp(other, me) ? 1 : 2;
    };
    const int last = rank(access.thread);
    // (Of another warp than the last, its own barriers of the warp are not known: it says nothing of lanes.)
    int other = beside ? rank(access.beside) : 0;
    if (other == 1 && !one_warp(access.thread, me))
      other = 0;
    if (last >= other) {
      access.beside = last > 0 ? access.thread : 0;
      access.beside_site = access.site;
    }
  }
  access.thread = me;
  access.when = current;
  access.site = std::uint16_t(std::min(step.site, most_sites));
}

void Worker::name_element(Diagnosis &d, const Step &step, const Warp &warp, int lane) {
  const Operand *indices = &program_.operands[std::size_t(step.target)];
  for (int k = 0; k < program_.arrays[std::size_t(step.array)].ndim; ++k)
    d.index[std::size_t(k)] = at(warp, indices[k]).i[lane];
}

void Worker::race(const Step &step, const Warp &warp, int lane, bool global, Conflict conflict, std::uint32_t other,
                  std::uint16_t site) {
  Diagnosis found = diagnose(global ? Problem::race_global : Problem::race_shared, step, warp, lane);
  found.conflict = conflict;
  found.other_site = site;
  found.other_thread = std::int64_t(other) - 1;
  found.array = step.array;
  name_element(found, step, warp, lane);
  // Which came first here is chance: the later line is named first.
  if (program_.sites[std::size_t(found.other_site)].at.line > program_.sites[std::size_t(found.site)].at.line) {
    std::swap(found.site, found.other_site);
    std::swap(found.thread, found.other_thread);
    found.conflict = conflict == Conflict::write_read   ? Conflict::read_write
                     : conflict == Conflict::read_write ? Conflict::write_read
                                                        : conflict;
  }
  problems.add(found);
}

// Calls race(thread, site) for one whose access nothing orders before what `me` does now.
template <class Race> void Worker::meet(const Access &access, const Warp &warp, std::uint32_t me, Race &&race) const {
  if (access.thread == 0)
    return;
  if (access.thread != me && !ordered(access.thread, access.when, warp, me))
    race(access.thread, access.site);
  else if (access.beside != 0 && access.beside != me && !ordered_beside(access, warp, me))
    race(access.beside, access.beside_site);
}

void Worker::saw_read(Cell &cell, Access *atomics, const Step &step, const Warp &warp, int lane, bool global) {
  const std::uint32_t me = std::uint32_t(thread(warp, lane)) + 1;
  auto found = [&](std::uint32_t other, std::uint16_t site) {
    race(step, warp, lane, global, Conflict::write_read, other, site);
  };
  meet(cell.write, warp, me, found);
  if (atomics)
    meet(*atomics, warp, me, found);
  note(cell.read, step, warp, me);
}

void Worker::saw_write(Cell &cell, Access *atomics, const Step &step, const Warp &warp, int lane, bool global,
                       bool same) {
  const std::uint32_t me = std::uint32_t(thread(warp, lane)) + 1;
  auto found = [&](std::uint32_t other, std::uint16_t site) {
    race(step, warp, lane, global, Conflict::write_write, other, site);
  };
  if (!same)
    meet(cell.write, warp, me, found);
  if (!same && atomics)
    meet(*atomics, warp, me, found);
  meet(cell.read, warp, me, [&](std::uint32_t other, std::uint16_t site) {
    race(step, warp, lane, global, Conflict::read_write, other, site);
  });
  note(cell.write, step, warp, me);
}

void Worker::saw_atomic(Cell &cell, Access &atomics, const Step &step, const Warp &warp, int lane, bool global) {
  const std::uint32_t me = std::uint32_t(thread(warp, lane)) + 1;
  meet(cell.write, warp, me, [&](std::uint32_t other, std::uint16_t site) {
    race(step, warp, lane, global, Conflict::write_read, other, site);
  });
  meet(cell.read, warp, me, [&](std::uint32_t other, std::uint16_t site) {
    race(step, warp, lane, global, Conflict::read_write, other, site);
  });
  note(atomics, step, warp, me);
}

// ------------------------------------------------------------------------------------------------------- values ------
template <class T> static void decode(T element, Register &to, Register *imaginary, int lane) {
  if constexpr (is_complex<T>) {
    to.d[lane] = double(element.real());
    imaginary->d[lane] = double(element.imag());
  } else if constexpr (std::is_same_v<T, bool>) {
    to.m = (to.m & ~(1u << lane)) | std::uint32_t(element) << lane;
  } else if constexpr (std::is_same_v<T, float>) {
    to.f[lane] = element;
  } else if constexpr (std::is_same_v<T, double>) {
    to.d[lane] = element;
  } else {
    to.i[lane] = std::int64_t(element);
  }
}

// A value of the type that the step names, as an element. A float into integers must be whole and fit.
template <class T> T Worker::encode(const Step &step, const Warp &warp, const Register &v, int lane) {
  using kernel::Type;
  const Type type = Type(step.which);
  if constexpr (is_complex<T>) {
    using Part = typename T::value_type;
    return T(Part(v.d[lane]), Part((&v)[1].d[lane]));
  } else if constexpr (std::is_same_v<T, bool>) {
    return v.m >> lane & 1;
  } else if constexpr (std::is_same_v<T, float>) {
    return v.f[lane];
  } else if constexpr (std::is_same_v<T, double>) {
    return v.d[lane];
  } else {
    if (type == Type::int64)
      return T(v.i[lane]);
    const double number = type == Type::float32 ? double(v.f[lane]) : v.d[lane];
    const double low = double(std::numeric_limits<T>::min()), high = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (number >= low && number < high && number == std::floor(number))
      return T(number);
    Diagnosis found = diagnose(Problem::misfit, step, warp, lane);
    found.array = step.array;
    found.value = number;
    problems.add(found);
    return number != number ? T(0)
           : number < low   ? std::numeric_limits<T>::min()
           : number >= high ? std::numeric_limits<T>::max()
                            : T(number);
  }
}

template <class T>
void Worker::load_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets) {
  const Place &place = places_[std::size_t(step.array)];
  Register &to = at(warp, step.to);
  Stripe stripe(place.region && grid_.parallel);
  each(mask, [&](int l) {
    if (place.region) {
      Region &region = *place.region;
      const std::int64_t begin = place.data + offsets[l] * std::int64_t(sizeof(T)) - region.low;
      const std::int64_t first = begin / region.granule, last = (begin + std::int64_t(sizeof(T)) - 1) / region.granule;
      for (std::int64_t c = first; c <= last; ++c) {
        stripe.hold(region, c);
        saw_read(region.cells[std::size_t(c)], region.atomics ? &region.atomics[std::size_t(c)] : nullptr, step, warp,
                 l, true);
      }
    } else {
      Cell &cell = place.cells[offsets[l]];
      Access *atomics = place.atomics ? place.atomics + offsets[l] : nullptr;
      if (cell.write.thread == 0 && !(atomics && atomics->thread != 0)) {
        Diagnosis found = diagnose(Problem::uninitialised, step, warp, l);
        found.array = step.array;
        name_element(found, step, warp, l);
        problems.add(found);
      }
      saw_read(cell, atomics, step, warp, l, false);
    }
    T element;
    std::memcpy(static_cast<void *>(&element), place.data + offsets[l] * std::int64_t(sizeof(T)), sizeof(T));
    decode(element, to, &to + 1, l);
  });
}

template <class T>
void Worker::store_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets) {
  const Place &place = places_[std::size_t(step.array)];
  const Register &from = at(warp, step.a);
  Stripe stripe(place.region && grid_.parallel);
  each(mask, [&](int l) {
    char *here = place.data + offsets[l] * std::int64_t(sizeof(T));
    const T element = encode<T>(step, warp, from, l);
    const bool same = std::memcmp(here, &element, sizeof(T)) == 0;
    if (place.region) {
      Region &region = *place.region;
      const std::int64_t begin = here - region.low;
      const std::int64_t first = begin / region.granule, last = (begin + std::int64_t(sizeof(T)) - 1) / region.granule;
      for (std::int64_t c = first; c <= last; ++c) {
        stripe.hold(region, c);
        saw_write(region.cells[std::size_t(c)], region.atomics ? &region.atomics[std::size_t(c)] : nullptr, step, warp,
                  l, true, same);
      }
    } else {
      saw_write(place.cells[offsets[l]], place.atomics ? place.atomics + offsets[l] : nullptr, step, warp, l, false,
                same);
    }
    std::memcpy(here, &element, sizeof(T));
  });
}

namespace {

template <class T> T combine(kernel::Gpu how, T old, T a, T b) {
  using kernel::Gpu;
  switch (how) {
  case Gpu::atomic_add:
    if constexpr (std::is_integral_v<T>)
      return T(std::make_unsigned_t<T>(old) + std::make_unsigned_t<T>(a));
    else
      return old + a;
  case Gpu::atomic_subtract:
    if constexpr (std::is_integral_v<T>)
      return T(std::make_unsigned_t<T>(old) - std::make_unsigned_t<T>(a));
    else
      return old - a;
  case Gpu::atomic_minimum:
    return a < old ? a : old;
  case Gpu::atomic_maximum:
    return old < a ? a : old;
  case Gpu::atomic_exchange:
    return a;
  case Gpu::atomic_compare_and_swap:
    return old == a ? b : old;
  default:
    if constexpr (std::is_integral_v<T>)
      return how == Gpu::atomic_and ? T(old & a) : how == Gpu::atomic_or ? T(old | a) : T(old ^ a);
    else
      return old;
  }
}

} // namespace

template <class T>
void Worker::atomic_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets) {
  if constexpr (std::is_arithmetic_v<T> && sizeof(T) >= 4) {
    const Place &place = places_[std::size_t(step.array)];
    const Register &a = at(warp, step.a), &b = at(warp, step.b);
    Register &to = at(warp, step.to);
    Stripe stripe(place.region && grid_.parallel);
    auto value = [](const Register &r, int l) -> T {
      if constexpr (std::is_same_v<T, float>)
        return r.f[l];
      else if constexpr (std::is_same_v<T, double>)
        return r.d[l];
      else
        return T(r.i[l]);
    };
    Distinct places;
    int rounds = 0;
    int times[lanes] = {};
    each(mask, [&](int l) {
      T *here = reinterpret_cast<T *>(place.data + offsets[l] * std::int64_t(sizeof(T)));
      places.add(offsets[l]);
      for (int i = 0; i < places.count; ++i)
        if (places.values[i] == offsets[l])
          rounds = std::max(rounds, ++times[i]);
      if (place.region) {
        Region &region = *place.region;
        const std::int64_t begin = reinterpret_cast<const char *>(here) - region.low;
        const std::int64_t first = begin / region.granule,
                           last = (begin + std::int64_t(sizeof(T)) - 1) / region.granule;
        for (std::int64_t c = first; c <= last; ++c) {
          stripe.hold(region, c);
          saw_atomic(region.cells[std::size_t(c)], region.atomics[std::size_t(c)], step, warp, l, true);
        }
      } else {
        Cell &cell = place.cells[offsets[l]];
        Access &atomics = place.atomics[offsets[l]];
        if (cell.write.thread == 0 && atomics.thread == 0) {
          Diagnosis found = diagnose(Problem::uninitialised, step, warp, l);
          found.array = step.array;
          name_element(found, step, warp, l);
          problems.add(found);
        }
        saw_atomic(cell, atomics, step, warp, l, false);
      }
      const T x = value(a, l), y = value(b, l);
      const std::atomic_ref<T> element(*here);
      T old = element.load(std::memory_order_seq_cst);
      while (!element.compare_exchange_weak(old, combine(kernel::Gpu(step.which), old, x, y)))
        continue;
      decode(old, to, &to + 1, l);
    });
    counts.atomics += std::uint64_t(std::popcount(mask));
    counts.atomic_serial += std::uint64_t(rounds > 0 ? rounds - 1 : 0);
    sites[std::size_t(step.site)].divergent += std::uint64_t(rounds > 0 ? rounds - 1 : 0);
  }
}

void Worker::load(const Step &step, const Warp &warp, std::uint32_t mask) {
  std::int64_t offsets[lanes];
  const std::uint32_t inside = elements(step, warp, mask, offsets);
  Register &to = at(warp, step.to);
  const ArraySlot &slot = program_.arrays[std::size_t(step.array)];
  if (inside != mask) // what is outside reads as zero
    each(mask & ~inside, [&](int l) {
      if (slot.dtype == PG_BOOL) {
        to.m &= ~(1u << l);
        return;
      }
      if (slot.dtype == PG_FLOAT32)
        to.f[l] = 0;
      else
        to.i[l] = 0;
      if (slot.dtype == PG_COMPLEX64 || slot.dtype == PG_COMPLEX128)
        (&to)[1].i[l] = 0;
    });
  if (inside == 0)
    return;
  traffic(step, inside, offsets, false);
  with_type(slot.dtype, [&]<class T>(std::type_identity<T>) { load_as<T>(step, warp, inside, offsets); });
}

void Worker::store(const Step &step, const Warp &warp, std::uint32_t mask) {
  std::int64_t offsets[lanes];
  const std::uint32_t inside = elements(step, warp, mask, offsets);
  if (inside == 0)
    return;
  traffic(step, inside, offsets, true);
  with_type(program_.arrays[std::size_t(step.array)].dtype,
            [&]<class T>(std::type_identity<T>) { store_as<T>(step, warp, inside, offsets); });
}

void Worker::atomic(const Step &step, const Warp &warp, std::uint32_t mask) {
  std::int64_t offsets[lanes];
  const std::uint32_t inside = elements(step, warp, mask, offsets);
  atomics_ = true;
  if (inside == 0)
    return;
  traffic(step, inside, offsets, true);
  with_type(program_.arrays[std::size_t(step.array)].dtype,
            [&]<class T>(std::type_identity<T>) { atomic_as<T>(step, warp, inside, offsets); });
}

// ----------------------------------------------------------------------------------- arrays of a thread's own ------
// They stand in registers, element after element; integers narrower than 64 bits wrap.
namespace {

std::int64_t wrapped(std::int64_t v, std::int32_t dtype) {
  return dtype == PG_INT32 ? std::int64_t(std::int32_t(v)) : dtype == PG_UINT8 ? std::int64_t(std::uint8_t(v)) : v;
}

} // namespace

void Worker::load_own(const Step &step, const Warp &warp, std::uint32_t mask) {
  std::int64_t offsets[lanes];
  const std::uint32_t inside = elements(step, warp, mask, offsets);
  const ArraySlot &slot = program_.arrays[std::size_t(step.array)];
  const bool pair = slot.dtype == PG_COMPLEX128;
  Register *first = warp.registers + slot.offset;
  Register &to = at(warp, step.to);
  each(inside, [&](int l) {
    const Register &from = first[offsets[l] * (pair ? 2 : 1)];
    if (slot.dtype == PG_BOOL)
      to.m = (to.m & ~(1u << l)) | (from.m & 1u << l);
    else if (slot.dtype == PG_FLOAT32)
      to.f[l] = from.f[l];
    else
      to.i[l] = from.i[l];
    if (pair)
      (&to)[1].i[l] = (&from)[1].i[l];
  });
}

void Worker::store_own(const Step &step, const Warp &warp, std::uint32_t mask) {
  std::int64_t offsets[lanes];
  const std::uint32_t inside = elements(step, warp, mask, offsets);
  const ArraySlot &slot = program_.arrays[std::size_t(step.array)];
  const bool pair = slot.dtype == PG_COMPLEX128;
  Register *first = warp.registers + slot.offset;
  const Register &from = at(warp, step.a);
  each(inside, [&](int l) {
    Register &to = first[offsets[l] * (pair ? 2 : 1)];
    if (slot.dtype == PG_BOOL)
      to.m = (to.m & ~(1u << l)) | (from.m & 1u << l);
    else if (slot.dtype == PG_FLOAT32)
      to.f[l] = from.f[l];
    else if (slot.dtype == PG_FLOAT64 || pair)
      to.d[l] = from.d[l];
    else if (slot.dtype == PG_INT32)
      to.i[l] = encode<std::int32_t>(step, warp, from, l);
    else if (slot.dtype == PG_UINT8)
      to.i[l] = encode<std::uint8_t>(step, warp, from, l);
    else
      to.i[l] = encode<std::int64_t>(step, warp, from, l);
    if (pair)
      (&to)[1].i[l] = (&from)[1].i[l];
  });
}

void Worker::fill_own(const Step &step, const Warp &warp, std::uint32_t mask) {
  const ArraySlot &slot = program_.arrays[std::size_t(step.array)];
  const bool pair = slot.dtype == PG_COMPLEX128;
  std::int64_t size = 1;
  for (const std::int64_t n : slot.lengths)
    size *= n;
  const Register &from = at(warp, step.a);
  for (std::int64_t k = 0; k < size; ++k) {
    Register &to = warp.registers[slot.offset + k * (pair ? 2 : 1)];
    each(mask, [&](int l) {
      if (slot.dtype == PG_BOOL)
        to.m = (to.m & ~(1u << l)) | (from.m & 1u << l);
      else if (slot.dtype == PG_FLOAT32)
        to.f[l] = from.f[l];
      else
        to.i[l] = slot.dtype == PG_FLOAT64 || pair ? from.i[l] : wrapped(from.i[l], slot.dtype);
      if (pair)
        (&to)[1].i[l] = (&from)[1].i[l];
    });
  }
}

} // namespace perigee::sim
