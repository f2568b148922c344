#include "profiler/workers.hpp"

#include "core/timeline.hpp"

#include <algorithm>
#include <mutex>

namespace perigee::profiler {
namespace {

struct Member {
  std::string name;
  Sampler *sampler;
};

std::mutex mutex; // of members; a sampler leaves before it goes
std::vector<Member> members;
std::atomic<uint64_t> session{0}; // 0: nobody samples
uint64_t sessions = 0;

// Of a worker's thread.
thread_local uint64_t joined = 0;
thread_local Sampler *mine = nullptr;
thread_local int depth = 0; // tasks that wait for tasks

// profiler._join() or ._leave(); a worker that cannot be sampled does its task all the same.
void call(lua_State *L, const char *name) {
  struct Body {
    static int run(lua_State *state) {
      const auto *what = static_cast<const char *>(lua_touserdata(state, 1));
      lua_getfield(state, LUA_REGISTRYINDEX, "perigee.core");
      lua_getfield(state, -1, "require");
      lua_pushliteral(state, "profiler");
      lua_call(state, 1, 1);
      lua_getfield(state, -1, what);
      lua_call(state, 0, 0);
      return 0;
    }
  };
  if (lua_cpcall(L, Body::run, const_cast<char *>(name)) != 0)
    lua_pop(L, 1);
}

} // namespace

WorkerSampling::WorkerSampling(lua_State *L) : outermost_(depth++ == 0) {
  const uint64_t now = session.load(std::memory_order_acquire);
  if (!outermost_ || (now == joined && !mine))
    return;
  if (now != joined) {
    if (mine)
      call(L, "_leave");
    joined = now;
    if (now)
      call(L, "_join");
  }
  if (mine)
    mine->resume();
}

WorkerSampling::~WorkerSampling() {
  --depth;
  if (outermost_ && mine)
    mine->pause();
}

bool begin_worker_sampling() {
  const std::lock_guard lock(mutex);
  if (session)
    return false;
  session = ++sessions;
  return true;
}

std::vector<WorkerSamples> end_worker_sampling() {
  std::vector<WorkerSamples> all;
  const std::lock_guard lock(mutex);
  session = 0;
  for (const Member &member : members) {
    const std::lock_guard one(member.sampler->mutex);
    all.push_back({member.name, member.sampler->tree, member.sampler->sums, member.sampler->runs});
  }
  members.clear();
  return all;
}

void join_sampling(Sampler &sampler) {
  const std::lock_guard lock(mutex);
  mine = &sampler;
  if (session == joined)
    members.push_back({core::timeline::thread_name(), &sampler});
}

void leave_sampling(Sampler &sampler) {
  const std::lock_guard lock(mutex);
  std::erase_if(members, [&](const Member &member) { return member.sampler == &sampler; });
  if (mine == &sampler)
    mine = nullptr;
}

} // namespace perigee::profiler
