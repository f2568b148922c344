-- Futures as scripts see them.
local core, kit = ...
local C, natives = core.C, core.natives.parallel
local fail = core.fail
local type, tostring, pairs, next, error, pcall = type, tostring, pairs, next, error, pcall
local format, gsub, find, max = string.format, string.gsub, string.find, math.max
local parallel, kind_of = kit.parallel, kit.kind_of

local FUTURE = 11 -- enum pg_shared_kind
local RUNNING, FINISHED, FAILED, CANCELLED = 1, 2, 3, 4 -- Future::State

local future_methods = kit.shared_methods[FUTURE]

local function need_future(name, value)
  if not kit.is_shared(value, FUTURE) then
    fail("%s: a future is expected (what pool:submit returns), got %s", name, kind_of(value))
  end
  return value
end

local function need_seconds(name, seconds)
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds >= 0)) then
    fail("%s: a time in seconds, 0 or more, is expected, got %s", name, tostring(seconds))
  end
  return seconds
end

-- Callbacks wait here until the state that added them waits for something, and run then.
local callbacks, callback_waiter, last_tag = {}, nil, 0

-- An error in one is told and nothing more, as in Python: it has nothing to do with what the script waits for.
local function call_back(callback, future)
  local fine, value = pcall(callback, future)
  if not fine then
    if type(value) == "string" and find(value, "interrupted by Ctrl-C", 1, true) then
      error(value, 0)
    end
    local shown, text = pcall(tostring, value)
    io.stderr:write("perigee: a future's callback failed: ", shown and text or "an error that cannot be shown", "\n")
  end
end

local function run_callbacks()
  while callback_waiter do
    local tag = natives.waiter_poll(callback_waiter)
    if not tag then
      return
    end
    local entry = callbacks[tag]
    callbacks[tag] = nil
    if not next(callbacks) then
      callback_waiter = nil
    end
    call_back(entry.callback, entry.future)
  end
end
kit.run_callbacks = run_callbacks

local function interrupted(reason)
  fail("%s", reason or "interrupted by Ctrl-C")
end
kit.interrupted = interrupted

-- Waits until the future is done; false after `seconds`.
local function wait(future, seconds)
  local done, reason = natives.wait(future, seconds)
  if done == nil then
    interrupted(reason)
  end
  run_callbacks()
  return done
end

-- What the script reads of an error in a worker.
local function error_text(text, traceback)
  if type(text) ~= "string" or traceback == "" then
    return text
  end
  return format("%s\n  in a worker, called from:\n    %s", text, (gsub(traceback, "\n", "\n    ")))
end

-- The results of natives.result, or the error it tells.
local function results(state, ...)
  if state == FINISHED then
    return ...
  elseif state == FAILED then
    local text, traceback = ...
    error(error_text(text, traceback), 0)
  end
  fail("CancelledError: the task was cancelled before it began")
end
kit.results = results

--- future:result([seconds]): what the function returned. Its error is raised here, with the worker's traceback; after
--- `seconds` without a result a TimeoutError, of a cancelled task a CancelledError.
function future_methods.result(future, seconds)
  need_future("result", future)
  if not wait(future, need_seconds("result", seconds)) then
    fail("TimeoutError: the task has not ended within %g s", seconds)
  end
  return results(natives.result(future))
end

--- future:exception([seconds]): the error that the function raised, nil if it returned.
function future_methods.exception(future, seconds)
  need_future("exception", future)
  if not wait(future, need_seconds("exception", seconds)) then
    fail("TimeoutError: the task has not ended within %g s", seconds)
  end
  local state, text, traceback = natives.result(future)
  if state == FAILED then
    return (error_text(text, traceback))
  elseif state == CANCELLED then
    fail("CancelledError: the task was cancelled before it began")
  end
  return nil
end

--- future:cancel(): true if the task has not begun, and now never will.
function future_methods.cancel(future)
  return natives.cancel(need_future("cancel", future))
end

function future_methods.cancelled(future)
  return natives.state(need_future("cancelled", future)) == CANCELLED
end

function future_methods.running(future)
  return natives.state(need_future("running", future)) == RUNNING
end

--- future:done(): whether it has returned, failed or was cancelled.
function future_methods.done(future)
  return natives.state(need_future("done", future)) >= FINISHED
end

--- future:add_done_callback(fn): fn(future) is called once it is done: at once where it is already, else when this script
--- next waits for a future or a pool, since a script does only one thing at a time. An error in it goes to standard error.
function future_methods.add_done_callback(future, callback)
  need_future("add_done_callback", future)
  if type(callback) ~= "function" then
    fail("add_done_callback: a function is expected, got %s", kind_of(callback))
  end
  if natives.state(future) >= FINISHED then
    call_back(callback, future)
    return
  end
  callback_waiter = callback_waiter or natives.waiter()
  last_tag = last_tag + 1
  callbacks[last_tag] = { future = future, callback = callback }
  natives.waiter_add(callback_waiter, future, last_tag)
end

local state_names = { [0] = "pending", "running", "finished", "failed", "cancelled" }
kit.shared_describe[FUTURE] = function(future) return state_names[natives.state(future)] end

local function need_futures(name, list)
  if type(list) ~= "table" then
    fail("%s: a list of futures is expected, got %s", name, kind_of(list))
  end
  for i = 1, #list do
    if not kit.is_shared(list[i], FUTURE) then
      fail("%s: item %d of the list is no future but %s", name, i, kind_of(list[i]))
    end
  end
  return list
end

local function check_options(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table, got %s", name, kind_of(options))
  end
  for key in pairs(options) do
    if not known[key] then
      local legal = {}
      for k in pairs(known) do
        legal[#legal + 1] = k
      end
      table.sort(legal)
      fail("%s: unknown option '%s'; legal are: %s%s", name, tostring(key), table.concat(legal, ", "),
        core.did_you_mean(key, known))
    end
  end
  return options
end
kit.check_pool_options = check_options

local function watch(futures)
  local waiter = natives.waiter()
  for i = 1, #futures do
    natives.waiter_add(waiter, futures[i], i)
  end
  return waiter
end

local function clock()
  return C.pg_timer_now()
end

-- natives.waiter_next until a deadline (nil: none) of clock().
local function next_done(waiter, deadline)
  local tag, reason = natives.waiter_next(waiter, deadline and max(0, deadline - clock()))
  if tag == nil then
    interrupted(reason)
  end
  run_callbacks()
  return tag
end
kit.watch, kit.next_done = watch, next_done

local timeout_only = { timeout = true }

--- parallel.as_completed(futures [, {timeout = seconds}]): for future in parallel.as_completed(list): as they are done.
function parallel.as_completed(futures, options)
  need_futures("as_completed", futures)
  local timeout = need_seconds("as_completed", check_options("as_completed", options, timeout_only).timeout)
  local waiter, left, deadline = watch(futures), #futures, timeout and clock() + timeout
  return function()
    if left == 0 then
      return nil
    end
    local i = next_done(waiter, deadline)
    if not i then
      fail("TimeoutError: %d of %d tasks have not ended within %g s", left, #futures, timeout)
    end
    left = left - 1
    return (futures[i])
  end
end

local wait_options = { timeout = true, return_when = true }
local return_when = { ALL_COMPLETED = true, FIRST_COMPLETED = true, FIRST_EXCEPTION = true }

--- parallel.wait(futures [, {timeout = seconds, return_when = "ALL_COMPLETED"}]): two lists, of those that are done and
--- of the others; return_when may be "FIRST_COMPLETED" or "FIRST_EXCEPTION".
function parallel.wait(futures, options)
  need_futures("wait", futures)
  options = check_options("wait", options, wait_options)
  local timeout, when = need_seconds("wait", options.timeout), options.return_when or "ALL_COMPLETED"
  if not return_when[when] then
    fail('wait: return_when is "ALL_COMPLETED", "FIRST_COMPLETED" or "FIRST_EXCEPTION", got %s', tostring(when))
  end
  local waiter, deadline = watch(futures), timeout and clock() + timeout
  for _ = 1, #futures do
    local i = next_done(waiter, deadline)
    if not i or when == "FIRST_COMPLETED" or (when == "FIRST_EXCEPTION" and natives.state(futures[i]) == FAILED) then
      break
    end
  end
  local done, others = {}, {}
  for i = 1, #futures do
    local list = natives.state(futures[i]) >= FINISHED and done or others
    list[#list + 1] = futures[i]
  end
  return done, others
end
