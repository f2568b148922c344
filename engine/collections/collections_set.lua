-- Sets and counters. Elements stand in the order of arrival in `_items`, and `_place` maps each to its position. A
-- removed one leaves a hole there; holes are closed when they are more than half, so that every step is O(1) on average.
local core, kit = ...
local fail = core.fail
local type, getmetatable, setmetatable, tostring, sort = type, getmetatable, setmetatable, tostring, table.sort
local rawequal = rawequal

local HOLE = {} -- in _items, where an element was removed

local methods = {}
local meta

local function list_of(s)
  local list, n, items = {}, 0, s._items
  for i = s._first, s._last do
    local x = items[i]
    if not rawequal(x, HOLE) then
      n = n + 1
      list[n] = x
    end
  end
  return list, n
end

meta = kit.metatable("set", methods, list_of)

local function new()
  return setmetatable({ _items = {}, _place = {}, _first = 1, _last = 0, _size = 0, _epoch = 0 }, meta)
end

local function check_self(method, s)
  if getmetatable(s) ~= meta then
    kit.wrong_self("set", method, s)
  end
end

local function bad_element(name, x)
  if type(x) == "number" then
    fail("%s: nan equals nothing, itself included, and cannot be in a set", name)
  end
  fail("%s: an element of a set is a number, a string or a boolean, got %s", name, kit.kind_of(x))
end

local function compact(s)
  local list, n = list_of(s)
  for i = 1, n do
    s._place[list[i]] = i
  end
  s._items, s._first, s._last, s._epoch = list, 1, n, s._epoch + 1
end

local function add(name, s, x)
  local place = s._place
  if place[x] then
    return false
  end
  local t = type(x)
  if t ~= "number" and t ~= "string" and t ~= "boolean" or x ~= x then
    bad_element(name, x)
  end
  if s._last > 2 * s._size + 32 then
    compact(s)
  end
  local last = s._last + 1
  s._items[last] = x
  place[x] = last
  s._last = last
  s._size = s._size + 1
  return true
end

local function remove(s, x)
  local i = s._place[x]
  if not i then
    return false
  end
  s._items[i] = HOLE
  s._place[x] = nil
  s._size = s._size - 1
  return true
end

local function from(name, items)
  local s = new()
  for i = 1, #items do
    add(name, s, items[i])
  end
  return s
end

-- A set as it is; else a new one of the items of x.
local function to_set(name, x)
  if getmetatable(x) == meta then
    return x
  elseif x == nil then
    fail("%s: a set, list or array is expected, got nil", name)
  end
  return from(name, kit.items(name, x))
end

--- s:add(x): puts x in; returns whether it was new.
function methods.add(s, x)
  check_self("add", s)
  return (add("add", s, x))
end

--- s:remove(x): takes x out; returns whether it was there.
function methods.remove(s, x)
  check_self("remove", s)
  return (remove(s, x))
end

--- s:contains(x): whether x is in the set.
function methods.contains(s, x)
  check_self("contains", s)
  return s._place[x] ~= nil
end

--- s:size(): the number of elements. (LuaJIT's # does not ask a table that has methods.)
function methods.size(s)
  check_self("size", s)
  return s._size
end

--- s:pop(): takes the oldest element out and returns it; an error if the set is empty.
function methods.pop(s)
  check_self("pop", s)
  if s._size == 0 then
    fail("pop: the set is empty")
  end
  local i, items = s._first, s._items
  while rawequal(items[i], HOLE) do
    i = i + 1
  end
  s._first = i
  local x = items[i]
  remove(s, x)
  return x
end

--- s:clear(): takes all elements out; returns s.
function methods.clear(s)
  check_self("clear", s)
  s._items, s._place, s._first, s._last, s._size, s._epoch = {}, {}, 1, 0, 0, s._epoch + 1
  return s
end

--- s:copy(): a new set of the same elements.
function methods.copy(s)
  check_self("copy", s)
  return from("copy", (list_of(s)))
end

--- s:totable(): a list of the elements, in the order of arrival.
function methods.totable(s)
  check_self("totable", s)
  return (list_of(s))
end

local function step(state)
  local s, i = state.set, state.at
  if s._epoch ~= state.epoch then
    fail("values: elements were added to the set while it was walked through; walk through s:totable()")
  end
  local items, last = s._items, s._last
  while i < last do
    i = i + 1
    local x = items[i]
    if not rawequal(x, HOLE) then
      state.at = i
      return x
    end
  end
end

--- for x in s:values() do: the elements in the order of arrival. Removing while walking is allowed, adding is not.
function methods.values(s)
  check_self("values", s)
  return step, { set = s, at = s._first - 1, epoch = s._epoch }
end

--- s:update(other): adds all elements of a set, list or array; returns s.
function methods.update(s, other)
  check_self("update", s)
  local items = kit.items("update", other)
  for i = 1, #items do
    add("update", s, items[i])
  end
  return s
end

local function union(name, a, b)
  local s = from(name, (list_of(a)))
  local items = kit.items(name, b)
  for i = 1, #items do
    add(name, s, items[i])
  end
  return s
end

-- The elements of a whose being in b is `wanted`.
local function filter(name, a, b, wanted)
  local s, items, place = new(), list_of(a), to_set(name, b)._place
  for i = 1, #items do
    if (place[items[i]] ~= nil) == wanted then
      add(name, s, items[i])
    end
  end
  return s
end

local function symmetric_difference(name, a, b)
  b = to_set(name, b)
  local s = filter(name, a, b, false)
  local items = list_of(b)
  for i = 1, #items do
    if a._place[items[i]] == nil then
      add(name, s, items[i])
    end
  end
  return s
end

--- a:union(b), a:intersection(b), a:difference(b), a:symmetric_difference(b): new sets; b is a set, list or array. Elements
--- of a come first, in a's order. As operators on two sets: a + b, a * b, a - b, a ^ b.
function methods.union(a, b)
  check_self("union", a)
  return union("union", a, b)
end
function methods.intersection(a, b)
  check_self("intersection", a)
  return filter("intersection", a, b, true)
end
function methods.difference(a, b)
  check_self("difference", a)
  return filter("difference", a, b, false)
end
function methods.symmetric_difference(a, b)
  check_self("symmetric_difference", a)
  return symmetric_difference("symmetric_difference", a, b)
end

local function is_subset(a, b)
  if a._size > b._size then
    return false
  end
  local items, place = list_of(a), b._place
  for i = 1, #items do
    if place[items[i]] == nil then
      return false
    end
  end
  return true
end

--- a:is_subset(b), a:is_superset(b), a:is_disjoint(b): b is a set, list or array. On two sets also a <= b, a < b (subset,
--- and not equal), a >= b, a > b and a == b.
function methods.is_subset(a, b)
  check_self("is_subset", a)
  return is_subset(a, to_set("is_subset", b))
end
function methods.is_superset(a, b)
  check_self("is_superset", a)
  return is_subset(to_set("is_superset", b), a)
end
function methods.is_disjoint(a, b)
  check_self("is_disjoint", a)
  local items, place = kit.items("is_disjoint", b), a._place
  for i = 1, #items do
    if place[items[i]] ~= nil then
      return false
    end
  end
  return true
end

local function two_sets(operator, a, b)
  if getmetatable(a) ~= meta or getmetatable(b) ~= meta then
    fail("set %s: two sets are expected, got %s and %s", operator, kit.kind_of(a), kit.kind_of(b))
  end
end

function meta.__add(a, b)
  two_sets("+", a, b)
  return union("+", a, b)
end
function meta.__mul(a, b)
  two_sets("*", a, b)
  return filter("*", a, b, true)
end
function meta.__sub(a, b)
  two_sets("-", a, b)
  return filter("-", a, b, false)
end
function meta.__pow(a, b)
  two_sets("^", a, b)
  return symmetric_difference("^", a, b)
end
function meta.__eq(a, b)
  return a._size == b._size and is_subset(a, b)
end
function meta.__le(a, b)
  two_sets("<=", a, b)
  return is_subset(a, b)
end
function meta.__lt(a, b)
  two_sets("<", a, b)
  return a._size < b._size and is_subset(a, b)
end
function meta.__tostring(s)
  return kit.text("set", list_of(s))
end

--- collections.set([items]): a set of the numbers, strings and booleans of a list, array, collection or iterator.
function kit.collections.set(items)
  return from("set", kit.items("set", items))
end

-- -------------------------------------------------------------------------------------------------------- counters ----
local counter_methods = {}
local counter_meta

local function counter_list(c)
  return (list_of(c._keys))
end

counter_meta = kit.metatable("counter", counter_methods, counter_list)

local function check_counter(method, c)
  if getmetatable(c) ~= counter_meta then
    kit.wrong_self("counter", method, c)
  end
end

local function count_up(name, c, x, n)
  local counts = c._counts
  local before = counts[x]
  if before then
    counts[x] = before + n
  else
    add(name, c._keys, x)
    counts[x] = n
  end
end

--- c:add(x [, n]): counts x once, or n times (which may be negative); returns the new count.
function counter_methods.add(c, x, n)
  check_counter("add", c)
  if n == nil then
    n = 1
  elseif type(n) ~= "number" then
    fail("add: the count must be a number, got %s", kit.kind_of(n))
  end
  count_up("add", c, x, n)
  return c._counts[x]
end

--- c:count(x): how often x was counted; 0 if never.
function counter_methods.count(c, x)
  check_counter("count", c)
  return c._counts[x] or 0
end

--- c:remove(x): forgets x; returns its count.
function counter_methods.remove(c, x)
  check_counter("remove", c)
  local n = c._counts[x] or 0
  if remove(c._keys, x) then
    c._counts[x] = nil
  end
  return n
end

--- c:update(items): counts each of a list, array, collection or iterator; returns c.
function counter_methods.update(c, items)
  check_counter("update", c)
  items = kit.items("update", items)
  for i = 1, #items do
    count_up("update", c, items[i], 1)
  end
  return c
end

--- c:size(): how many different elements; c:total(): the sum of their counts.
function counter_methods.size(c)
  check_counter("size", c)
  return c._keys._size
end
function counter_methods.total(c)
  check_counter("total", c)
  local keys, sum = list_of(c._keys), 0
  for i = 1, #keys do
    sum = sum + c._counts[keys[i]]
  end
  return sum
end

--- c:most_common([n]): a list of {element, count}, the highest counts first, at most n of them; equal counts in the order
--- in which the elements were first counted.
function counter_methods.most_common(c, n)
  check_counter("most_common", c)
  if n ~= nil and (type(n) ~= "number" or n % 1 ~= 0 or n < 0) then
    fail("most_common: how many must be an integer, 0 or more, got %s", kit.kind_of(n))
  end
  local keys, count = list_of(c._keys)
  local counts, order = {}, {}
  for i = 1, count do
    counts[i], order[i] = c._counts[keys[i]], i
  end
  sort(order, function(i, j)
    return counts[i] > counts[j] or counts[i] == counts[j] and i < j
  end)
  local list = {}
  for i = 1, n and n < count and n or count do
    list[i] = { keys[order[i]], counts[order[i]] }
  end
  return list
end

local function counter_step(state)
  local x = step(state)
  if x ~= nil then
    return x, state.counts[x]
  end
end

--- for x, n in c:values() do: elements and counts in the order in which the elements were first counted.
function counter_methods.values(c)
  check_counter("values", c)
  local keys = c._keys
  return counter_step, { set = keys, at = keys._first - 1, epoch = keys._epoch, counts = c._counts }
end

--- c:totable(): a table from element to count; c:keys(): the set of elements; c:clear(); c:copy().
function counter_methods.totable(c)
  check_counter("totable", c)
  local t, keys = {}, list_of(c._keys)
  for i = 1, #keys do
    t[keys[i]] = c._counts[keys[i]]
  end
  return t
end
function counter_methods.keys(c)
  check_counter("keys", c)
  return methods.copy(c._keys)
end
function counter_methods.clear(c)
  check_counter("clear", c)
  methods.clear(c._keys)
  c._counts = {}
  return c
end
function counter_methods.copy(c)
  check_counter("copy", c)
  return setmetatable({ _keys = methods.copy(c._keys), _counts = counter_methods.totable(c) }, counter_meta)
end

function counter_meta.__tostring(c)
  local parts = counter_methods.most_common(c)
  local n = #parts
  for i = 1, n do
    parts[i] = kit.show(parts[i][1]) .. ": " .. tostring(parts[i][2])
    if i > kit.shown then
      parts[i] = ("... %d more"):format(n - kit.shown)
      n = i
      break
    end
  end
  return "counter {" .. table.concat(parts, ", ", 1, n) .. "}"
end

--- collections.counter([items]): how often each number, string or boolean occurs.
function kit.collections.counter(items)
  local c = setmetatable({ _keys = new(), _counts = {} }, counter_meta)
  items = kit.items("counter", items)
  for i = 1, #items do
    count_up("counter", c, items[i], 1)
  end
  return c
end
