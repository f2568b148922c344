-- Launches on the checked simulator: what it found, in words, and what it counted.
local core, shared = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local gpu, kit, library = shared.gpu, shared.kit, shared.library
local type, tostring, tonumber, ipairs, format, concat, floor, error, min = type, tostring, tonumber, ipairs, string.format,
  table.concat, math.floor, error, math.min

local ERROR_MEMORY = 4
local mode = "checked"

--- gpu.mode([mode]): how the simulator runs kernels: "checked" finds what is wrong and counts what it costs; "fast" runs
--- compiled code, which needs LLVM. With a mode, sets it.
function gpu.mode(what)
  if what ~= nil then
    local llvm, reason = true, nil
    if what == "fast" then
      llvm, reason = core.optional("llvm")
    end
    if not llvm then
      core.unsupported('gpu.mode: "fast" runs compiled kernels, and here nothing compiles them (%s); "checked" runs the same kernels',
        reason)
    elseif what ~= "checked" and what ~= "fast" then
      fail('gpu.mode: "checked" or "fast" is expected, got %s', type(what) == "string" and format("%q", what)
        or kit.kind_of(what))
    elseif not shared.launchers[what] then
      shared.part("gpu_" .. what)
    end
    mode = what
  end
  return mode
end

-- Which launcher runs kernels now.
function shared.launcher()
  return shared.device().backend == "cuda" and "cuda" or mode
end

-- ----------------------------------------------------------------------------------------------- words ---------------
local function list_of(values, n)
  local texts = {}
  for i = 1, n do
    texts[i] = tostring(tonumber(values[i - 1]))
  end
  return concat(texts, ", ")
end

-- Where a thread stands, from 0 in the launch: {x, y, z} of its block and in it.
local function stand(launch, thread)
  local block, within = floor(thread / launch.threads), thread % launch.threads
  local b, t, g = {}, {}, {}
  for d = 1, 3 do
    b[d], block = block % launch.grid[d] + 1, floor(block / launch.grid[d])
    t[d], within = within % launch.block[d] + 1, floor(within / launch.block[d])
    g[d] = (b[d] - 1) * launch.block[d] + t[d]
  end
  return b, t, g
end

shared.stand = stand

local function dimensions(size)
  return size[3] > 1 and 3 or size[2] > 1 and 2 or 1
end

local function place_text(values, size)
  local n = dimensions(size)
  return n == 1 and tostring(values[1]) or "(" .. concat(values, ", ", 1, n) .. ")"
end

local function thread_text(launch, thread)
  local b, t = stand(launch, thread)
  return format("thread %s of block %s", place_text(t, launch.block), place_text(b, launch.grid))
end

local function element(p)
  return format("%s[%s]", p.array, list_of(p.index, p.ndim):gsub(", ", "]["))
end

local function length_text(p)
  return p.dimension == 1 and "#" .. p.array or format("%s.shape[%d]", p.array, p.dimension)
end

local names = { "outside", "fraction", "misfit", "modulo_zero", "start_fraction", "step_zero", "missing_guard",
  "uninitialised", "race", "race", "barrier_divergence", "barrier_divergence", "barrier_divergence", "warp_divergence",
  "lane_missing", "never_written", "endless" }

local words = {}

words[1] = function(p, launch)
  local i, n = tonumber(p.index[0]), p.length
  local text = format("index %d is outside axis %d of '%s', which has %d elements: %s", i, p.dimension, p.array, n,
    thread_text(launch, p.thread))
  if n == 0 and p.space == 1 then
    return text .. ". The launch gives it no memory: k{grid = ..., block = ..., shared = bytes}"
  elseif i == 0 then
    return text .. ". Indices, threads and blocks count from 1: subtract nothing from gpu.grid(1), and guard a neighbour on "
      .. "the left by: if i > 1 then"
  elseif i < 0 then
    return text .. ". On a GPU indices do not count from the end: guard it, as in: if i >= 1 then"
  end
  if p.index[1] > 0 then
    return text .. format(". Are the indices swapped? gpu.grid's first counts along x, which is the last axis, %d, of the array",
      tonumber(p.index[1]))
  end
  return text .. format(". Guard the access, as in: if i <= %s then", length_text(p))
end
words[2] = function(p, launch)
  return format("index %.14g of axis %d of '%s' is not a whole number: %s. Round it with math.floor", p.value, p.dimension,
    p.array, thread_text(launch, p.thread))
end
words[3] = function(p, launch)
  return format("%.14g cannot be stored in '%s', an array of %s: %s. %s", p.value, p.array, kit.dtype_names[p.dtype],
    thread_text(launch, p.thread), p.value ~= p.value and "It is not a number"
      or p.value % 1 ~= 0 and "It is not whole: round it with math.floor" or "It is out of range")
end
words[4] = function(p, launch)
  return format("integer modulo by zero: %s", thread_text(launch, p.thread))
end
words[5] = function(p, launch)
  return format("the loop has a whole step and starts at %.14g: %s. In a kernel it starts at a whole number (a step of 1.0 "
    .. "counts in fractions)", p.value, thread_text(launch, p.thread))
end
words[6] = function(p, launch)
  return format("'for' step is zero: %s", thread_text(launch, p.thread))
end
words[7] = function(p, launch)
  local i = tonumber(p.index[0])
  return format("'%s' has %d elements along axis %d and the launch more threads: %s stands at %d. A guard is missing: write "
    .. "if i <= %s then ... end around it", p.array, p.length, p.dimension, thread_text(launch, p.thread), i, length_text(p))
end
words[8] = function(p, launch)
  return format("shared memory %s is read before anything wrote it: %s. Shared memory holds whatever it held: have a thread "
    .. "write the element, and call gpu.sync() between", element(p), thread_text(launch, p.thread))
end

local ATOMIC = 3

local function race(p, launch)
  local verbs = ({ { "writes", "writes" }, { "reads", "writes" }, { "writes", "reads" } })[p.conflict]
  local text = format("race on %s%s: %s %s it%s and %s %s it at line %d%s", p.space == 1 and "shared memory " or "", element(p),
    thread_text(launch, p.thread), p.kind == ATOMIC and "updates" or verbs[1], (p.other_line ~= p.line and format(" at line %d",
    p.line) or "") .. (p.kind == ATOMIC and " by an atomic" or ""), thread_text(launch, p.other_thread),
    p.other_kind == ATOMIC and "updates" or verbs[2], p.other_line, p.other_kind == ATOMIC and " by an atomic" or "")
  local far = floor(p.other_thread / launch.threads) ~= floor(p.thread / launch.threads)
  if p.kind == ATOMIC or p.other_kind == ATOMIC then
    return text .. (far and ", and nothing orders blocks: use gpu.atomic for all of them, or split the kernel into two launches"
      or ": use gpu.atomic for all of them, or put gpu.sync() between")
  elseif far then
    return text .. ", and nothing orders blocks: " .. (p.conflict == 1
      and "give each thread an element of its own, or combine them with gpu.atomic.add"
      or "write to another array than the one that is read, or split the kernel into two launches")
  elseif p.conflict == 1 then
    return text .. ", with no gpu.sync() between: give each thread an element of its own, or combine them with gpu.atomic.add"
  end
  return text .. ", with no gpu.sync() between: which comes first is chance. Put gpu.sync() between the two"
end
words[9], words[10] = race, race

words[11] = function(p, launch)
  return format("gpu.sync() is not reached by all threads of its block: %s%s ended at line %d while others wait at line %d. "
    .. "Let every thread reach it: put the work, not the barrier, inside the condition",
    thread_text(launch, p.thread), p.length > 1 and format(" and %d more", p.length - 1) or "", p.other_line, p.line)
end
words[12] = function(p, launch)
  return format("gpu.sync() is not reached by all threads of its block: %s is at line %d, and %s%s is not. A barrier under a "
    .. "condition, or in a loop, that differs between threads: move it out, so that every thread reaches it",
    thread_text(launch, p.thread), p.line, thread_text(launch, p.other_thread),
    p.length > 1 and format(" (with %d more)", p.length - 1) or "")
end
words[13] = function(p, launch)
  return format("threads of a block wait at two barriers: %s at line %d, %s at line %d. Let all threads reach the same "
    .. "gpu.sync()", thread_text(launch, p.thread), p.line, thread_text(launch, p.other_thread), p.other_line)
end
words[14] = function(p, launch)
  return format("a shuffle, vote or gpu.syncwarp() is not reached by all of the warp: %s is here, and %s%s is not. Move it out "
    .. "of the condition, so that all 32 lanes reach it", thread_text(launch, p.thread), thread_text(launch, p.other_thread),
    p.length > 1 and format(" (with %d more)", p.length - 1) or "")
end
words[15] = function(p, launch)
  return format("a shuffle takes its value from lane %d, which is not there: %s. Lanes count from 1 to %d here",
    tonumber(p.index[0]), thread_text(launch, p.thread), p.length > 0 and p.length or 32)
end
words[16] = function(p, launch)
  local _, _, g = stand(launch, p.thread)
  return format("%d element%s of '%s' %s never written: along axis %d it has %d, and %s, the last of the launch, writes "
    .. "%d. The launch is too small: gpu.grid_for(%d, block) gives the blocks for it ({partial = true} says that it is meant)",
    p.count, p.count == 1 and "" or "s", p.array, p.count == 1 and "is" or "are", p.dimension, p.length,
    thread_text(launch, p.thread), tonumber(p.index[0]) - 1, p.length)
end
words[17] = function(p, launch)
  return format("this loop does not end: %s has gone round more than 33 million times. Does it wait for another thread? Threads of a "
    .. "warp go in step, and blocks may run one after another", thread_text(launch, p.thread))
end

local problem_c = ffi.new("pg_sim_problem")

-- A problem as scripts see it.
local function problem_of(result, i, launch)
  library.pg_sim_problem_of(problem_c, result, i)
  local p = { problem = problem_c.problem, conflict = problem_c.conflict, line = problem_c.line,
    other_line = problem_c.other_line, dimension = problem_c.dimension, chunk = ffi.string(problem_c.chunk),
    array = ffi.string(problem_c.array), thread = tonumber(problem_c.thread), other_thread = tonumber(problem_c.other_thread),
    index = problem_c.index, ndim = problem_c.ndim, dtype = problem_c.dtype, space = problem_c.space,
    kind = problem_c.kind, other_kind = problem_c.other_kind, length = tonumber(problem_c.length), count = tonumber(problem_c.count),
    value = problem_c.value }
  local b, t = stand(launch, p.thread)
  local out = { kind = names[p.problem], message = words[p.problem](p, launch), file = p.chunk, line = p.line, block = b,
    thread = t, count = p.count, array = p.array ~= "" and p.array or nil,
    other_line = p.other_line > 0 and p.other_line or nil, warning = p.problem == 16 or nil }
  if p.other_thread >= 0 then
    out.other_block, out.other_thread = stand(launch, p.other_thread)
  end
  return out
end

-- ---------------------------------------------------------------------------------------------- launches -------------
local launch_c, counts_c, site_c = ffi.new("pg_sim_launch"), ffi.new("pg_sim_counts"), ffi.new("pg_sim_site")
local program_out, result_out = ffi.new("pg_sim_program *[1]"), ffi.new("pg_sim_result *[1]")
local count_names = { "statements", "warp_steps", "integer", "float32", "float64", "special", "branches", "divergent",
  "load_requests", "load_sectors", "load_ideal", "load_bytes", "store_requests", "store_sectors", "store_ideal",
  "store_bytes", "level2_sectors", "footprint_sectors", "written_sectors", "shared_requests", "shared_wavefronts",
  "shared_ideal", "atomics", "atomic_serial", "syncs" }
local site_kinds = { "read", "write", "atomic", "branch" }
local spaces = { [0] = "global", "shared", "own" }

-- What was counted, a line of the source each.
local function lines_of(result)
  local list, by_line = {}, {}
  for i = 0, library.pg_sim_sites(result) - 1 do
    library.pg_sim_site_of(site_c, result, i)
    local kind = site_kinds[site_c.kind]
    if kind and site_c.requests > 0 then
      local space = spaces[site_c.space]
      local array = ffi.string(site_c.array)
      local chunk = ffi.string(site_c.chunk)
      local key = format("%s:%d:%s:%s:%s", chunk, site_c.line, kind, array, tostring(space))
      local line = by_line[key]
      if not line then
        line = { file = chunk, line = site_c.line, kind = kind, space = space, array = array ~= "" and array or nil,
          requests = 0, threads = 0, sectors = 0, ideal = 0, divergent = 0 }
        by_line[key] = line
        list[#list + 1] = line
      end
      for _, name in ipairs { "requests", "threads", "sectors", "ideal", "divergent" } do
        line[name] = line[name] + tonumber(site_c[name])
      end
    end
  end
  return list
end

local slots_t, pointers_t = ffi.typeof("double[?]"), ffi.typeof("void *[?]")

-- Pointers to arguments, as C takes them; second: what they point to, to be kept.
local function pack(keys, values)
  local n = #keys
  local slots, pointers = slots_t(2 * n + 2), pointers_t(n + 1)
  for i = 1, n do
    local key, x = keys[i], values[i]
    pointers[i - 1] = slots + 2 * (i - 1)
    if key >= 16 then
      pointers[i - 1] = x
    elseif key == 3 then
      slots[2 * (i - 1)] = x
    elseif key == 1 then
      ffi.cast("int32_t *", pointers[i - 1])[0] = x and 1 or 0
    elseif key == 6 then
      slots[2 * (i - 1)], slots[2 * (i - 1) + 1] = x.re, x.im
    else
      ffi.cast("int64_t *", pointers[i - 1])[0] = x
    end
  end
  return pointers, slots
end
shared.pack_arguments = pack

-- The last launch: {kernel, launch, counts, lines, problems, keys, ...}.
local last

local function program_of(s)
  if not s.sim then
    check(library.pg_sim_compile(program_out, core.C.pg_kernel_contents(s.module)))
    s.sim = ffi.gc(program_out[0], library.pg_sim_close)
    s.shared_bytes = tonumber(library.pg_sim_shared_bytes(s.sim))
  end
  return s.sim
end

-- Runs a launch and records it.
local function run(k, s, launch, values)
  local program = program_of(s)
  local limits = shared.limits()
  if s.shared_bytes + launch.shared > limits.shared_memory_per_block then
    fail("'%s': a block takes %d bytes of shared memory, and %s gives it %d: use smaller tiles", k._name,
      s.shared_bytes + launch.shared, limits.name, limits.shared_memory_per_block)
  end
  for d = 1, 3 do
    launch_c.grid[d - 1], launch_c.block[d - 1] = launch.grid[d], launch.block[d]
  end
  launch_c.shared_bytes, launch_c.coverage = launch.shared, launch.partial and 0 or 1
  local pointers, slots = pack(s.keys, values)
  local status = library.pg_sim_run(result_out, program, launch_c, pointers)
  if status == ERROR_MEMORY then -- what it keeps counts as memory: without garbage there may be room
    core.collect()
    status = library.pg_sim_run(result_out, program, launch_c, pointers)
  end
  check(status)
  local result = ffi.gc(result_out[0], library.pg_sim_release)
  slots = slots and nil
  library.pg_sim_counts_of(counts_c, result)
  local counts = {}
  for _, name in ipairs(count_names) do
    counts[name] = tonumber(counts_c[name])
  end
  local problems = {}
  for i = 0, library.pg_sim_problems(result) - 1 do
    problems[i + 1] = problem_of(result, i, launch)
  end
  local file, line = core.caller()
  last = { kernel = k, name = k._name, grid = launch.grid, block = launch.block, threads = launch.threads,
    shared = s.shared_bytes + launch.shared, counts = counts, problems = problems, result = result, keys = s.keys,
    file = file, line = line, launch = launch, lines = lines_of(result), transfers = gpu.transfers() }
  return last
end
shared.run_checked = run

local touched_c = ffi.new("int64_t[4]")

--- Of argument i, which spans the bytes `whole` = {memory, first, last} of its memory: those that the last launch has read, and
--- those that it has written; nil where none. values: its arguments.
function shared.touched(i, whole)
  library.pg_sim_touched(touched_c, last.result, i - 1)
  -- They count from the first element, which is not the first byte where strides are negative.
  local origin = whole.origin or whole.first
  local function range(from, to)
    return from < to and { memory = whole.memory, first = origin + tonumber(from), last = origin + tonumber(to) } or nil
  end
  return range(touched_c[0], touched_c[1]), range(touched_c[2], touched_c[3])
end

-- Arrays of the host's that are given to a kernel: a GPU would have them copied there, and back if they are written to.
function shared.count_transfers(s, values, host)
  for i, x in ipairs(values) do
    if host[i] then
      local bytes = shared.bytes_of(x)
      shared.moved.to_device = shared.moved.to_device + bytes
      if core.C.pg_kernel_writes(s.module, i - 1) ~= 0 then
        shared.moved.to_host = shared.moved.to_host + bytes
      end
    end
  end
end

function shared.last_launch()
  return last
end

local function warn(problem, record)
  io.stderr:write(format("%s:%d: warning: %s%s\n", problem.file, problem.line, problem.message,
    record.file and format(" (launched at %s:%d)", record.file, record.line) or ""))
end

shared.launchers.checked = function(k, s, launch, values, host)
  shared.count_transfers(s, values, host)
  local record = run(k, s, launch, values)
  local first
  local texts = {}
  for _, problem in ipairs(record.problems) do
    if problem.warning then
      warn(problem, record)
    elseif not first then
      first = problem
    else
      texts[#texts + 1] = format("%s:%d: %s", problem.file, problem.line, problem.message)
    end
  end
  if first then
    local more = #texts
    local text = format("%s:%d: %s", first.file, first.line, first.message)
    if more > 0 then
      text = format("%s\n%s%s", text, concat(texts, "\n", 1, min(more, 4)), more > 4 and format("\n... and %d more", more - 4)
        or "")
    end
    error(text, 0)
  end
end

--- gpu.problems(): what the checked simulator found in the last launch, the worst first: a list of {kind, message, file, line,
--- block = {x, y, z}, thread = {x, y, z}, count, array, other_line, other_block, other_thread, warning}.
function gpu.problems()
  local list = {}
  for i, problem in ipairs(last and last.problems or {}) do
    list[i] = problem
  end
  return list
end

--- gpu.counts(): what the checked simulator counted in the last launch: a table.
function gpu.counts()
  if not last then
    fail("gpu.counts: no kernel has been launched on the checked simulator yet")
  end
  local out = {}
  for name, value in pairs(last.counts) do
    out[name] = value
  end
  return out
end

-- Models, estimates and pictures, loaded when first asked for.
local report, map
local function reporter()
  report = report or shared.part("gpu_report")
  return report
end

--- What launches must fit: of the GPU in use, or of the model. (A table with gpu.info()'s names.)
function shared.limits()
  return reporter().limits()
end

--- gpu.model([name]): the GPU whose limits the simulator keeps and whose time it estimates, by default "H200"; with a name,
--- sets it. Returns its figures: a table.
function gpu.model(name)
  return reporter().model(name)
end

--- gpu.occupancy(block [, {shared = bytes, model = name}]): how full an SM is with blocks of this size: {blocks, warps,
--- fraction, limit}, limit being "threads", "blocks" or "shared memory". Registers are not counted.
function gpu.occupancy(block, options)
  return reporter().occupancy(block, options)
end

--- gpu.report([{model = "A100"}]): what the last launch on the checked simulator would cost, what bounds it and what to try.
--- Prints as text; has fields name, grid, block, counts, lines, problems, estimate and advice.
function gpu.report(options)
  return reporter().report(options)
end

--- gpu.map{array = "y" [, access = "read"] [, file = "map.svg"]}: a picture (SVG) of the last launch on the checked simulator:
--- which thread wrote (or read last) which element. Returns its text; file: where it is written.
function gpu.map(options)
  map = map or shared.part("gpu_map")
  return map(options)
end
