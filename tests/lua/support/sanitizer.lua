-- "asan" or "tsan" where this program was built with one, else false.
for line in io.lines("/proc/self/maps") do
  local name = line:match("lib([at]san)")
  if name then
    return name
  end
end
return false
