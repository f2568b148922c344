// What generated CUDA C++ begins with, in parts: a kernel gets those that it uses.
#pragma once

#include <string>
#include <vector>

namespace perigee::kernel {

struct CudaPart {
  const char *name;  // what a kernel asks for
  const char *needs; // another part, or ""
  const char *text;
};

// In the order in which they appear.
inline const std::vector<CudaPart> &cuda_parts() {
  static const std::vector<CudaPart> parts = {
      {"infinity", "", R"(#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif
)"},
      {"complex128", "", R"(struct complex128 { double re, im; };
struct complex64 { float re, im; };
__device__ inline complex128 complex(double re, double im) { return complex128{re, im}; }
__device__ inline complex128 complex(complex64 a) { return complex128{a.re, a.im}; }
__device__ inline complex64 narrow(complex128 a) { return complex64{float(a.re), float(a.im)}; }
__device__ inline complex128 operator-(complex128 a) { return complex128{-a.re, -a.im}; }
__device__ inline complex128 operator+(complex128 a, complex128 b) { return complex128{a.re + b.re, a.im + b.im}; }
__device__ inline complex128 operator-(complex128 a, complex128 b) { return complex128{a.re - b.re, a.im - b.im}; }
__device__ inline complex128 operator*(complex128 a, complex128 b) {
  return complex128{a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ inline complex128 operator/(complex128 a, complex128 b) { // the larger part of the divisor divides first
  const bool wide = fabs(b.re) >= fabs(b.im);
  const double large = wide ? b.re : b.im, small = wide ? b.im : b.re, ratio = small / large;
  const double denominator = large + small * ratio, x = wide ? a.re : a.im, y = wide ? a.im : a.re;
  return complex128{(x + y * ratio) / denominator, (wide ? y - x * ratio : x * ratio - y) / denominator};
}
__device__ inline bool operator==(complex128 a, complex128 b) { return a.re == b.re && a.im == b.im; }
__device__ inline bool operator!=(complex128 a, complex128 b) { return !(a == b); }
)"},
      {"Array", "", R"(// Elements in row-major order; indices count from 1.
template <class T, int N> struct Array {
  T *data;
  index_t n[N];
  template <class... I> __device__ index_t offset(I... i) const {
    const index_t at[] = {index_t(i)...};
    index_t sum = at[0] - 1;
#pragma unroll
    for (int d = 1; d < N; ++d)
      sum = sum * n[d] + (d < int(sizeof...(I)) ? at[d < int(sizeof...(I)) ? d : 0] - 1 : 0);
    return sum;
  }
  template <class... I> __device__ T &operator()(I... i) const { return data[offset(i...)]; }
  template <class... I> __device__ Array<T, N - int(sizeof...(I))> row(I... i) const {
    Array<T, N - int(sizeof...(I))> part;
    part.data = data + offset(i...);
#pragma unroll
    for (int d = 0; d < N - int(sizeof...(I)); ++d)
      part.n[d] = n[d + int(sizeof...(I))];
    return part;
  }
};
)"},
      {"Strided", "", R"(// Elements with gaps between them, as a view has; indices count from 1.
template <class T, int N> struct Strided {
  T *data;
  index_t n[N], stride[N];
  template <class... I> __device__ index_t offset(I... i) const {
    const index_t at[] = {index_t(i)...};
    index_t sum = 0;
#pragma unroll
    for (int d = 0; d < int(sizeof...(I)); ++d)
      sum += (at[d] - 1) * stride[d];
    return sum;
  }
  template <class... I> __device__ T &operator()(I... i) const { return data[offset(i...)]; }
  template <class... I> __device__ Strided<T, N - int(sizeof...(I))> row(I... i) const {
    Strided<T, N - int(sizeof...(I))> part;
    part.data = data + offset(i...);
#pragma unroll
    for (int d = 0; d < N - int(sizeof...(I)); ++d) {
      part.n[d] = n[d + int(sizeof...(I))];
      part.stride[d] = stride[d + int(sizeof...(I))];
    }
    return part;
  }
};
)"},
      {"wrap", "", R"(// Integers wrap at 2^63.
__device__ inline int64 wrap_add(int64 a, int64 b) { return int64((unsigned long long)a + (unsigned long long)b); }
__device__ inline int64 wrap_subtract(int64 a, int64 b) { return int64((unsigned long long)a - (unsigned long long)b); }
__device__ inline int64 wrap_multiply(int64 a, int64 b) { return int64((unsigned long long)a * (unsigned long long)b); }
)"},
      {"to_int64", "", R"(// Without its fraction; what does not fit becomes the nearest that does, NaN 0.
__device__ inline int64 to_int64(double x) { return x == x ? __double2ll_rz(x) : 0; }
)"},
      {"floor_mod", "", R"(// a % b as Lua has it: with the sign of b.
template <class T> __device__ inline T floor_mod(T a, T b) {
  if (b == -1)
    return 0;
  const T r = a % b;
  return r != 0 && (r ^ b) < 0 ? r + b : r;
}
__device__ inline double floor_mod(double a, double b) { return a - floor(a / b) * b; }
__device__ inline float floor_mod(float a, float b) { return a - floorf(a / b) * b; }
)"},
      {"minimum", "", R"(template <class T> __device__ inline T minimum(T a, T b) { return a < b ? a : b; }
template <class T> __device__ inline T maximum(T a, T b) { return b < a ? a : b; }
)"},
      {"powers", "infinity", R"(template <class T> __device__ inline T pow2(T x) { return x * x; }
template <class T> __device__ inline T pow3(T x) { return x * x * x; }
template <class T> __device__ inline T pow4(T x) { return (x * x) * (x * x); }
template <class T> __device__ inline T pow0_5(T x) { return x == T(-INFINITY) ? T(INFINITY) : fabs(sqrt(x)); }
template <class T> __device__ inline T pow1_5(T x) { return x == T(-INFINITY) ? T(INFINITY) : x * sqrt(x); }
template <class T> __device__ inline T pow2_5(T x) { return x == T(-INFINITY) ? T(INFINITY) : x * x * fabs(sqrt(x)); }
)"},
      {"lane", "", R"(// In its warp, from 1.
__device__ inline int lane() {
  return int((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32) + 1;
}
)"},
      {"dynamic_shared", "", R"(// The shared memory that the launch gives, and its bytes.
extern __shared__ __align__(16) unsigned char dynamic_shared[];
__device__ inline unsigned dynamic_shared_bytes() {
  unsigned bytes;
  asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
  return bytes;
}
)"},
      {"atomics", "", R"(// Atomic operations: each gives what was there before.
#define ATOMIC_BY_64_BITS(name, function) \
  template <class V> __device__ inline int64 name(int64 *p, V v) { \
    return int64(function((unsigned long long *)p, (unsigned long long)int64(v))); \
  }
ATOMIC_BY_64_BITS(atomic_add, atomicAdd)
ATOMIC_BY_64_BITS(atomic_and, atomicAnd)
ATOMIC_BY_64_BITS(atomic_or, atomicOr)
ATOMIC_BY_64_BITS(atomic_xor, atomicXor)
ATOMIC_BY_64_BITS(atomic_exchange, atomicExch)
template <class T, class V> __device__ inline T atomic_add(T *p, V v) { return atomicAdd(p, T(v)); }
template <class T, class V> __device__ inline T atomic_and(T *p, V v) { return atomicAnd(p, T(v)); }
template <class T, class V> __device__ inline T atomic_or(T *p, V v) { return atomicOr(p, T(v)); }
template <class T, class V> __device__ inline T atomic_xor(T *p, V v) { return atomicXor(p, T(v)); }
template <class T, class V> __device__ inline T atomic_exchange(T *p, V v) { return atomicExch(p, T(v)); }
template <class T, class V> __device__ inline T atomic_minimum(T *p, V v) { return atomicMin(p, T(v)); }
template <class T, class V> __device__ inline T atomic_maximum(T *p, V v) { return atomicMax(p, T(v)); }
template <class T, class E, class V> __device__ inline T atomic_cas(T *p, E expected, V v) {
  return atomicCAS(p, T(expected), T(v));
}
__device__ inline double atomic_exchange(double *p, double v) {
  return __longlong_as_double((long long)atomicExch((unsigned long long *)p, (unsigned long long)__double_as_longlong(v)));
}
template <class E, class V> __device__ inline int64 atomic_cas(int64 *p, E expected, V v) {
  return int64(atomicCAS((unsigned long long *)p, (unsigned long long)int64(expected), (unsigned long long)int64(v)));
}
__device__ inline float atomic_cas(float *p, float expected, float v) {
  return __int_as_float(atomicCAS((int *)p, __float_as_int(expected), __float_as_int(v)));
}
__device__ inline double atomic_cas(double *p, double expected, double v) {
  return __longlong_as_double((long long)atomicCAS((unsigned long long *)p,
                                                   (unsigned long long)__double_as_longlong(expected),
                                                   (unsigned long long)__double_as_longlong(v)));
}
__device__ inline float atomic_minimum(float *p, float v) {
  float old = *p;
  while (v < old) {
    const float seen = atomic_cas(p, old, v);
    if (__float_as_int(seen) == __float_as_int(old))
      break;
    old = seen;
  }
  return old;
}
__device__ inline float atomic_maximum(float *p, float v) {
  float old = *p;
  while (v > old) {
    const float seen = atomic_cas(p, old, v);
    if (__float_as_int(seen) == __float_as_int(old))
      break;
    old = seen;
  }
  return old;
}
__device__ inline double atomic_minimum(double *p, double v) {
  double old = *p;
  while (v < old) {
    const double seen = atomic_cas(p, old, v);
    if (__double_as_longlong(seen) == __double_as_longlong(old))
      break;
    old = seen;
  }
  return old;
}
__device__ inline double atomic_maximum(double *p, double v) {
  double old = *p;
  while (v > old) {
    const double seen = atomic_cas(p, old, v);
    if (__double_as_longlong(seen) == __double_as_longlong(old))
      break;
    old = seen;
  }
  return old;
}
)"},
  };
  return parts;
}

} // namespace perigee::kernel
