// Errors inside the engine, and how they leave it: C++ exceptions inside a module, a pg_status with a message kept per
// thread outside. The three kinds a user sees are ArgumentError (yours), UnsupportedError (not supported: say what to
// use instead) and InternalError (ours).
#pragma once

#include "core/abi.hpp"

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace perigee {

class Error : public std::runtime_error {
public:
  Error(pg_status status, const std::string &message) : std::runtime_error(message), status(status) {}
  const pg_status status;
};

struct ArgumentError : Error {
  explicit ArgumentError(const std::string &m) : Error(PG_ERROR_ARGUMENT, m) {}
};
struct UnsupportedError : Error {
  explicit UnsupportedError(const std::string &m) : Error(PG_ERROR_UNSUPPORTED, m) {}
};
struct InternalError : Error {
  explicit InternalError(const std::string &m) : Error(PG_ERROR_INTERNAL, m) {}
};
struct MemoryError : Error {
  explicit MemoryError(const std::string &m) : Error(PG_ERROR_MEMORY, m) {}
};
struct FileError : Error {
  explicit FileError(const std::string &m) : Error(PG_ERROR_FILE, m) {}
};

// Keeps `message` for pg_last_message on this thread and returns `status`.
pg_status set_last_error(pg_status status, const char *message) noexcept;

// Reports an ABI function to those who watch operations (operations.hpp).
class Reported {
public:
  explicit Reported(const char *function) : watched_(operations_watched()) {
    if (watched_)
      pg_operation_begin(function);
  }
  ~Reported() {
    if (watched_)
      pg_operation_end();
  }
  Reported(const Reported &) = delete;

private:
  bool watched_;
};

// Runs the body of an ABI function: nothing throws through the C ABI.
template <class Body> pg_status guard(Body &&body, const char *function = __builtin_FUNCTION()) noexcept {
  const Reported reported(function);
  try {
    std::forward<Body>(body)();
    return PG_OK;
  } catch (const Error &e) {
    return set_last_error(e.status, e.what());
  } catch (const std::bad_alloc &) {
    return set_last_error(PG_ERROR_MEMORY, "this machine has no memory left");
  } catch (const std::exception &e) {
    return set_last_error(PG_ERROR_INTERNAL, e.what());
  } catch (...) {
    return set_last_error(PG_ERROR_INTERNAL, "unknown exception");
  }
}

} // namespace perigee
