-- Objects that several Lua states share (pg_shared): one ctype, its methods by kind.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, check, type, tonumber, tostring, format = core.fail, core.check, type, tonumber, tostring, string.format
local cast, istype, pcall, error, sub = ffi.cast, ffi.istype, pcall, error, string.sub

local parallel, kind_of = kit.parallel, kit.kind_of

local shared_t = ffi.typeof("pg_shared")

-- enum pg_shared_kind
local kinds = { [0] = "released object", "atomic", "mutex", "rwlock", "semaphore", "barrier", "condition", "event", "latch",
  "queue", "thread_local", "future", "pool", "atomic", "job" }
local methods = {}  -- kind -> {name -> method}
local getters = {}  -- kind -> {name -> function that gives a field's value}
local describe = {} -- kind -> function that gives what tostring shows after the kind
local fields = {}   -- kind -> {get = function(object, key), set = function(object, key, value)}, for any other key
for kind = 0, #kinds do
  methods[kind], getters[kind] = {}, {}
end

-- "a mutex", "an event"
local function a_kind(kind)
  return (kinds[kind]:find("^[aeiou]") and "an " or "a ") .. kinds[kind]
end

local function no_field(object, key)
  local kind = object._kind
  fail("%s has no field or method '%s'%s", a_kind(kind), tostring(key),
    core.did_you_mean(key, methods[kind], getters[kind]))
end

ffi.metatype(shared_t, {
  __index = function(object, key)
    local kind = object._kind
    local method = methods[kind][key]
    if method then
      return method
    end
    local get = getters[kind][key]
    if get then
      return (get(object))
    end
    local free = fields[kind]
    if free then
      return (free.get(object, key))
    end
    no_field(object, key)
  end,
  __newindex = function(object, key, value)
    local free = fields[object._kind]
    if free then
      free.set(object, key, value)
      return
    end
    fail("the field '%s' of %s cannot be assigned", tostring(key), a_kind(object._kind))
  end,
  -- Two states, or one that was sent an object back, may hold several structs for one object.
  __eq = function(a, b)
    return istype(shared_t, a) and istype(shared_t, b) and a._object == b._object
  end,
  __tostring = function(object)
    local more = describe[object._kind]
    return kinds[object._kind] .. (more and " (" .. more(object) .. ")" or "")
  end,
  __gc = C.pg_shared_release,
})

--- kit.new_shared(f, ...): the object that f(out, ...) makes; it gives its reference up when it is collected.
function kit.new_shared(f, ...)
  local object = shared_t()
  check(f(object, ...))
  return object
end

--- kit.is_shared(x [, kind]): whether x is a shared object, of this kind.
function kit.is_shared(x, kind)
  return istype(shared_t, x) and (kind == nil or x._kind == kind)
end

--- kit.adopt_shared(address, kind): a struct for the object at an address (a number), whose reference it takes over.
function kit.adopt_shared(address, kind)
  local object = shared_t()
  object._object = cast("void *", address)
  object._kind = kind
  return object
end

kit.shared_kinds, kit.shared_methods, kit.shared_getters, kit.shared_describe = kinds, methods, getters, describe
kit.shared_fields, kit.shared_t = fields, shared_t

-- ------------------------------------------------------------------------------------------------------- waiting -----
-- This state as one that holds locks and waits (pg_participant).
local me = C.pg_participant_open()
kit.me = me
core.natives.parallel.take_part(me)

-- timer.sleep, now that there may be somebody who ends it.
function core.sleep(seconds)
  check(C.pg_participant_sleep(me, seconds))
end

local huge = math.huge
local done = ffi.new("int32_t[1]")

-- Tells where the script is, for messages about the wait that follows.
local function mark()
  C.pg_participant_at(me, sub(core.position(), 1, -3)) -- without the colon
end
kit.mark = mark

-- A timeout in seconds; nil is none.
local function seconds(name, timeout)
  if timeout == nil then
    return huge
  elseif type(timeout) ~= "number" or not (timeout >= 0) then
    fail("%s: a timeout is a number of seconds, 0 or more, got %s", name, kind_of(timeout))
  end
  return timeout
end
kit.seconds = seconds

-- f(object, me, timeout, done) of sync_abi.h: tried at once, and only where it must wait with all that belongs to it.
local function wait(f, object, timeout)
  check(f(object._object, me, 0, done))
  if done[0] ~= 0 then
    return true
  elseif timeout == 0 then
    return false
  end
  mark()
  check(f(object._object, me, timeout, done))
  return done[0] ~= 0
end
kit.wait = wait

local function need_count(name, what, n, least)
  if type(n) ~= "number" or n % 1 ~= 0 or n < least or n > 2 ^ 53 then
    fail("%s: %s is an integer, %d or more, got %s", name, what, least, kind_of(n))
  end
  return n
end
kit.need_count = need_count

-- The object before the colon.
local function wrong_self(name, kind, object)
  fail("%s: %s is expected before the colon, got %s", name, a_kind(kind),
    istype(shared_t, object) and a_kind(object._kind) or kind_of(object))
end
kit.wrong_self = wrong_self

-- Calls fn with a lock held, and unlocks on errors too.
local function finish(unlock, object, fine, ...)
  if not fine then
    pcall(unlock, object) -- it may have been unlocked inside
    error((...), 0)
  end
  unlock(object)
  return ...
end

local function need_function(name, fn)
  if type(fn) ~= "function" then
    fail("%s: a function is expected, got %s", name, kind_of(fn))
  end
end

-- ------------------------------------------------------------------------------------------------------- mutex -------
local MUTEX, RWLOCK, SEMAPHORE, BARRIER, CONDITION, EVENT, LATCH, LOCAL = 2, 3, 4, 5, 6, 7, 8, 10
local mutex = methods[MUTEX]

--- parallel.mutex(): a lock that one at a time may hold.
function parallel.mutex()
  return kit.new_shared(C.pg_mutex_create)
end

local function lock_slowly(m, timeout)
  mark()
  check(C.pg_mutex_lock(m._object, me, timeout, done))
  return done[0] ~= 0
end

local function lock(m)
  if not istype(shared_t, m) or m._kind ~= MUTEX then
    wrong_self("lock", MUTEX, m)
  end
  if C.pg_mutex_try(m._object, me) ~= 1 then
    lock_slowly(m, huge)
  end
end
mutex.lock = lock

--- m:try_lock([timeout]): whether it could be locked, at once or within `timeout` seconds.
function mutex.try_lock(m, timeout)
  if not istype(shared_t, m) or m._kind ~= MUTEX then
    wrong_self("try_lock", MUTEX, m)
  end
  local got = C.pg_mutex_try(m._object, me)
  if got == 1 then
    return true
  elseif timeout == nil or timeout == 0 then
    return false
  end
  return (lock_slowly(m, seconds("try_lock", timeout)))
end

local function unlock(m)
  if not istype(shared_t, m) or m._kind ~= MUTEX then
    wrong_self("unlock", MUTEX, m)
  end
  local status = C.pg_mutex_unlock(m._object, me)
  if status ~= 0 then
    check(status)
  end
end
mutex.unlock = unlock

--- m:with(fn, ...): fn(...) with the mutex locked; unlocks it on errors too. Returns what fn returns.
function mutex.with(m, fn, ...)
  need_function("with", fn)
  lock(m)
  return finish(unlock, m, pcall(fn, ...))
end

getters[MUTEX].locked = function(m)
  return C.pg_mutex_state(m._object, me) ~= 0
end
describe[MUTEX] = function(m)
  local state = C.pg_mutex_state(m._object, me)
  return state == 2 and "locked here" or state == 1 and "locked by another" or "not locked"
end

-- --------------------------------------------------------------------------------------------- read-write lock -------
local rwlock = methods[RWLOCK]

--- parallel.rwlock(): a lock that many may hold for reading, or one for writing.
function parallel.rwlock()
  return kit.new_shared(C.pg_rwlock_create)
end

local function rw_lock(name, object, write, timeout)
  if not istype(shared_t, object) or object._kind ~= RWLOCK then
    wrong_self(name, RWLOCK, object)
  end
  check(C.pg_rwlock_lock(object._object, me, write, 0, done))
  if done[0] == 0 and timeout ~= 0 then
    mark()
    check(C.pg_rwlock_lock(object._object, me, write, timeout, done))
  end
  return done[0] ~= 0
end
local function rw_unlock(name, object, write)
  if not istype(shared_t, object) or object._kind ~= RWLOCK then
    wrong_self(name, RWLOCK, object)
  end
  check(C.pg_rwlock_unlock(object._object, me, write))
end

function rwlock.lock_read(object) rw_lock("lock_read", object, 0, huge) end
function rwlock.lock_write(object) rw_lock("lock_write", object, 1, huge) end
function rwlock.try_lock_read(object, timeout)
  return (rw_lock("try_lock_read", object, 0, timeout == nil and 0 or seconds("try_lock_read", timeout)))
end
function rwlock.try_lock_write(object, timeout)
  return (rw_lock("try_lock_write", object, 1, timeout == nil and 0 or seconds("try_lock_write", timeout)))
end
function rwlock.unlock_read(object) rw_unlock("unlock_read", object, 0) end
function rwlock.unlock_write(object) rw_unlock("unlock_write", object, 1) end

--- rw:with_read(fn, ...), rw:with_write(fn, ...): fn(...) with the lock held; unlocks on errors too.
function rwlock.with_read(object, fn, ...)
  need_function("with_read", fn)
  rwlock.lock_read(object)
  return finish(rwlock.unlock_read, object, pcall(fn, ...))
end
function rwlock.with_write(object, fn, ...)
  need_function("with_write", fn)
  rwlock.lock_write(object)
  return finish(rwlock.unlock_write, object, pcall(fn, ...))
end

-- --------------------------------------------------------------------------------------------------- semaphore -------
local semaphore = methods[SEMAPHORE]

--- parallel.semaphore([value]): a counter (1 at first unless given) that acquire takes one from, waiting while it is 0.
function parallel.semaphore(value)
  value = value == nil and 1 or need_count("semaphore", "its value", value, 0)
  return kit.new_shared(C.pg_semaphore_create, value)
end

--- s:acquire([timeout]): takes one; false if none came within `timeout` seconds.
function semaphore.acquire(s, timeout)
  if not istype(shared_t, s) or s._kind ~= SEMAPHORE then
    wrong_self("acquire", SEMAPHORE, s)
  end
  return (wait(C.pg_semaphore_acquire, s, seconds("acquire", timeout)))
end

--- s:release([n]): gives one back, or n.
function semaphore.release(s, n)
  if not istype(shared_t, s) or s._kind ~= SEMAPHORE then
    wrong_self("release", SEMAPHORE, s)
  end
  check(C.pg_semaphore_release(s._object, me, n == nil and 1 or need_count("release", "the count", n, 1)))
end

--- s:with(fn, ...): fn(...) between acquire and release.
function semaphore.with(s, fn, ...)
  need_function("with", fn)
  semaphore.acquire(s)
  return finish(semaphore.release, s, pcall(fn, ...))
end

getters[SEMAPHORE].value = function(s)
  return tonumber(C.pg_semaphore_value(s._object))
end
describe[SEMAPHORE] = function(s)
  return format("%d", tonumber(C.pg_semaphore_value(s._object)))
end

-- ----------------------------------------------------------------------------------------------------- barrier -------
local barrier, place = methods[BARRIER], ffi.new("int64_t[1]")

--- parallel.barrier(n): where n meet: wait() returns when n have come, over and over.
function parallel.barrier(n)
  return kit.new_shared(C.pg_barrier_create, need_count("barrier", "how many meet", n, 1))
end

--- b:wait([timeout]): waits for the others; returns who this is, from 1 for the first to n for the last. When time is up
--- the barrier breaks, which is an error here and for all who wait.
function barrier.wait(b, timeout)
  if not istype(shared_t, b) or b._kind ~= BARRIER then
    wrong_self("wait", BARRIER, b)
  end
  timeout = seconds("wait", timeout)
  mark()
  check(C.pg_barrier_wait(b._object, me, timeout, place))
  return tonumber(place[0])
end

--- b:abort(): breaks it: an error for all who wait or come.
function barrier.abort(b)
  if not istype(shared_t, b) or b._kind ~= BARRIER then
    wrong_self("abort", BARRIER, b)
  end
  C.pg_barrier_abort(b._object)
end

--- b:reset(): mends it; an error for those who wait.
function barrier.reset(b)
  if not istype(shared_t, b) or b._kind ~= BARRIER then
    wrong_self("reset", BARRIER, b)
  end
  C.pg_barrier_reset(b._object)
end

getters[BARRIER].parties = function(b) return tonumber(C.pg_barrier_state(b._object, 0)) end
getters[BARRIER].waiting = function(b) return tonumber(C.pg_barrier_state(b._object, 1)) end
getters[BARRIER].broken = function(b) return C.pg_barrier_state(b._object, 2) ~= 0 end
describe[BARRIER] = function(b)
  return format("%d of %d%s", b.waiting, b.parties, b.broken and ", broken" or "")
end

-- --------------------------------------------------------------------------------------------------- condition -------
local condition = methods[CONDITION]

--- parallel.condition([mutex]): where to wait for a change of what a mutex protects; without one it has its own, c.mutex.
function parallel.condition(m)
  if m ~= nil and not kit.is_shared(m, MUTEX) then
    fail("condition: a mutex is expected, got %s", kind_of(m))
  end
  return kit.new_shared(C.pg_condition_create, m and m._object or nil)
end

--- c:wait([timeout]): unlocks the mutex, waits for a notification, locks it again; false when time was up.
function condition.wait(c, timeout)
  if not istype(shared_t, c) or c._kind ~= CONDITION then
    wrong_self("wait", CONDITION, c)
  end
  timeout = seconds("wait", timeout)
  mark()
  check(C.pg_condition_wait(c._object, me, timeout, done))
  return done[0] ~= 0
end

--- c:wait_for(predicate [, timeout]): waits until predicate() is true, which it asks with the mutex locked; returns its
--- last value.
function condition.wait_for(c, predicate, timeout)
  need_function("wait_for", predicate)
  local limit = seconds("wait_for", timeout)
  local ends = limit < huge and C.pg_timer_now() + limit or huge
  local value = predicate()
  while not value do
    local left = ends - C.pg_timer_now()
    if left <= 0 then
      return value
    end
    condition.wait(c, left)
    value = predicate()
  end
  return value
end

--- c:notify([n]): wakes one that waits, or n; the mutex must be locked.
function condition.notify(c, n)
  if not istype(shared_t, c) or c._kind ~= CONDITION then
    wrong_self("notify", CONDITION, c)
  end
  check(C.pg_condition_notify(c._object, me, n == nil and 1 or need_count("notify", "the count", n, 1)))
end
function condition.notify_all(c)
  if not istype(shared_t, c) or c._kind ~= CONDITION then
    wrong_self("notify_all", CONDITION, c)
  end
  check(C.pg_condition_notify(c._object, me, -1))
end

getters[CONDITION].mutex = function(c)
  local m = shared_t()
  C.pg_condition_mutex(c._object, m)
  return m
end

--- c:with(fn, ...): fn(...) with its mutex locked.
function condition.with(c, fn, ...)
  if not istype(shared_t, c) or c._kind ~= CONDITION then
    wrong_self("with", CONDITION, c)
  end
  return mutex.with(c.mutex, fn, ...)
end

-- ------------------------------------------------------------------------------------------------- event, latch ------
local event, latch = methods[EVENT], methods[LATCH]

--- parallel.event(): a flag that is set once or again, and can be waited for.
function parallel.event()
  return kit.new_shared(C.pg_event_create)
end
local function need_event(name, e)
  if not istype(shared_t, e) or e._kind ~= EVENT then
    wrong_self(name, EVENT, e)
  end
end
function event.set(e)
  need_event("set", e)
  C.pg_event_set(e._object, me, 1)
end
function event.clear(e)
  need_event("clear", e)
  C.pg_event_set(e._object, me, 0)
end
function event.is_set(e)
  need_event("is_set", e)
  return C.pg_event_is_set(e._object, me) ~= 0
end
--- e:wait([timeout]): waits until it is set; false when time was up.
function event.wait(e, timeout)
  need_event("wait", e)
  return (wait(C.pg_event_wait, e, seconds("wait", timeout)))
end
describe[EVENT] = function(e)
  return event.is_set(e) and "set" or "not set"
end

--- parallel.latch(n): opens for ever once count_down() was called n times.
function parallel.latch(n)
  return kit.new_shared(C.pg_latch_create, need_count("latch", "its count", n, 0))
end
local function need_latch(name, l)
  if not istype(shared_t, l) or l._kind ~= LATCH then
    wrong_self(name, LATCH, l)
  end
end
function latch.count_down(l, n)
  need_latch("count_down", l)
  check(C.pg_latch_count_down(l._object, me, n == nil and 1 or need_count("count_down", "the count", n, 1)))
end
--- l:wait([timeout]): waits until it opens; false when time was up.
function latch.wait(l, timeout)
  need_latch("wait", l)
  return (wait(C.pg_latch_wait, l, seconds("wait", timeout)))
end
getters[LATCH].count = function(l) return tonumber(C.pg_latch_count(l._object)) end
describe[LATCH] = function(l) return format("%d", l.count) end

-- --------------------------------------------------------------------------------------------- thread-local values ---
local locals = {} -- id -> the table of this state

--- parallel.thread_local(): an object whose fields every worker has to itself.
function parallel.thread_local()
  return kit.new_shared(C.pg_local_create)
end
local function local_table(object)
  local id = tonumber(C.pg_local_id(object._object))
  local values = locals[id]
  if not values then
    values = {}
    locals[id] = values
  end
  return values
end
fields[LOCAL] = {
  get = function(object, key) return local_table(object)[key] end,
  set = function(object, key, value) local_table(object)[key] = value end,
}
