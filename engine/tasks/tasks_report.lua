-- Part of pg.tasks: what each node of a run took, and the chain of nodes that nothing can shorten but those nodes.
local core, kit = ...
local tasks, is_delayed, kind_of = kit.tasks, kit.is_delayed, kit.kind_of
local fail = core.fail
local ipairs, setmetatable, getmetatable, type = ipairs, setmetatable, getmetatable, type
local format, concat, max, rep = string.format, table.concat, math.max, string.rep

local Report = {}
Report.__index = Report

local function seconds_text(s)
  return s >= 1 and format("%.3g s", s) or s >= 1e-3 and format("%.3g ms", s * 1e3) or format("%.3g us", s * 1e6)
end

-- The chain of nodes with the largest sum of weights: numbers of nodes, and the sum.
local function longest_chain(inputs, count, weight)
  local sums, before, last = {}, {}, nil
  for i = 1, count do
    local best, from = 0, nil
    for _, input in ipairs(inputs[i]) do
      if sums[input] >= best then
        best, from = sums[input], input
      end
    end
    sums[i], before[i] = best + weight(i), from
    if not last or sums[i] > sums[last] then
      last = i
    end
  end
  local chain, i = {}, last
  while i do
    table.insert(chain, i)
    i = before[i]
  end
  for k = 1, #chain / 2 do
    chain[k], chain[#chain + 1 - k] = chain[#chain + 1 - k], chain[k]
  end
  return chain, last and sums[last] or 0
end

--- The report of a run: what compute returns last where it is asked for one.
function kit.report(run)
  local graph, nodes, busy, workers, seen = run.graph, {}, 0, 0, {}
  for i = 1, graph.count do
    local node, seconds = graph.nodes[i], run.seconds[i] or 0
    nodes[i] = { name = node._spec.name, call = kit.call_text(node), start = run.start[i] or 0, seconds = seconds,
      worker = run.worker[i], inputs = graph.inputs[i], failed = run.failed[i] ~= nil }
    busy = busy + seconds
    if run.worker[i] and not seen[run.worker[i]] then
      seen[run.worker[i]] = true
      workers = workers + 1
    end
  end
  local report = setmetatable({ nodes = nodes, wall = run.wall, busy = busy, workers = max(workers, 1),
    scheduler = run.scheduler, _index = graph.index }, Report)
  return report
end

--- tasks.critical_path(d or report) -> {nodes, seconds} of the chain of calls that decides how long the whole takes at least,
--- however many workers there are. Of a report: the chain that took longest. Of a delayed value: the one with the most nodes,
--- and no seconds, since nothing has run.
function tasks.critical_path(value)
  if type(value) == "table" and getmetatable(value) == Report then
    local inputs, path = {}, { nodes = {} }
    for i, node in ipairs(value.nodes) do
      inputs[i] = node.inputs
    end
    local chain, sum = longest_chain(inputs, #value.nodes, function(i) return value.nodes[i].seconds end)
    for k, i in ipairs(chain) do
      path.nodes[k] = value.nodes[i]
    end
    path.seconds = sum
    return path
  elseif not is_delayed(value) then
    fail("critical_path: a delayed value, or a report of compute(d, {report = true}), is expected, got %s", kind_of(value))
  end
  local graph, path = kit.graph("critical_path", { value }), { nodes = {} }
  for k, i in ipairs((longest_chain(graph.inputs, graph.count, function() return 1 end))) do
    local node = graph.nodes[i]
    path.nodes[k] = { name = node._spec.name, call = kit.call_text(node) }
  end
  return path
end

local function line(width, name, ...)
  return format("%-" .. width .. "s  %5s %10s %10s %6s", name, ...)
end

--- The report as a table, calls of a name together.
function Report:__tostring()
  local groups, order, width = {}, {}, 4
  for _, node in ipairs(self.nodes) do
    local group = groups[node.name]
    if not group then
      group = { name = node.name, calls = 0, seconds = 0, longest = 0 }
      groups[node.name] = group
      order[#order + 1] = group
      width = max(width, #node.name)
    end
    group.calls, group.seconds = group.calls + 1, group.seconds + node.seconds
    group.longest = max(group.longest, node.seconds)
  end
  table.sort(order, function(a, b) return a.seconds > b.seconds or (a.seconds == b.seconds and a.name < b.name) end)
  width = math.min(width, 40)
  local lines = { format("%d calls by scheduler \"%s\" on %d worker%s: %s, calls alone %s", #self.nodes, self.scheduler,
    self.workers, self.workers == 1 and "" or "s", seconds_text(self.wall), seconds_text(self.busy)),
    line(width, "name", "calls", "seconds", "longest", "share") }
  lines[3] = rep("-", #lines[2])
  for k, group in ipairs(order) do
    if k > 20 then
      lines[#lines + 1] = format("... %d more names", #order - 20)
      break
    end
    lines[#lines + 1] = line(width, group.name:sub(1, 40), group.calls, seconds_text(group.seconds),
      seconds_text(group.longest), format("%.0f%%", 100 * group.seconds / max(self.busy, 1e-12)))
  end
  local path, names = tasks.critical_path(self), {}
  for k, node in ipairs(path.nodes) do
    names[k] = node.name
  end
  lines[#lines + 1] = format("critical path, %s: %s", seconds_text(path.seconds), concat(kit.cut(names, 12), " -> "))
  return concat(lines, "\n")
end

kit.is_report = function(value)
  return type(value) == "table" and getmetatable(value) == Report
end
