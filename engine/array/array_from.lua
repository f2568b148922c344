-- Arrays from Lua tables, and tables from arrays.
local core, kit = ...
local C, ffi, fail = core.C, core.ffi, core.fail
local array, methods, call, create, load, store = kit.array, kit.methods, kit.call, kit.create, kit.load, kit.store
local as_array, is, need_array, check_alive, kind_of = kit.as_array, kit.is, kit.need_array, kit.check_alive, kit.kind_of
local is_integer, dtype_option, set_length, value_dtype = kit.is_integer, kit.dtype_option, kit.set_length,
  kit.value_dtype
local dtype_names, kinds, lowest, highest, complex_t = kit.dtype_names, kit.kinds, kit.lowest, kit.highest, kit.complex_t
local type, next, pairs, tostring, tonumber, concat, format = type, next, pairs, tostring, tonumber, table.concat,
  string.format
local cast, istype = ffi.cast, ffi.istype
local double_p, float_p = ffi.typeof("double *"), ffi.typeof("float *")
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")
local BOOL, FLOAT32, FLOAT64 = 0, 4, 5

-- "element [i][j]": the indices before `depth` from `path`, and index.
local function place(path, depth, index)
  local parts = {}
  for i = 1, depth - 1 do
    parts[i] = "[" .. path[i] .. "]"
  end
  return "element " .. concat(parts) .. "[" .. index .. "]"
end

-- Fills `lengths` from the first elements at each depth; returns the rank and the first number or boolean.
local function table_shape(t)
  local rank = 0
  while type(t) == "table" do
    set_length("from", rank + 1, #t)
    rank = rank + 1
    if #t == 0 then
      return rank, nil
    end
    t = t[1]
  end
  return rank, t
end

-- Stores numbers from t to p (of floats); returns how many came before something else.
local function fill_numbers(p, t, n)
  for i = 1, n do
    local x = t[i]
    if type(x) ~= "number" then
      return i - 1
    end
    p[i - 1] = x
  end
  return n
end

local function fill_from(a, t, axis, at, path)
  local rank, n = a._ndim, tonumber(a._shape[axis])
  if type(t) ~= "table" then
    fail("from: %s is %s where a table of %d is expected, as in the first", place(path, axis, path[axis]), kind_of(t), n)
  elseif #t ~= n then
    if axis == 0 then
      fail("from: the table changed while it was read")
    end
    fail("from: ragged table: %s has %d %s where the first has %d", place(path, axis, path[axis]), #t,
      #t == 1 and "entry" or "entries", n)
  end
  if n == 0 or next(t) ~= 1 or next(t, n) ~= nil then -- else the entries are in the table's array, and nothing follows
    local name = axis == 0 and "the table" or place(path, axis, path[axis])
    for key in pairs(t) do
      if is_integer(key) and key > n then
        fail("from: %s has a hole: entry %d is nil, and there is an entry %d", name, n + 1, key)
      elseif not is_integer(key) or key < 1 then
        fail("from: %s has the key %s beside its list of %d entries", name, tostring(key), n)
      end
    end
  end
  local dtype, first = a._dtype, 1
  if axis < rank - 1 then
    local stride = tonumber(a._strides[axis])
    for i = 1, n do
      path[axis + 1] = i
      fill_from(a, t[i], axis + 1, at + (i - 1) * stride, path)
    end
    return
  elseif dtype == FLOAT64 then
    first = fill_numbers(cast(double_p, a._data) + at, t, n) + 1
  elseif dtype == FLOAT32 then
    first = fill_numbers(cast(float_p, a._data) + at, t, n) + 1
  end
  for i = first, n do
    local x = t[i]
    if type(x) == "number" or (type(x) == "cdata" and (istype(int64_t, x) or istype(uint64_t, x) or
      (istype(complex_t, x) and kinds[dtype] == "c"))) then
      if dtype == BOOL and x ~= 0 and x ~= 1 then
        fail("from: %s is %s; a bool array holds true and false", place(path, rank, i), tostring(x))
      elseif lowest[dtype] and type(x) == "number" and (x % 1 ~= 0 or x < lowest[dtype] or x > highest[dtype]) then
        fail("from: %s is %s, which %s cannot hold", place(path, rank, i), format("%.17g", x), dtype_names[dtype])
      end
      store(a._data, dtype, at + i - 1, x)
    elseif type(x) == "boolean" and dtype == BOOL then
      store(a._data, dtype, at + i - 1, x)
    elseif type(x) == "table" then
      fail("from: ragged table: %s is a table, where the first entries are not", place(path, rank, i))
    else
      fail("from: mixed table: %s is %s in an array of dtype %s", place(path, rank, i), kind_of(x), dtype_names[dtype])
    end
  end
end

local function from(t, dtype)
  local source = as_array(t)
  if source then
    return call(C.pg_array_astype, nil, source, dtype or source._dtype)
  elseif type(t) ~= "table" then
    fail("from: a table of numbers is expected, got %s", kind_of(t))
  end
  local rank, first = table_shape(t)
  if is(first) then
    return (kit.from_arrays(t, dtype))
  end
  local a = create(rank, dtype or value_dtype(first), 0)
  fill_from(a, t, 0, 0, {})
  return a
end

local with_order = { dtype = true, order = true }

--- array.from(table [, options]): an array of nested tables of numbers (float64 unless the options say otherwise) or of
--- booleans (bool). All tables of one depth must be of one length. Given an array it makes a copy.
function array.from(t, options)
  local order
  if type(options) == "table" and options.order ~= nil then
    kit.check_options("from", options, with_order)
    order, options = kit.need_order("from", options.order), { dtype = options.dtype }
  end
  local a = from(t, dtype_option("from", options))
  return order == "F" and methods.copy(a, "F") or a
end

local function to_table(a, axis, at)
  local t, n, stride = {}, tonumber(a._shape[axis]), tonumber(a._strides[axis])
  if axis == a._ndim - 1 then
    for i = 1, n do
      t[i] = load(a._data, a._dtype, at + (i - 1) * stride)
    end
  else
    for i = 1, n do
      t[i] = to_table(a, axis + 1, at + (i - 1) * stride)
    end
  end
  return t
end

--- a:totable(): nested Lua tables with the elements.
function methods.totable(a)
  a = need_array("totable", a)
  check_alive(a)
  if a._ndim == 0 then
    return (load(a._data, a._dtype, 0))
  end
  return to_table(a, 0, 0)
end
