#include "kernel/cuda.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"
#include "kernel/cuda_prelude.hpp"
#include "kernel/ranges.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace perigee::kernel {

namespace {

// How tightly an expression's outermost operator binds, as in C++.
enum Precedence { choice = 1, either, both, equality, relation, sum, product, prefix, primary };

struct Text {
  std::string s;
  int binding = primary;
  bool narrow = false; // of int64: its type in C++ is int
};

// Names that a kernel's own must not take.
const std::set<std::string> &reserved() {
  static const std::set<std::string> names = {"alignas",
                                              "alignof",
                                              "and",
                                              "asm",
                                              "auto",
                                              "bool",
                                              "break",
                                              "case",
                                              "catch",
                                              "char",
                                              "class",
                                              "const",
                                              "constexpr",
                                              "continue",
                                              "decltype",
                                              "default",
                                              "delete",
                                              "do",
                                              "double",
                                              "else",
                                              "enum",
                                              "explicit",
                                              "export",
                                              "extern",
                                              "false",
                                              "float",
                                              "for",
                                              "friend",
                                              "goto",
                                              "if",
                                              "inline",
                                              "int",
                                              "long",
                                              "mutable",
                                              "namespace",
                                              "new",
                                              "not",
                                              "operator",
                                              "or",
                                              "private",
                                              "protected",
                                              "public",
                                              "register",
                                              "return",
                                              "short",
                                              "signed",
                                              "sizeof",
                                              "static",
                                              "struct",
                                              "switch",
                                              "template",
                                              "this",
                                              "throw",
                                              "true",
                                              "try",
                                              "typedef",
                                              "typeid",
                                              "typename",
                                              "union",
                                              "unsigned",
                                              "using",
                                              "virtual",
                                              "void",
                                              "volatile",
                                              "while",
                                              "xor",
                                              "compl",
                                              "bitand",
                                              "bitor",
                                              "threadIdx",
                                              "blockIdx",
                                              "blockDim",
                                              "gridDim",
                                              "warpSize",
                                              "int64",
                                              "index_t",
                                              "complex",
                                              "complex64",
                                              "complex128",
                                              "narrow",
                                              "Array",
                                              "Strided",
                                              "wrap_add",
                                              "wrap_subtract",
                                              "wrap_multiply",
                                              "to_int64",
                                              "floor_mod",
                                              "minimum",
                                              "maximum",
                                              "lane",
                                              "pow2",
                                              "pow3",
                                              "pow4",
                                              "pow0_5",
                                              "pow1_5",
                                              "pow2_5",
                                              "dynamic_shared",
                                              "dynamic_shared_bytes",
                                              "INFINITY",
                                              "NAN",
                                              "abs",
                                              "fabs",
                                              "sqrt",
                                              "floor",
                                              "ceil",
                                              "sin",
                                              "cos",
                                              "tan",
                                              "asin",
                                              "acos",
                                              "atan",
                                              "sinh",
                                              "cosh",
                                              "tanh",
                                              "exp",
                                              "log",
                                              "log10",
                                              "log2",
                                              "atan2",
                                              "fmod",
                                              "pow",
                                              "hypot",
                                              "min",
                                              "max",
                                              "rint",
                                              "y0",
                                              "y1",
                                              "j0",
                                              "j1",
                                              "yn",
                                              "jn",
                                              "gamma",
                                              "main",
                                              "linux",
                                              "unix",
                                              "signbit",
                                              "isnan",
                                              "isinf",
                                              "round",
                                              "trunc",
                                              "div",
                                              "exp2",
                                              "erf",
                                              "int8_t",
                                              "partial"};
  return names;
}

std::string identifier(const std::string &name) {
  std::string out;
  for (const char c : name)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')
      out += c;
    else if (!out.empty() && out.back() != '_')
      out += '_';
  while (!out.empty() && out.back() == '_')
    out.pop_back();
  if (out.empty() || (out[0] >= '0' && out[0] <= '9'))
    out = "v" + out;
  if (out.rfind("__", 0) == 0 || reserved().count(out) || out.rfind("atomic", 0) == 0)
    out += "_";
  return out;
}

// A name that is not taken yet; it is afterwards.
std::string unused(const std::string &wish, std::set<std::string> &taken) {
  std::string name = wish;
  for (int n = 2; !taken.insert(name).second; ++n)
    name = wish + "_" + std::to_string(n);
  return name;
}

const char *element_name(std::int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
    return "bool";
  case PG_INT8:
    return "signed char";
  case PG_UINT8:
    return "unsigned char";
  case PG_INT16:
    return "short";
  case PG_UINT16:
    return "unsigned short";
  case PG_INT32:
    return "int";
  case PG_UINT32:
    return "unsigned";
  case PG_INT64:
    return "int64";
  case PG_UINT64:
    return "unsigned long long";
  case PG_FLOAT32:
    return "float";
  case PG_COMPLEX64:
    return "complex64";
  case PG_COMPLEX128:
    return "complex128";
  default:
    return "double";
  }
}
bool is_integer(std::int32_t dtype) {
  return dtype != PG_BOOL && dtype != PG_FLOAT32 && dtype != PG_FLOAT64 && dtype < PG_COMPLEX64;
}

std::string type_text(Type t) {
  switch (t) {
  case Type::boolean:
    return "bool";
  case Type::float32:
    return "float";
  case Type::float64:
    return "double";
  case Type::complex128:
    return "complex128";
  default:
    return "int64";
  }
}

std::string number_text(double x, bool single) {
  if (std::isnan(x))
    return single ? "float(NAN)" : "double(NAN)";
  if (std::isinf(x))
    return std::string(x < 0 ? "-" : "") + (single ? "float(INFINITY)" : "double(INFINITY)");
  char text[40];
  for (int digits = 1; digits <= 17; ++digits) { // the shortest that is read as the same
    std::snprintf(text, sizeof text, "%.*g", digits, x);
    if (single ? std::strtof(text, nullptr) == float(x) : std::strtod(text, nullptr) == x)
      break;
  }
  std::string out = text;
  if (out.find_first_of(".en") == std::string::npos)
    out += ".0";
  return single ? out + "f" : out;
}

// What all functions of a module share.
struct Shared {
  const Module &module;
  const CudaOptions &options;
  std::set<std::string> parts; // of the prelude, that are used
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::string>> lines; // of the sources, by chunk
};

class Writer {
 public:
  Writer(Shared &shared, std::size_t index)
      : shared_(shared), f_(shared.module.functions[index]), index_(index), kernel_(index == 0),
        ranges_(f_, shared.options.wide ? std::int64_t{1} << 46 : std::int64_t{1} << 30,
                shared.options.wide ? std::int64_t{1} << 31 : std::int64_t{1} << 20) {}

  std::string prototype() {
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

  std::string results_struct() {
    if (kernel_ || f_.results.size() < 2)
      return "";
    std::string text = "struct " + results_name() + " {";
    for (std::size_t i = 0; i < f_.results.size(); ++i)
      text += " " + type_text(f_.results[i]) + " r" + std::to_string(i + 1) + ";";
    return text + " };\n";
  }

  std::string define() {
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

  std::string codes() {
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
  std::vector<std::size_t> callees() const {
    std::vector<std::size_t> list;
    for (const Node &n : f_.nodes)
      if (n.op == Op::call)
        list.push_back(std::size_t(n.index));
    return list;
  }

 private:
  // ------------------------------------------------------------------------------------------------------------ names
  // --
  void names() {
    if (!variables_.empty() || !arrays_.empty())
      return;
    std::set<std::string> taken(shared_.names.begin(), shared_.names.end());
    // Parameters first: they keep their names.
    arrays_.resize(f_.arrays.size());
    variables_.resize(f_.variables.size());
    for (const Argument &p : f_.parameters) {
      std::string &name = p.is_array ? arrays_[std::size_t(p.index)] : variables_[std::size_t(p.index)];
      name = unused(
          identifier(p.is_array ? f_.arrays[std::size_t(p.index)].name : f_.variables[std::size_t(p.index)].name),
          taken);
    }
    for (std::size_t i = 0; i < arrays_.size(); ++i)
      if (arrays_[i].empty())
        arrays_[i] = unused(identifier(f_.arrays[i].name), taken);
    for (std::size_t i = 0; i < variables_.size(); ++i)
      if (variables_[i].empty())
        variables_[i] = unused(identifier(f_.variables[i].name), taken);
    taken_ = std::move(taken);
  }

  std::string results_name() const { return shared_.names[index_] + "_results"; }
  bool partials() const { return kernel_ && shared_.options.spread > 0 && !f_.results.empty(); }
  bool is_parameter(std::int32_t v) const {
    return std::any_of(f_.parameters.begin(), f_.parameters.end(),
                       [&](const Argument &p) { return !p.is_array && p.index == v; });
  }

  std::string array_type(const Array &a) {
    use("Array");
    if (!a.contiguous)
      use("Strided");
    if (a.dtype >= PG_COMPLEX64)
      use("complex128");
    return std::string(a.contiguous ? "Array<" : "Strided<") + element_name(a.dtype) + ", " + std::to_string(a.ndim) +
           ">";
  }

  // A number passed is float64; one that is only ever used as float32 is passed as that.
  std::string parameter_type(std::int32_t v) {
    const Type t = f_.variables[std::size_t(v)].type;
    if (t == Type::complex128)
      use("complex128");
    if (t == Type::float64 && kernel_ && only_single(v))
      return "float";
    return type_text(t);
  }
  bool only_single(std::int32_t v) const {
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
  int uses(Ref ref) const {
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
  static int uses_in(const std::vector<Instruction> &steps, Ref ref) {
    int count = 0;
    for (const Instruction &s : steps) {
      count += (s.a == ref) + (s.b == ref) + (s.c == ref);
      count += int(std::count(s.arguments.begin(), s.arguments.end(), ref));
      for (const auto &b : s.blocks)
        count += uses_in(b, ref);
    }
    return count;
  }
  static bool assigned(const std::vector<Instruction> &steps, std::int32_t v) {
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

  bool narrow_variable(std::int32_t v) const {
    return f_.variables[std::size_t(v)].type == Type::int64 && !is_parameter(v) &&
           ranges_.variable(v).within(INT32_MIN, INT32_MAX) && !wide_counters_.count(v);
  }
  std::string variable_type(std::int32_t v) {
    if (f_.variables[std::size_t(v)].type == Type::complex128)
      use("complex128");
    return narrow_variable(v) ? "int" : type_text(f_.variables[std::size_t(v)].type);
  }

  void use(const char *part) { shared_.parts.insert(part); }

  // ------------------------------------------------------------------------------------- where variables are declared
  // -- A variable is declared where it is first assigned, if all that use it come after that in the same block; a
  // loop's counter by the loop; else at the top of the function.
  struct Place {
    std::vector<const std::vector<Instruction> *> blocks; // around it, outermost first
    const Instruction *step = nullptr;                    // of the innermost
    bool assigns = false;
  };
  void find_places() {
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
  void note(std::int32_t v, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step,
            bool assigns) {
    places_[v].push_back({around, step, assigns});
  }
  void note_node(Ref ref, const std::vector<const std::vector<Instruction> *> &around, const Instruction *step) {
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
  void visit(const std::vector<Instruction> &steps, std::vector<const std::vector<Instruction> *> &around) {
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
  bool fits_with_step(const Instruction &s) const {
    const Node &by = node(s.c);
    if (by.op != Op::constant || std::abs(by.integer) > (1 << 20))
      return false;
    return ranges_.variable(s.variable).within(INT32_MIN + (1 << 21), INT32_MAX - (1 << 21));
  }

  // ------------------------------------------------------------------------------------------------------ statements
  // --
  void line(const std::string &text, Position at) {
    std::string row = std::string(std::size_t(depth_) * 2, ' ') + text;
    if (at.line > 0 && at.line != last_line_) {
      last_line_ = at.line;
      const auto found = shared_.lines.find(f_.chunk);
      if (found != shared_.lines.end() && std::size_t(at.line) <= found->second.size()) {
        std::string source = found->second[std::size_t(at.line) - 1];
        source.erase(0, source.find_first_not_of(" \t"));
        while (!source.empty() && (source.back() == '\\' || source.back() == ' ')) // a comment must end with its line
          source.pop_back();
        row.resize(std::max<std::size_t>(row.size() + 2, 64), ' ');
        row += "// " + std::to_string(at.line) + ": " + source;
      }
    }
    out_ += row + "\n";
  }
  std::string comment_first() const {
    return "// " + f_.name + ", " + f_.chunk + ":" + std::to_string(f_.at.line) + "\n";
  }

  void own_array(std::size_t i) {
    const Array &a = f_.arrays[i];
    if (a.lengths.empty())
      return;
    use("Array");
    if (a.dtype >= PG_COMPLEX64)
      use("complex128");
    const std::string type = array_type(a), element = element_name(a.dtype), name = arrays_[i];
    if (a.shared && a.lengths.size() == 1 && a.lengths[0] == 0) {
      use("dynamic_shared");
      line("const " + type + " " + name + " = {(" + element +
               " *)dynamic_shared, {index_t(dynamic_shared_bytes() / sizeof(" + element + "))}};",
           a.at);
      return;
    }
    std::int64_t size = 1;
    std::string lengths;
    for (const std::int64_t n : a.lengths) {
      size *= n;
      lengths += (lengths.empty() ? "" : ", ") + std::to_string(n);
    }
    const std::string memory = unused(name + "_memory", taken_);
    line(std::string(a.shared ? "__shared__ " : "") + element + " " + memory + "[" + std::to_string(size) + "];", a.at);
    line("const " + type + " " + name + " = {" + memory + ", {" + lengths + "}};", {});
  }

  void block(const std::vector<Instruction> &steps, bool outermost = false) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Instruction &s = steps[i];
      if (outermost && i + 1 == steps.size() && s.step == Step::return_ && s.arguments.empty())
        return; // the end does that
      step(s);
      if (s.step == Step::break_ || s.step == Step::continue_ || s.step == Step::return_)
        return;
    }
  }

  void body(const std::vector<Instruction> &steps) {
    ++depth_;
    block(steps);
    --depth_;
  }

  std::size_t assignments(std::int32_t v) {
    std::size_t count = 0;
    for (const Place &p : places_[v])
      count += p.assigns ? 1 : 0;
    return count;
  }

  // "const int i" where this step declares the variable, else "i".
  std::string target(std::int32_t v, const Instruction &s) {
    const auto found = declared_at_.find(&s);
    if (found == declared_at_.end() || std::find(found->second.begin(), found->second.end(), v) == found->second.end())
      return variables_[std::size_t(v)];
    return (assignments(v) == 1 ? "const " : "") + variable_type(v) + " " + variables_[std::size_t(v)];
  }

  void step(const Instruction &s) {
    if (&s == skipped_)
      return;
    switch (s.step) {
    case Step::assign: {
      const Text v = value(s.a);
      if (f_.variables[std::size_t(s.variable)].type == Type::none)
        return;
      line(target(s.variable, s) + " = " + (narrow_variable(s.variable) && !v.narrow ? "int(" + v.s + ")" : v.s) + ";",
           s.at);
      return;
    }
    case Step::assign_call: {
      const Node &n = node(s.a);
      if (n.op != Op::call) {
        const Text v = value(s.a);
        if (s.targets.empty() || s.targets[0] < 0)
          line(v.s + ";", s.at);
        else
          line(target(s.targets[0], s) + " = " + v.s + ";", s.at);
        return;
      }
      const Function &f = shared_.module.functions[std::size_t(n.index)];
      const bool any = std::any_of(s.targets.begin(), s.targets.end(), [](std::int32_t target) { return target >= 0; });
      if (!any) {
        line(call(n).s + ";", s.at);
        return;
      }
      if (f.results.size() == 1) {
        line(target(s.targets[0], s) + " = " + call(n).s + ";", s.at);
        return;
      }
      const std::string all = unused("results", taken_);
      line("const auto " + all + " = " + call(n).s + ";", s.at);
      for (std::size_t i = 0; i < s.targets.size(); ++i)
        if (s.targets[i] >= 0)
          line(target(s.targets[i], s) + " = " + all + ".r" + std::to_string(i + 1) + ";", s.at);
      return;
    }
    case Step::store:
      return store(s);
    case Step::check_index: // indices are not checked on devices
      return;
    case Step::for_:
      return for_loop(s);
    case Step::while_:
      line("while (" + value(s.a).s + ") {", s.at);
      body(s.blocks[0]);
      line("}", {});
      return;
    case Step::repeat:
      line("do {", s.at);
      body(s.blocks[0]);
      line("} while (" + negation(s.a).s + ");", {});
      return;
    case Step::if_:
      if_chain(s, "if (");
      return;
    case Step::break_:
      line("break;", s.at);
      return;
    case Step::continue_:
      if (s.integer > 0)
        throw InternalError("a jump out of several loops has no CUDA C++");
      line("continue;", s.at);
      return;
    case Step::return_:
      return return_values(s);
    case Step::sync:
      line(s.integer == 0 ? "__syncthreads();" : s.integer == 1 ? "__syncwarp();" : "__threadfence();", s.at);
      return;
    }
  }

  void if_chain(const Instruction &s, const std::string &head) {
    line(head + value(s.a).s + ") {", s.at);
    body(s.blocks[0]);
    if (s.blocks.size() > 1 && !s.blocks[1].empty()) {
      if (s.blocks[1].size() == 1 && s.blocks[1][0].step == Step::if_)
        return if_chain(s.blocks[1][0], "} else if (");
      line("} else {", {});
      body(s.blocks[1]);
    }
    line("}", {});
  }

  void return_values(const Instruction &s) {
    if (partials()) { // of a loop that reduces: one value of each thread
      line("partial[((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y * "
           "blockDim.z) + (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x] = " +
               value(s.arguments[0]).s + ";",
           s.at);
      return;
    }
    if (kernel_ || s.arguments.empty()) {
      line("return;", s.at);
      return;
    }
    if (s.arguments.size() == 1) {
      line("return " + value(s.arguments[0]).s + ";", s.at);
      return;
    }
    std::string text = "return " + results_name() + "{";
    for (std::size_t i = 0; i < s.arguments.size(); ++i)
      text += (i > 0 ? ", " : "") + value(s.arguments[i]).s;
    line(text + "};", s.at);
  }

  // Whether an expression has the same value in every round of a loop with this body.
  bool invariant(Ref ref, const std::vector<Instruction> &steps, std::int32_t counter) const {
    const Node &n = node(ref);
    switch (n.op) {
    case Op::constant:
    case Op::length:
    case Op::place:
      return true;
    case Op::variable:
      return n.index != counter && !assigned(steps, n.index);
    case Op::convert:
    case Op::negate:
      return invariant(n.a, steps, counter);
    case Op::add:
    case Op::subtract:
    case Op::multiply:
      return invariant(n.a, steps, counter) && invariant(n.b, steps, counter);
    default:
      return false;
    }
  }

  void for_loop(const Instruction &s) {
    const Type type = f_.variables[std::size_t(s.variable)].type;
    const bool whole = type == Type::int64;
    const bool spread = spread_ > 0;
    const int axis = spread_ - 1; // the innermost loop of those that are spread: x
    const Node &by = node(s.c);
    const bool known = by.op == Op::constant;
    const bool up = known && (whole ? by.integer > 0 : by.number > 0);
    const std::string name = variables_[std::size_t(s.variable)];
    const bool assigned_inside =
        assigned(s.blocks[0], s.variable) || !counters_.count(s.variable) || outside_.count(s.variable);
    // The variable is a copy of the counter where the body changes it.
    const std::string counter = assigned_inside ? unused(name + "_counter", taken_) : name;
    const bool is_narrow = whole && narrow_variable(s.variable) && (!spread || !shared_.options.wide);
    const std::string c_type = is_narrow ? "int" : type_text(type);
    Text from = value(s.a), to = value(s.b), step = value(s.c);
    if (whole && node(s.b).type != Type::int64) {
      use("to_int64");
      to = {"to_int64(" + std::string(known && !up ? "ceil(" : "floor(") + to.s + "))", primary};
    }
    if (!invariant(s.b, s.blocks[0], s.variable) || (whole && node(s.b).type != Type::int64)) {
      const std::string last = unused(name + "_last", taken_);
      line("const " +
               std::string(is_narrow && to.narrow ? "int"
                           : whole                ? "int64"
                                                  : c_type) +
               " " + last + " = " + to.s + ";",
           s.at);
      to = {last, primary, to.narrow};
    }
    if (!known && !invariant(s.c, s.blocks[0], s.variable)) {
      const std::string kept = unused(name + "_step", taken_);
      line("const " + c_type + " " + kept + " = " + step.s + ";", s.at);
      step = {kept};
    }
    std::string start = from.s,
                increment =
                    known && whole && std::abs(by.integer) == 1
                        ? (up ? "++" : "--") + counter
                        : counter + (known && !up && whole ? " -= " + std::to_string(-by.integer) : " += " + step.s);
    if (spread) {
      const char axis_name = "xyz"[axis];
      const std::string d(1, axis_name);
      if (is_narrow) {
        start = paren(from, sum) + " + int(blockIdx." + d + " * blockDim." + d + " + threadIdx." + d + ")";
        increment = counter + " += int(gridDim." + d + " * blockDim." + d + ")";
      } else {
        start = paren(from, sum) + " + int64(blockIdx." + d + ") * blockDim." + d + " + threadIdx." + d;
        increment = counter + " += int64(gridDim." + d + ") * blockDim." + d;
      }
    }
    const std::string test = known ? counter + (up ? " <= " : " >= ") + paren(to, relation)
                                   : "(" + paren(step, relation) + " > 0 ? " + counter + " <= " + paren(to, relation) +
                                         " : " + counter + " >= " + paren(to, relation) + ")";
    line("for (" + c_type + " " + counter + " = " + start + "; " + test + "; " + increment + ") {", s.at);
    if (assigned_inside) {
      ++depth_;
      line((outside_.count(s.variable) || !counters_.count(s.variable) ? "" : c_type + " ") + name + " = " + counter +
               ";",
           {});
      --depth_;
    }
    const int before = spread_;
    spread_ = std::max(0, spread_ - 1);
    // A local that is the counter's copy, and is not changed, is the counter.
    if (!s.blocks[0].empty()) {
      const Instruction &copy = s.blocks[0][0];
      if (!assigned_inside && copy.step == Step::assign && copy.array < 0 && node(copy.a).op == Op::variable &&
          node(copy.a).index == s.variable && declared_at_.count(&copy) && assignments(copy.variable) == 1 &&
          narrow_variable(copy.variable) == narrow_variable(s.variable)) {
        variables_[std::size_t(copy.variable)] = counter;
        skipped_ = &copy;
      }
    }
    body(s.blocks[0]);
    spread_ = spread ? 0 : before;
    line("}", {});
  }

  void store(const Instruction &s) {
    const Array &a = f_.arrays[std::size_t(s.array)];
    const std::string name = arrays_[std::size_t(s.array)];
    if (s.arguments.empty()) { // every element of the function's own array
      std::int64_t size = 1;
      for (const std::int64_t n : a.lengths)
        size *= n;
      const std::string i = unused("i", taken_);
      line("for (int " + i + " = 0; " + i + " < " + std::to_string(size) + "; ++" + i + ")", s.at);
      ++depth_;
      line(name + ".data[" + i + "] = " + as_element(s.a, a) + ";", {});
      --depth_;
      return;
    }
    line(name + "(" + indices(s.arguments) + ") = " + as_element(s.a, a) + ";", s.at);
  }

  std::string as_element(Ref ref, const Array &a) {
    const Text v = value(ref);
    const Type t = node(ref).type;
    if (a.dtype == PG_COMPLEX64)
      return "narrow(" + v.s + ")";
    if (!is_integer(a.dtype))
      return v.s;
    if (t != Type::int64) {
      if (a.dtype == PG_UINT64)
        return "__double2ull_rz(" + v.s + ")";
      use("to_int64");
      return a.dtype == PG_INT64 ? "to_int64(" + v.s + ")"
                                 : "(" + std::string(element_name(a.dtype)) + ")to_int64(" + v.s + ")";
    }
    if (a.dtype == PG_INT64 || (a.dtype == PG_INT32 && v.narrow))
      return v.s;
    return "(" + std::string(element_name(a.dtype)) + ")" + paren(v, prefix);
  }

  // ----------------------------------------------------------------------------------------------------- expressions
  // --
  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }

  static std::string paren(const Text &t, int at_least) { return t.binding >= at_least ? t.s : "(" + t.s + ")"; }

  // What is true where the expression is not.
  Text negation(Ref ref) {
    const Node &n = node(ref);
    if (n.op == Op::equal)
      return two(n, "!=", equality);
    if (n.op == Op::not_equal)
      return two(n, "==", equality);
    const bool integers = n.a >= 0 && node(n.a).type == Type::int64; // of floats, NaN is neither less nor not
    if (integers && n.op == Op::less)
      return two(n, ">=", relation);
    if (integers && n.op == Op::less_equal)
      return two(n, ">", relation);
    if (n.op == Op::logical_not)
      return value(n.a);
    return {"!" + paren(value(ref), prefix), prefix};
  }

  std::string indices(const std::vector<Ref> &refs) {
    std::string text;
    for (const Ref r : refs) {
      text += text.empty() ? "" : ", ";
      // An index that came as a float is whole, as on the processor.
      const Node &n = node(r);
      if (n.op == Op::convert && node(n.a).type != Type::int64)
        text += "index_t(" + value(n.a).s + ")";
      else
        text += value(r).s;
    }
    return text;
  }

  Text two(const Node &n, const char *op, int binding) {
    const Text a = value(n.a), b = value(n.b);
    return {paren(a, binding) + " " + op + " " + paren(b, binding + 1), binding};
  }

  // An int64 expression whose value may not fit the int that its operands have.
  Text integer_two(const Node &n, Ref ref, const char *op, int binding, const char *wrapping) {
    // blockIdx counts from 0: without the 1 that is taken off again.
    const Node &first = node(n.a), &second = node(n.b);
    if (n.op == Op::subtract && second.op == Op::constant && second.integer == 1 && first.op == Op::place &&
        (first.gpu == Gpu::thread_idx || first.gpu == Gpu::block_idx || first.gpu == Gpu::grid))
      return place(first, false);
    Text a = value(n.a), b = value(n.b);
    const Range &r = ranges_[ref];
    const bool fits_64 = r.empty || r.low != INT64_MIN || r.high != INT64_MAX;
    if (!fits_64) {
      use("wrap");
      return {std::string(wrapping) + "(" + a.s + ", " + b.s + ")"};
    }
    const bool narrow = r.within(INT32_MIN, INT32_MAX) && a.narrow && b.narrow;
    if (!narrow && a.narrow && b.narrow)
      a = {"int64(" + a.s + ")"};
    return {paren(a, binding) + " " + op + " " + paren(b, binding + 1), binding, narrow};
  }

  Text value(Ref ref) {
    const Node &n = node(ref);
    switch (n.op) {
    case Op::constant:
      return constant(n);
    case Op::variable: {
      const std::string &name = variables_[std::size_t(n.index)];
      return {name, primary, narrow_variable(n.index)};
    }
    case Op::convert:
      return convert(n);
    case Op::negate: {
      const Text a = value(n.a);
      if (n.type == Type::int64 && !ranges_[ref].within(INT64_MIN + 1, INT64_MAX)) {
        use("wrap");
        return {"wrap_subtract(0, " + a.s + ")"};
      }
      if (n.type == Type::int64 && a.narrow && !ranges_[ref].within(INT32_MIN, INT32_MAX))
        return {"-int64(" + a.s + ")", prefix};
      return {"-" + paren(a, primary), prefix, a.narrow};
    }
    case Op::logical_not:
      return negation(n.a);
    case Op::add:
      return n.type == Type::int64 ? integer_two(n, ref, "+", sum, "wrap_add") : two(n, "+", sum);
    case Op::subtract:
      return n.type == Type::int64 ? integer_two(n, ref, "-", sum, "wrap_subtract") : two(n, "-", sum);
    case Op::multiply:
      return n.type == Type::int64 ? integer_two(n, ref, "*", product, "wrap_multiply") : two(n, "*", product);
    case Op::divide:
      return two(n, "/", product);
    case Op::modulo:
      return modulo(n, ref);
    case Op::power:
      return {"pow(" + value(n.a).s + ", " + value(n.b).s + ")"};
    case Op::less:
      return two(n, "<", relation);
    case Op::less_equal:
      return two(n, "<=", relation);
    case Op::equal:
      return two(n, "==", equality);
    case Op::not_equal:
      return two(n, "!=", equality);
    case Op::logical_and:
      return two(n, "&&", both);
    case Op::logical_or: {
      // Compilers warn of && within ||.
      const Text a = value(n.a), b = value(n.b);
      auto side = [](const Text &t) { return t.binding == both ? "(" + t.s + ")" : paren(t, either); };
      return {side(a) + " || " + side(b), either};
    }
    case Op::choose: {
      const Text a = value(n.a), b = value(n.b), c = value(n.c);
      return {paren(a, either) + " ? " + paren(b, either) + " : " + paren(c, choice), choice, b.narrow && c.narrow};
    }
    case Op::call: {
      const Function &f = shared_.module.functions[std::size_t(n.index)];
      Text t = call(n);
      if (f.results.size() > 1)
        t.s += ".r1";
      return t;
    }
    case Op::math:
      return mathematics(n, ref);
    case Op::load:
      return load(n);
    case Op::length:
      return {arrays_[std::size_t(n.index)] + ".n[" + std::to_string(n.integer) + "]", primary, !shared_.options.wide};
    case Op::place:
      return place(n);
    case Op::atomic:
      return atomic(n);
    case Op::warp:
      return warp(n);
    }
    throw InternalError("an expression that has no CUDA C++");
  }

  Text constant(const Node &n) {
    switch (n.type) {
    case Type::boolean:
      return {n.integer ? "true" : "false"};
    case Type::complex128:
      use("complex128");
      return {"complex(" + number_text(n.number, false) + ", " + number_text(n.imaginary, false) + ")"};
    case Type::float32:
    case Type::float64: {
      if (!std::isfinite(n.number))
        use("infinity");
      const std::string t = number_text(n.number, n.type == Type::float32);
      return {t, t[0] == '-' ? int(prefix) : int(primary)};
    }
    default:
      break;
    }
    if (n.integer == INT64_MIN)
      return {"(-9223372036854775807LL - 1)"};
    const bool small = n.integer >= INT32_MIN + 1 && n.integer <= INT32_MAX;
    return {std::to_string(n.integer) + (small ? "" : "LL"), n.integer < 0 ? prefix : primary, small};
  }

  Text convert(const Node &n) {
    const Text a = value(n.a);
    const Type from = node(n.a).type;
    if (from == n.type)
      return a;
    if (n.type == Type::complex128) {
      use("complex128");
      return {"complex(" + a.s + ", 0)"};
    }
    if (n.type == Type::int64) {
      use("to_int64");
      return {"to_int64(" + a.s + ")"};
    }
    const Node &inner = node(n.a);
    if (inner.op == Op::constant && std::isfinite(inner.number)) // as the number it is
      return {number_text(from == Type::int64 ? double(inner.integer) : inner.number, n.type == Type::float32)};
    if (n.type == Type::float32 && inner.op == Op::variable && is_parameter(inner.index) &&
        parameter_type(inner.index) == "float")
      return a;
    return {type_text(n.type) + "(" + a.s + ")"};
  }

  Text modulo(const Node &n, Ref) {
    const Text a = value(n.a), b = value(n.b);
    if (n.type == Type::int64) {
      const Range &x = ranges_[n.a], &y = ranges_[n.b];
      if ((x.empty || x.low >= 0) && !y.empty && y.low > 0)
        return {paren(a, product) + " % " + paren(b, product + 1), product, a.narrow && b.narrow};
      use("floor_mod");
      if (a.narrow && b.narrow)
        return {"floor_mod<int>(" + a.s + ", " + b.s + ")", primary, true};
      return {"floor_mod<int64>(" + a.s + ", " + b.s + ")"};
    }
    use("floor_mod");
    return {"floor_mod(" + a.s + ", " + b.s + ")"};
  }

  Text load(const Node &n) {
    const Array &a = f_.arrays[std::size_t(n.index)];
    Text t{arrays_[std::size_t(n.index)] + "(" + indices(n.arguments) + ")"};
    switch (a.dtype) {
    case PG_COMPLEX64:
      t.s = "complex(" + t.s + ")";
      break;
    case PG_INT32:
      t.narrow = true;
      break;
    case PG_INT8:
    case PG_UINT8:
    case PG_INT16:
    case PG_UINT16:
      t = {"int(" + t.s + ")", primary, true};
      break;
    case PG_UINT32:
    case PG_UINT64:
      t.s = "int64(" + t.s + ")";
      break;
    default:
      break;
    }
    return t;
  }

  Text call(const Node &n) {
    std::string text = shared_.names[std::size_t(n.index)] + "(";
    for (std::size_t i = 0; i < n.arguments.size(); ++i) {
      text += i > 0 ? ", " : "";
      const Ref r = n.arguments[i];
      if (r >= 0) {
        const Text v = value(r);
        text += v.s;
        continue;
      }
      const std::string &name = arrays_[std::size_t(-1 - r)];
      const auto row =
          std::find_if(n.rows.begin(), n.rows.end(), [&](const Row &w) { return w.argument == std::int32_t(i); });
      text += row == n.rows.end() ? name : name + ".row(" + indices(row->indices) + ")";
    }
    return {text + ")"};
  }

  // Where the thread stands; from 0 where not `from_one`.
  Text place(const Node &n, bool from_one = true) {
    const std::string one = from_one ? " + 1" : "";
    const int loose = from_one ? sum : primary;
    const std::string d(1, "xyz"[std::size_t(std::min<std::int64_t>(n.integer, 2))]);
    const bool narrow = !shared_.options.wide;
    switch (n.gpu) {
    case Gpu::thread_idx:
      return {"int(threadIdx." + d + ")" + one, loose, true};
    case Gpu::block_idx:
      return {(narrow ? "int(blockIdx." : "int64(blockIdx.") + d + ")" + one, loose, narrow};
    case Gpu::block_dim:
      return {"int(blockDim." + d + ")", primary, true};
    case Gpu::grid_dim:
      return {(narrow ? "int(gridDim." : "int64(gridDim.") + d + ")", primary, narrow};
    case Gpu::grid:
      if (narrow)
        return {"int(blockIdx." + d + " * blockDim." + d + " + threadIdx." + d + ")" + one, loose, true};
      return {"int64(blockIdx." + d + ") * blockDim." + d + " + threadIdx." + d + one, sum};
    case Gpu::grid_size:
      if (narrow)
        return {"int(gridDim." + d + " * blockDim." + d + ")", primary, true};
      return {"int64(gridDim." + d + ") * blockDim." + d, product};
    case Gpu::lane:
      use("lane");
      return {"lane()", primary, true};
    default:
      return {"32", primary, true};
    }
  }

  Text atomic(const Node &n) {
    use("atomics");
    const Array &a = f_.arrays[std::size_t(n.index)];
    const std::string at = "&" + arrays_[std::size_t(n.index)] + "(" + indices(n.arguments) + ")";
    auto operand = [&](Ref r) { return value(r).s; };
    std::string text;
    switch (n.gpu) {
    case Gpu::atomic_add:
      text = "atomic_add(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_subtract:
      text = "atomic_add(" + at + ", -" + paren(value(n.a), primary) + ")";
      break;
    case Gpu::atomic_minimum:
      text = "atomic_minimum(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_maximum:
      text = "atomic_maximum(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_and:
      text = "atomic_and(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_or:
      text = "atomic_or(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_xor:
      text = "atomic_xor(" + at + ", " + operand(n.a) + ")";
      break;
    case Gpu::atomic_exchange:
      text = "atomic_exchange(" + at + ", " + operand(n.a) + ")";
      break;
    default:
      text = "atomic_cas(" + at + ", " + operand(n.a) + ", " + operand(n.b) + ")";
    }
    if (is_integer(a.dtype) && a.dtype != PG_INT64)
      return {(a.dtype == PG_INT32 ? "" : "int64(") + text + (a.dtype == PG_INT32 ? "" : ")"), primary,
              a.dtype == PG_INT32};
    return {text};
  }

  Text warp(const Node &n) {
    const std::string all = "0xffffffffu";
    const Text a = value(n.a);
    const std::string width = n.integer == 32 || n.integer == 0 ? "" : ", " + std::to_string(n.integer);
    auto shuffled = [&](const char *name, const std::string &by) -> Text {
      const bool boolean = n.type == Type::boolean;
      const std::string text =
          std::string(name) + "(" + all + ", " + (boolean ? "int(" + a.s + ")" : a.s) + ", " + by + width + ")";
      return boolean ? Text{text + " != 0", equality} : Text{text, primary, a.narrow};
    };
    auto whole = [&](Ref r) {
      const Text t = value(r);
      return t.narrow ? t : Text{"int(" + t.s + ")", primary, true};
    };
    switch (n.gpu) {
    case Gpu::shuffle:
      return shuffled("__shfl_sync", paren(whole(n.b), sum) + " - 1");
    case Gpu::shuffle_up:
      return shuffled("__shfl_up_sync", whole(n.b).s);
    case Gpu::shuffle_down:
      return shuffled("__shfl_down_sync", whole(n.b).s);
    case Gpu::shuffle_xor:
      return shuffled("__shfl_xor_sync", whole(n.b).s);
    case Gpu::ballot:
      return {"int64(__ballot_sync(" + all + ", " + a.s + "))"};
    case Gpu::any:
      return {"__any_sync(" + all + ", " + a.s + ") != 0", equality};
    case Gpu::all:
      return {"__all_sync(" + all + ", " + a.s + ") != 0", equality};
    default:
      return {"__popc(unsigned(" + a.s + "))", primary, true};
    }
  }

  Text mathematics(const Node &n, Ref ref) {
    std::vector<Text> a;
    for (const Ref r : n.arguments)
      a.push_back(value(r));
    const Type t = node(n.arguments[0]).type;
    auto function = [&](const char *name) {
      std::string text = std::string(name) + "(";
      for (std::size_t i = 0; i < a.size(); ++i)
        text += (i > 0 ? ", " : "") + a[i].s;
      return Text{text + ")"};
    };
    auto bits = [&](std::size_t i) { // as int
      return a[i].narrow ? a[i] : Text{"int(" + a[i].s + ")"};
    };
    auto bitwise = [&](const char *op) {
      return Text{"(" + paren(bits(0), prefix) + " " + op + " " + paren(bits(1), prefix) + ")", primary, true};
    };
    switch (n.math) {
    case Math::absolute:
      if (t == Type::complex128)
        return {"hypot(" + paren(a[0], primary) + ".re, " + paren(a[0], primary) + ".im)"};
      if (t == Type::int64) {
        const bool narrow = a[0].narrow && ranges_[ref].within(INT32_MIN, INT32_MAX);
        return {(narrow ? "abs(" : "llabs(") + a[0].s + ")", primary, narrow};
      }
      return function("fabs");
    case Math::power_of:
      use("powers");
      if (n.number == -1)
        return {(t == Type::float32 ? "1.0f / " : "1.0 / ") + paren(a[0], product + 1), product};
      if (n.number == -2)
        return {(t == Type::float32 ? "1.0f / pow2(" : "1.0 / pow2(") + a[0].s + ")", product};
      return function(n.number == 2     ? "pow2"
                      : n.number == 3   ? "pow3"
                      : n.number == 4   ? "pow4"
                      : n.number == 0.5 ? "pow0_5"
                      : n.number == 1.5 ? "pow1_5"
                                        : "pow2_5");
    case Math::sqrt:
      return function("sqrt");
    case Math::floor:
      return function("floor");
    case Math::ceil:
      return function("ceil");
    case Math::sin:
      return function("sin");
    case Math::cos:
      return function("cos");
    case Math::tan:
      return function("tan");
    case Math::asin:
      return function("asin");
    case Math::acos:
      return function("acos");
    case Math::atan:
      return function("atan");
    case Math::sinh:
      return function("sinh");
    case Math::cosh:
      return function("cosh");
    case Math::tanh:
      return function("tanh");
    case Math::exp:
      return function("exp");
    case Math::log:
      return function("log");
    case Math::log10:
      return function("log10");
    case Math::log2:
      return function("log2");
    case Math::atan2:
      return function("atan2");
    case Math::fmod:
      return function("fmod");
    case Math::minimum:
    case Math::maximum: {
      use("minimum");
      const std::string name = n.math == Math::minimum ? "minimum" : "maximum";
      if (t == Type::int64) {
        const bool narrow = a[0].narrow && a[1].narrow;
        return {name + (narrow ? "<int>(" : "<int64>(") + a[0].s + ", " + a[1].s + ")", primary, narrow};
      }
      return function(name.c_str());
    }
    case Math::real:
      return {paren(a[0], primary) + ".re"};
    case Math::imaginary:
      return {paren(a[0], primary) + ".im"};
    case Math::truncate_int64:
      if (t == Type::int64)
        return a[0];
      use("to_int64");
      return function("to_int64");
    case Math::to_bit:
      if (t == Type::int64)
        return a[0].narrow ? a[0] : Text{"int(" + a[0].s + ")", primary, true};
      use("to_int64");
      return {"int(to_int64(rint(" + a[0].s + ")))", primary, true};
    case Math::bit_and:
      return bitwise("&");
    case Math::bit_or:
      return bitwise("|");
    case Math::bit_xor:
      return bitwise("^");
    case Math::bit_not:
      return {"~" + paren(bits(0), primary), prefix, true};
    case Math::shift_left:
      return {"int(unsigned(" + a[0].s + ") << (" + paren(bits(1), prefix) + " & 31))", primary, true};
    case Math::shift_right:
      return {"int(unsigned(" + a[0].s + ") >> (" + paren(bits(1), prefix) + " & 31))", primary, true};
    case Math::shift_arithmetic:
      return {"(" + paren(bits(0), prefix) + " >> (" + paren(bits(1), prefix) + " & 31))", primary, true};
    case Math::rotate_left:
    case Math::rotate_right:
      return {"int(__funnelshift_" + std::string(n.math == Math::rotate_left ? "l" : "r") + "(unsigned(" + a[0].s +
                  "), unsigned(" + a[0].s + "), unsigned(" + a[1].s + ")))",
              primary, true};
    case Math::byte_swap:
      return {"int(__byte_perm(unsigned(" + a[0].s + "), 0, 0x0123))", primary, true};
    }
    throw InternalError("a function that has no CUDA C++");
  }

  Shared &shared_;
  const Function &f_;
  const std::size_t index_;
  const bool kernel_;
  const Ranges ranges_;
  std::string out_;
  int depth_ = 0, last_line_ = 0, spread_ = 0;
  const Instruction *skipped_ = nullptr;
  std::vector<std::string> variables_, arrays_;
  std::set<std::string> taken_;
  std::map<std::int32_t, std::vector<Place>> places_;
  std::map<const Instruction *, std::vector<std::int32_t>> declared_at_;
  std::set<std::int32_t> outside_, counters_, wide_counters_;
};

} // namespace

CudaText cuda_text(const Module &module, const CudaOptions &options) {
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
