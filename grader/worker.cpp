#include "worker.hpp"

#include "array/array.hpp"

#include "channel.hpp"
#include "frames.hpp"
#include "ranks.hpp"

#include "core/wire.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace perigee::grader {
namespace {

// What Perigee itself needs in a worker, beside what the exercise allows the script: code, heap, results; and inputs,
// which the supervisor keeps within most_input_bytes.
constexpr int64_t own_bytes = 64 << 20;

// What a call had devices do: what was copied to them, code and arguments.
constexpr uint64_t most_record_bytes = 256 << 20;

double seconds_between(int64_t from, int64_t to) {
  return double(to - from) * 1e-9;
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g s", seconds);
  return text;
}

std::string mebibytes_text(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g MiB", double(bytes) / (1 << 20));
  return text;
}

constexpr int64_t deadlock_cpu_ns = 500'000'000; // that each rank on average spends in a standstill before it is one
constexpr double deadlock_seconds = 8.0; // or this long: on a crowded machine ranks that wait and yield get little

std::string prefixed(const char *prefix, const std::string &text) {
  return text.empty() ? "" : prefix + text;
}

// A failure that ends a slice.
struct Failed {
  FailureKind kind;
  std::string text;
  std::size_t call = 0;
};

// A piece of a worker's memory that a result refers to.
struct Range {
  uint64_t begin, end;
  std::size_t call;
};

} // namespace

const char *failure_name(FailureKind kind) {
  constexpr const char *names[] = {
      "none",          "load_error", "script_error", "bad_result",       "shared_memory",
      "changed_input", "time_limit", "memory_limit", "output_limit",     "flood",
      "crashed",       "exited",     "denied_call",  "ran_while_frozen", "forged_protocol"};
  return names[std::size_t(kind)];
}

Verdict verdict_of(FailureKind kind) {
  switch (kind) {
  case FailureKind::none:
    return Verdict::passed;
  case FailureKind::bad_result:
  case FailureKind::shared_memory:
  case FailureKind::changed_input:
  case FailureKind::ran_while_frozen:
  case FailureKind::forged_protocol:
    return Verdict::wrong;
  case FailureKind::time_limit:
  case FailureKind::memory_limit:
  case FailureKind::output_limit:
  case FailureKind::flood:
    return Verdict::over_limit;
  default:
    return Verdict::error;
  }
}

namespace {

// How long these CPUs have been idle since the machine started, in seconds, together. std::nullopt where the kernel
// does not say.
std::optional<double> idle_seconds(const std::vector<int> &cpus) {
  std::ifstream file("/proc/stat");
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  double sum = 0.0;
  std::size_t found = 0;
  for (std::string line; std::getline(file, line) && line.starts_with("cpu");) {
    int cpu = 0;
    double idle = 0.0, waiting_for_io = 0.0;
    if (std::sscanf(line.c_str(), "cpu%d %*s %*s %*s %lf %lf", &cpu, &idle, &waiting_for_io) == 3 &&
        std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) {
      sum += (idle + waiting_for_io) * tick;
      ++found;
    }
  }
  return found == cpus.size() ? std::optional(sum) : std::nullopt;
}

} // namespace

struct Worker::Impl {
  Impl(const Exercise &exercise, const std::string &script, const std::string &name, const WorkerOptions &options)
      : exercise(exercise), options(options) {
    int64_t start = raw_nanoseconds();
    ChannelOptions channel_options;
    channel_options.role = "worker";
    channel_options.ranks = options.ranks;
    channel_options.memory_bytes = exercise.limits.memory_bytes + own_bytes * std::max(1, options.ranks) +
                                   std::max(most_input_bytes, exercise.limits.memory_bytes);
    // Of several cores: more threads than cores, since some may sleep.
    channel_options.max_tasks = exercise.needs.cores > 1 ? 64 + 2 * exercise.needs.cores : 2;
    channel_options.cpus = options.cpus;
    channel_options.require_full = options.require_full;
    channel_options.interrupted = options.interrupted;
    nlohmann::json settings = {{"name", name},
                               {"entry", exercise.entry},
                               {"jit", exercise.jit},
                               {"memory", exercise.limits.memory_bytes},
                               {"modules", exercise.modules},
                               {"may_thread", exercise.needs.cores > 1},
                               {"threads", options.ranks > 0 ? 1 : cores()},
                               {"gpu", exercise.needs.gpu}};
    channel = std::make_unique<Channel>(channel_options, settings, script);
    if (options.ranks > 0)
      channel->stuck = [this] { return deadlocked(); };
    try {
      load();
    } catch (const Failed &failed) {
      load_kind = failed.kind;
      load_text = failed.text;
      channel->sandbox().kill();
    } catch (const WorkerGone &) {
      Failed failed = ended();
      load_kind = failed.kind;
      load_text = failed.text;
    }
    start_seconds = seconds_between(start, raw_nanoseconds());
  }

  void load() {
    const double waited_before = waited();
    channel->post(Command::load);
    constexpr double limit = Limits::load_seconds;
    wait(waited_before, limit, limit,
         "loading the script took longer than " + seconds_text(limit) +
             "; do the work in the function, when it is called");
    answered(FailureKind::load_error);
  }

  // "rank 2: ", of a submission that runs on several.
  std::string rank_prefix(std::size_t rank) const {
    return options.ranks > 1 ? "rank " + std::to_string(rank) + ": " : "";
  }

  // Throws what the answer to a command says went wrong.
  void answered(FailureKind script_kind) {
    if (const std::size_t rank = channel->failed(); rank < channel->size())
      throw reported(rank, script_kind);
  }

  // Why the process is gone.
  Failed ended() {
    usable = false;
    auto info = channel->sandbox().exit_info();
    if (!info)
      return {FailureKind::exited, "the worker ended"};
    switch (info->reason) {
    case ExitReason::memory:
      return {FailureKind::memory_limit,
              "used more than the " + mebibytes_text(exercise.limits.memory_bytes) + " of memory allowed"};
    case ExitReason::output:
      return {FailureKind::flood, "printed without end; print less"};
    case ExitReason::denied:
      return {FailureKind::denied_call, rank_prefix(info->process) + info->describe()};
    case ExitReason::signalled:
      return {FailureKind::crashed, rank_prefix(info->process) + info->describe()};
    default:
      return {FailureKind::exited, rank_prefix(info->process) + "ended the process before the function had returned"};
    }
  }

  // What the process says went wrong. It may lie only to its own disadvantage.
  Failed reported(std::size_t rank, FailureKind script_kind) {
    const Status status = channel->page(rank).status;
    std::string text = rank_prefix(rank) + channel->text(rank);
    std::size_t call = channel->page(rank).failed;
    switch (status) {
    case Status::load_error:
    case Status::script_error:
      return {script_kind, text, call};
    case Status::bad_result:
      return {FailureKind::bad_result, text, call};
    case Status::output_limit:
      return {FailureKind::output_limit,
              text + " (" + mebibytes_text(options.output_bytes) + "); return only what is asked for", call};
    case Status::memory_limit:
      return {FailureKind::memory_limit, text, call};
    default:
      return {FailureKind::forged_protocol, "the worker's answer makes no sense: " + text, call};
    }
  }

  // Waits for the answer to a command, sent when waited() was `waited_before`. A limit holds for the time that the
  // process ran or slept, not for what it waited for its core (workers on a crowded machine have waited for seconds);
  // by the wall, four times as long at most.
  void wait(double waited_before, double call_seconds, double total_seconds, const std::string &what) {
    const int64_t start = raw_nanoseconds();
    for (double call = call_seconds, total = total_seconds;;) {
      switch (channel->wait(call, total)) {
      case Channel::Wait::done:
        return;
      case Channel::Wait::gone:
        throw ended();
      case Channel::Wait::stuck:
        throw waiting_for_ever();
      case Channel::Wait::late:
        const double late_by = seconds_between(start, raw_nanoseconds()) - call_seconds,
                     held_up = waited() - waited_before;
        if (late_by > held_up || late_by > 3 * total_seconds)
          throw Failed{FailureKind::time_limit, what + prefixed("\n", waits().words), channel->page().progress};
        call = total = options.ranks > 0 ? 0.6 : 0.05; // ranks are looked at twice a second
      }
    }
  }

  Waits waits() {
    if (options.ranks == 0 || !channel->sandbox().alive())
      return {};
    std::vector<bool> returned(channel->size());
    for (std::size_t rank = 0; rank < returned.size(); ++rank)
      returned[rank] = channel->done(rank);
    Waits found = look_at_waits(channel->sandbox().pid(), returned);
    found.words = clean_text(found.words);
    return found;
  }

  // Whether ranks wait for each other and nothing has moved while they had time enough: ranks that wait look for their
  // message all the time, so one under way would have come.
  bool deadlocked() {
    const Waits found = waits();
    if (!found.deadlock) {
      standstill.clear();
      return false;
    }
    const int64_t cpu = channel->sandbox().cpu_ns(), now = raw_nanoseconds();
    if (found.words != standstill) {
      standstill = found.words;
      standstill_since = now;
      standstill_cpu = cpu;
    }
    return cpu - standstill_cpu > deadlock_cpu_ns * options.ranks ||
           seconds_between(standstill_since, now) > deadlock_seconds;
  }

  Failed waiting_for_ever() {
    return {FailureKind::time_limit, "the ranks wait for each other: " + standstill, channel->page().progress};
  }

  // The cores that the exercise is for, as far as there are so many.
  int cores() const {
    const int here = static_cast<int>(options.cpus.size()), meant = std::max(exercise.needs.cores, options.ranks);
    return here > 0 ? std::min(meant, here) : meant;
  }

  // Seconds that the process has waited for cores that others held, a core's share.
  double waited() const { return double(channel->sandbox().waited_ns()) * 1e-9 / cores(); }

  Slice run(const std::vector<Bytes> &inputs) {
    Slice slice;
    int64_t begin = raw_nanoseconds();
    try {
      if (!usable)
        throw Failed{FailureKind::exited, "the worker has ended"};
      measure(inputs, slice);
    } catch (const WorkerGone &) {
      fail(slice, ended(), inputs.size());
    } catch (const Failed &failed) {
      fail(slice, failed, inputs.size());
    }
    overhead_seconds += seconds_between(begin, raw_nanoseconds()) - slice.wall;
    return slice;
  }

  void fail(Slice &slice, const Failed &failed, std::size_t calls) {
    slice.kind = failed.kind;
    slice.failure = failed.text;
    slice.failed_call = failed.call < calls ? failed.call : 0; // the process may have said anything
    slice.results.clear();
    slice.records.clear();
    switch (failed.kind) {
    case FailureKind::script_error:
    case FailureKind::bad_result:
    case FailureKind::shared_memory:
    case FailureKind::changed_input:
    case FailureKind::output_limit:
      if (options.ranks == 0)
        break;
      [[fallthrough]]; // other ranks may be anywhere
    default:
      usable = false;
      channel->sandbox().kill();
    }
  }

  void measure(const std::vector<Bytes> &inputs, Slice &slice) {
    Sandbox &sandbox = channel->sandbox();
    ControlPage &page = channel->page();
    double call_limit = exercise.limits.call_seconds;
    Bytes packed = frames::pack(inputs);

    if (sandbox.frozen())
      sandbox.thaw();
    page.capacity = packed.size();
    const double waited_clearing = waited();
    channel->post(Command::prepare);
    double clearing_limit = std::max(2.0, call_limit); // garbage collection; a script's finalisers may hang in it
    wait(waited_clearing, clearing_limit, clearing_limit, "clearing up after the calls before did not end");
    answered(FailureKind::script_error);
    uint64_t input_address = page.input.address, input_bytes = page.input.bytes;
    if (input_bytes < packed.size())
      throw Failed{FailureKind::forged_protocol, "the worker has no input buffer"};

    // Whatever address it claims, inputs go into its own memory, and only now that it stands still.
    sandbox.freeze();
    if (!packed.empty() && !sandbox.write_memory(input_address, packed.data(), packed.size()))
      throw Failed{FailureKind::forged_protocol, "the worker's input buffer is not there"};
    for (std::size_t rank = 0; rank < channel->size(); ++rank) {
      channel->page(rank).count = uint32_t(inputs.size());
      channel->page(rank).output_bytes = uint64_t(options.output_bytes);
    }
    if (sandbox.ran_while_frozen())
      throw Failed{FailureKind::ran_while_frozen, "the script ran while it had to stand still"};

    const bool wall_clock = !exercise.uses_cpu_clock(),
               several_cores = wall_clock && options.cpus.size() > 1 && cores() > 1;
    const auto idle_before = several_cores ? idle_seconds(options.cpus) : std::nullopt;
    const int64_t before = raw_nanoseconds();
    const double waited_before = waited();
    int64_t cpu = sandbox.cpu_ns(), wall = raw_nanoseconds();
    channel->post(Command::call);
    sandbox.thaw();
    double slice_limit = std::max(options.slice_seconds, call_limit);
    wait(waited_before, call_limit, slice_limit, "a call took longer than " + seconds_text(call_limit));
    sandbox.freeze();
    // Every task has stopped: only now is the work over, and the clock with it.
    slice.wall = seconds_between(wall, raw_nanoseconds());
    slice.cpu = seconds_between(cpu, sandbox.cpu_ns());
    if (wall_clock) {
      slice.waited = waited() - waited_before;
      // Threads of its own that take turns on a core wait, too. Others can have held no more than it left them.
      if (several_cores) {
        const auto cpus = static_cast<double>(options.cpus.size());
        slice.waited = std::clamp(slice.wall - slice.cpu / cpus, 0.0, slice.waited);
        const double span = seconds_between(before, raw_nanoseconds());
        if (const auto idle = idle_seconds(options.cpus); idle && idle_before)
          slice.others = cpus * span - (*idle - *idle_before) - slice.cpu;
      }
    }

    answered(FailureKind::script_error);
    collect(inputs, packed, {input_address, input_address + input_bytes, 0}, slice);
    if (sandbox.ran_while_frozen())
      throw Failed{FailureKind::ran_while_frozen, "the script ran while it had to stand still"};
  }

  // Reads the results, once, and parses only that copy.
  void collect(const std::vector<Bytes> &inputs, const Bytes &packed, Range input, Slice &slice) {
    Sandbox &sandbox = channel->sandbox();
    wire::Limits limits;
    limits.bytes = uint64_t(options.output_bytes);
    const std::size_t frames_each = exercise.needs.gpu ? 2 : 1, count = frames_each * inputs.size();
    uint64_t most = frames::table_bytes(count) + count * frames::aligned(std::max(limits.bytes, most_record_bytes));
    Bytes answer;
    std::vector<frames::Blob> all, blobs, records;
    if (!channel->read(channel->page().output, most, answer) || !frames::unpack(answer, count, all))
      throw Failed{FailureKind::forged_protocol, "the worker's results are not where it says"};
    for (std::size_t i = 0; i < all.size(); ++i)
      (i % frames_each == 0 ? blobs : records).push_back(all[i]);

    std::vector<Range> ranges;
    for (std::size_t call = 0; call < blobs.size(); ++call) {
      std::string error;
      if (!wire::check(blobs[call], limits, true, error))
        throw Failed{FailureKind::forged_protocol, "the worker's result is malformed: " + error, call};
      for (const wire::ArrayEntry &array : wire::arrays(blobs[call])) {
        Range range{array.place, array.place + array.bytes, call};
        if (range.end < range.begin)
          throw Failed{FailureKind::forged_protocol, "the worker's result is not where it says", call};
        if (range.begin == range.end)
          continue;
        ranges.push_back(range);
        if (!exercise.in_place && range.begin < input.end && input.begin < range.end)
          throw Failed{FailureKind::shared_memory,
                       "the result shares memory with " + owner(inputs, range, input.begin) + "; return a copy", call};
      }
    }
    // One array reused for all calls would hold only the last result.
    std::sort(ranges.begin(), ranges.end(), [](const Range &a, const Range &b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < ranges.size(); ++i)
      if (ranges[i].begin < ranges[i - 1].end && ranges[i].call != ranges[i - 1].call)
        throw Failed{FailureKind::shared_memory,
                     "the results of two calls share memory; return a new array from every call",
                     std::max(ranges[i].call, ranges[i - 1].call)};

    slice.results.resize(blobs.size());
    auto read = [&](uint64_t address, void *to, std::size_t size) { return sandbox.read_memory(address, to, size); };
    for (std::size_t call = 0; call < blobs.size(); ++call)
      if (!wire::materialise(blobs[call], read, slice.results[call]))
        throw Failed{FailureKind::forged_protocol, "the worker's result is not where it says", call};
    slice.records.resize(records.size());
    wire::Limits record_limits;
    record_limits.bytes = most_record_bytes;
    for (std::size_t call = 0; call < records.size(); ++call) {
      std::string error;
      if (!wire::check(records[call], record_limits, true, error) ||
          !wire::materialise(records[call], read, slice.records[call]))
        throw Failed{FailureKind::forged_protocol, "the record of the device is malformed: " + error, call};
    }

    if (!exercise.in_place)
      check_inputs(inputs, packed, input.begin);
  }

  // The arguments in which arrays of a batch's inputs lie, with their addresses in the worker.
  template <class Visit> static void each_array(const std::vector<Bytes> &inputs, uint64_t base, Visit &&visit) {
    uint64_t at = base + frames::table_bytes(inputs.size());
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      auto arrays = wire::arrays(inputs[call]);
      std::vector<int> owners = arrays.empty() ? std::vector<int>() : wire::array_owners(inputs[call]);
      for (std::size_t i = 0; i < arrays.size(); ++i)
        visit(call, arrays[i], owners[i] + 1, at + arrays[i].place);
      at += frames::aligned(inputs[call].size());
    }
  }

  static std::string owner(const std::vector<Bytes> &inputs, const Range &range, uint64_t base) {
    std::string name = "an input";
    each_array(inputs, base, [&](std::size_t call, const wire::ArrayEntry &array, int argument, uint64_t address) {
      if (call == range.call && range.begin < address + array.bytes && address < range.end)
        name = "input " + std::to_string(argument);
    });
    return name;
  }

  void check_inputs(const std::vector<Bytes> &inputs, const Bytes &packed, uint64_t base) {
    Bytes now;
    each_array(inputs, base, [&](std::size_t call, const wire::ArrayEntry &array, int argument, uint64_t address) {
      now.resize(array.bytes);
      const std::byte *before = packed.data() + (address - base);
      if (array.bytes == 0)
        return;
      if (!channel->sandbox().read_memory(address, now.data(), array.bytes))
        throw Failed{FailureKind::forged_protocol, "the worker's inputs have gone", call};
      if (std::memcmp(now.data(), before, array.bytes) == 0)
        return;
      std::size_t first = std::size_t(std::mismatch(now.begin(), now.end(), before).first - now.begin());
      int64_t element = int64_t(first / array::element_size(array.dtype));
      std::string index;
      for (int axis = array.ndim - 1; axis >= 0; --axis) {
        index = "[" + std::to_string(element % array.shape[axis] + 1) + "]" + index;
        element /= array.shape[axis];
      }
      throw Failed{FailureKind::changed_input,
                   "the function changed its input " + std::to_string(argument) + ", first at " + index +
                       "; work on a copy (a:copy())",
                   call};
    });
  }

  const Exercise exercise;
  const WorkerOptions options;
  std::unique_ptr<Channel> channel;
  FailureKind load_kind = FailureKind::none;
  std::string load_text, output;
  std::string standstill; // as the ranks describe it
  int64_t standstill_since = 0, standstill_cpu = 0;
  bool usable = true;
  double start_seconds = 0, overhead_seconds = 0;
};

Worker::Worker(const Exercise &exercise, const std::string &script_text, const std::string &script_name,
               const WorkerOptions &options)
    : impl_(std::make_unique<Impl>(exercise, script_text, script_name, options)) {}
Worker::~Worker() = default;
Worker::Worker(Worker &&) noexcept = default;
Worker &Worker::operator=(Worker &&) noexcept = default;

FailureKind Worker::load_kind() const {
  return impl_->load_kind;
}
const std::string &Worker::load_error() const {
  return impl_->load_text;
}
Slice Worker::run(const std::vector<Bytes> &inputs) {
  return impl_->run(inputs);
}
void Worker::spread(std::size_t shift) {
  try {
    impl_->channel->sandbox().spread(impl_->options.cpus, shift);
  } catch (const WorkerGone &) { // run() says so
  }
}
bool Worker::usable() const {
  return impl_->usable && impl_->load_kind == FailureKind::none;
}

std::string Worker::output() {
  impl_->channel->sandbox().alive();
  constexpr std::size_t most = 64 << 10;
  if (impl_->output.size() < most)
    impl_->output += clean_text(impl_->channel->sandbox().take_output(), most - impl_->output.size());
  return impl_->output;
}

int64_t Worker::memory_peak() {
  return impl_->channel->sandbox().memory_peak();
}
double Worker::start_seconds() const {
  return impl_->start_seconds;
}
double Worker::overhead_seconds() const {
  return impl_->overhead_seconds;
}
std::vector<std::string> Worker::unprotected() const {
  return impl_->channel->sandbox().unprotected();
}
void Worker::kill() {
  impl_->usable = false;
  impl_->channel->sandbox().kill();
}

} // namespace perigee::grader
