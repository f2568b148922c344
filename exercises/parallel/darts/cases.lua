-- Inputs of the darts games. size = {games, darts, alike}: about so many darts in all games together; the games are alike,
-- or grow from short to long.

local function inputs(rng, size)
  local games, weight = {}, 0
  for i = 1, size.games do
    weight = weight + (size.alike and 1 or i ^ 3)
  end
  for i = 1, size.games do
    games[i] = { seed = rng:integers(0, 2 ^ 40),
      darts = math.floor(size.darts * (size.alike and 1 or i ^ 3) / weight * rng:uniform(0.9, 1.1)) }
  end
  return { games }
end

local function check(inputs, got, expected)
  local games = inputs[1]
  if type(got) ~= "table" then
    return false, "the result must be a table {hits = {...}, pi = ...}, not a " .. type(got)
  elseif type(got.hits) ~= "table" or #got.hits ~= #games then
    return false, ("hits must hold a number for each of the %d games"):format(#games)
  end
  local hits, darts = 0, 0
  for i, game in ipairs(games) do
    hits, darts = hits + expected.hits[i], darts + game.darts
    if got.hits[i] ~= expected.hits[i] then
      return false, ("game %d has %s hits of %d darts, expected %d; a game's darts come from its own generator, x before y")
        :format(i, tostring(got.hits[i]), game.darts, expected.hits[i])
    end
  end
  if #games == 0 then
    return got.pi == 0, "pi of no darts is 0"
  end
  local pi, p = 4 * hits / darts, math.pi / 4
  if type(got.pi) ~= "number" or math.abs(got.pi - pi) > 1e-12 then
    return false, ("pi must be 4 times the hits of all darts: %.15g, got %s"):format(pi, tostring(got.pi))
  end
  assert(math.abs(pi - math.pi) <= 4 * 6 * math.sqrt(p * (1 - p) / darts), "six sigma off: the streams are not random")
  return true
end

return { inputs = inputs, check = check }
