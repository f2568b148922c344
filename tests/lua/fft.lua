local lu = require "luaunit"
local ffi = require "ffi"
local pg = require "perigee"
local array, fft = pg.array, pg.fft
local rng = pg.random.generator(99)

TestFft = {}

local COMPLEX64, COMPLEX128, FLOAT32, FLOAT64 = 11, 12, 4, 5
local is_complex = { [COMPLEX64] = "float *", [COMPLEX128] = "double *" }
local is_real = { [FLOAT32] = "float *", [FLOAT64] = "double *" }

-- The numbers of a row-major array: real parts, imaginary parts.
local function parts(z)
  local re, im = {}, {}
  local n = tonumber(z._size)
  if is_complex[z._dtype] then
    local p = ffi.cast(is_complex[z._dtype], z._data)
    for i = 1, n do
      re[i], im[i] = tonumber(p[2 * i - 2]), tonumber(p[2 * i - 1])
    end
  else
    local p = ffi.cast(is_real[z._dtype], z._data)
    for i = 1, n do
      re[i], im[i] = tonumber(p[i - 1]), 0
    end
  end
  return re, im, z
end

-- A complex array with random parts.
local function random_complex(shape, dtype)
  local z = fft.fft(array.zeros(shape, { dtype = dtype or "float64" }))
  local values = rng:normal({ shape = 2 * z.size }):totable()
  local p = ffi.cast(is_complex[z._dtype], z._data)
  for i, v in ipairs(values) do
    p[i - 1] = v
  end
  return z
end

local function assert_close(a, b, tolerance, message)
  local are, aim = parts(a)
  local bre, bim = parts(b)
  lu.assertEquals(a.shape, b.shape, message)
  local worst, scale = 0, 1
  for i = 1, #are do
    worst = math.max(worst, math.abs(are[i] - bre[i]), math.abs(aim[i] - bim[i]))
    scale = math.max(scale, math.abs(bre[i]), math.abs(bim[i]))
    if are[i] ~= are[i] then
      worst = math.huge
    end
  end
  lu.assertTrue(worst <= (tolerance or 1e-13) * scale, (message or "") .. " off by " .. worst)
end

local function naive(re, im, sign)
  local n, out_re, out_im = #re, {}, {}
  for k = 0, n - 1 do
    local sum_re, sum_im = 0, 0
    for j = 0, n - 1 do
      local angle = sign * 2 * math.pi * (j * k % n) / n
      local c, s = math.cos(angle), math.sin(angle)
      sum_re = sum_re + re[j + 1] * c - im[j + 1] * s
      sum_im = sum_im + re[j + 1] * s + im[j + 1] * c
    end
    out_re[k + 1], out_im[k + 1] = sum_re, sum_im
  end
  return out_re, out_im
end

local function assert_parts(z, re, im, tolerance, factor, message)
  local zre, zim = parts(z)
  local norm = 1
  for i = 1, #re do
    norm = math.max(norm, math.abs(re[i]), math.abs(im[i]))
  end
  for i = 1, #zre do
    lu.assertTrue(math.abs(zre[i] - re[i] * factor) <= tolerance * norm and
      math.abs(zim[i] - im[i] * factor) <= tolerance * norm, message .. " at " .. i)
  end
end

function TestFft:test_against_the_definition()
  local lengths = { 67, 97, 101, 127, 128, 210 }
  for n = 64, 1, -1 do
    table.insert(lengths, 1, n)
  end
  for _, n in ipairs(lengths) do
    for dtype, tolerance in pairs { float64 = 1e-14, float32 = 2e-6 } do
      local message = dtype .. " " .. n
      local z = random_complex({ n }, dtype)
      lu.assertEquals(z._dtype, dtype == "float64" and COMPLEX128 or COMPLEX64)
      local re, im = parts(z)
      local forward_re, forward_im = naive(re, im, -1)
      assert_parts(fft.fft(z), forward_re, forward_im, tolerance, 1, message)
      local backward_re, backward_im = naive(re, im, 1)
      assert_parts(fft.ifft(z), backward_re, backward_im, tolerance, 1 / n, message)

      local x = rng:normal({ shape = n, dtype = dtype })
      re, im = parts(x)
      forward_re, forward_im = naive(re, im, -1)
      assert_parts(fft.fft(x), forward_re, forward_im, tolerance, 1, message .. " real")
      backward_re, backward_im = naive(re, im, 1)
      assert_parts(fft.ifft(x), backward_re, backward_im, tolerance, 1 / n, message .. " real backward")
      local half = fft.rfft(x)
      lu.assertEquals(half.shape, { math.floor(n / 2) + 1 })
      assert_parts(half, forward_re, forward_im, tolerance, 1, message .. " rfft")
      local back = fft.irfft(half, { n = n })
      lu.assertEquals(back._dtype, x._dtype)
      assert_close(back, x, 10 * tolerance, message .. " irfft")
      assert_close(fft.ifft(fft.fft(z)), z, 10 * tolerance, message .. " round trip")
    end
  end
end

function TestFft:test_lengths_and_norms()
  local x = rng:normal({ shape = 10 })
  assert_close(fft.fft(x, { n = 7 }), fft.fft(x[{ { 1, 7 } }]))
  local padded = array.zeros(16)
  padded[{ { 1, 10 } }] = x
  assert_close(fft.fft(x, { n = 16 }), fft.fft(padded))
  assert_close(fft.rfft(x, { n = 16 }), fft.rfft(padded))
  assert_close(fft.irfft(fft.rfft(x)), x)
  assert_close(fft.irfft(x, { n = 9 }), fft.irfft(x[{ { 1, 5 } }], { n = 9 })) -- real input, cut
  local z = random_complex { 10 }
  assert_close(fft.fft(fft.ifft(z, { n = 12 }), { n = 12 })[{ { 1, 10 } }], z)
  for _, norm in ipairs { "backward", "ortho", "forward" } do
    local s = norm == "ortho" and 1 / math.sqrt(10) or norm == "forward" and 1 / 10 or 1
    local re, im = parts(fft.fft(z))
    assert_parts(fft.fft(z, { norm = norm }), re, im, 1e-14, s, norm)
    assert_close(fft.ifft(fft.fft(z, { norm = norm }), { norm = norm }), z)
    assert_close(fft.irfft(fft.rfft(x, { norm = norm }), { norm = norm }), x)
    local m = rng:normal({ shape = { 4, 6 } })
    assert_close(fft.irfft2(fft.rfft2(m, { norm = norm }), { norm = norm }), m)
  end
end

-- fftn by single axes, of which test_against_the_definition speaks.
local function by_axes(transform, z, axes)
  for _, axis in ipairs(axes) do
    z = transform(z, { axis = axis })
  end
  return z
end

function TestFft:test_several_axes()
  for _, shape in ipairs { { 4, 6 }, { 5, 7 }, { 1, 8 }, { 3, 4, 5 }, { 2, 3, 4, 5 }, { 6, 1, 3 } } do
    local all = {}
    for i = 1, #shape do
      all[i] = i
    end
    local z, x = random_complex(shape), rng:normal({ shape = shape })
    for _, axes in ipairs { all, { #shape }, { 1 }, { 1, 2 }, { 2, 1 }, { -1, 1 } } do
      local message = table.concat(shape, "x") .. " axes " .. table.concat(axes, ",")
      assert_close(fft.fftn(z, { axes = axes }), by_axes(fft.fft, z, axes), nil, message)
      assert_close(fft.ifftn(z, { axes = axes }), by_axes(fft.ifft, z, axes), nil, message)
      assert_close(fft.fftn(x, { axes = axes }), by_axes(fft.fft, x, axes), nil, message .. " real")
      assert_close(fft.ifftn(x, { axes = axes }), by_axes(fft.ifft, x, axes), nil, message .. " real")
      local last = axes[#axes]
      local rest = {}
      for i = #axes - 1, 1, -1 do
        rest[#rest + 1] = axes[i]
      end
      local half = fft.rfftn(x, { axes = axes })
      assert_close(half, by_axes(fft.fft, fft.rfft(x, { axis = last }), rest), nil, message .. " rfftn")
      local sizes = {}
      for i, axis in ipairs(axes) do
        sizes[i] = shape[axis < 0 and axis + #shape + 1 or axis]
      end
      assert_close(fft.irfftn(half, { axes = axes, s = sizes }), x, nil, message .. " irfftn")
    end
  end
  local z = random_complex { 3, 4, 5 }
  assert_close(fft.fft2(z), fft.fftn(z, { axes = { 2, 3 } }))
  assert_close(fft.ifft2(fft.fft2(z)), z)
  assert_close(fft.fftn(z, { s = { 2, 7 } }), fft.fft(fft.fft(z, { n = 7 }), { n = 2, axis = 2 }))
  assert_close(fft.fft(z, { axis = 1 }), fft.fft(z, { axis = -3 }))
end

function TestFft:test_views_and_dtypes()
  local x = rng:normal({ shape = { 6, 8 } })
  local before = x:totable()
  for _, view in ipairs { x.T, x[{ { 1, 6, 2 }, { 2, 7 } }], x[{ {}, 3 }], x[2], x[{ { 6, 1, -1 }, {} }] } do
    local copy = array.from(view:totable())
    assert_close(fft.fft(view), fft.fft(copy))
    assert_close(fft.rfft(view), fft.rfft(copy))
    assert_close(fft.fftn(view), fft.fftn(copy))
    assert_close(fft.irfft(view), fft.irfft(copy))
  end
  lu.assertEquals(x:totable(), before) -- never overwritten
  local half = fft.rfft(x)
  local re = parts(half)
  fft.irfft(half)
  lu.assertEquals((parts(half)), re)
  assert_close(fft.fft { 1, 2, 3, 4 }, fft.fft(array.from { 1, 2, 3, 4 }))
  for _, dtype in ipairs { "uint8", "int32", "int64" } do
    local z = fft.fft(array.range(1, 5, { dtype = dtype }))
    lu.assertEquals(z._dtype, COMPLEX128)
    assert_close(z, fft.fft(array.range(1, 5)))
  end
  lu.assertEquals(fft.fft(array.zeros(0, 3)).shape, { 0, 3 })
  -- A large one, by a round trip and by Parseval's theorem.
  local big = rng:normal({ shape = 2 ^ 16 })
  local spectrum = fft.fft(big, { norm = "ortho" })
  local sre, sim = parts(spectrum)
  local energy = 0
  for i = 1, #sre do
    energy = energy + sre[i] ^ 2 + sim[i] ^ 2
  end
  lu.assertAlmostEquals(energy / (big * big):sum(), 1, 1e-12)
  assert_close(fft.irfft(fft.rfft(big)), big)
end

-- Results are the same to the last bit for any number of threads, and whether an array lies side by side or is a view.
function TestFft:test_threads_and_views_do_not_matter()
  local before = pg.threads()
  local function same(name, x, options)
    local copy = x:copy()
    pg.threads(1)
    local one = fft[name](x, options)
    for _, threads in ipairs { 2, 3, 8 } do
      pg.threads(threads)
      lu.assertTrue(fft[name](x, options) == one, name .. " with " .. threads .. " threads")
    end
    lu.assertTrue(fft[name](copy, options) == one, name .. " of a copy")
  end
  local long = rng:normal({ shape = 3 * 2 ^ 15 })
  local spectrum = fft.fft(long)
  for _, x in ipairs { long, spectrum, spectrum:astype("complex64"), long:astype("float32") } do
    for _, name in ipairs { "fft", "ifft", "irfft" } do
      same(name, x)
      same(name, x, { n = 100003 })
    end
  end
  same("rfft", long)
  same("rfft", long:astype("float32")[{ { 2, -1 } }]) -- not aligned
  same("fft", spectrum:astype("complex64")[{ { 2, -1 } }])
  local matrix = rng:normal({ shape = { 130, 257 } })
  for _, x in ipairs { matrix, matrix.T, fft.rfft(matrix), fft.rfft(matrix:astype("float32")).T } do
    for _, name in ipairs { "fft", "ifft", "fft2", "ifft2", "irfft2", "irfft" } do
      same(name, x)
    end
    same("fft", x, { axis = 1 })
    same("irfftn", x, { axes = { 2, 1 } })
  end
  same("rfft2", matrix.T)
  same("fftn", rng:normal({ shape = { 7, 64, 33 } }), { axes = { 1, 2 } })
  pg.threads(before)
end

-- Many lines, so that they are taken in several groups, with padding and cuts along every axis.
function TestFft:test_lengths_of_several_axes()
  local x = rng:normal({ shape = { 37, 6, 45 } })
  for _, s in ipairs { { 40, 50 }, { 30, 40 }, { 40, 40 }, { 30, 50 } } do
    local fitted = array.zeros(s[1], 6, s[2])
    local m, n = math.min(37, s[1]), math.min(45, s[2])
    fitted[{ { 1, m }, {}, { 1, n } }] = x[{ { 1, m }, {}, { 1, n } }]
    for _, name in ipairs { "fftn", "ifftn", "rfftn" } do
      assert_close(fft[name](x, { axes = { 1, 3 }, s = s }), fft[name](fitted, { axes = { 1, 3 } }), nil, name)
    end
    local z, half = fft.rfftn(x, { axes = { 1, 3 } }), math.floor(s[2] / 2) + 1
    local enough = array.zeros({ s[1], 6, half }, "complex128")
    m, n = math.min(37, s[1]), math.min(23, half)
    enough[{ { 1, m }, {}, { 1, n } }] = z[{ { 1, m }, {}, { 1, n } }]
    assert_close(fft.irfftn(z, { axes = { 1, 3 }, s = s }), fft.irfftn(enough, { axes = { 1, 3 }, s = s }), nil, "irfftn")
    assert_close(fft.fftn(z, { axes = { 1, 3 }, s = { s[1], half } }), fft.fftn(enough, { axes = { 1, 3 } }), nil, "fftn")
  end
  lu.assertEquals(fft.fft2(array.zeros(0, 4), { s = { 3, 2 } }):abs():totable(), { { 0, 0 }, { 0, 0 }, { 0, 0 } })
end

function TestFft:test_many_plans()
  for n = 1, 150 do -- more than are kept
    local x = rng:normal({ shape = n })
    assert_close(fft.irfft(fft.rfft(x), { n = n }), x)
  end
end

function TestFft:test_frequencies_and_shifts()
  lu.assertEquals(fft.fftfreq(8, 0.1):allclose(array.from { 0, 1.25, 2.5, 3.75, -5, -3.75, -2.5, -1.25 }), true)
  lu.assertEquals(fft.fftfreq(5):allclose(array.from { 0, 0.2, 0.4, -0.4, -0.2 }), true)
  lu.assertEquals(fft.rfftfreq(8, 0.1):allclose(array.from { 0, 1.25, 2.5, 3.75, 5 }), true)
  lu.assertEquals(fft.rfftfreq(5):allclose(array.from { 0, 0.2, 0.4 }), true)
  lu.assertEquals(fft.fftshift({ 0, 1, 2, -2, -1 }):totable(), { -2, -1, 0, 1, 2 })
  lu.assertEquals(fft.ifftshift({ -2, -1, 0, 1, 2 }):totable(), { 0, 1, 2, -2, -1 })
  lu.assertEquals(fft.fftshift({ 1, 2, 3, 4 }):totable(), { 3, 4, 1, 2 })
  local m = array.from { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } }
  lu.assertEquals(fft.fftshift(m):totable(), { { 9, 7, 8 }, { 3, 1, 2 }, { 6, 4, 5 } })
  lu.assertEquals(fft.fftshift(m, { axes = 1 }):totable(), { { 7, 8, 9 }, { 1, 2, 3 }, { 4, 5, 6 } })
  lu.assertEquals(fft.fftshift(m.T, { axes = { -1 } }):totable(), { { 7, 1, 4 }, { 8, 2, 5 }, { 9, 3, 6 } })
  lu.assertEquals(fft.ifftshift(fft.fftshift(m)):totable(), m:totable())
  lu.assertEquals(fft.fftshift(array.range(1, 4, { dtype = "uint8" })).dtype, "uint8")
  local z = random_complex { 3, 4 }
  assert_close(fft.ifftshift(fft.fftshift(z)), z, 0)
end

function TestFft:test_errors()
  local x = array.zeros(4, 3)
  local fails = lu.assertErrorMsgContains
  fails("fft: an array is expected, got 3", fft.fft, 3)
  fails("fft: axis 3 is out of range for an array of 2 dimensions", fft.fft, x, { axis = 3 })
  fails("fft: axis 0 is out of range", fft.fft, x, { axis = 0 })
  fails("fft: unknown option 'axes'; legal are: axis, n, norm", fft.fft, x, { axes = { 1 } })
  fails('rfft: norm is "backward", "ortho" or "forward", got the string "unitary"', fft.rfft, x, { norm = "unitary" })
  fails("the length of a transform must be an integer, 1 or more; along axis 2 it is 0", fft.fft, x, { n = 0 })
  fails("along axis 1 it is 0", fft.fft, array.zeros(0))
  fails("along axis 1 it is 0", fft.irfft, array.zeros(1))
  fails("rfft: the array is complex", fft.rfft, fft.fft(x))
  fails("fftn: axis 2 is given twice", fft.fftn, x, { axes = { 2, -1 } })
  fails("fftn: s has 1 lengths for 2 axes", fft.fftn, x, { axes = { 1, 2 }, s = { 4 } })
  fails("fft2: an array of 2 or more dimensions is expected, got 1", fft.fft2, array.zeros(3))
  fails("fftn: axes is a list of numbers, got 1", fft.fftn, x, { axes = 1 })
  fails("no axis to transform along", fft.fftn, x, { axes = {} })
  fails("options are a table", fft.fft, x, 8)
  fails("fftfreq: the number of samples", fft.fftfreq, 0)
  fails("the sample spacing", fft.rfftfreq, 4, 0)
  fails("fftshift: axis 3 is out of range", fft.fftshift, x, { axes = 3 })
  local released = array.zeros(3)
  released:release()
  fails("was released", fft.fft, released)
end

os.exit(lu.LuaUnit.run(), true)
