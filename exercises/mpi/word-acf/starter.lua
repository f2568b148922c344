-- Word autocorrelation: right, and on rank 0 alone. Make it faster with all ranks; the README has the rules.
-- Try it with:  perigee check mpi/word-acf
local pg = require "perigee"
local array, world = pg.array, pg.mpi.world

-- Adds to counts[w][t + 1] how often word w stands at a place and again t places later.
local function count_pairs(text, words, lags, counts)
  local places, number = {}, {}
  for w = 1, words do
    places[w], number[w] = array.zeros({ text.size }, { dtype = "int32" }), 0
  end
  for i = 1, text.size do
    local w = text[i]
    if w > 0 then
      number[w] = number[w] + 1
      places[w][number[w]] = i
    end
  end
  for w = 1, words do
    local at, last, row = places[w], number[w], counts[w]
    for first = 1, last do
      local i = at[first]
      for second = first, last do
        local lag = at[second] - i
        if lag >= lags then
          break
        end
        row[lag + 1] = row[lag + 1] + 1
      end
    end
  end
end

-- Rank 0 is called with the arguments, the others without any.
local function solve(text, words, lags)
  if world.rank > 0 then
    return
  end
  local acf = array.zeros(words, lags)
  count_pairs(text, words, lags, acf)
  for w = 1, words do
    if acf[w][1] > 0 then
      acf[w] = acf[w] / acf[w][1]
    end
  end
  return acf
end

return { solve = solve }
