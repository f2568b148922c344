-- Reductions of device arrays on a GPU, and positions of extremes.
local core, shared = ...
local ffi = core.ffi
local fail = core.fail
local array, kit = shared.array, shared.kit
local ops, cuda = shared.cuda_ops, shared.cuda()
local c_names, layout_of, collapse, make, function_of = ops.kit.c_names, ops.kit.layout_of, ops.kit.collapse, ops.kit.make,
  ops.function_of
local dtype_names, kinds = kit.dtype_names, kit.kinds
local type, tonumber, ipairs, format, max, min, ceil = type, tonumber, ipairs, string.format, math.max, math.min, math.ceil

-- Each block reduces one piece of the elements of one result; a second launch combines the pieces.
local reductions = {
  sum = { start = "0", combine = "x + y" },
  prod = { start = "1", combine = "x * y" },
  min = { combine = "x != x || x < y ? x : y" },
  max = { combine = "x != x || x > y ? x : y" },
  any = { start = "0", combine = "x | y", read = "as_bool(v)" },
  all = { start = "1", combine = "x & y", read = "as_bool(v)" },
  count_nonzero = { start = "0", combine = "x + y", read = "as_bool(v)" },
}

local complex_extremes = {
  min = { combine = "is_nan(x) || (is_less(x, y) && !is_nan(y)) ? x : y" },
  max = { combine = "is_nan(x) || (is_less(y, x) && !is_nan(y)) ? x : y" },
}

local reduce_text = [[
typedef %s In;
typedef %s Sum;
typedef %s Out;

__device__ inline Sum combine(Sum x, Sum y) { return %s; }

// Block (piece, result) reduces elements piece * length to (piece + 1) * length - 1 of those of the result.
extern "C" __global__ void reduce(Out *out, const In *in, const Layout<%d> kept, const Layout<%d> gone, const int64 count,
                                  const int64 length) {
  __shared__ Sum sums[256];
  const int64 result = blockIdx.y + int64(blockIdx.z) * gridDim.y, piece = blockIdx.x;
  const In *from = in + kept.offset(result);
  const int64 first = piece * length, last = first + length < count ? first + length : count;
  bool any = false;
  Sum sum = Sum(%s);
  for (int64 i = first + threadIdx.x; i < last; i += 256) {
    const In v = from[gone.offset(i)];
    const Sum term = Sum(%s);
    sum = any ? combine(sum, term) : term;
    any = true;
  }
  const int64 used = last - first < 256 ? last - first : 256;
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half && threadIdx.x + half < used)
      sums[threadIdx.x] = combine(sums[threadIdx.x], sums[threadIdx.x + half]);
    __syncthreads();
  }
  if (threadIdx.x == 0 && used > 0)
    out[result * gridDim.x + piece] = Out(sums[0]);
}
]]

-- The axes that go, as a list of booleans.
local function gone_axes(name, a, axis)
  local gone, n = {}, a._a._ndim
  local bits = axis == nil and 2 ^ n - 1 or kit.axis_bits(name, a._a, axis)
  for d = 1, n do
    gone[d] = bit.band(bits, 2 ^ (d - 1)) ~= 0
  end
  return gone, bits == 2 ^ n - 1
end

local accumulators = { f = 5, i = 3, u = 10, b = 3, c = 12 }

local function reduce_once(d, how, a, dtype_sum, dtype_out, kept_n, kept_strides, gone_n, gone_strides, out, pieces, start)
  local count = 1
  for _, n in ipairs(gone_n) do
    count = count * n
  end
  local results = 1
  for _, n in ipairs(kept_n) do
    results = results * n
  end
  local length = max(1, ceil(count / pieces))
  local complex = kinds[a.dtype] == "c" or kinds[dtype_sum] == "c"
  local text = ops.kit.prelude .. (complex and ops.kit.complex_prelude or "") .. format(reduce_text, c_names[a.dtype], c_names[dtype_sum], c_names[dtype_out], how.combine, #kept_n,
    #gone_n, start or how.start or "0", how.read or "v")
  local f = function_of(d, text, "reduce")
  local p = { ffi.new("void *[1]", out), ffi.new("void *[1]", a.data), layout_of(kept_n, kept_strides),
    layout_of(gone_n, gone_strides), ffi.new("int64_t[1]", count), ffi.new("int64_t[1]", length) }
  local pointers = ffi.new("void *[6]")
  for i = 1, 6 do
    pointers[i - 1] = p[i]
  end
  local y = min(results, 32768)
  local z = ceil(results / y)
  while y * z ~= results do -- a grid of exactly so many: few results are primes above 32768
    y = y - 1
    z = ceil(results / y)
    if z > 65535 then
      core.unsupported("a reduction of %d lines on a GPU; write a kernel", results)
    end
  end
  cuda.launch("reduce", f, { grid = { pieces, y, z }, block = { 256, 1, 1 }, shared = 0 }, pointers)
end

-- Reduces; returns a device array of the kept axes (with the gone ones as 1 where keepdims).
local function reduce(d, name, how, a, gone, keepdims, dtype_sum, dtype_out)
  local kept_n, kept_s, gone_n, gone_s, shape = {}, {}, {}, {}, {}
  for i = 1, a._a._ndim do
    local n, s = tonumber(a._a._shape[i - 1]), tonumber(a._a._strides[i - 1])
    if gone[i] then
      gone_n[#gone_n + 1], gone_s[#gone_s + 1] = n, s
      if keepdims then
        shape[#shape + 1] = 1
      end
    else
      kept_n[#kept_n + 1], kept_s[#kept_s + 1] = n, s
      shape[#shape + 1] = n
    end
  end
  local count = 1
  for _, n in ipairs(gone_n) do
    count = count * n
  end
  local out = make(d, dtype_out, shape)
  if out._a._size == 0 then
    return out
  elseif count == 0 then
    if not how.start then
      fail("%s of no elements does not exist", name)
    end
    return out:fill(tonumber(how.start))
  end
  local lists
  kept_n, lists = collapse(kept_n, { kept_s })
  kept_s = lists[1]
  gone_n, lists = collapse(gone_n, { gone_s })
  gone_s = lists[1]
  local results = tonumber(out._a._size)
  -- As many blocks as the device holds at once, each with some thousands of elements at least.
  local wanted = d.properties.multiprocessors * 8
  local pieces = max(1, min(ceil(wanted / results), ceil(count / 4096), 1024))
  local of = { data = a._a._data, dtype = a._a._dtype }
  if pieces == 1 then
    reduce_once(d, how, of, dtype_sum, dtype_out, kept_n, kept_s, gone_n, gone_s, out._a._data, 1)
    return out
  end
  local length = ceil(count / pieces)
  pieces = ceil(count / length) -- none is empty
  local parts = make(d, dtype_sum, { results, pieces })
  reduce_once(d, how, of, dtype_sum, dtype_sum, kept_n, kept_s, gone_n, gone_s, parts._a._data, pieces)
  reduce_once(d, { combine = how.combine, start = how.start }, { data = parts._a._data, dtype = dtype_sum }, dtype_sum,
    dtype_out, { results }, { pieces }, { pieces }, { 1 }, out._a._data, 1)
  return out
end

local function deliver(out, all, keepdims)
  if all and not keepdims then
    return out:item()
  end
  return out
end

function ops.reduce(d, name, a, axis, keepdims, ddof)
  local dtype = a._a._dtype
  local complex = kinds[dtype] == "c"
  local wide = accumulators[kinds[dtype]]
  local gone, all = gone_axes(name, a, axis)
  local count = 1
  for i = 1, a._a._ndim do
    if gone[i] then
      count = count * tonumber(a._a._shape[i - 1])
    end
  end
  local result = array[name](array.ones({ 1, 1 }, dtype_names[dtype]), 1)._dtype
  if name == "mean" or name == "var" or name == "std" then
    if count == 0 then
      fail("%s of no elements does not exist", name)
    end
    local float = complex and 12 or 5
    local sum = reduce(d, name, reductions.sum, a, gone, true, float, float)
    local mean = sum / count
    if name == "mean" then
      mean = result ~= float and mean:astype(dtype_names[result]) or mean
      return deliver(keepdims and mean or shared.drop_axes(mean, gone), all, keepdims)
    end
    local away = a:astype(dtype_names[float]) - mean
    away = complex and away:abs():square() or away:square()
    local variance = reduce(d, name, reductions.sum, away, gone, keepdims, 5, 5) / (count - ddof)
    if name == "std" then
      variance:sqrt_()
    end
    variance = result ~= 5 and variance:astype(dtype_names[result]) or variance
    return deliver(variance, all, keepdims)
  end
  local how = complex and complex_extremes[name] or reductions[name]
  local dtype_sum = (name == "min" or name == "max") and dtype or (name == "any" or name == "all" or
    name == "count_nonzero") and 3 or wide
  return deliver(reduce(d, name, how, a, gone, keepdims, dtype_sum, result), all, keepdims)
end

-- Without the axes that are marked, which are 1 long.
function shared.drop_axes(a, gone)
  local shape = {}
  for i = 1, a._a._ndim do
    if not gone[i] then
      shape[#shape + 1] = tonumber(a._a._shape[i - 1])
    end
  end
  return a:reshape(shape)
end

-- Positions by way of the extreme: the first element that equals it (or the first NaN, which then is the extreme).
function ops.position(d, name, a, axis)
  local how = name == "argmin" and "min" or "max"
  if axis ~= nil then
    axis = kit.parse_axis(name, a._a, axis)
  end
  local flat = axis == nil
  local x = flat and a:reshape(a.size, 1):reshape(a.size) or a
  local along = flat and 1 or axis
  local n = x:dim(along)
  if n == 0 then
    fail("%s of no elements does not exist", name)
  end
  local best = ops.reduce(d, how, x, along, true, 0)
  local hit = x:eq(best):logical_or(x:ne(x)) -- where the extreme is NaN nothing equals it
  local shape = {}
  for i = 1, x._a._ndim do
    shape[i] = i == along and n or 1
  end
  local positions = shared.gpu.array(array.range(1, n)):reshape(shape)
  local found = shared.gpu.where(hit, positions, n + 1.0)
  local result = ops.reduce(d, "min", found, along, false, 0)
  if type(result) == "number" then
    return result
  end
  return result:astype("int64")
end
