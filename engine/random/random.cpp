#include "random/random.hpp"

#include "core/status.hpp"

#include <Random123/boxmuller.hpp>
#include <Random123/philox.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#pragma GCC visibility push(default)
extern "C" {
#include "random/random_abi.h"
}
#pragma GCC visibility pop

namespace perigee::random {

Block philox(const Block &counter, const std::array<uint32_t, 2> &key) {
  const r123::Philox4x32::ctr_type c = {{counter[0], counter[1], counter[2], counter[3]}};
  const r123::Philox4x32::key_type k = {{key[0], key[1]}};
  const r123::Philox4x32::ctr_type out = r123::Philox4x32()(c, k);
  return {out[0], out[1], out[2], out[3]};
}

namespace {

constexpr int64_t ahead = sizeof(pg_random::_uniform) / sizeof(double);

// The top two bits of the counter's lower half say what a block is for, so that no two purposes share bits. (Were a
// normal to use both halves of a block of which a uniform had taken one, the two would depend on each other.)
enum class Purpose : uint32_t { uniform = 0, normal = 1u << 30, retry = 2u << 30, stream = 3u << 30 };

Block block(const pg_random &g, Purpose purpose, uint64_t index) {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32) | static_cast<uint32_t>(purpose),
                 g._nonce[0], g._nonce[1]},
                {g._key[0], g._key[1]});
}

uint64_t half(const Block &b, uint64_t which) {
  return which & 1 ? b[2] | static_cast<uint64_t>(b[3]) << 32 : b[0] | static_cast<uint64_t>(b[1]) << 32;
}

uint64_t slot(const pg_random &g) {
  return g._base + static_cast<uint64_t>(g._next);
}

void seek(pg_random &g, uint64_t position) {
  const uint64_t offset = position - g._base;
  if (offset < static_cast<uint64_t>(ahead)) {
    g._next = static_cast<int32_t>(offset);
  } else { // wraps below slot 64, which modulo arithmetic undoes in slot()
    g._base = position - static_cast<uint64_t>(ahead);
    g._next = static_cast<int32_t>(ahead);
  }
}

double unit(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// Calls use(i, 64 bits of slot first + i) for i in [0, count).
template <class Use> void each_slot(const pg_random &g, uint64_t first, int64_t count, Use use) {
  int64_t i = 0;
  if (count > 0 && first & 1)
    use(i++, half(block(g, Purpose::uniform, first >> 1), 1));
  for (; i + 1 < count; i += 2) {
    const Block b = block(g, Purpose::uniform, (first + static_cast<uint64_t>(i)) >> 1);
    use(i, half(b, 0));
    use(i + 1, half(b, 1));
  }
  if (i < count)
    use(i, half(block(g, Purpose::uniform, (first + static_cast<uint64_t>(i)) >> 1), 0));
}

// lo + (hi - lo) * u can round up to hi, which [lo, hi) excludes.
double scale(double u, double low, double high) {
  const double value = low + (high - low) * u;
  return value < high ? value : std::nextafter(high, low);
}

// An unbiased integer in [0, span), span 0 meaning 2^64: Lemire, "Fast random integer generation in an interval",
// TOMACS 2019. Rejected bits are replaced from a chain of blocks that belongs to the slot, so the draw still takes one
// slot.
uint64_t bounded(const pg_random &g, uint64_t position, uint64_t bits, uint64_t span) {
  __extension__ typedef unsigned __int128 uint128;
  uint128 product = static_cast<uint128>(bits) * span;
  if (static_cast<uint64_t>(product) < span) {
    const uint64_t threshold = -span % span;
    if (static_cast<uint64_t>(product) < threshold) {
      Block b = block(g, Purpose::retry, position);
      for (;;) {
        product = static_cast<uint128>(half(b, 0)) * span;
        if (static_cast<uint64_t>(product) >= threshold)
          break;
        b = philox(b, {g._key[0], g._key[1]});
      }
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

double normal(const pg_random &g, uint64_t position, double mean, double deviation) {
  const Block b = block(g, Purpose::normal, position >> 1);
  const r123::double2 pair = r123::boxmuller(half(b, 0), half(b, 1));
  return mean + deviation * (position & 1 ? pair.y : pair.x);
}

uint64_t take(pg_random &g) {
  const uint64_t position = slot(g);
  seek(g, position + 1);
  return position;
}

uint64_t bits_at(const pg_random &g, uint64_t position) {
  return half(block(g, Purpose::uniform, position >> 1), position);
}

template <class Fill> int32_t fill(pg_random &g, pg_array &out, Fill values) {
  return guard([&] {
    const uint64_t first = slot(g);
    values(first);
    seek(g, first + static_cast<uint64_t>(out._size));
  });
}

void require_float64(const pg_array &out) {
  if (out._dtype != PG_FLOAT64)
    throw InternalError("random numbers are filled into float64 arrays only");
}

template <class T> void fill_integers(const pg_random &g, uint64_t first, pg_array &out, int64_t low, uint64_t span) {
  T *values = static_cast<T *>(out._data);
  each_slot(g, first, out._size, [&](int64_t i, uint64_t bits) {
    const uint64_t offset = bounded(g, first + static_cast<uint64_t>(i), bits, span);
    values[i] = static_cast<T>(static_cast<int64_t>(static_cast<uint64_t>(low) + offset));
  });
}

template <class T> void shuffle(pg_random &g, pg_array &array) {
  T *values = static_cast<T *>(array._data);
  const int64_t stride = array._strides[0];
  for (int64_t last = array._size - 1; last > 0; --last) {
    const uint64_t position = take(g);
    const uint64_t other = bounded(g, position, bits_at(g, position), static_cast<uint64_t>(last) + 1);
    std::swap(values[last * stride], values[static_cast<int64_t>(other) * stride]);
  }
}

} // namespace
} // namespace perigee::random

using namespace perigee;
using namespace perigee::random;

void pg_random_init(pg_random *generator, uint32_t k0, uint32_t k1, uint32_t k2, uint32_t k3) {
  std::memset(generator, 0, sizeof *generator);
  generator->_key[0] = k0;
  generator->_key[1] = k1;
  generator->_nonce[0] = k2;
  generator->_nonce[1] = k3;
  generator->_base = -static_cast<uint64_t>(ahead);
  generator->_next = static_cast<int32_t>(ahead);
}

void pg_random_stream(const pg_random *generator, uint64_t number, pg_random *stream) {
  const Block b = block(*generator, Purpose::stream, number);
  pg_random_init(stream, b[0], b[1], b[2], b[3]);
}

void pg_random_refill(pg_random *generator) {
  pg_random &g = *generator;
  g._base = slot(g);
  g._next = 0;
  each_slot(g, g._base, ahead, [&](int64_t i, uint64_t bits) { g._uniform[i] = unit(bits); });
}

double pg_random_uniform(pg_random *generator, double low, double high) {
  if (generator->_next == ahead)
    pg_random_refill(generator);
  return scale(generator->_uniform[generator->_next++], low, high);
}

double pg_random_integer(pg_random *generator, double low, double high) {
  const uint64_t position = take(*generator);
  const int64_t first = static_cast<int64_t>(low);
  const uint64_t span = static_cast<uint64_t>(static_cast<int64_t>(high)) - static_cast<uint64_t>(first) + 1;
  return static_cast<double>(first +
                             static_cast<int64_t>(bounded(*generator, position, bits_at(*generator, position), span)));
}

double pg_random_normal(pg_random *generator, double mean, double deviation) {
  return normal(*generator, take(*generator), mean, deviation);
}

int32_t pg_random_fill_uniform(pg_random *generator, pg_array *out, double low, double high) {
  return fill(*generator, *out, [&](uint64_t first) {
    require_float64(*out);
    double *values = static_cast<double *>(out->_data);
    each_slot(*generator, first, out->_size,
              [&](int64_t i, uint64_t bits) { values[i] = scale(unit(bits), low, high); });
  });
}

int32_t pg_random_fill_integer(pg_random *generator, pg_array *out, double low, double high) {
  return fill(*generator, *out, [&](uint64_t position) {
    const int64_t first = static_cast<int64_t>(low);
    const uint64_t span = static_cast<uint64_t>(static_cast<int64_t>(high)) - static_cast<uint64_t>(first) + 1;
    switch (out->_dtype) {
    case PG_UINT8:
      return fill_integers<uint8_t>(*generator, position, *out, first, span);
    case PG_INT32:
      return fill_integers<int32_t>(*generator, position, *out, first, span);
    case PG_INT64:
      return fill_integers<int64_t>(*generator, position, *out, first, span);
    case PG_FLOAT32:
      return fill_integers<float>(*generator, position, *out, first, span);
    case PG_FLOAT64:
      return fill_integers<double>(*generator, position, *out, first, span);
    default:
      throw InternalError("random integers cannot be filled into dtype " + std::to_string(out->_dtype));
    }
  });
}

int32_t pg_random_fill_normal(pg_random *generator, pg_array *out, double mean, double deviation) {
  return fill(*generator, *out, [&](uint64_t first) {
    require_float64(*out);
    double *values = static_cast<double *>(out->_data);
    const int64_t count = out->_size;
    int64_t i = 0;
    if (count > 0 && first & 1)
      values[i++] = normal(*generator, first, mean, deviation);
    for (; i + 1 < count; i += 2) { // both numbers of a pair at the cost of one
      const Block b = block(*generator, Purpose::normal, (first + static_cast<uint64_t>(i)) >> 1);
      const r123::double2 pair = r123::boxmuller(half(b, 0), half(b, 1));
      values[i] = mean + deviation * pair.x;
      values[i + 1] = mean + deviation * pair.y;
    }
    if (i < count)
      values[i] = normal(*generator, first + static_cast<uint64_t>(i), mean, deviation);
  });
}

int32_t pg_random_shuffle(pg_random *generator, pg_array *array) {
  return guard([&] {
    if (array->_ndim != 1)
      throw ArgumentError("shuffle takes a list or an array of 1 dimension, got " + std::to_string(array->_ndim) +
                          " dimensions");
    if (array->_flags & PG_ARRAY_READONLY)
      throw ArgumentError("shuffle works in place, and this array is read-only");
    switch (array->_dtype) {
    case PG_BOOL:
    case PG_UINT8:
      return shuffle<uint8_t>(*generator, *array);
    case PG_INT32:
    case PG_FLOAT32:
      return shuffle<uint32_t>(*generator, *array);
    case PG_INT64:
    case PG_FLOAT64:
      return shuffle<uint64_t>(*generator, *array);
    default:
      throw UnsupportedError("shuffle does not know dtype " + std::to_string(array->_dtype));
    }
  });
}
