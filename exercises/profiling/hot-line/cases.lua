-- Inputs and checks of the hot line. size = {functions, split}. What is asked for are counts, which an exact profile gives
-- on any machine, however busy; the expected ones come from the grader's own profile of the same program.
-- split = 1: the function whose lines run most often has two of them, each cooler than the hottest line.
local profiler = require "perigee.profiler"

local verbs = { "parse", "merge", "rank", "filter", "encode", "score", "index", "render", "lookup", "balance" }
local whole = 120000 -- rounds of all loops, about

local bodies = {
  "for i = 1, n do x = (x + i) %% %d end",
  "for i = n, 1, -1 do x = (x * 3 + i) %% %d end",
  "for i = 1, n do x = x > i and x - 1 or x + %d end",
}

local function inputs(rng, size)
  local names = {}
  for i, name in ipairs(verbs) do
    names[i] = name
  end
  rng:shuffle(names)
  local shares = {} -- of the loops of each function
  local hot = rng:uniform(0.4, 0.48)
  shares[1] = { hot, rng:uniform(0.02, 0.05) }
  local rest = 1 - shares[1][1] - shares[1][2]
  local others = size.functions - 1
  if size.split == 1 then
    local half = hot / 2 + rng:uniform(0.01, 0.02)
    shares[2] = { half, half * rng:uniform(0.97, 1) }
    rest = rest - shares[2][1] - shares[2][2]
    others = others - 1
  end
  for i = 1, others do
    shares[#shares + 1] = { rest / others }
  end
  local functions = {}
  for i, loops in ipairs(shares) do
    functions[i] = { name = names[i], loops = loops, calls = rng:integers(5, 40) }
  end
  functions[#functions + 1] = { name = names[#shares + 1], loops = {}, calls = rng:integers(1000, 2000) }
  rng:shuffle(functions)

  local text, work = {}, {}
  local function say(...)
    text[#text + 1] = string.format(...)
  end
  for i = 1, rng:integers(0, 9) do
    say("-- %s", string.rep("=", 10 + i))
  end
  say("local work = ...")
  for _, one in ipairs(functions) do
    say("")
    say("local function %s(x)", one.name)
    if rng:integers(0, 1) == 1 then
      say("  -- what %s does", one.name)
    end
    for i, share in ipairs(one.loops) do
      work[#work + 1] = math.floor(share * whole / one.calls)
      say("  %sn = work[%d]", i == 1 and "local " or "", #work)
      say("  " .. bodies[rng:integers(1, #bodies)], rng:integers(50, 100))
    end
    say("  return x + 1")
    say("end")
  end
  say("")
  say("local sum = 0")
  for _, one in ipairs(functions) do
    say("for i = 1, %d do", one.calls)
    say("  sum = sum + %s(i)", one.name)
    say("end")
  end
  say("return sum")
  return { table.concat(text, "\n") .. "\n", work }
end

local function expected(inputs)
  local run = assert(load(inputs[1], "program"))
  local lines = profiler.lines()
  lines:run(run, inputs[2])
  local all, hot = 0, nil
  for _, row in ipairs(lines.rows) do
    all = all + row.hits
    hot = hot and hot.hits >= row.hits and hot or row
  end
  local name, calls = lines.functions[hot.fn].name, nil
  local most, most_called = 0, nil
  for _, row in ipairs(profiler.trace(run, inputs[2]).calls) do
    if row.fn.name == name then
      calls = row.calls
    end
    if row.calls > most then
      most, most_called = row.calls, row.fn.name
    end
  end
  return { name = name, line = hot.line, hits = hot.hits, share = 100 * hot.hits / all, calls = calls,
    most_called = most_called }
end

local function check(inputs, got, want)
  if type(got) ~= "table" then
    return false, "the result must be a table {name = ..., line = ..., hits = ..., share = ..., calls = ...}"
  end
  if got.line ~= want.line then
    return false, ("line is %s, but the hottest line is %d, in %s: it ran %d times%s"):format(tostring(got.line),
      want.line, want.name, want.hits, got.name == want.most_called and (". What is called most, " ..
      want.most_called .. ", need not be what does most") or "")
  end
  if got.name ~= want.name then
    return false, ('name is %s, but line %d is in the function "%s"'):format(tostring(got.name), want.line, want.name)
  end
  if got.hits ~= want.hits then
    return false, ("hits is %s, but line %d ran %d times in one run of the program"):format(tostring(got.hits), want.line,
      want.hits)
  end
  if type(got.share) ~= "number" or not (math.abs(got.share - want.share) <= 0.1) then
    return false, ("share is %s, but the %d hits of line %d are %.2f%% of all hits of the program's lines%s"):format(
      tostring(got.share), want.hits, want.line, want.share, type(got.share) == "number" and got.share <= 1 and
      ". It is asked for in percent" or "")
  end
  if got.calls ~= want.calls then
    return false, ("calls is %s, but %s was called %d times. A line profile counts lines; a trace counts calls"):format(
      tostring(got.calls), want.name, want.calls)
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
