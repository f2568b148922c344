-- Profiles in other tools' formats. All come from profile.functions and profile.stacks, which sampling and call profiles
-- have alike: {frames = {{fn, line}...} outermost first, seconds, count, activity}.
local core, kit = ...
local format, gsub, concat, sort, floor = string.format, string.gsub, table.concat, table.sort, math.floor

local exports = {}
kit.exports = exports

-- A string as a JSON literal (RFC 8259).
local function json_string(text)
  return '"' .. gsub(text, '[%z\1-\31\\"]', function(c)
    return format("\\u%04x", string.byte(c))
  end) .. '"'
end
kit.json_string = json_string

local function microseconds(seconds)
  return floor(seconds * 1e6 + 0.5)
end

-- Frame names as other tools show them: unique and readable.
local function title(fn)
  return fn.native and fn.name or format("%s (%s)", fn.name, kit.place(fn))
end

-- Folded stacks, one a line: "outer;inner microseconds" (Brendan Gregg's flamegraph.pl and many others).
function exports.folded(profile)
  local sums, order = {}, {}
  for _, stack in ipairs(profile.stacks) do
    local names = {}
    for i, frame in ipairs(stack.frames) do
      names[i] = (gsub(gsub(title(profile.functions[frame.fn]), ";", ","), "%s+", " "))
    end
    local key = #names > 0 and concat(names, ";") or "(unknown)"
    if not sums[key] then
      sums[key] = 0
      order[#order + 1] = key
    end
    sums[key] = sums[key] + stack.seconds
  end
  sort(order)
  local out = {}
  for _, key in ipairs(order) do
    if microseconds(sums[key]) > 0 then
      out[#out + 1] = format("%s %d\n", key, microseconds(sums[key]))
    end
  end
  return concat(out)
end

-- speedscope's file format (its file-format-schema.json, "sampled" profiles).
function exports.speedscope(profile)
  local frames, samples, weights, total = {}, {}, {}, 0
  for i, fn in ipairs(profile.functions) do
    frames[i] = format('{"name":%s,"file":%s,"line":%d}', json_string(fn.name), json_string(fn.file),
      math.max(fn.line, 1))
  end
  for i, stack in ipairs(profile.stacks) do
    local indices = {}
    for j, frame in ipairs(stack.frames) do
      indices[j] = frame.fn - 1
    end
    samples[i] = "[" .. concat(indices, ",") .. "]"
    weights[i] = format("%.9g", stack.seconds)
    total = total + stack.seconds
  end
  return format('{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"perigee %s","name":%s,' ..
    '"activeProfileIndex":0,"shared":{"frames":[%s]},"profiles":[{"type":"sampled","name":%s,"unit":"seconds",' ..
    '"startValue":0,"endValue":%.9g,"samples":[%s],"weights":[%s]}]}\n', core.pg.version,
    json_string(profile.title or "profile"), concat(frames, ","), json_string(profile.title or "profile"), total,
    concat(samples, ","), concat(weights, ","))
end

-- Callgrind's format (valgrind's manual, "Callgrind Format Specification"): own time by line, calls with their inclusive
-- time. Opens in KCachegrind; callgrind_annotate prints it.
function exports.callgrind(profile)
  local own, calls = {}, {} -- own[fn][line] = seconds; calls[fn][line .. ":" .. callee] = {...}
  for _, stack in ipairs(profile.stacks) do
    local n = #stack.frames
    local counted = {}
    for i, frame in ipairs(stack.frames) do
      if i == n then
        own[frame.fn] = own[frame.fn] or {}
        own[frame.fn][frame.line] = (own[frame.fn][frame.line] or 0) + stack.seconds
      else
        local callee = stack.frames[i + 1].fn
        local key = frame.line .. ":" .. callee
        calls[frame.fn] = calls[frame.fn] or {}
        local call = calls[frame.fn][key] or { line = frame.line, callee = callee, seconds = 0, count = 0 }
        calls[frame.fn][key] = call
        if not counted[frame.fn .. key] then -- once a stack: recursion does not add its time again
          counted[frame.fn .. key] = true
          call.seconds = call.seconds + stack.seconds
        end
        if i == n - 1 then
          call.count = call.count + stack.count
        end
      end
    end
  end
  local out = { "# callgrind format\nversion: 1\ncreator: perigee " .. core.pg.version ..
    "\ncmd: " .. gsub(profile.title or "profile", "%s+", " ") .. "\npositions: line\nevents: ns\n" }
  local known_files, known_names = {}, {}
  local function name(known, kind, index, text)
    if known[index] then
      return format("%s=(%d)\n", kind, index)
    end
    known[index] = true
    return format("%s=(%d) %s\n", kind, index, text)
  end
  local files, file_count = {}, 0
  local function file_index(file)
    if not files[file] then
      file_count = file_count + 1
      files[file] = file_count
    end
    return files[file]
  end
  for index, fn in ipairs(profile.functions) do
    if own[index] or calls[index] then
      out[#out + 1] = "\n" .. name(known_files, "fl", file_index(fn.file), fn.file)
      out[#out + 1] = name(known_names, "fn", index, fn.name)
      for line, seconds in pairs(own[index] or {}) do
        out[#out + 1] = format("%d %d\n", math.max(line, 1), floor(seconds * 1e9 + 0.5))
      end
      for _, call in pairs(calls[index] or {}) do
        local callee = profile.functions[call.callee]
        out[#out + 1] = name(known_files, "cfi", file_index(callee.file), callee.file)
        out[#out + 1] = name(known_names, "cfn", call.callee, callee.name)
        out[#out + 1] = format("calls=%d %d\n%d %d\n", math.max(call.count, 1), math.max(callee.line, 1),
          math.max(call.line, 1), floor(call.seconds * 1e9 + 0.5))
      end
    end
  end
  return concat(out)
end

exports.text = function(profile) return profile:text() .. "\n" end

local by_ending = { folded = "folded", svg = "svg", html = "html", txt = "text", json = "speedscope" }

-- The format of a file by its name: callgrind.out, x.callgrind, x.folded, x.speedscope.json, x.svg, x.html, x.txt.
function kit.format_of(path)
  local file = string.match(path, "[^/]*$")
  if string.find(file, "^callgrind%.") or string.find(file, "%.callgrind$") then
    return "callgrind"
  end
  return by_ending[string.match(file, "%.(%w+)$") or ""]
end

local legal = "callgrind, folded, html, speedscope, svg, text"

-- The format to write a file in: `kind`, else what its name says; refuses what is none.
function kit.checked_format(path, kind)
  kind = kind or kit.format_of(path)
  if not kind then
    core.fail("write: the format does not follow from the name %q; end it in .callgrind, .folded, .html, " ..
      ".speedscope.json, .svg or .txt, or name one of: %s", path, legal)
  elseif not exports[kind] then
    core.fail("write: there is no format %q; legal: %s", tostring(kind), legal)
  end
  return kind
end

-- profile:write(path [, format])
function kit.write(profile, path, kind)
  if type(path) ~= "string" then
    core.fail("write: a file's name is expected, got %s", type(path))
  end
  kind = kit.checked_format(path, kind)
  if not profile.stacks and kind ~= "text" and kind ~= "html" then
    core.fail("write: a profile of %s has no call stacks, which %q needs; use html or text", profile.kind, kind)
  end
  local text = exports[kind](profile)
  local file, reason = io.open(path, "wb")
  if not file then
    core.fail("write: cannot write %s", reason)
  end
  local ok, why = file:write(text)
  local closed, late = file:close()
  if not ok or not closed then
    core.fail("write: cannot write %s: %s", path, why or late)
  end
end
