// The registry of a process, and what its links and the process itself tell.
#include "monitoring/metrics.hpp"

#include "monitoring/families.hpp"

#include <iterator>
#include <mutex>
#include <optional>

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

namespace fxfarm::monitoring {
namespace {

double seconds_since_epoch(std::chrono::system_clock::time_point t) {
  return std::chrono::duration<double>(t.time_since_epoch()).count();
}

}  // namespace

// --- link ------------------------------------------------------------------------------------------------------------

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Families made from a link's own counters each time that somebody looks.
class link_view : public prometheus::Collectable {
public:
  void watch(std::function<link_counters()> read) {
    std::lock_guard lock(mutex_);
    read_ = std::move(read);
  }

  std::vector<MetricFamily> Collect() const override {
    std::lock_guard lock(mutex_);
    if (!read_) return {};
    const auto c = read_();
    return {
        make("fxfarm_link_messages_total", "Messages of the wire.", MetricType::Counter, "direction",
             {{"received", c.messages_received}, {"sent", c.messages_sent}}),
        make("fxfarm_link_bytes_total", "Bytes of messages.", MetricType::Counter, "direction",
             {{"received", c.bytes_received}, {"sent", c.bytes_sent}}),
        make("fxfarm_link_chunk_bytes_total", "Bytes of graphs and artifacts.", MetricType::Counter, "direction",
             {{"received", c.chunk_bytes_received}, {"sent", c.chunk_bytes_sent}}),
        make("fxfarm_link_rejected_total", "Messages that were not accepted.", MetricType::Counter, "reason",
             bounded(c.rejected, reasons_)),
        make("fxfarm_link_reconnects_total", "Attempts to connect again.", MetricType::Counter, "",
             {{"", c.reconnects}}),
        make("fxfarm_link_streams_aborted_total", "Graphs and artifacts that were given up on the way.",
             MetricType::Counter, "", {{"", c.streams_aborted}}),
        make("fxfarm_link_peers", "Peers that are connected.", MetricType::Gauge, "", {{"", c.peers}}),
    };
  }

  void contribute(statistics_map& counters, statistics_map& gauges) const {
    std::lock_guard lock(mutex_);
    if (!read_) return;
    const auto c = read_();
    counters["link_messages_received"] += static_cast<double>(c.messages_received);
    counters["link_messages_sent"] += static_cast<double>(c.messages_sent);
    counters["link_bytes_received"] += static_cast<double>(c.bytes_received);
    counters["link_bytes_sent"] += static_cast<double>(c.bytes_sent);
    counters["link_chunk_bytes_received"] += static_cast<double>(c.chunk_bytes_received);
    counters["link_chunk_bytes_sent"] += static_cast<double>(c.chunk_bytes_sent);
    auto& rejected = counters["link_rejected"];
    for (const auto& [reason, count] : c.rejected) rejected += static_cast<double>(count);
    counters["link_reconnects"] += static_cast<double>(c.reconnects);
    counters["link_streams_aborted"] += static_cast<double>(c.streams_aborted);
    gauges["link_peers_now"] += static_cast<double>(c.peers);
  }

private:
  using counts = std::map<std::string, std::uint64_t>;

  static counts bounded(const counts& all, label_bound& bound) {
    counts kept;
    for (const auto& [value, count] : all) kept[bound.admit(value)] += count;
    return kept;
  }

  // One child for each value of `label`; an empty name: the only child has none.
  static MetricFamily make(std::string name, std::string help, MetricType type, const std::string& label,
                           const counts& values) {
    MetricFamily made{std::move(name), std::move(help), type, {}};
    for (const auto& [value, count] : values) {
      ClientMetric child;
      if (!label.empty()) child.label.push_back({label, value});
      (type == MetricType::Counter ? child.counter.value : child.gauge.value) = static_cast<double>(count);
      made.metric.push_back(std::move(child));
    }
    return made;
  }

  mutable std::mutex mutex_;  // guards what follows
  std::function<link_counters()> read_;
  mutable label_bound reasons_;
};

// Several things that can be collected, as one.
class collected_together : public prometheus::Collectable {
public:
  explicit collected_together(std::vector<const prometheus::Collectable*> parts) : parts_(std::move(parts)) {}

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> all;
    for (const auto* part : parts_) {
      auto some = part->Collect();
      std::move(some.begin(), some.end(), std::back_inserter(all));
    }
    return all;
  }

private:
  const std::vector<const prometheus::Collectable*> parts_;
};

}  // namespace

// --- process ---------------------------------------------------------------------------------------------------------

struct metrics::impl {
  impl(std::string_view version, std::string_view role)
      : build_info(build_book,
                   {"fxfarm_build_info", "Version and role of this process; always 1.", {"version", "role"}, "up"},
                   {{version, role}}) {
    build_info.at({version, role}).Set(1);
    last_reset.at({}).Set(seconds_since_epoch(stats.resets().last));
    stats.add_source([this](statistics_map& c, statistics_map& g) { link.contribute(c, g); });
  }

  statistics stats{std::chrono::system_clock::now()};
  statistics process_stats{std::chrono::system_clock::now()};  // what a reset must not set back
  family_book build_book{process_stats};
  family_book process_book{process_stats};
  family_book book{stats};
  gauges build_info;
  counters resets{process_book, {"fxfarm_stats_resets_total", "Resets of the statistics.", {}, "resets"}};
  gauges last_reset{process_book,
                    {"fxfarm_stats_last_reset_timestamp_seconds",
                     "When the statistics were last reset, or the start.",
                     {},
                     "last_reset_timestamp_seconds"}};
  link_view link;

  std::mutex mutex;  // guards the probes' making
  std::optional<coordinator_probe> coordinator;
  std::optional<store_probe> store;
  std::optional<redis_probe> redis;
  std::optional<worker_probe> worker;
};

namespace {

template <class Probe>
Probe& made_once(std::optional<Probe>& probe, std::mutex& mutex, family_book& book) {
  std::lock_guard lock(mutex);
  if (!probe) probe.emplace(book);
  return *probe;
}

}  // namespace

metrics::metrics(std::string_view version, std::string_view role) : impl_(std::make_shared<impl>(version, role)) {}
metrics::~metrics() = default;

coordinator_probe& metrics::coordinator() {
  return made_once(impl_->coordinator, impl_->mutex, impl_->book);
}
store_probe& metrics::store() {
  return made_once(impl_->store, impl_->mutex, impl_->book);
}
redis_probe& metrics::redis() {
  return made_once(impl_->redis, impl_->mutex, impl_->book);
}
worker_probe& metrics::worker() {
  return made_once(impl_->worker, impl_->mutex, impl_->book);
}
void metrics::watch_link(std::function<link_counters()> read) {
  impl_->link.watch(std::move(read));
}

statistics_map metrics::snapshot() const {
  auto all = impl_->stats.snapshot();
  all.merge(impl_->process_stats.snapshot());
  return all;
}

void metrics::reset() {
  const auto now = std::chrono::system_clock::now();
  impl_->stats.reset(now);
  impl_->resets.at({}).Increment();
  impl_->last_reset.at({}).Set(seconds_since_epoch(now));
}

std::string metrics::text() const {
  return prometheus::TextSerializer().Serialize(collectable()->Collect());
}

std::shared_ptr<prometheus::Collectable> metrics::collectable() const {
  auto together = std::make_shared<collected_together>(std::vector<const prometheus::Collectable*>{
      &impl_->build_book.registry(), &impl_->process_book.registry(), &impl_->book.registry(), &impl_->link});
  // Whoever holds it holds everything that it reads.
  return {together.get(), [together, owner = impl_](prometheus::Collectable*) {}};
}

std::shared_ptr<prometheus::Collectable> metrics::build() const {
  return {impl_, &impl_->build_book.registry()};
}

}  // namespace fxfarm::monitoring
