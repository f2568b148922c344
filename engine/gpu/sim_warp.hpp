// What the parts of the interpreter share: a warp, a block, a worker that runs blocks one after another.
#pragma once

#include "gpu/sim_memory.hpp"

#include "core/abi.hpp"

#include <mutex>
#include <vector>

namespace perigee::sim {

struct Control {
  std::uint32_t saved, other;  // lanes before it; those of the other branch, or still in the loop
  std::uint32_t left, skipped; // by break or return; by continue
  std::int32_t loop, call;     // the ones around it
};

struct Warp {
  enum class State : std::uint8_t { ready, at_sync, done } state = State::ready;
  Register *registers = nullptr;
  std::int32_t pc = 0, depth = 0, loop = -1, call = -1, number = 0;
  std::uint32_t exists = 0, mask = 0, off = 0, exited = 0;
  std::int32_t sync_site = -1, exit_site = -1;
  std::uint32_t epoch = 0; // barriers passed
  std::uint64_t jumps = 0; // back in loops
  std::vector<Control> control;
};

// An array as an access finds it.
struct Place {
  char *data = nullptr;
  std::int64_t shape[8] = {}, strides[8] = {};
  Region *region = nullptr; // NULL: shared
  Cell *cells = nullptr;    // of shared memory: an element each
  Access *atomics = nullptr;
  std::int64_t device = 0; // address of data[0] for the GPU
  std::int32_t bytes = 0;  // of an element
};

// What all workers of a launch share.
struct Grid {
  const Program &program;
  const Launch &launch;
  std::vector<Place> places;      // of array slots; shared ones are filled in by each worker
  std::vector<Register> uniforms; // all but places in the grid
  std::vector<std::unique_ptr<Region>> regions;
  Zeroed<std::atomic<std::uint8_t>> fenced; // a byte a block: it has run gpu.threadfence()
  std::int64_t blocks = 0, block_size = 0;
  std::int32_t warps = 0; // of a block
  bool parallel = false;
  std::atomic<bool> stop{false};
};

// Diagnoses of one worker: one a problem and site.
class Problems {
 public:
  void add(const Diagnosis &d) {
    for (Diagnosis &known : list)
      if (known.problem == d.problem && known.site == d.site && known.other_site == d.other_site &&
          known.array == d.array) {
        const std::int64_t count = known.count + d.count;
        if (d.thread < known.thread)
          known = d;
        known.count = count;
        return;
      }
    if (list.size() < 200)
      list.push_back(d);
  }
  std::vector<Diagnosis> list;
};

class Worker {
 public:
  explicit Worker(Grid &grid);
  void run_block(std::int64_t number);

  Counts counts;
  std::vector<SiteCounts> sites;
  Problems problems;

 private:
  enum class Why : std::uint8_t { done, sync, turn };
  Why run_warp(Warp &warp);
  void release_barrier();

  Register &at(const Warp &warp, Operand operand) {
    const std::size_t index = std::size_t(operand) / 2;
    if (operand % 2 != 0)
      return uniforms_[index];
    return warp.registers[index];
  }
  std::int64_t thread(const Warp &warp, int lane) const { return first_thread_ + warp.number * lanes + lane; }
  std::uint32_t now(const Warp &warp) const { return moment(epoch_, warp.epoch); }
  Diagnosis diagnose(Problem problem, const Step &step, const Warp &warp, int lane) const;

  // sim_access.cpp
  std::uint32_t elements(const Step &step, const Warp &warp, std::uint32_t mask, std::int64_t *offsets);
  void traffic(const Step &step, std::uint32_t mask, const std::int64_t *offsets, bool write);
  void load(const Step &step, const Warp &warp, std::uint32_t mask);
  void store(const Step &step, const Warp &warp, std::uint32_t mask);
  void atomic(const Step &step, const Warp &warp, std::uint32_t mask);
  void load_own(const Step &step, const Warp &warp, std::uint32_t mask);
  void store_own(const Step &step, const Warp &warp, std::uint32_t mask);
  void fill_own(const Step &step, const Warp &warp, std::uint32_t mask);
  template <class T> T encode(const Step &step, const Warp &warp, const Register &v, int lane);
  template <class T> void load_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets);
  template <class T> void store_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets);
  template <class T>
  void atomic_as(const Step &step, const Warp &warp, std::uint32_t mask, const std::int64_t *offsets);
  bool in_block(std::uint32_t thread) const {
    return thread - std::uint32_t(first_thread_) - 1 < std::uint32_t(grid_.block_size);
  }
  bool one_warp(std::uint32_t a, std::uint32_t b) const { // both of this block
    const std::uint32_t first = std::uint32_t(first_thread_) + 1;
    return (a - first) / lanes == (b - first) / lanes;
  }
  bool published(std::uint32_t other) const;
  bool ordered(std::uint32_t other, std::uint32_t when, const Warp &warp, std::uint32_t me) const;
  bool ordered_beside(const Access &access, const Warp &warp, std::uint32_t me) const;
  void note(Access &access, const Step &step, const Warp &warp, std::uint32_t me) const;
  template <class Race> void meet(const Access &access, const Warp &warp, std::uint32_t me, Race &&race) const;
  void saw_read(Cell &cell, Access *atomics, const Step &step, const Warp &warp, int lane, bool global);
  void saw_write(Cell &cell, Access *atomics, const Step &step, const Warp &warp, int lane, bool global, bool same);
  void saw_atomic(Cell &cell, Access &atomics, const Step &step, const Warp &warp, int lane, bool global);
  void race(const Step &step, const Warp &warp, int lane, bool global, Conflict conflict, std::uint32_t other,
            std::uint16_t site);
  void name_element(Diagnosis &d, const Step &step, const Warp &warp, int lane);

  Grid &grid_;
  const Program &program_;
  std::vector<Register> registers_;
  std::vector<Register> uniforms_;
  std::vector<Warp> warps_;
  std::vector<Place> places_;
  std::vector<char> shared_;
  std::vector<Cell> shared_cells_;
  std::vector<Access> shared_atomics_;
  std::vector<std::uint32_t> level1_; // tags of sectors
  std::int64_t block_ = 0, first_thread_ = 0;
  std::uint32_t epoch_ = 0;
  bool atomics_ = false; // this block has used some
};

} // namespace perigee::sim
