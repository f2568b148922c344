-- The whole text to all ranks, blocks of first places, and partial tables gathered and added up on rank 0.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

local function solve(text, words, lags)
  local job = world:bcast({ n = text and text.size, words = words, lags = lags }, 0)
  local n = job.n
  words, lags = job.words, job.lags
  text = text or array.empty({ n }, { dtype = "int32" })
  world:Bcast(text, 0)

  -- The first places are mine from `low` to `high`; what comes after them is needed for the second ones.
  local low, high = math.floor(n * rank / size) + 1, math.floor(n * (rank + 1) / size)
  local counts = array.zeros(words, lags)
  local places, number = {}, {}
  for w = 1, words do
    places[w], number[w] = array.zeros({ math.max(n, 1) }, { dtype = "int32" }), 0
  end
  for i = low, math.min(high + lags - 1, n) do
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
      if i > high then
        break
      end
      for second = first, last do
        local lag = at[second] - i
        if lag >= lags then
          break
        end
        row[lag + 1] = row[lag + 1] + 1
      end
    end
  end

  local parts = world:gather(counts, 0)
  if rank > 0 then
    return
  end
  local acf = array.zeros(words, lags)
  for _, part in ipairs(parts) do
    acf:add_(part)
  end
  for w = 1, words do
    if acf[w][1] > 0 then
      acf[w] = acf[w] / acf[w][1]
    end
  end
  return acf
end

return { solve = solve }
