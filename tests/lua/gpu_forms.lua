-- Kernels of perigee.kernel on the GPU in use (:on("gpu")), and their CUDA C++.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array, kernel = pg.gpu, pg.array, pg.kernel
gpu.use(os.getenv("PERIGEE_GPU") or "sim")
local llvm, no_llvm = pg.available("llvm")
if not llvm and gpu.backend() == "sim" then
  print("not run: " .. no_llvm)
  os.exit(0)
end

local function raises(text, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok, "no error, expected: " .. text)
  lu.assertStrContains(tostring(message), text)
end

local function near(a, b)
  lu.assertTrue(array.allclose(a, b, { rtol = 1e-12, atol = 1e-12 }), tostring(a) .. " / " .. tostring(b))
end

-- A kernel on the processor; where nothing compiles it for that (in a bundle), on the simulator.
local function reference(k)
  return llvm and k or function(...)
    gpu.use("sim")
    local results = { k:on("gpu")(...) }
    gpu.use("cuda")
    return unpack(results)
  end
end

TestForms = {}

function TestForms.test_elementwise()
  local k = kernel.elementwise(function(a, b, s)
    return a * s + b, a > b
  end)
  local g = k:on("gpu")
  local x, y = array.range(1, 12):reshape(3, 4), array.from { 4, 3, 2, 1 }
  local p, q = reference(k)(x, y, 2.5)
  local r, s = g(gpu.array(x), gpu.array(y), 2.5)
  lu.assertTrue(gpu.is_array(r) and gpu.is_array(s))
  near(r:to_host(), p)
  lu.assertTrue(array.equal(s:to_host(), q))
  r, s = g(x, y, 2.5) -- the host's: there and back
  lu.assertTrue(array.is(r))
  near(r, p)
end

function TestForms.test_parallel_for()
  local n, m = 37, 50
  local u = array.range(1, n * m):reshape(n, m)
  local body = function(i, j, a, b) b[j][i] = a[i][j] * 2 end
  local loop = kernel.parallel_for(body):on("gpu")
  local v = gpu.zeros(m, n)
  loop({ n, m }, gpu.array(u), v)
  near(v:to_host(), u.T * 2)
  local host = array.zeros(m, n)
  loop({ n, m }, u, host)
  near(host, u.T * 2)
end

-- Sums are combined in another order than on the processor; all else is the same.
function TestForms.test_reductions()
  local n = 5000
  local x = pg.random.generator(5):uniform(-1, 1, { shape = n })
  local f, i = x:astype("float32"), array.range(1, n, "int32")
  local function both(body, reduce, lengths, ...)
    local k = kernel.parallel_for(body, { reduce = reduce })
    return reference(k)(lengths, ...), k:on("gpu")(lengths, ...)
  end
  for _, reduce in ipairs { "sum", "product", "min", "max" } do
    for _, m in ipairs { 0, 1, 33, 256, n } do
      local a, b = both(function(j, y) return 1 + y[j] / 1000 end, reduce, m, x)
      lu.assertTrue(a == b or math.abs(a - b) <= 1e-12 * math.abs(a), ("%.17g %.17g"):format(a, b))
    end
    local a, b = both(function(j, y) return 1 + y[j] / 1000 end, reduce, n, f)
    lu.assertAlmostEquals(a, b, 2e-4 * math.abs(a))
    a, b = both(function(j, y) return y[j] * 7 % 11 - 5 end, reduce, n, i) -- whole numbers are exact, and wrap
    lu.assertEquals(a, b)
  end
  -- Rounds that return nothing, loops of the body's own, several indices; on the device.
  local body = function(r, c, m, k)
    if c % 3 == 0 then
      return
    end
    local s = 0
    for e = 1, k do
      s = s + m[r][c] * e
    end
    return s
  end
  local skipping = function(r, c, m)
    if c % 3 ~= 0 then
      return m[r][c]
    end
  end
  local m = array.range(1, 37 * 50, "int64"):reshape(37, 50)
  lu.assertErrorMsgContains("returns one value", reference(kernel.parallel_for(body, { reduce = "sum" })), { 37, 50 }, m, 3)
  local k = kernel.parallel_for(skipping, { reduce = "sum" })
  lu.assertEquals(k:on("gpu")({ 37, 50 }, gpu.array(m)), reference(k)({ 37, 50 }, m))
  local a, b = both(function(p, q, r, y) return y[p][q][r] end, "max", { 10, 37, 5 }, m:reshape(10, 37, 5))
  lu.assertEquals(a, b)
  local z = array.zeros(100, "complex128")
  for j = 1, 100 do z[j] = array.complex(j, 1 / j) end
  a, b = both(function(j, y) return y[j] * y[j] end, "sum", 100, z)
  lu.assertAlmostEquals(a.re, b.re, 1e-9)
  lu.assertAlmostEquals(a.im, b.im, 1e-9)
  -- Whatever the parameters are called, also like what combines them.
  a, b = both(function(total, tile, gpu, half) return tile[total] * gpu + half end, "sum", 300, i, 3, 2)
  lu.assertEquals(a, b)
  a, b = both(function(p, parts, math) return parts[p] * math end, "max", 300, i, 3)
  lu.assertEquals(a, b)
  local nan = array.from { 3, 0 / 0, 1, 0 / 0 }
  a, b = both(function(j, y) return y[j] end, "min", 4, nan)
  lu.assertEquals(a, 1)
  lu.assertEquals(b, 1)
end

function TestForms.test_generalized()
  local matmul = kernel.generalized("(m,k),(k,n)->(m,n)", function(a, b, c)
    for i = 1, a:dim(1) do
      for j = 1, b:dim(2) do
        local s = 0.0
        for e = 1, a:dim(2) do
          s = s + a[i][e] * b[e][j]
        end
        c[i][j] = s
      end
    end
  end)
  local g = pg.random.generator(6)
  local x, y = g:uniform { shape = { 5, 7, 3, 4 } }, g:uniform { shape = { 7, 4, 2 } }
  local on = matmul:on("gpu")
  matmul = reference(matmul)
  near(on(x, y), matmul(x, y)) -- broadcast
  near(on(x, y[1]), matmul(x, y[1])) -- one for all
  near(on(x[1][1], y[1]), matmul(x[1][1], y[1])) -- no outer axes
  local d = on(gpu.array(x), y)
  lu.assertTrue(gpu.is_array(d))
  near(d:to_host(), matmul(x, y))
  near(on(x:transpose { 1, 2, 4, 3 }:astype("float32"), x:astype("float32")),
    matmul(x:transpose { 1, 2, 4, 3 }:astype("float32"), x:astype("float32")))
  -- Results without axes, numbers, several.
  local moments = kernel.generalized("(n),()->(),()", function(a, shift)
    local s, t = 0.0, 0
    for i = 1, #a do
      s = s + (a[i] - shift) ^ 2
      if a[i] > shift then
        t = t + 1
      end
    end
    return s / #a, t
  end)
  local p, q = reference(moments)(x, 0.5)
  local r, s = moments:on("gpu")(x, 0.5)
  near(r, p)
  lu.assertEquals(s.dtype, q.dtype)
  lu.assertTrue(array.equal(s, q))
  local u, v = moments:on("gpu")(x[1][1][1], 0.5)
  p, q = reference(moments)(x[1][1][1], 0.5)
  lu.assertEquals({ u, v }, { p, q })
  lu.assertEquals(on(array.zeros(0, 3, 4), y[1]).shape, { 0, 3, 2 })
  raises("axis 'k' is 2 long in argument 2, and 4 before", on, x, y:transpose { 1, 3, 2 })
  raises("on a GPU it takes no options", on, x, y, { out = x })
end

function TestForms.test_vmap()
  local rows = array.range(1, 60):reshape(20, 3)
  local k = kernel.vmap(function(row, s)
    local total = 0.0
    for i = 1, #row do
      total = total + row[i] * s
    end
    return total, row[1] > 10
  end)
  local a, b = reference(k)(rows, 2)
  local c, d = k:on("gpu")(rows, 2)
  near(c, a)
  lu.assertTrue(array.equal(d, b))
  local shared = kernel.vmap(function(x, table) return table[x] end, { in_axes = { true, false } })
  local index, values = array.from({ 3, 1, 2, 3 }, "int64"), array.from { 10, 20, 30 }
  near(shared:on("gpu")(index, values), reference(shared)(index, values))
  near(shared:on("gpu")(gpu.array(index), gpu.array(values)):to_host(), reference(shared)(index, values))
  raises("no argument has an axis to run over", k:on("gpu"), 1, 2)
  raises("kernels on the GPU have no method 'onn'", function() return k:on("gpu").onn end)
  if llvm then
    near((k:on("gpu"):on("serial")(rows, 2)), a)
  end
end

-- Launches of these can be run again from their record.
function TestForms.test_recorded()
  if os.getenv("PERIGEE_GPU") == "cuda" then
    return
  end
  local x = array.range(1, 100)
  local k = kernel.parallel_for(function(i, y) return y[i] end, { reduce = "sum" }):on("gpu")
  local grading = gpu._grading()
  local record, total = grading.recorder()(k, 100, x)
  lu.assertEquals(total, 5050)
  local counts, problem = grading.replay(record, { x }, total)
  lu.assertEquals(problem, nil)
  lu.assertEquals(counts.gpu_launches, 1)
end

function TestForms.test_text()
  if not llvm then
    return
  end
  local k = kernel.jit(function(x, n)
    local s = 0
    for i = 1, n do
      if x[i] > 0 and i % 3 ~= 0 then
        s = s + x[i]
      end
    end
    return s
  end)
  k(array.ones(10), 10)
  local text = k:inspect("cuda")
  lu.assertStrContains(text, "extern \"C\" __global__ void")
  lu.assertStrContains(text, "if x[i] > 0 and i % 3 ~= 0 then")
  local e = kernel.elementwise(function(a) return math.sqrt(a) end)
  e(array.ones(3))
  lu.assertStrContains(e:inspect("cuda"), "blockIdx.x * blockDim.x")
  local p = kernel.parallel_for(function(i, a) a[i] = i end)
  p(3, array.zeros(3))
  lu.assertStrContains(p:inspect("cuda"), "gridDim.x")
end

os.exit(lu.LuaUnit.run(), true)
