// Runs compiled loops over whole arrays and over boxes of indices, on the engine's threads.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "core/abi.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"
#include "kernel/grid.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "kernel/kernel_abi.h"
}
#pragma GCC visibility pop

#include <atomic>
#include <cmath>
#include <complex>
#include <cstring>
#include <mutex>
#include <vector>

using namespace perigee;

namespace {

constexpr int most_operands = 12;
using LoopEntry = int32_t (*)(pg_kernel_failure *, int64_t, void *const *, const int64_t *);
using PackedEntry = int32_t (*)(pg_kernel_failure *, void *, void *const *);

// The failure of the first piece, by its number: the same for any number of threads.
class Failures {
 public:
  void add(int64_t piece, const pg_kernel_failure &failure) {
    const std::lock_guard lock(mutex_);
    if (piece < first_.load(std::memory_order_relaxed)) {
      first_.store(piece, std::memory_order_relaxed);
      failure_ = failure;
    }
  }
  // Whether a piece before this one has failed, so that this one need not run.
  bool before(int64_t piece) const { return first_.load(std::memory_order_relaxed) < piece; }
  bool any() const { return first_.load() != INT64_MAX; }
  const pg_kernel_failure &first() const { return failure_; }

 private:
  std::mutex mutex_;
  std::atomic<int64_t> first_{INT64_MAX};
  pg_kernel_failure failure_{};
};

array::Shape broadcast_all(const pg_array *const *arrays, int32_t count) {
  array::Shape shape;
  for (int32_t i = 0; i < count; ++i) {
    if (!arrays[i])
      continue;
    array::require_alive(*arrays[i]);
    pg_array so_far{};
    so_far._ndim = shape.ndim;
    std::copy_n(shape.lengths, shape.ndim, so_far._shape);
    shape = array::broadcast(so_far, *arrays[i]);
  }
  return shape;
}

// Tells those who watch operations which kernel runs, and what it moves where that is each array once.
void describe(const char *name, const pg_array *const *arrays, int32_t count) {
  if (!operations_watched())
    return;
  double bytes = 0;
  const char *dtype = "";
  for (int32_t i = 0; i < count; ++i)
    if (arrays[i]) {
      bytes += double(arrays[i]->_size) * double(array::element_size(arrays[i]->_dtype));
      dtype = array::dtype_name(arrays[i]->_dtype);
    }
  pg_operation_describe(name, dtype, bytes, 0);
}

template <class T> T combine(std::string_view how, T a, T b) {
  if (how == "sum")
    return a + b;
  if (how == "product")
    return a * b;
  if constexpr (!std::is_same_v<T, std::complex<double>>) {
    if (how == "min")
      return b < a ? b : a;
    return a < b ? b : a;
  }
  return a;
}

} // namespace

int32_t pg_kernel_broadcast(int64_t *lengths, int32_t *ndim, const pg_array *const *arrays, int32_t count) {
  return guard([&] {
    const array::Shape shape = broadcast_all(arrays, count);
    std::copy_n(shape.lengths, shape.ndim, lengths);
    *ndim = shape.ndim;
  });
}

int32_t pg_kernel_run_loop(int32_t *failed, pg_kernel_failure *failure, void *entry, const pg_array *const *arrays,
                           void *const *scalars, int32_t inputs, int32_t results, const char *name) {
  return guard([&] {
    const int32_t count = inputs + results;
    if (count > most_operands)
      throw ArgumentError("a whole-array operation has at most " + std::to_string(most_operands) +
                          " arguments and results, and this has " + std::to_string(count));
    describe(name, arrays, count);
    const array::Shape shape = broadcast_all(arrays, inputs);
    pg_array nothing{}; // stands for scalars and for operands there are not: it never moves
    nothing._dtype = PG_UINT8;
    std::array<const pg_array *, most_operands> walked;
    walked.fill(&nothing);
    for (int32_t i = 0; i < count; ++i)
      if (arrays[i])
        walked[std::size_t(i)] = arrays[i];
    const array::Walk<most_operands> walk(shape, walked);
    int64_t strides[most_operands], rows[most_operands];
    for (int i = 0; i < most_operands; ++i) {
      strides[i] = walk.inner_stride(i);
      rows[i] = walk.outer_stride(i) * walk.bytes[i];
    }
    Failures failures;
    const auto run = reinterpret_cast<LoopEntry>(entry);
    walk.blocks(array::costly, [&](std::array<char *, most_operands> here, int64_t outer, int64_t inner) {
      // Pieces come in the order in which they lie in the first result, for any number of threads.
      const int64_t piece = results > 0 ? int64_t(reinterpret_cast<std::uintptr_t>(here[std::size_t(inputs)])) : 0;
      if (failures.before(piece))
        return;
      void *data[most_operands];
      pg_kernel_failure wrong{};
      for (int64_t row = 0; row < outer; ++row) {
        for (int32_t i = 0; i < count; ++i)
          data[i] = arrays[i] ? here[std::size_t(i)] + row * rows[i] : scalars[i];
        if (run(&wrong, inner, data, strides) != 0) {
          failures.add(piece, wrong);
          return;
        }
      }
    });
    *failed = failures.any();
    if (failures.any())
      *failure = failures.first();
  });
}

int32_t pg_kernel_run_boxes(int32_t *failed, pg_kernel_failure *failure, void *entry, int32_t dimensions,
                            const int64_t *lengths, const int64_t *tile, void *const *arguments, int32_t count,
                            const char *reduce, int32_t type, void *total, const char *name) {
  return guard([&] {
    describe(name, nullptr, 0);
    int64_t boxes = 1, along[3] = {1, 1, 1};
    for (int32_t d = 0; d < dimensions; ++d) {
      along[d] = lengths[d] <= 0 ? 0 : (lengths[d] - 1) / tile[d] + 1;
      boxes *= along[d];
    }
    *failed = 0;
    if (boxes == 0) {
      *failed = -1;
      return;
    }
    const std::string_view how = reduce;
    struct Part {
      double words[2];
    };
    std::vector<Part> parts(how.empty() ? 0 : std::size_t(boxes));
    Failures failures;
    const auto run = reinterpret_cast<PackedEntry>(entry);
    core::parallel_ranges(boxes, 1, [&](int64_t at, int64_t end) {
      std::vector<void *> given(std::size_t(2 * dimensions + count));
      std::copy_n(arguments, count, given.begin() + 2 * dimensions);
      int64_t ranges[6];
      for (int i = 0; i < 2 * dimensions; ++i)
        given[std::size_t(i)] = &ranges[i];
      for (; at < end; ++at) {
        if (failures.before(at))
          return;
        int64_t left = at;
        for (int32_t d = dimensions - 1; d >= 0; --d) {
          const int64_t box = left % along[d];
          left /= along[d];
          ranges[2 * d] = box * tile[d] + 1;
          ranges[2 * d + 1] = std::min((box + 1) * tile[d], lengths[d]);
        }
        pg_kernel_failure wrong{};
        Part result{};
        if (run(&wrong, &result, given.data()) != 0) {
          failures.add(at, wrong);
          return;
        }
        if (!how.empty())
          parts[std::size_t(at)] = result;
      }
    });
    if (failures.any()) {
      *failed = 1;
      *failure = failures.first();
      return;
    }
    if (how.empty())
      return;
    auto combine_all = [&]<class T>(std::type_identity<T>) {
      T sum{};
      for (std::size_t i = 0; i < parts.size(); ++i) {
        T part;
        std::memcpy(static_cast<void *>(&part), &parts[i], sizeof part);
        sum = i == 0 ? part : combine(how, sum, part);
      }
      std::memcpy(total, &sum, sizeof sum);
    };
    if (type == 2)
      combine_all(std::type_identity<int64_t>{});
    else if (type == 5)
      combine_all(std::type_identity<std::complex<double>>{});
    else
      combine_all(std::type_identity<double>{}); // float32 comes widened
  });
}

int32_t pg_kernel_run_outer(int32_t *failed, pg_kernel_failure *failure, void *entry, int32_t ndim,
                            const int64_t *lengths, const pg_array *const *arrays, const int32_t *core,
                            void *const *scalars, int32_t count, pg_array *const *outputs, const int32_t *types,
                            int32_t results, const char *name) {
  return guard([&] {
    describe(name, arrays, count);
    int64_t total = 1;
    for (int32_t d = 0; d < ndim; ++d)
      total *= lengths[d];
    *failed = 0;
    Failures failures;
    const auto run = reinterpret_cast<PackedEntry>(entry);
    // How far an array moves along an outer axis, in elements.
    auto stride = [&](const pg_array &a, int32_t inner, int32_t d) -> int64_t {
      const int32_t axis = d - (ndim - (a._ndim - inner));
      return axis < 0 || a._shape[axis] == 1 ? 0 : a._strides[axis];
    };
    const int64_t grain = std::max<int64_t>(1, (total + 63) / 64); // the same pieces for any number of threads
    core::parallel_ranges(total, grain, [&](int64_t at, int64_t end) {
      const std::size_t n = std::size_t(count);
      std::vector<pg_array> parts(n);
      std::vector<std::array<double, 2>> elements(n);
      std::vector<void *> given(n);
      std::vector<std::array<double, 2>> returned(std::size_t(results) + 1);
      for (std::size_t i = 0; i < n; ++i) {
        if (core[i] < 0) {
          given[i] = scalars[i];
          continue;
        }
        pg_array &part = parts[i];
        part = *arrays[i];
        part._ndim = core[i];
        for (int32_t d = 0; d < core[i]; ++d) {
          part._shape[d] = arrays[i]->_shape[arrays[i]->_ndim - core[i] + d];
          part._strides[d] = arrays[i]->_strides[arrays[i]->_ndim - core[i] + d];
        }
        given[i] = core[i] == 0 ? static_cast<void *>(elements[i].data()) : &part;
      }
      for (; at < end; ++at) {
        if (failures.before(at))
          return;
        auto place = [&](const pg_array &a, int32_t inner) {
          int64_t offset = 0, left = at;
          for (int32_t d = ndim - 1; d >= 0; --d) {
            offset += left % lengths[d] * stride(a, inner, d);
            left /= lengths[d];
          }
          return static_cast<char *>(a._data) + offset * int64_t(array::element_size(a._dtype));
        };
        for (std::size_t i = 0; i < n; ++i) {
          if (core[i] < 0)
            continue;
          char *here = place(*arrays[i], core[i]);
          if (core[i] > 0) {
            parts[i]._data = here;
            continue;
          }
          array::visit(arrays[i]->_dtype, [&]<class T>(std::type_identity<T>) {
            T x;
            std::memcpy(&x, here, sizeof x);
            if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
              elements[i] = {double(x.real()), double(x.imag())};
            } else if constexpr (std::is_floating_point_v<T>) {
              elements[i][0] = double(x);
            } else {
              const int64_t whole = int64_t(x); // of bool an int32: its first bytes
              std::memcpy(elements[i].data(), &whole, sizeof whole);
            }
          });
        }
        pg_kernel_failure wrong{};
        if (run(&wrong, returned.data(), given.data()) != 0) {
          failures.add(at, wrong);
          return;
        }
        for (int32_t r = 0; r < results; ++r) {
          char *here = place(*outputs[r], 0);
          const std::array<double, 2> &value = returned[std::size_t(r)];
          int64_t whole = 0;
          std::memcpy(&whole, &value, sizeof whole);
          switch (types[r]) {
          case 1:
            *here = char(int32_t(whole) != 0);
            break;
          case 2:
            std::memcpy(here, &whole, sizeof whole);
            break;
          case 3: {
            const float single = float(value[0]);
            std::memcpy(here, &single, sizeof single);
            break;
          }
          case 5:
            std::memcpy(here, &value, sizeof value);
            break;
          default:
            std::memcpy(here, &value[0], sizeof(double));
          }
        }
      }
    });
    if (failures.any()) {
      *failed = 1;
      *failure = failures.first();
    }
  });
}

int32_t pg_kernel_spawn(pg_kernel_failure *failure,
                        int32_t (*run)(pg_kernel_failure *, void *, int64_t, int64_t, int64_t), void *given,
                        int64_t start, int64_t step, int64_t rounds, int64_t grain) {
  bool failed = false;
  const int32_t status = guard([&] {
    Failures failures;
    core::parallel_ranges(rounds, grain, [&](int64_t at, int64_t end) {
      const int64_t piece = at / grain;
      pg_kernel_failure wrong{};
      if (!failures.before(piece) && run(&wrong, given, piece + 1, start + at * step, start + (end - 1) * step) != 0)
        failures.add(piece, wrong);
    });
    failed = failures.any();
    if (failed)
      *failure = failures.first();
  });
  if (status != 0) {
    *failure = {};
    failure->code = 7;
  }
  return failed || status != 0;
}

int32_t pg_kernel_run_grid(int32_t *failed, pg_kernel_failure *failure, void *entry, const int64_t *grid,
                           const int64_t *block, void *const *arguments, int32_t count, const pg_array *launch_memory,
                           const char *name) {
  return guard([&] {
    describe(name, nullptr, 0);
    const int64_t blocks = grid[0] * grid[1] * grid[2], threads = block[0] * block[1] * block[2];
    *failed = 0;
    Failures failures;
    const auto run = reinterpret_cast<PackedEntry>(entry);
    const int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, threads));
    core::parallel_ranges(blocks, grain, [&](int64_t at, int64_t end) {
      int64_t here[kernel::block_parameters];
      std::vector<void *> given(arguments, arguments + count);
      for (int64_t &value : here)
        given.push_back(&value);
      pg_array memory{};
      std::vector<std::max_align_t> bytes;
      if (launch_memory) { // a piece of its own for each thread of this machine
        memory = *launch_memory;
        bytes.resize(std::size_t(memory._size) * array::element_size(memory._dtype) / sizeof(std::max_align_t) + 1);
        memory._data = bytes.data();
        given.push_back(&memory);
      }
      for (; at < end; ++at) {
        if (failures.before(at))
          return;
        int64_t left = at;
        for (int d = 0; d < 3; ++d) {
          here[d] = left % grid[d] + 1;
          left /= grid[d];
          here[3 + d] = block[d];
          here[6 + d] = grid[d];
          here[9 + d] = (here[d] - 1) * block[d];
        }
        pg_kernel_failure wrong{};
        double nothing[2];
        if (run(&wrong, nothing, given.data()) != 0) {
          failures.add(at, wrong);
          return;
        }
      }
    });
    if (failures.any()) {
      *failed = 1;
      *failure = failures.first();
    }
  });
}
