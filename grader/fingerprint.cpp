#include "fingerprint.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

class Hash {
 public:
  Hash() { crypto_generichash_init(&state_, nullptr, 0, crypto_generichash_BYTES); }

  // With its length in front, so that no two lists of texts have the same bytes.
  void add(const std::string &text) {
    const uint64_t size = text.size();
    update(&size, sizeof size);
    update(text.data(), text.size());
  }

  std::string hex() {
    std::array<unsigned char, crypto_generichash_BYTES> bytes;
    crypto_generichash_final(&state_, bytes.data(), bytes.size());
    std::string text;
    for (const unsigned char byte : bytes)
      text += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return text;
  }

 private:
  void update(const void *data, std::size_t size) {
    crypto_generichash_update(&state_, static_cast<const unsigned char *>(data), size);
  }
  crypto_generichash_state state_;
};

bool read(const fs::path &file, std::string &text) {
  std::ifstream in(file, std::ios::binary);
  text.clear();
  for (char buffer[16384]; in.read(buffer, sizeof buffer), in.gcount() > 0;)
    text.append(buffer, static_cast<std::size_t>(in.gcount()));
  return in.eof() && !in.bad();
}

} // namespace

std::string fingerprint(const Exercise &exercise, const fs::path &script) {
  std::error_code error;
  std::string text;
  if (!fs::is_regular_file(fs::symlink_status(script, error)) || !read(script, text))
    return {};
  Hash hash;
  hash.add(PERIGEE_VERSION);
  hash.add(exercise.id);
  hash.add(text);
  for (const fs::path &folder : {exercise.folder, exercise.solutions}) {
    std::vector<fs::path> files;
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file(error))
        files.push_back(it->path());
    std::sort(files.begin(), files.end());
    for (const fs::path &file : files) {
      if (!read(file, text))
        return {};
      hash.add(file.lexically_relative(folder).string());
      hash.add(text);
    }
    hash.add(""); // the end of the folder
  }
  return hash.hex();
}

} // namespace perigee::grader
