-- The shortest program of two ranks, for the time of a start.
local world = require "perigee".mpi.world
if world.rank == 0 then
  print("hello")
end
