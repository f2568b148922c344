local lu = require "luaunit"
local pg = require "perigee"
local array, random = pg.array, pg.random
local linalg = pg.linalg

TestLinalg = {}

local function fails(expected, f, ...)
  lu.assertErrorMsgContains(expected, f, ...)
end

local function close(a, b, tolerance, what)
  tolerance = tolerance or 1e-10
  lu.assertTrue(array.allclose(a, b, { rtol = tolerance, atol = tolerance }),
    (what or "not close") .. "\n" .. tostring(a) .. "\n" .. tostring(b))
end

local function normal(seed, ...)
  return random.generator(seed):normal(0, 1, { shape = { ... } })
end

local function identity(n)
  local a = array.zeros(n, n)
  for i = 1, n do
    a[i][i] = 1
  end
  return a
end

-- The product by its definition.
local function naive(a, b)
  local m, k, n = a.shape[1], a.shape[2], b.shape[2]
  local c = array.zeros(m, n)
  for i = 1, m do
    for j = 1, n do
      local sum = 0
      for l = 1, k do
        sum = sum + a:at(i, l) * b:at(l, j)
      end
      c:set(i, j, sum)
    end
  end
  return c
end

-- ------------------------------------------------------------------------------------------------------ products ----
function TestLinalg:test_matmul_of_every_layout()
  -- Sizes on both sides of where BLAS takes over; odd ones.
  for _, size in ipairs { { 3, 4, 5 }, { 17, 23, 11 }, { 33, 1, 40 }, { 1, 70, 30 }, { 50, 60, 1 }, { 40, 41, 42 } } do
    local m, k, n = size[1], size[2], size[3]
    local a, b = normal(1, m, k), normal(2, k, n)
    local expected = naive(a, b)
    close(a:matmul(b), expected)
    -- Transposed, reversed, sparse and broadcast views.
    close(a.T:copy().T:matmul(b), expected)
    close(a:matmul(b.T:copy().T), expected)
    close(a.T:copy().T:matmul(b.T:copy().T), expected)
    close(b.T:matmul(a.T), expected.T)
    local wide = array.zeros(2 * m, 3 * k)
    wide[{ { 1, -1, 2 }, { 1, -1, 3 } }] = a
    close(wide[{ { 1, -1, 2 }, { 1, -1, 3 } }]:matmul(b), expected)
    local padded = array.zeros(k, n + 3)
    padded[{ {}, { 2, n + 1 } }] = b
    close(a:matmul(padded[{ {}, { 2, n + 1 } }]), expected)
    close(a[{ { -1, 1, -1 } }]:matmul(b), expected[{ { -1, 1, -1 } }])
    close(a[{ {}, { -1, 1, -1 } }]:matmul(b[{ { -1, 1, -1 } }]), expected)
    close(a:astype("float32"):matmul(b:astype("float32")), expected, 1e-4)
    close(a:astype("float32"):matmul(b), expected, 1e-5)
    lu.assertEquals(a:astype("float32"):matmul(b:astype("float32")).dtype, "float32")
    -- Vectors.
    close(a:matmul(b[{ {}, 1 }]), expected[{ {}, 1 }])
    close(a[1]:matmul(b), expected[1])
    close(array.full({ 1 }, a[1]:matmul(b[{ {}, 1 }])), expected[{ 1, { 1, 1 } }])
    close(a[{ 1, { -1, 1, -1 } }]:matmul(b[{ { -1, 1, -1 } }]), expected[1])
  end
end

function TestLinalg:test_matmul_of_a_matrix_and_its_transpose()
  local a = normal(3, 50, 20)
  close(a:matmul(a.T), naive(a, a.T))
  close(a.T:matmul(a), naive(a.T, a))
  local g = a:matmul(a.T)
  lu.assertTrue(g == g.T)
end

function TestLinalg:test_matmul_of_batches()
  local a, b = normal(4, 3, 1, 20, 30), normal(5, 2, 30, 10)
  local c = a:matmul(b)
  lu.assertEquals(c.shape, { 3, 2, 20, 10 })
  for i = 1, 3 do
    for j = 1, 2 do
      close(c[i][j], naive(a[{ i, 1 }], b[j]))
    end
  end
  close(a:matmul(normal(5, 30)), a[{ {}, {}, {}, {} }]:matmul(normal(5, 30):reshape(30, 1)):reshape(3, 1, 20))
  lu.assertEquals(normal(1, 0, 4):matmul(normal(1, 4, 3)).shape, { 0, 3 })
  lu.assertEquals(array.zeros(2, 0):matmul(array.zeros(0, 3)):totable(), { { 0, 0, 0 }, { 0, 0, 0 } })
end

function TestLinalg:test_matmul_of_integers_is_exact_and_wraps()
  local a = array.from({ { 3, 2 ^ 30 }, { -1, 5 } }, "int64")
  lu.assertEquals(a:matmul(a):int64(1, 2), 3LL * 2 ^ 30 + 5LL * 2 ^ 30)
  local big = array.full({ 60, 60 }, 2 ^ 31 + 1, "int64")
  lu.assertEquals((big:matmul(big)):int64(7, 9), 60LL * (2LL ^ 62 + 2LL ^ 32 + 1))
  local small = array.full({ 20, 20 }, 100, "uint8")
  lu.assertEquals(small:matmul(small)[3][4], (100 * 100 * 20) % 256)
  lu.assertEquals(small:matmul(small).dtype, "uint8")
  local t = array.from { { true, false }, { true, true } }
  lu.assertEquals(t:matmul(t):totable(), { { true, false }, { true, true } })
end

function TestLinalg:test_matmul_errors()
  fails("3 columns meet 4 rows", array.matmul, array.zeros(2, 3), array.zeros(4, 2))
  fails("3 columns meet 4 rows", array.matmul, array.zeros(200, 3), array.zeros(4, 200))
  fails("matmul: an array is expected, got 3", array.matmul, array.zeros(2, 3), 3)
  fails("do not broadcast, 2 meets 3", array.matmul, array.zeros(2, 20, 20), array.zeros(3, 20, 20))
  fails("0 dimensions", array.matmul, array.full({}, 1), array.zeros(3))
end

function TestLinalg:test_threads_do_not_matter()
  local before = pg.threads()
  local a = normal(6, 200, 150)
  pg.threads(1)
  local one = a:matmul(a.T)
  pg.threads(2)
  close(a:matmul(a.T), one, 1e-12)
  pg.threads(before)
end

function TestLinalg:test_other_products()
  local a, b = array.from { 1, 2, 3 }, array.from { 4, 5, 6 }
  lu.assertEquals(array.dot(a, b), 32)
  lu.assertEquals(linalg.vdot(array.from { { 1, 2 }, { 3, 4 } }, array.from { { 5, 6 }, { 7, 8 } }), 70)
  lu.assertEquals(linalg.inner(a, b), 32)
  lu.assertEquals(linalg.outer(a, b):totable(), { { 4, 5, 6 }, { 8, 10, 12 }, { 12, 15, 18 } })
  lu.assertEquals(linalg.outer(array.range(2, "int32"), array.range(2, "int32")).dtype, "int32")
  lu.assertEquals(array.dot(a, 2):totable(), { 2, 4, 6 })
  lu.assertEquals(linalg.kron(array.from { 1, 10 }, array.from { 1, 2, 3 }):totable(), { 1, 2, 3, 10, 20, 30 })
  lu.assertEquals(linalg.kron(array.from { { 1, 2 } }, array.from { { 1 }, { 3 } }):totable(), { { 1, 2 }, { 3, 6 } })
  local x, y = normal(7, 3, 4, 5), normal(8, 4, 5, 2)
  local t = linalg.tensordot(x, y)
  close(t, x:reshape(3, 20):matmul(y:reshape(20, 2)))
  close(linalg.tensordot(x, y, { { 3, 2 }, { 2, 1 } }), t)
  lu.assertAlmostEquals(linalg.tensordot(x, y, { -1, 2 })[{ 2, 3, 1, 2 }], x[{ 2, 3 }]:dot(y[{ 1, {}, 2 }]), 1e-12)
  lu.assertEquals(linalg.tensordot(x, y, 0).shape, { 3, 4, 5, 4, 5, 2 })
  lu.assertAlmostEquals(linalg.tensordot(x, x, 3), (x * x):sum(), 1e-10)
  lu.assertEquals(array.dot(x, y:transpose(1, 2, 3)[{ {}, {}, {} }]:reshape(4, 5, 2)).shape, { 3, 4, 4, 2 })
  lu.assertEquals(linalg.inner(x, normal(9, 2, 5)).shape, { 3, 4, 2 })
  fails("axis 3 of a has length 5, and axis 1 of b has 4", linalg.tensordot, x, y, 1)
  fails("tensordot: axes must be an integer from 0", linalg.tensordot, x, y, 4)
  fails("2 axes of a meet 1 of b", linalg.tensordot, x, y, { { 1, 2 }, { 1 } })
  fails("axis 2 is given twice", linalg.tensordot, x, y, { { 2, 2 }, { 1, 2 } })
  fails("vdot: both arrays must have as many", linalg.vdot, a, array.zeros(2))
  fails("inner: the last axes must have the same length", linalg.inner, a, array.zeros(2))
end

function TestLinalg:test_trace_and_powers()
  local a = array.range(1, 12):reshape(3, 4)
  lu.assertEquals(linalg.trace(a), 18)
  lu.assertEquals(linalg.trace(a, { offset = 1 }), 21)
  lu.assertEquals(linalg.trace(a, { offset = -1 }), 15)
  lu.assertEquals(linalg.trace(a, { offset = 9 }), 0)
  lu.assertEquals(linalg.trace(array.range(1, 8):reshape(2, 2, 2)):totable(), { 8, 10 })
  lu.assertEquals(linalg.trace(array.range(1, 8):reshape(2, 2, 2), { axis1 = 2, axis2 = 3 }):totable(), { 5, 13 })
  fails("2 dimensions or more", linalg.trace, array.zeros(3))
  fails("axes must differ", linalg.trace, a, { axis1 = 2, axis2 = 2 })
  local fibonacci = array.from({ { 1, 1 }, { 1, 0 } }, "int64")
  lu.assertEquals(linalg.matrix_power(fibonacci, 50)[1][2], 12586269025)
  lu.assertEquals(linalg.matrix_power(fibonacci, 0):totable(), { { 1, 0 }, { 0, 1 } })
  lu.assertEquals(linalg.matrix_power(fibonacci, 1):totable(), { { 1, 1 }, { 1, 0 } })
  close(linalg.matrix_power(array.from { { 2, 0 }, { 0, 4 } }, -2), array.from { { 0.25, 0 }, { 0, 0.0625 } })
  fails("exponent must be an integer", linalg.matrix_power, fibonacci, 0.5)
  fails("must be square, got shape (2, 3)", linalg.matrix_power, array.zeros(2, 3), 2)
end

-- --------------------------------------------------------------------------------------------------------- norms ----
function TestLinalg:test_norms()
  local v = array.from { 3, -4, 0 }
  lu.assertEquals(linalg.norm(v), 5)
  lu.assertEquals(linalg.norm(v, 1), 7)
  lu.assertEquals(linalg.norm(v, 0), 2)
  lu.assertEquals(linalg.norm(v, math.huge), 4)
  lu.assertEquals(linalg.norm(v, -math.huge), 0)
  lu.assertAlmostEquals(linalg.norm(v, 3), (27 + 64) ^ (1 / 3), 1e-12)
  lu.assertAlmostEquals(linalg.norm(array.from { 3e200, 4e200 }) / 5e200, 1, 1e-14)
  lu.assertAlmostEquals(linalg.norm(array.from { 3e-200, 4e-200 }) / 5e-200, 1, 1e-14)
  lu.assertEquals(linalg.norm(array.zeros(3)), 0)
  for _, size in ipairs { 1e-30, 1e-12, 1, 1e12, 1e30 } do -- squares of float32 vanish and overflow
    local single = (normal(5, 40, 50) * size):astype("float32")
    lu.assertAlmostEquals(linalg.norm(single) / linalg.norm(single:astype("float64")), 1, 2e-7)
    lu.assertAlmostEquals(linalg.norm(single:astype("complex64")) / linalg.norm(single), 1, 2e-7)
  end
  for _, at in ipairs { 1, 7, 16, 17, 40 } do -- NaN wins wherever it is
    local spoilt = array.range(40)
    spoilt[at] = 0 / 0
    lu.assertTrue(linalg.norm(spoilt, math.huge) ~= linalg.norm(spoilt, math.huge))
    lu.assertTrue(linalg.norm(spoilt, -math.huge) ~= linalg.norm(spoilt, -math.huge))
  end
  local m = array.from { { 1, -2 }, { 3, 4 } }
  lu.assertAlmostEquals(linalg.norm(m), math.sqrt(30), 1e-12)
  lu.assertAlmostEquals(linalg.norm(m, "fro"), math.sqrt(30), 1e-12)
  lu.assertEquals(linalg.norm(m, 1), 6)
  lu.assertEquals(linalg.norm(m, -1), 4)
  lu.assertEquals(linalg.norm(m, math.huge), 7)
  lu.assertEquals(linalg.norm(m, -math.huge), 3)
  local s = linalg.svdvals(m)
  lu.assertAlmostEquals(linalg.norm(m, 2), s[1], 1e-12)
  lu.assertAlmostEquals(linalg.norm(m, -2), s[2], 1e-12)
  lu.assertAlmostEquals(linalg.norm(m, "nuc"), s[1] + s[2], 1e-12)
  close(linalg.norm(m, { axis = 1 }), array.from { math.sqrt(10), math.sqrt(20) })
  close(linalg.norm(m, 1, { axis = 2 }), array.from { 3, 7 })
  lu.assertEquals(linalg.norm(m, { axis = 2, keepdims = true }).shape, { 2, 1 })
  lu.assertEquals(linalg.norm(m, { keepdims = true }).shape, { 1, 1 })
  local batch = normal(1, 3, 4, 5)
  local norms = linalg.norm(batch, { axis = { 1, 3 }, ord = 2 })
  lu.assertEquals(norms.shape, { 4 })
  lu.assertAlmostEquals(norms[2], linalg.norm(batch[{ {}, 2 }], 2), 1e-12)
  lu.assertAlmostEquals(linalg.norm(batch), math.sqrt((batch * batch):sum()), 1e-10)
  fails("got 3", linalg.norm, m, 3)
  fails("is for matrices", linalg.norm, v, "fro")
  fails("the order is a number", linalg.norm, v, "max")
  fails("unknown option 'axes'", linalg.norm, v, { axes = 1 })
  fails("with an order the array must have 1 or 2", linalg.norm, batch, 1)
end

-- ------------------------------------------------------------------------------------------------------- systems ----
function TestLinalg:test_solve_inv_det()
  for _, n in ipairs { 1, 2, 5, 40 } do
    for _, dtype in ipairs { "float64", "float32" } do
      local tolerance = dtype == "float32" and 2e-3 or 1e-9
      local a = (normal(n, n, n) + identity(n) * 4):astype(dtype)
      local b, v = normal(n + 1, n, 3):astype(dtype), normal(n + 2, n):astype(dtype)
      local x = linalg.solve(a, b)
      lu.assertEquals(x.dtype, dtype)
      close(a:matmul(x), b, tolerance)
      close(a.T:matmul(linalg.solve(a.T, v)), v, tolerance)
      lu.assertEquals(linalg.solve(a, v).shape, { n })
      close(linalg.inv(a):matmul(a), identity(n), tolerance)
      local sign, logarithm = linalg.slogdet(a)
      local det = linalg.det(a)
      lu.assertTrue(math.abs(det - sign * math.exp(logarithm)) <= tolerance * math.abs(det))
    end
  end
  lu.assertAlmostEquals(linalg.det(array.from { { 1, 2 }, { 3, 4 } }), -2, 1e-12)
  lu.assertEquals(linalg.det(array.from({ { 2, 0 }, { 0, 3 } }, "int32")), 6)
  lu.assertEquals(linalg.det(array.zeros(0, 0)), 1)
  lu.assertEquals({ linalg.slogdet(array.zeros(2, 2)) }, { 0, -math.huge })
  lu.assertEquals(linalg.det(array.from { { 0, 1 }, { 1, 0 } }), -1)
end

function TestLinalg:test_tables_and_mistaken_options()
  close(linalg.solve({ { 4, 1 }, { 1, 3 } }, { 1, 2 }), array.from { 1 / 11, 7 / 11 })
  lu.assertEquals(linalg.det { { 1, 2 }, { 3, 4 } }, linalg.det(array.from { { 1, 2 }, { 3, 4 } }))
  lu.assertEquals(linalg.vdot({ 1, 2 }, { 3, 4 }), 11)
  fails("svd: options are a table such as {compute_uv = ...}, got false; legal are: compute_uv, full_matrices", linalg.svd,
    identity(2), false)
  fails("inv: an array is expected, got 3", linalg.inv, 3)
  fails("curve_fit: y holds NaN or infinity", linalg.curve_fit, function(x, a) return x * a end, array.range(3), { 1, 0 / 0, 3 })
end

function TestLinalg:test_batches_of_systems()
  local a, b = normal(1, 2, 3, 4, 4), normal(2, 3, 4, 2)
  local x = linalg.solve(a, b)
  lu.assertEquals(x.shape, { 2, 3, 4, 2 })
  close(a:matmul(x)[2], b)
  close(linalg.solve(a, normal(3, 4))[{ 1, 2 }], linalg.solve(a[{ 1, 2 }], normal(3, 4)))
  lu.assertEquals(linalg.inv(a).shape, { 2, 3, 4, 4 })
  close(linalg.inv(a)[{ 2, 1 }], linalg.inv(a[{ 2, 1 }]))
  local det = linalg.det(a)
  lu.assertEquals(det.shape, { 2, 3 })
  lu.assertAlmostEquals(det[2][3], linalg.det(a[{ 2, 3 }]), 1e-12)
  local u, s, vh = linalg.svd(a, { full_matrices = false })
  close((u * s:reshape(2, 3, 1, 4)):matmul(vh), a)
  local singular = a:copy()
  singular[{ 2, 1 }] = 0
  fails("inv: matrix 4 of 6 is singular: pivot 1 of 4 is 0", linalg.inv, singular)
end

function TestLinalg:test_errors_of_systems()
  fails("solve: the matrix is singular: pivot 2 of 2 is 0", linalg.solve, array.from { { 1, 2 }, { 2, 4 } },
    array.ones(2))
  fails("solve: the matrix must be square, got shape (2, 3)", linalg.solve, array.zeros(2, 3), array.ones(2))
  fails("needs right-hand sides of 2 rows, got shape (3)", linalg.solve, identity(2), array.ones(3))
  fails("inv: the matrix must be square, got shape (2, 3)", linalg.inv, array.zeros(2, 3))
  fails("inv: a matrix is expected", linalg.inv, array.zeros(2))
  fails("inv: an array is expected, got nil", linalg.inv)
  fails("det: the matrix must be square", linalg.det, array.zeros(2, 3))
  local released = array.zeros(2, 2)
  released:release()
  fails("released", linalg.inv, released)
end

function TestLinalg:test_cholesky()
  local a = normal(1, 6, 6)
  a = a:matmul(a.T) + identity(6)
  local l = linalg.cholesky(a)
  close(l:matmul(l.T), a)
  lu.assertEquals(l[2][3], 0)
  local u = linalg.cholesky(a, { upper = true })
  close(u, l.T)
  fails("cholesky: the matrix is not positive definite: its leading minor of order 2 is not positive", linalg.cholesky,
    array.from { { 1, 2 }, { 2, 1 } })
  fails("upper is true or false, got 1", linalg.cholesky, a, { upper = 1 })
  fails("unknown option 'lower'; legal are: upper", linalg.cholesky, a, { lower = true })
end

function TestLinalg:test_qr()
  for _, shape in ipairs { { 6, 4 }, { 4, 6 }, { 5, 5 }, { 1, 3 }, { 70, 40 } } do
    local a = normal(1, shape[1], shape[2])
    local q, r = linalg.qr(a)
    local k = math.min(shape[1], shape[2])
    lu.assertEquals(q.shape, { shape[1], k })
    lu.assertEquals(r.shape, { k, shape[2] })
    close(q:matmul(r), a)
    close(q.T:matmul(q), identity(k))
    for i = 2, k do
      lu.assertEquals(r[i][i - 1], 0)
    end
    local full, tall = linalg.qr(a, { mode = "complete" })
    close(full:matmul(tall), a)
    close(full.T:matmul(full), identity(shape[1]))
    close(linalg.qr(a, { mode = "r" }), r)
  end
  fails('qr: mode is "reduced", "complete" or "r", got the string "raw"', linalg.qr, identity(2), { mode = "raw" })
end

function TestLinalg:test_svd()
  for _, shape in ipairs { { 6, 4 }, { 4, 6 }, { 5, 5 }, { 1, 3 }, { 90, 7 }, { 7, 90 } } do
    local m, n = shape[1], shape[2]
    local k = math.min(m, n)
    for _, dtype in ipairs { "float64", "float32" } do
      local tolerance = dtype == "float32" and 1e-4 or 1e-10
      for _, a in ipairs { normal(1, m, n):astype(dtype), normal(2, n, m):astype(dtype).T } do
        local u, s, vh = linalg.svd(a, { full_matrices = false })
        lu.assertEquals({ u.shape, s.shape, vh.shape }, { { m, k }, { k }, { k, n } })
        close((u * s):matmul(vh), a, tolerance)
        close(u.T:matmul(u), identity(k), tolerance)
        close(vh:matmul(vh.T), identity(k), tolerance)
        for i = 2, k do
          lu.assertTrue(s[i] <= s[i - 1] and s[i] >= 0)
        end
        local full, s2, vfull = linalg.svd(a)
        lu.assertEquals({ full.shape, vfull.shape }, { { m, m }, { n, n } })
        close(full.T:matmul(full), identity(m), tolerance)
        close(vfull:matmul(vfull.T), identity(n), tolerance)
        close((full[{ {}, { 1, k } }] * s2):matmul(vfull[{ { 1, k } }]), a, tolerance)
        close(linalg.svd(a, { compute_uv = false }), s, tolerance)
        close(linalg.svdvals(a), s, tolerance)
      end
    end
  end
  close(linalg.svdvals(array.from { { 3, 0 }, { 0, -5 } }), array.from { 5, 3 })
  fails("svd: the matrix holds NaN or infinity", linalg.svd, array.full({ 2, 2 }, 0 / 0))
  fails("svd: a matrix is expected", linalg.svd, array.zeros(3))
end

function TestLinalg:test_eigenvalues()
  local a = normal(1, 8, 8)
  local symmetric = a + a.T
  local w, v = linalg.eigh(symmetric)
  close(symmetric:matmul(v), v * w)
  close(v.T:matmul(v), identity(8))
  close(linalg.eigvalsh(symmetric), w)
  local half = symmetric:copy() -- only one triangle is read
  for i = 1, 8 do
    for j = i + 1, 8 do
      half[i][j] = 0 / 0
    end
  end
  close(linalg.eigvalsh(half), w)
  close(linalg.eigvalsh(half.T, { upper = true }), w)
  close(linalg.eigvalsh(array.from { { 2, 1 }, { 1, 2 } }), array.from { 1, 3 })
  local values, vectors = linalg.eig(symmetric) -- real, though it need not be
  lu.assertEquals(values.dtype, "float64")
  close(symmetric:matmul(vectors), vectors * values)
  fails("eig: the matrix must be square", linalg.eig, array.zeros(2, 3))
  fails("eigvals: the matrix holds NaN or infinity", linalg.eigvals, array.full({ 2, 2 }, 1 / 0))
  fails("eigh: the matrix holds NaN or infinity", linalg.eigh, array.full({ 2, 2 }, 1 / 0))
end

function TestLinalg:test_least_squares()
  local a, x = normal(1, 30, 4), normal(2, 4)
  local b = a:matmul(x)
  local found, residuals, rank, s = linalg.lstsq(a, b)
  close(found, x)
  lu.assertEquals(found.shape, { 4 })
  lu.assertEquals(rank, 4)
  lu.assertEquals(residuals.shape, { 1 })
  lu.assertTrue(residuals[1] < 1e-20)
  close(s, linalg.svdvals(a))
  local noisy = normal(3, 30, 2)
  local many, sums = linalg.lstsq(a, noisy)
  lu.assertEquals(many.shape, { 4, 2 })
  local r = noisy - a:matmul(many)
  close(a.T:matmul(r), array.zeros(4, 2)) -- residuals are at right angles to the columns
  close(sums, (r * r):sum(1))
  -- Fewer equations than unknowns: the shortest of all solutions.
  local wide = normal(4, 3, 6)
  local shortest, none, wide_rank = linalg.lstsq(wide, array.ones(3))
  close(wide:matmul(shortest), array.ones(3))
  lu.assertEquals(none.size, 0)
  lu.assertEquals(wide_rank, 3)
  close(shortest, linalg.pinv(wide):matmul(array.ones(3)))
  local deficient = array.from { { 1, 1 }, { 1, 1 }, { 1, 1 } }
  local half, empty, one = linalg.lstsq(deficient, array.from { 1, 2, 3 })
  close(half, array.from { 1, 1 })
  lu.assertEquals({ empty.size, one }, { 0, 1 })
  fails("lstsq: a matrix of shape (30, 4) needs right-hand sides of 30 rows, got shape (3)", linalg.lstsq, a,
    array.ones(3))
  fails("rcond must be a number, 0 or more, got -1", linalg.lstsq, a, b, { rcond = -1 })
end

function TestLinalg:test_pinv_rank_cond()
  for _, shape in ipairs { { 6, 4 }, { 4, 6 }, { 5, 5 } } do
    local a = normal(1, shape[1], shape[2])
    local p = linalg.pinv(a)
    close(a:matmul(p):matmul(a), a)
    close(p:matmul(a):matmul(p), p)
    close(a:matmul(p).T, a:matmul(p))
    lu.assertEquals(linalg.matrix_rank(a), math.min(shape[1], shape[2]))
  end
  local one = linalg.outer(normal(2, 5), normal(3, 7))
  lu.assertEquals(linalg.matrix_rank(one), 1)
  lu.assertEquals(linalg.matrix_rank(array.zeros(3, 3)), 0)
  lu.assertEquals(linalg.matrix_rank(normal(1, 2, 3, 3)):totable(), { 3, 3 })
  lu.assertEquals(linalg.matrix_rank(array.from { { 1, 0 }, { 0, 1e-3 } }, { tol = 0.01 }), 1)
  close(linalg.pinv(one):matmul(one):matmul(linalg.pinv(one)), linalg.pinv(one))
  lu.assertAlmostEquals(linalg.cond(array.from { { 4, 0 }, { 0, 2 } }), 2, 1e-12)
  lu.assertAlmostEquals(linalg.cond(array.from { { 4, 0 }, { 0, 2 } }, 1), 2, 1e-12)
  lu.assertEquals(linalg.cond(array.from { { 1, 2 }, { 2, 4 } }, 1), math.huge)
end

-- ----------------------------------------------------------------------------------------------------- distances ----
function TestLinalg:test_distances()
  local a, b = normal(1, 40, 3), normal(2, 50, 3)
  local function direct(f)
    local c = array.zeros(40, 50)
    for i = 1, 40 do
      for j = 1, 50 do
        c:set(i, j, f(a[i], b[j]))
      end
    end
    return c
  end
  local function each(f)
    return function(x, y)
      local sum = 0
      for c = 1, 3 do
        sum = f(sum, math.abs(x[c] - y[c]))
      end
      return sum
    end
  end
  local squares = each(function(sum, d) return sum + d * d end)
  close(linalg.cdist(a, b), direct(function(x, y) return math.sqrt(squares(x, y)) end))
  close(linalg.cdist(a, b, "sqeuclidean"), direct(squares))
  close(linalg.cdist(a, b, { metric = "cityblock" }), direct(each(function(sum, d) return sum + d end)))
  close(linalg.cdist(a, b, "chebyshev"), direct(each(math.max)))
  local cubes = each(function(sum, d) return sum + d ^ 3 end)
  close(linalg.cdist(a, b, { metric = "minkowski", p = 3 }), direct(function(x, y) return cubes(x, y) ^ (1 / 3) end))
  close(linalg.cdist(a, b, "cosine"), direct(function(x, y)
    local xy, xx, yy = 0, 0, 0
    for c = 1, 3 do
      xy, xx, yy = xy + x[c] * y[c], xx + x[c] ^ 2, yy + y[c] ^ 2
    end
    return 1 - xy / math.sqrt(xx * yy)
  end))
  local p = linalg.pdist(a)
  lu.assertEquals(p.size, 780)
  close(linalg.squareform(p), linalg.cdist(a, a))
  close(linalg.squareform(linalg.squareform(p)), p)
  lu.assertEquals(linalg.pdist(a[{ { 1, 1 } }]).size, 0)
  close(linalg.cdist(a.T:copy().T, b[{ { -1, 1, -1 } }]), linalg.cdist(a, b)[{ {}, { -1, 1, -1 } }])
  lu.assertEquals(linalg.cdist(array.from({ { 0, 0 } }, "int32"), array.from({ { 3, 4 } }, "float32"))[1][1], 5)
  fails("points of 3 and of 2 coordinates", linalg.cdist, a, array.zeros(5, 2))
  fails('got the string "hamming"', linalg.cdist, a, b, "hamming")
  fails("p must be a positive number, got 0", linalg.cdist, a, b, { metric = "minkowski", p = 0 })
  fails('p is for the metric "minkowski"', linalg.cdist, a, b, { p = 3 })
  fails("points are the rows of a matrix", linalg.pdist, array.zeros(3))
  fails("5 is no such number", linalg.squareform, array.zeros(5))
  fails("must be symmetric", linalg.squareform, array.from { { 0, 1 }, { 2, 0 } })
end

-- -------------------------------------------------------------------------------------------------------- einsum ----
function TestLinalg:test_einsum()
  local a, b, v = normal(1, 4, 5), normal(2, 5, 3), normal(3, 5)
  local square = normal(4, 4, 4)
  close(linalg.einsum("ij,jk->ik", a, b), a:matmul(b))
  close(linalg.einsum("ij,jk", a, b), a:matmul(b))
  close(linalg.einsum("ij,jk->ki", a, b), a:matmul(b).T)
  close(linalg.einsum(" i j , j -> i ", a, v), a:matmul(v))
  close(linalg.einsum("ij->ji", a), a.T)
  close(linalg.einsum("ba", a), a.T)
  close(linalg.einsum("ij->j", a), a:sum(1))
  lu.assertAlmostEquals(linalg.einsum("ij->", a), a:sum(), 1e-12)
  lu.assertAlmostEquals(linalg.einsum("ii", square), linalg.trace(square), 1e-12)
  lu.assertAlmostEquals(linalg.einsum("i,i", v, v), v:dot(v), 1e-12)
  close(linalg.einsum("ii->i", square), array.from { square[1][1], square[2][2], square[3][3], square[4][4] })
  close(linalg.einsum("i,j->ij", v, v), linalg.outer(v, v))
  close(linalg.einsum("ij,ij->ij", a, a), a * a)
  close(linalg.einsum("ij,ij->i", a, a), (a * a):sum(2))
  close(linalg.einsum("ij,jk,kl->il", a, b, normal(5, 3, 6)), a:matmul(b):matmul(normal(5, 3, 6)))
  local x, y = normal(6, 2, 4, 5), normal(7, 2, 5, 3)
  close(linalg.einsum("bij,bjk->bik", x, y), x:matmul(y))
  close(linalg.einsum("...ij,...jk->...ik", x, y), x:matmul(y))
  close(linalg.einsum("...ij,jk->...ik", x, b), x:matmul(b))
  close(linalg.einsum("i...->...", x), x:sum(1))
  close(linalg.einsum("...ij,...jk", x, normal(8, 1, 5, 3)), x:matmul(normal(8, 1, 5, 3)))
  close(linalg.einsum("bij,k->bk", x, v), linalg.outer(x:sum(3):sum(2), v))
  lu.assertEquals(linalg.einsum("ij,jk->ik", array.from({ { 1, 2 } }, "int32"), array.from({ { 3 }, { 4 } }, "int32"))
    :totable(), { { 11 } })
  fails('einsum: "ij,jk" names 2 operands, got 1', linalg.einsum, "ij,jk", a)
  fails("operand 1 has 2 dimensions, and its subscripts name 3", linalg.einsum, "ijk->i", a)
  fails("'j' has length 3 in operand 2 and 5 before", linalg.einsum, "ij,kj->ik", a, b)
  fails("the output has 'k', which no operand has", linalg.einsum, "ij->k", a)
  fails("the output has 'i' twice", linalg.einsum, "ij->ii", a)
  fails("'1' in operand 1", linalg.einsum, "i1->i", a)
  fails("'i' has lengths 4 and 5 in operand 1", linalg.einsum, "ii", a)
end

-- --------------------------------------------------------------------------------------------------- polynomials ----
function TestLinalg:test_polynomials()
  local x = array.linspace(-2, 3, 20)
  local p = array.from { 2, -1, 0.5, 3 }
  local y = linalg.polyval(p, x)
  close(y, x ^ 3 * 2 - x * x + x * 0.5 + 3)
  lu.assertEquals(linalg.polyval({ 1, 2, 3 }, 2), 11)
  lu.assertEquals(linalg.polyval(array.from { 1, 0 }, array.full({ 1 }, 1 / 0))[1], 1 / 0)
  close(linalg.polyfit(x, y, 3), p)
  close(linalg.polyfit(x, y, 5), array.from { 0, 0, 2, -1, 0.5, 3 }, 1e-8)
  -- A weight of 0 leaves a point out.
  local w, spoilt = array.ones(20), y:copy()
  w[7], spoilt[7] = 0, 1000
  close(linalg.polyfit(x, spoilt, 3, { w = w }), p)
  -- A straight line's covariance by its formula.
  local line = array.from { 1, 2.9, 5.2, 7.1, 8.8 }
  local t = array.range(5)
  local q, covariance = linalg.polyfit(t, line, 1, { cov = true })
  local r = line - linalg.polyval(q, t)
  lu.assertAlmostEquals(covariance[1][1], r:dot(r) / 3 / 10, 1e-12)
  lu.assertEquals(covariance.shape, { 2, 2 })
  local zeros = linalg.roots({ 1, -6, 11, -6 }):totable()
  table.sort(zeros)
  close(array.from(zeros), array.from { 1, 2, 3 }, 1e-9)
  lu.assertEquals(linalg.roots({ 0, 0, 5 }).size, 0)
  lu.assertEquals(linalg.roots({ 2, -4, 0 }):totable(), { 2, 0 })
  fails("the degree must be an integer, 0 or more, got -1", linalg.polyfit, x, y, -1)
  fails("polyfit: x and y must have as many elements, got 20 and 3", linalg.polyfit, x, array.ones(3), 1)
  fails("2 points do not determine 3 coefficients", linalg.polyfit, array.range(2), array.range(2), 2)
  fails("polyval: p must be a vector", linalg.polyval, array.zeros(2, 2), 1)
end

function TestLinalg:test_curve_fit()
  local x = array.linspace(0, 4, 50)
  local function model(t, a, b, c) return (t * -b):exp() * a + c end
  local truth = model(x, 2.5, 1.3, 0.5)
  local p, covariance, info = linalg.curve_fit(model, x, truth)
  close(p, array.from { 2.5, 1.3, 0.5 }, 1e-6)
  lu.assertEquals(covariance.shape, { 3, 3 })
  lu.assertTrue(info.converged and info.cost < 1e-10 and info.evaluations < 200)
  local noisy = truth + normal(1, 50) * 0.05
  local jacobian_calls = 0
  local function jacobian(t, a, b, c)
    jacobian_calls = jacobian_calls + 1
    local d, e = array.empty(50, 3), (t * -b):exp()
    d[{ {}, 1 }], d[{ {}, 2 }], d[{ {}, 3 }] = e, t * e * -a, 1
    return d
  end
  local found = linalg.curve_fit(model, x, noisy)
  close(linalg.curve_fit(model, x, noisy, { jacobian = jacobian }), found, 1e-5)
  lu.assertTrue(jacobian_calls > 1)
  -- At the minimum residuals are at right angles to the derivatives.
  local r = model(x, found[1], found[2], found[3]) - noisy
  lu.assertTrue(linalg.norm(jacobian(x, found[1], found[2], found[3]).T:matmul(r)) < 1e-4)
  -- A straight line: what polyfit says, covariance too.
  local function line(t, a, b) return t * a + b end
  local q, of_line = linalg.curve_fit(line, x, noisy)
  local expected, expected_covariance = linalg.polyfit(x, noisy, 1, { cov = true })
  close(q, expected, 1e-6)
  close(of_line, expected_covariance, 1e-5)
  -- Errors of y: alike for all, they do not matter, but for an absolute covariance.
  local same, relative = linalg.curve_fit(line, x, noisy, { sigma = array.full({ 50 }, 0.1) })
  close(same, expected, 1e-6)
  close(relative, expected_covariance, 1e-5)
  local _, absolute = linalg.curve_fit(line, x, noisy, { sigma = array.full({ 50 }, 0.1), absolute_sigma = true })
  local d = array.ones(50, 2)
  d[{ {}, 1 }] = x
  close(absolute, linalg.inv(d.T:matmul(d)) * 0.01, 1e-6)
  -- Bounds: the solution lies at one.
  local bounded = linalg.curve_fit(model, x, truth, { bounds = { { 0, 0, 0 }, { 3, 1, 2 } } })
  lu.assertEquals(bounded[2], 1)
  lu.assertTrue(bounded[1] <= 3 and bounded[3] >= 0)
  close(linalg.curve_fit(model, x, truth, { bounds = { 0, 10 }, p0 = { 1, 1, 1 } }), p, 1e-5)
  fails("not converged after", linalg.curve_fit, model, x, noisy, { max_evaluations = 5 })
  fails("cannot be seen", linalg.curve_fit, function(t, ...) return t end, x, noisy)
  fails("the model, a function", linalg.curve_fit, 3, x, noisy)
  fails("the model must return a vector as long as y (50), got shape (3)", linalg.curve_fit,
    function(t, a) return array.ones(3) * a end, x, noisy)
  fails("outside its bounds", linalg.curve_fit, line, x, noisy, { p0 = { 5, 1 }, bounds = { 0, 2 } })
  fails("2 points cannot determine 3 parameters", linalg.curve_fit, model, x[{ { 1, 2 } }], noisy[{ { 1, 2 } }])
  fails("must be in order", linalg.curve_fit, line, x, noisy, { bounds = { 2, 0 } })
  fails("unknown option 'start'", linalg.curve_fit, line, x, noisy, { start = 1 })
  fails("not finite at the start", linalg.curve_fit, function(t, a) return t * (0 / 0 * a) end, x, noisy)
end

-- ------------------------------------------------------------------------------------- every dtype, identities only ----
local dtypes = { "float32", "float64", "complex64", "complex128" }
local is_single = { float32 = true, complex64 = true }
local is_complex = { complex64 = true, complex128 = true }

local function draw(seed, dtype, ...)
  local a = normal(seed, ...)
  if is_complex[dtype] then
    a = array.complex(a, normal(seed + 1000, ...))
  end
  return a:astype(dtype)
end

-- Conjugate transpose of the last two axes.
local function adjoint(a)
  local order = {}
  for i = 1, a.ndim do
    order[i] = i
  end
  order[a.ndim - 1], order[a.ndim] = a.ndim, a.ndim - 1
  return array.conj(a):transpose(order)
end

local function unit(n, dtype)
  return identity(n):astype(dtype)
end

local function each_dtype(body)
  for _, dtype in ipairs(dtypes) do
    local real = is_single[dtype] and "float32" or "float64"
    body(dtype, real, is_single[dtype] and 3e-5 or 1e-12)
  end
end

local shapes = { { 1, 1 }, { 1, 5 }, { 5, 1 }, { 2, 2 }, { 7, 7 }, { 9, 4 }, { 4, 9 }, { 33, 8 }, { 8, 33 }, { 70, 17 },
  { 131, 33 }, { 33, 131 } }

function TestLinalg:test_identities_of_decompositions()
  each_dtype(function(dtype, real, tolerance)
    for _, shape in ipairs(shapes) do
      local m, n = shape[1], shape[2]
      local k, what = math.min(m, n), dtype .. " " .. m .. "x" .. n
      for _, a in ipairs { draw(m, dtype, m, n), draw(m, dtype, n, m).T } do
        local t = tolerance * math.max(m, n)
        local q, r = linalg.qr(a)
        lu.assertEquals({ q.dtype, r.dtype, q.shape, r.shape }, { dtype, dtype, { m, k }, { k, n } }, what)
        close(q:matmul(r), a, t, "qr " .. what)
        close(adjoint(q):matmul(q), unit(k, dtype), t, "qr " .. what)
        for i = 2, k do
          lu.assertTrue(not (r[{ i, { 1, i - 1 } }]:any()), "qr: R of " .. what)
        end
        close(linalg.qr(a, { mode = "r" }), r, 0)
        q, r = linalg.qr(a, { mode = "complete" })
        lu.assertEquals({ q.shape, r.shape }, { { m, m }, { m, n } }, what)
        close(q:matmul(r), a, t, "complete qr " .. what)
        close(adjoint(q):matmul(q), unit(m, dtype), t, "complete qr " .. what)

        local u, s, vh = linalg.svd(a, { full_matrices = false })
        lu.assertEquals({ u.dtype, s.dtype, vh.dtype, u.shape, s.shape, vh.shape },
          { dtype, real, dtype, { m, k }, { k }, { k, n } }, what)
        close((u * s):matmul(vh), a, t, "svd " .. what)
        close(adjoint(u):matmul(u), unit(k, dtype), t, "svd U " .. what)
        close(vh:matmul(adjoint(vh)), unit(k, dtype), t, "svd V " .. what)
        close(linalg.svdvals(a), s, t, "svdvals " .. what)
        u, s, vh = linalg.svd(a)
        lu.assertEquals({ u.shape, vh.shape }, { { m, m }, { n, n } }, what)
        close((u[{ {}, { 1, k } }] * s):matmul(vh[{ { 1, k } }]), a, t, "full svd " .. what)
        close(adjoint(u):matmul(u), unit(m, dtype), t, "full svd U " .. what)

        local p = linalg.pinv(a)
        lu.assertEquals({ p.dtype, p.shape }, { dtype, { n, m } })
        t = t * (1 + s[1] / s[k])
        close(a:matmul(p):matmul(a), a, t, "pinv " .. what)
        close(adjoint(a:matmul(p)), a:matmul(p), t, "pinv " .. what)
        local b = draw(m + 1, dtype, m, 2)
        local x, residuals, rank = linalg.lstsq(a, b)
        lu.assertEquals({ x.dtype, residuals.dtype, rank }, { dtype, real, k })
        close(x, p:matmul(b), t * 10, "lstsq " .. what)
        if m > n then
          local rest = array.abs(b - a:matmul(x))
          close(residuals, (rest * rest):sum(1), t * 10, "residuals " .. what)
        else
          lu.assertEquals(residuals.size, 0)
        end
      end
    end
  end)
end

function TestLinalg:test_identities_of_square_matrices()
  each_dtype(function(dtype, real, tolerance)
    for _, n in ipairs { 1, 2, 3, 8, 17, 64 } do
      local what, t = dtype .. " " .. n, tolerance * n * 4
      local a = draw(n, dtype, n, n) + unit(n, dtype) * (2 * n)
      local b = draw(n + 1, dtype, n, 3)
      close(a:matmul(linalg.solve(a, b)), b, t, "solve " .. what)
      lu.assertEquals(linalg.solve(a, b).dtype, dtype)
      close(linalg.inv(a):matmul(a), unit(n, dtype), t, "inv " .. what)
      lu.assertEquals(linalg.inv(a).dtype, dtype)

      local w, v = linalg.eig(a)
      lu.assertEquals({ is_single[w.dtype] or false, is_single[v.dtype] or false },
        { is_single[dtype] or false, is_single[dtype] or false })
      close(a:matmul(v), v * w, t * n, "eig " .. what)
      close(linalg.norm(v, { axis = 1 }), array.ones(n), t, "eig: lengths " .. what)

      local spd = a:matmul(adjoint(a)) * (1 / n) + unit(n, dtype)
      local lower, upper = linalg.cholesky(spd), linalg.cholesky(spd, { upper = true })
      lu.assertEquals(lower.dtype, dtype)
      close(lower:matmul(adjoint(lower)), spd, t * n, "cholesky " .. what)
      close(adjoint(upper):matmul(upper), spd, t * n, "cholesky " .. what)
      w, v = linalg.eigh(spd)
      lu.assertEquals({ w.dtype, v.dtype }, { real, dtype })
      close((v * w):matmul(adjoint(v)), spd, t * n, "eigh " .. what)
      close(adjoint(v):matmul(v), unit(n, dtype), t, "eigh " .. what)
      close(linalg.eigvalsh(spd), w, t * n, "eigvalsh " .. what)
      for i = 2, n do
        lu.assertTrue(w[i] >= w[i - 1])
      end
      local sign, logarithm = linalg.slogdet(spd)
      close(array.full({ 1 }, logarithm), array.full({ 1 }, array.log(w):sum()), t, "slogdet " .. what)
      close(array.full({ 1 }, sign), array.ones(1):astype(dtype), t, "slogdet " .. what)
    end
    local batch = draw(5, dtype, 2, 3, 4, 4)
    close(linalg.inv(batch):matmul(batch), batch * 0 + unit(4, dtype), tolerance * 1e3)
    local w, v = linalg.eig(batch)
    close(batch:matmul(v), v * w:reshape(2, 3, 1, 4), tolerance * 100)
    local u, s, vh = linalg.svd(draw(6, dtype, 3, 40, 9), { full_matrices = false })
    close((u * s:reshape(3, 1, 9)):matmul(vh), draw(6, dtype, 3, 40, 9), tolerance * 40)
  end)
end

function TestLinalg:test_products_of_every_dtype()
  each_dtype(function(dtype, real, tolerance)
    local a, b = draw(1, dtype, 37, 21), draw(2, dtype, 21, 43)
    local c = a:matmul(b)
    lu.assertEquals(c.dtype, dtype)
    for _, at in ipairs { { 1, 1 }, { 20, 30 }, { 37, 43 } } do
      local x, y = a[{ { at[1], at[1] } }], b[{ {}, { at[2], at[2] } }] -- small: not in BLAS
      close(c[{ { at[1], at[1] }, { at[2], at[2] } }], x:matmul(y), tolerance * 40)
    end
    close(adjoint(b):matmul(adjoint(a)), adjoint(c), tolerance * 40)
    -- vdot takes the conjugate of its first argument, dot does not.
    local x, y = draw(3, dtype, 50), draw(4, dtype, 50)
    local function number(z)
      return array.full({ 1 }, z)
    end
    close(number(linalg.vdot(x, y)), number(array.dot(array.conj(x), y)), tolerance * 50)
    close(number(linalg.vdot(x, x)), number(linalg.norm(x) ^ 2):astype(dtype), tolerance * 50)
    close(x[{ { -1, 1, -1 } }]:matmul(y:reshape(50, 1)), number(array.dot(x[{ { -1, 1, -1 } }], y)), tolerance * 50)
    lu.assertEquals(linalg.norm(a, { axis = 1 }).dtype, real)
  end)
end

-- Strided, reversed and transposed matrices give what their copies give.
function TestLinalg:test_views()
  local whole = normal(11, 24, 24)
  for _, view in ipairs { whole[{ { 1, -1, 3 }, { 2, -1, 3 } }], whole[{ { -1, 1, -3 }, { 1, 8 } }], whole.T[{ { 3, 10 }, { 5, 12 } }] } do
    local copy = view:copy()
    for _, name in ipairs { "inv", "det", "eigvals", "eigvalsh", "svdvals", "pinv", "norm", "cond", "matrix_rank", "trace" } do
      local a, b = linalg[name](view), linalg[name](copy)
      lu.assertTrue(array.is(a) and a == b or a == b, name)
    end
    close(linalg.solve(view, view[1]), linalg.solve(copy, copy[1]:copy()), 0)
    lu.assertTrue(linalg.cdist(view, view) == linalg.cdist(copy, copy))
  end
  for _, order in ipairs { 0, 0.5, 1, 2, 3, math.huge, -math.huge } do
    local wide = normal(12, 700, 3)
    close(linalg.norm(wide.T, order, { axis = 2 }), linalg.norm(wide, order, { axis = 1 }), 1e-12)
    close(linalg.norm(wide:copy(), order, { axis = 1 }), linalg.norm(wide.T:copy(), order, { axis = 2 }), 1e-12)
  end
end

os.exit(lu.LuaUnit.run(), true)
