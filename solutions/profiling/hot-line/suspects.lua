-- Teaches: narrowing down, as with a large program. The trace says which functions there are and how often each is called;
-- only their lines are looked at then, not those of the main chunk that calls them.
local profiler = require "perigee.profiler"

local function solve(program, work)
  local run = load(program, "program")
  local calls = {}
  for _, row in ipairs(profiler.trace(run, work).calls) do
    if row.fn.file == "program" then
      calls[row.fn.name] = row.calls
    end
  end
  local lines = profiler.lines()
  lines:run(run, work)
  local all, hot = 0, nil
  for _, row in ipairs(lines.rows) do
    all = all + row.hits
    if calls[lines.functions[row.fn].name] and (not hot or row.hits > hot.hits) then
      hot = row
    end
  end
  local name = lines.functions[hot.fn].name
  return { name = name, line = hot.line, hits = hot.hits, share = 100 * hot.hits / all, calls = calls[name] }
end

return { solve = solve }
