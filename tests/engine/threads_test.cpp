// Elementwise operations on more than one thread, and past the caches: the same bits as on one thread and in small
// pieces, for every layout, and nothing written beside the output.
#include <catch2/catch.hpp>

#include "array/array.hpp"
#include "array/stream.hpp"
#include "core/threads.hpp"

#include <cstring>
#include <random>
#include <vector>

using namespace perigee;
using namespace perigee::array;

namespace {

struct Threads { // so many, while this lives
  explicit Threads(int count) : before(core::thread_count()) { core::set_thread_count(count); }
  ~Threads() { core::set_thread_count(before); }
  int before;
};

Array random(int32_t dtype, std::vector<int64_t> shape, uint32_t seed) {
  Array a = create(dtype, shape);
  std::mt19937 generator(seed);
  for (int64_t i = 0; i < a->_size; ++i) {
    const double x = double(generator() % 20000) / 1000 - 10;
    switch (dtype) {
    case PG_FLOAT32:
      a.data<float>()[i] = float(x);
      break;
    case PG_FLOAT64:
      a.data<double>()[i] = x;
      break;
    default:
      a.data<int32_t>()[i] = int32_t(x * 100);
    }
  }
  return a;
}

Array every_other(const Array &a) { // of the last axis, from the second on
  Array v = share(*a);
  pg_array &d = *v.get();
  const int axis = d._ndim - 1;
  d._data = static_cast<char *>(d._data) + static_cast<std::ptrdiff_t>(element_size(d._dtype)) * d._strides[axis];
  d._size = d._size / d._shape[axis] * (d._shape[axis] / 2);
  d._shape[axis] /= 2;
  d._strides[axis] *= 2;
  return v;
}
Array transposed(const Array &a) {
  Array v = share(*a);
  std::swap(v.get()->_shape[0], v.get()->_shape[1]);
  std::swap(v.get()->_strides[0], v.get()->_strides[1]);
  return v;
}

std::vector<char> bytes(const Array &a) {
  const Array flat = contiguous(*a);
  const auto count = static_cast<std::size_t>(flat->_size) * element_size(flat->_dtype);
  return {flat.data<char>(), flat.data<char>() + count};
}

template <class Operation> void same_on_any_number(const char *what, Operation &&operation) {
  INFO(what);
  std::vector<char> one, three;
  {
    Threads threads(1);
    one = operation();
  }
  {
    Threads threads(3);
    three = operation();
  }
  CHECK(one.size() > 0);
  CHECK(one == three);
}

std::vector<char> binary(int32_t op, const Array &a, const Array &b) {
  Array c;
  REQUIRE(pg_array_binary(c.get(), nullptr, op, a.get(), b.get()) == PG_OK);
  return bytes(c);
}
std::vector<char> unary(int32_t op, const Array &a) {
  Array c;
  REQUIRE(pg_array_unary(c.get(), nullptr, op, a.get()) == PG_OK);
  return bytes(c);
}

} // namespace

TEST_CASE("elementwise operations give the same bits on any number of threads", "[threads]") {
  const Array a = random(PG_FLOAT64, {300001}, 1), b = random(PG_FLOAT64, {300001}, 2);
  const Array f = random(PG_FLOAT32, {300001}, 3), k = random(PG_INT32, {300001}, 4);
  const Array m = random(PG_FLOAT64, {701, 403}, 5), w = random(PG_FLOAT64, {403, 701}, 6);
  const Array row = random(PG_FLOAT64, {1, 100003}, 7), column = random(PG_FLOAT64, {5, 1}, 8);
  const Array thin = random(PG_FLOAT64, {100001, 3}, 9), deep = random(PG_FLOAT32, {11, 60, 70, 9}, 10);
  for (int32_t op : {PG_ADD, PG_POWER, PG_LT, PG_ATAN2}) {
    INFO("binary operation " << op);
    same_on_any_number("adjacent", [&] { return binary(op, a, b); });
    same_on_any_number("two dtypes", [&] { return binary(op, a, f); });
    same_on_any_number("with integers", [&] { return binary(op, k, f); });
    same_on_any_number("every other", [&] { return binary(op, every_other(a), every_other(b)); });
    same_on_any_number("transposed", [&] { return binary(op, m, transposed(w)); });
    same_on_any_number("broadcast", [&] { return binary(op, row, column); });
    same_on_any_number("thin", [&] { return binary(op, thin, thin); });
    same_on_any_number("part of each row", [&] { return binary(op, every_other(deep), every_other(deep)); });
  }
  for (int32_t op : {PG_SQRT, PG_EXP, PG_TANH, PG_GAMMA}) {
    INFO("unary operation " << op);
    same_on_any_number("adjacent", [&] { return unary(op, a); });
    same_on_any_number("float32", [&] { return unary(op, f); });
    same_on_any_number("integers", [&] { return unary(op, k); });
    same_on_any_number("transposed", [&] { return unary(op, transposed(m)); });
    same_on_any_number("part of each row", [&] { return unary(op, every_other(deep)); });
  }
  same_on_any_number("cast", [&] { return bytes(copy(*a, PG_FLOAT32)); });
  same_on_any_number("copy of a transposed array", [&] { return bytes(copy(*transposed(m))); });
  same_on_any_number("in place", [&] {
    const Array c = copy(*a);
    REQUIRE(pg_array_binary(const_cast<pg_array *>(c.get()), nullptr, PG_MULTIPLY, c.get(), b.get()) == PG_OK);
    return bytes(c);
  });
  same_on_any_number("into another dtype", [&] {
    Array c = create(PG_FLOAT32, std::vector<int64_t>{300001});
    REQUIRE(pg_array_binary(c.get(), nullptr, PG_ADD, a.get(), b.get()) == PG_OK);
    return bytes(c);
  });
}

TEST_CASE("a value that does not fit is noticed on every thread", "[threads]") {
  Threads threads(3);
  const Array a = random(PG_FLOAT64, {300001}, 1);
  for (int64_t at : {0, 150000, 300000}) {
    const double before = std::exchange(a.data<double>()[at], 1e300);
    pg_array out{};
    CHECK(pg_array_astype(&out, nullptr, &*a, PG_INT32) == PG_ERROR_ARGUMENT);
    a.data<double>()[at] = before;
  }
}

TEST_CASE("results that pass the caches are those of small pieces, and only the output is written", "[threads]") {
  const int64_t n = stream_threshold() == INT64_MAX ? 1000 : stream_threshold() / 8 + 1237;
  const Array a = random(PG_FLOAT64, {n}, 1);
  Array whole = create(PG_FLOAT64, std::vector<int64_t>{n + 16});
  for (int count : {1, 3})
    for (int64_t from : {0, 8, 1}) { // aligned to 64 bytes, but for the last
      Threads threads(count);
      std::fill_n(whole.data<double>(), n + 16, -77.0);
      Array out = share(*whole);
      out.get()->_data = whole.data<double>() + from;
      out.get()->_shape[0] = out.get()->_size = n;
      REQUIRE(pg_array_binary(out.get(), nullptr, PG_ADD, a.get(), a.get()) == PG_OK);
      bool fine = true;
      for (int64_t i = 0; i < n + 16; ++i)
        fine &= whole.data<double>()[i] ==
                (i >= from && i < from + n ? a.data<double>()[i - from] + a.data<double>()[i - from] : -77.0);
      CHECK(fine);
    }
}
