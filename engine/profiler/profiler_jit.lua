-- Why is it not compiled? Which loops and functions LuaJIT compiled, what it gave up, where and why, with the usual cure.
local core, kit = ...
local profiler = kit.profiler
local util = require "jit.util"
local bit = require "bit"
local format, concat, sort, match, find, sub, gsub = string.format, table.concat, table.sort, string.match, string.find,
  string.sub, string.gsub

-- LuaJIT's reasons in plain words, and what to do. The patterns are parts of its messages (jit/vmdef.lua, traceerr).
local reasons = {
  { "NYI: bytecode FNEW", "a function is made inside the loop (a closure), which cannot be compiled",
    "make the function once, before the loop" },
  { "NYI: bytecode UCLO", "a local that a closure uses goes out of scope inside the loop",
    "make closures outside of hot loops" },
  { "NYI: bytecode VARG", "`...` is read in a way that cannot be compiled",
    "use select(\"#\", ...) and fixed arguments, or pass a table" },
  { "NYI: bytecode TSETM", "a table is filled from several results ({f()} or {...})", "assign the results one by one" },
  { "NYI: bytecode", "this kind of instruction (%s) cannot be compiled", "write it in another way outside the hot loop" },
  { "NYI: unsupported variant of FastFunc", "%s is called in a way that cannot be compiled",
    "call it with plain numbers or strings, or outside the hot loop" },
  { "NYI: FastFunc", "%s cannot be compiled", "call it outside the hot loop" },
  { "NYI: C function", "a C function is called (%s); compiled code cannot call those",
    "call it outside the hot loop, or use a function of Perigee (its arrays' operations compile)" },
  { "NYI: unsupported C type conversion", "this conversion of a C value cannot be compiled",
    "convert with tonumber() outside the hot loop" },
  { "NYI: return to lower frame", "a function returns to where recording did not start", nil, true },
  { "NYI", "this operation is not implemented in the compiler (%s)", "write it in another way outside the hot loop" },
  { "leaving loop in root trace", "the loop ended while it was being compiled: it makes few rounds each time",
    "nothing, if the loop around it is compiled; else make the inner loop longer or unroll it", true },
  { "inner loop in root trace", "there is a loop inside: LuaJIT compiles the inner one first and then this one around it",
    nil, true },
  { "loop unroll limit reached", "an inner loop with few rounds was unrolled too often",
    "unroll it by hand, or give it more rounds" },
  { "call unroll limit reached", "the recursion is too deep to be inlined", "use a loop with a table as its own stack" },
  { "down%-recursion", "recursion that returns into compiled code", nil, true },
  { "up%-recursion", "a recursive call, compiled as a loop", nil, true },
  { "trace too long", "the code of one round is too long", "split the loop's body into several loops, or into functions" },
  { "trace too deep", "calls are nested too deeply", "call fewer functions inside functions in the hot loop" },
  { "too many snapshots", "the code of one round has too many branches", "split the loop's body; use tables instead of " ..
    "chains of if" },
  { "blacklisted", "it was given up before, for the reason shown there", "remove that reason" },
  { "NYI: mixed sparse/dense table", "a table is built with both list items and nil holes", "fill it with numbers first" },
  { "bad argument type", "a value had the wrong type for the function called", "check the types of the arguments" },
  { "error thrown or hook called", "an error was raised, or another tool interrupted", "raise no errors in hot loops; " ..
    "check first instead of pcall" },
  { "failed to allocate mcode memory", "there was no memory for machine code", "start the script anew" },
  { "guard would always fail", "the types changed from one round to the next", "keep one type in each variable" },
  { "store to PHI|persistent type instability", "a variable changes its type between rounds",
    "give each variable one type: numbers only, never nil or a string in turn" },
  { "register coalescing too complex", "the code of one round keeps too many values at once", "split the loop's body" },
  { "retry recording", "it was tried anew", nil, true },
}

-- LuaJIT's names of instructions, functions and reasons are a file of its own installation, which the grader's sandbox does
-- not have.
local vmdef
local opcode = {}

local function load_names()
  if vmdef then
    return
  end
  local ok, names = pcall(require, "jit.vmdef")
  if not ok then
    core.unsupported("profiler.jit: LuaJIT's file jit/vmdef.lua is not here (Debian: libluajit-5.1-common, outside of the " ..
      "grader's sandbox)")
  end
  vmdef = names
  for i = 0, #vmdef.bcnames / 6 - 1 do
    opcode[i] = gsub(sub(vmdef.bcnames, i * 6 + 1, i * 6 + 6), " ", "")
  end
end

-- text of an abort, its cure, and whether it is usual and no reason to worry
local function explain(code, info)
  local message = vmdef.traceerr[code] or format("error %s", tostring(code))
  local detail = info
  if type(info) == "function" then
    local what = util.funcinfo(info)
    if what.ffid then
      detail = vmdef.ffnames[what.ffid]
    elseif what.loc then
      detail = what.loc
    else
      detail = "a C function"
    end
  elseif type(info) == "number" and find(message, "bytecode", 1, true) then
    detail = gsub(sub(vmdef.bcnames, info * 6 + 1, info * 6 + 6), " ", "")
  end
  detail = tostring(detail)
  local raw = gsub(message, "%%%a", function() return detail end)
  for _, reason in ipairs(reasons) do
    for pattern in string.gmatch(reason[1], "[^|]+") do
      if find(raw, pattern) then
        return find(reason[2], "%%s") and format(reason[2], detail) or reason[2], reason[3], reason[4], raw
      end
    end
  end
  return raw, nil, false, raw
end

-- ------------------------------------------------------------------------------------------ loops in the bytecode ----
-- How LuaJIT marks a loop or function: plain, compiled, given up.
local marks = {
  FORL = "cold", JFORL = "compiled", IFORL = "given up",
  ITERL = "cold", JITERL = "compiled", IITERL = "given up",
  ITERN = "cold", JITERN = "compiled",
  LOOP = "cold", JLOOP = "compiled", ILOOP = "given up",
  FUNCF = "cold", JFUNCF = "compiled", IFUNCF = "given up",
  FUNCV = "cold", JFUNCV = "compiled", IFUNCV = "given up",
}

-- All loops of a function (or prototype) and those inside it, as {source, line, kind = "loop" | "function", mark}.
local function scan(fn, list, seen)
  local info = util.funcinfo(fn)
  if not info.source or seen[info.source .. info.linedefined .. ":" .. (info.lastlinedefined or 0)] then
    return
  end
  seen[info.source .. info.linedefined .. ":" .. (info.lastlinedefined or 0)] = true
  for pc = 0, info.bytecodes - 1 do
    local instruction = util.funcbc(fn, pc)
    local mark = instruction and marks[opcode[bit.band(instruction, 0xff)]]
    if mark then
      local line = pc == 0 and info.linedefined or util.funcinfo(fn, pc).currentline
      list[#list + 1] = { source = info.source, defined = info.linedefined, line = line,
        kind = pc == 0 and "function" or "loop", mark = mark }
    end
  end
  for i = -1, -(info.gcconsts or 0), -1 do
    local constant = util.funck(fn, i)
    if type(constant) == "proto" then -- (others are strings, tables, numbers and C values)
      scan(constant, list, seen)
    end
  end
end

-- ------------------------------------------------------------------------------------------------------ a profile ----
local Report = { write = kit.write }
Report.__index = Report

-- profiler.jit(fn, ...) -> report, results of fn...: runs fn(...) and watches the JIT compiler.
function profiler.jit(fn, ...)
  local traces, aborts, started, flushes = {}, {}, nil, 0
  local functions = {}
  local function on_trace(what, number, func, pc, other, exit)
    if what == "start" then
      local info = util.funcinfo(func, pc)
      functions[func] = true
      started = { number = number, source = info.source, defined = info.linedefined, line = info.currentline,
        parent = other, exit = exit }
    elseif what == "stop" and started then
      local info = util.traceinfo(number)
      started.instructions, started.link, started.linked = info.nins, info.linktype, info.link
      traces[#traces + 1] = started
      started = nil
    elseif what == "abort" and started then
      local info = util.funcinfo(func, pc)
      functions[func] = true
      local text, cure, usual, raw = explain(other, exit)
      local key = concat({ started.source or "", started.line or 0, info.source or "", info.currentline or 0, raw }, "\0")
      local abort = aborts[key]
      if not abort then
        abort = { source = started.source, defined = started.defined, line = started.line, at_source = info.source,
          at_line = info.currentline, text = text, cure = cure, usual = usual, raw = raw, count = 0,
          side = started.parent ~= nil and started.parent ~= 0 }
        aborts[key] = abort
      end
      abort.count = abort.count + 1
      started = nil
    elseif what == "flush" then
      flushes = flushes + 1
    end
  end
  local was_on = jit.status()
  local function start()
    if not was_on then
      core.fail("profiler.jit: the JIT compiler is off (--jit-off or pg.jit(\"off\")), so nothing is compiled")
    end
    load_names()
    jit.attach(on_trace, "trace")
  end
  local t0 = core.C.pg_timer_now()
  local _, results = kit.run("profiler.jit", start, function() jit.attach(on_trace) end, fn, ...)
  local report = setmetatable({ kind = "jit", wall = core.C.pg_timer_now() - t0, traces = traces, flushes = flushes,
    aborts = {}, loops = {} }, Report)
  for _, abort in pairs(aborts) do
    report.aborts[#report.aborts + 1] = abort
  end
  local seen = {}
  scan(fn, report.loops, seen)
  for func in pairs(functions) do
    scan(func, report.loops, seen)
  end
  sort(report.aborts, function(a, b)
    if (a.source or "") ~= (b.source or "") then return (a.source or "") < (b.source or "") end
    if a.line ~= b.line then return (a.line or 0) < (b.line or 0) end
    return a.raw < b.raw
  end)
  sort(report.loops, function(a, b)
    if a.source ~= b.source then return a.source < b.source end
    return a.line < b.line
  end)
  report.notes = report:annotate()
  return kit.finish(report, results)
end

local function own(source)
  return source and not kit.is_engine(source)
end

-- Notes by source and line: {text, level = "good" | "bad" | "mild"}.
function Report:annotate()
  local notes = {}
  local function note(source, line, level, text)
    notes[source] = notes[source] or {}
    local list = notes[source][line] or {}
    notes[source][line] = list
    for _, other in ipairs(list) do
      if other.text == text then
        return
      end
    end
    list[#list + 1] = { text = text, level = level }
  end
  for _, loop in ipairs(self.loops) do
    if own(loop.source) and (loop.kind == "loop" or loop.mark ~= "cold") then
      if loop.mark == "compiled" then
        local size
        for _, trace in ipairs(self.traces) do
          if trace.source == loop.source and trace.line == loop.line and (trace.parent or 0) == 0 then
            size = trace.instructions
          end
        end
        note(loop.source, loop.line, "good", format("%s compiled%s", loop.kind, size and
          format(" (%d instructions)", size) or ""))
      elseif loop.mark == "given up" then
        note(loop.source, loop.line, "bad", format("%s NOT compiled: given up after several tries", loop.kind))
      else
        local tried
        for _, abort in ipairs(self.aborts) do
          tried = tried or abort.source == loop.source and abort.line == loop.line and not abort.usual and abort.at_line
        end
        note(loop.source, loop.line, tried and "bad" or "mild", tried and
          format("loop not compiled so far: see line %d", tried) or "loop not compiled: too few rounds so far")
      end
    end
  end
  for _, abort in ipairs(self.aborts) do
    if own(abort.at_source) then
      local start = own(abort.source) and abort.line and (abort.line ~= abort.at_line or abort.source ~= abort.at_source)
        and format(" (compiling from line %d)", abort.line) or ""
      note(abort.at_source, abort.at_line, abort.usual and "mild" or "bad", format("%s%s%s%s", abort.text,
        abort.count > 1 and format(", %d times", abort.count) or "", start,
        abort.cure and "; cure: " .. abort.cure or ""))
    elseif own(abort.source) then -- inside the engine: say so where the script called it
      note(abort.source, abort.line, abort.usual and "mild" or "bad",
        format("in an engine function it calls: %s", abort.text))
    end
  end
  return notes
end

local signs = { good = "+", bad = "!", mild = "." }

function Report:text()
  local out = {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  local compiled, given_up, cold, bad = 0, 0, 0, 0
  for _, loop in ipairs(self.loops) do
    if own(loop.source) and loop.kind == "loop" then
      compiled = compiled + (loop.mark == "compiled" and 1 or 0)
      given_up = given_up + (loop.mark == "given up" and 1 or 0)
      cold = cold + (loop.mark == "cold" and 1 or 0)
    end
  end
  for _, abort in ipairs(self.aborts) do
    bad = bad + (not abort.usual and 1 or 0)
  end
  say("JIT compiler: loops: %d compiled, %d given up, %d with too few rounds; traces: %d, reasons for giving up: %d.",
    compiled, given_up, cold, #self.traces, bad)
  if self.flushes > 0 then
    say("All compiled code was dropped %d times: there is more of it than fits, or pg.jit was called.", self.flushes)
  end
  local any = false
  for _, source in ipairs(self:sources()) do
    any = true
    say("\n%s   (+ compiled, ! not compiled, . usual)", kit.file_of(source))
    local text, notes = kit.lines_of(source), self.notes[source]
    local shown = {}
    for line in pairs(notes) do -- each note with the line around it
      for near = line - 1, line + 1 do
        shown[near] = true
      end
    end
    local skipped, any_shown = false, false
    while #text > 0 and text[#text] == "" do
      text[#text] = nil
    end
    for line = 1, #text do
      if shown[line] then
        if skipped then
          out[#out + 1] = "      ..."
        end
        skipped, any_shown = false, true
        local list = notes[line] or {}
        local sign = list[1] and signs[list[1].level] or " "
        for _, one in ipairs(list) do
          if one.level == "bad" then
            sign = "!"
          end
        end
        out[#out + 1] = format("%s%5d  %s", sign, line, kit.shorten(gsub(text[line], "\t", "    "), 90))
        for _, one in ipairs(list) do
          for i, piece in ipairs(kit.wrap(one.text, 86)) do
            out[#out + 1] = format("          %s %s", i == 1 and signs[one.level] or " ", piece)
          end
        end
      else
        skipped = skipped or any_shown
      end
    end
  end
  if not any then
    say("Nothing in the script was hot enough to be compiled.")
  end
  return concat(out, "\n")
end

-- The scripts with notes, in order.
function Report:sources()
  local list = {}
  for source in pairs(self.notes) do
    list[#list + 1] = source
  end
  sort(list)
  return list
end

Report.__tostring = function(self) return self:text() end
