// Devices behind their C ABI (gpu_abi.h).
#include "array/array.hpp"
#include "array/foreign.hpp"
#include "gpu/device.hpp"

#include <algorithm>

using namespace perigee;
using namespace perigee::gpu;

namespace {

Stream *stream_of(pg_gpu_stream *stream) {
  return stream ? stream->stream.get() : nullptr;
}

pg_gpu_device &device_of(const pg_gpu_array &a) {
  if (!a._memory)
    throw ArgumentError("this device array was released and has no elements any more");
  return *a._memory->device;
}

void need_same(const pg_array &to, const pg_array &from) {
  if (to._dtype != from._dtype || to._size != from._size || !array::is_contiguous(to) || !array::is_contiguous(from))
    throw InternalError("a copy between arrays that are not laid out alike");
}

std::size_t bytes_of(const pg_array &a) {
  return std::size_t(a._size) * array::element_size(a._dtype);
}

// Work on another stream than the default uses this memory.
void note(pg_gpu_memory &memory, pg_gpu_stream *stream) {
  if (!stream)
    return;
  auto &streams = memory.streams;
  if (std::find(streams.begin(), streams.end(), stream->stream) == streams.end())
    streams.push_back(stream->stream);
}

} // namespace

int32_t pg_gpu_count(int32_t *count, int32_t backend) {
  return guard([&] { *count = device_count(backend); });
}
int32_t pg_gpu_open(pg_gpu_device **out, int32_t backend, int32_t number) {
  return guard([&] { *out = &device(backend, number); });
}
int32_t pg_gpu_describe(pg_gpu_properties *out, pg_gpu_device *device) {
  return guard([&] { *out = device->describe(); });
}
int32_t pg_gpu_memory_info(pg_gpu_device *device, int64_t *free, int64_t *total) {
  return guard([&] { device->memory_info(*free, *total); });
}
int32_t pg_gpu_pool_info(pg_gpu_pool *out, pg_gpu_device *device) {
  return guard([&] { *out = device->statistics(); });
}
int32_t pg_gpu_pool_trim(pg_gpu_device *device, int64_t *bytes) {
  return guard([&] { *bytes = device->trim(); });
}
int32_t pg_gpu_synchronize(pg_gpu_device *device) {
  return guard([&] { device->synchronize(); });
}

// ----------------------------------------------------------------------------------------------------------- arrays
// ---
int32_t pg_gpu_create(pg_gpu_array *out, int32_t *collect, pg_gpu_device *device, int32_t dtype, int32_t ndim,
                      const int64_t *shape, int32_t zero, pg_gpu_stream *stream) {
  return guard([&] {
    pg_array layout{};
    layout._dtype = dtype;
    layout._ndim = ndim;
    layout._size = 1;
    layout._device = 1 + device->number;
    const double element = double(array::element_size(dtype));
    double total = element;
    for (int32_t d = ndim - 1; d >= 0; --d) {
      layout._shape[d] = shape[d];
      layout._strides[d] = layout._size;
      layout._size *= shape[d];
      total *= double(shape[d]);
      if (total > 0x1p50)
        throw MemoryError("an array of " + bytes_text(total) + " is more than any GPU's memory");
    }
    pg_gpu_memory *memory = device->allocate(std::size_t(total), collect);
    layout._data = memory->chunk.address;
    layout._block = memory->chunk.owner._block;
    *out = {layout, memory};
    if (zero) {
      note(*memory, stream);
      device->zero(layout._data, bytes_of(layout), stream_of(stream));
    }
  });
}

int32_t pg_gpu_adopt(pg_gpu_array *out, pg_gpu_device *device, const pg_array *a) {
  return guard([&] {
    if (device->backend != PG_GPU_SIM)
      throw InternalError("host memory cannot become a GPU's");
    pg_gpu_memory *memory = device->adopt(*a);
    *out = {*a, memory};
    out->_a._device = 1 + device->number;
    out->_a._flags = 0;
  });
}

void pg_gpu_share(pg_gpu_array *out, const pg_gpu_array *a, const pg_array *layout) {
  ++a->_memory->references;
  out->_a = *layout;
  out->_a._block = a->_a._block;
  out->_a._device = a->_a._device;
  out->_a._flags = PG_ARRAY_VIEW;
  out->_memory = a->_memory;
}

void pg_gpu_release(pg_gpu_array *a) {
  pg_gpu_memory *memory = a->_memory;
  *a = {};
  if (memory && --memory->references == 0)
    memory->device->release(memory);
}

int32_t pg_gpu_use(const pg_gpu_array *a, pg_gpu_stream *stream) {
  return guard([&] {
    device_of(*a);
    note(*a->_memory, stream);
  });
}

int32_t pg_gpu_write(const pg_gpu_array *to, const pg_array *from, pg_gpu_stream *stream, int32_t wait) {
  return guard([&] {
    need_same(to->_a, *from);
    pg_gpu_device &device = device_of(*to);
    note(*to->_memory, stream);
    if (from->_size > 0)
      device.write(to->_a._data, from->_data, bytes_of(*from), stream_of(stream), wait != 0);
  });
}

int32_t pg_gpu_read(const pg_array *to, const pg_gpu_array *from, pg_gpu_stream *stream, int32_t wait) {
  return guard([&] {
    need_same(*to, from->_a);
    pg_gpu_device &device = device_of(*from);
    note(*from->_memory, stream);
    if (to->_size > 0)
      device.read(to->_data, from->_a._data, bytes_of(*to), stream_of(stream), wait != 0);
    if (wait)
      array::clean_elements(to->_data, to->_dtype, to->_size);
  });
}

void pg_gpu_clean(pg_array *a) {
  if (a->_data)
    array::clean_elements(a->_data, a->_dtype, a->_size);
}

int32_t pg_gpu_copy(const pg_gpu_array *to, const pg_gpu_array *from, pg_gpu_stream *stream) {
  return guard([&] {
    need_same(to->_a, from->_a);
    pg_gpu_device &device = device_of(*to), &source = device_of(*from);
    if (device.backend != source.backend)
      throw ArgumentError("one array is a GPU's and the other the simulator's: copy by way of the host (d:to_host())");
    note(*to->_memory, stream);
    note(*from->_memory, stream);
    if (to->_a._size > 0)
      device.copy(to->_a._data, from->_a._data, source, bytes_of(to->_a), stream_of(stream));
  });
}

int32_t pg_gpu_pinned(pg_array *out, int32_t *collect, pg_gpu_device *device, int32_t dtype, int32_t ndim,
                      const int64_t *shape, int32_t zero) {
  return guard([&] { *out = device->pinned(collect, dtype, ndim, shape, zero != 0); });
}

// ----------------------------------------------------------------------------------------------- streams and events
// ---
int32_t pg_gpu_stream_create(pg_gpu_stream **out, pg_gpu_device *device) {
  return guard([&] { *out = new pg_gpu_stream{device, device->create_stream()}; });
}
void pg_gpu_stream_close(pg_gpu_stream *stream) {
  delete stream;
}
int32_t pg_gpu_stream_synchronize(pg_gpu_stream *stream) {
  return guard([&] { stream->device->synchronize(*stream->stream); });
}
int32_t pg_gpu_stream_done(pg_gpu_stream *stream, int32_t *done) {
  return guard([&] { *done = stream->device->done(*stream->stream); });
}
int32_t pg_gpu_stream_wait(pg_gpu_stream *stream, pg_gpu_event *event) {
  return guard([&] { stream->device->wait(*stream->stream, *event->event); });
}

int32_t pg_gpu_event_create(pg_gpu_event **out, pg_gpu_device *device) {
  return guard([&] { *out = new pg_gpu_event{device, device->create_event(true)}; });
}
void pg_gpu_event_close(pg_gpu_event *event) {
  delete event;
}
int32_t pg_gpu_event_record(pg_gpu_event *event, pg_gpu_stream *stream) {
  return guard([&] { event->device->record(*event->event, stream_of(stream)); });
}
int32_t pg_gpu_event_synchronize(pg_gpu_event *event) {
  return guard([&] { event->device->synchronize(*event->event); });
}
int32_t pg_gpu_event_done(pg_gpu_event *event, int32_t *done) {
  return guard([&] { *done = event->device->done(*event->event); });
}
int32_t pg_gpu_event_elapsed(double *seconds, pg_gpu_event *start, pg_gpu_event *end) {
  return guard([&] {
    if (!start->event->recorded || !end->event->recorded)
      throw ArgumentError("the time between events that were not both recorded is not known: call e:record() before");
    *seconds = start->device->elapsed(*start->event, *end->event);
  });
}
