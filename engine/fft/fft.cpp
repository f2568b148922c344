// Fourier transforms by FFTW3, one axis after the other.
#include "array/array.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <fftw3.h>
#include <list>
#include <memory>
#include <mutex>
#include <type_traits>

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
  static constexpr auto init_threads = fftw_init_threads;
  static constexpr auto use_threads = fftw_plan_with_nthreads;
  static constexpr auto set_loop = fftw_threads_set_callback;
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
  static constexpr auto init_threads = fftwf_init_threads;
  static constexpr auto use_threads = fftwf_plan_with_nthreads;
  static constexpr auto set_loop = fftwf_threads_set_callback;
};

// FFTW's planner is not thread-safe; running a plan is.
std::mutex planner;

// Jobs into which FFTW splits one long transform. Always as many, on one thread too (which costs nothing there), since
// another number is another plan, with other last digits.
constexpr int jobs = 8;
constexpr int64_t long_transform = 32768;

// How FFTW runs its jobs: in the engine's thread budget.
void run_jobs(void *(*work)(char *), char *data, std::size_t size, int count, void *) {
  core::parallel_ranges(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      work(data + static_cast<std::size_t>(i) * size);
  });
}

// What a plan is for: `lines` transforms of `n` numbers that lie side by side, distances between lines in elements.
// Lines begin at multiples of 16 bytes, as FFTW's vector code wants it.
struct Shape {
  int kind;
  bool in_place, threaded;
  int64_t n, lines, in_distance, out_distance;
  bool operator==(const Shape &) const = default;
};

// Plans are kept: making one costs more than running it below some ten thousand elements. They are estimated, not
// measured: measuring takes seconds from 1e5 elements on, and the winner, and with it the last digits of results, would
// change from run to run.
template <class R> class Plans {
  using F = Fftw<R>;

 public:
  using Plan = std::shared_ptr<std::remove_pointer_t<typename F::Plan>>;
  static Plan get(const Shape &shape) {
    const std::lock_guard lock(planner);
    static Plans plans;
    auto &kept = plans.kept_;
    for (auto i = kept.begin(); i != kept.end(); ++i)
      if (i->first == shape) {
        kept.splice(kept.begin(), kept, i);
        return kept.front().second;
      }
    const Plan plan(make(shape), [](typename F::Plan p) { F::destroy(p); });
    if (!plan)
      throw InternalError("FFTW has no plan for this transform");
    kept.emplace_front(shape, plan);
    plans.points_ += shape.n;
    // A plan holds about as many numbers as its line. Destroyed here, under the lock, unless a thread still runs it:
    // then by a later call.
    while (kept.size() > 64 || (plans.points_ > most_points && kept.size() > 1)) {
      plans.points_ -= kept.back().first.n;
      plans.retired_.splice(plans.retired_.end(), kept, std::prev(kept.end()));
    }
    plans.retired_.remove_if([](const auto &old) { return old.second.use_count() == 1; });
    return plan;
  }

 private:
  static constexpr int64_t most_points = int64_t{1} << 22;
  using List = std::list<std::pair<Shape, Plan>>;
  List kept_, retired_; // the last used first
  int64_t points_ = 0;

  Plans() {
    F::init_threads();
    F::set_loop(run_jobs, nullptr);
  }
  static typename F::Plan make(const Shape &s) {
    using C = typename F::Complex;
    // What is estimated is not touched: the planner looks at alignment, and whether the two are the same.
    alignas(64) static R places[64];
    R *in = places, *out = s.in_place ? in : places + 32;
    const typename F::Dim one{s.n, 1, 1}, many{s.lines, s.in_distance, s.out_distance};
    F::use_threads(s.threaded ? jobs : 1);
    switch (s.kind) {
    case PG_FFT_REAL:
      return F::real(1, &one, 1, &many, in, reinterpret_cast<C *>(out), FFTW_ESTIMATE);
    case PG_FFT_TO_REAL:
      return F::to_real(1, &one, 1, &many, reinterpret_cast<C *>(in), out, FFTW_ESTIMATE);
    default:
      return F::dft(1, &one, 1, &many, reinterpret_cast<C *>(in), reinterpret_cast<C *>(out),
                    s.kind == PG_FFT_FORWARD ? FFTW_FORWARD : FFTW_BACKWARD, FFTW_ESTIMATE);
    }
  }
};

template <class R> void execute(const typename Plans<R>::Plan &plan, int kind, void *in, void *out) {
  using F = Fftw<R>;
  using C = typename F::Complex;
  if (kind == PG_FFT_REAL)
    F::run_real(plan.get(), static_cast<R *>(in), static_cast<C *>(out));
  else if (kind == PG_FFT_TO_REAL)
    F::run_to_real(plan.get(), static_cast<C *>(in), static_cast<R *>(out));
  else
    F::run(plan.get(), static_cast<C *>(in), static_cast<C *>(out));
}

template <class R> constexpr int32_t real_dtype = std::is_same_v<R, float> ? PG_FLOAT32 : PG_FLOAT64;
template <class R> constexpr int32_t complex_dtype = std::is_same_v<R, float> ? PG_COMPLEX64 : PG_COMPLEX128;

// Transforms along one axis of an array. Lines that lie side by side are transformed where they are. Others, those that
// are to be filled up or converted, and those that FFTW would overwrite, are gathered into a buffer, a few at a time,
// and scattered from there: FFTW itself, told of strides that are a power of two, is 5 to 15 times slower.
template <class R> class Pass {
  using C = std::complex<R>;

 public:
  int kind;
  int64_t n;       // length of the transform
  int64_t given;   // numbers of the input to take along the axis; the rest is zeros
  bool real_input; // as opposed to complex
  const void *in;
  void *out;
  int64_t in_stride, out_stride; // along the axis
  // What is done to the results, once they are there.
  R scale = 1;
  bool conjugate = false;
  bool full = false; // of REAL: the rest of the spectrum too

  // Another axis of the array.
  void repeat(int64_t length, int64_t in_step, int64_t out_step) {
    if (length == 1)
      return;
    if (others_ > 0) { // the previous and this one as one, where they run on
      Axis &last = other_[others_ - 1];
      if (last.in == in_step * length && last.out == out_step * length) {
        last = {last.length * length, in_step, out_step};
        return;
      }
    }
    other_[others_++] = {length, in_step, out_step};
  }

  void run() {
    needed_ = kind == PG_FFT_TO_REAL ? n / 2 + 1 : n;
    made_ = kind == PG_FFT_REAL ? n / 2 + 1 : n;
    const bool converts = real_input && kind != PG_FFT_REAL;
    gathers_ = converts || kind == PG_FFT_TO_REAL || given < needed_ || (in_stride != 1 && needed_ > 1) ||
               !aligned(in, real_input ? sizeof(R) : sizeof(C), &Axis::in);
    scatters_ =
        (out_stride != 1 && made_ > 1) || !aligned(out, kind == PG_FFT_TO_REAL ? sizeof(R) : sizeof(C), &Axis::out);
    choose_lane();
    // Complex numbers a line in the buffer: whole cache lines, but no power of two of them.
    const int64_t per_cache_line = 64 / static_cast<int64_t>(sizeof(C));
    const int64_t numbers = std::max(kind == PG_FFT_REAL || kind == PG_FFT_TO_REAL ? n / 2 + 1 : n, int64_t{1});
    leading_ = ((numbers + per_cache_line - 1) / per_cache_line | 1) * per_cache_line;

    int64_t lines = lane_.length;
    for (int i = 0; i < others_; ++i)
      lines *= other_[i].length;
    if (lines == 0)
      return;
    const bool strided = in_stride != 1 || out_stride != 1;
    const bool threaded = n >= long_transform && lines < jobs;
    int64_t together = threaded ? 1
                       : !gathers_ && !scatters_
                           ? std::max<int64_t>(16384 / n, 1)
                           : std::clamp<int64_t>(32768 / leading_, strided ? per_cache_line : 1, 32);
    together = std::min(together, lane_.length);
    const int64_t groups_a_lane = (lane_.length + together - 1) / together;
    const int64_t groups = lines / lane_.length * groups_a_lane;
    const int64_t rest = lane_.length - (groups_a_lane - 1) * together; // lines of the last group
    const auto whole = plan(together, threaded), last = rest == together ? whole : plan(rest, threaded);
    auto work = [&](int64_t begin, int64_t end) {
      Array buffer;
      C *scratch = nullptr;
      if (gathers_ || scatters_) {
        const int64_t size = together * leading_;
        buffer = array::create(complex_dtype<R>, {&size, 1}, false);
        scratch = buffer.data<C>();
      }
      for (int64_t group = begin; group < end; ++group) {
        const int64_t number = group % groups_a_lane, count = number == groups_a_lane - 1 ? rest : together;
        int64_t in_at = number * together * lane_.in, out_at = number * together * lane_.out;
        for (int64_t i = others_, index = group / groups_a_lane; i-- > 0; index /= other_[i].length) {
          in_at += index % other_[i].length * other_[i].in;
          out_at += index % other_[i].length * other_[i].out;
        }
        if (gathers_)
          gather(in_at, scratch, count);
        execute<R>(count == together ? whole : last, kind, gathers_ ? scratch : input(in_at),
                   scatters_ ? scratch : output(out_at));
        if (scatters_)
          scatter(scratch, out_at, count);
        else
          change(static_cast<R *>(output(out_at)), count, kind == PG_FFT_TO_REAL ? lane_.out : 2 * lane_.out);
        if (full)
          mirror(out_at, count);
      }
    };
    if (threaded)
      work(0, groups);
    else
      core::parallel_ranges(groups, std::max((long_transform - 1) / (together * n) + 1, (groups - 1) / 64 + 1), work);
  }

 private:
  struct Axis {
    int64_t length, in, out;
  };
  Axis other_[array::max_dimensions];
  Axis lane_{1, 0, 0}; // that along which lines are taken together
  int others_ = 0;
  bool gathers_, scatters_;
  int64_t needed_, made_, leading_;

  void *input(int64_t at) const {
    return real_input ? const_cast<void *>(static_cast<const void *>(static_cast<const R *>(in) + at))
                      : const_cast<void *>(static_cast<const void *>(static_cast<const C *>(in) + at));
  }
  void *output(int64_t at) const {
    return kind == PG_FFT_TO_REAL ? static_cast<void *>(static_cast<R *>(out) + at)
                                  : static_cast<void *>(static_cast<C *>(out) + at);
  }
  bool aligned(const void *data, std::size_t size, int64_t Axis::*step) const {
    bool all = reinterpret_cast<uintptr_t>(data) % 16 == 0;
    for (int i = 0; i < others_; ++i)
      all = all && other_[i].*step * static_cast<int64_t>(size) % 16 == 0;
    return all;
  }
  // Neighbours in memory, so that what is gathered comes in whole cache lines.
  void choose_lane() {
    if (others_ == 0)
      return;
    const auto step = gathers_ ? &Axis::in : &Axis::out;
    int best = others_ - 1;
    for (int i = others_ - 1; i-- > 0;)
      if (std::abs(other_[i].*step) < std::abs(other_[best].*step))
        best = i;
    lane_ = other_[best];
    std::copy(other_ + best + 1, other_ + others_, other_ + best);
    --others_;
  }

  auto plan(int64_t lines, bool threaded) const {
    const bool in_place = gathers_ == scatters_ && (gathers_ || in == out);
    // (Distances in the buffer are those of complex numbers; two real ones take the place of one.)
    const int64_t in_distance = !gathers_ ? lane_.in : kind == PG_FFT_REAL ? 2 * leading_ : leading_;
    const int64_t out_distance = !scatters_ ? lane_.out : kind == PG_FFT_TO_REAL ? 2 * leading_ : leading_;
    return Plans<R>::get(
        {kind, in_place, threaded, n, lines, lines == 1 ? 0 : in_distance, lines == 1 ? 0 : out_distance});
  }

  // Calls body(number, line). Where memory runs across the lines, a few numbers of all of them at a time: whole cache
  // lines are read, and whole ones written.
  template <class Body>
  static void each(int64_t begin, int64_t end, int64_t lines, int64_t step, int64_t distance, Body &&body) {
    const int64_t tile = lines == 1 || std::abs(step) <= std::abs(distance) ? end - begin : 8;
    for (int64_t from = begin; from < end; from += tile) {
      const int64_t to = std::min(from + tile, end);
      for (int64_t j = 0; j < lines; ++j)
        for (int64_t i = from; i < to; ++i)
          body(i, j);
    }
  }

  template <class From, class To> void gather(const From *from, To *to, int64_t line_length, int64_t lines) const {
    const int64_t step = in_stride, distance = lane_.in;
    core::parallel_ranges(std::min(given, needed_), 1 << 17, [=](int64_t begin, int64_t end) {
      each(begin, end, lines, step, distance,
           [=](int64_t i, int64_t j) { to[j * line_length + i] = To(from[j * distance + i * step]); });
    });
    for (int64_t j = 0; given < needed_ && j < lines; ++j)
      std::fill(to + j * line_length + given, to + j * line_length + needed_, To{});
  }
  void gather(int64_t at, C *buffer, int64_t lines) const {
    if (!real_input)
      gather(static_cast<const C *>(in) + at, buffer, leading_, lines);
    else if (kind == PG_FFT_REAL)
      gather(static_cast<const R *>(in) + at, reinterpret_cast<R *>(buffer), 2 * leading_, lines);
    else
      gather(static_cast<const R *>(in) + at, buffer, leading_, lines);
  }

  template <class T> void scatter(const T *from, T *to, int64_t line_length, int64_t lines) const {
    core::parallel_ranges(made_, 1 << 17, [&](int64_t begin, int64_t end) {
      each(begin, end, lines, out_stride, lane_.out,
           [&](int64_t i, int64_t j) { to[j * lane_.out + i * out_stride] = from[j * line_length + i]; });
    });
  }
  void scatter(C *buffer, int64_t at, int64_t lines) const {
    change(reinterpret_cast<R *>(buffer), lines, 2 * leading_);
    if (kind == PG_FFT_TO_REAL)
      scatter(reinterpret_cast<R *>(buffer), static_cast<R *>(out) + at, 2 * leading_, lines);
    else
      scatter(buffer, static_cast<C *>(out) + at, leading_, lines);
  }

  // Scales and conjugates results that lie side by side: of each line made_ numbers.
  void change(R *values, int64_t lines, int64_t distance) const {
    if (scale == 1 && !conjugate)
      return;
    const int64_t numbers = kind == PG_FFT_TO_REAL ? made_ : 2 * made_;
    for (int64_t j = 0; j < lines; ++j) {
      R *line = values + j * distance;
      core::parallel_ranges(numbers, 1 << 17, [&](int64_t begin, int64_t end) {
        if (conjugate)
          for (int64_t i = begin; i < end; i += 2) {
            line[i] *= scale;
            line[i + 1] *= -scale;
          }
        else
          for (int64_t i = begin; i < end; ++i)
            line[i] *= scale;
      });
    }
  }

  // X[-k] is the conjugate of X[k].
  void mirror(int64_t at, int64_t lines) const {
    C *to = static_cast<C *>(out) + at;
    const int64_t length = n, made = made_, step = out_stride, distance = lane_.out;
    core::parallel_ranges(length - made, 1 << 16, [=](int64_t begin, int64_t end) {
      each(made + begin, made + end, lines, step, distance, [=](int64_t k, int64_t j) {
        to[j * distance + k * step] = std::conj(to[j * distance + (length - k) * step]);
      });
    });
  }
};

// The part of a real array's transform along several axes that its half along the last of them determines: X[-k] is
// the conjugate of X[k].
template <class R> void complete(const pg_array &out, const bool *transformed, int last) {
  using C = std::complex<R>;
  int64_t rows = 1;
  for (int d = 0; d < out._ndim; ++d)
    rows *= d == last ? 1 : out._shape[d];
  const int64_t n = out._shape[last], stride = out._strides[last];
  C *data = static_cast<C *>(out._data);
  core::parallel_ranges(rows, std::max<int64_t>(1, 65536 / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t to = 0, from = 0, rest = row;
      for (int d = out._ndim; d-- > 0;) {
        if (d == last)
          continue;
        const int64_t length = out._shape[d], i = rest % length;
        rest /= length;
        to += i * out._strides[d];
        from += (transformed[d] && i > 0 ? length - i : i) * out._strides[d];
      }
      for (int64_t k = n / 2 + 1; k < n; ++k)
        data[to + k * stride] = std::conj(data[from + (n - k) * stride]);
    }
  });
}

template <class R>
Array transform(const pg_array &a, int32_t *collect, int kind, int count, const int32_t *axes, const int64_t *lengths,
                R scale) {
  const int last = axes[count - 1];
  const std::size_t rank = static_cast<std::size_t>(a._ndim);
  const bool real_input = !array::is_complex(a._dtype), to_real = kind == PG_FFT_TO_REAL;
  // A real array's full spectrum is half of it, and the conjugates of that.
  const bool full = real_input && (kind == PG_FFT_FORWARD || kind == PG_FFT_BACKWARD);
  int64_t shape[array::max_dimensions];
  bool transformed[array::max_dimensions] = {};
  std::copy_n(a._shape, rank, shape);
  for (int i = 0; i < count; ++i) {
    shape[axes[i]] = lengths[i];
    transformed[axes[i]] = true;
  }
  const int64_t n = lengths[count - 1];
  if (kind == PG_FFT_REAL)
    shape[last] = n / 2 + 1;
  Array out = array::create(to_real ? real_dtype<R> : complex_dtype<R>, {shape, rank}, false, collect);
  if (out->_size == 0)
    return out;
  Array half; // of several axes to real numbers: what there is before the last of them
  if (to_real && count > 1) {
    shape[last] = std::min(n / 2 + 1, a._shape[last]);
    half = array::create(complex_dtype<R>, {shape, rank}, false, collect);
  }

  // How far each axis has been filled so far. Those still to be transformed are not filled up before.
  int64_t extent[array::max_dimensions];
  std::copy_n(a._shape, rank, extent);
  for (int i = 0; i < count; ++i)
    extent[axes[i]] = std::min(extent[axes[i]], to_real && i == count - 1 ? n / 2 + 1 : lengths[i]);
  // The last axis first, but for transforms to real numbers: there it is the last one.
  const pg_array *from = &a;
  for (int step = 0; step < count; ++step) {
    const int which = to_real ? step : count - 1 - step, axis = axes[which];
    const pg_array &to = to_real && axis != last ? *half : *out;
    Pass<R> pass;
    pass.kind = kind;
    if (axis == last && full)
      pass.kind = PG_FFT_REAL;
    else if (axis != last && kind != PG_FFT_BACKWARD)
      pass.kind = to_real ? PG_FFT_BACKWARD : PG_FFT_FORWARD;
    else if (axis != last && full)
      pass.kind = PG_FFT_FORWARD;
    pass.n = lengths[which];
    pass.given = extent[axis];
    pass.real_input = !array::is_complex(from->_dtype);
    pass.in = from->_data;
    pass.out = to._data;
    pass.in_stride = from->_strides[axis];
    pass.out_stride = to._strides[axis];
    if (step == count - 1) {
      pass.scale = scale;
      pass.conjugate = full && kind == PG_FFT_BACKWARD; // the above goes forward
    }
    pass.full = full && count == 1;
    for (int d = 0; d < a._ndim; ++d)
      if (d != axis)
        pass.repeat(extent[d], from->_strides[d], to._strides[d]);
    pass.run();
    extent[axis] = pass.kind == PG_FFT_REAL && !pass.full ? pass.n / 2 + 1 : pass.n;
    from = &to;
  }
  if (full && count > 1)
    complete<R>(*out, transformed, last);
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
    if (operations_watched()) { // 5 n log2 n operations, half of that for real ones (FFTW's convention)
      double steps = 0;
      for (int32_t i = 0; i < count; ++i)
        steps += std::log2(std::max(1.0, static_cast<double>(lengths[i])));
      const bool real = !array::is_complex(a->_dtype) || !array::is_complex(out->_dtype);
      array::describe_operation("fft", (real ? 2.5 : 5) * steps, {out, a});
    }
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
