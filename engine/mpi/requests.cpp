// Operations that do not block: their beginning, tests, waits; and probes.
#include "mpi/messages.hpp"

#include <algorithm>

namespace perigee::mpi {
namespace {

const Comm &comm_of(const pg_mpi_request &r) {
  return static_cast<const Comm &>(*r._comm);
}

void begin(pg_mpi_request &r, pg_mpi_comm *comm, int32_t kind, int32_t peer, int32_t tag) {
  r = {};
  r._comm = comm;
  r._kind = kind;
  r._peer = peer;
  r._tag = tag;
}

const char *name_of(const pg_mpi_request &r) {
  switch (r._kind) {
  case PG_MPI_SEND:
    return "Isend";
  case PG_MPI_RECV:
    return "Irecv";
  case PG_MPI_SEND_VALUE:
    return "isend";
  case PG_MPI_RECV_VALUE:
    return "irecv";
  default:
    return begun_name(r._tag);
  }
}

// Of a request whose array a script may release.
struct Kept final : Extra {
  explicit Kept(const pg_array &a) : array(array::share(a)) {}
  array::Array array;
};

struct Joined final : Begun {
  std::vector<pg_mpi_request *> parts;
  void give_up() noexcept override {
    for (pg_mpi_request *part : parts)
      if (part->_kind == PG_MPI_RECV_VALUE && !part->done)
        forget_value(*part);
  }
  bool poll() override {
    // All of them: a send may wait for a receive to be taken. (Those of the table form stay undone until they are
    // taken, and only say so again.)
    return std::count_if(parts.begin(), parts.end(), [](pg_mpi_request *part) { return !poll_request(*part); }) == 0;
  }
};

Receive wanted_of(const pg_mpi_request &r) {
  const std::size_t size = r._kind == PG_MPI_RECV ? array::element_size(r._dtype) : 0;
  return {"Irecv",  &comm_of(r),     r._peer,     r._tag,
          r._dtype, r._partial != 0, r._expected, static_cast<std::size_t>(r._expected) * size};
}

struct Requests final : Blocked {
  pg_mpi_request *const *list = nullptr;
  int32_t count = 0;
  bool any = false;
  int32_t first = 0; // of all, those before are done
  int32_t *index = nullptr;
  bool poll() override {
    if (any) {
      bool left = false;
      for (int32_t i = 0; i < count; ++i) {
        if (list[i]->done)
          continue;
        left = true;
        if (poll_request(*list[i])) {
          *index = i;
          return true;
        }
      }
      return !left;
    }
    for (; first < count; ++first)
      if (!list[first]->done && !poll_request(*list[first]))
        return false;
    return true;
  }
  void diagnose() override {
    for (int32_t i = first; i < count; ++i)
      if (!list[i]->done && list[i]->_kind == PG_MPI_RECV)
        look_for_others("Irecv", comm_of(*list[i]), list[i]->_peer, list[i]->_tag, list[i]->_dtype);
  }
  // What it waits for first.
  void describe() override {
    operation = "wait";
    comm = nullptr;
    for (int32_t i = first; i < count; ++i)
      if (!list[i]->done) {
        operation = name_of(*list[i]);
        if (list[i]->_kind == PG_MPI_COLLECTIVE) {
          comm = &comm_of(*list[i]);
          peer = no_rank;
          tag = -1;
        } else {
          prepare(*this, operation, comm_of(*list[i]), list[i]->_peer, list[i]->_tag);
        }
        return;
      }
  }
} waiting;

bool probe_once(pg_mpi_found &out, const Comm &c, int32_t source, int32_t tag) {
  match_values(false);
  for (int code = 0; code <= value_code; ++code) {
    const bool one = tag == MPI_ANY_TAG;
    if (!one && code >= array::dtype_count && code != value_code)
      continue;
    int flag = 0;
    MPI_Status status;
    require(MPI_Iprobe(source, one ? MPI_ANY_TAG : wire_tag(tag, code), c.comm, &flag, &status), "probe", &c, source);
    if (flag) {
      const int sent = code_of(status.MPI_TAG);
      out = {status.MPI_SOURCE, tag_of(status.MPI_TAG), sent == value_code ? -1 : sent, 1, count_of(status, sent)};
      return true;
    }
    if (one)
      return false;
  }
  return false;
}

struct Probe final : Blocked {
  pg_mpi_found *out = nullptr;
  int32_t source = 0, wanted = 0;
  bool poll() override { return probe_once(*out, *comm, source, wanted); }
} probing;

} // namespace

// Looks whether other ranks have begun the same. Throws where they have not, and then the request is over.
static bool agreed(pg_mpi_request &r, Begun &begun) {
  try {
    return begun.agreed();
  } catch (...) {
    if (begun.differs()) {
      static auto &given_up = *new std::vector<Extra *>; // never freed
      begun.give_up();
      given_up.push_back(&begun);
      r._extra = nullptr;
      r.done = 1;
    }
    throw;
  }
}

bool poll_request(pg_mpi_request &r) {
  if (r.done)
    return true;
  if (r._kind == PG_MPI_RECV_VALUE)
    return poll_value(r); // its bytes are still to be taken
  Extra *extra = extra_of(r);
  auto *begun = r._kind == PG_MPI_COLLECTIVE ? static_cast<Begun *>(extra) : nullptr;
  bool may_end = !begun || agreed(r, *begun);
  MPI_Request handle = handle_of(r);
  MPI_Status status;
  int flag = 0;
  const int code = MPI_Test(&handle, &flag, &status);
  set_handle(r, handle);
  if (code != MPI_SUCCESS) {
    // Where it failed because another rank has begun another call, that is said if it comes.
    for (const int64_t deadline = now() + slice; !may_end && now() < deadline;)
      may_end = agreed(r, *begun);
  } else if (!flag || !may_end || (extra && !extra->poll())) {
    return false;
  }
  if (extra)
    extra->done();
  const Receive wanted = wanted_of(r);
  const int32_t kind = r._kind, peer = r._peer;
  request_ended(r);
  if (kind == PG_MPI_RECV)
    received(r.found, wanted, code, status);
  else
    require(code, name_of(r), &comm_of(r), kind == PG_MPI_COLLECTIVE ? no_rank : peer);
  return true;
}

} // namespace perigee::mpi

using namespace perigee;
using namespace perigee::mpi;

int32_t pg_mpi_isend(pg_mpi_request *out, pg_mpi_comm *comm, const pg_array *a, double dest, double tag, int32_t mode) {
  return guard_pending([&] {
    const char *name = mode == PG_MPI_SYNCHRONOUS ? "Issend" : "Isend";
    const Comm &c = checked(comm);
    check_array(name, *a, false);
    const int32_t to = check_rank(name, c, dest, "the destination", false, true), t = check_tag(name, tag, false);
    const MPI_Request handle = start_send(name, c, *a, to, t, mode);
    begin(*out, comm, PG_MPI_SEND, to, t);
    if (handle != over)
      out->_extra = new Kept(*a);
    set_handle(*out, handle);
    return PG_OK;
  });
}

int32_t pg_mpi_irecv(pg_mpi_request *out, pg_mpi_comm *comm, const pg_array *a, double source, double tag,
                     int32_t partial) {
  return guard_pending([&] {
    const Comm &c = checked(comm);
    Receive wanted;
    want(wanted, "Irecv", c, *a, source, tag, partial);
    const MPI_Request handle = start_recv(c, *a, wanted);
    begin(*out, comm, PG_MPI_RECV, wanted.peer, wanted.tag);
    out->_dtype = wanted.dtype;
    out->_expected = wanted.expected;
    out->_partial = partial;
    out->_extra = new Kept(*a);
    set_handle(*out, handle);
    return PG_OK;
  });
}

int32_t pg_mpi_irecv_value(pg_mpi_request *out, pg_mpi_comm *comm, double source, double tag) {
  return guard_pending([&] {
    const Comm &c = checked(comm);
    const int32_t from = check_rank("irecv", c, source, "the source", true, false), t = check_tag("irecv", tag, true);
    begin(*out, comm, PG_MPI_RECV_VALUE, from, t);
    expect_value(*out);
    return PG_OK;
  });
}

int32_t pg_mpi_probe(pg_mpi_found *out, pg_mpi_comm *comm, double source, double tag, int32_t wait) {
  return guard_pending([&] {
    const char *name = wait ? "probe" : "iprobe";
    const Comm &c = checked(comm);
    probing.source = check_rank(name, c, source, "the source", true, false);
    probing.wanted = check_tag(name, tag, true);
    probing.out = out;
    *out = {};
    prepare(probing, name, c, probing.source, probing.wanted);
    if (wait)
      return run(probing);
    probing.poll();
    return static_cast<int32_t>(PG_OK);
  });
}

int32_t pg_mpi_test(pg_mpi_request *request) {
  return guard_pending([&] {
    require_open();
    if (poll_request(*request))
      request->done = 1;
    return PG_OK;
  });
}

int32_t pg_mpi_wait(int32_t *index, pg_mpi_request *const *requests, int32_t count, int32_t any) {
  return guard_pending([&] {
    require_open();
    waiting.list = requests;
    waiting.count = count;
    waiting.any = any != 0;
    waiting.first = 0;
    waiting.index = index;
    *index = -1;
    return run(waiting);
  });
}

int32_t pg_mpi_cancel(int32_t *cancelled, pg_mpi_request *request) {
  return guard_pending([&] {
    require_open();
    pg_mpi_request &r = *request;
    *cancelled = 0;
    if (r.done)
      return PG_OK;
    if (r._kind == PG_MPI_RECV_VALUE) {
      match_values(false);
      if (static_cast<ValueReceive &>(*extra_of(r)).matched)
        return PG_OK;
      forget_value(r);
    } else if (r._kind == PG_MPI_RECV) {
      MPI_Request handle = handle_of(r);
      MPI_Status status;
      int flag = 0;
      MPI_Cancel(&handle);
      const int code = MPI_Wait(&handle, &status);
      set_handle(r, handle);
      const Receive wanted = wanted_of(r);
      if (code == MPI_SUCCESS)
        MPI_Test_cancelled(&status, &flag);
      if (!flag) {
        request_ended(r);
        received(r.found, wanted, code, status);
        return PG_OK;
      }
    } else {
      throw UnsupportedError("cancel: only receives can be cancelled; wait for this request");
    }
    *cancelled = 1;
    request_ended(r);
    return PG_OK;
  });
}

int32_t pg_mpi_join(pg_mpi_request *out, pg_mpi_comm *comm, int32_t kind, int32_t op, int32_t root,
                    pg_mpi_request *const *parts, int32_t count) {
  return guard_pending([&] {
    auto joined = std::make_unique<Joined>();
    joined->parts.assign(parts, parts + count);
    if (checks())
      joined->begin(checked(comm), {begun_kind + kind, root, op, -1, -1});
    begin(*out, comm, PG_MPI_COLLECTIVE, no_rank, kind);
    out->_extra = joined.release();
    set_handle(*out, MPI_REQUEST_NULL);
    return PG_OK;
  });
}
