-- Operations of device arrays on a GPU: CUDA C++ is written for the operation, the dtypes and the number of dimensions at
-- hand, compiled once and kept. What the results' dtypes are is asked of the engine's own operations. Here: what all of them
-- share, and those that work element by element; parts: gpu_ops_cuda_complex.lua, _reduce.lua, _matmul.lua, _random.lua.
local core, shared = ...
local ffi = core.ffi
local C, fail, check = core.C, core.fail, core.check
local array, kit = shared.array, shared.kit
local is_device_array, create, same_shape = shared.is_device_array, shared.create, shared.same_shape
local dtype_names, kinds = kit.dtype_names, kit.kinds
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
template <class T> __device__ inline bool as_bool(T x) { return x != T(0); }
template <class To, class From> __device__ inline To cut(From x) { return To(x); } // a float to integers: NaN gives 0
template <class To> __device__ inline To cut(double x) { return x == x ? To(__double2ll_rz(x)) : To(0); }
]]

local complex = shared.part("gpu_ops_cuda_complex")
local complex_prelude, binary_complex, unary_complex = complex.prelude, complex.binary, complex.unary

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
  local complex = kinds[out._a._dtype] == "c"
  for _, o in ipairs(operands) do
    complex = complex or kinds[o.as] == "c" or o.array and kinds[o.array._a._dtype] == "c"
  end
  local text = { prelude, complex and complex_prelude or "", "// ", name, "\nextern \"C\" __global__ void elementwise(", c_names[out._a._dtype], " *out" }
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
  conj = "a", real = "a", imag = "T(0)", angle = "a < 0 ? T(3.141592653589793) : a != a ? a : T(0)",
  isinf = "a == a && a - a != 0", isfinite = "a - a == 0", logical_not = "a == 0", bitwise_not = "~a",
}
local unary_integer = {
  negative = "T(0 - (unsigned long long)a)", abs = "a < 0 ? T(0 - (unsigned long long)a) : a",
  square = "T((unsigned long long)a * (unsigned long long)a)", floor = "a", ceil = "a", trunc = "a", round = "a",
  sign = "T((a > 0) - (a < 0))", isnan = "false", isinf = "false", isfinite = "true",
}
local of_complex = { abs = true, angle = true, real = true, imag = true } -- real results
local gives_bool = { eq = true, ne = true, lt = true, le = true, gt = true, ge = true, logical_and = true, logical_or = true,
  logical_xor = true, isnan = true, isinf = true, isfinite = true, logical_not = true }

local function refuse_complex(name)
  core.unsupported("%s of complex arrays on a GPU; write a kernel, or compute on the host (d:to_host())", name)
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
  local kind = kinds[compute]
  local expression
  if kind == "c" then
    expression = binary_complex[name] or refuse_complex(name)
  else
    expression = (kind == "f" and binary_float or kind ~= "b" and binary_integer or {})[name] or binary[name]
  end
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
  local dtype = a._a._dtype
  local compute = (gives_bool[name] or kinds[dtype] == "c" and of_complex[name]) and dtype or result
  local expression
  if kinds[compute] == "c" then
    expression = unary_complex[name] or refuse_complex(name)
  else
    expression = kinds[compute] ~= "f" and unary_integer[name] or unary[name]
  end
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
      return format("%s(a)", c_names[to])
    elseif kinds[to] == "c" then
      return format("%s(%s(a))", c_names[to], to == 11 and "float" or "double")
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

-- ----------------------------------------------------------------------------------------------------------- parts ----
ops.kit = { prelude = prelude, complex_prelude = complex_prelude, c_names = c_names, threads = threads, launch = launch, pointer_to = pointer_to, make = make,
  shape_list = shape_list, collapse = collapse, layout_of = layout_of }
shared.cuda_ops = ops
shared.part("gpu_ops_cuda_reduce")
shared.part("gpu_ops_cuda_matmul")
shared.part("gpu_ops_cuda_random")

return ops
