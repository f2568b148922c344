-- Kernels over whole arrays (elementwise, fuse, fused) and parallel loops: their objects, arguments and results. The loops
-- are made by C++ (pg_kernel_elementwise, pg_kernel_parallel_for) and run by it on the engine's threads.
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array = core.require("array")
local kit = array._kit
local kernel, raise_source, need_compiler = shared.kernel, shared.raise_source, shared.need_compiler
local contiguous, array_t, row_t, complex_t, int64_t = shared.contiguous, shared.array_t, shared.row_t, shared.complex_t,
  shared.int64_t
local states, make_state = shared.states, shared.make_state
local raise_failure, failure = shared.raise_failure, shared.failure
local kind_of, check_options = kit.kind_of, kit.check_options
local type, tostring, tonumber, ipairs, pairs, select, setmetatable, unpack, concat, format, istype, floor, load =
  type, tostring, tonumber, ipairs, pairs, select, setmetatable, unpack, table.concat, string.format, ffi.istype, math.floor,
  load
local getinfo, pcall, error, getmetatable, rawget = debug.getinfo, pcall, error, getmetatable, rawget

local NUMBER, BOOLEAN, INTEGER, COMPLEX = 3, 1, 2, 6

local scalar_names = { [NUMBER] = "number", [BOOLEAN] = "bool", [INTEGER] = "int64", [COMPLEX] = "complex128" }

local failed = ffi.new("int32_t[1]")
local arrays_t, pointers_t = ffi.typeof("const pg_array *[12]"), ffi.typeof("void *[?]")
local slots_t = ffi.typeof("double[?]")

-- A scalar argument, its kind and, from 0, its place among slots of two doubles each.
local function scalar_kind(name, i, x)
  local t = type(x)
  if t == "number" then
    return NUMBER
  elseif t == "boolean" then
    return BOOLEAN
  elseif istype(complex_t, x) then
    return COMPLEX
  elseif istype(int64_t, x) then
    return INTEGER
  end
  fail("'%s': argument %d must be an array, a number or a boolean, got %s", name, i, kind_of(x))
end

local function put(slots, i, kind, x)
  if kind == NUMBER then
    slots[2 * i] = x
  elseif kind == BOOLEAN then
    ffi.cast("int32_t *", slots + 2 * i)[0] = x and 1 or 0
  elseif kind == COMPLEX then
    slots[2 * i], slots[2 * i + 1] = x.re, x.im
  else
    ffi.cast("int64_t *", slots + 2 * i)[0] = x
  end
end

local function compile(module_out, options)
  local module = ffi.gc(module_out[0], C.pg_kernel_close_module)
  local code = shared.compiled(module, options)
  return { module = module, code = code, entry = need_compiler().pg_llvm_entry(code) }
end

-- What is made of a kernel in this Lua state: of one that came from another (`travelled`), code made there will do.
local function prepare(self, travelled, sources)
  local options = { _travelled = travelled }
  for key, value in pairs(self._options) do
    options[key] = value
  end
  options._scalar = self._backend == "serial"
  states[self] = make_state(self._function, self._name, options, sources, self._frozen)
  self._frozen = states[self].sources.frozen
  return states[self]
end
local function state_of(self)
  return states[self] or prepare(self, true)
end

-- Runs f() with as many threads as the backend may use.
local function with_threads(backend, f, ...)
  if backend == "threads" then
    return f(...)
  end
  local before = C.pg_threads_get()
  C.pg_threads_set(1)
  local ok, message = pcall(f, ...)
  C.pg_threads_set(before)
  if not ok then
    error(message, 0)
  end
end

-- ------------------------------------------------------------------------------------------- elementwise ---------------
local elementwise_mt = { _kernel = true }
local elementwise_methods = {}

local function run_loop(state, s, arrays, pointers, inputs, outputs)
  check(C.pg_kernel_run_loop(failed, failure, s.entry, arrays, pointers, inputs, outputs, state.kept_name))
  if failed[0] ~= 0 then
    raise_failure()
  end
end

local shape_c, ndim_c = ffi.new("int64_t[8]"), ffi.new("int32_t[1]")

-- What is in the options table of a call: {out = array or list of arrays}.
local function outputs_of(self, options)
  if options == nil then
    return nil
  end
  check_options(self._name, options, { out = true })
  local out = options.out
  if out == nil then
    return nil
  elseif istype(array_t, out) or istype(row_t, out) then
    out = { out }
  elseif type(out) ~= "table" then
    fail("'%s': out is an array, or a list of arrays, one a result, got %s", self._name, kind_of(out))
  end
  local list = {}
  for i, a in ipairs(out) do
    if not (istype(array_t, a) or istype(row_t, a)) then
      fail("'%s': out[%d] must be an array, got %s", self._name, i, kind_of(a))
    end
    list[i] = kit.as_array(a)
    kit.check_alive(list[i])
    if bit.band(list[i]._flags, 1) ~= 0 then
      kit.read_only()
    end
    for j = 1, i - 1 do
      if array.shares_memory(list[i], list[j]) then
        fail("'%s': out[%d] and out[%d] share memory: each result needs its own", self._name, j, i)
      end
    end
  end
  return list
end

local function apply(self, ...)
  local state = state_of(self)
  local count = self._parameters
  local given = select("#", ...)
  local options
  if given == count + 1 then
    options = select(given, ...)
    if type(options) ~= "table" then
      fail("'%s' takes %d arguments and then options such as {out = a}, got %s", self._name, count, kind_of(options))
    end
  elseif given ~= count then
    fail("'%s' has %d parameters, and got %d arguments", self._name, count, given)
  end
  local out = outputs_of(self, options)
  local values, key = { ... }, {}
  local arrays, pointers, slots = arrays_t(), pointers_t(12), slots_t(24)
  if count + (out and #out or 1) > 12 then
    fail("'%s': at most 12 arguments and results", self._name)
  end
  local some, straight, first = false, true, nil
  for i = 1, count do
    local x = values[i]
    if type(x) == "table" then
      x = array.from(x)
      values[i] = x
    elseif istype(row_t, x) then
      x = kit.as_array(x)
      values[i] = x
    end
    if istype(array_t, x) then
      arrays[i - 1] = x
      key[i] = x._dtype + 10
      some = true
      if straight then -- all of one shape and C order: one run
        straight = contiguous(x)
        if first then
          straight = straight and x._ndim == first._ndim
          for d = 0, x._ndim - 1 do
            straight = straight and x._shape[d] == first._shape[d]
          end
        end
        first = first or x
      end
    else
      local kind = scalar_kind(self._name, i, x)
      key[i] = kind
      put(slots, i - 1, kind, x)
      pointers[i - 1] = slots + 2 * (i - 1)
    end
  end
  check(C.pg_kernel_broadcast(shape_c, ndim_c, arrays, count))
  if out then
    for i, a in ipairs(out) do
      local same = a._ndim == ndim_c[0]
      for d = 0, a._ndim - 1 do
        same = same and a._shape[d] == shape_c[d]
      end
      if not same then
        fail("'%s': out[%d] has shape %s, and the result has %s", self._name, i, kit.shape_text(a._shape, a._ndim),
          kit.shape_text(shape_c, ndim_c[0]))
      end
      straight = straight and contiguous(a)
      key[#key + 1] = "o" .. a._dtype
    end
  end
  key[#key + 1] = straight and "c" or "s"
  key = concat(key, ",")
  local s = state.by_key[key]
  if not s then
    local types = ffi.new("pg_kernel_argument[12]")
    for i = 1, count do
      if arrays[i - 1] ~= nil then
        types[i - 1].dtype, types[i - 1].contiguous = values[i]._dtype, straight and 1 or 0
      else
        types[i - 1].kind = scalar_kind(self._name, i, values[i])
      end
    end
    local dtypes, results = ffi.new("int32_t[8]"), ffi.new("int32_t[1]")
    if out then
      if #out > 8 then
        fail("'%s': a whole-array operation has at most 8 results", self._name)
      end
      results[0] = #out
      for i, a in ipairs(out) do
        dtypes[i - 1] = a._dtype
      end
    end
    local module = ffi.new("pg_kernel_module *[1]")
    raise_source(C.pg_kernel_elementwise(module, state.source, types, count, dtypes, results, straight and 1 or 0))
    s = compile(module, state.options)
    s.outputs = {}
    for i = 1, results[0] do
      s.outputs[i] = dtypes[i - 1]
    end
    s.arguments = {}
    for i = 1, count do
      s.arguments[i] = arrays[i - 1] ~= nil and kit.dtype_names[values[i]._dtype] .. "[...]" or
        scalar_names[scalar_kind(self._name, i, values[i])]
    end
    state.by_key[key] = s
    state.specialisations[#state.specialisations + 1] = s
  end
  if count + #s.outputs > 12 then
    fail("'%s': at most 12 arguments and results", self._name)
  end
  local made = {}
  for i, dtype in ipairs(s.outputs) do
    local target = out and out[i]
    if target then
      for j = 1, count do -- memory that an argument shares with a result: by way of a copy, unless they are one array
        local x = values[j]
        if arrays[j - 1] ~= nil and array.shares_memory(x, target) then
          local alike = x._data == target._data and x._ndim == target._ndim and x._dtype == target._dtype
          for d = 0, x._ndim - 1 do
            alike = alike and (x._strides[d] == target._strides[d] or x._shape[d] == 1) and x._shape[d] == target._shape[d]
          end
          if not alike then
            values[j] = x:copy()
            arrays[j - 1] = values[j]
          end
        end
      end
    else
      for d = 0, ndim_c[0] - 1 do
        kit.lengths[d] = shape_c[d]
      end
      target = kit.create(ndim_c[0], dtype, 0)
    end
    made[i] = target
    arrays[count + i - 1] = target
  end
  with_threads(self._backend, run_loop, state, s, arrays, pointers, count, #made)
  if not some then -- of scalars only: the elements
    for i, a in ipairs(made) do
      made[i] = out and a or a:item()
    end
  end
  return unpack(made, 1, #s.outputs)
end

elementwise_mt.__index = elementwise_methods
elementwise_mt.__call = apply
elementwise_mt.__tostring = function(self)
  return format("kernel.elementwise(%s, %d specialisations)", self._name, #state_of(self).specialisations)
end

-- For which types of arguments it has been compiled.
local function specializations(self)
  local list = {}
  for i, s in ipairs(state_of(self).specialisations) do
    list[i] = { arguments = s.arguments, compile_time = need_compiler().pg_llvm_seconds(s.code),
      cached = need_compiler().pg_llvm_cached(s.code) ~= 0 }
  end
  return list
end
elementwise_methods.specializations = specializations

local backends = { serial = true, simd = true, threads = true }

-- The same kernel on another backend; it is compiled anew.
local function on(self, backend)
  if backend == "gpu" then
    return core.require("gpu")._form(self, state_of(self))
  elseif not backends[backend] then
    fail('on: "serial", "simd", "threads" or "gpu" is expected, got %s', type(backend) == "string" and format("%q", backend)
      or kind_of(backend))
  end
  local copy = {}
  for k, v in pairs(self) do
    copy[k] = v
  end
  copy._backend = backend
  prepare(copy, nil, state_of(self).sources)
  return setmetatable(copy, getmetatable(self))
end
elementwise_methods.on = on

-- Texts of the last specialisation.
local function inspect(self, what)
  if what == "cuda" then
    local s = state_of(self).specialisations[#state_of(self).specialisations]
    if not s then
      fail("inspect: '%s' has not been called yet: it is compiled for the types of its arguments", self._name)
    end
    return shared.cuda_text(s.module, s.dimensions or 1)
  end
  if not shared.texts[what] then
    fail('inspect: "ir", "llvm", "asm" or "cuda" is expected, got %s', type(what) == "string" and format("%q", what) or kind_of(what))
  end
  local s = state_of(self).specialisations[#state_of(self).specialisations]
  if not s then
    fail("inspect: '%s' has not been called yet: it is compiled for the types of its arguments", self._name)
  elseif what == "ir" then
    return ffi.string(C.pg_kernel_text(s.module))
  end
  local text = ffi.new("const char *[1]")
  check(need_compiler().pg_llvm_text(text, s.code, what))
  return ffi.string(text[0])
end
elementwise_methods.inspect = inspect

local form_options = { fastmath = true, bounds = true, name = true, cache = true }

local function function_of(name, fn, options, known_options)
  if type(fn) == "table" and getmetatable(fn) and rawget(getmetatable(fn), "_kernel") then
    fn = fn._function
  end
  if type(fn) ~= "function" then
    fail("%s: a Lua function is expected, got %s", name, kind_of(fn))
  end
  if options ~= nil then
    if type(options) ~= "table" then
      fail("%s: options are a table such as {fastmath = true}, got %s", name, kind_of(options))
    end
    check_options(name, options, known_options)
  end
  return fn, options or {}
end

--- kernel.elementwise(fn [, options]): fn of numbers, applied to every element of arrays that are broadcast together.
function kernel.elementwise(fn, options)
  fn, options = function_of("elementwise", fn, options, form_options)
  local info = getinfo(fn, "Su")
  local name = options.name or format("the kernel of line %d", info.linedefined)
  local self = setmetatable({ _function = fn, _name = name, _parameters = info.nparams, _options = options,
    _backend = "threads" }, elementwise_mt)
  prepare(self)
  return self
end

local fused = setmetatable({}, { __mode = "k" })

-- array.fused(fn, ...): kernel.elementwise(fn), made once, applied to the arguments that follow.
function kernel._fused(fn, ...)
  local made = fused[fn]
  if not made then
    made = kernel.elementwise((function_of("array.fused", fn, nil, form_options)))
    fused[fn] = made
    local state, kept = states[made], {} -- it must not keep the function, by which it is found
    for key, source in pairs(state.sources) do
      kept[#kept + 1] = key ~= "frozen" and source or nil
    end
    state.fn, state.sources, made._function, made._frozen = nil, kept, nil, nil
  end
  return made(...)
end

-- ------------------------------------------------------------------------------------------------- fuse ----------------
-- Names that expressions may use beside their variables, as in numexpr.
local expression_names = { pi = "math.pi" }
for _, name in ipairs { "abs", "sqrt", "floor", "ceil", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
  "exp", "log", "log10", "atan2", "fmod", "min", "max" } do
  expression_names[name] = "math." .. name
end

local expressions = {}

--- kernel.fuse(expression, variables [, options]): an expression over arrays in one pass.
function kernel.fuse(expression, variables, options)
  if type(expression) ~= "string" then
    fail('fuse: an expression such as "2*a + sin(b)" is expected, got %s', kind_of(expression))
  elseif type(variables) ~= "table" then
    fail("fuse: a table of the expression's variables is expected, as {a = x, b = y}, got %s", kind_of(variables))
  end
  local names = {}
  for name in pairs(variables) do
    if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
      fail("fuse: variables have names, and '%s' is none", tostring(name))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  if options ~= nil then
    check_options("fuse", options, { fastmath = true, out = true })
  end
  local key = concat(names, ",") .. (options and options.fastmath and "~" or "=") .. expression
  local made = expressions[key]
  if not made then
    local known, values = {}, {}
    for name, path in pairs(expression_names) do
      if variables[name] == nil then
        known[#known + 1], values[#values + 1] = name, path
      end
    end
    local text = format("local %s = %s\nreturn function(%s)\n  return %s\nend", concat(known, ", "), concat(values, ", "),
      concat(names, ", "), expression)
    local chunk, syntax = core.load_text(text, "fuse: " .. expression:gsub("%s+", " "), { math = math })
    if not chunk then
      fail("fuse: %s is no expression: %s", format("%q", expression), (syntax:gsub("^.-:%d+: ", "")))
    end
    made = kernel.elementwise(chunk(), { name = expression, fastmath = options and options.fastmath })
    expressions[key] = made
  end
  local arguments = {}
  for i, name in ipairs(names) do
    arguments[i] = variables[name]
  end
  if options ~= nil then
    arguments[#names + 1] = { out = options.out }
  end
  return made(unpack(arguments, 1, #names + (options and 1 or 0)))
end

-- ------------------------------------------------------------------------------------------ parallel loops -------------
local parallel_mt = { _kernel = true }
local parallel_methods = { on = on, inspect = inspect, specializations = specializations }
parallel_mt.__index = parallel_methods
parallel_mt.__tostring = function(self)
  return format("kernel.parallel_for(%s, %d specialisations)", self._name, #state_of(self).specialisations)
end

local reductions = { sum = true, product = true, min = true, max = true }

local function whole(x)
  return type(x) == "number" and x % 1 == 0 and x >= 0 and x <= 2 ^ 53
end

local function run_parallel(self, ranges, ...)
  local state = state_of(self)
  local lengths = ffi.new("int64_t[3]", 1, 1, 1)
  local dimensions = 1
  if type(ranges) == "table" then
    dimensions = #ranges
    if dimensions < 1 or dimensions > 3 then
      fail("'%s': 1 to 3 lengths are expected, got %d", self._name, dimensions)
    end
  end
  for d = 1, dimensions do
    local n = type(ranges) == "table" and ranges[d] or ranges
    if not whole(n) then
      fail("'%s': the loop's length%s is a whole number from 0 on, got %s", self._name,
        type(ranges) == "table" and format(" %d", d) or "", type(n) == "number" and tostring(n) or kind_of(n))
    end
    lengths[d - 1] = n
  end
  local count = select("#", ...)
  if count + dimensions ~= self._parameters then
    fail("'%s' has %d parameters; with %d %s it takes %d arguments after the lengths, got %d", self._name,
      self._parameters, dimensions, dimensions == 1 and "index" or "indices", self._parameters - dimensions, count)
  end
  local values, key = { ... }, { dimensions }
  local pointers, slots = pointers_t(count + 1), slots_t(2 * count + 2)
  local types = ffi.new("pg_kernel_argument[?]", count + 2 * dimensions)
  for i = 1, 2 * dimensions do
    types[i - 1].kind = INTEGER
  end
  for i = 1, count do
    local x = values[i]
    local t = types[2 * dimensions + i - 1]
    if istype(row_t, x) then
      x = kit.as_array(x)
      values[i] = x
    end
    if istype(array_t, x) then
      kit.check_alive(x)
      pointers[i - 1] = ffi.cast("void *", x)
      t.dtype, t.ndim, t.contiguous = x._dtype, x._ndim, contiguous(x) and 1 or 0
      t.writable = 1 - bit.band(x._flags, 1)
      key[#key + 1] = shared.key_of(x)
    else
      t.kind = scalar_kind(self._name, i, x)
      put(slots, i - 1, t.kind, x)
      pointers[i - 1] = slots + 2 * (i - 1)
      key[#key + 1] = t.kind
    end
  end
  key = concat(key, ",")
  local s = state.by_key[key]
  if not s then
    local module = ffi.new("pg_kernel_module *[1]")
    raise_source(C.pg_kernel_parallel_for(module, state.source, dimensions, self._reduce, types, count + 2 * dimensions))
    s = compile(module, state.options)
    s.arguments = {}
    for i = 1, count do
      local x = values[i]
      s.arguments[i] = istype(array_t, x) and shared.describe_key(shared.key_of(x)) or
        scalar_names[scalar_kind(self._name, i, x)]
    end
    s.dimensions = dimensions
    s.result = self._reduce ~= "" and C.pg_kernel_result(s.module, 0) or 0
    state.by_key[key] = s
    state.specialisations[#state.specialisations + 1] = s
  end
  local tile = ffi.new("int64_t[3]")
  for d = 0, dimensions - 1 do
    local asked
    if type(self._tile) == "table" then
      asked = self._tile[d + 1]
    else
      asked = d == 0 and self._tile
    end
    -- By default some 64 pieces of the first index: the same for any number of threads, so that sums are too.
    tile[d] = asked or (d == 0 and math.max(1, floor((tonumber(lengths[0]) + 63) / 64)) or math.max(1, tonumber(lengths[d])))
  end
  local total = shared.results
  with_threads(self._backend, function()
    check(C.pg_kernel_run_boxes(failed, failure, s.entry, dimensions, lengths, tile, pointers, count, self._reduce,
      s.result, total, state.kept_name))
  end)
  if failed[0] > 0 then
    raise_failure()
  end
  if self._reduce == "" then
    return
  elseif failed[0] < 0 then -- of nothing
    return self._reduce == "sum" and 0 or self._reduce == "product" and 1 or
      self._reduce == "min" and math.huge or -math.huge
  elseif s.result == 2 then
    return tonumber(shared.results_i64[0])
  elseif s.result == 5 then
    return complex_t(total[0], total[1])
  end
  return total[0]
end

parallel_mt.__call = run_parallel

--- kernel.parallel_for(fn [, options]): a loop whose rounds run in any order, on several threads.
function kernel.parallel_for(fn, options)
  fn, options = function_of("parallel_for", fn, options,
    { fastmath = true, bounds = true, name = true, cache = true, reduce = true, tile = true })
  local reduce = options.reduce
  if reduce ~= nil and not reductions[reduce] then
    fail('parallel_for: reduce is "sum", "product", "min" or "max", got %s', type(reduce) == "string"
      and format("%q", reduce) or kind_of(reduce))
  end
  local tile = options.tile
  for d = 1, type(tile) == "table" and #tile or 1 do
    local t = type(tile) == "table" and tile[d] or tile
    if t ~= nil and not (whole(t) and t >= 1) then
      fail("parallel_for: tile is a whole number from 1 on, or a list of them, got %s", type(t) == "number" and tostring(t)
        or kind_of(t))
    end
  end
  local info = getinfo(fn, "Su")
  local name = options.name or format("the kernel of line %d", info.linedefined)
  local self = setmetatable({ _function = fn, _name = name, _parameters = info.nparams, _options = options,
    _reduce = reduce or "", _tile = tile, _backend = "threads" }, parallel_mt)
  prepare(self)
  return self
end

core.class(elementwise_mt, "kernel.ElementwiseKernel")
core.class(parallel_mt, "kernel.ParallelKernel")
shared.form_methods = { elementwise_methods, parallel_methods }
shared.form_state = state_of
kernel._elementwise_methods, kernel._parallel_methods = elementwise_methods, parallel_methods
shared.forms = { function_of = function_of, outputs_of = outputs_of, state_of = state_of, prepare = prepare, compile = compile,
  with_threads = with_threads, scalar_kind = scalar_kind, scalar_names = scalar_names, put = put, on = on, inspect = inspect,
  specializations = specializations }
core.part("kernel_outer", shared)
