// What can be said of an array from its descriptor alone. Compiled into the library and into each plugin.
#include "array/array.hpp"

namespace perigee::array {

std::string shape_text(const pg_array &a) {
  std::string text = "(";
  for (int i = 0; i < a._ndim; ++i)
    text += (i ? ", " : "") + std::to_string(a._shape[i]);
  return text + ")";
}

bool is_contiguous(const pg_array &a) {
  int64_t stride = 1;
  for (int i = a._ndim; i-- > 0;) {
    if (a._shape[i] != 1 && a._strides[i] != stride)
      return a._size == 0;
    stride *= a._shape[i];
  }
  return true;
}

} // namespace perigee::array
