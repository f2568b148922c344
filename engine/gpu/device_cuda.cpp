// An NVIDIA GPU, by CUDA's driver. Each has its primary context, which cuBLAS and other libraries use as well.
#include "gpu/device_cuda.hpp"

#include "core/plugin_support.hpp"

#include <algorithm>
#include <cstring>

namespace perigee::gpu {

using namespace cuda;

namespace {

thread_local CUcontext current_context = nullptr;

struct CudaStream : Stream {
  explicit CudaStream(CudaDevice &device) : device(device) {
    CUstream made = nullptr;
    check(driver().cuStreamCreate(&made, stream_default), "cuStreamCreate");
    handle = made;
  }
  ~CudaStream() override {
    try {
      device.enter();
      driver().cuStreamDestroy_v2(static_cast<CUstream>(handle)); // its work goes on to its end
    } catch (const std::exception &) {
    }
  }
  CudaDevice &device;
};

struct CudaEvent : Event {
  CudaEvent(CudaDevice &device, bool timed) : device(device) {
    check(driver().cuEventCreate(&handle, timed ? event_default : event_disable_timing), "cuEventCreate");
  }
  ~CudaEvent() override {
    try {
      device.enter();
      driver().cuEventDestroy_v2(handle);
    } catch (const std::exception &) {
    }
  }
  CudaDevice &device;
  CUevent handle = nullptr;
};

CUstream handle_of(Stream *stream) {
  return stream ? static_cast<CUstream>(stream->handle) : nullptr;
}
CUdeviceptr address_of(const void *p) {
  return reinterpret_cast<CUdeviceptr>(p);
}
CUevent handle_of(Event &event) {
  return static_cast<CudaEvent &>(event).handle;
}

} // namespace

CudaDevice::CudaDevice(int32_t number) : pg_gpu_device(PG_GPU_CUDA, number), driver_(driver()) {
  check(driver_.cuDeviceGet(&device_, number), "cuDeviceGet");
  check(driver_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

void CudaDevice::enter() {
  if (current_context == context_)
    return;
  check(driver_.cuCtxSetCurrent(context_), "cuCtxSetCurrent");
  current_context = context_;
}

int CudaDevice::attribute(CUdevice_attribute which) {
  int value = 0;
  check(driver_.cuDeviceGetAttribute(&value, which, device_), "cuDeviceGetAttribute");
  return value;
}

pg_gpu_properties CudaDevice::describe() {
  pg_gpu_properties p{};
  check(driver_.cuDeviceGetName(p.name, int(sizeof p.name) - 1, device_), "cuDeviceGetName");
  p.major = attribute(compute_capability_major);
  p.minor = attribute(compute_capability_minor);
  p.multiprocessors = attribute(multiprocessor_count);
  p.warp_size = attribute(warp_size);
  p.max_threads_per_block = attribute(max_threads_per_block);
  p.max_threads_per_multiprocessor = attribute(max_threads_per_multiprocessor);
  for (int d = 0; d < 3; ++d) {
    p.max_block[d] = attribute(CUdevice_attribute(max_block_dim_x + d));
    p.max_grid[d] = attribute(CUdevice_attribute(max_grid_dim_x + d));
  }
  p.registers_per_block = attribute(max_registers_per_block);
  p.shared_per_block = attribute(max_shared_memory_per_block);
  p.shared_per_block_optin = attribute(max_shared_memory_per_block_optin);
  p.shared_per_multiprocessor = attribute(max_shared_memory_per_multiprocessor);
  p.clock_khz = attribute(clock_rate);
  p.memory_clock_khz = attribute(memory_clock_rate);
  p.memory_bus_bits = attribute(global_memory_bus_width);
  p.l2_bytes = attribute(l2_cache_size);
  p.copy_engines = attribute(async_engine_count);
  check(driver_.cuDriverGetVersion(&p.driver_version), "cuDriverGetVersion");
  std::size_t total = 0;
  check(driver_.cuDeviceTotalMem_v2(&total, device_), "cuDeviceTotalMem");
  p.memory_bytes = std::int64_t(total);
  return p;
}

void CudaDevice::memory_info(std::int64_t &free, std::int64_t &total) {
  enter();
  std::size_t f = 0, t = 0;
  check(driver_.cuMemGetInfo_v2(&f, &t), "cuMemGetInfo");
  free = std::int64_t(f);
  total = std::int64_t(t);
}

void CudaDevice::synchronize() {
  enter();
  check(driver_.cuCtxSynchronize(), "cuCtxSynchronize");
}

void CudaDevice::write(void *to, const void *from, std::size_t bytes, Stream *stream, bool wait) {
  enter();
  check(driver_.cuMemcpyHtoDAsync_v2(address_of(to), from, bytes, handle_of(stream)), "cuMemcpyHtoDAsync");
  if (wait)
    check(driver_.cuStreamSynchronize(handle_of(stream)), "cuStreamSynchronize");
}

void CudaDevice::read(void *to, const void *from, std::size_t bytes, Stream *stream, bool wait) {
  enter();
  check(driver_.cuMemcpyDtoHAsync_v2(to, address_of(from), bytes, handle_of(stream)), "cuMemcpyDtoHAsync");
  if (wait)
    check(driver_.cuStreamSynchronize(handle_of(stream)), "cuStreamSynchronize");
}

void CudaDevice::copy(void *to, const void *from, pg_gpu_device &source, std::size_t bytes, Stream *stream) {
  enter();
  if (&source == this)
    check(driver_.cuMemcpyDtoDAsync_v2(address_of(to), address_of(from), bytes, handle_of(stream)),
          "cuMemcpyDtoDAsync");
  else
    check(driver_.cuMemcpyPeerAsync(address_of(to), context_, address_of(from),
                                    static_cast<CudaDevice &>(source).context_, bytes, handle_of(stream)),
          "cuMemcpyPeerAsync");
}

void CudaDevice::zero(void *to, std::size_t bytes, Stream *stream) {
  enter();
  check(driver_.cuMemsetD8Async(address_of(to), 0, bytes, handle_of(stream)), "cuMemsetD8Async");
}

namespace {
// Copies from or to the memory may still run.
void release_pinned(void *memory, void *context) {
  auto &device = *static_cast<CudaDevice *>(context);
  try {
    device.synchronize();
    driver().cuMemFreeHost(memory);
  } catch (const std::exception &) {
  }
}
} // namespace

pg_array CudaDevice::pinned(int32_t *, int32_t dtype, int32_t ndim, const std::int64_t *shape, bool zero) {
  enter();
  std::size_t bytes = array::element_size(dtype);
  for (int32_t d = 0; d < ndim; ++d)
    bytes *= std::size_t(shape[d]);
  void *memory = nullptr;
  check(driver_.cuMemHostAlloc(&memory, std::max<std::size_t>(bytes, 1), memory_host_portable), "cuMemHostAlloc");
  if (zero)
    std::memset(memory, 0, bytes);
  pg_array a{};
  const int32_t status = pg_array_borrow(&a, memory, dtype, ndim, shape);
  if (status != PG_OK) {
    driver_.cuMemFreeHost(memory);
    throw Error(static_cast<pg_status>(status), pg_last_message());
  }
  a._block->release = release_pinned;
  a._block->context = this;
  return a;
}

StreamPtr CudaDevice::create_stream() {
  enter();
  return std::make_shared<CudaStream>(*this);
}
void CudaDevice::synchronize(Stream &stream) {
  enter();
  check(driver_.cuStreamSynchronize(handle_of(&stream)), "cuStreamSynchronize");
}
bool CudaDevice::done(Stream &stream) {
  enter();
  const CUresult status = driver_.cuStreamQuery(handle_of(&stream));
  if (status != error_not_ready)
    check(status, "cuStreamQuery");
  return status == success;
}
void CudaDevice::wait(Stream &stream, Event &event) {
  enter();
  check(driver_.cuStreamWaitEvent(handle_of(&stream), handle_of(event), 0), "cuStreamWaitEvent");
}
std::shared_ptr<Event> CudaDevice::create_event(bool timed) {
  enter();
  return std::make_shared<CudaEvent>(*this, timed);
}
void CudaDevice::record(Event &event, Stream *stream) {
  enter();
  check(driver_.cuEventRecord(handle_of(event), handle_of(stream)), "cuEventRecord");
  event.recorded = true;
}
void CudaDevice::synchronize(Event &event) {
  enter();
  check(driver_.cuEventSynchronize(handle_of(event)), "cuEventSynchronize");
}
bool CudaDevice::done(Event &event) {
  enter();
  const CUresult status = driver_.cuEventQuery(handle_of(event));
  if (status != error_not_ready)
    check(status, "cuEventQuery");
  return status == success;
}
double CudaDevice::elapsed(Event &start, Event &end) {
  enter();
  float milliseconds = 0;
  check(driver_.cuEventElapsedTime(&milliseconds, handle_of(start), handle_of(end)), "cuEventElapsedTime");
  return double(milliseconds) * 1e-3;
}

bool CudaDevice::obtain(Chunk &chunk) {
  enter();
  CUdeviceptr address = 0;
  const CUresult status = driver_.cuMemAlloc_v2(&address, chunk.bytes);
  if (status == error_out_of_memory)
    return false;
  check(status, "cuMemAlloc");
  chunk.address = reinterpret_cast<void *>(address);
  return true;
}

void CudaDevice::give_back(Chunk &chunk) noexcept {
  try {
    enter();
    driver_.cuMemFree_v2(address_of(chunk.address)); // waits for the device
  } catch (const std::exception &) {
  }
}

pg_gpu_device *open_cuda(int32_t number) {
  return new CudaDevice(number);
}

} // namespace perigee::gpu
