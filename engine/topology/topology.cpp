// Cores, caches and pinning by hwloc: a plugin, since finding out takes hwloc 1 to 100 ms.
#include "core/abi.hpp"
#include "core/status.hpp"

extern "C" {
#pragma GCC visibility push(default)
#include "topology/topology_abi.h"
#pragma GCC visibility pop
}

#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace perigee::topology {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_s *set) const { hwloc_bitmap_free(set); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

Bitmap bitmap() {
  Bitmap set(hwloc_bitmap_alloc());
  if (!set)
    throw std::bad_alloc();
  return set;
}

struct Machine {
  hwloc_topology_t hwloc = nullptr;
  Bitmap allowed = bitmap(); // what the process could use when the plugin was loaded, and exists
  std::vector<hwloc_obj_t> cores;
  std::vector<pg_topology_core> core;
  std::vector<pg_topology_cache> cache;
  pg_topology facts{};

  Machine();
  ~Machine() { hwloc_topology_destroy(hwloc); } // when the last Lua state lets go of the plugin
  Machine(const Machine &) = delete;
};

int32_t number_of(hwloc_topology_t t, hwloc_obj_type_t type, int32_t least) {
  return std::max(least, static_cast<int32_t>(hwloc_get_nbobjs_by_type(t, type)));
}

Machine::Machine() {
  if (hwloc_topology_init(&hwloc) != 0)
    throw UnsupportedError("topology: hwloc does not start");
  // Its x86 component runs a thread on each processor in turn to ask that for its cpuid: 80 ms on a busy machine with
  // two of them, where Linux tells the same in 1.
  hwloc_topology_set_components(hwloc, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
  if (hwloc_topology_load(hwloc) != 0) {
    hwloc_topology_destroy(hwloc);
    hwloc = nullptr;
    throw UnsupportedError("topology: hwloc cannot read this machine's topology");
  }
  // All threads of the process together: one may have been pinned already.
  if (hwloc_get_cpubind(hwloc, allowed.get(), HWLOC_CPUBIND_PROCESS) != 0 || hwloc_bitmap_iszero(allowed.get()))
    hwloc_bitmap_copy(allowed.get(), hwloc_topology_get_allowed_cpuset(hwloc));
  hwloc_bitmap_and(allowed.get(), allowed.get(), hwloc_topology_get_allowed_cpuset(hwloc));

  // Virtual machines without cores have at least processors.
  const bool has_cores = hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t core_type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_obj_by_type(hwloc, core_type, o)) != nullptr;) {
    pg_topology_core one{1, 1, 0, {}};
    if (hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(hwloc, HWLOC_OBJ_PACKAGE, o))
      one.package = static_cast<int32_t>(package->logical_index) + 1;
    if (o->nodeset && !hwloc_bitmap_iszero(o->nodeset))
      if (hwloc_obj_t node =
              hwloc_get_numanode_obj_by_os_index(hwloc, static_cast<unsigned>(hwloc_bitmap_first(o->nodeset))))
        one.numa = static_cast<int32_t>(node->logical_index) + 1;
    const Bitmap mine = bitmap();
    hwloc_bitmap_and(mine.get(), o->cpuset, allowed.get());
    for (int p = hwloc_bitmap_first(mine.get()); p >= 0 && one.count < 8; p = hwloc_bitmap_next(mine.get(), p))
      one.threads[one.count++] = p;
    core.push_back(one);
    cores.push_back(o);
  }
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L1ICACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE,
                                      HWLOC_OBJ_L4CACHE, HWLOC_OBJ_L5CACHE}) {
    const hwloc_obj_t first = hwloc_get_next_obj_by_type(hwloc, type, nullptr);
    if (!first)
      continue;
    const auto &attributes = first->attr->cache;
    cache.push_back({static_cast<int32_t>(attributes.depth),
                     attributes.type == HWLOC_OBJ_CACHE_DATA          ? 1
                     : attributes.type == HWLOC_OBJ_CACHE_INSTRUCTION ? 2
                                                                      : 0,
                     number_of(hwloc, type, 1), static_cast<int32_t>(hwloc_bitmap_weight(first->cpuset)),
                     static_cast<int64_t>(attributes.size), static_cast<int32_t>(attributes.linesize)});
  }
  facts = {number_of(hwloc, HWLOC_OBJ_PACKAGE, 1),
           static_cast<int32_t>(core.size()),
           number_of(hwloc, HWLOC_OBJ_PU, 1),
           number_of(hwloc, HWLOC_OBJ_NUMANODE, 1),
           static_cast<int32_t>(cache.size()),
           static_cast<int32_t>(hwloc_bitmap_weight(allowed.get())),
           core.data(),
           cache.data()};
}

Machine &machine() {
  static Machine found;
  return found;
}

} // namespace
} // namespace perigee::topology

using namespace perigee;
using namespace perigee::topology;

int32_t pg_topology_get(const pg_topology **out) {
  return guard([&] { *out = &machine().facts; });
}

int32_t pg_topology_pin(const int32_t *cores, int32_t count) {
  return guard([&] {
    Machine &m = machine();
    const Bitmap set = bitmap();
    for (int32_t i = 0; i < count; ++i) {
      if (cores[i] < 1 || cores[i] > m.facts.cores)
        throw ArgumentError("pin: there is no core " + std::to_string(cores[i]) + ", only 1 to " +
                            std::to_string(m.facts.cores));
      hwloc_bitmap_or(set.get(), set.get(), m.cores[static_cast<std::size_t>(cores[i]) - 1]->cpuset);
    }
    if (count == 0)
      hwloc_bitmap_copy(set.get(), m.allowed.get());
    hwloc_bitmap_and(set.get(), set.get(), m.allowed.get());
    if (hwloc_bitmap_iszero(set.get()))
      throw ArgumentError("pin: this process may not run on " + std::string(count == 1 ? "that core" : "those cores"));
    if (hwloc_set_cpubind(m.hwloc, set.get(), HWLOC_CPUBIND_THREAD) != 0)
      throw UnsupportedError(std::string("pin: this machine does not allow it: ") + std::strerror(errno));
  });
}

int32_t pg_topology_pinned(int32_t *cores, int32_t *count) {
  return guard([&] {
    Machine &m = machine();
    const Bitmap set = bitmap();
    if (hwloc_get_cpubind(m.hwloc, set.get(), HWLOC_CPUBIND_THREAD) != 0)
      throw UnsupportedError(std::string("pin: this machine does not tell: ") + std::strerror(errno));
    *count = 0;
    for (std::size_t i = 0; i < m.cores.size(); ++i)
      if (hwloc_bitmap_intersects(m.cores[i]->cpuset, set.get()))
        cores[(*count)++] = static_cast<int32_t>(i) + 1;
  });
}
