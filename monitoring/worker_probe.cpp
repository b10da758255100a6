// What a worker counts, and the families that it goes to.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

struct worker_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  gauges engines{book,
                 {"fxfarm_worker_engines", "Engines by state.", {"state"}, "engines_now", 0},
                 {{"starting"}, {"idle"}, {"busy"}, {"restarting"}}};
  gauges running{book, {"fxfarm_worker_jobs", "Jobs that run on this worker.", {}, "worker_jobs_now"}};
  gauges memory{
      book,
      {"fxfarm_worker_memory_bytes",
       "Memory that engines may use together, 0 where it is not counted; and how much of it is taken by jobs.",
       {"what"},
       "worker_memory_bytes",
       0},
      {{"offered"}, {"taken"}}};
  gauges coordinators{
      book,
      {"fxfarm_worker_coordinators", "Coordinators that this worker is connected to.", {}, "worker_coordinators_now"}};
  counters restarts{book,
                    {"fxfarm_worker_engine_restarts_total", "Engines started again.", {"reason"}, "engine_restarts"},
                    {{"engine_crashed"}, {"namespace"}}};
  gauges sandboxes{book,
                   {"fxfarm_worker_sandbox", "1 for what engines are in.", {"kind"}, "sandbox", 0},
                   {{"bubblewrap"}, {"none"}}};
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
  counters helped{book,
                  {"fxfarm_worker_kernels_lent_total",
                   "Kernels of jobs that an idle engine here was to compile.",
                   {"outcome"},
                   "worker_kernels_lent",
                   0},
                  {{"made"}, {"failed"}, {"refused"}}};
  counters borrowed{book,
                    {"fxfarm_worker_kernels_borrowed_total",
                     "Kernels of jobs here that an idle engine of the farm was to compile.",
                     {"outcome"},
                     "worker_kernels_borrowed",
                     0},
                    {{"made"}, {"unmade"}, {"untrusted"}}};
};

worker_probe::worker_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
worker_probe::~worker_probe() = default;

void worker_probe::engines_now(std::string_view state, double count) {
  impl_->engines.at({state}).Set(count);
}
void worker_probe::jobs_now(double running) {
  impl_->running.at({}).Set(running);
}
void worker_probe::memory_now(double offered, double taken) {
  impl_->memory.at({"offered"}).Set(offered);
  impl_->memory.at({"taken"}).Set(taken);
}
void worker_probe::coordinators_now(double count) {
  impl_->coordinators.at({}).Set(count);
}
void worker_probe::lacks(std::string_view part, std::string_view what) {
  impl_->book.ready().lacks(part, what);
}
void worker_probe::engine_restarted(std::string_view reason) {
  impl_->restarts.at({reason}).Increment();
}
void worker_probe::engines_are_in(std::string_view sandbox) {
  for (const std::string_view kind : {"bubblewrap", "none"}) impl_->sandboxes.at({kind}).Set(kind == sandbox ? 1 : 0);
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
void worker_probe::helped(std::string_view outcome) {
  impl_->helped.at({outcome}).Increment();
}
void worker_probe::kernel_came(std::string_view outcome) {
  impl_->borrowed.at({outcome}).Increment();
}

}  // namespace fxfarm::monitoring
