-- The longest games first, and one at a time: a worker that is done fetches the next, and only short ones are left at the
-- end.
local pg = require "perigee"

local pool = pg.parallel.pool(pg.threads())

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

local function solve(games)
  local order, sorted = {}, {}
  for i = 1, #games do
    order[i] = i
  end
  table.sort(order, function(a, b) return games[a].darts > games[b].darts end)
  for k, i in ipairs(order) do
    sorted[k] = games[i]
  end
  local played = pool:map(play, sorted, { chunksize = 1 })
  local hits, sum, darts = {}, 0, 0
  for k, i in ipairs(order) do
    hits[i] = played[k]
    sum, darts = sum + played[k], darts + games[i].darts
  end
  return { hits = hits, pi = darts > 0 and 4 * sum / darts or 0 }
end

return { solve = solve }
