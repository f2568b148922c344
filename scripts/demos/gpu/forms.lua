-- The same kernels on the processor and on the GPU in use, or on the simulator where there is none: k:on("gpu").
-- perigee run scripts/demos/gpu/forms.lua
local pg = require "perigee"
if not pg.available("llvm") then
  print("not run: " .. select(2, pg.available("llvm")))
  os.exit(0)
end
local gpu, array, kernel = pg.gpu, pg.array, pg.kernel
local found, reason = gpu.available()
print(found and "on a GPU" or "on the simulator: " .. reason)

-- A thread a round; blocks combine what their threads return, and the host the blocks.
local integral = kernel.parallel_for(function(i, h)
  local x = (i - 0.5) * h
  return 4 / (1 + x * x) * h
end, { reduce = "sum" })
local n = 100000
print(("pi: %.12f on the processor, %.12f on the GPU"):format(integral(n, 1 / n), integral:on("gpu")(n, 1 / n)))

-- A thread a position of the outer axes: here 200 products of small matrices.
local product = kernel.generalized("(m,k),(k,n)->(m,n)", function(a, b, c)
  for i = 1, a:dim(1) do
    for j = 1, b:dim(2) do
      local s = 0.0
      for k = 1, a:dim(2) do
        s = s + a[i][k] * b[k][j]
      end
      c[i][j] = s
    end
  end
end)
local g = pg.random.generator(1)
local a, b = g:uniform { shape = { 200, 4, 3 } }, g:uniform { shape = { 3, 5 } }
print("products agree: " .. tostring(array.allclose(product(a, b), product:on("gpu")(a, b))))

-- A thread an entry. Device arrays in, device arrays out: nothing is copied in between.
local norm = kernel.vmap(function(row)
  local s = 0.0
  for i = 1, #row do
    s = s + row[i] * row[i]
  end
  return math.sqrt(s)
end)
local d = norm:on("gpu")(gpu.array(a:reshape(200, 12)))
print("norms: " .. tostring(d))
