// JSON read to a list of tokens, and values as JSON.
#pragma once

#include "io/io.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "io/io_abi.h"
}
#pragma GCC visibility pop

namespace perigee::io {

/// A document as tokens (see enum pg_io_json_kind).
class JsonDocument {
 public:
  JsonDocument(Source &&source, int depth, bool arrays);
  Pool<pg_io_json_token> tokens;
  Pool<char> bytes;
  Pool<double> numbers;
  Pool<int64_t> lengths;
};

void json_string(Pool<char> &to, std::string_view text);
void json_array(Pool<char> &to, const pg_array &a, bool nan);

} // namespace perigee::io
