-- What tasks coordinate with: queues, events, locks and semaphores. All waiters are served in the order in which they came.
local core, _, kit = ...
local fail = core.fail
local async, enter, suspend, wake, CANCEL = kit.async, kit.enter, kit.suspend, kit.wake, kit.CANCEL
local kind_of, raise_cancelled, check_options = kit.kind_of, kit.raise_cancelled, kit.check_options
local setmetatable, type, select, error, xpcall = setmetatable, type, select, error, xpcall

-- --------------------------------------------------------------------------------------------------- lists of waiters -
-- {first =, last =, [first] = task, ...}; false where a task has left.
local function waiters()
  return { first = 1, last = 0 }
end

-- The next one, taken out; nil where there is none.
local function take(list)
  while list.first <= list.last do
    local task = list[list.first]
    list[list.first] = nil
    list.first = list.first + 1
    if task then
      return task
    end
  end
end

local function wake_next(list)
  local task = take(list)
  if task then
    wake(task)
  end
  return task
end

-- Waits in the list until somebody takes the task out of it. Returns whether the task was taken out, and whether it is
-- being cancelled (both, where it was cancelled after its turn had come).
local function park(list, task, what)
  local at = list.last + 1
  list.last = at
  list[at] = task
  local cancelled = false
  repeat
    cancelled = suspend(task, what) == CANCEL
  until cancelled or list[at] ~= task
  local taken = list[at] ~= task
  if not taken then
    list[at] = false
  end
  return taken, cancelled
end

-- object:with(fn, ...) between its acquire and release.
local function with(name)
  local function leave(object, ok, ...)
    object:release()
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return function(object, fn, ...)
    if type(fn) ~= "function" then
      fail("%s:with: a function is expected, got %s", name, kind_of(fn))
    end
    object:acquire()
    return leave(object, xpcall(fn, kit.note_frames, ...))
  end
end

-- --------------------------------------------------------------------------------------------------------- event -----
local Event = { _name = "an event" }
Event.__index = Event

--- async.event(): something that happens: tasks wait for it until one sets it.
function async.event()
  return setmetatable({ _set = false, _waiters = waiters() }, Event)
end

function Event:set()
  self._set = true
  while wake_next(self._waiters) do
  end
end

function Event:clear()
  self._set = false
end

function Event:is_set()
  return self._set
end

--- event:wait(): until the event is set; at once if it is.
function Event:wait()
  local task = enter("event:wait")
  if not self._set then
    local _, cancelled = park(self._waiters, task, "event:wait")
    if cancelled then
      raise_cancelled("event:wait")
    end
  end
end

-- --------------------------------------------------------------------------------------------- locks, semaphores -----
local Semaphore = { _name = "a semaphore" }
Semaphore.__index = Semaphore

--- async.semaphore([n]): lets n tasks in at a time.
function async.semaphore(n)
  n = n == nil and 1 or n
  if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
    fail("semaphore: how many may enter is an integer, 0 or more, got %s", kind_of(n))
  end
  return setmetatable({ _free = n, _waiters = waiters() }, Semaphore)
end

-- A place is handed to the waiter that comes next, so that nobody overtakes it.
local function acquire(self, what)
  local task = enter(what)
  if self._free > 0 then
    self._free = self._free - 1
    return
  end
  local taken, cancelled = park(self._waiters, task, what)
  if cancelled then
    if taken then
      self:_release()
    end
    raise_cancelled(what)
  end
end

function Semaphore:_release()
  if not wake_next(self._waiters) then
    self._free = self._free + 1
  end
end

function Semaphore:acquire()
  acquire(self, "semaphore:acquire")
end

function Semaphore:release()
  self:_release()
end

--- semaphore:locked(): whether acquire would wait.
function Semaphore:locked()
  return self._free == 0
end

--- semaphore:with(fn, ...): fn(...) between acquire and release.
Semaphore.with = with("semaphore")

local Lock = { _name = "a lock" }
Lock.__index = Lock

--- async.lock(): lets one task in at a time.
function async.lock()
  return setmetatable({ _free = 1, _waiters = waiters() }, Lock)
end

Lock._release = Semaphore._release

function Lock:acquire()
  acquire(self, "lock:acquire")
end

function Lock:release()
  if self._free == 1 then
    fail("lock:release: the lock is not held")
  end
  self:_release()
end

function Lock:locked()
  return self._free == 0
end

--- lock:with(fn, ...): fn(...) between acquire and release.
Lock.with = with("lock")

-- --------------------------------------------------------------------------------------------------------- queue -----
local Queue = { _name = "a queue", _fields = { maxsize = true } }
Queue.__index = Queue

--- async.queue([maxsize]): values from tasks for tasks, first in, first out; at most maxsize at a time (0: any number).
function async.queue(maxsize)
  maxsize = maxsize == nil and 0 or maxsize
  if type(maxsize) ~= "number" or maxsize % 1 ~= 0 or maxsize < 0 then
    fail("queue: its size is an integer, 0 (any number) or more, got %s", kind_of(maxsize))
  end
  return setmetatable({ maxsize = maxsize, _first = 1, _last = 0, _unfinished = 0, _getters = waiters(),
    _putters = waiters(), _joiners = waiters() }, Queue)
end

function Queue:qsize()
  return self._last - self._first + 1
end

function Queue:empty()
  return self._last < self._first
end

function Queue:full()
  return self.maxsize > 0 and self:qsize() >= self.maxsize
end

local function put(self, value)
  self._last = self._last + 1
  self[self._last] = value
  self._unfinished = self._unfinished + 1
  wake_next(self._getters)
end

local function get(self)
  local first = self._first
  local value = self[first]
  self[first] = nil
  if first == self._last then
    self._first, self._last = 1, 0
  else
    self._first = first + 1
  end
  wake_next(self._putters)
  return value
end

local function check_value(name, value)
  if value == nil then
    fail("queue:%s: nil cannot be put into a queue", name)
  end
end

--- queue:put(value): waits while the queue is full.
function Queue:put(value)
  check_value("put", value)
  local task = enter("queue:put")
  while self:full() do
    local taken, cancelled = park(self._putters, task, "queue:put")
    if cancelled then
      if taken and not self:full() then
        wake_next(self._putters)
      end
      raise_cancelled("queue:put")
    end
  end
  put(self, value)
end

--- queue:put_nowait(value): whether there was room.
function Queue:put_nowait(value)
  check_value("put_nowait", value)
  if self:full() then
    return false
  end
  put(self, value)
  return true
end

--- queue:get(): the next value; waits while there is none.
function Queue:get()
  local task = enter("queue:get")
  while self._last < self._first do
    local taken, cancelled = park(self._getters, task, "queue:get")
    if cancelled then
      if taken and self._last >= self._first then
        wake_next(self._getters)
      end
      raise_cancelled("queue:get")
    end
  end
  return (get(self))
end

--- queue:get_nowait(): the next value, nil where there is none.
function Queue:get_nowait()
  if self._last < self._first then
    return nil
  end
  return (get(self))
end

--- queue:task_done(): says that a value from get has been dealt with, for join.
function Queue:task_done()
  if self._unfinished == 0 then
    fail("queue:task_done: called more often than values were put")
  end
  self._unfinished = self._unfinished - 1
  if self._unfinished == 0 then
    while wake_next(self._joiners) do
    end
  end
end

--- queue:join(): waits until task_done has been called for each value that was put.
function Queue:join()
  local task = enter("queue:join")
  if self._unfinished > 0 then
    local _, cancelled = park(self._joiners, task, "queue:join")
    if cancelled then
      raise_cancelled("queue:join")
    end
  end
end

Event.__tostring = function(e) return e._set and "event (set)" or "event (not set)" end
Lock.__tostring = function(l) return l._free == 1 and "lock (free)" or "lock (held)" end
Semaphore.__tostring = function(s) return ("semaphore (%d free)"):format(s._free) end
Queue.__tostring = function(q)
  return ("queue (%d values%s)"):format(q:qsize(), q.maxsize > 0 and ", at most " .. q.maxsize or "")
end
kit.finish_class("AsyncEvent", Event)
kit.finish_class("AsyncLock", Lock, { lock = "acquire", unlock = "release" })
kit.finish_class("AsyncSemaphore", Semaphore)
kit.finish_class("AsyncQueue", Queue, { push = "put", pop = "get", try_get = "get_nowait", try_put = "put_nowait" })
