// Compiled code, loaded into devices and launched; products of matrices by cuBLAS.
#include "gpu/device_cuda.hpp"
#include "gpu/nvrtc.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "gpu/gpu_cuda_abi.h"
}
#pragma GCC visibility pop

using namespace perigee;
using namespace perigee::gpu;
using namespace perigee::gpu::cuda;

struct pg_gpu_image {
  Image image;
};

struct pg_gpu_code {
  CudaDevice &device;
  CUmodule module = nullptr;
};

namespace {

CudaDevice &cuda_device(pg_gpu_device *device) {
  if (device->backend != PG_GPU_CUDA)
    throw UnsupportedError("the simulator does not run CUDA C++; gpu.use(\"cuda\") needs an NVIDIA GPU");
  return static_cast<CudaDevice &>(*device);
}

} // namespace

int32_t pg_gpu_compiler(int32_t *major, int32_t *minor) {
  return guard([&] {
    *major = nvrtc().major;
    *minor = nvrtc().minor;
  });
}

int32_t pg_gpu_compile(pg_gpu_image **out, const char *source, const char *name, const char *architecture,
                       const char *const *options, int32_t count, const char *folder) {
  return guard([&] {
    *out = new pg_gpu_image{compile(source, name, architecture, {options, options + count}, folder ? folder : "")};
  });
}
const char *pg_gpu_image_data(const pg_gpu_image *image, int64_t *size) {
  *size = int64_t(image->image.data.size());
  return image->image.data.data();
}
const char *pg_gpu_image_log(const pg_gpu_image *image) {
  return image->image.log.c_str();
}
int32_t pg_gpu_image_cached(const pg_gpu_image *image) {
  return image->image.cached;
}
double pg_gpu_image_seconds(const pg_gpu_image *image) {
  return image->image.seconds;
}
void pg_gpu_image_close(pg_gpu_image *image) {
  delete image;
}

int32_t pg_gpu_load(pg_gpu_code **out, pg_gpu_device *device, const pg_gpu_image *image) {
  return guard([&] {
    CudaDevice &on = cuda_device(device);
    on.enter();
    CUmodule module = nullptr;
    const CUresult status = driver().cuModuleLoadData(&module, image->image.data.c_str());
    if (status == error_no_binary_for_gpu)
      throw UnsupportedError("code for another GPU (" + error_text(status) + ")");
    check(status, "cuModuleLoadData");
    *out = new pg_gpu_code{on, module};
  });
}

int32_t pg_gpu_function_of(void **out, pg_gpu_code *code, const char *name) {
  return guard([&] {
    code->device.enter();
    CUfunction function = nullptr;
    const CUresult status = driver().cuModuleGetFunction(&function, code->module, name);
    if (status == error_not_found)
      throw ArgumentError(std::string("the code has no kernel '") + name +
                          "': it is declared as extern \"C\" __global__ void " + name + "(...)");
    check(status, "cuModuleGetFunction");
    *out = function;
  });
}

void pg_gpu_code_close(pg_gpu_code *code) {
  // Kernels may still run: the module stays until all is done.
  guard([&] {
    code->device.synchronize();
    driver().cuModuleUnload(code->module);
  });
  delete code;
}

int32_t pg_gpu_function_describe(pg_gpu_function *out, pg_gpu_device *device, void *function) {
  return guard([&] {
    cuda_device(device).enter();
    const auto f = static_cast<CUfunction>(function);
    auto get = [&](CUfunction_attribute which) {
      int value = 0;
      check(driver().cuFuncGetAttribute(&value, which, f), "cuFuncGetAttribute");
      return value;
    };
    out->max_threads = get(function_max_threads_per_block);
    out->shared_bytes = get(function_shared_size_bytes);
    out->local_bytes = get(function_local_size_bytes);
    out->registers = get(function_num_regs);
  });
}

int32_t pg_gpu_function_shared(pg_gpu_device *device, void *function, int32_t bytes) {
  return guard([&] {
    cuda_device(device).enter();
    check(driver().cuFuncSetAttribute(static_cast<CUfunction>(function), function_max_dynamic_shared_size_bytes, bytes),
          "cuFuncSetAttribute");
  });
}

int32_t pg_gpu_occupancy(int32_t *blocks, pg_gpu_device *device, void *function, int32_t threads, int64_t shared) {
  return guard([&] {
    cuda_device(device).enter();
    check(driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, static_cast<CUfunction>(function), threads,
                                                               std::size_t(shared)),
          "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  });
}

int32_t pg_gpu_launch(pg_gpu_device *device, void *function, const uint32_t *grid, const uint32_t *block,
                      uint32_t shared, pg_gpu_stream *stream, void **arguments) {
  return guard([&] {
    auto &on = static_cast<CudaDevice &>(*device);
    on.enter();
    const auto handle = stream ? static_cast<CUstream>(stream->stream->handle) : nullptr;
    check(driver().cuLaunchKernel(static_cast<CUfunction>(function), grid[0], grid[1], grid[2], block[0], block[1],
                                  block[2], shared, handle, arguments, nullptr),
          "cuLaunchKernel");
  });
}

// ------------------------------------------------------------------------------------------------- matrix products
// ----
namespace {

void check_blas(cublasStatus_t status, const char *function) {
  if (status != 0)
    throw Error(PG_ERROR_RUNTIME, std::string(function) + " of cuBLAS failed with status " + std::to_string(status));
}

// One a device and process; its calls are serialised.
struct Handle {
  std::mutex mutex;
  cublasHandle_t handle = nullptr;
};

Handle &handle_for(CudaDevice &device) {
  static std::mutex mutex;
  static std::map<CudaDevice *, Handle> handles;
  const std::lock_guard lock(mutex);
  Handle &h = handles[&device];
  if (!h.handle) {
    device.enter();
    check_blas(blas().cublasCreate_v2(&h.handle), "cublasCreate");
  }
  return h;
}

} // namespace

int32_t pg_gpu_gemm(pg_gpu_device *device, int32_t dtype, const int64_t *sizes, const void *a, const int64_t *a_strides,
                    const void *b, const int64_t *b_strides, void *c, const int64_t *c_strides, pg_gpu_stream *stream) {
  return guard([&] {
    CudaDevice &on = cuda_device(device);
    Handle &h = handle_for(on);
    const std::lock_guard lock(h.mutex);
    on.enter();
    check_blas(blas().cublasSetStream_v2(h.handle, stream ? static_cast<CUstream>(stream->stream->handle) : nullptr),
               "cublasSetStream");
    const int batch = int(sizes[0]), m = int(sizes[1]), n = int(sizes[2]), k = int(sizes[3]);
    // Row-major C = A B is column-major C' = B' A'. A matrix whose columns lie without gaps is its own transpose.
    auto side = [&](const int64_t *strides, int rows, int columns, cublasOperation_t &operation, int &leading) {
      const bool rows_first = strides[2] == 1 || columns == 1;
      operation = rows_first ? operation_n : operation_t;
      leading = int(std::max<int64_t>(rows_first ? strides[1] : strides[2], std::max(1, rows_first ? columns : rows)));
    };
    cublasOperation_t of_a, of_b;
    int leading_a, leading_b;
    side(a_strides, m, k, of_a, leading_a);
    side(b_strides, k, n, of_b, leading_b);
    const double one[2] = {1, 0}, zero[2] = {0, 0};
    const float one_single[2] = {1, 0}, zero_single[2] = {0, 0};
    const bool single = dtype == PG_FLOAT32 || dtype == PG_COMPLEX64;
    const cudaDataType type = dtype == PG_FLOAT32     ? real_32
                              : dtype == PG_FLOAT64   ? real_64
                              : dtype == PG_COMPLEX64 ? complex_32
                                                      : complex_64;
    check_blas(blas().cublasGemmStridedBatchedEx(
                   h.handle, of_b, of_a, n, m, k, single ? static_cast<const void *>(one_single) : one, b, type,
                   leading_b, b_strides[0], a, type, leading_a, a_strides[0],
                   single ? static_cast<const void *>(zero_single) : zero, c, type, int(c_strides[1]), c_strides[0],
                   batch, single ? compute_32 : compute_64, algorithm_default),
               "cublasGemmStridedBatchedEx");
  });
}
