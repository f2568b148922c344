-- Random kernels of a GPU: the checked simulator, the fast one and a GPU compute what the same statements compute as a kernel
-- of the processor that runs the threads one after another, phase by phase; and the checked simulator raises no alarm. A
-- kernel is a seed; a failure prints the seed and both texts.
--
--     perigee run --trusted tests/lua/gpu_random.lua       PERIGEE_PROGRAMS=n: n kernels instead of 200 (10 on a stand-in for a GPU), and
--                                                          all of them fast, which takes the most time to compile;
--                                                          PERIGEE_SEED=s: only kernel s, printed
local pg = require "perigee"
local gpu, array, kernel = pg.gpu, pg.array, pg.kernel
local on_gpu = os.getenv("PERIGEE_GPU") == "cuda" -- tests/gpu/run, and CTest on a stand-in for the driver
local llvm, no_llvm = pg.available("llvm") -- without it (in a bundle) a GPU is compared with the checked simulator
if not llvm and not on_gpu then
  print("not run: " .. no_llvm)
  os.exit(0)
end
gpu.use(on_gpu and "cuda" or "sim")
local only = tonumber(os.getenv("PERIGEE_SEED"))
local programs = tonumber(os.getenv("PERIGEE_PROGRAMS") or (on_gpu and gpu.info().name:find("Fake GPU", 1, true) and 10 or 200))

local all = only or os.getenv("PERIGEE_PROGRAMS")

local state
local function random(low, high) -- an integer; a plain generator, so that nothing tested here chooses the tests
  state = bit.bxor(state, bit.lshift(state, 13))
  state = bit.bxor(state, bit.rshift(state, 17))
  state = bit.bxor(state, bit.lshift(state, 5))
  return low + (state % 2 ^ 32) % (high - low + 1)
end
local function pick(list)
  return list[random(1, #list)]
end
local function chance(percent)
  return random(1, 100) <= percent
end

-- ------------------------------------------------------------------------------------------------- expressions --------
-- Kinds: "i" int64, "f" float32, "d" float64, "b" boolean. In texts @n stands for variable n: a local of the thread on the
-- GPU, an element of an array of threads on the processor. Nothing rounds differently in two places: no functions of libm.
local kinds = { int32 = "i", int64 = "i", uint8 = "i", int16 = "i", float32 = "f", float64 = "d", bool = "b" }
local p -- the program: {threads, blocks, n, inputs, outputs, atomics, variables, shared}

local expression

local function of_kind(list, kind)
  local found = {}
  for _, x in ipairs(list) do
    if x.kind == kind and not x.hidden then
      found[#found + 1] = x
    end
  end
  return #found > 0 and pick(found) or nil
end

local function index_below(n, depth) -- an index from 1 to n
  return ("(%s) %% %d + 1"):format(expression("i", depth - 1), n)
end

local function leaf(kind, depth)
  local choice = random(1, 5)
  if choice <= 2 then
    local v = of_kind(p.variables, kind)
    if v then
      return "@" .. v.number
    end
  elseif choice == 3 then
    local a = of_kind(p.inputs, kind)
    if a then
      return ("%s[%s]"):format(a.name, chance(50) and "(i - 1) % " .. a.size .. " + 1" or index_below(a.size, depth))
    end
  elseif choice == 4 then
    local s = of_kind(p.shared, kind)
    if s and s.readable then
      s.read = true
      return ("%s[%s]"):format(s.name, index_below(p.threads, depth))
    end
  end
  if kind == "i" then
    return pick { "i", "t", "b", tostring(random(0, 9)), ("(-%d)"):format(random(1, 40)), "kernel.int64(n)" }
  elseif kind == "b" then
    return expression("b", depth)
  elseif kind == "f" then
    return ("kernel.float32(%s)"):format(chance(50) and random(-20, 20) / 4 or expression("i", depth - 1))
  end
  return chance(60) and ("kernel.float64(%s)"):format(random(-20, 20) / 4) or ("kernel.float64(%s)"):format(expression("i", depth - 1))
end

local function comparison(depth)
  local kind = pick { "i", "i", "f", "d" }
  return ("(%s %s %s)"):format(expression(kind, depth - 1), pick { "<", "<=", "==", "~=", ">", ">=" }, expression(kind, depth - 1))
end

function expression(kind, depth)
  if kind == "b" then
    if depth <= 0 then
      return ("(%s > %d)"):format(pick { "i", "t", "b", "n" }, random(0, 40))
    end
    local choice = random(1, 6)
    if choice == 1 then
      return ("(%s and %s)"):format(expression("b", depth - 1), expression("b", depth - 1))
    elseif choice == 2 then
      return ("(%s or %s)"):format(expression("b", depth - 1), expression("b", depth - 1))
    elseif choice == 3 then
      return ("(not %s)"):format(expression("b", depth - 1))
    end
    return comparison(depth)
  elseif depth <= 0 then
    return leaf(kind, 0)
  end
  local function part(k)
    return expression(k or kind, depth - 1)
  end
  local choice = random(1, 10)
  if choice <= 3 then
    return leaf(kind, depth)
  elseif choice == 4 then
    return ("(%s and %s or %s)"):format(expression("b", depth - 1), part(), part())
  elseif choice == 5 then
    return ("math.%s(%s, %s)"):format(pick { "min", "max" }, part(), part())
  elseif kind == "i" then
    if choice == 6 then
      return ("bit.%s(%s, %s)"):format(pick { "band", "bor", "bxor" }, part(), part())
    elseif choice == 7 then
      return ("bit.%s(%s, %d)"):format(pick { "lshift", "rshift", "arshift", "rol" }, part(), random(0, 31))
    elseif choice == 8 then
      return ("(%s) %% %s"):format(part(), pick { "7", "3", "(-5)", "64" })
    elseif choice == 9 then
      return pick { ("kernel.int64(%s)"):format(part("d")), ("math.abs(%s)"):format(part()), ("whole(%s, %s)"):format(part(), part()) }
    end
    return ("(%s %s %s)"):format(part(), pick { "+", "-", "*" }, part())
  end
  local other = kind == "d" and pick { "d", "d", "f", "i" } or pick { "f", "f", "i" }
  if choice == 6 then
    return ("math.%s(%s)"):format(pick { "floor", "ceil", "abs" }, part())
  elseif choice == 7 then
    return ("math.sqrt(math.abs(%s))"):format(part())
  elseif choice == 8 then
    return ("(%s %s %s)"):format(part(), pick { "/", "%" }, part(other))
  elseif choice == 9 and kind == "d" then
    return ("real(%s, %s)"):format(part(), part("i"))
  end
  return ("(%s %s %s)"):format(part(), pick { "+", "-", "*", "*" }, part(other))
end

-- ------------------------------------------------------------------------------------------------- statements ---------
local function value_for(kind, depth)
  if kind == "d" then
    return ("kernel.float64(%s)"):format(expression("d", depth))
  elseif kind == "f" then
    return ("kernel.float32(%s)"):format(expression("f", depth))
  end
  return expression(kind, depth)
end

local statements

local function statement(out, indent, depth)
  local choice = random(1, 12)
  local function put(text, ...)
    out[#out + 1] = indent .. text:format(...)
  end
  local function block()
    statements(out, indent .. "  ", random(1, 2), depth - 1)
  end
  if choice <= 4 or depth <= 0 and choice <= 8 then
    local v = pick(p.variables)
    if v.fixed then
      return
    end
    put("@%d = %s", v.number, value_for(v.kind, p.large and 3 or 2))
  elseif choice <= 6 then
    local a = pick(p.outputs)
    put("if i <= #%s then %s[i] = %s end", a.name, a.name, value_for(a.kind, 2))
  elseif choice == 7 and #p.atomics > 0 then
    local a = pick(p.atomics)
    put("%s", "!" .. a.how .. " " .. a.name .. " " .. index_below(8, 1) .. " | (" .. expression("i", 1) .. ") % 1000")
  elseif depth <= 0 then
    return
  elseif choice <= 9 then
    put("if %s then", expression("b", 2))
    block()
    if chance(50) then
      put("else")
      block()
    end
    put("end")
  elseif choice == 10 then
    p.counters = p.counters + 1
    local c = "c" .. p.counters
    put("for %s = 1, (%s) %% 4 do", c, expression("i", 1))
    block()
    if chance(40) then
      put("  if %s then break end", expression("b", 1))
    end
    put("end")
  elseif choice == 11 then
    p.counters = p.counters + 1
    local c = "c" .. p.counters
    put("local %s = %d", c, random(0, 3))
    put("while %s > 0 do", c)
    put("  %s = %s - 1", c, c)
    block()
    put("end")
  else
    p.counters = p.counters + 1
    local own = "own" .. p.counters
    put("local %s = array.zeros(4, %q)", own, pick { "int64", "float64", "int32" })
    put("for q = 1, 4 do %s[q] = q + (%s) %% 50 end", own, expression("i", 1))
    local v = of_kind(p.variables, "d")
    if v and not v.fixed then
      put("@%d = kernel.float64(@%d + %s[%s])", v.number, v.number, own, index_below(4, 1))
    end
  end
end

function statements(out, indent, count, depth)
  for _ = 1, count do
    statement(out, indent, depth)
  end
end

-- What threads do between one barrier and the next: {text = lines of a thread}.
local function phase()
  local out = {}
  for _, s in ipairs(p.shared) do
    s.read, s.written = false, false
  end
  statements(out, "", random(1, p.large and 3 or 2), random(p.large and 1 or 0, p.large and 2 or 1))
  for _, s in ipairs(p.shared) do
    if not s.read and (not s.readable or chance(30)) then -- (all threads, and none that may read it now)
      s.written, s.readable = true, false
      out[#out + 1] = ("%s[t] = %s"):format(s.name, value_for(s.kind, 2))
    end
  end
  return { text = out }
end

-- Phases with barriers, functions of warps and loops that all threads go through alike.
local function items(count, depth)
  local list = {}
  local function add(item)
    list[#list + 1] = item
  end
  local function barrier()
    add { sync = true }
    for _, s in ipairs(p.shared) do
      if s.written then
        s.readable = true
      end
    end
  end
  for _ = 1, count do
    local choice = random(1, 10)
    if choice <= 6 or depth == 0 then
      add(phase())
      barrier()
    elseif choice <= 8 and p.threads % 32 == 0 then
      local v = pick(p.variables)
      if not v.fixed then
        if v.kind == "i" and chance(30) then
          add { vote = pick { "ballot", "any", "all" }, variable = v, condition = expression("b", 1) }
        else
          local how = pick { "shfl_xor", "shfl_up", "shfl_down", "shfl" }
          add { shuffle = how, variable = v, by = how == "shfl" and random(1, 32) or random(1, 31) }
        end
        for _, s in ipairs(p.shared) do -- (its condition may have read it, and other threads write it in the next phase)
          if s.read then
            barrier()
            break
          end
        end
      end
    else
      add { rounds = random(1, 3), items = items(2, depth - 1) }
    end
  end
  return list
end

-- ------------------------------------------------------------------------------------------------------- texts --------
local atomics_on_cpu = { add = "%s[%s] = %s[%s] + (%s)", sub = "%s[%s] = %s[%s] - (%s)", min = "%s[%s] = math.min(%s[%s], %s)",
  max = "%s[%s] = math.max(%s[%s], %s)", band = "%s[%s] = bit.band(%s[%s], %s)", bor = "%s[%s] = bit.bor(%s[%s], %s)",
  bxor = "%s[%s] = bit.bxor(%s[%s], %s)" }

-- A line of a thread, for the GPU or the processor.
local function line_of(line, cpu)
  local indent, how, name, index, value = line:match("^(%s*)!(%w+) (%w+) (.*) | (.*)$")
  if how then
    line = indent .. (cpu and atomics_on_cpu[how]:format(name, index, name, index, value)
      or ("gpu.atomic.%s(%s, %s, %s)"):format(how, name, index, value))
  end
  return (line:gsub("@(%d+)", cpu and "v%1[t]" or "v%1"))
end

local function write_gpu(out, list, indent)
  for _, item in ipairs(list) do
    if item.text then
      out[#out + 1] = indent .. "do"
      for _, line in ipairs(item.text) do
        out[#out + 1] = indent .. "  " .. line_of(line, false)
      end
      out[#out + 1] = indent .. "end"
    elseif item.sync then
      out[#out + 1] = indent .. "gpu.sync()"
    elseif item.vote then
      local v = item.variable.number
      out[#out + 1] = indent .. (item.vote == "ballot" and ("v%d = gpu.ballot(%s)"):format(v, line_of(item.condition, false))
        or ("v%d = gpu.%s(%s) and 1 or 0"):format(v, item.vote, line_of(item.condition, false)))
    elseif item.shuffle then
      out[#out + 1] = indent .. ("v%d = gpu.%s(v%d, %d)"):format(item.variable.number, item.shuffle, item.variable.number, item.by)
    else
      out[#out + 1] = indent .. ("for r%d = 1, %d do"):format(#out, item.rounds)
      write_gpu(out, item.items, indent .. "  ")
      out[#out + 1] = indent .. "end"
    end
  end
end

local lanes_of = { shfl_xor = "bit.bxor(l, %d)", shfl_up = "l >= %d and l - %d or l", shfl_down = "l + %d < 32 and l + %d or l" }

local function write_cpu(out, list, indent)
  local function put(text, ...)
    out[#out + 1] = indent .. text:format(...)
  end
  for _, item in ipairs(list) do
    local v = item.variable and item.variable.number
    if item.text then
      put("for t = 1, %d do", p.threads)
      put("  local i = (b - 1) * %d + t", p.threads)
      for _, line in ipairs(item.text) do
        put("  %s", line_of(line, true))
      end
      put("end")
    elseif item.vote then
      put("for t = 1, %d do", p.threads)
      put("  local i = (b - 1) * %d + t", p.threads)
      put("  if %s then votes[t] = 1 else votes[t] = 0 end", line_of(item.condition, true))
      put("end")
      put("for t = 1, %d do", p.threads)
      put("  local first, some, bits, power = bit.band(t - 1, -32), 0, 0, 1")
      put("  for l = 1, 32 do")
      put("    some = some + votes[first + l]")
      put("    bits = bits + power * votes[first + l]")
      put("    power = power * 2")
      put("  end")
      put("  v%d[t] = %s", v, item.vote == "ballot" and "bits" or item.vote == "any" and "math.min(some, 1)" or "some == 32 and 1 or 0")
      put("end")
    elseif item.shuffle then
      put("for t = 1, %d do before_%s[t] = v%d[t] end", p.threads, item.variable.kind, v)
      put("for t = 1, %d do", p.threads)
      put("  local first, l = bit.band(t - 1, -32), bit.band(t - 1, 31)")
      put("  local from = %s", item.shuffle == "shfl" and tostring(item.by - 1) or lanes_of[item.shuffle]:format(item.by, item.by))
      put("  v%d[t] = before_%s[first + from + 1]", v, item.variable.kind)
      put("end")
    elseif item.rounds then
      put("for r%d = 1, %d do", #out, item.rounds)
      write_cpu(out, item.items, indent .. "  ")
      put("end")
    end
  end
end

local dtype_of = { i = "int64", f = "float32", d = "float64" }

-- ---------------------------------------------------------------------------------------------------- programs --------
local function make(seed)
  state = bit.tobit(seed * 2654435 + 88172645)
  if state == 0 then
    state = 1
  end
  for _ = 1, 8 do
    random(0, 1)
  end
  p = { blocks = random(1, 3), block = pick { { 32 }, { 64 }, { 96 }, { 8, 4 }, { 16, 4 }, { 20 }, { 7, 5 } }, large = chance(15), inputs = {},
    outputs = {}, atomics = {}, variables = {}, shared = {}, counters = 0 }
  p.threads = p.block[1] * (p.block[2] or 1)
  local total = p.blocks * p.threads
  for k = 1, random(1, 3) do
    local dtype = pick { "int32", "int64", "uint8", "int16", "float32", "float64" }
    p.inputs[k] = { name = "x" .. k, dtype = dtype, kind = kinds[dtype], size = random(1, total) }
  end
  for k = 1, random(1, 3) do
    local dtype = pick { "int32", "int64", "uint8", "int16", "float32", "float64", "bool" }
    p.outputs[k] = { name = "y" .. k, dtype = dtype, kind = kinds[dtype], size = total - random(0, 3) }
  end
  for k = 1, random(0, 2) do
    local dtype = pick { "int32", "int64" }
    local how = pick { "add", "sub", "min", "max", "band", "bor", "bxor" }
    dtype = how:find("^b") and "int32" or dtype -- (bit's functions are of 32 bits)
    p.atomics[k] = { name = "a" .. k, dtype = dtype, how = how, size = 8 }
  end
  for k = 1, random(2, 4) do
    p.variables[k] = { number = k, kind = pick { "i", "i", "f", "d" } , hidden = true }
  end
  for k = 1, random(0, 2) do
    local dtype = pick { "int32", "int64", "float32", "float64" }
    p.shared[k] = { name = "s" .. k, dtype = dtype, kind = kinds[dtype], readable = false }
  end
  local first = {}
  for k, v in ipairs(p.variables) do
    first[k] = ("@%d = %s"):format(k, value_for(v.kind, 1))
    v.hidden = false
  end
  local list = items(random(1, p.large and 3 or 2), p.large and random(1, 2) or 1)
  list[#list + 1] = phase()
  if chance(40) then -- some threads leave early, where no barrier follows
    table.insert(list[#list].text, 1, ("if %s then goto out end"):format(expression("b", 1)))
    list[#list].leaves = true
  end
  local last = {}
  for k, a in ipairs(p.outputs) do -- what variables end up with
    local v = p.variables[(k - 1) % #p.variables + 1]
    if a.kind == "d" or a.kind == "f" and v.kind ~= "d" or a.kind == "i" and v.kind == "i" then
      last[#last + 1] = ("if i <= #%s then %s[i] = @%d end"):format(a.name, a.name, v.number)
    end
  end
  list[#list].last = last

  local names = {}
  for _, arrays in ipairs { p.inputs, p.outputs, p.atomics } do
    for _, a in ipairs(arrays) do
      names[#names + 1] = a.name
    end
  end
  local out = { "local gpu, kernel, array = ...", "local function whole(u, v)", "  if u > v then return u - v end",
    "  return u * 2 + v", "end", "local function real(u, v)", "  local s = u", "  for q = 1, 3 do", "    if v % q == 0 then s = s - q end",
    "  end", "  return s", "end", "local function on_gpu(n, " .. table.concat(names, ", ") .. ")" }
  local function finish(item, cpu, indent)
    local lines = {}
    for _, line in ipairs(item.text) do
      lines[#lines + 1] = line
    end
    item = { text = lines }
    if list[#list].leaves then
      lines[1] = list[#list].text[1]:gsub("goto out", cpu and "goto continue" or "return")
    end
    for _, line in ipairs(last) do
      lines[#lines + 1] = line
    end
    if cpu then
      lines[#lines + 1] = "::continue::"
      write_cpu(out, { item }, indent)
    else
      for _, line in ipairs(lines) do
        out[#out + 1] = indent .. line_of(line, false)
      end
    end
  end
  local final = table.remove(list)
  list[#list + 1] = final
  out[#out + 1] = "  local t = gpu.threadIdx.x + (gpu.threadIdx.y - 1) * gpu.blockDim.x"
  out[#out + 1] = "  local b = gpu.blockIdx.x"
  out[#out + 1] = ("  local i = (b - 1) * %d + t"):format(p.threads)
  for _, s in ipairs(p.shared) do
    out[#out + 1] = ("  local %s = gpu.shared(%q, %d)"):format(s.name, s.dtype, p.threads)
  end
  for _, line in ipairs(first) do
    out[#out + 1] = "  local " .. line_of(line, false)
  end
  list[#list] = nil
  write_gpu(out, list, "  ")
  list[#list + 1] = final
  finish(final, false, "  ")
  out[#out + 1] = "end"
  out[#out + 1] = "local function on_cpu(n, " .. table.concat(names, ", ") .. ")"
  for _, v in ipairs(p.variables) do
    out[#out + 1] = ("  local v%d = array.zeros(%d, %q)"):format(v.number, p.threads, dtype_of[v.kind])
  end
  for kind, dtype in pairs(dtype_of) do
    out[#out + 1] = ("  local before_%s = array.zeros(%d, %q)"):format(kind, p.threads, dtype)
  end
  out[#out + 1] = ("  local votes = array.zeros(%d, \"int64\")"):format(p.threads)
  for _, s in ipairs(p.shared) do
    out[#out + 1] = ("  local %s = array.zeros(%d, %q)"):format(s.name, p.threads, s.dtype)
  end
  out[#out + 1] = ("  for b = 1, %d do"):format(p.blocks)
  write_cpu(out, { { text = first } }, "    ")
  list[#list] = nil
  write_cpu(out, list, "    ")
  list[#list + 1] = final
  finish(final, true, "    ")
  out[#out + 1] = "  end"
  out[#out + 1] = "end"
  out[#out + 1] = "return on_gpu, on_cpu"
  return table.concat(out, "\n")
end

local function filled(a)
  local x = array.zeros(a.size, a.dtype)
  for k = 1, a.size do
    x[k] = a.dtype == "bool" and chance(50) or a.kind ~= "b" and (kinds[a.dtype] == "i" and (a.dtype == "uint8" and random(0, 255) or random(-100, 100))
      or random(-400, 400) / 8)
  end
  return x
end

local function same(x, y)
  for k = 1, #x do
    local u, v = x[k], y[k]
    if u ~= v and (u == u or v == v) then
      return false, k, u, v
    end
  end
  return true
end

local warps, fast = 0, 0
local function run(seed)
  local text = make(seed)
  if only then
    print(text)
  end
  local names, values = {}, {}
  for _, arrays in ipairs { p.inputs, p.outputs, p.atomics } do
    for _, a in ipairs(arrays) do
      names[#names + 1], values[#values + 1] = a.name, filled(a)
    end
  end
  local function wrong(message, ...)
    error(("kernel %d: %s\n%s"):format(seed, message:format(...), text), 0)
  end
  local chunk, syntax = load(text, "random kernel " .. seed)
  if not chunk then
    wrong("no Lua: %s", syntax)
  end
  local on_grid, on_cpu = chunk(gpu, kernel, array)
  local function copies()
    local list = {}
    for k, x in ipairs(values) do
      list[k] = x:copy()
    end
    return list
  end
  local expected = copies()
  local k = gpu.kernel(on_grid)
  local ok, message
  if llvm then
    ok, message = pcall(kernel.jit(on_cpu, { bounds = false }):on("serial"), 21, unpack(expected))
  else
    gpu.use("sim")
    ok, message = pcall(k { grid = p.blocks, block = p.block, partial = true }, 21, unpack(expected))
    gpu.use("cuda")
  end
  if not ok then
    wrong("what is expected: %s", message)
  end
  for _, mode in ipairs(on_gpu and { "cuda" } or (all or seed % 3 == 0) and { "checked", "fast" } or { "checked" }) do
    if not on_gpu then
      gpu.mode(mode)
    end
    local got = copies()
    ok, message = pcall(k { grid = p.blocks, block = p.block, partial = true }, 21, unpack(got))
    if not ok then
      wrong("%s: %s", mode, message)
    end
    for a, x in ipairs(expected) do
      local equal, at, u, v = same(got[a], x)
      if not equal then
        wrong("%s: %s[%d] is %.17g, and on the processor %.17g", mode, names[a], at, tonumber(u) or (u and 1 or 0), tonumber(v) or (v and 1 or 0))
      end
    end
  end
  if text:find("gpu.shfl", 1, true) or text:find("gpu.ballot", 1, true) or text:find("gpu.a[nl][yl]%(") then
    warps = warps + 1
  else
    fast = fast + 1
  end
end

local failures = 0
for seed = only or 1, only or programs do
  local ok, message = pcall(run, seed)
  if not ok then
    failures = failures + 1
    io.stderr:write(message, "\n\n")
    if failures >= 5 then
      break
    end
  end
end
if not on_gpu then
  gpu.mode("checked")
end
print(("%d kernels, %d of them with functions of warps: %d wrong"):format(warps + fast, warps, failures))
os.exit(failures == 0 and 0 or 1)
