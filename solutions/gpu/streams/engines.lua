-- Teaches: a stream an engine instead of a stream a chunk, with events between them. As fast, and more to get wrong.
local gpu = require "perigee.gpu"

local squash = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i] / (1 + math.abs(x[i]))
  end
end)

local there, compute, back = gpu.stream(), gpu.stream(), gpu.stream()
local chunks = 8

local function solve(a)
  local n = #a
  local from, to = gpu.pinned(a), gpu.pinned(n, { dtype = "float32" })
  local x, y = gpu.empty(n, { dtype = "float32" }), gpu.empty(n, { dtype = "float32" })
  local size = math.ceil(n / chunks)
  for first = 1, n, size do
    local part = { { first, math.min(first + size - 1, n) } }
    local dx, dy = x[part], y[part]
    dx:copy_from(from[part], { stream = there })
    compute:wait(gpu.event():record(there))
    squash { grid = gpu.grid_for(#dx, 256), block = 256, stream = compute } (dx, dy)
    back:wait(gpu.event():record(compute))
    dy:to_host { out = to[part], stream = back }
  end
  back:synchronize()
  return to
end

return { solve = solve }
