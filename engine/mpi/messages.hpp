// Point to point: what messages.cpp and requests.cpp share.
#pragma once

#include "mpi/mpi.hpp"

#include <memory>

namespace perigee::mpi {

// MPI's handle in the struct that Lua holds.
inline MPI_Request handle_of(const pg_mpi_request &r) {
  static_assert(sizeof(MPI_Request) <= sizeof r._handle);
  MPI_Request handle;
  std::memcpy(&handle, &r._handle, sizeof handle);
  return handle;
}
inline void set_handle(pg_mpi_request &r, MPI_Request handle) {
  r._handle = 0;
  std::memcpy(&r._handle, &handle, sizeof handle);
}

// A receive of the array form, as it was asked for.
struct Receive {
  const char *name;
  const Comm *comm;
  int32_t peer, tag; // pg_mpi_special or MPI's own
  int32_t dtype;
  bool partial;
  int64_t expected;  // elements
  std::size_t bytes; // the same
};
// What has come, or throws: truncated, of another dtype, too short.
void received(pg_mpi_found &out, const Receive &wanted, int code, const MPI_Status &status);
// Elements of a dtype, or bytes of the table form, that a message has.
int64_t count_of(const MPI_Status &status, int code);
// Throws where a message is there that only differs from what is wanted in what it holds. `code`: wanted.
void look_for_others(const char *name, const Comm &comm, int32_t peer, int32_t tag, int code);

// A message of the table form on its way in.
struct ValueReceive final : Extra {
  ~ValueReceive() override;
  std::unique_ptr<char[]> bytes;
  int64_t size = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  bool matched = false, here = false;
  pg_mpi_found found{};
};
// Adds a receive of the table form to those that wait for a message, and takes it off.
void expect_value(pg_mpi_request &r);
void forget_value(pg_mpi_request &r);
bool poll_value(pg_mpi_request &r);

// Starts them, for functions that wait and those that do not.
void want(Receive &out, const char *name, const Comm &c, const pg_array &a, double source, double tag, int32_t partial);
MPI_Request start_send(const char *name, const Comm &c, const pg_array &a, int32_t dest, int32_t tag, int32_t mode);
MPI_Request start_recv(const Comm &c, const pg_array &a, const Receive &wanted);
// Says what a wait waits for.
void prepare(Blocked &wait, const char *name, const Comm &c, int32_t peer, int32_t tag);

// "Ibcast", of a collective call's request.
const char *begun_name(int32_t kind);
// Looks once; throws where it failed.
bool poll_request(pg_mpi_request &r);

} // namespace perigee::mpi
