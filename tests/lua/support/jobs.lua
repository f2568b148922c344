-- For tests of MPI jobs: starts them by the shipped binary, and looks that nothing of them is left.
local lu = require "luaunit"

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local perigee = output_of("readlink /proc/$PPID/exe"):gsub("\n", "")
if output_of("command -v mpirun.openmpi orterun mpirun") == "" then
  print("skipped: no mpirun on this machine (Debian: openmpi-bin)")
  os.exit(0)
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local folder = output_of("mktemp -d"):gsub("\n", "")
local jobs = 0

--- Writes a script of this text; its first line is `head`.
local function script(text, head)
  jobs = jobs + 1
  local path = folder .. "/job" .. jobs .. ".lua"
  local file = assert(io.open(path, "w"))
  file:write(head, "\n", text)
  file:close()
  return path
end

-- Processes that have this job's mark in their environment.
local function left_behind(mark)
  return output_of("grep -lzs '^PERIGEE_TEST_MARK=" .. mark .. "$' /proc/[0-9]*/environ; true")
end

--- Runs `perigee mpirun <options> <script>`; returns its exit code, standard output and standard error. Nothing of the job may
--- be left. `shell`: what else to do, with `timeout` as $job and `child PID`;
--- `settings`: VARIABLE=value; `input`: a command that writes it, and a pipe; `most`: seconds that it may take.
local function mpirun(options, path, shell, settings, input, most)
  local mark = folder:match("[^/]*$") .. "-" .. jobs -- no other test program's
  local out, err = folder .. "/out", folder .. "/err"
  local command = ("%s PERIGEE_TEST_MARK=%s timeout -k 5 %d env %s %s mpirun --trusted --oversubscribe %s %s >%s 2>%s"):format(
    input or "", mark, most or 120, settings or "", quoted(perigee), options, path, out, err)
  local code
  if shell then
    code = output_of(command .. " </dev/null & job=$!; child() { cat /proc/[0-9]*/stat 2>/dev/null | " ..
      "awk -v p=$1 '$4 == p { print $1; exit }'; }; " .. shell .. "; wait $job; echo $?")
  else
    code = output_of(command .. "; echo $?")
  end
  local function read(name)
    local file = assert(io.open(name))
    local text = file:read("*a")
    file:close()
    return text
  end
  local left = left_behind(mark)
  for _ = 1, 150 do -- what is killed is not gone at once
    if left == "" then
      break
    end
    os.execute("sleep 0.2")
    left = left_behind(mark)
  end
  lu.assertEquals(left, "")
  return tonumber(code), read(out), read(err)
end

local function lines_of(text, pattern)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    if line:find(pattern or "") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

local function sorted(lines)
  table.sort(lines)
  return lines
end

--- Ends the test program.
local function finish()
  local result = lu.LuaUnit.run()
  os.execute("rm -r " .. quoted(folder))
  os.exit(result)
end

return { output_of = output_of, perigee = perigee, quoted = quoted, folder = folder, script = script, mpirun = mpirun,
  lines_of = lines_of, sorted = sorted, finish = finish }
