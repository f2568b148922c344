// Parts of any length to and from all ranks at once (mpi.hpp).
#include "mpi/mpi.hpp"

namespace perigee::mpi {

Parts::Parts(const Comm &comm)
    : counts_(static_cast<std::size_t>(comm.size)), places_(counts_.size()), types_(counts_.size(), MPI_BYTE) {}

Parts::~Parts() {
  for (MPI_Datatype &type : made_)
    MPI_Type_free(&type);
}

void Parts::set(int rank, const Layout &whole) {
  const auto i = static_cast<std::size_t>(rank);
  data_ = whole.data;
  counts_[i] = whole.count;
  types_[i] = whole.type;
}

void Parts::set(int rank, void *data, int64_t offset, int64_t count, MPI_Datatype basic) {
  if (count == 0)
    return;
  made_.push_back(placed_type(offset, count, basic));
  set(rank, {data, 1, made_.back()});
}

int exchange(const Parts &send, const Parts &recv, MPI_Comm comm, MPI_Request *request) {
  const auto &s = send, &r = recv;
  if (request)
    return MPI_Ialltoallw(s.data_, s.counts_.data(), s.places_.data(), s.types_.data(), r.data_, r.counts_.data(),
                          r.places_.data(), r.types_.data(), comm, request);
  return MPI_Alltoallw(s.data_, s.counts_.data(), s.places_.data(), s.types_.data(), r.data_, r.counts_.data(),
                       r.places_.data(), r.types_.data(), comm);
}

} // namespace perigee::mpi
