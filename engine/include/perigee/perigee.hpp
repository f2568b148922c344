// Perigee for C++ hosts: RAII over perigee.h. Header-only; failures are VmError exceptions.
//
//   perigee::Vm vm;
//   vm.load("return { twice = function(x) return 2 * x end }", "host.lua", "twice");
//   double y = vm.call("twice", 21.0).at(0).number();
//
// A Vm belongs to one thread at a time. Values returned by call() and run() are copies, except arrays: an Array shares
// the VM's memory and is valid until the next call on that VM.
#pragma once

#include "perigee.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace perigee {

// A failed call: status, and for script errors the chunk, line and Lua traceback. what() is "file:line: message".
class VmError : public std::runtime_error {
public:
  VmError(pg_status status, std::string file, int line, std::string message, std::string traceback)
      : std::runtime_error((file.empty() ? "" : file + (line > 0 ? ":" + std::to_string(line) : "") + ": ") + message),
        status(status), line(line), file(std::move(file)), message(std::move(message)),
        traceback(std::move(traceback)) {}
  pg_status status;
  int line;
  std::string file, message, traceback;
};

// A view of an array's elements: dtype, shape, and strides in elements.
class Array {
public:
  explicit Array(const pg_array *array) : array_(array) {}
  const pg_array &descriptor() const { return *array_; }
  int32_t dtype() const { return array_->_dtype; }
  std::vector<int64_t> shape() const { return {array_->_shape, array_->_shape + array_->_ndim}; }
  int64_t size() const { return array_->_size; }
  bool contiguous() const {
    int64_t expected = 1;
    for (int axis = array_->_ndim - 1; axis >= 0; --axis) {
      if (array_->_shape[axis] != 1 && array_->_strides[axis] != expected)
        return false;
      expected *= array_->_shape[axis];
    }
    return true;
  }
  // The elements of a contiguous array of the type T; throws where T or the layout does not fit.
  template <class T> const T *data() const {
    if (dtype() != dtype_of<T>())
      throw VmError(PG_ERROR_ARGUMENT, "", 0, "the array's dtype is not the type asked for", "");
    if (!contiguous())
      throw VmError(PG_ERROR_ARGUMENT, "", 0, "the array is not contiguous; return a:copy()", "");
    return static_cast<const T *>(array_->_data);
  }
  template <class T> static constexpr int32_t dtype_of();

private:
  const pg_array *array_;
};

template <> constexpr int32_t Array::dtype_of<bool>() { return PG_BOOL; }
template <> constexpr int32_t Array::dtype_of<uint8_t>() { return PG_UINT8; }
template <> constexpr int32_t Array::dtype_of<int32_t>() { return PG_INT32; }
template <> constexpr int32_t Array::dtype_of<int64_t>() { return PG_INT64; }
template <> constexpr int32_t Array::dtype_of<float>() { return PG_FLOAT32; }
template <> constexpr int32_t Array::dtype_of<double>() { return PG_FLOAT64; }

// nil, a boolean, a number, a string (owned) or an array (shared).
class Value {
public:
  Value() = default;
  Value(bool b) : kind_(PG_BOOLEAN), boolean_(b) {}
  Value(double n) : kind_(PG_NUMBER), number_(n) {}
  Value(int n) : Value(double(n)) {}
  Value(std::string s) : kind_(PG_STRING), string_(std::move(s)) {}
  Value(const char *s) : Value(std::string(s)) {}
  Value(const pg_array &a) : kind_(PG_ARRAY), array_(&a) {}
  explicit Value(const pg_value &v)
      : kind_(pg_kind(v.kind)), boolean_(v.boolean != 0), number_(v.number), array_(v.array) {
    if (kind_ == PG_STRING)
      string_.assign(v.string, v.length);
  }
  pg_kind kind() const { return kind_; }
  bool is_nil() const { return kind_ == PG_NIL; }
  bool boolean() const { return want(PG_BOOLEAN, "a boolean"), boolean_; }
  double number() const { return want(PG_NUMBER, "a number"), number_; }
  const std::string &string() const { return want(PG_STRING, "a string"), string_; }
  Array array() const { return want(PG_ARRAY, "an array"), Array(array_); }
  // Valid while this Value is.
  pg_value raw() const {
    return {kind_, boolean_, number_, kind_ == PG_STRING ? string_.data() : nullptr, string_.size(), array_};
  }

private:
  void want(pg_kind kind, const char *name) const {
    static constexpr const char *names[] = {"nil", "a boolean", "a number", "a string", "an array"};
    if (kind_ != kind)
      throw VmError(PG_ERROR_ARGUMENT, "", 0, std::string("the value is ") + names[kind_] + ", not " + name, "");
  }
  pg_kind kind_ = PG_NIL;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  const pg_array *array_ = nullptr;
};

struct VmOptions {
  bool trusted = false;         // the whole Lua standard library and ffi are visible to scripts
  bool jit = true;              // start with the JIT compiler on
  int64_t memory_limit = 0;     // bytes of Lua heap and arrays together; 0: none
  const char *modules = nullptr; // "array timer": what scripts may require; nullptr: everything
  std::string script_root;      // folder of a script's own modules; empty: none
  std::function<void(std::string_view)> print; // empty: standard output
};

class Vm {
public:
  using Function = std::function<std::vector<Value>(const std::vector<Value> &)>;

  explicit Vm(VmOptions options = {}) : print_(new std::function(std::move(options.print))) {
    pg_vm_options raw{};
    raw.struct_size = sizeof raw;
    raw.trusted = options.trusted;
    raw.jit_off = !options.jit;
    raw.memory_limit = options.memory_limit;
    raw.modules = options.modules;
    raw.script_root = options.script_root.empty() ? nullptr : options.script_root.c_str();
    if (*print_) {
      raw.print = [](void *user, const char *text, size_t size) {
        (*static_cast<std::function<void(std::string_view)> *>(user))({text, size});
      };
      raw.print_user = print_.get();
    }
    if (pg_status status = pg_vm_create(&raw, &vm_))
      throw VmError(status, "", 0, pg_last_message(), "");
  }
  ~Vm() { pg_vm_destroy(vm_); }
  Vm(Vm &&other) noexcept
      : vm_(std::exchange(other.vm_, nullptr)), print_(std::move(other.print_)),
        functions_(std::move(other.functions_)) {}
  Vm(const Vm &) = delete;

  std::vector<Value> run(std::string_view text, const std::string &name) {
    return results([&](pg_value *out, size_t capacity, size_t *count) {
      return pg_vm_run(vm_, text.data(), text.size(), name.c_str(), out, capacity, count);
    });
  }
  void run_file(const std::string &path, const std::vector<std::string> &arguments = {}) {
    std::vector<const char *> raw;
    for (const std::string &argument : arguments)
      raw.push_back(argument.c_str());
    check(pg_vm_run_file(vm_, path.c_str(), int(raw.size()), raw.data()));
  }
  // Loads a chunk that returns a table of functions; call() then calls those.
  void load(std::string_view text, const std::string &name, const std::string &entry) {
    check(pg_vm_load_submission(vm_, text.data(), text.size(), name.c_str(), entry.c_str()));
  }
  template <class... Arguments> std::vector<Value> call(const std::string &function, const Arguments &...arguments) {
    return call_list(function, {Value(arguments)...});
  }
  std::vector<Value> call_list(const std::string &function, const std::vector<Value> &arguments) {
    std::vector<pg_value> raw;
    for (const Value &argument : arguments)
      raw.push_back(argument.raw());
    return results([&](pg_value *out, size_t capacity, size_t *count) {
      return pg_vm_call(vm_, function.c_str(), raw.data(), raw.size(), out, capacity, count);
    });
  }
  void set(const std::string &name, const Value &value) {
    pg_value raw = value.raw();
    check(pg_vm_set(vm_, name.c_str(), &raw));
  }
  // A C++ function for scripts. An exception it throws becomes a Lua error at the script's line.
  void bind(const std::string &name, Function function) {
    Bound &bound = functions_.emplace_back(Bound{std::move(function), {}});
    check(pg_vm_register(vm_, name.c_str(), trampoline, &bound));
  }
  // Lends `memory` (row-major, `shape` elements of T) to scripts as the global array `name`, without a copy. It must
  // outlive every array made from it; release is told when the last of them is gone.
  template <class T>
  void lend(const std::string &name, T *memory, const std::vector<int64_t> &shape,
            void (*release)(void *, void *) = nullptr, void *context = nullptr) {
    check(pg_vm_lend(vm_, name.c_str(), memory, Array::dtype_of<T>(), int32_t(shape.size()), shape.data(), release,
                     context));
  }
  int64_t memory() const { return pg_vm_memory(vm_); }
  pg_vm *raw() const { return vm_; }

private:
  struct Bound {
    Function function;
    std::vector<Value> results; // keeps returned strings alive while the engine reads them
  };

  static int trampoline(void *user, const pg_value *arguments, size_t count, pg_value *results, size_t capacity,
                        char *message) noexcept {
    auto *bound = static_cast<Bound *>(user);
    try {
      std::vector<Value> values;
      for (size_t i = 0; i < count; ++i)
        values.emplace_back(arguments[i]);
      bound->results = bound->function(values);
      size_t n = bound->results.size() < capacity ? bound->results.size() : capacity;
      for (size_t i = 0; i < n; ++i)
        results[i] = bound->results[i].raw();
      return int(n);
    } catch (const std::exception &e) {
      message[std::string_view(e.what()).copy(message, 255)] = 0;
    } catch (...) {
      message[std::string_view("unknown C++ exception").copy(message, 255)] = 0;
    }
    return -1;
  }

  void check(pg_status status) const {
    if (status == PG_OK)
      return;
    const pg_error *error = pg_vm_error(vm_);
    throw VmError(status, error->file, error->line, error->message, error->traceback);
  }

  template <class Run> std::vector<Value> results(Run &&run) {
    pg_value raw[16];
    size_t count = 0;
    check(run(raw, 16, &count));
    std::vector<Value> values;
    for (size_t i = 0; i < count && i < 16; ++i)
      values.emplace_back(raw[i]);
    return values;
  }

  pg_vm *vm_ = nullptr;
  std::unique_ptr<std::function<void(std::string_view)>> print_; // at a fixed address: the engine holds it
  std::list<Bound> functions_;
};

} // namespace perigee
