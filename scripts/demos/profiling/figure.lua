-- A figure with characters; fig:save("x.svg") or "x.png" draws it properly. Run me: perigee run
-- scripts/demos/profiling/figure.lua
local pg = require "perigee"
local plot, array = pg.plot, pg.array

local there, why = plot.available()
if not there then
  print(why)
  return
end

local x = array.linspace(0, 4 * math.pi, 100)
plot.line(x, x:sin(), { title = "A wave", xlabel = "x", label = "sin x" }):show()
plot.histogram(pg.random.generator(7):normal(0, 1, { shape = { 5000 } }), { bins = 30, title = "Normal numbers" }):show()
