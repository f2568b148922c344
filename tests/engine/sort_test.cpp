// Sorting, selection and quantiles against std::stable_sort in the order of order.hpp, for every dtype, with elements
// at the ends of their ranges, infinities, NaN and zeros of both signs, in every layout, with sentinels around them.
#include <catch2/catch.hpp>

#include "array/order.hpp"
#include "array/sort.hpp"
#include "core/threads.hpp"
#include "engine/array_helpers.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

using namespace perigee;
using namespace perigee::array;

namespace {

template <class T> using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <class R> R real_element(std::mt19937_64 &generator, int kind) {
  using Limits = std::numeric_limits<R>;
  if constexpr (std::is_integral_v<R>) {
    if (kind == 1)
      return static_cast<R>(generator() % 5);
    return generator() % 50 == 0 ? (generator() % 2 ? Limits::max() : Limits::min()) : static_cast<R>(generator());
  } else {
    const R odd[] = {Limits::infinity(),
                     -Limits::infinity(),
                     R(-0.0),
                     R(0.0),
                     Limits::max(),
                     Limits::lowest(),
                     Limits::denorm_min(),
                     Limits::quiet_NaN(),
                     -Limits::quiet_NaN()};
    if (kind == 1)
      return odd[generator() % 9];
    if (generator() % 20 == 0)
      return odd[generator() % 9];
    return static_cast<R>(std::ldexp(static_cast<double>(generator() % 20001) - 10000, generator() % 9));
  }
}

template <class T> std::vector<Stored<T>> random_elements(int64_t n, int kind) {
  std::mt19937_64 generator(static_cast<uint64_t>(n * 3 + kind));
  std::vector<Stored<T>> x(static_cast<std::size_t>(n));
  for (auto &element : x) {
    if constexpr (std::is_same_v<T, bool>)
      element = generator() % 2;
    else if constexpr (std::is_arithmetic_v<T>)
      element = real_element<T>(generator, kind);
    else
      element = {real_element<typename T::value_type>(generator, 1),
                 real_element<typename T::value_type>(generator, 1)};
  }
  return x;
}

// Neither comes before the other.
template <class T> bool same(T a, T b) {
  return !less(a, b) && !less(b, a);
}

// Every `step`-th element of a longer array, counted from its end if step is negative.
pg_array strided(const Array &a, int64_t n, int64_t step) {
  pg_array v = *a;
  v._shape[0] = v._size = n;
  v._strides[0] = step;
  const int64_t first = step < 0 ? 1 - (n - 1) * step : 1;
  v._data = static_cast<char *>(v._data) + first * static_cast<int64_t>(element_size(v._dtype));
  return v;
}

} // namespace

TEST_CASE("sort, argsort, partition and topk equal a stable sort", "[sort]") {
  int32_t collect = 0;
  for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
    visit(dtype, [&]<class T>(std::type_identity<T>) {
      using V = Stored<T>;
      for (int64_t n : {1, 2, 3, 7, 8, 31, 64, 65, 257, 1000, 5003, 20001})
        for (int kind : {0, 1})
          for (int64_t step : {1, 2, -3}) {
            if (n > 1000 && step == 2)
              continue;
            const auto x = random_elements<T>(n, kind);
            const int64_t length = (n - 1) * std::abs(step) + 3;
            Array memory = make(dtype, {length});
            std::memset(memory.data<char>(), 1, static_cast<std::size_t>(length) * sizeof(V)); // sentinels
            const pg_array a = strided(memory, n, step);
            auto *data = static_cast<V *>(a._data);
            const auto fill = [&] {
              for (int64_t i = 0; i < n; ++i)
                data[i * step] = x[static_cast<std::size_t>(i)];
            };
            const auto intact = [&] {
              std::vector<bool> own(static_cast<std::size_t>(length));
              for (int64_t i = 0; i < n; ++i)
                own[static_cast<std::size_t>(data + i * step - memory.data<V>())] = true;
              V sentinel;
              std::memset(static_cast<void *>(&sentinel), 1, sizeof sentinel);
              for (int64_t i = 0; i < length; ++i)
                if (!own[static_cast<std::size_t>(i)] && std::memcmp(memory.data<V>() + i, &sentinel, sizeof(V)) != 0)
                  return false;
              return true;
            };
            INFO(dtype_name(dtype) << ", " << n << " elements, kind " << kind << ", step " << step);
            for (bool descending : {false, true}) {
              std::vector<int64_t> order(static_cast<std::size_t>(n));
              std::iota(order.begin(), order.end(), 0);
              std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
                return before(x[static_cast<std::size_t>(i)], x[static_cast<std::size_t>(j)], descending);
              });
              for (bool stable : {false, true}) {
                fill();
                REQUIRE(pg_array_sort(&a, 0, descending, stable) == PG_OK);
                int64_t wrong = 0;
                for (int64_t i = 0; i < n; ++i) {
                  const V expected = x[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
                  wrong += !same(data[i * step], expected);
                  if constexpr (std::is_floating_point_v<V>)
                    wrong += stable && expected == 0 && std::signbit(expected) != std::signbit(data[i * step]);
                }
                CHECK(wrong == 0);
                CHECK(intact());
              }
              fill();
              Array positions, values;
              REQUIRE(pg_array_argsort(positions.get(), &collect, &a, 0, descending) == PG_OK);
              int64_t wrong = 0;
              for (int64_t i = 0; i < n; ++i)
                wrong += positions.data<int64_t>()[i] != order[static_cast<std::size_t>(i)] + 1;
              CHECK(wrong == 0);
              for (int64_t k : {int64_t{0}, int64_t{1}, n / 3, n}) {
                Array where, what;
                REQUIRE(pg_array_topk(where.get(), &collect, what.get(), &a, 0, k, descending) == PG_OK);
                REQUIRE(where->_size == k);
                for (int64_t i = 0; i < k; ++i) {
                  wrong += where.data<int64_t>()[i] != order[static_cast<std::size_t>(i)] + 1;
                  wrong += !same(what.data<V>()[i], x[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
                }
                CHECK(wrong == 0);
              }
              if (descending)
                continue;
              for (int64_t rank : {int64_t{0}, n / 2, n - 1}) {
                const V value = x[static_cast<std::size_t>(order[static_cast<std::size_t>(rank)])];
                fill();
                Array at;
                REQUIRE(pg_array_argpartition(at.get(), &collect, &a, 0, rank) == PG_OK);
                REQUIRE(pg_array_partition(&a, 0, rank) == PG_OK);
                CHECK(intact());
                std::vector<V> kept;
                std::vector<int64_t> positions_kept(at.data<int64_t>(), at.data<int64_t>() + n);
                for (int64_t i = 0; i < n; ++i) {
                  const V element = data[i * step], by_position = x[static_cast<std::size_t>(positions_kept[i] - 1)];
                  for (const V &e : {element, by_position})
                    wrong += i < rank ? less(value, e) : i > rank ? less(e, value) : !same(e, value);
                  kept.push_back(element);
                }
                std::stable_sort(kept.begin(), kept.end(), less<V>);
                std::sort(positions_kept.begin(), positions_kept.end());
                for (int64_t i = 0; i < n; ++i) {
                  wrong += positions_kept[i] != i + 1;
                  wrong += !same(kept[i], x[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
                }
                CHECK(wrong == 0);
              }
            }
          }
    });
}

TEST_CASE("lines of any axis are sorted", "[sort]") {
  int32_t collect = 0;
  Array a = make(PG_INT32, {5, 40, 7});
  fill(a, 1);
  for (const pg_array &view : {*a, transposed(a), reversed(a)})
    for (int axis = 0; axis < 3; ++axis) {
      Array sorted = copy(view), order;
      REQUIRE(pg_array_sort(sorted.get(), axis, 0, 0) == PG_OK);
      REQUIRE(pg_array_argsort(order.get(), &collect, &view, axis, 0) == PG_OK);
      int64_t after = 1, wrong = 0;
      for (int i = axis + 1; i < 3; ++i)
        after *= view._shape[i];
      const int64_t n = view._shape[axis];
      for (int64_t i = 0; i < view._size; ++i) {
        const int64_t at = i / after % n;
        if (at > 0)
          wrong += get(*sorted, i) < get(*sorted, i - after);
        wrong += get(view, i + (static_cast<int64_t>(get(*order, i)) - 1 - at) * after) != get(*sorted, i);
      }
      CHECK(wrong == 0);
    }
  CHECK_THAT(message(pg_array_sort(a.get(), 3, 0, 0)), Catch::Contains("axis 4 is out of range"));
}

TEST_CASE("sorting does not depend on the number of threads", "[sort]") {
  const int threads = core::thread_count();
  const int64_t n = 400003;
  int32_t collect = 0;
  for (int32_t dtype : {PG_FLOAT64, PG_FLOAT32, PG_INT16})
    visit(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_arithmetic_v<T>) {
        Array a = make(dtype, {n});
        const auto x = random_elements<T>(n, 0);
        std::copy(x.begin(), x.end(), reinterpret_cast<Stored<T> *>(a.data<T>()));
        Array first, positions;
        for (int count : {1, 2, 3}) {
          core::set_thread_count(count);
          Array sorted = copy(*a), order;
          REQUIRE(pg_array_sort(sorted.get(), 0, 0, 0) == PG_OK);
          REQUIRE(pg_array_argsort(order.get(), &collect, a.get(), 0, 0) == PG_OK);
          if (count == 1) {
            first = std::move(sorted);
            positions = std::move(order);
            CHECK(std::is_sorted(first.data<T>(), first.data<T>() + n, less<T>));
            continue;
          }
          CHECK(std::memcmp(first->_data, sorted->_data, static_cast<std::size_t>(n) * sizeof(T)) == 0);
          CHECK(std::memcmp(positions->_data, order->_data, static_cast<std::size_t>(n) * 8) == 0);
        }
      }
    });
  core::set_thread_count(threads);
}

TEST_CASE("selection finds every rank, whatever the order of elements", "[sort]") {
  const int64_t n = 30011;
  std::mt19937_64 generator(5);
  for (int kind = 0; kind < 7; ++kind) {
    std::vector<double> x(n);
    for (int64_t i = 0; i < n; ++i)
      x[static_cast<std::size_t>(i)] = kind == 0   ? static_cast<double>(i)
                                       : kind == 1 ? static_cast<double>(n - i)
                                       : kind == 2 ? 7
                                       : kind == 3 ? static_cast<double>(generator() % 2)
                                       : kind == 4 ? static_cast<double>(i < n / 2 ? i : n - i)
                                       : kind == 5
                                           ? (i % 29 == 0 ? 1e9 : static_cast<double>(generator() % n)) // sampled
                                           : (i % 3 ? static_cast<double>(generator()) : NAN);
    auto sorted = x;
    std::stable_sort(sorted.begin(), sorted.end(), less<double>);
    for (int64_t rank : {int64_t{0}, int64_t{1}, int64_t{700}, n / 3, n / 2, n - 2, n - 1}) {
      INFO("kind " << kind << " rank " << rank);
      CHECK(same(select(x.data(), n, rank), sorted[static_cast<std::size_t>(rank)]));
    }
  }
}

TEST_CASE("quantiles of long lines equal those of sorted ones", "[sort]") {
  const int64_t n = 20000; // selected, where short ones are sorted
  int32_t collect = 0;
  for (int32_t dtype : {PG_FLOAT64, PG_FLOAT32, PG_INT32}) {
    Array a = make(dtype, {2, n}), q = make(PG_FLOAT64, {1}), many = make(PG_FLOAT64, {9});
    std::mt19937_64 generator(static_cast<uint64_t>(dtype));
    for (int64_t i = 0; i < 2 * n; ++i)
      put(*a, i, static_cast<double>(generator() % 1000));
    if (dtype != PG_INT32)
      put(*a, n + 5, NAN);
    for (int32_t method = PG_QUANTILE_MEDIAN; method <= PG_QUANTILE_NORMAL_UNBIASED; ++method)
      for (double at : {0.0, 0.1, 0.5, 0.77, 1.0}) {
        for (int64_t i = 0; i < 9; ++i)
          many.data<double>()[i] = at;
        q.data<double>()[0] = at;
        for (int32_t ignore_nan : {0, 1}) {
          Array selected, sorted;
          REQUIRE(pg_array_quantile(selected.get(), &collect, a.get(), 2, 0, q.get(), method, ignore_nan) == PG_OK);
          REQUIRE(pg_array_quantile(sorted.get(), &collect, a.get(), 2, 0, many.get(), method, ignore_nan) == PG_OK);
          for (int64_t line : {0, 1}) {
            INFO(dtype_name(dtype) << " method " << method << " q " << at << " line " << line);
            CHECK(same(get(*selected, line), get(*sorted, line)));
            CHECK(std::isnan(get(*selected, line)) == (line == 1 && !ignore_nan && dtype != PG_INT32));
          }
        }
      }
  }
}
