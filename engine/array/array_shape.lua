-- Views and copies of another shape.
local core, kit = ...
local fail = core.fail
local array, methods, is, need_array, lengths, set_length = kit.array, kit.methods, kit.is, kit.need_array, kit.lengths, kit.set_length
local check_alive, share, parse_axis, axis_option = kit.check_alive, kit.share, kit.parse_axis, kit.axis_option
local max, concat = math.max, table.concat
local min, floor, unpack = math.min, math.floor, unpack
local tonumber, type, tostring, ipairs, pairs, select = tonumber, type, tostring, ipairs, pairs, select
local C, ffi = core.C, core.ffi
local call, as_array, kind_of, is_integer = kit.call, kit.as_array, kit.kind_of, kit.is_integer
local check_options, dtype_option, create, parse_shape = kit.check_options, kit.dtype_option, kit.create, kit.parse_shape
local set_size, view, write, advance, scalar = kit.set_size, kit.view, kit.write, kit.advance, kit.scalar
local dtypes, dtype_names, parse_constructor = kit.dtypes, kit.dtype_names, kit.parse_constructor
local COLUMN_MAJOR, READONLY = 1, 1
local BOOL, FLOAT64 = 0, 5

local function is_contiguous(a, order)
  local stride = 1
  local first, last, step = a._ndim - 1, 0, -1
  if order == "F" then
    first, last, step = 0, a._ndim - 1, 1
  end
  for i = first, last, step do
    if a._shape[i] ~= 1 and a._strides[i] ~= stride then
      return a._size == 0
    end
    stride = stride * a._shape[i]
  end
  return true
end

-- A view of a new array that nobody else sees: it is none.
local function own_memory(v)
  v._flags = 0
  return v
end

-- The strides with which a view of a has the lengths in `shape` (row-major, as many elements); nil if only a copy can.
-- Axes of a that lie in memory like one are taken together, and each such group is cut anew.
local function view_strides(a, shape, rank)
  local strides, axis, ndim = {}, 0, a._ndim
  if a._size == 0 or is_contiguous(a) then
    local stride = 1
    for i = rank, 1, -1 do
      strides[i] = stride
      stride = stride * max(shape[i], 1)
    end
    return strides
  end
  local i = 1
  while axis < ndim do
    local have, first = tonumber(a._shape[axis]), axis
    local want, begin = 1, i
    while i <= rank and (want < have or shape[i] == 1) do
      want = want * shape[i]
      i = i + 1
    end
    while have < want do
      axis = axis + 1
      have = have * tonumber(a._shape[axis])
      while i <= rank and want < have do
        want = want * shape[i]
        i = i + 1
      end
    end
    axis = axis + 1
    local last = nil -- the group must be one run
    for k = axis - 1, first, -1 do
      if a._shape[k] ~= 1 then
        if last and a._strides[k] ~= a._strides[last] * a._shape[last] then
          return nil
        end
        last = k
      end
    end
    local stride = last and 0 or 1
    for k = axis - 1, first, -1 do
      if a._shape[k] ~= 1 then
        stride = tonumber(a._strides[k])
        break
      end
    end
    for k = i - 1, begin, -1 do
      strides[k] = stride
      stride = stride * shape[k]
    end
  end
  for k = 1, rank do
    strides[k] = strides[k] or 1
  end
  return strides
end

local function need_order(name, order)
  if order ~= "C" and order ~= "F" then
    fail('%s: an order is "C" (row-major) or "F" (column-major), got %s', name, kind_of(order))
  end
  return order
end

kit.need_order = need_order

local only_order = { order = true }
local function order_option(name, options)
  if options == nil then
    return "C"
  elseif type(options) == "string" then
    return need_order(name, options)
  elseif type(options) ~= "table" then
    fail('%s: options are a table such as {order = "F"}, got %s', name, kind_of(options))
  end
  check_options(name, options, only_order)
  return need_order(name, options.order or "C")
end

-- The same elements in row-major order in the lengths `shape`, one of which may be -1. A view where that can be.
local function reshape(name, a, shape)
  check_alive(a)
  local known, open = 1, nil
  for i = 1, #shape do
    if shape[i] == -1 then
      if open then
        fail("%s: only one length can be -1", name)
      end
      open = i
      lengths[min(i, 8) - 1] = 1
    else
      set_length(name, i, shape[i])
      known = known * shape[i]
    end
  end
  local size, rank = tonumber(a._size), #shape
  if rank > 8 then
    fail("%s: an array has at most 8 dimensions", name)
  end
  if open and known > 0 and size % known == 0 then
    lengths[open - 1] = size / known
    known, open = size, nil
  end
  if known ~= size or open then
    local parts = {}
    for i = 1, rank do
      parts[i] = tostring(shape[i])
    end
    fail("%s: %d elements cannot take the shape (%s)", name, size, concat(parts, ", "))
  end
  local kept = {}
  for i = 1, rank do
    kept[i] = tonumber(lengths[i - 1])
  end
  local strides = view_strides(a, kept, rank)
  local v = share(strides and a or methods.copy(a))
  v._ndim = rank
  local stride = 1
  for i = rank, 1, -1 do
    v._shape[i - 1] = kept[i]
    v._strides[i - 1] = strides and strides[i] or stride
    stride = stride * max(kept[i], 1)
  end
  if not strides then
    own_memory(v)
  end
  return v
end

-- The same in column-major order: what row-major order makes of the axes reversed, reversed.
local function reshape_in(order, name, a, shape)
  if order == "C" then
    return (reshape(name, a, shape))
  end
  local reversed, rank = {}, #shape
  for i = 1, rank do
    reversed[i] = shape[rank + 1 - i]
  end
  return (methods.transpose(reshape(name, methods.transpose(a), reversed)))
end

--- a:reshape(2, 3 [, options]) or a:reshape({2, 3} [, options]): the same elements in another shape; one length may be
--- -1. A view where a's strides allow it, else a copy. They are taken and laid out in row-major order, or column-major
--- with {order = "F"}.
function methods.reshape(a, ...)
  a = need_array("reshape", a)
  local first, count = ..., select("#", ...)
  local last, order, shape = nil, "C", first
  if count > 0 then
    last = select(count, ...)
  end
  if type(first) == "table" and first.order == nil then
    order = order_option("reshape", (select(2, ...)))
  else
    shape = { ... }
    if count > 0 and type(last) ~= "number" then
      order = order_option("reshape", last)
      shape[count] = nil
    end
  end
  return (reshape_in(order, "reshape", a, shape))
end

--- a:transpose([axes]): a view with the axes reversed, or in the order given: a:transpose(2, 3, 1). a.T is short for
--- a:transpose().
function methods.transpose(a, ...)
  a = need_array("transpose", a)
  check_alive(a)
  local axes = type((...)) == "table" and (...) or { ... }
  local ndim = a._ndim
  if #axes == 0 then
    axes = {}
    for i = 1, ndim do
      axes[i] = ndim + 1 - i
    end
  elseif #axes ~= ndim then
    fail("transpose: %d axes given for an array of %d dimensions", #axes, ndim)
  end
  local v, seen = share(a), {}
  for i = 1, ndim do
    local axis = parse_axis("transpose", a, axes[i])
    if seen[axis] then
      fail("transpose: axis %d is given twice", axis)
    end
    seen[axis] = true
    v._shape[i - 1] = a._shape[axis - 1]
    v._strides[i - 1] = a._strides[axis - 1]
  end
  return v
end

-- ----------------------------------------------------------------------------------------------------------- order ----
--- a:copy([{order = "C"}]): a copy; its elements lie in row-major order, or column-major with {order = "F"}.
function methods.copy(a, options)
  a = need_array("copy", a)
  return call(C.pg_array_copy, nil, a, order_option("copy", options) == "F" and COLUMN_MAJOR or 0)
end
array.copy = methods.copy

--- array.ascontiguousarray(a), array.asfortranarray(a): a itself if its elements lie in row-major, or column-major,
--- order without gaps, else a copy that does.
function array.ascontiguousarray(a)
  return methods.is_contiguous(a) and as_array(a) or methods.copy(a)
end
function array.asfortranarray(a)
  return methods.is_contiguous(a, "F") and as_array(a) or methods.copy(a, "F")
end

--- a:is_contiguous([order]): whether the elements lie in memory without gaps in row-major ("C") or column-major order
--- ("F").
function methods.is_contiguous(a, order)
  a = need_array("is_contiguous", a)
  check_alive(a)
  return is_contiguous(a, need_order("is_contiguous", order or "C"))
end

-- ----------------------------------------------------------------------------------------------------------- views ----
local function shape_of(a)
  local shape = {}
  for i = 1, a._ndim do
    shape[i] = tonumber(a._shape[i - 1])
  end
  return shape
end

kit.shape_of = shape_of

-- A view with axes (tables of {length, stride}) in place of a's.
local function with_axes(a, axes, start)
  if #axes > 8 then
    fail("an array has at most 8 dimensions, not %d", #axes)
  end
  local v = share(a)
  v._ndim = #axes
  for i, axis in ipairs(axes) do
    v._shape[i - 1], v._strides[i - 1] = axis[1], axis[2]
  end
  set_size(v)
  if start and a._size > 0 then
    v._data = advance(a._data, a._dtype, start)
  end
  return v
end

local function axes_of(a)
  local axes = {}
  for i = 1, a._ndim do
    axes[i] = { tonumber(a._shape[i - 1]), tonumber(a._strides[i - 1]) }
  end
  return axes
end

local function need_alive(name, a)
  a = need_array(name, a)
  check_alive(a)
  return a
end

-- A number or a table of them.
local function list_of(x)
  return type(x) == "table" and x or { x }
end

--- a:swapaxes(i, j): a view with two axes exchanged.
function methods.swapaxes(a, i, j)
  a = need_alive("swapaxes", a)
  i, j = parse_axis("swapaxes", a, i), parse_axis("swapaxes", a, j)
  local axes = axes_of(a)
  axes[i], axes[j] = axes[j], axes[i]
  return with_axes(a, axes)
end

--- array.moveaxis(a, from, to): a view with axis `from` (or axes, in a table) at place `to`; the others keep their order.
function methods.moveaxis(a, from, to)
  a = need_alive("moveaxis", a)
  from, to = list_of(from), list_of(to)
  if #from ~= #to then
    fail("moveaxis: %d axes cannot go to %d places", #from, #to)
  end
  local old, new, taken = axes_of(a), {}, {}
  for i = 1, #from do
    local f, t = parse_axis("moveaxis", a, from[i]), parse_axis("moveaxis", a, to[i])
    if taken[f] or new[t] then
      fail("moveaxis: an axis is given twice")
    end
    new[t], taken[f] = old[f], true
  end
  local next_free = 1
  for i = 1, a._ndim do
    if not taken[i] then
      while new[next_free] do
        next_free = next_free + 1
      end
      new[next_free] = old[i]
    end
  end
  return with_axes(a, new)
end

--- a:squeeze([axis or axes]): a view without its axes of length 1, or without those given.
function methods.squeeze(a, which)
  a = need_alive("squeeze", a)
  local drop = {}
  if which ~= nil then
    for _, axis in ipairs(list_of(axis_option("squeeze", which))) do
      axis = parse_axis("squeeze", a, axis)
      if a._shape[axis - 1] ~= 1 then
        fail("squeeze: axis %d has length %d, not 1", axis, tonumber(a._shape[axis - 1]))
      end
      drop[axis] = true
    end
  end
  local axes = {}
  for i, axis in ipairs(axes_of(a)) do
    if not (drop[i] or which == nil and axis[1] == 1) then
      axes[#axes + 1] = axis
    end
  end
  return with_axes(a, axes)
end

--- a:expand_dims(axis or axes): a view with axes of length 1 at these places of the result.
function methods.expand_dims(a, which)
  a = need_alive("expand_dims", a)
  local places, old, axes = {}, axes_of(a), {}
  which = list_of(axis_option("expand_dims", which))
  local rank = a._ndim + #which
  for _, axis in ipairs(which) do
    if not is_integer(axis) or axis == 0 or axis > rank or axis < -rank then
      fail("expand_dims: axis %s is out of range for a result of %d dimensions", kind_of(axis), rank)
    end
    axis = axis < 0 and axis + rank + 1 or axis
    if places[axis] then
      fail("expand_dims: axis %d is given twice", axis)
    end
    places[axis] = true
  end
  local k = 0
  for i = 1, rank do
    if places[i] then
      axes[i] = { 1, 1 }
    else
      k = k + 1
      axes[i] = old[k]
    end
  end
  return with_axes(a, axes)
end

local function stretched(name, a, shape)
  local axes, lead = {}, #shape - a._ndim
  for i, n in ipairs(shape) do
    local own = i > lead and tonumber(a._shape[i - lead - 1]) or 1
    if lead < 0 or own ~= n and own ~= 1 then
      fail("%s: an array of shape %s cannot be broadcast to (%s)", name, kit.shape_text(a._shape, a._ndim),
        concat(shape, ", "))
    end
    axes[i] = { n, own == n and i > lead and tonumber(a._strides[i - lead - 1]) or 0 }
  end
  if lead < 0 then
    fail("%s: an array of %d dimensions cannot be broadcast to %d", name, a._ndim, #shape)
  end
  local v = with_axes(a, axes)
  v._flags = bit.bor(v._flags, READONLY)
  return v
end

--- array.broadcast_to(a, shape): a read-only view of this shape that repeats a's elements.
function methods.broadcast_to(a, shape)
  a = need_alive("broadcast_to", a)
  local rank, lengths_ = parse_shape("broadcast_to", shape), {}
  for i = 1, rank do
    lengths_[i] = tonumber(lengths[i - 1])
  end
  return stretched("broadcast_to", a, lengths_)
end

--- array.broadcast_arrays(a, b, ...): read-only views of all of them with the shape they have in common.
function array.broadcast_arrays(...)
  local list, shape, rank = { ... }, {}, 0
  for i, a in ipairs(list) do
    list[i] = need_alive("broadcast_arrays", a)
    rank = max(rank, list[i]._ndim)
  end
  for i = 1, rank do
    shape[i] = 1
    for _, a in ipairs(list) do
      local k = i - (rank - a._ndim)
      local n = k >= 1 and tonumber(a._shape[k - 1]) or 1
      if n ~= 1 then
        if shape[i] ~= 1 and shape[i] ~= n then
          fail("broadcast_arrays: axis %d has length %d in one array and %d in another", i, shape[i], n)
        end
        shape[i] = n
      end
    end
  end
  for i, a in ipairs(list) do
    list[i] = stretched("broadcast_arrays", a, shape)
  end
  return unpack(list)
end

--- a:flip([axis or axes]): a view with the elements along an axis, or all, in reverse.
function methods.flip(a, which)
  a = need_alive("flip", a)
  local axes, start, done = axes_of(a), 0, {}
  if which == nil then
    which = {}
    for i = 1, a._ndim do
      which[i] = i
    end
  end
  for _, axis in ipairs(list_of(axis_option("flip", which))) do
    axis = parse_axis("flip", a, axis)
    if not done[axis] then
      done[axis] = true
      start = start + (axes[axis][1] - 1) * axes[axis][2]
      axes[axis] = { axes[axis][1], -axes[axis][2] }
    end
  end
  return with_axes(a, axes, start)
end
function array.flipud(a) return methods.flip(a, 1) end
function array.fliplr(a) return methods.flip(a, 2) end

--- array.rot90(a [, times]): a view, turned counter-clockwise in the plane of its first two axes.
function methods.rot90(a, times)
  a = need_alive("rot90", a)
  times = times == nil and 1 or times
  if a._ndim < 2 then
    fail("rot90: at least 2 dimensions are needed, not %d", a._ndim)
  elseif not is_integer(times) then
    fail("rot90: the number of turns is an integer, got %s", kind_of(times))
  end
  times = times % 4
  if times == 0 then
    return share(a)
  elseif times == 1 then
    return methods.swapaxes(methods.flip(a, 2), 1, 2)
  elseif times == 2 then
    return methods.flip(a, { 1, 2 })
  end
  return methods.flip(methods.swapaxes(a, 1, 2), 2)
end

--- a:diagonal([offset [, axis1, axis2]]): a view of the elements [i][i + offset] of two axes, as the last axis. Writable,
--- unlike NumPy's.
function methods.diagonal(a, offset, axis1, axis2)
  a = need_alive("diagonal", a)
  offset = offset == nil and 0 or offset
  if a._ndim < 2 then
    fail("diagonal: at least 2 dimensions are needed, not %d", a._ndim)
  elseif not is_integer(offset) then
    fail("diagonal: the offset is an integer, got %s", kind_of(offset))
  end
  axis1 = parse_axis("diagonal", a, axis1 == nil and 1 or axis1)
  axis2 = parse_axis("diagonal", a, axis2 == nil and 2 or axis2)
  if axis1 == axis2 then
    fail("diagonal: two different axes are needed, got %d twice", axis1)
  end
  local old, axes = axes_of(a), {}
  local rows, columns = old[axis1], old[axis2]
  local n = max(min(rows[1] + min(offset, 0), columns[1] - max(offset, 0)), 0)
  for i, axis in ipairs(old) do
    if i ~= axis1 and i ~= axis2 then
      axes[#axes + 1] = axis
    end
  end
  axes[#axes + 1] = { n, rows[2] + columns[2] }
  return with_axes(a, axes, n > 0 and (offset > 0 and offset * columns[2] or -offset * rows[2]) or 0)
end

--- a:trace([offset]): the sum of the diagonal.
function methods.trace(a, offset)
  return methods.diagonal(a, offset):sum()
end

--- a:ravel([{order = "C"}]): one axis with all elements in row-major order, or column-major with {order = "F"}; a view
--- where they lie so, else a copy. a:flatten() always copies.
function methods.ravel(a, options)
  a = need_array("ravel", a)
  return (reshape_in(order_option("ravel", options), "ravel", a, { tonumber(a._size) }))
end
function methods.flatten(a, options)
  a = need_array("flatten", a)
  local order = order_option("flatten", options)
  return own_memory(reshape_in(order, "flatten", methods.copy(a, order), { tonumber(a._size) }))
end

local function at_least(name, n)
  return function(a)
    if type(a) == "number" or type(a) == "boolean" then
      a = array.full({}, a)
    end
    a = need_alive(name, a)
    local axes = axes_of(a)
    if n == 3 and #axes == 1 then
      axes = { { 1, 1 }, axes[1], { 1, 1 } }
    end
    while #axes < n do
      table.insert(axes, n == 3 and #axes == 2 and 3 or 1, { 1, 1 })
    end
    return with_axes(a, axes)
  end
end
--- array.atleast_1d(a), atleast_2d, atleast_3d: a view with axes of length 1 added to have so many dimensions.
array.atleast_1d, array.atleast_2d, array.atleast_3d =
  at_least("atleast_1d", 1), at_least("atleast_2d", 2), at_least("atleast_3d", 3)

--- The part of axis `axis` of v from first to last, as a view.
local function part(v, axis, first, last)
  local axes = axes_of(v)
  local stride = axes[axis][2]
  axes[axis] = { max(last - first + 1, 0), stride }
  return with_axes(v, axes, last >= first and (first - 1) * stride or 0)
end

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

local function make(shape, dtype, zero)
  for i = 1, #shape do
    set_length("shape", i, shape[i])
  end
  return create(#shape, dtype, zero or 0)
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
    table.insert(shape, axis + 1, times)
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

-- -------------------------------------------------------------------------------------------------------- matrices ----
--- array.eye(n [, m [, k]] [, options]): n by m (or n), ones on diagonal k (0: the main one). array.identity(n).
function array.eye(n, m, k, options)
  if type(m) == "table" or type(m) == "string" then
    m, options = nil, m
  elseif type(k) == "table" or type(k) == "string" then
    k, options = nil, k
  end
  m = m == nil and n or m
  set_length("eye", 1, n)
  set_length("eye", 2, m)
  local a = array.zeros({ n, m }, options)
  local d = methods.diagonal(a, k)
  if d._size > 0 then
    write(d, a._dtype == BOOL and true or 1)
  end
  return a
end
function array.identity(n, options) return array.eye(n, n, 0, options) end

--- array.diag(a [, k]): of a matrix its diagonal k, a view; of a vector a matrix with it on diagonal k.
function array.diag(a, k)
  a = need_alive("diag", a)
  if a._ndim ~= 1 then
    return methods.diagonal(a, k)
  end
  k = k == nil and 0 or k
  local n = tonumber(a._shape[0]) + math.abs(k)
  local out = make({ n, n }, a._dtype, 1)
  if a._size > 0 then
    write(methods.diagonal(out, k), a)
  end
  return out
end

-- Sets what lies above (or below) diagonal k to zero: row by row, in place.
local function clear(a, k, above)
  local rows, columns = tonumber(a._shape[a._ndim - 2]), tonumber(a._shape[a._ndim - 1])
  for i = 1, rows do
    local first, last
    if above then
      first, last = max(i + k + 1, 1), columns
    else
      first, last = 1, min(i + k - 1, columns)
    end
    if first <= last then
      write(part(part(a, a._ndim - 1, i, i), a._ndim, first, last), a._dtype == BOOL and false or 0)
    end
  end
  return a
end
local function triangle(name, above)
  local function apply(a, k)
    a = need_alive(name, a)
    if a._ndim < 2 then
      fail("%s: at least 2 dimensions are needed, not %d", name, a._ndim)
    end
    return clear(methods.copy(a), k == nil and 0 or k, above)
  end
  array[name], methods[name] = apply, apply
end
--- array.tril(a [, k]), array.triu(a [, k]): a copy with what is above, or below, diagonal k set to 0.
triangle("tril", true)
triangle("triu", false)

--- array.tri(n [, m [, k]] [, options]): ones on and below diagonal k.
function array.tri(n, m, k, options)
  return clear(array.ones({ n, m == nil and n or m }, options), k == nil and 0 or k, true)
end

--- array.meshgrid(x, y, ... [, {indexing = "xy"}]): coordinate arrays of a grid; "ij" for the order of the vectors.
function array.meshgrid(...)
  local list, indexing = { ... }, "xy"
  local last = list[#list]
  if type(last) == "table" then
    check_options("meshgrid", last, { indexing = true })
    indexing = last.indexing or indexing
    list[#list] = nil
  end
  if indexing ~= "xy" and indexing ~= "ij" then
    fail('meshgrid: indexing is "xy" or "ij", got %s', kind_of(indexing))
  end
  local n = #list
  local views = {}
  for i, x in ipairs(list) do
    local shape = {}
    for k = 1, n do
      shape[k] = 1
    end
    local place = indexing == "xy" and n > 1 and (i == 1 and 2 or i == 2 and 1) or i
    shape[place] = need_alive("meshgrid", x).size
    views[i] = methods.reshape(x, shape)
  end
  views = { array.broadcast_arrays(unpack(views)) }
  for i = 1, n do
    views[i] = methods.copy(views[i])
  end
  return unpack(views)
end

-- ------------------------------------------------------------------------------------------------ growing and cutting ----
local pad_options = { mode = true, value = true }
local pad_modes = { constant = true, edge = true, reflect = true, symmetric = true, wrap = true }

-- Which element of an axis of n stands at place i (from 1, or beyond the ends).
local function pad_source(mode, i, n)
  if mode == "edge" then
    return min(max(i, 1), n)
  elseif mode == "wrap" then
    return (i - 1) % n + 1
  elseif mode == "symmetric" then
    local k = (i - 1) % (2 * n)
    return k < n and k + 1 or 2 * n - k
  elseif n == 1 then
    return 1
  end
  local k = (i - 1) % (2 * n - 2)
  return k < n and k + 1 or 2 * n - 1 - k
end

--- array.pad(a, width [, {mode = "constant", value = 0}]): a with a border; width is a number, {before, after}, or such
--- a pair for each axis. Modes: constant, edge, reflect, symmetric, wrap.
function array.pad(a, width, options)
  a = need_alive("pad", a)
  options = options or {}
  check_options("pad", options, pad_options)
  local mode = options.mode or "constant"
  if not pad_modes[mode] then
    fail('pad: mode is "constant", "edge", "reflect", "symmetric" or "wrap", got %s', kind_of(mode))
  end
  local shape, before, after = shape_of(a), {}, {}
  for i = 1, a._ndim do
    local w = width
    if type(width) == "table" then
      w = type(width[1]) == "table" and (width[i] or width[1]) or width
    end
    before[i], after[i] = type(w) == "table" and w[1] or w, type(w) == "table" and (w[2] or w[1]) or w
    if not is_integer(before[i]) or not is_integer(after[i]) or before[i] < 0 or after[i] < 0 then
      fail("pad: a width is an integer, 0 or more, or a pair {before, after}; got %s for axis %d", kind_of(w), i)
    end
    if mode ~= "constant" and shape[i] == 0 and before[i] + after[i] > 0 then
      fail("pad: axis %d is empty and cannot be extended by mode %s", i, mode)
    end
  end
  if mode ~= "constant" then
    for i = 1, a._ndim do
      local indices = {}
      for k = 1 - before[i], shape[i] + after[i] do
        indices[#indices + 1] = pad_source(mode, k, shape[i])
      end
      if before[i] + after[i] > 0 then
        a = methods.take(a, array.from(indices, "int64"), i)
      end
    end
    return a
  end
  local padded = {}
  for i = 1, a._ndim do
    padded[i] = shape[i] + before[i] + after[i]
  end
  local out = make(padded, a._dtype, 1)
  if options.value ~= nil then
    write(out, options.value)
  end
  if a._size > 0 then
    local middle = out
    for i = 1, a._ndim do
      middle = part(middle, i, before[i] + 1, before[i] + shape[i])
    end
    write(middle, a)
  end
  return out
end

--- array.append(a, b [, axis]): a and then b; flattened if no axis is given.
function array.append(a, b, axis)
  a = need_alive("append", a)
  if b == nil or type(b) == "table" then
    fail("append: an array or a number is expected, got %s", kind_of(b))
  end
  b = is(b) and need_alive("append", b) or array.full({ 1 }, b)
  if axis == nil then
    return array.concatenate { methods.ravel(a), methods.ravel(b) }
  end
  return array.concatenate({ a, b }, axis)
end

-- Place `at` on an axis of n, negative from the end.
local function need_place(name, at, n)
  if not is_integer(at) or at == 0 or at > n or at < -n then
    fail("%s: index %s is out of range; legal are 1 to %d, and negative from the end", name, kind_of(at), n)
  end
  return at < 0 and at + n + 1 or at
end

--- array.insert(a, at, values [, axis]): a copy with values before place `at`, of the same dtype.
function array.insert(a, at, values, axis)
  a = need_alive("insert", a)
  if axis == nil then
    a, axis = methods.ravel(a), 1
  end
  axis = parse_axis("insert", a, axis)
  local shape, n = shape_of(a), tonumber(a._shape[axis - 1])
  at = need_place("insert", at, n + 1)
  local x = as_array(values)
  local count = x and x._ndim == a._ndim and tonumber(x._shape[axis - 1]) or 1
  shape[axis] = n + count
  local out = make(shape, a._dtype)
  if at > 1 then
    write(part(out, axis, 1, at - 1), part(a, axis, 1, at - 1))
  end
  write(part(out, axis, at, at + count - 1), x or values)
  if at <= n then
    write(part(out, axis, at + count, n + count), part(a, axis, at, n))
  end
  return out
end

--- array.delete(a, at [, axis]): a copy without the entry (or entries, a table of integers) at `at`.
function array.delete(a, at, axis)
  a = need_alive("delete", a)
  if axis == nil then
    a, axis = methods.ravel(a), 1
  end
  axis = parse_axis("delete", a, axis)
  local n, gone = tonumber(a._shape[axis - 1]), {}
  for _, k in ipairs(is(at) and as_array(at):totable() or list_of(at)) do
    gone[need_place("delete", k, n)] = true
  end
  local shape, count = shape_of(a), 0
  for _ in pairs(gone) do
    count = count + 1
  end
  shape[axis] = n - count
  local out, to, i = make(shape, a._dtype), 0, 1
  while i <= n do
    local last = i
    if not gone[i] then
      while last < n and not gone[last + 1] do
        last = last + 1
      end
      write(part(out, axis, to + 1, to + last - i + 1), part(a, axis, i, last))
      to = to + last - i + 1
    end
    i = last + 1
  end
  return out
end

--- array.resize(a, shape): a new array of this shape, filled with a's elements in row-major order, again and again.
function array.resize(a, shape)
  a = need_alive("resize", a)
  local out = create(parse_shape("resize", shape), a._dtype, 0)
  local flat, source, done = methods.reshape(out, { out.size }), methods.ravel(a), 0
  local n, size = tonumber(out._size), tonumber(a._size)
  if n > 0 and size == 0 then
    fail("resize: an empty array has nothing to repeat")
  end
  while done < n do
    local count = min(size, n - done)
    write(part(flat, 1, done + 1, done + count), part(source, 1, 1, count))
    done = done + count
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

for _, name in ipairs { "swapaxes", "moveaxis", "squeeze", "expand_dims", "broadcast_to", "flip", "rot90", "diagonal",
  "trace", "ravel", "flatten", "roll", "is_contiguous", "reshape", "transpose" } do
  array[name] = methods[name]
end
for _, name in ipairs { "tile", "split", "pad" } do
  methods[name] = array[name]
end
