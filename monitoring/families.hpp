#pragma once
// Metric families that bound their labels and are statistics, too. Internal to monitoring.

#include "monitoring/readiness.hpp"
#include "monitoring/statistics.hpp"

#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace fxfarm::monitoring {

using label_values = std::vector<std::string_view>;

// The distinct values that one label has had; see label_values_max.
class label_bound {
public:
  // The value itself, or "other".
  std::string admit(std::string_view value);

private:
  std::set<std::string, std::less<>> seen_;
};

// Families of one process.
class family_book {
public:
  family_book(statistics& stats, readiness& ready) : stats_(stats), ready_(ready) {}

  prometheus::Registry& registry() { return registry_; }
  statistics& stats() { return stats_; }
  readiness& ready() { return ready_; }

private:
  prometheus::Registry registry_;
  statistics& stats_;
  readiness& ready_;
};

struct family_spec {
  std::string name;  // of the metric
  std::string help;
  std::vector<std::string> labels;  // names
  std::string flat;                 // name among the statistics
  int flat_label = -1;              // index of the label whose value is appended to it; -1: summed over all labels
};

// Orders label values, owned and looked at, so that a child is found without a copy of them.
struct label_order {
  using is_transparent = void;
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }
};

// The children of a family by their label values. Metric is one of prometheus' types.
template <class Metric>
class family {
public:
  // `known`: label values that are shown from the start, so that rates have a zero to start from.
  family(family_book& book, family_spec spec, std::initializer_list<label_values> known = {});

  Metric& at(std::initializer_list<std::string_view> values);
  // All that there are so far.
  std::vector<Metric*> children();

private:
  Metric& locked_at(std::span<const std::string_view> values);
  void contribute(statistics_map& counters, statistics_map& gauges);

  Metric* only_ = nullptr;  // the child of a family without labels
  const family_spec spec_;
  std::optional<std::size_t> code_;  // the label with an error's code: a counter is told by it, too
  prometheus::Family<Metric>& family_;
  std::mutex mutex_;  // guards what follows
  std::vector<label_bound> bounds_;
  using child_map = std::map<std::vector<std::string>, Metric*, label_order>;
  child_map children_;  // never erased from
  // The child that was asked for last, read without the lock: on busy ways the same one is asked for again and again.
  std::atomic<const typename child_map::value_type*> last_ = nullptr;
};

extern template class family<prometheus::Counter>;
extern template class family<prometheus::Gauge>;
extern template class family<prometheus::Histogram>;

using counters = family<prometheus::Counter>;
using gauges = family<prometheus::Gauge>;
using histograms = family<prometheus::Histogram>;

}  // namespace fxfarm::monitoring
