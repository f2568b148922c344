// What profiler.lua calls: functions that need the VM itself (stacks, hooks), and so are lua_CFunctions and not FFI.
#include "core/status.hpp"
#include "core/timeline.hpp"
#include "profiler/allocations.hpp"
#include "profiler/profiler.hpp"
#include "profiler/recorder.hpp"
#include "profiler/sampler.hpp"
#include "profiler/tracer.hpp"
#include "profiler/workers.hpp"

#include <bit>
#include <new>
#include <string>
#include <sys/resource.h>

#pragma GCC visibility push(default)
extern "C" {
#include "profiler/profiler_abi.h"
}
#pragma GCC visibility pop

#if defined(__x86_64__)
asm(".text\n.globl pg_profiler_dispatch\n.type pg_profiler_dispatch, @function\n"
    "pg_profiler_dispatch:\n  movq %r14, %rax\n  ret\n.size pg_profiler_dispatch, .-pg_profiler_dispatch\n");
#else
void *pg_profiler_dispatch(void) {
  return nullptr;
}
#endif

namespace perigee::profiler {
namespace {

// Runs `body`, whose exceptions become results nil and message: lua_error must not jump over C++ objects.
template <class Body> int protect(lua_State *L, Body &&body) {
  std::string message;
  try {
    return body();
  } catch (const std::exception &e) {
    message = e.what();
  }
  lua_settop(L, 0);
  lua_pushnil(L);
  lua_pushlstring(L, message.data(), message.size());
  return 2;
}

// A C++ object that Lua holds: a userdata with a pointer, which its finaliser deletes.
template <class T> constexpr const char *handle_type = nullptr;

template <class T> T *&handle_at(lua_State *L) {
  return *static_cast<T **>(luaL_checkudata(L, 1, handle_type<T>));
}

template <class T> T **new_handle(lua_State *L) {
  auto **handle = static_cast<T **>(lua_newuserdata(L, sizeof(T *)));
  *handle = nullptr;
  luaL_newmetatable(L, handle_type<T>);
  lua_pushcfunction(L, [](lua_State *state) {
    T *&object = handle_at<T>(state);
    delete object;
    object = nullptr;
    return 0;
  });
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return handle;
}

void text(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void set(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

// nodes = {{parent, source, defined, line, name}...}, node i of C++ at index i + 1; sources = names
void push_tree(lua_State *L, const StackTree &tree) {
  lua_createtable(L, int(tree.nodes().size()), 0);
  int i = 0;
  for (const auto &node : tree.nodes()) {
    lua_createtable(L, 0, 5);
    set(L, "parent", node.parent + 1);
    if (node.frame.name >= 0)
      set(L, "name", node.frame.name + 1);
    set(L, "source", node.frame.source + 1);
    set(L, "defined", node.frame.defined);
    set(L, "line", node.frame.line);
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "nodes");
  lua_createtable(L, int(tree.sources().size()), 0);
  i = 0;
  for (const auto &name : tree.sources()) {
    lua_pushlstring(L, name.data(), name.size());
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "sources");
}

// ------------------------------------------------------------------------------------------------------- sampler -----
template <> constexpr const char *handle_type<Sampler> = "perigee.sampler";

// sample_start(period, state, hookmask) -> sampler, or nil and why not. The addresses are numbers, or nil.
int sample_start(lua_State *L) {
  const double period = luaL_checknumber(L, 1);
  Sampler::VmState vm{reinterpret_cast<const volatile int32_t *>(uintptr_t(luaL_optnumber(L, 2, 0))),
                      reinterpret_cast<volatile uint8_t *>(uintptr_t(luaL_optnumber(L, 3, 0)))};
  auto **sampler = new_handle<Sampler>(L);
  return protect(L, [&] {
    *sampler = new Sampler(L, period, vm);
    return 1;
  });
}

// sample_flushed(sampler): all traces were dropped.
int sample_flushed(lua_State *L) {
  if (Sampler *sampler = handle_at<Sampler>(L))
    ++sampler->generation;
  return 0;
}

// sample_trace(sampler, trace, {source, defined, line, depth, ...}): the order of lines in a trace that was compiled.
int sample_trace(lua_State *L) {
  Sampler *sampler = handle_at<Sampler>(L);
  if (!sampler)
    return 0;
  std::vector<Sampler::Run> runs;
  const int count = int(lua_objlen(L, 3));
  const std::lock_guard lock(sampler->mutex);
  for (int i = 1; i + 3 <= count; i += 4) {
    for (int k = 0; k < 4; ++k)
      lua_rawgeti(L, 3, i + k);
    runs.push_back(
        {{sampler->tree.source(lua_tostring(L, -4)), int32_t(lua_tointeger(L, -3)), int32_t(lua_tointeger(L, -2)), -1},
         int32_t(lua_tointeger(L, -1))});
    lua_pop(L, 4);
  }
  sampler->runs[int64_t(sampler->generation) * 65536 + lua_tointeger(L, 2)] = std::move(runs);
  return 0;
}

// Fills the table on the stack: nodes, sources, samples.
template <class Samples> void push_samples(lua_State *L, const Samples &from) {
  push_tree(L, from.tree);
  lua_createtable(L, int(from.sums.size()), 0);
  int i = 0;
  for (const auto &[key, sum] : from.sums) {
    lua_createtable(L, 0, 6);
    set(L, "node", key.node + 1);
    set(L, "activity", int(key.activity) + 1);
    set(L, "trace", key.trace);
    set(L, "generation", key.generation);
    set(L, "count", double(sum.count));
    set(L, "seconds", double(sum.nanoseconds) * 1e-9);
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "samples");
}

// sample_stop(sampler) -> {nodes, sources, samples, lost, seconds, whole_process}
int sample_stop(lua_State *L) {
  Sampler *sampler = handle_at<Sampler>(L);
  if (!sampler)
    return 0;
  sampler->stop();
  lua_newtable(L);
  push_samples(L, *sampler);
  set(L, "lost", double(sampler->lost) * 1e-9);
  set(L, "seconds", sampler->cpu_seconds);
  lua_pushboolean(L, sampler->whole_process);
  lua_setfield(L, -2, "whole_process");
  return 1;
}

// workers_start() -> whether workers of pools are sampled from now on
int workers_start(lua_State *L) {
  lua_pushboolean(L, begin_worker_sampling());
  return 1;
}

// workers_stop() -> {{name, nodes, sources, samples, runs = {[generation * 65536 + trace] = {{source (index), defined,
// line, depth}...}}}...}
int workers_stop(lua_State *L) {
  const std::vector<WorkerSamples> all = end_worker_sampling();
  lua_createtable(L, int(all.size()), 0);
  int i = 0;
  for (const auto &worker : all) {
    lua_newtable(L);
    text(L, "name", worker.name.c_str());
    push_samples(L, worker);
    lua_newtable(L);
    for (const auto &[key, runs] : worker.runs) {
      lua_pushnumber(L, double(key));
      lua_createtable(L, int(runs.size()), 0);
      int k = 0;
      for (const auto &run : runs) {
        lua_createtable(L, 0, 4);
        set(L, "source", run.frame.source + 1);
        set(L, "defined", run.frame.defined);
        set(L, "line", run.frame.line);
        set(L, "depth", run.depth);
        lua_rawseti(L, -2, ++k);
      }
      lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "runs");
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

// worker_join(sampler): by a worker of a pool.
int worker_join(lua_State *L) {
  if (Sampler *sampler = handle_at<Sampler>(L))
    join_sampling(*sampler);
  return 0;
}

// -------------------------------------------------------------------------------------------------------- tracer -----
template <> constexpr const char *handle_type<Tracer> = "perigee.tracer";

// trace_start(lines, event_cost, {{source, defined}...}) -> tracer, or nil and why not.
int trace_start(lua_State *L) {
  auto **tracer = new_handle<Tracer>(L);
  return protect(L, [&] {
    std::vector<LineTarget> targets;
    for (int i = 1; i <= int(lua_objlen(L, 3)); ++i) {
      lua_rawgeti(L, 3, i);
      lua_rawgeti(L, -1, 1);
      lua_rawgeti(L, -2, 2);
      targets.push_back({lua_tostring(L, -2), int32_t(lua_tointeger(L, -1))});
      lua_pop(L, 3);
    }
    *tracer = new Tracer(L, lua_toboolean(L, 1), std::move(targets), lua_tonumber(L, 2));
    return 1;
  });
}

// trace_stop(tracer) -> {nodes, sources, calls = {{calls, own, cumulative}...} as nodes, lines = {{source, defined,
// line, hits, seconds}...}, events, hooks, elapsed}; times in seconds.
int trace_stop(lua_State *L) {
  Tracer *tracer = handle_at<Tracer>(L);
  if (!tracer)
    return 0;
  tracer->stop();
  lua_newtable(L);
  push_tree(L, tracer->tree);
  lua_createtable(L, int(tracer->calls.size()), 0);
  int i = 0;
  for (const auto &sum : tracer->calls) {
    lua_createtable(L, 0, 3);
    set(L, "calls", double(sum.calls));
    set(L, "own", double(sum.own) * 1e-9);
    set(L, "cumulative", double(sum.cumulative) * 1e-9);
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "calls");
  lua_createtable(L, int(tracer->lines.size()), 0);
  i = 0;
  for (const auto &[frame, sum] : tracer->lines) {
    lua_createtable(L, 0, 5);
    set(L, "source", frame.source + 1);
    set(L, "defined", frame.defined);
    set(L, "line", frame.line);
    set(L, "hits", double(sum.hits));
    set(L, "seconds", double(sum.nanoseconds) * 1e-9);
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "lines");
  set(L, "events", double(tracer->events));
  set(L, "hooks", double(tracer->hook_nanoseconds) * 1e-9);
  set(L, "elapsed", double(tracer->elapsed) * 1e-9);
  return 1;
}

// --------------------------------------------------------------------------------------------------- allocations -----
template <> constexpr const char *handle_type<AllocationTracer> = "perigee.allocations";

// memory_start() -> tracer, or nil and why not.
int memory_start(lua_State *L) {
  auto **tracer = new_handle<AllocationTracer>(L);
  return protect(L, [&] {
    *tracer = new AllocationTracer(L);
    return 1;
  });
}

// memory_stop(tracer) -> {lines = {{source, defined, line, lua_count, ...}...}, curve = {{seconds, lua, arrays}...},
// peak, peak_lua, peak_arrays, peak_line (index into lines), lua, arrays, resident (the process's most, in bytes)}
int memory_stop(lua_State *L) {
  AllocationTracer *tracer = handle_at<AllocationTracer>(L);
  if (!tracer)
    return 0;
  tracer->stop();
  lua_newtable(L);
  lua_createtable(L, int(tracer->sums.size()), 0);
  int i = 0;
  for (const auto &sum : tracer->sums) {
    lua_createtable(L, 0, 9);
    if (i > 0) {
      const std::string &source = tracer->names.sources()[size_t(sum.line.source)];
      lua_pushlstring(L, source.data(), source.size());
      lua_setfield(L, -2, "source");
    }
    set(L, "defined", sum.line.defined);
    set(L, "line", sum.line.line);
    set(L, "lua_count", double(sum.lua_count));
    set(L, "lua_bytes", double(sum.lua_bytes));
    set(L, "lua_held", double(sum.lua_held));
    set(L, "array_count", double(sum.array_count));
    set(L, "array_bytes", double(sum.array_bytes));
    set(L, "array_held", double(sum.array_held));
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "lines");
  lua_createtable(L, int(tracer->curve.size()), 0);
  i = 0;
  for (const auto &point : tracer->curve) {
    lua_createtable(L, 0, 3);
    set(L, "seconds", point.seconds);
    set(L, "lua", double(point.lua));
    set(L, "arrays", double(point.arrays));
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "curve");
  set(L, "peak", double(tracer->peak));
  set(L, "peak_lua", double(tracer->peak_lua));
  set(L, "peak_arrays", double(tracer->peak_arrays));
  set(L, "peak_line", double(tracer->peak_line) + 1);
  set(L, "lua", double(tracer->held_lua));
  set(L, "arrays", double(tracer->held_arrays));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  set(L, "resident", double(usage.ru_maxrss) * 1024);
  return 1;
}

// ------------------------------------------------------------------------------------------------------ recorder -----
template <> constexpr const char *handle_type<Recorder> = "perigee.recorder";

// record_start() -> recorder, or nil and why not.
int record_start(lua_State *L) {
  auto **recorder = new_handle<Recorder>(L);
  return protect(L, [&] {
    *recorder = new Recorder();
    return 1;
  });
}

// record_stop(recorder) -> {operations = {{call, name, dtype, count, seconds, bytes, flops, longest}...}}
int record_stop(lua_State *L) {
  Recorder *recorder = handle_at<Recorder>(L);
  if (!recorder)
    return 0;
  recorder->stop();
  lua_newtable(L);
  lua_createtable(L, int(recorder->sums.size()), 0);
  int i = 0;
  for (const auto &[key, sum] : recorder->sums) {
    lua_createtable(L, 0, 8);
    text(L, "call", key.function);
    text(L, "name", key.name);
    text(L, "dtype", key.dtype);
    set(L, "count", double(sum.count));
    set(L, "seconds", double(sum.nanoseconds) * 1e-9);
    set(L, "bytes", sum.bytes);
    set(L, "flops", sum.flops);
    set(L, "longest", double(sum.longest) * 1e-9);
    lua_rawseti(L, -2, ++i);
  }
  lua_setfield(L, -2, "operations");
  return 1;
}

// ------------------------------------------------------------------------------------------------------ timeline -----
using core::timeline::Recording;
template <> constexpr const char *handle_type<Recording> = "perigee.timeline";

// timeline_start(most_events) -> true, or nil and why not.
int timeline_start(lua_State *L) {
  return protect(L, [&] {
    core::timeline::start(size_t(lua_tonumber(L, 1)));
    lua_pushboolean(L, 1);
    return 1;
  });
}

// timeline_stop() -> recording, events for which there was no room
int timeline_stop(lua_State *L) {
  auto **recording = new_handle<Recording>(L);
  return protect(L, [&] {
    *recording = new Recording(core::timeline::stop());
    lua_pushnumber(L, double((*recording)->dropped));
    return 2;
  });
}

// timeline_events(recording) -> {{name, category, phase, begin, seconds or value, thread}...}, {names of threads}
int timeline_events(lua_State *L) {
  Recording *recording = handle_at<Recording>(L);
  if (!recording)
    return 0;
  lua_newtable(L);
  lua_createtable(L, int(recording->threads.size()), 0);
  int i = 0, number = 0;
  for (const auto &thread : recording->threads) {
    lua_pushlstring(L, thread.name.data(), thread.name.size());
    lua_rawseti(L, -2, ++number);
    for (const auto &event : thread.events) {
      lua_createtable(L, 0, 6);
      text(L, "name", event.name);
      text(L, "category", event.category);
      lua_pushlstring(L, &event.phase, 1);
      lua_setfield(L, -2, "phase");
      set(L, "begin", double(event.begin) * 1e-9);
      if (event.phase == 'C')
        set(L, "value", std::bit_cast<double>(event.end));
      else if (event.phase == 's' || event.phase == 'f')
        set(L, "arrow", double(event.end));
      else
        set(L, "seconds", event.phase == 'X' ? double(event.end - event.begin) * 1e-9 : 0);
      set(L, "thread", number);
      lua_rawseti(L, -3, ++i);
    }
  }
  return 2;
}

// worker_leave(sampler)
int worker_leave(lua_State *L) {
  if (Sampler *sampler = handle_at<Sampler>(L))
    leave_sampling(*sampler);
  return 0;
}

} // namespace

void open(lua_State *L) {
  const luaL_Reg functions[] = {
      {"sample_start", sample_start},   {"sample_flushed", sample_flushed},   {"sample_stop", sample_stop},
      {"sample_trace", sample_trace},   {"workers_start", workers_start},     {"workers_stop", workers_stop},
      {"worker_join", worker_join},     {"worker_leave", worker_leave},       {"trace_start", trace_start},
      {"trace_stop", trace_stop},       {"memory_start", memory_start},       {"memory_stop", memory_stop},
      {"record_start", record_start},   {"record_stop", record_stop},         {"timeline_start", timeline_start},
      {"timeline_stop", timeline_stop}, {"timeline_events", timeline_events}, {nullptr, nullptr}};
  lua_newtable(L);
  for (const luaL_Reg *f = functions; f->name; ++f) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
}

} // namespace perigee::profiler
