-- perigee.io as scripts see it: both ways with NumPy's files, tables, JSON, text, and what bad files are answered.
-- Hostile bytes in numbers: tests/engine/io_test.cpp and tests/fuzz.
local lu = require "luaunit"
local ffi = require "ffi"
local pg = require "perigee"
local array, pio = pg.array, pg.io

local this_file = debug.getinfo(1, "S").short_src
local data = debug.getinfo(1, "S").source:sub(2):match("^(.*)/lua/[^/]*$") .. "/data/io/"

local function fails(text, fn, ...)
  local ok, message = pcall(fn, ...)
  lu.assertFalse(ok, "no error; expected: " .. text)
  lu.assertStrContains(message, text)
  lu.assertStrContains(message, this_file .. ":")
end

-- Runs fn(path) with the name of a file that is removed afterwards.
local function with_file(fn)
  local path = os.tmpname()
  local ok, message = pcall(fn, path)
  os.remove(path)
  if not ok then
    error(message, 0)
  end
end

local function bytes_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function put(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Elements read from memory, whatever the dtype: type in C, numbers an element, and element i of make_io_data.py.
local function quarter(i) return i / 4 - 0.5 end
local dtypes = {
  bool = { "uint8_t", 1, function(i) return i % 2 == 0 and 1 or 0 end },
  int8 = { "int8_t", 1, function(i) return i - 3 end }, int16 = { "int16_t", 1, function(i) return i - 3 end },
  int32 = { "int32_t", 1, function(i) return i - 3 end }, int64 = { "int64_t", 1, function(i) return i - 3 end },
  uint8 = { "uint8_t", 1, function(i) return 40 * i end }, uint16 = { "uint16_t", 1, function(i) return 40 * i end },
  uint32 = { "uint32_t", 1, function(i) return 40 * i end }, uint64 = { "uint64_t", 1, function(i) return 40 * i end },
  float32 = { "float", 1, quarter }, float64 = { "double", 1, quarter },
  complex64 = { "float", 2, quarter }, complex128 = { "double", 2, quarter },
}

local function check_elements(name, a)
  local c, parts, value = unpack(dtypes[name])
  local at = ffi.cast(c .. " *", a._data)
  lu.assertEquals(a.shape, { 2, 3 })
  for i = 0, 5 do
    local k = (math.floor(i / 3) * tonumber(a._strides[0]) + i % 3 * tonumber(a._strides[1])) * parts
    lu.assertEquals(tonumber(at[k]), value(i), name)
    if parts == 2 then
      lu.assertEquals(tonumber(at[k + 1]), value(i) + 1, name)
    end
  end
end

TestNpy = {}

function TestNpy:test_reads_what_numpy_wrote()
  for _, file in ipairs { "stored.npz", "deflated.npz" } do
    local arrays = pio.load(data .. file)
    local count = 0
    for name in pairs(dtypes) do
      for suffix, strides in pairs { _c = { 3, 1 }, _f = { 1, 2 }, _big = { 3, 1 }, _bigf = { 1, 2 } } do
        local a = arrays[name .. suffix]
        check_elements(name, a)
        lu.assertEquals(a.strides, strides)
        count = count + 1
      end
    end
    lu.assertEquals(count, 52)
  end
  for version = 1, 3 do
    check_elements("float64", pio.load(data .. "version" .. version .. ".npy"))
  end
  local scalar = pio.load(data .. "scalar.npy")
  lu.assertEquals({ scalar.ndim, scalar:item() }, { 0, 2.5 })
  local empty = pio.load(data .. "empty.npy")
  lu.assertEquals({ empty.shape, empty.size }, { { 3, 0, 2 }, 0 })
  local deep = pio.load(data .. "rank8.npy")
  lu.assertEquals({ deep.ndim, deep:at(2, 2, 2, 2, 2, 2, 2, 2), deep:at(1, 1, 1, 1, 1, 1, 2, 1) }, { 8, 255, 2 })
end

function TestNpy:test_writes_what_it_reads()
  local arrays = pio.load(data .. "stored.npz")
  with_file(function(path)
    for name in pairs(dtypes) do
      for _, suffix in ipairs { "_c", "_f" } do
        local a = arrays[name .. suffix]
        pio.save(path, a)
        local b = pio.load(path)
        check_elements(name, b)
        lu.assertEquals(b.strides, a.strides)
        local mapped = pio.load(path, { mmap = true })
        check_elements(name, mapped)
        mapped:release()
      end
    end
    -- The bytes are NumPy's own.
    pio.save(path, arrays.float64_f)
    lu.assertEquals(bytes_of(path), bytes_of(data .. "version1.npy"))
    for name, write in pairs { savez = pio.savez, savez_compressed = pio.savez_compressed } do
      write(path, arrays)
      local again = pio.load(path)
      for key in pairs(dtypes) do
        check_elements(key, again[key .. "_c"])
        check_elements(key, again[key .. "_bigf"])
      end
      write(path, { array.range(3), array.zeros { 0, 2 } })
      lu.assertEquals(pio.load(path).arr_0:totable(), { 1, 2, 3 }, name)
      lu.assertEquals(pio.load(path).arr_1.shape, { 0, 2 })
      lu.assertNil(pio.load(path, { names = { "arr_0" } }).arr_1)
      fails("there is no array the string \"b\" in this file; there are: arr_0, arr_1", pio.load, path, { names = { "b" } })
    end
    -- Views of every kind.
    local a = array.range(24):reshape(2, 3, 4)
    for _, view in ipairs { a[{ {}, { 3, 1, -1 }, { 1, 4, 2 } }], a:transpose(2, 3, 1), a[{ 2 }], a[1][2], array.zeros {} } do
      pio.save(path, view)
      lu.assertTrue(pio.load(path):equal(array.from(view)))
    end
  end)
end

function TestNpy:test_mapped_arrays_are_read_only()
  with_file(function(path)
    pio.save(path, array.range(5))
    local a = pio.load(path, { mmap = true })
    lu.assertEquals(a:sum(), 15)
    fails("read-only", function() a[1] = 2 end)
  end)
end

-- LuaJIT takes NaNs with certain bits for objects (a string at address 0xdeadbeef), and a change of sign makes such ones
-- of others: whatever bits a file holds, elements are numbers.
function TestNpy:test_forged_nans_are_numbers()
  local words = {}
  for top = 0, 0xffff do
    local exponent = bit.band(top, 0x7ff0)
    if exponent == 0x7ff0 or (bit.band(top, 0x7f80) == 0x7f80 and top % 64 == 63) then -- NaN as a double, or as a float
      for _, low in ipairs { 0, 1, 0xdeadbeef, 0xffffffff } do
        words[#words + 1] = { top * 0x10000 + (low == 1 and 1 or 0xdead), low }
        words[#words + 1] = { top * 0x10000, low }
      end
    end
  end
  while #words % 4 ~= 0 or #words % 64 == 0 do -- a rest behind the vectors
    words[#words + 1] = { 0xfff90000, 0x12345678 }
    words[#words + 1] = { 0x7ff90000, 0x12345678 }
  end
  local raw = ffi.new("uint32_t[?]", 2 * #words)
  for i, word in ipairs(words) do
    raw[2 * i - 2], raw[2 * i - 1] = word[2], word[1]
  end
  local bytes = ffi.string(raw, 8 * #words)
  local swapped = { [4] = bytes:gsub("(.)(.)(.)(.)", "%4%3%2%1"), [8] = bytes:gsub("(.)(.)(.)(.)(.)(.)(.)(.)", "%8%7%6%5%4%3%2%1") }
  local function check(a, name)
    local float, parts = dtypes[name][1], dtypes[name][2]
    lu.assertEquals(a.size * parts * ffi.sizeof(float), #bytes)
    local bits = ffi.cast(float == "double" and "uint64_t *" or "uint32_t *", a._data)
    local infinity = float == "double" and 0x7ff0000000000000ULL or 0x7f800000ULL
    local plain = float == "double" and 0x7ff8000000000000ULL or 0x7fc00000ULL
    local sign = float == "double" and 0x8000000000000000ULL or 0x80000000ULL
    local nans = 0
    for i = 0, a.size * parts - 1 do
      if bit.band(bits[i], sign - 1) > infinity then
        nans = nans + 1
        lu.assertTrue(bits[i] == plain)
      end
    end
    lu.assertTrue(nans > 100)
    for i = 1, a.size do
      local value = a[i]
      if parts == 2 then
        lu.assertTrue(type(value.re) == "number" and type(value.im) == "number" and type(-value.re) == "number")
      else
        lu.assertTrue(type(value) == "number" and #tostring(value) > 0)
      end
    end
    collectgarbage()
    if parts == 1 then
      for _, b in ipairs { -a, a:astype "float64", -a:astype "float32", a + 1 } do
        for _, value in ipairs(b:totable()) do
          lu.assertEquals(type(value), "number")
        end
      end
    end
  end
  with_file(function(path)
    for _, name in ipairs { "float64", "float32", "complex128", "complex64" } do
      local n = #bytes / ffi.sizeof(dtypes[name][1]) / dtypes[name][2]
      pio.save(path, array.zeros(n, name))
      local head = bytes_of(path):sub(1, -#bytes - 1)
      lu.assertEquals(#head % 64, 0)
      put(path, head .. bytes)
      check(pio.load(path), name)
      check(pio.load { text = head .. bytes }, name)
      local big = head:gsub("<([fc])", ">%1") .. swapped[ffi.sizeof(dtypes[name][1])]
      check(pio.load { text = big }, name)
      fails("it holds NaNs with a payload; load it without mmap", pio.load, path, { mmap = true })
    end
    -- NaNs as processors make them may be mapped.
    local zero = array.zeros(130)
    for _, a in ipairs { zero / zero, -(zero / zero), array.full({ 70 }, 0 / 0), array.full({ 9 }, -(0 / 0), "float32") } do
      pio.save(path, a)
      for _, value in ipairs(pio.load(path, { mmap = true }):totable()) do
        lu.assertTrue(value ~= value)
      end
    end
  end)
end

function TestNpy:test_refuses_what_it_cannot_read()
  fails("load: cannot open '/nowhere/a.npy': No such file or directory", pio.load, "/nowhere/a.npy")
  fails("it is a folder", pio.load, "/tmp")
  fails("neither an npy nor an npz file", pio.load, { text = "hello" })
  fails("not supported: load: ", pio.load, data .. "text.npy")
  fails("elements of the NumPy dtype '<U2'", pio.load, data .. "text.npy")
  fails("'<f2'", pio.load, data .. "half.npy")
  fails("structured dtype", pio.load, data .. "record.npy")
  fails("elements of the NumPy dtype '|O'", pio.load, { text = (bytes_of(data .. "version1.npy"):gsub("<f8'", "|O' ")) })
  fails("more than 8 dimensions", pio.load, data .. "rank9.npy")
  fails("unknown option 'nmap'; legal are: mmap, names", pio.load, data .. "scalar.npy", { nmap = true })
  fails("a path or {text = ...} is expected, got nil", pio.load)
  fails("save: an array is expected, got 3", pio.save, "/tmp/x", 3)
  fails("save: cannot open '/nowhere/a.npy'", pio.save, "/nowhere/a.npy", array.range(2))
  fails("savez: a table of arrays is expected", pio.savez, "/tmp/x", array.range(2))
  fails("two arrays would be named 'arr_0'", pio.savez, "/tmp/x", { array.range(2), arr_0 = array.range(2) })
  local whole = bytes_of(data .. "version1.npy")
  fails("the text: it has 9 bytes, less than the 10", pio.load, { text = whole:sub(1, 9) })
  fails("says that it has 118 bytes, but only 40 follow", pio.load, { text = whole:sub(1, 50) })
  fails("shape (2, 3) of float64, 48 bytes, but only 47 bytes follow", pio.load, { text = whole:sub(1, -2) })
  -- 2^60 elements stated by a file of 176 bytes.
  local huge = whole:gsub("%(2, 3%), }" .. (" "):rep(16), "(1152921504606846976,), }")
  lu.assertEquals(#huge, #whole)
  fails("bytes, but only 48 bytes follow", pio.load, { text = huge })
  fails("expected: True or False", pio.load, { text = (whole:gsub("True", "Troe")) })
  fails("version 9.0 of the npy format", pio.load, { text = "\147NUMPY\9\0" .. whole:sub(9) })
  local npz = bytes_of(data .. "deflated.npz")
  fails("cut short: it has no end record", pio.load, { text = npz:sub(1, -30) })
  local damaged = npz:sub(1, 200) .. string.char((npz:byte(201) + 1) % 256) .. npz:sub(202)
  lu.assertFalse((pcall(pio.load, { text = damaged })))
end

TestCsv = {}

local function csv(text, options)
  return pio.read_csv({ text = text }, options)
end

function TestCsv:test_types_are_inferred()
  local t = csv("id,x,ok,name,none\n1,0.5,true,a,\n2,,False,NA,NA\n-3,1e3,TRUE,\"b\",nan\n")
  lu.assertEquals(t.names, { "id", "x", "ok", "name", "none" })
  lu.assertEquals(t.rows, 3)
  lu.assertEquals({ t.id.dtype, t.x.dtype, t.ok.dtype, t.none.dtype }, { "int64", "float64", "bool", "float64" })
  lu.assertEquals(t.id:totable(), { 1, 2, -3 })
  lu.assertTrue(t.x:equal(array.from { 0.5, 0 / 0, 1000 }, { equal_nan = true }))
  lu.assertEquals(t.ok:totable(), { true, false, true })
  lu.assertEquals(t.name, { "a", pio.null, "b" })
  lu.assertTrue(t[1]:equal(t.columns.id))
  lu.assertStrContains(tostring(t), "table of 3 rows and 5 columns\n  id: int64")
  fails("this table has no column 'y'; there are: 'id', 'x', 'ok', 'name', 'none'", function() return t.y end)
  lu.assertEquals(csv("a\n1\n9223372036854775808\n").a:totable(), { 1, 2 ^ 63 })
  lu.assertEquals(csv("a\n1\nx\n").a, { "1", "x" })
  lu.assertEquals(csv("a,b\ntrue,1\n,1\n").a, { "true", pio.null })
  lu.assertEquals(csv("a,b\ntrue,1\n1,1\n").a, { "true", "1" })
  lu.assertEquals(csv("a\n 7 \n+8\n").a:totable(), { 7, 8 })
  lu.assertEquals(csv("a\ninf\n-Infinity\n").a:totable(), { math.huge, -math.huge })
end

-- A column whose cells change kind far behind the first wave of 4 MiB: int to float in place, number to text by a second
-- pass, and what stays.
function TestCsv:test_types_that_change_late()
  local lines = { "a,b,c,d\n" }
  local n = 400000
  for i = 1, n do
    lines[#lines + 1] = i .. "," .. (i == n - 5 and "2.5" or i) .. "," .. (i == n - 3 and "late" or i) .. "," ..
      (i == n and "" or "true") .. "\n"
  end
  local text = table.concat(lines)
  lu.assertTrue(#text > 9e6)
  for _, threads in ipairs { 1, 2 } do
    local before = pg.threads()
    pg.threads(threads)
    local t = csv(text)
    pg.threads(before)
    lu.assertEquals(t.rows, n)
    lu.assertEquals({ t.a.dtype, t.b.dtype, type(t.c), type(t.d) }, { "int64", "float64", "table", "table" })
    lu.assertEquals(t.a:sum(), n * (n + 1) / 2)
    lu.assertEquals(t.b:sum(), n * (n + 1) / 2 - (n - 5) + 2.5)
    lu.assertEquals({ t.c[1], t.c[n - 3], t.c[n], #t.c }, { "1", "late", tostring(n), n })
    lu.assertEquals({ t.d[1], t.d[n] }, { "true", pio.null })
    fails("the text: line 399998, column 3 ('c'): 'late' is not of dtype float64", csv, text, { dtype = { c = "float64" } })
  end
end

function TestCsv:test_quotes_and_lines()
  lu.assertEquals(csv('a,b\n"x"\ry,"z"\r\n').a, { "x\ry" })
  local t = csv('\239\187\191a,"b ""c"""\r\n"x, y","line\nbreak"\r\n\r\n  \n"",z""z\r\n"q"tail,"""q"')
  lu.assertEquals(t.names, { "a", 'b "c"' })
  lu.assertEquals(t[1], { "x, y", pio.null, "qtail" })
  lu.assertEquals(t[2], { "line\nbreak", 'z""z', '"q' })
  lu.assertEquals(csv('a\n5" pipe\n').a, { '5" pipe' })
  lu.assertEquals(csv('a\n"5\n', { quote = false }).a, { '"5' })
  lu.assertEquals(csv("a,b\n'x,y',1\n", { quote = "'" }).a, { "x,y" })
  -- Quoted line breaks where blocks are cut, in rows of every length.
  local lines, rows = { "i,text,j\n" }, 60000
  for i = 1, rows do
    lines[#lines + 1] = i .. ',"' .. ("a,\n"):rep(i % 23) .. '""",' .. -i .. "\n"
  end
  local big = csv(table.concat(lines))
  lu.assertEquals({ big.rows, big.i:sum(), big.j:sum() }, { rows, rows * (rows + 1) / 2, -rows * (rows + 1) / 2 })
  for i = 1, rows do
    if big.text[i] ~= ("a,\n"):rep(i % 23) .. '"' then
      lu.fail("row " .. i .. " is " .. big.text[i])
    end
  end
end

function TestCsv:test_options()
  local t = csv("# head\nskip\nx;y;z\n1,5;a # note\n\n2,25; b;-\n", {
    skip_rows = 2, delimiter = ";", decimal = ",", comment = "#", trim = true, fill = true, missing = { "-" },
  })
  lu.assertEquals(t.x:totable(), { 1.5, 2.25 })
  lu.assertEquals(t.y, { "a", "b" })
  lu.assertEquals(csv("1,2\n3,4\n", { header = false }).names, { "column1", "column2" })
  lu.assertEquals(csv("1,2\n3,4\n", { header = false, names = { "a", "b" } }).b:totable(), { 2, 4 })
  lu.assertEquals(csv("x,y\n3,4\n", { names = { "a", "b" } }).b:totable(), { 4 })
  lu.assertEquals(csv("a,b,a,,a\n1,2,3,4,5\n").names, { "a", "b", "a.1", "column4", "a.2" })
  t = csv("a,b,c\n1,2,x\n3,4,y\n", { columns = { "c", 1 } })
  lu.assertEquals({ t.names, t.c, t.a:totable() }, { { "c", "a" }, { "x", "y" }, { 1, 3 } })
  t = csv("a,b\n1,2\n3,4\nrubbish\n", { max_rows = 2, dtype = { a = "string", b = "uint8" } })
  lu.assertEquals({ t.a, t.b.dtype, t.rows }, { { "1", "3" }, "uint8", 2 })
  lu.assertEquals(csv("a\n1.1\n", { dtype = "float32" }).a.dtype, "float32")
  lu.assertEquals(csv("a,b\n-999,1\n2,-999\n", { missing = { "-999" } }).a:astype("float64")[2], 2)
  lu.assertEquals(csv("a b   c\n 1 2\t3  \n", { delimiter = "whitespace" }).c:totable(), { 3 })
end

function TestCsv:test_empty_files()
  for _, text in ipairs { "", "\n\n", "# only\n" } do
    local t = csv(text, { comment = "#" })
    lu.assertEquals({ t.rows, #t.names }, { 0, 0 })
  end
  local t = csv("a,b")
  lu.assertEquals({ t.rows, t.names, t.a.size, t.a.dtype }, { 0, { "a", "b" }, 0, "float64" })
  lu.assertEquals(pio.read_matrix({ text = "" }).shape, { 0, 0 })
end

function TestCsv:test_matrices()
  lu.assertEquals(pio.read_matrix({ text = "1,2\n3,4\n" }):totable(), { { 1, 2 }, { 3, 4 } })
  local m = pio.read_matrix({ text = "x y z\n1 2 3\n4 5 6\n" }, { header = true, delimiter = " ", columns = { "z", "x" },
    dtype = "int32" })
  lu.assertEquals({ m.dtype, m:totable() }, { "int32", { { 3, 1 }, { 6, 4 } } })
  lu.assertTrue(pio.read_matrix({ text = "1,NA\n" }):equal(array.from { { 1, 0 / 0 } }, { equal_nan = true }))
  fails("an array holds no strings", pio.read_matrix, { text = "1" }, { dtype = "string" })
  fails("line 1, column 2: 'x' is not of dtype float64", pio.read_matrix, { text = "1,x" })
end

function TestCsv:test_errors_name_the_place()
  fails("read_csv: the text: line 3: this record has 1 of the 2 cells", csv, "a,b\n1,2\n3\n")
  fails("line 4: this record has more cells than the 2 of the first", csv, "a,b\n\n1,2\n3,4,5\n")
  fails("line 2: a quoted cell begins here and has no closing quote", csv, 'a,b\n1,"2\n3,4\n')
  fails("line 2, column 1 ('a'): '300' is not of dtype uint8; expected: an integer from 0 to 255", csv, "a\n300\n",
    { dtype = "uint8" })
  fails("it is missing, which int32 cannot hold", csv, "a,b\n1,2\n,2\n", { dtype = "int32" })
  fails("text in UTF-16", csv, "\255\254a\0")
  fails("delimiter must be one character (a byte), got the string \"ab\"", csv, "a", { delimiter = "ab" })
  fails("delimiter and comment must be different characters", csv, "a", { delimiter = "#", comment = "#" })
  fails("columns: there is no column 'c'; there are: 'a', 'b'", csv, "a,b\n", { columns = { "c" } })
  fails("names has 1 entries, and the file 2 columns", csv, "a,b\n", { names = { "a" } })
  fails("unknown option 'sep'", csv, "a", { sep = "," })
  fails("max_rows must be an integer, 0 or more, got -1", csv, "a", { max_rows = -1 })
  fails("read_csv: cannot open 'none.csv'", pio.read_csv, "none.csv")
end

-- Several waves: cuts fall into quoted lines, a column turns from integers to floats, another to strings.
function TestCsv:test_large_files_on_any_number_of_threads()
  local lines = { "i,x,late,name" }
  for r = 1, 60000 do
    local name = r % 7 == 0 and '"two\n""lines"", r' .. r .. '"' or "name" .. r % 1000
    lines[r + 1] = ("%d,%.17g,%s,%s"):format(r, 1 / r - 0.3, r == 45000 and "text" or r == 100 and "0.5" or r, name)
  end
  local text = table.concat(lines, "\r\n")
  lu.assertTrue(#text > 2.2 * 2 ^ 20)
  local threads = pg.threads()
  local first
  for _, count in ipairs { 1, 2, 5, "slow" } do
    pg.threads(count == "slow" and 1 or count)
    local t = csv(text, { max_rows = count == "slow" and 1e9 or nil })
    first = first or t
    lu.assertEquals(t.rows, 60000)
    lu.assertTrue(t.i:equal(array.range(60000):astype "int64"))
    lu.assertTrue(t.x:equal(first.x))
    lu.assertEquals({ t.late[100], t.late[45000], t.late[60000] }, { "0.5", "text", "60000" })
    lu.assertEquals({ t.name[7], t.name[60000] }, { 'two\n"lines", r7', "name0" })
    for r = 1, 60000 do
      if t.name[r] ~= first.name[r] or t.late[r] ~= first.late[r] then
        lu.fail("row " .. r)
      end
    end
  end
  pg.threads(threads)
end

function TestCsv:test_records_larger_than_a_wave()
  local parts, sizes = { "n,t" }, { 3, 2600000, 10, 1100000, 4000000, 5, 2, 9000000, 7, 1048576, 1 }
  for i, size in ipairs(sizes) do
    parts[i + 1] = i .. ',"' .. ("x,\n"):rep(math.floor(size / 3)) .. '"'
  end
  local t = csv(table.concat(parts, "\n"))
  lu.assertEquals(t.rows, #sizes)
  for i, size in ipairs(sizes) do
    lu.assertEquals(t.n[i], i)
    lu.assertEquals(t.t[i] == pio.null and 0 or #t.t[i], 3 * math.floor(size / 3))
  end
end

-- What a learner gets wrong first.
function TestCsv:test_errors_say_what_to_do()
  fails("(looked in '", pio.read_csv, "no such file.csv")
  fails("for writing: Is a directory", pio.write_text, "/tmp", "x")
  fails("this is an npz (or other zip) file and no text; io.load reads it", pio.read_csv, data .. "stored.npz")
  fails("this is an npy file and no text; io.load reads it", pio.read_matrix, data .. "scalar.npy")
  fails("gunzip", csv, "\31\139\8\0\0\0")
  fails("is ',' what divides cells? {delimiter = ...} says otherwise", csv, "a;b\n1,5;2\n")
  fails("is ',' what divides cells?", pio.read_matrix, { text = "1 2\n3 4\n" })
  fails("where the first line names the columns: {header = true}", pio.read_matrix, { text = "a,b\n3,4\n" })
  fails("array.from makes an array of a list of rows", pio.to_csv, { { 1, 2 }, { 3, 4 } })
  lu.assertEquals(tostring(csv("")), "table of 0 rows and 0 columns")
end

function TestCsv:test_what_is_written_reads_the_same()
  local rng = pg.random.generator(7)
  local n = 2000
  local bits = rng:uniform(0, 1, { shape = n })
  for i = 1, n do -- doubles of every size
    bits[i] = (bits[i] - 0.5) * 10 ^ rng:integers(-300, 300)
  end
  bits[1], bits[2], bits[3], bits[4] = 0.1, 5e-324, 1.7976931348623157e308, 123456789012345680
  bits[5] = 0 / 0
  local names = {}
  for i = 1, n do
    names[i] = i % 7 == 0 and pio.null or i % 5 == 0 and 'a "quoted", cell\n' .. i or "n" .. i
  end
  local whole = bits:copy()
  for i = 1, n do
    whole[i] = i
  end
  local flags = bits:gt(0)
  with_file(function(path)
    pio.write_csv(path, { x = bits, i = whole:astype("int64"), name = names, whole = whole, flag = flags })
    local t = pio.read_csv(path)
    lu.assertEquals(t.names, { "flag", "i", "name", "whole", "x" })
    lu.assertEquals({ t.i.dtype, t.whole.dtype, t.flag.dtype }, { "int64", "float64", "bool" })
    lu.assertTrue(t.x:equal(bits, { equal_nan = true }))
    lu.assertTrue(t.whole:equal(whole))
    lu.assertTrue(t.flag:equal(flags))
    lu.assertEquals(t.name, names)
    pio.write_csv(path, t)
    lu.assertEquals(bytes_of(path), pio.to_csv(t))
    pio.write_csv(path, bits:reshape(n / 4, 4), { append = false, delimiter = "\t" })
    lu.assertTrue(pio.read_matrix(path, { delimiter = "\t" }):equal(bits:reshape(n / 4, 4), { equal_nan = true }))
    pio.write_csv(path, array.range(2), { names = { "v" } })
    pio.write_csv(path, array.range(2) + 2, { append = true })
    lu.assertEquals(pio.read_csv(path).v:totable(), { 1, 2, 3, 4 })
  end)
  lu.assertEquals(pio.to_csv({ a = { 1, 2.5, true, "x;\"y", pio.null } }, { delimiter = ";", missing = "NA" }),
    'a\n1\n2.5\nTrue\n"x;""y"\nNA\n')
  lu.assertEquals(pio.to_csv({ a = { pio.null } }), 'a\n""\n')
  fails("column 'b' has 2 rows, and column 'a' 1", pio.to_csv, { a = { 1 }, b = { 1, 2 } })
  fails("row 2 of column 'a' is a table", pio.to_csv, { a = { 1, {} } })
  fails("1 or 2 dimensions", pio.to_csv, array.zeros(1, 1, 1))
end

-- Regular blocks are read another way than others, and than all where max_rows is given: both must agree in every cell,
-- and numbers with Lua's own reading of them.
function TestCsv:test_both_parsers_agree()
  local state = 12345
  local function random(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
  local function digits(n)
    local t = {}
    for i = 1, n do
      t[i] = random(10) - 1
    end
    return table.concat(t)
  end
  local sign = { "", "", "-", "-", "+" }
  local cells = {
    function() return sign[random(5)] .. digits(random(22)) end,
    function() return sign[random(4)] .. digits(random(4)) .. "." .. digits(random(4)) end,
    function() return sign[random(4)] .. digits(random(3)) .. "." .. digits(random(28)) end,
    function() return sign[random(4)] .. "0." .. ("0"):rep(random(12)) .. digits(random(18)) end,
    function() return digits(random(2)) .. "." .. digits(random(19)) .. "e" .. sign[random(5)] .. digits(random(3)) end,
    function() return digits(1) .. "." .. digits(16) .. "E-" .. digits(random(2)) end,
    function() return string.format("%.17g", (random(1e9) / 7) ^ (random(60) - 30)) end,
    function() return ({ "", "NA", "nan", "-inf", ".", "-", "1.", ".5", "-.5", "1..2", "1e", "e5", "0x10", " 1", "1 ", "--1",
      "1-", "9007199254740993", "18446744073709551615", "9223372036854775807", "-9223372036854775808", "1e400",
      "1e-400", "4.9e-324", "2.2250738585072011e-308", "true", "False" })[random(27)] end,
    function() return ({ "x", "two words", '"a,b"', '"a""b"', '"line\nbreak"', '""', '"x"y', 'a"b', "\r", '"1.5"',
      '"x"\ry' })[random(11)] end,
    function() return sign[random(4)] .. digits(random(18)) end,
  }
  local function same(a, b)
    return a == b or (a ~= a and b ~= b)
  end
  local agreed = 0
  for round = 1, 400 do
    local width = random(5)
    local kinds, ends = {}, random(4) == 1 and "\r\n" or "\n"
    for c = 1, width do
      kinds[c] = random(3) == 1 and random(#cells) or ({ 1, 2, 3, 7, 10 })[random(5)]
    end
    local lines = {}
    for r = 1, random(60) do
      local line = {}
      for c = 1, width do
        line[c] = cells[random(40) == 1 and random(#cells) or kinds[c]]()
      end
      lines[r] = table.concat(line, ",")
      if random(500) == 1 then
        lines[r] = ({ "", "  ", "1,2,3,4,5,6,7", "1" })[random(4)]
      end
    end
    local text = table.concat(lines, ends) .. (random(2) == 1 and ends or "")
    local options = { header = false, trim = random(4) == 1, fill = random(4) == 1, dtype = ({ nil, "float32" })[random(6)] }
    local results = {}
    for _, most in ipairs { false, 1e9 } do
      options.max_rows = most or nil
      results[#results + 1] = { pcall(csv, text, options) } -- one line, which errors name
    end
    local ok, t, u = results[1][1], results[1][2], results[2][2]
    lu.assertEquals(ok, results[2][1], text)
    if not ok then
      lu.assertEquals(t, u)
    else
      agreed = agreed + 1
      lu.assertEquals(t.names, u.names)
      lu.assertEquals(t.rows, u.rows)
      for c = 1, #t.names do
        local x, y = t[c], u[c]
        lu.assertEquals(array.is(x), array.is(y))
        if array.is(x) then
          lu.assertEquals(x.dtype, y.dtype)
        end
        local whole = array.is(x) and x.dtype == "int64"
        for r = 1, t.rows do
          local v, w
          if whole then -- perhaps beyond 2^53
            v, w = x:int64(r), y:int64(r)
          else
            v, w = x[r], y[r]
          end
          if not same(v, w) then
            lu.fail(string.format("row %d, column %d: %s and %s in\n%s", r, c, tostring(v), tostring(w), text))
          end
        end
      end
    end
  end
  lu.assertTrue(agreed > 200)
  -- Numbers against strtod's.
  local texts, values = {}, {}
  for i = 1, 20000 do
    texts[i] = cells[({ 1, 2, 3, 4, 5, 6, 7 })[random(7)]]()
    values[i] = tonumber(texts[i])
  end
  local x = csv("x,y\n" .. table.concat(texts, ",\n") .. ",\n", { dtype = "float64" }).x
  for i = 1, #texts do
    if x[i] ~= values[i] then
      lu.fail(string.format("%s is read as %.17g", texts[i], x[i]))
    end
  end
end

-- Texts of every length around those that are kept by value, repeated near and far, plain, quoted and with quotes.
function TestCsv:test_texts_come_back()
  local state = 99
  local function random(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
  local letters = { "a", "b", "é", " ", '"', ",", "\n", "\r\n", "\0", "x" }
  local words = {}
  for i = 1, 3000 do
    local parts = {}
    for k = 1, random(i % 50 + 1) - 1 do
      parts[k] = letters[i % 3 == 0 and random(#letters) or random(4)]
    end
    words[i] = table.concat(parts)
  end
  words[1], words[2], words[3], words[4] = "", "NA", ('"'):rep(40), "nan"
  local lines, expected = { "few,many,last" }, { {}, {}, {} }
  for r = 1, 20000 do
    local line = {}
    for c = 1, 3 do
      local word = words[c == 1 and random(7) or random(#words)]
      local must = word:find '[",\r\n]'
      line[c] = (must or r % 3 == 0) and '"' .. word:gsub('"', '""') .. '"' or word
      expected[c][r] = (word == "" or word == "NA" or word == "nan") and pio.null or word
    end
    lines[r + 1] = table.concat(line, ",")
  end
  for _, ends in ipairs { "\n", "\r\n" } do
    local t = csv(table.concat(lines, ends), { dtype = "string" })
    lu.assertEquals(t.rows, 20000)
    for c = 1, 3 do
      for r = 1, t.rows do
        if t[c][r] ~= expected[c][r] then
          lu.fail(string.format("row %d, column %d: %q, not %q", r, c, tostring(t[c][r]), tostring(expected[c][r])))
        end
      end
    end
  end
end

TestJson = {}

function TestJson:test_both_ways()
  local text = '{"a":[1,2.5,-3e+100,[null,true,false]],"b":{"c":"x\\"\\\\\\n\\u00e9é"},"e":{},"l":[],"z":0.1}'
  local value = pio.parse_json(text)
  lu.assertEquals(value.a[4], { pio.null, true, false })
  lu.assertEquals(value.b.c, 'x"\\\n\195\169\195\169')
  lu.assertEquals(value.a[3], -3e100)
  lu.assertEquals(pio.to_json(value), '{"a":[1,2.5,-3e+100,[null,true,false]],"b":{"c":"x\\"\\\\\\néé"},"e":{},"l":[],"z":0.1}')
  lu.assertEquals(pio.to_json({ 1, { a = 2 } }, { indent = 2 }), '[\n  1,\n  {\n    "a": 2\n  }\n]')
  lu.assertEquals(pio.to_json(array.from { { 1, 2 }, { 3, 4.5 } }), "[[1.0,2.0],[3.0,4.5]]")
  lu.assertEquals(pio.to_json { 100000, 2 ^ 53 - 1, -5, -0.0, 1e300, 0.1 }, "[100000,9007199254740991,-5,-0,1e+300,0.1]")
  lu.assertEquals(pio.to_json { [""] = '\1\t"\\/\127', b = { {}, pio.empty_object() }, c = pio.null },
    '{"":"\\u0001\\t\\"\\\\/\127","b":[[],{}],"c":null}')
  lu.assertEquals(pio.to_json { array.range(3, "int32"), array.from { true } }, "[[1,2,3],[true]]")
  with_file(function(path)
    pio.write_json(path, value)
    lu.assertEquals(pio.to_json(pio.read_json(path)), pio.to_json(value))
  end)
end

function TestJson:test_lists_of_numbers_as_arrays()
  local value = pio.parse_json('{"v":[1,2,3],"m":[[1,2],[3,4],[5,6]],"r":[[1,2],[3]],"t":[1,"a"],"e":[]}', { arrays = true })
  lu.assertEquals(value.v:totable(), { 1, 2, 3 })
  lu.assertEquals({ value.m.shape, value.m:totable() }, { { 3, 2 }, { { 1, 2 }, { 3, 4 }, { 5, 6 } } })
  lu.assertEquals({ value.r[1]:totable(), value.r[2]:totable() }, { { 1, 2 }, { 3 } })
  lu.assertEquals({ value.t, value.e }, { { 1, "a" }, {} })
  lu.assertEquals(pio.parse_json("[[[[1,2]],[[3,4]]]]", { arrays = true }).shape, { 1, 2, 1, 2 })
end

function TestJson:test_errors()
  fails("parse_json: the text: line 2, column 3: syntax error while parsing value - unexpected '}'", pio.parse_json,
    '{"a": [1,\n2,}')
  fails("line 1, column 1: syntax error", pio.parse_json, "")
  fails("line 3, column 1", pio.parse_json, "[1,\n2\n")
  fails("number overflow", pio.parse_json, "[1e999]")
  fails("UTF-8", pio.parse_json, '"\255"')
  fails("more than 512 deep", pio.parse_json, ("["):rep(1000))
  fails("depth must be an integer from 1 to 2000", pio.parse_json, "[]", { depth = 3000 })
  local deep = ("["):rep(2000) .. ("]"):rep(2000)
  lu.assertEquals(pio.to_json(pio.parse_json(deep, { depth = 2000 }), { depth = 2000 }), deep)
  fails("more than 3 deep", pio.parse_json, "[[[[1]]]]", { depth = 3 })
  fails("a string is expected, got nil", pio.parse_json)
  local loop = {}
  loop.x = loop
  fails("does a table contain itself?", pio.to_json, loop)
  fails("to_json: the value.a[2] is inf, which JSON does not have", pio.to_json, { a = { 1, math.huge } })
  lu.assertEquals(pio.to_json({ 0 / 0, array.from { 1 / 0 } }, { nan = "null" }), "[null,[null]]")
  fails("the value has both list entries and the key 'x'", pio.to_json, { 1, x = 2 })
  fails("has the key 5", pio.to_json, { [5] = 1 })
  fails("the value[1] is a function", pio.to_json, { print })
  fails("the value.a.b[3] is a function", pio.to_json, { a = { b = { 1, 2, print } } })
  fails("the value.a[1]: NaN cannot be written", pio.to_json, { a = { array.from { 0 / 0 } } })
  fails("not supported: to_json: the value.x: complex", pio.to_json, { x = array.zeros(2, "complex128") })
  fails("released", pio.to_json, { (function() local a = array.zeros(3) a:release() return a end)() })
  fails("x.x.x.x.x.x.x.x... lies more than 512", pio.to_json, loop)
  fails("the value.a\255: the string", pio.to_json, { ["a\255"] = 1 })
  fails("is not UTF-8", pio.to_json, { "a\255" })
end

TestText = {}

function TestText:test_lines_and_blocks()
  with_file(function(path)
    local lines = {}
    for i = 1, 30000 do
      lines[i] = ("x"):rep(i % 50) .. i
    end
    local text = table.concat(lines, "\n")
    pio.write_text(path, text)
    lu.assertEquals(pio.read_text(path), text)
    local read = {}
    for line in pio.lines(path) do
      read[#read + 1] = line
    end
    lu.assertEquals(#read, 30000)
    lu.assertTrue(table.concat(read, "\n") == text)
    local sizes, all = {}, {}
    for block in pio.lines(path, { block = 8000 }) do
      sizes[#sizes + 1] = #block
      all[#all + 1] = table.concat(block, "\n")
    end
    lu.assertEquals(sizes, { 8000, 8000, 8000, 6000 })
    lu.assertTrue(table.concat(all, "\n") == text)
    local pieces = {}
    for piece in pio.blocks(path, 100000) do
      pieces[#pieces + 1] = piece
    end
    lu.assertEquals(#pieces, math.ceil(#text / 100000))
    lu.assertTrue(table.concat(pieces) == text)
    put(path, "a\r\n\nb\n")
    read = {}
    for line in pio.lines(path) do
      read[#read + 1] = line
    end
    lu.assertEquals(read, { "a", "", "b" })
    put(path, "short\n" .. ("y"):rep(100))
    fails("line 2 is longer than 50 bytes", function()
      for _ in pio.lines(path, { longest = 50 }) do
      end
    end)
  end)
  fails("lines: cannot open '/nowhere'", pio.lines, "/nowhere")
  fails("from 1 to 2^30, got 0", pio.blocks, "/tmp/x", 0)
end

function TestText:test_writing()
  with_file(function(path)
    pio.write_text(path, { "a", "b\n" })
    pio.write_text(path, "c", { append = true })
    lu.assertEquals(bytes_of(path), "ab\nc")
    local w = pio.writer(path)
    w:write("x", 1, 2.5):write("\n")
    w:close()
    w:close()
    lu.assertEquals(bytes_of(path), "x12.5\n")
    fails("this writer is closed", w.write, w, "x")
    fails("argument 1 must be a string or a number, got nil", w.write, w, nil)
  end)
end

os.exit(lu.LuaUnit.run(), true)
