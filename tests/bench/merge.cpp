// Reads the JSON of several suites from standard input, one after the other, and prints them as one suite "all"
// (scripts/bench all --json). A figure's name gets its suite in front.
#include <cstdio>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>

int main() {
  try {
    nlohmann::json all{{"suite", "all"}, {"machine", nullptr}, {"figures", nlohmann::json::array()}};
    while (std::cin >> std::ws && std::cin.peek() != EOF) {
      nlohmann::json part;
      std::cin >> part;
      all["machine"] = part.at("machine");
      for (nlohmann::json figure : part.at("figures")) {
        figure["name"] = part.at("suite").get<std::string>() + ": " + figure.at("name").get<std::string>();
        all["figures"].push_back(figure);
      }
    }
    std::cout << all.dump(2) << '\n';
  } catch (const std::exception &e) {
    std::fprintf(stderr, "merge: %s\n", e.what());
    return 2;
  }
}
