-- Arrays in two minutes. Run it:  perigee run --trusted scripts/demos/arrays/first_steps.lua
local pg = require "perigee"
local array = pg.array

local a = array.from { { 1, 2, 3 }, { 4, 5, 6 } }
print(a)
print("row 2, column 3:", a[2][3], "the same:", a:at(2, 3), "from the end:", a[-1][-1])

print "\nA slice is a view: writing to it writes to the array."
local middle = a[{ {}, { 2, 3 } }]
middle[1][1] = 20
print(a)

print "\nBroadcasting: a row of 3 against a column of 2."
local row, column = array.from { 1, 2, 3 }, array.from { { 10 }, { 20 } }
print(row + column)

print "\nSums over all elements, down the columns (axis 1), along the rows (axis 2):"
print(a:sum(), a:sum(1), a:sum(2))

print "\nA number keeps the dtype of the array; a fraction does not fit in integers:"
local counts = array.from({ 1, 2, 3 }, { dtype = "int32" })
print(counts + 1, counts + 0.5)

print "\nWhat does an operation cost? One addition of 3 numbers, and of 300000:"
for _, n in ipairs { 3, 300000 } do
  local x = array.ones(n)
  local calls = math.floor(3e6 / (n + 300))
  local start = pg.timer.now()
  for _ = 1, calls do
    x:add_(1)
  end
  local each = (pg.timer.now() - start) / calls
  print(("  %6d numbers: %8.2f us an operation, %7.3f ns a number"):format(n, each * 1e6, each / n * 1e9))
end
