-- Operations: what each array, linear algebra, Fourier and random operation took, moved and computed (recorder.cpp); the
-- roofline, which says how near the machine's limits it was; and the timeline.
local core, kit = ...
local C, ffi = core.C, core.ffi
local profiler, natives = kit.profiler, kit.natives
local format, concat, sort = string.format, table.concat, table.sort
local floor, max, min, huge = math.floor, math.max, math.min, math.huge

-- ------------------------------------------------------------------------------------------------------ the roofs ----
local roof -- of this process

local function cache_path()
  local folder = os.getenv("XDG_CACHE_HOME") or os.getenv("HOME") and os.getenv("HOME") .. "/.cache"
  return folder and folder .. "/perigee/roofline.json", folder
end

local function processor()
  local file = io.open("/proc/cpuinfo", "r")
  local name = file and string.match(file:read("*a") or "", "model name%s*:%s*([^\n]+)")
  if file then
    file:close()
  end
  return name or "unknown"
end

local function measure(threads)
  local value = ffi.new("double[1]")
  local function bandwidth(bytes)
    core.check(C.pg_profiler_bandwidth(value, bytes, threads, 0.1))
    return value[0]
  end
  local sizes = ffi.new("double[4]")
  C.pg_profiler_caches(sizes)
  local levels = {}
  for i = 0, 3 do
    if sizes[i] > 0 then -- half of the cache: it holds other things too; a shared one is shared
      local share = i >= 2 and sizes[i] / threads or sizes[i]
      levels[#levels + 1] = { name = "L" .. i + 1, bytes = sizes[i], bandwidth = bandwidth(share / 2) }
    end
  end
  local last = levels[#levels] and levels[#levels].bytes or 32 * 2 ^ 20
  levels[#levels + 1] = { name = "memory", bytes = huge, bandwidth = bandwidth(min(max(4 * last / threads, 64 * 2 ^ 20),
    256 * 2 ^ 20)) }
  core.check(C.pg_profiler_peak(value, 0, threads, 0.1))
  local peak = value[0]
  core.check(C.pg_profiler_peak(value, 1, threads, 0.1))
  return { processor = processor(), threads = threads, version = core.pg.version, levels = levels, peak = peak,
    peak_single = value[0] }
end

-- Whether what was kept was measured with these caches. Names of processors do not tell: a virtual machine's may say the
-- family only, and a home folder may be that of several machines.
local function has_these_caches(levels)
  local sizes = ffi.new("double[4]")
  C.pg_profiler_caches(sizes)
  local at = 1
  for i = 0, 3 do
    if sizes[i] > 0 then
      if not levels[at] or levels[at].bytes ~= sizes[i] then
        return false
      end
      at = at + 1
    end
  end
  return at == #levels
end

local Roof = {}
Roof.__index = Roof

-- profiler.roofline([{fresh = true}]) -> what this machine can do on pg.threads() threads: levels = {{name, bytes, bandwidth}...},
-- peak and peak_single in flops a second. Measured once (a second or so) and kept in ~/.cache/perigee.
function profiler.roofline(options)
  options = options or {}
  for name in pairs(options) do
    if name ~= "fresh" then
      core.fail("roofline: there is no option %q; there is fresh", tostring(name))
    end
  end
  local threads = core.pg.threads()
  if roof and roof.threads == threads and not options.fresh then
    return roof
  end
  local path, folder = cache_path()
  local json = core.require("io")
  local kept = {}
  local file = path and io.open(path, "r")
  if file then
    local ok, value = pcall(json.parse_json, file:read("*a"))
    file:close()
    kept = ok and type(value) == "table" and type(value.roofs) == "table" and value.roofs or {}
  end
  local name = processor()
  if not options.fresh then
    for _, one in ipairs(kept) do
      if one.processor == name and one.threads == threads and one.version == core.pg.version and has_these_caches(one.levels) then
        one.levels[#one.levels].bytes = huge
        roof = setmetatable(one, Roof)
        return roof
      end
    end
  end
  roof = setmetatable(measure(threads), Roof)
  local others = { roof }
  for _, one in ipairs(kept) do
    if not (one.processor == name and one.threads == threads) and one.version == core.pg.version then
      others[#others + 1] = one
    end
  end
  -- The file is a convenience: where it cannot be written, the next process measures again.
  if path and os.execute(format("mkdir -p '%s/perigee' 2>/dev/null", (string.gsub(folder, "'", "'\\''")))) then
    local out = io.open(path, "w")
    if out then
      local plain = {}
      for i, one in ipairs(others) do
        local levels = {}
        for k, level in ipairs(one.levels) do
          levels[k] = { name = level.name, bytes = level.bytes == huge and 0 or level.bytes, bandwidth = level.bandwidth }
        end
        plain[i] = { processor = one.processor, threads = one.threads, version = one.version, levels = levels,
          peak = one.peak, peak_single = one.peak_single }
      end
      out:write(json.to_json({ roofs = plain }))
      out:close()
    end
  end
  return roof
end

local function rate(x, unit)
  if x >= 1e12 then
    return format("%.3g T%s", x / 1e12, unit)
  elseif x >= 1e9 then
    return format("%.3g G%s", x / 1e9, unit)
  end
  return format("%.3g M%s", x / 1e6, unit)
end

function Roof:text()
  local rows = {}
  for _, level in ipairs(self.levels) do
    rows[#rows + 1] = { level.name, level.bytes == huge and "" or kit.bytes(level.bytes), rate(level.bandwidth, "B/s") }
  end
  local memory = self.levels[#self.levels].bandwidth
  return format("%s, %d thread%s\n", self.processor, self.threads, self.threads == 1 and "" or "s") ..
    kit.table({ { "reading from" }, { "size", right = true }, { "bandwidth", right = true } }, rows) ..
    format("\narithmetic: %s float64, %s float32\nBelow %.1f operations a byte, memory is the limit; above, arithmetic.",
      rate(self.peak, "flop/s"), rate(self.peak_single, "flop/s"), self.peak / memory)
end

Roof.__tostring = Roof.text

-- `perigee roofline`.
function profiler._roofline(fresh)
  core.write(profiler.roofline({ fresh = fresh }):text() .. "\n")
end

-- The level that holds `bytes` on one thread.
local function level_of(r, bytes)
  for _, level in ipairs(r.levels) do
    if bytes <= level.bytes then
      return level
    end
  end
  return r.levels[#r.levels]
end

-- ----------------------------------------------------------------------------------------------------- operations ----
local Operations = { }
Operations.__index = Operations

local function name_of(row)
  if row.name ~= "" then
    return row.name
  end
  return (string.gsub(string.gsub(row.call, "^pg_", ""), "_", "."))
end

-- profiler.ops(fn, ...) -> profile, results of fn...: every operation of the engine that fn(...) runs on this thread.
function profiler.ops(fn, ...)
  local recorder
  local t0 = C.pg_timer_now()
  local raw, results = kit.run("profiler.ops", function()
    local reason
    recorder, reason = natives.record_start()
    if not recorder then
      core.fail("profiler.ops: %s", reason)
    end
  end, function()
    return natives.record_stop(recorder)
  end, fn, ...)
  local profile = setmetatable({ kind = "ops", wall = C.pg_timer_now() - t0, operations = {} }, Operations)
  local seconds, count = 0, 0
  for _, row in ipairs(raw.operations) do
    row.operation = name_of(row)
    seconds, count = seconds + row.seconds, count + row.count
    table.insert(profile.operations, row)
  end
  sort(profile.operations, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.operation < b.operation
  end)
  profile.seconds, profile.count = seconds, count
  return kit.finish(profile, results)
end

-- How near an operation came to the machine's limits: {bound = "memory" | "arithmetic", level, share (of what the roof
-- allows), intensity, text}; nil where it did not say what it moved.
function Operations:bound(row)
  if row.bytes <= 0 or row.seconds <= 0 then
    return nil
  end
  local r = profiler.roofline()
  local each = row.bytes / row.count
  local level = level_of(r, each)
  local single = row.dtype == "float32" or row.dtype == "complex64"
  local peak = single and r.peak_single or r.peak
  local intensity = row.flops / row.bytes
  local by_memory, by_arithmetic = row.bytes / level.bandwidth, row.flops / peak
  local least = max(by_memory, by_arithmetic)
  local result = { level = level.name, intensity = intensity, share = least / row.seconds,
    bound = by_memory >= by_arithmetic and "memory" or "arithmetic" }
  local label = format("%s%s (%s)", row.operation, row.dtype ~= "" and " " .. row.dtype or "", kit.bytes(each))
  local per_call = row.seconds / row.count
  if per_call < 2e-6 then
    result.bound = "calls"
    result.text = format("%s takes %s a call: too short for the roof, the call itself counts; use larger arrays", label,
      kit.seconds(per_call))
  elseif result.bound == "memory" then
    result.text = format("%s is bound by memory (%.2g operations a byte): %s, %.0f%% of what %s gives", label, intensity,
      rate(row.bytes / row.seconds, "B/s"), 100 * result.share, level.name == "memory" and "memory" or
      "the " .. level.name .. " cache")
  else
    result.text = format("%s is bound by arithmetic (%.2g operations a byte): %s, %.0f%% of the peak", label, intensity,
      rate(row.flops / row.seconds, "flop/s"), 100 * result.share)
  end
  return result
end

function Operations:text()
  local out, rows = {}, {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  say("%d operations of the engine took %s of %s.", self.count, kit.seconds(self.seconds), kit.seconds(self.wall))
  if self.count == 0 then
    return out[1]
  end
  for _, row in ipairs(self.operations) do
    if #rows == 25 then
      break
    end
    rows[#rows + 1] = { row.operation, row.dtype, format("%d", row.count), kit.percent(row.seconds, self.seconds),
      kit.seconds(row.seconds), kit.seconds(row.seconds / row.count), row.bytes > 0 and kit.bytes(row.bytes / row.count) or "",
      row.bytes > 0 and rate(row.bytes / row.seconds, "B/s") or "", row.flops > 0 and
      rate(row.flops / row.seconds, "flop/s") or "" }
  end
  say("%s", kit.table({ { "operation", width = 20 }, { "dtype" }, { "calls", right = true }, { "share", right = true },
    { "time", right = true }, { "per call", right = true }, { "moves", right = true }, { "", right = true },
    { "", right = true } }, rows))
  local told = 0
  for _, row in ipairs(self.operations) do
    if told < 5 and row.seconds > 0.02 * self.seconds then
      local bound = self:bound(row)
      if bound then
        told = told + 1
        say("%s%s.", told == 1 and "\n" or "", bound.text)
      end
    end
  end
  return concat(out, "\n")
end

Operations.__tostring = function(self) return self:text() end

-- profile:figure() -> a plot.Figure: the machine's roofs and each operation under them.
function Operations:figure()
  local plot, r = core.require("plot"), profiler.roofline()
  local figure = plot.figure { width = 900, height = 600, title = self.title or "Operations under the roof" }
  local panel = figure:panel { xlog = true, ylog = true, xlabel = "floating-point operations a byte",
    ylabel = "operations a second", xlim = { 0.005, 500 } }
  for _, level in ipairs(r.levels) do
    local x, y = {}, {}
    for i = 0, 80 do
      local intensity = 10 ^ (-2.3 + i * 5 / 80)
      x[#x + 1], y[#y + 1] = intensity, min(r.peak, intensity * level.bandwidth)
    end
    panel:line(x, y, { label = level.name, width = level.name == "memory" and 3 or 1.2 })
  end
  local drawn = 0
  for _, row in ipairs(self.operations) do
    if row.flops > 0 and row.bytes > 0 and drawn < 8 then
      drawn = drawn + 1
      panel:scatter({ row.flops / row.bytes }, { row.flops / row.seconds }, { label = format("%s %s, %s", row.operation,
        row.dtype, kit.bytes(row.bytes / row.count)), size = 11 })
    end
  end
  return figure
end

-- profile:write(path): text, or the roofline as .svg or .png.
function Operations:write(path, kind)
  if type(path) == "string" and (string.find(path, "%.svg$") or string.find(path, "%.png$")) and not kind then
    self:figure():save(path)
    return
  end
  kit.write(self, path, kind or "text")
end
