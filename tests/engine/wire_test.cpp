// The wire format: values survive the journey, and no bytes whatsoever make the reader do anything but accept or
// refuse.
#include "core/wire.hpp"

#include "core/vm.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <random>

using namespace perigee;
using wire::Bytes;

namespace {

struct Vm {
  pg_vm *vm = nullptr;
  wire::ArrayBridge bridge;

  Vm() {
    pg_vm_options options{};
    options.struct_size = sizeof options;
    options.trusted = 1;
    REQUIRE(pg_vm_create(&options, &vm) == PG_OK);
    run([&](lua_State *L) {
      lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
      lua_getfield(L, -1, "require");
      lua_pushliteral(L, "array");
      lua_call(L, 1, 1);
      bridge = wire::bridge(L);
    });
  }
  ~Vm() {
    pg_vm_destroy(vm);
    delete bridge.block; // its arrays went with the state
  }

  template <class Body> void run(Body &&body) {
    auto call = [](void *state, void *user) {
      (*static_cast<std::remove_reference_t<Body> *>(user))(static_cast<lua_State *>(state));
    };
    INFO(pg_vm_error(vm)->message);
    pg_status status = pg_vm_with_state(vm, call, &body);
    if (status != PG_OK)
      FAIL(pg_vm_error(vm)->message);
  }

  // Pushes what a Lua expression gives.
  static void push(lua_State *L, const std::string &expression) {
    std::string text = "local array = require 'perigee.array'; return " + expression;
    if (luaL_loadstring(L, text.c_str()) != 0)
      luaL_error(L, "%s", lua_tostring(L, -1));
    lua_call(L, 0, 1);
  }

  // The blob of an expression, or the encoder's complaint in `error`.
  Bytes encode(const std::string &expression, std::string *error = nullptr, const wire::Limits &limits = {}) {
    Bytes blob;
    run([&](lua_State *L) {
      wire::Encoder encoder(bridge);
      push(L, expression);
      if (encoder.encode(L, -1, limits))
        encoder.append(blob, false);
      else if (error)
        *error = encoder.error();
      else
        luaL_error(L, "the value %s", encoder.error().c_str());
    });
    return blob;
  }

  // Whether a Lua function of `value` holds for what a blob decodes to.
  bool holds(const Bytes &blob, const std::string &condition) {
    bool result = false;
    run([&](lua_State *L) {
      std::string error;
      push(L, "function(value) local pg = require 'perigee'; return " + condition + " end");
      if (!wire::decode(L, blob, {}, bridge, error))
        luaL_error(L, "%s", error.c_str());
      lua_call(L, 1, 1);
      result = lua_toboolean(L, -1);
    });
    return result;
  }

  // Decoding may refuse but must not crash; the state must stay balanced.
  bool decodes(const Bytes &blob) {
    bool result = false;
    run([&](lua_State *L) {
      std::string error;
      int top = lua_gettop(L);
      result = wire::decode(L, blob, {}, bridge, error);
      if (lua_gettop(L) != top + (result ? 1 : 0))
        luaL_error(L, "the stack is unbalanced");
    });
    return result;
  }
};

// Values that use every feature of the format.
const char *const samples[] = {
    "nil",
    "true",
    "false",
    "1.5",
    "0/0",
    "''",
    "'eight by'",
    "'nine byte'",
    "{}",
    "{1, 2, 3}",
    "{1, 'x', 2, 3, {4}}",
    "{{1, 2}, {3, 4}}",
    "{a = 1, [true] = 'x', [1.5] = {}, 7}",
    "{[3] = 3, [2] = 2, [1] = 1}",
    "{1, nil, 3}",
    "array.range(1, 10)",
    "{array.zeros(3, 4), array.zeros(2, 2, 2), n = array.zeros(0)}",
    "{{{{{{{{}}}}}}}}",
};

Bytes random_flip(Bytes blob, std::mt19937 &random) {
  int flips = 1 + int(random() % 4);
  for (int i = 0; i < flips && !blob.empty(); ++i)
    switch (random() % 3) {
    case 0:
      blob[random() % blob.size()] ^= std::byte(1 << random() % 8);
      break;
    case 1:
      blob[random() % blob.size()] = std::byte(random());
      break;
    default: { // a whole word: counts and offsets
      uint64_t word = random() % 3 ? random() % 40 : (uint64_t(random()) << 32 | random());
      std::size_t at = random() % blob.size() / 8 * 8;
      std::memcpy(blob.data() + at, &word, std::min<std::size_t>(8, blob.size() - at));
    }
    }
  return blob;
}

} // namespace

TEST_CASE("wire: values come back as they were") {
  Vm vm;
  auto holds = [&](const char *expression, const char *condition) {
    INFO(expression);
    CHECK(vm.holds(vm.encode(expression), condition));
  };
  holds("nil", "value == nil");
  holds("true", "value == true");
  holds("-0.0", "1 / value == -math.huge");
  holds("0/0", "value ~= value");
  holds("'a\\0b'", "value == 'a\\0b'");
  holds("{}", "type(value) == 'table' and next(value) == nil");
  holds("{1, 2, 3}", "#value == 3 and value[1] == 1 and value[3] == 3");
  holds("{1, 'x', 2, 3, {4}}", "value[2] == 'x' and value[4] == 3 and value[5][1] == 4");
  holds("{a = 1, [true] = 'x', [1.5] = {}, 7}",
        "value.a == 1 and value[true] == 'x' and type(value[1.5]) == 'table' and value[1] == 7");
  holds("{[3] = 3, [2] = 2, [1] = 1}", "#value == 3 and value[1] == 1 and value[2] == 2 and value[3] == 3");
  holds("{1, nil, 3}", "value[1] == 1 and value[2] == nil and value[3] == 3");
  holds("{[0] = 5, 6, [-1] = 7}", "value[0] == 5 and value[1] == 6 and value[-1] == 7");
  holds("array.from{{1, 2}, {3, 4}}", "value.shape[1] == 2 and value[2][1] == 3 and value.dtype == 'float64'");
  holds("array.from{{1, 2, 3}, {4, 5, 6}}:transpose()",
        "value.shape[1] == 3 and value[3][1] == 3 and value[1][2] == 4");
  holds("array.from{{1, 2, 3}, {4, 5, 6}}[2]", "value.shape[1] == 3 and value[2] == 5");
  holds("array.zeros(0, 5)", "value.shape[1] == 0 and value.shape[2] == 5 and value.size == 0");
  holds("array.from{1, 2, 3}:astype('int32')", "value.dtype == 'int32' and value[3] == 3");
  for (const char *dtype : {"bool", "uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16",
                            "uint32", "uint64", "complex64", "complex128"}) {
    const std::string made = "array.from{1, 0, 1, 1, 0}:astype('" + std::string(dtype) + "')";
    holds(made.c_str(), ("value.dtype == '" + std::string(dtype) + "' and value:equal(pg." + made + ")").c_str());
  }
  holds("(function() local t = {} for i = 1, 1000 do t[i] = i end t.n = 5 return t end)()",
        "#value == 1000 and value[1000] == 1000 and value.n == 5");
}

TEST_CASE("wire: what cannot travel is refused with a reason") {
  Vm vm;
  auto refuses = [&](const char *expression, const char *reason) {
    std::string error;
    vm.encode(expression, &error);
    CHECK(error.find(reason) != std::string::npos);
  };
  refuses("print", "is a function");
  refuses("{print}", "contains a function");
  refuses("coroutine.create(print)", "is a coroutine");
  refuses("io.stdout", "is userdata");
  refuses("1LL", "no array");
  refuses("setmetatable({}, {})", "metatable");
  refuses("{setmetatable({}, {__index = print})}", "metatable");
  std::string error; // but for lists such as a.shape
  vm.encode("{setmetatable({3, 4}, {__plain = true})}", &error);
  CHECK(error.empty());
  refuses("(function() local t = {} t[1] = t return t end)()", "contains itself");
  refuses("{{{{{{{{{}}}}}}}}}", "nested deeper");
  refuses("{[print] = 1}", "key");
  refuses("{[{}] = 1}", "key");
  refuses("{[array.zeros(1)] = 1}", "key");
  refuses("(function() local a = array.zeros(3); a:release(); return a end)()", "released");
}

TEST_CASE("wire: the size limit holds while coding") {
  Vm vm;
  wire::Limits limits;
  limits.bytes = 1000;
  for (const char *expression :
       {"array.zeros(1000)", "('x'):rep(1000)", "array.zeros(1000):totable()",
        "(function() local t = {} for i = 1, 7 do t = {t, t, t, t, t, t, t, t, t, t} end return t end)()"}) {
    std::string error;
    vm.encode(expression, &error, limits);
    CHECK(error == "is larger than allowed");
  }
}

TEST_CASE("wire: parse agrees with decode, and write with encode") {
  Vm vm;
  for (const char *sample : samples) {
    INFO(sample);
    Bytes blob = vm.encode(sample);
    wire::Value value;
    std::string error;
    REQUIRE(wire::parse(blob, {}, false, value, error));
    Bytes again = wire::write(value);
    wire::Value twice;
    REQUIRE(wire::parse(again, {}, false, twice, error));
    CHECK(wire::write(twice) == again);
    CHECK(vm.decodes(again));
  }
}

TEST_CASE("wire: which argument an array belongs to") {
  Vm vm;
  Bytes blob = vm.encode("{1, array.zeros(2), {x = array.zeros(1), {array.zeros(3)}}, 'y', 5, 6, array.zeros(4)}");
  CHECK(wire::array_owners(blob) == std::vector<int>{1, 2, 2, 6});
}

TEST_CASE("wire: external blobs are materialised without their traps") {
  Vm vm;
  Bytes external, blob;
  std::string error;
  vm.run([&](lua_State *L) {
    wire::Encoder encoder(vm.bridge);
    Vm::push(L, "{array.from{1, 2, 3, 4}, array.from{{1, 2}, {3, 4}}:transpose(), array.zeros(2):astype('bool')}");
    REQUIRE(encoder.encode(L, -1, {}));
    encoder.append(external, true);
    REQUIRE(wire::check(external, {}, true, error));
    CHECK(!wire::check(external, {}, false, error));
    // A NaN whose bits are a LuaJIT object, and a boolean that is neither 0 nor 1.
    uint64_t forged = 0xfffd'8000'dead'beefULL;
    int reads = 0;
    bool ok = wire::materialise(
        external,
        [&](uint64_t address, void *to, std::size_t size) {
          std::memcpy(to, reinterpret_cast<const void *>(address), size);
          if (++reads == 1)
            std::memcpy(to, &forged, 8);
          if (reads == 3)
            std::memset(to, 0xff, size);
          return true;
        },
        blob);
    REQUIRE(ok);
  });
  wire::Value value;
  REQUIRE(wire::parse(blob, {}, false, value, error));
  uint64_t bits;
  std::memcpy(&bits, value.list[0].data, 8);
  CHECK(bits == 0x7ff8'0000'0000'0000ULL);
  CHECK(value.list[2].data[0] == std::byte(1));
  CHECK(vm.holds(blob, "value[1][1] ~= value[1][1] and value[1][4] == 4 and value[2][1][2] == 3"));
}

TEST_CASE("wire: truncated blobs are refused") {
  Vm vm;
  for (const char *sample : samples) {
    Bytes blob = vm.encode(sample);
    for (std::size_t size = 0; size < blob.size(); ++size) {
      Bytes cut(blob.begin(), blob.begin() + std::ptrdiff_t(size));
      wire::Value value;
      std::string error;
      CHECK(!wire::parse(cut, {}, false, value, error));
      CHECK(!error.empty());
    }
    blob.push_back(std::byte(0));
    CHECK(!vm.decodes(blob));
  }
}

TEST_CASE("wire: damaged and random bytes never do harm") {
  Vm vm;
  std::mt19937 random(7);
  std::vector<Bytes> blobs;
  for (const char *sample : samples)
    blobs.push_back(vm.encode(sample));
  int accepted = 0;
  for (int i = 0; i < 60000; ++i) {
    Bytes blob = random_flip(blobs[random() % blobs.size()], random);
    if (random() % 8 == 0)
      blob.resize(random() % (blob.size() + 64));
    wire::Value value;
    std::string error;
    bool parsed = wire::parse(blob, {}, false, value, error);
    // Whatever is accepted can be read to its end, and by Lua too.
    if (parsed)
      wire::write(value);
    REQUIRE(vm.decodes(blob) == parsed);
    REQUIRE((!parsed || wire::check(blob, {}, false, error)));
    wire::check(blob, {}, true, error);
    accepted += parsed;
  }
  CHECK(accepted > 0);
  for (int i = 0; i < 20000; ++i) {
    Bytes blob(random() % 400);
    for (auto &byte : blob)
      byte = std::byte(random());
    if (blob.size() >= 64 && i % 2) // past the first check
      std::memcpy(blob.data(), blobs[0].data(), 8);
    CHECK(!vm.decodes(blob));
  }
}

TEST_CASE("wire: forged lists and tables") {
  Vm vm;
  // Words after the header of {1, 2, 3}: table, run, numbers.
  auto forge = [&](const char *expression, std::size_t word, uint64_t with) {
    Bytes blob = vm.encode(expression);
    std::memcpy(blob.data() + 64 + 8 * word, &with, 8);
    return blob;
  };
  CHECK(vm.decodes(forge("{1, 2, 3}", 0, 6 | 3 << 8)));                                // as it is
  CHECK(!vm.decodes(forge("{1, 2, 3}", 0, 6 | uint64_t(1) << 34)));                    // more items than bytes
  CHECK(!vm.decodes(forge("{1, 2, 3}", 0, 6 | uint64_t(3) << 8 | uint64_t(1) << 40))); // more pairs than bytes
  CHECK(!vm.decodes(forge("{1, 2, 3}", 1, 3 | 4 << 8)));                               // a run beyond the list
  CHECK(!vm.decodes(forge("{'a', 'b', 3}", 1, 0)));                                    // nil in a list
  double nan = std::nan("");
  uint64_t bits;
  std::memcpy(&bits, &nan, 8);
  CHECK(vm.decodes(forge("{[1.5] = 2}", 2, 0x3ff8000000000000)));
  CHECK(!vm.decodes(forge("{[1.5] = 2}", 2, bits))); // NaN as a key
  Bytes twice = vm.encode("{[1.5] = 2, [2.5] = 3}");
  std::memcpy(twice.data() + 64 + 16, twice.data() + 64 + 48, 8);
  CHECK(!vm.decodes(twice)); // the same key twice
}
