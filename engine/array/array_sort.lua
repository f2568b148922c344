-- Sorting.
local core, kit = ...
local C = core.C
local fail, check = core.fail, core.check
local array, methods, array_t, call, need_array = kit.array, kit.methods, kit.array_t, kit.call, kit.need_array
local check_options, check_alive, parse_axis, kind_of = kit.check_options, kit.check_alive, kit.parse_axis, kit.kind_of
local type = type

local known = { axis = true, descending = true, stable = true }

-- An axis (from 0; the last unless told otherwise) and options, from what stands in their place.
local function arguments(name, a, how)
  check_alive(a)
  local options
  if type(how) == "table" then
    check_options(name, how, known)
    options, how = how, how.axis
    for _, key in ipairs { "descending", "stable" } do
      if options[key] ~= nil and type(options[key]) ~= "boolean" then
        fail("%s: %s is true or false, got %s", name, key, kind_of(options[key]))
      end
    end
  end
  if a._ndim == 0 then
    fail("%s: an array of 0 dimensions has nothing to sort", name)
  end
  return parse_axis(name, a, how == nil and -1 or how) - 1, options and options.descending and 1 or 0,
    options and options.stable and 1 or 0
end

--- a:sort_([axis | options]): sorts a in place along an axis, the last unless told otherwise.
function methods.sort_(a, how)
  local x = need_array("sort_", a)
  local axis, descending, stable = arguments("sort_", x, how)
  if bit.band(x._flags, 1) ~= 0 then
    kit.read_only()
  end
  check(C.pg_array_sort(x, axis, descending, stable))
  return a
end

--- array.sort(a [, axis | {axis = -1, descending = false, stable = false}]): a sorted copy. NaN comes last.
function array.sort(a, how)
  local x = need_array("sort", a)
  local axis, descending, stable = arguments("sort", x, how)
  local copy = methods.copy(x)
  check(C.pg_array_sort(copy, axis, descending, stable))
  return copy
end
methods.sort = array.sort

--- array.argsort(a [, axis | options]): the positions (from 1) that would sort a; always stable.
function array.argsort(a, how)
  local x = need_array("argsort", a)
  local axis, descending = arguments("argsort", x, how)
  return call(C.pg_array_argsort, array_t(), x, axis, descending)
end
methods.argsort = array.argsort
