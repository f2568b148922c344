-- What an array's [] does: elements, rows, fields; a:at(), a:set() and the like.
--
-- `return (load(...))` is no slip: as a tail call it would drop this function's frame, and with it what may be the last
-- reference to the array whose memory is being read.
local core, kit = ...
local fail = core.fail
local ffi = core.ffi
local cast, istype, tonumber, type, select = ffi.cast, ffi.istype, tonumber, type, select
local band, unpack, remove = bit.band, unpack, table.remove
local array, methods, getters, is, as_array, need_array = kit.array, kit.methods, kit.getters, kit.is, kit.as_array,
  kit.need_array
local kind_of, check_alive, read_only, dtype_names = kit.kind_of, kit.check_alive, kit.read_only, kit.dtype_names
local load, store, advance, resolve = kit.load, kit.store, kit.advance, kit.resolve
local select_axis, slice, assign_slice, write = kit.select_axis, kit.slice, kit.assign_slice, kit.write

local fresh, row_t = ffi.typeof("pg_array"), ffi.typeof("pg_row")
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")
local int64_p, uint64_p = ffi.typeof("int64_t *"), ffi.typeof("uint64_t *")
local INT64, UINT64, READONLY = 3, 10, 1

local function gone()
  fail("the array that this row was taken from is gone; keep the array in a variable while its rows are used")
end

-- Row i (from 0, checked) of an array, or of a row, of 2 to 7 dimensions.
local function make_row(a, i, ndim)
  local data = advance(a._data, a._dtype, i * a._strides[0])
  local block, dtype, flags = a._block, a._dtype, a._flags
  local generation = block.generation
  if ndim == 2 then
    return row_t(data, block, generation, dtype, 1, flags, a._shape[1], a._strides[1])
  elseif ndim == 3 then
    return row_t(data, block, generation, dtype, 2, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2])
  elseif ndim == 4 then
    return row_t(data, block, generation, dtype, 3, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2],
      a._shape[3], a._strides[3])
  end
  return row_t(data, block, generation, dtype, ndim - 1, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2],
    a._shape[3], a._strides[3], a._shape[4], a._strides[4], a._shape[5], a._strides[5], a._shape[6], a._strides[6])
end

local function make_row_of_row(a, i)
  local data, ndim = advance(a._data, a._dtype, i * a._strides0), a._ndim
  if ndim == 2 then
    return row_t(data, a._block, a._generation, a._dtype, 1, a._flags, a._shape1, a._strides1)
  elseif ndim == 3 then
    return row_t(data, a._block, a._generation, a._dtype, 2, a._flags, a._shape1, a._strides1, a._shape2, a._strides2)
  end
  return row_t(data, a._block, a._generation, a._dtype, ndim - 1, a._flags, a._shape1, a._strides1, a._shape2,
    a._strides2, a._shape3, a._strides3, a._shape4, a._strides4, a._shape5, a._strides5)
end

-- Index checks below: the comparison is unsigned because one side is, so it finds 0 and negative indices too; converted
-- to int64 first, NaN and what is beyond 2^63 become -2^63, which it finds as well. `k % 1 == 0` costs nothing where
-- the compiler knows k for an integer. A stride of 1 is a case of its own: the machine's addressing then does it all.

-- a[k] for a number k.
local function array_element(a, k)
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[0]) and k % 1 == 0) then
    if a._ndim == 0 then
      check_alive(a)
      fail("an array of 0 dimensions has no index; read it with a:item()")
    end
    i = resolve(a, k, 0) - 1
  end
  local ndim = a._ndim
  if ndim == 1 then
    if a._strides[0] == 1 then
      return (load(a._data, a._dtype, i))
    end
    return (load(a._data, a._dtype, i * a._strides[0]))
  elseif ndim < 8 then
    return (make_row(a, i, ndim))
  end
  return (select_axis(a, i))
end

local function row_element(a, k)
  if a._block.generation ~= a._generation then
    gone()
  end
  local i = k - 1
  if not (cast(int64_t, i) < a._shape0 and k % 1 == 0) then
    i = resolve(as_array(a), k, 0) - 1
  end
  if a._ndim == 1 then
    if a._strides0 == 1 then
      return (load(a._data, a._dtype, i))
    end
    return (load(a._data, a._dtype, i * a._strides0))
  end
  return (make_row_of_row(a, i))
end

local function field(a, key)
  local get = getters[key]
  if get then
    return get(a)
  end
  local method = methods[key]
  if method then
    return method
  elseif type(key) == "string" then
    if key:find(":", 1, true) then
      fail("a slice is a table, an entry for each axis: a[{ {first, last} }], with {} for all of an axis; got '%s'", key)
    end
    fail("arrays have no field or method '%s'%s", key, array._missing(key, "method"))
  elseif is(key) then
    return (kit.index_get(a, key))
  end
  fail("an array is indexed by an integer, or by a table for a slice, got %s", kind_of(key))
end

local function array_index(a, key)
  if type(key) == "number" then
    return (array_element(a, key))
  elseif type(key) == "table" then
    return (slice(a, key))
  end
  return (field(a, key))
end

local function row_index(a, key)
  if type(key) == "number" then
    return (row_element(a, key))
  elseif type(key) == "table" then
    return (slice(a, key))
  end
  return (field(a, key))
end

local function assign_row(a, k, value)
  local part = a[k] -- which is an element only for an array of 0 dimensions, where a[k] fails
  write(as_array(part), value)
end

local function assign_field(a, key, value)
  if type(key) == "table" then
    assign_slice(a, key, value)
  elseif is(key) then
    kit.index_set(a, key, value)
  elseif type(key) == "string" then
    fail("the field '%s' of an array cannot be assigned", key)
  else
    fail("an array is indexed by an integer, or by a table for a slice, got %s", kind_of(key))
  end
end

local function array_newindex(a, k, value)
  if type(k) ~= "number" then
    return assign_field(a, k, value)
  elseif a._ndim ~= 1 then
    return assign_row(a, k, value)
  end
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[0]) and k % 1 == 0) then
    i = resolve(a, k, 0) - 1
  end
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  if a._strides[0] == 1 then
    store(a._data, a._dtype, i, value)
  else
    store(a._data, a._dtype, i * a._strides[0], value)
  end
end

local function row_newindex(a, k, value)
  if type(k) ~= "number" then
    return assign_field(a, k, value)
  elseif a._ndim ~= 1 then
    return assign_row(a, k, value)
  elseif a._block.generation ~= a._generation then
    gone()
  end
  local i = k - 1
  if not (cast(int64_t, i) < a._shape0 and k % 1 == 0) then
    i = resolve(as_array(a), k, 0) - 1
  end
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  if a._strides0 == 1 then
    store(a._data, a._dtype, i, value)
  else
    store(a._data, a._dtype, i * a._strides0, value)
  end
end

-- The array behind the colon of a:at() and a:set(); a row becomes an owning view.
local function need_self(a)
  if istype(fresh, a) then
    return a
  end
  return as_array(a) or fail("an array is expected before the colon, got %s", kind_of(a))
end

local function wrong_count(a, count)
  check_alive(a)
  fail("an array of %d dimensions takes %d indices, got %d", a._ndim, a._ndim, count)
end

local function axis_offset(a, k, axis)
  if type(k) ~= "number" then
    resolve(a, k, axis)
  end
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[axis]) and k % 1 == 0) then
    i = resolve(a, k, axis) - 1
  end
  return i * a._strides[axis]
end

-- The element offset of (i, j, k, ...).
local function offset(a, i, j, k, ...)
  local ndim = a._ndim
  if ndim == 1 and j == nil then
    return (axis_offset(a, i, 0))
  elseif ndim == 2 and j ~= nil and k == nil then
    return axis_offset(a, i, 0) + axis_offset(a, j, 1)
  elseif ndim == 3 and k ~= nil and select("#", ...) == 0 then
    return axis_offset(a, i, 0) + axis_offset(a, j, 1) + axis_offset(a, k, 2)
  end
  local count = (i ~= nil and 1 or 0) + (j ~= nil and 1 or 0) + (k ~= nil and 1 or 0) + select("#", ...)
  if ndim < 4 or count ~= ndim then
    wrong_count(a, count)
  end
  local sum = axis_offset(a, i, 0) + axis_offset(a, j, 1) + axis_offset(a, k, 2)
  for axis = 3, ndim - 1 do
    sum = sum + axis_offset(a, (select(axis - 2, ...)), axis)
  end
  return sum
end

--- a:at(i, j, ...): the element at these indices, as a[i][j].
function methods.at(a, ...)
  a = need_self(a)
  return (load(a._data, a._dtype, offset(a, ...)))
end

--- a:set(i, j, ..., value): writes one element.
function methods.set(a, i, j, k, l, ...)
  a = need_self(a)
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  local ndim = a._ndim
  if ndim == 2 and k ~= nil and l == nil then
    store(a._data, a._dtype, offset(a, i, j), k)
  elseif ndim == 1 and k == nil then
    store(a._data, a._dtype, offset(a, i), j)
  elseif ndim == 3 and l ~= nil and select("#", ...) == 0 then
    store(a._data, a._dtype, offset(a, i, j, k), l)
  else
    local indices = { i, j, k, l, ... }
    local value = remove(indices)
    store(a._data, a._dtype, offset(a, unpack(indices)), value)
  end
end

--- a:item(): the only element of an array of one element.
function methods.item(a)
  a = need_array("item", a)
  check_alive(a)
  if a._size ~= 1 then
    fail("item: the array must have exactly 1 element, not %d", tonumber(a._size))
  end
  return (load(a._data, a._dtype, 0))
end

--- a:int64(i, ...), a:uint64(i, ...): the element of an integer array as an int64_t or uint64_t, exact beyond 2^53.
function methods.int64(a, ...)
  a = need_self(a)
  local i = offset(a, ...)
  if a._dtype ~= INT64 then
    fail("int64: this array has dtype %s, not int64", dtype_names[a._dtype])
  end
  return cast(int64_p, a._data)[i]
end
function methods.uint64(a, ...)
  a = need_self(a)
  local i = offset(a, ...)
  if a._dtype ~= UINT64 then
    fail("uint64: this array has dtype %s, not uint64", dtype_names[a._dtype])
  end
  return cast(uint64_p, a._data)[i]
end

kit.offset = offset
return { get = array_index, set = array_newindex, row_get = row_index, row_set = row_newindex }
