// The smallest plugin: how tests/lua/core.lua sees that plugins load, and how a missing capability is reported.
#include "core/abi.hpp"

#include <cstdlib>

namespace {

const char *unavailable() { return getenv("PERIGEE_PROBE_MISSING") ? "the probe's hardware is missing" : nullptr; }

const pg_plugin plugin{1, "int32_t pg_probe_answer(void);",
                       "local core, library = ...\n"
                       "return { answer = function() return library.pg_probe_answer() end }\n",
                       unavailable};

} // namespace

extern "C" __attribute__((visibility("default"))) int32_t pg_probe_answer(void) { return 42; }
extern "C" __attribute__((visibility("default"))) const pg_plugin *pg_probe_plugin(void) { return &plugin; }
