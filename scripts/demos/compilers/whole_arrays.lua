-- Four ways to compute 2 a - 4.5 b + sin a + cos b: array operations, which make an array for every step, and kernels, which
-- make none but the result.
--   perigee run scripts/demos/compilers/whole_arrays.lua
local pg = require "perigee"
local array, kernel, timer = pg.array, pg.kernel, pg.timer

local n = 1e6
local g = pg.random.generator(1)
local a, b = g:uniform(0, 10, { shape = { n } }), g:uniform(0, 10, { shape = { n } })

local mixed = kernel.elementwise(function(x, y)
  return 2 * x - 4.5 * y + math.sin(x) + math.cos(y)
end)

local one_thread = mixed:on("simd")

local ways = {
  { "array operations", function() return 2 * a - 4.5 * b + array.sin(a) + array.cos(b) end },
  { "kernel.elementwise", function() return mixed(a, b) end },
  { "the same, one thread", function() return one_thread(a, b) end },
  { "kernel.fuse", function() return kernel.fuse("2*a - 4.5*b + sin(a) + cos(b)", { a = a, b = b }) end },
}

local expected = ways[1][2]()
for _, way in ipairs(ways) do
  local name, compute = way[1], way[2]
  assert(array.allclose(compute(), expected))
  local best = math.huge
  for _ = 1, 5 do
    local start = timer.now()
    compute()
    best = math.min(best, timer.now() - start)
  end
  local arrays, bytes = array.count_allocations(compute)
  print(("%-22s %7.2f ms, %d arrays made, %.0f MB"):format(name, best * 1e3, arrays, bytes / 1e6))
end
