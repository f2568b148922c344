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

function TestFaults:test_a_rank_that_aborts()
  local code, _, err = mpirun("-n 2", script "if rank == 1 then mpi.abort(2) end world:recv(1)")
  lu.assertEquals(code, 2)
  lu.assertEquals(err, "perigee mpirun: rank 1 ended the job by mpi.abort, with code 2; the other rank was ended\n")
end

function TestFaults:test_a_rank_that_is_killed()
  local code, _, err = mpirun("-n 2", script [[
    local ffi = require "ffi" ffi.cdef "int kill(int, int); int getpid(void);"
    if rank == 1 then ffi.C.kill(ffi.C.getpid(), 9) end world:recv(1)]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "perigee mpirun: rank 1 was killed by signal 9 (Killed)")
end

function TestFaults:test_a_rank_that_never_ends()
  local code, _, err = mpirun("-n 2 --timeout 1", script [[while rank == 1 do end world:recv(1)]])
  lu.assertEquals(code, 1)
  -- (On a busy machine rank 0 may not have waited for long enough to be seen waiting.)
  lu.assertStrContains(err, "not done after 1 s (--timeout): ended\n  rank")
  lu.assertStrContains(err, "compute")
end

-- A call that begins is not met by one that waits.
function TestFaults:test_calls_that_begin_and_calls_that_wait()
  local code, _, err = mpirun("-n 2", script [[
local a = pg.array.zeros(3)
if rank == 0 then world:Iallreduce(a):wait() else world:Allreduce(a) end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "rank 0 begins Iallreduce(sum) of 3 float64, rank 1 calls Allreduce(sum) of 3 float64; all ranks " ..
    "must make the same one")
  lu.assertStrContains(err, ".lua:3: collective calls differ")
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

-- More elements than MPI counts in an int. What is sent is zeros that were never written: no memory but the receiver's.
function TestFaults:test_a_message_over_2_gib()
  local available = tonumber(jobs.output_of("sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"))
  if not available or available < 10 * 2 ^ 20 then
    return print("skipped: less than 10 GiB of memory are available")
  end
  local code, out, err = mpirun("-n 2 --deadlock-after 0", script [[
    local n = 2 ^ 31 + 10
    local a = pg.array.zeros(n, { dtype = "uint8" })
    if rank == 0 then
      a[n] = 7
      world:Send(a, 1)
    else
      local _, _, count = world:Recv(a, 0)
      print(count, a[n])
    end]], nil, nil, nil, 600)
  lu.assertEquals({ code, out, err }, { 0, "[1] 2147483658\t7\n", "" })
end

jobs.finish()
