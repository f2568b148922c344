#include "profiler/tracer.hpp"

#include "core/operations.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace perigee::profiler {
namespace {

using core::monotonic_nanoseconds;

#if defined(__x86_64__)
// The time stamp counter, where it runs at a constant rate: 10 ns a reading against 25, and a hook reads the clock
// twice.
struct Counter {
  bool usable = false;
  double nanoseconds_per_tick = 0;

  Counter() {
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & 1u << 8))
      return;
    const int64_t start = monotonic_nanoseconds();
    const uint64_t ticks = __rdtsc();
    int64_t end;
    while ((end = monotonic_nanoseconds()) - start < 2'000'000) {
    }
    nanoseconds_per_tick = double(end - start) / double(__rdtsc() - ticks);
    usable = nanoseconds_per_tick > 0.05 && nanoseconds_per_tick < 20;
  }
};

int64_t now_nanoseconds() {
  static const Counter counter;
  return counter.usable ? int64_t(double(__rdtsc()) * counter.nanoseconds_per_tick) : monotonic_nanoseconds();
}
#else
int64_t now_nanoseconds() {
  return monotonic_nanoseconds();
}
#endif

// A VM has one hook, a thread runs one VM at a time.
thread_local Tracer *tracer = nullptr;

void hook(lua_State *L, lua_Debug *event) {
  if (tracer)
    tracer->on_hook(L, event);
}

constexpr size_t deep = 200; // from here on, recursion is folded into the node that it started from

} // namespace

Tracer::Tracer(lua_State *L, bool lines, std::vector<LineTarget> targets, double event_cost)
    : main_(L), lines_(lines), targets_(std::move(targets)), event_cost_(event_cost) {
  if (tracer)
    throw ArgumentError("a trace is running already on this thread; stop it first");
  if (lua_gethook(L))
    throw ArgumentError("this script has set a debug hook, and a VM has only one; remove it with debug.sethook()");
  calls.resize(1);
  tracer = this;
  running_ = true;
  started_ = now_nanoseconds();
  set_hook(false);
}

Tracer::~Tracer() {
  stop();
}

void Tracer::set_hook(bool every_instruction) {
  every_instruction_ = every_instruction;
  lua_sethook(main_, hook,
              LUA_MASKCALL | LUA_MASKRET | (lines_ ? LUA_MASKLINE : 0) | (every_instruction ? LUA_MASKCOUNT : 0), 1);
}

void Tracer::stop() {
  if (!running_)
    return;
  running_ = false;
  lua_sethook(main_, nullptr, 0, 0);
  tracer = nullptr;
  const int64_t end = now_nanoseconds();
  if (!chain_.empty())
    stack_of(chain_.front(), end - overhead_);
  for (auto &[state, stack] : stacks_)
    while (!stack.frames.empty())
      leave(stack.frames,
            state == main_ || chain_.empty() || state == chain_.front() ? end - overhead_ : stack.suspended);
  elapsed = end - started_;
  hook_nanoseconds = overhead_;
}

// The stack of the running coroutine. When another runs than before, it was resumed or has given control back: what the
// coroutine took is its resumer's callees' time, and while it is suspended its clocks stand still.
Tracer::Stack &Tracer::stack_of(lua_State *L, int64_t now) {
  if (!chain_.empty() && chain_.back() == L)
    return *current_;
  if (std::find(chain_.begin(), chain_.end(), L) != chain_.end()) {
    while (chain_.back() != L) {
      Stack &inner = stacks_[chain_.back()];
      inner.suspended = now;
      chain_.pop_back();
      if (Stack &outer = stacks_[chain_.back()]; !outer.frames.empty())
        outer.frames.back().children += now - inner.resumed;
    }
  } else {
    Stack &stack = stacks_[L];
    for (Activation &frame : stack.frames) {
      frame.start += now - stack.suspended;
      frame.line_start += now - stack.suspended;
    }
    stack.resumed = now;
    if (stack.frames.empty() && !chain_.empty())
      if (const Stack &outer = stacks_[chain_.back()]; !outer.frames.empty())
        stack.base = outer.frames.back().node;
    chain_.push_back(L);
  }
  current_ = &stacks_[L]; // nodes of an unordered_map stay where they are
  return *current_;
}

bool Tracer::wanted(const Frame &function) const {
  const std::string &source = tree.sources()[size_t(function.source)];
  if (targets_.empty())
    return !is_engine(source.c_str());
  return std::any_of(targets_.begin(), targets_.end(), [&](const LineTarget &target) {
    return target.source == source && (target.defined < 0 || target.defined == function.defined);
  });
}

// `native`: a C function; `own`: one whose calls are shown (the engine's own calls into C are its business).
Frame Tracer::function_of(lua_State *L, lua_Debug *event, bool &native, bool &own) {
  lua_getinfo(L, "S", event);
  native = event->what[0] == 'C';
  own = true;
  if (!native) {
    Frame function{tree.source(event->source), event->linedefined, 0, -1};
    if (is_engine(event->source)) {
      lua_Debug caller;
      if (lua_getstack(L, 1, &caller) && lua_getinfo(L, "S", &caller) && !is_engine(caller.source) &&
          caller.what[0] != 'C' && lua_getinfo(L, "n", event) && event->name)
        function.name = tree.source(event->name);
    }
    return function;
  }
  // All C functions have the same source: they are told apart by address, as string.format("%p") gives it.
  lua_getinfo(L, "f", event);
  const void *address = lua_topointer(L, -1);
  lua_pop(L, 1);
  auto [at, added] = native_.try_emplace(address);
  if (added) {
    lua_getinfo(L, "n", event); // how it is called here, for those that no library has
    // (An operator on C data, such as an array, calls the FFI first and that the engine's function: one call, not two.)
    at->second.dispatch = event->name && std::strncmp(event->name, "__", 2) == 0;
    char name[96];
    std::snprintf(name, sizeof name, "=[C]%p %.60s", address, event->name ? event->name : "");
    at->second.function = {tree.source(name), -1, 0, -1};
  }
  lua_Debug caller;
  if (lua_getstack(L, 1, &caller) && lua_getinfo(L, "S", &caller))
    own = !is_engine(caller.source) && !at->second.dispatch;
  return at->second.function;
}

int32_t Tracer::node_for(const Stack &stack_with_base, const Frame &function) {
  const std::vector<Activation> &stack = stack_with_base.frames;
  int32_t parent = stack.empty() ? stack_with_base.base : stack.back().node;
  if (!stack.empty() && stack.back().function == function)
    return parent; // direct recursion
  if (stack.size() > deep)
    for (size_t i = stack.size(); i-- > 0;)
      if (stack[i].function == function)
        return stack[i].node;
  return tree.child(parent, function);
}

// Found without hashing for the lines of a loop.
Tracer::LineSum *Tracer::line_sum(const Frame &line) {
  auto &recent = recent_[size_t(line.line) % recent_.size()];
  if (!recent.sum || !(recent.line == line))
    recent = {line, &lines[line]}; // nodes of an unordered_map stay where they are
  return recent.sum;
}

// A line that a recursion has open several times is timed once, from the outside.
void Tracer::leave_line(Activation &top, int64_t now) {
  if (top.line && --top.line->active == 0)
    top.line->nanoseconds += now - top.line_start;
}

void Tracer::leave(std::vector<Activation> &stack, int64_t now) {
  Activation &top = stack.back();
  const int64_t took = now - top.start;
  leave_line(top, now);
  CallSum &sum = calls[size_t(top.node)];
  sum.own += took - top.children;
  if (--sum.active == 0)
    sum.cumulative += took;
  stack.pop_back();
  if (!stack.empty()) {
    stack.back().children += took;
    stack.back().returned = true;
  }
}

void Tracer::enter(lua_State *L, Stack &stack, lua_Debug *event, int64_t now) {
  bool native, own;
  Frame function = function_of(L, event, native, own);
  if (native && (lines_ || !own)) // a line's time includes what it calls
    return;
  const int32_t node = node_for(stack, function);
  if (size_t(node) >= calls.size())
    calls.resize(size_t(node) + 1);
  ++calls[size_t(node)].calls;
  ++calls[size_t(node)].active;
  stack.frames.push_back({event->i_ci & 0xffff, node, function, lines_ && !native && wanted(function), native, false,
                          now, 0, nullptr, 0, 0});
}

// A function of variable arguments, such as a main chunk, is called in one place and then moves behind its arguments.
void Tracer::find_vararg(lua_State *L, std::vector<Activation> &stack, lua_Debug *event, int32_t offset) {
  if (stack.empty() || stack.back().offset >= offset || stack.back().native)
    return;
  lua_getinfo(L, "S", event);
  Activation &top = stack.back();
  if (event->linedefined == top.function.defined && tree.source(event->source) == top.function.source)
    top.offset = offset;
}

void Tracer::on_hook(lua_State *L, lua_Debug *event) {
  const int64_t entered = now_nanoseconds();
  const int64_t now = entered - overhead_; // time as if there were no hooks
  ++events;
  Stack &running = stack_of(L, now);
  auto &stack = running.frames;
  const int32_t offset = event->i_ci & 0xffff;
  switch (event->event) {
  case LUA_HOOKCALL:
    // A tail call took the frame's place (perhaps one to a C function, which has ended since), or an error has unwound
    // frames: none of these says so. What lies above the caller is over.
    {
      lua_Debug caller;
      const int32_t from = lua_getstack(L, 1, &caller) ? caller.i_ci & 0xffff : -1;
      while (!stack.empty() && (stack.back().offset > from || stack.back().native))
        leave(stack, now);
    }
    enter(L, running, event, now);
    if (!stack.empty() && stack.back().native && !every_instruction_)
      set_hook(true); // to see where it ends: C functions have no return hook
    break;
  case LUA_HOOKRET:
    while (!stack.empty() && stack.back().offset > offset)
      leave(stack, now);
    find_vararg(L, stack, event, offset);
    if (!stack.empty() && stack.back().offset == offset)
      leave(stack, now);
    break;
  case LUA_HOOKCOUNT:
    while (!stack.empty() && stack.back().offset > offset)
      leave(stack, now);
    set_hook(false);
    break;
  case LUA_HOOKLINE:
    while (!stack.empty() && stack.back().offset > offset)
      leave(stack, now);
    find_vararg(L, stack, event, offset);
    if (!stack.empty() && stack.back().offset == offset && stack.back().traced) {
      Activation &top = stack.back();
      const bool again = top.returned && top.line && top.current == event->currentline;
      top.returned = false;
      if (again) // LuaJIT takes the rest of a line after a call for a new one
        break;
      leave_line(top, now);
      top.current = event->currentline;
      top.line = line_sum({top.function.source, top.function.defined, event->currentline, -1});
      ++top.line->hits;
      ++top.line->active;
      top.line_start = now;
    }
    break;
  default:
    break;
  }
  overhead_ += now_nanoseconds() - entered + int64_t(event_cost_);
}

} // namespace perigee::profiler
