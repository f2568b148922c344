-- Streams of bytes: pipes of subprocesses and loopback TCP.
local core, library, kit = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local async, enter, suspend, wake, CANCEL = kit.async, kit.enter, kit.suspend, kit.wake, kit.CANCEL
local kind_of, raise_cancelled, check_options, need_loop = kit.kind_of, kit.raise_cancelled, kit.check_options, kit.need_loop
local setmetatable, type, tonumber, tostring, pairs, pcall, error = setmetatable, type, tonumber, tostring, pairs, pcall,
  error
local find, sub, concat, format = string.find, string.sub, table.concat, string.format

local EOF = -4095 -- UV_EOF

local slot_out, request_out, bound_out = ffi.new("int32_t[1]"), ffi.new("int32_t[1]"), ffi.new("int32_t[1]")

local function reason(status)
  return ffi.string(library.pg_async_error(status))
end

-- Waits for a request of libuv that has begun. Returns its status, or CANCEL.
local function finish(task, slot, what)
  local request = { task = task, status = nil }
  kit.requests[slot] = request
  repeat
    if suspend(task, what) == CANCEL then
      request.task = nil
      return CANCEL
    end
  until request.status
  return request.status
end

-- -------------------------------------------------------------------------------------------------------- streams ----
local Stream = { _name = "a stream" }
Stream.__index = Stream

-- _data from _at on has been received and not been read.
local function new_stream(slot, what)
  local stream = setmetatable({ _slot = slot, _data = "", _at = 1, _ended = false, _error = nil, _reader = nil,
    _what = what }, Stream)
  kit.handles[slot] = stream
  return stream
end

function Stream:__tostring()
  return format("stream (%s%s)", self._what, self._slot and "" or ", closed")
end

-- A record of the loop: bytes, the end or an error.
function Stream:_happened(size, data)
  if size >= 0 then
    local rest = self._at > #self._data and "" or sub(self._data, self._at)
    local chunk = ffi.string(data, size)
    self._data, self._at = rest == "" and chunk or rest .. chunk, 1
  elseif size == EOF then
    self._ended = true
  else
    self._error = reason(size)
  end
  local reader = self._reader
  if reader then
    self._reader = nil
    wake(reader)
  end
end

local function need_open(stream, name)
  if not stream._slot then
    fail("%s: the stream is closed", name)
  end
end

-- Waits for more bytes. Returns false at the end of the stream.
local function receive(stream, name)
  local task = enter(name)
  if stream._ended then
    return false
  end
  need_open(stream, name)
  if stream._reader then
    fail("%s: another task is reading from this stream", name)
  elseif stream._error then
    fail("%s: %s", name, stream._error)
  end
  check(library.pg_async_read_start(kit.loop, stream._slot))
  stream._reader = task
  local before = #stream._data - stream._at
  local cancelled = false
  repeat
    cancelled = suspend(task, name) == CANCEL
  until cancelled or stream._reader ~= task
  if stream._reader == task then
    stream._reader = nil
    if stream._slot then
      check(library.pg_async_read_stop(kit.loop, stream._slot))
    end
  end
  if cancelled then
    raise_cancelled(name) -- what has come is there for the next reader
  elseif #stream._data - stream._at > before then
    return true
  elseif stream._error then
    fail("%s: %s", name, stream._error)
  elseif not stream._ended then
    fail("%s: the stream was closed while a task read from it", name)
  end
  return false
end

local function available(stream)
  return #stream._data - stream._at + 1
end

local function take(stream, count)
  local at = stream._at
  stream._at = at + count
  return (sub(stream._data, at, at + count - 1))
end

local function check_count(name, n)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 then
    fail("%s: how many bytes is an integer, 1 or more, got %s", name, kind_of(n))
  end
end

--- stream:read([n]): up to n bytes, as soon as there are any; nil at the end. Without n: all until the end.
function Stream:read(n)
  if n == nil then
    local parts, fine, more = {}, nil, nil
    repeat
      parts[#parts + 1] = take(self, available(self))
      fine, more = pcall(receive, self, "stream:read")
    until not fine or not more
    local text = concat(parts)
    if not fine then -- it is there for the next reader
      self._data, self._at = text .. sub(self._data, self._at), 1
      error(more, 0)
    end
    return text
  end
  check_count("stream:read", n)
  if available(self) == 0 and not receive(self, "stream:read") then
    return nil
  end
  return (take(self, math.min(n, available(self))))
end

--- stream:read_exactly(n): n bytes; an error if the stream ends before.
function Stream:read_exactly(n)
  check_count("stream:read_exactly", n)
  while available(self) < n do
    if not receive(self, "stream:read_exactly") then
      fail("stream:read_exactly: the stream ended after %d of %d bytes", available(self), n)
    end
  end
  return (take(self, n))
end

--- stream:read_line(): a line without its "\n"; nil at the end.
function Stream:read_line()
  local from = 0 -- what has been searched
  while true do
    local at = find(self._data, "\n", self._at + from, true)
    if at then
      local line = take(self, at - self._at)
      self._at = at + 1
      return line
    end
    from = available(self)
    if not receive(self, "stream:read_line") then
      return from > 0 and take(self, from) or nil
    end
  end
end

--- for line in stream:lines() do
function Stream:lines()
  return function() return (self:read_line()) end
end

--- stream:write(...): strings and numbers; waits until the operating system has taken them.
function Stream:write(...)
  local task = enter("stream:write")
  need_open(self, "stream:write")
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    local parts = { ... }
    for i = 1, select("#", ...) do
      if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
        fail("stream:write: argument %d must be a string or a number, got %s", i, kind_of(parts[i]))
      end
    end
    text = concat(parts)
  end
  check(library.pg_async_write(request_out, kit.loop, self._slot, text, #text))
  local request = request_out[0]
  if request ~= 0 then
    local outcome = finish(task, request, "stream:write")
    if outcome == CANCEL then
      raise_cancelled("stream:write")
    elseif outcome < 0 then
      fail("stream:write: %s", self._slot and reason(outcome) or "the stream was closed while a task wrote to it")
    end
  end
end

--- stream:write_eof(): the other side reads an end; reading goes on.
function Stream:write_eof()
  local task = enter("stream:write_eof")
  need_open(self, "stream:write_eof")
  check(library.pg_async_write_eof(request_out, kit.loop, self._slot))
  local outcome = finish(task, request_out[0], "stream:write_eof")
  if outcome == CANCEL then
    raise_cancelled("stream:write_eof")
  elseif outcome < 0 then
    fail("stream:write_eof: %s", reason(outcome))
  end
end

local function close_handle(object)
  local slot = object._slot
  if slot then
    object._slot = nil
    kit.handles[slot] = nil
    check(library.pg_async_close_handle(kit.loop, slot))
  end
end

--- stream:close(): a second time does nothing.
function Stream:close()
  close_handle(self)
  local reader = self._reader
  if reader then
    self._reader = nil
    wake(reader)
  end
end

function Stream:closed()
  return self._slot == nil
end

-- ------------------------------------------------------------------------------------------------------------ TCP ----
local loopback = { localhost = "127.0.0.1", ["127.0.0.1"] = "127.0.0.1", ["::1"] = "::1" }

local function check_address(name, host, port, least)
  if type(host) ~= "string" then
    fail('%s: the host is a string such as "localhost", got %s', name, kind_of(host))
  elseif not loopback[host] then
    core.unsupported('%s: only this machine itself can be reached: "localhost", "127.0.0.1" or "::1"; got %s', name,
      kind_of(host))
  elseif type(port) ~= "number" or port % 1 ~= 0 or port < least or port > 65535 then
    fail("%s: the port is an integer from %d to 65535%s, got %s", name, least, least == 0 and " (0: any free one)" or "",
      kind_of(port))
  end
  return loopback[host]
end

--- async.connect(host, port): a stream to a server on this machine.
function async.connect(host, port)
  local task = enter("connect")
  local address = check_address("connect", host, port, 1)
  check(library.pg_async_connect(slot_out, request_out, kit.loop, address, port))
  local stream = new_stream(slot_out[0], format("%s port %d", host, port))
  local outcome = finish(task, request_out[0], "connect")
  if outcome == CANCEL then
    stream:close()
    raise_cancelled("connect")
  elseif outcome < 0 then
    stream:close()
    fail("connect: %s port %d: %s", host, port, reason(outcome))
  end
  return stream
end

local Server = { _name = "a server", _fields = { host = true, port = true } }
Server.__index = Server

function Server:__tostring()
  return format("server (%s port %d%s)", self.host, self.port, self._slot and "" or ", closed")
end

local function connection_ended(task)
  task._stream:close()
  if task:exception() and not task:cancelled() then
    kit.report_failure(task)
  end
end

function Server:_happened(value)
  if value < 0 then
    kit.report(format("serve: a connection was not accepted: %s", reason(value)))
    return
  end
  local stream = new_stream(value, format("from a client of port %d", self.port))
  local task = kit.new_task(self._handler, self._file, self._line, 1, stream)
  task._stream, task._on_end = stream, connection_ended
end

--- async.serve(host, port, handler [, {backlog = 128}]): calls handler(stream) in a task of its own for each connection,
--- and closes the stream when it returns. An error of a handler is reported and ends its connection alone.
function async.serve(host, port, handler, options)
  need_loop("serve")
  local address = check_address("serve", host, port, 0)
  if type(handler) ~= "function" then
    fail("serve: the third argument is a function that is called with each connection's stream, got %s", kind_of(handler))
  end
  options = check_options("serve", options, { backlog = true })
  local backlog = options.backlog == nil and 128 or options.backlog
  if type(backlog) ~= "number" or backlog % 1 ~= 0 or backlog < 1 or backlog > 65535 then
    fail("serve: backlog is an integer from 1 to 65535, got %s", kind_of(backlog))
  end
  check(library.pg_async_listen(slot_out, bound_out, kit.loop, address, port, backlog))
  local file, line = core.caller()
  local server = setmetatable({ _slot = slot_out[0], host = host, port = bound_out[0], _handler = handler, _file = file,
    _line = line, _closed = async.event() }, Server)
  kit.handles[server._slot] = server
  return server
end

--- server:close(): accepts no more connections; those there are go on.
function Server:close()
  close_handle(self)
  self._closed:set()
end

--- server:wait_closed(): waits until somebody has closed the server.
function Server:wait_closed()
  self._closed:wait()
end

-- --------------------------------------------------------------------------------------------------- subprocesses ----
local Process = { _name = "a process", _fields = { pid = true } }
Process.__index = Process

function Process:__tostring()
  return format("process %d (%s%s)", self.pid, self._program, self.returncode and ", ended with " .. self.returncode or "")
end

function Process:_happened(code)
  self.returncode = code
  close_handle(self)
  self._ended:set()
end

local modes = { null = 0, inherit = 1, pipe = 2, stdout = 3 }
local standard = { "stdin", "stdout", "stderr" }

-- Strings without zero bytes; what a C array of them must keep alive as well.
local function c_strings(name, what, list)
  if type(list) ~= "table" or #list == 0 then
    fail('%s: %s, got %s', name, what, kind_of(list))
  end
  local out = ffi.new("const char *[?]", #list + 1)
  for i = 1, #list do
    local text = type(list[i]) == "number" and tostring(list[i]) or list[i]
    if type(text) ~= "string" or find(text, "%z") then
      fail("%s: %s; element %d is %s", name, what, i, kind_of(list[i]))
    end
    list[i] = text
    out[i - 1] = text
  end
  return out
end

local process_options = { stdin = true, stdout = true, stderr = true, cwd = true, env = true }

--- async.subprocess(argv [, options]): starts a program: its name (looked for in PATH) and arguments as a list, without a
--- shell. stdin, stdout, stderr: "inherit" (the default), "pipe" (a stream in the field of the same name), "null", and
--- for stderr "stdout"; cwd: its working directory; env: a table of its whole environment.
function async.subprocess(argv, options)
  need_loop("subprocess")
  local words = {}
  for i = 1, type(argv) == "table" and #argv or 0 do
    words[i] = argv[i]
  end
  local argv_c = c_strings("subprocess", 'a list of strings is expected, as in {"ls", "-l"}',
    type(argv) == "table" and words or argv)
  options = check_options("subprocess", options, process_options)
  local stdio = ffi.new("int32_t[3]")
  for i = 1, 3 do
    local mode = options[standard[i]]
    mode = mode == nil and "inherit" or mode
    if not modes[mode] or (mode == "stdout" and i ~= 3) then
      fail('subprocess: %s is "inherit", "pipe"%s or "null", got %s', standard[i], i == 3 and ', "stdout"' or "",
        kind_of(mode))
    end
    stdio[i - 1] = modes[mode]
  end
  local cwd, env = options.cwd, options.env
  if cwd ~= nil and (type(cwd) ~= "string" or find(cwd, "%z")) then
    fail("subprocess: cwd is a directory's path, got %s", kind_of(cwd))
  end
  local assignments, env_c = {}, nil
  if env ~= nil then
    if type(env) ~= "table" then
      fail('subprocess: env is a table such as {PATH = "/usr/bin"}, got %s', kind_of(env))
    end
    for name, value in pairs(env) do
      if type(name) ~= "string" or find(name, "=", 1, true) or name == "" or
        (type(value) ~= "string" and type(value) ~= "number") then
        fail("subprocess: env has names and strings, got %s = %s", tostring(name), kind_of(value))
      end
      assignments[#assignments + 1] = name .. "=" .. value
    end
    env_c = #assignments > 0 and c_strings("subprocess", "env has names and strings", assignments) or
      ffi.new("const char *[1]")
  end
  local streams, pid = ffi.new("int32_t[3]"), ffi.new("int32_t[1]")
  check(library.pg_async_spawn(slot_out, pid, streams, kit.loop, argv_c, env_c, cwd, stdio))
  local process = setmetatable({ _slot = slot_out[0], pid = pid[0], _program = words[1], _ended = async.event(),
    returncode = nil }, Process)
  kit.handles[process._slot] = process
  for i = 1, 3 do
    if streams[i - 1] ~= 0 then
      process[standard[i]] = new_stream(streams[i - 1], format("%s of %s", standard[i], words[1]))
    end
  end
  return process
end

--- process:wait(): waits for its end; its exit code, or -signal if a signal ended it.
function Process:wait()
  self._ended:wait()
  return self.returncode
end

--- process:communicate([input]): writes input to its stdin and closes that, reads stdout and stderr to their ends and
--- waits: what was read, nil for what is no pipe.
function Process:communicate(input)
  enter("process:communicate")
  if input ~= nil and type(input) ~= "string" then
    fail("process:communicate: the input is a string, got %s", kind_of(input))
  elseif input ~= nil and not self.stdin then
    fail('process:communicate: there is no pipe to write the input to; start it with {stdin = "pipe"}')
  end
  local texts, work = {}, {}
  for i = 2, 3 do
    local stream = self[standard[i]]
    if stream then
      work[#work + 1] = function() texts[i] = stream:read() end
    end
  end
  if self.stdin then
    work[#work + 1] = function()
      if input then
        pcall(self.stdin.write, self.stdin, input) -- a program may end without reading all
      end
      self.stdin:close()
    end
  end
  async.gather(work)
  self:wait()
  for i = 1, 3 do
    if self[standard[i]] then
      self[standard[i]]:close()
    end
  end
  return texts[2], texts[3]
end

local signals = { HUP = 1, INT = 2, QUIT = 3, KILL = 9, USR1 = 10, USR2 = 12, TERM = 15, CONT = 18, STOP = 19 }

--- process:kill([signal]): "KILL" unless told otherwise: a name such as "INT" or a number.
function Process:kill(signal)
  signal = signal == nil and "KILL" or signal
  local number = signals[signal] or signal
  if type(number) ~= "number" or number % 1 ~= 0 or number < 1 or number > 64 then
    local names = {}
    for name in pairs(signals) do
      names[#names + 1] = name
    end
    table.sort(names)
    fail("process:kill: a signal's number from 1 to 64 or its name is expected (%s), got %s", concat(names, ", "),
      kind_of(signal))
  end
  if self._slot then
    check(library.pg_async_kill(kit.loop, self._slot, number))
  end
end

--- process:terminate(): asks it to end (the signal TERM).
function Process:terminate()
  self:kill("TERM")
end

kit.finish_class("AsyncStream", Stream, { readline = "read_line", read_until = "read_line", send = "write", drain =
  "write waits by itself" })
kit.finish_class("AsyncServer", Server, { serve_forever = "wait_closed" })
kit.finish_class("AsyncProcess", Process, nil, { stdin = true, stdout = true, stderr = true, returncode = true })
