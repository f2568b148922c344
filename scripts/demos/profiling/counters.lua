-- Why is one order of the same loops slower? The processor's counters say, where the kernel lets them be read.
-- Run me: perigee run scripts/demos/profiling/counters.lua
local pg = require "perigee"
local array, profiler = pg.array, pg.profiler

local n = 1500
local a = array.ones(n, n)

local function by_rows()
  local sum = 0
  for i = 1, n do
    for j = 1, n do
      sum = sum + a[i][j]
    end
  end
  return sum
end

local function by_columns()
  local sum = 0
  for j = 1, n do
    for i = 1, n do
      sum = sum + a[i][j]
    end
  end
  return sum
end

by_rows()
by_columns() -- once before: LuaJIT compiles them
for name, f in pairs { ["by rows"] = by_rows, ["by columns"] = by_columns } do
  local ok, counters = pcall(profiler.counters, f)
  print(name .. (ok and "" or ": no counters here"))
  print(counters) -- or why not
end

-- The same question to the clock, and lines by samples: the JIT compiler stays on.
local lines = profiler.lines(by_rows, by_columns, { sampled = true })
lines:run(function()
  for _ = 1, 5 do
    by_rows()
    by_columns()
  end
end)
print()
print(lines)
