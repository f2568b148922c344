-- Inputs and checks of elementwise. size = n.
local array = require "perigee.array"

local relative = 1e-12

local function inputs(rng, n)
  -- Sizes from 1e-3 to 1e3, evenly over the powers of ten, with both signs.
  local x = rng:uniform(-3, 3, { shape = { n } })
  local sign = rng:integers(0, 1, { shape = { n }, dtype = "int32" })
  for i = 1, n do
    x[i] = 10 ^ x[i] * (sign[i] * 2 - 1)
  end
  return { x }
end

local names = { "reciprocal", "root", "difference" }

local function expected(inputs)
  local x = inputs[1]
  local n = x.shape[1]
  local want = { reciprocal = array.empty(n), root = array.cbrt(x), difference = array.empty(n - 1) }
  for i = 1, n do
    want.reciprocal[i] = 1 / x[i]
  end
  for i = 1, n - 1 do
    want.difference[i] = x[i + 1] - x[i]
  end
  return want
end

local function check(inputs, got, want)
  local x = inputs[1]
  if type(got) ~= "table" then
    return false, "the result must be a table {reciprocal = ..., root = ..., difference = ...}, not a " .. type(got)
  end
  for _, name in ipairs(names) do
    local a, b = got[name], want[name]
    local n = b.shape[1]
    if not array.is(a) then
      return false, ("%s must be a float64 array, not a %s"):format(name, type(a))
    end
    if a.dtype ~= "float64" or a.ndim ~= 1 or a.shape[1] ~= n then
      return false, ("%s must be a float64 array of length %d for an x of length %d, got %s of shape %s")
        :format(name, n,
        x.shape[1], a.dtype, table.concat(a.shape, " x "))
    end
    for i = 1, n do
      if not (math.abs(a[i] - b[i]) <= relative * math.abs(b[i])) then
        local hint = ""
        if a[i] ~= a[i] then
          hint = ": `^ (1 / 3)` of a negative number is not a number, its cube root is"
        elseif name == "difference" and a[i] == -b[i] then
          hint = ": it is the next element minus this one"
        end
        return false, ("%s[%d] is %.15g, expected %.15g for x[%d] = %.15g%s"):format(name, i, a[i], b[i], i, x[i],
          name == "difference" and (", x[%d] = %.15g"):format(i + 1, x[i + 1]) .. hint or hint)
      end
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
