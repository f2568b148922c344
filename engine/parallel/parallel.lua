-- What scripts see of parallel work on one machine: workers, and what they share. The parts of the module are chunks that
-- get the core and `kit`: what is local in one and used in others.
local core = ...
local ipairs = ipairs

local parallel = {} -- the module

local kit = { parallel = parallel, kind_of = core.require("array")._kit.kind_of }
parallel._kit = kit

for _, name in ipairs {
  "parallel_sync",
  "parallel_atomic",
  "parallel_queue",
  "parallel_topology",
  "parallel_transport",
  "parallel_futures",
  "parallel_pool",
  "parallel_loops",
  "parallel_worker",
  "parallel_processes",
  "parallel_pipe",
} do
  core.part(name, kit)
end

return parallel
