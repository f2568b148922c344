-- Medians, quantiles, percentiles.
local core, kit = ...
local C = core.C
local fail = core.fail
local array, methods, array_t, call, need_array = kit.array, kit.methods, kit.array_t, kit.call, kit.need_array
local as_array, kind_of, check_alive, scalar = kit.as_array, kit.kind_of, kit.check_alive, kit.scalar
local kinds, shape_text = kit.kinds, kit.shape_text
local type, ipairs = type, ipairs
local FLOAT64 = kit.dtypes.float64

-- enum pg_quantile_method
local MEDIAN, LINEAR = 0, 1
local method_names = { "linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf",
  "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased" }
local method_codes = {}
for code, name in ipairs(method_names) do
  method_codes[name] = code
end

local function apply(name, a, how, q, known, ignore_nan)
  local x = need_array(name, a)
  local axis, options = kit.split_options(name, how, known)
  check_alive(x)
  if kinds[x._dtype] == "c" then
    fail("%s: complex numbers have no quantiles", name)
  end
  local method = q and LINEAR or MEDIAN
  if options and options.method ~= nil then
    method = method_codes[options.method] or fail("%s: %s is not a method; legal are %s", name, kind_of(options.method),
      table.concat(method_names, ", "))
  end
  local keepdims = options ~= nil and options.keepdims or false
  q = q or scalar(1, 0.5, FLOAT64)
  local result = call(C.pg_array_quantile, array_t(), x, kit.axis_bits(name, x, axis), keepdims and 1 or 0, q, method,
    ignore_nan)
  return (kit.finish(name, result, options, keepdims))
end

-- q as an array of float64, row-major, from 0 to 1.
local function fractions(name, q, most)
  local x = as_array(q)
  if type(q) == "number" then
    x = scalar(1, q, FLOAT64)
  elseif type(q) == "table" then
    x = array.from(q)
  elseif not x then
    fail("%s: q is a number, a table of numbers or an array, got %s", name, kind_of(q))
  end
  check_alive(x)
  if x._ndim > 1 then
    fail("%s: q has at most 1 dimension, got the shape %s", name, shape_text(x._shape, x._ndim))
  elseif kinds[x._dtype] == "c" or kinds[x._dtype] == "b" then
    fail("%s: q is an array of real numbers, got %s", name, kit.dtype_names[x._dtype])
  end
  x = call(C.pg_array_astype, array_t(), x, FLOAT64)
  for i = 0, tonumber(x._size) - 1 do
    local value = kit.load(x._data, FLOAT64, i)
    if not (value >= 0 and value <= most) then
      fail("%s: q is from 0 to %d, got %s", name, most, tostring(value))
    end
    kit.store(x._data, FLOAT64, i, value / most)
  end
  return x
end

local median_options = { axis = true, keepdims = true, out = true }
local quantile_options = { axis = true, keepdims = true, out = true, method = true }

-- a:median([axis | options]), a:quantile(q [, axis | options]), a:percentile(q [, axis | options]), and those that leave
-- NaN out.
for ignore_nan = 0, 1 do
  local prefix = ignore_nan == 1 and "nan" or ""
  local median, quantile, percentile = prefix .. "median", prefix .. "quantile", prefix .. "percentile"
  local function apply_median(a, how)
    return (apply(median, a, how, nil, median_options, ignore_nan))
  end
  local function apply_quantile(a, q, how)
    return (apply(quantile, a, how, fractions(quantile, q, 1), quantile_options, ignore_nan))
  end
  local function apply_percentile(a, q, how)
    return (apply(percentile, a, how, fractions(percentile, q, 100), quantile_options, ignore_nan))
  end
  array[median], methods[median] = apply_median, apply_median
  array[quantile], methods[quantile] = apply_quantile, apply_quantile
  array[percentile], methods[percentile] = apply_percentile, apply_percentile
end
