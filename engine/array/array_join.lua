-- Arrays joined, cut into parts and repeated.
local core, kit = ...
local C, fail = core.C, core.fail
local array, methods, is, as_array = kit.array, kit.methods, kit.is, kit.as_array
local check_alive, parse_axis, axis_option = kit.check_alive, kit.parse_axis, kit.axis_option
local kind_of, is_integer, write, dtype_names = kit.kind_of, kit.is_integer, kit.write, kit.dtype_names
local need_alive, list_of, shape_of, own_memory = kit.need_alive, kit.list_of, kit.shape_of, kit.own_memory
local part, make = kit.axis_part, kit.make
local max, min, floor, insert = math.max, math.min, math.floor, table.insert
local tonumber, type, tostring, ipairs, pairs = tonumber, type, tostring, ipairs, pairs

-- --------------------------------------------------------------------------------------------------------- joining ----
local function need_list(name, list)
  if type(list) ~= "table" or #list == 0 then
    fail("%s: a table of arrays is expected, got %s", name, type(list) == "table" and "an empty one" or kind_of(list))
  end
  local arrays = {}
  for i = 1, #list do
    arrays[i] = as_array(list[i]) or fail("%s: entry %d is %s, not an array", name, i, kind_of(list[i]))
    check_alive(arrays[i])
  end
  return arrays
end

local function common_dtype(arrays)
  local dtype = arrays[1]._dtype
  for i = 2, #arrays do
    dtype = C.pg_array_promote(dtype, arrays[i]._dtype)
  end
  return dtype
end

--- array.concatenate({a, b, ...} [, axis]): joined along an axis (1 unless given); all other lengths must be equal. The
--- dtype is the one in which theirs meet.
function array.concatenate(list, axis)
  local arrays = need_list("concatenate", list)
  local first = arrays[1]
  if first._ndim == 0 then
    fail("concatenate: arrays of 0 dimensions have no axis to join; use array.stack")
  end
  axis = parse_axis("concatenate", first, axis == nil and 1 or axis)
  local shape = shape_of(first)
  for i = 2, #arrays do
    local a = arrays[i]
    local same = a._ndim == first._ndim
    for k = 1, same and a._ndim or 0 do
      same = same and (k == axis or a._shape[k - 1] == shape[k])
    end
    if not same then
      fail("concatenate: entry %d has shape %s, which does not join %s along axis %d", i,
        kit.shape_text(a._shape, a._ndim), kit.shape_text(first._shape, first._ndim), axis)
    end
    shape[axis] = shape[axis] + tonumber(a._shape[axis - 1])
  end
  local out, at = make(shape, common_dtype(arrays)), 0
  for i = 1, #arrays do
    local n = tonumber(arrays[i]._shape[axis - 1])
    if arrays[i]._size > 0 then
      write(part(out, axis, at + 1, at + n), arrays[i])
    end
    at = at + n
  end
  return out
end

--- array.stack({a, b, ...} [, axis]): arrays of one shape along a new axis (1 unless given).
function array.stack(list, axis)
  axis = axis_option("stack", axis)
  local arrays = need_list("stack", list)
  local first, wide = arrays[1], {}
  local rank = first._ndim + 1
  axis = axis == nil and 1 or axis
  if not is_integer(axis) or axis == 0 or axis > rank or axis < -rank then
    fail("stack: axis %s is out of range for a result of %d dimensions", kind_of(axis), rank)
  end
  axis = axis < 0 and axis + rank + 1 or axis
  for i, a in ipairs(arrays) do
    local same = a._ndim == first._ndim
    for k = 0, same and a._ndim - 1 or -1 do
      same = same and a._shape[k] == first._shape[k]
    end
    if not same then
      fail("stack: entry %d has shape %s and the first %s; all must be equal", i, kit.shape_text(a._shape, a._ndim),
        kit.shape_text(first._shape, first._ndim))
    end
    wide[i] = methods.expand_dims(a, axis)
  end
  return array.concatenate(wide, axis)
end

local function joiner(name, prepare, axis_of)
  array[name] = function(list)
    local arrays = need_list(name, list)
    for i, a in ipairs(arrays) do
      arrays[i] = prepare(a)
    end
    return array.concatenate(arrays, axis_of(arrays[1]))
  end
end
--- array.vstack, hstack, dstack, column_stack: joined as rows, side by side, in depth; vectors as columns.
joiner("vstack", array.atleast_2d, function() return 1 end)
joiner("hstack", array.atleast_1d, function(a) return a._ndim == 1 and 1 or 2 end)
joiner("dstack", array.atleast_3d, function() return 3 end)
joiner("column_stack", function(a) return a._ndim < 2 and methods.reshape(a, a.size, 1) or a end,
  function() return 2 end)

local function split(name, a, where, axis, unequal)
  a = need_alive(name, a)
  axis = parse_axis(name, a, axis == nil and 1 or axis)
  local n, parts, at = tonumber(a._shape[axis - 1]), {}, 0
  if type(where) == "table" then
    for i = 1, #where + 1 do
      local to = where[i] or n
      if not is_integer(to) then
        fail("%s: position %d is %s, not an integer", name, i, kind_of(to))
      end
      to = min(to < 0 and max(to + n, 0) or to, n)
      parts[i] = part(a, axis, at + 1, to)
      at = to
    end
    return parts
  elseif not is_integer(where) or where < 1 then
    fail("%s: into how many parts (or a table of positions) is expected, got %s", name, kind_of(where))
  elseif not unequal and n % where ~= 0 then
    fail("%s: axis %d of length %d does not divide into %d equal parts; array.array_split makes unequal ones", name,
      axis, n, where)
  end
  for i = 1, where do
    local length = floor(n / where) + (i <= n % where and 1 or 0)
    parts[i] = part(a, axis, at + 1, at + length)
    at = at + length
  end
  return parts
end
--- array.split(a, n [, axis]) or array.split(a, {p, q} [, axis]): a table of views: n equal parts, or cut after p and
--- after q elements. array_split allows unequal parts.
function array.split(a, where, axis) return split("split", a, where, axis, false) end
function array.array_split(a, where, axis) return split("array_split", a, where, axis, true) end

--- array.tile(a, times): a repeated, times along its last axis, or {rows, columns, ...}.
function array.tile(a, times)
  a = need_alive("tile", a)
  times = list_of(times)
  for i = 1, max(#times, 1) do
    if not is_integer(times[i]) or times[i] < 0 then
      fail("tile: a number of times is an integer, 0 or more, got %s", kind_of(times[i]))
    end
  end
  for key in pairs(times) do
    if not is_integer(key) or key < 1 or key > #times then
      fail("tile: times are a list, one an axis, as in {1, 3}; got the key %s", tostring(key))
    end
  end
  local rank = max(#times, a._ndim)
  local own, shape = {}, {}
  for i = 1, rank do
    local k, t = i - (rank - a._ndim), times[i - (rank - #times)] or 1
    own[i] = k >= 1 and tonumber(a._shape[k - 1]) or 1
    shape[i] = own[i] * t
  end
  local out = make(shape, a._dtype)
  if out._size == 0 then
    return out
  end
  -- The first copy, then along each axis from the last the copies of what is there.
  local filled = out
  for i = 1, rank do
    filled = part(filled, i, 1, own[i])
  end
  write(filled, a)
  for i = rank, 1, -1 do
    local done, block = own[i], out
    for k = 1, i - 1 do
      block = part(block, k, 1, own[k])
    end
    while done < shape[i] do -- doubling: few large copies
      local more = min(done, shape[i] - done)
      write(part(block, i, done + 1, done + more), part(block, i, 1, more))
      done = done + more
    end
  end
  return out
end

--- array["repeat"](a, times [, axis]), or array.repeats (repeat is a word of Lua): each element times times, along an
--- axis or of all of a; times may be an integer array with a number for each.
function methods.repeats(a, times, axis)
  a = need_alive("repeat", a)
  if axis == nil then
    a, axis = methods.ravel(a), 1
  end
  axis = parse_axis("repeat", a, axis)
  local n, indices, counts = tonumber(a._shape[axis - 1]), {}, nil
  if type(times) == "table" then
    counts = times
  elseif is(times) then
    counts = as_array(times):totable()
  end
  if counts and #counts ~= n then
    fail("repeat: %d numbers of times for %d elements", #counts, n)
  end
  for i = 1, n do
    local t = counts and counts[i] or times
    if not is_integer(t) or t < 0 then
      fail("repeat: a number of times is an integer, 0 or more, got %s", kind_of(t))
    end
  end
  if not counts and a._ndim < 8 then -- one assignment with a new axis of stride 0
    if n == 0 and not is_integer(times) then
      fail("repeat: a number of times is an integer, 0 or more, got %s", kind_of(times))
    end
    local shape = shape_of(a)
    insert(shape, axis + 1, times)
    local out = make(shape, a._dtype)
    write(out, methods.expand_dims(a, axis + 1))
    local merged = shape_of(a)
    merged[axis] = n * times
    return own_memory(methods.reshape(out, merged))
  end
  for i = 1, n do
    for _ = 1, counts and counts[i] or times do
      indices[#indices + 1] = i
    end
  end
  return methods.take(a, array.from(indices, "int64"), axis)
end
array["repeat"], array.repeats, methods["repeat"] = methods.repeats, methods.repeats, methods.repeats

--- array.roll(a, shift [, axis]): elements moved on by shift, those at the end come in at the front; along an axis (or
--- axes, with a table of shifts), or in row-major order over all of a.
function methods.roll(a, shift, axis)
  a = need_alive("roll", a)
  if axis == nil then
    if not is_integer(shift) then
      fail("roll: the shift is an integer, got %s", kind_of(shift))
    end
    local flat = methods.roll(methods.ravel(a), shift, 1)
    return own_memory(methods.reshape(flat, shape_of(a)))
  end
  local shifts, axes = list_of(shift), list_of(axis_option("roll", axis))
  local out = a
  for i, x in ipairs(axes) do
    local k, s = parse_axis("roll", a, x), shifts[i] or shifts[1]
    if not is_integer(s) then
      fail("roll: the shift is an integer, got %s", kind_of(s))
    end
    local n = tonumber(a._shape[k - 1])
    local from = out
    out = array.empty_like(a)
    if n > 0 then
      s = s % n
      if s > 0 then
        write(part(out, k, 1, s), part(from, k, n - s + 1, n))
      end
      write(part(out, k, s + 1, n), part(from, k, 1, n - s))
    end
  end
  return out
end

-- A table with arrays at its leaves, for array.from.
function kit.from_arrays(t, dtype)
  local list = {}
  for i, x in ipairs(t) do
    list[i] = type(x) == "table" and kit.from_arrays(x) or as_array(x) or
      fail("from: mixed table: entry %d is %s in a table of arrays", i, kind_of(x))
  end
  local a = array.stack(list)
  return dtype and dtype ~= a._dtype and methods.astype(a, dtype_names[dtype]) or a
end

array.roll, methods.tile, methods.split = methods.roll, array.tile, array.split
