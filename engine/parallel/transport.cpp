// Prototypes: the code of functions that travel.
#include "parallel/transport.hpp"

#include "core/status.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace perigee::parallel {
namespace {

std::mutex registry_mutex;
// Weak, so that code that nobody holds any more goes; its key is then replaced or swept.
template <class T> using Registry = std::unordered_map<std::string, std::weak_ptr<const T>>;

template <class T> void sweep(Registry<T> &registry, size_t &limit) {
  if (registry.size() < limit)
    return;
  std::erase_if(registry, [](const auto &entry) { return entry.second.expired(); });
  limit = std::max<size_t>(1024, 2 * registry.size());
}

// Reads LuaJIT's dump format 2 (lj_bcdump.h of LuaJIT 2.1).
class Reader {
 public:
  explicit Reader(std::string_view dump) : dump_(dump) {}
  size_t at() const { return at_; }
  void seek(size_t at) { at_ = at; }
  uint8_t byte() {
    if (at_ >= dump_.size())
      throw InternalError("the dump of a function ends early");
    return static_cast<uint8_t>(dump_[at_++]);
  }
  uint32_t number() { // ULEB128
    uint32_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const uint8_t next = byte();
      value |= uint32_t(next & 0x7f) << shift;
      if (next < 0x80)
        return value;
    }
    throw InternalError("the dump of a function has a number that is too long");
  }
  void skip(size_t bytes) {
    if (bytes > dump_.size() - at_)
      throw InternalError("the dump of a function ends early");
    at_ += bytes;
  }
  // The header, after which the prototypes begin.
  void header() {
    if (byte() != 0x1b || byte() != 'L' || byte() != 'J' || byte() != 2)
      throw InternalError("functions are dumped in a format that is not LuaJIT 2.1's");
    flags = number();
    if (flags & 1 || flags & 2)
      throw InternalError("functions are dumped big-endian or stripped");
    skip(number());
  }
  // Where the last prototype begins, its length included, and where it ends.
  std::pair<size_t, size_t> last() {
    size_t begin = 0, end = 0;
    for (;;) {
      const size_t start = at_;
      const uint32_t length = number();
      if (length == 0)
        break;
      begin = start;
      skip(length);
      end = at_;
    }
    if (end == 0 || at_ != dump_.size())
      throw InternalError("the dump of a function has no prototype, or more than one end");
    return {begin, end};
  }
  uint32_t flags = 0;

 private:
  std::string_view dump_;
  size_t at_ = 0;
};

} // namespace

std::shared_ptr<const Chunk> intern_chunk(std::string_view name, std::string_view text) {
  static auto &registry = *new Registry<Chunk>; // states may still send while the process exits
  static size_t limit = 1024;
  std::string key(name);
  key += '\0';
  key += text;
  const std::lock_guard lock(registry_mutex);
  auto &entry = registry[key];
  auto chunk = entry.lock();
  if (!chunk) {
    chunk = std::make_shared<const Chunk>(Chunk{std::string(name), std::string(text)});
    entry = chunk;
    sweep(registry, limit);
  }
  return chunk;
}

std::shared_ptr<const Prototype> intern_prototype(std::string code, unsigned upvalues,
                                                  std::shared_ptr<const Chunk> chunk) {
  static auto &registry = *new Registry<Prototype>;
  static size_t limit = 1024;
  static uint64_t last_id = 0;
  const std::lock_guard lock(registry_mutex);
  auto &entry = registry[code];
  auto prototype = entry.lock();
  if (!prototype) {
    prototype = std::make_shared<const Prototype>(Prototype{++last_id, upvalues, std::move(code), std::move(chunk)});
    entry = prototype;
    sweep(registry, limit);
  }
  return prototype;
}

// A dump is a header, then prototypes, each after those inside it, and a zero. The function's own prototype, the last,
// says of each upvalue where its parent has it: now in the parent's slot of that number, a parameter of the factory.
std::string make_factory(std::string_view dump, std::string_view frame, unsigned upvalues) {
  Reader reader(dump);
  reader.header();
  const auto [begin, end] = reader.last();
  std::string code(dump.substr(0, end));
  reader.seek(begin);
  reader.number();
  reader.skip(3); // flags, parameters, size of the frame
  if (reader.byte() != upvalues)
    throw InternalError("the dump of a function has another number of upvalues");
  reader.number();
  reader.number();
  const uint32_t instructions = reader.number();
  if (reader.number() != 0) { // bytes of debug information
    reader.number();
    reader.number();
  }
  reader.skip(size_t(instructions) * 4);
  constexpr uint16_t of_parent = 0x8000; // and not 0x4000, by which compiled code takes the value for a constant
  for (unsigned i = 0; i < upvalues; ++i) {
    const auto place = static_cast<uint16_t>(of_parent | i);
    std::memcpy(&code[reader.at()], &place, 2);
    reader.skip(2);
  }
  Reader parent(frame);
  parent.header();
  const auto [factory_begin, factory_end] = parent.last();
  code += frame.substr(factory_begin, factory_end - factory_begin);
  code += '\0';
  return code;
}

Bytes &Bytes::operator=(Bytes &&other) noexcept {
  if (this == &other)
    return *this;
  if (data_ != own_)
    std::free(data_);
  if (other.data_ == other.own_) {
    data_ = own_;
    capacity_ = sizeof own_;
    std::memcpy(own_, other.own_, other.size_);
  } else {
    data_ = other.data_;
    capacity_ = other.capacity_;
    other.data_ = other.own_;
    other.capacity_ = sizeof other.own_;
  }
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void Bytes::grow(size_t more) {
  const size_t wanted = std::max(2 * capacity_, size_ + more);
  char *data =
      data_ == own_ ? static_cast<char *>(std::malloc(wanted)) : static_cast<char *>(std::realloc(data_, wanted));
  if (!data)
    throw std::bad_alloc();
  if (data_ == own_)
    std::memcpy(data, own_, size_);
  data_ = data;
  capacity_ = wanted;
}

void Message::clear() {
  bytes.clear();
  prototypes.clear();
  arrays.clear();
  shared.clear();
  count = 0;
}

Message Message::copy() const {
  Message other;
  other.bytes = bytes;
  other.prototypes = prototypes;
  for (const auto &a : arrays)
    other.arrays.push_back(array::share(*a));
  other.shared = shared;
  other.count = count;
  return other;
}

} // namespace perigee::parallel
