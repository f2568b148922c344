// Text in pieces and lines; numbers and tables as text.
#pragma once

#include "io/io.hpp"

#include <span>

namespace perigee::io {

/// A file, pipe or device read in pieces, with memory for one piece and the longest line.
class TextReader {
 public:
  TextReader(const std::string &path, int64_t block);
  TextReader(const TextReader &) = delete;
  ~TextReader();
  /// The next piece, of the size asked for but for the last; empty at the end. Lives until the next call.
  std::string_view block();
  /// The next line without LF or CRLF; false at the end. A line of more than `longest` bytes is an error.
  bool line(std::string_view &line, int64_t longest);

 private:
  std::size_t fill(char *to, std::size_t n);
  std::string path_;
  int descriptor_ = -1;
  int64_t block_, lines_ = 0;
  std::size_t at_ = 0; // of the next line in buffer_
  bool end_ = false;
  Pool<char> buffer_;
};

/// Collects text in memory.
class TextSink : public Sink {
 public:
  void write(const void *bytes, std::size_t n) override { text.append(static_cast<const char *>(bytes), n); }
  Pool<char> text;
};

/// Writes a number of Lua to at least 32 bytes; returns its end: integers up to 2^53 in full, others in the shortest
/// form that reads as the same number.
char *put_number(char *to, double value);
/// Writes element `at` of an array (complex ones as 1+2j, in 64 bytes). Floats in the shortest form, with ".0" where
/// they would look like integers.
char *put_element(char *to, const void *at, int32_t dtype);

struct CsvOutColumn {
  const pg_array *values;
  const char *bytes;
  const int64_t *ends; // of row r; -1 - end where missing
};
void write_csv(Sink &to, std::span<const CsvOutColumn> columns, int64_t rows, char delimiter, char quote,
               std::string_view missing);
void write_matrix(Sink &to, const pg_array &a, char delimiter, std::string_view missing);

} // namespace perigee::io
