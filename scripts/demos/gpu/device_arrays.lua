-- Arrays in a GPU's memory: to the device, operations there, and back. Without a GPU the simulator does the same.
--   perigee run scripts/demos/gpu/device_arrays.lua
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array

local works, reason = gpu.available()
print(works and "on " .. gpu.info().name or "on the simulator: " .. reason)

-- The same random numbers as pg.random.generator(42) gives on the host.
local x = gpu.random(42):uniform { shape = { 1000, 1000 }, dtype = "float32" }
local y = (x * 2 - 1):square()
print("mean of (2x - 1)^2:", y:mean(), "one third is expected")

-- A part of an array is a view; nothing is copied.
local corner = y[{ { 1, 3 }, { 1, 3 } }]
print(corner)
print(corner:to_host())

-- Page-locked memory and a stream: the copies run beside other work, in the stream's order.
local s, there = gpu.stream(), gpu.event()
local host = gpu.pinned(array.range(1, 1000))
local d = gpu.zeros(1000)
d:copy_from(host, { stream = s })
there:record(s)
there:synchronize()
print("sum of 1 to 1000:", d:sum())

-- Memory that was given back is used again.
local before = gpu.memory().reused
for _ = 1, 5 do
  gpu.empty(2 ^ 18):release()
end
print("pieces used again:", gpu.memory().reused - before)

-- CUDA C++ is compiled where NVRTC is, with or without a GPU.
local version, missing = gpu.compiler()
if version then
  local k = gpu.cuda_source [[
    extern "C" __global__ void twice(float *x, int n) {
      int i = blockIdx.x * blockDim.x + threadIdx.x;
      if (i < n)
        x[i] *= 2;
    }]]
  print("CUDA C++ by NVRTC " .. version .. ": " .. #k:inspect("ptx") .. " bytes of PTX")
  if works then
    k { grid = gpu.grid_for(x.size, 256), block = 256 }(x:ravel(), x.size)
    print("doubled:", x:max() <= 2)
  end
else
  print("no CUDA C++ here: " .. missing)
end
