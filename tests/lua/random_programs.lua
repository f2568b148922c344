-- Random programs of array operations against a naive reference: views with steps and negative steps, in-place
-- operations on overlapping memory, broadcasting, every dtype but complex. A program is a seed; a failure prints the
-- seed and the program.
--
--     perigee run --trusted tests/lua/random_programs.lua     PERIGEE_PROGRAMS=n: n programs instead of 4000;
--                                                             PERIGEE_SEED=s: only the program s, printed
local ffi = require "ffi"
local pg = require "perigee"
local array = pg.array

local programs = tonumber(os.getenv("PERIGEE_PROGRAMS") or 4000)
local only = tonumber(os.getenv("PERIGEE_SEED"))

-- --------------------------------------------------------------------------------------------------------- random ----
local state
local function random(low, high) -- an integer; a plain generator, so that nothing tested here chooses the tests
  state = bit.bxor(state, bit.lshift(state, 13))
  state = bit.bxor(state, bit.rshift(state, 17))
  state = bit.bxor(state, bit.lshift(state, 5))
  return low + (state % 2 ^ 32) % (high - low + 1)
end

local function pick(list)
  return list[random(1, #list)]
end

-- --------------------------------------------------------------------------------------------------------- dtypes ----
local ctypes = { int8 = "int8_t", int16 = "int16_t", int32 = "int32_t", int64 = "int64_t", uint8 = "uint8_t",
  uint16 = "uint16_t", uint32 = "uint32_t", uint64 = "uint64_t", float32 = "float", float64 = "double", bool = "uint8_t" }
local dtypes, kind, size, ctype, pointer = {}, {}, {}, {}, {}
for _, name in ipairs { "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
  "float64" } do
  if pcall(array.zeros, 1, name) and pcall(function() return array.ones(2, name) + array.ones(2, name) end) then
    dtypes[#dtypes + 1] = name
  end
  kind[name] = name:match("^%a+")
  size[name] = ffi.sizeof(ctypes[name])
  ctype[name] = ffi.typeof(ctypes[name])
  pointer[name] = ffi.typeof(ctypes[name] .. " *")
end
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")
local signed = { [1] = "int8", [2] = "int16", [4] = "int32", [8] = "int64" }
local float_cell = ffi.new("float[1]")

local function promote(p, q)
  if p == q or q == "bool" then
    return p
  elseif p == "bool" then
    return q
  elseif kind[p] == kind[q] then
    return size[p] >= size[q] and p or q
  elseif kind[p] == "float" or kind[q] == "float" then
    if kind[q] == "float" then
      p, q = q, p
    end
    return p == "float32" and size[q] <= 2 and "float32" or "float64"
  end
  if kind[p] == "uint" then
    p, q = q, p
  end
  return size[p] > size[q] and p or signed[2 * size[q]] or "float64"
end

-- Elements of the reference: Lua numbers for floats, booleans for bool, and for integers int64_t or (uint64) uint64_t.
local function convert(x, from, to)
  if from == to then
    return x
  elseif to == "bool" then
    return x ~= 0
  end
  if from == "bool" then
    x = x and 1 or 0
  end
  if kind[to] == "float" then
    x = tonumber(x)
    if to == "float32" then
      float_cell[0] = x
      x = tonumber(float_cell[0])
    end
    return x
  elseif to == "uint64" then
    return type(x) == "number" and (x < 0 and uint64_t(int64_t(x)) or uint64_t(x)) or ffi.cast(uint64_t, x)
  end
  return int64_t(ffi.cast(ctype[to], type(x) == "number" and int64_t(x) or x))
end

local function wrap(x, dtype) -- the result of integer arithmetic
  if dtype == "uint64" then
    return ffi.cast(uint64_t, x)
  end
  return int64_t(ffi.cast(ctype[dtype], x))
end

local function single(x, dtype)
  if dtype == "float32" then
    float_cell[0] = x
    return tonumber(float_cell[0])
  end
  return x
end

-- ------------------------------------------------------------------------------------------------------ reference ----
-- {dtype, shape, strides, offset, buffer}: buffer is a table from 0.
local function count(shape)
  local n = 1
  for _, k in ipairs(shape) do
    n = n * k
  end
  return n
end

local function new_model(dtype, shape, values)
  local strides, stride = {}, 1
  for i = #shape, 1, -1 do
    strides[i] = stride
    stride = stride * math.max(shape[i], 1)
  end
  local buffer = {}
  for i = 1, #values do
    buffer[i - 1] = values[i]
  end
  return { dtype = dtype, shape = shape, strides = strides, offset = 0, buffer = buffer }
end

-- Positions in the buffer, in row-major order.
local function positions(m)
  local list = { m.offset }
  for axis = 1, #m.shape do
    local following, n = {}, 0
    for i = 1, #list do
      for k = 0, m.shape[axis] - 1 do
        n = n + 1
        following[n] = list[i] + k * m.strides[axis]
      end
    end
    list = following
  end
  return list
end

local function elements(m)
  local list = positions(m)
  for i = 1, #list do
    list[i] = m.buffer[list[i]]
  end
  return list
end

local function broadcast_shape(p, q)
  local shape, n = {}, math.max(#p, #q)
  for i = 1, n do
    local a, b = p[#p - n + i] or 1, q[#q - n + i] or 1
    if a ~= b and a ~= 1 and b ~= 1 then
      return nil
    end
    shape[i] = a == 1 and b or a
  end
  return shape
end

local function broadcast(m, shape)
  local strides, extra = {}, #shape - #m.shape
  for i = 1, #shape do
    local k = i - extra
    strides[i] = k >= 1 and m.shape[k] ~= 1 and m.strides[k] or 0
  end
  return { dtype = m.dtype, shape = shape, strides = strides, offset = m.offset, buffer = m.buffer }
end

local arithmetic = {
  add = function(x, y) return x + y end,
  subtract = function(x, y) return x - y end,
  multiply = function(x, y) return x * y end,
  minimum = function(x, y) if x ~= x or y ~= y then return 0 / 0 end return x < y and x or y end,
  maximum = function(x, y) if x ~= x or y ~= y then return 0 / 0 end return x > y and x or y end,
}
local comparison = {
  eq = function(x, y) return x == y end, ne = function(x, y) return x ~= y end, lt = function(x, y) return x < y end,
  le = function(x, y) return x <= y end, gt = function(x, y) return x > y end, ge = function(x, y) return x >= y end,
}

-- One element of a binary operation whose operands have the common dtype.
local function apply(name, x, y, dtype)
  if dtype == "bool" then
    if name == "add" or name == "maximum" then
      return x or y
    end
    return x and y
  end
  local z = arithmetic[name](x, y)
  if kind[dtype] == "float" then
    return single(z, dtype)
  end
  return wrap(z, dtype)
end

-- int64 against uint64 compares exactly.
local function compare_elements(name, x, p, y, q)
  if p == "bool" then x, p = convert(x, "bool", "int8"), "int8" end
  if q == "bool" then y, q = convert(y, "bool", "int8"), "int8" end
  if p == "uint64" and q ~= "uint64" and kind[q] == "int" then
    if y < 0 then
      return comparison[name](1, 0)
    end
    y = ffi.cast(uint64_t, y)
  elseif q == "uint64" and p ~= "uint64" and kind[p] == "int" then
    if x < 0 then
      return comparison[name](0, 1)
    end
    x = ffi.cast(uint64_t, x)
  elseif kind[p] == "float" or kind[q] == "float" then
    local common = promote(p, q)
    x, y = convert(x, p, common), convert(y, q, common)
  end
  return comparison[name](x, y)
end

-- --------------------------------------------------------------------------------------------------------- checks ----
local text = {} -- the program so far

local function write(line, ...)
  text[#text + 1] = line:format(...)
end

local function shape_text(shape)
  return "(" .. table.concat(shape, ", ") .. ")"
end

local function show(x)
  return type(x) == "number" and ("%.17g"):format(x) or tostring(x)
end

local current
local function wrong(what, ...)
  print(("program %d: " .. what):format(current, ...))
  print(table.concat(text, "\n"))
  os.exit(1)
end

local function same(x, y, tolerance, scale)
  if x == y or x ~= x and y ~= y then
    return true
  end
  return tolerance and type(x) == "number" and type(y) == "number" and math.abs(x - y) <= tolerance * scale
end

-- scales: with a tolerance, what each element's error is relative to (the sum of the magnitudes that were added).
local function check(name, a, m, tolerance, scales)
  if not array.is(a) then
    wrong("%s is %s, not an array", name, tostring(a))
  elseif a.dtype ~= m.dtype then
    wrong("%s has dtype %s, the reference %s", name, a.dtype, m.dtype)
  elseif shape_text(a.shape) ~= shape_text(m.shape) then
    wrong("%s has shape %s, the reference %s", name, shape_text(a.shape), shape_text(m.shape))
  end
  local want, got = elements(m), nil
  local dtype = m.dtype
  local c = a:copy()
  local data = ffi.cast(pointer[dtype], c._data)
  for i = 1, #want do
    got = data[i - 1]
    if dtype == "bool" then
      got = got ~= 0
    elseif kind[dtype] == "float" then
      got = tonumber(got)
    end
    if not same(got, want[i], tolerance, scales and scales[i]) then
      wrong("element %d of %s is %s, in the reference %s", i, name, show(got), show(want[i]))
    end
  end
end

-- ------------------------------------------------------------------------------------------------------- programs ----
local vars -- {name, a (Perigee's), m (the reference's)}

local function add_var(a, m, tolerance, scales)
  local var = { name = "x" .. #vars + 1, a = a, m = m }
  vars[#vars + 1] = var
  check(var.name, a, m, tolerance, scales)
  if tolerance then -- what was rounded differently must not be compared exactly later
    local list, data = positions(m), ffi.cast(pointer[m.dtype], a:copy()._data)
    for i = 1, #list do
      m.buffer[list[i]] = tonumber(data[i - 1])
    end
  end
  return var
end

local function random_shape()
  local shape = {}
  for i = 1, random(1, 3) do
    shape[i] = random(0, 12) == 0 and 0 or random(1, 5)
  end
  return shape
end

-- An element as the reference holds it.
local function random_value(dtype)
  if dtype == "bool" then
    return random(0, 1) == 1
  elseif kind[dtype] == "float" then
    local special = random(0, 19)
    return special == 0 and 0 / 0 or special == 1 and math.huge or special == 2 and -math.huge or random(-40, 40) / 4
  end
  local edge = random(0, 9)
  if edge == 0 then
    return wrap(2LL ^ 0 * 0 - 1 - random(0, 3), dtype) -- all bits set: -1, or the largest unsigned
  elseif edge == 1 then
    return wrap(bit.lshift(1LL, 8 * size[dtype] - 1) + random(-1, 1), dtype) -- around the smallest signed
  end
  return wrap(int64_t(random(kind[dtype] == "uint" and 0 or -20, 20)), dtype)
end

local function create(dtype, shape)
  local values = {}
  for i = 1, count(shape) do
    values[i] = random_value(dtype)
  end
  local a = array.zeros(shape, dtype)
  local data = ffi.cast(pointer[dtype], a._data)
  for i, x in ipairs(values) do
    data[i - 1] = dtype == "bool" and (x and 1 or 0) or x
  end
  return a, new_model(dtype, shape, values)
end

local function random_range(n)
  if n == 0 or random(1, 4) == 1 then
    return {}, 0, n, 1, "{}"
  end
  local step = pick { 1, 1, 2, 3, -1, -1, -2 }
  local first, last = random(1, n), random(1, n)
  if step > 0 and first > last or step < 0 and first < last then
    first, last = last, first
  end
  local length = math.floor((last - first) / step) + 1
  local f = random(0, 1) == 1 and first - n - 1 or first -- from the end
  return { f, last, step }, first - 1, length, step, ("{%d, %d, %d}"):format(f, last, step)
end

-- A view of a variable: Perigee's spec, its text and the reference's view.
local function random_view(var)
  local m, spec, words = var.m, {}, {}
  local v = { dtype = m.dtype, shape = {}, strides = {}, offset = m.offset, buffer = m.buffer }
  for axis = 1, #m.shape do
    local n = m.shape[axis]
    if n > 0 and random(1, 6) == 1 then
      local i = random(1, n)
      spec[axis], words[axis] = i, tostring(i)
      v.offset = v.offset + (i - 1) * m.strides[axis]
    else
      local entry, start, length, step, word = random_range(n)
      spec[axis], words[axis] = entry, word
      v.offset = v.offset + start * m.strides[axis]
      v.shape[#v.shape + 1] = length
      v.strides[#v.strides + 1] = m.strides[axis] * step
    end
  end
  if #v.shape == 0 then
    return nil
  end
  return spec, "{" .. table.concat(words, ", ") .. "}", v
end

-- Writes values (a list in row-major order) into a view of the reference.
local function put(m, values)
  local list = positions(m)
  for i = 1, #list do
    m.buffer[list[i]] = values[i]
  end
end

local function binary_values(name, x, y, dtype, shape)
  local p, q, list = elements(broadcast(x, shape)), elements(broadcast(y, shape)), {}
  for i = 1, #p do
    list[i] = apply(name, convert(p[i], x.dtype, dtype), convert(q[i], y.dtype, dtype), dtype)
  end
  return list
end

local steps = {}

function steps.create()
  local dtype, shape = pick(dtypes), random_shape()
  local a, m = create(dtype, shape)
  local var = add_var(a, m)
  write("%s = %s of shape %s", var.name, dtype, shape_text(shape))
end

function steps.slice()
  local var = pick(vars)
  local spec, words, v = random_view(var)
  if spec then
    write("x%d = %s[%s]", #vars + 1, var.name, words)
    add_var(var.a[spec], v)
  end
end

function steps.transpose()
  local var = pick(vars)
  local m, axes, left = var.m, {}, {}
  for i = 1, #m.shape do
    left[i] = i
  end
  local v = { dtype = m.dtype, shape = {}, strides = {}, offset = m.offset, buffer = m.buffer }
  for i = 1, #m.shape do
    axes[i] = table.remove(left, random(1, #left))
    v.shape[i], v.strides[i] = m.shape[axes[i]], m.strides[axes[i]]
  end
  write("x%d = %s:transpose(%s)", #vars + 1, var.name, table.concat(axes, ", "))
  add_var(var.a:transpose(axes), v)
end

function steps.reshape()
  local var = pick(vars)
  local n = count(var.m.shape)
  if n == 0 then
    return
  end
  local shape, rest = {}, n
  for d = 2, 5 do
    if rest % d == 0 and random(0, 1) == 1 then
      shape[#shape + 1] = d
      rest = rest / d
    end
  end
  table.insert(shape, random(1, #shape + 1), rest)
  write("x%d = %s:reshape(%s):copy()", #vars + 1, var.name, table.concat(shape, ", "))
  add_var(var.a:reshape(shape):copy(), new_model(var.m.dtype, shape, elements(var.m)))
end

function steps.binary()
  local x, y = pick(vars), pick(vars)
  local shape = broadcast_shape(x.m.shape, y.m.shape)
  local name = pick { "add", "subtract", "multiply", "minimum", "maximum" }
  local dtype = promote(x.m.dtype, y.m.dtype)
  if not shape or dtype == "bool" and name == "subtract" then
    return
  end
  write("x%d = array.%s(%s, %s)", #vars + 1, name, x.name, y.name)
  add_var(array[name](x.a, y.a), new_model(dtype, shape, binary_values(name, x.m, y.m, dtype, shape)))
end

function steps.compare()
  local x, y = pick(vars), pick(vars)
  local shape = broadcast_shape(x.m.shape, y.m.shape)
  if not shape then
    return
  end
  local name = pick { "eq", "ne", "lt", "le", "gt", "ge" }
  local p, q, list = elements(broadcast(x.m, shape)), elements(broadcast(y.m, shape)), {}
  for i = 1, #p do
    list[i] = compare_elements(name, p[i], x.m.dtype, q[i], y.m.dtype)
  end
  write("x%d = array.%s(%s, %s)", #vars + 1, name, x.name, y.name)
  add_var(array[name](x.a, y.a), new_model("bool", shape, list))
end

function steps.scalar()
  local x = pick(vars)
  local dtype = x.m.dtype
  local name, number = pick { "add", "subtract", "multiply", "minimum", "maximum" }, random(0, 9)
  if dtype == "bool" then
    return
  end
  local p, list = elements(x.m), {}
  local y = convert(int64_t(number), "int64", dtype)
  for i = 1, #p do
    list[i] = apply(name, p[i], y, dtype)
  end
  write("x%d = array.%s(%s, %d)", #vars + 1, name, x.name, number)
  add_var(array[name](x.a, number), new_model(dtype, x.m.shape, list))
end

-- In place into a view, from an operand that may lie in the same memory.
function steps.in_place()
  local x, y = pick(vars), pick(vars)
  local spec, words, v = random_view(x)
  if not spec then
    return
  end
  local target = x.a[spec]
  local source, source_words = y.m, y.name
  local operand = y.a
  if random(0, 1) == 1 then
    local other, other_words, w = random_view(y)
    if other then
      source, source_words, operand = w, y.name .. "[" .. other_words .. "]", y.a[other]
    end
  end
  local shape = broadcast_shape(v.shape, source.shape)
  local name = pick { "add", "subtract", "multiply", "minimum", "maximum" }
  if not shape or shape_text(shape) ~= shape_text(v.shape) or promote(v.dtype, source.dtype) ~= v.dtype or
    v.dtype == "bool" and name == "subtract" then
    return
  end
  write("%s[%s]:%s_(%s)", x.name, words, name, source_words)
  put(v, binary_values(name, v, source, v.dtype, shape))
  target[name .. "_"](target, operand)
  check(x.name, x.a, x.m)
end

function steps.assign()
  local x, y = pick(vars), pick(vars)
  local spec, words, v = random_view(x)
  if not spec then
    return
  end
  if random(0, 2) == 0 then
    local value = v.dtype == "bool" and true or random(0, 9)
    local list = {}
    for i = 1, count(v.shape) do
      list[i] = v.dtype == "bool" or convert(int64_t(value), "int64", v.dtype)
    end
    write("%s[%s] = %s", x.name, words, tostring(value))
    put(v, list)
    x.a[spec] = value
  else
    local source, source_words, operand = y.m, y.name, y.a
    local other, other_words, w = random_view(y)
    if other then
      source, source_words, operand = w, y.name .. "[" .. other_words .. "]", y.a[other]
    end
    local shape = broadcast_shape(v.shape, source.shape)
    if not shape or shape_text(shape) ~= shape_text(v.shape) or promote(v.dtype, source.dtype) ~= v.dtype then
      return
    end
    local list = elements(broadcast(source, shape))
    for i = 1, #list do
      list[i] = convert(list[i], source.dtype, v.dtype)
    end
    write("%s[%s] = %s", x.name, words, source_words)
    put(v, list)
    x.a[spec] = operand
  end
  check(x.name, x.a, x.m)
end

function steps.element()
  local x = pick(vars)
  if count(x.m.shape) == 0 then
    return
  end
  local index, at, row = {}, x.m.offset, x.a
  for axis, n in ipairs(x.m.shape) do
    local i = random(1, n)
    at = at + (i - 1) * x.m.strides[axis]
    index[axis] = random(0, 1) == 1 and i or i - n - 1
  end
  local value = random(0, 9)
  if x.m.dtype == "bool" then
    value = value > 4
  end
  write("%s[%s] = %s", x.name, table.concat(index, "]["), tostring(value))
  for axis = 1, #index - 1 do
    row = row[index[axis]]
  end
  row[index[#index]] = value
  if x.m.dtype ~= "bool" then
    value = convert(int64_t(value), "int64", x.m.dtype)
  end
  x.m.buffer[at] = value
  check(x.name, x.a, x.m)
  local got = row[index[#index]]
  if got ~= (type(value) == "cdata" and tonumber(value) or value) then
    wrong("the element is %s", tostring(got))
  end
end

function steps.unary()
  local x = pick(vars)
  local dtype = x.m.dtype
  local name = pick { "negative", "abs", "square" }
  if dtype == "bool" then
    return
  end
  local list = elements(x.m)
  for i, e in ipairs(list) do
    if name == "negative" then
      e = -e
    elseif name == "square" then
      e = e * e
    elseif kind[dtype] ~= "uint" and e < 0 then
      e = -e
    end
    list[i] = kind[dtype] == "float" and single(e, dtype) or kind[dtype] ~= "float" and wrap(e, dtype)
  end
  write("x%d = array.%s(%s)", #vars + 1, name, x.name)
  add_var(array[name](x.a), new_model(dtype, x.m.shape, list))
end

function steps.astype()
  local x, dtype = pick(vars), pick(dtypes)
  if promote(x.m.dtype, dtype) ~= dtype then
    return
  end
  local list = elements(x.m)
  for i = 1, #list do
    list[i] = convert(list[i], x.m.dtype, dtype)
  end
  write('x%d = %s:astype("%s")', #vars + 1, x.name, dtype)
  add_var(x.a:astype(dtype), new_model(dtype, x.m.shape, list))
end

-- A view of a random variable, or the variable itself: Perigee's, the reference's, and its text.
local function random_operand()
  local x = pick(vars)
  if random(0, 1) == 1 then
    local spec, words, v = random_view(x)
    if spec then
      return x.a[spec], v, x.name .. "[" .. words .. "]", x
    end
  end
  return x.a, x.m, x.name, x
end

-- What a reduction of some axes sees: the axes that stay (a view), and the offsets of those that go, in row-major order.
local function split_axes(m, gone)
  local kept = { dtype = m.dtype, shape = {}, strides = {}, offset = m.offset, buffer = m.buffer }
  local inner = { dtype = m.dtype, shape = {}, strides = {}, offset = 0 }
  for i = 1, #m.shape do
    local part = gone[i] and inner or kept
    part.shape[#part.shape + 1], part.strides[#part.strides + 1] = m.shape[i], m.strides[i]
  end
  return kept, positions(inner)
end

local function truth(e)
  return e == true or e ~= false and e ~= 0
end

-- Each takes a list of elements and their dtype, and gives a result, its dtype, and for rounded ones the scale of errors.
local reductions = {}

function reductions.sum(list, dtype)
  local result = kind[dtype] == "float" and dtype or kind[dtype] == "uint" and "uint64" or "int64"
  local total, scale = convert(0LL, "int64", result), 0
  for _, e in ipairs(list) do
    e = convert(e, dtype, result)
    total, scale = total + e, scale + math.abs(tonumber(e))
  end
  return total, result, scale
end

function reductions.prod(list, dtype)
  local result = kind[dtype] == "float" and dtype or kind[dtype] == "uint" and "uint64" or "int64"
  local total, scale = convert(1LL, "int64", result), 1
  for _, e in ipairs(list) do
    total = total * convert(e, dtype, result)
    scale = math.max(scale, math.abs(tonumber(total)))
    if kind[result] == "float" and total ~= 0 and math.abs(total) < 1e-30 then
      scale = math.huge
    end
  end
  return total, result, scale
end

function reductions.mean(list, dtype)
  local total, _, scale = reductions.sum(list, kind[dtype] == "float" and dtype or dtype)
  if kind[dtype] ~= "float" then
    total = 0
    for _, e in ipairs(list) do
      total = total + convert(e, dtype, "float64")
    end
  end
  return total / #list, dtype == "float32" and dtype or "float64", scale / math.max(#list, 1)
end

local function extreme(list, before)
  local best
  for _, e in ipairs(list) do
    if best == nil or e ~= e or before(e, best) then
      best = best ~= best and best or e
    end
  end
  return best
end

function reductions.min(list, dtype)
  if dtype == "bool" then
    return (reductions.all(list)), "bool"
  end
  return extreme(list, function(p, q) return p < q end), dtype
end

function reductions.max(list, dtype)
  if dtype == "bool" then
    return (reductions.any(list)), "bool"
  end
  return extreme(list, function(p, q) return p > q end), dtype
end

function reductions.any(list)
  for _, e in ipairs(list) do
    if truth(e) then
      return true, "bool"
    end
  end
  return false, "bool"
end

function reductions.all(list)
  for _, e in ipairs(list) do
    if not truth(e) then
      return false, "bool"
    end
  end
  return true, "bool"
end

function reductions.count_nonzero(list)
  local n = 0
  for _, e in ipairs(list) do
    n = n + (truth(e) and 1 or 0)
  end
  return int64_t(n), "int64"
end

local reduction_names = { "sum", "sum", "prod", "mean", "min", "max", "any", "all", "count_nonzero" }

function steps.reduce()
  local a, m, words = random_operand()
  local name, gone, axes = pick(reduction_names), {}, {}
  for i = 1, #m.shape do
    if random(0, 1) == 1 or i == #m.shape and #axes == 0 then
      gone[i] = true
      axes[#axes + 1] = random(0, 1) == 1 and i or i - #m.shape - 1
    end
  end
  local kept, offsets = split_axes(m, gone)
  if #offsets == 0 and name ~= "sum" and name ~= "prod" and name ~= "any" and name ~= "all" and name ~= "count_nonzero" then
    return
  end
  local keepdims = #kept.shape == 0 or random(0, 1) == 1
  local list, scales, dtype = positions(kept), {}, nil
  for i, at in ipairs(list) do
    local e = {}
    for k, offset in ipairs(offsets) do
      e[k] = m.buffer[at + offset]
    end
    local value, result, scale = reductions[name](e, m.dtype)
    if kind[result] == "float" and scale and not (scale < 1e30) then -- may overflow or not, depending on the order
      return
    end
    dtype, scales[i] = result, scale
    list[i] = kind[result] == "float" and single(value, result) or result == "bool" and value or
      kind[result] ~= "float" and result ~= "bool" and wrap(value, result)
  end
  if not dtype then
    return
  end
  local shape = kept.shape
  if keepdims then
    shape = { unpack(m.shape) }
    for i in pairs(gone) do
      shape[i] = 1
    end
  end
  write("x%d = %s:%s{axis = {%s}, keepdims = %s}", #vars + 1, words, name, table.concat(axes, ", "), tostring(keepdims))
  add_var(a[name](a, { axis = axes, keepdims = keepdims }), new_model(dtype, shape, list),
    kind[dtype] == "float" and scales[1] and (dtype == "float32" and 1e-5 or 1e-13) or nil, scales)
end

-- Positions of the smallest and largest, the first of equal ones, a NaN before all.
function steps.position()
  local a, m, words = random_operand()
  local axis, name = random(1, #m.shape), pick { "argmin", "argmax" }
  local kept, offsets = split_axes(m, { [axis] = true })
  if #offsets == 0 or #kept.shape == 0 then
    return
  end
  local list = positions(kept)
  for i, at in ipairs(list) do
    local best
    for k, offset in ipairs(offsets) do
      local e, f = m.buffer[at + offset], best and m.buffer[at + offsets[best]]
      if m.dtype == "bool" then
        e, f = e and 1 or 0, best and (f and 1 or 0)
      end
      if best == nil or f == f and (e ~= e or name == "argmin" and e < f or name == "argmax" and e > f) then
        best = k
      end
    end
    list[i] = int64_t(best)
  end
  write("x%d = %s:%s(%d)", #vars + 1, words, name, axis)
  add_var(a[name](a, axis), new_model("int64", kept.shape, list))
end

function steps.mask()
  local x, y = pick(vars), pick(vars)
  if y.m.dtype ~= "bool" or shape_text(x.m.shape) ~= shape_text(y.m.shape) then
    return
  end
  local chosen, e, keep = {}, elements(x.m), elements(y.m)
  for i = 1, #e do
    if keep[i] then
      chosen[#chosen + 1] = e[i]
    end
  end
  write("x%d = %s[%s]", #vars + 1, x.name, y.name)
  add_var(x.a[y.a], new_model(x.m.dtype, { #chosen }, chosen))
end

function steps.assign_mask()
  local x, y = pick(vars), pick(vars)
  if y.m.dtype ~= "bool" or x.m.dtype == "bool" or x.m.buffer == y.m.buffer or
    shape_text(x.m.shape) ~= shape_text(y.m.shape) then
    return
  end
  local e, keep = elements(x.m), elements(y.m)
  for i = 1, #e do
    if keep[i] then
      e[i] = convert(7LL, "int64", x.m.dtype)
    end
  end
  write("%s[%s] = 7", x.name, y.name)
  put(x.m, e)
  x.a[y.a] = 7
  check(x.name, x.a, x.m)
end

function steps.fancy()
  local x = pick(vars)
  local n = x.m.shape[1]
  if n == 0 or count(x.m.shape) == 0 then
    return
  end
  local rows, list = {}, {}
  for i = 1, random(1, 6) do
    rows[i] = random(1, n)
  end
  local inner = { dtype = x.m.dtype, shape = { unpack(x.m.shape, 2) }, strides = { unpack(x.m.strides, 2) },
    buffer = x.m.buffer }
  for _, row in ipairs(rows) do
    inner.offset = x.m.offset + (row - 1) * x.m.strides[1]
    for _, e in ipairs(elements(inner)) do
      list[#list + 1] = e
    end
  end
  write("x%d = %s[array.from{%s}]", #vars + 1, x.name, table.concat(rows, ", "))
  add_var(x.a[array.from(rows, "int64")], new_model(x.m.dtype, { #rows, unpack(x.m.shape, 2) }, list))
end

function steps.concatenate()
  local x, y = pick(vars), pick(vars)
  if #x.m.shape ~= #y.m.shape then
    return
  end
  for i = 2, #x.m.shape do
    if x.m.shape[i] ~= y.m.shape[i] then
      return
    end
  end
  local dtype, list = promote(x.m.dtype, y.m.dtype), {}
  for _, m in ipairs { x.m, y.m } do
    for _, e in ipairs(elements(m)) do
      list[#list + 1] = convert(e, m.dtype, dtype)
    end
  end
  write("x%d = array.concatenate{%s, %s}", #vars + 1, x.name, y.name)
  add_var(array.concatenate { x.a, y.a },
    new_model(dtype, { x.m.shape[1] + y.m.shape[1], unpack(x.m.shape, 2) }, list))
end

-- Writes the result of an operation into a view, which may overlap its operands.
function steps.out()
  local a, m, words = random_operand()
  local b, n, other_words = random_operand()
  local c, target, target_words, x = random_operand()
  local name = pick { "add", "subtract", "multiply", "minimum", "maximum" }
  local shape = broadcast_shape(m.shape, n.shape)
  local dtype = promote(m.dtype, n.dtype)
  if not shape or shape_text(shape) ~= shape_text(target.shape) or promote(dtype, target.dtype) ~= target.dtype or
    dtype == "bool" and name == "subtract" then
    return
  end
  local list = binary_values(name, m, n, dtype, shape)
  for i = 1, #list do
    list[i] = convert(list[i], dtype, target.dtype)
  end
  write("array.%s(%s, %s, {out = %s})", name, words, other_words, target_words)
  put(target, list)
  array[name](a, b, { out = c })
  check(x.name, x.a, x.m)
end

local function unary_value(name, e, dtype)
  if name == "negative" then
    e = -e
  elseif name == "square" then
    e = e * e
  elseif kind[dtype] ~= "uint" and e < 0 then
    e = -e
  end
  return kind[dtype] == "float" and single(e, dtype) or kind[dtype] ~= "float" and wrap(e, dtype)
end

-- A function in place, or from one part of an array into another.
function steps.unary_into()
  local a, m, words = random_operand()
  local c, target, target_words, x = random_operand()
  local name = pick { "negative", "abs", "square" }
  if random(0, 1) == 1 then
    if target.dtype == "bool" then
      return
    end
    local list = elements(target)
    for i, e in ipairs(list) do
      list[i] = unary_value(name, e, target.dtype)
    end
    write("%s:%s_()", target_words, name)
    put(target, list)
    c[name .. "_"](c)
  else
    if m.dtype == "bool" or shape_text(m.shape) ~= shape_text(target.shape) or promote(m.dtype, target.dtype) ~= target.dtype then
      return
    end
    local list = elements(m)
    for i, e in ipairs(list) do
      list[i] = convert(unary_value(name, e, m.dtype), m.dtype, target.dtype)
    end
    write("array.%s(%s, {out = %s})", name, words, target_words)
    put(target, list)
    array[name](a, { out = c })
  end
  check(x.name, x.a, x.m)
end

function steps.where()
  local a, m, words = random_operand()
  local b, n, other_words = random_operand()
  local mask, k, mask_words = random_operand()
  local shape = broadcast_shape(m.shape, n.shape)
  shape = shape and broadcast_shape(shape, k.shape)
  if not shape or #shape > 4 then
    return
  end
  local dtype = promote(m.dtype, n.dtype)
  local p, q, c = elements(broadcast(m, shape)), elements(broadcast(n, shape)), elements(broadcast(k, shape))
  for i = 1, #p do
    local chosen = c[i] == true or c[i] ~= false and c[i] ~= 0
    p[i] = chosen and convert(p[i], m.dtype, dtype)
    if not chosen then
      p[i] = convert(q[i], n.dtype, dtype)
    end
  end
  write("x%d = array.where(%s, %s, %s)", #vars + 1, mask_words, words, other_words)
  add_var(array.where(mask, a, b), new_model(dtype, shape, p))
end

function steps.clip()
  local a, m, words = random_operand()
  local low = random(0, 5)
  local high = low + random(0, 6)
  if m.dtype == "bool" then
    return
  end
  local list = elements(m)
  for i, e in ipairs(list) do
    list[i] = e < low and convert(int64_t(low), "int64", m.dtype) or e > high and convert(int64_t(high), "int64", m.dtype) or e
  end
  write("x%d = %s:clip(%d, %d)", #vars + 1, words, low, high)
  add_var(a:clip(low, high), new_model(m.dtype, m.shape, list))
end

-- Views of another shape: flip, swapaxes, expand_dims, broadcast_to, diagonal. Writes through them reach the array.
function steps.view()
  local x = pick(vars)
  local m = x.m
  local v = { dtype = m.dtype, shape = { unpack(m.shape) }, strides = { unpack(m.strides) }, offset = m.offset,
    buffer = m.buffer }
  local ndim, how, a, words = #m.shape, random(1, 5), nil, nil
  if how == 1 then
    local axis = random(1, ndim)
    v.offset = v.offset + (math.max(m.shape[axis], 1) - 1) * m.strides[axis]
    v.strides[axis] = -m.strides[axis]
    a, words = array.flip(x.a, axis), ("array.flip(%s, %d)"):format(x.name, axis)
  elseif how == 2 then
    local p, q = random(1, ndim), random(1, ndim)
    v.shape[p], v.shape[q], v.strides[p], v.strides[q] = v.shape[q], v.shape[p], v.strides[q], v.strides[p]
    a, words = x.a:swapaxes(p, q), ("%s:swapaxes(%d, %d)"):format(x.name, p, q)
  elseif how == 3 and ndim < 5 then
    local axis = random(1, ndim + 1)
    table.insert(v.shape, axis, 1)
    table.insert(v.strides, axis, 0)
    a, words = x.a:expand_dims(axis), ("%s:expand_dims(%d)"):format(x.name, axis)
  elseif how == 4 and ndim >= 2 then
    local offset = random(-1, 2)
    local rows, columns = m.shape[1], m.shape[2]
    local length = math.max(offset >= 0 and math.min(rows, columns - offset) or math.min(rows + offset, columns), 0)
    if length == 0 then
      return
    end
    v.offset = v.offset + (offset >= 0 and offset * m.strides[2] or -offset * m.strides[1])
    v.shape = { unpack(m.shape, 3) }
    v.strides = { unpack(m.strides, 3) }
    v.shape[#v.shape + 1], v.strides[#v.strides + 1] = length, m.strides[1] + m.strides[2]
    a, words = x.a:diagonal(offset), ("%s:diagonal(%d)"):format(x.name, offset)
  elseif how == 5 and ndim < 4 then
    local shape = { random(1, 3), unpack(m.shape) }
    a, words = array.broadcast_to(x.a, shape), ("array.broadcast_to(%s, {%s})"):format(x.name, table.concat(shape, ", "))
    write("x%d = %s:copy()", #vars + 1, words)
    add_var(a:copy(), new_model(m.dtype, shape, elements(broadcast(m, shape))))
    return
  else
    return
  end
  if a.readonly then -- such a view is for reading: go on with a copy
    write("x%d = %s:copy()", #vars + 1, words)
    add_var(a:copy(), new_model(v.dtype, v.shape, elements(v)))
  else
    write("x%d = %s", #vars + 1, words)
    add_var(a, v)
  end
end

-- Copies in another arrangement.
function steps.arrange()
  local a, m, words = random_operand()
  local ndim = #m.shape
  if count(m.shape) == 0 then
    return
  end
  local axis, n = random(1, ndim), nil
  n = m.shape[axis]
  local function taken(order) -- elements of m with these positions along the axis
    local shape, list = { unpack(m.shape) }, {}
    shape[axis] = #order
    local parts = {}
    for i = 1, #order do
      local part = { dtype = m.dtype, shape = { unpack(m.shape) }, strides = m.strides, buffer = m.buffer,
        offset = m.offset + (order[i] - 1) * m.strides[axis] }
      part.shape[axis] = 1
      parts[i] = elements(part)
    end
    local inner = 1
    for i = axis + 1, ndim do
      inner = inner * m.shape[i]
    end
    for outer = 0, #parts[1] / inner - 1 do
      for i = 1, #order do
        for k = 1, inner do
          list[#list + 1] = parts[i][outer * inner + k]
        end
      end
    end
    return new_model(m.dtype, shape, list)
  end
  local order, result, text_of_it = {}, nil, nil
  local how = random(1, 4)
  if how == 1 then
    local shift = random(-4, 4)
    for i = 1, n do
      order[i] = (i - 1 - shift) % n + 1
    end
    result, text_of_it = array.roll(a, shift, axis), ("array.roll(%s, %d, %d)"):format(words, shift, axis)
  elseif how == 2 then
    local times = random(1, 3)
    for i = 1, n * times do
      order[i] = math.floor((i - 1) / times) + 1
    end
    result, text_of_it = array["repeat"](a, times, axis), ("array['repeat'](%s, %d, %d)"):format(words, times, axis)
  elseif how == 3 then
    for i = 1, random(1, 5) do
      order[i] = random(1, n)
    end
    result = array.take(a, array.from(order, pick { "int64", "int32", "uint8" }), axis)
    text_of_it = ("array.take(%s, {%s}, %d)"):format(words, table.concat(order, ", "), axis)
  else
    local at = random(1, n)
    for i = 1, n do
      order[#order + 1] = i ~= at and i or nil
    end
    if #order == 0 then
      return
    end
    result, text_of_it = array.delete(a, at, axis), ("array.delete(%s, %d, %d)"):format(words, at, axis)
  end
  write("x%d = %s", #vars + 1, text_of_it)
  add_var(result, taken(order))
end

function steps.stack()
  local a, m, words = random_operand()
  local b, n, other_words = random_operand()
  if shape_text(m.shape) ~= shape_text(n.shape) or #m.shape > 4 then
    return
  end
  local dtype, list = promote(m.dtype, n.dtype), {}
  for _, part in ipairs { m, n } do
    for _, e in ipairs(elements(part)) do
      list[#list + 1] = convert(e, part.dtype, dtype)
    end
  end
  write("x%d = array.stack{%s, %s}", #vars + 1, words, other_words)
  add_var(array.stack { a, b }, new_model(dtype, { 2, unpack(m.shape) }, list))
end

-- Rows by an index array, of the same array perhaps: all are read before one is written; of equal ones the last stays.
function steps.assign_fancy()
  local a, m, words, x = random_operand()
  local n = m.shape[1]
  if count(m.shape) == 0 then
    return
  end
  local rows, columns = {}, { unpack(m.shape, 2) }
  local b, source, source_words = random_operand()
  local k = source.shape[1]
  if #source.shape ~= #m.shape or shape_text({ unpack(source.shape, 2) }) ~= shape_text(columns) or k == 0 or
    promote(m.dtype, source.dtype) ~= m.dtype then
    return
  end
  for i = 1, k do
    rows[i] = random(1, n)
  end
  local list = elements(source)
  local inner = count(columns)
  for i, row in ipairs(rows) do
    local part = { dtype = m.dtype, shape = columns, strides = { unpack(m.strides, 2) }, buffer = m.buffer,
      offset = m.offset + (row - 1) * m.strides[1] }
    local values = {}
    for j = 1, inner do
      values[j] = convert(list[(i - 1) * inner + j], source.dtype, m.dtype)
    end
    put(part, values)
  end
  write("%s[array.from{%s}] = %s", words, table.concat(rows, ", "), source_words)
  a[array.from(rows, "int64")] = b
  check(x.name, x.a, x.m)
end

function steps.diff()
  local a, m, words = random_operand()
  local axis = random(1, #m.shape)
  local n = m.shape[axis]
  local function part(first)
    local v = { dtype = m.dtype, shape = { unpack(m.shape) }, strides = m.strides, buffer = m.buffer,
      offset = m.offset + first * m.strides[axis] }
    v.shape[axis] = math.max(n - 1, 0)
    return v
  end
  local low, high, list = part(0), part(1), {}
  local p, q = elements(low), elements(high)
  for i = 1, #p do
    if m.dtype == "bool" then
      list[i] = p[i] ~= q[i]
    else
      list[i] = apply("subtract", q[i], p[i], m.dtype)
    end
  end
  write("x%d = array.diff(%s, {axis = %d})", #vars + 1, words, axis)
  add_var(array.diff(a, { axis = axis }), new_model(m.dtype, low.shape, list))
end

-- Distinct elements, and which each element is.
function steps.unique()
  local a, m, words = random_operand()
  if m.dtype == "bool" then
    return
  end
  local list, n = elements(m), 0
  for _, e in ipairs(list) do
    if e ~= e then
      return
    end
  end
  local sorted = { unpack(list) }
  table.sort(sorted, function(p, q) return p < q end)
  local values = {}
  for _, e in ipairs(sorted) do
    if n == 0 or values[n] ~= e then
      n = n + 1
      values[n] = e
    end
  end
  local inverse = {}
  for i, e in ipairs(list) do
    for k = 1, n do
      if values[k] == e then
        inverse[i] = int64_t(k)
      end
    end
  end
  write("x%d, x%d = array.unique(%s, {inverse = true})", #vars + 1, #vars + 2, words)
  local u, k = array.unique(a, { inverse = true })
  add_var(u, new_model(m.dtype, { n }, values))
  add_var(k, new_model("int64", m.shape, inverse))
end

function steps.isin()
  local a, m, words = random_operand()
  local b, n, other_words = random_operand()
  local list, values = elements(m), elements(n)
  for i, e in ipairs(list) do
    local found = false
    for _, f in ipairs(values) do
      found = found or compare_elements("eq", e, m.dtype, f, n.dtype)
    end
    list[i] = found
  end
  write("x%d = array.isin(%s, %s)", #vars + 1, words, other_words)
  add_var(array.isin(a, b), new_model("bool", m.shape, list))
end

-- The lines of m along an axis, sorted: calls each(line, start offset) with {value, position} entries in order.
local function sorted_lines(m, axis, descending, each)
  local kept, offsets = split_axes(m, { [axis] = true })
  for _, at in ipairs(positions(kept)) do
    local line = {}
    for k, offset in ipairs(offsets) do
      local e = m.buffer[at + offset]
      line[k] = { e, k, m.dtype == "bool" and (e and 1 or 0) or e }
    end
    table.sort(line, function(p, q)
      local x, y = p[3], q[3]
      if x ~= x or y ~= y then -- NaN last
        if x == x or y == y then
          return x == x
        end
      elseif x ~= y then
        if descending then
          return x > y
        end
        return x < y
      end
      return p[2] < q[2]
    end)
    each(line, at, offsets)
  end
end

function steps.sort()
  local a, m, words, x = random_operand()
  local axis, descending, how = random(1, #m.shape), random(0, 2) == 0, random(1, 3)
  local options = { axis = axis, descending = descending }
  local words_of_options = ("{axis = %d, descending = %s}"):format(axis, tostring(descending))
  if how == 1 then -- in place
    write("%s:sort_(%s)", words, words_of_options)
    sorted_lines(m, axis, descending, function(line, at, offsets)
      for k, offset in ipairs(offsets) do
        m.buffer[at + offset] = line[k][1]
      end
    end)
    a:sort_(options)
    check(x.name, x.a, x.m)
    return
  end
  local copy = new_model(m.dtype, m.shape, elements(m))
  local positions_wanted = how == 3
  sorted_lines(copy, axis, descending, function(line, at, offsets)
    for k, offset in ipairs(offsets) do
      copy.buffer[at + offset] = positions_wanted and int64_t(line[k][2]) or line[k][1]
    end
  end)
  copy.dtype = positions_wanted and "int64" or copy.dtype
  local name = positions_wanted and "argsort" or "sort"
  write("x%d = array.%s(%s, %s)", #vars + 1, name, words, words_of_options)
  add_var(array[name](a, options), copy)
end

function steps.cumsum()
  local a, m, words = random_operand()
  if kind[m.dtype] == "float" then
    return
  end
  local axis = random(1, #m.shape)
  local result = kind[m.dtype] == "uint" and "uint64" or "int64"
  local copy = new_model(result, m.shape, elements(m))
  local kept, offsets = split_axes(copy, { [axis] = true })
  for _, at in ipairs(positions(kept)) do
    local total = convert(0LL, "int64", result)
    for _, offset in ipairs(offsets) do
      total = wrap(total + convert(copy.buffer[at + offset], m.dtype, result), result)
      copy.buffer[at + offset] = total
    end
  end
  write("x%d = %s:cumsum(%d)", #vars + 1, words, axis)
  add_var(a:cumsum(axis), copy)
end

local names = {}
for name in pairs(steps) do
  names[#names + 1] = name
end
table.sort(names)
-- Views and writes through them are what goes wrong: more of them.
for _, name in ipairs { "create", "slice", "slice", "in_place", "in_place", "in_place", "assign", "assign", "transpose",
  "binary" } do
  names[#names + 1] = name
end

local function run(seed)
  current, text, vars = seed, {}, {}
  state = bit.tobit(seed * 2654435 + 88172645)
  if state == 0 then
    state = 1
  end
  for _ = 1, 8 do
    random(0, 1)
  end
  steps.create()
  steps.create()
  for _ = 1, random(5, 18) do
    local name = pick(names)
    local ok, message = pcall(steps[name])
    if not ok then
      wrong("%s failed: %s", name, tostring(message))
    end
  end
  for _, var in ipairs(vars) do
    check(var.name, var.a, var.m)
  end
  if only then
    print(table.concat(text, "\n"))
  end
end

local done = 0
for seed = only or 1, only or programs do
  run(seed)
  done = done + #text
end
print(("%d programs, %d operations on %d dtypes agree with the reference"):format(only and 1 or programs, done, #dtypes))
