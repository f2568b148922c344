#include "profiler/allocations.hpp"

#include "core/status.hpp"
#include "timer/timer.hpp"

namespace perigee::profiler {
namespace {

thread_local AllocationTracer *tracer = nullptr;

void hook(lua_State *L, lua_Debug *event) {
  if (tracer)
    tracer->on_hook(L, event);
}

bool is_script(const lua_Debug &info) {
  return info.what[0] != 'C' && !is_engine(info.source);
}

constexpr size_t most_points = 400; // of the curve: when there are more, every second one is dropped

} // namespace

AllocationTracer::AllocationTracer(lua_State *L) : main_(L) {
  if (tracer)
    throw ArgumentError("a memory profile is running already on this thread; stop it first");
  if (lua_gethook(L))
    throw ArgumentError("this script has set a debug hook, and a VM has only one; remove it with debug.sethook()");
  sums.push_back({}); // before the first line
  lua = int64_t(lua_gc(L, LUA_GCCOUNT, 0)) * 1024 + lua_gc(L, LUA_GCCOUNTB, 0);
  peak = peak_lua = lua;
  started_ = timer::read(timer::Clock::wall);
  curve.push_back({0, lua, 0});
  base_ = lua_getallocf(L, &base_user_);
  lua_setallocf(L, allocate, this);
  core::observe_memory(this);
  tracer = this;
  running_ = true;
  lua_sethook(L, hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE, 0);
}

AllocationTracer::~AllocationTracer() {
  stop();
}

void AllocationTracer::stop() {
  if (!running_)
    return;
  running_ = false;
  lua_sethook(main_, nullptr, 0, 0);
  if (!stock_taken_) // it failed
    take_stock();
  lua_setallocf(main_, base_, base_user_);
  core::observe_memory(nullptr);
  tracer = nullptr;
}

// What is held now, garbage collected before (twice: finalisers run after the first collection).
void AllocationTracer::take_stock() {
  curve.push_back({timer::read(timer::Clock::wall) - started_, lua, arrays});
  lua_gc(main_, LUA_GCCOLLECT, 0);
  lua_gc(main_, LUA_GCCOLLECT, 0);
  for (Sum &sum : sums)
    sum.lua_held = sum.array_held = 0;
  for (const auto &[pointer, held] : objects_)
    sums[held.line].lua_held += held.bytes;
  for (const auto &[pointer, held] : blocks_)
    sums[held.line].array_held += held.bytes;
  held_lua = lua;
  held_arrays = arrays;
  stock_taken_ = true;
}

// Whether no function of a script but the one that returns is running.
static bool outermost(lua_State *L) {
  lua_Debug info;
  for (int level = 1; lua_getstack(L, level, &info); ++level)
    if (lua_getinfo(L, "S", &info); is_script(info))
      return false;
  return true;
}

size_t AllocationTracer::line_of(const char *source, int32_t defined, int32_t line) {
  auto [at, added] = index_.try_emplace({names.source(source), defined, line, -1}, sums.size());
  if (added) {
    sums.push_back({});
    sums.back().line = at->first;
  }
  return at->second;
}

void AllocationTracer::on_hook(lua_State *L, lua_Debug *event) {
  lua_Debug info;
  if (event->event == LUA_HOOKLINE) {
    lua_getinfo(L, "S", event);
    if (is_script(*event))
      current_ = line_of(event->source, event->linedefined, event->currentline);
  } else if (event->event == LUA_HOOKRET && lua_getstack(L, 1, &info) && lua_getinfo(L, "Sl", &info)) {
    if (is_script(info)) {
      current_ = line_of(info.source, info.linedefined, info.currentline); // the rest of the caller's line
    } else if (lua_getinfo(L, "S", event), L == main_ && is_script(*event) && outermost(L)) {
      take_stock(); // at the end, while its locals still live
    }
  }
  const double now = timer::read(timer::Clock::wall) - started_;
  if (now >= next_) {
    next_ = now + every_;
    curve.push_back({now, lua, arrays});
    if (curve.size() > most_points) {
      for (size_t i = 1; 2 * i < curve.size(); ++i)
        curve[i] = curve[2 * i];
      curve.resize(curve.size() / 2);
      every_ *= 2;
    }
  }
}

void AllocationTracer::moved() {
  if (lua + arrays > peak) {
    peak = lua + arrays;
    peak_lua = lua;
    peak_arrays = arrays;
    peak_line = current_;
  }
}

void *AllocationTracer::allocate(void *user, void *pointer, size_t old_size, size_t new_size) {
  auto *self = static_cast<AllocationTracer *>(user);
  void *result = self->base_(self->base_user_, pointer, old_size, new_size);
  if (!result && new_size)
    return nullptr;
  size_t line = self->current_;
  try {
    if (pointer) {
      if (auto at = self->objects_.find(pointer); at != self->objects_.end()) {
        if (new_size)
          line = at->second.line; // what grows stays its maker's
        self->objects_.erase(at);
      }
    } else {
      old_size = 0;
    }
    if (new_size) {
      self->objects_[result] = {line, int64_t(new_size)};
      if (new_size > old_size) {
        Sum &sum = self->sums[line];
        ++sum.lua_count;
        sum.lua_bytes += int64_t(new_size - old_size);
      }
    }
  } catch (const std::bad_alloc &) { // no memory to note it in: the profile lacks it
  }
  self->lua += int64_t(new_size) - int64_t(old_size);
  self->moved();
  return result;
}

void AllocationTracer::on_block(const void *block, int64_t bytes) noexcept {
  try {
    if (bytes >= 0) {
      blocks_[block] = {current_, bytes};
      Sum &sum = sums[current_];
      ++sum.array_count;
      sum.array_bytes += bytes;
    } else {
      auto at = blocks_.find(block);
      if (at == blocks_.end())
        return; // of before the start
      blocks_.erase(at);
    }
  } catch (const std::bad_alloc &) {
    return;
  }
  arrays += bytes;
  moved();
}

} // namespace perigee::profiler
