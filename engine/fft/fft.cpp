// Fourier transforms by FFTW3. Views are transformed where they lie (FFTW takes any strides); what has to be cut out,
// filled up or converted is copied first.
#include "array/array.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <complex>
#include <cstring>
#include <fftw3.h>
#include <list>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#pragma GCC visibility push(default)
extern "C" {
#include "fft/fft_abi.h"
}
#pragma GCC visibility pop

namespace perigee::fft {
namespace {

using array::Array;

// FFTW by precision.
template <class R> struct Fftw;
template <> struct Fftw<double> {
  using Plan = fftw_plan;
  using Complex = fftw_complex;
  using Dim = fftw_iodim64;
  static constexpr auto dft = fftw_plan_guru64_dft;
  static constexpr auto real = fftw_plan_guru64_dft_r2c;
  static constexpr auto to_real = fftw_plan_guru64_dft_c2r;
  static constexpr auto run = fftw_execute_dft;
  static constexpr auto run_real = fftw_execute_dft_r2c;
  static constexpr auto run_to_real = fftw_execute_dft_c2r;
  static constexpr auto destroy = fftw_destroy_plan;
  static constexpr auto alignment = fftw_alignment_of;
};
template <> struct Fftw<float> {
  using Plan = fftwf_plan;
  using Complex = fftwf_complex;
  using Dim = fftwf_iodim64;
  static constexpr auto dft = fftwf_plan_guru64_dft;
  static constexpr auto real = fftwf_plan_guru64_dft_r2c;
  static constexpr auto to_real = fftwf_plan_guru64_dft_c2r;
  static constexpr auto run = fftwf_execute_dft;
  static constexpr auto run_real = fftwf_execute_dft_r2c;
  static constexpr auto run_to_real = fftwf_execute_dft_c2r;
  static constexpr auto destroy = fftwf_destroy_plan;
  static constexpr auto alignment = fftwf_alignment_of;
};

// FFTW's planner is not thread-safe; running a plan is.
std::mutex planner;

// One transform of several axes, repeated along the others. Lengths are those of the real or full side.
template <class R> struct Layout { std::vector<typename Fftw<R>::Dim> axes, repeated; };

// Plans are kept: making one costs more than running it below some ten thousand elements. They are estimated, not
// measured: measuring takes seconds from 1e5 elements on, and the winner, and with it the last digits of results, would
// change from run to run.
template <class R> class Plans {
  using F = Fftw<R>;

 public:
  using Plan = std::shared_ptr<std::remove_pointer_t<typename F::Plan>>;
  static Plan get(int kind, const Layout<R> &layout, void *in, void *out) {
    static Plans plans;
    std::vector<int64_t> key{kind, in == out, F::alignment(static_cast<R *>(in)), F::alignment(static_cast<R *>(out)),
                             static_cast<int64_t>(layout.axes.size())};
    for (const auto *dims : {&layout.axes, &layout.repeated})
      for (const auto &d : *dims)
        key.insert(key.end(), {d.n, d.is, d.os});
    const std::lock_guard lock(planner);
    auto &kept = plans.kept_;
    for (auto i = kept.begin(); i != kept.end(); ++i)
      if (i->first == key) {
        kept.splice(kept.begin(), kept, i);
        return kept.front().second;
      }
    const Plan plan(make(kind, layout, in, out), [](typename F::Plan p) { F::destroy(p); });
    if (!plan)
      throw InternalError("FFTW has no plan for this transform");
    kept.emplace_front(std::move(key), plan);
    if (kept.size() > 32) {
      // Destroyed here, under the lock, unless a thread still runs it: then the deleter waits for that thread's get.
      retired().splice(retired().end(), kept, std::prev(kept.end()));
    }
    retired().remove_if([](const auto &old) { return old.second.use_count() == 1; });
    return plan;
  }

 private:
  using List = std::list<std::pair<std::vector<int64_t>, Plan>>;
  List kept_; // the last used first
  static List &retired() {
    static List list;
    return list;
  }
  static typename F::Plan make(int kind, const Layout<R> &layout, void *in, void *out) {
    const int rank = static_cast<int>(layout.axes.size()), repeats = static_cast<int>(layout.repeated.size());
    auto *dims = layout.axes.data();
    auto *repeated = layout.repeated.data();
    using C = typename F::Complex;
    switch (kind) {
    case PG_FFT_REAL:
      return F::real(rank, dims, repeats, repeated, static_cast<R *>(in), static_cast<C *>(out), FFTW_ESTIMATE);
    case PG_FFT_TO_REAL:
      return F::to_real(rank, dims, repeats, repeated, static_cast<C *>(in), static_cast<R *>(out), FFTW_ESTIMATE);
    default:
      return F::dft(rank, dims, repeats, repeated, static_cast<C *>(in), static_cast<C *>(out),
                    kind == PG_FFT_FORWARD ? FFTW_FORWARD : FFTW_BACKWARD, FFTW_ESTIMATE);
    }
  }
};

template <class R> void run(int kind, const Layout<R> &layout, void *in, void *out) {
  using F = Fftw<R>;
  using C = typename F::Complex;
  const auto plan = Plans<R>::get(kind, layout, in, out);
  if (kind == PG_FFT_REAL)
    F::run_real(plan.get(), static_cast<R *>(in), static_cast<C *>(out));
  else if (kind == PG_FFT_TO_REAL)
    F::run_to_real(plan.get(), static_cast<C *>(in), static_cast<R *>(out));
  else
    F::run(plan.get(), static_cast<C *>(in), static_cast<C *>(out));
}

constexpr bool is_complex(int32_t dtype) {
  return dtype == PG_COMPLEX64 || dtype == PG_COMPLEX128;
}

template <class R> constexpr int32_t real_dtype = std::is_same_v<R, float> ? PG_FLOAT32 : PG_FLOAT64;
template <class R> constexpr int32_t complex_dtype = std::is_same_v<R, float> ? PG_COMPLEX64 : PG_COMPLEX128;

// Copies the corner that both have; `to` is row-major.
template <class From, class To>
void copy_corner(const pg_array &a, const From *from, const pg_array &b, To *to, int d) {
  if (d == a._ndim) {
    *to = To(*from);
    return;
  }
  const int64_t n = std::min(a._shape[d], b._shape[d]);
  if (d == a._ndim - 1) {
    for (int64_t i = 0; i < n; ++i)
      to[i] = To(from[i * a._strides[d]]);
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    copy_corner(a, from + i * a._strides[d], b, to + i * b._strides[d], d + 1);
}

template <class R> Array copied(const pg_array &a, int32_t dtype, std::span<const int64_t> shape, int32_t *collect) {
  bool grows = false;
  for (int d = 0; d < a._ndim; ++d)
    grows = grows || shape[static_cast<std::size_t>(d)] > a._shape[d];
  Array copy = array::create(dtype, shape, grows, collect);
  using C = std::complex<R>;
  if (a._size == 0)
    return copy;
  if (is_complex(a._dtype))
    copy_corner(a, static_cast<const C *>(a._data), *copy, copy.data<C>(), 0);
  else if (is_complex(dtype))
    copy_corner(a, static_cast<const R *>(a._data), *copy, copy.data<C>(), 0);
  else
    copy_corner(a, static_cast<const R *>(a._data), *copy, copy.data<R>(), 0);
  return copy;
}

// The part of a real array's transform that the other half determines: X[-k] is the conjugate of X[k]. `negative` is
// where the row of the negated indices of the other axes starts.
template <class R>
void complete(const pg_array &out, std::complex<R> *row, const std::complex<R> *negative, const bool *transformed,
              int d, int last) {
  if (d == out._ndim) {
    const int64_t n = out._shape[last], stride = out._strides[last];
    for (int64_t k = n / 2 + 1; k < n; ++k)
      row[k * stride] = std::conj(negative[(n - k) * stride]);
    return;
  }
  if (d == last)
    return complete(out, row, negative, transformed, d + 1, last);
  const int64_t n = out._shape[d], stride = out._strides[d];
  for (int64_t i = 0; i < n; ++i)
    complete(out, row + i * stride,
             negative + (transformed[d] && i > 0 ? n - i
                         : transformed[d]        ? 0
                                                 : i) *
                            stride,
             transformed, d + 1, last);
}

template <class R>
Array transform(const pg_array &a, int32_t *collect, int kind, int count, const int32_t *axes, const int64_t *lengths,
                R scale) {
  using C = std::complex<R>;
  const int last = axes[count - 1];
  const std::size_t rank = static_cast<std::size_t>(a._ndim);
  int64_t needed[array::max_dimensions], result[array::max_dimensions]; // shapes of what is read and written
  bool transformed[array::max_dimensions] = {};
  std::copy_n(a._shape, rank, needed);
  for (int i = 0; i < count; ++i) {
    needed[axes[i]] = lengths[i];
    transformed[axes[i]] = true;
  }
  std::copy_n(needed, rank, result);
  const int64_t n = lengths[count - 1];
  if (kind == PG_FFT_REAL)
    result[last] = n / 2 + 1;
  if (kind == PG_FFT_TO_REAL)
    needed[last] = n / 2 + 1;
  Array out = array::create(kind == PG_FFT_TO_REAL ? real_dtype<R> : complex_dtype<R>, {result, rank}, false, collect);
  if (out->_size == 0)
    return out;

  // Read in place, or copy what is to be padded, converted, or (complex to real) overwritten by FFTW.
  bool copy = kind == PG_FFT_TO_REAL;
  for (int d = 0; d < a._ndim; ++d)
    copy = copy || needed[d] > a._shape[d];
  Array own;
  const pg_array *in = &a;
  if (copy) {
    own = copied<R>(a, kind == PG_FFT_TO_REAL ? complex_dtype<R> : a._dtype, {needed, rank}, collect);
    in = &*own;
  }

  const auto layout = [&](const pg_array &from, const int64_t *shape, bool only_last) {
    Layout<R> l;
    for (int i = only_last ? count - 1 : 0; i < count; ++i)
      l.axes.push_back({lengths[i], from._strides[axes[i]], out->_strides[axes[i]]});
    for (int d = 0; d < a._ndim; ++d)
      if (!transformed[d] || (only_last && d != last))
        if (shape[d] != 1)
          l.repeated.push_back({shape[d], from._strides[d], out->_strides[d]});
    return l;
  };
  if (kind == PG_FFT_REAL || kind == PG_FFT_TO_REAL || is_complex(in->_dtype)) {
    run<R>(kind, layout(*in, kind == PG_FFT_TO_REAL ? result : needed, false), in->_data, out->_data);
  } else { // a real array to all of its spectrum: half of it, then the conjugates
    run<R>(PG_FFT_REAL, layout(*in, needed, false), in->_data, out->_data);
    complete<R>(*out, out.data<C>(), out.data<C>(), transformed, 0, last);
  }

  const bool conjugate = kind == PG_FFT_BACKWARD && !is_complex(in->_dtype); // the above went forward
  if (scale != 1 || conjugate) {
    const int64_t size = out->_size * (kind == PG_FFT_TO_REAL ? 1 : 2);
    R *values = out.data<R>();
    if (conjugate)
      for (int64_t i = 0; i < size; i += 2) {
        values[i] *= scale;
        values[i + 1] *= -scale;
      }
    else
      for (int64_t i = 0; i < size; ++i)
        values[i] *= scale;
  }
  return out;
}

void roll(const pg_array &a, const char *from, char *to, const pg_array &out, const int64_t *shifts, std::size_t bytes,
          int d) {
  if (d == a._ndim) {
    std::memcpy(to, from, bytes);
    return;
  }
  const int64_t n = a._shape[d], size = static_cast<int64_t>(bytes);
  const int64_t shift = shifts[d];
  if (d == a._ndim - 1 && a._strides[d] == 1) {
    std::memcpy(to + shift * size, from, static_cast<std::size_t>(n - shift) * bytes);
    std::memcpy(to, from + (n - shift) * size, static_cast<std::size_t>(shift) * bytes);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int64_t target = i + shift < n ? i + shift : i + shift - n;
    roll(a, from + i * a._strides[d] * size, to + target * out._strides[d] * size, out, shifts, bytes, d + 1);
  }
}

} // namespace
} // namespace perigee::fft

using namespace perigee;

int32_t pg_fft_transform(pg_array *out, int32_t *collect, const pg_array *a, int32_t kind, int32_t count,
                         const int32_t *axes, const int64_t *lengths, double scale) {
  return guard([&] {
    const bool single = a->_dtype == PG_FLOAT32 || a->_dtype == PG_COMPLEX64;
    array::Array own;
    if (!single && a->_dtype != PG_FLOAT64 && a->_dtype != PG_COMPLEX128) {
      own = array::copy(*a, PG_FLOAT64, collect);
      a = own.get();
    }
    *out = (single ? fft::transform<float>(*a, collect, kind, count, axes, lengths, static_cast<float>(scale))
                   : fft::transform<double>(*a, collect, kind, count, axes, lengths, scale))
               .detach();
  });
}

int32_t pg_fft_roll(pg_array *out, int32_t *collect, const pg_array *a, const int64_t *shifts) {
  return guard([&] {
    array::Array rolled = array::create(a->_dtype, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    if (a->_size > 0)
      fft::roll(*a, static_cast<const char *>(a->_data), rolled.data<char>(), *rolled, shifts,
                array::element_size(a->_dtype), 0);
    *out = rolled.detach();
  });
}
