-- Many tasks with errors, cancelling, nested maps and futures passed on: each ends as it must, and nothing is left behind.
-- `perigee run --trusted tests/lua/parallel_stress.lua 1000000` for the long one.
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local total = tonumber(arg and arg[1]) or 10000
local pool = parallel.pool(4)
local counter = parallel.atomic(0)
local shared = array.zeros(64)
math.randomseed(20240229)

local function wanted(kind, n)
  return kind == "error" and "task " .. n .. " fails" or kind == "nested" and n * 6 or kind == "table" and n .. "/" .. n
    or kind == "recursive" and 21 or kind == "array" and n % 64 + 1 or n * 2
end

local function fib(n)
  if n < 2 then
    return n
  end
  local a = pool:submit(fib, n - 1)
  return pool:submit(fib, n - 2):result() + a:result()
end

local tasks = {
  plain = function(n) counter:add(1) return n * 2 end,
  error = function(n) counter:add(1) error("task " .. n .. " fails", 0) end,
  nested = function(n)
    counter:add(1)
    local sum = 0
    for _, v in ipairs(pool:map(function(x) return x * n end, { 1, 2, 3 }, { chunksize = n % 3 + 1 })) do
      sum = sum + v
    end
    return sum
  end,
  table = function(n) counter:add(1) return { text = n .. "/" .. n, own = { n } } end,
  recursive = function() counter:add(1) return fib(8) end,
  array = function(n) counter:add(1) shared[n % 64 + 1] = n return array.full(3, n % 64 + 1) end,
}
local kinds = { "plain", "plain", "plain", "error", "nested", "table", "array", "cancel", "plain", "recursive" }

local begun, cancelled = 0, 0
local window, first, last = {}, 1, 0

local function check(entry)
  local future, kind, n = entry.future, entry.kind, entry.n
  if entry.cancelled then
    local fine, message = pcall(future.result, future)
    assert(not fine and message:find("CancelledError"), message)
    return
  end
  begun = begun + 1
  local fine, result = pcall(future.result, future)
  local want = wanted(kind, n)
  if kind == "error" then
    assert(not fine and result:find(want, 1, true), result)
    return
  end
  assert(fine, result)
  if kind == "table" then
    assert(result.own[1] == n)
    result = result.text
  elseif kind == "array" then
    result = result[3]
  end
  assert(result == want, ("%s %d: %s instead of %s"):format(kind, n, tostring(result), tostring(want)))
end

for n = 1, total do
  local kind = kinds[math.random(#kinds)]
  local cancel = kind == "cancel"
  if cancel then
    kind = "plain"
  elseif kind == "recursive" and n % 10 ~= 0 then -- 67 tasks each
    kind = "plain"
  end
  last = last + 1
  local future = pool:submit(tasks[kind], n)
  window[last] = { future = future, kind = kind, n = n, cancelled = cancel and future:cancel() }
  if window[last].cancelled then
    cancelled = cancelled + 1
  end
  if n % 500 == 0 then -- some in the order in which they end, the others in their own
    local futures = {}
    for i = first, last do
      futures[#futures + 1] = window[i].future
    end
    if n % 1000 == 0 then
      local seen = 0
      for future in parallel.as_completed(futures) do
        seen = seen + (future:done() and 1 or 0)
      end
      assert(seen == #futures)
    end
    for i = first, last do
      check(window[i])
      window[i] = nil
    end
    first = last + 1
  end
end
for i = first, last do
  check(window[i])
end
pool:close()
assert(begun + cancelled == total)
assert(counter:get() == begun, "tasks ran twice or not at all")
print(("%d tasks, %d of them cancelled"):format(total, cancelled))
