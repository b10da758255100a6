#include "runtime/circuit_breaker.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

constexpr circuit_breaker::time_point start{100s};

circuit_breaker breaker_of_three() {
  return circuit_breaker({3, 100ms, 400ms});
}

}  // namespace

// s: succeeded, f: failed, p: probing, S: the probe succeeded, F: it failed.
TEST(circuit_breaker, goes_through_its_states) {
  struct row {
    std::string what;
    breaker_state then;
  };
  for (const auto& r : std::vector<row>{
           {"", breaker_state::closed},
           {"ff", breaker_state::closed},
           {"fff", breaker_state::open},
           {"ffsff", breaker_state::closed},
           {"ffsfff", breaker_state::open},
           {"ffff", breaker_state::open},
           {"fffs", breaker_state::open},  // was asked before it opened
           {"fffp", breaker_state::half_open},
           {"fffpf", breaker_state::half_open},
           {"fffps", breaker_state::half_open},
           {"fffpF", breaker_state::open},
           {"fffpS", breaker_state::closed},
           {"fffpSf", breaker_state::open},  // on probation
           {"fffpSsff", breaker_state::closed},
           {"fffpFpS", breaker_state::closed},
       }) {
    auto b = breaker_of_three();
    for (const char c : r.what) {
      switch (c) {
        case 's':
          b.succeeded();
          break;
        case 'f':
          b.failed(start, 0);
          break;
        case 'p':
          b.probing();
          break;
        case 'S':
          b.probe_succeeded();
          break;
        default:
          b.probe_failed(start, 0);
      }
    }
    EXPECT_EQ(b.state(), r.then) << r.what;
  }
}

TEST(circuit_breaker, waits_twice_as_long_before_each_probe_up_to_its_bound) {
  auto b = breaker_of_three();
  for (int i = 0; i < 3; ++i) b.failed(start, 0);
  for (const auto delay : {100ms, 200ms, 400ms, 400ms}) {
    EXPECT_EQ(b.probe_at(), start + delay);
    b.probing();
    b.probe_failed(start, 0);
  }
  // Only what is asked again tells that it is well.
  b.probing();
  b.probe_succeeded();
  b.failed(start, 0);
  EXPECT_EQ(b.probe_at(), start + 400ms);
  b.probing();
  b.probe_succeeded();
  b.succeeded();
  for (int i = 0; i < 3; ++i) b.failed(start, 0);
  EXPECT_EQ(b.probe_at(), start + 100ms);
}

TEST(circuit_breaker, comes_up_to_half_of_the_delay_earlier_by_jitter) {
  for (const auto& [jitter, delay] : {std::pair{0.0, 100ms}, {0.5, 75ms}, {1.0, 50ms}}) {
    auto b = breaker_of_three();
    for (int i = 0; i < 3; ++i) b.failed(start, jitter);
    EXPECT_EQ(b.probe_at(), start + delay);
  }
}
