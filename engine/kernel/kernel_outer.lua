-- Kernels of parts of arrays, over all positions of the other axes: kernel.generalized and kernel.vmap. What is part and what
-- is other is planned here, for the GPU too (engine/gpu/gpu_forms.lua); C++ runs the positions on the engine's threads.
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array = core.require("array")
local kit = array._kit
local kernel, raise_source = shared.kernel, shared.raise_source
local array_t, row_t = shared.array_t, shared.row_t
local raise_failure, failure = shared.raise_failure, shared.failure
local kind_of = kit.kind_of
local forms = shared.forms
local function_of, outputs_of, state_of, prepare, compile, with_threads = forms.function_of, forms.outputs_of, forms.state_of,
  forms.prepare, forms.compile, forms.with_threads
local scalar_kind, scalar_names, put = forms.scalar_kind, forms.scalar_names, forms.put
local type, tonumber, ipairs, select, setmetatable, unpack, concat, format, istype = type, tonumber, ipairs, select, setmetatable,
  unpack, table.concat, string.format, ffi.istype
local getinfo = debug.getinfo

local BOOLEAN, INTEGER = 1, 2

local failed = ffi.new("int32_t[1]")
local pointers_t, slots_t = ffi.typeof("void *[?]"), ffi.typeof("double[?]")
local shape_c, ndim_c = ffi.new("int64_t[8]"), ffi.new("int32_t[1]")

-- ------------------------------------------------------------------------------- functions of the last axes ------------
local generalized_mt = { _kernel = true }
local generalized_methods = { on = forms.on, inspect = forms.inspect, specializations = forms.specializations }
generalized_mt.__index = generalized_methods
generalized_mt.__tostring = function(self)
  return format("kernel.generalized(%s, %s, %d specialisations)", self._layout, self._name, #state_of(self).specialisations)
end

local layouts = {} -- those parsed before

-- "(m,k),(k,n)->(m,n)" -> {{"m", "k"}, {"k", "n"}}, {{"m", "n"}}
local function parse_layout(text)
  local before_this = layouts[text]
  if before_this then
    return before_this[1], before_this[2]
  end
  local function wrong(what)
    fail('generalized: "(m,k),(k,n)->(m,n)" is an example of a layout; in %s %s', format("%q", text), what)
  end
  if type(text) ~= "string" then
    fail('generalized: a layout such as "(m,k),(k,n)->(m,n)" is expected, got %s', kind_of(text))
  end
  local before, after = text:gsub("%s", ""):match("^(.-)%->(.*)$")
  if not before then
    wrong("'->' is missing")
  end
  local function side(part)
    local list, rest = {}, part
    while rest ~= "" do
      local axes, more = rest:match("^%(([%w_,]*)%)(.*)$")
      if not axes then
        wrong(format("'%s' is no list of axes", rest))
      end
      local names = {}
      for name in axes:gmatch("[^,]+") do
        names[#names + 1] = name
      end
      list[#list + 1] = names
      rest = more:sub(1, 1) == "," and more:sub(2) or more
      if more ~= "" and rest == more then
        wrong("a ',' is missing")
      end
    end
    return list
  end
  local inputs, outputs = side(before), side(after)
  if #inputs == 0 or #outputs == 0 then
    wrong("arguments or results are missing")
  end
  local known = {}
  for _, names in ipairs(inputs) do
    for _, name in ipairs(names) do
      known[name] = true
    end
  end
  for _, names in ipairs(outputs) do
    for _, name in ipairs(names) do
      if not known[name] and not tonumber(name) then
        wrong(format("the results' axis '%s' is none of the arguments'", name))
      end
    end
  end
  layouts[text] = { inputs, outputs }
  return inputs, outputs
end

-- The types of a function's arguments: parts of arrays, and a key of them. inner[i]: how many of the last axes of argument i
-- are the part, 0: an element, -1: a scalar.
local function types_of(self, values, inner, count)
  local types, key = ffi.new("pg_kernel_argument[?]", count + 1), {}
  for i = 1, count do
    local x, t = values[i], types[i - 1]
    if inner[i] < 0 then
      t.kind = scalar_kind(self._name, i, x)
      key[i] = t.kind
    else
      local kind = kit.kinds[x._dtype]
      if inner[i] == 0 then -- what a kernel would load
        t.kind = kind == "b" and BOOLEAN or kind == "c" and 6 or kind == "f" and (x._dtype == 4 and 4 or 5) or INTEGER
        key[i] = "e" .. t.kind
      else
        local straight, expected = true, 1
        for d = x._ndim - 1, x._ndim - inner[i], -1 do
          straight = straight and (x._shape[d] == 1 or x._strides[d] == expected)
          expected = expected * x._shape[d]
        end
        t.dtype, t.ndim, t.contiguous = x._dtype, inner[i], straight and 1 or 0
        t.writable = 1 - bit.band(x._flags, 1)
        key[i] = concat({ "a", x._dtype, inner[i], straight and "c" or "s", t.writable }, ".")
      end
    end
  end
  return types, concat(key, ",")
end

-- The dtypes (numbers) of what the function returns for arguments of these types.
local function returned_dtypes(module)
  local list, codes = {}, {}
  for i = 0, C.pg_kernel_results(module) - 1 do
    local code = C.pg_kernel_result(module, i)
    codes[i + 1] = code
    list[i + 1] = code == 1 and 0 or code == 2 and 3 or code == 3 and 4 or code == 5 and 12 or 5
  end
  return list, codes
end

-- Runs a function of parts of arrays for every position of their outer axes. values, inner: as in types_of; arrays that the
-- function fills are among them. Returns arrays of what the function returns.
local function run_outer(self, values, inner, count, ndim, outer)
  local state = state_of(self)
  local types, key = types_of(self, values, inner, count)
  local arrays, pointers, slots = ffi.new("const pg_array *[?]", count + 1), pointers_t(count + 1), slots_t(2 * count + 2)
  local core_c = ffi.new("int32_t[?]", count + 1)
  for i = 1, count do
    core_c[i - 1] = inner[i]
    if inner[i] < 0 then
      put(slots, i - 1, types[i - 1].kind, values[i])
      pointers[i - 1] = slots + 2 * (i - 1)
    else
      arrays[i - 1] = values[i]
    end
  end
  local s = state.by_key[key]
  if not s then
    local module = ffi.new("pg_kernel_module *[1]")
    raise_source(C.pg_kernel_packed(module, state.source, types, count))
    s = compile(module, state.options)
    s.arguments = {}
    for i = 1, count do
      s.arguments[i] = inner[i] > 0 and format("%s[%s]", kit.dtype_names[values[i]._dtype], (":,"):rep(inner[i]):sub(1, -2))
        or scalar_names[types[i - 1].kind] or (types[i - 1].kind == 4 and "float32" or "float64")
    end
    s.dtypes, s.types = returned_dtypes(s.module)
    state.by_key[key] = s
    state.specialisations[#state.specialisations + 1] = s
  end
  local made, outputs, types_c = {}, ffi.new("pg_array *[?]", #s.types + 1), ffi.new("int32_t[?]", #s.types + 1)
  for i, result in ipairs(s.types) do
    for d = 0, ndim - 1 do
      kit.lengths[d] = outer[d]
    end
    made[i] = kit.create(ndim, s.dtypes[i], 0)
    outputs[i - 1], types_c[i - 1] = made[i], result
  end
  with_threads(self._backend, function()
    check(C.pg_kernel_run_outer(failed, failure, s.entry, ndim, outer, arrays, core_c, pointers, count, outputs, types_c,
      #s.types, state.kept_name))
  end)
  if failed[0] ~= 0 then
    raise_failure()
  end
  return made
end

-- An argument as an array or a scalar.
local function as_argument(self, i, x)
  if type(x) == "table" then
    return (array.from(x))
  elseif istype(row_t, x) or istype(array_t, x) then
    x = kit.as_array(x)
    kit.check_alive(x)
  else
    scalar_kind(self._name, i, x)
  end
  return x
end

-- The shape that outer axes broadcast to: of views without the inner ones.
local function outer_shape(values, inner, count)
  local arrays, keep = ffi.new("const pg_array *[?]", count), {}
  local n = 0
  for i = 1, count do
    if inner[i] >= 0 then
      local x = values[i]
      local part = array_t()
      ffi.copy(part, x, ffi.sizeof(array_t))
      part._ndim = x._ndim - inner[i]
      keep[#keep + 1] = part
      arrays[n], n = part, n + 1
    end
  end
  check(C.pg_kernel_broadcast(shape_c, ndim_c, arrays, n))
  local outer = ffi.new("int64_t[8]")
  ffi.copy(outer, shape_c, 64)
  return ndim_c[0], outer
end

-- What the layout makes of these arguments (arrays and numbers): {inner = as in types_of; ndim, outer = the other axes,
-- broadcast; filled = the shape of each result that has axes; dtype = of those}.
generalized_mt._plan = function(self, values)
  local inputs, outputs = parse_layout(self._layout)
  local inner, sizes, float32 = {}, {}, true
  for i, axes in ipairs(inputs) do
    local x = values[i]
    if not istype(array_t, x) then
      if #axes > 0 then
        fail("'%s': argument %d has the axes (%s), got %s", self._name, i, concat(axes, ","), kind_of(x))
      end
      inner[i] = -1
    else
      inner[i] = #axes
      if x._ndim < #axes then
        fail("'%s': argument %d has the axes (%s), and this array %d dimensions", self._name, i, concat(axes, ","), x._ndim)
      end
      float32 = float32 and x._dtype == 4
      for d, name in ipairs(axes) do
        local length = tonumber(x._shape[x._ndim - #axes + d - 1])
        local expected = tonumber(name) or sizes[name]
        if expected and expected ~= length then
          fail("'%s': axis '%s' is %d long in argument %d, and %d before", self._name, name, length, i, expected)
        end
        sizes[name] = length
      end
    end
  end
  local ndim, outer = outer_shape(values, inner, #inputs)
  local filled = {}
  for _, axes in ipairs(outputs) do
    if #axes > 0 then
      local shape = {}
      for d = 1, ndim do
        shape[d] = tonumber(outer[d - 1])
      end
      for d, name in ipairs(axes) do
        shape[ndim + d] = tonumber(name) or sizes[name]
      end
      if #shape > 8 then
        fail("'%s': the result would have %d dimensions; at most 8", self._name, #shape)
      end
      filled[#filled + 1] = shape
    end
  end
  if #inputs + #filled ~= self._parameters then
    fail("'%s' has %d parameters, and layout %s gives it %d: the arguments, and an array for each result that has axes",
      self._name, self._parameters, self._layout, #inputs + #filled)
  end
  return { inner = inner, ndim = ndim, outer = outer, filled = filled, dtype = self._dtype or (float32 and 4 or 5) }
end

-- The results in the layout's order, of arrays that were filled and of what was returned.
generalized_mt._results = function(self, filled, returned)
  local _, outputs = parse_layout(self._layout)
  if #filled + #returned ~= #outputs then
    fail("'%s' returns %d values, and layout %s has %d results without axes", self._name, #returned, self._layout,
      #outputs - #filled)
  end
  local results, next_filled, next_returned = {}, 0, 0
  for j, axes in ipairs(outputs) do
    if #axes > 0 then
      next_filled = next_filled + 1
      results[j] = filled[next_filled]
    else
      next_returned = next_returned + 1
      results[j] = returned[next_returned]
    end
    if results[j].ndim == 0 then
      results[j] = results[j]:item()
    end
  end
  return unpack(results, 1, #outputs)
end

generalized_mt._arguments = function(self)
  return #(parse_layout(self._layout))
end

generalized_mt.__call = function(self, ...)
  local count, given, options = generalized_mt._arguments(self), select("#", ...), nil
  if given == count + 1 then
    options = select(given, ...)
    if type(options) ~= "table" then
      fail("'%s' takes %d arguments and then options such as {out = a}, got %s", self._name, count, kind_of(options))
    end
  elseif given ~= count then
    fail("'%s': layout %s has %d arguments, and got %d", self._name, self._layout, count, given)
  end
  local out = outputs_of(self, options)
  local values = { ... }
  for i = 1, count do
    values[i] = as_argument(self, i, values[i])
  end
  local plan = generalized_mt._plan(self, values)
  local inner, filled = plan.inner, {}
  for j, shape in ipairs(plan.filled) do
    local target = out and out[j]
    if target then
      local same = target._ndim == #shape
      for d, n in ipairs(shape) do
        same = same and target._shape[d - 1] == n
      end
      if not same then
        fail("'%s': out[%d] has shape %s, and the result has (%s)", self._name, j,
          kit.shape_text(target._shape, target._ndim), concat(shape, ", "))
      end
      for i = 1, count do
        if istype(array_t, values[i]) and array.shares_memory(values[i], target) then
          values[i] = values[i]:copy()
        end
      end
      target:fill(0)
    else
      for d, n in ipairs(shape) do
        kit.lengths[d - 1] = n
      end
      target = kit.create(#shape, plan.dtype, 1)
    end
    filled[j], values[count + j] = target, target
    inner[count + j] = #shape - plan.ndim
  end
  local returned = run_outer(self, values, inner, count + #filled, plan.ndim, plan.outer)
  return generalized_mt._results(self, filled, returned)
end

--- kernel.generalized(layout, fn [, options]): fn of the last axes of arrays, over all others.
function kernel.generalized(layout, fn, options)
  parse_layout(layout)
  fn, options = function_of("generalized", fn, options,
    { fastmath = true, bounds = true, name = true, cache = true, dtype = true })
  local info = getinfo(fn, "Su")
  local name = options.name or format("the kernel of line %d", info.linedefined)
  local self = setmetatable({ _function = fn, _name = name, _parameters = info.nparams, _options = options,
    _layout = layout, _dtype = options.dtype and kit.parse_dtype("generalized", options.dtype), _backend = "threads" },
    generalized_mt)
  prepare(self)
  return self
end

-- ---------------------------------------------------------------------------------------------------- vmap -------------
local vmap_mt = { _kernel = true }
local vmap_methods = { on = forms.on, inspect = forms.inspect, specializations = forms.specializations }
vmap_mt.__index = vmap_methods
vmap_mt.__tostring = function(self)
  return format("kernel.vmap(%s, %d specialisations)", self._name, #state_of(self).specialisations)
end

vmap_mt._plan = function(self, values)
  local inner, length = {}, nil
  for i = 1, self._parameters do
    local x = values[i]
    local along = not self._in_axes or self._in_axes[i]
    if not istype(array_t, x) then
      inner[i] = -1
    elseif along then
      if x._ndim == 0 then
        fail("'%s': argument %d has no axis to run over", self._name, i)
      end
      local n = tonumber(x._shape[0])
      if length and n ~= length then
        fail("'%s': argument %d has %d entries along its first axis, and those before %d", self._name, i, n, length)
      end
      length, inner[i] = n, x._ndim - 1
    else
      inner[i] = x._ndim
    end
  end
  if not length then
    fail("'%s': no argument has an axis to run over", self._name)
  end
  local ndim, outer = outer_shape(values, inner, self._parameters)
  return { inner = inner, ndim = ndim, outer = outer, filled = {} }
end

vmap_mt._results = function(_, _, returned)
  return unpack(returned)
end

vmap_mt._arguments = function(self)
  return self._parameters
end

vmap_mt.__call = function(self, ...)
  local count = select("#", ...)
  if count ~= self._parameters then
    fail("'%s' has %d parameters, and got %d arguments", self._name, self._parameters, count)
  end
  local values = { ... }
  for i = 1, count do
    values[i] = as_argument(self, i, values[i])
  end
  local plan = vmap_mt._plan(self, values)
  return vmap_mt._results(self, nil, run_outer(self, values, plan.inner, count, plan.ndim, plan.outer))
end

--- kernel.vmap(fn [, options]): fn for every entry along the first axis of its arguments.
function kernel.vmap(fn, options)
  fn, options = function_of("vmap", fn, options, { fastmath = true, bounds = true, name = true, cache = true, in_axes = true })
  local info = getinfo(fn, "Su")
  local in_axes = options.in_axes
  if in_axes ~= nil then
    if type(in_axes) ~= "table" or #in_axes ~= info.nparams then
      fail("vmap: in_axes is a list of %d booleans, one a parameter: whether fn gets its entries or all of it", info.nparams)
    end
    for i, along in ipairs(in_axes) do
      if type(along) ~= "boolean" then
        fail("vmap: in_axes[%d] is true or false, got %s", i, kind_of(along))
      end
    end
  end
  local name = options.name or format("the kernel of line %d", info.linedefined)
  local self = setmetatable({ _function = fn, _name = name, _parameters = info.nparams, _options = options,
    _in_axes = in_axes, _backend = "threads" }, vmap_mt)
  prepare(self)
  return self
end

core.class(generalized_mt, "kernel.GeneralizedKernel")
core.class(vmap_mt, "kernel.VmapKernel")
shared.form_methods[#shared.form_methods + 1] = generalized_methods
shared.form_methods[#shared.form_methods + 1] = vmap_methods
kernel._outer = { types_of = types_of, returned_dtypes = returned_dtypes } -- for engine/gpu
