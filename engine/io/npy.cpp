// The npy format (NumPy Enhancement Proposal 1): magic, version, a header that is a Python dictionary, the elements.
#include "array/foreign.hpp"
#include "io/io.hpp"

#include <algorithm>
#include <bit>
#include <sys/mman.h>
#include <unistd.h>

static_assert(std::endian::native == std::endian::little,
              "npy.cpp writes little-endian files and swaps big-endian ones");

namespace perigee::io {
namespace {

using array::Array;

constexpr char magic[] = "\x93NUMPY";
constexpr std::size_t magic_size = 6;
// A header of what we read takes some 130 bytes; NumPy refuses more than 10000 by default.
constexpr int64_t longest_header = 1 << 16;

struct Header {
  int32_t dtype = -1;
  bool swapped = false, fortran = false;
  int ndim = 0;
  int64_t shape[array::max_dimensions] = {};
  int64_t size = 1, bytes = 0;
};

// The dictionary {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }. Python's literals as far as they occur.
class Parser {
 public:
  Parser(std::string_view text, int64_t offset, const std::string &where)
      : text_(text), offset_(offset), where_(where) {}

  Header parse() {
    Header h;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string("a key in quotes");
      expect(':');
      if (key == "descr" && !descr) {
        descr = true;
        skip();
        if (at_ < text_.size() && text_[at_] == '[')
          throw UnsupportedError(where_ + ": its elements are records (a structured dtype); save the fields as arrays "
                                          "of their own");
        dtype(string("a dtype in quotes, as '<f8'"), h);
      } else if (key == "fortran_order" && !order) {
        order = true;
        h.fortran = boolean();
      } else if (key == "shape" && !shape) {
        shape = true;
        tuple(h);
      } else {
        fail("the key '" + key + "'", "'descr', 'fortran_order' and 'shape', each once");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (at_ != text_.size() && text_[at_] != '\0')
      fail(show_byte(static_cast<unsigned char>(text_[at_])), "the end of the header");
    if (!descr || !order || !shape)
      fail(std::string("no '") +
               (!descr   ? "descr"
                : !order ? "fortran_order"
                         : "shape") +
               "'",
           "'descr', 'fortran_order' and 'shape'");
    if (h.fortran && h.ndim < 2)
      h.fortran = false;
    return h;
  }

 private:
  [[noreturn]] void fail(const std::string &found, const std::string &legal) const {
    throw FileError(where_ + ": the npy header at byte " + std::to_string(offset_ + static_cast<int64_t>(at_)) +
                    " has " + found + "; expected: " + legal);
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  std::string found() const {
    return at_ < text_.size() ? show_byte(static_cast<unsigned char>(text_[at_])) : "its end";
  }
  bool accept(char c) {
    skip();
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }
  void expect(char c) {
    if (!accept(c))
      fail(found(), std::string("'") + c + "'");
  }
  std::string string(const char *legal) {
    skip();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"'))
      fail(found(), legal);
    const char quote = text_[at_];
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos)
      fail("a string without an end", legal);
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip();
    for (bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    fail(found(), "True or False");
  }
  void tuple(Header &h) {
    expect('(');
    while (!accept(')')) {
      skip();
      const std::size_t start = at_;
      int64_t n = 0;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text_[at_] - '0', &n))
          fail("a length beyond 2^63", "the lengths of the axes");
        ++at_;
      }
      if (at_ == start)
        fail(found(), "a length of an axis, 0 or more");
      if (at_ < text_.size() && text_[at_] == 'L') // Python 2 wrote long integers so
        ++at_;
      if (h.ndim == array::max_dimensions)
        throw UnsupportedError(where_ + ": the array has more than 8 dimensions; reshape it before saving");
      h.shape[h.ndim++] = n;
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }
  void dtype(const std::string &descr, Header &h) {
    static constexpr struct {
      const char *code;
      int32_t dtype;
    } codes[] = {{"b1", PG_BOOL},    {"u1", PG_UINT8},     {"u2", PG_UINT16},     {"u4", PG_UINT32}, {"u8", PG_UINT64},
                 {"i1", PG_INT8},    {"i2", PG_INT16},     {"i4", PG_INT32},      {"i8", PG_INT64},  {"f4", PG_FLOAT32},
                 {"f8", PG_FLOAT64}, {"c8", PG_COMPLEX64}, {"c16", PG_COMPLEX128}};
    std::string_view code = descr;
    const char order = code.empty() ? '\0' : code[0];
    if (order == '<' || order == '>' || order == '|' || order == '=')
      code.remove_prefix(1);
    for (const auto &known : codes)
      if (code == known.code) {
        h.dtype = known.dtype;
        h.swapped = order == '>';
        return;
      }
    throw UnsupportedError(where_ + ": elements of the NumPy dtype " + show_text(descr) +
                           "; save the array as bool, an integer of 8 to 64 bits, float32, float64, complex64 or "
                           "complex128 (a.astype(...) in NumPy)");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int64_t offset_;
  const std::string &where_;
};

// Reads up to where the elements start, and compares the size they state with what is there.
Header read_header(Reader &in, const std::string &where, int64_t *offset) {
  unsigned char start[12] = {};
  const int64_t all = in.remaining;
  if (all < 10)
    throw FileError(where + ": it has " + std::to_string(all) + " bytes, less than the 10 an npy file begins with");
  in.read(start, 10);
  if (std::memcmp(start, magic, magic_size) != 0)
    throw FileError(where + ": not an npy file: it begins with " +
                    show_text({reinterpret_cast<const char *>(start), magic_size}) + " instead of '\\x93NUMPY'");
  if (start[6] < 1 || start[6] > 3 || start[7] != 0)
    throw UnsupportedError(where + ": version " + std::to_string(start[6]) + "." + std::to_string(start[7]) +
                           " of the npy format; readable are 1.0, 2.0 and 3.0");
  int64_t length = start[8] | start[9] << 8, header_at = 10;
  if (start[6] > 1) {
    if (in.remaining < 2)
      throw FileError(where + ": it ends within the npy header");
    in.read(start + 10, 2);
    length |= int64_t{start[10]} << 16 | int64_t{start[11]} << 24;
    header_at = 12;
  }
  if (length > in.remaining)
    throw FileError(where + ": the npy header at byte 8 says that it has " + std::to_string(length) +
                    " bytes, but only " + std::to_string(in.remaining) + " follow");
  if (length > longest_header)
    throw FileError(where + ": the npy header has " + std::to_string(length) + " bytes; at most " +
                    std::to_string(longest_header) + " are read");
  std::string text(static_cast<std::size_t>(length), '\0');
  in.read(text.data(), length);
  Header h = Parser(text, header_at, where).parse();
  // Overflow counts empty axes as 1, like the array's own strides.
  int64_t stated = static_cast<int64_t>(array::element_size(h.dtype));
  if (stated == 0)
    throw UnsupportedError(where + ": elements of dtype " + array::dtype_name(h.dtype));
  h.bytes = stated;
  bool overflow = false;
  for (int i = 0; i < h.ndim; ++i) {
    overflow = overflow || __builtin_mul_overflow(stated, std::max<int64_t>(h.shape[i], 1), &stated);
    h.size *= overflow ? 0 : h.shape[i];
  }
  h.bytes *= h.size;
  if (overflow || h.bytes > in.remaining) {
    std::string shape;
    for (int i = 0; i < h.ndim; ++i)
      shape += (i ? ", " : "") + std::to_string(h.shape[i]);
    throw FileError(where + ": its header states the shape (" + shape + ") of " + array::dtype_name(h.dtype) +
                    (overflow ? ", more than 2^63 bytes" : ", " + std::to_string(h.bytes) + " bytes") + ", but only " +
                    std::to_string(in.remaining) + " bytes follow");
  }
  if (offset)
    *offset = header_at + length;
  return h;
}

template <class T> void swap_all(void *data, int64_t n) {
  auto *at = static_cast<T *>(data);
  for (int64_t i = 0; i < n; ++i)
    if constexpr (sizeof(T) == 2)
      at[i] = __builtin_bswap16(at[i]);
    else if constexpr (sizeof(T) == 4)
      at[i] = __builtin_bswap32(at[i]);
    else
      at[i] = __builtin_bswap64(at[i]);
}

void swap_bytes(void *data, int32_t dtype, int64_t n) {
  const bool is_complex = dtype == PG_COMPLEX64 || dtype == PG_COMPLEX128;
  const std::size_t unit = array::element_size(dtype) / (is_complex ? 2 : 1);
  n *= is_complex ? 2 : 1;
  if (unit == 2)
    swap_all<uint16_t>(data, n);
  else if (unit == 4)
    swap_all<uint32_t>(data, n);
  else if (unit == 8)
    swap_all<uint64_t>(data, n);
}

// The shape in the order in which memory runs.
void memory_shape(const Header &h, int64_t *shape) {
  for (int i = 0; i < h.ndim; ++i)
    shape[i] = h.shape[h.fortran ? h.ndim - 1 - i : i];
}

// Turns a row-major descriptor of the reversed shape into a column-major one.
void reverse_axes(pg_array &a) {
  std::reverse(a._shape, a._shape + a._ndim);
  std::reverse(a._strides, a._strides + a._ndim);
}

bool is_column_major(const pg_array &a) {
  int64_t stride = 1;
  for (int i = 0; i < a._ndim; ++i) {
    if (a._shape[i] != 1 && a._strides[i] != stride)
      return false;
    stride *= a._shape[i];
  }
  return true;
}

// Elements in row-major order through a fixed buffer.
void write_strided(Sink &out, const pg_array &a) {
  const std::size_t size = array::element_size(a._dtype);
  std::vector<char> buffer(std::size_t{1} << 16);
  std::size_t filled = 0;
  int64_t index[array::max_dimensions] = {};
  const int last = a._ndim - 1;
  const char *row = static_cast<const char *>(a._data);
  const int64_t step = a._strides[last] * static_cast<int64_t>(size);
  for (;;) {
    const char *from = row;
    for (int64_t i = 0; i < a._shape[last]; ++i, from += step) {
      if (filled + size > buffer.size()) {
        out.write(buffer.data(), filled);
        filled = 0;
      }
      std::memcpy(buffer.data() + filled, from, size);
      filled += size;
    }
    int axis = last - 1;
    for (; axis >= 0; --axis) {
      row += a._strides[axis] * static_cast<int64_t>(size);
      if (++index[axis] < a._shape[axis])
        break;
      row -= a._strides[axis] * static_cast<int64_t>(size) * a._shape[axis];
      index[axis] = 0;
    }
    if (axis < 0)
      break;
  }
  out.write(buffer.data(), filled);
}

} // namespace

bool looks_like_npy(const Source &source) {
  char start[magic_size];
  if (source.size() < static_cast<int64_t>(magic_size))
    return false;
  source.read(0, start, magic_size);
  return std::memcmp(start, magic, magic_size) == 0;
}

Array read_npy(Reader &in, const std::string &where, int32_t *collect) {
  const Header h = read_header(in, where, nullptr);
  int64_t shape[array::max_dimensions];
  memory_shape(h, shape);
  Array a = array::create(h.dtype, {shape, static_cast<std::size_t>(h.ndim)}, false, collect);
  // In pieces, which are still in the cache when they are looked at.
  const auto size = static_cast<int64_t>(array::element_size(h.dtype)), most = (int64_t{128} << 10) / size;
  for (int64_t i = 0; i < h.size; i += most) {
    const int64_t n = std::min(most, h.size - i);
    char *at = a.data<char>() + i * size;
    in.read(at, n * size);
    if (h.swapped)
      swap_bytes(at, h.dtype, n);
    array::clean_elements(at, h.dtype, n);
  }
  if (h.fortran)
    reverse_axes(*a.get());
  return a;
}

Array map_npy(const Source &source) {
  PartReader in(source, 0, source.size());
  int64_t offset = 0;
  const Header h = read_header(in, source.name(), &offset);
  if (source.memory())
    throw UnsupportedError(source.name() + ": only a regular file can be mapped; load it without mmap");
  if (h.swapped)
    throw UnsupportedError(source.name() + ": its elements are big-endian; load it without mmap");
  if (offset % static_cast<int64_t>(array::element_size(h.dtype)) != 0)
    throw UnsupportedError(source.name() + ": its elements are not aligned in the file; load it without mmap");
  struct Mapping {
    void *start;
    std::size_t bytes;
  };
  const auto bytes = static_cast<std::size_t>(offset + h.bytes);
  void *start = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, source.descriptor(), 0);
  if (start == MAP_FAILED)
    throw FileError("cannot map '" + source.name() + "': " + std::strerror(errno));
  const auto *data = static_cast<const uint8_t *>(start) + offset;
  int64_t shape[array::max_dimensions];
  memory_shape(h, shape);
  try {
    if (!array::elements_are_clean(data, h.dtype, h.size))
      throw UnsupportedError(source.name() + ": it holds " +
                             (h.dtype == PG_BOOL ? "bool elements other than 0 and 1" : "NaNs with a payload") +
                             "; load it without mmap");
    Array a = array::borrow(
        const_cast<uint8_t *>(data), h.dtype, {shape, static_cast<std::size_t>(h.ndim)},
        [](void *, void *context) {
          auto *mapping = static_cast<Mapping *>(context);
          ::munmap(mapping->start, mapping->bytes);
          delete mapping;
        },
        new Mapping{start, bytes}, true);
    if (h.fortran)
      reverse_axes(*a.get());
    return a;
  } catch (...) {
    ::munmap(start, bytes);
    throw;
  }
}

void write_npy(Sink &out, const pg_array &a) {
  static constexpr const char *codes[] = {"|b1", "|u1", "<i4", "<i8", "<f4", "<f8", "|i1",
                                          "<i2", "<u2", "<u4", "<u8", "<c8", "<c16"};
  if (a._dtype < 0 || a._dtype > PG_COMPLEX128)
    throw InternalError("an array of dtype " + std::to_string(a._dtype) + " cannot be saved");
  const bool rows = array::is_contiguous(a), columns = !rows && is_column_major(a);
  std::string header = std::string("{'descr': '") + codes[a._dtype] +
                       "', 'fortran_order': " + (columns ? "True" : "False") + ", 'shape': (";
  for (int i = 0; i < a._ndim; ++i)
    header += (i ? ", " : "") + std::to_string(a._shape[i]);
  header += a._ndim == 1 ? ",), }" : "), }";
  // The elements start at a multiple of 64 bytes, and the header ends with a line feed.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  char start[10] = {};
  std::memcpy(start, magic, magic_size);
  start[6] = 1;
  start[8] = static_cast<char>(header.size() & 255);
  start[9] = static_cast<char>(header.size() >> 8);
  out.write(start, sizeof start);
  out.write(header.data(), header.size());
  if (a._size == 0)
    return;
  if (rows || columns)
    out.write(a._data, static_cast<std::size_t>(a._size) * array::element_size(a._dtype));
  else
    write_strided(out, a);
}

} // namespace perigee::io
