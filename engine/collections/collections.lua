-- pg.collections: sets, counters, deques, heaps, record arrays and memoisation. All of it is Lua: these structures live
-- from small steps between a script's own lines, which the trace compiler merges with them; a call into C++ for each
-- would cost more than the step. Only the memory of record arrays is the array module's.
--
-- As in array.lua, nothing on hot paths creates a closure: iterators are a function and a state table.
local core = ...
local array = core.require("array")
local fail = core.fail
local type, tostring, getmetatable, concat, format = type, tostring, getmetatable, table.concat, string.format
local next, pairs = next, pairs

local collections = {}

-- What the parts share.
local kit = { collections = collections, array = array, array_kit = array._kit, shown = 100 }

-- Metatables of our own, each with `_name` ("set") and `_list`, a function that gives the elements as a table.
local function kind(x)
  local meta = type(x) == "table" and getmetatable(x)
  return type(meta) == "table" and meta._list and meta or nil
end
kit.kind = kind

function kit.kind_of(x)
  local meta = kind(x)
  if meta then
    return "a " .. meta._name
  elseif type(x) == "table" then
    return "a table"
  end
  return array._kit.kind_of(x)
end

--- The elements of a list, an array (all of it, row by row), a collection, or what an iterator function returns until
--- nil, as a table that may be the argument itself: not to be changed.
function kit.items(name, x)
  if x == nil then
    return {}
  elseif array.is(x) then
    return x.ndim == 0 and { x:item() } or x:reshape(x.size):totable()
  elseif type(x) == "function" then
    local list, n = {}, 0
    for v in x do
      n = n + 1
      list[n] = v
    end
    return list
  elseif type(x) ~= "table" then
    fail("%s: a list, an array or a collection is expected, got %s", name, kit.kind_of(x))
  end
  local meta = kind(x)
  if meta then
    return meta._list(x)
  elseif #x == 0 and next(x) ~= nil then
    fail("%s: a list is expected, this table has keys (such as %s) but no element 1", name, kit.show((next(x))))
  end
  return x
end

--- The options table of a constructor, checked; `known` maps each legal key to true.
function kit.options(name, options, known, example)
  if options == nil then
    return {}
  elseif type(options) ~= "table" or kind(options) then
    fail("%s: options are a table such as %s, got %s", name, example, kit.kind_of(options))
  end
  array._kit.check_options(name, options, known)
  return options
end

--- A value as the text of a collection shows it.
function kit.show(v)
  return type(v) == "string" and format("%q", v) or tostring(v)
end

--- "set {1, 2, 3}", cut after 100 elements.
function kit.text(name, list, n)
  local parts = {}
  for i = 1, n do
    if i > kit.shown then
      parts[i] = format("... %d more", n - kit.shown)
      break
    end
    parts[i] = kit.show(list[i])
  end
  return name .. " {" .. concat(parts, ", ") .. "}"
end

-- What scripts may look for, by names of other languages and libraries.
local elsewhere = {
  set = { discard = "remove", delete = "remove", has = "contains", insert = "add", len = "size", length = "size",
    items = "values", extend = "update", issubset = "is_subset", issuperset = "is_superset", isdisjoint = "is_disjoint" },
  counter = { len = "size", length = "size", get = "count", elements = "values", items = "values", push = "add" },
  deque = { append = "push_back", push = "push_back", appendleft = "push_front", pop = "pop_back or pop_front",
    popleft = "pop_front", extendleft = "extend_front", peek = "front or back", len = "size", length = "size" },
  heap = { insert = "push", add = "push", heappush = "push", heappop = "pop", top = "peek", heappushpop = "pushpop",
    heapreplace = "replace", len = "size", length = "size", values = "drain" },
  cache = { cache_info = "stats", cache_clear = "clear", hits = "stats", misses = "stats" },
}

--- The error of a name that is none of `methods`.
function kit.no_method(name, methods, key)
  local other = elsewhere[name][key]
  if other then
    fail("%ss have no method or field '%s'; look at %s", name, tostring(key), other)
  end
  local names = {}
  for method in pairs(methods) do
    names[#names + 1] = method
  end
  table.sort(names)
  fail("%ss have no method or field '%s'; they have %s", name, tostring(key), concat(names, ", "))
end

--- Makes the metatable of a kind of collection whose methods are `methods`.
function kit.metatable(name, methods, list)
  local meta = { _name = name, _list = list }
  function meta.__index(_, key)
    local method = methods[key]
    if method == nil then
      kit.no_method(name, methods, key)
    end
    return method
  end
  function meta.__call()
    if name == "cache" then
      fail("a cache is not a function: memoize returns the function first, then the cache")
    end
    fail("a %s is not a function; walk through it with for x in c:%s() do", name, methods.values and "values" or "drain")
  end
  function meta.__newindex(_, key)
    fail("the field '%s' of a %s cannot be assigned", tostring(key), name)
  end
  return meta
end

--- The error of a method that was called with a dot, or on something else.
function kit.wrong_self(name, method, x)
  fail("%s: a %s is expected before the colon, as in x:%s(...); got %s", method, name, method, kit.kind_of(x))
end

for _, part in ipairs { "set", "deque", "heap", "records", "memoize" } do
  core.part("collections_" .. part, kit)
end

return collections
