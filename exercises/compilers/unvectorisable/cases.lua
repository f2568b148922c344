-- Inputs and checks of unvectorisable. size = n.
local function inputs(rng, n)
  return { rng:uniform(0, 1, { shape = { n } }), rng:uniform(0, 1, { shape = { n } }), rng:uniform(0.05, 0.95) }
end

local function expected(inputs)
  local u, v, x = inputs[1], inputs[2], inputs[3]
  local n, state, ones, inside = #u, 1, 0, 0
  for i = 1, n do
    if state == 1 then
      state = u[i] < 0.1 and 2 or 1
    else
      state = u[i] < 0.2 and 1 or 2
    end
    ones = ones + (state == 1 and 1 or 0)
    x = 3.9 * x * (1 - x)
    inside = inside + (u[i] * u[i] + v[i] * v[i] < 1 and 1 or 0)
  end
  return { share = ones / n, last = x, inside = inside }
end

local function check(inputs, got, want)
  if type(got) ~= "table" then
    return false, "the result must be a table {share = ..., last = ..., inside = ...}, not a " .. type(got)
  end
  for _, name in ipairs { "share", "last", "inside" } do
    local a, b = got[name], want[name]
    if type(a) ~= "number" then
      return false, ("%s must be a number, not a %s"):format(name, type(a))
    elseif a ~= b then
      local hint = ""
      if name == "last" then
        hint = math.abs(a - b) < 1e-3 and ": nearly, but chaos shows roundings; is the order kept (no fastmath)?" or
          ": chaos shows every rounding; are the operations those of the statement, in its order (no fastmath)?"
      elseif name == "share" and a == b * #inputs[1] then
        hint = ": that is the count; divide it by n"
      end
      return false, ("%s is %.17g, expected %.17g for n = %d%s"):format(name, a, b, #inputs[1], hint)
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
