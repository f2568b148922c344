// Several blobs in one piece of memory: a table of (offset, size) pairs, then the blobs, each 64-byte aligned so that
// arrays can be used where they lie. This is how inputs go into a sandboxed process and results come out of it.
#pragma once

#include "types.hpp"

#include <cstring>
#include <span>
#include <vector>

namespace perigee::grader::frames {

using Blob = std::span<const std::byte>;

struct Place {
  uint64_t offset, size;
};

inline std::size_t aligned(std::size_t n) {
  return (n + 63) / 64 * 64;
}
inline std::size_t table_bytes(std::size_t count) {
  return aligned(count * sizeof(Place));
}

// Builds frames for a known number of blobs, one after the other.
class Writer {
 public:
  // Starts anew and keeps the memory.
  void start(std::size_t count) {
    out_.clear();
    out_.resize(table_bytes(count));
    next_ = 0;
  }
  // The last blob of `size` bytes has been appended to bytes().
  void added(std::size_t size) {
    Place place{out_.size() - size, size};
    std::memcpy(out_.data() + sizeof(Place) * next_++, &place, sizeof place);
    out_.resize(aligned(out_.size()));
  }
  void add(Blob blob) {
    out_.insert(out_.end(), blob.begin(), blob.end());
    added(blob.size());
  }
  Bytes &bytes() { return out_; }

 private:
  Bytes out_;
  std::size_t next_ = 0;
};

inline Bytes pack(std::span<const Bytes> blobs) {
  std::size_t total = table_bytes(blobs.size());
  for (const Bytes &blob : blobs)
    total += aligned(blob.size());
  Writer writer;
  writer.bytes().reserve(total);
  writer.start(blobs.size());
  for (const Bytes &blob : blobs)
    writer.add(blob);
  return std::move(writer.bytes());
}

// The blobs of frames that may come from a hostile process; false if they do not lie within it, aligned.
inline bool unpack(Blob all, std::size_t count, std::vector<Blob> &blobs) {
  blobs.clear();
  if (count > all.size() / sizeof(Place))
    return false;
  for (std::size_t i = 0; i < count; ++i) {
    Place place;
    std::memcpy(&place, all.data() + sizeof(Place) * i, sizeof place);
    if (place.offset % 64 != 0 || place.offset > all.size() || place.size > all.size() - place.offset)
      return false;
    blobs.push_back(all.subspan(place.offset, place.size));
  }
  return true;
}

} // namespace perigee::grader::frames
