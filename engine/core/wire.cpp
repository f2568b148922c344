#include "core/wire.hpp"

#include <lua.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "array/foreign.hpp"

namespace perigee::wire {
namespace {

constexpr uint64_t magic = 0x31657269'77676570; // "pegwire1"

struct Header {
  uint64_t magic;
  uint64_t bytes; // of the whole blob
  uint64_t array_count;
  uint64_t value_words;
  uint64_t external; // 1: array places are addresses
  uint64_t unused[3];
};
static_assert(sizeof(Header) == 64);
static_assert(sizeof(ArrayEntry) == 88);

enum Tag : uint64_t { tag_nil, tag_false, tag_true, tag_numbers, tag_string, tag_array, tag_table };

// A table's word counts its list and its remaining pairs in 28 bits each.
constexpr uint64_t most_items = (uint64_t(1) << 28) - 1;

constexpr uint64_t padded(uint64_t n) {
  return (n + alignment - 1) / alignment * alignment;
}
constexpr int lua_tcdata = 10; // LuaJIT's own type, absent from lua.h

bool is_integer_in(double key, std::size_t count) {
  return key >= 1 && key <= double(count) && key == std::floor(key);
}

// The parts of a blob whose header and entries have been checked.
struct Parts {
  const std::byte *base = nullptr;
  std::span<const ArrayEntry> entries;
  const uint64_t *words = nullptr;
  uint64_t word_count = 0;
};

bool check_entry(const ArrayEntry &entry, const char *&error) {
  std::size_t item = array::element_size(entry.dtype);
  if (item == 0)
    return error = "an array of unknown dtype", false;
  if (entry.ndim < 0 || entry.ndim > 8)
    return error = "an array of an impossible number of dimensions", false;
  uint64_t size = 1;
  bool empty = false;
  for (int i = 0; i < 8; ++i) {
    int64_t extent = entry.shape[i];
    if (i >= entry.ndim ? extent != 0 : extent < 0 || extent > int64_t(1) << 48)
      return error = "an array of an impossible shape", false;
    if (i < entry.ndim) {
      empty = empty || extent == 0;
      // Overflow is checked against the product of the non-empty extents, so that (0, 2^48, 2^48) is refused too.
      if (extent > 0 && size > (uint64_t(1) << 48) / uint64_t(extent))
        return error = "an array of an impossible shape", false;
      size *= uint64_t(std::max<int64_t>(extent, 1));
    }
  }
  if (entry.bytes != (empty ? 0 : size * item))
    return error = "an array whose size does not fit its shape", false;
  return true;
}

bool split(std::span<const std::byte> blob, const Limits &limits, bool external, Parts &parts, const char *&error) {
  if (reinterpret_cast<uintptr_t>(blob.data()) % 8 != 0)
    return error = "a misaligned blob", false;
  if (blob.size() > limits.bytes)
    return error = "a blob that is too large", false;
  if (blob.size() < sizeof(Header))
    return error = "a truncated header", false;
  const auto &header = *reinterpret_cast<const Header *>(blob.data());
  if (header.magic != magic || header.bytes != blob.size() || header.external != uint64_t(external) ||
      header.unused[0] | header.unused[1] | header.unused[2])
    return error = "a bad header", false;
  uint64_t rest = blob.size() - sizeof(Header);
  if (header.array_count > limits.arrays || header.array_count > rest / sizeof(ArrayEntry))
    return error = "too many arrays", false;
  rest -= header.array_count * sizeof(ArrayEntry);
  if (header.value_words > rest / 8)
    return error = "truncated values", false;
  parts.base = blob.data();
  parts.entries = {reinterpret_cast<const ArrayEntry *>(blob.data() + sizeof(Header)), header.array_count};
  parts.words = reinterpret_cast<const uint64_t *>(parts.entries.data() + header.array_count);
  parts.word_count = header.value_words;

  uint64_t end = sizeof(Header) + header.array_count * sizeof(ArrayEntry) + header.value_words * 8;
  uint64_t total = end;
  for (const ArrayEntry &entry : parts.entries) {
    if (!check_entry(entry, error))
      return false;
    if (external) {
      if (entry.bytes > limits.bytes || (total += entry.bytes) > limits.bytes)
        return error = "arrays that are too large", false;
      continue;
    }
    // Data parts follow each other in order, so no two arrays overlap.
    if (entry.place != padded(end) || entry.bytes > blob.size() || entry.place > blob.size() - entry.bytes)
      return error = "array data out of place", false;
    end = entry.place + entry.bytes;
  }
  if (end != blob.size())
    return error = "bytes after the end", false;
  return true;
}

// Reads value words and tells a sink, which works like a stack: scalars and tables are pushed, item() and pair() put
// the top into the table below. This is the one place that checks the grammar.
template <class Sink> class Walker {
 public:
  Walker(const Parts &parts, Sink &sink) : parts_(parts), at_(parts.words), end_(at_ + parts.word_count), sink_(sink) {}

  bool all(const char *&error) {
    bool ok = value(0);
    if (ok && at_ != end_)
      ok = fail("values after the end");
    if (ok && next_array_ != parts_.entries.size())
      ok = fail("an array that no value uses");
    error = error_;
    return ok;
  }

 private:
  bool fail(const char *message) {
    error_ = message;
    return false;
  }
  uint64_t left() const { return uint64_t(end_ - at_); }

  bool value(int depth) {
    if (at_ == end_)
      return fail("truncated values");
    uint64_t word = *at_++, count = word >> 8;
    switch (word & 0xff) {
    case tag_nil:
      return count == 0 ? sink_.nil() : fail("a bad value");
    case tag_false:
    case tag_true:
      return count == 0 ? sink_.boolean((word & 0xff) == tag_true) : fail("a bad value");
    case tag_numbers: {
      if (count != 1 || left() < 1)
        return fail("a bad number");
      double number;
      std::memcpy(&number, at_++, 8);
      return sink_.number(number);
    }
    case tag_string: {
      if (count / 8 > left() || (count + 7) / 8 > left())
        return fail("a truncated string");
      std::string_view text(reinterpret_cast<const char *>(at_), count);
      at_ += (count + 7) / 8;
      return sink_.string(text);
    }
    case tag_array:
      // Each array exactly once, in order.
      if (count != next_array_ || count >= parts_.entries.size())
        return fail("a bad array number");
      ++next_array_;
      return sink_.array(parts_.entries[count]);
    case tag_table:
      return table(count & most_items, count >> 28, depth);
    default:
      return fail("a value of unknown kind");
    }
  }

  bool table(uint64_t items, uint64_t pairs, int depth) {
    if (depth == max_depth)
      return fail("tables nested too deep");
    if (items > left() || pairs > left() / 2 || items + 2 * pairs > left()) // every item takes at least a word
      return fail("a truncated table");
    if (!sink_.table(items, pairs))
      return fail("a table that is too large");
    for (uint64_t done = 0; done < items;) {
      if (at_ == end_)
        return fail("a truncated list");
      uint64_t word = *at_, count = word >> 8;
      if ((word & 0xff) == tag_numbers) {
        ++at_;
        if (count == 0 || count > items - done || count > left())
          return fail("a bad run of numbers");
        sink_.run(done, reinterpret_cast<const double *>(at_), count);
        at_ += count;
        done += count;
        continue;
      }
      if ((word & 0xff) == tag_nil)
        return fail("a nil in a list");
      if (!value(depth + 1))
        return false;
      sink_.item(done++);
    }
    for (uint64_t i = 0; i < pairs; ++i) {
      uint64_t tag = at_ == end_ ? uint64_t(tag_nil) : *at_ & 0xff;
      if (tag == tag_nil || tag == tag_array || tag == tag_table)
        return fail("a bad table key");
      if (tag == tag_numbers && left() > 1) {
        double key;
        std::memcpy(&key, at_ + 1, 8);
        if (key != key || is_integer_in(key, items))
          return fail("a bad table key");
      }
      if (!value(depth + 1))
        return false;
      if (at_ != end_ && (*at_ & 0xff) == tag_nil)
        return fail("a nil in a table");
      if (!value(depth + 1))
        return false;
      if (!sink_.pair())
        return fail("a table key that occurs twice");
    }
    return true;
  }

  const Parts &parts_;
  const uint64_t *at_, *end_;
  Sink &sink_;
  uint64_t next_array_ = 0;
  const char *error_ = "";
};

// Only checks.
struct NullSink {
  bool nil() { return true; }
  bool boolean(bool) { return true; }
  bool number(double) { return true; }
  bool string(std::string_view) { return true; }
  bool array(const ArrayEntry &) { return true; }
  bool table(uint64_t, uint64_t) { return true; }
  void run(uint64_t, const double *, uint64_t) {}
  void item(uint64_t) {}
  bool pair() { return true; }
};

// Notes in which element of the outermost list each array lies.
struct OwnerSink : NullSink {
  std::vector<int> owners;
  int depth = 0, current = 0;
  std::vector<uint64_t> open; // values still to come, a table each
  bool done() {
    while (!open.empty() && --open.back() == 0) // the table is complete: it is a value of the one above
      open.pop_back();
    if (open.size() == 1)
      ++current;
    return true;
  }
  bool nil() { return done(); }
  bool boolean(bool) { return done(); }
  bool number(double) { return done(); }
  bool string(std::string_view) { return done(); }
  bool array(const ArrayEntry &) {
    owners.push_back(open.empty() ? 0 : current);
    return done();
  }
  bool table(uint64_t items, uint64_t pairs) {
    if (items + pairs == 0)
      return done();
    open.push_back(items + 2 * pairs);
    return true;
  }
  void run(uint64_t, const double *, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i)
      done();
  }
};

int key_rank(const Value &key) {
  return key.kind == Kind::number ? 0 : key.kind == Kind::string ? 1 : 2;
}

bool key_less(const Value &a, const Value &b) {
  if (key_rank(a) != key_rank(b))
    return key_rank(a) < key_rank(b);
  switch (a.kind) {
  case Kind::number:
    return a.number < b.number;
  case Kind::string:
    return a.string < b.string;
  default:
    return a.boolean < b.boolean;
  }
}

struct ValueSink {
  const std::byte *base; // null: external
  std::vector<Value> stack = {};

  Value &push(Kind kind) {
    stack.emplace_back();
    stack.back().kind = kind;
    return stack.back();
  }
  Value pop() {
    Value top = std::move(stack.back());
    stack.pop_back();
    return top;
  }
  bool nil() { return push(Kind::nil), true; }
  bool boolean(bool b) { return push(Kind::boolean).boolean = b, true; }
  bool number(double n) { return push(Kind::number).number = n, true; }
  bool string(std::string_view s) { return push(Kind::string).string = s, true; }
  bool array(const ArrayEntry &entry) {
    Value &value = push(Kind::array);
    value.array = &entry;
    value.data = base ? base + entry.place : nullptr;
    return true;
  }
  bool table(uint64_t items, uint64_t pairs) {
    Value &value = push(Kind::table);
    value.run_size = items; // until a run that is not the whole list, or an item, says otherwise
    value.fields.reserve(pairs);
    return true;
  }
  void run(uint64_t first, const double *numbers, uint64_t count) {
    Value &table = stack.back();
    if (first == 0 && count == table.run_size) {
      table.run = numbers;
      return;
    }
    table.list.reserve(table.run_size);
    for (uint64_t i = 0; i < count; ++i) {
      table.list.emplace_back();
      table.list.back().kind = Kind::number;
      table.list.back().number = numbers[i];
    }
  }
  void item(uint64_t) {
    Value top = pop();
    Value &table = stack.back();
    table.list.reserve(table.run_size);
    table.list.push_back(std::move(top));
  }
  bool pair() {
    Value value = pop(), key = pop();
    stack.back().fields.push_back({std::move(key), std::move(value)});
    return true;
  }
};

// Sorts the fields of every table; false where a key occurs twice.
bool finish(Value &value) {
  for (Value &item : value.list)
    if (!finish(item))
      return false;
  auto less = [](const Field &a, const Field &b) { return key_less(a.first, b.first); };
  std::sort(value.fields.begin(), value.fields.end(), less);
  for (std::size_t i = 0; i < value.fields.size(); ++i)
    if ((i > 0 && !less(value.fields[i - 1], value.fields[i])) || !finish(value.fields[i].second))
      return false;
  return true;
}

struct LuaSink {
  lua_State *L;
  ArrayBridge bridge;
  const std::byte *base;

  bool nil() { return lua_pushnil(L), true; }
  bool boolean(bool b) { return lua_pushboolean(L, b), true; }
  // lua_pushnumber makes every NaN the canonical one; any other would be read as a tagged pointer.
  bool number(double n) { return lua_pushnumber(L, n), true; }
  bool string(std::string_view s) { return lua_pushlstring(L, s.data(), s.size()), true; }
  bool array(const ArrayEntry &entry) {
    pg_array array{};
    array._data = const_cast<std::byte *>(base + entry.place);
    array._block = bridge.block;
    array._size = entry.size();
    array._dtype = entry.dtype;
    array._ndim = entry.ndim;
    int64_t stride = 1;
    for (int i = entry.ndim - 1; i >= 0; --i) {
      array._shape[i] = entry.shape[i];
      array._strides[i] = stride;
      stride *= entry.shape[i];
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, bridge.adopt);
    lua_pushnumber(L, double(reinterpret_cast<uintptr_t>(&array)));
    lua_call(L, 1, 1);
    return true;
  }
  bool table(uint64_t items, uint64_t pairs) {
    if (!lua_checkstack(L, 16))
      return false;
    lua_createtable(L, int(items), int(pairs));
    return true;
  }
  void run(uint64_t first, const double *numbers, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      lua_pushnumber(L, numbers[i]);
      lua_rawseti(L, -2, int(first + i + 1));
    }
  }
  void item(uint64_t index) { lua_rawseti(L, -2, int(index + 1)); }
  bool pair() {
    lua_pushvalue(L, -2);
    lua_rawget(L, -4);
    bool fresh = lua_isnil(L, -1);
    lua_pop(L, 1);
    lua_rawset(L, -3);
    return fresh;
  }
};

void write_words(std::vector<uint64_t> &words, std::vector<ArrayEntry> &entries, std::vector<const std::byte *> &data,
                 const Value &value) {
  auto text = [&](std::string_view s) {
    words.push_back(tag_string | s.size() << 8);
    std::size_t at = words.size();
    words.resize(at + (s.size() + 7) / 8);
    std::memcpy(words.data() + at, s.data(), s.size());
  };
  auto run = [&](const double *numbers, std::size_t count) {
    words.push_back(tag_numbers | count << 8);
    std::size_t at = words.size();
    words.resize(at + count);
    std::memcpy(words.data() + at, numbers, count * 8);
  };
  switch (value.kind) {
  case Kind::nil:
    return words.push_back(tag_nil);
  case Kind::boolean:
    return words.push_back(value.boolean ? tag_true : tag_false);
  case Kind::number:
    return run(&value.number, 1);
  case Kind::string:
    return text(value.string);
  case Kind::array:
    words.push_back(tag_array | entries.size() << 8);
    entries.push_back(*value.array);
    data.push_back(value.data);
    return;
  case Kind::table:
    words.push_back(tag_table | (value.list_size() | value.fields.size() << 28) << 8);
    if (value.run)
      run(value.run, value.run_size);
    for (const Value &item : value.list)
      write_words(words, entries, data, item);
    for (const auto &[key, field] : value.fields) {
      write_words(words, entries, data, key);
      write_words(words, entries, data, field);
    }
  }
}

// Header, entries and words; sets the entries' places in a self-contained blob and returns its total size.
uint64_t lay_out(std::span<ArrayEntry> entries, uint64_t word_count) {
  uint64_t end = sizeof(Header) + entries.size_bytes() + word_count * 8;
  for (ArrayEntry &entry : entries) {
    entry.place = padded(end);
    end = entry.place + entry.bytes;
  }
  return end;
}

void put_front(std::byte *to, std::span<const ArrayEntry> entries, std::span<const uint64_t> words, uint64_t total,
               bool external) {
  Header header{magic, total, entries.size(), words.size(), external, {}};
  std::memcpy(to, &header, sizeof header);
  if (!entries.empty())
    std::memcpy(to + sizeof header, entries.data(), entries.size_bytes());
  std::memcpy(to + sizeof header + entries.size_bytes(), words.data(), words.size_bytes());
}

} // namespace

int64_t ArrayEntry::size() const {
  std::size_t item = array::element_size(dtype);
  return item ? int64_t(bytes / item) : 0;
}

bool check(std::span<const std::byte> blob, const Limits &limits, bool external, std::string &error) {
  Parts parts;
  const char *reason = "";
  NullSink sink;
  if (split(blob, limits, external, parts, reason) && Walker(parts, sink).all(reason))
    return true;
  error = reason;
  return false;
}

bool parse(std::span<const std::byte> blob, const Limits &limits, bool external, Value &value, std::string &error) {
  Parts parts;
  const char *reason = "";
  ValueSink sink{external ? nullptr : blob.data()};
  if (split(blob, limits, external, parts, reason) && Walker(parts, sink).all(reason)) {
    value = sink.pop();
    if (finish(value))
      return true;
    reason = "a table key that occurs twice";
  }
  error = reason;
  return false;
}

std::span<const ArrayEntry> arrays(std::span<const std::byte> blob) {
  const auto &header = *reinterpret_cast<const Header *>(blob.data());
  return {reinterpret_cast<const ArrayEntry *>(blob.data() + sizeof(Header)), header.array_count};
}

std::vector<int> array_owners(std::span<const std::byte> blob) {
  const auto &header = *reinterpret_cast<const Header *>(blob.data());
  Parts parts;
  parts.base = blob.data();
  parts.entries = arrays(blob);
  parts.words = reinterpret_cast<const uint64_t *>(parts.entries.data() + parts.entries.size());
  parts.word_count = header.value_words;
  OwnerSink sink;
  const char *reason = "";
  Walker(parts, sink).all(reason);
  return std::move(sink.owners);
}

bool materialise(std::span<const std::byte> external, const std::function<bool(uint64_t, void *, std::size_t)> &read,
                 Bytes &blob) {
  const auto &header = *reinterpret_cast<const Header *>(external.data());
  auto found = arrays(external);
  std::vector<ArrayEntry> entries(found.begin(), found.end());
  std::span<const uint64_t> words(reinterpret_cast<const uint64_t *>(found.data() + found.size()), header.value_words);
  uint64_t total = lay_out(entries, words.size());
  blob.resize(total);
  put_front(blob.data(), entries, words, total, false);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].bytes == 0)
      continue;
    if (!read(found[i].place, blob.data() + entries[i].place, entries[i].bytes))
      return false;
    array::clean_elements(blob.data() + entries[i].place, entries[i].dtype, entries[i].size());
  }
  return true;
}

Bytes write(const Value &value) {
  std::vector<uint64_t> words;
  std::vector<ArrayEntry> entries;
  std::vector<const std::byte *> data;
  write_words(words, entries, data, value);
  Bytes blob(lay_out(entries, words.size()));
  put_front(blob.data(), entries, words, blob.size(), false);
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (entries[i].bytes)
      std::memcpy(blob.data() + entries[i].place, data[i], entries[i].bytes);
  return blob;
}

ArrayBridge bridge(lua_State *L) {
  ArrayBridge bridge;
  lua_getfield(L, -1, "_adopt");
  bridge.adopt = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, "_address");
  bridge.address = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
  bridge.block = new pg_block{};
  bridge.block->generation = 1;
  bridge.block->references = int64_t(1) << 60; // never freed: the memory is the blob's
  return bridge;
}

// ---------------------------------------------------------------------------------------------------- encoding -------

bool Encoder::fail(const char *message) {
  error_ = message;
  return false;
}

bool Encoder::room(uint64_t bytes) {
  used_ += bytes;
  if (used_ <= limit_)
    return true;
  too_large_ = true;
  return fail("is larger than allowed");
}

bool Encoder::encode(lua_State *L, int index, const Limits &limits) {
  words_.clear();
  entries_.clear();
  error_.clear();
  used_ = sizeof(Header);
  limit_ = limits.bytes;
  array_limit_ = limits.arrays;
  too_large_ = false;
  if (!lua_checkstack(L, 16))
    return fail("is nested too deep");
  lua_pushvalue(L, index);
  bool ok = value(L, 0);
  lua_pop(L, 1);
  return ok;
}

// Codes the value at the top of the stack and leaves it there.
bool Encoder::value(lua_State *L, int depth) {
  switch (lua_type(L, -1)) {
  case LUA_TNIL:
    words_.push_back(tag_nil);
    return room(8);
  case LUA_TBOOLEAN:
    words_.push_back(lua_toboolean(L, -1) ? tag_true : tag_false);
    return room(8);
  case LUA_TNUMBER: {
    double number = lua_tonumber(L, -1);
    words_.push_back(tag_numbers | 1 << 8);
    words_.emplace_back();
    std::memcpy(&words_.back(), &number, 8);
    return room(16);
  }
  case LUA_TSTRING: {
    std::size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    if (!room(8 + (size + 7) / 8 * 8))
      return false;
    words_.push_back(tag_string | uint64_t(size) << 8);
    std::size_t at = words_.size();
    words_.resize(at + (size + 7) / 8);
    std::memcpy(words_.data() + at, text, size);
    return true;
  }
  case LUA_TTABLE:
    return table(L, depth);
  case lua_tcdata:
    return array(L);
  case LUA_TFUNCTION:
    return fail(depth ? "contains a function" : "is a function");
  case LUA_TTHREAD:
    return fail(depth ? "contains a coroutine" : "is a coroutine");
  default:
    return fail(depth ? "contains userdata" : "is userdata");
  }
}

bool Encoder::table(lua_State *L, int depth) {
  if (depth == max_depth)
    return fail("has tables nested deeper than 8 levels, or a table that contains itself");
  if (!lua_checkstack(L, 8))
    return fail("is nested too deep");
  bool plain = true; // or a list such as a.shape, whose metatable only prints and compares it
  if (lua_getmetatable(L, -1)) {
    lua_pushliteral(L, "__plain");
    lua_rawget(L, -2);
    plain = lua_toboolean(L, -1);
    lua_pop(L, 2);
  }
  if (!plain) {
    return fail(depth ? "contains a table with a metatable; only plain tables and arrays can be returned"
                      : "is a table with a metatable; only plain tables and arrays can be returned");
  }
  int self = lua_gettop(L);
  std::size_t head = words_.size();
  words_.push_back(0);
  if (!room(8))
    return false;

  uint64_t items = 0, pairs = 0;
  std::size_t run = 0; // position of the open run's word, 0 for none
  auto item = [&]() -> bool {
    ++items;
    if (lua_type(L, -1) == LUA_TNUMBER) {
      if (run == 0) {
        run = words_.size();
        words_.push_back(tag_numbers);
        if (!room(8))
          return false;
      }
      words_[run] += 1 << 8;
      double number = lua_tonumber(L, -1);
      words_.emplace_back();
      std::memcpy(&words_.back(), &number, 8);
      return room(8);
    }
    run = 0;
    return value(L, depth + 1);
  };

  // One pass: lua_next yields the array part in order, so a list is coded as it comes. What lies in the hash part may
  // come in any order: the rest of the list is then fetched by index, and the pass goes on with the other keys.
  bool listing = true;
  lua_pushnil(L);
  while (lua_next(L, self)) {
    int key_type = lua_type(L, -2);
    if (listing) {
      if (key_type == LUA_TNUMBER && lua_tonumber(L, -2) == double(items + 1)) {
        if (!item())
          return false;
        lua_pop(L, 1);
        continue;
      }
      listing = false;
      for (;;) {
        lua_rawgeti(L, self, int(items + 1));
        if (lua_isnil(L, -1) || items >= most_items)
          break;
        if (!item())
          return false;
        lua_pop(L, 1);
      }
      lua_pop(L, 1);
    }
    if (key_type == LUA_TNUMBER && is_integer_in(lua_tonumber(L, -2), items)) {
      lua_pop(L, 1);
      continue;
    }
    if (key_type != LUA_TNUMBER && key_type != LUA_TSTRING && key_type != LUA_TBOOLEAN)
      return fail("contains a table whose key is neither a number, a string nor a boolean");
    ++pairs;
    lua_pushvalue(L, -2);
    if (!value(L, depth + 1))
      return false;
    lua_pop(L, 1);
    if (!value(L, depth + 1))
      return false;
    lua_pop(L, 1);
  }
  if (items > most_items || pairs > most_items) {
    too_large_ = true;
    return fail("is larger than allowed");
  }
  words_[head] = tag_table | (items | pairs << 28) << 8;
  return true;
}

bool Encoder::array(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, bridge_.address);
  lua_pushvalue(L, -2);
  lua_call(L, 1, 2);
  if (lua_type(L, -2) != LUA_TNUMBER) {
    lua_pop(L, 2);
    return fail("contains a cdata value that is no array; return numbers (tonumber), tables or arrays");
  }
  const auto &array = *reinterpret_cast<const pg_array *>(uintptr_t(lua_tonumber(L, -2)));
  bool temporary = !lua_isnil(L, -1) && !lua_rawequal(L, -1, -3); // a row: the array lives only until the next call
  bool ok = array_entry(array, temporary);
  lua_pop(L, 2);
  return ok;
}

bool Encoder::array_entry(const pg_array &array, bool temporary) {

  ArrayEntry entry{};
  entry.dtype = array._dtype;
  entry.ndim = array._ndim;
  std::size_t item = array::element_size(entry.dtype);
  if (array._data == nullptr && array._block == nullptr)
    return fail("contains an array that has been released");
  if (item == 0 || entry.ndim < 0 || entry.ndim > 8)
    return fail("contains an array of a dtype that cannot be returned");
  int64_t size = 1;
  bool contiguous = true;
  for (int i = entry.ndim - 1; i >= 0; --i) {
    entry.shape[i] = array._shape[i];
    contiguous = contiguous && (array._shape[i] <= 1 || array._strides[i] == size);
    size *= array._shape[i];
  }
  entry.bytes = uint64_t(size) * item;
  if (entries_.size() >= array_limit_)
    return fail("contains too many arrays");
  if (!room(8 + sizeof(ArrayEntry) + entry.bytes))
    return false;
  if ((contiguous && !temporary) || size == 0) {
    entry.place = reinterpret_cast<uintptr_t>(array._data);
  } else {
    // Copied row by row of the last dimension.
    copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(entry.bytes));
    std::byte *to = copies_.back().get();
    entry.place = reinterpret_cast<uintptr_t>(to);
    if (entry.ndim == 0) {
      std::memcpy(to, array._data, item);
      size = 0;
    }
    int last = entry.ndim - 1;
    int64_t index[8] = {};
    for (int64_t done = 0; done < size; done += entry.shape[last]) {
      const std::byte *from = static_cast<const std::byte *>(array._data);
      for (int i = 0; i < last; ++i)
        from += index[i] * array._strides[i] * int64_t(item);
      for (int64_t i = 0; i < entry.shape[last]; ++i, to += item)
        std::memcpy(to, from + i * array._strides[last] * int64_t(item), item);
      for (int i = last - 1; i >= 0 && ++index[i] == entry.shape[i]; --i)
        index[i] = 0;
    }
  }
  words_.push_back(tag_array | uint64_t(entries_.size()) << 8);
  entries_.push_back(entry);
  return true;
}

std::size_t Encoder::append(Bytes &out, bool external) const {
  std::size_t start = padded(out.size());
  uint64_t total = sizeof(Header) + entries_.size() * sizeof(ArrayEntry) + words_.size() * 8;
  std::vector<ArrayEntry> placed;
  if (!external && !entries_.empty()) {
    placed = entries_;
    total = lay_out(placed, words_.size());
  }
  out.resize(start + total);
  std::byte *to = out.data() + start;
  put_front(to, external ? std::span<const ArrayEntry>(entries_) : std::span<const ArrayEntry>(placed), words_, total,
            external);
  for (std::size_t i = 0; i < placed.size(); ++i)
    if (placed[i].bytes)
      std::memcpy(to + placed[i].place, reinterpret_cast<const void *>(entries_[i].place), placed[i].bytes);
  return total;
}

// ---------------------------------------------------------------------------------------------------- decoding -------

bool decode(lua_State *L, std::span<const std::byte> blob, const Limits &limits, ArrayBridge bridge,
            std::string &error) {
  Parts parts;
  const char *reason = "";
  int top = lua_gettop(L);
  if (split(blob, limits, false, parts, reason)) {
    LuaSink sink{L, bridge, parts.base};
    if (lua_checkstack(L, 16) && Walker(parts, sink).all(reason))
      return true;
  }
  lua_settop(L, top);
  error = reason;
  return false;
}

int decode_arguments(lua_State *L, std::span<const std::byte> blob, const Limits &limits, ArrayBridge bridge,
                     std::string &error) {
  if (!decode(L, blob, limits, bridge, error))
    return -1;
  constexpr int most_arguments = 64;
  int count = lua_istable(L, -1) ? int(lua_objlen(L, -1)) : most_arguments + 1;
  if (count > most_arguments || !lua_checkstack(L, count)) {
    lua_pop(L, 1);
    error = "no list of arguments";
    return -1;
  }
  int list = lua_gettop(L);
  for (int i = 1; i <= count; ++i)
    lua_rawgeti(L, list, i);
  lua_remove(L, list);
  return count;
}

} // namespace perigee::wire
