-- One-sided access: windows of arrays, and arrays that the ranks of one host share.
local core, kit = ...
local ffi, fail, check = core.ffi, core.fail, core.check
local library, mpi, Comm = kit.library, kit.mpi, kit.Comm
local need_comm, agree, kind_of, need_array, need_number = kit.need_comm, kit.agree, kit.kind_of, kit.need_array,
  kit.need_number
local type, format, getmetatable, setmetatable = type, string.format, getmetatable, setmetatable
local array = core.require("array")

local Window = {}
kit.Window = Window
local WINDOW, FENCE, FREE, SHARED = 115, 116, 114, 117 -- pg_mpi_agree's numbers
local PUT, GET, ACCUMULATE, GET_ACCUMULATE = 0, 1, 2, 3
local epochs = { fence = 0, lock = 1, lock_shared = 2, unlock = 3, lock_all = 4, unlock_all = 5, flush = 6, flush_all = 7,
  sync = 8 }
local out = ffi.new("pg_mpi_window *[1]")

local function need_window(name, window)
  if getmetatable(window) ~= Window then
    fail("%s: a window comes first: write win:%s(...), with a colon", name, name)
  end
  return window._w
end

local function new_window(comm)
  return setmetatable({ _w = out[0], _comm = comm }, Window)
end

--- comm:window(a): all ranks make a window of an array of theirs, which the others then read and write.
function Comm.window(comm, a)
  local c = need_comm("window", comm)
  a = need_array("window", "what the window shows", a)
  agree(comm, WINDOW)
  check(library.pg_mpi_window_create(out, c, a))
  return new_window(comm)
end

--- comm:shared_array(shape [, {dtype =}]): an array of zeros in memory that all ranks of comm, which must be on one host
--- (comm:split_shared()), read and write; and its window: win:fence() makes what all have written seen by all.
function Comm.shared_array(comm, shape, options)
  local c = need_comm("shared_array", comm)
  local ka = array._kit
  local rank = ka.parse_shape("shared_array", shape)
  local dtype = ka.dtype_option("shared_array", options) or 5
  local lengths, product = ffi.new("int64_t[8]"), 1
  for i = 0, rank - 1 do
    lengths[i] = ka.lengths[i]
    product = product * 1000003 % 2 ^ 40 + tonumber(lengths[i])
  end
  -- The same shape on all: the largest of a number made of it, and of its opposite.
  local code = product * 16 + dtype
  local highest, lowest = agree(comm, SHARED, nil, code, true), -agree(comm, SHARED, nil, -code, true)
  if highest ~= lowest then
    fail("shared_array: the ranks give different shapes or dtypes; rank %d gives %s of %s", comm.rank,
      ka.dtype_names[dtype], ka.shape_text(lengths, rank))
  end
  local a = ka.array_t()
  check(library.pg_mpi_window_shared(out, a, c, dtype, rank, lengths))
  return a, new_window(comm)
end

local function access(name, kind, window, a, rank, first, op, result)
  local w = need_window(name, window)
  a = need_array(name, "what is transferred", a)
  need_number(name, "the target (a rank)", rank)
  if first ~= nil and (type(first) ~= "number" or first % 1 ~= 0 or first < 1) then
    fail("%s: the first element must be an integer, 1 or more, got %s", name, kind_of(first))
  end
  check(library.pg_mpi_window_access(w, kind, a, result, rank, (first or 1) - 1, op))
end

local function window_op(name, op)
  if op == "replace" then
    return 10
  elseif op == nil then
    return 0
  end
  local code = type(op) == "string" and kit.ops[op]
  if type(op) == "function" then
    core.unsupported("%s: windows take MPI's operators only: \"sum\", \"max\", \"replace\" and so on", name)
  end
  return code or fail('%s: an operator is "sum", "prod", "max", "min", "land", "lor", "lxor", "band", "bor", "bxor" or ' ..
    '"replace", got %s', name, kind_of(op))
end

--- win:put(a, rank [, first]): writes the elements of a into the window of a rank, from its element `first` on.
function Window.put(window, a, rank, first)
  access("put", PUT, window, a, rank, first, 0)
end

--- win:get(a, rank [, first]): reads them. a has its elements when the epoch ends.
function Window.get(window, a, rank, first)
  access("get", GET, window, a, rank, first, 0)
end

--- win:accumulate(a, rank [, first [, op]]): combines them with what is there; each element as if at once.
function Window.accumulate(window, a, rank, first, op)
  access("accumulate", ACCUMULATE, window, a, rank, first, window_op("accumulate", op))
end

--- win:get_accumulate(a, result, rank [, first [, op]]): the same, and result gets what was there before.
function Window.get_accumulate(window, a, result, rank, first, op)
  need_window("get_accumulate", window)
  result = need_array("get_accumulate", "the result", result)
  access("get_accumulate", GET_ACCUMULATE, window, a, rank, first, window_op("get_accumulate", op), result)
end

local function epoch(name, window, what, rank)
  check(library.pg_mpi_window_epoch(need_window(name, window), what, rank or 0))
end

--- win:fence(): all ranks: ends what was begun since the last fence, and begins anew.
function Window.fence(window)
  need_window("fence", window)
  agree(window._comm, FENCE)
  epoch("fence", window, epochs.fence)
end

local lock_options = { shared = true }

--- win:lock(rank [, {shared = true}]): locks the window of a rank; without `shared`, for this rank alone.
function Window.lock(window, rank, options)
  need_window("lock", window)
  need_number("lock", "the target (a rank)", rank)
  if options ~= nil then
    if type(options) ~= "table" then
      fail("lock: options are a table such as {shared = true}, got %s", kind_of(options))
    end
    array._kit.check_options("lock", options, lock_options)
  end
  epoch("lock", window, options and options.shared and epochs.lock_shared or epochs.lock, rank)
end

--- win:unlock(rank): ends what was begun since the lock, and the lock.
function Window.unlock(window, rank)
  need_window("unlock", window)
  epoch("unlock", window, epochs.unlock, need_number("unlock", "the target (a rank)", rank))
end

--- win:lock_all(): locks the windows of all ranks, shared.
function Window.lock_all(window)
  epoch("lock_all", window, epochs.lock_all)
end

function Window.unlock_all(window)
  epoch("unlock_all", window, epochs.unlock_all)
end

--- win:flush([rank]): ends what was begun with a rank (with all), and keeps the lock.
function Window.flush(window, rank)
  if rank == nil then
    epoch("flush", window, epochs.flush_all)
  else
    epoch("flush", window, epochs.flush, need_number("flush", "the target (a rank)", rank))
  end
end

--- win:sync(): what others have written to shared memory is seen here, and what was written here there.
function Window.sync(window)
  epoch("sync", window, epochs.sync)
end

--- win:free(): all ranks are done with it.
function Window.free(window)
  local w = need_window("free", window)
  agree(window._comm, FREE)
  check(library.pg_mpi_window_free(w))
end

Window.__tostring = function(window)
  return format("a window of %s", tostring(window._comm))
end
