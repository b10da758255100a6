#include "runtime/circuit_breaker.hpp"

#include <algorithm>

namespace fxfarm {

void circuit_breaker::succeeded() {
  // An answer that was on its way when the breaker opened closes nothing: the probe does.
  if (state_ != breaker_state::closed) return;
  failures_ = 0;
  delay_ = options_.delay_min;
}

void circuit_breaker::failed(time_point now, double jitter) {
  if (state_ != breaker_state::closed) return;
  if (++failures_ >= options_.failures_max) open(now, jitter);
}

void circuit_breaker::probe_succeeded() {
  state_ = breaker_state::closed;
  failures_ = options_.failures_max - 1;
}

void circuit_breaker::probe_failed(time_point now, double jitter) {
  open(now, jitter);
}

void circuit_breaker::open(time_point now, double jitter) {
  state_ = breaker_state::open;
  probe_at_ = now + std::chrono::duration_cast<std::chrono::milliseconds>(delay_ * (1 - jitter / 2));
  delay_ = std::min(delay_ * 2, options_.delay_max);
}

}  // namespace fxfarm
