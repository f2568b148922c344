-- Distances between points.
local core, kit, own = ...
local fail, type, tonumber, format = core.fail, type, tonumber, string.format
local L, linalg, need, need_options = own.library, own.linalg, own.need, own.need_options
local array = core.require("array")
local methods, array_t, call, kind_of, shape_text = kit.methods, kit.array_t, kit.call, kit.kind_of, kit.shape_text

local metrics = { euclidean = 0, sqeuclidean = 1, cityblock = 2, chebyshev = 3, minkowski = 4, cosine = 5 }
local options_known = { metric = true, p = true }

local function parse_metric(name, options)
  if type(options) == "string" then
    options = { metric = options }
  end
  options = need_options(name, options, options_known)
  local metric = options.metric == nil and "euclidean" or options.metric
  local number = metrics[metric]
  if not number then
    fail('%s: the metric is "euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine" or "minkowski", got %s', name,
      kind_of(metric))
  end
  local p = options.p == nil and 2 or options.p
  if options.p ~= nil and metric ~= "minkowski" then
    fail('%s: p is for the metric "minkowski"', name)
  elseif type(p) ~= "number" or not (p > 0 and p < math.huge) then
    fail("%s: p must be a positive number, got %s", name, kind_of(p))
  end
  return number, p
end

local function need_points(name, x)
  local a = need(name, x)
  if a._ndim ~= 2 then
    fail("%s: points are the rows of a matrix, an array of 2 dimensions; got shape %s", name,
      shape_text(a._shape, a._ndim))
  elseif own.is_complex(a) then
    core.unsupported("%s: complex coordinates; give real and imaginary parts as two columns", name)
  end
  return a
end

--- linalg.cdist(a, b [, {metric = "euclidean", p = 2}]): the distances between rows of a (m, d) and rows of b (n, d): an
--- array (m, n) of float64. Also "sqeuclidean", "cityblock", "chebyshev", "cosine", "minkowski" (of order p).
function linalg.cdist(a, b, options)
  local x, y = need_points("cdist", a), need_points("cdist", b)
  local metric, p = parse_metric("cdist", options)
  if x._shape[1] ~= y._shape[1] then
    fail("cdist: points of %d and of %d coordinates", tonumber(x._shape[1]), tonumber(y._shape[1]))
  end
  return (call(L.pg_linalg_cdist, array_t(), x, y, metric, p))
end

--- linalg.pdist(a [, {metric =, p =}]): the distances between every two rows, each once: a vector of n (n - 1) / 2 in
--- the order (1, 2), (1, 3), ..., (2, 3), ... squareform makes a matrix of it.
function linalg.pdist(a, options)
  local metric, p = parse_metric("pdist", options)
  return (call(L.pg_linalg_pdist, array_t(), need_points("pdist", a), metric, p))
end

--- linalg.squareform(x): pdist's vector as a symmetric matrix, or such a matrix as the vector.
function linalg.squareform(x)
  local a = need("squareform", x)
  if a._ndim == 1 then
    return (call(L.pg_linalg_squareform, array_t(), a))
  elseif a._ndim ~= 2 or a._shape[0] ~= a._shape[1] then
    fail("squareform: a vector or a square matrix is expected, got shape %s", shape_text(a._shape, a._ndim))
  end
  local n = tonumber(a._shape[0])
  if not array.allclose(a, methods.transpose(a), { equal_nan = true }) then
    fail("squareform: the matrix of distances must be symmetric")
  end
  local out, at = array.zeros(n * (n - 1) / 2), 0
  for i = 1, n - 1 do
    out[{ { at + 1, at + n - i } }] = a[{ i, { i + 1, n } }]
    at = at + n - i
  end
  return out
end
