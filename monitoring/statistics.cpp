#include "monitoring/statistics.hpp"

#include <algorithm>
#include <utility>

namespace fxfarm::monitoring {

void statistics::add_source(source s) {
  std::lock_guard lock(mutex_);
  sources_.push_back(std::move(s));
}

statistics_map statistics::snapshot() const {
  std::lock_guard lock(mutex_);
  statistics_map counters;
  statistics_map gauges;
  for (const auto& read : sources_) read(counters, gauges);
  for (auto& [name, value] : counters) {
    auto before = at_reset_.find(name);
    // A source may go away and come back at zero; what it counted since then is all that is known.
    if (before != at_reset_.end() && before->second <= value) value -= before->second;
  }
  counters.merge(gauges);
  return counters;
}

void statistics::reset(std::chrono::system_clock::time_point now) {
  std::lock_guard lock(mutex_);
  statistics_map counters;
  statistics_map gauges;
  for (const auto& read : sources_) read(counters, gauges);
  at_reset_ = std::move(counters);
  ++resets_.count;
  resets_.last = now;
}

reset_info statistics::resets() const {
  std::lock_guard lock(mutex_);
  return resets_;
}

}  // namespace fxfarm::monitoring
