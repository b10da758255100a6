// The one file that declares metric families.
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

// --- coordinator -----------------------------------------------------------------------------------------------------

struct coordinator_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  counters lookups{book, {"fxfarm_lookups_total", "Lookups received from clients.", {}, "lookups"}};
  counters joined{book, {"fxfarm_lookups_joined_total", "Stages whose job was already in flight.", {}, "joined"}};
  counters served{book,
                  {"fxfarm_stages_served_total", "Artifacts sent to clients.", {"source"}, "stages_served", 0},
                  {{"memory"}, {"disk"}, {"job"}}};
  counters stages_refused{
      book,
      {"fxfarm_stages_refused_total", "Stages that clients were told will not come.", {"code"}, "stages_refused"},
      {{"no_worker"}}};
  counters messages_refused{book,
                            {"fxfarm_messages_refused_total",
                             "Messages that a peer of that role may not send, or that were malformed.",
                             {"role"},
                             "messages_refused"},
                            {{"client"}}};
  counters artifacts_refused{
      book,
      {"fxfarm_artifacts_refused_total", "Stored artifacts that a client could not use.", {}, "artifacts_refused"}};
  counters results_refused{
      book, {"fxfarm_results_refused_total", "Results for jobs whose lease had moved on.", {}, "results_refused"}};
  histograms graphs{book, {"fxfarm_graph_bytes", "Size of the graphs received.", {}, "graph_bytes"}};
  counters cancelled{
      book, {"fxfarm_jobs_cancelled_total", "Jobs dropped since nobody waited for them.", {}, "jobs_cancelled"}};
  gauges clients{book, {"fxfarm_clients", "Clients that are connected.", {}, "clients_now"}};
  counters queued{book, {"fxfarm_jobs_queued_total", "Jobs put in line.", {}, "jobs_queued"}};
  counters started{book,
                   {"fxfarm_jobs_started_total", "Jobs given to a worker, retries included.", {}, "jobs_started"}};
  counters finished{book, {"fxfarm_jobs_finished_total", "Jobs that made an artifact.", {}, "jobs_finished"}};
  counters failed{
      book, {"fxfarm_jobs_failed_total", "Jobs that failed for good.", {"code"}, "jobs_failed"}, {{"compile_failed"}}};
  counters retried{book, {"fxfarm_jobs_retried_total", "Attempts that were repeated elsewhere.", {}, "jobs_retried"}};
  counters came{book, {"fxfarm_workers_connected_total", "Workers that connected.", {}, "workers_connected"}};
  counters left{book, {"fxfarm_workers_lost_total", "Workers that left or fell silent.", {}, "workers_lost"}};
  histograms waits{book, {"fxfarm_job_queue_seconds", "Time that jobs waited for a worker.", {}, "queue_seconds"}};
  histograms phases{
      book,
      {"fxfarm_compile_phase_seconds", "Time of each phase of a compile.", {"stage", "phase"}, "phase_seconds", 1}};
  histograms compiles{book, {"fxfarm_compile_seconds", "Time of compiles, all phases.", {"stage"}, "compile_seconds"}};
  histograms switches{book,
                      {"fxfarm_request_to_switch_seconds",
                       "Time from a client's request to running the stage.",
                       {"stage"},
                       "request_to_switch_seconds"}};
  histograms loads{book, {"fxfarm_load_seconds", "Time that clients took to load an artifact.", {}, "load_seconds"}};
  counters load_failures{
      book,
      {"fxfarm_load_failures_total", "Artifacts that clients could not load.", {"code"}, "load_failures"},
      {{"load_failed"}}};
  histograms artifacts{book, {"fxfarm_artifact_bytes", "Size of the artifacts made.", {}, "artifact_bytes"}};
  gauges jobs{book,
              {"fxfarm_jobs", "Jobs by state.", {"state"}, "jobs_now", 0},
              {{"wants_graph"}, {"queued"}, {"running"}, {"storing"}}};
  gauges workers{book,
                 {"fxfarm_workers", "Workers by state.", {"state"}, "workers_now", 0},
                 {{"starting"}, {"idle"}, {"busy"}, {"draining"}, {"unavailable"}}};
};

coordinator_probe::coordinator_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
coordinator_probe::~coordinator_probe() = default;

void coordinator_probe::lookup_received() {
  impl_->lookups.at({}).Increment();
}
void coordinator_probe::joined() {
  impl_->joined.at({}).Increment();
}
void coordinator_probe::stage_served(std::string_view source) {
  impl_->served.at({source}).Increment();
}
void coordinator_probe::stage_refused(std::string_view code) {
  impl_->stages_refused.at({code}).Increment();
}
void coordinator_probe::message_refused(std::string_view role) {
  impl_->messages_refused.at({role}).Increment();
}
void coordinator_probe::artifact_refused() {
  impl_->artifacts_refused.at({}).Increment();
}
void coordinator_probe::result_refused() {
  impl_->results_refused.at({}).Increment();
}
void coordinator_probe::graph_received(double bytes) {
  impl_->graphs.at({}).Observe(bytes);
}
void coordinator_probe::cancelled() {
  impl_->cancelled.at({}).Increment();
}
void coordinator_probe::clients_now(double count) {
  impl_->clients.at({}).Set(count);
}
void coordinator_probe::job_queued() {
  impl_->queued.at({}).Increment();
}
void coordinator_probe::job_started() {
  impl_->started.at({}).Increment();
}
void coordinator_probe::job_finished() {
  impl_->finished.at({}).Increment();
}
void coordinator_probe::job_failed(std::string_view code) {
  impl_->failed.at({code}).Increment();
}
void coordinator_probe::retried() {
  impl_->retried.at({}).Increment();
}
void coordinator_probe::worker_came() {
  impl_->came.at({}).Increment();
}
void coordinator_probe::worker_left() {
  impl_->left.at({}).Increment();
}
void coordinator_probe::queue_waited(double seconds) {
  impl_->waits.at({}).Observe(seconds);
}
void coordinator_probe::phase_took(std::string_view stage, std::string_view phase, double seconds) {
  impl_->phases.at({stage, phase}).Observe(seconds);
}
void coordinator_probe::compiled(std::string_view stage, double seconds) {
  impl_->compiles.at({stage}).Observe(seconds);
}
void coordinator_probe::request_to_switch(std::string_view stage, double seconds) {
  impl_->switches.at({stage}).Observe(seconds);
}
void coordinator_probe::load_took(double seconds) {
  impl_->loads.at({}).Observe(seconds);
}
void coordinator_probe::load_failed(std::string_view code) {
  impl_->load_failures.at({code}).Increment();
}
void coordinator_probe::artifact_made(double bytes) {
  impl_->artifacts.at({}).Observe(bytes);
}
void coordinator_probe::jobs_now(std::string_view state, double count) {
  impl_->jobs.at({state}).Set(count);
}
void coordinator_probe::workers_now(std::string_view state, double count) {
  impl_->workers.at({state}).Set(count);
}

// --- store -----------------------------------------------------------------------------------------------------------

struct store_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  counters queries{book,
                   {"fxfarm_store_queries_total", "Questions to a tier of the store.", {"tier"}, "cache_queries", 0},
                   {{"memory"}, {"disk"}}};
  counters hits{book,
                {"fxfarm_store_hits_total", "Artifacts found in a tier.", {"tier"}, "cache_hits", 0},
                {{"memory"}, {"disk"}}};
  counters errors{book,
                  {"fxfarm_store_errors_total", "Operations of a tier that failed.", {"tier"}, "cache_errors", 0},
                  {{"memory"}, {"disk"}}};
  counters evictions{
      book,
      {"fxfarm_store_evictions_total", "Artifacts that made room in a tier.", {"tier"}, "cache_evictions", 0},
      {{"memory"}, {"disk"}}};
  counters evicted_bytes{
      book,
      {"fxfarm_store_evicted_bytes_total", "Bytes that made room in a tier.", {"tier"}, "cache_evicted_bytes", 0},
      {{"memory"}, {"disk"}}};
  gauges sizes{
      book, {"fxfarm_store_bytes", "Bytes held by a tier.", {"tier"}, "cache_bytes", 0}, {{"memory"}, {"disk"}}};
};

store_probe::store_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
store_probe::~store_probe() = default;

void store_probe::queried(std::string_view tier) {
  impl_->queries.at({tier}).Increment();
}
void store_probe::hit(std::string_view tier) {
  impl_->hits.at({tier}).Increment();
}
void store_probe::failed(std::string_view tier) {
  impl_->errors.at({tier}).Increment();
}
void store_probe::evicted(std::string_view tier, double bytes) {
  impl_->evictions.at({tier}).Increment();
  impl_->evicted_bytes.at({tier}).Increment(bytes);
}
void store_probe::size_now(std::string_view tier, double bytes) {
  impl_->sizes.at({tier}).Set(bytes);
}

// --- worker ----------------------------------------------------------------------------------------------------------

struct worker_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  gauges engines{book,
                 {"fxfarm_worker_engines", "Engines by state.", {"state"}, "engines_now", 0},
                 {{"starting"}, {"idle"}, {"busy"}, {"restarting"}}};
  gauges running{book, {"fxfarm_worker_jobs", "Jobs that run on this worker.", {}, "worker_jobs_now"}};
  counters restarts{book,
                    {"fxfarm_worker_engine_restarts_total", "Engines started again.", {"reason"}, "engine_restarts"},
                    {{"engine_crashed"}}};
  histograms warmings{
      book, {"fxfarm_worker_engine_warm_seconds", "Time from an engine's start to ready.", {}, "engine_warm_seconds"}};
  counters refused{book,
                   {"fxfarm_worker_messages_refused_total",
                    "Messages that a coordinator may not send.",
                    {},
                    "worker_messages_refused"}};
  counters done{book, {"fxfarm_worker_jobs_done_total", "Jobs that made an artifact here.", {}, "worker_jobs_done"}};
  counters failed{book,
                  {"fxfarm_worker_jobs_failed_total", "Jobs that failed here.", {"code"}, "worker_jobs_failed"},
                  {{"compile_failed"}}};
  histograms phases{
      book, {"fxfarm_worker_phase_seconds", "Time of each phase of a job here.", {"phase"}, "worker_phase_seconds", 0}};
};

worker_probe::worker_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
worker_probe::~worker_probe() = default;

void worker_probe::engines_now(std::string_view state, double count) {
  impl_->engines.at({state}).Set(count);
}
void worker_probe::jobs_now(double running) {
  impl_->running.at({}).Set(running);
}
void worker_probe::engine_restarted(std::string_view reason) {
  impl_->restarts.at({reason}).Increment();
}
void worker_probe::engine_warmed(double seconds) {
  impl_->warmings.at({}).Observe(seconds);
}
void worker_probe::message_refused() {
  impl_->refused.at({}).Increment();
}
void worker_probe::job_done() {
  impl_->done.at({}).Increment();
}
void worker_probe::job_failed(std::string_view code) {
  impl_->failed.at({code}).Increment();
}
void worker_probe::phase_took(std::string_view phase, double seconds) {
  impl_->phases.at({phase}).Observe(seconds);
}

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
        make("fxfarm_link_peers", "Peers that are connected.", MetricType::Gauge, "role", bounded(c.peers, roles_)),
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
    for (const auto& [role, count] : bounded(c.peers, roles_))
      gauges["link_peers_" + role] += static_cast<double>(count);
  }

private:
  using counts = std::map<std::string, std::uint64_t>;

  static counts bounded(const counts& all, label_bound& bound) {
    counts kept;
    for (const auto& [value, count] : all) kept[bound.admit(value)] += count;
    return kept;
  }

  static MetricFamily make(std::string name, std::string help, MetricType type, const std::string& label,
                           const counts& values) {
    MetricFamily made{std::move(name), std::move(help), type, {}};
    for (const auto& [value, count] : values) {
      ClientMetric child;
      child.label.push_back({label, value});
      (type == MetricType::Counter ? child.counter.value : child.gauge.value) = static_cast<double>(count);
      made.metric.push_back(std::move(child));
    }
    return made;
  }

  mutable std::mutex mutex_;  // guards what follows
  std::function<link_counters()> read_;
  mutable label_bound reasons_;
  mutable label_bound roles_;
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
