// The front end of kernels: what parses, what is refused and where, and that no text crashes it.
#include "kernel/bounds.hpp"
#include "kernel/typing.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace perigee::kernel;

namespace {

// "line:column: message" of the error, "" where there is none.
std::string error_of(std::string_view text) {
  try {
    parse(text);
    return "";
  } catch (const SourceError &e) {
    return std::to_string(e.at.line) + ":" + std::to_string(e.at.column) + ": " + e.message;
  }
}

std::string repeated(std::string_view piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i)
    text += piece;
  return text;
}

} // namespace

TEST_CASE("The whole of Lua's grammar parses", "[kernel]") {
  const char *const good[] = {
      "",
      "return",
      "return;",
      "local a, b = 1, 2; a, b = b, a",
      "a.b.c[1]['x'].d = f(1){2}'3'[[4]]:g(5):h{}",
      "function a.b.c:d(x, ...) return ... end",
      "local function f() return f end",
      "for i = 1, 10, 2 do goto continue ::continue:: end",
      "for k, v in pairs(t) do if k then break elseif v then else end end",
      "while not (a and b or c) do repeat local x = 1 until x end",
      "local s = 'a\\n\\x41\\065\\z   b\\u{48}' .. \"c\" .. [==[\nx]]]==]",
      "return 0x10, 0xA.8p1, 1e3, .5, 3., 1LL, 0xffULL, 2i, 0b101",
      "return -2^-3^2, 1 .. 2 .. 3, not not nil, #a, -x^2, a == b ~= c",
      "--[[ long\n comment ]] --[==[ ]] ]==] -- short\nreturn {1, 2; x = 3, [4] = 5,}",
      "#!/usr/bin/env perigee\nreturn 1",
      "return function(...) local t = {...} end",
      "f'x' f\"y\" f{z} (f or g)()",
  };
  for (const char *text : good) {
    INFO(text);
    CHECK(error_of(text) == "");
  }
}

TEST_CASE("Syntax errors name their place", "[kernel]") {
  const std::pair<const char *, const char *> bad[] = {
      {"x = ", "1:5: an expression expected, got the end of the text"},
      {"x = = 1", "1:5: an expression expected, got '='"},
      {"if a then", "1:10: 'end' expected"},
      {"if a then\n\nx = 1", "3:6: 'end' (to close 'if' at line 1) expected"},
      {"for i do end", "1:7: 'in' expected"},
      {"local 1", "1:7: a name expected, got '1'"},
      {"return 1 2", "1:10: the end of the block after 'return' expected"},
      {"f() = 1", "1:1: this cannot be assigned to"},
      {"x", "1:2: '=' expected"},
      {"s = 'abc", "1:5: unfinished string"},
      {"s = [[abc", "1:5: unfinished long string"},
      {"--[[abc", "1:3: unfinished long comment"},
      {"x = 3x", "1:5: malformed number '3x'"},
      {"x = 0x", "1:5: malformed number"},
      {"x = 1e", "1:5: malformed number"},
      {"x = 99999999999999999999LL", "1:5: malformed number"},
      {"x = a ! b", "1:7: unexpected symbol '!'"},
      {"x = a ~ b", "1:7: unexpected symbol '~'"},
      {"x = '\\300'", "escape sequence too large"},
      {"x = '\\xg0'", "hexadecimal"},
      {"x = '\\u{110000}'", "code point"},
      {"x = \x01", "unexpected byte 1"},
  };
  for (const auto &[text, expected] : bad) {
    INFO(text);
    CHECK_THAT(error_of(text), Catch::Matchers::Contains(expected));
  }
}

TEST_CASE("Texts that nest without end are refused", "[kernel]") {
  for (const auto &[piece, count] : {std::pair{"(", 100000},
                                     {"{", 100000},
                                     {"f(", 100000},
                                     {"do ", 100000},
                                     {"x = -", 1},
                                     {"a.", 1},
                                     {"function f() ", 100000},
                                     {"if a then ", 100000}}) {
    INFO(piece);
    CHECK(error_of("x = " + repeated(piece, count)) != "");
  }
  CHECK_THAT(error_of("x = 1" + repeated(" + 1", 100000)), Catch::Matchers::Contains("split it"));
  CHECK_THAT(error_of("x = 1" + repeated(" ^ 1", 100000)), Catch::Matchers::Contains("deep"));
  CHECK_THAT(error_of("x = a" + repeated(".b", 100000)), Catch::Matchers::Contains("split it"));
  CHECK_THAT(error_of("x = " + repeated("-", 1) + repeated("not ", 100000) + "a"), Catch::Matchers::Contains("deep"));
  CHECK_THAT(error_of(repeated("function f() ", 25)), Catch::Matchers::Contains("functions nested"));
}

TEST_CASE("Functions are found by their lines, and tell what they use", "[kernel]") {
  const std::string text = "local a = 1\n"
                           "local function f(x)\n"
                           "  local y = a + x\n"
                           "  repeat local z = y until z > b\n"
                           "  return math.sin(y), z, function(q) return q + x + c end\n"
                           "end\n"
                           "return function() end, function() end\n";
  const Chunk chunk = parse(text);
  int count = 0;
  const FunctionBody *f = find_function(chunk, 2, 6, &count);
  REQUIRE(f);
  CHECK(count == 1);
  std::string names;
  for (const FreeName &name : free_names(*f))
    names += name.name + " ";
  CHECK(names == "a b math z c ");
  find_function(chunk, 7, 7, &count);
  CHECK(count == 2);
  CHECK(find_function(chunk, 1, 1, &count) == nullptr);
}

TEST_CASE("No sequence of tokens crashes the front end", "[kernel]") {
  const char *const words[] = {
      "x",          "y",     "a",      "i",        "1",    "2.5", "0",         "true",   "nil",
      "'s'",        "+",     "-",      "*",        "/",    "%",   "^",         "==",     "<",
      "and",        "or",    "not",    "(",        ")",    "[",   "]",         "{",      "}",
      "=",          ",",     ";",      ".",        ":",    "..",  "...",       "#",      "if",
      "then",       "else",  "end",    "for",      "in",   "do",  "while",     "repeat", "until",
      "break",      "local", "return", "function", "goto", "::",  "math.sin(", "a[i]",   "for i = 1, #a do",
      "local z = ", "\n"};
  std::mt19937 random(1);
  int parsed = 0, typed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = "local f = function(x, a)\n";
    for (int i = std::uniform_int_distribution(0, 12)(random); i > 0; --i)
      text += std::string(words[random() % std::size(words)]) + " ";
    text += "\nend";
    try {
      auto chunk = std::make_shared<Chunk>(parse(text));
      ++parsed;
      Source source;
      source.tree = chunk;
      int count = 0;
      const int lines = 1 + int(std::count(text.begin(), text.end(), '\n'));
      source.body = find_function(*chunk, 1, lines, &count);
      if (!source.body)
        continue;
      Binding mathematics;
      mathematics.what = Binding::What::builtin;
      mathematics.text = "math";
      source.bindings["math"] = mathematics;
      ArgumentType number, array;
      array.is_array = true;
      array.kind = Kind::unknown;
      array.dtype = 5;
      array.ndim = 1 + int(random() % 2);
      array.contiguous = true;
      Module module = specialise(source, {number, array});
      hoist_checks(module);
      CHECK(!print(module).empty());
      ++typed;
    } catch (const SourceError &) {
    } catch (const CompileError &) {
    }
  }
  CHECK(parsed > 100);
  CHECK(typed > 50);
}
