-- Boolean masks and integer index arrays, and how views relate to their memory.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array, methods, call, is, as_array = kit.array, kit.methods, kit.call, kit.is, kit.as_array
local need_array, kind_of, is_integer, check_alive = kit.need_array, kit.kind_of, kit.is_integer, kit.check_alive
local parse_axis, parse_shape, lengths, create, view = kit.parse_axis, kit.parse_shape, kit.lengths, kit.create, kit.view
local load, share, read_only, scalar, dtype_names = kit.load, kit.share, kit.read_only, kit.scalar, kit.dtype_names
local check_options, has_array = kit.check_options, kit.has_array
local tonumber, type, tostring, ipairs, pairs, select, unpack = tonumber, type, tostring, ipairs, pairs, select, unpack
local band = bit.band
local BOOL, FLOAT32, FLOAT64 = 0, 4, 5
local INT64 = 3
local COMPLEX64 = 11

local function is_integer_dtype(dtype)
  return dtype ~= BOOL and dtype ~= FLOAT32 and dtype ~= FLOAT64 and dtype < COMPLEX64
end

-- An index array: of an integer dtype.
local function check_index(name, x)
  check_alive(x)
  if not is_integer_dtype(x._dtype) then
    fail("%s: an index array holds integers or is a bool mask, this one has dtype %s; convert it with " ..
      'a:astype("int64")', name, dtype_names[x._dtype])
  end
  return x
end

-- x as an int64 array: an index array, a number, or a table of integers.
local function need_index(name, x)
  if type(x) == "number" then
    if not is_integer(x) then
      fail("%s: an index is an integer, got %s", name, kind_of(x))
    end
    return array.full({}, x, "int64")
  elseif type(x) == "table" then
    return array.from(x, "int64")
  end
  local a = as_array(x)
  if not a then
    fail("%s: an index array, an integer or a table of integers is expected, got %s", name, kind_of(x))
  elseif a._dtype == BOOL then
    fail("%s: a mask cannot stand for indices here; array.flatnonzero(mask) gives the indices of what is true", name)
  end
  return check_index(name, a)
end

local function element_or_array(v)
  if v._ndim == 0 then
    return (load(v._data, v._dtype, 0))
  end
  return v
end

-- The value of an assignment as an array.
local function operand(a, value)
  if band(a._flags, 1) ~= 0 then
    read_only()
  end
  local source = as_array(value)
  if source then
    return source
  elseif type(value) == "table" then
    fail("a table cannot be assigned to a part of an array; make it an array with array.from first")
  end
  return scalar(1, value, a._dtype)
end

local pointers = ffi.typeof("const pg_array *[8]")
local array_p = ffi.typeof("const pg_array *")

-- What a[spec] means where spec has arrays in it: the view that the other entries stand for, the index array for each
-- of its axes (false: none), and how many other axes come before theirs in the result.
local function parse_spec(a, spec)
  check_alive(a)
  kit.check_spec(spec)
  local basic, indices, axis, entries = {}, {}, 0, {}
  for i = 1, #spec do
    local entry = spec[i]
    local x = as_array(entry)
    if not x then
      axis = axis + 1
      entries[#entries + 1] = { number = type(entry) == "number", entry = entry, axis = axis }
    elseif x._dtype == BOOL then
      check_alive(x)
      if x._ndim == 0 then
        fail("index: a mask has at least 1 dimension; entry %d has none", i)
      end
      for k = 0, x._ndim - 1 do
        if axis + k + 1 > a._ndim or x._shape[k] ~= a._shape[axis + k] then
          fail("index: entry %d is a mask of shape %s, which does not fit axis %d and what follows of an array of shape %s",
            i, kit.shape_text(x._shape, x._ndim), axis + 1, kit.shape_text(a._shape, a._ndim))
        end
      end
      local where = { array.nonzero(x) }
      for k = 1, #where do
        axis = axis + 1
        entries[#entries + 1] = { index = where[k], axis = axis }
      end
    else
      axis = axis + 1
      entries[#entries + 1] = { index = check_index("index", x), axis = axis }
    end
  end
  if axis > a._ndim then
    fail("index: %d entries for an array of %d dimensions", axis, a._ndim)
  end
  -- As in NumPy an integer beside index arrays is one of them: where a range stands between two of these, the axes of
  -- the indices come first in the result.
  local first, last, ranges_before, between, kept = nil, nil, 0, false, 0
  for i, e in ipairs(entries) do
    if e.index or e.number then
      if last and last ~= i - 1 then
        between = true
      end
      first, last = first or i, i
    elseif not first then
      ranges_before = ranges_before + 1
    end
    if e.index then
      kept = kept + 1
      basic[i], indices[kept] = {}, e.index
    else
      basic[i] = e.entry
      if not e.number then
        kept = kept + 1
        indices[kept] = false
      end
    end
  end
  return view(a, basic), indices, between and 0 or ranges_before
end

-- Pointers to index arrays. They hold nothing: the caller keeps the arrays in reach (collectgarbage may run in between).
local function point_to(indices)
  local p = pointers()
  for i, x in ipairs(indices) do
    if x then
      p[i - 1] = ffi.cast(array_p, x)
    end
  end
  return p
end

local kept = {} -- the index arrays of the call in progress: compiled code must not find them dead

local function gather(v, position, indices)
  kept[1] = indices
  local out = call(C.pg_array_index_get, nil, v, position, point_to(indices))
  kept[1] = nil
  return out
end

local function scatter(v, position, indices, value)
  kept[1] = indices
  call(C.pg_array_index_set, v, position, point_to(indices), value)
  kept[1] = nil
end

-- The same by one index array, for the first axis: without a table and pointers of its own.
local first_only = pointers()

local function gather_first(a, x)
  kept[1] = x
  first_only[0] = ffi.cast(array_p, x)
  local out = call(C.pg_array_index_get, nil, a, 0, first_only)
  kept[1] = nil
  return out
end

--- a[key] and a[{ ... }] with arrays in the index.
function kit.index_get(a, key)
  a = as_array(a)
  if is(key) then
    local x = as_array(key)
    check_alive(a)
    check_alive(x)
    if x._dtype == BOOL then
      return call(C.pg_array_mask_get, nil, a, x)
    elseif a._ndim == 0 then
      fail("an array of 0 dimensions has no index; read it with a:item()")
    end
    return (element_or_array(gather_first(a, check_index("index", x))))
  end
  local v, indices, position = parse_spec(a, key)
  return (element_or_array(gather(v, position, indices)))
end

--- a[key] = value and a[{ ... }] = value with arrays in the index.
function kit.index_set(a, key, value)
  a = as_array(a)
  if is(key) then
    local x = as_array(key)
    check_alive(a)
    check_alive(x)
    if x._dtype == BOOL then
      call(C.pg_array_mask_set, a, x, operand(a, value))
      return
    elseif a._ndim == 0 then
      fail("an array of 0 dimensions has no index; write it with a:fill(value)")
    end
    scatter(a, 0, { check_index("index", x) }, operand(a, value))
    return
  end
  local v, indices, position = parse_spec(a, key)
  scatter(v, position, indices, operand(a, value))
end

-- An array as one axis: a view where the elements lie in order, else a copy.
local function flat(a)
  return methods.reshape(a, -1)
end

--- array.take(a, indices [, axis]): the elements at indices (an integer array, a number, or a table of integers) along
--- an axis, or of all of a in row-major order. Of an array that is not row-major, the latter makes a copy first.
function methods.take(a, indices, axis)
  a = need_array("take", a)
  check_alive(a)
  local x = need_index("take", indices)
  if axis == nil then
    a, axis = a._ndim == 1 and a or flat(a), 1
  end
  axis = parse_axis("take", a, axis)
  if axis == 1 then
    return (element_or_array(gather_first(a, x)))
  end
  local list = {}
  for i = 1, a._ndim do
    list[i] = i == axis and x or false
  end
  return (element_or_array(gather(a, axis - 1, list)))
end

-- The index arrays that pair each element of `x` along `axis` with its own place in all other axes.
local function along(name, a, x, axis)
  check_alive(a)
  x = need_index(name, x)
  axis = parse_axis(name, a, axis)
  if x._ndim ~= a._ndim then
    fail("%s: the indices need as many dimensions as the array, %d, not %d", name, a._ndim, x._ndim)
  end
  local list = {}
  for i = 1, a._ndim do
    if i == axis then
      list[i] = x
    else
      local n = tonumber(a._shape[i - 1])
      if x._shape[i - 1] ~= n and x._shape[i - 1] ~= 1 then
        fail("%s: axis %d of the indices has length %d where the array has %d", name, i, tonumber(x._shape[i - 1]), n)
      end
      local shape = {}
      for k = 1, a._ndim do
        shape[k] = k == i and n or 1
      end
      list[i] = array.range(n, "int64"):reshape(shape)
    end
  end
  return list
end

--- array.take_along_axis(a, indices, axis): along the axis, the elements at each line's own indices, as argsort gives
--- them.
function methods.take_along_axis(a, indices, axis)
  a = need_array("take_along_axis", a)
  return gather(a, 0, along("take_along_axis", a, indices, axis))
end

--- array.put_along_axis(a, indices, values, axis): writes what take_along_axis would read.
function array.put_along_axis(a, indices, values, axis)
  a = need_array("put_along_axis", a)
  scatter(a, 0, along("put_along_axis", a, indices, axis), operand(a, values))
end

-- Row-major positions as indices, an array, or of a number a number, for each axis.
local function unravel(name, positions, shape)
  local rank, size, sizes = parse_shape(name, shape), 1, {}
  for i = rank, 1, -1 do
    sizes[i] = tonumber(lengths[i - 1])
    size = size * sizes[i]
  end
  local x = need_index(name, positions)
  local out, to = {}, {}
  for axis = 1, rank do
    out[axis] = array.empty(x.shape, "int64")
    to[axis] = ffi.cast("int64_t *", out[axis]._data)
  end
  local from = array.copy(x._dtype == INT64 and x or x:astype("int64"))
  local data = ffi.cast("int64_t *", from._data)
  for i = 0, tonumber(x._size) - 1 do
    local p = tonumber(data[i])
    if p == 0 or p > size or p < -size then
      fail("%s: position %d is out of range for %d elements; legal are 1 to %d, and negative from the end", name, p,
        size, size)
    end
    p = p < 0 and p + size or p - 1
    for axis = rank, 1, -1 do
      local rest = p % sizes[axis]
      to[axis][i] = rest + 1
      p = (p - rest) / sizes[axis]
    end
  end
  if x._ndim == 0 then
    for axis = 1, rank do
      out[axis] = load(out[axis]._data, INT64, 0)
    end
  end
  return unpack(out)
end

--- array.unravel_index(positions, shape): row-major positions in an array of this shape as indices, an array (or, of a
--- number, a number) for each axis.
function array.unravel_index(positions, shape)
  return unravel("unravel_index", positions, shape)
end

--- a:put(indices, values): writes values, one or as many as there are indices, to these
--- positions of a in row-major order.
function methods.put(a, indices, values)
  a = need_array("put", a)
  check_alive(a)
  local list = { unravel("put", array.atleast_1d(need_index("put", indices)), a.shape) }
  scatter(a, 0, list, operand(a, values))
end

--- array.compress(mask, a [, axis]): the entries along an axis, or of all of a, at which a mask of one dimension is true.
function array.compress(mask, a, axis)
  a = need_array("compress", a)
  mask = need_array("compress: the mask", mask)
  if mask._dtype ~= BOOL or mask._ndim ~= 1 then
    fail("compress: the mask is a bool array of 1 dimension")
  end
  if axis == nil then
    a, axis = flat(a), 1
  end
  axis = parse_axis("compress", a, axis)
  if mask._shape[0] > a._shape[axis - 1] then
    fail("compress: the mask has %d entries and axis %d has %d", tonumber(mask._shape[0]), axis,
      tonumber(a._shape[axis - 1]))
  end
  return methods.take(a, (array.nonzero(mask)), axis)
end
function methods.compress(a, mask, axis) return array.compress(mask, a, axis) end

--- array.nonzero(a): where elements are true, or not 0: an int64 array of indices for each axis.
function methods.nonzero(a)
  local all = call(C.pg_array_nonzero, nil, need_array("nonzero", a))
  local rows = {}
  for i = 1, tonumber(all._shape[0]) do
    rows[i] = view(all, { i })
  end
  return unpack(rows)
end

--- array.argwhere(a): the same as one array, a row for each element that is not 0.
function methods.argwhere(a)
  return methods.transpose(call(C.pg_array_nonzero, nil, need_array("argwhere", a)))
end

--- array.flatnonzero(a): positions in row-major order of what is not 0. Of an array that is not row-major it makes a
--- copy first.
function methods.flatnonzero(a)
  return (methods.nonzero(flat(need_array("flatnonzero", a))))
end

--- array.choose(which, {a, b, ...}): at each position the element of the array that `which` names, from 1, broadcast.
function array.choose(which, choices)
  local all = array.stack({ array.broadcast_arrays(unpack(choices)) }, 1)
  which = array.broadcast_to(need_index("choose", which), { unpack(all.shape, 2) })
  return array.take_along_axis(all, array.expand_dims(which, 1), 1):squeeze(1)
end

-- -------------------------------------------------------------------------------------------- views and allocations ----
--- a:base(): nil if a owns its memory; of a view, an array of one dimension over all of the memory that it is part of.
function methods.base(a)
  a = need_array("base", a)
  check_alive(a)
  if band(a._flags, 2) == 0 then
    return nil
  end
  return call(C.pg_array_base, nil, a)
end

local shared = ffi.new("int32_t[1]")
local function shares(name, a, b, exact)
  check(C.pg_array_shares_memory(need_array(name, a), need_array(name, b), exact, shared))
  return shared[0] ~= 0
end

--- array.shares_memory(a, b): whether a write to one can be seen in the other. Exact: two views that interleave without
--- touching share nothing.
function array.shares_memory(a, b) return (shares("shares_memory", a, b, 1)) end
--- array.may_share_memory(a, b): whether the stretches of memory that they span overlap; quick, and true too often.
function array.may_share_memory(a, b) return (shares("may_share_memory", a, b, 0)) end

local counters = ffi.new("int64_t[2]")
local function finish(count, bytes, ...)
  C.pg_array_allocations(counters, counters + 1)
  return tonumber(counters[0]) - count, tonumber(counters[1]) - bytes, ...
end

--- array.count_allocations(f, ...): calls f(...) and returns how many arrays' memory it allocated and how many bytes of
--- it, then f's results. Views allocate none.
function array.count_allocations(f, ...)
  if type(f) ~= "function" then
    fail("count_allocations: a function is expected, got %s", kind_of(f))
  end
  C.pg_array_allocations(counters, counters + 1)
  local count, bytes = tonumber(counters[0]), tonumber(counters[1])
  return finish(count, bytes, f(...))
end

for _, name in ipairs { "take", "take_along_axis", "nonzero", "argwhere", "flatnonzero", "base", "put" } do
  array[name] = methods[name]
end
