-- pg.plot: figures, drawn by gnuplot. Here: what a figure is, and its text in gnuplot's language. Data go into that text as
-- numbers; texts of scripts are quoted, so that nothing in them is taken for a command.
local core = ...
local array = core.require "array"
local kit = array._kit
local kind_of, check_options = kit.kind_of, kit.check_options
local fail = core.fail
local io, os = io, os
local type, ipairs, pairs, tostring, setmetatable = type, ipairs, pairs, tostring, setmetatable
local format, concat, gsub, find, match, rep = string.format, table.concat, string.gsub, string.find, string.match,
  string.rep
local floor, min, max, huge, ceil = math.floor, math.min, math.max, math.huge, math.ceil

local plot = {}

-- --------------------------------------------------------------------------------------------------------- gnuplot ---
local function shell(text)
  return "'" .. gsub(text, "'", "'\\''") .. "'"
end

local reason -- why gnuplot cannot be used, "" when it can

--- plot.available(): true, or false and why not.
function plot.available()
  if not reason then
    local pipe = io.popen("command -v gnuplot 2>/dev/null", "r")
    local path = pipe and pipe:read("*l")
    if pipe then
      pipe:close()
    end
    reason = not pipe and "this process may not start programs, and figures are drawn by gnuplot" or
      not path and "gnuplot is not installed, which draws the figures (Debian: apt-get install gnuplot-nox)" or ""
  end
  if reason == "" then
    return true
  end
  return false, reason
end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- Runs gnuplot on a script's text; returns what it wrote to standard output.
local function run_gnuplot(name, text)
  local ok, why = plot.available()
  if not ok then
    core.unsupported("%s: %s", name, why)
  end
  local script = os.tmpname()
  local file, missing = io.open(script, "wb")
  if not file then
    fail("%s: cannot write a temporary file: %s", name, missing)
  end
  file:write(text)
  file:close()
  local errors = script .. ".err"
  local pipe = io.popen("gnuplot " .. shell(script) .. " 2>" .. shell(errors), "r")
  local output = pipe and pipe:read("*a") or ""
  if pipe then
    pipe:close()
  end
  local said = read_file(errors)
  os.remove(script)
  os.remove(errors)
  local wrong = not pipe and "it cannot be started" or match(said, "line %d+: ([^\n]+)")
  if wrong and not find(wrong, "^warning") then
    fail("%s: gnuplot cannot draw this: %s", name, wrong)
  end
  return output
end

-- ------------------------------------------------------------------------------------------------------- arguments ---
-- A text for gnuplot: in single quotes nothing is special but the quote itself.
local function quote(text)
  return "'" .. gsub(gsub(text, "[%c]", " "), "'", "''") .. "'"
end

local function is_array(value)
  return kit.is(value)
end

local function check_text(name, what, value)
  if value ~= nil and type(value) ~= "string" then
    fail("%s: %s must be a string, got %s", name, what, kind_of(value))
  end
  return value
end

-- Numbers of a 1-dimensional array or a list; nil as "no value".
local function numbers(name, what, values)
  local list = {}
  if is_array(values) then
    if values.ndim ~= 1 then
      fail("%s: %s must have 1 dimension, got %d", name, what, values.ndim)
    elseif find(values.dtype, "^complex") then
      fail("%s: %s must be real, got %s; plot a:real(), a:imag() or a:abs()", name, what, values.dtype)
    end
    local kept = values:astype("float64")
    for i = 1, kept.size do
      list[i] = kept[i]
    end
    return list
  elseif type(values) ~= "table" then
    fail("%s: %s must be an array or a list of numbers, got %s", name, what, kind_of(values))
  end
  for i, value in ipairs(values) do
    if type(value) ~= "number" then
      fail("%s: item %d of %s must be a number, got %s", name, i, what, kind_of(value))
    end
    list[i] = value
  end
  return list
end

local function number(x)
  if x ~= x or x == huge or x == -huge then
    return "NaN" -- a gap
  end
  return format("%.9g", x)
end

-- ---------------------------------------------------------------------------------------------------------- panels ---
local Panel = {}
Panel.__index = Panel

-- Okabe and Ito's colours, apart for the colour-blind ("Color Universal Design", 2008).
local colours = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A900" }

local function add(panel, series)
  panel.series[#panel.series + 1] = series
  return panel
end

local series_options = { label = true, color = true, width = true, size = true }

local function common(name, options)
  options = options or {}
  check_options(name, options, series_options)
  check_text(name, "label", options.label)
  check_text(name, "color", options.color)
  if options.color and not find(options.color, "^#%x%x%x%x%x%x$") and not find(options.color, "^%a[%w%-]*$") then
    fail('%s: color must be a name or "#rrggbb", got %q', name, options.color)
  end
  for _, key in ipairs { "width", "size" } do
    local value = options[key]
    if value ~= nil and (type(value) ~= "number" or not (value > 0 and value <= 100)) then
      fail("%s: %s must be a number above 0, at most 100, got %s", name, key, tostring(value))
    end
  end
  return options
end

-- x and y of the same length; with y alone, x is 1, 2, ...
local function pair(name, x, y, options)
  if y == nil or type(y) == "table" and y[1] == nil and next(y) ~= nil then -- (y [, options])
    if y ~= nil then
      options = y
    end
    y = numbers(name, "y", x)
    x = {}
    for i = 1, #y do
      x[i] = i
    end
  else
    x, y = numbers(name, "x", x), numbers(name, "y", y)
  end
  if #x ~= #y then
    fail("%s: x and y must have the same length, got %d and %d", name, #x, #y)
  end
  return x, y, common(name, options)
end

--- panel:line([x,] y [, {label, color, width}]): points joined by lines. NaN leaves a gap.
function Panel:line(x, y, options)
  local a, b, o = pair("line", x, y, options)
  return add(self, { kind = "line", x = a, y = b, options = o })
end

--- panel:scatter(x, y [, {label, color, size}]): points.
function Panel:scatter(x, y, options)
  local a, b, o = pair("scatter", x, y, options)
  return add(self, { kind = "scatter", x = a, y = b, options = o })
end

--- panel:bar(labels, heights [, {label, color}]): a bar for each label (strings or numbers).
function Panel:bar(labels, heights, options)
  local names = {}
  if type(labels) ~= "table" then
    labels = numbers("bar", "labels", labels)
  end
  for i, label in ipairs(labels) do
    if type(label) ~= "string" and type(label) ~= "number" then
      fail("bar: label %d must be a string or a number, got %s", i, kind_of(label))
    end
    names[i] = type(label) == "number" and format("%.6g", label) or label
  end
  local y = numbers("bar", "heights", heights)
  if #names ~= #y then
    fail("bar: labels and heights must have the same length, got %d and %d", #names, #y)
  end
  return add(self, { kind = "bar", labels = names, y = y, options = common("bar", options) })
end

--- panel:histogram(values [, {bins, label, color}]): how many values fall into each of `bins` (10) equal intervals.
function Panel:histogram(values, options)
  options = options or {}
  local bins = options.bins == nil and 10 or options.bins
  if type(bins) ~= "number" or bins % 1 ~= 0 or bins < 1 or bins > 10000 then
    fail("histogram: bins must be an integer from 1 to 10000, got %s", tostring(bins))
  end
  local rest = {}
  for key, value in pairs(options) do
    if key ~= "bins" then
      rest[key] = value
    end
  end
  local v = numbers("histogram", "values", values)
  local low, high = huge, -huge
  for _, x in ipairs(v) do
    if x == x and x ~= huge and x ~= -huge then
      low, high = min(low, x), max(high, x)
    end
  end
  if low > high then
    fail("histogram: there is no finite value")
  end
  if low == high then
    low, high = low - 0.5, high + 0.5
  end
  local counts, x = {}, {}
  local step = (high - low) / bins
  for i = 1, bins do
    counts[i], x[i] = 0, low + (i - 0.5) * step
  end
  for _, value in ipairs(v) do
    if value >= low and value <= high then
      local i = min(bins, floor((value - low) / step) + 1)
      counts[i] = counts[i] + 1
    end
  end
  return add(self, { kind = "histogram", x = x, y = counts, step = step, options = common("histogram", rest) })
end

--- panel:heatmap(a [, {label}]): a 2-dimensional array as colours; row 1 is at the top. `label` names the colour scale.
function Panel:heatmap(a, options)
  if not is_array(a) then
    a = array.from(a)
  end
  if a.ndim ~= 2 then
    fail("heatmap: an array of 2 dimensions is expected, got %d", a.ndim)
  elseif a.size == 0 then
    fail("heatmap: the array is empty")
  elseif a.size > 4e6 then
    fail("heatmap: at most 4 million cells can be drawn, got %d; take every n-th, as in a[{ {1, -1, 4}, {1, -1, 4} }]",
      a.size)
  end
  return add(self, { kind = "heatmap", array = a:astype("float64"), options = common("heatmap", options) })
end

local panel_options = { title = true, xlabel = true, ylabel = true, xlog = true, ylog = true, xlim = true, ylim = true,
  grid = true, legend = true }

local function check_panel(name, options)
  check_options(name, options, panel_options)
  for _, key in ipairs { "title", "xlabel", "ylabel" } do
    check_text(name, key, options[key])
  end
  for _, key in ipairs { "xlim", "ylim" } do
    local limits = options[key]
    if limits ~= nil and (type(limits) ~= "table" or type(limits[1]) ~= "number" or type(limits[2]) ~= "number" or
        not (limits[1] < limits[2])) then
      fail("%s: %s must be {low, high} with low < high", name, key)
    end
  end
end

-- --------------------------------------------------------------------------------------------------------- figures ---
local Figure = {}
Figure.__index = Figure

local function integer(name, key, value, low, high)
  if type(value) ~= "number" or value % 1 ~= 0 or value < low or value > high then
    fail("%s: %s must be an integer from %d to %d, got %s", name, key, low, high, tostring(value))
  end
  return value
end

--- plot.figure([{title, width = 800, height = 500, rows = 1, columns = 1}]): an empty figure; width and height in pixels.
--- Its panels are filled row by row by fig:panel{...}.
function plot.figure(options)
  options = options or {}
  check_options("figure", options, { title = true, width = true, height = true, rows = true, columns = true })
  check_text("figure", "title", options.title)
  return setmetatable({
    title = options.title,
    width = integer("figure", "width", options.width or 800, 50, 10000),
    height = integer("figure", "height", options.height or 500, 50, 10000),
    rows = integer("figure", "rows", options.rows or 1, 1, 20),
    columns = integer("figure", "columns", options.columns or 1, 1, 20),
    panels = {},
  }, Figure)
end

--- fig:panel([{title, xlabel, ylabel, xlog, ylog, xlim = {low, high}, ylim, grid = true, legend = true}]): the next panel,
--- for line, scatter, bar, histogram and heatmap, which return it again.
function Figure:panel(options)
  options = options or {}
  check_panel("panel", options)
  if #self.panels == self.rows * self.columns then
    fail("panel: the figure has room for %d panel%s; make it with rows and columns", #self.panels,
      #self.panels == 1 and "" or "s")
  end
  local panel = setmetatable({ options = options, series = {} }, Panel)
  self.panels[#self.panels + 1] = panel
  return panel
end

-- ------------------------------------------------------------------------------------------- gnuplot's language ------
local function check_log(name, axis, values)
  for i, value in ipairs(values) do
    if value <= 0 then
      fail("%s: a logarithmic %s axis shows only numbers above 0, and value %d is %s", name, axis, i, tostring(value))
    end
  end
end

local function least_of(panel)
  local least = huge
  for _, series in ipairs(panel.series) do
    for _, y in ipairs(series.y or {}) do
      least = min(least, y)
    end
  end
  return least
end

-- The corner of the panel with the fewest points, for the legend.
local function free_corner(panel)
  local xs, ys = {}, {}
  local function scaled(value, log_axis)
    return log_axis and math.log(value) or value
  end
  for _, series in ipairs(panel.series) do
    for i, y in ipairs(series.y or {}) do
      local x = series.x and series.x[i] or i
      x, y = scaled(x, panel.options.xlog), scaled(y, panel.options.ylog)
      if x == x and y == y and math.abs(x) < huge and math.abs(y) < huge then
        xs[#xs + 1], ys[#ys + 1] = x, y
      end
    end
  end
  local x0, x1, y0, y1 = huge, -huge, huge, -huge
  for i = 1, #xs do
    x0, x1, y0, y1 = min(x0, xs[i]), max(x1, xs[i]), min(y0, ys[i]), max(y1, ys[i])
  end
  local counts = { ["top right"] = 0, ["top left"] = 0, ["bottom right"] = 0, ["bottom left"] = 0 }
  for i = 1, #xs do
    local x, y = (xs[i] - x0) / max(x1 - x0, 1e-300), (ys[i] - y0) / max(y1 - y0, 1e-300)
    local side, height = x < 0.4 and "left" or x > 0.6 and "right", y > 0.7 and "top" or y < 0.3 and "bottom"
    if side and height then
      counts[height .. " " .. side] = counts[height .. " " .. side] + 1
    end
  end
  local best = "top right"
  for _, corner in ipairs { "top left", "bottom right", "bottom left" } do
    if counts[corner] < counts[best] then
      best = corner
    end
  end
  return best
end

local function panel_script(panel, index, name, dumb)
  local o, out, data, parts = panel.options, {}, {}, {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  say("unset logscale; unset label; unset offsets; set key %s %s", free_corner(panel), dumb and "" or "opaque box lc rgb '#cccccc'")
  say(o.title and "set title %s noenhanced" or "unset title", o.title and quote(o.title))
  say(o.xlabel and "set xlabel %s noenhanced" or "unset xlabel", o.xlabel and quote(o.xlabel))
  say(o.ylabel and "set ylabel %s noenhanced" or "unset ylabel", o.ylabel and quote(o.ylabel))
  say("%s grid%s", (o.grid == false or dumb) and "unset" or "set", (o.grid == false or dumb) and "" or
    " lc rgb '#dddddd' lt 1")
  say("set xtics auto format '%%g'; set ytics auto format '%%g'; set xrange [*:*]; set yrange [*:*]; set autoscale")
  if o.xlim then
    say("set xrange [%s:%s]", number(o.xlim[1]), number(o.xlim[2]))
  end
  if o.ylim then
    say("set yrange [%s:%s]", number(o.ylim[1]), number(o.ylim[2]))
  end
  local has_label, bars = false, 0
  for _, series in ipairs(panel.series) do
    has_label = has_label or series.options.label ~= nil and series.kind ~= "heatmap"
    bars = bars + (series.kind == "bar" and 1 or 0)
    if series.kind == "heatmap" and (o.xlog or o.ylog) then
      fail("%s: a heat map has no logarithmic axes", name)
    end
    if o.xlog and series.x then
      check_log(name, "x", series.x)
    end
    if o.ylog and (series.kind == "line" or series.kind == "scatter") then
      check_log(name, "y", series.y)
    end
  end
  if o.xlog then
    say("set logscale x 10; set format x %s", dumb and "'%.0e'" or "'10^{%L}'")
  end
  if o.ylog then
    say("set logscale y 10; set format y %s", dumb and "'%.0e'" or "'10^{%L}'")
  end
  if not has_label or o.legend == false then
    say("unset key")
  end
  local bar = 0
  for i, series in ipairs(panel.series) do
    local block = format("$d%d_%d", index, i)
    local title = series.options.label and "title " .. quote(series.options.label) .. " noenhanced" or "notitle"
    local colour = series.options.color or colours[(i - 1) % #colours + 1]
    local rows = {}
    if series.kind == "heatmap" then
      local a = series.array
      local height, width = a.shape[1], a.shape[2]
      for row = 1, height do
        local cells, line = {}, a[row]
        for column = 1, width do
          cells[column] = number(line[column])
        end
        rows[row] = concat(cells, " ")
      end
      say("set palette defined (0 '#440154', 1 '#414487', 2 '#2a788e', 3 '#22a884', 4 '#7ad151', 5 '#fde725')")
      say("set cblabel %s noenhanced", quote(series.options.label or ""))
      if not o.xlim then
        say("set xrange [0.5:%d.5]", width)
      end
      if not o.ylim then
        say("set yrange [%d.5:0.5]", height)
      end
      parts[#parts + 1] = format("%s matrix using ($1+1):($2+1):3 with image notitle", block)
    elseif series.kind == "bar" then
      bar = bar + 1
      local width = 0.8 / bars
      local tics = {}
      for k, y in ipairs(series.y) do
        rows[k] = format("%s %s", number(k + (bar - (bars + 1) / 2) * width), number(y))
        tics[k] = format("%s %d", quote((gsub(series.labels[k], "%%", "%%%%"))), k) -- a format to gnuplot
      end
      say("set xtics (%s) noenhanced%s", concat(tics, ", "), #tics > 8 and " rotate by -40" or " norotate")
      if not o.xlim then
        say("set xrange [0.4:%d.6]", #series.y)
      end
      if not o.ylim and not o.ylog then
        say("set yrange [%s:*]; set offsets graph 0, 0, 0.06, 0", least_of(panel) < 0 and "*" or "0")
      end
      say("set style fill solid 0.85 noborder")
      parts[#parts + 1] = format("%s using 1:2:(%.4f) with boxes lc rgb %s %s", block, width, quote(colour), title)
    elseif series.kind == "histogram" then
      for k, y in ipairs(series.y) do
        rows[k] = format("%s %d", number(series.x[k]), y)
      end
      say("set style fill solid 0.85 border lc rgb '#ffffff'")
      if not o.ylim and not o.ylog then
        say("set yrange [0:*]")
      end
      parts[#parts + 1] = format("%s using 1:2:(%s) with boxes lc rgb %s %s", block, number(series.step), quote(colour),
        title)
    else
      for k, x in ipairs(series.x) do
        rows[k] = number(x) .. " " .. number(series.y[k])
      end
      if series.kind == "line" then
        parts[#parts + 1] = format("%s using 1:2 with lines lw %g lc rgb %s %s", block, series.options.width or 2,
          quote(colour), title)
      else
        parts[#parts + 1] = format("%s using 1:2 with points pt 7 ps %g lc rgb %s %s", block, (series.options.size or 8) / 8,
          quote(colour), title)
      end
    end
    data[#data + 1] = format("%s << EOD\n%s\nEOD\n", block, #rows > 0 and concat(rows, "\n") or "NaN NaN")
  end
  if #parts == 0 then -- an empty panel has axes all the same
    parts[1] = "NaN notitle"
    say("set xrange [0:1]; set yrange [0:1]")
  end
  return concat(data), concat(out, "\n") .. "\nplot " .. concat(parts, ", \\\n  ") .. "\n"
end

local function script_of(figure, name, terminal, dumb)
  local data, commands = {}, {}
  for i, panel in ipairs(figure.panels) do
    data[i], commands[i] = panel_script(panel, i, name, dumb)
  end
  if #commands == 0 then
    fail("%s: the figure is empty; add a panel and draw into it, as in fig:panel{}:line(y)", name)
  end
  local multi = figure.rows * figure.columns > 1 or figure.title ~= nil
  return concat(data) .. terminal .. "\n" ..
    (multi and format("set multiplot layout %d,%d%s\n", figure.rows, figure.columns, figure.title and " title " ..
      quote(figure.title) .. " noenhanced" or "") or "") .. concat(commands) .. (multi and "unset multiplot\n" or "") ..
    "set output\n"
end

--- fig:save(path): writes an SVG or PNG, by the name's ending. Returns the figure.
function Figure:save(path)
  if type(path) ~= "string" then
    fail("save: a file's name is expected, got %s", kind_of(path))
  end
  local ending = match(path, "%.(%w+)$")
  local terminal = ending == "svg" and "set terminal svg size %d,%d background rgb 'white' font 'sans,13' dynamic" or
    ending == "png" and "set terminal pngcairo size %d,%d background rgb 'white' font 'sans,11'"
  if not terminal then
    fail("save: the name must end in .svg or .png, got %q", path)
  end
  local file, why = io.open(path, "ab") -- a clear error before gnuplot's
  if not file then
    fail("save: cannot write %s", why)
  end
  file:close()
  run_gnuplot("save", script_of(self, "save", format(terminal, self.width, self.height) .. "\nset output " .. quote(path)))
  return self
end

--- fig:show([{width = 79, height = 24}]): draws the figure with characters. Returns the figure.
function Figure:show(options)
  options = options or {}
  check_options("show", options, { width = true, height = true })
  local width = integer("show", "width", options.width or 79, 20, 400)
  local height = integer("show", "height", options.height or 24, 8, 400)
  for _, panel in ipairs(self.panels) do
    for _, series in ipairs(panel.series) do
      if series.kind == "heatmap" then
        core.unsupported("show: heat maps cannot be drawn with characters; use save")
      end
    end
  end
  local text = run_gnuplot("show", script_of(self, "show", format("set terminal dumb size %d,%d", width, height), true))
  core.env.print((gsub(gsub(text, "\f", ""), "%s+\n", "\n")))
  return self
end

--- plot.animate(pattern, frames, fn): fn(i) makes the figure of frame i, which is saved as string.format(pattern, i), as in
--- "wave_%03d.png". Returns the names. (ffmpeg -i wave_%03d.png wave.mp4 makes a film of them.)
function plot.animate(pattern, frames, fn)
  if type(pattern) ~= "string" or not find(pattern, "%%0?%d*d") then
    fail('animate: the name must hold a place for the number, as in "wave_%%03d.png", got %s', tostring(pattern))
  end
  integer("animate", "frames", frames, 1, 100000)
  if type(fn) ~= "function" then
    fail("animate: a function that makes a figure is expected, got %s", kind_of(fn))
  end
  local names = {}
  for i = 1, frames do
    local figure = fn(i)
    if getmetatable(figure) ~= Figure then
      fail("animate: the function must return a figure, got %s for frame %d", kind_of(figure), i)
    end
    names[i] = format(pattern, i)
    figure:save(names[i])
  end
  return names
end

-- Figures of one panel: plot.line(x, y, {label, ..., title, xlabel, ...}) and so on. Options of the panel, of the figure
-- and of the series may be given together.
local function split(name, options)
  local series, panel, figure = {}, {}, {}
  for key, value in pairs(options or {}) do
    if panel_options[key] then
      panel[key] = value
    elseif key == "figure_width" or key == "figure_height" then
      figure[key:sub(8)] = value
    else
      series[key] = value
    end
  end
  return series, panel, figure
end

for _, kind in ipairs { "line", "scatter", "bar", "histogram", "heatmap" } do
  plot[kind] = function(...)
    local arguments = { ... }
    local count = select("#", ...)
    local options = arguments[count]
    if type(options) == "table" and options[1] == nil and next(options) ~= nil then
      count = count - 1
    else
      options = nil
    end
    local series, panel, figure = split(kind, options)
    arguments[count + 1] = next(series) ~= nil and series or nil
    local made = plot.figure(figure)
    local drawn = made:panel(panel)
    Panel[kind](drawn, unpack(arguments, 1, count + 1))
    return made
  end
end

return plot
