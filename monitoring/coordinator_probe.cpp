// What a coordinator counts, and the families that it goes to.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

#include <algorithm>
#include <atomic>

namespace fxfarm::monitoring {

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
  counters served_bytes{
      book,
      {"fxfarm_served_bytes_total", "Bytes of artifacts sent to clients.", {"source"}, "served_bytes", 0},
      {{"memory"}, {"disk"}, {"job"}}};
  counters saved{book,
                 {"fxfarm_compile_seconds_saved_total",
                  "Time of compiles that clients did not need, since an artifact was stored or made for others.",
                  {"source"},
                  "compile_seconds_saved",
                  0},
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
  counters claims_refused{book,
                          {"fxfarm_claims_refused_total",
                           "Jobs that workers brought and that no coordinator of the farm had given them.",
                           {},
                           "claims_refused"}};
  counters quotas{book,
                  {"fxfarm_quota_refusals_total",
                   "What was refused to peers whose key has as much as it may have.",
                   {"what"},
                   "quota_refusals",
                   0},
                  {{"jobs"}, {"graph_bytes"}, {"lookups"}, {"messages"}, {"connections"}}};
  counters results_refused{
      book, {"fxfarm_results_refused_total", "Results for jobs whose lease had moved on.", {}, "results_refused"}};
  counters results_untrusted{book,
                             {"fxfarm_results_untrusted_total",
                              "Results that nobody has signed who is accepted.",
                              {"reason"},
                              "results_untrusted",
                              0},
                             {{"unsigned"}, {"unknown_signer"}, {"bad_signature"}}};
  histograms graphs{book, {"fxfarm_graph_bytes", "Size of the graphs received.", {}, "graph_bytes"}};
  counters cancelled{
      book, {"fxfarm_jobs_cancelled_total", "Jobs dropped since nobody waited for them.", {}, "jobs_cancelled"}};
  gauges clients{book, {"fxfarm_clients", "Clients that are connected.", {}, "clients_now"}};
  gauges clients_waiting{book, {"fxfarm_clients_waiting", "Clients that wait for a job.", {}, "clients_waiting_now"}};
  counters queued{book, {"fxfarm_jobs_queued_total", "Jobs put in line.", {}, "jobs_queued"}};
  counters started{book,
                   {"fxfarm_jobs_started_total", "Jobs given to a worker, retries included.", {}, "jobs_started"}};
  counters finished{book, {"fxfarm_jobs_finished_total", "Jobs that made an artifact.", {}, "jobs_finished"}};
  counters failed{book,
                  {"fxfarm_jobs_failed_total", "Jobs that failed for good.", {"code", "stage"}, "jobs_failed"},
                  {{"compile_failed", "default"}, {"quarantined", "default"}}};
  counters retried{
      book,
      {"fxfarm_jobs_retried_total", "Attempts that were repeated, by why they ended.", {"code"}, "jobs_retried"},
      {{"engine_crashed"}}};
  counters kernels{book,
                   {"fxfarm_kernels_asked_total",
                    "Kernels of jobs that idle engines were to compile, by what became of it.",
                    {"outcome"},
                    "kernels_asked",
                    0},
                   {{"made"}, {"failed"}, {"none_idle"}, {"refused"}, {"late"}}};
  counters came{book, {"fxfarm_workers_connected_total", "Workers that connected.", {}, "workers_connected"}};
  counters left{book, {"fxfarm_workers_lost_total", "Workers that left or fell silent.", {}, "workers_lost"}};
  histograms waits{book,
                   {"fxfarm_job_queue_seconds", "Time that jobs waited for a worker.", {"stage"}, "queue_seconds"},
                   {{"default"}}};
  gauges waiting{
      book, {"fxfarm_jobs_waiting", "Jobs that wait for a worker.", {"stage"}, "jobs_waiting", 0}, {{"default"}}};
  gauges oldest{book,
                {"fxfarm_oldest_job_wait_seconds",
                 "How long the oldest job that waits for a worker has done so.",
                 {"stage"},
                 "oldest_job_wait_seconds",
                 0},
                {{"default"}}};
  std::atomic<bool> some_wait{false};
  histograms phases{
      book,
      {"fxfarm_compile_phase_seconds", "Time of each phase of a compile.", {"stage", "phase"}, "phase_seconds", 1}};
  histograms compiles{
      book, {"fxfarm_compile_seconds", "Time of compiles, all phases.", {"stage"}, "compile_seconds"}, {{"default"}}};
  histograms memory{book,
                    {"fxfarm_compile_memory_bytes",
                     "Resident memory that compiles had at most, with their engine and compilers.",
                     {"stage"},
                     "compile_memory_bytes"},
                    {{"default"}}};
  histograms switches{book,
                      {"fxfarm_request_to_switch_seconds",
                       "Time from a client's request to running the stage.",
                       {"stage"},
                       "request_to_switch_seconds"},
                      {{"default"}}};
  histograms steps{book,
                   {"fxfarm_switch_step_seconds",
                    "What that time went to: preparing the graph, waiting for the farm, loading the artifact.",
                    {"stage", "step"},
                    "switch_step_seconds",
                    1},
                   {{"default", "prepare"}, {"default", "farm"}, {"default", "load"}}};
  histograms loads{book,
                   {"fxfarm_load_seconds", "Time that clients took to load an artifact.", {"stage"}, "load_seconds"},
                   {{"default"}}};
  counters load_failures{
      book,
      {"fxfarm_load_failures_total", "Artifacts that clients could not load.", {"code", "stage"}, "load_failures"},
      {{"load_failed", "default"}}};
  counters rolled_back{book,
                       {"fxfarm_stages_rolled_back_total",
                        "Stages that clients took back since they were slower than what they replaced.",
                        {"stage"},
                        "stages_rolled_back"},
                       {{"default"}}};
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
void coordinator_probe::kernel_ended(std::string_view outcome) {
  impl_->kernels.at({outcome}).Increment();
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
void coordinator_probe::stage_served(std::string_view source, double bytes) {
  impl_->served.at({source}).Increment();
  impl_->served_bytes.at({source}).Increment(bytes);
}
void coordinator_probe::compile_saved(std::string_view source, double seconds) {
  impl_->saved.at({source}).Increment(seconds);
}
void coordinator_probe::stage_refused(std::string_view code) {
  impl_->stages_refused.at({code}).Increment();
}
void coordinator_probe::message_refused(std::string_view role) {
  impl_->messages_refused.at({role}).Increment();
}
void coordinator_probe::quota_passed(std::string_view what) {
  impl_->quotas.at({what}).Increment();
}
void coordinator_probe::artifact_refused() {
  impl_->artifacts_refused.at({}).Increment();
}
void coordinator_probe::claim_refused() {
  impl_->claims_refused.at({}).Increment();
}
void coordinator_probe::result_refused() {
  impl_->results_refused.at({}).Increment();
}
void coordinator_probe::result_untrusted(std::string_view reason) {
  impl_->results_untrusted.at({reason}).Increment();
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
void coordinator_probe::clients_waiting_now(double count) {
  impl_->clients_waiting.at({}).Set(count);
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
void coordinator_probe::job_failed(std::string_view code, std::string_view stage) {
  impl_->failed.at({code, stage}).Increment();
}
void coordinator_probe::retried(std::string_view code) {
  impl_->retried.at({code}).Increment();
}
void coordinator_probe::worker_came() {
  impl_->came.at({}).Increment();
}
void coordinator_probe::worker_left() {
  impl_->left.at({}).Increment();
}
void coordinator_probe::queue_waited(std::string_view stage, double seconds) {
  impl_->waits.at({stage}).Observe(seconds);
}
void coordinator_probe::waiting_now(const std::map<std::string, waiting_jobs>& by_stage) {
  if (by_stage.empty() && !impl_->some_wait) return;
  impl_->some_wait = !by_stage.empty();
  // Several stages may share the label "other".
  std::map<prometheus::Gauge*, double> counts, ages;
  for (auto* child : impl_->waiting.children()) counts[child] = 0;
  for (auto* child : impl_->oldest.children()) ages[child] = 0;
  for (const auto& [stage, jobs] : by_stage) {
    counts[&impl_->waiting.at({stage})] += jobs.count;
    auto& age = ages[&impl_->oldest.at({stage})];
    age = std::max(age, jobs.oldest_seconds);
  }
  for (auto& [child, count] : counts) child->Set(count);
  for (auto& [child, age] : ages) child->Set(age);
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
void coordinator_probe::switch_step(std::string_view stage, std::string_view step, double seconds) {
  impl_->steps.at({stage, step}).Observe(seconds);
}
void coordinator_probe::memory_had(std::string_view stage, double bytes) {
  impl_->memory.at({stage}).Observe(bytes);
}
void coordinator_probe::load_took(std::string_view stage, double seconds) {
  impl_->loads.at({stage}).Observe(seconds);
}
void coordinator_probe::load_failed(std::string_view code, std::string_view stage) {
  impl_->load_failures.at({code, stage}).Increment();
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

}  // namespace fxfarm::monitoring
