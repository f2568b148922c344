// The event loop on libuv. Callbacks of libuv only append records; Lua drains them after each turn of the loop, so that
// no C function ever calls into a Lua state.
#include "core/abi.hpp"
#include "core/plugin_support.hpp"
#include "core/status.hpp"

extern "C" {
#pragma GCC visibility push(default)
#include "async/async_abi.h"
#pragma GCC visibility pop
}

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace perigee::async {
namespace {

[[noreturn]] void fail(const std::string &what, int error) {
  throw FileError(what + ": " + uv_strerror(error));
}

void require(int result, const char *what) {
  if (result < 0)
    fail(what, result);
}

// Objects by small numbers, from 1, that are used again.
template <class T> class Slots {
 public:
  int32_t take() {
    if (!free_.empty()) {
      const int32_t slot = free_.back();
      free_.pop_back();
      return slot;
    }
    all_.push_back(std::make_unique<T>());
    return static_cast<int32_t>(all_.size());
  }
  void give(int32_t slot) { free_.push_back(slot); }
  T &operator[](int32_t slot) {
    if (slot < 1 || static_cast<std::size_t>(slot) > all_.size())
      throw InternalError("async: there is no object " + std::to_string(slot));
    return *all_[static_cast<std::size_t>(slot) - 1];
  }

 private:
  std::deque<std::unique_ptr<T>> all_;
  std::vector<int32_t> free_;
};

struct Timer {
  uv_timer_t uv{};
  int32_t slot = 0;
  bool made = false;
};

struct Handle {
  union {
    uv_handle_t any;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
    uv_process_t process;
  } uv;
  int32_t slot = 0;
  bool open = false;
};

struct Request {
  union {
    uv_write_t write;
    uv_shutdown_t shutdown;
    uv_connect_t connect;
  } uv;
  int32_t slot = 0;
  std::string data; // what is still to be written
};

} // namespace
} // namespace perigee::async

using namespace perigee;
using namespace perigee::async;

struct pg_async_loop {
  uv_loop_t uv{};
  uv_async_t wake{}, interrupt{};
  std::vector<pg_async_record> records;
  std::vector<std::unique_ptr<char[]>> blocks; // of the records' data
  std::array<char, 65536> scratch;
  Slots<Timer> timers;
  Slots<Handle> handles;
  Slots<Request> requests;
  // That are expected, by tag: several tasks may wait for one future, and one of them give up.
  struct Expected {
    pg_async_loop *loop = nullptr;
    void *future = nullptr;
  };
  std::unordered_map<int32_t, std::unique_ptr<Expected>> futures;
  std::mutex mutex; // of `done`, which the pools' threads write
  std::vector<int32_t> done;
  bool polled = false; // the records have been handed out
  sigset_t mask{};
  bool takes_interrupts = false;
  struct sigaction before {};

  void record(int32_t kind, int32_t slot, int64_t value = 0, const char *data = nullptr) {
    // A full memory here loses a wake-up; std::bad_alloc may not cross libuv.
    try {
      records.push_back({kind, slot, value, data});
    } catch (const std::bad_alloc &) {
      std::fputs("perigee: async: no memory left\n", stderr);
      std::abort();
    }
  }
};

namespace perigee::async {
namespace {

pg_async_loop &of(const uv_loop_t *uv) {
  return *static_cast<pg_async_loop *>(uv->data);
}

// Ctrl-C is taken by the loop of the main thread while it is open. The second one has its usual effect (SA_RESETHAND).
std::atomic<pg_async_loop *> interrupted_loop{nullptr};
std::atomic<bool> waiting{false}, taken{false};
// What else wants to know: a prompt, which stops a script that computes, and pools, which begin no more tasks.
std::atomic<void (*)(int)> handler_before{nullptr};
std::atomic<bool> tell_before{false};

void on_interrupt(int signal) {
  const int before = errno;
  taken.store(true);
  const auto other = handler_before.load();
  if (other && (!waiting.load() || tell_before.load())) {
    other(signal);
  } else if (!waiting.load()) {
    constexpr char note[] = "\n(stopping when the coroutine that runs waits next; Ctrl-C once more ends the program)\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, note, sizeof note - 1);
  }
  if (pg_async_loop *loop = interrupted_loop.load())
    uv_async_send(&loop->interrupt); // may be called in a signal handler
  errno = before;
}

void free_handle(uv_handle_t *uv) {
  auto *handle = static_cast<Handle *>(uv->data);
  of(uv->loop).handles.give(handle->slot);
}

Handle &new_handle(pg_async_loop &loop) {
  const int32_t slot = loop.handles.take();
  Handle &handle = loop.handles[slot];
  handle.slot = slot;
  return handle;
}

// After a uv_*_init.
void opened(Handle &handle) {
  handle.uv.any.data = &handle;
  handle.open = true;
}

void close_handle(Handle &handle) {
  if (handle.open) {
    handle.open = false;
    uv_close(&handle.uv.any, free_handle);
  }
}

Handle &open_handle(pg_async_loop &loop, int32_t slot) {
  Handle &handle = loop.handles[slot];
  if (!handle.open)
    throw InternalError("async: the object " + std::to_string(slot) + " is closed");
  return handle;
}

// Closes a new handle unless it is kept.
class Kept {
 public:
  explicit Kept(Handle &handle) : handle_(&handle) {}
  ~Kept() {
    if (handle_)
      close_handle(*handle_);
  }
  Kept(const Kept &) = delete;
  int32_t keep() { return std::exchange(handle_, nullptr)->slot; }

 private:
  Handle *handle_;
};

Request &new_request(pg_async_loop &loop) {
  const int32_t slot = loop.requests.take();
  Request &request = loop.requests[slot];
  request.slot = slot;
  return request;
}

void end_request(pg_async_loop &loop, Request &request, int status) {
  std::string().swap(request.data);
  loop.record(PG_ASYNC_REQUEST, request.slot, status);
  loop.requests.give(request.slot);
}

// What begins a request: gives the slot back where `result` says that it did not begin.
int32_t begun(pg_async_loop &loop, Request &request, int result, const char *what) {
  if (result < 0) {
    std::string().swap(request.data);
    loop.requests.give(request.slot);
    fail(what, result);
  }
  return request.slot;
}

void on_allocate(uv_handle_t *uv, size_t, uv_buf_t *buffer) {
  auto &scratch = of(uv->loop).scratch;
  *buffer = uv_buf_init(scratch.data(), static_cast<unsigned>(scratch.size()));
}

// One read for each pg_async_read_start: who does not read is not sent to.
void on_read(uv_stream_t *uv, ssize_t size, const uv_buf_t *buffer) {
  if (size == 0) // nothing yet after all
    return;
  pg_async_loop &loop = of(uv->loop);
  uv_read_stop(uv);
  const char *data = nullptr;
  if (size > 0) {
    try {
      auto block = std::make_unique<char[]>(static_cast<std::size_t>(size));
      std::memcpy(block.get(), buffer->base, static_cast<std::size_t>(size));
      data = block.get();
      loop.blocks.push_back(std::move(block));
    } catch (const std::bad_alloc &) {
      size = UV_ENOMEM;
      data = nullptr;
    }
  }
  loop.record(PG_ASYNC_READ, static_cast<Handle *>(uv->data)->slot, size, data);
}

void on_connection(uv_stream_t *uv, int status) {
  pg_async_loop &loop = of(uv->loop);
  const int32_t server = static_cast<Handle *>(uv->data)->slot;
  int64_t value = status;
  try {
    if (status == 0) {
      Handle &handle = new_handle(loop);
      require(uv_tcp_init(&loop.uv, &handle.uv.tcp), "");
      opened(handle);
      Kept kept(handle);
      if (const int result = uv_accept(uv, &handle.uv.stream); result < 0) {
        value = result;
      } else {
        uv_tcp_nodelay(&handle.uv.tcp, 1); // a line sent is a line wanted
        value = kept.keep();
      }
    }
  } catch (const std::exception &) {
    value = UV_ENOMEM;
  }
  loop.record(PG_ASYNC_ACCEPT, server, value);
}

void on_exit(uv_process_t *uv, int64_t code, int signal) {
  of(uv->loop).record(PG_ASYNC_EXIT, static_cast<Handle *>(uv->data)->slot, signal != 0 ? -signal : code);
}

sockaddr_storage address_of(const char *address, int32_t port) {
  sockaddr_storage storage{};
  if (uv_ip4_addr(address, port, reinterpret_cast<sockaddr_in *>(&storage)) != 0 &&
      uv_ip6_addr(address, port, reinterpret_cast<sockaddr_in6 *>(&storage)) != 0)
    throw ArgumentError(std::string("'") + address + "' is not an address");
  return storage;
}

std::string place(const char *address, int32_t port) {
  return std::string(address) + " port " + std::to_string(port);
}

// A descriptor that is closed on the way out.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0)
      close(fd);
  }
};

} // namespace
} // namespace perigee::async

int32_t pg_async_open(pg_async_loop **out) {
  return guard([&] {
    auto loop = std::make_unique<pg_async_loop>();
    require(uv_loop_init(&loop->uv), "async: the event loop does not start");
    loop->uv.data = loop.get();
    const auto wake = [](uv_async_t *uv) {
      pg_async_loop &woken = of(uv->loop);
      const std::lock_guard lock(woken.mutex);
      for (const int32_t tag : woken.done)
        woken.record(PG_ASYNC_FUTURE, tag);
      woken.done.clear();
    };
    const auto interrupt = [](uv_async_t *uv) { of(uv->loop).record(PG_ASYNC_INTERRUPT, 0); };
    if (uv_async_init(&loop->uv, &loop->wake, wake) < 0 || uv_async_init(&loop->uv, &loop->interrupt, interrupt) < 0) {
      uv_walk(
          &loop->uv, [](uv_handle_t *uv, void *) { uv_close(uv, nullptr); }, nullptr);
      uv_run(&loop->uv, UV_RUN_DEFAULT);
      uv_loop_close(&loop->uv);
      throw FileError("async: the event loop does not start: this process has too many open files");
    }
    uv_unref(reinterpret_cast<uv_handle_t *>(&loop->wake));
    uv_unref(reinterpret_cast<uv_handle_t *>(&loop->interrupt));
    // Writing to what nobody reads is an error of that write, no end of the program.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &loop->mask);
    pg_async_loop *none = nullptr;
    if (pg_interrupts_taken() && gettid() == getpid() && interrupted_loop.compare_exchange_strong(none, loop.get())) {
      struct sigaction action {};
      action.sa_handler = on_interrupt;
      action.sa_flags = static_cast<int>(SA_RESETHAND);
      taken.store(false);
      sigaction(SIGINT, nullptr, &loop->before);
      const bool plain = loop->before.sa_handler == SIG_DFL || loop->before.sa_handler == SIG_IGN ||
                         (loop->before.sa_flags & SA_SIGINFO) != 0;
      handler_before.store(plain ? nullptr : loop->before.sa_handler);
      sigaction(SIGINT, &action, nullptr);
      if (loop->before.sa_handler == SIG_IGN) // nohup, a shell's background: stays ignored
        sigaction(SIGINT, &loop->before, nullptr);
      loop->takes_interrupts = true;
    }
    *out = loop.release();
  });
}

int32_t pg_async_close(int32_t *left, pg_async_loop *raw) {
  return guard([&] {
    std::unique_ptr<pg_async_loop> loop(raw);
    for (const auto &[tag, expected] : loop->futures)
      pg_future_forget(expected->future, expected.get());
    if (loop->takes_interrupts) {
      struct sigaction now {};
      sigaction(SIGINT, nullptr, &now);
      if (now.sa_handler == on_interrupt || taken.load()) // else somebody has changed it since
        sigaction(SIGINT, &loop->before, nullptr);
      interrupted_loop.store(nullptr);
    }
    struct Left {
      int32_t count = 0;
      std::vector<pid_t> children;
    } found;
    uv_walk(
        &loop->uv,
        [](uv_handle_t *uv, void *user) {
          auto &all = *static_cast<Left *>(user);
          if (uv_is_closing(uv))
            return;
          const bool ours = uv->type == UV_NAMED_PIPE || uv->type == UV_TCP || uv->type == UV_PROCESS;
          all.count += ours;
          if (uv->type == UV_PROCESS && uv_is_active(uv)) {
            const pid_t pid = uv_process_get_pid(reinterpret_cast<uv_process_t *>(uv));
            uv_process_kill(reinterpret_cast<uv_process_t *>(uv), SIGKILL);
            all.children.push_back(pid);
          }
          uv_close(uv, nullptr);
        },
        &found);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    for (const pid_t child : found.children)
      while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
      }
    const int result = uv_loop_close(&loop->uv);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    const timespec now{};
    if (sigismember(&loop->mask, SIGPIPE) == 0)
      while (sigtimedwait(&pipe, nullptr, &now) == SIGPIPE) {
      }
    pthread_sigmask(SIG_SETMASK, &loop->mask, nullptr);
    *left = found.count;
    if (result != 0) {
      static_cast<void>(loop.release()); // libuv still refers to it
      throw InternalError(std::string("async: the event loop does not close: ") + uv_strerror(result));
    }
  });
}

int32_t pg_async_poll(int32_t *count, const pg_async_record **records, pg_async_loop *loop, int32_t wait) {
  return guard([&] {
    if (std::exchange(loop->polled, true)) {
      loop->records.clear();
      loop->blocks.clear();
    }
    const bool main = loop->takes_interrupts;
    if (main) {
      tell_before.store(!loop->futures.empty());
      waiting.store(wait != 0);
    }
    const int alive = uv_run(&loop->uv, wait != 0 && loop->records.empty() ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (main)
      waiting.store(false);
    *records = loop->records.data();
    *count = static_cast<int32_t>(loop->records.size());
    if (*count == 0 && alive == 0)
      *count = -1;
  });
}

int32_t pg_async_timer_start(int32_t *slot, pg_async_loop *loop, double seconds) {
  return guard([&] {
    *slot = loop->timers.take();
    Timer &timer = loop->timers[*slot];
    if (!timer.made) {
      uv_timer_init(&loop->uv, &timer.uv);
      timer.uv.data = &timer;
      timer.slot = *slot;
      timer.made = true;
    }
    // libuv counts whole milliseconds from the start of the loop's turn: not before the time asked for.
    const double due = std::ceil((static_cast<double>(uv_hrtime()) + seconds * 1e9) * 1e-6);
    const double delay = due - static_cast<double>(uv_now(&loop->uv));
    const auto fired = [](uv_timer_t *uv) {
      pg_async_loop &of_timer = of(uv->loop);
      const int32_t due_slot = static_cast<Timer *>(uv->data)->slot;
      of_timer.record(PG_ASYNC_TIMER, due_slot);
      of_timer.timers.give(due_slot);
    };
    uv_timer_start(&timer.uv, fired, static_cast<uint64_t>(std::max(delay, 0.0)), 0);
  });
}

int32_t pg_async_timer_stop(pg_async_loop *loop, int32_t slot) {
  return guard([&] {
    uv_timer_stop(&loop->timers[slot].uv);
    loop->timers.give(slot);
  });
}

int32_t pg_async_read_start(pg_async_loop *loop, int32_t stream) {
  return guard(
      [&] { require(uv_read_start(&open_handle(*loop, stream).uv.stream, on_allocate, on_read), "stream:read"); });
}

int32_t pg_async_read_stop(pg_async_loop *loop, int32_t stream) {
  return guard([&] {
    Handle &handle = loop->handles[stream];
    if (handle.open)
      uv_read_stop(&handle.uv.stream);
  });
}

int32_t pg_async_write(int32_t *request, pg_async_loop *loop, int32_t stream, const char *data, int64_t size) {
  return guard([&] {
    uv_stream_t *to = &open_handle(*loop, stream).uv.stream;
    *request = 0;
    int64_t done = 0;
    while (done < size) { // what can go at once goes without a copy
      uv_buf_t buffer = uv_buf_init(const_cast<char *>(data) + done,
                                    static_cast<unsigned>(std::min<int64_t>(size - done, int64_t{1} << 30)));
      const int written = uv_try_write(to, &buffer, 1);
      if (written == UV_EAGAIN || written == 0)
        break;
      require(written, "stream:write");
      done += written;
    }
    if (done == size)
      return;
    if (size - done > INT32_MAX)
      throw ArgumentError("stream:write: at most 2 GiB can be written at once");
    Request &pending = new_request(*loop);
    pending.data.assign(data + done, static_cast<std::size_t>(size - done));
    uv_buf_t buffer = uv_buf_init(pending.data.data(), static_cast<unsigned>(pending.data.size()));
    pending.uv.write.data = &pending;
    const auto written = [](uv_write_t *uv, int status) {
      end_request(of(uv->handle->loop), *static_cast<Request *>(uv->data), status);
    };
    *request = begun(*loop, pending, uv_write(&pending.uv.write, to, &buffer, 1, written), "stream:write");
  });
}

int32_t pg_async_write_eof(int32_t *request, pg_async_loop *loop, int32_t stream) {
  return guard([&] {
    Handle &handle = open_handle(*loop, stream);
    Request &pending = new_request(*loop);
    pending.uv.shutdown.data = &pending;
    const auto ended = [](uv_shutdown_t *uv, int status) {
      end_request(of(uv->handle->loop), *static_cast<Request *>(uv->data), status);
    };
    *request = begun(*loop, pending, uv_shutdown(&pending.uv.shutdown, &handle.uv.stream, ended), "stream:write_eof");
  });
}

int32_t pg_async_close_handle(pg_async_loop *loop, int32_t handle) {
  return guard([&] { close_handle(loop->handles[handle]); });
}

int32_t pg_async_connect(int32_t *stream, int32_t *request, pg_async_loop *loop, const char *address, int32_t port) {
  return guard([&] {
    const sockaddr_storage to = address_of(address, port);
    Handle &handle = new_handle(*loop);
    require(uv_tcp_init(&loop->uv, &handle.uv.tcp), "connect");
    opened(handle);
    Kept kept(handle);
    uv_tcp_nodelay(&handle.uv.tcp, 1);
    Request &pending = new_request(*loop);
    pending.uv.connect.data = &pending;
    const auto ended = [](uv_connect_t *uv, int status) {
      end_request(of(uv->handle->loop), *static_cast<Request *>(uv->data), status);
    };
    const int result =
        uv_tcp_connect(&pending.uv.connect, &handle.uv.tcp, reinterpret_cast<const sockaddr *>(&to), ended);
    *request = begun(*loop, pending, result, ("connect: " + place(address, port)).c_str());
    *stream = kept.keep();
  });
}

int32_t pg_async_listen(int32_t *server, int32_t *bound, pg_async_loop *loop, const char *address, int32_t port,
                        int32_t backlog) {
  return guard([&] {
    sockaddr_storage at = address_of(address, port);
    const std::string where = "serve: " + place(address, port);
    Handle &handle = new_handle(*loop);
    require(uv_tcp_init(&loop->uv, &handle.uv.tcp), "serve");
    opened(handle);
    Kept kept(handle);
    require(uv_tcp_bind(&handle.uv.tcp, reinterpret_cast<const sockaddr *>(&at), 0), where.c_str());
    require(uv_listen(&handle.uv.stream, backlog, on_connection), where.c_str());
    int size = sizeof at;
    require(uv_tcp_getsockname(&handle.uv.tcp, reinterpret_cast<sockaddr *>(&at), &size), where.c_str());
    *bound = ntohs(at.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 *>(&at)->sin6_port
                                            : reinterpret_cast<sockaddr_in *>(&at)->sin_port);
    *server = kept.keep();
  });
}

int32_t pg_async_spawn(int32_t *process, int32_t *pid, int32_t *streams, pg_async_loop *loop, const char *const *argv,
                       const char *const *env, const char *cwd, const int32_t *stdio) {
  return guard([&] {
    std::fflush(stdout); // what the script printed comes before what the child prints
    uv_stdio_container_t containers[3]{};
    std::array<Descriptor, 3> theirs; // the child's ends: pipes, not libuv's sockets, which /dev/stdin cannot open
    std::array<Handle *, 3> ours{};
    struct CloseAll {
      std::array<Handle *, 3> &all;
      ~CloseAll() {
        for (Handle *one : all)
          if (one)
            close_handle(*one);
      }
    } cleanup{ours};
    for (int i = 0; i < 3; ++i) {
      containers[i].flags = UV_IGNORE; // /dev/null
      if (stdio[i] == PG_ASYNC_INHERIT || stdio[i] == PG_ASYNC_STDOUT) {
        containers[i] = stdio[i] == PG_ASYNC_STDOUT ? containers[1] : uv_stdio_container_t{UV_INHERIT_FD, {}};
        if (stdio[i] == PG_ASYNC_INHERIT)
          containers[i].data.fd = i;
      } else if (stdio[i] == PG_ASYNC_PIPE) {
        int ends[2];
        require(uv_pipe(ends, 0, 0), "subprocess");
        Descriptor mine{ends[i == 0 ? 1 : 0]};
        theirs[static_cast<std::size_t>(i)].fd = ends[i == 0 ? 0 : 1];
        Handle &handle = new_handle(*loop);
        require(uv_pipe_init(&loop->uv, &handle.uv.pipe, 0), "subprocess");
        opened(handle);
        ours[static_cast<std::size_t>(i)] = &handle;
        require(uv_pipe_open(&handle.uv.pipe, mine.fd), "subprocess");
        mine.fd = -1;
        containers[i].flags = UV_INHERIT_FD;
        containers[i].data.fd = ends[i == 0 ? 0 : 1];
      }
    }
    uv_process_options_t options{};
    options.exit_cb = on_exit;
    options.file = argv[0];
    options.args = const_cast<char **>(argv);
    options.env = const_cast<char **>(env);
    options.cwd = cwd;
    options.stdio = containers;
    options.stdio_count = 3;
    Handle &handle = new_handle(*loop);
    const int result = uv_spawn(&loop->uv, &handle.uv.process, &options);
    opened(handle); // also after a failure: then only to be closed
    Kept kept(handle);
    if (result < 0)
      fail(std::string("subprocess: cannot run '") + argv[0] + "'" +
               (cwd ? std::string(" in '") + cwd + "'" : std::string()),
           result);
    for (int i = 0; i < 3; ++i) {
      Handle *&one = ours[static_cast<std::size_t>(i)];
      streams[i] = one ? one->slot : 0;
      one = nullptr;
    }
    *pid = uv_process_get_pid(&handle.uv.process);
    *process = kept.keep();
  });
}

int32_t pg_async_kill(pg_async_loop *loop, int32_t process, int32_t signal) {
  return guard([&] {
    const int result = uv_process_kill(&open_handle(*loop, process).uv.process, signal);
    if (result < 0 && result != UV_ESRCH) // ended already: nothing to kill
      fail("kill", result);
  });
}

const char *pg_async_error(int64_t error) {
  return error == UV_EOF ? "the other side has closed" : uv_strerror(static_cast<int>(error));
}

int32_t pg_async_expect_future(pg_async_loop *loop, void *future, int32_t tag) {
  return guard([&] {
    auto &expected = loop->futures[tag];
    expected = std::make_unique<pg_async_loop::Expected>(pg_async_loop::Expected{loop, future});
    if (loop->futures.size() == 1)
      uv_ref(reinterpret_cast<uv_handle_t *>(&loop->wake));
    const auto listener = [](void *user, uint64_t which) {
      pg_async_loop *of_future = static_cast<pg_async_loop::Expected *>(user)->loop;
      {
        const std::lock_guard lock(of_future->mutex);
        of_future->done.push_back(static_cast<int32_t>(which));
      }
      uv_async_send(&of_future->wake);
    };
    pg_future_listen(future, listener, expected.get(), static_cast<uint64_t>(tag));
  });
}

int32_t pg_async_forget_future(pg_async_loop *loop, int32_t tag) {
  return guard([&] {
    const auto at = loop->futures.find(tag);
    if (at == loop->futures.end())
      return;
    pg_future_forget(at->second->future, at->second.get());
    loop->futures.erase(at);
    if (loop->futures.empty())
      uv_unref(reinterpret_cast<uv_handle_t *>(&loop->wake));
  });
}
