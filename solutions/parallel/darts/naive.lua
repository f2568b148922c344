-- One core, one game after the other.
local pg = require "perigee"

local function play(game)
  local rng, hits = pg.random.generator(game.seed), 0
  for _ = 1, game.darts do
    local x, y = rng:uniform(), rng:uniform()
    if x * x + y * y <= 1 then
      hits = hits + 1
    end
  end
  return hits
end

local function solve(games)
  local hits, sum, darts = {}, 0, 0
  for i, game in ipairs(games) do
    hits[i] = play(game)
    sum, darts = sum + hits[i], darts + game.darts
  end
  return { hits = hits, pi = darts > 0 and 4 * sum / darts or 0 }
end

return { solve = solve }
