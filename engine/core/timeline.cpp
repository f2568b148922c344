#include "core/timeline.hpp"

#include "core/status.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_set>

namespace perigee::core::timeline {

std::atomic<bool> on{false};

namespace {

constexpr int64_t portion = 4096; // events that a thread takes from what is left at a time

struct Open {
  const char *name, *category;
  int64_t begin;
};

// Of one thread in one recording. Its thread writes, stop() reads; the lock is free but then.
struct Buffer {
  std::mutex mutex;
  Thread thread;
  std::vector<Open> open;
  int64_t room = 0, dropped = 0;
  bool closed = false;
};

std::mutex mutex; // of what follows
std::vector<std::shared_ptr<Buffer>> buffers;
std::unordered_set<std::string> texts; // nodes stay where they are
std::atomic<uint64_t> recordings{0};
std::atomic<int64_t> left{0};

thread_local std::shared_ptr<Buffer> mine;
thread_local uint64_t mine_of = 0;
thread_local std::string my_name;

Buffer &buffer() {
  const uint64_t now = recordings.load(std::memory_order_acquire);
  if (mine_of != now || !mine) {
    auto fresh = std::make_shared<Buffer>();
    const std::lock_guard lock(mutex);
    fresh->thread.name = my_name.empty() ? "thread " + std::to_string(buffers.size() + 1) : my_name;
    buffers.push_back(fresh);
    mine = std::move(fresh);
    mine_of = now;
  }
  return *mine;
}

// With the buffer's lock held.
void put(Buffer &to, const Event &event) {
  if (to.closed)
    return;
  if (to.room == 0 && (to.room = std::clamp<int64_t>(left.fetch_sub(portion), 0, portion)) == 0) {
    ++to.dropped;
    return;
  }
  --to.room;
  try {
    to.thread.events.push_back(event);
  } catch (const std::bad_alloc &) {
    ++to.dropped;
  }
}

} // namespace

void add(const Event &event) {
  if (!recording())
    return;
  Buffer &to = buffer();
  const std::lock_guard lock(to.mutex);
  put(to, event);
}

void begin(const char *name, const char *category) {
  if (!recording())
    return;
  Buffer &to = buffer();
  const std::lock_guard lock(to.mutex);
  to.open.push_back({name, category, monotonic_nanoseconds()});
}

void end() {
  if (!recording())
    return;
  Buffer &to = buffer();
  const std::lock_guard lock(to.mutex);
  if (to.open.empty())
    return; // it began before the recording
  const Open span = to.open.back();
  to.open.pop_back();
  put(to, {span.name, span.category, span.begin, monotonic_nanoseconds(), 'X'});
}

Nesting::Nesting() {
  if (!recording())
    return;
  Buffer &of_thread = buffer();
  const std::lock_guard lock(of_thread.mutex);
  open_ = of_thread.open.size();
  recording_ = mine_of;
}

Nesting::~Nesting() {
  if (recording_ == 0 || !recording() || mine_of != recording_)
    return;
  Buffer &of_thread = buffer();
  const std::lock_guard lock(of_thread.mutex);
  for (; of_thread.open.size() > open_; of_thread.open.pop_back()) {
    const Open &span = of_thread.open.back();
    put(of_thread, {span.name, span.category, span.begin, monotonic_nanoseconds(), 'X'});
  }
}

int64_t start_arrow(const char *name, const char *category) {
  if (!recording())
    return 0;
  static std::atomic<int64_t> last{0};
  const int64_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  add({name, category, monotonic_nanoseconds(), number, 's'});
  return number;
}

void finish_arrow(const char *name, const char *category, int64_t number) {
  if (number != 0)
    add({name, category, monotonic_nanoseconds(), number, 'f'});
}

const char *keep(const std::string &text) {
  const std::lock_guard lock(mutex);
  return texts.insert(text).first->c_str();
}

void name_thread(const std::string &name) {
  my_name = name;
  if (recording()) {
    Buffer &to = buffer();
    const std::lock_guard lock(to.mutex);
    to.thread.name = name;
  }
}

const std::string &thread_name() {
  return my_name;
}

void start(size_t most_events) {
  {
    const std::lock_guard lock(mutex);
    if (recording())
      throw ArgumentError("a timeline is being recorded already in this process");
    buffers.clear();
    left = static_cast<int64_t>(most_events);
    recordings.fetch_add(1, std::memory_order_release);
    on = true;
  }
  std::atomic_ref(pg_operations_watched).fetch_add(1);
  if (my_name.empty())
    buffer().thread.name = "main";
  else
    buffer();
}

Recording stop() {
  Recording result;
  std::vector<std::shared_ptr<Buffer>> all;
  {
    const std::lock_guard lock(mutex);
    if (!recording())
      return result;
    on = false;
    all.swap(buffers);
  }
  std::atomic_ref(pg_operations_watched).fetch_sub(1);
  const int64_t now = monotonic_nanoseconds();
  for (const auto &one : all) {
    const std::lock_guard lock(one->mutex);
    for (; !one->open.empty(); one->open.pop_back()) // an error left them open, or the thread is busy
      put(*one, {one->open.back().name, one->open.back().category, one->open.back().begin, now, 'X'});
    one->closed = true;
    result.dropped += one->dropped;
    if (!one->thread.events.empty())
      result.threads.push_back(std::move(one->thread));
  }
  return result;
}

} // namespace perigee::core::timeline
