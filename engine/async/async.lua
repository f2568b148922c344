-- pg.async: coroutines on an event loop. Tasks and the loop are here; queues, events, locks and semaphores in
-- async_sync.lua, streams, servers and subprocesses in async_streams.lua; what waits for the outside world is libuv's
-- (async_abi.h).
--
-- A task waits for one thing at a time: a function that waits arms something (a timer, an entry in a list of waiters), calls
-- suspend, and undoes what it armed before it returns or raises, also where it was cancelled. wake() may be called any
-- number of times: whoever was woken looks whether what it waits for is there.
local core, library = ...
local ffi = core.ffi
local C, fail, check = core.C, core.fail, core.check
core.declare "profiler"
local create, resume, yield, running, status, isyieldable = coroutine.create, coroutine.resume, coroutine.yield,
  coroutine.running, coroutine.status, coroutine.isyieldable
local type, select, tostring, pairs, ipairs, setmetatable, getmetatable = type, select, tostring, pairs, ipairs, setmetatable,
  getmetatable
local error, pcall, unpack, format, concat, sort = error, pcall, unpack, string.format, table.concat, table.sort
local remove = table.remove
local getinfo = debug.getinfo

local async = {}

-- Records of async_abi.h.
local TIMER, READ, REQUEST, ACCEPT, EXIT, INTERRUPT, FUTURE = 1, 2, 3, 4, 5, 6, 7
-- States of a task.
local PENDING, FINISHED, FAILED, CANCELLED = 0, 1, 2, 3

local WAITS = {}  -- what a task yields when it waits: no coroutine.yield of a script can
local CANCEL = {} -- what suspend returns to a task that is being cancelled

-- ---------------------------------------------------------------------------------------------- the loop's state -----
local loop           -- pg_async_loop *; nil while none runs
local current        -- the task that runs
local main           -- the first one
local ready, head, tail = {}, 1, 0
local live, live_count = {}, 0 -- tasks that have not ended, in no order
local lost = {}      -- tasks that failed and whose error nobody has looked at
local timers, handles, requests = {}, {}, {} -- slot -> who waits for it
local futures, last_tag = {}, 0 -- tag -> {task =, future =, done =}: those of pools that are waited for
local interrupted    -- where main waited when Ctrl-C came
local created = 0

local kit = {} -- what the other files share

-- ------------------------------------------------------------------------------------------------------- wording -----
local function kind_of(value)
  if type(value) == "string" then
    return format("%q", value)
  elseif type(value) == "number" or type(value) == "boolean" or value == nil then
    return tostring(value)
  end
  local meta = getmetatable(value)
  return type(meta) == "table" and type(meta._name) == "string" and meta._name or "a " .. type(value)
end
kit.kind_of = kind_of

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
      sort(legal)
      fail("%s: unknown option '%s'; legal are: %s%s", name, tostring(key), concat(legal, ", "),
        core.did_you_mean(key, known))
    end
  end
  return options
end
kit.check_options = check_options

local function check_seconds(name, seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    fail("%s: seconds must be a number from 0 to 1e9, got %s", name, kind_of(seconds))
  end
end

local function check_function(name, fn)
  if type(fn) ~= "function" then
    fail("%s: a function is expected, got %s; pass the function itself and then its arguments, as in async.%s(f, x)", name,
      kind_of(fn), name)
  end
end

-- Errors that programs tell apart: err == async.TimeoutError is true of each such error, wherever it was raised.
local Failure = { _name = "an error" }
Failure.__tostring = function(e) return e.where .. e.message end
Failure.__concat = function(a, b) return tostring(a) .. tostring(b) end
Failure.__eq = function(a, b) return a.kind == b.kind end

local function failure(kind, message)
  return setmetatable({ kind = kind, message = message, where = "" }, Failure)
end

--- What a cancelled task gets raised where it waits.
async.CancelledError = failure("CancelledError", "the task was cancelled")
--- What wait_for raises.
async.TimeoutError = failure("TimeoutError", "timed out")

local function raise(kind, message, ...)
  local e = failure(kind, format(message, ...))
  e.where = core.position()
  error(e, 0)
end

local function raise_cancelled(name)
  raise("CancelledError", "%s: the task was cancelled", name)
end
kit.raise_cancelled = raise_cancelled

-- --------------------------------------------------------------------------------------------------------- tasks -----
local Task = { _name = "a task" }
Task.__index = Task

local function place_of(file, line)
  return file and format("%s:%d", file, line) or "?"
end

local function describe(task)
  if task._number == 1 then
    return "the main task"
  end
  local info = getinfo(task._fn, "S")
  local name = info.what == "C" and "a C function" or format("the function at %s:%d", info.short_src, info.linedefined)
  return format("the task of %s, created at %s", name, place_of(task._file, task._line))
end
Task.__tostring = describe

-- Where a task waits: "demo.lua:5"
local function waiting_place(task)
  local file, line = core.caller(task._co)
  return place_of(file or task._file, line or task._line)
end

-- An error at a function of the engine that is a task itself: where the task was created.
core.place = function()
  if current then
    return current._file, current._line
  end
end

-- Fields that few tasks have: an object of 16 slots is smaller than one of 32.
Task._awaits = false    -- the task that it waits for
Task._values = false    -- its results where there are several
Task._gathered = false  -- gather has seen to its error
Task._on_end = false    -- function to call with the task at its end
Task._notify = false
Task._through = false   -- the task whose error was raised in it last
Task._noted = false     -- {value =, frames =} of an error that was caught and raised again

local function new_task(fn, file, line, count, ...)
  created = created + 1
  local task = setmetatable({
    _co = create(fn), _fn = fn, _file = file, _line = line, _number = created,
    _state = PENDING, _queued = true, _started = false, _must_cancel = false, _what = "begin", _watchers = false,
    _arguments = count > 0 and { n = count, ... } or false, _count = 0, _value = false,
  }, Task)
  live[task] = true
  live_count = live_count + 1
  tail = tail + 1
  ready[tail] = task
  return task
end

-- Lets a task that waits go on.
local function wake(task)
  if not task._queued and task._state == PENDING then
    task._queued = true
    tail = tail + 1
    ready[tail] = task
  end
end
kit.wake = wake

-- The running task; refuses where waiting is not possible.
local function enter(name)
  local task = current
  if not task then
    if loop then
      fail("%s: only tasks can wait", name)
    end
    fail("%s: no event loop runs here; call it in a function that async.run(fn) runs", name)
  elseif running() ~= task._co then
    fail("%s: called in a coroutine of your own, which cannot wait for the event loop; call it in the task itself", name)
  elseif not isyieldable() then
    fail("%s: a task cannot wait inside a function that C code calls (a comparison in table.sort, a replacement in " ..
      "string.gsub, require, load); wait before or after it", name)
  end
  return task
end
kit.enter = enter

-- Waits until somebody wakes the task. Returns CANCEL where it is being cancelled.
local function suspend(task, what)
  if not task._must_cancel then
    task._what = what
    yield(WAITS)
    if not task._must_cancel then
      return nil
    end
  end
  task._must_cancel = false
  return CANCEL
end
kit.suspend, kit.CANCEL = suspend, CANCEL

-- Who wants to know that `task` has ended: a task that waits, or an object with _notify(self, task).
local function watch(task, watcher)
  local list = task._watchers
  if list then
    list[#list + 1] = watcher
  else
    task._watchers = { watcher }
  end
end

local function unwatch(task, watcher)
  local list = task._watchers
  if list then
    for i = #list, 1, -1 do
      if rawequal(list[i], watcher) then
        remove(list, i)
        return
      end
    end
  end
end

local function ended(task, state)
  task._state = state
  task._arguments = false
  live[task] = nil
  live_count = live_count - 1
  local list = task._watchers
  if list then
    task._watchers = false
    for i = 1, #list do
      local watcher = list[i]
      if watcher._notify then
        watcher:_notify(task)
      else
        wake(watcher)
      end
    end
  end
  if task._on_end then
    task._on_end(task)
  end
end

-- What an uncaught error shows of a task that it came through, after the task that it came from, and what was noted
-- where it was caught and raised again.
local frames_of
function frames_of(task)
  return function()
    local parts, value = {}, task._value
    if task._through and rawequal(task._through._value, value) then
      parts[1] = frames_of(task._through)()
    end
    local noted = task._noted and rawequal(task._noted.value, value) and task._noted.frames
    local own = noted or core.traceback(0, task._co) -- the former has all of the latter
    if own ~= "" then
      parts[#parts + 1] = own
    end
    if task._number > 1 then
      parts[#parts + 1] = format("%s: in async.create_task or the like", place_of(task._file, task._line))
    end
    return concat(parts, "\n")
  end
end

local function failed(task, value)
  task._value = value
  core.carry_traceback(value, frames_of(task))
  if getmetatable(value) == Failure and value.kind == "CancelledError" then
    ended(task, CANCELLED)
    return
  elseif not task._gathered then
    lost[task] = true
  end
  ended(task, FAILED)
end

-- What the coroutine of a task has given back.
local function after(task, ok, ...)
  current = nil
  if not ok then
    failed(task, (...))
    return
  elseif (...) == WAITS then
    return
  elseif status(task._co) ~= "dead" then
    local file, line = core.caller(task._co)
    failed(task, format("%s: coroutine.yield in a task, where nothing takes what it yields; async.sleep(0) lets " ..
      "other tasks run", place_of(file, line)))
    return
  end
  local count = select("#", ...)
  task._count = count
  task._value = (...)
  if count > 1 then
    task._values = { ... }
  end
  task._co = false
  ended(task, FINISHED)
end

local function step(task)
  task._queued = false
  if task._started then
    current = task
    after(task, resume(task._co))
    return
  end
  task._started = true
  if task._must_cancel then -- before it began
    ended(task, CANCELLED)
    return
  end
  current = task
  local arguments = task._arguments
  if arguments then
    task._arguments = false
    after(task, resume(task._co, unpack(arguments, 1, arguments.n)))
  else
    after(task, resume(task._co))
  end
end

-- The same where a timeline is recorded: what a task does from one wait to the next is a span.
local function recorded_step(task)
  C.pg_profiler_span_begin(describe(task), "async")
  step(task)
  C.pg_profiler_span_end()
end

-- A task's results, or its error, raised here.
local function outcome(task, name)
  local state = task._state
  if state == FINISHED then
    if task._values then
      return unpack(task._values, 1, task._count)
    elseif task._count == 1 then
      return task._value
    end
    return
  elseif state == FAILED or task._value then
    lost[task] = nil
    if current then
      current._through = task
    end
    error(task._value, 0)
  end
  raise_cancelled(name) -- before it began
end

--- task:cancel(): the task gets an async.CancelledError raised where it waits. false if it has ended already.
function Task:cancel()
  if self._state ~= PENDING then
    return false
  end
  self._must_cancel = true
  local inner = self._awaits
  if inner and inner._state == PENDING then -- first what it waits for; its end wakes this one
    inner:cancel()
  elseif self ~= current then
    wake(self)
  end
  return true
end

--- task:done(): whether it has ended, in whatever way.
function Task:done()
  return self._state ~= PENDING
end

--- task:cancelled(): whether it has ended by being cancelled.
function Task:cancelled()
  return self._state == CANCELLED
end

--- task:result(): what its function returned; raises its error. The task must have ended: async.await(task) waits.
function Task:result()
  if self._state == PENDING then
    fail("result: the task has not ended yet; async.await(task) waits for it")
  end
  return outcome(self, "result")
end

--- task:exception(): the error that it ended with, nil if it succeeded.
function Task:exception()
  if self._state == PENDING then
    fail("exception: the task has not ended yet; async.await(task) waits for it")
  elseif self._state == FAILED then
    lost[self] = nil
    return self._value
  elseif self._state == CANCELLED then
    return async.CancelledError
  end
  return nil
end

local function is_task(value)
  return type(value) == "table" and getmetatable(value) == Task
end

local function need_loop(name)
  if not loop then
    fail("%s: no event loop runs here; call it in a function that async.run(fn) runs", name)
  end
end
kit.need_loop = need_loop

local function spawn(name, fn, ...)
  check_function(name, fn)
  local file, line = core.caller()
  return new_task(fn, file, line, select("#", ...), ...)
end
kit.spawn = spawn

--- async.create_task(fn, ...): fn(...) as a task of its own, which begins when the running one waits next.
function async.create_task(fn, ...)
  need_loop("create_task")
  return spawn("create_task", fn, ...)
end

--- async.current_task(): the running task.
function async.current_task()
  return current
end

--- async.all_tasks(): those that have not ended, in the order of their creation.
function async.all_tasks()
  local list = {}
  for task in pairs(live) do
    list[#list + 1] = task
  end
  sort(list, function(a, b) return a._number < b._number end)
  return list
end

-- ------------------------------------------------------------------------------------------------------- waiting -----
local slot_out = ffi.new("int32_t[1]")

local function start_timer(task, seconds)
  check(library.pg_async_timer_start(slot_out, loop, seconds))
  local slot = slot_out[0]
  timers[slot] = task
  return slot
end

-- Whether the timer has run out; else it is stopped.
local function stop_timer(slot, task)
  if timers[slot] ~= task then
    return true
  end
  timers[slot] = false
  check(library.pg_async_timer_stop(loop, slot))
  return false
end
kit.start_timer, kit.stop_timer = start_timer, stop_timer

--- async.sleep(seconds): lets other tasks run for at least that long; 0: once.
function async.sleep(seconds)
  check_seconds("sleep", seconds)
  local task = enter("sleep")
  if seconds == 0 then
    if not task._must_cancel then
      task._queued = true
      tail = tail + 1
      ready[tail] = task
    end
    if suspend(task, "sleep") == CANCEL then
      raise_cancelled("sleep")
    end
    return
  end
  local slot = start_timer(task, seconds)
  repeat
    if suspend(task, "sleep") == CANCEL then
      stop_timer(slot, task)
      raise_cancelled("sleep")
    end
  until timers[slot] ~= task
end

-- Waits until `inner` has ended. If the waiting task is cancelled, so is `inner` (task:cancel), and its clean-up is waited
-- for. Returns CANCEL then.
local function join(task, inner, what)
  if inner._state ~= PENDING then
    return
  elseif inner == task then
    fail("%s: a task cannot wait for itself", what)
  end
  local cancelled
  watch(inner, task)
  task._awaits = inner
  while inner._state == PENDING do
    if suspend(task, what) == CANCEL then
      cancelled = CANCEL
      inner:cancel() -- has happened already, unless the task was cancelled before it waited
    end
  end
  task._awaits = false
  return cancelled
end

local not_called = "a function is passed and not called, as in function() return f(x) end"

local FUTURE_KIND, POOL_KIND = 11, 12 -- enum pg_shared_kind

-- Futures of pools (perigee.parallel), which can only be there where that module is.
local function is_future(value)
  local parallel = type(value) == "cdata" and core.loaded.parallel
  return parallel and parallel._kit.is_shared(value, FUTURE_KIND)
end

-- Waits for a pool's future as `await` does for a task. A call that has begun in a worker cannot be stopped.
local function await_future(task, future, what)
  if core.loaded.parallel.worker() then -- in a worker it may be this one's to run: waiting does that
    return future:result()
  end
  last_tag = last_tag % 2 ^ 30 + 1
  local tag, entry = last_tag, { task = task, future = future, done = false }
  futures[tag] = entry
  check(library.pg_async_expect_future(loop, future._object, tag))
  local cancelled = false
  repeat
    cancelled = suspend(task, what) == CANCEL
  until entry.done or cancelled
  futures[tag] = nil
  check(library.pg_async_forget_future(loop, tag))
  if cancelled then
    future:cancel()
    raise_cancelled(what)
  elseif future:cancelled() then
    raise_cancelled(what)
  end
  return future:result()
end

-- A task from a task, a function or a pool's future.
local function task_of(name, value)
  if is_task(value) then
    return value
  elseif type(value) == "function" then
    return (spawn(name, value))
  elseif is_future(value) then
    return (spawn(name, async.await, value))
  end
  fail("%s: a task or a function is expected, got %s; %s", name, kind_of(value), not_called)
end

--- async.await(task): waits for a task; its results, or its error. Whoever is cancelled while waiting cancels the task too.
function async.await(task)
  local self = enter("await")
  if is_future(task) then
    return await_future(self, task, "await")
  elseif not is_task(task) then
    fail("await: a task is expected, got %s%s", kind_of(task),
      type(task) == "function" and "; call the function: any function of a task can wait" or "")
  end
  if join(self, task, "await") == CANCEL and task._state ~= FAILED then
    raise_cancelled("await")
  end
  return outcome(task, "await")
end

--- async.run_in_pool(pool, fn, ...): fn(...) in a worker of a pool of perigee.parallel; waits for its results.
function async.run_in_pool(pool, fn, ...)
  local self = enter("run_in_pool")
  local parallel = core.require("parallel")
  if not parallel._kit.is_shared(pool, POOL_KIND) then
    fail("run_in_pool: a pool is expected (parallel.pool(n)), got %s", kind_of(pool))
  end
  check_function("run_in_pool", fn)
  return await_future(self, pool:submit(fn, ...), "run_in_pool")
end

--- async.shield(task): as await, but the task goes on if who waits is cancelled.
function async.shield(task)
  local self = enter("shield")
  task = task_of("shield", task)
  if task == self then
    fail("shield: a task cannot wait for itself")
  end
  while task._state == PENDING do
    watch(task, self)
    local why = suspend(self, "shield")
    unwatch(task, self)
    if why == CANCEL then
      raise_cancelled("shield")
    end
  end
  return outcome(task, "shield")
end

--- async.wait_for(task, seconds): as await, for at most that long; then the task is cancelled, and an async.TimeoutError
--- raised. A function becomes a task.
function async.wait_for(what, seconds)
  local self = enter("wait_for")
  if type(what) == "number" then
    fail("wait_for: the task or function comes first, then the seconds: async.wait_for(task, %s)", kind_of(what))
  end
  check_seconds("wait_for", seconds)
  local task = task_of("wait_for", what)
  if task._state == PENDING then
    local slot = start_timer(self, seconds)
    local timed_out, cancelled = false, false
    watch(task, self)
    self._awaits = task
    while task._state == PENDING do
      if suspend(self, "wait_for") == CANCEL then
        cancelled = true
        task:cancel()
      elseif task._state == PENDING and timers[slot] ~= self and not timed_out then
        timed_out = true
        task:cancel()
      end
    end
    self._awaits = false
    if not timed_out then
      stop_timer(slot, self)
    end
    if cancelled and task._state ~= FAILED then
      raise_cancelled("wait_for")
    elseif timed_out and task._state == CANCELLED then
      raise("TimeoutError", "wait_for: timed out after %g s", seconds)
    end
  end
  return outcome(task, "wait_for")
end

-- Tasks of a list of tasks and functions, without repetitions.
local function tasks_of(name, list)
  if is_task(list) or type(list) ~= "table" then
    fail("%s: a list of tasks or functions is expected, as in async.%s{a, b}, got %s", name, name, kind_of(list))
  end
  local tasks = {}
  for i = 1, #list do
    if not is_task(list[i]) and type(list[i]) ~= "function" and not is_future(list[i]) then
      fail("%s: element %d of the list must be a task or a function, got %s; %s", name, i, kind_of(list[i]), not_called)
    end
  end
  for key in pairs(list) do
    if type(key) ~= "number" or key < 1 or key > #list then
      fail("%s: a list of tasks is expected, but it has a key %s; options are a second table", name, kind_of(key))
    end
  end
  for i = 1, #list do
    tasks[i] = task_of(name, list[i])
  end
  return tasks
end

-- Counts tasks that end; wakes its owner when `enough` says so.
local Group = {}
Group.__index = Group

function Group:_notify(task)
  self.pending = self.pending - 1
  self.last = task
  if self.order then
    self.order[#self.order + 1] = task
  end
  if not self.failed and (task._state == FAILED or (task._state == CANCELLED and self.counts_cancelled)) then
    self.failed = task
  end
  if self.owner and (self.pending == 0 or self.any or (self.failed and self.stop_at_failure)) then
    wake(self.owner)
  end
end

local function group_of(owner, tasks, counts_cancelled)
  local group = setmetatable({ owner = owner, pending = 0, failed = false, any = false, stop_at_failure = false,
    order = false, counts_cancelled = counts_cancelled }, Group)
  for i = 1, #tasks do
    local task = tasks[i]
    if task == owner then
      fail("a task cannot wait for itself")
    elseif task._state == PENDING then
      watch(task, group)
      group.pending = group.pending + 1
    elseif not group.failed and (task._state == FAILED or (task._state == CANCELLED and counts_cancelled)) then
      group.failed = task
    end
  end
  return group
end

local function leave(group, tasks)
  if group.pending > 0 then
    for i = 1, #tasks do
      unwatch(tasks[i], group)
    end
  end
end

local gather_options = { return_exceptions = true }

--- async.gather(list [, {return_exceptions = false}]): waits for tasks and functions, which run at once; the list of their
--- (first) results. The first error is raised at once, the others go on. With return_exceptions a second list has the
--- errors. Being cancelled cancels them all.
function async.gather(list, options, ...)
  local self = enter("gather")
  if select("#", ...) > 0 or is_task(options) or type(options) == "function" then
    fail("gather: one list of tasks is expected, as in async.gather{a, b}")
  end
  options = check_options("gather", options, gather_options)
  local tasks = tasks_of("gather", list)
  local group = group_of(self, tasks, true)
  group.stop_at_failure = not options.return_exceptions
  local cancelled = false
  while group.pending > 0 and not (group.failed and group.stop_at_failure) do
    if suspend(self, "gather") == CANCEL then
      cancelled = true
      group.stop_at_failure = false -- now for the clean-up of all
      for i = 1, #tasks do
        tasks[i]:cancel()
      end
    end
  end
  leave(group, tasks)
  for i = 1, #tasks do -- gather has looked at them, also at those that fail later
    tasks[i]._gathered = true
    lost[tasks[i]] = nil
  end
  if cancelled then
    raise_cancelled("gather")
  end
  if group.failed and group.stop_at_failure then
    return outcome(group.failed, "gather")
  end
  local results, errors = {}, {}
  for i = 1, #tasks do
    if tasks[i]._state == FINISHED then
      results[i] = tasks[i]._value
    else
      errors[i] = tasks[i]:exception()
    end
  end
  return results, options.return_exceptions and errors or nil
end

local wait_options = { timeout = true, return_when = true }
local whens = { ALL_COMPLETED = true, FIRST_COMPLETED = true, FIRST_EXCEPTION = true }

--- async.wait(list [, {timeout =, return_when = "ALL_COMPLETED"}]): waits until all tasks, the first one or the first
--- error ("FIRST_COMPLETED", "FIRST_EXCEPTION") is there, or the time is over: the lists of those that have ended and of
--- those that have not. It raises none of their errors and cancels nothing.
function async.wait(list, options)
  local self = enter("wait")
  options = check_options("wait", options, wait_options)
  local when = options.return_when == nil and "ALL_COMPLETED" or options.return_when
  if not whens[when] then
    fail('wait: return_when is "ALL_COMPLETED", "FIRST_COMPLETED" or "FIRST_EXCEPTION", got %s', kind_of(when))
  end
  if options.timeout ~= nil then
    check_seconds("wait: timeout", options.timeout)
  end
  local tasks = tasks_of("wait", list)
  local group = group_of(self, tasks, false)
  group.any = when == "FIRST_COMPLETED"
  group.stop_at_failure = when == "FIRST_EXCEPTION"
  local slot = options.timeout ~= nil and start_timer(self, options.timeout)
  local cancelled, timed_out = false, false
  while group.pending > 0 and not cancelled and not timed_out and not (group.any and (group.pending < #tasks)) and
    not (group.stop_at_failure and group.failed) do
    cancelled = suspend(self, "wait") == CANCEL
    timed_out = slot and timers[slot] ~= self
  end
  if slot then
    stop_timer(slot, self)
  end
  leave(group, tasks)
  if cancelled then
    raise_cancelled("wait")
  end
  local done, pending = {}, {}
  for i = 1, #tasks do
    local into = tasks[i]._state == PENDING and pending or done
    into[#into + 1] = tasks[i]
  end
  return done, pending
end

--- async.as_completed(list): goes through tasks in the order in which they end: for task in async.as_completed(list).
function async.as_completed(list)
  local self = enter("as_completed")
  local tasks = tasks_of("as_completed", list)
  local group = group_of(self, tasks, false)
  local order, next_one = {}, 0
  for i = 1, #tasks do
    if tasks[i]._state ~= PENDING then
      order[#order + 1] = tasks[i]
    end
  end
  group.order, group.any, group.owner = order, true, false
  return function()
    next_one = next_one + 1
    while not order[next_one] and next_one <= #tasks do
      local task = enter("as_completed")
      group.owner = task -- of a loop that was left, nobody is woken
      local cancelled = suspend(task, "as_completed") == CANCEL
      group.owner = false
      if cancelled then
        raise_cancelled("as_completed")
      end
    end
    return order[next_one]
  end
end

-- ------------------------------------------------------------------------------------------------------ the loop -----
local count_out, records_out = ffi.new("int32_t[1]"), ffi.new("const pg_async_record *[1]")

-- Runs libuv once and wakes whom it has news for. false: nothing happened, and nothing ever will.
local function poll(wait)
  check(library.pg_async_poll(count_out, records_out, loop, wait and 1 or 0))
  local count = count_out[0]
  if count < 0 then
    return false
  end
  local list = records_out[0]
  for i = 0, count - 1 do
    local record = list[i]
    local kind, slot = record.kind, record.slot
    if kind == TIMER then
      local task = timers[slot]
      timers[slot] = false
      if task then
        wake(task)
      end
    elseif kind == REQUEST then
      local request = requests[slot]
      requests[slot] = nil
      request.status = tonumber(record.value)
      if request.task then
        wake(request.task)
      end
    elseif kind == READ or kind == ACCEPT or kind == EXIT then
      local handle = handles[slot]
      if handle then
        handle:_happened(tonumber(record.value), record.data)
      elseif kind == ACCEPT and record.value > 0 then
        check(library.pg_async_close_handle(loop, tonumber(record.value)))
      end
    elseif kind == FUTURE then
      local entry = futures[slot]
      if entry then
        entry.done = true
        wake(entry.task)
      end
    elseif kind == INTERRUPT then
      interrupted = interrupted or waiting_place(main)
      for task in pairs(main._state == PENDING and { [main] = true } or live) do
        task:cancel()
      end
    end
  end
  return true
end

local clock = core.C.pg_timer_now

-- Runs tasks until `over()`; nothing that could go on is an error.
local function drive(over)
  local polled = clock()
  while not over() do
    local last = tail
    local step = C.pg_operations_watched > 0 and C.pg_profiler_recording() ~= 0 and recorded_step or step
    while head <= last do
      local task = ready[head]
      ready[head] = nil
      head = head + 1
      step(task)
    end
    if head > tail then
      head, tail = 1, 0
      if over() then
        break
      end
      if not poll(true) and head > tail then
        return false
      end
      polled = clock()
    elseif clock() - polled > 1e-4 then -- a turn of libuv costs a system call
      poll(false)
      polled = clock()
    end
  end
  return true
end

local function deadlock()
  local tasks, lines = async.all_tasks(), {}
  for i = 1, math.min(#tasks, 10) do
    lines[i] = format("\n  %s: %s waits (%s)", waiting_place(tasks[i]), describe(tasks[i]), tasks[i]._what)
  end
  if #tasks > 10 then
    lines[#lines + 1] = format("\n  and %d more tasks", #tasks - 10)
  end
  return format("run: deadlock: %s, and nothing is left that could wake %s:%s", #tasks == 1 and "the task waits" or
    "all tasks wait", #tasks == 1 and "it" or "one of them", concat(lines))
end

local function report(text)
  io.stderr:write("perigee: ", text, "\n")
end
kit.report = report

local function error_text(task)
  local ok, text = pcall(tostring, task._value)
  return ok and text or "an error that cannot be shown"
end

--- An error that nobody waits for, told at once: that of a server's connection.
function kit.report_failure(task)
  lost[task] = nil
  report(format("%s failed: %s", describe(task), error_text(task)))
end

-- Cancels what still runs and lets it clean up. Returns nil, or what did not want to end.
local function cancel_all()
  local alarm = { _queued = true } -- a timer that wakes nobody
  for attempt = 1, 3 do -- a task that catches its cancellation and waits on is told again
    local tasks = async.all_tasks()
    for i = 1, #tasks do
      tasks[i]:cancel()
    end
    if live_count == 0 then
      return nil
    end
    local slot = start_timer(alarm, 2)
    drive(function() return live_count == 0 or timers[slot] ~= alarm end)
    stop_timer(slot, alarm)
    local task = async.all_tasks()[1]
    if not task then
      return nil
    end
    local text = format("%s was cancelled and does not end; it waits at %s", describe(task), waiting_place(task))
    if attempt == 3 then
      return text
    end
    report(text)
  end
end

local function lost_errors()
  local tasks, lines = {}, {}
  for task in pairs(lost) do
    if not task._gathered and task ~= main then
      tasks[#tasks + 1] = task
    end
  end
  sort(tasks, function(a, b) return a._number < b._number end)
  for i = 1, math.min(#tasks, 10) do
    lines[i] = format("%s failed, and nothing waited for it: %s", describe(tasks[i]), error_text(tasks[i]))
  end
  if #tasks > 10 then
    lines[#lines + 1] = format("%d more tasks failed", #tasks - 10)
  end
  return #tasks > 0 and concat(lines, "\n  "), tasks[1]
end

local loop_out, left_out = ffi.new("pg_async_loop *[1]"), ffi.new("int32_t[1]")

-- After a run, whatever its end. Returns how many streams, servers and processes were still open.
local function close()
  local closing = loop
  loop, current, main, interrupted = nil, nil, nil, nil
  ready, head, tail = {}, 1, 0
  live, live_count, lost = {}, 0, {}
  for _, handle in pairs(handles) do
    handle._slot = nil
  end
  timers, handles, requests = {}, {}, {}
  local kept = futures -- until the loop has forgotten them
  futures = {}
  kit.handles, kit.requests = handles, requests
  check(library.pg_async_close(left_out, closing))
  return left_out[0], kept
end

--- async.run(fn, ...): runs fn(...) as the main task on a new event loop until it ends, cancels what other tasks are left,
--- and returns what fn returned, or raises its error.
function async.run(fn, ...)
  check_function("run", fn)
  if loop then
    fail("run: an event loop runs already; call the function itself, or async.create_task(fn, ...)")
  end
  check(library.pg_async_open(loop_out))
  loop = loop_out[0]
  kit.loop = loop
  kit.handles, kit.requests = handles, requests
  created = 0
  local file, line = core.caller()
  local task = new_task(fn, file, line, select("#", ...), ...)
  main = task
  local over = function() return task._state ~= PENDING end
  local stuck
  local ok, trouble = pcall(function()
    if not drive(over) then
      stuck = deadlock()
    end
    return cancel_all()
  end)
  local lost_text, lost_task = lost_errors()
  local broken = interrupted
  async._left_open = close()
  if not ok then
    error(trouble, 0)
  elseif broken then
    error(broken .. ": interrupted (Ctrl-C)", 0)
  elseif stuck then
    fail("%s", stuck)
  elseif task._state ~= FINISHED and lost_text then -- only one error can be raised
    report(lost_text)
  elseif lost_text then
    lost_text = core.position() .. "run: " .. lost_text
    core.carry_traceback(lost_text, frames_of(lost_task))
    error(lost_text, 0)
  elseif trouble then
    fail("%s", trouble)
  end
  return outcome(task, "run")
end

-- Makes a class's mistakes clear: methods called without their object, and names that it does not have. `hints`: name ->
-- what to write instead; `optional`: fields that may be nil.
local function finish_class(name, class, hints, optional)
  for key, method in pairs(class) do
    if type(method) == "function" and key:sub(1, 1) ~= "_" then
      class[key] = function(self, ...)
        if getmetatable(self) ~= class then
          fail("%s: %s comes first: write object:%s(...), with a colon", key, class._name, key)
        end
        return method(self, ...)
      end
    end
  end
  local known = {}
  for _, from in ipairs { class, class._fields or {}, optional or {} } do
    for key in pairs(from) do
      known[key] = true
    end
  end
  setmetatable(class, { __index = function(_, key)
    if type(key) == "string" and key:sub(1, 1) ~= "_" and not known[key] then
      fail("%s has no '%s'%s", class._name, key, hints and hints[key] and "; " .. hints[key] or
        core.did_you_mean(key, known))
    end
  end })
  async._classes[name] = class
end
kit.finish_class = finish_class

async._classes = {} -- for the test of the annotations
finish_class("Task", Task, { await = "async.await(task) waits for it", wait = "async.await(task) waits for it",
  get = "async.await(task) waits for its result" })
--- A message handler for xpcall: what it catches keeps its frames when it is raised again.
function kit.note_frames(value)
  if current then
    current._noted = { value = value, frames = core.traceback(2) }
  end
  return value
end

kit.async, kit.new_task = async, new_task
for _, part in ipairs { "async_sync", "async_streams" } do
  local text = library.pg_async_source(part .. ".lua")
  local chunk, syntax = _G.load(ffi.string(text), "@perigee:" .. part, "t")
  if not chunk then
    core.internal("%s does not load: %s", part, syntax)
  end
  chunk(core, library, kit)
end

return async
