// Whether this machine can run ranks of MPI in a sandbox.
#pragma once

#include "grader/ranks.hpp"
#include "perigee/perigee.h"

#include <cstdlib>
#include <string>

// "" if it can, else why not.
inline std::string no_ranks_here() {
  using namespace perigee::grader;
  static const std::string reason = []() -> std::string {
    SandboxOptions options;
    try {
      prepare_ranks(options, 2);
    } catch (const InfrastructureError &error) {
      return error.what();
    }
    for (const SandboxCapability &capability : probe_sandbox())
      if (capability.name == "user namespaces" && !capability.present)
        return "no user namespaces: " + capability.reason;
    return "";
  }();
  return reason;
}
