-- One array for each of x, y and dt * w; steps outside, particles inside. The particles of one step do not depend on
-- each other, so the processor works on several square roots and divisions at once.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(particles, dt, steps)
  local n = particles.shape[1]
  local xs, ys, ks = array.empty(n), array.empty(n), array.empty(n)
  for i = 1, n do
    xs[i], ys[i], ks[i] = particles[i][1], particles[i][2], dt * particles[i][3]
  end
  for _ = 1, steps do
    for i = 1, n do
      local x, y = xs[i], ys[i]
      local f = ks[i] / sqrt(x * x + y * y)
      xs[i] = x - f * y
      ys[i] = y + f * x
    end
  end
  local positions = array.empty(n, 2)
  for i = 1, n do
    positions[i][1], positions[i][2] = xs[i], ys[i]
  end
  return positions
end

return { solve = solve }
