-- Part of pg.tasks: the nodes that some nodes need, in an order in which they can be computed.
local core, kit = ...
local fail = core.fail
local is_delayed, each_node = kit.is_delayed, kit.each_node
local type, concat = type, table.concat

local none = {}

-- The nodes among a node's arguments, those inside tables included; `none` where there are none. `nested` gets, by node,
-- which arguments are tables that hold nodes.
local function inputs_of(node, nested)
  local args, deep, list, count = node._args, node._deep, none, 0
  local function add(input)
    if list == none then
      list = {}
    end
    count = count + 1
    list[count] = input
  end
  for i = 1, node._n do
    local value = args[i]
    if type(value) == "table" then
      if is_delayed(value) then
        add(value)
      elseif deep and deep[i] then
        local before = count
        each_node(value, add)
        if count > before then
          nested[node] = nested[node] or {}
          nested[node][i] = true
        end
      end
    end
  end
  return list
end

local function cut(names, most)
  if #names <= most then
    return names
  end
  local short, half = {}, math.floor(most / 2)
  for i = 1, half do
    short[i] = names[i]
  end
  short[half + 1] = "... " .. (#names - 2 * half) .. " more ..."
  for i = #names - half + 1, #names do
    short[#short + 1] = names[i]
  end
  return short
end

local function refuse_cycle(name, stack, depth, node)
  local names = {}
  local from = depth
  while stack[from] ~= node do
    from = from - 1
  end
  for i = from, depth do
    names[#names + 1] = "'" .. stack[i]._spec.name .. "'"
  end
  names[#names + 1] = "'" .. node._spec.name .. "'"
  fail("%s: the graph is cyclic: %s; a table that was passed to a call has been given a delayed value that needs that call",
    name, concat(cut(names, 12), " needs "))
end

--- graph{nodes, inputs, index, nested} of all that the roots need: nodes[i] is computed from the nodes whose numbers are in
--- inputs[i], all below i; index[node] is its number. A walk in depth without recursion, so that a chain may have any length.
function kit.graph(name, roots)
  local nodes, inputs, index, nested, count = {}, {}, {}, {}, 0
  local stack, lists, at, depth = {}, {}, {}, 0
  for r = 1, #roots do
    if not index[roots[r]] then
      depth = 1
      stack[1], lists[1], at[1] = roots[r], inputs_of(roots[r], nested), 0
      index[roots[r]] = 0 -- being looked at
    end
    while depth > 0 do
      local list, k = lists[depth], at[depth] + 1
      local input = list[k]
      if input == nil then
        count = count + 1
        nodes[count], inputs[count], index[stack[depth]] = stack[depth], list, count
        for i = 1, k - 1 do
          list[i] = index[list[i]]
        end
        depth = depth - 1
      else
        at[depth] = k
        local number = index[input]
        if number == nil then
          depth = depth + 1
          stack[depth], lists[depth], at[depth] = input, inputs_of(input, nested), 0
          index[input] = 0
        elseif number == 0 then
          refuse_cycle(name, stack, depth, input)
        end
      end
    end
  end
  return { nodes = nodes, inputs = inputs, index = index, nested = nested, count = count }
end

--- The calls from node i to one that nothing else needs: {i, ...}.
function kit.path_from(graph, i)
  local needs = graph.needs
  if not needs then -- for each node the first that needs it
    needs = {}
    for j = graph.count, 1, -1 do
      for _, input in ipairs(graph.inputs[j]) do
        needs[input] = j
      end
    end
    graph.needs = needs
  end
  local path = { i }
  while needs[i] do
    i = needs[i]
    path[#path + 1] = i
  end
  return path
end

kit.cut = cut
