-- Statistics: counting, searching, differences, convolution. The work on many elements is C++ (array_statistics_abi.h) or
-- the operations of the other parts.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local array, methods, array_t, call, as_array = kit.array, kit.methods, kit.array_t, kit.call, kit.as_array
local need_array, kind_of, check_options, check_alive = kit.need_array, kit.kind_of, kit.check_options, kit.check_alive
local parse_axis, is_integer, view, kinds, scalar = kit.parse_axis, kit.is_integer, kit.view, kit.kinds, kit.scalar
local lengths, create, write, set_length = kit.lengths, kit.create, kit.write, kit.set_length
local lowest, highest, dtype_names = kit.lowest, kit.highest, kit.dtype_names
local type, tonumber, pairs, select, ipairs, format, huge = type, tonumber, pairs, select, ipairs, string.format, math.huge
local BOOL, INT64, FLOAT32, FLOAT64 = kit.dtypes.bool, kit.dtypes.int64, kit.dtypes.float32, kit.dtypes.float64
local COMPLEX128 = kit.dtypes.complex128

-- Options as a table; `first` may stand in their place for one of them.
local function parse_options(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table, got %s", name, kind_of(options))
  end
  check_options(name, options, known)
  return options
end

local function need_boolean(name, what, x)
  if x ~= nil and type(x) ~= "boolean" then
    fail("%s: %s is true or false, got %s", name, what, kind_of(x))
  end
  return x
end

-- An array, or a table of numbers as one.
local function values(name, what, x)
  return as_array(x) or type(x) == "table" and array.from(x) or
    fail("%s: %s is an array or a table of numbers, got %s", name, what, kind_of(x))
end

-- a as it is if it has this dtype, else a copy that has.
local function as_dtype(a, dtype)
  return a._dtype == dtype and a or call(C.pg_array_astype, nil, a, dtype)
end

-- float32 and complex numbers keep their dtype, all others become float64.
local function as_floats(a)
  local kind = kinds[a._dtype]
  return (kind == "f" or kind == "c") and a or as_dtype(a, FLOAT64)
end

-- A view of positions first to last (0: none) along an axis.
local function along(a, axis, first, last, step)
  local spec = {}
  for i = 1, a._ndim do
    spec[i] = {}
  end
  spec[axis] = { first, last, step }
  return view(a, spec)
end

local function length(a, axis)
  return tonumber(a._shape[axis - 1])
end

-- ----------------------------------------------------------------------------------------------------- differences ----
local diff_options = { n = true, axis = true, prepend = true, append = true }

-- A number, or an array, as what stands beside a along an axis.
local function beside(name, what, a, axis, x)
  local piece = as_array(x)
  if piece then
    return piece
  elseif type(x) ~= "number" then
    fail("%s: %s is a number or an array, got %s", name, what, kind_of(x))
  end
  for i = 0, a._ndim - 1 do
    lengths[i] = i == axis - 1 and 1 or a._shape[i]
  end
  piece = create(a._ndim, a._dtype, 0)
  write(piece, x)
  return piece
end

-- Arrays one after the other along an axis.
local function join(name, pieces, axis)
  local dtype, total, first = pieces[1]._dtype, 0, pieces[1]
  for _, piece in ipairs(pieces) do
    if piece._ndim ~= first._ndim then
      fail("%s: arrays of %d and %d dimensions cannot be joined", name, first._ndim, piece._ndim)
    end
    dtype = C.pg_array_promote(dtype, piece._dtype)
    total = total + length(piece, axis)
  end
  for i = 0, first._ndim - 1 do
    lengths[i] = i == axis - 1 and total or first._shape[i]
  end
  local whole, at = create(first._ndim, dtype, 0), 0
  for _, piece in ipairs(pieces) do
    local n = length(piece, axis)
    write(along(whole, axis, at + 1, at + n), piece)
    at = at + n
  end
  return whole
end

--- array.diff(a [, n [, {axis = -1, prepend, append}]]): differences of neighbours, n times (1 unless told otherwise).
--- Of bool arrays: whether neighbours differ. Integers wrap.
function array.diff(a, n, options)
  a = need_array("diff", a)
  check_alive(a)
  if type(n) == "table" then
    n, options = nil, n
  end
  options = parse_options("diff", options, diff_options)
  n = n == nil and options.n or n
  n = n == nil and 1 or n
  if not is_integer(n) or n < 0 then
    fail("diff: n must be an integer, 0 or more, got %s", kind_of(n))
  elseif a._ndim == 0 then
    fail("diff: an array of 0 dimensions has no neighbours")
  end
  local axis = parse_axis("diff", a, options.axis == nil and -1 or options.axis)
  local pieces = { a }
  if options.prepend ~= nil then
    table.insert(pieces, 1, beside("diff", "prepend", a, axis, options.prepend))
  end
  if options.append ~= nil then
    pieces[#pieces + 1] = beside("diff", "append", a, axis, options.append)
  end
  a = #pieces > 1 and join("diff", pieces, axis) or a
  local subtract = a._dtype == BOOL and array.ne or array.subtract
  for _ = 1, n do
    local count = length(a, axis)
    if count <= 1 then
      return array.zeros_like(along(a, axis, 1, 0))
    end
    a = subtract(along(a, axis, 2, count), along(a, axis, 1, count - 1))
  end
  return n == 0 and methods.copy(a) or a
end

-- The gradient along one axis: spacing is a number or an array of coordinates.
local function gradient_along(f, axis, spacing, edge_order)
  local n = length(f, axis)
  if n < edge_order + 1 then
    fail("gradient: axis %d has %d elements; at least %d are needed", axis, n, edge_order + 1)
  end
  local out = array.empty_like(f)
  local function part(first, last) return along(f, axis, first, last) end
  local dx -- distances between neighbours, shaped to go along the axis
  if type(spacing) ~= "number" then
    if spacing._ndim ~= 1 or length(spacing, 1) ~= n then
      fail("gradient: %s coordinates for the %d positions of axis %d", kit.shape_text(spacing._shape, spacing._ndim), n, axis)
    end
    local d = array.diff(as_floats(spacing))
    spacing = nil
    local uniform = array.all(array.eq(d, d[1]))
    if uniform then
      spacing = d[1]
    else
      local shape = {}
      for i = 1, f._ndim do
        shape[i] = i == axis and n - 1 or 1
      end
      dx = methods.reshape(d, shape)
    end
  end
  if n > 2 then
    local inner = along(out, axis, 2, n - 1)
    if spacing then
      array.subtract(part(3, n), part(1, n - 2), { out = inner })
      methods.divide_(inner, 2 * spacing)
    else
      local d1, d2 = along(dx, axis, 1, n - 2), along(dx, axis, 2, n - 1)
      array.multiply(part(1, n - 2), -d2 / (d1 * (d1 + d2)), { out = inner })
      methods.add_(inner, part(2, n - 1) * ((d2 - d1) / (d1 * d2)))
      methods.add_(inner, part(3, n) * (d1 / (d2 * (d1 + d2))))
    end
  end
  -- The ends: one-sided, through two points or three.
  local function distance(i) return spacing or along(dx, axis, i, i) end
  if edge_order == 1 then
    write(along(out, axis, 1, 1), (part(2, 2) - part(1, 1)) / distance(1))
    write(along(out, axis, n, n), (part(n, n) - part(n - 1, n - 1)) / distance(n - 1))
  else
    local d1, d2 = distance(1), distance(2)
    local a, b, c = -(d1 * 2 + d2) / (d1 * (d1 + d2)), (d1 + d2) / (d1 * d2), -d1 / (d2 * (d1 + d2))
    write(along(out, axis, 1, 1), part(1, 1) * a + part(2, 2) * b + part(3, 3) * c)
    d1, d2 = distance(n - 2), distance(n - 1)
    a, b, c = d2 / (d1 * (d1 + d2)), -(d2 + d1) / (d1 * d2), (d2 * 2 + d1) / (d2 * (d1 + d2))
    write(along(out, axis, n, n), part(n - 2, n - 2) * a + part(n - 1, n - 1) * b + part(n, n) * c)
  end
  return out
end

local gradient_options = { axis = true, edge_order = true }

--- array.gradient(f [, spacing ...] [, {axis, edge_order = 1}]): the slope at each element: central differences inside,
--- one-sided at the ends. Spacing is a number or an array of coordinates, one for all axes or one an axis. Returns an
--- array an axis, or that of the one axis asked for.
function array.gradient(f, ...)
  f = as_floats(need_array("gradient", f))
  check_alive(f)
  local spacings, options = {}, nil
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    if type(x) == "table" then
      if i < select("#", ...) then
        fail("gradient: the options come last; got a table as argument %d", i + 1)
      end
      options = x
    else
      spacings[#spacings + 1] = type(x) == "number" and x or as_array(x) or
        fail("gradient: a spacing is a number or an array of coordinates, got %s", kind_of(x))
    end
  end
  options = parse_options("gradient", options, gradient_options)
  local edge_order = options.edge_order == nil and 1 or options.edge_order
  if edge_order ~= 1 and edge_order ~= 2 then
    fail("gradient: edge_order is 1 or 2, got %s", kind_of(edge_order))
  end
  local axes = {}
  if type(options.axis) == "table" then
    for i, axis in ipairs(options.axis) do
      axes[i] = parse_axis("gradient", f, axis)
    end
  elseif options.axis ~= nil then
    axes[1] = parse_axis("gradient", f, options.axis)
  else
    for i = 1, f._ndim do
      axes[i] = i
    end
  end
  if #spacings > 1 and #spacings ~= #axes then
    fail("gradient: %d spacings for %d axes", #spacings, #axes)
  end
  local results = {}
  for i, axis in ipairs(axes) do
    results[i] = gradient_along(f, axis, spacings[i] or spacings[1] or 1, edge_order)
  end
  return unpack(results)
end

local trapz_options = { axis = true, dx = true }

--- array.trapz(y [, x] [, {dx = 1, axis = -1}]): the integral along an axis by the trapezoidal rule; x holds the
--- coordinates (one dimension, or y's shape), else they are dx apart.
function array.trapz(y, x, options)
  y = as_floats(need_array("trapz", y))
  check_alive(y)
  if type(x) == "table" then
    x, options = nil, x
  end
  options = parse_options("trapz", options, trapz_options)
  if y._ndim == 0 then
    fail("trapz: an array of 0 dimensions has nothing to integrate over")
  end
  local axis = parse_axis("trapz", y, options.axis == nil and -1 or options.axis)
  local n, dx = length(y, axis), options.dx == nil and 1 or options.dx
  if type(dx) ~= "number" then
    fail("trapz: dx is a number, got %s", kind_of(dx))
  end
  local step = dx
  if x ~= nil then
    x = as_floats(need_array("trapz: x", x))
    if x._ndim == 1 then
      if length(x, 1) ~= n then
        fail("trapz: x has %d coordinates for the %d elements of axis %d", length(x, 1), n, axis)
      end
      local shape = {}
      for i = 1, y._ndim do
        shape[i] = i == axis and -1 or 1
      end
      x = n > 0 and methods.reshape(x, shape) or x
    end
    step = array.diff(x, { axis = x._ndim == 1 and 1 or axis })
  end
  if n < 2 then
    return methods.sum(along(y, axis, 1, 0), axis)
  end
  local sums = array.add(along(y, axis, 2, n), along(y, axis, 1, n - 1))
  if type(step) == "number" then
    local total = methods.sum(sums, axis)
    return total * (step / 2)
  end
  return methods.sum(sums * step / 2, axis)
end

-- ----------------------------------------------------------------------------------------------------- convolution ----
local modes = { valid = 0, same = 1, full = 2 }
local convolve_options = { mode = true, method = true }

-- The smallest product of 2, 3 and 5 from n on: lengths whose transforms are fast.
local function fast_length(n)
  local best = huge
  local five = 1
  while five < best do
    local three = five
    while three < best do
      local k = three
      while k < n do
        k = 2 * k
      end
      best = math.min(best, k)
      three = three * 3
    end
    five = five * 5
  end
  return best
end

-- The full convolution of two vectors by Fourier transforms.
local function fft_convolve(name, a, v)
  for _, x in ipairs { a, v } do
    if x._ndim ~= 1 or x._size == 0 then
      fail("%s: both arrays must have one dimension and elements, not the shape %s", name, kit.shape_text(x._shape, x._ndim))
    elseif kinds[x._dtype] ~= "f" and kinds[x._dtype] ~= "c" then
      fail('%s: method = "fft" rounds, and so is not for %s arrays; convert them with a:astype("float64")', name,
        dtype_names[x._dtype])
    end
  end
  local fft = core.require("fft")
  local total = tonumber(a._size + v._size) - 1
  local n = { n = fast_length(total) }
  local all = { { 1, total } }
  if kinds[a._dtype] == "c" or kinds[v._dtype] == "c" then
    return view(fft.ifft(fft.fft(a, n) * fft.fft(v, n)), all)
  end
  return view(fft.irfft(fft.rfft(a, n) * fft.rfft(v, n), n), all)
end

local function correlate(name, convolve, a, v, how)
  a, v = need_array(name, a), need_array(name, v)
  check_alive(a)
  check_alive(v)
  local options = type(how) == "string" and { mode = how } or parse_options(name, how, convolve_options)
  local mode = options.mode or (convolve and "full" or "valid")
  if not modes[mode] then
    fail('%s: mode is "full", "same" or "valid", got %s', name, kind_of(mode))
  elseif options.method == nil or options.method == "direct" then
    return call(C.pg_array_correlate, nil, a, v, modes[mode], convolve and 1 or 0)
  elseif options.method ~= "fft" then
    fail('%s: method is "direct" or "fft", got %s', name, kind_of(options.method))
  end
  local n, m = tonumber(a._size), tonumber(v._size)
  if not convolve then
    if v._ndim == 1 then
      v = along(v, 1, -1, 1, -1)
    end
    v = kinds[v._dtype] == "c" and array.conj(v) or v
  end
  local whole = fft_convolve(name, a, v)
  local short, long = math.min(n, m), math.max(n, m)
  local first, last = 1, n + m - 1
  if mode == "same" then
    first = short - math.floor(short / 2)
    last = first + long - 1
    if not convolve and n < m then -- NumPy correlates the longer with the shorter and turns the result around
      first, last = n + m - last, n + m - first
    end
  elseif mode == "valid" then
    first, last = short, long
  end
  return methods.copy(view(whole, { { first, last } }))
end

--- array.convolve(a, v [, mode | {mode = "full", method = "direct"}]): the convolution of two vectors. "full" is of
--- length n + m - 1, "same" of the longer's, "valid" only where they overlap completely. The direct method takes
--- time n * m and is exact for integers (they wrap); "fft" takes n log n, with errors relative to the largest element.
function array.convolve(a, v, how) return correlate("convolve", true, a, v, how) end

--- array.correlate(a, v [, mode | {mode = "valid", method = "direct"}]): the sums of a[i + k] * conj(v[i]) for each
--- shift k.
function array.correlate(a, v, how) return correlate("correlate", false, a, v, how) end

-- -------------------------------------------------------------------------------------------------------- counting ----
local histogram_options = { bins = true, range = true, density = true, weights = true }

-- The edges of `bins` even bins over a range, or over all of a.
local function even_edges(a, bins, range)
  if not is_integer(bins) or bins < 1 then
    fail("histogram: bins must be an integer, 1 or more, or an array of edges, got %s", kind_of(bins))
  end
  local first, last
  if range ~= nil then
    if type(range) ~= "table" or #range ~= 2 or type(range[1]) ~= "number" or type(range[2]) ~= "number" then
      fail("histogram: range is a table {first, last} of two numbers, got %s",
        type(range) == "table" and "another table" or kind_of(range))
    end
    first, last = range[1], range[2]
    if first > last then
      fail("histogram: the range {%g, %g} ends before it begins", first, last)
    end
  elseif a._size == 0 then
    first, last = 0, 1
  elseif kinds[a._dtype] == "c" then
    fail("histogram: complex numbers have no order; take their real part or their magnitude")
  else
    first, last = methods.min(a), methods.max(a)
    if a._dtype == BOOL then
      first, last = first and 1 or 0, last and 1 or 0
    end
  end
  if not (first > -huge and last < huge) then
    fail("histogram: the range from %g to %g is not finite; give {range = {first, last}}", first, last)
  elseif first == last then
    first, last = first - 0.5, last + 0.5
  end
  return array.linspace(first, last, bins + 1, a._dtype == FLOAT32 and "float32" or "float64")
end

--- array.histogram(a [, bins] [, {bins = 10, range = {first, last}, density = false, weights}]): how many elements lie
--- in each bin, as int64 (with weights their sums, in the weights' dtype), and the edges of the bins, one more than
--- these. `bins` is their number or an array of ascending edges. Each bin includes its lower edge, the last one both.
function array.histogram(a, bins, options)
  a = need_array("histogram", a)
  check_alive(a)
  if type(bins) == "table" and #bins == 0 then
    bins, options = nil, bins
  end
  options = parse_options("histogram", options, histogram_options)
  need_boolean("histogram", "density", options.density)
  if bins == nil then
    bins = options.bins == nil and 10 or options.bins
  end
  local weights = options.weights ~= nil and need_array("histogram: weights", options.weights) or nil
  local even = type(bins) ~= "table" and not as_array(bins)
  local edges = even and even_edges(a, bins, options.range) or values("histogram", "bins", bins)
  if edges._ndim ~= 1 or length(edges, 1) < 2 then
    fail("histogram: edges are an array of one dimension with two elements or more, got the shape %s",
      kit.shape_text(edges._shape, edges._ndim))
  end
  local exact = as_dtype(edges, FLOAT64)
  if not array.all(array.ge(array.diff(exact), 0)) then
    fail("histogram: the edges of bins must be ascending")
  elseif even and not array.all(array.gt(array.diff(exact), 0)) then
    fail("histogram: %d bins are too many for the range from %.17g to %.17g: some would be empty", bins, exact[1], exact[-1])
  end
  local counts = call(C.pg_array_histogram, nil, a, weights, exact, even and 1 or 0)
  if options.density then
    counts = as_dtype(counts, FLOAT64)
    return counts / array.diff(exact) / methods.sum(counts), edges
  end
  return weights and as_dtype(counts, weights._dtype) or counts, edges
end

local bincount_options = { weights = true, minlength = true }

--- array.bincount(a [, {weights, minlength = 0}]): how often each of 0, 1, 2, ... occurs in a vector of integers: the
--- count of 0 is element 1. int64, or with weights their sums as float64.
function array.bincount(a, options)
  a = need_array("bincount", a)
  options = parse_options("bincount", options, bincount_options)
  local minlength = options.minlength == nil and 0 or options.minlength
  if not is_integer(minlength) or minlength < 0 then
    fail("bincount: minlength must be an integer, 0 or more, got %s", kind_of(minlength))
  end
  local weights = options.weights ~= nil and need_array("bincount: weights", options.weights) or nil
  return call(C.pg_array_bincount, nil, a, weights, minlength)
end

local unique_options = { index = true, inverse = true, counts = true, axis = true }

-- The distinct slices along an axis, in the order of their elements; and always index, inverse and counts.
local function unique_slices(a, axis)
  axis = parse_axis("unique", a, axis)
  local front = array.moveaxis(a, axis, 1)
  local n, shape = length(a, axis), front.shape
  local m = n > 0 and tonumber(a._size) / n or 0
  local rows = methods.reshape(methods.copy(front), n, m)
  local keys = {}
  for k = 1, m do
    keys[k] = view(rows, { {}, m + 1 - k }) -- the last one counts most
  end
  local order = m > 0 and array.lexsort(keys) or array.range(n, "int64")
  rows = rows[order]
  local first = array.ones(n, "bool") -- is this the first of equal slices?
  if n > 1 then
    write(along(first, 1, 2, n), methods.any(array.ne(along(rows, 1, 2, n), along(rows, 1, 1, n - 1)), 2))
  end
  local starts, inverse = array.flatnonzero(first), array.empty(n, "int64")
  inverse[order] = methods.cumsum(first)
  shape[1] = length(starts, 1)
  local counts = array.diff(starts, { append = n + 1 })
  return array.moveaxis(methods.reshape(rows[first], shape), 1, axis), order[first], inverse, counts
end

--- array.unique(a [, {axis, index = false, inverse = false, counts = false}]): the distinct elements in ascending order,
--- NaN once and last, or with an axis the distinct slices along it, compared from their first elements on; then, in this order, what was asked for: `index`, the positions (row-major, from 1) of their first
--- occurrences; `inverse`, for each element of a the position of its value, in a's shape; `counts`, how often each
--- occurs.
function array.unique(a, options)
  a = need_array("unique", a)
  for key in pairs(type(options) == "table" and options or {}) do
    local ours = type(key) == "string" and key:match("^return_(.*)$")
    if unique_options[ours] then
      fail("unique: unknown option '%s'; it is called '%s' here", key, ours)
    end
  end
  options = parse_options("unique", options, unique_options)
  local extra, results = {}, {}
  for i, name in ipairs { "index", "inverse", "counts" } do
    extra[i] = need_boolean("unique", name, options[name]) and array_t() or nil
  end
  if options.axis ~= nil then
    check_alive(a)
    local found = { unique_slices(a, options.axis) }
    results[1] = found[1]
    for i = 1, 3 do
      results[#results + 1] = extra[i] and found[i + 1] or nil
    end
    return unpack(results)
  end
  results[1] = call(C.pg_array_unique, nil, a, extra[1], extra[2], extra[3])
  if extra[2] then
    extra[2] = methods.reshape(extra[2], a.shape)
  end
  for i = 1, 3 do
    if extra[i] then
      results[#results + 1] = extra[i]
    end
  end
  return unpack(results)
end

-- ------------------------------------------------------------------------------------------------------- searching ----
-- A number as an operand beside an array: of the array's dtype where that can hold it.
local function number_beside(a, x)
  local low = lowest[a._dtype]
  return scalar(1, x, low and x % 1 == 0 and x >= low and x <= highest[a._dtype] and a._dtype or FLOAT64)
end

local side_options = { side = true }

--- array.searchsorted(a, values [, side | {side = "left"}]): where in the ascending vector a each value would have to be
--- inserted: the first position that keeps the order, or with "right" the last. From 1 to #a + 1; int64 in the values'
--- shape, or a number for a number.
function array.searchsorted(a, v, options)
  a = need_array("searchsorted", a)
  check_alive(a)
  local side = type(options) == "string" and options or parse_options("searchsorted", options, side_options).side or "left"
  if side ~= "left" and side ~= "right" then
    fail('searchsorted: side is "left" or "right", got %s', kind_of(side))
  end
  local right = side == "right" and 1 or 0
  if type(v) == "number" then
    return methods.item(call(C.pg_array_searchsorted, nil, a, number_beside(a, v), right))
  end
  return call(C.pg_array_searchsorted, nil, a, need_array("searchsorted", v), right)
end

local right_option = { right = true }

--- array.digitize(x, bins [, {right = false}]): which bin each element lies in: bin i has bins[i - 1] <= x < bins[i]
--- (with `right` bins[i - 1] < x <= bins[i]), so that 1 is below all and #bins + 1 above. Descending bins count the
--- other way round. int64 in x's shape, or a number for a number.
function array.digitize(x, bins, options)
  options = parse_options("digitize", options, right_option)
  bins = values("digitize", "bins", bins)
  if bins._ndim ~= 1 then
    fail("digitize: bins must have one dimension, not %d", bins._ndim)
  end
  local steps = array.diff(as_floats(bins))
  local right = need_boolean("digitize", "right", options.right)
  if array.all(array.ge(steps, 0)) then
    return array.searchsorted(bins, x, right and "left" or "right")
  elseif not array.all(array.le(steps, 0)) then
    fail("digitize: the bins must be ascending or descending")
  end
  local n = length(bins, 1)
  return n + 2 - array.searchsorted(along(bins, 1, -1, 1, -1), x, right and "left" or "right")
end

local isin_options = { invert = true }

--- array.isin(a, values [, {invert = false}]): for each element of a whether it is among the values; bool in a's shape.
function array.isin(a, v, options)
  a = need_array("isin", a)
  options = parse_options("isin", options, isin_options)
  need_boolean("isin", "invert", options.invert)
  if type(v) == "number" then
    v = number_beside(a, v)
  else
    v = as_array(v) or type(v) == "table" and array.from(v) or
      fail("isin: values are an array, a table or a number, got %s", kind_of(v))
    if kinds[a._dtype] ~= "f" and kinds[a._dtype] ~= "c" and v._dtype == FLOAT64 and
      array.all(array.eq(v, array.floor(v))) and array.all(array.lt(array.abs(v), kit.exact)) then
      v = as_dtype(v, INT64) -- from a Lua table, or as good as integers: no need to compare as floats
    end
  end
  return call(C.pg_array_isin, nil, a, v, options.invert and 1 or 0)
end

-- Two arrays as vectors of the dtype they meet in.
local function two_sets(name, a, b)
  a, b = need_array(name, a), need_array(name, b)
  check_alive(a)
  check_alive(b)
  local dtype = C.pg_array_promote(a._dtype, b._dtype)
  return methods.reshape(as_dtype(a, dtype), -1), methods.reshape(as_dtype(b, dtype), -1)
end

local function chosen(a, b, invert)
  local u = array.unique(a)
  return u[array.isin(u, b, { invert = invert })]
end

--- array.union1d(a, b): the distinct elements of both, ascending.
function array.union1d(a, b)
  return array.unique(join("union1d", { two_sets("union1d", a, b) }, 1))
end

--- array.intersect1d(a, b): the distinct elements that are in both, ascending.
function array.intersect1d(a, b)
  a, b = two_sets("intersect1d", a, b)
  return chosen(a, b, false)
end

--- array.setdiff1d(a, b): the distinct elements of a that are not in b, ascending.
function array.setdiff1d(a, b)
  a, b = two_sets("setdiff1d", a, b)
  return chosen(a, b, true)
end

--- array.setxor1d(a, b): the distinct elements that are in one of both only, ascending.
function array.setxor1d(a, b)
  a, b = two_sets("setxor1d", a, b)
  return array.unique(join("setxor1d", { chosen(a, b, true), chosen(b, a, true) }, 1))
end

local interp_options = { left = true, right = true, period = true }

--- array.interp(x, xp, fp [, {left, right}]): the polygon through the points (xp, fp), xp ascending, at each x; before
--- the first point `left` (fp[1] unless told otherwise), after the last `right` (fp[-1]). float64 in x's shape, or a
--- number for a number.
function array.interp(x, xp, fp, options)
  options = parse_options("interp", options, interp_options)
  xp, fp = values("interp", "xp", xp), values("interp", "fp", fp)
  check_alive(fp)
  for _, name in ipairs { "left", "right", "period" } do
    if options[name] ~= nil and type(options[name]) ~= "number" then
      fail("interp: %s is a number, got %s", name, kind_of(options[name]))
    end
  end
  local number = type(x) == "number"
  x = number and array.full({}, x) or need_array("interp", x)
  local left, right = options.left, options.right
  local period = options.period
  if period and xp._ndim == 1 and fp._ndim == 1 and xp._size == fp._size and xp._size > 0 then
    if period == 0 then
      fail("interp: the period must not be 0")
    end
    period = math.abs(period)
    x, xp = x % period, as_dtype(xp, FLOAT64) % period
    local order = array.argsort(xp)
    xp, fp = xp[order], fp[order]
    left, right = nil, nil
    xp = join("interp", { view(xp, { { -1, -1 } }) - period, xp, view(xp, { { 1, 1 } }) + period }, 1)
    fp = join("interp", { view(fp, { { -1, -1 } }), fp, view(fp, { { 1, 1 } }) }, 1)
  end
  if fp._ndim == 1 and fp._size > 0 and kinds[fp._dtype] ~= "c" then
    left = left == nil and tonumber(as_dtype(fp, FLOAT64)[1]) or left
    right = right == nil and tonumber(as_dtype(fp, FLOAT64)[-1]) or right
  end
  local result = call(C.pg_array_interp, nil, x, xp, fp, left or 0, right or 0)
  return number and methods.item(result) or result
end

-- ------------------------------------------------------------------------------------------------ weights, moments ----
local average_options = { axis = true, weights = true, keepdims = true }

--- array.average(a [, axis | {axis, weights, keepdims = false}]): the mean, or the weighted mean: weights have a's
--- shape, or one dimension with an axis. Weights that add up to 0 are an error.
function array.average(a, options)
  a = need_array("average", a)
  check_alive(a)
  if type(options) == "number" then
    options = { axis = options }
  end
  options = parse_options("average", options, average_options)
  local where = { axis = options.axis, keepdims = options.keepdims }
  if options.weights == nil then
    return methods.mean(a, where)
  end
  local w = as_floats(need_array("average: weights", options.weights))
  a = as_floats(a)
  if w._ndim == 1 and a._ndim > 1 then
    if type(options.axis) ~= "number" then
      fail("average: weights of one dimension need an axis that they go along")
    end
    local axis, shape = parse_axis("average", a, options.axis), {}
    if length(w, 1) ~= length(a, axis) then
      fail("average: %d weights for the %d positions of axis %d", length(w, 1), length(a, axis), axis)
    end
    for i = 1, a._ndim do
      shape[i] = i == axis and -1 or 1
    end
    w = methods.reshape(w, shape) + array.zeros_like(a, w.dtype)
  elseif kit.shape_text(w._shape, w._ndim) ~= kit.shape_text(a._shape, a._ndim) then
    fail("average: weights has the shape %s, the array %s", kit.shape_text(w._shape, w._ndim), kit.shape_text(a._shape, a._ndim))
  end
  local total = methods.sum(w, where)
  if as_array(total) and array.any(array.eq(total, 0)) or total == 0 then
    fail("average: the weights add up to 0")
  end
  return methods.sum(a * w, where) / total
end

local cov_options = { rowvar = true, bias = true, ddof = true, fweights = true, aweights = true }

-- The variables of cov as rows of a float matrix.
local function variables(name, x, rowvar)
  x = need_array(name, x)
  check_alive(x)
  x = as_dtype(x, kinds[x._dtype] == "c" and COMPLEX128 or FLOAT64)
  if x._ndim == 0 or x._ndim > 2 then
    fail("%s: an array of 1 or 2 dimensions is expected, got %d", name, x._ndim)
  elseif x._ndim == 1 then
    return methods.reshape(x, 1, length(x, 1))
  end
  return rowvar and x or methods.transpose(x)
end

local function column(x, f)
  local v = f(x, 2)
  return methods.reshape(as_array(v) or array.full({ 1 }, v), length(x, 1), 1)
end

local function covariance(name, m, y, options)
  if type(y) == "table" then
    y, options = nil, y
  end
  options = parse_options(name, options, cov_options)
  local rowvar = need_boolean(name, "rowvar", options.rowvar) ~= false
  local x = variables(name, m, rowvar)
  if y ~= nil then
    y = variables(name, y, rowvar)
    if length(y, 2) ~= length(x, 2) then
      fail("%s: %d observations of the first and %d of the second", name, length(x, 2), length(y, 2))
    end
    x = join(name, { x, y }, 1)
  end
  local n = length(x, 2)
  local ddof = options.ddof
  if ddof == nil then
    ddof = need_boolean(name, "bias", options.bias) and 0 or 1
  elseif type(ddof) ~= "number" then
    fail("%s: ddof is a number, got %s", name, kind_of(ddof))
  end
  local w, aweights
  for _, key in ipairs { "fweights", "aweights" } do
    if options[key] ~= nil then
      local weights = as_dtype(need_array(name .. ": " .. key, options[key]), FLOAT64)
      if weights._ndim ~= 1 or length(weights, 1) ~= n then
        fail("%s: %s must be a vector of %d elements, one an observation", name, key, n)
      elseif array.any(array.lt(weights, 0)) then
        fail("%s: %s must not be negative", name, key)
      end
      aweights = key == "aweights" and weights or aweights
      w = w and w * weights or weights
    end
  end
  local total, scale = n, nil
  if w then
    total = methods.sum(w)
    x = x - column(x * w, methods.sum) / total
    scale = aweights and total - ddof * methods.sum(w * aweights) / total or total - ddof
  else
    x = x - column(x, methods.mean)
    scale = n - ddof
  end
  local other = methods.transpose(w and x * w or x)
  local c = methods.matmul(x, kinds[x._dtype] == "c" and array.conj(other) or other)
  return c / math.max(scale, 0)
end

--- array.cov(m [, y] [, {rowvar = true, bias = false, ddof, fweights, aweights}]): the covariance matrix of variables
--- that are m's rows (with rowvar = false its columns) and y's; a number for one variable.
function array.cov(m, y, options)
  local c = covariance("cov", m, y, options)
  return c._size == 1 and methods.item(c) or c
end

local corrcoef_options = { rowvar = true }

--- array.corrcoef(m [, y] [, {rowvar = true}]): the matrix of correlation coefficients, from -1 to 1, of variables as in
--- cov; a number for one variable.
function array.corrcoef(m, y, options)
  local only = type(y) == "table" and y or options
  if only ~= nil then
    parse_options("corrcoef", only, corrcoef_options)
  end
  local c = covariance("corrcoef", m, y, options)
  local n = length(c, 1)
  local d = array.empty(n)
  for i = 1, n do
    local x = c[i][i]
    d[i] = math.sqrt(type(x) == "number" and x or x.re)
  end
  c = c / methods.reshape(d, n, 1) / d
  if kinds[c._dtype] == "f" then
    c = array.minimum(array.maximum(c, -1), 1)
  end
  return n == 1 and methods.item(c) or c
end

for _, name in ipairs { "diff", "gradient", "trapz", "convolve", "correlate", "histogram", "bincount", "unique",
  "searchsorted", "digitize", "isin", "average", "cov", "corrcoef" } do
  methods[name] = array[name]
end
