// What the files of this folder share: communicators, waits, layouts of arrays in MPI's terms, errors.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"
#include "mpi/board.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "mpi/mpi_abi.h"
}
#pragma GCC visibility pop

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <compare>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <vector>

namespace perigee::mpi {

struct Calls;
struct Comm : pg_mpi_comm {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm shadow = MPI_COMM_NULL; // the same ranks: agreements, and what table forms of collectives send
  std::unique_ptr<Comm> inner;     // the shadow as a communicator
  std::vector<int> world;          // rank in the world of each rank
  std::unique_ptr<Calls> calls;    // that ranks compare
  std::string name;
};

// Throws where MPI refused, with its words. `peer`: a rank of the communicator, or pg_mpi_special, or none.
constexpr int32_t no_rank = -1000;
void require(int result, const char *call, const Comm *comm = nullptr, int32_t peer = no_rank);
// Throws where MPI is not there for this thread.
void require_open();
Comm &checked(pg_mpi_comm *comm);
// Adds a communicator that this rank is in; takes it over.
Comm &adopt(MPI_Comm comm, std::string name);
// "rank 3", and its rank in the world where that differs.
std::string rank_text(const Comm &comm, int32_t rank);

// ------------------------------------------------------------------------------------------------------- layouts -----
// Messages tell what they hold by the upper bits of their tag on the wire: the dtype, or that they are of the table
// form. So a receive of another dtype does not match, which MPI would not notice, and costs nothing.
constexpr int value_code = 15;   // of the table form
constexpr int nobodys_code = 14; // no message of a script has it
// What follows is in every message's path: set once, when MPI begins (prepare_types), and inline.
extern struct Tags {
  int bits, most; // of the script's tags
} tags;
extern MPI_Datatype basic_types[array::dtype_count];
extern int64_t most_elements; // that MPI's calls count, in an int; tests have less
extern MPI_Request over;      // what MPI_Isend gives where nothing is left to wait for; MPI_REQUEST_NULL: not known
void prepare_types();
inline int wire_tag(int tag, int code) {
  return tag | code << tags.bits;
}
inline int tag_of(int wire) {
  return wire & tags.most;
}
inline int code_of(int wire) {
  return wire >> tags.bits;
}
inline MPI_Datatype basic_type(int32_t dtype) {
  return basic_types[dtype];
}

// An array as MPI takes it. The type is a basic one or lives in a cache.
struct Layout {
  void *data;
  int count;
  MPI_Datatype type;
};
// Strided views by derived types. `write`: refuses what cannot be written.
Layout layout_of_view(const char *name, const pg_array &a, bool write);
inline Layout layout_of(const char *name, const pg_array &a, bool write) {
  if (a._ndim == 1 && a._strides[0] == 1 && a._size <= most_elements) [[likely]]
    return {a._data, static_cast<int>(a._size), basic_type(a._dtype)};
  return layout_of_view(name, a, write);
}
// So many elements of a basic type in one piece, however many.
Layout layout_of(void *data, int64_t count, MPI_Datatype basic);
// So many bytes.
inline Layout bytes_layout(const void *data, int64_t size) {
  return layout_of(const_cast<void *>(data), size, MPI_BYTE);
}
// So many elements of a basic type from an offset (in elements) on: a type that the caller frees, with the place in it.
MPI_Datatype placed_type(int64_t offset, int64_t count, MPI_Datatype basic);
void forget_types();
void forget_windows(); // at the end: lets go of their arrays
MPI_Op operation(const char *name, int32_t op, int32_t dtype);
const char *operation_name(int32_t op);

[[noreturn]] void refuse_array(const char *name, const pg_array &a);
inline void check_array(const char *name, const pg_array &a, bool write) {
  if ((!a._data && !a._block) || a._device != 0 || (write && (a._flags & PG_ARRAY_READONLY))) [[unlikely]]
    refuse_array(name, a);
}
// Ranks and tags that are none, or special.
int32_t check_other_rank(const char *name, const Comm &comm, double rank, const char *what, bool any, bool none);
int32_t check_other_tag(const char *name, double tag, bool any);
inline int32_t check_rank(const char *name, const Comm &comm, double rank, const char *what, bool any, bool none) {
  if (rank >= 0 && rank < comm.size && static_cast<int32_t>(rank) == rank) [[likely]]
    return static_cast<int32_t>(rank);
  return check_other_rank(name, comm, rank, what, any, none);
}
inline int32_t check_tag(const char *name, double tag, bool any) {
  if (tag >= 0 && tag <= tags.most && static_cast<int32_t>(tag) == tag) [[likely]]
    return static_cast<int32_t>(tag);
  return check_other_tag(name, tag, any);
}

// --------------------------------------------------------------------------------------------------------- waits -----
// Something that is waited for in slices. There is one such wait at a time, and it outlives its slices.
class Blocked {
 public:
  virtual ~Blocked() = default;
  // Whether it is over; throws where it failed.
  virtual bool poll() = 0;
  // Once it is over.
  virtual void done() {}
  // Says what it waits for, in the fields below: once it takes long.
  virtual void describe() {}
  // Looks why it takes so long; throws where that will never end.
  virtual void diagnose() {}
  // Gives it up.
  virtual void abandon() noexcept {}

  const char *operation = "";
  const Comm *comm = nullptr;
  int32_t peer = no_rank, tag = -1;
};

// Receives of the table form that have no message yet, in the order in which they were posted; and gives messages that
// have come to them. Whoever waits does so: their senders may wait for that.
extern std::vector<pg_mpi_request *> expected_values;
void match_values(bool quiet);

// The status of a first slice: PG_OK or PG_MPI_PENDING.
int32_t start_pending(Blocked &wait);
int64_t now();
constexpr int64_t slice = 500'000'000;

// Where ranks share cores, a rank that waits gives its core to the others. Open MPI does so by sched_yield in each of
// its looks, by which Linux (EEVDF, 6.6) takes the rest of a time slice for given up: beside one other busy process
// each wait costs milliseconds, and 4 ranks of a halo exchange on 2 cores take 3 times as long, beside two 4 times.
// Hence in our own loops a rank looks a few times, then yields, and once a yield has lasted for long, it sleeps for
// moments instead, for a while. (Sleeping at once is slower where nothing else runs, by 1.4 times here: a core that is
// idle wakes up slowly.)
class Patience {
 public:
  Patience() {
    if (shares_cores)
      opal_yields(false);
  }
  ~Patience() {
    if (shares_cores)
      opal_yields(true);
  }
  Patience(const Patience &) = delete;
  // After a look in vain.
  void next() {
    if (shares_cores && ++looks_ > 8)
      give_way();
  }
  static bool shares_cores;
  static bool (*opal_yields)(bool); // Open MPI's: whether its looks yield; returns whether they did

 private:
  static void give_way();
  unsigned looks_ = 0;
};

// Polls for a slice at most.
template <class W> int32_t run(W &wait) {
  Patience patience;
  int64_t deadline = 0;
  for (unsigned i = 1;; ++i) {
    if (wait.poll()) {
      wait.done();
      return PG_OK;
    }
    if (!expected_values.empty())
      match_values(true);
    patience.next();
    if (i % 64 == 0) { // of polls that may each give the processor away
      const int64_t time = now();
      if (deadline == 0)
        deadline = time + slice;
      else if (time > deadline)
        return start_pending(wait);
    }
  }
}

// As guard(), for functions that may be pending. A wait that a script gave up is over first.
void abandon_pending() noexcept;
extern Blocked *pending;
template <class Body> int32_t guard_pending(Body &&body, const char *function = __builtin_FUNCTION()) noexcept {
  int32_t result = PG_OK;
  if (pending) [[unlikely]]
    abandon_pending();
  const int32_t status = guard([&] { result = body(); }, function);
  return status != PG_OK ? status : result;
}

// Around a call of MPI's own that blocks: the board shows it at once, since nothing can be asked meanwhile.
class Blocking {
 public:
  Blocking(const char *operation, const Comm &comm, int32_t peer = no_rank);
  ~Blocking();
  Blocking(const Blocking &) = delete;
};

// What requests keep until they are done.
struct Extra {
  virtual ~Extra() = default;
  // Whether what else they are made of is over.
  virtual bool poll() { return true; }
  virtual void done() {}
};
inline Extra *extra_of(const pg_mpi_request &r) {
  return static_cast<Extra *>(r._extra);
}
// It is over.
void request_ended(pg_mpi_request &r);

// ------------------------------------------------------------------------------------------------ larger parts -------
// What MPI's v forms do, for parts that an int does not count: one side of an MPI_Alltoallw, to which each rank gives
// as much and from which it gets as much as it says. (Displacements there are ints too, and in bytes: so each part has
// a type that holds its place.)
class Parts {
 public:
  explicit Parts(const Comm &comm);
  ~Parts();
  Parts(const Parts &) = delete;
  // What goes to a rank, or comes from it; nothing where it is not said.
  void set(int rank, const Layout &whole);
  void set(int rank, void *data, int64_t offset, int64_t count, MPI_Datatype basic);

 private:
  friend int exchange(const Parts &, const Parts &, MPI_Comm, MPI_Request *);
  void *data_ = nullptr;
  std::vector<int> counts_, places_;
  std::vector<MPI_Datatype> types_, made_;
};
// `request` NULL: blocks; else both sides stay until it is done.
int exchange(const Parts &send, const Parts &recv, MPI_Comm comm, MPI_Request *request);

// ---------------------------------------------------------------------------------------------------- agreements -----
// Whether collective calls are compared first.
bool checks();

// What a rank says of its collective call. All must say the same.
struct Signature {
  int32_t kind = 0, root = -1, op = -1, dtype = -1;
  int64_t count = -1;
  auto operator<=>(const Signature &) const = default;
};
constexpr int32_t begun_kind = 1000; // added to the kind of a call that only begins

// What a rank says, and of which of the communicator's calls: all ranks make them in the same order.
struct Said {
  int64_t number = 0;
  Signature what;
  int32_t rank = 0;
};
[[noreturn]] void calls_differ(const Comm &comm, const Said &one, const Said &other);

// What a rank knows of the calls of a communicator that only begin (begun.cpp).
struct Calls {
  int64_t count = 0;               // made by this rank
  std::array<Signature, 64> made;  // the last of them
  std::vector<Said> early;         // of calls that this rank has not come to
  std::vector<class Begun *> open; // under way
  struct Difference {
    Said mine, theirs;
    bool told = false;
  };
  std::vector<Difference> differing;
  struct Message {
    Said said;
    MPI_Request request;
  };
  std::list<Message> sent; // on their way
};
// Counts a call that blocks. Throws where another rank begins one in its place.
void note_call(const Comm &comm, const Signature &mine);
// Takes what others have said, and compares it.
void hear(const Comm &comm);
void compare(const Comm &comm, const Said &theirs);
// Throws where a call before that number differs, once.
void tell_difference(const Comm &comm, int64_t number);

// A collective call that only begins. Nobody waits for its being compared: each rank says what it begins to those ranks
// whose call cannot end without it, by a message that is sent at once. These have it when their call is over, and
// compare.
class Begun : public Extra {
 public:
  Begun() = default;
  Begun(const Begun &) = delete;
  ~Begun() override;
  void begin(const Comm &comm, const Signature &mine);
  // Whether all of those have said the same. Throws where one did not.
  bool agreed();
  bool differs() const;
  // It differs, and nobody will wait for it; what MPI may still write to stays.
  virtual void give_up() noexcept {}

 private:
  friend void compare(const Comm &comm, const Said &theirs);
  const Comm *comm_ = nullptr;
  int64_t number_ = 0;
  std::vector<int> missing_; // ranks
};

// The wait before a collective call: all ranks are there, and make the same call; else all throw the same error, which
// names two that differ. A message to the next rank, then to that 2, 4, 8 ... further (a dissemination barrier). Since
// nobody waits in MPI's own call after it, that may be one which blocks.
class Agreement : public Blocked {
 public:
  void begin(const Comm &c, const char *name, const Signature &mine, int64_t value = 0);
  bool poll() override;
  void diagnose() override {
    hear(*comm);
    tell_difference(*comm, INT64_MAX);
  }
  void abandon() noexcept override;
  int64_t most = 0; // the largest value of any rank

 private:
  struct Claim {
    Signature what;
    int32_t rank;
    auto operator<=>(const Claim &) const = default;
  };
  struct Packet {
    Claim least, last; // in some order: the same, if all say the same
    int64_t most;
  };
  void next_round();
  Packet out_{}, in_{};
  MPI_Request requests_[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
  int32_t step_ = 0;
};

} // namespace perigee::mpi
