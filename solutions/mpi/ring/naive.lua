-- Table form: works for any value, and packs the message anew for each rank.
local pg = require "perigee"
local mpi = pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size
local left, right = (rank - 1) % size, (rank + 1) % size

local function go_round(message, times)
  for _ = 1, times do
    if size == 1 then
      message = world:sendrecv(message, 0, 0)
    elseif rank == 0 then
      world:send(message, right)
      message = world:recv(left)
    else
      message = world:recv(left)
    end
    message[1] = message[1] + rank + 1
    if rank > 0 then
      world:send(message, right)
    end
  end
  return message
end

local function solve(messages, rounds)
  local job = world:bcast({ count = messages and #messages, rounds = rounds }, 0)
  local after, bytes, seconds = {}, {}, {}
  for k = 1, job.count do
    local message = go_round(messages and messages[k]:copy(), 1)
    local start = mpi.wtime()
    after[k] = go_round(message, job.rounds)
    seconds[k], bytes[k] = (mpi.wtime() - start) / (job.rounds * size), 8 * after[k].size
  end
  if rank == 0 then
    return { messages = after, bytes = bytes, seconds = seconds, latency = seconds[1], bandwidth = bytes[#bytes] / seconds[#seconds] }
  end
end

return { solve = solve }
