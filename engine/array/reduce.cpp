// Reductions over any set of axes. Work is cut into pieces by shapes alone, and pieces are joined in a fixed tree, so
// that results do not depend on the number of threads. Nothing is kept but the result and buffers of a fixed size.
#include "array/reduce.hpp"

#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/reduce_kernels.hpp"
#include "core/threads.hpp"

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <vector>

namespace perigee::array {
namespace {

constexpr const char *names[] = {"sum", "mean",          "min",    "max",     "prod",   "var",    "std",    "any",
                                 "all", "count_nonzero", "nansum", "nanmean", "nanmin", "nanmax", "nanvar", "nanstd"};
constexpr int32_t op_count = PG_REDUCE_NANSTD + 1;

constexpr int64_t tile_width = 4096; // results computed at a time: their partial results stay in the first-level cache
constexpr int64_t leaf_rows = 64;    // rows of columns joined one after the other
constexpr int64_t piece_size = 1 << 17; // elements worth a task: some 10 us
constexpr int64_t most_pieces = 64;     // of one tile

bool is_integer(int32_t dtype) {
  return !is_float(dtype) && !is_complex(dtype);
}

// ------------------------------------------------------------------------------------------------ complex rows ---
// Not worth a kernel for each instruction set: plain loops, pairwise.

using Complex = std::complex<double>;

Complex times(Complex a, Complex b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}
bool is_nan(Complex x) {
  return std::isnan(x.real()) || std::isnan(x.imag());
}
// In NumPy's order: by real part, then imaginary part.
bool before(Complex a, Complex b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}

template <class R, class Map, class Join>
R complex_run(int64_t n, const Map &map, const Join &join, int64_t begin = 0) {
  if (n > 128) {
    const R left = complex_run<R>(n / 2, map, join, begin);
    return join(left, complex_run<R>(n - n / 2, map, join, begin + n / 2));
  }
  R total = map(begin);
  for (int64_t i = 1; i < n; ++i)
    total = join(total, map(begin + i));
  return total;
}

template <Reduce op, class T>
void complex_row(int64_t n, const void *from, int64_t stride, const void *centre, void *raw) {
  const auto *a = static_cast<const std::complex<T> *>(from);
  const auto at = [&](int64_t i) { return Complex(a[i * stride]); };
  const auto plus = [](auto x, auto y) { return x + y; };
  if constexpr (op == Reduce::sum || op == Reduce::nan_sum) {
    *static_cast<Complex *>(raw) =
        n == 0 ? 0
               : complex_run<Complex>(
                     n, [&](int64_t i) { return op == Reduce::nan_sum && is_nan(at(i)) ? 0 : at(i); }, plus);
  } else if constexpr (op == Reduce::product) {
    *static_cast<Complex *>(raw) = n == 0 ? 1 : complex_run<Complex>(n, at, times);
  } else if constexpr (op == Reduce::count || op == Reduce::nan_count) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i)
      count += op == Reduce::count ? at(i) != 0. : !is_nan(at(i));
    *static_cast<int64_t *>(raw) = count;
  } else if constexpr (op == Reduce::deviation || op == Reduce::nan_deviation) {
    const Complex c = *static_cast<const Complex *>(centre);
    *static_cast<double *>(raw) =
        n == 0
            ? 0
            : complex_run<double>(
                  n, [&](int64_t i) { return op == Reduce::nan_deviation && is_nan(at(i)) ? 0 : std::norm(at(i) - c); },
                  plus);
  } else {
    constexpr bool largest = op == Reduce::maximum || op == Reduce::nan_maximum;
    constexpr bool skip = op == Reduce::nan_minimum || op == Reduce::nan_maximum;
    Complex best = at(0);
    for (int64_t i = 1; i < n; ++i) {
      const Complex x = at(i);
      if (is_nan(skip ? best : x))
        best = skip || !is_nan(best) ? x : best;
      else if (!is_nan(skip ? x : best) && (largest ? before(best, x) : before(x, best)))
        best = x;
    }
    *static_cast<std::complex<T> *>(raw) = std::complex<T>(best);
  }
}

template <class T> RowReduce complex_rows(Reduce op) {
  switch (op) {
  case Reduce::sum:
    return complex_row<Reduce::sum, T>;
  case Reduce::product:
    return complex_row<Reduce::product, T>;
  case Reduce::minimum:
    return complex_row<Reduce::minimum, T>;
  case Reduce::maximum:
    return complex_row<Reduce::maximum, T>;
  case Reduce::count:
    return complex_row<Reduce::count, T>;
  case Reduce::deviation:
    return complex_row<Reduce::deviation, T>;
  case Reduce::nan_sum:
    return complex_row<Reduce::nan_sum, T>;
  case Reduce::nan_count:
    return complex_row<Reduce::nan_count, T>;
  case Reduce::nan_deviation:
    return complex_row<Reduce::nan_deviation, T>;
  case Reduce::nan_minimum:
    return complex_row<Reduce::nan_minimum, T>;
  case Reduce::nan_maximum:
    return complex_row<Reduce::nan_maximum, T>;
  default:
    throw InternalError("complex reduction");
  }
}

// --------------------------------------------------------------------------------------------------------- kernels ---

RowReduce row_kernel(Reduce op, int32_t dtype) {
  return dtype == PG_COMPLEX64    ? complex_rows<float>(op)
         : dtype == PG_COMPLEX128 ? complex_rows<double>(op)
                                  : reduce_kernels().rows[int(op)][dtype];
}

// How raw results of `op` are joined with one another.
Reduce joining(Reduce op) {
  switch (op) {
  case Reduce::product:
  case Reduce::minimum:
  case Reduce::maximum:
  case Reduce::nan_minimum:
  case Reduce::nan_maximum:
    return op;
  default:
    return Reduce::sum;
  }
}

struct Kernel {
  RowReduce rows;
  ColumnReduce columns; // null for complex
  RowReduce join_rows;
  ColumnReduce join_columns;
  int64_t raw, element; // bytes

  Kernel(Reduce op, int32_t dtype) {
    const int32_t raw_type = raw_dtype(op, dtype);
    rows = row_kernel(op, dtype);
    columns = reduce_kernels().columns[int(op)][dtype];
    join_rows = row_kernel(joining(op), raw_type);
    join_columns = reduce_kernels().columns[int(joining(op))][raw_type];
    raw = static_cast<int64_t>(element_size(raw_type));
    element = static_cast<int64_t>(element_size(dtype));
  }

  // Joins the raw results at slots `into` and `from` of a buffer, `count` each, into the former.
  void join(char *buffer, int64_t into, int64_t from, int64_t count) const {
    char *at = buffer + into * count * raw;
    const int64_t distance = (from - into) * count;
    if (join_columns) {
      join_columns(2, count, at, distance, nullptr, at);
      return;
    }
    for (int64_t j = 0; j < count; ++j)
      join_rows(2, at + j * raw, distance, nullptr, at + j * raw);
  }
};

// Partial results that are joined as a binary counter carries: the newest with the one before it, if both stand for
// equally many. Memory for `most` of them takes log2(most) slots.
class Cascade {
 public:
  Cascade(const Kernel &kernel, int64_t count, int64_t most) : kernel_(kernel), count_(count) {
    int slots = 2;
    for (; most > 0; most /= 2)
      ++slots;
    const auto bytes = static_cast<std::size_t>(slots * count * kernel.raw);
    if (bytes <= sizeof small_) {
      buffer_ = small_;
    } else {
      large_.resize(bytes / sizeof(Complex) + 1);
      buffer_ = reinterpret_cast<char *>(large_.data());
    }
  }
  /// Where the next partial result goes before push().
  void *next() { return buffer_ + depth_ * count_ * kernel_.raw; }
  void push() {
    ++depth_;
    for (int64_t carry = ++pushed_; carry % 2 == 0; carry /= 2, --depth_)
      kernel_.join(buffer_, depth_ - 2, depth_ - 1, count_);
  }
  void finish(void *raws) {
    for (; depth_ > 1; --depth_)
      kernel_.join(buffer_, depth_ - 2, depth_ - 1, count_);
    std::memcpy(raws, buffer_, static_cast<std::size_t>(count_ * kernel_.raw));
  }

 private:
  const Kernel &kernel_;
  int64_t count_, pushed_ = 0, depth_ = 0;
  alignas(16) char small_[1024];
  std::vector<Complex> large_;
  char *buffer_;
};

// ------------------------------------------------------------------------------------------------------------ axes ---

// Some axes of an array: the longest runs they form, those of small strides last.
struct Axes {
  int count = 0;
  int64_t lengths[max_dimensions] = {}, in[max_dimensions] = {}, out[max_dimensions] = {};
  int64_t size = 1;

  void add(int64_t length, int64_t in_stride, int64_t out_stride) {
    size *= length;
    if (length == 1)
      return;
    int at = count++;
    for (; at > 0 && std::abs(in[at - 1]) < std::abs(in_stride); --at) {
      lengths[at] = lengths[at - 1];
      in[at] = in[at - 1];
      out[at] = out[at - 1];
    }
    lengths[at] = length;
    in[at] = in_stride;
    out[at] = out_stride;
  }
  void merge() {
    if (count == 0) {
      count = 1;
      lengths[0] = 1;
      return;
    }
    int last = 0;
    for (int i = 1; i < count; ++i) {
      if (in[last] == in[i] * lengths[i] && out[last] == out[i] * lengths[i]) {
        lengths[last] *= lengths[i];
      } else {
        ++last;
        lengths[last] = lengths[i];
      }
      in[last] = in[i];
      out[last] = out[i];
    }
    count = last + 1;
  }
  int64_t inner() const { return lengths[count - 1]; }
  int64_t inner_in() const { return in[count - 1]; }
  int64_t inner_out() const { return out[count - 1]; }
  // The offsets of position `index` of the axes before the innermost.
  void offsets(int64_t index, int64_t &from, int64_t &to) const {
    from = to = 0;
    for (int i = count - 2; i >= 0; --i) {
      from += index % lengths[i] * in[i];
      to += index % lengths[i] * out[i];
      index /= lengths[i];
    }
  }
};

// Raw results of `width` neighbouring positions of the kept axes, over positions [begin, end) of the reduced ones.
void reduce_range(const Kernel &kernel, const Axes &reduced, bool by_columns, const char *at, int64_t width,
                  int64_t step, int64_t begin, int64_t end, const char *centres, int64_t centre_size, char *raws) {
  const int64_t inner = reduced.inner(), stride = reduced.inner_in();
  if (begin == end) {
    for (int64_t j = 0; j < width; ++j)
      kernel.rows(0, at, 1, centres, raws + j * kernel.raw);
    return;
  }
  const auto each_segment = [&](int64_t longest, auto &&body) {
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner, n = std::min({longest, inner - within, end - i});
      int64_t offset, unused;
      reduced.offsets(i / inner, offset, unused);
      body(n, at + (offset + within * stride) * kernel.element);
      i += n;
    }
  };
  const bool single = begin / inner == (end - 1) / inner;
  if (by_columns) {
    if (single && end - begin <= leaf_rows) {
      each_segment(leaf_rows,
                   [&](int64_t n, const char *from) { kernel.columns(n, width, from, stride, centres, raws); });
      return;
    }
    Cascade cascade(kernel, width, (end - begin) / std::min(inner, leaf_rows) + (end - begin) / inner + 2);
    each_segment(leaf_rows, [&](int64_t n, const char *from) {
      kernel.columns(n, width, from, stride, centres, cascade.next());
      cascade.push();
    });
    cascade.finish(raws);
    return;
  }
  for (int64_t j = 0; j < width; ++j, at += step * kernel.element, raws += kernel.raw) {
    const char *centre = centres ? centres + j * centre_size : nullptr;
    if (single) {
      each_segment(inner, [&](int64_t n, const char *from) { kernel.rows(n, from, stride, centre, raws); });
      continue;
    }
    Cascade cascade(kernel, 1, (end - begin) / inner + 2);
    each_segment(inner, [&](int64_t n, const char *from) {
      kernel.rows(n, from, stride, centre, cascade.next());
      cascade.push();
    });
    cascade.finish(raws);
  }
}

// The same over all positions of the reduced axes, in pieces.
void reduce_tile(const Kernel &kernel, const Axes &reduced, bool by_columns, const char *at, int64_t width,
                 int64_t step, const char *centres, int64_t centre_size, char *raws) {
  const int64_t n = reduced.size;
  const int64_t pieces = std::clamp<int64_t>(n * width / piece_size, 1, most_pieces);
  if (pieces == 1 || n < pieces) {
    reduce_range(kernel, reduced, by_columns, at, width, step, 0, n, centres, centre_size, raws);
    return;
  }
  const int64_t length = (n - 1) / pieces + 1;
  std::vector<Complex> partial(static_cast<std::size_t>(pieces * width * kernel.raw) / sizeof(Complex) + 1);
  char *buffer = reinterpret_cast<char *>(partial.data());
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += length)
    ++count;
  core::parallel_ranges(n, length, [&](int64_t begin, int64_t end) {
    reduce_range(kernel, reduced, by_columns, at, width, step, begin, end, centres, centre_size,
                 buffer + begin / length * width * kernel.raw);
  });
  for (int64_t gap = 1; gap < count; gap *= 2)
    for (int64_t i = 0; i + gap < count; i += 2 * gap)
      kernel.join(buffer, i, i + gap, width);
  std::memcpy(raws, buffer, static_cast<std::size_t>(width * kernel.raw));
}

// --------------------------------------------------------------------------------------------------------- results ---

struct Recipe {
  Reduce first;          // what is computed of the elements
  bool counts = false;   // and of how many, where NaN is left out
  bool deviates = false; // and, with first / count as centre, the sum of squared deviations
  bool nan = false;
};

Recipe recipe(int32_t op, int32_t dtype) {
  const bool wide = dtype == PG_INT64 || dtype == PG_UINT64;
  const bool nan = op >= PG_REDUCE_NANSUM && !is_integer(dtype);
  const Reduce mean = nan ? Reduce::nan_sum : wide ? Reduce::real_sum : Reduce::sum;
  switch (op) {
  case PG_REDUCE_SUM:
  case PG_REDUCE_NANSUM:
    return {nan ? Reduce::nan_sum : Reduce::sum};
  case PG_REDUCE_PROD:
    return {Reduce::product};
  case PG_REDUCE_MIN:
  case PG_REDUCE_NANMIN:
    return {nan ? Reduce::nan_minimum : Reduce::minimum};
  case PG_REDUCE_MAX:
  case PG_REDUCE_NANMAX:
    return {nan ? Reduce::nan_maximum : Reduce::maximum};
  case PG_REDUCE_MEAN:
  case PG_REDUCE_NANMEAN:
    return {mean, nan, false, nan};
  case PG_REDUCE_VAR:
  case PG_REDUCE_STD:
  case PG_REDUCE_NANVAR:
  case PG_REDUCE_NANSTD:
    return {mean, nan, true, nan};
  default:
    return {Reduce::count};
  }
}

double as_double(const char *raw, int32_t dtype) {
  if (dtype == PG_FLOAT64)
    return *reinterpret_cast<const double *>(raw);
  if (dtype == PG_UINT64)
    return static_cast<double>(*reinterpret_cast<const uint64_t *>(raw));
  return static_cast<double>(*reinterpret_cast<const int64_t *>(raw));
}

template <class T> void put(char *to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// Narrows a float64 or complex128 result to the result's dtype.
void put_real(char *to, int32_t dtype, double value) {
  if (dtype == PG_FLOAT32)
    put(to, static_cast<float>(value));
  else
    put(to, value);
}
void put_complex(char *to, int32_t dtype, Complex value) {
  if (dtype == PG_COMPLEX64)
    put(to, std::complex<float>(value));
  else
    put(to, value);
}

// Computes `width` results and writes them to `to`, `out_step` bytes apart.
void results_of(int32_t op, int32_t dtype, int32_t result, const Recipe &how, const Axes &reduced, bool by_columns,
                const char *at, int64_t width, int64_t step, double ddof, char *to, int64_t out_step) {
  alignas(16) char first[tile_width * sizeof(Complex)];
  const Kernel kernel(how.first, dtype);
  reduce_tile(kernel, reduced, by_columns && kernel.columns, at, width, step, nullptr, 0, first);
  const int32_t raw = raw_dtype(how.first, dtype);
  const auto n = static_cast<double>(reduced.size);
  switch (op) {
  case PG_REDUCE_SUM:
  case PG_REDUCE_PROD:
  case PG_REDUCE_NANSUM:
    for (int64_t j = 0; j < width; ++j) {
      const char *x = first + j * kernel.raw;
      if (is_complex(raw))
        put_complex(to + j * out_step, result, *reinterpret_cast<const Complex *>(x));
      else if (is_float(raw))
        put_real(to + j * out_step, result, *reinterpret_cast<const double *>(x));
      else
        std::memcpy(to + j * out_step, x, sizeof(int64_t));
    }
    return;
  case PG_REDUCE_MIN:
  case PG_REDUCE_MAX:
  case PG_REDUCE_NANMIN:
  case PG_REDUCE_NANMAX:
    for (int64_t j = 0; j < width; ++j)
      std::memcpy(to + j * out_step, first + j * kernel.raw, static_cast<std::size_t>(kernel.raw));
    return;
  case PG_REDUCE_ANY:
  case PG_REDUCE_ALL:
  case PG_REDUCE_COUNT_NONZERO:
    for (int64_t j = 0; j < width; ++j) {
      const int64_t count = reinterpret_cast<const int64_t *>(first)[j];
      if (op == PG_REDUCE_COUNT_NONZERO)
        put(to + j * out_step, count);
      else
        put(to + j * out_step, static_cast<uint8_t>(op == PG_REDUCE_ANY ? count > 0 : count == reduced.size));
    }
    return;
  default:
    break;
  }
  int64_t counts[tile_width];
  if (how.counts) {
    const Kernel counting(Reduce::nan_count, dtype);
    reduce_tile(counting, reduced, by_columns && counting.columns, at, width, step, nullptr, 0,
                reinterpret_cast<char *>(counts));
  }
  const auto number = [&](int64_t j) { return how.counts ? static_cast<double>(counts[j]) : n; };
  const int64_t centre_size = is_complex(dtype) ? sizeof(Complex) : sizeof(double);
  for (int64_t j = 0; j < width; ++j) { // the means, in place of the sums
    if (is_complex(dtype))
      reinterpret_cast<Complex *>(first)[j] /= number(j);
    else
      reinterpret_cast<double *>(first)[j] = as_double(first + j * sizeof(double), raw) / number(j);
  }
  if (!how.deviates) {
    for (int64_t j = 0; j < width; ++j)
      if (is_complex(dtype))
        put_complex(to + j * out_step, result, reinterpret_cast<const Complex *>(first)[j]);
      else
        put_real(to + j * out_step, result, reinterpret_cast<const double *>(first)[j]);
    return;
  }
  double squares[tile_width];
  const Kernel deviation(how.nan ? Reduce::nan_deviation : Reduce::deviation, dtype);
  reduce_tile(deviation, reduced, by_columns && deviation.columns, at, width, step, first, centre_size,
              reinterpret_cast<char *>(squares));
  for (int64_t j = 0; j < width; ++j) {
    const double variance = squares[j] / std::max(number(j) - ddof, 0.0);
    const double value = how.nan && number(j) <= ddof ? std::numeric_limits<double>::quiet_NaN() : variance;
    put_real(to + j * out_step, result, op == PG_REDUCE_STD || op == PG_REDUCE_NANSTD ? std::sqrt(value) : value);
  }
}

void require_op(int32_t op, int32_t dtype) {
  if (op < 0 || op >= op_count)
    throw InternalError("reduction " + std::to_string(op));
  if (dtype < 0 || dtype >= dtype_count)
    throw InternalError("dtype " + std::to_string(dtype));
}

[[noreturn]] void nothing_to_reduce(const char *name) {
  throw ArgumentError(std::string(name) + " of no elements does not exist");
}

bool needs_elements(int32_t op) {
  return op == PG_REDUCE_MIN || op == PG_REDUCE_MAX || op == PG_REDUCE_NANMIN || op == PG_REDUCE_NANMAX;
}

// Writes the results to `out`, whose strides are those of a's kept axes (0 for the others).
void reduce_into(int32_t op, const pg_array &a, uint32_t axes, double ddof, int32_t result, char *out,
                 const int64_t *out_strides) {
  Axes kept, reduced;
  for (int i = 0; i < a._ndim; ++i) {
    if (axes >> i & 1)
      reduced.add(a._shape[i], a._strides[i], 0);
    else
      kept.add(a._shape[i], a._strides[i], out_strides[i]);
  }
  if (kept.size == 0)
    return;
  if (reduced.size == 0 && needs_elements(op))
    nothing_to_reduce(names[op]);
  kept.merge();
  if (reduced.size == 0) {
    reduced = Axes();
    reduced.count = 1;
    reduced.size = 0;
  } else {
    reduced.merge();
  }
  // Adjacent columns are reduced together, which reads memory in order; not if the reduced axis is itself adjacent.
  const bool by_columns =
      kept.inner_in() == 1 && kept.inner() > 1 && (reduced.size <= 1 || std::abs(reduced.inner_in()) != 1);
  const Recipe how = recipe(op, a._dtype);
  const auto element = static_cast<int64_t>(element_size(a._dtype)),
             out_element = static_cast<int64_t>(element_size(result));
  // Rows are read one after the other: so few are a tile that none is cut into pieces that short ones share.
  const int64_t tile =
      by_columns ? tile_width : std::clamp<int64_t>(piece_size / std::max<int64_t>(reduced.size, 1), 1, tile_width);
  const int64_t tiles = (kept.inner() - 1) / tile + 1, outer = kept.size / kept.inner();
  const int64_t work = std::max<int64_t>(reduced.size, 1) * std::min(kept.inner(), tile);
  const int64_t grain = work >= piece_size ? 1 : piece_size / work;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t from, to;
      kept.offsets(task / tiles, from, to);
      const int64_t j = task % tiles * tile;
      results_of(op, a._dtype, result, how, reduced, by_columns,
                 static_cast<const char *>(a._data) + (from + j * kept.inner_in()) * element,
                 std::min(tile, kept.inner() - j), kept.inner_in(), ddof,
                 out + (to + j * kept.inner_out()) * out_element, kept.inner_out() * out_element);
    }
  };
  // Where a tile is cut into pieces, those run side by side, and tiles one after the other.
  if (work / piece_size > 1 && outer * tiles < 4)
    run(0, outer * tiles);
  else
    core::parallel_ranges(outer * tiles, grain, run);
}

// The shape of a without some axes; the strides of a row-major result along a's axes.
Shape reduced_shape(const pg_array &a, uint32_t axes, bool keepdims, int64_t *strides) {
  Shape shape;
  for (int i = 0; i < a._ndim; ++i) {
    const bool gone = axes >> i & 1;
    if (!gone || keepdims)
      shape.lengths[shape.ndim++] = gone ? 1 : a._shape[i];
  }
  int64_t stride = 1;
  for (int i = a._ndim - 1; i >= 0; --i) {
    const bool gone = axes >> i & 1;
    strides[i] = gone ? 0 : stride;
    if (!gone)
      stride *= a._shape[i];
  }
  return shape;
}

// ------------------------------------------------------------------------------------------------------- positions ---

template <class T> bool is_nan_value(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(x);
  else
    return false;
}

template <class T> struct Best {
  T value;
  int64_t at = -1;
};
template <class T> bool beats(bool largest, const Best<T> &x, const Best<T> &best) {
  if (best.at < 0)
    return true;
  if (is_nan_value(best.value))
    return false;
  return (largest ? x.value > best.value : x.value < best.value) || is_nan_value(x.value);
}

// The position in row-major order of the extreme of all elements.
template <class T> int64_t position_of_all(bool largest, const pg_array &a) {
  const RowPosition kernel = reduce_kernels().position[largest][a._dtype];
  const T *data = static_cast<const T *>(a._data);
  // The axes in their order, neighbours merged where they form a run.
  int64_t lengths[max_dimensions] = {1}, strides[max_dimensions] = {1};
  int count = 0;
  for (int i = 0; i < a._ndim; ++i) {
    if (a._shape[i] == 1)
      continue;
    if (count > 0 && strides[count - 1] == a._strides[i] * a._shape[i]) {
      lengths[count - 1] *= a._shape[i];
    } else {
      lengths[count++] = a._shape[i];
    }
    strides[count - 1] = a._strides[i];
  }
  count = std::max(count, 1);
  const int64_t inner = lengths[count - 1], stride = strides[count - 1];
  const int64_t length = std::max(piece_size, (a._size - 1) / most_pieces + 1);
  Best<T> found[most_pieces];
  core::parallel_ranges(a._size, length, [&](int64_t begin, int64_t end) {
    Best<T> best{};
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner, n = std::min(inner - within, end - i);
      int64_t offset = within * stride, rest = i / inner;
      for (int k = count - 2; k >= 0; --k) {
        offset += rest % lengths[k] * strides[k];
        rest /= lengths[k];
      }
      const int64_t at = kernel(n, data + offset, stride);
      const Best<T> next{data[offset + at * stride], i + at};
      if (beats(largest, next, best))
        best = next;
      i += n;
    }
    found[begin / length] = best;
  });
  Best<T> best{};
  for (int64_t i = 0; i * length < a._size; ++i)
    if (beats(largest, found[i], best))
      best = found[i];
  return best.at;
}

// Complex numbers: one at a time.
template <class T> int64_t complex_position(bool largest, int64_t n, const std::complex<T> *a, int64_t stride) {
  int64_t best = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Complex x(a[i * stride]), b(a[best * stride]);
    if (is_nan(x))
      return i;
    if (largest ? before(b, x) : before(x, b))
      best = i;
  }
  return best;
}

int64_t row_position(bool largest, const pg_array &a, const char *at, int64_t n, int64_t stride) {
  if (a._dtype == PG_COMPLEX64)
    return complex_position(largest, n, reinterpret_cast<const std::complex<float> *>(at), stride);
  if (a._dtype == PG_COMPLEX128)
    return complex_position(largest, n, reinterpret_cast<const std::complex<double> *>(at), stride);
  return reduce_kernels().position[largest][a._dtype](n, at, stride);
}

int64_t position_all(bool largest, const pg_array &a) {
  if (a._size == 0)
    nothing_to_reduce(largest ? "argmax" : "argmin");
  if (is_complex(a._dtype)) {
    const Array row_major = contiguous(a);
    return row_position(largest, *row_major, static_cast<const char *>(row_major->_data), a._size, 1);
  }
  int64_t result = 0;
  visit(a._dtype == PG_BOOL ? int32_t{PG_UINT8} : a._dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_arithmetic_v<T>)
      result = position_of_all<T>(largest, a);
  });
  return result;
}

Array positions(bool largest, const pg_array &a, int32_t axis, bool keepdims, int32_t *collect) {
  int64_t out_strides[max_dimensions];
  const Shape shape = reduced_shape(a, 1u << axis, keepdims, out_strides);
  Array result = create(PG_INT64, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
  const int64_t n = a._shape[axis], stride = a._strides[axis];
  if (result->_size == 0)
    return result;
  if (n == 0)
    nothing_to_reduce(largest ? "argmax" : "argmin");
  Axes kept;
  for (int i = 0; i < a._ndim; ++i)
    if (i != axis)
      kept.add(a._shape[i], a._strides[i], out_strides[i]);
  kept.merge();
  const ColumnPosition columns = reduce_kernels().column_position[largest][a._dtype];
  const bool by_columns =
      columns && kept.inner_in() == 1 && kept.inner_out() == 1 && kept.inner() > 1 && std::abs(stride) != 1;
  const auto element = static_cast<int64_t>(element_size(a._dtype));
  const int64_t tiles = (kept.inner() - 1) / tile_width + 1, outer = kept.size / kept.inner();
  const int64_t work = n * std::min(kept.inner(), tile_width);
  core::parallel_ranges(outer * tiles, std::max<int64_t>(piece_size / work, 1), [&](int64_t begin, int64_t end) {
    alignas(16) char best[tile_width * sizeof(Complex)];
    for (int64_t task = begin; task < end; ++task) {
      int64_t from, to;
      kept.offsets(task / tiles, from, to);
      const int64_t j = task % tiles * tile_width, width = std::min(tile_width, kept.inner() - j);
      const char *at = static_cast<const char *>(a._data) + (from + j * kept.inner_in()) * element;
      int64_t *out = result.data<int64_t>() + to + j * kept.inner_out();
      if (by_columns)
        columns(n, width, at, stride, best, out);
      else
        for (int64_t k = 0; k < width; ++k)
          out[k * kept.inner_out()] = row_position(largest, a, at + k * kept.inner_in() * element, n, stride);
      for (int64_t k = 0; k < width; ++k)
        out[k * kept.inner_out()] += 1; // scripts count from 1
    }
  });
  return result;
}

void require_axis(const pg_array &a, int32_t axis) {
  require_alive(a);
  if (axis < 0 || axis >= a._ndim)
    throw ArgumentError("axis " + std::to_string(axis + 1) + " is out of range for an array of " +
                        std::to_string(a._ndim) + " dimensions");
}

void reduce_all(int32_t op, const pg_array &a, double ddof, void *element, int32_t &dtype) {
  require_alive(a);
  require_op(op, a._dtype);
  const int64_t strides[max_dimensions] = {};
  dtype = reduced_dtype(op, a._dtype);
  // Most often the answer is near the beginning.
  if ((op == PG_REDUCE_ANY || op == PG_REDUCE_ALL) && is_contiguous(a) && !is_complex(a._dtype)) {
    const RowReduce count = reduce_kernels().rows[int(Reduce::count)][a._dtype];
    const bool any = op == PG_REDUCE_ANY;
    bool decided = false;
    for (int64_t begin = 0, n = 512; begin < a._size && !decided; begin += n, n = int64_t{1} << 14) {
      const int64_t length = std::min(n, a._size - begin);
      int64_t found = 0;
      count(length, static_cast<const char *>(a._data) + begin * static_cast<int64_t>(element_size(a._dtype)), 1,
            nullptr, &found);
      decided = any ? found > 0 : found < length;
    }
    *reinterpret_cast<uint8_t *>(element) = decided == any;
    return;
  }
  reduce_into(op, a, 0xff, ddof, dtype, static_cast<char *>(element), strides);
}

} // namespace

int32_t reduced_dtype(int32_t op, int32_t dtype) {
  switch (op) {
  case PG_REDUCE_SUM:
  case PG_REDUCE_NANSUM:
  case PG_REDUCE_PROD: {
    const int32_t raw = raw_dtype(Reduce::sum, dtype);
    return is_integer(raw) ? raw : dtype;
  }
  case PG_REDUCE_MIN:
  case PG_REDUCE_MAX:
  case PG_REDUCE_NANMIN:
  case PG_REDUCE_NANMAX:
    return dtype;
  case PG_REDUCE_ANY:
  case PG_REDUCE_ALL:
    return PG_BOOL;
  case PG_REDUCE_COUNT_NONZERO:
    return PG_INT64;
  case PG_REDUCE_MEAN:
  case PG_REDUCE_NANMEAN:
    return is_integer(dtype) ? int32_t{PG_FLOAT64} : dtype;
  default: // variances of complex numbers are real
    return dtype == PG_FLOAT32 || dtype == PG_COMPLEX64 ? PG_FLOAT32 : PG_FLOAT64;
  }
}

Array reduce(int32_t op, const pg_array &a, uint32_t axes, bool keepdims, double ddof, int32_t *collect) {
  require_alive(a);
  require_op(op, a._dtype);
  int64_t strides[max_dimensions];
  const Shape shape = reduced_shape(a, axes, keepdims, strides);
  const int32_t dtype = reduced_dtype(op, a._dtype);
  Array result = create(dtype, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
  reduce_into(op, a, axes, ddof, dtype, result.data<char>(), strides);
  return result;
}

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

// Per element, for those who watch operations: a variance subtracts, multiplies and adds after the mean.
static double flops_of(int32_t op) {
  return op == PG_REDUCE_VAR || op == PG_REDUCE_STD || op == PG_REDUCE_NANVAR || op == PG_REDUCE_NANSTD ? 4 : 1;
}

extern "C" {

int64_t pg_array_element_size(int32_t dtype) {
  return static_cast<int64_t>(element_size(dtype));
}

int32_t pg_array_reduce(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, int32_t axes, int32_t keepdims,
                        double ddof) {
  return guard([&] {
    *out = reduce(op, *a, static_cast<uint32_t>(axes), keepdims != 0, ddof, collect).detach();
    describe_operation(names[op], flops_of(op), {a, out});
  });
}

int32_t pg_array_reduce_all(int32_t op, const pg_array *a, double ddof, void *element, int32_t *dtype) {
  return guard([&] {
    reduce_all(op, *a, ddof, element, *dtype);
    describe_operation(names[op], flops_of(op), {a});
  });
}

int32_t pg_array_position(pg_array *out, int32_t *collect, int32_t largest, const pg_array *a, int32_t axis,
                          int32_t keepdims) {
  return guard([&] {
    require_axis(*a, axis);
    *out = positions(largest != 0, *a, axis, keepdims != 0, collect).detach();
    describe_operation(largest ? "argmax" : "argmin", 1, {a, out});
  });
}

int32_t pg_array_position_all(int32_t largest, const pg_array *a, int64_t *position) {
  return guard([&] {
    require_alive(*a);
    *position = position_all(largest != 0, *a) + 1;
    describe_operation(largest ? "argmax" : "argmin", 1, {a});
  });
}
}
