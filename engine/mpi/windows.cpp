// One-sided access. What may be accessed is known to all ranks, so that mistakes are found before MPI is called, which
// would write over whatever lies there.
#include "core/plugin_support.hpp"
#include "mpi/mpi.hpp"

#include <cmath>
#include <set>

using namespace perigee;
using namespace perigee::mpi;

struct pg_mpi_window {
  MPI_Win win = MPI_WIN_NULL;
  const Comm *comm = nullptr;
  struct Part {
    int64_t dtype, size; // elements
  };
  std::vector<Part> parts; // of each rank
  bool shared = false, open = true, fenced = false, all = false;
  std::set<int> locked;
  array::Array memory; // what it shows, which a script may release
  // What MPI may read or write until the epoch ends, and the rank whose window it is for.
  std::vector<std::pair<int, array::Array>> used;
  void forget_used(int target) {
    std::erase_if(used, [target](const auto &entry) { return target < 0 || entry.first == target; });
  }
};

namespace perigee::mpi {
namespace {

std::vector<std::unique_ptr<pg_mpi_window>> windows;

pg_mpi_window &checked_window(pg_mpi_window *window) {
  require_open();
  if (!window->open)
    throw ArgumentError("this window was freed");
  return *window;
}

pg_mpi_window *keep(MPI_Win win, const Comm &c, int32_t dtype, int64_t size) {
  MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
  auto made = std::make_unique<pg_mpi_window>();
  made->win = win;
  made->comm = &c;
  made->parts.resize(static_cast<std::size_t>(c.size));
  const pg_mpi_window::Part mine{dtype, size};
  require(MPI_Allgather(&mine, 2, MPI_INT64_T, made->parts.data(), 2, MPI_INT64_T, c.shadow), "MPI_Allgather", &c);
  windows.push_back(std::move(made));
  return windows.back().get();
}

constexpr const char *access_names[] = {"put", "get", "accumulate", "get_accumulate"};
constexpr const char *epoch_names[] = {"fence",      "lock",  "lock",      "unlock", "lock_all",
                                       "unlock_all", "flush", "flush_all", "sync"};

// Bytes, elements.
Layout target_layout(int64_t count, int32_t dtype) {
  return layout_of(nullptr, count, basic_type(dtype));
}

} // namespace

void forget_windows() {
  windows.clear();
}
} // namespace perigee::mpi

int32_t pg_mpi_window_create(pg_mpi_window **out, pg_mpi_comm *comm, const pg_array *a) {
  return guard([&] {
    const Comm &c = mpi::checked(comm);
    check_array("window", *a, true);
    if (!array::is_contiguous(*a))
      throw ArgumentError("window: the array's elements must lie in a row; make the window of a copy (a:copy())");
    const auto size = static_cast<int>(array::element_size(a->_dtype));
    MPI_Win win;
    require(MPI_Win_create(a->_data, a->_size * size, size, MPI_INFO_NULL, c.comm, &win), "window", &c);
    *out = keep(win, c, a->_dtype, a->_size);
    (*out)->memory = array::share(*a);
  });
}

int32_t pg_mpi_window_free(pg_mpi_window *window) {
  return guard([&] {
    pg_mpi_window &w = checked_window(window);
    if (w.shared)
      throw UnsupportedError(
          "free: arrays may still use this shared memory; it is given back at the end of the script");
    if (!w.locked.empty() || w.all)
      throw ArgumentError("free: the window is locked by this rank; unlock it first");
    w.open = false;
    require(MPI_Win_free(&w.win), "free", w.comm);
    w.memory = array::Array();
    w.used.clear();
  });
}

int32_t pg_mpi_window_shared(pg_mpi_window **out, pg_array *array, pg_mpi_comm *comm, int32_t dtype, int32_t ndim,
                             const int64_t *shape) {
  return guard([&] {
    const Comm &c = mpi::checked(comm);
    int64_t count = 1;
    for (int32_t i = 0; i < ndim; ++i)
      count *= shape[i];
    const auto size = static_cast<int>(array::element_size(dtype));
    const MPI_Aint bytes = c.rank == 0 ? std::max<int64_t>(count, 1) * size : 0;
    void *memory = nullptr;
    MPI_Win win;
    const int result = MPI_Win_allocate_shared(bytes, size, MPI_INFO_NULL, c.comm, &memory, &win);
    if (result != MPI_SUCCESS)
      require(result, "shared_array (ranks of several hosts? make it of comm:split_shared())", &c);
    MPI_Aint there = 0;
    int unit = 0;
    require(MPI_Win_shared_query(win, 0, &there, &unit, &memory), "shared_array", &c);
    if (c.rank == 0)
      std::memset(memory, 0, static_cast<std::size_t>(bytes));
    pg_mpi_window *w = keep(win, c, dtype, c.rank == 0 ? count : 0); // nobody has its array before it is zeroed
    w->shared = true;
    const int32_t status = pg_array_borrow(array, memory, dtype, ndim, shape);
    if (status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    *out = w;
  });
}

int32_t pg_mpi_window_access(pg_mpi_window *window, int32_t access, const pg_array *a, const pg_array *result,
                             double rank, double place, int32_t op) {
  return guard([&] {
    const char *name = access_names[access];
    pg_mpi_window &w = checked_window(window);
    check_array(name, *a, access == PG_MPI_GET);
    const int32_t target = check_rank(name, *w.comm, rank, "the target", false, true);
    if (target == MPI_PROC_NULL)
      return;
    const auto &part = w.parts[static_cast<std::size_t>(target)];
    if (part.dtype != a->_dtype)
      throw ArgumentError(std::string(name) + ": the window of " + rank_text(*w.comm, target) + " has " +
                          array::dtype_name(static_cast<int32_t>(part.dtype)) + ", this array " +
                          array::dtype_name(a->_dtype));
    if (!(place >= 0 && place <= static_cast<double>(part.size)) || place != std::floor(place) ||
        static_cast<int64_t>(place) + a->_size > part.size)
      throw ArgumentError(std::string(name) + ": " + std::to_string(a->_size) + " elements from element " +
                          std::to_string(static_cast<int64_t>(std::fmax(std::fmin(place, 9e18), -9e18)) + 1) +
                          " on are outside of the window of " + rank_text(*w.comm, target) + ", which has " +
                          std::to_string(part.size));
    if (!w.fenced && !w.all && w.locked.count(target) == 0)
      throw ArgumentError(std::string(name) +
                          ": no epoch is open: call win:fence() before (on all ranks), or win:lock(" +
                          std::to_string(target) + ")");
    const Layout own = layout_of(name, *a, access == PG_MPI_GET), there = target_layout(a->_size, a->_dtype);
    const auto at = static_cast<MPI_Aint>(place);
    int code = MPI_SUCCESS;
    switch (access) {
    case PG_MPI_PUT:
      code = MPI_Put(own.data, own.count, own.type, target, at, there.count, there.type, w.win);
      break;
    case PG_MPI_GET:
      code = MPI_Get(own.data, own.count, own.type, target, at, there.count, there.type, w.win);
      break;
    case PG_MPI_ACCUMULATE:
      code = MPI_Accumulate(own.data, own.count, own.type, target, at, there.count, there.type,
                            operation(name, op, a->_dtype), w.win);
      break;
    default: {
      check_array(name, *result, true);
      if (result->_dtype != a->_dtype || result->_size != a->_size)
        throw ArgumentError(std::string(name) + ": the result must have the dtype and size of the array");
      const Layout before = layout_of(name, *result, true);
      code = MPI_Get_accumulate(own.data, own.count, own.type, before.data, before.count, before.type, target, at,
                                there.count, there.type, operation(name, op, a->_dtype), w.win);
    }
    }
    require(code, name, w.comm, target);
    w.used.emplace_back(target, array::share(*a));
    if (result)
      w.used.emplace_back(target, array::share(*result));
  });
}

int32_t pg_mpi_window_epoch(pg_mpi_window *window, int32_t what, double rank) {
  return guard([&] {
    const char *name = epoch_names[what];
    pg_mpi_window &w = checked_window(window);
    int32_t target = no_rank;
    if (what == PG_MPI_LOCK || what == PG_MPI_LOCK_SHARED || what == PG_MPI_UNLOCK || what == PG_MPI_FLUSH)
      target = check_rank(name, *w.comm, rank, "the target", false, false);
    const auto to = rank_text(*w.comm, target);
    const Blocking blocking(name, *w.comm, target);
    switch (what) {
    case PG_MPI_FENCE:
      if (!w.locked.empty() || w.all)
        throw ArgumentError("fence: this rank holds a lock on the window; unlock it first");
      require(MPI_Win_fence(0, w.win), name, w.comm);
      w.forget_used(-1);
      w.fenced = true;
      break;
    case PG_MPI_LOCK:
    case PG_MPI_LOCK_SHARED:
      if (w.all || w.locked.count(target))
        throw ArgumentError("lock: this rank has locked the window of " + to + " already");
      if (w.fenced) { // the epoch of fences ends
        w.fenced = false;
      }
      require(MPI_Win_lock(what == PG_MPI_LOCK ? MPI_LOCK_EXCLUSIVE : MPI_LOCK_SHARED, target, 0, w.win), name, w.comm,
              target);
      w.locked.insert(target);
      break;
    case PG_MPI_UNLOCK:
      if (!w.locked.count(target))
        throw ArgumentError("unlock: this rank has not locked the window of " + to);
      w.locked.erase(target);
      require(MPI_Win_unlock(target, w.win), name, w.comm, target);
      w.forget_used(target);
      break;
    case PG_MPI_LOCK_ALL:
      if (w.all || !w.locked.empty())
        throw ArgumentError("lock_all: this rank has locked the window already");
      w.fenced = false;
      require(MPI_Win_lock_all(0, w.win), name, w.comm);
      w.all = true;
      break;
    case PG_MPI_UNLOCK_ALL:
      if (!w.all)
        throw ArgumentError("unlock_all: lock_all comes first");
      w.all = false;
      require(MPI_Win_unlock_all(w.win), name, w.comm);
      w.forget_used(-1);
      break;
    case PG_MPI_FLUSH:
      if (!w.all && !w.locked.count(target))
        throw ArgumentError("flush: this rank has not locked the window of " + to);
      require(MPI_Win_flush(target, w.win), name, w.comm, target);
      w.forget_used(target);
      break;
    case PG_MPI_FLUSH_ALL:
      if (!w.all && w.locked.empty())
        throw ArgumentError("flush: this rank has not locked the window");
      require(w.all ? MPI_Win_flush_all(w.win) : MPI_SUCCESS, name, w.comm);
      for (const int locked : w.locked)
        require(MPI_Win_flush(locked, w.win), name, w.comm, locked);
      w.forget_used(-1);
      break;
    default:
      require(MPI_Win_sync(w.win), name, w.comm);
    }
  });
}
