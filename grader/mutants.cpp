#include "mutants.hpp"

#include "core/wire.hpp"

#include <cmath>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <vector>

#include "array/dispatch.hpp"

namespace perigee::grader {
namespace {

using wire::Kind;
using wire::Value;

// Places of numbers and booleans within a value, so that one or all of them can be changed where they are.
class Mutant {
 public:
  // Makes everything that `value` points to its own.
  void own(Value &value) {
    if (value.kind == Kind::array) {
      memory_.emplace_back(value.data, value.data + value.array->bytes);
      value.data = memory_.back().data();
      entries_.push_back(*value.array);
      value.array = &entries_.back();
    } else if (value.kind == Kind::table && value.run) {
      auto *bytes = reinterpret_cast<const std::byte *>(value.run);
      memory_.emplace_back(bytes, bytes + value.run_size * 8);
      value.run = reinterpret_cast<const double *>(memory_.back().data());
    }
    for (Value &item : value.list)
      own(item);
    for (auto &[key, field] : value.fields)
      own(field);
  }

  // visit(pointer to the element, dtype) for every number and boolean; the element may be written.
  template <class Visit> static void each(Value &value, Visit &&visit) {
    switch (value.kind) {
    case Kind::boolean:
      visit(reinterpret_cast<std::byte *>(&value.boolean), PG_BOOL);
      break;
    case Kind::number:
      visit(reinterpret_cast<std::byte *>(&value.number), PG_FLOAT64);
      break;
    case Kind::array: {
      std::size_t item = array::element_size(value.array->dtype);
      for (std::size_t i = 0; i < value.array->bytes; i += item)
        visit(const_cast<std::byte *>(value.data) + i, value.array->dtype);
      break;
    }
    default:
      for (std::size_t i = 0; value.run && i < value.run_size; ++i)
        visit(reinterpret_cast<std::byte *>(const_cast<double *>(value.run + i)), PG_FLOAT64);
      for (Value &item : value.list)
        each(item, visit);
      for (auto &[key, field] : value.fields)
        each(field, visit);
    }
  }

  // Drops the last element of the outermost value.
  bool drop_last(Value &value) {
    switch (value.kind) {
    case Kind::string:
      if (value.string.empty())
        return false;
      value.string.remove_suffix(1);
      return true;
    case Kind::array: {
      wire::ArrayEntry &entry = entries_.front();
      if (entry.ndim == 0 || entry.bytes == 0)
        return false;
      entry.bytes -= entry.bytes / uint64_t(entry.shape[0]);
      --entry.shape[0];
      return true;
    }
    case Kind::table:
      if (value.run_size > 0 && value.run)
        return --value.run_size, true;
      if (!value.list.empty())
        return value.list.pop_back(), true;
      if (!value.fields.empty())
        return value.fields.pop_back(), true;
      return false;
    default:
      return false;
    }
  }

 private:
  std::deque<Bytes> memory_;
  std::deque<wire::ArrayEntry> entries_;
};

template <class T, class Change> void change(std::byte *at, Change &&change) {
  T value;
  std::memcpy(&value, at, sizeof value);
  value = T(change(value));
  std::memcpy(at, &value, sizeof value);
}

template <class Change> void change_number(std::byte *at, int32_t dtype, Change &&to) {
  array::visit(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, bool>)
      change<uint8_t>(at, [](uint8_t v) { return v == 0; });
    else
      change<T>(at, to);
  });
}

bool has_sign(int32_t dtype) {
  return array::visit(dtype, []<class T>(std::type_identity<T>) { return !std::is_unsigned_v<T>; });
}

} // namespace

std::optional<Bytes> make_mutant(const Bytes &result, const std::string &mutant, const Tolerance &tolerance) {
  Value value;
  std::string error;
  if (!wire::parse(result, {}, false, value, error))
    throw std::logic_error("make_mutant: " + error);
  Mutant work;
  work.own(value);

  if (mutant == "drop_last") {
    if (!work.drop_last(value))
      return std::nullopt;
  } else if (mutant == "wrong_sign") {
    Mutant::each(value, [](std::byte *at, int32_t dtype) {
      if (has_sign(dtype)) // zero stays +0
        change_number(at, dtype, [](auto v) {
          using T = decltype(v);
          return v == T(0) ? v : T(T(0) - v);
        });
    });
  } else if (mutant == "off_by_one") {
    std::size_t count = 0, index = 0;
    Mutant::each(value, [&](std::byte *, int32_t) { ++count; });
    Mutant::each(value, [&](std::byte *at, int32_t dtype) {
      if (index++ == count / 2)
        change_number(at, dtype, [&](auto v) {
          using T = decltype(v);
          if constexpr (std::is_floating_point_v<T>)
            return T(v + 1 + 3 * (tolerance.absolute + tolerance.relative * std::fabs(v)));
          else if constexpr (!std::is_arithmetic_v<T>)
            return v + T(1 + 3 * (tolerance.absolute + tolerance.relative * std::abs(v)));
          else
            return T(uint64_t(v) + 1); // wraps around at the end of the range
        });
    });
  } else {
    throw std::logic_error("make_mutant: no mutant named " + mutant);
  }
  Bytes bytes = wire::write(value);
  return bytes == result ? std::nullopt : std::optional(std::move(bytes));
}

} // namespace perigee::grader
