#pragma once
// So many of something in a second, and so many at once: what is not used is left for later, up to that. Unless told
// otherwise they are the same, so that what one second has left is for the next, and no longer.

#include "runtime/time_point.hpp"

#include <algorithm>
#include <chrono>

namespace fxfarm {

class token_bucket {
public:
  // Full.
  token_bucket(double at_once, time_point now) : left_(at_once), counted_at_(now) {}

  // False when there is none.
  bool take(double per_second, time_point now) { return take(per_second, per_second, now); }
  bool take(double per_second, double at_once, time_point now) {
    left_ = left(per_second, at_once, now);
    counted_at_ = now;
    if (left_ < 1) return false;
    --left_;
    return true;
  }

  bool full(double per_second, time_point now) const { return left(per_second, per_second, now) >= per_second; }

private:
  double left(double per_second, double at_once, time_point now) const {
    const double since = std::chrono::duration<double>(now - counted_at_).count();
    return std::min(at_once, left_ + since * per_second);
  }

  double left_;
  time_point counted_at_;
};

}  // namespace fxfarm
