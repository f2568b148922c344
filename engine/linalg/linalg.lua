-- What scripts see of linear algebra: arguments are checked and errors worded here; BLAS and LAPACK do the work
-- (linalg_abi.h). This file holds products and norms; the others, loaded at its end, what their names say.
local core, library = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local tonumber, type, abs, huge, format, concat = tonumber, type, math.abs, math.huge, string.format, table.concat

local array = core.require("array")
local kit = array._kit
local methods, array_t, call, need_array, load = kit.methods, kit.array_t, kit.call, kit.need_array, kit.load
local kind_of, is_integer, check_options, check_alive = kit.kind_of, kit.is_integer, kit.check_options, kit.check_alive
local parse_axis, share, set_size, dtype_names, shape_text = kit.parse_axis, kit.share, kit.set_size, kit.dtype_names,
  kit.shape_text
local shape_of = kit.shape_of
local transpose, reshape = methods.transpose, methods.reshape

local linalg = { _matmul = library.pg_linalg_matmul }

local FLOAT32, FLOAT64, COMPLEX64, COMPLEX128 = 4, 5, 11, 12

-- ------------------------------------------------------------------------------------------------------- helpers ----
-- An array that is not released; a table of numbers as an array.
local function need(name, x)
  if type(x) == "table" then
    return array.from(x)
  end
  local a = need_array(name, x)
  check_alive(a)
  return a
end

-- A number, table or array as an array.
local function need_values(name, x)
  if type(x) == "number" then
    return array.full({}, x)
  end
  return need(name, x)
end

-- The options table, checked against `known`; an empty one for nil.
local none = {}
local function need_options(name, options, known)
  if options == nil then
    return none
  elseif type(options) ~= "table" then
    local names = {}
    for known_name in pairs(known) do
      names[#names + 1] = known_name
    end
    table.sort(names)
    fail("%s: options are a table such as {%s = ...}, got %s; legal are: %s", name, names[1], kind_of(options),
      concat(names, ", "))
  end
  check_options(name, options, known)
  return options
end

local function need_boolean(name, option, value, default)
  if value == nil then
    return default
  elseif type(value) ~= "boolean" then
    fail("%s: %s is true or false, got %s", name, option, kind_of(value))
  end
  return value
end

local function need_tolerance(name, option, value)
  if type(value) ~= "number" or not (value >= 0) then
    fail("%s: %s must be a number, 0 or more, got %s", name, option, kind_of(value))
  end
  return value
end

-- An array of 0 dimensions as a number, others as they are.
local function result(a)
  if a._ndim == 0 then
    return (load(a._data, a._dtype, 0))
  end
  return a
end

-- The dtype LAPACK works in.
local function work_dtype(dtype)
  return (dtype == FLOAT32 or dtype == COMPLEX64 or dtype == COMPLEX128) and dtype or FLOAT64
end

local function as_dtype(a, dtype)
  return a._dtype == dtype and a or call(C.pg_array_astype, array_t(), a, dtype)
end

-- Both in the dtype in which LAPACK works on the two of them.
local function in_one_dtype(a, b)
  local dtype = C.pg_array_promote(work_dtype(a._dtype), work_dtype(b._dtype))
  return as_dtype(a, dtype), as_dtype(b, dtype)
end

local function is_complex(a)
  return a._dtype >= COMPLEX64
end

-- Unit roundoff of results: what tolerances are multiples of.
local function epsilon(a)
  return (a._dtype == FLOAT32 or a._dtype == COMPLEX64) and 2 ^ -23 or 2 ^ -52
end

-- A view with another shape and strides (tables); `a` where both are as they were.
local function restride(a, shape, strides)
  if #shape > 8 then
    core.unsupported("arrays of more than 8 dimensions (this needs %d)", #shape)
  end
  local v = share(a)
  v._ndim = #shape
  for i = 1, #shape do
    v._shape[i - 1] = shape[i]
    v._strides[i - 1] = strides[i]
  end
  set_size(v)
  return v
end

local function strides_of(a)
  local strides = {}
  for i = 1, a._ndim do
    strides[i] = tonumber(a._strides[i - 1])
  end
  return strides
end

-- a with this shape: a view where there is one, itself where the shape is its own.
local function with_shape(a, shape)
  if a._ndim == #shape then
    local same = true
    for i = 1, #shape do
      same = same and a._shape[i - 1] == shape[i]
    end
    if same then
      return a
    end
  end
  return (reshape(a, shape))
end

-- Axes from an integer or a table, counted from 1 and positive.
local function parse_axes(name, a, axes)
  if type(axes) ~= "table" then
    return { parse_axis(name, a, axes) }
  end
  local parsed, seen = {}, {}
  for i = 1, #axes do
    local axis = parse_axis(name, a, axes[i])
    if seen[axis] then
      fail("%s: axis %d is given twice", name, axis)
    end
    seen[axis], parsed[i] = true, axis
  end
  return parsed
end

-- ------------------------------------------------------------------------------------------------------ products ----
linalg.matmul, linalg.dot = array.matmul, array.dot

local function flat(a)
  return a._ndim == 1 and a or (reshape(a, { -1 }))
end

--- linalg.vdot(a, b): the sum of conj(a) * b over all elements, a number.
function linalg.vdot(a, b)
  local x, y = flat(need("vdot", a)), flat(need("vdot", b))
  if x._size ~= y._size then
    fail("vdot: both arrays must have as many elements, got %d and %d", tonumber(x._size), tonumber(y._size))
  end
  return (array.matmul(is_complex(x) and array.conj(x) or x, y))
end

--- linalg.outer(a, b): every element of a times every element of b, a matrix.
function linalg.outer(a, b)
  local x, y = flat(need_values("outer", a)), flat(need_values("outer", b))
  return (array.multiply(reshape(x, { -1, 1 }), y))
end

--- linalg.tensordot(a, b [, axes]): sums over axes of a with those of b: the last n and the first n for an integer n (2
--- by default), or {axes of a, axes of b}.
function linalg.tensordot(a, b, axes)
  local x, y = need_values("tensordot", a), need_values("tensordot", b)
  local of_a, of_b = {}, {}
  if axes == nil or type(axes) == "number" then
    local n = axes == nil and 2 or axes
    if not is_integer(n) or n < 0 or n > x._ndim or n > y._ndim then
      fail("tensordot: axes must be an integer from 0 to the smaller number of dimensions (%d), or {axes of a, axes of " ..
        "b}; got %s", math.min(x._ndim, y._ndim), kind_of(n))
    end
    for i = 1, n do
      of_a[i], of_b[i] = x._ndim - n + i, i
    end
  elseif type(axes) == "table" and #axes == 2 then
    of_a, of_b = parse_axes("tensordot", x, axes[1]), parse_axes("tensordot", y, axes[2])
    if #of_a ~= #of_b then
      fail("tensordot: %d axes of a meet %d of b", #of_a, #of_b)
    end
  else
    fail("tensordot: axes must be an integer or {axes of a, axes of b}, got %s", kind_of(axes))
  end
  local used_a, used_b, inner = {}, {}, 1
  for i = 1, #of_a do
    local p, q = of_a[i], of_b[i]
    used_a[p], used_b[q] = true, true
    if x._shape[p - 1] ~= y._shape[q - 1] then
      fail("tensordot: axis %d of a has length %d, and axis %d of b has %d", p, tonumber(x._shape[p - 1]), q,
        tonumber(y._shape[q - 1]))
    end
    inner = inner * tonumber(x._shape[p - 1])
  end
  local order_a, order_b, shape = {}, {}, {}
  local rows, columns = 1, 1
  for i = 1, x._ndim do
    if not used_a[i] then
      order_a[#order_a + 1] = i
      shape[#shape + 1] = tonumber(x._shape[i - 1])
      rows = rows * tonumber(x._shape[i - 1])
    end
  end
  for i = 1, #of_a do
    order_a[#order_a + 1] = of_a[i]
    order_b[i] = of_b[i]
  end
  for i = 1, y._ndim do
    if not used_b[i] then
      order_b[#order_b + 1] = i
      shape[#shape + 1] = tonumber(y._shape[i - 1])
      columns = columns * tonumber(y._shape[i - 1])
    end
  end
  if #shape > 8 then
    core.unsupported("tensordot: the result would have %d dimensions; arrays have at most 8", #shape)
  end
  if #order_a > 0 then
    x = transpose(x, order_a)
  end
  if #order_b > 0 then
    y = transpose(y, order_b)
  end
  local product = array.matmul(with_shape(x, { rows, inner }), with_shape(y, { inner, columns }))
  return (result(with_shape(product, shape)))
end

--- linalg.inner(a, b): the sum over the last axes of both.
function linalg.inner(a, b)
  local x, y = need_values("inner", a), need_values("inner", b)
  if x._ndim == 0 or y._ndim == 0 then
    return (array.multiply(x, y))
  elseif x._shape[x._ndim - 1] ~= y._shape[y._ndim - 1] then
    fail("inner: the last axes must have the same length, got shapes %s and %s", shape_text(x._shape, x._ndim),
      shape_text(y._shape, y._ndim))
  end
  return (linalg.tensordot(x, y, { -1, -1 }))
end

--- linalg.kron(a, b): the Kronecker product, blocks of b times each element of a.
function linalg.kron(a, b)
  local x, y = need_values("kron", a), need_values("kron", b)
  local n = math.max(x._ndim, y._ndim)
  if n > 4 then
    core.unsupported("kron: arrays of more than 4 dimensions")
  end
  local left, right, shape = {}, {}, {}
  for i = 1, n do
    local p, q = i - (n - x._ndim), i - (n - y._ndim)
    local lx, ly = p > 0 and tonumber(x._shape[p - 1]) or 1, q > 0 and tonumber(y._shape[q - 1]) or 1
    left[2 * i - 1], left[2 * i] = lx, 1
    right[2 * i - 1], right[2 * i] = 1, ly
    shape[i] = lx * ly
  end
  return (reshape(array.multiply(reshape(x, left), reshape(y, right)), shape))
end

-- The view of the elements (i, i) of two axes, as the last axis; offset > 0 starts to the right, < 0 below.
local function diagonal(name, a, offset, axis1, axis2)
  if not is_integer(offset) then
    fail("%s: the offset must be an integer, got %s", name, kind_of(offset))
  elseif a._ndim < 2 then
    fail("%s: an array of 2 dimensions or more is expected, got %d", name, a._ndim)
  end
  local p, q = parse_axis(name, a, axis1), parse_axis(name, a, axis2)
  if p == q then
    fail("%s: the two axes must differ, got %d twice", name, p)
  end
  local shape, strides = shape_of(a), strides_of(a)
  local n, step = math.min(shape[p], shape[q] - offset, shape[p] + offset, shape[q]), strides[p] + strides[q]
  local start = offset > 0 and offset * strides[q] or -offset * strides[p]
  for _, axis in ipairs { math.max(p, q), math.min(p, q) } do
    table.remove(shape, axis)
    table.remove(strides, axis)
  end
  n = math.max(n, 0)
  shape[#shape + 1], strides[#strides + 1] = n, step
  local v = restride(a, shape, strides)
  if n > 0 then
    v._data = kit.advance(a._data, a._dtype, start)
  end
  return v
end

local trace_options = { offset = true, axis1 = true, axis2 = true }

--- linalg.trace(a [, {offset = 0, axis1 = 1, axis2 = 2}]): the sum of the diagonal.
function linalg.trace(a, options)
  local x = need("trace", a)
  options = need_options("trace", options, trace_options)
  local v = diagonal("trace", x, options.offset or 0, options.axis1 or 1, options.axis2 or 2)
  if v._ndim == 1 then
    return (methods.sum(v))
  end
  return (methods.sum(v, -1))
end

--- linalg.matrix_power(a, n): a multiplied by itself n times; n < 0 multiplies the inverse, 0 gives identities.
function linalg.matrix_power(a, n)
  local x = need("matrix_power", a)
  if not is_integer(n) then
    fail("matrix_power: the exponent must be an integer, got %s", kind_of(n))
  elseif x._ndim < 2 or x._shape[x._ndim - 1] ~= x._shape[x._ndim - 2] then
    fail("matrix_power: the matrix must be square, got shape %s", shape_text(x._shape, x._ndim))
  end
  if n < 0 then
    x, n = linalg.inv(x), -n
  end
  if n == 0 then
    local identity = array.zeros_like(x)
    local shape = shape_of(x)
    methods.fill(diagonal("matrix_power", identity, 0, #shape - 1, #shape),
      dtype_names[x._dtype] == "bool" and true or 1)
    return identity
  end
  local power, square = nil, x
  while true do
    if n % 2 == 1 then
      power = power and array.matmul(power, square) or square
    end
    n = math.floor(n / 2)
    if n == 0 then
      return power == x and methods.copy(x) or power
    end
    square = array.matmul(square, square)
  end
end

-- --------------------------------------------------------------------------------------------------------- norms ----
-- a with these axes last, in this order.
local function axes_last(a, axes)
  local order, seen = {}, {}
  for i = 1, #axes do
    seen[axes[i]] = true
  end
  for i = 1, a._ndim do
    if not seen[i] then
      order[#order + 1] = i
    end
  end
  for i = 1, #axes do
    order[#order + 1] = axes[i]
  end
  return (transpose(a, order))
end

-- Over the last n axes.
local function vector_norm(a, n, order)
  return (call(library.pg_linalg_norm, array_t(), a, n, order))
end

local function largest(a)
  return (methods.max(a, -1))
end
local function smallest(a)
  return (methods.min(a, -1))
end

-- As reductions give numbers for vectors, and these are not arrays.
local function is_number(x)
  return not array.is(x)
end

-- A norm of the matrices in the last two axes.
local function matrix_norm(a, order)
  if order == nil or order == "fro" then
    return (vector_norm(a, 2, 2))
  elseif order == 1 or order == -1 then
    local sums = vector_norm(axes_last(a, { a._ndim - 1 }), 1, 1)
    return order == 1 and largest(sums) or smallest(sums)
  elseif order == huge or order == -huge then
    local sums = vector_norm(a, 1, 1)
    return order == huge and largest(sums) or smallest(sums)
  elseif order == 2 or order == -2 or order == "nuc" then
    local s = linalg.svdvals(a)
    if order == "nuc" then
      return (methods.sum(s, -1))
    end
    return order == 2 and largest(s) or smallest(s)
  end
  fail('norm: of a matrix the order is "fro", "nuc", 1, -1, 2, -2, math.huge or -math.huge, got %s', kind_of(order))
end

local norm_options = { ord = true, axis = true, keepdims = true }

--- linalg.norm(a [, ord] [, {ord =, axis =, keepdims =}]): the norm of all elements, of the vectors along an axis, or of
--- the matrices in two axes {i, j}. Vectors: 2 by default, any number, math.huge, -math.huge. Matrices: "fro" by
--- default, "nuc", 1, -1, 2, -2, math.huge, -math.huge.
function linalg.norm(a, ord, options)
  local x = need_values("norm", a)
  if type(ord) == "table" then
    ord, options = nil, ord
  end
  options = need_options("norm", options, norm_options)
  local order = ord
  if order == nil then
    order = options.ord
  end
  if order ~= nil and type(order) ~= "number" and order ~= "fro" and order ~= "nuc" or order ~= order then
    fail('norm: the order is a number, math.huge, -math.huge, "fro" or "nuc", got %s', kind_of(order))
  end
  local keepdims = need_boolean("norm", "keepdims", options.keepdims, false)
  local axes
  if options.axis ~= nil then
    axes = parse_axes("norm", x, options.axis)
    if #axes ~= 1 and #axes ~= 2 then
      fail("norm: axis is one axis (vectors) or two (matrices), got %d", #axes)
    end
  end
  local norms
  if not axes then
    axes = {}
    for i = 1, x._ndim do
      axes[i] = i
    end
    if order ~= nil and x._ndim ~= 1 and x._ndim ~= 2 then
      fail("norm: with an order the array must have 1 or 2 dimensions, got %d; name the axes with axis", x._ndim)
    end
    norms = (order ~= nil and x._ndim == 2) and matrix_norm(x, order) or nil
    if not norms then
      if type(order) == "string" then
        fail("norm: the order %q is for matrices, and this array has %d dimension", order, x._ndim)
      end
      norms = vector_norm(x, x._ndim, order or 2)
    end
  elseif #axes == 1 then
    if type(order) == "string" then
      fail("norm: the order %q is for matrices: name two axes", order)
    end
    norms = vector_norm(axes_last(x, axes), 1, order or 2)
  else
    norms = matrix_norm(axes_last(x, axes), order)
  end
  if keepdims then
    local shape = shape_of(x)
    for i = 1, #axes do
      shape[axes[i]] = 1
    end
    if is_number(norms) then
      return (array.full(shape, norms, { dtype = epsilon(x) > 1e-10 and "float32" or "float64" }))
    end
    return (reshape(norms, shape))
  end
  return is_number(norms) and norms or (result(norms))
end

-- --------------------------------------------------------------------------------------------------------- parts ----
local own = {
  library = library, linalg = linalg, need = need, need_values = need_values, need_options = need_options,
  need_boolean = need_boolean, need_tolerance = need_tolerance, result = result, work_dtype = work_dtype,
  as_dtype = as_dtype, in_one_dtype = in_one_dtype, is_complex = is_complex, epsilon = epsilon, shape_of = shape_of,
  strides_of = strides_of, restride = restride, with_shape = with_shape, parse_axes = parse_axes, flat = flat,
  diagonal = diagonal, axes_last = axes_last,
}
for _, part in ipairs { "linalg_factor", "linalg_einsum", "linalg_distance", "linalg_fit" } do
  local text = library.pg_linalg_source(part .. ".lua")
  local chunk, syntax = _G.load(ffi.string(text), "@perigee:" .. part, "t")
  if not chunk then
    core.internal("%s does not load: %s", part, syntax)
  end
  chunk(core, kit, own)
end

return linalg
