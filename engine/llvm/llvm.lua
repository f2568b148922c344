-- The compiler of kernels by LLVM: what engine/kernel calls. Scripts use perigee.kernel.
local _, library = ...

return { _library = library }
