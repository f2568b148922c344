// JSON by nlohmann's parser, whose events become a flat list of tokens, so that Lua builds its tables without a
// call into C++ for each value. The parser keeps its own stack, so depth costs no machine stack here.
#include "io/json.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace perigee::io {
namespace {

class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(JsonDocument &document, const std::string &name, std::string_view text, int depth, bool arrays)
      : document_(document), name_(name), text_(text), depth_(depth), arrays_(arrays) {}

  bool null() override { return add({PG_JSON_NULL, 0, 0, 0, 0}); }
  bool boolean(bool value) override { return add({value ? PG_JSON_TRUE : PG_JSON_FALSE, 0, 0, 0, 0}); }
  bool number_integer(int64_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(uint64_t value) override { return number(static_cast<double>(value)); }
  bool number_float(double value, const std::string &) override { return number(value); }
  bool string(std::string &value) override {
    add({PG_JSON_STRING, 0, static_cast<int64_t>(value.size()), static_cast<int64_t>(document_.bytes.size()), 0});
    document_.bytes.append(value.data(), value.size());
    return true;
  }
  bool binary(nlohmann::json::binary_t &) override { return false; }
  bool start_object(std::size_t) override { return open(PG_JSON_OBJECT); }
  bool key(std::string &value) override {
    string(value);
    --frames_.back().count; // a key is no entry of its own
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(PG_JSON_LIST); }
  bool end_array() override { return arrays_ && merge() ? true : close(); }
  bool parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &error) override {
    fail(position, error.what()); // position: bytes read, the one that is wrong included
  }

 private:
  struct Frame {
    std::size_t token;
    int64_t count = 0;
  };

  [[noreturn]] void fail(std::size_t position, const std::string &what) const {
    const std::size_t at = std::min(position, text_.size() + 1) - (position > 0 ? 1 : 0);
    const std::string_view before = text_.substr(0, at);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    const std::size_t start = before.rfind('\n') + 1; // npos + 1 is 0
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..."
    std::string_view text = what;
    if (const std::size_t bracket = text.find("] "); text.starts_with("[json.") && bracket != std::string_view::npos)
      text.remove_prefix(bracket + 2);
    if (const std::size_t colon = text.find(": "); text.starts_with("parse error") && colon != std::string_view::npos)
      text.remove_prefix(colon + 2);
    throw FileError(name_ + ": line " + std::to_string(lines + 1) + ", column " + std::to_string(at - start + 1) +
                    ": " + std::string(text));
  }

  bool number(double value) { return add({PG_JSON_NUMBER, 0, 0, 0, value}); }
  bool add(const pg_io_json_token &token) {
    document_.tokens.push_back(token);
    if (!frames_.empty())
      ++frames_.back().count;
    return true;
  }
  bool open(int32_t kind) {
    if (static_cast<int>(frames_.size()) >= depth_)
      throw FileError(name_ + ": lists and objects lie within one another more than " + std::to_string(depth_) +
                      " deep; {depth = ...} allows more");
    add({kind, 0, 0, 0, 0});
    frames_.push_back({document_.tokens.size() - 1});
    return true;
  }
  bool close() {
    document_.tokens[frames_.back().token].count = frames_.back().count;
    frames_.pop_back();
    return true;
  }

  // A list of numbers alone becomes one array token, and so does a list of such arrays of one shape: their numbers lie
  // one behind the other.
  bool merge() {
    const Frame &frame = frames_.back();
    const std::size_t first = frame.token + 1, end = document_.tokens.size();
    if (frame.count == 0 || end - first != static_cast<std::size_t>(frame.count))
      return false;
    const pg_io_json_token &model = document_.tokens[first];
    if (model.kind != PG_JSON_NUMBER && (model.kind != PG_JSON_ARRAY || model.count >= array::max_dimensions))
      return false;
    for (std::size_t i = first; i < end; ++i) {
      const pg_io_json_token &token = document_.tokens[i];
      if (token.kind != model.kind || token.count != model.count)
        return false;
      for (int64_t k = 0; k < model.count; ++k)
        if (document_.lengths[static_cast<std::size_t>(token.at_lengths + k)] !=
            document_.lengths[static_cast<std::size_t>(model.at_lengths + k)])
          return false;
    }
    if (document_.lengths.size() > std::size_t{1} << 30)
      return false;
    pg_io_json_token merged{PG_JSON_ARRAY, static_cast<int32_t>(document_.lengths.size()), model.count + 1, model.at,
                            0};
    const pg_io_json_token shape = model;
    if (shape.kind == PG_JSON_NUMBER) {
      merged.at = static_cast<int64_t>(document_.numbers.size());
      for (std::size_t i = first; i < end; ++i)
        document_.numbers.push_back(document_.tokens[i].number);
    } else {
      merged.at_lengths = shape.at_lengths; // the arrays' own lengths are not needed any more
    }
    Pool<int64_t> &lengths = document_.lengths;
    lengths.truncate(static_cast<std::size_t>(merged.at_lengths + shape.count));
    lengths.push_back(frame.count);
    for (int64_t k = shape.count; k > 0; --k) // the new axis comes first
      std::swap(lengths[static_cast<std::size_t>(merged.at_lengths + k)],
                lengths[static_cast<std::size_t>(merged.at_lengths + k - 1)]);
    document_.tokens.truncate(first);
    document_.tokens[frame.token] = merged;
    frames_.pop_back();
    return true;
  }

  JsonDocument &document_;
  const std::string &name_;
  std::string_view text_;
  int depth_;
  bool arrays_;
  std::vector<Frame> frames_;
};

void put_text(Pool<char> &to, std::string_view text) {
  to.append(text.data(), text.size());
}

void put_json(Pool<char> &to, const void *at, int32_t dtype, bool nan) {
  if (dtype == PG_BOOL) {
    put_text(to, *static_cast<const uint8_t *>(at) ? "true" : "false");
    return;
  }
  double value = 0;
  if (dtype == PG_FLOAT64)
    std::memcpy(&value, at, sizeof value);
  else if (dtype == PG_FLOAT32)
    value = *static_cast<const float *>(at);
  if (!std::isfinite(value)) {
    if (!nan)
      throw ArgumentError(std::string(std::isnan(value) ? "NaN" : "an infinity") +
                          " cannot be written as JSON; {nan = \"null\"} writes null for it");
    put_text(to, "null");
    return;
  }
  char text[128];
  to.append(text, static_cast<std::size_t>(put_element(text, at, dtype) - text));
}

void put_axis(Pool<char> &to, const pg_array &a, const char *at, int axis, bool nan) {
  if (axis == a._ndim) {
    put_json(to, at, a._dtype, nan);
    return;
  }
  const int64_t step = a._strides[axis] * static_cast<int64_t>(array::element_size(a._dtype));
  to.push_back('[');
  for (int64_t i = 0; i < a._shape[axis]; ++i) {
    if (i > 0)
      to.push_back(',');
    put_axis(to, a, at + i * step, axis + 1, nan);
  }
  to.push_back(']');
}

} // namespace

JsonDocument::JsonDocument(Source &&source, int depth, bool arrays) {
  const int64_t size = source.size();
  array::Array held;
  const char *text = source.memory();
  if (!text) {
    held = array::create(PG_UINT8, {&size, 1}, false);
    source.read(0, held->_data, size);
    text = held.data<char>();
  }
  Builder builder(*this, source.name(), {text, static_cast<std::size_t>(size)}, depth, arrays);
  nlohmann::json::sax_parse(text, text + size, &builder);
}

void json_string(Pool<char> &to, std::string_view text) {
  try {
    put_text(to, nlohmann::json(std::string(text)).dump());
  } catch (const nlohmann::json::exception &) {
    throw ArgumentError("the string " + show_text(text) + " is not UTF-8, which JSON must be");
  }
}

void json_array(Pool<char> &to, const pg_array &a, bool nan) {
  if (a._dtype == PG_COMPLEX64 || a._dtype == PG_COMPLEX128)
    throw UnsupportedError("complex numbers in JSON; write the real and the imaginary parts as arrays of their own");
  put_axis(to, a, static_cast<const char *>(a._data), 0, nan);
}

} // namespace perigee::io
