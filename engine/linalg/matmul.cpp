// The matrix product, in BLAS.
#include "linalg/blas.hpp"
#include "linalg/linalg.hpp"
#include "linalg/small_product.hpp"

#include "array/matmul.hpp"

namespace perigee::linalg {
namespace {

// One operand of a product as BLAS takes it: rows or columns adjacent, the other stride at least as long as they are.
struct Operand {
  const void *data;
  int64_t leading; // from row to row, or from column to column if transposed
  bool transposed;
  Array copied;
};

template <class T>
bool describe(Operand &o, const T *data, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  o.data = data;
  // A stride along an axis of one element is never taken.
  if ((column == 1 || columns == 1) && (row >= std::max<int64_t>(columns, 1) || rows == 1)) {
    o.leading = rows == 1 ? std::max<int64_t>(columns, 1) : row;
    o.transposed = false;
    return true;
  }
  if ((row == 1 || rows == 1) && (column >= std::max<int64_t>(rows, 1) || columns == 1)) {
    o.leading = columns == 1 ? std::max<int64_t>(rows, 1) : column;
    o.transposed = true;
    return true;
  }
  return false;
}

template <class T> void copy_matrix(T *to, const T *from, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      to[i * columns + j] = from[i * row + j * column];
}

// Reads any strides; copies, once for the whole batch's same matrix, only what BLAS cannot read in place.
template <class T> class Reader {
 public:
  Reader(int64_t rows, int64_t columns, int64_t row, int64_t column)
      : rows_(rows), columns_(columns), row_(row), column_(column) {}
  const Operand &read(const T *data) {
    if (data == last_)
      return operand_;
    last_ = data;
    if (!describe(operand_, data, rows_, columns_, row_, column_)) {
      if (!operand_.copied.get()->_block)
        operand_.copied = scratch<T>(rows_ * columns_);
      T *to = operand_.copied.template data<T>();
      copy_matrix(to, data, rows_, columns_, row_, column_);
      describe(operand_, to, rows_, columns_, columns_, 1);
    }
    return operand_;
  }

 private:
  int64_t rows_, columns_, row_, column_;
  const T *last_ = nullptr;
  Operand operand_{};
};

// A vector as BLAS takes it: where it starts and its stride. BLAS walks a negative stride from the other end.
template <class T> struct Vector {
  Array copied;
  const T *data;
  int64_t stride;
  Vector(const T *from, int64_t n, int64_t step) : data(from), stride(step) {
    if (n <= 1) {
      stride = 1;
    } else if (step == 0 || step > INT_MAX || step < -INT_MAX) {
      copied = scratch<T>(n);
      T *to = copied.template data<T>();
      for (int64_t i = 0; i < n; ++i)
        to[i] = from[i * step];
      data = to;
      stride = 1;
    } else if (step < 0) {
      data = from + (n - 1) * step;
    }
  }
};

template <class T> void multiply(const array::MatrixProduct &p, const T *a, const T *b, T *c) {
  if (p.k == 0) {
    std::fill_n(c, p.batch_size * p.m * p.n, T{});
    return;
  }
  const int m = blas_int(p.m), k = blas_int(p.k), n = blas_int(p.n);
  Reader<T> left(p.m, p.k, p.a_row, p.a_column), right(p.k, p.n, p.b_row, p.b_column);
  p.each([&](int64_t ao, int64_t bo, int64_t i) {
    T *to = c + i * p.m * p.n;
    if (m == 1 && n == 1) {
      const Vector<T> x(a + ao, p.k, p.a_column), y(b + bo, p.k, p.b_row);
      *to = dot(k, x.data, static_cast<int>(x.stride), y.data, static_cast<int>(y.stride));
      return;
    }
    if (n == 1) {
      const Operand &l = left.read(a + ao);
      const Vector<T> x(b + bo, p.k, p.b_row);
      gemv(l.transposed ? CblasTrans : CblasNoTrans, l.transposed ? k : m, l.transposed ? m : k,
           static_cast<const T *>(l.data), blas_int(l.leading), x.data, static_cast<int>(x.stride), to);
      return;
    }
    if (m == 1) {
      const Operand &r = right.read(b + bo);
      const Vector<T> x(a + ao, p.k, p.a_column);
      gemv(r.transposed ? CblasNoTrans : CblasTrans, r.transposed ? n : k, r.transposed ? k : n,
           static_cast<const T *>(r.data), blas_int(r.leading), x.data, static_cast<int>(x.stride), to);
      return;
    }
    const Operand &l = left.read(a + ao), &r = right.read(b + bo);
    if constexpr (!is_complex_v<T>) {
      // a a^T needs half the work, and comes out symmetric to the last bit.
      if (l.data == r.data && m == n && l.transposed != r.transposed && l.leading == r.leading && m >= 32) {
        syrk(l.transposed, n, k, static_cast<const T *>(l.data), blas_int(l.leading), to, n);
        for (int64_t row = 1; row < n; ++row)
          for (int64_t column = 0; column < row; ++column)
            to[row * n + column] = to[column * n + row];
        return;
      }
    }
    if constexpr (!is_complex_v<T>) {
      if (!r.transposed && small_product(m, k, n, static_cast<const T *>(l.data), l.transposed ? 1 : l.leading,
                                         l.transposed ? l.leading : 1, static_cast<const T *>(r.data), r.leading, to))
        return;
    }
    gemm(l.transposed ? CblasTrans : CblasNoTrans, r.transposed ? CblasTrans : CblasNoTrans, m, n, k,
         static_cast<const T *>(l.data), blas_int(l.leading), static_cast<const T *>(r.data), blas_int(r.leading), to,
         n);
  });
}

} // namespace
} // namespace perigee::linalg

using namespace perigee;
using namespace perigee::linalg;

extern "C" int32_t pg_linalg_matmul(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b) {
  return guard([&] {
    const int32_t dtype = a->_dtype == b->_dtype ? a->_dtype : pg_array_promote(a->_dtype, b->_dtype);
    if (work_dtype(dtype) != dtype)
      throw InternalError("BLAS has no product of dtype " + std::string(array::dtype_name(dtype)));
    Array left, right;
    if (a->_dtype != dtype)
      a = (left = array::copy(*a, dtype, collect)).get();
    if (b->_dtype != dtype)
      b = (right = array::copy(*b, dtype, collect)).get();
    const array::MatrixProduct p(*a, *b);
    Array product = array::create(dtype, {p.shape, static_cast<std::size_t>(p.ndim)}, false, collect);
    if (p.batch_size * p.m * p.n > 0) {
      const ThreadBudget budget;
      visit(dtype, [&]<class T>(std::type_identity<T>) {
        multiply(p, static_cast<const T *>(a->_data), static_cast<const T *>(b->_data), product.template data<T>());
      });
    }
    pg_operation_describe(
        "matmul", array::dtype_name(dtype),
        static_cast<double>((a->_size + b->_size + product->_size)) * static_cast<double>(array::element_size(dtype)),
        (array::is_complex(dtype) ? 8.0 : 2.0) * static_cast<double>(product->_size) * static_cast<double>(p.k));
    *out = product.detach();
  });
}
