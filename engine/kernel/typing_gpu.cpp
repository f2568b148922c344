// Typing: what only kernels of a GPU may use.
#include "kernel/builder.hpp"

#include <cctype>

namespace perigee::kernel {

void Builder::need_gpu(const std::string &name, Position where) const {
  if (!owner_.gpu())
    fail(where, "'" + name + "' is for kernels of a GPU: make this one with gpu.kernel");
}

Ref Builder::place(Gpu which, int dimension, const std::string &name, Position where) {
  need_gpu(name, where);
  Node node;
  node.op = Op::place;
  node.gpu = which;
  node.integer = dimension;
  node.at = where;
  return add(std::move(node), Kind::integer);
}

bool Builder::grid_call(const Expression &e) const {
  return e.kind == ExpressionKind::call && callee(e).what == Binding::What::builtin &&
         special(grids, callee(e).text) != Gpu::none;
}

// The first `wanted` results of gpu.grid(n) or gpu.gridsize(n).
std::vector<Ref> Builder::grid_values(const Expression &e, std::size_t wanted) {
  const std::string name = callee(e).text;
  need_gpu(name, e.at);
  const std::int64_t dimensions = e.operands.size() == 2 ? constant_index(*e.operands[1]) : 0;
  if (dimensions < 1 || dimensions > 3)
    fail(e.at, "'" + name + "' takes the number of dimensions: 1, 2 or 3");
  if (wanted > std::size_t(dimensions))
    fail(e.at, "'" + name + "(" + std::to_string(dimensions) + ")' returns " + std::to_string(dimensions) +
                   (dimensions == 1 ? " value, and " : " values, and ") + std::to_string(wanted) + " are expected");
  std::vector<Ref> values;
  for (std::size_t d = 0; d < wanted; ++d)
    values.push_back(place(special(grids, name), int(d), name, e.at));
  return values;
}

Ref Builder::gpu_call(const Expression &e, const std::string &name) {
  need_gpu(name, e.at);
  if (special(grids, name) != Gpu::none)
    return grid_values(e, 1)[0];
  if (const Gpu which = special(atomics, name); which != Gpu::none)
    return atomic(e, name, which);
  if (const Gpu which = special(warps, name); which != Gpu::none)
    return warp(e, name, which);
  if (name == "gpu.shared")
    fail(e.at, "shared memory needs a name: local tile = gpu.shared(\"float32\", 256)");
  if (name == "gpu.stride")
    fail(e.at, "'gpu.stride' stands in a loop: for i in gpu.stride(#x) do");
  if (std::find(std::begin(syncs), std::end(syncs), name) != std::end(syncs))
    fail(e.at, "'" + name + "' returns nothing");
  if (place_named(name).first != Gpu::none || special(places, name) != Gpu::none)
    fail(e.at, "'" + name + "' is no function: write " + (place_named(name).first != Gpu::none ? name : name + ".x") +
                   " without brackets");
  no_special(name, e.at);
}

void Builder::no_special(const std::string &name, Position where) const {
  if (name == "gpu.syncthreads" || name == "gpu.barrier")
    fail(where, "'" + name + "' is nothing that kernels know: gpu.sync() is the barrier of a block");
  for (const auto &[theirs, ours] : {std::pair{"gpu.atomicAdd", "gpu.atomic.add(a, i, value)"},
                                     {"gpu.atomicSub", "gpu.atomic.sub(a, i, value)"},
                                     {"gpu.atomicMin", "gpu.atomic.min(a, i, value)"},
                                     {"gpu.atomicMax", "gpu.atomic.max(a, i, value)"},
                                     {"gpu.atomicCAS", "gpu.atomic.cas(a, i, expected, value)"},
                                     {"gpu.syncwarps", "gpu.syncwarp()"},
                                     {"gpu.tid", "gpu.threadIdx.x"}})
    if (name == theirs)
      fail(where, "'" + name + "' is nothing that kernels know: write " + ours);
  auto lower = [](std::string text) {
    for (char &c : text)
      c = char(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  for (const char *known : {"gpu.threadIdx", "gpu.blockIdx", "gpu.blockDim", "gpu.gridDim", "gpu.laneid",
                            "gpu.warpsize", "gpu.gridsize", "gpu.syncwarp", "gpu.threadfence"})
    if (const std::string mine = lower(name), theirs = lower(known);
        name.substr(0, theirs.size()) != known && (mine == theirs || mine.starts_with(theirs + ".")))
      fail(where, "'" + name + "' is nothing that kernels know: write " + known + name.substr(theirs.size()));
  fail(where, "'" + name +
                  "' is nothing that kernels know: of gpu they know threadIdx, blockIdx, blockDim, gridDim (.x, "
                  ".y, .z), grid, gridsize, stride, laneid, warpsize, shared, sync, syncwarp, threadfence, "
                  "atomic.add (sub, min, max, band, bor, bxor, exchange, cas), shfl, shfl_up, shfl_down, "
                  "shfl_xor, ballot, any, all and popc");
}

Ref Builder::atomic(const Expression &e, const std::string &name, Gpu which) {
  const bool swap = which == Gpu::atomic_compare_and_swap;
  const std::size_t values = swap ? 2 : 1;
  const std::string usage = swap ? name + "(a, i, expected, value)" : name + "(a, i, value)";
  View view;
  if (e.operands.size() < 2 + values || !as_view(*e.operands[1], view))
    fail(e.at, "'" + name + "' takes an array, the indices of an element and " + (swap ? "two values" : "a value") +
                   ": " + usage);
  for (std::size_t i = 2; i + values < e.operands.size(); ++i)
    push_index(view, *e.operands[i]);
  Array &array = out_.arrays[std::size_t(view.array)];
  if (int(view.leading.size()) != array.ndim)
    fail(e.at, "'" + array.name + "' has " + counted(array.ndim, "dimension") + ", and " +
                   std::to_string(view.leading.size()) + (view.leading.size() == 1 ? " index names" : " indices name") +
                   " no element: " + usage);
  if (!array.writable)
    fail(e.at, "'" + array.name + "' is read-only");
  if (!array.lengths.empty() && !array.shared)
    fail(e.at, "'" + array.name + "' is this thread's own: nothing else changes it, so it needs no atomics");
  const bool whole =
      array.dtype == PG_INT32 || array.dtype == PG_UINT32 || array.dtype == PG_INT64 || array.dtype == PG_UINT64;
  const bool floats = array.dtype == PG_FLOAT32 || array.dtype == PG_FLOAT64;
  const bool bits = which == Gpu::atomic_and || which == Gpu::atomic_or || which == Gpu::atomic_xor;
  if (!whole && (!floats || bits || swap))
    fail(e.at, "'" + name + "' works on arrays of int32, uint32, int64" + (bits || swap ? " and" : ",") + " uint64" +
                   (bits || swap ? "" : ", float32 and float64") + ", and '" + array.name + "' is of another dtype");
  array.written = true;
  Node node;
  node.op = Op::atomic;
  node.gpu = which;
  node.at = e.at;
  node.index = view.array;
  node.arguments = view.leading;
  node.integer = std::int64_t(view.leading.size()) - view.unchecked;
  const Kind element = kind_of_dtype(array.dtype);
  for (std::size_t i = 0; i < values; ++i) {
    const Ref v = value(*e.operands[e.operands.size() - values + i]);
    need_number(v, "'" + name + "'");
    if (kind(v) == Kind::complex || (element == Kind::integer && kind(v) > Kind::integer))
      fail(at(v), std::string("a ") + kind_name(kind(v)) + " cannot be stored in '" + array.name + "', an array of " +
                      (element == Kind::integer ? "integers: kernel.int64(x) cuts the fraction" : "real numbers"));
    (i == 0 ? node.a : node.b) = convert(v, element);
  }
  return add(std::move(node), element);
}

Ref Builder::warp(const Expression &e, const std::string &name, Gpu which) {
  const bool shuffle = which <= Gpu::shuffle_xor;
  const std::size_t count = e.operands.size() - 1;
  if (shuffle ? count < 2 || count > 3 : count != 1)
    fail(e.at, "'" + name + "' takes " +
                   (which == Gpu::shuffle       ? "a value and a lane (from 1)"
                    : which == Gpu::shuffle_xor ? "a value and a mask"
                    : shuffle                   ? "a value and how many lanes away"
                    : which == Gpu::popcount    ? "an integer"
                                                : "a condition"));
  const Ref a = value(*e.operands[1]);
  Node node;
  node.op = Op::warp;
  node.gpu = which;
  node.at = e.at;
  if (!shuffle) {
    const bool number = which == Gpu::popcount;
    if (kind(a) != Kind::unknown && kind(a) != (number ? Kind::integer : Kind::boolean))
      fail(e.at, "'" + name + "' takes " + (number ? "an integer" : "a condition: compare with something"));
    node.a = a;
    return add(std::move(node), which == Gpu::any || which == Gpu::all ? Kind::boolean : Kind::integer);
  }
  if (kind(a) == Kind::complex)
    fail(e.at, "'" + name + "' of a complex number is not supported: shuffle its parts");
  const Ref b = value(*e.operands[2]);
  if (kind(b) != Kind::integer && kind(b) != Kind::unknown)
    fail(at(b), "'" + name + "': lanes are integers");
  node.integer = 32;
  if (count == 3) {
    node.integer = constant_index(*e.operands[3]);
    if (node.integer < 2 || node.integer > 32 || (node.integer & (node.integer - 1)) != 0)
      fail(at(b), "'" + name + "': the width is 2, 4, 8, 16 or 32");
  }
  node.a = a;
  node.b = b;
  const Kind result = kind(a);
  return add(std::move(node), result);
}

} // namespace perigee::kernel
