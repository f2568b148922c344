-- Worker processes, and arrays whose memory they share.
local core, kit = ...
local C = core.C
local fail = core.fail

local parallel = kit.parallel
local arrays = core.require("array")._kit

--- parallel.shared_array(shape ... [, options]), parallel.shared_array(a): an array of zeros, or a copy of an array, that
--- worker processes see as it is. (They get a copy of any other; workers that are threads share all arrays.)
function parallel.shared_array(first, ...)
  if arrays.is(first) then
    local a = arrays.need_array("shared_array", first)
    local dtype = arrays.dtype_option("shared_array", (...)) or a._dtype
    for i = 0, a._ndim - 1 do
      arrays.lengths[i] = a._shape[i]
    end
    local out = arrays.call(C.pg_process_shared_array, nil, dtype, a._ndim, arrays.lengths)
    core.check(C.pg_array_assign(out, dtype == a._dtype and a or arrays.call(C.pg_array_astype, nil, a, dtype)))
    return out
  elseif first == nil then
    fail("shared_array: a shape such as 3, 4 or {3, 4} is expected, or an array to copy, got nil")
  end
  local rank, dtype = arrays.parse_constructor("shared_array", first, ...)
  return (arrays.call(C.pg_process_shared_array, nil, dtype, rank, arrays.lengths))
end

--- parallel.is_shared_array(a): whether worker processes see the memory of this array.
function parallel.is_shared_array(a)
  return C.pg_process_is_shared(arrays.need_array("is_shared_array", a)) ~= 0
end
