-- Kernels of perigee.kernel on the GPU in use (:on("gpu")), and their CUDA C++.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array, kernel = pg.gpu, pg.array, pg.kernel
gpu.use(os.getenv("PERIGEE_GPU") or "sim")
if not pg.available("llvm") then
  print("not run: " .. select(2, pg.available("llvm")))
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

TestForms = {}

function TestForms.test_elementwise()
  local k = kernel.elementwise(function(a, b, s)
    return a * s + b, a > b
  end)
  local g = k:on("gpu")
  local x, y = array.range(1, 12):reshape(3, 4), array.from { 4, 3, 2, 1 }
  local p, q = k(x, y, 2.5)
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

function TestForms.test_text()
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

os.exit(lu.LuaUnit.run())
