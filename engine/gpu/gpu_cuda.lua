-- CUDA C++ in perigee.gpu: compiled by NVRTC, loaded and launched by the driver. Kernels written in it
-- (gpu.cuda_source), and what kernels written in Lua need of it.
local core, shared = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local gpu, library, kit = shared.gpu, shared.library, shared.kit
local kind_of, check_options = kit.kind_of, kit.check_options
local is_device_array = shared.is_device_array
local type, tonumber, tostring, ipairs, pairs, select, setmetatable, format, concat, find, gsub, match, sub = type,
  tonumber, tostring, ipairs, pairs, select, setmetatable, string.format, table.concat, string.find, string.gsub,
  string.match, string.sub
local error = error

local cuda = {}

-- Where compiled code is kept between runs; PERIGEE_CACHE says where, empty: nowhere.
local function cache_folder()
  local folder = os.getenv("PERIGEE_CACHE")
  if folder then
    return folder ~= "" and folder .. "/cuda" or nil
  end
  local base = os.getenv("XDG_CACHE_HOME")
  if not base or base == "" then
    base = os.getenv("HOME")
    base = base and base ~= "" and base .. "/.cache"
  end
  return base and base .. "/perigee/cuda"
end

local version_c = ffi.new("int32_t[2]")

--- Whether there is a compiler of CUDA C++, or false and why not.
function cuda.compiler()
  if library.pg_gpu_compiler(version_c, version_c + 1) ~= 0 then
    return false, ffi.string(core.C.pg_last_message())
  end
  return format("%d.%d", version_c[0], version_c[1])
end

--- "sm_90" of a device.
function cuda.architecture(d)
  return format("sm_%d%d", d.properties.major, d.properties.minor)
end

--- Compiles text; returns the image, or nil and the compiler's messages. options: words for NVRTC.
function cuda.compile(text, name, architecture, options)
  options = options or {}
  local words = ffi.new("const char *[?]", #options + 1)
  for i, word in ipairs(options) do
    words[i - 1] = word
  end
  local out = ffi.new("pg_gpu_image *[1]")
  local status = library.pg_gpu_compile(out, text, name, architecture, words, #options, cache_folder())
  if status == 1 then
    return nil, ffi.string(core.C.pg_last_message())
  end
  check(status)
  return ffi.gc(out[0], library.pg_gpu_image_close)
end

--- The bytes of an image.
function cuda.image_data(image)
  local size = ffi.new("int64_t[1]")
  local data = library.pg_gpu_image_data(image, size)
  return ffi.string(data, size[0])
end

--- A kernel of an image in a device: {handle, registers, ...}.
function cuda.load(d, image, entry)
  local out, f = ffi.new("pg_gpu_code *[1]"), ffi.new("void *[1]")
  check(library.pg_gpu_load(out, d.handle, image))
  local code = ffi.gc(out[0], library.pg_gpu_code_close)
  check(library.pg_gpu_function_of(f, code, entry))
  local about = ffi.new("pg_gpu_function")
  check(library.pg_gpu_function_describe(about, d.handle, f[0]))
  return { handle = f[0], code = code, device = d, most_shared = 48 * 1024, max_threads = about.max_threads,
    shared_bytes = about.shared_bytes, local_bytes = about.local_bytes, registers = about.registers }
end

local grid_c, block_c = ffi.new("uint32_t[3]"), ffi.new("uint32_t[3]")

--- Launches a loaded kernel. config: as launch_configuration gives it; arguments: void *[], pointers to its parameters.
function cuda.launch(name, f, config, arguments)
  local grid, block = config.grid, config.block
  for i = 1, 3 do
    grid_c[i - 1], block_c[i - 1] = grid[i], block[i]
  end
  if config.shared > f.most_shared then
    check(library.pg_gpu_function_shared(f.device.handle, f.handle, config.shared))
    f.most_shared = config.shared
  end
  if block[1] * block[2] * block[3] > f.max_threads then
    fail("'%s': this kernel needs so many registers (%d a thread) that a block has at most %d threads; {%s} are %d", name,
      f.registers, f.max_threads, concat(block, ", "), block[1] * block[2] * block[3])
  end
  check(library.pg_gpu_launch(f.device.handle, f.handle, grid_c, block_c, config.shared,
    config.stream and config.stream.handle or nil, arguments))
end

-- ------------------------------------------------------------------------------------- kernels written in CUDA C++ ----
local kernel_mt, launch_mt = {}, {}
local kernel_methods = {}
kernel_mt.__index = kernel_methods
kernel_mt.__tostring = function(k) return format("gpu.cuda_source(%s)", k._name) end
launch_mt.__tostring = function(l) return format("launch of %s", l.kernel._name) end

-- What a parameter of this type is to us: {kind, C type or dtype}.
local scalar_types = {
  ["char"] = "int8_t", ["signed char"] = "int8_t", ["unsigned char"] = "uint8_t", ["short"] = "int16_t",
  ["unsigned short"] = "uint16_t", ["int"] = "int32_t", ["unsigned"] = "uint32_t", ["unsigned int"] = "uint32_t",
  ["long"] = "int64_t", ["unsigned long"] = "uint64_t", ["long long"] = "int64_t", ["unsigned long long"] = "uint64_t",
  ["long long int"] = "int64_t", ["long int"] = "int64_t", ["size_t"] = "uint64_t", ["int8_t"] = "int8_t",
  ["uint8_t"] = "uint8_t", ["int16_t"] = "int16_t", ["uint16_t"] = "uint16_t", ["int32_t"] = "int32_t",
  ["uint32_t"] = "uint32_t", ["int64_t"] = "int64_t", ["uint64_t"] = "uint64_t", ["float"] = "float",
  ["double"] = "double", ["bool"] = "bool",
}
local dtypes_of = { int8_t = "int8", uint8_t = "uint8", int16_t = "int16", uint16_t = "uint16", int32_t = "int32",
  uint32_t = "uint32", int64_t = "int64", uint64_t = "uint64", float = "float32", double = "float64", bool = "bool" }
local ranges = { int8_t = { -2 ^ 7, 2 ^ 7 - 1 }, uint8_t = { 0, 2 ^ 8 - 1 }, int16_t = { -2 ^ 15, 2 ^ 15 - 1 },
  uint16_t = { 0, 2 ^ 16 - 1 }, int32_t = { -2 ^ 31, 2 ^ 31 - 1 }, uint32_t = { 0, 2 ^ 32 - 1 },
  int64_t = { -2 ^ 63, 2 ^ 63 - 1024 }, uint64_t = { 0, 2 ^ 64 - 2048 } }

-- Comments and texts as blanks, line ends kept.
local function without_comments(text)
  local function blank(s)
    return (gsub(s, "[^\n]", " "))
  end
  text = gsub(text, "/%*.-%*/", blank)
  text = gsub(text, "//[^\n]*", blank)
  return (gsub(text, '"[^"\n]*"', function(s)
    return s == '"C"' and s or blank(s)
  end))
end

-- The kernels in a text: name -> list of parameters {name =, pointer =, ctype =, text =}, and the names in order.
local function kernels_of(text)
  local found, names = {}, {}
  local plain = without_comments(text)
  for head, name, list in plain:gmatch("__global__([%w_%s%(%),]-)([%a_][%w_]*)%s*(%b())") do
    if not find(head, "void") then
      name, list = nil, nil
    end
    if name and not found[name] then
      local parameters = {}
      for one in sub(list, 2, -2):gmatch("[^,]+") do
        local words = gsub(gsub(one, "__restrict__", " "), "const", " ")
        words = gsub(gsub(words, "%s+", " "), "^ ", "")
        words = gsub(words, " $", "")
        if words ~= "" and words ~= "void" then
          local base, stars, parameter = match(words, "^(.-) ?(%*+) ?([%a_][%w_]*)$")
          if not base then
            base, parameter = match(words, "^(.-) ([%a_][%w_]*)$")
            stars = ""
          end
          base = base or words
          parameters[#parameters + 1] = { name = parameter or words, pointer = stars == "*", ctype = scalar_types[base],
            text = words, base = base, deep = stars and #stars > 1 }
        end
      end
      found[name] = parameters
      names[#names + 1] = name
    end
  end
  return found, names
end

-- The line of the script at which the text begins (a long string), so that the compiler's lines become the script's.
local function place_of(text)
  local file, line = core.caller()
  local chunk = file and core.chunks[file]
  if not chunk then
    return nil
  end
  local at = find(chunk, text, 1, true)
  if not at then
    return nil
  end
  local _, before = gsub(sub(chunk, 1, at - 1), "\n", "")
  return file, before -- line 1 of the text is line before + 1
end

-- The compiler's first error at the script's own line, then all it said.
local function raise_errors(name, log, text)
  local file, before = place_of(text)
  local first_line, first = match(log, "%((%d+)%): error: ([^\n]*)")
  if not first then
    first_line, first = match(log, "%((%d+)%): catastrophic error: ([^\n]*)")
  end
  if not first then
    fail("gpu.cuda_source: '%s' does not compile:\n%s", name, log)
  end
  if file then
    log = gsub(log, "[^\n(]*%((%d+)%): (%a+)", function(line, kind)
      return format("%s:%d: %s", file, tonumber(line) + before, kind)
    end)
    error(format("%s:%d: gpu.cuda_source: '%s' does not compile: %s\n%s", file, tonumber(first_line) + before, name, first,
      log), 0)
  end
  fail("gpu.cuda_source: '%s' does not compile: line %s: %s\n%s", name, first_line, first, log)
end

local source_options = { name = true, options = true, architecture = true }

local function need_architecture(name, architecture)
  if type(architecture) ~= "string" or not find(architecture, "^sm_%d+a?$") and not find(architecture, "^compute_%d+a?$") then
    fail('%s: an architecture such as "sm_90" (machine code) or "compute_90" (PTX) is expected, got %s', name,
      kind_of(architecture))
  end
  return architecture
end

--- gpu.cuda_source(text [, options]).
function cuda.source(text, options)
  if type(text) ~= "string" then
    fail("gpu.cuda_source: the text of a kernel in CUDA C++ is expected, got %s", kind_of(text))
  end
  options = options or {}
  if type(options) ~= "table" then
    fail('gpu.cuda_source: options are a table such as {name = "saxpy"}, got %s', kind_of(options))
  end
  check_options("gpu.cuda_source", options, source_options)
  if options.options ~= nil and type(options.options) ~= "table" then
    fail('gpu.cuda_source: options is a list of words for the compiler, as {"--use_fast_math"}, got %s',
      kind_of(options.options))
  end
  local kernels, names = kernels_of(text)
  local name = options.name
  if name == nil then
    if #names ~= 1 then
      fail("gpu.cuda_source: the text has %s; say which one is meant: {name = %q}", #names == 0 and
        "no kernel (extern \"C\" __global__ void f(...))" or "several kernels: " .. concat(names, ", "), names[1] or "f")
    end
    name = names[1]
  elseif not kernels[name] then
    fail("gpu.cuda_source: the text has no kernel '%s'; it has: %s", tostring(name), #names > 0 and concat(names, ", ") or
      "none")
  end
  local ok, reason = cuda.compiler()
  if not ok then
    core.unsupported("gpu.cuda_source: %s", reason)
  end
  -- Without "C" linkage its name would be another.
  local given = text
  if not find(without_comments(text), 'extern%s*"C"') then
    text = gsub(text, "__global__", 'extern "C" __global__')
  end
  local architecture = options.architecture and need_architecture("gpu.cuda_source", options.architecture) or
    (gpu.available() and gpu.backend() == "cuda" and cuda.architecture(shared.device())) or "compute_75"
  local image, log = cuda.compile(text, name .. ".cu", architecture, options.options)
  if not image then
    raise_errors(name, log, given)
  end
  return setmetatable({ _text = text, _name = name, _parameters = kernels[name], _options = options.options or {},
    _images = { [architecture] = image }, _architecture = architecture, _loaded = {} }, kernel_mt)
end

local function image_for(k, architecture)
  local image = k._images[architecture]
  if not image then
    local log
    image, log = cuda.compile(k._text, k._name .. ".cu", architecture, k._options)
    if not image then
      fail("'%s' does not compile for %s:\n%s", k._name, architecture, log)
    end
    k._images[architecture] = image
  end
  return image
end

local function loaded(k, d)
  local f = k._loaded[d]
  if not f then
    f = cuda.load(d, image_for(k, cuda.architecture(d)), k._name)
    k._loaded[d] = f
  end
  return f
end

--- k:inspect(what [, architecture]): "cuda", the text; "ptx", what the compiler made of it; "log", what it said.
function kernel_methods:inspect(what, architecture)
  if what == "cuda" then
    return self._text
  elseif what == "ptx" then
    return cuda.image_data(image_for(self, architecture and
      "compute_" .. match(need_architecture("inspect", architecture), "_(.*)$") or "compute_75"))
  elseif what == "log" then
    return ffi.string(library.pg_gpu_image_log(self._images[self._architecture]))
  end
  fail('inspect: "cuda", "ptx" or "log" is expected, got %s', kind_of(what))
end

--- k:info(): on the GPU in use: registers a thread, bytes of shared memory a block and of local memory a thread, threads that
--- a block can have.
function kernel_methods:info()
  local d = shared.device()
  if d.backend ~= "cuda" then
    core.unsupported("info: what a kernel needs is known once it is loaded into a GPU; the simulator runs no CUDA C++")
  end
  local f = loaded(self, d)
  return { registers = f.registers, shared_memory = f.shared_bytes, local_memory = f.local_bytes, max_threads = f.max_threads }
end

kernel_mt.__call = function(k, config)
  return setmetatable({ kernel = k, config = shared.launch_configuration(k._name, config, shared.device()) }, launch_mt)
end

local function put(k, i, p, x, slot)
  if p.pointer then
    if not is_device_array(x) then
      fail("'%s': argument %d (%s) is a device array, got %s", k._name, i, p.text, kind_of(x))
    end
    shared.need_device_array(format("'%s': argument %d", k._name, i), x)
    local wanted = p.ctype and dtypes_of[p.ctype]
    if wanted and wanted ~= x.dtype and not (wanted == "uint8" and x.dtype == "bool") then
      fail("'%s': argument %d (%s) points to %s, and this array is %s", k._name, i, p.text, wanted, x.dtype)
    elseif not shared.contiguous(x._a) then
      fail("'%s': argument %d (%s) is an array with gaps, of which a pointer says nothing; pass a copy (d:copy())", k._name,
        i, p.text)
    end
    ffi.cast("void **", slot)[0] = x._a._data
    return
  elseif not p.ctype then
    core.unsupported("'%s': argument %d is a %s; numbers, booleans and pointers to them are passed", k._name, i, p.text)
  end
  if p.ctype == "bool" then
    if type(x) ~= "boolean" then
      fail("'%s': argument %d (%s) is true or false, got %s", k._name, i, p.text, kind_of(x))
    end
    ffi.cast("bool *", slot)[0] = x
    return
  end
  local range = ranges[p.ctype]
  local wide = type(x) == "cdata" and (ffi.istype("int64_t", x) or ffi.istype("uint64_t", x))
  if type(x) ~= "number" and not (range and wide) then
    fail("'%s': argument %d (%s) is a number, got %s", k._name, i, p.text, kind_of(x))
  elseif range and not wide and (x % 1 ~= 0 or x < range[1] or x > range[2]) then
    fail("'%s': argument %d (%s) is a whole number from %.0f to %.0f, got %s", k._name, i, p.text, range[1], range[2],
      tostring(x))
  end
  ffi.cast(p.ctype .. " *", slot)[0] = x
end

launch_mt.__call = function(launch, ...)
  local k, d = launch.kernel, shared.device()
  local count = select("#", ...)
  if count ~= #k._parameters then
    fail("'%s' has %d parameters, and got %d arguments", k._name, #k._parameters, count)
  end
  if d.backend ~= "cuda" then
    core.unsupported("'%s' is CUDA C++, which the simulator does not run: %s; a kernel in Lua (gpu.kernel) runs on both",
      k._name, select(2, gpu.available()) or 'gpu.use("cuda") goes back to the GPU')
  end
  local slots, pointers = ffi.new("int64_t[?]", count + 1), ffi.new("void *[?]", count + 1)
  for i = 1, count do
    local x = select(i, ...)
    put(k, i, k._parameters[i], x, slots + (i - 1))
    pointers[i - 1] = slots + (i - 1)
    if launch.config.stream and is_device_array(x) then
      check(library.pg_gpu_use(x, launch.config.stream.handle))
    end
  end
  cuda.launch(k._name, loaded(k, d), launch.config, pointers)
end

return cuda
