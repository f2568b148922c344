-- Tables of separated values.
local core, kit = ...
local C, ffi, fail = core.C, core.ffi, core.fail
local io, array, akit = kit.io, kit.array, kit.akit
local kind_of, is_integer, need_array, array_t = akit.kind_of, akit.is_integer, akit.need_array, akit.array_t
local run, collect, source, unpin, options_of, flag = kit.run, kit.collect, kit.source, kit.unpin, kit.options_of, kit.flag
local check_path, count_option, take_text, number = kit.check_path, kit.count_option, kit.take_text, kit.number
local type, pairs, ipairs, next, tostring, tonumber, setmetatable, getmetatable = type, pairs, ipairs, next, tostring,
  tonumber, setmetatable, getmetatable
local format, concat, sort, find, byte, char, gsub = string.format, table.concat, table.sort, string.find, string.byte,
  string.char, string.gsub
local new_table = require "table.new"
local ffi_string, cast, null = ffi.string, ffi.cast, io.null

local size_out, kind_out = ffi.new("int64_t[1]"), ffi.new("int32_t[1]")
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
          char(given[i + 1]))
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
  local number = type(dtype) == "string" and akit.dtypes[dtype]
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
  unpin()
  return setmetatable(result, table_meta)
end

--- io.read_matrix(path or {text = ...} [, options]): all columns as one array of 2 dimensions, float64 unless dtype says
--- otherwise. Options as read_csv's, but header = false unless given.
function io.read_matrix(from, options)
  options = options_of("read_matrix", options, csv_options)
  local dtype = options.dtype == nil and akit.dtypes.float64 or parse_type("read_matrix", options.dtype)
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
    a = array.empty({ 0, 0 }, akit.dtype_names[dtype])
  else
    run("read_matrix", C.pg_io_csv_matrix, a, collect, csv, #numbers, which, dtype)
  end
  C.pg_io_csv_close(ffi.gc(csv, nil))
  unpin()
  return a
end

local write_options = { delimiter = true, quote = true, header = true, names = true, missing = true, append = true }
local column_out_t, array_p = ffi.typeof("pg_io_csv_column_out[?]"), ffi.typeof("const pg_array *")

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
    akit.check_alive(matrix)
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
  local separator, mark = char(delimiter), char(quote)
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
        akit.check_alive(column)
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
