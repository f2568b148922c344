-- What CUDA's driver can answer, by the stand-in for it (fake_cuda.cpp): errors, memory that ends, streams that are late.
-- Scripts run in processes of their own, with what is to fail in their environment.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array

local program = io.popen("readlink /proc/" .. io.open("/proc/self/stat"):read("*n") .. "/exe"):read("*l")

-- What a script prints, with its error.
local function run(environment, text)
  local path = os.tmpname()
  local file = io.open(path, "w")
  file:write('local pg = require "perigee"\nlocal gpu, array = pg.gpu, pg.array\n', text)
  file:close()
  local output = io.popen(("%s '%s' run '%s' 2>&1 < /dev/null"):format(environment, program, path))
  local all = output:read("*a")
  output:close()
  os.remove(path)
  return all
end

TestDriver = {}

function TestDriver.test_why_there_is_no_gpu()
  lu.assertStrContains(run("FAKE_CUDA_FAIL=cuInit:100", "print(gpu.available())"), "finds no GPU (CUDA_ERROR_NO_DEVICE")
  lu.assertStrContains(run("FAKE_CUDA_FAIL=cuInit:999", "print(gpu.available())"), "does not start (CUDA_ERROR_UNKNOWN")
  lu.assertStrContains(run("FAKE_CUDA_DEVICES=0", "print(gpu.available())"), "finds no GPU")
  lu.assertStrContains(run("FAKE_CUDA_DEVICES=0", "print(gpu.backend())"), "sim")
  lu.assertStrContains(run("", "print(gpu.available(), gpu.backend(), gpu.info().name)"), "true\tcuda\tFake GPU 0")
end

function TestDriver.test_memory_that_ends()
  local text = run("FAKE_CUDA_MEMORY=8388608", [[
    local list = {}
    for i = 1, 100 do list[i] = gpu.empty(2 ^ 20, "uint8") end]])
  lu.assertStrContains(text, "the GPU's memory is exhausted: an array of 1.00 MiB is asked for, and of 8.00 MiB")
  lu.assertStrContains(text, ":4:")
  -- Garbage is collected before that.
  lu.assertStrContains(run("FAKE_CUDA_MEMORY=8388608", [[
    for i = 1, 100 do gpu.empty(2 ^ 20, "uint8") end
    print("fits")]]), "fits")
  -- Pieces of other sizes go back to the device.
  lu.assertStrContains(run("FAKE_CUDA_MEMORY=8388608", [[
    local a = gpu.empty(6 * 2 ^ 20, "uint8")
    a:release()
    local b = { gpu.empty(2 ^ 20, "uint8"), gpu.empty(2 ^ 20, "uint8") }
    print("fits", gpu.memory().cached)]]), "fits\t0")
end

function TestDriver.test_errors_of_kernels()
  local text = run("FAKE_CUDA_FAIL=cuLaunchKernel:700", [[
    local k = gpu.kernel(function(x) x[gpu.threadIdx.x] = 1 end)
    k{grid = 1, block = 32}(gpu.zeros(32))]])
  lu.assertStrContains(text, "memory that is not its own")
  lu.assertStrContains(text, "CUDA_ERROR_ILLEGAL_ADDRESS")
  lu.assertStrContains(text, ":4:")
  lu.assertStrContains(run("FAKE_CUDA_FAIL=cuLaunchKernel:701", "print((gpu.zeros(3) + 1):to_host())"), "fewer threads a block")
end

function TestDriver.test_launches_as_asked()
  local log = os.tmpname()
  run("FAKE_CUDA_LOG=" .. log, [[
    local k = gpu.kernel(function(x) x[gpu.threadIdx.x] = 1 end)
    k{grid = {3, 2}, block = {8, 4}, shared = 64}(gpu.zeros(32))
    k{grid = 1, block = 32, stream = gpu.stream()}(gpu.zeros(32))
    gpu.synchronize()]])
  local text = io.open(log):read("*a")
  os.remove(log)
  lu.assertStrContains(text, "launch 3 2 1 x 8 4 1 shared 64 stream 0")
  lu.assertStrContains(text, "launch 1 1 1 x 32 1 1 shared 0 stream 1")
end

function TestDriver.test_memory_of_late_streams_is_not_given_away()
  gpu.use("cuda")
  local s = gpu.stream()
  local pinned = gpu.pinned(array.ones(1000))
  local d = gpu.zeros(1000)
  gpu.synchronize()
  d:copy_from(pinned, { stream = s }) -- late
  local reused = gpu.memory().reused
  d:release()
  local e = gpu.empty(1000)
  lu.assertEquals(gpu.memory().reused, reused)
  s:synchronize()
  e:release()
  local f = gpu.empty(1000)
  lu.assertEquals(gpu.memory().reused, reused + 1)
  f:release()
end

function TestDriver.test_reads_on_streams_are_late()
  gpu.use("cuda")
  local s = gpu.stream()
  local out = gpu.pinned(4)
  local d = gpu.array { 1, 2, 3, 4 }
  d:to_host { out = out, stream = s }
  lu.assertEquals(out:sum(), 0) -- nobody has waited
  lu.assertFalse(s:done())
  s:synchronize()
  lu.assertEquals(out:sum(), 10)
  lu.assertTrue(s:done())
end

function TestDriver.test_cuda_source()
  gpu.use("cuda")
  local k = gpu.cuda_source([[
    extern "C" __global__ void saxpy(float a, const float *x, float *y, int n) {
      int i = blockIdx.x * blockDim.x + threadIdx.x;
      if (i < n)
        y[i] = a * x[i] + y[i];
    }]])
  local x, y = gpu.ones(100, "float32"), gpu.ones(100, "float32")
  k { grid = 1, block = 128 }(2, x, y, 100)
  lu.assertEquals(y:to_host():sum(), 300)
  local function raises(what, f, ...)
    local ok, message = pcall(f, ...)
    lu.assertFalse(ok)
    lu.assertStrContains(message, what)
  end
  local launch = k { grid = 1, block = 128 }
  raises("points to float32, and this array is float64", launch, 2, gpu.ones(100), y, 100)
  raises("is a device array, got an array", launch, 2, array.ones(100), y, 100)
  raises("a whole number", launch, 2, x, y, 1.5)
  raises("4 parameters, and got 1", launch, 2)
  lu.assertEquals(k:info().registers, 32)
  raises("foo", gpu.cuda_source, "__global__ void f(float *x) { x[0] = foo; }")
end

os.exit(lu.LuaUnit.run(), true)
