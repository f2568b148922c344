-- Loops that do not become vectors, what the compiler says, and what can be done.
--   perigee run scripts/demos/compilers/why_no_vectors.lua
local pg = require "perigee"
local array, kernel = pg.array, pg.kernel

local x, y = array.ones(1000), array.zeros(1000)

-- A sum keeps the order of its additions, as Lua does...
local sum = kernel.jit(function(x)
  local s = 0.0
  for i = 1, #x do
    s = s + x[i]
  end
  return s
end, { name = "sum" })
sum(x)
print(sum:annotate(), "\n")

-- ...unless it is told that any order will do.
local any_order = kernel.jit(sum._function, { name = "sum in any order", fastmath = true })
any_order(x)
print(any_order:annotate(), "\n")

-- Each element needs the one before: nothing helps but another algorithm.
local running = kernel.jit(function(x, y)
  y[1] = x[1]
  for i = 2, #x do
    y[i] = y[i - 1] + x[i]
  end
end, { name = "running sum" })
running(x, y)
print(running:annotate(), "\n")

-- A loop that may be left early runs one element at a time.
local find = kernel.jit(function(x, value)
  for i = 1, #x do
    if x[i] == value then
      return i
    end
  end
  return 0
end, { name = "find" })
find(x, 2)
print(find:annotate(), "\n")

-- Without the early end it runs to the end, and is faster for it.
local last = kernel.jit(function(x, value)
  local found = 0
  for i = 1, #x do
    found = x[i] == value and i or found
  end
  return found
end, { name = "find the last" })
last(x, 2)
print(last:annotate())
