// What the suite of arrays measures. Each case is one statement for Perigee and one for its rival; both sides make
// inputs named a, b, ... of `n` elements from the same distribution (ours.lua, rival.py).
#pragma once

namespace bench {

struct Case {
  const char *name;
  const char *inputs; // which inputs are made, see `inputs` in ours.lua and rival.py
  long fixed;         // its one size, 0: every size
  const char *ours, *rival;
};

inline constexpr Case operations[] = {
    {"add", "pair", 0, "c = a + b", "c = a + b"},
    {"multiply", "pair", 0, "c = a * b", "c = a * b"},
    {"divide", "pair", 0, "c = a / b", "c = a / b"},
    {"power", "powers", 0, "c = a ^ b", "c = a ** b"},
    {"sqrt", "positive", 0, "c = array.sqrt(a)", "c = np.sqrt(a)"},
    {"exp", "wide", 0, "c = array.exp(a)", "c = np.exp(a)"},
    {"log", "positive", 0, "c = array.log(a)", "c = np.log(a)"},
    {"sin", "wide", 0, "c = array.sin(a)", "c = np.sin(a)"},
    {"cos", "wide", 0, "c = array.cos(a)", "c = np.cos(a)"},
    {"tanh", "wide", 0, "c = array.tanh(a)", "c = np.tanh(a)"},
    {"compare", "pair", 0, "c = a:lt(b)", "c = a < b"},
    {"where", "masked", 0, "c = array.where(m, a, b)", "c = np.where(m, a, b)"},
    {"cumsum", "pair", 0, "c = a:cumsum()", "c = a.cumsum()"},
    {"sum axis 1", "matrix", 0, "c = a:sum(1)", "c = a.sum(0)"},
    {"sum axis 2", "matrix", 0, "c = a:sum(2)", "c = a.sum(1)"},
    {"min", "pair", 0, "c = a:min()", "c = a.min()"},
    {"argmax", "pair", 0, "c = a:argmax()", "c = a.argmax()"},
    {"sort", "pair", 0, "c = array.sort(a)", "c = np.sort(a)"},
    {"argsort", "pair", 0, "c = array.argsort(a)", "c = np.argsort(a)"},
    {"matmul 1000", "square", 1000000, "c = array.matmul(a, b)", "c = a @ b"},
    {"svd 4000x100", "tall", 400000, "c, d, e = linalg.svd(a, {full_matrices = false})",
     "c, d, e = np.linalg.svd(a, full_matrices=False)"},
    {"fft 2^20", "pair", 1 << 20, "c = fft.fft(a)", "c = np.fft.fft(a)"},
    {"random uniform", "generator", 10000000, "c = g:uniform{shape = n, dtype = dtype}",
     "c = g.random(n, dtype=dtype)"},
    {"boolean mask", "masked", 0, "c = a[m]", "c = a[m]"},
    // beyond the list of the goals
    {"x^2", "pair", 0, "c = a ^ 2", "c = a ** 2"},
};

// Single figures in float64: each one's ratio has a goal of its own; `limit` bounds our seconds, 0: does not.
struct Figure {
  const char *name, *inputs;
  long n;
  const char *ours, *rival, *rival_name;
  double goal, limit;
};

inline constexpr Figure figures[] = {
    {"a[{ {2,-1} }] - a[{ {1,-2} }], n = 1000", "pair", 1000, "c = a[{ {2,-1} }] - a[{ {1,-2} }]", "c = a[1:] - a[:-1]",
     "NumPy", 0.5, 0.35e-6},
    {"matmul 50 x 50", "square", 2500, "c = array.matmul(a, b)", "c = a @ b", "NumPy", 1.0, 0},
    {"add, n = 10", "pair", 10, "c = a + b", "c = a + b", "NumPy", 1.1, 0},
    {"sqrt, n = 1e6", "positive", 1000000, "c = array.sqrt(a)", "c = ne.evaluate('sqrt(a)')", "numexpr", 1.0, 0},
    {"exp, n = 1e6", "wide", 1000000, "c = array.exp(a)", "c = ne.evaluate('exp(a)')", "numexpr", 1.0, 0},
    {"power, n = 1e6", "powers", 1000000, "c = a ^ b", "c = ne.evaluate('a ** b')", "numexpr", 1.0, 0},
    {"where(a < b, a, b), n = 1e6", "pair", 1000000, "c = array.where(a:lt(b), a, b)",
     "c = ne.evaluate('where(a < b, a, b)')", "numexpr", 1.0, 0},
    {"read CSV, 200000 x 5", "csv", 1000000, "c = io.read_csv(path)",
     "c = pandas.read_csv(path, header=None, engine='c').to_numpy()", "pandas, C engine", 1.0 / 3, 0},
    {"from a table of 1e6 numbers", "list", 1000000, "c = array.from(t)", "c = np.array(t)", "NumPy", 1.0, 10e-3},
};

} // namespace bench
