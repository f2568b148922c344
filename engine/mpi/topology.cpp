// Communicators made from others: copies, parts, grids. MPI's calls here block; the ranks have agreed on them before
// (pg_mpi_agree), so all are about to make them.
#include "mpi/mpi.hpp"

#include <cmath>

namespace perigee::mpi {
namespace {

pg_mpi_comm *adopted(MPI_Comm made, const char *what) {
  if (made == MPI_COMM_NULL)
    return nullptr;
  int size = 0;
  MPI_Comm_size(made, &size);
  return &adopt(made, std::string(what) + " of " + std::to_string(size) + (size == 1 ? " rank" : " ranks"));
}

int to_int(const char *name, const char *what, double x, double least) {
  if (!(x >= least && x <= INT32_MAX) || x != std::floor(x))
    throw ArgumentError(std::string(name) + ": " + what + " must be an integer" + (least == 0 ? ", 0 or more" : "") +
                        ", got " + std::to_string(x));
  return static_cast<int>(x);
}

int from_mpi(int rank) {
  return rank == MPI_PROC_NULL ? PG_MPI_PROC_NULL : rank;
}

} // namespace
} // namespace perigee::mpi

using namespace perigee;
using namespace perigee::mpi;

int32_t pg_mpi_dup(pg_mpi_comm **out, pg_mpi_comm *comm) {
  return guard([&] {
    MPI_Comm made;
    require(MPI_Comm_dup(checked(comm).comm, &made), "dup");
    *out = adopted(made, "a copy");
  });
}

int32_t pg_mpi_split(pg_mpi_comm **out, pg_mpi_comm *comm, double color, double key) {
  return guard([&] {
    const Comm &c = checked(comm);
    MPI_Comm made;
    const int mine = color == -1 ? MPI_UNDEFINED : to_int("split", "the color", color, 0);
    require(MPI_Comm_split(c.comm, mine, to_int("split", "the key", key, -INT32_MAX), &made), "split");
    *out = adopted(made, "a part");
  });
}

int32_t pg_mpi_split_shared(pg_mpi_comm **out, pg_mpi_comm *comm) {
  return guard([&] {
    MPI_Comm made;
    const Comm &c = checked(comm);
    require(MPI_Comm_split_type(c.comm, MPI_COMM_TYPE_SHARED, c.rank, MPI_INFO_NULL, &made), "split_shared");
    *out = adopted(made, "a host");
  });
}

int32_t pg_mpi_free(pg_mpi_comm *comm) {
  return guard([&] {
    Comm &c = checked(comm);
    if (c.comm == MPI_COMM_WORLD || c.comm == MPI_COMM_SELF)
      throw ArgumentError("free: the world and mpi.self stay until the end");
    c.open = c.inner->open = 0;
    require(MPI_Comm_free(&c.shadow), "free");
    require(MPI_Comm_free(&c.comm), "free");
  });
}

int32_t pg_mpi_world_rank(const pg_mpi_comm *comm, int32_t rank) {
  return static_cast<const Comm *>(comm)->world[static_cast<std::size_t>(rank)];
}

int32_t pg_mpi_dims(int32_t ranks, int32_t ndims, int32_t *dims) {
  return guard([&] { require(MPI_Dims_create(ranks, ndims, dims), "dims_create"); });
}

int32_t pg_mpi_cart(pg_mpi_comm **out, pg_mpi_comm *comm, int32_t ndims, const int32_t *dims, const int32_t *periods,
                    int32_t reorder) {
  return guard([&] {
    MPI_Comm made;
    require(MPI_Cart_create(checked(comm).comm, ndims, dims, periods, reorder, &made), "create_cart");
    *out = adopted(made, "a grid");
  });
}

int32_t pg_mpi_cart_coords(int32_t *coords, pg_mpi_comm *comm, int32_t rank, int32_t ndims) {
  return guard([&] { require(MPI_Cart_coords(checked(comm).comm, rank, ndims, coords), "coords_of"); });
}

int32_t pg_mpi_cart_rank(int32_t *rank, pg_mpi_comm *comm, const int32_t *coords) {
  return guard([&] { require(MPI_Cart_rank(checked(comm).comm, coords, rank), "rank_of"); });
}

int32_t pg_mpi_cart_shift(int32_t *source, int32_t *dest, pg_mpi_comm *comm, int32_t dimension, double displacement) {
  return guard([&] {
    require(MPI_Cart_shift(checked(comm).comm, dimension, to_int("shift", "the displacement", displacement, -INT32_MAX),
                           source, dest),
            "shift");
    *source = from_mpi(*source);
    *dest = from_mpi(*dest);
  });
}

int32_t pg_mpi_cart_sub(pg_mpi_comm **out, pg_mpi_comm *comm, const int32_t *keep) {
  return guard([&] {
    MPI_Comm made;
    require(MPI_Cart_sub(checked(comm).comm, keep, &made), "sub");
    *out = adopted(made, "a slice of a grid");
  });
}
