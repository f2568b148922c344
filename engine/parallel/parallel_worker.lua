-- What workers run for the pieces of a map or loop: loops of their own for each function, which LuaJIT compiles for it.
local core, kit = ...
local natives, ffi = core.natives.parallel, core.ffi
local load, format, type, tonumber, unpack = load, string.format, type, tonumber, unpack
local floor = math.floor
local cast, double_p, numbers_t = ffi.cast, ffi.typeof("double *"), kit.numbers_t

-- A runner gets items, first, last and an array for results or nil: items is a list, an array of numbers made for this
-- (which is let go of at the end), an array or a range. Loops over these differ only in how an item is fetched.
local fetch = {
  list = { "", "items[i]" },
  numbers = { "local numbers = cast(double_p, items._data)", "numbers[i - 1]" },
  array = { "", "items[i]" },
  range = { "local before, step = items.first - items.step, items.step", "before + i * step" },
}

-- kind -> what is done before the loop, with each item, and after it.
local kinds = {
  -- Results that are numbers are kept as such until one is not.
  map = { "local numbers_out, data = place(out, first, last) local list", [[
      local result = CALL
      if not list and type(result) == "number" then
        data[i - first] = result
      else
        list = list or as_list(data, i - first)
        list[i - first + 1] = result
      end]], "", "list or numbers_out, last - first + 1" },
  for_each = { "", "CALL", "", "" },
  fold = { "local total", "if i == first then total = item else total = fn(total, item) end", "", "total" },
  fold_from = { "local total = init", "total = fn(total, item)", "", "total" },
}
kinds.starmap = kinds.map

-- A loop whose pieces workers take: from the counter of each block, beginning with the block of their own number.
local shared_loop = [[
  return function(which)
    local first, size, counters = init.first, init.size, init.counters
    local count, blocks, own = init.last - first + 1, #counters, worker() or which
    for k = 0, blocks - 1 do
      local block = (own - 1 + k) % blocks
      local counter = counters[block + 1]
      local begin, last = first + floor(count * block / blocks), first + floor(count * (block + 1) / blocks) - 1
      local at = begin + size * counter:add(1)
      while at <= last do
        local stop = at + size - 1
        for i = at, stop < last and stop or last do fn(i) end
        at = begin + size * counter:add(1)
      end
    end
  end]]

local function text_of(kind, items)
  if kind == "for" and items == "shared" then
    return shared_loop
  elseif kind == "for" then
    return "return function(first, last) for i = first, last do fn(i) end end"
  end
  local parts, from = kinds[kind], fetch[items]
  return format([[
    return function(items, first, last, out)
      %s
      %s
      for i = first, last do
        local item = %s
        %s
      end
      %s
      %s
      if out then out:release() end
      return %s
    end]], from[1], parts[1], from[2], parts[2]:gsub("CALL", kind == "starmap" and "fn(unpack(item))" or "fn(item)"),
    parts[3], items == "numbers" and "items:release()" or "", parts[4])
end

-- Where a piece writes numbers: the place of its first in `out`, else new pg_numbers, which are its result.
local function place(out, first, last)
  if out then
    return nil, cast(double_p, out._data) + (first - 1)
  end
  local count = last - first + 1
  local numbers = numbers_t(count)
  numbers.count = count
  return numbers, cast(double_p, numbers.values)
end

local function as_list(data, count)
  local list = {}
  for i = 1, count do
    list[i] = data[i - 1]
  end
  return list
end

-- function or id of its code -> kind -> function that makes runners
local made, made_count = {}, 0

--- What the jobs of pools call in a worker: the function that runs a piece. `kind` is "map numbers", "fold range" ...
function kit.parallel._runner(kind, fn, init)
  local key = natives.code_id(fn) or fn
  local of_function = made[key]
  if not of_function then
    made_count = made_count + 1
    if made_count > 1000 then -- of a script that makes ever new code
      made, made_count = {}, 1
    end
    of_function = {}
    made[key] = of_function
  end
  local make = of_function[kind]
  if not make then
    local what, items = kind:match("^(%S+) ?(.*)$")
    make = load("local fn, init, place, as_list, cast, double_p, type, unpack, worker, floor = ... " .. text_of(what, items),
      "@perigee:parallel_worker")
    of_function[kind] = make
    for _ = 1, 4 do -- see Transport::push_factory
      make()
    end
  end
  return (make(fn, init, place, as_list, cast, double_p, type, unpack, natives.worker, floor))
end
