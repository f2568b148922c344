-- What messages between states need of Lua (transport_lua.cpp): what values are, and the names of those that every state has.
local core, kit = ...
local ffi, natives = core.ffi, core.natives.parallel
local fail = core.fail
local type, pairs, ipairs, rawget = type, pairs, ipairs, rawget
local getmetatable, setmetatable, istype = debug.getmetatable, setmetatable, ffi.istype
local format, match, gsub, find = string.format, string.match, string.gsub, string.find
local array = core.require("array")

-- Numbers that compiled loops write and read: a list of them travels as a copy of memory.
local numbers_t = ffi.typeof("struct { int64_t count; double values[?]; }")
local array_t, row_t, int64_t, uint64_t, complex_t = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("int64_t"),
  ffi.typeof("uint64_t"), ffi.typeof("double _Complex")
kit.numbers_t = numbers_t

-- Library tables, and what is in them, which every state has: by name.
local library_names = { "string", "table", "math", "coroutine", "bit", "os", "io", "debug", "jit" }
local names, libraries -- value -> name; list of tables

local function know_libraries()
  names, libraries = {}, {}
  local env = core.env
  for name, value in pairs(env) do
    if type(value) == "function" then
      local info = debug.getinfo(value, "S")
      if info.what == "C" or find(info.source, "^@perigee:") then
        names[value] = name
      end
    end
  end
  for _, name in ipairs(library_names) do
    local library = rawget(env, name)
    if type(library) == "table" then
      names[library] = name
      libraries[#libraries + 1] = library
      for key, value in pairs(library) do
        if type(value) == "function" and type(key) == "string" then
          names[value] = name .. "." .. key
        end
      end
    end
  end
  names[ffi] = "ffi"
  libraries[#libraries + 1] = ffi
end

-- The name of a module, or of a function of a library or module; nil and what it is where it has none.
local function name_of(value)
  if not names then
    know_libraries()
  end
  local name = names[value]
  if name then
    return name
  elseif value == core.pg then
    return "perigee"
  end
  for module_name, module in pairs(core.loaded) do
    if value == module then
      return "perigee." .. module_name
    elseif type(value) == "function" then
      for key, member in pairs(module) do
        if member == value and type(key) == "string" then
          return "perigee." .. module_name .. "." .. key
        end
      end
    end
  end
  for key, member in pairs(core.pg) do
    if member == value then
      return "perigee." .. key
    end
  end
  return nil, type(value) == "function" and "a function inside Perigee" or "a table with a metatable"
end

local function resolve(name)
  if name == "ffi" then
    return ffi
  end
  local at, path = core.env, name
  if find(name, "^perigee") then
    local module, member = match(name, "^perigee%.(%w+)%.?(.*)$")
    if not module then
      return core.pg
    end
    local own = rawget(core.pg, module)
    if type(own) == "function" then
      return own
    end
    at, path = core.require(module), member
  end
  for key in string.gmatch(path, "[^.]+") do
    local find_more = rawget(at, "_find") -- a module whose parts load when they are used
    at = rawget(at, key) or (find_more and find_more(at, key))
    if at == nil then
      core.internal("a worker has no '%s'", name)
    end
  end
  return at
end

-- enum Cdata of transport_lua.cpp; of a table with a metatable the name of its class, false: a module, nil: neither.
local function kind(value)
  if type(value) == "table" then
    local class = core.classes[getmetatable(value)]
    if class then
      return class
    elseif value == core.pg or value == rawget(core.env, "os") or value == rawget(core.env, "io") then
      return false
    end
    for _, module in pairs(core.loaded) do
      if module == value then
        return false
      end
    end
    return nil
  end
  return istype(array_t, value) and 1 or istype(row_t, value) and 2 or kit.is_shared(value) and 3 or
    istype(int64_t, value) and 4 or istype(uint64_t, value) and 5 or istype(complex_t, value) and 6 or
    istype(numbers_t, value) and 7 or 0
end

local function bless(value, class)
  if not core.classes[class] then
    core.require(match(class, "^[^.]*"))
  end
  setmetatable(value, core.classes[class])
end

local function new_cdata(which, count)
  if which == 7 then
    local numbers = numbers_t(count)
    numbers.count = count
    return numbers
  end
  return which == 4 and int64_t(0) or which == 5 and uint64_t(0) or complex_t(0, 0)
end

natives.connect {
  kind_of = kind, name_of = name_of, resolve = resolve, bless = bless, new_cdata = new_cdata, env = core.env,
  adopt_array = array._adopt, array_address = array._address, adopt_shared = kit.adopt_shared,
  libraries = function()
    if not libraries then
      know_libraries()
    end
    return libraries
  end,
  add_chunk = function(name, text)
    if not core.chunks[name] then
      core.chunks[name] = text
    end
  end,
  chunk_text = function(name) return core.chunks[name] end,
}

-- "upvalue 'log' (userdata)" -> the error that says so, at the learner's line.
local function refuse(what, reason, names_of_values, culprit, offset)
  if not culprit then -- no value's fault
    fail("%s: %s", what, reason)
  end
  local own = names_of_values[culprit] or format("argument %d", culprit - 1)
  if offset then -- an item of a list that was sent in pieces
    reason = gsub(reason, "\1%[(%d+)%]", function(i) return format("\1[%d]", i + offset) end)
  end
  reason = gsub(reason, " of \1", own == "the function" and "" or (" of " .. gsub(own, "%%", "%%%%")))
  reason = gsub(reason, "\1", (gsub(own, "%%", "%%%%")))
  fail("%s: %s cannot be sent to a worker%s", what, reason,
    find(reason, "upvalue '", 1, true) and "; require or make it inside the function" or "")
end
kit.refuse = refuse
