-- The annotations for editors (engine/<module>/*.meta) say what is there: every public function and method is annotated,
-- with its number of parameters, and nothing else is.
local lu = require "luaunit"
local pg = require "perigee"

local engine = debug.getinfo(1, "S").short_src:match("^(.*)/tests/lua/[^/]*$") or "."
engine = engine .. "/engine"

-- ------------------------------------------------------------------------------------------------------- reading -----
local files = {}
do
  local list = assert(io.popen(("ls '%s'/*/*.meta"):format(engine)))
  for path in list:lines() do
    files[#files + 1] = path
  end
  list:close()
end

local classes = {} -- class -> {member = number of parameters with self, "..." where there are any number, or true: a field}

local function count_parameters(text, method)
  local n = method and 1 or 0
  for name in text:gmatch("[%w_.]+") do
    if name == "..." then
      return "..."
    end
    n = n + 1
  end
  return n
end

for _, path in ipairs(files) do
  local class, of = nil, {} -- the class that was named last; variable -> class
  for line in io.lines(path) do
    local named = line:match("^%-%-%-@class ([%w_.]+)")
    if named then
      class = named
      classes[class] = classes[class] or {}
    end
    local field, optional = line:match("^%-%-%-@field ([%w_]+)(%??)")
    if field and class then
      classes[class][field] = optional == "?" and "optional" or true
    end
    local variable = line:match("^local ([%w_]+) = {}")
    if variable then
      of[variable] = class
    end
    local owner, separator, member, parameters = line:match("^function ([%w_]+)([.:])([%w_]+)%((.-)%) end")
    if owner then
      assert(of[owner], path .. ": " .. line)
      classes[of[owner]][member] = count_parameters(parameters, separator == ":")
    end
    local to, as, from, original = line:match("^([%w_]+)%.([%w_]+) = ([%w_]+)%.([%w_]+)$")
    if of[to] and of[from] then
      classes[of[to]][as] = classes[of[from]][original]
    end
  end
end

-- ------------------------------------------------------------------------------------------------------ comparing ----
local keywords = { ["repeat"] = true } -- cannot be annotated, and must have another name as well

local function is_public(name)
  return type(name) == "string" and name:sub(1, 1) ~= "_" and not keywords[name]
end

-- What differs between a table of functions and a class.
local function differences(class, members)
  local wrong, known = {}, classes[class]
  if not known then
    return { class .. " is not annotated" }
  end
  for name, value in pairs(members) do
    local full = class .. "." .. name
    if is_public(name) and not known[name] then
      wrong[#wrong + 1] = full .. " is not annotated"
    elseif is_public(name) then
      local info = type(value) == "function" and debug.getinfo(value, "uS")
      if info and info.what ~= "C" and known[name] ~= true then
        local takes = info.isvararg and "..." or info.nparams
        if takes ~= "..." and takes > 0 and debug.getlocal(value, takes) == "more" then
          takes = takes - 1 -- it is there to be refused
        end
        if takes ~= known[name] and takes ~= "..." and known[name] ~= "..." then
          wrong[#wrong + 1] = ("%s takes %s parameters, its annotation has %s"):format(full, takes, known[name])
        end
      end
    end
  end
  for name, what in pairs(known) do
    if members[name] == nil and what ~= "optional" then
      wrong[#wrong + 1] = class .. "." .. name .. " is annotated, but does not exist"
    end
  end
  table.sort(wrong)
  return wrong
end

local all_wrong = {}
local function check(class, members)
  for _, text in ipairs(differences(class, members)) do
    all_wrong[#all_wrong + 1] = text
  end
end
local function conclude()
  local text = table.concat(all_wrong, "\n")
  all_wrong = {}
  lu.assertEquals(text, "")
end

TestAnnotations = {}

function TestAnnotations.test_modules()
  local found = 0
  for _, path in ipairs(files) do
    local name = path:match("([^/]+)%.meta$")
    if not name:find("_") and name ~= "perigee" then
      found = found + 1
      local here, reason = pg.available(name)
      if here then
        local everything = rawget(pg[name], "_everything")
        if everything then
          everything()
        end
        local members = {}
        for key, value in pairs(pg[name]) do
          members[key] = value
        end
        check("perigee." .. name, members)
      else
        print("not checked: " .. reason)
      end
      lu.assertNotNil(classes.perigee[name], "perigee." .. name .. " is no field of the class perigee")
    end
  end
  lu.assertTrue(found >= 8)
  conclude()
end

function TestAnnotations.test_device_arrays()
  local members = {}
  for key, value in pairs(pg.gpu._array_methods) do
    members[key] = value
  end
  for key in pairs(pg.gpu._array_getters) do
    members[key] = true
  end
  check("perigee.gpu.Array", members)
  conclude()
end

function TestAnnotations.test_perigee()
  local members = {}
  for name, value in pairs(pg) do
    members[name] = value
  end
  for name in pairs(classes.perigee) do -- modules load at first touch
    if members[name] == nil then
      members[name] = pg.available(name) and pg[name] or nil
    end
  end
  check("perigee", members)
  conclude()
end

function TestAnnotations.test_arrays()
  local members = {}
  pg.array._everything()
  for name, method in pairs(pg.array._methods) do
    members[name] = method
  end
  for name in pairs(pg.array._getters) do
    members[name] = true
  end
  check("perigee.Array", members)
  conclude()
end

local function nothing() end

-- Classes whose objects are tables with a metatable: a class and a way to an object.
function TestAnnotations.test_objects()
  local c = pg.collections
  local _, cache = c.memoize(function(x) return x end)
  for class, object in pairs { Set = c.set(), Counter = c.counter(), Deque = c.deque(), Heap = c.heap(),
    Records = c.records { { "x", "float64" } }, Cache = cache, Delayed = pg.tasks.delayed(1),
    Kernel = pg.kernel.jit(nothing), ElementwiseKernel = pg.kernel.elementwise(nothing),
    ParallelKernel = pg.kernel.parallel_for(nothing), GeneralizedKernel = pg.kernel.generalized("()->()", nothing),
    VmapKernel = pg.kernel.vmap(nothing) } do
    local meta = debug.getmetatable(object)
    local members = meta and type(meta.__index) == "table" and meta.__index
    if members then
      check("perigee." .. class, members)
    else -- cdata, or an __index that is a function: one way only
      for name in pairs(classes["perigee." .. class]) do
        lu.assertNotNil(object[name], class .. "." .. name)
      end
    end
  end
  check("perigee.Generator", pg.random._methods)
  if pg.available("mpi") then -- without a rank: what there is at every one is rank and size
    local communicator = { rank = true, size = true }
    for name, method in pairs(pg.mpi._Comm) do
      communicator[name] = method
    end
    check("perigee.Communicator", communicator)
    check("perigee.Request", pg.mpi._Request)
    check("perigee.Window", pg.mpi._Window)
  end
  local kit = pg.parallel._kit
  for class, kind in pairs { Atomic = 1, Mutex = 2, RwLock = 3, Semaphore = 4, Barrier = 5, Condition = 6, Event = 7,
    Latch = 8 } do
    local members = {}
    for name, method in pairs(kit.shared_methods[kind]) do
      members[name] = method
    end
    for name in pairs(kit.shared_getters[kind]) do
      members[name] = true
    end
    check("perigee." .. class, members)
  end
  for class, methods in pairs(pg.async._classes) do
    local members = {}
    for _, from in ipairs { methods, methods._fields or {} } do
      for name, value in pairs(from) do
        members[name] = value
      end
    end
    check("perigee." .. class, members)
  end
  conclude()
end

os.exit(lu.LuaUnit.run(), true)
