// What the wait board of an MPI job says when nothing moves any more.
#pragma once

#include "mpi/board.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace perigee::cli {

struct RankView {
  mpi::RankState state = mpi::RankState::absent;
  mpi::Wait wait{};
  bool ended = false; // its process
};

struct Standstill {
  enum class Kind {
    none,     // somebody computes, or has not waited for long
    transfer, // all wait, but for each other: a large message may be under way
    deadlock  // no wait can end
  };
  Kind kind = Kind::none;
  std::string table;  // who waits for whom, a line for ranks that do the same
  std::string reason; // a sentence: why nobody goes on
};

// Whether all ranks that have not ended have waited for `limit` nanoseconds, and why.
Standstill examine(const std::vector<RankView> &ranks, int64_t now, int64_t limit);
// What each rank does, a line for ranks that do the same.
std::string what_ranks_do(const std::vector<RankView> &ranks);

} // namespace perigee::cli
