#pragma once
// How long the latest calls of a stage took, at a cost that stays small beside the call: each call is timed until
// enough are known, later one in sixteen. Not thread-safe: all who use it hold the interpreter lock.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace fxfarm::python {

class call_times {
public:
  static constexpr std::size_t kept = 64;
  // Enough to compare one stage with another.
  static constexpr std::size_t enough = 32;

  // Whether the call with this number, from 0, is one to time. The first few are slower than all later ones.
  static bool due(std::uint64_t call) { return call < settled_after ? call >= warm_up : (call & (stride - 1)) == 0; }
  void add(std::chrono::steady_clock::duration took) {
    seconds_[count_++ % kept] = std::chrono::duration<float>(took).count();
  }

  std::uint64_t count() const { return count_; }
  // The latest, in no order.
  const float* begin() const { return seconds_.data(); }
  const float* end() const { return begin() + std::min<std::uint64_t>(count_, kept); }

private:
  static constexpr std::uint64_t warm_up = 4;
  static constexpr std::uint64_t settled_after = warm_up + kept;
  static constexpr std::uint64_t stride = 16;

  std::array<float, kept> seconds_{};
  std::uint64_t count_ = 0;
};

}  // namespace fxfarm::python
