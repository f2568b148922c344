// A stand-in for libcublas.so in tests: products of small matrices in the host's memory.
#include <complex>
#include <cstddef>

namespace {

template <class T>
void multiply(int transpose_a, int transpose_b, int m, int n, int k, const void *alpha, const void *a, int lda,
              long long stride_a, const void *b, int ldb, long long stride_b, const void *beta, void *c, int ldc,
              long long stride_c, int batch) {
  const T scale = *static_cast<const T *>(alpha), keep = *static_cast<const T *>(beta);
  for (int p = 0; p < batch; ++p) {
    const T *x = static_cast<const T *>(a) + p * stride_a, *y = static_cast<const T *>(b) + p * stride_b;
    T *z = static_cast<T *>(c) + p * stride_c;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        T sum = 0;
        for (int l = 0; l < k; ++l)
          sum += x[transpose_a ? l + std::ptrdiff_t(i) * lda : i + std::ptrdiff_t(l) * lda] *
                 y[transpose_b ? j + std::ptrdiff_t(l) * ldb : l + std::ptrdiff_t(j) * ldb];
        T &out = z[i + std::ptrdiff_t(j) * ldc];
        out = keep == T(0) ? scale * sum : scale * sum + keep * out;
      }
  }
}

} // namespace

// The default stream's work is done before, and this at once.
extern "C" {
int cublasCreate_v2(void **handle) {
  *handle = new int(0);
  return 0;
}
int cublasDestroy_v2(void *handle) {
  delete static_cast<int *>(handle);
  return 0;
}
int cublasSetStream_v2(void *, void *) {
  return 0;
}
int cublasGemmStridedBatchedEx(void *, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,
                               const void *a, int type, int lda, long long stride_a, const void *b, int, int ldb,
                               long long stride_b, const void *beta, void *c, int, int ldc, long long stride_c,
                               int batch, int, int) {
  // cuBLAS refuses matrices whose columns would overlap.
  if (lda < (transpose_a ? k : m) || ldb < (transpose_b ? n : k) || ldc < m)
    return 7;
  const auto run = type == 0   ? multiply<float>
                   : type == 1 ? multiply<double>
                   : type == 4 ? multiply<std::complex<float>>
                               : multiply<std::complex<double>>;
  run(transpose_a, transpose_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
  return 0;
}
}
