// What csv.cpp and the parsers of blocks share: the syntax, and a block of whole records with its cells by column.
#pragma once

#include "io/csv.hpp"

#include <cmath>
#include <fast_float/fast_float.h>

namespace perigee::io::csv {

inline constexpr int64_t padding = 64; // readable bytes before a block's text and after it

// What kinds of cells a column holds.
enum Kinds : uint8_t { has_int = 1, has_float = 2, has_bool = 4, has_missing = 8, has_text = 16 };
/// The type of a column that holds these.
int32_t type_of(uint8_t kinds);

// How a column's cells are kept while it is parsed.
enum class Store : uint8_t { skip, int64, uint64, float32, float64, boolean, text };
Store store_of(int32_t type);
/// The limits of an integer type of 8 to 64 bits, int64 included; false for others.
bool limits_of(int32_t type, int64_t &low, int64_t &high);

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
inline bool is_space(char c) {
  return c == ' ' || c == '\t';
}
std::string_view stripped(std::string_view s);
/// Whether a whole text is a number.
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
/// What kind of cell a text is.
uint8_t kind_of(std::string_view cell, const Syntax &syntax);

struct Problem {
  int64_t offset = -1; // in the block
  int32_t column = 0;  // from 0; -1: the record as a whole
  std::string text;    // "'abc' is not ..."
};

// One column's cells of one block.
struct BlockColumn {
  Pool<char> values; // int64, uint64, float, double or uint8; the block's rows say how many
  Pool<int32_t> codes;
  Pool<int64_t> ends;
  Pool<char> bytes;
  Pool<int32_t> table; // hash -> unique number + 1
  uint8_t kinds = 0;   // only of a column that was refuted
  bool refuted = false;

  void clear() {
    codes.clear();
    ends.clear();
    bytes.clear();
    table.clear();
    kinds = 0;
    refuted = false;
  }
  template <class T> void put(int64_t row, T value) {
    const std::size_t at = static_cast<std::size_t>(row) * sizeof(T);
    values.reserve(at + sizeof(T));
    std::memcpy(values.data() + at, &value, sizeof(T));
  }
  // The number of a text among those of this block, so that Lua makes each string once. Texts that collide push each
  // other out and get several numbers, which costs a little time later and nothing else.
  int32_t intern(std::string_view cell, int bits) {
    if (table.size() == 0)
      std::fill_n(table.extend(std::size_t{1} << bits), std::size_t{1} << bits, 0);
    const std::size_t n = cell.size();
    const char *const p = cell.data();
    uint64_t hash = n * 0x9e3779b97f4a7c15u;
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8)
      hash = mixed(hash, load<uint64_t>(p + i));
    // The rest in overlapping words: memcpy of an unknown length would be a call.
    uint64_t rest = 0;
    if (n >= 8)
      rest = load<uint64_t>(p + n - 8);
    else if (n >= 4)
      rest = load<uint32_t>(p) | uint64_t{load<uint32_t>(p + n - 4)} << 32;
    else if (n > 0)
      rest = load<uint8_t>(p) | uint64_t{load<uint8_t>(p + n / 2)} << 8 | uint64_t{load<uint8_t>(p + n - 1)} << 16;
    int32_t &slot = table[mixed(hash, rest) >> (64 - bits)];
    if (slot != 0) {
      const auto k = static_cast<std::size_t>(slot - 1);
      const int64_t begin = k == 0 ? 0 : ends[k - 1];
      if (static_cast<std::size_t>(ends[k] - begin) == n && same(bytes.data() + begin, p, n))
        return slot - 1;
    }
    const int32_t number = add(cell);
    slot = number + 1;
    return number;
  }
  // The same for a text that is not looked for.
  int32_t add(std::string_view cell) {
    bytes.append(cell.data(), cell.size());
    ends.push_back(static_cast<int64_t>(bytes.size()));
    return static_cast<int32_t>(ends.size()) - 1;
  }

 private:
  template <class T> static T load(const char *at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  static uint64_t mixed(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
  }
  static bool same(const char *a, const char *b, std::size_t n) {
    if (n < 8) {
      uint8_t different = 0;
      for (std::size_t i = 0; i < n; ++i)
        different |= static_cast<uint8_t>(a[i] ^ b[i]);
      return different == 0;
    }
    for (std::size_t i = 0; i + 8 < n; i += 8)
      if (load<uint64_t>(a + i) != load<uint64_t>(b + i))
        return false;
    return load<uint64_t>(a + n - 8) == load<uint64_t>(b + n - 8);
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
    while (table_bits_ > 1 && (plans.size() << table_bits_) > (std::size_t{1} << 16))
      --table_bits_;
  }

  void parse();

  /// Reads the cell at p into row block.rows of column c and moves p to the delimiter or end after it. False: there is
  /// a problem.
  bool cell(const char *&p, int32_t c);
  /// The number of a text among those of a column.
  int32_t intern(std::string_view text, BlockColumn &column) { return column.intern(text, table_bits_); }

 private:
  bool is_comment(char c) const { return static_cast<unsigned char>(c) == syntax_.comment; }
  bool at_delimiter(const char *p) const;
  bool at_end(const char *p) const { return *p == '\n' || (*p == '\r' && p[1] == '\n') || is_comment(*p); }
  bool at_stop(const char *p) const;
  void pass_delimiter(const char *&p) const;
  const char *next_line(const char *p) const;
  void fail(const char *at, int32_t column, std::string text);

  std::string delimiter_text() const;
  bool short_record(const char *p, const char *start, int32_t cells);

  // The text of the cell at p, without its quotes; p moves behind it.
  bool cut(const char *&p, std::string_view &text);

  // Stores the text of a cell that begins at `at`.
  bool put(const char *at, std::string_view text, int32_t c, const ColumnPlan &plan, BlockColumn &column);
  void refute(BlockColumn &column, std::string_view text);

  bool absent(const char *at, int32_t c);

  const Syntax &syntax_;
  const std::vector<ColumnPlan> &plans_;
  Block &block_;
  std::string scratch_;
  int table_bits_ = 11;
};

/// Parses a block whose records are regular, in the same way but faster; false, with nothing of use in the block, where
/// they are not, a cell is not what it must be, or the processor has no AVX2.
bool parse_regular(const Syntax &syntax, const std::vector<ColumnPlan> &plans, Block &block);
/// Appends to `cuts` an end of record about every `block` bytes, and last the end of the last whole record in
/// [begin, end); nothing if there is none. False, with nothing appended, where the text is not regular.
bool split_regular(const Syntax &syntax, const char *begin, const char *end, int64_t block,
                   std::vector<const char *> &cuts);
/// Parses a block.
inline void parse_block(const Syntax &syntax, const std::vector<ColumnPlan> &plans, Block &block) {
  block.problem = {};
  if (!parse_regular(syntax, plans, block))
    BlockParser(syntax, plans, block).parse();
}

} // namespace perigee::io::csv
