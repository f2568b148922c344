-- Teaches: the textbook answer, and why it disappoints. Particles outside, steps inside, all in local variables: no
-- memory is touched in the inner loop, but each step needs the result of the step before, so the processor waits out
-- the full latency of a square root and a division (some 45 cycles) with nothing else to do.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(particles, dt, steps)
  local n = particles.shape[1]
  local positions = array.empty(n, 2)
  for i = 1, n do
    local x, y, k = particles[i][1], particles[i][2], dt * particles[i][3]
    for _ = 1, steps do
      local f = k / sqrt(x * x + y * y)
      x, y = x - f * y, y + f * x
    end
    positions[i][1], positions[i][2] = x, y
  end
  return positions
end

return { solve = solve }
