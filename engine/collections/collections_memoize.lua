-- Memoisation: a function that remembers its results.
--
-- Where a call is found: with one argument, in a table by that argument; with more, through one table an argument
-- (a tree whose empty branches are removed). With nothing but the table, a hit costs one look-up. A size adds an order of
-- eviction, each O(1) a call: LRU is a doubly linked list; LFU a list of lists, one for each number of uses (K. Shah,
-- A. Mitra, D. Matani: An O(1) algorithm for implementing the LFU cache eviction scheme, 2010); random a table of all
-- entries. A time to live adds a list by age, whose head expires first.
local core, kit = ...
local fail = core.fail
local type, select, getmetatable, setmetatable, unpack, huge = type, select, getmetatable, setmetatable, unpack, math.huge

local NIL, NAN = {}, {} -- stand for the arguments nil and nan, which no table takes as keys

local methods = {}
local meta = kit.metatable("cache", methods, function() return {} end)

local function check_self(method, c)
  if getmetatable(c) ~= meta then
    kit.wrong_self("cache", method, c)
  end
end

local function bad_argument(x, i)
  if kit.array.is(x) then
    fail("memoize: argument %d is an array, and an array's contents may change; say which number or string stands for " ..
      "it, as in {key = function(a) return a:sum() end}", i)
  end
  fail("memoize: argument %d is a cdata object, which never equals another one; pass {key = function}", i)
end

-- An argument as a key of a table.
local function to_key(x, i)
  if type(x) == "cdata" then -- first, because comparing arrays compares their elements
    bad_argument(x, i)
  elseif x == nil then
    return NIL
  elseif x ~= x then
    return NAN
  end
  return x
end

-- ---------------------------------------------------------------------------------------- doubly linked lists --------
-- A list is a ring through a head; `before` and `after` name the fields, so that an entry can be in two lists.
local function new_list(before, after)
  local head = {}
  head[before], head[after] = head, head
  return head
end

-- ------------------------------------------------------------------------------------------------ where calls are ----
-- The tree of calls with n arguments: {map = {key -> node or entry}, count, parent, key}.
local function new_node(parent, key)
  return { map = {}, count = 0, parent = parent, key = key }
end

local function find_many(c, n, ...)
  local node = c._roots[n]
  if not node then
    return nil
  end
  for i = 1, n do
    node = node.map[to_key((select(i, ...)), i)]
    if not node then
      return nil
    end
  end
  return node
end

local function insert_many(c, entry, n, ...)
  local node = c._roots[n]
  if not node then
    node = new_node(false, n)
    c._roots[n] = node
  end
  for i = 1, n - 1 do
    local key = to_key((select(i, ...)), i)
    local child = node.map[key]
    if not child then
      child = new_node(node, key)
      node.map[key] = child
      node.count = node.count + 1
    end
    node = child
  end
  local key = n == 0 and NIL or to_key((select(n, ...)), n)
  entry.node, entry.key = node, key
  node.map[key] = entry
  node.count = node.count + 1
end

-- Takes an entry out of table or tree.
local function unlink(c, entry)
  local node = entry.node
  if not node then
    c._map[entry.key] = nil
    return
  end
  local key = entry.key
  while node do
    node.map[key] = nil
    node.count = node.count - 1
    if node.count > 0 or not node.parent then
      return
    end
    key, node = node.key, node.parent
  end
end

-- ------------------------------------------------------------------------------------------------------- eviction ----
local policies = {}

policies.lru = {
  add = function(c, entry)
    local head = c._order
    local last = head.before
    last.after, entry.before, entry.after, head.before = entry, last, head, entry
  end,
  use = function(c, entry)
    local head = c._order
    local before, after = entry.before, entry.after
    if after ~= head then
      before.after, after.before = after, before
      local last = head.before
      last.after, entry.before, entry.after, head.before = entry, last, head, entry
    end
  end,
  remove = function(_, entry)
    entry.before.after, entry.after.before = entry.after, entry.before
  end,
  victim = function(c)
    return c._order.after
  end,
}

-- Buckets by number of uses, ascending, in a ring through c._order; each holds a ring of its entries, oldest use first.
local function new_bucket(uses, before)
  local bucket = { uses = uses, before = before, after = before.after, head = new_list("before", "after") }
  before.after.before = bucket
  before.after = bucket
  return bucket
end

local function enter(entry, bucket)
  local head = bucket.head
  local last = head.before
  last.after, entry.before, entry.after, head.before, entry.place = entry, last, head, entry, bucket
end

local function leave(entry)
  local bucket = entry.place
  entry.before.after, entry.after.before = entry.after, entry.before
  if bucket.head.after == bucket.head then
    bucket.before.after, bucket.after.before = bucket.after, bucket.before
  end
end

policies.lfu = {
  add = function(c, entry)
    local first = c._order.after
    if first.uses ~= 1 then
      first = new_bucket(1, c._order)
    end
    enter(entry, first)
  end,
  use = function(_, entry)
    local bucket = entry.place
    local following = bucket.after
    if following.uses ~= bucket.uses + 1 then
      following = new_bucket(bucket.uses + 1, bucket)
    end
    leave(entry)
    enter(entry, following)
  end,
  remove = function(_, entry)
    leave(entry)
  end,
  victim = function(c)
    return c._order.after.head.after
  end,
}

policies.random = {
  add = function(c, entry)
    local n = c._size
    c._order[n] = entry
    entry.place = n
  end,
  use = false,
  remove = function(c, entry)
    local order, n = c._order, c._size -- which still counts the entry
    local last = order[n]
    order[entry.place] = last
    last.place = entry.place
    order[n] = nil
  end,
  victim = function(c)
    return c._order[c._rng:integers(1, c._size)]
  end,
}

local function forget(c, entry)
  unlink(c, entry)
  if c._remove then
    c._remove(c, entry)
  end
  if c._ttl then
    entry.older.younger, entry.younger.older = entry.younger, entry.older
  end
  c._size = c._size - 1
end

-- Drops what has expired; the oldest entries first.
local function expire(c, now)
  local ages = c._ages
  local entry = ages.younger
  while entry ~= ages and entry.expires <= now do
    forget(c, entry)
    c._expirations = c._expirations + 1
    entry = ages.younger
  end
end

-- The results of a call. All fields but those of ages at once, so that the table does not grow, which was a third of a miss.
-- place: a policy's own, the bucket or the position in c._order.
local function new_entry(key, n, first, ...)
  return { key = key, node = false, n = n, first = first, rest = n > 1 and { ... } or false, before = false,
    after = false, place = false }
end

-- Makes room for one more.
local function make_room(c)
  if c._ttl then
    expire(c, c._clock())
  end
  if c._size >= c._max_size then
    forget(c, c._victim(c))
    c._evictions = c._evictions + 1
  end
end

-- Counts an entry that is in the table or tree by now.
local function enlist(c, entry)
  c._size = c._size + 1
  if c._add then
    c._add(c, entry)
  end
  if c._ttl then
    local ages = c._ages
    local last = ages.older
    last.younger, entry.older, entry.younger, ages.older = entry, last, ages, entry
    entry.expires = c._clock() + c._ttl
  end
end

-- The results of a call that was not known: remembered, and returned. The function may have called itself, so that
-- this very call may be known by now.
local function keep_one(c, key, ...)
  local entry = c._map[key]
  if entry then
    forget(c, entry)
  end
  make_room(c)
  entry = new_entry(key, select("#", ...), ...)
  c._map[key] = entry
  enlist(c, entry)
  return ...
end

-- Arguments and results are both lists of any length: the arguments travel in a table.
local function keep_many(c, arguments, n, ...)
  local entry = n > 0 and find_many(c, n, unpack(arguments, 1, n)) or n == 0 and c._roots[0] and c._roots[0].map[NIL]
  if entry then
    forget(c, entry)
  end
  make_room(c)
  entry = new_entry(false, select("#", ...), ...)
  insert_many(c, entry, n, unpack(arguments, 1, n))
  enlist(c, entry)
  return ...
end

local function expired(c, entry)
  if c._ttl and entry.expires <= c._clock() then
    forget(c, entry)
    c._expirations = c._expirations + 1
    return true
  end
  return false
end

local function results(entry)
  local n = entry.n
  if n == 1 then
    return entry.first
  elseif n == 0 then
    return
  elseif n == 2 then
    return entry.first, entry.rest[1]
  end
  return entry.first, unpack(entry.rest, 1, n - 1)
end

local function hit(c, entry)
  c._hits = c._hits + 1
  local use = c._use
  if use then
    use(c, entry)
  end
end

-- --------------------------------------------------------------------------------------------------- the function ----
local function by_key(c, key, ...)
  if type(key) == "cdata" or key == nil or key ~= key then
    fail("memoize: the key must be a number, a string, a boolean or a table, got %s", kit.kind_of(key))
  end
  local entry = c._map[key]
  if entry and not expired(c, entry) then
    hit(c, entry)
    return results(entry)
  end
  c._misses = c._misses + 1
  return keep_one(c, key, c._fn(...))
end

local function wrap(c)
  local fn, key_of = c._fn, c._key
  if key_of then
    return function(...)
      return by_key(c, key_of(...), ...)
    end
  end
  return function(...)
    local n = select("#", ...)
    if n == 1 then
      local x = ...
      local entry
      if type(x) == "cdata" or x == nil or x ~= x then
        x = to_key(x, 1)
      end
      entry = c._map[x]
      if entry and not expired(c, entry) then
        c._hits = c._hits + 1
        local use = c._use
        if use then
          use(c, entry)
        end
        if entry.n == 1 then
          return entry.first
        end
        return results(entry)
      end
      c._misses = c._misses + 1
      return keep_one(c, x, fn(...))
    end
    local entry
    if n == 0 then
      entry = c._roots[0] and c._roots[0].map[NIL]
    else
      entry = find_many(c, n, ...)
    end
    if entry and not expired(c, entry) then
      hit(c, entry)
      return results(entry)
    end
    c._misses = c._misses + 1
    return keep_many(c, { ... }, n, fn(...))
  end
end

-- ------------------------------------------------------------------------------------------------------ the cache ----
local function reset(c)
  c._map, c._roots, c._size = {}, {}, 0
  c._order = new_list("before", "after")
  c._ages = new_list("older", "younger")
end

--- cache:clear(): forgets all results; the statistics start again. Returns the cache.
function methods.clear(c)
  check_self("clear", c)
  reset(c)
  c._hits, c._misses, c._evictions, c._expirations = 0, 0, 0, 0
  return c
end

--- cache:stats(): {hits, misses, evictions, expirations, size, max_size}; hits, misses: calls since the start or clear.
function methods.stats(c)
  check_self("stats", c)
  if c._ttl then
    expire(c, c._clock())
  end
  return { hits = c._hits, misses = c._misses, evictions = c._evictions, expirations = c._expirations, size = c._size,
    max_size = c._max_size < huge and c._max_size or nil }
end

--- cache:size(): how many results are kept.
function methods.size(c)
  check_self("size", c)
  if c._ttl then
    expire(c, c._clock())
  end
  return c._size
end

--- cache:forget(...): forgets the result for these arguments (with a key function: for the key it gives); returns whether
--- there was one.
function methods.forget(c, ...)
  check_self("forget", c)
  local n, entry = select("#", ...), nil
  if c._key then
    local key = c._key(...)
    entry = key ~= nil and c._map[key]
  elseif n == 1 then
    entry = c._map[to_key((...), 1)]
  elseif n == 0 then
    entry = c._roots[0] and c._roots[0].map[NIL]
  else
    entry = find_many(c, n, ...)
  end
  if entry then
    forget(c, entry)
  end
  return not not entry
end

function meta.__tostring(c)
  return ("cache {%d kept, %d hits, %d misses, %d evictions, %d expirations}"):format(c._size, c._hits, c._misses,
    c._evictions, c._expirations)
end

local known = { size = true, ttl = true, policy = true, key = true, clock = true, seed = true }

--- collections.memoize(fn [, options]): a function that calls fn for new arguments and remembers its results, and the cache
--- with its statistics. Arguments are the same if they are equal as keys of a table (nil and nan too); f(1) and f(1, nil)
--- are two. Options: {size = n} (the most results kept), {policy = "lru" | "lfu" | "random"} (which one goes: the least
--- recently used, the least often used, any), {ttl = seconds} (after which a result is forgotten), {clock = function} (that
--- ttl reads; timer.now), {key = function(...)} (what stands for the arguments), {seed = n} (of policy random).
function kit.collections.memoize(fn, options)
  if type(fn) ~= "function" then
    fail("memoize: a function is expected, got %s", kit.kind_of(fn))
  end
  options = kit.options("memoize", options, known, "{size = 1000}")
  local size, ttl, policy = options.size, options.ttl, options.policy
  if size ~= nil and (type(size) ~= "number" or size % 1 ~= 0 or size < 1) then
    fail("memoize: size must be an integer, 1 or more, got %s", kit.kind_of(size))
  elseif ttl ~= nil and (type(ttl) ~= "number" or not (ttl > 0)) then
    fail("memoize: ttl must be a number of seconds above 0, got %s", kit.kind_of(ttl))
  elseif policy ~= nil and not policies[policy] then
    fail('memoize: the policy must be "lru", "lfu" or "random", got %s', kit.kind_of(policy))
  elseif policy ~= nil and size == nil then
    fail("memoize: a policy says which result goes when there are too many: give a size too")
  end
  for _, name in ipairs { "key", "clock" } do
    if options[name] ~= nil and type(options[name]) ~= "function" then
      fail("memoize: %s must be a function, got %s", name, kit.kind_of(options[name]))
    end
  end
  local chosen = size and policies[policy or "lru"] or {}
  local c = setmetatable({
    _fn = fn, _key = options.key or false, _max_size = size or huge, _ttl = ttl or false,
    _clock = options.clock or core.require("timer").now, _add = chosen.add or false, _use = chosen.use or false,
    _remove = chosen.remove or false, _victim = chosen.victim or false,
    _rng = policy == "random" and core.require("random").generator(options.seed or 0), _map = false, _roots = false,
    _size = 0, _order = false, _ages = false, _hits = 0, _misses = 0, _evictions = 0, _expirations = 0,
  }, meta)
  reset(c)
  return wrap(c), c
end
