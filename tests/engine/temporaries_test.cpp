// No operation takes more memory than its result and a fixed buffer, but where that is documented: array memory is
// bounded by the limit of an account, and what C++ takes by counting in operator new.
#include <catch2/catch.hpp>

#include "array/manipulate.hpp"
#include "array/reduce.hpp"
#include "array/sort.hpp"
#include "core/memory.hpp"
#include "core/threads.hpp"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <string>
#include <vector>

using namespace perigee;
using namespace perigee::array;

#if !defined(PERIGEE_SANITIZED)

namespace {
std::atomic<int64_t> held{0}, most{0};

void *take(std::size_t bytes) noexcept {
  void *p = std::malloc(bytes);
  const int64_t now = held += static_cast<int64_t>(p ? malloc_usable_size(p) : 0);
  for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
  }
  return p;
}
} // namespace

// Not inlined: GCC 12 would take malloc and free here for a mismatch.
[[gnu::noinline]] void *operator new(std::size_t bytes) {
  void *p = take(bytes);
  return p ? p : throw std::bad_alloc();
}
[[gnu::noinline]] void *operator new(std::size_t bytes, const std::nothrow_t &) noexcept {
  return take(bytes);
}
[[gnu::noinline]] void operator delete(void *p) noexcept {
  if (p)
    held -= static_cast<int64_t>(malloc_usable_size(p));
  std::free(p);
}
[[gnu::noinline]] void operator delete(void *p, std::size_t) noexcept {
  operator delete(p);
}

namespace {

constexpr int64_t n = 1 << 20, side = 1 << 10;
constexpr int64_t buffer = 256 << 10; // beside the result; the smallest array here has 1 MiB

Array filled(int32_t dtype, std::vector<int64_t> shape) {
  Array a = create(dtype, shape);
  for (int64_t i = 0; i < a->_size; ++i)
    switch (dtype) {
    case PG_FLOAT64:
      a.data<double>()[i] = double(i % 1009) / 7;
      break;
    case PG_FLOAT32:
      a.data<float>()[i] = float(i % 1009) / 7;
      break;
    case PG_INT32:
      a.data<int32_t>()[i] = int32_t(i * 7919 % n) + 1;
      break;
    default:
      a.data<uint8_t>()[i] = i % 3 == 0;
    }
  return a;
}

// operation(out) with a limit of the result's bytes and the buffer.
template <class Operation> void takes(const char *what, int64_t result, Operation &&operation) {
  INFO(what);
  const int64_t account = core::open_account(result + buffer), before = held;
  most = before;
  {
    core::AccountScope scope(account);
    Array out;
    int32_t collect = 0;
    const int32_t status = operation(out.get(), &collect);
    INFO((status == PG_OK ? "" : pg_last_message()));
    CHECK(status == PG_OK);
  }
  CHECK(most - before <= buffer);
  core::close_account(account);
}

} // namespace

TEST_CASE("operations take no memory beside their result and a fixed buffer", "[memory]") {
  const Array a = filled(PG_FLOAT64, {n}), b = filled(PG_FLOAT64, {n}), f = filled(PG_FLOAT32, {n});
  const Array k = filled(PG_INT32, {n}), mask = filled(PG_BOOL, {n});
  const Array m = filled(PG_FLOAT64, {side, side}), row = filled(PG_FLOAT32, {side});
  Array t = share(*m), half = share(*a);
  std::swap(t.get()->_strides[0], t.get()->_strides[1]);
  half.get()->_shape[0] = half.get()->_size = n / 2;
  half.get()->_strides[0] = 2;

  for (int32_t op : {PG_ADD, PG_DIVIDE, PG_POWER, PG_ATAN2}) {
    INFO("operation " << op);
    takes("of two arrays", 8 * n, [&](auto *out, auto *c) { return pg_array_binary(out, c, op, a.get(), b.get()); });
    takes("of two dtypes", 8 * n, [&](auto *out, auto *c) { return pg_array_binary(out, c, op, a.get(), f.get()); });
    takes("with integers", 8 * n, [&](auto *out, auto *c) { return pg_array_binary(out, c, op, k.get(), f.get()); });
    takes("every other", 4 * n,
          [&](auto *out, auto *c) { return pg_array_binary(out, c, op, half.get(), half.get()); });
    takes("transposed", 8 * n, [&](auto *out, auto *c) { return pg_array_binary(out, c, op, m.get(), t.get()); });
    takes("broadcast", 8 * n, [&](auto *out, auto *c) { return pg_array_binary(out, c, op, t.get(), row.get()); });
    takes("in place", 0,
          [&](auto *, auto *c) { return pg_array_binary(const_cast<pg_array *>(b.get()), c, op, b.get(), a.get()); });
  }
  takes("comparison", n, [&](auto *out, auto *c) { return pg_array_binary(out, c, PG_LT, a.get(), f.get()); });
  for (int32_t op : {PG_SQRT, PG_EXP, PG_GAMMA}) {
    INFO("function " << op);
    takes("of an array", 8 * n, [&](auto *out, auto *c) { return pg_array_unary(out, c, op, a.get()); });
    takes("of integers", 8 * n, [&](auto *out, auto *c) { return pg_array_unary(out, c, op, k.get()); });
    takes("transposed", 8 * n, [&](auto *out, auto *c) { return pg_array_unary(out, c, op, t.get()); });
  }
  takes("where", 8 * n,
        [&](auto *out, auto *c) { return pg_array_ternary(out, c, PG_WHERE, mask.get(), a.get(), f.get()); });
  takes("astype", 4 * n, [&](auto *out, auto *c) { return pg_array_astype(out, c, t.get(), PG_FLOAT32); });
  takes("assign", 0, [&](auto *, auto *) { return pg_array_assign(m.get(), row.get()); });
  takes("column-major copy", 8 * n,
        [&](auto *out, auto *c) { return pg_array_copy(out, c, m.get(), PG_COLUMN_MAJOR); });
  takes("mask", 8 * n, [&](auto *out, auto *c) { return pg_array_mask_get(out, c, a.get(), mask.get()); });
  const pg_array *indices[] = {k.get()};
  takes("index array", 8 * n, [&](auto *out, auto *c) { return pg_array_index_get(out, c, a.get(), 0, indices); });
  for (int32_t op = PG_REDUCE_SUM; op <= PG_REDUCE_NANSTD; ++op) {
    INFO("reduction " << op);
    takes("of rows", 8 * side, [&](auto *out, auto *c) { return pg_array_reduce(out, c, op, m.get(), 2, 0, 0); });
    takes("of columns", 8 * side, [&](auto *out, auto *c) { return pg_array_reduce(out, c, op, m.get(), 1, 0, 0); });
    takes("of all", 8, [&](auto *out, auto *c) { return pg_array_reduce(out, c, op, t.get(), 3, 0, 0); });
  }
  takes("argmax", 8 * side, [&](auto *out, auto *c) { return pg_array_position(out, c, 1, t.get(), 0, 0); });
  for (int32_t axis : {-1, 0, 1})
    takes("cumsum", 8 * n, [&](auto *out, auto *c) { return pg_array_scan(out, c, 0, m.get(), axis); });
  const int threads = core::thread_count();
  core::set_thread_count(1); // on several it takes its size again, which is documented
  takes("sort", 0, [&](auto *, auto *) { return pg_array_sort(b.get(), 0, 0, 0); });
  core::set_thread_count(threads);
}

TEST_CASE("an operation that took more would be noticed", "[memory]") {
  const Array a = filled(PG_FLOAT64, {n});
  const int64_t account = core::open_account(4 * n), before = held;
  {
    core::AccountScope scope(account);
    Array out;
    CHECK(pg_array_binary(out.get(), nullptr, PG_ADD, a.get(), a.get()) == PG_ERROR_MEMORY);
  }
  core::close_account(account);
  most = before;
  { const std::vector<char> scratch(std::size_t(1) << 20); }
  CHECK(most - before > buffer);
}

#endif
