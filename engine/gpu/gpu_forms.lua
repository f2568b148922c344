-- Kernels of perigee.kernel on the GPU in use, or on the simulator: a thread an element, a round or a position of the outer
-- axes.
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local gpu, kit, array = shared.gpu, shared.kit, shared.array
local kernel = core.require("kernel")
local front = kernel._kit
local kind_of = kit.kind_of
local type, tostring, tonumber, ipairs, select, setmetatable, getmetatable, unpack, format, concat, min = type, tostring, tonumber, ipairs, select,
  setmetatable, getmetatable, unpack, string.format, table.concat, math.min

local whole_t = ffi.typeof("int64_t")

-- A kernel of a GPU with the source of another form's. form: as gpu_kernel.lua makes it.
local function kernel_of(self, state, parameters, form)
  local k = setmetatable({ _function = self._function, _parameters = parameters, _name = self._name,
    _options = { fastmath = (self._form._options or {}).fastmath }, _form = form }, shared.kernel_mt)
  shared.states[k] = { source = state.source, sources = state.sources, by_key = {}, specialisations = {} }
  return k
end

-- How many blocks along x, y, z a reduction has at most: 1024, whatever the device, so that sums are the same on all.
local most_blocks = { { 1024 }, { 32, 32 }, { 16, 8, 8 } }
local blocks_of = { { 256 }, { 32, 8 }, { 32, 4, 2 } }

-- The grid of a loop of these lengths: a thread a round, or fewer where `most` bounds it.
local function grid_of(sizes, most)
  local size, block = {}, blocks_of[#sizes]
  for d = 1, #sizes do
    size[d] = sizes[#sizes + 1 - d] -- the last index goes along x
  end
  local grid = gpu.grid_for(size, block)
  for d = 1, most and #sizes or 0 do
    grid[d] = min(grid[d], most[d])
  end
  return grid, block
end

-- Runs it over n threads along x, and rows and planes of them.
local function launch(k, sizes, most, ...)
  for _, n in ipairs(sizes) do
    if n == 0 then
      return
    end
  end
  local grid, block = grid_of(sizes, most)
  local configured = shared.launch_configuration(k._name, { grid = grid, block = block, partial = true }, shared.device())
  configured._kernel = k
  setmetatable(configured, shared.launch_mt)(...)
end

-- ------------------------------------------------------------------------------------------ parallel loops ------------
local parallel_mt = {}
parallel_mt.__tostring = function(self) return format("kernel.parallel_for(%s) on the GPU", self._name) end

local INTEGER = 2
local result_dtypes = { [2] = "int64", [3] = "float32", [4] = "float64", [5] = "complex128" }
local of_nothing = { sum = 0, product = 1, min = math.huge, max = -math.huge }

-- The dtype of what the body returns, of arguments from values[first] on.
local function reduced_dtype(self, dimensions, values, first)
  local keys = {}
  for i = 1, 2 * dimensions do
    keys[i] = INTEGER
  end
  for i = first, first + self._parameters - dimensions - 1 do
    keys[#keys + 1] = (shared.argument_of(self, i, values[i]))
  end
  local key = concat(keys, ",")
  local known = self._dtypes[key]
  if not known then
    local out = ffi.new("pg_kernel_module *[1]")
    front.raise_source(C.pg_kernel_parallel_for(out, self._state.source, dimensions, self._reduce,
      shared.types_of_keys(keys), #keys))
    known = result_dtypes[C.pg_kernel_result(out[0], 0)]
    C.pg_kernel_close_module(out[0])
    self._dtypes[key] = known
  end
  return known
end

-- What blocks have combined, combined in their order; as on the processor.
local function combine(how, parts)
  local total
  for i = 1, #parts do
    local x = parts.dtype == "int64" and parts:int64(i) or parts[i]
    if i == 1 then
      total = x
    elseif how == "sum" then
      total = total + x
    elseif how == "product" then
      total = total * x
    elseif how == "min" then
      total = x < total and x or total
    else
      total = total < x and x or total
    end
  end
  return parts.dtype == "int64" and tonumber(total) or total
end

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
  local k, reduce = self._kernels[dimensions], self._reduce
  if not k then
    k = kernel_of(self, self._state, self._parameters + (reduce and 1 or 0), { how = reduce and "reduce" or "loop",
      dimensions = dimensions, reduce = reduce })
    self._kernels[dimensions] = k
  end
  self._last = k
  if not reduce then
    launch(k, sizes, nil, unpack(lengths, 1, dimensions + count))
    return
  end
  for d = 1, dimensions do
    if sizes[d] == 0 then
      return of_nothing[reduce]
    end
  end
  local grid = grid_of(sizes, most_blocks[dimensions])
  local parts = gpu.empty(grid[1] * (grid[2] or 1) * (grid[3] or 1),
    { dtype = reduced_dtype(self, dimensions, lengths, dimensions + 1) })
  lengths[dimensions + count + 1] = parts
  launch(k, sizes, most_blocks[dimensions], unpack(lengths, 1, dimensions + count + 1))
  return combine(reduce, parts:to_host())
end

-- ------------------------------------------------------------------------------------- whole-array operations ---------
local elementwise_mt = {}
elementwise_mt.__tostring = function(self) return format("kernel.elementwise(%s) on the GPU", self._name) end

local lengths_c, ndim_c = ffi.new("int64_t[8]"), ffi.new("int32_t[1]")
local layouts_t = ffi.typeof("const pg_array *[12]")

-- The dtypes of the results for arguments of these keys; the kernel that computes them.
local function prepare(self, keys)
  local key = concat(keys, ",")
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
    known.kernel = kernel_of(self, self._state, 1 + #keys + results, { how = "elementwise", results = results })
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
  launch(known.kernel, { size }, nil, unpack(arguments, 1, 1 + count + #results))
  for r = 1, #results do
    results[r] = results[r]:reshape(shape)
    if not on_device then
      results[r] = results[r]:to_host()
    end
  end
  return unpack(results)
end

-- ------------------------------------------------------------------------------------- parts of arrays ----------------
-- kernel.generalized and kernel.vmap: a thread a position of the outer axes, which gets its parts as rows of arrays whose
-- outer axes are one.
local outer_mt = {}
outer_mt.__tostring = function(self) return format("kernel.%s(%s) on the GPU", self._form._layout and "generalized" or "vmap", self._name) end

-- A device array whose outer axes, all but the last `inner`, are one of this length: those of the shape, broadcast.
local function with_one_outer(d, inner, outer, total)
  local part, shape = {}, {}
  for k = 1, inner do
    part[k] = d:dim(d.ndim - inner + k)
  end
  if d.ndim == inner then
    return d:reshape({ 1, unpack(part) }):broadcast_to({ total, unpack(part) })
  end
  local same = d.ndim - inner == #outer
  for k, n in ipairs(outer) do
    shape[k] = n
    same = same and d:dim(k) == n
  end
  for k = 1, inner do
    shape[#outer + k] = part[k]
  end
  d = same and d or d:broadcast_to(shape)
  return #outer == 1 and d or d:reshape({ total, unpack(part) })
end

function outer_mt:__call(...)
  local form = self._form
  local methods = getmetatable(form)
  local count, given = methods._arguments(form), select("#", ...)
  if given ~= count then
    fail("'%s' takes %d arguments, and got %d%s", self._name, count, given,
      given == count + 1 and "; on a GPU it takes no options" or "")
  end
  local values, layouts, on_device = { ... }, {}, false
  for i = 1, count do
    local x = values[i]
    if type(x) == "table" then
      x = array.from(x)
    elseif kit.is(x) then
      x = kit.as_array(x)
    end
    shared.argument_of(self, i, x)
    on_device = on_device or shared.is_device_array(x)
    values[i], layouts[i] = x, shared.is_device_array(x) and shared.layout_of(x) or x
  end
  local plan = methods._plan(form, layouts)
  local outer, total = {}, 1
  for d = 1, plan.ndim do
    outer[d] = tonumber(plan.outer[d - 1])
    total = total * outer[d]
  end
  local arguments = { whole_t(total) }
  for i = 1, count do
    local x = values[i]
    if plan.inner[i] >= 0 then
      x = with_one_outer(shared.is_device_array(x) and x or gpu.array(x), plan.inner[i], outer, total)
      layouts[i] = shared.layout_of(x)
    end
    arguments[1 + i] = x
  end
  local filled = {}
  for j, shape in ipairs(plan.filled) do
    local parts = { total, unpack(shape, plan.ndim + 1) }
    filled[j] = gpu.zeros(parts, { dtype = kit.dtype_names[plan.dtype] })
    arguments[1 + count + j], layouts[count + j] = filled[j], shared.layout_of(filled[j])
    plan.inner[count + j] = #parts - 1
  end
  local inputs = count + #filled
  local types, key = kernel._outer.types_of(form, layouts, plan.inner, inputs)
  local known = self._kernels[key]
  if not known then
    local out = ffi.new("pg_kernel_module *[1]")
    front.raise_source(C.pg_kernel_packed(out, self._state.source, types, inputs))
    local dtypes = kernel._outer.returned_dtypes(out[0])
    C.pg_kernel_close_module(out[0])
    known = { dtypes = dtypes }
    known.kernel = kernel_of(self, self._state, 1 + inputs + #dtypes, { how = "elementwise", results = #dtypes })
    self._kernels[key] = known
  end
  self._last = known.kernel
  local returned = {}
  for r, dtype in ipairs(known.dtypes) do
    returned[r] = gpu.empty(total, { dtype = kit.dtype_names[dtype] })
    arguments[1 + inputs + r] = returned[r]
  end
  launch(known.kernel, { total }, nil, unpack(arguments, 1, 1 + inputs + #returned))
  local function out_of(list, shapes)
    for j, d in ipairs(list) do
      d = d:reshape(shapes and shapes[j] or outer)
      list[j] = on_device and d or d:to_host()
    end
    return list
  end
  return methods._results(form, out_of(filled, plan.filled), out_of(returned))
end

-- What the last call compiled, and on which it ran; the same kernel elsewhere.
for _, mt in ipairs { parallel_mt, elementwise_mt, outer_mt } do
  local methods = {}
  function methods:inspect(what)
    if not self._last then
      fail("inspect: '%s' has not been called on the GPU yet", self._name)
    end
    return self._last:inspect(what)
  end
  function methods:on(backend)
    return self._form:on(backend)
  end
  function mt.__index(_, key)
    if methods[key] == nil and (type(key) ~= "string" or key:sub(1, 1) ~= "_") then
      fail("kernels on the GPU have no method '%s'%s", tostring(key), core.did_you_mean(key, methods))
    end
    return methods[key]
  end
end

return function(self, state)
  local of = getmetatable(self)
  local mt = of._plan and outer_mt or of.__index == kernel._parallel_methods and parallel_mt or elementwise_mt
  return setmetatable({ _function = self._function, _name = self._name, _parameters = self._parameters, _state = state,
    _kernels = {}, _form = self, _reduce = self._reduce ~= "" and self._reduce or nil, _dtypes = {} }, mt)
end
