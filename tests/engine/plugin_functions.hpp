// Functions of a plugin's C ABI, from the file that the engine would load.
#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace perigee {

class PluginFunctions {
 public:
  explicit PluginFunctions(const std::string &name) {
    const std::string path = PERIGEE_BUILD "/lib/perigee/libperigee-" + name + ".so";
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle_)
      throw std::runtime_error(dlerror());
  }
  /// get<decltype(pg_fft_roll)>("pg_fft_roll")
  template <class Function> Function *get(const char *name) const {
    void *found = dlsym(handle_, name);
    if (!found)
      throw std::runtime_error(dlerror());
    return reinterpret_cast<Function *>(found);
  }

 private:
  void *handle_; // never closed: OpenBLAS's threads are in it
};

#define PERIGEE_PLUGIN_FUNCTION(plugin, name) const auto name = (plugin).get<decltype(::name)>(#name)

} // namespace perigee
