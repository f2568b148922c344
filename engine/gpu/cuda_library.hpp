// CUDA's driver, NVRTC and cuBLAS: libraries that are looked for at run time, at first use. Their types and entry
// points are declared here, so that the engine is built the same where there is no CUDA; a test compares them with the
// toolkit's headers.
#pragma once

#include <cstddef>
#include <string>

namespace perigee::gpu::cuda {

// ---------------------------------------------------------------------------------------------------------- types
// -----
using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;

enum Result : CUresult {
  success = 0,
  error_invalid_value = 1,
  error_out_of_memory = 2,
  error_no_device = 100,
  error_no_binary_for_gpu = 209,
  error_not_found = 500,
  error_not_ready = 600,
  error_illegal_address = 700,
  error_launch_out_of_resources = 701,
  error_misaligned_address = 716,
  error_launch_failed = 719,
};

enum CUdevice_attribute : int {
  max_threads_per_block = 1,
  max_block_dim_x = 2,
  max_block_dim_y = 3,
  max_block_dim_z = 4,
  max_grid_dim_x = 5,
  max_grid_dim_y = 6,
  max_grid_dim_z = 7,
  max_shared_memory_per_block = 8,
  warp_size = 10,
  max_registers_per_block = 12,
  clock_rate = 13,
  multiprocessor_count = 16,
  memory_clock_rate = 36,
  global_memory_bus_width = 37,
  l2_cache_size = 38,
  max_threads_per_multiprocessor = 39,
  async_engine_count = 40,
  compute_capability_major = 75,
  compute_capability_minor = 76,
  max_shared_memory_per_multiprocessor = 81,
  max_shared_memory_per_block_optin = 97,
};

enum CUfunction_attribute : int {
  function_max_threads_per_block = 0,
  function_shared_size_bytes = 1,
  function_local_size_bytes = 3,
  function_num_regs = 4,
  function_max_dynamic_shared_size_bytes = 8,
};

constexpr unsigned stream_default = 0;       // CU_STREAM_DEFAULT: waits for the default stream, and it for this one
constexpr unsigned event_default = 0;        // CU_EVENT_DEFAULT
constexpr unsigned event_disable_timing = 2; // CU_EVENT_DISABLE_TIMING
constexpr unsigned memory_host_portable = 1; // CU_MEMHOSTALLOC_PORTABLE: page-locked for all devices

using nvrtcResult = int;
using nvrtcProgram = struct _nvrtcProgram *;
constexpr nvrtcResult nvrtc_compilation_failed = 6; // NVRTC_ERROR_COMPILATION

using cublasStatus_t = int;
using cublasHandle_t = struct cublasContext *;
using cudaStream_t = CUstream;
enum cublasOperation_t : int { operation_n = 0, operation_t = 1 };
enum cudaDataType : int { real_32 = 0, real_64 = 1, complex_32 = 4, complex_64 = 5 };
enum cublasComputeType_t : int { compute_32 = 68, compute_64 = 70 };
enum cublasGemmAlgo_t : int { algorithm_default = -1 };

// ------------------------------------------------------------------------------------------------------- libraries
// ----
struct Driver {
#define CUDA_DRIVER(name, arguments) CUresult(*name) arguments;
#define CUDA_NVRTC(name, arguments)
#define CUDA_BLAS(name, arguments)
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
};

struct Nvrtc {
#define CUDA_DRIVER(name, arguments)
#define CUDA_NVRTC(name, arguments) nvrtcResult(*name) arguments;
#define CUDA_BLAS(name, arguments)
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
  int major, minor;
  std::string path; // of the library
};

struct Blas {
#define CUDA_DRIVER(name, arguments)
#define CUDA_NVRTC(name, arguments)
#define CUDA_BLAS(name, arguments) cublasStatus_t(*name) arguments;
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
};

// Loaded once a process; throw UnsupportedError that says what is missing. Thread-safe.
const Driver &driver(); // initialised, and with at least one device
const Nvrtc &nvrtc();
const Blas &blas();

// The toolkit's folders on this machine ("/usr/local/cuda"), as CUDA_HOME and CUDA_PATH name them and where they
// usually lie; the first that is there, or "".
std::string toolkit();

// Throws what a failed call of the driver means.
void check(CUresult result, const char *function);
// "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"
std::string error_text(CUresult result);

} // namespace perigee::gpu::cuda
