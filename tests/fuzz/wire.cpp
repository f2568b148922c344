// The wire format, and the frames in which results come: what the grader reads from memory of hostile processes.
#include "fuzz/readers.hpp"

#include "core/wire.hpp"
#include "grader/frames.hpp"

#include <cstdlib>
#include <cstring>

namespace perigee::fuzz {

namespace {

void blob_of_values(const wire::Bytes &blob) {
  wire::Value value;
  std::string error;
  if (wire::parse(blob, {}, false, value, error)) {
    // What is accepted can be written again, and is then accepted and equal.
    const wire::Bytes again = wire::write(value);
    wire::Value twice;
    if (!wire::parse(again, {}, false, twice, error) || wire::write(twice) != again)
      std::abort();
    wire::array_owners(blob);
  } else if (error.empty()) {
    std::abort();
  }
  if (!wire::check(blob, {}, true, error))
    return;
  uint64_t total = 0;
  for (const wire::ArrayEntry &array : wire::arrays(blob))
    total += array.bytes;
  if (total > 1 << 20)
    return;
  wire::Bytes made;
  wire::materialise(
      blob, [](uint64_t, void *to, std::size_t bytes) { return bytes == 0 || std::memset(to, 0xff, bytes); }, made);
  if (!wire::check(made, {}, false, error))
    std::abort();
}

} // namespace

void wire(const uint8_t *data, std::size_t size) {
  if (size < 1)
    return;
  const uint8_t options = *data++;
  wire::Bytes bytes(--size);
  if (size)
    std::memcpy(bytes.data(), data, size);
  if (options & 1 && size >= 64) { // a header that fits, which chance does not find
    const uint64_t words[] = {size, options >> 1 & 1u};
    std::memcpy(bytes.data() + 8, &words[0], 8);
    std::memcpy(bytes.data() + 32, &words[1], 8);
  }
  if (!(options & 4))
    return blob_of_values(bytes);
  std::vector<grader::frames::Blob> blobs;
  if (grader::frames::unpack(bytes, options >> 3, blobs))
    for (const grader::frames::Blob &blob : blobs)
      blob_of_values({blob.begin(), blob.end()});
}

} // namespace perigee::fuzz
