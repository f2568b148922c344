-- Inputs and checks of warm-up. size = {readings, sensors, repeats}.
local array = require "perigee.array"

local function inputs(rng, size)
  local shape = { size.readings, size.sensors }
  if size.repeats > 0 then -- few values: readings that are equal to the one before
    return { rng:integers(-2, 2, { shape = shape, dtype = "int64" }):astype("float64"), size.repeats }
  end
  return { rng:uniform(-1, 1, { shape = shape }), 0 }
end

local function expected(inputs)
  local a = inputs[1]
  local readings, sensors = a.shape[1], a.shape[2]
  local rises, largest = array.zeros(sensors, { dtype = "int64" }), array.zeros(sensors)
  for i = 2, readings do
    for s = 1, sensors do
      local rise = a[i][s] - a[i - 1][s]
      if rise > 0 then
        rises[s] = rises[s] + 1
      end
      if rise > largest[s] then
        largest[s] = rise
      end
    end
  end
  return { rises = rises, largest = largest }
end

local function is_time(x)
  return type(x) == "number" and x >= 0 and x < math.huge
end

local function check_times(repeats, got, info)
  for _, name in ipairs { "first", "warm" } do
    if not is_time(got[name]) then
      return false, ("%s must be a time in seconds, got %s"):format(name, tostring(got[name]))
    end
  end
  local first, warm = got.first, got.warm
  -- A kernel takes milliseconds to compile, and microseconds to run on these cases.
  if first < 20 * warm then
    return false, ("first is %.6f s, and a warm call takes %.6f s: compiling takes thousands of calls. With a signature "
      .. "it happens in kernel.jit: start the clock before that, and make the kernel in this call"):format(first, warm)
  end
  local least = first + repeats * warm
  if info and info.wall and least > 1.1 * info.wall + 5e-3 then
    return false, ("first and %d warm calls take %.6f s together, but the whole call took only %.6f s: are both in "
      .. "seconds?"):format(repeats, least, info.wall)
  end
  -- From below by CPU time, which does not depend on how busy the machine is.
  if info and info.cpu and least < 0.4 * info.cpu - 5e-3 then
    return false, ("first is %.6f s, and the whole call computed for %.6f s: is all of the compiling inside your two "
      .. "readings of the clock?"):format(first, info.cpu)
  end
  return true
end

local function check(inputs, got, want, info)
  local sensors, repeats = inputs[1].shape[2], inputs[2]
  if type(got) ~= "table" then
    return false, "the result must be a table {rises = ..., largest = ...}, not a " .. type(got)
  end
  for name, dtype in pairs { rises = "int64", largest = "float64" } do
    local a = got[name]
    if not array.is(a) then
      return false, ("%s must be an array of %s, not a %s"):format(name, dtype, type(a))
    elseif a.dtype ~= dtype or a.ndim ~= 1 or a.shape[1] ~= sensors then
      return false, ("%s must be an array of %s and length %d, got %s of shape %s"):format(name, dtype, sensors, a.dtype,
        table.concat(a.shape, " x "))
    end
    for s = 1, sensors do
      if a[s] ~= want[name][s] then
        return false, ("%s[%d] is %.17g, expected %.17g"):format(name, s, a[s], want[name][s])
      end
    end
  end
  if repeats > 0 then
    return check_times(repeats, got, info)
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
