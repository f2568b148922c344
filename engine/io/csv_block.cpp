// Parsing blocks of records one cell after the other: every syntax there is. csv_simd.cpp does regular blocks faster.
#include "io/csv_block.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace perigee::io::csv {

int32_t type_of(uint8_t kinds) {
  if (kinds & has_text || (kinds & has_bool && kinds != has_bool))
    return text_type;
  if (kinds == has_bool)
    return PG_BOOL;
  return kinds == has_int ? PG_INT64 : PG_FLOAT64; // a column of missing cells alone, or of none, is float64
}
Store store_of(int32_t type) {
  switch (type) {
  case PG_BOOL:
    return Store::boolean;
  case PG_FLOAT32:
    return Store::float32;
  case PG_FLOAT64:
    return Store::float64;
  case PG_UINT64:
    return Store::uint64;
  case text_type:
    return Store::text;
  default:
    return Store::int64;
  }
}

bool limits_of(int32_t type, int64_t &low, int64_t &high) {
  const auto set = [&]<class T>(T) {
    low = std::numeric_limits<T>::min();
    high = std::numeric_limits<T>::max();
    return true;
  };
  switch (type) {
  case PG_INT8:
    return set(int8_t{});
  case PG_INT16:
    return set(int16_t{});
  case PG_INT32:
    return set(int32_t{});
  case PG_UINT8:
    return set(uint8_t{});
  case PG_UINT16:
    return set(uint16_t{});
  case PG_UINT32:
    return set(uint32_t{});
  case PG_INT64:
    return set(int64_t{});
  default:
    return false;
  }
}
std::string_view stripped(std::string_view s) {
  while (!s.empty() && is_space(s.front()))
    s.remove_prefix(1);
  while (!s.empty() && is_space(s.back()))
    s.remove_suffix(1);
  return s;
}

// Integer of the whole text: 1 yes, 0 no, -1 an integer beyond int64.
int whole_int(std::string_view s, int64_t &value) {
  const bool minus = !s.empty() && s[0] == '-';
  if (!s.empty() && (s[0] == '-' || s[0] == '+'))
    s.remove_prefix(1);
  if (s.empty())
    return 0;
  uint64_t v = 0;
  bool over = false;
  for (char c : s) {
    const unsigned digit = static_cast<unsigned char>(c) - '0';
    if (digit > 9)
      return 0;
    over = over || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v);
  }
  if (over || v > static_cast<uint64_t>(INT64_MAX) + minus)
    return -1;
  value = static_cast<int64_t>(minus ? 0 - v : v);
  return 1;
}

bool whole_uint(std::string_view s, uint64_t &value) {
  if (!s.empty() && s[0] == '+')
    s.remove_prefix(1);
  const auto end = s.data() + s.size();
  const auto result = std::from_chars(s.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}
bool whole_bool(std::string_view s, bool &value) {
  if (s == "True" || s == "true" || s == "TRUE")
    return value = true;
  value = false;
  return s == "False" || s == "false" || s == "FALSE";
}

uint8_t kind_of(std::string_view cell, const Syntax &syntax) {
  if (syntax.missing(cell))
    return has_missing;
  const std::string_view s = stripped(cell);
  if (syntax.missing(s))
    return has_missing;
  int64_t i;
  double d;
  bool b;
  const int integer = whole_int(s, i);
  if (integer != 0)
    return integer > 0 ? has_int : has_float;
  if (whole_float(s, syntax.decimal, d))
    return has_float;
  return whole_bool(s, b) ? has_bool : has_text;
}

const char *legal(int32_t type) {
  switch (type) {
  case PG_BOOL:
    return "true or false (also True, TRUE, False, FALSE)";
  case PG_FLOAT32:
  case PG_FLOAT64:
    return "a number, or a spelling of a missing value";
  case PG_UINT64:
    return "an integer from 0 to 2^64 - 1";
  case PG_INT64:
    return "an integer from -2^63 to 2^63 - 1";
  case PG_INT32:
    return "an integer from -2147483648 to 2147483647";
  case PG_UINT32:
    return "an integer from 0 to 4294967295";
  case PG_INT16:
    return "an integer from -32768 to 32767";
  case PG_UINT16:
    return "an integer from 0 to 65535";
  case PG_INT8:
    return "an integer from -128 to 127";
  default:
    return "an integer from 0 to 255";
  }
}

void BlockParser::parse() {
  const char *p = block_.begin, *const end = block_.end;
  block_.rows = 0;
  block_.problem = {};
  for (auto &column : block_.columns)
    column.clear();
  const auto count = static_cast<int32_t>(plans_.size());
  while (p < end && block_.rows < block_.limit) {
    if (syntax_.runs || *p == '\n' || *p == '\r' || *p == ' ' || *p == '\t' || is_comment(*p)) {
      const char *q = p;
      while (is_space(*q) && (syntax_.runs || *q != syntax_.delimiter))
        ++q;
      if (*q == '\n' || (*q == '\r' && q[1] == '\n') || is_comment(*q)) { // an empty line, or a comment
        p = next_line(q);
        continue;
      }
      if (syntax_.runs)
        p = q;
    }
    const char *const start = p;
    for (int32_t c = 0; c < count; ++c) {
      if (!cell(p, c))
        return;
      if (c + 1 < count) {
        if (at_delimiter(p)) {
          pass_delimiter(p);
          if (!syntax_.runs || !at_end(p))
            continue;
        }
        if (!short_record(p, start, c + 1))
          return;
        break;
      }
    }
    if (syntax_.runs)
      while (is_space(*p))
        ++p;
    if (!at_end(p)) {
      fail(start, -1,
           count == 1 ? "this record has more than the one cell of the first; is " + delimiter_text() +
                            " what divides cells? {delimiter = ...} says otherwise"
                      : "this record has more cells than the " + std::to_string(count) + " of the first");
      return;
    }
    p = next_line(p);
    ++block_.rows;
  }
}

bool BlockParser::at_delimiter(const char *p) const {
  return syntax_.runs ? is_space(*p) : static_cast<unsigned char>(*p) == syntax_.delimiter;
}

bool BlockParser::at_stop(const char *p) const {
  const unsigned char c = static_cast<unsigned char>(*p);
  return syntax_.stops[c] && (c != '\r' || p[1] == '\n');
}

void BlockParser::pass_delimiter(const char *&p) const {
  ++p;
  if (syntax_.runs)
    while (is_space(*p))
      ++p;
}

const char *BlockParser::next_line(const char *p) const {
  return *p == '\n' ? p + 1
                    : static_cast<const char *>(std::memchr(p, '\n', static_cast<std::size_t>(block_.end - p))) + 1;
}

void BlockParser::fail(const char *at, int32_t column, std::string text) {
  block_.problem = {at - block_.begin, column, std::move(text)};
}

std::string BlockParser::delimiter_text() const {
  return syntax_.runs ? "whitespace" : show_byte(static_cast<unsigned char>(syntax_.delimiter));
}

bool BlockParser::short_record(const char *p, const char *start, int32_t cells) {
  if (!syntax_.fill) {
    fail(start, -1,
         "this record has " + std::to_string(cells) + " of the " + std::to_string(plans_.size()) +
             " cells of the first; {fill = true} makes the rest missing");
    return false;
  }
  for (auto c = static_cast<std::size_t>(cells); c < plans_.size(); ++c)
    if (plans_[c].store != Store::skip && !absent(p, static_cast<int32_t>(c)))
      return false;
  return true;
}

bool BlockParser::cell(const char *&p, int32_t c) {
  const ColumnPlan &plan = plans_[static_cast<std::size_t>(c)];
  BlockColumn &column = block_.columns[static_cast<std::size_t>(c)];
  switch (plan.store) {
  case Store::float64:
    if (!syntax_.plain_numbers || column.refuted)
      break;
    {
      double value;
      const auto result = fast_float::from_chars_advanced(
          p, block_.end, value, fast_float::parse_options(fast_float::chars_format::general, syntax_.decimal));
      if (result.ec == std::errc() && at_stop(result.ptr)) {
        column.put(block_.rows, value);
        p = result.ptr;
        return true;
      }
    }
    break;
  case Store::int64:
    if (!syntax_.plain_numbers || column.refuted)
      break;
    {
      const char *q = p;
      const bool minus = *q == '-';
      q += minus;
      const char *const digits = q;
      uint64_t value = 0;
      for (unsigned digit; (digit = static_cast<unsigned char>(*q) - '0') <= 9; ++q)
        value = value * 10 + digit;
      if (q > digits && q - digits <= 18 && at_stop(q)) {
        const auto number = static_cast<int64_t>(minus ? 0 - value : value);
        if (number < plan.low || number > plan.high)
          break;
        column.put(block_.rows, number);
        p = q;
        return true;
      }
    }
    break;
  default:
    break;
  }
  const char *const start = p;
  std::string_view text;
  if (!cut(p, text))
    return false;
  return plan.store == Store::skip || put(start, text, c, plan, column);
}

bool BlockParser::cut(const char *&p, std::string_view &text) {
  const char *begin = p;
  if (syntax_.trim)
    while (is_space(*begin) && !at_stop(begin))
      ++begin;
  if (static_cast<unsigned char>(*begin) != syntax_.quote) {
    const char *q = begin;
    while (!at_stop(q))
      ++q;
    p = q;
    text = {begin, static_cast<std::size_t>(q - begin)};
    if (syntax_.trim)
      text = stripped(text);
    return true;
  }
  // Quoted: up to the closing quote; two quotes are one. What follows before the delimiter belongs to it, unquoted.
  const char quote = *begin;
  const char *q = begin + 1;
  const char *run = q;
  bool copied = false;
  for (;;) {
    const auto *close = static_cast<const char *>(std::memchr(q, quote, static_cast<std::size_t>(block_.end - q)));
    if (!close) {
      fail(begin, -1, "a quoted cell begins here and has no closing quote");
      return false;
    }
    if (close[1] == quote && close + 1 < block_.end) {
      if (!copied)
        scratch_.clear();
      copied = true;
      scratch_.append(run, close + 1);
      run = q = close + 2;
      continue;
    }
    q = close;
    break;
  }
  const char *after = q + 1;
  if (syntax_.trim)
    while (is_space(*after) && !at_stop(after))
      ++after;
  if (!copied && at_stop(after)) {
    text = {run, static_cast<std::size_t>(q - run)};
    p = after;
    return true;
  }
  if (!copied)
    scratch_.clear();
  scratch_.append(run, q);
  for (; !at_stop(after); ++after)
    scratch_ += *after;
  text = scratch_;
  p = after;
  return true;
}

void BlockParser::refute(BlockColumn &column, std::string_view text) {
  column.refuted = true;
  column.kinds |= kind_of(text, syntax_);
}

bool BlockParser::absent(const char *at, int32_t c) {
  const ColumnPlan &plan = plans_[static_cast<std::size_t>(c)];
  BlockColumn &column = block_.columns[static_cast<std::size_t>(c)];
  if (column.refuted)
    column.kinds |= has_missing;
  else if (plan.store == Store::float64)
    column.put(block_.rows, std::numeric_limits<double>::quiet_NaN());
  else if (plan.store == Store::float32)
    column.put(block_.rows, std::numeric_limits<float>::quiet_NaN());
  else if (plan.store == Store::text)
    column.codes.push_back(-1);
  else if (plan.fixed) {
    fail(at, c,
         std::string("it is missing, which ") + array::dtype_name(plan.type) +
             " cannot hold; expected: " + legal(plan.type));
    return false;
  } else {
    refute(column, {});
    column.kinds |= has_missing;
  }
  return true;
}

bool BlockParser::put(const char *at, std::string_view text, int32_t c, const ColumnPlan &plan, BlockColumn &column) {
  if (column.refuted) {
    column.kinds |= kind_of(text, syntax_);
    return true;
  }
  if (syntax_.missing(text))
    return absent(at, c);
  if (plan.store == Store::text) {
    column.codes.push_back(intern(text, column));
    return true;
  }
  const std::string_view s = stripped(text);
  if (s.size() != text.size() && syntax_.missing(s))
    return absent(at, c);
  switch (plan.store) {
  case Store::float64: {
    double value;
    if (whole_float(s, syntax_.decimal, value)) {
      column.put(block_.rows, value);
      return true;
    }
    break;
  }
  case Store::float32: {
    float value;
    if (whole_float(s, syntax_.decimal, value)) {
      column.put(block_.rows, value);
      return true;
    }
    break;
  }
  case Store::int64: {
    int64_t value;
    if (whole_int(s, value) == 1 && value >= plan.low && value <= plan.high) {
      column.put(block_.rows, value);
      return true;
    }
    break;
  }
  case Store::uint64: {
    uint64_t value;
    if (whole_uint(s, value)) {
      column.put(block_.rows, value);
      return true;
    }
    break;
  }
  default: {
    bool value;
    if (whole_bool(s, value) || (plan.fixed && (s == "0" || s == "1"))) {
      column.put(block_.rows, static_cast<uint8_t>(value || s == "1"));
      return true;
    }
  }
  }
  if (plan.fixed) {
    fail(at, c,
         show_text(text) + " is not of dtype " + array::dtype_name(plan.type) + "; expected: " + legal(plan.type) +
             (plans_.size() == 1 && s.find_first_of(";,|\t ") != s.npos
                  ? "; is " + delimiter_text() + " what divides cells? {delimiter = ...} says otherwise"
                  : ""));
    return false;
  }
  refute(column, text);
  return true;
}

} // namespace perigee::io::csv
