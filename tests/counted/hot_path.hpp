#pragma once
// What tests/counted counts: ways that a farm goes again and again, each with all that it needs around it.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::counted {

// Does the same each time, without threads, sockets and clocks, so that it can be counted.
class hot_path {
public:
  virtual ~hot_path() = default;
  virtual void once() = 0;
  // How often what `once` is for has happened. It must be once for each call, or what was counted is something else.
  virtual std::size_t done() const = 0;
};

struct counted_case {
  std::string_view name;
  std::size_t operations;  // that are counted; as many go before, so that nothing is done for the first time
  std::unique_ptr<hot_path> (*make)();
};

template <class T>
std::unique_ptr<hot_path> made() {
  return std::make_unique<T>();
}

std::vector<counted_case> wire_cases();
std::vector<counted_case> store_cases();
std::vector<counted_case> scheduler_cases();
std::vector<counted_case> coordinator_cases();
std::vector<counted_case> monitoring_cases();

// A key that belongs to that number.
inline std::string hex64(std::uint64_t n) {
  char text[65];
  std::snprintf(text, sizeof text, "%064llx", static_cast<unsigned long long>(n));
  return text;
}

}  // namespace fxfarm::counted
