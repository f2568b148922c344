-- Particle simulator: right, and slow. Make it faster; the README has the rules.
-- Try it with:  perigee check profiling/particles-1
local array = require "perigee.array"

local function evolve(particles, dt)
  for _, p in ipairs(particles) do
    local norm = (p.x ^ 2 + p.y ^ 2) ^ 0.5
    local vx = -p.y / norm
    local vy = p.x / norm
    p.x = p.x + dt * p.w * vx
    p.y = p.y + dt * p.w * vy
  end
end

-- particles: float64 array n x 3 of (x, y, w); dt in seconds. Returns a float64 array n x 2 of (x, y).
local function solve(particles, dt, steps)
  local list = {}
  for i = 1, particles.shape[1] do
    list[i] = { x = particles[i][1], y = particles[i][2], w = particles[i][3] }
  end
  for _ = 1, steps do
    evolve(list, dt)
  end
  local positions = array.zeros(#list, 2)
  for i, p in ipairs(list) do
    positions[i][1] = p.x
    positions[i][2] = p.y
  end
  return positions
end

return { solve = solve }
