-- Part of pg.tasks: computing nodes.
local core, kit = ...
local tasks, methods, is_delayed, kind_of = kit.tasks, kit.methods, kit.is_delayed, kit.kind_of
local check_options, is_integer, each_node, copy_tables = kit.check_options, kit.is_integer, kit.each_node, kit.copy_tables
local fail, C = core.fail, core.C
local type, select, setmetatable, getmetatable, xpcall, unpack, ipairs, tostring = type, select, setmetatable,
  getmetatable, xpcall, unpack, ipairs, tostring
local format, concat, gsub = string.format, table.concat, string.gsub

-- --------------------------------------------------------------------------------------------------- failed nodes ----
local Failure = {}
Failure.__index = Failure

local function indented(text)
  return (gsub(text, "\n", "\n  "))
end

function Failure:__tostring()
  local lines = { format("'%s' failed%s: %s", self.name,
    self.attempts > 1 and format(" (%d attempts)", self.attempts) or "", indented(self.message)) }
  lines[#lines + 1] = format("  in the call %s%s", self.call, self.place and ", defined at " .. self.place or "")
  if #self.path > 1 then
    lines[#lines + 1] = "  needed by " .. concat(kit.cut(self.path, 12), " <- ", 2)
  end
  if self.traceback ~= "" then
    lines[#lines + 1] = "  " .. (self.worker and format("traceback of worker %s:", self.worker) or "traceback:")
    lines[#lines + 1] = "    " .. gsub(self.traceback, "\n", "\n    ")
  end
  return concat(lines, "\n")
end

-- An error in a function: what describe_error says of it, and the value that was raised.
local function explain(value)
  local wrong = core.describe_error(value)
  if wrong.message == "attempt to yield across C-call boundary" then
    wrong.message = "a call cannot yield out of the computation; coroutine.yield returns to a coroutine.resume of the same call"
  end
  return { message = wrong.file ~= "" and format("%s:%d: %s", wrong.file, wrong.line, wrong.message) or wrong.message,
    value = value, traceback = wrong.traceback }
end

kit.explain = explain

-- The lines of a traceback above those that it shares with `outer`.
local function without(traceback, outer)
  if outer ~= "" and #traceback >= #outer and traceback:sub(-#outer) == outer then
    return (gsub(traceback:sub(1, -#outer - 1), "\n$", ""))
  end
  return traceback
end

-- A failure for node i of the graph.
function kit.failure(graph, i, message, value, traceback, attempts, worker)
  local node, path = graph.nodes[i], {}
  local of_operator = message:match("^tasks%.delayed:%d+: (.*)$")
  if of_operator then -- its parameters' names say nothing to the learner
    message, traceback = gsub(of_operator, "local '%w+' %((.-)%)", "%1"), ""
  elseif debug.getinfo(node._spec.fn, "S").what == "C" then -- called by a line of ours, by a name of ours
    message = message:match("^internal error in Perigee.-: perigee:[%w_]+:%d+: (.*)$") or message
    message = gsub(message, "^bad argument #(%d+) to '[%w?]+'", function(k)
      return format("bad argument #%s to '%s'", k, node._spec.name)
    end)
  end
  for k, j in ipairs(kit.path_from(graph, i)) do
    path[k] = graph.nodes[j]._spec.name
  end
  return setmetatable({ name = node._spec.name, call = kit.call_text(node), place = node._spec.place,
    message = message, value = value, traceback = traceback, path = path, attempts = attempts, worker = worker }, Failure)
end

--- A failure that another process has told of.
function kit.as_failure(fields)
  return setmetatable(fields, Failure)
end

--- tasks.is_failure(value) -> true for what stands for a result that there is not: see compute's return_exceptions.
function tasks.is_failure(value)
  return type(value) == "table" and getmetatable(value) == Failure
end

-- ------------------------------------------------------------------------------------------------------ arguments ----
-- What a run knows of its nodes, by number: value, failed (a Failure), users (how many nodes still need the value; one more
-- for a result), attempts, and for reports start, seconds, worker.
local function new_run(graph, roots)
  local users = {}
  for i = 1, graph.count do
    users[i] = 0
  end
  for i = 1, graph.count do
    local inputs = graph.inputs[i]
    for k = 1, #inputs do
      users[inputs[k]] = users[inputs[k]] + 1
    end
  end
  for r = 1, #roots do
    local i = graph.index[roots[r]]
    users[i] = users[i] + 1
  end
  return { graph = graph, roots = roots, value = {}, failed = {}, users = users, start = {}, seconds = {}, worker = {} }
end

-- The arguments of node i into `slots`; returns their number.
function kit.arguments(run, i, slots)
  local graph, value = run.graph, run.value
  local node, index = graph.nodes[i], graph.index
  local args, n, nested = node._args, node._n, graph.nested[node]
  for k = 1, n do
    local argument = args[k]
    if is_delayed(argument) then
      argument = value[index[argument]]
    elseif nested and nested[k] then
      argument = copy_tables(argument, function(inner) return value[index[inner]] end)
    end
    slots[k] = argument
  end
  return n
end

-- Lets go of what node i needed.
function kit.done_with_inputs(run, i)
  local inputs, users, value = run.graph.inputs[i], run.users, run.value
  for k = 1, #inputs do
    local input = inputs[k]
    local left = users[input] - 1
    users[input] = left
    if left == 0 then
      value[input] = nil
    end
  end
end

-- The Failure that an input of node i has, if any.
function kit.failed_input(run, i)
  local inputs, failed = run.graph.inputs[i], run.failed
  for k = 1, #inputs do
    if failed[inputs[k]] then
      return failed[inputs[k]]
    end
  end
end

-- The value of a node from the results of its function: the first, or all in a table.
local function result_of(spec, ...)
  if spec.nout and spec.nout > 1 then
    return { ... }
  end
  return (...)
end

-- --------------------------------------------------------------------------------------------------------- serial ----
-- Returns the first Failure, or nil. With return_exceptions, goes on with what does not need the node that failed.
local function run_serial(run, options)
  local graph, value, users = run.graph, run.value, run.users
  local nodes, any_failed = graph.nodes, false
  local slots, report, zero = {}, options.report, run.zero
  local function finish(spec, ok, ...)
    if ok then
      return ok, result_of(spec, ...)
    end
    return ok, (...)
  end
  for i = 1, graph.count do
    local spec = nodes[i]._spec
    local inherited = any_failed and kit.failed_input(run, i)
    if inherited then
      run.failed[i] = inherited
    else
      local n, attempts, ok, result = kit.arguments(run, i, slots), 0, nil, nil
      local started = report and C.pg_timer_now()
      local recorded = C.pg_operations_watched > 0 and C.pg_profiler_recording() ~= 0
      if recorded then
        C.pg_profiler_span_begin(spec.name, "delayed")
      end
      repeat
        if attempts > 0 and spec.delay > 0 then
          core.require("timer").sleep(spec.delay)
        end
        attempts = attempts + 1
        if n == 1 then
          ok, result = finish(spec, xpcall(spec.fn, explain, slots[1]))
        elseif n == 2 then
          ok, result = finish(spec, xpcall(spec.fn, explain, slots[1], slots[2]))
        else
          ok, result = finish(spec, xpcall(spec.fn, explain, unpack(slots, 1, n)))
        end
      until ok or attempts > (spec.retries or 0)
      if recorded then
        C.pg_profiler_span_end()
      end
      if report then
        local ended = C.pg_timer_now()
        run.start[i], run.seconds[i], run.worker[i] = started - zero, ended - started, 1
      end
      if ok and is_delayed(result) then
        ok, result = false, { message = kit.lazy, traceback = "" }
      end
      if ok then
        if users[i] > 0 then
          value[i] = result
        end
      else
        local failure = kit.failure(graph, i, result.message, result.value,
          without(result.traceback, core.describe_error("").traceback), attempts)
        if not options.return_exceptions then
          return failure
        end
        run.failed[i], any_failed = failure, true
      end
      for k = 1, n do
        slots[k] = nil
      end
    end
    kit.done_with_inputs(run, i)
  end
end

-- ----------------------------------------------------------------------------------------------------- schedulers ----
kit.run_serial = run_serial

local function run_mpi(run, options)
  if not kit.run_mpi then
    core.part("tasks_mpi", kit)
  end
  return kit.run_mpi(run, options)
end

local schedulers = { serial = run_serial, threads = kit.run_pool, processes = kit.run_pool, mpi = run_mpi }
local legal = '"serial", "threads", "processes" or "mpi"'
local chosen = { name = "threads" }

-- What is chosen; inside of a worker, which other workers stand beside, one call after the other.
local function default_scheduler()
  local natives = core.natives.parallel
  return (kit.on_rank or natives and natives.worker()) and "serial" or chosen.name
end

local function check_workers(name, workers)
  if workers ~= nil and (not is_integer(workers) or workers < 1 or workers > 1024) then
    fail("%s: workers must be an integer from 1 to 1024, got %s", name, kind_of(workers))
  end
  return workers
end

local function check_scheduler(name, scheduler)
  if type(scheduler) ~= "string" or not schedulers[scheduler] then
    fail("%s: the scheduler must be %s, got %s%s", name, legal, kind_of(scheduler),
      core.did_you_mean(scheduler, schedulers))
  end
  return scheduler
end

--- tasks.scheduler([name [, {workers}]]) -> how delayed values are computed unless compute is told otherwise, and by how many
--- workers; with a name, sets it: "serial", "threads", "processes" or "mpi".
function tasks.scheduler(name, options)
  if name ~= nil then
    options = options or {}
    if type(options) ~= "table" then
      fail("scheduler: options are a table such as {workers = 4}, got %s", kind_of(options))
    end
    check_options("scheduler", options, { workers = true })
    check_scheduler("scheduler", name)
    chosen = { name = name, workers = check_workers("scheduler", options.workers) }
  end
  if chosen.name == "mpi" then -- rank 0 hands out
    return chosen.name, math.max(1, core.require("mpi").world.size - 1)
  end
  return chosen.name, chosen.name == "serial" and 1 or chosen.workers or C.pg_threads_get()
end

-- -------------------------------------------------------------------------------------------------------- compute ----
local known = { scheduler = true, workers = true, report = true, return_exceptions = true }

-- Whether a last argument is a table of options: it has no items, and no metatable.
local function is_options(value)
  return type(value) == "table" and getmetatable(value) == nil and value[1] == nil
end

local function parse(name, options)
  check_options(name, options, known)
  for _, key in ipairs { "report", "return_exceptions" } do
    if options[key] ~= nil and type(options[key]) ~= "boolean" then
      fail("%s: %s must be true or false, got %s", name, key, kind_of(options[key]))
    end
  end
  local scheduler = check_scheduler(name, options.scheduler == nil and default_scheduler() or options.scheduler)
  if scheduler == "mpi" and options.workers ~= nil then
    fail('%s: with scheduler "mpi" the workers are the ranks, started by perigee mpirun -n', name)
  elseif scheduler == "mpi" and kit.on_rank then
    fail('%s: a call that a rank computes cannot use scheduler "mpi" itself; use "serial" or "threads"', name)
  end
  return { scheduler = scheduler, report = options.report, return_exceptions = options.return_exceptions,
    workers = check_workers(name, options.workers) or scheduler ~= "serial" and chosen.workers or nil }
end

-- Computes values[1] to values[n], in place: delayed ones, and those in tables.
local function compute(name, values, n, options)
  local roots, holds = {}, {}
  local function add(node)
    roots[#roots + 1] = node
  end
  for i = 1, n do
    local value, before = values[i], #roots
    if is_delayed(value) then
      add(value)
    elseif type(value) == "table" and getmetatable(value) == nil then
      each_node(value, add)
    end
    holds[i] = #roots > before
  end
  local graph = kit.graph(name, roots)
  local run = new_run(graph, roots)
  run.zero, run.scheduler = C.pg_timer_now(), options.scheduler
  local failure = schedulers[options.scheduler](run, options)
  run.wall = C.pg_timer_now() - run.zero
  if failure then
    fail("%s: %s", name, tostring(failure))
  end
  local function result_of_node(node)
    local i = graph.index[node]
    if run.failed[i] then
      return run.failed[i]
    end
    return run.value[i]
  end
  for i = 1, n do
    if holds[i] then
      if is_delayed(values[i]) then
        values[i] = result_of_node(values[i])
      else
        values[i] = copy_tables(values[i], result_of_node)
      end
    end
  end
  return options.report and kit.report(run) or nil
end

local function split_options(name, ...)
  local n, values = select("#", ...), { ... }
  local options = {}
  if n > 1 and is_options(values[n]) then
    options = values[n]
    values[n] = nil
    n = n - 1
  end
  if n == 0 then
    fail("%s: a delayed value is expected, got nothing", name)
  end
  for i = 1, n do
    local value = values[i]
    if kit.delayed_functions[value] then
      fail("%s: argument %d is a delayed function, not a call of it; write f(x) instead of f", name, i)
    elseif n > 1 and i == n and type(value) == "string" and schedulers[value] then
      fail('%s: options are a table such as {scheduler = "%s"}, got %s', name, value, kind_of(value))
    end
  end
  return values, n, parse(name, options)
end

--- tasks.compute(a, b, ... [, {scheduler, workers, report, return_exceptions}]) -> their values. What several of them need is
--- computed once. Values that are not delayed are returned as they are; tables with their delayed items computed.
function tasks.compute(...)
  local values, n, options = split_options("compute", ...)
  local report = compute("compute", values, n, options)
  if report then
    n = n + 1
    values[n] = report
  end
  return unpack(values, 1, n)
end

--- tasks.persist(a, b, ... [, options]) -> delayed values that are there already, as compute computes them.
function tasks.persist(...)
  local values, n, options = split_options("persist", ...)
  if options.report or options.return_exceptions then
    fail("persist: options 'report' and 'return_exceptions' are compute's")
  end
  local before = { unpack(values, 1, n) }
  compute("persist", values, n, options)
  for i = 1, n do
    local name = is_delayed(before[i]) and before[i]._spec.name or "value"
    values[i] = kit.make({ fn = kit.operators.value.fn, name = name, operator = "value" }, 1, { values[i] })
  end
  return unpack(values, 1, n)
end

local function check_self(name, self)
  if not is_delayed(self) then
    fail("%s: write d:%s(), with a colon", name, name)
  end
end

--- d:compute([options]) -> its value.
function methods.compute(self, options)
  check_self("compute", self)
  if options == nil then
    return tasks.compute(self)
  elseif not is_options(options) then
    fail('compute: options are a table such as {scheduler = "threads"}, got %s', kind_of(options))
  end
  return tasks.compute(self, options)
end

--- d:persist([options]) -> a delayed value that is there already.
function methods.persist(self, options)
  check_self("persist", self)
  if options == nil then
    return (tasks.persist(self))
  elseif not is_options(options) then
    fail('persist: options are a table such as {scheduler = "threads"}, got %s', kind_of(options))
  end
  return (tasks.persist(self, options))
end
