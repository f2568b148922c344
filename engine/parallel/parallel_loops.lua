-- What pools do with many items: maps, loops and reductions, in pieces.
local core, kit = ...
local ffi, fail, natives = core.ffi, core.fail, core.natives.parallel
local type, tostring, pairs, select, getmetatable, setmetatable, pcall, error = type, tostring, pairs, select,
  debug.getmetatable, setmetatable, pcall, error
local format, ceil, max, min, cast = string.format, math.ceil, math.max, math.min, ffi.cast
local parallel, kind_of, check_options = kit.parallel, kit.kind_of, kit.check_pool_options
local need_pool, need_function, submit, make_job = kit.need_pool, kit.need_task, kit.submit, kit.make_job
local watch, next_done, run_callbacks, interrupted, results = kit.watch, kit.next_done, kit.run_callbacks,
  kit.interrupted, kit.results
local array = core.require("array")
local new_table = require "table.new"

local FINISHED, FAILED = 2, 3 -- Future::State
local pool_methods = kit.shared_methods[12] -- PG_SHARED_POOL
local double_p = ffi.typeof("double *")

local range = {}
range.__index = function(_, key)
  fail("a range has no field '%s'; it has first, last and step", tostring(key))
end
range.__tostring = function(r) return format("range(%g, %g, %g)", r.first, r.last, r.step) end
core.class(range, "parallel.range")

--- parallel.range(first, last [, step]): the numbers first, first + step, ... up to last, for the functions of pools,
--- without a list of them.
function parallel.range(first, last, step)
  step = step == nil and 1 or step
  if type(first) ~= "number" or type(last) ~= "number" or type(step) ~= "number" or step == 0 or first ~= first or
    last ~= last or step ~= step or first - first ~= 0 or last - last ~= 0 then
    fail("range: first, last and step are finite numbers, and step is not 0; got %s, %s, %s", tostring(first),
      tostring(last), tostring(step))
  end
  local count = max(0, math.floor((last - first) / step) + 1)
  if count > 2 ^ 53 then
    fail("range: more than 2^53 numbers")
  end
  return setmetatable({ first = first, last = last, step = step, _count = count }, range)
end

-- How many items there are; and what workers fetch them from by number themselves, nil where pieces are sent.
local function items_of(what, list)
  if array.is(list) then
    if list.ndim == 0 then
      fail("%s: an array of one dimension or more is expected, got a scalar", what)
    end
    return list.shape[1], list
  elseif type(list) == "table" then
    if getmetatable(list) == range then
      return list._count, list
    end
    return #list, nil
  end
  fail("%s: a list, an array or a range is expected, got %s", what, kind_of(list))
end

-- Copies items first to last of a list into the same places of an array; false where there is anything but numbers.
local function to_array(a, list, first, last)
  local data = cast(double_p, a._data)
  for i = first, last do
    local value = list[i]
    if type(value) ~= "number" then
      return false
    end
    data[i - 1] = value
  end
  return true
end

local function from_array(out, a, first, last)
  local data = cast(double_p, a._data)
  for i = first, last do
    out[i] = data[i - 1]
  end
end

-- Items first to last of a list, as they are sent.
local function piece(list, first, last)
  local items, before = {}, first - 1
  for k = 1, last - before do
    items[k] = list[before + k]
  end
  return items
end

local function need_chunksize(what, options, count, workers)
  local size = options.chunksize
  if size == nil then
    return max(1, ceil(count / (4 * workers)))
  elseif type(size) ~= "number" or size % 1 ~= 0 or size < 1 then
    fail("%s: chunksize is an integer, 1 or more, got %s", what, tostring(size))
  end
  return size
end

local item_names = { "list" }

-- Submits fn for all items in pieces: lists of futures and of the first item of each. Workers fetch items from `source`
-- themselves where there is one; else pieces of numbers from an array, which they begin with while the next ones are copied.
-- Results that are numbers go into the array `out` where there is one. The last result is the array of numbers.
local function submit_pieces(what, pool, kind_name, fn, list, size, count, source, out, init)
  local shares = select(4, natives.pool_info(pool))
  local numbers = not source and kind_name ~= "starmap" and type(list[1]) == "number" and array.empty(count) or nil
  local jobs, futures, firsts, n = {}, {}, {}, 0
  for first = 1, count, size do
    local last = min(count, first + size - 1)
    local from, items = source, "list"
    if source then
      items = array.is(source) and "array" or "range"
    elseif numbers and to_array(numbers, list, first, last) then
      from, items = numbers, "numbers"
    end
    local job = jobs[items]
    if not job then
      job = make_job(what, kind_name .. " " .. items, fn, init)
      jobs[items] = job
    end
    n = n + 1
    firsts[n] = first
    if array.is(from) and not shares then -- a process is sent no more than it needs
      futures[n] = submit(what, pool, job, item_names, nil, from[{ { first, last } }], 1, last - first + 1, nil)
    elseif from then
      futures[n] = submit(what, pool, job, item_names, nil, from, first, last, out)
    else
      futures[n] = submit(what, pool, job, item_names, first - 1, piece(list, first, last), 1, last - first + 1, nil)
    end
  end
  return futures, firsts, numbers
end

-- Those of the futures that have been collected are gone: the list has holes.
local function cancel_all(futures)
  for _, future in pairs(futures) do
    natives.cancel(future)
  end
end

-- After an error, which comes when none of them runs any more: else they would go on writing into arrays that the script
-- goes on with.
local function end_all(futures)
  cancel_all(futures)
  for _, future in pairs(futures) do
    natives.wait(future)
  end
end

-- A future's results; where it failed or waiting was interrupted, the others are cancelled.
local function collect(futures, i)
  local done, reason = natives.wait(futures[i])
  if done == nil then
    cancel_all(futures)
    interrupted(reason)
  end
  local state, a, b = natives.result(futures[i])
  if state ~= FINISHED then
    end_all(futures)
    results(state, a, b)
  end
  return a, b
end

-- What a piece returned, into `out`: numbers, or a list and how many.
local function place(out, before, values, count)
  if type(values) == "cdata" then
    local numbers = values.values
    for i = 1, tonumber(values.count) do
      out[before + i] = numbers[i - 1]
    end
  elseif values then
    for i = 1, count do
      out[before + i] = values[i]
    end
  end
end

local chunk_options = { chunksize = true }

local function map(what, kind_name, pool, fn, list, options)
  need_pool(what, pool)
  need_function(what, fn)
  options = check_options(what, options, chunk_options)
  local count, source = items_of(what, list)
  local size = need_chunksize(what, options, count, pool.size)
  local place_of_numbers = kind_name ~= "for_each" and (source or type(list[1]) == "number") and
    select(4, natives.pool_info(pool)) and array.empty(count) or nil
  local futures, firsts, numbers = submit_pieces(what, pool, kind_name, fn, list, size, count, source, place_of_numbers)
  local out = new_table(kind_name == "for_each" and 0 or count, 0)
  for i = 1, #futures do
    local values, n = collect(futures, i)
    if values then
      place(out, firsts[i] - 1, values, n)
    elseif place_of_numbers then
      from_array(out, place_of_numbers, firsts[i], min(count, firsts[i] + size - 1))
    end
    futures[i] = nil
  end
  if place_of_numbers then
    place_of_numbers:release()
  end
  if numbers then
    numbers:release()
  end
  run_callbacks()
  return out
end

--- pool:map(fn, list [, {chunksize = k}]): a list of fn(item), in order.
function pool_methods.map(pool, fn, list, options)
  return (map("map", "map", pool, fn, list, options))
end

--- pool:starmap(fn, list [, options]): a list of fn(unpack(item)).
function pool_methods.starmap(pool, fn, list, options)
  if type(list) == "table" then
    for i = 1, #list do
      if type(list[i]) ~= "table" then
        fail("starmap: item %d of the list is no list of arguments but %s", i, kind_of(list[i]))
      end
    end
  elseif list ~= nil then
    fail("starmap: a list of lists of arguments is expected, got %s", kind_of(list))
  end
  return (map("starmap", "starmap", pool, fn, list, options))
end

--- pool:for_each(fn, list [, options]): calls fn(item) for all items, and returns when all have ended.
function pool_methods.for_each(pool, fn, list, options)
  map("for_each", "for_each", pool, fn, list, options)
end

-- for i, value in ...: results as they come, in order or not.
local function imap(what, pool, fn, list, options, ordered)
  need_pool(what, pool)
  need_function(what, fn)
  options = check_options(what, options, chunk_options)
  local count, source = items_of(what, list)
  local size = options.chunksize == nil and 1 or need_chunksize(what, options, count, pool.size)
  local futures, firsts = submit_pieces(what, pool, "map", fn, list, size, count, source)
  local waiter = not ordered and watch(futures) or nil
  local at, values, before, i, left = 0, nil, 0, 0, 0
  return function()
    if left == 0 then
      if at == #firsts then
        return nil
      end
      at = at + 1
      local k = ordered and at or next_done(waiter)
      values, left = collect(futures, k)
      if type(values) == "cdata" then
        local list_of = {}
        place(list_of, 0, values)
        values, left = list_of, #list_of
      end
      before, i = firsts[k] - 1, 0
      futures[k] = nil
    end
    i, left = i + 1, left - 1
    return before + i, values[i]
  end
end

--- pool:imap(fn, list [, {chunksize = 1}]): for i, result in pool:imap(fn, list): in order, each as soon as it is there.
function pool_methods.imap(pool, fn, list, options)
  return (imap("imap", pool, fn, list, options, true))
end

--- pool:imap_unordered(fn, list [, {chunksize = 1}]): the same, in the order in which they come.
function pool_methods.imap_unordered(pool, fn, list, options)
  return (imap("imap_unordered", pool, fn, list, options, false))
end

local for_options = { grain = true, partitioner = true }

local function need_grain(what, grain)
  if grain ~= nil and (type(grain) ~= "number" or grain % 1 ~= 0 or grain < 1 or grain > 2 ^ 53) then
    fail("%s: grain is an integer, 1 or more, got %s", what, tostring(grain))
  end
  return grain or 1
end

-- Loops whose pieces workers take themselves, from one counter or from that of a block each: a task for each worker, however
-- many pieces there are.
local function shared_loop(pool, fn, first, last, size, blocks)
  local counters = {}
  for block = 1, blocks do
    counters[block] = parallel.atomic(0)
  end
  local job = make_job("parallel_for", "for shared", fn, { first = first, last = last, size = size, counters = counters })
  local futures = {}
  for i = 1, min(pool.size, ceil((last - first + 1) / size)) do
    futures[i] = submit("parallel_for", pool, job, item_names, nil, i)
  end
  local waiter, count = watch(futures), #futures
  local function stop() -- no more pieces
    for block = 1, blocks do
      counters[block]:set(2 ^ 52)
    end
  end
  local fine, message = pcall(function()
    for _ = 1, count do
      if natives.state(futures[next_done(waiter)]) ~= FINISHED then
        return
      end
    end
  end)
  if not fine then
    stop()
    error(message, 0)
  end
  for i = 1, count do
    if natives.state(futures[i]) == FAILED then
      stop()
      end_all(futures)
      results(natives.result(futures[i]))
    end
  end
  for i = 1, count do -- none failed: one may have been cancelled by a pool that was shut down
    collect(futures, i)
  end
end

--- pool:parallel_for(first, last, fn [, {grain = 1, partitioner = "auto"}]): fn(i) for all integers from first to last,
--- in pieces of at least `grain` that workers take as they are free. Partitioners: "auto" some pieces for each worker,
--- "simple" pieces of exactly `grain`, "static" one piece for each worker, "affinity" pieces that the same workers take
--- first each time (what they have in their caches is there still).
function pool_methods.parallel_for(pool, first, last, fn, options)
  need_pool("parallel_for", pool)
  for name, value in pairs { first = first, last = last } do
    if type(value) ~= "number" or value % 1 ~= 0 or value > 2 ^ 53 or value < -2 ^ 53 then
      fail("parallel_for: %s is an integer, got %s", name, tostring(value))
    end
  end
  need_function("parallel_for", fn)
  options = check_options("parallel_for", options, for_options)
  local grain, partitioner = need_grain("parallel_for", options.grain), options.partitioner or "auto"
  local count, workers = max(0, last - first + 1), pool.size
  local size
  if partitioner == "auto" then
    size = max(grain, ceil(count / (8 * workers)))
  elseif partitioner == "simple" then
    size = grain
  elseif partitioner == "static" then
    size = max(grain, ceil(count / workers))
  elseif partitioner == "affinity" then
    size = max(grain, ceil(count / (8 * workers)))
  else
    fail('parallel_for: partitioner is "auto", "simple", "static" or "affinity", got %s', kind_of(partitioner))
  end
  -- (Counters would order the pieces of tasks that are checked for races.)
  if count > 0 and (partitioner == "simple" or partitioner == "affinity") and not select(5, natives.pool_info(pool)) then
    shared_loop(pool, fn, first, last, size, partitioner == "simple" and 1 or workers)
  else
    local job = make_job("parallel_for", "for", fn)
    local futures = {}
    for begin = first, last, size do
      futures[#futures + 1] = submit("parallel_for", pool, job, item_names, nil, begin, min(last, begin + size - 1))
    end
    for i = 1, #futures do
      collect(futures, i)
      futures[i] = nil
    end
  end
  run_callbacks()
end

local reduce_options = { combine = true, chunksize = true, deterministic = true }

--- pool:reduce(fn, list [, init [, {combine = fn, chunksize = k, deterministic = true}]]): folds the items by
--- fn(accumulated, item), a piece at a time, and the pieces by combine(a, b), which is fn itself unless given. Where
--- combine is given, each piece begins with init; else with its first item, and init comes before the first piece. The
--- pieces do not depend on the number of workers and are combined in order, so the result is the same each time;
--- {deterministic = false} makes fewer pieces and combines them as they come.
function pool_methods.reduce(pool, fn, list, init, options)
  need_pool("reduce", pool)
  need_function("reduce", fn)
  options = check_options("reduce", options, reduce_options)
  local combine = options.combine
  if combine ~= nil then
    if type(combine) ~= "function" then
      fail("reduce: combine is a function, got %s", kind_of(combine))
    end
    if init == nil then
      fail("reduce: with combine, each piece begins with init; give one, such as 0")
    end
  end
  local count, source = items_of("reduce", list)
  if count == 0 then
    if init == nil then
      fail("reduce: the list is empty, and there is no init")
    end
    return init
  end
  local ordered = options.deterministic ~= false
  local size = options.chunksize and need_chunksize("reduce", options, count, 1) or
    max(1, ceil(count / (ordered and 64 or 4 * pool.size)))
  local futures = submit_pieces("reduce", pool, combine and "fold_from" or "fold", fn, list, size, count, source, nil, init)
  local join = combine or fn
  local waiter = not ordered and watch(futures) or nil
  local total
  if not combine then
    total = init
  end
  for i = 1, #futures do
    local partial = collect(futures, ordered and i or next_done(waiter))
    if i == 1 and (combine or init == nil) then
      total = partial
    else
      total = join(total, partial)
    end
  end
  run_callbacks()
  return total
end
