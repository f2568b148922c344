// Compiles CUDA C++ for GPUs by the CUDA Toolkit's NVRTC, machine code included: what the fake one (fake_nvrtc.cpp) has
// compiled for this machine. A process of its own, since NVRTC opens libcuda.so.1, and finds the fake driver in tests.
//   toolkit FILE GPUS OPTION...    GPUS: "75,80,90". What is wrong goes to standard output, and the status is 1 then;
//   toolkit                        77 where there is no toolkit
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

using Program = struct _nvrtcProgram *;

int main(int count, char **words) {
  std::vector<std::string> folders;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *value = std::getenv(variable); value && *value)
      folders.emplace_back(value);
  folders.insert(folders.end(), {"/usr/local/cuda", "/opt/cuda"});
  void *library = nullptr;
  for (const std::string &folder : folders)
    for (const char *file : {"/lib64/libnvrtc.so.13", "/lib64/libnvrtc.so.12"})
      if (!library)
        library = dlopen((folder + file).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return 77;
  if (count < 3)
    return 0;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
  };
  int (*create)(Program *, const char *, const char *, int, const char *const *, const char *const *);
  int (*compile)(Program, int, const char *const *);
  int (*log_size)(Program, std::size_t *);
  int (*log)(Program, char *);
  int (*code_size)(Program, std::size_t *);
  int (*destroy)(Program *);
  find(create, "nvrtcCreateProgram");
  find(compile, "nvrtcCompileProgram");
  find(log_size, "nvrtcGetProgramLogSize");
  find(log, "nvrtcGetProgramLog");
  find(code_size, "nvrtcGetCUBINSize");
  find(destroy, "nvrtcDestroyProgram");

  std::ifstream file(words[1], std::ios::binary);
  const std::string source{std::istreambuf_iterator<char>(file), {}};
  bool wrong = source.empty();
  std::istringstream gpus(words[2]);
  for (std::string gpu; std::getline(gpus, gpu, ',');) {
    const std::string architecture = "--gpu-architecture=sm_" + gpu;
    std::vector<const char *> options(words + 3, words + count);
    options.push_back(architecture.c_str());
    Program program = nullptr;
    std::size_t size = 0;
    const bool compiled = create(&program, source.c_str(), words[1], 0, nullptr, nullptr) == 0 &&
                          compile(program, int(options.size()), options.data()) == 0 &&
                          code_size(program, &size) == 0 && size > 0;
    if (!compiled) {
      wrong = true;
      std::string text;
      if (log_size(program, &size) == 0) {
        text.resize(size);
        log(program, text.data());
      }
      std::printf("the toolkit's NVRTC, for sm_%s:\n%s\n", gpu.c_str(), text.c_str());
    }
    destroy(&program);
  }
  return wrong;
}
