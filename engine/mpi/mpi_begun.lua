-- Collective calls of the table form that only begin. MPI has none, since nobody knows the lengths of values beforehand: each
-- is messages between those who take part, by isend and irecv with a tag of its own, and one request for all of them.
-- What a rank gives goes to the others one by one: for many ranks the calls that wait are faster.
local core, kit = ...
local ffi, check = core.ffi, core.check
local library, mpi, Comm = kit.library, kit.mpi, kit.Comm
local need_comm, need_value, check_root, check_list = kit.need_comm, kit.need_value, kit.check_root, kit.check_list
local need_op, fold_of, check_operand, call_fold = kit.need_op, kit.fold_of, kit.check_operand, kit.call_fold
local ipairs, type, floor = ipairs, type, math.floor

local BCAST, SCATTER, GATHER, ALLGATHER, ALLTOALL, REDUCE, ALLREDUCE, SCAN, EXSCAN, REDUCE_SCATTER = 101, 102, 103, 104, 105,
  106, 107, 108, 109, 110 -- pg_mpi_agree's numbers

-- Begins a call: `give(r)` is the value for rank r, of ranks `to`; from each of the ranks `from` one comes. Its wait gives
-- result(list of these). root, op: nil where it has none.
local function begin(comm, name, kind, to, give, from, result, root, op)
  local inner = kit.shadow(comm)
  -- Tag 0 there is that of the calls that wait. Ranks that make different calls do not get each other's values.
  local count = ((inner._begun or 0) + 1) % floor(mpi.max_tag() / 32)
  inner._begun = count
  local tag = 32 * count + kind - 100
  local parts, received = {}, {}
  for _, r in ipairs(to) do -- first: a value may be one that cannot be sent
    parts[#parts + 1] = kit.isend_value(name, 0, inner, give(r), r, tag)
  end
  for i, r in ipairs(from) do
    received[i] = inner:irecv(r, tag)
    parts[#parts + 1] = received[i]
  end
  local list, whole = kit.requests_t(math.max(#parts, 1)), kit.request_t()
  for i, part in ipairs(parts) do
    list[i - 1] = part._r
    kit.live[part] = nil -- the whole is
  end
  check(library.pg_mpi_join(whole, comm._c, kind, type(op) == "number" and op or -1, root or -1, list, #parts))
  local request = kit.start(whole)
  request._parts = parts
  request._then = function()
    local values = {}
    for i, part in ipairs(received) do
      values[i] = (kit.outcome(part))
    end
    request._parts = nil
    return result(values)
  end
  return request
end

local function ranks(comm, first, last)
  local list = {}
  for r = first or 0, last or comm.size - 1 do
    list[#list + 1] = r
  end
  return list
end

local function first_of(values)
  return values[1]
end

local function all_of(values)
  return values
end

-- Neighbours first, then pairs, then fours, as the calls that wait do it.
local function folding(name, op)
  local fold = fold_of(op)
  return function(values)
    local step, n = 1, #values
    while step < n do
      for i = 1, n - step, 2 * step do
        values[i] = call_fold(name, fold, values[i], values[i + step])
      end
      step = 2 * step
    end
    return values[1]
  end
end

--- comm:ibarrier(): begins a barrier.
Comm.ibarrier = Comm.Ibarrier

--- comm:ibcast(value [, root]), and so on: begin what bcast and the others do; the request's wait returns the result.
function Comm.ibcast(comm, value, root)
  need_comm("ibcast", comm)
  root = check_root("ibcast", comm, root)
  local to = {}
  if comm.rank == root then
    need_value("ibcast", value)
    to = ranks(comm)
  end
  return begin(comm, "ibcast", BCAST, to, function() return value end, { root }, first_of, root)
end

function Comm.iscatter(comm, list, root)
  need_comm("iscatter", comm)
  root = check_root("iscatter", comm, root)
  local to = {}
  if comm.rank == root then
    check_list("iscatter", comm, list)
    to = ranks(comm)
  end
  return begin(comm, "iscatter", SCATTER, to, function(r) return list[r + 1] end, { root }, first_of, root)
end

local function to_root(comm, name, kind, value, root, result, op)
  return begin(comm, name, kind, { root }, function() return value end, comm.rank == root and ranks(comm) or {}, result, root,
    op)
end

function Comm.igather(comm, value, root)
  need_comm("igather", comm)
  need_value("igather", value)
  root = check_root("igather", comm, root)
  return to_root(comm, "igather", GATHER, value, root, function(values)
    if comm.rank == root then
      return values
    end
  end)
end

function Comm.iallgather(comm, value)
  need_comm("iallgather", comm)
  need_value("iallgather", value)
  return begin(comm, "iallgather", ALLGATHER, ranks(comm), function() return value end, ranks(comm), all_of)
end

function Comm.ialltoall(comm, list)
  need_comm("ialltoall", comm)
  check_list("ialltoall", comm, list)
  return begin(comm, "ialltoall", ALLTOALL, ranks(comm), function(r) return list[r + 1] end, ranks(comm), all_of)
end

local function need_operand(name, comm, value, op)
  need_comm(name, comm)
  need_value(name, value)
  op = need_op(name, op)
  check_operand(name, op, value)
  return op
end

function Comm.ireduce(comm, value, op, root)
  op = need_operand("ireduce", comm, value, op)
  return to_root(comm, "ireduce", REDUCE, value, check_root("ireduce", comm, root), folding("ireduce", op), op)
end

function Comm.iallreduce(comm, value, op)
  op = need_operand("iallreduce", comm, value, op)
  return begin(comm, "iallreduce", ALLREDUCE, ranks(comm), function() return value end, ranks(comm),
    folding("iallreduce", op), nil, op)
end

function Comm.iscan(comm, value, op)
  op = need_operand("iscan", comm, value, op)
  return begin(comm, "iscan", SCAN, ranks(comm, comm.rank), function() return value end, ranks(comm, 0, comm.rank),
    folding("iscan", op), nil, op)
end

function Comm.iexscan(comm, value, op)
  op = need_operand("iexscan", comm, value, op)
  return begin(comm, "iexscan", EXSCAN, ranks(comm, comm.rank + 1), function() return value end,
    ranks(comm, 0, comm.rank - 1), folding("iexscan", op), nil, op)
end

function Comm.ireduce_scatter(comm, list, op)
  need_comm("ireduce_scatter", comm)
  check_list("ireduce_scatter", comm, list)
  op = need_op("ireduce_scatter", op)
  for i = 1, #list do
    check_operand("ireduce_scatter", op, list[i])
  end
  return begin(comm, "ireduce_scatter", REDUCE_SCATTER, ranks(comm), function(r) return list[r + 1] end, ranks(comm),
    folding("ireduce_scatter", op), nil, op)
end
