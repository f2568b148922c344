#include "text.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace perigee::grader {

namespace {

// Length of the well-formed UTF-8 sequence at the front of text and its code point; length 0 if it is malformed.
size_t decode(std::string_view text, uint32_t &code) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  if (first < 0x80) {
    code = first;
    return 1;
  }
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || text.size() < length)
    return 0;
  code = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80)
      return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff ? 0 : length;
}

// Reorders or hides the text around it on a terminal or a page.
bool deceptive(uint32_t code) {
  return (code >= 0x80 && code < 0xa0) || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0x2028 || code == 0x2029 || code == 0xfeff;
}

std::string format(const char *pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

// Three significant digits, of numbers below 1 two, without an exponent.
std::string significant(double value) {
  double size = std::fabs(value);
  return format(size >= 99.95 ? "%.0f" : size >= 9.995 ? "%.1f" : size >= 0.0995 || size == 0 ? "%.2f" : "%.3g", value);
}

} // namespace

std::string clean(std::string_view text, bool lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    uint32_t code = 0;
    size_t length = decode(text, code);
    char buffer[16];
    if (length == 0) {
      result += "\xef\xbf\xbd"; // U+FFFD
      length = 1;
    } else if (lines && (code == '\n' || code == '\t')) {
      result += text[0];
    } else if (lines && code == '\r' && text.size() > 1 && text[1] == '\n') {
      // A line break of Windows: the newline follows.
    } else if (code < 0x20 || code == 0x7f) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x", code);
      result += buffer;
    } else if (deceptive(code)) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", code);
      result += buffer;
    } else {
      result.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return result;
}

std::string html(std::string_view text) {
  std::string result;
  for (char c : clean(text, true)) {
    switch (c) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '"':
      result += "&quot;";
      break;
    case '\'':
      result += "&#39;";
      break;
    default:
      result += c;
    }
  }
  return result;
}

std::string first_line(const std::string &text, std::size_t most) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() <= most)
    return line;
  std::size_t cut = most - 3;
  while (cut > 0 && (static_cast<unsigned char>(line[cut]) & 0xC0) == 0x80) // not inside a UTF-8 character
    --cut;
  return line.substr(0, cut) + "...";
}

std::string seconds_text(double seconds) {
  if (!(seconds > 0))
    return "-";
  if (seconds < 0.9995e-6)
    return significant(seconds * 1e9) + " ns";
  if (seconds < 0.9995e-3)
    return significant(seconds * 1e6) + " us";
  if (seconds < 0.9995)
    return significant(seconds * 1e3) + " ms";
  return significant(seconds) + " s";
}

std::string ratio_text(double ratio) {
  return significant(ratio);
}

std::string points_text(double points) {
  std::string text = format("%.2f", points);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.')
    text.pop_back();
  return text;
}

std::string bytes_text(double bytes) {
  if (bytes < 1024)
    return format("%.0f bytes", bytes);
  if (bytes < 1024.0 * 1024)
    return significant(bytes / 1024) + " KiB";
  if (bytes < 1024.0 * 1024 * 1024)
    return significant(bytes / (1024.0 * 1024)) + " MiB";
  return significant(bytes / (1024.0 * 1024 * 1024)) + " GiB";
}

size_t width(std::string_view utf8) {
  size_t count = 0;
  for (char c : utf8)
    count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

std::string pad(std::string text, size_t columns) {
  size_t now = width(text);
  return now < columns ? text + std::string(columns - now, ' ') : text;
}

std::string pad_left(std::string text, size_t columns) {
  size_t now = width(text);
  return now < columns ? std::string(columns - now, ' ') + text : text;
}

std::string shorten(const std::string &text, size_t columns) {
  if (width(text) <= columns)
    return text;
  size_t keep = columns > 3 ? columns - 3 : 0, end = 0;
  for (size_t count = 0; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && ++count > keep)
      break;
  return text.substr(0, end) + "...";
}

std::string wrap(std::string_view text, size_t columns, std::string_view indent) {
  std::string result;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    // A line that is laid out by hand (indented, or wide without blanks) stays as it is.
    std::string current;
    bool by_hand = !line.empty() && (line[0] == ' ' || line[0] == '\t');
    while (!line.empty() && !by_hand) {
      std::string_view word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(line.size(), word.size() + 1));
      if (!current.empty() && indent.size() + width(current) + 1 + width(word) > columns) {
        result.append(indent).append(current) += '\n';
        current.clear();
      }
      if (!current.empty())
        current += ' ';
      current.append(word);
    }
    current.append(line);
    if (!current.empty())
      result.append(indent).append(current);
    result += '\n';
  }
  return result;
}

Console Console::standard() {
  Console console{std::cout, std::cerr};
  console.out_terminal = isatty(STDOUT_FILENO);
  console.err_terminal = isatty(STDERR_FILENO);
  const char *no_colour = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
  console.colour = console.out_terminal && !(no_colour && *no_colour) && !(term && std::string_view(term) == "dumb");
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
    console.columns = size.ws_col;
  return console;
}

std::string Console::paint(std::string_view style, const std::string &text) const {
  if (!colour)
    return text;
  const char *code = style == "bold"      ? "1"
                     : style == "dim"     ? "2"
                     : style == "green"   ? "32"
                     : style == "yellow"  ? "33"
                     : style == "red"     ? "31"
                     : style == "magenta" ? "35"
                                          : "0";
  return std::string("\x1b[") + code + "m" + text + "\x1b[0m";
}

} // namespace perigee::grader
