#include "fuzz/readers.hpp"

#include "array/foreign.hpp"
#include "core/memory.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include "io/io_abi.h"
}

namespace perigee::fuzz {
namespace {

void want(bool condition, const char *what) {
  if (condition)
    return;
  std::fprintf(stderr, "not as it must be: %s (last message: %s)\n", what, pg_last_message());
  std::abort();
}

// An account that allows what `size` bytes of a file can stand for, and no more.
class Budget {
 public:
  Budget(std::size_t size, int64_t times)
      : id_(core::open_account((16 << 20) + times * static_cast<int64_t>(size))), scope_(id_) {}
  ~Budget() { core::close_account(id_); }
  // Status of a reading function.
  bool good(int32_t status) const {
    want(status != PG_ERROR_MEMORY, "a reader takes more memory than its file can stand for");
    want(status != PG_ERROR_INTERNAL, "an internal error");
    want(status == PG_OK || *pg_last_message(), "an error without a message");
    return status == PG_OK;
  }

 private:
  int64_t id_;
  core::AccountScope scope_;
};

// The bytes at the end of memory of their own, so that a sanitizer sees what is read behind them.
struct Copy {
  Copy(const uint8_t *data, std::size_t size) : bytes(data, data + size) { bytes.shrink_to_fit(); }
  const char *data() const { return reinterpret_cast<const char *>(bytes.data()); }
  int64_t size() const { return static_cast<int64_t>(bytes.size()); }
  std::vector<uint8_t> bytes;
};

void check(const pg_array &a) {
  want(a._dtype >= 0 && a._dtype < array::dtype_count && a._ndim >= 0 && a._ndim <= 8, "a descriptor");
  int64_t size = 1;
  for (int i = 0; i < a._ndim; ++i)
    size *= a._shape[i];
  want(size == a._size, "the size of an array");
  if (size > 0)
    want(array::elements_are_clean(a._data, a._dtype, size), "elements that LuaJIT could take for objects");
}

} // namespace

void npy(const uint8_t *data, std::size_t size) {
  const Budget budget(size, 2);
  const Copy from(data, size);
  int32_t kind = 0, collect = 0;
  budget.good(pg_io_kind(from.data(), from.size(), 1, &kind));
  pg_array a{};
  if (!budget.good(pg_io_npy_load(&a, &collect, from.data(), from.size(), 1, 0)))
    return;
  want(kind == 1, "what is loaded looks like npy");
  check(a);
  pg_array_release(&a);
}

void npz(const uint8_t *data, std::size_t size) {
  const Budget budget(size, 1100); // deflate makes 1032 bytes of one at most
  const Copy from(data, size);
  pg_io_npz *file = nullptr;
  if (!budget.good(pg_io_npz_open(&file, from.data(), from.size(), 1)))
    return;
  for (int64_t i = 0; i < pg_io_npz_count(file); ++i) {
    int64_t length = 0;
    const char *name = pg_io_npz_name(file, i, &length);
    want(std::string(name, static_cast<std::size_t>(length)).size() == static_cast<std::size_t>(length), "a name");
    pg_array a{};
    int32_t collect = 0;
    if (budget.good(pg_io_npz_read(&a, &collect, file, i))) {
      check(a);
      pg_array_release(&a);
    }
  }
  pg_io_npz_close(file);
}

namespace {

// What a table holds, as text: to compare two ways of reading it.
std::string table(const Budget &budget, const Copy &from, pg_io_csv_options options, uint8_t forced, bool matrix) {
  pg_io_csv *file = nullptr;
  if (!budget.good(pg_io_csv_open(&file, from.data(), from.size(), 1, &options)))
    return pg_last_message();
  const int64_t width = pg_io_csv_width(file);
  std::string shown = std::to_string(width);
  std::vector<int32_t> which, types;
  for (int64_t c = 0; c < width; ++c) {
    int64_t length = 0;
    const char *name = pg_io_csv_name(file, c, &length);
    shown.append(name, static_cast<std::size_t>(length)) += ';';
    which.push_back(static_cast<int32_t>(c));
    types.push_back(forced == 0 || (forced & 16 && c % 2) ? -1 : forced % 16 > 10 ? 100 : forced % 16);
  }
  int32_t collect = 0;
  const auto count = static_cast<int32_t>(width);
  const auto show = [&](const pg_array &a) {
    check(a);
    shown.append(static_cast<const char *>(a._data), static_cast<std::size_t>(a._size) * array::element_size(a._dtype));
  };
  if (matrix && width > 0) {
    pg_array a{};
    if (budget.good(pg_io_csv_matrix(&a, &collect, file, count, which.data(), forced % 11))) {
      show(a);
      pg_array_release(&a);
    } else {
      shown = pg_last_message();
    }
  } else if (budget.good(pg_io_csv_read(file, &collect, count, which.data(), types.data()))) {
    const int64_t rows = pg_io_csv_rows(file);
    want(rows >= 0 && rows <= from.size() + 1, "the number of rows");
    for (int32_t c = 0; c < count; ++c) {
      pg_array a{};
      int32_t type = -1;
      budget.good(pg_io_csv_column(file, c, &a, &type));
      shown += std::to_string(type) + ":";
      if (type != 100) {
        want(a._size == rows, "a column has as many rows as the table");
        show(a);
        pg_array_release(&a);
        continue;
      }
      const int32_t *codes = nullptr;
      const int64_t *ends = nullptr;
      int64_t texts = 0;
      const char *bytes = nullptr;
      pg_io_csv_texts(file, c, &codes, &texts, &ends, &bytes);
      for (int64_t r = 0; r < rows; ++r) {
        want(codes[r] >= -1 && codes[r] < texts, "the code of a text");
        if (codes[r] >= 0) {
          const int64_t begin = codes[r] ? ends[codes[r] - 1] : 0;
          shown.append(bytes + begin, static_cast<std::size_t>(ends[codes[r]] - begin));
        }
        shown += codes[r] < 0 ? "~" : ";";
      }
    }
  } else {
    shown = pg_last_message();
  }
  pg_io_csv_close(file);
  return shown;
}

} // namespace

void csv(const uint8_t *data, std::size_t size) {
  if (size < 4)
    return;
  const Budget budget(size, 64);
  const Copy from(data + 4, size - 4);
  static constexpr int32_t delimiters[] = {',', ';', '\t', ' ', -2, '|', ',', ','};
  const std::string missing = "NAnan0";
  const int64_t ends[] = {0, 2, 5, 6};
  pg_io_csv_options options{};
  options.delimiter = delimiters[data[0] & 7];
  options.quote = data[0] & 8 ? -1 : '"';
  options.comment = data[0] & 16 ? '#' : -1;
  options.decimal = (data[0] & 32) && options.delimiter == ';' ? ',' : '.';
  options.header = (data[0] & 64) != 0;
  options.trim = (data[0] & 128) != 0;
  options.fill = data[1] & 1;
  options.missing_count = data[1] >> 1 & 3;
  options.skip_rows = data[1] >> 3 & 3;
  options.max_rows = data[1] & 64 ? data[1] >> 4 : -1;
  options.missing = missing.data();
  options.missing_ends = ends;
  const bool matrix = (data[1] & 32) != 0;
  const std::string quick = table(budget, from, options, data[2], matrix);
  if (options.max_rows >= 0)
    return;
  // With a limit of rows, which is beyond them, records are read one by one: the same must come out.
  options.max_rows = INT64_MAX / 2;
  want(quick == table(budget, from, options, data[2], matrix), "two ways of reading a table agree");
}

void json(const uint8_t *data, std::size_t size) {
  if (size < 1)
    return;
  const Budget budget(size, 200);
  const Copy from(data + 1, size - 1);
  pg_io_json *document = nullptr;
  if (!budget.good(pg_io_json_parse(&document, from.data(), from.size(), 1, 1 + (data[0] >> 1) * 16, data[0] & 1)))
    return;
  int64_t count = 0;
  const char *bytes = nullptr;
  const double *numbers = nullptr;
  const int64_t *lengths = nullptr;
  const pg_io_json_token *tokens = pg_io_json_tokens(document, &count, &bytes, &numbers, &lengths);
  // Every token is used exactly once, as a reader of them does.
  std::vector<int64_t> open{1};
  std::size_t text = 0;
  for (int64_t i = 0; i < count; ++i) {
    while (!open.empty() && open.back() == 0)
      open.pop_back();
    want(!open.empty(), "tokens behind the value");
    --open.back();
    const pg_io_json_token &token = tokens[i];
    if (token.kind == PG_JSON_STRING) {
      text += std::string_view(bytes + token.at, static_cast<std::size_t>(token.count)).size();
    } else if (token.kind == PG_JSON_LIST) {
      open.push_back(token.count);
    } else if (token.kind == PG_JSON_OBJECT) {
      open.push_back(2 * token.count);
    } else if (token.kind == PG_JSON_NUMBER) {
      want(!std::isnan(token.number), "a number");
    } else if (token.kind == PG_JSON_ARRAY) {
      int64_t n = 1;
      want(token.count >= 1 && token.count <= 8, "the rank of an array");
      for (int64_t k = 0; k < token.count; ++k)
        n *= lengths[token.at_lengths + k];
      for (int64_t k = 0; k < n; ++k)
        want(!std::isnan(numbers[token.at + k]), "a number of an array");
    }
  }
  for (int64_t left : open)
    want(left == 0, "all tokens are there");
  want(text <= size, "the texts of a document");
  pg_io_json_close(document);
}

void text(const uint8_t *data, std::size_t size) {
  if (size < 2)
    return;
  const Budget budget(size, 8);
  // Lines are read from files only.
  const int file = ::memfd_create("text", MFD_CLOEXEC);
  if (file < 0 || ::write(file, data + 2, size - 2) != static_cast<ssize_t>(size - 2))
    std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  const auto length = static_cast<int64_t>(path.size());
  std::string joined;
  pg_io_reader *reader = nullptr;
  if (budget.good(pg_io_reader_open(&reader, path.data(), length, 1 + data[0]))) {
    const char *line = nullptr;
    int64_t n = 0;
    while (budget.good(pg_io_reader_line(reader, &line, &n, 1 + 16 * data[1])) && line) {
      want(!std::memchr(line, '\n', static_cast<std::size_t>(n)), "a line without an end in it");
      joined.append(line, static_cast<std::size_t>(n)) += '\n';
    }
    want(joined.size() <= size - 1, "the lines of a file");
    pg_io_reader_close(reader);
  }
  joined.clear();
  if (budget.good(pg_io_reader_open(&reader, path.data(), length, 1 + data[0]))) {
    const char *piece = nullptr;
    int64_t n = 0;
    while (budget.good(pg_io_reader_block(reader, &piece, &n)) && n > 0)
      joined.append(piece, static_cast<std::size_t>(n));
    want(joined == std::string_view(reinterpret_cast<const char *>(data) + 2, size - 2), "the blocks of a file");
    pg_io_reader_close(reader);
  }
  pg_array whole{};
  int32_t collect = 0;
  if (budget.good(pg_io_read_text(&whole, &collect, path.data(), length))) {
    want(whole._size == static_cast<int64_t>(size - 2), "a whole text");
    pg_array_release(&whole);
  }
  ::close(file);
}

} // namespace perigee::fuzz
