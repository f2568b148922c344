-- Copies beside kernels: the same work in one piece, in chunks on one stream, and in chunks on three, as a GPU would do it.
local gpu = require "perigee.gpu"
local array = require "perigee.array"
gpu.use("sim")

local root = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = math.sqrt(x[i])
  end
end, { name = "root" })

-- from, to: host arrays. chunks pieces, given to the streams in turn.
local function run(from, to, chunks, streams)
  local n = #from
  local x, y = gpu.empty(n, "float32"), gpu.empty(n, "float32")
  for k = 1, chunks do
    local part = { { (k - 1) * n / chunks + 1, k * n / chunks } }
    local s = streams[k % #streams + 1]
    x[part]:copy_from(from[part], { stream = s })
    root { grid = gpu.grid_for(n / chunks, 256), block = 256, stream = s } (x[part], y[part])
    y[part]:to_host { out = to[part], stream = s }
  end
  for _, s in ipairs(streams) do
    s:synchronize()
  end
end

local n = 2 ^ 20
local pageable, out = array.ones(n, "float32"), array.zeros(n, "float32")
local pinned, back = gpu.pinned(pageable), gpu.pinned(n, "float32")
local s = { gpu.stream(), gpu.stream(), gpu.stream() }

print("one piece, memory that is not pinned:")
print(gpu.timeline(run, pageable, out, 1, { s[1] }))
print("\none piece, pinned:")
print(gpu.timeline(run, pinned, back, 1, { s[1] }))
print("\neight chunks on three streams:")
print(gpu.timeline(run, pinned, back, 8, s))

-- What happens if a kernel is given to another stream than the copy that it needs:
local x, y = gpu.empty(n, "float32"), gpu.empty(n, "float32")
x:copy_from(pinned, { stream = s[1] })
print("\n" .. select(2, pcall(root { grid = gpu.grid_for(n, 256), block = 256, stream = s[2] }, x, y)))
