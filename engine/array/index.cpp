// Boolean masks and integer index arrays: reading and writing the elements they choose.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/manipulate.hpp"
#include "array/select.hpp"
#include "core/abi.hpp"
#include "core/threads.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t chunk = 1024;       // positions worked on at a time: their offsets stay in the first-level cache
constexpr int64_t grain = 64 * chunk; // of them in one piece of parallel work
constexpr int64_t most_pieces = 1024; // so that what is kept for each has a fixed size

void require_writable(const pg_array &a) {
  require_alive(a);
  if (a._flags & PG_ARRAY_READONLY)
    throw ArgumentError("this array is read-only; write to a copy of it (a:copy())");
}

std::span<const int64_t> shape_of(const pg_array &a) {
  return {a._shape, static_cast<std::size_t>(a._ndim)};
}

// `values` as an array of this dtype that does not overlap `a`: itself, or a copy kept in `keep`.
const pg_array *settle(const pg_array &a, const pg_array &values, Array &keep, int32_t *collect) {
  if (values._dtype != a._dtype) {
    keep = create(a._dtype, shape_of(values), false, collect);
    if (int32_t status = pg_array_assign(keep.get(), &values); status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    return keep.get();
  }
  if (!may_share_memory(a, values))
    return &values;
  return (keep = copy(values, -1, collect)).get();
}

// values, broadcast to `shape`, as a descriptor with a stride for each of its axes.
pg_array stretch(const pg_array &values, const Shape &shape) {
  pg_array v = values;
  v._ndim = shape.ndim;
  int lead = values._ndim - shape.ndim; // axes of values that there are too many of: they must have length 1
  bool fits = true;
  for (int i = 0; i < lead; ++i)
    fits &= values._shape[i] == 1;
  for (int i = 0; i < shape.ndim; ++i) {
    const int from = i + lead;
    const int64_t length = from < 0 ? 1 : values._shape[from];
    fits &= length == 1 || length == shape.lengths[i];
    v._shape[i] = shape.lengths[i];
    v._strides[i] = from < 0 || length == 1 ? 0 : values._strides[from];
  }
  if (!fits) {
    pg_array target{};
    target._ndim = shape.ndim;
    std::copy_n(shape.lengths, shape.ndim, target._shape);
    throw ArgumentError("an array of shape " + shape_text(values) + " cannot be written into the selected elements, " +
                        "whose shape is " + shape_text(target));
  }
  return v;
}

// Copies a block of elements, the axes of `rest`, for each of n positions given by element offsets in both arrays.
template <class T>
void move_at(const Walk<2> &rest, int64_t n, const int64_t *to_offsets, const int64_t *from_offsets) {
  const bool adjacent = rest.inner_stride(0) == 1 && rest.inner_stride(1) == 1 && rest.inner() > 1;
  if (adjacent) {
    const std::size_t bytes = static_cast<std::size_t>(rest.inner()) * sizeof(T);
    rest.each(1, [&](const auto &at) {
      T *to = reinterpret_cast<T *>(at[0]);
      const T *from = reinterpret_cast<const T *>(at[1]);
      const auto copy = [&](auto length) { // a call for each row takes twice as long as a row of 32 bytes
        for (int64_t i = 0; i < n; ++i)
          std::memcpy(static_cast<void *>(to + to_offsets[i]), from + from_offsets[i], length);
      };
      if (bytes == 16)
        copy(std::integral_constant<std::size_t, 16>());
      else if (bytes == 32)
        copy(std::integral_constant<std::size_t, 32>());
      else
        copy(bytes);
    });
    return;
  }
  rest.each(0, [&](const auto &at) {
    T *to = reinterpret_cast<T *>(at[0]);
    const T *from = reinterpret_cast<const T *>(at[1]);
    for (int64_t i = 0; i < n; ++i)
      to[to_offsets[i]] = from[from_offsets[i]];
  });
}
using MoveAt = void (*)(const Walk<2> &, int64_t, const int64_t *, const int64_t *);
MoveAt move_at_for(int32_t dtype) {
  return visit_size(dtype, []<class T>(std::type_identity<T>) -> MoveAt { return move_at<T>; });
}

// The axes [from, ndim) of a, as an array.
pg_array inner_axes(const pg_array &a, int from) {
  pg_array v = a;
  v._ndim = a._ndim - from;
  for (int i = 0; i < v._ndim; ++i) {
    v._shape[i] = a._shape[from + i];
    v._strides[i] = a._strides[from + i];
  }
  return v;
}
Shape whole(const pg_array &a) {
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(a._shape, a._ndim, shape.lengths);
  return shape;
}

// Element offsets of consecutive positions, in row-major order, of the first `axes` axes of an array.
class Cursor {
 public:
  Cursor(const pg_array &a, int axes) : a_(a), axes_(axes) {}
  void seek(int64_t position) {
    offset_ = 0;
    for (int i = axes_; i-- > 0;) {
      at_[i] = position % a_._shape[i];
      position /= a_._shape[i];
      offset_ += at_[i] * a_._strides[i];
    }
  }
  // Calls run(first offset, stride, length) for what the next n positions consist of.
  template <class Run> void next(int64_t n, Run &&run) {
    if (axes_ == 0) {
      run(0, 0, n);
      return;
    }
    const int last = axes_ - 1;
    while (n > 0) {
      const int64_t length = std::min(n, a_._shape[last] - at_[last]);
      run(offset_, a_._strides[last], length);
      n -= length;
      at_[last] += length;
      offset_ += length * a_._strides[last];
      for (int i = last; i > 0 && at_[i] == a_._shape[i]; --i) {
        offset_ += a_._strides[i - 1] - a_._shape[i] * a_._strides[i];
        at_[i] = 0;
        ++at_[i - 1];
      }
    }
  }
  void offsets(int64_t n, int64_t *to) {
    next(n, [&](int64_t offset, int64_t stride, int64_t length) {
      for (int64_t i = 0; i < length; ++i)
        *to++ = offset + i * stride;
    });
  }

 private:
  const pg_array &a_;
  int axes_;
  int64_t at_[max_dimensions] = {};
  int64_t offset_ = 0;
};

// ---------------------------------------------------------------------------------------------------------- masks ----

void require_mask(const pg_array &a, const pg_array &mask) {
  require_alive(a);
  require_alive(mask);
  if (mask._dtype != PG_BOOL)
    throw ArgumentError(std::string("a mask is a bool array, not ") + dtype_name(mask._dtype));
  bool fits = mask._ndim <= a._ndim;
  for (int i = 0; fits && i < mask._ndim; ++i)
    fits = mask._shape[i] == a._shape[i];
  if (!fits)
    throw ArgumentError("a mask of shape " + shape_text(mask) + " does not fit an array of shape " + shape_text(a) +
                        "; it must have the lengths of the array's first axes");
}

// n bytes of the mask from the cursor on: in place where they are adjacent, else gathered into `buffer`.
const uint8_t *mask_bytes(const pg_array &mask, bool adjacent, int64_t begin, int64_t n, Cursor &cursor,
                          uint8_t *buffer) {
  const auto *data = static_cast<const uint8_t *>(mask._data);
  if (adjacent)
    return data + begin;
  uint8_t *to = buffer;
  cursor.next(n, [&](int64_t offset, int64_t stride, int64_t length) {
    for (int64_t i = 0; i < length; ++i)
      *to++ = data[offset + i * stride];
  });
  return buffer;
}

// Splits a mask into pieces and counts what each selects; starts[i] is how many come before piece i.
struct Counted {
  int64_t piece = 0, total = 0;
  std::vector<int64_t> starts;
};

Counted count_mask(const pg_array &mask) {
  Counted result;
  const bool adjacent = is_contiguous(mask);
  const int64_t n = mask._size;
  result.piece = std::max(grain, (n + most_pieces - 1) / most_pieces);
  result.starts.assign(static_cast<std::size_t>(n > 0 ? (n - 1) / result.piece + 1 : 0), 0);
  const auto count = select_kernels().count;
  core::parallel_ranges(n, result.piece, [&](int64_t begin, int64_t end) {
    int64_t sum = 0;
    if (adjacent) {
      sum = count(static_cast<const uint8_t *>(mask._data) + begin, end - begin);
    } else {
      uint8_t buffer[chunk];
      Cursor cursor(mask, mask._ndim);
      cursor.seek(begin);
      for (int64_t i = begin; i < end; i += chunk) {
        const int64_t length = std::min(chunk, end - i);
        sum += count(mask_bytes(mask, false, i, length, cursor, buffer), length);
      }
    }
    result.starts[static_cast<std::size_t>(begin / result.piece)] = sum;
  });
  for (int64_t &start : result.starts)
    result.total += std::exchange(start, result.total);
  return result;
}

// Calls body(n, offsets in a, number of selected elements before them) for the elements of [begin, end) that the mask
// selects; the axes of a that the mask covers are walked in row-major order.
template <class Body>
void each_selected(const pg_array &a, const pg_array &mask, bool adjacent, int64_t begin, int64_t end, int64_t before,
                   Body &&body) {
  Cursor mask_cursor(mask, mask._ndim), a_cursor(a, mask._ndim);
  uint8_t buffer[chunk];
  int64_t offsets[chunk];
  if (begin < end) {
    mask_cursor.seek(begin);
    a_cursor.seek(begin);
  }
  for (int64_t i = begin; i < end; i += chunk) {
    const int64_t length = std::min(chunk, end - i);
    const uint8_t *bytes = mask_bytes(mask, adjacent, i, length, mask_cursor, buffer);
    int64_t selected = 0;
    a_cursor.next(length, [&](int64_t offset, int64_t stride, int64_t run) {
      for (int64_t k = 0; k < run; ++k) { // no branch
        offsets[selected] = offset + k * stride;
        selected += *bytes++;
      }
    });
    if (selected > 0)
      body(selected, offsets, before);
    before += selected;
  }
}

bool rows_adjacent(const pg_array &a, int axes) { // the first `axes` axes are one run of adjacent elements
  pg_array lead = a;
  lead._ndim = axes;
  lead._size = 1;
  for (int i = 0; i < axes; ++i)
    lead._size *= a._shape[i];
  return axes == a._ndim && is_contiguous(lead);
}

Array mask_get(const pg_array &a, const pg_array &mask, int32_t *collect) {
  require_mask(a, mask);
  const Counted counted = count_mask(mask);
  int64_t shape[max_dimensions + 1] = {counted.total};
  const pg_array block = inner_axes(a, mask._ndim);
  std::copy_n(block._shape, block._ndim, shape + 1);
  if (block._ndim == max_dimensions)
    throw ArgumentError("the result would have more than 8 dimensions");
  Array out = create(a._dtype, {shape, static_cast<std::size_t>(block._ndim + 1)}, false, collect);
  if (out->_size == 0)
    return out;
  const auto size = static_cast<int64_t>(element_size(a._dtype));
  const bool adjacent = is_contiguous(mask);
  const auto pieces = static_cast<int64_t>(counted.starts.size());
  const auto piece_total = [&](int64_t piece) {
    return (piece + 1 < pieces ? counted.starts[static_cast<std::size_t>(piece + 1)] : counted.total) -
           counted.starts[static_cast<std::size_t>(piece)];
  };
  if (adjacent && rows_adjacent(a, mask._ndim)) {
    const auto compress = select_kernels().compress[std::countr_zero(static_cast<uint64_t>(size))];
    core::parallel_ranges(mask._size, counted.piece, [&](int64_t begin, int64_t end) {
      const int64_t piece = begin / counted.piece;
      compress(static_cast<const char *>(a._data) + begin * size, static_cast<const uint8_t *>(mask._data) + begin,
               end - begin, out.data<char>() + counted.starts[static_cast<std::size_t>(piece)] * size,
               piece_total(piece));
    });
    return out;
  }
  const pg_array out_block = inner_axes(*out, 1);
  const Walk<2> rest(whole(block), {&out_block, &block});
  const MoveAt move = move_at_for(a._dtype);
  const int64_t stride = out->_strides[0];
  core::parallel_ranges(mask._size, counted.piece, [&](int64_t begin, int64_t end) {
    int64_t to[chunk];
    each_selected(a, mask, adjacent, begin, end, counted.starts[static_cast<std::size_t>(begin / counted.piece)],
                  [&](int64_t n, const int64_t *from, int64_t before) {
                    for (int64_t i = 0; i < n; ++i)
                      to[i] = (before + i) * stride;
                    move(rest, n, to, from);
                  });
  });
  return out;
}

void mask_set(const pg_array &a, const pg_array &mask, const pg_array &given, int32_t *collect) {
  require_writable(a);
  require_mask(a, mask);
  require_alive(given);
  Array keep_values, keep_mask;
  const pg_array *values = settle(a, given, keep_values, collect), *where = &mask;
  const pg_array block = inner_axes(a, mask._ndim);
  const bool one = values->_size == 1 && values->_ndim <= std::max(1, block._ndim + 1);
  const bool adjacent = is_contiguous(mask);
  if (one && adjacent && rows_adjacent(a, mask._ndim) && (a._data == mask._data || !may_share_memory(a, mask))) {
    const auto size = static_cast<int64_t>(element_size(a._dtype));
    const auto fill = select_kernels().fill[std::countr_zero(static_cast<uint64_t>(size))];
    core::parallel_ranges(mask._size, 4 * grain, [&](int64_t begin, int64_t end) {
      fill(static_cast<char *>(a._data) + begin * size, static_cast<const uint8_t *>(mask._data) + begin, end - begin,
           values->_data);
    });
    return;
  }
  if (may_share_memory(a, mask))
    where = (keep_mask = copy(mask, -1, collect)).get();
  const bool where_adjacent = is_contiguous(*where);
  const Counted counted = count_mask(*where);
  if (block._ndim == max_dimensions)
    throw ArgumentError("the selected elements would have more than 8 dimensions");
  Shape shape;
  shape.ndim = block._ndim + 1;
  shape.lengths[0] = counted.total;
  std::copy_n(block._shape, block._ndim, shape.lengths + 1);
  const pg_array source = stretch(*values, shape);
  const pg_array source_block = inner_axes(source, 1);
  const Walk<2> rest(whole(block), {&block, &source_block});
  const MoveAt move = move_at_for(a._dtype);
  core::parallel_ranges(where->_size, counted.piece, [&](int64_t begin, int64_t end) {
    int64_t from[chunk];
    each_selected(a, *where, where_adjacent, begin, end,
                  counted.starts[static_cast<std::size_t>(begin / counted.piece)],
                  [&](int64_t n, const int64_t *to, int64_t before) {
                    for (int64_t i = 0; i < n; ++i)
                      from[i] = (before + i) * source._strides[0];
                    move(rest, n, to, from);
                  });
  });
}

// --------------------------------------------------------------------------------------------------- index arrays ----

// An index counted from 0; out of range is what is not less than `length` as an unsigned number.
template <class I> int64_t from_zero(I given, int64_t length) {
  int64_t k = static_cast<int64_t>(given);
  if constexpr (std::is_same_v<I, uint64_t>)
    k = k < 0 ? 0 : k; // beyond 2^63: out of range like 0
  return k + (k < 0 ? length : -1);
}

// Adds stride * (index - 1) of n indices to n offsets; false if one is out of range.
template <class I>
bool add_offsets(const I *index, int64_t index_stride, int64_t n, int64_t length, int64_t stride, int64_t *offsets) {
  uint64_t bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = from_zero(index[i * index_stride], length);
    bad |= static_cast<uint64_t>(k) >= static_cast<uint64_t>(length);
    offsets[i] += k * stride;
  }
  return bad == 0;
}

// to[i] = from[(index[i] - 1) * stride] for n indices; false if one is out of range.
template <class T, class I>
bool gather(const T *from, int64_t length, int64_t stride, const I *index, int64_t index_stride, int64_t n, T *to) {
  const auto run = [&](int64_t step, int64_t index_step) {
    for (int64_t i = 0; i < n; ++i) {
      // (as unsigned numbers: the least one, less 1, wraps)
      auto k = static_cast<int64_t>(static_cast<uint64_t>(index[i * index_step]) - 1);
      if (static_cast<uint64_t>(k) >= static_cast<uint64_t>(length)) [[unlikely]] { // a branch: selection is slower
        k = from_zero(index[i * index_step], length);
        if (static_cast<uint64_t>(k) >= static_cast<uint64_t>(length))
          return false;
      }
      to[i] = from[k * step];
    }
    return true;
  };
  return stride == 1 && index_stride == 1 ? run(1, 1) : run(stride, index_stride); // the compiler makes two loops of it
}

template <class Visitor> void visit_integer(int32_t dtype, Visitor &&visitor) {
  switch (dtype) {
  case PG_INT8:
    return visitor(std::type_identity<int8_t>{});
  case PG_INT16:
    return visitor(std::type_identity<int16_t>{});
  case PG_INT32:
    return visitor(std::type_identity<int32_t>{});
  case PG_INT64:
    return visitor(std::type_identity<int64_t>{});
  case PG_UINT8:
    return visitor(std::type_identity<uint8_t>{});
  case PG_UINT16:
    return visitor(std::type_identity<uint16_t>{});
  case PG_UINT32:
    return visitor(std::type_identity<uint32_t>{});
  case PG_UINT64:
    return visitor(std::type_identity<uint64_t>{});
  default:
    throw ArgumentError(std::string("an index array holds integers, not ") + dtype_name(dtype) +
                        "; convert it with astype(\"int64\")");
  }
}

// What a[i, j, :, k] means: index arrays broadcast to one shape, the axes they are for, and the axes taken whole.
struct Selection {
  Shape common;      // of the index arrays
  int64_t count = 1; // positions in it
  int indexed = 0;
  pg_array index[max_dimensions];                         // stretched to `common`
  int64_t length[max_dimensions], stride[max_dimensions]; // of the axes they are for
  pg_array block{};                                       // the other axes of a
  Shape result;
};

Selection select(const pg_array &a, int position, const pg_array *const *indices) {
  require_alive(a);
  Selection s;
  pg_array shape{}; // of the index arrays so far
  for (int i = 0; i < a._ndim; ++i)
    if (const pg_array *index = indices[i]) {
      require_alive(*index);
      visit_integer(index->_dtype, [](auto) {});
      const Shape both = broadcast(shape, *index);
      shape._ndim = both.ndim;
      std::copy_n(both.lengths, both.ndim, shape._shape);
    }
  s.common = whole(shape);
  for (int i = 0; i < s.common.ndim; ++i)
    s.count *= s.common.lengths[i];
  s.block._data = a._data;
  s.block._dtype = a._dtype;
  s.block._size = 1;
  for (int i = 0; i < a._ndim; ++i) {
    if (indices[i]) {
      s.length[s.indexed] = a._shape[i];
      s.stride[s.indexed] = a._strides[i];
      s.index[s.indexed++] = stretch(*indices[i], s.common);
    } else {
      const int k = s.block._ndim++;
      s.block._shape[k] = a._shape[i];
      s.block._strides[k] = a._strides[i];
      s.block._size *= a._shape[i];
    }
  }
  s.result.ndim = s.common.ndim + s.block._ndim;
  if (s.result.ndim > max_dimensions)
    throw ArgumentError("the selected elements would have " + std::to_string(s.result.ndim) +
                        " dimensions, and an array has at most 8");
  if (position < 0 || position > s.block._ndim)
    throw InternalError("index position " + std::to_string(position));
  std::copy_n(s.block._shape, position, s.result.lengths);
  std::copy_n(s.common.lengths, s.common.ndim, s.result.lengths + position);
  std::copy_n(s.block._shape + position, s.block._ndim - position, s.result.lengths + position + s.common.ndim);
  return s;
}

// Offsets in a of the positions [begin, begin + n) of the common shape; false if an index is out of range.
bool offsets_at(const Selection &s, int64_t begin, int64_t n, int64_t *offsets) {
  std::fill_n(offsets, n, 0);
  bool good = true;
  for (int k = 0; k < s.indexed; ++k) {
    Cursor cursor(s.index[k], s.common.ndim);
    cursor.seek(begin);
    visit_integer(s.index[k]._dtype, [&]<class I>(std::type_identity<I>) {
      int64_t *to = offsets;
      cursor.next(n, [&](int64_t offset, int64_t stride, int64_t length) {
        good &= add_offsets(static_cast<const I *>(s.index[k]._data) + offset, stride, length, s.length[k], s.stride[k],
                            to);
        to += length;
      });
    });
  }
  return good;
}

[[noreturn]] void out_of_range(const Selection &s) {
  for (int64_t p = 0; p < s.count; ++p)
    for (int k = 0; k < s.indexed; ++k) {
      Selection one = s;
      one.indexed = 1;
      one.index[0] = s.index[k];
      one.length[0] = s.length[k];
      one.stride[0] = s.stride[k];
      int64_t unused;
      if (offsets_at(one, p, 1, &unused))
        continue;
      int64_t at[max_dimensions] = {}, flat = p, offset = 0;
      for (int i = s.common.ndim; i-- > 0;) {
        at[i] = flat % s.common.lengths[i];
        flat /= s.common.lengths[i];
        offset += at[i] * s.index[k]._strides[i];
      }
      std::string value, place;
      visit_integer(s.index[k]._dtype, [&]<class I>(std::type_identity<I>) {
        value = std::to_string(static_cast<const I *>(s.index[k]._data)[offset]);
      });
      for (int i = 0; i < s.common.ndim; ++i)
        place += (i ? ", " : "") + std::to_string(at[i] + 1);
      const std::string n = std::to_string(s.length[k]);
      throw ArgumentError("index " + value + (s.common.ndim ? " at position (" + place + ") of " : " in ") +
                          (s.indexed > 1 ? "index array " + std::to_string(k + 1) : "the index array") +
                          " is out of range for an axis of length " + n +
                          (s.length[k] ? "; legal are 1 to " + n + ", and -" + n + " to -1 from the end" : ""));
    }
  throw InternalError("no index is out of range after all");
}

Array index_get(const pg_array &a, int position, const pg_array *const *indices, int32_t *collect) {
  const Selection s = select(a, position, indices);
  Array out = create(a._dtype, {s.result.lengths, static_cast<std::size_t>(s.result.ndim)}, false, collect);
  // The common axes in out are one run of adjacent positions, since out is row-major.
  const int64_t stride = position < s.block._ndim || s.common.ndim == 0
                           ? [&] {
                               int64_t product = 1;
                               for (int i = position; i < s.block._ndim; ++i)
                                 product *= s.block._shape[i];
                               return product;
                             }()
                           : 1;
  pg_array out_block = *out;
  out_block._ndim = s.block._ndim;
  for (int i = 0; i < s.block._ndim; ++i) {
    const int axis = i < position ? i : i + s.common.ndim;
    out_block._shape[i] = out->_shape[axis];
    out_block._strides[i] = out->_strides[axis];
  }
  const Walk<2> rest(whole(s.block), {&out_block, &s.block});
  const MoveAt move = move_at_for(a._dtype);
  std::atomic<bool> good{true};
  const int64_t pieces = std::clamp<int64_t>(grain / std::max<int64_t>(s.block._size, 1), 1, grain);
  if (s.indexed == 1 && s.block._size == 1 && s.length[0] > 0) { // elements, by one index array
    visit_size(a._dtype, [&]<class T>(std::type_identity<T>) {
      visit_integer(s.index[0]._dtype, [&]<class I>(std::type_identity<I>) {
        core::parallel_ranges(s.count, grain, [&](int64_t begin, int64_t end) {
          Cursor cursor(s.index[0], s.common.ndim);
          cursor.seek(begin);
          T *to = out.data<T>() + begin;
          cursor.next(end - begin, [&](int64_t offset, int64_t index_stride, int64_t n) {
            if (!gather(static_cast<const T *>(a._data), s.length[0], s.stride[0],
                        static_cast<const I *>(s.index[0]._data) + offset, index_stride, n, to))
              good = false;
            to += n;
          });
        });
      });
    });
    if (!good)
      out_of_range(s);
    return out;
  }
  core::parallel_ranges(s.count, (pieces + chunk - 1) / chunk * chunk, [&](int64_t begin, int64_t end) {
    int64_t from[chunk], to[chunk];
    for (int64_t i = begin; i < end; i += chunk) {
      const int64_t n = std::min(chunk, end - i);
      if (!offsets_at(s, i, n, from)) {
        good = false;
        return;
      }
      for (int64_t k = 0; k < n; ++k)
        to[k] = (i + k) * stride;
      move(rest, n, to, from);
    }
  });
  if (!good)
    out_of_range(s);
  return out;
}

void index_set(const pg_array &a, int position, const pg_array *const *indices, const pg_array &given,
               int32_t *collect) {
  require_writable(a);
  require_alive(given);
  const pg_array *safe[max_dimensions] = {};
  Array copies[max_dimensions], keep;
  for (int i = 0; i < a._ndim; ++i)
    if (indices[i])
      safe[i] = may_share_memory(a, *indices[i]) ? (copies[i] = copy(*indices[i], -1, collect)).get() : indices[i];
  const Selection s = select(a, position, safe);
  const pg_array source = stretch(*settle(a, given, keep, collect), s.result);
  int64_t to[chunk], from[chunk];
  for (int64_t i = 0; i < s.count; i += chunk) // all are checked before anything is written
    if (!offsets_at(s, i, std::min(chunk, s.count - i), to))
      out_of_range(s);
  if (s.count == 0 || s.block._size == 0)
    return;
  pg_array common = source, block = source; // axes of the values that belong to the indices, and the others
  common._ndim = s.common.ndim;
  for (int i = 0; i < s.common.ndim; ++i) {
    common._shape[i] = source._shape[position + i];
    common._strides[i] = source._strides[position + i];
  }
  block._ndim = s.block._ndim;
  for (int i = 0; i < s.block._ndim; ++i) {
    const int axis = i < position ? i : i + s.common.ndim;
    block._shape[i] = source._shape[axis];
    block._strides[i] = source._strides[axis];
  }
  const Walk<2> rest(whole(s.block), {&s.block, &block});
  const MoveAt move = move_at_for(a._dtype);
  Cursor cursor(common, common._ndim);
  cursor.seek(0);
  for (int64_t i = 0; i < s.count; i += chunk) { // on one thread: of two writes to one element the last must win
    const int64_t n = std::min(chunk, s.count - i);
    offsets_at(s, i, n, to);
    cursor.offsets(n, from);
    move(rest, n, to, from);
  }
}

// -------------------------------------------------------------------------------------------------------- nonzero ----

// 1 where an element is not zero.
void truth(const pg_array &a, int64_t n, Cursor &cursor, uint8_t *to) {
  visit(a._dtype, [&]<class T>(std::type_identity<T>) {
    cursor.next(n, [&](int64_t offset, int64_t stride, int64_t length) {
      const T *from = static_cast<const T *>(a._data) + offset;
      uint8_t *out = to; // a copy: bytes that are stored could be those of `to`
      if (stride == 1)
        for (int64_t i = 0; i < length; ++i)
          out[i] = from[i] != T{};
      else
        for (int64_t i = 0; i < length; ++i)
          out[i] = from[i * stride] != T{};
      to += length;
    });
  });
}

// 1, 2, ... to the length of a chunk.
constexpr std::array<int64_t, chunk> numbers = [] {
  std::array<int64_t, chunk> n{};
  for (std::size_t i = 0; i < n.size(); ++i)
    n[i] = static_cast<int64_t>(i) + 1;
  return n;
}();

Array nonzero(const pg_array &a, int32_t *collect) {
  require_alive(a);
  if (a._ndim == 0)
    throw ArgumentError("nonzero: an array of 0 dimensions has no positions; give it one with array.atleast_1d");
  const int64_t piece = std::max(grain, (a._size + most_pieces - 1) / most_pieces);
  std::vector<int64_t> starts(static_cast<std::size_t>(a._size > 0 ? (a._size - 1) / piece + 1 : 0));
  const SelectKernels &kernels = select_kernels();
  core::parallel_ranges(a._size, piece, [&](int64_t begin, int64_t end) {
    Cursor cursor(a, a._ndim);
    cursor.seek(begin);
    uint8_t bytes[chunk];
    int64_t sum = 0;
    for (int64_t i = begin; i < end; i += chunk) {
      const int64_t n = std::min(chunk, end - i);
      truth(a, n, cursor, bytes);
      sum += kernels.count(bytes, n);
    }
    starts[static_cast<std::size_t>(begin / piece)] = sum;
  });
  int64_t total = 0;
  for (int64_t &start : starts)
    total += std::exchange(start, total);
  const int64_t shape[] = {a._ndim, total};
  Array out = create(PG_INT64, shape, false, collect);
  core::parallel_ranges(a._size, piece, [&](int64_t begin, int64_t end) {
    Cursor cursor(a, a._ndim);
    cursor.seek(begin);
    int64_t at[max_dimensions], flat = begin;
    for (int i = a._ndim; i-- > 0;) {
      at[i] = flat % a._shape[i] + 1;
      flat /= a._shape[i];
    }
    int64_t *to = out.data<int64_t>() + starts[static_cast<std::size_t>(begin / piece)];
    const int last = a._ndim - 1;
    uint8_t bytes[chunk];
    for (int64_t i = begin; i < end; i += chunk) {
      const int64_t n = std::min(chunk, end - i);
      truth(a, n, cursor, bytes);
      if (last == 0) { // of a vector: without branches, which random masks mispredict
        const int64_t found = kernels.count(bytes, n);
        kernels.compress[3](numbers.data(), bytes, n, to, found);
        for (int64_t k = 0; k < found; ++k)
          to[k] += i;
        to += found;
        continue;
      }
      for (int64_t k = 0; k < n; ++k) {
        if (bytes[k]) {
          for (int axis = 0; axis <= last; ++axis)
            to[axis * total] = at[axis];
          ++to;
        }
        ++at[last];
        for (int axis = last; axis > 0 && at[axis] > a._shape[axis]; --axis) {
          at[axis] = 1;
          ++at[axis - 1];
        }
      }
    }
  });
  return out;
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_mask_get(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *mask) {
  return guard([&] {
    *out = mask_get(*a, *mask, collect).detach();
    describe_operation("mask get", 0, {a, mask, out});
  });
}

int32_t pg_array_mask_set(const pg_array *a, int32_t *collect, const pg_array *mask, const pg_array *values) {
  return guard([&] {
    mask_set(*a, *mask, *values, collect);
    describe_operation("mask set", 0, {a, mask, values});
  });
}

int32_t pg_array_index_get(pg_array *out, int32_t *collect, const pg_array *a, int32_t position,
                           const pg_array *const *indices) {
  return guard([&] {
    *out = index_get(*a, position, indices, collect).detach();
    describe_operation("index get", 0, {out, out});
  });
}

int32_t pg_array_index_set(const pg_array *a, int32_t *collect, int32_t position, const pg_array *const *indices,
                           const pg_array *values) {
  return guard([&] {
    index_set(*a, position, indices, *values, collect);
    describe_operation("index set", 0, {values, values});
  });
}

int32_t pg_array_nonzero(pg_array *out, int32_t *collect, const pg_array *a) {
  return guard([&] { *out = nonzero(*a, collect).detach(); });
}
}
