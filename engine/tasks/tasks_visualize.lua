-- Part of pg.tasks: a graph in Graphviz's language, and drawn by its program dot.
local core, kit = ...
local tasks, methods, is_delayed, kind_of = kit.tasks, kit.methods, kit.is_delayed, kit.kind_of
local fail = core.fail
local io, os = io, os
local type, ipairs, concat, format, gsub, match, find, max = type, ipairs, table.concat, string.format, string.gsub,
  string.match, string.find, math.max

-- dot lays out some thousand nodes in seconds, and then takes minutes.
local most_drawn = 5000

-- A text in double quotes. dot gives meanings to backslashes in labels, and takes bytes that are not UTF-8 amiss.
local function quote(text)
  if find(text, "[\128-\255]") and not kit.is_utf8(text) then
    text = gsub(text, "[\128-\255]", "?")
  end
  text = gsub(gsub(text, '[\\"]', "\\%0"), "\n", "\\n")
  return '"' .. gsub(text, "%c", " ") .. '"'
end

function kit.is_utf8(text)
  local i, n = 1, #text
  while i <= n do
    local a = text:byte(i)
    local more = a < 0x80 and 0 or a >= 0xC2 and a < 0xE0 and 1 or a >= 0xE0 and a < 0xF0 and 2 or a >= 0xF0 and a < 0xF5 and 3
    if not more or not find(text, "^[\128-\191]" .. ("[\128-\191]"):rep(more - 1), i + 1) and more > 0 then
      return false
    end
    i = i + more + 1
  end
  return true
end

-- The graph as text. With a report, labels say how long each call took, and the critical path is red.
local function dot_text(graph, roots, report)
  local lines, is_root, critical, seconds = { "digraph tasks {", "  rankdir=BT;",
    '  node [shape=ellipse, fontname="Helvetica"];' }, {}, {}, {}
  for _, root in ipairs(roots) do
    is_root[root] = true
  end
  if report then
    for node, i in pairs(report._index) do
      seconds[node] = report.nodes[i]
    end
    for _, record in ipairs(tasks.critical_path(report).nodes) do
      critical[record] = true
    end
  end
  for i, node in ipairs(graph.nodes) do
    local label, record = kit.call_text(node), seconds[node]
    label = label:gsub("<[^<>]*>", "_")
    if record then
      label = format("%s\n%.3g ms", label, record.seconds * 1e3)
    end
    lines[#lines + 1] = format("  n%d [label=%s%s%s];", i, quote(label), is_root[node] and ", peripheries=2" or "",
      record and critical[record] and ", color=red" or "")
  end
  for i, inputs in ipairs(graph.inputs) do
    local seen = {}
    for _, input in ipairs(inputs) do
      if not seen[input] then
        seen[input] = true
        lines[#lines + 1] = format("  n%d -> n%d;", input, i)
      end
    end
  end
  lines[#lines + 1] = "}\n"
  return concat(lines, "\n")
end

local function shell(text)
  return "'" .. gsub(text, "'", "'\\''") .. "'"
end

local function write_file(path, text)
  local file, reason = io.open(path, "wb")
  if not file then
    fail("visualize: cannot write %s", reason)
  end
  local ok, wrong = file:write(text)
  file:close()
  if not ok then
    fail("visualize: cannot write %s: %s", path, wrong)
  end
end

-- Runs dot on a text; returns nil, or why there is no picture.
local function draw(text, kind, path)
  local pipe = io.popen("command -v dot 2>/dev/null", "r")
  local found = pipe and pipe:read("*l")
  if pipe then
    pipe:close()
  end
  if not found then
    return pipe and "Graphviz is not installed, which draws graphs (Debian: apt-get install graphviz)" or
      "this process may not start programs, and graphs are drawn by Graphviz"
  end
  local source = os.tmpname()
  write_file(source, text)
  pipe = io.popen(format("dot -T%s -o %s %s 2>&1", kind, shell(path), shell(source)), "r")
  local said = pipe and pipe:read("*a") or "it cannot be started"
  if pipe then
    pipe:close()
  end
  os.remove(source)
  if find(said, "Error") or not pipe then
    return "Graphviz's dot failed: " .. gsub(said, "%s+$", "")
  end
end

local endings = { svg = true, png = true, dot = true, gv = true }

--- tasks.visualize(d or {d, ...} [, {file, report}]) -> the graph in Graphviz's language (DOT); with a file, writes it there:
--- .dot (text), or .svg or .png, drawn by Graphviz. Returns the file's name; where there is no Graphviz, writes DOT instead,
--- says so, and returns that file's name and the reason.
function tasks.visualize(value, options)
  options = options or {}
  if type(options) ~= "table" then
    fail("visualize: options are a table such as {file = \"graph.svg\"}, got %s", kind_of(options))
  end
  kit.check_options("visualize", options, { file = true, report = true })
  local roots = {}
  if is_delayed(value) then
    roots[1] = value
  elseif type(value) == "table" and getmetatable(value) == nil then
    kit.each_node(value, function(node) roots[#roots + 1] = node end)
  end
  if not roots[1] then
    fail("visualize: a delayed value, or a table of them, is expected, got %s", kind_of(value))
  end
  if options.report ~= nil and not kit.is_report(options.report) then
    fail("visualize: report must be what compute(d, {report = true}) returned last, got %s", kind_of(options.report))
  end
  local graph = kit.graph("visualize", roots)
  local text, file = dot_text(graph, roots, options.report), options.file
  if file == nil then
    return text
  elseif type(file) ~= "string" then
    fail("visualize: file must be a string, got %s", kind_of(file))
  end
  local kind = match(file, "%.(%w+)$")
  kind = kind and kind:lower()
  if not endings[kind] then
    fail('visualize: the file\'s name must end in ".svg", ".png" or ".dot", got %q', file)
  elseif kind == "dot" or kind == "gv" then
    write_file(file, text)
    return file
  end
  local reason = graph.count > most_drawn and format("it has %d nodes, and dot draws at most %d in good time", graph.count,
    most_drawn) or draw(text, kind, file)
  if reason then
    local instead = gsub(file, "%.%w+$", ".dot")
    write_file(instead, text)
    core.write(format("visualize: wrote %s instead of %s: %s\n", instead, file, reason))
    return instead, reason
  end
  return file
end

function methods.visualize(self, options)
  return tasks.visualize(self, options)
end
