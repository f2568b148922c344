#include "kernel/cuda_prelude.hpp"
#include "kernel/cuda_writer.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace perigee::kernel::cuda {

std::string Writer::prototype() {
  names();
  std::string text;
  if (kernel_)
    text = "extern \"C\" __global__ void ";
  else
    text = "static __device__ " +
           (f_.results.empty()       ? "void"
            : f_.results.size() == 1 ? type_text(f_.results[0])
                                     : results_name()) +
           " ";
  text += shared_.names[index_] + "(";
  bool first = true;
  for (const Argument &p : f_.parameters) {
    text += first ? "" : ", ";
    first = false;
    if (p.is_array)
      text += array_type(f_.arrays[std::size_t(p.index)]) + " " + arrays_[std::size_t(p.index)];
    else
      text += parameter_type(p.index) + " " + variables_[std::size_t(p.index)];
  }
  if (partials())
    text += std::string(first ? "" : ", ") + type_text(f_.results[0]) + " *partial";
  return text + ")";
}

std::string Writer::results_struct() {
  if (kernel_ || f_.results.size() < 2)
    return "";
  std::string text = "struct " + results_name() + " {";
  for (std::size_t i = 0; i < f_.results.size(); ++i)
    text += " " + type_text(f_.results[i]) + " r" + std::to_string(i + 1) + ";";
  return text + " };\n";
}

std::string Writer::define() {
  out_ = comment_first() + prototype() + "\n{\n";
  depth_ = 1;
  for (std::size_t a = 0; a < f_.arrays.size(); ++a)
    own_array(a);
  find_places();
  for (std::size_t v = 0; v < f_.variables.size(); ++v)
    if (outside_.count(std::int32_t(v)) && !is_parameter(std::int32_t(v)))
      line(variable_type(std::int32_t(v)) + " " + variables_[v] +
               (f_.variables[v].type == Type::complex128 ? " = {0, 0};" : " = 0;"),
           {});
  spread_ = kernel_ ? shared_.options.spread : 0;
  block(f_.body, true);
  if (!kernel_ && !f_.results.empty() && (f_.body.empty() || f_.body.back().step != Step::return_))
    line("return {};", {});
  return out_ + "}\n";
}

std::string Writer::codes() {
  std::string text;
  for (const Argument &p : f_.parameters) {
    if (p.is_array) {
      const Array &a = f_.arrays[std::size_t(p.index)];
      text += (a.contiguous ? "A" : "S") + std::to_string(a.dtype) + "," + std::to_string(a.ndim) + " ";
      continue;
    }
    const std::string t = parameter_type(p.index);
    text += t == "double" ? "d " : t == "float" ? "f " : t == "bool" ? "b " : t == "complex128" ? "z " : "l ";
  }
  return text + (partials() ? "p " : "");
}

// The functions that are called.
std::vector<std::size_t> Writer::callees() const {
  std::vector<std::size_t> list;
  for (const Node &n : f_.nodes)
    if (n.op == Op::call)
      list.push_back(std::size_t(n.index));
  return list;
}

void Writer::names() {
  if (!variables_.empty() || !arrays_.empty())
    return;
  std::set<std::string> taken(shared_.names.begin(), shared_.names.end());
  // Parameters first: they keep their names.
  arrays_.resize(f_.arrays.size());
  variables_.resize(f_.variables.size());
  for (const Argument &p : f_.parameters) {
    std::string &name = p.is_array ? arrays_[std::size_t(p.index)] : variables_[std::size_t(p.index)];
    name = unused(
        identifier(p.is_array ? f_.arrays[std::size_t(p.index)].name : f_.variables[std::size_t(p.index)].name), taken);
  }
  for (std::size_t i = 0; i < arrays_.size(); ++i)
    if (arrays_[i].empty())
      arrays_[i] = unused(identifier(f_.arrays[i].name), taken);
  for (std::size_t i = 0; i < variables_.size(); ++i)
    if (variables_[i].empty())
      variables_[i] = unused(identifier(f_.variables[i].name), taken);
  taken_ = std::move(taken);
}

bool Writer::is_parameter(std::int32_t v) const {
  return std::any_of(f_.parameters.begin(), f_.parameters.end(),
                     [&](const Argument &p) { return !p.is_array && p.index == v; });
}

std::string Writer::array_type(const Array &a) {
  use("Array");
  if (!a.contiguous)
    use("Strided");
  if (a.dtype >= PG_COMPLEX64)
    use("complex128");
  return std::string(a.contiguous ? "Array<" : "Strided<") + element_name(a.dtype) + ", " + std::to_string(a.ndim) +
         ">";
}

// A number passed is float64; one that is only ever used as float32 is passed as that.
std::string Writer::parameter_type(std::int32_t v) {
  const Type t = f_.variables[std::size_t(v)].type;
  if (t == Type::complex128)
    use("complex128");
  if (t == Type::float64 && kernel_ && only_single(v))
    return "float";
  return type_text(t);
}

bool Writer::only_single(std::int32_t v) const {
  std::vector<bool> converted(f_.nodes.size(), false);
  for (const Node &n : f_.nodes)
    if (n.op == Op::convert && n.type == Type::float32)
      converted[std::size_t(n.a)] = true;
  bool used = false;
  for (std::size_t i = 0; i < f_.nodes.size(); ++i)
    if (f_.nodes[i].op == Op::variable && f_.nodes[i].index == v) {
      if (!converted[i] || uses(Ref(i)) != 1)
        return false;
      used = true;
    }
  return used && !assigned(f_.body, v);
}

// In how many places a node is used by others, or by a statement.
int Writer::uses(Ref ref) const {
  int count = 0;
  for (const Node &n : f_.nodes) {
    count += (n.a == ref) + (n.b == ref) + (n.c == ref);
    count += int(std::count(n.arguments.begin(), n.arguments.end(), ref));
    for (const Row &row : n.rows)
      count += int(std::count(row.indices.begin(), row.indices.end(), ref));
  }
  count += uses_in(f_.body, ref);
  return count;
}

int Writer::uses_in(const std::vector<Instruction> &steps, Ref ref) {
  int count = 0;
  for (const Instruction &s : steps) {
    count += (s.a == ref) + (s.b == ref) + (s.c == ref);
    count += int(std::count(s.arguments.begin(), s.arguments.end(), ref));
    for (const auto &b : s.blocks)
      count += uses_in(b, ref);
  }
  return count;
}

bool Writer::assigned(const std::vector<Instruction> &steps, std::int32_t v) {
  for (const Instruction &s : steps) {
    if ((s.step == Step::assign || s.step == Step::for_ || s.step == Step::check_index) && s.variable == v)
      return true;
    if (std::find(s.targets.begin(), s.targets.end(), v) != s.targets.end())
      return true;
    for (const auto &b : s.blocks)
      if (assigned(b, v))
        return true;
  }
  return false;
}

bool Writer::narrow_variable(std::int32_t v) const {
  return f_.variables[std::size_t(v)].type == Type::int64 && !is_parameter(v) &&
         ranges_.variable(v).within(INT32_MIN, INT32_MAX) && !wide_counters_.count(v);
}

std::string Writer::variable_type(std::int32_t v) {
  if (f_.variables[std::size_t(v)].type == Type::complex128)
    use("complex128");
  return narrow_variable(v) ? "int" : type_text(f_.variables[std::size_t(v)].type);
}

void Writer::find_places() {
  std::vector<const std::vector<Instruction> *> around;
  visit(f_.body, around);
  for (const auto &[v, places] : places_) {
    if (is_parameter(v) || counters_.count(v))
      continue;
    // The innermost block that holds them all.
    std::size_t common = places[0].blocks.size();
    for (const Place &p : places) {
      std::size_t same = 0;
      while (same < common && same < p.blocks.size() && p.blocks[same] == places[0].blocks[same])
        ++same;
      common = same;
    }
    const Place &first = places[0];
    if (first.assigns && first.blocks.size() == common)
      declared_at_[first.step].push_back(v);
    else
      outside_.insert(v);
  }
}

void Writer::note(std::int32_t v, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step,
                  bool assigns) {
  places_[v].push_back({around, step, assigns});
}

void Writer::note_node(Ref ref, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step) {
  if (ref < 0)
    return;
  const Node &n = node(ref);
  if (n.op == Op::variable)
    note(n.index, around, step, false);
  for (const Ref r : {n.a, n.b, n.c})
    note_node(r, around, step);
  for (const Ref r : n.arguments)
    note_node(r, around, step);
  for (const Row &row : n.rows)
    for (const Ref r : row.indices)
      note_node(r, around, step);
}

void Writer::visit(const std::vector<Instruction> &steps, std::vector<const std::vector<Instruction> *> &around) {
  around.push_back(&steps);
  for (const Instruction &s : steps) {
    if (s.step != Step::repeat)
      for (const Ref r : {s.a, s.b, s.c})
        note_node(r, around, &s);
    for (const Ref r : s.arguments)
      note_node(r, around, &s);
    if (s.step == Step::for_) {
      const bool before = places_.count(s.variable) > 0 && !counters_.count(s.variable);
      if (before)
        note(s.variable, around, &s, false);
      else
        counters_.insert(s.variable);
      if (f_.variables[std::size_t(s.variable)].type == Type::int64 && !fits_with_step(s))
        wide_counters_.insert(s.variable);
    }
    for (const auto &b : s.blocks)
      visit(b, around);
    if (s.step == Step::repeat)
      note_node(s.a, around, &s); // after the body, and outside of its braces
    if (s.step == Step::assign || s.step == Step::check_index)
      note(s.variable, around, &s, s.step == Step::assign);
    for (const std::int32_t target : s.targets)
      if (target >= 0)
        note(target, around, &s, true);
  }
  around.pop_back();
}

// Whether an int can count it: the step after the last round included.
bool Writer::fits_with_step(const Instruction &s) const {
  const Node &by = node(s.c);
  if (by.op != Op::constant || std::abs(by.integer) > (1 << 20))
    return false;
  return ranges_.variable(s.variable).within(INT32_MIN + (1 << 21), INT32_MAX - (1 << 21));
}

} // namespace perigee::kernel::cuda

namespace perigee::kernel {

CudaText cuda_text(const Module &module, const CudaOptions &options) {
  using namespace cuda;
  Shared shared{module, options, {}, {}, {}};
  std::set<std::string> taken;
  for (const Function &f : module.functions) {
    std::string name = f.name;
    if (name.rfind("the kernel of ", 0) == 0) // one without a name of its own: "kernel_line_12"
      name = "kernel_" + name.substr(14);
    shared.names.push_back(unused(identifier(name), taken));
    if (f.text && !shared.lines.count(f.chunk)) {
      std::vector<std::string> &lines = shared.lines[f.chunk];
      std::size_t begin = 0;
      while (begin <= f.text->size()) {
        const std::size_t end = std::min(f.text->find('\n', begin), f.text->size());
        lines.push_back(f.text->substr(begin, end - begin));
        begin = end + 1;
      }
    }
  }
  // Functions after those that they call.
  std::vector<std::optional<Writer>> writers(module.functions.size());
  std::string bodies;
  std::vector<int> state(module.functions.size(), 0);
  auto write = [&](auto &&self, std::size_t i) -> void {
    if (state[i]++ > 0)
      return;
    writers[i].emplace(shared, i);
    for (const std::size_t callee : writers[i]->callees())
      self(self, callee);
    bodies += "\n" + writers[i]->results_struct() + writers[i]->define();
  };
  write(write, 0);
  CudaText out;
  out.entry = shared.names[0];
  out.parameters = writers[0]->codes();
  out.text = "typedef long long int64;\n";
  out.text += options.wide ? "typedef int64 index_t; // offsets in arrays\n"
                           : "typedef int index_t; // offsets in arrays: all are shorter than 2^30\n";
  for (const CudaPart &part : cuda_parts()) // those that others need come before them
    if (shared.parts.count(part.name) && part.needs[0] != 0)
      shared.parts.insert(part.needs);
  for (const CudaPart &part : cuda_parts())
    if (shared.parts.count(part.name))
      out.text += std::string("\n") + part.text;
  out.text += bodies;
  return out;
}

} // namespace perigee::kernel
