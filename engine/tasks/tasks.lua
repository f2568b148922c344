-- pg.tasks: calls that are put off. A delayed call is a node of a graph; computing a node computes what it needs, each node
-- once. Here: what nodes are and how scripts make them. tasks_graph.lua puts nodes in order, tasks_compute.lua computes them,
-- tasks_report.lua tells what took how long, tasks_visualize.lua draws.
local core = ...
local array = core.require "array"
local kind_of, check_options, is_integer = array._kit.kind_of, array._kit.check_options, array._kit.is_integer
local fail = core.fail
local getinfo = debug.getinfo
local type, next, pairs, getmetatable, setmetatable, rawget, select, tostring = type, next, pairs, getmetatable,
  setmetatable, rawget, select, tostring
local format, match, sub, find, gsub = string.format, string.match, string.sub, string.find, string.gsub

local tasks = {}

-- A node is {_spec, _args, _n = number of arguments, _deep = which of them are tables that may hold nodes}. Everything else
-- that is asked of it makes another node, so that its own fields are named with an underscore.
local Delayed = {}
local methods = {}

local function is_delayed(value)
  return type(value) == "table" and getmetatable(value) == Delayed
end

-- --------------------------------------------------------------------------------------------------------- tables ----
-- Tables without a metatable are looked into, those inside them as well; other tables are values. No recursion: a list
-- whose items are linked may be as deep as it likes.

local function refuse_key(key)
  if is_delayed(key) then
    fail("delayed: a delayed value cannot be the key of a table; compute it first")
  end
end

--- Calls visit(node) for every node in table t, until it returns true; returns whether it did.
local function each_node(t, visit)
  local open, count, seen = nil, 0, nil
  while t do
    for key, value in next, t do
      if type(value) == "table" then
        local meta = getmetatable(value)
        if meta == Delayed then
          if visit(value) then
            return true
          end
        elseif meta == nil then
          if not open then
            open, seen = {}, { [t] = true }
          end
          if not seen[value] then
            seen[value] = true
            count = count + 1
            open[count] = value
          end
        end
      end
      if type(key) == "table" then
        refuse_key(key)
      end
    end
    if count > 0 then
      t, open[count] = open[count], nil
      count = count - 1
    else
      t = nil
    end
  end
  return false
end

local function yes()
  return true
end

--- A copy of table t and all tables in it, where replace(node) stands for each node.
local function copy_tables(t, replace)
  local copies, open, count = { [t] = {} }, { t }, 1
  local result = copies[t]
  while count > 0 do
    local from = open[count]
    open[count] = nil
    count = count - 1
    local to = copies[from]
    for key, value in next, from do
      if type(value) == "table" then
        local meta = getmetatable(value)
        if meta == Delayed then
          value = replace(value)
        elseif meta == nil then
          local copy = copies[value]
          if not copy then
            copy = {}
            copies[value] = copy
            count = count + 1
            open[count] = value
          end
          value = copy
        end
      end
      to[key] = value
    end
  end
  return result
end

local function itself(node)
  return node
end

-- ---------------------------------------------------------------------------------------------------------- nodes ----
-- A node of `spec` with n arguments. Tables that hold nodes are copied, so that a table that is filled anew for the next
-- call does not change this one.
local function make(spec, n, args)
  local deep = nil
  if spec.traverse then
    for i = 1, n do
      local value = args[i]
      if type(value) == "table" and getmetatable(value) == nil then
        deep = deep or {}
        deep[i] = true
        if each_node(value, yes) then
          args[i] = copy_tables(value, itself)
        end
      end
    end
  end
  return setmetatable({ _spec = spec, _args = args, _n = n, _deep = deep }, Delayed)
end

-- What operators do. Text of a chunk like any other, so that workers can have it too.
local operators_text = [[
return {
  add = function(a, b) return a + b end,
  sub = function(a, b) return a - b end,
  mul = function(a, b) return a * b end,
  div = function(a, b) return a / b end,
  mod = function(a, b) return a % b end,
  pow = function(a, b) return a ^ b end,
  unm = function(a) return -a end,
  concat = function(a, b) return a .. b end,
  index = function(t, key) return t[key] end,
  call = function(f, ...) return f(...) end,
  value = function(value) return value end,
}
]]
local functions = core.load_text(operators_text, "tasks.delayed", core.env)()

-- How a node of each is written, %s for its arguments.
local operators = {}
for name, shown in pairs { add = "+", sub = "-", mul = "*", div = "/", mod = "%", pow = "^", unm = "-", concat = "..",
  index = "[]", call = "()", value = "value" } do
  operators[name] = { fn = functions[name], name = shown, operator = name, traverse = name == "value" or name == "call" }
end

for _, name in pairs { "add", "sub", "mul", "div", "mod", "pow", "concat" } do
  local spec = operators[name]
  Delayed["__" .. name] = function(a, b)
    return make(spec, 2, { a, b })
  end
end

function Delayed.__unm(a)
  return make(operators.unm, 1, { a })
end

function Delayed.__call(self, ...)
  return make(operators.call, select("#", ...) + 1, { self, ... })
end

local function refuse_order()
  fail("a delayed value has no order before it is computed; compare inside a delayed function, or compute it first")
end
Delayed.__lt, Delayed.__le = refuse_order, refuse_order

function Delayed.__newindex(_, key)
  fail("field '%s' of a delayed value cannot be assigned; write a delayed function that returns the changed table",
    tostring(key))
end

function Delayed.__index(self, key)
  local method = methods[key]
  if method then
    return method
  elseif key == nil then
    fail("a delayed value is indexed with nil")
  elseif type(key) == "string" then
    if sub(key, 1, 1) == "_" then
      return nil
    end
    local meant = #key > 5 and core.nearest(key, methods)
    if meant then
      fail("a delayed value has no method '%s'; did you mean '%s'? (a field of that name: use a delayed function)", key,
        meant)
    end
  end
  return make(operators.index, 2, { self, key })
end

-- ----------------------------------------------------------------------------------------------------------- names ----
-- "script.lua:12" where a function was written, nil for those that were not written in a script.
local function place_of(fn)
  local info = getinfo(fn, "S")
  if info.what == "C" or find(info.source, "^@perigee:") then
    return nil
  end
  return format("%s:%d", info.short_src, info.linedefined)
end

local function name_in(t, fn)
  for key, value in pairs(t) do
    if value == fn and type(key) == "string" and sub(key, 1, 1) ~= "_" then
      return key
    end
  end
end

-- The name a function has in a library: "math.sqrt", "array.sum".
local function library_name(fn)
  for _, library in pairs { "string", "table", "math", "bit" } do
    local name = name_in(core.env[library], fn)
    if name then
      return library .. "." .. name
    end
  end
  for module, t in pairs(core.pg) do
    local name = type(t) == "table" and name_in(t, fn)
    if name then
      return module .. "." .. name
    end
  end
  return name_in(core.env, fn)
end

-- The name that a function's own line gives it: function load(path), M.load = function(path).
local function written_name(fn)
  local info = getinfo(fn, "S")
  local text = core.chunks[sub(info.source, 2)]
  if not text or info.linedefined < 1 then
    return nil
  end
  local line, from = 1, 1
  while line < info.linedefined do
    local newline = find(text, "\n", from, true)
    if not newline then
      return nil
    end
    line, from = line + 1, newline + 1
  end
  local here = match(text, "[^\n]*", from)
  local name = match(here, "function%s+([%w_.:]+)%s*%(") or match(here, "([%w_.]+)%s*=%s*function%s*%(")
  return name and match(name, "[%w_]+$")
end

-- ------------------------------------------------------------------------------------------------------------ pure ----
-- Nodes of a pure function with equal arguments are one node. Values that are not plain have numbers.
local numbers, last_number = setmetatable({}, { __mode = "k" }), 0

local function token(value, depth)
  local kind = type(value)
  if kind == "number" then
    return format("n%.17g", value)
  elseif kind == "string" then
    return format("s%d:%s", #value, value)
  elseif kind == "boolean" or kind == "nil" then
    return tostring(value)
  elseif kind == "table" and getmetatable(value) == nil and depth < 8 then
    local parts, n = {}, 0
    for key, item in next, value do
      n = n + 1
      parts[n] = token(key, depth + 1) .. "=" .. token(item, depth + 1)
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ",") .. "}"
  end
  local number = numbers[value]
  if not number then
    last_number = last_number + 1
    number = last_number
    numbers[value] = number
  end
  return "o" .. number
end

local function make_pure(spec, n, args)
  local parts = {}
  for i = 1, n do
    parts[i] = token(args[i], 0)
  end
  local key = table.concat(parts, ",")
  local node = spec.made[key]
  if not node then
    node = make(spec, n, args)
    spec.made[key] = node
  end
  return node
end

-- --------------------------------------------------------------------------------------------------------- delayed ----
local delayed_functions = setmetatable({}, { __mode = "k" }) -- to tell who forgets to call one

local known = { name = true, pure = true, retries = true, nout = true, traverse = true }

-- {count, delay} of retries = 3 or {count = 3, delay = 0.1}.
local function parse_retries(retries)
  local count, delay = retries, 0
  if type(retries) == "table" then
    check_options("delayed: retries", retries, { count = true, delay = true })
    count, delay = retries.count, retries.delay == nil and 0 or retries.delay
  end
  if not is_integer(count) or count < 0 or count > 1e6 then
    fail("delayed: retries must be an integer from 0 to 1000000, or {count = 3, delay = 0.1}, got %s", kind_of(count))
  elseif type(delay) ~= "number" or not (delay >= 0 and delay <= 1e6) then
    fail("delayed: the delay of retries must be a number of seconds from 0 to 1e6, got %s", kind_of(delay))
  end
  return count, delay
end

local function parse(fn, options)
  if type(options) ~= "table" then
    fail("delayed: options are a table such as {name = \"load\"}, got %s; arguments go into a second pair of " ..
      "parentheses, as in delayed(f)(x)", kind_of(options))
  end
  check_options("delayed", options, known)
  local name, nout = options.name, options.nout
  if name ~= nil and (type(name) ~= "string" or name == "") then
    fail("delayed: the name must be a string that is not empty, got %s", kind_of(name))
  elseif nout ~= nil and (not is_integer(nout) or nout < 1 or nout > 200) then
    fail("delayed: nout, how many results the function has, must be an integer from 1 to 200, got %s", kind_of(nout))
  end
  for _, key in pairs { "pure", "traverse" } do
    if options[key] ~= nil and type(options[key]) ~= "boolean" then
      fail("delayed: %s must be true or false, got %s", key, kind_of(options[key]))
    end
  end
  local count, delay = parse_retries(options.retries == nil and 0 or options.retries)
  return { name = name, nout = nout, retries = count, delay = delay, traverse = options.traverse ~= false,
    made = options.pure and setmetatable({}, { __mode = "v" }) or nil, fn = fn }
end

--- tasks.delayed(f [, {name, pure, nout, retries, traverse}]) -> a function whose calls are put off: each gives a delayed
--- value. tasks.delayed(value) -> a delayed value that is there already, or a table of delayed ones as one.
function tasks.delayed(fn, options)
  local spec = parse(fn, options == nil and {} or options)
  if is_delayed(fn) or delayed_functions[fn] then
    return fn
  elseif type(fn) ~= "function" then
    if fn == nil then
      fail("delayed: a function or a value is expected, got nil")
    end
    for key in pairs(options or {}) do
      if key ~= "name" and key ~= "traverse" then
        fail("delayed: option '%s' is for functions, and this is %s", key, kind_of(fn))
      end
    end
    spec.fn, spec.name, spec.operator = functions.value, spec.name or "value", "value"
    return make(spec, 1, { fn })
  end
  spec.name = spec.name or library_name(fn) or written_name(fn) or "function"
  spec.place = place_of(fn)
  local nout, build = spec.nout, spec.made and make_pure or make
  local result
  if not nout or nout == 1 then
    function result(...)
      return build(spec, select("#", ...), { ... })
    end
  else
    function result(...)
      local all = build(spec, select("#", ...), { ... })
      local results = {}
      for i = 1, nout do
        results[i] = make(operators.index, 2, { all, i })
      end
      return unpack(results, 1, nout)
    end
  end
  delayed_functions[result] = true
  return result
end

--- tasks.is_delayed(value) -> true for a delayed value.
function tasks.is_delayed(value)
  return is_delayed(value)
end

-- ------------------------------------------------------------------------------------------------ nodes as text ------
local function short(value)
  local kind = type(value)
  if is_delayed(value) then
    return "<" .. value._spec.name .. ">"
  elseif kind == "string" then
    return #value > 20 and format("%q", sub(value, 1, 17) .. "...") or format("%q", value)
  elseif kind == "number" then
    return format("%.6g", value)
  elseif kind == "boolean" or kind == "nil" then
    return tostring(value)
  elseif array.is(value) then
    local shape = value.shape
    return format("%s[%s]", value.dtype, table.concat(shape, "x"))
  elseif kind == "table" then
    return "{...}"
  end
  return kind
end

--- A node as a script would write it: load("a.csv"), <load> + 1.
local function call_text(node)
  local spec, args, n = node._spec, node._args, node._n
  local operator = spec.operator
  if operator == "index" then
    local key = args[2]
    return short(args[1]) .. (type(key) == "string" and "." .. key or "[" .. short(key) .. "]")
  elseif operator == "unm" then
    return "-" .. short(args[1])
  elseif operator == "value" then
    return spec.name
  elseif operator and operator ~= "call" then
    return format("%s %s %s", short(args[1]), spec.name, short(args[2]))
  end
  local parts = {}
  for i = operator and 2 or 1, n do
    if #parts == 6 then
      parts[7] = "..."
      break
    end
    parts[#parts + 1] = short(args[i])
  end
  return format("%s(%s)", operator and short(args[1]) or spec.name, table.concat(parts, ", "))
end

function Delayed.__tostring(self)
  return "delayed " .. call_text(self)
end

-- ----------------------------------------------------------------------------------------------------------- parts ----
local kit = { tasks = tasks, methods = methods, Delayed = Delayed, is_delayed = is_delayed, make = make,
  delayed_functions = delayed_functions,
  operators = operators, each_node = each_node, copy_tables = copy_tables, call_text = call_text, kind_of = kind_of,
  check_options = check_options, is_integer = is_integer }
for _, name in pairs { "tasks_graph", "tasks_report", "tasks_pool", "tasks_compute", "tasks_visualize" } do
  core.part(name, kit)
end

tasks._methods = methods

return tasks
