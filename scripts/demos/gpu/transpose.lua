-- Three transposes: what makes them slow is counted, so that they can be compared without a GPU.
-- perigee run scripts/demos/gpu/transpose.lua
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
gpu.use("sim")

local n, T = 1024, 32
local a, b = array.range(1, n * n):reshape(n, n):astype("float32"), array.zeros({ n, n }, "float32")
local launch = { grid = gpu.grid_for({ n, n }, { T, 8 }), block = { T, 8 } }

-- Reads rows and writes columns: neighbouring threads write elements that lie n apart.
local naive = gpu.kernel(function(a, b)
  local i, j = gpu.grid(2)
  b[i][j] = a[j][i]
end, { name = "naive" })

-- Turns a tile in shared memory, so that both sides are rows; but its columns lie in one bank.
local function tiled(a, b, tile)
  local x, y = gpu.threadIdx.x, gpu.threadIdx.y
  local left, top = (gpu.blockIdx.x - 1) * T, (gpu.blockIdx.y - 1) * T
  for r = y, T, 8 do
    tile[r][x] = a[top + r][left + x]
  end
  gpu.sync()
  for r = y, T, 8 do
    b[left + r][top + x] = tile[x][r]
  end
end
local conflicting = gpu.kernel(function(a, b)
  local tile = gpu.shared("float32", T, T)
  tiled(a, b, tile)
end, { name = "a tile of 32 x 32" })
local padded = gpu.kernel(function(a, b)
  local tile = gpu.shared("float32", T, T + 1)
  tiled(a, b, tile)
end, { name = "a tile of 32 x 33" })

for _, k in ipairs { naive, conflicting, padded } do
  b:fill(0)
  k(k == naive and launch or { grid = { n / T, n / T }, block = { T, 8 } })(a, b)
  assert(array.equal(b, a:transpose()))
  print(gpu.report())
  print()
end

-- Which thread wrote which element, as a picture.
gpu.map { array = "b", file = os.tmpname() }
