// The matrix product without BLAS: integers (exact, wrapping), small products, and all where BLAS is missing.
#include "array/matmul.hpp"
#include "array/kernels.hpp"

#include <complex>
#include <vector>

namespace perigee::array {
namespace {

// c (m x n) = a (m x k) b (k x n), all row-major. Rows of b are added up, which the compiler vectorises.
template <class T> void multiply(int64_t m, int64_t k, int64_t n, const T *a, const T *b, T *c) {
  std::fill_n(c, m * n, T{});
  constexpr int64_t block = 512; // columns at a time: a piece of c stays in the first cache
  for (int64_t j0 = 0; j0 < n; j0 += block)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t l = 0; l < k; ++l) {
        const T factor = a[i * k + l];
        for (int64_t j = j0; j < std::min(j0 + block, n); ++j) {
          if constexpr (std::is_integral_v<T>)
            c[i * n + j] = static_cast<T>(c[i * n + j] + static_cast<uint64_t>(factor) * b[l * n + j]);
          else
            c[i * n + j] += std::complex(factor.real() * b[l * n + j].real() - factor.imag() * b[l * n + j].imag(),
                                         factor.real() * b[l * n + j].imag() + factor.imag() * b[l * n + j].real());
        }
      }
}

void multiply(int32_t dtype, int64_t m, int64_t k, int64_t n, const void *a, const void *b, void *c) {
  // Integers wrap, so that those of one size are all the same.
  auto as = [&]<class T>(T *) {
    multiply(m, k, n, static_cast<const T *>(a), static_cast<const T *>(b), static_cast<T *>(c));
  };
  switch (dtype) {
  case PG_FLOAT32:
    return kernels().matmul_float(m, k, n, static_cast<const float *>(a), static_cast<const float *>(b),
                                  static_cast<float *>(c));
  case PG_FLOAT64:
    return kernels().matmul_double(m, k, n, static_cast<const double *>(a), static_cast<const double *>(b),
                                   static_cast<double *>(c));
  case PG_COMPLEX64:
    return as(static_cast<std::complex<float> *>(nullptr));
  case PG_COMPLEX128:
    return as(static_cast<std::complex<double> *>(nullptr));
  case PG_BOOL: { // any of (x and y)
    const auto *x = static_cast<const uint8_t *>(a), *y = static_cast<const uint8_t *>(b);
    auto *to = static_cast<uint8_t *>(c);
    std::fill_n(to, m * n, uint8_t{});
    for (int64_t i = 0; i < m; ++i)
      for (int64_t l = 0; l < k; ++l)
        for (int64_t j = 0; x[i * k + l] && j < n; ++j)
          to[i * n + j] |= y[l * n + j];
    return;
  }
  default:
    switch (element_size(dtype)) {
    case 1:
      return as(static_cast<uint8_t *>(nullptr));
    case 2:
      return as(static_cast<uint16_t *>(nullptr));
    case 4:
      return as(static_cast<uint32_t *>(nullptr));
    default:
      return as(static_cast<uint64_t *>(nullptr));
    }
  }
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_promote(int32_t a, int32_t b) {
  return promote(a, b);
}

int32_t pg_array_matmul(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b) {
  return guard([&] {
    const int32_t dtype = promote(a->_dtype, b->_dtype);
    const Array left = a->_dtype == dtype ? contiguous(*a) : copy(*a, dtype, collect);
    const Array right = b->_dtype == dtype ? contiguous(*b) : copy(*b, dtype, collect);
    const MatrixProduct p(*left, *right);
    Array product = create(dtype, {p.shape, static_cast<std::size_t>(p.ndim)}, false, collect);
    const auto bytes = static_cast<int64_t>(element_size(dtype));
    p.each([&](int64_t ao, int64_t bo, int64_t i) {
      multiply(dtype, p.m, p.k, p.n, left.data<std::byte>() + ao * bytes, right.data<std::byte>() + bo * bytes,
               product.data<std::byte>() + i * p.m * p.n * bytes);
    });
    pg_operation_describe("matmul", dtype_name(dtype),
                          static_cast<double>((left->_size + right->_size + product->_size) * bytes),
                          2.0 * static_cast<double>(product->_size) * static_cast<double>(p.k));
    *out = product.detach();
  });
}
}
