// Collective calls of the array form: all ranks agree on the call first, then MPI's own blocking one is made; where it
// cannot count the elements, several or another.
#include "mpi/messages.hpp"

#include <algorithm>
#include <functional>
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

const char *const begun_names[] = {
    "Ibarrier",        "Ibcast",      "Iscatter",  "Iscatterv",           "Igather",           "Igatherv",
    "Iallgather",      "Iallgatherv", "Ialltoall", "Ialltoallv",          "Ireduce",           "Iallreduce",
    "Ireduce_scatter", "Iscan",       "Iexscan",   "Ineighbor_allgather", "Ineighbor_alltoall"};
const char *const begun_others[] = {"ibarrier", "ibcast",     "iscatter", "igather", "iallgather",     "ialltoall",
                                    "ireduce",  "iallreduce", "iscan",    "iexscan", "ireduce_scatter"};

const char *name_of_kind(int32_t kind) {
  if (kind >= begun_kind)
    return begun_name(kind - begun_kind);
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
std::string text_of(const Signature &s) {
  std::string text = name_of_kind(s.kind);
  if (s.op >= 0)
    text += std::string("(") + operation_name(s.op) + ")";
  const int32_t kind = s.kind % begun_kind;
  const bool v =
      kind == PG_MPI_SCATTERV || kind == PG_MPI_GATHERV || kind == PG_MPI_ALLGATHERV || kind == PG_MPI_ALLTOALLV;
  if (s.dtype >= 0)
    text += std::string(" of ") + (v && s.count != 1 ? "rows of " : "") +
            (s.count >= 0 && !(v && s.count == 1) ? std::to_string(s.count) + " " : "") + array::dtype_name(s.dtype);
  if (s.root >= 0)
    text += " with root " + std::to_string(s.root);
  return text;
}

} // namespace

const char *begun_name(int32_t kind) {
  return kind >= first_other ? begun_others[kind - first_other] : begun_names[kind];
}

void calls_differ(const Comm &comm, const Said &one, const Said &other) {
  const Said &first = one.rank < other.rank ? one : other, &second = one.rank < other.rank ? other : one;
  auto text = [&](const Said &said) {
    return rank_text(comm, said.rank) + (said.what.kind >= begun_kind ? " begins " : " calls ") + text_of(said.what);
  };
  throw ArgumentError("collective calls differ: " + text(first) + ", " + text(second) +
                      "; all ranks must make the same one");
}

void Agreement::begin(const Comm &c, const char *name, const Signature &mine, int64_t value) {
  operation = name;
  comm = &c;
  peer = no_rank;
  out_ = {{mine, c.rank}, {mine, c.rank}, value};
  most = value;
  step_ = 1;
  note_call(c, mine);
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
  if (out_.least.what != out_.last.what)
    calls_differ(*comm, {0, out_.least.what, out_.least.rank}, {0, out_.last.what, out_.last.rank});
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
// A side that is cut among the ranks: elements of each part, and where it begins.
struct Cut {
  std::vector<int64_t> counts, places;
  std::vector<int> small_counts, small_places; // the same for MPI, where they fit
};

// What a call needs until it is over.
struct Sides final : Begun {
  Cut send, recv;
  std::unique_ptr<Parts> out, in;    // of large v forms
  std::vector<MPI_Request> requests; // of calls made in pieces: all but the first
  std::vector<array::Array> arrays;  // a script may release them
  void *move_from = nullptr, *move_to = nullptr;
  std::size_t move_bytes = 0;
  bool poll() override {
    int flag = 1;
    if (!requests.empty())
      require(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &flag, MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return flag != 0;
  }
  void done() override {
    if (move_bytes > 0)
      std::memmove(move_to, move_from, move_bytes);
  }
};

struct Call {
  int32_t kind = 0, op = -1, root = -1;
  bool values = false; // called by the table form
  bool large = false;  // of v forms: too many elements for MPI's counts
  const Comm *comm = nullptr;
  const pg_array *send = nullptr, *recv = nullptr;
  const int64_t *send_counts = nullptr, *recv_counts = nullptr;

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
    if (v()) {
      if (send_is_cut())
        (void)cut(send, send_counts);
      if (recv_is_cut())
        (void)cut(recv, recv_counts);
    }
    if (kind == PG_MPI_REDUCE_SCATTER)
      (void)parts_of_reduction();
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
    if (v()) {
      s.count = row_of(*a);
      return s;
    }
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
    return layout_of(a->_data, a->_size / parts(), basic_type(a->_dtype));
  }

  // Elements of an entry along the first axis.
  static int64_t row_of(const pg_array &a) {
    return std::accumulate(a._shape + std::min(a._ndim, 1), a._shape + a._ndim, int64_t{1}, std::multiplies<>());
  }

  // Entries along the first axis to elements.
  Cut cut(const pg_array *a, const int64_t *counts) const {
    Cut result;
    if (!a || !counts)
      return result;
    const int64_t length = a->_ndim > 0 ? a->_shape[0] : 1, row = row_of(*a);
    int64_t at = 0;
    for (int i = 0; i < comm->size; ++i) {
      if (counts[i] < 0 || at + counts[i] > length)
        throw ArgumentError(std::string(name()) + ": the part of rank " + std::to_string(i) + ", " +
                            std::to_string(counts[i]) + " entries from entry " + std::to_string(at + 1) +
                            " on, is outside of an array with " + std::to_string(length) + " along its first axis");
      result.counts.push_back(counts[i] * row);
      result.places.push_back(at * row);
      at += counts[i];
    }
    if (!large)
      for (std::size_t i = 0; i < result.counts.size(); ++i) {
        result.small_counts.push_back(static_cast<int>(result.counts[i]));
        result.small_places.push_back(static_cast<int>(result.places[i]));
      }
    return result;
  }

  // Elements for each rank of Reduce_scatter.
  std::vector<int64_t> parts_of_reduction() const {
    const int64_t all = (send ? send : recv)->_size;
    std::vector<int64_t> counts(static_cast<std::size_t>(comm->size), all / comm->size);
    if (recv_counts)
      counts.assign(recv_counts, recv_counts + comm->size);
    if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) != all)
      throw ArgumentError(std::string(name()) + ": " + std::to_string(all) + " elements for " +
                          std::to_string(comm->size) + " ranks: counts must add up to that number");
    return counts;
  }

  // Makes it. `request` NULL: blocks.
  void make(MPI_Request *request, Sides &sides) const {
    if (reduces())
      return reduce(request, sides);
    if (v() && large)
      return make_large(request, sides);
    const MPI_Comm c = comm->comm;
    Layout in = v() && send_is_cut()
                    ? Layout{send ? send->_data : nullptr, 0, send ? basic_type(send->_dtype) : MPI_BYTE}
                    : side(send, send_is_cut(), false);
    Layout out = v() && recv_is_cut()
                     ? Layout{recv ? recv->_data : nullptr, 0, recv ? basic_type(recv->_dtype) : MPI_BYTE}
                     : side(recv, recv_is_cut(), true);
    void *from = !send && recv ? MPI_IN_PLACE : in.data;
    void *to = out.data;
    if (v() && send_is_cut())
      sides.send = cut(send, send_counts);
    if (v() && recv_is_cut())
      sides.recv = cut(recv, recv_counts);
    auto &sc = sides.send.small_counts, &sp = sides.send.small_places, &rc = sides.recv.small_counts,
         &rp = sides.recv.small_places;
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

  // Reductions, element by element: in pieces, where there are more elements than MPI counts.
  void reduce(MPI_Request *request, Sides &sides) const {
    const pg_array &a = send ? *send : *recv;
    const MPI_Op o = operation(name(), op, a._dtype);
    const auto size = static_cast<int64_t>(array::element_size(a._dtype));
    static char nothing = 0; // NULL would be in place
    char *from = !send ? nullptr : send->_size > 0 ? static_cast<char *>(send->_data) : &nothing;
    char *to = recv ? static_cast<char *>(recv->_data) : nullptr;
    if (kind != PG_MPI_REDUCE_SCATTER)
      return pieces(request, sides, kind, root, from, to, a._size, o);
    const std::vector<int64_t> counts = parts_of_reduction();
    if (a._size <= most_elements) {
      const std::vector<int> small(counts.begin(), counts.end());
      sides.recv.small_counts = small;
      const int *n = sides.recv.small_counts.data();
      const MPI_Datatype type = basic_type(a._dtype);
      void *give = from ? from : MPI_IN_PLACE;
      require(request ? MPI_Ireduce_scatter(give, to, n, type, o, comm->comm, request)
                      : MPI_Reduce_scatter(give, to, n, type, o, comm->comm),
              name(), comm);
      return;
    }
    // Each rank's part is a reduction of which it is the root. In place it is in its own place first.
    int64_t at = 0;
    for (int r = 0; r < comm->size; at += counts[static_cast<std::size_t>(r++)]) {
      const int64_t n = counts[static_cast<std::size_t>(r)];
      char *part = (from ? from : to) + at * size;
      const bool mine = r == comm->rank;
      if (!mine)
        pieces(request, sides, PG_MPI_REDUCE, r, part, nullptr, n, o);
      else if (from)
        pieces(request, sides, PG_MPI_REDUCE, r, part, to, n, o);
      else
        pieces(request, sides, PG_MPI_REDUCE, r, nullptr, part, n, o);
      if (mine && !from) {
        sides.move_from = part;
        sides.move_to = to;
        sides.move_bytes = static_cast<std::size_t>(n * size);
      }
    }
    if (!request)
      sides.done();
  }

  // `from` NULL: in place.
  void pieces(MPI_Request *request, Sides &sides, int32_t what, int to_rank, char *from, char *to, int64_t n,
              MPI_Op o) const {
    const pg_array &a = send ? *send : *recv;
    const MPI_Datatype type = basic_type(a._dtype);
    const MPI_Comm c = comm->comm;
    const auto size = static_cast<int64_t>(array::element_size(a._dtype));
    const int64_t piece = n <= most_elements ? n : most_elements / 2 + 1;
    int64_t at = 0;
    do {
      const auto count = static_cast<int>(std::min(piece, n - at));
      void *give = from ? static_cast<void *>(from + at * size) : MPI_IN_PLACE, *take = to ? to + at * size : nullptr;
      MPI_Request *r = request;
      if (request && *request != MPI_REQUEST_NULL) {
        sides.requests.push_back(MPI_REQUEST_NULL);
        r = &sides.requests.back();
      }
      int result;
      switch (what) {
      case PG_MPI_REDUCE:
        result = r ? MPI_Ireduce(give, take, count, type, o, to_rank, c, r)
                   : MPI_Reduce(give, take, count, type, o, to_rank, c);
        break;
      case PG_MPI_ALLREDUCE:
        result = r ? MPI_Iallreduce(give, take, count, type, o, c, r) : MPI_Allreduce(give, take, count, type, o, c);
        break;
      case PG_MPI_SCAN:
        result = r ? MPI_Iscan(give, take, count, type, o, c, r) : MPI_Scan(give, take, count, type, o, c);
        break;
      default:
        result = r ? MPI_Iexscan(give, take, count, type, o, c, r) : MPI_Exscan(give, take, count, type, o, c);
      }
      require(result, name(), comm);
      at += piece;
    } while (at < n);
  }

  // v forms with more elements than MPI's counts and places hold.
  void make_large(MPI_Request *request, Sides &sides) const {
    sides.out = std::make_unique<Parts>(*comm);
    sides.in = std::make_unique<Parts>(*comm);
    sides.send = cut(send_is_cut() ? send : nullptr, send_counts);
    sides.recv = cut(recv_is_cut() ? recv : nullptr, recv_counts);
    const bool in_place = kind == PG_MPI_SCATTERV ? is_root() && !recv : !send;
    for (int r = 0; r < comm->size; ++r) {
      const auto i = static_cast<std::size_t>(r), me = static_cast<std::size_t>(comm->rank);
      if (in_place && r == comm->rank) // its part is there
        continue;
      if (!sides.send.counts.empty())
        sides.out->set(r, send->_data, sides.send.places[i], sides.send.counts[i], basic_type(send->_dtype));
      else if (send && (root < 0 || r == root))
        sides.out->set(r, layout_of(name(), *send, false));
      else if (kind == PG_MPI_ALLGATHERV)
        sides.out->set(r, recv->_data, sides.recv.places[me], sides.recv.counts[me], basic_type(recv->_dtype));
      if (!sides.recv.counts.empty())
        sides.in->set(r, recv->_data, sides.recv.places[i], sides.recv.counts[i], basic_type(recv->_dtype));
      else if (recv && r == root)
        sides.in->set(r, layout_of(name(), *recv, true));
    }
    require(exchange(*sides.out, *sides.in, comm->comm, request), name(), comm);
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
                          const int64_t *recv_counts) {
  return guard_pending([&] {
    Call call{kind % PG_MPI_VALUES,
              op,
              -1,
              (kind & PG_MPI_VALUES) != 0,
              (kind & PG_MPI_LARGE) != 0,
              &checked(comm),
              send,
              recv,
              send_counts,
              recv_counts};
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
    for (const pg_array *a : {send, recv})
      if (a)
        sides->arrays.push_back(array::share(*a));
    if (checks()) {
      Signature mine = call.signature();
      mine.kind += begun_kind;
      sides->begin(*call.comm, mine);
    }
    MPI_Request handle = MPI_REQUEST_NULL;
    call.make(&handle, *sides);
    *request = {};
    request->_comm = comm;
    request->_kind = PG_MPI_COLLECTIVE;
    request->_peer = no_rank;
    request->_tag = call.kind;
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
