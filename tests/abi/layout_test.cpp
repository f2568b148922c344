// The structs that C++ and LuaJIT share come from the same bytes; this checks that both lay them out alike.
#include <catch2/catch.hpp>

#include "core/abi.hpp"

#include <cstddef>
#include <string>

extern "C" {
#include "array/array_reduce_abi.h"
#include "random/random_abi.h"
}

namespace {

double evaluate(pg_vm *vm, const std::string &expression) {
  const std::string text = "local ffi = require 'ffi' local pg = require 'perigee' local _, _ = pg.array, pg.random return " + expression;
  pg_value result{};
  size_t count = 0;
  const pg_status status = pg_vm_run(vm, text.data(), text.size(), "layout.lua", &result, 1, &count);
  INFO(pg_vm_error(vm)->message);
  REQUIRE(status == PG_OK);
  return result.number;
}

} // namespace

TEST_CASE("structs have the same layout in C++ and in LuaJIT", "[abi]") {
  pg_vm_options options{};
  options.struct_size = sizeof options;
  options.trusted = 1;
  pg_vm *vm = nullptr;
  REQUIRE(pg_vm_create(&options, &vm) == PG_OK);
#define SAME_SIZE(TYPE) CHECK(evaluate(vm, "ffi.sizeof('" #TYPE "')") == sizeof(TYPE))
#define SAME_OFFSET(TYPE, FIELD) CHECK(evaluate(vm, "ffi.offsetof('" #TYPE "', '" #FIELD "')") == offsetof(TYPE, FIELD))
  SAME_SIZE(pg_block);
  SAME_OFFSET(pg_block, memory);
  SAME_OFFSET(pg_block, bytes);
  SAME_OFFSET(pg_block, generation);
  SAME_OFFSET(pg_block, references);
  SAME_OFFSET(pg_block, release);
  SAME_OFFSET(pg_block, context);
  SAME_OFFSET(pg_block, owner);
  SAME_SIZE(pg_array);
  SAME_OFFSET(pg_array, _data);
  SAME_OFFSET(pg_array, _block);
  SAME_OFFSET(pg_array, _size);
  SAME_OFFSET(pg_array, _dtype);
  SAME_OFFSET(pg_array, _ndim);
  SAME_OFFSET(pg_array, _flags);
  SAME_OFFSET(pg_array, _device);
  SAME_OFFSET(pg_array, _shape);
  SAME_OFFSET(pg_array, _strides);
  SAME_SIZE(pg_row);
  SAME_OFFSET(pg_row, _data);
  SAME_OFFSET(pg_row, _block);
  SAME_OFFSET(pg_row, _generation);
  SAME_OFFSET(pg_row, _dtype);
  SAME_OFFSET(pg_row, _ndim);
  SAME_OFFSET(pg_row, _flags);
  SAME_OFFSET(pg_row, _shape0);
  SAME_OFFSET(pg_row, _strides0);
  SAME_OFFSET(pg_row, _shape5);
  SAME_OFFSET(pg_row, _strides5);
  SAME_SIZE(pg_random);
  SAME_OFFSET(pg_random, _key);
  SAME_OFFSET(pg_random, _nonce);
  SAME_OFFSET(pg_random, _base);
  SAME_OFFSET(pg_random, _next);
  SAME_OFFSET(pg_random, _uniform);
  SAME_SIZE(struct pg_plugin);
  SAME_OFFSET(struct pg_plugin, unavailable);
#undef SAME_SIZE
#undef SAME_OFFSET
  // Enumerators that array.lua and its parts repeat as numbers: the FFI does not get them, which keeps the Lua heap small.
  CHECK(PG_FLOAT64 == 5);
  CHECK(PG_EQ == 8);
  CHECK(PG_DIVIDE == 3);
  CHECK(PG_REDUCE_MAX == 3);
  CHECK(PG_ARRAY_READONLY == 1);
  CHECK(PG_ERROR_MEMORY == 4);
  pg_vm_destroy(vm);
}
