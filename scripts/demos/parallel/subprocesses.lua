-- Other programs run beside this one; their output comes through pipes.
-- perigee run scripts/demos/parallel/subprocesses.lua
local async = require "perigee.async"

local function output_of(...)
  local process = async.subprocess({ ... }, { stdout = "pipe" })
  local text = process:communicate()
  return text, process.returncode
end

async.run(function()
  -- Three at once, each a tenth of a second.
  local commands = {}
  for i = 1, 3 do
    commands[i] = function() return (output_of("sh", "-c", "sleep 0.1; echo program " .. i)) end
  end
  for _, text in ipairs(async.gather(commands)) do
    io.write(text)
  end

  -- A pipe in both directions.
  local sort = async.subprocess({ "sort", "-n" }, { stdin = "pipe", stdout = "pipe" })
  print((sort:communicate("30\n4\n100\n"):gsub("\n", " ")))

  local _, code = output_of("sh", "-c", "exit 7")
  print("exit code " .. code)

  -- One that takes too long is cancelled by its time limit, and killed.
  local slow = async.subprocess { "sleep", "60" }
  local ok, err = pcall(async.wait_for, function() return slow:wait() end, 0.05)
  if not ok and err == async.TimeoutError then
    slow:kill()
  end
  print("ended with " .. slow:wait())
end)
