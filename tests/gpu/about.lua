-- What tests/gpu/run runs on, in words; exit code 1 where it cannot.
local pg = require "perigee"
local gpu = pg.gpu
local backend = os.getenv("PERIGEE_GPU") or "cuda"
local ok, reason = gpu.available()
if backend == "cuda" and not ok then
  print("there is no GPU to run on: " .. reason .. " (--sim runs on the simulator)")
  os.exit(1)
end
gpu.use(backend)
local info = gpu.info()
local words = { "device: " .. info.name, "compute capability: " .. info.compute_capability,
  "memory: " .. string.format("%.1f GiB", info.memory / 2 ^ 30), "perigee: " .. pg.version }
if backend == "cuda" then
  words[#words + 1] = "driver for CUDA " .. info.driver
  words[#words + 1] = "NVRTC " .. tostring(gpu.compiler())
end
print(table.concat(words, "\n"))
