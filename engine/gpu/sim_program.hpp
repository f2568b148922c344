// A kernel as the checked simulator runs it: straight code for a warp of 32 lanes, made of the typed form with every
// function in its place. No Lua and no memory is known here.
#pragma once

#include "kernel/ir.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace perigee::sim {

constexpr int lanes = 32;

// A value of each lane; a boolean is a bit a lane. Complex numbers take two registers: real parts, imaginary parts.
struct alignas(64) Register {
  union {
    std::int64_t i[lanes];
    double d[lanes];
    float f[lanes];
    std::uint32_t m;
  };
};

// Which register: those of the warp, or (bit 0 set) those that all warps of a block share, which nothing writes.
using Operand = std::int32_t;

#define PERIGEE_SIM_CODES(X)                                                                                           \
  X(move_wide)                                                                                                         \
  X(move_float)                                                                                                        \
  X(move_mask)                                                                                                         \
  X(add_i)                                                                                                             \
  X(subtract_i) X(multiply_i) X(modulo_i) X(negate_i) X(minimum_i) X(maximum_i) X(absolute_i) X(add_f) X(subtract_f)   \
      X(multiply_f) X(divide_f) X(modulo_f) X(negate_f) X(minimum_f) X(maximum_f) X(add_d) X(subtract_d) X(multiply_d) \
          X(divide_d) X(modulo_d) X(negate_d) X(minimum_d) X(maximum_d) X(multiply_c) X(divide_c) X(equal_c)           \
              X(absolute_c) X(less_i) X(less_equal_i) X(equal_i) X(not_equal_i) X(less_f) X(less_equal_f) X(equal_f)   \
                  X(not_equal_f) X(less_d) X(less_equal_d) X(equal_d) X(not_equal_d) X(and_m) X(or_m) X(not_m)         \
                      X(xor_m) X(equal_m) X(select_wide) X(select_float) X(select_mask) X(int_to_float)                \
                          X(int_to_double) X(float_to_double) X(double_to_float) X(float_to_int) X(double_to_int)      \
                              X(whole_index) X(whole_start) X(limit) X(math_f) X(math_d) X(math_i) X(load) X(store)    \
                                  X(atomic) X(load_own) X(store_own) X(fill_own) X(if_) X(else_) X(end_if)             \
                                      X(loop_begin) X(for_test_i) X(for_test_d) X(while_test) X(until_test)            \
                                          X(loop_next) X(loop_end) X(break_) X(continue_) X(call_begin) X(return_)     \
                                              X(call_end) X(exit) X(narrow) X(narrow_not) X(widen) X(sync)             \
                                                  X(sync_warp) X(fence) X(shuffle) X(shuffle_up) X(shuffle_down)       \
                                                      X(shuffle_xor) X(ballot) X(any) X(all) X(popcount) X(step_zero)

enum class Code : std::uint8_t {
#define PERIGEE_SIM_CODE(name) name,
  PERIGEE_SIM_CODES(PERIGEE_SIM_CODE)
#undef PERIGEE_SIM_CODE
};

// What an instruction costs a GPU.
enum class Cost : std::uint8_t { none, integer, float32, float64, special, memory, control, count_ };

struct Step {
  Code code;
  Cost cost = Cost::none;
  bool statement = false; // the last step of a statement in the source
  std::uint8_t which = 0; // kernel::Math, kernel::Gpu; of memory: dimensions
  Operand to = 0, a = 0, b = 0, c = 0;
  std::int32_t target = 0; // of a jump; of memory: where its indices begin in `operands`
  std::int32_t array = -1; // of memory
  std::int32_t site = -1;
};

// A place in the source that is counted, or that a diagnosis names.
struct Site {
  kernel::Position at;
  std::string chunk;
  std::int32_t array = -1; // accessed there
  enum class Kind : std::uint8_t { other, read, write, atomic, branch } kind = Kind::other;
};

struct ArraySlot {
  enum class Where : std::uint8_t { global, shared, own } where = Where::global;
  std::string name;
  kernel::Position at;
  std::int32_t dtype = 0, ndim = 0;
  std::int32_t parameter = -1;       // global: which argument
  std::vector<std::int64_t> lengths; // shared, own; {0}: the memory that the launch gives
  std::int64_t offset = 0;           // shared: in bytes; own: registers of the warp
  bool stored = false;               // by plain stores
};

// What fills a register that all warps of a block share.
struct Uniform {
  enum class What : std::uint8_t { integer, real, single, boolean, argument, imaginary, length, place } what;
  std::int64_t integer = 0; // argument: which; length: array slot; place: dimension
  double number = 0;
  std::int32_t dimension = 0; // length
  kernel::Type type = kernel::Type::int64;
  kernel::Gpu gpu = kernel::Gpu::none;
};

struct Program {
  std::vector<Step> steps;
  std::vector<Operand> operands; // indices of memory
  std::vector<Site> sites;
  std::vector<ArraySlot> arrays;
  std::vector<Uniform> uniforms;
  std::int32_t registers = 0; // of a warp; the first three are threadIdx, the next three grid, then the lane
  std::int32_t depth = 0;     // of control
  std::int64_t shared_bytes = 0;
  std::int32_t launch_array = -1; // the slot of what the launch gives
  std::int32_t parameters = 0;
  std::vector<bool> parameter_is_array;
  std::vector<kernel::Type> parameter_types;
  bool fences = false, syncs = false;
  kernel::Position last; // where the kernel ends
};

// Registers of a warp that hold where its threads stand.
enum Fixed : std::int32_t { thread_x, thread_y, thread_z, grid_x, grid_y, grid_z, lane_number, fixed_registers };

Program compile(const kernel::Module &module);

} // namespace perigee::sim
