-- Part of pg.tasks: computing nodes by the ranks of an MPI job. All ranks call compute; rank 0's graph is the one that is
-- computed. It hands out calls that are ready, one at a time to each other rank, which is always receiving then: so no large
-- message waits for another. All ranks get the results.
local core, kit = ...
local is_delayed = kit.is_delayed
local C = core.C
local pairs, ipairs, unpack, xpcall, pcall, error, tostring = pairs, ipairs, unpack, xpcall, pcall, error, tostring
local gsub, max = string.gsub, math.max

local comm -- of the ranks that compute: nobody else's messages come this way

local function communicator()
  if not comm then
    local mpi, reason = core.optional "mpi"
    if not mpi then
      core.unsupported('scheduler "mpi": %s', reason)
    end
    comm = mpi.world.size > 1 and mpi.world:dup() or mpi.world
  end
  return comm
end

-- ------------------------------------------------------------------------------------------------- ranks above 0 -----
local function results(several, ...)
  if several then
    return { ... }
  end
  local value = (...)
  if is_delayed(value) then
    core.fail("%s", kit.lazy)
  end
  return value
end

-- Calls what rank 0 sends until it sends an end: that message.
local function serve()
  local functions = {}
  while true do
    local task = comm:recv(0)
    if task.ended then
      return task
    end
    if task.fn then
      functions[task.by] = task.fn
    end
    local fn, started = functions[task.by], C.pg_timer_now()
    local answer = { i = task.i }
    local function call()
      return results(task.several, fn(unpack(task.args, 1, task.n)))
    end
    kit.on_rank = true
    local ok, value = xpcall(call, kit.explain)
    kit.on_rank = nil
    answer.seconds = C.pg_timer_now() - started
    if ok then
      answer.value = value
    else
      answer.message, answer.traceback = value.message, value.traceback
    end
    local sent, why = pcall(comm.send, comm, answer, 0)
    if not sent then
      comm:send({ i = task.i, seconds = answer.seconds, hopeless = true,
        message = "its result cannot be sent: " .. gsub(tostring(why), "^[^\n]-:%d+: ", "") }, 0)
    end
  end
end

-- --------------------------------------------------------------------------------------------------------- rank 0 ----
-- Returns the first Failure, or nil.
local function hand_out(run, options)
  local graph, value, users, failed = run.graph, run.value, run.users, run.failed
  local nodes, inputs, count, size = graph.nodes, graph.inputs, graph.count, comm.size

  local needed, missing = {}, {} -- by node: who needs it; how many inputs are not there yet
  for i = 1, count do
    needed[i], missing[i] = {}, #inputs[i]
    for _, input in ipairs(inputs[i]) do
      needed[input][#needed[input] + 1] = i
    end
  end
  local ready, idle = {}, {}
  for i = count, 1, -1 do -- the last in is the first out, as in a pool
    if missing[i] == 0 then
      ready[#ready + 1] = i
    end
  end
  for rank = size - 1, 1, -1 do
    idle[#idle + 1] = rank
  end
  local known, keys, key_count = {}, {}, 0 -- known[rank][key]: functions that it has
  for rank = 1, size - 1 do
    known[rank] = {}
  end
  local attempts, later, under_way, done, failure = {}, {}, 0, 0, nil

  local function finish(i)
    done = done + 1
    for _, j in ipairs(needed[i]) do
      missing[j] = missing[j] - 1
      if missing[j] == 0 then
        ready[#ready + 1] = j
      end
    end
    kit.done_with_inputs(run, i)
  end

  local function fail_node(i, message, traceback, hopeless)
    local spec = nodes[i]._spec
    if attempts[i] <= (spec.retries or 0) and not hopeless then
      later[#later + 1] = { i = i, time = C.pg_timer_now() + (spec.delay or 0) }
      return
    end
    failure = kit.failure(graph, i, message, nil, traceback or "", attempts[i], run.worker[i])
    if options.return_exceptions then
      failed[i], failure = failure, nil
      finish(i)
    end
  end

  local function start(i)
    local inherited = kit.failed_input(run, i)
    if inherited then
      failed[i] = inherited
      return finish(i)
    end
    attempts[i] = (attempts[i] or 0) + 1
    local spec, slots = nodes[i]._spec, {}
    local n = kit.arguments(run, i, slots)
    if spec.operator == "value" then -- it is here
      value[i] = slots[1]
      return finish(i)
    end
    local rank = idle[#idle]
    if not keys[spec.fn] then
      key_count = key_count + 1
      keys[spec.fn] = key_count
    end
    local key = keys[spec.fn]
    local task = { i = i, by = key, args = slots, n = n, several = spec.nout ~= nil and spec.nout > 1,
      fn = not known[rank][key] and spec.fn or nil }
    local sent, why = pcall(comm.send, comm, task, rank)
    if not sent then
      return fail_node(i, gsub(tostring(why), "^[^\n]-:%d+: ", "") .. '; make it inside the function, or use scheduler "serial"',
        "", true)
    end
    known[rank][key] = true
    idle[#idle] = nil
    under_way = under_way + 1
  end

  local function take()
    local answer, rank = comm:recv()
    local i = answer.i
    under_way = under_way - 1
    idle[#idle + 1] = rank
    run.worker[i], run.seconds[i] = rank, answer.seconds
    run.start[i] = max(0, C.pg_timer_now() - answer.seconds - run.zero)
    if answer.message then
      fail_node(i, answer.message, answer.traceback, answer.hopeless)
    else
      if users[i] > 0 then
        value[i] = answer.value
      end
      finish(i)
    end
  end

  while done < count and not failure do
    local now = C.pg_timer_now()
    for k = #later, 1, -1 do
      if later[k].time <= now then
        ready[#ready + 1] = table.remove(later, k).i
      end
    end
    while #ready > 0 and #idle > 0 and not failure do
      local i = ready[#ready]
      ready[#ready] = nil
      start(i)
    end
    if under_way > 0 and not failure then
      take()
    elseif #later > 0 and #ready == 0 and not failure then
      C.pg_timer_sleep(0.005)
    end
  end
  while under_way > 0 do -- of a failed run: answers that nobody needs
    comm:recv()
    under_way = under_way - 1
  end
  return failure
end

local function plain(failure)
  local copy = {}
  for key, item in pairs(failure) do
    if key ~= "value" then
      copy[key] = item
    end
  end
  return copy
end

--- Returns the first Failure, or nil. With return_exceptions, goes on with what does not need the node that failed.
function kit.run_mpi(run, options)
  communicator()
  if comm.size == 1 then
    return kit.run_serial(run, options)
  end
  local graph, roots = run.graph, run.roots
  if comm.rank == 0 then
    local ok, failure = pcall(hand_out, run, options)
    local last = { ended = true, count = #roots, values = {}, failed = {} }
    if not ok then -- of our own loop
      last.error = tostring(failure)
    elseif failure then
      last.failure = plain(failure)
    else
      for r = 1, #roots do
        local i = graph.index[roots[r]]
        last.values[r] = run.value[i]
        last.failed[r] = run.failed[i] and plain(run.failed[i]) or nil
      end
      if options.report then
        last.times = { start = run.start, seconds = run.seconds, worker = run.worker, count = graph.count }
      end
    end
    for rank = 1, comm.size - 1 do
      comm:send(last, rank)
    end
    if not ok then
      error(failure, 0)
    end
    return failure
  end
  local last = serve()
  if last.error then
    core.fail("compute: rank 0 failed: %s", last.error)
  elseif last.failure then
    return kit.as_failure(last.failure)
  elseif last.count ~= #roots then
    core.fail('compute: rank 0 computes %d values here and rank %d asks for %d; with scheduler "mpi" all ranks call compute ' ..
      "with the same delayed values", last.count, comm.rank, #roots)
  end
  for r = 1, #roots do
    local i = graph.index[roots[r]]
    run.value[i] = last.values[r]
    run.failed[i] = last.failed[r] and kit.as_failure(last.failed[r])
  end
  if last.times and last.times.count == graph.count then
    run.start, run.seconds, run.worker = last.times.start, last.times.seconds, last.times.worker
  end
end
