// Which values the integers of a function can have, as far as that follows from it: intervals, over all of its
// statements in any order.
#pragma once

#include "kernel/ir.hpp"

#include <cstdint>
#include <vector>

namespace perigee::kernel {

struct Range {
  std::int64_t low = INT64_MIN, high = INT64_MAX;
  bool empty = false; // of a variable that nothing is assigned to
  bool within(std::int64_t from, std::int64_t to) const { return empty || (low >= from && high <= to); }
};

class Ranges {
 public:
  // longest: no array is longer along an axis, and no grid has more threads along one; blocks: nor more blocks.
  Ranges(const Function &f, std::int64_t longest, std::int64_t blocks);
  // Of an int64 expression.
  const Range &operator[](Ref ref) const { return nodes_[std::size_t(ref)]; }
  const Range &variable(std::int32_t index) const { return variables_[std::size_t(index)]; }

 private:
  Range evaluate(const Node &n) const;
  void update_nodes();
  void run(const std::vector<Instruction> &steps);
  void join(std::int32_t variable, Range range);

  const Function &f_;
  const std::int64_t longest_, blocks_;
  std::vector<Range> nodes_, variables_;
  bool changed_ = false, widen_ = false;
};

} // namespace perigee::kernel
