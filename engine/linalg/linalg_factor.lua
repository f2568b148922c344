-- Linear systems, decompositions, eigenvalues.
local core, kit, own = ...
local fail, tonumber, type, huge = core.fail, tonumber, type, math.huge
local ffi = core.ffi
local array = core.require("array")
local L, linalg = own.library, own.linalg
local methods, array_t, call, kind_of, shape_text = kit.methods, kit.array_t, kit.call, kit.kind_of, kit.shape_text
local need, need_options, need_boolean, need_tolerance = own.need, own.need_options, own.need_boolean,
  own.need_tolerance
local result, in_one_dtype, epsilon, shape_of, restride, strides_of, with_shape = own.result, own.in_one_dtype,
  own.epsilon, own.shape_of, own.restride, own.strides_of, own.with_shape

-- a with these leading lengths before its last two axes, without copying: repeated axes have stride 0.
local function broadcast_batch(a, batch)
  local shape, strides = shape_of(a), strides_of(a)
  local n, missing = #batch, #batch - (#shape - 2)
  local wide, steps = {}, {}
  for i = 1, n do
    local length = i > missing and shape[i - missing] or 1
    wide[i] = batch[i]
    steps[i] = (i > missing and length == batch[i]) and strides[i - missing] or 0
  end
  for i = 1, 2 do
    wide[n + i], steps[n + i] = shape[#shape - 2 + i], strides[#strides - 2 + i]
  end
  return (restride(a, wide, steps))
end

-- The leading lengths in which those of two arrays meet.
local function common_batch(name, a, b)
  local p, q = shape_of(a), shape_of(b)
  local n = math.max(#p, #q) - 2
  local batch = {}
  for i = 1, n do
    local x, y = p[i - (n - (#p - 2))] or 1, q[i - (n - (#q - 2))] or 1
    if i <= n - (#p - 2) then x = 1 end
    if i <= n - (#q - 2) then y = 1 end
    if x ~= y and x ~= 1 and y ~= 1 then
      fail("%s: the axes before the last two do not broadcast: shapes %s and %s", name, shape_text(a._shape, a._ndim),
        shape_text(b._shape, b._ndim))
    end
    batch[i] = x == 1 and y or x
  end
  return batch
end

local function same(batch, a)
  if #batch ~= a._ndim - 2 then
    return false
  end
  for i = 1, #batch do
    if a._shape[i - 1] ~= batch[i] then
      return false
    end
  end
  return true
end

--- linalg.solve(a, b): x with a x = b, for square a. b is a vector (one dimension) or the columns of a matrix; axes
--- before the last two are a batch.
function linalg.solve(a, b)
  local x, y = need("solve", a), need("solve", b)
  if x._ndim < 2 or x._shape[x._ndim - 1] ~= x._shape[x._ndim - 2] then
    fail("solve: the matrix must be square, got shape %s%s", shape_text(x._shape, x._ndim),
      x._ndim == 2 and " (lstsq takes others)" or "")
  elseif y._ndim == 0 then
    fail("solve: the right-hand side must be a vector or a matrix, got an array of 0 dimensions")
  end
  local n, vector = tonumber(x._shape[x._ndim - 1]), y._ndim == 1
  if y._shape[vector and 0 or y._ndim - 2] ~= n then
    fail("solve: a matrix of shape %s needs right-hand sides of %d rows, got shape %s", shape_text(x._shape, x._ndim), n,
      shape_text(y._shape, y._ndim))
  end
  x, y = in_one_dtype(x, y)
  if vector then
    y = restride(y, { n, 1 }, { tonumber(y._strides[0]), 1 })
  end
  if x._ndim > 2 or y._ndim > 2 then
    local batch = common_batch("solve", x, y)
    x = same(batch, x) and x or broadcast_batch(x, batch)
    y = same(batch, y) and y or broadcast_batch(y, batch)
  end
  local out = call(L.pg_linalg_solve, array_t(), x, y)
  if vector then
    local shape = shape_of(out)
    shape[#shape] = nil
    return (with_shape(out, shape))
  end
  return out
end

--- linalg.inv(a): the inverse of a square matrix, or of each of a batch.
function linalg.inv(a)
  return (call(L.pg_linalg_inv, array_t(), need("inv", a)))
end

--- linalg.det(a): the determinant, a number; of a batch, an array.
function linalg.det(a)
  return (result(call(L.pg_linalg_det, array_t(), nil, need("det", a))))
end

--- linalg.slogdet(a): the determinant's sign (for complex matrices its direction) and the logarithm of its absolute
--- value, for determinants that would overflow.
function linalg.slogdet(a)
  local logarithm = array_t()
  local sign = call(L.pg_linalg_det, array_t(), logarithm, need("slogdet", a))
  return result(sign), (result(logarithm))
end

local only_upper = { upper = true }

--- linalg.cholesky(a [, {upper = false}]): the lower triangular L with a = L L^H, or the upper U with a = U^H U, of a
--- positive definite matrix. Only that triangle of a is read.
function linalg.cholesky(a, options)
  options = need_options("cholesky", options, only_upper)
  local upper = need_boolean("cholesky", "upper", options.upper, false)
  return (call(L.pg_linalg_cholesky, array_t(), need("cholesky", a), upper and 1 or 0))
end

local only_mode = { mode = true }

--- linalg.qr(a [, {mode = "reduced"}]): Q and R with a = Q R, Q's columns orthonormal, R upper triangular. "complete"
--- makes Q square; "r" gives R alone.
function linalg.qr(a, options)
  local x = need("qr", a)
  options = need_options("qr", options, only_mode)
  local mode = options.mode == nil and "reduced" or options.mode
  if mode ~= "reduced" and mode ~= "complete" and mode ~= "r" then
    fail('qr: mode is "reduced", "complete" or "r", got %s', kind_of(mode))
  end
  if mode == "r" then
    return (call(L.pg_linalg_qr, array_t(), nil, x, 0))
  end
  local q = array_t()
  local r = call(L.pg_linalg_qr, array_t(), q, x, mode == "complete" and 1 or 0)
  return q, r
end

local svd_options = { full_matrices = true, compute_uv = true }

--- linalg.svd(a [, {full_matrices = true, compute_uv = true}]): U, s and Vh with a = U diag(s) Vh, s descending. Slim
--- with full_matrices = false: as many columns of U and rows of Vh as there are singular values. compute_uv = false
--- gives s alone.
function linalg.svd(a, options)
  local x = need("svd", a)
  options = need_options("svd", options, svd_options)
  local full = need_boolean("svd", "full_matrices", options.full_matrices, true)
  if not need_boolean("svd", "compute_uv", options.compute_uv, true) then
    return (call(L.pg_linalg_svd, array_t(), nil, nil, x, 0))
  end
  local u, vh = array_t(), array_t()
  local s = call(L.pg_linalg_svd, array_t(), u, vh, x, full and 1 or 0)
  return u, s, vh
end

--- linalg.svdvals(a): the singular values alone, descending.
function linalg.svdvals(a)
  return (call(L.pg_linalg_svd, array_t(), nil, nil, need("svdvals", a), 0))
end

--- linalg.eig(a): eigenvalues w and eigenvectors v (columns) of a general square matrix: a v[:, i] = w[i] v[:, i].
--- complex, but real where a is real and so is every eigenvalue.
function linalg.eig(a)
  local v = array_t()
  local w = call(L.pg_linalg_eig, array_t(), v, need("eig", a))
  return w, v
end

--- linalg.eigvals(a): the eigenvalues alone.
function linalg.eigvals(a)
  return (call(L.pg_linalg_eig, array_t(), nil, need("eigvals", a)))
end

--- linalg.eigh(a [, {upper = false}]): eigenvalues, ascending, and orthonormal eigenvectors (columns) of a symmetric or
--- Hermitian matrix, of which only the lower (or upper) triangle is read.
function linalg.eigh(a, options)
  options = need_options("eigh", options, only_upper)
  local upper, v = need_boolean("eigh", "upper", options.upper, false), array_t()
  local w = call(L.pg_linalg_eigh, array_t(), v, need("eigh", a), upper and 1 or 0)
  return w, v
end

--- linalg.eigvalsh(a [, {upper = false}]): the eigenvalues alone.
function linalg.eigvalsh(a, options)
  options = need_options("eigvalsh", options, only_upper)
  local upper = need_boolean("eigvalsh", "upper", options.upper, false)
  return (call(L.pg_linalg_eigh, array_t(), nil, need("eigvalsh", a), upper and 1 or 0))
end

local function longest_side(a)
  return math.max(tonumber(a._shape[a._ndim - 1]), tonumber(a._shape[a._ndim - 2]))
end

local only_rcond = { rcond = true }
local rank = ffi.new("int32_t[1]")

--- linalg.lstsq(a, b [, {rcond = eps * max(m, n)}]): the x of least length for which a x is closest to b; then the sums
--- of squared residuals (empty unless a has full rank and more rows than columns), the rank, and a's singular values.
function linalg.lstsq(a, b, options)
  local x, y = need("lstsq", a), need("lstsq", b)
  options = need_options("lstsq", options, only_rcond)
  if x._ndim ~= 2 then
    fail("lstsq: a matrix is expected, an array of 2 dimensions; got shape %s", shape_text(x._shape, x._ndim))
  elseif y._ndim ~= 1 and y._ndim ~= 2 then
    fail("lstsq: the right-hand side must be a vector or a matrix, got shape %s", shape_text(y._shape, y._ndim))
  elseif y._shape[0] ~= x._shape[0] then
    fail("lstsq: a matrix of shape %s needs right-hand sides of %d rows, got shape %s", shape_text(x._shape, x._ndim),
      tonumber(x._shape[0]), shape_text(y._shape, y._ndim))
  end
  local vector = y._ndim == 1
  x, y = in_one_dtype(x, y)
  if vector then
    y = restride(y, { tonumber(y._shape[0]), 1 }, { tonumber(y._strides[0]), 1 })
  end
  local rcond = options.rcond == nil and epsilon(x) * longest_side(x) or
    need_tolerance("lstsq", "rcond", options.rcond)
  local residuals, s = array_t(), array_t()
  local solution = call(L.pg_linalg_lstsq, array_t(), residuals, s, rank, x, y, rcond)
  if vector then
    solution = with_shape(solution, { tonumber(solution._shape[0]) })
  end
  return solution, residuals, rank[0], s
end

--- linalg.pinv(a [, {rcond = eps * max(m, n)}]): the pseudo-inverse (Moore-Penrose); singular values below rcond times
--- the largest count as 0.
function linalg.pinv(a, options)
  local x = need("pinv", a)
  options = need_options("pinv", options, only_rcond)
  if x._ndim < 2 then
    fail("pinv: a matrix is expected, an array of 2 dimensions or more; got shape %s", shape_text(x._shape, x._ndim))
  end
  local rcond = options.rcond == nil and epsilon(x) * longest_side(x) or need_tolerance("pinv", "rcond", options.rcond)
  return (call(L.pg_linalg_pinv, array_t(), x, rcond))
end

local rank_options = { tol = true, rtol = true }

--- linalg.matrix_rank(a [, {rtol = eps * max(m, n), tol =}]): how many singular values exceed rtol times the largest (or
--- tol); of a batch, an array.
function linalg.matrix_rank(a, options)
  local x = need("matrix_rank", a)
  options = need_options("matrix_rank", options, rank_options)
  if x._ndim < 2 then -- as NumPy has it: a vector has rank 1 unless it is 0
    return x:any() and 1 or 0
  end
  local s = linalg.svdvals(x)
  local limit
  if options.tol ~= nil then
    limit = need_tolerance("matrix_rank", "tol", options.tol)
  end
  local rtol = options.rtol == nil and epsilon(x) * longest_side(x) or
    need_tolerance("matrix_rank", "rtol", options.rtol)
  if s._ndim == 1 then
    local count = 0
    for i = 1, tonumber(s._size) do
      count = count + (s[i] > (limit or rtol * s[1]) and 1 or 0)
    end
    return count
  end
  if not limit then
    local lengths = shape_of(s)
    lengths[#lengths] = 1
    limit = (methods.max(s, -1) * rtol):reshape(lengths)
  end
  return (s:gt(limit):sum(-1))
end

--- linalg.cond(a [, p]): the condition number: how much larger the relative error of x in a x = b may be than that of b.
--- p as in norm, 2 by default.
function linalg.cond(a, p)
  local x = need("cond", a)
  if x._ndim < 2 then
    fail("cond: a matrix is expected, an array of 2 dimensions or more; got shape %s", shape_text(x._shape, x._ndim))
  end
  if p == nil or p == 2 or p == -2 then
    local s = linalg.svdvals(x)
    if s._shape[s._ndim - 1] == 0 then
      fail("cond: the matrix is empty")
    end
    local high, low = methods.max(s, -1), methods.min(s, -1)
    if p == -2 then
      high, low = low, high
    end
    return high / low
  end
  if x._ndim ~= 2 then
    core.unsupported("cond: of a batch with an order other than 2 or -2; take the matrices one by one")
  elseif x._shape[0] ~= x._shape[1] then
    fail("cond: the matrix must be square for an order other than 2 and -2, got shape %s", shape_text(x._shape, 2))
  end
  local ok, inverse = pcall(linalg.inv, x)
  if not ok then
    if not string.find(tostring(inverse), "singular", 1, true) then
      error(inverse, 0)
    end
    return huge
  end
  return linalg.norm(x, p) * linalg.norm(inverse, p)
end
