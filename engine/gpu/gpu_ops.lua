-- Operations on device arrays: arguments are checked here. On the simulator the engine's own operations do the work, in the
-- same memory; on a GPU generated kernels and cuBLAS do (gpu_ops_cuda.lua).
local core, shared = ...
local C, fail, check = core.C, core.fail, core.check
local gpu, array, kit, work = shared.gpu, shared.array, shared.kit, shared.work
local methods, mt = shared.methods, shared.mt
local is_device_array, need_device_array, device_of, host_of, adopt = shared.is_device_array, shared.need_device_array,
  shared.device_of, shared.host_of, shared.adopt
local create, same_shape, options_of, stream_of = shared.create, shared.same_shape, shared.options_of, shared.stream_of
local kind_of, dtype_names = kit.kind_of, kit.dtype_names
local type, ipairs, select, format, gmatch, tonumber, tostring, setmetatable, rawequal = type, ipairs, select,
  string.format, string.gmatch, tonumber, tostring, setmetatable, rawequal

local cuda_ops
-- What a GPU does them with.
local function cuda()
  cuda_ops = cuda_ops or shared.part("gpu_ops_cuda")
  return cuda_ops
end

-- The device that the operands lie on, all of them the same.
local function common_device(name, ...)
  local found
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    if is_device_array(x) then
      need_device_array(name, x)
      local d = device_of(x)
      if found and found ~= d then
        fail("%s: one operand is on %s and another on %s; copy one of them (copy_from, to_host)", name, found.backend ==
          "sim" and "the simulator's device " .. found.number or "GPU " .. found.number, d.backend == "sim" and
          "the simulator's device " .. d.number or "GPU " .. d.number)
      end
      found = d
    elseif kit.is(x) then
      fail("%s: one operand is on the device and the other is a host array; gpu.array(a) copies it to the device", name)
    end
  end
  return found
end

-- An operand as the simulator's operations take it.
local function on_host(x)
  return is_device_array(x) and host_of(x) or x
end

-- On the simulator: `result`, a host array or a number, as what an operation on these gives.
local function given(name, d, result, ...)
  local out = kit.is(result) and adopt(d, result) or nil
  work.operation(name, out, ...)
  return out or result
end

local out_options = { out = true }

local function output(name, options)
  options = options_of(name, options, out_options)
  return options and options.out ~= nil and need_device_array(name .. ": out", options.out) or nil
end

-- --------------------------------------------------------------------------------------------------- element by element
local binary_names = "add subtract multiply divide power remainder minimum maximum eq ne lt le gt ge floor_divide fmod " ..
  "fmin fmax atan2 hypot copysign logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor left_shift right_shift"
local unary_names = "negative abs square floor ceil sqrt cbrt exp log sin cos tan tanh exp2 expm1 log2 log10 log1p asin " ..
  "acos atan sinh cosh asinh acosh atanh erf erfc reciprocal sign trunc round isnan isinf isfinite logical_not bitwise_not " ..
  "conj real imag angle"
local comparisons = { eq = true, ne = true, lt = true, le = true, gt = true, ge = true, isnan = true, isinf = true,
  isfinite = true, real = true, imag = true, angle = true }

local function binary(name, out, a, b)
  local d = common_device(name, a, b, out)
  if d.backend == "sim" then
    if out then
      work.operation(name, out, a, b)
      array[name](on_host(a), on_host(b), { out = host_of(out) })
      return out
    end
    return given(name, d, array[name](on_host(a), on_host(b)), a, b)
  end
  return cuda().binary(d, name, out, a, b)
end

for name in gmatch(binary_names, "%S+") do
  local function apply(a, b, options)
    if not is_device_array(a) and not is_device_array(b) then
      fail("%s: a device array is expected, got %s", name, kind_of(a))
    end
    return binary(name, output(name, options), a, b)
  end
  gpu[name], methods[name] = apply, apply
  if not comparisons[name] then
    local in_place = name .. "_"
    methods[in_place] = function(a, b)
      return binary(in_place:sub(1, -2), need_device_array(in_place, a), a, b)
    end
  end
end

local function unary(name, out, a)
  local d = common_device(name, need_device_array(name, a), out)
  if d.backend == "sim" then
    if out then
      work.operation(name, out, a)
      array[name](host_of(a), { out = host_of(out) })
      return out
    end
    return given(name, d, array[name](host_of(a)), a)
  end
  return cuda().unary(d, name, out, a)
end

for name in gmatch(unary_names, "%S+") do
  local function apply(a, options)
    return unary(name, output(name, options), a)
  end
  gpu[name], methods[name] = apply, apply
  if not comparisons[name] then
    local in_place = name .. "_"
    methods[in_place] = function(a)
      return unary(name, need_device_array(in_place, a), a)
    end
  end
end

mt.__add = function(a, b) return methods.add(a, b) end
mt.__sub = function(a, b) return methods.subtract(a, b) end
mt.__mul = function(a, b) return methods.multiply(a, b) end
mt.__div = function(a, b) return methods.divide(a, b) end
mt.__pow = function(a, b) return methods.power(a, b) end
mt.__mod = function(a, b) return methods.remainder(a, b) end
mt.__unm = function(a) return methods.negative(a) end
mt.__eq = function(a, b) return rawequal(a, b) end

--- gpu.where(condition, a, b [, {out = d}]): elements of a where the condition is true, else of b.
function gpu.where(condition, a, b, options)
  local out = output("where", options)
  local d = common_device("where", condition, a, b, out)
  if not d then
    fail("where: a device array is expected, got %s", kind_of(condition))
  elseif d.backend == "sim" then
    local result = array.where(on_host(condition), on_host(a), on_host(b))
    if out then
      work.operation("where", out, condition, a, b)
      check(C.pg_array_assign(host_of(out), result))
      return out
    end
    return given("where", d, result, condition, a, b)
  end
  return cuda().where(d, out, condition, a, b)
end

--- d:astype(dtype): a copy with another dtype; fractions are cut.
function methods.astype(a, dtype)
  local d = device_of(need_device_array("astype", a))
  local code = kit.parse_dtype("astype", dtype)
  if d.backend == "sim" then
    return given("astype", d, host_of(a):astype(dtype, { overflow = "wrap" }), a)
  end
  return cuda().astype(d, a, code)
end

--- d:fill(value): value into every element. Returns d.
function methods.fill(a, value)
  local d = device_of(need_device_array("fill", a))
  if d.backend == "sim" then
    work.fill(a, value)
    kit.write(host_of(a), value)
  else
    cuda().fill(d, a, value)
  end
  return a
end

-- Writes b, broadcast and converted within a kind and upwards, into a. Both lie on devices.
function shared.assign(a, b, options)
  local d = device_of(a)
  if device_of(b) ~= d then
    fail("copy_from: between devices only arrays of one dtype without gaps are copied; d:copy() and d:astype() make such")
  elseif d.backend == "sim" then
    work.copy(a, b, stream_of("copy_from", options))
    check(C.pg_array_assign(host_of(a), host_of(b)))
  else
    cuda().assign(d, a, b, stream_of("copy_from", options))
  end
end

-- ------------------------------------------------------------------------------------------------------- reductions ----
local reduce_options = { axis = true, keepdims = true, ddof = true }

for _, name in ipairs { "sum", "mean", "min", "max", "prod", "var", "std", "any", "all", "count_nonzero" } do
  local function apply(a, how)
    local d = device_of(need_device_array(name, a))
    local axis, options = how, nil
    if type(how) == "table" and #how == 0 then
      options = options_of(name, how, reduce_options)
      axis = options.axis
    end
    if d.backend == "sim" then
      return given(name, d, array[name](host_of(a), how), a)
    end
    return cuda().reduce(d, name, a, axis, options and options.keepdims or false, options and options.ddof or 0)
  end
  gpu[name], methods[name] = apply, apply
end

for _, name in ipairs { "argmin", "argmax" } do
  local function apply(a, axis)
    local d = device_of(need_device_array(name, a))
    if d.backend == "sim" then
      return given(name, d, array[name](host_of(a), axis), a)
    end
    return cuda().position(d, name, a, axis)
  end
  gpu[name], methods[name] = apply, apply
end

--- gpu.allclose(a, b [, options]): as array.allclose, of device arrays, computed on the host.
function gpu.allclose(a, b, options)
  return array.allclose(is_device_array(a) and a:to_host() or a, is_device_array(b) and b:to_host() or b, options)
end

-- -------------------------------------------------------------------------------------------------- matrix products ----
--- gpu.matmul(a, b [, {out = c}]), a:matmul(b): the matrix product; axes before the last two are a batch.
function methods.matmul(a, b, options)
  local out = output("matmul", options)
  need_device_array("matmul", a)
  need_device_array("matmul", b)
  local d = common_device("matmul", a, b, out)
  if d.backend == "sim" then
    local result = array.matmul(host_of(a), host_of(b))
    if out and kit.is(result) then
      work.operation("matmul", out, a, b)
      if not same_shape(out._a, result) then
        fail("matmul: out has shape %s, and the product %s", kit.shape_text(out._a._shape, out._a._ndim),
          kit.shape_text(result._shape, result._ndim))
      end
      check(C.pg_array_assign(host_of(out), result))
      return out
    end
    return given("matmul", d, result, a, b)
  end
  return cuda().matmul(d, a, b, out)
end
gpu.matmul = methods.matmul
gpu.dot, methods.dot = methods.matmul, methods.matmul

-- --------------------------------------------------------------------------------------------------------- random ------
local random_mt = {}
random_mt.__index = random_mt
random_mt.__tostring = function(g) return format("gpu.random generator, %.0f draws", g.slot) end

--- gpu.random(seed): a generator whose numbers are those of pg.random.generator(seed), made on the device.
function gpu.random(seed)
  local random = core.require("random")
  return setmetatable({ host = random.generator(seed), seed = seed, slot = 0 }, random_mt)
end

local random_options = { shape = true, dtype = true, out = true }

local function random_output(name, options)
  options = options_of(name, options, random_options)
  if not options or options.shape == nil and options.out == nil then
    fail("%s: say how many: {shape = {1000, 1000}}, or where to: {out = d}", name)
  end
  local out = options.out
  if out ~= nil then
    need_device_array(name .. ": out", out)
  else
    local ndim = kit.parse_shape(name, options.shape)
    local dtype = options.dtype ~= nil and kit.parse_dtype(name, options.dtype) or 5
    out = create(shared.device(), dtype, ndim, false)
  end
  if out._a._dtype ~= 4 and out._a._dtype ~= 5 then
    fail("%s: float64 or float32 is expected, got %s", name, dtype_names[out._a._dtype])
  elseif not shared.contiguous(out._a) then
    fail("%s: out has gaps; draw into d:copy()", name)
  end
  return out
end

local function parameter(name, what, x, default)
  if x == nil then
    return default
  elseif type(x) ~= "number" or x ~= x or x == math.huge or x == -math.huge then
    fail("%s: %s is a number, got %s", name, what, kind_of(x))
  end
  return x
end

-- distribution: 0 uniform, 2 normal (pg_random_abi.h)
local function draw(g, name, distribution, a, b, options)
  local out = random_output(name, options)
  if device_of(out).backend == "sim" then
    core.declare("random")
    work.operation(name, out)
    check(C.pg_random_fill(g.host, host_of(out), distribution, a, b))
  else
    cuda().random(device_of(out), out, distribution, a, b, g.seed, g.slot)
  end
  g.slot = g.slot + tonumber(out._a._size)
  return out
end

--- g:uniform(low, high, options), g:normal(mean, deviation, options): options {shape = {...}, dtype = "float32"} or
--- {out = d}.
function random_mt.uniform(g, low, high, options)
  if type(low) == "table" then
    low, high, options = nil, nil, low
  end
  low, high = parameter("uniform", "low", low, 0), parameter("uniform", "high", high, 1)
  if not (low < high) then
    fail("uniform: low must be less than high, got %s and %s", tostring(low), tostring(high))
  end
  return draw(g, "uniform", 0, low, high, options)
end
function random_mt.normal(g, mean, deviation, options)
  if type(mean) == "table" then
    mean, deviation, options = nil, nil, mean
  end
  mean, deviation = parameter("normal", "mean", mean, 0), parameter("normal", "deviation", deviation, 1)
  if deviation < 0 then
    fail("normal: the deviation must be 0 or more, got %s", tostring(deviation))
  end
  return draw(g, "normal", 2, mean, deviation, options)
end
