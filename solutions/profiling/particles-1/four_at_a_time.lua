-- Teaches: overlapping work by hand. Particle by particle in local variables as in reordered.lua, but four particles in
-- one loop: their square roots and divisions are independent, so the processor overlaps them.
local array = require "perigee.array"

local sqrt, min = math.sqrt, math.min

local function solve(particles, dt, steps)
  local n = particles.shape[1]
  local positions = array.empty(n, 2)
  for first = 1, n, 4 do
    -- At the end, particles are repeated so that there are always four; the copies compute the same result.
    local p, q = particles[first], particles[min(first + 1, n)]
    local r, s = particles[min(first + 2, n)], particles[min(first + 3, n)]
    local px, py, pk = p[1], p[2], dt * p[3]
    local qx, qy, qk = q[1], q[2], dt * q[3]
    local rx, ry, rk = r[1], r[2], dt * r[3]
    local sx, sy, sk = s[1], s[2], dt * s[3]
    for _ = 1, steps do
      local f = pk / sqrt(px * px + py * py)
      px, py = px - f * py, py + f * px
      f = qk / sqrt(qx * qx + qy * qy)
      qx, qy = qx - f * qy, qy + f * qx
      f = rk / sqrt(rx * rx + ry * ry)
      rx, ry = rx - f * ry, ry + f * rx
      f = sk / sqrt(sx * sx + sy * sy)
      sx, sy = sx - f * sy, sy + f * sx
    end
    positions[first][1], positions[first][2] = px, py
    positions[min(first + 1, n)][1], positions[min(first + 1, n)][2] = qx, qy
    positions[min(first + 2, n)][1], positions[min(first + 2, n)][2] = rx, ry
    positions[min(first + 3, n)][1], positions[min(first + 3, n)][2] = sx, sy
  end
  return positions
end

return { solve = solve }
