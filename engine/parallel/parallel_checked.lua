-- The states of workers in pool{check = "races"}: all that touches elements of arrays tells the race detector (races.hpp).
-- Runs before any other module. Element access is told by wrappers around the metamethods of arrays; operations by
-- wrappers around the C functions, whose declarations say what they read (const) and write.
local core = ...
core.declare "array"
local ffi, plain, races = core.ffi, core.C, core.natives.races
local debug, ipairs, pairs, rawset, select, setmetatable, tonumber, tostring, type, unpack = debug, ipairs, pairs, rawset,
  select, setmetatable, tonumber, tostring, type, unpack
local find, format, gmatch, gsub, match = string.find, string.format, string.gmatch, string.gsub, string.match
local istype, cast = ffi.istype, ffi.cast

local READ, WRITE, ATOMIC = 0, 1, 2 -- races.hpp: Access
local array_t, row_t, array_p, address_t = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("pg_array *"),
  ffi.typeof("uintptr_t")

-- ---------------------------------------------------------------------------------------------- what is it about -----
local paths = {} -- address of a row's data -> how the row was indexed, "[2]"

-- The name of a variable of the script, in scope where it runs, that holds an array of this block.
local function variable(block)
  for level = 2, 60 do
    local info = debug.getinfo(level, "Sf")
    if not info then
      return nil
    elseif info.what ~= "C" and not find(info.source, "^@perigee:") then
      local function is(value)
        return (istype(array_t, value) or istype(row_t, value)) and value._block == block
      end
      for i = 1, 250 do
        local name, value = debug.getlocal(level, i)
        if not name then
          break
        elseif is(value) and not find(name, "^%(") then
          return name
        end
      end
      for i = 1, 250 do
        local name, value = debug.getupvalue(info.func, i)
        if not name then
          break
        elseif is(value) then
          return name
        end
      end
      return nil
    end
  end
end

local function tell(a, index)
  local name = variable(a._block)
  if istype(row_t, a) then
    index = (paths[tonumber(cast(address_t, a._data))] or "[?]") .. index
  end
  local array = name and "'" .. name .. "'" or "an array"
  races.name(index ~= "" and format("element %s of %s", index, array) or
    format("an element of %s", array))
end

local function touch(a, offset, kind, index)
  if races.touch(cast("void *", a._data), a._dtype, tonumber(offset), kind) then
    tell(a, index)
  end
end

local function touch_all(a, kind)
  if races.touch_all(cast(array_p, a), kind) then
    tell(a, "")
  end
end

-- ------------------------------------------------------------------------------------------------------ C functions --
-- Those that look at no element, or at none that is the script's.
local looks_at_none = {}
for name in gmatch("share from_row release base shares_memory adopt", "%S+") do
  looks_at_none["pg_array_" .. name] = true
end
looks_at_none.pg_owners_take, looks_at_none.pg_owners_forget, looks_at_none.pg_owners_stretch = true, true, true
-- Those that write into what is const for C++ alone: the descriptor does not change.
local writes_first = { pg_array_assign = true, pg_array_mask_set = true, pg_array_index_set = true, pg_array_sort = true,
  pg_array_partition = true }
local writes_second = { pg_random_shuffle = true }

local parameters = {} -- function -> {place of a pg_array parameter -> READ or WRITE}; only of those that have one

-- Notes the functions of a header.
local function declare(header)
  header = gsub(header, "/%*.-%*/", "")
  for name, list in gmatch(header, "[%s*](pg_[%w_]+)(%b())%s*;") do
    local kinds, place, any = {}, 0, false
    for parameter in gmatch(list:sub(2, -2) .. ",", "([^,]*),") do
      place = place + 1
      if find(parameter, "pg_array%s*%*%s*[%w_]*%s*$") then
        kinds[place] = (not find(parameter, "const") or (place == 1 and writes_first[name]) or
          (place == 2 and writes_second[name])) and WRITE or READ
        any = true
      end
    end
    if any and not looks_at_none[name] then
      parameters[name] = kinds
    end
  end
end

local function wrap(f, kinds)
  return function(...)
    for place, kind in pairs(kinds) do
      local a = (select(place, ...))
      if istype(array_t, a) and cast(array_p, a)._block ~= nil then -- an empty one is a result to come
        touch_all(a, kind)
      end
    end
    return f(...)
  end
end

--- A library whose functions tell what they touch.
local function watch(library)
  return setmetatable({}, { __index = function(self, name)
    local f = library[name]
    local kinds = parameters[name]
    if kinds then
      f = wrap(f, kinds)
      rawset(self, name, f)
    elseif type(f) == "cdata" and find(tostring(ffi.typeof(f)), "%(") then -- else it is a variable's value
      rawset(self, name, f)
    end
    return f
  end })
end

-- ------------------------------------------------------------------------------------------------- element access ----
local checked = { watch = watch, declare = declare, atomic = function(a, offset)
  touch(a, offset, ATOMIC, "")
end }

local function counted(k, n)
  return k < 0 and k + n + 1 or k
end

--- Wrappers around the metamethods of arrays and rows, and around methods that read elements themselves.
function checked.instrument(kit, get, set, row_get, row_set)
  local methods, view, offset, as_array = kit.methods, kit.view, kit.offset, kit.as_array
  local function reads(inner)
    return function(a, key)
      local value = inner(a, key)
      if type(key) == "number" then
        local row = istype(row_t, a)
        local n = tonumber(row and a._shape0 or a._shape[0])
        local k = counted(key, n)
        if a._ndim == 1 then
          touch(a, (k - 1) * (row and a._strides0 or a._strides[0]), READ, "[" .. k .. "]")
        elseif istype(row_t, value) then
          paths[tonumber(cast(address_t, value._data))] =
            (row and paths[tonumber(cast(address_t, a._data))] or "") .. "[" .. k .. "]"
        end
      elseif type(key) == "table" and type(value) ~= "cdata" then -- a slice that is one element
        touch_all(view(a, key), READ)
      end
      return value
    end
  end
  local function writes(inner)
    return function(a, key, value)
      inner(a, key, value)
      if type(key) == "number" and a._ndim == 1 then
        local row = istype(row_t, a)
        local n = tonumber(row and a._shape0 or a._shape[0])
        local k = counted(key, n)
        touch(a, (k - 1) * (row and a._strides0 or a._strides[0]), WRITE, "[" .. k .. "]")
      end
    end
  end
  for _, name in ipairs { "at", "int64", "uint64" } do
    local inner = methods[name]
    methods[name] = function(a, ...)
      local value = inner(a, ...)
      a = as_array(a)
      touch(a, offset(a, ...), READ, "[" .. table.concat({ ... }, "][") .. "]")
      return value
    end
  end
  local set_method = methods.set
  function methods.set(a, ...)
    set_method(a, ...)
    a = as_array(a)
    local indices = { ... }
    table.remove(indices)
    touch(a, offset(a, unpack(indices)), WRITE, "[" .. table.concat(indices, "][") .. "]")
  end
  for _, name in ipairs { "item", "totable" } do
    local inner = methods[name]
    methods[name] = function(a)
      local value = inner(a)
      touch_all(as_array(a), READ)
      return value
    end
  end
  return reads(get), writes(set), reads(row_get), writes(row_set)
end

for _, module in ipairs { "core", "timer", "array" } do -- those that are declared already; core.lua tells of others
  for _, header in ipairs(core.headers(module)) do
    declare(header)
  end
end
core.C = watch(plain)
core.checked = checked
