-- Counters of the processor and the kernel (counters.cpp).
local core, kit = ...
local C, ffi = core.C, core.ffi
local profiler = kit.profiler
local format, concat = string.format, table.concat

local names = { "instructions", "cycles", "cache_references", "cache_misses", "branches", "branch_misses", "page_faults",
  "context_switches" } -- in the order of profiler_abi.h

local Counters = {}
Counters.__index = Counters

-- profiler.counters(fn, ...) -> counters, results of fn...: what the processor and the kernel counted for this thread while
-- fn(...) ran. "Not supported", with the reason, where nothing can be counted; `missing` says why some are not there.
function profiler.counters(fn, ...)
  local values = ffi.new("double[?]", #names)
  local counters = setmetatable({}, Counters)
  local t0
  local _, results = kit.run("profiler.counters", function()
    local status = C.pg_profiler_counters_start()
    if status ~= 0 then
      core.unsupported("profiler.counters: %s", ffi.string(C.pg_last_message()))
    end
    t0 = C.pg_timer_now()
  end, function()
    core.check(C.pg_profiler_counters_stop(values))
    counters.wall = C.pg_timer_now() - t0
    local missing = ffi.string(C.pg_last_message())
    for i, name in ipairs(names) do
      local value = values[i - 1]
      if value == value then
        counters[name] = value
      else
        counters.missing = missing
      end
    end
  end, fn, ...)
  if not results[1] then
    error(results[2].value, 0)
  end
  return counters, unpack(results, 2, results.n)
end

function Counters:text()
  local rows = {}
  local function note(name)
    if name == "instructions" and self.cycles then
      return format("%.2f a cycle", self.instructions / self.cycles)
    elseif name == "cache_misses" and self.cache_references then
      return kit.percent(self.cache_misses, self.cache_references) .. " of references"
    elseif name == "branch_misses" and self.branches then
      return kit.percent(self.branch_misses, self.branches) .. " of branches"
    end
    return ""
  end
  for _, name in ipairs(names) do
    if self[name] then
      rows[#rows + 1] = { (string.gsub(name, "_", " ")), format("%.0f", self[name]), note(name) }
    end
  end
  return format("in %s\n", kit.seconds(self.wall)) ..
    kit.table({ { "counter" }, { "count", right = true }, { "" } }, rows) ..
    (self.missing and "\nThe others are not there: " .. self.missing .. "." or "")
end

Counters.__tostring = Counters.text
