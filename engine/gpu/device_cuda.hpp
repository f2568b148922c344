#pragma once

#include "array/array.hpp"
#include "gpu/cuda_library.hpp"
#include "gpu/device.hpp"

namespace perigee::gpu {

class CudaDevice : public pg_gpu_device {
 public:
  explicit CudaDevice(int32_t number);

  /// Makes the device's context the calling thread's. What follows calls the driver.
  void enter();
  int attribute(cuda::CUdevice_attribute which);

  pg_gpu_properties describe() override;
  void memory_info(std::int64_t &free, std::int64_t &total) override;
  void synchronize() override;
  void write(void *to, const void *from, std::size_t bytes, Stream *stream, bool wait) override;
  void read(void *to, const void *from, std::size_t bytes, Stream *stream, bool wait) override;
  void copy(void *to, const void *from, pg_gpu_device &source, std::size_t bytes, Stream *stream) override;
  void zero(void *to, std::size_t bytes, Stream *stream) override;
  pg_array pinned(int32_t *collect, int32_t dtype, int32_t ndim, const std::int64_t *shape, bool zero) override;

  StreamPtr create_stream() override;
  void synchronize(Stream &stream) override;
  bool done(Stream &stream) override;
  void wait(Stream &stream, Event &event) override;
  std::shared_ptr<Event> create_event(bool timed) override;
  void record(Event &event, Stream *stream) override;
  void synchronize(Event &event) override;
  bool done(Event &event) override;
  double elapsed(Event &start, Event &end) override;

 protected:
  bool obtain(Chunk &chunk) override;
  void give_back(Chunk &chunk) noexcept override;

 private:
  const cuda::Driver &driver_;
  cuda::CUdevice device_ = 0;
  cuda::CUcontext context_ = nullptr;
};

} // namespace perigee::gpu
