// A worker process, seen from inside.
#include "parallel/process_worker.hpp"

#include "core/status.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace perigee::parallel {
namespace {

// Answers until the channel ends.
void serve(Channel &channel) {
  for (;;) {
    Packet message;
    if (!channel.receive(message))
      return;
    switch (static_cast<ProcessRequest>(message.kind)) {
    case ProcessRequest::echo:
      for (Extent &extent : message.extents)
        extent = {extent.block, 0, extent.last - extent.first};
      if (!channel.send(message.kind, message.tag, message.bytes, message.extents))
        return;
      break;
    case ProcessRequest::die:
      std::fflush(stdout);
      if (message.tag < 128)
        std::_Exit(static_cast<int>(message.tag));
      std::signal(static_cast<int>(message.tag - 128), SIG_DFL);
      raise(static_cast<int>(message.tag - 128));
      break;
    }
  }
}

} // namespace
} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

int32_t pg_process_main(int32_t argument_count, char **arguments) {
  // The kernel ends this process with the thread that started it; where that is gone already, nobody waits.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argument_count != 2 || std::atoi(arguments[1]) <= 0) {
    std::fputs("perigee-process: Perigee starts this program itself, as a worker of a pool of processes "
               "(perigee.parallel)\n",
               stderr);
    return 2;
  }
  if (getppid() != std::atoi(arguments[1]))
    return 0;
  try {
    Channel channel(Descriptor(3), Channel::Role::worker);
    serve(channel);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "perigee-process: %s\n", error.what());
    return 3;
  }
  return 0;
}
