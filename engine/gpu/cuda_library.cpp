#include "gpu/cuda_library.hpp"

#include "core/status.hpp"

#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>
#include <optional>
#include <vector>

namespace perigee::gpu::cuda {

namespace {

// Where toolkits are looked for beyond what the loader knows (LD_LIBRARY_PATH, ld.so.cache).
std::vector<std::string> toolkit_folders() {
  std::vector<std::string> folders;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *value = std::getenv(variable); value && *value)
      folders.emplace_back(value);
  for (const char *usual : {"/usr/local/cuda", "/opt/cuda"})
    folders.emplace_back(usual);
  return folders;
}

void *open(const std::vector<std::string> &names, std::string &path) {
  for (const std::string &name : names)
    if (void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      path = name;
      return library;
    }
  std::error_code ignored;
  for (const std::string &folder : toolkit_folders())
    for (const char *part : {"lib64", "lib", "targets/x86_64-linux/lib"})
      for (const std::string &name : names) {
        const std::string file = folder + "/" + part + "/" + name;
        if (!std::filesystem::exists(file, ignored))
          continue;
        if (void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
          path = file;
          return library;
        }
      }
  return nullptr;
}

void *symbol(void *library, const char *name, const char *what) {
  void *found = dlsym(library, name);
  if (!found)
    throw UnsupportedError(std::string(what) + " on this machine is too old: it has no " + name);
  return found;
}

// What loading came to, kept: a library that is missing stays so.
template <class T> struct Once {
  std::once_flag once;
  std::optional<T> value;
  std::string reason;
  template <class Load> const T &get(Load &&load) {
    std::call_once(once, [&] {
      try {
        value = load();
      } catch (const Error &e) {
        reason = e.what();
      }
    });
    if (!value)
      throw UnsupportedError(reason);
    return *value;
  }
};

Driver load_driver() {
  std::string path;
  void *library = open({"libcuda.so.1"}, path);
  if (!library)
    throw UnsupportedError("no NVIDIA driver (libcuda.so.1) on this machine");
  Driver d{};
#define CUDA_DRIVER(name, arguments)                                                                                   \
  d.name = reinterpret_cast<CUresult(*) arguments>(symbol(library, #name, "the NVIDIA driver (libcuda.so.1)"));
#define CUDA_NVRTC(name, arguments)
#define CUDA_BLAS(name, arguments)
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
  const CUresult status = d.cuInit(0);
  auto text = [&] {
    const char *name = nullptr, *words = nullptr;
    if (d.cuGetErrorName(status, &name) != success || d.cuGetErrorString(status, &words) != success)
      return "error " + std::to_string(status);
    return std::string(name) + ": " + words;
  };
  if (status == error_no_device)
    throw UnsupportedError("the NVIDIA driver is there and finds no GPU (" + text() + ")");
  if (status != success)
    throw UnsupportedError("the NVIDIA driver does not start (" + text() + ")");
  int count = 0;
  if (d.cuDeviceGetCount(&count) != success || count == 0)
    throw UnsupportedError("the NVIDIA driver is there and finds no GPU");
  return d;
}

Nvrtc load_nvrtc() {
  Nvrtc n{};
  void *library = open({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}, n.path);
  if (!library)
    throw UnsupportedError(
        "no CUDA compiler (libnvrtc.so) on this machine: it is part of the CUDA Toolkit, and is looked "
        "for by the loader, in CUDA_HOME and in /usr/local/cuda");
#define CUDA_DRIVER(name, arguments)
#define CUDA_NVRTC(name, arguments)                                                                                    \
  n.name = reinterpret_cast<nvrtcResult(*) arguments>(symbol(library, #name, "the CUDA compiler (libnvrtc.so)"));
#define CUDA_BLAS(name, arguments)
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
  n.nvrtcVersion(&n.major, &n.minor);
  return n;
}

Blas load_blas() {
  std::string path;
  void *library = open({"libcublas.so.13", "libcublas.so.12", "libcublas.so"}, path);
  if (!library)
    throw UnsupportedError(
        "no cuBLAS (libcublas.so) on this machine: it is part of the CUDA Toolkit, and is looked for by "
        "the loader, in CUDA_HOME and in /usr/local/cuda");
  Blas b{};
#define CUDA_DRIVER(name, arguments)
#define CUDA_NVRTC(name, arguments)
#define CUDA_BLAS(name, arguments)                                                                                     \
  b.name = reinterpret_cast<cublasStatus_t(*) arguments>(symbol(library, #name, "cuBLAS (libcublas.so)"));
#include "gpu/cuda_functions.inc"
#undef CUDA_DRIVER
#undef CUDA_NVRTC
#undef CUDA_BLAS
  return b;
}

} // namespace

const Driver &driver() {
  static Once<Driver> once;
  return once.get(load_driver);
}

const Nvrtc &nvrtc() {
  static Once<Nvrtc> once;
  return once.get(load_nvrtc);
}

const Blas &blas() {
  static Once<Blas> once;
  return once.get(load_blas);
}

std::string toolkit() {
  std::error_code ignored;
  for (const std::string &folder : toolkit_folders())
    if (std::filesystem::exists(folder + "/include/cuda.h", ignored))
      return folder;
  return "";
}

std::string error_text(CUresult result) {
  const char *name = nullptr, *words = nullptr;
  const Driver &d = driver();
  if (d.cuGetErrorName(result, &name) != success || d.cuGetErrorString(result, &words) != success)
    return "CUDA error " + std::to_string(result);
  return std::string(name) + ": " + words;
}

void check(CUresult result, const char *function) {
  if (result == success)
    return;
  const std::string text = std::string(function) + ": " + error_text(result);
  switch (result) {
  case error_out_of_memory:
    throw MemoryError("the GPU has no memory left (" + text + ")");
  case error_illegal_address:
  case error_misaligned_address:
  case error_launch_failed: // the context is lost: every later call of this process gives the same
    throw ArgumentError("a kernel that was launched before this line read or wrote memory that is not its own (" +
                        text + "). The GPU is of no more use to this process; gpu.use(\"sim\") finds the line");
  case error_launch_out_of_resources:
    throw ArgumentError("the kernel needs more registers or memory than a block of this size can have (" + text +
                        "): launch it with fewer threads a block");
  default:
    throw Error(PG_ERROR_RUNTIME, text);
  }
}

} // namespace perigee::gpu::cuda
