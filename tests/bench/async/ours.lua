-- One operation of the suite `async`: ours.lua NAME COUNT prints the least CPU time of COUNT runs, in seconds an operation.
local pg = require "perigee"
local async, timer = pg.async, pg.timer
local name, count = ...

local function nothing() end

local function sleep_once() async.sleep(0.1) end

local pool -- of the operation that needs one

-- name -> how many there are in a run, and the run
local operations = {
  ["switch"] = { 200000, function(n)
    for _ = 1, n do
      async.sleep(0)
    end
  end },
  ["switch among 100"] = { 200000, function(n)
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = function()
        for _ = 1, n / 100 do
          async.sleep(0)
        end
      end
    end
    async.gather(tasks)
  end },
  ["task"] = { 50000, function(n)
    for _ = 1, n do
      async.await(async.create_task(nothing))
    end
  end },
  ["sleeping tasks"] = { 100000, function(n)
    local tasks = {}
    for i = 1, n do
      tasks[i] = sleep_once
    end
    async.gather(tasks)
  end },
  ["queue"] = { 100000, function(n)
    local queue = async.queue(10)
    async.create_task(function()
      for i = 1, n do
        queue:put(i)
      end
    end)
    for _ = 1, n do
      queue:get()
    end
  end },
  ["echo"] = { 5000, function(n)
    local server = async.serve("localhost", 0, function(stream)
      for line in stream:lines() do
        stream:write(line, "\n")
      end
    end)
    local stream = async.connect("localhost", server.port)
    for _ = 1, n do
      stream:write("hello\n")
      assert(stream:read_line() == "hello")
    end
    stream:close()
    server:close()
  end },
  ["run_in_pool"] = { 5000, function(n)
    pool = pool or pg.parallel.pool(1)
    for _ = 1, n do
      async.run_in_pool(pool, nothing)
    end
  end },
  ["run"] = { 1, nothing },
}

local n, run = unpack(operations[name])
local least = math.huge
for _ = 1, tonumber(count) do
  collectgarbage()
  local start = timer.cpu()
  async.run(run, n)
  least = math.min(least, (timer.cpu() - start) / n)
end
print(("%.9g"):format(least))
