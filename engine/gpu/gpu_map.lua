-- gpu.map: which thread writes or reads which element, as a picture.
local core, shared = ...
local ffi = core.ffi
local fail = core.fail
local kit, library = shared.kit, shared.library
local type, tonumber, tostring, ipairs, format, concat, floor, min, max = type, tonumber, tostring, ipairs, string.format, table.concat, math.floor, math.min,
  math.max

local map_c = ffi.new("pg_sim_map")

-- Colours of neighbouring blocks are far apart on the wheel; light, so that numbers on them can be read.
local function colour(block)
  local hue, light = block * 137.5 % 360 / 60, block % 2 == 0 and 0.8 or 0.72
  local chroma = (1 - light) * 0.9
  local rgb = {}
  for i, shift in ipairs { 0, 4, 2 } do
    local h = (hue + shift) % 6
    rgb[i] = floor(255 * (light + chroma * (max(0, min(1, math.abs(h - 3) - 1)) - 0.5)) + 0.5)
  end
  return format("#%02x%02x%02x", rgb[1], rgb[2], rgb[3])
end

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function names_of(result)
  local list = {}
  for i = 0, library.pg_sim_maps(result) - 1 do
    library.pg_sim_map_of(map_c, result, i)
    list[#list + 1] = ffi.string(map_c.array)
  end
  return list
end

local map_options = { array = true, access = true, file = true }

-- gpu.map
local function map(options)
  if type(options) ~= "table" then
    fail('gpu.map: options are expected, as in gpu.map{array = "y", file = "map.svg"}, got %s', kit.kind_of(options))
  end
  kit.check_options("gpu.map", options, map_options)
  local last = shared.last_launch()
  if not last then
    fail("gpu.map: no kernel has been launched on the checked simulator yet")
  end
  local access = options.access or "write"
  if access ~= "write" and access ~= "read" then
    fail('gpu.map: access is "write" or "read", got %s', kit.kind_of(access))
  end
  local names, chosen = names_of(last.result), nil
  for i, name in ipairs(names) do
    if name == options.array then
      chosen = i
    end
  end
  if not chosen then
    fail("gpu.map: '%s' has the arrays %s, and not '%s'", last.name, concat(names, ", "), tostring(options.array))
  end
  library.pg_sim_map_of(map_c, last.result, chosen - 1)
  local columns, count = map_c.columns, map_c.rows * map_c.columns
  local wide = map_c.ndim < 2 and min(32, max(1, columns)) or columns -- one dimension goes on in the next row
  local rows = map_c.ndim < 2 and floor((columns + wide - 1) / wide) or map_c.rows
  local threads = access == "write" and map_c.writers or map_c.readers
  local cell_width, cell_height, left, top = last.block[2] > 1 and 40 or 34, 22, 56, 64
  local out = {}
  local function put(text, ...)
    out[#out + 1] = format(text, ...)
  end
  local width, height = max(left + wide * cell_width + 16, 560), top + rows * cell_height + 20
  put('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">',
    width, height, width, height)
  put('<rect width="100%%" height="100%%" fill="white"/>')
  put('<text x="8" y="20" font-size="14">%s: which thread %s %s</text>', (last.name:gsub('[&<>"]', escapes)),
    access == "write" and "writes" or "reads (last)", ffi.string(map_c.array))
  put('<text x="8" y="38" fill="#555">number: threadIdx%s, colour: block, of grid %s and block %s; grey: no thread</text>',
    last.block[2] > 1 and " x,y" or "", concat(last.grid, " x "), concat(last.block, " x "))
  for c = 1, wide do
    if c == 1 or c % 4 == 0 then
      put('<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%d</text>', left + (c - 0.5) * cell_width, top - 6, c)
    end
  end
  for r = 1, rows do
    put('<text x="%d" y="%d" text-anchor="end" fill="#555">%d</text>', left - 6, top + r * cell_height - 7,
      map_c.ndim < 2 and (r - 1) * wide + 1 or r)
  end
  for i = 0, count - 1 do
    local row, column = floor(i / wide), i % wide
    local thread = tonumber(threads[i]) - 1
    local x, y = left + column * cell_width, top + row * cell_height
    if thread < 0 then
      put('<rect x="%d" y="%d" width="%d" height="%d" fill="#ddd" stroke="white"/>', x, y, cell_width, cell_height)
    else
      local block, t = shared.stand(last.launch, thread)
      local label = last.block[2] > 1 and t[1] .. "," .. t[2] or tostring(t[1])
      put('<g><title>thread %s of block %s</title><rect x="%d" y="%d" width="%d" height="%d" fill="%s" stroke="white"/>'
        .. '<text x="%.1f" y="%d" text-anchor="middle">%s</text></g>', concat(t, ", "), concat(block, ", "), x, y, cell_width,
        cell_height, colour(floor(thread / last.threads)), x + cell_width / 2, y + 15, label)
    end
  end
  put("</svg>\n")
  local text = concat(out, "\n")
  if options.file then
    local file, problem = io.open(options.file, "w")
    if not file then
      fail("gpu.map: cannot write %s", problem)
    end
    file:write(text)
    file:close()
  end
  return text
end

return map
