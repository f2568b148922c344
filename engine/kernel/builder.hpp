// What the files of typing share: a function on its way to the typed form, and the functions of a module.
#pragma once

#include "kernel/typing.hpp"

#include "core/abi.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

namespace perigee::kernel {

inline Type type_of(Kind kind) {
  switch (kind) {
  case Kind::unknown:
    return Type::none;
  case Kind::boolean:
    return Type::boolean;
  case Kind::integer:
    return Type::int64;
  case Kind::number:
  case Kind::float64:
    return Type::float64;
  case Kind::float32:
    return Type::float32;
  case Kind::complex:
    return Type::complex128;
  }
  return Type::none;
}

inline bool numeric(Kind kind) {
  return kind >= Kind::integer;
}

inline Kind kind_of_dtype(std::int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
    return Kind::boolean;
  case PG_FLOAT32:
    return Kind::float32;
  case PG_FLOAT64:
    return Kind::float64;
  case PG_COMPLEX64:
  case PG_COMPLEX128:
    return Kind::complex;
  default:
    return Kind::integer; // elements of integer arrays are Lua numbers
  }
}

// The kind that holds both; unknown where there is none. Kinds are in the order of what they hold, so the greater one.
inline Kind join(Kind a, Kind b) {
  if (a == Kind::unknown || b == Kind::unknown || a == b)
    return std::max(a, b);
  if (a == Kind::boolean || b == Kind::boolean)
    return Kind::unknown;
  return std::max(a, b);
}

// The largest function: what LLVM compiles in some seconds, hardly optimised.
constexpr std::size_t most_operations = 400000;

// What only kernels of a GPU know: values (dimensions: .x, .y and .z follow) and functions.
struct Special {
  const char *name;
  Gpu gpu;
};
inline constexpr Special places[] = {{"gpu.threadIdx", Gpu::thread_idx}, {"gpu.blockIdx", Gpu::block_idx},
                                     {"gpu.blockDim", Gpu::block_dim},   {"gpu.gridDim", Gpu::grid_dim},
                                     {"gpu.laneid", Gpu::lane},          {"gpu.warpsize", Gpu::warp_size}};
inline constexpr Special grids[] = {{"gpu.grid", Gpu::grid}, {"gpu.gridsize", Gpu::grid_size}};
inline constexpr Special atomics[] = {{"gpu.atomic.add", Gpu::atomic_add},
                                      {"gpu.atomic.sub", Gpu::atomic_subtract},
                                      {"gpu.atomic.min", Gpu::atomic_minimum},
                                      {"gpu.atomic.max", Gpu::atomic_maximum},
                                      {"gpu.atomic.band", Gpu::atomic_and},
                                      {"gpu.atomic.bor", Gpu::atomic_or},
                                      {"gpu.atomic.bxor", Gpu::atomic_xor},
                                      {"gpu.atomic.exchange", Gpu::atomic_exchange},
                                      {"gpu.atomic.cas", Gpu::atomic_compare_and_swap}};
inline constexpr Special warps[] = {{"gpu.shfl", Gpu::shuffle},
                                    {"gpu.shfl_up", Gpu::shuffle_up},
                                    {"gpu.shfl_down", Gpu::shuffle_down},
                                    {"gpu.shfl_xor", Gpu::shuffle_xor},
                                    {"gpu.ballot", Gpu::ballot},
                                    {"gpu.any", Gpu::any},
                                    {"gpu.all", Gpu::all},
                                    {"gpu.popc", Gpu::popcount}};
inline constexpr const char *syncs[] = {"gpu.sync", "gpu.syncwarp", "gpu.threadfence"}; // in the order of Step::sync

template <std::size_t n> Gpu special(const Special (&table)[n], std::string_view name) {
  for (const Special &s : table)
    if (name == s.name)
      return s.gpu;
  return Gpu::none;
}

// threadIdx.x and the like: which, and the dimension. Gpu::none for what is none.
inline std::pair<Gpu, int> place_named(const std::string &text) {
  if (const Gpu whole = special(places, text); whole == Gpu::lane || whole == Gpu::warp_size)
    return {whole, 0};
  if (text.size() > 2 && text[text.size() - 2] == '.' && text.back() >= 'x' && text.back() <= 'z')
    return {special(places, std::string_view(text).substr(0, text.size() - 2)), text.back() - 'x'};
  return {Gpu::none, 0};
}

// What a name in a scope stands for.
struct Name {
  enum class What { variable, array, binding, refused } what = What::refused;
  std::int32_t index = -1;           // variable; array
  std::vector<std::int32_t> leading; // array: int64 variables that index its first dimensions, checked
  Binding binding;
  std::string text; // refused: why
};

// An array with some of its first dimensions indexed.
struct View {
  std::int32_t array = -1;
  std::vector<Ref> leading;
  int unchecked = 0; // the last so many of `leading` are not yet known to be inside
};

struct Callee {
  std::int32_t index = -1;
  std::vector<Kind> results;
};

// "1 dimension", "2 dimensions".
inline std::string counted(std::int64_t n, const char *what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

class Specialiser;

// One function with the types of its arguments.
class Builder {
 public:
  Builder(Specialiser &owner, const Source &source, const std::vector<ArgumentType> &arguments)
      : owner_(owner), source_(source), arguments_(arguments) {}

  Function build(std::vector<Kind> *results);

 private:
  // ----------------------------------------------------------------- passes, variables, nodes and scopes (typing.cpp)
  [[noreturn]] void fail(Position at, const std::string &message) const;
  void run();
  static bool always_returns(const Block &body);
  static bool breaks(const Block &body);
  std::int32_t declare_variable(const std::string &name, Position at);
  std::int32_t new_variable(const std::string &name, Position at, Kind kind);
  Kind kind_of(std::int32_t variable) const;
  void assign_kind(std::int32_t variable, Kind kind, Position at);
  Ref add(Node node, Kind kind);
  Kind kind(Ref ref) const { return kinds_[std::size_t(ref)]; }
  Position at(Ref ref) const { return out_.nodes[std::size_t(ref)].at; }
  Ref make(Op op, Kind kind, Position at, Ref a = -1, Ref b = -1, Ref c = -1);
  Ref constant(double value, Kind kind, Position at);
  Ref integer(std::int64_t value, Position at);
  Ref variable(std::int32_t index, Position at);
  Ref unknown(Position at) { return make(Op::constant, Kind::unknown, at); }
  Ref convert(Ref ref, Kind to);
  void need_number(Ref ref, const std::string &what) const;
  Kind floating(Kind k) const { return k == Kind::integer ? Kind::number : k; }
  const Name *find(const std::string &name) const;
  Name resolve(const std::string &name, Position at) const;
  Binding constant_binding(const Expression &e) const;

  // ------------------------------------------------------------------------------- statements (typing_statements.cpp)
  void block(const Block &statements, std::vector<Instruction> &into, bool keep_scope);
  void statement(const Statement &s, std::vector<Instruction> &into, bool last);
  static std::string next_label(const Block &body);
  void set(std::int32_t target, Ref value, Position at, std::vector<Instruction> &into);
  void local(const Statement &s, std::vector<Instruction> &into);
  void store_result(Instruction &call, std::int32_t target, Kind from, Position at);
  void flush_call(Instruction call, std::vector<Instruction> &into);
  void assign(const Statement &s, std::vector<Instruction> &into);
  std::vector<View> target_views(const Statement &s, std::vector<Instruction> &into);
  std::int32_t target_variable(const Expression &target) const;
  void assign_one(const Expression &target, Ref v, std::vector<Instruction> &into);
  View target_view(const Expression &target);
  void element_store(const View &view, Ref v, Position where, std::vector<Instruction> &into);
  void call_statement(const Statement &s, std::vector<Instruction> &into);
  void if_statement(const Statement &s, std::vector<Instruction> &into, std::size_t branch);
  void for_statement(const Statement &s, std::vector<Instruction> &into);
  void stride_statement(const Statement &s, std::vector<Instruction> &into);
  void counted_loop(const Statement &s, Ref start, Ref limit, Ref step, std::vector<Instruction> &into);
  void return_statement(const Statement &s, std::vector<Instruction> &into);

  // --------------------------------------------------------------------------------------- arrays (typing_arrays.cpp)
  bool as_view(const Expression &e, View &view);
  void push_index(View &view, const Expression &e);
  int dimensions(const View &view) const { return out_.arrays[std::size_t(view.array)].ndim; }
  View array_view(const Expression &e);
  Ref load(const View &view, Position where);
  bool alias(const Expression &e, const std::string &as, Name &name, std::vector<Instruction> &into);
  std::int32_t own_dtype(const std::string &dtype, Position where) const;
  std::int32_t local_array(const Expression &e, const std::string &as, bool ones, std::vector<Instruction> &into);
  Ref length_of(const View &view, std::int64_t dimension, Position where);
  // gpu.shared("float32", 16, 16), or without lengths: what the launch gives.
  std::int32_t shared_array(const Expression &e, const std::string &as);

  // ----------------------------------------------------------------------------- expressions (typing_expressions.cpp)
  Ref condition(const Expression &e, const char *what);
  Ref value(const Expression &e);
  bool builtin_value(const std::string &text, double *v) const;
  Ref binding_value(const Binding &binding, const std::string &name, Position where);
  Ref name_value(const Expression &e);
  Ref index_value(const Expression &e);
  std::optional<std::int64_t> known_integer(Ref r) const;
  std::int64_t constant_index(const Expression &e);
  Ref method_value(const Expression &e);
  Ref unary(const Expression &e);
  Ref binary(const Expression &e);
  Ref logical(const Expression &e);
  Ref of_booleans(const Expression &e, Ref a, Ref b);

  // ----------------------------------------------------------------------------------------- calls (typing_calls.cpp)
  static bool is_call(const Expression &e);
  Binding callee(const Expression &call) const { return constant_binding(*call.operands[0]); }
  bool user_function(const Expression &e) const;
  Ref math(Math function, std::vector<Ref> arguments, Kind kind, Position where);
  Ref call_value(const Expression &e);
  // A call of a function in Lua: its node, and the kinds of its first `wanted` results (-1: all).
  Ref call_many(const Expression &e, std::size_t wanted, std::vector<Kind> &kinds);
  Ref builtin_call(const Expression &e, const std::string &name);
  Ref unit(Position where);
  // A float as what the bit library takes: wrapped to 32 bits later, so any int64 with the right low bits.
  Ref bits(Ref r) { return math(Math::to_bit, {convert(r, Kind::number)}, Kind::integer, at(r)); }

  // ----------------------------------------------------------------------------- what only a GPU has (typing_gpu.cpp)
  void need_gpu(const std::string &name, Position where) const;
  Ref place(Gpu which, int dimension, const std::string &name, Position where);
  bool grid_call(const Expression &e) const;
  std::vector<Ref> grid_values(const Expression &e, std::size_t wanted);
  Ref gpu_call(const Expression &e, const std::string &name);
  [[noreturn]] void no_special(const std::string &name, Position where) const;
  Ref atomic(const Expression &e, const std::string &name, Gpu which);
  Ref warp(const Expression &e, const std::string &name, Gpu which);

  struct Loop {
    std::string label; // that ends its body: `goto` it continues
  };

  Specialiser &owner_;
  const Source &source_;
  const std::vector<ArgumentType> &arguments_;
  Function out_;
  std::vector<Kind> kinds_; // of nodes
  std::vector<std::vector<std::pair<std::string, Name>>> scopes_;
  std::vector<Kind> learnt_;           // of declarations, kept over passes
  std::vector<std::int32_t> ordinals_; // of variables: their declaration; -1: ours
  std::vector<Kind> fixed_;            // of ours
  std::size_t next_variable_ = 0;
  bool changed_ = false, final_ = false, returned_ = false, returned_seen_ = false;
  std::vector<Kind> results_;
  Position first_return_;
  std::vector<Loop> loops_;
  std::vector<Instruction> after_call_;
  std::vector<Instruction> *hold_ = nullptr; // where indices are computed before they are used: of several targets
};

// The functions of a module: each once for the types of its arguments.
class Specialiser {
 public:
  Callee function(const Source &source, const std::vector<ArgumentType> &arguments, Position at,
                  const std::string &chunk);

  Module module;
  bool gpu() const { return module.entry == Entry::grid; }

 private:
  // Of an element of an array that a kernel makes (own_dtype).
  static int own_bytes(std::int32_t dtype) {
    return dtype == PG_BOOL || dtype == PG_UINT8      ? 1
           : dtype == PG_INT32 || dtype == PG_FLOAT32 ? 4
           : dtype == PG_COMPLEX128                   ? 16
                                                      : 8;
  }
  static constexpr std::int64_t most_shared =
      227 * 1024; // compute capability 9.0 (CUDA C++ Programming Guide, table 27)
  std::int64_t shared_bytes_ = 0;
  int launch_arrays_ = 0; // of the memory that the launch gives
  std::map<std::string, Callee> done_;
  std::int64_t own_bytes_ = 0; // of arrays inside functions
  std::vector<const FunctionBody *> running_;
};

} // namespace perigee::kernel
