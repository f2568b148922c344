// What a learner is told about a wrong result.
#include "grader/compare.hpp"
#include "grader/mutants.hpp"
#include "values.hpp"

#include <catch2/catch.hpp>

using namespace perigee;
using namespace perigee::grader;
using tests::blob_of;

namespace {

Comparison compared(const Bytes &got, const Bytes &expected, const Tolerance &tolerance = {}) {
  wire::Value a, b;
  std::string error;
  REQUIRE(wire::parse(got, {}, false, a, error));
  REQUIRE(wire::parse(expected, {}, false, b, error));
  return compare(a, b, tolerance);
}

void equal(const std::string &got, const std::string &expected, const Tolerance &tolerance = {}) {
  INFO(got << " and " << expected);
  Comparison comparison = compared(blob_of(got), blob_of(expected), tolerance);
  INFO(comparison.message);
  CHECK(comparison.equal);
  CHECK(comparison.message.empty());
}

// The result differs, and the message holds each of the parts.
void differs(const std::string &got, const std::string &expected, std::initializer_list<std::string> parts,
             const Tolerance &tolerance = {}) {
  Comparison comparison = compared(blob_of(got), blob_of(expected), tolerance);
  INFO(got << " instead of " << expected << "\n" << comparison.message);
  CHECK(!comparison.equal);
  for (const std::string &part : parts) {
    INFO("looking for: " << part);
    CHECK(comparison.message.find(part) != std::string::npos);
  }
}

std::string filled(const std::string &shape, const std::string &body) {
  return "(function() local a = array.zeros(" + shape + ") " + body + " return a end)()";
}

} // namespace

TEST_CASE("compare: equal values") {
  for (const char *value :
       {"nil", "true", "1.5", "'text'", "{}", "{1, 2, 3}", "{{1, 2}, {3}}", "{a = 1, b = {2}, [true] = 'x'}",
        "array.range(1, 10)", "{array.zeros(2), 'x'}", "{1, 'x', {y = 2}}", "1/0", "array.zeros(0)"})
    equal(value, value);
  equal("1.0000001", "1", {1e-6, 0, false});
  equal("0.0000001", "0", {0, 1e-6, false});
  equal("array.from{1, 2.0000001}", "array.from{1, 2}", {1e-6, 0, false});
  equal("{3, 2, 1, x = 1, y = 2}", "{3, 2, 1, y = 2, x = 1}");
  equal("0/0", "0/0", {0, 0, true});
}

TEST_CASE("compare: kinds, dtypes, shapes") {
  differs("nil", "5", {"expected a number, 5; got nil"});
  differs("'5'", "5", {"expected a number", "got a string, \"5\"", "tonumber"});
  differs("{1, 2}", "array.from{1, 2}", {"expected an array, float64 (2,)", "got a table, {1, 2}", "array.from"});
  differs("array.from{1, 2}", "{1, 2}", {"totable"});
  differs("array.from{1, 2}:astype('float32')", "array.from{1, 2}",
          {"expected an array of dtype float64, got float32"});
  differs("array.zeros(3)", "array.zeros(2, 2)", {"shape (2, 2), got (3,)", "1 dimension instead of 2"});
  differs("array.range(1, 9)", "array.range(1, 10)", {"(10,), got (9,)", "1 too few: the last element is missing"});
  differs("array.range(2, 10)", "array.range(1, 10)", {"the first element is missing"});
  differs("array.range(1, 12)", "array.range(1, 10)", {"2 too many: the last 2 elements should not be there"});
  differs("{1, 2, 3}", "{1, 2, 3, 4}", {"a list of 4 numbers, got 3", "the last element is missing"});
  differs("array.range(1, 6):reshape(3, 2)", "array.range(1, 6):reshape(2, 3)", {"rows and columns seem"});
  differs("array.range(1, 6):reshape(2, 3):transpose():copy()", "array.range(1, 6):reshape(2, 3)",
          {"rows and columns are exchanged; otherwise it is right"});
}

TEST_CASE("compare: scalars") {
  differs("6", "5", {"expected 5, got 6", "1 too large: off by one?"});
  differs("4", "5", {"1 too small: off by one?"});
  differs("-5", "5", {"wrong sign"});
  differs("10", "5", {"2 times"});
  differs("2.5", "5", {"1/2 of"});
  differs("0/0", "5", {"got NaN", "0/0"});
  differs("0/0", "0/0", {"NaN equals nothing"});
  differs("1/0", "5", {"got inf"});
  differs("3", "3.7", {"fraction cut off"});
  differs("5.01", "5", {"the relative difference is 0.002"});
  differs("'hallo'", "'hello'", {"differ at character 2", "\"e\", got \"a\""});
  differs("'hell'", "'hello'", {"ends early"});
  differs("true", "false", {"expected false, got true"});
}

TEST_CASE("compare: where and how much") {
  differs(filled("4, 5", "a[3][5] = 2"), "array.zeros(4, 5)",
          {"result[3][5]: expected 0, got 2", "1 of 20 elements differ", "largest difference is 2 at [3][5]"});
  differs("{1, {2, {x = 3}}}", "{1, {2, {x = 4}}}", {"result[2][2].x: expected 4, got 3"});
  differs("{a = 1}", "{a = 1, b = 2}", {"it lacks .b, which should be 2"});
  differs("{a = 1, b = 2, c = 3}", "{a = 1, b = 2}", {"it has .c, which should not be there"});
  differs("{'a', 'b'}", "{'a', 'b', 'c'}", {"a list of 3, got 2", "the first 2 are right"});
  differs("{array.range(1, 3), array.from{1, 5, 3}}", "{array.range(1, 3), array.range(1, 3)}",
          {"result[2][2]: expected 2, got 5"});
  differs("array.from{1, 2^53 + 2}:astype('int64')", "array.from{1, 2^53}:astype('int64')",
          {"expected 9007199254740992, got 9007199254740994"});
}

TEST_CASE("compare: patterns") {
  const char *ten = "array.range(1, 10) * array.range(1, 10)";
  differs(filled("4, 5", "for j = 1, 5 do a[1][j] = j end"), "array.zeros(4, 5)", {"all of row 1, and nothing else"});
  differs(filled("4, 5", "for i = 1, 4 do a[i][5] = 1 end"), "array.zeros(4, 5)", {"all of column 5, the last"});
  differs(filled("4, 5", "a[2][2] = 1 a[2][4] = 1"), "array.zeros(4, 5)", {"only in row 2"});
  differs(filled("4, 5", "a[1][2] = 1 a[4][4] = 1 a[2][5] = 1"), "array.zeros(4, 5)", {"only at the edges"});
  differs(filled("4, 4", "for i = 1, 4 do a[i][i] = 1 end"), "array.zeros(4, 4)", {"diagonal"});
  differs("{1, 2, 3, 4, 6}", "{1, 2, 3, 4, 5}", {"only the last element is wrong"});
  differs("{7, 2, 3, 4, 5}", "{1, 2, 3, 4, 5}", {"only the first element"});
  differs("{7, 2, 3, 4, 7}", "{1, 2, 3, 4, 5}", {"first and the last"});
  differs("{1, 2, 3, 0, 0}", "{1, 2, 3, 4, 5}", {"everything from [4] on is wrong, everything before it right"});
  differs("{1, 0, 3, 0, 5, 0, 7, 0}", "{1, 2, 3, 4, 5, 6, 7, 8}", {"every 2nd element is wrong, from [2] on"});
  differs(std::string("-(") + ten + ")", ten, {"every element has the wrong sign"});
  differs(std::string("(") + ten + ") * 2", ten, {"every element is 2 times"});
  differs(std::string("(") + ten + ") / 4", ten, {"every element is 1/4 of"});
  differs(std::string("(") + ten + ") + 1", ten, {"every element is 1 too large: off by one?"});
  differs("array.zeros(10)", ten, {"every element is 0"});
  differs("array.zeros(10) / 0", ten, {"every element is NaN"});
  differs("{1, 0/0, 9}", "{1, 4, 9}", {"all of the wrong elements are NaN"});
  differs("{4, 9, 16, 25, 36}", "{1, 4, 9, 16, 25}", {"shifted by one", "expected after it"});
  differs("{0, 1, 4, 9, 16}", "{1, 4, 9, 16, 25}", {"shifted by one", "expected before it"});
  differs("{25, 16, 9, 4, 1}", "{1, 4, 9, 16, 25}", {"in reverse order"});
  differs("{4, 1, 25, 9, 16}", "{1, 4, 9, 16, 25}", {"right, but in a different order"});
  differs("array.from{{1, 3}, {2, 4}}", "array.from{{1, 2}, {3, 4}}", {"transposed"});
  differs("{{1, 2}, {4, 9}}", "{{1, 2}, {4, 8}}", {"result[2][2]: expected 8, got 9"});
  differs("(array.range(1, 10) / 7):astype('float32'):astype('float64')", "array.range(1, 10) / 7", {"float32"});
  // Sums that pass near zero: relative differences there are larger than single precision.
  differs("array.from{0.4, 1e-9, -3.0}", "array.from{0.40000001, 1.3e-8, -3.0000001}", {"float32"});
  differs("{1, 2, 3, 4}", "{1.5, 2.25, 3.75, 4.5}", {"fraction cut off"});
  differs("array.from{1, 0, 1}:astype('bool')", "array.from{0, 1, 0}:astype('bool')", {"opposite"});
}

TEST_CASE("compare: text from a hostile process is escaped and cut") {
  differs("'\\27[31m' .. ('x'):rep(1000)", "'y'", {"\\27[31mxxx", "..."});
  CHECK(compared(blob_of("('x'):rep(100000)"), blob_of("5")).message.size() < 300);
  CHECK(compared(blob_of("{[('x'):rep(100000)] = 5}"), blob_of("{}")).message.size() < 300);
}

TEST_CASE("mutants differ from what they are made of") {
  auto mutant = [](const std::string &value, const std::string &name) -> std::string {
    auto blob = make_mutant(blob_of(value), name, {1e-3, 0, false});
    if (!blob)
      return "none";
    wire::Value parsed;
    std::string error;
    REQUIRE(wire::parse(*blob, {}, false, parsed, error));
    return describe(parsed, 200);
  };
  CHECK(mutant("5", "wrong_sign") == "-5");
  CHECK(mutant("5", "off_by_one") == "6.015");
  CHECK(mutant("5", "drop_last") == "none");
  CHECK(mutant("0", "wrong_sign") == "none");
  CHECK(mutant("{1, 2, 3}", "off_by_one") == "{1, 3.006, 3}");
  CHECK(mutant("{1, 2, 3}", "drop_last") == "{1, 2}");
  CHECK(mutant("{1, 2, 3}", "wrong_sign") == "{-1, -2, -3}");
  CHECK(mutant("array.from{1, 2, 3}", "drop_last") == "float64 (2,) {1, 2}");
  CHECK(mutant("array.from{1, 2, 3}:astype('int32')", "off_by_one") == "int32 (3,) {1, 3, 3}");
  CHECK(mutant("array.zeros(3, 4)", "drop_last") == "float64 (2, 4)");
  CHECK(mutant("array.zeros(0)", "drop_last") == "none");
  CHECK(mutant("'text'", "drop_last") == "\"tex\"");
  CHECK(mutant("true", "off_by_one") == "false");
  CHECK(mutant("{a = 1, {2, 'x'}}", "wrong_sign") == "{{-2, \"x\"}, \"a\" = -1}");
  CHECK(mutant("{1, {2}, 3}", "drop_last") == "{1, {2}}");
  CHECK(mutant("nil", "off_by_one") == "none");
}

TEST_CASE("compare: every dtype") {
  for (const char *dtype : {"bool", "uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16",
                            "uint32", "uint64", "complex64", "complex128"}) {
    const std::string as = ":astype('" + std::string(dtype) + "')";
    equal("array.from{1, 0, 1}" + as, "array.from{1, 0, 1}" + as);
    differs("array.from{1, 0, 1}" + as, "array.from{1, 1, 1}" + as, {"[2]: expected "});
  }
  const std::string z = "(array.range(1, 5) + array.range(5, 1, -1):astype('complex128') * array.complex(0, 1))";
  equal(z, z);
  equal(z + " * (1 + 1e-12)", z, {1e-9, 0, false});
  differs(z + ":conj()", z, {"complex conjugate", "[1]: expected 1+5i, got 1-5i", "5 of 5 elements differ"});
  differs(z + " * -1", z, {"wrong sign"});
  differs(z + " / 5", z, {"1/5 of what it should be"});
  differs(z + " * 0", z, {"every element is 0"});
  differs(z + " + 1e-3", z, {"the largest difference is 0.001"});
}

TEST_CASE("mutants of every dtype differ") {
  for (const char *dtype : {"uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16", "uint32",
                            "uint64", "complex64", "complex128"})
    for (const char *mutant : {"drop_last", "off_by_one", "wrong_sign"}) {
      INFO(dtype << " " << mutant);
      const Bytes good = blob_of("array.from{1, 2, 3}:astype('" + std::string(dtype) + "')");
      const auto bad = make_mutant(good, mutant, {});
      const bool no_sign = std::string(mutant) == "wrong_sign" && dtype[0] == 'u';
      REQUIRE(bad.has_value() == !no_sign);
      if (bad)
        CHECK(!compared(*bad, good).equal);
    }
}
