// Memory for arrays: 64-byte aligned, and kept for a while when given back, because pages fresh from the kernel cost
// more (0.25 us for 4 KiB here) than most operations that fill them.
#pragma once

#include <cstdint>

namespace perigee::core {

struct Memory {
  void *data = nullptr; // null: this machine has none left
  int64_t capacity = 0; // give_memory wants it back
  bool zeroed = false;  // fresh pages are; used ones are not
};

/// At least `bytes` bytes, aligned to 64.
Memory take_memory(int64_t bytes, bool zero);
void give_memory(void *data, int64_t capacity) noexcept;

/// Gives large pieces back to the system that nobody took again since the call before the last: called after each
/// collection of garbage.
void age_memory() noexcept;
/// Gives everything back that the calling thread can: before an allocation fails, and where a memory limit is reached.
void trim_memory() noexcept;
/// Bytes now kept for the calling thread and for all.
int64_t kept_memory() noexcept;

/// At most so many bytes are kept, a thread of small pieces and a process of large ones. Large pieces are besides kept
/// only in place of what was in use: a piece that cannot be served from them makes as many bytes of them go, so that
/// keeping never makes a process larger than its arrays once were.
inline constexpr int64_t small_kept = 16 << 20, large_kept = int64_t{1} << 30;
/// Pieces up to this size are small: they come from malloc and are kept by thread, larger ones from the kernel.
inline constexpr int64_t small_piece = 256 << 10;

} // namespace perigee::core
