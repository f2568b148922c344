-- Every exercise's solutions, but the naive ones, agree with the reference on every case. Without sandbox and clock, which
-- `perigee verify` adds.
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array

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
    cases[#cases + 1] = { name = block:match('name = "([^\n]*)"\n'), size = assert(loadstring("return " .. size))() }
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

for _, path in ipairs(lines_of(("ls '%s'/exercises/*/*/exercise.toml"):format(root))) do
  local id = path:match("exercises/(.*)/exercise.toml$")
  TestExercises["test_" .. id] = not measures[id] and function()
    local toml = read(path)
    local cases, entry = cases_of(toml .. "\n\n"), toml:match('\nentry = "([%w_]+)"') or "solve"
    local judge = dofile(("%s/exercises/%s/cases.lua"):format(root, id))
    local scripts = { "reference" }
    for _, script in ipairs(lines_of(("ls '%s/solutions/%s'"):format(root, id))) do
      local name = script:match("^([%w_]+)%.lua$")
      if name and name ~= "reference" and name ~= "naive" then
        scripts[#scripts + 1] = name
      end
    end
    local solve = {}
    for _, name in ipairs(scripts) do
      solve[name] = dofile(("%s/solutions/%s/%s.lua"):format(root, id, name))[entry]
    end
    for number, case in ipairs(cases) do
      local function inputs()
        return judge.inputs(pg.random.generator(number), case.size)
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
    end
  end or nil
end

os.exit(lu.LuaUnit.run())
