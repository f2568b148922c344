// CUDA C++ to PTX or machine code by NVRTC, kept on disk between runs.
#pragma once

#include <string>
#include <vector>

namespace perigee::gpu {

struct Image {
  std::string data, log; // PTX or cubin; warnings
  bool cached = false;
  double seconds = 0;
};

// architecture: "sm_90" gives machine code (cubin), "compute_90" PTX. folder: where compiled code is kept and looked for;
// "" nowhere, and one that cannot be read or written does no harm. Throws ArgumentError with the compiler's messages,
// UnsupportedError where there is no NVRTC.
Image compile(const std::string &source, const std::string &name, const std::string &architecture,
              const std::vector<std::string> &options, const std::string &folder);

} // namespace perigee::gpu
