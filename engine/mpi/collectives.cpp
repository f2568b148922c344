// Collective calls of the array form: all ranks agree on the call first, then MPI's own blocking one is made.
#include "mpi/messages.hpp"

#include <algorithm>
#include <climits>
#include <numeric>
#include <optional>

namespace perigee::mpi {
namespace {

constexpr int agreement_tag = 1; // on the shadow communicator; one for each round follows

const char *const names[] = {
    "Barrier",        "Bcast",      "Scatter",  "Scatterv",           "Gather",           "Gatherv",
    "Allgather",      "Allgatherv", "Alltoall", "Alltoallv",          "Reduce",           "Allreduce",
    "Reduce_scatter", "Scan",       "Exscan",   "Neighbor_allgather", "Neighbor_alltoall"};
// What else all ranks must come to together, as pg_mpi_agree's `what` (mpi.lua has the same list).
const char *const others[] = {"barrier",        "bcast",  "scatter",      "gather",      "allgather",
                              "alltoall",       "reduce", "allreduce",    "scan",        "exscan",
                              "reduce_scatter", "dup",    "split",        "create_cart", "free",
                              "window",         "fence",  "shared_array", "sub"};
constexpr int32_t first_other = 100;

const char *name_of_kind(int32_t kind) {
  if (kind >= first_other)
    return others[kind - first_other];
  switch (kind) {
  case PG_MPI_BARRIER + PG_MPI_VALUES:
    return "barrier";
  case PG_MPI_REDUCE + PG_MPI_VALUES:
    return "reduce";
  case PG_MPI_ALLREDUCE + PG_MPI_VALUES:
    return "allreduce";
  default:
    return names[kind];
  }
}

// "Allreduce(sum) of 10 float64"
std::string describe(const Signature &s) {
  std::string text = name_of_kind(s.kind);
  if (s.op >= 0)
    text += std::string("(") + operation_name(s.op) + ")";
  if (s.dtype >= 0)
    text += " of " + (s.count >= 0 ? std::to_string(s.count) + " " : "") + array::dtype_name(s.dtype);
  if (s.root >= 0)
    text += " with root " + std::to_string(s.root);
  return text;
}

} // namespace

void Agreement::begin(const Comm &c, const char *name, const Signature &mine, int64_t value) {
  operation = name;
  comm = &c;
  peer = no_rank;
  out_ = {{mine, c.rank}, {mine, c.rank}, value};
  most = value;
  step_ = 1;
  if (c.size > 1)
    next_round();
}

void Agreement::next_round() {
  int round = 0;
  while (1 << round < step_)
    ++round;
  const int from = (comm->rank - step_ % comm->size + comm->size) % comm->size, to = (comm->rank + step_) % comm->size;
  require(MPI_Irecv(&in_, sizeof in_, MPI_BYTE, from, agreement_tag + round, comm->shadow, &requests_[0]), operation,
          comm, from);
  require(MPI_Isend(&out_, sizeof out_, MPI_BYTE, to, agreement_tag + round, comm->shadow, &requests_[1]), operation,
          comm, to);
}

bool Agreement::poll() {
  while (step_ < comm->size) {
    for (MPI_Request &request : requests_) {
      int flag = 1;
      if (request != MPI_REQUEST_NULL)
        require(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), operation, comm);
      if (!flag)
        return false;
    }
    out_.least = std::min(out_.least, in_.least);
    // (The lowest rank of those who say the last.)
    if (in_.last.what > out_.last.what || (in_.last.what == out_.last.what && in_.last.rank < out_.last.rank))
      out_.last = in_.last;
    out_.most = std::max(out_.most, in_.most);
    step_ *= 2;
    if (step_ < comm->size)
      next_round();
  }
  most = out_.most;
  if (out_.least.what != out_.last.what) {
    const auto [first, second] =
        std::minmax(out_.least, out_.last, [](const Said &a, const Said &b) { return a.rank < b.rank; });
    throw ArgumentError("collective calls differ: " + rank_text(*comm, first.rank) + " calls " + describe(first.what) +
                        ", " + rank_text(*comm, second.rank) + " calls " + describe(second.what) +
                        "; all ranks must make the same one");
  }
  return true;
}

void Agreement::abandon() noexcept {
  if (requests_[0] != MPI_REQUEST_NULL) {
    MPI_Cancel(&requests_[0]);
    MPI_Wait(&requests_[0], MPI_STATUS_IGNORE);
  }
  if (requests_[1] != MPI_REQUEST_NULL)
    MPI_Request_free(&requests_[1]);
}

namespace {

// ---------------------------------------------------------------------------------------------- the call itself ------
int to_int(const char *name, int64_t n) {
  if (n > INT_MAX)
    throw UnsupportedError(std::string(name) + ": more than 2^31 - 1 elements for one rank; make the call in pieces");
  return static_cast<int>(n);
}

// A side that is cut among the ranks, in counts and places that MPI takes.
struct Cut : Extra {
  std::vector<int> counts, places;
};

struct Sides : Extra { // of v forms, until the call is over
  Cut send, recv;
};

struct Call {
  int32_t kind = 0, op = -1, root = -1;
  bool values = false; // called by the table form
  const Comm *comm = nullptr;
  const pg_array *send = nullptr, *recv = nullptr;
  const int64_t *send_counts = nullptr, *send_places = nullptr, *recv_counts = nullptr, *recv_places = nullptr;

  const char *name() const { return name_of_kind(values ? kind + PG_MPI_VALUES : kind); }
  bool is_root() const { return root == comm->rank; }
  bool rooted() const {
    return kind == PG_MPI_BCAST || kind == PG_MPI_SCATTER || kind == PG_MPI_SCATTERV || kind == PG_MPI_GATHER ||
           kind == PG_MPI_GATHERV || kind == PG_MPI_REDUCE;
  }
  bool reduces() const { return kind >= PG_MPI_REDUCE && kind <= PG_MPI_EXSCAN; }
  // Whether this rank's array on that side is cut among the ranks.
  bool send_is_cut() const {
    return kind == PG_MPI_SCATTER || kind == PG_MPI_SCATTERV || kind == PG_MPI_ALLTOALL || kind == PG_MPI_ALLTOALLV ||
           kind == PG_MPI_REDUCE_SCATTER || kind == PG_MPI_NEIGHBOR_ALLTOALL;
  }
  bool recv_is_cut() const {
    return kind == PG_MPI_GATHER || kind == PG_MPI_GATHERV || kind == PG_MPI_ALLGATHER || kind == PG_MPI_ALLGATHERV ||
           kind == PG_MPI_ALLTOALL || kind == PG_MPI_ALLTOALLV || kind == PG_MPI_NEIGHBOR_ALLGATHER ||
           kind == PG_MPI_NEIGHBOR_ALLTOALL;
  }
  bool v() const {
    return kind == PG_MPI_SCATTERV || kind == PG_MPI_GATHERV || kind == PG_MPI_ALLGATHERV || kind == PG_MPI_ALLTOALLV;
  }

  int parts() const {
    if (kind != PG_MPI_NEIGHBOR_ALLGATHER && kind != PG_MPI_NEIGHBOR_ALLTOALL)
      return comm->size;
    int topology = MPI_UNDEFINED, dimensions = 0;
    MPI_Topo_test(comm->comm, &topology);
    if (topology != MPI_CART)
      throw ArgumentError(std::string(name()) + ": this communicator has no neighbours; make one by create_cart");
    MPI_Cartdim_get(comm->comm, &dimensions);
    return 2 * dimensions;
  }

  void check() const {
    for (const pg_array *a : {send, recv})
      if (a)
        check_array(name(), *a, a == recv && (kind != PG_MPI_BCAST || !is_root()));
    if (send && recv && send->_dtype != recv->_dtype)
      throw ArgumentError(std::string(name()) + ": the array to send is " + array::dtype_name(send->_dtype) +
                          ", the one to receive into " + array::dtype_name(recv->_dtype));
    // Sizes of this rank's two sides.
    if (v() || !send || !recv)
      return;
    const int64_t n = parts();
    int64_t expected = send->_size;
    switch (kind) {
    case PG_MPI_GATHER:
      if (!is_root())
        return;
      [[fallthrough]];
    case PG_MPI_ALLGATHER:
    case PG_MPI_NEIGHBOR_ALLGATHER:
      expected *= n;
      break;
    case PG_MPI_SCATTER:
      if (!is_root())
        return;
      if (recv->_size * n != send->_size)
        throw ArgumentError(std::string(name()) + ": the array to send has " + std::to_string(send->_size) +
                            " elements and the one to receive into " + std::to_string(recv->_size) + ", for " +
                            std::to_string(n) + " ranks; Scatterv cuts into unequal parts");
      return;
    case PG_MPI_REDUCE:
      if (!is_root())
        return;
      break;
    case PG_MPI_REDUCE_SCATTER:
      if (!recv_counts)
        expected = send->_size / n;
      else
        expected = recv_counts[comm->rank];
      break;
    case PG_MPI_ALLTOALL:
    case PG_MPI_NEIGHBOR_ALLTOALL:
      if (send->_size % n != 0)
        throw ArgumentError(std::string(name()) + ": an array of " + std::to_string(send->_size) +
                            " elements cannot be cut into " + std::to_string(n) + " equal parts");
      break;
    default:
      break;
    }
    if (recv->_size != expected)
      throw ArgumentError(std::string(name()) + ": the array to receive into must have " + std::to_string(expected) +
                          " elements, got one with " + std::to_string(recv->_size));
  }

  Signature signature() const {
    Signature s;
    s.kind = values ? kind + PG_MPI_VALUES : kind;
    s.root = rooted() ? root : -1;
    s.op = reduces() ? op : -1;
    const pg_array *a = send ? send : recv;
    if (!a)
      return s;
    s.dtype = a->_dtype;
    if (v())
      return s;
    const int64_t n = kind == PG_MPI_NEIGHBOR_ALLGATHER || kind == PG_MPI_NEIGHBOR_ALLTOALL ? 1 : comm->size;
    switch (kind) {
    case PG_MPI_SCATTER: // what each rank gets
      s.count = recv ? recv->_size : send->_size / n;
      break;
    case PG_MPI_GATHER: // what each rank gives
    case PG_MPI_ALLGATHER:
      s.count = send ? send->_size : recv->_size / n;
      break;
    default:
      s.count = a->_size;
    }
    return s;
  }

  // The side as one piece; cut: an n-th of it.
  Layout side(const pg_array *a, bool cut, bool write) const {
    if (!a)
      return {nullptr, 0, MPI_BYTE};
    if (!cut)
      return layout_of(name(), *a, write);
    return {a->_data, to_int(name(), a->_size / parts()), basic_type(a->_dtype)};
  }

  // Entries along the first axis to elements.
  Cut cut(const pg_array *a, const int64_t *counts, const int64_t *places) const {
    Cut result;
    const auto n = static_cast<std::size_t>(comm->size);
    if (!a || !counts)
      return result;
    const int64_t length = a->_ndim > 0 ? a->_shape[0] : 1, row = length > 0 ? a->_size / length : 1;
    int64_t place = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const int64_t at = places ? places[i] : place;
      if (counts[i] < 0 || at < 0 || at + counts[i] > length)
        throw ArgumentError(std::string(name()) + ": the part of rank " + std::to_string(i) + ", " +
                            std::to_string(counts[i]) + " entries from entry " + std::to_string(at + 1) +
                            " on, is outside of an array with " + std::to_string(length) + " along its first axis");
      result.counts.push_back(to_int(name(), counts[i] * row));
      result.places.push_back(to_int(name(), at * row));
      place = at + counts[i];
    }
    return result;
  }

  // Makes it. `request` NULL: blocks. Sides: of v forms.
  void make(MPI_Request *request, Sides &sides) const {
    const MPI_Comm c = comm->comm;
    const bool in_place = !send;
    Layout in = v() && send_is_cut()
                    ? Layout{send ? send->_data : nullptr, 0, send ? basic_type(send->_dtype) : MPI_BYTE}
                    : side(send, send_is_cut() && !reduces(), false);
    Layout out = v() && recv_is_cut()
                     ? Layout{recv ? recv->_data : nullptr, 0, recv ? basic_type(recv->_dtype) : MPI_BYTE}
                     : side(recv, recv_is_cut(), true);
    void *from = in_place && recv ? MPI_IN_PLACE : in.data;
    void *to = out.data;
    if (v() && send_is_cut())
      sides.send = cut(send, send_counts, send_places);
    if (v() && recv_is_cut())
      sides.recv = cut(recv, recv_counts, recv_places);
    auto &sc = sides.send.counts, &sp = sides.send.places, &rc = sides.recv.counts, &rp = sides.recv.places;
    MPI_Op o = MPI_OP_NULL;
    if (reduces()) {
      const pg_array &a = send ? *send : *recv;
      o = operation(name(), op, a._dtype);
      in = layout_of(a._data, a._size, basic_type(a._dtype));
      if (in.type != basic_type(a._dtype))
        throw UnsupportedError(std::string(name()) + ": more than 2^31 - 1 elements; make the call in pieces");
    }
    int result = MPI_SUCCESS;
    switch (kind) {
    case PG_MPI_BARRIER:
      result = request ? MPI_Ibarrier(c, request) : MPI_SUCCESS; // the agreement was one
      if (!request && !checks())
        result = MPI_Barrier(c);
      break;
    case PG_MPI_BCAST:
      result =
          request ? MPI_Ibcast(to, out.count, out.type, root, c, request) : MPI_Bcast(to, out.count, out.type, root, c);
      break;
    case PG_MPI_SCATTER: {
      void *mine = recv ? to : MPI_IN_PLACE; // in place: the root keeps its part
      result = request ? MPI_Iscatter(in.data, in.count, in.type, mine, out.count, out.type, root, c, request)
                       : MPI_Scatter(in.data, in.count, in.type, mine, out.count, out.type, root, c);
      break;
    }
    case PG_MPI_SCATTERV: {
      void *mine = recv ? to : MPI_IN_PLACE;
      result = request
                   ? MPI_Iscatterv(in.data, sc.data(), sp.data(), in.type, mine, out.count, out.type, root, c, request)
                   : MPI_Scatterv(in.data, sc.data(), sp.data(), in.type, mine, out.count, out.type, root, c);
      break;
    }
    case PG_MPI_GATHER:
      result = request ? MPI_Igather(from, in.count, in.type, to, out.count, out.type, root, c, request)
                       : MPI_Gather(from, in.count, in.type, to, out.count, out.type, root, c);
      break;
    case PG_MPI_GATHERV:
      result = request ? MPI_Igatherv(from, in.count, in.type, to, rc.data(), rp.data(), out.type, root, c, request)
                       : MPI_Gatherv(from, in.count, in.type, to, rc.data(), rp.data(), out.type, root, c);
      break;
    case PG_MPI_ALLGATHER:
      result = request ? MPI_Iallgather(from, in.count, in.type, to, out.count, out.type, c, request)
                       : MPI_Allgather(from, in.count, in.type, to, out.count, out.type, c);
      break;
    case PG_MPI_ALLGATHERV:
      result = request ? MPI_Iallgatherv(from, in.count, in.type, to, rc.data(), rp.data(), out.type, c, request)
                       : MPI_Allgatherv(from, in.count, in.type, to, rc.data(), rp.data(), out.type, c);
      break;
    case PG_MPI_ALLTOALL:
      result = request ? MPI_Ialltoall(from, in.count, in.type, to, out.count, out.type, c, request)
                       : MPI_Alltoall(from, in.count, in.type, to, out.count, out.type, c);
      break;
    case PG_MPI_ALLTOALLV:
      result = request
                   ? MPI_Ialltoallv(from, sc.data(), sp.data(), in.type, to, rc.data(), rp.data(), out.type, c, request)
                   : MPI_Alltoallv(from, sc.data(), sp.data(), in.type, to, rc.data(), rp.data(), out.type, c);
      break;
    case PG_MPI_REDUCE: {
      // In place is the root's affair: the others give what they have.
      void *give = in_place && !is_root() ? in.data : from;
      result = request ? MPI_Ireduce(give, to, in.count, in.type, o, root, c, request)
                       : MPI_Reduce(give, to, in.count, in.type, o, root, c);
      break;
    }
    case PG_MPI_ALLREDUCE:
      result = request ? MPI_Iallreduce(from, to, in.count, in.type, o, c, request)
                       : MPI_Allreduce(from, to, in.count, in.type, o, c);
      break;
    case PG_MPI_REDUCE_SCATTER: {
      auto &counts = sides.recv.counts;
      counts.clear();
      const int64_t all = send ? send->_size : recv->_size;
      for (int i = 0; i < comm->size; ++i)
        counts.push_back(to_int(name(), recv_counts ? recv_counts[i] : all / comm->size));
      if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) != all)
        throw ArgumentError(std::string(name()) + ": " + std::to_string(all) + " elements for " +
                            std::to_string(comm->size) + " ranks: counts must add up to that number");
      result = request ? MPI_Ireduce_scatter(from, to, counts.data(), in.type, o, c, request)
                       : MPI_Reduce_scatter(from, to, counts.data(), in.type, o, c);
      break;
    }
    case PG_MPI_SCAN:
      result =
          request ? MPI_Iscan(from, to, in.count, in.type, o, c, request) : MPI_Scan(from, to, in.count, in.type, o, c);
      break;
    case PG_MPI_EXSCAN:
      result = request ? MPI_Iexscan(from, to, in.count, in.type, o, c, request)
                       : MPI_Exscan(from, to, in.count, in.type, o, c);
      break;
    case PG_MPI_NEIGHBOR_ALLGATHER:
      result = request ? MPI_Ineighbor_allgather(in.data, in.count, in.type, to, out.count, out.type, c, request)
                       : MPI_Neighbor_allgather(in.data, in.count, in.type, to, out.count, out.type, c);
      break;
    case PG_MPI_NEIGHBOR_ALLTOALL:
      result = request ? MPI_Ineighbor_alltoall(in.data, in.count, in.type, to, out.count, out.type, c, request)
                       : MPI_Neighbor_alltoall(in.data, in.count, in.type, to, out.count, out.type, c);
      break;
    default:
      throw InternalError("mpi: a collective call of unknown kind");
    }
    require(result, name(), comm);
  }
};

struct Collective final : Agreement {
  Call call;
  bool poll() override { return !checks() || Agreement::poll(); }
  void done() override {
    Sides sides;
    if (checks()) { // all ranks are here
      call.make(nullptr, sides);
      return;
    }
    const Blocking blocking(call.name(), *call.comm);
    call.make(nullptr, sides);
  }
} collective;

struct Meeting final : Agreement {
  int64_t *out = nullptr;
  void done() override { *out = most; }
} meeting;

} // namespace
} // namespace perigee::mpi

using namespace perigee;
using namespace perigee::mpi;

int32_t pg_mpi_collective(pg_mpi_request *request, pg_mpi_comm *comm, int32_t kind, int32_t op, double root,
                          const pg_array *send, const pg_array *recv, const int64_t *send_counts,
                          const int64_t *send_places, const int64_t *recv_counts, const int64_t *recv_places) {
  return guard_pending([&] {
    Call call{kind % PG_MPI_VALUES, op,          -1,         kind >= PG_MPI_VALUES,
              &checked(comm),       send,        recv,       send_counts,
              send_places,          recv_counts, recv_places};
    if (call.rooted())
      call.root = check_rank(call.name(), *call.comm, root, "the root", false, false);
    call.check();
    if (!request) {
      collective.call = call;
      if (checks())
        collective.begin(*call.comm, call.name(), call.signature());
      return run(collective);
    }
    auto sides = std::make_unique<Sides>();
    MPI_Request handle = MPI_REQUEST_NULL;
    call.make(&handle, *sides);
    *request = {};
    request->_comm = comm;
    request->_kind = PG_MPI_COLLECTIVE;
    request->_peer = no_rank;
    request->_extra = sides.release();
    set_handle(*request, handle);
    return static_cast<int32_t>(PG_OK);
  });
}

int32_t pg_mpi_agree(int64_t *most, pg_mpi_comm *comm, int32_t what, double root, int64_t value, int32_t needed) {
  return guard_pending([&] {
    const Comm &c = checked(comm);
    Signature mine;
    mine.kind = what;
    if (root != -1)
      mine.root = check_rank(name_of_kind(what), c, root, "the root", false, false);
    *most = value;
    if (!needed && !checks())
      return static_cast<int32_t>(PG_OK);
    meeting.out = most;
    meeting.begin(c, name_of_kind(what), mine, value);
    return run(meeting);
  });
}

int32_t pg_mpi_counts(int64_t *counts, pg_mpi_comm *comm, int64_t own) {
  return guard([&] {
    const Comm &c = checked(comm);
    require(MPI_Allgather(&own, 1, MPI_INT64_T, counts, 1, MPI_INT64_T, c.shadow), "MPI_Allgather", &c);
  });
}
