#!/usr/bin/env python3
"""Writes cases.txt: expressions for Perigee with the values that NumPy (and SciPy, for erf and gamma) gives for the same.

    python3 make_cases.py            needs numpy and scipy; run by hand, the result is kept in the repository

A line of cases.txt is one of
    fixture NAME DTYPE SHAPE VALUES                       an array that expressions may use
    case GROUP TOLERANCE EXPRESSION RESULT [RESULT ...]   separated by tabs; a result is DTYPE SHAPE VALUES, with
                                                          DTYPE "scalar" for a number and "bool_scalar" for a boolean
    error GROUP EXPRESSION TEXT                           where we refuse; the message contains TEXT
Tolerances: exact; "ulp N" of the result's dtype; "rel X" of the largest expected magnitude; "abs X".
Where Perigee differs on purpose, the case says so here in a comment that starts with DIFFERS.
"""
import os
import numpy as np
import scipy.special as sp

np.seterr(all="ignore")
rng = np.random.default_rng(20240607)
lines, fixtures = [], {}

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
          "complex64", "complex128"]
INTS = DTYPES[1:9]
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]


def show(x, dtype):
    if dtype == "bool":
        return "1" if x else "0"
    if dtype.startswith("complex"):
        part = "float32" if dtype == "complex64" else "float64"
        return show(x.real, part) + ":" + show(x.imag, part)
    if dtype.startswith("float"):
        if np.isnan(x):
            return "nan"
        if np.isinf(x):
            return "inf" if x > 0 else "-inf"
        if x == 0:
            return "-0" if np.signbit(x) else "0"
        if 1e-4 <= abs(x) < 1e16:
            return np.format_float_positional(x, trim="-")
        return np.format_float_scientific(x, trim="-", exp_digits=1)
    return str(int(x))


def describe(value):
    if isinstance(value, (bool, np.bool_)):
        return "bool_scalar\t-\t" + ("1" if value else "0")
    if isinstance(value, (int, float, np.integer, np.floating)):
        if isinstance(value, (int, np.integer)):
            return "scalar\t-\t" + str(int(value))
        return "scalar\t-\t" + show(np.float64(value), "float64")
    if isinstance(value, (complex, np.complexfloating)):
        return "complex_scalar\t-\t" + show(np.complex128(value), "complex128")
    value = np.asarray(value)
    dtype = str(value.dtype)
    assert dtype in DTYPES, dtype
    shape = ",".join(str(n) for n in value.shape) or "()"
    values = [show(x, dtype) for x in value.reshape(-1)]
    if len(values) > 4 and len(set(values)) == 1:
        return f"{dtype}\t{shape}\t={values[0]}"
    return f"{dtype}\t{shape}\t" + " ".join(values)


def fixture(name, value):
    value = np.asarray(value)
    fixtures[name] = value
    lines.append("fixture\t" + name + "\t" + describe(value))
    return value


def case(group, lua, *values, tol="exact"):
    assert "\t" not in lua and "\n" not in lua
    lines.append("\t".join(["case", group, tol, lua] + [describe(v) for v in values]))


def error(group, lua, text):
    lines.append("\t".join(["error", group, lua, text]))


def small(shape, dtype, low=-4, high=5):
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.startswith("uint"):
        return rng.integers(0, high, shape).astype(dtype)
    if dtype.startswith("int"):
        return rng.integers(low, high, shape).astype(dtype)
    if dtype.startswith("complex"):
        return (np.round(rng.uniform(low, high, shape), 2) + 1j * np.round(rng.uniform(low, high, shape), 2)).astype(dtype)
    return np.round(rng.uniform(low, high, shape), 2).astype(dtype)


# --------------------------------------------------------------------------------------------------------- fixtures ----
a = fixture("a", np.arange(1, 13, dtype=np.float64).reshape(3, 4))
b = fixture("b", small((3, 4), "float64"))
c3 = fixture("c3", small((2, 3, 4), "float64"))
i3 = fixture("i3", small((2, 3, 4), "int32", -20, 21))
v = fixture("v", small((7,), "float64"))
w = fixture("w", small((7,), "float64"))
iv = fixture("iv", small((9,), "int64", 0, 6))
e0 = fixture("e0", np.zeros((0,), np.float64))
e23 = fixture("e03", np.zeros((0, 3), np.float64))
n4 = fixture("n4", np.array([[1.5, np.nan, -2.0, 0.25], [3.0, 4.0, np.nan, -1.0]]))
mask = fixture("mask", small((3, 4), "bool"))
T, U, S, X = {}, {}, {}, {}
for dtype in DTYPES:
    T[dtype] = fixture("t_" + dtype, small((2, 3), dtype))
    U[dtype] = fixture("u_" + dtype, small((3,), dtype, -3, 4))
    if dtype == "bool":
        extreme = [True, False]
    elif dtype in INTS:
        info = np.iinfo(dtype)
        extreme = [info.min, info.max, info.min + 1, info.max - 1, 0, 1, 2, 7, 100, info.max // 2]
        if info.min < 0:
            extreme += [-1, -2, -7, -100]
    else:
        part = np.finfo(dtype)
        extreme = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-3, 700.25, -1e10, np.inf, -np.inf, np.nan,
                   part.tiny, part.max, part.eps]
        if dtype in COMPLEX:
            extreme = [0, 1, -1, 1j, -1j, 1 + 2j, -3.5 + 0.25j, 1e-3 - 700j, 2 - 0.5j]
    X[dtype] = fixture("x_" + dtype, np.array(extreme).astype(dtype))
    with np.errstate(all="ignore"):
        S[dtype] = np.sort(T[dtype].reshape(-1)) if dtype not in COMPLEX else None

# --------------------------------------------------------------------------------------------------------- creation ----
G = "creation"
for dtype in DTYPES:
    case(G, f'array.zeros(2, 3, "{dtype}"), array.ones({{2}}, "{dtype}")', np.zeros((2, 3), dtype), np.ones(2, dtype))
    case(G, f'array.zeros_like(a, "{dtype}"), array.full({{2, 2}}, 1, "{dtype}")', np.zeros((3, 4), dtype),
         np.ones((2, 2), dtype))
case(G, "array.range(5), array.range(0, 4), array.range(2, 3, 0.25)", np.arange(1.0, 6), np.arange(0.0, 5),
     np.arange(2, 3.1, 0.25))
case(G, 'array.range(10, 1, -3), array.range(1, 5, "int16")', np.arange(10.0, 0, -3), np.arange(1, 6, dtype=np.int16))
case(G, "array.range(0, 1, 0.1)", np.linspace(0, 1, 11), tol="ulp 2")
case(G, "array.linspace(0, 1, 11), array.linspace(5, -5, 4)", np.linspace(0, 1, 11), np.linspace(5, -5, 4), tol="rel 1e-15")
case(G, "array.linspace(1, 2, 3, 'float32')", np.linspace(1, 2, 3, dtype=np.float32))
case(G, "array.logspace(0, 3, 4)", np.logspace(0, 3, 4), tol="ulp 4")
case(G, "array.geomspace(1, 256, 9)", np.geomspace(1, 256, 9), tol="ulp 4")
case(G, "array.eye(3), array.eye(2, 'int32')", np.eye(3), np.eye(2, dtype=np.int32))
case(G, "array.eye(2, 4)", np.eye(2, 4))
case(G, "array.full({2, 2}, 7), array.full(3, true)", np.full((2, 2), 7.0), np.full(3, True))
case(G, "array.from{ {1, 2}, {3, 4} }, array.from({ {1, 2}, {3, 4} }, 'int8')", np.array([[1.0, 2], [3, 4]]),
     np.array([[1, 2], [3, 4]], np.int8))
case(G, "array.from{ true, false }, array.from{}", np.array([True, False]), np.zeros(0))
case(G, "array.ones_like(t_int16), array.full_like(t_int16, 3)", np.ones((2, 3), np.int16), np.full((2, 3), 3, np.int16))
case(G, "array.tri(3)", np.tri(3))
case(G, "array.meshgrid(v, array.range(3))", *np.meshgrid(v, np.arange(1.0, 4)))
case(G, "array.diag(v)", np.diag(v))
case(G, "array.diag(a), array.diag(a, 1), array.diag(a, -1)", np.diag(a), np.diag(a, 1), np.diag(a, -1))
case(G, "array.tril(a), array.triu(a), array.tril(a, 1), array.triu(a, -1)", np.tril(a), np.triu(a), np.tril(a, 1),
     np.triu(a, -1))

# -------------------------------------------------------------------------------------------------------- promotion ----
G = "promotion"
for p in DTYPES:
    for q in DTYPES:
        x, y = T[p], U[q]
        with np.errstate(all="ignore"):
            complex_in = p in COMPLEX or q in COMPLEX
            divide = np.true_divide(x, y)
            values, names = [x + y, x * y], [f"t_{p} + u_{q}", f"t_{p} * u_{q}"]
            case(G, ", ".join(names), *values, tol="rel 3e-7" if complex_in else "exact")
            # DIFFERS: NumPy's float16 results do not exist: (u)int8 divided by bool or (u)int8 gives float64 in both.
            case(G, f"t_{p} / u_{q}", divide, tol="rel 3e-7" if complex_in else "exact")
            if complex_in:
                case(G, f"t_{p}:eq(u_{q}), array.ne(t_{p}, u_{q})", x == y, x != y)
            else:
                case(G, f"t_{p}:eq(u_{q}), t_{p}:lt(u_{q}), t_{p}:ge(u_{q})", x == y, x < y, x >= y)
for p in DTYPES[1:]:
    x = T[p]
    integer = p in INTS
    case(G, f"t_{p} + 1, 2 * t_{p}, t_{p}:maximum(1)" if p not in COMPLEX else f"t_{p} + 1, 2 * t_{p}",
         *([x + 1, 2 * x, np.maximum(x, 1)] if p not in COMPLEX else [x + 1, 2 * x]))
    case(G, f"t_{p} * 0.5, t_{p} / 2", x.astype(np.float64) * 0.5 if integer else x * 0.5,
         x / 2)  # DIFFERS: NumPy 2: int * 0.5 is float64 too
    if integer:
        info = np.iinfo(p)
        error(G, f"t_{p} + {float(info.max) * 4:.0f}", "out of range")
error(G, "t_uint8 + 300", "300 is out of range for the array's dtype uint8")
error(G, "t_uint8 - (-1)", "-1 is out of range")
# DIFFERS: a comparison with a number out of range compares, as in NumPy 2.
case(G, "t_uint8:lt(300), t_int8:gt(-1000), t_uint8:eq(-1)", T["uint8"] < 300, T["int8"] > -1000, T["uint8"] == -1)
case(G, "x_uint64:gt(x_uint64 - x_uint64), x_uint64:eq(x_uint64:copy())", X["uint64"] > 0, X["uint64"] == X["uint64"])
case(G, "x_int64[{ {1, 10} }]:lt(x_uint64), x_int64[{ {1, 10} }]:eq(x_uint64)", X["int64"][:10] < X["uint64"],
     X["int64"][:10] == X["uint64"])
for p, q in [("int64", "uint64"), ("uint64", "int64"), ("int8", "uint64"), ("uint64", "int32")]:
    x, y = X[p].reshape(-1, 1), X[q]
    for name, f in [("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal)]:
        case(G, f"array.{name}(x_{p}:reshape({x.size}, 1), x_{q})", f(x, y))
error(G, "array.add(a, b, {out = t_float64})", "")
error(G, "t_bool - t_bool", "")  # as NumPy
case(G, "array.result_type('int8', 'uint8') == 'int16', array.result_type(t_float32, 2) == 'float32', "
     "array.result_type('int8', 0.5) == 'float64', array.result_type('int64', 'float32', t_complex64) == 'complex128'", True, True, True, True)

# -------------------------------------------------------------------------------------------------------- wraparound ----
G = "wraparound"
for p in INTS:
    x = X[p]
    r = x[::-1].copy()
    n = x.size
    rev = f"x_{p}[{{ {{-1, 1, -1}} }}]"
    case(G, f"x_{p} + {rev}, x_{p} - {rev}, x_{p} * {rev}", x + r, x - r, x * r)
    case(G, f"-x_{p}, x_{p}:abs(), x_{p}:square(), x_{p}:sign()", -x, np.abs(x), np.square(x), np.sign(x))
    case(G, f"x_{p}:floor_divide(7), x_{p} % 7", x // x.dtype.type(7), x % x.dtype.type(7))
    if p.startswith("int"):
        case(G, f"x_{p}:floor_divide(-3), x_{p} % -3, x_{p}:fmod(-3)", x // x.dtype.type(-3), x % x.dtype.type(-3),
             np.fmod(x, x.dtype.type(-3)))
        case(G, f"x_{p}:floor_divide(-1)", x // x.dtype.type(-1))
    case(G, f"x_{p} ^ 3", x ** x.dtype.type(3))
    case(G, f"x_{p}:bitwise_and(100), x_{p}:bitwise_or(100), x_{p}:bitwise_xor(100), x_{p}:bitwise_not()",
         x & x.dtype.type(100), x | x.dtype.type(100), x ^ x.dtype.type(100), ~x)
    case(G, f"x_{p}:left_shift(3), x_{p}:right_shift(2)", x << x.dtype.type(3), x >> x.dtype.type(2))
    case(G, f"x_{p}:cumsum()", np.cumsum(x))
    case(G, f"x_{p}:gt(x_{p}[{{ {{-1, 1, -1}} }}]), x_{p}:maximum({rev})", x > r, np.maximum(x, r))
case(G, "t_int32:floor_divide(array.zeros(3, 'int32')), t_int32 % array.zeros(3, 'int32')",
     np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int32))
case(G, "array.from({2, 3, 10}, 'int64') ^ array.from({62, 3, 18}, 'int64')", np.array([2 ** 62, 27, 10 ** 18]))
case(G, "array.gcd(array.from({12, 18, -4, 0}, 'int32'), array.from({8, 27, 6, 0}, 'int32'))", np.array([4, 9, 2, 0], np.int32))
case(G, "array.lcm(array.from({12, 18, -4, 0}, 'int32'), array.from({8, 27, 6, 5}, 'int32'))", np.array([24, 54, 12, 0], np.int32))
error(G, "array.from({2}, 'int32') ^ array.from({-1}, 'int32')", "")  # as NumPy

# ------------------------------------------------------------------------------------------------------------ astype ----
G = "astype"
for p in DTYPES:
    for q in DTYPES:
        if p in COMPLEX and q not in COMPLEX:
            continue
        x = np.abs(T[p]) if not p in COMPLEX else T[p]
        if p in COMPLEX:
            case(G, f't_{p}:astype("{q}")', T[p].astype(q))
        else:
            case(G, f'array.abs(t_{p} + array.zeros(3, "{p}")):astype("{q}")' if p not in ("bool",) else
                 f't_{p}:astype("{q}")', x.astype(q))
case(G, "array.from{-1.9, 1.9, -0.5}:astype('int8'), array.from{0, 0.5, 0/0}:astype('bool')", np.array([-1, 1, 0], np.int8),
     np.array([False, True, True]))
# DIFFERS: astype refuses what the dtype cannot hold; NumPy wraps or leaves it undefined.
for lua in ["array.from{300}:astype('uint8')", "array.from{-1}:astype('uint16')", "array.from{0/0}:astype('int32')",
            "array.from{1e300}:astype('int64')", "x_uint64:astype('int64')", "x_int64:astype('uint32')"]:
    error(G, lua, "")
case(G, "array.from{1e300, -1e300, 1e-50}:astype('float32')", np.array([np.inf, -np.inf, 0], np.float32))
case(G, "x_int64:astype('float64'), x_uint64:astype('float32'), x_uint64:astype('float64')", X["int64"].astype(np.float64),
     X["uint64"].astype(np.float32), X["uint64"].astype(np.float64))

# ------------------------------------------------------------------------------------------------------------- views ----
G = "views"
case(G, "a[{ {2, 3}, {1, 2} }], a[{ {}, {1, -1, 2} }], a[{ {-1, 1, -1} }]", a[1:3, 0:2], a[:, ::2], a[::-1])
case(G, "a[{ {-1, 1, -2}, {-1, 1, -3} }]", a[::-2, ::-3])
case(G, "a[{ {}, 2 }], a[{ 3 }], a[{ -1, {2, -2} }]", a[:, 1], a[2], a[-1, 1:-1])
case(G, "a[{ {2, 1} }]", a[2:1])
case(G, "a.T, a.T[{ {2, 3} }], a.T:copy()", a.T, a.T[1:3], a.T.copy())
case(G, "c3:transpose(2, 3, 1), c3:transpose(3, 1, 2)[{ {}, 1 }]", c3.transpose(1, 2, 0), c3.transpose(2, 0, 1)[:, 0])
case(G, "c3[{ {}, {1, 3, 2}, {-1, 1, -2} }], c3[{ 2, {}, 4 }], c3[{ {2, 1, -1}, 2 }]", c3[:, 0:3:2, ::-2], c3[1, :, 3],
     c3[::-1, 1])
case(G, "a:reshape(4, 3), a:reshape(2, -1), a:reshape{12}, a.T:reshape(3, 4)", a.reshape(4, 3), a.reshape(2, -1),
     a.reshape(12), a.T.reshape(3, 4))
case(G, "a:reshape{2, 2, 3}:transpose(2, 1, 3)[{ {}, -1 }]", a.reshape(2, 2, 3).transpose(1, 0, 2)[:, -1])
case(G, "c3:swapaxes(1, 3), c3:swapaxes(-1, -2)", c3.swapaxes(0, 2), c3.swapaxes(-1, -2))
case(G, "array.moveaxis(c3, 1, 3), array.moveaxis(c3, -1, 1)", np.moveaxis(c3, 0, 2), np.moveaxis(c3, -1, 0))
case(G, "a:expand_dims(1), a:expand_dims(-1), a:expand_dims(2):squeeze()", np.expand_dims(a, 0), np.expand_dims(a, -1), a)
case(G, "a:reshape(1, 3, 1, 4):squeeze(), a:reshape(1, 3, 1, 4):squeeze(1), a:reshape(1, 3, 1, 4):squeeze(3)", a,
     a.reshape(3, 1, 4), a.reshape(1, 3, 4))
case(G, "a:ravel(), a.T:ravel(), a:flatten()", a.ravel(), a.T.ravel(), a.flatten())
case(G, "array.broadcast_to(array.range(4), {2, 4}), array.broadcast_to(a[{ {}, {1, 1} }], {3, 2})",
     np.broadcast_to(np.arange(1.0, 5), (2, 4)), np.broadcast_to(a[:, :1], (3, 2)))
case(G, "local x = a:copy() x[{ {1, 2}, {-1, 1, -1} }] = a[{ {2, 3} }] return x",
     np.array([[8., 7, 6, 5], [12, 11, 10, 9], [9, 10, 11, 12]]))
x = a.copy(); x[:, ::2] = 0; x[1] = [9, 8, 7, 6]; x[2, 3] = -1
case(G, "local x = a:copy() x[{ {}, {1, -1, 2} }] = 0 x[2] = array.from{9, 8, 7, 6} x[3][4] = -1 return x", x)
x = a.copy(); x[1:] = x[:-1].copy()
case(G, "local x = a:copy() x[{ {2, -1} }] = x[{ {1, -2} }] return x", x)
x = a.copy(); x[:] = x[::-1].copy()
case(G, "local x = a:copy() x[{ {} }] = x[{ {-1, 1, -1} }] return x", x)
x = v.copy(); x[1:] += x[:-1].copy()
case(G, "local x = v:copy() x[{ {2, -1} }]:add_(x[{ {1, -2} }]) return x", x)
x = v.copy(); x *= x[::-1].copy()
case(G, "local x = v:copy() x:multiply_(x[{ {-1, 1, -1} }]) return x", x)
x = a[:3, :3].copy(); x += x.T.copy()
case(G, "local x = a[{ {}, {1, 3} }]:copy() x:add_(x.T) return x", x)
case(G, "e0 + 1, e03:sum(1), e03 * array.range(3)", e0 + 1, e23.sum(0), e23 * np.arange(1.0, 4))
error(G, "array.broadcast_to(array.range(4), {2, 3})", "")
error(G, "a[{ {1, 5} }]", "out of range")
error(G, "a + array.range(3)", "")

# ------------------------------------------------------------------------------------------------------ broadcasting ----
G = "broadcasting"
col = a[:, :1]
case(G, "a + array.range(4), a * a[{ {}, {2, 2} }], a[{ {}, {1, 1} }] - a[{ {1, 1} }]", a + np.arange(1.0, 5), a * a[:, 1:2],
     a[:, :1] - a[:1])
case(G, "c3 + a, c3 * a[{ 1 }], c3 - a[{ {}, {3, 3} }]", c3 + a, c3 * a[0], c3 - a[:, 2:3])
case(G, "a[{ {}, {1, 1} }] + a.T[{ {1, 1} }], v:reshape(7, 1):gt(w)", a[:, :1] + a.T[:1], v.reshape(7, 1) > w)
case(G, "array.where(a:gt(6), a, -1), array.where(mask, a, b), array.where(mask[{ 1 }], a, array.range(3):reshape(3, 1))",
     np.where(a > 6, a, -1), np.where(mask, a, b), np.where(mask[0], a, np.arange(1.0, 4).reshape(3, 1)))
case(G, "array.full({}, 3) + a, array.full({}, 3) * array.full({}, 4)", a + 3, np.asarray(12.0))
case(G, "t_float32 + array.from{1, 2, 3}, t_int8 * array.from({{10}, {100}}, 'int16')", T["float32"] + np.arange(1.0, 4),
     T["int8"] * np.array([[10], [100]], np.int16))
case(G, "array.zeros(3, 0) + array.zeros(1, 0)", np.zeros((3, 0)))
error(G, "array.zeros(3, 0) + array.zeros(3, 2)", "")

# ------------------------------------------------------------------------------------------------------- elementwise ----
G = "elementwise"
ordinary = {}
for dtype in FLOATS:
    grid = np.concatenate([rng.uniform(-20, 20, 8), rng.uniform(-1, 1, 8)]).astype(dtype)
    ordinary[dtype] = fixture("o_" + dtype, grid)
    ordinary["p" + dtype] = fixture("p_" + dtype, np.abs(grid))
ULP = 4  # what vector mathematics promises
unary = [  # Perigee's name, NumPy's function, where (o: anywhere, p: positive, q: [-1, 1]), ulp, with special values
    ("sin", np.sin, "o"), ("cos", np.cos, "o"), ("tan", np.tan, "o"), ("asin", np.arcsin, "q"), ("acos", np.arccos, "q"),
    ("atan", np.arctan, "o"), ("sinh", np.sinh, "o"), ("cosh", np.cosh, "o"), ("tanh", np.tanh, "o"),
    ("asinh", np.arcsinh, "o"), ("acosh", np.arccosh, "p1"), ("atanh", np.arctanh, "q"), ("exp", np.exp, "o"),
    ("exp2", np.exp2, "o"), ("expm1", np.expm1, "o"), ("log", np.log, "p"), ("log2", np.log2, "p"),
    ("log10", np.log10, "p"), ("log1p", np.log1p, "p"), ("cbrt", np.cbrt, "o"), ("erf", sp.erf, "o"),
    ("erfc", sp.erfc, "q"), ("gamma", sp.gamma, "p"), ("lgamma", sp.gammaln, "p"), ("degrees", np.degrees, "o"),
    ("radians", np.radians, "o"),
]
exact_unary = [("sqrt", np.sqrt), ("square", np.square), ("abs", np.abs), ("floor", np.floor), ("ceil", np.ceil),
               ("trunc", np.trunc), ("round", np.rint), ("sign", np.sign), ("negative", np.negative),
               ("reciprocal", np.reciprocal), ("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite),
               ("signbit", np.signbit), ("logical_not", np.logical_not)]
for dtype in FLOATS:
    for name, f, where in unary:
        src, x = f"o_{dtype}", ordinary[dtype]
        if where == "p":
            src, x = f"p_{dtype}", ordinary["p" + dtype]
        elif where == "p1":
            src, x = f"p_{dtype} + 1", ordinary["p" + dtype] + x.dtype.type(1)
        elif where == "q":
            src, x = f"o_{dtype}[{{ {{9, 16}} }}]", ordinary[dtype][8:]
        # The expected value is computed in float64 and rounded, so that NumPy's own ulps do not add to ours.
        exact = f(x.astype(np.float64)).astype(dtype)
        case(G, f"array.{name}({src})", exact, tol=f"ulp {ULP + (8 if name in ('gamma', 'lgamma') else 2)}")
        special = X[dtype][:14]
        if name in ("sin", "cos", "tan", "gamma", "lgamma"):
            special = X[dtype][:9]  # -1e10: argument reduction of float32 is measured elsewhere
        got = f(special.astype(np.float64)).astype(dtype)
        if name == "gamma":  # C's tgamma: +-inf at zeros, nan at negative integers
            got[0], got[1], got[3] = np.inf, -np.inf, np.nan
        case(G, f"array.{name}(x_{dtype}[{{ {{1, {len(special)}}} }}])", got,
             tol=f"ulp {ULP + (8 if name in ('gamma', 'lgamma') else 2)}")
    for name, f in exact_unary:
        case(G, f"array.{name}(x_{dtype}), array.{name}(o_{dtype})", f(X[dtype]), f(ordinary[dtype]))
for dtype in INTS:
    x = T[dtype]
    # DIFFERS: NumPy gives float16 or float32 for 8- and 16-bit integers; here it is float64.
    case(G, f"array.sqrt(array.abs(t_{dtype})), array.exp(t_{dtype})", np.sqrt(np.abs(x).astype(np.float64)),
         np.exp(x.astype(np.float64)), tol="ulp 4")
    case(G, f"array.floor(t_{dtype}), array.ceil(t_{dtype}), array.round(t_{dtype}), array.sign(t_{dtype})", x, x, x,
         np.sign(x))
    case(G, f"array.isnan(t_{dtype}), array.isfinite(t_{dtype})", np.isnan(x), np.isfinite(x))
binary = [("atan2", np.arctan2, ULP), ("hypot", np.hypot, ULP), ("fmod", np.fmod, 0), ("copysign", np.copysign, 0),
          ("nextafter", np.nextafter, 0), ("fmin", np.fmin, 0), ("fmax", np.fmax, 0), ("minimum", np.minimum, 0),
          ("maximum", np.maximum, 0), ("logaddexp", np.logaddexp, 16)]
for dtype in FLOATS:
    for name, f, ulp in binary:
        x, y = ordinary[dtype], ordinary[dtype][::-1].copy()
        expected = f(x.astype(np.float64), y.astype(np.float64)).astype(dtype) if ulp else f(x, y)
        case(G, f"array.{name}(o_{dtype}, o_{dtype}[{{ {{-1, 1, -1}} }}])", expected,
             tol=f"ulp {ulp + 2}" if ulp else "exact")
    for name, f, ulp in binary[:9]:
        x = X[dtype][:13]
        case(G, f"array.{name}(x_{dtype}[{{ {{1, 13}} }}]:reshape(13, 1), x_{dtype}[{{ {{1, 13, 3}} }}])",
             f(x.reshape(13, 1), x[::3]), tol=f"ulp {ulp + 2}" if ulp else "exact")
    x = X[dtype][:9]
    case(G, f"x_{dtype}[{{ {{1, 9}} }}]:reshape(9, 1) % x_{dtype}[{{ {{3, 9}} }}]", x.reshape(9, 1) % x[2:])
    case(G, f"x_{dtype}[{{ {{1, 9}} }}]:reshape(9, 1):floor_divide(x_{dtype}[{{ {{3, 9}} }}])", x.reshape(9, 1) // x[2:])
    p = ordinary["p" + dtype]
    case(G, f"p_{dtype} ^ o_{dtype}[{{ {{-1, 1, -1}} }}], p_{dtype} ^ 0.5, o_{dtype} ^ 2, o_{dtype} ^ 3",
         (p.astype(np.float64) ** ordinary[dtype][::-1].astype(np.float64)).astype(dtype),
         np.sqrt(p.astype(np.float64)).astype(dtype), ordinary[dtype] ** 2,
         (ordinary[dtype].astype(np.float64) ** 3).astype(dtype), tol="ulp 4")
    z = np.array([0, -0.0, 1, -1, 2, -2, 0.5, np.inf, -np.inf, np.nan], dtype)
    if dtype == "float32":
        fixture("z_float32", z)
    else:
        fixture("z_float64", z)
    case(G, f"z_{dtype}:reshape(10, 1) ^ z_{dtype}", z.reshape(10, 1) ** z, tol="ulp 4")
    case(G, f"z_{dtype}:reshape(10, 1) / z_{dtype}", z.reshape(10, 1) / z)
    case(G, f"z_{dtype}:reshape(10, 1) * z_{dtype}, z_{dtype}:reshape(10, 1) - z_{dtype}", z.reshape(10, 1) * z,
         z.reshape(10, 1) - z)
    case(G, f"z_{dtype}:reshape(10, 1):lt(z_{dtype}), z_{dtype}:reshape(10, 1):ge(z_{dtype}), z_{dtype}:reshape(10, 1):ne(z_{dtype})",
         z.reshape(10, 1) < z, z.reshape(10, 1) >= z, z.reshape(10, 1) != z)
case(G, "array.round(array.from{0.5, 1.5, 2.5, -0.5, -1.5})",
     np.rint([0.5, 1.5, 2.5, -0.5, -1.5]))
case(G, "array.ldexp(array.from{1, 0.75, -3}, array.from({3, -2, 10}, 'int32'))", np.ldexp([1, 0.75, -3], [3, -2, 10]))
case(G, "array.logical_and(mask, a:gt(5)), array.logical_or(mask, a:gt(5)), array.logical_xor(mask, a:gt(5)), array.logical_not(mask)",
     mask & (a > 5), mask | (a > 5), mask ^ (a > 5), ~mask)
case(G, "array.logical_and(b, 1), array.logical_or(t_int32, t_int8)", np.logical_and(b, 1),
     np.logical_or(T["int32"], T["int8"]))
case(G, "a:clip(3, 8), b:clip(-1, 1), array.clip(t_int32, 0, 2), n4:clip(-1, 1)", a.clip(3, 8), b.clip(-1, 1),
     T["int32"].clip(0, 2), n4.clip(-1, 1))
case(G, "a:clip(array.range(4), 8)", a.clip(np.arange(1.0, 5), 8))
case(G, "array.nan_to_num(n4)", np.nan_to_num(n4))
for dtype in FLOATS:
    x = X[dtype][:13]
    cut = f"x_{dtype}[{{ {{1, 13}} }}]"
    column = f"{cut}:reshape(13, 1)"
    case(G, f"array.heaviside({cut}, 0.5), array.positive({cut})", np.heaviside(x, x.dtype.type(0.5)), +x)
    case(G, f"array.logaddexp2({column}, {cut}[{{ {{1, 13, 3}} }}])", np.logaddexp2(x.reshape(13, 1), x[::3]), tol="ulp 16")
    quotient, rest = np.divmod(x.reshape(13, 1), x[2:9])
    case(G, f"array.divmod({column}, x_{dtype}[{{ {{3, 9}} }}])", quotient, rest)
    mantissa, exponent = np.frexp(x)
    case(G, f"array.frexp({cut})", mantissa, exponent.astype(np.int32))
    fraction, whole = np.modf(x)
    case(G, f"array.modf({cut})", fraction, whole)
    case(G, f"o_{dtype}:clip(-1, 5), {column}:clip({cut}[{{ {{1, 13, 3}} }}], 1)", ordinary[dtype].clip(-1, 5),
         np.clip(x.reshape(13, 1), x[::3], x.dtype.type(1)))
    case(G, f"o_{dtype}:round(1), o_{dtype}:round(-1)", ordinary[dtype].round(1), ordinary[dtype].round(-1))
    case(G, f"array.where({column}:lt({cut}), {column}, {cut})", np.where(x.reshape(13, 1) < x, x.reshape(13, 1), x))
for dtype in INTS:
    x = T[dtype]
    case(G, f"array.where(t_{dtype}, t_{dtype}, 1), array.where(array.from{{true, false, true}}, t_{dtype}, 0.5)",
         np.where(x, x, x.dtype.type(1)), np.where([True, False, True], x, 0.5))
    case(G, f"t_{dtype}:clip(1, array.from({{{{2}}, {{3}}}}, '{dtype}')), t_{dtype}:round(-1)",
         x.clip(1, np.array([[2], [3]], dtype)), x.round(-1))
case(G, "array.isclose(array.from{1, 1e-9, 0/0}, array.from{1 + 1e-9, 0, 0/0})", np.array([True, True, False]))
case(G, "array.allclose(a, a + 1e-9), array.allclose(a, a + 1e-3), array.equal(a, a:copy()), a == b", True, False, True, False)
x = a.copy(); x += b; x *= 2; x -= 1; x /= 3
case(G, "local x = a:copy() x:add_(b) x:multiply_(2) x:subtract_(1) x:divide_(3) return x", x)
x = np.empty((3, 4)); np.sqrt(a, out=x)
case(G, "local x = array.empty_like(a) array.sqrt(a, {out = x}) return x", x)
case(G, "local x = t_int32:copy() x:add_(5) x:multiply_(-2) return x", (T["int32"] + 5) * -2)
error(G, "local x = t_int32:copy() x:add_(0.5)", "")
error(G, "t_float64:bitwise_and(t_float64)", "")

# ----------------------------------------------------------------------------------------------------------- complex ----
G = "complex"
for dtype in COMPLEX:
    tol = "rel 1e-6" if dtype == "complex64" else "rel 1e-14"
    x, y = T[dtype], U[dtype]
    s = X[dtype]
    case(G, f"t_{dtype} + u_{dtype}, t_{dtype} - u_{dtype}, t_{dtype} * u_{dtype}, t_{dtype} / u_{dtype}", x + y, x - y,
         x * y, x / y, tol=tol)
    case(G, f"array.real(t_{dtype}), array.imag(t_{dtype}), array.conj(t_{dtype})", x.real, x.imag, x.conj())
    case(G, f"t_{dtype}:real(), t_{dtype}:imag(), -t_{dtype}", x.real, x.imag, -x)
    case(G, f"array.abs(t_{dtype}), array.angle(t_{dtype})", np.abs(x), np.angle(x), tol=tol)
    for name, f in [("sqrt", np.sqrt), ("exp", np.exp), ("log", np.log), ("sin", np.sin), ("cos", np.cos),
                    ("tanh", np.tanh), ("square", np.square)]:
        case(G, f"array.{name}(t_{dtype})", f(x), tol=tol)
    case(G, f"array.sqrt(x_{dtype}), x_{dtype} * x_{dtype}", np.sqrt(s), s * s, tol=tol)
    case(G, f"t_{dtype} ^ 2, t_{dtype} ^ 0.5", x ** 2, x ** 0.5, tol="rel 1e-5" if dtype == "complex64" else "rel 1e-13")
    case(G, f"t_{dtype}:sum(), t_{dtype}:prod(), t_{dtype}:mean()", x.sum(), x.prod(), x.mean(), tol=tol)
    case(G, f"t_{dtype}:sum(1), t_{dtype}:mean(2), t_{dtype}:cumsum(2)", x.sum(0), x.mean(1), x.cumsum(1), tol=tol)
    case(G, f"array.isnan(t_{dtype}), array.isfinite(t_{dtype})", np.isnan(x), np.isfinite(x))
    case(G, f"t_{dtype}.T, t_{dtype}[{{ {{}}, {{-1, 1, -1}} }}]", x.T, x[:, ::-1])
    case(G, f"array.where(array.real(t_{dtype}):gt(0), t_{dtype}, 0)", np.where(x.real > 0, x, 0).astype(dtype))
case(G, "array.complex(a, b)", a + 1j * b)

# -------------------------------------------------------------------------------------------------------- reductions ----
G = "reductions"
FLOAT_TOL = "rel 1e-14"
for name, f in [("sum", np.sum), ("prod", np.prod), ("mean", np.mean), ("min", np.min), ("max", np.max), ("var", np.var),
                ("std", np.std)]:
    for src, x in [("a", a), ("c3", c3), ("i3", i3), ("b.T", b.T), ("c3:transpose(3, 1, 2)", c3.transpose(2, 0, 1)),
                   ("c3[{ {}, {-1, 1, -2}, {1, 4, 3} }]", c3[:, ::-2, ::3])]:
        if src == "i3" and name == "prod":
            continue
        values = [f(x), f(x, axis=0), f(x, axis=-1), f(x, axis=1, keepdims=True)]
        case(G, f"{src}:{name}(), {src}:{name}(1), {src}:{name}(-1), {src}:{name}{{axis = 2, keepdims = true}}", *values,
             tol=FLOAT_TOL)
    case(G, f"c3:{name}{{axis = {{1, 3}}}}, c3:{name}{{axis = {{2, 3}}, keepdims = true}}, c3:{name}{{axis = {{1, 2, 3}}}}",
         f(c3, axis=(0, 2)), f(c3, axis=(1, 2), keepdims=True), f(c3), tol=FLOAT_TOL)
for dtype in DTYPES:
    x = T[dtype]
    if dtype in COMPLEX:
        continue
    # DIFFERS: sums of unsigned integers: see README (NumPy: uint64).
    s = x.sum(0)
    case("reduction dtypes", f"t_{dtype}:sum(1), t_{dtype}:prod(2)", x.sum(0), x.prod(1), tol="rel 1e-6")
    case("reduction dtypes", f"t_{dtype}:sum(), t_{dtype}:mean()", x.sum().item(), float(x.astype(np.float64).mean()),
         tol="rel 1e-6")
    case("reduction dtypes", f"t_{dtype}:mean(1)", x.mean(0), tol="rel 1e-6")
    case("reduction dtypes", f"t_{dtype}:min(1), t_{dtype}:max(2), t_{dtype}:cumsum(2)", x.min(0), x.max(1), x.cumsum(1),
         tol="rel 1e-6")
    if dtype != "bool":
        case("reduction dtypes", f"t_{dtype}:var(1), t_{dtype}:std(2)", x.var(0), x.std(1), tol="rel 1e-6")
    case("reduction dtypes", f"t_{dtype}:any(1), t_{dtype}:all(2), t_{dtype}:any(), t_{dtype}:all()", x.any(0), x.all(1),
         bool(x.any()), bool(x.all()))
    case("reduction dtypes", f"t_{dtype}:count_nonzero(), t_{dtype}:count_nonzero(1)", int(np.count_nonzero(x)),
         np.count_nonzero(x, axis=0))
case(G, "a:var{ddof = 1}, a:std{axis = 1, ddof = 1}, c3:var{axis = {1, 2}, ddof = 1, keepdims = true}", a.var(ddof=1),
     a.std(axis=0, ddof=1), c3.var(axis=(0, 1), ddof=1, keepdims=True), tol=FLOAT_TOL)
for src, x in [("c3", c3), ("i3", i3), ("c3[{ {}, {-1, 1, -1} }]", c3[:, ::-1])]:
    case(G, f"{src}:argmin(), {src}:argmax()", int(x.argmin()) + 1, int(x.argmax()) + 1)
    case(G, f"{src}:argmin(1), {src}:argmax(2), {src}:argmax{{axis = -1, keepdims = true}}", x.argmin(0) + 1, x.argmax(1) + 1,
         x.argmax(axis=-1, keepdims=True) + 1)
case(G, "n4:min(), n4:max(1), n4:sum(), n4:mean(2)", np.nan, n4.max(0), np.nan, n4.mean(1))
case(G, "n4:argmax(), n4:argmin(2)", int(n4.argmax()) + 1, n4.argmin(1) + 1)
case(G, "array.nansum(n4), array.nanmean(n4), array.nanmin(n4), array.nanmax(n4), array.nanstd(n4)", np.nansum(n4),
     np.nanmean(n4), np.nanmin(n4), np.nanmax(n4), np.nanstd(n4), tol=FLOAT_TOL)
case(G, "array.nansum(n4, 1), array.nanmax(n4, 2), array.nanmean(n4, 2)", np.nansum(n4, 0), np.nanmax(n4, 1),
     np.nanmean(n4, 1), tol=FLOAT_TOL)
case(G, "mask:any(1), mask:all(2), mask:any(), mask:all(), mask:any{axis = {1, 2}}, mask:sum()", mask.any(0), mask.all(1),
     bool(mask.any()), bool(mask.all()), bool(mask.any()), int(mask.sum()))
case(G, "b:cumsum(), b:cumsum(1), b:cumsum(2), b:cumprod(), b:cumprod(1)", b.cumsum(), b.cumsum(0), b.cumsum(1), b.cumprod(),
     b.cumprod(0), tol=FLOAT_TOL)
case(G, "b.T:cumsum(1), c3:cumsum(2), i3:cumsum(3), i3:cumprod(1)", b.T.cumsum(0), c3.cumsum(1), i3.cumsum(2), i3.cumprod(0),
     tol=FLOAT_TOL)
case(G, "n4:cumsum(2), n4:cumprod(1)", n4.cumsum(1), n4.cumprod(0))
case(G, "e0:sum(), e0:prod(), e03:sum(2), e03:prod(1), e0:any(), e0:all()", 0.0, 1.0, e23.sum(1), e23.prod(0), False, True)
error(G, "e0:min()", "")
error(G, "e0:argmax()", "")
error(G, "a:sum(3)", "axis 3 is out of range for an array of 2 dimensions")
error(G, "a:sum(0)", "axis 0")
case(G, "a:ptp(), a:ptp(1)", np.ptp(a), np.ptp(a, axis=0))
big = fixture("many", (np.arange(1000) % 7 + 0.1).astype(np.float32))
case(G, "many:sum(), many:mean(), many:std(), many:cumsum()[{ {-1, -1} }]", np.float64(big.astype(np.float64).sum()),
     big.astype(np.float64).mean(), big.astype(np.float64).std(), big.cumsum()[-1:], tol="rel 1e-5")

# ---------------------------------------------------------------------------------------------- statistics and order ----
G = "quantiles"
case(G, "array.median(v), array.median(a), array.median(c3, 1), array.median(c3, {axis = 3, keepdims = true})", np.median(v),
     np.median(a), np.median(c3, 0), np.median(c3, axis=2, keepdims=True), tol=FLOAT_TOL)
qs = [0, 0.1, 0.25, 0.5, 0.77, 1]
fixture("qs", np.array(qs))
for method in ["inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
               "weibull", "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest"]:
    case(G, f"array.quantile(v, qs, {{method = '{method}'}})", np.quantile(v, qs, method=method), tol="rel 1e-14")
    case(G, f"array.quantile(c3, 0.3, {{axis = 2, method = '{method}'}})", np.quantile(c3, 0.3, axis=1, method=method),
         tol="rel 1e-14")
case(G, "array.quantile(v, 0.3), array.percentile(v, 30), array.quantile(a, 0.5)", np.quantile(v, 0.3), np.percentile(v, 30),
     np.quantile(a, 0.5), tol=FLOAT_TOL)
case(G, "array.quantile(c3, qs, {axis = 1})", np.quantile(c3, qs, axis=0), tol=FLOAT_TOL)
case(G, "array.quantile(n4, 0.5), array.median(n4, 2)", np.nan, np.median(n4, 1))
G = "statistics"
case(G, "array.cov(a), array.corrcoef(b)", np.cov(a), np.corrcoef(b), tol="rel 1e-13")
case(G, "array.average(v, {weights = array.abs(w)})", np.average(v, weights=np.abs(w)), tol=FLOAT_TOL)
h, edges = np.histogram(v, 5)
case(G, "array.histogram(v, 5)", h, edges, tol="rel 1e-14")
h, edges = np.histogram(c3, 4, range=(-2, 3))
case(G, "array.histogram(c3, {bins = 4, range = {-2, 3}})", h, edges, tol="rel 1e-14")
h, edges = np.histogram(v, [-4.0, -1, 0, 2, 5])
case(G, "array.histogram(v, array.from{-4, -1, 0, 2, 5})", h, edges)
h, edges = np.histogram(v, 5, density=True)
case(G, "array.histogram(v, 5, {density = true})", h, edges, tol="rel 1e-14")
# DIFFERS: bincount counts from the value 0, at index 1.
case(G, "array.bincount(iv), array.bincount(iv, {minlength = 9})", np.bincount(iv), np.bincount(iv, minlength=9))
case(G, "array.bincount(iv, {weights = array.range(9)})", np.bincount(iv, weights=np.arange(1.0, 10)))
u, first, inverse, counts = np.unique(iv, return_index=True, return_inverse=True, return_counts=True)
case(G, "array.unique(iv), array.unique(a:gt(3)), array.unique(array.from{3, 1, 3, 2})", u, np.array([False, True]),
     np.array([1.0, 2, 3]))
case(G, "array.unique(iv, {index = true, inverse = true, counts = true})", u, first + 1, inverse + 1, counts)
sorted_v = fixture("sv", np.sort(np.round(rng.uniform(0, 10, 8), 1)))
for side in ["left", "right"]:
    # DIFFERS: 1-based positions: where the value would be inserted.
    case(G, f"array.searchsorted(sv, array.range(0, 10, 2.5), {{side = '{side}'}})",
         np.searchsorted(sorted_v, np.arange(0, 10.1, 2.5), side=side) + 1)
    case(G, f"array.searchsorted(array.from{{1, 2, 2, 3}}, 2, {{side = '{side}'}})",
         int(np.searchsorted([1, 2, 2, 3], 2, side=side)) + 1)
case(G, "array.digitize(v, array.from{-2, 0, 2})", np.digitize(v, [-2, 0, 2]) + 1)
case(G, "array.isin(iv, array.from({1, 3, 5}, 'int64')), array.isin(a, array.from{2, 7, 100})", np.isin(iv, [1, 3, 5]),
     np.isin(a, [2, 7, 100]))
xp = np.array([0.0, 1, 2.5, 4]); fp = np.array([1.0, 3, -2, 0])
fixture("xp", xp); fixture("fp", fp)
case(G, "array.interp(array.linspace(-1, 5, 13), xp, fp), array.interp(1.5, xp, fp)", np.interp(np.linspace(-1, 5, 13), xp, fp),
     np.interp(1.5, xp, fp), tol="rel 1e-14")
case(G, "array.interp(array.linspace(-1, 5, 7), xp, fp, {left = -9, right = 9})", np.interp(np.linspace(-1, 5, 7), xp, fp, -9, 9),
     tol="rel 1e-14")
case(G, "array.gradient(v), array.gradient(v, 0.5), array.gradient(v, {axis = 1})", np.gradient(v), np.gradient(v, 0.5),
     np.gradient(v), tol="rel 1e-14")
case(G, "array.gradient(fp, xp)", np.gradient(fp, xp), tol="rel 1e-14")
case(G, "array.gradient(b, {axis = 2}), array.gradient(b, {axis = 1})", np.gradient(b, axis=1), np.gradient(b, axis=0),
     tol="rel 1e-14")
case(G, "array.trapz(v), array.trapz(fp, xp), array.trapz(b, {axis = 1}), array.trapz(b, {dx = 0.5})", np.trapezoid(v),
     np.trapezoid(fp, xp), np.trapezoid(b, axis=0), np.trapezoid(b, dx=0.5), tol="rel 1e-14")
for mode in ["full", "same", "valid"]:
    case(G, f"array.convolve(v, array.from{{1, 2, 0.5}}, '{mode}'), array.convolve(fp, v, '{mode}')",
         np.convolve(v, [1, 2, 0.5], mode), np.convolve(fp, v, mode), tol="rel 1e-13")
    case(G, f"array.correlate(v, array.from{{1, 2, 0.5}}, '{mode}'), array.correlate(fp, v, '{mode}')",
         np.correlate(v, [1, 2, 0.5], mode), np.correlate(fp, v, mode), tol="rel 1e-13")
case(G, "array.diff(v), array.diff(v, 2), array.diff(b, {axis = 1}), array.diff(i3), array.diff(b, 2, {axis = -1})", np.diff(v),
     np.diff(v, 2), np.diff(b, axis=0), np.diff(i3), np.diff(b, 2, axis=-1), tol="rel 1e-14")

G = "sorting"
for dtype in DTYPES[:11]:
    x = T[dtype]
    case(G, f"array.sort(t_{dtype}), array.sort(t_{dtype}, 1), array.sort(t_{dtype}:reshape(6), {{descending = true}})",
         np.sort(x), np.sort(x, 0), np.sort(x.reshape(-1))[::-1])
    case(G, f"array.argsort(t_{dtype}:reshape(6), {{stable = true}}), array.argsort(t_{dtype}, {{axis = 1, stable = true}})",
         np.argsort(x.reshape(-1), kind="stable") + 1, np.argsort(x, 0, kind="stable") + 1)
# DIFFERS: -0 sorts before 0 (NumPy: wherever it ends up).
case(G, "array.sort(c3, 2), array.sort(c3.T), array.sort(n4), array.sort(x_float64) + 0", np.sort(c3, 1), np.sort(c3.T),
     np.sort(n4), np.sort(X["float64"]) + 0)
case(G, "array.sort(x_int64), array.sort(x_uint64), array.sort(x_int8)", np.sort(X["int64"]), np.sort(X["uint64"]),
     np.sort(X["int8"]))
case(G, "array.argsort(v), array.argsort(c3, {axis = 1}), array.argsort(n4, {axis = 2, stable = true})", np.argsort(v) + 1,
     np.argsort(c3, axis=0) + 1, np.argsort(n4, axis=1, kind="stable") + 1)
case(G, "local x = v:copy() x:sort_() return x", np.sort(v))
case(G, "array.partition(v, 3)[{ 3 }], array.partition(v, 3)[{ {1, 3} }]:max(), array.partition(v, 3)[{ {3, -1} }]:min()",
     np.sort(v)[2], np.sort(v)[2], np.sort(v)[2])
case(G, "v[array.argpartition(v, 3)][3]", np.sort(v)[2])
case(G, "array.topk(v, 3), array.topk(v, 3, {largest = false})", np.sort(v)[::-1][:3], np.sort(v)[:3])
case(G, "(select(2, array.topk(v, 3)))", np.argsort(v)[::-1][:3] + 1)
case(G, "array.lexsort{iv, array.range(9)}", np.lexsort([iv, np.arange(9)]) + 1)
case(G, "array.nonzero(iv)", np.nonzero(iv)[0] + 1)
case(G, "array.nonzero(mask)", np.nonzero(mask)[0] + 1, np.nonzero(mask)[1] + 1)
case(G, "array.argwhere(mask)", np.argwhere(mask) + 1)

# ------------------------------------------------------------------------------------------------------ manipulation ----
G = "manipulation"
for axis in [0, 1]:
    case(G, f"array.concatenate({{a, b}}, {axis + 1}), array.stack({{a, b}}, {axis + 1})", np.concatenate([a, b], axis),
         np.stack([a, b], axis))
case(G, "array.concatenate{v, w}, array.concatenate({a, b:gt(0)}), array.stack({a, b}, -1)", np.concatenate([v, w]),
     np.concatenate([a, b > 0]), np.stack([a, b], -1))
case(G, "array.concatenate{t_int8, t_uint8}, array.concatenate{t_int64, t_float32}, array.stack{t_float32, t_complex64}",
     np.concatenate([T["int8"], T["uint8"]]), np.concatenate([T["int64"], T["float32"]]),
     np.stack([T["float32"], T["complex64"]]))
case(G, "array.vstack{v, w}, array.hstack{v, w}, array.vstack{a, b}, array.hstack{a, b}", np.vstack([v, w]), np.hstack([v, w]),
     np.vstack([a, b]), np.hstack([a, b]))
case(G, "array.column_stack{v, w}, array.dstack{a, b}", np.column_stack([v, w]), np.dstack([a, b]))
case(G, "unpack(array.split(a, 2, 2))", *np.split(a, 2, 1))
case(G, "unpack(array.split(v, {3, 5}))", *np.split(v, [3, 5]))  # after 3 and after 5 elements: positions are counts
case(G, "unpack(array.array_split(v, 3))", *np.array_split(v, 3))
error(G, "array.split(v, 3)", "")
case(G, "array.tile(v, 2), array.tile(a, {2, 1}), array.tile(a, {1, 2}), array.tile(v, {2, 2}), array.tile(a, {2, 1, 1})",
     np.tile(v, 2), np.tile(a, (2, 1)), np.tile(a, (1, 2)), np.tile(v, (2, 2)), np.tile(a, (2, 1, 1)))
case(G, "array['repeat'](v, 2), array['repeat'](a, 2, 1), array['repeat'](a, 3, 2)", np.repeat(v, 2), np.repeat(a, 2, 0),
     np.repeat(a, 3, 1))
case(G, "array['repeat'](a, array.from({1, 0, 2}, 'int64'), 1)", np.repeat(a, [1, 0, 2], 0))
case(G, "array.flip(a), array.flip(a, 1), array.flip(a, 2), array.fliplr(a), array.flipud(a)", np.flip(a), np.flip(a, 0),
     np.flip(a, 1), np.fliplr(a), np.flipud(a))
case(G, "array.rot90(a), array.rot90(a, 2), array.rot90(a, -1)", np.rot90(a), np.rot90(a, 2), np.rot90(a, -1))
case(G, "array.roll(v, 2), array.roll(v, -3), array.roll(a, 1), array.roll(a, 1, 1), array.roll(a, -1, 2), array.roll(a, {1, 2}, {1, 2})",
     np.roll(v, 2), np.roll(v, -3), np.roll(a, 1), np.roll(a, 1, 0), np.roll(a, -1, 1), np.roll(a, (1, 2), (0, 1)))
case(G, "a:diagonal(), a:diagonal(1), a:diagonal(-2), c3:diagonal()", a.diagonal(), a.diagonal(1), a.diagonal(-2), c3.diagonal())
case(G, "c3:diagonal(0, 2, 3), c3:diagonal(1, 1, 3)", c3.diagonal(0, 1, 2), c3.diagonal(1, 0, 2))
case(G, "array.pad(v, 2), array.pad(a, { {1, 0}, {0, 2} }), array.pad(a, 1, {value = 7})", np.pad(v, 2), np.pad(a, [(1, 0), (0, 2)]),
     np.pad(a, 1, constant_values=7))
for mode in ["edge", "reflect", "wrap", "symmetric"]:
    case(G, f"array.pad(v, {{2, 3}}, {{mode = '{mode}'}})", np.pad(v, (2, 3), mode=mode))
case(G, "array.append(v, w), array.insert(v, 3, 99), array.delete(v, 2)", np.append(v, w), np.insert(v, 2, 99), np.delete(v, 1))
case(G, "array.atleast_1d(array.full({}, 3)), array.atleast_2d(v)", np.array([3.0]), np.atleast_2d(v))
case(G, "array.trace(a)", np.trace(a))
case(G, "array.resize(v, {3, 4})", np.resize(v, (3, 4)))
error(G, "array.concatenate{a, v}", "")
error(G, "array.stack{a, b.T}", "")

# ---------------------------------------------------------------------------------------------------------- indexing ----
G = "indexing"
idx = np.array([2, 0, 2, 1])
fixture("idx", (idx + 1).astype(np.int64))
case(G, "a[mask], a[a:gt(4)], v[v:lt(0)], a[mask[{ {}, 1 }]]", a[mask], a[a > 4], v[v < 0], a[mask[:, 0]])
case(G, "a[idx], v[idx], c3[array.from({2, 1, 2}, 'int32')]", a[idx], v[idx], c3[[1, 0, 1]])
case(G, "a[{ {}, idx }], a[{ idx, 2 }], c3[{ 1, {}, idx }]", a[:, idx], a[idx, 1], c3[0, :, idx])
case(G, "v[array.from({-1, 1, -2}, 'int64')], v[idx:reshape(2, 2)]", v[[-1, 0, -2]], v[idx.reshape(2, 2)])
case(G, "a[{ idx, idx }]", a[idx, idx])  # paired, as in NumPy
case(G, "a[{ array.from({1, 3}, 'int64'):reshape(2, 1), idx }]", a[np.array([[0], [2]]), idx])
x = a.copy(); x[mask] = 0; x[x > 10] *= -1
case(G, "local x = a:copy() x[mask] = 0 x[x:gt(10)] = -x[x:gt(10)] return x", x)
x = v.copy(); x[idx] = [10, 20, 30, 40]
case(G, "local x = v:copy() x[idx] = array.from{10, 20, 30, 40} return x", x)
x = a.copy(); x[idx] = 5; x[:, [0, 3]] = -1
case(G, "local x = a:copy() x[idx] = 5 x[{ {}, array.from({1, 4}, 'int64') }] = -1 return x", x)
x = a.copy(); x[mask] = np.arange(1.0, mask.sum() + 1)
case(G, f"local x = a:copy() x[mask] = array.range({int(mask.sum())}) return x", x)
case(G, "array.take(a, idx), array.take(a, idx, 2)", np.take(a, idx), np.take(a, idx, 1))
case(G, "array.take_along_axis(b, array.argsort(b, {axis = 2}), 2)", np.sort(b, 1))
case(G, "array.compress(mask[{ 1 }], a, 2)", np.compress(mask[0], a, 1))
case(G, "array.choose(array.from({1, 2, 1}, 'int64'), {array.range(3), -array.range(3)})", np.array([1.0, -2, 3]))
for dtype in DTYPES:
    x = T[dtype]
    case(G, f"t_{dtype}[array.from({{2, 1, 2}}, 'int32')], t_{dtype}[{{ {{}}, array.from({{3, 1}}, 'int64') }}]", x[[1, 0, 1]],
         x[:, [2, 0]])
    case(G, f"t_{dtype}[mask[{{ {{1, 2}}, {{1, 3}} }}]]", x[mask[:2, :3]])
error(G, "v[array.from({8}, 'int64')]", "out of range")
error(G, "v[array.from({0}, 'int64')]", "out of range")
error(G, "v[mask]", "")
error(G, "local x = v:copy() x[idx] = array.from{1, 2}", "")
error(G, "v[array.from{1, 2}]", "")

# ------------------------------------------------------------------------------------------------------------ linalg ----
G = "linalg"
m = fixture("m", np.round(rng.normal(size=(4, 4)), 3) + 3 * np.eye(4))
spd = fixture("spd", np.round(m @ m.T, 4))
tall = fixture("tall", np.round(rng.normal(size=(6, 3)), 3))
zc = fixture("zc", (np.round(rng.normal(size=(3, 3)), 3) + 1j * np.round(rng.normal(size=(3, 3)), 3)))
R = "rel 1e-12"
case(G, "array.matmul(a, b.T), a:matmul(b.T), array.dot(v, w), a:matmul(array.range(4)), array.range(3):matmul(a)", a @ b.T, a @ b.T,
     np.dot(v, w), a @ np.arange(1.0, 5), np.arange(1.0, 4) @ a, tol=R)
case(G, "array.matmul(c3, b.T), array.matmul(c3, c3:transpose(1, 3, 2))", c3 @ b.T, c3 @ c3.transpose(0, 2, 1), tol=R)
case(G, "array.matmul(t_int32, t_int32.T), array.matmul(t_float32, t_float32.T), array.matmul(zc, zc)", T["int32"] @ T["int32"].T,
     T["float32"] @ T["float32"].T, zc @ zc, tol="rel 1e-6")
case(G, "linalg.vdot(v, w), linalg.outer(v, w), linalg.inner(v, w), linalg.inner(a, b)", np.vdot(v, w), np.outer(v, w),
     np.inner(v, w), np.inner(a, b), tol=R)
case(G, "linalg.tensordot(c3, a, { {2, 3}, {1, 2} }), linalg.tensordot(a, b.T, 1), linalg.tensordot(v, w, 0)",
     np.tensordot(c3, a, ((1, 2), (0, 1))), np.tensordot(a, b.T, 1), np.tensordot(v, w, 0), tol=R)
case(G, "linalg.kron(array.from{1, 2}, v), linalg.kron(array.from{ {1, 2}, {3, 4} }, array.from{ {1, 0}, {0, 1} })", np.kron([1.0, 2], v),
     np.kron([[1.0, 2], [3, 4]], np.eye(2)), tol=R)
for o in ["nil", "1", "2", "math.huge", "-math.huge", "'fro'", "'nuc'"]:
    q = {"nil": None, "1": 1, "2": 2, "math.huge": np.inf, "-math.huge": -np.inf, "'fro'": "fro", "'nuc'": "nuc"}[o]
    case(G, f"linalg.norm(a, {o})", np.linalg.norm(a, q), tol=R)
for o in ["nil", "1", "2", "3", "0", "math.huge", "-math.huge"]:
    q = {"nil": None, "math.huge": np.inf, "-math.huge": -np.inf}.get(o, None if o == "nil" else o)
    q = q if q is None or isinstance(q, float) else float(q)
    case(G, f"linalg.norm(v, {o})", np.linalg.norm(v, q), tol=R)
case(G, "linalg.norm(a, 2, {axis = 1}), linalg.norm(a, nil, {axis = 2, keepdims = true})", np.linalg.norm(a, 2, axis=0),
     np.linalg.norm(a, axis=1, keepdims=True), tol=R)
case(G, "linalg.solve(m, array.range(4)), linalg.solve(m, a.T)", np.linalg.solve(m, np.arange(1.0, 5)), np.linalg.solve(m, a.T),
     tol="rel 1e-11")
case(G, "linalg.inv(m), linalg.det(m), linalg.pinv(tall)", np.linalg.inv(m), np.linalg.det(m), np.linalg.pinv(tall), tol="rel 1e-11")
case(G, "linalg.slogdet(m)", *[float(t) for t in np.linalg.slogdet(m)], tol="rel 1e-11")
x, res, rank, sv = np.linalg.lstsq(tall, np.arange(1.0, 7), rcond=None)
case(G, "(linalg.lstsq(tall, array.range(6)))", x, tol="rel 1e-11")
case(G, "linalg.matrix_rank(a), linalg.cond(m), linalg.matrix_power(m, 3), linalg.trace(m)", int(np.linalg.matrix_rank(a)),
     np.linalg.cond(m), np.linalg.matrix_power(m, 3), np.trace(m), tol="rel 1e-10")
case(G, "(linalg.eigh(spd)), linalg.eigvalsh(spd)", np.linalg.eigvalsh(spd), np.linalg.eigvalsh(spd), tol="rel 1e-11")
case(G, "local w, u = linalg.eigh(spd) return (u * w):matmul(u.T)", spd, tol="rel 1e-11")
case(G, "local w, u = linalg.eig(m) return array.matmul(m, u):allclose(u * w, {atol = 1e-10})", True)
case(G, "local w = linalg.eigvals(m) return array.real(w):sum(), array.imag(w):sum() + 1", float(np.trace(m)), 1.0,
     tol="rel 1e-10")
case(G, "linalg.svdvals(tall), (select(2, linalg.svd(tall)))", np.linalg.svd(tall, compute_uv=False),
     np.linalg.svd(tall, compute_uv=False), tol="rel 1e-11")
case(G, "local u, s, vt = linalg.svd(tall, {full_matrices = false}) return (u * s):matmul(vt), u.T:matmul(u)", tall, np.eye(3),
     tol="rel 1e-12")
case(G, "local q, r = linalg.qr(tall) return q:matmul(r), q.T:matmul(q), r[2][1], r[3][1], r[3][2]", tall, np.eye(3), 0.0, 0.0, 0.0,
     tol="abs 1e-12")
case(G, "linalg.cholesky(spd)", np.linalg.cholesky(spd), tol="rel 1e-11")
error(G, "linalg.cholesky(-spd)", "")
error(G, "linalg.inv(array.zeros(3, 3))", "")
error(G, "linalg.solve(a, v)", "")
error(G, "array.matmul(a, b)", "")
for spec, lua_args, args in [
        ("ij->ji", "a", (a,)), ("ii->i", "m", (m,)), ("ii", "m", (m,)), ("ij->j", "a", (a,)), ("ij,kj->ik", "a, b", (a, b)),
        ("i,i", "v, w", (v, w)), ("i,j->ij", "v, w", (v, w)), ("bij,kj->bik", "c3, b", (c3, b)), ("ij,ij->i", "a, b", (a, b)),
        ("bij,bij->b", "c3, c3", (c3, c3)), ("ij,jk,k->i", "a, b.T, array.range(3)", (a, b.T, np.arange(1.0, 4))),
        ("bij->bji", "c3", (c3,)), ("i...->...", "c3", (c3,)), ("...ij,...kj->...ik", "c3, b", (c3, b)),
        ("ij,jk", "a, b.T", (a, b.T))]:
    value = np.einsum(spec, *args)
    case(G, f"linalg.einsum('{spec}', {lua_args})", value if np.ndim(value) else float(value), tol=R)
from scipy.spatial.distance import cdist, pdist
for metric in ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine"]:
    case(G, f"linalg.cdist(a, b, '{metric}'), linalg.pdist(tall, '{metric}')", cdist(a, b, metric), pdist(tall, metric),
         tol="abs 1e-13")
case(G, "linalg.polyfit(v, w, 2), linalg.polyval(array.from{1, -2, 3}, v)", np.polyfit(v, w, 2), np.polyval([1, -2, 3], v),
     tol="rel 1e-11")
case(G, "array.sort(array.real(linalg.roots(array.from{1, -6, 11, -6})))", np.array([1.0, 2, 3]), tol="rel 1e-12")


# Every dtype; complex ones conjugated where NumPy conjugates.
own = np.random.default_rng(31)


def drawn(shape, dtype):
    x = np.round(own.normal(size=shape), 2)
    if dtype.startswith("complex"):
        x = x + 1j * np.round(own.normal(size=shape), 2)
    return x.astype(dtype)


def linalg_cases():  # a scope of its own
    for dtype in ["float32", "float64", "complex64", "complex128"]:
        single = dtype in ("float32", "complex64")
        loose, near = ("rel 2e-5", "rel 5e-6") if single else ("rel 1e-12", "rel 1e-13")
        f = lambda kind: f"l_{kind}_{dtype}"
        sq = fixture(f("square"), drawn((5, 5), dtype) + 3 * np.eye(5, dtype=dtype))
        pair = fixture(f("batch"), drawn((2, 3, 3), dtype) + 3 * np.eye(3, dtype=dtype))
        high = fixture(f("tall"), drawn((7, 3), dtype))
        vec = fixture(f("vector"), drawn((5,), dtype))
        pos = fixture(f("positive"), (drawn((4, 6), dtype), )[0])
        pos = pos @ pos.conj().T
        herm = fixture(f("hermitian"), pos + np.eye(4, dtype=dtype))
        S, B, Q, V, H = f("square"), f("batch"), f("tall"), f("vector"), f("hermitian")
        case(G, f"linalg.solve({S}, {V}), linalg.solve({S}, {S}.T), linalg.solve({B}, {B})", np.linalg.solve(sq, vec),
             np.linalg.solve(sq, sq.T), np.linalg.solve(pair, pair), tol=loose)
        case(G, f"linalg.inv({S}), linalg.inv({B}), linalg.pinv({Q}), linalg.pinv({Q}.T)", np.linalg.inv(sq), np.linalg.inv(pair),
             np.linalg.pinv(high), np.linalg.pinv(high.T), tol=loose)
        d, sd = np.linalg.det(sq), np.linalg.slogdet(sq)
        case(G, f"linalg.det({B})", np.linalg.det(pair), tol=loose)
        if not dtype.startswith("complex"):
            case(G, f"linalg.det({S}), linalg.slogdet({S})", float(d), float(sd[0]), float(sd[1]), tol=loose)
        else:
            case(G, f"linalg.det({S}), linalg.slogdet({S})", complex(d), complex(sd[0]), float(sd[1]), tol=loose)
        case(G, f"linalg.cholesky({H}), linalg.cholesky({H}, {{upper = true}})", np.linalg.cholesky(herm),
             np.linalg.cholesky(herm, upper=True), tol=loose)
        case(G, f"linalg.eigvalsh({H}), linalg.svdvals({Q}), linalg.svdvals({B})", np.linalg.eigvalsh(herm),
             np.linalg.svd(high, compute_uv=False), np.linalg.svd(pair, compute_uv=False), tol=loose)
        case(G, f"local w, u = linalg.eigh({H}) return (u * w):matmul(array.conj(u).T)", herm, tol=loose)
        case(G, f"local u, s, vh = linalg.svd({Q}, {{full_matrices = false}}) return (u * s):matmul(vh)", high, tol=loose)
        case(G, f"local u, s, vh = linalg.svd({Q}.T) return u.shape[2], vh.shape[1], (u * s):matmul(vh[{{ {{1, 3}} }}])", 3, 7, high.T,
             tol=loose)
        case(G, f"local q, r = linalg.qr({Q}) return q:matmul(r), array.conj(q).T:matmul(q)", high, np.eye(3, dtype=dtype), tol=loose)
        case(G, f"local q, r = linalg.qr({Q}.T, {{mode = 'complete'}}) return q:matmul(r)", high.T, tol=loose)
        x, res, rank, sv = np.linalg.lstsq(high, drawn(7, dtype) * 0 + np.arange(7).astype(dtype), rcond=None)
        case(G, f"linalg.lstsq({Q}, array.range(0, 6):astype('{dtype}'))", x, res.astype("float32" if single else "float64"), int(rank),
             sv, tol=loose)
        for o in ["nil", "1", "-1", "2", "-2", "math.huge", "-math.huge", "'fro'", "'nuc'"]:
            q = {"nil": None, "math.huge": np.inf, "-math.huge": -np.inf, "'fro'": "fro", "'nuc'": "nuc"}.get(o)
            q = int(o) if q is None and o != "nil" else q
            case(G, f"linalg.norm({S}, {o}), linalg.norm({B}, {o}, {{axis = {{2, 3}}}})", float(np.linalg.norm(sq, q)),
                 np.linalg.norm(pair, q, axis=(1, 2)), tol=loose)
        for o in ["nil", "0", "1", "-1", "2", "0.5", "3", "-2", "math.huge", "-math.huge"]:
            q = {"nil": None, "math.huge": np.inf, "-math.huge": -np.inf}.get(o, None)
            q = float(o) if q is None and o != "nil" else q
            case(G, f"linalg.norm({V}, {o}), linalg.norm({Q}, {o}, {{axis = 1}}), linalg.norm({Q}, {o}, {{axis = 2, keepdims = true}})",
                 float(np.linalg.norm(vec, q)), np.linalg.norm(high, q, axis=0), np.linalg.norm(high, q, axis=1, keepdims=True),
                 tol=loose)
        number = complex if dtype.startswith("complex") else float
        case(G, f"linalg.vdot({V}, {S}[2]), array.dot({V}, {S}[2]), linalg.inner({V}, {S}), array.dot({S}, {V})",
             number(np.vdot(vec, sq[1])), number(np.dot(vec, sq[1])), np.inner(vec, sq), np.dot(sq, vec), tol=near)
        case(G, f"linalg.outer({V}, {V}), linalg.kron({B}[1], {V}:reshape(1, 5)), linalg.tensordot({B}, {B}, {{ {{1, 3}}, {{1, 2}} }})",
             np.outer(vec, vec), np.kron(pair[0], vec.reshape(1, 5)), np.tensordot(pair, pair, ((0, 2), (0, 1))), tol=near)
        case(G, f"{S}:matmul({S}.T), {S}:matmul(array.conj({S}).T), {B}:matmul({B}), {V}:matmul({S}), {Q}.T:matmul({Q})", sq @ sq.T,
             sq @ sq.conj().T, pair @ pair, vec @ sq, high.T @ high, tol=near)
        case(G, f"linalg.matrix_power({S}, 3), linalg.matrix_power({B}, -2), linalg.matrix_power({S}, 0)",
             np.linalg.matrix_power(sq, 3), np.linalg.matrix_power(pair, -2), np.linalg.matrix_power(sq, 0), tol=loose)
        case(G, f"linalg.trace({S}), linalg.trace({S}, {{offset = -2}}), linalg.trace({B}, {{axis1 = 2, axis2 = 3}})", number(np.trace(sq)),
             number(np.trace(sq, -2)), np.trace(pair, axis1=1, axis2=2), tol=near)
        case(G, f"linalg.einsum('ij,j->i', {S}, {V}), linalg.einsum('bij,bjk->bik', {B}, {B}), linalg.einsum('bii->b', {B}), "
             f"linalg.einsum('ij,ij->', {S}, {S})", sq @ vec, pair @ pair, np.einsum("bii->b", pair), number(np.sum(sq * sq)), tol=near)
        case(G, f"linalg.cond({S}), linalg.cond({S}, 1), linalg.matrix_rank({Q}), linalg.matrix_rank({B})", float(np.linalg.cond(sq)),
             float(np.linalg.cond(sq, 1)), 3, np.array([3, 3]), tol=loose)
        w = np.linalg.eigvals(sq)
        case(G, f"linalg.eigvals({S}):sum(), linalg.eigvals({S}):prod()", complex(np.sum(w)) if np.iscomplexobj(w) else float(np.sum(w)),
             complex(np.prod(w)) if np.iscomplexobj(w) else float(np.prod(w)), tol=loose)
    # Empty matrices.
    z03, z30, z00 = np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((0, 0))
    case(G, "linalg.inv(array.zeros(0, 0)), linalg.det(array.zeros(0, 0)), linalg.solve(array.zeros(0, 0), array.zeros(0, 2)), "
         "linalg.eigvalsh(array.zeros(0, 0)), linalg.eigvals(array.zeros(0, 0)), linalg.cholesky(array.zeros(0, 0))", z00, 1.0,
         np.zeros((0, 2)), np.zeros(0), np.zeros(0), z00)
    case(G, "linalg.svdvals(array.zeros(0, 3)), linalg.svd(array.zeros(0, 3))", np.zeros(0), z00, np.zeros(0), np.eye(3))
    case(G, "linalg.svd(array.zeros(3, 0), {full_matrices = false})", z30, np.zeros(0), z00)
    case(G, "linalg.qr(array.zeros(0, 3))", *np.linalg.qr(z03))
    case(G, "linalg.qr(array.zeros(3, 0))", *np.linalg.qr(z30))
    case(G, "linalg.qr(array.zeros(3, 0), {mode = 'complete'})", *np.linalg.qr(z30, mode="complete"))
    case(G, "linalg.pinv(array.zeros(0, 3)), linalg.pinv(array.zeros(3, 0)), linalg.norm(array.zeros(0)), linalg.norm(array.zeros(0, 3), 'fro')",
         z30, z03, 0.0, 0.0)
    case(G, "linalg.lstsq(array.zeros(0, 3), array.zeros(0))", np.zeros(3), np.zeros(0), 0, np.zeros(0))
    case(G, "linalg.inv(array.zeros(2, 0, 0)), linalg.det(array.zeros(0, 3, 3)), linalg.inv(array.zeros(0, 3, 3))", np.zeros((2, 0, 0)),
         np.zeros(0), np.zeros((0, 3, 3)))
    # NaN comes out where nothing iterates.
    case(G, "linalg.solve(array.full({2, 2}, 0 / 0), array.ones(2)), linalg.inv(array.full({2, 2}, 0 / 0)), linalg.det(array.full({2, 2}, 0 / 0)), "
         "linalg.norm(n4), linalg.norm(n4, 1), linalg.norm(n4, {axis = 1}), linalg.norm(n4, math.huge, {axis = 2})", np.full(2, np.nan),
         np.full((2, 2), np.nan), np.nan, np.nan, np.nan, np.linalg.norm(n4, axis=0), np.linalg.norm(n4, np.inf, axis=1), tol=R)
    # DIFFERS: NumPy leaves NaN or raises LinAlgError("... did not converge"); here all say what is wrong.
    for name in ["svd", "eig", "eigh", "eigvals", "eigvalsh", "svdvals", "pinv", "matrix_rank", "cond"]:
        error(G, f"linalg.{name}(array.full({{2, 2}}, 0 / 0))", "holds NaN or infinity")
    error(G, "linalg.cholesky(array.full({2, 2}, 0 / 0))", "holds NaN")
    error(G, "linalg.lstsq(array.full({2, 2}, 1 / 0), array.ones(2))", "holds NaN or infinity")
    error(G, "linalg.solve(array.ones(2, 2), array.ones(2))", "the matrix is singular: pivot 2 of 2 is 0")
    error(G, "linalg.inv(array.zeros({2, 2}, 'complex64'))", "the matrix is singular: pivot 1 of 2 is 0")
    case(G, "linalg.norm(array.zeros(0), math.huge)", 0.0)
    error(G, "linalg.cond(array.zeros(0, 0))", "empty")
    # curve_fit beside SciPy's.
    from scipy.optimize import curve_fit
    xs = fixture("fit_x", np.linspace(0, 4, 25))
    ys = fixture("fit_y", np.round(2.5 * np.exp(-1.3 * xs) + 0.5 + 0.05 * own.normal(size=25), 3))
    errors = fixture("fit_sigma", np.round(0.04 + 0.02 * own.uniform(size=25), 3))
    model = lambda x, a, b, c: a * np.exp(-b * x) + c
    lua = "function(x, a, b, c) return (x * -b):exp() * a + c end"
    tight = dict(ftol=1e-14, xtol=1e-14, gtol=1e-14)
    opts = "ftol = 1e-14, xtol = 1e-14, gtol = 1e-14"
    p, cov = curve_fit(model, xs, ys, **tight)
    case(G, f"return linalg.curve_fit({lua}, fit_x, fit_y, {{{opts}}})", p, cov, tol="rel 1e-5")
    p, cov = curve_fit(model, xs, ys, sigma=errors, absolute_sigma=True, **tight)
    case(G, f"return linalg.curve_fit({lua}, fit_x, fit_y, {{sigma = fit_sigma, absolute_sigma = true, {opts}}})", p, cov, tol="rel 1e-5")
    p, cov = curve_fit(model, xs, ys, sigma=errors, **tight)
    case(G, f"return linalg.curve_fit({lua}, fit_x, fit_y, {{sigma = fit_sigma, {opts}}})", p, cov, tol="rel 1e-5")
    p, cov = curve_fit(model, xs, ys, bounds=([0, 0, 0], [3, 1, 1]), **tight)
    case(G, f"return linalg.curve_fit({lua}, fit_x, fit_y, {{bounds = {{ {{0, 0, 0}}, {{3, 1, 1}} }}, {opts}}})", p, cov, tol="rel 1e-5")
    p, cov = curve_fit(model, xs, ys, p0=[1, 1, 0], bounds=(-10, 10), **tight)
    case(G, f"return linalg.curve_fit({lua}, fit_x, fit_y, {{p0 = {{1, 1, 0}}, bounds = {{-10, 10}}, {opts}}})", p, cov, tol="rel 1e-5")
    p, cov = curve_fit(lambda x, a, b: a * np.sin(b * x), xs, np.round(1.5 * np.sin(2.1 * xs), 3), p0=[1, 2], **tight)
    case(G, "return linalg.curve_fit(function(x, a, b) return (x * b):sin() * a end, fit_x, array.round(array.sin(fit_x * 2.1) * 1.5, 3), "
         "{p0 = {1, 2}, " + opts + "})", p, cov, tol="rel 1e-5")
    c, cv = np.polyfit(xs, ys, 3, cov=True)
    case(G, "linalg.polyfit(fit_x, fit_y, 3, {cov = true})", c, cv, tol="rel 1e-10")
    c, cv = np.polyfit(xs, ys, 2, w=1 / errors, cov="unscaled")
    case(G, "(linalg.polyfit(fit_x, fit_y, 2, {w = 1 / fit_sigma}))", c, tol="rel 1e-10")
    case(G, "linalg.polyval(array.from{1, 2, 3}, 2), linalg.polyval({2, 0, -1}, a), linalg.polyval(array.from{}, v), linalg.polyval({7}, v)", 11.0,
         np.polyval([2, 0, -1], a), np.polyval([], v), np.polyval([7.0], v), tol=R)
    case(G, "linalg.roots({2, -4, 0}), linalg.roots({0, 0, 5}), linalg.roots({1, 0, 1}):sum(), linalg.roots({1, 0, 1}):prod()", np.array([2.0, 0]),
         np.zeros(0), 0j, 1 + 0j, tol="abs 1e-14")
    for metric, kw in [("minkowski", {"p": 3}), ("minkowski", {"p": 1.5})]:
        case(G, f"linalg.cdist(a, b, {{metric = 'minkowski', p = {kw['p']}}}), linalg.pdist(tall, {{metric = 'minkowski', p = {kw['p']}}})",
             cdist(a, b, metric, **kw), pdist(tall, metric, **kw), tol="rel 1e-13")
    from scipy.spatial.distance import squareform
    case(G, "linalg.squareform(linalg.pdist(tall)), linalg.squareform(linalg.squareform(linalg.pdist(tall)))", squareform(pdist(tall)), pdist(tall),
         tol=R)


linalg_cases()

# --------------------------------------------------------------------------------------------------------------- fft ----
G = "fft"
F = "rel 1e-14"
case(G, "fft.fft(v), fft.ifft(zc), fft.fft(v, {n = 10}), fft.fft(v, {n = 4})", np.fft.fft(v), np.fft.ifft(zc), np.fft.fft(v, 10),
     np.fft.fft(v, 4), tol=F)
case(G, "fft.rfft(v), fft.rfft(a), fft.irfft(fft.rfft(v), {n = 7}), fft.irfft(fft.rfft(a))", np.fft.rfft(v), np.fft.rfft(a), v, a, tol=F)
case(G, "fft.fft(c3, {axis = 1}), fft.fft(c3, {axis = 2}), fft.rfft(c3, {axis = 2})", np.fft.fft(c3, axis=0),
     np.fft.fft(c3, axis=1), np.fft.rfft(c3, axis=1), tol=F)
case(G, "fft.fft2(a), fft.ifft2(zc), fft.fftn(c3), array.real(fft.ifftn(fft.fftn(c3)))", np.fft.fft2(a), np.fft.ifft2(zc),
     np.fft.fftn(c3), c3, tol=F)
case(G, "fft.rfft2(a), fft.irfft2(fft.rfft2(a), {s = {3, 4}}), fft.rfftn(c3), fft.irfftn(fft.rfftn(c3), {s = {2, 3, 4}})", np.fft.rfft2(a), a,
     np.fft.rfftn(c3), c3, tol=F)
for norm in ["ortho", "forward", "backward"]:
    case(G, f"fft.fft(v, {{norm = '{norm}'}}), fft.ifft(v, {{norm = '{norm}'}}), fft.rfft(v, {{norm = '{norm}'}})",
         np.fft.fft(v, norm=norm), np.fft.ifft(v, norm=norm), np.fft.rfft(v, norm=norm), tol=F)
case(G, "fft.fftfreq(8, 0.5), fft.fftfreq(7), fft.rfftfreq(8, 0.25), fft.rfftfreq(7)", np.fft.fftfreq(8, 0.5), np.fft.fftfreq(7),
     np.fft.rfftfreq(8, 0.25), np.fft.rfftfreq(7), tol="ulp 2")
case(G, "fft.fftshift(v), fft.ifftshift(v), fft.fftshift(a), fft.fftshift(a, 1), fft.ifftshift(a, 2)", np.fft.fftshift(v),
     np.fft.ifftshift(v), np.fft.fftshift(a), np.fft.fftshift(a, 0), np.fft.ifftshift(a, 1))
case(G, "fft.fft(t_float32), fft.fft(t_complex64)", np.fft.fft(T["float32"]), np.fft.fft(T["complex64"]), tol="rel 1e-6")
case(G, "fft.fft(t_int32), fft.fft(v[{ {-1, 1, -2} }])", np.fft.fft(T["int32"]), np.fft.fft(v[::-2]), tol=F)

# ------------------------------------------------------------------------------------------ where, clip and rounding ----
G = "elementwise"
for p in DTYPES:
    x = T[p]
    case(G, f"array.where(mask[{{ {{1, 2}}, {{1, 3}} }}], t_{p}, u_{p}), array.where(t_{p}, t_{p}, u_{p})",
         np.where(mask[:2, :3], x, U[p]), np.where(x, x, U[p]))
    if p not in COMPLEX and p != "bool":
        case(G, f"array.clip(t_{p}, 1, 2), array.clip(t_{p}, u_{p}, 3)", x.clip(1, 2), x.clip(U[p], 3))
        case(G, f"array.round(t_{p}, 1), array.round(t_{p})", np.round(x, 1), np.round(x))
for p, q in [("int8", "uint8"), ("int64", "uint64"), ("float32", "int16"), ("float32", "int32"), ("bool", "uint16"),
             ("complex64", "float64"), ("float32", "complex64")]:
    case(G, f"array.where(mask[{{ {{1, 2}}, {{1, 3}} }}], t_{p}, t_{q})", np.where(mask[:2, :3], T[p], T[q]))
    case(G, f"array.where(mask[{{ {{1, 2}}, {{1, 3}} }}], t_{p}, 2)", np.where(mask[:2, :3], T[p], np.asarray(2, "int64" if p == "bool" else p)))
halves = fixture("halves", np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.125, 2.675, 1e15 + 0.5, -7.25, 1234.5678]))
case(G, "array.round(halves), array.round(halves, 1), array.round(halves, 2), array.round(halves, -2)", np.round(halves),
     np.round(halves, 1), np.round(halves, 2), np.round(halves, -2))
case(G, "array.nan_to_num(x_float64), array.nan_to_num(x_float32)", np.nan_to_num(X["float64"]), np.nan_to_num(X["float32"]))
case(G, "array.isclose(n4, n4), array.isclose(n4, n4, {equal_nan = true}), array.isclose(a, a + 1e-6, {rtol = 1e-9})",
     np.isclose(n4, n4), np.isclose(n4, n4, equal_nan=True), np.isclose(a, a + 1e-6, rtol=1e-9))
case(G, "x_float64:clip(-2, 5), n4:clip(0, 2), array.clip(array.from{1, 0/0}, 0, 0.5)", X["float64"].clip(-2, 5), n4.clip(0, 2),
     np.clip([1, np.nan], 0, 0.5))

# --------------------------------------------------------------------------------------- layouts, empty arrays, 0-d ----
# The same functions on memory in other orders: Fortran's, backwards, in steps, broadcast.
LAYOUTS = [("a.T", a.T), ("a[{ {-1, 1, -1}, {-1, 1, -2} }]", a[::-1, ::-2]), ("c3:transpose(3, 1, 2)", c3.transpose(2, 0, 1)),
           ("c3[{ {}, {3, 1, -2}, {2, 4, 2} }]", c3[:, ::-2, 1::2]), ("array.broadcast_to(b[{ 2 }], {3, 4})", np.broadcast_to(b[1], (3, 4))),
           ("i3.T[{ {1, 4, 3} }]", i3.T[::3])]
for src, x in LAYOUTS:
    G = "layouts"
    x = np.ascontiguousarray(x)
    case(G, f"{src} + {src}, {src} * 2, -{src}", x + x, x * 2, -x)
    case(G, f"{src}:gt(1), {src}:abs(), array.sqrt(array.abs({src})), {src}:astype('float32')", x > 1, np.abs(x),
         np.sqrt(np.abs(x)), x.astype(np.float32))
    case(G, f"{src}:copy(), {src}:reshape(-1), {src}.T:reshape(-1), {src}:ravel()", x, x.reshape(-1), x.T.reshape(-1), x.ravel())
    case(G, f"array.concatenate({{{src}, {src}}}, 2), array.stack({{{src}, {src}}}, 1)", np.concatenate([x, x], 1), np.stack([x, x]))
    case(G, f"array.flip({src}, 1), array.roll({src}, 1, 2), array.roll({src}, 2), array.tile({src}, 2)", np.flip(x, 0), np.roll(x, 1, 1),
         np.roll(x, 2), np.tile(x, 2))
    case(G, f"{src}[{src}:gt(1)], array.where({src}:gt(1), {src}, 0)", x[x > 1], np.where(x > 1, x, 0))
    case(G, f"{src}[array.from({{2, 1, 2}}, 'int64')], array.take({src}, array.from({{2, 1}}, 'int64'), 2)", x[[1, 0, 1]], x[:, [1, 0]])
    case(G, f"array.diff({src}), array.diff({src}, {{axis = 1}}), array.unique({src}), array.isin({src}, {{2, 3}})", np.diff(x),
         np.diff(x, axis=0), np.unique(x), np.isin(x, [2, 3]))
    case(G, f"(array.histogram({src}, {{bins = 4, range = {{-5, 11}}}})), array.digitize({src}, {{-2, 0, 2.5}})",
         np.histogram(x, 4, (-5, 11))[0], np.digitize(x, [-2, 0, 2.5]) + 1)
    if x.ndim == 2:
        case(G, f"array.matmul({src}, {src}.T), array.diag({src}), array.tril({src})", x @ x.T, np.diag(x), np.tril(x), tol="rel 1e-13")
    G = "reduction layouts"
    case(G, f"{src}:sum(), {src}:sum(1), {src}:sum(-1), {src}:mean{{axis = {{1, 2}}}}", x.sum(), x.sum(0), x.sum(-1), x.mean((0, 1)),
         tol=FLOAT_TOL)
    case(G, f"{src}:min(), {src}:max(2), {src}:argmax(), {src}:argmin(1)", x.min(), x.max(1), int(x.argmax()) + 1, x.argmin(0) + 1)
    case(G, f"{src}:cumsum(), {src}:cumsum(1), {src}:cumprod(2)", x.cumsum(), x.cumsum(0), x.cumprod(1), tol=FLOAT_TOL)
    case(G, f"{src}:var(1), {src}:std(), {src}:any(2), {src}:count_nonzero(1)", x.var(0), x.std(), x.any(1), np.count_nonzero(x, axis=0),
         tol=FLOAT_TOL)
    case(G, f"array.sort({src}), array.sort({src}, 1), array.argsort({src}, {{axis = 1, stable = true}})", np.sort(x), np.sort(x, 0),
         np.argsort(x, 0, kind="stable") + 1)
    case("quantiles", f"array.median({src}), array.median({src}, 1), array.quantile({src}, 0.3, {{axis = 2}})", np.median(x),
         np.median(x, 0), np.quantile(x, 0.3, axis=1), tol=FLOAT_TOL)
G = "layouts"
z = np.zeros((2, 0, 3))
fixture("z203", z)
case(G, "z203 + 1, z203:gt(0), z203.T, z203:reshape(0), z203:reshape(3, 0), array.sqrt(z203)", z + 1, z > 0, z.T, z.reshape(0), z.reshape(3, 0),
     np.sqrt(z))
case(G, "array.concatenate({z203, z203}, 2), array.stack{e0, e0}, array.tile(e0, 3), array.roll(e0, 1), array.flip(z203)",
     np.concatenate([z, z], 1), np.stack([e23[:, 0], e23[:, 0]]), np.zeros(0), np.zeros(0), z)
case(G, "e0[e0:gt(0)], array.unique(e0), array.diff(e0), array.isin(e0, {1}), array.where(e0:gt(0), e0, 1), array.searchsorted(e0, v)",
     np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, bool), np.zeros(0), np.ones(7, np.int64))
case(G, "e0:reshape(-1), z203:reshape(-1), z203:reshape(-1, 3), z203:ravel()", e23.reshape(-1), z.reshape(-1), z.reshape(-1, 3), z.ravel())
error(G, "z203:reshape(-1, 0)", "cannot take the shape")
case(G, "array.matmul(array.zeros(2, 0), array.zeros(0, 3)), array.matmul(array.zeros(0, 2), array.zeros(2, 3))", np.zeros((2, 3)),
     np.zeros((0, 3)))
case(G, "array.bincount(array.zeros(0, 'int64')), (array.histogram(e0, 3)), array.trapz(e0)", np.zeros(0, np.int64), np.zeros(3, np.int64), 0.0)
case(G, "a[a:gt(100)], a[{ {2, 1} }], a[array.zeros(0, 'int64')]", a[a > 100], a[1:1], a[np.zeros(0, np.int64)])
case("reduction layouts", "z203:sum(), z203:sum(2), z203:prod(2), z203:sum(1), z203:mean{axis = 1}", 0.0, z.sum(1), z.prod(1), z.sum(0), z.mean(0))
case("reduction layouts", "z203:all(2), z203:any(2), z203:cumsum(2), z203:max(1), array.sort(z203, 2)", z.all(1), z.any(1), z.cumsum(1), z.max(0),
     np.sort(z, 1))
error("reduction layouts", "z203:max(2)", "")
error("reduction layouts", "z203:argmin(2)", "")
zero = np.float64(2.5)
case(G, "array.full({}, 2.5) + 1, array.full({}, 2.5) * v, array.sqrt(array.full({}, 4)), array.full({}, 2.5):reshape(1, 1)", np.asarray(3.5),
     2.5 * v, np.asarray(2.0), np.array([[2.5]]))
case(G, "array.full({}, 2.5):gt(2), array.full({}, 7):astype('int8'), array.full({}, 3):expand_dims(1), array.broadcast_to(array.full({}, 3), {2})",
     np.asarray(True), np.asarray(7, np.int8), np.array([3.0]), np.array([3.0, 3]))
case(G, "array.full({}, 3):ravel(), array.full({}, 3):copy(), array.stack{array.full({}, 3), array.full({}, 4)}", np.array([3.0]), np.asarray(3.0),
     np.array([3.0, 4]))
case("reduction layouts", "array.full({}, 3):sum(), array.full({}, 3):max(), array.full({}, 3):mean(), array.full({}, 3):argmax()", 3.0, 3.0, 3.0, 1)

# -------------------------------------------------------------------------------------------------- more statistics ----
G = "statistics"
for p in DTYPES[1:11]:
    x, f = np.sort(X[p][:10]), np.abs(T[p]).reshape(-1)
    fixture("s_" + p, x)
    n = "array.abs(t_%s):reshape(6)" % p
    case(G, f"array.searchsorted(s_{p}, x_{p}), array.searchsorted(s_{p}, x_{p}, 'right')", np.searchsorted(x, X[p]) + 1,
         np.searchsorted(x, X[p], "right") + 1)
    u, first, inverse, counts = np.unique(f, True, True, True)
    case(G, f"array.unique({n}, {{index = true, inverse = true, counts = true}})", u, first + 1, inverse + 1, counts)
    # (+ 0: of 0 and -0 either may stay.)
    case(G, f"array.unique(x_{p} + 0), array.isin(x_{p}, s_{p}[{{ {{1, 4}} }}]), array.diff(x_{p}, 2)", np.unique(X[p] + X[p].dtype.type(0)), np.isin(X[p], x[:4]),
         np.diff(X[p], 2))
    case(G, f"array.convolve(t_{p}:reshape(6), u_{p}), array.correlate(t_{p}:reshape(6), u_{p}, 'same')", np.convolve(T[p].reshape(-1), U[p]),
         np.correlate(T[p].reshape(-1), U[p], "same"), tol="rel 1e-6" if p == "float32" else "rel 1e-14")
    case(G, f"array.histogram({n}, {{bins = 3, range = {{0, 4}}}})", np.histogram(f, 3, (0, 4))[0],
         np.histogram(f, 3, (0, 4))[1].astype(np.float32 if p == "float32" else np.float64), tol="ulp 1")
    case("reduction layouts", f"array.histogram({n}, 4)", *np.histogram(f, 4), tol="rel 1e-6" if p == "float32" else "ulp 2")
    case(G, f"array.gradient(t_{p}, {{axis = 2}}), array.trapz(t_{p}, {{axis = 1}})",
         np.gradient(T[p].astype(np.float32 if p == "float32" else np.float64), axis=1),
         np.trapezoid(T[p].astype(np.float32 if p == "float32" else np.float64), axis=0), tol="rel 1e-6" if p == "float32" else "rel 1e-14")
    case(G, f"array.cov(t_{p}), array.average(t_{p}, {{axis = 2, weights = array.range(3)}})", np.cov(T[p].astype(np.float64)),
         np.average(T[p].astype(np.float64), axis=1, weights=[1, 2, 3]), tol="rel 1e-6")
    if p in INTS:
        case(G, f"array.bincount({n}), array.bincount({n}, {{weights = array.range(6), minlength = 8}})", np.bincount(f.astype(np.int64)),
             np.bincount(f.astype(np.int64), np.arange(1.0, 7), 8))
for p in COMPLEX:
    x = T[p].reshape(-1)
    case(G, f"array.convolve(t_{p}:reshape(6), u_{p}), array.correlate(t_{p}:reshape(6), u_{p}, 'full'), array.correlate(u_{p}, t_{p}:reshape(6), 'same')",
         np.convolve(x, U[p]), np.correlate(x, U[p], "full"), np.correlate(U[p], x, "same"), tol="rel 1e-6" if p == "complex64" else "rel 1e-14")
    case(G, f"array.unique(array.concatenate{{t_{p}:reshape(6), t_{p}:reshape(6)}}), array.diff(t_{p})", np.unique(x), np.diff(T[p]))
case(G, "array.cov(t_complex128), array.corrcoef(t_complex128)", np.cov(T["complex128"]), np.corrcoef(T["complex128"]), tol="rel 1e-13")
case(G, "array.unique(n4), array.diff(n4), array.isin(n4, {4, 0/0}), array.trapz(n4, {axis = 2})", np.unique(n4), np.diff(n4), np.isin(n4, [4, np.nan]),
     np.trapezoid(n4, axis=1))
case(G, "array.searchsorted(array.from{1, 2, 0/0}, n4), array.digitize(n4, {0, 2})", np.searchsorted([1, 2, np.nan], n4) + 1, np.digitize(n4, [0, 2]) + 1)
case(G, "(array.histogram(n4, {bins = 3, range = {-2, 4}}))", np.histogram(n4, 3, (-2, 4))[0])
case(G, "array.convolve(array.from{1, 1/0, 2}, array.from{1, -1}), array.convolve(array.from{1, 2}, array.from{0/0, 1})",
     np.convolve([1, np.inf, 2], [1, -1]), np.convolve([1, 2], [np.nan, 1]))
case(G, "array.diff(a, {prepend = 0}), array.diff(a, {append = a[{ {}, {1, 1} }]}), array.diff(v, 3), array.diff(mask)", np.diff(a, prepend=0),
     np.diff(a, append=a[:, :1]), np.diff(v, 3), np.diff(mask))
case(G, "array.gradient(a)", *np.gradient(a), tol="rel 1e-14")
case(G, "array.gradient(a, 2, array.from{0, 1, 1.5, 4})", *np.gradient(a, 2, np.array([0, 1, 1.5, 4])), tol="rel 1e-14")
case(G, "array.gradient(v, {edge_order = 2}), array.gradient(fp, xp, {edge_order = 2})", np.gradient(v, edge_order=2), np.gradient(fp, xp, edge_order=2),
     tol="rel 1e-13")
case(G, "array.trapz(c3, array.from{0, 1, 3}, {axis = 2}), array.trapz(b, a), array.trapz(b, a, {axis = 1})", np.trapezoid(c3, [0, 1, 3], axis=1),
     np.trapezoid(b, a), np.trapezoid(b, a, axis=0), tol="rel 1e-13")
case(G, "array.interp(array.from{-190, 5, 350}, {0, 90, 180, 270}, {0, 1, 0, -1}, {period = 360})",
     np.interp([-190, 5, 350], [0, 90, 180, 270], [0, 1, 0, -1], period=360), tol="rel 1e-14")
case(G, "array.interp(a, xp, fp), array.interp(0/0, xp, fp), array.interp(array.from{1, 2}, {1, 2}, {0, 1/0})", np.interp(a, xp, fp), np.nan,
     np.interp([1, 2], [1, 2], [0, np.inf]))
case(G, "array.cov(v), array.cov(v, w), array.cov(b, {rowvar = false, bias = true}), array.corrcoef(v, w)", float(np.cov(v)), np.cov(v, w),
     np.cov(b, rowvar=False, bias=True), np.corrcoef(v, w), tol="rel 1e-13")
case(G, "array.cov(b, {fweights = array.from({1, 2, 1, 3}, 'int64')}), array.cov(b, {aweights = array.from{0.5, 2, 1, 3}, ddof = 0})",
     np.cov(b, fweights=[1, 2, 1, 3]), np.cov(b, aweights=[0.5, 2, 1, 3], ddof=0), tol="rel 1e-13")
case(G, "array.average(a), array.average(a, 1), array.average(c3, {axis = 3, weights = array.abs(c3)})", np.average(a), np.average(a, 0),
     np.average(c3, axis=2, weights=np.abs(c3)), tol="rel 1e-14")
h, edges = np.histogram(v, 4, weights=w)
case(G, "array.histogram(v, 4, {weights = w})", h, edges, tol="rel 1e-13")
case(G, "(array.histogram(v, {-3, 0, 1, 5}, {density = true}))", np.histogram(v, [-3.0, 0, 1, 5], density=True)[0], tol="rel 1e-13")
case(G, "array.union1d(iv, idx), array.intersect1d(iv, idx), array.setdiff1d(iv, idx), array.setxor1d(iv, idx)", np.union1d(iv, idx + 1),
     np.intersect1d(iv, idx + 1), np.setdiff1d(iv, idx + 1), np.setxor1d(iv, idx + 1))
case(G, "array.union1d(a, v), array.intersect1d(a, iv), array.setdiff1d(n4, a), array.setxor1d(t_int8, t_uint8)", np.union1d(a, v), np.intersect1d(a, iv),
     np.setdiff1d(n4, a), np.setxor1d(T["int8"], T["uint8"]))
rows = fixture("rows", small((7, 2), "int32", 0, 2))
for axis in [0, 1]:
    u, first, inverse, counts = np.unique(rows, True, True, True, axis=axis)
    case(G, f"array.unique(rows, {{axis = {axis + 1}, index = true, inverse = true, counts = true}})", u, first + 1, inverse + 1, counts)
case(G, "array.unique(i3, {axis = 2}), array.unique(c3, {axis = -1}), array.unique(mask, {axis = 1})", np.unique(i3, axis=1), np.unique(c3, axis=-1),
     np.unique(mask, axis=0))
error(G, "array.convolve(v, e0)", "empty")
error(G, "array.bincount(array.from({-1}, 'int32'))", "is -1")
error(G, "array.bincount(v)", "integers")
error(G, "array.histogram(n4, 3)", "not finite")
error(G, "array.histogram(v, {3, 2})", "ascending")
error(G, "array.interp(1, {1, 2}, {1})", "xp has 2 points and fp 1")
error(G, "array.gradient(array.ones(1))", "at least 2")
error(G, "array.digitize(v, {1, 3, 2})", "ascending or descending")
error(G, "array.average(v, {weights = v - v})", "add up to 0")
error(G, "array.cov(v, a)", "observations")

# ------------------------------------------------------------------------------ quantiles and order of every dtype ----
for p in DTYPES[1:11]:
    x = T[p]
    tol = "rel 1e-6" if p == "float32" else "rel 1e-14"
    f32 = np.float32 if p == "float32" else np.float64
    case("quantiles", f"array.median(t_{p}), array.median(t_{p}, 1), array.percentile(t_{p}, 40, {{axis = 2}})", float(np.median(x)),
         np.median(x, 0).astype(f32), np.percentile(x, 40, axis=1).astype(f32), tol=tol)
    # DIFFERS: quantiles of integers are float64 by every method; NumPy's that pick an element keep its dtype.
    case("quantiles", f"array.quantile(t_{p}, 0.6, {{method = 'nearest'}}), array.quantile(t_{p}, 0.6, {{axis = 1, method = 'lower'}})",
         float(np.quantile(x, 0.6, method="nearest")), np.quantile(x, 0.6, axis=0, method="lower").astype(f32), tol=tol)
    y = np.partition(x.reshape(-1), 2)
    case("sorting", f"array.partition(t_{p}:reshape(6), 3)[3], array.topk(t_{p}, 2)", y[2].item(), np.sort(x)[:, ::-1][:, :2])
    case("sorting", f"array.sort(x_{p}[{{ {{-1, 1, -1}} }}] + 0), array.sort(x_{p} + 0, {{descending = true}})",
         np.sort(X[p] + X[p].dtype.type(0)),
         np.sort(X[p])[::-1] + X[p].dtype.type(0) if p in INTS else
         np.concatenate([np.sort(X[p][~np.isnan(X[p])])[::-1], X[p][np.isnan(X[p])]]) + X[p].dtype.type(0))
    case("reductions", f"t_{p}:cummax(2), t_{p}:cummin(1), x_{p}:min(), x_{p}:max()", np.maximum.accumulate(x, 1), np.minimum.accumulate(x, 0),
         *([0.0, 0.0] if p not in FLOATS else [np.nan, np.nan]))
    if p in INTS:
        lines[-1] = "\t".join(["case", "reductions", "exact", f"t_{p}:cummax(2), t_{p}:cummin(1)", describe(np.maximum.accumulate(x, 1)),
                               describe(np.minimum.accumulate(x, 0))])
    case("reductions", f"x_{p}:argmin(), x_{p}:argmax(), x_{p}:any(), x_{p}:all(), x_{p}:count_nonzero()", int(X[p].argmin()) + 1,
         int(X[p].argmax()) + 1, True, bool(X[p].all()), int(np.count_nonzero(X[p])))
    if p in INTS and p not in ("int64", "uint64"):
        case("reductions", f"x_{p}:sum{{axis = 1, keepdims = true}}, x_{p}:prod{{axis = 1, keepdims = true}}, x_{p}:min(), x_{p}:max()",
             X[p].sum(keepdims=True), X[p].prod(keepdims=True), int(X[p].min()), int(X[p].max()))
    elif p in INTS:
        case("reductions", f"x_{p}:sum{{axis = 1, keepdims = true}}, x_{p}:prod{{axis = 1, keepdims = true}}, "
             f"x_{p}:min{{keepdims = true}}, x_{p}:max{{keepdims = true}}", X[p].sum(keepdims=True), X[p].prod(keepdims=True),
             X[p].min(keepdims=True), X[p].max(keepdims=True))
case("reductions", "array.nanvar(n4), array.nanvar(n4, 1), array.nanmin(n4, 1), array.nanmedian(n4), array.nanquantile(n4, 0.25, {axis = 2})",
     np.nanvar(n4), np.nanvar(n4, 0), np.nanmin(n4, 0), np.nanmedian(n4), np.nanquantile(n4, 0.25, axis=1), tol=FLOAT_TOL)
case("reductions", "x_float64:sum(), x_float64:prod(), array.from{1/0, -1/0}:sum(), array.from{1/0, 1}:mean(), array.from{1e308, 1e308}:sum()",
     np.nan, np.nan, np.nan, np.inf, np.inf)
case("quantiles", "array.median(array.from{1, 1/0}), array.median(array.from{1/0, 1/0}), array.quantile(array.from{-1/0, 0, 1/0}, 0.5)",
     np.inf, np.inf, 0.0)
error("quantiles", "array.quantile(v, 1.5)", "")
error("quantiles", "array.quantile(v, 0.5, {method = 'magic'})", "")
error("quantiles", "array.median(t_complex128)", "")

# ---------------------------------------------------------------------------------------------------------- creation ----
G = "creation"
case(G, "array.linspace(0, 1, 5, {endpoint = false}), array.logspace(0, 4, 5, {base = 2}), array.geomspace(-1, -1000, 4)",
     np.linspace(0, 1, 5, endpoint=False), np.logspace(0, 4, 5, base=2), np.geomspace(-1, -1000, 4), tol="ulp 4")
case(G, "array.linspace(3, 4, 1), array.linspace(3, 4, 0), array.logspace(1, 2, 3, 'float32'), array.geomspace(2, 3, 4, {endpoint = false})",
     np.linspace(3, 4, 1), np.linspace(3, 4, 0), np.logspace(1, 2, 3, dtype=np.float32), np.geomspace(2, 3, 4, endpoint=False), tol="ulp 4")

def fft_cases():
    G = "fft"
    for dtype in DTYPES:
        near = "rel 2e-6" if dtype in ("float32", "complex64") else F
        t, u = T[dtype], U[dtype]
        if dtype == "bool":
            t, u = t.astype(float), u.astype(float)
        case(G, f"fft.fft(t_{dtype}), fft.ifft(t_{dtype}), fft.fft2(t_{dtype}), fft.ifftn(t_{dtype}), fft.fft(t_{dtype}, {{axis = 1, n = 5}}), "
             f"fft.irfft(t_{dtype}), fft.irfft2(t_{dtype}, {{s = {{2, 5}}}})", np.fft.fft(t), np.fft.ifft(t), np.fft.fft2(t), np.fft.ifftn(t),
             np.fft.fft(t, 5, axis=0), np.fft.irfft(t), np.fft.irfft2(t, s=(2, 5), axes=(0, 1)), tol=near)
        if not dtype.startswith("complex"):
            case(G, f"fft.rfft(t_{dtype}), fft.rfft(u_{dtype}, {{n = 8}}), fft.rfft2(t_{dtype}), fft.rfftn(t_{dtype}, {{axes = {{2, 1}}}})",
                 np.fft.rfft(t), np.fft.rfft(u, 8), np.fft.rfft2(t), np.fft.rfftn(t, axes=(1, 0)), tol=near)
        case(G, f"fft.fftshift(t_{dtype}), fft.ifftshift(u_{dtype})", np.fft.fftshift(T[dtype]), np.fft.ifftshift(U[dtype]))
    for n in [1, 2, 3, 11, 16, 17, 30, 64, 101]:
        x = fixture(f"f_{n}", np.round(own.normal(size=n), 2))
        z = fixture(f"fz_{n}", np.round(own.normal(size=n), 2) + 1j * np.round(own.normal(size=n), 2))
        case(G, f"fft.fft(f_{n}), fft.ifft(f_{n}), fft.rfft(f_{n}), fft.fft(fz_{n}), fft.ifft(fz_{n}), fft.irfft(fz_{n}, {{n = {n}}})",
             np.fft.fft(x), np.fft.ifft(x), np.fft.rfft(x), np.fft.fft(z), np.fft.ifft(z), np.fft.irfft(z, n), tol=F)
    for s_ in [(2, 2), (5, 7), (3, 9)]:
        o = "{s = {%d, %d}}" % s_
        case(G, f"fft.fft2(a, {o}), fft.rfft2(a, {o}), fft.ifft2(zc, {o}), fft.irfft2(zc, {o}), fft.fft2(a.T, {o})", np.fft.fft2(a, s=s_),
             np.fft.rfft2(a, s=s_), np.fft.ifft2(zc, s=s_), np.fft.irfft2(zc, s=s_), np.fft.fft2(a.T, s=s_), tol=F)
    for norm in ["ortho", "forward", "backward"]:
        case(G, f"fft.fft2(a, {{norm = '{norm}'}}), fft.irfft(fz_16, {{norm = '{norm}'}}), fft.ifftn(c3, {{norm = '{norm}', axes = {{1, 3}}}}), "
             f"fft.irfftn(c3, {{norm = '{norm}'}})", np.fft.fft2(a, norm=norm), np.fft.irfft(z_ := fixtures["fz_16"], norm=norm),
             np.fft.ifftn(c3, norm=norm, axes=(0, 2)), np.fft.irfftn(c3, norm=norm), tol=F)
    case(G, "fft.fft(array.zeros(0, 3)), fft.fft2(array.zeros(2, 0, 3), {axes = {1, 3}}), fft.rfft(array.zeros(0, 3))", np.zeros((0, 3), complex),
         np.zeros((2, 0, 3), complex), np.zeros((0, 2), complex))
    error(G, "fft.fft(array.zeros(0))", "1 or more")
    error(G, "fft.rfft(zc)", "complex")
    error(G, "fft.fft(array.full({}, 1))", "0 dimensions")


fft_cases()

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "cases.txt"), "w") as out:
    out.write("# Written by make_cases.py with NumPy " + np.__version__ + "; do not edit.\n")
    out.write("\n".join(lines) + "\n")
print(sum(1 for l in lines if not l.startswith("fixture")), "cases,", sum(len(l) + 1 for l in lines), "bytes")
