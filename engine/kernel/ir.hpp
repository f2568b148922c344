// The typed form of a kernel, which every backend starts from: functions of typed variables, expressions as trees,
// statements structured as in the source. No backend and no Lua is known here, and nothing is owned from outside.
#pragma once

#include "kernel/syntax.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace perigee::kernel {

enum class Type : std::int8_t { none, boolean, int64, float32, float64, complex128 };

enum class Op : std::uint8_t {
  constant, // number (float32, float64; real and imaginary of complex128) or integer (int64, boolean)
  variable, // index
  convert,  // operand a; to `type`
  negate,
  logical_not,
  add,
  subtract,
  multiply,
  divide, // divide: never of int64
  modulo, // sign of the divisor
  power,
  less,
  less_equal,
  equal,
  not_equal, // operands of one type; boolean
  logical_and,
  logical_or, // the second operand only where it decides
  choose,     // a ? b : c, one of b and c evaluated
  call,       // function `index` of the module, arguments; result `integer` of it
  math,       // function `math`, arguments
  load,       // element of array `index`, at the arguments; the first `integer` are known to be inside
  length,     // of array `index`, dimension `integer` (from 0)
  // Of kernels of a GPU alone (Entry::grid); `gpu` says which.
  place,  // where the thread stands, int64: dimension `integer` (0: x) of thread_idx to grid_size; lane, warp_size
  atomic, // on the element of array `index` at the arguments (`integer` as in load): atomic_add to atomic_cas with a
          // (of the element's kind; compare_and_swap: a is what is expected and b what is put there). Gives what was
          // there
  warp,   // shuffle to popcount, of a and b; lanes take part that reach it, which all of the warp must that still run
};

// What only a GPU has. Indices count from 1, as do lanes; dimensions (x, y, z) are sizes.
enum class Gpu : std::uint8_t {
  none,
  thread_idx,
  block_idx,
  block_dim,
  grid_dim,
  grid,      // (block_idx - 1) * block_dim + thread_idx
  grid_size, // grid_dim * block_dim
  lane,      // in the warp, from 1
  warp_size, // 32
  atomic_add,
  atomic_subtract,
  atomic_minimum,
  atomic_maximum,
  atomic_and,
  atomic_or,
  atomic_xor,
  atomic_exchange,
  atomic_compare_and_swap,
  shuffle,      // a of lane b (int64, from 1)
  shuffle_up,   // a of the lane b lower; its own where there is none
  shuffle_down, // a of the lane b higher
  shuffle_xor,  // a of the lane whose number from 0 is this one's xor b. All four: within groups of `integer` lanes (2
                // to 32, a power of two)
  ballot,       // of boolean a: int64 from 0 to 2^32 - 1, bit 0 is lane 1
  any,
  all,
  popcount, // bits that are set in the low 32 of int64 a: of this thread alone
};

enum class Math : std::uint8_t {
  absolute,
  power_of, // to a constant, `number` (2, 3, 4, -1, -2, 0.5, 1.5, 2.5), by products and square roots
  sqrt,
  floor,
  ceil,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  exp,
  log,
  log10,
  log2,
  atan2,
  fmod,
  minimum,
  maximum, // the first where it is less (greater), else the second: as LuaJIT, NaN and zeros included
  real,
  imaginary,
  bit_and,
  bit_or,
  bit_xor,
  bit_not,
  shift_left,
  shift_right,
  shift_arithmetic,
  rotate_left,
  rotate_right,
  byte_swap,      // of 32 bits, as LuaJIT's bit library
  to_bit,         // wraps to 32 bits
  truncate_int64, // saturates; NaN gives 0
};

using Ref = std::int32_t; // of an expression in its function

// Of a call: an argument that is a row of an array, by its first indices.
struct Row {
  std::int32_t argument = 0;
  std::int64_t checked = 0; // so many indices are known to be inside
  std::vector<Ref> indices;
};

struct Node {
  Op op = Op::constant;
  Type type = Type::none;
  Math math = Math::absolute;
  Position at;
  std::int32_t index = -1;
  Gpu gpu = Gpu::none;
  std::int64_t integer = 0;
  double number = 0, imaginary = 0;
  Ref a = -1, b = -1, c = -1;
  std::vector<Ref> arguments; // of a call: -1 - array for one that is an array
  std::vector<Row> rows;
};

enum class Step : std::uint8_t {
  assign,      // variable = a, which is an index of dimension `integer` of the array where there is one
  assign_call, // variables `targets` (-1: dropped) = results of call node a
  store,       // array[arguments] = a; the first `integer` indices are known to be inside. Without any: every element
  check_index, // that int64 a lies inside dimension `integer` of the array
  for_, // variable from a to b by c (constant or not), all of the variable's type; body blocks[0]. integer 1: no round
        // uses what another one writes; 2, of any loop: it hardly runs, and is not worth optimising
  while_, // a; blocks[0]
  repeat, // blocks[0]; until a (which may use the body's variables)
  if_,    // a; blocks[0], blocks[1]
  break_,
  continue_, // integer above 0: of the so-manieth loop around it, counted from the outermost, not of the innermost
  return_,
  spawn, // runs function `array` for each piece of the rounds of variable from a to b by c, on the engine's threads:
         // with the piece's number from 1, its first and last value of the variable, and `arguments`. A piece has
         // `integer` rounds or more, and there are most_pieces at most: targets[0] is how many. Where arrays share memory that are
         // to be apart: nothing, and targets[0] stays
  sync, // Entry::grid alone. integer 0: until all threads of the block are here (gpu.sync), 1: of the warp
        // (gpu.syncwarp); 2: what this thread has written is seen by the others before what it writes next
        // (gpu.threadfence)
};

constexpr int most_pieces = 64; // of Step::spawn

struct Instruction {
  Step step;
  Position at;
  std::int32_t variable = -1, array = -1;
  std::int64_t integer = 0;
  Ref a = -1, b = -1, c = -1;
  std::vector<Ref> arguments = {};        // store: indices; return: values; spawn: as of a call
  std::vector<std::int32_t> targets = {}; // assign_call, spawn
  std::vector<std::int32_t> apart = {};   // spawn: two arrays, and 1 where they may be one and the same; and so on
  std::vector<std::vector<Instruction>> blocks = {};
};

struct Variable {
  std::string name;
  Type type = Type::none;
  Position at;
};

struct Array {
  std::string name;
  Position at;
  std::int32_t dtype = 0; // enum pg_dtype
  std::int32_t ndim = 0;
  bool contiguous = false; // C order without gaps: its strides follow from its shape
  bool writable = true;
  bool written = false;
  std::vector<std::int64_t> lengths; // of an array local to the function; empty for parameters
  // gpu.shared: one for all threads of a block, whatever is in it at first. Where `lengths` is {0} it is the memory
  // that the launch gives ({shared = bytes}), whose length Op::length tells; a module has one such at most.
  bool shared = false;
};

struct Argument {
  bool is_array = false;
  std::int32_t index = -1; // of the variable or array
};

struct Function {
  std::string name, chunk;                 // chunk: the text it stands in, for messages
  std::shared_ptr<const std::string> text; // of the chunk, for backends that quote it; may be null
  Position at;
  std::vector<Node> nodes;
  std::vector<Variable> variables;
  std::vector<Array> arrays;
  std::vector<Argument> parameters;
  std::vector<Type> results;
  std::vector<Instruction> body;
};

// How a backend's code is entered (engine/llvm/codegen.hpp).
enum class Entry : std::int8_t {
  call,   // arguments as C passes them
  loop,   // one-dimensional arrays by data and strides: of whole-array operations
  packed, // pointers to arguments: of parallel loops
  grid,   // run by every thread of a grid: a kernel of a GPU. Its checks of indices stay where they are (no
          // hoist_checks); indices below 1 are outside: they do not count from the end
};

// functions[0] is the one compiled; the others are those it calls, before or after their callers.
struct Module {
  std::string chunk; // name of the source, for messages
  Entry entry = Entry::call;
  bool block = false; // runs a block of a GPU's threads (grid.hpp): no index counts from the end
  std::vector<Function> functions;
};

const char *type_name(Type type);
// Everything that compiled code depends on, for caches: equal texts give equal code.
std::string identity(const Module &module);
// As text, for k:inspect("ir").
std::string print(const Module &module);

} // namespace perigee::kernel
