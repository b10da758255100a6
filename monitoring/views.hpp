#pragma once
// Families that are made, each time that somebody looks, from what others have counted. Internal to monitoring.

#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

#include <functional>
#include <mutex>

#include <prometheus/collectable.h>

namespace fxfarm::monitoring {

// What `read` tells, while there is one.
template <class Counters>
class view : public prometheus::Collectable {
public:
  void watch(std::function<Counters()> read) {
    std::lock_guard lock(mutex_);
    read_ = std::move(read);
  }

protected:
  // Holds `mutex_` while `use` runs, so that after `watch` the reader before is not called any more.
  template <class Use>
  void with(Use&& use) const {
    std::lock_guard lock(mutex_);
    if (read_) use(read_());
  }

private:
  mutable std::mutex mutex_;  // guards what follows
  std::function<Counters()> read_;
};

class link_view : public view<link_counters> {
public:
  std::vector<prometheus::MetricFamily> Collect() const override;
  void contribute(statistics_map& counters, statistics_map& gauges) const;

private:
  mutable label_bound reasons_;  // used under the view's lock
};

class client_view : public view<client_counters> {
public:
  std::vector<prometheus::MetricFamily> Collect() const override;

private:
  mutable label_bound stages_;  // used under the view's lock
};

}  // namespace fxfarm::monitoring
