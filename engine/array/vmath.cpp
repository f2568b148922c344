#include "array/vmath.hpp"
#include "core/isa.hpp"

#include <cstring>
#include <dlfcn.h>

namespace perigee::array::vmath {

void *find(const char *symbol) {
  // Never closed: kernels keep the addresses.
  static void *library = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);
  return library ? dlsym(library, symbol) : nullptr;
}

#if !defined(__x86_64__)
const Functions &baseline_functions() {
  static const Functions none{"none", {}, {}};
  return none;
}
const Functions &avx2_functions() {
  return baseline_functions();
}
const Functions &avx512_functions() {
  return baseline_functions();
}
#endif

const Functions &functions() {
  static const Functions &best = []() -> const Functions & {
    if (isa() >= Isa::avx512 && std::strcmp(avx512_functions().name, "none") != 0)
      return avx512_functions();
    if (isa() >= Isa::avx2 && std::strcmp(avx2_functions().name, "none") != 0)
      return avx2_functions();
    return baseline_functions();
  }();
  return best;
}

} // namespace perigee::array::vmath
