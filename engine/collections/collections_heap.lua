-- Priority queues: binary heaps in tables, the first to leave at position 1 (R. W. Floyd 1964; J. W. J. Williams 1964).
--
-- A heap of numbers or strings without key function is one table. All others keep with each value its key and its tick,
-- the count of pushes when it came, so that equal keys leave in the order of arrival. With a `less` function the key is
-- the value itself.
local core, kit = ...
local fail = core.fail
local type, getmetatable, setmetatable, tostring, gsub, load = type, getmetatable, setmetatable, tostring, string.gsub, load
local rshift = bit.rshift

-- The two walks, once for each order: a comparison called through a variable would be the same place in the code for all
-- heaps of a program, and the trace compiler would follow one of them. BEFORE(a, b) is replaced by the comparison.
-- `less` may raise an error: values are therefore swapped, not carried, so that none is lost.
local plain_source = [[
local rshift = bit.rshift
local function up(h, i)
  local keys = h._keys
  local key = keys[i]
  while i > 1 do
    local parent = rshift(i, 1)
    local other = keys[parent]
    if not (BEFORE(key, other)) then
      break
    end
    keys[i] = other
    i = parent
  end
  keys[i] = key
end
local function down(h, i, n)
  local keys = h._keys
  local key = keys[i]
  while true do
    local child = 2 * i
    if child > n then
      break
    end
    local other = keys[child]
    if child < n then
      local right = keys[child + 1]
      if BEFORE(right, other) then
        child, other = child + 1, right
      end
    end
    if not (BEFORE(other, key)) then
      break
    end
    keys[i] = other
    i = child
  end
  keys[i] = key
end
return up, down
]]
local stable_source = [[
local rshift = bit.rshift
local function up(h, i)
  local keys, values, ticks, less = h._keys, h._values, h._ticks, h._less
  while i > 1 do
    local j = rshift(i, 1)
    local a, b, s, t = keys[i], keys[j], ticks[i], ticks[j]
    if not (BEFORE(a, b) or s < t and not (BEFORE(b, a))) then
      return
    end
    keys[i], keys[j], ticks[i], ticks[j] = b, a, t, s
    VALUES
    i = j
  end
end
local function down(h, i, n)
  local keys, values, ticks, less = h._keys, h._values, h._ticks, h._less
  while true do
    local j = 2 * i
    if j > n then
      return
    end
    local b, t = keys[j], ticks[j]
    if j < n then
      local c, u = keys[j + 1], ticks[j + 1]
      if BEFORE(c, b) or u < t and not (BEFORE(b, c)) then
        j, b, t = j + 1, c, u
      end
    end
    local a, s = keys[i], ticks[i]
    if not (BEFORE(b, a) or t < s and not (BEFORE(a, b))) then
      return
    end
    keys[i], keys[j], ticks[i], ticks[j] = b, a, t, s
    VALUES
    i = j
  end
end
return up, down
]]

local function compile(name, source, comparison, values)
  source = gsub(source, "VALUES", values or "")
  source = gsub(source, "BEFORE(%b())", function(pair)
    local a, b = string.match(pair, "%((%w+), (%w+)%)")
    return (gsub(gsub(comparison, "A", a), "B", b))
  end)
  return { load(source, "@perigee:collections_heap_" .. name, "t")() }
end

local swap = "values[i], values[j] = values[j], values[i]"
local orders = {
  min = compile("min", plain_source, "A < B"),
  max = compile("max", plain_source, "A > B"),
  keyed_min = compile("keyed_min", stable_source, "A < B", swap),
  keyed_max = compile("keyed_max", stable_source, "A > B", swap),
  less = compile("less", stable_source, "less(A, B)"),
}

local methods = {}

local function list_of(h)
  local list, values = {}, h._values
  for i = 1, h._count do
    list[i] = values[i]
  end
  return list, h._count
end

local meta = kit.metatable("heap", methods, list_of)

local function check_self(method, h)
  if getmetatable(h) ~= meta then
    kit.wrong_self("heap", method, h)
  end
end

local function bad_key(method, h, key)
  if type(key) == "number" and key ~= key then
    fail("%s: nan has no place in an order", method)
  elseif h._kind == "plain" then
    fail("%s: a heap of %s is ordered by its values, got %s; say {key = function}, {priority = true} or {less = function}",
      method, h._count > 0 and type(h._keys[1]) .. "s" or "numbers or strings", kit.kind_of(key))
  elseif h._kind == "priority" and key == nil then
    fail("%s: this heap was made with {priority = true}: give value and priority", method)
  end
  fail("%s: a key of this heap is a number or a string as those before it, got %s", method, kit.kind_of(key))
end

-- The key of a value.
local function key_of(method, h, value, priority)
  local kind, key = h._kind, value
  if kind == "key" then
    key = h._key(value)
  elseif kind == "priority" then
    key = priority
  elseif kind == "less" then
    if value == nil then
      fail("%s: nil cannot be in a heap", method)
    end
    return value
  end
  if priority ~= nil and kind ~= "priority" then
    fail("%s: this heap takes no priorities; make it with {priority = true}", method)
  end
  local t = type(key)
  if (t ~= "number" and t ~= "string") or key ~= key or h._count > 0 and type(h._keys[1]) ~= t then
    bad_key(method, h, key)
  end
  if value == nil then
    fail("%s: nil cannot be in a heap", method)
  end
  return key
end

local function place(h, i, key, value)
  h._keys[i] = key
  if h._kind ~= "plain" then
    local tick = h._tick + 1
    h._tick = tick
    h._values[i], h._ticks[i] = value, tick
  end
end

--- h:push(value), or h:push(value, priority) on a heap made with {priority = true}.
function methods.push(h, value, priority)
  check_self("push", h)
  local key = key_of("push", h, value, priority)
  local n = h._count + 1
  place(h, n, key, value)
  h._count = n
  h._up(h, n)
end

local function pop(h)
  local n, keys, values = h._count, h._keys, h._values
  local key, value = keys[1], values[1]
  if h._kind == "plain" then
    keys[1] = keys[n]
    keys[n] = nil
  else
    local ticks = h._ticks
    keys[1], values[1], ticks[1] = keys[n], values[n], ticks[n]
    keys[n], values[n], ticks[n] = nil, nil, nil
  end
  h._count = n - 1
  if n > 2 then
    h._down(h, 1, n - 1)
  end
  return value, key
end

local function check_any(method, h)
  check_self(method, h)
  if h._count == 0 then
    fail("%s: the heap is empty", method)
  end
end

--- h:pop(): takes the first value out and returns it, and its key. An error if the heap is empty.
function methods.pop(h)
  check_any("pop", h)
  local value, key = pop(h)
  return value, key
end

--- h:peek(): the first value and its key, without taking it out; nil if the heap is empty.
function methods.peek(h)
  check_self("peek", h)
  return h._values[1], h._keys[1]
end

--- h:replace(value [, priority]): takes the first value out, then puts this one in; faster than pop and push. Returns the
--- old one and its key.
function methods.replace(h, value, priority)
  check_any("replace", h)
  local key = key_of("replace", h, value, priority)
  local old, old_key = h._values[1], h._keys[1]
  place(h, 1, key, value)
  h._down(h, 1, h._count)
  return old, old_key
end

--- h:pushpop(value [, priority]): puts this one in, then takes the first out, which may be the same. Returns it and its
--- key.
function methods.pushpop(h, value, priority)
  check_self("pushpop", h)
  local key = key_of("pushpop", h, value, priority)
  if h._count == 0 then
    return value, key
  end
  local first = h._keys[1]
  local before -- of equal keys the one in the heap came first and leaves first
  if h._kind == "less" then
    before = h._less(key, first)
  elseif h._max then
    before = key > first
  else
    before = key < first
  end
  if before then
    return value, key
  end
  local old = h._values[1]
  place(h, 1, key, value)
  h._down(h, 1, h._count)
  return old, first
end

--- h:size(): the number of values. (LuaJIT's # does not ask a table that has methods.)
function methods.size(h)
  check_self("size", h)
  return h._count
end

--- h:clear(): takes all values out; returns h.
function methods.clear(h)
  check_self("clear", h)
  h._keys, h._count, h._tick = {}, 0, 0
  h._values = (h._kind == "plain" or h._kind == "less") and h._keys or {}
  h._ticks = h._kind ~= "plain" and {} or false
  return h
end

--- h:heapify(items): all of a list, array, collection or iterator instead of what is in the heap, in O(n). On a heap with
--- priorities the items are {value, priority}. Returns h.
function methods.heapify(h, items)
  check_self("heapify", h)
  items = kit.items("heapify", items)
  methods.clear(h)
  for i = 1, #items do
    local value, priority = items[i], nil
    if h._kind == "priority" then
      if type(value) ~= "table" then
        methods.clear(h)
        fail("heapify: item %d must be {value, priority}, got %s", i, kit.kind_of(value))
      end
      value, priority = value[1], value[2]
    end
    place(h, i, key_of("heapify", h, value, priority), value)
    h._count = i
  end
  for i = rshift(h._count, 1), 1, -1 do
    h._down(h, i, h._count)
  end
  return h
end

--- h:totable(): a list of the values in no particular order.
function methods.totable(h)
  check_self("totable", h)
  return (list_of(h))
end

local function drain_step(h)
  if h._count > 0 then
    local value, key = pop(h)
    return value, key
  end
end

--- for value, key in h:drain() do: takes the values out one by one, in order.
function methods.drain(h)
  check_self("drain", h)
  return drain_step, h
end

function meta.__tostring(h)
  return kit.text("heap", list_of(h))
end

local function set_order(h, order)
  h._up, h._down = orders[order][1], orders[order][2]
end

local function new(kind, max, key, less)
  local h = { _kind = kind, _max = max, _key = key or false, _less = less or false, _count = 0, _tick = 0, _keys = false,
    _values = false, _ticks = false, _up = false, _down = false }
  if kind == "plain" then
    set_order(h, max and "max" or "min")
  elseif kind == "less" then
    set_order(h, "less")
  else
    set_order(h, max and "keyed_max" or "keyed_min")
  end
  return methods.clear(setmetatable(h, meta))
end

local known = { key = true, less = true, max = true, priority = true }

local function need_function(name, what, f)
  if f ~= nil and type(f) ~= "function" then
    fail("%s: %s must be a function, got %s", name, what, kit.kind_of(f))
  end
end

--- collections.heap([items [, options]]): the smallest number or string leaves first. Options, at most one of the first
--- three: {key = function(value)}: ordered by a number or string computed once from each; {priority = true}: by the number
--- or string given with each; {less = function(a, b)}: by that; {max = true}: the largest first.
function kit.collections.heap(items, options)
  options = kit.options("heap", options, known, "{max = true}")
  need_function("heap", "key", options.key)
  need_function("heap", "less", options.less)
  local given = (options.key and 1 or 0) + (options.less and 1 or 0) + (options.priority and 1 or 0)
  if given > 1 then
    fail("heap: give only one of key, less and priority")
  elseif options.less and options.max then
    fail("heap: with less there is no max; turn the comparison round")
  end
  local kind = options.key and "key" or options.less and "less" or options.priority and "priority" or "plain"
  local h = new(kind, not not options.max, options.key, options.less)
  if items ~= nil then
    methods.heapify(h, items)
  end
  return h
end

local only_key = { key = true }

-- The n first of the items in an order, in that order, equal ones as they came: a heap of the n best so far, whose first
-- is the worst of them: the latest of the equal ones, because ticks count down.
local function best(name, worst_is_max, n, items, options)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
    fail("%s: how many must be an integer, 0 or more, got %s", name, kit.kind_of(n))
  elseif items == nil then
    fail("%s: a list, an array or a collection is expected, got nil", name)
  end
  options = kit.options(name, options, only_key, "{key = f}")
  need_function(name, "key", options.key)
  items = kit.items(name, items)
  local key, h = options.key, new("priority", worst_is_max)
  local keys, values, ticks, count = h._keys, h._values, h._ticks, 0
  if n == 0 then
    return {}
  end
  for i = 1, #items do
    local value = items[i]
    local k = value
    if key then
      k = key(value)
    end
    local t = type(k)
    if t ~= "number" and t ~= "string" or k ~= k or count > 0 and type(keys[1]) ~= t then
      fail("%s: item %d %s %s; numbers or strings can be ordered, and all must be of one kind", name, i,
        key and "has the key" or "is", k ~= k and "nan" or kit.kind_of(k))
    end
    if count < n then
      count = count + 1
      keys[count], values[count], ticks[count] = k, value, -i
      h._count = count
      h._up(h, count)
    else
      local first = keys[1]
      local better
      if worst_is_max then
        better = k < first
      else
        better = k > first
      end
      if better then
        keys[1], values[1], ticks[1] = k, value, -i
        h._down(h, 1, count)
      end
    end
  end
  local list = {}
  for i = count, 1, -1 do
    list[i] = pop(h)
  end
  return list
end

--- collections.nsmallest(n, items [, {key = f}]), collections.nlargest: the n first of a list, array, collection or iterator
--- in ascending (descending) order, equal ones in the order given. O(size log n).
function kit.collections.nsmallest(n, items, options)
  return best("nsmallest", true, n, items, options)
end
function kit.collections.nlargest(n, items, options)
  return best("nlargest", false, n, items, options)
end
