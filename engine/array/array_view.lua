-- Views of parts of an array: a[{ {first, last}, k }], and writing into them.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local istype, tonumber, type, pairs, next, tostring = ffi.istype, tonumber, type, pairs, next, tostring
local floor, max, format, concat, band, bor = math.floor, math.max, string.format, table.concat, bit.band, bit.bor
local methods, call, is, as_array, need_array = kit.methods, kit.call, kit.is, kit.as_array, kit.need_array
local kind_of, is_integer, shape_text, owners = kit.kind_of, kit.is_integer, kit.shape_text, kit.owners
local check_alive, read_only, load, store, advance = kit.check_alive, kit.read_only, kit.load, kit.store, kit.advance
local fresh = ffi.typeof("pg_array")
local READONLY, ERROR_MEMORY = 1, 4

-- The slow half of an index check: negative indices, and the errors. Returns the index counted from 1.
local function resolve(a, k, axis)
  if type(k) ~= "number" then
    fail("an index is an integer, got %s", kind_of(k))
  end
  check_alive(a)
  local n = tonumber(a._shape[axis])
  if k % 1 ~= 0 then
    fail("index %s is not an integer", tostring(k))
  elseif k < 0 and k >= -n then
    return k + n + 1
  elseif n == 0 then
    fail("index %.17g is out of range: axis %d of this array is empty, its shape is %s", k, axis + 1,
      shape_text(a._shape, a._ndim))
  end
  fail("index %.17g is out of range for axis %d of an array of shape %s; legal are 1 to %d, and -%d to -1 from the end",
    k, axis + 1, shape_text(a._shape, a._ndim), n, n)
end

local function share(a)
  return call(C.pg_array_share, nil, a)
end

local function set_size(v)
  local n = 1
  for i = 0, v._ndim - 1 do
    n = n * v._shape[i]
  end
  v._size = n
end


-- Drops the first axis at index i (from 0).
local function select_axis(a, i)
  local v = share(a)
  v._data = advance(a._data, a._dtype, i * a._strides[0])
  v._ndim = a._ndim - 1
  for axis = 1, a._ndim - 1 do
    v._shape[axis - 1] = a._shape[axis]
    v._strides[axis - 1] = a._strides[axis]
  end
  set_size(v)
  return v
end

-- One end of a range: -1 is the last element. `low` and `high` are legal.
local function range_end(a, x, axis, low, high, spec)
  local n = tonumber(a._shape[axis])
  if not is_integer(x) then
    fail("slice: axis %d: a range is {first, last} or {first, last, step} of integers, got %s", axis + 1, spec)
  end
  local k = x < 0 and x + n + 1 or x
  if k < low or k > high then
    fail("slice: %.17g is out of range for axis %d of an array of shape %s; legal are 1 to %d, and -%d to -1 from " ..
      "the end", x, axis + 1, shape_text(a._shape, a._ndim), n, n)
  end
  return k
end

local function range_text(entry)
  local parts = {}
  for i = 1, max(#entry, 1) do
    parts[i] = tostring(entry[i])
  end
  return "{" .. concat(parts, ", ") .. "}"
end

-- Too many entries: what may have been meant.
local function too_many(a, spec)
  local kind, hint = type(spec[1]), ""
  for i = 2, #spec do
    kind = type(spec[i]) == kind and kind or "mixed"
  end
  if kind == "number" and #spec <= 3 then
    hint = format("; a range of one axis is a table in it: a[{ %s }]", range_text(spec))
  elseif kind == "number" then
    hint = '; to choose elements, use an index array: a[array.from({1, 3}, "int64")]'
  elseif kind == "boolean" then
    hint = "; a mask is a bool array: a[array.from{true, false}]"
  end
  fail("slice: %d entries for an array of %d dimension%s%s", #spec, a._ndim, a._ndim == 1 and "" or "s", hint)
end

-- The view that a[spec] stands for.
local function view(a, spec)
  a = need_array("slice", a)
  check_alive(a)
  if #spec > a._ndim then
    too_many(a, spec)
  end
  local v = share(a)
  local start, ndim = 0, 0
  for axis = 0, a._ndim - 1 do
    local entry = spec[axis + 1]
    local n, stride = tonumber(a._shape[axis]), tonumber(a._strides[axis])
    if entry == nil or type(entry) == "table" then
      local first, last, step = 1, n, 1
      if entry ~= nil and next(entry) ~= nil then
        local length = #entry
        if length < 2 or length > 3 then
          fail("slice: axis %d: a range is {} for all, {first, last} or {first, last, step}, got %s", axis + 1,
            range_text(entry))
        end
        local stray = next(entry, length)
        if stray ~= nil then
          fail("slice: axis %d: a range is {first, last} or {first, last, step}, without names; got the key %s", axis + 1,
            tostring(stray))
        end
        step = entry[3] == nil and 1 or entry[3]
        if not is_integer(step) or step == 0 then
          fail("slice: axis %d: the step must be an integer other than 0, got %s", axis + 1, kind_of(entry[3]))
        end
        -- {2, 1} and {n + 1, n} are empty, as a loop from the one to the other would be.
        first = range_end(a, entry[1], axis, step > 0 and 1 or 0, step > 0 and n + 1 or n, range_text(entry))
        last = range_end(a, entry[2], axis, step > 0 and 0 or 1, step > 0 and n or n + 1, range_text(entry))
      end
      local count = max(floor((last - first) / step) + 1, 0)
      if count > 0 then
        start = start + (first - 1) * stride
      end
      v._shape[ndim] = count
      v._strides[ndim] = stride * step
      ndim = ndim + 1
    elseif type(entry) == "number" then
      if not (entry >= 1 and entry <= n and entry % 1 == 0) then
        entry = resolve(a, entry, axis)
      end
      start = start + (entry - 1) * stride
    else
      fail("slice: axis %d: an entry is an integer or a range {first, last}, got %s", axis + 1, kind_of(entry))
    end
  end
  v._ndim = ndim
  v._data = advance(a._data, a._dtype, start)
  set_size(v)
  return v
end

-- Finds stray keys: a[{ {1, 2}, x = 3 }] and a[{nil, {1, 2}}] are mistakes.
local function check_spec(spec)
  local n = #spec
  if n > 0 and next(spec) == 1 and next(spec, n) == nil then
    return -- entries are in the table's array, and nothing follows
  end
  for key in pairs(spec) do
    if not is_integer(key) or key < 1 or key > n then
      fail("slice: entries are given in order, one an axis, {} for all of an axis; got the key %s", tostring(key))
    end
  end
end

-- a[{ {first, last} }] of a vector, the commonest slice, as a view; nil for any other and for mistakes.
local function stretch(a, spec)
  local range = spec[1]
  if type(range) ~= "table" or not istype(fresh, a) or a._ndim ~= 1 then
    return nil
  end
  local first, last = range[1], range[2]
  if type(first) ~= "number" or type(last) ~= "number" or next(spec, 1) ~= nil or next(range, 2) ~= nil then
    return nil
  end
  local n = tonumber(a._shape[0])
  first, last = first < 0 and first + n + 1 or first, last < 0 and last + n + 1 or last
  if not (first >= 1 and first <= last and last <= n and first % 1 == 0 and last % 1 == 0) then
    return nil
  end
  local v = fresh()
  if not owners or C.pg_owners_stretch(owners, v, a, first - 1, last - first + 1) == 0 then
    v = share(a)
    v._data = advance(a._data, a._dtype, (first - 1) * a._strides[0])
    v._shape[0] = last - first + 1
    v._size = last - first + 1
  end
  return v
end

-- Whether a slice has arrays among its entries.
local function has_array(spec)
  for i = 1, #spec do
    if is(spec[i]) then
      return true
    end
  end
  return false
end

local function slice(a, spec)
  local quick = stretch(a, spec)
  if quick then
    return quick
  end
  check_spec(spec)
  if has_array(spec) then
    return (kit.index_get(a, spec))
  end
  local v = view(a, spec)
  if v._ndim == 0 then
    return (load(v._data, v._dtype, 0))
  end
  return v
end

-- -------------------------------------------------------------------------------------------------------- writing ----
-- Two scratch arrays of 0 dimensions, for numbers as operands. A cell each: with one double[2], compiled code stored to
-- `cells + (slot - 1)` at address (slot - 1) * 8. This LuaJIT drops a constant base when a pointer that is the sum of
-- such a base and a variable is cast and indexed.
local cells = { ffi.new("double[2]"), ffi.new("double[2]") }
local scalars = { fresh(), fresh() }
for i = 1, 2 do
  scalars[i]._data = cells[i]
  scalars[i]._size = 1
end

-- A number or boolean as an operand of this dtype.
local function scalar(slot, value, dtype)
  local s = scalars[slot]
  s._dtype = dtype
  store(cells[slot], dtype, 0, value)
  return s
end

-- Writes a number, boolean or array into all of v.
local function write(v, value)
  local source = as_array(value)
  if not source then
    if type(value) == "table" then
      fail("a table cannot be assigned to a part of an array; make it an array with array.from first")
    end
    if band(v._flags, READONLY) ~= 0 then
      read_only()
    end
    source = scalar(1, value, v._dtype)
  end
  local status = C.pg_array_assign(v, source)
  if status == ERROR_MEMORY then
    core.collect()
    status = C.pg_array_assign(v, source)
  end
  check(status)
end

local function assign_slice(a, spec, value)
  check_spec(spec)
  if has_array(spec) then
    kit.index_set(a, spec, value)
    return
  end
  write(view(a, spec), value)
end

--- a:as_readonly(): a view through which nothing can be written.
function methods.as_readonly(a)
  local v = share(need_array("as_readonly", a))
  v._flags = bor(v._flags, READONLY)
  return v
end

--- a:fill(value): writes value into every element; returns a.
function methods.fill(a, value)
  write(need_array("fill", a), value)
  return a
end

kit.resolve, kit.share, kit.set_size, kit.select_axis, kit.view, kit.check_spec = resolve, share, set_size, select_axis,
  view, check_spec
kit.has_array, kit.slice, kit.scalar, kit.write, kit.assign_slice = has_array, slice, scalar, write, assign_slice
