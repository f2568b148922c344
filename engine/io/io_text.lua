-- Text: whole files, lines, blocks, and writing bit by bit.
local core, kit = ...
local C, ffi, fail = core.C, core.ffi, core.fail
local io, akit = kit.io, kit.akit
local kind_of, is_integer, array_t = akit.kind_of, akit.is_integer, akit.array_t
local run, collect, check_path, options_of = kit.run, kit.collect, kit.check_path, kit.options_of
local flag, count_option, take_text, number = kit.flag, kit.count_option, kit.take_text, kit.number
local type, ipairs, select, setmetatable, ffi_string = type, ipairs, select, setmetatable, ffi.string

local text_out, size_out = ffi.new("const char *[1]"), ffi.new("int64_t[1]")
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
