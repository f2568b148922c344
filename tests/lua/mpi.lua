-- Message passing: starts tests/lua/mpi/ranks.lua on 1 to 5 ranks, and looks at how jobs end. Each job has a time limit; it
-- is oversubscribed, and ranks that wait give their processor away.
local lu = require "luaunit"
local pg = require "perigee"
if not pg.available("mpi") then
  print("skipped: " .. select(2, pg.available("mpi")))
  os.exit(0)
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local perigee = output_of("readlink /proc/$PPID/exe"):gsub("\n", "")
local folder = debug.getinfo(1, "S").short_src:match("^(.*)/[^/]*$") or "."

local function start(n)
  return ("timeout -k 5 200 %s mpirun -n %d --oversubscribe --trusted "):format(quoted(perigee), n)
end

-- What a job of n ranks with this script says, errors included, and last the exit code.
local function job(n, script)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(script)
  file:close()
  local text = output_of(start(n) .. name .. " 2>&1; echo $?")
  os.remove(name)
  return text
end

TestMpi = {}

for n = 1, 5 do
  TestMpi["test_all_operations_on_" .. n] = function()
    local text = output_of(start(n) .. quoted(folder .. "/mpi/ranks.lua") .. " 2>&1; echo $?")
    lu.assertStrContains(text, "tests passed on " .. n .. " ranks\n0\n")
  end
end

local head = 'local mpi = require "perigee".mpi\nlocal world = mpi.world\n'

function TestMpi:test_alone_without_a_launcher()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(head .. 'print(world.rank, world.size, world:allreduce(3), mpi.world)')
  file:close()
  local text = output_of("timeout 60 " .. quoted(perigee) .. " run " .. name .. " 2>&1; echo $?")
  os.remove(name)
  lu.assertEquals(text, "0\t1\t3\tworld: rank 0 of 1\n0\n")
end

-- As srun starts them where Slurm is not told to use PMIx: each would be a world of its own.
function TestMpi:test_srun_without_pmix_is_refused()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(head .. "print(world.size)")
  file:close()
  local function with(settings)
    return output_of(("env %s timeout 60 %s run %s 2>&1; echo $?"):format(settings, quoted(perigee), name))
  end
  lu.assertStrContains(with("SLURM_STEP_NUM_TASKS=2 PMI_RANK=0"), "srun has started 2 processes without PMIx")
  lu.assertEquals(with("SLURM_STEP_NUM_TASKS=1"), "1\n0\n")
  os.remove(name)
end

function TestMpi:test_a_rank_that_raises_ends_the_job()
  local text = job(2, head .. 'if world.rank == 1 then error("broken") end\nworld:recv(1)')
  lu.assertStrContains(text, ":3: broken")
  lu.assertStrMatches(text, ".*\n[1-9]%d*\n")
end

function TestMpi:test_requests_that_nobody_waited_for_are_told()
  local text = job(1, head .. 'world:Irecv(require "perigee".array.zeros(3), 0)')
  lu.assertStrContains(text, "ends with 1 request never waited for")
end

function TestMpi:test_what_the_module_says_of_itself()
  local text = job(1, head .. 'print(mpi.is_initialized(), mpi.wtime() > 0, #mpi.host_name() > 0, mpi.max_tag() >= 32767)')
  lu.assertStrContains(text, "true\ttrue\ttrue\ttrue")
end

function TestMpi:test_ctrl_c_ends_a_rank_that_waits()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(head .. "world:recv(0)")
  file:close()
  -- 124: SIGINT was enough; 137: it was not.
  lu.assertEquals(output_of("timeout -s INT -k 60 2 " .. quoted(perigee) .. " run " .. name .. " 2>&1; echo $?"), "124\n")
  os.remove(name)
end

function TestMpi:test_workers_of_a_pool_are_refused()
  local text = job(1, head .. [[
local pool = require "perigee".parallel.pool(1)
print(pcall(function() return pool:submit(function() return require "perigee".mpi.world.rank end):result() end))]])
  lu.assertStrContains(text, "from the main state only")
end

os.exit(lu.LuaUnit.run(), true)
