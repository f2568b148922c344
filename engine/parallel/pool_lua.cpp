// Workers that are threads with a Lua state each, and what the Lua files call: functions that need the VM itself,
// to send its values and to wait, and so are lua_CFunctions and not FFI.
#include "parallel/pool_lua.hpp"
#include "core/memory.hpp"
#include "core/plugin_support.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"
#include "core/timeline.hpp"
#include "core/vm.hpp"
#include "parallel/parallel.hpp"
#include "parallel/pool.hpp"
#include "parallel/process_worker.hpp"
#include "parallel/queue.hpp"
#include "parallel/races_lua.hpp"
#include "parallel/transport_lua.hpp"
#include "profiler/workers.hpp"

#include <array>
#include <cmath>
#include <cstdio>

namespace perigee::parallel {
namespace {

constexpr int lua_tcdata = 10;

// The Lua state that waits in the calling thread, for a task that it runs meanwhile.
thread_local lua_State *waiting = nullptr;

// One that does. (Errors of Lua's may pass.)
class Waits {
 public:
  explicit Waits(lua_State *L) : before_(std::exchange(waiting, L)) {}
  ~Waits() { waiting = before_; }
  Waits(const Waits &) = delete;

 private:
  lua_State *const before_;
};

// ------------------------------------------------------------------------------------------------------- workers -----
class LuaExecutor final : public Executor {
 public:
  explicit LuaExecutor(std::shared_ptr<Parent> parent) : parent_(std::move(parent)) {
    core::own_thread_count(1);
    pg_vm_options options = parent_->options;
    if (options.print) {
      options.print_user = parent_.get();
      options.print = [](void *user, const char *text, size_t size) { static_cast<Parent *>(user)->print(text, size); };
    }
    vm_ = std::make_unique<pg_vm>(options);
    transport_ = &Transport::of(vm_->state);
    in_state([this](lua_State *L) {
      lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
      lua_getfield(L, -1, "require");
      lua_pushliteral(L, "parallel");
      lua_call(L, 1, 1);
      lua_getfield(L, -1, "_kit");
      lua_getfield(L, -1, "on_task_error");
      core::wrap_error_handler(L);
      handler_ = luaL_ref(L, LUA_REGISTRYINDEX);
      lua_newtable(L);
      runners_ = luaL_ref(L, LUA_REGISTRYINDEX);
    });
  }

  // Lets go of what the last tasks left: the runners of loops, garbage that holds arrays.
  void rest() override {
    recent_ = {};
    try {
      in_state([this](lua_State *L) {
        lua_newtable(L);
        lua_rawseti(L, LUA_REGISTRYINDEX, runners_);
        lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
        lua_getfield(L, -1, "collect");
        lua_call(L, 0, 0);
      });
    } catch (const std::exception &) { // garbage that stays
    }
  }

  Outcome run(const Future &task) override {
    const core::timeline::Span span("task", "task");
    const core::timeline::Nesting nesting;
    Outcome outcome;
    if (lua_State *L = waiting) { // for a task of this worker that waits for it
      const Waits within(nullptr);
      run_in(L, task, outcome);
    } else {
      try {
        in_state([&](lua_State *state) { run_in(state, task, outcome); });
      } catch (const std::exception &e) {
        outcome = {};
        outcome.error = e.what();
      }
    }
    return outcome;
  }

 private:
  template <class Body> void in_state(Body &&body) {
    auto call = [](void *state, void *user) {
      (*static_cast<std::remove_reference_t<Body> *>(user))(static_cast<lua_State *>(state));
    };
    if (vm_->with_state(call, &body) != PG_OK)
      throw InternalError(vm_->error.message);
  }

  void run_in(lua_State *L, const Future &task, Outcome &outcome) {
    struct Call {
      LuaExecutor *self;
      const Future &task;
      Outcome &outcome;
    } call{this, task, outcome};
    luaL_checkstack(L, 8, "too many tasks that wait for each other");
    const profiler::WorkerSampling sampling(L);
    const int base = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler_);
    lua_pushcfunction(L, [](lua_State *state) {
      auto *c = static_cast<Call *>(lua_touserdata(state, 1));
      lua_settop(state, 0);
      c->self->body(state, c->task, c->outcome);
      return 0;
    });
    lua_pushlightuserdata(L, &call);
    const int status = lua_pcall(L, 1, 0, base + 1);
    if (status == LUA_ERRMEM)
      outcome.error = core::account_was_refused(vm_->account, false)
                          ? "memory limit reached: the Lua heap of a worker has grown too large"
                          : "this machine has no memory left for the Lua heap of a worker";
    else if (status != 0)
      take_error(L, outcome);
    lua_settop(L, base);
    if (status == LUA_ERRMEM) { // what filled the heap is garbage now; the next task starts with room
      outcome.value.clear();
      lua_gc(L, LUA_GCCOLLECT, 0);
      lua_gc(L, LUA_GCCOLLECT, 0);
    }
  }

  void body(lua_State *L, const Future &task, Outcome &outcome) {
    Transport &transport = *transport_;
    int arguments;
    if (task.job) {
      push_runner(L, *task.job);
      arguments = transport.decode(L, task.message);
    } else {
      arguments = transport.decode(L, task.message) - 1;
    }
    lua_call(L, arguments, LUA_MULTRET);
    const int results = lua_gettop(L);
    bool sent = false;
    try {
      sent = transport.encode(L, 1, outcome.value);
    } catch (const std::bad_alloc &) {
      outcome.value = {};
      outcome.error = "the result of a task is too large: this machine has no memory left to send it back";
      return;
    }
    if (!sent) {
      outcome.value.clear();
      std::string reason = transport.reason;
      if (const size_t at = reason.find('\1'); at != std::string::npos)
        reason.replace(at, 1, results > 1 ? "result " + std::to_string(transport.culprit) : "result");
      outcome.error = reason + " cannot be sent back by a worker";
      return;
    }
    outcome.ok = true;
  }

  // The function that a job's maker makes, kept for its next tasks.
  void push_runner(lua_State *L, const Job &job) {
    for (const Runner &runner : recent_)
      if (runner.job == job.id) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, runners_);
        lua_rawgeti(L, -1, runner.place);
        lua_remove(L, -2);
        return;
      }
    lua_rawgeti(L, LUA_REGISTRYINDEX, runners_);
    const int table = lua_gettop(L);
    lua_call(L, transport_->decode(L, job.message) - 1, 1);
    lua_pushvalue(L, -1);
    Runner &runner = recent_[next_];
    next_ = (next_ + 1) % recent_.size();
    runner.job = job.id;
    runner.place = static_cast<int>(&runner - recent_.data()) + 1;
    lua_rawseti(L, table, runner.place);
    lua_remove(L, table);
  }

  void take_error(lua_State *L, Outcome &outcome) {
    outcome.ok = false;
    outcome.value.clear();
    if (!lua_istable(L, -1)) { // an error in the handler
      size_t size = 0;
      const char *text = lua_tolstring(L, -1, &size);
      outcome.error = text ? std::string(text, size) : "unknown error";
      if (outcome.error == "stack overflow")
        outcome.error = core::overflow_words;
      return;
    }
    auto text = [L](const char *field) {
      lua_getfield(L, -1, field);
      size_t size = 0;
      const char *data = lua_tolstring(L, -1, &size);
      std::string value(data ? data : "", size);
      lua_pop(L, 1);
      return value;
    };
    outcome.traceback = text("traceback");
    outcome.error = text("text");
    lua_getfield(L, -1, "value"); // where the error is no string
    if (!lua_isnil(L, -1)) {
      try {
        if (!transport_->encode(L, lua_gettop(L), outcome.value))
          outcome.value.clear();
      } catch (const std::exception &) {
        outcome.value.clear();
      }
    }
    lua_pop(L, 1);
  }

  struct Runner {
    uint64_t job = 0;
    int place = 0;
  };

  std::shared_ptr<Parent> parent_;
  std::unique_ptr<pg_vm> vm_;
  Transport *transport_ = nullptr;
  int handler_ = LUA_NOREF, runners_ = LUA_NOREF;
  std::array<Runner, 8> recent_{};
  size_t next_ = 0;
};

} // namespace

Parent::Parent(const pg_vm_options &given, std::shared_ptr<std::recursive_mutex> print_mutex)
    : options(given), print_mutex_(std::move(print_mutex)) {
  if (options.modules)
    options.modules = (modules_ = options.modules).c_str();
  if (options.script_root)
    options.script_root = (script_root_ = options.script_root).c_str();
}

void Parent::print(const char *text, size_t size) {
  const std::lock_guard lock(*print_mutex_);
  options.print(options.print_user, text, size);
}

std::unique_ptr<Executor> make_lua_executor(std::shared_ptr<Parent> parent) {
  return std::make_unique<LuaExecutor>(std::move(parent));
}

namespace {

// ------------------------------------------------------------------------------------------ called by Lua ------------
// Runs `body`, whose exceptions become Lua's errors of the usual kinds: nil and the message.
template <class Body> int protect(lua_State *L, Body &&body) {
  std::string message;
  try {
    return body();
  } catch (const Error &e) {
    message = e.what();
  } catch (const std::bad_alloc &) {
    message = "this machine has no memory left for what is sent";
  }
  lua_settop(L, 0);
  lua_pushnil(L);
  lua_pushlstring(L, message.data(), message.size());
  return 2;
}

Transport &own_transport(lua_State *L) {
  return *static_cast<Transport *>(lua_touserdata(L, lua_upvalueindex(1)));
}

pg_shared *struct_at(lua_State *L, int index) {
  return static_cast<pg_shared *>(const_cast<void *>(lua_topointer(L, index)));
}

template <class T> T *object_at(lua_State *L, int index) {
  if (lua_type(L, index) != lua_tcdata)
    return nullptr;
  return static_cast<T *>(static_cast<Shared *>(struct_at(L, index)->_object));
}

Deadline deadline_at(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TNUMBER)
    return std::nullopt;
  const double seconds = std::clamp(lua_tonumber(L, index), 0.0, 1e9);
  return std::chrono::steady_clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

// Values from `first` on that cannot be sent: nil, what and why with "\1" for the value's name, which value.
int refuse(lua_State *L, const Transport &transport) {
  lua_pushnil(L);
  lua_pushlstring(L, transport.reason.data(), transport.reason.size());
  lua_pushinteger(L, transport.culprit);
  return 3;
}

// connect(functions)
int connect(lua_State *L) {
  lua_settop(L, 1);
  own_transport(L).connect(L);
  return 0;
}

// The participant that a state is, NULL where it has not loaded the module.
Participant *participant_of(lua_State *L) {
  if (Participant *me = ThreadParticipant::current())
    return me;
  lua_getfield(L, LUA_REGISTRYINDEX, "perigee.participant");
  auto *me = static_cast<Participant *>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return me;
}

// pool_open(out, workers, whether they are processes, check, gil, memory [, initialiser, arguments ...]): check for
// races; gil: the switch interval of an interpreter lock, 0 for none; memory: bytes that each worker may hold, 0: as
// this state
int pool_open(lua_State *L) {
  return protect(L, [&] {
    std::optional<Message> initialiser;
    WorkerMode mode;
    mode.shares_memory = !lua_toboolean(L, 3);
    mode.check_races = lua_toboolean(L, 4);
    if (const double interval = lua_tonumber(L, 5); interval > 0)
      mode.gil = std::make_shared<Gil>(interval);
    if (lua_gettop(L) > 6) {
      Transport &transport = own_transport(L);
      if (!transport.encode(L, 7, initialiser.emplace()))
        return refuse(L, transport);
    }
    auto parent = std::make_shared<Parent>(pg_vm::of(L).options, pg_vm::of(L).print_mutex);
    if (const double memory = lua_tonumber(L, 6); memory > 0)
      parent->options.memory_limit = static_cast<int64_t>(memory);
    const bool processes = lua_toboolean(L, 3);
    auto factory = [parent, processes](Pool &, int worker) {
      return processes ? make_process_executor(parent, worker) : make_lua_executor(parent);
    };
    hand_over(struct_at(L, 1), Pool::open(static_cast<int>(lua_tointeger(L, 2)), std::move(factory),
                                          std::move(initialiser), std::move(mode), participant_of(L)));
    lua_pushboolean(L, 1);
    return 1;
  });
}

// take_part(me): the participant that this state is. It is closed by the finaliser of a userdata: those run after the
// finalisers of cdata, as the pools' is, which wait for workers as this participant.
int take_part(lua_State *L) {
  Participant *me = *static_cast<Participant *const *>(lua_topointer(L, 1));
  lua_pushlightuserdata(L, me);
  lua_setfield(L, LUA_REGISTRYINDEX, "perigee.participant");
  *static_cast<Participant **>(lua_newuserdata(L, sizeof me)) = me;
  lua_newtable(L);
  lua_pushcfunction(L, [](lua_State *state) {
    pg_participant_close(*static_cast<Participant **>(lua_touserdata(state, 1)));
    return 0;
  });
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_setfield(L, LUA_REGISTRYINDEX, "perigee.participant.owner");
  return 0;
}

// What went wrong in `body`, "" for nothing.
template <class Body> std::string caught(Body &&body) {
  try {
    body();
  } catch (const std::exception &e) {
    return e.what();
  }
  return {};
}

// pool_shutdown(pool, wait, cancel) -> true; false where a worker of the pool would wait for itself; nil and why where
// the wait is interrupted or in vain
int pool_shutdown(lua_State *L) {
  auto *pool = object_at<Pool>(L, 1);
  const bool wait = lua_toboolean(L, 2);
  if (wait && current_worker() && current_worker()->pool == pool) {
    lua_pushboolean(L, 0);
    return 1;
  }
  pool->shutdown(lua_toboolean(L, 3));
  if (wait) {
    Participant *me = participant_of(L);
    const std::string failure = caught([&] {
      if (me)
        pool->wait_end(*me);
      pool->join();
    });
    if (!failure.empty()) {
      lua_pushnil(L);
      lua_pushlstring(L, failure.data(), failure.size());
      return 2;
    }
    if (me)
      follows(*me, pool->clock);
  }
  lua_pushboolean(L, 1);
  return 1;
}

// pool_close(pool): as the script lets go of it
int pool_close(lua_State *L) {
  if (auto *pool = object_at<Pool>(L, 1))
    pool->let_go(participant_of(L), [](const std::string &busy) {
      if (!pg_interrupts_taken())
        return;
      const bool several = busy.find(',') != std::string::npos;
      std::fflush(stdout);
      std::fprintf(stderr,
                   "perigee: the script has let go of a pool, or has ended, while worker%s %s still run%s a task; "
                   "waiting for the end of that (Ctrl-C ends the program)\n",
                   several ? "s" : "", busy.c_str(), several ? "" : "s");
    });
  return 0;
}

// pool_info(pool) -> workers, whether it is closed, why it is broken, whether workers see arrays as they are, whether
// they are checked for races
int pool_info(lua_State *L) {
  auto *pool = object_at<Pool>(L, 1);
  const std::string broken = pool->broken();
  lua_pushinteger(L, pool->size());
  lua_pushboolean(L, pool->closed());
  lua_pushlstring(L, broken.data(), broken.size());
  lua_pushboolean(L, pool->mode.shares_memory);
  lua_pushboolean(L, pool->mode.check_races);
  return 5;
}

// worker() -> the number of the worker that calls, nil outside of one
int worker(lua_State *L) {
  if (!current_worker())
    return 0;
  lua_pushinteger(L, current_worker()->number);
  return 1;
}

// code_id(function) -> a number for its code, nil for one that never travelled
int code_id(lua_State *L) {
  const double id = own_transport(L).code_id(L, 1);
  if (id == 0)
    return 0;
  lua_pushnumber(L, id);
  return 1;
}

// job(out, maker, ...) -> true
int job(lua_State *L) {
  return protect(L, [&] {
    Transport &transport = own_transport(L);
    Message message;
    if (!transport.encode(L, 2, message))
      return refuse(L, transport);
    hand_over(struct_at(L, 1), Ref<Job>(new Job(std::move(message))));
    lua_pushboolean(L, 1);
    return 1;
  });
}

// submit(out, pool, job or nil, ...) -> true
int submit(lua_State *L) {
  return protect(L, [&] {
    Transport &transport = own_transport(L);
    Message message;
    if (!transport.encode(L, 4, message))
      return refuse(L, transport);
    auto *pool = object_at<Pool>(L, 2);
    Ref<Future> future(new Future(pool->id, Ref<Job>::share(object_at<Job>(L, 3)), std::move(message)));
    if (race_checking())
      if (Participant *me = participant_of(L); me && me->race)
        future->clock = race_now(*me->race);
    pool->submit(future);
    hand_over(struct_at(L, 1), std::move(future));
    lua_pushboolean(L, 1);
    return 1;
  });
}

// state(future) -> Future::State
int state(lua_State *L) {
  lua_pushinteger(L, object_at<Future>(L, 1)->state());
  return 1;
}

// cancel(future) -> whether it is cancelled
int cancel(lua_State *L) {
  lua_pushboolean(L, object_at<Future>(L, 1)->cancel());
  return 1;
}

// wait(future [, seconds]) -> true; false after the time; nil at an interruption, which is taken notice of; nil and why
// where waiting is in vain
int wait_future(lua_State *L) {
  auto *future = object_at<Future>(L, 1);
  bool done = false;
  const std::string failure = caught([&] {
    const Waits here(L);
    done = wait(*future, deadline_at(L, 2), participant_of(L));
  });
  if (!failure.empty()) {
    lua_pushnil(L);
    lua_pushlstring(L, failure.data(), failure.size());
    return 2;
  }
  if (!done && interrupted()) {
    if (!current_worker())
      take_interruption();
    return 0;
  }
  lua_pushboolean(L, done);
  return 1;
}

// result(future that is done) -> Future::State, and the results; or the error, the traceback and "BrokenPool" or nil
int result(lua_State *L) {
  auto *future = object_at<Future>(L, 1);
  lua_settop(L, 1);
  const Future::State state = future->state();
  lua_pushinteger(L, state);
  if (state == Future::finished)
    return 1 + own_transport(L).decode(L, future->outcome().value);
  if (state == Future::failed) {
    const Outcome &outcome = future->outcome();
    if (outcome.value.count > 0)
      own_transport(L).decode(L, outcome.value);
    else
      lua_pushlstring(L, outcome.error.data(), outcome.error.size());
    lua_pushlstring(L, outcome.traceback.data(), outcome.traceback.size());
    return 3;
  }
  return 1;
}

// interrupted() -> whether Ctrl-C was pressed, which is taken notice of
int interrupted_here(lua_State *L) {
  lua_pushboolean(L, !current_worker() && take_interruption());
  return 1;
}

// waiter(): an object that tells which of the futures added to it are done
int waiter(lua_State *L) {
  auto **handle = static_cast<Waiter **>(lua_newuserdata(L, sizeof(Waiter *)));
  *handle = nullptr;
  if (luaL_newmetatable(L, "perigee.waiter")) {
    lua_pushcfunction(L, [](lua_State *state) {
      delete std::exchange(*static_cast<Waiter **>(lua_touserdata(state, 1)), nullptr);
      return 0;
    });
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  *handle = new Waiter;
  return 1;
}

// waiter_add(waiter, future, tag)
int waiter_add(lua_State *L) {
  auto **handle = static_cast<Waiter **>(luaL_checkudata(L, 1, "perigee.waiter"));
  (*handle)->add(Ref<Future>::share(object_at<Future>(L, 2)), static_cast<uint64_t>(lua_tonumber(L, 3)));
  return 0;
}

// waiter_next(waiter [, seconds]) -> the tag of one that is done; false after the time; nil at an interruption
int waiter_next(lua_State *L) {
  auto **handle = static_cast<Waiter **>(luaL_checkudata(L, 1, "perigee.waiter"));
  std::optional<uint64_t> tag;
  const std::string failure = caught([&] {
    const Waits here(L);
    tag = (*handle)->next(deadline_at(L, 2), participant_of(L));
  });
  if (!failure.empty()) {
    lua_pushnil(L);
    lua_pushlstring(L, failure.data(), failure.size());
    return 2;
  }
  if (tag) {
    lua_pushnumber(L, double(*tag));
    return 1;
  }
  if (interrupted()) {
    if (!current_worker())
      take_interruption();
    return 0;
  }
  lua_pushboolean(L, 0);
  return 1;
}

// waiter_poll(waiter) -> the tag of one that is done, nothing where there is none now
int waiter_poll(lua_State *L) {
  auto **handle = static_cast<Waiter **>(luaL_checkudata(L, 1, "perigee.waiter"));
  const auto tag = (*handle)->poll();
  if (!tag)
    return 0;
  lua_pushnumber(L, double(*tag));
  return 1;
}

} // namespace

void prepare_state(lua_State *L) {
  const Participant *me = ThreadParticipant::current();
  if (me && me->race) {
    open_races(L);
    lua_setfield(L, -2, "checked");
  }
  if (me && me->gil) {
    install_gil(L);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "gil");
  }
}

void open(lua_State *L) {
  const luaL_Reg functions[] = {{"connect", connect},
                                {"pool_open", pool_open},
                                {"pool_shutdown", pool_shutdown},
                                {"pool_info", pool_info},
                                {"worker", worker},
                                {"job", job},
                                {"submit", submit},
                                {"state", state},
                                {"cancel", cancel},
                                {"wait", wait_future},
                                {"result", result},
                                {"waiter", waiter},
                                {"waiter_add", waiter_add},
                                {"code_id", code_id},
                                {"waiter_next", waiter_next},
                                {"waiter_poll", waiter_poll},
                                {"pool_close", pool_close},
                                {"take_part", take_part},
                                {"races", races_list},
                                {"interrupted", interrupted_here},
                                {nullptr, nullptr}};
  Transport &transport = Transport::of(L);
  lua_newtable(L);
  for (const luaL_Reg *f = functions; f->name; ++f) {
    lua_pushlightuserdata(L, &transport);
    lua_pushcclosure(L, f->func, 1);
    lua_setfield(L, -2, f->name);
  }
  open_queue(L);
}

} // namespace perigee::parallel
