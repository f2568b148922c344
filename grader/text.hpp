// Words for people: numbers with sensible digits, text of strangers made harmless, columns, colour.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace perigee::grader {

// Learners' names, file names and printed output come from strangers. clean() returns valid UTF-8 in which control
// characters (terminal escapes among them) and direction overrides are spelt out, such as "\x1b" and "\u202e"; newlines
// and tabs stay if `lines`, else they are spelt out too.
std::string clean(std::string_view text, bool lines);
// clean() of several lines, and safe between HTML tags and in quoted attributes.
std::string html(std::string_view text);

// The first line of a text, cut at `most` bytes with "..." and never inside a character.
std::string first_line(const std::string &text, size_t most = 160);

// "1.24 ms", "830 ns", "12.0 s"; "-" for 0 (not measured).
std::string seconds_text(double seconds);
// Three significant digits, below 1 two: "0.52", "2.13", "118".
std::string ratio_text(double ratio);
// At most two decimals, none that are zero: "4", "2.5".
std::string points_text(double points);
// "12.3 MiB"
std::string bytes_text(double bytes);

// Columns that text takes on a terminal: its code points.
size_t width(std::string_view utf8);
std::string pad(std::string text, size_t columns);
std::string pad_left(std::string text, size_t columns);
// Cuts to `columns` with "..." at the end.
std::string shorten(const std::string &text, size_t columns);
// Breaks at blanks so that no line is wider; keeps line breaks, indents every line.
std::string wrap(std::string_view text, size_t columns, std::string_view indent);

// A terminal or what stands for one. Colour needs a terminal, no NO_COLOR and TERM other than dumb.
struct Console {
  std::ostream &out;
  std::ostream &err;
  bool out_terminal = false;
  bool err_terminal = false;
  bool colour = false; // on out
  size_t columns = 100;

  static Console standard(); // std::cout and std::cerr

  // Text in a colour on `out`, plain where there is none. style: "bold", "dim", "green", "yellow", "red", "magenta".
  std::string paint(std::string_view style, const std::string &text) const;
};

} // namespace perigee::grader
