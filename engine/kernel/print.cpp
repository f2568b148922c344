#include "kernel/ir.hpp"

#include "core/abi.hpp"

#include <cstdio>

namespace perigee::kernel {

const char *type_name(Type type) {
  switch (type) {
  case Type::none:
    return "none";
  case Type::boolean:
    return "bool";
  case Type::int64:
    return "int64";
  case Type::float32:
    return "float32";
  case Type::float64:
    return "float64";
  case Type::complex128:
    return "complex128";
  }
  return "?";
}

namespace {

const char *const math_names[] = {"abs",   "power",  "sqrt",   "floor",   "ceil", "sin",  "cos",   "tan",   "asin",
                                  "acos",  "atan",   "sinh",   "cosh",    "tanh", "exp",  "log",   "log10", "log2",
                                  "atan2", "fmod",   "min",    "max",     "real", "imag", "band",  "bor",   "bxor",
                                  "bnot",  "lshift", "rshift", "arshift", "rol",  "ror",  "bswap", "tobit", "int64"};

const char *const gpu_names[] = {
    "",           "threadIdx",   "blockIdx",   "blockDim",    "gridDim",         "grid",
    "gridsize",   "laneid",      "warpsize",   "atomic.add",  "atomic.sub",      "atomic.min",
    "atomic.max", "atomic.band", "atomic.bor", "atomic.bxor", "atomic.exchange", "atomic.cas",
    "shfl",       "shfl_up",     "shfl_down",  "shfl_xor",    "ballot",          "any",
    "all",        "popc"};

std::string number_text(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", x);
  return text;
}

class Printer {
 public:
  Printer(const Module &module, const Function &f) : module_(module), f_(f) {}

  std::string function() {
    out_ = "function " + f_.name + "(";
    for (std::size_t i = 0; i < f_.parameters.size(); ++i) {
      if (i > 0)
        out_ += ", ";
      const Argument &p = f_.parameters[i];
      out_ +=
          p.is_array ? array_text(p.index) : name(p.index) + ": " + type_name(f_.variables[std::size_t(p.index)].type);
    }
    out_ += ")";
    for (std::size_t i = 0; i < f_.results.size(); ++i)
      out_ += std::string(i == 0 ? " -> " : ", ") + type_name(f_.results[i]);
    out_ += "\n";
    block(f_.body, 1);
    return out_;
  }

 private:
  std::string name(std::int32_t v) const { return f_.variables[std::size_t(v)].name + "." + std::to_string(v); }
  std::string array_text(std::int32_t a) const {
    const Array &array = f_.arrays[std::size_t(a)];
    std::string text = array.name + ": " + std::to_string(array.dtype) + "[";
    for (int d = 1; d < array.ndim; ++d)
      text += ",";
    return text + "]" + (array.contiguous ? "" : " strided") + (array.shared ? " shared" : "");
  }
  std::string list(const std::vector<Ref> &refs) const {
    std::string text;
    for (std::size_t i = 0; i < refs.size(); ++i)
      text += (i > 0 ? ", " : "") + (refs[i] < 0 ? f_.arrays[std::size_t(-1 - refs[i])].name : node(refs[i]));
    return text;
  }
  std::string element(std::int32_t array, const std::vector<Ref> &indices, std::int64_t checked) const {
    return f_.arrays[std::size_t(array)].name + (checked == std::int64_t(indices.size()) ? "[unchecked " : "[") +
           list(indices) + "]";
  }
  std::string node(Ref ref) const {
    const Node &n = f_.nodes[std::size_t(ref)];
    auto two = [&](const char *op) { return "(" + node(n.a) + " " + op + " " + node(n.b) + ")"; };
    switch (n.op) {
    case Op::constant:
      if (n.type == Type::boolean)
        return n.integer ? "true" : "false";
      if (n.type == Type::int64)
        return std::to_string(n.integer);
      return number_text(n.number) + (n.type == Type::float32 ? "f" : "") +
             (n.type == Type::complex128 ? "+" + number_text(n.imaginary) + "i" : "");
    case Op::variable:
      return name(n.index);
    case Op::convert:
      return std::string(type_name(n.type)) + "(" + node(n.a) + ")";
    case Op::negate:
      return "-" + node(n.a);
    case Op::logical_not:
      return "not " + node(n.a);
    case Op::add:
      return two("+");
    case Op::subtract:
      return two("-");
    case Op::multiply:
      return two("*");
    case Op::divide:
      return two("/");
    case Op::modulo:
      return two("%");
    case Op::power:
      return two("^");
    case Op::less:
      return two("<");
    case Op::less_equal:
      return two("<=");
    case Op::equal:
      return two("==");
    case Op::not_equal:
      return two("~=");
    case Op::logical_and:
      return two("and");
    case Op::logical_or:
      return two("or");
    case Op::choose:
      return "(" + node(n.a) + " ? " + node(n.b) + " : " + node(n.c) + ")";
    case Op::call:
      return module_.functions[std::size_t(n.index)].name + "(" + list(n.arguments) + ")";
    case Op::math:
      return std::string(math_names[std::size_t(n.math)]) + "(" + list(n.arguments) +
             (n.math == Math::power_of ? ", " + number_text(n.number) : "") + ")";
    case Op::load:
      return element(n.index, n.arguments, n.integer);
    case Op::length:
      return f_.arrays[std::size_t(n.index)].name + ".shape[" + std::to_string(n.integer + 1) + "]";
    case Op::place:
      return std::string(gpu_names[std::size_t(n.gpu)]) +
             (n.gpu <= Gpu::grid_size ? std::string(".") + "xyz"[n.integer] : "");
    case Op::atomic:
      return std::string(gpu_names[std::size_t(n.gpu)]) + "(" + element(n.index, n.arguments, n.integer) + ", " +
             node(n.a) + (n.b >= 0 ? ", " + node(n.b) : "") + ")";
    case Op::warp:
      return std::string(gpu_names[std::size_t(n.gpu)]) + "(" + node(n.a) + (n.b >= 0 ? ", " + node(n.b) : "") +
             (n.b >= 0 && n.integer != 32 ? ", " + std::to_string(n.integer) : "") + ")";
    }
    return "?";
  }
  void line(int depth, const std::string &text, Position at) {
    std::string row = std::string(std::size_t(depth) * 2, ' ') + text;
    if (at.line > 0) {
      row.resize(std::max<std::size_t>(row.size() + 2, 72), ' ');
      row += "-- line " + std::to_string(at.line);
    }
    out_ += row + "\n";
  }
  void block(const std::vector<Instruction> &steps, int depth) {
    for (const Instruction &s : steps)
      step(s, depth);
  }
  void step(const Instruction &s, int depth) {
    switch (s.step) {
    case Step::assign:
      return line(depth, name(s.variable) + " = " + node(s.a), s.at);
    case Step::assign_call: {
      std::string text;
      for (std::size_t i = 0; i < s.targets.size(); ++i)
        text += (i > 0 ? ", " : "") + (s.targets[i] < 0 ? std::string("_") : name(s.targets[i]));
      return line(depth, (text.empty() ? "" : text + " = ") + node(s.a), s.at);
    }
    case Step::store:
      return line(depth, element(s.array, s.arguments, s.integer) + " = " + node(s.a), s.at);
    case Step::check_index:
      return line(depth,
                  "check " + node(s.a) + " in " + f_.arrays[std::size_t(s.array)].name + ".shape[" +
                      std::to_string(s.integer + 1) + "]",
                  s.at);
    case Step::for_:
      line(depth, "for " + name(s.variable) + " = " + node(s.a) + ", " + node(s.b) + ", " + node(s.c) + " do", s.at);
      block(s.blocks[0], depth + 1);
      return line(depth, "end", {});
    case Step::while_:
      line(depth, "while " + node(s.a) + " do", s.at);
      block(s.blocks[0], depth + 1);
      return line(depth, "end", {});
    case Step::repeat:
      line(depth, "repeat", s.at);
      block(s.blocks[0], depth + 1);
      return line(depth, "until " + node(s.a), {});
    case Step::if_:
      line(depth, "if " + node(s.a) + " then", s.at);
      block(s.blocks[0], depth + 1);
      if (!s.blocks[1].empty()) {
        line(depth, "else", {});
        block(s.blocks[1], depth + 1);
      }
      return line(depth, "end", {});
    case Step::break_:
      return line(depth, "break", s.at);
    case Step::continue_:
      return line(depth, "continue", s.at);
    case Step::return_:
      return line(depth, "return " + list(s.arguments), s.at);
    case Step::spawn:
      return line(depth,
                  name(s.targets[0]) + " = spawn " + name(s.variable) + " = " + node(s.a) + ", " + node(s.b) + ", " +
                      node(s.c) + ": " + module_.functions[std::size_t(s.array)].name + "(" + list(s.arguments) + ")",
                  s.at);
    case Step::sync:
      return line(depth, s.integer == 0 ? "sync" : s.integer == 1 ? "syncwarp" : "threadfence", s.at);
    }
  }

  const Module &module_;
  const Function &f_;
  std::string out_;
};

} // namespace

std::string print(const Module &module) {
  std::string text;
  for (const Function &f : module.functions)
    text += Printer(module, f).function();
  return text;
}

namespace {

void add(std::string &out, std::int64_t value) {
  out += std::to_string(value);
  out += ' ';
}
void add(std::string &out, const std::string &text) {
  add(out, std::int64_t(text.size()));
  out += text;
}
void add(std::string &out, Position at) {
  add(out, at.line);
  add(out, at.column);
}
template <class T> void add_all(std::string &out, const std::vector<T> &values) {
  add(out, std::int64_t(values.size()));
  for (const T &v : values)
    add(out, std::int64_t(v));
}
void add(std::string &out, const std::vector<Instruction> &steps) {
  add(out, std::int64_t(steps.size()));
  for (const Instruction &s : steps) {
    for (const std::int64_t v : {std::int64_t(s.step), std::int64_t(s.variable), std::int64_t(s.array), s.integer,
                                 std::int64_t(s.a), std::int64_t(s.b), std::int64_t(s.c)})
      add(out, v);
    add(out, s.at);
    add_all(out, s.arguments);
    add_all(out, s.targets);
    add_all(out, s.apart);
    add(out, std::int64_t(s.blocks.size()));
    for (const auto &b : s.blocks)
      add(out, b);
  }
}

} // namespace

std::string identity(const Module &module) {
  std::string out;
  add(out, std::int64_t(module.entry));
  add(out, std::int64_t(module.block));
  for (const Function &f : module.functions) {
    add(out, f.name);
    add(out, f.chunk);
    add(out, f.at);
    for (const Node &n : f.nodes) {
      for (const std::int64_t v :
           {std::int64_t(n.op), std::int64_t(n.type), std::int64_t(n.math), std::int64_t(n.gpu), std::int64_t(n.index),
            n.integer, std::int64_t(n.a), std::int64_t(n.b), std::int64_t(n.c)})
        add(out, v);
      add(out, n.at);
      out += number_text(n.number) + number_text(n.imaginary);
      add_all(out, n.arguments);
      for (const Row &row : n.rows) {
        add(out, row.argument);
        add(out, row.checked);
        add_all(out, row.indices);
      }
    }
    for (const Variable &v : f.variables)
      add(out, std::int64_t(v.type));
    for (const Array &a : f.arrays) {
      add(out, a.name);
      for (const std::int64_t v :
           {std::int64_t(a.dtype), std::int64_t(a.ndim), std::int64_t(a.contiguous), std::int64_t(a.shared)})
        add(out, v);
      add_all(out, a.lengths);
    }
    for (const Argument &p : f.parameters)
      add(out, p.is_array ? -1 - p.index : p.index);
    add_all(out, f.results);
    add(out, f.body);
  }
  return out;
}

} // namespace perigee::kernel
