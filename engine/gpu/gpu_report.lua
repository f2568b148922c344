-- What a launch would cost on a named GPU, and what to try: estimates from the checked simulator's counts.
local core, shared = ...
local fail = core.fail
local gpu, kit = shared.gpu, shared.kit
local type, tostring, ipairs, pairs, format, concat, floor, ceil, max, min, sort, setmetatable = type, tostring, ipairs, pairs,
  string.format, table.concat, math.floor, math.ceil, math.max, math.min, table.sort, setmetatable

-- ----------------------------------------------------------------------------------------------- models --------------
-- By compute capability: results a clock of one SM, and what a block and an SM hold (CUDA C++ Programming Guide, tables of
-- arithmetic throughput and of technical specifications; special: sines, roots and quotients take some 20 instructions each).
local capabilities = {
  ["7.0"] = { float32 = 64, float64 = 32, integer = 64, special = 6, shared_sm = 96, shared_block = 96, threads_sm = 2048, blocks_sm = 32 },
  ["7.5"] = { float32 = 64, float64 = 2, integer = 64, special = 6, shared_sm = 64, shared_block = 64, threads_sm = 1024, blocks_sm = 16 },
  ["8.0"] = { float32 = 64, float64 = 32, integer = 64, special = 6, shared_sm = 164, shared_block = 163, threads_sm = 2048, blocks_sm = 32 },
  ["8.6"] = { float32 = 128, float64 = 2, integer = 64, special = 6, shared_sm = 100, shared_block = 99, threads_sm = 1536, blocks_sm = 16 },
  ["8.9"] = { float32 = 128, float64 = 2, integer = 64, special = 6, shared_sm = 100, shared_block = 99, threads_sm = 1536, blocks_sm = 24 },
  ["9.0"] = { float32 = 128, float64 = 64, integer = 64, special = 6, shared_sm = 228, shared_block = 227, threads_sm = 2048, blocks_sm = 32 },
}
-- SMs, boost clock in GHz, memory in GB/s, second-level cache in MB: NVIDIA's data sheets; GB/s to the host, what PCIe carries.
local models = {
  H200 = { "9.0", 132, 1.98, 4800, 50, 55 },
  H100 = { "9.0", 132, 1.98, 3350, 50, 55 },
  A100 = { "8.0", 108, 1.41, 2039, 40, 25 },
  V100 = { "7.0", 80, 1.53, 900, 6, 12.5 },
  T4 = { "7.5", 40, 1.59, 320, 4, 12.5 },
  L4 = { "8.9", 58, 2.04, 300, 48, 25 },
  L40S = { "8.9", 142, 2.52, 864, 96, 25 },
  ["RTX 3060"] = { "8.6", 28, 1.78, 360, 3, 25 },
  ["RTX 4090"] = { "8.9", 128, 2.52, 1008, 72, 25 },
}

-- What is assumed of all of them.
local achieved = 0.9        -- of the data sheet's memory bandwidth, in long copies
local level2_bytes = 24     -- from the second-level cache, a clock of one SM
local latency = 600e-9      -- of global memory
local in_flight = 4         -- requests that a warp has under way at once
local launch_time = 2.5e-6  -- a kernel that does nothing
local sync_clocks = 30      -- of a block, at a barrier

local function figures(name)
  local m = models[name]
  local c = capabilities[m[1]]
  return { name = name, compute_capability = m[1], multiprocessors = m[2], clock = m[3] * 1e9, memory_bandwidth = m[4] * 1e9,
    l2_cache = m[5] * 2 ^ 20, link_bandwidth = m[6] * 1e9, max_threads_per_multiprocessor = c.threads_sm, max_blocks_per_multiprocessor = c.blocks_sm,
    shared_memory_per_multiprocessor = c.shared_sm * 1024, shared_memory_per_block = c.shared_block * 1024,
    float32 = c.float32 * m[2] * m[3] * 1e9, float64 = c.float64 * m[2] * m[3] * 1e9, integer = c.integer * m[2] * m[3] * 1e9,
    special = c.special * m[2] * m[3] * 1e9 }
end

local current = "H200"

local function check_options(name, options, known)
  if options ~= nil and type(options) ~= "table" then
    fail('%s: options are a table such as {model = "A100"}, got %s', name, kit.kind_of(options))
  end
  kit.check_options(name, options or {}, known)
end

local function need_model(name, what)
  if not models[what] then
    local names = {}
    for known in pairs(models) do
      names[#names + 1] = known
    end
    sort(names)
    fail("%s: '%s' is no GPU that is known here; known are: %s", name, tostring(what), concat(names, ", "))
  end
  return what
end

-- gpu.model
local function model(name)
  if name ~= nil then
    current = need_model("gpu.model", name)
  end
  return figures(current)
end

local function limits()
  return shared.device().backend == "cuda" and gpu.info() or figures(current)
end

-- ----------------------------------------------------------------------------------------------- estimates -----------
-- How many blocks of this size an SM holds, and what decides that. (Registers are not known before the code is compiled.)
local function occupancy_of(m, threads, bytes)
  local warps = ceil(threads / 32)
  local by_threads = floor(m.max_threads_per_multiprocessor / (warps * 32))
  local by_shared = bytes > 0 and floor(m.shared_memory_per_multiprocessor / (bytes + 1024)) or 1e9 -- 1 KiB a block is CUDA's
  local blocks = min(by_threads, by_shared, m.max_blocks_per_multiprocessor)
  local limit = blocks == by_shared and by_shared < by_threads and "shared memory" or blocks == by_threads and "threads"
    or "blocks"
  return { blocks = blocks, warps = blocks * warps, fraction = blocks * warps * 32 / m.max_threads_per_multiprocessor,
    limit = limit }
end

-- gpu.occupancy
local function occupancy(block, options)
  check_options("gpu.occupancy", options, { shared = true, model = true })
  local threads = type(block) == "table" and (block[1] or 1) * (block[2] or 1) * (block[3] or 1) or block
  if type(threads) ~= "number" or threads % 1 ~= 0 or threads < 1 or threads > 1024 then
    fail("gpu.occupancy: a block has 1 to 1024 threads, got %s", type(threads) == "number" and tostring(threads)
      or kit.kind_of(block))
  end
  local m = figures(need_model("gpu.occupancy", options and options.model or current))
  return occupancy_of(m, threads, options and options.shared or 0)
end

-- Seconds that each part of the machine needs for what was counted; the launch takes as long as the longest.
local function estimate(m, r)
  local c = r.counts
  local blocks = r.grid[1] * r.grid[2] * r.grid[3]
  local o = occupancy_of(m, r.threads, r.shared)
  local busy = min(m.multiprocessors, blocks) -- SMs that have any work
  local share = busy / m.multiprocessors
  -- The last round of blocks leaves SMs idle.
  local at_once = max(1, o.blocks) * m.multiprocessors
  local rounds = blocks / at_once
  local tail = rounds > 1 and ceil(rounds) / rounds or 1
  local resident = min(ceil(blocks / busy), max(1, o.blocks)) * ceil(r.threads / 32) * busy -- warps, all SMs together
  local requests = c.load_requests + c.store_requests
  local sectors = c.load_sectors + c.store_sectors
  local times = {
    ["memory bandwidth"] = c.footprint_sectors * 32 / (m.memory_bandwidth * achieved),
    ["second-level cache"] = max(c.level2_sectors * 32 / (level2_bytes * m.multiprocessors * m.clock * share),
      -- what does not fit it comes from memory again
      c.footprint_sectors * 32 > m.l2_cache and c.level2_sectors * 32 / (m.memory_bandwidth * achieved) or 0),
    ["first-level cache"] = sectors * 32 / (128 * busy * m.clock),
    ["memory latency"] = requests * latency / (max(1, resident) * in_flight),
    ["shared memory"] = c.shared_wavefronts / (busy * m.clock),
    ["float32 arithmetic"] = c.float32 / (m.float32 * share) * tail,
    ["float64 arithmetic"] = c.float64 / (m.float64 * share) * tail,
    ["integer arithmetic"] = c.integer / (m.integer * share) * tail,
    ["special functions"] = c.special / (m.special * share) * tail,
    ["instructions"] = c.warp_steps / (4 * busy * m.clock) * tail,
    ["atomics"] = (c.atomics + c.atomic_serial * 4) / (busy * m.clock),
    ["barriers"] = c.syncs * sync_clocks / (busy * max(1, o.blocks) * m.clock),
  }
  local bound, longest = "the launch itself", 0
  for name, t in pairs(times) do
    if t > longest or t == longest and name < bound then
      bound, longest = name, t
    end
  end
  if longest < launch_time then
    bound = "the launch itself"
  end
  return { time = launch_time + longest, launch = launch_time, bound = bound, parts = times, occupancy = o, model = m.name,
    link = m.link_bandwidth }
end
shared.estimate = estimate

local function seconds(t)
  return t < 1e-3 and format("%.1f us", t * 1e6) or t < 1 and format("%.2f ms", t * 1e3) or format("%.2f s", t)
end

local function number(n)
  local text = format("%.0f", n)
  local out = text:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (out:gsub("^,", ""))
end

local function percent(part, whole)
  return whole > 0 and 100 * part / whole or 100
end

local function size_text(size)
  return size[3] > 1 and format("%d x %d x %d", size[1], size[2], size[3]) or size[2] > 1 and format("%d x %d", size[1], size[2])
    or tostring(size[1])
end

-- The line with the most of what `cost(line)` says; nil where none has any.
local function worst(lines, cost)
  local found, most = nil, 0
  for _, line in ipairs(lines) do
    local c = cost(line)
    if c > most then
      found, most = line, c
    end
  end
  return found, most
end

-- What to try, the most useful first.
local function advice(r, e)
  local c, list = r.counts, {}
  local function try(weight, text, ...)
    list[#list + 1] = { weight, format(text, ...) }
  end
  local sectors, ideal = c.load_sectors + c.store_sectors, c.load_ideal + c.store_ideal
  local memory = e.bound == "memory bandwidth" or e.bound == "second-level cache" or e.bound == "first-level cache"
    or e.bound == "memory latency"
  if sectors > 1.3 * ideal then
    local line = worst(r.lines, function(l) return l.space == "global" and l.sectors - l.ideal or 0 end)
    if line then
      try(memory and 10 or 3, "line %d %s '%s' with %.1f times the sectors that its data fill: neighbouring threads (threadIdx.x) "
        .. "should touch neighbouring elements (of a matrix those of a row: the last index)%s", line.line,
        line.kind == "read" and "reads" or line.kind == "write" and "writes" or "updates", line.array,
        line.sectors / max(1, line.ideal), c.shared_requests == 0 and "; a tile in shared memory (gpu.shared) can turn the order"
          or "")
    end
  end
  if c.shared_wavefronts > 1.3 * c.shared_ideal then
    local line = worst(r.lines, function(l) return l.space == "shared" and l.sectors - l.ideal or 0 end)
    if line then
      try(e.bound == "shared memory" and 10 or 4, "bank conflicts at line %d: an access to '%s' takes %.1f rounds instead of one; "
        .. "pad the tile's rows by one element, as in gpu.shared(\"float32\", 32, 33)", line.line, line.array,
        line.sectors / max(1, line.ideal))
    end
  end
  local reads = c.load_bytes
  if c.shared_requests == 0 and c.footprint_sectors > 0 and c.load_sectors > 3 * c.footprint_sectors and memory
    and sectors <= 1.5 * ideal then
    try(6, "each element is read %.1f times: keep what threads of a block share in shared memory (gpu.shared)",
      reads / (max(1, c.footprint_sectors - c.written_sectors) * 32))
  end
  if c.divergent > 0.1 * c.branches and c.divergent > 8 then
    local line = worst(r.lines, function(l) return l.kind == "branch" and l.divergent or 0 end)
    if line then
      try(2, "the branch at line %d goes both ways within %.0f%% of the warps that come to it, which then do both: let whole warps "
        .. "decide alike", line.line, percent(line.divergent, line.requests))
    end
  end
  local blocks = r.grid[1] * r.grid[2] * r.grid[3]
  local m = figures(e.model)
  if blocks < m.multiprocessors then
    try(blocks * r.threads < 32 * m.multiprocessors and 1 or 5, "%d block%s keep%s %d of %d SMs busy: use smaller blocks, or give the "
      .. "launch more work", blocks, blocks == 1 and "" or "s", blocks == 1 and "s" or "", blocks, m.multiprocessors)
  end
  if r.threads % 32 ~= 0 then
    try(4, "a block of %d threads leaves %d lanes of its last warp idle: take a multiple of 32", r.threads, 32 - r.threads % 32)
  end
  if e.occupancy.fraction < 0.5 and e.occupancy.limit == "shared memory" then
    try(3, "shared memory lets only %d block%s run on an SM at once (%.0f%% of its threads): smaller tiles hide more of memory's "
      .. "latency", e.occupancy.blocks, e.occupancy.blocks == 1 and "" or "s", e.occupancy.fraction * 100)
  elseif e.occupancy.fraction < 0.5 and blocks > m.multiprocessors then
    try(3, "blocks of %d threads fill %.0f%% of an SM (it holds %d blocks at most): larger blocks fill it", r.threads,
      e.occupancy.fraction * 100, e.occupancy.blocks)
  end
  if c.atomic_serial > c.atomics / 64 and c.atomics > 0 then
    local line = worst(r.lines, function(l) return l.kind == "atomic" and l.divergent or 0 end)
    if line then
      try(e.bound == "atomics" and 10 or 4, "lanes of a warp wait for each other at the atomic of line %d, since they update the same "
        .. "elements of '%s': combine within the block first (shared memory, or gpu.shfl_down), and add once", line.line, line.array)
    end
  end
  if c.float64 > c.float32 and c.float64 > 0 and m.float64 * 4 < m.float32 then
    try(e.bound == "float64 arithmetic" and 10 or 2, "it computes in float64, which this GPU does %.0f times slower than float32: "
      .. "use float32 arrays where that is precise enough", m.float32 / m.float64)
  elseif e.bound == "float64 arithmetic" then
    try(5, "it computes in float64: float32 arrays halve the work and the memory, where that is precise enough")
  end
  if e.bound == "the launch itself" then
    try(7, "there is too little work for a GPU: the launch takes longer than the work. Do more in one launch")
  elseif #list == 0 and e.bound == "memory bandwidth" then
    try(1, "it moves nothing in vain, so it goes as fast as memory does: do more with each element while it is there (fuse this "
      .. "kernel with the next)")
  end
  local moved = (r.transfers.to_device + r.transfers.to_host) / e.link
  if moved > 10 * e.time and moved > 1e-4 then
    try(8, "copies between host and device have taken some %s so far, this launch %s: keep arrays on the device (gpu.array once, "
      .. "d:to_host() at the end)", seconds(moved), seconds(e.time))
  end
  sort(list, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] < b[2] end)
  local texts = {}
  for i, entry in ipairs(list) do
    texts[i] = entry[2]
  end
  return texts
end

local report_mt = {}
function report_mt.__tostring(r)
  local c, e = r.counts, r.estimate
  local out = { format("%s: grid %s, block %s: %s threads, %s statements", r.name, size_text(r.grid), size_text(r.block),
    number(r.grid[1] * r.grid[2] * r.grid[3] * r.threads), number(c.statements)) }
  local function line(text, ...)
    out[#out + 1] = "  " .. format(text, ...)
  end
  line("about %s on %s, bound by %s", seconds(e.time), e.model, e.bound)
  local ideal, sectors = c.load_ideal + c.store_ideal, c.load_sectors + c.store_sectors
  if sectors > 0 then
    line("global memory: %s sectors of 32 bytes read, %s written; %.0f%% of what is moved is used", number(c.load_sectors),
      number(c.store_sectors), percent(ideal, sectors))
    line("  %s different bytes; %s sectors come past a first-level cache", number(c.footprint_sectors * 32),
      number(c.level2_sectors))
  end
  if c.shared_requests > 0 then
    line("shared memory: %s accesses of warps in %s rounds of banks (%s without conflicts)", number(c.shared_requests),
      number(c.shared_wavefronts), number(c.shared_ideal))
  end
  if c.atomics > 0 then
    line("atomics: %s, and %s rounds of waiting for lanes that update the same element", number(c.atomics),
      number(c.atomic_serial))
  end
  line("arithmetic: %s float32, %s float64, %s integer, %s special", number(c.float32), number(c.float64), number(c.integer),
    number(c.special))
  if c.branches > 0 then
    line("branches of warps: %s, of which %s went both ways", number(c.branches), number(c.divergent))
  end
  if r.transfers.to_device + r.transfers.to_host > 0 then
    line("between host and device up to here: %s bytes there, %s back, about %s", number(r.transfers.to_device),
      number(r.transfers.to_host), seconds((r.transfers.to_device + r.transfers.to_host) / e.link))
  end
  local o = e.occupancy
  line("occupancy: %d blocks of %d threads on an SM at once, %.0f%% of what it holds (limited by %s; registers not counted)",
    o.blocks, r.threads, o.fraction * 100, o.limit)
  for _, problem in ipairs(r.problems) do
    line("%s at line %d: %s", problem.warning and "warning" or "wrong", problem.line, problem.message)
  end
  for i, text in ipairs(r.advice) do
    line("%s%s", i == 1 and "try: " or "     ", text)
  end
  return concat(out, "\n")
end

-- gpu.report
local function report(options)
  check_options("gpu.report", options, { model = true })
  local r = shared.last_launch()
  if not r then
    fail("gpu.report: no kernel has been launched on the checked simulator yet")
  end
  local e = estimate(figures(need_model("gpu.report", options and options.model or current)), r)
  return setmetatable({ name = r.name, grid = r.grid, block = r.block, threads = r.threads, counts = r.counts, lines = r.lines,
    problems = r.problems, estimate = e, advice = advice(r, e), transfers = r.transfers }, report_mt)
end

return { model = model, limits = limits, occupancy = occupancy, report = report }
