#include "core/plugins.hpp"

#include "core/status.hpp"

#include <dlfcn.h>
#include <filesystem>
#include <unistd.h>

namespace perigee::core {

std::string library_path() {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<const void *>(&pg_version), &info) || !info.dli_fname)
    throw InternalError("cannot find the path of libperigee");
  void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle)
    return "";
  dlclose(handle);
  std::error_code error;
  auto path = std::filesystem::canonical(info.dli_fname, error);
  return error ? std::string(info.dli_fname) : path.string();
}

std::string plugin_path(const std::string &name) {
  const std::string library = library_path(), file = "libperigee-" + name + ".so";
  std::error_code ignored;
  const auto folder = library.empty()
                          ? std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "../lib"
                          : std::filesystem::path(library).parent_path();
  for (const auto &candidate : {folder / "perigee" / file, folder / file})
    if (access(candidate.c_str(), R_OK) == 0)
      return candidate.string();
  throw FileError("this build of Perigee has no module '" + name + "'");
}

void *plugin_symbol(const std::string &name, const char *symbol) {
  const std::string path = plugin_path(name);
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw FileError("module '" + name + "' cannot be loaded: " + dlerror());
  void *found = dlsym(library, symbol);
  if (!found)
    throw InternalError(path + " lacks " + symbol);
  return found;
}

} // namespace perigee::core
