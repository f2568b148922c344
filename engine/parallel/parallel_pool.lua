-- Pools of workers as scripts see them: how one is opened, given tasks and closed.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, natives = core.fail, core.natives.parallel
local type, tostring, select, unpack = type, tostring, select, unpack
local format = string.format
local parallel, kind_of, new_shared = kit.parallel, kit.kind_of, kit.shared_t
local refuse, check_options = kit.refuse, kit.check_pool_options

local POOL = 12 -- enum pg_shared_kind

local pool_methods, pool_getters = kit.shared_methods[POOL], kit.shared_getters[POOL]

local function need_pool(name, pool)
  if not kit.is_shared(pool, POOL) then
    fail("%s: a pool is expected (pool:%s, with a colon), got %s", name, name, kind_of(pool))
  end
  return pool
end
kit.need_pool = need_pool

local function need_function(name, fn)
  if type(fn) ~= "function" then
    fail("%s: a function is expected %s, got %s", name, name == "parallel_for" and "third" or "first",
      type(fn) == "table" and "a table" or kind_of(fn))
  end
  return fn
end
kit.need_task = need_function

-- As the script lets go of a pool, or ends: tasks that have not begun are cancelled, and those that run end, with an error
-- where they wait.
local function close_pool(pool)
  natives.pool_close(pool)
  C.pg_shared_release(pool)
end

kit.close_pool = close_pool

local pool_options = { initializer = true, initargs = true, pin = true, check = true, gil = true,
  switch_interval = true, memory_limit = true }
local most_threads, most_processes = 1024, 256
local least_memory = 2 ^ 20 -- a state needs some

-- Whether to check for races; the switch interval of an interpreter lock, 0 for none.
local function pool_mode(options, processes)
  local check, gil, interval = options.check, options.gil, options.switch_interval
  if processes and (check ~= nil or gil ~= nil or interval ~= nil) then
    fail("processes: check, gil and switch_interval are for threads, which share memory; use parallel.pool")
  end
  if check ~= nil and check ~= "races" then
    fail('pool: check is "races", got %s', kind_of(check))
  elseif gil ~= nil and type(gil) ~= "boolean" then
    fail("pool: gil is true or false, got %s", kind_of(gil))
  elseif interval ~= nil and not gil then
    fail("pool: switch_interval is for a pool with gil = true")
  elseif interval ~= nil and (type(interval) ~= "number" or not (interval > 0 and interval <= 10)) then
    fail("pool: switch_interval is a time in seconds, above 0 and at most 10, got %s", kind_of(interval))
  end
  return check ~= nil, gil and (interval or 0.005) or 0
end

local function open_pool(what, n, options, processes)
  local most_workers = processes and most_processes or most_threads
  if type(n) == "table" then
    n, options = nil, n
  end
  options = check_options(what, options, pool_options)
  n = n == nil and core.pg.threads() or n
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > most_workers then
    fail("%s: a number of workers from 1 to %d is expected, got %s", what, most_workers,
      type(n) == "string" and format("%q", n) or tostring(n))
  end
  local initializer, initargs = options.initializer, options.initargs or {}
  if initializer ~= nil and type(initializer) ~= "function" then
    fail("%s: initializer is a function, got %s", what, kind_of(initializer))
  elseif type(initargs) ~= "table" then
    fail("%s: initargs is a list of arguments, got %s", what, kind_of(initargs))
  end
  if options.pin ~= nil and type(options.pin) ~= "boolean" then
    fail("%s: pin is true or false, got %s", what, kind_of(options.pin))
  end
  local memory = options.memory_limit
  if memory ~= nil and (type(memory) ~= "number" or not (memory >= least_memory and memory <= 2 ^ 50)) then
    fail("%s: memory_limit is a number of bytes that each worker may hold, from 2^20 to 2^50, got %s", what,
      kind_of(memory))
  end
  local names_of_values = { "the initializer" }
  if options.pin then
    initializer, initargs, names_of_values = kit.pinned_initializer(initializer, initargs)
  end
  local check, gil = pool_mode(options, processes)
  if processes then
    core.check(C.pg_processes_check())
  end
  local pool = new_shared()
  local ok, reason, culprit
  if initializer then
    ok, reason, culprit = natives.pool_open(pool, n, processes, check, gil, memory or 0, initializer,
      unpack(initargs, 1, table.maxn(initargs)))
  else
    ok, reason, culprit = natives.pool_open(pool, n, processes, check, gil, memory or 0)
  end
  if not ok then
    refuse(what, reason, names_of_values, culprit)
  end
  return ffi.gc(pool, close_pool)
end

--- parallel.pool([n] [, {initializer = fn, initargs = {...}, pin = true, memory_limit = bytes}]): n workers, each a thread
--- with a Lua state of its own; with pin, each stays on one core.
function parallel.pool(n, options)
  return (open_pool("pool", n, options, false))
end

--- parallel.processes([n [, options]]): the same with workers that are processes: each has memory of its own, and ends
--- alone when it crashes, which is an error of its task; another takes its place. Arrays are copied to them, but for those
--- of parallel.shared_array.
function parallel.processes(n, options)
  return (open_pool("processes", n, options, true))
end

function pool_getters.size(pool)
  return (natives.pool_info(pool))
end

--- pool:races(): what a pool with check = "races" has found, a table for each pair of lines: element, text, count, and
--- first and second with where, worker and access ("read", "write" or "atomic").
function pool_methods.races(pool)
  if not kit.is_shared(pool, POOL) then
    fail("races: a pool is expected before the colon, got %s", kind_of(pool))
  end
  return natives.races(pool)
end

function pool_getters.closed(pool)
  return (select(2, natives.pool_info(pool)))
end

kit.shared_describe[POOL] = function(pool)
  local size, closed, broken = natives.pool_info(pool)
  return format("%d workers%s", size, broken ~= "" and ", broken" or closed and ", shut down" or "")
end

local shutdown_options = { wait = true, cancel_futures = true }

--- pool:shutdown([{wait = true, cancel_futures = false}]): no more tasks; waits until those submitted have ended, unless
--- they are to be cancelled.
function pool_methods.shutdown(pool, options)
  need_pool("shutdown", pool)
  options = check_options("shutdown", options, shutdown_options)
  local ended, reason = natives.pool_shutdown(pool, options.wait ~= false, options.cancel_futures == true)
  if ended == nil then
    fail("shutdown: %s", reason)
  elseif not ended then
    fail("shutdown: a worker cannot wait for the end of its own pool; use {wait = false}")
  end
  kit.run_callbacks()
end

--- pool:close(): pool:shutdown() by another name.
function pool_methods.close(pool)
  need_pool("close", pool)
  pool_methods.shutdown(pool)
end

local submit_names = { "the function" }

local function submit(what, pool, job, names_of_values, offset, ...)
  local future = new_shared()
  local ok, reason, culprit = natives.submit(future, pool, job, ...)
  if not ok then
    refuse(what, reason, names_of_values, culprit, offset)
  end
  return future
end
kit.submit = submit

--- pool:submit(fn, ...): a future of fn(...).
function pool_methods.submit(pool, fn, ...)
  need_pool("submit", pool)
  need_function("submit", fn)
  return submit("submit", pool, nil, submit_names, nil, fn, ...)
end

-- A task of many pieces: parallel._runner(kind, fn, init) makes in each worker the function that runs a piece.
local function make_job(what, kind_name, fn, init)
  local job = new_shared()
  local ok, reason, culprit = natives.job(job, parallel._runner, kind_name, fn, init)
  if not ok then
    refuse(what, reason, { "", "", "the function", "init" }, culprit)
  end
  return job
end
kit.make_job = make_job

-- -------------------------------------------------------------------------------------------------------- workers ----
--- parallel.worker(): the number of the worker that runs this, from 1; nil outside of pools.
function parallel.worker()
  return natives.worker()
end

-- Message handler of tasks: {text, traceback}, or {value, ...} where the error is no string.
function kit.on_task_error(value)
  local info = core.describe_error(value)
  local text = info.message
  if text == "attempt to yield across C-call boundary" or text == "attempt to yield from outside a coroutine" then
    text = "a task cannot yield out of its worker; coroutine.yield returns to a coroutine.resume of the same task"
  end
  if info.file ~= "" then
    text = format("%s:%d: %s", info.file, info.line, text)
  end
  return { text = text, traceback = info.traceback, value = type(value) ~= "string" and value or nil }
end
