-- Growing and cutting: borders, entries put in and left out.
local core, kit = ...
local fail = core.fail
local array, methods, is, as_array = kit.array, kit.methods, kit.is, kit.as_array
local parse_axis, parse_shape, create, check_options = kit.parse_axis, kit.parse_shape, kit.create, kit.check_options
local kind_of, is_integer, write = kit.kind_of, kit.is_integer, kit.write
local need_alive, list_of, shape_of, part, make = kit.need_alive, kit.list_of, kit.shape_of, kit.axis_part, kit.make
local max, min, tonumber, type, ipairs, pairs = math.max, math.min, tonumber, type, ipairs, pairs

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

methods.pad = array.pad
