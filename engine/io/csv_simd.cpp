// Blocks of regular records: each has the same number of cells, and quotes are only where RFC 4180 has them. Such a
// block is indexed first (where does each cell end?), 64 bytes at a time as simdjson does it, and then read column by
// column: a number of up to 31 characters is one load, a few dozen instructions and no branch on its digits. Cells that
// are no plain numbers go to the parser of csv_block.cpp one by one, and so does a whole block that is not regular or
// has an error, so that results and messages are the same.
#include "core/isa.hpp"
#include "io/csv_block.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace perigee::io::csv {

#if defined(__x86_64__)
#define PERIGEE_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul")))

namespace {

constexpr int64_t longest_block = 2 << 20; // the index of a block stays, four bytes for each of its bytes at most

// Where the cells of a block end, behind one entry that makes the first cell begin at 0.
struct Index {
  std::vector<uint32_t> ends;
  std::size_t cells = 0;
  int64_t rows = 0;
};

PERIGEE_AVX2 inline uint64_t equal(__m256i low, __m256i high, char c) {
  const __m256i wanted = _mm256_set1_epi8(c);
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted))) |
         static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)))) << 32;
}

// Where certain bytes are among 64.
struct Found {
  uint64_t lines, delimiters, quotes;
};

inline uint64_t first_bytes(std::size_t n) {
  return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

// Walks through text from the beginning of a record, 64 bytes at a time.
struct Scanner {
  char delimiter, quote;
  bool quotes;
  uint64_t inside = 0;                     // all ones behind a quote that is open
  uint64_t after_end = 1, after_close = 0; // whether the byte before was an end of a cell, or a closing quote

  explicit Scanner(const Syntax &syntax)
      : delimiter(static_cast<char>(syntax.delimiter)), quote(static_cast<char>(syntax.quote)),
        quotes(syntax.quote >= 0) {}

  // The ends of cells (`stops`) and of records (`lines`) among the 64 bytes at `at` that are `valid`. False where a
  // quote is out of place: it opens a cell, closes it, or is doubled within.
  PERIGEE_AVX2 bool step(const char *at, const Found &found, uint64_t valid, uint64_t &stops, uint64_t &lines) {
    lines = found.lines & valid;
    stops = lines | (found.delimiters & valid);
    const uint64_t all = quotes ? found.quotes & valid : 0;
    if ((all | inside | after_close) != 0) {
      const __m128i parity = _mm_clmulepi64_si128(_mm_set_epi64x(0, static_cast<int64_t>(all)), _mm_set1_epi8(-1), 0);
      const uint64_t quoted = static_cast<uint64_t>(_mm_cvtsi128_si64(parity)) ^ inside; // the opening quote included
      stops &= ~quoted;
      lines &= ~quoted;
      const uint64_t opening = all & quoted, closing = all & ~quoted;
      const uint64_t behind_stop = stops << 1 | after_end, behind_close = closing << 1 | after_close;
      const auto *from = reinterpret_cast<const __m256i *>(at);
      const uint64_t other = behind_close & valid & ~(stops | opening); // only CR may be there
      if ((opening & ~(behind_stop | behind_close)) ||
          (other && other & ~equal(_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1), '\r')))
        return false;
      inside = static_cast<uint64_t>(static_cast<int64_t>(quoted) >> 63);
      after_close = closing >> 63;
    }
    after_end = stops >> 63;
    return true;
  }
};

#define PERIGEE_TARGET PERIGEE_AVX2
namespace avx2 {
PERIGEE_AVX2 inline Found find(const char *at, const Scanner &scanner) {
  const auto *from = reinterpret_cast<const __m256i *>(at);
  const __m256i low = _mm256_loadu_si256(from), high = _mm256_loadu_si256(from + 1);
  return {equal(low, high, '\n'), equal(low, high, scanner.delimiter), equal(low, high, scanner.quote)};
}
// `base` plus the positions of ones; writes up to 7 more than there are, which are overwritten.
PERIGEE_AVX2 inline void put_positions(uint32_t *to, uint32_t base, uint64_t ones, std::size_t count) {
  for (std::size_t k = 0; k < count; k += 8)
    for (int i = 0; i < 8; ++i) {
      to[k + static_cast<std::size_t>(i)] = base + static_cast<uint32_t>(_tzcnt_u64(ones));
      ones = _blsr_u64(ones);
    }
}
#include "io/csv_scan.inc"
} // namespace avx2
#undef PERIGEE_TARGET

#define PERIGEE_AVX512                                                                                                 \
  __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,pclmul,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2")))
#define PERIGEE_TARGET PERIGEE_AVX512
namespace avx512 {
PERIGEE_AVX512 inline Found find(const char *at, const Scanner &scanner) {
  const __m512i bytes = _mm512_loadu_si512(at);
  return {_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')),
          _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(scanner.delimiter)),
          _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(scanner.quote))};
}
alignas(64) constexpr auto places = [] {
  std::array<uint8_t, 64> bytes{};
  for (std::size_t i = 0; i < 64; ++i)
    bytes[i] = static_cast<uint8_t>(i);
  return bytes;
}();
// Likewise; up to 15 more.
PERIGEE_AVX512 inline void put_positions(uint32_t *to, uint32_t base, uint64_t ones, std::size_t count) {
  const __m512i all = _mm512_maskz_compress_epi8(ones, _mm512_load_si512(places.data()));
  const __m512i from = _mm512_set1_epi32(static_cast<int>(base));
  _mm512_storeu_si512(to, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(all))));
  if (count > 16) [[unlikely]] {
    _mm512_storeu_si512(to + 16, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 1))));
    _mm512_storeu_si512(to + 32, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 2))));
    _mm512_storeu_si512(to + 48, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 3))));
  }
}
#include "io/csv_scan.inc"
} // namespace avx512
#undef PERIGEE_TARGET

// The instruction set of these functions; isa() does not know all that they need.
Isa scan_isa() {
  static const Isa chosen = [] {
    if (isa() == Isa::baseline || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") ||
        !__builtin_cpu_supports("pclmul"))
      return Isa::baseline;
    return isa() == Isa::avx512 && __builtin_cpu_supports("avx512vbmi2") ? Isa::avx512 : Isa::avx2;
  }();
  return chosen;
}

// Whether the scanner knows the syntax of a text.
bool is_simple(const Syntax &syntax, const char *begin, const char *end) {
  return !syntax.runs &&
         (syntax.comment < 0 || !std::memchr(begin, syntax.comment, static_cast<std::size_t>(end - begin)));
}

// 32 bytes of ones behind 32 of zeros: loaded from 32 - k on, the last k bytes of a vector.
alignas(64) constexpr auto last_bytes = [] {
  std::array<uint8_t, 64> bytes{};
  std::fill(bytes.begin() + 32, bytes.end(), uint8_t{0xff});
  return bytes;
}();
PERIGEE_AVX2 inline __m256i last(int64_t k) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(last_bytes.data() + k));
}

struct Digits {
  uint64_t value;
  int64_t fraction; // how many digits are behind the decimal point
  bool plain;       // nothing but digits and at most one point, and no more digits than `value` holds
};

// The number in the n characters before `end`, 1 to 31 of them, without a sign. Reads 33 bytes before `end`.
template <bool point> PERIGEE_AVX2 inline Digits digits(const char *end, int64_t n, char decimal) {
  __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(end - 32));
  int64_t fraction = 0;
  if constexpr (point) {
    const __m256i found = _mm256_and_si256(_mm256_cmpeq_epi8(text, _mm256_set1_epi8(decimal)), last(n));
    // What stands before the point moves up to what stands behind it. (An earlier point is no digit then.)
    const auto points = static_cast<uint32_t>(_mm256_movemask_epi8(found));
    if (points) {
      fraction = static_cast<int64_t>(_lzcnt_u32(points));
      const __m256i shifted = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(end - 33));
      text = _mm256_blendv_epi8(shifted, text, last(fraction));
      n -= 1;
    }
  }
  text = _mm256_and_si256(_mm256_sub_epi8(text, _mm256_set1_epi8('0')), last(n));
  const __m256i wrong = _mm256_subs_epu8(text, _mm256_set1_epi8(9));
  // Pairs, fours, eights.
  const __m256i two = _mm256_maddubs_epi16(text, _mm256_set1_epi16(1 << 8 | 10));
  const __m256i four = _mm256_madd_epi16(two, _mm256_set1_epi32(1 << 16 | 100));
  const __m256i eight = _mm256_madd_epi16(_mm256_packus_epi32(four, four), _mm256_set1_epi32(1 << 16 | 10000));
  const auto high = static_cast<uint64_t>(_mm256_extract_epi64(eight, 0)),
             low = static_cast<uint64_t>(_mm256_extract_epi64(eight, 2));
  // high: the 8 highest digits in its lower half, then the 8 next; from 10^19 on they do not fit.
  const uint64_t top = high >> 32 | high << 32;
  return {top * 10000000000000000u + (low & 0xffffffff) * 100000000u + (low >> 32), fraction,
          ((_mm256_testz_si256(wrong, wrong) != 0) & (top < 1000) & (n > 0)) != 0};
}

// value * 10^power as the nearest float or double; false where that cannot be said at once.
template <class T> bool scale(uint64_t value, int64_t power, bool minus, T &result) {
  using Format = fast_float::binary_format<T>;
  using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  const fast_float::adjusted_mantissa exact = fast_float::compute_float<Format>(power, value);
  if (exact.power2 < 0)
    return false;
  const uint64_t bits = exact.mantissa | static_cast<uint64_t>(exact.power2) << Format::mantissa_explicit_bits();
  result =
      std::bit_cast<T>(static_cast<Word>(static_cast<Word>(bits) | static_cast<Word>(minus) << (sizeof(T) * 8 - 1)));
  return true;
}

constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// Digits as a double, exactly rounded.
PERIGEE_AVX2 inline bool real(const Digits &d, bool minus, double &result) {
  // Up to 15 digits they and 10^fraction are exact, so that one division rounds right (Clinger). So are some of 16, but
  // whether would be anyone's guess for numbers of full precision, a branch mispredicted every other time.
  if (d.value < 1000000000000000) {
    if (d.fraction > 22)
      return false;
    const double magnitude = static_cast<double>(static_cast<int64_t>(d.value)) / powers[d.fraction];
    result = std::bit_cast<double>(std::bit_cast<uint64_t>(magnitude) | static_cast<uint64_t>(minus) << 63);
    return true;
  }
  // Eisel and Lemire, where 5^fraction has 64 bits and the product decides at once; scale() knows all cases.
  if (d.fraction <= 27) {
    const auto zeros = static_cast<int64_t>(_lzcnt_u64(d.value));
    const uint64_t factor = fast_float::powers::power_of_five_128[static_cast<std::size_t>(
        2 * (-d.fraction - fast_float::powers::smallest_power_of_five))];
    const unsigned __int128 product = static_cast<unsigned __int128>(d.value << zeros) * factor;
    const auto high = static_cast<uint64_t>(product >> 64);
    if ((high & 0x1ff) != 0x1ff && static_cast<uint64_t>(product) > 1) {
      const uint64_t upper = high >> 63, rounded = (high >> (upper + 9)) + 1; // 53 bits and one for rounding
      const int64_t exponent = (217706 * -d.fraction >> 16) + 63 + static_cast<int64_t>(upper) - zeros + 1023;
      const uint64_t bits = (static_cast<uint64_t>(exponent - 1) << 52) + (rounded >> 1);
      result = std::bit_cast<double>(bits | static_cast<uint64_t>(minus) << 63);
      return true;
    }
  }
  return scale(d.value, -d.fraction, minus, result);
}
PERIGEE_AVX2 inline bool real(const Digits &d, bool minus, float &result) {
  return scale(d.value, -d.fraction, minus, result);
}

// A number that has an exponent of one to three digits.
template <class T>
[[gnu::noinline]] PERIGEE_AVX2 bool with_exponent(const char *begin, const char *end, char decimal, T &result) {
  const bool minus = *begin == '-';
  for (int length = 1; length <= 3 && end - begin > length + 1; ++length) {
    if (static_cast<unsigned>(end[-length] - '0') > 9)
      return false;
    const char *at = end - length - 1;
    const bool sign = *at == '-' || *at == '+';
    const char *const stop = at - sign;
    const int64_t n = stop - begin - minus;
    if (n < 1)
      return false;
    if ((*stop | 0x20) != 'e')
      continue;
    int power = 0;
    for (const char *p = at + 1; p < end; ++p)
      power = power * 10 + (*p - '0');
    power = *at == '-' ? -power : power;
    const Digits d = digits<true>(stop, n, decimal);
    return d.plain && scale(d.value, power - d.fraction, minus, result);
  }
  return false;
}

// The cells of one column that a block had so far, as they stand in the text, and the numbers of their texts (-1:
// missing). Cells that collide push each other out and get several numbers.
class Cells {
 public:
  static constexpr std::size_t longest = 32;

  Cells() : entries_(std::size_t{1} << bits) {}
  void forget() {
    if (++now_ == 0) { // after 2^32 columns
      entries_.assign(entries_.size(), {});
      now_ = 1;
    }
  }
  // The number of the cell of n bytes at `at`; `make` gives it where the cell is new. Reads 32 bytes.
  template <class Make> PERIGEE_AVX2 int32_t code(const char *at, std::size_t n, Make &&make) {
    const __m256i key = _mm256_andnot_si256(last(static_cast<int64_t>(longest - n)),
                                            _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
    const auto word = [&]<int i>(std::integral_constant<int, i>)
                          PERIGEE_AVX2 { return static_cast<uint64_t>(_mm256_extract_epi64(key, i)); };
    // A sum of products, which do not wait for one another.
    uint64_t hash = word(std::integral_constant<int, 0>{}) * 0x9e3779b97f4a7c15u +
                    word(std::integral_constant<int, 1>{}) * 0xff51afd7ed558ccdu +
                    word(std::integral_constant<int, 2>{}) * 0xc4ceb9fe1a85ec53u +
                    word(std::integral_constant<int, 3>{}) * 0xd6e8feb86659fd93u + n;
    hash = (hash ^ hash >> 32) * 0x9fb21c651e98df25u;
    Entry &entry = entries_[hash >> (64 - bits)];
    const __m256i same = _mm256_cmpeq_epi8(key, _mm256_load_si256(reinterpret_cast<const __m256i *>(entry.key)));
    if (entry.moment == now_ && entry.size == n && _mm256_movemask_epi8(same) == -1)
      return entry.code;
    entry.code = make();
    entry.moment = now_;
    entry.size = static_cast<uint32_t>(n);
    _mm256_store_si256(reinterpret_cast<__m256i *>(entry.key), key);
    return entry.code;
  }

 private:
  static constexpr int bits = 10;
  struct alignas(64) Entry {
    char key[longest] = {}; // zeros behind its end
    uint32_t size = 0, moment = 0;
    int32_t code = 0;
  };
  std::vector<Entry> entries_;
  uint32_t now_ = 0; // entries of other moments are of other columns
};

class RegularParser {
 public:
  RegularParser(const Syntax &syntax, const std::vector<ColumnPlan> &plans, Block &block, const Index &index)
      : syntax_(syntax), plans_(plans), block_(block), index_(index), parser_(syntax, plans, block) {}

  PERIGEE_AVX2 bool parse() {
    for (auto &column : block_.columns)
      column.clear();
    const auto count = static_cast<int32_t>(plans_.size());
    for (int32_t c = 0; c < count; ++c) {
      bool good = true;
      switch (plans_[static_cast<std::size_t>(c)].store) {
      case Store::skip:
        break;
      case Store::float64:
        good = numbers<double>(c);
        break;
      case Store::float32:
        good = numbers<float>(c);
        break;
      case Store::int64:
        good = numbers<int64_t>(c);
        break;
      case Store::uint64:
        good = numbers<uint64_t>(c);
        break;
      case Store::text:
        good = texts(c);
        break;
      case Store::boolean:
        for (int64_t r = 0; r < index_.rows && good; ++r)
          good = other(r, c);
        break;
      }
      if (!good)
        return false;
    }
    block_.rows = index_.rows;
    return true;
  }

 private:
  const char *begin_of(int64_t row, int32_t c) const {
    return block_.begin +
           (index_.ends[static_cast<std::size_t>(row) * plans_.size() + static_cast<std::size_t>(c)] + 1u);
  }
  const char *end_of(int64_t row, int32_t c) const {
    const char *end =
        block_.begin + index_.ends[static_cast<std::size_t>(row) * plans_.size() + static_cast<std::size_t>(c) + 1];
    return *end == '\n' && end > block_.begin && end[-1] == '\r' ? end - 1 : end;
  }
  // Any cell, by the parser for all of them.
  bool other(int64_t row, int32_t c) {
    block_.rows = row;
    const char *p = begin_of(row, c);
    return parser_.cell(p, c) && p == end_of(row, c);
  }

  template <class T> [[gnu::noinline]] PERIGEE_AVX2 bool numbers(int32_t c) {
    const ColumnPlan &plan = plans_[static_cast<std::size_t>(c)];
    BlockColumn &column = block_.columns[static_cast<std::size_t>(c)];
    const auto rows = static_cast<std::size_t>(index_.rows), count = plans_.size();
    column.values.reserve(rows * sizeof(T));
    const char *const text = block_.begin;
    const uint32_t *const ends = index_.ends.data() + c;
    const bool at_line_end = static_cast<std::size_t>(c) + 1 == count;
    const char decimal = syntax_.decimal;
    const int64_t low = plan.low, high = plan.high,
                  longest = !syntax_.plain_numbers  ? 0
                            : std::is_integral_v<T> ? 18
                                                    : 31;
    char *const to = column.values.data();
    for (std::size_t r = 0; r < rows; ++r) {
      const char *const begin = text + (ends[r * count] + 1u), *end = text + ends[r * count + 1];
      if (at_line_end)
        end -= end[-1] == '\r';
      const bool minus = std::is_signed_v<T> && *begin == '-';
      const int64_t n = end - begin - minus;
      T value;
      if (n >= 1 && n <= longest) [[likely]] {
        const Digits d = digits<std::is_floating_point_v<T>>(end, n, decimal);
        if constexpr (std::is_floating_point_v<T>) {
          if ((d.plain && real(d, minus, value)) || with_exponent(begin, end, decimal, value)) [[likely]] {
            std::memcpy(to + r * sizeof value, &value, sizeof value);
            continue;
          }
        } else {
          value = static_cast<T>(minus ? 0 - d.value : d.value);
          if (d.plain && (std::is_unsigned_v<T> ||
                          (static_cast<int64_t>(value) >= low && static_cast<int64_t>(value) <= high))) [[likely]] {
            std::memcpy(to + r * sizeof value, &value, sizeof value);
            continue;
          }
        }
      }
      if (!other(static_cast<int64_t>(r), c))
        return false;
      if (column.refuted) { // from here on only what kinds of cells there are matters
        for (++r; r < rows; ++r)
          if (!other(static_cast<int64_t>(r), c))
            return false;
        return true;
      }
    }
    return true;
  }

  [[gnu::noinline]] PERIGEE_AVX2 bool texts(int32_t c) {
    BlockColumn &column = block_.columns[static_cast<std::size_t>(c)];
    const auto rows = static_cast<std::size_t>(index_.rows);
    if (syntax_.trim) {
      for (std::size_t r = 0; r < rows; ++r)
        if (!other(static_cast<int64_t>(r), c))
          return false;
      return true;
    }
    thread_local Cells of_this_thread;
    Cells &cells = of_this_thread; // (asked for once: it is a call)
    cells.forget();
    int32_t *const codes = column.codes.extend(rows);
    for (std::size_t r = 0; r < rows; ++r) {
      const char *begin = begin_of(static_cast<int64_t>(r), c), *end = end_of(static_cast<int64_t>(r), c);
      const int64_t quoted = static_cast<unsigned char>(*begin) == syntax_.quote;
      if (quoted && static_cast<unsigned char>(end[-1]) != syntax_.quote) [[unlikely]]
        return false; // a CR and more follow the closing quote
      begin += quoted;
      const auto n = static_cast<std::size_t>(end - begin - quoted);
      codes[r] = n <= Cells::longest ? cells.code(begin, n,
                                                  [&] {
                                                    return text({begin, n}, column);
                                                  })
                                     : text({begin, n}, column);
    }
    return true;
  }
  // The number of a cell's text, which still has its doubled quotes: none but quoted cells have any in a regular block.
  [[gnu::noinline]] int32_t text(std::string_view cell, BlockColumn &column) {
    const char quote = static_cast<char>(syntax_.quote);
    if (syntax_.quote >= 0 && cell.find(quote) != cell.npos) {
      unquoted_.clear();
      for (std::size_t i = 0; i < cell.size(); ++i) {
        i += cell[i] == quote; // of two the second
        unquoted_ += cell[i];
      }
      cell = unquoted_;
    }
    if (syntax_.missing(cell))
      return -1;
    return cell.size() > Cells::longest ? parser_.intern(cell, column) : column.add(cell);
  }

  const Syntax &syntax_;
  const std::vector<ColumnPlan> &plans_;
  Block &block_;
  const Index &index_;
  BlockParser parser_;
  std::string unquoted_;
};

} // namespace

bool parse_regular(const Syntax &syntax, const std::vector<ColumnPlan> &plans, Block &block) {
  const int64_t size = block.end - block.begin;
  if (scan_isa() == Isa::baseline || block.limit != INT64_MAX || size > longest_block || plans.empty() || size == 0 ||
      !is_simple(syntax, block.begin, block.end))
    return false;
  thread_local Index index;
  if (!(scan_isa() == Isa::avx512 ? avx512::make_index : avx2::make_index)(block.begin, block.end, syntax, index))
    return false;
  const std::size_t count = plans.size();
  if (index.cells != static_cast<std::size_t>(index.rows) * count)
    return false;
  for (std::size_t i = count; i <= index.cells; i += count)
    if (block.begin[index.ends[i]] != '\n')
      return false;
  if (count == 1) // empty lines are no records
    for (std::size_t i = 0; i < index.cells; ++i) {
      const char first = block.begin[index.ends[i] + 1u];
      if (is_space(first) || first == '\n' || first == '\r')
        return false;
    }
  return RegularParser(syntax, plans, block, index).parse();
}

bool split_regular(const Syntax &syntax, const char *begin, const char *end, int64_t block,
                   std::vector<const char *> &cuts) {
  if (scan_isa() == Isa::baseline || block < 64 || !is_simple(syntax, begin, end))
    return false;
  const std::size_t before = cuts.size();
  if ((scan_isa() == Isa::avx512 ? avx512::find_cuts : avx2::find_cuts)(syntax, begin, end, block, cuts))
    return true;
  cuts.resize(before);
  return false;
}

#else
bool split_regular(const Syntax &, const char *, const char *, int64_t, std::vector<const char *> &) {
  return false;
}
bool parse_regular(const Syntax &, const std::vector<ColumnPlan> &, Block &) {
  return false;
}
#endif

} // namespace perigee::io::csv
