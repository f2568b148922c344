-- Loops that run on several threads because their rounds are proved independent, and those that do not, and why.
--   perigee run scripts/demos/compilers/parallel_loops.lua
local pg = require "perigee"
local array, kernel = pg.array, pg.kernel

local u, v = pg.random.generator(1):uniform(0, 1, { shape = { 400, 500 } }), array.zeros { 400, 500 }

-- Steps depend on each other; within one, each round of i writes a row of its own.
local smooth = kernel.jit(function(u, v, steps)
  local total = 0.0
  for step = 1, steps do
    for i = 2, #u - 1 do
      for j = 2, u:dim(2) - 1 do
        v[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
      end
    end
    for i = 2, #u - 1 do
      for j = 2, u:dim(2) - 1 do
        u[i][j] = v[i][j]
      end
    end
  end
  for i = 1, #u do -- a total: of pieces, added in their order, so that it does not depend on how many threads there are
    for j = 1, u:dim(2) do
      total = total + u[i][j]
    end
  end
  return total
end, { name = "smooth", parallel = true })

local threads = pg.threads()
local before = u:copy()
pg.threads(1)
local one = smooth(before, v, 10)
pg.threads(threads)
print(("total %.10f; the same on one thread: %s"):format(smooth(u, v, 10), tostring(u:sum() == before:sum() and one ~= nil)))
print(smooth:annotate(), "\n")

-- Rounds that may write the same element run as they stand, on one thread: right, and not faster.
local histogram = kernel.jit(function(x, counts)
  for i = 1, #x do
    local bin = math.floor(x[i] * #counts) + 1
    counts[bin] = counts[bin] + 1
  end
end, { name = "histogram", parallel = true })
local counts = array.zeros(10, { dtype = "int64" })
histogram(u:reshape(-1), counts)
print(counts)
print(histogram:report())
