// From a function's tree and the types of its arguments to the typed form: names resolved, types inferred, everything
// that kernels do not support refused at its place.
#pragma once

#include "kernel/ir.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace perigee::kernel {

// What a value is to inference. A Lua number is weak, as in arrays: `integer` and `number` take part in float32
// arithmetic as float32. They are int64 and float64 in machine code.
enum class Kind : std::int8_t { unknown, boolean, integer, number, float32, float64, complex };

struct Source;

// What a name that the function does not declare stands for.
struct Binding {
  enum class What { refused, number, boolean, builtin, function } what = What::refused;
  double number = 0;
  bool boolean = false;
  std::string text; // builtin: "math.sin"; a table of them: "math"; refused: what it is, as "a table"
  std::shared_ptr<Source> function;
};

struct Source {
  std::string chunk;                       // name of the text, for messages
  std::shared_ptr<const Chunk> tree;       // keeps `body`
  std::shared_ptr<const std::string> text; // of the chunk, where it is known
  const FunctionBody *body = nullptr;
  std::string name = "kernel";
  std::map<std::string, Binding> bindings;
};

struct ArgumentType {
  bool is_array = false;
  Kind kind = Kind::number; // of a scalar
  std::int32_t dtype = 0, ndim = 0;
  bool contiguous = false, writable = true;
};

// A SourceError in a named text.
struct CompileError {
  std::string message, chunk;
  Position at;
};

// Throws CompileError.
Module specialise(const Source &source, const std::vector<ArgumentType> &arguments);

// What a whole-array operation is applied to: a scalar, or an array of any dimensions, walked as runs of one.
struct Operand {
  bool is_array = false;
  Kind kind = Kind::number; // of a scalar
  std::int32_t dtype = 0;
  bool contiguous = false; // in every run
};

// The loop of a whole-array operation: applies the function of scalars to every element. Its arrays are the operands'
// and then a result's each, of the dtypes in `outputs` (empty: what the results' types ask for, and put there). The
// loop's parameters are the operands and the outputs, in order. Throws CompileError.
Module elementwise(const Source &source, const std::vector<Operand> &operands, std::vector<std::int32_t> &outputs,
                   bool outputs_contiguous);

// A parallel loop over 1 to 3 indices: the function's first `dimensions` parameters are indices, which a call runs over
// ranges of, given as the first parameters (first, last of each). reduce: how what it returns is combined over the
// range
// ("sum", "product", "min", "max"), "" where it returns nothing. Throws CompileError.
Module parallel_for(const Source &source, int dimensions, const std::string &reduce,
                    const std::vector<ArgumentType> &arguments);

// A kernel of a GPU: what every thread of a grid runs (Entry::grid). It alone may use what only a GPU has. Throws
// CompileError.
Module grid(const Source &source, const std::vector<ArgumentType> &arguments);

// The same of a parallel loop (parallel_for, without reduce): a thread a round. The last index goes along x; the
// lengths are the first parameters, int64. Throws CompileError.
Module grid_loop(const Source &source, int dimensions, const std::vector<ArgumentType> &arguments);
// And of one with reduce: blocks of reduce_threads threads. After the lengths and what the body works on comes an array
// of one dimension, of the dtype of what the body returns: each block puts what it combined there, in the order of
// blocks (x first). A thread takes every round that lies whole grids apart, in their order; a block combines its
// threads in a tree.
constexpr int reduce_threads = 256;
Module grid_reduce(const Source &source, int dimensions, const std::string &reduce,
                   const std::vector<ArgumentType> &arguments);
// And of a function applied to entries of arrays, a thread each: the arguments are their number, int64, the function's
// (arrays: of a first axis more than the function gets, as numbers where that is all), and arrays of one dimension for
// the results. Throws CompileError.
Module grid_elementwise(const std::shared_ptr<Source> &source, int results, const std::vector<ArgumentType> &arguments);

const char *kind_name(Kind kind);

} // namespace perigee::kernel
