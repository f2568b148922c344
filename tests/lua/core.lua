-- The core as trusted scripts see it, run by the shipped binary.
local lu = require "luaunit"
local pg = require "perigee"

TestCore = {}

function TestCore:test_version_and_modules()
  lu.assertStrMatches(pg.version, "%d+%.%d+%.%d+")
  lu.assertIs(pg.array, require "perigee.array")
end

function TestCore:test_missing_module_says_why()
  local there, reason = pg.available("teleport")
  lu.assertFalse(there)
  lu.assertEquals(reason, "this build of Perigee has no module 'teleport'")
  lu.assertErrorMsgContains("this build of Perigee has no module 'teleport'", function() return pg.teleport end)
end

function TestCore:test_plugin_loads_on_first_use()
  lu.assertTrue(pg.available("probe"))
  lu.assertEquals(pg.probe.answer(), 42)
end

function TestCore:test_jit_switch()
  lu.assertEquals(pg.jit(), "on")
  local function f() return 1 end
  pg.jit("off", f)
  lu.assertEquals(f(), 1)
  lu.assertErrorMsgContains('"on" or "off" expected, got number', pg.jit, 3)
  lu.assertErrorMsgContains("must be a function, got number", pg.jit, "on", 3)
end

function TestCore:test_trusted_scripts_have_the_standard_library()
  lu.assertEquals(type(io.open), "function")
  lu.assertEquals(type(require "ffi"), "table")
end

os.exit(lu.LuaUnit.run(), true)
