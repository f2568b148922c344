-- pg.timer: clocks. All times are seconds. Every function is one FFI call and stays inside compiled traces.
local core = ...
local C = core.C

local timer = {}

local clocks = { wall = 0, cpu = 1, thread = 2 } -- enum pg_clock

-- timer.now() -> seconds on a clock that never goes back. Only differences mean something.
function timer.now()
  return C.pg_timer_now()
end

-- timer.cpu() -> seconds of CPU time used by all threads of this process.
function timer.cpu()
  return C.pg_timer_cpu()
end

-- timer.thread() -> seconds of CPU time used by the calling thread.
function timer.thread()
  return C.pg_timer_thread()
end

-- timer.sleep(seconds): waits at least that long; 0 to 1e9.
function timer.sleep(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    core.fail("timer.sleep: seconds must be a number from 0 to 1e9, got %s", tostring(seconds))
  end
  local sleep = core.sleep -- of module parallel, where it is loaded: Ctrl-C and the end of a pool end it
  if sleep then
    sleep(seconds)
  else
    C.pg_timer_sleep(seconds)
  end
end

-- timer.resolution([clock]) -> the smallest step in seconds that back-to-back readings of a clock show, which is what
-- one reading costs where that is more than the clock's tick. clock: "wall" (default), "cpu" or "thread".
function timer.resolution(clock)
  local id = clocks[clock == nil and "wall" or clock]
  if not id then
    core.fail('timer.resolution: the clock must be "wall", "cpu" or "thread", got %s', tostring(clock))
  end
  return C.pg_timer_resolution(id)
end

return timer
