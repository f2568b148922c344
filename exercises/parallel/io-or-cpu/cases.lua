-- Inputs of the jobs. size = {waits, crunches}: how many wait, and how many compute.

local function inputs(rng, size)
  local jobs = {}
  for _ = 1, size.waits do
    jobs[#jobs + 1] = { kind = "wait", seconds = rng:uniform(3e-3, 6e-3), value = rng:integers(1, 1000000) }
  end
  for _ = 1, size.crunches do
    jobs[#jobs + 1] = { kind = "crunch", steps = rng:integers(360000, 440000), value = rng:integers(1, 1000000) }
  end
  rng:shuffle(jobs)
  return { jobs }
end

local function check(inputs, got, expected, info)
  local jobs, longest = inputs[1], 0
  if type(got) ~= "table" or #got ~= #jobs then
    return false, ("the result must be a list with a number for each of the %d jobs"):format(#jobs)
  end
  for i, job in ipairs(jobs) do
    longest = math.max(longest, job.seconds or 0)
    if got[i] ~= expected[i] then
      for k, value in ipairs(expected) do
        if got[i] == value then
          return false, ("result %d is that of job %d: results must be in the order of the jobs"):format(i, k)
        end
      end
      return false, ("result %d is %s, expected %d"):format(i, tostring(got[i]), expected[i])
    end
  end
  if info and info.wall and info.wall < longest then
    return false, ("all was done after %.1f ms, but one job waits for %.1f ms: wait, as in the starter"):format(
      info.wall * 1e3, longest * 1e3)
  end
  return true
end

return { inputs = inputs, check = check }
