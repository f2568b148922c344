-- What happens when an MPI job goes wrong: each time a clear error, no hang, and no process left.
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
  local code, _, err = mpirun("-n 2 --deadlock-after 1", path)
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, ("perigee mpirun: deadlock: all ranks have waited for more than 1 s\n" ..
    "  rank 0 waits to receive from 1, world (%s:3)\n" ..
    "  rank 1 waits to receive from 0, tag 5, world (%s:6)\n" ..
    "perigee mpirun: rank 0 waits to receive from 1 (%s:3), rank 1 waits to receive from 0 (%s:6): nobody sends\n"):format(
    path, path, path, path))
end

function TestDeadlock:test_sends_that_nobody_receives()
  local code, _, err = mpirun("-n 3 --deadlock-after 1", script [[
local a = pg.array.zeros(1000000)
world:Send(a, (rank + 1) % size)]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "nobody receives (a large message waits until it is received")
end

function TestDeadlock:test_a_rank_that_has_ended()
  local code, _, err = mpirun("-n 2 --deadlock-after 1", script [[if rank == 1 then world:recv(0) end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, ":2), but rank 0 has ended: nobody sends")
end

function TestDeadlock:test_computing_is_none()
  local code, out = mpirun("-n 2 --deadlock-after 1", script [[
    if rank == 1 then pg.timer.sleep(2.5) world:send("late", 0) else print(world:recv(1)) end]])
  lu.assertEquals(code, 0)
  lu.assertStrContains(out, "[0] late")
end

function TestDeadlock:test_collectives_that_do_not_fit()
  local code, _, err = mpirun("-n 3 --deadlock-after 1", script [[
if rank == 0 then world:bcast(1, 0) else world:allreduce(1, "sum") end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "collective calls differ: ")
  lu.assertStrContains(err, "rank 0 calls bcast with root 0, rank 1 calls allreduce(sum) of 1 float64")
  -- Where ranks do not compare their calls, the launcher does.
  code, _, err = mpirun("-n 3 --deadlock-after 1", script [[
local a = pg.array.zeros(100000)
if rank == 0 then world:Allreduce(a, a:copy()) else world:barrier() end]], nil, "PERIGEE_MPI_CHECK=0")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "perigee mpirun: ")
end

TestFaults = {}

function TestFaults:test_a_rank_that_raises_while_others_wait()
  local path = script [[
local function work() error("no bread") end
if rank == 1 then work() end
world:recv(1)]]
  local code, out, err = mpirun("-n 3", path)
  lu.assertEquals(code, 1)
  lu.assertEquals(out, "")
  lu.assertEquals(err, ("[1] perigee: %s:2: no bread\n[1] called from, innermost first:\n" ..
    "[1]   %s:2: in function 'work'\n[1]   %s:3: in the main chunk\n" ..
    "perigee mpirun: rank 1 failed; the other 2 ranks were ended\n"):format(path, path, path))
end

function TestFaults:test_a_rank_that_exits_without_leaving_mpi()
  for exit, expected in pairs { [0] = 1, [3] = 3 } do
    local code, _, err = mpirun("-n 2", script("if rank == 1 then os.exit(" .. exit .. ") end world:recv(1)"))
    lu.assertEquals(code, expected)
    lu.assertStrContains(err, "perigee mpirun: rank 1 ")
    lu.assertNotStrContains(err, "------")
  end
end

function TestFaults:test_a_rank_that_is_killed()
  local code, _, err = mpirun("-n 2", script [[
    local ffi = require "ffi" ffi.cdef "int kill(int, int); int getpid(void);"
    if rank == 1 then ffi.C.kill(ffi.C.getpid(), 9) end world:recv(1)]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "perigee mpirun: rank 1 was killed by signal 9 (Killed)")
end

function TestFaults:test_a_rank_that_never_ends()
  local code, _, err = mpirun("-n 2 --timeout 2", script [[while rank == 1 do end world:recv(1)]])
  lu.assertEquals(code, 1)
  -- (On a busy machine rank 0 may not have waited for long enough to be seen waiting.)
  lu.assertStrContains(err, "not done after 2 s (--timeout): ended\n  rank")
  lu.assertStrContains(err, "compute")
end

function TestFaults:test_plain_mpirun()
  local path = script [[if rank == 1 then error("no bread") end world:recv(1)]]
  local root = jobs.output_of("id -u") == "0\n" and "--allow-run-as-root " or ""
  local text = jobs.output_of(("timeout -k 5 120 mpirun %s --oversubscribe -n 2 %s run %s 2>&1; echo $?"):format(root,
    jobs.quoted(jobs.perigee), path))
  lu.assertStrContains(text, "no bread")
  lu.assertStrContains(text, "\n1\n")
  text = jobs.output_of(("timeout -k 5 120 mpirun %s --oversubscribe -n 2 %s run %s 2>&1; echo $?"):format(root,
    jobs.quoted(jobs.perigee), script [[print(world:allreduce(rank + 1, "sum"))]]))
  lu.assertEquals(text, "3\n3\n0\n")
end

TestSpawn = {}

function TestSpawn:test_results_by_rank()
  local factor = 10
  local results = pg.mpi.spawn(3, function(x, a)
    local world = require("perigee").mpi.world
    return { rank = world.rank, size = world.size, x = x * factor, sum = world:allreduce(world.rank, "sum"), a = a + 1 }
  end, 4, pg.array.from { 1, 2 })
  lu.assertEquals(#results, 3)
  for i, r in ipairs(results) do
    lu.assertEquals({ r.rank, r.size, r.x, r.sum, r.a[2] }, { i - 1, 3, 40, 3, 3 })
  end
end

function TestSpawn:test_errors()
  local ok, message = pcall(pg.mpi.spawn, 2, function()
    if require("perigee").mpi.world.rank == 1 then
      error("no bread")
    end
    require("perigee").mpi.world:recv(1)
  end)
  lu.assertFalse(ok)
  lu.assertStrContains(message, "mpi.spawn: perigee: ")
  lu.assertStrContains(message, "no bread")
  lu.assertStrContains(message, "rank 1 failed; the other rank was ended")
  lu.assertErrorMsgContains("an integer from 1 to 4096, got 0", pg.mpi.spawn, 0, print)
  lu.assertErrorMsgContains("a function is expected, got", pg.mpi.spawn, 2, 3)
  lu.assertErrorMsgContains("cannot be sent", pg.mpi.spawn, 2, function() return io.stdout end)
end

TestTasks = {}

function TestTasks:test_graph_over_ranks()
  local code, out, err = mpirun("-n 3", script [[
local tasks = pg.tasks
tasks.scheduler("mpi")
local square = tasks.delayed(function(x) return x * x end)
local total = tasks.delayed(function(list) local s = 0 for _, x in ipairs(list) do s = s + x end return s end)
local list = {}
for i = 1, 20 do list[i] = square(i) end
local t = total(list)
local value, report = tasks.compute(t, list[3], { report = true })
print(value, (select(2, tasks.scheduler())))
local array_sum = tasks.delayed(pg.array.sum)(pg.array.range(1, 1000))
print(array_sum:compute(), (array_sum + 1):compute())
local bad = tasks.delayed(function() error("no bread") end, { name = "bad" })
local kept = tasks.compute(bad(), square(3), { return_exceptions = true })
print(tasks.is_failure(kept), tostring(kept):match("^'bad' failed[^\n]*no bread") ~= nil)
print(pcall(tasks.compute, bad(), { workers = 2 }))
bad():compute()]])
  lu.assertEquals(code, 1)
  for rank = 0, 2 do
    lu.assertEquals(#jobs.lines_of(out, "^%[" .. rank .. "%] 2870\t2$"), 1)
    lu.assertEquals(#jobs.lines_of(out, "^%[" .. rank .. "%] 500500\t500501$"), 1)
    lu.assertEquals(#jobs.lines_of(out, "^%[" .. rank .. "%] true\ttrue$"), 1)
  end
  lu.assertStrContains(out, 'with scheduler "mpi" the workers are the ranks')
  lu.assertStrContains(err, "no bread")
  lu.assertStrContains(err, "ranks 0, 1 and 2 failed")
end

jobs.finish()
