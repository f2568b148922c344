// As much of JSON Schema (draft 7) as results.schema.json uses.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace perigee::grader::testing {

using nlohmann::ordered_json;

// The first violation, "" if there is none. `root` resolves "#/..." references.
inline std::string violations(const ordered_json &root, const ordered_json &schema, const ordered_json &value,
                              const std::string &at = "") {
  if (schema.contains("$ref"))
    return violations(root, root[ordered_json::json_pointer(schema["$ref"].get<std::string>().substr(1))], value, at);
  if (schema.contains("enum")) {
    for (const ordered_json &one : schema["enum"])
      if (one == value)
        return "";
    return at + ": " + value.dump() + " is not one of " + schema["enum"].dump();
  }
  auto is = [&](const std::string &type) {
    return type == "object"    ? value.is_object()
           : type == "array"   ? value.is_array()
           : type == "string"  ? value.is_string()
           : type == "number"  ? value.is_number()
           : type == "integer" ? value.is_number_integer()
           : type == "boolean" ? value.is_boolean()
           : type == "null"    ? value.is_null()
                               : false;
  };
  const ordered_json &types = schema.at("type");
  bool right = types.is_string() && is(types.get<std::string>());
  if (types.is_array())
    for (const ordered_json &type : types)
      right = right || is(type.get<std::string>());
  if (!right)
    return at + ": " + value.dump() + " is not of type " + types.dump();
  if (value.is_number() && schema.contains("minimum") && value < schema["minimum"])
    return at + ": below the minimum";
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      if (std::string wrong = violations(root, schema.at("items"), value[i], at + "/" + std::to_string(i));
          !wrong.empty())
        return wrong;
  if (value.is_object()) {
    for (const ordered_json &key : schema.at("required"))
      if (!value.contains(key.get<std::string>()))
        return at + ": lacks " + key.get<std::string>();
    for (const auto &[key, field] : value.items()) {
      if (!schema.at("properties").contains(key))
        return at + ": has " + key + ", which the schema does not know";
      if (std::string wrong = violations(root, schema["properties"][key], field, at + "/" + key); !wrong.empty())
        return wrong;
    }
  }
  return "";
}

inline std::string violations(const ordered_json &schema, const ordered_json &value) {
  return violations(schema, schema, value);
}

} // namespace perigee::grader::testing
