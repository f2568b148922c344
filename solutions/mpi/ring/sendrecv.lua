-- Sendrecv on every rank: the ring moves as a whole, one message under way, and each rank has a buffer of its own. Ranks that
-- do not have the message yet wait in Recv.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size
local left, right = (rank - 1) % size, (rank + 1) % size

local function go_round(message, buffer, times)
  for _ = 1, times do
    if rank == 0 then
      -- Sends, and waits for it to come round.
      world:Sendrecv(message, right, buffer, left)
      message, buffer = buffer, message
      message[1] = message[1] + 1
    else
      world:Recv(message, left)
      message[1] = message[1] + rank + 1
      world:Send(message, right)
    end
  end
  return message, buffer
end

local function solve(messages, rounds)
  local counts = {}
  for k, message in ipairs(messages or {}) do
    counts[k] = message.size
  end
  local job = world:bcast({ counts = counts, rounds = rounds }, 0)
  local after, bytes, seconds = {}, {}, {}
  for k, count in ipairs(job.counts) do
    local message, buffer = go_round(rank == 0 and messages[k]:copy() or array.empty(count), array.empty(count), 1)
    local start = mpi.wtime()
    after[k] = go_round(message, buffer, job.rounds)
    seconds[k], bytes[k] = (mpi.wtime() - start) / (job.rounds * size), 8 * count
  end
  if rank == 0 then
    return { messages = after, bytes = bytes, seconds = seconds, latency = seconds[1], bandwidth = bytes[#bytes] / seconds[#seconds] }
  end
end

return { solve = solve }
