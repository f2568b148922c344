// Tables of separated values (RFC 4180 and its relatives), read in waves of a few MiB: a wave is read, cut into blocks
// at ends of records, its blocks are parsed in parallel into columns of their own, and these are appended in order.
// Numbers are parsed where they stand (fast_float); only cells that are no plain number are cut out first. Neither the
// result nor an error depends on the number of threads: cuts depend on the file alone.
//
// Types are inferred from all cells: bool or int64 or float64 where every cell is one, else text. The first rows give a
// guess; a wave that refutes it is parsed again for that column, and where earlier waves' text is needed (a number
// column that turns out to be text), the file is read once more at the end for such columns.
#include "io/csv.hpp"

#include "core/threads.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fast_float/fast_float.h>
#include <limits>

namespace perigee::io {
namespace {

constexpr int64_t block_bytes = 256 << 10, wave_blocks = 16, wave_bytes = block_bytes * wave_blocks;
constexpr int64_t padding = 64;           // after a wave: the parser may look ahead
constexpr int32_t most_columns = 1 << 16; // each has state in every block
constexpr std::size_t longest_name = 1 << 16;

// What kinds of cells a column holds.
enum Kinds : uint8_t { has_int = 1, has_float = 2, has_bool = 4, has_missing = 8, has_text = 16 };

int32_t type_of(uint8_t kinds) {
  if (kinds & has_text || (kinds & has_bool && kinds != has_bool))
    return text_type;
  if (kinds == has_bool)
    return PG_BOOL;
  return kinds == has_int ? PG_INT64 : PG_FLOAT64; // a column of missing cells alone, or of none, is float64
}

// How a column's cells are kept while it is parsed.
enum class Store : uint8_t { skip, int64, uint64, float32, float64, boolean, text };

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

// The spellings of missing cells, behind a filter that turns nearly every other cell away.
class Missing {
 public:
  void set(const std::vector<std::string> &spellings) {
    for (const std::string &s : spellings) {
      longest_ = std::max(longest_, s.size());
      if (s.empty())
        empty_ = true;
      else
        first_[static_cast<unsigned char>(s[0])] |= s.size() < 64 ? uint64_t{1} << s.size() : 1;
      words_.push_back(s);
    }
  }
  bool operator()(std::string_view cell) const {
    if (cell.empty())
      return empty_;
    if (cell.size() > longest_ ||
        !(first_[static_cast<unsigned char>(cell[0])] & (cell.size() < 64 ? uint64_t{1} << cell.size() : 1)))
      return false;
    return std::find(words_.begin(), words_.end(), cell) != words_.end();
  }
  const std::vector<std::string> &words() const { return words_; }

 private:
  uint64_t first_[256] = {};
  std::size_t longest_ = 0;
  bool empty_ = false;
  std::vector<std::string> words_;
};

struct Syntax {
  int delimiter = ',', quote = '"', comment = -1;
  char decimal = '.';
  bool runs = false, trim = false, fill = false; // runs: of spaces and tabs
  bool plain_numbers = true;                     // no spelling of a missing cell is a number
  uint8_t stops[256] = {};                       // bytes at which an unquoted cell ends
  Missing missing;
};

bool is_space(char c) {
  return c == ' ' || c == '\t';
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

template <class T> bool whole_float(std::string_view s, char decimal, T &value) {
  if (!s.empty() && s[0] == '+') {
    s.remove_prefix(1);
    if (!s.empty() && s[0] == '-')
      return false;
  }
  const auto end = s.data() + s.size();
  const auto result = fast_float::from_chars_advanced(
      s.data(), end, value, fast_float::parse_options(fast_float::chars_format::general, decimal));
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

struct Problem {
  int64_t offset = -1; // in the block
  int32_t column = 0;  // from 0; -1: the record as a whole
  std::string text;    // "'abc' is not ..."
};

// One column's cells of one block.
struct BlockColumn {
  std::vector<char> values; // int64, uint64, float, double or uint8
  std::vector<int32_t> codes;
  std::vector<int64_t> ends;
  std::vector<char> bytes;
  std::vector<int32_t> table; // hash -> unique number + 1
  uint8_t kinds = 0;          // only of a column that was refuted
  bool refuted = false;

  void clear() {
    codes.clear(); // values keep their size: rows say how many count
    ends.clear();
    bytes.clear();
    table.clear();
    kinds = 0;
    refuted = false;
  }
  template <class T> void put(int64_t row, T value) {
    const std::size_t at = static_cast<std::size_t>(row) * sizeof(T);
    if (at + sizeof(T) > values.size())
      values.resize(std::max(at + sizeof(T), values.size() * 2 + 64));
    std::memcpy(values.data() + at, &value, sizeof(T));
  }
  // The number of a text among those of this block, so that Lua makes each string once. Texts that collide push each
  // other out and get several numbers, which costs a little time later and nothing else.
  int32_t intern(std::string_view cell, int bits) {
    if (table.empty())
      table.assign(std::size_t{1} << bits, 0);
    uint64_t hash = cell.size() * 0x9e3779b97f4a7c15u;
    std::size_t n = cell.size();
    const char *p = cell.data();
    for (; n >= 8; n -= 8, p += 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      hash = (hash ^ word) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    }
    uint64_t word = 0;
    std::memcpy(&word, p, n);
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    int32_t &slot = table[hash >> (64 - bits)];
    if (slot != 0) {
      const auto k = static_cast<std::size_t>(slot - 1);
      const int64_t begin = k == 0 ? 0 : ends[k - 1];
      if (static_cast<std::size_t>(ends[k] - begin) == cell.size() &&
          std::memcmp(bytes.data() + begin, cell.data(), cell.size()) == 0)
        return slot - 1;
    }
    bytes.insert(bytes.end(), cell.begin(), cell.end());
    ends.push_back(static_cast<int64_t>(bytes.size()));
    slot = static_cast<int32_t>(ends.size());
    return slot - 1;
  }
};

struct ColumnPlan {
  Store store = Store::skip;
  int32_t type = infer_type; // what is stored
  bool fixed = false;        // asked for: a cell that does not fit is an error
  int64_t low = 0, high = 0; // of integers
};

struct Block {
  const char *begin = nullptr, *end = nullptr;
  int64_t rows = 0, limit = INT64_MAX; // limit: of rows
  std::vector<BlockColumn> columns;
  Problem problem;
};

class BlockParser {
 public:
  BlockParser(const Syntax &syntax, const std::vector<ColumnPlan> &plans, Block &block)
      : syntax_(syntax), plans_(plans), block_(block) {
    // 8 KiB a text column, less where there are many columns: tables are made anew for every block.
    while (table_bits_ > 0 && (plans.size() << table_bits_) > (std::size_t{1} << 16))
      --table_bits_;
  }

  void parse() {
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
        fail(start, -1, "this record has more cells than the " + std::to_string(count) + " of the first");
        return;
      }
      p = next_line(p);
      ++block_.rows;
    }
  }

 private:
  bool is_comment(char c) const { return static_cast<unsigned char>(c) == syntax_.comment; }
  bool at_delimiter(const char *p) const {
    return syntax_.runs ? is_space(*p) : static_cast<unsigned char>(*p) == syntax_.delimiter;
  }
  bool at_end(const char *p) const { return *p == '\n' || (*p == '\r' && p[1] == '\n') || is_comment(*p); }
  bool at_stop(const char *p) const {
    const unsigned char c = static_cast<unsigned char>(*p);
    return syntax_.stops[c] && (c != '\r' || p[1] == '\n');
  }
  void pass_delimiter(const char *&p) const {
    ++p;
    if (syntax_.runs)
      while (is_space(*p))
        ++p;
  }
  const char *next_line(const char *p) const {
    return *p == '\n' ? p + 1
                      : static_cast<const char *>(std::memchr(p, '\n', static_cast<std::size_t>(block_.end - p))) + 1;
  }
  void fail(const char *at, int32_t column, std::string text) {
    block_.problem = {at - block_.begin, column, std::move(text)};
  }

  bool short_record(const char *p, const char *start, int32_t cells) {
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

  // Reads the cell at p into column c and moves p to the delimiter or end after it. False: there is a problem.
  bool cell(const char *&p, int32_t c) {
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

  // The text of the cell at p, without its quotes; p moves behind it.
  bool cut(const char *&p, std::string_view &text) {
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

  void refute(BlockColumn &column, std::string_view text) {
    column.refuted = true;
    column.kinds |= kind_of(text, syntax_);
  }

  bool absent(const char *at, int32_t c) {
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

  bool put(const char *at, std::string_view text, int32_t c, const ColumnPlan &plan, BlockColumn &column) {
    if (column.refuted) {
      column.kinds |= kind_of(text, syntax_);
      return true;
    }
    if (syntax_.missing(text))
      return absent(at, c);
    if (plan.store == Store::text) {
      column.codes.push_back(column.intern(text, table_bits_));
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
           show_text(text) + " is not of dtype " + array::dtype_name(plan.type) + "; expected: " + legal(plan.type));
      return false;
    }
    refute(column, text);
    return true;
  }

  const Syntax &syntax_;
  const std::vector<ColumnPlan> &plans_;
  Block &block_;
  std::string scratch_;
  int table_bits_ = 11;
};

// Where the records of a stretch of text end. Exact: a quote opens a cell only at the cell's beginning, and what is in
// a comment counts for nothing; so quotes must be walked through from a record's beginning, but only the quotes.
class Splitter {
 public:
  explicit Splitter(const Syntax &syntax) : syntax_(syntax) {}

  // Appends to `cuts` an end of record about every block_bytes, and last the end of the last whole record in
  // [begin, end); nothing if there is none.
  void split(const char *begin, const char *end, std::vector<const char *> &cuts) const {
    next_ = begin + block_bytes;
    last_ = nullptr;
    cuts_ = &cuts;
    const char *p = begin;
    while (p < end) {
      const char *q = special(p, end);
      lines(p, q);
      if (q == end)
        break;
      if (static_cast<unsigned char>(*q) == syntax_.comment) {
        p = static_cast<const char *>(std::memchr(q, '\n', static_cast<std::size_t>(end - q)));
        if (!p)
          break;
      } else if (!opens(begin, q)) {
        p = q + 1;
      } else {
        p = closes(q + 1, end);
        if (!p)
          break;
      }
    }
    if (last_ && (cuts.empty() || cuts.back() != last_))
      cuts.push_back(last_);
  }

 private:
  // The next quote or comment byte.
  const char *special(const char *p, const char *end) const {
    const auto find = [&](int c, const char *stop) {
      const void *at = c < 0 ? nullptr : std::memchr(p, c, static_cast<std::size_t>(stop - p));
      return at ? static_cast<const char *>(at) : stop;
    };
    if (syntax_.comment < 0)
      return find(syntax_.quote, end);
    // Two bytes: in stretches, so that a rare one is not searched for to the end again and again.
    while (p < end) {
      const char *stop = end - p > 4096 ? p + 4096 : end;
      const char *at = find(syntax_.quote, find(syntax_.comment, stop));
      if (at != stop)
        return at;
      p = stop;
    }
    return end;
  }
  bool opens(const char *begin, const char *q) const {
    const char *b = q;
    if (syntax_.trim && !syntax_.runs)
      while (b > begin && is_space(b[-1]) && static_cast<unsigned char>(b[-1]) != syntax_.delimiter)
        --b;
    return b == begin || b[-1] == '\n' ||
           (syntax_.runs ? is_space(b[-1]) : static_cast<unsigned char>(b[-1]) == syntax_.delimiter);
  }
  const char *closes(const char *p, const char *end) const {
    for (;;) {
      p = static_cast<const char *>(std::memchr(p, syntax_.quote, static_cast<std::size_t>(end - p)));
      if (!p || p + 1 == end) // the second half of a doubled quote may not have been read yet
        return nullptr;
      if (static_cast<unsigned char>(p[1]) != syntax_.quote)
        return p + 1;
      p += 2;
    }
  }
  // Line feeds in [p, q) end records.
  void lines(const char *p, const char *q) const {
    while (next_ < q) {
      const char *from = std::max(p, next_ - 1);
      const auto *at = static_cast<const char *>(std::memchr(from, '\n', static_cast<std::size_t>(q - from)));
      if (!at)
        break;
      cuts_->push_back(at + 1);
      next_ = at + 1 + block_bytes;
    }
    if (const void *at = memrchr(p, '\n', static_cast<std::size_t>(q - p)))
      last_ = static_cast<const char *>(at) + 1;
  }

  const Syntax &syntax_;
  mutable const char *next_ = nullptr, *last_ = nullptr;
  mutable std::vector<const char *> *cuts_ = nullptr;
};

template <class From, class To> void convert(const char *from, char *to, int64_t n, int64_t stride) {
  for (int64_t i = 0; i < n; ++i) {
    From value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const To out = static_cast<To>(value);
    std::memcpy(to + i * stride * static_cast<int64_t>(sizeof(To)), &out, sizeof(To));
  }
}

// n kept values to elements of dtype, `stride` elements apart.
void copy_values(const char *from, int32_t dtype, void *to, int64_t n, int64_t stride) {
  auto *out = static_cast<char *>(to);
  const auto size = static_cast<int64_t>(array::element_size(dtype));
  switch (dtype) {
  case PG_INT8:
  case PG_UINT8:
    return convert<int64_t, uint8_t>(from, out, n, stride);
  case PG_INT16:
  case PG_UINT16:
    return convert<int64_t, uint16_t>(from, out, n, stride);
  case PG_INT32:
  case PG_UINT32:
    return convert<int64_t, uint32_t>(from, out, n, stride);
  case PG_BOOL:
    return convert<uint8_t, uint8_t>(from, out, n, stride);
  case PG_FLOAT32:
    return convert<uint32_t, uint32_t>(from, out, n, stride);
  default:
    if (stride == 1 && n > 0)
      std::memcpy(out, from, static_cast<std::size_t>(n * size));
    else
      convert<uint64_t, uint64_t>(from, out, n, stride);
  }
}

} // namespace

struct CsvReader::State {
  Source source;
  CsvOptions options;
  Syntax syntax;
  std::vector<std::string> names;
  int64_t body = 0; // where the records begin
  std::vector<CsvColumn> columns;
  int64_t rows = 0;

  // While reading:
  std::vector<ColumnPlan> plans; // by position in the file
  std::vector<Block> blocks;
  std::vector<char> wave;

  State(Source &&from, const CsvOptions &o) : source(std::move(from)), options(o) {}

  // "line 12": of the byte at `offset`, found by counting again; only messages need it.
  int64_t line_at(int64_t offset) const {
    int64_t line = 1;
    std::vector<char> part(std::size_t{1} << 16);
    for (int64_t at = 0; at < offset;) {
      const int64_t n = std::min<int64_t>(offset - at, static_cast<int64_t>(part.size()));
      source.read(at, part.data(), n);
      line += std::count(part.data(), part.data() + n, '\n');
      at += n;
    }
    return line;
  }
  [[noreturn]] void fail(int64_t offset, int32_t column, const std::string &text) const {
    std::string where = source.name() + ": line " + std::to_string(line_at(offset));
    if (column >= 0) {
      where += ", column " + std::to_string(column + 1);
      if (options.header)
        where += " (" + show_text(names[static_cast<std::size_t>(column)]) + ")";
    }
    throw FileError(where + ": " + text);
  }

  void prepare() {
    syntax.delimiter = options.delimiter;
    syntax.runs = options.delimiter == -2;
    syntax.quote = options.quote;
    syntax.comment = options.comment;
    syntax.decimal = static_cast<char>(options.decimal);
    syntax.trim = options.trim;
    syntax.fill = options.fill;
    syntax.missing.set(options.missing);
    for (const std::string &word : options.missing) {
      double number;
      if (whole_float<double>(stripped(word), syntax.decimal, number) && !std::isnan(number))
        syntax.plain_numbers = false;
    }
    syntax.stops[static_cast<unsigned char>('\n')] = syntax.stops[static_cast<unsigned char>('\r')] = 1;
    if (syntax.runs)
      syntax.stops[static_cast<unsigned char>(' ')] = syntax.stops[static_cast<unsigned char>('\t')] = 1;
    else
      syntax.stops[options.delimiter] = 1;
    if (options.comment >= 0)
      syntax.stops[options.comment] = 1;
  }

  void open() {
    prepare();
    unsigned char mark[3] = {};
    const int64_t size = source.size();
    source.read(0, mark, std::min<int64_t>(size, 3));
    if (size >= 2 && ((mark[0] == 0xff && mark[1] == 0xfe) || (mark[0] == 0xfe && mark[1] == 0xff)))
      throw UnsupportedError(source.name() + ": text in UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)");
    body = size >= 3 && mark[0] == 0xef && mark[1] == 0xbb && mark[2] == 0xbf ? 3 : 0;
    std::vector<char> part(std::size_t{1} << 16);
    for (int64_t left = options.skip_rows; left > 0 && body < size;) {
      const int64_t n = std::min<int64_t>(size - body, static_cast<int64_t>(part.size()));
      source.read(body, part.data(), n);
      const char *p = part.data(), *const end = p + n;
      while (p < end && left > 0) {
        const auto *at = static_cast<const char *>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
        p = at ? at + 1 : end;
        left -= at != nullptr;
      }
      body += p - part.data();
    }
    first_record();
  }

  // The first record's cells, and with a header the start of the records after it.
  void first_record() {
    const int64_t size = source.size();
    for (int64_t want = 1 << 14;; want *= 8) {
      const int64_t n = std::min(size - body, want);
      const bool all = n == size - body;
      std::vector<char> text(static_cast<std::size_t>(n + padding), '\0');
      source.read(body, text.data(), n);
      text[static_cast<std::size_t>(n)] = '\n';
      std::vector<const char *> cuts;
      Syntax lines = syntax;
      const char *p = text.data(), *const end = p + n + all;
      // Blank and comment lines before it.
      for (;;) {
        const char *q = p;
        while (q < end && is_space(*q) && (syntax.runs || *q != syntax.delimiter))
          ++q;
        if (q < end && (*q == '\n' || (*q == '\r' && q[1] == '\n') ||
                        static_cast<unsigned char>(*q) == static_cast<unsigned>(syntax.comment))) {
          const auto *at = static_cast<const char *>(std::memchr(q, '\n', static_cast<std::size_t>(end - q)));
          p = at ? at + 1 : end;
          continue;
        }
        break;
      }
      if (all && p >= text.data() + n)
        return; // no record at all
      const char *const start = p;
      std::vector<std::string> cells;
      if (record(p, end, cells)) {
        names = std::move(cells);
        if (options.header)
          body += std::min<int64_t>(p - text.data(), n);
        else
          for (std::size_t i = 0; i < names.size(); ++i)
            names[i] = "column" + std::to_string(i + 1);
        if (options.header)
          name_columns();
        return;
      }
      if (all)
        fail(body + (start - text.data()), -1, "a quoted cell in this record has no closing quote");
    }
  }

  // Cells of the record at p; false if it does not end before `end`. p moves to the next record.
  bool record(const char *&p, const char *end, std::vector<std::string> &cells) const {
    const auto is_end = [&](const char *q) {
      return *q == '\n' || (*q == '\r' && q[1] == '\n') ||
             static_cast<unsigned char>(*q) == static_cast<unsigned>(syntax.comment);
    };
    const auto is_delimiter = [&](const char *q) {
      return syntax.runs ? is_space(*q) : static_cast<unsigned char>(*q) == syntax.delimiter;
    };
    if (syntax.runs)
      while (p < end && is_space(*p))
        ++p;
    for (;;) {
      std::string cell;
      if (syntax.trim)
        while (p < end && is_space(*p) && !is_delimiter(p))
          ++p;
      if (p < end && static_cast<unsigned char>(*p) == syntax.quote) {
        for (++p;; ++p) {
          if (p >= end)
            return false;
          if (static_cast<unsigned char>(*p) == syntax.quote) {
            if (p + 1 < end && static_cast<unsigned char>(p[1]) == syntax.quote)
              ++p;
            else
              break;
          }
          cell += *p;
        }
        ++p;
      }
      while (p < end && !is_end(p) && !is_delimiter(p))
        cell += *p++;
      if (p >= end)
        return false;
      if (cell.size() > longest_name)
        cell.resize(longest_name);
      cells.push_back(syntax.trim ? std::string(stripped(cell)) : cell);
      if (cells.size() > most_columns)
        throw UnsupportedError(source.name() + ": more than 65536 columns");
      if (is_delimiter(p)) {
        ++p;
        if (syntax.runs) {
          while (p < end && is_space(*p))
            ++p;
          if (p >= end)
            return false;
        } else {
          continue;
        }
      }
      if (is_end(p)) {
        const auto *at = static_cast<const char *>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
        if (!at)
          return false;
        p = at + 1;
        return true;
      }
    }
  }

  // As pandas: a name that was there already gets ".1" and so on; one that is empty its number.
  void name_columns() {
    std::vector<std::string> sorted;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i].empty())
        names[i] = "column" + std::to_string(i + 1);
      sorted.push_back(names[i]);
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::pair<std::string, int>> seen; // of names that occur more than once
    for (std::string &name : names) {
      if (const auto range = std::equal_range(sorted.begin(), sorted.end(), name); range.second - range.first < 2)
        continue;
      auto known = std::lower_bound(seen.begin(), seen.end(), std::pair{name, 0});
      if (known == seen.end() || known->first != name) {
        seen.insert(known, {name, 0});
        continue;
      }
      name += "." + std::to_string(++known->second);
    }
  }

  // One pass over the records: parses by `plans` and hands each wave's blocks to `take`, in order, with the number of
  // bytes they are; it says whether to go on. `revise` looks at a wave before, and says whether to parse it again by
  // changed plans. With a limit of rows blocks are parsed one after the other, so that nothing behind it matters.
  template <class Revise, class Take> void pass(int64_t limit, Revise &&revise, Take &&take) {
    const int64_t size = source.size();
    int64_t base = body, filled = 0, wanted = wave_bytes; // the wave holds the `filled` bytes from `base`
    const Splitter splitter(syntax);
    std::vector<const char *> cuts;
    while (base < size) {
      const int64_t now = std::min(wanted, size - base);
      if (wave.size() < static_cast<std::size_t>(now + padding))
        wave.resize(static_cast<std::size_t>(now + padding));
      source.read(base + filled, wave.data() + filled, now - filled);
      filled = now;
      const bool last = base + filled == size;
      std::memset(wave.data() + filled, '\n', padding); // ends the last record, too
      const char *const begin = wave.data(), *const end = begin + filled + (last && begin[filled - 1] != '\n');
      cuts.clear();
      splitter.split(begin, end, cuts);
      if (last && (cuts.empty() || cuts.back() != end))
        cuts.push_back(end); // a quote that stays open: the parser reports it
      if (cuts.empty()) {
        wanted = filled + wave_bytes; // a record longer than the wave
        continue;
      }
      const std::size_t count = cuts.size();
      if (blocks.size() < count)
        blocks.resize(count);
      for (std::size_t i = 0; i < count; ++i) {
        blocks[i].begin = i == 0 ? begin : cuts[i - 1];
        blocks[i].end = cuts[i];
        blocks[i].columns.resize(plans.size());
      }
      const std::span wave_blocks(blocks.data(), count);
      do {
        int64_t left = limit;
        core::parallel_ranges(static_cast<int64_t>(count), limit == INT64_MAX ? 1 : static_cast<int64_t>(count),
                              [&](int64_t first, int64_t behind) {
                                for (int64_t i = first; i < behind; ++i) {
                                  Block &block = blocks[static_cast<std::size_t>(i)];
                                  block.limit = left;
                                  BlockParser(syntax, plans, block).parse();
                                  if (limit != INT64_MAX)
                                    left -= block.rows;
                                }
                              });
        for (const Block &block : wave_blocks)
          if (block.problem.offset >= 0)
            fail(base + (block.begin - begin) + block.problem.offset, block.problem.column, block.problem.text);
      } while (revise(wave_blocks));
      for (const Block &block : wave_blocks)
        limit -= limit == INT64_MAX ? 0 : block.rows;
      const int64_t used = std::min(cuts.back() - begin, filled);
      take(wave_blocks, base + used - body);
      if (last || limit == 0)
        return;
      std::memmove(wave.data(), wave.data() + used, static_cast<std::size_t>(filled - used));
      base += used;
      filled -= used;
      wanted = wave_bytes;
    }
  }

  // A guess at the types of the columns from the first records: what kinds of cells each holds there.
  std::vector<uint8_t> sample(const std::vector<bool> &wanted, int64_t limit) {
    std::vector<uint8_t> kinds(names.size());
    std::vector<ColumnPlan> as_text(names.size());
    for (std::size_t i = 0; i < names.size(); ++i)
      if (wanted[i])
        as_text[i] = {Store::text, text_type, true};
    const int64_t size = source.size();
    for (int64_t want = 1 << 15;; want *= 8) {
      const int64_t n = std::min(want, size - body);
      if (n == 0)
        return kinds;
      std::vector<char> text(static_cast<std::size_t>(n + padding), '\n');
      source.read(body, text.data(), n);
      const bool all = n == size - body;
      const char *const end = text.data() + n + (all && text[static_cast<std::size_t>(n - 1)] != '\n');
      std::vector<const char *> cuts;
      Splitter(syntax).split(text.data(), end, cuts);
      if (cuts.empty() && !all)
        continue;
      Block block;
      block.begin = text.data();
      block.end = cuts.empty() ? end : cuts.back();
      block.limit = limit;
      block.columns.resize(names.size());
      BlockParser(syntax, as_text, block).parse(); // problems are reported by the pass to come
      for (std::size_t i = 0; i < names.size(); ++i) {
        const BlockColumn &column = block.columns[i];
        int64_t begin = 0;
        for (int64_t stop : column.ends) {
          kinds[i] |= kind_of({column.bytes.data() + begin, static_cast<std::size_t>(stop - begin)}, syntax);
          begin = stop;
        }
        if (std::find(column.codes.begin(), column.codes.end(), -1) != column.codes.end())
          kinds[i] |= has_missing;
      }
      return kinds;
    }
  }

  static ColumnPlan plan(int32_t type, bool fixed) {
    ColumnPlan p{store_of(type), type, fixed, 0, 0};
    limits_of(type, p.low, p.high);
    return p;
  }

  // How many rows there will be, from those in the first `bytes`: exact when that is all.
  int64_t expected_rows(int64_t known, int64_t bytes) const {
    const int64_t all = source.size() - body;
    if (bytes >= all)
      return known;
    const double guess =
        1.02 * static_cast<double>(known) * static_cast<double>(all) / static_cast<double>(std::max<int64_t>(bytes, 1));
    const int64_t most = known + (all - bytes) / 2 + 1; // a record has two bytes at least
    return std::min(most, std::max(known, static_cast<int64_t>(guess) + 64));
  }

  // Room for `needed` rows in an array of (rows) or (rows, k), keeping the `kept` first.
  void grow(array::Array &a, int32_t dtype, int64_t k, int64_t needed, int64_t kept, int64_t bytes,
            int32_t *collect) const {
    if (a->_block && a->_shape[0] >= needed)
      return;
    int64_t shape[2] = {expected_rows(needed, bytes), k};
    if (options.max_rows >= 0)
      shape[0] = std::max(needed, std::min(shape[0], options.max_rows));
    array::Array larger = array::create(dtype, {shape, k > 0 ? std::size_t{2} : std::size_t{1}}, false, collect);
    if (kept > 0)
      std::memcpy(larger->_data, a->_data,
                  static_cast<std::size_t>(kept * std::max<int64_t>(k, 1)) * array::element_size(dtype));
    a = std::move(larger);
  }

  // Cuts an array to its rows. Memory behind them stays where it is little.
  void shrink(array::Array &a, int32_t dtype, int64_t k, int32_t *collect) const {
    if (a->_block && a->_shape[0] == rows)
      return;
    const auto row = static_cast<int64_t>(array::element_size(dtype)) * std::max<int64_t>(k, 1);
    if (!a->_block || (a->_shape[0] - rows) * row > (1 << 20) + rows * row / 8) {
      const int64_t shape[2] = {rows, k};
      array::Array exact = array::create(dtype, {shape, k > 0 ? std::size_t{2} : std::size_t{1}}, false, collect);
      if (rows > 0)
        std::memcpy(exact->_data, a->_data, static_cast<std::size_t>(rows * row));
      a = std::move(exact);
      return;
    }
    a.get()->_shape[0] = rows;
    a.get()->_size = rows * (k > 0 ? k : 1);
  }

  static void append_text(CsvColumn &to, const BlockColumn &from) {
    const std::size_t first = to.ends.size();
    if (first + from.ends.size() > static_cast<std::size_t>(INT32_MAX))
      throw UnsupportedError("a column of more than 2^31 different texts");
    const auto bytes = static_cast<int64_t>(to.bytes.size());
    to.bytes.append(from.bytes.data(), from.bytes.size());
    int64_t *ends = to.ends.extend(from.ends.size());
    for (std::size_t i = 0; i < from.ends.size(); ++i)
      ends[i] = bytes + from.ends[i];
    int32_t *codes = to.codes.extend(from.codes.size());
    for (std::size_t i = 0; i < from.codes.size(); ++i)
      codes[i] = from.codes[i] < 0 ? -1 : from.codes[i] + static_cast<int32_t>(first);
  }

  void read(std::span<const int32_t> which, std::span<const int32_t> types, int32_t *collect) {
    columns.clear();
    columns.resize(which.size());
    rows = 0;
    const std::size_t count = names.size();
    plans.assign(count, {});
    const int64_t limit = options.max_rows < 0 ? INT64_MAX : options.max_rows;
    std::vector<bool> inferred(count);
    for (std::size_t i = 0; i < which.size(); ++i)
      inferred[static_cast<std::size_t>(which[i])] = types[i] == infer_type;
    std::vector<uint8_t> kinds(count);
    if (std::find(inferred.begin(), inferred.end(), true) != inferred.end())
      kinds = sample(inferred, limit);
    for (std::size_t i = 0; i < which.size(); ++i) {
      const auto at = static_cast<std::size_t>(which[i]);
      columns[i].type = types[i] == infer_type ? type_of(kinds[at]) : types[i];
      plans[at] = plan(columns[i].type, types[i] != infer_type);
    }
    std::vector<std::size_t> again; // columns that turned out to be text when their first text was gone
    const auto revise = [&](std::span<const Block> wave) {
      bool changed = false;
      for (std::size_t i = 0; i < which.size(); ++i) {
        const auto at = static_cast<std::size_t>(which[i]);
        bool refuted = false;
        for (const Block &block : wave)
          if (plans[at].store != Store::skip && block.columns[at].refuted) {
            refuted = true;
            kinds[at] |= block.columns[at].kinds;
          }
        if (!refuted)
          continue;
        CsvColumn &column = columns[i];
        const int32_t type = type_of(kinds[at]) == column.type ? text_type : type_of(kinds[at]);
        if (type == text_type && rows > 0) {
          again.push_back(i);
          column.values = {};
          plans[at] = {};
        } else {
          if (type == PG_FLOAT64 && column.type == PG_INT64 && column.values->_block) {
            auto *data = column.values.data<char>();
            convert<int64_t, double>(data, data, rows, 1);
            column.values.get()->_dtype = PG_FLOAT64;
          }
          plans[at] = plan(type, false);
          changed = true;
        }
        column.type = type;
      }
      return changed;
    };
    const auto take = [&](std::span<const Block> wave, int64_t bytes) {
      int64_t more = 0;
      for (const Block &block : wave)
        more += block.rows;
      for (std::size_t i = 0; i < which.size(); ++i) {
        const auto at = static_cast<std::size_t>(which[i]);
        CsvColumn &column = columns[i];
        if (plans[at].store == Store::skip)
          continue;
        if (column.type == text_type) {
          for (const Block &block : wave)
            append_text(column, block.columns[at]);
          continue;
        }
        grow(column.values, column.type, 0, rows + more, rows, bytes, collect);
        auto *to = column.values.data<char>() + rows * static_cast<int64_t>(array::element_size(column.type));
        for (const Block &block : wave) {
          copy_values(block.columns[at].values.data(), column.type, to, block.rows, 1);
          to += block.rows * static_cast<int64_t>(array::element_size(column.type));
        }
      }
      rows += more;
    };
    pass(limit, revise, take);
    for (CsvColumn &column : columns)
      if (column.type != text_type)
        shrink(column.values, column.type, 0, collect);
    if (again.empty())
      return;
    plans.assign(count, {});
    for (std::size_t i : again)
      plans[static_cast<std::size_t>(which[i])] = plan(text_type, true);
    pass(
        limit, [](std::span<const Block>) { return false; },
        [&](std::span<const Block> wave, int64_t) {
          for (std::size_t i : again)
            for (const Block &block : wave)
              append_text(columns[i], block.columns[static_cast<std::size_t>(which[i])]);
        });
  }

  array::Array read_matrix(std::span<const int32_t> which, int32_t dtype, int32_t *collect) {
    plans.assign(names.size(), {});
    for (int32_t at : which)
      plans[static_cast<std::size_t>(at)] = plan(dtype, true);
    rows = 0;
    array::Array result;
    const auto k = static_cast<int64_t>(which.size());
    const auto size = static_cast<int64_t>(array::element_size(dtype));
    pass(
        options.max_rows < 0 ? INT64_MAX : options.max_rows, [](std::span<const Block>) { return false; },
        [&](std::span<const Block> wave, int64_t bytes) {
          int64_t more = 0;
          for (const Block &block : wave)
            more += block.rows;
          grow(result, dtype, k, rows + more, rows, bytes, collect);
          for (const Block &block : wave) {
            for (int64_t i = 0; i < k; ++i)
              copy_values(block.columns[static_cast<std::size_t>(which[static_cast<std::size_t>(i)])].values.data(),
                          dtype, result.data<char>() + (rows * k + i) * size, block.rows, k);
            rows += block.rows;
          }
        });
    shrink(result, dtype, k, collect);
    return result;
  }
};

CsvReader::CsvReader(Source &&source, const CsvOptions &options)
    : state_(std::make_unique<State>(std::move(source), options)) {
  state_->open();
}

CsvReader::~CsvReader() = default;

const std::vector<std::string> &CsvReader::names() const {
  return state_->names;
}
int64_t CsvReader::rows() const {
  return state_->rows;
}
CsvColumn &CsvReader::column(std::size_t i) {
  return state_->columns[i];
}
void CsvReader::read(std::span<const int32_t> which, std::span<const int32_t> types, int32_t *collect) {
  state_->read(which, types, collect);
}
array::Array CsvReader::read_matrix(std::span<const int32_t> which, int32_t dtype, int32_t *collect) {
  return state_->read_matrix(which, dtype, collect);
}

} // namespace perigee::io
