#pragma once
// So many of something in a second. What is not used of one second is left for the next, and no longer.

#include "runtime/time_point.hpp"

#include <algorithm>
#include <chrono>

namespace fxfarm {

class token_bucket {
public:
  // Full.
  token_bucket(double per_second, time_point now) : left_(per_second), counted_at_(now) {}

  // False when there is none.
  bool take(double per_second, time_point now) {
    left_ = left(per_second, now);
    counted_at_ = now;
    if (left_ < 1) return false;
    --left_;
    return true;
  }

  double left(double per_second, time_point now) const {
    const double since = std::chrono::duration<double>(now - counted_at_).count();
    return std::min(per_second, left_ + since * per_second);
  }
  bool full(double per_second, time_point now) const { return left(per_second, now) >= per_second; }

private:
  double left_;
  time_point counted_at_;
};

}  // namespace fxfarm
