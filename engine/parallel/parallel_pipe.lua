-- Pipes: two ends that send each other values, over a queue each way.
local core, kit = ...
local fail, type, tostring, rawget, setmetatable = core.fail, type, tostring, rawget, setmetatable
local getmetatable = debug.getmetatable

local parallel, kind_of = kit.parallel, kit.kind_of
local queues = kit.shared_methods[9] -- PG_SHARED_QUEUE
local put, get, close = queues.put, queues.get, queues.close

local methods = {}
local connection = {
  __index = function(_, key)
    return methods[key] or fail("a connection has no method '%s'%s", tostring(key), core.did_you_mean(key, methods))
  end,
  __newindex = function(_, key)
    fail("the field '%s' of a connection cannot be assigned", tostring(key))
  end,
  __tostring = function(c)
    return ("connection (%d to receive%s)"):format(c._from.size, c._from.closed and ", closed" or "")
  end,
}
core.class(connection, "parallel.connection")

local function need_connection(name, c)
  if type(c) ~= "table" or getmetatable(c) ~= connection then
    fail("%s: a connection is expected before the colon, got %s", name, kind_of(c))
  end
end

--- parallel.pipe([capacity]): two connected ends, for two workers or a worker and the script. With a capacity, send waits
--- while so many values are on their way.
function parallel.pipe(capacity)
  if capacity ~= nil then
    kit.need_count("pipe", "its capacity", capacity, 1)
  end
  local there, back = parallel.queue(capacity), parallel.queue(capacity)
  return setmetatable({ _to = there, _from = back }, connection), setmetatable({ _to = back, _from = there }, connection)
end

--- c:send(value [, timeout]): sends a value other than nil; false if there was no room in time.
function methods.send(c, value, timeout)
  need_connection("send", c)
  if value == nil then
    fail("send: nil cannot be sent; it stands for the end (c:close())")
  end
  return (put(c._to, value, timeout))
end

--- c:recv([timeout]): the next value; nil and "closed" when the other end has closed and all was received, nil and
--- "timeout" when none came in time.
function methods.recv(c, timeout)
  need_connection("recv", c)
  return get(c._from, timeout)
end

--- c:poll(): whether recv would return at once.
function methods.poll(c)
  need_connection("poll", c)
  return rawget(c, "_from").size > 0 or rawget(c, "_from").closed
end

--- c:close(): no more is sent from this end; what was sent can be received.
function methods.close(c)
  need_connection("close", c)
  close(c._to)
end
