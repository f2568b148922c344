-- Blocks of places, each with the lags - 1 places after it; counted apart and added up by a reduction. A pair belongs to
-- the rank that has its first place, so every rank has about as many.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- The places of rank r: first to last, and `reach`, the last one that a pair of them can have.
local function block(n, lags, r)
  local first, last = math.floor(n * r / size) + 1, math.floor(n * (r + 1) / size)
  return first, last, math.max(last, math.min(last + lags - 1, n))
end

-- Adds the pairs whose first place is among the first `own`.
local function count_pairs(text, own, words, lags, counts)
  local n = text.size
  local places, number = {}, {}
  for w = 1, words do
    places[w], number[w] = array.zeros({ n }, { dtype = "int32" }), 0
  end
  for i = 1, n do
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
      if i > own then
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
end

local function solve(text, words, lags)
  local job = world:bcast({ n = text and text.size, words = words, lags = lags }, 0)
  words, lags = job.words, job.lags
  local first, last, reach = block(job.n, lags, rank)
  local mine
  if rank == 0 then
    for r = 1, size - 1 do
      local from, to, upto = block(job.n, lags, r)
      if to >= from then
        world:Send(text[{ { from, upto } }], r)
      end
    end
    mine = text[{ { first, reach } }]
  elseif last >= first then
    mine = array.empty({ reach - first + 1 }, { dtype = "int32" })
    world:Recv(mine, 0)
  end
  local counts = array.zeros(words, lags)
  if last >= first then
    count_pairs(mine, last - first + 1, words, lags, counts)
  end
  local total = rank == 0 and array.empty(words, lags) or nil
  world:Reduce(counts, total, "sum", 0)
  if rank > 0 then
    return
  end
  for w = 1, words do
    if total[w][1] > 0 then
      total[w] = total[w] / total[w][1]
    end
  end
  return total
end

return { solve = solve }
