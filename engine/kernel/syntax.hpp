// Lua source as a tree: what the kernel compiler reads. The whole of Lua 5.1's grammar (and LuaJIT's goto, labels and
// number suffixes) parses, so that what a kernel may not use is refused later at its line, by name. Nothing is run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace perigee::kernel {

struct Position {
  std::int32_t line = 0, column = 0; // both from 1
};

// What is wrong with a source text: the message names no place, `at` does.
struct SourceError {
  std::string message;
  Position at;
};

enum class TokenKind : std::uint8_t {
  end,
  name,
  number,
  string,
  // keywords, in the order of `keywords` in lexer.cpp
  and_,
  break_,
  do_,
  else_,
  elseif_,
  end_,
  false_,
  for_,
  function_,
  goto_,
  if_,
  in_,
  local_,
  nil_,
  not_,
  or_,
  repeat_,
  return_,
  then_,
  true_,
  until_,
  while_,
  // symbols
  plus,
  minus,
  star,
  slash,
  percent,
  caret,
  hash,
  eq,
  ne,
  le,
  ge,
  lt,
  gt,
  assign,
  left_paren,
  right_paren,
  left_brace,
  right_brace,
  left_bracket,
  right_bracket,
  semicolon,
  colon,
  double_colon,
  comma,
  dot,
  concat,
  dots,
};

enum class NumberKind : std::uint8_t { integer, real, int64, uint64, imaginary };

struct Token {
  TokenKind kind = TokenKind::end;
  Position at;
  std::string text; // of a name or string; as written for numbers
  double number = 0;
  std::int64_t integer = 0;                  // exact value of 1LL, 1ULL and of integers below 2^63
  NumberKind number_kind = NumberKind::real; // `integer`: written without point or exponent
};

// Splits a text into tokens, one at a time. Throws SourceError.
class Lexer {
 public:
  explicit Lexer(std::string_view text);
  Token next();

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void advance();
  bool accept(char c);
  void skip_blank();
  bool long_bracket(std::string *into, const char *what); // at '[': true when it was one
  Token number();
  std::string quoted();
  [[noreturn]] void fail(const std::string &message) const;

  std::string_view text_;
  std::size_t at_ = 0;
  Position position_{1, 1};
};

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Block = std::vector<std::unique_ptr<Statement>>;

struct FunctionBody {
  Position at; // of the word `function`
  std::int32_t last_line = 0;
  std::vector<std::string> parameters;
  std::vector<Position> parameter_positions;
  bool variadic = false;
  Block body;
};

enum class ExpressionKind : std::uint8_t {
  nil,
  boolean,
  number,
  string,
  variadic,
  function,
  name,
  index,
  call,
  method_call,
  unary,
  binary,
  table,
  parenthesised,
};

struct Expression {
  ExpressionKind kind;
  Position at;
  std::string text;   // name, string, method's name; of `a.b` the key is a string expression
  bool value = false; // boolean; of a table: it has keys; of a binary: may be reordered (forms.cpp)
  double number = 0;
  std::int64_t integer = 0;
  NumberKind number_kind = NumberKind::real;
  TokenKind op = TokenKind::end;       // of unary and binary
  std::int32_t height = 1;             // of the tree below: bounded, since those who walk it recurse
  std::vector<ExpressionPtr> operands; // index: object, key; call: function, arguments...
  std::unique_ptr<FunctionBody> function;
};

enum class StatementKind : std::uint8_t {
  local,
  assign,
  call,
  do_,
  while_,
  repeat,
  if_,
  numeric_for,
  generic_for,
  function,
  local_function,
  return_,
  break_,
  goto_,
  label,
};

struct Statement {
  StatementKind kind;
  Position at;
  std::vector<std::string> names; // local: the variables; for: its variables; goto, label: the label
  std::vector<Position> name_positions;
  std::vector<ExpressionPtr> targets; // assign
  std::vector<ExpressionPtr>
      expressions;           // local, assign, return: values; if: conditions; numeric for: start, limit, step
  std::vector<Block> blocks; // if: one a condition, and one for else; others: the body
  std::unique_ptr<FunctionBody> function; // function, local function
};

struct Chunk {
  Block body;
};

// Parses a chunk of Lua. Throws SourceError.
Chunk parse(std::string_view text);

// The function whose word `function` is on line `first` and whose `end` is on line `last`; nullptr where there is none,
// and *count says how many there are.
const FunctionBody *find_function(const Chunk &chunk, std::int32_t first, std::int32_t last, int *count);

// Names that a function uses and does not declare, in order of first use: its upvalues and globals.
struct FreeName {
  std::string name;
  Position at;
};
std::vector<FreeName> free_names(const FunctionBody &function);

} // namespace perigee::kernel
