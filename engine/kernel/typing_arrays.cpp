// Typing: arrays, their elements, rows and lengths.
#include "kernel/builder.hpp"

namespace perigee::kernel {

// Whether an expression is an array or a row of one.
bool Builder::as_view(const Expression &e, View &view) {
  if (e.kind == ExpressionKind::parenthesised)
    return as_view(*e.operands[0], view);
  if (e.kind == ExpressionKind::name) {
    const Name *name = find(e.text);
    if (!name || name->what != Name::What::array)
      return false;
    view.array = name->index;
    view.unchecked = 0;
    for (const std::int32_t v : name->leading)
      view.leading.push_back(variable(v, e.at));
    return true;
  }
  if (e.kind == ExpressionKind::index && e.operands[1]->kind != ExpressionKind::string) {
    if (!as_view(*e.operands[0], view))
      return false;
    if (int(view.leading.size()) >= out_.arrays[std::size_t(view.array)].ndim)
      return false;
    push_index(view, *e.operands[1]);
    return true;
  }
  return false;
}

void Builder::push_index(View &view, const Expression &e) {
  const Array &array = out_.arrays[std::size_t(view.array)];
  if (int(view.leading.size()) >= array.ndim)
    fail(e.at, "'" + array.name + "' has " + counted(array.ndim, "dimension") + ": this is one index too many");
  std::vector<Instruction> *const hold = std::exchange(hold_, nullptr); // of this index, not of those within it
  if (e.kind == ExpressionKind::table)
    fail(e.at, "kernels have no slices: loop over the elements, or pass the slice as an argument");
  Ref index = value(e);
  hold_ = hold;
  need_number(index, "an index");
  if (kind(index) == Kind::complex)
    fail(e.at, "an index is a whole number");
  if (hold && out_.nodes[std::size_t(index)].op != Op::constant) {
    const std::int32_t held = new_variable("index", e.at, kind(index));
    Instruction keep{Step::assign, e.at};
    keep.variable = held;
    keep.a = index;
    hold->push_back(std::move(keep));
    index = variable(held, e.at);
  }
  view.leading.push_back(convert(index, kind(index) == Kind::unknown ? Kind::unknown : Kind::integer));
  ++view.unchecked;
}

View Builder::array_view(const Expression &e) {
  View view;
  if (!as_view(e, view)) {
    const Expression &object = *e.operands[0];
    View whole;
    if (as_view(object, whole))
      push_index(whole, *e.operands[1]); // says that it has no such dimension
    if (const Binding binding = constant_binding(object);
        binding.what == Binding::What::refused && binding.text == "an array")
      fail(e.at, "'" + object.text + "' is an array that the kernel captures: pass it as an argument");
    std::string name = object.kind == ExpressionKind::name ? "'" + object.text + "'" : "this";
    fail(e.at, name + " is not an array: kernels index arrays only");
  }
  return view;
}

Ref Builder::load(const View &view, Position where) {
  const Array &array = out_.arrays[std::size_t(view.array)];
  if (int(view.leading.size()) != array.ndim)
    fail(where, "'" + array.name + "' has " + counted(array.ndim, "dimension") + ", and " +
                    std::to_string(view.leading.size()) + (view.leading.size() == 1 ? " index" : " indices") +
                    " is a row, no number: index further, or give the row a name (local row = ...)");
  Node node;
  node.op = Op::load;
  node.at = where;
  node.index = view.array;
  node.arguments = view.leading;
  node.integer = std::int64_t(view.leading.size()) - view.unchecked; // how many indices are checked
  return add(std::move(node), kind_of_dtype(array.dtype));
}

// local row = a[i], local b = a, local f = math.sin, local t = array.zeros(3): names for what is no scalar.
bool Builder::alias(const Expression &e, const std::string &as, Name &name, std::vector<Instruction> &into) {
  if (e.kind == ExpressionKind::name || e.kind == ExpressionKind::index || e.kind == ExpressionKind::parenthesised) {
    View view;
    if (as_view(e, view)) {
      if (int(view.leading.size()) == out_.arrays[std::size_t(view.array)].ndim && !(e.kind == ExpressionKind::name))
        return false;
      name.what = Name::What::array;
      name.index = view.array;
      const std::size_t checked = view.leading.size() - std::size_t(view.unchecked);
      for (std::size_t i = 0; i < view.leading.size(); ++i) {
        const std::int32_t kept = new_variable(as, e.at, Kind::integer);
        Instruction keep{Step::assign, e.at};
        keep.variable = kept;
        keep.a = view.leading[i];
        keep.array = view.array; // a float must be whole, and messages say of what it is an index
        keep.integer = std::int64_t(i);
        into.push_back(keep);
        if (i >= checked) {
          Instruction check{Step::check_index, e.at};
          check.array = view.array;
          check.integer = std::int64_t(i);
          check.a = variable(kept, e.at);
          into.push_back(check);
        }
        name.leading.push_back(kept);
      }
      return true;
    }
    if (e.kind != ExpressionKind::name || !find(e.text) || find(e.text)->what == Name::What::binding) {
      const Binding binding = constant_binding(e);
      if (binding.what == Binding::What::function ||
          (binding.what == Binding::What::builtin && !builtin_value(binding.text, nullptr))) {
        name.what = Name::What::binding;
        name.binding = binding;
        return true;
      }
    }
    return false;
  }
  if (e.kind == ExpressionKind::call) {
    const Binding binding = callee(e);
    if (binding.what == Binding::What::builtin && binding.text == "gpu.shared") {
      name.what = Name::What::array;
      name.index = shared_array(e, as);
      return true;
    }
    if (binding.what == Binding::What::builtin && (binding.text == "array.zeros" || binding.text == "array.ones")) {
      name.what = Name::What::array;
      name.index = local_array(e, as, binding.text == "array.ones", into);
      return true;
    }
  }
  return false;
}

std::int32_t Builder::own_dtype(const std::string &dtype, Position where) const {
  const std::pair<const char *, std::int32_t> known[] = {
      {"float64", PG_FLOAT64}, {"float32", PG_FLOAT32}, {"int32", PG_INT32},          {"int64", PG_INT64},
      {"uint8", PG_UINT8},     {"bool", PG_BOOL},       {"complex128", PG_COMPLEX128}};
  const auto found = std::find_if(std::begin(known), std::end(known), [&](auto &k) { return dtype == k.first; });
  if (found == std::end(known))
    fail(where, "the dtype of a kernel's own array is float64, float32, int32, int64, uint8, bool or complex128");
  return found->second;
}

std::int32_t Builder::local_array(const Expression &e, const std::string &as, bool ones,
                                  std::vector<Instruction> &into) {
  Array array;
  array.name = as;
  array.at = e.at;
  array.dtype = PG_FLOAT64;
  array.contiguous = true;
  std::int64_t size = 1;
  auto length = [&](const Expression &item) {
    const auto known = known_integer(value(item));
    if (!known || *known < 1 || *known > 4096)
      fail(item.at, "a kernel's own array has a length known when it is compiled, from 1 to 4096: make one of another "
                    "length outside, "
                    "and pass it to the kernel");
    array.lengths.push_back(*known);
    size *= *known;
  };
  if (e.operands.size() < 2)
    fail(e.at, "the length of the array is missing");
  const Expression &shape = *e.operands[1];
  if (shape.kind == ExpressionKind::table) {
    if (shape.value)
      fail(shape.at, "a shape is a list of lengths");
    for (const auto &item : shape.operands)
      length(*item);
  } else {
    length(shape);
  }
  array.ndim = std::int32_t(array.lengths.size());
  if (array.ndim < 1 || array.ndim > 8 || size > 4096)
    fail(e.at, "a kernel's own array has 1 to 8 dimensions and at most 4096 elements");
  if (e.operands.size() > 2) {
    const Expression &options = *e.operands[2];
    std::string dtype;
    if (options.kind == ExpressionKind::string)
      dtype = options.text;
    else if (options.kind == ExpressionKind::table && options.value && options.operands.size() == 2 &&
             options.operands[0]->kind == ExpressionKind::string && options.operands[0]->text == "dtype" &&
             options.operands[1]->kind == ExpressionKind::string)
      dtype = options.operands[1]->text;
    array.dtype = own_dtype(dtype, options.at);
  }
  out_.arrays.push_back(array);
  const std::int32_t index = std::int32_t(out_.arrays.size()) - 1;
  Instruction clear{Step::store, e.at}; // without indices: every element
  clear.array = index;
  clear.a = constant(ones ? 1 : 0, kind_of_dtype(array.dtype), e.at);
  into.push_back(clear);
  return index;
}

Ref Builder::length_of(const View &view, std::int64_t dimension, Position where) {
  const Array &array = out_.arrays[std::size_t(view.array)];
  const std::int64_t index = std::int64_t(view.leading.size()) + dimension; // from 1
  if (dimension < 1 || index > array.ndim)
    fail(where, "'" + array.name + "' has " + std::to_string(array.ndim - std::int32_t(view.leading.size())) +
                    " dimensions here, and no dimension " + std::to_string(dimension));
  if (!array.lengths.empty() && array.lengths[0] > 0)
    return integer(array.lengths[std::size_t(index - 1)], where);
  Node node;
  node.op = Op::length;
  node.at = where;
  node.index = view.array;
  node.integer = index - 1;
  return add(std::move(node), Kind::integer);
}

std::int32_t Builder::shared_array(const Expression &e, const std::string &as) {
  need_gpu("gpu.shared", e.at);
  Array array;
  array.name = as;
  array.at = e.at;
  array.contiguous = true;
  array.shared = true;
  if (e.operands.size() < 2 || e.operands[1]->kind != ExpressionKind::string)
    fail(e.at, "'gpu.shared' takes a dtype and lengths: gpu.shared(\"float32\", 16, 16)");
  array.dtype = own_dtype(e.operands[1]->text, e.operands[1]->at);
  for (std::size_t i = 2; i < e.operands.size(); ++i) {
    const auto known = known_integer(value(*e.operands[i]));
    if (!known || *known < 1 || *known > 232448)
      fail(e.operands[i]->at,
           "a shared array has lengths known when the kernel is compiled, from 1 to 232448; or none: "
           "gpu.shared(\"float32\") is the memory that the launch gives, k{shared = bytes}");
    array.lengths.push_back(*known);
  }
  if (array.lengths.empty())
    array.lengths = {0};
  if (array.lengths.size() > 8)
    fail(e.at, "an array has at most 8 dimensions");
  array.ndim = std::int32_t(array.lengths.size());
  out_.arrays.push_back(array);
  return std::int32_t(out_.arrays.size()) - 1;
}

} // namespace perigee::kernel
