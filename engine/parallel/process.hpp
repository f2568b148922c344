// Worker processes: memory that several processes map, channels between them, and how one is started, dies and is
// buried. Nothing here knows Lua.
#pragma once

#include "array/array.hpp"

#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace perigee::parallel {

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  void reset();

 private:
  int fd_;
};

/// A descriptor with a number above those of the standard streams, which may have been closed: what the script prints
/// must not go into it.
Descriptor beyond_streams(Descriptor file);

/// Memory in a memfd that several processes map, each once; they know it by its id. Counted: what arrays of it hold,
/// and the channel of a worker until the parent has no use for it.
class Segment {
 public:
  /// New, zeroed; the caller's VM pays for it. Throws MemoryError.
  static Segment *create(int64_t bytes, int32_t *collect);
  /// The same, of the engine's own.
  static Segment *create_unpaid(int64_t bytes);
  /// What another process sent: maps it, or finds it mapped already. Throws Error.
  static Segment *adopt(uint64_t id, Descriptor fd, int64_t bytes);
  /// The segment with this id, retained; nullptr if this process does not have it.
  static Segment *find(uint64_t id);
  /// The segment that a block lies in, not retained; nullptr for any other memory.
  static Segment *of(const pg_block *block);

  std::byte *data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  uint64_t id() const { return id_; } // never 0
  int descriptor() const { return fd_.get(); }
  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release();

  /// A block of all of it, with one reference; it retains the segment.
  pg_block *block();

 private:
  Segment(uint64_t id, Descriptor fd, int64_t bytes);
  ~Segment();
  bool retain_if_alive();

  std::atomic<int64_t> references_{1};
  uint64_t id_;
  Descriptor fd_;
  std::byte *data_ = nullptr;
  int64_t bytes_;
  int64_t owner_ = 0; // account that pays
};

/// A new row-major array of zeros that worker processes see as it is, instead of a copy.
array::Array create_shared(int32_t dtype, std::span<const int64_t> shape, int32_t *collect = nullptr);

/// Memory that a packet refers to: bytes [first, last) of a block. Of a shared segment the whole travels, by
/// reference.
struct Extent {
  pg_block *block = nullptr;
  int64_t first = 0, last = 0;
};

/// A packet as it arrived. Byte `first` of the sender's block is the first of `block`'s memory; each block has one
/// reference, which is given up with the packet.
struct Packet {
  uint32_t kind = 0;
  uint64_t tag = 0;
  std::vector<std::byte> bytes;
  std::vector<Extent> extents;
  /// Why extents are missing that this process could not take (no memory for them). The channel goes on.
  std::exception_ptr failure;

  Packet() = default;
  Packet(Packet &&other) noexcept = default;
  Packet &operator=(Packet &&other) noexcept {
    std::swap(kind, other.kind);
    std::swap(tag, other.tag);
    bytes.swap(other.bytes);
    extents.swap(other.extents);
    std::swap(failure, other.failure);
    return *this;
  }
  ~Packet();
  std::string why_failed() const; // "" where it did not
};

/// One end of a connected pair of sockets. Any thread may send; one receives.
class Channel {
 public:
  enum class Role { parent, worker };

  Channel(Descriptor socket, Role role);
  ~Channel();
  Channel(const Channel &) = delete;

  /// Sends all of it, however large; false if the other side is gone. Throws Error where memory is lacking.
  bool send(uint32_t kind, uint64_t tag, std::span<const std::byte> bytes, std::span<const Extent> extents = {});
  /// Waits for the next packet; false if the other side is gone.
  bool receive(Packet &packet);
  /// True when something can be received, the end of the channel included. -1: waits without end.
  bool wait(int milliseconds);
  /// Whether the other side is gone; what it has sent may still be received.
  bool ended() const;

  int descriptor() const { return socket_.get(); }

 private:
  friend class Segment;
  struct Header;
  void forget(uint64_t id);                  // this process has no more use for a segment
  void flush_forgotten(bool block);          // with send_mutex_
  bool send_parts(std::vector<iovec> parts); // with send_mutex_
  pg_block *receive_segment(uint64_t id, int64_t descriptor, int64_t bytes, std::vector<Descriptor> &descriptors,
                            std::size_t expected);
  bool receive_parts(std::vector<iovec> parts, std::vector<Descriptor> *descriptors = nullptr);

  Descriptor socket_;
  const Role role_;
  std::mutex send_mutex_;
  std::mutex known_mutex_;
  std::unordered_set<uint64_t> known_; // parent: segments that the worker has
  std::vector<uint64_t> forgotten_;    // parent: what the worker is still to be told
  std::vector<Segment *> held_;        // worker: retained until the parent says so
};

/// A worker process, seen from its parent. Killed when the parent or the thread that started it ends, however it ends.
class Process {
 public:
  /// Starts it; throws UnsupportedError where that cannot be, with the reason and the cure.
  Process();
  /// Closes the channel, and kills what does not end by that.
  ~Process();
  Process(const Process &) = delete;

  Channel &channel() { return channel_; }
  pid_t pid() const { return pid_; }
  void kill(int signal);
  /// After the channel's end: waits for the process and says how it ended, in words that follow "worker 3 ". Its end is
  /// made sure of.
  std::string bury();

 private:
  explicit Process(std::pair<Descriptor, Descriptor> sockets);

  Channel channel_;
  pid_t pid_ = -1;
  Descriptor end_; // of the process: it can be read at its end, and signals through it reach no other with its number
};

/// Throws UnsupportedError where there can be no worker processes at all.
void check_processes();
/// Refuses worker processes from now on, saying why: for a process that is about to be confined.
void forbid_processes(const char *reason);

} // namespace perigee::parallel
