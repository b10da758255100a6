#include "runtime/process_id.hpp"

#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <random>

#include <unistd.h>

namespace fxfarm {

std::string process_id(const std::string& name) {
  std::random_device random;
  constexpr std::uint64_t mask = (std::uint64_t{1} << 48U) - 1;  // of a million, two are alike once in 500 times
  const auto number = (static_cast<std::uint64_t>(random()) << 32U | random()) & mask;
  std::array<char, 40> digits{};
  std::snprintf(digits.data(), digits.size(), "-%ld-%012" PRIx64, static_cast<long>(::getpid()), number);
  const std::string suffix = digits.data();
  return name.substr(0, process_id_bytes_max - suffix.size()) + suffix;
}

}  // namespace fxfarm
