-- Five-point stencil on a 2048 x 2048 array with checked u[i][j] access; stencil.c is its rival.
local array = require "perigee.array"

local n = 2048

local function stencil(u, v)
  for i = 2, n - 1 do
    for j = 2, n - 1 do
      v[i][j] = 0.2 * (u[i][j] + u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
    end
  end
end

local u, v = array.zeros(n, n), array.zeros(n, n)
for i = 1, n do
  for j = 1, n do
    u[i][j] = (i * 7 + j * 13) % 101
  end
end

local best = math.huge
for _ = 1, 10 do
  local start = os.clock()
  stencil(u, v)
  best = math.min(best, os.clock() - start)
end
print(string.format("check %.17g", v:sum()))
print(string.format("seconds %.9f", best))
