-- pg.fft: discrete Fourier transforms. Arguments are checked and errors worded here; FFTW does the work (fft_abi.h).
local core, library = ...
local ffi = core.ffi
local fail, check = core.fail, core.check

local array = core.require("array")
local kit = array._kit
local array_t, call, kind_of, is_integer, check_options = kit.array_t, kit.call, kit.kind_of, kit.is_integer,
  kit.check_options
local parse_axis = kit.parse_axis

local fft = {}

local FORWARD, BACKWARD, REAL, TO_REAL = 0, 1, 2, 3
local COMPLEX64 = 11

local axes_c, lengths_c = ffi.new("int32_t[8]"), ffi.new("int64_t[8]")

local function need(name, x)
  if type(x) == "table" then
    return array.from(x)
  end
  local a = kit.need_array(name, x)
  kit.check_alive(a)
  return a
end

local function need_options(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table such as {axis = 1}, got %s", name, kind_of(options))
  end
  check_options(name, options, known)
  return options
end

-- The factor that a norm asks for; `inverse`: of a transform with exponent +.
local function factor(name, norm, count, inverse)
  if norm == "ortho" then
    return 1 / math.sqrt(count)
  elseif norm == nil or norm == "backward" then
    return inverse and 1 / count or 1
  elseif norm == "forward" then
    return inverse and 1 or 1 / count
  end
  fail('%s: norm is "backward", "ortho" or "forward", got %s', name, kind_of(norm))
end

-- axes: a list of axes; sizes: a list of lengths or nil for the array's own.
local function transform(name, kind, x, axes, sizes, norm)
  local a = need(name, x)
  if kind == REAL and a._dtype >= COMPLEX64 then
    fail("%s: the array is complex; take fft, or its real part first", name)
  end
  if #axes > 8 then
    fail("%s: an array has at most 8 axes", name)
  end
  local seen, count = {}, 1
  for i = 1, #axes do
    local axis = parse_axis(name, a, axes[i])
    if seen[axis] then
      fail("%s: axis %d is given twice", name, axis)
    end
    seen[axis] = true
    local n = sizes and sizes[i]
    if n == nil then
      n = tonumber(a._shape[axis - 1])
      if kind == TO_REAL and i == #axes then
        n = 2 * (n - 1)
      end
    end
    if not is_integer(n) or n < 1 or n > 2 ^ 40 then
      fail("%s: the length of a transform must be an integer, 1 or more%s; along axis %d it is %s", name,
        type(n) == "number" and n > 2 ^ 40 and ", at most 2^40" or "", axis, kind_of(n))
    end
    axes_c[i - 1], lengths_c[i - 1] = axis - 1, n
    count = count * n
  end
  local scale = factor(name, norm, count, kind == BACKWARD or kind == TO_REAL)
  if #axes == 0 then
    fail("%s: there is no axis to transform along", name)
  end
  return call(library.pg_fft_transform, array_t(), a, kind, #axes, axes_c, lengths_c, scale)
end

local one_options = { n = true, axis = true, norm = true }
local many_options = { s = true, axes = true, norm = true }

-- fft.fft(a [, {n =, axis = -1, norm = "backward"}]) and its relatives, along one axis.
for name, kind in pairs { fft = FORWARD, ifft = BACKWARD, rfft = REAL, irfft = TO_REAL } do
  fft[name] = function(a, options)
    options = need_options(name, options, one_options)
    local axis = options.axis
    if axis == nil then
      axis = -1
    end
    return transform(name, kind, a, { axis }, { options.n }, options.norm)
  end
end

local function list_of(name, option, value)
  if type(value) ~= "table" then
    fail("%s: %s is a list of numbers, got %s", name, option, kind_of(value))
  end
  return value
end

local function several(name, kind, default)
  return function(x, options)
    options = need_options(name, options, many_options)
    local a = need(name, x)
    local sizes = options.s ~= nil and list_of(name, "s", options.s) or nil
    local axes = options.axes
    if axes ~= nil then
      list_of(name, "axes", axes)
      if sizes and #sizes ~= #axes then
        fail("%s: s has %d lengths for %d axes", name, #sizes, #axes)
      end
    else
      axes = {}
      local count = default or sizes and #sizes or a._ndim
      if sizes and #sizes ~= count then
        fail("%s: s has %d lengths for %d axes", name, #sizes, count)
      elseif count > a._ndim then
        fail("%s: an array of %d or more dimensions is expected, got %d", name, count, a._ndim)
      end
      for i = 1, count do
        axes[i] = i - count - 1
      end
    end
    return transform(name, kind, a, axes, sizes, options.norm)
  end
end

-- fft.fft2(a [, {s =, axes = {-2, -1}, norm =}]), fft.fftn(a [, {s =, axes = all, norm =}]) and their relatives.
for name, kind in pairs { fft = FORWARD, ifft = BACKWARD, rfft = REAL, irfft = TO_REAL } do
  fft[name .. "2"] = several(name .. "2", kind, 2)
  fft[name .. "n"] = several(name .. "n", kind)
end

local function check_frequencies(name, n, d)
  if not is_integer(n) or n < 1 then
    fail("%s: the number of samples must be an integer, 1 or more, got %s", name, kind_of(n))
  elseif type(d) ~= "number" or d == 0 or d ~= d then
    fail("%s: the sample spacing must be a number other than 0, got %s", name, kind_of(d))
  end
end

-- fft.fftfreq(n [, d]): the frequencies of fft's results for n samples d apart: 0, 1, ..., -2, -1 over n d.
function fft.fftfreq(n, d)
  d = d == nil and 1 or d
  check_frequencies("fftfreq", n, d)
  local negative = math.floor(n / 2)
  local out = array.range(0, n - 1)
  if negative > 0 then
    out[{ { n - negative + 1, n } }] = array.range(-negative, -1)
  end
  return out:multiply_(1 / (n * d))
end

-- fft.rfftfreq(n [, d]): those of rfft's results.
function fft.rfftfreq(n, d)
  d = d == nil and 1 or d
  check_frequencies("rfftfreq", n, d)
  return array.range(0, math.floor(n / 2)):multiply_(1 / (n * d))
end

local shift_options = { axes = true }
local shifts = ffi.new("int64_t[8]")

local function shifter(name, inverse)
  return function(x, options)
    local a = need(name, x)
    if type(options) == "number" then
      options = { axes = options }
    end
    options = need_options(name, options, shift_options)
    local axes = options.axes
    if axes == nil then
      axes = {}
      for i = 1, a._ndim do
        axes[i] = i
      end
    elseif type(axes) == "number" then
      axes = { axes }
    end
    for i = 0, 7 do
      shifts[i] = 0
    end
    for _, axis in ipairs(list_of(name, "axes", axes)) do
      axis = parse_axis(name, a, axis)
      local n = tonumber(a._shape[axis - 1])
      local half = math.floor(n / 2)
      shifts[axis - 1] = n == 0 and 0 or inverse and (n - half) % n or half
    end
    return call(library.pg_fft_roll, array_t(), a, shifts)
  end
end

-- fft.fftshift(a [, {axes =}]): frequency 0 to the middle; fft.ifftshift: back.
fft.fftshift = shifter("fftshift", false)
fft.ifftshift = shifter("ifftshift", true)

return fft
