#include "kernel/cuda_writer.hpp"

#include <algorithm>
#include <cmath>

namespace perigee::kernel::cuda {

void Writer::line(const std::string &text, Position at) {
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

std::string Writer::comment_first() const {
  return "// " + f_.name + ", " + f_.chunk + ":" + std::to_string(f_.at.line) + "\n";
}

void Writer::own_array(std::size_t i) {
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

void Writer::block(const std::vector<Instruction> &steps, bool outermost) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Instruction &s = steps[i];
    if (outermost && i + 1 == steps.size() && s.step == Step::return_ && s.arguments.empty())
      return; // the end does that
    step(s);
    if (s.step == Step::break_ || s.step == Step::continue_ || s.step == Step::return_)
      return;
  }
}

void Writer::body(const std::vector<Instruction> &steps) {
  ++depth_;
  block(steps);
  --depth_;
}

std::size_t Writer::assignments(std::int32_t v) {
  std::size_t count = 0;
  for (const Place &p : places_[v])
    count += p.assigns ? 1 : 0;
  return count;
}

// "const int i" where this step declares the variable, else "i".
std::string Writer::target(std::int32_t v, const Instruction &s) {
  const auto found = declared_at_.find(&s);
  if (found == declared_at_.end() || std::find(found->second.begin(), found->second.end(), v) == found->second.end())
    return variables_[std::size_t(v)];
  return (assignments(v) == 1 ? "const " : "") + variable_type(v) + " " + variables_[std::size_t(v)];
}

void Writer::step(const Instruction &s) {
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
  case Step::spawn:
    throw InternalError("threads of this processor have no CUDA C++");
  case Step::sync:
    line(s.integer == 0 ? "__syncthreads();" : s.integer == 1 ? "__syncwarp();" : "__threadfence();", s.at);
    return;
  }
}

void Writer::if_chain(const Instruction &s, const std::string &head) {
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

void Writer::return_values(const Instruction &s) {
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
bool Writer::invariant(Ref ref, const std::vector<Instruction> &steps, std::int32_t counter) const {
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

void Writer::for_loop(const Instruction &s) {
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
  std::string start = from.s, increment = known && whole && std::abs(by.integer) == 1
                                              ? (up ? "++" : "--") + counter
                                              : counter + (known && !up && whole ? " -= " + std::to_string(-by.integer)
                                                                                 : " += " + step.s);
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

void Writer::store(const Instruction &s) {
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

std::string Writer::as_element(Ref ref, const Array &a) {
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

} // namespace perigee::kernel::cuda
