-- Find the hot line: this one looks at what is called most, which is not the question. The README has the task.
-- Try it with:  perigee check profiling/hot-line
local profiler = require "perigee.profiler"

-- program: the text of a program, work: its argument. Returns {name, line, hits, share (percent), calls} of the hottest
-- line.
local function solve(program, work)
  local run = load(program, "program")
  local profile = profiler.trace(run, work)
  local most
  for _, row in ipairs(profile.calls) do
    if row.fn.file == "program" and (not most or row.calls > most.calls) then
      most = row
    end
  end
  return { name = most.fn.name, line = most.fn.line, hits = 0, share = 100 * most.own / profile.seconds,
    calls = most.calls }
end

return { solve = solve }
