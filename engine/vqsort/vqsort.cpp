#include "vqsort/vqsort.hpp"

#include <hwy/contrib/sort/vqsort.h>

namespace perigee::vqsort {
namespace {

template <class Key, class Ours> void sort(Ours *keys, std::size_t n) {
  static_assert(sizeof(Key) == sizeof(Ours));
  static const hwy::Sorter sorter;
  sorter(reinterpret_cast<Key *>(keys), n, hwy::SortAscending());
}

constexpr Functions functions{sort<int16_t>,
                              sort<uint16_t>,
                              [](int32_t *keys, std::size_t n) { sort_keys32(keys, n); },
                              [](uint32_t *keys, std::size_t n) { sort_keys32(keys, n); },
                              sort<int64_t>,
                              sort<uint64_t>,
                              sort<hwy::uint128_t>};

} // namespace
} // namespace perigee::vqsort

extern "C" __attribute__((visibility("default"))) const perigee::vqsort::Functions *pg_vqsort() {
  return &perigee::vqsort::functions;
}
