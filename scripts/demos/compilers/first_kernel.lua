-- A Lua function, interpreted, compiled by LuaJIT, and compiled to vectors by kernel.jit: the same source each time.
--   perigee run scripts/demos/compilers/first_kernel.lua
local pg = require "perigee"
local array, kernel, timer = pg.array, pg.kernel, pg.timer

-- One step of heat flowing along a rod.
local function step(u, v, k)
  for i = 2, #u - 1 do
    v[i] = u[i] + k * (u[i - 1] - 2 * u[i] + u[i + 1])
  end
end

local n, steps = 10000, 200
local function run(step_of)
  local u, v = array.zeros(n), array.zeros(n)
  u[n / 2] = 1
  step_of(u, v, 0.25) -- once before the clock starts: what is compiled is compiled here
  local start = timer.now()
  for _ = 1, steps do
    step_of(u, v, 0.25)
    u, v = v, u
  end
  return (timer.now() - start) / steps, u[n / 2]
end

pg.jit("off", step)
local interpreted, a = run(step)
pg.jit("on", step)
local traced, b = run(step)
local compiled = kernel.jit(step, { name = "step" })
local vectors, c = run(compiled)
assert(a == b and b == c, "three ways to run one function, one result")

print(("interpreted          %9.1f us a step"):format(interpreted * 1e6))
print(("LuaJIT               %9.1f us a step, %.0f times as fast"):format(traced * 1e6, interpreted / traced))
print(("kernel.jit           %9.1f us a step, %.0f times as fast"):format(vectors * 1e6, interpreted / vectors))
print()
print("What the compiler made of the loop:")
print(compiled:report())
print()
print("Compiling took a moment, once for each combination of types:")
for _, s in ipairs(compiled:specializations()) do
  print(("  (%s) in %.1f ms"):format(table.concat(s.arguments, ", "), s.compile_time * 1e3))
end
