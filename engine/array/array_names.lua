-- What functions and methods are called here whose names others know, and where else they are.
local core, kit = ...
local array, methods, getters = kit.array, kit.methods, kit.getters
local format, sub, pairs, rawget = string.format, string.sub, pairs, rawget

-- Names by which others know what is here, and what is elsewhere.
local synonyms = { arange = "range", array = "from", asarray = "from", absolute = "abs", fabs = "abs", mod = "remainder",
  invert = "bitwise_not", bitwise_invert = "bitwise_not", bitwise_left_shift = "left_shift",
  bitwise_right_shift = "right_shift", conjugate = "conj", rint = "round", around = "round", fix = "trunc",
  arcsin = "asin", arccos = "acos", arctan = "atan", arctan2 = "atan2", arcsinh = "asinh", arccosh = "acosh",
  arctanh = "atanh", pow = "power", greater = "gt", greater_equal = "ge", less = "lt", less_equal = "le",
  not_equal = "ne", true_divide = "divide", deg2rad = "radians", rad2deg = "degrees", tolist = "totable",
  tgamma = "gamma", gammaln = "lgamma", amax = "max", amin = "min", concat = "concatenate", permute_dims = "transpose",
  cumulative_sum = "cumsum", cumulative_prod = "cumprod", len = "size", length = "size", count = "size",
  type = "dtype", average = "mean", avg = "mean", product = "prod", flatten = "reshape", sub = "subtract",
  mul = "multiply", div = "divide", neg = "negative", nearbyint = "round", lround = "round", ilogb = "logb",
  scalbn = "ldexp", nexttoward = "nextafter", remquo = "ieee_remainder" }
local elsewhere = { linalg = "cholesky cond cross det eig eigh eigvals eigvalsh einsum inner inv kron lstsq matrix_power " ..
  "norm outer pinv polyfit polyval qr roots slogdet solve svd tensordot trace vdot cdist pdist curve_fit",
  fft = "fftfreq fftshift ifft rfft irfft fft fft2 ifft2 fftn",
  random = "rand randn randint normal uniform shuffle permutation choice integers",
  io = "load save loadtxt savetxt genfromtxt savez read_csv" }

--- What to say after "there is no function 'key'", or after "no method 'key'" if `how` is "method".
return function(key, how)
  local method = how == "method"
  local own, other = method and methods or array, method and array or methods
  if rawget(other, key) and sub(key, 1, 1) ~= "_" then
    return method and format("; it is a function: array.%s(...)", key) or
      format("; it is a method: a:%s(...)", key)
  elseif key == "pi" then
    return "; write math.pi"
  end
  for module, names in pairs(elsewhere) do
    if (" " .. names .. " "):find(" " .. key .. " ", 1, true) then
      return format("; look in perigee.%s", module)
    end
  end
  local near = core.nearest(key, own, method and getters or {}, synonyms)
  local name = synonyms[near]
  if name and (rawget(own, name) or (method and getters[name])) then
    return format("; it is called '%s' here", name)
  end
  return near and not name and format("; did you mean '%s'?", near) or ""
end
