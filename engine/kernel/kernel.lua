-- pg.kernel: Lua functions compiled to machine code. Here functions are found again in their source, what they capture is
-- frozen, and calls are dispatched by the types of their arguments; C++ parses and types (kernel_abi.h), a backend compiles.
local core = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array = core.require("array")
local kit = array._kit
local type, tostring, tonumber, pairs, ipairs, rawequal, rawget, setmetatable, getmetatable, select, error, unpack =
  type, tostring, tonumber, pairs, ipairs, rawequal, rawget, setmetatable, getmetatable, select, error, unpack
local format, concat, istype, find, sub = string.format, table.concat, ffi.istype, string.find, string.sub
local getinfo, getupvalue, getfenv, load, band = debug.getinfo, debug.getupvalue, debug.getfenv, load, bit.band
local builtin_math, builtin_bit = math, bit

local kernel = {}
local kernel_mt = {}
local kernel_methods = {}

local array_t, row_t, complex_t = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("double _Complex")
local int64_t = ffi.typeof("int64_t")
local kind_of, check_options = kit.kind_of, kit.check_options

-- The library that compiles, loaded at the first kernel: LLVM takes some 12 ms.
local compiler
local function need_compiler()
  compiler = compiler or core.require("llvm")._library
  return compiler
end

-- ------------------------------------------------------------------------------------------- sources ------------------
-- What a function or a table is to kernels: its name where it is one of those they know. (gpu adds its own.)
local known = {}
for _, entry in ipairs { { "math", builtin_math }, { "bit", builtin_bit } } do
  for key, value in pairs(entry[2]) do
    if type(value) == "function" then
      known[value] = entry[1] .. "." .. key
    end
  end
end

local function raise_source(status)
  if status ~= 0 then
    local message = ffi.string(C.pg_last_message())
    if tonumber(status) == 1 and find(message, "^[^\n]-:%d+: ") then
      error(message, 0)
    end
    check(status)
  end
end

-- What is made of kernels in this Lua state (make_state), by kernel.
local states = setmetatable({}, { __mode = "k" })

-- A function's upvalues, and which names are theirs (some may be nil).
local function upvalues_of(fn)
  local values, present = {}, {}
  for i = 1, 255 do
    local name, value = getupvalue(fn, i)
    if not name then
      break
    end
    values[name], present[name] = value, true
  end
  return values, present
end

local source_of

-- What a captured value is to a kernel: "number", "boolean", "builtin" (its name), "function", "kernel" or "refused" (what it
-- is), with it.
local function meaning(value, env)
  local t = type(value)
  if t == "number" or t == "boolean" then
    return t, value
  elseif known[value] then
    return "builtin", known[value]
  elseif t == "function" then
    local info = getinfo(value, "S")
    if value == rawget(env, "print") then
      return "refused", "a function that prints (store the values in an array, and print that afterwards)"
    elseif info.what ~= "Lua" or find(info.source, "^@perigee:") then
      if value == rawget(env, "error") or value == rawget(env, "assert") then
      return "refused", "a function that raises errors (return a boolean or a number that says so, and raise the error outside)"
    end
    return "refused", "a function of the engine"
    end
    return "function", value
  elseif t == "table" and getmetatable(value) and rawget(getmetatable(value), "_kernel") then
    return "kernel", value
  elseif t == "table" then
    for name, module in pairs { array = array, kernel = kernel, perigee = core.perigee } do
      if rawequal(value, module) then
        return "builtin", name
      end
    end
    for name, module in pairs { math = builtin_math, bit = builtin_bit } do
      if rawequal(value, module) or rawequal(value, rawget(env, name)) then
        return "builtin", name
      end
    end
    return "refused", "a table"
  elseif value == nil and not istype(array_t, value) then
    return "refused", "nil"
  end
  return "refused", istype(array_t, value) and "an array" or "a " .. kind_of(value)
end

-- What sources were made of, for kernels that run again elsewhere: {text, chunk, first, last, name, names = {{name, what,
-- detail}, ...}}; of a function the detail is its source.
local described = setmetatable({}, { __mode = "k" })

local binders = {
  number = C.pg_kernel_bind_number, builtin = C.pg_kernel_bind_builtin, refused = C.pg_kernel_bind_refused,
  ["function"] = C.pg_kernel_bind_function,
  boolean = function(source, name, value) C.pg_kernel_bind_boolean(source, name, value and 1 or 0) end,
}

local function put(source, name, what, detail)
  binders[what](source, name, detail)
  local names = described[source].names
  names[#names + 1] = { name, what, detail }
end

local function parse(text, chunk, first, last, name)
  local out = ffi.new("pg_kernel_source *[1]")
  raise_source(C.pg_kernel_parse(out, text, #text, chunk, first, last, name))
  local source = ffi.gc(out[0], C.pg_kernel_close_source)
  described[source] = { text = text, chunk = chunk, first = first, last = last, name = name, names = {} }
  return source
end

local function bind(source, name, value, env, made)
  local what, detail = meaning(value, env)
  if what == "function" then
    detail = source_of(detail, name, made)
  elseif what == "kernel" then
    local state = states[detail]
    if not state then -- from another Lua state
      state = { frozen = detail._frozen or {} }
      state.source = source_of(detail._function, name, state)
    end
    made[detail] = state -- which keeps its source
    what, detail = "function", state.source
  end
  put(source, name, what, detail)
end

-- The upvalues that a kernel uses of a function: as a kernel that came from another Lua state froze them there, else as they
-- are, which is then kept (made.frozen: a list of function, {name = value} in turn).
local function frozen_upvalues(fn, source, made)
  made.frozen = made.frozen or {}
  for i = 1, #made.frozen, 2 do
    if made.frozen[i] == fn then
      return made.frozen[i + 1]
    end
  end
  local upvalues, values = upvalues_of(fn), {}
  for i = 0, C.pg_kernel_free_names(source) - 1 do
    local free = ffi.string(C.pg_kernel_free_name(source, i))
    values[free] = upvalues[free]
  end
  made.frozen[#made.frozen + 1] = fn
  made.frozen[#made.frozen + 1] = values
  return values
end

-- Where a function stands, and the whole text it stands in.
local function text_of(fn, name)
  local info = getinfo(fn, "S")
  local chunk = sub(info.source, 2)
  local text = core.chunks[chunk] or find(info.source, "^@") and core.read_script(chunk) or nil
  if info.what ~= "Lua" or not text then
    fail("kernel: '%s' has no source to compile: a kernel is a Lua function of a script", name)
  end
  return info, text
end

-- The parsed source of a Lua function. made: function -> source, of one kernel, and what was frozen (frozen_upvalues).
function source_of(fn, name, made)
  if made[fn] then
    return made[fn]
  end
  local info, text = text_of(fn, name)
  local source = parse(text, info.short_src, info.linedefined, info.lastlinedefined, name)
  made[fn] = source -- before its names are bound: functions may name each other
  local values, env = frozen_upvalues(fn, source, made), getfenv(fn)
  local _, upvalue = upvalues_of(fn)
  for i = 0, C.pg_kernel_free_names(source) - 1 do
    local free = ffi.string(C.pg_kernel_free_name(source, i))
    if upvalue[free] then
      bind(source, free, values[free], env, made)
    else
      bind(source, free, rawget(env, free), env, made)
    end
  end
  return source
end

-- A source and those it calls as plain values: {texts = {...}, {text = (which of them), chunk, first, last, name, names}, ...};
-- the first is the source itself, and functions among the names are the numbers of others.
local function describe_source(source)
  local list, numbers, texts = { texts = {} }, {}, {}
  local function add(s)
    if not numbers[s] then
      local from = described[s]
      if not texts[from.text] then
        list.texts[#list.texts + 1] = from.text
        texts[from.text] = #list.texts
      end
      local entry = { text = texts[from.text], chunk = from.chunk, first = from.first, last = from.last, name = from.name,
        names = {} }
      list[#list + 1] = entry
      numbers[s] = #list
      for i, n in ipairs(from.names) do
        entry.names[i] = { n[1], n[2], n[2] == "function" and add(n[3]) or n[3] }
      end
    end
    return numbers[s]
  end
  add(source)
  return list
end

-- The other way. Second: all of the sources, to be kept.
local function rebuild_source(list)
  local sources = {}
  for i, entry in ipairs(list) do
    sources[i] = parse(list.texts[entry.text], entry.chunk, entry.first, entry.last, entry.name)
  end
  for i, entry in ipairs(list) do
    for _, n in ipairs(entry.names) do
      put(sources[i], n[1], n[2], n[2] == "function" and sources[n[3]] or n[3])
    end
  end
  return sources[1], sources
end

-- ---------------------------------------------------------------------------------------- dispatch --------------------
-- Types of arguments as small numbers: scalars 1 to 6 as in pg_kernel_argument, arrays from 16 on.
local NUMBER, BOOLEAN, INTEGER, COMPLEX = 3, 1, 2, 6

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

local function key_of(x)
  local t = type(x)
  if t == "number" then
    return NUMBER
  elseif istype(array_t, x) then
    return 16 + x._dtype * 64 + x._ndim * 4 + (contiguous(x) and 2 or 0) + band(x._flags, 1)
  elseif t == "boolean" then
    return BOOLEAN
  elseif istype(complex_t, x) then
    return COMPLEX
  elseif istype(int64_t, x) then
    return INTEGER
  end
  return 0
end

local function describe_key(key)
  if key < 16 then
    return ({ "bool", "int64", "number", "float32", "float64", "complex128" })[key]
  end
  local k = key - 16
  local dtype, ndim = kit.dtype_names[builtin_math.floor(k / 64)], builtin_math.floor(k % 64 / 4)
  return format("%s[%s]%s%s", dtype, (":,"):rep(ndim):sub(1, -2), k % 4 >= 2 and "" or " strided",
    k % 2 == 1 and " read-only" or "")
end

local failure = ffi.new("pg_kernel_failure")
local results = ffi.new("double[64]") -- 16 bytes each: two doubles
local results_i64 = ffi.cast("int64_t *", results)
local results_i32 = ffi.cast("int32_t *", results)

local messages = {
  function(f, on_device)
    local length = tonumber(f.length)
    return format("index %d is out of range for axis %d of '%s', of %d elements there%s", tonumber(f.index), f.dimension,
      ffi.string(f.name), length, length > 0 and format(on_device and "; legal are 1 to %d"
        or "; legal are 1 to %d, and -%d to -1 from the end", length, length) or "")
  end,
  function(f)
    return format("index %.14g of axis %d of '%s' is not a whole number", f.value, f.dimension, ffi.string(f.name))
  end,
  function(f)
    return format("%.14g cannot be stored in '%s', an array of %s: %s", f.value, ffi.string(f.name),
      kit.dtype_names[f.dimension], f.value ~= f.value and "it is not a number"
        or f.value % 1 ~= 0 and "it is not whole; round it with math.floor" or "it is out of range")
  end,
  function() return "integer modulo by zero" end,
  function(f)
    return format("the loop over '%s' has a whole step and starts at %.14g: in a kernel it starts at a whole number " ..
      "(a step of 1.0 counts in fractions)", ffi.string(f.name), f.value)
  end,
  function() return "'for' step is zero" end,
  function() return "a parallel loop could not be run: " .. ffi.string(C.pg_last_message()) end,
}

-- on_device: of a kernel of a GPU, whose indices do not count from the end.
local function raise_failure(on_device)
  error(format("%s:%d: %s", ffi.string(failure.chunk), failure.line, messages[failure.code](failure, on_device)), 0)
end

local result_names = { "bool", "int64", "float32", "float64", "complex128" }

-- What reads result i (from 0) of a type, as source text.
local result_texts = {
  [1] = "i32[%d] ~= 0", [2] = "tonumber(i64[%d])", [3] = "d[%d]", [4] = "d[%d]", [5] = "complex(d[%d], d[%d])",
}

-- Where compiled code is kept between runs.
local function cache_folder()
  local folder = os.getenv("PERIGEE_CACHE")
  if folder and folder ~= "" then
    return folder
  end
  local base = os.getenv("XDG_CACHE_HOME")
  if not base or base == "" then
    base = os.getenv("HOME")
    base = base and base ~= "" and base .. "/.cache"
  end
  return base and base .. "/perigee/kernels"
end

local identity_size = ffi.new("int64_t[1]")

-- The machine code of a module.
local function compiled(module, options)
  local library = need_compiler()
  local out = ffi.new("pg_llvm_code *[1]")
  local bits = (options.fastmath and 1 or 0) + (options.bounds == false and 2 or 0) + (options._scalar and 4 or 0) +
    (options._travelled and 8 or 0)
  local identity = C.pg_kernel_identity(module, identity_size)
  check(library.pg_llvm_compile(out, C.pg_kernel_contents(module), bits, options.cache and cache_folder() or nil, identity,
    identity_size[0]))
  return ffi.gc(out[0], library.pg_llvm_close)
end

-- Compiles a kernel for arguments of these types. Returns what runs it.
local function compile(state, keys)
  local count = #keys
  local types = ffi.new("pg_kernel_argument[?]", builtin_math.max(count, 1))
  local c_types, parameters, passed = {}, {}, {}
  for i, key in ipairs(keys) do
    local name = "a" .. i
    parameters[i] = name
    passed[#passed + 1] = name
    local t = types[i - 1]
    if key >= 16 then
      local k = key - 16
      t.dtype, t.ndim = builtin_math.floor(k / 64), builtin_math.floor(k % 64 / 4)
      t.contiguous, t.writable = k % 4 >= 2 and 1 or 0, k % 2 == 0 and 1 or 0
      c_types[#c_types + 1] = "const pg_array *"
    else
      t.kind = key
      if key == COMPLEX then
        passed[#passed] = name .. ".re, " .. name .. ".im"
        c_types[#c_types + 1] = "double, double"
      elseif key == BOOLEAN then
        passed[#passed] = name .. " and 1 or 0"
        c_types[#c_types + 1] = "int32_t"
      else
        c_types[#c_types + 1] = key == INTEGER and "int64_t" or "double"
      end
    end
  end
  local out = ffi.new("pg_kernel_module *[1]")
  raise_source(C.pg_kernel_specialise(out, state.source, types, count, state.options.parallel and 1 or 0))
  local module = ffi.gc(out[0], C.pg_kernel_close_module)
  local code = compiled(module, state.options)
  local library = compiler
  local signature = "int32_t (*)(pg_kernel_failure *, void *" .. (count > 0 and ", " or "") .. concat(c_types, ", ") .. ")"
  local entry = ffi.cast(signature, library.pg_llvm_entry(code))
  local values, result_types = {}, {}
  for i = 0, C.pg_kernel_results(module) - 1 do
    local kind = C.pg_kernel_result(module, i)
    local scale = kind == 1 and 4 or 2
    values[#values + 1] = format(result_texts[kind], scale * i, scale * i + 1)
    result_types[#result_types + 1] = kind
  end
  if #values > 32 then
    fail("kernel: %d results; a kernel returns at most 32 values", #values)
  end
  local list, comma_passed = concat(parameters, ", "), count > 0 and ", " .. concat(passed, ", ") or ""
  local text = format([[
local C, entry, failure, results, raise, d, i64, i32, tonumber, complex, operation, name = ...
return function(%s)
  if C.pg_operations_watched > 0 then
    C.pg_operation_begin(operation)
    C.pg_operation_describe(name, "", 0, 0)
    local status = entry(failure, results%s)
    C.pg_operation_end()
    if status ~= 0 then
      raise()
    end
    return %s
  end
  if entry(failure, results%s) ~= 0 then
    raise()
  end
  return %s
end]], list, comma_passed, concat(values, ", "), comma_passed, concat(values, ", "))
  local run = load(text, "@perigee:kernel")(C, entry, failure, results, raise_failure, results, results_i64, results_i32,
    tonumber, complex_t, C.pg_kernel_keep_name("pg_kernel_call"), state.kept_name)
  return { run = run, keys = keys, module = module, code = code, results = result_types }
end

local function counted(n, what)
  return format("%d %s%s", n, what, n == 1 and "" or "s")
end

local function miss(state, ...)
  local count = select("#", ...)
  local info = getinfo(state.fn, "u")
  if info.nparams ~= count then
    if info.isvararg then
      fail("'%s': a kernel has no '...': name its parameters", state.name)
    end
    fail("'%s' has %s, and got %s", state.name, counted(info.nparams, "parameter"), counted(count, "argument"))
  end
  local given = count
  while given > 0 and type((select(given, ...))) == "nil" do
    given = given - 1
  end
  if given < count then
    fail("'%s' has %s, and got %s", state.name, counted(count, "parameter"),
      given == 0 and "none" or counted(given, "argument"))
  end
  local keys, converted, rows = {}, { ... }, false
  for i = 1, count do
    local x = converted[i]
    if istype(row_t, x) then
      x = kit.as_array(x)
      converted[i], rows = x, true
    end
    keys[i] = key_of(x)
    if keys[i] == 0 then
      fail("'%s': argument %d must be a number, a boolean or an array, got %s", state.name, i, kind_of(x))
    end
  end
  if rows then
    return { run = function() return state.call(state, unpack(converted, 1, count)) end }
  end
  local node = state.root
  for i = 1, count - 1 do
    node[keys[i]] = node[keys[i]] or {}
    node = node[keys[i]]
  end
  local last = count > 0 and keys[count] or "none"
  if not node[last] then
    node[last] = compile(state, keys)
    state.specialisations[#state.specialisations + 1] = node[last]
  end
  return node[last]
end

-- Dispatch for n arguments, as straight code.
local dispatchers = {}
local function dispatcher(count)
  if dispatchers[count] then
    return dispatchers[count]
  end
  local names, walk = {}, {}
  for i = 1, count do
    names[i] = "a" .. i
    walk[i] = format("  node = node and node[key_of(a%d)]\n", i)
  end
  local list = concat(names, ", ")
  local comma = count > 0 and ", " or ""
  local text = format([[
local key_of, miss = ...
return function(state%s%s, ...)
  local node = state.root
%s  if not node or ... ~= nil then
    node = miss(state%s%s, ...)
  end
  return node.run(%s)
end]], comma, list, count > 0 and concat(walk) or "  node = node.none\n", comma, list, list)
  dispatchers[count] = load(text, "@perigee:kernel")(key_of, miss)
  return dispatchers[count]
end

-- ------------------------------------------------------------------------------------------- signatures ---------------
local scalar_kinds = { bool = 1, int64 = 2, int32 = 2, uint8 = 2, number = 3, float32 = 4, float64 = 5, complex128 = 6 }
local ranges = { int32 = { -2 ^ 31, 2 ^ 31 - 1 }, uint8 = { 0, 255 } }

-- "float64(float64[:], int64)" -> the results' types, and of each argument its type, and for arrays dimensions and layout.
local function parse_signature(text)
  local function wrong(what)
    fail('jit: "float64(float64[:,:], int64)" is an example of a signature; in %s %s', format("%q", text), what)
  end
  if type(text) ~= "string" then
    fail('jit: a signature such as "float64(float64[:], int64)" is expected, got %s', kind_of(text))
  end
  local returns, list = text:gsub("%s", ""):match("^([%w_,]*)%((.*)%)$")
  if not returns then
    wrong("the list of arguments is missing")
  end
  local results = {}
  for name in returns:gmatch("[^,]+") do
    if not scalar_kinds[name] and name ~= "void" then
      wrong(format("'%s' is no type: bool, int64, int32, uint8, float32, float64 and complex128 are", name))
    end
    results[#results + 1] = name ~= "void" and name or nil
  end
  local arguments, rest = {}, list
  while rest ~= "" do
    local name, axes, more = rest:match("^([%w_]+)%[([:,1]*)%](.*)$")
    if not name then
      name, more = rest:match("^([%w_]+)(.*)$")
    end
    if not name then
      wrong(format("'%s' is no type", rest))
    end
    if axes then
      if not kit.dtypes[name] then
        wrong(format("'%s' is no dtype", name))
      end
      local ndim = select(2, axes:gsub("[^,]+", ""))
      local straight = axes:sub(-3) == "::1"
      if not axes:gsub("::1$", ":"):find("^:[,:]*$") or axes:find("::", 1, true) and not straight then
        wrong(format("[%s] is no list of axes: [:], [:,:] and, for C order without gaps, [::1], [:,::1] are", axes))
      end
      arguments[#arguments + 1] = { dtype = kit.dtypes[name], name = name, ndim = ndim, straight = straight }
    else
      if not scalar_kinds[name] then
        wrong(format("'%s' is no type", name))
      end
      arguments[#arguments + 1] = { kind = scalar_kinds[name], name = name }
    end
    rest = more:sub(1, 1) == "," and more:sub(2) or more
    if more ~= "" and rest == more then
      wrong("a ',' is missing")
    end
  end
  return results, arguments
end

local function check_argument(name, i, wanted, x)
  if wanted.dtype then
    if istype(row_t, x) then
      x = kit.as_array(x)
    end
    if not istype(array_t, x) or x._dtype ~= wanted.dtype or x._ndim ~= wanted.ndim then
      fail("'%s': argument %d is %s by its signature, got %s", name, i, describe_key(16 + wanted.dtype * 64 + wanted.ndim * 4 + 2),
        istype(array_t, x) and describe_key(key_of(x)) or kind_of(x))
    elseif wanted.straight and not contiguous(x) then
      fail("'%s': argument %d is in C order without gaps by its signature, and this one is not; copy it (a:copy())", name, i)
    end
    return x
  end
  local good = wanted.kind == BOOLEAN and type(x) == "boolean" or wanted.kind == COMPLEX and istype(complex_t, x)
    or wanted.kind ~= BOOLEAN and wanted.kind ~= COMPLEX and type(x) == "number"
    or wanted.kind == INTEGER and istype(int64_t, x)
  if not good then
    fail("'%s': argument %d is %s by its signature, got %s", name, i, wanted.name, kind_of(x))
  end
  if wanted.kind == INTEGER and type(x) == "number" then
    local range = ranges[wanted.name]
    if x % 1 ~= 0 or builtin_math.abs(x) > 2 ^ 63 - 1024 or range and (x < range[1] or x > range[2]) then
      fail("'%s': argument %d is %s by its signature, got %s", name, i, wanted.name, tostring(x))
    end
  end
  return x
end

-- The call of a kernel that has a signature: compiled at once, and for nothing else.
local function with_signature(state, text)
  local results, arguments = parse_signature(text)
  local info = getinfo(state.fn, "u")
  if info.nparams ~= #arguments then
    fail("'%s' has %d parameters, and its signature %d", state.name, info.nparams, #arguments)
  end
  local keys = {}
  for i, wanted in ipairs(arguments) do
    keys[i] = wanted.dtype and 16 + wanted.dtype * 64 + wanted.ndim * 4 + (wanted.straight and 2 or 0) or wanted.kind
  end
  local s = compile(state, keys)
  state.specialisations[1] = s
  if #results ~= #s.results then
    fail("'%s' returns %d values, and by its signature %d", state.name, #s.results, #results)
  end
  for i, name in ipairs(results) do
    local kind, wanted = s.results[i], scalar_kinds[name]
    if (kind == 1) ~= (wanted == 1) or (kind == 5) and wanted ~= 6 or kind > 2 and kind < 5 and wanted == 2 then
      fail("'%s' returns a %s, and by its signature a %s", state.name, result_names[kind], name)
    end
  end
  local run, count, name = s.run, #arguments, state.name
  for i, wanted in ipairs(arguments) do
    wanted.written = C.pg_kernel_writes(s.module, i - 1) ~= 0
  end
  return function(_, ...)
    if select("#", ...) ~= count then
      fail("'%s' has %s, and got %s", name, counted(count, "parameter"), counted((select("#", ...)), "argument"))
    end
    local values = { ... }
    for i = 1, count do
      values[i] = check_argument(name, i, arguments[i], values[i])
      if arguments[i].written and band(values[i]._flags, 1) ~= 0 then
        kit.read_only()
      end
    end
    return run(unpack(values, 1, count))
  end
end

-- What a kernel object holds: the function, its name and options and what it froze (_frozen), which travel to other Lua
-- states. What is made of them stands in `states`, and is made in each state. sources: of another kernel of the function;
-- frozen: what a kernel that travelled froze.
local function make_state(fn, name, options, sources, frozen)
  sources = sources or { frozen = frozen or {} }
  -- (Not the kernel itself, which it would keep alive.)
  return { fn = fn, name = name, kept_name = C.pg_kernel_keep_name(name), options = options,
    source = source_of(fn, name, sources), sources = sources, root = {}, specialisations = {}, by_key = {} }
end

-- Makes the state of a kernel. travelled: it came from another Lua state, and code made there will do.
local function prepare(self, travelled, sources)
  local options = { _travelled = travelled, _scalar = self._scalar }
  for key, value in pairs(self._options) do
    options[key] = value
  end
  local state = make_state(self._function, self._name, options, sources, self._frozen)
  state.call = options.signature and with_signature(state, options.signature)
    or dispatcher(getinfo(self._function, "u").nparams)
  states[self], self._frozen = state, state.sources.frozen
  return state
end

local function state_of(self)
  return states[self] or prepare(self, true)
end

kernel_mt._kernel = true
kernel_mt.__index = kernel_methods
kernel_mt.__call = function(self, ...)
  local state = states[self] or state_of(self)
  return state.call(state, ...)
end
kernel_mt.__tostring = function(self)
  return format("kernel(%s, %d specialisations)", self._name, #state_of(self).specialisations)
end
core.class(kernel_mt, "kernel.Kernel")

--- kernel.jit(fn [, options]): fn compiled at its first call with arguments of new types, and called like it.
function kernel.jit(fn, options)
  if type(fn) ~= "function" then
    fail("jit: a Lua function is expected, got %s", kind_of(fn))
  elseif getinfo(fn, "S").what == "C" then
    fail("jit: a Lua function of the script is expected, got %s: write function(x) return %s end",
      known[fn] and format("'%s'", known[fn]) or "one of Lua's own", known[fn] and known[fn] .. "(x)" or "f(x)")
  end
  if options ~= nil then
    check_options("jit", options, { fastmath = true, bounds = true, name = true, cache = true, signature = true, parallel = true })
    if options.parallel ~= nil and type(options.parallel) ~= "boolean" then
      fail("jit: parallel is true or false, got %s", kind_of(options.parallel))
    end
  end
  local name = options and options.name or format("the kernel of line %d", getinfo(fn, "S").linedefined)
  local self = setmetatable({ _function = fn, _name = name, _options = options or {} }, kernel_mt)
  prepare(self)
  return self
end

--- k:on("simd" | "serial" | "threads"): the same kernel with vectors (as it is made), without, or with its independent loops on
--- several threads ({parallel = true}); it is compiled anew.
function kernel_methods:on(backend)
  if backend == "gpu" then
    core.unsupported('on: a whole function runs on this processor; gpu.kernel makes one of a GPU, and kernel.parallel_for, ' ..
      'elementwise and vmap run on "gpu"')
  elseif backend ~= "serial" and backend ~= "simd" and backend ~= "threads" then
    fail('on: "serial", "simd" or "threads" is expected, got %s', type(backend) == "string" and format("%q", backend)
      or kind_of(backend))
  end
  local options = {}
  for key, value in pairs(self._options) do
    options[key] = value
  end
  options.parallel = backend == "threads" or nil
  local copy = setmetatable({ _function = self._function, _name = self._name, _options = options,
    _scalar = backend == "serial" }, kernel_mt)
  prepare(copy, nil, state_of(self).sources)
  return copy
end

-- The specialisation asked for: by its number, by default the last.
local function specialisation(self, name, number)
  local all = state_of(self).specialisations
  if #all == 0 then
    fail("%s: '%s' has not been called yet: it is compiled for the types of its arguments", name, self._name)
  elseif number ~= nil and not all[number] then
    fail("%s: specialisation 1 to %d is expected, got %s", name, #all, tostring(number))
  end
  return all[number or #all]
end

local texts = { ir = true, llvm = true, asm = true }

-- CUDA C++ of a module, of which the grid runs `spread` nested loops.
local shared
local function cuda_text(module, spread)
  local text = ffi.new("const char *[3]")
  check(C.pg_kernel_cuda(text, text + 1, text + 2, module, 0, spread))
  return ffi.string(text[0])
end

--- k:inspect(what [, number]): CUDA C++ ("cuda"), the typed form ("ir"), LLVM's form after optimisation ("llvm") or the machine code ("asm") of
--- a specialisation.
function kernel_methods:inspect(what, number)
  if not texts[what] and what ~= "cuda" then
    fail('inspect: "ir", "llvm", "asm" or "cuda" is expected, got %s', type(what) == "string" and format("%q", what) or kind_of(what))
  end
  local s = specialisation(self, "inspect", number)
  if what == "ir" then
    return ffi.string(C.pg_kernel_text(s.module))
  elseif what == "cuda" then
    return shared.cuda_text(s.module, 0)
  end
  local text = ffi.new("const char *[1]")
  check(compiler.pg_llvm_text(text, s.code, what))
  return ffi.string(text[0])
end

--- k:specializations(): for which types of arguments the kernel has been compiled: a list of {arguments = {"float64[:]",
--- "number"}, results = {"float64"}, compile_time = seconds}.
function kernel_methods:specializations()
  local list = {}
  for i, s in ipairs(state_of(self).specialisations) do
    local arguments, returned = {}, {}
    for j, key in ipairs(s.keys) do
      arguments[j] = describe_key(key)
    end
    for j, kind in ipairs(s.results) do
      returned[j] = result_names[kind]
    end
    list[i] = { arguments = arguments, results = returned, compile_time = compiler.pg_llvm_seconds(s.code),
      cached = compiler.pg_llvm_cached(s.code) ~= 0 }
  end
  return list
end

-- -------------------------------------------------------------------------------------------------- conversions -----
-- What kernels know by these names, for the same function run as plain Lua.
local float_t = ffi.typeof("float[1]")
local rounded = float_t()

local function need_number(name, x)
  if type(x) ~= "number" then
    fail("%s: a number is expected, got %s", name, kind_of(x))
  end
  return x
end

--- kernel.float32(x): x rounded to float32. In a kernel, arithmetic with it stays in float32.
function kernel.float32(x)
  rounded[0] = need_number("float32", x)
  return rounded[0]
end

--- kernel.float64(x): x. In a kernel, what float32 becomes for arithmetic in float64.
function kernel.float64(x)
  return need_number("float64", x)
end

--- kernel.int64(x): x without its fraction (towards zero). In a kernel, an int64.
function kernel.int64(x)
  need_number("int64", x)
  return x < 0 and builtin_math.ceil(x) or builtin_math.floor(x)
end

--- kernel.complex(re, im): the complex number re + im i.
function kernel.complex(re, im)
  return complex_t(need_number("complex", re), need_number("complex", im))
end

for _, name in ipairs { "float32", "float64", "int64", "complex" } do
  known[kernel[name]] = "kernel." .. name
end

kernel._methods = kernel_methods

shared = {
  cuda_text = cuda_text, kernel = kernel, kernel_mt = kernel_mt, source_of = source_of, describe_source = describe_source, rebuild_source = rebuild_source, raise_source = raise_source, key_of = key_of, describe_key = describe_key,
  contiguous = contiguous, need_compiler = need_compiler, states = states, make_state = make_state, state_of = state_of, compiled = compiled, raise_failure = raise_failure, failure = failure,
  results = results, results_i64 = results_i64, results_i32 = results_i32, texts = texts, known = known,
  meaning = meaning, frozen_upvalues = frozen_upvalues, upvalues_of = upvalues_of, text_of = text_of,
  complex_t = complex_t, int64_t = int64_t, array_t = array_t, row_t = row_t, result_names = result_names,
}
core.part("kernel_forms", shared)
kernel._kit = shared -- for engine/gpu

local words -- kernel_report.lua, loaded when first asked
local function reporter()
  words = words or core.part("kernel_report", shared)
  return words
end
shared.form_methods[#shared.form_methods + 1] = kernel_methods
for _, methods in ipairs(shared.form_methods) do
  function methods:report(number)
    return reporter().report(self, number)
  end
  function methods:annotate(options)
    return reporter().annotate(self, options)
  end
end

return kernel
