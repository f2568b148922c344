// Reading tables of separated values.
#pragma once

#include "io/io.hpp"

#include <memory>
#include <span>

namespace perigee::io {

inline constexpr int32_t infer_type = -1, text_type = 100; // beside enum pg_dtype

/// Bytes that mean something; -1 for none. A delimiter of -2 is runs of spaces and tabs.
struct CsvOptions {
  int delimiter = ',', quote = '"', comment = -1, decimal = '.';
  bool header = true, trim = false, fill = false;
  int64_t skip_rows = 0, max_rows = -1;
  std::vector<std::string> missing;
};

struct CsvColumn {
  int32_t type = infer_type; // after reading: enum pg_dtype or text_type
  array::Array values;       // of type; of text int32: row i is unique number values[i], -1 where it is missing
  // Unique number k ends at ends[k] in bytes.
  Pool<int64_t> ends;
  Pool<char> bytes;
};

class CsvReader {
 public:
  /// Opens, skips rows and reads the header. Without a header the first row gives the number of columns.
  CsvReader(Source &&source, const CsvOptions &options);
  ~CsvReader();
  const std::vector<std::string> &names() const;
  /// Reads the columns `which` (from 0, each once) as `types`.
  void read(std::span<const int32_t> which, std::span<const int32_t> types, int32_t *collect);
  /// Reads the columns `which` as one row-major array of `dtype`.
  array::Array read_matrix(std::span<const int32_t> which, int32_t dtype, int32_t *collect);
  int64_t rows() const;
  CsvColumn &column(std::size_t i);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace perigee::io
