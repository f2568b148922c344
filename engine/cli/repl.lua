-- The evaluator behind `perigee repl`: reads chunks, keeps their locals, shows their values, completes names. Line
-- editing and history are repl.cpp's.
local core = ...
local getlocal, load, rawset, type, tostring, pairs, pcall, select = debug.getlocal, load, rawset, type, tostring,
  pairs, pcall, select
local find, format, gsub, match, rep, sub = string.find, string.format, string.gsub, string.match, string.rep,
  string.sub
local concat, sort = table.concat, table.sort

local repl = {}

-- What is assigned at the prompt lives here; everything else is as scripts see it (unknown names are errors).
local env = setmetatable({}, { __index = core.env, __newindex = function(t, k, v) rawset(t, k, v) end })
rawset(env, "_G", env)

-- ------------------------------------------------------------------------------------------------------ showing ------
local max_items, max_depth, max_string = 100, 4, 1000

local reserved = {}
for word in string.gmatch("and break do else elseif end false for function goto if in local nil not or repeat return " ..
  "then true until while", "%a+") do
  reserved[word] = true
end

local function is_name(key)
  return type(key) == "string" and find(key, "^[%a_][%w_]*$") and not reserved[key]
end

local function quoted(text)
  local cut = #text > max_string and format(" ... (%d bytes)", #text) or ""
  local shown = gsub(gsub(sub(text, 1, max_string), "[%c\\\"]", function(c)
    return c == "\n" and "\\n" or c == "\t" and "\\t" or c == "\r" and "\\r" or c == "\\" and "\\\\" or c == '"' and '\\"'
      or format("\\%03d", c:byte())
  end), "\\0+(%d)", "\\0%1")
  return '"' .. shown .. '"' .. cut
end

-- Numbers with all their digits, unlike print: 0.1 + 0.2 is not 0.3.
local function number(value)
  if value == math.floor(value) and math.abs(value) < 1e15 then
    return format("%.0f", value)
  end
  for digits = 14, 17 do
    local text = format("%." .. digits .. "g", value)
    if tonumber(text) == value then
      return text
    end
  end
  return tostring(value)
end

local function by_key(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb and (ta == "number" or ta == "string") then
    return a < b
  elseif ta ~= tb and (ta == "number" or tb == "number") then
    return ta == "number"
  end
  return tostring(a) < tostring(b)
end

local show

local function show_table(value, depth, seen)
  if seen[value] then
    return "{...}" -- holds itself
  elseif depth > max_depth then
    return next(value) == nil and "{}" or "{ ... }"
  end
  seen[value] = true
  local parts, count, wide = {}, #value, false
  for i = 1, math.min(count, max_items) do
    parts[#parts + 1] = show(value[i], depth + 1, seen)
  end
  local keys = {}
  for key in pairs(value) do
    if not (type(key) == "number" and key >= 1 and key <= count and key % 1 == 0) then
      keys[#keys + 1] = key
    end
  end
  sort(keys, by_key)
  local listed = #parts
  for i = 1, math.min(#keys, max_items - listed) do
    local key = keys[i]
    local name = is_name(key) and key or "[" .. show(key, max_depth + 1, seen) .. "]"
    parts[#parts + 1] = name .. " = " .. show(value[key], depth + 1, seen)
  end
  local left = count + #keys - #parts
  if left > 0 then
    parts[#parts + 1] = format("... %d more", left)
  end
  seen[value] = nil
  local length = 0
  for i = 1, #parts do
    length = length + #parts[i] + 2
    wide = wide or find(parts[i], "\n", 1, true)
  end
  if #parts == 0 then
    return "{}"
  elseif not wide and length + 2 * depth < 96 then
    return "{ " .. concat(parts, ", ") .. " }"
  end
  local indent = rep("  ", depth)
  return "{\n" .. indent .. "  " .. concat(parts, ",\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

function show(value, depth, seen)
  local kind = type(value)
  if kind == "string" then
    return quoted(value)
  elseif kind == "number" then
    return number(value)
  elseif kind == "table" then
    local meta = debug.getmetatable(value)
    if not (type(meta) == "table" and rawget(meta, "__tostring")) then
      return show_table(value, depth, seen)
    end
  end
  local ok, text = pcall(tostring, value)
  if not ok or type(text) ~= "string" then
    return format("<%s>", kind)
  end
  return depth > 0 and gsub(text, "\n", "\n" .. rep("  ", depth)) or text
end

local function show_results(...)
  local count = select("#", ...)
  local parts = {}
  for i = 1, count do
    parts[i] = show((select(i, ...)), 0, {})
  end
  if count > 0 then
    rawset(env, "_", (...)) -- the last value, for the next line
    core.env.print(concat(parts, "\t"))
  end
end

-- --------------------------------------------------------------------------------------------------- evaluating ------
local function compile(text, name)
  core.chunks[name] = text
  return load(text, "@" .. name, "t", env)
end

-- Locals of a chunk would be gone with its line, so that `local pg = require "perigee"`, which every script starts
-- with, would be useless here. The chunk calls this as its last statement: level 2 is the chunk.
local function keep_locals()
  local i = 1
  while true do
    local name, value = getlocal(2, i)
    if not name then
      return
    end
    if find(name, "^[%a_]") and name ~= "__keep" then
      rawset(env, name, value)
    end
    i = i + 1
  end
end

local lines = 0

-- What people type first at a prompt that they do not know.
local commands = {}
function commands.exit()
  return "leave"
end
commands.quit = commands.exit
function commands.help()
  core.env.print([[
A line is Lua: an expression shows its value, `_` is the last one, and `local` names stay. What is unfinished goes on in
the next line; an empty line drops it. Tab completes, Ctrl-C stops what runs, `exit` or Ctrl-D leaves.
  pg = require "perigee"            then pg.array, pg.timer, pg.bench, pg.random; Tab after the dot lists what they have
  a = pg.array.range(6):reshape(2, 3)
  a:sum(1)]])
  return "done"
end

local function ends_early(message)
  return find(message, "near '<eof>'", 1, true) ~= nil
end

--- Runs what was typed so far: "more" if it is the beginning of something, "leave" for `exit`, else "done". Errors are
--- the script's.
function repl.evaluate(text)
  local name = format("stdin:%d", lines + 1)
  local word = match(text, "^%s*(%a+)%s*%(?%s*%)?%s*$")
  if commands[word] and rawget(env, word) == nil then
    return commands[word]()
  end
  -- An expression is handed to __show and not returned: a tail call would leave no line for its errors.
  local expression = gsub(text, "^%s*=", "", 1)
  local chunk, unfinished = compile("return " .. expression, name)
  if chunk then
    lines = lines + 1
    -- On one line where no comment swallows the parenthesis: else errors would name the line after.
    local showing = compile("local __show = ... __show(" .. expression .. ")", name) or
      compile("local __show = ... __show(" .. expression .. "\n)", name)
    if showing then
      showing(show_results)
    else
      show_results(chunk()) -- "x;" cannot be an argument
    end
    return "done"
  end
  local message
  chunk, message = compile(text, name)
  if not chunk and (ends_early(message) or ends_early(unfinished)) then
    return "more" -- as a statement, or as an expression such as "1 +"
  end
  lines = lines + 1
  if not chunk then
    error(message, 0)
  end
  -- A chunk that ends in `return` has no last statement to add; it shows what it returns.
  local keeping = compile("local __keep = ... " .. text .. "\n__keep()", name)
  if keeping then
    keeping(keep_locals)
  else
    show_results(chunk())
  end
  return "done"
end

-- --------------------------------------------------------------------------------------------------- completing ------
local module_names = { "array", "bench", "random", "timer" }

-- Keys of whatever can be indexed by names: a table, what its metatable leads to, an array's methods.
local function keys_of(value, found, depth)
  if type(value) == "table" then
    if rawget(value, "_everything") then
      value._everything()
    end
    for key, field in pairs(value) do
      if is_name(key) then
        found[key] = type(field)
      end
    end
  end
  if value == core.pg then
    for i = 1, #module_names do
      if core.pg.available(module_names[i]) then
        found[module_names[i]] = "table"
      end
    end
  end
  local meta = type(value) ~= "cdata" and debug.getmetatable(value) or nil
  local index = type(meta) == "table" and rawget(meta, "__index") or nil
  if type(index) == "table" and depth < 4 then
    keys_of(index, found, depth + 1)
  elseif type(value) == "cdata" and core.pg.available("array") then
    local array = core.require("array")
    array._everything()
    keys_of(array._methods, found, 4)
    for key in pairs(array._getters) do
      found[key] = "field"
    end
  end
end

--- Names that may stand in place of the last, unfinished one in `text`, one a line, with all of `text`'s last word
--- before it ("array.ze" gives "array.zeros"). After ":" only functions.
function repl.complete(text)
  local path, separator, prefix = match(text, "([%a_][%w_%.:]*)([%.:])([%w_]*)$")
  if not path then
    path, separator, prefix = "", "", match(text, "[%a_][%w_]*$") or ""
  end
  local found = {}
  if separator == "" then
    keys_of(env, found, 0)
    keys_of(core.env, found, 0)
    for word in pairs(reserved) do
      found[word] = "word"
    end
  else
    local value = env
    for part in string.gmatch(path, "[^%.:]+") do
      local ok, field = pcall(function() return value[part] end)
      if not ok or field == nil then
        return ""
      end
      value = field
    end
    keys_of(value, found, 0)
  end
  local names = {}
  for key, kind in pairs(found) do
    local hidden = sub(key, 1, 1) == "_" and sub(prefix, 1, 1) ~= "_"
    if sub(key, 1, #prefix) == prefix and not hidden and (separator ~= ":" or kind == "function") then
      names[#names + 1] = path .. separator .. key
    end
  end
  sort(names)
  return concat(names, "\n")
end

return repl
