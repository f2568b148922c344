// Files and memory as bytes to read, and files to write.
#include "io/io.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace perigee::io {
namespace {

std::string reason() {
  return std::strerror(errno);
}

} // namespace

std::string why_not_opened(const std::string &path) {
  const int error = errno;
  std::string text = std::strerror(error);
  std::error_code failed;
  if (const auto here = std::filesystem::current_path(failed);
      error == ENOENT && !failed && !path.empty() && path[0] != '/')
    text += " (looked in '" + here.string() + "', the working directory)";
  return text;
}

std::string show_byte(unsigned char c) {
  if (c == '\n')
    return "the end of the line";
  if (c >= 0x20 && c < 0x7f)
    return std::string("'") + static_cast<char>(c) + "'";
  char text[16];
  std::snprintf(text, sizeof text, "'\\x%02x'", c);
  return text;
}

std::string show_text(std::string_view text) {
  std::string shown = "'";
  for (unsigned char c : text.substr(0, 40)) {
    char code[8];
    if (c < 0x20 || c == 0x7f) {
      std::snprintf(code, sizeof code, "\\x%02x", c);
      shown += code;
    } else {
      shown += static_cast<char>(c);
    }
  }
  return shown + (text.size() > 40 ? "...'" : "'");
}

Source::Source(const char *data, int64_t size, bool text) {
  if (text) {
    memory_ = data;
    size_ = size;
    name_ = "the text";
    return;
  }
  name_.assign(data, static_cast<std::size_t>(size));
  if (name_.find('\0') != std::string::npos)
    throw FileError("a path cannot hold a zero byte");
  descriptor_ = ::open(name_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (descriptor_ < 0)
    throw FileError("cannot open '" + name_ + "': " + why_not_opened(name_));
  struct stat status {};
  const char *wrong = nullptr;
  if (::fstat(descriptor_, &status) != 0)
    wrong = std::strerror(errno);
  else if (S_ISDIR(status.st_mode))
    wrong = "it is a folder";
  else if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
    wrong = "it is neither a file nor a pipe";
  if (wrong) {
    ::close(std::exchange(descriptor_, -1));
    throw FileError("cannot read '" + name_ + "': " + wrong);
  }
  if (S_ISREG(status.st_mode) && status.st_size > 0) {
    size_ = status.st_size;
    return;
  }
  // A pipe, a device, or a file that does not know its size (/proc): to the end, in accounted memory.
  const int from = std::exchange(descriptor_, -1);
  try {
    for (;;) {
      held_.reserve(held_.size() + (1 << 16));
      const ssize_t got = ::read(from, held_.data() + held_.size(), 1 << 16);
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        throw FileError("cannot read '" + name_ + "': " + reason());
      if (got == 0)
        break;
      held_.extend(static_cast<std::size_t>(got));
      // An endless device (/dev/zero) must end somewhere even where a VM has no memory limit.
      if (held_.size() > std::size_t{1} << 32)
        throw FileError("cannot read '" + name_ + "': more than 4 GiB from something that is not a regular file");
    }
  } catch (...) {
    ::close(from);
    throw;
  }
  ::close(from);
  held_.push_back('\0'); // so that memory() is never null
  size_ = static_cast<int64_t>(held_.size()) - 1;
  memory_ = held_.data();
}

Source::Source(Source &&other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), memory_(other.memory_), size_(other.size_),
      name_(std::move(other.name_)), held_(std::move(other.held_)) {}

Source::~Source() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

void Source::read(int64_t offset, void *to, int64_t n) const {
  if (offset < 0 || n < 0 || n > size_ - offset)
    throw FileError(name_ + ": " + std::to_string(n) + " bytes are expected at byte " + std::to_string(offset) +
                    ", but it has only " + std::to_string(size_));
  if (n == 0)
    return;
  if (memory_) {
    std::memcpy(to, memory_ + offset, static_cast<std::size_t>(n));
    return;
  }
  auto *at = static_cast<char *>(to);
  while (n > 0) {
    const ssize_t got = ::pread(descriptor_, at, static_cast<std::size_t>(std::min<int64_t>(n, 1 << 30)), offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      throw FileError("cannot read '" + name_ + "': " + reason());
    if (got == 0)
      throw FileError("cannot read '" + name_ + "': it became shorter while it was read, and ends at byte " +
                      std::to_string(offset));
    at += got;
    offset += got;
    n -= got;
  }
}

void PartReader::read(void *to, int64_t n) {
  if (n > remaining)
    throw FileError(source_.name() + ": " + std::to_string(n) + " bytes are expected at byte " +
                    std::to_string(offset_) + ", but only " + std::to_string(remaining) + " are there");
  source_.read(offset_, to, n);
  offset_ += n;
  remaining -= n;
}

Output::Output(const std::string &path, bool append) : path_(path) {
  if (path_.find('\0') != std::string::npos)
    throw FileError("a path cannot hold a zero byte");
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (append ? O_APPEND : O_TRUNC), 0666);
  if (descriptor_ < 0)
    throw FileError("cannot open '" + path_ + "' for writing: " + why_not_opened(path_));
  buffer_.reserve(1 << 18);
}

Output::~Output() {
  if (descriptor_ < 0)
    return;
  try {
    flush();
  } catch (...) { // only close() can report it
  }
  ::close(descriptor_);
}

void Output::fail(const char *verb) {
  throw FileError(std::string("cannot ") + verb + " '" + path_ + "': " + reason());
}

void Output::put(const char *bytes, std::size_t n) {
  while (n > 0) {
    const ssize_t done = ::write(descriptor_, bytes, std::min(n, std::size_t{1} << 30));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      fail("write");
    bytes += done;
    n -= static_cast<std::size_t>(done);
  }
}

void Output::flush() {
  // Emptied first: what failed once is not tried again by the destructor.
  std::vector<char> full;
  full.swap(buffer_);
  put(full.data(), full.size());
  full.clear();
  buffer_.swap(full);
}

void Output::write(const void *bytes, std::size_t n) {
  if (descriptor_ < 0)
    throw FileError("'" + path_ + "' is closed already");
  if (n >= std::size_t{1} << 16) {
    flush();
    // Room at once: else the file system reserves it page by page, and ext4 waits for the disk when a file that was cut
    // to nothing is closed (three times the wall time of writing 32 MB). What cannot be had, write() reports.
    if (n >= std::size_t{1} << 20)
      static_cast<void>(::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, position_, static_cast<off_t>(n)));
    put(static_cast<const char *>(bytes), n);
  } else {
    if (buffer_.size() + n > std::size_t{1} << 18)
      flush();
    const auto *from = static_cast<const char *>(bytes);
    buffer_.insert(buffer_.end(), from, from + n);
  }
  position_ += static_cast<int64_t>(n);
}

void Output::patch(int64_t offset, const void *bytes, std::size_t n) {
  flush();
  const auto *from = static_cast<const char *>(bytes);
  while (n > 0) {
    const ssize_t done = ::pwrite(descriptor_, from, n, offset);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      fail("write");
    from += done;
    offset += done;
    n -= static_cast<std::size_t>(done);
  }
}

void Output::close() {
  if (descriptor_ < 0)
    return;
  flush();
  if (::close(std::exchange(descriptor_, -1)) != 0)
    fail("write");
}

} // namespace perigee::io
