// The typed form of a kernel, which every backend starts from: functions of typed variables, expressions as trees,
// statements structured as in the source. No backend and no Lua is known here, and nothing is owned from outside.
#pragma once

#include "kernel/syntax.hpp"

#include <cstdint>
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
};

enum class Math : std::uint8_t {
  absolute,
  power_of, // to a constant, `number` (2, 3, 4, -1, -2, 1.5, 2.5), by products and square roots
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
  maximum, // the first unless the second is less (greater)
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
  continue_,
  return_,
};

struct Instruction {
  Step step;
  Position at;
  std::int32_t variable = -1, array = -1;
  std::int64_t integer = 0;
  Ref a = -1, b = -1, c = -1;
  std::vector<Ref> arguments = {};        // store: indices; return: values
  std::vector<std::int32_t> targets = {}; // assign_call
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
};

struct Argument {
  bool is_array = false;
  std::int32_t index = -1; // of the variable or array
};

struct Function {
  std::string name, chunk; // chunk: the text it stands in, for messages
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
};

// functions[0] is the one compiled; the others are those it calls, before or after their callers.
struct Module {
  std::string chunk; // name of the source, for messages
  Entry entry = Entry::call;
  std::vector<Function> functions;
};

const char *type_name(Type type);
// Everything that compiled code depends on, for caches: equal texts give equal code.
std::string identity(const Module &module);
// As text, for k:inspect("ir").
std::string print(const Module &module);

} // namespace perigee::kernel
