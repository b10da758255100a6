#pragma once
// Statistics that can be reset, as a second view over counters that never go down.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace fxfarm::monitoring {

// Flat name -> value.
using statistics_map = std::map<std::string, double>;

struct reset_info {
  std::uint64_t count = 0;
  std::chrono::system_clock::time_point last;  // of the start when count is 0
};

// Thread-safe.
class statistics {
public:
  // Adds what it knows to `counters`, which only grow, and to `gauges`, which a reset leaves alone.
  using source = std::function<void(statistics_map& counters, statistics_map& gauges)>;

  explicit statistics(std::chrono::system_clock::time_point start) : resets_{0, start} {}

  // A source lives as long as the statistics; it must not call them.
  void add_source(source s);
  // Counters since the last reset, and gauges.
  statistics_map snapshot() const;
  void reset(std::chrono::system_clock::time_point now);
  reset_info resets() const;

private:
  mutable std::mutex mutex_;  // guards what follows
  std::vector<source> sources_;
  statistics_map at_reset_;  // counters as they were
  reset_info resets_;
};

}  // namespace fxfarm::monitoring
