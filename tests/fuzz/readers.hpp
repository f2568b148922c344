// What the fuzzers run: each reader of perigee.io on bytes, by the C functions that scripts' calls end in, the front
// end of kernels on source texts, and the wire format. A crash, a sanitizer's report or abort() is a finding; so is
// more memory than the bytes can stand for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace perigee::fuzz {

void npy(const uint8_t *data, std::size_t size);
void npz(const uint8_t *data, std::size_t size);
void csv(const uint8_t *data, std::size_t size); // its first 4 bytes choose options
void json(const uint8_t *data, std::size_t size);
void text(const uint8_t *data, std::size_t size);
void kernel(const uint8_t *data, std::size_t size); // its first byte chooses the arguments' types
void wire(const uint8_t *data, std::size_t size);   // its first byte: alone or in frames; with a header made to fit

struct Reader {
  const char *name; // also of its folder of inputs, in corpus/
  void (*run)(const uint8_t *data, std::size_t size);
};
inline constexpr Reader readers[] = {{"npy", npy},   {"npz", npz},       {"csv", csv},  {"json", json},
                                     {"text", text}, {"kernel", kernel}, {"wire", wire}};

} // namespace perigee::fuzz
