-- New arrays: constructors, which take a dtype and an order; evenly spaced numbers.
local core, kit = ...
local fail = core.fail
local array, need_array, check_alive, kind_of, is_integer = kit.array, kit.need_array, kit.check_alive, kit.kind_of,
  kit.is_integer
local check_options, parse_dtype, dtype_option, parse_shape = kit.check_options, kit.parse_dtype, kit.dtype_option,
  kit.parse_shape
local lengths, set_length, create, write, store, value_dtype = kit.lengths, kit.set_length, kit.create, kit.write,
  kit.store, kit.value_dtype
local type, select, max, floor, unpack, tonumber = type, select, math.max, math.floor, unpack, tonumber
local BOOL, FLOAT32, FLOAT64 = 0, 4, 5

-- zeros(2, 3 [, options]) or zeros({2, 3} [, options]): fills `lengths`, returns rank and dtype.
local function parse_constructor(name, first, ...)
  if type(first) ~= "number" then
    return parse_shape(name, first), dtype_option(name, (...)) or FLOAT64
  end
  set_length(name, 1, first)
  local count = select("#", ...)
  for i = 1, count do
    local x = select(i, ...)
    if type(x) ~= "number" then
      if i < count then
        fail("%s: the options come last; got %s as argument %d", name, kind_of(x), i + 1)
      end
      return i, dtype_option(name, x) or FLOAT64
    end
    set_length(name, i + 1, x)
  end
  return count + 1, FLOAT64
end
kit.parse_constructor = parse_constructor

--- array.zeros(2, 3 [, options]), array.zeros({2, 3} [, options]): options are {dtype = "float64"} or just the dtype.
function array.zeros(...)
  local rank, dtype = parse_constructor("zeros", ...)
  return create(rank, dtype, 1)
end

-- LuaJIT takes NaNs as they are, and one with chosen bits is a forged object (lj_cconv_tv_ct): memory that was used before
-- must not be seen as floats. So floats start as zeros; integers as whatever is there.
local function empty_zero(dtype)
  return (dtype == FLOAT64 or dtype == FLOAT32 or dtype > 10) and 1 or 0
end

--- array.empty(shape [, options]): as zeros, with undefined contents.
function array.empty(...)
  local rank, dtype = parse_constructor("empty", ...)
  return create(rank, dtype, empty_zero(dtype))
end

--- array.ones(shape [, options])
function array.ones(...)
  local rank, dtype = parse_constructor("ones", ...)
  local a = create(rank, dtype, 0)
  write(a, dtype == BOOL and true or 1)
  return a
end

--- array.full(shape, value [, options]): float64 for numbers, bool for booleans and complex128 for complex numbers unless
--- the options say otherwise.
function array.full(shape, value, options)
  local rank = parse_shape("full", shape)
  if value == nil then
    fail("full: a value is expected: full(shape, value)")
  end
  local a = create(rank, dtype_option("full", options) or value_dtype(value), 0)
  write(a, value)
  return a
end

-- Shape and dtype of another array.
local function like(name, a, options, zero)
  a = need_array(name, a)
  check_alive(a)
  for i = 0, a._ndim - 1 do
    lengths[i] = a._shape[i]
  end
  return create(a._ndim, dtype_option(name, options) or a._dtype, zero)
end

--- array.zeros_like(a [, options]), array.empty_like, array.ones_like: an array of a's shape and, by default, dtype.
function array.zeros_like(a, options) return like("zeros_like", a, options, 1) end
function array.empty_like(a, options)
  a = need_array("empty_like", a)
  return like("empty_like", a, options, empty_zero(dtype_option("empty_like", options) or a._dtype))
end
function array.ones_like(a, options)
  local b = like("ones_like", a, options, 0)
  write(b, b._dtype == BOOL and true or 1)
  return b
end

-- Makes a new, row-major array column-major: its elements are still undefined or all alike.
local function make_column_major(a)
  local stride = 1
  for i = 0, a._ndim - 1 do
    a._strides[i] = stride
    stride = stride * max(tonumber(a._shape[i]), 1)
  end
  return a
end

-- Constructors take {order = "F"} beside the dtype.
local with_order = { dtype = true, order = true }
for _, name in ipairs { "zeros", "empty", "ones", "full", "zeros_like", "empty_like", "ones_like" } do
  local plain = array[name]
  array[name] = function(...)
    local n = select("#", ...)
    local options = n > 0 and (select(n, ...)) or nil
    if type(options) ~= "table" or options.order == nil then
      return (plain(...))
    end
    check_options(name, options, with_order)
    local order, arguments = kit.need_order(name, options.order), { ... }
    arguments[n] = { dtype = options.dtype }
    local a = plain(unpack(arguments, 1, n))
    if order == "F" then
      make_column_major(a)
    end
    return a
  end
end

--- array.full_like(a, value [, options])
function array.full_like(a, value, options)
  local b = array.empty_like(a, options)
  write(b, value)
  return b
end
