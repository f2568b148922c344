-- Latency and bandwidth of a ring: the README says what is to be measured, and what rank 0 returns.
-- Try it with:  perigee check mpi/ring
local pg = require "perigee"
local mpi = pg.mpi
local world = mpi.world

-- Rank 0 is called with the arguments, the others without any.
local function solve(messages, rounds, ranks)
  local rank, size = world.rank, world.size
  local left, right = (rank - 1) % size, (rank + 1) % size
  if rank > 0 then
    return -- all ranks are needed: what do they have to know first?
  end
  -- Each message goes around the ring `rounds` times, and once before to warm up; each rank that receives it adds its
  -- rank + 1 to the first number. mpi.wtime() is the clock.
  local bytes, seconds = {}, {}
  for k, message in ipairs(messages) do
    bytes[k], seconds[k] = 8 * message.size, 0
  end
  return { messages = messages, bytes = bytes, seconds = seconds, latency = 0, bandwidth = 0 }
end

return { solve = solve }
