-- The core: what every engine module and every script stands on. C++ (vm.cpp) runs this chunk once a state with `boot`
-- and keeps the table it returns. Scripts see an environment made here; engine modules run with the full one.
local boot = ...
local ffi = require "ffi"
local jit = jit
local getinfo, find, match, format, gsub, sub = debug.getinfo, string.find, string.match, string.format, string.gsub,
  string.sub
local concat, sort = table.concat, table.sort
local error, tostring, type, select, pairs, ipairs, pcall, rawset = error, tostring, type, select, pairs, ipairs,
  pcall, rawset

local load, lua_load = boot.load, load

local C = boot.library ~= "" and ffi.load(boot.library) or ffi.C

local declared = {}

local core -- below

-- Enumerators are left out: names are strings, which every collection goes through, and Lua writes their values.
local function cdef(header)
  ffi.cdef((gsub(header, "enum [%w_]+ {.-};", "")))
  if core and core.checked then
    core.checked.declare(header)
  end
end

-- Declares the C functions and structs of a module, but those of its parts (<module>_<part>_abi.h). A module's own are
-- there when it is loaded, and those of arrays, which the others use; what it calls of a third it declares.
local function declare(module)
  if not declared[module] then
    declared[module] = true
    if module ~= "core" and module ~= "timer" then
      declare("array")
    end
    for _, header in ipairs(boot.headers(module)) do
      cdef(header)
    end
  end
end
declare("core")
declare("timer") -- small, and many ask for the time

core = { C = C, ffi = ffi, trusted = boot.trusted, declare = declare, dump = string.dump, source = boot.source,
  natives = { array = boot.array, io = boot.io, parallel = boot.parallel, profiler = boot.profiler },
  read_script = boot.read_script, write = boot.write, script_root = boot.script_root }

-- ---------------------------------------------------------------------------------------------------------- JIT ------
-- LuaJIT's defaults (512 KiB of machine code, 1000 traces) are exhausted by one lesson with several variants.
jit.opt.start("maxtrace=8000", "maxrecord=16000", "maxsnap=2000", "maxmcode=65536", "sizemcode=128")
if boot.jit_off or boot.checked or boot.gil then
  jit.off()
end

-- ------------------------------------------------------------------------------------------------------- errors ------
-- Engine chunks are named "@perigee:<module>", so that errors can be placed at the learner's own line.
local function is_engine(info)
  return info.what == "C" or find(info.source, "^@perigee:") ~= nil
end

--- File and line of the innermost frame that is not the engine's, nil where there is none; `thread`: of another coroutine.
function core.caller(thread)
  for level = thread and 0 or 2, 200 do
    local info
    if thread then
      info = getinfo(thread, level, "Sl")
    else
      info = getinfo(level, "Sl")
    end
    if not info then
      return nil
    end
    if not is_engine(info) and info.currentline > 0 then
      return info.short_src, info.currentline
    end
  end
end
local caller = core.caller

-- "file:line: " of the learner's own line; "" where there is none, unless a module knows one (core.place).
local function position()
  local file, line = caller()
  if not file and core.place then
    file, line = core.place()
  end
  return file and format("%s:%d: ", file, line) or ""
end
core.position = position

local function raise(prefix, message, ...)
  if select("#", ...) > 0 then
    message = format(message, ...)
  end
  error(position() .. prefix .. message, 0)
end

--- Raises an error of the kind "yours" at the learner's line: name the argument, the value and what is legal.
function core.fail(message, ...)
  raise("", message, ...)
end

--- Raises "not supported": what, and what to use instead.
function core.unsupported(message, ...)
  raise("not supported: ", message, ...)
end

local report = "internal error in Perigee (please report it with this message): "

--- Raises an error that is Perigee's own fault.
function core.internal(message, ...)
  raise(report, message, ...)
end

local kinds = { [2] = "not supported: ", [3] = report }

--- Raises the message of a failed ABI call at the learner's line; does nothing for status 0.
function core.check(status)
  if status ~= 0 then
    raise(kinds[tonumber(status)] or "", "%s", ffi.string(C.pg_last_message()))
  end
end

-- How many letters must be inserted, dropped, replaced or exchanged with a neighbour to make b of a; `limit` + 1 and more
-- are alike.
local function distance(a, b, limit)
  if math.abs(#a - #b) > limit then
    return limit + 1
  end
  local before, row, above = {}, {}, {}
  for j = 0, #b do
    above[j] = j
  end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local x, y = sub(a, i, i), sub(b, j, j)
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == sub(b, j - 1, j - 1) and sub(a, i - 1, i - 1) == y then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, above, row = above, row, before
  end
  return above[#b]
end

--- The key of one of these tables that is spelt most like `name`; nil if none is like it.
function core.nearest(name, ...)
  local limit = #name < 2 and 0 or #name < 6 and 1 or 2
  local nearest, least = nil, limit + 1
  for i = 1, select("#", ...) do
    for key in pairs((select(i, ...))) do
      if type(key) == "string" and sub(key, 1, 1) ~= "_" then
        local d = distance(name:lower(), key:lower(), limit)
        if d < least or (d == least and d <= limit and key < nearest) then
          nearest, least = key, d
        end
      end
    end
  end
  return nearest
end

--- "; did you mean 'zeros'?" for a name that is like a key of one of these tables, else "".
function core.did_you_mean(name, ...)
  local nearest = type(name) == "string" and core.nearest(name, ...)
  return nearest and format("; did you mean '%s'?", nearest) or ""
end

local function describe_frame(info)
  -- An error of the virtual machine itself, as in nil + 1, leaves no line in the frame that it ended.
  local where = info.currentline > 0 and format("%s:%d", info.short_src, info.currentline) or info.short_src
  if info.what == "main" then
    return where .. ": in the main chunk"
  elseif info.name then
    return format("%s: in function '%s'", where, info.name)
  end
  return format("%s: in the function defined at line %d", where, info.linedefined)
end

-- Lua frames without the engine's own, innermost first; long recursions are cut in the middle. `thread`: of another
-- coroutine, from its level 0 on.
local function traceback(level, thread)
  local lines = {}
  for i = thread and 0 or level, 1e6 do
    local info
    if thread then
      info = getinfo(thread, i, "Snl")
    else
      info = getinfo(i, "Snl")
    end
    if not info then
      break
    end
    if not is_engine(info) then
      lines[#lines + 1] = describe_frame(info)
    end
  end
  local count = #lines
  if count > 22 then
    local cut = {}
    for i = 1, 12 do
      cut[i] = lines[i]
    end
    cut[13] = format("... %d more frames ...", count - 20)
    for i = count - 7, count do
      cut[#cut + 1] = lines[i]
    end
    lines = cut
  end
  return concat(lines, "\n")
end

core.traceback = traceback

-- The frames that an error has come through in coroutines, other states or other processes, before it was raised again
-- here: error value -> function that gives their text. Only describe_error asks for it.
local carried, carried_count = {}, 0

--- Notes what an error value's traceback begins with: a function that gives its text. The last 64 are kept.
function core.carry_traceback(value, describe)
  if value == nil or value ~= value then -- no keys of a table
    return
  end
  if carried[value] == nil then
    carried_count = carried_count + 1
    if carried_count > 64 then
      carried, carried_count = {}, 1
    end
  end
  carried[value] = describe
end

local chunks = {} -- chunk name (without "@") -> text
core.chunks = chunks

-- "file:line: message" -> file, line, message. Only a file that was loaded counts as a position.
local function split_position(text)
  local file, line, message = match(text, "^([^\n]-):(%d+): (.*)$")
  if file and (chunks[file] or find(file, "^perigee:")) then
    return file, tonumber(line), message
  end
  return "", 0, text
end

local loaded_module -- below

--- What there is to say of an error: {file, line, message, traceback}.
function core.describe_error(value)
  local text
  if type(value) == "string" then
    text = value
  else
    local ok, shown = pcall(tostring, value)
    text = ok and type(shown) == "string" and shown or type(value)
    if type(value) == "table" and not (debug.getmetatable(value) or {}).__tostring then
      text = "the script raised a table as an error; raise a string, as in error(\"what went wrong\")"
    end
  end
  -- math.sqrt(a)
  text = gsub(text, "'?([%w_]*)'? %(number expected, got cdata%)$", function(name)
    local array = loaded_module("array")
    return format("'%s' (number expected, got an array or another value of Perigee%s)", name,
      array and rawget(array, name) and format("; array.%s takes arrays", name) or "")
  end)
  local file, line, message = split_position(text)
  if find(file, "^perigee:") then -- a Lua error inside an engine module: ours, but show where it was called
    message = format("%s%s:%d: %s", report, file, line, message)
    file, line = split_position(position() .. "x")
  end
  local frames = traceback(2)
  local before = carried[value]
  if before then
    frames = before() .. (frames ~= "" and "\n" .. frames or "")
  end
  return { file = file, line = line, message = message, traceback = frames }
end

--- Message handler of every call into Lua from C++. core.failed: there was one, so that the script has failed.
function core.on_error(value)
  core.failed = true
  local described = core.describe_error(value)
  return described
end

-- ------------------------------------------------------------------------------------------------------- memory ------
--- A full garbage collection: what to call when memory is exhausted. At its end it runs the finalisers of cdata, which
--- release the arrays' memory.
function core.collect()
  collectgarbage()
  C.pg_memory_collected(collectgarbage("count") * 1024)
end

local reclaim = boot.array.reclaim or function() return false end

--- What to call when an allocation returned its collect flag: lets go of arrays that nothing refers to. If that is too
--- little, the rest is referred to by garbage: completes one cycle of the collector. (What died after a cycle in progress
--- began is left to the next; a full collection sweeps twice, which takes half as much again.)
function core.collect_cycle()
  if not reclaim() then
    collectgarbage("step", 1e6)
    C.pg_memory_collected(collectgarbage("count") * 1024)
  end
end

-- ------------------------------------------------------------------------------------------------------ loading ------
-- Loads text (never bytecode) under a unique chunk name, which is how functions are found again for compilation.
local function load_text(text, name, env)
  local unique, copy = name, 1
  while chunks[unique] and chunks[unique] ~= text do
    copy = copy + 1
    unique = format("%s (%d)", name, copy)
  end
  local chunk, syntax = load(text, "@" .. unique, "t", env)
  if chunk then
    chunks[unique] = text
  end
  return chunk, syntax
end
core.load_text = load_text

-- ------------------------------------------------------------------------------------------------------ modules ------
local loaded = {}  -- name -> module table
core.loaded = loaded
local reasons = {} -- name -> why it is not available
-- For hints; others that are built in work as well.
local module_names = { array = true, async = true, bench = true, collections = true, fft = true, gpu = true, io = true,
  kernel = true, linalg = true, log = true, mpi = true, parallel = true, plot = true, profiler = true, random = true,
  tasks = true, timer = true }

function loaded_module(name)
  return loaded[name]
end

-- A misspelt function is named at once, instead of as "a nil value" that is called. A module may have hints of its own:
-- module._missing(key) gives what follows. module._optional names fields that may be nil. module._find(module, key) loads
-- what has not been needed before.
local function name_what_is_missing(name, module)
  if getmetatable(module) then
    return
  end
  setmetatable(module, { __index = function(_, key)
    local optional = rawget(module, "_optional")
    if type(key) ~= "string" or sub(key, 1, 1) == "_" or (optional and optional[key]) then
      return nil
    end
    local find = rawget(module, "_find")
    local found = find and find(module, key)
    if found ~= nil then
      return found
    end
    local missing = rawget(module, "_missing")
    core.fail("perigee.%s has no function '%s'%s", name, key,
      missing and missing(key) or core.did_you_mean(key, module))
  end })
end

local function load_plugin(name)
  local path, missing = boot.find_plugin(name)
  if not path then
    return nil, missing
  end
  local ok, library = pcall(ffi.load, path)
  if not ok then
    return nil, format("module '%s' cannot be loaded: %s", name, library)
  end
  local symbol = "pg_" .. name .. "_plugin"
  local declared, wrong = pcall(ffi.cdef, format("const struct pg_plugin *%s(void);", symbol))
  if not declared then
    return nil, wrong
  end
  local found, plugin = pcall(function() return library[symbol]() end)
  if not found or plugin == nil then
    return nil, format("%s is not a Perigee plugin: it lacks %s", path, symbol)
  end
  if plugin.abi ~= 1 then
    return nil, format("%s was built for another version of Perigee (ABI %d, this is 1)", path, plugin.abi)
  end
  if plugin.unavailable ~= nil then
    local reason = plugin.unavailable()
    if reason ~= nil then
      return nil, ffi.string(reason)
    end
  end
  ffi.cdef(ffi.string(plugin.cdef))
  if core.checked then
    core.checked.declare(ffi.string(plugin.cdef))
    library = core.checked.watch(library)
  end
  return ffi.string(plugin.lua), nil, library
end

-- The module's table, or nil and the reason.
local function try_module(name)
  if loaded[name] then
    return loaded[name]
  elseif reasons[name] then
    return nil, reasons[name]
  end
  local text, folder = boot.source(name .. ".lua")
  local reason, library
  if text and name ~= "core" then
    declare(folder)
  else
    declare("array")
    text, reason, library = load_plugin(name)
    if not text then
      reasons[name] = reason
      return nil, reason
    end
  end
  local chunk, syntax = load(text, "@perigee:" .. name, "t")
  if not chunk then
    core.internal("module '%s' does not load: %s", name, syntax)
  end
  local module = chunk(core, library)
  name_what_is_missing(name, module)
  loaded[name] = module
  return module
end

--- core.class(metatable, "module.name"): tables with this metatable travel between Lua states, as their fields.
core.classes = {}
function core.class(metatable, name)
  core.classes[metatable], core.classes[name] = name, metatable
end

--- An engine module by name, for engine modules.
function core.require(name)
  local module, reason = try_module(name)
  return module or core.unsupported("%s", reason)
end

--- The same, but nil and the reason where it is not available.
core.optional = try_module

--- Runs a part of a module, engine/<m>/<m>_<part>.lua: a chunk that gets the core and `kit`, the module's shared locals.
--- Its name holds an underscore, which no module's does, so that scripts cannot require it.
function core.part(name, kit)
  local text, header = boot.source(name .. ".lua"), boot.source(name .. "_abi.h")
  if header then
    cdef(header)
  end
  local chunk, syntax = load(text or "", "@perigee:" .. name, "t")
  if not text or not chunk then
    core.internal("part '%s' does not load: %s", name, syntax or "it is not embedded")
  end
  return (chunk(core, kit))
end

if boot.checked then -- before any other module: they take core.C
  core.headers, core.natives.races = boot.headers, boot.checked
  core.part("parallel_checked")
end
if boot.gil then
  core.part("parallel_gil")
end

-- What scripts may require: nil for everything, else the exercise's list.
local allowed
if boot.modules then
  allowed = {}
  for name in string.gmatch(boot.modules, "%S+") do
    allowed[name] = true
  end
end

local function list(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  sort(names)
  return #names > 0 and concat(names, ", ") or "none"
end

local function script_module(name)
  if allowed and not allowed[name] then
    core.fail("module 'perigee.%s' is not allowed here; allowed: %s", name, list(allowed))
  end
  local module, reason = try_module(name)
  if not module then
    core.unsupported("%s%s", reason, module_names[name] and "" or core.did_you_mean(name, module_names))
  end
  return module
end

-- ---------------------------------------------------------------------------------------- the module `perigee` ------
local pg = {}
core.perigee = pg

pg.version = boot.version

--- pg.available(name): true when module `name` works here, else false and the reason. Errors: none.
function pg.available(name)
  if type(name) ~= "string" then
    core.fail("available: a module's name is expected, got %s", type(name))
  elseif not match(name, "^%a%w*$") then
    return false, format("there is no module 'perigee.%s'", name)
  end
  if allowed and not allowed[name] then
    return false, format("module 'perigee.%s' is not allowed here; allowed: %s", name, list(allowed))
  end
  local module, reason = try_module(name)
  if module then
    return true
  end
  return false, reason
end

--- pg.threads([n]): how many threads array operations, linear algebra and other parallel work of this process may use;
--- with n, sets it (1 to 1024). At the start it is what PERIGEE_NUM_THREADS says, else OMP_NUM_THREADS, else the number of
--- processors this process may run on (less where a container's limit gives it the time of fewer). Results do not depend
--- on it.
function pg.threads(n)
  if n ~= nil then
    if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > 1024 then
      core.fail("threads: a number of threads from 1 to 1024 is expected, got %s", tostring(n))
    end
    C.pg_threads_set(n)
  end
  return C.pg_threads_get()
end

--- pg.jit([mode [, fn]]): without arguments "on" or "off"; mode "on" or "off" switches the compiler for the whole script
--- or, with a function, for that function and those inside it. Code that was compiled is dropped.
function pg.jit(mode, fn)
  if mode == nil then
    return jit.status() and "on" or "off"
  end
  if mode ~= "on" and mode ~= "off" then
    core.fail('jit: "on" or "off" expected, got %s', type(mode) == "string" and format("%q", mode) or type(mode))
  end
  if fn == nil then
    jit[mode]()
    jit.flush()
  elseif type(fn) == "function" then
    jit[mode](fn, true)
    jit.flush(fn, true)
  else
    core.fail("jit: the second argument must be a function, got %s", type(fn))
  end
end

setmetatable(pg, {
  __index = function(_, name)
    if type(name) ~= "string" or not match(name, "^%a%w*$") then
      return nil
    end
    local module = script_module(name)
    rawset(pg, name, module)
    return module
  end,
})
core.pg = pg

-- ------------------------------------------------------------------------------------------ what scripts see ---------
local write = boot.write

local function print_values(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = tostring((select(i, ...)))
  end
  write(concat(parts, "\t") .. "\n")
end

local env

local function not_a_name(name)
  return type(name) == "string" and format("'%s'", name) or tostring(name)
end

if boot.trusted then
  env = _G
  _G.print = print_values
  -- Text that a script loads is kept like its own, so that its functions can be found again.
  function _G.load(text, name, mode, chunk_env)
    if type(text) ~= "string" or sub(text, 1, 1) == "\27" or (mode ~= nil and not find(mode, "t", 1, true)) then
      return lua_load(text, name, mode, chunk_env or env)
    end
    return load_text(text, name and gsub(tostring(name), "^[=@]", "") or "=(load)", chunk_env or env)
  end
  _G.loadstring = _G.load
  table.insert(package.loaders, 2, function(name)
    if name == "perigee" then
      return function() return pg end
    end
    local module = match(name, "^perigee%.(%w+)$")
    return module and function() return script_module(module) end or nil
  end)
  if boot.script_root then
    package.path = boot.script_root .. "/?.lua;" .. package.path
  end
else
  -- The allow-list. Copies: what a script does to its tables is its own affair; the process is the boundary.
  local function copy(from, names)
    local to = {}
    for name in string.gmatch(names, "%S+") do
      to[name] = from[name]
    end
    return to
  end
  env = copy(_G, "assert error ipairs next pairs pcall rawequal rawget rawset select tonumber tostring type unpack " ..
    "xpcall setmetatable getmetatable collectgarbage _VERSION")
  env.coroutine = copy(coroutine, "create isyieldable resume running status wrap yield")
  env.string = copy(string, "byte char find format gmatch gsub len lower match rep reverse sub upper")
  env.table = copy(table, "concat insert maxn remove sort")
  env.math = copy(math, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min " ..
    "modf pi pow rad random randomseed sin sinh sqrt tan tanh")
  env.bit = copy(bit, "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex")
  -- io and os are there in part. What else Lua has in them fails with its name, and not as "a nil value".
  local function partly(from, to, name)
    return setmetatable(to, { __index = function(_, key)
      if rawget(from, key) ~= nil then
        core.fail("'%s.%s' is not defined here (scripts run without it; `perigee run --trusted` has it)", name, key)
      end
    end, __metatable = false })
  end
  env.os = partly(os, copy(os, "clock date difftime time"), "os")
  env.io = partly(io, {
    write = function(...)
      for i = 1, select("#", ...) do
        local value = select(i, ...)
        if type(value) ~= "string" and type(value) ~= "number" then
          core.fail("io.write: argument %d must be a string or a number, got %s", i, type(value))
        end
        write(tostring(value))
      end
    end,
  }, "io")
  env.print = print_values
  env._G = env
  string.dump = nil -- reachable through ("").dump otherwise; engine modules have core.dump
  getmetatable("").__index = env.string
  getmetatable("").__metatable = false

  -- Text only: no bytecode from scripts.
  function env.load(text, name, mode, chunk_env)
    if type(text) == "function" then
      local parts = {}
      for part in text do
        if type(part) ~= "string" or part == "" then
          break
        end
        parts[#parts + 1] = part
      end
      text = concat(parts)
    end
    if type(text) ~= "string" then
      core.fail("load: text expected, got %s", type(text))
    elseif mode ~= nil and not find(mode, "t", 1, true) then
      core.unsupported("load: only text can be loaded; pass \"t\"")
    elseif sub(text, 1, 1) == "\27" then
      return nil, "bytecode cannot be loaded, only text"
    end
    return load_text(text, name and gsub(tostring(name), "^[=@]", "") or "=(load)", chunk_env or env)
  end
  env.loadstring = env.load

  local own = {} -- a script's own modules
  function env.require(name)
    if type(name) ~= "string" then
      core.fail("require: a module's name is expected, got %s", type(name))
    end
    if name == "perigee" then
      return pg
    end
    local module = match(name, "^perigee%.(%w+)$")
    if module then
      return script_module(module)
    end
    if name == "ffi" and allowed and allowed.ffi then -- an exercise about the FFI itself says so
      return ffi
    end
    if own[name] == nil then
      if not boot.script_root then
        core.fail("require: module %s is not available here; use require \"perigee\" and its modules", not_a_name(name))
      end
      if not match(name, "^[%w_][%w_%-]*[%w_%.%-]*$") or find(name, "..", 1, true) then
        core.fail("require: %s is not a module name", not_a_name(name))
      end
      local path = boot.script_root .. "/" .. gsub(name, "%.", "/") .. ".lua"
      local text, reason = boot.read_script(path)
      if not text then
        core.fail("require: %s", reason)
      end
      local chunk, syntax = load_text(text, path, env)
      if not chunk then
        error(syntax, 0)
      end
      local result = chunk(name)
      own[name] = result == nil and true or result
    end
    return own[name]
  end

  setmetatable(env, {
    __newindex = function(_, name)
      core.fail("global %s cannot be assigned: write local %s", not_a_name(name), tostring(name))
    end,
    __index = function(_, name)
      core.fail("%s is not defined%s", not_a_name(name),
        (name == "io" or name == "os" or name == "debug" or name == "ffi" or name == "package" or name == "dofile")
          and " here (scripts run without it; `perigee run --trusted` has it)" or
          module_names[name] and format("; write local %s = require \"perigee.%s\"", name, name) or
          name == "perigee" and "; write local pg = require \"perigee\"" or
          core.did_you_mean(name, env))
    end,
    __metatable = false,
  })
end

core.env = env

--- For hosts: defines a script global.
function core.set_global(name, value)
  rawset(env, name, value)
end

function core.get_global(name)
  return rawget(env, name)
end

-- "file:line: message" of a chunk that does not parse -> nil, message, file, line
local function syntax_error(text)
  local file, line, message = match(text, "^([^\n]-):(%d+): (.*)$")
  return nil, message or text, file or "", tonumber(line or 0)
end

--- Loads script text with the script environment; returns the function, or nil, the message, file and line.
function core.load_script(text, name)
  local chunk, syntax = load_text(text, name, env)
  if not chunk then
    return syntax_error(syntax)
  end
  return chunk
end

-- A submission is a chunk that returns a table of functions; `entry` is the one that is called. Returns the table, or
-- nil, the message, file and line where the text does not parse.
function core.load_submission(text, name, entry)
  local chunk, syntax = load_text(text, name, env)
  if not chunk then
    return syntax_error(syntax)
  end
  local module = chunk()
  local cure = format("end it with: return { %s = %s }", entry, entry)
  local function refuse(message, ...)
    error(format("%s:0: %s; %s", name, format(message, ...), cure), 0)
  end
  if module == nil then
    refuse("the script returns nothing")
  elseif type(module) ~= "table" then
    refuse("the script returns a %s", type(module))
  elseif module[entry] == nil then
    local others = {}
    for key, value in pairs(module) do
      if type(key) == "string" and type(value) == "function" then
        others[#others + 1] = key
      end
    end
    sort(others)
    refuse("the table that the script returns has no function '%s'%s", entry,
      #others > 0 and " (it has: " .. concat(others, ", ") .. ")" or "")
  elseif type(module[entry]) ~= "function" then
    refuse("'%s' in the table that the script returns is a %s, not a function", entry, type(module[entry]))
  end
  return module
end

-- Arrays that cross the border to C++ (vm.cpp): a struct's address to an owning array, and back.
function core.push_array(address)
  return core.require("array")._adopt(address)
end

function core.array_address(value)
  local address, keep = core.require("array")._address(value)
  return address, keep or value
end

return core
