-- Each rank takes some of the words, point to point: no borders, but the rank that has the most frequent word works while
-- the others wait.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- The row of one word.
local function row_of(text, w, lags)
  local n, row = text.size, array.zeros(lags)
  local at, last = array.zeros({ math.max(n, 1) }, { dtype = "int32" }), 0
  for i = 1, n do
    if text[i] == w then
      last = last + 1
      at[last] = i
    end
  end
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
  return last > 0 and row / last or row
end

local function solve(text, words, lags)
  if rank > 0 then
    local job = world:recv(0)
    for w = rank + 1, job.words, size do
      world:send({ word = w, row = row_of(job.text, w, job.lags) }, 0)
    end
    return
  end
  for r = 1, size - 1 do
    world:send({ text = text, words = words, lags = lags }, r)
  end
  local acf = array.zeros(words, lags)
  for w = 1, words, size do
    acf[w] = row_of(text, w, lags)
  end
  for w = 1, words do
    if (w - 1) % size > 0 then
      local part = world:recv((w - 1) % size)
      acf[part.word] = part.row
    end
  end
  return acf
end

return { solve = solve }
