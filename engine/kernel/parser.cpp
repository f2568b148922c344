#include "kernel/syntax.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace perigee::kernel {

namespace {

constexpr int max_depth = 180;    // LuaJIT's own limit is 200 levels
constexpr int max_functions = 20; // one inside another
constexpr int max_height = 1000;  // of an expression's tree: 1000 operators in a row

const char *symbol(TokenKind kind) {
  switch (kind) {
  case TokenKind::and_:
    return "and";
  case TokenKind::break_:
    return "break";
  case TokenKind::do_:
    return "do";
  case TokenKind::else_:
    return "else";
  case TokenKind::elseif_:
    return "elseif";
  case TokenKind::end_:
    return "end";
  case TokenKind::false_:
    return "false";
  case TokenKind::for_:
    return "for";
  case TokenKind::function_:
    return "function";
  case TokenKind::goto_:
    return "goto";
  case TokenKind::if_:
    return "if";
  case TokenKind::in_:
    return "in";
  case TokenKind::local_:
    return "local";
  case TokenKind::nil_:
    return "nil";
  case TokenKind::not_:
    return "not";
  case TokenKind::or_:
    return "or";
  case TokenKind::repeat_:
    return "repeat";
  case TokenKind::return_:
    return "return";
  case TokenKind::then_:
    return "then";
  case TokenKind::true_:
    return "true";
  case TokenKind::until_:
    return "until";
  case TokenKind::while_:
    return "while";
  case TokenKind::plus:
    return "+";
  case TokenKind::minus:
    return "-";
  case TokenKind::star:
    return "*";
  case TokenKind::slash:
    return "/";
  case TokenKind::percent:
    return "%";
  case TokenKind::caret:
    return "^";
  case TokenKind::hash:
    return "#";
  case TokenKind::eq:
    return "==";
  case TokenKind::ne:
    return "~=";
  case TokenKind::le:
    return "<=";
  case TokenKind::ge:
    return ">=";
  case TokenKind::lt:
    return "<";
  case TokenKind::gt:
    return ">";
  case TokenKind::assign:
    return "=";
  case TokenKind::left_paren:
    return "(";
  case TokenKind::right_paren:
    return ")";
  case TokenKind::left_brace:
    return "{";
  case TokenKind::right_brace:
    return "}";
  case TokenKind::left_bracket:
    return "[";
  case TokenKind::right_bracket:
    return "]";
  case TokenKind::semicolon:
    return ";";
  case TokenKind::colon:
    return ":";
  case TokenKind::double_colon:
    return "::";
  case TokenKind::comma:
    return ",";
  case TokenKind::dot:
    return ".";
  case TokenKind::concat:
    return "..";
  case TokenKind::dots:
    return "...";
  case TokenKind::end:
    return "the end of the text";
  case TokenKind::name:
    return "a name";
  case TokenKind::number:
    return "a number";
  case TokenKind::string:
    return "a string";
  }
  return "?";
}

// Left and right binding power of binary operators (Lua 5.1 manual, 2.5.6); 0 for what is none.
std::pair<int, int> power(TokenKind op) {
  switch (op) {
  case TokenKind::or_:
    return {1, 1};
  case TokenKind::and_:
    return {2, 2};
  case TokenKind::lt:
  case TokenKind::gt:
  case TokenKind::le:
  case TokenKind::ge:
  case TokenKind::ne:
  case TokenKind::eq:
    return {3, 3};
  case TokenKind::concat:
    return {5, 4};
  case TokenKind::plus:
  case TokenKind::minus:
    return {6, 6};
  case TokenKind::star:
  case TokenKind::slash:
  case TokenKind::percent:
    return {7, 7};
  case TokenKind::caret:
    return {10, 9};
  default:
    return {0, 0};
  }
}
constexpr int unary_power = 8;

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) { next(); }

  Chunk chunk() {
    Chunk chunk;
    chunk.body = block();
    if (token_.kind != TokenKind::end)
      unexpected("the end of the text");
    return chunk;
  }

 private:
  struct Deeper {
    explicit Deeper(Parser &parser) : parser(parser) {
      if (++parser.depth_ > max_depth)
        throw SourceError{"nested too deeply (more than " + std::to_string(max_depth) + " levels)", parser.token_.at};
    }
    ~Deeper() { --parser.depth_; }
    Parser &parser;
  };

  void next() {
    last_line_ = token_.at.line;
    token_ = lexer_.next();
  }

  [[noreturn]] void unexpected(const std::string &expected) {
    std::string near = symbol(token_.kind);
    if (token_.kind == TokenKind::name || token_.kind == TokenKind::number)
      near = "'" + token_.text + "'";
    else if (token_.kind != TokenKind::end && token_.kind != TokenKind::string)
      near = "'" + near + "'";
    throw SourceError{expected + " expected, got " + near, token_.at};
  }

  bool accept(TokenKind kind) {
    if (token_.kind != kind)
      return false;
    next();
    return true;
  }

  void expect(TokenKind kind) {
    if (!accept(kind))
      unexpected(std::string("'") + symbol(kind) + "'");
  }

  // `opening` began at a line: said where its end is missing.
  void close(TokenKind kind, TokenKind opening, Position at) {
    if (accept(kind))
      return;
    if (at.line == token_.at.line)
      unexpected(std::string("'") + symbol(kind) + "'");
    unexpected(std::string("'") + symbol(kind) + "' (to close '" + symbol(opening) + "' at line " +
               std::to_string(at.line) + ")");
  }

  std::string name(Position *at = nullptr) {
    if (token_.kind != TokenKind::name)
      unexpected("a name");
    if (at)
      *at = token_.at;
    std::string text = std::move(token_.text);
    next();
    return text;
  }

  static ExpressionPtr make(ExpressionKind kind, Position at) {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->at = at;
    return e;
  }

  static void adopt(Expression &parent, ExpressionPtr child) {
    parent.height = std::max(parent.height, child->height + 1);
    if (parent.height > max_height)
      throw SourceError{"an expression of more than " + std::to_string(max_height) + " operators in a row: split it",
                        parent.at};
    parent.operands.push_back(std::move(child));
  }

  static std::unique_ptr<Statement> make(StatementKind kind, Position at) {
    auto s = std::make_unique<Statement>();
    s->kind = kind;
    s->at = at;
    return s;
  }

  ExpressionPtr string_expression(std::string text, Position at) {
    auto e = make(ExpressionKind::string, at);
    e->text = std::move(text);
    return e;
  }

  bool block_ends() const {
    switch (token_.kind) {
    case TokenKind::end:
    case TokenKind::end_:
    case TokenKind::else_:
    case TokenKind::elseif_:
    case TokenKind::until_:
      return true;
    default:
      return false;
    }
  }

  Block block() {
    const Deeper deeper(*this);
    Block out;
    while (!block_ends()) {
      const bool last = token_.kind == TokenKind::return_;
      if (token_.kind == TokenKind::semicolon) {
        next();
        continue;
      }
      out.push_back(statement());
      accept(TokenKind::semicolon);
      if (last) {
        if (!block_ends())
          unexpected("the end of the block after 'return'");
        break;
      }
    }
    return out;
  }

  std::vector<ExpressionPtr> expressions() {
    std::vector<ExpressionPtr> out;
    do
      out.push_back(expression());
    while (accept(TokenKind::comma));
    return out;
  }

  std::unique_ptr<Statement> statement() {
    const Position at = token_.at;
    switch (token_.kind) {
    case TokenKind::if_:
      return if_statement(at);
    case TokenKind::while_: {
      next();
      auto s = make(StatementKind::while_, at);
      s->expressions.push_back(expression());
      expect(TokenKind::do_);
      s->blocks.push_back(block());
      close(TokenKind::end_, TokenKind::while_, at);
      return s;
    }
    case TokenKind::do_: {
      next();
      auto s = make(StatementKind::do_, at);
      s->blocks.push_back(block());
      close(TokenKind::end_, TokenKind::do_, at);
      return s;
    }
    case TokenKind::for_:
      return for_statement(at);
    case TokenKind::repeat_: {
      next();
      auto s = make(StatementKind::repeat, at);
      s->blocks.push_back(block());
      close(TokenKind::until_, TokenKind::repeat_, at);
      s->expressions.push_back(expression());
      return s;
    }
    case TokenKind::function_: {
      next();
      auto s = make(StatementKind::function, at);
      Position where;
      std::string first = name(&where);
      auto target = make(ExpressionKind::name, where);
      target->text = std::move(first);
      bool method = false;
      while (token_.kind == TokenKind::dot || token_.kind == TokenKind::colon) {
        method = token_.kind == TokenKind::colon;
        next();
        auto index = make(ExpressionKind::index, where);
        Position key_at;
        std::string key = name(&key_at);
        adopt(*index, std::move(target));
        adopt(*index, string_expression(std::move(key), key_at));
        target = std::move(index);
        if (method)
          break;
      }
      s->targets.push_back(std::move(target));
      s->function = function_body(at, method);
      return s;
    }
    case TokenKind::local_: {
      next();
      if (accept(TokenKind::function_)) {
        auto s = make(StatementKind::local_function, at);
        s->names.push_back(name(&s->name_positions.emplace_back()));
        s->function = function_body(at, false);
        return s;
      }
      auto s = make(StatementKind::local, at);
      do
        s->names.push_back(name(&s->name_positions.emplace_back()));
      while (accept(TokenKind::comma));
      if (accept(TokenKind::assign))
        s->expressions = expressions();
      return s;
    }
    case TokenKind::return_: {
      next();
      auto s = make(StatementKind::return_, at);
      if (!block_ends() && token_.kind != TokenKind::semicolon)
        s->expressions = expressions();
      return s;
    }
    case TokenKind::break_: {
      next();
      return make(StatementKind::break_, at);
    }
    case TokenKind::goto_: {
      next();
      auto s = make(StatementKind::goto_, at);
      s->names.push_back(name(&s->name_positions.emplace_back()));
      return s;
    }
    case TokenKind::double_colon: {
      next();
      auto s = make(StatementKind::label, at);
      s->names.push_back(name(&s->name_positions.emplace_back()));
      expect(TokenKind::double_colon);
      return s;
    }
    default:
      return expression_statement(at);
    }
  }

  std::unique_ptr<Statement> if_statement(Position at) {
    auto s = make(StatementKind::if_, at);
    do { // at `if` or `elseif`
      next();
      s->expressions.push_back(expression());
      expect(TokenKind::then_);
      s->blocks.push_back(block());
    } while (token_.kind == TokenKind::elseif_);
    if (accept(TokenKind::else_))
      s->blocks.push_back(block());
    close(TokenKind::end_, TokenKind::if_, at);
    return s;
  }

  std::unique_ptr<Statement> for_statement(Position at) {
    next();
    auto s = make(StatementKind::numeric_for, at);
    s->names.push_back(name(&s->name_positions.emplace_back()));
    if (accept(TokenKind::assign)) {
      s->expressions.push_back(expression());
      expect(TokenKind::comma);
      s->expressions.push_back(expression());
      if (accept(TokenKind::comma))
        s->expressions.push_back(expression());
    } else {
      s->kind = StatementKind::generic_for;
      while (accept(TokenKind::comma))
        s->names.push_back(name(&s->name_positions.emplace_back()));
      expect(TokenKind::in_);
      s->expressions = expressions();
    }
    expect(TokenKind::do_);
    s->blocks.push_back(block());
    close(TokenKind::end_, TokenKind::for_, at);
    return s;
  }

  std::unique_ptr<Statement> expression_statement(Position at) {
    auto first = suffixed();
    if (token_.kind == TokenKind::assign || token_.kind == TokenKind::comma) {
      auto s = make(StatementKind::assign, at);
      auto assignable = [&](const Expression &e) {
        if (e.kind != ExpressionKind::name && e.kind != ExpressionKind::index)
          throw SourceError{"this cannot be assigned to", e.at};
      };
      assignable(*first);
      s->targets.push_back(std::move(first));
      while (accept(TokenKind::comma)) {
        s->targets.push_back(suffixed());
        assignable(*s->targets.back());
      }
      expect(TokenKind::assign);
      s->expressions = expressions();
      return s;
    }
    if (first->kind != ExpressionKind::call && first->kind != ExpressionKind::method_call)
      unexpected("'='");
    auto s = make(StatementKind::call, at);
    s->expressions.push_back(std::move(first));
    return s;
  }

  std::unique_ptr<FunctionBody> function_body(Position at, bool method) {
    const Deeper deeper(*this);
    if (++functions_ > max_functions)
      throw SourceError{"functions nested more than " + std::to_string(max_functions) + " deep", at};
    auto f = std::make_unique<FunctionBody>();
    f->at = at;
    if (method) {
      f->parameters.push_back("self");
      f->parameter_positions.push_back(at);
    }
    expect(TokenKind::left_paren);
    if (token_.kind != TokenKind::right_paren) {
      do {
        if (accept(TokenKind::dots)) {
          f->variadic = true;
          break;
        }
        f->parameters.push_back(name(&f->parameter_positions.emplace_back()));
      } while (accept(TokenKind::comma));
    }
    expect(TokenKind::right_paren);
    f->body = block();
    close(TokenKind::end_, TokenKind::function_, at);
    f->last_line = last_line_;
    --functions_;
    return f;
  }

  ExpressionPtr table() {
    const Position at = token_.at;
    expect(TokenKind::left_brace);
    const Deeper deeper(*this);
    auto e = make(ExpressionKind::table, at);
    while (token_.kind != TokenKind::right_brace) {
      if (accept(TokenKind::left_bracket)) { // values alone are kept: no kernel has tables but lists of lengths
        e->value = true;                     // "has keys"
        adopt(*e, expression());
        expect(TokenKind::right_bracket);
        expect(TokenKind::assign);
        adopt(*e, expression());
      } else {
        auto item = expression();
        if (token_.kind == TokenKind::assign && item->kind == ExpressionKind::name) {
          next();
          e->value = true;
          item->kind = ExpressionKind::string;
          adopt(*e, std::move(item));
          adopt(*e, expression());
        } else {
          adopt(*e, std::move(item));
        }
      }
      if (!accept(TokenKind::comma) && !accept(TokenKind::semicolon))
        break;
    }
    close(TokenKind::right_brace, TokenKind::left_brace, at);
    return e;
  }

  ExpressionPtr primary() {
    const Position at = token_.at;
    if (token_.kind == TokenKind::name) {
      auto e = make(ExpressionKind::name, at);
      e->text = name();
      return e;
    }
    if (accept(TokenKind::left_paren)) {
      const Deeper deeper(*this);
      auto e = make(ExpressionKind::parenthesised, at);
      adopt(*e, expression());
      close(TokenKind::right_paren, TokenKind::left_paren, at);
      return e;
    }
    unexpected("an expression");
  }

  ExpressionPtr suffixed() {
    auto e = primary();
    while (true) {
      const Position at = token_.at;
      switch (token_.kind) {
      case TokenKind::dot: {
        next();
        auto index = make(ExpressionKind::index, at);
        Position key_at;
        std::string key = name(&key_at);
        adopt(*index, std::move(e));
        adopt(*index, string_expression(std::move(key), key_at));
        e = std::move(index);
        break;
      }
      case TokenKind::left_bracket: {
        next();
        auto index = make(ExpressionKind::index, at);
        adopt(*index, std::move(e));
        adopt(*index, expression());
        expect(TokenKind::right_bracket);
        e = std::move(index);
        break;
      }
      case TokenKind::colon: {
        next();
        auto call = make(ExpressionKind::method_call, at);
        call->text = name();
        adopt(*call, std::move(e));
        arguments(*call);
        e = std::move(call);
        break;
      }
      case TokenKind::left_paren:
      case TokenKind::left_brace:
      case TokenKind::string: {
        auto call = make(ExpressionKind::call, e->at);
        adopt(*call, std::move(e));
        arguments(*call);
        e = std::move(call);
        break;
      }
      default:
        return e;
      }
    }
  }

  void arguments(Expression &call) {
    const Position at = token_.at;
    if (token_.kind == TokenKind::string) {
      adopt(call, string_expression(std::move(token_.text), at));
      next();
    } else if (token_.kind == TokenKind::left_brace) {
      adopt(call, table());
    } else {
      expect(TokenKind::left_paren);
      const Deeper deeper(*this);
      if (token_.kind != TokenKind::right_paren)
        for (auto &e : expressions())
          adopt(call, std::move(e));
      close(TokenKind::right_paren, TokenKind::left_paren, at);
    }
  }

  ExpressionPtr simple() {
    const Position at = token_.at;
    switch (token_.kind) {
    case TokenKind::number: {
      auto e = make(ExpressionKind::number, at);
      e->text = token_.text;
      e->number = token_.number;
      e->integer = token_.integer;
      e->number_kind = token_.number_kind;
      next();
      return e;
    }
    case TokenKind::string: {
      auto e = string_expression(std::move(token_.text), at);
      next();
      return e;
    }
    case TokenKind::nil_:
      next();
      return make(ExpressionKind::nil, at);
    case TokenKind::true_:
    case TokenKind::false_: {
      auto e = make(ExpressionKind::boolean, at);
      e->value = token_.kind == TokenKind::true_;
      next();
      return e;
    }
    case TokenKind::dots:
      next();
      return make(ExpressionKind::variadic, at);
    case TokenKind::left_brace:
      return table();
    case TokenKind::function_: {
      next();
      auto e = make(ExpressionKind::function, at);
      e->function = function_body(at, false);
      return e;
    }
    default:
      return suffixed();
    }
  }

  ExpressionPtr expression(int limit = 0) {
    const Deeper deeper(*this);
    ExpressionPtr left;
    if (token_.kind == TokenKind::not_ || token_.kind == TokenKind::minus || token_.kind == TokenKind::hash) {
      left = make(ExpressionKind::unary, token_.at);
      left->op = token_.kind;
      next();
      adopt(*left, expression(unary_power));
    } else {
      left = simple();
    }
    while (true) {
      const auto [to_left, to_right] = power(token_.kind);
      if (to_left <= limit)
        return left;
      auto e = make(ExpressionKind::binary, token_.at);
      e->op = token_.kind;
      next();
      adopt(*e, std::move(left));
      adopt(*e, expression(to_right));
      left = std::move(e);
    }
  }

  Lexer lexer_;
  Token token_;
  std::int32_t last_line_ = 1;
  int depth_ = 0, functions_ = 0;
};

// Walks every function of a tree.
template <class Visit> struct Functions {
  Visit visit;

  void of(const FunctionBody &f) {
    visit(f);
    of(f.body);
  }
  void of(const Block &block) {
    for (const auto &s : block) {
      for (const auto &e : s->targets)
        of(*e);
      for (const auto &e : s->expressions)
        of(*e);
      for (const auto &b : s->blocks)
        of(b);
      if (s->function)
        of(*s->function);
    }
  }
  void of(const Expression &e) {
    for (const auto &operand : e.operands)
      of(*operand);
    if (e.function)
      of(*e.function);
  }
};

// Names used and not declared, with Lua's scopes.
class Names {
 public:
  std::vector<FreeName> found;

  void function(const FunctionBody &f) {
    const std::size_t mark = declared_.size();
    for (const auto &p : f.parameters)
      declared_.push_back(p);
    block(f.body);
    declared_.resize(mark);
  }

 private:
  void use(const std::string &name, Position at) {
    if (std::find(declared_.begin(), declared_.end(), name) == declared_.end() && seen_.insert(name).second)
      found.push_back({name, at});
  }
  void block(const Block &statements) {
    const std::size_t mark = declared_.size();
    for (const auto &s : statements)
      statement(*s);
    declared_.resize(mark);
  }
  void statement(const Statement &s) {
    if (s.kind == StatementKind::repeat) { // its condition sees the body's locals
      const std::size_t mark = declared_.size();
      for (const auto &inner : s.blocks[0])
        statement(*inner);
      expression(*s.expressions[0]);
      declared_.resize(mark);
      return;
    }
    if (s.kind == StatementKind::local_function)
      declared_.push_back(s.names[0]);
    for (const auto &e : s.expressions)
      expression(*e);
    for (const auto &e : s.targets)
      expression(*e);
    if (s.function)
      function(*s.function);
    if (s.kind == StatementKind::local)
      declared_.insert(declared_.end(), s.names.begin(), s.names.end());
    const std::size_t mark = declared_.size();
    if (s.kind == StatementKind::numeric_for || s.kind == StatementKind::generic_for)
      declared_.insert(declared_.end(), s.names.begin(), s.names.end());
    for (const auto &b : s.blocks)
      block(b);
    declared_.resize(mark);
  }
  void expression(const Expression &e) {
    if (e.kind == ExpressionKind::name)
      use(e.text, e.at);
    for (const auto &operand : e.operands)
      expression(*operand);
    if (e.function)
      function(*e.function);
  }

  std::vector<std::string> declared_;
  std::set<std::string> seen_;
};

} // namespace

Chunk parse(std::string_view text) {
  return Parser(text).chunk();
}

const FunctionBody *find_function(const Chunk &chunk, std::int32_t first, std::int32_t last, int *count) {
  const FunctionBody *found = nullptr;
  *count = 0;
  auto visit = [&](const FunctionBody &f) {
    if (f.at.line == first && f.last_line == last) {
      found = &f;
      ++*count;
    }
  };
  Functions<decltype(visit)>{visit}.of(chunk.body);
  return found;
}

std::vector<FreeName> free_names(const FunctionBody &function) {
  Names names;
  names.function(function);
  return std::move(names.found);
}

} // namespace perigee::kernel
