-- Inputs of the delayed graph. size = {numbers}: how many there are; each call takes 4 to 5 ms.

local function inputs(rng, size)
  local numbers = {}
  for i = 1, size.numbers do
    numbers[i] = rng:integers(1, 1000)
  end
  return { numbers, rng:uniform(4e-3, 5e-3) }
end

local function check(inputs, got, expected, info)
  local numbers, seconds = inputs[1], inputs[2]
  if type(got) ~= "number" then
    return false, "the result must be a number, not a " .. type(got) ..
      (type(got) == "table" and "; is it delayed still? compute it" or "")
  elseif got ~= expected then
    return false, ("the total is %.17g, expected %.17g"):format(got, expected)
  end
  local least = #numbers == 0 and 0 or seconds * (1 + math.ceil(math.log(#numbers) / math.log(2) - 1e-9))
  if info and info.wall and info.wall < least then
    return false, ("all was done after %.1f ms, but the calls of a critical path take %.1f ms: call the functions of the " ..
      "starter, which wait"):format(info.wall * 1e3, least * 1e3)
  end
  return true
end

return { inputs = inputs, check = check }
