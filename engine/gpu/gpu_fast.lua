-- Launches on the fast simulator: kernels as compiled loops over the threads of a block, blocks on the engine's threads
-- (kernel/grid.hpp). What only the checked simulator can run runs there.
local core, shared = ...
local C, ffi = core.C, core.ffi
local check = core.check
local kit = shared.kit
local front = core.require("kernel")._kit

local ERROR_UNSUPPORTED = 2
local module_out, dtype_c, failed = ffi.new("pg_kernel_module *[1]"), ffi.new("int32_t[1]"), ffi.new("int32_t[1]")
local sizes_t = ffi.typeof("int64_t[3]")
local options_of = { [false] = {}, [true] = { fastmath = true } }
local item_sizes = { bool = 1, int8 = 1, uint8 = 1, int16 = 2, uint16 = 2, int32 = 4, uint32 = 4, float32 = 4, complex128 = 16 } -- else 8

-- The compiled form of a specialisation; nil and the reason where there is none.
local function compiled(k, s)
  if s.fast == nil then
    local status = C.pg_kernel_block(module_out, s.module, dtype_c)
    if status == ERROR_UNSUPPORTED then
      s.fast, s.slow_reason = false, ffi.string(C.pg_last_message())
    else
      check(status)
      local module = ffi.gc(module_out[0], C.pg_kernel_close_module)
      local code = front.compiled(module, options_of[k._options.fastmath == true])
      s.fast = { module = module, code = code, entry = front.need_compiler().pg_llvm_entry(code), launch_dtype = dtype_c[0],
        name = C.pg_kernel_keep_name(k._name) }
    end
  end
  return s.fast, s.slow_reason
end

shared.launchers.fast = function(k, s, launch, values, host, originals)
  local fast = compiled(k, s)
  if not fast then
    return shared.launchers.checked(k, s, launch, values, host, originals)
  end
  local grid, block = sizes_t(launch.grid), sizes_t(launch.block)
  local pointers, slots = shared.pack_arguments(s.keys, values)
  local memory
  if fast.launch_dtype >= 0 then
    memory = kit.array_t()
    memory._dtype, memory._ndim = fast.launch_dtype, 1
    memory._size = math.floor(launch.shared / (item_sizes[kit.dtype_names[fast.launch_dtype]] or 8))
    memory._shape[0], memory._strides[0] = memory._size, 1
  end
  check(C.pg_kernel_run_grid(failed, front.failure, fast.entry, grid, block, pointers, #values, memory, fast.name))
  slots = slots and nil -- kept until here
  if failed[0] ~= 0 then
    front.raise_failure(true)
  end
  shared.count_transfers(s, values, host)
end

