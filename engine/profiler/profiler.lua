-- pg.profiler: where the time of a script goes. The base: running what is profiled, naming functions, tables for the
-- terminal. Each kind of profile is a part, profiler_<kind>.lua.
local core = ...
local format, match, find, gsub, sub, rep = string.format, string.match, string.find, string.gsub, string.sub, string.rep
local concat, sort, floor, max, min = table.concat, table.sort, math.floor, math.max, math.min

local profiler = { _optional = { last = true } } -- last: the last profile, also of a function that failed
local kit = { profiler = profiler, natives = core.natives.profiler }

-- ------------------------------------------------------------------------------------------------------- sources -----
local texts = {} -- chunk name -> its lines

-- The lines of a chunk's text, {} where it is not known. `source` is as debug.getinfo tells it.
function kit.lines_of(source)
  local lines = texts[source]
  if not lines then
    local name = match(source, "^@(.*)$") or source
    local text = core.chunks[name]
    local module = match(name, "^perigee:(.*)$")
    if not text and module then
      text = core.source(module .. ".lua")
    elseif not text and find(name, "\n", 1, true) then
      text = name -- a text that was loaded without a name is its own
    end
    lines = {}
    for line in string.gmatch((text or "") .. "\n", "(.-)\r?\n") do
      lines[#lines + 1] = line
    end
    texts[source] = lines
  end
  return lines
end

function kit.is_engine(source)
  return find(source, "^@perigee:") ~= nil
end

-- What a file is called in reports: an engine module by its name.
function kit.file_of(source)
  local module = match(source, "^@perigee:(%a%w*)")
  if module then
    return "perigee." .. module
  end
  return match(source, "^[@=](.*)$") or (find(source, "\n", 1, true) or #source > 60) and "(text)" or source
end

-- The name that a function has where it is defined: LuaJIT keeps none. "" defines are main chunks.
local function defined_name(source, line)
  if line == 0 then
    return "main chunk"
  end
  local text = kit.lines_of(source)[line] or ""
  local name = match(text, "function%s+([%a_][%w_.:]*)") or match(text, "([%a_][%w_.]*)%s*=%s*function") or
    match(text, "%[%s*[\"']([^\"']+)[\"']%s*%]%s*=%s*function")
  if not name then
    return format("function at line %d", line)
  end
  local module = match(source, "^@perigee:(%a%w*)")
  if module then
    name = gsub(gsub(name, "^methods[.:]", module .. ":"), "^getters[.:]", module .. ":")
    if not find(name, "[.:]") then
      name = module .. "." .. name
    end
  end
  return name
end

-- A table of functions, each {name, file, source, line, engine}; `of(source, line [, called])` gives the index of one.
-- `called`: how a script called an engine function.
function kit.function_table()
  local functions, index = {}, {}
  return functions, function(source, line, called)
    -- An engine function that tail-calls another one is one function: the script made one call.
    local key = called and match(source, "^@perigee:%a%w*") .. "\0" .. called or source .. "\0" .. line
    local at = index[key]
    if not at then
      at = #functions + 1
      local name = defined_name(source, line)
      local module = called and match(source, "^@perigee:(%a%w*)")
      if module then
        local separator = match(name, "^%w+([.:])") or "."
        name = module .. separator .. called
      end
      functions[at] = { name = name, file = kit.file_of(source), source = source, line = line,
        engine = kit.is_engine(source) }
      index[key] = at
    end
    return at
  end
end

-- -------------------------------------------------------------------------------------------------------- running ----
local running

-- Runs fn(...) between start() and stop(), where only one profile runs at a time in a VM. Returns what stop() returned,
-- whether fn succeeded, and its results or its error.
function kit.run(what, start, stop, fn, ...)
  if type(fn) ~= "function" then
    core.fail("%s: a function is expected, got %s", what, type(fn))
  end
  if running then
    core.fail("%s: %s is running already; profiles cannot be nested", what, running)
  end
  start()
  running = what
  local results = { n = 0 }
  local function keep(...)
    results = { n = select("#", ...), ... }
  end
  keep(xpcall(fn, function(value)
    return { value = value, report = core.describe_error(value) }
  end, ...))
  running = nil
  return stop(), results
end

-- What a profiling function returns: the profile, then fn's results; fn's error is raised again, with the profile kept
-- in profiler.last.
function kit.finish(profile, results)
  profiler.last = profile
  if not results[1] then
    profile.failure = results[2].report
    error(results[2].value, 0)
  end
  return profile, unpack(results, 2, results.n)
end

-- A profile's stacks as a tree: nodes {fn, seconds, own, children, activities = {name = seconds of its own}}.
function kit.tree(profile)
  local function new(fn)
    return { fn = fn, seconds = 0, own = 0, children = {}, by = {}, activities = {} }
  end
  local root = new()
  for _, stack in ipairs(profile.stacks) do
    local node = root
    node.seconds = node.seconds + stack.seconds
    for _, frame in ipairs(stack.frames) do
      local child = node.by[frame.fn]
      if not child then
        child = new(profile.functions[frame.fn])
        node.by[frame.fn] = child
        table.insert(node.children, child)
      end
      child.seconds = child.seconds + stack.seconds
      node = child
    end
    node.own = node.own + stack.seconds
    node.activities[stack.activity] = (node.activities[stack.activity] or 0) + stack.seconds
  end
  return root
end

-- ------------------------------------------------------------------------------------------------ for the terminal ---
-- Seconds with a unit and three digits.
function kit.seconds(s)
  if s == 0 then
    return "0 s"
  elseif s >= 100 then
    return format("%.0f s", s)
  elseif s >= 0.9995 then -- what rounds to 1000 has the next unit
    return format("%.3g s", s)
  elseif s >= 0.9995e-3 then
    return format("%.3g ms", s * 1e3)
  elseif s >= 0.9995e-6 then
    return format("%.3g us", s * 1e6)
  end
  return format("%.3g ns", s * 1e9)
end

function kit.percent(part, whole)
  return whole > 0 and format("%.1f%%", 100 * part / whole) or "-"
end

local function width_of(text) -- in characters, not bytes
  local _, count = gsub(text, "[^\128-\191]", "")
  return count
end

-- Shortens to `width` characters, from the left where `tail` (of a path the end matters).
function kit.shorten(text, width, tail)
  local count = width_of(text)
  if count <= width then
    return text
  end
  local characters = {}
  for c in string.gmatch(text, "[^\128-\191][\128-\191]*") do
    characters[#characters + 1] = c
  end
  if tail then
    return "…" .. concat(characters, "", count - width + 2)
  end
  return concat(characters, "", 1, width - 1) .. "…"
end

-- Text as lines of at most `width` characters, broken at spaces.
function kit.wrap(text, width)
  local lines, line = {}, ""
  for word in string.gmatch(text, "%S+") do
    if line ~= "" and width_of(line) + 1 + width_of(word) > width then
      lines[#lines + 1], line = line, word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return lines
end

-- Rows of text as columns: `columns` are {title, right = bool, width = most characters, tail = bool}. At most 100 columns
-- wide where the widths say so.
function kit.table(columns, rows)
  local widths = {}
  for i, column in ipairs(columns) do
    widths[i] = width_of(column[1])
  end
  for _, row in ipairs(rows) do
    for i, column in ipairs(columns) do
      row[i] = kit.shorten(row[i], column.width or 1000, column.tail)
      widths[i] = max(widths[i], width_of(row[i]))
    end
  end
  local out = {}
  local function line(row)
    local cells = {}
    for i, column in ipairs(columns) do
      local fill = rep(" ", widths[i] - width_of(row[i]))
      cells[i] = column.right and fill .. row[i] or row[i] .. fill
    end
    out[#out + 1] = (gsub(concat(cells, "  "), "%s+$", ""))
  end
  local titles = {}
  for i, column in ipairs(columns) do
    titles[i] = column[1]
  end
  line(titles)
  for _, row in ipairs(rows) do
    line(row)
  end
  return concat(out, "\n")
end

-- "file:line" with the folder left out: reports are narrow, and the title says which script was run.
function kit.place(fn, line)
  if fn.thread then
    return ""
  end
  return format("%s:%d", match(fn.file, "[^/]*$"), line or fn.line)
end

for _, part in ipairs { "export", "flame", "sample", "trace", "jit", "memory", "counters", "ops", "timeline", "command" } do
  core.part("profiler_" .. part, kit)
end

return profiler
