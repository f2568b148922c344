-- Polynomials, and fitting models to data.
local core, kit, own = ...
local C, fail, tonumber, type, sqrt, huge, abs, max, min = core.C, core.fail, tonumber, type, math.sqrt, math.huge,
  math.abs, math.max, math.min
local array = core.require("array")
local linalg, need_values, need_options, need_boolean, need_tolerance = own.linalg, own.need_values, own.need_options,
  own.need_boolean, own.need_tolerance
local methods, kind_of, is_integer, shape_text, dtype_names = kit.methods, kit.kind_of, kit.is_integer, kit.shape_text,
  kit.dtype_names

local function need_vector(name, what, x)
  local a = need_values(name, x)
  if a._ndim ~= 1 then
    fail("%s: %s must be a vector, got shape %s", name, what, shape_text(a._shape, a._ndim))
  end
  return a
end

local function floating(a)
  return own.as_dtype(a, own.work_dtype(a._dtype))
end

-- --------------------------------------------------------------------------------------------------- polynomials ----
local polyfit_options = { w = true, rcond = true, cov = true }

--- linalg.polyfit(x, y, degree [, {w =, rcond =, cov = false}]): the polynomial of this degree closest to the points (x,
--- y) by least squares, its coefficients from the highest power down. w are weights of the residuals (1 / sigma, not
--- its square); with cov = true also the covariance of the coefficients.
function linalg.polyfit(x, y, degree, options)
  local t, values = floating(need_vector("polyfit", "x", x)), floating(need_vector("polyfit", "y", y))
  options = need_options("polyfit", options, polyfit_options)
  if not is_integer(degree) or degree < 0 then
    fail("polyfit: the degree must be an integer, 0 or more, got %s", kind_of(degree))
  end
  local m, n = tonumber(t._size), degree + 1
  if tonumber(values._size) ~= m then
    fail("polyfit: x and y must have as many elements, got %d and %d", m, tonumber(values._size))
  elseif m == 0 then
    fail("polyfit: there are no points")
  end
  local powers = array.ones({ n, m }, { dtype = dtype_names[t._dtype] }) -- one power a row
  for k = degree, 1, -1 do
    powers[k] = array.multiply(powers[k + 1], t)
  end
  if options.w ~= nil then
    local w = floating(need_vector("polyfit", "w", options.w))
    if tonumber(w._size) ~= m then
      fail("polyfit: %d points need as many weights, got %d", m, tonumber(w._size))
    end
    powers, values = array.multiply(powers, w), array.multiply(values, w)
  end
  -- Columns of one length, so that the rank does not depend on the unit of x.
  local scale = linalg.norm(powers, { axis = 2 })
  for k = 1, n do
    if scale[k] == 0 then
      scale[k] = 1
    end
  end
  powers = array.divide(powers, scale:reshape(n, 1))
  local rcond = options.rcond == nil and own.epsilon(powers) * m or need_tolerance("polyfit", "rcond", options.rcond)
  local p, residuals, rank = linalg.lstsq(powers.T, values, { rcond = rcond })
  if rank < n and options.rcond == nil then
    fail("polyfit: %d points do not determine %d coefficients (rank %d); lower the degree, or set rcond to accept the " ..
      "shortest solution", m, n, rank)
  end
  p = array.divide(p, scale)
  if not need_boolean("polyfit", "cov", options.cov, false) then
    return p
  end
  if m <= n then
    fail("polyfit: the covariance of %d coefficients needs more points than that, got %d", n, m)
  end
  local covariance = linalg.inv(array.matmul(powers, powers.T))
  covariance = array.divide(covariance, linalg.outer(scale, scale))
  return p, array.multiply(covariance, residuals[1] / (m - n))
end

--- linalg.polyval(p, x): the polynomial with coefficients p, from the highest power down, at x (a number or an array).
function linalg.polyval(p, x)
  local coefficients = need_vector("polyval", "p", p)
  local n = tonumber(coefficients._size)
  if type(x) == "number" and coefficients._dtype < 11 then
    local y = n > 0 and coefficients[1] or 0
    for k = 2, n do
      y = y * x + coefficients[k]
    end
    return y
  end
  local t = need_values("polyval", x)
  local y = array.zeros(own.shape_of(t), { dtype = dtype_names[C.pg_array_promote(coefficients._dtype, t._dtype)] })
  local into = { out = y }
  for k = 1, n do
    if k > 1 then -- 0 times infinity is NaN
      array.multiply(y, t, into)
    end
    array.add(y, coefficients[{ { k, k } }], into)
  end
  return (own.result(y))
end

--- linalg.roots(p): the zeros of the polynomial with coefficients p, from the highest power down: complex, but real
--- where all of them are. Eigenvalues of the companion matrix.
function linalg.roots(p)
  local coefficients = floating(need_vector("roots", "p", p))
  local first, last
  local n = tonumber(coefficients._size)
  local nonzero = coefficients:ne(0)
  for k = 1, n do
    if nonzero[k] then
      first, last = first or k, k
    end
  end
  if not first then
    return (array.zeros(0))
  end
  local order, zeros = last - first, n - last
  if order == 0 then
    return (array.zeros(zeros))
  end
  local companion = array.zeros(order, order, { dtype = dtype_names[coefficients._dtype] })
  if order > 1 then
    methods.fill(own.diagonal("roots", companion, -1, 1, 2), 1)
  end
  companion[1] = array.divide(array.negative(coefficients[{ { first + 1, last } }]), coefficients[{ { first, first } }])
  local w = linalg.eigvals(companion)
  if zeros == 0 then
    return w
  end
  local all = array.zeros(order + zeros, { dtype = dtype_names[w._dtype] })
  all[{ { 1, order } }] = w
  return all
end

-- ----------------------------------------------------------------------------------------------------- curve_fit ----
local fit_options = { p0 = true, sigma = true, absolute_sigma = true, bounds = true, jacobian = true,
  max_evaluations = true, ftol = true, xtol = true, gtol = true }

local function need_finite(name, what, x)
  if type(x) ~= "number" or x ~= x or abs(x) == huge then
    fail("%s: %s must be a finite number, got %s", name, what, kind_of(x))
  end
  return x
end

-- A table or vector of n numbers; one number stands for n of it.
local function numbers(what, x, n)
  local list = {}
  if type(x) == "number" and n then
    for i = 1, n do
      list[i] = x
    end
    return list
  elseif type(x) ~= "table" and not array.is(x) then
    fail("curve_fit: %s must be a table or vector of numbers, got %s", what, kind_of(x))
  end
  for i = 1, #x do
    if type(x[i]) ~= "number" or x[i] ~= x[i] then
      fail("curve_fit: %s[%d] must be a number, got %s", what, i, kind_of(x[i]))
    end
    list[i] = x[i]
  end
  if n and #list ~= n then
    fail("curve_fit: %s must have one number for each of the %d parameters, got %d", what, n, #list)
  end
  return list
end

local function parse_bounds(bounds, n)
  if bounds == nil then
    return numbers("bounds", -huge, n), numbers("bounds", huge, n)
  elseif type(bounds) ~= "table" or #bounds ~= 2 then
    fail("curve_fit: bounds are {lowest, highest}, each a number or one for each parameter, got %s", kind_of(bounds))
  end
  local low, high = numbers("the lowest bounds", bounds[1], n), numbers("the highest bounds", bounds[2], n)
  for i = 1, n do
    if not (low[i] < high[i]) then
      fail("curve_fit: the bounds of parameter %d must be in order, got %g and %g", i, low[i], high[i])
    end
  end
  return low, high
end

--- linalg.curve_fit(f, x, y [, options]): the parameters p for which f(x, p1, p2, ...) is closest to y by least squares
--- (Levenberg and Marquardt's method as More scaled it, with Nielsen's damping; parameters at their bounds are held
--- there while they would leave). Returns them, their covariance, and a table {cost, evaluations, iterations, reason}.
--- Options: p0 the start (1 each by default), sigma the errors of y (absolute_sigma = true: not only relative ones),
--- bounds = {lowest, highest}, jacobian = a function (x, p1, ...) giving the array (points, parameters) of derivatives
--- (else forward differences), max_evaluations of f (200 (n + 1) by default), ftol, xtol, gtol (1e-8 each).
function linalg.curve_fit(f, x, y, options)
  if type(f) ~= "function" then
    fail("curve_fit: the model, a function (x, p1, p2, ...), comes first; got %s", kind_of(f))
  end
  options = need_options("curve_fit", options, fit_options)
  if type(x) == "table" then
    x = array.from(x)
  end
  local data = floating(need_vector("curve_fit", "y", y))
  if own.is_complex(data) then
    core.unsupported("curve_fit: complex y; give real and imaginary parts one after the other")
  end
  local m = tonumber(data._size)
  if m > 0 and not (methods.max(array.abs(data)) < huge) then
    fail("curve_fit: y holds NaN or infinity")
  end
  local p, n
  if options.p0 ~= nil then
    p = numbers("p0", options.p0)
    n = #p
  else
    local info = debug.getinfo(f, "u")
    n = info.nparams and not info.isvararg and info.nparams - 1 or 0
    if n < 1 then
      fail("curve_fit: how many parameters the model has cannot be seen; give a start, as in {p0 = {1, 1}}")
    end
  end
  if n < 1 then
    fail("curve_fit: p0 has no parameters")
  elseif m < n then
    fail("curve_fit: %d points cannot determine %d parameters", m, n)
  end
  local low, high = parse_bounds(options.bounds, n)
  if not p then
    p = {}
    for i = 1, n do
      p[i] = min(max(1, low[i]), high[i])
      if low[i] > -huge and high[i] < huge then
        p[i] = (low[i] + high[i]) / 2
      end
    end
  end
  for i = 1, n do
    need_finite("curve_fit", "the start of each parameter", p[i])
    if p[i] < low[i] or p[i] > high[i] then
      fail("curve_fit: the start %g of parameter %d is outside its bounds, %g to %g", p[i], i, low[i], high[i])
    end
  end
  local weights
  if options.sigma ~= nil then
    weights = floating(need_vector("curve_fit", "sigma", options.sigma))
    if tonumber(weights._size) ~= m or own.is_complex(weights) or not (methods.min(weights) > 0) then
      fail("curve_fit: sigma must have a positive error for each of the %d points", m)
    end
    weights = array.divide(array.ones(m), weights)
  end
  local absolute = need_boolean("curve_fit", "absolute_sigma", options.absolute_sigma, false)
  if options.jacobian ~= nil and type(options.jacobian) ~= "function" then
    fail("curve_fit: the jacobian is a function (x, p1, p2, ...), got %s", kind_of(options.jacobian))
  end
  local most = options.max_evaluations == nil and 200 * (n + 1) or options.max_evaluations
  if not is_integer(most) or most < 1 then
    fail("curve_fit: max_evaluations must be an integer, 1 or more, got %s", kind_of(most))
  end
  local ftol = need_tolerance("curve_fit", "ftol", options.ftol == nil and 1e-8 or options.ftol)
  local xtol = need_tolerance("curve_fit", "xtol", options.xtol == nil and 1e-8 or options.xtol)
  local gtol = need_tolerance("curve_fit", "gtol", options.gtol == nil and 1e-8 or options.gtol)

  local evaluations = 0
  local function residuals(q)
    evaluations = evaluations + 1
    local model = f(x, unpack(q, 1, n))
    if type(model) == "number" then
      model = array.full({ m }, model)
    elseif not array.is(model) or #model.shape ~= 1 or #model ~= m then
      fail("curve_fit: the model must return a vector as long as y (%d), got %s", m,
        array.is(model) and "shape " .. shape_text(model._shape, model._ndim) or kind_of(model))
    end
    local r = array.subtract(model, data):astype("float64")
    if weights then
      r:multiply_(weights)
    end
    return r, r:matmul(r)
  end
  local r, cost = residuals(p)
  if not (cost < huge) then
    fail("curve_fit: the model is not finite at the start; give another one with p0")
  end

  -- Derivatives, one parameter a row.
  local function derivatives()
    local rows = array.empty(n, m)
    if options.jacobian then
      local d = options.jacobian(x, unpack(p, 1, n))
      if not array.is(d) or #d.shape ~= 2 or d.shape[1] ~= m or d.shape[2] ~= n then
        fail("curve_fit: the jacobian must return an array of shape (%d, %d), got %s", m, n,
          array.is(d) and "shape " .. shape_text(d._shape, d._ndim) or kind_of(d))
      end
      rows[{ {} }] = d.T
      if weights then
        rows:multiply_(weights)
      end
      return rows
    end
    local q = {}
    for i = 1, n do
      q[i] = p[i]
    end
    for i = 1, n do
      local h = 2 ^ -26 * max(abs(p[i]), 2 ^ -26)
      if abs(p[i]) < 1e-8 then
        h = 2 ^ -26
      end
      if p[i] + h > high[i] then
        h = -h
      end
      q[i] = p[i] + h
      h = q[i] - p[i] -- as rounded
      rows[i] = array.divide(array.subtract((residuals(q)), r), h)
      q[i] = p[i]
    end
    return rows
  end

  local damping, growth, scale, iterations, reason, jt = nil, 2, {}, 0, nil, nil
  for i = 1, n do
    scale[i] = 0
  end
  while not reason do
    iterations = iterations + 1
    jt = derivatives()
    local g = jt:matmul(r)
    -- R of the derivatives with r as a further column: the small problem that stands for the large one.
    local columns = array.empty(n + 1, m)
    columns[{ { 1, n } }], columns[n + 1] = jt, r
    local small = linalg.qr(columns.T, { mode = "r" })
    local height = small.shape[1]
    local free, steepest = {}, 0
    for i = 1, n do
      local length = linalg.norm(jt[i])
      if not (length < huge) then
        fail("curve_fit: the derivative by parameter %d is not finite", i)
      end
      scale[i] = max(scale[i], length)
      if not (p[i] <= low[i] and g[i] > 0 or p[i] >= high[i] and g[i] < 0) then
        free[#free + 1] = i
        if length > 0 and cost > 0 then
          steepest = max(steepest, abs(g[i]) / (length * sqrt(cost)))
        end
      end
    end
    if steepest <= gtol then
      reason = "the residuals are at right angles to every derivative (gtol)"
      break
    end
    damping = damping or 1e-3
    while true do
      local k = #free
      local matrix, side = array.zeros(height + k, k), array.zeros(height + k)
      for j = 1, k do
        matrix[{ { 1, height }, j }] = small[{ {}, free[j] }]
        matrix[height + j][j] = sqrt(damping) * (scale[free[j]] > 0 and scale[free[j]] or 1)
      end
      side[{ { 1, height } }] = array.negative(small[{ {}, n + 1 }])
      local step = linalg.lstsq(matrix, side)
      local q, length, size = {}, 0, 0
      for i = 1, n do
        q[i] = p[i]
      end
      for j = 1, k do
        local i = free[j]
        q[i] = min(max(p[i] + step[j], low[i]), high[i])
      end
      local taken = array.zeros(n)
      for i = 1, n do
        taken[i] = q[i] - p[i]
        length, size = length + (scale[i] * taken[i]) ^ 2, size + (scale[i] * p[i]) ^ 2
      end
      local linear = array.add(taken:matmul(jt), r)
      local predicted = cost - linear:matmul(linear)
      local new_r, new_cost = residuals(q)
      local gain = cost - new_cost
      if new_cost <= cost then -- NaN is not
        local ratio = predicted > 0 and gain / predicted or 1
        damping = damping * max(1 / 3, 1 - (2 * ratio - 1) ^ 3)
        growth = 2
        local before = cost
        p, r, cost = q, new_r, new_cost
        if gain <= ftol * before and predicted <= ftol * before then
          reason = "the sum of squares does not fall any more (ftol)"
        elseif sqrt(length) <= xtol * (xtol + sqrt(size)) then
          reason = "the parameters do not change any more (xtol)"
        end
        break
      end
      damping, growth = damping * growth, growth * 2
      if sqrt(length) <= xtol * xtol * (xtol + sqrt(size)) or damping > 1e30 then
        reason = "no step lowers the sum of squares any more (xtol)"
        break
      elseif evaluations >= most then
        break
      end
    end
    if not reason and evaluations >= most then
      fail("curve_fit: not converged after %d evaluations of the model (sum of squares %g); start nearer with p0, or " ..
        "raise max_evaluations", evaluations, cost)
    end
  end

  -- Covariance: the inverse of J^T J at the solution, by singular values; infinite where the data do not determine it.
  local _, s, vh = linalg.svd(derivatives().T, { full_matrices = false })
  local covariance
  if s[n] > 2 ^ -52 * m * s[1] then
    local v = array.divide(vh.T, s)
    covariance = v:matmul(v.T)
    if not absolute then
      covariance:multiply_(m > n and cost / (m - n) or huge)
    end
  else
    covariance = array.full({ n, n }, huge)
  end
  return array.from(p), covariance,
    { cost = cost, evaluations = evaluations, iterations = iterations, converged = true, reason = reason }
end
