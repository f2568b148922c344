-- Queues between workers. Numbers go through the FFI as they are; all else is packed by the transport.
local core, kit = ...
local C, ffi, natives = core.C, core.ffi, core.natives.parallel
local fail, check, type, tonumber, istype, format, gsub = core.fail, core.check, type, tonumber, ffi.istype, string.format,
  string.gsub

local parallel, kind_of, me, shared_t = kit.parallel, kit.kind_of, kit.me, kit.shared_t
local seconds, mark, wrong_self = kit.seconds, kit.mark, kit.wrong_self
local pack, unpack = natives.pack, natives.unpack

local QUEUE = 9 -- enum pg_shared_kind
local CLOSED, PARCEL = 2, 3
local methods, getters = kit.shared_methods[QUEUE], kit.shared_getters[QUEUE]
local done, number = ffi.new("int32_t[1]"), ffi.new("double[1]")

--- parallel.queue([capacity]): values first in, first out; with a capacity, put waits while it is full.
function parallel.queue(capacity)
  if capacity ~= nil then
    kit.need_count("queue", "its capacity", capacity, 1)
  end
  return kit.new_shared(C.pg_queue_create, capacity or 0)
end

local function need_queue(name, q)
  if not istype(shared_t, q) or q._kind ~= QUEUE then
    wrong_self(name, QUEUE, q)
  end
end

--- q:put(value [, timeout]): adds a value, which travels as arguments of tasks do. False if there was no room in time.
--- nil cannot be put: get() returns it at the end of a queue that is closed.
function methods.put(q, value, timeout)
  need_queue("put", q)
  local x, parcel = value, 0
  if type(value) ~= "number" then
    if value == nil then
      fail("put: nil cannot be put into a queue; it stands for the end (q:close())")
    end
    local fine, reason = pack(me, value)
    if not fine then
      fail("put: %s cannot be put into a queue", (gsub(reason, "\1", "the value")))
    end
    x, parcel = 0, 1
  end
  check(C.pg_queue_put(q._object, me, 0, x, parcel, done))
  if done[0] == 0 and timeout ~= 0 then
    timeout = seconds("put", timeout)
    mark()
    check(C.pg_queue_put(q._object, me, timeout, x, parcel, done))
  end
  return done[0] ~= 0
end

--- q:get([timeout]): the oldest value; nil and "closed" when the queue was closed and is empty, nil and "timeout" when
--- none came in time.
function methods.get(q, timeout)
  need_queue("get", q)
  check(C.pg_queue_get(q._object, me, 0, number, done))
  if done[0] == 0 and timeout ~= 0 then
    timeout = seconds("get", timeout)
    mark()
    check(C.pg_queue_get(q._object, me, timeout, number, done))
  end
  local how = done[0]
  if how == 1 then
    return number[0]
  elseif how == PARCEL then
    return (unpack(me))
  end
  return nil, how == CLOSED and "closed" or "timeout"
end

--- for value in q:values() do: takes values until the queue is closed and empty.
function methods.values(q)
  need_queue("values", q)
  return function()
    return (methods.get(q))
  end
end

--- q:close(): no more puts; what is there can still be taken.
function methods.close(q)
  need_queue("close", q)
  C.pg_queue_close(q._object)
end

getters.size = function(q) return tonumber(C.pg_queue_state(q._object, 0)) end
getters.capacity = function(q)
  local capacity = tonumber(C.pg_queue_state(q._object, 1))
  return capacity > 0 and capacity or math.huge
end
getters.closed = function(q) return C.pg_queue_state(q._object, 2) ~= 0 end
kit.shared_describe[QUEUE] = function(q)
  return format("%d%s%s", q.size, q.capacity < math.huge and format(" of %d", q.capacity) or "", q.closed and ", closed" or "")
end
