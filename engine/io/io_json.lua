-- JSON.
local core, kit = ...
local C, ffi, fail = core.C, core.ffi, core.fail
local io, array, akit = kit.io, kit.array, kit.akit
local kind_of, need_array, array_t = akit.kind_of, akit.need_array, akit.array_t
local run, collect, collect_if_due, source, unpin = kit.run, kit.collect, kit.collect_if_due, kit.source, kit.unpin
local check_path, options_of, flag, count_option, take_text = kit.check_path, kit.options_of, kit.flag, kit.count_option,
  kit.take_text
local type, tonumber, tostring, setmetatable = type, tonumber, tostring, setmetatable
local new_table = require "table.new"
local ffi_string, null = ffi.string, io.null

local bytes_out = ffi.new("const char *[1]")
local ERROR_UNSUPPORTED, ERROR_INTERNAL = 2, 3
local json_out, tokens_count = ffi.new("pg_io_json *[1]"), ffi.new("int64_t[1]")
local numbers_out, lengths_out = ffi.new("const double *[1]"), ffi.new("const int64_t *[1]")
local json_options = { arrays = true, depth = true }
local STRING, LIST, OBJECT, ARRAY = 4, 5, 6, 7
local constants = { [0] = null, false, true }
local empty_object_meta = {}

--- io.empty_object(): a table that is written as {} and not as [].
function io.empty_object()
  return setmetatable({}, empty_object_meta)
end

-- Tables are built and written by recursion, for which Lua's stack has room some 4000 times.
local function depth_option(name, options)
  local depth = count_option(name, options, "depth", 512, 1)
  if depth > 2000 then
    fail("%s: depth must be an integer from 1 to 2000, got %d", name, depth)
  end
  return depth
end

local function read_json(name, from, options)
  options = options_of(name, options, json_options)
  local depth = depth_option(name, options)
  local text, size, is_text = source(name, from)
  run(name, C.pg_io_json_parse, json_out, text, size, is_text, depth, flag(name, options, "arrays", false) and 1 or 0)
  unpin()
  local json = ffi.gc(json_out[0], C.pg_io_json_close)
  local tokens = C.pg_io_json_tokens(json, tokens_count, bytes_out, numbers_out, lengths_out)
  local bytes, numbers, lengths = bytes_out[0], numbers_out[0], lengths_out[0]
  local at = 0
  local function value()
    local token = tokens[at]
    local kind = token.kind
    at = at + 1
    if kind == 3 then
      return token.number
    elseif kind == STRING then
      return ffi_string(bytes + token.at, token.count)
    elseif kind == LIST then
      local count = tonumber(token.count)
      local list = new_table(count, 0)
      for i = 1, count do
        list[i] = value()
      end
      return list
    elseif kind == OBJECT then
      local count = tonumber(token.count)
      if count == 0 then
        return io.empty_object()
      end
      local object = new_table(0, count)
      for _ = 1, count do
        local key = value()
        object[key] = value()
      end
      return object
    elseif kind == ARRAY then
      local rank = tonumber(token.count)
      for axis = 0, rank - 1 do
        akit.lengths[axis] = lengths[token.at_lengths + axis]
      end
      local a = akit.create(rank, akit.dtypes.float64, 0)
      ffi.copy(a._data, numbers + token.at, a._size * 8)
      return a
    end
    return constants[kind]
  end
  local result = value()
  C.pg_io_json_close(ffi.gc(json, nil))
  return result
end

--- io.read_json(path or {text = ...} [, options]): the value in a JSON file. Objects and lists are tables, null is
--- io.null; integers beyond 2^53 are rounded. Options: arrays = true makes arrays of lists of numbers (and of lists of
--- such lists of one length); depth = 512 limits nesting.
function io.read_json(from, options)
  return read_json("read_json", from, options)
end

--- io.parse_json(text [, options]): the value of a JSON text.
function io.parse_json(text, options)
  if type(text) ~= "string" then
    fail("parse_json: a string is expected, got %s", kind_of(text))
  end
  return read_json("parse_json", { text = text }, options)
end

local to_json_options = { indent = true, nan = true, depth = true }

-- An error of a status, as run()'s, but with the place in front.
local function fail_at(name, place, status, message)
  if status == ERROR_UNSUPPORTED then
    core.unsupported("%s: %s: %s", name, place, message)
  elseif status == ERROR_INTERNAL then
    core.internal("%s: %s: %s", name, place, message)
  end
  fail("%s: %s: %s", name, place, message)
end

local function json_text(name, value, options)
  options = options_of(name, options, to_json_options)
  local depth = depth_option(name, options)
  local indent = count_option(name, options, "indent", 0, 0)
  if options.nan ~= nil and options.nan ~= "null" then
    fail('%s: nan must be "null", got %s', name, kind_of(options.nan))
  end
  local nan = options.nan == "null"

  -- Arrays: their text, or nil, a message and a status.
  local function other(x)
    if not array.is(x) then
      return nil, kind_of(x)
    end
    local out, a = array_t(), need_array(name, x)
    akit.check_alive(a)
    local status = C.pg_io_json_array(out, collect, a, nan and 1 or 0)
    if status ~= 0 then
      return nil, ffi_string(C.pg_last_message()), status
    end
    return take_text(out)
  end

  local text, place, problem, detail, more = core.natives.io.json(value, depth, indent, nan, null, empty_object_meta, other)
  collect_if_due()
  if text then
    return text
  elseif problem == "deep" then
    fail("%s: %s lies more than %d tables deep; does a table contain itself? {depth = ...} allows more", name, place, depth)
  elseif problem == "key" then
    fail("%s: %s has the key %s; the keys of an object are strings, and a list has no gaps", name, place, kind_of(detail))
  elseif problem == "both" then
    fail("%s: %s has both list entries and the key '%s'; JSON has lists and objects", name, place, detail)
  elseif problem == "number" then
    fail('%s: %s is %s, which JSON does not have; {nan = "null"} writes null for it', name, place, tostring(detail))
  elseif problem == "text" then
    fail("%s: %s: %s", name, place, detail)
  elseif problem == "status" then
    fail_at(name, place, detail, ffi_string(C.pg_last_message()))
  elseif detail then
    fail_at(name, place, detail, more)
  end
  fail("%s: %s is %s; JSON has strings, numbers, booleans, io.null, lists and objects", name, place, more)
end

--- io.to_json(value [, options]): JSON text of tables, strings, numbers, booleans, io.null and arrays. Keys are sorted; an
--- empty table is [] (see io.empty_object). Options: indent = 0 (spaces a level), nan = "null", depth = 512.
function io.to_json(value, options)
  return json_text("to_json", value, options)
end

--- io.write_json(path, value [, options]): io.to_json into a file.
function io.write_json(path, value, options)
  check_path("write_json", path)
  io.write_text(path, json_text("write_json", value, options) .. "\n")
end
