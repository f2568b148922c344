-- The call log: its lines are JSON, its tree is the calls'.
local lu = require "luaunit"
local pg = require "perigee"
local log, array, io_ = pg.log, pg.array, pg.io

local path

local function records()
  log.close()
  local list = {}
  for line in io.lines(path) do
    list[#list + 1] = io_.parse_json(line)
  end
  return list
end

TestLog = {}

function TestLog:setUp()
  path = os.tmpname()
  log.open(path)
end

function TestLog:tearDown()
  log.close()
  os.remove(path)
end

function TestLog:test_calls_nest()
  local inner = log.wrap("inner", function(x)
    log.message("here", { x = x })
    return x + 1
  end)
  local outer = log.wrap("outer", function(a, b) return inner(a), inner(b) end)
  lu.assertEquals({ outer(1, 2) }, { 2, 3 })
  outer(5, 6)
  local r = records()
  lu.assertEquals(#r, 16)
  lu.assertEquals(r[1].action, "outer")
  lu.assertEquals(r[1].arguments, { 1, 2 })
  lu.assertEquals(r[2].level, { 1, 1 })
  lu.assertEquals(r[3].level, { 1, 1, 1 })
  lu.assertEquals(r[3].message, "here")
  lu.assertEquals(r[4].results, { 2 })
  lu.assertEquals(r[5].level, { 1, 2 })
  lu.assertEquals(r[8].status, "succeeded")
  lu.assertTrue(r[8].seconds >= r[4].seconds)
  lu.assertEquals(r[2].task, r[1].task)
  lu.assertNotEquals(r[9].task, r[1].task)
  local tree = log.tree(path)
  lu.assertStrMatches(tree:gsub("%s+%[[^%]]*%]", ""), "outer%(1, 2%) %-> 2, 3\n  inner%(1%) %-> 2\n    %- here {x = 1}\n.*")
end

function TestLog:test_the_command()
  local f = log.wrap("f", function(x) return x + 1 end)
  f(1)
  log.close()
  local pipe = assert(io.popen("readlink /proc/$PPID/exe"))
  local perigee = pipe:read("*l")
  pipe:close()
  pipe = assert(io.popen(("'%s' log tree '%s' 2>&1; echo $?; '%s' log tree /nowhere 2>&1; echo $?"):format(perigee, path,
    perigee)))
  local text = pipe:read("*a")
  pipe:close()
  lu.assertStrMatches(text, "f%(1%) %-> 2 .*\n0\nperigee: cannot read /nowhere: .*\n2\n")
end

function TestLog:test_errors_are_logged_and_raised()
  local bad = log.wrap("bad", function() error("broken") end)
  local outer = log.wrap("outer", function() return (pcall(bad)) end)
  lu.assertFalse(outer())
  lu.assertErrorMsgContains("broken", bad)
  local r = records()
  lu.assertEquals(r[3].status, "failed")
  lu.assertStrContains(r[3].reason, "broken")
  lu.assertEquals(r[4].status, "succeeded")
  lu.assertEquals(r[5].level, { 1 }) -- nothing was left open
  lu.assertStrContains(log.tree(path), "bad() failed: ")
end

function TestLog:test_values_of_every_kind()
  local f = log.wrap("f", function(...) return ... end)
  local cyclic = {}
  cyclic.self = cyclic
  local long = {}
  for i = 1, 100 do
    long[i] = i
  end
  f(nil, true, 0 / 0, -1 / 0, "ä\n\"", "\255\0", ("é"):rep(300), { 1, 2, x = 3 }, cyclic, long, print,
    array.range(1, 20), array.ones(2, 3, { dtype = "complex64" }), 1LL, coroutine.create(print))
  local r = records()[1].arguments
  lu.assertEquals(r[2], true)
  lu.assertEquals(r[3], "NaN")
  lu.assertEquals(r[4], "-Infinity")
  lu.assertEquals(r[5], "ä\n\"")
  lu.assertEquals(r[6].bytes, 2)
  lu.assertStrContains(r[7], "é... (")
  lu.assertEquals(r[8].x, 3)
  lu.assertEquals(r[10][21], "... 80 more")
  lu.assertStrContains(r[11], "function")
  lu.assertEquals(r[12].shape, { 20 })
  lu.assertEquals(r[12].head, { 1, 2, 3, 4, 5, 6, 7, 8 })
  lu.assertEquals(r[13].array, "complex64")
  log.tree(path)
end

function TestLog:test_without_a_log_calls_are_plain()
  log.close()
  local f = log.wrap("f", function(...) return select("#", ...) end)
  lu.assertEquals(f(nil, nil), 2)
  log.message("nothing")
  lu.assertEquals(#records(), 0)
end

function TestLog:test_what_did_not_return_says_so()
  local f = log.wrap("f", function() log.close() end) -- as where the program ends
  f(7)
  lu.assertStrContains(log.tree(path), "f(7) did not return")
end

function TestLog:test_bad_input()
  lu.assertErrorMsgContains("the name must be a string", log.wrap, print)
  lu.assertErrorMsgContains("a function is expected, got number", log.wrap, "x", 3)
  lu.assertErrorMsgContains("cannot write /nowhere/x.log", log.open, "/nowhere/x.log")
  lu.assertErrorMsgContains("cannot read /nowhere/x.log", log.tree, "/nowhere/x.log")
  lu.assertErrorMsgContains("fields are a table", log.message, "x", 3)
  local file = assert(io.open(path, "w"))
  file:write("{\"task\":\"a\",\"level\":[1],\"action\":\"f\",\"status\":\"started\"}\nnonsense\n")
  file:close()
  lu.assertErrorMsgContains(path .. ":2: this is no line of a log", log.tree, path)
end

os.exit(lu.LuaUnit.run(), true)
