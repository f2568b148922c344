local array = require "perigee.array"

local function solve(particles, dt, steps)
  local n = particles.shape[1]
  local positions = array.zeros(n, 2)
  for i = 1, n do
    local x, y, w = particles[i][1], particles[i][2], particles[i][3]
    for _ = 1, steps do
      local r = math.sqrt(x * x + y * y
      x, y = x - dt * w * y / r, y + dt * w * x / r
    end
    positions[i][1] = x
    positions[i][2] = y
  end
  return positions
end

return { solve = solve }
