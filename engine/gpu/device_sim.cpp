// The simulator as a device: its memory is arrays of the host, and what it is given to do is done at once, in order.
#include "gpu/device.hpp"

#include <chrono>
#include <cstring>
#include <unistd.h>

namespace perigee::gpu {

namespace {

struct SimEvent : Event {
  std::chrono::steady_clock::time_point at;
};

class Simulator : public pg_gpu_device {
 public:
  explicit Simulator(int32_t number) : pg_gpu_device(PG_GPU_SIM, number) {}

  // An H200's limits (CUDA C++ Programming Guide, compute capability 9.0).
  pg_gpu_properties describe() override {
    pg_gpu_properties p{};
    std::strcpy(p.name, "simulator");
    p.major = 9;
    p.multiprocessors = 132;
    p.warp_size = 32;
    p.max_threads_per_block = 1024;
    p.max_threads_per_multiprocessor = 2048;
    p.max_block[0] = p.max_block[1] = 1024;
    p.max_block[2] = 64;
    p.max_grid[0] = 2147483647;
    p.max_grid[1] = p.max_grid[2] = 65535;
    p.registers_per_block = 65536;
    p.shared_per_block = 49152;
    p.shared_per_block_optin = 232448;
    p.shared_per_multiprocessor = 233472;
    p.copy_engines = 1;
    std::int64_t free = 0;
    memory_info(free, p.memory_bytes);
    return p;
  }

  void memory_info(std::int64_t &free, std::int64_t &total) override {
    const std::int64_t page = sysconf(_SC_PAGESIZE);
    total = sysconf(_SC_PHYS_PAGES) * page;
    free = sysconf(_SC_AVPHYS_PAGES) * page;
  }

  void synchronize() override {}
  void write(void *to, const void *from, std::size_t bytes, Stream *, bool) override { std::memmove(to, from, bytes); }
  void read(void *to, const void *from, std::size_t bytes, Stream *, bool) override { std::memmove(to, from, bytes); }
  void copy(void *to, const void *from, pg_gpu_device &, std::size_t bytes, Stream *) override {
    std::memmove(to, from, bytes);
  }
  void zero(void *to, std::size_t bytes, Stream *) override { std::memset(to, 0, bytes); }
  pg_array pinned(int32_t *collect, int32_t dtype, int32_t ndim, const std::int64_t *shape, bool zero) override {
    pg_array a{};
    if (const int32_t status = pg_array_create(&a, collect, dtype, ndim, shape, zero); status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    return a;
  }

  StreamPtr create_stream() override { return std::make_shared<Stream>(); }
  void synchronize(Stream &) override {}
  bool done(Stream &) override { return true; }
  void wait(Stream &, Event &) override {}
  std::shared_ptr<Event> create_event(bool) override { return std::make_shared<SimEvent>(); }
  void record(Event &event, Stream *) override {
    static_cast<SimEvent &>(event).at = std::chrono::steady_clock::now();
    event.recorded = true;
  }
  void synchronize(Event &) override {}
  bool done(Event &) override { return true; }
  double elapsed(Event &start, Event &end) override {
    return std::chrono::duration<double>(static_cast<SimEvent &>(end).at - static_cast<SimEvent &>(start).at).count();
  }

 protected:
  bool obtain(Chunk &chunk) override {
    const std::int64_t length = std::int64_t(chunk.bytes);
    int32_t collect = 0;
    const int32_t status = pg_array_create(&chunk.owner, &collect, PG_UINT8, 1, &length, 0);
    if (status == PG_ERROR_MEMORY)
      return false;
    if (status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    chunk.address = chunk.owner._data;
    return true;
  }
  void give_back(Chunk &chunk) noexcept override { pg_array_release(&chunk.owner); }
};

} // namespace

pg_gpu_device *open_simulator(int32_t number) {
  return new Simulator(number);
}

} // namespace perigee::gpu
