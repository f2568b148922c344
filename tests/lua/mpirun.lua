-- `perigee mpirun`: how ranks are started, how their output arrives, and how jobs end, by the shipped binary. The scripts here
-- make no use of MPI but for the numbers that Open MPI gives them: faults in MPI calls are in mpi_faults.lua.
local lu = require "luaunit"
local jobs = require "support.jobs"
local mpirun, output_of, perigee, quoted, folder = jobs.mpirun, jobs.output_of, jobs.perigee, jobs.quoted, jobs.folder
local lines_of, sorted = jobs.lines_of, jobs.sorted

local function script(text)
  return jobs.script(text, 'local rank, size = tonumber(os.getenv("OMPI_COMM_WORLD_RANK")), ' ..
    'tonumber(os.getenv("OMPI_COMM_WORLD_SIZE")) local ffi = require "ffi" ' ..
    "ffi.cdef[[int kill(int, int); int getpid(void); unsigned sleep(unsigned);]]")
end

TestOutput = {}

function TestOutput:test_lines_begin_with_the_rank()
  local code, out, err = mpirun("-n 3", script [[print(rank, size, ...) io.stderr:write("to stderr\n")]] .. " a 'b c'")
  lu.assertEquals(err, err:match("^%[.*")) -- nothing of mpirun's
  lu.assertEquals(code, 0)
  lu.assertEquals(sorted(lines_of(out)), { "[0] 0\t3\ta\tb c", "[1] 1\t3\ta\tb c", "[2] 2\t3\ta\tb c" })
  lu.assertEquals(sorted(lines_of(err)), { "[0] to stderr", "[1] to stderr", "[2] to stderr" })
end

function TestOutput:test_every_line_arrives_whole_and_in_order()
  local code, out = mpirun("-n 2", script [[
    local long = string.rep("x", 9999)
    for i = 1, 6000 do print(i) end
    for i = 1, 20 do io.write(long, i, "\n") end
    io.write("no end of line")]])
  lu.assertEquals(code, 0)
  for rank = 0, 1 do
    local lines = lines_of(out, "^%[" .. rank .. "%]")
    lu.assertEquals(#lines, 6021)
    for i = 1, 6000 do
      lu.assertEquals(lines[i], "[" .. rank .. "] " .. i)
    end
    for i = 1, 20 do
      lu.assertEquals(lines[6000 + i], "[" .. rank .. "] " .. ("x"):rep(9999) .. i)
    end
    lu.assertEquals(lines[6021], "[" .. rank .. "] no end of line")
  end
end

function TestOutput:test_no_prefix_and_one_rank_and_input()
  local code, out = mpirun("-n 1 --no-prefix", script [[print(io.read("*a"))]], nil, nil, "echo typed |")
  lu.assertEquals(code, 0)
  lu.assertEquals(out, "typed\n\n")
end

TestFaults = {}

function TestFaults:test_an_error_is_told_once_and_ends_all()
  local path = script [[
local function work() error("no bread") end
if rank == 1 then work() end
ffi.C.sleep(100)]]
  local code, out, err = mpirun("-n 3", path)
  lu.assertEquals(code, 1)
  lu.assertEquals(out, "")
  lu.assertEquals(err, ("[1] perigee: %s:2: no bread\n[1] called from, innermost first:\n" ..
    "[1]   %s:2: in function 'work'\n[1]   %s:3: in the main chunk\n" ..
    "perigee mpirun: rank 1 failed; the other 2 ranks were ended\n"):format(path, path, path))
end

function TestFaults:test_what_the_failing_rank_printed_is_there()
  local code, out = mpirun("-n 2", script [[
    if rank == 0 then for i = 1, 5000 do print(i) end error("now") end
    ffi.C.sleep(100)]])
  lu.assertEquals(code, 1)
  lu.assertEquals(#lines_of(out), 5000)
end

function TestFaults:test_the_same_error_of_all_is_told_once()
  local code, _, err = mpirun("-n 3", script [[nothing()]])
  lu.assertEquals(code, 1)
  local _, count = err:gsub("nothing", "")
  lu.assertEquals(count, 1)
  lu.assertStrContains(err, "failed")
  code, _, err = mpirun("-n 2", script [[local x = = 1]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "unexpected symbol near '='")
end

function TestFaults:test_a_rank_that_exits()
  local code, _, err = mpirun("-n 2", script [[if rank == 1 then os.exit(3) end ffi.C.sleep(100)]])
  lu.assertEquals(code, 3)
  lu.assertEquals(err, "perigee mpirun: rank 1 ended with exit code 3; the other rank was ended\n")
end

function TestFaults:test_a_rank_that_is_killed()
  local code, out, err = mpirun("-n 2", script [[
    if rank == 1 then print("last words") ffi.C.kill(ffi.C.getpid(), 9) end ffi.C.sleep(100)]])
  lu.assertEquals(code, 1)
  lu.assertEquals(out, "[1] last words\n")
  lu.assertEquals(err, "perigee mpirun: rank 1 was killed by signal 9 (Killed), by someone, or because memory ran out; the " ..
    "other rank was ended\n")
end

function TestFaults:test_a_rank_that_never_ends()
  local code, _, err = mpirun("-n 2 --timeout 1", script [[while true do ffi.C.sleep(1) end]])
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "not done after 1 s (--timeout): ended")
end

function TestFaults:test_no_mpirun()
  local code, _, err = mpirun("-n 2", script "", nil, "PATH=/nowhere")
  lu.assertEquals(code, 3)
  lu.assertEquals(err, "perigee mpirun: Open MPI's mpirun is not on this machine (Debian: apt install openmpi-bin)\n")
  os.execute("mkdir -p " .. folder .. "/bin && printf '#!/bin/sh\\necho HYDRA' > " .. folder .. "/bin/mpirun && chmod +x " ..
    folder .. "/bin/mpirun")
  code, _, err = mpirun("-n 2", script "", nil, "PATH=" .. folder .. "/bin:/nowhere")
  lu.assertEquals(code, 3)
  lu.assertStrContains(err, "is not Open MPI's")
end

function TestFaults:test_too_few_slots()
  local path = script "print(rank)"
  local command = ("timeout -k 5 120 %s mpirun -n 3 --host localhost:2 %s 2>&1; echo $?"):format(quoted(perigee), path)
  local text = output_of(command)
  lu.assertStrContains(text, "perigee mpirun: there are fewer slots than the 3 ranks that were asked for")
  lu.assertStrContains(text, "\n2\n")
end

function TestFaults:test_usage()
  local path = script "print(rank)"
  local function says(options)
    return output_of(("timeout -k 5 120 %s mpirun %s 2>&1; echo $?"):format(quoted(perigee), options))
  end
  lu.assertStrContains(says("-n 0 " .. path), "a number of ranks from 1 to 4096 is expected, not 0")
  lu.assertStrContains(says("-n two " .. path), "not two")
  lu.assertStrContains(says("-n 2 " .. folder .. "/absent.lua"), "cannot read " .. folder .. "/absent.lua: No such file")
  lu.assertStrContains(says("-n 2 --hostfile " .. folder .. "/absent " .. path), "cannot read " .. folder .. "/absent")
  lu.assertStrContains(says("-n 2"), "file is required")
  lu.assertStrContains(says("--timeout soon -n 2 " .. path), "a number of seconds")
end

TestSignals = {}

local patient = "print('here') ffi.C.sleep(100)"
-- Waits until both ranks have said so.
local until_there = "while [ $(grep -c here " .. folder .. "/out) -lt 2 ]; do sleep 0.1; done; "

function TestSignals:test_interrupted_and_terminated()
  for signal, expected in pairs { INT = 130, TERM = 143 } do
    os.execute(": > " .. folder .. "/out")
    local code, _, err = mpirun("-n 2", script(patient), until_there .. "kill -" .. signal .. " $(child $job)")
    lu.assertEquals(code, expected)
    lu.assertEquals(err, signal == "INT" and "perigee mpirun: interrupted\n" or "perigee mpirun: ended by a signal\n")
  end
end

-- As the shell sends it when a stopped job goes on.
function TestSignals:test_going_on_is_no_news()
  os.execute(": > " .. folder .. "/out")
  local code, out, err = mpirun("-n 2", script("print('here') ffi.C.sleep(1)"), until_there ..
    "kill -CONT $(child $(child $job))")
  lu.assertEquals({ code, sorted(lines_of(out)), err }, { 0, { "[0] here", "[1] here" }, "" })
end

function TestSignals:test_a_killed_launcher_leaves_nothing()
  os.execute(": > " .. folder .. "/out")
  local code = mpirun("-n 2", script(patient), until_there .. "kill -KILL $(child $job)")
  lu.assertEquals(code, 137)
end

function TestSignals:test_a_killed_mpirun_leaves_nothing()
  os.execute(": > " .. folder .. "/out")
  local code, _, err = mpirun("-n 2", script(patient), until_there .. "kill -KILL $(child $(child $job))")
  lu.assertEquals(code, 3)
  lu.assertStrContains(err, "mpirun itself was ended by signal 9 (Killed)")
end

jobs.finish()
