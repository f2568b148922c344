// Zip archives of npy files.
#pragma once

#include "io/io.hpp"

namespace perigee::io {

struct Member {
  std::string name;
  int method = 0; // 0 stored, 8 deflated
  uint32_t crc = 0;
  int64_t size = 0, compressed = 0, offset = 0; // offset of the member's header
};

/// Reads and checks the directory; members are read when asked for.
class ZipReader {
 public:
  explicit ZipReader(Source &&source);
  const std::vector<Member> &members() const { return members_; }
  array::Array read(std::size_t i, int32_t *collect) const;

 private:
  Source source_;
  std::vector<Member> members_;
};

class ZipWriter {
 public:
  ZipWriter(const std::string &path, bool compress) : out_(path), compress_(compress) {}
  void add(const std::string &name, const pg_array &a);
  void finish();

 private:
  class MemberSink;
  Output out_;
  bool compress_;
  std::vector<Member> members_;
};

} // namespace perigee::io
