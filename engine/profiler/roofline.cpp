// What the machine can do, measured: the two roofs of the roofline model (Williams, Waterman, Patterson, "Roofline: an
// insightful visual performance model for multicore architectures", CACM 52(4), 2009).
#include "core/status.hpp"
#include "profiler/profiler.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>

#pragma GCC visibility push(default)
extern "C" {
#include "profiler/profiler_abi.h"
}
#pragma GCC visibility pop

namespace perigee::profiler {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Loops over vectors of W bytes. Loads go to 8 sums, multiply-adds to 12: enough to hide their latency. Written with
// GCC's vectors, so that each instruction set is the same text under another target.
template <int W, class T> struct Vector { typedef T type __attribute__((vector_size(W), aligned(W))); };

template <int W> [[gnu::always_inline]] inline uint64_t read_all(const char *data, size_t bytes) {
  using V = typename Vector<W, uint64_t>::type;
  auto *at = reinterpret_cast<const V *>(data);
  const size_t n = bytes / W / 8 * 8;
  V s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  for (size_t i = 0; i < n; i += 8) {
    s0 ^= at[i];
    s1 ^= at[i + 1];
    s2 ^= at[i + 2];
    s3 ^= at[i + 3];
    s4 ^= at[i + 4];
    s5 ^= at[i + 5];
    s6 ^= at[i + 6];
    s7 ^= at[i + 7];
  }
  s0 ^= s1 ^ s2 ^ s3 ^ s4 ^ s5 ^ s6 ^ s7;
  return s0[0];
}

template <int W, class T> [[gnu::always_inline]] inline T multiply_add(int64_t rounds, T factor, T term) {
  using V = typename Vector<W, T>::type;
  V sums[12];
  for (int i = 0; i < 12; ++i)
    sums[i] = V{} + T(i);
  const V f = V{} + factor, t = V{} + term;
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i)
      sums[i] = sums[i] * f + t;
  V total{};
  for (int i = 0; i < 12; ++i)
    total += sums[i];
  return total[0];
}

struct Kernels {
  uint64_t (*read)(const char *, size_t);
  double (*multiply_add)(int64_t, double, double);
  float (*multiply_add_single)(int64_t, float, float);
  int width; // bytes
};

#define KERNELS(name, attribute, width)                                                                                \
  attribute uint64_t read_##name(const char *data, size_t bytes) {                                                     \
    return read_all<width>(data, bytes);                                                                               \
  }                                                                                                                    \
  attribute double fma_##name(int64_t n, double f, double t) {                                                         \
    return multiply_add<width, double>(n, f, t);                                                                       \
  }                                                                                                                    \
  attribute float fma_single_##name(int64_t n, float f, float t) {                                                     \
    return multiply_add<width, float>(n, f, t);                                                                        \
  }                                                                                                                    \
  constexpr Kernels kernels_##name{read_##name, fma_##name, fma_single_##name, width};

KERNELS(baseline, , 16)
#if defined(__x86_64__)
KERNELS(avx2, __attribute__((target("avx2,fma"))), 32)
KERNELS(avx512, __attribute__((target("avx512f,fma,prefer-vector-width=512"))), 64)
#endif
#undef KERNELS

const Kernels &kernels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    return kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return kernels_avx2;
#endif
  return kernels_baseline;
}

// Counts as a use of what was computed, so that nothing is left out.
inline void keep(double value) {
  asm volatile("" : : "m"(value));
}

// Runs `body(thread)`, which returns the work of one round, on all threads until the time is over; the sum of their
// rates.
template <class Body> double rate(int threads, double seconds, Body &&body) {
  std::atomic<int> ready{0};
  std::vector<double> rates(size_t(threads), 0.0);
  auto run = [&](int thread) {
    body(thread); // warm
    ++ready;
    while (ready < threads) {
    }
    double best = 0;
    const double start = now();
    for (double t0 = start, t1; t0 - start < seconds; t0 = t1) {
      double work = 0;
      do {
        work += body(thread);
        t1 = now();
      } while (t1 - t0 < seconds / 20);
      best = std::max(best, work / (t1 - t0));
    }
    rates[size_t(thread)] = best;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i)
    others.emplace_back(run, i);
  run(0);
  for (auto &thread : others)
    thread.join();
  double sum = 0;
  for (double r : rates)
    sum += r;
  return sum;
}

} // namespace
} // namespace perigee::profiler

using namespace perigee;
using namespace perigee::profiler;

int32_t pg_profiler_bandwidth(double *bytes_per_second, double bytes, int32_t threads, double seconds) {
  return guard([&] {
    const Kernels &k = kernels();
    const size_t size = std::max<size_t>(size_t(bytes) / 512 * 512, 512);
    struct Free {
      void operator()(char *p) const { std::free(p); }
    };
    std::vector<std::unique_ptr<char, Free>> buffers;
    for (int i = 0; i < threads; ++i) {
      buffers.emplace_back(static_cast<char *>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)));
      if (!buffers.back())
        throw std::bad_alloc();
    }
    std::vector<char> touched(size_t(threads), 0);
    *bytes_per_second = rate(threads, seconds, [&](int thread) {
      char *data = buffers[size_t(thread)].get();
      if (!std::exchange(touched[size_t(thread)], 1)) // by the thread that reads it
        std::memset(data, 1, size);
      const size_t rounds = std::max<size_t>(1, (1 << 18) / size);
      uint64_t total = 0;
      for (size_t r = 0; r < rounds; ++r) {
        total += k.read(data, size);
        asm volatile("" : : "r"(data) : "memory"); // each round anew
      }
      keep(double(total));
      return double(size) * double(rounds);
    });
  });
}

int32_t pg_profiler_peak(double *flops_per_second, int32_t single, int32_t threads, double seconds) {
  return guard([&] {
    const Kernels &k = kernels();
    *flops_per_second = rate(threads, seconds, [&](int) {
      constexpr int64_t rounds = 20000;
      if (single)
        keep(double(k.multiply_add_single(rounds, 0.999f, 0.001f)));
      else
        keep(k.multiply_add(rounds, 0.999, 0.001));
      return double(rounds) * 12 * 2 * (k.width / (single ? 4 : 8));
    });
  });
}

void pg_profiler_caches(double *sizes) {
  const int names[] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE};
  for (int i = 0; i < 4; ++i)
    sizes[i] = double(std::max<long>(0, sysconf(names[i])));
  // The kernel knows better where it tells: in a virtual machine the C library counted a level 3 of 320 MiB, not 32.
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    std::ifstream level_file(folder + "level"), type_file(folder + "type"), size_file(folder + "size");
    int level = 0;
    std::string type, unit;
    double size = 0;
    if (level_file >> level && type_file >> type && size_file >> size && type != "Instruction" && level >= 1 &&
        level <= 4) {
      size_file >> unit;
      sizes[level - 1] = size * (unit == "K" ? 1024.0 : unit == "M" ? 1024.0 * 1024 : 1.0);
    }
  }
}
