#include "fuzz/readers.hpp"

#include "kernel/bounds.hpp"
#include "kernel/parallel.hpp"
#include "kernel/typing.hpp"

#include <cstdlib>
#include <string_view>

namespace perigee::fuzz {

using namespace perigee::kernel;

namespace {

// The first function of a block, as a kernel of two parameters would be found.
const FunctionBody *first_function(const Block &block) {
  for (const auto &s : block) {
    if (s->function)
      return s->function.get();
    for (const auto &e : s->expressions)
      if (e->function)
        return e->function.get();
    for (const auto &b : s->blocks)
      if (const FunctionBody *f = first_function(b))
        return f;
  }
  return nullptr;
}

ArgumentType argument(unsigned bits) {
  ArgumentType type;
  if (bits & 1) {
    type.is_array = true;
    type.kind = Kind::unknown;
    type.dtype = std::int32_t(bits >> 1) % 13;
    type.ndim = 1 + std::int32_t(bits >> 3 & 1);
    type.contiguous = bits & 4;
  } else {
    type.kind = Kind(1 + (bits >> 1) % 6);
  }
  return type;
}

} // namespace

void kernel(const uint8_t *data, std::size_t size) {
  if (size < 2)
    return;
  Source source;
  source.chunk = "fuzzed";
  try {
    auto tree = std::make_shared<Chunk>(parse({reinterpret_cast<const char *>(data) + 2, size - 2}));
    source.body = first_function(tree->body);
    source.tree = tree;
    if (!source.body)
      return;
    for (const char *known : {"math", "bit", "array", "kernel", "gpu"}) {
      Binding &binding = source.bindings[known];
      binding.what = Binding::What::builtin;
      binding.text = known;
    }
    Binding &number = source.bindings["n"];
    number.what = Binding::What::number;
    number.number = 3;
    std::vector<ArgumentType> types;
    for (std::size_t i = 0; i < source.body->parameters.size(); ++i)
      types.push_back(argument(data[i % 2]));
    if (data[1] & 64 && print(grid(source, types)).empty()) // a kernel of a GPU
      std::abort();
    Module module = data[0] & 128 && types.size() > 1 && !types[0].is_array ? [&] {
      types.insert(types.begin(), ArgumentType()); // first and last of the index
      types[0].kind = types[1].kind = Kind::integer;
      return parallel_for(source, 1, data[1] & 128 ? "sum" : "", types);
    }() : specialise(source, types);
    for (const LoopVerdict &verdict : parallelise(module))
      if (!verdict.parallel && verdict.why.empty())
        std::abort();
    hoist_checks(module);
    if (print(module).empty() || identity(module).empty())
      std::abort();
  } catch (const SourceError &e) {
    if (e.message.empty() || e.at.line < 1)
      std::abort();
  } catch (const CompileError &e) {
    if (e.message.empty())
      std::abort();
  }
}

} // namespace perigee::fuzz
