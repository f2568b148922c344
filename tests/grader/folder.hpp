// A folder for one test, gone at its end, and small exercises to put into it.
#pragma once

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace perigee::grader::testing {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "perigee-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  Folder(const Folder &) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

  // Writes a file, with the folders above it.
  void put(const std::string &name, const std::string &text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
  std::string get(const std::string &name) const {
    std::ifstream file(path / name, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  fs::path path;
};

// A whole exercise that says: double the number. `toml` replaces its exercise.toml.
inline const char *good_toml = R"(id = "basics/double"
title = "Double"
lesson = "basics"
difficulty = 2
minutes = 15
objectives = ["Return a result"]
modules = ["array", "timer"]
jit = "on"
state = "keep"
correctness = 4
hints = ["Add it to itself.", "Or multiply."]
[limits]
time = 2.5
memory = 64
[[cases]]
name = "small"
size = 3
trials = 5
[[cases]]
name = "large"
size = { n = 100, odd = true }
[[tiers]]
metric = "time"
against = "reference"
ratio = 0.5
points = 6
)";

inline void put_exercise(const Folder &folder, const std::string &toml = good_toml,
                         const std::string &id = "basics/double") {
  folder.put("exercises/" + id + "/exercise.toml", toml);
  folder.put("exercises/" + id + "/README.md", "# Double\n\nReturn twice the number.\n");
  folder.put("exercises/" + id + "/starter.lua", "return { solve = function(x) return x end }\n");
  folder.put(
      "exercises/" + id + "/cases.lua",
      "return { inputs = function(rng) return { rng:uniform() } end, expected = function(i) return 2 * i[1] end }\n");
  folder.put("solutions/" + id + "/reference.lua", "return { solve = function(x) return 2 * x end }\n");
  folder.put("solutions/" + id + "/naive.lua", "return { solve = function(x) return x + x end }\n");
}

} // namespace perigee::grader::testing
