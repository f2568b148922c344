-- Views and copies of another shape.
local core, kit = ...
local fail = core.fail
local array, methods, need_array, lengths, set_length = kit.array, kit.methods, kit.need_array, kit.lengths, kit.set_length
local check_alive, share, parse_axis, axis_option = kit.check_alive, kit.share, kit.parse_axis, kit.axis_option
local max, min, concat, unpack, bor = math.max, math.min, table.concat, unpack, bit.bor
local tonumber, type, tostring, ipairs, select = tonumber, type, tostring, ipairs, select
local C = core.C
local call, as_array, kind_of, is_integer = kit.call, kit.as_array, kit.kind_of, kit.is_integer
local check_options, create, parse_shape = kit.check_options, kit.create, kit.parse_shape
local set_size, advance = kit.set_size, kit.advance
local COLUMN_MAJOR, READONLY = 1, 1

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
  v._flags = bor(v._flags, READONLY)
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

-- The part of axis `axis` of v from first to last, as a view.
local function part(v, axis, first, last)
  local axes = axes_of(v)
  local stride = axes[axis][2]
  axes[axis] = { max(last - first + 1, 0), stride }
  return with_axes(v, axes, last >= first and (first - 1) * stride or 0)
end

-- A new array of this shape.
local function make(shape, dtype, zero)
  for i = 1, #shape do
    set_length("shape", i, shape[i])
  end
  return create(#shape, dtype, zero or 0)
end

kit.own_memory, kit.need_order, kit.shape_of, kit.axis_part, kit.make = own_memory, need_order, shape_of, part, make
kit.need_alive, kit.list_of = need_alive, list_of

for _, name in ipairs { "swapaxes", "moveaxis", "squeeze", "expand_dims", "broadcast_to", "flip", "rot90", "diagonal",
  "trace", "ravel", "flatten", "is_contiguous", "reshape", "transpose" } do
  array[name] = methods[name]
end
