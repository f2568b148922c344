-- Inputs and checks of the product counter. size = {sales, products, kind}; kind says what the text is like:
--   plain  every line ends in a line break
--   open   the last one does not
--   each   every product occurs exactly once
--   odd    names with spaces, pattern signs, digits, letters beyond ASCII, and one that begins like another

local kinds = { "tea", "milk", "rye", "salt", "oil", "rice", "beans", "figs", "oat", "leek" }
local odd = { "100% juice", "a.b", "a-b", "(none)", "[x]", "%d+", "^top", "end$", "10", "010", "1e1", "nil", "__index",
  "tea", "tea bag", "tea bags", "crème", "käse", "茶", "'quoted'", '"double"', "back\\slash", "semi;colon", "a,b" }

local function inputs(rng, size)
  local names, seen = {}, {}
  while #names < size.products do
    local name
    if size.kind == "odd" and #names < #odd then
      name = odd[#names + 1]
    else
      name = ("%s %d"):format(kinds[rng:integers(1, #kinds)], rng:integers(1, 99))
    end
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  local lines = {}
  if size.kind == "each" then
    for i = 1, size.products do
      lines[i] = names[i]
    end
    rng:shuffle(lines)
  elseif size.sales > 0 then
    -- Some sell more than others: the smaller of two drawn places.
    local a = rng:integers(1, size.products, { shape = { size.sales } })
    local b = rng:integers(1, size.products, { shape = { size.sales } })
    for i = 1, size.sales do
      lines[i] = names[math.min(a[i], b[i])]
    end
  end
  local text = table.concat(lines, "\n")
  if size.sales > 0 and size.kind ~= "open" then
    text = text .. "\n"
  end
  return { text }
end

local function check(inputs, got, expected)
  if type(got) ~= "table" or type(got.names) ~= "table" or type(got.counts) ~= "table" then
    return false, "the result must be a table {names = {...}, counts = {...}}"
  end
  if #got.names ~= #expected.names then
    return false, ("names must hold each product that was sold once: %d names, got %d"):format(#expected.names,
      #got.names)
  end
  if #got.counts ~= #got.names then
    return false, ("counts must be as long as names (%d), got %d"):format(#got.names, #got.counts)
  end
  for i, name in ipairs(expected.names) do
    if got.names[i] ~= name or got.counts[i] ~= expected.counts[i] then
      return false, ("place %d is %s with %s sales; expected %s with %d. Most sold first, equal ones by name"):format(i,
        type(got.names[i]) == "string" and ("%q"):format(got.names[i]) or tostring(got.names[i]),
        tostring(got.counts[i]), ("%q"):format(name), expected.counts[i])
    end
  end
  return true
end

return { inputs = inputs, check = check }
