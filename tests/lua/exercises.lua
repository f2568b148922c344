-- Every exercise's solutions, but the naive ones, agree with the reference on every case. Without sandbox and clock, which
-- `perigee verify` adds. Exercises for MPI, the naive ones too: this script starts itself on as many ranks as cases ask for,
-- and called with "ranks" it is one of them.
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array
local as_rank = (...) == "ranks"

local root = debug.getinfo(1, "S").short_src:match("^(.*)/tests/lua/[^/]*$") or "."

local function lines_of(command)
  local list, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do
    list[#list + 1] = line
  end
  pipe:close()
  return list
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

-- The cases of an exercise.toml: {name, size}. Inline tables of TOML are Lua's, but for the brackets of lists.
local function cases_of(text)
  local cases = {}
  for block in text:gmatch("%[%[cases%]%]\n(.-)\n\n") do
    local size = block:match("size = ([^\n]*)"):gsub("%[", "{"):gsub("%]", "}")
    cases[#cases + 1] = { name = block:match('name = "([^\n]*)"\n'), size = assert(loadstring("return " .. size))(),
      ranks = tonumber(block:match("\nranks = (%d+)")) }
  end
  assert(#cases > 0)
  return cases
end

-- As the grader compares where cases.lua has no check, roughly.
local function same(a, b)
  if type(a) ~= type(b) then
    return false
  elseif array.is(a) then
    if a.dtype:find("float") or a.dtype:find("complex") then
      return array.allclose(a, b, { rtol = 1e-8, atol = 1e-9 })
    end
    return a == b
  elseif type(a) == "table" then
    for key, value in pairs(a) do
      if not same(value, b[key]) then
        return false
      end
    end
    return #a == #b
  elseif type(a) == "number" then
    return a == b or math.abs(a - b) <= 1e-9 * math.max(1, math.abs(b))
  end
  return a == b
end

-- Their results are measurements.
local measures = { ["profiling/honest-timing"] = true, ["profiling/hot-line"] = true }

TestExercises = {}

local mpi_ranks = {} -- the numbers of ranks that cases ask for

for _, path in ipairs(lines_of(("ls '%s'/exercises/*/*/exercise.toml"):format(root))) do
  local id = path:match("exercises/(.*)/exercise.toml$")
  local toml = read(path)
  local cases, entry = cases_of(toml .. "\n\n"), toml:match('\nentry = "([%w_]+)"') or "solve"
  local needs_ranks = toml:match("\nranks = %d+\n\n") ~= nil -- of [needs]
  for _, case in ipairs(cases) do
    if case.ranks then
      mpi_ranks[case.ranks] = true
    end
  end
  local world = as_rank and pg.mpi.world
  TestExercises["test_" .. id] = not measures[id] and needs_ranks == as_rank and function()
    local judge = dofile(("%s/exercises/%s/cases.lua"):format(root, id))
    local scripts = { "reference" }
    for _, script in ipairs(lines_of(("ls '%s/solutions/%s'"):format(root, id))) do
      local name = script:match("^([%w_]+)%.lua$")
      if name and name ~= "reference" and (name ~= "naive" or as_rank) then
        scripts[#scripts + 1] = name
      end
    end
    local solve = {}
    for _, name in ipairs(scripts) do
      solve[name] = dofile(("%s/solutions/%s/%s.lua"):format(root, id, name))[entry]
    end
    for number, case in ipairs(cases) do
      if world and world.size ~= case.ranks then
        goto continue
      end
      local function inputs()
        return judge.inputs(pg.random.generator(number), case.size)
      end
      if world and world.rank > 0 then -- called without arguments, as by the grader
        for _, name in ipairs(scripts) do
          solve[name]()
        end
        goto continue
      end
      local expected = judge.expected and judge.expected(inputs()) or nil
      for _, name in ipairs(scripts) do
        local given = inputs()
        local got = solve[name](unpack(given, 1, table.maxn(given)))
        expected = expected == nil and got or expected
        local right, message
        if judge.check then
          right, message = judge.check(inputs(), got, expected)
        else
          right = same(got, expected)
        end
        lu.assertTrue(right, ("%s of %s, case '%s': %s"):format(name, id, case.name, tostring(message)))
      end
      ::continue::
    end
  end or nil
end

if not as_rank then
  local perigee = lines_of("readlink /proc/$PPID/exe")[1]
  for ranks in pairs(mpi_ranks) do
    TestExercises[("test_mpi_on_%d_ranks"):format(ranks)] = function()
      local lines = lines_of(("timeout -k 5 200 mpirun --allow-run-as-root --oversubscribe --bind-to none --mca " ..
        "mpi_yield_when_idle 1 -n %d '%s' run --trusted '%s/tests/lua/exercises.lua' ranks 2>&1; echo ended with $?"):format(
        ranks, perigee, root))
      lu.assertEquals(lines[#lines], "ended with 0", table.concat(lines, "\n"))
    end
  end
end

if not as_rank then
  os.exit(lu.LuaUnit.run())
elseif lu.LuaUnit.run("--output", "text") > 0 then
  os.exit(1) -- ends the other ranks, too
end
