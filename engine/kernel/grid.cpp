#include "kernel/grid.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"
#include "kernel/bounds.hpp"

#include <algorithm>
#include <optional>
#include <set>

namespace perigee::kernel {

namespace {

constexpr std::int64_t most_threads = 1024;     // of a block
constexpr std::int64_t most_stack = 512 * 1024; // bytes of variables that threads keep from one part to the next
constexpr int places = block_parameters + 4;    // and the thread's index, and its number in the block
enum Place { block_x, size_x = 3, grid_x = 6, offset_x = 9, thread_x = 12, number = 15 };

[[noreturn]] void refuse(const std::string &what, Position at) {
  throw UnsupportedError(what + " (line " + std::to_string(at.line) + ")");
}

bool has_sync(const std::vector<Instruction> &steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Instruction &s) {
    return (s.step == Step::sync && s.integer < 2) ||
           std::any_of(s.blocks.begin(), s.blocks.end(), [](const auto &b) { return has_sync(b); });
  });
}

// Calls visit(ref&) for every expression of a statement, but those of its blocks.
template <class Visit> void each_expression(Instruction &s, Visit &&visit) {
  for (Ref *r : {&s.a, &s.b, &s.c})
    if (*r >= 0)
      visit(*r);
  for (Ref &r : s.arguments)
    visit(r);
}

// ------------------------------------------------------------------------------------------------ where a thread is
// ---- Gives functions that ask where the thread is parameters that say so, and replaces their questions by them.
class Places {
 public:
  explicit Places(Module &module) : module_(module), asks_(module.functions.size(), -1) {}

  void run() {
    variables_.resize(module_.functions.size());
    for (std::size_t f = 0; f < module_.functions.size(); ++f)
      if (f == 0 || asks(f))
        declare(f);
    for (std::size_t f = 0; f < module_.functions.size(); ++f)
      replace(f);
  }

  const std::vector<std::int32_t> &of_kernel() const { return variables_[0]; }

 private:
  bool asks(std::size_t f) {
    if (asks_[f] >= 0)
      return asks_[f];
    asks_[f] = 0;
    for (const Node &n : module_.functions[f].nodes)
      if (n.op == Op::place || (n.op == Op::call && asks(std::size_t(n.index))))
        asks_[f] = 1;
    return asks_[f];
  }

  void declare(std::size_t index) {
    Function &f = module_.functions[index];
    for (int i = 0; i < places; ++i) {
      f.variables.push_back({"(place)", Type::int64, {}});
      variables_[index].push_back(std::int32_t(f.variables.size()) - 1);
      if (i < block_parameters || index > 0)
        f.parameters.push_back({false, variables_[index].back()});
    }
  }

  void replace(std::size_t index) {
    Function &f = module_.functions[index];
    for (std::size_t i = 0; i < f.nodes.size(); ++i) {
      if (f.nodes[i].op == Op::call && asks_[std::size_t(f.nodes[i].index)] == 1) {
        for (int p = 0; p < places; ++p) {
          const Ref v = variable(f, index, p);
          f.nodes[i].arguments.push_back(v);
        }
      }
      if (f.nodes[i].op != Op::place)
        continue;
      const int d = int(f.nodes[i].integer);
      auto two = [&](Op op, int a, int b) {
        const Ref x = variable(f, index, a), y = variable(f, index, b);
        Node &n = f.nodes[i];
        n.op = op;
        n.integer = 0;
        n.a = x;
        n.b = y;
      };
      auto one = [&](int p) {
        f.nodes[i].op = Op::variable;
        f.nodes[i].integer = 0;
        f.nodes[i].index = variables_[index][std::size_t(p)];
      };
      switch (f.nodes[i].gpu) {
      case Gpu::thread_idx:
        one(thread_x + d);
        break;
      case Gpu::block_idx:
        one(block_x + d);
        break;
      case Gpu::block_dim:
        one(size_x + d);
        break;
      case Gpu::grid_dim:
        one(grid_x + d);
        break;
      case Gpu::grid:
        two(Op::add, offset_x + d, thread_x + d);
        break;
      case Gpu::grid_size:
        two(Op::multiply, grid_x + d, size_x + d);
        break;
      case Gpu::lane: { // (number - 1) % 32 + 1
        const Ref before = whole(f, 0), one_ = whole(f, 1), width = whole(f, 32), v = variable(f, index, number);
        f.nodes[std::size_t(before)].op = Op::subtract;
        f.nodes[std::size_t(before)].a = v;
        f.nodes[std::size_t(before)].b = one_;
        const Ref rest = whole(f, 0);
        f.nodes[std::size_t(rest)].op = Op::modulo;
        f.nodes[std::size_t(rest)].a = before;
        f.nodes[std::size_t(rest)].b = width;
        Node &n = f.nodes[i];
        n.op = Op::add;
        n.integer = 0;
        n.a = rest;
        n.b = one_;
        break;
      }
      default: // warp_size
        f.nodes[i].op = Op::constant;
        f.nodes[i].integer = 32;
        f.nodes[i].number = 32;
      }
    }
  }

  Ref whole(Function &f, std::int64_t value) {
    Node n;
    n.type = Type::int64;
    n.integer = value;
    n.number = double(value);
    f.nodes.push_back(n);
    return Ref(f.nodes.size()) - 1;
  }
  Ref variable(Function &f, std::size_t index, int place) {
    Node n;
    n.op = Op::variable;
    n.type = Type::int64;
    n.index = variables_[index][std::size_t(place)];
    f.nodes.push_back(n);
    return Ref(f.nodes.size()) - 1;
  }

  Module &module_;
  std::vector<int> asks_;
  std::vector<std::vector<std::int32_t>> variables_;
};

// ----------------------------------------------------------------------------------------------- loops over threads
// ----
class Threads {
 public:
  Threads(Function &f, const std::vector<std::int32_t> &place) : f_(f), place_(place) {}

  void run() {
    for (Node &n : f_.nodes)
      if (n.op == Op::warp && n.gpu != Gpu::popcount)
        refuse("functions of a warp run in the checked simulator", n.at);
    keep_parameters();
    syncs_ = has_sync(f_.body);
    written_.assign(f_.variables.size(), {});
    note_writes(f_.body, true);
    find_uniform();
    if (syncs_)
      returns_ = has_return(f_.body);
    if (returns_) {
      done_ = new_variable("(done)", Type::boolean);
      Instruction start = assign(done_, boolean(false));
      f_.body.insert(f_.body.begin(), start);
    }
    std::vector<Instruction> out;
    for (const Array &a : f_.arrays)
      if (a.shared && !a.lengths.empty() && a.lengths[0] > 0) // undefined contents must not become undefined behaviour
        out.push_back(fill(a));
    parts(std::move(f_.body), out);
    f_.body = std::move(out);
    choose_kept();
    rewrite();
  }

 private:
  struct Writes {
    int times = 0;           // anywhere
    std::vector<Ref> values; // where all threads come by
    int together = 0;        // of `times`
  };

  // ------------------------------------------------------------------------------------------------ making nodes -----
  Ref add(Node n) {
    f_.nodes.push_back(std::move(n));
    return Ref(f_.nodes.size()) - 1;
  }
  Ref whole(std::int64_t value) {
    Node n;
    n.type = Type::int64;
    n.integer = value;
    n.number = double(value);
    return add(n);
  }
  Ref boolean(bool value) {
    Node n;
    n.type = Type::boolean;
    n.integer = value;
    return add(n);
  }
  Ref two(Op op, Ref a, Ref b) {
    Node n;
    n.op = op;
    n.type = Type::int64;
    n.a = a;
    n.b = b;
    return add(n);
  }
  Ref variable(std::int32_t v) {
    Node n;
    n.op = Op::variable;
    n.type = f_.variables[std::size_t(v)].type;
    n.index = v;
    return add(n);
  }
  Ref place(int p) { return variable(place_[std::size_t(p)]); }
  std::int32_t new_variable(const char *name, Type type) {
    f_.variables.push_back({name, type, {}});
    written_.resize(f_.variables.size());
    return std::int32_t(f_.variables.size()) - 1;
  }
  Instruction assign(std::int32_t v, Ref value) {
    Instruction s{Step::assign, f_.at};
    s.variable = v;
    s.a = value;
    return s;
  }
  Instruction fill(const Array &a) {
    Instruction s{Step::store, a.at};
    s.array = std::int32_t(&a - f_.arrays.data());
    Node zero;
    const bool floating = a.dtype == PG_FLOAT32 || a.dtype == PG_FLOAT64;
    zero.type = a.dtype == PG_BOOL                                    ? Type::boolean
                : a.dtype == PG_FLOAT32                               ? Type::float32
                : floating                                            ? Type::float64
                : a.dtype == PG_COMPLEX64 || a.dtype == PG_COMPLEX128 ? Type::complex128
                                                                      : Type::int64;
    s.a = add(zero);
    return s;
  }

  // A parameter that the kernel assigns to is each thread's own.
  void keep_parameters() {
    std::set<std::int32_t> assigned;
    note_assigned(f_.body, assigned);
    std::vector<Instruction> copies;
    for (std::size_t i = 0; i + block_parameters < f_.parameters.size(); ++i) {
      Argument &p = f_.parameters[i];
      if (p.is_array || !assigned.contains(p.index))
        continue;
      const std::int32_t given = new_variable("(given)", f_.variables[std::size_t(p.index)].type);
      copies.push_back(assign(p.index, variable(given)));
      p.index = given;
    }
    f_.body.insert(f_.body.begin(), copies.begin(), copies.end());
  }
  void note_assigned(const std::vector<Instruction> &steps, std::set<std::int32_t> &assigned) {
    for (const Instruction &s : steps) {
      if (s.step == Step::assign || s.step == Step::for_)
        assigned.insert(s.variable);
      if (s.step == Step::check_index)
        assigned.insert(node(s.a).index);
      for (const std::int32_t t : s.targets)
        assigned.insert(t);
      for (const auto &b : s.blocks)
        note_assigned(b, assigned);
    }
  }

  const Node &node(Ref r) const { return f_.nodes[std::size_t(r)]; }

  // ------------------------------------------------------------------------------- what is the same for all threads
  // ---- together: all threads of the block come by, unless they have returned.
  void note_writes(const std::vector<Instruction> &steps, bool together) {
    auto once = [&](std::int32_t v, Ref value, bool here) {
      Writes &w = written_[std::size_t(v)];
      ++w.times;
      if (here && value >= 0) {
        ++w.together;
        w.values.push_back(value);
      }
    };
    for (const Instruction &s : steps) {
      const bool inside = together && syncs_ && has_sync({s});
      if (s.step == Step::assign)
        once(s.variable, s.array >= 0 ? -1 : s.a, together);
      if (s.step == Step::for_) {
        once(s.variable, s.a, inside);
        if (inside)
          for (const Ref r : {s.b, s.c})
            written_[std::size_t(s.variable)].values.push_back(r);
      }
      if (s.step == Step::check_index)
        once(node(s.a).index, -1, false);
      for (const std::int32_t t : s.targets)
        if (t >= 0)
          once(t, -1, false);
      for (const auto &b : s.blocks)
        note_writes(b, inside);
    }
  }

  bool uniform(Ref r) const {
    const Node &n = node(r);
    switch (n.op) {
    case Op::variable:
      return uniform_.contains(n.index);
    case Op::load:
    case Op::call:
    case Op::atomic:
    case Op::warp:
    case Op::place:
      return false;
    default:
      break;
    }
    for (const Ref x : {n.a, n.b, n.c})
      if (x >= 0 && !uniform(x))
        return false;
    return std::all_of(n.arguments.begin(), n.arguments.end(), [&](Ref x) { return x < 0 || uniform(x); });
  }

  void find_uniform() {
    for (std::int32_t v = 0; v < std::int32_t(f_.variables.size()); ++v)
      if (syncs_ && written_[std::size_t(v)].times > 0 &&
          written_[std::size_t(v)].times == written_[std::size_t(v)].together)
        uniform_.insert(v);
    for (const Argument &p : f_.parameters)
      if (!p.is_array)
        uniform_.insert(p.index);
    for (bool changed = true; changed;) {
      changed = false;
      for (auto v = uniform_.begin(); v != uniform_.end();) {
        const auto &values = written_[std::size_t(*v)].values;
        if (std::all_of(values.begin(), values.end(), [&](Ref r) { return uniform(r); })) {
          ++v;
        } else {
          v = uniform_.erase(v);
          changed = true;
        }
      }
    }
  }

  static bool has_return(const std::vector<Instruction> &steps) {
    return std::any_of(steps.begin(), steps.end(), [](const Instruction &s) {
      return s.step == Step::return_ ||
             std::any_of(s.blocks.begin(), s.blocks.end(), [](const auto &b) { return has_return(b); });
    });
  }

  bool mentions(const std::vector<Instruction> &steps, std::int32_t v) const {
    return std::any_of(steps.begin(), steps.end(), [&](const Instruction &s) { return mentions(s, v); });
  }
  bool mentions(const Instruction &s, std::int32_t v) const {
    if (((s.step == Step::assign || s.step == Step::for_) && s.variable == v) ||
        std::find(s.targets.begin(), s.targets.end(), v) != s.targets.end())
      return true;
    for (const Ref r : {s.a, s.b, s.c})
      if (r >= 0 && reads(r, v))
        return true;
    return std::any_of(s.arguments.begin(), s.arguments.end(), [&](Ref r) { return reads(r, v); }) ||
           std::any_of(s.blocks.begin(), s.blocks.end(), [&](const auto &b) { return mentions(b, v); });
  }
  bool reads(Ref ref, std::int32_t v) const {
    const Node &n = node(ref);
    if (n.op == Op::variable)
      return n.index == v;
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0 && reads(r, v))
        return true;
    for (const Ref r : n.arguments)
      if (r >= 0 && reads(r, v))
        return true;
    for (const Row &row : n.rows)
      for (const Ref r : row.indices)
        if (reads(r, v))
          return true;
    return false;
  }

  // --------------------------------------------------------------------------------------------------------- parts
  // ---- Appends what runs the statements to `out`: those that all threads run before any goes on, as loops over
  // threads.
  void parts(std::vector<Instruction> steps, std::vector<Instruction> &out) {
    std::vector<Instruction> part;
    auto flush = [&] {
      if (!part.empty())
        out.push_back(threads(std::move(part)));
      part.clear();
    };
    for (Instruction &s : steps) {
      if (s.step == Step::sync && s.integer < 2) {
        flush();
        continue;
      }
      if (syncs_ && s.step == Step::assign && s.array < 0 && uniform_.contains(s.variable)) {
        if (mentions(part, s.variable))
          flush();
        out.push_back(std::move(s)); // once for all threads
        continue;
      }
      if (!syncs_ || !has_sync({s})) {
        part.push_back(std::move(s));
        continue;
      }
      flush();
      for (const Ref r : {s.a, s.b, s.c})
        if (r >= 0 && !uniform(r))
          refuse("gpu.sync stands where not all threads may come by: the checked simulator runs such kernels", s.at);
      const bool loops = s.step != Step::if_;
      if (loops && leaves(s.blocks[0]))
        refuse("a loop with gpu.sync inside that break or goto may leave runs in the checked simulator", s.at);
      if (s.step == Step::repeat && s.blocks[0].empty())
        refuse("an empty loop", s.at);
      depth_ += loops;
      for (auto &b : s.blocks) {
        std::vector<Instruction> inside;
        parts(std::move(b), inside);
        b = std::move(inside);
      }
      depth_ -= loops;
      out.push_back(std::move(s));
    }
    flush();
  }

  // Whether a break or continue of this loop's stands in its body.
  static bool leaves(const std::vector<Instruction> &body) {
    return std::any_of(body.begin(), body.end(), [](const Instruction &s) {
      if (s.step == Step::break_ || s.step == Step::continue_)
        return true;
      return s.step == Step::if_ &&
             std::any_of(s.blocks.begin(), s.blocks.end(), [](const auto &b) { return leaves(b); });
    });
  }

  // The statements, run by each thread.
  Instruction threads(std::vector<Instruction> part) {
    returns_become_next(part);
    parts_.push_back({});
    Part &noted = parts_.back();
    noted.in_loop = depth_ > 0;
    for (std::int32_t v = 0; v < std::int32_t(f_.variables.size()); ++v)
      if (mentions(part, v)) {
        noted.mentioned.insert(v);
        for (const Instruction &s : part)
          if (mentions(s, v)) {
            const bool first = (s.step == Step::assign && s.variable == v && !reads(s.a, v));
            if (!first)
              noted.kept.insert(v);
            break;
          }
      }
    own_arrays(part, std::int32_t(parts_.size()) - 1);
    if (returns_ && parts_.size() > 1) {
      Instruction skip{Step::if_, f_.at};
      skip.a = variable(done_);
      skip.blocks.resize(2);
      skip.blocks[0].push_back(next());
      part.insert(part.begin(), skip);
      noted.mentioned.insert(done_);
      noted.kept.insert(done_);
    }
    // number = ((z - 1) * size y + y - 1) * size x + x
    const Ref plane = two(Op::multiply, two(Op::subtract, place(thread_x + 2), whole(1)), place(size_x + 1));
    const Ref row =
        two(Op::multiply, two(Op::add, plane, two(Op::subtract, place(thread_x + 1), whole(1))), place(size_x));
    std::vector<Instruction> body;
    body.push_back(assign(place_[number], two(Op::add, row, place(thread_x))));
    for (Instruction &s : part)
      body.push_back(std::move(s));
    for (int d = 0; d < 3; ++d) {
      Instruction loop{Step::for_, f_.at};
      loop.variable = place_[std::size_t(thread_x + d)];
      loop.a = whole(1);
      loop.b = place(size_x + d);
      loop.c = whole(1);
      loop.integer = d == 0; // threads do not use what others write, but after gpu.sync
      loop.blocks.push_back(std::move(body));
      body.clear();
      body.push_back(std::move(loop));
    }
    return std::move(body[0]);
  }

  Instruction next() const {
    Instruction s{Step::continue_, f_.at};
    s.integer = depth_ + 3; // the loop over threads
    return s;
  }

  void returns_become_next(std::vector<Instruction> &steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (auto &b : steps[i].blocks)
        returns_become_next(b);
      if (steps[i].step != Step::return_)
        continue;
      steps[i] = next();
      if (returns_)
        steps.insert(steps.begin() + std::ptrdiff_t(i++), assign(done_, boolean(true)));
    }
  }

  // ----------------------------------------------------------------------------- what threads keep from part to part
  // ----
  struct Part {
    bool in_loop = false;                   // of parts
    std::set<std::int32_t> mentioned, kept; // variables; those that are not assigned to before they are used
  };

  // An array of a thread's own is one for all of them: it must not be needed after the part.
  void own_arrays(const std::vector<Instruction> &part, std::int32_t number_of_part) {
    std::set<std::int32_t> used;
    use_of_arrays(part, used);
    own_part_.resize(f_.arrays.size(), -1);
    for (const std::int32_t a : used) {
      const Array &array = f_.arrays[std::size_t(a)];
      if (array.shared || array.lengths.empty())
        continue;
      const bool filled = std::any_of(part.begin(), part.end(), [&](const Instruction &s) {
        return s.step == Step::store && s.array == a && s.arguments.empty();
      });
      if ((own_part_[std::size_t(a)] >= 0 && own_part_[std::size_t(a)] != number_of_part) || (syncs_ && !filled))
        refuse("'" + array.name +
                   "' is a thread's own array on both sides of a gpu.sync: the checked simulator runs that",
               array.at);
      own_part_[std::size_t(a)] = number_of_part;
    }
  }
  void use_of_arrays(const std::vector<Instruction> &steps, std::set<std::int32_t> &used) const {
    for (const Instruction &s : steps) {
      if (s.array >= 0)
        used.insert(s.array);
      for (const Ref r : {s.a, s.b, s.c})
        if (r >= 0)
          use_of_arrays(r, used);
      for (const Ref r : s.arguments)
        use_of_arrays(r, used);
      for (const auto &b : s.blocks)
        use_of_arrays(b, used);
    }
  }
  void use_of_arrays(Ref ref, std::set<std::int32_t> &used) const {
    const Node &n = node(ref);
    if (n.op == Op::load || n.op == Op::atomic)
      used.insert(n.index);
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0)
        use_of_arrays(r, used);
    for (const Ref r : n.arguments) {
      if (r >= 0)
        use_of_arrays(r, used);
      else
        used.insert(-1 - r);
    }
    for (const Row &row : n.rows)
      for (const Ref r : row.indices)
        use_of_arrays(r, used);
  }

  void choose_kept() {
    std::set<std::int32_t> kept;
    for (std::size_t i = 0; i < parts_.size(); ++i)
      for (const std::int32_t v : parts_[i].kept) {
        if (uniform_.contains(v) || is_place(v))
          continue;
        bool elsewhere = parts_[i].in_loop;
        for (std::size_t j = 0; j < parts_.size(); ++j)
          elsewhere = elsewhere || (j != i && parts_[j].mentioned.contains(v));
        if (elsewhere)
          kept.insert(v);
      }
    std::int64_t bytes = 0;
    array_of_.assign(f_.variables.size(), -1);
    for (const std::int32_t v : kept) {
      Array array;
      array.name = "(" + f_.variables[std::size_t(v)].name + ")";
      array.at = f_.at;
      array.ndim = 1;
      array.contiguous = array.written = array.shared = true;
      array.lengths = {most_threads};
      switch (f_.variables[std::size_t(v)].type) {
      case Type::boolean:
        array.dtype = PG_BOOL;
        break;
      case Type::float32:
        array.dtype = PG_FLOAT32;
        break;
      case Type::float64:
        array.dtype = PG_FLOAT64;
        break;
      case Type::complex128:
        array.dtype = PG_COMPLEX128;
        break;
      default:
        array.dtype = PG_INT64;
      }
      bytes += most_threads * (array.dtype == PG_COMPLEX128 ? 16 : 8);
      f_.arrays.push_back(array);
      array_of_[std::size_t(v)] = std::int32_t(f_.arrays.size()) - 1;
    }
    if (bytes > most_stack)
      refuse("this kernel keeps too many variables from one gpu.sync to the next: the checked simulator runs it",
             f_.at);
  }
  bool is_place(std::int32_t v) const { return std::find(place_.begin(), place_.end(), v) != place_.end(); }

  // Variables that are kept become elements of arrays, one a thread.
  void rewrite() {
    const std::size_t count = f_.nodes.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (f_.nodes[i].op != Op::variable || array_of_[std::size_t(f_.nodes[i].index)] < 0)
        continue;
      const Ref at = place(number);
      Node &n = f_.nodes[i];
      n.op = Op::load;
      n.index = array_of_[std::size_t(n.index)];
      n.arguments = {at};
      n.integer = 1;
    }
    rewrite(f_.body);
  }

  Instruction keep(std::int32_t v, Ref value, Position at) {
    Instruction s{Step::store, at};
    s.array = array_of_[std::size_t(v)];
    s.arguments = {place(number)};
    s.integer = 1;
    s.a = value;
    return s;
  }
  bool kept(std::int32_t v) const {
    return v >= 0 && std::size_t(v) < array_of_.size() && array_of_[std::size_t(v)] >= 0;
  }

  void rewrite(std::vector<Instruction> &steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (auto &b : steps[i].blocks)
        rewrite(b);
      switch (steps[i].step) {
      case Step::assign: {
        const std::int32_t v = steps[i].variable;
        if (!kept(v))
          break;
        if (steps[i].array < 0) {
          steps[i] = keep(v, steps[i].a, steps[i].at);
          break;
        }
        const std::int32_t between = new_variable("(value)", Type::int64);
        steps[i].variable = between;
        steps.insert(steps.begin() + std::ptrdiff_t(i) + 1, keep(v, variable(between), steps[i].at));
        ++i;
        break;
      }
      case Step::for_: {
        const std::int32_t v = steps[i].variable;
        if (!kept(v))
          break;
        const std::int32_t counter = new_variable("(counter)", f_.variables[std::size_t(v)].type);
        steps[i].variable = counter;
        steps[i].blocks[0].insert(steps[i].blocks[0].begin(), keep(v, variable(counter), steps[i].at));
        break;
      }
      case Step::assign_call: {
        std::size_t after = i;
        for (std::int32_t &t : steps[i].targets)
          if (kept(t)) {
            const std::int32_t v = t;
            t = new_variable("(result)", f_.variables[std::size_t(v)].type);
            steps.insert(steps.begin() + std::ptrdiff_t(++after), keep(v, variable(t), steps[i].at));
          }
        i = after;
        break;
      }
      case Step::check_index: {
        if (node(steps[i].a).op != Op::load) // the variable itself
          break;
        std::int32_t v = -1;
        for (std::size_t k = 0; k < array_of_.size(); ++k)
          if (array_of_[k] == node(steps[i].a).index)
            v = std::int32_t(k);
        const std::int32_t between = new_variable("(index)", Type::int64);
        steps.insert(steps.begin() + std::ptrdiff_t(i), assign(between, steps[i].a));
        ++i;
        steps[i].a = variable(between);
        steps.insert(steps.begin() + std::ptrdiff_t(i) + 1, keep(v, variable(between), steps[i].at));
        ++i;
        break;
      }
      default:
        break;
      }
    }
  }

  Function &f_;
  const std::vector<std::int32_t> place_; // variables that say where the thread is
  bool syncs_ = false, returns_ = false;
  int depth_ = 0; // of loops around the parts
  std::int32_t done_ = -1;
  std::vector<Writes> written_;
  std::set<std::int32_t> uniform_;
  std::vector<Part> parts_;
  std::vector<std::int32_t> own_part_; // of each array of a thread's own, the part that uses it
  std::vector<std::int32_t> array_of_; // of each variable that is kept
};

} // namespace

Module block_of(const Module &grid) {
  Module module = grid;
  for (std::size_t i = 1; i < module.functions.size(); ++i) {
    const Function &f = module.functions[i];
    if (has_sync(f.body))
      refuse("'" + f.name + "' calls gpu.sync: such kernels run in the checked simulator", f.at);
    for (const Node &n : f.nodes)
      if (n.op == Op::warp && n.gpu != Gpu::popcount)
        refuse("functions of a warp run in the checked simulator", n.at);
    for (const Array &a : f.arrays)
      if (a.shared)
        refuse("'" + a.name + "' is shared memory of a function that the kernel calls: the checked simulator runs that",
               a.at);
  }
  module.entry = Entry::packed;
  module.block = true;
  Places where(module);
  where.run();
  Threads(module.functions[0], where.of_kernel()).run();
  Function &kernel = module.functions[0];
  for (std::size_t a = 0; a < kernel.arrays.size(); ++a)
    if (kernel.arrays[a].shared && kernel.arrays[a].lengths == std::vector<std::int64_t>{0}) {
      kernel.arrays[a].lengths.clear();
      kernel.parameters.push_back({true, std::int32_t(a)});
    }
  hoist_checks(module, true);
  return module;
}

} // namespace perigee::kernel
