-- What a learner's mistakes are answered with.
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array

local env = setmetatable({ array = array, pg = pg, a = array.range(6):reshape(2, 3), n = array.range(3):astype("int32"),
  mask = array.from { true, false } }, { __index = _G })

local mistakes = {
  -- names
  { "array.zeroes(3)", "perigee.array has no function 'zeroes'; did you mean 'zeros'?" },
  { "array.arange(3)", "no function 'arange'; it is called 'range' here" },
  { "array.asrray{1}", "it is called 'from' here" },
  { "array.inv(a)", "look in perigee.linalg" },
  { "array.pi", "write math.pi" },
  { "array.sin_(a)", "it is a method: a:sin_(...)" },
  { "a:zeros()", "it is a function: array.zeros(...)" },
  { "a:reshap(3, 2)", "no field or method 'reshap'; did you mean 'reshape'?" },
  { "a.lenght", "it is called 'size' here" },
  { "a.dtpye", "did you mean 'dtype'?" },
  { "a.entirelydifferent", "no field or method 'entirelydifferent'" },
  { "pg.arrray", "no module 'arrray'; did you mean 'array'?" },
  { "pg.random.generatr(1)", "perigee.random has no function 'generatr'; did you mean 'generator'?" },
  -- options and dtypes
  { "array.zeros(3, {dytpe = 'int32'})", "unknown option 'dytpe'; legal are: dtype; did you mean 'dtype'?" },
  { "array.zeros(3, 'float')", "did you mean 'float64'?" },
  { "array.zeros(3, 'flaot32')", "did you mean 'float32'?" },
  { "a:add(1, {ouput = a})", "unknown option 'ouput'; legal are: out" },
  { "a:sqrt(2)", "options are a table such as {out = c}, got 2" },
  -- kinds of arguments
  { "array.sqrt(3)", "sqrt: an array is expected, got 3; math.sqrt takes numbers" },
  { "array.sqrt{1, 2}", "a table (array.from makes an array of it)" },
  { "a + 'x'", 'add: an array or a number is expected, got the string "x"' },
  { "a + nil", "got nil" },
  { "a < 3", "compare their elements with a:lt(b)" },
  { "a:sum('x')", 'an axis is an integer, got the string "x"' },
  { "array.full(3)", "full: a value is expected: full(shape, value)" },
  { "array.linspace(0, 1)", "the number of values must be an integer, 0 or more, got nil" },
  { "array.where(mask)", "the values for true and for false are expected" },
  { "a:clip()", "at least one limit is expected" },
  { "a:round('x')", "the number of decimals must be an integer" },
  { "for _ in pairs(a) do end", "write for i, x in ipairs(a)" },
  { "'a' .. a .. print", "an array cannot be concatenated with a function" },
  { "a:sum(1, {keepdims = true})", "sum takes one argument: an axis, or options, as in a:sum{axis = 1}" },
  { "a:argmax(1, 2)", "argmax takes one argument" },
  { "a:allclose('x')", 'allclose: an array or a number is expected, got the string "x"' },
  { "pg.random.uniform()", "generators have it: random.generator(seed):uniform(...)" },
  { "pg.timer.nw()", "did you mean 'now'?" },
  -- shapes, indices, values
  { "a + array.range(4)", "arrays of shape (2, 3) and (4) cannot be combined" },
  { "a:reshape(4, 2)", "6 elements cannot take the shape (4, 2)" },
  { "a:sum(3)", "axis 3 is out of range for an array of 2 dimensions" },
  { "a[3]", "legal are 1 to 2, and -2 to -1 from the end" },
  { "a[1][0]", "index 0 is out of range for axis 1 of an array of shape (3)" },
  { "a[1.5]", "index 1.5 is not an integer" },
  { "array.from{ {1, 2}, {3} }", "element [2] has 1 entry where the first has 2" },
  { "array.from{1, nil, 3}", "the table has a hole: entry 2 is nil, and there is an entry 3" },
  { "array.from{1, '2'}", 'element [2] is the string "2"' },
  -- dtypes
  { "n:add_(0.5)", 'convert them first (astype("int32")) or write into a float64 array' },
  { "n:astype('uint8') + 300", "300 is out of range for the array's dtype uint8" },
  { "n ^ -1", "integers cannot be raised to negative integer powers (here -1)" },
  { "-mask", "negative is not defined for bool arrays" },
  { "a:bitwise_and(1)", "bitwise_and is not defined for float64 arrays" },
}

TestErrors = {}

function TestErrors.test_mistakes()
  for _, m in ipairs(mistakes) do
    local chunk = load("local _ = " .. m[1], "=mistake", "t", env) or assert(load(m[1], "=mistake", "t", env))
    local ok, message = pcall(chunk)
    lu.assertFalse(ok, m[1])
    lu.assertStrContains(message, m[2])
    lu.assertStrMatches(message, "mistake[^:]*:1: .*") -- at the learner's line
    lu.assertNotStrContains(message, "internal error")
  end
end

-- What is not there may be asked for.
function TestErrors.test_absence_can_be_asked_for()
  lu.assertNil(rawget(array, "zeroes"))
  lu.assertNil(array._nothing)
  lu.assertFalse((pg.available("arrray")))
end

function TestErrors.test_what_works_instead()
  local seen = {}
  for i, x in ipairs(array.from { 5, 6 }) do
    seen[i] = x
  end
  for i, row in ipairs(array.range(4):reshape(2, 2)) do
    seen[2 + i] = row[2]
  end
  for i, x in ipairs(array.range(4):reshape(2, 2)[2]) do
    seen[4 + i] = x
  end
  lu.assertEquals(seen, { 5, 6, 2, 4, 3, 4 })
  lu.assertEquals("a: " .. array.range(2) .. "!", "a: [1. 2.]!")
end

os.exit(lu.LuaUnit.run(), true)
