-- Collective calls, in both forms, and reductions with operators of the script's own.
local core, kit = ...
local ffi, C, fail, check = core.ffi, core.C, core.fail, core.check
local library, mpi, Comm = kit.library, kit.mpi, kit.Comm
local finish, need_comm, need_array, need_number, need_value, kind_of = kit.finish, kit.need_comm, kit.need_array,
  kit.need_number, kit.need_value, kit.kind_of
local type, pairs, format, tonumber, unpack = type, pairs, string.format, tonumber, unpack
local array = core.require("array")

-- enum pg_mpi_collective, and pg_mpi_agree's numbers
local BARRIER, BCAST, SCATTER, SCATTERV, GATHER, GATHERV, ALLGATHER, ALLGATHERV, ALLTOALL, ALLTOALLV, REDUCE, ALLREDUCE,
  REDUCE_SCATTER, SCAN, EXSCAN = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
local VALUES, LARGE = 32, 64 -- added for calls of the table form, and for what has more elements than MPI counts
local bcast, scatter, gather, allgather, alltoall, reduce, allreduce, scan, exscan, reduce_scatter = 101, 102, 103, 104,
  105, 106, 107, 108, 109, 110
local ops = { sum = 0, prod = 1, max = 2, min = 3, land = 4, lor = 5, lxor = 6, band = 7, bor = 8, bxor = 9 }
local pair_ops = { maxloc = true, minloc = true }
kit.ops = ops

-- ------------------------------------------------------------------------------------------------------- operators ----
local legal_ops = '"sum", "prod", "max", "min", "land", "lor", "lxor", "band", "bor", "bxor", "maxloc", "minloc" or a function'

-- A function, or the number of an operator of MPI's; "sum" where it is nil.
local function need_op(name, op)
  if op == nil then
    return 0
  elseif type(op) == "function" then
    return op
  elseif type(op) ~= "string" or not (ops[op] or pair_ops[op]) then
    fail("%s: an operator is %s, got %s%s", name, legal_ops, kind_of(op), core.did_you_mean(op, ops, pair_ops))
  end
  return ops[op] or op
end

local function truth(x)
  return x ~= false and x ~= 0
end

-- Of numbers, booleans.
local scalar_folds = {
  [0] = function(a, b) return a + b end,
  function(a, b) return a * b end,
  function(a, b) return (a > b or a ~= a) and a or b end,
  function(a, b) return (a < b or a ~= a) and a or b end,
  function(a, b) return truth(a) and truth(b) end,
  function(a, b) return truth(a) or truth(b) end,
  function(a, b) return truth(a) ~= truth(b) end,
  function(a, b) return tonumber(bit.band(ffi.cast("int64_t", a), ffi.cast("int64_t", b))) end,
  function(a, b) return tonumber(bit.bor(ffi.cast("int64_t", a), ffi.cast("int64_t", b))) end,
  function(a, b) return tonumber(bit.bxor(ffi.cast("int64_t", a), ffi.cast("int64_t", b))) end,
}
local array_folds = { [0] = "add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logical_xor",
  "bitwise_and", "bitwise_or", "bitwise_xor" }
local op_names = { [0] = "sum", "prod", "max", "min", "land", "lor", "lxor", "band", "bor", "bxor" }

local function fold_pairs(op)
  local greater = op == "maxloc"
  return function(a, b)
    if a[1] == b[1] then
      return a[2] <= b[2] and a or b
    end
    return (a[1] > b[1]) == greater and a or b
  end
end

-- The function of two values that an operator is in the table form.
local function fold_of(op)
  if type(op) == "function" then
    return op
  elseif type(op) == "string" then
    return fold_pairs(op)
  end
  local scalar, elementwise = scalar_folds[op], array_folds[op]
  return function(a, b)
    if array.is(a) or array.is(b) then
      return array[elementwise](a, b)
    end
    return scalar(a, b)
  end
end

-- What the operator is not defined for is an error of the rank that gives it, before others wait.
local function check_operand(name, op, value)
  if type(op) == "function" then
    return
  elseif type(op) == "string" then
    if type(value) ~= "table" or value[1] == nil or value[2] == nil then
      fail("%s: '%s' takes {value, location}, got %s", name, op, kind_of(value))
    end
    return
  end
  local kind, logical = type(value), op >= 4 and op <= 6
  if not (array.is(value) or kind == "number" or logical and kind == "boolean" or kind == "cdata" and op < 2) then
    fail("%s: '%s' is not defined for %s; pass a function of two values", name, op_names[op], kind_of(value))
  elseif kind == "number" and op >= 7 and value % 1 ~= 0 then
    fail("%s: '%s' takes integers, got %s", name, op_names[op], tostring(value))
  end
end

local function call_fold(name, fold, a, b)
  local result = fold(a, b)
  if result == nil then
    fail("%s: the operator returned nil; it must return what a and b make together", name)
  end
  return result
end

kit.need_op, kit.fold_of, kit.check_operand, kit.call_fold = need_op, fold_of, check_operand, call_fold

-- --------------------------------------------------------------------------------------------- agreement, inside ------
local most = ffi.new("int64_t[1]")

-- All ranks have come here with the same call.
local function agree(comm, what, root, value, needed)
  finish(library.pg_mpi_agree(most, comm._c, what, root or -1, value or 0, needed and 1 or 0))
  return tonumber(most[0])
end
kit.agree = agree

local function shadow(comm)
  local inner = comm._shadow
  if not inner then
    inner = kit.new_comm(library.pg_mpi_shadow(comm._c))
    comm._shadow = inner
  end
  return inner
end
kit.shadow = shadow

local function collect(comm, kind, root, ...)
  local natives = kit.values()
  local status = natives.collect(comm._c, kind, root or -1, ...)
  if status ~= 0 then
    finish(status)
  end
  local result
  status, result = natives.collected()
  check(status)
  return result
end

local function check_root(name, comm, root)
  if root == nil then
    return 0
  end
  need_number(name, "the root (a rank)", root)
  if not (root >= 0 and root < comm.size and root % 1 == 0) then
    fail("%s: the root %s is no rank of this communicator, which has %s", name, tostring(root),
      comm.size == 1 and "only rank 0" or format("ranks 0 to %d", comm.size - 1))
  end
  return root
end

-- A list with a value for each rank.
local function check_list(name, comm, list)
  if type(list) ~= "table" or getmetatable(list) ~= nil then
    fail("%s: a list with a value for each rank is expected, got %s", name, kind_of(list))
  elseif #list ~= comm.size then
    fail("%s: the list has %d values, for %d ranks", name, #list, comm.size)
  end
end

kit.check_root, kit.check_list = check_root, check_list

-- ------------------------------------------------------------------------------------------------- the table form -----
--- comm:barrier(): waits until all ranks have come here.
function Comm.barrier(comm)
  finish(library.pg_mpi_collective(nil, need_comm("barrier", comm), BARRIER + VALUES, -1, 0, nil, nil, nil, nil))
end
Comm.Barrier = Comm.barrier

--- comm:bcast(value [, root]): the root's value, on all ranks.
function Comm.bcast(comm, value, root)
  need_comm("bcast", comm)
  root = check_root("bcast", comm, root)
  if comm.rank ~= root then
    return collect(comm, bcast, root)
  end
  need_value("bcast", value)
  collect(comm, bcast, root, value)
  return value
end

--- comm:scatter(list [, root]): of the root's list, value rank + 1.
function Comm.scatter(comm, list, root)
  need_comm("scatter", comm)
  root = check_root("scatter", comm, root)
  if comm.rank ~= root then
    return collect(comm, scatter, root)
  end
  check_list("scatter", comm, list)
  return collect(comm, scatter, root, list)
end

--- comm:gather(value [, root]): on the root a list of all values, that of rank r at r + 1; nil on the others.
function Comm.gather(comm, value, root)
  need_comm("gather", comm)
  need_value("gather", value)
  return collect(comm, gather, check_root("gather", comm, root), value)
end

--- comm:allgather(value): the list on all ranks.
function Comm.allgather(comm, value)
  need_comm("allgather", comm)
  need_value("allgather", value)
  return collect(comm, allgather, nil, value)
end

--- comm:alltoall(list): gives value r + 1 to rank r; returns the list of what all have given this rank.
function Comm.alltoall(comm, list)
  need_comm("alltoall", comm)
  check_list("alltoall", comm, list)
  return collect(comm, alltoall, nil, list)
end

-- Folds the values of all ranks, in the order of the ranks, to rank 0: neighbours first, then pairs, then fours. So the
-- operator must be associative, but need not be commutative.
local function fold_to_first(comm, name, value, fold)
  local inner, rank, size, step = shadow(comm), comm.rank, comm.size, 1
  while step < size do
    if rank % (2 * step) ~= 0 then
      inner:send(value, rank - step)
      return nil
    elseif rank + step < size then
      value = call_fold(name, fold, value, (inner:recv(rank + step, 0)))
    end
    step = 2 * step
  end
  return value
end

-- Numbers go by MPI's own reductions where it has the operator.
local one_in, one_out
local function number_reduction(comm, kind, op, root, value)
  if not one_in then
    one_in, one_out = array.zeros(1), array.zeros(1)
  end
  one_in[1] = value
  finish(library.pg_mpi_collective(nil, comm._c, kind + VALUES, op, root or -1, one_in, one_out, nil, nil))
  return one_out[1]
end

local function is_number_op(op, value)
  return type(value) == "number" and type(op) == "number" and op <= 3
end

--- comm:reduce(value [, op [, root]]): on the root what all values make together, in the order of the ranks; nil on the
--- others. op: "sum" and so on, or a function of two values.
function Comm.reduce(comm, value, op, root)
  need_comm("reduce", comm)
  need_value("reduce", value)
  op, root = need_op("reduce", op), check_root("reduce", comm, root)
  if is_number_op(op, value) then
    local result = number_reduction(comm, REDUCE, op, root, value)
    return comm.rank == root and result or nil
  end
  check_operand("reduce", op, value)
  agree(comm, reduce, root)
  local result = fold_to_first(comm, "reduce", value, fold_of(op))
  if root ~= 0 and comm.rank == 0 then
    shadow(comm):send(result, root)
    return nil
  elseif root ~= 0 and comm.rank == root then
    result = shadow(comm):recv(0, 0)
  end
  return result
end

--- comm:allreduce(value [, op]): the same, on all ranks.
function Comm.allreduce(comm, value, op)
  need_comm("allreduce", comm)
  need_value("allreduce", value)
  op = need_op("allreduce", op)
  if is_number_op(op, value) then
    return number_reduction(comm, ALLREDUCE, op, nil, value)
  end
  check_operand("allreduce", op, value)
  agree(comm, allreduce)
  local result = fold_to_first(comm, "allreduce", value, fold_of(op))
  if comm.rank == 0 then
    collect(comm, bcast, 0, result)
    return result
  end
  return collect(comm, bcast, 0)
end

-- What ranks 0 to this one make together, and 0 to the one before (nil on rank 0).
local function prefix(comm, name, what, value, op)
  check_operand(name, op, value)
  agree(comm, what)
  local fold, before, all = fold_of(op), nil, value
  if comm.rank > 0 then
    before = shadow(comm):recv(comm.rank - 1, 0)
    all = call_fold(name, fold, before, value)
  end
  if comm.rank < comm.size - 1 then
    shadow(comm):send(all, comm.rank + 1)
  end
  return all, before
end

--- comm:scan(value [, op]): what the values of ranks 0 to this one make together.
function Comm.scan(comm, value, op)
  need_comm("scan", comm)
  need_value("scan", value)
  return (prefix(comm, "scan", scan, value, need_op("scan", op)))
end

--- comm:exscan(value [, op]): those of the ranks before this one; nil on rank 0.
function Comm.exscan(comm, value, op)
  need_comm("exscan", comm)
  need_value("exscan", value)
  local _, before = prefix(comm, "exscan", exscan, value, need_op("exscan", op))
  return before
end

--- comm:reduce_scatter(list [, op]): what the values at rank + 1 of all lists make together.
function Comm.reduce_scatter(comm, list, op)
  need_comm("reduce_scatter", comm)
  check_list("reduce_scatter", comm, list)
  op = need_op("reduce_scatter", op)
  for i = 1, #list do
    check_operand("reduce_scatter", op, list[i])
  end
  local fold = fold_of(op)
  local all = collect(comm, alltoall, nil, list)
  local result = all[1]
  for i = 2, #all do
    result = call_fold("reduce_scatter", fold, result, all[i])
  end
  return result
end

-- ------------------------------------------------------------------------------------------------- the array form -----
local IN_PLACE = mpi.IN_PLACE
local request_t = kit.request_t

-- a itself where its elements lie in a row, else a copy, which `back` writes into a.
local function row_major(a, write)
  if a == nil or a:is_contiguous() then
    return a
  end
  local copy = a:copy()
  return copy, write and function() check(C.pg_array_assign(a, copy)) end or nil
end

local names = { [SCATTER] = "Scatter", [SCATTERV] = "Scatterv", [GATHER] = "Gather", [GATHERV] = "Gatherv",
  [ALLGATHER] = "Allgather", [ALLGATHERV] = "Allgatherv", [ALLTOALL] = "Alltoall", [ALLTOALLV] = "Alltoallv",
  [REDUCE] = "Reduce", [ALLREDUCE] = "Allreduce", [REDUCE_SCATTER] = "Reduce_scatter", [SCAN] = "Scan", [EXSCAN] = "Exscan",
  [15] = "Neighbor_allgather", [16] = "Neighbor_alltoall" }

-- Makes a call. `begin`: as a request. result: what it returns. back: what is to be done at its end.
local function collective(comm, begin, kind, op, root, send, recv, back, result, counts)
  local sc, rc
  if counts then
    sc, rc = counts.send, counts.recv
  end
  if send ~= nil and recv ~= nil and kind ~= BCAST and send._block == recv._block and send._size > 0 and
    array.shares_memory(send, recv) then
    if kind >= REDUCE and kind ~= REDUCE_SCATTER and send._data == recv._data and send._size == recv._size then
      send = nil -- in place
    else
      fail("%s: the array to send and the one to receive into share memory; pass mpi.IN_PLACE or another array",
        names[kind])
    end
  end
  local made = counts and counts.large and kind + LARGE or kind
  if not begin then
    finish(library.pg_mpi_collective(nil, comm._c, made, op, root or -1, send, recv, sc, rc), send, recv, counts)
    if back then
      back()
    end
    return result
  end
  local r = request_t()
  check(library.pg_mpi_collective(r, comm._c, made, op, root or -1, send, recv, sc, rc))
  local request = kit.start(r, send, recv)
  request._then = function()
    if back then
      back()
    end
    return result
  end
  return request
end

-- The array to send; nil in place.
local function to_send(name, a)
  if a == IN_PLACE then
    return nil
  end
  return (need_array(name, "the array to send (or mpi.IN_PLACE)", a))
end

-- The array to receive into, new where none was given: like `like`, its first axis `times` as long.
local function to_receive(name, a, like, times)
  if a ~= nil then
    return (need_array(name, "the array to receive into", a))
  elseif not like then
    fail("%s: in place, the array to receive into must be given", name)
  end
  local shape = {}
  for i = 1, like.ndim do
    shape[i] = like.shape[i]
  end
  if times then
    shape[1] = math.floor((shape[1] or 1) * times)
  end
  return array.empty(shape, { dtype = like.dtype })
end

-- comm:Name(...) and comm:Iname(...)
local function define(name, call)
  Comm[name] = function(comm, ...)
    need_comm(name, comm)
    return call(name, comm, false, ...)
  end
  local begun = "I" .. name:lower()
  Comm[begun] = function(comm, ...)
    need_comm(begun, comm)
    return call(begun, comm, true, ...)
  end
end

function Comm.Ibarrier(comm)
  need_comm("Ibarrier", comm)
  return collective(comm, true, BARRIER, -1, 0)
end

-- comm:Bcast(a [, root])
define("Bcast", function(name, comm, begin, a, root)
  a = need_array(name, "the array", a)
  return collective(comm, begin, BCAST, -1, check_root(name, comm, root), a, a, nil, a)
end)

-- comm:Scatter(send, recv [, root]): equal parts of the root's array.
define("Scatter", function(name, comm, begin, send, recv, root)
  root = check_root(name, comm, root)
  if comm.rank ~= root then
    recv = need_array(name, "the array to receive into", recv)
    return collective(comm, begin, SCATTER, -1, root, nil, recv, nil, recv)
  end
  send = need_array(name, "the array to send", send)
  if recv == IN_PLACE then
    return collective(comm, begin, SCATTER, -1, root, (row_major(send)), nil)
  end
  recv = to_receive(name, recv, send, 1 / comm.size)
  return collective(comm, begin, SCATTER, -1, root, (row_major(send)), recv, nil, recv)
end)

-- comm:Gather(send [, recv [, root]]): on the root all arrays one after the other.
define("Gather", function(name, comm, begin, send, recv, root)
  root = check_root(name, comm, root)
  send = to_send(name, send)
  if comm.rank ~= root then
    if not send then
      fail("%s: only the root gathers in place", name)
    end
    return collective(comm, begin, GATHER, -1, root, send, nil)
  end
  recv = to_receive(name, recv, send, comm.size)
  local row, back = row_major(recv, true)
  return collective(comm, begin, GATHER, -1, root, send, row, back, recv)
end)

-- comm:Allgather(send [, recv]): on all ranks.
define("Allgather", function(name, comm, begin, send, recv)
  send = to_send(name, send)
  recv = to_receive(name, recv, send, comm.size)
  local row, back = row_major(recv, true)
  return collective(comm, begin, ALLGATHER, -1, nil, send, row, back, recv)
end)

-- comm:Alltoall(send [, recv]): part r of the array goes to rank r.
define("Alltoall", function(name, comm, begin, send, recv)
  send = to_send(name, send)
  recv = to_receive(name, recv, send)
  local row, back = row_major(recv, true)
  return collective(comm, begin, ALLTOALL, -1, nil, (row_major(send)), row, back, recv)
end)

-- Reductions of arrays with a function are of whole arrays, by the table form: what it gives, written into an array.
local function take(name, recv, result)
  if result ~= nil then
    if not array.is(result) or result.size ~= recv.size then
      fail("%s: the operator must return an array of the shape of its arguments, got %s", name, kind_of(result))
    end
    recv[{}] = result:reshape(recv.shape)
  end
  return recv
end

local function fold_arrays(name, comm, begin, op, root, value, recv)
  if type(op) == "string" then
    core.unsupported("%s: '%s' is for {value, location} in the table form (%s)", name, op, name:lower())
  end
  local by_value = Comm[name:lower()]
  if not begin then
    return take(name, recv, (by_value(comm, value, op, root)))
  end
  local request = by_value(comm, value, op, root)
  local result = request._then
  request._then = function() return take(name, recv, result()) end
  return request
end

local function reduction(kind, rooted)
  return function(name, comm, begin, send, recv, op, root)
    op = need_op(name, op)
    root = rooted and check_root(name, comm, root) or nil
    send = to_send(name, send)
    if not send and rooted and comm.rank ~= root then
      fail("%s: only the root reduces in place; the others give their array", name)
    end
    local takes = not rooted or comm.rank == root
    if takes then
      recv = to_receive(name, recv, send)
    else
      recv = nil
    end
    if type(op) ~= "number" then
      return fold_arrays(name, comm, begin, op, root, (send or recv):copy(), recv)
    end
    local row, back = row_major(recv, true)
    return collective(comm, begin, kind, op, root, (row_major(send)), row, back, recv)
  end
end

-- comm:Reduce(send [, recv [, op [, root]]])
define("Reduce", reduction(REDUCE, true))
-- comm:Allreduce(send [, recv [, op]])
define("Allreduce", reduction(ALLREDUCE))
-- comm:Scan(send [, recv [, op]])
define("Scan", reduction(SCAN))
-- comm:Exscan(send [, recv [, op]]): nothing is written on rank 0.
define("Exscan", reduction(EXSCAN))

-- ---------------------------------------------------------------------------------------- parts of unequal length -----
local int64s = ffi.typeof("int64_t[?]")

-- A list of counts, one for each rank, for C; nil where none was given.
local function need_counts(name, comm, counts)
  if counts == nil then
    return nil
  elseif type(counts) ~= "table" or #counts ~= comm.size then
    fail("%s: counts are a list with a number for each of %d ranks, got %s", name, comm.size,
      type(counts) == "table" and format("a list of %d", #counts) or kind_of(counts))
  end
  local list = int64s(comm.size)
  for i = 1, comm.size do
    local n = counts[i]
    if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
      fail("%s: counts are integers, 0 or more; that of rank %d is %s", name, i - 1, kind_of(n))
    end
    list[i - 1] = n
  end
  return list
end

local function length_of(a)
  return a.ndim == 0 and 1 or a.shape[1]
end

-- The `own` of each rank.
local function all_counts(comm, kind, root, own)
  agree(comm, kind, root)
  local list = int64s(comm.size)
  check(library.pg_mpi_counts(list, comm._c, own))
  return list
end

-- Whether MPI's own call cannot count all the ranks' entries, of arrays like a: then it is made of others. All ranks must
-- find the same.
local function is_large(a, entries)
  local row = 1
  for i = 2, a.ndim do
    row = row * a.shape[i]
  end
  return entries * row > tonumber(library.pg_mpi_most_elements(0))
end

local function sum_of(counts, n)
  local total = 0
  for i = 0, n - 1 do
    total = total + tonumber(counts[i])
  end
  return total
end

-- What the ranks have and what counts say must be the same.
local function compare_counts(name, comm, given, real, what)
  for i = 0, comm.size - 1 do
    if given and given[i] ~= real[i] then
      fail("%s: counts say %d for rank %d, which %s %d", name, tonumber(given[i]), i, what, tonumber(real[i]))
    end
  end
  return real
end

-- An array like `like`, with another length of its first axis.
local function with_length(like, n)
  local shape = { n }
  for i = 2, like.ndim do
    shape[i] = like.shape[i]
  end
  return array.empty(shape, { dtype = like.dtype })
end

-- The array to send (nil in place) and its length.
local function to_send_v(name, comm, send, recv, given)
  if send ~= IN_PLACE then
    send = need_array(name, "the array to send (or mpi.IN_PLACE)", send)
    return send, length_of(send)
  elseif not given or recv == nil then
    fail("%s: in place, the array to receive into and counts must be given%s", name, name:find("Allg") and "" or
      ", and only the root's part can be")
  end
  return nil, tonumber(given[comm.rank])
end

-- comm:Gatherv(send [, recv [, counts [, root]]]): parts of any length; counts are entries along the first axis.
define("Gatherv", function(name, comm, begin, send, recv, counts, root)
  root = check_root(name, comm, root)
  local given = comm.rank == root and need_counts(name, comm, counts) or nil
  local own
  send, own = to_send_v(name, comm, send, comm.rank == root and recv or nil, given)
  local all = compare_counts(name, comm, given, all_counts(comm, GATHERV, root, own), "sends")
  local sum = sum_of(all, comm.size)
  local large = is_large(send or need_array(name, "the array to receive into", recv), sum)
  if comm.rank ~= root then
    return collective(comm, begin, GATHERV, -1, root, send, nil, nil, nil, { large = large })
  end
  recv = recv ~= nil and need_array(name, "the array to receive into", recv) or with_length(send, sum)
  local row, back = row_major(recv, true)
  return collective(comm, begin, GATHERV, -1, root, send, row, back, recv, { recv = all, large = large })
end)

-- comm:Allgatherv(send [, recv [, counts]])
define("Allgatherv", function(name, comm, begin, send, recv, counts)
  local given, own = need_counts(name, comm, counts), nil
  send, own = to_send_v(name, comm, send, recv, given)
  local all = compare_counts(name, comm, given, all_counts(comm, ALLGATHERV, nil, own), "sends")
  local sum = sum_of(all, comm.size)
  recv = recv ~= nil and need_array(name, "the array to receive into", recv) or with_length(send, sum)
  local row, back = row_major(recv, true)
  return collective(comm, begin, ALLGATHERV, -1, nil, send, row, back, recv, { recv = all, large = is_large(recv, sum) })
end)

-- comm:Scatterv(send, recv [, counts [, root]]): recv has the length that this rank gets.
define("Scatterv", function(name, comm, begin, send, recv, counts, root)
  root = check_root(name, comm, root)
  local given, own = comm.rank == root and need_counts(name, comm, counts) or nil, nil
  if recv == IN_PLACE and given then -- the root's part stays where it is
    recv, own = nil, tonumber(given[root])
  else
    recv = need_array(name, "the array to receive into", recv)
    own = length_of(recv)
  end
  local all = compare_counts(name, comm, given, all_counts(comm, SCATTERV, root, own), "receives")
  local sum = sum_of(all, comm.size)
  if comm.rank ~= root then
    return collective(comm, begin, SCATTERV, -1, root, nil, recv, nil, recv, { large = is_large(recv, sum) })
  end
  send = need_array(name, "the array to send", send)
  return collective(comm, begin, SCATTERV, -1, root, (row_major(send)), recv, nil, recv,
    { send = all, large = is_large(send, sum) })
end)

-- comm:Alltoallv(send, counts [, recv]): counts[r + 1] entries of send go to rank r.
define("Alltoallv", function(name, comm, begin, send, counts, recv)
  send = need_array(name, "the array to send", send)
  if counts == nil then
    fail("%s: counts (a list with a number for each rank) are expected after the array", name)
  end
  local out, come = need_counts(name, comm, counts), int64s(comm.size)
  local theirs = comm:alltoall(counts)
  for i = 1, comm.size do
    come[i - 1] = theirs[i]
  end
  local sum = sum_of(come, comm.size)
  recv = recv ~= nil and need_array(name, "the array to receive into", recv) or with_length(send, sum)
  if length_of(recv) < sum then
    fail("%s: %d entries come from all ranks, and the array to receive into has %d along its first axis", name, sum,
      length_of(recv))
  end
  -- The most that any rank gives or gets: what one of them cannot count, all leave to other calls.
  local most = agree(comm, ALLTOALLV, nil, math.max(sum, sum_of(out, comm.size)), true)
  local row, back = row_major(recv, true)
  return collective(comm, begin, ALLTOALLV, -1, nil, (row_major(send)), row, back, recv,
    { send = out, recv = come, large = is_large(send, most) })
end)

-- comm:Reduce_scatter(send [, recv [, op [, counts]]]): of the reduction this rank's part: counts[rank + 1] elements, by
-- default equal parts.
define("Reduce_scatter", function(name, comm, begin, send, recv, op, counts)
  send, op = to_send(name, send), need_op(name, op)
  local given = need_counts(name, comm, counts)
  local all = send or to_receive(name, recv)
  if not given and all.size % comm.size ~= 0 then
    fail("%s: %d elements cannot be cut into %d equal parts; give counts", name, all.size, comm.size)
  end
  local own = given and tonumber(given[comm.rank]) or all.size / comm.size
  if not send then -- in place: the result is the first part
    if all.ndim ~= 1 or not all:is_contiguous() then
      fail("%s: in place, the array must have one dimension and its elements in a row", name)
    end
    recv = own > 0 and all[{ { 1, own } }] or array.empty(0, { dtype = all.dtype })
  else
    recv = recv ~= nil and need_array(name, "the array to receive into", recv) or array.empty(own, { dtype = send.dtype })
  end
  if type(op) ~= "number" then
    local list, at = {}, 0
    for r = 1, comm.size do
      local n = given and tonumber(given[r - 1]) or all.size / comm.size
      if at + n > all.size then
        fail("%s: counts are for more than the %d elements that there are", name, all.size)
      end
      list[r] = n > 0 and all:reshape(all.size)[{ { at + 1, at + n } }]:copy() or array.empty(0, { dtype = all.dtype })
      at = at + n
    end
    return fold_arrays(name, comm, begin, op, nil, list, recv)
  elseif not send then
    return collective(comm, begin, REDUCE_SCATTER, op, nil, nil, all, nil, recv, { recv = given })
  end
  local row, back = row_major(recv, true)
  return collective(comm, begin, REDUCE_SCATTER, op, nil, (row_major(send)), row, back, recv, { recv = given })
end)

-- cart:Neighbor_allgather(send [, recv]): recv[i] is what neighbour i of cart:neighbours() gives; nothing is written for
-- those beyond an edge. cart:Neighbor_alltoall(send [, recv]): send[i] goes to neighbour i.
define("Neighbor_allgather", function(name, comm, begin, send, recv)
  send = need_array(name, "the array to send", send)
  if not recv and comm._grid then
    recv = array.zeros({ 2 * #comm.dims, unpack(send.shape, 1, send.ndim) }, { dtype = send.dtype })
  end
  recv = need_array(name, "the array to receive into", recv)
  local row, back = row_major(recv, true)
  return collective(comm, begin, 15, -1, nil, send, row, back, recv)
end)
define("Neighbor_alltoall", function(name, comm, begin, send, recv)
  send = need_array(name, "the array to send", send)
  recv = recv == nil and array.zeros_like(send) or need_array(name, "the array to receive into", recv)
  local row, back = row_major(recv, true)
  return collective(comm, begin, 16, -1, nil, (row_major(send)), row, back, recv)
end)
