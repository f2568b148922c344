-- Flame graph and HTML report: self-contained files, searchable and zoomable. A flame graph's rows are call depths, its
-- widths times (Gregg, "The Flame Graph", CACM 59(6), 2016).
local core, kit = ...
local exports = kit.exports
local format, gsub, concat, sort, floor = string.format, string.gsub, table.concat, table.sort, math.floor

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text)
  return (gsub(gsub(text, "[&<>\"']", entities), "[%z\1-\8\11-\31]", "?"))
end

-- Colours: what most of a function's own time was, where it has some: most of a caller's is its callees'. Chosen for contrast with black text, and apart for the colour-blind.
local colours = { interpreted = "#f2a65a", compiled = "#7fc97f", library = "#d9c27e", engine = "#80b1d3",
  collector = "#fb8072", compiler = "#bebada", system = "#c0c0c0", none = "#e8e2d6" }
local legend = { { "compiled", "compiled" }, { "interpreted", "interpreted" }, { "engine", "C++ engine" },
  { "library", "Lua library" }, { "collector", "garbage collection" }, { "compiler", "JIT compiler" },
  { "system", "system" } }

local function colour(node)
  local best, most = "none", 0.1 * node.seconds
  for name, seconds in pairs(node.activities) do
    if seconds > most then
      best, most = name, seconds
    end
  end
  return colours[best]
end

local width, row_height, top = 1200, 18, 66

local script = [==[
(function () {
  var svg = document.currentScript.ownerSVGElement, W = 1200;
  var cells = Array.prototype.slice.call(svg.querySelectorAll("g.f"));
  var status = svg.querySelector("#status"), reset = svg.querySelector("#reset");
  function set(cell, x, w) {
    var rect = cell.querySelector("rect"), text = cell.querySelector("text");
    rect.setAttribute("x", x); rect.setAttribute("width", Math.max(w - 0.5, 0.2));
    text.setAttribute("x", x + 3);
    var name = cell.getAttribute("data-n"), room = Math.floor((w - 6) / 6.7);
    text.textContent = room < 3 ? "" : name.length > room ? name.slice(0, room - 1) + "\u2026" : name;
  }
  function zoom(to) {
    var x0 = +to.getAttribute("data-x"), w0 = +to.getAttribute("data-w"), d0 = +to.getAttribute("data-d");
    cells.forEach(function (cell) {
      var x = +cell.getAttribute("data-x"), w = +cell.getAttribute("data-w"), d = +cell.getAttribute("data-d");
      var inside = x + w > x0 + 1e-9 && x < x0 + w0 - 1e-9;
      cell.style.display = inside ? "" : "none";
      cell.style.opacity = d < d0 ? 0.6 : 1;
      if (inside) {
        var left = Math.max(x, x0), right = Math.min(x + w, x0 + w0);
        set(cell, (left - x0) / w0 * W, (right - left) / w0 * W);
      }
    });
    reset.style.display = d0 > 0 ? "" : "none";
  }
  function search(word) {
    var sum = 0, end = -1;
    var found = cells.filter(function (cell) {
      var hit = word && cell.getAttribute("data-n").toLowerCase().indexOf(word.toLowerCase()) >= 0;
      cell.querySelector("rect").style.stroke = hit ? "#d01060" : "";
      cell.querySelector("rect").style.strokeWidth = hit ? 2 : "";
      return hit;
    });
    found.sort(function (a, b) { return a.getAttribute("data-x") - b.getAttribute("data-x"); });
    found.forEach(function (cell) { // overlapping ones count once
      var x = +cell.getAttribute("data-x"), e = x + +cell.getAttribute("data-w");
      if (e > end) { sum += e - Math.max(x, end); end = e; }
    });
    status.textContent = word ? "\u201c" + word + "\u201d: " + (sum * 100).toFixed(1) + "% of the time" : "";
  }
  cells.forEach(function (cell) {
    cell.addEventListener("click", function () { zoom(cell); });
    cell.addEventListener("mouseover", function () {
      status.textContent = cell.querySelector("title").textContent.split("\n").join("  ");
    });
  });
  reset.addEventListener("click", function () { zoom(cells[0]); });
  function ask() { var word = prompt("Search for a function (empty: none)"); if (word !== null) search(word); }
  svg.querySelector("#search").addEventListener("click", ask);
  document.addEventListener("keydown", function (event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "f") { event.preventDefault(); ask(); }
    if (event.key === "Escape") { search(""); zoom(cells[0]); }
  });
})();
]==]

-- Cells of less than a fifth of a pixel are left out; deep recursion is cut with a word.
local deepest = 250

function exports.svg(profile)
  local root = kit.tree(profile)
  local total = root.seconds
  local cells, depth_used, cut = {}, 0, false
  local function cell(name, place, x, w, depth, fill, detail)
    depth_used = math.max(depth_used, depth)
    local y = top + depth * row_height
    local px, pw = x * width, w * width
    local room = floor((pw - 6) / 6.7)
    local label = room < 3 and "" or kit.shorten(name, room)
    cells[#cells + 1] = format('<g class="f" data-n="%s" data-x="%.9g" data-w="%.9g" data-d="%d"><title>%s</title>' ..
      '<rect x="%.2f" y="%d" width="%.2f" height="%d" rx="1.5" fill="%s"/><text x="%.2f" y="%d">%s</text></g>\n',
      escape(name), x, w, depth, escape(name .. place .. "\n" .. detail), px, y, math.max(pw - 0.5, 0.2),
      row_height - 1, fill, px + 3, y + 13, escape(label))
  end
  local function walk(node, x, depth)
    sort(node.children, function(a, b) return a.fn.name < b.fn.name end)
    for _, child in ipairs(node.children) do
      local w = child.seconds / total
      if w * width >= 0.2 then
        if depth > deepest then
          cut = true
        else
          cell(child.fn.name, child.fn.native and "" or " (" .. kit.place(child.fn) .. ")", x, w, depth, colour(child),
            format("%s, %s of all; own %s", kit.seconds(child.seconds), kit.percent(child.seconds, total),
              kit.seconds(child.own)))
          walk(child, x, depth + 1)
        end
      end
      x = x + w
    end
  end
  if total > 0 then
    cell("all", "", 0, 1, 0, "#dddddd", kit.seconds(total))
    walk(root, 0, 1)
  end
  local height = top + (depth_used + 1) * row_height + 26
  local out = { format('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" ' ..
    'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11">\n<style>.f rect{cursor:pointer}' ..
    '.f text{pointer-events:none}.f:hover rect{stroke:#333;stroke-width:1}.b{cursor:pointer;fill:#1f5fa8}</style>\n' ..
    '<rect width="100%%" height="100%%" fill="#fff"/>\n', width, height, width, height) }
  out[#out + 1] = format('<text x="8" y="22" font-size="15" font-weight="bold">%s</text>\n',
    escape(kit.shorten(profile.title or "Profile", 90)))
  out[#out + 1] = format('<text x="8" y="40" fill="#444">%s of time; a cell\'s width is its share. Click one to zoom, ' ..
    'Esc resets.</text>\n', kit.seconds(total))
  local x = 8
  if profile.kind == "sample" then
    for _, entry in ipairs(legend) do
      out[#out + 1] = format('<rect x="%d" y="48" width="11" height="11" fill="%s"/><text x="%d" y="58" fill="#444">' ..
        '%s</text>\n', x, colours[entry[1]], x + 15, entry[2])
      x = x + 30 + 7 * #entry[2]
    end
  end
  out[#out + 1] = format('<text id="search" class="b" x="%d" y="22" text-anchor="end">Search</text>' ..
    '<text id="reset" class="b" x="%d" y="22" text-anchor="end" style="display:none">Reset zoom</text>' ..
    '<text id="status" x="8" y="%d" fill="#222">%s</text>\n', width - 8, width - 70, height - 9,
    total > 0 and (cut and format("Calls deeper than %d are not shown.", deepest) or "") or "Nothing was measured.")
  out[#out + 1] = concat(cells)
  out[#out + 1] = "<script><![CDATA[" .. script .. "]]></script>\n</svg>\n"
  return concat(out)
end

-- ------------------------------------------------------------------------------------------------------------ HTML ---
local style = [[
body{font:15px/1.45 system-ui,sans-serif;color:#1c1c1c;background:#fff;max-width:1240px;margin:1.5em auto;padding:0 1em}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}pre{font:13px/1.4 "DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-x:auto}
.source td{font:13px/1.35 "DejaVu Sans Mono",Menlo,Consolas,monospace;padding:0 .6em;white-space:pre}
.source td.n{text-align:right;color:#777}.source{border-collapse:collapse}svg{max-width:100%;height:auto}
.source td.note{font:13px/1.4 system-ui,sans-serif;white-space:normal;color:#444;padding-left:2.2em}
.error{border-left:4px solid #c22;padding-left:.8em}
]]

local note_colours = { good = "#e3f4e1", mild = "#fdf3d8", bad = "#fbdcd8" }
local note_signs = { good = "+", mild = ".", bad = "!" }
local rank = { good = 1, mild = 2, bad = 3 }

-- The scripts' lines with what the JIT compiler made of them (profiler_jit.lua), a line of notes below each.
local function annotated_by_compiler(profile)
  local out = { "<p><span style=\"background:" .. note_colours.good .. "\">&nbsp;+ compiled&nbsp;</span> " ..
    "<span style=\"background:" .. note_colours.bad .. "\">&nbsp;! not compiled&nbsp;</span> " ..
    "<span style=\"background:" .. note_colours.mild .. "\">&nbsp;. usual, or too few rounds&nbsp;</span></p>\n" }
  for _, source in ipairs(profile:sources()) do
    out[#out + 1] = format("<h2>%s</h2>\n<table class=\"source\">\n", escape(kit.file_of(source)))
    for number, text in ipairs(kit.lines_of(source)) do
      local notes, worst = profile.notes[source][number] or {}, nil
      for _, note in ipairs(notes) do
        worst = worst and rank[worst] >= rank[note.level] and worst or note.level
      end
      out[#out + 1] = format('<tr%s><td class="n">%d</td><td>%s</td><td>%s</td></tr>\n',
        worst and ' style="background:' .. note_colours[worst] .. '"' or "", number, worst and note_signs[worst] or "",
        escape(text))
      for _, note in ipairs(notes) do
        out[#out + 1] = format('<tr style="background:%s"><td></td><td>%s</td><td class="note">%s</td></tr>\n',
          note_colours[note.level], note_signs[note.level], escape(note.text))
      end
    end
    out[#out + 1] = "</table>\n"
  end
  return concat(out)
end

-- The scripts' lines with what they allocated and what of it is still held; the more, the darker.
local function annotated_by_bytes(profile)
  local by_source, sources, most = {}, {}, 1
  for _, row in ipairs(profile.lines) do
    if not row.fn.engine then
      local lines = by_source[row.fn.source]
      if not lines then
        lines = {}
        by_source[row.fn.source] = lines
        sources[#sources + 1] = row.fn.source
      end
      local line = lines[row.line] or { bytes = 0, held = 0 }
      lines[row.line] = line
      line.bytes = line.bytes + row.lua_bytes + row.array_bytes
      line.held = line.held + row.lua_held + row.array_held
      most = math.max(most, line.bytes)
    end
  end
  local out = { "<p>Allocated and still held at the end, by line.</p>\n" }
  for _, source in ipairs(sources) do
    out[#out + 1] = format("<h2>%s</h2>\n<table class=\"source\">\n", escape(kit.file_of(source)))
    for number, text in ipairs(kit.lines_of(source)) do
      local line = by_source[source][number]
      out[#out + 1] = format('<tr%s><td class="n">%d</td><td class="n">%s</td><td class="n">%s</td><td>%s</td></tr>\n',
        line and line.bytes > 0.001 * most and format(' style="background:rgba(60,110,190,%.2f)"', 0.06 + 0.4 *
        line.bytes / most) or "", number, line and kit.bytes(line.bytes) or "", line and line.held > 0 and
        kit.bytes(line.held) or "", escape(text))
    end
    out[#out + 1] = "</table>\n"
  end
  return concat(out)
end

-- The scripts' lines with their time, as tables; the hotter, the darker.
local function annotated(profile)
  if profile.notes then
    return annotated_by_compiler(profile)
  elseif profile.kind == "memory" then
    return annotated_by_bytes(profile)
  end
  local by_source, sources = {}, {}
  local total = 0
  local rows = profile.rows or profile.by_line and profile:by_line()
  if not rows then
    return ""
  end
  for _, row in ipairs(rows) do
    local fn = type(row.fn) == "table" and row.fn or profile.functions[row.fn]
    local seconds = row.own or row.seconds
    if not by_source[fn.source] then
      by_source[fn.source] = {}
      sources[#sources + 1] = fn.source
    end
    local lines = by_source[fn.source]
    lines[row.line] = lines[row.line] or { seconds = 0, hits = 0 }
    lines[row.line].seconds = lines[row.line].seconds + seconds
    lines[row.line].hits = lines[row.line].hits + (row.hits or row.samples or 0)
    total = math.max(total, lines[row.line].seconds)
  end
  local whole = profile.seconds or 0
  if profile.rows then -- a line includes what it calls: shares are of the largest line
    whole = total
  end
  local out = {}
  for _, source in ipairs(sources) do
    out[#out + 1] = format("<h2>%s</h2>\n<table class=\"source\">\n", escape(kit.file_of(source)))
    for number, text in ipairs(kit.lines_of(source)) do
      local line = by_source[source][number]
      local share = line and whole > 0 and line.seconds / whole or 0
      out[#out + 1] = format('<tr%s><td class="n">%d</td><td class="n">%s</td><td class="n">%s</td><td>%s</td></tr>\n',
        share > 0.001 and format(' style="background:rgba(230,110,40,%.2f)"', 0.08 + 0.5 * math.min(share, 1)) or "",
        number, line and kit.seconds(line.seconds) or "", line and (profile.rows and format("%d", line.hits) or
        kit.percent(line.seconds, whole)) or "", escape(text))
    end
    out[#out + 1] = "</table>\n"
  end
  return concat(out)
end

function exports.html(profile)
  local out = { '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>' ..
    escape(profile.title or "Profile") .. "</title>\n<style>" .. style .. "</style>\n<h1>" ..
    escape(profile.title or "Profile") .. "</h1>\n" }
  if profile.failure then
    out[#out + 1] = format('<p class="error">The script failed: %s:%d: %s</p>\n', escape(profile.failure.file),
      profile.failure.line, escape(profile.failure.message))
  end
  if profile.stacks then
    out[#out + 1] = exports.svg(profile)
  end
  local text = profile:text()
  if profile.notes then -- the rest of it is the annotated source
    text = string.match(text, "[^\n]*")
  end
  out[#out + 1] = "<pre>" .. escape(text) .. "</pre>\n" .. annotated(profile) .. "</html>\n"
  return concat(out)
end
