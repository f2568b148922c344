-- The Perigee side of the suite of files: `ours.lua make FOLDER` writes the files, `ours.lua OPERATION FOLDER THREADS COUNT`
-- prints the least CPU and wall time of COUNT runs, in seconds.
local pg = require "perigee"
local io, array, timer, random = pg.io, pg.array, pg.timer, pg.random
local what, folder, threads, count = ...
folder = folder .. "/"

local g = random.generator(1)
local function uniform(n, low, high) return g:uniform(low, high, { shape = { n } }) end

if what == "make" then
  local n = 300000
  local exact, short, whole, words = {}, {}, {}, { "alpha", "beta, gamma", 'del"ta', "epsilon", "zeta eta theta" }
  local names = {}
  for c = 1, 6 do
    names[c] = "c" .. c
    exact[names[c]] = uniform(n, -10, 10)
    short[names[c]] = array.round(uniform(n, -100, 1000) * 1000) / 1000
    whole[names[c]] = uniform(n, -1e6, 1e6):astype "int64"
  end
  local name, city = {}, {}
  for i = 1, n do
    name[i], city[i] = words[1 + i * 7919 % 5], words[1 + i * 104729 % 1009 % 5]
  end
  io.write_csv(folder .. "exact.csv", exact)
  io.write_csv(folder .. "short.csv", short)
  io.write_csv(folder .. "whole.csv", whole)
  io.write_csv(folder .. "mixed.csv", { id = array.range(n), x = exact.c1, p = short.c1, name = name, city = city, k = whole.c1 })
  io.save(folder .. "a.npy", uniform(4e6, 0, 1))
  io.savez_compressed(folder .. "a.npz", { a = whole.c1, b = whole.c2 })
  local list = {}
  for i = 1, 20000 do
    list[i] = { id = i, name = name[i], price = short.c1[i], tags = { city[i], "x" }, ok = i % 3 == 0 }
  end
  io.write_json(folder .. "records.json", list)
  io.write_json(folder .. "numbers.json", exact.c1)
  return
end

local a = what:find "^save" and io.load(folder .. "a.npy")
local value = what == "write records" and io.read_json(folder .. "records.json")
local operations = {
  ["exact.csv"] = function() return io.read_csv(folder .. what) end,
  ["save a.npy"] = function() io.save(folder .. "ours.npy", a) end,
  ["a.npy"] = function() return io.load(folder .. what) end,
  ["records.json"] = function() return io.read_json(folder .. what) end,
  ["numbers.json"] = function() return io.read_json(folder .. what, { arrays = true }) end,
  ["write records"] = function() return io.to_json(value) end,
}
operations["short.csv"], operations["whole.csv"], operations["mixed.csv"] = operations["exact.csv"], operations["exact.csv"],
  operations["exact.csv"]
operations["a.npz"] = operations["a.npy"]
local run = operations[what]
pg.threads(tonumber(threads))
local cpu, wall = math.huge, math.huge
for _ = 1, tonumber(count) do
  collectgarbage()
  local c, w = timer.cpu(), timer.now()
  local result = run()
  cpu, wall = math.min(cpu, timer.cpu() - c), math.min(wall, timer.now() - w)
end
print(("%.9g %.9g"):format(cpu, wall))
