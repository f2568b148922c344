// How Lua values travel from one state to another: a message is bytes that say what the values are, and the references
// that the bytes name by number. encode and decode (transport_lua.cpp) are lua_CFunctions' work; this file knows no
// Lua, so that a back end may take a message apart and send it to another process.
//
//   uint32 number of functions | their directory | value, value, ... | values of the functions' upvalues
//
// A directory entry is: uint32 prototype, uint8 number of upvalues, uint32 cell of each. Cells are numbered as they
// first occur, and their values follow in that order. Values are a tag and what it needs; numbers are little-endian and
// lie without padding.
#pragma once

#include "array/array.hpp"
#include "parallel/shared.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace perigee::parallel {

// The text of a chunk, under the name by which its functions are found.
struct Chunk {
  std::string name, text;
};

// The code of a function without the values of its upvalues: the dump of a function that takes them and returns the
// closure. One object for equal code in a process; a state loads it once.
struct Prototype {
  uint64_t id; // in this process
  unsigned upvalues;
  std::string code;
  std::shared_ptr<const Chunk> chunk; // may be null
};

// The one prototype of this code.
std::shared_ptr<const Prototype> intern_prototype(std::string code, unsigned upvalues,
                                                  std::shared_ptr<const Chunk> chunk);
// The one chunk of this name and text.
std::shared_ptr<const Chunk> intern_chunk(std::string_view name, std::string_view text);

// Makes of the dump of a function with n upvalues that of a factory, which takes n values and returns the function. The
// factory itself is the last prototype of `frame`, the dump of one with n parameters. Throws InternalError where the
// bytes are not as LuaJIT 2.1 writes them.
std::string make_factory(std::string_view dump, std::string_view frame, unsigned upvalues);

// The bytes of a message: those of a small task lie in the object itself, since memory that one thread takes and
// another gives back costs malloc a third of such a task.
class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes &other) { append(other.data(), other.size()); }
  Bytes(Bytes &&other) noexcept { *this = std::move(other); }
  Bytes &operator=(const Bytes &other) {
    if (this != &other) {
      clear();
      append(other.data(), other.size());
    }
    return *this;
  }
  Bytes &operator=(Bytes &&other) noexcept;
  ~Bytes() {
    if (data_ != own_)
      std::free(data_);
  }
  char *data() { return data_; }
  const char *data() const { return data_; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  // Room for more at the end, which the caller writes.
  char *extend(size_t more) {
    if (more > capacity_ - size_)
      grow(more);
    char *at = data_ + size_;
    size_ += more;
    return at;
  }
  void append(const void *from, size_t size) {
    if (size > 0)
      std::memcpy(extend(size), from, size);
  }

 private:
  void grow(size_t more);
  char own_[72];
  char *data_ = own_;
  size_t size_ = 0, capacity_ = sizeof own_;
};

struct Message {
  Bytes bytes;
  std::vector<std::shared_ptr<const Prototype>> prototypes;
  std::vector<array::Array> arrays;
  std::vector<Ref<>> shared;
  uint32_t count = 0; // of the values

  void clear();
  Message copy() const;
};

} // namespace perigee::parallel
