-- Waiting takes no processor: ten waits at once take as long as the longest of them.
-- perigee run scripts/demos/parallel/waiting_together.lua
local pg = require "perigee"
local async, timer = pg.async, pg.timer

-- Stands for a slow answer of a server or a disk. Any function may wait; it is called like any other.
local function fetch(page)
  async.sleep(page / 100)
  return "page " .. page
end

async.run(function()
  local start = timer.now()
  for page = 1, 10 do
    fetch(page)
  end
  print(("one after the other: %.2f s"):format(timer.now() - start))

  start = timer.now()
  local tasks = {}
  for page = 1, 10 do
    tasks[page] = async.create_task(fetch, page)
  end
  local pages = async.gather(tasks)
  print(("together: %.2f s; the last is %s"):format(timer.now() - start, pages[10]))

  -- Not every answer is worth waiting for.
  local ok, err = pcall(async.wait_for, function() return fetch(1000) end, 0.05)
  print(ok, err == async.TimeoutError, err)

  -- A queue between tasks; three workers share what one task brings.
  local queue, done = async.queue(4), {}
  local workers = {}
  for w = 1, 3 do
    workers[w] = async.create_task(function()
      while true do
        local page = queue:get()
        fetch(page)
        done[#done + 1] = page
        queue:task_done()
      end
    end)
  end
  for page = 1, 6 do
    queue:put(page)
  end
  queue:join()
  for w = 1, 3 do
    workers[w]:cancel()
  end
  table.sort(done)
  print("done: " .. table.concat(done, " "))
end)
