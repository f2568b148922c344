// The wire format: how a Lua value travels between processes. nil, booleans, numbers, strings, arrays, and tables of
// these without metatables, nested at most 8 deep. Workers code inside the measured time, so dense lists of numbers are
// raw doubles and arrays are never copied on the way in. The reader trusts nothing: it is made for bytes that a hostile
// process wrote.
//
//   header (64 bytes) | array entries | value words (8 bytes each) | data of each array, 64-byte aligned
//
// In an *external* blob the array entries hold addresses in the process that wrote it, and there is no data part: a
// worker reports its results so, and whoever may read its memory makes a self-contained blob of it (materialise).
//
// Values are words: the low 8 bits say what it is, the rest counts. A list is a sequence of runs of numbers and of
// other values; the remaining pairs of a table follow it. There is exactly one nil-free list 1..n per table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct lua_State;
struct pg_array;
struct pg_block;

namespace perigee::wire {

using Bytes = std::vector<std::byte>;

constexpr int max_depth = 8;
constexpr std::size_t alignment = 64; // of array data within a blob, and of the blob itself where arrays are adopted

struct Limits {
  uint64_t bytes = uint64_t(1) << 32; // of the whole blob, array data included
  uint32_t arrays = 1 << 20;
};

// One array. `place` is the offset of its data in the blob, or the address in an external blob. Row-major, contiguous.
struct ArrayEntry {
  int32_t dtype; // enum pg_dtype
  int32_t ndim;
  int64_t shape[8]; // unused entries are 0
  uint64_t place;
  uint64_t bytes;

  int64_t size() const; // number of elements
};

// ------------------------------------------------------------------------------------------------- reading in C++ ----

enum class Kind : uint8_t { nil, boolean, number, string, array, table };

struct Field;

// A parsed value; it points into the blob. A table whose list is all numbers keeps it as a run without copying.
struct Value {
  Kind kind = Kind::nil;
  bool boolean = false;
  double number = 0.0;
  std::string_view string;
  const ArrayEntry *array = nullptr;
  const std::byte *data = nullptr; // of the array; null in an external blob

  const double *run = nullptr; // the list, if it is numbers only
  std::size_t run_size = 0;
  std::vector<Value> list;   // else
  std::vector<Field> fields; // sorted by key: numbers, strings, booleans

  std::size_t list_size() const { return run ? run_size : list.size(); }
};

struct Field {
  Value first, second; // key and value
};

// Checks a blob from its first to its last byte; false with a reason in `error` if anything is not as encode() writes
// it. `blob` must be 8-byte aligned. With `external`, array entries hold addresses, which are not checked. Allocates
// nothing; that no key occurs twice in a table is left to parse() and decode().
bool check(std::span<const std::byte> blob, const Limits &limits, bool external, std::string &error);

// The same, and the value.
bool parse(std::span<const std::byte> blob, const Limits &limits, bool external, Value &value, std::string &error);

// The array entries of a blob that check() has accepted, and for each the 0-based element of the outermost list in
// which it lies: which argument of a call it belongs to.
std::span<const ArrayEntry> arrays(std::span<const std::byte> blob);
std::vector<int> array_owners(std::span<const std::byte> blob);

// Makes a self-contained blob of an external one (accepted by check() with external set). read(address, to, size)
// fetches memory of the process that wrote it; false makes the whole fail.
bool materialise(std::span<const std::byte> external,
                 const std::function<bool(uint64_t address, void *to, std::size_t size)> &read, Bytes &blob);

// The blob of a value: for tests, mutants and tools. Arrays are copied from Value::data.
Bytes write(const Value &value);

// ------------------------------------------------------------------------------------------------ Lua, both ways -----

// How arrays are recognised and made: two functions of the engine's array module, kept in the registry.
//   _address(value): the address of its pg_array as a number, and what keeps that alive; nil if it is no array
//   _adopt(address): an array from the pg_array at this address
struct ArrayBridge {
  int address = -2; // registry references (LUA_NOREF)
  int adopt = -2;
  pg_block *block = nullptr; // which decoded arrays share; its references must never reach 0
};

// Takes the bridge's functions from the table of the array module at the top of the stack, and pops it. The memory of
// all blobs that will be decoded outlives the Lua state's use of them: blocks made here are never freed.
ArrayBridge bridge(lua_State *L);

// Codes values of one Lua state. Buffers are kept between values, so that coding inside the clock allocates little.
// The member functions run inside a protected call: Lua may raise out of them, and every buffer survives that.
class Encoder {
 public:
  explicit Encoder(ArrayBridge bridge) : bridge_(bridge) {}

  // Codes the value at `index`; at most limits.bytes. On failure false, and error() says what is wrong in words that
  // follow "the result ": "is a function", "contains a table with a metatable".
  bool encode(lua_State *L, int index, const Limits &limits);
  const std::string &error() const { return error_; }
  bool too_large() const { return too_large_; }

  // Appends the last value: with array data, or (external) with addresses, which stay valid until release() and while
  // the Lua value lives. Returns the bytes appended; `out` is padded to `alignment` first.
  std::size_t append(Bytes &out, bool external) const;

  // Frees the contiguous copies that were made of strided arrays.
  void release() { copies_.clear(); }

 private:
  bool value(lua_State *L, int depth);
  bool table(lua_State *L, int depth);
  bool array(lua_State *L);
  bool array_entry(const pg_array &array, bool temporary);
  bool fail(const char *message);
  bool room(uint64_t bytes);

  ArrayBridge bridge_;
  std::vector<uint64_t> words_;
  std::vector<ArrayEntry> entries_;
  std::vector<std::unique_ptr<std::byte[]>> copies_; // of strided arrays and rows, until release()
  std::string error_;
  uint64_t used_ = 0, limit_ = 0;
  uint32_t array_limit_ = 0;
  bool too_large_ = false;
};

// Pushes the value of a blob, or returns false with a reason (pushing nothing). Arrays become views of the blob's
// memory, which must be aligned to `alignment` and outlive them. Runs inside a protected call; may raise out of memory.
bool decode(lua_State *L, std::span<const std::byte> blob, const Limits &limits, ArrayBridge bridge,
            std::string &error);

// Pushes the elements of a blob whose value is a list (the arguments of a call) and returns how many, or -1.
int decode_arguments(lua_State *L, std::span<const std::byte> blob, const Limits &limits, ArrayBridge bridge,
                     std::string &error);

} // namespace perigee::wire
