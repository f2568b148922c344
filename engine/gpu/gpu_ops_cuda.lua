-- Operations of device arrays on a GPU: CUDA C++ is written for the operation, the dtypes and the number of dimensions at
-- hand, compiled once and kept. What the results' dtypes are is asked of the engine's own operations.
local core, shared = ...
local ffi = core.ffi
local C, fail, check = core.C, core.fail, core.check
local library, array, kit = shared.library, shared.array, shared.kit
local is_device_array, create, contiguous, copy_lengths, same_shape = shared.is_device_array, shared.create,
  shared.contiguous, shared.copy_lengths, shared.same_shape
local kind_of, dtype_names, kinds = kit.kind_of, kit.dtype_names, kit.kinds
local type, tonumber, ipairs, pairs, format, concat, max, min, ceil, unpack, gsub = type, tonumber, ipairs, pairs,
  string.format, table.concat, math.max, math.min, math.ceil, unpack, string.gsub
local cuda = shared.cuda()

local ops = {}

local c_names = { [0] = "bool", "unsigned char", "int", "long long", "float", "double", "signed char", "short",
  "unsigned short", "unsigned", "unsigned long long", "complex64", "complex128" }
local ffi_names = { [0] = "bool", "uint8_t", "int32_t", "int64_t", "float", "double", "int8_t", "int16_t", "uint16_t",
  "uint32_t", "uint64_t" }

local prelude = [[
typedef long long int64;
struct complex64 { float re, im; };
struct complex128 { double re, im; };

// Elements in up to 8 dimensions; a stride of 0 repeats them.
template <int N> struct Layout {
  int64 n[N], stride[N];
  __device__ int64 offset(int64 i) const {
    int64 sum = 0;
#pragma unroll
    for (int d = N - 1; d > 0; --d) {
      sum += i % n[d] * stride[d];
      i /= n[d];
    }
    return sum + i * stride[0];
  }
};
template <class T> __device__ inline T floor_mod(T a, T b) {
  if (b == 0)
    return 0;
  if (b == T(-1))
    return 0;
  const T r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
__device__ inline double floor_mod(double a, double b) {
  const double r = fmod(a, b);
  return r != 0 ? ((r < 0) != (b < 0) ? r + b : r) : copysign(0.0, b);
}
__device__ inline float floor_mod(float a, float b) {
  const float r = fmodf(a, b);
  return r != 0 ? ((r < 0) != (b < 0) ? r + b : r) : copysignf(0.0f, b);
}
template <class T> __device__ inline T integer_power(T a, T b) {
  if (b < 0)
    return a == 1 ? 1 : a == T(-1) ? (b % 2 == 0 ? 1 : T(-1)) : 0;
  unsigned long long x = a, result = 1;
  for (unsigned long long e = b; e > 0; e >>= 1) {
    if (e & 1)
      result *= x;
    x *= x;
  }
  return T(result);
}
template <class To, class From> __device__ inline To cut(From x) { return To(x); } // a float to integers: NaN gives 0
template <class To> __device__ inline To cut(double x) { return x == x ? To(__double2ll_rz(x)) : To(0); }
]]

-- ------------------------------------------------------------------------------------------------ running the texts ----
local functions = {} -- by device, options and text

local function function_of(d, text, entry, options)
  local key = d.number .. (options and concat(options, " ") or "") .. "\n" .. text
  local f = functions[key]
  if not f then
    local image, log = cuda.compile(text, entry .. ".cu", cuda.architecture(d), options)
    if not image then
      core.internal("the text of %s does not compile:\n%s\n%s", entry, log, text)
    end
    f = cuda.load(d, image, entry)
    functions[key] = f
  end
  return f
end
ops.function_of = function_of

local threads = 256

local function launch(d, text, entry, blocks, parameters, options, block)
  local f = function_of(d, text, entry, options)
  local pointers = ffi.new("void *[?]", #parameters + 1)
  for i, p in ipairs(parameters) do
    pointers[i - 1] = p
  end
  cuda.launch(entry, f, { grid = { max(1, blocks), 1, 1 }, block = { block or threads, 1, 1 }, shared = 0 }, pointers)
end

local function pointer_to(a)
  return ffi.new("void *[1]", a._a._data)
end

local function scalar_of(dtype, value)
  local kind = kinds[dtype]
  if kind == "c" then
    local re, im = value, 0
    if type(value) == "cdata" then
      re, im = value.re, value.im
    end
    return ffi.new(dtype == 11 and "float[2]" or "double[2]", re, im)
  elseif dtype == 0 then
    return ffi.new("bool[1]", value == true or value == 1)
  end
  if type(value) == "boolean" then
    value = value and 1 or 0
  end
  return ffi.new(ffi_names[dtype] .. "[1]", value)
end

-- ----------------------------------------------------------------------------------------------------- broadcasting ----
local function shape_list(a)
  local list = {}
  for d = 1, a._ndim do
    list[d] = tonumber(a._shape[d - 1])
  end
  return list
end

local function broadcast(name, list)
  local shape = {}
  for _, x in ipairs(list) do
    local s = shape_list(x._a)
    for i = 1, max(#s, #shape) do
      local a, b = shape[#shape + 1 - i], s[#s + 1 - i]
      if a == nil then
        table.insert(shape, 1, b)
      elseif b ~= nil and a ~= b then
        if a == 1 then
          shape[#shape + 1 - i] = b
        elseif b ~= 1 then
          fail("%s: the shapes %s do not broadcast: axis %d from the end is %d and %d long", name,
            (function()
              local words = {}
              for j, y in ipairs(list) do
                words[j] = kit.shape_text(y._a._shape, y._a._ndim)
              end
              return concat(words, " and ")
            end)(), i, a, b)
        end
      end
    end
  end
  return shape
end

-- An array's strides over a broadcast shape.
local function strides_over(a, shape)
  local out, skip = {}, #shape - a._ndim
  for d = 1, #shape do
    local axis = d - skip
    out[d] = axis >= 1 and a._shape[axis - 1] ~= 1 and tonumber(a._strides[axis - 1]) or 0
  end
  return out
end

-- Fewer dimensions where neighbours are walked as one by all arrays. lists: of strides.
local function collapse(shape, lists)
  local n, s = {}, {}
  for k = 1, #lists do
    s[k] = {}
  end
  for d = 1, #shape do
    if shape[d] ~= 1 then
      local last, joined = #n, #n > 0
      for k, list in ipairs(lists) do
        joined = joined and s[k][last] == list[d] * shape[d]
      end
      if joined then
        n[last] = n[last] * shape[d]
        for k, list in ipairs(lists) do
          s[k][last] = list[d]
        end
      else
        n[last + 1] = shape[d]
        for k, list in ipairs(lists) do
          s[k][last + 1] = list[d]
        end
      end
    end
  end
  if #n == 0 then
    n[1] = 1
    for k = 1, #lists do
      s[k][1] = 1
    end
  end
  return n, s
end

local function layout_of(n, strides)
  local count = #n
  local out = ffi.new("int64_t[?]", 2 * count)
  for d = 1, count do
    out[d - 1], out[count + d - 1] = n[d], strides[d]
  end
  return out
end

local function make(d, dtype, shape)
  for i = 1, #shape do
    kit.lengths[i - 1] = shape[i]
  end
  return create(d, dtype, #shape, false)
end

-- ------------------------------------------------------------------------------------------------ element by element ----
-- out = expression of operands a, b, c, each an array {array =} or a number {value =, dtype =}, converted to `as` before.
local function elementwise(d, name, out, operands, expression, stream)
  local shape = shape_list(out._a)
  local arrays, lists = { out }, { strides_over(out._a, shape) }
  for _, o in ipairs(operands) do
    if o.array then
      -- Memory that is read where it has been written before: by way of a copy, unless each element is read at its own place.
      local x = o.array
      if x._memory == out._memory and not (x._a._data == out._a._data and x._a._dtype == out._a._dtype and
          same_shape(x._a, out._a) and (function()
            for i = 0, x._a._ndim - 1 do
              if x._a._strides[i] ~= out._a._strides[i] then
                return false
              end
            end
            return true
          end)()) then
        x = x:copy()
      end
      arrays[#arrays + 1] = x
      lists[#lists + 1] = strides_over(x._a, shape)
    end
  end
  local size = tonumber(out._a._size)
  if size == 0 then
    return out
  end
  local n, strides = collapse(shape, lists)
  local flat = #n == 1
  for k = 1, #strides do
    flat = flat and strides[k][1] == 1
  end
  local text = { prelude, "// ", name, "\nextern \"C\" __global__ void elementwise(", c_names[out._a._dtype], " *out" }
  local parameters, reads, k = { pointer_to(out) }, {}, 1
  local function add(s)
    text[#text + 1] = s
  end
  local layouts = {}
  if not flat then
    layouts[1] = layout_of(n, strides[1])
  end
  for i, o in ipairs(operands) do
    local letter = ("abc"):sub(i, i)
    if o.array then
      k = k + 1
      add(format(", const %s *%s_data", c_names[o.array._a._dtype], letter))
      parameters[#parameters + 1] = pointer_to(arrays[k])
      if not flat then
        layouts[#layouts + 1] = layout_of(n, strides[k])
      end
      reads[#reads + 1] = format("    const %s %s = %s(%s_data[%s]);\n", c_names[o.as], letter,
        o.as == o.array._a._dtype and "" or c_names[o.as]:find(" ") and "(" .. c_names[o.as] .. ")" or c_names[o.as], letter,
        flat and "i" or letter .. "_layout.offset(i)")
    else
      add(format(", const %s %s", c_names[o.as], letter))
      parameters[#parameters + 1] = scalar_of(o.as, o.value)
    end
  end
  if not flat then
    local index = 0
    add(format(", const Layout<%d> out_layout", #n))
    for i, o in ipairs(operands) do
      if o.array then
        index = index + 1
        add(format(", const Layout<%d> %s_layout", #n, ("abc"):sub(i, i)))
      end
    end
    for _, layout in ipairs(layouts) do
      parameters[#parameters + 1] = layout
    end
  end
  add(", const int64 size) {\n  for (int64 i = blockIdx.x * int64(blockDim.x) + threadIdx.x; i < size; i += gridDim.x * " ..
    "int64(blockDim.x)) {\n")
  add(concat(reads))
  add(format("    out[%s] = %s;\n  }\n}\n", flat and "i" or "out_layout.offset(i)", expression))
  parameters[#parameters + 1] = ffi.new("int64_t[1]", size)
  local blocks = min(ceil(size / threads), d.properties.multiprocessors * 32)
  launch(d, concat(text), "elementwise", blocks, parameters, { "--fmad=false" })
  return out
end

-- What an operation computes in T, of a and b.
local binary = {
  add = "a + b", subtract = "a - b", multiply = "a * b", divide = "a / b",
  minimum = "a != a || a < b ? a : b", maximum = "a != a || a > b ? a : b",
  eq = "a == b", ne = "a != b", lt = "a < b", le = "a <= b", gt = "a > b", ge = "a >= b",
  fmin = "b != b || a < b ? a : b", fmax = "b != b || a > b ? a : b",
  atan2 = "atan2(a, b)", hypot = "hypot(a, b)", copysign = "copysign(a, b)",
  logical_and = "a != 0 && b != 0", logical_or = "a != 0 || b != 0", logical_xor = "(a != 0) != (b != 0)",
  bitwise_and = "a & b", bitwise_or = "a | b", bitwise_xor = "a ^ b",
  left_shift = "b >= 0 && b < T(8 * sizeof(T)) ? T((unsigned long long)a << b) : T(0)",
  right_shift = "b >= 0 && b < T(8 * sizeof(T)) ? T(a >> b) : T(a < 0 ? -1 : 0)",
}
local binary_integer = {
  add = "T((unsigned long long)a + (unsigned long long)b)", subtract = "T((unsigned long long)a - (unsigned long long)b)",
  multiply = "T((unsigned long long)a * (unsigned long long)b)", power = "integer_power<T>(a, b)",
  remainder = "floor_mod<T>(a, b)", floor_divide = "b == 0 ? T(0) : T((a - floor_mod<T>(a, b)) / b)",
  fmod = "b == 0 || b == T(-1) ? T(0) : T(a % b)",
}
local binary_float = {
  power = "pow(a, b)", remainder = "floor_mod(a, b)", floor_divide = "floor(a / b)", fmod = "fmod(a, b)",
}
local unary = {
  negative = "-a", abs = "fabs(a)", square = "a * a", floor = "floor(a)", ceil = "ceil(a)", sqrt = "sqrt(a)",
  cbrt = "cbrt(a)", exp = "exp(a)", log = "log(a)", sin = "sin(a)", cos = "cos(a)", tan = "tan(a)", tanh = "tanh(a)",
  exp2 = "exp2(a)", expm1 = "expm1(a)", log2 = "log2(a)", log10 = "log10(a)", log1p = "log1p(a)", asin = "asin(a)",
  acos = "acos(a)", atan = "atan(a)", sinh = "sinh(a)", cosh = "cosh(a)", asinh = "asinh(a)", acosh = "acosh(a)",
  atanh = "atanh(a)", erf = "erf(a)", erfc = "erfc(a)", reciprocal = "T(1) / a",
  sign = "a > 0 ? T(1) : a < 0 ? T(-1) : a", trunc = "trunc(a)", round = "rint(a)", isnan = "a != a",
  isinf = "a == a && a - a != 0", isfinite = "a - a == 0", logical_not = "a == 0", bitwise_not = "~a",
}
local unary_integer = {
  negative = "T(0 - (unsigned long long)a)", abs = "a < 0 ? T(0 - (unsigned long long)a) : a",
  square = "T((unsigned long long)a * (unsigned long long)a)", floor = "a", ceil = "a", trunc = "a", round = "a",
  sign = "T((a > 0) - (a < 0))", isnan = "false", isinf = "false", isfinite = "true",
}
local gives_bool = { eq = true, ne = true, lt = true, le = true, gt = true, ge = true, logical_and = true, logical_or = true,
  logical_xor = true, isnan = true, isinf = true, isfinite = true, logical_not = true }

local function refuse_complex(name)
  core.unsupported("%s: complex arrays on a GPU are copied, multiplied as matrices and used in kernels; write a kernel, or " ..
    "compute on the host (d:to_host())", name)
end

local function with_type(expression, dtype)
  return (gsub(expression, "%f[%w_]T%f[^%w_]", c_names[dtype]:find(" ") and "V" or c_names[dtype]))
end

-- Types of two words are named V in expressions.
local function run(d, name, out, operands, expression, compute)
  expression = with_type(expression, compute)
  if c_names[compute]:find(" ") and expression:find("%f[%w_]V%f[^%w_]") then
    expression = gsub(expression, "%f[%w_]V%f[^%w_]", ffi_names[compute]:gsub("_t$", ""))
    expression = gsub(expression, "%f[%w_](u?int%d+)%f[^%w_]", function(word)
      return ({ int8 = "i8", int16 = "short", int64 = "int64", uint8 = "u8", uint16 = "u16", uint32 = "unsigned",
        uint64 = "u64" })[word]
    end)
  end
  return elementwise(d, name, out, operands, expression)
end
prelude = prelude .. "typedef signed char i8;\ntypedef unsigned char u8;\ntypedef unsigned short u16;\n" ..
  "typedef unsigned long long u64;\n\n"

-- Checks `out`, or makes it.
local function output(d, name, out, dtype, shape)
  if not out then
    return make(d, dtype, shape), nil
  end
  local same = out._a._ndim == #shape
  for i = 1, out._a._ndim do
    same = same and tonumber(out._a._shape[i - 1]) == shape[i]
  end
  if not same then
    fail("%s: out has shape %s, and the result (%s)", name, kit.shape_text(out._a._shape, out._a._ndim), concat(shape, ", "))
  end
  check(C.pg_array_assign(array.zeros(0, dtype_names[out._a._dtype]), array.zeros(0, dtype_names[dtype])))
  return out
end

-- An empty host array that stands for an operand in the question which dtype results.
local function stand_in(x)
  return is_device_array(x) and array.zeros(0, dtype_names[x._a._dtype]) or x
end

function ops.binary(d, name, out, a, b)
  local result = array[name](stand_in(a), stand_in(b))._dtype
  local arrays = {}
  for _, x in ipairs { a, b } do
    if is_device_array(x) then
      arrays[#arrays + 1] = x
    end
  end
  local compute = result
  if gives_bool[name] then
    compute = kit.dtypes[array.result_type(stand_in(a), stand_in(b))]
  end
  if kinds[compute] == "c" then
    refuse_complex(name)
  end
  local kind = kinds[compute]
  local expression = (kind == "f" and binary_float or kind ~= "b" and binary_integer or {})[name] or binary[name]
  if not expression then
    core.unsupported("%s of %s arrays on a GPU; write a kernel, or compute on the host (d:to_host())", name,
      dtype_names[compute])
  end
  local function operand(x)
    return is_device_array(x) and { array = x, as = compute } or { value = x, as = compute }
  end
  out = output(d, name, out, result, broadcast(name, arrays))
  return run(d, name, out, { operand(a), operand(b) }, expression, compute)
end

function ops.unary(d, name, out, a)
  local result = array[name](stand_in(a))._dtype
  local compute = gives_bool[name] and a._a._dtype or result
  if kinds[compute] == "c" then
    refuse_complex(name)
  end
  local expression = kinds[compute] ~= "f" and unary_integer[name] or unary[name]
  out = output(d, name, out, result, shape_list(a._a))
  return run(d, name, out, { { array = a, as = compute } }, expression, compute)
end

function ops.where(d, out, condition, a, b)
  local result = array.where(array.zeros(0, "bool"), stand_in(a), stand_in(b))._dtype
  local arrays = {}
  for _, x in pairs { condition, a, b } do
    if is_device_array(x) then
      arrays[#arrays + 1] = x
    end
  end
  local function operand(x, as)
    return is_device_array(x) and { array = x, as = as } or { value = x, as = as }
  end
  out = output(d, "where", out, result, broadcast("where", arrays))
  return elementwise(d, "where", out, { operand(condition, 0), operand(a, result), operand(b, result) }, "a ? b : c")
end

-- Of one dtype to another, any to any but complex to real.
local function conversion(name, from, to)
  if from == to then
    return "a"
  elseif kinds[from] == "c" or kinds[to] == "c" then
    if kinds[from] == "c" and kinds[to] == "c" then
      return format("%s{%s(a.re), %s(a.im)}", c_names[to], to == 11 and "float" or "double", to == 11 and "float" or "double")
    elseif kinds[to] == "c" then
      return format("%s{%s(a), 0}", c_names[to], to == 11 and "float" or "double")
    end
    refuse_complex(name)
  elseif kinds[from] == "f" and kinds[to] ~= "f" and to ~= 0 then
    return format("cut<%s>(double(a))", c_names[to])
  elseif to == 0 then
    return "a != 0"
  end
  return format("(%s)a", c_names[to])
end

function ops.astype(d, a, dtype)
  local out = make(d, dtype, shape_list(a._a))
  return elementwise(d, "astype", out, { { array = a, as = a._a._dtype } }, conversion("astype", a._a._dtype, dtype))
end

function ops.assign(d, a, b, stream)
  check(C.pg_array_assign(array.zeros(0, dtype_names[a._a._dtype]), array.zeros(0, dtype_names[b._a._dtype])))
  return elementwise(d, "copy_from", a, { { array = b, as = b._a._dtype } }, conversion("copy_from", b._a._dtype,
    a._a._dtype), stream)
end

function ops.fill(d, a, value)
  local cell = array.zeros(1, dtype_names[a._a._dtype])
  kit.write(cell, value) -- refuses what does not fit
  return elementwise(d, "fill", a, { { value = type(value) == "boolean" and value or value, as = a._a._dtype } }, "a")
end

-- --------------------------------------------------------------------------------------------------------- reductions --
-- Each block reduces one piece of the elements of one result; a second launch combines the pieces.
local reductions = {
  sum = { start = "0", combine = "x + y" },
  prod = { start = "1", combine = "x * y" },
  min = { combine = "x != x || x < y ? x : y" },
  max = { combine = "x != x || x > y ? x : y" },
  any = { start = "0", combine = "x | y", read = "(v != 0)" },
  all = { start = "1", combine = "x & y", read = "(v != 0)" },
  count_nonzero = { start = "0", combine = "x + y", read = "(v != 0)" },
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

local accumulators = { f = 5, i = 3, u = 10, b = 3 }

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
  local text = prelude .. format(reduce_text, c_names[a.dtype], c_names[dtype_sum], c_names[dtype_out], how.combine, #kept_n,
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
  if kinds[dtype] == "c" then
    refuse_complex(name)
  end
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
    local sum = reduce(d, name, reductions.sum, a, gone, true, 5, 5)
    local mean = sum / count
    if name == "mean" then
      mean = result ~= 5 and mean:astype(dtype_names[result]) or mean
      return deliver(keepdims and mean or shared.drop_axes(mean, gone), all, keepdims)
    end
    local away = (a:astype("float64") - mean):square()
    local variance = reduce(d, name, reductions.sum, away, gone, keepdims, 5, 5) / (count - ddof)
    if name == "std" then
      variance:sqrt_()
    end
    variance = result ~= 5 and variance:astype(dtype_names[result]) or variance
    return deliver(variance, all, keepdims)
  end
  local how = reductions[name]
  local wide = accumulators[kinds[dtype]]
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

-- ---------------------------------------------------------------------------------------------------- matrix products --
local function as_matrices(a, dtype)
  return a._a._dtype == dtype and a or ops.astype(shared.device_of(a), a, dtype)
end

-- A matrix (or a batch of them) one of whose last two axes has no gaps, and which cuBLAS takes.
local function usable(a)
  local n = a._a._ndim
  local rows, columns = tonumber(a._a._shape[n - 2]), tonumber(a._a._shape[n - 1])
  local rs, cs = tonumber(a._a._strides[n - 2]), tonumber(a._a._strides[n - 1])
  local fine = (cs == 1 or columns == 1) and rs >= max(columns, 1) or (rs == 1 or rows == 1) and cs >= max(rows, 1)
  return fine and a or a:copy()
end

function ops.matmul(d, a, b, out)
  if a._a._ndim == 0 or b._a._ndim == 0 then
    fail("matmul: arrays of one dimension or more are expected; multiply by a number with d * x")
  end
  local dtype = kit.dtypes[array.result_type(dtype_names[a._a._dtype], dtype_names[b._a._dtype])]
  if kinds[dtype] ~= "f" and kinds[dtype] ~= "c" then
    core.unsupported("matmul of %s arrays on a GPU: convert them, as in d:astype(\"float64\")", dtype_names[dtype])
  end
  local row, column = a._a._ndim == 1, b._a._ndim == 1
  local x = as_matrices(row and a:expand_dims(1) or a, dtype)
  local y = as_matrices(column and b:expand_dims(2) or b, dtype)
  local xn, yn = x._a._ndim, y._a._ndim
  local m, k, k2, n = x:dim(-2), x:dim(-1), y:dim(-2), y:dim(-1)
  if k ~= k2 then
    fail("matmul: the first array has %d columns and the second %d rows (shapes %s and %s)", k, k2,
      kit.shape_text(a._a._shape, a._a._ndim), kit.shape_text(b._a._shape, b._a._ndim))
  end
  -- Axes before the last two: one batch, for which broadcast operands are repeated.
  local outer_x, outer_y = shape_list(x._a), shape_list(y._a)
  for _ = 1, 2 do
    outer_x[#outer_x], outer_y[#outer_y] = nil, nil
  end
  local batch_shape = {}
  for i = 1, max(#outer_x, #outer_y) do
    local p, q = outer_x[#outer_x + 1 - i] or 1, outer_y[#outer_y + 1 - i] or 1
    if p ~= q and p ~= 1 and q ~= 1 then
      fail("matmul: the batches of shapes %s and %s do not broadcast", kit.shape_text(a._a._shape, a._a._ndim),
        kit.shape_text(b._a._shape, b._a._ndim))
    end
    table.insert(batch_shape, 1, max(p, q) == 0 and 0 or (p == 1 and q or p))
  end
  local batch = 1
  for _, length in ipairs(batch_shape) do
    batch = batch * length
  end
  local shape = { unpack(batch_shape) }
  shape[#shape + 1], shape[#shape + 2] = m, n
  local function prepare(z, zn)
    if zn == 2 then
      return usable(z), 0
    end
    local full = { unpack(batch_shape) }
    full[#full + 1], full[#full + 2] = z:dim(-2), z:dim(-1)
    z = usable(z:broadcast_to(full):reshape(batch, z:dim(-2), z:dim(-1)))
    return z, tonumber(z._a._strides[0])
  end
  local result = make(d, dtype, shape)
  if result._a._size > 0 and k == 0 then
    result:fill(0)
  elseif result._a._size > 0 then
    local x_batch, y_batch
    x, x_batch = prepare(x, xn)
    y, y_batch = prepare(y, yn)
    local function strides(z, first)
      local zn = z._a._ndim
      return ffi.new("int64_t[3]", first, z._a._strides[zn - 2], z._a._strides[zn - 1])
    end
    check(library.pg_gpu_gemm(d.handle, dtype, ffi.new("int64_t[4]", batch, m, n, k), x._a._data, strides(x, x_batch),
      y._a._data, strides(y, y_batch), result._a._data, ffi.new("int64_t[3]", m * n, n, 1), nil))
  end
  if row or column then
    local kept = {}
    for i, length in ipairs(shape) do
      if not (row and i == #shape - 1) and not (column and i == #shape) then
        kept[#kept + 1] = length
      end
    end
    if #kept == 0 and not out then
      return result:item()
    end
    result = result:reshape(kept)
  end
  if out then
    return out:copy_from(result)
  end
  return result
end

-- ------------------------------------------------------------------------------------------------------ random numbers --
-- The same numbers as the host's (engine/random): Philox4x32-10, and the same arithmetic, without fused multiply-adds.
local random_text = [[
typedef unsigned long long u64;
typedef long long int64;

struct Words { u64 half[2]; };

__device__ inline Words philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64(0xD2511F53u) * c0, p1 = u64(0xCD9E8D57u) * c2;
    const unsigned n0 = unsigned(p1 >> 32) ^ c1 ^ k0, n2 = unsigned(p0 >> 32) ^ c3 ^ k1;
    c1 = unsigned(p1);
    c3 = unsigned(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0 | u64(c1) << 32, c2 | u64(c3) << 32}};
}
__device__ inline u64 bits_of(double x) { return u64(__double_as_longlong(x)); }
__device__ inline double double_of(u64 x) { return __longlong_as_double((long long)x); }
__device__ inline double logarithm(double x) {
  const u64 t = bits_of(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  const double e = double_of((t >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023);
  const double f = double_of((t & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1;
  const double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
  double p = 0x1.2b5f68a50d903p-3;
  p = p * z + 0x1.39fdcceb4bb45p-3;
  p = p * z + 0x1.7462b91b8df65p-3;
  p = p * z + 0x1.c71c62d5e53e0p-3;
  p = p * z + 0x1.2492492dfd86cp-2;
  p = p * z + 0x1.9999999995273p-2;
  p = p * z + 0x1.5555555555558p-1;
  const double high = 0x1.62e42feep-1, low = 0x1.a39ef35793c76p-33;
  return e * high - ((half - (s * (half + z * p) + e * low)) - f);
}
__device__ inline void sine_cosine(double x, double &sine, double &cosine) {
  const double shifted = 2 * x + 0x1.8p52;
  const u64 q = bits_of(shifted);
  const double r = x - 0.5 * (shifted - 0x1.8p52), z = r * r;
  double a = 0x1.e3f38399551bfp-12;
  a = a * z - 0x1.e30071afc3e59p-8;
  a = a * z + 0x1.50782fda12d96p-4;
  a = a * z - 0x1.32d2cce2e5b19p-1;
  a = a * z + 0x1.466bc677587f8p+1;
  a = a * z - 0x1.4abbce625be41p+2;
  a = a * z + 0x1.921fb54442d18p+1;
  a = a * r;
  double b = 0x1.f3dbcea61b1a4p-10;
  b = b * z - 0x1.a6c9c1be9eb49p-6;
  b = b * z + 0x1.e1f4fb60281f6p-3;
  b = b * z - 0x1.55d3c7dbfd139p+0;
  b = b * z + 0x1.03c1f081b0780p+2;
  b = b * z - 0x1.3bd3cc9be458bp+2;
  b = b * z + 1;
  const u64 odd = 0 - (q & 1), change = (bits_of(a) ^ bits_of(b)) & odd;
  sine = double_of((bits_of(a) ^ change) ^ ((q & 2) << 62));
  cosine = double_of((bits_of(b) ^ change) ^ (((q + 1) & 2) << 62));
}

typedef %s Real;

// Numbers of slots first to first + size - 1: a thread makes the two of a block.
extern "C" __global__ void draw(Real *out, const int64 size, const u64 first, const unsigned k0, const unsigned k1,
                                const int normal, const double a, const double b, const double last, const double start) {
  const u64 blocks = ((first + u64(size) - 1) >> 1) - (first >> 1) + 1;
  for (u64 i = blockIdx.x * u64(blockDim.x) + threadIdx.x; i < blocks; i += gridDim.x * u64(blockDim.x)) {
    const u64 index = (first >> 1) + i;
    const Words w = philox(unsigned(index), unsigned(index >> 32) | (normal ? 1u << 30 : 0u), 0, 0, k0, k1);
    double x[2];
    if (normal) {
      double sine, cosine;
      sine_cosine(double(int64(w.half[0])) * 0x1p-63 + 0x1p-64, sine, cosine);
      const double radius = sqrt(-2 * logarithm(double(w.half[1]) * 0x1p-64 + 0x1p-65));
      x[0] = a + b * (radius * sine);
      x[1] = a + b * (radius * cosine);
    }
    for (int h = 0; h < 2; ++h) {
      const int64 at = int64(index * 2 + h - first);
      if (at < 0 || at >= size)
        continue;
      if (normal) {
        out[at] = Real(x[h]);
      } else if (sizeof(Real) == 8) {
        const double value = a + b * (double(w.half[h] >> 11) * 0x1p-53);
        out[at] = Real(value < last ? value : last);
      } else {
        const float value = float(a + b * (double(int(w.half[h] >> 40)) * 0x1p-24));
        const float raised = value > float(start) ? value : float(start);
        out[at] = Real(raised < float(last) ? raised : float(last));
      }
    }
  }
}
]]

local single = ffi.new("float[1]")
local word = ffi.new("union { double d; int64_t i; float f[2]; int32_t n[2]; }")

-- The next double, or float, from x (finite, not 0) towards y.
local function towards(x, y, as_float)
  if as_float then
    word.f[0] = x
    if x == 0 then
      word.n[0] = 1
      return y > 0 and word.f[0] or -word.f[0]
    end
    word.n[0] = word.n[0] + ((y > x) == (x > 0) and 1 or -1)
    return word.f[0]
  end
  if x == 0 then
    return y > 0 and 4.9406564584124654e-324 or -4.9406564584124654e-324
  end
  word.d = x
  word.i = word.i + ((y > x) == (x > 0) and 1 or -1)
  return word.d
end

function ops.random(d, out, distribution, a, b, seed, slot)
  local size = tonumber(out._a._size)
  if size == 0 then
    return out
  end
  local is_float = out._a._dtype == 4
  local last, start, second = 0, 0, b
  if distribution == 0 then
    second = b - a
    if is_float then
      single[0] = a
      start = single[0]
      if start < a then
        start = towards(start, math.huge, true)
      end
      single[0] = b
      last = single[0]
      if last >= b then
        last = towards(last, -math.huge, true)
      end
    else
      last = towards(b, a)
    end
  end
  local parameters = { pointer_to(out), ffi.new("int64_t[1]", size), ffi.new("uint64_t[1]", slot),
    ffi.new("uint32_t[1]", seed % 2 ^ 32), ffi.new("uint32_t[1]", math.floor(seed / 2 ^ 32)),
    ffi.new("int32_t[1]", distribution == 2 and 1 or 0), ffi.new("double[1]", a), ffi.new("double[1]", second),
    ffi.new("double[1]", last), ffi.new("double[1]", start) }
  local blocks = min(ceil(size / 2 / threads), d.properties.multiprocessors * 32)
  launch(d, format(random_text, is_float and "float" or "double"), "draw", blocks, parameters, { "--fmad=false" })
  return out
end

return ops
