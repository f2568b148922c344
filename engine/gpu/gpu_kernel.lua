-- Kernels of a GPU: Lua functions that every thread of a grid runs. Here are their objects, launch configurations and
-- arguments; what runs them registers in shared.launchers: "checked" (gpu_sim.lua), and other parts' own.
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local gpu, kit, work = shared.gpu, shared.kit, shared.work
local kernel = core.require("kernel")
local front = kernel._kit -- of the kernels' front end
local kind_of, check_options = kit.kind_of, kit.check_options
local array_t, row_t, complex_t, int64_t = front.array_t, front.row_t, front.complex_t, front.int64_t
local type, tostring, ipairs, pairs, load, select, setmetatable, getmetatable, format, concat, istype, floor, ceil, max, min =
  type, tostring, ipairs, pairs, load, select, setmetatable, getmetatable, string.format, table.concat, ffi.istype, math.floor,
  math.ceil, math.max, math.min
local getinfo, band = debug.getinfo, bit.band

-- ------------------------------------------------------------------------------------- names inside kernels ----------
-- What a kernel calls by these names; in plain Lua they have no meaning.
local known = front.known
known[gpu] = "gpu"

local function outside(name)
  fail("gpu.%s is for kernels (gpu.kernel): outside of one there are no threads to ask", name)
end

-- A function with these parameters that says so.
local function only_in_kernels(name, parameters)
  local f = load(format("local outside = ... return function(%s) outside(%q) end", parameters, name), "@perigee:gpu_kernel")(outside)
  known[f] = "gpu." .. name
  return f
end

for name, parameters in pairs { grid = "dimensions", gridsize = "dimensions", stride = "n", shared = "dtype, ...", sync = "",
  syncwarp = "", threadfence = "", shfl = "v, lane, width", shfl_up = "v, delta, width", shfl_down = "v, delta, width",
  shfl_xor = "v, mask, width", ballot = "condition", any = "condition", all = "condition", popc = "n" } do
  gpu[name] = only_in_kernels(name, parameters)
end
gpu.atomic = {}
for _, name in ipairs { "add", "sub", "min", "max", "band", "bor", "bxor", "exchange", "cas" } do
  gpu.atomic[name] = only_in_kernels("atomic." .. name, "a, ...")
end
known[gpu.atomic] = "gpu.atomic"
setmetatable(gpu.atomic, { __index = function(_, key)
  fail("gpu.atomic has no function '%s'%s", tostring(key), core.did_you_mean(key, gpu.atomic))
end })
for _, name in ipairs { "threadIdx", "blockIdx", "blockDim", "gridDim" } do
  gpu[name] = setmetatable({}, { __index = function(_, key)
    outside(name .. "." .. tostring(key))
  end })
  known[gpu[name]] = "gpu." .. name
end
gpu.warpsize = 32

local missing = rawget(gpu, "_missing")
function gpu._missing(key)
  if key == "laneid" then
    return "; gpu.laneid is for kernels (gpu.kernel)"
  end
  return missing and missing(key) or core.did_you_mean(key, gpu)
end

-- ----------------------------------------------------------------------------------------- launch sizes --------------
-- A block's sizes along three axes, and its threads.
local function block_of(name, value)
  local x, y, z = shared.sizes(name, "block", value)
  if x < 1 or y < 1 or z < 1 or x * y * z > 1024 then
    fail("%s: a block has 1 to 1024 threads, and this one {%d, %d, %d}", name, x, y, z)
  end
  return { x, y, z }, x * y * z
end

--- gpu.grid_for(n, block): how many blocks give n threads or more. n and block are numbers, or lists of up to three, {x, y,
--- z}: then so is the result.
function gpu.grid_for(n, block)
  local threads = block_of("gpu.grid_for", block == nil and 256 or block)
  local grid = { shared.sizes("gpu.grid_for", "n", n) }
  for d = 1, 3 do
    if grid[d] < 1 then
      fail("gpu.grid_for: n counts from 1, got %d", grid[d])
    end
    grid[d] = ceil(grid[d] / threads[d])
  end
  if type(n) == "number" and type(block) ~= "table" then
    return grid[1]
  end
  for d = 3, 2, -1 do
    if d > max(type(n) == "table" and #n or 1, type(block) == "table" and #block or 1) then
      grid[d] = nil
    end
  end
  return grid
end

--- gpu.grid_stride(n [, block]): how many blocks keep the device busy with a loop over n elements, as `for i in
--- gpu.stride(n)` in a kernel: as many as run at once, or as n needs if that is less.
function gpu.grid_stride(n, block)
  local _, threads = block_of("gpu.grid_stride", block == nil and 256 or block)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 then
    fail("gpu.grid_stride: n is a whole number from 1 on, got %s", type(n) == "number" and tostring(n) or kind_of(n))
  end
  local info = shared.limits()
  return min(ceil(n / threads), info.multiprocessors * max(1, floor(info.max_threads_per_multiprocessor / threads)))
end

-- ------------------------------------------------------------------------------------------------ kernels ------------
local kernel_mt = {}
local kernel_methods = {}
kernel_mt.__index = function(self, key)
  local method = kernel_methods[key]
  if method == nil and (type(key) ~= "string" or key:sub(1, 1) ~= "_") then
    fail(type(key) == "string" and "kernels have no method '%s'%s" or "a kernel is launched as k{grid = gpu.grid_for(n, 256), " ..
      "block = 256}(arguments): round and curly brackets", tostring(key), core.did_you_mean(key, kernel_methods))
  end
  return method
end
kernel_mt._gpu = true
shared.kernel_methods = kernel_methods

local states = setmetatable({}, { __mode = "k" })
shared.launchers = {}

-- What is made of a kernel in this Lua state. _frozen: what it captured when it was made, which travels with it;
-- _source: of one that is run again, what describe_source gave.
local function state_of(self)
  local state = states[self]
  if not state then
    local sources = { frozen = self._frozen or {} }
    local source
    if self._source then
      source, sources = front.rebuild_source(self._source)
    else
      source = front.source_of(self._function, self._name, sources)
      self._frozen = sources.frozen
    end
    state = { source = source, sources = sources, by_key = {}, specialisations = {} }
    states[self] = state
  end
  return state
end

local NUMBER, BOOLEAN, INTEGER, COMPLEX = 3, 1, 2, 6

local function key_of(a)
  return 16 + a._dtype * 64 + a._ndim * 4 + (front.contiguous(a) and 2 or 0) + band(a._flags, 1)
end

-- An argument: its key, what is passed on (the array descriptor of arrays), and whether it is an array of the host's.
local function argument_of(self, i, x)
  local t = type(x)
  if t == "number" then
    return NUMBER, x
  elseif t == "boolean" then
    return BOOLEAN, x
  elseif shared.is_device_array(x) then
    shared.need_device_array(self._name, x)
    return key_of(x._a), x._a, false
  elseif istype(array_t, x) or istype(row_t, x) then
    x = kit.as_array(x)
    kit.check_alive(x)
    return key_of(x), x, true
  elseif istype(complex_t, x) then
    return COMPLEX, x
  elseif istype(int64_t, x) then
    return INTEGER, x
  end
  fail("'%s': argument %d must be a number, a boolean or an array, got %s", self._name, i, kind_of(x))
end

-- The types of arguments of these keys, as C takes them.
local function types_of_keys(keys)
  local types = ffi.new("pg_kernel_argument[?]", max(#keys, 1))
  for i, k in ipairs(keys) do
    local t = types[i - 1]
    if k >= 16 then
      k = k - 16
      t.dtype, t.ndim = floor(k / 64), floor(k % 64 / 4)
      t.contiguous, t.writable = k % 4 >= 2 and 1 or 0, k % 2 == 0 and 1 or 0
    else
      t.kind = k
    end
  end
  return types
end

-- Kernels made of functions that are none of a GPU's (gpu_forms.lua), by what _form says: {how, dimensions, reduce, results}.
local makers = {
  grid = function(out, source, types, n) return C.pg_kernel_grid(out, source, types, n) end,
  loop = function(out, source, types, n, form) return C.pg_kernel_grid_loop(out, source, form.dimensions, types, n) end,
  reduce = function(out, source, types, n, form)
    return C.pg_kernel_grid_reduce(out, source, form.dimensions, form.reduce, types, n)
  end,
  elementwise = function(out, source, types, n, form)
    return C.pg_kernel_grid_elementwise(out, source, form.results, types, n)
  end,
}

-- The kernel typed for arguments of these keys.
local function specialise(self, keys)
  local state = state_of(self)
  local key = concat(keys, ",")
  local s = state.by_key[key]
  if s then
    return s
  end
  local out = ffi.new("pg_kernel_module *[1]")
  local form = self._form
  front.raise_source(makers[form and form.how or "grid"](out, state.source, types_of_keys(keys), #keys, form))
  s = { module = ffi.gc(out[0], C.pg_kernel_close_module), keys = keys }
  state.by_key[key] = s
  state.specialisations[#state.specialisations + 1] = s
  return s
end

local launch_mt = {}
launch_mt.__tostring = function(self)
  return format("launch of %s: grid {%s}, block {%s}", self._kernel._name, concat(self.grid, ", "), concat(self.block, ", "))
end

-- k{grid = ..., block = ..., shared = ..., stream = ...}: what is then called with the arguments.
local function configure(self, options)
  local launch = shared.launch_configuration(self._name, options, shared.device())
  launch._kernel = self
  return setmetatable(launch, launch_mt)
end

--- A kernel's source as plain values, so that another process can run it without the script (shared.run_again).
function shared.describe_kernel(self)
  return front.describe_source(state_of(self).source)
end

-- launch(...): runs the kernel.
launch_mt.__call = function(self, ...)
  local k, quick = self._kernel, self._quick
  if quick and select("#", ...) == k._parameters and quick(...) then
    return
  end
  local count, given = k._parameters, select("#", ...)
  if given ~= count then
    fail("'%s' has %d parameter%s, and got %d argument%s", k._name, count, count == 1 and "" or "s", given,
      given == 1 and "" or "s")
  end
  local keys, values, host = {}, {}, {}
  local originals = { ... }
  for i = 1, count do
    keys[i], values[i], host[i] = argument_of(k, i, originals[i])
  end
  local s = specialise(k, keys)
  if shared.device().backend == "cuda" then
    shared.launchers.cuda(k, s, self, values, host, originals)
    return
  end
  local entry = work.before_launch(k, self, values, host)
  shared.launchers[shared.launcher()](k, s, self, values, host, originals)
  work.launched(entry, k, s, self, values, host, shared.launcher() == "checked" and shared.touched or nil)
end

kernel_mt.__call = configure
kernel_mt.__tostring = function(self)
  return format("gpu.kernel(%s, %d specialisations)", self._name, #state_of(self).specialisations)
end
core.class(kernel_mt, "gpu.Kernel")

local kernel_options = { name = true, fastmath = true }

--- gpu.kernel(fn [, options]): fn as a kernel, which every thread of a grid runs: k{grid = ..., block = ...}(...).
function gpu.kernel(fn, options)
  if type(fn) == "table" and getmetatable(fn) and fn._function then
    fn = fn._function
  end
  if type(fn) ~= "function" then
    fail("gpu.kernel: a Lua function is expected, got %s", kind_of(fn))
  end
  if options ~= nil then
    if type(options) ~= "table" then
      fail('gpu.kernel: options are a table such as {name = "saxpy"}, got %s', kind_of(options))
    end
    check_options("gpu.kernel", options, kernel_options)
    local fastmath = options.fastmath
    if fastmath ~= nil and type(fastmath) ~= "boolean" and fastmath ~= "fma" then
      fail('gpu.kernel: fastmath is true, false or "fma", got %s', type(fastmath) == "string" and format("%q", fastmath)
        or kind_of(fastmath))
    end
  end
  local info = getinfo(fn, "Su")
  local self = setmetatable({ _function = fn, _parameters = info.nparams, _options = options or {},
    _name = options and options.name or format("the kernel of line %d", info.linedefined) }, kernel_mt)
  state_of(self)
  return self
end

-- The specialisation asked for: by its number, by default the last.
local function specialisation(self, name, number)
  local all = state_of(self).specialisations
  if #all == 0 then
    fail("%s: '%s' has not been launched yet: it is compiled for the types of its arguments", name, self._name)
  elseif number ~= nil and not all[number] then
    fail("%s: specialisation 1 to %d is expected, got %s", name, #all, tostring(number))
  end
  return all[number or #all]
end

shared.texts = { ir = function(s) return ffi.string(C.pg_kernel_text(s.module)) end } -- what -> function(specialisation, kernel)

--- k:inspect(what [, number]): a text of a specialisation: "ir", the typed form; "cuda", CUDA C++;
--- "ptx", what NVRTC makes of it.
function kernel_methods:inspect(what, number)
  local text = shared.texts[what]
  if not text then
    local names = {}
    for name in pairs(shared.texts) do
      names[#names + 1] = format("%q", name)
    end
    table.sort(names)
    fail("inspect: %s is expected, got %s", concat(names, " or "), type(what) == "string" and format("%q", what) or kind_of(what))
  end
  return text(specialisation(self, "inspect", number), self)
end

--- k:specializations(): for which types of arguments the kernel has been compiled: a list of {arguments = {"float32[:]"}}.
function kernel_methods:specializations()
  local list = {}
  for i, s in ipairs(state_of(self).specialisations) do
    local arguments = {}
    for j, key in ipairs(s.keys) do
      arguments[j] = front.describe_key(key)
    end
    list[i] = { arguments = arguments }
  end
  return list
end

--- The launch that a record describes (gpu_work.lua), on the device in use.
function shared.launch_again(entry, stream)
  local self = setmetatable({ _source = entry.source, _parameters = #entry.arguments, _name = entry.name, _form = entry.form,
    _options = { fastmath = entry.fastmath } }, kernel_mt)
  return configure(self, { grid = entry.grid, block = entry.block, shared = entry.shared, partial = entry.partial,
    stream = stream })
end

--- The same on the checked simulator, with these arguments. Returns what is recorded of it.
function shared.run_again(entry, values)
  local launch = shared.launch_again(entry)
  local keys = {}
  for i, x in ipairs(values) do
    keys[i], values[i] = argument_of(launch._kernel, i, x)
  end
  return shared.run_checked(launch._kernel, specialise(launch._kernel, keys), launch, values)
end

local grading
--- gpu._grading(): the grader's part (gpu_grading.lua).
function gpu._grading()
  grading = grading or shared.part("gpu_grading")
  return grading
end

gpu._methods_of_kernels = kernel_methods
--- k:on("gpu") of the kernels of perigee.kernel.
function gpu._form(self, state)
  return shared.part("gpu_forms")(self, state)
end

shared.kernel_mt, shared.states, shared.key_of, shared.argument_of, shared.specialise, shared.launch_mt = kernel_mt, states,
  key_of, argument_of, specialise, launch_mt
shared.types_of_keys = types_of_keys
shared.part("gpu_sim")
