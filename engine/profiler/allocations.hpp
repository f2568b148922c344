// The memory profile: which line of a script allocates what, and what of it is still held. Hooks tell the line,
// LuaJIT's allocator and the arrays' blocks tell the bytes.
#pragma once

#include "core/memory.hpp"
#include "profiler/profiler.hpp"

namespace perigee::profiler {

class AllocationTracer final : core::MemoryObserver {
 public:
  struct Sum {
    Frame line;                                                             // of the script's innermost frame
    int64_t lua_count = 0, lua_bytes = 0, array_count = 0, array_bytes = 0; // allocated
    int64_t lua_held = 0, array_held = 0; // of that, still reachable at the end of the profiled function
  };
  struct Point { // of the memory over time
    double seconds;
    int64_t lua, arrays;
  };

  explicit AllocationTracer(lua_State *L);
  ~AllocationTracer(); // stops
  AllocationTracer(const AllocationTracer &) = delete;
  void stop();

  // Memory of this VM now, and the most there was, with the line that made it so. Bytes of before the start are not
  // counted for arrays.
  int64_t lua = 0, arrays = 0, held_lua = 0, held_arrays = 0, peak = 0, peak_lua = 0, peak_arrays = 0;
  size_t peak_line = 0;
  StackTree names; // only its names of sources
  std::vector<Sum> sums;
  std::vector<Point> curve;

  void on_hook(lua_State *L, lua_Debug *event);

 private:
  static void *allocate(void *user, void *pointer, size_t old_size, size_t new_size);
  void on_block(const void *block, int64_t bytes) noexcept override;
  size_t line_of(const char *source, int32_t defined, int32_t line);
  void moved();

  struct Held {
    size_t line;
    int64_t bytes;
  };
  struct FrameHash {
    size_t operator()(const Frame &f) const {
      return (size_t(uint32_t(f.source)) << 32 ^ uint32_t(f.line)) * 0x9e3779b97f4a7c15u >> 7;
    }
  };
  lua_State *main_;
  lua_Alloc base_ = nullptr;
  void *base_user_ = nullptr;
  void take_stock();

  bool running_ = false, stock_taken_ = false;
  size_t current_ = 0;
  double started_ = 0, every_ = 1e-3, next_ = 0;
  std::unordered_map<Frame, size_t, FrameHash> index_;
  std::unordered_map<const void *, Held> objects_, blocks_;
};

} // namespace perigee::profiler
