-- Views and copies of another shape.
local core, kit = ...
local fail = core.fail
local array, methods, is, need_array, lengths, set_length = kit.array, kit.methods, kit.is, kit.need_array, kit.lengths, kit.set_length
local check_alive, share, parse_axis = kit.check_alive, kit.share, kit.parse_axis
local max, concat = math.max, table.concat
local tonumber, type, tostring = tonumber, type, tostring

local function is_contiguous(a)
  local stride = 1
  for i = a._ndim - 1, 0, -1 do
    if a._shape[i] ~= 1 and a._strides[i] ~= stride then
      return false
    end
    stride = stride * a._shape[i]
  end
  return true
end

--- a:reshape(2, 3) or a:reshape({2, 3}): the same elements in another shape; one length may be -1. A view if a's
--- elements are adjacent, else a copy.
function methods.reshape(a, ...)
  a = need_array("reshape", a)
  check_alive(a)
  local shape = type((...)) == "table" and (...) or { ... }
  local known, open = 1, nil
  for i = 1, #shape do
    if shape[i] == -1 then
      if open then
        fail("reshape: only one length can be -1")
      end
      open = i
      lengths[math.min(i, 8) - 1] = 1
    else
      set_length("reshape", i, shape[i])
      known = known * shape[i]
    end
  end
  local size, rank = tonumber(a._size), #shape
  if rank > 8 then
    fail("reshape: an array has at most 8 dimensions")
  end
  if open and known > 0 and size % known == 0 then
    lengths[open - 1] = size / known
    known = size
  end
  if known ~= size or (open and known == 0) then
    local parts = {}
    for i = 1, rank do
      parts[i] = tostring(shape[i])
    end
    fail("reshape: %d elements cannot take the shape (%s)", size, concat(parts, ", "))
  end
  local kept = {}
  for i = 1, rank do
    kept[i] = tonumber(lengths[i - 1])
  end
  local v = is_contiguous(a) and share(a) or methods.copy(a)
  v._ndim = rank
  local stride = 1
  for i = rank, 1, -1 do
    v._shape[i - 1] = kept[i]
    v._strides[i - 1] = stride
    stride = stride * max(kept[i], 1)
  end
  return v
end

--- a:transpose([axes]): a view with the axes reversed, or in the order given: a:transpose(2, 3, 1). a.T is short for
--- a:transpose().
function methods.transpose(a, ...)
  a = need_array("transpose", a)
  check_alive(a)
  local axes = type((...)) == "table" and (...) or { ... }
  local ndim = a._ndim
  if #axes == 0 then
    axes = {}
    for i = 1, ndim do
      axes[i] = ndim + 1 - i
    end
  elseif #axes ~= ndim then
    fail("transpose: %d axes given for an array of %d dimensions", #axes, ndim)
  end
  local v, seen = share(a), {}
  for i = 1, ndim do
    local axis = parse_axis("transpose", a, axes[i])
    if seen[axis] then
      fail("transpose: axis %d is given twice", axis)
    end
    seen[axis] = true
    v._shape[i - 1] = a._shape[axis - 1]
    v._strides[i - 1] = a._strides[axis - 1]
  end
  return v
end
