#include "gpu/device.hpp"

#include "gpu/cuda_library.hpp"

#include <algorithm>
#include <cstdio>

using namespace perigee;
using namespace perigee::gpu;

namespace perigee::gpu {

std::string bytes_text(double bytes) {
  const char *units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  char text[40];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", bytes, units[unit]);
  return text;
}

int32_t device_count(int32_t backend) {
  if (backend == PG_GPU_SIM)
    return 2; // so that programs for several devices can be tried
  int count = 0;
  cuda::check(cuda::driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  return count;
}

pg_gpu_device &device(int32_t backend, int32_t number) {
  static std::mutex mutex;
  static auto &devices = *new std::map<std::pair<int32_t, int32_t>, pg_gpu_device *>; // for good: finalisers run late
  const std::lock_guard lock(mutex);
  const int32_t count = device_count(backend);
  if (number < 0 || number >= count)
    throw ArgumentError("device " + std::to_string(number + 1) + " does not exist: there " +
                        (count == 1 ? "is 1" : "are " + std::to_string(count)));
  pg_gpu_device *&made = devices[{backend, number}];
  if (!made)
    made = backend == PG_GPU_SIM ? open_simulator(number) : open_cuda(number);
  return *made;
}

// What a piece of so many bytes takes: few sizes, so that pieces are used again.
static std::size_t rounded(std::size_t bytes) {
  const std::size_t step = bytes < (std::size_t{1} << 20) ? 512 : std::size_t{1} << 21;
  return std::max<std::size_t>((bytes + step - 1) / step * step, 512);
}

} // namespace perigee::gpu

// Memory whose last work on other streams is done becomes free.
void pg_gpu_device::collect_pending() {
  for (std::size_t i = 0; i < pending_.size();) {
    const bool free =
        std::all_of(pending_[i].until.begin(), pending_[i].until.end(), [&](const auto &e) { return done(*e); });
    if (!free) {
      ++i;
      continue;
    }
    pending_[i].until.clear();
    kept_.emplace(pending_[i].bytes, std::move(pending_[i]));
    pending_[i] = std::move(pending_.back());
    pending_.pop_back();
  }
}

void pg_gpu_device::trim_locked() {
  collect_pending();
  for (auto &[bytes, chunk] : kept_) {
    pool_.cached -= std::int64_t(bytes);
    give_back(chunk);
  }
  kept_.clear();
}

pg_gpu_memory *pg_gpu_device::allocate(std::size_t bytes, int32_t *collect) {
  const std::lock_guard lock(mutex_);
  auto memory = std::make_unique<pg_gpu_memory>();
  memory->device = this;
  memory->chunk.bytes = rounded(bytes);
  const std::size_t asked = memory->chunk.bytes;
  collect_pending();
  const auto found = kept_.lower_bound(asked);
  if (found != kept_.end() && found->first <= asked + asked / 4) {
    memory->chunk = std::move(found->second);
    pool_.cached -= std::int64_t(memory->chunk.bytes);
    kept_.erase(found);
    ++pool_.reused;
  } else if (!obtain(memory->chunk)) {
    trim_locked();
    if (!obtain(memory->chunk)) {
      std::int64_t free = 0, total = 0;
      memory_info(free, total);
      throw MemoryError("the GPU's memory is exhausted: an array of " + bytes_text(double(bytes)) +
                        " is asked for, and of " + bytes_text(double(total)) + " " + bytes_text(double(free)) +
                        " are free; this script's " + std::to_string(pool_.arrays) + " arrays on it hold " +
                        bytes_text(double(pool_.used)) + " (d:release() gives one back, gpu.memory() shows them)");
    }
  }
  const auto size = std::int64_t(memory->chunk.bytes);
  pool_.used += size;
  pool_.peak = std::max(pool_.peak, pool_.used);
  ++pool_.arrays;
  ++pool_.allocations;
  // Lua sees a few bytes of each array: garbage is collected when as much has been asked for as is in use.
  since_collection_ += size;
  if (collect && since_collection_ > std::max<std::int64_t>(pool_.used / 2, std::int64_t{256} << 20)) {
    *collect = 1;
    since_collection_ = 0;
  }
  return memory.release();
}

pg_gpu_memory *pg_gpu_device::adopt(const pg_array &a) {
  const std::lock_guard lock(mutex_);
  auto memory = std::make_unique<pg_gpu_memory>();
  memory->device = this;
  int32_t ignored = 0;
  if (const int32_t status = pg_array_share(&memory->chunk.owner, &ignored, &a); status != PG_OK)
    throw Error(static_cast<pg_status>(status), pg_last_message());
  memory->chunk.address = a._data;
  memory->chunk.bytes = std::size_t(a._block ? a._block->bytes : 0);
  pool_.used += std::int64_t(memory->chunk.bytes);
  pool_.peak = std::max(pool_.peak, pool_.used);
  ++pool_.arrays;
  ++pool_.allocations;
  return memory.release();
}

void pg_gpu_device::release(pg_gpu_memory *memory) {
  const std::lock_guard lock(mutex_);
  const std::unique_ptr<pg_gpu_memory> owned(memory);
  pool_.used -= std::int64_t(memory->chunk.bytes);
  pool_.cached += std::int64_t(memory->chunk.bytes);
  --pool_.arrays;
  try {
    for (const StreamPtr &stream : memory->streams) {
      auto event = create_event(false);
      record(*event, stream.get());
      memory->chunk.until.push_back(std::move(event));
    }
  } catch (const std::exception &) { // the device has failed: nothing that it held is used again
    return;
  }
  if (memory->chunk.until.empty())
    kept_.emplace(memory->chunk.bytes, std::move(memory->chunk));
  else
    pending_.push_back(std::move(memory->chunk));
}

pg_gpu_pool pg_gpu_device::statistics() {
  const std::lock_guard lock(mutex_);
  return pool_;
}

std::int64_t pg_gpu_device::trim() {
  const std::lock_guard lock(mutex_);
  const std::int64_t before = pool_.cached;
  trim_locked();
  return before - pool_.cached;
}
