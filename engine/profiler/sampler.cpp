#include "profiler/sampler.hpp"

#include "core/status.hpp"
#include "profiler/workers.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <link.h>
#include <luajit.h>
#include <memory>
#include <mutex>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace perigee::profiler {
namespace {

// LuaJIT's numbers for what a VM is doing; it keeps their complement, and a trace's number while that runs.
enum VmActivity { vm_interpreter, vm_c, vm_collector, vm_exit, vm_record, vm_optimise, vm_assemble };

// Bits of LuaJIT's hook mask: a profiler wants the next safe point; a callback of the VM or a finaliser runs.
constexpr uint8_t hook_profile = 0x80, hook_callback = 0x20 | 0x40;

// ------------------------------------------------------------------------- which library an address belongs to ------
enum class Code : int8_t { none, luajit, mathematics, libc, other };

struct Region {
  uintptr_t begin, end;
  Code code;
  bool operator==(const Region &) const = default;
};

// Read by signal handlers: replaced as a whole, and only where libraries have come or gone, and never freed.
std::atomic<const std::vector<Region> *> regions{nullptr};

Code code_of(const char *name) {
  const char *slash = std::strrchr(name, '/');
  std::string_view file = slash ? slash + 1 : name;
  if (file.starts_with("libluajit"))
    return Code::luajit;
  if (file.starts_with("libm.") || file.starts_with("libm-"))
    return Code::mathematics;
  if (file.starts_with("libc.") || file.starts_with("libc-"))
    return Code::libc;
  return Code::other;
}

void find_regions() {
  auto found = std::make_unique<std::vector<Region>>();
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *user) {
        auto *list = static_cast<std::vector<Region> *>(user);
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (const auto &segment = info->dlpi_phdr[i]; segment.p_type == PT_LOAD && (segment.p_flags & PF_X)) {
            uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
            list->push_back({begin, begin + segment.p_memsz, code_of(info->dlpi_name)});
          }
        return 0;
      },
      found.get());
  std::sort(found->begin(), found->end(), [](const Region &a, const Region &b) { return a.begin < b.begin; });
  static auto &all = *new std::vector<std::unique_ptr<std::vector<Region>>>; // calls hold start_mutex
  if (all.empty() || *all.back() != *found) {
    all.push_back(std::move(found));
    regions.store(all.back().get(), std::memory_order_release);
  }
}

Code code_at(const void *address) {
  auto at = reinterpret_cast<uintptr_t>(address);
  const auto &list = *regions.load(std::memory_order_acquire);
  auto after = std::upper_bound(list.begin(), list.end(), at,
                                [](uintptr_t value, const Region &region) { return value < region.begin; });
  return after != list.begin() && at < after[-1].end ? after[-1].code : Code::none;
}

// ------------------------------------------------------------------------------------------------ samplers there are
// --
constexpr size_t max_samplers = 1024;
std::array<std::atomic<Sampler *>, max_samplers> samplers{};
std::mutex start_mutex; // of starts and stops
int running = 0;
lua_State *owner = nullptr; // the VM that LuaJIT believes to be profiled
struct sigaction old_prof, old_fault;
std::atomic<Sampler *> process_sampler{nullptr}; // the one on a timer of the process

// The running thread's. (Not the address in the signal: one may be on its way while its sampler ends.)
thread_local Sampler *mine = nullptr;

Sampler *find(const void *vm_id) {
  for (auto &slot : samplers)
    if (Sampler *sampler = slot.load(std::memory_order_acquire); sampler && sampler->vm_id() == vm_id)
      return sampler;
  return nullptr;
}

const void *vm_id(lua_State *L) {
  void *user = nullptr; // each VM has an allocator of its own
  lua_getallocf(L, &user);
  return user;
}

void at_safe_point(void *, lua_State *L, int, int) {
  if (Sampler *sampler = find(vm_id(L)))
    sampler->on_safe_point(L);
}

// --------------------------------------------------------------------------------------------------------- signals ---
thread_local sigjmp_buf *fault_jump = nullptr;

void on_fault(int signal, siginfo_t *, void *) {
  if (fault_jump)
    siglongjmp(*fault_jump, 1);
  sigaction(signal, &old_fault, nullptr); // not ours: happens again, and is handled as before
}

const void *program_counter(void *context) {
#if defined(__x86_64__)
  return reinterpret_cast<const void *>(static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<const void *>(static_cast<ucontext_t *>(context)->uc_mcontext.pc);
#else
  return nullptr;
#endif
}

void on_timer(int, siginfo_t *, void *context) {
  int error = errno;
  if (mine)
    mine->on_signal(program_counter(context));
  errno = error;
}

bool just_left_kernel(const void *address) {
#if defined(__x86_64__)
  auto *code = static_cast<const unsigned char *>(address);
  return code_at(address) != Code::none && code[-2] == 0x0f && code[-1] == 0x05; // after a syscall instruction
#else
  (void)address;
  return false;
#endif
}

// How the function at `level` was called, as in "exp" of `a:exp()`.
const char *caller_name(lua_State *L, int level) {
  lua_Debug info;
  return lua_getstack(L, level, &info) && lua_getinfo(L, "n", &info) ? info.name : nullptr;
}

// Whether this is the grader's sandbox: it ends a process that makes timers (it could wake itself by them while
// frozen), and refuses to say that it filters calls.
bool confined() {
  return prctl(PR_GET_SECCOMP) < 0;
}

int64_t nanoseconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

} // namespace

// LuaJIT's profiler serves one VM a process, by one timer of the process; but the points where its compiled code and
// its interpreter look whether a sample is due, and the callback there, work for every VM. An idle VM holds the
// profiler; each sampled VM is told to compile those points in (the owner keeps it from being more), and gets a timer
// of its own.
Sampler::Sampler(lua_State *L, double period, VmState vm) : main_(L), vm_id_(profiler::vm_id(L)), vm_(vm) {
  std::lock_guard lock(start_mutex);
  if (find(vm_id_))
    throw ArgumentError("this script is being sampled already; stop the running profile first");
  auto slot = std::find_if(samplers.begin(), samplers.end(), [](auto &s) { return !s.load(); });
  if (slot == samplers.end())
    throw UnsupportedError("more than 1024 VMs cannot be sampled at once");
  find_regions();
  if (running == 0) {
    owner = luaL_newstate();
    if (!owner)
      throw MemoryError("no memory for a Lua state");
    sigaction(SIGPROF, nullptr, &old_prof);
    luaJIT_profile_start(owner, "li1000000000", at_safe_point, nullptr);
    itimerval never{};
    setitimer(ITIMER_PROF, &never, nullptr);
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = on_timer;
    sigaction(SIGPROF, &action, nullptr);
    struct sigaction fault {};
    fault.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    fault.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &fault, &old_fault);
  }
  ++running;
  *slot = this;
  luaJIT_profile_start(L, "l", at_safe_point, nullptr);
  first_ = last_ = thread_time();
  running_ = true;
  mine = this;
  period_ = std::max<int64_t>(int64_t(period * 1e9), 1000);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGPROF;
  event.sigev_notify_thread_id = gettid();
  // Not a timer on the thread's CPU time: those look only at the kernel's tick, 4 ms here, which leaves a run of 10 ms
  // with two samples. Each sample weighs the CPU time since the last, so that waiting counts for nothing all the same.
  if (!confined() && timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0) {
    set_timer(true);
    return;
  }
  // The process's profiling timer, which looks at the kernel's tick only.
  Sampler *none = nullptr;
  if (!process_sampler.compare_exchange_strong(none, this)) {
    int error = errno;
    mine = nullptr;
    *slot = nullptr;
    --running;
    throw UnsupportedError(std::string("this process may not create timers (") + std::strerror(error) +
                           ") and its one profiling timer is in use; profile one thread at a time");
  }
  whole_process = true;
  set_timer(true);
}

void Sampler::set_timer(bool on) {
  if (whole_process) {
    itimerval timer{};
    if (on) {
      timer.it_value.tv_sec = timer.it_interval.tv_sec = period_ / 1'000'000'000;
      timer.it_value.tv_usec = timer.it_interval.tv_usec = std::max<long>(1, period_ % 1'000'000'000 / 1000);
    }
    setitimer(ITIMER_PROF, &timer, nullptr);
  } else {
    itimerspec timer{};
    if (on) {
      timer.it_value.tv_sec = timer.it_interval.tv_sec = period_ / 1'000'000'000;
      timer.it_value.tv_nsec = timer.it_interval.tv_nsec = period_ % 1'000'000'000;
    }
    timer_settime(timer_, 0, &timer, nullptr);
  }
}

void Sampler::pause() {
  if (!running_)
    return;
  set_timer(false);
  settle_all();
}

void Sampler::resume() {
  if (!running_)
    return;
  last_ = thread_time(); // what was done between tasks is nobody's
  set_timer(true);
}

// Samples for which no safe point has come go to the root, those with a stack to it.
void Sampler::settle_all() {
  settling_ = 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  {
    const std::lock_guard lock(mutex);
    for (int i = 0; i < pending_count_; ++i) {
      const Pending &sample = pending_[size_t(i)];
      settle(sample, sample.frames ? place(&raw_[size_t(sample.first)], sample.frames) : 0);
    }
  }
  pending_count_ = raw_count_ = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  settling_ = 0;
}

Sampler::~Sampler() {
  stop();
  leave_sampling(*this);
}

void Sampler::stop() {
  if (!running_)
    return;
  running_ = false;
  set_timer(false);
  if (whole_process)
    process_sampler = nullptr;
  else
    timer_delete(timer_);
  mine = nullptr;
  const int64_t now = thread_time();
  cpu_seconds = double(now - first_) * 1e-9;
  settle_all();
  settling_ = 1;
  std::lock_guard lock(start_mutex);
  for (auto &slot : samplers)
    if (slot.load() == this)
      slot = nullptr;
  if (--running == 0) {
    // A signal may still be on its way, and its default action is to end the process.
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPROF, &ignore, nullptr);
    luaJIT_profile_stop(owner);
    sigaction(SIGPROF, &ignore, nullptr);
    lua_close(owner);
    owner = nullptr;
    if (old_prof.sa_handler != SIG_DFL)
      sigaction(SIGPROF, &old_prof, nullptr);
    sigaction(SIGSEGV, &old_fault, nullptr);
    // As owner for a moment, so that stopping takes the safe points out of what this VM compiles from now on.
    luaJIT_profile_start(main_, "li1000000000", at_safe_point, nullptr);
    luaJIT_profile_stop(main_);
    sigaction(SIGPROF, old_prof.sa_handler != SIG_DFL ? &old_prof : &ignore, nullptr);
  }
}

int64_t Sampler::thread_time() const {
  return nanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

// Innermost first; C functions are left out: what kind they are is the sample's activity. lua_getstack and these parts
// of lua_getinfo only read.
int Sampler::capture(lua_State *L, RawFrame *frames, int capacity) {
  lua_Debug info;
  int count = 0;
  bool was_lua = false;
  for (int level = 0; count < capacity && level < max_depth && lua_getstack(L, level, &info); ++level) {
    lua_getinfo(L, "Sl", &info);
    const bool lua = info.what[0] != 'C';
    if (!lua) {
      was_lua = false;
      continue;
    }
    frames[count] = {info.source, nullptr, info.linedefined, info.currentline};
    // Functions of the engine that tail-call others are known by the name in the script's call.
    if (count > 0 && !is_engine(info.source) && is_engine(frames[count - 1].source) && was_lua)
      frames[count - 1].name = caller_name(L, level - 1);
    ++count;
    was_lua = true;
  }
  return count;
}

int32_t Sampler::place(const RawFrame *frames, int count) {
  int32_t node = 0;
  for (int i = count; i-- > 0;)
    node = tree.child(node, {tree.source(frames[i].source), frames[i].defined, frames[i].line,
                             frames[i].name ? tree.source(frames[i].name) : -1});
  return node;
}

void Sampler::on_signal(const void *address) {
  const int64_t now = thread_time();
  if (settling_.load(std::memory_order_relaxed))
    return; // its time goes to the next sample
  const int64_t elapsed = now - last_;
  last_ = now;
  const int32_t state = vm_.state ? *vm_.state : ~int32_t(vm_interpreter);
  Pending sample{};
  sample.program_counter = address;
  sample.trace = state >= 0 ? state : 0;
  sample.state = int8_t(state >= 0 ? -1 : ~state);
  sample.in_kernel = just_left_kernel(address);
  sample.count = 1;
  sample.nanoseconds = elapsed;
  // Inside a C function that Lua called the stack is at rest, and the next safe point may be on the next line. (At rest
  // but for the moment when a C function makes it larger: the walk may then fault, and that is caught.)
  if (sample.state == vm_c && raw_count_ + max_depth <= max_raw) {
    sigjmp_buf jump;
    if (sigsetjmp(jump, 0) == 0) {
      fault_jump = &jump;
      std::atomic_signal_fence(std::memory_order_seq_cst);
      int frames = capture(main_, &raw_[size_t(raw_count_)], max_depth);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      sample.frames = int16_t(frames);
      sample.first = raw_count_;
    }
    fault_jump = nullptr;
  }
  Pending *last = pending_count_ ? &pending_[size_t(pending_count_ - 1)] : nullptr;
  auto same_stack = [&] {
    if (last->frames != sample.frames)
      return false;
    for (int i = 0; i < sample.frames; ++i) {
      const RawFrame &a = raw_[size_t(last->first + i)], &b = raw_[size_t(sample.first + i)];
      if (a.source != b.source || a.defined != b.defined || a.line != b.line || a.name != b.name)
        return false;
    }
    return true;
  };
  if (last && last->state == sample.state && last->trace == sample.trace && last->in_kernel == sample.in_kernel &&
      code_at(last->program_counter) == code_at(address) && same_stack()) {
    ++last->count;
    last->nanoseconds += elapsed;
  } else if (pending_count_ < max_pending) {
    pending_[size_t(pending_count_++)] = sample;
    raw_count_ += sample.frames;
  } else {
    lost += elapsed;
  }
  // The stack is taken at the next safe point. (Not asked for while LuaJIT compiles: it may be changing the very tables
  // that this changes. The next sample asks.)
  if (vm_.hookmask && sample.state <= vm_collector) {
    uint8_t mask = *vm_.hookmask;
    if (!(mask & (hook_profile | hook_callback))) {
      *vm_.hookmask = mask | hook_profile;
      lua_sethook(main_, lua_gethook(main_), lua_gethookmask(main_), lua_gethookcount(main_)); // looks at the mask
    }
  }
}

void Sampler::on_safe_point(lua_State *L) {
  settling_ = 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  // A coroutine stands on the stack of the thread that is sampled. (Of coroutines in coroutines only the innermost is
  // there: LuaJIT does not tell who resumed whom.)
  const std::unique_lock lock(mutex);
  RawFrame frames[2 * max_depth];
  int count = capture(L, frames, max_depth);
  if (L != main_)
    count += capture(main_, frames + count, max_depth);
  int32_t node = place(frames, count);
  for (int i = 0; i < pending_count_; ++i) {
    const Pending &sample = pending_[size_t(i)];
    // (In a coroutine the stack taken at once was not its own.)
    settle(sample, sample.frames && L == main_ ? place(&raw_[size_t(sample.first)], sample.frames) : node);
  }
  pending_count_ = raw_count_ = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  settling_ = 0;
}

Activity Sampler::classify(const Pending &sample) {
  if (sample.in_kernel)
    return Activity::system;
  Code code = code_at(sample.program_counter);
  switch (sample.state) {
  case -1: // a trace: itself, or what it calls
    if (code == Code::none || code == Code::luajit || code == Code::mathematics)
      return Activity::compiled;
    return Activity::engine;
  case vm_interpreter:
    return Activity::interpreted;
  case vm_c:
    // libc serves both: where it was called from an engine module, it was for the engine.
    if (code == Code::libc && sample.frames)
      return is_engine(raw_[size_t(sample.first)].source) ? Activity::engine : Activity::library;
    return code == Code::luajit || code == Code::mathematics || code == Code::libc ? Activity::library
                                                                                   : Activity::engine;
  case vm_collector:
    return Activity::collector;
  case vm_exit:
    return Activity::compiled;
  default:
    return Activity::compiler;
  }
}

void Sampler::settle(const Pending &sample, int32_t node) {
  Sum &sum = sums[{node, classify(sample), sample.frames ? 0 : sample.trace, generation}];
  sum.count += sample.count;
  sum.nanoseconds += sample.nanoseconds;
}

} // namespace perigee::profiler
