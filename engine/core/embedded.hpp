// The Lua modules and ABI headers compiled into the library (see engine/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace perigee::core {

struct EmbeddedFile {
  std::string_view name; // "array.lua", "array_abi.h"
  std::string_view module; // "array": its folder
  std::string_view text;
};

// ABI headers first, in the order in which they must be declared.
extern const std::span<const EmbeddedFile> embedded_files;

} // namespace perigee::core
