// The table form: values of a Lua state, packed as parallel's processes pack them, as bytes. These are lua_CFunctions,
// since the values are the state's; mpi.lua gets them by package.loadlib.
#include "core/plugin_support.hpp"
#include "mpi/messages.hpp"

#include <lua.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace perigee::mpi {
namespace {

template <class T> T *pointer_at(lua_State *L, int index) { // a cdata pointer, or a reference to a struct
  return *static_cast<T *const *>(lua_topointer(L, index));
}

// As MPI wants the bytes: they stay until the receive has taken them.
struct Bytes final : Extra {
  Bytes(const void *data, int64_t size)
      : bytes(std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(size))), size(size) {
    std::memcpy(bytes.get(), data, static_cast<std::size_t>(size));
  }
  std::unique_ptr<char[]> bytes;
  int64_t size;
};

struct SendValue final : Blocked {
  MPI_Request request = MPI_REQUEST_NULL;
  bool poll() override {
    int flag = 0;
    require(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), operation, comm, peer);
    return flag != 0;
  }
  void abandon() noexcept override {
    if (request != MPI_REQUEST_NULL)
      MPI_Request_free(&request);
  }
} sending;

pg_mpi_request incoming{}; // of recv
struct RecvValue final : Blocked {
  bool poll() override { return poll_value(incoming); }
  void diagnose() override { look_for_others("recv", *comm, incoming._peer, incoming._tag, value_code); }
  void abandon() noexcept override {
    forget_value(incoming);
    delete extra_of(incoming);
    incoming._extra = nullptr;
  }
} receiving;

// Packs the values from `first` on. May raise.
int32_t pack(lua_State *L, int first, const void **data, int64_t *size) {
  return pg_values_pack(data, size, L, first);
}

int status_of(lua_State *L, int32_t status) {
  lua_pushinteger(L, status);
  return 1;
}

// send(comm, dest, tag, mode, value) -> status
int send(lua_State *L) {
  const void *data = nullptr;
  int64_t size = 0;
  int32_t status = pack(L, 5, &data, &size);
  if (status != PG_OK)
    return status_of(L, status);
  status = guard_pending([&] {
    const bool synchronous = lua_tointeger(L, 4) == PG_MPI_SYNCHRONOUS;
    const char *name = synchronous ? "ssend" : "send";
    const Comm &c = checked(pointer_at<pg_mpi_comm>(L, 1));
    const int32_t to = check_rank(name, c, lua_tonumber(L, 2), "the destination", false, true),
                  tag = check_tag(name, lua_tonumber(L, 3), false);
    const Layout layout = bytes_layout(data, size);
    require((synchronous ? MPI_Issend : MPI_Isend)(layout.data, layout.count, layout.type, to,
                                                   wire_tag(tag, value_code), c.comm, &sending.request),
            name, &c, to);
    if (sending.request == over)
      return static_cast<int32_t>(PG_OK);
    prepare(sending, name, c, to, tag);
    return run(sending);
  });
  return status_of(L, status);
}

constexpr lua_Integer of_sendrecv = 2; // a mode beside enum pg_mpi_mode: standard, for another's error messages
// isend(request, comm, dest, tag, mode, value) -> status
int isend(lua_State *L) {
  const void *data = nullptr;
  int64_t size = 0;
  int32_t status = pack(L, 6, &data, &size);
  if (status != PG_OK)
    return status_of(L, status);
  status = guard_pending([&] {
    const bool synchronous = lua_tointeger(L, 5) == PG_MPI_SYNCHRONOUS;
    const char *name = lua_tointeger(L, 5) == of_sendrecv ? "sendrecv" : synchronous ? "issend" : "isend";
    auto *comm = pointer_at<pg_mpi_comm>(L, 2);
    const Comm &c = checked(comm);
    const int32_t to = check_rank(name, c, lua_tonumber(L, 3), "the destination", false, true),
                  tag = check_tag(name, lua_tonumber(L, 4), false);
    auto copy = std::make_unique<Bytes>(data, size);
    const Layout layout = bytes_layout(copy->bytes.get(), size);
    MPI_Request handle;
    require((synchronous ? MPI_Issend : MPI_Isend)(layout.data, layout.count, layout.type, to,
                                                   wire_tag(tag, value_code), c.comm, &handle),
            name, &c, to);
    auto &r = *static_cast<pg_mpi_request *>(const_cast<void *>(lua_topointer(L, 1)));
    r = {};
    r._comm = comm;
    r._kind = PG_MPI_SEND_VALUE;
    r._peer = to;
    r._tag = tag;
    r._extra = copy.release();
    set_handle(r, handle);
    return PG_OK;
  });
  return status_of(L, status);
}

// Pushes what has come for a receive: status, value, source, tag.
int hand_out(lua_State *L, pg_mpi_request &r) {
  const std::unique_ptr<Extra> extra(extra_of(r));
  r._extra = nullptr;
  const auto &value = static_cast<const ValueReceive &>(*extra);
  lua_settop(L, 0);
  lua_pushinteger(L, PG_OK);
  int32_t count = 0;
  const int32_t status = pg_values_unpack(&count, L, value.bytes.get(), value.size);
  if (status != PG_OK || count == 0)
    return status_of(L, status);
  lua_settop(L, 2);
  lua_pushinteger(L, value.found.source);
  lua_pushinteger(L, value.found.tag);
  return 4;
}

// recv(comm, source, tag) -> status; where it is 0, value, source, tag
int recv(lua_State *L) {
  const int32_t status = guard_pending([&] {
    auto *comm = pointer_at<pg_mpi_comm>(L, 1);
    const Comm &c = checked(comm);
    const int32_t from = check_rank("recv", c, lua_tonumber(L, 2), "the source", true, false),
                  tag = check_tag("recv", lua_tonumber(L, 3), true);
    incoming = {};
    incoming._comm = comm;
    incoming._kind = PG_MPI_RECV_VALUE;
    incoming._peer = from;
    incoming._tag = tag;
    expect_value(incoming);
    prepare(receiving, "recv", c, from, tag);
    try {
      return run(receiving);
    } catch (...) {
      receiving.abandon();
      throw;
    }
  });
  if (status != PG_OK)
    return status_of(L, status);
  return hand_out(L, incoming);
}

// received() -> as recv, once its wait has been continued to its end
int received(lua_State *L) {
  return hand_out(L, incoming);
}

// take(request) -> the same, of a request
int take(lua_State *L) {
  auto &r = *static_cast<pg_mpi_request *>(const_cast<void *>(lua_topointer(L, 1)));
  pg_mpi_request ended = r;
  r._extra = nullptr;
  request_ended(r);
  return hand_out(L, ended);
}

// ---------------------------------------------------------------------------------------- collective calls ----------
// Values of all ranks at once: each packs its own, and once all are there the bytes go by MPI's calls.
enum Kind { bcast = 101, scatter = 102, gather = 103, allgather = 104, alltoall = 105 }; // pg_mpi_agree's `what`

using Buffer = std::vector<char>;

struct ValueCollective final : Agreement {
  int32_t kind = 0, root = -1;
  std::vector<int64_t> sizes_out, sizes_in; // of each rank's value
  Buffer out, in;                           // one after the other

  bool is_root() const { return comm->rank == root; }
  std::size_t ranks() const { return static_cast<std::size_t>(comm->size); }

  // Whether all together may be more than MPI counts; all ranks find the same.
  bool large() const { return most > most_elements / comm->size; }
  // Counts and places for MPI.
  static std::pair<std::vector<int>, std::vector<int>> cut(const std::vector<int64_t> &sizes) {
    std::vector<int> counts, places;
    int at = 0;
    for (const int64_t size : sizes) {
      counts.push_back(static_cast<int>(size));
      places.push_back(at);
      at += static_cast<int>(size);
    }
    return {counts, places};
  }
  // What MPI's v forms do otherwise.
  void exchange_large() {
    Parts to(*comm), from(*comm);
    const bool pieces = kind == scatter || kind == alltoall;
    int64_t at = 0;
    for (std::size_t r = 0; r < sizes_out.size() && pieces; at += sizes_out[r++])
      to.set(static_cast<int>(r), out.data(), at, sizes_out[r], MPI_BYTE);
    for (int r = 0; r < comm->size && !pieces; ++r)
      if (kind == allgather || r == root)
        to.set(r, bytes_layout(out.data(), static_cast<int64_t>(out.size())));
    at = 0;
    for (std::size_t r = 0; r < sizes_in.size(); at += sizes_in[r++])
      from.set(kind == scatter ? root : static_cast<int>(r), in.data(), at, sizes_in[r], MPI_BYTE);
    require(exchange(to, from, comm->shadow, nullptr), operation, comm);
  }
  void make_room() {
    int64_t all = 0;
    for (const int64_t size : sizes_in)
      all += size;
    in.resize(static_cast<std::size_t>(all));
  }

  void done() override {
    const MPI_Comm c = comm->shadow;
    const int n = comm->size;
    auto need = [&](int result) { require(result, operation, comm); };
    switch (kind) {
    case bcast: {
      const int64_t piece = most_elements / 2 + 1;
      Buffer &bytes = is_root() ? out : in;
      if (!is_root())
        in.resize(static_cast<std::size_t>(most));
      for (int64_t at = 0; at < most; at += piece)
        need(MPI_Bcast(bytes.data() + at, static_cast<int>(std::min(piece, most - at)), MPI_BYTE, root, c));
      return;
    }
    case scatter: {
      int64_t size = 0;
      need(MPI_Scatter(sizes_out.data(), 1, MPI_INT64_T, &size, 1, MPI_INT64_T, root, c));
      sizes_in = {size};
      make_room();
      if (large())
        return exchange_large();
      const auto [counts, places] = cut(sizes_out);
      need(MPI_Scatterv(out.data(), counts.data(), places.data(), MPI_BYTE, in.data(), static_cast<int>(size), MPI_BYTE,
                        root, c));
      return;
    }
    case gather: {
      sizes_in.resize(is_root() ? ranks() : 0);
      need(MPI_Gather(sizes_out.data(), 1, MPI_INT64_T, sizes_in.data(), 1, MPI_INT64_T, root, c));
      make_room();
      if (large())
        return exchange_large();
      const auto [counts, places] = cut(sizes_in);
      need(MPI_Gatherv(out.data(), static_cast<int>(out.size()), MPI_BYTE, in.data(), counts.data(), places.data(),
                       MPI_BYTE, root, c));
      return;
    }
    case allgather: {
      sizes_in.resize(ranks());
      need(MPI_Allgather(sizes_out.data(), 1, MPI_INT64_T, sizes_in.data(), 1, MPI_INT64_T, c));
      make_room();
      if (large())
        return exchange_large();
      const auto [counts, places] = cut(sizes_in);
      need(MPI_Allgatherv(out.data(), static_cast<int>(out.size()), MPI_BYTE, in.data(), counts.data(), places.data(),
                          MPI_BYTE, c));
      return;
    }
    default: {
      sizes_in.resize(static_cast<std::size_t>(n));
      need(MPI_Alltoall(sizes_out.data(), 1, MPI_INT64_T, sizes_in.data(), 1, MPI_INT64_T, c));
      make_room();
      if (large())
        return exchange_large();
      const auto [out_counts, out_places] = cut(sizes_out);
      const auto [in_counts, in_places] = cut(sizes_in);
      need(MPI_Alltoallv(out.data(), out_counts.data(), out_places.data(), MPI_BYTE, in.data(), in_counts.data(),
                         in_places.data(), MPI_BYTE, c));
    }
    }
  }
} collective;

// collect(comm, kind, root, value or list) -> status. Only those who have something to give pass the last.
int collect(lua_State *L) {
  ValueCollective &call = collective;
  const auto kind = static_cast<int32_t>(lua_tointeger(L, 2));
  call.out.clear();
  call.in.clear();
  call.sizes_out.clear();
  call.sizes_in.clear();
  const bool list = kind == scatter || kind == alltoall;
  const int count = lua_gettop(L) < 4 ? 0 : list ? static_cast<int>(lua_objlen(L, 4)) : 1;
  for (int i = 1; i <= count; ++i) {
    if (list) {
      lua_settop(L, 4);
      lua_rawgeti(L, 4, i);
    }
    const void *data = nullptr;
    int64_t size = 0;
    const int32_t status = pack(L, list ? 5 : 4, &data, &size);
    if (status != PG_OK)
      return status_of(L, status);
    call.sizes_out.push_back(size);
    call.out.insert(call.out.end(), static_cast<const char *>(data), static_cast<const char *>(data) + size);
  }
  return status_of(L, guard_pending([&] {
                     constexpr const char *names[] = {"bcast", "scatter", "gather", "allgather", "alltoall"};
                     const Comm &c = checked(pointer_at<pg_mpi_comm>(L, 1));
                     const char *name = names[kind - bcast];
                     call.kind = kind;
                     Signature mine;
                     mine.kind = kind;
                     if (kind == bcast || kind == scatter || kind == gather)
                       mine.root = call.root = check_rank(name, c, lua_tonumber(L, 3), "the root", false, false);
                     call.begin(c, name, mine, static_cast<int64_t>(call.out.size()));
                     return run(call);
                   }));
}

// collected() -> status; where it is 0, the value, or a list of those of all ranks, or nil for ranks that get nothing
int collected(lua_State *L) {
  ValueCollective &call = collective;
  lua_settop(L, 0);
  lua_pushinteger(L, PG_OK);
  int32_t count = 0;
  if (call.kind == bcast || call.kind == scatter) {
    const Buffer &bytes = call.kind == bcast && call.is_root() ? call.out : call.in;
    const int32_t status = pg_values_unpack(&count, L, bytes.data(), static_cast<int64_t>(bytes.size()));
    return status == PG_OK ? 2 : status_of(L, status);
  }
  if (call.kind == gather && !call.is_root())
    return 1;
  lua_createtable(L, static_cast<int>(call.sizes_in.size()), 0);
  int64_t at = 0;
  int index = 0;
  for (const int64_t size : call.sizes_in) {
    const int32_t status = pg_values_unpack(&count, L, call.in.data() + at, size);
    if (status != PG_OK)
      return status_of(L, status);
    lua_rawseti(L, 2, ++index);
    at += size;
  }
  if (call.in.size() > 1 << 20)
    Buffer().swap(call.in);
  return 2;
}

} // namespace
} // namespace perigee::mpi

// What package.loadlib finds: returns a table of these functions.
#pragma GCC visibility push(default)
extern "C" int pg_mpi_functions(lua_State *L) {
  using namespace perigee::mpi;
  const luaL_Reg functions[] = {{"send", send}, {"isend", isend},     {"recv", recv},          {"received", received},
                                {"take", take}, {"collect", collect}, {"collected", collected}};
  lua_newtable(L);
  for (const luaL_Reg &f : functions) {
    lua_pushcfunction(L, f.func);
    lua_setfield(L, -2, f.name);
  }
  return 1;
}
#pragma GCC visibility pop
