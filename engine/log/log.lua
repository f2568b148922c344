-- pg.log: a structured log of calls: JSON lines with arguments, results, times and nesting, as Eliot's (its "action" and
-- "task_level" are these), and the tree that they make.
local core = ...
local C = core.C
local fail = core.fail
local io = io
local type, pairs, ipairs, tostring, select, next, pcall, xpcall, error = type, pairs, ipairs, tostring, select, next, pcall,
  xpcall, error
local format, concat, sort, gsub, rep, sub, find, match = string.format, table.concat, table.sort, string.gsub, string.rep,
  string.sub, string.find, string.match

local log = {}

-- ----------------------------------------------------------------------------------------------------------- JSON ----
local most_text, most_items, most_depth, most_elements = 200, 20, 4, 8

local function text_json(text)
  if #text > most_text then
    text = sub(text, 1, most_text) .. format("... (%d bytes)", #text)
  end
  -- What is not UTF-8 would make the line unreadable for others.
  return '"' .. gsub(text, '[%z\1-\31\\"\127-\255]', function(c)
    return c < "\127" and format("\\u%04x", c:byte()) or nil
  end) .. '"'
end

local function is_utf8(text)
  local i, n = 1, #text
  while i <= n do
    local c = text:byte(i)
    local length = c < 0x80 and 1 or c >= 0xc2 and c < 0xe0 and 2 or c >= 0xe0 and c < 0xf0 and 3 or
      c >= 0xf0 and c < 0xf5 and 4
    if not length or i + length - 1 > n then
      return false
    end
    for k = i + 1, i + length - 1 do
      local d = text:byte(k)
      if d < 0x80 or d > 0xbf then
        return false
      end
    end
    i = i + length
  end
  return true
end

local function number_json(x)
  if x ~= x or x == math.huge or x == -math.huge then
    return '"' .. (x ~= x and "NaN" or x > 0 and "Infinity" or "-Infinity") .. '"' -- JSON has no such numbers
  end
  return format("%.17g", x)
end

-- Seconds since 1970, to the monotonic clock's precision.
local epoch = os.time() - C.pg_timer_now()

local function now()
  return epoch + C.pg_timer_now()
end

-- A value as JSON, cut where it is large: arrays by dtype, shape and first elements.
local function value_json(value, depth)
  local kind = type(value)
  if kind == "nil" then
    return "null"
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "number" then
    return number_json(value)
  elseif kind == "string" then
    if not is_utf8(value) then
      return format('{"bytes":%d}', #value)
    end
    while #value > most_text and not is_utf8(sub(value, 1, most_text)) do -- do not cut a character in two
      value = sub(value, 1, most_text - 1) .. sub(value, most_text + 1)
    end
    return text_json(value)
  elseif kind == "cdata" then
    if core.require("array").is(value) then
      local ok, shape = pcall(function() return value.shape end)
      if not ok then
        return '{"array":"released"}'
      end
      local head = {}
      if value.ndim == 1 and not find(value.dtype, "complex", 1, true) then
        for i = 1, math.min(value.size, most_elements) do
          local read, element = pcall(function() return value[i] end)
          head[i] = read and value_json(element, 0) or '"?"'
        end
      end
      return format('{"array":"%s","shape":[%s]%s}', value.dtype, concat(shape, ","), #head > 0 and
        ',"head":[' .. concat(head, ",") .. "]" or "")
    end
    return text_json(tostring(value))
  elseif kind == "table" then
    if depth == 0 then
      return '"{...}"'
    end
    local out, count, size = {}, 0, 0
    for _ in pairs(value) do
      size = size + 1
    end
    if #value > 0 and size == #value then
      for i, item in ipairs(value) do
        if i > most_items then
          out[i] = format('"... %d more"', #value - most_items)
          break
        end
        out[i] = value_json(item, depth - 1)
      end
      return "[" .. concat(out, ",") .. "]"
    end
    local keys = {}
    for key in pairs(value) do
      keys[#keys + 1] = tostring(key)
    end
    sort(keys)
    for _, key in ipairs(keys) do
      count = count + 1
      if count > most_items then
        out[count] = format('"...":"%d more"', #keys - most_items)
        break
      end
      local item = value[key]
      if item == nil then
        for other, one in pairs(value) do -- a key that is no string
          if tostring(other) == key then
            item = one
          end
        end
      end
      out[count] = value_json(key, 0) .. ":" .. value_json(item, depth - 1)
    end
    return "{" .. concat(out, ",") .. "}"
  end
  return text_json(format("<%s>", kind))
end

-- --------------------------------------------------------------------------------------------------------- writing ---
local file, path_of_file, tasks = nil, nil, 0
local open_actions = {} -- of the running task: {task, level = {...}, children}

local function write_line(fields)
  if file then
    local ok, reason = file:write("{", concat(fields, ","), "}\n")
    if not ok then
      local path = path_of_file
      file = nil
      fail("log: cannot write %s: %s", path, tostring(reason))
    end
  end
end

--- log.open(path): appends to a file from now on. A file that is open is closed.
function log.open(path)
  if type(path) ~= "string" then
    fail("log.open: a file's name is expected, got %s", type(path))
  end
  log.close()
  local opened, reason = io.open(path, "a")
  if not opened then
    fail("log.open: cannot write %s", reason)
  end
  file, path_of_file = opened, path
end

--- log.close(): closes the file; calls of logged functions are plain calls again.
function log.close()
  if file then
    file:close()
    file, open_actions = nil, {}
  end
end

local function begin(name)
  local parent = open_actions[#open_actions]
  local action = { children = 0, name = name, started = C.pg_timer_now() }
  if parent then
    parent.children = parent.children + 1
    action.task = parent.task
    action.level = parent.level .. "," .. parent.children
  else
    tasks = tasks + 1
    action.task = format("%.6f-%d", now(), tasks)
    action.level = "1"
  end
  open_actions[#open_actions + 1] = action
  return action
end

local function entry(action, status)
  return { '"task":"' .. action.task .. '"', '"level":[' .. action.level .. "]", '"action":' .. value_json(action.name, 0),
    '"status":"' .. status .. '"', format('"time":%.6f', now()) }
end

local function values_json(...)
  local values = {}
  for i = 1, select("#", ...) do
    values[i] = value_json((select(i, ...)), most_depth)
  end
  return "[" .. concat(values, ",") .. "]"
end

local function finish(action, depth, ok, ...)
  for i = #open_actions, depth, -1 do -- an error may have left inner ones open
    open_actions[i] = nil
  end
  local fields = entry(action, ok and "succeeded" or "failed")
  fields[#fields + 1] = format('"seconds":%.9f', C.pg_timer_now() - action.started)
  if ok then
    fields[#fields + 1] = '"results":' .. values_json(...)
    write_line(fields)
    return ...
  end
  local reason = ...
  fields[#fields + 1] = '"reason":' .. value_json(type(reason) == "string" and reason or tostring(reason), 0)
  write_line(fields)
  if file then
    file:flush() -- the error may end the program
  end
  error(reason, 0)
end

--- log.wrap(name, fn) -> a function that does what fn does and logs each call while a log is open.
function log.wrap(name, fn)
  if type(name) ~= "string" then
    fail("log.wrap: the name must be a string, got %s; as in step = log.wrap(\"step\", step)", type(name))
  elseif type(fn) ~= "function" then
    fail("log.wrap: a function is expected, got %s", type(fn))
  end
  return function(...)
    if not file then
      return fn(...)
    end
    local action = begin(name)
    local fields = entry(action, "started")
    fields[#fields + 1] = '"arguments":' .. values_json(...)
    write_line(fields)
    return finish(action, #open_actions, pcall(fn, ...))
  end
end

--- log.message(text [, fields]): a line inside of the call that runs; fields is a table of values by name.
function log.message(text, fields)
  if type(text) ~= "string" then
    fail("log.message: a string is expected, got %s", type(text))
  elseif fields ~= nil and type(fields) ~= "table" then
    fail("log.message: fields are a table of values by name, got %s", type(fields))
  end
  if not file then
    return
  end
  local action = begin("message")
  open_actions[#open_actions] = nil
  local line = entry(action, "message")
  line[#line + 1] = '"message":' .. value_json(text, 0)
  if fields then
    line[#line + 1] = '"fields":' .. value_json(fields, most_depth)
  end
  write_line(line)
end

-- --------------------------------------------------------------------------------------------------------- reading ---
-- A value of the log as a learner reads it.
local function show(value)
  if value == core.require("io").null then
    return "nil"
  elseif type(value) == "table" then
    if value.array and value.shape then
      return format("%s[%s]", value.array, concat(value.shape, "x"))
    end
    local parts = {}
    if #value > 0 then
      for i, item in ipairs(value) do
        parts[i] = show(item)
      end
    else
      local keys = {}
      for key in pairs(value) do
        keys[#keys + 1] = key
      end
      sort(keys)
      for i, key in ipairs(keys) do
        parts[i] = key .. " = " .. show(value[key])
      end
    end
    local text = "{" .. concat(parts, ", ") .. "}"
    return #text > 60 and sub(text, 1, 57) .. "..." or text
  elseif type(value) == "number" then
    return format("%.6g", value)
  elseif type(value) == "string" then
    local text = gsub(value, "[%c]", " ")
    return format('"%s"', #text > 60 and sub(text, 1, 57) .. "..." or text)
  end
  return value == nil and "nil" or tostring(value)
end

local function list(values)
  local parts = {}
  for i, value in ipairs(values or {}) do
    parts[i] = show(value)
  end
  return concat(parts, ", ")
end

local function seconds(s)
  return s >= 1 and format("%.3g s", s) or s >= 1e-3 and format("%.3g ms", s * 1e3) or format("%.3g us", s * 1e6)
end

--- log.tree(path) -> the log as a text: calls under their callers, with arguments, results and times. A line that is no
--- JSON, or that belongs to no call, is an error that names it.
function log.tree(path)
  local parse = core.require("io").parse_json
  local source, reason = io.open(path, "r")
  if not source then
    fail("log.tree: cannot read %s", reason)
  end
  local order, by_key, number = {}, {}, 0
  for line in source:lines() do
    number = number + 1
    if find(line, "%S") then
      local ok, record = pcall(parse, line)
      if not ok or type(record) ~= "table" or type(record.task) ~= "string" or type(record.level) ~= "table" then
        source:close()
        fail("log.tree: %s:%d: this is no line of a log", path, number)
      end
      local key = record.task .. "/" .. concat(record.level, ",")
      local node = by_key[key]
      if not node then
        node = { record = record, depth = #record.level }
        by_key[key] = node
        order[#order + 1] = node
      end
      if record.status == "succeeded" or record.status == "failed" then
        node.finish = record
      end
    end
  end
  source:close()
  local out = {}
  for _, node in ipairs(order) do
    local indent, r, f = rep("  ", node.depth - 1), node.record, node.finish
    if r.status == "message" then
      out[#out + 1] = format("%s- %s%s", indent, show(r.message):sub(2, -2), r.fields and " " .. show(r.fields) or "")
    else
      local ending = not f and "did not return" or f.status == "failed" and "failed: " .. tostring(f.reason) or
        f.results and #f.results > 0 and "-> " .. list(f.results) or ""
      out[#out + 1] = gsub(format("%s%s(%s) %s%s", indent, r.action, list(r.arguments), ending, f and
        format("  [%s]", seconds(f.seconds or 0)) or ""), "%s+$", "")
    end
  end
  return #out > 0 and concat(out, "\n") or "(the log is empty)"
end

return log
