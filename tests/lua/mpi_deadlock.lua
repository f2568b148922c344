-- Ranks that wait for each other: who waits for whom is said, and no process is left.
local lu = require "luaunit"
local pg = require "perigee"
if not pg.available("mpi") then
  print("skipped: " .. select(2, pg.available("mpi")))
  os.exit(0)
end
local jobs = require "support.jobs"
local mpirun = jobs.mpirun

local function script(text)
  return jobs.script(text, 'local pg = require "perigee" local mpi = pg.mpi local world = mpi.world ' ..
    "local rank, size = world.rank, world.size")
end

TestDeadlock = {}

function TestDeadlock:test_two_that_receive_from_each_other()
  local path = script [[
if rank == 0 then
  world:recv(1)
else
  local buffer = pg.array.zeros(10)
  world:Recv(buffer, 0, 5)
end]]
  local code, _, err = mpirun("-n 2 --deadlock-after 0.2", path)
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, ("perigee mpirun: deadlock: all ranks have waited for more than 0.2 s\n" ..
    "  rank 0 waits to receive from 1, world (%s:3)\n" ..
    "  rank 1 waits to receive from 0, tag 5, world (%s:6)\n" ..
    "perigee mpirun: rank 0 waits to receive from 1 (%s:3), rank 1 waits to receive from 0 (%s:6): nobody sends\n"):format(
    path, path, path, path))
end

function TestDeadlock:test_sends_that_nobody_receives()
  local code, _, err = mpirun("-n 3 --deadlock-after 0.2", script [[
local a = pg.array.zeros(1000000)
world:Send(a, (rank + 1) % size)]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "nobody receives (a large message waits until it is received")
end

function TestDeadlock:test_a_rank_that_has_ended()
  local code, _, err = mpirun("-n 2 --deadlock-after 0.2", script [[if rank == 1 then world:recv(0) end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, ":2), but rank 0 has ended: nobody sends")
end

-- Ranks on other hosts do not see the launcher's board: their relays tell it what they wait for.
function TestDeadlock:test_ranks_that_do_not_see_the_board()
  local path = script [[world:recv(1 - rank, 5)]]
  local elsewhere = "OMPI_MCA_mca_base_env_list=PERIGEE_MPI_BOARD=/nowhere/board"
  local code, _, err = mpirun("-n 2 --deadlock-after 0.2", path, nil, elsewhere)
  lu.assertEquals(code, 1)
  for rank = 0, 1 do
    lu.assertStrContains(err, ("  rank %d waits to receive from %d, tag 5, world (%s:2)\n"):format(rank, 1 - rank, path))
  end
end

function TestDeadlock:test_computing_is_none()
  local code, out = mpirun("-n 2 --deadlock-after 1", script [[
    if rank == 1 then pg.timer.sleep(2.5) world:send("late", 0) else print(world:recv(1)) end]])
  lu.assertEquals(code, 0)
  lu.assertStrContains(out, "[0] late")
end

function TestDeadlock:test_collectives_that_do_not_fit()
  local code, _, err = mpirun("-n 3", script [[
if rank == 0 then world:bcast(1, 0) else world:allreduce(1, "sum") end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "collective calls differ: ") -- by whoever notices first
  lu.assertStrContains(err, "rank 0 calls bcast with root 0")
  lu.assertStrContains(err, "calls allreduce(sum) of 1 float64")
  -- Where ranks do not compare their calls, the launcher does.
  code, _, err = mpirun("-n 3 --deadlock-after 0.2", script [[
local a = pg.array.zeros(100000)
if rank == 0 then world:Allreduce(a, a:copy()) else world:barrier() end]], nil, "PERIGEE_MPI_CHECK=0")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "perigee mpirun: ")
end

jobs.finish()
