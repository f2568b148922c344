-- Complex numbers in the CUDA C++ of operations of device arrays: a text has this where it needs it. Their functions are of
-- finite numbers, with the branch cuts and signs of zeros of C's; what they give for infinities and NaN is not C's everywhere.
-- Formulas: quotients by Smith, Communications of the ACM 5 (1962), algorithm 116; square root, hyperbolic and inverse functions
-- by Kahan, "Branch Cuts for Complex Elementary Functions" (in: The State of the Art in Numerical Analysis, 1987); logarithms
-- near |z| = 1 by log1p(|z|^2 - 1), whose argument is summed without its rounding errors (fma).
local operations = {}

operations.prelude = [[
template <class R> struct Complex {
  R re, im;
  Complex() = default;
  __device__ Complex(R x, R y = 0) : re(x), im(y) {}
  template <class S> __device__ explicit Complex(Complex<S> z) : re(R(z.re)), im(R(z.im)) {}
};
typedef Complex<float> complex64;
typedef Complex<double> complex128;
#define FOR_COMPLEX template <class R> __device__ inline
FOR_COMPLEX Complex<R> operator-(Complex<R> a) { return {-a.re, -a.im}; }
FOR_COMPLEX Complex<R> operator+(Complex<R> a, Complex<R> b) { return {a.re + b.re, a.im + b.im}; }
FOR_COMPLEX Complex<R> operator-(Complex<R> a, Complex<R> b) { return {a.re - b.re, a.im - b.im}; }
FOR_COMPLEX Complex<R> operator*(Complex<R> a, Complex<R> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
FOR_COMPLEX Complex<R> operator/(Complex<R> a, Complex<R> b) { // the larger part of the divisor divides first
  if (b.re == 0 && b.im == 0)
    return {a.re / fabs(b.re), a.im / fabs(b.re)};
  const bool wide = fabs(b.re) >= fabs(b.im);
  const R large = wide ? b.re : b.im, small = wide ? b.im : b.re, ratio = small / large;
  const R scale = 1 / (large + small * ratio), x = wide ? a.re : a.im, y = wide ? a.im : a.re;
  return {(x + y * ratio) * scale, (wide ? y - x * ratio : x * ratio - y) * scale};
}
FOR_COMPLEX bool operator==(Complex<R> a, Complex<R> b) { return a.re == b.re && a.im == b.im; }
FOR_COMPLEX bool operator!=(Complex<R> a, Complex<R> b) { return !(a == b); }
FOR_COMPLEX bool as_bool(Complex<R> a) { return a.re != 0 || a.im != 0; }
FOR_COMPLEX bool is_nan(Complex<R> a) { return a.re != a.re || a.im != a.im; }
FOR_COMPLEX bool is_infinite(Complex<R> a) {
  return (a.re == a.re && a.re - a.re != 0) || (a.im == a.im && a.im - a.im != 0);
}
// By the real part, then by the imaginary one, as NumPy orders them.
FOR_COMPLEX bool is_less(Complex<R> a, Complex<R> b) { return a.re < b.re || (a.re == b.re && a.im < b.im); }

// The first for float, the second for double.
template <class R> __device__ inline R either(double single, double twice) { return R(sizeof(R) == 4 ? single : twice); }
#define LN2 R(0.69314718055994530942)

FOR_COMPLEX R log_size(Complex<R> a) { // log |a|
  const R x = fmax(fabs(a.re), fabs(a.im)), y = fmin(fabs(a.re), fabs(a.im)), size = hypot(x, y);
  if (size > R(0.7) && size < R(1.8)) {
    const R xx = x * x, yy = y * y;
    return log1p(((xx - 1) + yy) + (fma(x, x, -xx) + fma(y, y, -yy))) / 2;
  }
  if (x > either<R>(1e37, 1e307))
    return log(hypot(x / 4, y / 4)) + 2 * LN2;
  if (x < either<R>(1e-36, 1e-306)) // of the smallest numbers hypot has few digits
    return log(hypot(x * (1 << 30), y * (1 << 30))) - 30 * LN2;
  return log(size);
}
FOR_COMPLEX Complex<R> c_log(Complex<R> a) { return {log_size(a), atan2(a.im, a.re)}; }
FOR_COMPLEX Complex<R> c_log1p(Complex<R> a) {
  if (fabs(a.re) < R(0.5) && fabs(a.im) < R(0.5)) // |1 + a|^2 - 1 without cancellation
    return {log1p(a.re * (2 + a.re) + a.im * a.im) / 2, atan2(a.im, 1 + a.re)};
  return c_log(Complex<R>(1 + a.re, a.im));
}
FOR_COMPLEX Complex<R> c_exp(Complex<R> a) {
  if (a.im == 0)
    return {exp(a.re), a.im};
  if (a.re < either<R>(88, 709)) {
    const R r = exp(a.re);
    return {r * cos(a.im), r * sin(a.im)};
  }
  const R half = exp(a.re / 2); // where exp(a.re) may overflow and a part of the result does not
  return {half * cos(a.im) * half, half * sin(a.im) * half};
}
FOR_COMPLEX Complex<R> c_exp2(Complex<R> a) { return c_exp(Complex<R>(a.re * LN2, a.im * LN2)); }
FOR_COMPLEX Complex<R> c_expm1(Complex<R> a) {
  const R half = sin(a.im / 2);
  return {expm1(a.re) * cos(a.im) - 2 * half * half, exp(a.re) * sin(a.im)};
}
FOR_COMPLEX Complex<R> c_sqrt(Complex<R> a) {
  R x = fabs(a.re), y = fabs(a.im), back = 1;
  if (x == 0 && y == 0)
    return {0, a.im};
  if (fmax(x, y) > either<R>(1e37, 1e307)) {
    x /= 16;
    y /= 16;
    back = 4;
  } else if (fmax(x, y) < either<R>(1e-30, 1e-290)) {
    x *= R(1 << 30);
    y *= R(1 << 30);
    back = R(1) / (1 << 15);
  }
  const R part = sqrt((hypot(x, y) + x) / 2) * back, other = fabs(a.im) / (2 * part);
  return a.re >= 0 ? Complex<R>(part, copysign(other, a.im)) : Complex<R>(other, copysign(part, a.im));
}
FOR_COMPLEX Complex<R> c_cosh(Complex<R> a) {
  const R size = fabs(a.re);
  if (size < either<R>(88, 709))
    return {cosh(a.re) * cos(a.im), sinh(a.re) * sin(a.im)};
  const R half = exp(size / 2);
  return {half / 2 * cos(a.im) * half, copysign(half / 2, a.re) * sin(a.im) * half};
}
FOR_COMPLEX Complex<R> c_sinh(Complex<R> a) {
  const R size = fabs(a.re);
  if (size < either<R>(88, 709))
    return {sinh(a.re) * cos(a.im), cosh(a.re) * sin(a.im)};
  const R half = exp(size / 2);
  return {copysign(half / 2, a.re) * cos(a.im) * half, half / 2 * sin(a.im) * half};
}
FOR_COMPLEX Complex<R> c_tanh(Complex<R> a) {
  if (fabs(a.re) > either<R>(10, 22))
    return {copysign(R(1), a.re), 4 * sin(a.im) * cos(a.im) * exp(-2 * fabs(a.re))};
  const R t = tanh(a.re), u = tan(a.im), c = 1 / cosh(a.re), n = 1 + t * u * (t * u);
  return {t * (1 + u * u) / n, u / n * c * c};
}
FOR_COMPLEX Complex<R> turned(Complex<R> a) { return {-a.im, a.re}; } // i a
FOR_COMPLEX Complex<R> back(Complex<R> a) { return {a.im, -a.re}; }   // -i a
FOR_COMPLEX Complex<R> c_sin(Complex<R> a) { return back(c_sinh(turned(a))); }
FOR_COMPLEX Complex<R> c_cos(Complex<R> a) { return c_cosh(turned(a)); }
FOR_COMPLEX Complex<R> c_tan(Complex<R> a) { return back(c_tanh(turned(a))); }

// Beyond this the inverse sine and its like are log 2z, with an error of 1 / 4z^2.
FOR_COMPLEX bool is_far(Complex<R> a) { return fmax(fabs(a.re), fabs(a.im)) > either<R>(1e5, 1e9); }
FOR_COMPLEX Complex<R> c_asin(Complex<R> a) {
  if (is_far(a))
    return {atan2(a.re, fabs(a.im)), copysign(log_size(a) + LN2, a.im)};
  const Complex<R> p = c_sqrt(Complex<R>(1 - a.re, -a.im)), q = c_sqrt(Complex<R>(1 + a.re, a.im));
  return {atan2(a.re, p.re * q.re - p.im * q.im), asinh(p.re * q.im - p.im * q.re)};
}
FOR_COMPLEX Complex<R> c_acos(Complex<R> a) {
  if (is_far(a))
    return {atan2(fabs(a.im), a.re), -copysign(log_size(a) + LN2, a.im)};
  const Complex<R> p = c_sqrt(Complex<R>(1 - a.re, -a.im)), q = c_sqrt(Complex<R>(1 + a.re, a.im));
  return {2 * atan2(p.re, q.re), asinh(q.re * p.im - q.im * p.re)};
}
FOR_COMPLEX Complex<R> c_asinh(Complex<R> a) { return back(c_asin(turned(a))); }
FOR_COMPLEX Complex<R> c_acosh(Complex<R> a) {
  if (is_far(a))
    return {log_size(a) + LN2, atan2(a.im, a.re)};
  const Complex<R> p = c_sqrt(Complex<R>(a.re - 1, a.im)), q = c_sqrt(Complex<R>(a.re + 1, a.im));
  return {asinh(p.re * q.re + p.im * q.im), 2 * atan2(p.im, q.re)};
}
FOR_COMPLEX Complex<R> c_atanh(Complex<R> a) {
  const R sign = copysign(R(1), a.re), x = fabs(a.re), y = sign * a.im;
  R re, im;
  if (fmax(x, fabs(y)) > either<R>(1e18, 1e150)) { // 1 / a
    const R size = hypot(x / 2, y / 2);
    re = x / 4 / size / size;
    im = copysign(R(1.5707963267948966192), y);
  } else {
    re = x == 1 && fabs(y) < R(1e-10) ? (LN2 - log(fabs(y))) / 2 : log1p(4 * x / ((1 - x) * (1 - x) + y * y)) / 4;
    im = atan2(2 * y, (1 - x) * (1 + x) - y * y) / 2;
  }
  return {sign * re, sign * im};
}
FOR_COMPLEX Complex<R> c_atan(Complex<R> a) { return back(c_atanh(turned(a))); }

FOR_COMPLEX Complex<R> c_pow(Complex<R> a, Complex<R> b) {
  if (b.re == 0 && b.im == 0)
    return {1, 0};
  if (a.re == 0 && a.im == 0) {
    const R none = b.re > 0 && b.im == 0 ? R(0) : a.re / a.re; // NaN
    return {none, none};
  }
  if (b.im == 0 && b.re == floor(b.re) && fabs(b.re) <= 100) { // small whole powers by multiplication: exact for i^2
    Complex<R> base = a, result = 1;
    for (int k = int(fabs(b.re)); k > 0; k >>= 1) {
      if (k & 1)
        result = result * base;
      base = base * base;
    }
    return b.re < 0 ? Complex<R>(1) / result : result;
  }
  return c_exp(b * c_log(a));
}
]]

operations.binary = {
  add = "a + b", subtract = "a - b", multiply = "a * b", divide = "a / b", power = "c_pow(a, b)", eq = "a == b", ne = "a != b",
  lt = "is_less(a, b) && !is_nan(a) && !is_nan(b)", gt = "is_less(b, a) && !is_nan(a) && !is_nan(b)",
  le = "(is_less(a, b) || a == b) && !is_nan(a) && !is_nan(b)", ge = "(is_less(b, a) || a == b) && !is_nan(a) && !is_nan(b)",
  minimum = "is_nan(a) || (is_less(a, b) && !is_nan(b)) ? a : b", maximum = "is_nan(a) || (is_less(b, a) && !is_nan(b)) ? a : b",
  fmin = "is_less(a, b) || is_nan(b) ? a : b", fmax = "is_less(b, a) || is_nan(b) ? a : b",
  logical_and = "as_bool(a) && as_bool(b)", logical_or = "as_bool(a) || as_bool(b)", logical_xor = "as_bool(a) != as_bool(b)",
}

operations.unary = {
  negative = "-a", abs = "hypot(a.re, a.im)", angle = "atan2(a.im, a.re)", real = "a.re", imag = "a.im",
  conj = "T(a.re, -a.im)", square = "a * a", reciprocal = "T(1) / a", log2 = "c_log(a) * T(1.44269504088896340736)",
  log10 = "c_log(a) * T(0.43429448190325182765)", round = "T(rint(a.re), rint(a.im))",
  sign = "as_bool(a) ? T(a.re / hypot(a.re, a.im), a.im / hypot(a.re, a.im)) : a",
  isnan = "is_nan(a)", isinf = "!is_nan(a) && is_infinite(a)", isfinite = "!is_nan(a) && !is_infinite(a)",
  logical_not = "!as_bool(a)",
}
for name in ("sqrt exp exp2 expm1 log log1p sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh"):gmatch("%S+") do
  operations.unary[name] = "c_" .. name .. "(a)"
end

return operations
