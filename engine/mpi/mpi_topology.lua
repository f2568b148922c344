-- Communicators made from others: copies, parts, Cartesian grids. Dimensions count from 1, ranks and coordinates from 0.
local core, kit = ...
local ffi, fail, check = core.ffi, core.fail, core.check
local library, mpi, Comm = kit.library, kit.mpi, kit.Comm
local need_comm, agree, kind_of, new_comm, finish = kit.need_comm, kit.agree, kit.kind_of, kit.new_comm, kit.finish
local type, pairs, format = type, pairs, string.format

local DUP, SPLIT, CART, FREE, SUB = 111, 112, 113, 114, 118 -- pg_mpi_agree's numbers
local out = ffi.new("pg_mpi_comm *[1]")

local function made(status)
  check(status)
  return out[0] ~= nil and new_comm(out[0]) or nil
end

--- comm:dup(): the same ranks, whose messages do not meet those of comm.
function Comm.dup(comm)
  need_comm("dup", comm)
  agree(comm, DUP)
  return made(library.pg_mpi_dup(out, comm._c))
end

--- comm:split(color [, key]): a communicator of the ranks that give the same color, in the order of their keys (then
--- ranks). color: an integer, 0 or more; nil: this rank gets none.
function Comm.split(comm, color, key)
  need_comm("split", comm)
  if color ~= nil and (type(color) ~= "number" or color < 0 or color % 1 ~= 0) then
    fail("split: a color is an integer, 0 or more, or nil for none, got %s", kind_of(color))
  elseif key ~= nil and (type(key) ~= "number" or key % 1 ~= 0) then
    fail("split: a key is an integer, got %s", kind_of(key))
  end
  agree(comm, SPLIT)
  return made(library.pg_mpi_split(out, comm._c, color or -1, key or 0))
end

--- comm:split_shared(): a communicator of the ranks on this host, which can share memory.
function Comm.split_shared(comm)
  need_comm("split_shared", comm)
  agree(comm, SPLIT)
  return made(library.pg_mpi_split_shared(out, comm._c))
end

--- comm:free(): all its ranks are done with it.
function Comm.free(comm)
  local c, left = need_comm("free", comm), 0
  for request in pairs(kit.live) do
    left = left + (request._r._comm == c and 1 or 0)
  end
  if left > 0 then
    fail("free: %d of this communicator's requests %s not been waited for; call wait, or cancel receives", left,
      left == 1 and "has" or "have")
  end
  agree(comm, FREE)
  check(library.pg_mpi_free(c))
end

--- comm:world_rank(rank): the rank in the world of one of this communicator.
function Comm.world_rank(comm, rank)
  need_comm("world_rank", comm)
  if type(rank) ~= "number" or rank % 1 ~= 0 or rank < 0 or rank >= comm.size then
    fail("world_rank: a rank from 0 to %d is expected, got %s", comm.size - 1, kind_of(rank))
  end
  return library.pg_mpi_world_rank(comm._c, rank)
end

-- ----------------------------------------------------------------------------------------------------------- grids ---
local function need_integers(name, what, list, least)
  if type(list) ~= "table" or #list == 0 then
    fail("%s: %s must be a list of integers, got %s", name, what, kind_of(list))
  end
  for i = 1, #list do
    if type(list[i]) ~= "number" or list[i] % 1 ~= 0 or list[i] < least or list[i] > 2 ^ 31 - 1 then
      fail("%s: %s must be integers, %d or more; item %d is %s", name, what, least, i, kind_of(list[i]))
    end
  end
  return ffi.new("int32_t[?]", #list, list)
end

local function to_list(ints, n)
  local list = {}
  for i = 1, n do
    list[i] = ints[i - 1]
  end
  return list
end

--- mpi.dims_create(ranks, dims): a balanced grid of so many ranks. dims: how many dimensions, or a list in which 0 is to be
--- chosen.
function mpi.dims_create(ranks, dims)
  if type(ranks) ~= "number" or ranks % 1 ~= 0 or ranks < 1 then
    fail("dims_create: a number of ranks, 1 or more, is expected, got %s", kind_of(ranks))
  end
  if type(dims) == "number" then
    if dims % 1 ~= 0 or dims < 1 or dims > 100 then
      fail("dims_create: the number of dimensions must be an integer, 1 or more, got %s", kind_of(dims))
    end
    local zeros = {}
    for i = 1, dims do
      zeros[i] = 0
    end
    dims = zeros
  end
  local ints = need_integers("dims_create", "the dimensions", dims, 0)
  local fixed = 1
  for i = 1, #dims do
    fixed = fixed * (dims[i] == 0 and 1 or dims[i])
  end
  if ranks % fixed ~= 0 then
    fail("dims_create: %d ranks do not fill a grid whose given dimensions make %d", ranks, fixed)
  end
  kit.open()
  check(library.pg_mpi_dims(ranks, #dims, ints))
  return to_list(ints, #dims)
end

local cart_options = { periods = true, reorder = true }

--- comm:create_cart(dims [, {periods = {true, false}, reorder = false}]): a grid of ranks; those that do not fit in get
--- nil. periods: which dimensions are closed to a ring (true: all).
function Comm.create_cart(comm, dims, options)
  need_comm("create_cart", comm)
  local ints = need_integers("create_cart", "the dimensions", dims, 1)
  options = options or {}
  if type(options) ~= "table" then
    fail("create_cart: options are a table such as {periods = {true, false}}, got %s", kind_of(options))
  end
  core.require("array")._kit.check_options("create_cart", options, cart_options)
  local periods, total = ffi.new("int32_t[?]", #dims), 1
  local list = {}
  for i = 1, #dims do
    local given = options.periods
    if type(given) == "table" then
      given = given[i]
    end
    if given ~= nil and type(given) ~= "boolean" then
      fail("create_cart: periods are true or false, or a list of these, got %s", kind_of(given))
    end
    list[i] = given or false
    periods[i - 1] = given and 1 or 0
    total = total * dims[i]
  end
  if total > comm.size then
    fail("create_cart: a grid of %s is %d ranks, and this communicator has %d", table.concat(dims, " x "), total, comm.size)
  end
  agree(comm, CART, nil, 0)
  local cart = made(library.pg_mpi_cart(out, comm._c, #dims, ints, periods, options.reorder and 1 or 0))
  if cart then
    cart._grid = { dims = to_list(ints, #dims), periods = list }
    cart._grid.coords = cart:coords_of(cart.rank)
  end
  return cart
end

local function need_cart(name, comm)
  need_comm(name, comm)
  if not comm._grid then
    fail("%s: this communicator is no grid; make one by create_cart", name)
  end
end

--- cart:coords_of(rank): a list of its coordinates, from 0.
function Comm.coords_of(cart, rank)
  need_cart("coords_of", cart)
  if type(rank) ~= "number" or rank % 1 ~= 0 or rank < 0 or rank >= cart.size then
    fail("coords_of: a rank from 0 to %d is expected, got %s", cart.size - 1, kind_of(rank))
  end
  local coords = ffi.new("int32_t[?]", #cart.dims)
  check(library.pg_mpi_cart_coords(coords, cart._c, rank, #cart.dims))
  return to_list(coords, #cart.dims)
end

--- cart:rank_of(coords): the rank at these coordinates; they wrap around in rings.
function Comm.rank_of(cart, coords)
  need_cart("rank_of", cart)
  local ints = need_integers("rank_of", "coordinates", coords, -2 ^ 31)
  if #coords ~= #cart.dims then
    fail("rank_of: %d coordinates are expected, got %d", #cart.dims, #coords)
  end
  for i = 1, #coords do
    if not cart.periods[i] and (coords[i] < 0 or coords[i] >= cart.dims[i]) then
      fail("rank_of: coordinate %d is %d, outside of 0 to %d, and dimension %d is no ring", i, coords[i], cart.dims[i] - 1, i)
    end
  end
  local rank = ffi.new("int32_t[1]")
  check(library.pg_mpi_cart_rank(rank, cart._c, ints))
  return rank[0]
end

--- cart:shift(dimension [, displacement]): the rank to receive from and the rank to send to, for a shift by displacement
--- (1) along a dimension; mpi.PROC_NULL beyond an edge.
function Comm.shift(cart, dimension, displacement)
  need_cart("shift", cart)
  if type(dimension) ~= "number" or dimension % 1 ~= 0 or dimension < 1 or dimension > #cart.dims then
    fail("shift: a dimension from 1 to %d is expected, got %s", #cart.dims, kind_of(dimension))
  elseif displacement ~= nil and (type(displacement) ~= "number" or displacement % 1 ~= 0) then
    fail("shift: the displacement must be an integer, got %s", kind_of(displacement))
  end
  local source, dest = ffi.new("int32_t[1]"), ffi.new("int32_t[1]")
  check(library.pg_mpi_cart_shift(source, dest, cart._c, dimension - 1, displacement or 1))
  return source[0], dest[0]
end

--- cart:neighbours(): the ranks next to this one, for each dimension the one below and the one above, as
--- Neighbor_allgather takes them; mpi.PROC_NULL beyond an edge.
function Comm.neighbours(cart)
  need_cart("neighbours", cart)
  local list = {}
  for i = 1, #cart.dims do
    local below, above = cart:shift(i, 1)
    list[#list + 1], list[#list + 2] = below, above
  end
  return list
end

--- cart:sub(keep): slices of the grid: the ranks that differ only in the dimensions of which `keep` says true.
function Comm.sub(cart, keep)
  need_cart("sub", cart)
  if type(keep) ~= "table" or #keep ~= #cart.dims then
    fail("sub: a list of %d times true or false is expected, got %s", #cart.dims, kind_of(keep))
  end
  local ints = ffi.new("int32_t[?]", #keep)
  local dims, periods, coords = {}, {}, {}
  for i = 1, #keep do
    if type(keep[i]) ~= "boolean" then
      fail("sub: item %d must be true or false, got %s", i, kind_of(keep[i]))
    end
    ints[i - 1] = keep[i] and 1 or 0
    if keep[i] then
      dims[#dims + 1], periods[#periods + 1], coords[#coords + 1] = cart.dims[i], cart.periods[i], cart.coords[i]
    end
  end
  agree(cart, SUB)
  local slice = made(library.pg_mpi_cart_sub(out, cart._c, ints))
  slice._grid = { dims = dims, periods = periods, coords = coords }
  return slice
end
