// Collective calls that only begin, compared among ranks without waiting for each other (mpi.hpp).
#include "mpi/messages.hpp"

#include <algorithm>
#include <utility>

namespace perigee::mpi {
namespace {

// On the shadow communicator, where only these messages have it.
int said_tag() {
  return wire_tag(1, nobodys_code);
}

// Numbers of the table form's calls (pg_mpi_agree's `what`).
enum { values_bcast = 101, values_scatter, values_gather, values_reduce = 106, values_scan = 108, values_exscan };

// To whom a rank says what it begins, and who says so to it: those without whom its call cannot end.
struct Partners {
  std::vector<int> to, from;
};
Partners partners_of(const Comm &comm, const Signature &what) {
  Partners p;
  auto add = [&](std::vector<int> &list, int rank) {
    if (rank >= 0 && rank < comm.size && rank != comm.rank && std::find(list.begin(), list.end(), rank) == list.end())
      list.push_back(rank);
  };
  auto from_root = [&](std::vector<int> &root_side, std::vector<int> &other_side) {
    if (what.root != comm.rank)
      return add(other_side, what.root);
    for (int r = 0; r < comm.size; ++r)
      if (r != comm.rank)
        root_side.push_back(r);
  };
  switch (what.kind - begun_kind) {
  case PG_MPI_BCAST:
  case PG_MPI_SCATTER:
  case PG_MPI_SCATTERV:
  case values_bcast:
  case values_scatter:
    from_root(p.to, p.from);
    break;
  case PG_MPI_GATHER:
  case PG_MPI_GATHERV:
  case PG_MPI_REDUCE:
  case values_gather:
  case values_reduce:
    from_root(p.from, p.to);
    break;
  case PG_MPI_SCAN:
  case PG_MPI_EXSCAN:
  case values_scan:
  case values_exscan:
    add(p.from, comm.rank - 1);
    add(p.to, comm.rank + 1);
    break;
  case PG_MPI_NEIGHBOR_ALLGATHER:
  case PG_MPI_NEIGHBOR_ALLTOALL: {
    int dimensions = 0;
    MPI_Cartdim_get(comm.comm, &dimensions);
    for (int i = 0; i < dimensions; ++i) {
      int below = MPI_PROC_NULL, above = MPI_PROC_NULL;
      MPI_Cart_shift(comm.comm, i, 1, &below, &above);
      add(p.to, below);
      add(p.to, above);
    }
    p.from = p.to;
    break;
  }
  default: // all need all: in a ring, where some differ, two of them are next to each other
    add(p.to, (comm.rank + 1) % comm.size);
    add(p.from, (comm.rank - 1 + comm.size) % comm.size);
  }
  return p;
}

bool is_out(Calls::Message &message) {
  int flag = 1;
  MPI_Test(&message.request, &flag, MPI_STATUS_IGNORE);
  return flag != 0;
}

Signature &made_call(Calls &calls, int64_t number) {
  return calls.made[static_cast<std::size_t>(number) % calls.made.size()];
}

Said next_call(const Comm &comm, const Signature &mine) {
  Calls &calls = *comm.calls;
  made_call(calls, ++calls.count) = mine;
  return {calls.count, mine, comm.rank};
}

// Compares what was said of a call before this rank came to it.
void compare_early(const Comm &comm) {
  const std::vector<Said> all = std::exchange(comm.calls->early, {});
  for (const Said &said : all)
    compare(comm, said); // those of later calls stay
}

} // namespace

void compare(const Comm &comm, const Said &theirs) {
  Calls &calls = *comm.calls;
  if (theirs.number > calls.count) {
    calls.early.push_back(theirs);
    return;
  }
  for (Begun *call : calls.open)
    if (call->number_ == theirs.number)
      std::erase(call->missing_, theirs.rank);
  if (calls.count - theirs.number >= static_cast<int64_t>(calls.made.size()))
    return; // too long ago
  const Signature &mine = made_call(calls, theirs.number);
  const bool known = std::any_of(calls.differing.begin(), calls.differing.end(),
                                 [&](const auto &d) { return d.mine.number == theirs.number; });
  if (mine != theirs.what && !known)
    calls.differing.push_back({{theirs.number, mine, comm.rank}, theirs});
}

void tell_difference(const Comm &comm, int64_t number) {
  for (Calls::Difference &d : comm.calls->differing)
    if (!d.told && d.mine.number < number) {
      d.told = true;
      calls_differ(comm, d.mine, d.theirs);
    }
}

void note_call(const Comm &comm, const Signature &mine) {
  const int64_t number = next_call(comm, mine).number;
  if (!comm.calls->early.empty()) [[unlikely]] {
    compare_early(comm);
    tell_difference(comm, number + 1);
  }
}

void hear(const Comm &comm) {
  for (int flag = 1; flag;) {
    MPI_Message message;
    MPI_Status status;
    require(MPI_Improbe(MPI_ANY_SOURCE, said_tag(), comm.shadow, &flag, &message, &status), "MPI_Improbe", &comm);
    if (!flag)
      break;
    Said said;
    require(MPI_Mrecv(&said, sizeof said, MPI_BYTE, &message, MPI_STATUS_IGNORE), "MPI_Mrecv", &comm);
    compare(comm, said);
  }
}

Begun::~Begun() {
  if (comm_)
    std::erase(comm_->calls->open, this);
}

void Begun::begin(const Comm &comm, const Signature &mine) {
  comm_ = &comm;
  Calls &calls = *comm.calls;
  const Said said = next_call(comm, mine);
  number_ = said.number;
  Partners partners = partners_of(comm, mine);
  missing_ = std::move(partners.from);
  calls.open.push_back(this);
  calls.sent.remove_if(is_out);
  for (const int rank : partners.to) {
    Calls::Message &message = calls.sent.emplace_back(Calls::Message{said, MPI_REQUEST_NULL});
    require(MPI_Isend(&message.said, sizeof message.said, MPI_BYTE, rank, said_tag(), comm.shadow, &message.request),
            "MPI_Isend", &comm, rank);
    if (message.request == over)
      calls.sent.pop_back();
  }
  // (What differs is for its wait to say: MPI's call is made all the same, as it counts them, too.)
  compare_early(comm);
}

bool Begun::differs() const {
  const auto &all = comm_->calls->differing;
  return std::any_of(all.begin(), all.end(), [&](const auto &d) { return d.mine.number == number_; });
}

bool Begun::agreed() {
  if (!comm_ || (missing_.empty() && comm_->calls->differing.empty()))
    return true;
  hear(*comm_);
  for (Calls::Difference &d : comm_->calls->differing)
    if (d.mine.number == number_) {
      d.told = true;
      calls_differ(*comm_, d.mine, d.theirs);
    }
  tell_difference(*comm_, number_);
  return missing_.empty();
}

} // namespace perigee::mpi
