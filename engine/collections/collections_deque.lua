-- Double-ended queues: a ring of 2^k slots, numbered from 0, that doubles when it is full.
local core, kit = ...
local fail, tostring = core.fail, tostring
local type, getmetatable, setmetatable, band, huge = type, getmetatable, setmetatable, bit.band, math.huge
local new_table = require "table.new"

local methods = {}

local function list_of(d)
  local list, ring, first, mask = new_table(d._count, 0), d._ring, d._first, d._mask
  for i = 1, d._count do
    list[i] = ring[band(first + i - 1, mask)]
  end
  return list, d._count
end

local meta = kit.metatable("deque", methods, list_of)

local function check_self(method, d)
  if getmetatable(d) ~= meta then
    kit.wrong_self("deque", method, d)
  end
end

local function grow(d)
  local slots = 2 * (d._mask + 1)
  local ring, old, first, mask = new_table(slots, 0), d._ring, d._first, d._mask
  for i = 0, d._count - 1 do
    ring[i] = old[band(first + i, mask)]
  end
  d._ring, d._first, d._mask = ring, 0, slots - 1
end

local function no_nil(method)
  fail("%s: nil cannot be in a deque", method)
end

local function push_back(method, d, value)
  if value == nil then
    no_nil(method)
  end
  local count, dropped = d._count, nil
  if count == d._maxlen then
    if count == 0 then
      return value
    end
    local ring, first = d._ring, d._first
    dropped = ring[first]
    ring[first] = nil
    d._first = band(first + 1, d._mask)
    count = count - 1
  elseif count > d._mask then
    grow(d)
  end
  d._ring[band(d._first + count, d._mask)] = value
  d._count = count + 1
  return dropped
end

local function push_front(method, d, value)
  if value == nil then
    no_nil(method)
  end
  local count, dropped = d._count, nil
  if count == d._maxlen then
    if count == 0 then
      return value
    end
    local ring, last = d._ring, band(d._first + count - 1, d._mask)
    dropped = ring[last]
    ring[last] = nil
    count = count - 1
  elseif count > d._mask then
    grow(d)
  end
  local first = band(d._first - 1, d._mask)
  d._ring[first] = value
  d._first = first
  d._count = count + 1
  return dropped
end

--- d:push_back(value), d:push_front(value): any value but nil. A full deque (maxlen) drops the value at the other end and
--- returns it.
function methods.push_back(d, value)
  check_self("push_back", d)
  return (push_back("push_back", d, value))
end
function methods.push_front(d, value)
  check_self("push_front", d)
  return (push_front("push_front", d, value))
end

local function empty(method)
  fail("%s: the deque is empty", method)
end

--- d:pop_back(), d:pop_front(): take the value at that end out and return it; an error if the deque is empty.
function methods.pop_back(d)
  check_self("pop_back", d)
  local count = d._count
  if count == 0 then
    empty("pop_back")
  end
  local ring, last = d._ring, band(d._first + count - 1, d._mask)
  local value = ring[last]
  ring[last] = nil
  d._count = count - 1
  return value
end
function methods.pop_front(d)
  check_self("pop_front", d)
  local count, first = d._count, d._first
  if count == 0 then
    empty("pop_front")
  end
  local ring = d._ring
  local value = ring[first]
  ring[first] = nil
  d._first = band(first + 1, d._mask)
  d._count = count - 1
  return value
end

--- d:front(), d:back(): the values at the ends; nil if the deque is empty.
function methods.front(d)
  check_self("front", d)
  return d._ring[d._first]
end
function methods.back(d)
  check_self("back", d)
  return d._ring[band(d._first + d._count - 1, d._mask)]
end

--- d:size(): the number of values; d:maxlen(): the most it keeps, or nil.
function methods.size(d)
  check_self("size", d)
  return d._count
end
function methods.maxlen(d)
  check_self("maxlen", d)
  return d._maxlen < huge and d._maxlen or nil
end

local function slot(d, k)
  local count = d._count
  if k >= 1 and k <= count and k % 1 == 0 then
    return band(d._first + k - 1, d._mask)
  elseif k < 0 and k >= -count and k % 1 == 0 then
    return band(d._first + count + k, d._mask)
  elseif k % 1 ~= 0 then
    fail("index %s is not an integer", tostring(k))
  end
  fail("index %.17g is out of range for a deque of %d values", k, count)
end

-- d[i], counted from 1, or from the end with negative i.
function meta.__index(d, key)
  if type(key) == "number" then
    return d._ring[slot(d, key)]
  end
  local method = methods[key]
  if method == nil then
    kit.no_method("deque", methods, key)
  end
  return method
end

function meta.__newindex(d, key, value)
  if type(key) ~= "number" then
    fail("the field '%s' of a deque cannot be assigned", tostring(key))
  elseif value == nil then
    no_nil("assignment")
  end
  d._ring[slot(d, key)] = value
end

--- d:rotate([n]): moves the last n values to the front (one by default), the first to the back for negative n. O(min(n,
--- size - n)) steps. Returns d.
function methods.rotate(d, n)
  check_self("rotate", d)
  n = n == nil and 1 or n
  if type(n) ~= "number" or n % 1 ~= 0 then
    fail("rotate: the number of places must be an integer, got %s", kit.kind_of(n))
  end
  local count = d._count
  if count < 2 then
    return d
  end
  n = n % count
  local ring, first, mask = d._ring, d._first, d._mask
  if n <= count - n then
    for _ = 1, n do
      local from = band(first + count - 1, mask)
      local value = ring[from]
      ring[from] = nil
      first = band(first - 1, mask)
      ring[first] = value
    end
  else
    for _ = 1, count - n do
      local value = ring[first]
      ring[first] = nil
      ring[band(first + count, mask)] = value
      first = band(first + 1, mask)
    end
  end
  d._first = first
  return d
end

--- d:extend(items): push_back for each of a list, array, collection or iterator; d:extend_front(items): push_front for
--- each, so that the last ends up in front. Return d.
function methods.extend(d, items)
  check_self("extend", d)
  items = kit.items("extend", items)
  for i = 1, #items do
    push_back("extend", d, items[i])
  end
  return d
end
function methods.extend_front(d, items)
  check_self("extend_front", d)
  items = kit.items("extend_front", items)
  for i = 1, #items do
    push_front("extend_front", d, items[i])
  end
  return d
end

--- d:clear(): takes all values out; returns d.
function methods.clear(d)
  check_self("clear", d)
  d._ring, d._first, d._mask, d._count = new_table(8, 0), 0, 7, 0
  return d
end

--- d:totable(): a list of the values from front to back.
function methods.totable(d)
  check_self("totable", d)
  return (list_of(d))
end

local function step(state)
  local d, i = state.deque, state.at + 1
  if i <= d._count then
    state.at = i
    return d._ring[band(d._first + i - 1, d._mask)]
  end
end

--- for value in d:values() do: from front to back. The walk goes by position: what is pushed at the back meanwhile is met.
function methods.values(d)
  check_self("values", d)
  return step, { deque = d, at = 0 }
end

function meta.__tostring(d)
  return kit.text("deque", list_of(d))
end

local function new(maxlen)
  return setmetatable({ _ring = new_table(8, 0), _first = 0, _mask = 7, _count = 0, _maxlen = maxlen }, meta)
end

--- d:copy(): a new deque of the same values and maxlen.
function methods.copy(d)
  check_self("copy", d)
  return methods.extend(new(d._maxlen), (list_of(d)))
end

local known = { maxlen = true }

--- collections.deque([items [, options]]): options are {maxlen = n}: the most values it keeps.
function kit.collections.deque(items, options)
  options = kit.options("deque", options, known, "{maxlen = 100}")
  local maxlen = options.maxlen
  if maxlen ~= nil and (type(maxlen) ~= "number" or maxlen % 1 ~= 0 or maxlen < 0) then
    fail("deque: maxlen must be an integer, 0 or more, got %s", kit.kind_of(maxlen))
  end
  local d = new(maxlen or huge)
  items = kit.items("deque", items)
  for i = 1, #items do
    push_back("deque", d, items[i])
  end
  return d
end
