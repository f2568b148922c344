#include "kernel/syntax.hpp"

#include <array>
#include <cmath>
#include <cstdlib>

namespace perigee::kernel {

namespace {

constexpr std::array<std::string_view, 22> keywords = {
    "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
    "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
int hex_value(char c) {
  return is_digit(c) ? c - '0' : (c | 32) - 'a' + 10;
}
// LuaJIT takes every byte above 127 as part of a name.
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) > 127;
}
bool is_name(char c) {
  return is_name_start(c) || is_digit(c);
}

void append_utf8(std::string &out, std::uint32_t code) {
  if (code < 0x80) {
    out += char(code);
  } else if (code < 0x800) {
    out += char(0xC0 | code >> 6);
    out += char(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += char(0xE0 | code >> 12);
    out += char(0x80 | (code >> 6 & 63));
    out += char(0x80 | (code & 63));
  } else {
    out += char(0xF0 | code >> 18);
    out += char(0x80 | (code >> 12 & 63));
    out += char(0x80 | (code >> 6 & 63));
    out += char(0x80 | (code & 63));
  }
}

} // namespace

Lexer::Lexer(std::string_view text) : text_(text) {
  if (text_.starts_with("\xEF\xBB\xBF"))
    at_ = 3;
  if (peek() == '#') // a first line for the shell
    while (at_ < text_.size() && peek() != '\n')
      advance();
}

void Lexer::fail(const std::string &message) const {
  throw SourceError{message, position_};
}

void Lexer::advance() {
  if (text_[at_] == '\n') {
    ++position_.line;
    position_.column = 1;
  } else {
    ++position_.column;
  }
  ++at_;
}

bool Lexer::accept(char c) {
  if (peek() != c || at_ >= text_.size())
    return false;
  advance();
  return true;
}

bool Lexer::long_bracket(std::string *into, const char *what) {
  std::size_t level = 0;
  while (peek(1 + level) == '=')
    ++level;
  if (peek(1 + level) != '[')
    return false;
  const Position start = position_;
  for (std::size_t i = 0; i < level + 2; ++i)
    advance();
  if (peek() == '\r')
    advance();
  if (peek() == '\n')
    advance();
  while (at_ < text_.size()) {
    if (peek() == ']') {
      std::size_t equals = 0;
      while (peek(1 + equals) == '=')
        ++equals;
      if (equals == level && peek(1 + equals) == ']') {
        for (std::size_t i = 0; i < level + 2; ++i)
          advance();
        return true;
      }
    }
    if (into)
      *into += peek();
    advance();
  }
  throw SourceError{std::string("unfinished long ") + what, start};
}

void Lexer::skip_blank() {
  while (at_ < text_.size()) {
    const char c = peek();
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f') {
      advance();
    } else if (c == '-' && peek(1) == '-') {
      advance();
      advance();
      if (peek() == '[' && long_bracket(nullptr, "comment"))
        continue;
      while (at_ < text_.size() && peek() != '\n')
        advance();
    } else {
      return;
    }
  }
}

Token Lexer::number() {
  Token token;
  token.kind = TokenKind::number;
  token.at = position_;
  const std::size_t first = at_;
  const bool hex = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
  const bool binary = peek() == '0' && (peek(1) == 'b' || peek(1) == 'B');
  // As Lua does: take all that could belong to a number, then ask whether it is one.
  const char mark = hex ? 'p' : 'e';
  while (is_name(peek()) || peek() == '.' || ((peek() == '+' || peek() == '-') && (text_[at_ - 1] | 32) == mark))
    advance();
  token.text = std::string(text_.substr(first, at_ - first));
  std::string body = token.text;
  token.number_kind = NumberKind::real;
  auto ends_with = [&](std::string_view suffix) {
    if (body.size() <= suffix.size())
      return false;
    for (std::size_t i = 0; i < suffix.size(); ++i)
      if ((body[body.size() - suffix.size() + i] | 32) != suffix[i])
        return false;
    return true;
  };
  auto malformed = [&] { throw SourceError{"malformed number '" + token.text + "'", token.at}; };
  bool whole = true; // digits only
  if (ends_with("ull")) {
    token.number_kind = NumberKind::uint64;
    body.resize(body.size() - 3);
  } else if (ends_with("ll")) {
    token.number_kind = NumberKind::int64;
    body.resize(body.size() - 2);
  } else if (ends_with("i")) {
    token.number_kind = NumberKind::imaginary;
    body.resize(body.size() - 1);
  }
  const std::string_view digits = hex || binary ? std::string_view(body).substr(2) : std::string_view(body);
  for (const char c : digits)
    whole = whole && (hex ? is_hex(c) : binary ? c == '0' || c == '1' : is_digit(c));
  if (digits.empty() || (binary && !whole))
    malformed();
  if (whole) {
    std::uint64_t value = 0;
    bool fits = true;
    const std::uint64_t base = hex ? 16 : binary ? 2 : 10;
    for (const char c : digits) {
      const std::uint64_t digit = std::uint64_t(hex_value(c));
      fits = fits && value <= (UINT64_MAX - digit) / base;
      value = value * base + digit;
    }
    const bool suffixed = token.number_kind == NumberKind::int64 || token.number_kind == NumberKind::uint64;
    if (suffixed && !fits)
      malformed();
    if (suffixed || (fits && value <= std::uint64_t(INT64_MAX))) {
      token.integer = std::int64_t(value);
      token.number = double(value);
      if (token.number_kind == NumberKind::real)
        token.number_kind = NumberKind::integer;
      return token;
    }
    if (hex || binary)
      malformed();
  } else if (token.number_kind == NumberKind::int64 || token.number_kind == NumberKind::uint64) {
    malformed();
  }
  char *stop = nullptr;
  token.number = std::strtod(body.c_str(), &stop);
  if (stop != body.c_str() + body.size())
    malformed();
  return token;
}

std::string Lexer::quoted() {
  const Position start = position_;
  const char quote = peek();
  advance();
  std::string out;
  while (true) {
    if (at_ >= text_.size() || peek() == '\n')
      throw SourceError{"unfinished string", start};
    const char c = peek();
    if (c == quote) {
      advance();
      return out;
    }
    if (c != '\\') {
      out += c;
      advance();
      continue;
    }
    advance();
    if (at_ >= text_.size())
      throw SourceError{"unfinished string", start};
    const char escape = peek();
    static constexpr std::string_view letters = "abfnrtv", codes = "\a\b\f\n\r\t\v";
    if (const std::size_t i = letters.find(escape); i != std::string_view::npos) {
      out += codes[i];
      advance();
    } else if (escape == '\n') {
      out += '\n';
      advance();
    } else if (escape == 'x') {
      advance();
      if (!is_hex(peek()) || !is_hex(peek(1)))
        fail("\\x is followed by two hexadecimal digits");
      out += char(hex_value(peek()) * 16 + hex_value(peek(1)));
      advance();
      advance();
    } else if (escape == 'u') {
      advance();
      if (!accept('{'))
        fail("\\u is followed by {digits}");
      std::uint32_t code = 0;
      while (is_hex(peek()) && code < 0x110000) {
        code = code * 16 + std::uint32_t(hex_value(peek()));
        advance();
      }
      if (code >= 0x110000 || !accept('}'))
        fail("\\u{...} is not a code point");
      append_utf8(out, code);
    } else if (escape == 'z') {
      advance();
      while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')
        advance();
    } else if (is_digit(escape)) {
      int code = 0;
      for (int i = 0; i < 3 && is_digit(peek()); ++i) {
        code = code * 10 + (peek() - '0');
        advance();
      }
      if (code > 255)
        fail("escape sequence too large");
      out += char(code);
    } else {
      out += escape;
      advance();
    }
  }
}

Token Lexer::next() {
  skip_blank();
  Token token;
  token.at = position_;
  if (at_ >= text_.size())
    return token;
  const char c = peek();
  if (is_digit(c) || (c == '.' && is_digit(peek(1))))
    return number();
  if (is_name_start(c)) {
    const std::size_t first = at_;
    while (is_name(peek()))
      advance();
    token.text = std::string(text_.substr(first, at_ - first));
    token.kind = TokenKind::name;
    for (std::size_t i = 0; i < keywords.size(); ++i)
      if (keywords[i] == token.text)
        token.kind = TokenKind(std::size_t(TokenKind::and_) + i);
    return token;
  }
  if (c == '"' || c == '\'') {
    token.kind = TokenKind::string;
    token.text = quoted();
    return token;
  }
  if (c == '[' && long_bracket(&token.text, "string")) {
    token.kind = TokenKind::string;
    return token;
  }
  advance();
  switch (c) {
  case '+':
    token.kind = TokenKind::plus;
    break;
  case '-':
    token.kind = TokenKind::minus;
    break;
  case '*':
    token.kind = TokenKind::star;
    break;
  case '/':
    token.kind = TokenKind::slash;
    break;
  case '%':
    token.kind = TokenKind::percent;
    break;
  case '^':
    token.kind = TokenKind::caret;
    break;
  case '#':
    token.kind = TokenKind::hash;
    break;
  case '(':
    token.kind = TokenKind::left_paren;
    break;
  case ')':
    token.kind = TokenKind::right_paren;
    break;
  case '{':
    token.kind = TokenKind::left_brace;
    break;
  case '}':
    token.kind = TokenKind::right_brace;
    break;
  case '[':
    token.kind = TokenKind::left_bracket;
    break;
  case ']':
    token.kind = TokenKind::right_bracket;
    break;
  case ';':
    token.kind = TokenKind::semicolon;
    break;
  case ',':
    token.kind = TokenKind::comma;
    break;
  case ':':
    token.kind = accept(':') ? TokenKind::double_colon : TokenKind::colon;
    break;
  case '=':
    token.kind = accept('=') ? TokenKind::eq : TokenKind::assign;
    break;
  case '<':
    token.kind = accept('=') ? TokenKind::le : TokenKind::lt;
    break;
  case '>':
    token.kind = accept('=') ? TokenKind::ge : TokenKind::gt;
    break;
  case '~':
    if (!accept('='))
      throw SourceError{"unexpected symbol '~' (not equal is '~=')", token.at};
    token.kind = TokenKind::ne;
    break;
  case '.':
    token.kind = !accept('.') ? TokenKind::dot : accept('.') ? TokenKind::dots : TokenKind::concat;
    break;
  default: {
    const bool printable = c > 32 && c < 127;
    throw SourceError{printable ? std::string("unexpected symbol '") + c + "'"
                                : "unexpected byte " + std::to_string(static_cast<unsigned char>(c)),
                      token.at};
  }
  }
  return token;
}

} // namespace perigee::kernel
