// Every elementwise kernel of every instruction set, against the baseline's kernel called for one element at a time,
// which is its scalar code: all lengths up to several vectors and a tail, misaligned starts, strides, single elements
// as operands, results over operands, special values; and bytes around the outputs that must stay as they are.
#include <catch2/catch.hpp>

#include "array/kernels.hpp"
#include "core/isa.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace perigee;
using namespace perigee::array;

namespace {

constexpr int64_t longest = 257;
constexpr int64_t room = 3 * longest + 16; // elements of a buffer: steps of 3, and a misaligned start
constexpr std::size_t margin = 64;
constexpr unsigned char sentinel = 0xa5;

// All up to more than a vector of 64 bytes, and some of several vectors.
std::vector<int64_t> all_lengths() {
  std::vector<int64_t> lengths{127, 128, 131, 192, 200, longest};
  for (int64_t n = 0; n <= 70; ++n)
    lengths.push_back(n);
  return lengths;
}

std::vector<const Kernels *> all_kernels() {
  std::vector<const Kernels *> all{&baseline_kernels()};
#if defined(__x86_64__)
  if (has_isa(Isa::avx2))
    all.push_back(&avx2_kernels());
  if (has_isa(Isa::avx512))
    all.push_back(&avx512_kernels());
#endif
  return all;
}

std::size_t size_of(int32_t dtype) {
  return element_size(dtype);
}

template <class T> void put(unsigned char *to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// A value of this dtype: one in three is special.
void put_value(unsigned char *to, int32_t dtype, std::mt19937_64 &generator) {
  const uint64_t bits = generator();
  if (dtype == PG_BOOL) {
    *to = bits & 1;
  } else if (is_complex(dtype)) {
    const int32_t part = dtype == PG_COMPLEX64 ? PG_FLOAT32 : PG_FLOAT64;
    put_value(to, part, generator);
    put_value(to + size_of(part), part, generator);
  } else if (is_float(dtype)) {
    using Double = std::numeric_limits<double>;
    using Float = std::numeric_limits<float>;
    const bool narrow = dtype == PG_FLOAT32;
    const double specials[] = {0.0,
                               -0.0,
                               1.0,
                               -1.0,
                               2.0,
                               0.5,
                               INFINITY,
                               -INFINITY,
                               NAN,
                               narrow ? Float::denorm_min() : Double::denorm_min(),
                               narrow ? -Float::min() / 2 : -Double::min() / 2,
                               narrow ? Float::max() : Double::max(),
                               narrow ? -Float::max() : -Double::max(),
                               2147483648.0,
                               -2147483649.0,
                               9223372036854775808.0,
                               255.5,
                               -0.5};
    double value = std::normal_distribution<double>(0, 100)(generator);
    if (bits % 3 == 0)
      value = specials[bits / 3 % std::size(specials)];
    narrow ? put(to, static_cast<float>(value)) : put(to, value);
  } else {
    const std::size_t size = size_of(dtype);
    uint64_t value = bits % 3 == 1 ? generator() % 200 - 100 : generator();
    if (bits % 3 == 0) {
      const uint64_t top = uint64_t{1} << (8 * size - 1); // the lowest of the signed, half of the unsigned
      const uint64_t specials[] = {0, 1, ~uint64_t{0}, top, top - 1, 2, 8 * size, 8 * size - 1};
      value = specials[bits / 3 % std::size(specials)];
    }
    std::memcpy(to, &value, size);
  }
}

// Elements with a margin on both sides.
struct Elements {
  int32_t dtype;
  std::vector<unsigned char> bytes;

  explicit Elements(int32_t dtype_) : dtype(dtype_), bytes(room * size_of(dtype_) + 2 * margin, sentinel) {}
  Elements(int32_t dtype_, unsigned seed) : Elements(dtype_) {
    std::mt19937_64 generator(seed);
    for (int64_t i = 0; i < room; ++i)
      put_value(at(i), dtype, generator);
  }
  unsigned char *at(int64_t i) { return bytes.data() + margin + static_cast<std::size_t>(i) * size_of(dtype); }
};

// How an operand lies: the first element, and the step from one to the next.
struct Layout {
  int64_t start, step;
  int64_t first(int64_t n) const { return step < 0 ? start - step * (n - 1) : start; }
  int64_t element(int64_t n, int64_t i) const { return first(n) + i * step; }
};

// By operand: the inputs, then the output. Starts that are odd for every vector, different ones for each.
constexpr Layout layouts[][4] = {
    {{1, 1}, {2, 1}, {3, 0}, {5, 1}},  {{0, 1}, {0, 1}, {0, 1}, {0, 1}},  {{1, 1}, {3, 1}, {2, 1}, {5, 1}},
    {{3, 1}, {1, 0}, {2, 1}, {1, 1}},  {{2, 0}, {1, 1}, {5, 0}, {3, 1}},  {{1, 1}, {4, 0}, {2, 0}, {7, 1}},
    {{2, 0}, {4, 0}, {2, 0}, {7, 1}},  {{1, 2}, {2, 3}, {3, -1}, {1, 1}}, {{1, -1}, {2, -1}, {0, 2}, {3, -1}},
    {{0, 1}, {5, -2}, {1, 1}, {2, 3}},
};

template <class T> bool same_number(const unsigned char *a, const unsigned char *b) {
  T x, y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return std::memcmp(a, b, sizeof x) == 0 || (std::isnan(x) && std::isnan(y)); // payloads of NaN may differ
}

bool same(int32_t dtype, const unsigned char *a, const unsigned char *b) {
  switch (dtype) {
  case PG_FLOAT32:
    return same_number<float>(a, b);
  case PG_FLOAT64:
    return same_number<double>(a, b);
  case PG_COMPLEX64:
    return same_number<float>(a, b) && same_number<float>(a + 4, b + 4);
  case PG_COMPLEX128:
    return same_number<double>(a, b) && same_number<double>(a + 8, b + 8);
  }
  return std::memcmp(a, b, size_of(dtype)) == 0;
}

// Where the bytes of `out` differ from what they should be: an output's element, or -1 for a byte outside of them; n if
// they do not.
int64_t difference(Elements &out, Elements &expected, const Layout &layout, int64_t n) {
  if (out.bytes == expected.bytes)
    return n;
  for (int64_t i = 0; i < n; ++i) {
    unsigned char *x = out.at(layout.element(n, i)), *y = expected.at(layout.element(n, i));
    if (!same(out.dtype, x, y))
      return i;
    std::memcpy(x, y, size_of(out.dtype)); // of NaN
  }
  return out.bytes == expected.bytes ? n : -1;
}

// Checks a loop kernel of N inputs; `in_place`: the result goes over the first one that has its dtype.
template <int N>
void check(LoopKernel kernel, LoopKernel scalar, std::vector<Elements> &inputs, int32_t result, bool in_place) {
  for (const auto &layout : layouts) {
    const Layout &out_layout = in_place ? layout[0] : layout[3];
    if (out_layout.step == 0)
      continue;
    for (const int64_t n : all_lengths()) {
      Elements out = in_place ? inputs[0] : Elements(result), expected = out;
      Loop loop{};
      loop.outer = 1;
      for (int64_t i = 0; i < n; ++i) { // one at a time
        loop.inner = 1;
        for (int k = 0; k < N; ++k)
          loop.data[k] = inputs[static_cast<std::size_t>(k)].at(layout[k].element(n, i));
        loop.data[N] = expected.at(out_layout.element(n, i));
        scalar(loop);
      }
      loop.inner = n;
      for (int k = 0; k < N; ++k) {
        Elements &in = in_place && k == 0 ? out : inputs[static_cast<std::size_t>(k)];
        loop.data[k] = in.at(layout[k].first(n));
        loop.inner_stride[k] = layout[k].step;
      }
      loop.data[N] = out.at(out_layout.first(n));
      loop.inner_stride[N] = out_layout.step;
      kernel(loop);
      if (const int64_t at = difference(out, expected, out_layout, n); at != n) {
        INFO("layout " << &layout - layouts << (in_place ? ", in place" : "") << ", " << n
                       << " elements, wrong: " << at);
        CHECK(false);
        return;
      }
    }
  }
}

template <int N>
void check_all(const char *kind, int32_t op, int32_t dtype, int32_t result, std::initializer_list<int32_t> from,
               LoopKernel (&(*of)(Kernels &, int32_t))[dtype_count]) {
  std::vector<Elements> inputs;
  for (const int32_t input : from)
    inputs.emplace_back(input, static_cast<unsigned>(7 * inputs.size() + 1));
  const LoopKernel scalar = of(const_cast<Kernels &>(baseline_kernels()), op)[dtype];
  LoopKernel before = nullptr;
  for (const Kernels *kernels : all_kernels()) {
    const LoopKernel kernel = of(const_cast<Kernels &>(*kernels), op)[dtype];
    if (!kernel || kernel == before) // not compiled again for this one
      continue;
    before = kernel;
    INFO(kind << " operation " << op << " of " << dtype_name(dtype) << ", " << kernels->name);
    REQUIRE(scalar);
    check<N>(kernel, scalar, inputs, result, false);
    if (*from.begin() == result)
      check<N>(kernel, scalar, inputs, result, true);
  }
}

} // namespace

TEST_CASE("binary kernels give what their scalar code gives", "[kernels]") {
  for (int32_t op = 0; op < binary_count; ++op)
    for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
      check_all<2>(
          "binary", op, dtype, op >= PG_EQ && op <= PG_GE ? static_cast<int32_t>(PG_BOOL) : dtype, {dtype, dtype},
          [](Kernels & k, int32_t i) -> auto & { return k.binary[i]; });
}

TEST_CASE("unary kernels give what their scalar code gives", "[kernels]") {
  for (int32_t op = 0; op < unary_count; ++op)
    for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
      check_all<1>(
          "unary", op, dtype, op >= PG_LOGICAL_NOT && op <= PG_SIGNBIT ? static_cast<int32_t>(PG_BOOL) : dtype, {dtype},
          [](Kernels & k, int32_t i) -> auto & { return k.unary[i]; });
}

TEST_CASE("ternary kernels give what their scalar code gives", "[kernels]") {
  for (int32_t op = 0; op < ternary_count; ++op)
    for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
      check_all<3>(
          "ternary", op, dtype, dtype, {op == PG_WHERE ? static_cast<int32_t>(PG_BOOL) : dtype, dtype, dtype},
          [](Kernels & k, int32_t i) -> auto & { return k.ternary[i]; });
}

TEST_CASE("conversions give what their scalar code gives", "[kernels]") {
  for (int32_t from = 0; from < dtype_count; ++from) {
    Elements input(from, 3);
    for (int32_t to = 0; to < dtype_count; ++to) {
      const CastKernel scalar = baseline_kernels().cast[from][to];
      CastKernel before = nullptr;
      for (const Kernels *kernels : all_kernels()) {
        const CastKernel kernel = kernels->cast[from][to];
        if (!kernel || kernel == before)
          continue;
        before = kernel;
        for (const auto &layout : layouts) {
          const Layout &in = layout[0], &out_layout = layout[3];
          for (const int64_t n : all_lengths()) {
            Elements out(to), expected(to);
            bool bad = false;
            for (int64_t i = 0; i < n; ++i)
              bad |= scalar(1, input.at(in.element(n, i)), 1, expected.at(out_layout.element(n, i)), 1);
            const bool found = kernel(n, input.at(in.first(n)), in.step, out.at(out_layout.first(n)), out_layout.step);
            const int64_t at = difference(out, expected, out_layout, n);
            if (at != n || found != bad) {
              INFO(dtype_name(from) << " to " << dtype_name(to) << ", " << kernels->name << ", layout "
                                    << &layout - layouts << ", " << n << " elements, wrong: " << at);
              CHECK(found == bad);
              CHECK(at == n);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("matrix products give the same bits by all kernels", "[kernels]") {
  Elements a(PG_FLOAT64, 5), b(PG_FLOAT64, 6);
  for (int64_t i = 0; i < room; ++i) { // without infinities: what NaN they make depends on the order
    put(a.at(i), double(i % 17) / 7);
    put(b.at(i), double(i % 13) / 3);
  }
  auto numbers = [](Elements &e) { return reinterpret_cast<const double *>(e.at(0)); };
  double expected[49], result[49];
  baseline_kernels().matmul_double(7, 100, 7, numbers(a), numbers(b), expected);
  for (const Kernels *kernels : all_kernels()) {
    kernels->matmul_double(7, 100, 7, numbers(a), numbers(b), result);
    INFO(kernels->name);
    CHECK(std::memcmp(result, expected, sizeof result) == 0);
  }
}

// The kernels themselves, where C says exactly what the result is.
TEST_CASE("scalar kernels of floats follow C", "[kernels]") {
  Elements x(PG_FLOAT64, 5), y(PG_FLOAT64, 6), z(PG_FLOAT64);
  struct {
    int32_t op;
    double (*f)(double, double);
  } const binary[] = {{PG_ADD, [](double a, double b) { return a + b; }},
                      {PG_SUBTRACT, [](double a, double b) { return a - b; }},
                      {PG_MULTIPLY, [](double a, double b) { return a * b; }},
                      {PG_DIVIDE, [](double a, double b) { return a / b; }},
                      {PG_FMIN, [](double a, double b) { return std::isnan(b) || a < b ? a : b; }},
                      {PG_FMAX, [](double a, double b) { return std::isnan(b) || b < a ? a : b; }}};
  struct {
    int32_t op;
    double (*f)(double);
  } const unary[] = {{PG_NEGATIVE, [](double a) { return -a; }},
                     {PG_ABS, [](double a) { return std::fabs(a); }},
                     {PG_SQRT, [](double a) { return std::sqrt(a); }},
                     {PG_FLOOR, [](double a) { return std::floor(a); }},
                     {PG_CEIL, [](double a) { return std::ceil(a); }},
                     {PG_TRUNC, [](double a) { return std::trunc(a); }},
                     {PG_ROUND, [](double a) { return std::nearbyint(a); }},
                     {PG_RECIPROCAL, [](double a) { return 1 / a; }}};
  auto value = [](Elements &e, int64_t i) {
    double v;
    std::memcpy(&v, e.at(i), sizeof v);
    return v;
  };
  Elements expected(PG_FLOAT64);
  for (const auto &[op, f] : binary) {
    for (int64_t i = 0; i < room; ++i)
      put(expected.at(i), f(value(x, i), value(y, i)));
    baseline_kernels().binary[op][PG_FLOAT64]({1, room, {x.at(0), y.at(0), z.at(0)}, {}, {1, 1, 1}});
    INFO("binary operation " << op);
    CHECK(difference(z, expected, {0, 1}, room) == room);
  }
  for (const auto &[op, f] : unary) {
    for (int64_t i = 0; i < room; ++i)
      put(expected.at(i), f(value(x, i)));
    baseline_kernels().unary[op][PG_FLOAT64]({1, room, {x.at(0), z.at(0)}, {}, {1, 1}});
    INFO("unary operation " << op);
    CHECK(difference(z, expected, {0, 1}, room) == room);
  }
}

// There are several ways to divide by one number, by the width of the dividend and the instruction set.
TEST_CASE("division by one number is that by many, for all of one and two bytes and for the ends of other types", "[kernels]") {
  for (const int32_t dtype : {PG_INT8, PG_UINT8, PG_INT16, PG_UINT16, PG_INT32, PG_UINT32, PG_INT64, PG_UINT64}) {
    const std::size_t size = size_of(dtype);
    std::mt19937_64 generator(9);
    std::vector<uint64_t> dividends, divisors;
    for (uint64_t i = 0; size <= 2 && i < uint64_t{1} << (8 * size); ++i)
      dividends.push_back(i);
    if (size == 1) {
      divisors = dividends;
    } else {
      const uint64_t top = uint64_t{1} << (8 * size - 1);
      divisors = {0, 1, 2, 3, 4, 5, 7, 10, 641, 1000, 16384, 32767, top / 2, top - 2, top - 1, top, top + 1};
      for (int i = 0; i < 30; ++i)
        divisors.push_back(generator() >> (generator() % 64));
      for (std::size_t i = divisors.size(); i-- > 0;)
        divisors.push_back(0 - divisors[i]);
    }
    std::vector<unsigned char> a, out, expected;
    for (const uint64_t divisor : divisors) {
      auto near = dividends;
      for (int i = 0; size > 1 && i < 40; ++i) { // multiples, and what is beside them
        const uint64_t multiple = divisor * (generator() >> (generator() % 64));
        near.insert(near.end(), {multiple, multiple + 1, multiple - 1, generator(), uint64_t(i), uint64_t(-i)});
        near.push_back((uint64_t{1} << (8 * size - 1)) - uint64_t(i % 3));
      }
      const auto n = static_cast<int64_t>(near.size());
      a.assign(near.size() * size, 0);
      for (std::size_t i = 0; i < near.size(); ++i)
        std::memcpy(a.data() + i * size, &near[i], size);
      std::vector<unsigned char> b(a.size());
      for (std::size_t i = 0; i < near.size(); ++i)
        std::memcpy(b.data() + i * size, &divisor, size);
      for (const int op : {PG_FLOOR_DIVIDE, PG_REMAINDER, PG_FMOD}) {
        expected.assign(a.size(), 1);
        baseline_kernels().binary[op][dtype]({1, n, {a.data(), b.data(), expected.data()}, {}, {1, 1, 1}});
        for (const Kernels *k : all_kernels()) {
          out.assign(a.size(), 2);
          k->binary[op][dtype]({1, n, {a.data(), b.data(), out.data()}, {}, {1, 0, 1}});
          if (out != expected) { // an assertion each takes longer than the divisions
            INFO(k->name << ", operation " << op << ", dtype " << dtype << ", divisor " << divisor);
            CHECK(out == expected);
          }
        }
      }
    }
  }
}
