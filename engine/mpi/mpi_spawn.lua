-- Part of perigee.mpi: a function on ranks of a job of its own.
local core, kit = ...
local mpi = kit.mpi
local array = core.require "array"
local kind_of, is_integer = array._kit.kind_of, array._kit.is_integer
local fail = core.fail
local type, pcall, error, tostring, io, rawget, getmetatable, ipairs, pairs = type, pcall, error, tostring, io, rawget,
  getmetatable, ipairs, pairs
local funck = require("jit.util").funck
local format, gsub = string.format, string.gsub

local natives -- functions of spawn.cpp

local function load_natives()
  if not natives then
    core.require "parallel" -- what values travel by
    natives = package.loadlib(core.ffi.string(kit.library.pg_mpi_path()), "pg_mpi_spawn_functions")()
  end
end

local function checked(value, reason)
  if not value then
    fail("mpi.spawn: %s", reason)
  end
  return value
end

-- The job's exit code; what waits is told of Ctrl-C between two looks.
local function ended(pid)
  while true do
    local code = natives.wait(pid)
    if code then
      return code
    end
  end
end

local function read_text(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- At the prompt, variables are fields of an environment of the prompt's own. Those that a function names (among its string
-- constants, and those of the functions inside it) go along with it, and are globals of the ranks.
local function gather(fn, env, globals, functions)
  if debug.getfenv(fn) ~= env then
    return
  end
  functions[#functions + 1] = fn
  local function scan(prototype)
    for i = 1, math.huge do
      local constant = funck(prototype, -i)
      if constant == nil then
        break
      elseif type(constant) == "proto" then
        scan(constant)
      elseif type(constant) == "string" and globals[constant] == nil then
        local value = rawget(env, constant)
        globals[constant] = value
        if type(value) == "function" then
          gather(value, env, globals, functions)
        end
      end
    end
  end
  scan(fn)
end

local function write(call, fn, ...)
  local env, globals, functions = debug.getfenv(fn), {}, {}
  local meta = env ~= core.env and getmetatable(env)
  if meta and meta.__index == core.env then
    gather(fn, env, globals, functions)
  end
  for _, f in ipairs(functions) do
    debug.setfenv(f, core.env)
  end
  local ran, ok, reason = pcall(natives.write, call, fn, globals, ...)
  for _, f in ipairs(functions) do
    debug.setfenv(f, env)
  end
  if not ran then
    error(ok, 0)
  end
  checked(ok, reason)
end

local function run(folder, n, fn, ...)
  local call = folder .. "/call"
  write(call, fn, ...)
  local words = { checked(natives.program()), "mpirun", "-n", tostring(n), "--call", "--script-root",
    core.script_root or "." }
  if core.trusted then
    words[#words + 1] = "--trusted"
  end
  words[#words + 1] = call
  local pid = checked(natives.start(words))
  local waited, code = pcall(ended, pid)
  if not waited then
    natives.stop(pid)
    error(code, 0)
  end
  if code ~= 0 then
    local text = gsub(read_text(folder .. "/messages"), "%s+$", "")
    fail("mpi.spawn: %s", text ~= "" and text or format("the ranks ended with exit code %d", code))
  end
  local results = {}
  for rank = 0, n - 1 do
    local path = format("%s/result.%d", folder, rank)
    local read, value = natives.read(path)
    if not read then
      fail("mpi.spawn: rank %d has ended before the function returned", rank)
    end
    results[rank + 1] = value
  end
  return results
end

--- mpi.spawn(n, fn, ...) -> the results of fn(...) on n new ranks, that of rank 0 first.
function mpi.spawn(n, fn, ...)
  if not is_integer(n) or n < 1 or n > 4096 then
    fail("mpi.spawn: the number of ranks must be an integer from 1 to 4096, got %s", kind_of(n))
  elseif type(fn) ~= "function" then
    fail("mpi.spawn: a function is expected, got %s", kind_of(fn))
  end
  load_natives()
  local folder = checked(natives.folder())
  local ok, results = pcall(run, folder, n, fn, ...)
  natives.remove(folder)
  if not ok then
    error(results, 0)
  end
  return results
end

--- On a rank of such a job: calls what the file says, and leaves the result beside it.
function mpi._called(path)
  load_natives()
  local function call(ok, fn, globals, ...)
    checked(ok, fn)
    for name, value in pairs(globals) do
      core.set_global(name, value)
    end
    return (fn(...))
  end
  local result = call(natives.read(path))
  local ok, reason = natives.write(format("%s/result.%d", path:match("^(.*)/"), mpi.world.rank), result)
  if not ok then
    fail("mpi.spawn: the result on rank %d: %s", mpi.world.rank, reason)
  end
end
