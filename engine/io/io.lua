-- What scripts see of files: npy and npz, CSV, JSON, text. Arguments are checked and errors worded here; C++ reads and
-- writes (io_abi.h). Its messages begin with the file's name; the function's name is put in front.
local core = ...
local C, ffi = core.C, core.ffi
local fail = core.fail
local array = core.require("array")
local kit = array._kit
local check_options, kind_of, is_integer, need_array, array_t = kit.check_options, kit.kind_of, kit.is_integer,
  kit.need_array, kit.array_t
local type, pairs, ipairs, next, tostring, tonumber, setmetatable, getmetatable = type, pairs, ipairs, next, tostring,
  tonumber, setmetatable, getmetatable
local format, concat, sort, find, byte, rep, gsub = string.format, table.concat, table.sort, string.find, string.byte,
  string.rep, string.gsub
local new_table = require "table.new"
local ffi_string, cast = ffi.string, ffi.cast

local io = {}

-- ------------------------------------------------------------------------------------------------- calls into C++ ----
local collect = ffi.new("int32_t[1]")
local ERROR_UNSUPPORTED, ERROR_INTERNAL, ERROR_MEMORY = 2, 3, 4

local function collect_if_due()
  if collect[0] ~= 0 then
    collect[0] = 0
    core.collect()
  end
end

-- Calls f(...), which returns a status; collects garbage when the memory limit was reached, and after large allocations.
local function run(name, f, ...)
  local status = f(...)
  if status == ERROR_MEMORY then
    core.collect()
    status = f(...)
  end
  if status ~= 0 then
    local message = ffi_string(C.pg_last_message())
    if status == ERROR_UNSUPPORTED then
      core.unsupported("%s: %s", name, message)
    elseif status == ERROR_INTERNAL then
      core.internal("%s: %s", name, message)
    end
    fail("%s: %s", name, message)
  end
  collect_if_due()
end

-- An array of bytes as a string; its memory is given back at once.
local function take_text(bytes)
  local text = ffi_string(bytes._data, bytes._size)
  C.pg_array_release(bytes)
  return text
end

local function check_path(name, path)
  if type(path) ~= "string" or path == "" then
    fail("%s: a path is expected, got %s", name, path == "" and "an empty string" or kind_of(path))
  end
  return path
end

local only_text = { text = true }
local pinned -- the text that C++ reads from, so that it stays while it does

-- A path, or {text = ...}: string, length, 1 if it is the text itself.
local function source(name, from)
  if type(from) == "table" then
    check_options(name, from, only_text)
    if type(from.text) ~= "string" then
      fail("%s: {text = ...} takes a string, got %s", name, kind_of(from.text))
    end
    pinned = from.text
    return from.text, #from.text, 1
  end
  if type(from) ~= "string" or from == "" then
    fail("%s: a path or {text = ...} is expected, got %s", name, from == "" and "an empty string" or kind_of(from))
  end
  return from, #from, 0
end

local function options_of(name, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    fail("%s: options are a table, got %s", name, kind_of(options))
  end
  check_options(name, options, known)
  return options
end

local function flag(name, options, key, default)
  local value = options[key]
  if value == nil then
    return default
  elseif type(value) ~= "boolean" then
    fail("%s: %s must be true or false, got %s", name, key, kind_of(value))
  end
  return value
end

local function count_option(name, options, key, default, least)
  local value = options[key]
  if value == nil then
    return default
  elseif not is_integer(value) or value < least or value > 2 ^ 53 then
    fail("%s: %s must be an integer, %d or more, got %s", name, key, least, kind_of(value))
  end
  return value
end

--- io.null: a missing value in text columns and JSON's null. It counts as true; compare with `== io.null`.
io.null = setmetatable({}, {
  __tostring = function() return "null" end,
  __newindex = function() fail("io.null has no fields") end,
  __metatable = false,
})
local null = io.null

-- -------------------------------------------------------------------------------------------------- npy and npz -----
local text_out, size_out, kind_out = ffi.new("const char *[1]"), ffi.new("int64_t[1]"), ffi.new("int32_t[1]")
local npz_out, npz_writer_out = ffi.new("pg_io_npz *[1]"), ffi.new("pg_io_npz_writer *[1]")
local load_options = { mmap = true, names = true }

local function load_npz(options, wanted)
  run("load", C.pg_io_npz_open, npz_out, source("load", wanted))
  local npz = ffi.gc(npz_out[0], C.pg_io_npz_close)
  local only
  if options.names ~= nil then
    if type(options.names) ~= "table" then
      fail("load: names is a list of names, got %s", kind_of(options.names))
    end
    only = {}
    for _, name in ipairs(options.names) do
      only[name] = true
    end
  end
  local arrays, found = {}, {}
  for i = 0, tonumber(C.pg_io_npz_count(npz)) - 1 do
    local text = C.pg_io_npz_name(npz, i, size_out)
    local name = ffi_string(text, size_out[0]):match("^(.*)%.npy$")
    if name then
      found[#found + 1] = name
      if not only or only[name] then
        local a = array_t()
        run("load", C.pg_io_npz_read, a, collect, npz, i)
        arrays[name] = a
      end
    end
  end
  C.pg_io_npz_close(ffi.gc(npz, nil))
  for name in pairs(only or {}) do
    if not arrays[name] then
      sort(found)
      fail("load: there is no array %s in this file; there are: %s", kind_of(name), concat(found, ", "))
    end
  end
  return arrays
end

--- io.load(path [, options]): the array of an npy file, or the arrays of an npz file as a table by name. Options:
--- mmap = true maps an npy file read-only instead of reading it; names = {...} reads only these arrays of an npz file.
function io.load(path, options)
  options = options_of("load", options, load_options)
  local map = flag("load", options, "mmap", false)
  local text, size, is_text = source("load", path)
  run("load", C.pg_io_kind, text, size, is_text, kind_out)
  local shown = is_text == 1 and "the text" or path
  if kind_out[0] == 0 then
    fail("load: %s: neither an npy nor an npz file by its first bytes; io.read_csv, io.read_json and io.read_text read " ..
      "other files", shown)
  elseif kind_out[0] == 2 then
    if map then
      core.unsupported("load: %s: mapping an npz file; save the array as npy", shown)
    end
    local arrays = load_npz(options, path)
    pinned = nil
    return arrays
  elseif options.names ~= nil then
    fail("load: %s: an npy file holds one array, without a name", shown)
  end
  local a = array_t()
  run("load", C.pg_io_npy_load, a, collect, text, size, is_text, map and 1 or 0)
  pinned = nil
  return a
end

--- io.save(path, a): writes an array as an npy file; column-major arrays in that order. The path is taken as it is.
function io.save(path, a)
  check_path("save", path)
  local x = need_array("save", a)
  kit.check_alive(x)
  run("save", C.pg_io_npy_save, x, path, #path)
end

local function save_npz(name, path, arrays, compress)
  check_path(name, path)
  if array.is(arrays) then
    fail("%s: a table of arrays is expected, as in {a = a, b = b}; io.save writes a single array", name)
  elseif type(arrays) ~= "table" then
    fail("%s: a table of arrays by name is expected, got %s", name, kind_of(arrays))
  end
  local names, by_name = {}, {}
  for key, value in pairs(arrays) do
    -- A list gets NumPy's names.
    local as = type(key) == "string" and key or is_integer(key) and key >= 1 and "arr_" .. (key - 1)
    if not as then
      fail("%s: the names of arrays are strings, got %s", name, kind_of(key))
    elseif by_name[as] then
      fail("%s: two arrays would be named '%s'", name, as)
    end
    by_name[as] = need_array(name .. ": " .. as, value)
    kit.check_alive(by_name[as])
    names[#names + 1] = as
  end
  sort(names)
  run(name, C.pg_io_npz_create, npz_writer_out, path, #path, compress)
  local npz = ffi.gc(npz_writer_out[0], C.pg_io_npz_discard)
  for _, as in ipairs(names) do
    run(name, C.pg_io_npz_add, npz, as, #as, by_name[as])
  end
  run(name, C.pg_io_npz_finish, npz)
  C.pg_io_npz_discard(ffi.gc(npz, nil))
end

--- io.savez(path, {a = a, b = b}): writes arrays as an npz file; those of a list are named arr_0, arr_1, ... as NumPy's.
function io.savez(path, arrays)
  save_npz("savez", path, arrays, 0)
end
--- io.savez_compressed(path, arrays): likewise, deflated.
function io.savez_compressed(path, arrays)
  save_npz("savez_compressed", path, arrays, 1)
end

-- --------------------------------------------------------------------------------------------------- tables: CSV -----
local csv_out, csv_options_t = ffi.new("pg_io_csv *[1]"), ffi.typeof("pg_io_csv_options")
local int32_list, int64_list = ffi.typeof("int32_t[?]"), ffi.typeof("int64_t[?]")
local TEXT, INFER = 100, -1

-- pandas' list.
local usual_missing = { "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
  "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null" }

local csv_options = { delimiter = true, quote = true, comment = true, decimal = true, header = true, names = true,
  columns = true, dtype = true, missing = true, skip_rows = true, max_rows = true, trim = true, fill = true }

-- One byte, or `none` where the option is false.
local function byte_option(name, options, key, default, none)
  local value = options[key]
  if value == nil then
    return default
  elseif value == false and none then
    return none
  elseif type(value) ~= "string" or #value ~= 1 or value == "\n" or value == "\r" or value == "\0" then
    fail("%s: %s must be one character (a byte)%s, got %s", name, key, none and ", or false for none" or "",
      kind_of(value))
  end
  return byte(value)
end

local function delimiter_option(name, options)
  if options.delimiter == "whitespace" then
    return -2
  end
  return byte_option(name, options, "delimiter", 44)
end

local function distinct(name, given)
  for i = 1, #given, 2 do
    for j = 1, i - 2, 2 do
      if given[i + 1] >= 0 and given[i + 1] == given[j + 1] then
        fail("%s: %s and %s must be different characters, both are %q", name, given[j], given[i],
          string.char(given[i + 1]))
      end
    end
  end
end

local function open_csv(name, from, options, header)
  local o = csv_options_t()
  o.delimiter = delimiter_option(name, options)
  o.quote = byte_option(name, options, "quote", 34, -1)
  o.comment = byte_option(name, options, "comment", -1, -1)
  o.decimal = byte_option(name, options, "decimal", 46)
  distinct(name, { "delimiter", o.delimiter, "quote", o.quote, "comment", o.comment, "decimal", o.decimal })
  o.header = flag(name, options, "header", header) and 1 or 0
  o.trim = flag(name, options, "trim", false) and 1 or 0
  o.fill = flag(name, options, "fill", false) and 1 or 0
  o.skip_rows = count_option(name, options, "skip_rows", 0, 0)
  o.max_rows = count_option(name, options, "max_rows", -1, 0)
  local missing = options.missing
  if missing == nil then
    missing = usual_missing
  elseif type(missing) == "string" then
    missing = { missing }
  elseif type(missing) ~= "table" then
    fail("%s: missing is a list of spellings, as in {\"\", \"NA\"}, got %s", name, kind_of(missing))
  end
  local ends, total = int64_list(#missing), 0
  for i, spelling in ipairs(missing) do
    if type(spelling) ~= "string" then
      fail("%s: missing[%d] must be a string, got %s", name, i, kind_of(spelling))
    end
    total = total + #spelling
    ends[i - 1] = total
  end
  local spellings = concat(missing)
  o.missing, o.missing_ends, o.missing_count = spellings, ends, #missing
  local text, size, is_text = source(name, from)
  run(name, C.pg_io_csv_open, csv_out, text, size, is_text, o)
  return ffi.gc(csv_out[0], C.pg_io_csv_close), #spellings -- a use of it behind the call keeps the text
end

-- Names of all columns of the file: options.names, or the header's.
local function all_names(name, csv, options)
  local width = tonumber(C.pg_io_csv_width(csv))
  local names, at = {}, {}
  local given = options.names
  if given ~= nil and type(given) ~= "table" then
    fail("%s: names is a list of strings, got %s", name, kind_of(given))
  elseif given ~= nil and #given ~= width and width > 0 then
    fail("%s: names has %d entries, and the file %d columns", name, #given, width)
  end
  for i = 1, width do
    local as
    if given then
      as = given[i]
      if type(as) ~= "string" then
        fail("%s: names[%d] must be a string, got %s", name, i, kind_of(as))
      elseif at[as] then
        fail("%s: names[%d] is '%s', as names[%d] is", name, i, as, at[as])
      end
    else
      local text = C.pg_io_csv_name(csv, i - 1, size_out)
      as = ffi_string(text, size_out[0])
    end
    names[i], at[as] = as, at[as] or i
  end
  return names, at
end

local function shown_names(names)
  local shown = {}
  for i = 1, math.min(#names, 20) do
    shown[i] = format("'%s'", names[i])
  end
  return concat(shown, ", ") .. (#names > 20 and format(" and %d more", #names - 20) or "")
end

-- A column by name or number, as its number.
local function column_number(name, what, key, names, at)
  if type(key) == "string" then
    return at[key] or fail("%s: %s: there is no column '%s'; there are: %s", name, what, key, shown_names(names))
  elseif is_integer(key) and key >= 1 and key <= #names then
    return key
  end
  fail("%s: %s: a column is a name or a number from 1 to %d, got %s", name, what, #names, kind_of(key))
end

local function selected(name, options, names, at)
  local chosen = options.columns
  local numbers = {}
  if chosen == nil then
    for i = 1, #names do
      numbers[i] = i
    end
    return numbers
  elseif type(chosen) ~= "table" then
    fail("%s: columns is a list of names or numbers, got %s", name, kind_of(chosen))
  end
  local seen = {}
  for i, key in ipairs(chosen) do
    local number = column_number(name, "columns", key, names, at)
    if seen[number] then
      fail("%s: columns names '%s' twice", name, names[number])
    end
    seen[number] = true
    numbers[i] = number
  end
  return numbers
end

local function parse_type(name, dtype)
  if dtype == "string" then
    return TEXT
  end
  local number = type(dtype) == "string" and kit.dtypes[dtype]
  if not number then
    fail('%s: %s is not a dtype; legal are "string", "bool", the integers "int8" to "uint64", "float32" and "float64"', name,
      kind_of(dtype))
  elseif dtype == "complex64" or dtype == "complex128" then
    core.unsupported("%s: columns of complex numbers; read the real and the imaginary parts as columns of their own", name)
  end
  return number
end

local codes_out, texts_out = ffi.new("const int32_t *[1]"), ffi.new("int64_t[1]")
local ends_out, bytes_out = ffi.new("const int64_t *[1]"), ffi.new("const char *[1]")

-- A text column as a table: each text is made once, then handed to its rows.
local function text_column(csv, i, rows)
  C.pg_io_csv_texts(csv, i, codes_out, texts_out, ends_out, bytes_out)
  local codes, ends, bytes = codes_out[0], ends_out[0], bytes_out[0]
  local count = tonumber(texts_out[0])
  local texts, begin = new_table(count, 0), 0
  for k = 0, count - 1 do
    local stop = tonumber(ends[k])
    texts[k + 1] = ffi_string(bytes + begin, stop - begin)
    begin = stop
  end
  local column = new_table(rows, 0)
  for r = 0, rows - 1 do
    local code = codes[r]
    column[r + 1] = code >= 0 and texts[code + 1] or null
  end
  return column
end

local table_meta = {}

function table_meta.__index(t, key)
  local columns, names = rawget(t, "columns"), rawget(t, "names")
  local column = columns[key]
  if column == nil and type(key) == "number" then
    column = columns[names[key]]
  end
  if column == nil then
    fail("this table has no column %s; there are: %s", type(key) == "string" and format("'%s'", key) or kind_of(key),
      shown_names(names))
  end
  return column
end

function table_meta.__tostring(t)
  local shown = {}
  for i, name in ipairs(t.names) do
    local column = t.columns[name]
    shown[i] = format("  %s: %s", name, array.is(column) and column.dtype or "string")
  end
  return format("table of %d rows and %d columns%s", t.rows, #t.names, #shown > 0 and "\n" .. concat(shown, "\n") or "")
end

--- io.read_csv(path or {text = ...} [, options]): a table of columns. t.names lists their names in order, t.rows counts
--- the rows, t.columns[name] is a column, and so are t[name] (where the name is not one of these three) and t[number].
--- Columns are arrays, or Lua tables of strings; in these, missing cells are io.null, in float columns NaN.
--- Options: delimiter = "," (or "whitespace" for runs of spaces and tabs), quote = '"' (false: none), comment = false,
--- decimal = ".", header = true, names = {...} (with header = true they replace the file's), columns = {names or
--- numbers}, dtype = "float32" for all or {name = "string", ...}, missing = {spellings}, skip_rows = 0 (lines),
--- max_rows, trim = false (spaces around cells), fill = false (short records; else they are errors).
function io.read_csv(from, options)
  options = options_of("read_csv", options, csv_options)
  local csv = open_csv("read_csv", from, options, true)
  local names, at = all_names("read_csv", csv, options)
  local numbers = selected("read_csv", options, names, at)
  local types = {}
  if type(options.dtype) == "table" then
    for key, dtype in pairs(options.dtype) do
      types[column_number("read_csv", "dtype", key, names, at)] = parse_type("read_csv", dtype)
    end
  elseif options.dtype ~= nil then
    local dtype = parse_type("read_csv", options.dtype)
    for i = 1, #names do
      types[i] = dtype
    end
  end
  local count = #numbers
  local which, as = int32_list(count), int32_list(count)
  for i, number in ipairs(numbers) do
    which[i - 1], as[i - 1] = number - 1, types[number] or INFER
  end
  run("read_csv", C.pg_io_csv_read, csv, collect, count, which, as)
  local rows = tonumber(C.pg_io_csv_rows(csv))
  local result = { names = {}, columns = {}, rows = rows }
  local texts = {}
  for i, number in ipairs(numbers) do
    local a, name = array_t(), names[number]
    run("read_csv", C.pg_io_csv_column, csv, i - 1, a, kind_out)
    result.names[i], result.columns[name] = name, a
    if kind_out[0] == TEXT then
      texts[i] = name
    end
  end
  if next(texts) then
    -- Half a million strings cost 0.1 s to make, and the collector as much again, for walking over what it must keep.
    local running = rows > 1000 and collectgarbage("isrunning")
    if running then
      collectgarbage("stop")
    end
    local ok, message = pcall(function()
      for i, name in pairs(texts) do
        result.columns[name] = text_column(csv, i - 1, rows)
      end
    end)
    if running then
      collectgarbage("restart")
    end
    if not ok then
      error(message, 0)
    end
  end
  C.pg_io_csv_close(ffi.gc(csv, nil))
  pinned = nil
  return setmetatable(result, table_meta)
end

--- io.read_matrix(path or {text = ...} [, options]): all columns as one array of 2 dimensions, float64 unless dtype says
--- otherwise. Options as read_csv's, but header = false unless given.
function io.read_matrix(from, options)
  options = options_of("read_matrix", options, csv_options)
  local dtype = options.dtype == nil and kit.dtypes.float64 or parse_type("read_matrix", options.dtype)
  if dtype == TEXT then
    fail("read_matrix: an array holds no strings; use io.read_csv")
  end
  local csv = open_csv("read_matrix", from, options, false)
  local names, at = all_names("read_matrix", csv, options)
  local numbers = selected("read_matrix", options, names, at)
  local which = int32_list(#numbers)
  for i, number in ipairs(numbers) do
    which[i - 1] = number - 1
  end
  local a = array_t()
  if #numbers == 0 then
    a = array.empty({ 0, 0 }, kit.dtype_names[dtype])
  else
    run("read_matrix", C.pg_io_csv_matrix, a, collect, csv, #numbers, which, dtype)
  end
  C.pg_io_csv_close(ffi.gc(csv, nil))
  pinned = nil
  return a
end

local write_options = { delimiter = true, quote = true, header = true, names = true, missing = true, append = true }
local column_out_t, array_p = ffi.typeof("pg_io_csv_column_out[?]"), ffi.typeof("const pg_array *")
local number_text = ffi.new("char[32]")

local function number(value)
  return ffi_string(number_text, C.pg_io_number(value, number_text))
end

-- A Lua table as a text column: all texts in one string, and where each ends.
local function column_texts(name, key, column, rows)
  local parts, ends, at = new_table(rows, 0), int64_list(rows), 0
  for r = 1, rows do
    local value = column[r]
    local kind = type(value)
    if kind == "string" then
      parts[r] = value
    elseif kind == "number" then
      parts[r] = number(value)
    elseif kind == "boolean" then
      parts[r] = value and "True" or "False"
    elseif value == null then
      parts[r] = ""
    else
      fail("%s: row %d of column '%s' is %s; a cell is a string, a number, a boolean or io.null", name, r, key,
        kind_of(value))
    end
    at = at + #parts[r]
    ends[r - 1] = value == null and -1 - at or at
  end
  return concat(parts), ends
end

local function quoted(name, text, delimiter, quote)
  if type(text) ~= "string" then
    fail("%s: the names of columns are strings, got %s", name, kind_of(text))
  end
  if text == "" or find(text, "[\r\n]") or find(text, delimiter, 1, true) or find(text, quote, 1, true) then
    return quote .. gsub(text, "%" .. quote, "%0%0") .. quote
  end
  return text
end

local function write_csv(name, path, data, options)
  options = options_of(name, options, write_options)
  local delimiter = byte_option(name, options, "delimiter", 44)
  local quote = byte_option(name, options, "quote", 34)
  distinct(name, { "delimiter", delimiter, "quote", quote })
  local append = flag(name, options, "append", false)
  local missing = options.missing == nil and "" or options.missing
  if type(missing) ~= "string" then
    fail("%s: missing must be a string, got %s", name, kind_of(missing))
  end
  local names = options.names
  local matrix
  if array.is(data) then
    matrix = need_array(name, data)
    kit.check_alive(matrix)
    if matrix._ndim == 1 then
      matrix = matrix:reshape(tonumber(matrix._size), 1)
    elseif matrix._ndim ~= 2 then
      fail("%s: an array of 1 or 2 dimensions is expected, got one of %d", name, matrix._ndim)
    end
    if names and #names ~= tonumber(matrix._shape[1]) then
      fail("%s: names has %d entries, and the array %d columns", name, #names, tonumber(matrix._shape[1]))
    end
  elseif type(data) ~= "table" then
    fail("%s: an array or a table of columns is expected, got %s", name, kind_of(data))
  end
  local columns = data
  if not matrix then
    if getmetatable(data) == table_meta then
      names, columns = names or data.names, data.columns
    elseif not names then
      names = {}
      for key in pairs(data) do
        if type(key) ~= "string" then
          fail("%s: columns are given by name, as in {x = a, y = b}, got the key %s%s", name, kind_of(key),
            type(data[key]) == "table" and "; array.from makes an array of a list of rows" or "")
        end
        names[#names + 1] = key
      end
      sort(names)
    end
  end
  local separator, mark = string.char(delimiter), string.char(quote)
  local head = ""
  if flag(name, options, "header", names ~= nil and not append) then
    if not names then
      fail("%s: a header needs names = {...}", name)
    end
    local shown = {}
    for i, key in ipairs(names) do
      shown[i] = quoted(name, key, separator, mark)
    end
    head = concat(shown, separator) .. "\n"
  end
  local out = array_t()
  if matrix then
    run(name, C.pg_io_csv_write_matrix, out, collect, path, path and #path or 0, head, #head, matrix, delimiter, missing,
      #missing, append and 1 or 0)
  else
    local list, keep, rows = column_out_t(#names), {}, nil
    for i, key in ipairs(names) do
      local column = columns[key]
      local length
      if array.is(column) then
        column = need_array(name, column)
        kit.check_alive(column)
        if column._ndim ~= 1 then
          fail("%s: column '%s' must have 1 dimension, it has %d", name, key, column._ndim)
        end
        length = tonumber(column._size)
      elseif type(column) == "table" then
        length = #column
      else
        fail("%s: column '%s' must be an array or a table, got %s", name, tostring(key), kind_of(column))
      end
      rows = rows or length
      if length ~= rows then
        fail("%s: column '%s' has %d rows, and column '%s' %d", name, key, length, names[1], rows)
      end
      if array.is(column) then
        keep[#keep + 1] = column
        list[i - 1].values = cast(array_p, column)
      else
        local text, ends = column_texts(name, key, column, rows)
        keep[#keep + 1], keep[#keep + 2] = text, ends
        list[i - 1].bytes, list[i - 1].ends = text, ends
      end
    end
    run(name, C.pg_io_csv_write, out, collect, path, path and #path or 0, head, #head, #names, list, rows or 0, delimiter,
      quote, missing, #missing, append and 1 or 0)
    keep[1] = nil -- they had to live until here
  end
  if not path then
    return take_text(out)
  end
end

--- io.write_csv(path, data [, options]): data is an array of 1 or 2 dimensions, what read_csv gave, or a table of columns
--- by name (arrays of 1 dimension, or tables of strings, numbers, booleans and io.null), written in the order of names
--- or else of the alphabet. Numbers are written in the shortest form that reads as the same number; NaN as missing.
--- Options: delimiter, quote, header (true where there are names), names, missing = "", append = false.
function io.write_csv(path, data, options)
  write_csv("write_csv", check_path("write_csv", path), data, options)
end

--- io.to_csv(data [, options]): the same as a string.
function io.to_csv(data, options)
  return write_csv("to_csv", nil, data, options)
end

-- ---------------------------------------------------------------------------------------------------------- JSON -----
local json_out, tokens_count = ffi.new("pg_io_json *[1]"), ffi.new("int64_t[1]")
local numbers_out, lengths_out = ffi.new("const double *[1]"), ffi.new("const int64_t *[1]")
local json_options = { arrays = true, depth = true }
local STRING, LIST, OBJECT, ARRAY = 4, 5, 6, 7
local constants = { [0] = null, false, true }
local empty_object_meta = {}

--- io.empty_object(): a table that is written as {} and not as [].
function io.empty_object()
  return setmetatable({}, empty_object_meta)
end

-- Tables are built and written by recursion, for which Lua's stack has room some 4000 times.
local function depth_option(name, options)
  local depth = count_option(name, options, "depth", 512, 1)
  if depth > 2000 then
    fail("%s: depth must be an integer from 1 to 2000, got %d", name, depth)
  end
  return depth
end

local function read_json(name, from, options)
  options = options_of(name, options, json_options)
  local depth = depth_option(name, options)
  local text, size, is_text = source(name, from)
  run(name, C.pg_io_json_parse, json_out, text, size, is_text, depth, flag(name, options, "arrays", false) and 1 or 0)
  pinned = nil
  local json = ffi.gc(json_out[0], C.pg_io_json_close)
  local tokens = C.pg_io_json_tokens(json, tokens_count, bytes_out, numbers_out, lengths_out)
  local bytes, numbers, lengths = bytes_out[0], numbers_out[0], lengths_out[0]
  local at = 0
  local function value()
    local token = tokens[at]
    local kind = token.kind
    at = at + 1
    if kind == 3 then
      return token.number
    elseif kind == STRING then
      return ffi_string(bytes + token.at, token.count)
    elseif kind == LIST then
      local count = tonumber(token.count)
      local list = new_table(count, 0)
      for i = 1, count do
        list[i] = value()
      end
      return list
    elseif kind == OBJECT then
      local count = tonumber(token.count)
      if count == 0 then
        return io.empty_object()
      end
      local object = new_table(0, count)
      for _ = 1, count do
        local key = value()
        object[key] = value()
      end
      return object
    elseif kind == ARRAY then
      local rank = tonumber(token.count)
      for axis = 0, rank - 1 do
        kit.lengths[axis] = lengths[token.at_lengths + axis]
      end
      local a = kit.create(rank, kit.dtypes.float64, 0)
      ffi.copy(a._data, numbers + token.at, a._size * 8)
      return a
    end
    return constants[kind]
  end
  local result = value()
  C.pg_io_json_close(ffi.gc(json, nil))
  return result
end

--- io.read_json(path or {text = ...} [, options]): the value in a JSON file. Objects and lists are tables, null is
--- io.null; integers beyond 2^53 are rounded. Options: arrays = true makes arrays of lists of numbers (and of lists of
--- such lists of one length); depth = 512 limits nesting.
function io.read_json(from, options)
  return read_json("read_json", from, options)
end

--- io.parse_json(text [, options]): the value of a JSON text.
function io.parse_json(text, options)
  if type(text) ~= "string" then
    fail("parse_json: a string is expected, got %s", kind_of(text))
  end
  return read_json("parse_json", { text = text }, options)
end

local to_json_options = { indent = true, nan = true, depth = true }

-- An error of a status, as run()'s, but with the place in front.
local function fail_at(name, place, status, message)
  if status == ERROR_UNSUPPORTED then
    core.unsupported("%s: %s: %s", name, place, message)
  elseif status == ERROR_INTERNAL then
    core.internal("%s: %s: %s", name, place, message)
  end
  fail("%s: %s: %s", name, place, message)
end

local function json_text(name, value, options)
  options = options_of(name, options, to_json_options)
  local depth = depth_option(name, options)
  local indent = count_option(name, options, "indent", 0, 0)
  if options.nan ~= nil and options.nan ~= "null" then
    fail('%s: nan must be "null", got %s', name, kind_of(options.nan))
  end
  local nan = options.nan == "null"

  -- Arrays: their text, or nil, a message and a status.
  local function other(x)
    if not array.is(x) then
      return nil, kind_of(x)
    end
    local out, a = array_t(), need_array(name, x)
    kit.check_alive(a)
    local status = C.pg_io_json_array(out, collect, a, nan and 1 or 0)
    if status ~= 0 then
      return nil, ffi_string(C.pg_last_message()), status
    end
    return take_text(out)
  end

  local text, place, problem, detail, more = core.natives.io.json(value, depth, indent, nan, null, empty_object_meta, other)
  collect_if_due()
  if text then
    return text
  elseif problem == "deep" then
    fail("%s: %s lies more than %d tables deep; does a table contain itself? {depth = ...} allows more", name, place, depth)
  elseif problem == "key" then
    fail("%s: %s has the key %s; the keys of an object are strings, and a list has no gaps", name, place, kind_of(detail))
  elseif problem == "both" then
    fail("%s: %s has both list entries and the key '%s'; JSON has lists and objects", name, place, detail)
  elseif problem == "number" then
    fail('%s: %s is %s, which JSON does not have; {nan = "null"} writes null for it', name, place, tostring(detail))
  elseif problem == "text" then
    fail("%s: %s: %s", name, place, detail)
  elseif problem == "status" then
    fail_at(name, place, detail, ffi_string(C.pg_last_message()))
  elseif detail then
    fail_at(name, place, detail, more)
  end
  fail("%s: %s is %s; JSON has strings, numbers, booleans, io.null, lists and objects", name, place, more)
end

--- io.to_json(value [, options]): JSON text of tables, strings, numbers, booleans, io.null and arrays. Keys are sorted; an
--- empty table is [] (see io.empty_object). Options: indent = 0 (spaces a level), nan = "null", depth = 512.
function io.to_json(value, options)
  return json_text("to_json", value, options)
end

-- ---------------------------------------------------------------------------------------------------------- text -----
local reader_out, writer_out = ffi.new("pg_io_reader *[1]"), ffi.new("pg_io_writer *[1]")

--- io.read_text(path): a whole file as a string.
function io.read_text(path)
  check_path("read_text", path)
  local bytes = array_t()
  run("read_text", C.pg_io_read_text, bytes, collect, path, #path)
  return take_text(bytes)
end

local writer = {}
writer.__index = writer
writer.__metatable = false

--- w:write(...): appends strings and numbers.
function writer:write(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if type(value) == "number" then
      value = number(value)
    elseif type(value) ~= "string" then
      fail("write: argument %d must be a string or a number, got %s", i, kind_of(value))
    end
    if not self.handle then
      fail("write: this writer is closed")
    end
    run("write", C.pg_io_writer_write, self.handle, value, #value)
  end
  return self
end

--- w:close(): writes what is left. A writer that is dropped does so, too, but cannot report an error.
function writer:close()
  if self.handle then
    local handle = self.handle
    self.handle = nil
    run("close", C.pg_io_writer_close, handle)
    C.pg_io_writer_free(ffi.gc(handle, nil))
  end
end

local append_option = { append = true }

local function open_writer(name, path, options)
  check_path(name, path)
  options = options_of(name, options, append_option)
  run(name, C.pg_io_writer_open, writer_out, path, #path, flag(name, options, "append", false) and 1 or 0)
  return setmetatable({ handle = ffi.gc(writer_out[0], C.pg_io_writer_free) }, writer)
end

--- io.writer(path [, {append = false}]): an object to write a file bit by bit, w:write(...) and w:close().
function io.writer(path, options)
  return open_writer("writer", path, options)
end

--- io.write_text(path, text [, {append = false}]): writes a string, or the strings of a list one after the other.
function io.write_text(path, text, options)
  if type(text) ~= "string" and type(text) ~= "table" then
    fail("write_text: a string or a list of strings is expected, got %s", kind_of(text))
  end
  local w = open_writer("write_text", path, options)
  for i, part in ipairs(type(text) == "string" and { text } or text) do
    if type(part) ~= "string" then
      fail("write_text: entry %d must be a string, got %s", i, kind_of(part))
    end
    run("write_text", C.pg_io_writer_write, w.handle, part, #part)
  end
  w:close()
end

--- io.write_json(path, value [, options]): io.to_json into a file.
function io.write_json(path, value, options)
  check_path("write_json", path)
  io.write_text(path, json_text("write_json", value, options) .. "\n")
end

local function open_reader(name, path, block)
  run(name, C.pg_io_reader_open, reader_out, check_path(name, path), #path, block)
  return ffi.gc(reader_out[0], C.pg_io_reader_close)
end

local lines_options = { block = true, longest = true }

--- io.lines(path [, options]): an iterator over the lines, without their ends (LF or CRLF), that holds one piece of the file
--- in memory. Options: block = n gives tables of n lines (the last may be shorter) instead of single ones; longest = 2^26
--- is the most bytes a line may have.
function io.lines(path, options)
  options = options_of("lines", options, lines_options)
  local block = count_option("lines", options, "block", nil, 1)
  local longest = count_option("lines", options, "longest", 2 ^ 26, 1)
  local reader = open_reader("lines", path, 2 ^ 17)
  local function next_line()
    if not reader then
      return nil
    end
    run("lines", C.pg_io_reader_line, reader, text_out, size_out, longest)
    if text_out[0] == nil then
      C.pg_io_reader_close(ffi.gc(reader, nil))
      reader = nil
      return nil
    end
    return ffi_string(text_out[0], size_out[0])
  end
  if not block then
    return next_line
  end
  return function()
    local lines = {}
    for i = 1, block do
      local line = next_line()
      if not line then
        break
      end
      lines[i] = line
    end
    return lines[1] and lines or nil
  end
end

--- io.blocks(path [, bytes]): an iterator over a file's content in strings of `bytes` bytes (2^20 unless given), the last
--- one shorter.
function io.blocks(path, bytes)
  if bytes == nil then
    bytes = 2 ^ 20
  elseif not is_integer(bytes) or bytes < 1 or bytes > 2 ^ 30 then
    fail("blocks: the size of a block is an integer from 1 to 2^30, got %s", kind_of(bytes))
  end
  local reader = open_reader("blocks", path, bytes)
  return function()
    if not reader then
      return nil
    end
    run("blocks", C.pg_io_reader_block, reader, text_out, size_out)
    if size_out[0] == 0 then
      C.pg_io_reader_close(ffi.gc(reader, nil))
      reader = nil
      return nil
    end
    return ffi_string(text_out[0], size_out[0])
  end
end

return io
