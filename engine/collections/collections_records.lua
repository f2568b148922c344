-- Typed record arrays. All fields lie in one block of memory: record by record with the padding that a C struct would
-- have ("aos", array of structs), or field by field, each from a multiple of 64 bytes ("soa", struct of arrays). In both a
-- field is an array with a stride of whole elements, because sizes of elements are powers of two and a record's size is a
-- multiple of the largest.
--
-- r[i] is a table of two slots, the array's state and the position, with a metatable that knows the fields. It keeps its
-- owner alive and stays right when the memory moves. Compiled code never allocates it while it does not leave the loop
-- (allocation sinking), so that r[i].x costs what an element of an array does.
local core, kit = ...
local C, fail, ffi = core.C, core.fail, core.ffi
local type, getmetatable, setmetatable, tostring, ipairs, pairs = type, getmetatable, setmetatable, tostring, ipairs, pairs
local max, floor, format, concat, find = math.max, math.floor, string.format, table.concat, string.find
local rawget, next, select, cast = rawget, next, select, ffi.cast
local array, akit = kit.array, kit.array_kit
local load_chunk = load
local load, store, call, create, array_t = akit.load, akit.store, akit.call, akit.create, akit.array_t
local dtypes, dtype_names, is_integer = akit.dtypes, akit.dtype_names, akit.is_integer
local byte_p, int64_t = ffi.typeof("uint8_t *"), ffi.typeof("int64_t")

local sizes = { bool = 1, int8 = 1, int16 = 2, int32 = 4, int64 = 8, uint8 = 1, uint16 = 2, uint32 = 4, uint64 = 8,
  float32 = 4, float64 = 8, complex64 = 8, complex128 = 16 }
local through_numbers = {} -- dtypes whose every value a Lua number or boolean can hold
for _, name in ipairs { "bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64" } do
  if dtypes[name] then
    through_numbers[dtypes[name]] = true
  end
end

local most_fields = 150 -- as a function has at most 200 arguments and local variables

local methods = {}

-- The schema of a record array: fields, each {name, dtype (its number), size, offset (aos)}, and the metatable of its
-- records. One a call of collections.records; copies and other layouts share it.
local function field_names(schema)
  local names = {}
  for i, f in ipairs(schema.fields) do
    names[i] = f.name
  end
  return concat(names, ", ")
end

local function wrong_record(schema, key)
  if key == 1 then
    fail("a record's table has names: {%s = ...}; r:append(...) takes values in order", schema.fields[1].name)
  end
  fail("a record has no field '%s'; its fields are: %s", tostring(key), field_names(schema))
end

local function index_text(k)
  return type(k) == "number" and format("%.17g", k) or kit.kind_of(k)
end

-- The slow half of an index check: negative indices and errors. Returns the index counted from 1.
local function resolve(s, k)
  local n = s._length
  if type(k) == "number" and k % 1 == 0 and k < 0 and k >= -n then
    return k + n + 1
  elseif type(k) ~= "number" or k % 1 ~= 0 then
    fail("an index of records is an integer, got %s", index_text(k))
  end
  fail("index %s is out of range for %d records", index_text(k), n)
end

-- Where a field's element i (from 0) is: f.data is a pointer to the field's first element, f.stride in elements.
-- `slots` are per record array because memory moves; they are looked up by name.
local function record_index(p, key)
  local s = p[1]
  local f = s._slots[key]
  if not f then
    wrong_record(s._schema, key)
  end
  local i = p[2]
  if i >= s._length then
    fail("record %d is gone: there are %d records now", i + 1, s._length)
  end
  return (load(f.data, f.dtype, i * f.stride))
end

local function record_newindex(p, key, value)
  local s = p[1]
  local f = s._slots[key]
  if not f then
    wrong_record(s._schema, key)
  end
  local i = p[2]
  if i >= s._length then
    fail("record %d is gone: there are %d records now", i + 1, s._length)
  end
  store(f.data, f.dtype, i * f.stride, value)
end

local function record_text(p)
  local s, parts = p[1], {}
  for i, f in ipairs(s._schema.fields) do
    parts[i] = f.name .. " = " .. tostring(record_index(p, f.name))
  end
  return "{" .. concat(parts, ", ") .. "}"
end

local record_meta = { __index = record_index, __newindex = record_newindex, __tostring = record_text }

local function is_record(x)
  return type(x) == "table" and getmetatable(x) == record_meta
end

-- ------------------------------------------------------------------------------------------------------- memory ------
local function align(n, size)
  return floor((n + size - 1) / size) * size
end

-- by_position(slots, i, v1, v2, ...) and by_name(slots, i, value) write record i, without a loop over the fields: one
-- inside a script's loop kept that from being compiled: 300 ns a record instead of 80.
local writers_source = [[
local store, fail = ...
local function by_position(slots, i, VALUES)
  local f
  STORES
end
local function by_name(slots, i, value)
  CHECKS
  by_position(slots, i, NAMED)
end
return by_position, by_name
]]

local function compile_writers(fields)
  local parts = { VALUES = {}, STORES = {}, CHECKS = {}, NAMED = {} }
  for i, field in ipairs(fields) do
    parts.VALUES[i] = "v" .. i
    parts.STORES[i] = format("f = slots[%q] store(f.data, f.dtype, i * f.stride, v%d)\n", field.name, i)
    parts.CHECKS[i] = format("if value[%q] == nil then fail(\"the record lacks the field '%%s'\", %q) end\n", field.name,
      field.name)
    parts.NAMED[i] = format("value[%q]", field.name)
  end
  local source = writers_source:gsub("%u+", function(name)
    local list = parts[name]
    return list and concat(list, (name == "VALUES" or name == "NAMED") and ", " or "")
  end)
  return load_chunk(source, "@perigee:collections_records_writers", "t")(store, fail)
end

local function parse_fields(fields)
  if type(fields) ~= "table" or #fields == 0 then
    fail('records: fields are given as { {"x", "float64"}, {"id", "int32"} }, got %s', kit.kind_of(fields))
  elseif #fields > most_fields then
    fail("records: a record has at most %d fields, got %d", most_fields, #fields)
  end
  local list, seen, at, largest = {}, {}, 0, 1
  for i = 1, #fields do
    local field = fields[i]
    if type(field) ~= "table" or #field ~= 2 then
      fail('records: field %d must be {name, dtype}, as in {"x", "float64"}', i)
    end
    local name, dtype = field[1], field[2]
    if type(name) ~= "string" or not find(name, "^%a[%w_]*$") then
      fail("records: the name of field %d must be a Lua name, got %s", i, kit.kind_of(name))
    elseif methods[name] then
      fail("records: field %d cannot be called '%s', which is a method of records", i, name)
    elseif seen[name] then
      fail("records: there are two fields called '%s'", name)
    end
    seen[name] = true
    local number = akit.parse_dtype("records", dtype)
    local size = sizes[dtype]
    at = align(at, size)
    list[i] = { name = name, dtype = number, size = size, offset = at }
    at, largest = at + size, max(largest, size)
  end
  local schema = { fields = list, size = align(at, largest), largest = largest }
  schema.by_position, schema.by_name = compile_writers(list)
  return schema
end

-- Bytes for `capacity` records.
local function bytes_for(schema, layout, capacity)
  if layout == "aos" then
    return schema.size * capacity
  end
  local bytes = 0
  for _, f in ipairs(schema.fields) do
    bytes = bytes + align(f.size * capacity, 64)
  end
  return bytes
end

-- Points the slots at new memory, zeroed, of this capacity.
local function allocate(s, capacity)
  local schema, layout = s._schema, s._layout
  akit.lengths[0] = bytes_for(schema, layout, capacity)
  local memory = create(1, dtypes.uint8, 1)
  local base, at = cast(byte_p, memory._data), 0
  local slots = {}
  for _, f in ipairs(schema.fields) do
    if layout == "aos" then
      slots[f.name] = { data = cast(byte_p, base + f.offset), dtype = f.dtype, stride = int64_t(schema.size / f.size) }
    else
      slots[f.name] = { data = cast(byte_p, base + at), dtype = f.dtype, stride = int64_t(1) }
      at = at + align(f.size * capacity, 64)
    end
  end
  s._memory, s._slots, s._capacity, s._views = memory, slots, capacity, {}
end

-- The field as an array of the first `_length` records.
local function field_view(s, name)
  local view = s._views[name]
  if not view or akit.is_released(view) then
    local slot = s._slots[name]
    view = call(C.pg_array_share, array_t(), s._memory)
    view._data, view._dtype, view._size = slot.data, slot.dtype, s._length
    view._shape[0], view._strides[0] = s._length, slot.stride
    s._views[name] = view
  end
  return view
end

-- Copies `n` records of `from` into `to`, which has the same schema.
local function copy_records(to, from, n)
  if n == 0 then
    return
  elseif to._layout == "aos" and from._layout == "aos" then
    ffi.copy(to._memory._data, from._memory._data, n * to._schema.size)
    return
  end
  for _, f in ipairs(to._schema.fields) do
    local target, source = to._slots[f.name], from._slots[f.name]
    if target.stride == 1 and source.stride == 1 then
      ffi.copy(target.data, source.data, n * f.size)
    else
      field_view(to, f.name)[{ { 1, n } }] = field_view(from, f.name)[{ { 1, n } }]
    end
  end
end

-- A record array is an empty table whose metatable is its state, so that r[i] finds at once that the table itself has no
-- such key: with the state in r, every access looked i up in r's hash part, 3 of 5 ns.
local function state_of(method, r)
  local s = type(r) == "table" and getmetatable(r)
  if not s or not rawget(s, "_slots") then
    kit.wrong_self("record array", method, r)
  end
  return s
end

local index, newindex, text, list_of -- below

local function new(schema, layout, length, capacity)
  local s = { __index = index, __newindex = newindex, __tostring = text, _list = list_of, _name = "record array",
    _schema = schema, _layout = layout, _length = length, _capacity = 0, _memory = false, _slots = false,
    _views = false }
  allocate(s, max(length, capacity, 1))
  return setmetatable({}, s), s
end

local function check_record(s, value)
  if is_record(value) then
    return
  elseif type(value) ~= "table" then
    fail("a record is a table such as {%s = ...} or another record, got %s", s._schema.fields[1].name,
      kit.kind_of(value))
  end
  for key in pairs(value) do
    if not s._slots[key] then
      wrong_record(s._schema, key)
    end
  end
end

local function no_field(s, key)
  fail("records have no field or method '%s'; the fields are: %s", tostring(key), field_names(s._schema))
end

function index(r, key)
  local s = getmetatable(r)
  if type(key) == "number" then
    local i = key - 1
    if not (i >= 0 and i < s._length and key % 1 == 0) then
      i = resolve(s, key) - 1
    end
    return setmetatable({ s, i }, record_meta)
  end
  local method = methods[key]
  if method then
    return method
  elseif s._slots[key] then
    return (field_view(s, key))
  end
  no_field(s, key)
end

function newindex(r, key, value)
  local s = getmetatable(r)
  if type(key) == "number" then
    local i = key - 1
    if not (i >= 0 and i < s._length and key % 1 == 0) then
      i = resolve(s, key) - 1
    end
    check_record(s, value)
    s._schema.by_name(s._slots, i, value)
  elseif s._slots[key] then
    field_view(s, key):fill(array.is(value) and value or type(value) == "table" and array.from(value) or value)
  else
    no_field(s, key)
  end
end

function list_of(r)
  local s, list = getmetatable(r), {}
  for i = 1, s._length do
    list[i] = r[i]
  end
  return list
end

function text(r)
  local s, parts = getmetatable(r), {}
  local n = s._length
  for i, f in ipairs(s._schema.fields) do
    parts[i] = f.name .. " " .. dtype_names[f.dtype]
  end
  local lines = { format("%d records of (%s), %s", n, concat(parts, ", "), s._layout) }
  for i = 1, n do
    if n <= 20 or i <= 5 or i > n - 5 then
      lines[#lines + 1] = format("  [%d] %s", i, record_text(r[i]))
    elseif i == 6 then
      lines[#lines + 1] = "  ..."
    end
  end
  return concat(lines, "\n")
end

-- ------------------------------------------------------------------------------------------------------- methods -----
--- r:size(): the number of records; r:capacity(): how many fit before memory moves; r:layout(): "aos" or "soa".
function methods.size(r)
  local s = state_of("size", r)
  return s._length
end
function methods.capacity(r)
  local s = state_of("capacity", r)
  return s._capacity
end
function methods.layout(r)
  local s = state_of("layout", r)
  return s._layout
end

--- r:fields(): the fields as they were given: { {"x", "float64"}, ... }; r:record_size(): bytes from one record to the next
--- in "aos", padding included.
function methods.fields(r)
  local s = state_of("fields", r)
  local list = {}
  for i, f in ipairs(s._schema.fields) do
    list[i] = { f.name, dtype_names[f.dtype] }
  end
  return list
end
function methods.record_size(r)
  local s = state_of("record_size", r)
  return s._schema.size
end

local function check_count(method, what, n)
  if not is_integer(n) or n < 0 or n > 2 ^ 40 then
    fail("%s: %s must be an integer, 0 or more, got %s", method, what, kit.kind_of(n))
  end
end

local function reserve(s, capacity)
  local old = { _memory = s._memory, _slots = s._slots, _views = {}, _length = s._length, _layout = s._layout,
    _schema = s._schema }
  allocate(s, capacity)
  copy_records(s, old, old._length)
end

--- r:reserve(n): memory for n records at once. Arrays of fields (r.x) taken before keep the old memory. Returns r.
function methods.reserve(r, n)
  local s = state_of("reserve", r)
  check_count("reserve", "the number of records", n)
  if n > s._capacity then
    reserve(s, n)
  end
  return r
end

--- r:append(x, y, ...): a record by its fields' values in order; or r:append{x = ..., y = ...}, or another record.
function methods.append(r, first, ...)
  local s = state_of("append", r)
  local fields, n = s._schema.fields, s._length
  local as_table = type(first) == "table"
  if as_table then
    check_record(s, first)
  elseif select("#", ...) + 1 ~= #fields then
    fail("append: a record has %d fields, got %d values", #fields, select("#", ...) + 1)
  end
  if n == s._capacity then
    reserve(s, 2 * n)
  end
  if as_table then
    s._schema.by_name(s._slots, n, first)
  else
    s._schema.by_position(s._slots, n, first, ...)
  end
  s._length = n + 1
  if next(s._views) then
    s._views = {}
  end
end

--- r:extend(list): appends each of a list of records or tables, or all of another record array. Returns r.
function methods.extend(r, list)
  local s = state_of("extend", r)
  if type(list) ~= "table" then
    fail("extend: a list of records or a record array is expected, got %s", kit.kind_of(list))
  end
  local other = getmetatable(list)
  for i = 1, other and rawget(other, "_slots") and other._length or #list do
    methods.append(r, list[i])
  end
  return r
end

--- r:resize(n): n records; new ones are zero. Returns r.
function methods.resize(r, n)
  local s = state_of("resize", r)
  check_count("resize", "the number of records", n)
  methods.reserve(r, n)
  local old = s._length
  s._length, s._views = n, {}
  for _, f in ipairs(s._schema.fields) do
    if n > old then
      field_view(s, f.name)[{ { old + 1, n } }] = f.dtype == dtypes.bool and false or 0
    end
  end
  return r
end

--- r:to(layout): a copy in layout "aos" or "soa"; r:copy(): in the same.
function methods.to(r, layout)
  local s = state_of("to", r)
  if layout ~= "aos" and layout ~= "soa" then
    fail('to: the layout must be "aos" or "soa", got %s', kit.kind_of(layout))
  end
  local copy, of_copy = new(s._schema, layout, s._length, 0)
  copy_records(of_copy, s, s._length)
  return copy
end
function methods.copy(r)
  local s = state_of("copy", r)
  return methods.to(r, s._layout)
end

-- Positions (from 0) in the order of keys[0], ..., ascending, nan last, equal ones as they are: merge sort, bottom up.
local function sorted_positions(keys, n)
  local from, to = {}, {}
  for i = 1, n do
    from[i] = i - 1
  end
  local width = 1
  while width < n do
    for start = 1, n, 2 * width do
      local i, middle = start, start + width
      local j, last = middle, start + 2 * width
      if middle > n + 1 then middle = n + 1 end
      if last > n + 1 then last = n + 1 end
      for k = start, last - 1 do
        local left = j >= last
        if not left and i < middle then
          local a, b = keys[from[i]], keys[from[j]]
          left = not (b < a or a ~= a and b == b)
        end
        if left then
          to[k] = from[i]
          i = i + 1
        else
          to[k] = from[j]
          j = j + 1
        end
      end
    end
    from, to = to, from
    width = 2 * width
  end
  return from
end

local known_sort = { descending = true }

--- r:sort_by(key [, {descending = false}]): sorts the records by a field's name, or by the number or string that a function
--- gives for each record. Equal ones keep their order (also descending); nan comes last (descending: first). Returns r.
function methods.sort_by(r, key, options)
  local s = state_of("sort_by", r)
  options = kit.options("sort_by", options, known_sort, "{descending = true}")
  local n, keys = s._length, {}
  if type(key) == "string" then
    local slot = s._slots[key] or wrong_record(s._schema, key)
    if slot.dtype == dtypes.complex64 or slot.dtype == dtypes.complex128 then
      fail("sort_by: complex numbers have no order")
    end
    for i = 0, n - 1 do
      local k = load(slot.data, slot.dtype, i * slot.stride)
      if k == true then
        k = 1
      elseif k == false then
        k = 0
      end
      keys[i] = k
    end
  elseif type(key) == "function" then
    for i = 0, n - 1 do
      local k = key(r[i + 1])
      local t = type(k)
      if t ~= "number" and t ~= "string" or i > 0 and type(keys[0]) ~= t then
        fail("sort_by: the key of record %d is %s; keys must be numbers or strings, all of one kind", i + 1,
          kit.kind_of(k))
      end
      keys[i] = k
    end
  else
    fail("sort_by: a field's name or a function is expected, got %s", kit.kind_of(key))
  end
  if options.descending then -- backwards, twice: equal ones keep their order
    local last = n - 1
    for i = 0, floor(n / 2) - 1 do
      keys[i], keys[last - i] = keys[last - i], keys[i]
    end
  end
  local order = sorted_positions(keys, n)
  if options.descending then
    local turned = {}
    for i = 1, n do
      turned[i] = n - 1 - order[n + 1 - i]
    end
    order = turned
  end
  local _, old = new(s._schema, s._layout, n, 0) -- what is sorted stays where it is, so that views of it stay views
  copy_records(old, s, n)
  for _, f in ipairs(s._schema.fields) do
    local to, from = s._slots[f.name], old._slots[f.name]
    local dtype, to_data, from_data, to_stride, from_stride = f.dtype, to.data, from.data, to.stride, from.stride
    if through_numbers[dtype] then
      for i = 1, n do
        store(to_data, dtype, (i - 1) * to_stride, load(from_data, dtype, order[i] * from_stride))
      end
    else
      for i = 1, n do
        ffi.copy(to_data + (i - 1) * to_stride * f.size, from_data + order[i] * from_stride * f.size, f.size)
      end
    end
  end
  return r
end

--- r:totable(): a list of tables {x = ..., y = ...}.
function methods.totable(r)
  local s = state_of("totable", r)
  local list = {}
  for i = 1, s._length do
    local t = {}
    for _, f in ipairs(s._schema.fields) do
      local slot = s._slots[f.name]
      t[f.name] = load(slot.data, slot.dtype, (i - 1) * slot.stride)
    end
    list[i] = t
  end
  return list
end

local function step(state)
  local s, i = state.records, state.at
  if i < s._length then
    state.at = i + 1
    return setmetatable({ s, i }, record_meta)
  end
end

--- for p in r:values() do: the records in order.
function methods.values(r)
  local s = state_of("values", r)
  return step, { records = s, at = 0 }
end

--- r:clear(): no records; memory stays. Returns r.
function methods.clear(r)
  local s = state_of("clear", r)
  s._length, s._views = 0, {}
  return r
end

local known = { layout = true, length = true, capacity = true }

--- collections.records(fields [, options]): fields are { {"x", "float64"}, {"id", "int32"} }; options {layout = "aos" (default)
--- or "soa", length = n (records, zero, at the start: 0), capacity = n (memory at the start)}.
function kit.collections.records(fields, options)
  local schema = parse_fields(fields)
  options = kit.options("records", options, known, '{layout = "soa"}')
  local layout = options.layout == nil and "aos" or options.layout
  if layout ~= "aos" and layout ~= "soa" then
    fail('records: the layout must be "aos" or "soa", got %s', kit.kind_of(layout))
  end
  local length, capacity = options.length or 0, options.capacity or 0
  check_count("records", "length", length)
  check_count("records", "capacity", capacity)
  return (new(schema, layout, length, capacity))
end
