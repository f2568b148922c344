-- pg.mpi: message passing between the ranks that `perigee mpirun -n 4 script.lua` starts. Point to point is here, in two
-- forms: lower case for any value (table form), upper case for arrays without a copy (array form). Collective calls are in
-- mpi_collectives.lua and mpi_begun.lua, topologies in mpi_topology.lua, windows in mpi_windows.lua; what waits and sends is C++ (mpi_abi.h).
--
-- A call that has waited for half a second returns PENDING: only then does Lua learn of it, looks for Ctrl-C, and says at
-- which line it waits. The fast path is one C call, which compiled code keeps.
local core, library = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local istype, type, tostring, tonumber, getmetatable, setmetatable, rawget, rawset, pairs, ipairs, select, unpack = ffi.istype,
  type, tostring, tonumber, getmetatable, setmetatable, rawget, rawset, pairs, ipairs, select, unpack
local format, sub, error, pcall = string.format, string.sub, error, pcall

local array = core.require("array")
local kit_a = array._kit
local kind_of, as_array, check_options = kit_a.kind_of, kit_a.as_array, kit_a.check_options
local array_t = ffi.typeof("pg_array")

local PENDING, ANY, PROC_NULL, STANDARD, SYNCHRONOUS, OF_SENDRECV = 100, -1, -2, 0, 1, 2
local RECV, SEND_VALUE, RECV_VALUE = 1, 2, 3 -- enum pg_mpi_request_kind

local mpi = {}
local Comm = {}  -- methods of communicators
local Request = {}
local kit        -- below: parts

--- Any source; any tag.
mpi.ANY_SOURCE, mpi.ANY_TAG = ANY, ANY
--- The rank beyond an edge: what is sent to it is dropped, what is received from it is nothing.
mpi.PROC_NULL = PROC_NULL
--- Instead of the array to send: what is in the array to receive into.
mpi.IN_PLACE = setmetatable({}, { __tostring = function() return "mpi.IN_PLACE" end })

-- ---------------------------------------------------------------------------------------------------------- state ----
local natives       -- functions of mpi_lua.cpp, with the first value that is sent
local world, self_comm
-- Operations under way keep their arrays, and are kept themselves: MPI writes to both.
local live = {}
local index_out = ffi.new("int32_t[1]")

local function interrupted()
  local parallel = core.loaded.parallel
  return parallel and core.natives.parallel.interrupted()
end

-- Waits on after PENDING, and raises what went wrong. It is not compiled: hooks, by which a prompt's Ctrl-C comes, are for
-- the interpreter only.
-- What C still refers to is passed on, to be kept: compiled code lets go of it.
local function finish(status, ...)
  while status == PENDING do
    if interrupted() then
      library.pg_mpi_abandon()
      fail("interrupted by Ctrl-C")
    end
    local file, line = core.caller()
    status = library.pg_mpi_continue(file and format("%s:%d", file, line) or "")
  end
  check(status)
end
jit.off(finish)

-- ------------------------------------------------------------------------------------------------- communicators -----
local function new_comm(handle)
  return setmetatable({ _c = handle }, Comm)
end

local function open()
  if world then
    return
  elseif core.natives.parallel.worker() then
    fail("mpi: MPI is called from the main state only, not from the workers of a pool; send and receive there, and give " ..
      "the workers arrays")
  end
  local world_out, self_out = ffi.new("pg_mpi_comm *[1]"), ffi.new("pg_mpi_comm *[1]")
  check(library.pg_mpi_open(world_out, self_out))
  world, self_comm = new_comm(world_out[0]), new_comm(self_out[0])
  rawset(mpi, "world", world)
  rawset(mpi, "self", self_comm)
  -- MPI ends with the state: userdata are finalised after all cdata.
  local owner = newproxy(true)
  getmetatable(owner).__gc = function()
    local left = 0
    for request in pairs(live) do
      left = left + 1
      if request._r._kind == RECV or request._r._kind == RECV_VALUE then -- into memory that goes now
        library.pg_mpi_cancel(index_out, request._r)
      end
    end
    library.pg_mpi_close(core.failed and 1 or 0, left)
  end
  mpi._owner = owner
end

local function values()
  if not natives then
    core.require("parallel")
    local functions, reason = package.loadlib(ffi.string(library.pg_mpi_path()), "pg_mpi_functions")
    if not functions then
      core.internal("mpi: %s", reason)
    end
    natives = functions()
  end
  return natives
end

local function need_comm(name, comm)
  if getmetatable(comm) ~= Comm then
    fail("%s: a communicator comes first: write comm:%s(...), with a colon (mpi.world:%s(...))", name, name, name)
  end
  return comm._c
end

-- The array that is sent or received into; a row becomes an owning view.
local function need_array(name, what, a)
  local x = as_array(a)
  if not x then
    if a == mpi.IN_PLACE then
      fail("%s: %s cannot be mpi.IN_PLACE here", name, what)
    end
    local plain = name:lower()
    fail("%s: %s must be an array%s, got %s", name, what, name ~= plain and rawget(Comm, plain) and
      format(" (the table form, %s, takes any value)", plain) or "", kind_of(a))
  end
  return x
end

local function need_number(name, what, x)
  if type(x) ~= "number" then
    fail("%s: %s must be a number, got %s", name, what, kind_of(x))
  end
  return x
end

local function optional_number(name, what, x)
  if x == nil then
    return ANY
  end
  return (need_number(name, what, x))
end

-- ----------------------------------------------------------------------------------------------- the array form ------
local found = ffi.new("pg_mpi_found")

local function send_slow(name, mode, comm, a, dest, tag)
  local c = need_comm(name, comm)
  a = need_array(name, "the message", a)
  need_number(name, "the destination (a rank)", dest)
  finish(library.pg_mpi_send(c, a, dest, tag == nil and 0 or need_number(name, "the tag", tag), mode), a)
end

--- comm:Send(a, dest [, tag]): sends the elements of an array, views too, without a copy. Returns when the array may be
--- changed again.
function Comm.Send(comm, a, dest, tag)
  if istype(array_t, a) and type(dest) == "number" and getmetatable(comm) == Comm and (tag == nil or type(tag) == "number") then
    local status = library.pg_mpi_send(comm._c, a, dest, tag or 0, STANDARD)
    if status ~= 0 then
      finish(status, a)
    end
  else
    send_slow("Send", STANDARD, comm, a, dest, tag)
  end
end

--- comm:Ssend(a, dest [, tag]): the same, but returns when the receive has begun.
function Comm.Ssend(comm, a, dest, tag)
  send_slow("Ssend", SYNCHRONOUS, comm, a, dest, tag)
end

local only_partial = { partial = true }
local function partial_option(name, options)
  if options == nil then
    return 0
  elseif type(options) ~= "table" then
    fail("%s: options are a table such as {partial = true}, got %s", name, kind_of(options))
  end
  check_options(name, options, only_partial)
  return options.partial and 1 or 0
end

local function recv_slow(comm, a, source, tag, options)
  local c = need_comm("Recv", comm)
  a = need_array("Recv", "what is received into", a)
  local partial = partial_option("Recv", options)
  finish(library.pg_mpi_recv(found, c, a, optional_number("Recv", "the source (a rank)", source),
    optional_number("Recv", "the tag", tag), partial), a)
  return found.source, found.tag, tonumber(found.count)
end

--- comm:Recv(a [, source [, tag [, {partial = true}]]]): receives as many elements as the array has, of its dtype. Returns
--- the source, the tag and the count.
function Comm.Recv(comm, a, source, tag, options)
  if istype(array_t, a) and options == nil and getmetatable(comm) == Comm and (source == nil or type(source) == "number") and
    (tag == nil or type(tag) == "number") then
    local status = library.pg_mpi_recv(found, comm._c, a, source or ANY, tag or ANY, 0)
    if status ~= 0 then
      finish(status, a)
    end
    return found.source, found.tag, tonumber(found.count)
  end
  return recv_slow(comm, a, source, tag, options)
end

local sendrecv_options = { sendtag = true, recvtag = true, partial = true }

--- comm:Sendrecv(send, dest, recv [, source [, {sendtag =, recvtag =, partial =}]]): both at once, so that neighbours can
--- exchange without waiting for each other. Returns as Recv.
function Comm.Sendrecv(comm, send, dest, recv, source, options)
  local c = need_comm("Sendrecv", comm)
  send, recv = need_array("Sendrecv", "the message", send), need_array("Sendrecv", "what is received into", recv)
  local send_tag, recv_tag, partial = 0, ANY, 0
  if options ~= nil then
    if type(options) ~= "table" then
      fail("Sendrecv: options are a table such as {sendtag = 1}, got %s", kind_of(options))
    end
    check_options("Sendrecv", options, sendrecv_options)
    send_tag = options.sendtag == nil and 0 or need_number("Sendrecv", "sendtag", options.sendtag)
    recv_tag = optional_number("Sendrecv", "recvtag", options.recvtag)
    partial = options.partial and 1 or 0
  end
  if send._block == recv._block and send._size > 0 and array.shares_memory(send, recv) then
    fail("Sendrecv: the array to send and the one to receive into share memory; receive into another array")
  end
  finish(library.pg_mpi_sendrecv(found, c, send, need_number("Sendrecv", "the destination (a rank)", dest), send_tag, recv,
    optional_number("Sendrecv", "the source (a rank)", source), recv_tag, partial), send, recv)
  return found.source, found.tag, tonumber(found.count)
end

-- ----------------------------------------------------------------------------------------------- the table form ------
local function need_value(name, value)
  if value == nil then
    fail("%s: the value is nil, which is no message; send false, or a table", name)
  end
end

local function send_value(name, mode, comm, value, dest, tag)
  local c = need_comm(name, comm)
  need_value(name, value)
  need_number(name, "the destination (a rank)", dest)
  local status = values().send(c, dest, tag == nil and 0 or need_number(name, "the tag", tag), mode, value)
  if status ~= 0 then
    finish(status)
  end
end

--- comm:send(value, dest [, tag]): sends a number, string, boolean, array, function, or table of these.
function Comm.send(comm, value, dest, tag)
  if natives and getmetatable(comm) == Comm and type(dest) == "number" and (tag == nil or type(tag) == "number") and
    value ~= nil then
    local status = natives.send(comm._c, dest, tag or 0, STANDARD, value)
    if status ~= 0 then
      finish(status)
    end
  else
    send_value("send", STANDARD, comm, value, dest, tag)
  end
end

--- comm:ssend(value, dest [, tag]): the same, but returns when the receive has begun.
function Comm.ssend(comm, value, dest, tag)
  send_value("ssend", SYNCHRONOUS, comm, value, dest, tag)
end

-- What natives.recv gives: the value, its source, its tag.
local function received(status, value, source, tag)
  if status ~= 0 then
    finish(status)
    status, value, source, tag = natives.received()
    check(status)
  end
  return value, source, tag
end

--- comm:recv([source [, tag]]): the next value; and its source and tag.
function Comm.recv(comm, source, tag)
  if natives and getmetatable(comm) == Comm and (source == nil or type(source) == "number") and
    (tag == nil or type(tag) == "number") then
    return received(natives.recv(comm._c, source or ANY, tag or ANY))
  end
  local c = need_comm("recv", comm)
  source, tag = optional_number("recv", "the source (a rank)", source), optional_number("recv", "the tag", tag)
  return received(values().recv(c, source, tag))
end

local isend_value -- below
local sendrecv_value_options = { sendtag = true, recvtag = true }

--- comm:sendrecv(value, dest [, source [, {sendtag =, recvtag =}]]): sends a value and receives one.
function Comm.sendrecv(comm, value, dest, source, options)
  need_comm("sendrecv", comm)
  local send_tag, recv_tag
  if options ~= nil then
    if type(options) ~= "table" then
      fail("sendrecv: options are a table such as {sendtag = 1}, got %s", kind_of(options))
    end
    check_options("sendrecv", options, sendrecv_value_options)
    send_tag, recv_tag = options.sendtag, options.recvtag
  end
  local request = isend_value("sendrecv", OF_SENDRECV, comm, value, dest, send_tag)
  local got, from, tag = comm:recv(source, recv_tag)
  request:wait()
  return got, from, tag
end

-- ------------------------------------------------------------------------------------------------------- requests ----
local request_t = ffi.typeof("pg_mpi_request")
local requests_t = ffi.typeof("pg_mpi_request *[?]")

local function start(struct, a, b)
  local request = setmetatable({ _r = struct, _a = a or false, _b = b or false, _over = false }, Request)
  live[request] = true
  return request
end

--- comm:Isend(a, dest [, tag]): begins to send; the array must not be changed until the request is done.
function Comm.Isend(comm, a, dest, tag)
  local c = need_comm("Isend", comm)
  a = need_array("Isend", "the message", a)
  local r = request_t()
  check(library.pg_mpi_isend(r, c, a, need_number("Isend", "the destination (a rank)", dest),
    tag == nil and 0 or need_number("Isend", "the tag", tag), STANDARD))
  return start(r, a)
end

--- comm:Issend(a, dest [, tag]): the same; it is done once the receive has begun.
function Comm.Issend(comm, a, dest, tag)
  local c = need_comm("Issend", comm)
  a = need_array("Issend", "the message", a)
  local r = request_t()
  check(library.pg_mpi_isend(r, c, a, need_number("Issend", "the destination (a rank)", dest),
    tag == nil and 0 or need_number("Issend", "the tag", tag), SYNCHRONOUS))
  return start(r, a)
end

--- comm:Irecv(a [, source [, tag [, {partial = true}]]]): begins to receive; the array has its elements when the request
--- is done.
function Comm.Irecv(comm, a, source, tag, options)
  local c = need_comm("Irecv", comm)
  a = need_array("Irecv", "what is received into", a)
  local r = request_t()
  check(library.pg_mpi_irecv(r, c, a, optional_number("Irecv", "the source (a rank)", source),
    optional_number("Irecv", "the tag", tag), partial_option("Irecv", options)))
  return start(r, a)
end

function isend_value(name, mode, comm, value, dest, tag)
  local c = need_comm(name, comm)
  need_value(name, value)
  local r = request_t()
  check(values().isend(r, c, need_number(name, "the destination (a rank)", dest),
    tag == nil and 0 or need_number(name, "the tag", tag), mode, value))
  return start(r)
end

--- comm:isend(value, dest [, tag]): begins to send a value, which may be changed at once.
function Comm.isend(comm, value, dest, tag)
  return isend_value("isend", STANDARD, comm, value, dest, tag)
end

--- comm:issend(value, dest [, tag]): the same; it is done once the receive has begun.
function Comm.issend(comm, value, dest, tag)
  return isend_value("issend", SYNCHRONOUS, comm, value, dest, tag)
end

--- comm:irecv([source [, tag]]): begins to receive a value, which wait returns.
function Comm.irecv(comm, source, tag)
  local c = need_comm("irecv", comm)
  values()
  local r = request_t()
  check(library.pg_mpi_irecv_value(r, c, optional_number("irecv", "the source (a rank)", source),
    optional_number("irecv", "the tag", tag)))
  return start(r)
end

local function need_request(name, request)
  if getmetatable(request) ~= Request then
    fail("%s: a request is expected (what Isend, irecv and the like return), got %s", name, kind_of(request))
  end
  return request
end

-- Of a request that is done: notes it, and gives what its wait returns.
local function outcome(request)
  local r = request._r
  if not request._over then
    request._over = true
    live[request] = nil
    if r._kind == RECV_VALUE then
      local status, value, source, tag = natives.take(r)
      check(status)
      request._value, request._source, request._tag = value, source, tag
    elseif request._then then
      request._result = request._then()
    end
    request._a, request._b, request._then = false, false, nil
  end
  if request._cancelled then
    return nil
  elseif r._kind == RECV_VALUE then
    return request._value, request._source, request._tag
  elseif r._kind == RECV then
    return r.found.source, r.found.tag, tonumber(r.found.count)
  end
  return request._result
end

-- finish(), but requests that failed are over. `list`: see finish.
local function finish_requests(requests, status, list)
  if status == 0 then
    return
  end
  local ok, message = pcall(finish, status, list)
  if not ok then
    for i = 1, #requests do
      if requests[i]._r.done ~= 0 and requests[i]._r._kind ~= RECV_VALUE then
        requests[i]._over = true
        live[requests[i]] = nil
      end
    end
    error(message, 0)
  end
end

-- The structs of a list of requests, for C.
local function list_of(name, requests)
  if type(requests) ~= "table" or getmetatable(requests) == Request then
    fail("%s: a list of requests is expected, got %s", name, getmetatable(requests) == Request and
      "a single request (its own :wait() waits for it)" or kind_of(requests))
  end
  local n = #requests
  local list = requests_t(math.max(n, 1))
  for i = 1, n do
    list[i - 1] = need_request(format("%s: item %d", name, i), requests[i])._r
  end
  return list, n
end

--- request:wait(): waits until it is done. Of irecv the value, source and tag; of Irecv the source, tag and count; of a
--- collective call its result.
function Request.wait(request)
  need_request("wait", request)
  if not request._over then
    local list = requests_t(1)
    list[0] = request._r
    finish_requests({ request }, library.pg_mpi_wait(index_out, list, 1, 0), list)
  end
  return outcome(request)
end

--- request:test(): whether it is done; if so, after true what wait returns.
function Request.test(request)
  need_request("test", request)
  if not request._over then
    finish_requests({ request }, library.pg_mpi_test(request._r))
    if request._r.done == 0 then
      return false
    end
  end
  return true, outcome(request)
end

--- request:cancel(): gives up a receive that has not got its message. Returns whether it was given up: false where the
--- message had come, which wait then gives.
function Request.cancel(request)
  need_request("cancel", request)
  if request._over then
    return request._cancelled or false
  end
  check(library.pg_mpi_cancel(index_out, request._r))
  if index_out[0] == 0 then
    return false
  end
  request._over, request._cancelled = true, true
  live[request] = nil
  return true
end

--- mpi.waitall(requests): waits for all of a list. Returns a list of what each wait returns first.
function mpi.waitall(requests)
  local list, n = list_of("waitall", requests)
  finish_requests(requests, library.pg_mpi_wait(index_out, list, n, 0), list)
  local results = {}
  for i = 1, n do
    local result = outcome(requests[i])
    results[i] = result == nil and false or result
  end
  return results
end

--- mpi.waitany(requests): waits for one that has not been waited for. Returns its number in the list and what its wait
--- returns; nil where there is none left.
function mpi.waitany(requests)
  list_of("waitany", requests)
  local left, numbers = {}, {}
  for i = 1, #requests do
    if not requests[i]._over then
      left[#left + 1], numbers[#numbers + 1] = requests[i], i
    end
  end
  if #left == 0 then
    return nil
  end
  local list, n = list_of("waitany", left)
  finish_requests(left, library.pg_mpi_wait(index_out, list, n, 1), list)
  local i = index_out[0] + 1
  return numbers[i], outcome(left[i])
end

--- mpi.testall(requests): whether all of a list are done.
function mpi.testall(requests)
  list_of("testall", requests)
  for i = 1, #requests do
    if not requests[i]:test() then
      return false
    end
  end
  return true
end

Request.__tostring = function(request)
  return request._over and "a request that is done" or "a request under way"
end

-- ---------------------------------------------------------------------------------------------------------- probes ---
local dtype_names = kit_a.dtype_names

local function probed(name, comm, source, tag, wait)
  local c = need_comm(name, comm)
  finish(library.pg_mpi_probe(found, c, optional_number(name, "the source (a rank)", source),
    optional_number(name, "the tag", tag), wait))
  if found.found == 0 then
    return nil
  end
  local kind = found.dtype < 0 and "value" or dtype_names[found.dtype]
  return { source = found.source, tag = found.tag, dtype = kind, count = tonumber(found.count) }
end

--- comm:probe([source [, tag]]): waits for a message without receiving it. Returns {source =, tag =, dtype =, count =}:
--- of an array its dtype and number of elements, of the table form "value" and bytes.
function Comm.probe(comm, source, tag)
  return probed("probe", comm, source, tag, 1)
end

--- comm:iprobe([source [, tag]]): the same, but nil where there is no message.
function Comm.iprobe(comm, source, tag)
  return probed("iprobe", comm, source, tag, 0)
end

-- ----------------------------------------------------------------------------------------------------- the module ----
--- mpi.wtime(): seconds on a clock that only runs forward.
function mpi.wtime()
  return library.pg_mpi_time()
end

--- mpi.host_name(): the name of the host that this rank runs on.
function mpi.host_name()
  return ffi.string(library.pg_mpi_host())
end

--- mpi.abort([code]): ends all ranks at once.
function mpi.abort(code)
  if code ~= nil and (type(code) ~= "number" or code % 1 ~= 0 or code < 1 or code > 255) then
    fail("abort: an exit code is an integer from 1 to 255, got %s", kind_of(code))
  end
  open()
  library.pg_mpi_abort(code or 1)
end

--- mpi.is_initialized(): whether MPI has begun in this process: it does when mpi.world is first used.
function mpi.is_initialized()
  return library.pg_mpi_state() > 0
end

--- mpi.max_tag(): what a tag may be at most.
function mpi.max_tag()
  open()
  return library.pg_mpi_max_tag()
end

--- mpi.check([on]): whether ranks compare what collective calls they make, and of what, before each: an exchange of a few
--- bytes, 0.3 us on one host. It is on; PERIGEE_MPI_CHECK=0 turns it off. All ranks must do the same.
function mpi.check(on)
  if on ~= nil and type(on) ~= "boolean" then
    fail("check: true or false is expected, got %s", kind_of(on))
  end
  open()
  return library.pg_mpi_check(on == nil and -1 or on and 1 or 0) ~= 0
end

-- How many elements MPI's calls count; less for tests, on all ranks.
function mpi._most_elements(n)
  return tonumber(library.pg_mpi_most_elements(n or 0))
end

-- ------------------------------------------------------------------------------------------------------------ parts --
kit = {
  core = core, library = library, mpi = mpi, Comm = Comm, Request = Request, finish = finish, start = start, open = open,
  need_comm = need_comm, need_array = need_array, need_number = need_number, need_value = need_value, values = values,
  new_comm = new_comm, request_t = request_t, requests_t = requests_t, kind_of = kind_of, isend_value = isend_value,
  outcome = outcome, live = live,
}

local function part(name)
  local text = library.pg_mpi_source(name .. ".lua")
  local chunk, syntax = load(text ~= nil and ffi.string(text) or "", "@perigee:" .. name, "t")
  if not chunk or text == nil then
    core.internal("%s does not load: %s", name, syntax or "it is not there")
  end
  chunk(core, kit)
end
kit.part = part
part("mpi_collectives")
part("mpi_begun")
part("mpi_topology")
part("mpi_windows")
part("mpi_spawn")

-- What other languages call things; without "MPI_" and "Comm_" before.
local elsewhere = { rank = "mpi.world.rank", size = "mpi.world.size", get_rank = "mpi.world.rank",
  get_size = "mpi.world.size", comm_world = "mpi.world", comm_self = "mpi.self", comm = "mpi.world",
  init = "MPI begins when mpi.world is first used", finalize = "MPI ends with the script",
  get_processor_name = "mpi.host_name()", any = "mpi.ANY_SOURCE", null = "mpi.PROC_NULL", cart_create = "world:create_cart",
  cart_shift = "grid:shift", cart_coords = "grid:coords_of(rank)", neighbors = "grid:neighbours()", win = "world:window(array)",
  win_create = "world:window(array)", waitsome = "mpi.waitany", sendrecv_replace = "Sendrecv with a second array",
  gatherv = "world:gather (values of any size) or world:Gatherv (arrays)",
  allgatherv = "world:allgather (values of any size) or world:Allgatherv (arrays)",
  scatterv = "world:scatter (values of any size) or world:Scatterv (arrays)",
  alltoallv = "world:alltoall (values of any size) or world:Alltoallv (arrays)",
  create = "world:split(color)", wait = "request:wait()", test = "request:test()", split_type = "world:split_shared()" }

local function hint(key, ...)
  local plain = key:lower():gsub("^mpi_", "")
  local meant = elsewhere[plain] or elsewhere[(plain:gsub("^comm_", ""))]
  for _, name in ipairs { plain, (plain:gsub("^comm_", "")) } do
    meant = meant or rawget(mpi, name) and "mpi." .. name or rawget(Comm, name) and "world:" .. name
  end
  return meant and "; here it is: " .. meant or core.did_you_mean(key, ...)
end

-- Names that objects do not have are errors at once, and nothing of them can be set: that world.rank is changed is always a
-- mistake. What this module keeps in them begins with an underscore. `fields`: functions that give what is no method.
local function finish_class(name, class, fields)
  function class.__index(object, key)
    local member = class[key]
    if member ~= nil then
      return member
    elseif fields[key] then
      return fields[key](object)
    elseif type(key) ~= "string" or sub(key, 1, 1) ~= "_" then
      fail("%s has no '%s'%s", name, tostring(key), class == Comm and type(key) == "string" and hint(key, class, fields) or
        core.did_you_mean(key, class, fields))
    end
  end
  function class.__newindex(object, key, value)
    if type(key) == "string" and sub(key, 1, 1) == "_" then
      rawset(object, key, value)
    elseif fields[key] or class[key] ~= nil then
      fail("%s cannot be changed: its '%s' is what MPI made it with", name, key)
    else
      fail("%s takes no '%s'; keep it in a variable of your own", name, tostring(key))
    end
  end
end

local function of_grid(key)
  return function(comm)
    local grid = comm._grid
    return grid and grid[key]
  end
end

function mpi._missing(key)
  return hint(key, mpi, { world = true, self = true })
end
finish_class("a communicator", Comm, {
  rank = function(comm) return comm._c.rank end, size = function(comm) return comm._c.size end,
  dims = of_grid("dims"), periods = of_grid("periods"), coords = of_grid("coords") })
finish_class("a request", Request, {})
finish_class("a window", kit.Window, {})
Comm.__tostring = function(comm)
  return format("%s: rank %d of %d", ffi.string(library.pg_mpi_comm_name(comm._c)), comm.rank, comm.size)
end
mpi._Comm, mpi._Request, mpi._Window = Comm, Request, kit.Window

-- `world` and `self` are there once they are asked for: MPI begins then.
function mpi._find(_, key)
  if key == "world" or key == "self" then
    open()
    return rawget(mpi, key)
  end
end

return mpi
