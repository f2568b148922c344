// Time on a GPU. What a submission had its device do is a record that the judge has run again on the simulator, without
// the script, and found to be right; here an NVIDIA GPU does it, in turns with what the reference (or the naive script)
// had done, in a process of its own that loads CUDA and no script. It is given kernels in their source, numbers and
// arrays, and is confined as far as one can be whose driver opens devices (lockdown.hpp, lock_device_files): no sandbox
// of its own, and no limit of its memory, since CUDA reserves address space by the terabyte.
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
/// `perigee-worker gpu-time` says whether there is a GPU, `perigee-worker gpu-time FOLDER` whether it can be used in
/// confinement (nothing is written but in FOLDER). Prints JSON.
int gpu_time_main(const std::vector<std::string> &arguments);

} // namespace perigee::grader
