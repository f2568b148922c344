-- A data race between two workers of a pool, which ThreadSanitizer must report: else what it says of the tests of pools
-- is worth nothing.
local pg = require "perigee"
local shared, together = pg.array.zeros(100), pg.parallel.barrier(2)
pg.parallel.pool(2):map(function(value)
  together:wait() -- on two workers at once
  for _ = 1, 100 do
    shared:fill(value)
  end
end, { 1, 2 }, { chunksize = 1 })
