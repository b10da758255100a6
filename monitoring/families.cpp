#include "monitoring/families.hpp"

#include "monitoring/metrics.hpp"

#include <algorithm>
#include <type_traits>

namespace fxfarm::monitoring {
namespace {

const prometheus::Histogram::BucketBoundaries seconds_buckets{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                                              5,     10,   30,   60,  120,  300, 600, 1800};
const prometheus::Histogram::BucketBoundaries bytes_buckets{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
// From less than an engine has that does nothing, doubled up to 64 GiB.
constexpr double MiB = 1024 * 1024;
const prometheus::Histogram::BucketBoundaries memory_buckets{128 * MiB,   256 * MiB,  512 * MiB,  1024 * MiB,
                                                             2048 * MiB,  4096 * MiB, 8192 * MiB, 16384 * MiB,
                                                             32768 * MiB, 65536 * MiB};

const prometheus::Histogram::BucketBoundaries& buckets_of(std::string_view family) {
  if (family.ends_with("_memory_bytes")) return memory_buckets;
  return family.ends_with("_bytes") ? bytes_buckets : seconds_buckets;
}

template <class Metric>
prometheus::Family<Metric>& add_family(family_book& book, const family_spec& spec) {
  if constexpr (std::is_same_v<Metric, prometheus::Counter>) {
    return prometheus::BuildCounter().Name(spec.name).Help(spec.help).Register(book.registry());
  } else if constexpr (std::is_same_v<Metric, prometheus::Gauge>) {
    return prometheus::BuildGauge().Name(spec.name).Help(spec.help).Register(book.registry());
  } else {
    return prometheus::BuildHistogram().Name(spec.name).Help(spec.help).Register(book.registry());
  }
}

}  // namespace

std::string label_bound::admit(std::string_view value) {
  const bool plain = !value.empty() && value.size() <= label_bytes_max &&
                     std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!plain) return "other";
  if (seen_.find(value) == seen_.end()) {
    if (seen_.size() >= label_values_max) return "other";
    seen_.emplace(value);
  }
  return std::string(value);
}

template <class Metric>
family<Metric>::family(family_book& book, family_spec spec, std::initializer_list<label_values> known)
    : spec_(std::move(spec)), family_(add_family<Metric>(book, spec_)), bounds_(spec_.labels.size()) {
  const auto code = std::find(spec_.labels.begin(), spec_.labels.end(), "code");
  if (code != spec_.labels.end()) code_ = static_cast<std::size_t>(code - spec_.labels.begin());
  if (spec_.labels.empty()) only_ = &locked_at({});
  for (const auto& values : known) locked_at(values);
  book.stats().add_source([this](statistics_map& c, statistics_map& g) { contribute(c, g); });
}

template <class Metric>
Metric& family<Metric>::at(std::initializer_list<std::string_view> values) {
  if (only_ != nullptr) return *only_;
  const auto* last = last_.load(std::memory_order_acquire);
  if (last != nullptr && std::equal(values.begin(), values.end(), last->first.begin(), last->first.end())) {
    return *last->second;
  }
  std::lock_guard lock(mutex_);
  return locked_at({values.begin(), values.size()});
}

template <class Metric>
std::vector<Metric*> family<Metric>::children() {
  std::lock_guard lock(mutex_);
  std::vector<Metric*> all;
  for (const auto& [values, child] : children_) all.push_back(child);
  return all;
}

template <class Metric>
Metric& family<Metric>::locked_at(std::span<const std::string_view> values) {
  // Values that have a child were admitted as they are.
  if (const auto known = children_.find(values); known != children_.end()) {
    last_.store(&*known, std::memory_order_release);
    return *known->second;
  }
  std::vector<std::string> admitted;
  for (std::size_t i = 0; i < bounds_.size(); ++i) admitted.push_back(bounds_[i].admit(values[i]));
  auto& child = children_[admitted];
  if (child == nullptr) {
    prometheus::Labels labels;
    for (std::size_t i = 0; i < admitted.size(); ++i) labels[spec_.labels[i]] = admitted[i];
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      child = &family_.Add(labels, buckets_of(spec_.name));
    } else {
      child = &family_.Add(labels);
    }
  }
  return *child;
}

template <class Metric>
void family<Metric>::contribute(statistics_map& counters, statistics_map& gauges) {
  std::lock_guard lock(mutex_);
  for (const auto& [values, child] : children_) {
    const auto suffix = spec_.flat_label < 0 ? std::string() : "_" + values[static_cast<std::size_t>(spec_.flat_label)];
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      const auto seen = child->Collect().histogram;
      counters[spec_.flat + suffix + "_sum"] += seen.sample_sum;
      counters[spec_.flat + suffix + "_count"] += static_cast<double>(seen.sample_count);
    } else if constexpr (std::is_same_v<Metric, prometheus::Counter>) {
      counters[spec_.flat + suffix] += child->Value();
      if (code_) counters[spec_.flat + "." + values[*code_]] += child->Value();
    } else {
      gauges[spec_.flat + suffix] += child->Value();
    }
  }
}

template class family<prometheus::Counter>;
template class family<prometheus::Gauge>;
template class family<prometheus::Histogram>;

}  // namespace fxfarm::monitoring
