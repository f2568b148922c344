#include "core/isa.hpp"

#include <cstdlib>
#include <string_view>
#include <utility>

namespace perigee {

bool has_isa(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
  case Isa::baseline:
    return true;
  case Isa::avx2:
    return __builtin_cpu_supports("avx2");
  case Isa::avx512:
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return isa == Isa::baseline;
}

Isa isa() {
  static const Isa chosen = [] {
    const char *variable = std::getenv("PERIGEE_ISA");
    const std::string_view wanted = variable ? variable : "";
    Isa best = Isa::baseline;
    for (const auto &[candidate, name] :
         {std::pair{Isa::baseline, "baseline"}, {Isa::avx2, "avx2"}, {Isa::avx512, "avx512"}})
      if (has_isa(candidate)) {
        best = candidate;
        if (wanted == name)
          break;
      }
    return best;
  }();
  return chosen;
}

} // namespace perigee
