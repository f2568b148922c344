-- Matrix products. BLAS multiplies floats (module linalg); integers, and what is too small to be worth loading it for,
-- are multiplied by the engine's own loops, as are floats where that module is missing.
local core, kit = ...
local C = core.C
local array, methods, call, need_array, load = kit.array, kit.methods, kit.call, kit.need_array, kit.load
local check_alive, tonumber = kit.check_alive, tonumber

local FLOAT32, FLOAT64, COMPLEX64 = 4, 5, 11
local few = 100 -- elements of vectors, whose sums wait for one another in a plain loop
local small = 1000 -- multiplications; not measured by whether BLAS is loaded, so that results do not depend on it

local function is_floating(dtype)
  return dtype == FLOAT64 or dtype == FLOAT32 or dtype >= COMPLEX64
end

local blas -- the plugin's product; false where it is missing

local function find_blas()
  local linalg = core.optional("linalg")
  blas = linalg and linalg._matmul or false
  return blas
end

--- array.matmul(a, b): the matrix product, as NumPy's: vectors count as a row (a) or a column (b), which the result
--- lacks; axes before the last two are a batch and broadcast; of two vectors it is a number.
local function matmul(a, b)
  local x, y = need_array("matmul", a), need_array("matmul", b)
  check_alive(x)
  check_alive(y)
  local f = C.pg_array_matmul
  if is_floating(x._dtype) or is_floating(y._dtype) then
    local ndim = y._ndim
    local columns = ndim > 1 and tonumber(y._shape[ndim - 1]) or 1
    if tonumber(x._size) * columns > (ndim == 1 and few or small) or tonumber(y._size) > small then
      f = blas or (blas == nil and find_blas()) or f
    end
  end
  local product = call(f, nil, x, y)
  if product._ndim == 0 then
    return (load(product._data, product._dtype, 0))
  end
  return product
end
array.matmul, methods.matmul = matmul, matmul

--- array.dot(a, b): as matmul for arrays of one or two dimensions; with numbers it multiplies; of more dimensions, the
--- last axis of a meets the last but one of b.
local function dot(a, b)
  if type(a) == "number" or type(b) == "number" then
    return (array.multiply(a, b))
  end
  local x, y = need_array("dot", a), need_array("dot", b)
  if x._ndim == 0 or y._ndim == 0 then
    return (array.multiply(x, y))
  elseif x._ndim > 1 and y._ndim > 2 then
    return (array.tensordot(x, y, { { -1 }, { -2 } }))
  end
  return (matmul(x, y))
end
array.dot, methods.dot = dot, dot

-- The rest is the module linalg's, and loads it.
for _, name in ipairs { "vdot", "inner", "outer", "kron", "tensordot", "einsum" } do
  array[name] = function(...)
    return (core.require("linalg")[name](...))
  end
end
