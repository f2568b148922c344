-- Inputs and checks of honest timing. size = {jobs, repeats}. The first job always sums the squares of 0 to 999.

local function inputs(rng, size)
  local jobs = {}
  local first_kind = rng:integers(0, 1)
  for i = 1, size.jobs do
    local n = i == 1 and 1000 or rng:integers(300, 2500)
    if (i + first_kind) % 2 == 0 then
      -- Computes: some 5 ms of additions, and a rest of at most 0.1 ms.
      jobs[i] = { n = n, rounds = math.floor(rng:uniform(4e6, 8e6) / n), rest = rng:uniform(0, 1e-4) }
    else
      -- Waits: at most 10 us of additions, 0.2% of the rest of 5 to 20 ms.
      jobs[i] = { n = n, rounds = rng:integers(1, 3), rest = rng:uniform(5e-3, 20e-3) }
    end
  end
  rng:shuffle(jobs)
  return { jobs, size.repeats }
end

local function expected(inputs)
  local want = {}
  for i, job in ipairs(inputs[1]) do
    local n = job.n
    want[i] = { sum = (n - 1) * n * (2 * n - 1) / 6, bound = job.rest > 1e-3 and "io" or "cpu" }
  end
  return want
end

local function is_time(x)
  return type(x) == "number" and x >= 0 and x < math.huge
end

-- Whether two readings of a CPU clock are of the same work.
local function agrees(mine, theirs)
  return math.abs(mine - theirs) <= 0.1 * theirs + 5e-3
end

local function check(inputs, got, want, info)
  local jobs, repeats = inputs[1], inputs[2]
  if type(got) ~= "table" or type(got.jobs) ~= "table" then
    return false, "the result must be a table {wall = ..., cpu = ..., jobs = {...}}"
  end
  if #got.jobs ~= #jobs then
    return false, ("jobs must hold one table for each of the %d jobs, got %d"):format(#jobs, #got.jobs)
  end
  if not is_time(got.wall) or not is_time(got.cpu) then
    return false, "wall and cpu must be times in seconds, numbers from 0"
  end
  local least, rests = 0, 0 -- what all runs take if each is as short as the best, and what they rest
  for i, job in ipairs(jobs) do
    local result = got.jobs[i]
    if type(result) ~= "table" then
      return false, ("jobs[%d] must be a table {sum = ..., best = ..., bound = ...}, got a %s"):format(i, type(result))
    end
    if result.sum ~= want[i].sum then
      return false, ("jobs[%d].sum is %s; the sum of the squares of 0 to %d is %.0f"):format(i, tostring(result.sum),
        job.n - 1, want[i].sum)
    end
    if result.bound ~= "cpu" and result.bound ~= "io" then
      return false, ('jobs[%d].bound must be "cpu" or "io", got %s'):format(i, tostring(result.bound))
    end
    if not is_time(result.best) then
      return false, ("jobs[%d].best must be a time in seconds, got %s"):format(i, tostring(result.best))
    end
    if result.best < job.rest then
      return false, ("jobs[%d].best is %.6f s, but the job alone rests for %.6f s: "
        .. "this clock stands still while the job sleeps"):format(i, result.best, job.rest)
    end
    if result.bound ~= want[i].bound then
      return false, want[i].bound == "io"
        and ("jobs[%d] is called cpu, but it rests nearly all the time: compare its two clocks"):format(i)
        or ("jobs[%d] is called io, but it computes nearly all the time: compare its two clocks"):format(i)
    end
    least = least + (repeats + 1) * result.best
    rests = rests + (repeats + 1) * job.rest
  end
  -- The grader's wall clock includes the hand-over, which a busy machine may delay by some scheduling periods; the
  -- other way round there is no excuse.
  local wall = info and info.wall or got.wall
  if got.wall > 1.01 * wall + 1e-3 or got.wall < 0.9 * wall - 20e-3 then
    return false, ("wall is %.6f s; the grader's wall clock says %.6f s for the same call%s"):format(got.wall, wall,
      got.wall < wall and ". Is all of it inside your two readings, warm-up included?" or "")
  end
  if info and info.cpu and not agrees(got.cpu, info.cpu) then
    return false, ("cpu is %.6f s; the grader's CPU clock says %.6f s for the same call%s"):format(got.cpu, info.cpu,
      got.cpu > info.cpu and ". A CPU clock stands still while a job sleeps" or "")
  end
  if got.cpu > 1.1 * got.wall + 5e-3 then
    return false, ("cpu is %.6f s and wall only %.6f s: one core cannot compute for longer than the wall clock runs")
      :format(got.cpu, got.wall)
  end
  if least > 1.1 * wall + 5e-3 then
    return false, ("%d runs of each job at its best time take %.6f s together, but the call took only %.6f s: "
      .. "was each job run %d times, once to warm up, and are all times in seconds?"):format(repeats + 1, least, wall,
      repeats + 1)
  end
  -- From below, by what does not depend on how busy the machine is: the rests, and the CPU time of all runs.
  local cpu = info and info.cpu or got.cpu
  if least < rests + 0.4 * cpu - 5e-3 then
    return false, ("the best times add up to %.6f s for %d runs of each job, too little for %.6f s of rest and %.6f s "
      .. "of computing: is best the time of one whole run, in seconds?"):format(least, repeats + 1, rests, cpu)
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
