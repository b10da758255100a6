#pragma once
// A moment, as whoever decides is told it. Decisions read no clock.

#include "runtime/limits.hpp"

#include <chrono>

namespace fxfarm {

using time_point = std::chrono::steady_clock::time_point;

// Whether something can have taken so many seconds. A peer's word is not counted without: sums never recover from NaN.
inline bool is_duration(double seconds) {
  return seconds >= 0 && seconds <= limits::told_seconds_max;
}

}  // namespace fxfarm
