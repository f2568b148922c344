-- The states of workers in pool{gil = true} (gil.hpp): calls of C that block let go of the interpreter lock meanwhile.
-- Runs before any other module. (Waits for shared objects do so themselves.)
local core = ...
local plain = core.C
local find, rawset, setmetatable = string.find, rawset, setmetatable

core.C = setmetatable({}, { __index = function(self, name)
  local f = plain[name]
  if find(name, "^pg_io_") then
    local inner = f
    f = function(...)
      plain.pg_gil_release()
      local result = inner(...)
      plain.pg_gil_acquire()
      return result
    end
    rawset(self, name, f)
  elseif type(f) == "cdata" then
    rawset(self, name, f)
  end
  return f
end })
