// The program perigee-process: a worker of a pool of processes, which starts it. All it does is in the library.
#include "parallel/process.hpp"

extern "C" {
#include "parallel/process_abi.h"
}

int main(int argc, char **argv) {
  return pg_process_main(argc, argv);
}
