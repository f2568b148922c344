-- A server and its clients in one program: each connection has a task of its own.
-- perigee run scripts/demos/parallel/echo_server.lua
local async = require "perigee.async"

local function answer(connection)
  for line in connection:lines() do
    if line == "error" then
      error("a handler's error ends its own connection only")
    end
    connection:write(line:upper(), "\n")
  end
end

local function client(port, name)
  local stream = async.connect("localhost", port)
  local answers = {}
  for i = 1, 3 do
    stream:write(name, " ", i, "\n")
    answers[i] = stream:read_line()
    async.sleep(0.01)
  end
  stream:close()
  return table.concat(answers, ", ")
end

async.run(function()
  local server = async.serve("localhost", 0, answer) -- port 0: any that is free
  local clients = {}
  for i, name in ipairs { "ada", "grace", "edsger" } do
    clients[i] = async.create_task(client, server.port, name)
  end
  for _, text in ipairs(async.gather(clients)) do
    print(text)
  end

  local stream = async.connect("localhost", server.port)
  stream:write("error\n")
  print("the server has closed:", stream:read_line())
  server:close()
end)
