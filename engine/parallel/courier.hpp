// Messages between Lua states (transport.hpp) on their way to another process and from there: their bytes as they are,
// code and chunk texts once a channel, arrays as descriptors of the extents of a packet.
#pragma once

#include "parallel/process.hpp"
#include "parallel/transport.hpp"
#include "parallel/word.hpp"

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace perigee::parallel {

/// What a packet will hold. Numbers are written as they lie in memory: both processes are one program.
class Writer {
 public:
  template <class T> void put(const T &x) { put_bytes(&x, sizeof x); }
  void put_text(std::string_view text);

  std::vector<std::byte> bytes;
  std::vector<Extent> extents;

 private:
  void put_bytes(const void *data, std::size_t size) {
    const std::size_t at = bytes.size();
    bytes.resize(at + size);
    if (size > 0)
      std::memcpy(bytes.data() + at, data, size);
  }
};

/// What a packet holds, in the order in which it was written. Throws InternalError past its end.
class Reader {
 public:
  explicit Reader(const Packet &packet) : packet(packet) {}
  template <class T> T get() {
    T x;
    std::memcpy(&x, take(sizeof x), sizeof x);
    return x;
  }
  std::string_view get_text();

  const Packet &packet;

 private:
  const std::byte *take(std::size_t bytes);
  std::size_t at_ = 0;
};

/// One side of a channel: what the other side has been told already, and what it has told.
class Courier {
 public:
  /// How shared objects travel: a number that the other side knows them by, and the object of a number, with the place
  /// of its word where it came along. Both throw where there is none.
  struct Objects {
    std::function<uint64_t(const Ref<> &)> number;
    std::function<Ref<>(uint64_t number, int32_t kind, const WordPlace &place)> object;
    std::function<void(uint64_t number)> take_back; // it was not sent after all; may be empty
  };
  explicit Courier(Objects objects) : objects_(std::move(objects)) {}

  /// What is put while one lives is sent together. Without done() it is not sent, and the other side has not been told.
  class Sending {
   public:
    explicit Sending(Courier &courier) : courier_(courier) {}
    Sending(const Sending &) = delete;
    ~Sending() { courier_.settle(done_); }
    void done() { done_ = true; }

   private:
    Courier &courier_;
    bool done_ = false;
  };
  void put(Writer &writer, const Message &message);
  /// Of a packet with a failure, a message that lacks its arrays: the code in it has arrived all the same.
  Message get(Reader &reader);

 private:
  void settle(bool sent);

  Objects objects_;
  std::vector<std::shared_ptr<const Chunk>> new_chunks_; // put, and not known to be sent
  std::vector<std::shared_ptr<const Prototype>> new_prototypes_;
  std::vector<uint64_t> new_objects_;
  std::unordered_map<std::shared_ptr<const Chunk>, uint64_t> sent_chunks_;
  std::unordered_map<std::shared_ptr<const Prototype>, uint64_t> sent_prototypes_;
  std::unordered_map<uint64_t, std::shared_ptr<const Chunk>> chunks_;
  std::unordered_map<uint64_t, std::shared_ptr<const Prototype>> prototypes_;
};

} // namespace perigee::parallel
