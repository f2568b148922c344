-- How a kernel is launched: {grid = , block = , shared = , stream = }, the same for every kind of kernel and device.
local core, shared = ...
local fail = core.fail
local kit = shared.kit
local kind_of, check_options = kit.kind_of, kit.check_options
local type, ipairs, format, concat, tostring = type, ipairs, string.format, table.concat, tostring

local axes = { "x", "y", "z" }

local function whole(n)
  return type(n) == "number" and n % 1 == 0
end

local function shown(n)
  return type(n) == "number" and tostring(n) or kind_of(n)
end

-- A number or a list of up to three, as x, y, z.
local function sizes(name, what, value)
  if whole(value) then
    return value, 1, 1
  elseif type(value) == "number" then
    fail("'%s': %s is a whole number, got %s%s", name, what, shown(value),
      what == "grid" and " (gpu.grid_for(n, block) rounds up)" or "")
  elseif type(value) ~= "table" or #value < 1 or #value > 3 then
    fail("'%s': %s is a number or a list of up to three, {x, y, z}, got %s", name, what, type(value) == "table" and
      format("a list of %d", #value) or shown(value))
  end
  for i, n in ipairs(value) do
    if not whole(n) then
      fail("'%s': %s.%s is a whole number, got %s", name, what, axes[i], shown(n))
    end
  end
  return value[1], value[2] or 1, value[3] or 1
end

shared.sizes = sizes

local options = { grid = true, block = true, shared = true, stream = true, partial = true }

--- A checked launch: {grid = {x, y, z}, block = {x, y, z}, threads = of a block, shared = bytes, stream = s or nil, partial =
--- whether elements that no thread writes are meant}. name: the kernel's.
function shared.launch_configuration(name, config, device)
  if type(config) ~= "table" then
    fail("'%s': the launch's size is missing: a kernel is launched as k{grid = gpu.grid_for(n, 256), block = 256}(arguments)",
      name)
  end
  if config[1] ~= nil then
    fail("'%s': sizes have names: k{grid = %s, block = %s}(arguments)", name, shown(config[1]),
      config[2] ~= nil and shown(config[2]) or "256")
  end
  check_options(format("'%s'", name), config, options)
  if config.grid == nil or config.block == nil then
    fail("'%s': %s is missing: a kernel is launched as k{grid = gpu.grid_for(n, 256), block = 256}(arguments)", name,
      config.grid == nil and "grid" or "block")
  end
  local p = device.properties
  if config.partial ~= nil and type(config.partial) ~= "boolean" then
    fail("'%s': partial is true or false, got %s", name, shown(config.partial))
  end
  local out = { partial = config.partial or false, grid = { sizes(name, "grid", config.grid) }, block = { sizes(name, "block", config.block) }, shared = 0 }
  for i = 1, 3 do
    local n, most = out.grid[i], p.max_grid[i - 1]
    if n < 1 or n > most then
      fail("'%s': grid.%s is from 1 to %d, got %s", name, axes[i], most, shown(n))
    end
    n, most = out.block[i], p.max_block[i - 1]
    if n < 1 or n > most then
      fail("'%s': block.%s is from 1 to %d, got %s", name, axes[i], most, shown(n))
    end
  end
  local threads = out.block[1] * out.block[2] * out.block[3]
  if threads > p.max_threads_per_block then
    fail("'%s': a block has at most %d threads; {%s} are %d", name, p.max_threads_per_block, concat(out.block, ", "), threads)
  end
  out.threads = threads
  if config.shared ~= nil then
    local most = p.shared_per_block_optin > 0 and p.shared_per_block_optin or p.shared_per_block
    if not whole(config.shared) or config.shared < 0 or config.shared > most then
      fail("'%s': shared is a number of bytes from 0 to %d, got %s", name, most, shown(config.shared))
    end
    out.shared = config.shared
  end
  if config.stream ~= nil then
    out.stream = shared.need_stream(format("'%s'", name), config.stream)
  end
  return out
end
