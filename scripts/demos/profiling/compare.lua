-- Which of two functions is faster? Timing one after the other compares the machine at two times; bench.compare lets
-- them take turns. Run me: perigee run scripts/demos/profiling/compare.lua
local pg = require "perigee"
local bench = pg.bench

local words = {}
for i = 1, 300 do
  words[i] = "word" .. i
end

local function concatenate()
  local text = ""
  for i = 1, #words do
    text = text .. words[i]
  end
  return text
end

local function collect()
  return table.concat(words)
end

-- Each .. copies all that came before: 300 copies, growing.
bench.compare({ naive = concatenate, concat = collect }, { seconds = 0.5 })

-- Equal work must show no difference, or the measurement itself is wrong.
print()
bench.compare({ once = collect, again = function() return table.concat(words) end }, { seconds = 0.5, baseline = "once" })

-- One function by itself.
print()
print(bench.run(collect, { name = "table.concat of 300 words", seconds = 0.3 }))
