-- Random numbers on a GPU: the same as the host's (engine/random), Philox4x32-10 and the same arithmetic, without fused
-- multiply-adds.
local core, shared = ...
local ffi = core.ffi
local ops = shared.cuda_ops
local launch, pointer_to, threads = ops.kit.launch, ops.kit.pointer_to, ops.kit.threads
local tonumber, format, min, ceil = tonumber, string.format, math.min, math.ceil

local random_text = [[
typedef unsigned long long u64;
typedef long long int64;

struct Words { u64 half[2]; };

__device__ inline Words philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64(0xD2511F53u) * c0, p1 = u64(0xCD9E8D57u) * c2;
    const unsigned n0 = unsigned(p1 >> 32) ^ c1 ^ k0, n2 = unsigned(p0 >> 32) ^ c3 ^ k1;
    c1 = unsigned(p1);
    c3 = unsigned(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0 | u64(c1) << 32, c2 | u64(c3) << 32}};
}
__device__ inline u64 bits_of(double x) { return u64(__double_as_longlong(x)); }
__device__ inline double double_of(u64 x) { return __longlong_as_double((long long)x); }
__device__ inline double logarithm(double x) {
  const u64 t = bits_of(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  const double e = double_of((t >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023);
  const double f = double_of((t & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1;
  const double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
  double p = 0x1.2b5f68a50d903p-3;
  p = p * z + 0x1.39fdcceb4bb45p-3;
  p = p * z + 0x1.7462b91b8df65p-3;
  p = p * z + 0x1.c71c62d5e53e0p-3;
  p = p * z + 0x1.2492492dfd86cp-2;
  p = p * z + 0x1.9999999995273p-2;
  p = p * z + 0x1.5555555555558p-1;
  const double high = 0x1.62e42feep-1, low = 0x1.a39ef35793c76p-33;
  return e * high - ((half - (s * (half + z * p) + e * low)) - f);
}
__device__ inline void sine_cosine(double x, double &sine, double &cosine) {
  const double shifted = 2 * x + 0x1.8p52;
  const u64 q = bits_of(shifted);
  const double r = x - 0.5 * (shifted - 0x1.8p52), z = r * r;
  double a = 0x1.e3f38399551bfp-12;
  a = a * z - 0x1.e30071afc3e59p-8;
  a = a * z + 0x1.50782fda12d96p-4;
  a = a * z - 0x1.32d2cce2e5b19p-1;
  a = a * z + 0x1.466bc677587f8p+1;
  a = a * z - 0x1.4abbce625be41p+2;
  a = a * z + 0x1.921fb54442d18p+1;
  a = a * r;
  double b = 0x1.f3dbcea61b1a4p-10;
  b = b * z - 0x1.a6c9c1be9eb49p-6;
  b = b * z + 0x1.e1f4fb60281f6p-3;
  b = b * z - 0x1.55d3c7dbfd139p+0;
  b = b * z + 0x1.03c1f081b0780p+2;
  b = b * z - 0x1.3bd3cc9be458bp+2;
  b = b * z + 1;
  const u64 odd = 0 - (q & 1), change = (bits_of(a) ^ bits_of(b)) & odd;
  sine = double_of((bits_of(a) ^ change) ^ ((q & 2) << 62));
  cosine = double_of((bits_of(b) ^ change) ^ (((q + 1) & 2) << 62));
}

typedef %s Real;

// Numbers of slots first to first + size - 1: a thread makes the two of a block.
extern "C" __global__ void draw(Real *out, const int64 size, const u64 first, const unsigned k0, const unsigned k1,
                                const int normal, const double a, const double b, const double last, const double start) {
  const u64 blocks = ((first + u64(size) - 1) >> 1) - (first >> 1) + 1;
  for (u64 i = blockIdx.x * u64(blockDim.x) + threadIdx.x; i < blocks; i += gridDim.x * u64(blockDim.x)) {
    const u64 index = (first >> 1) + i;
    const Words w = philox(unsigned(index), unsigned(index >> 32) | (normal ? 1u << 30 : 0u), 0, 0, k0, k1);
    double x[2];
    if (normal) {
      double sine, cosine;
      sine_cosine(double(int64(w.half[0])) * 0x1p-63 + 0x1p-64, sine, cosine);
      const double radius = sqrt(-2 * logarithm(double(w.half[1]) * 0x1p-64 + 0x1p-65));
      x[0] = a + b * (radius * sine);
      x[1] = a + b * (radius * cosine);
    }
    for (int h = 0; h < 2; ++h) {
      const int64 at = int64(index * 2 + h - first);
      if (at < 0 || at >= size)
        continue;
      if (normal) {
        out[at] = Real(x[h]);
      } else if (sizeof(Real) == 8) {
        const double value = a + b * (double(w.half[h] >> 11) * 0x1p-53);
        out[at] = Real(value < last ? value : last);
      } else {
        const float value = float(a + b * (double(int(w.half[h] >> 40)) * 0x1p-24));
        const float raised = value > float(start) ? value : float(start);
        out[at] = Real(raised < float(last) ? raised : float(last));
      }
    }
  }
}
]]

local single = ffi.new("float[1]")
local word = ffi.new("union { double d; int64_t i; float f[2]; int32_t n[2]; }")

-- The next double, or float, from x (finite, not 0) towards y.
local function towards(x, y, as_float)
  if as_float then
    word.f[0] = x
    if x == 0 then
      word.n[0] = 1
      return y > 0 and word.f[0] or -word.f[0]
    end
    word.n[0] = word.n[0] + ((y > x) == (x > 0) and 1 or -1)
    return word.f[0]
  end
  if x == 0 then
    return y > 0 and 4.9406564584124654e-324 or -4.9406564584124654e-324
  end
  word.d = x
  word.i = word.i + ((y > x) == (x > 0) and 1 or -1)
  return word.d
end

function ops.random(d, out, distribution, a, b, seed, slot)
  local size = tonumber(out._a._size)
  if size == 0 then
    return out
  end
  local is_float = out._a._dtype == 4
  local last, start, second = 0, 0, b
  if distribution == 0 then
    second = b - a
    if is_float then
      single[0] = a
      start = single[0]
      if start < a then
        start = towards(start, math.huge, true)
      end
      single[0] = b
      last = single[0]
      if last >= b then
        last = towards(last, -math.huge, true)
      end
    else
      last = towards(b, a)
    end
  end
  local parameters = { pointer_to(out), ffi.new("int64_t[1]", size), ffi.new("uint64_t[1]", slot),
    ffi.new("uint32_t[1]", seed % 2 ^ 32), ffi.new("uint32_t[1]", math.floor(seed / 2 ^ 32)),
    ffi.new("int32_t[1]", distribution == 2 and 1 or 0), ffi.new("double[1]", a), ffi.new("double[1]", second),
    ffi.new("double[1]", last), ffi.new("double[1]", start) }
  local blocks = min(ceil(size / 2 / threads), d.properties.multiprocessors * 32)
  launch(d, format(random_text, is_float and "float" or "double"), "draw", blocks, parameters, { "--fmad=false" })
  return out
end
