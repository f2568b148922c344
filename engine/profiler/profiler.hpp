// Profilers of Lua code. What runs inside the VM is in natives.cpp (lua_CFunctions for profiler.lua); the sampler and
// the tracer keep their numbers in C++, so that measuring makes no garbage in the heap that is measured.
#pragma once

#include <cstdint>
#include <cstring>
#include <lua.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace perigee::profiler {

// Pushes a table of the functions that profiler.lua uses.
void open(lua_State *L);

// Whether a chunk is a module of the engine: those are named "@perigee:<module>".
inline bool is_engine(const char *source) {
  return std::strncmp(source, "@perigee:", 9) == 0;
}

// One frame of a Lua stack, as lua_getinfo tells it. `source` is an index into StackTree::sources.
struct Frame {
  int32_t source = 0;
  int32_t defined = 0; // line of the function's definition, 0 for a main chunk, -1 for a C function
  int32_t line = 0;    // current line, -1 where there is none
  int32_t name = -1;   // of an engine function called by a script: as it was called, an index as `source`; else -1
  bool operator==(const Frame &) const = default;
};

// Call stacks as a tree: node 0 is the root, every other a frame below its parent.
class StackTree {
 public:
  struct Node {
    int32_t parent;
    Frame frame;
  };
  StackTree() { clear(); }
  void clear();
  int32_t child(int32_t parent, const Frame &frame);
  // The index of a chunk's name. Names are compared by content: a chunk may be collected and its address used again.
  int32_t source(const char *name);

  const std::vector<Node> &nodes() const { return nodes_; }
  const std::vector<std::string> &sources() const { return sources_; }

 private:
  struct Key {
    int32_t parent;
    Frame frame;
    bool operator==(const Key &) const = default;
  };
  struct Hash {
    size_t operator()(const Key &key) const;
  };
  std::vector<Node> nodes_;
  std::vector<std::string> sources_;
  std::unordered_map<std::string, int32_t> by_name_;
  std::unordered_map<const void *, int32_t> by_address_;
  std::unordered_map<Key, int32_t, Hash> children_;
};

} // namespace perigee::profiler
