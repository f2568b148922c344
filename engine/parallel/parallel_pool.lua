-- Pools of workers and futures, as scripts see them; and what messages between states need of Lua (transport_lua.cpp).
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, natives = core.fail, core.natives.parallel
local type, tonumber, tostring, pairs, ipairs, rawget, next, select = type, tonumber, tostring, pairs, ipairs, rawget, next,
  select
local getmetatable, setmetatable, error, unpack, istype = debug.getmetatable, setmetatable, error, unpack, ffi.istype
local format, match, gsub, find = string.format, string.match, string.gsub, string.find
local ceil, max, min, cast = math.ceil, math.max, math.min, ffi.cast
local parallel, kind_of, new_shared = kit.parallel, kit.kind_of, kit.shared_t
local array = core.require("array")
local new_table = require "table.new"

local POOL, FUTURE = 12, 11 -- enum pg_shared_kind
local PENDING, RUNNING, FINISHED, FAILED, CANCELLED = 0, 1, 2, 3, 4 -- Future::State

-- ------------------------------------------------------------------------------------------------------ transport ----
-- Numbers that compiled loops write and read: a list of them travels as a copy of memory.
local numbers_t = ffi.typeof("struct { int64_t count; double values[?]; }")
local array_t, row_t, int64_t, uint64_t, complex_t = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("int64_t"),
  ffi.typeof("uint64_t"), ffi.typeof("double _Complex")
kit.numbers_t = numbers_t
local double_p = ffi.typeof("double *")

-- Library tables, and what is in them, which every state has: by name.
local library_names = { "string", "table", "math", "coroutine", "bit", "os", "io", "debug", "jit" }
local names, libraries -- value -> name; list of tables

local function know_libraries()
  names, libraries = {}, {}
  local env = core.env
  for name, value in pairs(env) do
    if type(value) == "function" then
      local info = debug.getinfo(value, "S")
      if info.what == "C" or find(info.source, "^@perigee:") then
        names[value] = name
      end
    end
  end
  for _, name in ipairs(library_names) do
    local library = rawget(env, name)
    if type(library) == "table" then
      names[library] = name
      libraries[#libraries + 1] = library
      for key, value in pairs(library) do
        if type(value) == "function" and type(key) == "string" then
          names[value] = name .. "." .. key
        end
      end
    end
  end
  names[ffi] = "ffi"
  libraries[#libraries + 1] = ffi
end

-- The name of a module, or of a function of a library or module; nil and what it is where it has none.
local function name_of(value)
  if not names then
    know_libraries()
  end
  local name = names[value]
  if name then
    return name
  elseif value == core.pg then
    return "perigee"
  end
  for module_name, module in pairs(core.loaded) do
    if value == module then
      return "perigee." .. module_name
    elseif type(value) == "function" then
      for key, member in pairs(module) do
        if member == value and type(key) == "string" then
          return "perigee." .. module_name .. "." .. key
        end
      end
    end
  end
  for key, member in pairs(core.pg) do
    if member == value then
      return "perigee." .. key
    end
  end
  return nil, type(value) == "function" and "a function inside Perigee" or "a table with a metatable"
end

local function resolve(name)
  if name == "ffi" then
    return ffi
  end
  local at, path = core.env, name
  if find(name, "^perigee") then
    local module, member = match(name, "^perigee%.(%w+)%.?(.*)$")
    if not module then
      return core.pg
    end
    local own = rawget(core.pg, module)
    if type(own) == "function" then
      return own
    end
    at, path = core.require(module), member
  end
  for key in string.gmatch(path, "[^.]+") do
    local find_more = rawget(at, "_find") -- a module whose parts load when they are used
    at = rawget(at, key) or (find_more and find_more(at, key))
    if at == nil then
      core.internal("a worker has no '%s'", name)
    end
  end
  return at
end

-- enum Cdata of transport_lua.cpp; of a table with a metatable the name of its class, false: a module, nil: neither.
local function kind(value)
  if type(value) == "table" then
    local class = core.classes[getmetatable(value)]
    if class then
      return class
    elseif value == core.pg or value == rawget(core.env, "os") or value == rawget(core.env, "io") then
      return false
    end
    for _, module in pairs(core.loaded) do
      if module == value then
        return false
      end
    end
    return nil
  end
  return istype(array_t, value) and 1 or istype(row_t, value) and 2 or kit.is_shared(value) and 3 or
    istype(int64_t, value) and 4 or istype(uint64_t, value) and 5 or istype(complex_t, value) and 6 or
    istype(numbers_t, value) and 7 or 0
end

local function bless(value, class)
  if not core.classes[class] then
    core.require(match(class, "^[^.]*"))
  end
  setmetatable(value, core.classes[class])
end

local function new_cdata(which, count)
  if which == 7 then
    local numbers = numbers_t(count)
    numbers.count = count
    return numbers
  end
  return which == 4 and int64_t(0) or which == 5 and uint64_t(0) or complex_t(0, 0)
end

natives.connect {
  kind_of = kind, name_of = name_of, resolve = resolve, bless = bless, new_cdata = new_cdata, env = core.env,
  adopt_array = array._adopt, array_address = array._address, adopt_shared = kit.adopt_shared,
  libraries = function()
    if not libraries then
      know_libraries()
    end
    return libraries
  end,
  add_chunk = function(name, text)
    if not core.chunks[name] then
      core.chunks[name] = text
    end
  end,
  chunk_text = function(name) return core.chunks[name] end,
}

-- "upvalue 'log' (userdata)" -> the error that says so, at the learner's line.
local function refuse(what, reason, names_of_values, culprit, offset)
  if not culprit then -- no value's fault
    fail("%s: %s", what, reason)
  end
  local own = names_of_values[culprit] or format("argument %d", culprit - 1)
  if offset then -- an item of a list that was sent in pieces
    reason = gsub(reason, "\1%[(%d+)%]", function(i) return format("\1[%d]", i + offset) end)
  end
  reason = gsub(reason, " of \1", own == "the function" and "" or (" of " .. gsub(own, "%%", "%%%%")))
  reason = gsub(reason, "\1", (gsub(own, "%%", "%%%%")))
  fail("%s: %s cannot be sent to a worker%s", what, reason,
    find(reason, "upvalue '", 1, true) and "; require or make it inside the function" or "")
end

-- -------------------------------------------------------------------------------------------------------- futures ----
local future_methods, future_getters = kit.shared_methods[FUTURE], kit.shared_getters[FUTURE]

local function need_future(name, value)
  if not kit.is_shared(value, FUTURE) then
    fail("%s: a future is expected (what pool:submit returns), got %s", name, kind_of(value))
  end
  return value
end

local function need_seconds(name, seconds)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0)) then
    fail("%s: a time in seconds, 0 or more, is expected, got %s", name, tostring(seconds))
  end
  return seconds
end

-- Callbacks wait here until the state that added them waits for something, and run then.
local callbacks, callback_waiter, last_tag = {}, nil, 0

local function run_callbacks()
  while callback_waiter do
    local tag = natives.waiter_next(callback_waiter, 0)
    if not tag then
      return
    end
    local entry = callbacks[tag]
    callbacks[tag] = nil
    if not next(callbacks) then
      callback_waiter = nil
    end
    entry.callback(entry.future)
  end
end

local function interrupted(reason)
  fail("%s", reason or "interrupted by Ctrl-C")
end

-- Waits until the future is done; false after `seconds`.
local function wait(future, seconds)
  local done, reason = natives.wait(future, seconds)
  if done == nil then
    interrupted(reason)
  end
  if callback_waiter then
    run_callbacks()
  end
  return done
end

-- What the script reads of an error in a worker.
local function error_text(text, traceback)
  if type(text) ~= "string" or traceback == "" then
    return text
  end
  return format("%s\n  in a worker, called from:\n    %s", text, (gsub(traceback, "\n", "\n    ")))
end

-- The results of natives.result, or the error it tells.
local function results(state, ...)
  if state == FINISHED then
    return ...
  elseif state == FAILED then
    local text, traceback = ...
    error(error_text(text, traceback), 0)
  end
  fail("CancelledError: the task was cancelled before it began")
end

--- future:result([seconds]): what the function returned. Its error is raised here, with the worker's traceback; after
--- `seconds` without a result a TimeoutError, of a cancelled task a CancelledError.
function future_methods.result(future, seconds)
  need_future("result", future)
  if not wait(future, need_seconds("result", seconds)) then
    fail("TimeoutError: the task has not ended within %g s", seconds)
  end
  return results(natives.result(future))
end

--- future:exception([seconds]): the error that the function raised, nil if it returned.
function future_methods.exception(future, seconds)
  need_future("exception", future)
  if not wait(future, need_seconds("exception", seconds)) then
    fail("TimeoutError: the task has not ended within %g s", seconds)
  end
  local state, text, traceback = natives.result(future)
  if state == FAILED then
    return (error_text(text, traceback))
  elseif state == CANCELLED then
    fail("CancelledError: the task was cancelled before it began")
  end
end

--- future:cancel(): true if the task has not begun, and now never will.
function future_methods.cancel(future)
  return natives.cancel(need_future("cancel", future))
end

function future_methods.cancelled(future)
  return natives.state(need_future("cancelled", future)) == CANCELLED
end

function future_methods.running(future)
  return natives.state(need_future("running", future)) == RUNNING
end

--- future:done(): whether it has returned, failed or was cancelled.
function future_methods.done(future)
  return natives.state(need_future("done", future)) >= FINISHED
end

--- future:add_done_callback(fn): fn(future) is called once it is done: at once where it is already, else when this script
--- next waits for a future or a pool, since a script does only one thing at a time.
function future_methods.add_done_callback(future, callback)
  need_future("add_done_callback", future)
  if type(callback) ~= "function" then
    fail("add_done_callback: a function is expected, got %s", kind_of(callback))
  end
  if natives.state(future) >= FINISHED then
    callback(future)
    return
  end
  callback_waiter = callback_waiter or natives.waiter()
  last_tag = last_tag + 1
  callbacks[last_tag] = { future = future, callback = callback }
  natives.waiter_add(callback_waiter, future, last_tag)
end

local state_names = { [0] = "pending", "running", "finished", "failed", "cancelled" }
kit.shared_describe[FUTURE] = function(future) return state_names[natives.state(future)] end

local function need_futures(name, list)
  if type(list) ~= "table" then
    fail("%s: a list of futures is expected, got %s", name, kind_of(list))
  end
  for i = 1, #list do
    if not kit.is_shared(list[i], FUTURE) then
      fail("%s: item %d of the list is no future but %s", name, i, kind_of(list[i]))
    end
  end
  return list
end

local function check_options(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table, got %s", name, kind_of(options))
  end
  for key in pairs(options) do
    if not known[key] then
      local legal = {}
      for k in pairs(known) do
        legal[#legal + 1] = k
      end
      table.sort(legal)
      fail("%s: unknown option '%s'; legal are: %s%s", name, tostring(key), table.concat(legal, ", "),
        core.did_you_mean(key, known))
    end
  end
  return options
end
kit.check_pool_options = check_options

local function watch(futures)
  local waiter = natives.waiter()
  for i = 1, #futures do
    natives.waiter_add(waiter, futures[i], i)
  end
  return waiter
end

local function clock()
  return C.pg_timer_now()
end

-- natives.waiter_next until a deadline (nil: none) of clock().
local function next_done(waiter, deadline)
  local tag, reason = natives.waiter_next(waiter, deadline and max(0, deadline - clock()))
  if tag == nil then
    interrupted(reason)
  end
  if callback_waiter then
    run_callbacks()
  end
  return tag
end

local timeout_only = { timeout = true }

--- parallel.as_completed(futures [, {timeout = seconds}]): for future in parallel.as_completed(list): as they are done.
function parallel.as_completed(futures, options)
  need_futures("as_completed", futures)
  local timeout = need_seconds("as_completed", check_options("as_completed", options, timeout_only).timeout)
  local waiter, left, deadline = watch(futures), #futures, timeout and clock() + timeout
  return function()
    if left == 0 then
      return nil
    end
    local i = next_done(waiter, deadline)
    if not i then
      fail("TimeoutError: %d of %d tasks have not ended within %g s", left, #futures, timeout)
    end
    left = left - 1
    return (futures[i])
  end
end

local wait_options = { timeout = true, return_when = true }
local return_when = { ALL_COMPLETED = true, FIRST_COMPLETED = true, FIRST_EXCEPTION = true }

--- parallel.wait(futures [, {timeout = seconds, return_when = "ALL_COMPLETED"}]): two lists, of those that are done and
--- of the others; return_when may be "FIRST_COMPLETED" or "FIRST_EXCEPTION".
function parallel.wait(futures, options)
  need_futures("wait", futures)
  options = check_options("wait", options, wait_options)
  local timeout, when = need_seconds("wait", options.timeout), options.return_when or "ALL_COMPLETED"
  if not return_when[when] then
    fail('wait: return_when is "ALL_COMPLETED", "FIRST_COMPLETED" or "FIRST_EXCEPTION", got %s', tostring(when))
  end
  local waiter, deadline = watch(futures), timeout and clock() + timeout
  for _ = 1, #futures do
    local i = next_done(waiter, deadline)
    if not i or when == "FIRST_COMPLETED" or (when == "FIRST_EXCEPTION" and natives.state(futures[i]) == FAILED) then
      break
    end
  end
  local done, others = {}, {}
  for i = 1, #futures do
    local list = natives.state(futures[i]) >= FINISHED and done or others
    list[#list + 1] = futures[i]
  end
  return done, others
end

-- ---------------------------------------------------------------------------------------------------------- pools ----
local pool_methods, pool_getters = kit.shared_methods[POOL], kit.shared_getters[POOL]

local function need_pool(name, pool)
  if not kit.is_shared(pool, POOL) then
    fail("%s: a pool is expected (pool:%s, with a colon), got %s", name, name, kind_of(pool))
  end
  return pool
end

local function need_function(name, fn)
  if type(fn) ~= "function" then
    fail("%s: a function is expected %s, got %s", name, name == "parallel_for" and "third" or "first", type(fn) == "table" and "a table" or kind_of(fn))
  end
  return fn
end

-- As the script lets go of a pool, or ends: tasks that have not begun are cancelled, and those that run end, with an error
-- where they wait.
local function close_pool(pool)
  natives.pool_shutdown(pool, true, true, true)
  C.pg_shared_release(pool)
end

kit.close_pool = close_pool

local pool_options = { initializer = true, initargs = true, pin = true, check = true, gil = true,
  switch_interval = true }
local most_threads, most_processes = 1024, 256

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
    ok, reason, culprit = natives.pool_open(pool, n, processes, check, gil, initializer,
      unpack(initargs, 1, table.maxn(initargs)))
  else
    ok, reason, culprit = natives.pool_open(pool, n, processes, check, gil)
  end
  if not ok then
    refuse(what, reason, names_of_values, culprit)
  end
  return ffi.gc(pool, close_pool)
end

--- parallel.pool([n] [, {initializer = fn, initargs = {...}, pin = true}]): n workers, each a thread with a Lua state of
--- its own; with pin, each stays on one core.
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
  if not natives.pool_shutdown(pool, options.wait ~= false, options.cancel_futures == true) then
    fail("shutdown: a worker cannot wait for the end of its own pool; use {wait = false}")
  end
  run_callbacks()
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

--- pool:submit(fn, ...): a future of fn(...).
function pool_methods.submit(pool, fn, ...)
  need_pool("submit", pool)
  need_function("submit", fn)
  return submit("submit", pool, nil, submit_names, nil, fn, ...)
end

-- A task of many pieces: worker_part(kind, fn, source) makes in each worker the function that runs a piece.
local function make_job(what, kind_name, fn, init)
  local job = new_shared()
  local ok, reason, culprit = natives.job(job, parallel._runner, kind_name, fn, init)
  if not ok then
    refuse(what, reason, { "", "", "the function", "init" }, culprit)
  end
  return job
end

-- ------------------------------------------------------------------------------------------------- items of a map ----
local range = {}
range.__index = function(_, key)
  fail("a range has no field '%s'; it has first, last and step", tostring(key))
end
range.__tostring = function(r) return format("range(%g, %g, %g)", r.first, r.last, r.step) end
core.class(range, "parallel.range")

--- parallel.range(first, last [, step]): the numbers first, first + step, ... up to last, for the functions of pools,
--- without a list of them.
function parallel.range(first, last, step)
  step = step == nil and 1 or step
  if type(first) ~= "number" or type(last) ~= "number" or type(step) ~= "number" or step == 0 or first ~= first or
    last ~= last or step ~= step or first - first ~= 0 or last - last ~= 0 then
    fail("range: first, last and step are finite numbers, and step is not 0; got %s, %s, %s", tostring(first),
      tostring(last), tostring(step))
  end
  local count = max(0, math.floor((last - first) / step) + 1)
  if count > 2 ^ 53 then
    fail("range: more than 2^53 numbers")
  end
  return setmetatable({ first = first, last = last, step = step, _count = count }, range)
end

-- How many items there are; and what workers fetch them from by number themselves, nil where pieces are sent.
local function items_of(what, list)
  if array.is(list) then
    if list.ndim == 0 then
      fail("%s: an array of one dimension or more is expected, got a scalar", what)
    end
    return list.shape[1], list
  elseif type(list) == "table" then
    if getmetatable(list) == range then
      return list._count, list
    end
    return #list, nil
  end
  fail("%s: a list, an array or a range is expected, got %s", what, kind_of(list))
end

-- The numbers of a list as an array, which goes to workers without a copy; nil where there is anything else in it.
local function numbers_array(list, count)
  if type(list[1]) ~= "number" then
    return nil
  end
  local a = array.empty(count)
  local data = cast(double_p, a._data)
  for i = 1, count do
    local value = list[i]
    if type(value) ~= "number" then
      a:release()
      return nil
    end
    data[i - 1] = value
  end
  return a
end

local function from_array(out, a, count)
  local data = cast(double_p, a._data)
  for i = 1, count do
    out[i] = data[i - 1]
  end
end

-- Items first to last of a list, as they are sent.
local function piece(list, first, last)
  local items, before = {}, first - 1
  for k = 1, last - before do
    items[k] = list[before + k]
  end
  return items
end

local function need_chunksize(what, options, count, workers)
  local size = options.chunksize
  if size == nil then
    return max(1, ceil(count / (4 * workers)))
  elseif type(size) ~= "number" or size % 1 ~= 0 or size < 1 then
    fail("%s: chunksize is an integer, 1 or more, got %s", what, tostring(size))
  end
  return size
end

local item_names = { "list" }

-- Submits fn for all items in pieces: lists of futures and of the first item of each. Workers fetch items from `source`
-- themselves where there is one. Results that are numbers go into the array `out` where there is one.
local function submit_pieces(what, pool, kind_name, fn, list, size, count, source, out, init)
  local numbers = not source and kind_name ~= "starmap" and numbers_array(list, count) or nil
  local job = make_job(what, kind_name .. (numbers and " numbers" or source and (array.is(source) and " array" or
    " range") or " list"), fn, init)
  source = numbers or source
  local shares = select(4, natives.pool_info(pool))
  local futures, firsts, n = {}, {}, 0
  for first = 1, count, size do
    local last = min(count, first + size - 1)
    n = n + 1
    firsts[n] = first
    if array.is(source) and not shares then -- a process is sent no more than it needs
      futures[n] = submit(what, pool, job, item_names, nil, source[{ { first, last } }], 1, last - first + 1, nil)
    elseif source then
      futures[n] = submit(what, pool, job, item_names, nil, source, first, last, out)
    else
      futures[n] = submit(what, pool, job, item_names, first - 1, piece(list, first, last), 1, last - first + 1, nil)
    end
  end
  return futures, firsts, numbers
end

local function cancel_all(futures)
  for _, future in pairs(futures) do -- those collected are gone: the list has holes
    natives.cancel(future)
  end
end

-- A future's results; where it failed or waiting was interrupted, those after it are cancelled. The error comes when none
-- of them runs any more: else they would go on writing into arrays that the script goes on with.
local function collect(futures, i)
  local done, reason = natives.wait(futures[i])
  if done == nil then
    cancel_all(futures)
    interrupted(reason)
  end
  local state, a, b = natives.result(futures[i])
  if state ~= FINISHED then
    cancel_all(futures)
    for k = i + 1, #futures do
      natives.wait(futures[k])
    end
    results(state, a, b)
  end
  return a, b
end

-- What a piece returned, into `out`: numbers, or a list and how many.
local function place(out, before, values, count)
  if type(values) == "cdata" then
    local numbers = values.values
    for i = 1, tonumber(values.count) do
      out[before + i] = numbers[i - 1]
    end
  elseif values then
    for i = 1, count do
      out[before + i] = values[i]
    end
  end
end

local chunk_options = { chunksize = true }

local function map(what, kind_name, pool, fn, list, options)
  need_pool(what, pool)
  need_function(what, fn)
  options = check_options(what, options, chunk_options)
  local count, source = items_of(what, list)
  local size = need_chunksize(what, options, count, pool.size)
  local place_of_numbers = kind_name ~= "for_each" and (source or type(list[1]) == "number") and
    select(4, natives.pool_info(pool)) and array.empty(count) or nil
  local futures, firsts, numbers = submit_pieces(what, pool, kind_name, fn, list, size, count, source, place_of_numbers)
  local returned = {} -- piece -> results that are not all numbers
  for i = 1, #futures do
    local values, n = collect(futures, i)
    if values then
      returned[i] = { values, n }
    end
    futures[i] = nil
  end
  local out = new_table(kind_name == "for_each" and 0 or count, 0)
  if place_of_numbers then
    from_array(out, place_of_numbers, count)
    place_of_numbers:release()
  end
  for i, values in pairs(returned) do
    place(out, firsts[i] - 1, values[1], values[2])
  end
  if numbers then
    numbers:release()
  end
  if callback_waiter then
    run_callbacks()
  end
  return out
end

--- pool:map(fn, list [, {chunksize = k}]): a list of fn(item), in order.
function pool_methods.map(pool, fn, list, options)
  return (map("map", "map", pool, fn, list, options))
end

--- pool:starmap(fn, list [, options]): a list of fn(unpack(item)).
function pool_methods.starmap(pool, fn, list, options)
  if type(list) == "table" then
    for i = 1, #list do
      if type(list[i]) ~= "table" then
        fail("starmap: item %d of the list is no list of arguments but %s", i, kind_of(list[i]))
      end
    end
  elseif list ~= nil then
    fail("starmap: a list of lists of arguments is expected, got %s", kind_of(list))
  end
  return (map("starmap", "starmap", pool, fn, list, options))
end

--- pool:for_each(fn, list [, options]): calls fn(item) for all items, and returns when all have ended.
function pool_methods.for_each(pool, fn, list, options)
  map("for_each", "for_each", pool, fn, list, options)
end

-- for i, value in ...: results as they come, in order or not.
local function imap(what, pool, fn, list, options, ordered)
  need_pool(what, pool)
  need_function(what, fn)
  options = check_options(what, options, chunk_options)
  local count, source = items_of(what, list)
  local size = options.chunksize == nil and 1 or need_chunksize(what, options, count, pool.size)
  local futures, firsts = submit_pieces(what, pool, "map", fn, list, size, count, source)
  local waiter = not ordered and watch(futures) or nil
  local at, values, before, i, left = 0, nil, 0, 0, 0
  return function()
    if left == 0 then
      if at == #firsts then
        return nil
      end
      at = at + 1
      local k = ordered and at or next_done(waiter)
      values, left = collect(futures, k)
      if type(values) == "cdata" then
        local list_of = {}
        place(list_of, 0, values)
        values, left = list_of, #list_of
      end
      before, i = firsts[k] - 1, 0
      futures[k] = nil
    end
    i, left = i + 1, left - 1
    return before + i, values[i]
  end
end

--- pool:imap(fn, list [, {chunksize = 1}]): for i, result in pool:imap(fn, list): in order, each as soon as it is there.
function pool_methods.imap(pool, fn, list, options)
  return (imap("imap", pool, fn, list, options, true))
end

--- pool:imap_unordered(fn, list [, {chunksize = 1}]): the same, in the order in which they come.
function pool_methods.imap_unordered(pool, fn, list, options)
  return (imap("imap_unordered", pool, fn, list, options, false))
end

local for_options = { grain = true, partitioner = true }

local function need_grain(what, grain)
  if grain ~= nil and (type(grain) ~= "number" or grain % 1 ~= 0 or grain < 1) then
    fail("%s: grain is an integer, 1 or more, got %s", what, tostring(grain))
  end
  return grain or 1
end

--- pool:parallel_for(first, last, fn [, {grain = 1, partitioner = "auto"}]): fn(i) for all integers from first to last,
--- in pieces of at least `grain` that workers take as they are free. Partitioners: "auto" some pieces for each worker,
--- "simple" pieces of exactly `grain`, "static" one piece for each worker.
function pool_methods.parallel_for(pool, first, last, fn, options)
  need_pool("parallel_for", pool)
  for name, value in pairs { first = first, last = last } do
    if type(value) ~= "number" or value % 1 ~= 0 then
      fail("parallel_for: %s is an integer, got %s", name, tostring(value))
    end
  end
  need_function("parallel_for", fn)
  options = check_options("parallel_for", options, for_options)
  local grain, partitioner = need_grain("parallel_for", options.grain), options.partitioner or "auto"
  local count, workers = max(0, last - first + 1), pool.size
  local size
  if partitioner == "auto" then
    size = max(grain, ceil(count / (8 * workers)))
  elseif partitioner == "simple" then
    size = grain
  elseif partitioner == "static" then
    size = max(grain, ceil(count / workers))
  else
    fail('parallel_for: partitioner is "auto", "simple" or "static", got %s', tostring(partitioner))
  end
  local job = make_job("parallel_for", "for", fn)
  local futures = {}
  for begin = first, last, size do
    futures[#futures + 1] = submit("parallel_for", pool, job, item_names, nil, begin, min(last, begin + size - 1))
  end
  for i = 1, #futures do
    collect(futures, i)
    futures[i] = nil
  end
  if callback_waiter then
    run_callbacks()
  end
end

local reduce_options = { combine = true, chunksize = true, deterministic = true }

--- pool:reduce(fn, list [, init [, {combine = fn, chunksize = k, deterministic = true}]]): folds the items by
--- fn(accumulated, item), a piece at a time, and the pieces by combine(a, b), which is fn itself unless given. Where
--- combine is given, each piece begins with init; else with its first item, and init comes before the first piece. The
--- pieces do not depend on the number of workers and are combined in order, so the result is the same each time;
--- {deterministic = false} makes fewer pieces and combines them as they come.
function pool_methods.reduce(pool, fn, list, init, options)
  need_pool("reduce", pool)
  need_function("reduce", fn)
  options = check_options("reduce", options, reduce_options)
  local combine = options.combine
  if combine ~= nil then
    if type(combine) ~= "function" then
      fail("reduce: combine is a function, got %s", kind_of(combine))
    end
    if init == nil then
      fail("reduce: with combine, each piece begins with init; give one, such as 0")
    end
  end
  local count, source = items_of("reduce", list)
  if count == 0 then
    if init == nil then
      fail("reduce: the list is empty, and there is no init")
    end
    return init
  end
  local ordered = options.deterministic ~= false
  local size = options.chunksize and need_chunksize("reduce", options, count, 1) or
    max(1, ceil(count / (ordered and 64 or 4 * pool.size)))
  local futures = submit_pieces("reduce", pool, combine and "fold_from" or "fold", fn, list, size, count, source, nil, init)
  local join = combine or fn
  local waiter = not ordered and watch(futures) or nil
  local total = not combine and init or nil
  for i = 1, #futures do
    local partial = collect(futures, ordered and i or next_done(waiter))
    if i == 1 and (combine or init == nil) then
      total = partial
    else
      total = join(total, partial)
    end
  end
  if callback_waiter then
    run_callbacks()
  end
  return total
end

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
