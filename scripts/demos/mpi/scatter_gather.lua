-- Cut a matrix into rows, work on each part, and put it together again: in both forms.
--   perigee mpirun -n 4 scripts/demos/mpi/scatter_gather.lua
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- Table form (lower case): any value, one for each rank. Easy; each value is packed and unpacked.
local names
if rank == 0 then
  names = {}
  for r = 1, size do
    names[r] = "part " .. r
  end
end
local name = world:scatter(names)
local lengths = world:gather(#name)
if rank == 0 then
  print("lengths of the names:", table.concat(lengths, " "))
end

-- Array form (upper case): the elements themselves, without a copy. All ranks get rows of the same number.
local rows, columns = 3, 5
local matrix
if rank == 0 then
  matrix = array.range(1, rows * size * columns):reshape(rows * size, columns)
end
local part = array.empty({ rows, columns })
world:Scatter(matrix, part)
local squares = part * part
local all = world:Gather(squares)
if rank == 0 then
  assert(array.equal(all, matrix * matrix))
  print("gathered", table.concat(all.shape, " x "), "sum", all:sum())
end

-- Every rank needs the result: an Allreduce, and no rank 0 in the middle.
local sums = world:Allreduce(part:sum(1), array.empty({ columns }))
assert(sums:sum() == (rows * size * columns) * (rows * size * columns + 1) / 2)
if rank == 0 then
  print("sums of the columns", sums)
end
