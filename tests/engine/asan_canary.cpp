// One fault of each kind that the preset asan is for. Each must be reported and end the program: else what it says of
// the tests is worth nothing.
#include "array/array.hpp"
#include "core/status.hpp"

#include <climits>
#include <cstdio>
#include <cstring>

using namespace perigee;

int main(int argc, char **argv) {
  const char *kind = argc > 1 ? argv[1] : "";
  const int64_t three[] = {3};
  array::Array a = array::create(PG_INT32, three);
  volatile int32_t *elements = static_cast<int32_t *>(a.get()->_data);
  volatile int behind = 3, most = INT_MAX;
  if (!std::strcmp(kind, "overrun"))
    elements[behind] = 1; // the memory of arrays is told apart, as malloc's is
  else if (!std::strcmp(kind, "freed")) {
    a = {};
    elements[0] = 1;
  } else if (!std::strcmp(kind, "undefined"))
    most = most + 1;
  else if (!std::strcmp(kind, "leak"))
    *new volatile int[100] = 1;
  if (std::strcmp(kind, "leak")) // which is seen at the end
    std::puts("went on");
}
