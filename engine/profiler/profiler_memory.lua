-- The memory profile: bytes by line, peak, growth, what is still held (allocations.cpp).
local core, kit = ...
local C = core.C
local profiler, natives = kit.profiler, kit.natives
local format, concat, sort = string.format, table.concat, table.sort

local function bytes(n)
  if n == 0 then
    return "0"
  elseif n < 1024 then
    return format("%d B", n)
  elseif n < 1024 ^ 2 then
    return format("%.1f KiB", n / 1024)
  elseif n < 1024 ^ 3 then
    return format("%.1f MiB", n / 1024 ^ 2)
  end
  return format("%.2f GiB", n / 1024 ^ 3)
end
kit.bytes = bytes

local Memory = { write = kit.write }
Memory.__index = Memory

-- profiler.memory(fn, ...) -> profile, results of fn...: runs fn(...) and notes what each line allocates. The JIT compiler
-- is off meanwhile: it would remove some of the allocations, and compiled code has no lines.
function profiler.memory(fn, ...)
  local tracer, was_on
  local function start()
    collectgarbage()
    collectgarbage()
    was_on = jit.status()
    jit.off()
    jit.flush()
    local reason
    tracer, reason = natives.memory_start()
    if not tracer then
      if was_on then jit.on() end
      core.fail("profiler.memory: %s", reason)
    end
  end
  local function stop()
    local raw = natives.memory_stop(tracer)
    if was_on then
      jit.on()
    end
    return raw
  end
  local t0 = C.pg_timer_now()
  local raw, results = kit.run("profiler.memory", start, stop, fn, ...)
  local functions, index_of = kit.function_table()
  local profile = setmetatable({ kind = "memory", functions = functions, lines = {}, curve = raw.curve,
    wall = C.pg_timer_now() - t0, peak = raw.peak, peak_lua = raw.peak_lua, peak_arrays = raw.peak_arrays,
    resident = raw.resident, lua = raw.lua, arrays = raw.arrays }, Memory)
  for i, line in ipairs(raw.lines) do
    if line.source and (line.lua_count > 0 or line.array_count > 0) then
      local row = { fn = functions[index_of(line.source, line.defined)], line = line.line,
        lua_count = line.lua_count, lua_bytes = line.lua_bytes, lua_held = line.lua_held,
        array_count = line.array_count, array_bytes = line.array_bytes, array_held = line.array_held }
      table.insert(profile.lines, row)
      if i == raw.peak_line then
        profile.peak_line = row
      end
    end
  end
  sort(profile.lines, function(a, b)
    local x, y = a.lua_bytes + a.array_bytes, b.lua_bytes + b.array_bytes
    if x ~= y then return x > y end
    return a.line < b.line
  end)
  return kit.finish(profile, results)
end
jit.off(profiler.memory, true)

-- Lines whose memory is still held, most first: {row, held}.
function Memory:held()
  local list = {}
  for _, row in ipairs(self.lines) do
    local held = row.lua_held + row.array_held
    if held > 0 then
      list[#list + 1] = { row = row, held = held }
    end
  end
  sort(list, function(a, b) return a.held > b.held end)
  return list
end

-- Whether memory grew all the way: more is held at the end than at the start, garbage collected, and the smallest of each
-- sixth of the run is above that of the one before, but for one of them (a collection may end anywhere).
function Memory:grows()
  local n = #self.curve
  if n < 24 or self.lua + self.arrays < 1.1 * (self.curve[1].lua + self.curve[1].arrays) then
    return false
  end
  local lows = {}
  for sixth = 1, 6 do
    lows[sixth] = math.huge
    for i = math.floor((sixth - 1) * n / 6) + 1, math.floor(sixth * n / 6) do
      lows[sixth] = math.min(lows[sixth], self.curve[i].lua + self.curve[i].arrays)
    end
  end
  local rises = 0
  for sixth = 2, 6 do
    rises = rises + (lows[sixth] > 1.01 * lows[sixth - 1] and 1 or 0)
  end
  return rises >= 4 and lows[6] > 1.1 * lows[1]
end

local ramp = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

-- The curve as a row of blocks.
local function sketch(curve, width)
  local most = 0
  for _, point in ipairs(curve) do
    most = math.max(most, point.lua + point.arrays)
  end
  local span = curve[#curve].seconds
  local cells = {}
  for _, point in ipairs(curve) do
    local cell = math.min(width, 1 + math.floor(point.seconds / math.max(span, 1e-9) * width))
    cells[cell] = math.max(cells[cell] or 0, point.lua + point.arrays)
  end
  local last = 0
  for i = 1, width do
    last = cells[i] or last
    cells[i] = ramp[math.max(1, math.ceil(last / math.max(most, 1) * #ramp))]
  end
  return concat(cells)
end

function Memory:text()
  local out = {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  say("Peak %s (Lua heap %s, arrays %s)%s; the process's resident peak: %s.", bytes(self.peak), bytes(self.peak_lua),
    bytes(self.peak_arrays), self.peak_line and " at " .. kit.place(self.peak_line.fn, self.peak_line.line) or "",
    bytes(self.resident))
  say("The JIT compiler was off: with it on, some small allocations vanish.")
  say("over %s: %s", kit.seconds(self.curve[#self.curve].seconds), sketch(self.curve, 60))
  local rows = {}
  for _, row in ipairs(self.lines) do
    if #rows == 20 then
      break
    end
    rows[#rows + 1] = { kit.place(row.fn, row.line), bytes(row.lua_bytes), format("%d", row.lua_count),
      bytes(row.array_bytes), format("%d", row.array_count), bytes(row.lua_held + row.array_held),
      (string.gsub(kit.lines_of(row.fn.source)[row.line] or "", "^%s+", "")) }
  end
  if #rows > 0 then
    say("\nAllocated, by line")
    say("%s", kit.table({ { "line", width = 18, tail = true }, { "Lua", right = true }, { "times", right = true },
      { "arrays", right = true }, { "times", right = true }, { "held", right = true }, { "source", width = 32 } }, rows))
  end
  local held = self:held()
  if held[1] and self:grows() then
    local row = held[1].row
    say("\nMemory grew all the time, and %s of it is still held. Most was made at %s:\n  %s\nIf nothing needs it, take " ..
      "it out of the table (or upvalue) that keeps it.", bytes(self.lua + self.arrays - self.curve[1].lua),
      kit.place(row.fn, row.line), (string.gsub(kit.lines_of(row.fn.source)[row.line] or "", "^%s+", "")))
  end
  for _, row in ipairs(self.lines) do
    if row.array_count >= 10 and row.array_held == 0 and row.array_bytes >= 65536 * row.array_count then
      say("\n%s made %d arrays that nothing needs any more (%s of temporaries):\noperations in place (add_, mul_) or " ..
        "with {out = ...} make none.", kit.place(row.fn, row.line), row.array_count, bytes(row.array_bytes))
      break
    end
  end
  return concat(out, "\n")
end

Memory.__tostring = function(self) return self:text() end
