-- pg.gpu: devices and arrays in their memory. A device is an NVIDIA GPU or the simulator; arguments are checked and errors
-- worded here, C++ does the work (gpu_abi.h). Parts: gpu_streams.lua (streams, events, timers), gpu_ops.lua (operations),
-- gpu_kernel.lua (kernels), gpu_cuda.lua (CUDA C++).
local core, library = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local array = core.require("array")
local kit = array._kit
local array_t, kind_of, check_options, parse_dtype, parse_constructor = kit.array_t, kit.kind_of, kit.check_options,
  kit.parse_dtype, kit.parse_constructor
local type, tonumber, tostring, ipairs, pairs, select, setmetatable, istype, format = type, tonumber, tostring,
  ipairs, pairs, select, setmetatable, ffi.istype, string.format
local new = ffi.new

local gpu = {}
local methods, getters = {}, {} -- of device arrays
local shared = { gpu = gpu, library = library, array = array, kit = kit, methods = methods, getters = getters }

local SIM, CUDA = 0, 1
local backends = { sim = SIM, cuda = CUDA }
local ERROR_MEMORY = 4

-- --------------------------------------------------------------------------------------------------------- devices ----
local device_mt = {}
device_mt.__index = device_mt
device_mt.__tostring = function(d)
  return format("gpu device %d of %s: %s", d.number, d.backend, ffi.string(d.properties.name))
end

local opened = { sim = {}, cuda = {} }
local current -- the device that arrays are made on

local count_c, out_device = new("int32_t[1]"), new("pg_gpu_device *[1]")

local function count_of(backend)
  check(library.pg_gpu_count(count_c, backends[backend]))
  return count_c[0]
end

-- Device `number`, from 1, of a backend.
local function open(backend, number)
  local d = opened[backend][number]
  if not d then
    check(library.pg_gpu_open(out_device, backends[backend], number - 1))
    d = setmetatable({ backend = backend, number = number, handle = out_device[0],
      properties = new("pg_gpu_properties") }, device_mt)
    check(library.pg_gpu_describe(d.properties, d.handle))
    opened[backend][number] = d
  end
  return d
end

local reason_of
--- gpu.available(): true where there is an NVIDIA GPU that can be used, else false and the reason.
function gpu.available()
  if reason_of == nil then
    reason_of = library.pg_gpu_count(count_c, CUDA) ~= 0 and ffi.string(core.C.pg_last_message()) or false
  end
  if reason_of then
    return false, reason_of
  end
  return true
end

-- The device in use: an NVIDIA GPU where there is one, else the simulator.
local function device()
  if not current then
    current = open(gpu.available() and "cuda" or "sim", 1)
  end
  return current
end
shared.device = device

local function need_number(name, what, n, last)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > last then
    fail("%s: %s is a whole number from 1 to %d, got %s", name, what, last, kind_of(n))
  end
  return n
end

--- gpu.use(backend [, number]): "cuda" for an NVIDIA GPU, "sim" for the simulator; number counts the GPUs from 1.
function gpu.use(backend, number)
  if not backends[backend] then
    fail('gpu.use: "sim" or "cuda" is expected, got %s', kind_of(backend))
  end
  if backend == "cuda" then
    local ok, reason = gpu.available()
    if not ok then
      core.unsupported('gpu.use: "cuda" does not work here: %s; gpu.use("sim") is the simulator', reason)
    end
  end
  current = open(backend, need_number("gpu.use", "the GPU's number", number == nil and 1 or number, count_of(backend)))
end

--- gpu.backend(): "cuda" or "sim", whichever is in use.
function gpu.backend()
  return device().backend
end

--- gpu.device_count(): how many devices the backend in use has.
function gpu.device_count()
  return count_of(device().backend)
end

--- gpu.device([number]): the number of the device in use, from 1; with a number, the one that arrays are made on and
--- kernels run on from here.
function gpu.device(number)
  if number ~= nil then
    local d = device()
    current = open(d.backend, need_number("gpu.device", "a device's number", number, count_of(d.backend)))
  end
  return device().number
end

local int64_2 = ffi.typeof("int64_t[1]")

--- gpu.info(): what the device in use is: a table.
function gpu.info()
  local d = device()
  local p = d.properties
  local free, total = int64_2(), int64_2()
  check(library.pg_gpu_memory_info(d.handle, free, total))
  local info = {
    backend = d.backend, device = d.number, name = ffi.string(p.name), compute_capability = format("%d.%d", p.major, p.minor),
    multiprocessors = p.multiprocessors, warp_size = p.warp_size, max_threads_per_block = p.max_threads_per_block,
    max_threads_per_multiprocessor = p.max_threads_per_multiprocessor,
    max_block = { p.max_block[0], p.max_block[1], p.max_block[2] },
    max_grid = { p.max_grid[0], p.max_grid[1], p.max_grid[2] }, registers_per_block = p.registers_per_block,
    shared_memory_per_block = p.shared_per_block, shared_memory_per_block_optin = p.shared_per_block_optin,
    shared_memory_per_multiprocessor = p.shared_per_multiprocessor,
    memory = tonumber(total[0]), memory_free = tonumber(free[0]),
  }
  if d.backend == "cuda" then
    info.clock = p.clock_khz * 1e3
    info.memory_bandwidth = 2 * p.memory_clock_khz * 1e3 * p.memory_bus_bits / 8 -- both edges of the clock
    info.l2_cache, info.copy_engines = p.l2_bytes, p.copy_engines
    info.driver = format("%d.%d", p.driver_version / 1000, p.driver_version % 1000 / 10)
  end
  return info
end

local pool = new("pg_gpu_pool")
--- gpu.memory(): bytes of the device in use, and what its pool has done: a table.
function gpu.memory()
  local d = device()
  local free, total = int64_2(), int64_2()
  check(library.pg_gpu_memory_info(d.handle, free, total))
  check(library.pg_gpu_pool_info(pool, d.handle))
  return { free = tonumber(free[0]), total = tonumber(total[0]), used = tonumber(pool.used), cached = tonumber(pool.cached),
    peak = tonumber(pool.peak), arrays = tonumber(pool.arrays), allocations = tonumber(pool.allocations),
    reused = tonumber(pool.reused) }
end

--- gpu.trim(): gives the memory that the pool keeps for reuse back to the device; returns how many bytes.
function gpu.trim()
  core.collect()
  local bytes = int64_2()
  check(library.pg_gpu_pool_trim(device().handle, bytes))
  return tonumber(bytes[0])
end

--- gpu.synchronize(): waits until the device in use has done all it was given to do.
function gpu.synchronize()
  check(library.pg_gpu_synchronize(device().handle))
  if device().backend == "sim" then
    shared.work.synchronized()
  else
    shared.finish_reads(nil)
  end
end

-- ---------------------------------------------------------------------------------------------------------- arrays ----
local device_t = ffi.typeof("pg_gpu_array")
local collect = new("int32_t[1]")

-- A device array for C++ to fill, which gives its memory back at its end.
local function fresh()
  return (ffi.gc(device_t(), library.pg_gpu_release))
end

-- f(collect): returns a status. Garbage is collected when much was allocated, and when memory is exhausted.
local function with_memory(f, out, ...)
  local status = f(out, collect, ...)
  if status == ERROR_MEMORY then
    core.collect()
    status = f(out, collect, ...)
  end
  check(status)
  if collect[0] ~= 0 then
    collect[0] = 0
    core.collect_cycle()
  end
  return out
end

-- An array of kit.lengths on the device. stream: an object or nil.
local function create(d, dtype, ndim, zero, stream)
  local out = with_memory(library.pg_gpu_create, fresh(), d.handle, dtype, ndim, kit.lengths, zero and 1 or 0,
    stream and stream.handle or nil)
  if d.backend == "sim" then
    shared.work.created(out, zero, stream)
  end
  return out
end

local function is_device_array(x)
  return istype(device_t, x)
end

local function need_device_array(name, x)
  if not istype(device_t, x) then
    fail("%s: a device array is expected, got %s%s", name, kind_of(x), kit.is(x) and "; gpu.array(a) copies it to the device"
      or "")
  elseif x._memory == nil then
    fail("%s: this device array was released and has no elements any more", name)
  end
  return x
end

local function backend_of(d)
  return d._a._block ~= nil and "sim" or "cuda"
end

-- The device that an array lies on.
local function device_of(d)
  return open(backend_of(d), d._a._device)
end

-- On the simulator: the same memory as a host array. bare(a): of a device array's pg_array.
local function bare(layout)
  local a = array_t()
  check(core.C.pg_array_share(a, collect, layout))
  a._device, a._flags = 0, 0
  return a
end
local function host_of(d)
  return bare(d._a)
end
shared.bare = bare

-- On the simulator: a device array in a host array's memory.
local function adopt(d, a)
  local out = fresh()
  check(library.pg_gpu_adopt(out, d.handle, a))
  shared.work.created(out)
  return out
end

local function contiguous(a)
  local expected = 1
  for d = a._ndim - 1, 0, -1 do
    local n = a._shape[d]
    if n ~= 1 and a._strides[d] ~= expected then
      return false
    end
    expected = expected * n
  end
  return true
end

local function copy_lengths(a)
  for d = 0, a._ndim - 1 do
    kit.lengths[d] = a._shape[d]
  end
  return a._ndim
end

local function same_shape(a, b)
  local same = a._ndim == b._ndim
  for d = 0, a._ndim - 1 do
    same = same and a._shape[d] == b._shape[d]
  end
  return same
end

shared.device_t, shared.fresh, shared.create, shared.is_device_array, shared.need_device_array = device_t, fresh, create,
  is_device_array, need_device_array
shared.device_of, shared.host_of, shared.adopt, shared.contiguous, shared.copy_lengths, shared.same_shape = device_of,
  host_of, adopt, contiguous, copy_lengths, same_shape
shared.with_memory, shared.collect, shared.open, shared.backend_of = with_memory, collect, open, backend_of

-- The stream of the options; nil for the default one.
local function stream_of(name, options)
  local s = options and options.stream
  if s == nil then
    return nil
  end
  return shared.need_stream(name, s)
end
shared.stream_of = stream_of

local function options_of(name, options, known)
  if options == nil then
    return nil
  elseif type(options) == "string" and known.dtype then
    return { dtype = options }
  elseif type(options) ~= "table" then
    fail('%s: options are a table such as {dtype = "float32"}, got %s', name, kind_of(options))
  end
  check_options(name, options, known)
  return options
end
shared.options_of = options_of

-- Copies between host and device, and the bytes that they have moved.
local moved = { to_device = 0, to_host = 0 }
shared.moved = moved

local element_bytes = { [0] = 1, 1, 4, 8, 4, 8, 1, 2, 2, 4, 8, 8, 16 } -- in the order of pg_dtype

local function bytes_of(a)
  return tonumber(a._size) * element_bytes[a._dtype]
end
shared.bytes_of, shared.element_bytes = bytes_of, element_bytes

--- The bytes of an array without gaps, as a string.
function shared.content(a)
  return ffi.string(a._data, bytes_of(a))
end

-- Host arrays that copies on a stream use are kept until it is done.
local function write(d, host, stream)
  moved.to_device = moved.to_device + bytes_of(host)
  if backend_of(d) == "sim" then
    shared.work.to_device(d, host, stream)
    check(library.pg_gpu_write(d, host, nil, 1))
    return
  end
  check(library.pg_gpu_write(d, host, stream and stream.handle or nil, stream == nil and 1 or 0))
  if stream ~= nil then
    shared.keep_until_done(stream, host)
  end
end
local function read(host, d, stream)
  moved.to_host = moved.to_host + bytes_of(host)
  if backend_of(d) == "sim" then
    local to = stream and kit.create(copy_lengths(host), host._dtype, 0) or host
    check(library.pg_gpu_read(to, d, nil, 1))
    shared.work.to_host(host, d, stream, to)
    return
  end
  check(library.pg_gpu_read(host, d, stream and stream.handle or nil, stream == nil and 1 or 0))
  if stream ~= nil then
    shared.keep_until_done(stream, host, d)
  end
end

--- gpu.transfers(): bytes that copies between host and device have moved since the start: {to_device, to_host}.
function gpu.transfers()
  return { to_device = moved.to_device, to_host = moved.to_host }
end

local array_options = { dtype = true, stream = true }

--- gpu.array(a [, options]): a copy of a host array, or of a list, on the device in use. dtype: converted to it first;
--- stream: copied in its order.
function gpu.array(a, options)
  options = options_of("gpu.array", options, array_options)
  if is_device_array(a) then
    fail("gpu.array: this is on the device already; d:copy() copies it")
  end
  local host = type(a) == "table" and array.from(a) or kit.need_array("gpu.array", a)
  kit.check_alive(host)
  if options and options.dtype then
    local dtype = parse_dtype("gpu.array", options.dtype)
    host = dtype == host._dtype and host or host:astype(options.dtype)
  end
  host = array.ascontiguousarray(host)
  local stream = stream_of("gpu.array", options)
  local d = create(device(), host._dtype, copy_lengths(host), false, stream)
  write(d, host, stream)
  return d
end

--- gpu.zeros(2, 3 [, options]), gpu.empty, gpu.ones: as array's, on the device in use.
function gpu.zeros(...)
  local ndim, dtype = parse_constructor("gpu.zeros", ...)
  return create(device(), dtype, ndim, true)
end
function gpu.empty(...)
  local ndim, dtype = parse_constructor("gpu.empty", ...)
  return create(device(), dtype, ndim, false)
end
function gpu.ones(...)
  local ndim, dtype = parse_constructor("gpu.ones", ...)
  return create(device(), dtype, ndim, false):fill(dtype == 0 and true or 1)
end

--- gpu.full(shape, value [, options])
function gpu.full(shape, value, options)
  local ndim = kit.parse_shape("gpu.full", shape)
  local dtype = kit.dtype_option("gpu.full", options) or (type(value) == "boolean" and 0 or 5)
  return create(device(), dtype, ndim, false):fill(value)
end

local function like(name, d, options, zero)
  if not is_device_array(d) then
    d = { _a = kit.need_array(name, d) }
  else
    need_device_array(name, d)
  end
  return create(device(), kit.dtype_option(name, options) or d._a._dtype, copy_lengths(d._a), zero)
end
--- gpu.zeros_like(d [, options]), gpu.empty_like: an array of d's shape and, by default, dtype. d may be a host array.
function gpu.zeros_like(d, options) return like("gpu.zeros_like", d, options, true) end
function gpu.empty_like(d, options) return like("gpu.empty_like", d, options, false) end

--- gpu.pinned(2, 3 [, options]) or gpu.pinned(a): a host array in page-locked memory, of zeros or with a's elements. Copies
--- from and to it are faster, and those on a stream run beside other work.
function gpu.pinned(first, ...)
  local out, d = array_t(), device()
  if kit.is(first) then
    local a = kit.need_array("gpu.pinned", first)
    kit.check_alive(a)
    with_memory(library.pg_gpu_pinned, out, d.handle, a._dtype, copy_lengths(a), kit.lengths, 0)
    check(core.C.pg_array_assign(out, a))
  else
    local ndim, dtype = parse_constructor("gpu.pinned", first, ...)
    with_memory(library.pg_gpu_pinned, out, d.handle, dtype, ndim, kit.lengths, 1)
  end
  if d.backend == "sim" then
    shared.work.pin(out)
  end
  return out
end

--- gpu.is_array(x): whether x is a device array.
gpu.is_array = is_device_array

local host_options = { out = true, stream = true }

--- d:to_host([options]): a copy as an ordinary array. out: an array to copy to; stream: in its order, without waiting for
--- it: out must be given, and is filled once the stream is done (s:synchronize()).
function methods.to_host(d, options)
  need_device_array("to_host", d)
  options = options_of("to_host", options, host_options)
  local stream, out = stream_of("to_host", options), options and options.out
  if stream ~= nil and out == nil then
    fail("to_host: with a stream, say where to: to_host{stream = s, out = a}; a = gpu.pinned(...) is copied to in the " ..
      "background")
  end
  if out ~= nil then
    out = kit.need_array("to_host: out", out)
    kit.check_alive(out)
    if not same_shape(out, d._a) then
      fail("to_host: out has shape %s, and this device array %s", kit.shape_text(out._shape, out._ndim),
        kit.shape_text(d._a._shape, d._a._ndim))
    end
  end
  local from = contiguous(d._a) and d or d:copy()
  local target = out
  if not out or out._dtype ~= d._a._dtype or not contiguous(out) then
    if stream ~= nil then
      fail("to_host: with a stream, out has the dtype of the device array (%s) and no gaps", d.dtype)
    end
    local ndim = copy_lengths(d._a)
    target = kit.create(ndim, d._a._dtype, 0)
  end
  read(target, from, stream)
  if out and target ~= out then
    check(core.C.pg_array_assign(out, target))
  end
  return out or target
end

--- gpu.to_host(d [, options]): d:to_host(options).
gpu.to_host = methods.to_host

local copy_options = { stream = true }

--- d:copy_from(a [, {stream = s}]): copies a host or device array of d's shape into d. With a stream without waiting: a host
--- array must then not change before the stream is done.
function methods.copy_from(d, a, options)
  need_device_array("copy_from", d)
  options = options_of("copy_from", options, copy_options)
  local stream = stream_of("copy_from", options)
  if type(a) == "table" then
    a = array.from(a)
  end
  local on_device = is_device_array(a)
  local from
  if on_device then
    from = need_device_array("copy_from", a)._a
  else
    a = kit.need_array("copy_from", a)
    kit.check_alive(a)
    from = a
  end
  if not same_shape(from, d._a) then
    fail("copy_from: this device array has shape %s, and what is copied %s", kit.shape_text(d._a._shape, d._a._ndim),
      kit.shape_text(from._shape, from._ndim))
  end
  if on_device then
    if from._dtype == d._a._dtype and contiguous(from) and contiguous(d._a) then
      if backend_of(d) == "sim" then
        shared.work.copy(d, a, stream)
      end
      check(library.pg_gpu_copy(d, a, stream and stream.handle or nil))
    else
      shared.assign(d, a, options)
    end
    return d
  end
  if from._dtype ~= d._a._dtype then
    a = array.zeros(a.shape, d.dtype)
    check(core.C.pg_array_assign(a, from)) -- which refuses what would lose something
  end
  a = array.ascontiguousarray(a)
  if contiguous(d._a) then
    write(d, a, stream)
  else
    shared.assign(d, gpu.array(a), options)
  end
  return d
end

--- d:copy([{stream = s}]): a copy on the same device, in row-major order.
function methods.copy(d, options)
  need_device_array("copy", d)
  options = options_of("copy", options, copy_options)
  local out = create(device_of(d), d._a._dtype, copy_lengths(d._a), false)
  return out:copy_from(d, options)
end

--- d:release(): gives the memory back now; the array has no elements any more.
function methods.release(d)
  if is_device_array(d) then
    library.pg_gpu_release(d)
  end
end

-- Views are made by the host arrays' own functions, of a descriptor that has the device array's addresses and layout (and
-- nothing may read: only functions that are known to move no element are called).
local one = array.zeros(1)
local function layout_of(d)
  local a = array_t()
  check(core.C.pg_array_share(a, collect, one))
  a._data, a._size, a._dtype, a._ndim = d._a._data, d._a._size, d._a._dtype, d._a._ndim
  ffi.copy(a._shape, d._a._shape, 64)
  ffi.copy(a._strides, d._a._strides, 64)
  return a
end

shared.layout_of = layout_of

local function view_of(d, layout)
  local out = fresh()
  library.pg_gpu_share(out, d, layout)
  return out
end
shared.view_of, shared.layout_of = view_of, layout_of

for _, name in ipairs { "transpose", "swapaxes", "moveaxis", "squeeze", "expand_dims", "broadcast_to", "flip", "diagonal" } do
  methods[name] = function(d, ...)
    need_device_array(name, d)
    local layout = layout_of(d)
    return view_of(d, layout[name](layout, ...))
  end
end

--- d:reshape(2, 3), d:reshape({2, 3}): the same elements in another shape: a view, or a copy where there are gaps.
function methods.reshape(d, ...)
  need_device_array("reshape", d)
  local from = contiguous(d._a) and d or d:copy()
  local layout = layout_of(from)
  return view_of(from, layout:reshape(...))
end

--- d:ravel(): as one dimension.
function methods.ravel(d)
  return methods.reshape(d, -1)
end

--- d:is_contiguous(): whether the elements lie in memory without gaps, in row-major order.
function methods.is_contiguous(d)
  return contiguous(need_device_array("is_contiguous", d)._a)
end

function getters.shape(d) return layout_of(d).shape end
function getters.strides(d) return layout_of(d).strides end
function getters.ndim(d) return d._a._ndim end
function getters.size(d) return tonumber(d._a._size) end
function getters.dtype(d) return kit.dtype_names[d._a._dtype] end
function getters.nbytes(d) return bytes_of(d._a) end
function getters.device(d) return d._a._device end
function getters.backend(d) return backend_of(d) end
function getters.T(d) return methods.transpose(d) end
function getters.address(d) return d._a._data end

--- d:dim(axis): the length along an axis.
function methods.dim(d, axis)
  need_device_array("dim", d)
  return tonumber(d._a._shape[kit.parse_axis("dim", d._a, axis) - 1])
end

--- d:item(): the only element of an array of one, copied to the host.
function methods.item(d)
  need_device_array("item", d)
  if d._a._size ~= 1 then
    fail("item: the device array must have exactly 1 element, not %d", tonumber(d._a._size))
  end
  return d:to_host():item()
end

local function index(d, key)
  if type(key) == "string" then
    local getter = getters[key]
    if getter then
      return getter(need_device_array(key, d))
    end
    local method = methods[key]
    if method then
      return method
    end
    fail("device arrays have no field or method '%s'%s", key, core.did_you_mean(key, methods, getters))
  elseif type(key) == "table" then
    need_device_array("slice", d)
    for _, entry in ipairs(key) do
      if kit.is(entry) or is_device_array(entry) then
        core.unsupported("a device array is not indexed by arrays; do that on the host (d:to_host()) or in a kernel")
      end
    end
    local numbers = 0
    for _, entry in ipairs(key) do
      numbers = numbers + (type(entry) == "number" and 1 or 0)
    end
    if numbers == d._a._ndim and numbers > 0 then
      fail("an element of a device array is not read here: each would be a copy of its own; copy many to the host " ..
        "(d:to_host()) or use them in a kernel")
    end
    local layout = layout_of(d)
    return view_of(d, layout[key])
  elseif type(key) == "number" and d._a._ndim > 1 then
    return index(d, { key })
  elseif type(key) == "number" then
    fail("an element of a device array is not read here: each would be a copy of its own; copy many to the host " ..
      "(d:to_host()) or use them in a kernel")
  end
  fail("a device array is sliced by a table, as d[{ {1, 10} }], got %s", kind_of(key))
end

local function assign(d, key, value)
  if type(key) == "string" then
    fail("the field '%s' of a device array cannot be assigned", key)
  elseif type(key) == "number" and d._a._ndim == 1 then
    fail("an element of a device array is not written here: each would be a copy of its own; write in a kernel, or copy " ..
      "an array (d:copy_from(a))")
  end
  local part = index(d, key)
  if is_device_array(value) or kit.is(value) then
    part:copy_from(value)
  else
    part:fill(value)
  end
end

local mt = { __index = index, __newindex = assign }
function mt.__len(d)
  if d._a._ndim == 0 then
    fail("an array of 0 dimensions has no length")
  end
  return tonumber(d._a._shape[0])
end
function mt.__tostring(d)
  if d._memory == nil then
    return "gpu.array (released)"
  end
  return format("gpu.array %s %s on %s", d.dtype, kit.shape_text(d._a._shape, d._a._ndim),
    backend_of(d) == "sim" and "the simulator" or format("GPU %d", d._a._device))
end
shared.mt = mt

-- ----------------------------------------------------------------------------------------------------------- parts ----
local function part(name)
  local text, header = library.pg_gpu_source(name .. ".lua"), library.pg_gpu_source(name .. "_abi.h")
  if header ~= nil then
    ffi.cdef(ffi.string(header))
    if core.checked then
      core.checked.declare(ffi.string(header))
    end
  end
  local chunk, syntax = load(ffi.string(text), "@perigee:" .. name, "t")
  if not chunk then
    core.internal("%s does not load: %s", name, syntax)
  end
  return chunk(core, shared)
end
shared.part = part

part("gpu_work")
part("gpu_streams")
part("gpu_ops")
part("gpu_launch")
part("gpu_kernel")
part("gpu_cuda_kernel")

local cuda
-- CUDA C++: its compiler and what the driver runs (gpu_cuda.lua).
function shared.cuda()
  cuda = cuda or part("gpu_cuda")
  return cuda
end

--- gpu.compiler(): the version of NVRTC, or false and why it cannot be used.
function gpu.compiler()
  return shared.cuda().compiler()
end

--- gpu.cuda_source(text [, options]): a kernel written in CUDA C++.
function gpu.cuda_source(text, options)
  return shared.cuda().source(text, options)
end

ffi.metatype(device_t, mt)

-- For tests.
gpu._array_methods, gpu._array_getters = methods, getters

return gpu
