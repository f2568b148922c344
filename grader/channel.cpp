#include "channel.hpp"

#include "ranks.hpp"
#include "system.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

namespace perigee::grader {
namespace {

[[noreturn]] void broken(const std::string &what) {
  throw InfrastructureError(what + ": " + std::strerror(errno));
}

// Memory behind a descriptor whose size nobody can change any more: shrinking it would kill the other side by SIGBUS.
Descriptor sealed_memory(const char *name, std::size_t size, const void *contents) {
  Descriptor file(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ftruncate(file.get(), off_t(size)) != 0)
    broken("memfd_create");
  if (contents && pwrite(file.get(), contents, size, 0) != ssize_t(size))
    broken("writing to memory");
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (contents ? F_SEAL_WRITE : 0);
  if (fcntl(file.get(), F_ADD_SEALS, seals) != 0)
    broken("sealing memory");
  return file;
}

constexpr double start_seconds = 30.0;
constexpr std::size_t page_bytes = 4096;
constexpr int64_t poll_nanoseconds = 10'000'000;
constexpr int64_t spin_nanoseconds = 50'000;
constexpr int64_t look_nanoseconds = 500'000'000;

} // namespace

// Beside the program that runs: bin/perigee -> libexec/perigee/perigee-worker.
std::filesystem::path worker_program() {
  auto self = std::filesystem::read_symlink("/proc/self/exe");
  auto program = self.parent_path().parent_path() / "libexec" / "perigee" / "perigee-worker";
  if (!std::filesystem::exists(program))
    throw InfrastructureError("the installation is incomplete: " + program.string() + " is missing");
  return program;
}

int64_t raw_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Channel::Channel(const ChannelOptions &options, const nlohmann::json &settings, const std::string &script)
    : cpus_(options.cpus), interrupted_(options.interrupted) {
  std::vector<Descriptor> control;
  std::string text = settings.dump();
  const Descriptor settings_fd = sealed_memory("perigee-settings", text.size(), text.data());
  const Descriptor script_fd = sealed_memory("perigee-script", script.size(), script.data());
  try {
    SandboxOptions sandbox;
    for (int rank = 0; rank < std::max(1, options.ranks); ++rank) {
      control.push_back(sealed_memory("perigee-control", page_bytes, nullptr));
      const int page = control.back().get();
      void *memory = mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
      if (memory == MAP_FAILED)
        broken("mapping the control page");
      pages_.push_back(static_cast<ControlPage *>(memory));
      sandbox.inherit_fds.push_back(page);
    }
    sandbox.program = worker_program();
    sandbox.arguments = {options.role};
    sandbox.inherit_fds.insert(sandbox.inherit_fds.end(), {settings_fd.get(), script_fd.get()});
    sandbox.memory_bytes = options.memory_bytes;
    sandbox.max_tasks = options.max_tasks;
    sandbox.cpus = options.cpus;
    sandbox.require_full = options.require_full;
    if (options.ranks > 0) {
      sandbox.arguments = {"ranks", std::to_string(options.ranks)};
      prepare_ranks(sandbox, options.ranks);
    }
    try {
      start(sandbox);
    } catch (const InfrastructureError &) { // a crowded machine may be late once
      start(sandbox);
    }
  } catch (...) {
    sandbox_.reset();
    unmap();
    throw;
  }
}

void Channel::unmap() {
  for (ControlPage *page : pages_)
    munmap(page, page_bytes);
  pages_.clear();
}

void Channel::start(SandboxOptions &options) {
  sandbox_.reset(); // the one before is gone before the page is new
  for (std::size_t rank = 0; rank < pages_.size(); ++rank) {
    pages_[rank] = new (pages_[rank]) ControlPage{};
    pages_[rank]->go = sequence_;
    pages_[rank]->rank = static_cast<int32_t>(rank);
  }
  options.denied_word = &pages_[0]->denied;
  sandbox_.emplace(Sandbox::start(options));
  Wait result = wait(start_seconds, start_seconds);
  if (result == Wait::late)
    throw InfrastructureError("a sandboxed process did not start within 30 s");
  if (result == Wait::gone) {
    auto info = sandbox_->exit_info();
    throw InfrastructureError("a sandboxed process ended while it started (" + (info ? info->describe() : "?") +
                              "): " + clean_text(sandbox_->take_output(), 1000));
  }
  if (options.processes) {
    std::vector<SettledProcess> ranks;
    for (ControlPage *page : pages_)
      ranks.push_back({page->pid, &page->denied});
    sandbox_->settle(ranks);
  }
}

Channel::~Channel() {
  sandbox_.reset();
  unmap();
}

void Channel::post(Command command) {
  ++sequence_;
  for (ControlPage *page : pages_) {
    page->command = command;
    page->progress = 0;
    page->go = sequence_;
    futex_wake(page->go);
  }
}

std::size_t Channel::failed() const {
  return static_cast<std::size_t>(
      std::find_if(pages_.begin(), pages_.end(),
                   [this](ControlPage *page) { return page->done == sequence_ && page->status != Status::ok; }) -
      pages_.begin());
}

bool Channel::done() const {
  return std::all_of(pages_.begin(), pages_.end(), [this](ControlPage *page) { return page->done == sequence_; }) ||
         failed() < pages_.size();
}

uint32_t Channel::progress() const {
  uint32_t sum = 0;
  for (const ControlPage *page : pages_)
    sum += page->progress;
  return sum;
}

Channel::Wait Channel::wait(double call_seconds, double total_seconds) {
  int64_t start = raw_nanoseconds(), call_start = start, looked = start;
  uint32_t progress = 0;
  // Most commands are short: being woken on another core costs 15 us, which spinning saves. Not on the worker's own
  // core.
  if (std::find(cpus_.begin(), cpus_.end(), sched_getcpu()) == cpus_.end())
    while (!done() && raw_nanoseconds() - start < spin_nanoseconds)
      ;
  for (;;) {
    if (done())
      return Wait::done;
    // Sleeps on the first that is not done; another may fail meanwhile, which is seen a moment later.
    for (ControlPage *page : pages_)
      if (const uint32_t word = page->done; word != sequence_) {
        futex_wait(page->done, word, poll_nanoseconds);
        break;
      }
    if (done())
      return Wait::done;
    if (interrupted_ && *interrupted_) {
      sandbox_->kill();
      throw Interrupted{};
    }
    if (!sandbox_->poll())
      return Wait::gone;
    int64_t now = raw_nanoseconds();
    if (const uint32_t now_at = this->progress(); now_at != progress) {
      progress = now_at;
      call_start = now;
    }
    if (double(now - call_start) * 1e-9 > call_seconds || double(now - start) * 1e-9 > total_seconds)
      return Wait::late;
    if (stuck && now - looked > look_nanoseconds) {
      looked = now;
      if (stuck())
        return Wait::stuck;
    }
  }
}

bool Channel::read(const Span &span, uint64_t most, Bytes &bytes) {
  uint64_t address = span.address, size = span.bytes;
  if (size > most)
    return false;
  bytes.resize(size);
  return size == 0 || sandbox_->read_memory(address, bytes.data(), size);
}

std::string Channel::text(std::size_t rank) {
  Bytes bytes;
  const Span &text = pages_[rank]->text;
  uint64_t address = text.address, size = std::min<uint64_t>(text.bytes, 64 << 10);
  bytes.resize(size);
  if (size == 0 || !sandbox_->read_memory(address, bytes.data(), size, rank))
    return "";
  return clean_text({reinterpret_cast<const char *>(bytes.data()), size});
}

std::string clean_text(std::string_view text, std::size_t most) {
  std::string out;
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  for (std::size_t i = 0; i < text.size() && out.size() < most;) {
    unsigned char c = byte(i);
    // Length of the UTF-8 sequence, by its first byte; 0 where none can start.
    std::size_t length = c < 0x80                ? 1
                         : c >= 0xc2 && c < 0xe0 ? 2
                         : c >= 0xe0 && c < 0xf0 ? 3
                         : c >= 0xf0 && c < 0xf5 ? 4
                                                 : 0;
    bool valid = length > 0;
    for (std::size_t k = 1; k < length; ++k)
      valid = valid && (byte(i + k) & 0xc0) == 0x80;
    if (length == 3)
      valid = valid && !(c == 0xe0 && byte(i + 1) < 0xa0) && !(c == 0xed && byte(i + 1) >= 0xa0);
    if (length == 4)
      valid = valid && !(c == 0xf0 && byte(i + 1) < 0x90) && !(c == 0xf4 && byte(i + 1) >= 0x90);
    bool control = (length == 1 && c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ||
                   (length == 2 && c == 0xc2 && byte(i + 1) < 0xa0); // C1 controls
    if (!valid || control) {
      out += '?';
      i += valid ? length : 1;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
  return out;
}

} // namespace perigee::grader
