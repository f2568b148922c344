-- Part of pg.tasks: computing nodes by the workers of a pool. This state hands out nodes that are ready and takes their values
-- back; values of arrays stay where they are, since messages carry references.
local core, kit = ...
local tasks, is_delayed = kit.tasks, kit.is_delayed
local C = core.C
local type, next, pairs, rawget, unpack, tonumber, select = type, next, pairs, rawget, unpack, tonumber, select
local format, gsub, min = string.format, string.gsub, math.min

local FINISHED = 2 -- Future::State
local natives, parallel, new_shared -- of module parallel, which is loaded with the first pool

core.declare "profiler"

local lazy = "it returned a delayed value, which is not computed any more; call delayed functions from outside of delayed " ..
  "functions, or compute inside"
kit.lazy = lazy

-- ------------------------------------------------------------------------------------------------------- workers -----
local function results(several, started, ...)
  local ended = C.pg_timer_now()
  local value = (...)
  if several then
    value = { ... }
  elseif is_delayed(value) then
    core.fail("%s", lazy)
  end
  return started, ended, parallel.worker(), value
end

--- In a worker: makes what runs the calls of a function. `several`: all of its results are wanted. `name`: in timelines.
function tasks._runner(fn, several, name)
  parallel = parallel or core.require "parallel"
  return function(...)
    local started = C.pg_timer_now()
    if C.pg_operations_watched > 0 and C.pg_profiler_recording() ~= 0 then
      C.pg_profiler_span_begin(name, "delayed")
      return kit.ended_span(results, several, started, fn(...))
    end
    return results(several, started, fn(...))
  end
end

-- (After an error the span ends with the worker's task.)
function kit.ended_span(results_of, ...)
  C.pg_profiler_span_end()
  return results_of(...)
end

-- --------------------------------------------------------------------------------------------------------- pools -----
local pools, kept = {}, 0 -- "threads:4" -> pool: kept, since starting one takes longer than a small graph
local most_kept = 64      -- workers; before there are more, all are ended

local function pool_of(scheduler, workers)
  local key = format("%s:%d", scheduler, workers)
  local pool = pools[key]
  if not pool or pool.closed or select(3, natives.pool_info(pool)) ~= "" then -- none, or a broken one
    parallel = parallel or core.require "parallel"
    natives, new_shared = core.natives.parallel, parallel._kit.shared_t
    if scheduler == "processes" and not rawget(parallel, "processes") then
      core.unsupported('scheduler "processes": this build has no worker processes; use "threads"')
    end
    pool = scheduler == "threads" and parallel.pool(workers) or parallel.processes(workers)
    if kept + workers > most_kept then
      for _, other in pairs(pools) do
        other:shutdown()
      end
      pools, kept = {}, 0
    end
    pools[key], kept = pool, kept + workers
  end
  return pool
end

-- Why a value cannot be sent, in words: `what` names it.
local function refusal(reason, what)
  what = gsub(what, "%%", "%%%%")
  reason = gsub(gsub(reason, " of \1", what == "the function" and "" or " of " .. what), "\1", what)
  return format('%s cannot be sent to a worker; make it inside the function, or use scheduler "serial"', reason)
end

-- ------------------------------------------------------------------------------------------------------ the run ------
-- How many calls are with the pool at most: more than it has workers, so that none of them waits for us, but few where calls
-- take long, so that what becomes ready and lets go of memory does not queue behind the rest.
local function most_under_way(workers, calls, seconds)
  local mean = calls >= workers and seconds / calls or 1
  return mean > 1e-3 and workers + 1 or mean > 1e-4 and 2 * workers + 2 or 16 * workers
end

--- Returns the first Failure, or nil. With return_exceptions, goes on with what does not need the node that failed.
function kit.run_pool(run, options)
  local graph, value, users, failed = run.graph, run.value, run.users, run.failed
  local nodes, inputs, count = graph.nodes, graph.inputs, graph.count
  local workers = options.workers or C.pg_threads_get()
  local pool = pool_of(options.scheduler, workers)
  local waiter = natives.waiter()

  -- Who needs node i: needed[first[i]] to needed[first[i + 1] - 1]. missing[i]: inputs that are not there yet.
  local first, needed, missing, at = {}, {}, {}, 1
  for i = 1, count do
    first[i], at = at, at + users[i]
    missing[i] = #inputs[i]
  end
  first[count + 1] = at
  local fill = {}
  for i = 1, count do
    for k = 1, #inputs[i] do
      local input = inputs[i][k]
      local place = fill[input] or first[input]
      needed[place], fill[input] = i, place + 1
    end
  end

  local ready, ready_count = {}, 0
  for i = count, 1, -1 do -- the last in is the first out: what began is finished before other things begin
    if missing[i] == 0 then
      ready_count = ready_count + 1
      ready[ready_count] = i
    end
  end

  local jobs, futures, attempts, later = {}, {}, {}, {} -- later: {[i] = when node i is tried again}
  local under_way, done, calls, seconds = 0, 0, 0, 0
  local slots, failure = {}, nil

  local function job_of(spec)
    local fn, several = spec.fn, spec.nout ~= nil and spec.nout > 1
    local by = several and "several" or fn
    local job = jobs[by]
    if several then
      job = job and job[fn]
    end
    if not job then
      job = new_shared()
      local ok, reason = natives.job(job, tasks._runner, fn, several, spec.name)
      if not ok then
        return nil, refusal(reason, "the function")
      end
      if several then
        jobs.several = jobs.several or {}
        jobs.several[fn] = job
      else
        jobs[fn] = job
      end
    end
    return job
  end

  -- Node i has a value, or has failed: what needs it may begin.
  local function finish(i)
    done = done + 1
    for place = first[i], (fill[i] or first[i]) - 1 do
      local j = needed[place]
      missing[j] = missing[j] - 1
      if missing[j] == 0 then
        ready_count = ready_count + 1
        ready[ready_count] = j
      end
    end
    kit.done_with_inputs(run, i)
  end

  local function fail_node(i, message, error_value, traceback, hopeless)
    local spec = nodes[i]._spec
    if attempts[i] <= (spec.retries or 0) and not hopeless then
      later[i] = C.pg_timer_now() + (spec.delay or 0)
      return
    end
    failure = kit.failure(graph, i, message, error_value, traceback, attempts[i], run.worker[i])
    if options.return_exceptions then
      failed[i], failure = failure, nil
      finish(i)
    end
  end

  local function submit(i)
    local inherited = kit.failed_input(run, i)
    if inherited then
      failed[i] = inherited
      return finish(i)
    end
    attempts[i] = (attempts[i] or 0) + 1
    local spec = nodes[i]._spec
    if spec.operator == "value" then -- it is here
      kit.arguments(run, i, slots)
      value[i], slots[1] = slots[1], nil
      return finish(i)
    end
    local job, reason = job_of(spec)
    if job then
      local n, future = kit.arguments(run, i, slots), new_shared()
      local ok, why, culprit = natives.submit(future, pool, job, unpack(slots, 1, n))
      for k = 1, n do
        slots[k] = nil
      end
      if ok then
        futures[i] = future
        under_way = under_way + 1
        natives.waiter_add(waiter, future, i)
        return
      end
      reason = culprit and refusal(why, "argument " .. culprit) or why
    end
    fail_node(i, reason, nil, "", true)
  end

  local function take(i)
    local future = futures[i]
    futures[i] = nil
    under_way = under_way - 1
    local state, started, ended, worker, result = natives.result(future)
    if state == FINISHED then
      run.start[i], run.seconds[i], run.worker[i] = started - run.zero, ended - started, worker
      calls, seconds = calls + 1, seconds + (ended - started)
      if users[i] > 0 then
        value[i] = result
      end
      finish(i)
    else
      local raised, traceback = started, ended
      run.start[i], run.seconds[i] = C.pg_timer_now() - run.zero, 0
      local message = type(raised) == "string" and raised or core.describe_error(raised).message
      -- (The fourth of what _runner returns is the function's own.)
      message = gsub(message, "^result 4(%A.* cannot be sent back by a worker)$", "the result%1")
      fail_node(i, message, raised, traceback or "")
    end
    C.pg_shared_release(core.ffi.gc(future, nil)) -- and with it the message of the result
  end

  local function stop()
    for _, future in pairs(futures) do
      natives.cancel(future)
    end
    for _, future in pairs(futures) do
      natives.wait(future)
    end
  end

  -- Moves what may be tried again to what is ready; returns how long the next one must wait.
  local function retry()
    local now, next_time = C.pg_timer_now(), nil
    for i, time in pairs(later) do
      if time <= now then
        later[i] = nil
        ready_count = ready_count + 1
        ready[ready_count] = i
      else
        next_time = min(next_time or time, time)
      end
    end
    return next_time and next_time - now
  end

  while done < count and not failure do
    local wait = next(later) and retry() or nil
    local most = most_under_way(workers, calls, seconds)
    while ready_count > 0 and under_way < most and not failure do
      local i = ready[ready_count]
      ready[ready_count] = nil
      ready_count = ready_count - 1
      submit(i)
    end
    if (under_way > 0 or wait) and not failure then
      local i, why = natives.waiter_next(waiter, wait)
      if i == nil then
        stop()
        core.fail("compute: %s", why or "interrupted by Ctrl-C")
      elseif i then
        take(tonumber(i))
      end
    end
  end
  if failure then
    stop()
  end
  return failure
end
