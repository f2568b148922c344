-- Matrix products.
local core, kit = ...
local C = core.C
local array, methods, array_t, call, need_array, load = kit.array, kit.methods, kit.array_t, kit.call, kit.need_array, kit.load

--- array.matmul(a, b): matrix product of 1- or 2-dimensional arrays; of two vectors it is a number. dot is the same.
function array.matmul(a, b)
  local product = call(C.pg_array_matmul, array_t(), need_array("matmul", a), need_array("matmul", b))
  if product._ndim == 0 then
    return (load(product._data, product._dtype, 0))
  end
  return product
end
array.dot, methods.matmul, methods.dot = array.matmul, array.matmul, array.matmul
