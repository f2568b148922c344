// Every operation is compared with a plain loop over the same elements, for every dtype pair, with strided, reversed,
// broadcast, empty and odd-sized operands. (Kernels of other instruction sets: kernels_test.cpp.)
#include <catch2/catch.hpp>

#include "array/dispatch.hpp"
#include "array/kernels.hpp"
#include "core/status.hpp"
#include "engine/array_helpers.hpp"

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

using namespace perigee;
using namespace perigee::array;

namespace {

double apply(int32_t op, double x, double y, int32_t dtype) {
  switch (op) {
  case PG_ADD:
    return dtype == PG_BOOL ? (x != 0 || y != 0) : x + y;
  case PG_SUBTRACT:
    return x >= y               ? x - y
           : dtype == PG_UINT8  ? x - y + 256
           : dtype == PG_UINT16 ? x - y + 65536
           : dtype == PG_UINT32 ? x - y + 4294967296.0
           : dtype == PG_UINT64 ? x - y + 18446744073709551616.0
                                : x - y;
  case PG_MULTIPLY:
    return dtype == PG_BOOL ? (x != 0 && y != 0) : x * y;
  case PG_DIVIDE:
    return dtype == PG_FLOAT32 ? static_cast<float>(x) / static_cast<float>(y) : x / y;
  case PG_FLOOR_DIVIDE:
    return std::floor(x / y);
  case PG_FMOD:
    return std::fmod(x, y);
  case PG_FMIN:
    return std::min(x, y);
  case PG_FMAX:
    return std::max(x, y);
  case PG_LOGICAL_AND:
    return x != 0 && y != 0;
  case PG_LOGICAL_OR:
    return x != 0 || y != 0;
  case PG_LOGICAL_XOR:
    return (x != 0) != (y != 0);
  case PG_REMAINDER:
    return x - std::floor(x / y) * y;
  case PG_MINIMUM:
    return std::min(x, y);
  case PG_MAXIMUM:
    return std::max(x, y);
  case PG_EQ:
    return x == y;
  case PG_NE:
    return x != y;
  case PG_LT:
    return x < y;
  case PG_LE:
    return x <= y;
  case PG_GT:
    return x > y;
  default:
    return x >= y;
  }
}

} // namespace

TEST_CASE("memory is aligned, zeroed, counted and given back", "[array]") {
  for (int64_t n : {0, 1, 7, 1000, 1 << 20}) {
    Array a = make(PG_FLOAT64, {n});
    CHECK(reinterpret_cast<uintptr_t>(a->_data) % 64 == 0);
    for (int64_t i = 0; i < n; i += 97)
      CHECK(a.data<double>()[i] == 0);
  }
  Array a = make(PG_INT32, {3, 4});
  CHECK(a->_strides[0] == 4);
  CHECK(a->_strides[1] == 1);
  pg_block *block = a->_block;
  const uint64_t generation = block->generation;
  {
    Array view = share(*a);
    CHECK(block->references == 2);
    a = Array();
    CHECK(block->references == 1);
    CHECK(block->generation == generation);
  }
  CHECK(block->generation == generation + 1);
}

TEST_CASE("a row of memory that is gone is refused", "[array]") {
  Array a = make(PG_FLOAT64, {4, 5});
  pg_row row{};
  row._data = a.data<double>() + 5;
  row._block = a->_block;
  row._generation = a->_block->generation;
  row._dtype = PG_FLOAT64;
  row._ndim = 1;
  row._shape0 = 5;
  row._strides0 = 1;
  pg_array view{};
  int32_t collect = 0;
  REQUIRE(pg_array_from_row(&view, &collect, &row) == PG_OK);
  CHECK(view._size == 5);
  pg_array_release(&view);
  pg_array_release(&view); // twice is harmless
  a = Array();
  CHECK_THAT(message(pg_array_from_row(&view, &collect, &row)), Catch::Contains("is gone"));
  Array other = make(PG_FLOAT64, {4, 5}); // likely the same header
  CHECK(pg_array_from_row(&view, &collect, &row) == PG_ERROR_ARGUMENT);
}

TEST_CASE("borrowed memory is released once, by whoever is last", "[array]") {
  static std::atomic<int> released = 0;
  released = 0;
  double memory[6] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  {
    Array a = borrow(
        memory, PG_FLOAT64, shape, [](void *, void *context) { ++*static_cast<std::atomic<int> *>(context); },
        &released);
    CHECK(a->_data == memory);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i)
          Array view = share(*a);
      });
    for (auto &thread : threads)
      thread.join();
    CHECK(released == 0);
  }
  CHECK(released == 1);
  CHECK_THROWS_AS(borrow(reinterpret_cast<char *>(memory) + 1, PG_FLOAT64, shape, nullptr, nullptr), ArgumentError);
}

TEST_CASE("impossible shapes and dtypes are refused", "[array]") {
  CHECK_THROWS_AS(make(PG_FLOAT64, {-1}), ArgumentError);
  CHECK_THROWS_AS(make(PG_FLOAT64, {1, 1, 1, 1, 1, 1, 1, 1, 1}), ArgumentError);
  CHECK_THROWS_AS(make(PG_FLOAT64, {int64_t(1) << 40, int64_t(1) << 40}), ArgumentError);
  CHECK_THROWS_AS(make(PG_FLOAT64, {0, int64_t(1) << 62, 4}), ArgumentError);
  CHECK_THROWS_AS(make(PG_COMPLEX128 + 1, {1}), ArgumentError);
  CHECK_THROWS_AS(make(-1, {1}), ArgumentError);
  CHECK_THROWS_AS(make(PG_UINT8, {int64_t(1) << 60}), MemoryError);
}

TEST_CASE("promotion is NumPy's", "[array]") {
  const int32_t expected[dtype_count][dtype_count] = {
      // numpy.promote_types, rows and columns by the value of pg_dtype
      {PG_BOOL, PG_UINT8, PG_INT32, PG_INT64, PG_FLOAT32, PG_FLOAT64, PG_INT8, PG_INT16, PG_UINT16, PG_UINT32,
       PG_UINT64, PG_COMPLEX64, PG_COMPLEX128},
      {PG_UINT8, PG_UINT8, PG_INT32, PG_INT64, PG_FLOAT32, PG_FLOAT64, PG_INT16, PG_INT16, PG_UINT16, PG_UINT32,
       PG_UINT64, PG_COMPLEX64, PG_COMPLEX128},
      {PG_INT32, PG_INT32, PG_INT32, PG_INT64, PG_FLOAT64, PG_FLOAT64, PG_INT32, PG_INT32, PG_INT32, PG_INT64,
       PG_FLOAT64, PG_COMPLEX128, PG_COMPLEX128},
      {PG_INT64, PG_INT64, PG_INT64, PG_INT64, PG_FLOAT64, PG_FLOAT64, PG_INT64, PG_INT64, PG_INT64, PG_INT64,
       PG_FLOAT64, PG_COMPLEX128, PG_COMPLEX128},
      {PG_FLOAT32, PG_FLOAT32, PG_FLOAT64, PG_FLOAT64, PG_FLOAT32, PG_FLOAT64, PG_FLOAT32, PG_FLOAT32, PG_FLOAT32,
       PG_FLOAT64, PG_FLOAT64, PG_COMPLEX64, PG_COMPLEX128},
      {PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64,
       PG_FLOAT64, PG_FLOAT64, PG_COMPLEX128, PG_COMPLEX128},
      {PG_INT8, PG_INT16, PG_INT32, PG_INT64, PG_FLOAT32, PG_FLOAT64, PG_INT8, PG_INT16, PG_INT32, PG_INT64, PG_FLOAT64,
       PG_COMPLEX64, PG_COMPLEX128},
      {PG_INT16, PG_INT16, PG_INT32, PG_INT64, PG_FLOAT32, PG_FLOAT64, PG_INT16, PG_INT16, PG_INT32, PG_INT64,
       PG_FLOAT64, PG_COMPLEX64, PG_COMPLEX128},
      {PG_UINT16, PG_UINT16, PG_INT32, PG_INT64, PG_FLOAT32, PG_FLOAT64, PG_INT32, PG_INT32, PG_UINT16, PG_UINT32,
       PG_UINT64, PG_COMPLEX64, PG_COMPLEX128},
      {PG_UINT32, PG_UINT32, PG_INT64, PG_INT64, PG_FLOAT64, PG_FLOAT64, PG_INT64, PG_INT64, PG_UINT32, PG_UINT32,
       PG_UINT64, PG_COMPLEX128, PG_COMPLEX128},
      {PG_UINT64, PG_UINT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_FLOAT64, PG_UINT64,
       PG_UINT64, PG_UINT64, PG_COMPLEX128, PG_COMPLEX128},
      {PG_COMPLEX64, PG_COMPLEX64, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX64, PG_COMPLEX128, PG_COMPLEX64,
       PG_COMPLEX64, PG_COMPLEX64, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX64, PG_COMPLEX128},
      {PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128,
       PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128, PG_COMPLEX128},
  };
  for (int32_t a = 0; a < dtype_count; ++a)
    for (int32_t b = 0; b < dtype_count; ++b) {
      INFO(dtype_name(a) << ", " << dtype_name(b));
      CHECK(dtype_name(promote(a, b)) == std::string(dtype_name(expected[a][b])));
    }
}

TEST_CASE("binary operations equal a plain loop for all dtypes and layouts", "[array]") {
  int32_t collect = 0;
  for (int32_t da = 0; da < dtype_count; ++da)
    for (int32_t db = 0; db < dtype_count; ++db)
      for (int32_t op = 0; op <= PG_LOGICAL_XOR; ++op) {
        if (op == PG_POWER || (op >= PG_ATAN2 && op <= PG_LDEXP))
          continue;
        Array a = make(da, {5, 7}), b = make(db, {5, 7}), row = make(db, {7}), column = make(db, {5, 1}),
              square = make(db, {7, 5});
        fill(a, 1);
        fill(b, 2);
        fill(row, 3);
        fill(column, 4);
        fill(square, 5);
        const int32_t dtype = promote(da, db);
        const pg_array layouts[] = {*b, reversed(b), transposed(square), *row, *column};
        for (const pg_array &y : layouts)
          for (const pg_array &x : {*a, reversed(a)}) {
            Array out;
            const int32_t status = pg_array_binary(out.get(), &collect, op, &x, &y);
            const bool division = op == PG_REMAINDER || op == PG_FLOOR_DIVIDE || op == PG_FMOD;
            if ((dtype == PG_BOOL && op == PG_SUBTRACT) || (is_complex(dtype) && division)) {
              CHECK_THAT(message(status), Catch::Contains("not defined for"));
              continue;
            }
            REQUIRE(status == PG_OK);
            int32_t result = dtype;
            if ((op >= PG_EQ && op <= PG_GE) || op >= PG_LOGICAL_AND)
              result = PG_BOOL;
            else if (op == PG_DIVIDE && !is_float(dtype) && !is_complex(dtype))
              result = PG_FLOAT64;
            else if (dtype == PG_BOOL && division)
              result = PG_INT8;
            REQUIRE(out->_dtype == result);
            int wrong = 0;
            for (int64_t i = 0; i < 35; ++i) {
              const int64_t at = y._ndim == 1 ? i % 7 : y._shape[1] == 1 ? i / 7 : i;
              if (result == PG_COMPLEX64 && op == PG_DIVIDE) // two roundings
                wrong += std::abs(get(*out, i) - get(x, i) / get(y, at)) > 1e-5;
              else if (result == PG_COMPLEX128 && op == PG_DIVIDE)
                wrong += std::abs(get(*out, i) - get(x, i) / get(y, at)) > 1e-14;
              else
                wrong += get(*out, i) != apply(op, get(x, i), get(y, at), op == PG_DIVIDE ? result : dtype);
            }
            INFO("op " << op << " of " << dtype_name(da) << ", " << dtype_name(db));
            CHECK(wrong == 0);
          }
      }
}

TEST_CASE("long and odd-sized arrays go through every kernel path", "[array]") {
  int32_t collect = 0;
  for (int64_t n : {1, 2, 15, 16, 17, 511, 512, 513, 1025, 10007}) {
    Array a = make(PG_FLOAT32, {n}), b = make(PG_INT32, {n}), out;
    for (int64_t i = 0; i < n; ++i) {
      put(*a, i, static_cast<double>(i) / 4);
      put(*b, i, static_cast<double>(i % 100));
    }
    REQUIRE(pg_array_binary(out.get(), &collect, PG_MULTIPLY, a.get(), b.get()) == PG_OK); // float64, by conversion
    CHECK(out->_dtype == PG_FLOAT64);
    for (int64_t i = 0; i < n; ++i)
      REQUIRE(out.data<double>()[i] == static_cast<double>(i) / 4 * static_cast<double>(i % 100));
  }
}

TEST_CASE("writing into an array that is also read is safe", "[array]") {
  int32_t collect = 0;
  Array a = make(PG_FLOAT64, {2000});
  for (int64_t i = 0; i < 2000; ++i)
    a.data<double>()[i] = static_cast<double>(i);
  pg_array head = *a, tail = *a;
  head._shape[0] = tail._shape[0] = head._size = tail._size = 1999;
  tail._data = a.data<double>() + 1;
  REQUIRE(pg_array_binary(&tail, &collect, PG_ADD, &tail, &head) == PG_OK); // tail += head
  for (int64_t i = 1; i < 2000; ++i)
    REQUIRE(a.data<double>()[i] == static_cast<double>(2 * i - 1));
  const pg_array back = reversed(a);
  std::vector<double> before(a.data<double>(), a.data<double>() + 2000);
  REQUIRE(pg_array_assign(a.get(), &back) == PG_OK);
  for (int64_t i = 0; i < 2000; ++i)
    REQUIRE(a.data<double>()[i] == before[static_cast<size_t>(1999 - i)]);
}

TEST_CASE("writing is refused where it would lose the kind or the range of values", "[array]") {
  int32_t collect = 0;
  Array real = make(PG_FLOAT64, {3}), whole = make(PG_INT32, {3}), small = make(PG_UINT8, {3}),
        flag = make(PG_BOOL, {3});
  fill(real, 1);
  CHECK_THAT(message(pg_array_assign(whole.get(), real.get())), Catch::Contains("astype(\"int32\")"));
  CHECK_THAT(message(pg_array_binary(whole.get(), &collect, PG_ADD, whole.get(), real.get())),
             Catch::Contains("cannot be written"));
  CHECK(pg_array_assign(real.get(), whole.get()) == PG_OK);
  put(*whole, 2, 300);
  CHECK_THAT(message(pg_array_assign(small.get(), whole.get())), Catch::Contains("range of uint8"));
  CHECK(pg_array_assign(flag.get(), whole.get()) == PG_ERROR_ARGUMENT);
  real.get()->_flags |= PG_ARRAY_READONLY;
  CHECK_THAT(message(pg_array_assign(real.get(), whole.get())), Catch::Contains("read-only"));
  Array two = make(PG_FLOAT64, {2}), none;
  CHECK_THAT(message(pg_array_binary(none.get(), &collect, PG_ADD, two.get(), real.get())),
             Catch::Contains("(2) and (3)"));
  CHECK_THAT(message(pg_array_binary(two.get(), &collect, PG_ADD, small.get(), small.get())),
             Catch::Contains("shape (3) cannot be written into an array of shape (2)"));
  pg_array released = Array().detach();
  CHECK_THAT(message(pg_array_binary(none.get(), &collect, PG_ADD, &released, two.get())), Catch::Contains("released"));
}

TEST_CASE("astype converts within range and refuses the rest", "[array]") {
  int32_t collect = 0;
  Array a = make(PG_FLOAT64, {1});
  struct {
    double value;
    int32_t dtype;
    bool fits;
    double result;
  } const cases[] = {
      {-0.9, PG_UINT8, true, 0},
      {255.9, PG_UINT8, true, 255},
      {256, PG_UINT8, false, 0},
      {-1, PG_UINT8, false, 0},
      {2147483647.5, PG_INT32, true, 2147483647},
      {2147483648.0, PG_INT32, false, 0},
      {-2147483648.5, PG_INT32, true, -2147483648.0},
      {NAN, PG_INT64, false, 0},
      {9223372036854775808.0, PG_INT64, false, 0},
      {-9223372036854775808.0, PG_INT64, true, -9223372036854775808.0},
      {INFINITY, PG_INT32, false, 0},
      {NAN, PG_BOOL, true, 1},
      {1e300, PG_FLOAT32, true, INFINITY},
  };
  for (const auto &c : cases) {
    a.data<double>()[0] = c.value;
    Array out;
    INFO(c.value << " to " << dtype_name(c.dtype));
    CHECK((pg_array_astype(out.get(), &collect, a.get(), c.dtype) == PG_OK) == c.fits);
    if (c.fits)
      CHECK(get(*out, 0) == c.result);
  }
  Array whole = make(PG_INT64, {1});
  whole.data<int64_t>()[0] = int64_t(1) << 40;
  CHECK_THROWS_AS(copy(*whole, PG_INT32), ArgumentError);
  whole.data<int64_t>()[0] = -5;
  CHECK(get(*copy(*whole, PG_INT32), 0) == -5);
}

TEST_CASE("integers wrap, powers and remainders follow NumPy", "[array]") {
  int32_t collect = 0;
  Array a = make(PG_INT32, {1}), b = make(PG_INT32, {1});
  auto result = [&](int32_t op, int32_t x, int32_t y) {
    a.data<int32_t>()[0] = x;
    b.data<int32_t>()[0] = y;
    Array out;
    REQUIRE(pg_array_binary(out.get(), &collect, op, a.get(), b.get()) == PG_OK);
    return out.data<int32_t>()[0];
  };
  CHECK(result(PG_ADD, INT32_MAX, 1) == INT32_MIN);
  CHECK(result(PG_MULTIPLY, 1 << 20, 1 << 20) == 0);
  CHECK(result(PG_POWER, 3, 4) == 81);
  CHECK(result(PG_POWER, -2, 31) == INT32_MIN);
  CHECK(result(PG_POWER, 7, 0) == 1);
  CHECK(result(PG_REMAINDER, -7, 3) == 2);
  CHECK(result(PG_REMAINDER, 7, -3) == -2);
  CHECK(result(PG_REMAINDER, INT32_MIN, -1) == 0);
  CHECK(result(PG_REMAINDER, 5, 0) == 0);
  b.data<int32_t>()[0] = -1;
  Array out;
  CHECK_THAT(message(pg_array_binary(out.get(), &collect, PG_POWER, a.get(), b.get())),
             Catch::Contains("negative integer powers"));
  REQUIRE(pg_array_unary(out.get(), &collect, PG_NEGATIVE, a.get()) == PG_OK);
}

TEST_CASE("NaN wins in minimum and maximum", "[array]") {
  int32_t collect = 0;
  for (int at = 0; at < 40; ++at) {
    Array a = make(PG_FLOAT64, {40}), b = make(PG_FLOAT64, {40}), low, high;
    fill(a, at);
    fill(b, at + 1);
    a.data<double>()[at] = NAN;
    REQUIRE(pg_array_binary(low.get(), &collect, PG_MINIMUM, a.get(), b.get()) == PG_OK);
    REQUIRE(pg_array_binary(high.get(), &collect, PG_MAXIMUM, b.get(), a.get()) == PG_OK);
    CHECK(std::isnan(low.data<double>()[at]));
    CHECK(std::isnan(high.data<double>()[at]));
  }
}

TEST_CASE("matrix product equals three loops", "[array]") {
  int32_t collect = 0;
  for (int32_t dtype : {PG_FLOAT64, PG_FLOAT32, PG_INT32})
    for (auto [m, k, n] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {9, 130, 513}, {5, 0, 3}}) {
      Array a = make(dtype, {m, k}), b = make(dtype, {k, n}), bt = make(dtype, {n, k}), out;
      fill(a, 1);
      fill(bt, 2);
      for (const pg_array &right : {*b, transposed(bt)}) {
        Array product;
        REQUIRE(pg_array_matmul(product.get(), &collect, a.get(), &right) == PG_OK);
        REQUIRE(product->_dtype == dtype);
        int wrong = 0;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t p = 0; p < k; ++p)
              sum += get(*a, i * k + p) * get(right, p * n + j);
            wrong += get(*product, i * n + j) != sum;
          }
        CHECK(wrong == 0);
      }
    }
  Array a = make(PG_FLOAT64, {2, 3}), out;
  CHECK_THAT(message(pg_array_matmul(out.get(), &collect, a.get(), a.get())), Catch::Contains("3 columns meet 2 rows"));
}

TEST_CASE("equal and allclose", "[array]") {
  int32_t result = 0;
  Array a = make(PG_FLOAT64, {2, 3}), b = make(PG_INT32, {2, 3});
  fill(a, 1);
  fill(b, 1);
  REQUIRE(pg_array_equal(a.get(), b.get(), 0, &result) == PG_OK);
  CHECK(result == 1);
  a.data<double>()[5] += 1e-9;
  REQUIRE(pg_array_equal(a.get(), b.get(), 0, &result) == PG_OK);
  CHECK(result == 0);
  REQUIRE(pg_array_allclose(a.get(), b.get(), 1e-5, 1e-8, 0, &result) == PG_OK);
  CHECK(result == 1);
  REQUIRE(pg_array_allclose(a.get(), b.get(), 0, 1e-10, 0, &result) == PG_OK);
  CHECK(result == 0);
  a.data<double>()[5] = NAN;
  Array c = copy(*a);
  for (int32_t equal_nan : {0, 1}) {
    REQUIRE(pg_array_equal(a.get(), c.get(), equal_nan, &result) == PG_OK);
    CHECK(result == equal_nan);
    REQUIRE(pg_array_allclose(a.get(), c.get(), 0, 0, equal_nan, &result) == PG_OK);
    CHECK(result == equal_nan);
  }
  a.data<double>()[5] = INFINITY;
  c.data<double>()[5] = 1;
  REQUIRE(pg_array_allclose(a.get(), c.get(), 1, 1, 0, &result) == PG_OK);
  CHECK(result == 0);
  REQUIRE(pg_array_allclose(c.get(), a.get(), 1, 1, 0, &result) == PG_OK);
  CHECK(result == 0);
}

TEST_CASE("arrays as text", "[array]") {
  auto text = [](const pg_array &a) {
    const char *s = nullptr;
    int64_t n = 0;
    REQUIRE(pg_array_format(&a, &s, &n) == PG_OK);
    return std::string(s, static_cast<size_t>(n));
  };
  Array a = make(PG_FLOAT64, {2, 3});
  fill(a, 1);
  a.data<double>()[0] = 0.5;
  a.data<double>()[5] = -10.25;
  for (int i = 1; i < 5; ++i)
    a.data<double>()[i] = i;
  CHECK(text(*a) == "[[  0.5    1.     2.  ]\n [  3.     4.   -10.25]]");
  Array big = make(PG_INT32, {40, 50});
  for (int i = 0; i < 2000; ++i)
    big.data<int32_t>()[i] = i;
  CHECK(text(*big).substr(0, 37) == "[[   0    1    2 ...   47   48   49]\n");
  CHECK(text(*big).find("\n ...\n") != std::string::npos);
  CHECK(text(*make(PG_BOOL, {2})) == "[false false]");
  CHECK(text(*make(PG_FLOAT32, {0})) == "[]  (float32, shape (0))");
  Array small = make(PG_FLOAT32, {2});
  small.data<float>()[0] = 2.7f; // not 2.70000005
  small.data<float>()[1] = 1e-6f;
  CHECK(text(*small) == "[2.7e+00 1.0e-06]");
  Array zero = make(PG_FLOAT64, {});
  CHECK(text(*zero) == "0.");
  Array prices = make(PG_FLOAT64, {3}); // no exponents where few digits say all
  prices.data<double>()[0] = 0.25;
  prices.data<double>()[1] = 1234.5;
  prices.data<double>()[2] = NAN;
  CHECK(text(*prices) == "[   0.25 1234.5      nan]");
  prices.data<double>()[2] = 1.0 / 3;
  CHECK(text(*prices) == "[2.50000000e-01 1.23450000e+03 3.33333333e-01]");
  Array long_line = make(PG_FLOAT64, {20});
  for (int i = 0; i < 20; ++i)
    long_line.data<double>()[i] = i % 2 ? 0.125 : 1;
  CHECK(text(*long_line).find(" \n") == std::string::npos);
}
