// What CUDA C++ is compiled with by the fake compiler (fake_nvrtc.cpp): CUDA's names for a thread that the fake driver runs
// on the host. No headers of the standard library but the smallest: a kernel compiles in a tenth of a second.
#pragma once

#include "fake_runtime.h"

#include <stddef.h>
#include <stdint.h>

extern "C" {
FakeRuntime *fake_runtime;
}

#define __device__
#define __host__
#define __global__ __attribute__((visibility("default")))
#define __shared__ static
#define __constant__ static
#define __forceinline__ inline
#define __align__(n) alignas(n)
#define threadIdx (fake_runtime->thread)
#define blockIdx (fake_runtime->block)
#define blockDim (fake_runtime->block_dim)
#define gridDim (fake_runtime->grid_dim)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

#define FAKE_MATH_1(name)                                                                                              \
  inline double name(double x) { return __builtin_##name(x); }                                                        \
  inline float name(float x) { return __builtin_##name##f(x); }
#define FAKE_MATH_2(name)                                                                                              \
  inline double name(double x, double y) { return __builtin_##name(x, y); }                                           \
  inline float name(float x, float y) { return __builtin_##name##f(x, y); }
FAKE_MATH_1(sqrt)
FAKE_MATH_1(fabs)
FAKE_MATH_1(floor)
FAKE_MATH_1(ceil)
FAKE_MATH_1(trunc)
FAKE_MATH_1(rint)
FAKE_MATH_1(sin)
FAKE_MATH_1(cos)
FAKE_MATH_1(tan)
FAKE_MATH_1(asin)
FAKE_MATH_1(acos)
FAKE_MATH_1(atan)
FAKE_MATH_1(sinh)
FAKE_MATH_1(cosh)
FAKE_MATH_1(tanh)
FAKE_MATH_1(asinh)
FAKE_MATH_1(acosh)
FAKE_MATH_1(atanh)
FAKE_MATH_1(exp)
FAKE_MATH_1(exp2)
FAKE_MATH_1(expm1)
FAKE_MATH_1(log)
FAKE_MATH_1(log2)
FAKE_MATH_1(log10)
FAKE_MATH_1(log1p)
FAKE_MATH_1(cbrt)
FAKE_MATH_1(erf)
FAKE_MATH_1(erfc)
FAKE_MATH_2(atan2)
FAKE_MATH_2(pow)
FAKE_MATH_2(fmod)
FAKE_MATH_2(hypot)
FAKE_MATH_2(copysign)
FAKE_MATH_2(fmin)
FAKE_MATH_2(fmax)
inline double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
inline float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline float floorf(float x) { return __builtin_floorf(x); }
inline float fmodf(float x, float y) { return __builtin_fmodf(x, y); }
inline float copysignf(float x, float y) { return __builtin_copysignf(x, y); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline long long llabs(long long x) { return x < 0 ? -x : x; }

// Conversions saturate, as the device's do.
inline long long __double2ll_rz(double x) {
  return x != x ? (long long)0x8000000000000000u
         : x >= 9223372036854775808.0  ? 9223372036854775807LL
         : x <= -9223372036854775808.0 ? -9223372036854775807LL - 1
                                       : (long long)x;
}
inline unsigned long long __double2ull_rz(double x) {
  return !(x > 0) ? 0 : x >= 18446744073709551616.0 ? ~0ull : (unsigned long long)x;
}
template <class To, class From> inline To fake_bits(From x) {
  To out;
  __builtin_memcpy(&out, &x, sizeof out);
  return out;
}
inline long long __double_as_longlong(double x) { return fake_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return fake_bits<double>(x); }
inline int __float_as_int(float x) { return fake_bits<int>(x); }
inline float __int_as_float(int x) { return fake_bits<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  by &= 31;
  return by ? high << by | low >> (32 - by) : high;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  by &= 31;
  return by ? low >> by | high << (32 - by) : low;
}
inline unsigned __byte_perm(unsigned x, unsigned, unsigned) { return __builtin_bswap32(x); } // as used: 0x0123

// One thread runs at a time.
template <class T> inline T atomicAdd(T *p, T v) {
  const T old = *p;
  *p = old + v;
  return old;
}
template <class T> inline T atomicAnd(T *p, T v) {
  const T old = *p;
  *p = old & v;
  return old;
}
template <class T> inline T atomicOr(T *p, T v) {
  const T old = *p;
  *p = old | v;
  return old;
}
template <class T> inline T atomicXor(T *p, T v) {
  const T old = *p;
  *p = old ^ v;
  return old;
}
template <class T> inline T atomicExch(T *p, T v) {
  const T old = *p;
  *p = v;
  return old;
}
template <class T> inline T atomicMin(T *p, T v) {
  const T old = *p;
  *p = v < old ? v : old;
  return old;
}
template <class T> inline T atomicMax(T *p, T v) {
  const T old = *p;
  *p = v > old ? v : old;
  return old;
}
template <class T> inline T atomicCAS(T *p, T expected, T v) {
  const T old = *p;
  if (old == expected)
    *p = v;
  return old;
}

inline void __syncthreads() { fake_runtime->sync(); }
inline void __syncwarp(unsigned = ~0u) { fake_runtime->exchange(0, -1); }
inline void __threadfence() {}
inline int fake_lane() {
  return int((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}
template <class T> inline T fake_shuffle(T v, int from) {
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &v, sizeof v);
  bits = fake_runtime->exchange(bits, from);
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}
template <class T> inline T __shfl_sync(unsigned, T v, int lane, int width = 32) {
  return fake_shuffle(v, fake_lane() / width * width + (lane & (width - 1)));
}
template <class T> inline T __shfl_up_sync(unsigned, T v, unsigned by, int width = 32) {
  const int lane = fake_lane();
  return fake_shuffle(v, lane % width < int(by) ? lane : lane - int(by));
}
template <class T> inline T __shfl_down_sync(unsigned, T v, unsigned by, int width = 32) {
  const int lane = fake_lane();
  return fake_shuffle(v, lane % width + int(by) >= width ? lane : lane + int(by));
}
template <class T> inline T __shfl_xor_sync(unsigned, T v, int mask, int width = 32) {
  const int lane = fake_lane(), other = lane ^ mask;
  return fake_shuffle(v, other / width == lane / width ? other : lane);
}
inline unsigned __ballot_sync(unsigned, int predicate) { return fake_runtime->ballot(predicate); }
inline int __any_sync(unsigned, int predicate) { return fake_runtime->ballot(predicate) != 0; }
inline int __all_sync(unsigned, int predicate) { return fake_runtime->ballot(!predicate) == 0; }

// A kernel's arguments, of whatever types: a chain of them.
template <class... A> struct FakeArguments;
template <> struct FakeArguments<> {
  explicit FakeArguments(void **) {}
  template <class F, class... Before> void call(F f, Before &...before) { f(before...); }
};
template <class A, class... Rest> struct FakeArguments<A, Rest...> {
  A first;
  FakeArguments<Rest...> rest;
  explicit FakeArguments(void **p) : first(*static_cast<A *>(*p)), rest(p + 1) {}
  template <class F, class... Before> void call(F f, Before &...before) { rest.call(f, before..., first); }
};
template <class T> struct FakePlain {
  using type = T;
};
template <class T> struct FakePlain<const T> {
  using type = T;
};
template <auto f> struct FakeEntry;
template <class... A, void (*f)(A...)> struct FakeEntry<f> {
  using Copied = FakeArguments<typename FakePlain<A>::type...>;
  static void *copy(void **p) { return ::new Copied(p); }
  static void run(void *copied) {
    Copied again = *static_cast<Copied *>(copied); // a thread may change its parameters
    again.call(f);
  }
  static void drop(void *copied) { ::delete static_cast<Copied *>(copied); }
};
