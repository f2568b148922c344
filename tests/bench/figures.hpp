// The JSON that every suite prints: {suite, machine, figures: [{name, value, unit, rival, rival_value, ratio, goal,
// met}]}.
#pragma once

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <sys/utsname.h>
#include <unistd.h>

namespace bench {

// A figure without goal or rival.
inline nlohmann::json plain(const std::string &name, double value, const char *unit) {
  return {{"name", name},           {"value", value},   {"unit", unit},    {"rival", nullptr},
          {"rival_value", nullptr}, {"ratio", nullptr}, {"goal", nullptr}, {"met", nullptr}};
}

// A figure that must not exceed its goal.
inline nlohmann::json below(const std::string &name, double value, const char *unit, double goal) {
  nlohmann::json figure = plain(name, value, unit);
  figure["goal"] = goal;
  figure["met"] = value <= goal;
  return figure;
}

// A figure beside its rival's, both measured in this run. With a goal, the ratio must not exceed it; without a ratio of
// its own (a median over rounds) it is that of the two values.
inline nlohmann::json against(const std::string &name, double value, const char *unit, const std::string &rival,
                              double rival_value, std::optional<double> ratio = {}, std::optional<double> goal = {}) {
  nlohmann::json figure = plain(name, value, unit);
  figure["rival"] = rival;
  figure["rival_value"] = rival_value;
  figure["ratio"] = ratio.value_or(value / rival_value);
  if (goal) {
    figure["goal"] = *goal;
    figure["met"] = figure["ratio"] <= *goal;
  }
  return figure;
}

// "AMD EPYC ..., 2 cores, Linux 6.1"
inline std::string machine() {
  utsname name{};
  uname(&name);
  std::string model = name.machine;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  return model + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " cores, " + name.sysname + " " + name.release;
}

// Prints the figures, as JSON or for people. `spread` is how far the rounds of this run lay apart (0: not known); above
// 0.25 the machine was busy, and that is said. Returns the exit code: 0 when every goal is met, else 1.
inline int print(const char *suite, const nlohmann::json &figures, bool json, const nlohmann::json &details = nullptr,
                 double spread = 0) {
  const bool met = std::none_of(figures.begin(), figures.end(), [](const auto &f) { return f["met"] == false; });
  const bool noisy = spread > 0.25;
  if (json) {
    nlohmann::json out{{"suite", suite}, {"machine", machine()}, {"figures", figures}};
    if (!details.is_null())
      out["details"] = details;
    if (spread > 0)
      out["noisy"] = noisy;
    std::printf("%s\n", out.dump(2).c_str());
    return met ? 0 : 1;
  }
  std::printf("%s (%s)\n", suite, machine().c_str());
  for (const auto &figure : figures) {
    std::printf("  %-66s %10.4g %s", figure["name"].template get<std::string>().c_str(),
                figure["value"].template get<double>(), figure["unit"].template get<std::string>().c_str());
    if (!figure["rival"].is_null())
      std::printf("; %s: %.4g %s; ratio %.3g", figure["rival"].template get<std::string>().c_str(),
                  figure["rival_value"].template get<double>(), figure["unit"].template get<std::string>().c_str(),
                  figure["ratio"].template get<double>());
    if (!figure["goal"].is_null())
      std::printf(" (goal: at most %.4g: %s)", figure["goal"].template get<double>(),
                  figure["met"] == true ? "met" : "MISSED");
    std::printf("\n");
  }
  if (noisy)
    std::printf("  This machine is busy with other things: the middle half of the rounds spread over %.0f%%.\n",
                spread * 100);
  return met ? 0 : 1;
}

} // namespace bench
