-- Texts for the autocorrelation. size = {n, more, words, lags}: n places, up to `more` more; words 1 to `words` are asked
-- for, 0 stands for all others. As in a language, the k-th word comes 1/k times as often as the first.
local array = require "perigee.array"

local function inputs(rng, size)
  local n, words = size.n + (size.more and rng:integers(0, size.more) or 0), size.words
  local first = rng:uniform(0.18, 0.24) -- the share of word 1
  local u, text = rng:uniform(0, 1, { shape = { n } }), array.zeros({ n }, { dtype = "int32" })
  local ends, sum = {}, 0
  for w = 1, words do
    sum = sum + first / w
    ends[w] = sum
  end
  for i = 1, n do
    local x = u[i]
    for w = 1, words do
      if x < ends[w] then
        text[i] = w
        break
      end
    end
  end
  return { text, words, size.lags }
end

return { inputs = inputs }
