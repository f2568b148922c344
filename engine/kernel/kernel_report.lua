-- What became of a kernel's loops, in words: k:report() and k:annotate(). LLVM says it in remarks (pg_llvm_text "report").
local core, shared = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local kit = core.require("array")._kit
local tonumber, tostring, type, ipairs, pairs, concat, format, sort, setmetatable = tonumber, tostring, type, ipairs, pairs,
  table.concat, string.format, table.sort, setmetatable

-- LLVM's names of reasons why a loop did not become vectors, and what to do (llvm/lib/Transforms/Vectorize,
-- Analysis/LoopAccessAnalysis.cpp).
local reasons = {
  CantReorderFPOps = "it adds up (or multiplies) floats, whose order is kept; {fastmath = true} lets it use vectors, as does "
    .. "reduce of kernel.parallel_for",
  CFGNotUnderstood = "it can be left early: by break, return, or an index that is checked in every round (one that does not "
    .. "follow from the loop's variables)",
  UnsafeDep = "a round uses what another round writes",
  UnsafeMemDep = "a round uses what another round writes",
  CantIdentifyArrayBounds = "where it writes cannot be told from where it reads: write to an array of its own",
  CantComputeNumberOfIterations = "how often it runs is not known before it begins: it is a while loop, or break or return may leave it",
  CantVectorizeCall = "it calls a function that has no form for vectors",
  CantVectorizeLibcall = "it calls a function that has no form for vectors",
  CantVectorizeIntrinsic = "it calls a function that has no form for vectors",
  CantVectorizeInstruction = "it holds an operation without a form for vectors",
  CantVectorizeInstructionReturnType = "it holds an operation without a form for vectors",
  CantVectorizeStore = "it stores what has no form for vectors",
  NonReductionValueUsedOutsideLoop = "what it computes in one round is used by the next (and it is no plain sum)",
  NonReductionValueUsedOutside = "what it computes in one round is used by the next (and it is no plain sum)",
  NoInductionVariable = "it has no variable that counts in equal steps",
  NoCFGForSelect = "its conditions cannot be computed for all lanes at once",
  NoIntegerInductionVariable = "it counts in fractions: count in whole numbers and multiply",
  VectorizationNotBeneficial = "vectors would not be faster (LLVM's estimate)",
  InterleavingNotBeneficial = "vectors would not be faster (LLVM's estimate)",
  InterleavingNotBeneficialAndDisabled = "vectors would not be faster (LLVM's estimate)",
  NoVectorizationAndInterleaving = "vectors are off",
  LowTripCount = "it runs a few rounds only",
  UnknownArrayBounds = "where it writes cannot be told from where it reads",
  Quick = "the kernel is too large to be optimised (above 8000 operations or 256 loops)",
  NotInnermostLoop = "it has a loop inside, which is the one that could use vectors",
}

-- The loops of a compiled specialisation: {chunk, line, column, innermost, vectorized, width, interleaved, reason, parallel,
-- serial_reason, serial_line}.
local function loops_of(s)
  local list, by_place = {}, {}
  for chunk, line, column, innermost in ffi.string(C.pg_kernel_loops(s.module)):gmatch("([^\t\n]*)\t(%d+)\t(%d+)\t(%d)\n") do
    local loop = { chunk = chunk, line = tonumber(line), column = tonumber(column), innermost = innermost == "1",
      vectorized = false }
    list[#list + 1] = loop
    by_place[loop.line .. ":" .. loop.column] = loop
  end
  for chunk, line, column, parallel, why_line, why in ffi.string(C.pg_kernel_parallel(s.module))
      :gmatch("([^\t\n]*)\t(%d+)\t(%d+)\t(%d)\t(%d+)\t([^\n]*)\n") do
    local loop = by_place[tonumber(line) .. ":" .. tonumber(column)]
    if loop then
      loop.parallel = parallel == "1"
      if not loop.parallel then
        loop.serial_reason, loop.serial_line = why, tonumber(why_line)
      end
    end
  end
  local text, pending, quick = ffi.new("const char *[1]"), nil, false
  check(shared.need_compiler().pg_llvm_text(text, s.code, "report"))
  for line, column, kind, name, words in ffi.string(text[0]):gmatch("(%d+)\t(%d+)\t(%a+)\t(%w+)\t([^\n]*)\n") do
    local loop = by_place[tonumber(line) .. ":" .. tonumber(column)]
    quick = quick or name == "Quick"
    if name == "MissedExplicitlyDisabled" then -- the copy of a loop that keeps its checks
      kind = "none"
    end
    local reason = kind == "analysis" and (reasons[name] or (words:gsub("^loop not vectorized: ", "")))
    if line == "0" then -- a reason without a place: of the loop that the next remark names
      pending = reason or pending
    elseif kind == "missed" and loop and not loop.reason then
      loop.reason, pending = pending, nil
    end
    if not loop and line ~= "0" then -- a remark about an instruction: of the innermost loop around it
      for _, candidate in ipairs(list) do
        if candidate.innermost and candidate.line <= tonumber(line) then
          loop = candidate
        end
      end
    end
    if loop and kind == "passed" and name == "Vectorized" then
      local width, interleaved = words:match("width: (%d+), interleaved count: (%d+)")
      if not loop.width or tonumber(width) > loop.width then
        loop.vectorized, loop.width, loop.interleaved = true, tonumber(width), tonumber(interleaved)
      end
    elseif loop and reason and not loop.reason then
      loop.reason = reason
    end
  end
  for _, loop in ipairs(list) do
    if loop.vectorized then
      loop.reason = nil
    elseif quick then
      loop.reason = reasons.Quick
    elseif not loop.innermost then
      loop.reason = reasons.NotInnermostLoop
    elseif not loop.reason then
      loop.reason = "LLVM did away with it or unrolled it whole, or gives no reason"
    end
  end
  return list, quick
end

local function verdict(loop)
  local threads = loop.parallel and "on several threads" or nil
  if loop.serial_reason then
    threads = format("on one thread: %s%s", loop.serial_line ~= loop.line and format("line %d: ", loop.serial_line) or "",
      loop.serial_reason)
  end
  if threads and not loop.innermost then
    return threads
  end
  local vectors = loop.vectorized and format("vectors of %d%s", loop.width,
    loop.interleaved > 1 and format(", %d at a time", loop.interleaved) or "") or "no vectors: " .. loop.reason
  return threads and threads .. "; " .. vectors or vectors
end

local function last(self, name, number)
  local all = (self._backend and shared.form_state or shared.state_of)(self).specialisations
  if #all == 0 then
    fail("%s: '%s' has not been called yet: it is compiled for the types of its arguments", name, self._name)
  elseif number ~= nil and not all[number] then
    fail("%s: specialisation 1 to %d is expected, got %s", name, #all, kit.kind_of(number))
  end
  return all[number or #all]
end

local report_mt = {
  __tostring = function(r)
    local lines = { format("%s (%s), compiled in %.1f ms%s", r.name, concat(r.arguments, ", "), r.compile_time * 1e3,
      r.optimized and "" or "; too large to be optimised (above 8000 operations or 256 loops): write repeated statements as loops, "
        .. "or make several kernels of it") }
    for _, loop in ipairs(r.loops) do
      lines[#lines + 1] = format("  line %d: %s", loop.line, verdict(loop))
    end
    if #r.loops == 0 then
      lines[#lines + 1] = "  no loops"
    end
    return concat(lines, "\n")
  end,
}

-- k:report([number]): what became of each loop; prints as text.
local function report(self, number)
  local s = last(self, "report", number)
  local arguments = s.arguments
  if not arguments then
    arguments = {}
    for i, key in ipairs(s.keys) do
      arguments[i] = shared.describe_key(key)
    end
  end
  local loops, quick = loops_of(s)
  return setmetatable({ name = self._name, arguments = arguments, loops = loops, optimized = not quick,
    compile_time = shared.need_compiler().pg_llvm_seconds(s.code) }, report_mt)
end

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local page = [[
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>%s</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; color: #222; background: #fff }
pre { font: 14px/1.6 ui-monospace, monospace; border: 1px solid #ccc; padding: 0; overflow-x: auto }
.l { display: flex; padding: 0 .8em } .n { width: 3em; color: #888; flex: none } .s { flex: 1; white-space: pre }
.w { color: #444; font: 13px/1.7 system-ui, sans-serif; white-space: normal; flex: none; width: 32em; padding-left: 1em }
.w b { font-weight: normal; color: #555 } .yes { background: #dff5e1 } .no { background: #fdebd0 }
</style>
<h1>%s</h1>
<p>%s. Green: the loop uses vectors, or several threads. Orange: it does not, and why. Beside each line, the types of what it declares.</p>
<pre>%s</pre>
</html>
]]

-- The names of a line of source, with the types that they were given: "s float64, i int64".
local function types_of(source, names)
  local list = {}
  for _, v in ipairs(names or {}) do
    if source:sub(v.column, v.column + #v.name - 1) == v.name then -- not the compiler's own
      list[#list + 1] = v.name .. " " .. v.type
    end
  end
  return concat(list, ", ")
end

-- Whether a loop is what one would wish: in vectors, or with others inside on several threads.
local function good(loop)
  return loop.vectorized or loop.parallel and not loop.innermost
end

-- k:annotate([options]): the source with the types of its variables and what became of each loop; {file = "k.html"} writes a
-- page.
local function annotate(self, options)
  if options ~= nil then
    kit.check_options("annotate", options, { file = true, number = true })
  end
  local r = report(self, options and options.number)
  local info = debug.getinfo(self._function, "S")
  local text = core.chunks[info.source:sub(2)] or ""
  local names = {}
  local variables = ffi.string(C.pg_kernel_variables(last(self, "annotate", options and options.number).module))
  for chunk, line, column, name, kind in variables:gmatch("([^\t\n]*)\t(%d+)\t(%d+)\t([^\t\n]*)\t([^\n]*)\n") do
    if chunk == info.short_src then
      line = tonumber(line)
      names[line] = names[line] or {}
      names[line][#names[line] + 1] = { name = name, column = tonumber(column), type = kind }
    end
  end
  local by_line = {}
  for _, loop in ipairs(r.loops) do
    if loop.chunk == info.short_src then
      by_line[loop.line] = loop
    end
  end
  local number, lines, rows = 0, {}, {}
  for source in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    if number >= info.linedefined and number <= info.lastlinedefined then
      local loop, types = by_line[number], types_of(source, names[number])
      lines[#lines + 1] = format("%s%5d  %s%s%s", loop and (good(loop) and "+" or "-") or " ", number, source,
        loop and "   <-- " .. verdict(loop) or "", types ~= "" and "   -- " .. types or "")
      rows[#rows + 1] = format('<span class="l %s"><span class="n">%d</span><span class="s">%s</span><span class="w">%s<b>%s</b></span></span>',
        loop and (good(loop) and "yes" or "no") or "", number, (source:gsub('[&<>"]', escapes)),
        loop and (verdict(loop):gsub('[&<>"]', escapes)) .. " " or "", (types:gsub('[&<>"]', escapes)))
    end
  end
  local head = format("%s (%s)", r.name, concat(r.arguments, ", "))
  if options and options.file then
    local title = head:gsub('[&<>"]', escapes)
    local file, problem = io.open(options.file, "w")
    if not file then
      fail("annotate: cannot write %s", problem)
    end
    file:write(format(page, title, title, format("Compiled in %.1f ms", r.compile_time * 1e3), concat(rows)))
    file:close()
  end
  return head .. "\n" .. concat(lines, "\n")
end

return { report = report, annotate = annotate }
