#include "gpu/nvrtc.hpp"

#include "core/status.hpp"
#include "gpu/cuda_library.hpp"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <unistd.h>

namespace perigee::gpu {

namespace {

// FNV-1a: names files and finds damage; what is looked for is compared as a whole.
std::uint64_t hash(const std::string &text) {
  std::uint64_t h = 14695981039346656037u;
  for (const char c : text)
    h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

// A file is this line, three numbers, what was compiled (`key`), the log and the image.
constexpr const char *magic = "perigee cuda 1\n";
struct Head {
  std::uint64_t key, log, data, check; // sizes; hash of log and data
};

std::filesystem::path path_of(const std::string &folder, const std::string &key) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.cuda", static_cast<unsigned long long>(hash(key)));
  return std::filesystem::path(folder) / name;
}

std::optional<Image> read_kept(const std::filesystem::path &path, const std::string &key) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return {};
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const std::size_t start = std::strlen(magic);
  Head head;
  if (all.size() < start + sizeof head || !all.starts_with(magic))
    return {};
  std::memcpy(&head, all.data() + start, sizeof head);
  const std::size_t at = start + sizeof head, left = all.size() - at;
  if (head.key != key.size() || head.key > left || head.log > left - head.key ||
      head.data != left - head.key - head.log || all.compare(at, key.size(), key) != 0)
    return {};
  Image image;
  image.log = all.substr(at + head.key, head.log);
  image.data = all.substr(at + head.key + head.log);
  if (hash(image.log + image.data) != head.check)
    return {};
  image.cached = true;
  return image;
}

// Under another name first: other processes see whole files only.
void keep(const std::filesystem::path &path, const std::string &key, const Image &image) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  const std::filesystem::path part = path.string() + "." + std::to_string(getpid());
  {
    std::ofstream file(part, std::ios::binary);
    const Head head{key.size(), image.log.size(), image.data.size(), hash(image.log + image.data)};
    file << magic;
    file.write(reinterpret_cast<const char *>(&head), sizeof head);
    file << key << image.log << image.data;
    if (!file.flush()) {
      std::filesystem::remove(part, error);
      return;
    }
  }
  std::filesystem::rename(part, path, error);
  if (error)
    std::filesystem::remove(part, error);
}

void check(cuda::nvrtcResult result, const char *function) {
  if (result != 0)
    throw InternalError(std::string(function) + " of NVRTC failed with " + std::to_string(result));
}

} // namespace

Image compile(const std::string &source, const std::string &name, const std::string &architecture,
              const std::vector<std::string> &options, const std::string &folder) {
  const auto begin = std::chrono::steady_clock::now();
  auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  const cuda::Nvrtc &nvrtc = cuda::nvrtc();
  std::vector<std::string> all = {"--gpu-architecture=" + architecture, "--std=c++17"};
  all.insert(all.end(), options.begin(), options.end());
  if (const std::string toolkit = cuda::toolkit(); !toolkit.empty())
    all.push_back("--include-path=" + toolkit + "/include");
  std::string key = std::to_string(nvrtc.major) + "." + std::to_string(nvrtc.minor) + "\n" + name + "\n";
  for (const std::string &option : all)
    key += option + "\n";
  key += "\n" + source;
  const std::filesystem::path path = folder.empty() ? "" : path_of(folder, key);
  if (!folder.empty())
    if (auto kept = read_kept(path, key)) {
      kept->seconds = seconds();
      return *kept;
    }

  cuda::nvrtcProgram program = nullptr;
  check(nvrtc.nvrtcCreateProgram(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr), "nvrtcCreateProgram");
  struct Destroy {
    const cuda::Nvrtc &nvrtc;
    cuda::nvrtcProgram program;
    ~Destroy() { nvrtc.nvrtcDestroyProgram(&program); }
  } destroy{nvrtc, program};
  std::vector<const char *> words;
  for (const std::string &option : all)
    words.push_back(option.c_str());
  const cuda::nvrtcResult result = nvrtc.nvrtcCompileProgram(program, int(words.size()), words.data());
  Image image;
  std::size_t size = 0;
  check(nvrtc.nvrtcGetProgramLogSize(program, &size), "nvrtcGetProgramLogSize");
  image.log.resize(size);
  if (size > 0)
    check(nvrtc.nvrtcGetProgramLog(program, image.log.data()), "nvrtcGetProgramLog");
  while (!image.log.empty() && (image.log.back() == '\0' || image.log.back() == '\n'))
    image.log.pop_back();
  if (result != 0)
    throw ArgumentError(image.log.empty() ? "NVRTC failed with " + std::to_string(result) : image.log);
  const bool ptx = architecture.starts_with("compute_");
  check(ptx ? nvrtc.nvrtcGetPTXSize(program, &size) : nvrtc.nvrtcGetCUBINSize(program, &size), "nvrtcGetPTXSize");
  image.data.resize(size);
  check(ptx ? nvrtc.nvrtcGetPTX(program, image.data.data()) : nvrtc.nvrtcGetCUBIN(program, image.data.data()),
        "nvrtcGetPTX");
  if (ptx)
    while (!image.data.empty() && image.data.back() == '\0')
      image.data.pop_back();
  image.seconds = seconds();
  if (!folder.empty())
    keep(path, key, image);
  return image;
}

} // namespace perigee::gpu
