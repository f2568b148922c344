-- kernel.elementwise and kernel.parallel_for on the GPU in use, or on the simulator: a thread an element, or a round.
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local gpu, kit, array = shared.gpu, shared.kit, shared.array
local kernel = core.require("kernel")
local front = kernel._kit
local kind_of = kit.kind_of
local type, tonumber, ipairs, select, setmetatable, getmetatable, unpack, format, ceil, max = type, tonumber, ipairs, select,
  setmetatable, getmetatable, unpack, string.format, math.ceil, math.max

local whole_t = ffi.typeof("int64_t")

-- A kernel of a GPU with the source of another form's. make(out, source, types, count): its module.
local function kernel_of(self, state, parameters, make)
  local k = setmetatable({ _function = self._function, _parameters = parameters, _name = self._name, _options = {},
    _make = make }, shared.kernel_mt)
  shared.states[k] = { source = state.source, sources = state.sources, by_key = {}, specialisations = {} }
  return k
end

-- Runs it over n threads along x, and rows and planes of them.
local function launch(k, sizes, ...)
  local block = #sizes == 1 and { 256 } or #sizes == 2 and { 32, 8 } or { 32, 4, 2 }
  for _, n in ipairs(sizes) do
    if n == 0 then
      return
    end
  end
  local size = {}
  for d = 1, #sizes do
    size[d] = sizes[#sizes + 1 - d] -- the last index goes along x
  end
  local configured = shared.launch_configuration(k._name, { grid = gpu.grid_for(size, block), block = block, partial = true },
    shared.device())
  configured._kernel = k
  setmetatable(configured, shared.launch_mt)(...)
end

-- ------------------------------------------------------------------------------------------ parallel loops ------------
local parallel_mt = {}
parallel_mt.__index = parallel_mt
parallel_mt.__tostring = function(self) return format("kernel.parallel_for(%s) on the GPU", self._name) end

function parallel_mt:__call(ranges, ...)
  local sizes = type(ranges) == "table" and ranges or { ranges }
  if #sizes < 1 or #sizes > 3 then
    fail("'%s': 1 to 3 lengths are expected, got %d", self._name, #sizes)
  end
  local lengths = {}
  for d, n in ipairs(sizes) do
    if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
      fail("'%s': the loop's length is a whole number from 0 on, got %s", self._name, kind_of(n))
    end
    lengths[d] = whole_t(n)
  end
  local count, dimensions = select("#", ...), #sizes
  if count + dimensions ~= self._parameters then
    fail("'%s' has %d parameters; with %d %s it takes %d arguments after the lengths, got %d", self._name,
      self._parameters, dimensions, dimensions == 1 and "index" or "indices", self._parameters - dimensions, count)
  end
  for i = 1, count do
    lengths[dimensions + i] = (select(i, ...))
  end
  local k = self._kernels[dimensions]
  if not k then
    k = kernel_of(self, self._state, self._parameters, function(out, source, types, n)
      return C.pg_kernel_grid_loop(out, source, dimensions, types, n)
    end)
    self._kernels[dimensions] = k
  end
  self._last = k
  launch(k, sizes, unpack(lengths, 1, dimensions + count))
end

-- ------------------------------------------------------------------------------------- whole-array operations ---------
local elementwise_mt = {}
elementwise_mt.__index = elementwise_mt
elementwise_mt.__tostring = function(self) return format("kernel.elementwise(%s) on the GPU", self._name) end

local lengths_c, ndim_c = ffi.new("int64_t[8]"), ffi.new("int32_t[1]")
local layouts_t = ffi.typeof("const pg_array *[12]")

-- The dtypes of the results for arguments of these keys; the kernel that computes them.
local function prepare(self, keys)
  local key = table.concat(keys, ",")
  local known = self._kernels[key]
  if not known then
    local types = ffi.new("pg_kernel_argument[12]")
    for i, k in ipairs(keys) do
      if k >= 16 then
        types[i - 1].dtype = math.floor((k - 16) / 64)
      else
        types[i - 1].kind = k
      end
    end
    local dtypes, count, out = ffi.new("int32_t[8]"), ffi.new("int32_t[1]"), ffi.new("pg_kernel_module *[1]")
    front.raise_source(C.pg_kernel_elementwise(out, self._state.source, types, #keys, dtypes, count, 1))
    C.pg_kernel_close_module(out[0])
    local results = count[0]
    known = { dtypes = {} }
    for r = 1, results do
      known.dtypes[r] = kit.dtype_names[dtypes[r - 1]]
    end
    known.kernel = kernel_of(self, self._state, 1 + #keys + results, function(made, source, given, n)
      return C.pg_kernel_grid_elementwise(made, source, results, given, n)
    end)
    self._kernels[key] = known
  end
  self._last = known.kernel
  return known
end

function elementwise_mt:__call(...)
  local count = self._parameters
  if select("#", ...) ~= count then
    fail("'%s' has %d parameters, and got %d arguments%s", self._name, count, select("#", ...),
      select("#", ...) == count + 1 and "; on a GPU it takes no options" or "")
  elseif count > 10 then
    fail("'%s': at most 10 arguments on a GPU", self._name)
  end
  local values, keys, layouts, any, on_device = { ... }, {}, layouts_t(), false, false
  for i = 1, count do
    local x = values[i]
    if type(x) == "table" then
      x = array.from(x)
      values[i] = x
    elseif kit.is(x) then
      x = kit.as_array(x)
      values[i] = x
    end
    local key, passed = shared.argument_of(self, i, x)
    if key >= 16 then
      any, layouts[i - 1] = true, passed
      on_device = on_device or shared.is_device_array(x)
      key = 16 + passed._dtype * 64 + 4 + 2
    end
    keys[i] = key
  end
  if not any then
    fail("'%s': on a GPU at least one argument is an array", self._name)
  end
  core.check(C.pg_kernel_broadcast(lengths_c, ndim_c, layouts, count))
  local shape, size = {}, 1
  for d = 1, ndim_c[0] do
    shape[d] = tonumber(lengths_c[d - 1])
    size = size * shape[d]
  end
  local known = prepare(self, keys)
  local arguments = { whole_t(size) }
  for i = 1, count do
    local x = values[i]
    if keys[i] >= 16 then
      if not shared.is_device_array(x) then
        x = gpu.array(x)
      end
      local same = #shape == x.ndim
      for d = 1, x.ndim do
        same = same and x:dim(d) == shape[d]
      end
      x = (same and x or x:broadcast_to(shape)):reshape({ size })
    end
    arguments[1 + i] = x
  end
  local results = {}
  for r, dtype in ipairs(known.dtypes) do
    results[r] = gpu.empty(size, { dtype = dtype })
    arguments[1 + count + r] = results[r]
  end
  launch(known.kernel, { size }, unpack(arguments, 1, 1 + count + #results))
  for r = 1, #results do
    results[r] = results[r]:reshape(shape)
    if not on_device then
      results[r] = results[r]:to_host()
    end
  end
  return unpack(results)
end

-- What the last call compiled, and on which it ran.
for _, mt in ipairs { parallel_mt, elementwise_mt } do
  function mt:inspect(what)
    if not self._last then
      fail("inspect: '%s' has not been called on the GPU yet", self._name)
    end
    return self._last:inspect(what)
  end
end

return function(self, state)
  local mt
  if self._reduce == nil and self._layout == nil and self._in_axes == nil and getmetatable(self).__index == kernel._elementwise_methods then
    mt = elementwise_mt
  elseif self._reduce == "" then
    mt = parallel_mt
  elseif self._reduce then
    core.unsupported('on: "gpu" does not reduce; store a value a round, and sum the array (d:sum()), or write gpu.kernel')
  else
    core.unsupported('on: kernel.generalized and kernel.vmap do not run on "gpu"; write gpu.kernel')
  end
  return setmetatable({ _function = self._function, _name = self._name, _parameters = self._parameters, _state = state,
    _kernels = {} }, mt)
end
