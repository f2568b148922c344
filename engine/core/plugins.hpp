// Where the engine's plugins are, libperigee-<name>.so, and what they export.
#pragma once

#include <string>

namespace perigee::core {

/// The path of this library as it was loaded; "" where the engine is linked into the main program (the C++ tests).
std::string library_path();

/// The path of a plugin: in perigee/ beside the library, or beside it. Throws FileError where there is none.
std::string plugin_path(const std::string &name);

/// A symbol of a plugin, which is loaded for it and stays. Throws FileError and InternalError.
void *plugin_symbol(const std::string &name, const char *symbol);

} // namespace perigee::core
