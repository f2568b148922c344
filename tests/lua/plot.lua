-- Figures: what is drawn holds what was given, and texts are texts.
local lu = require "luaunit"
local pg = require "perigee"
local plot, array = pg.plot, pg.array

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

local function saved(figure, ending)
  local path = os.tmpname() .. " ä'" .. ending
  figure:save(path)
  return read(path)
end

local function shown(figure, options)
  local print_, out = print, {}
  local env = getfenv(0)
  env.print = function(text)
    out[#out + 1] = text
  end
  local ok, message = pcall(figure.show, figure, options)
  env.print = print_
  assert(ok, message)
  return table.concat(out, "\n")
end

TestPlot = {}

function TestPlot:test_it_is_there()
  lu.assertTrue(plot.available())
end

function TestPlot:test_every_kind_as_svg_and_png()
  local fig = plot.figure { rows = 2, columns = 3, title = "All of them", width = 900, height = 600 }
  fig:panel { title = "first panel", xlog = true, ylog = true }:line({ 1, 10, 100 }, { 1, 20, 300 }, { label = "one line" })
    :scatter({ 1, 10, 100 }, { 2, 30, 400 }, { label = "some points", size = 6 })
  fig:panel { ylabel = "milliseconds" }:bar({ "naive", "fast" }, { 5, 1 }, { label = "mine" })
    :bar({ "naive", "fast" }, { 6, 2 }, { label = "yours" })
  fig:panel():histogram(pg.random.generator(1):normal(0, 1, { shape = { 1000 } }), { bins = 20 })
  fig:panel { xlim = { 0, 4 } }:heatmap(array.range(1, 12):reshape(3, 4), { label = "height in m" })
  fig:panel { grid = false, legend = false }:line(array.from({ 1, 0 / 0, 3 }, { dtype = "float32" }))
  fig:panel()
  local svg = saved(fig, ".svg")
  for _, text in ipairs { "All of them", "first panel", "one line", "some points", "milliseconds", "naive", "yours",
    "height in m" } do
    lu.assertStrContains(svg, text)
  end
  lu.assertEquals(saved(fig, ".png"):sub(1, 8), "\137PNG\r\n\26\n")
end

function TestPlot:test_texts_are_no_commands()
  local marker = os.tmpname()
  os.remove(marker)
  local evil = "it's `touch " .. marker .. "` \"x\" $HOME %d {/Bold b} \\n\nset output; system('touch " .. marker .. "')"
  local svg = saved(plot.line({ 1, 2 }, { 3, 4 }, { label = evil, title = evil, xlabel = evil }), ".svg")
  saved(plot.bar({ evil, "b" }, { 1, 2 }), ".svg")
  lu.assertNil(io.open(marker))
  lu.assertStrContains(svg, "{/Bold b}")
  lu.assertStrContains(svg, "$HOME")
end

function TestPlot:test_characters()
  local text = shown(plot.line({ 1, 2, 3 }, { title = "rising" }), { width = 60, height = 15 })
  lu.assertStrContains(text, "rising")
  lu.assertStrContains(text, "*")
  for line in text:gmatch("[^\n]+") do
    lu.assertTrue(#line <= 60)
  end
  lu.assertErrorMsgContains("heat maps cannot be drawn with characters", plot.heatmap(array.ones(2, 2)).show,
    plot.heatmap(array.ones(2, 2)))
end

function TestPlot:test_a_histogram_counts()
  local panel = plot.figure():panel():histogram({ 0, 0.1, 0.5, 0.9, 1, 0 / 0, 1 / 0 }, { bins = 2 })
  lu.assertEquals(panel.series[1].y, { 2, 3 })
  panel = plot.figure():panel():histogram({ 5, 5 }, { bins = 1 })
  lu.assertEquals(panel.series[1].y, { 2 })
end

function TestPlot:test_frames()
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir '" .. folder .. "'")
  local names = plot.animate(folder .. "/f_%02d.svg", 2, function(i)
    return plot.line({ 0, i }, { title = "frame " .. i })
  end)
  lu.assertEquals(names, { folder .. "/f_01.svg", folder .. "/f_02.svg" })
  lu.assertStrContains(read(names[2]), "frame 2")
  lu.assertStrContains(read(names[1]), "frame 1")
  os.execute("rmdir '" .. folder .. "'")
end

function TestPlot:test_errors()
  local function fails(text, f, ...)
    lu.assertErrorMsgContains(text, f, ...)
  end
  local fig = plot.figure()
  fails("the figure is empty", fig.save, fig, os.tmpname() .. ".svg")
  local panel = fig:panel { xlog = true }
  fails("the figure has room for 1 panel", fig.panel, fig)
  fails("x and y must have the same length, got 2 and 3", panel.line, panel, { 1, 2 }, { 1, 2, 3 })
  fails("item 2 of y must be a number, got", panel.line, panel, { 1, 2 }, { 1, "b" })
  fails("y must have 1 dimension, got 2", panel.line, panel, array.ones(2), array.ones(2, 1))
  fails("must be real, got complex128", panel.line, panel, array.ones(2, { dtype = "complex128" }))
  fails('color must be a name or "#rrggbb"', panel.line, panel, { 1 }, { 1 }, { color = "x; y" })
  fails("size must be a number above 0", panel.scatter, panel, { 1 }, { 1 }, { size = 0 })
  fails("labels and heights must have the same length, got 1 and 2", panel.bar, panel, { "a" }, { 1, 2 })
  fails("bins must be an integer", panel.histogram, panel, { 1 }, { bins = 0 })
  fails("an array of 2 dimensions is expected, got 1", panel.heatmap, panel, array.ones(3))
  fails("xlim must be {low, high}", plot.line, { 1, 2 }, { xlim = { 2, 1 } })
  fails("title must be a string", plot.figure, { title = 3 })
  fails("rows must be an integer from 1 to 20, got 0", plot.figure, { rows = 0 })
  panel:line({ 1, 0 }, { 1, 2 })
  fails("a logarithmic x axis shows only numbers above 0, and value 2 is 0", fig.save, fig, os.tmpname() .. ".svg")
  fails("the name must end in .svg or .png", fig.save, fig, "x.pdf")
  fails("cannot write /nowhere/x.svg", plot.line({ 1 }).save, plot.line({ 1 }), "/nowhere/x.svg")
  fails("must hold a place for the number", plot.animate, "x.png", 1, print)
end

function TestPlot:test_without_gnuplot_it_says_so()
  local pipe = assert(io.popen("readlink /proc/$PPID/exe"))
  local perigee = pipe:read("*l")
  pipe:close()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write([[
    local plot = require("perigee").plot
    print(plot.available())
    plot.line({ 1, 2 }):show()
  ]])
  file:close()
  pipe = assert(io.popen("PATH=/nowhere '" .. perigee .. "' run " .. script .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(script)
  lu.assertStrContains(text, "false\tgnuplot is not installed")
  lu.assertStrContains(text, "not supported: show: gnuplot is not installed, which draws the figures (Debian: apt-get")
end

os.exit(lu.LuaUnit.run(), true)
