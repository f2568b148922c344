// A device as the rest of the module sees it: memory, copies, streams and events; by CUDA's driver (device_cuda.cpp) or,
// in the host's memory, the simulator's (device_sim.cpp). Above it lies one pool a device, the same for both.
#pragma once

#include "core/abi.hpp"
#include "core/status.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "gpu/gpu_abi.h"
}
#pragma GCC visibility pop

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace perigee::gpu {

// A stream of the driver, kept while memory may still be in use by its work. NULL handle: the default stream.
struct Stream {
  virtual ~Stream() = default;
  void *handle = nullptr;
};

struct Event {
  virtual ~Event() = default;
  bool recorded = false;
};

using StreamPtr = std::shared_ptr<Stream>;

// A piece of a device's memory.
struct Chunk {
  void *address = nullptr;
  std::size_t bytes = 0;
  pg_array owner{};                           // the simulator's: the host array whose memory it is
  std::vector<std::shared_ptr<Event>> until;  // not free before these are done
};

} // namespace perigee::gpu

struct pg_gpu_memory {
  pg_gpu_device *device = nullptr;
  perigee::gpu::Chunk chunk;
  std::atomic<std::int64_t> references{1};
  std::vector<perigee::gpu::StreamPtr> streams; // other than the default, whose work uses it
};

struct pg_gpu_stream {
  pg_gpu_device *device;
  perigee::gpu::StreamPtr stream;
};

struct pg_gpu_event {
  pg_gpu_device *device;
  std::shared_ptr<perigee::gpu::Event> event;
};

struct pg_gpu_device {
 public:
  explicit pg_gpu_device(int32_t backend, int32_t number) : backend(backend), number(number) {}
  virtual ~pg_gpu_device() = default;
  pg_gpu_device(const pg_gpu_device &) = delete;

  const int32_t backend, number; // enum pg_gpu_backend; from 0

  // ------------------------------------------------------------------------------------------------- memory, pooled --
  /// New memory with one reference. Throws MemoryError.
  pg_gpu_memory *allocate(std::size_t bytes, int32_t *collect);
  /// The simulator's: memory that is a host array's.
  pg_gpu_memory *adopt(const pg_array &a);
  void release(pg_gpu_memory *memory);
  pg_gpu_pool statistics();
  std::int64_t trim();

  // ------------------------------------------------------------------------------------------------ what devices do --
  virtual pg_gpu_properties describe() = 0;
  virtual void memory_info(std::int64_t &free, std::int64_t &total) = 0;
  virtual void synchronize() = 0;
  virtual void write(void *to, const void *from, std::size_t bytes, perigee::gpu::Stream *stream, bool wait) = 0;
  virtual void read(void *to, const void *from, std::size_t bytes, perigee::gpu::Stream *stream, bool wait) = 0;
  virtual void copy(void *to, const void *from, pg_gpu_device &source, std::size_t bytes,
                    perigee::gpu::Stream *stream) = 0;
  virtual void zero(void *to, std::size_t bytes, perigee::gpu::Stream *stream) = 0;
  virtual pg_array pinned(int32_t *collect, int32_t dtype, int32_t ndim, const std::int64_t *shape, bool zero) = 0;

  virtual perigee::gpu::StreamPtr create_stream() = 0;
  virtual void synchronize(perigee::gpu::Stream &stream) = 0;
  virtual bool done(perigee::gpu::Stream &stream) = 0;
  virtual void wait(perigee::gpu::Stream &stream, perigee::gpu::Event &event) = 0;
  virtual std::shared_ptr<perigee::gpu::Event> create_event(bool timed) = 0;
  virtual void record(perigee::gpu::Event &event, perigee::gpu::Stream *stream) = 0;
  virtual void synchronize(perigee::gpu::Event &event) = 0;
  virtual bool done(perigee::gpu::Event &event) = 0;
  virtual double elapsed(perigee::gpu::Event &start, perigee::gpu::Event &end) = 0;

 protected:
  /// False where there is no such memory left.
  virtual bool obtain(perigee::gpu::Chunk &chunk) = 0;
  virtual void give_back(perigee::gpu::Chunk &chunk) noexcept = 0;

 private:
  void collect_pending();
  void trim_locked();
  std::mutex mutex_;
  std::multimap<std::size_t, perigee::gpu::Chunk> kept_; // by size
  std::vector<perigee::gpu::Chunk> pending_;             // streams may still use them
  pg_gpu_pool pool_{};
  std::int64_t since_collection_ = 0; // bytes asked for since the last garbage collection was advised
};

namespace perigee::gpu {

/// The devices of this process, opened at first use. Throw UnsupportedError.
int32_t device_count(int32_t backend);
pg_gpu_device &device(int32_t backend, int32_t number);

pg_gpu_device *open_simulator(int32_t number);
pg_gpu_device *open_cuda(int32_t number);

/// "2.50 GiB"
std::string bytes_text(double bytes);

} // namespace perigee::gpu
