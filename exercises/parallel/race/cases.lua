-- Inputs of the race. size = {n, more, one}: n values, up to `more` more; with `one` each counts 1.

local function inputs(rng, size)
  local n = size.n + (size.more and rng:integers(0, size.more) or 0)
  return { n, size.one and 0 or rng:integers(100000, 1000000) }
end

local function check(_, got, expected)
  if type(got) ~= "number" then
    return false, "the result must be a number, not a " .. type(got)
  elseif got ~= expected then
    local lost = expected - got
    return false, ("the total is %.17g, expected %.17g%s"):format(got, expected, lost > 0 and
      (": %.17g points were lost; who else wrote the total between reading and writing it?"):format(lost) or "")
  end
  return true
end

return { inputs = inputs, check = check }
