-- Array form: rank 0 sends and then receives, all others the other way round; on one rank both at once.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size
local left, right = (rank - 1) % size, (rank + 1) % size

local function go_round(message, buffer, times)
  for _ = 1, times do
    if size == 1 then
      world:Sendrecv(message, 0, buffer, 0)
      message, buffer = buffer, message
      message[1] = message[1] + 1
    elseif rank == 0 then
      world:Send(message, right)
      world:Recv(message, left)
      message[1] = message[1] + 1
    else
      world:Recv(message, left)
      message[1] = message[1] + rank + 1
      world:Send(message, right)
    end
  end
  return message
end

local function solve(messages, rounds)
  local counts = {}
  for k, message in ipairs(messages or {}) do
    counts[k] = message.size
  end
  local job = world:bcast({ counts = counts, rounds = rounds }, 0)
  local after, bytes, seconds = {}, {}, {}
  for k, count in ipairs(job.counts) do
    local message = rank == 0 and messages[k]:copy() or array.empty(count)
    local buffer = array.empty(size == 1 and count or 1)
    message = go_round(message, buffer, 1)
    if size == 1 then
      buffer = array.empty(count)
    end
    local start = mpi.wtime()
    after[k] = go_round(message, buffer, job.rounds)
    seconds[k], bytes[k] = (mpi.wtime() - start) / (job.rounds * size), 8 * count
  end
  if rank == 0 then
    return { messages = after, bytes = bytes, seconds = seconds, latency = seconds[1], bandwidth = bytes[#bytes] / seconds[#seconds] }
  end
end

return { solve = solve }
