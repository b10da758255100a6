#pragma once
// Decides whether something that is slow or down is asked at all. Closed: it is asked. After so many failures in a row
// the breaker opens: nobody is kept waiting for it any longer, and from time to time one probe finds out whether it is
// back. The delay between probes doubles until what is asked again succeeds.

#include <chrono>

namespace fxfarm {

enum class breaker_state { closed, open, half_open };

struct breaker_options {
  unsigned failures_max = 1;  // in a row, then it opens
  std::chrono::milliseconds delay_min{0};
  std::chrono::milliseconds delay_max{0};
};

class circuit_breaker {
public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit circuit_breaker(breaker_options options) : options_(options), delay_(options.delay_min) {}

  breaker_state state() const { return state_; }
  // While closed, or of something that was asked before the breaker opened. `jitter`, from 0 to 1, shortens the delay
  // to a probe by up to a half, so that many askers do not come at the same time.
  void succeeded();
  void failed(time_point now, double jitter);

  // While open: when the probe is due.
  time_point probe_at() const { return probe_at_; }
  // The probe is being made: half open until one of the next two.
  void probing() { state_ = breaker_state::half_open; }
  // Closed on probation: one more failure opens it again.
  void probe_succeeded();
  void probe_failed(time_point now, double jitter);

private:
  void open(time_point now, double jitter);

  const breaker_options options_;
  breaker_state state_ = breaker_state::closed;
  unsigned failures_ = 0;  // in a row
  std::chrono::milliseconds delay_;
  time_point probe_at_;
};

}  // namespace fxfarm
