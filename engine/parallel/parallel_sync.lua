-- Objects that several Lua states share (pg_shared): one ctype, its methods by kind.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, type, tonumber, tostring, format = core.fail, type, tonumber, tostring, string.format
local cast, istype, rawget, setmetatable = ffi.cast, ffi.istype, rawget, setmetatable

local shared_t = ffi.typeof("pg_shared")

-- enum pg_shared_kind
local kinds = { [0] = "released object", "atomic", "mutex", "rwlock", "semaphore", "barrier", "condition", "event", "latch",
  "queue", "thread_local", "future", "pool" }
local methods = {}  -- kind -> {name -> method}
local getters = {}  -- kind -> {name -> function that gives a field's value}
local describe = {} -- kind -> function that gives what tostring shows after the kind
for kind = 0, #kinds do
  methods[kind], getters[kind] = {}, {}
end

local function no_field(object, key)
  local kind = object._kind
  fail("a %s has no field or method '%s'%s", kinds[kind], tostring(key),
    core.did_you_mean(key, methods[kind], getters[kind]))
end

ffi.metatype(shared_t, {
  __index = function(object, key)
    local kind = object._kind
    local method = methods[kind][key]
    if method then
      return method
    end
    local get = getters[kind][key]
    if get then
      return (get(object))
    end
    no_field(object, key)
  end,
  __newindex = function(object, key)
    fail("the field '%s' of a %s cannot be assigned", tostring(key), kinds[object._kind])
  end,
  -- Two states, or one that was sent an object back, may hold several structs for one object.
  __eq = function(a, b)
    return istype(shared_t, a) and istype(shared_t, b) and a._object == b._object
  end,
  __tostring = function(object)
    local more = describe[object._kind]
    return kinds[object._kind] .. (more and " (" .. more(object) .. ")" or "")
  end,
  __gc = C.pg_shared_release,
})

--- kit.new_shared(): an empty pg_shared for C++ to fill; it gives its reference up when it is collected.
kit.shared_t = shared_t
kit.shared_kinds, kit.shared_methods, kit.shared_getters, kit.shared_describe = kinds, methods, getters, describe
function kit.new_shared()
  return (shared_t())
end

--- kit.is_shared(x [, kind]): whether x is a shared object, of this kind.
function kit.is_shared(x, kind)
  return istype(shared_t, x) and (kind == nil or x._kind == kind)
end

--- kit.adopt_shared(address, kind): a struct for the object at an address (a number), whose reference it takes over.
function kit.adopt_shared(address, kind)
  local object = shared_t()
  object._object = cast("void *", address)
  object._kind = kind
  return object
end
