#include "profiler/profiler.hpp"

namespace perigee::profiler {

void StackTree::clear() {
  nodes_.assign(1, Node{-1, {}});
  sources_.clear();
  by_name_.clear();
  by_address_.clear();
  children_.clear();
}

size_t StackTree::Hash::operator()(const Key &key) const {
  uint64_t h = uint32_t(key.parent) * 0x9e3779b97f4a7c15u;
  h = (h ^ uint32_t(key.frame.source)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 29) ^ uint32_t(key.frame.defined)) * 0xc4ceb9fe1a85ec53u;
  h = (h ^ (h >> 32) ^ uint32_t(key.frame.line) ^ uint32_t(key.frame.name) << 20) * 0x9e3779b97f4a7c15u;
  return size_t(h ^ (h >> 31));
}

int32_t StackTree::child(int32_t parent, const Frame &frame) {
  auto [at, added] = children_.try_emplace({parent, frame}, int32_t(nodes_.size()));
  if (added)
    nodes_.push_back({parent, frame});
  return at->second;
}

int32_t StackTree::source(const char *name) {
  if (auto at = by_address_.find(name); at != by_address_.end() && sources_[size_t(at->second)] == name)
    return at->second;
  auto [at, added] = by_name_.try_emplace(name, int32_t(sources_.size()));
  if (added)
    sources_.emplace_back(name);
  by_address_[name] = at->second;
  return at->second;
}

} // namespace perigee::profiler
