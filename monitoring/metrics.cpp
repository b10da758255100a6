// The registry of a process, and what its links and the process itself tell.
#include "monitoring/metrics.hpp"

#include "monitoring/families.hpp"
#include "monitoring/views.hpp"

#include <algorithm>
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

// --- process ---------------------------------------------------------------------------------------------------------

struct metrics::impl {
  impl(std::string_view version, std::string_view role)
      : build_info(build_book,
                   {"fxfarm_build_info", "Version and role of this process; always 1.", {"version", "role"}, "up"},
                   {{version, role}}) {
    build_info.at({version, role}).Set(1);
    last_reset.at({}).Set(seconds_since_epoch(stats.resets().last));
    stats.add_source([this](statistics_map& c, statistics_map& g) { link.contribute(c, g); });
    ready.lacks("role", "it is starting");
  }

  statistics stats{std::chrono::system_clock::now()};
  statistics process_stats{std::chrono::system_clock::now()};  // what a reset must not set back
  readiness ready{[this](bool all) { is_ready.at({}).Set(all ? 1 : 0); }};
  family_book build_book{process_stats, ready};
  family_book process_book{process_stats, ready};
  family_book book{stats, ready};
  gauges build_info;
  counters resets{process_book, {"fxfarm_stats_resets_total", "Resets of the statistics.", {}, "resets"}};
  gauges last_reset{process_book,
                    {"fxfarm_stats_last_reset_timestamp_seconds",
                     "When the statistics were last reset, or the start.",
                     {},
                     "last_reset_timestamp_seconds"}};
  gauges is_ready{process_book,
                  {"fxfarm_ready", "1 when /readyz says that this process can do its work.", {}, "ready"}};
  gauges insecure{
      process_book,
      {"fxfarm_insecure",
       "1 when this process was told to do what is not safe: without keys, without signers, or with an open page.",
       {},
       "insecure"}};
  link_view link;
  client_view client_counts;

  std::mutex mutex;  // guards the probes' making
  std::optional<coordinator_probe> coordinator;
  std::optional<store_probe> store;
  std::optional<redis_probe> redis;
  std::optional<worker_probe> worker;
  std::optional<client_probe> client;
  std::optional<page_probe> page;
  std::optional<access_probe> access;
};

namespace {

std::string text_of(std::initializer_list<const prometheus::Collectable*> parts) {
  std::vector<prometheus::MetricFamily> all;
  for (const auto* part : parts) {
    auto some = part->Collect();
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return prometheus::TextSerializer().Serialize(all);
}

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
client_probe& metrics::client() {
  return made_once(impl_->client, impl_->mutex, impl_->book);
}
page_probe& metrics::page() {
  return made_once(impl_->page, impl_->mutex, impl_->book);
}
access_probe& metrics::access() {
  return made_once(impl_->access, impl_->mutex, impl_->book);
}
void metrics::insecure_now(bool open) {
  impl_->insecure.at({}).Set(open ? 1 : 0);
}
void metrics::watch_link(std::function<link_counters()> read) {
  impl_->link.watch(std::move(read));
}

void metrics::watch_client(std::function<client_counters()> read) {
  impl_->client_counts.watch(std::move(read));
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
  return text_reader()();
}

std::shared_ptr<readiness> metrics::ready() const {
  return {impl_, &impl_->ready};
}

std::function<std::string()> metrics::text_reader() const {
  return [i = impl_] {
    return text_of(
        {&i->build_book.registry(), &i->process_book.registry(), &i->book.registry(), &i->link, &i->client_counts});
  };
}

std::function<std::string()> metrics::build_reader() const {
  return [i = impl_] { return text_of({&i->build_book.registry()}); };
}

}  // namespace fxfarm::monitoring
