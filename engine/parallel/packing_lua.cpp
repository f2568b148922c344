// Values of a Lua state as bytes that lie in one piece, for those who carry bytes and nothing else (MPI): a message
// (transport.hpp) with its code and its arrays behind it.
#include "core/plugin_support.hpp"
#include "core/status.hpp"
#include "parallel/courier.hpp"
#include "parallel/transport_lua.hpp"

#include <array>
#include <cstring>
#include <optional>

namespace perigee::parallel {
namespace {

// count | kind | of plain ones the message's bytes; else size | what a courier wrote | number of extents | their first
// and last bytes | their data
enum class Kind : uint32_t { plain = 0x7067'0001, parts = 0x7067'0002 };
struct Header {
  uint32_t count;
  Kind kind;
};

Courier::Objects no_objects() {
  return {[](const Ref<> &object) -> uint64_t {
            throw UnsupportedError(std::string("a ") + kind_name(object->kind) +
                                   " belongs to the process that made it and cannot be sent to another rank");
          },
          [](uint64_t, int32_t, const WordPlace &) -> Ref<> {
            throw InternalError("a message has an object of another process");
          },
          {}};
}

template <class T> void append(Bytes &to, const T &x) {
  to.append(&x, sizeof x);
}

void pack_parts(Bytes &to, Message &message) {
  for (array::Array &a : message.arrays) // of a column, its elements and not the whole matrix
    if (a->_block && !array::is_contiguous(*a))
      a = array::copy(*a);
  Courier courier(no_objects());
  Writer writer;
  courier.put(writer, message);
  append(to, static_cast<uint64_t>(writer.bytes.size()));
  to.append(writer.bytes.data(), writer.bytes.size());
  append(to, static_cast<uint64_t>(writer.extents.size()));
  for (const Extent &extent : writer.extents) {
    append(to, extent.first);
    append(to, extent.last);
  }
  for (const Extent &extent : writer.extents)
    to.append(static_cast<const std::byte *>(extent.block->memory) + extent.first,
              static_cast<size_t>(extent.last - extent.first));
}

class Taken {
 public:
  Taken(const void *data, int64_t size) : at_(static_cast<const char *>(data)), left_(static_cast<size_t>(size)) {}
  const char *take(size_t size) {
    if (size > left_)
      throw InternalError("a message between ranks ends early");
    left_ -= size;
    return std::exchange(at_, at_ + size);
  }
  template <class T> T get() {
    T x;
    std::memcpy(&x, take(sizeof x), sizeof x);
    return x;
  }
  size_t left() const { return left_; }

 private:
  const char *at_;
  size_t left_;
};

Message unpack_parts(Taken &from) {
  Packet packet;
  const auto size = from.get<uint64_t>();
  const auto *bytes = reinterpret_cast<const std::byte *>(from.take(size));
  packet.bytes.assign(bytes, bytes + size);
  const auto extents = from.get<uint64_t>();
  for (uint64_t i = 0; i < extents; ++i) {
    const auto first = from.get<int64_t>(), last = from.get<int64_t>();
    packet.extents.push_back({nullptr, first, last});
  }
  for (Extent &extent : packet.extents) {
    const int64_t length = extent.last - extent.first;
    const char *data = from.take(static_cast<size_t>(length));
    extent.block = array::create(PG_UINT8, std::span(&length, 1), false).detach()._block;
    if (length > 0)
      std::memcpy(extent.block->memory, data, static_cast<size_t>(length));
  }
  Courier courier(no_objects());
  Reader reader(packet);
  return courier.get(reader);
}

// A big buffer is not kept for small messages.
void reset(Bytes &bytes) {
  if (bytes.size() > 1 << 20)
    bytes = {};
  bytes.clear();
}

thread_local Bytes packed;

template <class Body> int32_t guarded(Body &&body) { // not guard(): errors of Lua must come through
  try {
    body();
    return PG_OK;
  } catch (const Error &e) {
    return set_last_error(e.status, e.what());
  } catch (const std::bad_alloc &) {
    return set_last_error(PG_ERROR_MEMORY, "this machine has no memory left");
  }
}

} // namespace
} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

int32_t pg_values_pack(const void **data, int64_t *size, void *state, int32_t first) {
  return guarded([&] {
    auto *L = static_cast<lua_State *>(state);
    Transport &transport = Transport::of(L);
    thread_local Message message;
    if (!transport.encode(L, first, message)) {
      std::string reason = transport.reason;
      message.clear();
      if (const size_t at = reason.find('\1'); at != std::string::npos)
        reason.replace(at, 1, "the value");
      throw ArgumentError(reason + " cannot be sent to another rank");
    }
    reset(packed);
    if (message.prototypes.empty() && message.arrays.empty() && message.shared.empty()) {
      append(packed, Header{message.count, Kind::plain});
      packed.append(message.bytes.data(), message.bytes.size());
    } else {
      append(packed, Header{message.count, Kind::parts});
      pack_parts(packed, message);
      message.clear();
    }
    *data = packed.data();
    *size = static_cast<int64_t>(packed.size());
  });
}

int32_t pg_values_unpack(int32_t *count, void *state, const void *data, int64_t size) {
  return guarded([&] {
    auto *L = static_cast<lua_State *>(state);
    Taken from(data, size);
    const auto header = from.get<Header>();
    thread_local Message message;
    message.clear();
    if (header.kind == Kind::parts) {
      message = unpack_parts(from);
    } else if (header.kind == Kind::plain) {
      message.count = header.count;
      const size_t length = from.left();
      message.bytes.append(from.take(length), length);
    } else {
      throw ArgumentError("the message was not sent by the table form (lower case) of this version of Perigee");
    }
    *count = Transport::of(L).decode(L, message);
    message.clear();
  });
}
