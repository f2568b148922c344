// npz files: zip archives of npy files, stored or deflated, with zip64. Only what NumPy writes and what hostile files
// try; zlib does the compression. A member states its size; deflate expands by at most 1032 to 1 (zlib's
// documentation), so a statement above that is refused before anything is allocated, and members may not claim more
// than the file's bytes.
#include "io/zip.hpp"

#include <algorithm>
#include <zlib.h>

namespace perigee::io {
namespace {

constexpr int64_t deflate_limit = 1032;
constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                   end64_signature = 0x06064b50, locator_signature = 0x07064b50;

uint16_t get16(const unsigned char *p) {
  return static_cast<uint16_t>(p[0] | p[1] << 8);
}
uint32_t get32(const unsigned char *p) {
  return get16(p) | static_cast<uint32_t>(get16(p + 2)) << 16;
}
uint64_t get64(const unsigned char *p) {
  return get32(p) | static_cast<uint64_t>(get32(p + 4)) << 32;
}

void put(std::string &to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    to += static_cast<char>(value >> (8 * i) & 255);
}

uint32_t add_crc(uint32_t crc, const void *bytes, std::size_t n) {
  const auto *at = static_cast<const Bytef *>(bytes);
  while (n > 0) {
    const auto part = static_cast<uInt>(std::min(n, std::size_t{1} << 30));
    crc = static_cast<uint32_t>(crc32(crc, at, part));
    at += part;
    n -= part;
  }
  return crc;
}

// A member's bytes, inflated where deflated, with the checksum along the way.
class MemberReader : public Reader {
 public:
  MemberReader(const Source &source, const Member &member, int64_t data, const std::string &where)
      : part_(source, data, member.compressed), member_(member), where_(where) {
    remaining = member.size;
    if (member.method == 8) {
      if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK)
        throw std::bad_alloc();
      buffer_.resize(std::size_t{1} << 16);
    }
  }
  ~MemberReader() override {
    if (member_.method == 8)
      inflateEnd(&stream_);
  }

  void read(void *to, int64_t n) override {
    if (n > remaining)
      throw FileError(where_ + ": " + std::to_string(n) + " more bytes are expected, but only " +
                      std::to_string(remaining) + " are there");
    if (member_.method == 8)
      inflate_to(static_cast<char *>(to), n);
    else
      part_.read(to, n);
    crc_ = add_crc(crc_, to, static_cast<std::size_t>(n));
    remaining -= n;
  }

  // Reads what is left and compares the checksum.
  void finish() {
    char rest[4096];
    while (remaining > 0)
      read(rest, std::min<int64_t>(remaining, sizeof rest));
    if (crc_ != member_.crc)
      throw FileError(where_ + ": its checksum does not match: the file is damaged");
  }

 private:
  void inflate_to(char *to, int64_t n) {
    while (n > 0) {
      if (stream_.avail_in == 0 && part_.remaining > 0) {
        const int64_t take = std::min<int64_t>(part_.remaining, static_cast<int64_t>(buffer_.size()));
        part_.read(buffer_.data(), take);
        stream_.next_in = buffer_.data();
        stream_.avail_in = static_cast<uInt>(take);
      }
      const auto room = static_cast<uInt>(std::min<int64_t>(n, 1 << 30));
      stream_.next_out = reinterpret_cast<Bytef *>(to);
      stream_.avail_out = room;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      const int64_t done = room - stream_.avail_out;
      to += done;
      n -= done;
      if (n == 0)
        return;
      if (result == Z_STREAM_END || (result == Z_BUF_ERROR && part_.remaining == 0))
        throw FileError(where_ + ": its compressed data end " + std::to_string(n) + " bytes early, near byte " +
                        std::to_string(part_.offset()));
      if (result != Z_OK && result != Z_BUF_ERROR)
        throw FileError(where_ + ": its compressed data are damaged near byte " + std::to_string(part_.offset()) +
                        (stream_.msg ? std::string(" (") + stream_.msg + ")" : ""));
    }
  }

  PartReader part_;
  const Member &member_;
  std::string where_;
  z_stream stream_{};
  std::vector<Bytef> buffer_;
  uint32_t crc_ = 0;
};

} // namespace

bool looks_like_zip(const Source &source) {
  unsigned char start[4];
  if (source.size() < 4)
    return false;
  source.read(0, start, 4);
  return get32(start) == local_signature || get32(start) == end_signature;
}

ZipReader::ZipReader(Source &&source) : source_(std::move(source)) {
  const int64_t size = source_.size();
  const auto damaged = [&](const std::string &what, int64_t at) {
    return FileError(source_.name() + ": not a sound zip file: " + what + " at byte " + std::to_string(at));
  };
  // The end record: the last 22 bytes, or before a comment of up to 65535.
  const int64_t tail = std::min<int64_t>(size, 22 + 65535);
  std::vector<unsigned char> bytes(static_cast<std::size_t>(tail));
  source_.read(size - tail, bytes.data(), tail);
  int64_t end = -1;
  for (int64_t i = tail - 22; i >= 0 && end < 0; --i)
    if (get32(&bytes[static_cast<std::size_t>(i)]) == end_signature)
      end = i;
  if (end < 0)
    throw FileError(source_.name() + ": not a zip file, or cut short: it has no end record");
  const unsigned char *record = &bytes[static_cast<std::size_t>(end)];
  uint64_t count = get16(record + 10), directory_size = get32(record + 12), directory = get32(record + 16);
  const int64_t end_at = size - tail + end;
  if (end_at >= 20) {
    unsigned char locator[20], end64[56];
    source_.read(end_at - 20, locator, 20);
    if (get32(locator) == locator_signature) {
      const uint64_t at = get64(locator + 8);
      if (at > static_cast<uint64_t>(size) - 56 || size < 56)
        throw damaged("its zip64 end record is said to be beyond its end,", end_at - 20);
      source_.read(static_cast<int64_t>(at), end64, 56);
      if (get32(end64) != end64_signature)
        throw damaged("no zip64 end record", static_cast<int64_t>(at));
      count = get64(end64 + 32);
      directory_size = get64(end64 + 40);
      directory = get64(end64 + 48);
    }
  }
  if (directory > static_cast<uint64_t>(end_at) || directory_size > static_cast<uint64_t>(end_at) - directory)
    throw damaged("its directory is said to lie beyond its end,", end_at);
  if (count > directory_size / 46)
    throw damaged("a directory of " + std::to_string(directory_size) + " bytes cannot hold " + std::to_string(count) +
                      " members,",
                  end_at);
  std::vector<unsigned char> list(static_cast<std::size_t>(directory_size));
  source_.read(static_cast<int64_t>(directory), list.data(), static_cast<int64_t>(directory_size));
  uint64_t at = 0, compressed = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const auto here = static_cast<int64_t>(directory + at);
    if (directory_size - at < 46 || get32(&list[at]) != central_signature)
      throw damaged("no entry of the directory", here);
    const unsigned char *p = &list[at];
    const uint64_t name_size = get16(p + 28), extra_size = get16(p + 30), comment_size = get16(p + 32);
    if (directory_size - at - 46 < name_size + extra_size + comment_size)
      throw damaged("an entry longer than the directory", here);
    Member m;
    m.name.assign(reinterpret_cast<const char *>(p + 46), name_size);
    const std::string named = source_.name() + ": member " + show_text(m.name);
    m.method = get16(p + 10);
    m.crc = get32(p + 16);
    uint64_t values[3] = {get32(p + 24), get32(p + 20), get32(p + 42)}; // size, compressed, offset
    // zip64: the values that do not fit, in this order, in an extra field of kind 1.
    for (const unsigned char *e = p + 46 + name_size, *stop = e + extra_size; stop - e >= 4;) {
      const uint64_t field = get16(e + 2);
      if (static_cast<uint64_t>(stop - e - 4) < field)
        throw damaged("an extra field longer than its entry", here);
      const unsigned char *v = e + 4, *v_end = v + field;
      if (get16(e) == 1)
        for (uint64_t &value : values)
          if (value == 0xffffffff && v_end - v >= 8) {
            value = get64(v);
            v += 8;
          }
      e = v_end;
    }
    if (get16(p + 8) & 1)
      throw UnsupportedError(named + " is encrypted; write it without a password");
    if (m.method != 0 && m.method != 8)
      throw UnsupportedError(named + " is compressed by method " + std::to_string(m.method) +
                             "; readable are stored (0) and deflated (8) members");
    compressed += values[1]; // cannot overflow: each is at most the file's size
    if (values[1] > static_cast<uint64_t>(size) || compressed > static_cast<uint64_t>(size) || values[2] > directory)
      throw FileError(named + " is said to be larger than the file has room for");
    m.compressed = static_cast<int64_t>(values[1]);
    m.offset = static_cast<int64_t>(values[2]);
    if (m.method == 0 ? values[0] != values[1]
                      : values[0] > static_cast<uint64_t>(m.compressed) * deflate_limit + deflate_limit)
      throw FileError(named + " is said to have " + std::to_string(values[0]) + " bytes, which " +
                      std::to_string(m.compressed) + " bytes in the file cannot hold");
    m.size = static_cast<int64_t>(values[0]);
    members_.push_back(std::move(m));
    at += 46 + name_size + extra_size + comment_size;
  }
}

array::Array ZipReader::read(std::size_t i, int32_t *collect) const {
  const Member &m = members_[i];
  const std::string where = source_.name() + ": member " + show_text(m.name);
  unsigned char local[30];
  if (source_.size() - m.offset < 30)
    throw FileError(where + ": the file ends within its header at byte " + std::to_string(m.offset));
  source_.read(m.offset, local, 30);
  if (get32(local) != local_signature)
    throw FileError(where + ": no member begins at byte " + std::to_string(m.offset));
  const int64_t data = m.offset + 30 + get16(local + 26) + get16(local + 28);
  if (data > source_.size() || m.compressed > source_.size() - data)
    throw FileError(where + ": the file ends before its " + std::to_string(m.compressed) + " bytes at byte " +
                    std::to_string(data));
  MemberReader in(source_, m, data, where);
  array::Array a = read_npy(in, where, collect);
  in.finish();
  return a;
}

// A member being written: its checksum and sizes are known at the end, and patched into its header.
class ZipWriter::MemberSink : public Sink {
 public:
  MemberSink(Output &out, Member &member) : out_(out), member_(member) {
    if (member_.method == 8) {
      if (deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        throw std::bad_alloc();
      buffer_.resize(std::size_t{1} << 16);
    }
  }
  ~MemberSink() override {
    if (member_.method == 8)
      deflateEnd(&stream_);
  }
  void write(const void *bytes, std::size_t n) override {
    member_.crc = add_crc(member_.crc, bytes, n);
    member_.size += static_cast<int64_t>(n);
    if (member_.method == 0) {
      out_.write(bytes, n);
      return;
    }
    const auto *at = static_cast<const Bytef *>(bytes);
    while (n > 0) {
      const auto part = static_cast<uInt>(std::min(n, std::size_t{1} << 30));
      run(at, part, Z_NO_FLUSH);
      at += part;
      n -= part;
    }
  }
  void finish() {
    if (member_.method == 8)
      run(nullptr, 0, Z_FINISH);
  }

 private:
  void run(const Bytef *bytes, uInt n, int flush) {
    stream_.next_in = const_cast<Bytef *>(bytes);
    stream_.avail_in = n;
    do {
      stream_.next_out = buffer_.data();
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      deflate(&stream_, flush);
      out_.write(buffer_.data(), buffer_.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
  }
  Output &out_;
  Member &member_;
  z_stream stream_{};
  std::vector<Bytef> buffer_;
};

void ZipWriter::add(const std::string &name, const pg_array &a) {
  if (name.size() > 60000)
    throw ArgumentError("the name of an array in an npz file is longer than 60000 bytes");
  Member m;
  m.name = name + ".npy";
  m.method = compress_ ? 8 : 0;
  m.offset = out_.position();
  // As NumPy does it: always with zip64 sizes, since they are not known yet. 2048: the name is UTF-8.
  std::string header;
  put(header, local_signature, 4);
  put(header, 45, 2);
  put(header, 2048, 2);
  put(header, m.method, 2);
  put(header, 0, 2);
  put(header, 33, 2); // 1 January 1980: the same bytes every time
  put(header, 0, 4);
  put(header, 0xffffffff, 4);
  put(header, 0xffffffff, 4);
  put(header, m.name.size(), 2);
  put(header, 20, 2);
  header += m.name;
  put(header, 1, 2);
  put(header, 16, 2);
  put(header, 0, 8);
  put(header, 0, 8);
  out_.write(header);
  const int64_t start = out_.position();
  MemberSink sink(out_, m);
  write_npy(sink, a);
  sink.finish();
  m.compressed = out_.position() - start;
  std::string crc, sizes;
  put(crc, m.crc, 4);
  put(sizes, static_cast<uint64_t>(m.size), 8);
  put(sizes, static_cast<uint64_t>(m.compressed), 8);
  out_.patch(m.offset + 14, crc.data(), 4);
  out_.patch(start - 16, sizes.data(), 16);
  members_.push_back(std::move(m));
}

void ZipWriter::finish() {
  const auto directory = static_cast<uint64_t>(out_.position());
  for (const Member &m : members_) {
    const uint64_t values[] = {static_cast<uint64_t>(m.size), static_cast<uint64_t>(m.compressed),
                               static_cast<uint64_t>(m.offset)};
    std::string extra;
    for (uint64_t value : values)
      if (value >= 0xffffffff)
        put(extra, value, 8);
    std::string entry;
    put(entry, central_signature, 4);
    put(entry, 45, 2);
    put(entry, 45, 2);
    put(entry, 2048, 2);
    put(entry, m.method, 2);
    put(entry, 0, 2);
    put(entry, 33, 2);
    put(entry, m.crc, 4);
    put(entry, std::min<uint64_t>(values[1], 0xffffffff), 4);
    put(entry, std::min<uint64_t>(values[0], 0xffffffff), 4);
    put(entry, m.name.size(), 2);
    put(entry, extra.empty() ? 0 : extra.size() + 4, 2);
    put(entry, 0, 2); // comment
    put(entry, 0, 2); // disk
    put(entry, 0, 2);
    put(entry, 0600u << 16, 4);
    put(entry, std::min<uint64_t>(values[2], 0xffffffff), 4);
    entry += m.name;
    if (!extra.empty()) {
      put(entry, 1, 2);
      put(entry, extra.size(), 2);
      entry += extra;
    }
    out_.write(entry);
  }
  const auto end = static_cast<uint64_t>(out_.position()), size = end - directory, count = uint64_t{members_.size()};
  std::string record;
  if (count >= 0xffff || size >= 0xffffffff || directory >= 0xffffffff) {
    put(record, end64_signature, 4);
    put(record, 44, 8);
    put(record, 45, 2);
    put(record, 45, 2);
    put(record, 0, 8);
    put(record, count, 8);
    put(record, count, 8);
    put(record, size, 8);
    put(record, directory, 8);
    put(record, locator_signature, 4);
    put(record, 0, 4);
    put(record, end, 8);
    put(record, 1, 4);
  }
  put(record, end_signature, 4);
  put(record, 0, 4);
  put(record, std::min<uint64_t>(count, 0xffff), 2);
  put(record, std::min<uint64_t>(count, 0xffff), 2);
  put(record, std::min<uint64_t>(size, 0xffffffff), 4);
  put(record, std::min<uint64_t>(directory, 0xffffffff), 4);
  put(record, 0, 2);
  out_.write(record);
  out_.close();
}

} // namespace perigee::io
