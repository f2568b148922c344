-- Sorting, and elements by rank.
local core, kit = ...
local C = core.C
local fail, check = core.fail, core.check
local array, methods, array_t, call, need_array = kit.array, kit.methods, kit.array_t, kit.call, kit.need_array
local check_options, check_alive, parse_axis, kind_of = kit.check_options, kit.check_alive, kit.parse_axis, kit.kind_of
local is_integer, deliver = kit.is_integer, kit.deliver
local type, tonumber, pairs = type, tonumber, pairs

local sort_options = { axis = true, descending = true, stable = true, out = true }
local in_place_options = { axis = true, descending = true, stable = true }
local partition_options = { axis = true, out = true }
local partition_in_place_options = { axis = true }
local topk_options = { axis = true, largest = true }

-- An axis (from 0; the last unless told otherwise) and options (never nil), from what stands in their place.
local none = {}
local function arguments(name, a, how, known)
  check_alive(a)
  local options = none
  if type(how) == "table" then
    check_options(name, how, known)
    options, how = how, how.axis
    for key in pairs(options) do
      local value = options[key]
      if key ~= "axis" and key ~= "out" and type(value) ~= "boolean" then
        fail("%s: %s is true or false, got %s", name, key, kind_of(value))
      end
    end
  end
  if a._ndim == 0 then
    fail("%s: an array of 0 dimensions has no axis to sort along", name)
  end
  return parse_axis(name, a, how == nil and -1 or how) - 1, options
end

local function writable(a)
  if bit.band(a._flags, 1) ~= 0 then
    kit.read_only()
  end
end

--- a:sort_([axis | options]): sorts a in place along an axis, the last unless told otherwise.
function methods.sort_(a, how)
  local x = need_array("sort_", a)
  local axis, options = arguments("sort_", x, how, in_place_options)
  writable(x)
  check(C.pg_array_sort(x, axis, options.descending and 1 or 0, options.stable and 1 or 0))
  return a
end

--- array.sort(a [, axis | {axis = -1, descending = false, stable = false, out = b}]): a sorted copy. NaN comes last.
function array.sort(a, how)
  local x = need_array("sort", a)
  local axis, options = arguments("sort", x, how, sort_options)
  local copy = methods.copy(x)
  check(C.pg_array_sort(copy, axis, options.descending and 1 or 0, options.stable and 1 or 0))
  return (deliver("sort", copy, options))
end
methods.sort = array.sort

--- array.argsort(a [, axis | options]): the positions (from 1) that would sort a; always stable.
function array.argsort(a, how)
  local x = need_array("argsort", a)
  local axis, options = arguments("argsort", x, how, sort_options)
  return (deliver("argsort", call(C.pg_array_argsort, nil, x, axis, options.descending and 1 or 0), options))
end
methods.argsort = array.argsort

-- A position along an axis, from 1 or from the end, as a rank from 0; or nil where several are given, for which sorting
-- does what is asked.
local function parse_rank(name, a, axis, kth)
  local n = tonumber(a._shape[axis])
  if type(kth) == "table" then
    for i = 1, #kth do
      parse_rank(name, a, axis, kth[i])
    end
    return #kth == 1 and parse_rank(name, a, axis, kth[1]) or nil
  elseif not is_integer(kth) then
    fail("%s: kth is an integer or a table of integers, got %s", name, kind_of(kth))
  elseif n == 0 then
    fail("%s: axis %d is empty: there is no element of rank %d", name, axis + 1, kth)
  elseif kth == 0 or kth > n or kth < -n then
    fail("%s: kth is %d, but axis %d has the length %d; legal are 1 to %d, and -%d to -1 from the end", name, kth,
      axis + 1, n, n, n)
  end
  return kth > 0 and kth - 1 or kth + n
end

local function partition_lines(name, x, axis, kth)
  local rank = parse_rank(name, x, axis, kth)
  if rank then
    check(C.pg_array_partition(x, axis, rank))
  else
    check(C.pg_array_sort(x, axis, 0, 0))
  end
end

--- a:partition_(kth [, axis | options]): reorders lines so that the kth smallest element (or elements: a table) is where
--- sorting would put it, smaller ones before it and greater ones after it.
function methods.partition_(a, kth, how)
  local x = need_array("partition_", a)
  local axis = arguments("partition_", x, how, partition_in_place_options)
  writable(x)
  partition_lines("partition_", x, axis, kth)
  return a
end

--- array.partition(a, kth [, axis | options]): a copy with the lines so reordered.
function array.partition(a, kth, how)
  local x = need_array("partition", a)
  local axis, options = arguments("partition", x, how, partition_options)
  local copy = methods.copy(x)
  partition_lines("partition", copy, axis, kth)
  return (deliver("partition", copy, options))
end
methods.partition = array.partition

--- array.argpartition(a, kth [, axis | options]): the positions that would do it.
function array.argpartition(a, kth, how)
  local x = need_array("argpartition", a)
  local axis, options = arguments("argpartition", x, how, partition_options)
  local rank = parse_rank("argpartition", x, axis, kth)
  local result
  if rank then
    result = call(C.pg_array_argpartition, nil, x, axis, rank)
  else
    result = call(C.pg_array_argsort, nil, x, axis, 0)
  end
  return (deliver("argpartition", result, options))
end
methods.argpartition = array.argpartition

--- array.topk(a, k [, axis | {axis = -1, largest = true}]): the k largest (or smallest) elements along an axis, the
--- first first, and their positions. Of equal ones the earlier come first; NaN comes after all numbers.
function array.topk(a, k, how)
  local x = need_array("topk", a)
  local axis, options = arguments("topk", x, how, topk_options)
  local n = tonumber(x._shape[axis])
  if not is_integer(k) or k < 0 or k > n then
    fail("topk: k is an integer from 0 to the length of axis %d, which is %d; got %s", axis + 1, n, kind_of(k))
  end
  local values = array_t()
  local positions = call(C.pg_array_topk, nil, values, x, axis, k, options.largest == false and 0 or 1)
  return values, positions
end
methods.topk = array.topk

--- array.lexsort{..., b, a}: the positions that sort by the last key, equal ones by the one before it, and so on. Keys
--- are vectors of one length.
function array.lexsort(keys)
  if type(keys) ~= "table" or #keys == 0 then
    fail("lexsort: a table of vectors is expected, the most important one last; got %s", kind_of(keys))
  end
  local order
  for i = 1, #keys do
    local key = need_array("lexsort", keys[i])
    check_alive(key)
    if key._ndim ~= 1 then
      fail("lexsort: key %d has %d dimensions; keys are vectors", i, key._ndim)
    elseif order and key._size ~= order._size then
      fail("lexsort: key %d has %d elements, the keys before it %d", i, tonumber(key._size), tonumber(order._size))
    end
    if order then
      order = order[call(C.pg_array_argsort, nil, key[order], 0, 0)]
    else
      order = call(C.pg_array_argsort, nil, key, 0, 0)
    end
  end
  return order
end
