-- What tests/lua/mpi.lua runs on 1 to 5 ranks: each operation on random data, against what one process computes of the
-- data of all, which every rank can make again from the seed. The first failure ends all ranks.
local pg = require "perigee"
local mpi, array = pg.mpi, pg.array
local world = mpi.world
local rank, size = world.rank, world.size

local dtypes = { "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
  "complex64", "complex128" }

-- The array of a rank: small integers, so that sums and products are exact in every dtype.
local function data(of, n, dtype, seed)
  local numbers = pg.random.generator(1000 * (seed or 1) + of):integers(0, 3, { shape = n })
  if dtype == "bool" then
    return numbers:gt(0)
  end
  return numbers:astype(dtype or "float64")
end

local function same(a, b, what)
  if not array.is(a) or not array.is(b) then
    assert(a == b, ("rank %d: %s: %s instead of %s"):format(rank, what, tostring(a), tostring(b)))
    return
  end
  if a.dtype ~= b.dtype or not array.equal(a, b) then
    error(("rank %d: %s: %s (%s) instead of %s (%s)"):format(rank, what, tostring(a), a.dtype, tostring(b), b.dtype))
  end
end

local function deep(a, b, what)
  if type(a) == "table" and type(b) == "table" then
    for k, v in pairs(a) do
      deep(v, b[k], what .. "." .. tostring(k))
    end
    for k in pairs(b) do
      assert(a[k] ~= nil, what .. "." .. tostring(k))
    end
  else
    same(a, b, what)
  end
end

local function raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert(not ok, ("rank %d: no error, where one with '%s' was expected"):format(rank, pattern))
  assert(tostring(message):find(pattern), ("rank %d: '%s' does not match '%s'"):format(rank, tostring(message), pattern))
  return message
end

local right, left = (rank + 1) % size, (rank - 1 + size) % size
local tests = {}
local function test(name, f)
  tests[#tests + 1] = { name, f }
end

-- ------------------------------------------------------------------------------------------------- point to point ----
test("Send and Recv, every dtype", function()
  for _, dtype in ipairs(dtypes) do
    for _, n in ipairs { 0, 1, 7, 20000 } do
      local request = world:Isend(data(rank, n, dtype), right, 5)
      local got = array.zeros(n, { dtype = dtype })
      local source, tag, count = world:Recv(got, left, 5)
      request:wait()
      same(got, data(left, n, dtype), dtype)
      assert(source == left and tag == 5 and count == n)
    end
  end
end)

test("Send and Recv of views", function()
  local m = data(rank, 12 * 10, "int32"):reshape { 12, 10 }
  local theirs = data(left, 12 * 10, "int32"):reshape { 12, 10 }
  local views = {
    function(a) return a[{ {}, { 3, 3 } }] end,                    -- a column
    function(a) return a[4] end,                                   -- a row
    function(a) return a[{ { 2, 9 }, { 2, 8 } }] end,              -- a block
    function(a) return a[{ { 1, 12, 3 }, { 1, 10, 2 } }] end,      -- steps
    function(a) return a:transpose() end,
    function(a) return array.flip(a, 1) end,                       -- backwards
    function(a) return a:reshape { 2, 6, 10 }[{ {}, { 2, 5 }, { 4, 4 } }] end,
  }
  for i, view in ipairs(views) do
    local request = world:Isend(view(m), right)
    local target = array.zeros({ 12, 10 }, { dtype = "int32" })
    world:Recv(view(target), left)
    request:wait()
    local expected = array.zeros({ 12, 10 }, { dtype = "int32" })
    local part = view(expected)
    part[{}] = view(theirs)
    same(target, expected, "view " .. i)
  end
end)

test("many layouts", function()
  for i = 1, 150 do -- more than are kept
    local a = array.zeros { i + 1, 3 }
    a[{ {}, { 2, 2 } }] = rank + i
    local got = array.zeros { i + 1, 4 }
    local request = world:Isend(a[{ {}, { 2, 2 } }], right)
    world:Recv(got[{ {}, { 3, 3 } }], left)
    request:wait()
    assert(got[i + 1][3] == left + i and got[i + 1][2] == 0)
  end
end)

test("any source, any tag, probe", function()
  if rank == 0 then
    local seen = {}
    for _ = 1, size - 1 do
      local message = world:probe()
      assert(message.dtype == "float64" and message.count == message.source + 1 and message.tag == 10 + message.source)
      local got = array.zeros(message.count)
      local source, tag, count = world:Recv(got, message.source, message.tag)
      assert(source == message.source and tag == message.tag and count == message.count)
      same(got, data(source, source + 1), "probed")
      seen[source] = true
    end
    for r = 1, size - 1 do
      assert(seen[r])
    end
    assert(world:iprobe() == nil)
    local request = world:Isend(data(0, 7, "complex128"), 0)
    local message = world:probe(0, 0)
    assert(message.dtype == "complex128" and message.count == 7)
    world:Recv(array.zeros(7, { dtype = "complex128" }), 0)
    request:wait()
  else
    world:Send(data(rank, rank + 1), 0, 10 + rank)
  end
  world:barrier()
end)

test("partial, too short, too long, another dtype", function()
  local request = world:Isend(data(rank, 5), right, 1)
  local got = array.zeros(8)
  local _, _, count = world:Recv(got, left, 1, { partial = true })
  assert(count == 5)
  same(got[{ { 1, 5 } }]:copy(), data(left, 5), "partial")
  request:wait()
  request = world:Isend(data(rank, 5), right, 1)
  raises("rank " .. left .. ".* sent 5 float64 with tag 1, and this array holds 8", world.Recv, world, got, left, 1)
  request:wait()
  request = world:Isend(data(rank, 5), right, 1)
  raises("sent 5 float64 with tag 1, more than this array holds, which is 2 float64", world.Recv, world, array.zeros(2), left, 1)
  request:wait()
  world:barrier()
  request = world:Isend(data(rank, 5, "float32"), right, 1)
  local wrong = raises("rank " .. left .. ".* sent 5 float32 with tag 1, and this receive is for float64", world.Recv, world,
    array.zeros(5), left, 1)
  assert(wrong:find("ranks.lua:%d"), wrong)
  world:barrier()
  local right_one = array.zeros(5, { dtype = "float32" })
  world:Recv(right_one, left, 1)
  request:wait()
  same(right_one, data(left, 5, "float32"), "after the error")
  world:barrier()
  request = world:isend({ 1, 2 }, right, 1)
  raises("a value of the table form", world.Recv, world, array.zeros(5), left)
  request:wait()
  world:barrier()
  request = world:Isend(data(rank, 3), right, 1)
  raises("receive arrays by Recv", world.recv, world, left, 1)
  world:barrier()
  world:Recv(array.zeros(3), left, 1)
  request:wait()
end)

test("the table form", function()
  local function make(of)
    return { of, "text " .. of, true, { nested = { of + 0.5 } }, a = data(of, 6, "int16"),
      m = data(of, 12):reshape { 3, 4 }, long = ("x"):rep(100000), double = function(x) return x * of end }
  end
  local request = world:isend(make(rank), right, 2)
  local got, source, tag = world:recv(left, 2)
  request:wait()
  assert(source == left and tag == 2)
  local expected = make(left)
  assert(got.double(21) == 21 * left)
  got.double, expected.double = nil, nil
  deep(got, expected, "table")
  for _, value in ipairs { 3.5, "text", false, data(rank, 4), math.huge } do
    local sent = world:isend(value, rank)
    same(world:recv(rank), value, "value")
    sent:wait()
  end
  local m = data(rank, 12):reshape { 3, 4 }
  local column = world:sendrecv(m[{ {}, { 2, 2 } }], right, left)
  same(column, data(left, 12):reshape { 3, 4 }[{ {}, { 2, 2 } }]:copy(), "a column")
  local big = data(rank, 300000)
  same((world:sendrecv({ big }, right, left))[1], data(left, 300000), "a large array")
end)

test("requests", function()
  local requests, arrays = {}, {}
  for r = 0, size - 1 do
    arrays[r] = array.zeros(4)
    requests[#requests + 1] = world:Irecv(arrays[r], r, 3)
  end
  for r = 0, size - 1 do
    requests[#requests + 1] = world:Isend(data(rank, 4, nil, r + 1), r, 3)
  end
  local sources = mpi.waitall(requests)
  for r = 0, size - 1 do
    same(arrays[r], data(r, 4, nil, rank + 1), "waitall")
    assert(sources[r + 1] == r)
  end
  requests = {}
  for r = 0, size - 1 do
    requests[#requests + 1] = world:irecv(r, 4)
  end
  for r = 0, size - 1 do
    world:send({ rank }, r, 4)
  end
  local seen = {}
  while true do
    local i, value, source, tag = mpi.waitany(requests)
    if not i then
      break
    end
    assert(value[1] == source and source == i - 1 and tag == 4 and not seen[i])
    seen[i] = true
  end
  assert(#seen == size)
  local never = world:Irecv(array.zeros(1), left, 99)
  assert(never:test() == false)
  never:cancel()
  assert(never:test() == true)
  local other = world:irecv(left, 99)
  other:cancel()
  local synchronous = world:Issend(data(rank, 2), rank, 6)
  assert(synchronous:test() == false)
  local got = array.zeros(2)
  world:Recv(got, rank, 6)
  synchronous:wait()
  -- Receives take their messages in the order in which they were posted.
  local first = world:irecv(left, 7)
  world:send("first", right, 7)
  world:send("second", right, 7)
  assert(world:recv(left, 7) == "second")
  assert(first:wait() == "first" and first:wait() == "first")
end)

-- A receive that was posted is enough for a large value to be sent, whoever is waited for first.
test("large values, receives posted before", function()
  local text = ("x"):rep(200000)
  local receive = world:irecv(left, 11)
  world:send(text .. rank, right, 11)
  assert(receive:wait() == text .. left)
  local results = mpi.waitall { world:isend(text, right, 12), world:irecv(left, 12) }
  assert(results[2] == text)
  receive = world:irecv(left, 13)
  local a = data(rank, 100000)
  local array_receive = world:Irecv(array.zeros(100000), left, 14)
  world:Send(a, right, 14)
  world:isend(text, right, 13):wait()
  array_receive:wait()
  assert(receive:wait() == text)
end)

test("Sendrecv, PROC_NULL", function()
  local got = array.zeros(3)
  world:Sendrecv(data(rank, 3), right, got, left, { sendtag = 4, recvtag = 4 })
  same(got, data(left, 3), "Sendrecv")
  world:Send(got, mpi.PROC_NULL)
  local source, _, count = world:Recv(got, mpi.PROC_NULL)
  assert(source == mpi.PROC_NULL and count == 0)
  same(got, data(left, 3), "unchanged")
end)

-- ---------------------------------------------------------------------------------------------- collective calls -----
local function all_of(n, dtype, seed)
  local list = {}
  for r = 0, size - 1 do
    list[r + 1] = data(r, n, dtype, seed)
  end
  return list
end

test("Bcast, Scatter, Gather, Allgather, Alltoall", function()
  for root = 0, size - 1 do
    for _, dtype in ipairs { "float64", "int8", "complex64", "bool" } do
      local a = rank == root and data(root, 9, dtype) or array.zeros(9, { dtype = dtype })
      same(world:Bcast(a, root), data(root, 9, dtype), "Bcast")
      local whole = array.concatenate(all_of(4, dtype))
      local part = array.zeros(4, { dtype = dtype })
      world:Scatter(rank == root and whole or nil, part, root)
      same(part, data(rank, 4, dtype), "Scatter")
      local gathered = world:Gather(part, nil, root)
      same(gathered, rank == root and whole or nil, "Gather")
      same(world:Allgather(part), whole, "Allgather")
    end
  end
  local send = data(rank, 3 * size)
  local got, expected = world:Alltoall(send), {}
  for r = 0, size - 1 do
    expected[r + 1] = data(r, 3 * size)[{ { 3 * rank + 1, 3 * rank + 3 } }]
  end
  same(got, array.concatenate(expected), "Alltoall")
  -- A column of a matrix.
  local m = array.zeros { 5, 4 }
  m[{ {}, { 2, 2 } }] = rank == 0 and data(0, 5):reshape { 5, 1 } or 0
  world:Bcast(m[{ {}, { 2, 2 } }], 0)
  same(m[{ {}, { 2, 2 } }]:copy():reshape { 5 }, data(0, 5), "Bcast of a column")
  -- In place.
  local whole = array.zeros(4 * size)
  whole[{ { 4 * rank + 1, 4 * rank + 4 } }] = data(rank, 4)
  world:Allgather(mpi.IN_PLACE, whole)
  same(whole, array.concatenate(all_of(4)), "Allgather in place")
  for root = 0, size - 1 do
    local mine = { 4 * rank + 1, 4 * rank + 4 }
    whole = array.zeros(4 * size)
    whole[{ mine }] = data(rank, 4)
    world:Gather(rank == root and mpi.IN_PLACE or data(rank, 4), rank == root and whole or nil, root)
    if rank == root then
      same(whole, array.concatenate(all_of(4)), "Gather in place")
    end
    whole = array.concatenate(all_of(4))
    local part = array.zeros(4)
    world:Scatter(rank == root and whole or nil, rank == root and mpi.IN_PLACE or part, root)
    same(rank == root and whole[{ mine }]:copy() or part, data(rank, 4), "Scatter in place")
  end
  local exchanged = data(rank, 3 * size)
  world:Alltoall(mpi.IN_PLACE, exchanged)
  same(exchanged, array.concatenate(expected), "Alltoall in place")
end)

test("parts of unequal length", function()
  -- Rank r has r % 3 rows of 2.
  local function rows(of)
    return data(of, 2 * (of % 3), "int32"):reshape { of % 3, 2 }
  end
  local all, counts = {}, {}
  for r = 0, size - 1 do
    all[r + 1], counts[r + 1] = rows(r), r % 3
  end
  local whole = array.concatenate(all)
  for root = 0, size - 1 do
    same(world:Gatherv(rows(rank), nil, nil, root), rank == root and whole or nil, "Gatherv")
    same(world:Igatherv(rows(rank), nil, rank == root and counts or nil, root):wait(), rank == root and whole or nil,
      "Igatherv")
    local part = array.zeros({ rank % 3, 2 }, { dtype = "int32" })
    world:Scatterv(rank == root and whole or nil, part, nil, root)
    same(part, rows(rank), "Scatterv")
  end
  same(world:Allgatherv(rows(rank)), whole, "Allgatherv")
  local function with_own_rows()
    local a, at = array.zeros({ #whole, 2 }, { dtype = "int32" }), 0
    for r = 0, rank - 1 do
      at = at + counts[r + 1]
    end
    if counts[rank + 1] > 0 then
      a[{ { at + 1, at + counts[rank + 1] } }] = rows(rank)
    end
    return a
  end
  same(world:Allgatherv(mpi.IN_PLACE, with_own_rows(), counts), whole, "Allgatherv in place")
  local root = size - 1
  if rank == root then
    same(world:Gatherv(mpi.IN_PLACE, with_own_rows(), counts, root), whole, "Gatherv in place")
    world:Scatterv(whole, mpi.IN_PLACE, counts, root)
  else
    world:Gatherv(rows(rank), nil, nil, root)
    local part = array.zeros({ rank % 3, 2 }, { dtype = "int32" })
    world:Scatterv(nil, part, nil, root)
    same(part, rows(rank), "Scatterv in place")
  end
  local wrong = {}
  for r = 1, size do
    wrong[r] = counts[r] + (r == size and 1 or 0)
  end
  raises("counts say " .. wrong[size] .. " for rank " .. size - 1 .. ", which sends " .. counts[size], world.Allgatherv, world,
    rows(rank), nil, wrong)
  -- Rank r gives (r + to) % 3 numbers to rank `to`.
  local give, come = {}, {}
  for r = 0, size - 1 do
    give[r + 1], come[r + 1] = (rank + r) % 3, (r + rank) % 3
  end
  local function given(from, to)
    return data(from * size + to, (from + to) % 3)
  end
  local out, expected = {}, {}
  for r = 0, size - 1 do
    out[r + 1], expected[r + 1] = given(rank, r), given(r, rank)
  end
  same(world:Alltoallv(array.concatenate(out), give), array.concatenate(expected), "Alltoallv")
  local uneven = {}
  for r = 1, size do
    uneven[r] = r
  end
  local n = size * (size + 1) / 2
  local total = all_of(n)[1]:copy()
  for r = 2, size do
    total:add_(all_of(n)[r])
  end
  local first = rank * (rank + 1) / 2
  same(world:Reduce_scatter(data(rank, n), nil, "sum", uneven), total[{ { first + 1, first + rank + 1 } }]:copy(),
    "Reduce_scatter with counts")
end)

local function fold(list, f)
  local result = list[1]
  for i = 2, #list do
    result = f(result, list[i])
  end
  return result
end

local array_ops = { sum = array.add, prod = array.multiply, max = array.maximum, min = array.minimum,
  band = array.bitwise_and, bor = array.bitwise_or, bxor = array.bitwise_xor, land = array.logical_and,
  lor = array.logical_or, lxor = array.logical_xor }

test("reductions", function()
  for _, op in ipairs { "sum", "prod", "max", "min", "band", "bor", "bxor", "land", "lor", "lxor" } do -- alike on all ranks
    local f = array_ops[op]
    for _, dtype in ipairs(op:find("^b") and { "int32", "uint8" } or op:find("^l") and { "bool" } or
      { "float64", "float32", "int64", "int16" }) do
      local list = all_of(6, dtype)
      local total = fold(list, f)
      same(world:Allreduce(data(rank, 6, dtype), nil, op), total, "Allreduce " .. op)
      for root = 0, size - 1, 2 do
        same(world:Reduce(data(rank, 6, dtype), nil, op, root), rank == root and total or nil, "Reduce " .. op)
      end
      local upto = {}
      for r = 1, rank + 1 do
        upto[r] = list[r]
      end
      same(world:Scan(data(rank, 6, dtype), nil, op), fold(upto, f), "Scan " .. op)
      local before = world:Exscan(data(rank, 6, dtype), nil, op)
      upto[rank + 1] = nil
      if rank > 0 then
        same(before, fold(upto, f), "Exscan " .. op)
      end
      same(world:allreduce(data(rank, 6, dtype), op), total, "allreduce " .. op)
    end
  end
  local z = data(rank, 3, "complex128")
  same(world:Allreduce(z, nil, "prod"), fold(all_of(3, "complex128"), array.multiply), "complex")
  local a = data(rank, 5)
  world:Allreduce(mpi.IN_PLACE, a)
  same(a, fold(all_of(5), array.add), "in place")
  for root = 0, size - 1 do
    a = data(rank, 5)
    world:Reduce(rank == root and mpi.IN_PLACE or a, rank == root and a or nil, "sum", root)
    same(a, rank == root and fold(all_of(5), array.add) or data(rank, 5), "Reduce in place")
  end
  a = data(rank, 5)
  world:Allreduce(a, a)
  same(a, fold(all_of(5), array.add), "the same array twice")
  raises("share memory; pass mpi.IN_PLACE", world.Allreduce, world, a[{ { 1, 3 } }], a[{ { 2, 4 } }])
  raises("share memory; receive into another", world.Sendrecv, world, a, right, a, left)
  a = data(rank, 5)
  world:Scan(mpi.IN_PLACE, a, "max")
  local upto = {}
  for r = 0, rank do
    upto[r + 1] = data(r, 5)
  end
  same(a, fold(upto, array.maximum), "Scan in place")
  a = data(rank, 2 * size)
  same(world:Reduce_scatter(mpi.IN_PLACE, a):copy(), fold(all_of(2 * size), array.add)[{ { 2 * rank + 1, 2 * rank + 2 } }]
    :copy(), "Reduce_scatter in place")
  local column = array.zeros { 5, 3 }
  world:Allreduce(data(rank, 5), column[{ {}, { 2, 2 } }]:reshape { 5 })
  local out = array.zeros(2)
  same(world:Reduce_scatter(data(rank, 2 * size), out), fold(all_of(2 * size), array.add)[{ { 2 * rank + 1, 2 * rank + 2 } }]
    :copy(), "Reduce_scatter")
  raises("not defined for float64", world.Allreduce, world, array.zeros(2), nil, "band")
  for _, name in ipairs { "Reduce", "Allreduce", "Scan", "Exscan", "Reduce_scatter", "Bcast", "Allgather", "Allgatherv" } do
    local nothing = world[name](world, array.zeros(0))
    assert(nothing == nil and name == "Reduce" and rank > 0 or nothing.size == 0)
  end
end)

test("values", function()
  for root = 0, size - 1 do
    deep(world:bcast(rank == root and { root, data(root, 3) } or nil, root), { root, data(root, 3) }, "bcast")
    local list = {}
    for r = 0, size - 1 do
      list[r + 1] = { "for", r }
    end
    deep(world:scatter(rank == root and list or nil, root), { "for", rank }, "scatter")
    local expected = {}
    for r = 0, size - 1 do
      expected[r + 1] = ("x"):rep(r)
    end
    deep(world:gather(("x"):rep(rank), root) or {}, rank == root and expected or {}, "gather")
    same(world:reduce(rank + 1, "sum", root), rank == root and size * (size + 1) / 2 or nil, "reduce")
  end
  local all = world:allgather { rank }
  for r = 0, size - 1 do
    assert(all[r + 1][1] == r)
  end
  local give, expected = {}, {}
  for r = 0, size - 1 do
    give[r + 1], expected[r + 1] = { rank, r }, { r, rank }
  end
  deep(world:alltoall(give), expected, "alltoall")
  assert(world:allreduce(rank, "max") == size - 1 and world:allreduce(rank, "min") == 0)
  assert(world:allreduce(rank + 1, "prod") == fold((function()
    local list = {}
    for r = 1, size do
      list[r] = r
    end
    return list
  end)(), function(a, b) return a * b end))
  assert(world:allreduce(rank == 0, "lor") == true and world:allreduce(rank == 0, "land") == (size == 1))
  deep(world:allreduce({ -math.abs(rank - 2), rank }, "maxloc"), { size > 2 and 0 or -(3 - size), math.min(2, size - 1) },
    "maxloc")
  -- Not commutative: the order of the ranks.
  local letters = ("abcde"):sub(1, size)
  local function join(a, b) return a .. b end
  for root = 0, size - 1 do
    local text = world:reduce(letters:sub(rank + 1, rank + 1), join, root)
    assert(text == (rank == root and letters or nil))
  end
  assert(world:allreduce(letters:sub(rank + 1, rank + 1), join) == letters)
  assert(world:scan(letters:sub(rank + 1, rank + 1), join) == letters:sub(1, rank + 1))
  assert(world:exscan(letters:sub(rank + 1, rank + 1), join) == (rank > 0 and letters:sub(1, rank) or nil))
  assert(world:scan(rank) == rank * (rank + 1) / 2)
  local lists = {}
  for r = 1, size do
    lists[r] = rank * 10 + r
  end
  assert(world:reduce_scatter(lists) == 10 * size * (size - 1) / 2 + size * (rank + 1))
  -- Arrays with a function.
  local result = world:Allreduce(data(rank, 3), nil, function(a, b) return array.maximum(a, b) end)
  same(result, fold(all_of(3), array.maximum), "a function")
  local function join_arrays(a, b) return a * 2 + b end -- neither commutative nor associative, but for pairs of ranks
  local largest = function(a, b) return array.maximum(a, b) end
  local last = size - 1
  same(world:Reduce(data(rank, 3), nil, largest, last), rank == last and fold(all_of(3), array.maximum) or nil, "Reduce")
  same(world:Ireduce(data(rank, 3), nil, largest, last):wait(), rank == last and fold(all_of(3), array.maximum) or nil,
    "Ireduce")
  local out, a = array.zeros { 3, 1 }, data(rank, 3)
  assert(world:Iallreduce(a, out, largest):wait() == out)
  same(out:reshape(3), fold(all_of(3), array.maximum), "Iallreduce")
  assert(world:Iallreduce(mpi.IN_PLACE, a, largest):wait() == a)
  same(a, fold(all_of(3), array.maximum), "Iallreduce in place")
  if size <= 2 then
    same(world:Scan(data(rank, 3), nil, join_arrays), rank == 0 and data(0, 3) or data(0, 3) * 2 + data(1, 3), "Scan")
  end
  local uneven, n, first = {}, size * (size - 1) / 2, rank * (rank - 1) / 2
  for r = 1, size do
    uneven[r] = r - 1 -- none for rank 0
  end
  for _, name in ipairs { "Reduce_scatter", "Ireduce_scatter" } do
    local equal, parts = world[name](world, data(rank, 2 * size), nil, largest), nil
    local in_place = data(rank, n)
    parts = world[name](world, data(rank, n), nil, largest, uneven)
    local first_part = world[name](world, mpi.IN_PLACE, in_place, largest, uneven)
    if name == "Ireduce_scatter" then
      equal, parts, first_part = equal:wait(), parts:wait(), first_part:wait()
    end
    same(equal, fold(all_of(2 * size), array.maximum)[{ { 2 * rank + 1, 2 * rank + 2 } }]:copy(), name)
    if rank > 0 then
      local expected_part = fold(all_of(n), array.maximum)[{ { first + 1, first + rank } }]:copy()
      same(parts, expected_part, name .. " of unequal parts")
      same(first_part:copy(), expected_part, name .. " in place")
    end
    assert(parts.size == rank)
  end
  raises("is for {value, location}", world.Allreduce, world, a, nil, "maxloc")
  if size > 1 then -- (else it is not called)
    raises("must return an array of the shape", world.Allreduce, world, array.zeros(3), nil, function() return 1 end)
  end
end)

test("calls that begin", function()
  local a = data(rank, 1000)
  local total = array.zeros(1000)
  local requests = { world:Iallreduce(a, total), world:Ibarrier() }
  local b = rank == 0 and data(0, 5) or array.zeros(5)
  requests[#requests + 1] = world:Ibcast(b, 0)
  local gathered = world:Iallgather(data(rank, 2))
  mpi.waitall(requests)
  same(total, fold(all_of(1000), array.add), "Iallreduce")
  same(b, data(0, 5), "Ibcast")
  same(gathered:wait(), array.concatenate(all_of(2)), "Iallgather")
  same(world:Ireduce(data(rank, 2), nil, "max", size - 1):wait(), rank == size - 1 and fold(all_of(2), array.maximum) or nil,
    "Ireduce")
end)

test("calls of values that begin", function()
  local function begun(name, ...)
    local request = world["i" .. name](world, ...)
    local same_call = world[name](world, ...)
    return request:wait(), same_call
  end
  local lists, letters = {}, ("abcde"):sub(1, size)
  for r = 1, size do
    lists[r] = { rank, r, text = ("x"):rep(1000 * r) }
  end
  local function join(a, b) return a .. b end
  local letter = letters:sub(rank + 1, rank + 1)
  for root = 0, size - 1 do
    local calls = {
      { "bcast", rank == root and { root, data(root, 3) } or nil, root },
      { "scatter", rank == root and lists or nil, root },
      { "gather", { rank, ("y"):rep(rank) }, root },
      { "allgather", { rank } },
      { "alltoall", lists },
      { "reduce", rank + 1, "sum", root },
      { "reduce", letter, join, root },
      { "allreduce", letter, join },
      { "allreduce", data(rank, 4), "max" },
      { "allreduce", { -rank, rank }, "minloc" },
      { "scan", letter, join },
      { "exscan", letter, join },
    }
    for _, call in ipairs(calls) do
      local one, other = begun(unpack(call, 1, 4))
      deep({ one }, { other }, "i" .. call[1])
    end
  end
  local numbers = {}
  for r = 1, size do
    numbers[r] = rank * 10 + r
  end
  local one, other = begun("reduce_scatter", numbers)
  assert(one == other)
  -- Several at once, waited for in another order, beside messages and other calls.
  local requests = { world:iallgather(rank), world:ibcast(rank == 0 and "first" or nil), world:ibarrier(),
    world:ibcast(rank == size - 1 and "second" or nil, size - 1), world:iallreduce(rank + 1) }
  assert(world:sendrecv(rank, right, left) == left and world:allreduce(1) == size)
  assert(requests[4]:wait() == "second")
  local results = mpi.waitall(requests)
  assert(#results[1] == size and results[2] == "first" and results[4] == "second" and results[5] == size * (size + 1) / 2)
  assert(requests[5]:wait() == results[5] and requests[5]:test() == true)
  requests = { world:igather(rank), world:ialltoall(lists) }
  local done = {}
  for _ = 1, 2 do
    done[mpi.waitany(requests)] = true
  end
  assert(done[1] and done[2] and mpi.waitany(requests) == nil)
  raises("the value is nil", world.iallgather, world)
  raises("the list has", world.ialltoall, world, { 1, 2, 3, 4, 5, 6 })
  raises("not defined for", world.iallreduce, world, { 1 }, "sum")
  raises("no rank of this communicator", world.igather, world, 1, size)
  raises("cannot be sent", world.iallgather, world, coroutine.create(function() end))
end)

-- More elements than MPI's calls count: with a limit so low that few are too many.
test("more than MPI counts", function()
  assert(mpi._most_elements() == 2 ^ 31 - 1)
  mpi._most_elements(7)
  local n = 25
  local function sum_upto(last, f)
    local list = {}
    for r = 0, last do
      list[r + 1] = data(r, n)
    end
    return fold(list, f or array.add)
  end
  local got = array.zeros(n)
  world:Sendrecv(data(rank, n), right, got, left)
  same(got, data(left, n), "Sendrecv")
  local whole = array.concatenate(all_of(n))
  for root = 0, size - 1 do
    same(world:Bcast(rank == root and data(root, n) or array.zeros(n), root), data(root, n), "Bcast")
    same(world:Ibcast(rank == root and data(root, n) or array.zeros(n), root):wait(), data(root, n), "Ibcast")
    local part = array.zeros(n)
    world:Scatter(rank == root and whole or nil, part, root)
    same(part, data(rank, n), "Scatter")
    same(world:Gather(part, nil, root), rank == root and whole or nil, "Gather")
    same(world:Reduce(part, nil, "sum", root), rank == root and sum_upto(size - 1) or nil, "Reduce")
    same(world:Ireduce(part, nil, "sum", root):wait(), rank == root and sum_upto(size - 1) or nil, "Ireduce")
    local a = data(rank, n)
    world:Reduce(rank == root and mpi.IN_PLACE or a, rank == root and a or nil, "max", root)
    same(a, rank == root and sum_upto(size - 1, array.maximum) or data(rank, n), "Reduce in place")
  end
  same(world:Allgather(data(rank, n)), whole, "Allgather")
  same(world:Iallgather(data(rank, n)):wait(), whole, "Iallgather")
  local expected = {}
  for r = 0, size - 1 do
    expected[r + 1] = data(r, n * size)[{ { n * rank + 1, n * rank + n } }]
  end
  same(world:Alltoall(data(rank, n * size)), array.concatenate(expected), "Alltoall")
  same(world:Allreduce(data(rank, n)), sum_upto(size - 1), "Allreduce")
  local requests, a = {}, data(rank, n)
  requests[1] = world:Iallreduce(a)
  requests[2] = world:Iscan(a, nil, "max")
  requests[3] = world:Ireduce_scatter(data(rank, n * size))
  same(requests[2]:wait(), sum_upto(rank, array.maximum), "Iscan")
  same(requests[1]:wait(), sum_upto(size - 1), "Iallreduce")
  local total = fold(all_of(n * size), array.add)
  local mine = total[{ { n * rank + 1, n * rank + n } }]:copy()
  same(requests[3]:wait(), mine, "Ireduce_scatter")
  same(world:Reduce_scatter(data(rank, n * size)), mine, "Reduce_scatter")
  a = data(rank, n * size)
  same(world:Reduce_scatter(mpi.IN_PLACE, a):copy(), mine, "Reduce_scatter in place")
  a = data(rank, n * size)
  same(world:Ireduce_scatter(mpi.IN_PLACE, a):wait():copy(), mine, "Ireduce_scatter in place")
  a = data(rank, n)
  world:Allreduce(mpi.IN_PLACE, a, "max")
  same(a, sum_upto(size - 1, array.maximum), "Allreduce in place")
  same(world:Scan(data(rank, n)), sum_upto(rank), "Scan")
  local before = world:Exscan(data(rank, n))
  if rank > 0 then
    same(before, sum_upto(rank - 1), "Exscan")
  end
  -- Parts of unequal length: rank r has 3 r rows of 2.
  local function rows(of)
    return data(of, 6 * of, "int32"):reshape { 3 * of, 2 }
  end
  local all, counts, from = {}, {}, 3 * rank * (rank - 1) / 2
  for r = 0, size - 1 do
    all[r + 1], counts[r + 1] = rows(r), 3 * r
  end
  whole = array.concatenate(all)
  local function with_own_rows()
    local b = array.zeros({ #whole, 2 }, { dtype = "int32" })
    if rank > 0 then
      b[{ { from + 1, from + 3 * rank } }] = rows(rank)
    end
    return b
  end
  for root = 0, size - 1 do
    same(world:Gatherv(rows(rank), nil, nil, root), rank == root and whole or nil, "Gatherv")
    same(world:Igatherv(rows(rank), nil, nil, root):wait(), rank == root and whole or nil, "Igatherv")
    local part = array.zeros({ 3 * rank, 2 }, { dtype = "int32" })
    world:Scatterv(rank == root and whole or nil, part, nil, root)
    same(part, rows(rank), "Scatterv")
    if rank == root then
      same(world:Gatherv(mpi.IN_PLACE, with_own_rows(), counts, root), whole, "Gatherv in place")
      world:Scatterv(whole, mpi.IN_PLACE, counts, root)
    else
      world:Gatherv(rows(rank), nil, nil, root)
      world:Scatterv(nil, part, nil, root)
      same(part, rows(rank), "Scatterv in place")
    end
  end
  same(world:Allgatherv(rows(rank)), whole, "Allgatherv")
  same(world:Iallgatherv(rows(rank)):wait(), whole, "Iallgatherv")
  same(world:Allgatherv(mpi.IN_PLACE, with_own_rows(), counts), whole, "Allgatherv in place")
  local give, out = {}, {}
  local function given(of, to)
    return data(of * size + to, 4 * ((of + to) % 3))
  end
  for r = 0, size - 1 do
    give[r + 1], out[r + 1], expected[r + 1] = 4 * ((rank + r) % 3), given(rank, r), given(r, rank)
  end
  same(world:Alltoallv(array.concatenate(out), give), array.concatenate(expected), "Alltoallv")
  same(world:Ialltoallv(array.concatenate(out), give):wait(), array.concatenate(expected), "Ialltoallv")
  -- The table form.
  local list = {}
  for r = 0, size - 1 do
    list[r + 1] = { rank, r, ("x"):rep(20 * r) }
  end
  deep(world:bcast(rank == 0 and "a longer text" or nil), "a longer text", "bcast")
  for root = 0, size - 1 do
    local texts = {}
    for r = 0, size - 1 do
      texts[r + 1] = ("y"):rep(10 * r)
    end
    deep(world:scatter(rank == root and list or nil, root), { root, rank, ("x"):rep(20 * rank) }, "scatter")
    deep(world:gather(texts[rank + 1], root), rank == root and texts or nil, "gather")
    deep(world:allgather(texts[rank + 1]), texts, "allgather")
  end
  local come = world:alltoall(list)
  for r = 0, size - 1 do
    deep(come[r + 1], { r, rank, ("x"):rep(20 * rank) }, "alltoall")
  end
  mpi._most_elements(2 ^ 31 - 1)
end)

test("arrays under way stay", function()
  -- Nothing but the request refers to them; garbage is collected meanwhile.
  local requests = {}
  for i = 1, 20 do
    requests[#requests + 1] = world:Irecv(array.zeros(5000), left, i)
    requests[#requests + 1] = world:Isend(data(rank, 5000, nil, i), right, i)
    collectgarbage()
  end
  mpi.waitall(requests)
  -- Nor does it matter that a script releases them.
  local given, taken = data(rank, 5000), array.zeros(5000)
  local view = taken[{ {} }]
  requests = { world:Irecv(taken, left), world:Issend(given, right), world:Iallreduce(given) }
  given:release()
  taken:release()
  for _ = 1, 10 do
    array.full(5000, -1)
  end
  mpi.waitall(requests)
  same(view:copy(), data(left, 5000), "released")
  -- Rows of a matrix, as a halo exchange sends them; many, so that the loop is compiled.
  local u = array.full({ 6, 40 }, rank)
  for _ = 1, 300 do
    world:Sendrecv(u[5], right, u[1], left)
    world:Sendrecv(u[2], left, u[6], right)
  end
  assert(u[1][7] == left and u[6][7] == right and u[2][7] == rank)
end)

test("compiled loops", function()
  local a, sum = array.zeros(1), 0
  for i = 1, 2000 do
    a[1] = i + rank
    local request = world:Isend(a, right, i % 5)
    local got = array.zeros(1)
    world:Recv(got, left, i % 5)
    request:wait()
    sum = sum + got[1]
    if i % 100 == 0 then
      assert(world:allreduce(i) == i * size)
    end
  end
  assert(sum == 2000 * 2001 / 2 + 2000 * left)
  local text = 0
  for i = 1, 2000 do
    local sent = world:isend({ i, rank }, right)
    local got = world:recv(left)
    sent:wait()
    assert(got[1] == i and got[2] == left)
    text = text + got[1]
  end
end)

test("what ranks do differently", function()
  if size == 1 then
    return
  end
  local message
  if rank == 0 then
    message = raises("collective calls differ", world.Allreduce, world, array.zeros(3))
  else
    message = raises("collective calls differ", world.Allreduce, world, array.zeros(4))
  end
  assert(message:find("rank 0 calls Allreduce%(sum%) of 3 float64, rank 1 calls Allreduce%(sum%) of 4 float64"), message)
  message = raises("collective calls differ", function()
    if rank == size - 1 then
      world:barrier()
    else
      world:bcast(rank == 0 and 1 or nil, 0)
    end
  end)
  assert(message:find("calls bcast with root 0, rank " .. size - 1 .. " calls barrier"), message)
  message = raises("collective calls differ", world.bcast, world, rank, rank == 0 and 0 or 1)
  same(world:allreduce(1), size, "after errors")
end)

-- Calls that begin: each rank compares with those without whom its call cannot end.
test("what ranks begin differently", function()
  if size == 1 then
    return
  end
  local function differ(pattern, request)
    local message = raises("collective calls differ", request.wait, request)
    assert(message:find(pattern) and message:find("ranks.lua:%d"), message)
    assert(request:test() == true) -- it is over
  end
  local first, second = math.min(rank, left), math.max(rank, left)
  for _, name in ipairs { "Iallreduce", "Iallgather" } do -- all ranks differ from their neighbours
    local request = world[name](world, array.zeros(rank + 1))
    differ(("rank %d begins %s.* of %d float64, rank %d begins %s.* of %d float64"):format(first, name, first + 1, second, name,
      second + 1), request)
  end
  local request = world:iallreduce(1, rank % 2 == 0 and "sum" or "max")
  if rank % 2 ~= left % 2 then
    differ(("rank %d begins iallreduce.*, rank %d begins iallreduce%%("):format(first, second), request)
  else
    request:wait()
  end
  world:barrier()
  local dtype = rank == 0 and "float32" or "int32"
  request = world:Ibcast(array.zeros(3, { dtype = dtype }))
  local values = rank == 0 and world:ibcast(1) or world:iscatter(nil)
  if rank == 0 then
    request:wait()
    values:wait()
  else
    differ("rank 0 begins Ibcast of 3 float32 with root 0, rank " .. rank .. " begins Ibcast of 3 int32", request)
    differ("rank 0 begins ibcast with root 0, rank " .. rank .. " begins iscatter", values)
  end
  world:barrier()
  request = world:ireduce(1, rank == 0 and "sum" or "max")
  if rank == 0 then
    differ("rank 0 begins ireduce%(sum%) with root 0, rank %d begins ireduce%(max%)", request)
  else
    request:wait()
  end
  world:barrier()
  same(world:iallreduce(1):wait(), size, "after errors")
  same(world:Iallreduce(array.ones(1)):wait(), array.full(1, size), "after errors")
end)

-- What is compared is waited for by nobody who would not wait anyway.
test("what begins need not meet", function()
  local function others(f)
    for r = 1, size - 1 do
      f(r)
    end
  end
  for _, call in ipairs { { "Ibcast", array.ones(2), 0 }, { "ibcast", "x", 0 }, { "iscan", 1 }, { "Iscan", array.ones(2) } } do
    if rank == 0 then -- it is over before the others begin
      world[call[1]](world, unpack(call, 2)):wait()
      others(function(r) world:send("now", r) end)
    else
      assert(world:recv(0) == "now")
      world[call[1]](world, unpack(call, 2)):wait()
    end
    world:barrier()
  end
  for _, call in ipairs { { "Igather", array.ones(2) }, { "igather", "x" }, { "ireduce", 1 } } do
    if rank > 0 then
      world[call[1]](world, call[2]):wait()
      world:send("now", 0)
    else
      others(function(r) assert(world:recv(r) == "now") end)
      world[call[1]](world, call[2]):wait()
    end
    world:barrier()
  end
end)

test("Lua's own mistakes", function()
  raises("is no rank of the world", world.Send, world, array.zeros(1), size)
  raises("is no rank of the world", world.send, world, 1, -7)
  raises("destination nan is no rank", world.Send, world, array.zeros(1), 0 / 0)
  raises("sendrecv: the destination " .. size .. " is no rank", world.sendrecv, world, 1, size, 0)
  raises("a tag is an integer", world.Send, world, array.zeros(1), 0, -3)
  raises("a tag is an integer", world.Send, world, array.zeros(1), 0, 0.5)
  raises("must be an array", world.Send, world, { 1, 2 }, 0)
  raises("the value is nil", world.send, world, nil, 0)
  raises("with a colon", world.send, 1, 0)
  raises("must be a number", world.send, world, 1, "0")
  raises("cannot be sent to another rank", world.send, world, coroutine.create(function() end), 0)
  raises("cannot be sent to another rank", world.send, world, { a = { coroutine.create(function() end) } }, 0)
  raises("did you mean 'Allreduce'", function() return world.alreduce end)
  raises("an operator is", world.allreduce, world, 1, "summ")
  raises("the list has", world.scatter, world, { 1, 2, 3, 4, 5, 6 }, rank)
  raises("not defined for", world.allreduce, world, { 1 }, "sum")
  raises("read%-only", world.Recv, world, array.broadcast_to(array.zeros(1), { 4 }), 0)
  raises("unknown option", world.Recv, world, array.zeros(1), 0, 0, { partal = true })
  -- What there is cannot be changed, and what there is not cannot be read.
  raises("cannot be changed: its 'rank'", function() world.rank = 3 end)
  raises("cannot be changed: its 'Send'", function() world.Send = print end)
  raises("takes no 'colour'", function() world.colour = 1 end)
  raises("takes no '1'", function() world[1] = 1 end)
  raises("has no '1'", function() return world[1] end)
  raises("Gatherv %(arrays%)", function() return world.gatherv end)
  local request = world:isend(1, rank)
  raises("a request has no 'wiat'; did you mean 'wait'", function() return request.wiat end)
  raises("a request takes no 'done'", function() request.done = true end)
  assert(world:recv(rank) == 1)
  request:wait()
  request:wait()
  assert(request:test() == true and tostring(request) == "a request that is done")
  raises("a list of requests is expected", mpi.waitall, request)
  raises("item 1: a request is expected", mpi.waitany, { 1 })
  raises("with a colon", world.Bcast, array.zeros(1))
  raises("a request is expected", request.wait, nil)
  raises("only receives can be cancelled", function()
    local sent = world:Issend(array.zeros(1), rank, 8)
    local ok, message = pcall(sent.cancel, sent)
    world:Recv(array.zeros(1), rank, 8)
    sent:wait()
    error(ok and "none" or message, 0)
  end)
  -- A message that has come is not lost by cancelling.
  local buffer = array.zeros(2)
  for _, receive in ipairs { world:Irecv(buffer, rank, 9), world:irecv(rank, 9) } do
    local sent = receive._r._kind == 1 and world:Isend(data(rank, 2), rank, 9) or world:isend("here", rank, 9)
    sent:wait()
    assert(receive:cancel() == false)
    local first, second = receive:wait()
    assert(receive._r._kind == 1 and first == rank and second == 9 or first == "here" and second == rank)
  end
  local never = world:irecv(rank, 10)
  assert(never:cancel() == true and never:cancel() == true and never:wait() == nil)
  local released = array.zeros(3)
  released:release()
  raises("was released", world.Send, world, released, rank)
  raises("was released", world.Irecv, world, released, rank)
  raises("was released", world.Bcast, world, released)
  for _, root in ipairs { -1, size, 0.5 } do
    for _, name in ipairs { "Bcast", "bcast" } do
      raises("the root .* is no rank of this communicator", world[name], world, buffer, root)
    end
    raises("the root .* is no rank", world.Reduce, world, buffer, nil, "sum", root)
    raises("the root .* is no rank", world.gather, world, 1, root)
    raises("the root .* is no rank", world.Scatterv, world, buffer, buffer, nil, root)
  end
  raises("root %(a rank%) must be a number", world.Gather, world, buffer, nil, "0")
  local rows = array.broadcast_to(array.zeros(1), { 2 })
  for _, name in ipairs { "Allreduce", "Allgather", "Alltoall", "Scan" } do
    raises("read%-only", world[name], world, array.zeros(name == "Allgather" and 1 or 2 * size),
      array.broadcast_to(array.zeros(1), { name == "Allgather" and size or 2 * size }))
  end
  assert(rows.size == 2)
end)

test("dtypes and sizes that differ within one rank", function()
  local a, b = array.zeros(2 * size), array.zeros(2 * size, { dtype = "int32" })
  for _, name in ipairs { "Allreduce", "Allgather", "Alltoall", "Scan", "Exscan", "Reduce_scatter", "Allgatherv" } do
    raises("the array to send is float64, the one to receive into int32", world[name], world, a,
      name == "Allgather" and array.zeros(2 * size * size, { dtype = "int32" }) or b)
  end
  raises("must have " .. 2 * size * size .. " elements, got one with 1", world.Allgather, world, a, array.zeros(1))
  raises("must have " .. 2 * size .. " elements, got one with 1", world.Allreduce, world, a, array.zeros(1))
  raises("must have " .. 2 * size .. " elements, got one with 1", world.Alltoall, world, a, array.zeros(1))
  raises("must have 2 elements, got one with 1", world.Reduce_scatter, world, a, array.zeros(1))
  raises("must add up to that number", world.Reduce_scatter, world, a, nil, "sum", (function()
    local counts = {}
    for r = 1, size do
      counts[r] = 1
    end
    return counts
  end)())
  raises("counts are a list with a number for each of", world.Allgatherv, world, a, nil, { 1, 2, 3, 4, 5, 6 })
  raises("counts are integers", world.Alltoallv, world, a, (function()
    local counts = {}
    for r = 1, size do
      counts[r] = -1
    end
    return counts
  end)())
  if size > 1 then
    raises("cannot be cut into", world.Alltoall, world, array.zeros(2 * size + 1))
  end
end)

-- Each of them, of which the ranks hold different dtypes, or entries of different sizes.
test("dtypes and sizes that differ among ranks", function()
  if size == 1 then
    return
  end
  local dtype = rank == 0 and "float64" or "float32"
  local a, part = array.zeros(2 * size, { dtype = dtype }), array.zeros(2, { dtype = dtype })
  local function differ(name, ...)
    local message = raises("collective calls differ", world[name], world, ...)
    assert(message:find("float64", 1, true) and message:find("float32", 1, true) and message:find(name, 1, true), message)
  end
  for _, name in ipairs { "Bcast", "Gather", "Allgather", "Alltoall", "Reduce", "Allreduce", "Reduce_scatter", "Scan", "Exscan",
    "Gatherv", "Allgatherv" } do
    differ(name, a)
  end
  differ("Scatter", a, part)
  differ("Scatterv", a, part)
  local ones = {}
  for r = 1, size do
    ones[r] = 1
  end
  differ("Alltoallv", a, ones)
  local message = raises("collective calls differ", world.Allgatherv, world, array.zeros { 2, rank == 0 and 3 or 4 })
  assert(message:find("Allgatherv of rows of 3 float64", 1, true) and message:find("rows of 4 float64", 1, true), message)
  raises("collective calls differ.*sum.*max", world.Allreduce, world, array.zeros(2), nil, rank == 0 and "sum" or "max")
  raises("collective calls differ", world.Bcast, world, array.zeros(rank == 0 and 2 or 3))
end)

-- ------------------------------------------------------------------------------------------------- communicators -----
test("split, dup, free", function()
  local half = world:split(rank % 2)
  assert(half.size == math.floor((size + 1 - rank % 2) / 2) and half.rank == math.floor(rank / 2))
  assert(half:allreduce(rank) == fold((function()
    local list = { 0 }
    for r = rank % 2, size - 1, 2 do
      list[#list + 1] = r
    end
    return list
  end)(), function(a, b) return a + b end))
  assert(half:world_rank(half.rank) == rank)
  local backwards = world:split(0, -rank)
  assert(backwards.rank == size - 1 - rank)
  local only = world:split(rank == 0 and 0 or nil)
  assert((only ~= nil) == (rank == 0))
  local copy = world:dup()
  local request = copy:isend("copy", right)
  world:send("world", right)
  assert(world:recv(left) == "world" and copy:recv(left) == "copy")
  request:wait()
  copy:free()
  raises("was freed", copy.send, copy, 1, 0)
  raises("was freed", copy.Allreduce, copy, array.zeros(1))
  raises("was freed", copy.irecv, copy, 0)
  raises("was freed", copy.free, copy)
  raises("stay until the end", world.free, world)
  copy = world:dup()
  local open = copy:irecv(left)
  raises("1 of this communicator's requests has not been waited for", copy.free, copy)
  open:cancel()
  copy:free()
  assert(world:split_shared().size == size)
  assert(mpi.self.size == 1 and mpi.self:allreduce(rank) == rank)
end)

test("grids", function()
  local dims = mpi.dims_create(size, 2)
  assert(dims[1] * dims[2] == size)
  local grid = world:create_cart(dims, { periods = { true, false } })
  local c = grid.coords
  assert(grid:rank_of(c) == grid.rank)
  deep(grid:coords_of(grid.rank), c, "coords")
  local from, to = grid:shift(1)
  assert(from == grid:rank_of { c[1] - 1, c[2] } and to == grid:rank_of { c[1] + 1, c[2] })
  local below, above = grid:shift(2)
  assert(below == (c[2] > 0 and grid:rank_of { c[1], c[2] - 1 } or mpi.PROC_NULL))
  assert(above == (c[2] < dims[2] - 1 and grid:rank_of { c[1], c[2] + 1 } or mpi.PROC_NULL))
  deep(grid:neighbours(), { from, to, below, above }, "neighbours")
  local got = array.zeros(3)
  grid:Sendrecv(data(grid.rank, 3), to, got, from)
  same(got, data(from, 3), "shift")
  local row = grid:sub { false, true }
  assert(row.size == dims[2] and row.rank == c[2])
  local ring = world:create_cart({ size }, { periods = true })
  local around = ring:Neighbor_allgather(data(ring.rank, 3))
  same(around[1]:copy(), data((ring.rank - 1 + size) % size, 3), "Neighbor_allgather")
  same(around[2]:copy(), data((ring.rank + 1) % size, 3), "Neighbor_allgather")
  if size > 2 then -- (else both neighbours are one rank)
    local both = ring:Ineighbor_alltoall(data(ring.rank, 4)):wait()
    same(both[{ { 1, 2 } }]:copy(), data((ring.rank - 1 + size) % size, 4)[{ { 3, 4 } }]:copy(), "Neighbor_alltoall")
    same(both[{ { 3, 4 } }]:copy(), data((ring.rank + 1) % size, 4)[{ { 1, 2 } }]:copy(), "Neighbor_alltoall")
  end
  raises("no grid", world.shift, world, 1)
  raises("no neighbours", world.Neighbor_allgather, world, array.zeros(1), array.zeros(2))
  raises("dimension from 1 to 2", grid.shift, grid, 0)
end)

-- ------------------------------------------------------------------------------------------------------- windows -----
test("windows", function()
  local mine = array.zeros(4 * size, { dtype = "int64" })
  local window = world:window(mine)
  raises("no epoch is open", window.put, window, mine, 0)
  window:fence()
  for r = 0, size - 1 do
    window:put(data(rank, 4, "int64", r + 1), r, 4 * rank + 1)
  end
  window:fence()
  local expected = {}
  for r = 0, size - 1 do
    expected[r + 1] = data(r, 4, "int64", rank + 1)
  end
  same(mine, array.concatenate(expected), "put")
  local got = array.zeros(4, { dtype = "int64" })
  window:get(got, right, 4 * rank + 1)
  window:fence()
  same(got, data(rank, 4, "int64", right + 1), "get")
  raises("outside of the window", window.get, window, got, right, 4 * size)
  raises("has int64, this array float64", window.put, window, array.zeros(1), right)
  raises("is no rank", window.put, window, got, size)
  raises("the target .* must be a number", window.put, window, got, "0")
  raises("has no 'Put'", function() return window.Put end)
  raises("a window takes no 'size'", function() window.size = 3 end)
  window:free()
  raises("was freed", window.fence, window)
  raises("was freed", window.put, window, got, 0)
  raises("was freed", window.free, window)

  -- What a script releases stays until the epoch ends, and a window's array until the window does.
  local shown, given = array.zeros(3000), data(rank, 3000)
  window = world:window(shown)
  window:fence()
  window:put(given, right)
  given:release()
  shown:release()
  for _ = 1, 10 do
    array.full(3000, -1)
  end
  window:fence()
  local there = array.zeros(3000)
  window:get(there, rank)
  window:fence()
  same(there, data(left, 3000), "released")
  window:free()

  local counter = array.zeros(1, { dtype = "int64" })
  window = world:window(counter)
  local one, before = array.ones(1, { dtype = "int64" }), array.zeros(1, { dtype = "int64" })
  for _ = 1, 20 do
    window:lock(0, { shared = true })
    window:get_accumulate(one, before, 0)
    window:unlock(0)
  end
  world:barrier()
  window:lock(0)
  window:get(before, 0)
  window:unlock(0)
  assert(before[1] == 20 * size)
  raises("has not locked", window.unlock, window, 0)
  window:free()
end)

test("shared arrays", function()
  local a, window = world:shared_array({ size, 3 }, { dtype = "float32" })
  same(a, array.zeros({ size, 3 }, { dtype = "float32" }), "zeros")
  window:fence()
  a[rank + 1] = rank + 1
  window:fence()
  for r = 1, size do
    assert(a[r][3] == r)
  end
  world:barrier()
end)

test("PERIGEE_MPI_CHECK", function()
  assert(mpi.check() == true)
  mpi.check(false)
  same(world:Allreduce(data(rank, 5)), fold(all_of(5), array.add), "unchecked")
  world:barrier()
  same(world:bcast(rank == 0 and "x" or nil), "x", "unchecked bcast")
  mpi.check(true)
end)

local only = ...
for _, entry in ipairs(tests) do
  if not only or entry[1]:find(only, 1, true) then
    entry[2]()
    world:barrier()
  end
end
if rank == 0 then
  print(("%d tests passed on %d ranks"):format(#tests, size))
end
