// Sending and receiving, array form; and receives of the table form.
#include "mpi/messages.hpp"

#include <algorithm>
#include <utility>

namespace perigee::mpi {
namespace {

std::string plural(int64_t count, int32_t dtype) {
  return std::to_string(count) + " " + array::dtype_name(dtype);
}

int64_t bytes_of(const MPI_Status &status) {
  MPI_Count bytes = 0;
  MPI_Get_elements_x(&status, MPI_BYTE, &bytes);
  return bytes;
}

} // namespace

int64_t count_of(const MPI_Status &status, int code) {
  return bytes_of(status) / (code == value_code ? 1 : static_cast<int64_t>(array::element_size(code)));
}

namespace {

// "rank 0 sent 10 float32 with tag 3"
std::string sent_text(const Comm &comm, const MPI_Status &status) {
  const int code = code_of(status.MPI_TAG);
  std::string text = rank_text(comm, status.MPI_SOURCE) + " sent ";
  if (code == value_code) {
    text += "a value of the table form (send)";
  } else {
    text += plural(count_of(status, code), code);
  }
  return text + " with tag " + std::to_string(tag_of(status.MPI_TAG));
}

std::string wanted_text(int code) {
  return code == value_code ? std::string("recv is for values of the table form; receive arrays by Recv")
                            : std::string("this receive is for ") + array::dtype_name(code);
}

[[noreturn]] void wrong_kind(const char *name, const Comm &comm, const MPI_Status &status, int code) {
  const int sent = code_of(status.MPI_TAG);
  throw ArgumentError(std::string(name) + ": " + sent_text(comm, status) + ", and " + wanted_text(code) +
                      (sent == value_code && code != value_code ? "; receive it by recv" : ""));
}

int other_rank(int32_t peer) {
  return peer == MPI_PROC_NULL ? PG_MPI_PROC_NULL : peer == MPI_ANY_SOURCE ? PG_MPI_ANY : peer;
}

// ---------------------------------------------------------------------------------------------------------- sends ----
struct Send final : Blocked {
  MPI_Request request = MPI_REQUEST_NULL;
  bool poll() override {
    int flag = 0;
    require(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), operation, comm, peer);
    return flag != 0;
  }
  void abandon() noexcept override {
    if (request != MPI_REQUEST_NULL)
      MPI_Request_free(&request); // MPI cannot take back what was offered
  }
} sending;

struct Recv final : Blocked {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Status status{};
  int code = MPI_SUCCESS;
  Receive wanted{};
  pg_mpi_found *found = nullptr;
  bool poll() override {
    int flag = 0;
    code = MPI_Test(&request, &flag, &status);
    return flag != 0 || code != MPI_SUCCESS;
  }
  void done() override { received(*found, wanted, code, status); }
  void describe() override { prepare(*this, wanted.name, *wanted.comm, wanted.peer, wanted.tag); }
  void diagnose() override { look_for_others(wanted.name, *comm, wanted.peer, wanted.tag, wanted.dtype); }
  void abandon() noexcept override {
    if (request != MPI_REQUEST_NULL) {
      MPI_Cancel(&request);
      MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
  }
} receiving;

struct SendRecv final : Blocked {
  bool poll() override {
    if (sending.request != MPI_REQUEST_NULL)
      sending.poll();
    if (!here)
      here = receiving.poll();
    return here && sending.request == MPI_REQUEST_NULL;
  }
  void done() override { receiving.done(); }
  void describe() override {
    const Receive &wanted = receiving.wanted;
    prepare(*this, wanted.name, *wanted.comm, wanted.peer, wanted.tag);
  }
  void diagnose() override {
    if (!here)
      receiving.diagnose();
  }
  void abandon() noexcept override {
    if (!here)
      receiving.abandon();
    sending.abandon();
  }
  bool here = false;
} exchanging;

constexpr pg_mpi_found of_nobody{PG_MPI_PROC_NULL, PG_MPI_ANY, 0, 1, 0};

} // namespace

MPI_Request start_send(const char *name, const Comm &c, const pg_array &a, int32_t dest, int32_t tag, int32_t mode) {
  const Layout layout = layout_of(name, a, false);
  MPI_Request request;
  const auto call = mode == PG_MPI_SYNCHRONOUS ? MPI_Issend : MPI_Isend;
  require(call(layout.data, layout.count, layout.type, dest, wire_tag(tag, a._dtype), c.comm, &request), name, &c,
          dest);
  return request;
}

MPI_Request start_recv(const Comm &c, const pg_array &a, const Receive &wanted) {
  const Layout layout = layout_of(wanted.name, a, true);
  MPI_Request request;
  const int tag = wanted.tag == MPI_ANY_TAG ? MPI_ANY_TAG : wire_tag(wanted.tag, a._dtype);
  require(MPI_Irecv(layout.data, layout.count, layout.type, wanted.peer, tag, c.comm, &request), wanted.name, &c,
          wanted.peer);
  return request;
}

void want(Receive &out, const char *name, const Comm &c, const pg_array &a, double source, double tag,
          int32_t partial) {
  check_array(name, a, true);
  out.name = name;
  out.comm = &c;
  out.peer = check_rank(name, c, source, "the source", true, true);
  out.tag = check_tag(name, tag, true);
  out.dtype = a._dtype;
  out.partial = partial != 0;
  out.expected = a._size;
  out.bytes = static_cast<std::size_t>(a._size) * array::element_size(a._dtype);
}

void prepare(Blocked &wait, const char *name, const Comm &c, int32_t peer, int32_t tag) {
  wait.operation = name;
  wait.comm = &c;
  wait.peer = other_rank(peer);
  wait.tag = tag == MPI_ANY_TAG ? -1 : tag;
}

// (Written in place, as want() does: a copy of what was just written in smaller pieces waits for it, 5 ns each.)
void received(pg_mpi_found &out, const Receive &wanted, int code, const MPI_Status &status) {
  if (wanted.peer == MPI_PROC_NULL) {
    out = of_nobody;
    return;
  }
  const Comm &c = *wanted.comm;
  int kind = code;
  if (code != MPI_SUCCESS)
    MPI_Error_class(code, &kind);
  if (kind == MPI_ERR_TRUNCATE) {
    // (Open MPI tells how long the message is, though no standard says so.)
    throw ArgumentError(std::string(wanted.name) + ": " + sent_text(c, status) +
                        ", more than this array holds, which is " + plural(wanted.expected, wanted.dtype) +
                        "; probe says how much a message has");
  }
  require(code, wanted.name, &c, other_rank(wanted.peer));
  if (code_of(status.MPI_TAG) != wanted.dtype) [[unlikely]]
    wrong_kind(wanted.name, c, status, wanted.dtype);
  // (MPI_Get_count divides: 4 ns.)
  const int64_t count = status._ucount == wanted.bytes ? wanted.expected : count_of(status, wanted.dtype);
  if (count != wanted.expected && !wanted.partial) [[unlikely]]
    throw ArgumentError(std::string(wanted.name) + ": " + rank_text(c, status.MPI_SOURCE) + " sent " +
                        plural(count, wanted.dtype) + " with tag " + std::to_string(tag_of(status.MPI_TAG)) +
                        ", and this array holds " + std::to_string(wanted.expected) +
                        "; receive into a part of it, or allow it by {partial = true}");
  out.source = status.MPI_SOURCE;
  out.tag = tag_of(status.MPI_TAG);
  out.dtype = wanted.dtype;
  out.found = 1;
  out.count = count;
}

void look_for_others(const char *name, const Comm &comm, int32_t peer, int32_t tag, int code) {
  match_values(false);
  if (tag == MPI_ANY_TAG || peer == MPI_PROC_NULL)
    return;
  for (int other = 0; other <= value_code; ++other) {
    if (other == code || (other >= array::dtype_count && other != value_code))
      continue;
    int flag = 0;
    MPI_Status status;
    require(MPI_Iprobe(peer, wire_tag(tag, other), comm.comm, &flag, &status), "MPI_Iprobe", &comm, peer);
    if (flag)
      wrong_kind(name, comm, status, code);
  }
}

// ------------------------------------------------------------------------------------------------ the table form -----
std::vector<pg_mpi_request *> expected_values;

namespace {
// Takes the message for a receive if it is there. `quiet`: one of another kind is left for who waits for it to complain
// of.
bool match(pg_mpi_request &r, bool quiet) {
  auto &value = static_cast<ValueReceive &>(*extra_of(r));
  const Comm &c = static_cast<const Comm &>(*r._comm);
  int flag = 0;
  MPI_Status status;
  MPI_Message message;
  int source = r._peer, tag = r._tag;
  if (tag == MPI_ANY_TAG) {
    require(MPI_Iprobe(source, MPI_ANY_TAG, c.comm, &flag, &status), "recv", &c, source);
    if (!flag)
      return false;
    if (code_of(status.MPI_TAG) != value_code) {
      if (quiet)
        return false;
      wrong_kind("recv", c, status, value_code);
    }
    source = status.MPI_SOURCE;
    tag = status.MPI_TAG;
  } else {
    tag = wire_tag(tag, value_code);
  }
  require(MPI_Improbe(source, tag, c.comm, &flag, &message, &status), "recv", &c, source);
  if (!flag)
    return false;
  value.size = count_of(status, value_code);
  value.bytes = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(std::max<int64_t>(value.size, 1)));
  value.found = {status.MPI_SOURCE, tag_of(status.MPI_TAG), -1, 1, value.size};
  value.matched = true;
  const Layout layout = bytes_layout(value.bytes.get(), value.size);
  require(MPI_Imrecv(layout.data, layout.count, layout.type, &message, &value.request), "recv", &c, source);
  return true;
}
} // namespace

ValueReceive::~ValueReceive() {
  if (request != MPI_REQUEST_NULL)
    MPI_Wait(&request, MPI_STATUS_IGNORE); // it has been matched, and comes
}

void expect_value(pg_mpi_request &r) {
  r._extra = new ValueReceive;
  expected_values.push_back(&r);
}

void forget_value(pg_mpi_request &r) {
  expected_values.erase(std::remove(expected_values.begin(), expected_values.end(), &r), expected_values.end());
}

// Whether some message would do for both.
static bool overlap(const pg_mpi_request &a, const pg_mpi_request &b) {
  return a._comm == b._comm && (a._peer == b._peer || a._peer == MPI_ANY_SOURCE || b._peer == MPI_ANY_SOURCE) &&
         (a._tag == b._tag || a._tag == MPI_ANY_TAG || b._tag == MPI_ANY_TAG);
}

void match_values(bool quiet) {
  for (std::size_t i = 0; i < expected_values.size();) {
    // A message that has come since an earlier receive was tried is that one's.
    bool others = false;
    for (std::size_t j = 0; j < i && !others; ++j)
      others = overlap(*expected_values[j], *expected_values[i]);
    if (!others && match(*expected_values[i], quiet))
      expected_values.erase(expected_values.begin() + static_cast<std::ptrdiff_t>(i));
    else
      ++i;
  }
}

bool poll_value(pg_mpi_request &r) {
  auto &value = static_cast<ValueReceive &>(*extra_of(r));
  if (!value.matched)
    match_values(false);
  if (!value.matched)
    return false;
  if (!value.here) {
    int flag = 0;
    require(MPI_Test(&value.request, &flag, MPI_STATUS_IGNORE), "recv", static_cast<const Comm *>(r._comm),
            value.found.source);
    value.here = flag != 0;
    if (value.here)
      r.found = value.found;
  }
  return value.here;
}

} // namespace perigee::mpi

using namespace perigee;
using namespace perigee::mpi;

int32_t pg_mpi_send(pg_mpi_comm *comm, const pg_array *a, double dest, double tag, int32_t mode) {
  return guard_pending([&] {
    const char *name = mode == PG_MPI_SYNCHRONOUS ? "Ssend" : "Send";
    const Comm &c = checked(comm);
    check_array(name, *a, false);
    const int32_t to = check_rank(name, c, dest, "the destination", false, true), t = check_tag(name, tag, false);
    sending.request = start_send(name, c, *a, to, t, mode);
    if (sending.request == over)
      return static_cast<int32_t>(PG_OK);
    prepare(sending, name, c, to, t);
    return run(sending);
  });
}

int32_t pg_mpi_recv(pg_mpi_found *out, pg_mpi_comm *comm, const pg_array *a, double source, double tag,
                    int32_t partial) {
  return guard_pending([&] {
    const Comm &c = checked(comm);
    want(receiving.wanted, "Recv", c, *a, source, tag, partial);
    receiving.request = start_recv(c, *a, receiving.wanted);
    receiving.found = out;
    return run(receiving);
  });
}

int32_t pg_mpi_sendrecv(pg_mpi_found *out, pg_mpi_comm *comm, const pg_array *send, double dest, double send_tag,
                        const pg_array *recv, double source, double recv_tag, int32_t partial) {
  return guard_pending([&] {
    const char *name = "Sendrecv";
    const Comm &c = checked(comm);
    check_array(name, *send, false);
    const int32_t to = check_rank(name, c, dest, "the destination", false, true), t = check_tag(name, send_tag, false);
    want(receiving.wanted, name, c, *recv, source, recv_tag, partial);
    receiving.request = start_recv(c, *recv, receiving.wanted);
    receiving.found = out;
    prepare(receiving, name, c, receiving.wanted.peer, receiving.wanted.tag);
    exchanging.here = false;
    try {
      sending.request = start_send(name, c, *send, to, t, PG_MPI_STANDARD);
      prepare(sending, name, c, to, t);
    } catch (...) {
      receiving.abandon();
      throw;
    }
    return run(exchanging);
  });
}
