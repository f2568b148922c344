-- An equal split: as many games a worker. The last worker has most of the darts.
local pg = require "perigee"

local workers = pg.threads()
local pool = pg.parallel.pool(workers)

local function play(game)
  local rng, hits = require("perigee").random.generator(game.seed), 0
  for _ = 1, game.darts do
    local x, y = rng:uniform(), rng:uniform()
    if x * x + y * y <= 1 then
      hits = hits + 1
    end
  end
  return hits
end

-- Each worker plays as many games.
local function solve(games)
  local size = math.max(1, math.ceil(#games / workers))
  local hits = pool:map(play, games, { chunksize = size })
  local sum, darts = 0, 0
  for i, game in ipairs(games) do
    sum, darts = sum + hits[i], darts + game.darts
  end
  return { hits = hits, pi = darts > 0 and 4 * sum / darts or 0 }
end

return { solve = solve }
