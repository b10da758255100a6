// What the roles count, and the families that it goes to.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

// --- coordinator -----------------------------------------------------------------------------------------------------

struct coordinator_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  counters lookups{book, {"fxfarm_lookups_total", "Lookups received from clients.", {}, "lookups"}};
  counters adopted{
      book,
      {"fxfarm_jobs_adopted_total", "Jobs taken over from workers whose coordinator had gone.", {}, "jobs_adopted"}};
  counters switches_agreed{
      book,
      {"fxfarm_switches_agreed_total", "Calls that the ranks of a job agreed to switch at.", {}, "switches_agreed"}};
  counters switches_aborted{book,
                            {"fxfarm_switches_aborted_total",
                             "Proposals to the ranks of a job that came to nothing and were made again.",
                             {},
                             "switches_aborted"}};
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
  counters rolled_back{book,
                       {"fxfarm_stages_rolled_back_total",
                        "Stages that clients took back since they were slower than what they replaced.",
                        {"stage"},
                        "stages_rolled_back"}};
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
void coordinator_probe::adopted() {
  impl_->adopted.at({}).Increment();
}
void coordinator_probe::switch_agreed() {
  impl_->switches_agreed.at({}).Increment();
}
void coordinator_probe::switch_aborted() {
  impl_->switches_aborted.at({}).Increment();
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
void coordinator_probe::rolled_back(std::string_view stage) {
  impl_->rolled_back.at({stage}).Increment();
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

void store_probe::has_tier(std::string_view tier) {
  impl_->queries.at({tier});
  impl_->hits.at({tier});
  impl_->errors.at({tier});
}

// --- redis -----------------------------------------------------------------------------------------------------------

struct redis_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  gauges breaker{book,
                 {"fxfarm_redis_breaker",
                  "1 for the state that the circuit breaker before Redis is in.",
                  {"state"},
                  "redis_breaker",
                  0},
                 {{"closed"}, {"open"}, {"half_open"}}};
  counters opened{book, {"fxfarm_redis_breaker_opened_total", "How often Redis was left alone.", {}, "redis_opened"}};
  gauges queue_bytes{
      book, {"fxfarm_redis_queue_bytes", "Artifacts that wait to be written to Redis.", {}, "redis_queue_bytes"}};
  gauges queue_entries{
      book, {"fxfarm_redis_queue_entries", "Writes and removals that wait for Redis.", {}, "redis_queue_entries"}};
  counters written{book, {"fxfarm_redis_writes_total", "Artifacts written to Redis.", {}, "redis_writes"}};
  counters dropped{
      book,
      {"fxfarm_redis_writes_dropped_total", "Writes to Redis that were given up.", {"reason"}, "redis_dropped", 0},
      {{"full"}, {"too_large"}, {"refused"}, {"failed"}, {"shutdown"}}};
  histograms operations{
      book,
      {"fxfarm_redis_operation_seconds", "Time of operations on Redis.", {"operation"}, "redis_seconds", 0},
      {{"get"}, {"put"}, {"remove"}, {"ping"}}};
};

redis_probe::redis_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
redis_probe::~redis_probe() = default;

void redis_probe::breaker_now(std::string_view state) {
  for (const std::string_view s : {"closed", "open", "half_open"}) impl_->breaker.at({s}).Set(s == state ? 1 : 0);
}
void redis_probe::breaker_opened() {
  impl_->opened.at({}).Increment();
}
void redis_probe::queue_now(double bytes, double entries) {
  impl_->queue_bytes.at({}).Set(bytes);
  impl_->queue_entries.at({}).Set(entries);
}
void redis_probe::written() {
  impl_->written.at({}).Increment();
}
void redis_probe::dropped(std::string_view reason) {
  impl_->dropped.at({reason}).Increment();
}
void redis_probe::took(std::string_view operation, double seconds) {
  impl_->operations.at({operation}).Observe(seconds);
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
  histograms phases{book,
                    {"fxfarm_worker_phase_seconds",
                     "Time of each phase of a job here.",
                     {"stage", "phase"},
                     "worker_phase_seconds",
                     1}};
  histograms artifacts{
      book, {"fxfarm_worker_artifact_bytes", "Size of the artifacts made here.", {}, "worker_artifact_bytes"}};
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
void worker_probe::phase_took(std::string_view stage, std::string_view phase, double seconds) {
  impl_->phases.at({stage, phase}).Observe(seconds);
}
void worker_probe::artifact_made(double bytes) {
  impl_->artifacts.at({}).Observe(bytes);
}

}  // namespace fxfarm::monitoring
