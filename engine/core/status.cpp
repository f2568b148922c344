#include "core/status.hpp"

#include <cstring>

namespace perigee {

// A fixed buffer: keeping the message of an out-of-memory error must not allocate.
static thread_local char last_message[4096] = "";

pg_status set_last_error(pg_status status, const char *message) noexcept {
  std::strncpy(last_message, message, sizeof last_message - 1);
  return status;
}

} // namespace perigee

extern "C" const char *pg_last_message(void) { return perigee::last_message; }
extern "C" void pg_set_last_message(const char *message) { perigee::set_last_error(PG_OK, message); }
extern "C" const char *pg_version(void) { return PERIGEE_VERSION; }
