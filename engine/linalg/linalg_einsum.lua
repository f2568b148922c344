-- Sums of products by index letters. Operands become views with one axis a letter, are multiplied two by two, the pair with
-- the smallest product first, by matmul where letters are summed and by broadcasting where none is.
local core, kit, own = ...
local fail, tonumber, type, find, sub, gsub = core.fail, tonumber, type, string.find, string.sub, string.gsub
local array = core.require("array")
local linalg, need_values, result, restride, with_shape = own.linalg, own.need_values, own.result, own.restride,
  own.with_shape
local methods, kind_of, shape_text = kit.methods, kit.kind_of, kit.shape_text

-- "ij...k" as a list of letters; "..." is one entry.
local function split(text, where)
  local letters, i = {}, 1
  while i <= #text do
    if sub(text, i, i + 2) == "..." then
      letters[#letters + 1], i = "...", i + 3
    elseif find(sub(text, i, i), "%a") then
      letters[#letters + 1], i = sub(text, i, i), i + 1
    else
      fail("einsum: '%s' in %s; subscripts are letters and \"...\"", sub(text, i, i), where)
    end
  end
  return letters
end

local function index_of(list, x)
  for i = 1, #list do
    if list[i] == x then
      return i
    end
  end
end

-- Operand `a` with these letters: {array, letters}, each letter once. Fills `lengths`.
local function operand(a, letters, number, lengths, most)
  local at, given = index_of(letters, "..."), #letters
  if at then
    given = given - 1
    if given > a._ndim then
      fail("einsum: operand %d has %d dimensions, and its subscripts name %d", number, a._ndim, given)
    end
    local full = {}
    for i = 1, at - 1 do
      full[i] = letters[i]
    end
    local open = a._ndim - given
    for i = open, 1, -1 do -- counted from the last, as broadcasting does
      full[#full + 1] = "." .. i
    end
    for i = at + 1, #letters do
      full[#full + 1] = letters[i]
    end
    letters, most[1] = full, math.max(most[1], open)
  elseif given ~= a._ndim then
    fail("einsum: operand %d has %d dimensions, and its subscripts name %d", number, a._ndim, given)
  end
  local names, shape, strides = {}, {}, {}
  for i = 1, #letters do
    local name, length, stride = letters[i], tonumber(a._shape[i - 1]), tonumber(a._strides[i - 1])
    local known = index_of(names, name)
    if known then -- twice in one operand: its diagonal
      if shape[known] ~= length then
        fail("einsum: '%s' has lengths %d and %d in operand %d", name, shape[known], length, number)
      end
      strides[known] = strides[known] + stride
    else
      names[#names + 1], shape[#shape + 1], strides[#strides + 1] = name, length, stride
    end
  end
  for i = 1, #names do
    local known = lengths[names[i]]
    if known and known ~= shape[i] and known ~= 1 and shape[i] ~= 1 then
      fail("einsum: '%s' has length %d in operand %d and %d before", sub(names[i], 1, 1) == "." and "..." or names[i],
        shape[i], number, known)
    end
    lengths[names[i]] = (known and known ~= 1) and known or shape[i]
  end
  return { a = restride(a, shape, strides), names = names }
end

-- Drops axes of length 1 whose letter is longer elsewhere: they broadcast.
local function drop_ones(x, lengths)
  local names, shape, strides = {}, {}, {}
  for i = 1, #x.names do
    if x.a._shape[i - 1] ~= 1 or lengths[x.names[i]] == 1 then
      names[#names + 1], shape[#shape + 1] = x.names[i], tonumber(x.a._shape[i - 1])
      strides[#strides + 1] = tonumber(x.a._strides[i - 1])
    end
  end
  return #names == #x.names and x or { a = restride(x.a, shape, strides), names = names }
end

-- Sums axes whose letter is not in the set `kept`.
local function sum_others(x, kept)
  local a, names = x.a, {}
  for i = #x.names, 1, -1 do
    if kept[x.names[i]] then
      table.insert(names, 1, x.names[i])
    elseif a._ndim == 1 then -- summed as a matrix: a vector's sum would be a Lua number
      a = with_shape(methods.sum(with_shape(a, { 1, tonumber(a._shape[0]) }), 2), {})
    else
      a = methods.sum(a, i)
    end
  end
  return { a = a, names = names }
end

-- x with the axes of these letters in this order.
local function ordered(x, names)
  if #names < 2 then
    return x.a
  end
  local axes, same = {}, true
  for i = 1, #names do
    axes[i] = index_of(x.names, names[i])
    same = same and axes[i] == i
  end
  return same and x.a or (methods.transpose(x.a, axes))
end

local function join(...)
  local all = {}
  for _, list in ipairs { ... } do
    for i = 1, #list do
      all[#all + 1] = list[i]
    end
  end
  return all
end

local function lengths_of(names, lengths)
  local shape, size = {}, 1
  for i = 1, #names do
    shape[i] = lengths[names[i]]
    size = size * shape[i]
  end
  return shape, size
end

-- The product of two, summed over the letters that both have and nobody needs any more.
local function product(x, y, needed, lengths)
  local in_x, in_y = {}, {}
  for _, name in ipairs(x.names) do in_x[name] = true end
  for _, name in ipairs(y.names) do in_y[name] = true end
  x = sum_others(x, setmetatable({}, { __index = function(_, name) return needed[name] or in_y[name] end }))
  y = sum_others(y, setmetatable({}, { __index = function(_, name) return needed[name] or in_x[name] end }))
  local batch, left, right, inner = {}, {}, {}, {}
  for _, name in ipairs(x.names) do
    local list = not in_y[name] and left or needed[name] and batch or inner
    list[#list + 1] = name
  end
  for _, name in ipairs(y.names) do
    if not in_x[name] then
      right[#right + 1] = name
    end
  end
  local names = join(batch, left, right)
  if #names > 8 then
    core.unsupported("einsum: a product of more than 8 dimensions")
  end
  local shape = lengths_of(names, lengths)
  local batch_shape = lengths_of(batch, lengths)
  local a, b = ordered(x, join(batch, left, inner)), ordered(y, join(batch, inner, right))
  if #inner == 0 then
    local ones = {}
    for i = 1, #right do ones[i] = 1 end
    a = with_shape(a, join(batch_shape, (lengths_of(left, lengths)), ones))
    ones = {}
    for i = 1, #left do ones[i] = 1 end
    b = with_shape(b, join(batch_shape, ones, (lengths_of(right, lengths))))
    return { a = array.multiply(a, b), names = names }
  end
  local _, m = lengths_of(left, lengths)
  local _, k = lengths_of(inner, lengths)
  local _, n = lengths_of(right, lengths)
  local c = array.matmul(with_shape(a, join(batch_shape, { m, k })), with_shape(b, join(batch_shape, { k, n })))
  return { a = with_shape(c, shape), names = names }
end

--- linalg.einsum(subscripts, a, ...): the sum of products over the letters that the output does not name: "ij,jk->ik" is
--- a matrix product, "ii" a trace, "ij->ji" a transpose. Without "->" the output has the letters that occur once, in
--- alphabetical order. A letter twice in one operand takes its diagonal; "..." stands for any further axes, which
--- broadcast.
function linalg.einsum(subscripts, ...)
  if type(subscripts) ~= "string" then
    fail('einsum: subscripts such as "ij,jk->ik" come first, got %s', kind_of(subscripts))
  end
  local count, given = select("#", ...), { ... }
  local text = gsub(subscripts, "%s", "")
  local inputs, output = text, nil
  local arrow = find(text, "->", 1, true)
  if arrow then
    inputs, output = sub(text, 1, arrow - 1), split(sub(text, arrow + 2), "the output")
  end
  local parts = {}
  for part in string.gmatch(inputs .. ",", "([^,]*),") do
    parts[#parts + 1] = part
  end
  if #parts ~= count then
    fail("einsum: %q names %d operands, got %d", subscripts, #parts, count)
  end
  local lengths, most, operands, times = {}, { 0 }, {}, {}
  for i = 1, count do
    local letters = split(parts[i], "operand " .. i)
    for _, letter in ipairs(letters) do
      times[letter] = (times[letter] or 0) + 1
    end
    operands[i] = operand(need_values("einsum", given[i]), letters, i, lengths, most)
  end
  local open = {}
  for i = most[1], 1, -1 do
    open[#open + 1] = "." .. i
  end
  local names = {}
  if output then
    for i = 1, #output do
      local name = output[i]
      if name == "..." then
        names = join(names, open)
      elseif not lengths[name] then
        fail("einsum: the output has '%s', which no operand has", name)
      elseif index_of(names, name) then
        fail("einsum: the output has '%s' twice", name)
      else
        names[#names + 1] = name
      end
    end
  else
    for letter, n in pairs(times) do
      if n == 1 and letter ~= "..." then
        names[#names + 1] = letter
      end
    end
    table.sort(names)
    names = join(open, names)
  end
  for i = 1, count do
    operands[i] = drop_ones(operands[i], lengths)
  end
  while #operands > 1 do
    -- The two whose product is smallest.
    local best, p, q, best_needed = math.huge, 1, 2, nil
    for i = 1, #operands do
      for j = i + 1, #operands do
        local needed, size, seen = {}, 1, {}
        for _, name in ipairs(names) do needed[name] = true end
        for o = 1, #operands do
          for _, name in ipairs(o ~= i and o ~= j and operands[o].names or {}) do needed[name] = true end
        end
        for _, name in ipairs(join(operands[i].names, operands[j].names)) do
          if needed[name] and not seen[name] then
            size, seen[name] = size * lengths[name], true
          end
        end
        if size < best or not best_needed then
          best, p, q, best_needed = size, i, j, needed
        end
      end
    end
    local y = table.remove(operands, q)
    operands[p] = product(operands[p], y, best_needed, lengths)
  end
  local kept = {}
  for _, name in ipairs(names) do kept[name] = true end
  return (result(ordered(sum_others(operands[1], kept), names)))
end
