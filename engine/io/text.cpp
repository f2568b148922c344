// Text: files in pieces and lines, and numbers and tables as text.
#include "io/text.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <complex>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace perigee::io {

TextReader::TextReader(const std::string &path, int64_t block) : path_(path), block_(block) {
  if (path_.find('\0') != std::string::npos)
    throw FileError("a path cannot hold a zero byte");
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (descriptor_ < 0)
    throw FileError("cannot open '" + path_ + "': " + why_not_opened(path_));
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw FileError("cannot read '" + path_ + "': it is a folder");
  }
}

TextReader::~TextReader() {
  ::close(descriptor_);
}

std::size_t TextReader::fill(char *to, std::size_t n) {
  std::size_t filled = 0;
  while (filled < n && !end_) {
    const ssize_t got = ::read(descriptor_, to + filled, n - filled);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      throw FileError("cannot read '" + path_ + "': " + std::strerror(errno));
    end_ = got == 0;
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

std::string_view TextReader::block() {
  const auto size = static_cast<std::size_t>(block_);
  buffer_.reserve(size);
  return {buffer_.data(), fill(buffer_.data(), size)};
}

bool TextReader::line(std::string_view &line, int64_t longest) {
  std::size_t searched = at_;
  for (;;) {
    const char *begin = buffer_.data() + at_;
    const auto *stop =
        searched == buffer_.size()
            ? nullptr
            : static_cast<const char *>(std::memchr(buffer_.data() + searched, '\n', buffer_.size() - searched));
    const auto length = static_cast<std::size_t>(stop ? stop - begin : buffer_.data() + buffer_.size() - begin);
    if (static_cast<int64_t>(length) > longest)
      throw FileError(path_ + ": line " + std::to_string(lines_ + 1) + " is longer than " + std::to_string(longest) +
                      " bytes; read the file with io.blocks, or raise {longest = ...}");
    if (stop || (end_ && length > 0)) {
      line = {begin, length};
      at_ += length + (stop ? 1 : 0);
      if (!line.empty() && line.back() == '\r')
        line.remove_suffix(1);
      ++lines_;
      return true;
    }
    if (end_)
      return false;
    // The line's beginning moves to the front, and a piece is read behind it.
    if (at_ > 0 && length > 0)
      std::memmove(buffer_.data(), begin, length);
    at_ = 0;
    searched = length;
    buffer_.truncate(length);
    buffer_.reserve(length + static_cast<std::size_t>(block_));
    buffer_.extend(fill(buffer_.data() + length, static_cast<std::size_t>(block_)));
  }
}

namespace {

template <class T> char *put_float(char *to, T value, bool point) {
  if (std::isnan(value)) // to_chars would write a sign
    return std::copy_n("nan", 3, to);
  char *end = std::to_chars(to, to + 32, value).ptr;
  if (point && std::isfinite(value) && std::none_of(to, end, [](char c) { return c == '.' || c == 'e'; }))
    end = std::copy_n(".0", 2, end);
  return end;
}

template <class T> T load(const void *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T> char *put_integer(char *to, const void *at) {
  return std::to_chars(to, to + 32, load<T>(at)).ptr;
}

template <class T> char *put_complex(char *to, const void *at) {
  const auto value = load<std::complex<T>>(at);
  to = put_float(to, value.real(), false);
  if (!std::signbit(value.imag()) || std::isnan(value.imag()))
    *to++ = '+';
  to = put_float(to, value.imag(), false);
  *to++ = 'j';
  return to;
}

bool is_nan(const void *at, int32_t dtype) {
  return dtype == PG_FLOAT64 ? std::isnan(load<double>(at)) : dtype == PG_FLOAT32 && std::isnan(load<float>(at));
}

// Rows go out in pieces of about this size.
constexpr std::size_t piece = 1 << 16;

} // namespace

char *put_number(char *to, double value) {
  // Integers in full: 100000, for which the shortest form is 1e+05.
  if (std::abs(value) < 9007199254740992.0 && value == std::trunc(value) && (value != 0 || !std::signbit(value)))
    return std::to_chars(to, to + 32, static_cast<int64_t>(value)).ptr;
  return put_float(to, value, false);
}

char *put_element(char *to, const void *at, int32_t dtype) {
  switch (dtype) {
  case PG_BOOL: {
    const bool value = *static_cast<const uint8_t *>(at) != 0;
    return value ? std::copy_n("True", 4, to) : std::copy_n("False", 5, to);
  }
  case PG_UINT8:
    return put_integer<uint8_t>(to, at);
  case PG_UINT16:
    return put_integer<uint16_t>(to, at);
  case PG_UINT32:
    return put_integer<uint32_t>(to, at);
  case PG_UINT64:
    return put_integer<uint64_t>(to, at);
  case PG_INT8:
    return put_integer<int8_t>(to, at);
  case PG_INT16:
    return put_integer<int16_t>(to, at);
  case PG_INT32:
    return put_integer<int32_t>(to, at);
  case PG_INT64:
    return put_integer<int64_t>(to, at);
  case PG_FLOAT32:
    return put_float(to, load<float>(at), true);
  case PG_FLOAT64:
    return put_float(to, load<double>(at), true);
  case PG_COMPLEX64:
    return put_complex<float>(to, at);
  case PG_COMPLEX128:
    return put_complex<double>(to, at);
  default:
    throw InternalError("an element of dtype " + std::to_string(dtype) + " cannot be written");
  }
}

void write_csv(Sink &to, std::span<const CsvOutColumn> columns, int64_t rows, char delimiter, char quote,
               std::string_view missing) {
  std::string out;
  char number[128];
  for (int64_t r = 0; r < rows; ++r) {
    const std::size_t line = out.size();
    for (std::size_t c = 0; c < columns.size(); ++c) {
      if (c > 0)
        out += delimiter;
      const CsvOutColumn &column = columns[c];
      if (column.values) {
        const pg_array &a = *column.values;
        const char *at = static_cast<const char *>(a._data) +
                         r * a._strides[0] * static_cast<int64_t>(array::element_size(a._dtype));
        if (is_nan(at, a._dtype))
          out += missing;
        else
          out.append(number, put_element(number, at, a._dtype));
        continue;
      }
      const auto end_of = [&](int64_t i) {
        return i < 0 ? 0 : column.ends[i] < 0 ? -1 - column.ends[i] : column.ends[i];
      };
      if (column.ends[r] < 0) {
        out += missing;
        continue;
      }
      const std::string_view text(column.bytes + end_of(r - 1), static_cast<std::size_t>(end_of(r) - end_of(r - 1)));
      const bool plain = std::none_of(text.begin(), text.end(),
                                      [&](char x) { return x == delimiter || x == quote || x == '\n' || x == '\r'; });
      if (plain) {
        out += text;
        continue;
      }
      out += quote;
      for (char x : text) {
        if (x == quote)
          out += quote;
        out += x;
      }
      out += quote;
    }
    if (out.size() == line) // an empty line would be no row
      out.append(2, quote);
    out += '\n';
    if (out.size() >= piece) {
      to.write(out.data(), out.size());
      out.clear();
    }
  }
  to.write(out.data(), out.size());
}

void write_matrix(Sink &to, const pg_array &a, char delimiter, std::string_view missing) {
  std::string out;
  char number[128];
  const auto size = static_cast<int64_t>(array::element_size(a._dtype));
  for (int64_t r = 0; r < a._shape[0]; ++r) {
    const char *at = static_cast<const char *>(a._data) + r * a._strides[0] * size;
    const std::size_t line = out.size();
    for (int64_t c = 0; c < a._shape[1]; ++c, at += a._strides[1] * size) {
      if (c > 0)
        out += delimiter;
      if (is_nan(at, a._dtype))
        out += missing;
      else
        out.append(number, put_element(number, at, a._dtype));
    }
    if (out.size() == line)
      out.append("\"\"");
    out += '\n';
    if (out.size() >= piece) {
      to.write(out.data(), out.size());
      out.clear();
    }
  }
  to.write(out.data(), out.size());
}

} // namespace perigee::io
