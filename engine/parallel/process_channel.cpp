// Memory that several processes map, and messages between two processes.
#include "parallel/process_worker.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <unordered_map>

namespace perigee::parallel {
namespace {

// All shared segments that this process maps, and the channels to its workers, for ever: blocks may be freed while the
// process exits.
struct Registry {
  std::mutex mutex;
  std::unordered_map<uint64_t, Segment *> segments;
  std::mutex channels_mutex;
  std::vector<Channel *> channels;
};
Registry &registry() {
  static auto *instance = new Registry;
  return *instance;
}

[[noreturn]] void no_memory(const char *what, int64_t bytes) {
  const int error = errno;
  std::string message =
      std::string(what) + " of " + std::to_string(bytes) + " bytes cannot be made: " + std::strerror(error);
  if (error == EMFILE)
    throw UnsupportedError(message +
                           " (each array that processes share takes one; ulimit -n says how many there may be)");
  throw MemoryError(message);
}

Descriptor new_file(const char *what, int64_t bytes) {
  Descriptor file = beyond_streams(Descriptor(memfd_create("perigee", MFD_CLOEXEC)));
  if (file.get() < 0 || ftruncate(file.get(), std::max<int64_t>(bytes, 1)) != 0)
    no_memory(what, bytes);
  return file;
}

void release_block(void *, void *context) {
  static_cast<Segment *>(context)->release();
}

constexpr std::size_t descriptors_at_once = 250; // the kernel passes at most 253
constexpr int64_t most_bytes = int64_t{1} << 46, most_extents = 1 << 24;

constexpr uint32_t magic = 0x31504750; // "PGP1"
constexpr uint32_t forget_kind = 0xffffffff;

iovec part(const void *data, int64_t bytes) {
  return {const_cast<void *>(data), static_cast<std::size_t>(bytes)};
}

// Takes `bytes`, which are done, off the front of parts[at...]; returns the first part that is not.
std::size_t advance(std::vector<iovec> &parts, std::size_t at, std::size_t bytes) {
  while (at < parts.size() && bytes >= parts[at].iov_len)
    bytes -= parts[at++].iov_len;
  if (bytes > 0) {
    parts[at].iov_base = static_cast<char *>(parts[at].iov_base) + bytes;
    parts[at].iov_len -= bytes;
  }
  return at;
}

// What follows the header: where it is, or where it goes.
msghdr message_of(std::vector<iovec> &parts, std::size_t at) {
  msghdr message{};
  message.msg_iov = parts.data() + at;
  message.msg_iovlen = std::min<std::size_t>(parts.size() - at, 1000); // IOV_MAX is 1024
  return message;
}

struct ExtentEntry {
  uint64_t segment; // id, 0: a copy, whose bytes follow
  int64_t first, bytes;
  int64_t descriptor; // of a segment: which of those sent along, from 1; 0: the receiver has it
};

} // namespace

// ---------------------------------------------------------------------------------------------------------- segments
Segment::Segment(uint64_t id, Descriptor fd, int64_t bytes) : id_(id), fd_(std::move(fd)), bytes_(bytes) {
  void *memory = mmap(nullptr, static_cast<std::size_t>(std::max<int64_t>(bytes, 1)), PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED)
    no_memory("shared memory", bytes);
  data_ = static_cast<std::byte *>(memory);
}

Segment::~Segment() {
  munmap(data_, static_cast<std::size_t>(std::max<int64_t>(bytes_, 1)));
  pg_memory_release(bytes_, owner_);
}

namespace {
// Reserves what a segment will hold; gives it back unless `keep` was called.
class Payment {
 public:
  Payment(int64_t bytes, int32_t *collect) : bytes_(bytes) {
    int32_t wanted = 0;
    if (int32_t status = pg_memory_reserve(bytes, &wanted); status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    if (wanted && collect)
      *collect = 1;
  }
  ~Payment() {
    if (!kept_)
      pg_memory_release(bytes_, pg_memory_owner());
  }
  Payment(const Payment &) = delete;
  int64_t keep() {
    kept_ = true;
    return pg_memory_owner();
  }

 private:
  int64_t bytes_;
  bool kept_ = false;
};
} // namespace

Segment *Segment::create(int64_t bytes, int32_t *collect) {
  Payment payment(bytes, collect);
  Segment *segment = create_unpaid(bytes);
  segment->owner_ = payment.keep();
  return segment;
}

Segment *Segment::create_unpaid(int64_t bytes) {
  uint64_t id = 0;
  while (id == 0)
    if (getrandom(&id, sizeof id, 0) != sizeof id)
      throw InternalError("the kernel gives no random numbers");
  auto *segment = new Segment(id, new_file("an array that processes share", bytes), bytes);
  Registry &all = registry();
  std::lock_guard lock(all.mutex);
  all.segments.emplace(id, segment);
  return segment;
}

bool Segment::retain_if_alive() {
  int64_t count = references_.load();
  while (count > 0)
    if (references_.compare_exchange_weak(count, count + 1))
      return true;
  return false;
}

Segment *Segment::find(uint64_t id) {
  Registry &all = registry();
  std::lock_guard lock(all.mutex);
  auto found = all.segments.find(id);
  return found != all.segments.end() && found->second->retain_if_alive() ? found->second : nullptr;
}

Segment *Segment::adopt(uint64_t id, Descriptor fd, int64_t bytes) {
  if (Segment *known = find(id))
    return known;
  Payment payment(bytes, nullptr);
  std::unique_ptr<Segment, void (*)(Segment *)> segment(new Segment(id, std::move(fd), bytes),
                                                        [](Segment *unwanted) { delete unwanted; });
  Registry &all = registry();
  std::lock_guard lock(all.mutex);
  auto [place, fresh] = all.segments.try_emplace(id, segment.get());
  if (!fresh) {
    if (place->second->retain_if_alive()) // another thread was first
      return place->second;
    place->second = segment.get(); // it is just going: its release() will find that the place is not its own
  }
  segment->owner_ = payment.keep();
  return segment.release();
}

void Segment::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  Registry &all = registry();
  bool last = true;
  {
    std::lock_guard lock(all.mutex);
    auto found = all.segments.find(id_);
    if (found != all.segments.end() && found->second == this)
      all.segments.erase(found);
    else
      last = false; // it came back meanwhile, from another process
  }
  if (last) {
    std::lock_guard lock(all.channels_mutex);
    for (Channel *channel : all.channels)
      channel->forget(id_);
  }
  delete this;
}

pg_block *Segment::block() {
  array::Array array = array::borrow(data_, PG_UINT8, std::span(&bytes_, 1), release_block, this);
  retain();
  return array.detach()._block;
}

Segment *Segment::of(const pg_block *block) {
  return block && block->release == release_block ? static_cast<Segment *>(block->context) : nullptr;
}

array::Array create_shared(int32_t dtype, std::span<const int64_t> shape, int32_t *collect) {
  // The checks and strides of any array, without its memory.
  array::Array described = array::borrow(nullptr, dtype, shape, nullptr, nullptr);
  pg_array a = *described;
  const int64_t bytes = a._size * static_cast<int64_t>(array::element_size(dtype));
  Segment *segment = Segment::create(bytes, collect);
  a._block = segment->block();
  segment->release(); // the block holds it now
  a._data = a._block->memory;
  return array::Array::adopt(a);
}

// ---------------------------------------------------------------------------------------------------------- messages
std::string Packet::why_failed() const {
  try {
    if (failure)
      std::rethrow_exception(failure);
  } catch (const std::exception &e) {
    return e.what();
  }
  return "";
}

Packet::~Packet() {
  for (const Extent &extent : extents)
    array::release(extent.block);
}

struct Channel::Header {
  uint32_t magic, kind;
  uint64_t tag;
  int64_t extents;     // their number: as many entries follow the descriptors,
  int64_t bytes;       // then the encoded values, then the copies
  int64_t descriptors; // of segments, in the order of their entries
};

Channel::Channel(Descriptor socket, Role role) : socket_(std::move(socket)), role_(role) {
  if (role_ == Role::parent) {
    Registry &all = registry();
    std::lock_guard lock(all.channels_mutex);
    all.channels.push_back(this);
  }
}

Channel::~Channel() {
  if (role_ == Role::parent) {
    Registry &all = registry();
    std::lock_guard lock(all.channels_mutex);
    std::erase(all.channels, this);
  }
  for (Segment *segment : held_)
    segment->release();
}

void Channel::forget(uint64_t id) {
  {
    std::lock_guard lock(known_mutex_);
    if (known_.erase(id) == 0)
      return;
    forgotten_.push_back(id);
  }
  // Whoever is sending now looks again when done.
  if (std::unique_lock sending(send_mutex_, std::try_to_lock); sending)
    flush_forgotten(false);
}

// Tells the worker which segments it may let go of. Without `block` only as much as fits the socket's buffer now: a
// worker that computes for an hour is told with its next task.
void Channel::flush_forgotten(bool block) {
  for (;;) {
    std::vector<uint64_t> ids;
    {
      std::lock_guard lock(known_mutex_);
      ids.swap(forgotten_);
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const Header header{magic, forget_kind, ids[i], 0, 0, 0};
      ssize_t sent;
      while ((sent = ::send(socket_.get(), &header, sizeof header, MSG_NOSIGNAL | (block ? 0 : MSG_DONTWAIT))) < 0 &&
             errno == EINTR)
        ;
      if (sent > 0 && sent < static_cast<ssize_t>(sizeof header)) { // begun, so it must be ended
        send_parts({part(reinterpret_cast<const char *>(&header) + sent, static_cast<int64_t>(sizeof header) - sent)});
      } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        std::lock_guard lock(known_mutex_);
        forgotten_.insert(forgotten_.end(), ids.begin() + static_cast<std::ptrdiff_t>(i), ids.end());
        return;
      }
    }
    if (ids.empty())
      return;
  }
}

bool Channel::send_parts(std::vector<iovec> parts) {
  for (std::size_t at = 0; at < parts.size();) {
    const msghdr message = message_of(parts, at);
    ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0)
      at = advance(parts, at, static_cast<std::size_t>(sent));
    else if (errno != EINTR)
      return false;
  }
  return true;
}

namespace {

// Descriptors travel with a byte of their own each time, at most 250 of them.
bool send_descriptors(int socket, std::span<const int> descriptors) {
  while (!descriptors.empty()) {
    const auto now = descriptors.first(std::min(descriptors.size(), descriptors_at_once));
    alignas(cmsghdr) char control[CMSG_SPACE(descriptors_at_once * sizeof(int))] = {};
    char one = 'd';
    iovec part{&one, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(now.size_bytes());
    cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(now.size_bytes());
    std::memcpy(CMSG_DATA(head), now.data(), now.size_bytes());
    ssize_t sent;
    while ((sent = sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
      ;
    if (sent != 1)
      return false;
    descriptors = descriptors.subspan(now.size());
  }
  return true;
}

} // namespace

bool Channel::send(uint32_t kind, uint64_t tag, std::span<const std::byte> bytes, std::span<const Extent> extents) {
  std::vector<ExtentEntry> entries(extents.size());
  std::vector<iovec> parts{part(entries.data(), static_cast<int64_t>(entries.size() * sizeof(ExtentEntry))),
                           part(bytes.data(), static_cast<int64_t>(bytes.size()))};
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent &extent = extents[i];
    if (const Segment *segment = Segment::of(extent.block)) {
      entries[i] = {segment->id(), 0, segment->bytes(), 0};
    } else {
      entries[i] = {0, extent.first, extent.last - extent.first, 0};
      parts.push_back(part(static_cast<std::byte *>(extent.block->memory) + extent.first, extent.last - extent.first));
    }
  }

  std::lock_guard sending(send_mutex_);
  flush_forgotten(true);
  std::vector<int> descriptors;
  {
    std::lock_guard lock(known_mutex_);
    for (std::size_t i = 0; i < extents.size(); ++i) {
      // A worker always sends the descriptor: the parent may be about to let go of the segment.
      if (entries[i].segment == 0 || (role_ == Role::parent && !known_.insert(entries[i].segment).second))
        continue;
      descriptors.push_back(Segment::of(extents[i].block)->descriptor());
      entries[i].descriptor = static_cast<int64_t>(descriptors.size());
    }
  }
  const Header header{magic,
                      kind,
                      tag,
                      static_cast<int64_t>(extents.size()),
                      static_cast<int64_t>(bytes.size()),
                      static_cast<int64_t>(descriptors.size())};
  bool sent = true;
  if (descriptors.empty()) {
    parts.insert(parts.begin(), part(&header, sizeof header));
  } else {
    sent = send_parts({part(&header, sizeof header)}) && send_descriptors(socket_.get(), descriptors);
  }
  sent = sent && send_parts(std::move(parts));
  flush_forgotten(false);
  return sent;
}

bool Channel::wait(int milliseconds) {
  pollfd ready{socket_.get(), POLLIN, 0};
  for (;;) {
    int count = poll(&ready, 1, milliseconds);
    if (count < 0 && errno == EINTR)
      continue;
    return count != 0;
  }
}

bool Channel::receive_parts(std::vector<iovec> parts, std::vector<Descriptor> *descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(descriptors_at_once * sizeof(int))];
  for (std::size_t at = advance(parts, 0, 0); at < parts.size();) {
    msghdr message = message_of(parts, at);
    if (descriptors) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
    }
    ssize_t got = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    at = advance(parts, at, static_cast<std::size_t>(got));
    if (!descriptors)
      continue;
    for (cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head))
      for (std::size_t i = 0; i < (head->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
        descriptors->emplace_back(fd);
      }
  }
  return true;
}

// What does not make sense comes from a process that has written over its own memory: it is treated as gone.
bool Channel::receive(Packet &packet) {
  packet = Packet();
  Header header;
  for (;;) {
    if (!receive_parts({part(&header, sizeof header)}) || header.magic != magic || header.extents < 0 ||
        header.extents > most_extents || header.bytes < 0 || header.bytes > most_bytes || header.descriptors < 0 ||
        header.descriptors > header.extents)
      return false;
    if (header.kind != forget_kind)
      break;
    auto gone = std::find_if(held_.begin(), held_.end(), [&](const Segment *s) { return s->id() == header.tag; });
    if (gone != held_.end()) {
      (*gone)->release();
      held_.erase(gone);
    }
  }
  packet.kind = header.kind;
  packet.tag = header.tag;
  const auto expected = static_cast<std::size_t>(header.descriptors);
  std::vector<Descriptor> descriptors;
  for (std::size_t batch = 0; batch < expected; batch += descriptors_at_once) {
    char one;
    if (!receive_parts({part(&one, 1)}, &descriptors))
      return false;
  }
  std::vector<ExtentEntry> entries(static_cast<std::size_t>(header.extents));
  packet.bytes.resize(static_cast<std::size_t>(header.bytes));
  if (!receive_parts({part(entries.data(), static_cast<int64_t>(entries.size() * sizeof(ExtentEntry))),
                      part(packet.bytes.data(), header.bytes)}))
    return false;

  // Copies go to where they will stay. Where there is no memory for one, the rest must be read all the
  // same, for the sake of the next.
  std::exception_ptr &failure = packet.failure;
  std::vector<iovec> parts;
  std::vector<std::byte> scratch;
  packet.extents.reserve(entries.size());
  for (const ExtentEntry &entry : entries) {
    if (entry.bytes < 0 || entry.bytes > most_bytes || entry.first < 0)
      return false;
    pg_block *block = nullptr;
    try {
      if (failure)
        std::rethrow_exception(failure);
      block = entry.segment ? receive_segment(entry.segment, entry.descriptor, entry.bytes, descriptors, expected)
                            : array::create(PG_UINT8, std::span(&entry.bytes, 1), false).detach()._block;
    } catch (const std::exception &) {
      failure = std::current_exception();
    }
    if (block)
      packet.extents.push_back({block, entry.first, entry.first + entry.bytes});
    if (entry.segment)
      continue;
    if (block) {
      parts.push_back(part(block->memory, entry.bytes));
      continue;
    }
    scratch.resize(1 << 16);
    for (int64_t left = entry.bytes; left > 0; left -= static_cast<int64_t>(scratch.size()))
      parts.push_back(part(scratch.data(), std::min(left, static_cast<int64_t>(scratch.size()))));
  }
  return receive_parts(std::move(parts));
}

bool Channel::ended() const {
  pollfd state{socket_.get(), 0, 0};
  return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

pg_block *Channel::receive_segment(uint64_t id, int64_t descriptor, int64_t bytes, std::vector<Descriptor> &descriptors,
                                   std::size_t expected) {
  Segment *segment = Segment::find(id);
  if (!segment && descriptor > 0) {
    if (descriptors.size() != expected)
      throw UnsupportedError(
          "shared arrays were lost on their way: this process has too many open files (ulimit -n says "
          "how many there may be)");
    const auto which = static_cast<std::size_t>(descriptor) - 1;
    struct stat info {};
    if (which < descriptors.size() && fstat(descriptors[which].get(), &info) == 0 && info.st_size >= bytes)
      segment = Segment::adopt(id, std::move(descriptors[which]), bytes);
  }
  if (!segment || segment->bytes() != bytes) {
    if (segment)
      segment->release();
    throw InternalError("a shared array was lost between processes");
  }
  if (role_ == Role::parent) {
    std::lock_guard lock(known_mutex_);
    known_.insert(id);
  } else if (std::find(held_.begin(), held_.end(), segment) == held_.end()) {
    segment->retain();
    held_.push_back(segment);
  }
  pg_block *block = segment->block();
  segment->release();
  return block;
}

} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

int32_t pg_process_shared_array(pg_array *out, int32_t *collect, int32_t dtype, int32_t ndim, const int64_t *shape) {
  return guard([&] { *out = create_shared(dtype, {shape, static_cast<std::size_t>(ndim)}, collect).detach(); });
}

int32_t pg_process_is_shared(const pg_array *a) {
  return Segment::of(a->_block) != nullptr;
}
