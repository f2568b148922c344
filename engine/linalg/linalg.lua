-- What scripts see of linear algebra: arguments are checked and errors worded here; BLAS and LAPACK do the work
-- (linalg_abi.h).
local core, library = ...
local ffi = core.ffi

return { _library = library, _array_t = ffi.typeof("pg_array") }
