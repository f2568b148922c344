// MPI's beginning and end, communicators, and waiting. A call that blocks is a call that does not and a loop that tests
// it: after half a second without success Lua is asked in between, so that Ctrl-C works, and the board says what this
// rank waits for and where. The fast path has none of it.
#include "mpi/mpi.hpp"

#include <dlfcn.h>
#include <sched.h>
#include <sys/syscall.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <set>
#include <vector>

namespace perigee::mpi {
namespace {

enum class State { before, open, closed };

struct Process {
  State state = State::before;
  bool ours = false; // a C++ host may have started MPI itself, and then ends it
  pid_t thread = 0;
  Board board;
  bool posted = false; // the board says that this rank waits
  std::vector<std::unique_ptr<Comm>> comms;
  Comm *world = nullptr, *self = nullptr;
  bool check = true;
  int64_t noted = 0; // seconds of waiting that stderr has been told of
} process;

pid_t thread_id() {
  return static_cast<pid_t>(syscall(SYS_gettid));
}

bool started_by_launcher() {
  for (const char *variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(variable))
      return true;
  return false;
}

bool check_wanted() {
  const char *text = std::getenv("PERIGEE_MPI_CHECK");
  if (!text || !*text || std::strcmp(text, "1") == 0)
    return true;
  if (std::strcmp(text, "0") == 0)
    return false;
  throw ArgumentError(std::string("the environment variable PERIGEE_MPI_CHECK must be 0 or 1, not '") + text + "'");
}

// Names of what MPI libraries are told by the environment.
std::set<std::string> mpi_variables() {
  std::set<std::string> names;
  for (char **entry = environ; *entry; ++entry)
    for (const char *prefix : {"OMPI_", "PMIX_", "ORTE_"})
      if (std::strncmp(*entry, prefix, std::strlen(prefix)) == 0)
        names.emplace(*entry, std::strcspn(*entry, "="));
  return names;
}

// A job step of Slurm without PMIx starts processes that know nothing of each other: each would be a world of one rank,
// and do all of the work.
void refuse_strangers() {
  const char *tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks && std::atoi(tasks) > 1 && !std::getenv("PMIX_RANK") && !std::getenv("OMPI_COMM_WORLD_RANK"))
    throw ArgumentError(std::string("srun has started ") + tasks +
                        " processes without PMIx, by which they would find each other: write srun --mpi=pmix (srun "
                        "--mpi=list shows what this Slurm has), or perigee mpirun in the job file instead of srun");
}

void open_mpi() {
  process.check = check_wanted();
  refuse_strangers();
  int there = 0;
  MPI_Initialized(&there);
  if (!there) {
    const auto before = mpi_variables();
    const bool alone = !started_by_launcher();
    // Alone, without a launcher, Open MPI would start a daemon in case this process ever spawned others: 0.2 s.
    if (alone)
      setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
    // Debian's Open MPI is set up without the only one-sided component that one process alone can use.
    const char *size = std::getenv("OMPI_COMM_WORLD_SIZE");
    if (!size || std::strcmp(size, "1") == 0)
      setenv("OMPI_MCA_osc", "^ucx", 0);
    // Open MPI loads parts of itself that look for its symbols among the global ones.
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void *>(&MPI_Init), &info) && info.dli_fname)
      dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    int provided = 0;
    require(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    process.ours = true;
    // (Ranks of the grader are stopped between calls, by which yields cannot be judged: they do as Open MPI does.)
    *reinterpret_cast<void **>(&Patience::opal_yields) = dlsym(RTLD_DEFAULT, "opal_progress_set_yield_when_idle");
    if (Patience::opal_yields && std::getenv(shares_cores_variable)) {
      Patience::shares_cores = Patience::opal_yields(false);
      Patience::opal_yields(Patience::shares_cores);
    }
    // What this process starts, by mpi.spawn, is not the lonely rank that these make of it.
    for (const std::string &name : mpi_variables())
      if (alone && before.count(name) == 0)
        unsetenv(name.c_str());
  }
  process.state = State::open;
  process.thread = thread_id();
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  prepare_types();
  process.world = &adopt(MPI_COMM_WORLD, "world");
  process.self = &adopt(MPI_COMM_SELF, "self");
  if (process.board.open(std::getenv(board_variable)))
    process.board.set(static_cast<uint32_t>(process.world->rank), RankState::running);
}

} // namespace

Blocked *pending = nullptr;

bool Patience::shares_cores = false;
bool (*Patience::opal_yields)(bool) = nullptr;

void Patience::give_way() {
  constexpr int64_t long_yield = 2'000'000, crowded_for = 50'000'000, pause = 50'000; // ns
  static int64_t crowded_until = 0;
  const int64_t before = now();
  if (before < crowded_until) {
    const timespec moment{0, pause};
    nanosleep(&moment, nullptr);
    return;
  }
  sched_yield();
  const int64_t after = now();
  if (after - before > long_yield)
    crowded_until = after + crowded_for;
}

int64_t now() {
  return monotonic_nanoseconds();
}

void require(int result, const char *call, const Comm *comm, int32_t peer) {
  if (result == MPI_SUCCESS)
    return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  std::string message = std::string(call) + " failed";
  if (comm && peer >= 0)
    message += " with " + rank_text(*comm, peer);
  throw ArgumentError(message + ": " + text);
}

void require_open() {
  if (process.state == State::closed)
    throw ArgumentError("MPI has ended; nothing can be sent or received any more");
  if (process.state != State::open)
    throw InternalError("MPI has not been started");
  if (process.thread != thread_id())
    throw UnsupportedError("MPI is called from the main state only, not from workers");
}

Comm &checked(pg_mpi_comm *comm) {
  if (!comm->open) [[unlikely]] {
    require_open();
    throw ArgumentError("this communicator was freed");
  }
  return static_cast<Comm &>(*comm);
}

std::string rank_text(const Comm &comm, int32_t rank) {
  std::string text = "rank " + std::to_string(rank);
  if (rank < 0 || rank >= comm.size || comm.world[static_cast<std::size_t>(rank)] == rank)
    return text;
  return text + " (" + std::to_string(comm.world[static_cast<std::size_t>(rank)]) + " in the world)";
}

Comm &adopt(MPI_Comm comm, std::string name) {
  auto made = std::make_unique<Comm>();
  made->comm = comm;
  // (MPI_Comm_dup would begin a non-blocking collective call, after which Open MPI looks for more of these whenever
  // anybody waits: 5% of a small message's latency.)
  MPI_Group all_ranks;
  MPI_Comm_group(comm, &all_ranks);
  const int result = MPI_Comm_create_group(comm, all_ranks, wire_tag(0, nobodys_code), &made->shadow);
  MPI_Group_free(&all_ranks);
  require(result, "MPI_Comm_create_group");
  MPI_Comm_rank(comm, &made->rank);
  MPI_Comm_size(comm, &made->size);
  made->open = 1;
  made->name = std::move(name);
  made->calls = std::make_unique<Calls>();
  // Ranks in the world, for messages and the board.
  std::vector<int> all(static_cast<std::size_t>(made->size));
  for (int i = 0; i < made->size; ++i)
    all[static_cast<std::size_t>(i)] = i;
  made->world = all;
  if (comm != MPI_COMM_WORLD) {
    MPI_Group group, world;
    MPI_Comm_group(comm, &group);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_translate_ranks(group, made->size, all.data(), world, made->world.data());
    MPI_Group_free(&group);
    MPI_Group_free(&world);
  }
  made->inner = std::make_unique<Comm>();
  static_cast<pg_mpi_comm &>(*made->inner) = *made;
  made->inner->comm = made->shadow;
  made->inner->name = made->name;
  made->inner->world = made->world;
  process.comms.push_back(std::move(made));
  return *process.comms.back();
}

// --------------------------------------------------------------------------------------------------------- waits -----
namespace {

int64_t waiting_since = 0;

std::string describe(const Blocked &wait) {
  std::string text = wait.operation;
  if (wait.comm && wait.peer == PG_MPI_ANY)
    text += " from any rank";
  else if (wait.comm && wait.peer >= 0)
    text += (std::strstr(wait.operation, "ecv")   ? " from "
             : std::strstr(wait.operation, "end") ? " to "
                                                  : " with ") +
            rank_text(*wait.comm, wait.peer);
  if (wait.tag >= 0)
    text += ", tag " + std::to_string(wait.tag);
  if (wait.comm && wait.comm != process.world)
    text += ", in " + wait.comm->name;
  return text;
}

void copy_text(char *to, std::size_t size, const std::string &text) {
  const std::size_t length = std::min(text.size(), size - 1);
  std::memcpy(to, text.data(), length);
  to[length] = 0;
}

void post(const Blocked &wait, const char *place) {
  if (process.board && !process.posted) {
    Wait record;
    record.since = waiting_since;
    record.peer = wait.peer == PG_MPI_ANY       ? any_peer
                  : wait.comm && wait.peer >= 0 ? wait.comm->world[static_cast<std::size_t>(wait.peer)]
                                                : no_peer;
    record.tag = wait.tag;
    copy_text(record.operation, sizeof record.operation, wait.operation);
    copy_text(record.communicator, sizeof record.communicator, wait.comm ? wait.comm->name : "");
    copy_text(record.place, sizeof record.place, place);
    process.board.set(static_cast<uint32_t>(process.world->rank), RankState::waiting, record);
    process.posted = true;
  }
  if (!process.board) { // without the launcher each rank speaks for itself
    const int64_t seconds = (now() - waiting_since) / 1'000'000'000;
    if (seconds >= (process.noted == 0 ? 10 : process.noted + 60)) {
      process.noted = seconds;
      std::fprintf(stderr, "perigee: rank %d of %d has waited for %lld s in %s%s%s\n", process.world->rank,
                   process.world->size, static_cast<long long>(seconds), describe(wait).c_str(), *place ? ", at " : "",
                   place);
    }
  }
}

void unpost() {
  process.noted = 0;
  if (process.posted) {
    process.posted = false;
    process.board.set(static_cast<uint32_t>(process.world->rank), RankState::running);
  }
}

struct Nothing final : Blocked {
  bool poll() override { return true; }
};

} // namespace

Blocking::Blocking(const char *operation, const Comm &comm, int32_t peer) {
  if (!process.board)
    return;
  Nothing wait;
  wait.operation = operation;
  wait.comm = &comm;
  wait.peer = peer;
  waiting_since = now();
  post(wait, "");
}

Blocking::~Blocking() {
  unpost();
}

int32_t start_pending(Blocked &wait) {
  wait.describe();
  pending = &wait;
  waiting_since = now() - slice;
  return PG_MPI_PENDING;
}

void abandon_pending() noexcept {
  if (Blocked *wait = std::exchange(pending, nullptr)) {
    unpost();
    wait->abandon();
  }
}

void request_ended(pg_mpi_request &r) {
  delete extra_of(r);
  r._extra = nullptr;
  r.done = 1;
}

bool checks() {
  return process.check;
}

} // namespace perigee::mpi

using namespace perigee;
using namespace perigee::mpi;

int32_t pg_mpi_open(pg_mpi_comm **world, pg_mpi_comm **self) {
  return guard([&] {
    if (process.state == State::before)
      open_mpi();
    require_open();
    *world = process.world;
    *self = process.self;
  });
}

int32_t pg_mpi_state() {
  return static_cast<int32_t>(process.state);
}

void pg_mpi_close(int32_t failed, int32_t requests) {
  if (process.state != State::open || process.thread != thread_id())
    return;
  abandon_pending();
  const auto rank = static_cast<uint32_t>(process.world->rank);
  if (failed) {
    // The others wait for messages of this rank, and it for them in MPI_Finalize: it must not be called.
    process.board.set(rank, RankState::running);
    process.state = State::closed;
    return;
  }
  if (requests > 0)
    std::fprintf(stderr, "perigee: rank %u ends with %d %s never waited for (what isend, irecv and the like return)\n",
                 rank, requests, requests == 1 ? "request" : "requests");
  Wait last;
  last.since = now();
  last.peer = no_peer;
  std::strcpy(last.operation, "finalize");
  std::strcpy(last.communicator, "world");
  std::strcpy(last.place, "the end of the script");
  process.board.set(rank, RankState::waiting, last);
  for (const auto &comm : process.comms)
    comm->open = comm->inner->open = 0;
  process.state = State::closed;
  forget_types();
  if (process.ours)
    MPI_Finalize();
  forget_windows();
  process.board.set(rank, RankState::finalised);
}

void pg_mpi_abort(int32_t code) {
  std::fflush(nullptr);
  if (process.board) { // Open MPI does not always say who it was
    Wait last;
    last.since = now();
    last.peer = no_peer;
    std::strcpy(last.operation, "abort");
    process.board.set(static_cast<uint32_t>(process.world->rank), RankState::waiting, last);
  }
  MPI_Abort(MPI_COMM_WORLD, code);
}

int32_t pg_mpi_continue(const char *place) {
  bool over = false;
  const int32_t status = guard([&] {
    require_open();
    Blocked *wait = pending;
    if (!wait) {
      over = true;
      return;
    }
    post(*wait, place);
    wait->diagnose();
    const int64_t deadline = now() + slice;
    Patience patience;
    for (unsigned i = 1; !over; ++i) {
      over = wait->poll();
      if (!over && !expected_values.empty())
        match_values(true);
      if (!over)
        patience.next();
      if (!over && i % 64 == 0 && now() > deadline)
        return;
    }
    pending = nullptr;
    unpost();
    wait->done();
  });
  if (status != PG_OK)
    abandon_pending();
  return status != PG_OK || over ? status : PG_MPI_PENDING;
}

void pg_mpi_abandon() {
  abandon_pending();
}

double pg_mpi_time() {
  return static_cast<double>(now()) * 1e-9;
}

const char *pg_mpi_host() {
  static char name[MPI_MAX_PROCESSOR_NAME + 1] = "";
  if (!*name && gethostname(name, sizeof name - 1) != 0)
    std::strcpy(name, "unknown");
  return name;
}

const char *pg_mpi_comm_name(const pg_mpi_comm *comm) {
  return static_cast<const Comm *>(comm)->name.c_str();
}

pg_mpi_comm *pg_mpi_shadow(pg_mpi_comm *comm) {
  return static_cast<Comm *>(comm)->inner.get();
}

int32_t pg_mpi_max_tag() {
  return tags.most;
}

int64_t pg_mpi_most_elements(int64_t n) {
  if (n > 0)
    most_elements = n;
  return most_elements;
}

int32_t pg_mpi_check(int32_t on) {
  if (on >= 0)
    process.check = on != 0;
  return process.check;
}

const char *pg_mpi_path() {
  static std::string path;
  Dl_info info{};
  if (path.empty() && dladdr(reinterpret_cast<const void *>(&pg_mpi_path), &info) && info.dli_fname)
    path = info.dli_fname;
  return path.c_str();
}
