-- The Perigee side of the suite of arrays: takes orders from arrays.cpp on standard input, a line each, fields divided
-- by tabs, and answers each with a line.
--   threads N                              -> ok
--   prepare INPUTS N DTYPE PATH STATEMENT  -> ok, or "missing" and why: inputs made, statement run once
--   run COUNT                              -> seconds of CPU and of wall time for COUNT runs
local pg = require "perigee"
local array, timer = require "perigee.array", require "perigee.timer"

-- A module that a statement names; others stay unloaded, as in a script that does what the statement does.
local function module(name, statement)
  return statement:find(name .. ".", 1, true) and require("perigee." .. name) or nil
end

local function uniform(shape, low, high, dtype, key)
  local a = require("perigee.random").generator(1):stream(key):uniform(low, high, {shape = shape})
  return dtype == "float64" and a or a:astype(dtype)
end

local function pair(v, low, high)
  v.a = uniform(v.n, low, high, v.dtype, 1)
  v.b = uniform(v.n, low, high, v.dtype, 2)
end

local inputs = {
  pair = function(v) pair(v, 1, 2) end,
  positive = function(v) pair(v, 0.001, 1000) end,
  wide = function(v) pair(v, -10, 10) end,
  powers = function(v)
    v.a, v.b = uniform(v.n, 0.1, 10, v.dtype, 1), uniform(v.n, -3, 3, v.dtype, 2)
  end,
  masked = function(v)
    pair(v, 1, 2)
    v.m = uniform(v.n, 0, 1, v.dtype, 3):lt(0.5)
  end,
  matrix = function(v)
    local rows = math.floor(math.sqrt(v.n / 1.6))
    v.a = uniform({ rows, math.floor(v.n / rows) }, 1, 2, v.dtype, 1)
  end,
  square = function(v)
    local side = math.floor(math.sqrt(v.n))
    v.a, v.b = uniform({ side, side }, -1, 1, v.dtype, 1), uniform({ side, side }, -1, 1, v.dtype, 2)
  end,
  tall = function(v) v.a = uniform({ v.n / 100, 100 }, -1, 1, v.dtype, 1) end,
  generator = function(v) v.g = require("perigee.random").generator(1) end,
  csv = function() end,
  list = function(v)
    v.t = {}
    for i = 1, v.n do
      v.t[i] = i * 0.7
    end
  end,
}

local body = [[
local v = ...
local array, linalg, fft, io, g, n, dtype, path = v.array, v.linalg, v.fft, v.io, v.g, v.n, v.dtype, v.path
local a, b, m, t, c, d, e = v.a, v.b, v.m, v.t
return function(count)
  for _ = 1, count do
    %s
  end
  return c
end]]

local loop
local out = io.stdout

local function prepare(name, n, dtype, path, statement)
  loop = nil
  collectgarbage()
  collectgarbage()
  local v = {
    array = array, linalg = module("linalg", statement), fft = module("fft", statement), io = module("io", statement),
    n = tonumber(n), dtype = dtype, path = path,
  }
  inputs[name](v)
  loop = assert(load(body:format(statement)))(v)
  loop(1)
end

for line in io.stdin:lines() do
  local order, rest = line:match("^(%S+)\t?(.*)$")
  local answer = "ok"
  if order == "run" then
    local count = tonumber(rest)
    local wall, cpu = timer.now(), timer.cpu()
    loop(count)
    cpu, wall = timer.cpu() - cpu, timer.now() - wall
    answer = ("%.9g %.9g"):format(cpu, wall)
  elseif order == "prepare" then
    local ok, why = pcall(prepare, rest:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$"))
    answer = ok and "ok" or "missing " .. tostring(why):gsub("%s+", " ")
  elseif order == "threads" then
    pcall(function() pg.threads(tonumber(rest)) end)
  end
  out:write(answer, "\n")
  out:flush()
end
