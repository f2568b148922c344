-- What workers run for the pieces of a map or loop: loops of their own for each function, which LuaJIT compiles for it.
local core, kit = ...
local natives = core.natives.parallel
local load, format, next = load, string.format, next

-- A piece is a list of items or pg_numbers, or the places first to last of a source that the worker has itself. An item is
-- ITEM; loops over lists, over numbers and over the source differ in nothing else.
local over_list = "for i = 1, #items do local item = items[i] %s end"
local over_numbers = "local values = items.values for i = 1, tonumber(items.count) do local item = values[i - 1] %s end"
local over_array = "for i = 1, last - items + 1 do local item = source[items + i - 1] %s end"
local over_range =
  "local first, step = source.first - source.step, source.step for i = 1, last - items + 1 do " ..
  "local item = first + (items + i - 1) * step %s end"

-- kind -> what is done before the loop, with each item, and after it. `count` is how many items there are.
local kinds = {
  -- Results that are numbers are kept as such until one is not.
  map = { "local out, list = numbers(count), nil", [[
      local result = CALL
      if not list and type(result) == "number" then
        out.values[i - 1] = result
      else
        list = list or as_list(out, i - 1)
        list[i] = result
      end]], "if list then return list, count end out.count = count return out, count" },
  for_each = { "", "CALL", "return" },
  fold = { "local total", "if i == 1 then total = item else total = fn(total, item) end", "return total" },
  fold_from = { "local total = init", "total = fn(total, item)", "return total" },
}
kinds.starmap = kinds.map

local function loop(kind, pattern)
  local parts = kinds[kind]
  local call = kind == "starmap" and "fn(unpack(item))" or "fn(item)"
  local body = parts[2]:gsub("CALL", call)
  return format("%s %s %s", parts[1], format(pattern, body), parts[3])
end

local function text_of(kind, source)
  if kind == "for" then
    return "return function(first, last) for i = first, last do fn(i) end end"
  elseif source then
    return format("return function(items, last) local count = last - items + 1 %s end", loop(kind, source))
  end
  return format([[
    return function(items)
      if type(items) == "cdata" then
        local count = tonumber(items.count)
        %s
      end
      local count = #items
      %s
    end]], kind == "starmap" and "" or loop(kind, over_numbers), loop(kind, over_list))
end

local numbers_t = kit.numbers_t
local function numbers(count)
  return (numbers_t(count))
end

local function as_list(out, count)
  local list = {}
  for i = 1, count do
    list[i] = out.values[i - 1]
  end
  return list
end

-- function or id of its code -> kind -> function that makes runners
local made, made_count = {}, 0

--- What the jobs of pools call in a worker: the function that runs a piece.
function kit.parallel._runner(kind, fn, source, init)
  local pattern = source ~= nil and (type(source) == "table" and over_range or over_array) or nil
  local which = kind .. (pattern == over_range and " range" or pattern and " array" or "")
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
  local make = of_function[which]
  if not make then
    make = load("local fn, source, init, numbers, as_list, type, tonumber, unpack = ... " .. text_of(kind, pattern),
      "@perigee:parallel_worker")
    of_function[which] = make
    for _ = 1, 4 do -- see Transport::push_factory
      make()
    end
  end
  return (make(fn, source, init, numbers, as_list, type, tonumber, unpack))
end
