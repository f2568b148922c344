-- What stands on MPI: mpi.spawn, and scheduler "mpi" of perigee.tasks.
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

-- At the prompt, where functions have an environment of their own.
function TestSpawn:test_from_the_prompt()
  local function typed(lines)
    return jobs.output_of("printf %s " .. jobs.quoted(lines) .. " | timeout -k 5 100 " .. jobs.quoted(jobs.perigee) ..
      " repl 2>&1")
  end
  lu.assertEquals(typed("mpi = require('perigee').mpi\nfactor = 10\nlocal function times(x) return factor * x end\n" ..
    "mpi.spawn(2, function(a) return a + times(mpi.world.rank) end, 3)[2]\ntimes(2)\n"), "13\n20\n")
  -- Nor does it matter that MPI has begun here, as the only rank.
  lu.assertEquals(typed("mpi = require('perigee').mpi\nmpi.world.size\nmpi.spawn(2, function() return mpi.world.size end)[2]\n"),
    "1\n2\n")
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
