-- Warm-up: a kernel of which nobody knows what it costs. The README has the task.
-- Try it with:  perigee check compilers/warm-up
local array, kernel, timer = require "perigee.array", require "perigee.kernel", require "perigee.timer"

-- One sensor a row.
local function count(a, rises, largest)
  for s = 1, #a do
    local n, top = 0, 0.0
    for i = 2, a:dim(2) do
      local rise = a[s][i] - a[s][i - 1]
      if rise > 0 then
        n = n + 1
      end
      if rise > top then
        top = rise
      end
    end
    rises[s], largest[s] = n, top
  end
end

-- a: float64 array, one sensor a column. Returns {rises, largest}, and where repeats > 0 also {first, warm} in seconds.
local function solve(a, repeats)
  local rises, largest = array.zeros(a.shape[2], { dtype = "int64" }), array.zeros(a.shape[2])
  local k = kernel.jit(count, { signature = "void(float64[:,:], int64[:], float64[:])" })
  local start = timer.now()
  k(a:transpose(), rises, largest)
  local first = timer.now() - start
  local warm
  for _ = 1, repeats do
    start = timer.now()
    k(a:transpose(), rises, largest)
    warm = math.min(warm or math.huge, timer.now() - start)
  end
  return { rises = rises, largest = largest, first = first, warm = warm }
end

return { solve = solve }
