-- How many threads there are, who says so, and on which cores they run.
local lu = require "luaunit"
local pg = require "perigee"
local parallel, async = pg.parallel, pg.async

local own_pid
do
  local stat = assert(io.open("/proc/self/stat"))
  own_pid = stat:read("*n")
  stat:close()
end

local function fails_with(expected, f, ...)
  local ok, err = pcall(f, ...)
  lu.assertFalse(ok, "no error")
  lu.assertStrContains(tostring(err), expected)
end

TestTopology = {}

function TestTopology:test_what_is_told()
  local t = parallel.topology()
  lu.assertTrue(t.packages >= 1 and t.cores >= 1 and t.threads >= t.cores and t.numa_nodes >= 1)
  lu.assertTrue(t.usable >= 1 and t.usable <= t.threads)
  lu.assertEquals(#t.core, t.cores)
  local usable = 0
  for _, core in ipairs(t.core) do
    usable = usable + #core.threads
    lu.assertTrue(core.package >= 1 and core.package <= t.packages)
    lu.assertTrue(core.numa >= 1 and core.numa <= t.numa_nodes)
  end
  lu.assertTrue(usable <= t.usable) -- a core has room for 8
  for _, cache in ipairs(t.caches) do
    lu.assertTrue(cache.bytes > 0 and cache.count >= 1 and cache.shared_by >= 1)
    lu.assertStrMatches(cache.type, "%a+")
  end
  lu.assertStrContains(tostring(t), "core")
end

function TestTopology:test_pinning()
  local before = parallel.pinned()
  lu.assertTrue(#before >= 1)
  for _, core in ipairs(before) do
    parallel.pin(core)
    lu.assertEquals(parallel.pinned(), { core })
  end
  parallel.pin(before)
  lu.assertEquals(parallel.pinned(), before)
  parallel.pin(before[1])
  parallel.pin "all"
  lu.assertEquals(parallel.pinned(), before)
end

function TestTopology:test_pinning_wrongly()
  local before = parallel.pinned()
  local cores = parallel.topology().cores
  fails_with(("pin: a core is an integer from 1 to %d, got 0"):format(cores), parallel.pin, 0)
  fails_with(("pin: a core is an integer from 1 to %d, got %d"):format(cores, cores + 1), parallel.pin, cores + 1)
  fails_with("got 1.5", parallel.pin, { 1, 1.5 })
  fails_with('a list of them or "all" is expected, got nil', parallel.pin)
  fails_with('a list of them or "all" is expected', parallel.pin, {})
  lu.assertEquals(parallel.pinned(), before)
end

function TestTopology:test_pinned_workers()
  local before = parallel.pinned()
  local pool = parallel.pool(#before * 2, { pin = true })
  local all = parallel.barrier(#before * 2) -- so that each worker takes one
  local cores = pool:map(function()
    all:wait()
    local p = require "perigee.parallel"
    return { p.worker(), p.pinned() }
  end, parallel.range(1, #before * 2), { chunksize = 1 })
  for _, found in ipairs(cores) do
    lu.assertEquals(found[2], { before[(found[1] - 1) % #before + 1] })
  end
  pool:shutdown()
  lu.assertEquals(parallel.pinned(), before)
  -- Beside an initializer; and its errors are as without.
  local text = "x"
  pool = parallel.pool(1, { pin = true, initializer = function(a) assert(a == 1 and text == "x") end, initargs = { 1 } })
  lu.assertEquals(#pool:submit(function() return require("perigee.parallel").pinned() end):result(), 1)
  pool:shutdown()
  local file = io.stdout
  fails_with("upvalue 'file'", parallel.pool, 1, { pin = true, initializer = function() return file end })
  fails_with("argument 2 ", parallel.pool, 1, { pin = true, initializer = print, initargs = { 1, file } })
  pool = parallel.processes(1, { pin = true })
  lu.assertEquals(pool:submit(function() return require("perigee.parallel").pinned() end):result(), { before[1] })
  pool:shutdown()
  fails_with("pool: pin is true or false, got 2", parallel.pool, 1, { pin = 2 })
end

TestThreads = {}

-- What a program says that runs with these variables, and its exit code.
local function with_environment(variables, text)
  return async.run(function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    local env = { PATH = os.getenv("PATH"), LD_LIBRARY_PATH = os.getenv("LD_LIBRARY_PATH"),
      ASAN_OPTIONS = os.getenv("ASAN_OPTIONS"), LSAN_OPTIONS = os.getenv("LSAN_OPTIONS"),
      TSAN_OPTIONS = os.getenv("TSAN_OPTIONS") }
    for name, value in pairs(variables) do
      env[name] = value
    end
    local process = async.subprocess({ "/proc/" .. own_pid .. "/exe", "run", path },
      { stdout = "pipe", stderr = "stdout", stdin = "null", env = env })
    local output = process:communicate()
    os.remove(path)
    return output, process.returncode
  end)
end

local tell = "print(require('perigee').threads())"

function TestThreads:test_variables_and_their_order()
  lu.assertEquals({ with_environment({ PERIGEE_NUM_THREADS = "3" }, tell) }, { "3\n", 0 })
  lu.assertEquals({ with_environment({ OMP_NUM_THREADS = "5" }, tell) }, { "5\n", 0 })
  lu.assertEquals({ with_environment({ OMP_NUM_THREADS = "6,2" }, tell) }, { "6\n", 0 }) -- for nested regions
  lu.assertEquals({ with_environment({ OMP_NUM_THREADS = "5", PERIGEE_NUM_THREADS = "4" }, tell) }, { "4\n", 0 })
  local unset = with_environment({}, tell)
  lu.assertEquals(with_environment({ OMP_NUM_THREADS = "", PERIGEE_NUM_THREADS = "" }, tell), unset)
  lu.assertTrue(tonumber(unset) >= 1)
  -- The script has the last word.
  lu.assertEquals(with_environment({ PERIGEE_NUM_THREADS = "3" }, "print(require('perigee').threads(2))"), "2\n")
end

function TestThreads:test_wrong_variables()
  for _, text in ipairs { "0", "-1", "many", "1.5", "1025", "2,3", "99999999999999999999" } do
    local output, code = with_environment({ PERIGEE_NUM_THREADS = text }, tell)
    lu.assertEquals(output, ('perigee: the environment variable PERIGEE_NUM_THREADS must be a number of threads from 1 ' ..
      'to 1024, got "%s"\n'):format(text))
    lu.assertEquals(code, 2)
  end
  local output = with_environment({ OMP_NUM_THREADS = "x" }, tell)
  lu.assertStrContains(output, 'OMP_NUM_THREADS must be a number of threads from 1 to 1024, got "x"')
end

function TestThreads:test_results_do_not_depend_on_them()
  local text = "local pg = require 'perigee' print(pg.array.sin(pg.array.range(500000)):sum())"
  lu.assertEquals(with_environment({ PERIGEE_NUM_THREADS = "1" }, text), with_environment({ PERIGEE_NUM_THREADS = "7" }, text))
end

os.exit(lu.LuaUnit.run(), true)
