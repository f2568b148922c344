-- What scripts see of files: npy and npz here, CSV in io_csv.lua, JSON in io_json.lua, text in io_text.lua. Arguments are
-- checked and errors worded here; C++ reads and writes (io_abi.h). Its messages begin with the file's name; the function's
-- name is put in front.
local core = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local array = core.require("array")
local akit = array._kit
local check_options, kind_of, is_integer, need_array, array_t = akit.check_options, akit.kind_of, akit.is_integer,
  akit.need_array, akit.array_t
local type, pairs, ipairs, tonumber, setmetatable = type, pairs, ipairs, tonumber, setmetatable
local concat, sort = table.concat, table.sort
local ffi_string = ffi.string

local io = {}

-- ------------------------------------------------------------------------------------------------- calls into C++ ----
local collect = ffi.new("int32_t[1]")
local ERROR_UNSUPPORTED, ERROR_INTERNAL, ERROR_MEMORY = 2, 3, 4

local function collect_if_due()
  if collect[0] ~= 0 then
    collect[0] = 0
    core.collect()
  end
end

-- Calls f(...), which returns a status; collects garbage when the memory limit was reached, and after large allocations.
local function run(name, f, ...)
  local status = f(...)
  if status == ERROR_MEMORY then
    core.collect()
    status = f(...)
  end
  if status ~= 0 then
    local message = ffi_string(C.pg_last_message())
    if status == ERROR_UNSUPPORTED then
      core.unsupported("%s: %s", name, message)
    elseif status == ERROR_INTERNAL then
      core.internal("%s: %s", name, message)
    end
    fail("%s: %s", name, message)
  end
  collect_if_due()
end

-- An array of bytes as a string; its memory is given back at once.
local function take_text(bytes)
  local text = ffi_string(bytes._data, bytes._size)
  C.pg_array_release(bytes)
  return text
end

local function check_path(name, path)
  if type(path) ~= "string" or path == "" then
    fail("%s: a path is expected, got %s", name, path == "" and "an empty string" or kind_of(path))
  end
  return path
end

local only_text = { text = true }
local pinned -- the text that C++ reads from, so that it stays while it does

-- A path, or {text = ...}: string, length, 1 if it is the text itself.
local function source(name, from)
  if type(from) == "table" then
    check_options(name, from, only_text)
    if type(from.text) ~= "string" then
      fail("%s: {text = ...} takes a string, got %s", name, kind_of(from.text))
    end
    pinned = from.text
    return from.text, #from.text, 1
  end
  if type(from) ~= "string" or from == "" then
    fail("%s: a path or {text = ...} is expected, got %s", name, from == "" and "an empty string" or kind_of(from))
  end
  return from, #from, 0
end

local function unpin()
  pinned = nil
end

local function options_of(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table, got %s", name, kind_of(options))
  end
  check_options(name, options, known)
  return options
end

local function flag(name, options, key, default)
  local value = options[key]
  if value == nil then
    return default
  elseif type(value) ~= "boolean" then
    fail("%s: %s must be true or false, got %s", name, key, kind_of(value))
  end
  return value
end

local function count_option(name, options, key, default, least)
  local value = options[key]
  if value == nil then
    return default
  elseif not is_integer(value) or value < least or value > 2 ^ 53 then
    fail("%s: %s must be an integer, %d or more, got %s", name, key, least, kind_of(value))
  end
  return value
end

--- io.null: a missing value in text columns and JSON's null. It counts as true; compare with `== io.null`.
io.null = setmetatable({}, {
  __tostring = function() return "null" end,
  __newindex = function() fail("io.null has no fields") end,
  __metatable = false,
})

-- -------------------------------------------------------------------------------------------------- npy and npz -----
local size_out, kind_out = ffi.new("int64_t[1]"), ffi.new("int32_t[1]")
local npz_out, npz_writer_out = ffi.new("pg_io_npz *[1]"), ffi.new("pg_io_npz_writer *[1]")
local load_options = { mmap = true, names = true }

local function load_npz(options, wanted)
  run("load", C.pg_io_npz_open, npz_out, source("load", wanted))
  local npz = ffi.gc(npz_out[0], C.pg_io_npz_close)
  local only
  if options.names ~= nil then
    if type(options.names) ~= "table" then
      fail("load: names is a list of names, got %s", kind_of(options.names))
    end
    only = {}
    for _, name in ipairs(options.names) do
      only[name] = true
    end
  end
  local arrays, found = {}, {}
  for i = 0, tonumber(C.pg_io_npz_count(npz)) - 1 do
    local text = C.pg_io_npz_name(npz, i, size_out)
    local name = ffi_string(text, size_out[0]):match("^(.*)%.npy$")
    if name then
      found[#found + 1] = name
      if not only or only[name] then
        local a = array_t()
        run("load", C.pg_io_npz_read, a, collect, npz, i)
        arrays[name] = a
      end
    end
  end
  C.pg_io_npz_close(ffi.gc(npz, nil))
  for name in pairs(only or {}) do
    if not arrays[name] then
      sort(found)
      fail("load: there is no array %s in this file; there are: %s", kind_of(name), concat(found, ", "))
    end
  end
  return arrays
end

--- io.load(path [, options]): the array of an npy file, or the arrays of an npz file as a table by name. Options:
--- mmap = true maps an npy file read-only instead of reading it; names = {...} reads only these arrays of an npz file.
function io.load(path, options)
  options = options_of("load", options, load_options)
  local map = flag("load", options, "mmap", false)
  local text, size, is_text = source("load", path)
  run("load", C.pg_io_kind, text, size, is_text, kind_out)
  local shown = is_text == 1 and "the text" or path
  if kind_out[0] == 0 then
    fail("load: %s: neither an npy nor an npz file by its first bytes; io.read_csv, io.read_json and io.read_text read " ..
      "other files", shown)
  elseif kind_out[0] == 2 then
    if map then
      core.unsupported("load: %s: mapping an npz file; save the array as npy", shown)
    end
    local arrays = load_npz(options, path)
    unpin()
    return arrays
  elseif options.names ~= nil then
    fail("load: %s: an npy file holds one array, without a name", shown)
  end
  local a = array_t()
  run("load", C.pg_io_npy_load, a, collect, text, size, is_text, map and 1 or 0)
  unpin()
  return a
end

--- io.save(path, a): writes an array as an npy file; column-major arrays in that order. The path is taken as it is.
function io.save(path, a)
  check_path("save", path)
  local x = need_array("save", a)
  akit.check_alive(x)
  run("save", C.pg_io_npy_save, x, path, #path)
end

local function save_npz(name, path, arrays, compress)
  check_path(name, path)
  if array.is(arrays) then
    fail("%s: a table of arrays is expected, as in {a = a, b = b}; io.save writes a single array", name)
  elseif type(arrays) ~= "table" then
    fail("%s: a table of arrays by name is expected, got %s", name, kind_of(arrays))
  end
  local names, by_name = {}, {}
  for key, value in pairs(arrays) do
    -- A list gets NumPy's names.
    local as = type(key) == "string" and key or is_integer(key) and key >= 1 and "arr_" .. (key - 1)
    if not as then
      fail("%s: the names of arrays are strings, got %s", name, kind_of(key))
    elseif by_name[as] then
      fail("%s: two arrays would be named '%s'", name, as)
    end
    by_name[as] = need_array(name .. ": " .. as, value)
    akit.check_alive(by_name[as])
    names[#names + 1] = as
  end
  sort(names)
  run(name, C.pg_io_npz_create, npz_writer_out, path, #path, compress)
  local npz = ffi.gc(npz_writer_out[0], C.pg_io_npz_discard)
  for _, as in ipairs(names) do
    run(name, C.pg_io_npz_add, npz, as, #as, by_name[as])
  end
  run(name, C.pg_io_npz_finish, npz)
  C.pg_io_npz_discard(ffi.gc(npz, nil))
end

--- io.savez(path, {a = a, b = b}): writes arrays as an npz file; those of a list are named arr_0, arr_1, ... as NumPy's.
function io.savez(path, arrays)
  save_npz("savez", path, arrays, 0)
end
--- io.savez_compressed(path, arrays): likewise, deflated.
function io.savez_compressed(path, arrays)
  save_npz("savez_compressed", path, arrays, 1)
end

-- ---------------------------------------------------------------------------------------------------------- parts -----
local number_text = ffi.new("char[32]")

-- The shortest text that reads as the same number.
local function number(value)
  return ffi_string(number_text, C.pg_io_number(value, number_text))
end

local kit = {
  io = io, array = array, akit = akit, run = run, collect = collect, collect_if_due = collect_if_due, source = source,
  unpin = unpin, check_path = check_path, options_of = options_of, flag = flag, count_option = count_option,
  take_text = take_text, number = number,
}
for _, part in ipairs { "io_csv", "io_text", "io_json" } do
  core.part(part, kit)
end

return io
