-- Messages for the ring, and what is to be said of them. size = {counts, rounds, ranks}: how many numbers each message has.
local array = require "perigee.array"

local function inputs(rng, size)
  local messages = {}
  for k, count in ipairs(size.counts) do
    messages[k] = rng:integers(-1000, 1000, { shape = { count } }):astype("float64") -- whole: sums are exact
  end
  return { messages, size.rounds, size.ranks }
end

-- By how much the first number grows: each rank r adds r + 1 in each round, the one that warms up too.
local function expected(given)
  local rounds, ranks = given[2], given[3]
  return { growth = (rounds + 1) * ranks * (ranks + 1) / 2 }
end

local function check(given, got, want, info)
  local messages, rounds, ranks, growth = given[1], given[2], given[3], want.growth
  if type(got) ~= "table" then
    return false, "the result must be a table {messages, bytes, seconds, latency, bandwidth}, not a " .. type(got)
  end
  for _, name in ipairs { "messages", "bytes", "seconds" } do
    if type(got[name]) ~= "table" or #got[name] ~= #messages then
      return false, ("%s must be a list of %d, one for each message"):format(name, #messages)
    end
  end
  for _, name in ipairs { "latency", "bandwidth" } do
    if type(got[name]) ~= "number" or not (got[name] > 0 and got[name] < math.huge) then
      return false, name .. " must be a number above 0"
    end
  end
  local total = 0
  for k, message in ipairs(messages) do
    local bytes, seconds, after = 8 * message.size, got.seconds[k], got.messages[k]
    if not array.is(after) or after.dtype ~= "float64" or after.ndim ~= 1 or after.size ~= message.size then
      return false, ("messages[%d] must be what rank 0 received last: a float64 array of %d numbers"):format(k, message.size)
    end
    local right = message:copy()
    right[1] = right[1] + growth
    if not array.equal(after, right) then
      local first = after[1] - message[1]
      if first ~= growth then
        return false, ("messages[%d][1] has grown by %g; in %d rounds and one to warm up %s %g"):format(k, first, rounds,
          ranks == 1 and "rank 0 adds" or ("ranks 0 to %d add"):format(ranks - 1), growth)
      end
      return false, ("messages[%d] has come back changed; ranks add to its first number only"):format(k)
    end
    if got.bytes[k] ~= bytes then
      return false, ("bytes[%d] is %s; the message has %d numbers of 8 bytes"):format(k, tostring(got.bytes[k]), message.size)
    end
    -- Caches copy some 100 GB/s.
    local least = 2e-8 + bytes / 1e12
    if type(seconds) ~= "number" or not (seconds > 0 and seconds < math.huge) then
      return false, ("seconds[%d] must be the seconds that one message took, a number above 0"):format(k)
    elseif seconds < least then
      return false, ("seconds[%d] is %.3g: no machine sends %d bytes in that time. Is it in seconds, and of one message?")
        :format(k, seconds, bytes)
    end
    total = total + seconds * rounds * ranks
  end
  if math.abs(got.latency - got.seconds[1]) > 1e-9 * got.seconds[1] then
    return false, ("latency is %.4g s, but the shortest message took %.4g s (seconds[1])"):format(got.latency, got.seconds[1])
  end
  local bandwidth = got.bytes[#messages] / got.seconds[#messages]
  if math.abs(got.bandwidth - bandwidth) > 1e-9 * bandwidth then
    return false, ("bandwidth is %.4g bytes a second, but %d bytes took %.4g s: %.4g"):format(got.bandwidth,
      got.bytes[#messages], got.seconds[#messages], bandwidth)
  end
  if info and info.wall then
    if total > 1.02 * info.wall + 1e-3 then
      return false, ("%d rounds of %d messages at these times take %.4g s, but the whole call took only %.4g s: seconds[k] is "
        .. "the time of one message, of which a round has one for each rank"):format(rounds, ranks, total, info.wall)
    elseif total < 0.2 * info.wall - 0.1 then
      return false, ("%d rounds of %d messages at these times take %.4g s, but the call took %.4g s: where was the rest? "
        .. "seconds[k] is the time of one message"):format(rounds, ranks, total, info.wall)
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
