// The program inside a sandbox: `perigee-worker worker` holds a submission, `perigee-worker judge` an exercise's
// cases.lua. It is started with three descriptors: the control page (3), its settings as JSON (4), the script (5). It
// reads them, locks itself down, and from then on knows only its own memory and the control page. `perigee-worker ranks
// N` starts a submission's ranks of MPI (ranks.hpp), each `perigee-worker rank`. `perigee-worker gpu-time` is no
// sandbox's: it measures on a GPU (gpu_time.hpp).
#include "confined.hpp"
#include "gpu_time.hpp"
#include "lockdown.hpp"
#include "ranks.hpp"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

extern "C" void pg_processes_forbid(const char *reason); // engine/parallel/process_abi.h

using namespace perigee::grader;

namespace {

std::string read_all(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0)
    throw std::runtime_error("a descriptor is missing; perigee starts this program itself");
  std::string text(std::size_t(info.st_size), '\0');
  for (std::size_t at = 0; at < text.size();) {
    ssize_t got = pread(fd, text.data() + at, text.size() - at, off_t(at));
    if (got <= 0)
      throw std::runtime_error("a descriptor cannot be read");
    at += std::size_t(got);
  }
  close(fd);
  return text;
}

ControlPage &map_control_page(int fd) {
  void *memory = mmap(nullptr, sizeof(ControlPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    throw std::runtime_error("the control page cannot be mapped");
  close(fd);
  return *static_cast<ControlPage *>(memory);
}

// Arrays and buffers come from malloc. Memory that was once touched stays with the process, and the first 16 MiB are
// touched now, so that page faults (0.25 us each, 0.1 ms a MiB) do not fall into the first timed calls.
void prefault_heap() {
  constexpr std::size_t arena = 16 << 20;
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, arena);
  if (void *memory = std::malloc(arena)) {
    std::memset(memory, 1, arena);
    std::free(memory);
  }
}

} // namespace

int main(int argc, char **argv) {
  try {
    const std::string name = argc > 1 ? argv[1] : "";
    if (name == "ranks" && argc == 3)
      return start_ranks(std::atoi(argv[2]), argv[0]);
    if (name == "gpu-time")
      return gpu_time_main({argv + 2, argv + argc});
    if (argc != 2)
      throw std::runtime_error("this is a part of perigee, which starts it itself");
    const bool judge = name == "judge", rank = name == "rank";
    RankFiles files{.page = 3, .settings = 4, .script = 5};
    if (rank)
      files = join_ranks();
    ControlPage &page = map_control_page(files.page);
    auto settings = nlohmann::json::parse(read_all(files.settings));
    std::string script = read_all(files.script);
    page.pid = getpid();
    prefault_heap();
    LockdownOptions options;
    options.threads = settings.at("may_thread").get<bool>();
    options.denied_word = &page.denied;
    if (rank) {
      options.scratch = true; // shared windows
      options.keep_fds = {files.output};
      lock_files(options);
    }
    auto role = judge ? make_judge(page, std::move(settings), std::move(script))
                      : make_worker(page, std::move(settings), std::move(script));
    pg_processes_forbid(
        "the grader's sandbox has no worker processes (parallel.processes); parallel.pool has workers that "
        "are threads");
    if (rank) {
      role->start_mpi();
      // What a rank prints goes to the supervisor from now on: mpirun will not be there to pass it on.
      if (dup2(files.output, 1) < 0 || dup2(files.output, 2) < 0)
        throw std::runtime_error("the standard streams cannot be opened");
      close(files.output);
      lock_calls(options);
    } else {
      lockdown(options);
    }
    role->serve();
  } catch (const std::exception &e) {
    std::fprintf(stderr, "perigee-worker: %s\n", e.what());
    return 2;
  }
}
