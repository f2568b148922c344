-- Matrices: identities, diagonals, triangles; coordinates of a grid.
local core, kit = ...
local fail = core.fail
local array, methods, set_length, check_options = kit.array, kit.methods, kit.set_length, kit.check_options
local kind_of, write, need_alive, part, make = kit.kind_of, kit.write, kit.need_alive, kit.axis_part, kit.make
local abs, max, min, tonumber, type, ipairs, unpack = math.abs, math.max, math.min, tonumber, type, ipairs, unpack
local BOOL = 0

--- array.eye(n [, m [, k]] [, options]): n by m (or n), ones on diagonal k (0: the main one). array.identity(n).
function array.eye(n, m, k, options)
  if type(m) == "table" or type(m) == "string" then
    m, options = nil, m
  elseif type(k) == "table" or type(k) == "string" then
    k, options = nil, k
  end
  m = m == nil and n or m
  set_length("eye", 1, n)
  set_length("eye", 2, m)
  local a = array.zeros({ n, m }, options)
  local d = methods.diagonal(a, k)
  if d._size > 0 then
    write(d, a._dtype == BOOL and true or 1)
  end
  return a
end
function array.identity(n, options) return array.eye(n, n, 0, options) end

--- array.diag(a [, k]): of a matrix its diagonal k, a view; of a vector a matrix with it on diagonal k.
function array.diag(a, k)
  a = need_alive("diag", a)
  if a._ndim ~= 1 then
    return methods.diagonal(a, k)
  end
  k = k == nil and 0 or k
  local n = tonumber(a._shape[0]) + abs(k)
  local out = make({ n, n }, a._dtype, 1)
  if a._size > 0 then
    write(methods.diagonal(out, k), a)
  end
  return out
end

-- Sets what lies above (or below) diagonal k to zero: row by row, in place.
local function clear(a, k, above)
  local rows, columns = tonumber(a._shape[a._ndim - 2]), tonumber(a._shape[a._ndim - 1])
  for i = 1, rows do
    local first, last
    if above then
      first, last = max(i + k + 1, 1), columns
    else
      first, last = 1, min(i + k - 1, columns)
    end
    if first <= last then
      write(part(part(a, a._ndim - 1, i, i), a._ndim, first, last), a._dtype == BOOL and false or 0)
    end
  end
  return a
end
local function triangle(name, above)
  local function apply(a, k)
    a = need_alive(name, a)
    if a._ndim < 2 then
      fail("%s: at least 2 dimensions are needed, not %d", name, a._ndim)
    end
    return clear(methods.copy(a), k == nil and 0 or k, above)
  end
  array[name], methods[name] = apply, apply
end
--- array.tril(a [, k]), array.triu(a [, k]): a copy with what is above, or below, diagonal k set to 0.
triangle("tril", true)
triangle("triu", false)

--- array.tri(n [, m [, k]] [, options]): ones on and below diagonal k.
function array.tri(n, m, k, options)
  return clear(array.ones({ n, m == nil and n or m }, options), k == nil and 0 or k, true)
end

--- array.meshgrid(x, y, ... [, {indexing = "xy"}]): coordinate arrays of a grid; "ij" for the order of the vectors.
function array.meshgrid(...)
  local list, indexing = { ... }, "xy"
  local last = list[#list]
  if type(last) == "table" then
    check_options("meshgrid", last, { indexing = true })
    indexing = last.indexing or indexing
    list[#list] = nil
  end
  if indexing ~= "xy" and indexing ~= "ij" then
    fail('meshgrid: indexing is "xy" or "ij", got %s', kind_of(indexing))
  end
  local n = #list
  local views = {}
  for i, x in ipairs(list) do
    local shape = {}
    for k = 1, n do
      shape[k] = 1
    end
    local place = indexing == "xy" and n > 1 and (i == 1 and 2 or i == 2 and 1) or i
    shape[place] = need_alive("meshgrid", x).size
    views[i] = methods.reshape(x, shape)
  end
  views = { array.broadcast_arrays(unpack(views)) }
  for i = 1, n do
    views[i] = methods.copy(views[i])
  end
  return unpack(views)
end
