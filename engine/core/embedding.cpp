// perigee.h over pg_vm: argument checks, and no exception or Lua error past this file.
#include "array/array.hpp"
#include "core/status.hpp"
#include "core/vm.hpp"

#include <cstring>

using perigee::ArgumentError;
using perigee::guard;

namespace {

const pg_error no_error{PG_OK, 0, "", "", ""};

// Runs `body` for a VM: what throws becomes the VM's error.
template <class Body> pg_status with_vm(pg_vm *vm, Body &&body) noexcept {
  if (!vm)
    return perigee::set_last_error(PG_ERROR_ARGUMENT, "the VM is NULL");
  pg_status status = PG_OK;
  pg_status thrown = guard([&] { status = body(); });
  return thrown ? vm->fail(thrown, pg_last_message()) : status;
}

void require(bool condition, const char *message) {
  if (!condition)
    throw ArgumentError(message);
}

} // namespace

extern "C" {

pg_status pg_vm_create(const pg_vm_options *options, pg_vm **vm) {
  return guard([&] {
    require(vm != nullptr, "pg_vm_create: the place for the VM is NULL");
    *vm = nullptr;
    pg_vm_options complete{};
    if (options) {
      require(options->struct_size >= sizeof(uint32_t) && options->struct_size <= sizeof complete,
              "pg_vm_create: struct_size is not that of pg_vm_options; set it to sizeof(pg_vm_options)");
      std::memcpy(&complete, options, options->struct_size);
      require(complete.memory_limit >= 0, "pg_vm_create: memory_limit is negative; 0 means none");
    }
    *vm = new pg_vm(complete);
  });
}

void pg_vm_destroy(pg_vm *vm) { delete vm; }

const pg_error *pg_vm_error(const pg_vm *vm) { return vm && vm->error.message ? &vm->error : &no_error; }

pg_status pg_vm_run(pg_vm *vm, const char *text, size_t size, const char *name, pg_value *results, size_t capacity,
                    size_t *count) {
  return with_vm(vm, [&] {
    require(text || size == 0, "pg_vm_run: text is NULL");
    return vm->run({text, size}, name, -1, nullptr, results, capacity, count);
  });
}

pg_status pg_vm_run_file(pg_vm *vm, const char *path, int argument_count, const char *const *arguments) {
  return with_vm(vm, [&] {
    require(path != nullptr, "pg_vm_run_file: path is NULL");
    return vm->run_file(path, argument_count, arguments);
  });
}

pg_status pg_vm_load_submission(pg_vm *vm, const char *text, size_t size, const char *name, const char *entry) {
  return with_vm(vm, [&] {
    require(text || size == 0, "pg_vm_load_submission: text is NULL");
    require(entry != nullptr, "pg_vm_load_submission: entry is NULL");
    return vm->load_submission({text, size}, name, entry);
  });
}

pg_status pg_vm_call(pg_vm *vm, const char *function, const pg_value *arguments, size_t argument_count,
                     pg_value *results, size_t capacity, size_t *count) {
  return with_vm(vm, [&] {
    require(function != nullptr, "pg_vm_call: function is NULL");
    return vm->call(function, arguments, argument_count, results, capacity, count);
  });
}

pg_status pg_vm_register(pg_vm *vm, const char *name, pg_function function, void *user) {
  return with_vm(vm, [&] {
    require(name && function, "pg_vm_register: name or function is NULL");
    vm->register_function(name, function, user);
    return PG_OK;
  });
}

pg_status pg_vm_set(pg_vm *vm, const char *name, const pg_value *value) {
  return with_vm(vm, [&] {
    require(name && value, "pg_vm_set: name or value is NULL");
    vm->set_global(name, *value);
    return PG_OK;
  });
}

pg_status pg_vm_lend(pg_vm *vm, const char *name, void *memory, int32_t dtype, int32_t ndim, const int64_t *shape,
                     void (*release)(void *memory, void *context), void *context) {
  return with_vm(vm, [&] {
    require(name && memory, "pg_vm_lend: name or memory is NULL");
    require(ndim >= 0 && ndim <= perigee::array::max_dimensions && (shape || ndim == 0),
            "pg_vm_lend: 0 to 8 dimensions are possible");
    auto array = perigee::array::borrow(memory, dtype, {shape, size_t(ndim)}, release, context);
    pg_value value{};
    value.kind = PG_ARRAY;
    value.array = array.get();
    vm->set_global(name, value);
    return PG_OK;
  });
}

int64_t pg_vm_memory(const pg_vm *vm) {
  return vm ? int64_t(lua_gc(vm->state, LUA_GCCOUNT, 0)) * 1024 + lua_gc(vm->state, LUA_GCCOUNTB, 0) +
                  perigee::core::account_outside(vm->account)
            : 0;
}

pg_status pg_vm_with_state(pg_vm *vm, void (*function)(void *state, void *user), void *user) {
  return with_vm(vm, [&] {
    require(function != nullptr, "pg_vm_with_state: the function is NULL");
    return vm->with_state(function, user);
  });
}

void *pg_vm_state(pg_vm *vm) { return vm ? vm->state : nullptr; }

} // extern "C"
