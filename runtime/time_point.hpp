#pragma once
// A moment, as whoever decides is told it. Decisions read no clock.

#include <chrono>

namespace fxfarm {

using time_point = std::chrono::steady_clock::time_point;

}  // namespace fxfarm
