// The board on which ranks say what they wait for, a slot a rank, so that whoever started them can explain a deadlock:
// a file that the launcher makes, names to the ranks by PERIGEE_MPI_BOARD, and reads. A rank writes its slot only when
// it has waited for half a second, and clears it when the wait is over; without the variable nothing is written.
// Header-only and free of MPI: the launcher is no MPI program.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace perigee::mpi {

constexpr const char *board_variable = "PERIGEE_MPI_BOARD";
constexpr const char *shares_cores_variable = "PERIGEE_MPI_SHARES_CORES"; // 1: there are more ranks than cores

enum class RankState : int32_t {
  absent,   // no rank has opened this slot yet
  running,  // computes, or has waited for less than half a second
  waiting,  // the other fields say for what
  finalised // has left MPI
};

// What a rank waits for. Texts end with a zero.
struct Wait {
  int64_t since = 0;          // monotonic_nanoseconds() when the call began
  int32_t peer = -1;          // rank in the world that it waits for; any_peer or no_peer
  int32_t tag = -1;           // -1: any, or none
  char operation[24] = {};    // "recv", "bcast"
  char communicator[40] = {}; // "world", "a communicator of 2 ranks"
  char place[168] = {};       // "halo.lua:12"; "" where there is none
};
constexpr int32_t any_peer = -1; // a message of whoever sends one
constexpr int32_t no_peer = -2;  // all of the communicator

struct WaitSlot {
  std::atomic<uint32_t> sequence; // odd while the slot is being written
  std::atomic<int32_t> pid;       // 0: absent
  std::atomic<RankState> state;
  Wait wait;
};

struct BoardHeader {
  uint32_t magic, slots;
};
constexpr uint32_t board_magic = 0x50474d42;

inline int64_t monotonic_nanoseconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t); // one clock for all processes of a host
  return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

class Board {
 public:
  Board() = default;
  Board(const Board &) = delete;
  ~Board() { close(); }

  // The launcher's: makes the file for so many ranks. False (see errno) where it cannot.
  bool create(const char *path, uint32_t ranks) {
    const int file = ::open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
      return false;
    const bool made = ftruncate(file, static_cast<off_t>(bytes(ranks))) == 0 && map(file, bytes(ranks));
    ::close(file);
    if (made)
      *static_cast<BoardHeader *>(memory_) = {board_magic, ranks}; // a slot of zeros is an absent rank
    return made;
  }
  // A rank's. False where there is no such board: it then goes without.
  bool open(const char *path) {
    const int file = path ? ::open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
      return false;
    struct stat info {};
    bool mapped = fstat(file, &info) == 0 && info.st_size >= off_t(sizeof(BoardHeader)) &&
                  map(file, static_cast<std::size_t>(info.st_size));
    ::close(file);
    if (mapped && (header().magic != board_magic || bytes(header().slots) > size_)) {
      close();
      mapped = false;
    }
    return mapped;
  }
  void close() {
    if (memory_)
      munmap(memory_, size_);
    memory_ = nullptr;
  }

  explicit operator bool() const { return memory_ != nullptr; }
  uint32_t slots() const { return memory_ ? header().slots : 0; }
  WaitSlot &slot(uint32_t rank) { return reinterpret_cast<WaitSlot *>(static_cast<char *>(memory_) + offset)[rank]; }

  // A rank's: what it does from now on.
  void set(uint32_t rank, RankState state, const Wait &wait = {}) {
    if (rank >= slots())
      return;
    WaitSlot &s = slot(rank);
    s.sequence.fetch_add(1);
    s.pid.store(getpid());
    s.state.store(state);
    std::memcpy(&s.wait, &wait, sizeof wait);
    s.sequence.fetch_add(1);
  }
  // The launcher's: what a rank does. A slot that is being written (by a process that died at it, perhaps) reads as
  // running.
  RankState get(uint32_t rank, Wait &wait) {
    WaitSlot &s = slot(rank);
    for (int attempt = 0; attempt < 100; ++attempt) {
      const uint32_t before = s.sequence.load();
      const RankState state = s.state.load();
      std::memcpy(&wait, &s.wait, sizeof wait);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (before % 2 == 0 && s.sequence.load() == before)
        return state;
    }
    return RankState::running;
  }

 private:
  static constexpr std::size_t offset = 64;
  static std::size_t bytes(uint32_t ranks) { return offset + std::size_t(ranks) * sizeof(WaitSlot); }
  const BoardHeader &header() const { return *static_cast<const BoardHeader *>(memory_); }
  bool map(int file, std::size_t size) {
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
      return false;
    memory_ = memory;
    size_ = size;
    return true;
  }
  void *memory_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace perigee::mpi
