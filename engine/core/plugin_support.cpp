// What a plugin needs of the engine's C++ interface, over the C ABI, which is all that libperigee exports: errors
// (status.hpp), threads (threads.hpp) and arrays (array.hpp). Compiled into every plugin and not into the library.
#include "core/plugin_support.hpp"

#include "array/array.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"

#include <exception>
#include <mutex>

namespace perigee {

namespace core {

int thread_count() {
  return pg_threads_get();
}

void parallel_ranges(int64_t n, int64_t grain, RangeBody body, void *context) {
  // Exceptions stay on this side of the ABI: the first one waits here.
  struct Run {
    RangeBody body;
    void *context;
    std::mutex mutex;
    std::exception_ptr thrown;
  } run{body, context, {}, {}};
  const int32_t status = pg_parallel_ranges(
      n, grain,
      [](void *raw, int64_t begin, int64_t end) {
        auto &r = *static_cast<Run *>(raw);
        try {
          r.body(r.context, begin, end);
        } catch (...) {
          const std::lock_guard lock(r.mutex);
          if (!r.thrown)
            r.thrown = std::current_exception();
        }
      },
      &run);
  if (run.thrown)
    std::rethrow_exception(run.thrown);
  if (status != PG_OK)
    throw Error(static_cast<pg_status>(status), pg_last_message());
}

} // namespace core

pg_status set_last_error(pg_status status, const char *message) noexcept {
  pg_set_last_message(message);
  return status;
}

namespace array {

static Array checked(int32_t status, const pg_array &a) {
  if (status != PG_OK)
    throw Error(static_cast<pg_status>(status), pg_last_message());
  return Array::adopt(a);
}

Array create(int32_t dtype, std::span<const int64_t> shape, bool zero, int32_t *collect) {
  pg_array a{};
  int32_t ignored = 0;
  return checked(
      pg_array_create(&a, collect ? collect : &ignored, dtype, static_cast<int32_t>(shape.size()), shape.data(), zero),
      a);
}

Array share(const pg_array &source) {
  pg_array a{};
  int32_t ignored = 0;
  return checked(pg_array_share(&a, &ignored, &source), a);
}

Array copy(const pg_array &source, int32_t dtype, int32_t *collect) {
  pg_array a{};
  int32_t ignored = 0;
  return checked(pg_array_astype(&a, collect ? collect : &ignored, &source, dtype == -1 ? source._dtype : dtype), a);
}

Array contiguous(const pg_array &source) {
  return is_contiguous(source) ? share(source) : copy(source);
}

} // namespace array
} // namespace perigee
