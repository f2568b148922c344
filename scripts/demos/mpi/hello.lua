-- Ranks: the same script in several processes, each with a number. They share nothing; what one wants from another is sent.
--   perigee mpirun -n 4 scripts/demos/mpi/hello.lua
local mpi = require("perigee").mpi
local world = mpi.world

print("I am rank " .. world.rank .. " of " .. world.size .. " on " .. mpi.host_name())

-- Rank 0 hears from everybody, whoever comes first. Any value can be sent. The tag tells these messages from the tokens
-- below: a fast neighbour's may be here already.
local greetings, tokens = 1, 2
if world.rank == 0 then
  for _ = 1, world.size - 1 do
    local message, source = world:recv(mpi.ANY_SOURCE, greetings)
    print("from rank " .. source .. ": " .. message.greeting)
  end
else
  world:send({ greeting = "hello from " .. world.rank }, 0, greetings)
end

-- Both of these would wait for ever if each received before it sent; `perigee mpirun` would say so. sendrecv does both.
local right, left = (world.rank + 1) % world.size, (world.rank - 1) % world.size
local token = world:sendrecv(world.rank * 10, right, left, { sendtag = tokens, recvtag = tokens })
assert(token == left * 10)

world:barrier()
if world.rank == 0 then
  print("everybody has been here")
end
