// Files inside the engine: bytes from a file or from memory, bytes to a file, and growing memory that is accounted. The
// readers check every size that a file states against the bytes that there are before they allocate.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace perigee::io {

/// A growing run of plain values, accounted to the VM like array memory. For one thread at a time.
template <class T> class Pool {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Pool() = default;
  Pool(Pool &&other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)), owner_(other.owner_) {}
  Pool &operator=(Pool &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Pool() { free(); }

  T *data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  T &operator[](std::size_t i) const { return data_[i]; }
  T &back() const { return data_[size_ - 1]; }
  void clear() { size_ = 0; }
  void pop_back() { --size_; }
  void truncate(std::size_t n) { size_ = n; }
  void free() {
    if (data_) {
      std::free(data_);
      pg_memory_release(bytes(capacity_), owner_);
    }
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  /// Makes room for n values in all.
  void reserve(std::size_t n) {
    if (n <= capacity_)
      return;
    const std::size_t wanted = std::max({n, capacity_ + capacity_ / 2, std::size_t{64}});
    int32_t collect = 0;
    if (capacity_ == 0)
      owner_ = pg_memory_owner();
    if (int32_t status = pg_memory_reserve(bytes(wanted - capacity_), &collect); status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    void *grown = std::realloc(static_cast<void *>(data_), wanted * sizeof(T));
    if (!grown) {
      pg_memory_release(bytes(wanted - capacity_), owner_);
      throw std::bad_alloc();
    }
    data_ = static_cast<T *>(grown);
    capacity_ = wanted;
  }
  void push_back(T value) {
    if (size_ == capacity_)
      reserve(size_ + 1);
    data_[size_++] = value;
  }
  void append(const T *values, std::size_t n) {
    if (n == 0)
      return;
    reserve(size_ + n);
    std::memcpy(static_cast<void *>(data_ + size_), values, n * sizeof(T));
    size_ += n;
  }
  /// n more values, not set; returns where they start.
  T *extend(std::size_t n) {
    reserve(size_ + n);
    size_ += n;
    return data_ + size_ - n;
  }

 private:
  static int64_t bytes(std::size_t n) { return static_cast<int64_t>(n * sizeof(T)); }
  T *data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
  int64_t owner_ = 0;
};

/// Bytes to read: a file (a regular one is read where asked; a pipe is first read to its end) or text in memory, which
/// the caller keeps.
class Source {
 public:
  Source() = default;
  /// `text`: the bytes themselves are in [data, data + size); else they are a path.
  Source(const char *data, int64_t size, bool text);
  Source(Source &&other) noexcept;
  Source &operator=(Source &&) = delete;
  ~Source();

  int64_t size() const { return size_; }
  /// "data.csv", or "the text": how messages begin.
  const std::string &name() const { return name_; }
  /// Exactly n bytes from offset, which must be there; a file that shrank meanwhile is an error.
  void read(int64_t offset, void *to, int64_t n) const;
  /// The bytes themselves where they are in memory, else null.
  const char *memory() const { return memory_; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
  const char *memory_ = nullptr;
  int64_t size_ = 0;
  std::string name_;
  Pool<char> held_;
};

/// Reads in order; knows how much there is to come.
class Reader {
 public:
  virtual ~Reader() = default;
  /// Exactly n bytes; an error that names the offset where there are fewer.
  virtual void read(void *to, int64_t n) = 0;
  int64_t remaining = 0;
};

/// A part of a source.
class PartReader : public Reader {
 public:
  PartReader(const Source &source, int64_t offset, int64_t bytes) : source_(source), offset_(offset) {
    remaining = bytes;
  }
  void read(void *to, int64_t n) override;
  int64_t offset() const { return offset_; }

 private:
  const Source &source_;
  int64_t offset_;
};

/// Takes bytes in order.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const void *bytes, std::size_t n) = 0;
};

/// A file being written, through a buffer. close() reports what the destructor cannot.
class Output : public Sink {
 public:
  explicit Output(const std::string &path, bool append = false);
  Output(const Output &) = delete;
  ~Output() override;
  void write(const void *bytes, std::size_t n) override;
  void write(std::string_view text) { write(text.data(), text.size()); }
  void flush();
  /// Writes over what was written before.
  void patch(int64_t offset, const void *bytes, std::size_t n);
  int64_t position() const { return position_; }
  void close();
  bool closed() const { return descriptor_ < 0; }

 private:
  void put(const char *bytes, std::size_t n);
  [[noreturn]] void fail(const char *verb);
  std::string path_;
  int descriptor_ = -1;
  int64_t position_ = 0;
  std::vector<char> buffer_;
};

/// An array from the bytes of an npy file. `where` begins the messages: "a.npy" or "a.npz: entry 'x'".
array::Array read_npy(Reader &in, const std::string &where, int32_t *collect);
void write_npy(Sink &out, const pg_array &a);
bool looks_like_npy(const Source &source);
bool looks_like_zip(const Source &source);
/// A read-only array in the mapped file.
array::Array map_npy(const Source &source);

/// The error of an open() that failed, in words; of a file that is not there also where it was looked for.
std::string why_not_opened(const std::string &path);
/// "'\\x07'" and "'a'": how a byte is shown in messages.
std::string show_byte(unsigned char c);
/// The first bytes of a text in quotes, for messages.
std::string show_text(std::string_view text);

} // namespace perigee::io
