// Time on a GPU. What a submission had its device do is a record that the judge has run again on the simulator, without
// the script, and found to be right; here an NVIDIA GPU does it, in turns with what the reference (or the naive script)
// had done, in a process of its own that loads CUDA and no script. That process is not confined: a GPU's driver needs
// what a sandbox refuses, and what it is given are kernels in their source, numbers and arrays.
#pragma once

#include "types.hpp"
#include "verdict.hpp"

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace perigee::grader {

/// Why nothing is measured on a GPU here; "" where it is.
const std::string &no_gpu_reason();

struct GpuTimes {
  Series series;
  double yours = 0.0, other = 0.0; // seconds, medians
};

/// Measures until the goal is settled, or to the last look. Throws InfrastructureError, Interrupted.
GpuTimes time_on_gpu(const Bytes &yours, const Bytes &other, const Goal &goal, double budget_seconds,
                     const std::atomic<bool> &interrupted);

/// The other process: `perigee-worker gpu-time FOLDER ROUNDS` measures the records FOLDER/yours and FOLDER/other,
/// `perigee-worker gpu-time` says whether it could. Prints JSON.
int gpu_time_main(const std::vector<std::string> &arguments);

} // namespace perigee::grader
