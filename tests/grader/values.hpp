// Blobs of the values of Lua expressions, for tests.
#pragma once

#include "core/wire.hpp"

#include <lua.hpp>
#include <perigee/perigee.h>

#include <stdexcept>
#include <string>

namespace perigee::tests {

// The blob of an expression, in which `array` is the array module.
inline wire::Bytes blob_of(const std::string &expression) {
  static pg_vm *vm = [] {
    pg_vm_options options{};
    options.struct_size = sizeof options;
    options.trusted = 1;
    pg_vm *made = nullptr;
    pg_vm_create(&options, &made);
    return made;
  }();
  struct Job {
    std::string text;
    wire::Bytes blob;
  } job{"local array = require 'perigee.array'; return " + expression, {}};
  pg_status status = pg_vm_with_state(
      vm,
      [](void *state, void *user) {
        auto *L = static_cast<lua_State *>(state);
        auto *job = static_cast<Job *>(user);
        static const wire::ArrayBridge bridge = [&] { // one a state
          lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
          lua_getfield(L, -1, "require");
          lua_pushliteral(L, "array");
          lua_call(L, 1, 1);
          return wire::bridge(L);
        }();
        if (luaL_loadstring(L, job->text.c_str()) != 0)
          lua_error(L);
        lua_call(L, 0, 1);
        wire::Encoder encoder(bridge);
        if (!encoder.encode(L, -1, {}))
          luaL_error(L, "%s", encoder.error().c_str());
        encoder.append(job->blob, false);
      },
      &job);
  if (status != PG_OK)
    throw std::runtime_error(expression + ": " + pg_vm_error(vm)->message);
  return job.blob;
}

} // namespace perigee::tests
