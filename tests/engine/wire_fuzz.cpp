// A libFuzzer target for the reader of the wire format, which reads what hostile processes write. Not built by default:
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iengine -Iengine/array -Iengine/include
//     -Iengine/include/perigee $(pkg-config --cflags luajit) tests/engine/wire_fuzz.cpp engine/core/wire.cpp -lluajit-5.1 -o wire_fuzz
// Without clang, g++ -fsanitize=address,undefined -DPERIGEE_FUZZ_ROUNDS=2000000 makes a program that mutates by itself.
#include "core/wire.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>

using namespace perigee;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, std::size_t size) {
  wire::Bytes blob(size);
  if (size)
    std::memcpy(blob.data(), data, size);
  wire::Value value;
  std::string error;
  if (wire::parse(blob, {}, false, value, error)) {
    // What is accepted can be written again, and is then accepted and equal.
    wire::Bytes again = wire::write(value);
    wire::Value twice;
    if (!wire::parse(again, {}, false, twice, error) || wire::write(twice) != again)
      std::abort();
    wire::array_owners(blob);
  }
  if (wire::check(blob, {}, true, error)) {
    wire::Bytes made;
    wire::Limits limits;
    uint64_t total = 0;
    for (const wire::ArrayEntry &array : wire::arrays(blob))
      total += array.bytes;
    if (total < 1 << 20) {
      wire::materialise(
          blob, [](uint64_t, void *to, std::size_t bytes) { return std::memset(to, 0xff, bytes) != nullptr; }, made);
      if (!wire::check(made, limits, false, error))
        std::abort();
    }
  }
  return 0;
}

#ifdef PERIGEE_FUZZ_ROUNDS
int main() {
  std::mt19937_64 random(1);
  // {1, 2, "x", {a = true}, array (2, 3)}, by hand.
  std::vector<double> data = {1, 2, 3, 4, 5, 6};
  wire::ArrayEntry entry{5, 2, {2, 3}, 0, 48};
  auto make = [](wire::Kind kind) {
    wire::Value value;
    value.kind = kind;
    return value;
  };
  wire::Value list = make(wire::Kind::table), number = make(wire::Kind::number), text = make(wire::Kind::string),
              inner = make(wire::Kind::table), yes = make(wire::Kind::boolean), array = make(wire::Kind::array);
  text.string = "x";
  array.array = &entry;
  array.data = reinterpret_cast<const std::byte *>(data.data());
  inner.fields = {{text, yes}};
  inner.run = data.data();
  inner.run_size = 3;
  list.list = {number, number, text, inner, array, array};
  wire::Bytes base = wire::write(list);
  for (long i = 0; i < PERIGEE_FUZZ_ROUNDS; ++i) {
    wire::Bytes blob = base;
    if (i % 2) { // as an external blob: no data part
      uint64_t header[5];
      std::memcpy(header, blob.data(), sizeof header);
      header[1] = 64 + header[2] * sizeof(wire::ArrayEntry) + header[3] * 8;
      header[4] = 1;
      blob.resize(header[1]);
      std::memcpy(blob.data(), header, sizeof header);
    }
    for (auto flips = random() % 5; flips > 0; --flips) {
      uint64_t word = random() % 3 ? random() % 64 : random();
      std::size_t at = random() % (blob.size() / 8) * 8;
      std::memcpy(blob.data() + at, &word, random() % 2 ? 8 : 1);
    }
    if (random() % 8 == 0)
      blob.resize(random() % (blob.size() + 32));
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(blob.data()), blob.size());
  }
}
#endif
