// What engine/gpu/cuda_library.hpp and cuda_functions.inc declare, against the CUDA Toolkit's headers: compiling is the
// test.
#include "gpu/cuda_library.hpp"

#include <cublas_v2.h>
#include <cuda.h>
#include <nvrtc.h>

#include <type_traits>

// With the headers' own types the entry points must be exactly these.
#define CUDA_DRIVER(name, arguments) static_assert(std::is_same_v<decltype(&name), CUresult(CUDAAPI *) arguments>);
#define CUDA_NVRTC(name, arguments) static_assert(std::is_same_v<decltype(&name), nvrtcResult(*) arguments>);
#define CUDA_BLAS(name, arguments) constexpr cublasStatus_t(CUBLASWINAPI *check_##name) arguments = &name;
#include "gpu/cuda_functions.inc"

namespace ours = perigee::gpu::cuda;

static_assert(sizeof(ours::CUresult) == sizeof(CUresult) && sizeof(ours::CUdevice) == sizeof(CUdevice));
static_assert(std::is_same_v<ours::CUdeviceptr, CUdeviceptr>);
static_assert(sizeof(ours::CUdevice_attribute) == sizeof(CUdevice_attribute));
static_assert(sizeof(ours::CUfunction_attribute) == sizeof(CUfunction_attribute));
static_assert(sizeof(ours::cublasOperation_t) == sizeof(cublasOperation_t));
static_assert(sizeof(ours::cudaDataType) == sizeof(cudaDataType));
static_assert(sizeof(ours::cublasComputeType_t) == sizeof(cublasComputeType_t));
static_assert(sizeof(ours::cublasGemmAlgo_t) == sizeof(cublasGemmAlgo_t));
static_assert(sizeof(ours::nvrtcResult) == sizeof(nvrtcResult));

static_assert(int(ours::success) == CUDA_SUCCESS);
static_assert(int(ours::error_invalid_value) == CUDA_ERROR_INVALID_VALUE);
static_assert(int(ours::error_out_of_memory) == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(int(ours::error_no_device) == CUDA_ERROR_NO_DEVICE);
static_assert(int(ours::error_no_binary_for_gpu) == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(int(ours::error_not_found) == CUDA_ERROR_NOT_FOUND);
static_assert(int(ours::error_not_ready) == CUDA_ERROR_NOT_READY);
static_assert(int(ours::error_illegal_address) == CUDA_ERROR_ILLEGAL_ADDRESS);
static_assert(int(ours::error_launch_out_of_resources) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
static_assert(int(ours::error_misaligned_address) == CUDA_ERROR_MISALIGNED_ADDRESS);
static_assert(int(ours::error_launch_failed) == CUDA_ERROR_LAUNCH_FAILED);

static_assert(int(ours::max_threads_per_block) == CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
static_assert(int(ours::max_block_dim_x) == CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
static_assert(int(ours::max_block_dim_z) == CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
static_assert(int(ours::max_grid_dim_x) == CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
static_assert(int(ours::max_grid_dim_z) == CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
static_assert(int(ours::max_shared_memory_per_block) == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
static_assert(int(ours::warp_size) == CU_DEVICE_ATTRIBUTE_WARP_SIZE);
static_assert(int(ours::max_registers_per_block) == CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
static_assert(int(ours::clock_rate) == CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
static_assert(int(ours::multiprocessor_count) == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(int(ours::memory_clock_rate) == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
static_assert(int(ours::global_memory_bus_width) == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
static_assert(int(ours::l2_cache_size) == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
static_assert(int(ours::max_threads_per_multiprocessor) == CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
static_assert(int(ours::async_engine_count) == CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
static_assert(int(ours::compute_capability_major) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(int(ours::compute_capability_minor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(int(ours::max_shared_memory_per_multiprocessor) ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
static_assert(int(ours::max_shared_memory_per_block_optin) == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);

static_assert(int(ours::function_max_threads_per_block) == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
static_assert(int(ours::function_shared_size_bytes) == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
static_assert(int(ours::function_local_size_bytes) == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
static_assert(int(ours::function_num_regs) == CU_FUNC_ATTRIBUTE_NUM_REGS);
static_assert(int(ours::function_max_dynamic_shared_size_bytes) == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);

static_assert(ours::stream_default == CU_STREAM_DEFAULT && ours::event_default == CU_EVENT_DEFAULT);
static_assert(ours::event_disable_timing == CU_EVENT_DISABLE_TIMING);
static_assert(ours::memory_host_portable == CU_MEMHOSTALLOC_PORTABLE);
static_assert(int(ours::nvrtc_compilation_failed) == NVRTC_ERROR_COMPILATION);

static_assert(int(ours::operation_n) == CUBLAS_OP_N && int(ours::operation_t) == CUBLAS_OP_T);
static_assert(int(ours::real_32) == CUDA_R_32F && int(ours::real_64) == CUDA_R_64F);
static_assert(int(ours::complex_32) == CUDA_C_32F && int(ours::complex_64) == CUDA_C_64F);
static_assert(int(ours::compute_32) == CUBLAS_COMPUTE_32F && int(ours::compute_64) == CUBLAS_COMPUTE_64F);
static_assert(int(ours::algorithm_default) == CUBLAS_GEMM_DEFAULT);
