// Runs a kernel's steps for all threads of a grid: what they compute, what is wrong with them, what they cost.
#pragma once

#include "gpu/sim_program.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace perigee::sim {

struct Launch {
  std::int64_t grid[3] = {1, 1, 1};
  std::int32_t block[3] = {1, 1, 1};
  std::int64_t shared_bytes = 0; // for the array without lengths
  bool check_coverage = true;    // whether elements that no thread writes are looked for
};

// Values are part of the ABI (sim_abi.h); 1 to 6 are those of pg_kernel_failure.
enum class Problem : std::int32_t {
  outside = 1,
  fraction,
  misfit,
  modulo_zero,
  start_fraction,
  step_zero,
  guard,          // an index outside that is where the thread stands in the grid: more threads than elements
  uninitialised,  // shared memory that nothing wrote
  race_shared,    // between threads of a block
  race_global,    // between threads of a block, or of two
  sync_exited,    // a barrier that some threads do not reach since they have ended
  sync_divergent, // a barrier under a condition that differs within a warp
  sync_lines,     // threads wait at barriers of two lines
  warp_divergent, // a shuffle or vote that not all of the warp reach
  lane_missing,   // a shuffle from a lane that is not there
  never_written,  // elements that the launch is too small for
  endless,        // a loop that does not end
};

enum class Conflict : std::int32_t { none, write_write, write_read, read_write };

struct Diagnosis {
  Problem problem = Problem::outside;
  Conflict conflict = Conflict::none;
  std::int32_t site = -1, other_site = -1;
  std::int64_t thread = -1, other_thread = -1; // in the launch, from 0
  std::int32_t array = -1, dimension = 0;      // dimension from 1
  std::array<std::int64_t, 8> index{};         // of the element, from 1
  std::int64_t length = 0;
  double value = 0;
  std::int64_t count = 0; // how often it happened
};

// Sums over the launch. Sectors are 32 bytes of global memory; a request is one access of a warp.
struct Counts {
  std::uint64_t statements = 0;                       // of threads
  std::uint64_t warp_steps = 0;                       // instructions of warps, about
  std::uint64_t cost[std::size_t(Cost::count_)] = {}; // operations of threads, by kind
  std::uint64_t branches = 0, divergent = 0;          // of warps; those where it went both ways
  std::uint64_t load_requests = 0, load_sectors = 0, load_ideal = 0, load_bytes = 0;
  std::uint64_t store_requests = 0, store_sectors = 0, store_ideal = 0, store_bytes = 0;
  std::uint64_t level2_sectors = 0;                         // those that miss a first-level cache
  std::uint64_t footprint_sectors = 0, written_sectors = 0; // different ones, read or written; written
  std::uint64_t shared_requests = 0, shared_wavefronts = 0, shared_ideal = 0;
  std::uint64_t atomics = 0, atomic_serial = 0; // of threads; rounds that lanes of a warp wait for each other
  std::uint64_t syncs = 0;                      // of blocks
};

struct SiteCounts {
  std::uint64_t requests = 0, threads = 0, sectors = 0, ideal = 0; // global; of shared memory wavefronts
  std::uint64_t divergent = 0;
};

// Which thread touched which element of a global array, as far as it is shown: its last two axes, from their begin.
// Threads count from 1 in the launch, 0: none.
struct Map {
  std::int32_t array = -1, rows = 1, columns = 1;
  std::vector<std::uint32_t> writers, readers;
};

// Which bytes of an argument a launch has read and written, counted from its first element: from the first to before
// the last, to sectors; where none, both are equal.
struct Touched {
  std::int32_t parameter = -1;
  std::int64_t read_first = 0, read_last = 0, write_first = 0, write_last = 0;
};

struct Result {
  std::vector<Map> maps;
  std::vector<Touched> touched;
  Counts counts;
  std::vector<SiteCounts> sites;
  std::vector<Diagnosis> problems; // by site, the worst first
  std::int64_t threads = 0, blocks = 0, warps = 0;
};

// arguments: pointers to double, int64, int32 (bool), two doubles (complex128), and pg_array whose data the host can
// reach.
Result run(const Program &program, const Launch &launch, void *const *arguments);

} // namespace perigee::sim
