// Tables of separated values (RFC 4180 and its relatives), read in waves of a few MiB: a wave is read, cut into blocks
// at ends of records, its blocks are parsed in parallel into columns of their own, and these are appended in order.
// Neither the result nor an error depends on the number of threads: cuts depend on the file alone.
//
// Types are inferred from all cells: bool or int64 or float64 where every cell is one, else text. The first rows give a
// guess; a wave that refutes it is parsed again for that column, and where earlier waves' text is needed (a number
// column that turns out to be text), the file is read once more at the end for such columns.
#include "core/threads.hpp"
#include "io/csv_block.hpp"

#include <algorithm>

namespace perigee::io {
using namespace csv;
namespace {

constexpr int64_t block_bytes = 64 << 10, wave_blocks = 16, wave_bytes = block_bytes * wave_blocks;
constexpr int32_t most_columns = 1 << 16; // each has state in every block
constexpr std::size_t longest_name = 1 << 16;
// Where the records of a stretch of text end. Exact: a quote opens a cell only at the cell's beginning, and what is in
// a comment counts for nothing; so quotes must be walked through from a record's beginning, but only the quotes.
class Splitter {
 public:
  // Every column has state in every block (16 blocks of 65536 columns would take 140 MB): wide records make large
  // blocks.
  Splitter(const Syntax &syntax, std::size_t columns)
      : syntax_(syntax), block_(std::clamp(static_cast<int64_t>(columns) * 32, block_bytes, wave_bytes)) {}

  // Appends to `cuts` an end of record about every `block_` bytes, and last the end of the last whole record in
  // [begin, end); nothing if there is none.
  void split(const char *begin, const char *end, std::vector<const char *> &cuts) const {
    if (syntax_.quote >= 0 && std::memchr(begin, syntax_.quote, static_cast<std::size_t>(end - begin)) &&
        split_regular(syntax_, begin, end, block_, cuts)) // (without quotes, what follows is faster still)
      return;
    next_ = begin + block_;
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
      next_ = at + 1 + block_;
    }
    if (const void *at = memrchr(p, '\n', static_cast<std::size_t>(q - p)))
      last_ = static_cast<const char *>(at) + 1;
  }

  const Syntax &syntax_;
  const int64_t block_;
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
  Pool<char> wave;

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
    throw FileError(where + ": " + text +
                    (column >= 0 && offset == body && !options.header && options.skip_rows == 0
                         ? "; where the first line names the columns: {header = true}"
                         : ""));
  }

  [[noreturn]] void changed() const { throw FileError(source.name() + ": it changed while it was read"); }

  // Files that are no text are often given to the wrong function.
  void refuse_binary() const {
    char start[6] = {};
    source.read(0, start, std::min<int64_t>(source.size(), sizeof start));
    const std::string_view first(start, sizeof start);
    if (looks_like_npy(source) || looks_like_zip(source))
      throw FileError(source.name() + ": this is an " + (looks_like_npy(source) ? "npy" : "npz (or other zip)") +
                      " file and no text; io.load reads it");
    if (first.starts_with("\x1f\x8b"))
      throw UnsupportedError(source.name() + ": text compressed by gzip; unpack it first (gunzip)");
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
    refuse_binary();
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
      Pool<char> text;
      std::memset(text.extend(static_cast<std::size_t>(n + padding)) + n, 0, padding);
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
    const Splitter splitter(syntax, plans.size());
    std::vector<const char *> cuts;
    while (base < size) {
      const int64_t now = std::min(wanted, size - base);
      wave.extend(std::max(static_cast<std::size_t>(now + 2 * padding), wave.size()) - wave.size());
      char *const text = wave.data() + padding;
      std::memset(wave.data(), 0, padding);
      constexpr int64_t part = 128 << 10;
      core::parallel_ranges((now - filled + part - 1) / part, 1, [&](int64_t first, int64_t behind) {
        const int64_t from = filled + first * part, to = std::min(filled + behind * part, now);
        source.read(base + from, text + from, to - from);
      });
      filled = now;
      const bool last = base + filled == size;
      std::memset(text + filled, '\n', padding); // ends the last record, too
      const char *const begin = text, *const end = begin + filled + (last && begin[filled - 1] != '\n');
      cuts.clear();
      splitter.split(begin, end, cuts);
      if (last && (cuts.empty() || cuts.back() != end))
        cuts.push_back(end); // a quote that stays open: the parser reports it
      if (cuts.empty()) {
        wanted = 2 * filled + wave_bytes; // a record longer than the wave
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
                                  parse_block(syntax, plans, block);
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
      std::memmove(text, text + used, static_cast<std::size_t>(filled - used));
      base += used;
      filled -= used;
      wanted = filled + wave_bytes;
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
      Pool<char> text;
      std::memset(text.extend(static_cast<std::size_t>(n + padding)) + n, '\n', padding);
      source.read(body, text.data(), n);
      const bool all = n == size - body;
      const char *const end = text.data() + n + (all && text[static_cast<std::size_t>(n - 1)] != '\n');
      std::vector<const char *> cuts;
      Splitter(syntax, names.size()).split(text.data(), end, cuts);
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
        for (std::size_t k = 0; k < column.ends.size(); ++k) {
          const int64_t stop = column.ends[k];
          kinds[i] |= kind_of({column.bytes.data() + begin, static_cast<std::size_t>(stop - begin)}, syntax);
          begin = stop;
        }
        const int32_t *const codes = column.codes.data(), *const behind = codes + column.codes.size();
        if (std::find(codes, behind, -1) != behind)
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

  // A block's texts, of the rows from `row` on.
  static void append_text(CsvColumn &to, const BlockColumn &from, int64_t row) {
    const std::size_t first = to.ends.size();
    if (first + from.ends.size() > static_cast<std::size_t>(INT32_MAX))
      throw UnsupportedError("a column of more than 2^31 different texts");
    const auto bytes = static_cast<int64_t>(to.bytes.size());
    to.bytes.append(from.bytes.data(), from.bytes.size());
    int64_t *ends = to.ends.extend(from.ends.size());
    for (std::size_t i = 0; i < from.ends.size(); ++i)
      ends[i] = bytes + from.ends[i];
    auto *codes = to.values.data<int32_t>() + row;
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
          grow(column.values, PG_INT32, 0, rows + more, rows, bytes, collect);
          int64_t row = rows;
          for (const Block &block : wave) {
            append_text(column, block.columns[at], row);
            row += block.rows;
          }
        } else {
          grow(column.values, column.type, 0, rows + more, rows, bytes, collect);
        }
      }
      core::parallel_ranges(static_cast<int64_t>(which.size()), 1 + static_cast<int64_t>(which.size()) / 64,
                            [&](int64_t first, int64_t behind) {
                              for (int64_t i = first; i < behind; ++i) {
                                const auto at = static_cast<std::size_t>(which[static_cast<std::size_t>(i)]);
                                const CsvColumn &column = columns[static_cast<std::size_t>(i)];
                                if (plans[at].store == Store::skip || column.type == text_type)
                                  continue;
                                const auto size = static_cast<int64_t>(array::element_size(column.type));
                                char *to = column.values.data<char>() + rows * size;
                                for (const Block &block : wave) {
                                  copy_values(block.columns[at].values.data(), column.type, to, block.rows, 1);
                                  to += block.rows * size;
                                }
                              }
                            });
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
    int64_t row = 0;
    for (std::size_t i : again)
      columns[i].values = array::create(PG_INT32, {&rows, 1}, false, collect);
    pass(
        limit, [](std::span<const Block>) { return false; },
        [&](std::span<const Block> wave, int64_t) {
          for (const Block &block : wave) {
            if (block.rows > rows - row)
              changed();
            for (std::size_t i : again)
              append_text(columns[i], block.columns[static_cast<std::size_t>(which[i])], row);
            row += block.rows;
          }
        });
    if (row != rows)
      changed();
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
