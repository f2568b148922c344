-- Teaches: compiled once, when the script is loaded, for arrays without gaps (another one is an error, not a slow call). The
-- inner loop runs along the memory, over sensors, each of which has its own result: that becomes vectors.
local array, kernel, timer = require "perigee.array", require "perigee.kernel", require "perigee.timer"

-- One reading a row. The results begin at zero.
local function count(a, rises, largest)
  for i = 2, #a do
    for s = 1, #rises do
      local rise = a[i][s] - a[i - 1][s]
      rises[s] = rises[s] + (rise > 0 and 1 or 0)
      largest[s] = math.max(largest[s], rise)
    end
  end
end

local signature = "void(float64[:,::1], int64[::1], float64[::1])"
local made = kernel.jit(count, { signature = signature })

local function solve(a, repeats)
  local sensors = a.shape[2]
  local rises, largest = array.zeros(sensors, { dtype = "int64" }), array.zeros(sensors)
  if repeats == 0 then
    made(a, rises, largest)
    return { rises = rises, largest = largest }
  end
  local start = timer.now()
  local k = kernel.jit(count, { signature = signature })
  k(a, rises, largest)
  local first, warm = timer.now() - start, math.huge
  for _ = 1, repeats do
    rises:fill(0)
    largest:fill(0)
    start = timer.now()
    k(a, rises, largest)
    warm = math.min(warm, timer.now() - start)
  end
  return { rises = rises, largest = largest, first = first, warm = warm }
end

return { solve = solve }
