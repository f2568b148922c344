-- Operations on every element: arithmetic, comparisons, functions.
local core, kit = ...
local C = core.C
local fail = core.fail
local array, methods, array_t, call, is, as_array = kit.array, kit.methods, kit.array_t, kit.call, kit.is, kit.as_array
local need_array, kind_of, check_options, check_alive, scalar, dtype_names = kit.need_array, kit.kind_of, kit.check_options, kit.check_alive, kit.scalar, kit.dtype_names
local lowest, highest, exact = kit.lowest, kit.highest, kit.exact
local ffi = core.ffi
local format, istype = string.format, ffi.istype
local type, ipairs = type, ipairs
local BOOL = 0
local INT64 = 3
local FLOAT32 = 4
local FLOAT64 = 5
local int64_t = ffi.typeof("int64_t")

-- ----------------------------------------------------------------------------------------------------- arithmetic ----
local DIVIDE, FIRST_COMPARISON = 3, 8

-- A Lua number is weak: it takes the dtype of the array it meets where that can hold it.
local function weak_dtype(name, op, value, dtype)
  if type(value) == "boolean" then
    return BOOL
  elseif istype(int64_t, value) then
    return INT64
  elseif type(value) ~= "number" then
    fail("%s: an array or a number is expected, got %s", name, kind_of(value))
  elseif dtype >= FLOAT32 then
    return dtype
  elseif value % 1 ~= 0 or op == DIVIDE then
    return FLOAT64
  elseif op >= FIRST_COMPARISON then -- a number out of range can be compared all the same
    return value >= -exact and value <= exact and INT64 or FLOAT64
  elseif dtype == BOOL then
    return INT64
  elseif value < lowest[dtype] or value > highest[dtype] then
    fail("%s: %s is out of range for the array's dtype %s; convert the array first, as in a:astype(\"float64\")", name,
      format("%.17g", value), dtype_names[dtype])
  end
  return dtype
end

local function binary(name, op, out, a, b)
  local x, y = as_array(a), as_array(b)
  if x and not y then
    y = scalar(2, b, weak_dtype(name, op, b, x._dtype))
  elseif y and not x then
    x = scalar(1, a, weak_dtype(name, op, a, y._dtype))
  elseif not x then
    fail("%s: an array is expected, got %s", name, kind_of(a))
  end
  return call(C.pg_array_binary, out, op, x, y)
end

local only_out = { out = true }

-- The array to write to: a new one, or options.out.
local function output(name, options)
  if options == nil then
    return array_t()
  elseif type(options) ~= "table" then
    fail("%s: options are a table such as {out = c}, got %s", name, kind_of(options))
  end
  check_options(name, options, only_out)
  if options.out == nil then
    return array_t()
  end
  local out = need_array(name .. ": out", options.out)
  check_alive(out)
  return out
end

-- array.add(a, b, {out = c}), a:add(b) and a:add_(b), for every operation; enum pg_binary_op.
local binary_names = { "add", "subtract", "multiply", "divide", "power", "remainder", "minimum", "maximum", "eq", "ne",
  "lt", "le", "gt", "ge" }
for i, name in ipairs(binary_names) do
  local op = i - 1
  local in_place_name = name .. "_"
  local function apply(a, b, options)
    return binary(name, op, output(name, options), a, b)
  end
  array[name], methods[name] = apply, apply
  if op < FIRST_COMPARISON then
    methods[in_place_name] = function(a, b)
      local out = need_array(in_place_name, a)
      check_alive(out)
      binary(in_place_name, op, out, out, b)
      return a
    end
  end
end

-- enum pg_unary_op
local unary_names = { "negative", "abs", "square", "floor", "ceil", "sqrt", "cbrt", "exp", "log", "sin", "cos", "tan",
  "tanh" }
for i, name in ipairs(unary_names) do
  local op = i - 1
  local in_place_name = name .. "_"
  local function apply(a, options)
    local x = need_array(name, a)
    return call(C.pg_array_unary, output(name, options), op, x)
  end
  array[name], methods[name] = apply, apply
  methods[in_place_name] = function(a)
    local out = need_array(in_place_name, a)
    check_alive(out)
    call(C.pg_array_unary, out, op, out)
    return a
  end
end

kit.output, kit.binary = output, binary
