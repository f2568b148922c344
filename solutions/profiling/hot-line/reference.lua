-- A line profile for the line and its hits, a trace for the calls: each profile for what it can tell.
local profiler = require "perigee.profiler"

local function solve(program, work)
  local run = load(program, "program")
  local lines = profiler.lines()
  lines:run(run, work)
  local all, hot = 0, nil
  for _, row in ipairs(lines.rows) do
    all = all + row.hits
    if not hot or row.hits > hot.hits then
      hot = row
    end
  end
  local name, calls = lines.functions[hot.fn].name, nil
  for _, row in ipairs(profiler.trace(run, work).calls) do
    if row.fn.file == "program" and row.fn.name == name then
      calls = row.calls
    end
  end
  return { name = name, line = hot.line, hits = hot.hits, share = 100 * hot.hits / all, calls = calls }
end

return { solve = solve }
