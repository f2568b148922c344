// One fuzzer: compiled once a reader, with -DREADER=csv and so on.
#include "array/manipulate.hpp"
#include "fuzz/readers.hpp"
#include "parallel/races.hpp"

// What array.cpp wants of the rest of the engine, and the readers never call.
namespace perigee::array {
Array copy(const pg_array &, int32_t, int32_t *) {
  return {};
}
void count_allocation(int64_t) noexcept {}
} // namespace perigee::array
namespace perigee::parallel {
bool race_checking() noexcept {
  return false;
}
void race_forget(const void *, int64_t) {
}
} // namespace perigee::parallel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, std::size_t size) {
  perigee::fuzz::READER(data, size);
  return 0;
}
