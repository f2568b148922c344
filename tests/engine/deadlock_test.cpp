// What the launcher of MPI ranks reads off their wait board.
#include "cli/deadlock.hpp"

#include <catch2/catch.hpp>
#include <stdlib.h>

#include <cstring>

using namespace perigee;
using namespace perigee::cli;
using Kind = Standstill::Kind;

namespace {

constexpr int64_t second = 1000000000;

RankView computing() {
  return {mpi::RankState::running, {}};
}
RankView finalised() {
  return {mpi::RankState::finalised, {}};
}

RankView waiting(const char *operation, int peer, const char *place, int tag = -1, const char *communicator = "world",
                 int64_t since = 0) {
  RankView view{mpi::RankState::waiting, {}};
  view.wait.since = since;
  view.wait.peer = peer;
  view.wait.tag = tag;
  std::strcpy(view.wait.operation, operation);
  std::strcpy(view.wait.communicator, communicator);
  std::strcpy(view.wait.place, place);
  return view;
}

Standstill examined(const std::vector<RankView> &ranks) {
  return examine(ranks, 20 * second, 10 * second);
}

} // namespace

TEST_CASE("deadlock: two ranks that receive from each other", "[deadlock]") {
  const auto found = examined({waiting("recv", 1, "s.lua:7"), waiting("recv", 0, "s.lua:9")});
  CHECK(found.kind == Kind::deadlock);
  CHECK(found.reason == "rank 0 waits to receive from 1 (s.lua:7), rank 1 waits to receive from 0 (s.lua:9): nobody "
                        "sends");
  CHECK(found.table == "  rank 0 waits to receive from 1, world (s.lua:7)\n"
                       "  rank 1 waits to receive from 0, world (s.lua:9)\n");
}

TEST_CASE("deadlock: nobody is accused while one rank computes or has begun to wait", "[deadlock]") {
  CHECK(examined({waiting("recv", 1, "s.lua:7"), computing()}).kind == Kind::none);
  CHECK(examined({waiting("recv", 1, "s.lua:7"), RankView{}}).kind == Kind::none);
  CHECK(examined({waiting("recv", 1, "s.lua:7"), waiting("recv", 0, "s.lua:9", -1, "world", 15 * second)}).kind ==
        Kind::none);
  CHECK(examined({finalised(), finalised()}).kind == Kind::none);
  CHECK(examined({waiting("finalize", mpi::no_peer, ""), waiting("finalize", mpi::no_peer, "")}).kind == Kind::none);
  CHECK(examined({}).kind == Kind::none);
}

TEST_CASE("deadlock: a transfer under way is none", "[deadlock]") {
  CHECK(examined({waiting("Send", 1, "s.lua:7", 3), waiting("Recv", 0, "s.lua:9", 3)}).kind == Kind::transfer);
  CHECK(examined({waiting("Send", 1, "s.lua:7", 3), waiting("Recv", mpi::any_peer, "s.lua:9")}).kind == Kind::transfer);
  CHECK(examined({waiting("sendrecv", 1, "s.lua:7"), waiting("sendrecv", 0, "s.lua:7")}).kind == Kind::transfer);
  CHECK(examined({waiting("bcast", mpi::no_peer, "s.lua:7"), waiting("bcast", mpi::no_peer, "s.lua:8")}).kind ==
        Kind::transfer);
}

TEST_CASE("deadlock: sends in a circle", "[deadlock]") {
  const auto found =
      examined({waiting("Send", 1, "s.lua:4"), waiting("Send", 2, "s.lua:4"), waiting("Send", 0, "s.lua:4")});
  CHECK(found.kind == Kind::deadlock);
  CHECK(found.reason.find("rank 2 waits to send to 0 (s.lua:4): nobody receives") != std::string::npos);
}

TEST_CASE("deadlock: tags and communicators that differ", "[deadlock]") {
  CHECK(examined({waiting("send", 1, "s.lua:4", 3), waiting("recv", 0, "s.lua:6", 4)}).reason ==
        "rank 0 waits to send to 1 with tag 3 (s.lua:4), rank 1 to receive from 0 with tag 4 (s.lua:6): the tags "
        "differ");
  const auto found =
      examined({waiting("send", 1, "s.lua:4", 3), waiting("recv", 0, "s.lua:6", 3, "a communicator of 2 ranks")});
  CHECK(found.kind == Kind::deadlock);
  CHECK(found.reason.find("the communicators differ") != std::string::npos);
  CHECK(found.table.find("ranks are numbered as in the world") != std::string::npos);
}

TEST_CASE("deadlock: collectives that do not fit", "[deadlock]") {
  auto found = examined({waiting("bcast", mpi::no_peer, "s.lua:3"), waiting("reduce", mpi::no_peer, "s.lua:5"),
                         waiting("bcast", mpi::no_peer, "s.lua:3")});
  CHECK(found.kind == Kind::deadlock);
  CHECK(found.reason == "ranks 0, 2 are in bcast (s.lua:3), rank 1 is in reduce (s.lua:5): all ranks of a communicator "
                        "must call the same collective operations, in the same order");
  found = examined({waiting("barrier", mpi::no_peer, "s.lua:3"), waiting("recv", 0, "s.lua:5"),
                    waiting("barrier", mpi::no_peer, "s.lua:3"), waiting("barrier", mpi::no_peer, "s.lua:3")});
  CHECK(found.reason.find("ranks 0, 2, 3 are in barrier (s.lua:3), rank 1 waits to receive from 0 (s.lua:5)") == 0);
  found = examined({waiting("barrier", mpi::no_peer, "s.lua:3"), finalised()});
  CHECK(found.kind == Kind::deadlock);
  CHECK(found.reason.find("rank 0 is in barrier (s.lua:3), rank 1 has ended") == 0);
}

TEST_CASE("deadlock: waiting for one that has ended, for oneself, for anybody", "[deadlock]") {
  RankView ended = computing();
  ended.ended = true;
  for (const RankView &other : {finalised(), ended, waiting("finalize", mpi::no_peer, "the end of the script")})
    CHECK(examined({waiting("recv", 1, "s.lua:3"), other}).reason ==
          "rank 0 waits to receive from 1 (s.lua:3), but rank 1 has ended: nobody sends");
  CHECK(examined({waiting("recv", 0, "s.lua:3")}).reason ==
        "rank 0 waits to receive from itself (s.lua:3): nobody sends");
  CHECK(examined({waiting("recv", mpi::any_peer, "s.lua:3")}).reason ==
        "rank 0 waits to receive from any rank (s.lua:3): nobody sends");
}

TEST_CASE("wait board: what a rank writes is read elsewhere", "[deadlock]") {
  char path[] = "/tmp/perigee-board-XXXXXX";
  REQUIRE(close(mkstemp(path)) == 0);
  mpi::Board launcher, rank;
  REQUIRE(launcher.create(path, 3));
  REQUIRE(rank.open(path));
  CHECK(unlink(path) == 0);
  mpi::Wait wait;
  CHECK(launcher.get(1, wait) == mpi::RankState::absent);
  rank.set(1, mpi::RankState::waiting, waiting("recv", 2, "s.lua:3", 9).wait);
  CHECK(launcher.get(1, wait) == mpi::RankState::waiting);
  CHECK(wait.peer == 2);
  CHECK(wait.tag == 9);
  CHECK(std::string(wait.place) == "s.lua:3");
  rank.set(7, mpi::RankState::waiting); // no such slot
  CHECK(launcher.slots() == 3);
}
