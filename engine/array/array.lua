-- What scripts see of arrays: arguments are checked and errors worded here and in the parts of this module
-- (array_<part>.lua), elements are read and written there, and everything that touches many elements is done by C++
-- (array_abi.h).
--
-- Hot paths are written for LuaJIT's trace compiler: dtypes and ranks become guards that leave the loop, rows are sunk
-- (never allocated), nothing on them creates a closure, and calls in them are not tail calls, of which a trace may
-- have only 15: `return (f(x))`.
local core = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local cast, istype, tonumber, type, ipairs, pairs = ffi.cast, ffi.istype, tonumber, type, ipairs, pairs
local tostring, format, concat, sort, band, max = tostring, string.format, table.concat, table.sort, bit.band, math.max
local sub, find, gsub, gmatch, rawget, next = string.sub, string.find, string.gsub, string.gmatch, rawget, next
local setmetatable = setmetatable

local array = {}   -- the module
local methods = {} -- a:method()
local getters = {} -- a.field

local fresh, row_t, array_p = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("pg_array *")
local int64_t, uint64_t, complex_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t"), ffi.typeof("double _Complex")

-- enum pg_dtype, pg_array_flags and pg_status, as local numbers: the compiler takes them for constants.
local BOOL, UINT8, INT32, INT64, FLOAT32, FLOAT64 = 0, 1, 2, 3, 4, 5
local INT8, INT16, UINT16, UINT32, UINT64, COMPLEX64, COMPLEX128 = 6, 7, 8, 9, 10, 11, 12
local READONLY = 1
local ERROR_MEMORY = 4

local dtype_names = { [0] = "bool", "uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16", "uint32",
  "uint64", "complex64", "complex128" }
local dtypes = {}
for code = 0, COMPLEX128 do
  dtypes[dtype_names[code]] = code
end
local legal_dtypes = '"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", ' ..
  '"float64", "complex64" or "complex128"'
-- "b" bool, "i" and "u" integers, "f" floats, "c" complex
local kinds = { [BOOL] = "b", [INT8] = "i", [INT16] = "i", [INT32] = "i", [INT64] = "i", [UINT8] = "u", [UINT16] = "u",
  [UINT32] = "u", [UINT64] = "u", [FLOAT32] = "f", [FLOAT64] = "f", [COMPLEX64] = "c", [COMPLEX128] = "c" }
-- What integers hold, of the numbers that Lua can write down.
local lowest = { [INT8] = -2 ^ 7, [INT16] = -2 ^ 15, [INT32] = -2 ^ 31, [INT64] = -2 ^ 63, [UINT8] = 0, [UINT16] = 0,
  [UINT32] = 0, [UINT64] = 0 }
local highest = { [INT8] = 2 ^ 7 - 1, [INT16] = 2 ^ 15 - 1, [INT32] = 2 ^ 31 - 1, [INT64] = 2 ^ 63 - 1024,
  [UINT8] = 2 ^ 8 - 1, [UINT16] = 2 ^ 16 - 1, [UINT32] = 2 ^ 32 - 1, [UINT64] = 2 ^ 64 - 2048 }
local exact = 2 ^ 53 -- above it a Lua number cannot hold every integer

-- ------------------------------------------------------------------------------------------------- calls into C++ ----
local collect, natives = ffi.new("int32_t[1]"), core.natives.array

-- An array struct that Lua holds owns a reference to its block. A finaliser for each would let go of it, but costs 150
-- of the 200 ns that such an object then takes (LuaJIT keeps finalisers in a hash table and calls them one by one). So
-- the state's heap tells the owners when the collector frees such a struct (owners.hpp).
local owners = natives.owners and cast("pg_owners *", natives.owners)

-- Notes that the array `a`, new from C++, holds a reference that ends with it.
local function own(a)
  if not owners or C.pg_owners_take(owners, a) == 0 then
    ffi.gc(a, natives.release)
  end
end

--- array_t(): an array for C++ to fill as a further result. It has a finaliser, which is slower than to be owned.
local function array_t()
  return (ffi.gc(fresh(), natives.release))
end

-- Calls f(out, collect, ...), collecting garbage when array memory has grown or is exhausted. `out` is nil for a new
-- array. Returns it.
local function call(f, out, ...)
  local new = not out
  if new then
    out = fresh()
  end
  local status = f(out, collect, ...)
  if status == ERROR_MEMORY then
    core.collect()
    status = f(out, collect, ...)
  end
  check(status)
  if new then
    own(out)
  end
  if collect[0] ~= 0 then
    collect[0] = 0
    core.collect_cycle()
  end
  return out
end

local function is(x)
  return istype(fresh, x) or istype(row_t, x)
end

-- x as an owning array; nil if it is neither an array nor a row.
local function as_array(x)
  if istype(fresh, x) then
    return x
  elseif istype(row_t, x) then
    return call(C.pg_array_from_row, nil, x)
  end
end

local function kind_of(x)
  if is(x) then
    return "an array"
  elseif type(x) == "table" then
    return "a table (array.from makes an array of it)"
  elseif type(x) == "number" or type(x) == "boolean" then
    return tostring(x)
  elseif type(x) == "string" then
    return format("the string %q", x)
  elseif x == nil then
    return "nil"
  elseif istype(complex_t, x) then
    return "the complex number " .. tostring(x)
  elseif istype(int64_t, x) or istype(uint64_t, x) then
    return tostring(x)
  end
  return "a " .. type(x)
end

local function need_array(name, x)
  return as_array(x) or fail("%s: an array is expected, got %s", name, kind_of(x))
end

local function is_integer(x)
  return type(x) == "number" and x % 1 == 0
end

local function shape_text(lengths, n)
  local parts = {}
  for i = 1, n do
    parts[i] = tostring(tonumber(lengths[i - 1]))
  end
  return "(" .. concat(parts, ", ") .. ")"
end
local function is_released(a)
  return istype(fresh, a) and a._block == nil and a._data == nil
end

local function check_alive(a)
  if is_released(a) then
    fail("this array was released and has no elements any more")
  end
end

local function read_only()
  fail("this array is read-only; write to a copy of it (a:copy())")
end

-- -------------------------------------------------------------------------------------------- options and dtypes ----
local other_dtypes = { float = "float64", double = "float64", single = "float32", half = "float32", int = "int64",
  integer = "int64", long = "int64", short = "int16", uint = "uint64", byte = "uint8", boolean = "bool",
  complex = "complex128", number = "float64", float16 = "float32" }

local function parse_dtype(name, dtype)
  local code = dtypes[dtype]
  if not code then
    local meant = other_dtypes[dtype] and format("; did you mean '%s'?", other_dtypes[dtype]) or
      core.did_you_mean(dtype, dtypes)
    fail("%s: %s is not a dtype; legal are %s%s", name, kind_of(dtype), legal_dtypes, meant)
  end
  return code
end

-- Refuses options that do not exist; `known` maps each legal key to true.
local function check_options(name, options, known)
  for key in pairs(options) do
    if not known[key] then
      local legal = {}
      for k in pairs(known) do
        legal[#legal + 1] = k
      end
      sort(legal)
      fail("%s: unknown option '%s'; legal are: %s%s", name, tostring(key), concat(legal, ", "),
        core.did_you_mean(key, known))
    end
  end
end

local only_dtype = { dtype = true }

-- The dtype from a constructor's last argument: "int32" or {dtype = "int32"}; nil if it says none.
local function dtype_option(name, options)
  if options == nil then
    return nil
  elseif type(options) == "string" then
    return parse_dtype(name, options)
  elseif type(options) == "table" then
    check_options(name, options, only_dtype)
    return options.dtype ~= nil and parse_dtype(name, options.dtype) or nil
  end
  fail('%s: options are a table such as {dtype = "float32"}, got %s', name, kind_of(options))
end

local lengths = ffi.new("int64_t[8]")

local function set_length(name, i, n)
  if i > 8 then
    fail("%s: an array has at most 8 dimensions", name)
  elseif not is_integer(n) or n < 0 or n > exact then
    fail("%s: the length of axis %d must be an integer, 0 or more, got %s", name, i, kind_of(n))
  end
  lengths[i - 1] = n
end

-- A shape as a table {2, 3} or a number; fills `lengths` and returns the rank.
local function parse_shape(name, shape)
  if type(shape) == "table" then
    for i = 1, #shape do
      set_length(name, i, shape[i])
    end
    return #shape
  elseif type(shape) == "number" then
    set_length(name, 1, shape)
    return 1
  end
  fail("%s: a shape is a number or a table such as {2, 3}, got %s", name, kind_of(shape))
end

local function create(rank, dtype, zero)
  return call(C.pg_array_create, nil, dtype, rank, lengths, zero)
end

local only_axis = { axis = true }

-- An axis, or what {axis = ...} says in its place.
local function axis_option(name, axis)
  if type(axis) == "table" and next(axis) ~= nil and axis[1] == nil then
    check_options(name, axis, only_axis)
    return axis.axis
  end
  return axis
end

local function parse_axis(name, a, axis)
  axis = axis_option(name, axis)
  if not is_integer(axis) then
    fail("%s: an axis is an integer, got %s", name, kind_of(axis))
  elseif axis == 0 or axis > a._ndim or axis < -a._ndim then
    fail("%s: axis %d is out of range for an array of %d dimensions%s", name, axis, a._ndim,
      axis == 0 and " (axes count from 1)" or "")
  end
  return axis < 0 and axis + a._ndim + 1 or axis
end

-- --------------------------------------------------------------------------------------------------------- fields ----
-- Shapes and strides: plain lists but that they print, join with strings, and are equal if they hold the same.
local list_meta = { __plain = true } -- (for wire.cpp)
function list_meta.__tostring(t)
  return "(" .. concat(t, ", ") .. ")"
end
function list_meta.__concat(a, b)
  return tostring(a) .. tostring(b)
end
function list_meta.__eq(a, b)
  for i = 1, max(#a, #b) do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

local function vector(values, n)
  local t = {}
  for i = 1, n do
    t[i] = tonumber(values[i - 1])
  end
  return setmetatable(t, list_meta)
end

function getters.shape(a)
  a = as_array(a)
  return vector(a._shape, a._ndim)
end
function getters.strides(a) -- in elements
  a = as_array(a)
  return vector(a._strides, a._ndim)
end
function getters.ndim(a) return tonumber(a._ndim) end
function getters.dtype(a) return dtype_names[a._dtype] end
function getters.T(a) return methods.transpose(a) end
function getters.readonly(a) return band(a._flags, READONLY) ~= 0 end
function getters.size(a)
  return tonumber(as_array(a)._size)
end

--- a:dim(axis): the length along an axis, as a.shape[axis].
function methods.dim(a, axis)
  a = need_array("dim", a)
  return (tonumber(a._shape[parse_axis("dim", a, axis) - 1]))
end

local astype_options = { overflow = true }

--- a:astype(dtype [, {overflow = "wrap"}]): a copy with another dtype; fractions are cut. A value that it cannot hold is
--- an error, or with "wrap" cut to the bits that fit, as NumPy's astype does; NaN and what is beyond int64 become 0.
function methods.astype(a, dtype, options)
  a = need_array("astype", a)
  local to, convert = parse_dtype("astype", dtype), C.pg_array_astype
  if options ~= nil then
    if type(options) ~= "table" then
      fail('astype: options are a table such as {overflow = "wrap"}, got %s', kind_of(options))
    end
    check_options("astype", options, astype_options)
    if options.overflow == "wrap" then
      convert = C.pg_array_astype_wrap
    elseif options.overflow ~= nil and options.overflow ~= "error" then
      fail('astype: overflow is "error" or "wrap", got %s', kind_of(options.overflow))
    end
  end
  return call(convert, nil, a, to)
end

--- a:release(): gives the memory back now instead of when the garbage collector finds it; a is empty afterwards. Views
--- of the same memory keep it.
function methods.release(a)
  if not istype(fresh, a) then
    fail("release: an array is expected, got %s",
      istype(row_t, a) and "a row (release the array it is from)" or kind_of(a))
  end
  if owners then
    C.pg_owners_forget(owners, a)
  end
  C.pg_array_release(a)
end

-- The dtype for a value of Lua that nothing else gives one.
local function value_dtype(value)
  if type(value) == "boolean" then
    return BOOL
  elseif type(value) == "cdata" then
    return istype(complex_t, value) and COMPLEX128 or istype(int64_t, value) and INT64 or
      istype(uint64_t, value) and UINT64 or FLOAT64
  end
  return FLOAT64
end

-- ----------------------------------------------------------------------------------------------------------- parts ----
-- The other files of this module. Each is a chunk that gets the core and `kit`: what is local here and used there. Parts
-- add to `array`, `methods` and, for one another and for other modules (array._kit), to `kit`. A part is loaded when one
-- of its names is first used: a collection goes through everything that is loaded, and takes place each few results.
-- Those that every use of an array needs are loaded below.
local parts = {
  array_create = "zeros ones empty full zeros_like ones_like empty_like full_like parse_constructor",
  array_space = "range linspace logspace geomspace",
  array_from = "from totable",
  array_compose = "where clip clip_ fma fma_ isclose round round_ modf frexp divmod nan_to_num nan_to_num_",
  array_complex = "real imag complex is_complex",
  array_index = "index_get index_set take take_along_axis put_along_axis unravel_index put compress nonzero argwhere " ..
    "flatnonzero choose base shares_memory may_share_memory count_allocations",
  array_shape = "own_memory need_order shape_of axis_part make need_alive list_of reshape transpose copy " ..
    "ascontiguousarray asfortranarray is_contiguous swapaxes moveaxis squeeze expand_dims broadcast_to " ..
    "broadcast_arrays flip flipud fliplr rot90 diagonal trace ravel flatten atleast_1d atleast_2d atleast_3d",
  array_join = "concatenate stack hstack vstack dstack column_stack split array_split tile repeats repeat roll from_arrays",
  array_matrices = "eye identity diag tri tril triu meshgrid",
  array_grow = "pad append insert delete resize",
  array_reduce = "axis_bits deliver ptp reduce_all split_options finish allclose equal sum mean min max prod var std " ..
    "any all count_nonzero nansum nanmean nanmin nanmax nanvar nanstd argmin argmax cumsum cumprod cummin " ..
    "cummax nanprod nancumsum nancumprod nanargmin nanargmax",
  array_sort = "sort sort_ argsort partition partition_ argpartition topk lexsort",
  array_quantile = "median quantile percentile nanmedian nanquantile nanpercentile",
  array_matmul = "matmul dot vdot inner outer kron tensordot einsum",
  array_statistics = "diff gradient trapz convolve correlate histogram bincount unique searchsorted digitize isin union1d " ..
    "intersect1d setdiff1d setxor1d interp average cov corrcoef",
}
local loaded = {}
-- In the order of enum pg_binary_op and enum pg_unary_op. Each has a function, a method and, with "_", one in place.
local binary_names = "add subtract multiply divide power remainder minimum maximum eq ne lt le gt ge floor_divide fmod " ..
  "fmin fmax atan2 hypot copysign nextafter logaddexp ldexp logical_and logical_or logical_xor bitwise_and bitwise_or " ..
  "bitwise_xor left_shift right_shift gcd lcm heaviside logaddexp2 fdim ieee_remainder"
local unary_names = "negative abs square floor ceil sqrt cbrt exp log sin cos tan tanh exp2 expm1 log2 log10 log1p asin " ..
  "acos atan sinh cosh asinh acosh atanh erf erfc gamma lgamma reciprocal degrees radians positive sign trunc round conj " ..
  "bitwise_not logical_not isnan isinf isfinite signbit angle logb"

-- The position of a word in a list, from 0; nil if it is not there.
local function word_in(list, word)
  local at = find(" " .. list .. " ", " " .. word .. " ", 1, true)
  if at then
    local _, before = gsub(sub(list, 1, at - 1), " ", "")
    return before
  end
end

local kit -- what parts get: below

-- Sees to it that what is called `name` is in `array`, `methods` or `kit`, if there is such a thing.
local function provide(name)
  for part, names in pairs(parts) do
    if not loaded[part] and word_in(names, name) then
      loaded[part] = true
      core.part(part, kit)
      return
    end
  end
  local plain = sub(name, -1) == "_" and sub(name, 1, -2) or name
  if rawget(methods, plain) then
    return
  end
  local binary_op, unary_op = word_in(binary_names, plain), word_in(unary_names, plain)
  if binary_op then
    kit.define_binary(plain, binary_op)
  elseif unary_op then
    kit.define_unary(plain, unary_op)
  end
end

-- A table's __index that provides what is missing in it.
local function provided(t, name)
  if type(name) == "string" and sub(name, 1, 1) ~= "_" then
    provide(name)
  end
  return (rawget(t, name))
end
local provides = { __index = provided }

kit = setmetatable({
  array = array, methods = methods, getters = getters, array_t = array_t, own = own, owners = owners, row_t = row_t,
  call = call, is = is, as_array = as_array, need_array = need_array, kind_of = kind_of, is_integer = is_integer,
  shape_text = shape_text, parse_dtype = parse_dtype, check_options = check_options, dtype_option = dtype_option,
  lengths = lengths, set_length = set_length, parse_shape = parse_shape, create = create, check_alive = check_alive,
  is_released = is_released, read_only = read_only, parse_axis = parse_axis, axis_option = axis_option, dtypes = dtypes,
  dtype_names = dtype_names, lowest = lowest, highest = highest, exact = exact, kinds = kinds, complex_t = complex_t,
  value_dtype = value_dtype,
}, provides)
setmetatable(methods, provides)
array._kit, array._find = kit, provided

core.part("array_element", kit)
core.part("array_view", kit)
local access = core.part("array_access", kit)
core.part("array_elementwise", kit)

-- ---------------------------------------------------------------------------------------------------------- text ----
local text, text_length = ffi.new("const char *[1]"), ffi.new("int64_t[1]")

local function array_tostring(a)
  local x = as_array(a)
  if is_released(x) then
    return "released array"
  end
  check(C.pg_array_format(x, text, text_length))
  return ffi.string(text[0], text_length[0])
end

-- ------------------------------------------------------------------------------------------------------ metatypes ----
local function length(a)
  if istype(row_t, a) then
    return tonumber(a._shape0)
  elseif a._ndim == 0 then
    fail("an array of 0 dimensions has no length")
  end
  return tonumber(a._shape[0])
end

local binary = kit.binary
local function add(a, b) return binary("add", 0, nil, a, b) end
local function subtract(a, b) return binary("subtract", 1, nil, a, b) end
local function multiply(a, b) return binary("multiply", 2, nil, a, b) end
local function divide(a, b) return binary("divide", 3, nil, a, b) end
local function power(a, b) return binary("power", 4, nil, a, b) end
local function remainder(a, b) return binary("remainder", 5, nil, a, b) end
local function negative(a) return call(C.pg_array_unary, nil, 0, as_array(a)) end

-- a == b asks whether they are equal as a whole; a:eq(b) compares elements. With a number it is false, as between any two
-- kinds in Lua: as an error it broke code that asks x == 0 of what may be a number or an array, ours included.
local function equals(a, b)
  return is(a) and is(b) and array.equal(a, b)
end
local function no_order()
  fail("arrays have no order as a whole; compare their elements with a:lt(b), a:le(b), a:gt(b) or a:ge(b)")
end

-- for i, x in ipairs(a): elements, or rows
local function next_element(a, i)
  if i < #a then
    return i + 1, a[i + 1]
  end
end
local function iterate(a)
  return next_element, a, 0
end
local function no_pairs()
  fail("pairs does not go through arrays; write for i, x in ipairs(a), or for i = 1, #a")
end
-- "a is " .. a
local function concatenate(a, b)
  for _, x in ipairs { a, b } do
    if type(x) ~= "string" and type(x) ~= "number" and not is(x) then
      fail("an array cannot be concatenated with %s", kind_of(x))
    end
  end
  return tostring(a) .. tostring(b)
end

local function metatable(index, newindex)
  return {
    __ipairs = iterate, __pairs = no_pairs, __concat = concatenate,
    __index = index, __newindex = newindex, __len = length, __tostring = array_tostring, __eq = equals,
    __lt = no_order, __le = no_order, __add = add, __sub = subtract, __mul = multiply, __div = divide, __pow = power,
    __mod = remainder, __unm = negative,
  }
end

local get, set, row_get, row_set = access.get, access.set, access.row_get, access.row_set
if core.checked then
  get, set, row_get, row_set = core.checked.instrument(kit, get, set, row_get, row_set)
end
ffi.metatype(fresh, metatable(get, set))
ffi.metatype(row_t, metatable(row_get, row_set))

-- ---------------------------------------------------------------------------------------------------- for C++ --------
--- array.is(x): whether x is an array or a row of one.
array.is = is

--- array.fused(fn, ...): fn of numbers applied to every element of arrays that are broadcast together, in one pass.
function array.fused(fn, ...)
  return core.require("kernel")._fused(fn, ...)
end

--- For the engine: the address of the pg_array behind an array (of a row: of an owning view), and the object that must
--- be kept while the address is used. nil if x is neither.
function array._address(x)
  local a = as_array(x)
  if a then
    return tonumber(cast("uintptr_t", cast(array_p, a))), a
  end
end

-- Bytes of arrays that came from other states since the last collection that they led to. Their memory is accounted to who
-- made it, so nothing else would tell this state to collect: 300 intermediate arrays of 8 MB held 2.3 GB once.
local adopted, most_adopted = 0, 64 * 2 ^ 20

--- For the engine: an array made from the pg_array at an address, whose block reference it takes over.
function array._adopt(address)
  local a = fresh()
  ffi.copy(a, cast(array_p, address), ffi.sizeof(fresh))
  own(a)
  adopted = adopted + tonumber(a._size) * 8
  if adopted > most_adopted then
    adopted = 0
    core.collect_cycle()
  end
  return a
end

array.astype = methods.astype

-- For the prompt's completion and tests: what `a.` and `a:` may be followed by, and what loads all parts.
array._getters, array._methods, array._parts = getters, methods, parts
function array._everything()
  for part in pairs(parts) do
    if not loaded[part] then
      loaded[part] = true
      core.part(part, kit)
    end
  end
  for name in gmatch(binary_names .. " " .. unary_names, "%S+") do
    provided(methods, name)
  end
end

--- What to say after "there is no function 'key'", or after "no method 'key'" if `how` is "method".
function array._missing(key, how)
  array._everything()
  return (core.part("array_names", kit)(key, how))
end

return array
