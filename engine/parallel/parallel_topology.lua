-- The machine's cores and caches, and on which of them a thread runs. The plugin engine/topology asks hwloc.
local core, kit = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local parallel, kind_of = kit.parallel, kit.kind_of
local type, ipairs, tonumber, setmetatable, format, concat = type, ipairs, tonumber, setmetatable, string.format, table.concat

local library, facts -- of the plugin, at first use

local function load_facts()
  if not facts then
    library = core.require("topology")._library
    local out = ffi.new("const pg_topology *[1]")
    check(library.pg_topology_get(out))
    facts = out[0]
  end
  return facts
end

local cache_types = { [0] = "unified", "data", "instruction" }

local function bytes_text(bytes)
  local units, i = { "bytes", "KiB", "MiB", "GiB" }, 1
  while bytes >= 1024 and i < #units do
    bytes, i = bytes / 1024, i + 1
  end
  return format("%g %s", bytes, units[i])
end

local function count_text(count, what)
  return format("%d %s%s", count, what, count == 1 and "" or "s")
end

local Topology = {}
Topology.__tostring = function(t)
  local parts = { count_text(t.packages, "package"), count_text(t.cores, "core"),
    count_text(t.threads, "hardware thread") }
  if t.numa_nodes > 1 then
    parts[#parts + 1] = count_text(t.numa_nodes, "NUMA node")
  end
  if t.usable < t.threads then
    parts[#parts + 1] = format("%d of them usable here", t.usable)
  end
  local caches = {}
  for i, c in ipairs(t.caches) do
    caches[i] = format("L%d%s %s%s", c.level, c.type == "data" and "d" or c.type == "instruction" and "i" or "",
      c.count > 1 and c.count .. " x " or "", bytes_text(c.bytes))
  end
  return concat(parts, ", ") .. (#caches > 0 and "; " .. concat(caches, ", ") or "")
end

--- parallel.topology(): how many packages, cores, hardware threads and NUMA nodes there are, the caches, and each core's
--- place.
function parallel.topology()
  local f = load_facts()
  local t = { packages = f.packages, cores = f.cores, threads = f.threads, numa_nodes = f.numa_nodes, usable = f.usable,
    caches = {}, core = {} }
  for i = 1, f.caches do
    local c = f.cache[i - 1]
    t.caches[i] = { level = c.level, type = cache_types[c.type], bytes = tonumber(c.bytes), line = c.line, count = c.count,
      shared_by = c.shared_by }
  end
  for i = 1, f.cores do
    local c = f.core[i - 1]
    local threads = {}
    for j = 1, c.count do
      threads[j] = c.threads[j - 1]
    end
    t.core[i] = { package = c.package, numa = c.numa, threads = threads }
  end
  return setmetatable(t, Topology)
end

--- parallel.pinned(): the list of cores on which the calling thread may run.
function parallel.pinned()
  local f = load_facts()
  local cores, count, list = ffi.new("int32_t[?]", f.cores), ffi.new("int32_t[1]"), {}
  check(library.pg_topology_pinned(cores, count))
  for i = 1, count[0] do
    list[i] = cores[i - 1]
  end
  return list
end

--- parallel.pin(cores): keeps the calling thread on a core, or on those of a list; "all" lets it go again. Threads that it
--- starts later inherit this.
function parallel.pin(cores)
  local f = load_facts()
  if type(cores) == "number" then
    cores = { cores }
  elseif cores == "all" then
    cores = {}
  elseif type(cores) ~= "table" or #cores == 0 then
    fail('pin: a core from 1 to %d, a list of them or "all" is expected, got %s', f.cores, kind_of(cores))
  end
  local list = ffi.new("int32_t[?]", math.max(#cores, 1))
  for i, c in ipairs(cores) do
    if type(c) ~= "number" or c % 1 ~= 0 or c < 1 or c > f.cores then
      fail("pin: a core is an integer from 1 to %d, got %s", f.cores, kind_of(c))
    end
    list[i - 1] = c
  end
  check(library.pg_topology_pin(list, #cores))
end

-- What a worker of a pool with {pin = true} does first: it stays on one of these cores, and then does what else it should.
-- With more workers than cores they share them evenly.
function parallel._pin_worker(cores, initializer, ...)
  parallel.pin(cores[(parallel.worker() - 1) % #cores + 1])
  if initializer then
    initializer(...)
  end
end

--- The initializer, its arguments and their names in errors, of a pool with {pin = true}.
function kit.pinned_initializer(initializer, initargs)
  local f, cores = load_facts(), {}
  for i = 1, f.cores do
    if f.core[i - 1].count > 0 then -- the process may use it
      cores[#cores + 1] = i
    end
  end
  local arguments, names = { cores, initializer or false }, { [3] = "the initializer" }
  for i = 1, table.maxn(initargs) do
    arguments[i + 2], names[i + 3] = initargs[i], format("argument %d", i)
  end
  return parallel._pin_worker, arguments, names
end
