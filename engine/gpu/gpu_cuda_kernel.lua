-- Kernels written in Lua on a GPU: their CUDA C++ (engine/kernel/cuda.hpp), its parameters, and their launch.
local core, shared = ...
local C, ffi = core.C, core.ffi
local check, fail = core.check, core.fail
local gpu, library = shared.gpu, shared.library
local type, tonumber, ipairs, pairs, format, gmatch, match, max, abs = type, tonumber, ipairs, pairs, string.format,
  string.gmatch, string.match, math.max, math.abs

local text_c, entry_c, codes_c = ffi.new("const char *[1]"), ffi.new("const char *[1]"), ffi.new("const char *[1]")

-- The text of a module, its kernel's name and codes of its parameters.
local function generate(module, wide, spread)
  check(C.pg_kernel_cuda(text_c, entry_c, codes_c, module, wide and 1 or 0, spread or 0))
  local codes = {}
  for code in gmatch(ffi.string(codes_c[0]), "%S+") do
    codes[#codes + 1] = code
  end
  return ffi.string(text_c[0]), ffi.string(entry_c[0]), codes
end

function shared.texts.cuda(s)
  return (generate(s.module, false))
end

local c_types = { d = "double[1]", f = "float[1]", l = "int64_t[1]", b = "bool[1]", z = "double[2]", p = "void *[1]" }
for code, text in pairs(c_types) do
  c_types[code] = ffi.typeof(text)
end

-- What holds a parameter of a code, and what puts an argument there.
local function holder(code, wide)
  local kind = code:sub(1, 1)
  if kind ~= "A" and kind ~= "S" then
    local cell = c_types[kind]()
    if kind == "b" then
      return cell, function(x) cell[0] = x end
    elseif kind == "z" then
      return cell, function(x)
        if type(x) == "number" then
          cell[0], cell[1] = x, 0
        else
          cell[0], cell[1] = x.re, x.im
        end
      end
    end
    return cell, function(x) cell[0] = x end
  end
  local ndim = tonumber(match(code, ",(%d+)$"))
  local strided = kind == "S"
  local cell = ffi.new(format("struct { void *data; %s n[%d]; }", wide and "int64_t" or "int32_t",
    max(ndim, 1) * (strided and 2 or 1)))
  return cell, function(a) -- a pg_array's fields
    cell.data = a._data
    for d = 0, ndim - 1 do
      cell.n[d] = a._shape[d]
      if strided then
        cell.n[ndim + d] = a._strides[d]
      end
    end
  end
end

-- Whether some array reaches so far that offsets in it need 64 bits.
local far = 2 ^ 30
local function is_far(a)
  local reach = 1
  for d = 0, a._ndim - 1 do
    reach = reach + abs(tonumber(a._strides[d])) * max(tonumber(a._shape[d]) - 1, 0)
  end
  return reach >= far or tonumber(a._size) >= far
end

-- By default what the processor's kernels compute: products are rounded before they are added.
local function flags_of(k)
  local fastmath = k._options.fastmath
  return { fastmath == true and "--use_fast_math" or fastmath and "--fmad=true" or "--fmad=false" }
end

-- The image of a module for an architecture; its kernel's name and codes of its parameters.
local function image_of(k, module, architecture, wide, spread)
  local text, entry, codes = generate(module, wide, spread)
  local image, log = shared.cuda().compile(text, entry .. ".cu", architecture, flags_of(k))
  if not image then
    core.internal("the CUDA C++ of '%s' does not compile:\n%s\n%s", k._name, log, text)
  end
  return image, entry, codes
end

function shared.texts.ptx(s, k)
  local ok, reason = shared.cuda().compiler()
  if not ok then
    core.unsupported("inspect: %s", reason)
  end
  return shared.cuda().image_data((image_of(k, s.module, "compute_75", false)))
end

-- A module compiled for a device, with room for its parameters.
local function compiled(k, module, d, wide, spread)
  local cuda = shared.cuda()
  local image, entry, codes = image_of(k, module, cuda.architecture(d), wide, spread)
  local f = cuda.load(d, image, entry)
  f.pointers, f.cells, f.put = ffi.new("void *[?]", #codes + 1), {}, {}
  for i, code in ipairs(codes) do
    f.cells[i], f.put[i] = holder(code, wide)
    f.pointers[i - 1] = f.cells[i]
  end
  return f
end

local function grid_is_far(launch)
  for i = 1, 3 do
    if launch.grid[i] > 2 ^ 20 or launch.grid[i] * launch.block[i] >= far then
      return true
    end
  end
  return false
end

-- A launch that has been made once is made again without tables and searches: straight code that checks that its arguments
-- are of the same types and puts them where the driver reads them. Only of numbers and of arrays without gaps, on the
-- default stream. False where the long way must be gone.
local device_t, istype = shared.device_t, ffi.istype

local function straight(a)
  local expected = 1
  for d = a._ndim - 1, 0, -1 do
    if a._strides[d] ~= expected and a._shape[d] ~= 1 then
      return false
    end
    expected = expected * a._shape[d]
  end
  return expected < far
end

local function quick_launch(launch, f, d, values, originals)
  local names, checks, puts, cells = {}, {}, {}, {}
  for i = 1, #values do
    local x, a = originals[i], "a" .. i
    names[i], cells[i] = a, "c" .. i
    if type(x) == "number" then
      checks[i] = format("type(%s) ~= 'number'", a)
      puts[i] = format("  c%d[0] = %s\n", i, a)
    elseif istype(device_t, x) and straight(x._a) then
      checks[i] = format("not istype(device_t, %s) or %s._a._dtype ~= %d or %s._a._ndim ~= %d or %s._a._device ~= %d or " ..
        "%s._memory == nil or not straight(%s._a)", a, a, x._a._dtype, a, x._a._ndim, a, d.number, a, a)
      local lines = { format("  c%d.data = %s._a._data\n", i, a) }
      for axis = 0, x._a._ndim - 1 do
        lines[#lines + 1] = format("  c%d.n[%d] = %s._a._shape[%d]\n", i, axis, a, axis)
      end
      puts[i] = table.concat(lines)
    else
      return nil
    end
  end
  local list = table.concat(names, ", ")
  local text = format([[
local type, istype, device_t, straight, current, check, launch, d, device, handle, grid, block, bytes, pointers, cells = ...
local %s = unpack(cells)
return function(%s)
  if current() ~= d%s then
    return false
  end
%s  check(launch(device, handle, grid, block, bytes, nil, pointers))
  return true
end]], #cells > 0 and table.concat(cells, ", ") or "_", list, #checks > 0 and " or " .. table.concat(checks, " or ") or "",
    table.concat(puts))
  return load(text, "@perigee:gpu_launch")(type, istype, device_t, straight, shared.device, check, library.pg_gpu_launch, d,
    d.handle, f.handle, ffi.new("uint32_t[3]", launch.grid), ffi.new("uint32_t[3]", launch.block), launch.shared, f.pointers,
    f.cells)
end

--- For tests/gpu/bench.lua: the driver's own call of a launch that has been made, alone, as a function.
function gpu._bare_launch(launch)
  pcall(ffi.cdef, [[int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
    void **, void **);]])
  local driver, f, g, b = ffi.load("libcuda.so.1"), launch._loaded, launch.grid, launch.block
  local handle, pointers, gx, gy, gz, bx, by, bz, bytes = f.handle, f.pointers, g[1], g[2], g[3], b[1], b[2], b[3],
    launch.shared
  return function()
    driver.cuLaunchKernel(handle, gx, gy, gz, bx, by, bz, bytes, nil, pointers, nil)
  end
end

-- k: the kernel, s: its specialisation; values: numbers and pg_arrays; host: which of these are the host's.
function shared.launchers.cuda(k, s, launch, values, host, originals)
  local d = shared.device()
  local wide = grid_is_far(launch)
  local copies, stream = nil, launch.stream
  for i = 1, #values do
    local x = originals[i]
    if host[i] then -- there and back
      copies = copies or {}
      copies[i] = gpu.array(values[i])
      wide = wide or is_far(copies[i]._a)
    elseif shared.is_device_array(x) then
      if x._a._block ~= nil or x._a._device ~= d.number then
        fail("'%s': argument %d is not on the GPU that the kernel is launched on", k._name, i)
      end
      wide = wide or is_far(x._a)
      if stream ~= nil then
        check(library.pg_gpu_use(x, stream.handle))
      end
    end
  end
  s.cuda = s.cuda or {}
  local key = (wide and -1 or 1) * d.number
  local f = s.cuda[key]
  if not f then
    f = compiled(k, s.module, d, wide, 0)
    s.cuda[key] = f
  end
  for i = 1, #values do
    f.put[i](copies and copies[i] and copies[i]._a or values[i])
  end
  shared.cuda().launch(k._name, f, launch, f.pointers)
  launch._loaded = f
  if stream == nil and not wide and launch._quick == nil then
    launch._quick = quick_launch(launch, f, d, values, originals) or false
  end
  for i, copy in pairs(copies or {}) do
    if bit.band(values[i]._flags, 1) == 0 then
      copy:to_host { out = values[i] }
    end
  end
end
