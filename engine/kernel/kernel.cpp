// The front end of kernels behind its C ABI (kernel_abi.h).
#include "array/array.hpp"
#include "core/abi.hpp"
#include "core/status.hpp"
#include "kernel/bounds.hpp"
#include "kernel/cuda.hpp"
#include "kernel/grid.hpp"
#include "kernel/parallel.hpp"
#include "kernel/typing.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "kernel/kernel_abi.h"
}
#pragma GCC visibility pop

#include <cctype>
#include <cstdio>
#include <mutex>
#include <optional>
#include <set>

using namespace perigee;

struct pg_kernel_source {
  std::shared_ptr<kernel::Source> source;
  std::vector<kernel::FreeName> names;
};

struct pg_kernel_module {
  kernel::Module module;
  kernel::Module plain; // before checks of indices left its loops, where they did: for backends that do not check
  std::optional<std::string> text, loops, variables, identity;
  std::string parallel;
  kernel::CudaText cuda;
};

namespace {

[[noreturn]] void raise(const std::string &chunk, kernel::Position at, const std::string &message) {
  throw ArgumentError(chunk + ":" + std::to_string(at.line) + ": " + message);
}

kernel::Binding &bind(pg_kernel_source *source, const char *name, kernel::Binding::What what) {
  kernel::Binding &binding = source->source->bindings[name];
  binding = {};
  binding.what = what;
  return binding;
}

} // namespace

int32_t pg_kernel_parse(pg_kernel_source **out, const char *text, int64_t size, const char *chunk, int32_t first,
                        int32_t last, const char *name) {
  return guard([&] {
    auto made = std::make_unique<pg_kernel_source>();
    made->source = std::make_shared<kernel::Source>();
    kernel::Source &source = *made->source;
    source.chunk = chunk;
    source.name = name;
    source.text = std::make_shared<const std::string>(text, std::size_t(size));
    try {
      source.tree = std::make_shared<kernel::Chunk>(kernel::parse({text, std::size_t(size)}));
    } catch (const kernel::SourceError &e) {
      raise(chunk, e.at, e.message);
    }
    int count = 0;
    source.body = kernel::find_function(*source.tree, first, last, &count);
    if (count > 1)
      raise(chunk, {first, 1},
            std::to_string(count) +
                " functions stand on this line and cannot be told apart: give each a line of its own");
    if (!source.body)
      throw InternalError("no function at line " + std::to_string(first) + " of " + chunk);
    made->names = kernel::free_names(*source.body);
    *out = made.release();
  });
}

int32_t pg_kernel_free_names(const pg_kernel_source *source) {
  return int32_t(source->names.size());
}
const char *pg_kernel_free_name(const pg_kernel_source *source, int32_t i) {
  return source->names[std::size_t(i)].name.c_str();
}

void pg_kernel_bind_number(pg_kernel_source *source, const char *name, double value) {
  bind(source, name, kernel::Binding::What::number).number = value;
}
void pg_kernel_bind_boolean(pg_kernel_source *source, const char *name, int32_t value) {
  bind(source, name, kernel::Binding::What::boolean).boolean = value != 0;
}
void pg_kernel_bind_builtin(pg_kernel_source *source, const char *name, const char *builtin) {
  bind(source, name, kernel::Binding::What::builtin).text = builtin;
}
void pg_kernel_bind_refused(pg_kernel_source *source, const char *name, const char *what) {
  bind(source, name, kernel::Binding::What::refused).text = what;
}
void pg_kernel_bind_function(pg_kernel_source *source, const char *name, const pg_kernel_source *function) {
  bind(source, name, kernel::Binding::What::function).function = function->source;
}

void pg_kernel_close_source(pg_kernel_source *source) {
  if (source)
    source->source->bindings.clear(); // functions that name each other must not keep each other
  delete source;
}

namespace {

kernel::ArgumentType argument_type(const pg_kernel_argument &a) {
  kernel::ArgumentType type;
  type.is_array = a.kind == 0;
  type.kind = a.kind == 0 ? kernel::Kind::unknown : kernel::Kind(a.kind);
  type.dtype = a.dtype;
  type.ndim = a.ndim;
  type.contiguous = a.contiguous != 0;
  type.writable = a.writable != 0;
  return type;
}

// Runs what makes a module; errors in the source become those of the ABI.
template <class Make> int32_t make_module(pg_kernel_module **out, Make &&make, bool parallel = false) {
  return guard([&] {
    try {
      auto made = std::make_unique<pg_kernel_module>();
      made->module = make();
      if (made->module.entry != kernel::Entry::grid) {
        made->plain = made->module;
        if (parallel)
          for (const kernel::LoopVerdict &v : kernel::parallelise(made->module))
            made->parallel += v.chunk + "\t" + std::to_string(v.at.line) + "\t" + std::to_string(v.at.column) + "\t" +
                              (v.parallel ? "1" : "0") + "\t" + std::to_string(v.where.line) + "\t" + v.why + "\n";
        kernel::hoist_checks(made->module);
      }
      *out = made.release();
    } catch (const kernel::CompileError &e) {
      raise(e.chunk, e.at, e.message);
    }
  });
}

} // namespace

int32_t pg_kernel_specialise(pg_kernel_module **out, const pg_kernel_source *source,
                             const pg_kernel_argument *arguments, int32_t count, int32_t parallel) {
  auto make = [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::specialise(*source->source, types);
  };
  return make_module(out, make, parallel != 0);
}
const char *pg_kernel_parallel(pg_kernel_module *module) {
  return module->parallel.c_str();
}

int32_t pg_kernel_grid(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                       int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::grid(*source->source, types);
  });
}

int32_t pg_kernel_grid_loop(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                            const pg_kernel_argument *arguments, int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::grid_loop(*source->source, dimensions, types);
  });
}

int32_t pg_kernel_grid_reduce(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                              const char *reduce, const pg_kernel_argument *arguments, int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::grid_reduce(*source->source, dimensions, reduce, types);
  });
}

int32_t pg_kernel_grid_elementwise(pg_kernel_module **out, const pg_kernel_source *source, int32_t results,
                                   const pg_kernel_argument *arguments, int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::grid_elementwise(source->source, results, types);
  });
}

int32_t pg_kernel_packed(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                         int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    kernel::Module module = kernel::specialise(*source->source, types);
    module.entry = kernel::Entry::packed;
    return module;
  });
}

int32_t pg_kernel_elementwise(pg_kernel_module **out, const pg_kernel_source *source,
                              const pg_kernel_argument *arguments, int32_t count, int32_t *outputs, int32_t *results,
                              int32_t outputs_contiguous) {
  return make_module(out, [&] {
    std::vector<kernel::Operand> operands;
    for (int32_t i = 0; i < count; ++i)
      operands.push_back(
          {arguments[i].kind == 0, kernel::Kind(arguments[i].kind), arguments[i].dtype, arguments[i].contiguous != 0});
    std::vector<std::int32_t> dtypes(outputs, outputs + *results);
    kernel::Module module = kernel::elementwise(*source->source, operands, dtypes, outputs_contiguous != 0);
    if (dtypes.size() > 8)
      throw ArgumentError("a whole-array operation has at most 8 results, and this has " +
                          std::to_string(dtypes.size()));
    std::copy(dtypes.begin(), dtypes.end(), outputs);
    *results = int32_t(dtypes.size());
    return module;
  });
}

int32_t pg_kernel_parallel_for(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                               const char *reduce, const pg_kernel_argument *arguments, int32_t count) {
  return make_module(out, [&] {
    std::vector<kernel::ArgumentType> types;
    for (int32_t i = 0; i < count; ++i)
      types.push_back(argument_type(arguments[i]));
    return kernel::parallel_for(*source->source, dimensions, reduce, types);
  });
}

int32_t pg_kernel_block(pg_kernel_module **out, const pg_kernel_module *grid, int32_t *launch_dtype) {
  return guard([&] {
    auto made = std::make_unique<pg_kernel_module>();
    made->module = kernel::block_of(grid->module);
    const kernel::Function &f = made->module.functions[0];
    const bool takes = f.parameters.size() > grid->module.functions[0].parameters.size() + kernel::block_parameters;
    *launch_dtype = takes ? f.arrays[std::size_t(f.parameters.back().index)].dtype : -1;
    *out = made.release();
  });
}

const void *pg_kernel_contents(const pg_kernel_module *module) {
  return &module->module;
}
const char *pg_kernel_identity(pg_kernel_module *module, int64_t *size) {
  if (!module->identity)
    module->identity = kernel::identity(module->module);
  *size = int64_t(module->identity->size());
  return module->identity->c_str();
}
const char *pg_kernel_text(pg_kernel_module *module) {
  if (!module->text)
    module->text = kernel::print(module->module);
  return module->text->c_str();
}
namespace {

// Adds the loops of a block; says whether there are any.
bool list_loops(const std::vector<kernel::Instruction> &steps, const std::string &chunk, std::set<std::string> &lines) {
  bool any = false;
  for (const kernel::Instruction &s : steps) {
    bool inside = false;
    for (const auto &block : s.blocks)
      inside |= list_loops(block, chunk, lines);
    const bool loop = s.step == kernel::Step::for_ || s.step == kernel::Step::while_ || s.step == kernel::Step::repeat;
    if (loop && s.at.line > 0) {
      char place[64];
      std::snprintf(place, sizeof place, "%06d\t%d\t%d", s.at.line, s.at.column, inside ? 0 : 1);
      lines.insert(chunk + "\t" + place + "\n");
    }
    any |= inside || loop;
  }
  return any;
}

} // namespace

const char *pg_kernel_loops(pg_kernel_module *module) {
  if (!module->loops) {
    std::set<std::string> lines; // a loop that has two copies is listed once
    for (const kernel::Function &f : module->module.functions)
      list_loops(f.body, f.chunk, lines);
    module->loops.emplace();
    for (const std::string &line : lines)
      *module->loops += line;
  }
  return module->loops->c_str();
}

const char *pg_kernel_variables(pg_kernel_module *module) {
  if (!module->variables) {
    std::set<std::string> lines; // a function may be there for several types of arguments
    auto add = [&](const kernel::Function &f, const std::string &name, kernel::Position at, const std::string &type) {
      if (at.line <= 0 || name.empty() || !(std::isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_'))
        return;
      char place[48];
      std::snprintf(place, sizeof place, "\t%06d\t%06d\t", at.line, at.column);
      lines.insert(f.chunk + place + name + "\t" + type + "\n");
    };
    for (const kernel::Function &f : module->module.functions) {
      for (const kernel::Variable &v : f.variables)
        if (v.type != kernel::Type::none)
          add(f, v.name, v.at, kernel::type_name(v.type));
      for (const kernel::Array &a : f.arrays) {
        std::string axes;
        for (int32_t d = 0; d < a.ndim; ++d)
          axes += d == 0 ? ":" : ",:";
        add(f, a.name, a.at,
            std::string(array::dtype_name(a.dtype)) + "[" + axes + "]" +
                (a.contiguous || !a.lengths.empty() ? "" : " strided"));
      }
    }
    module->variables.emplace();
    for (const std::string &line : lines)
      *module->variables += line;
  }
  return module->variables->c_str();
}

int32_t pg_kernel_writes(const pg_kernel_module *module, int32_t i) {
  const kernel::Function &f = module->module.functions[0];
  const kernel::Argument &p = f.parameters[std::size_t(i)];
  return p.is_array && f.arrays[std::size_t(p.index)].written;
}

namespace {

bool reads(const kernel::Module &module, std::size_t function, int32_t array) {
  const kernel::Function &f = module.functions[function];
  for (const kernel::Node &n : f.nodes) {
    if ((n.op == kernel::Op::load || n.op == kernel::Op::atomic) && n.index == array)
      return true;
    if (n.op != kernel::Op::call)
      continue;
    const kernel::Function &callee = module.functions[std::size_t(n.index)];
    for (std::size_t i = 0; i < n.arguments.size(); ++i)
      if (n.arguments[i] == -1 - array && reads(module, std::size_t(n.index), callee.parameters[i].index))
        return true;
  }
  return false;
}

} // namespace

int32_t pg_kernel_reads(const pg_kernel_module *module, int32_t i) {
  const kernel::Argument &p = module->module.functions[0].parameters[std::size_t(i)];
  return p.is_array && reads(module->module, 0, p.index);
}

const char *pg_kernel_keep_name(const char *name) {
  static std::mutex mutex;
  static std::set<std::string> names; // nodes of a set stay where they are
  const std::lock_guard lock(mutex);
  return names.insert(name).first->c_str();
}

int32_t pg_kernel_cuda(const char **text, const char **entry, const char **parameters, pg_kernel_module *module,
                       int32_t wide, int32_t spread) {
  return guard([&] {
    const kernel::Module &of = module->module.entry == kernel::Entry::grid ? module->module : module->plain;
    module->cuda = kernel::cuda_text(of, {wide != 0, spread});
    *text = module->cuda.text.c_str();
    *entry = module->cuda.entry.c_str();
    *parameters = module->cuda.parameters.c_str();
  });
}

int32_t pg_kernel_results(const pg_kernel_module *module) {
  return int32_t(module->module.functions[0].results.size());
}
int32_t pg_kernel_result(const pg_kernel_module *module, int32_t i) {
  return int32_t(module->module.functions[0].results[std::size_t(i)]);
}
void pg_kernel_close_module(pg_kernel_module *module) {
  delete module;
}
