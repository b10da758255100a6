// Whether a coordinator's books agree with each other, for tests.

#include "actors/coordinator_core.hpp"

namespace fxfarm::actors {

std::string coordinator_core::inconsistency() const {
  if (auto wrong = jobs_.inconsistency(); !wrong.empty()) return "job table: " + wrong;
  if (auto wrong = scheduler_.inconsistency(); !wrong.empty()) return "scheduler: " + wrong;

  if (scheduler_.queued() != jobs_.count(job_state::queued)) return "queued jobs are not those of the scheduler";
  if (scheduler_.running() != jobs_.count(job_state::running) + kernels_.size()) {
    return "running jobs and kernels do not hold the occupied slots";
  }
  for (const auto& [id, kernel] : kernels_.all()) {
    const auto* worker = scheduler_.worker_of(id);
    if (!worker || *worker != kernel.helper) return "kernel " + id + " holds no slot";
  }
  std::set<std::string> graphs;
  std::map<net::peer_id, std::size_t> measuring;
  for (const auto& [key, job] : jobs_.jobs()) {
    const auto* worker = scheduler_.worker_of(key);
    if (job.state == job_state::queued && !scheduler_.is_queued(key)) return "job " + key + " waits for no slot";
    if (job.state == job_state::running && (!worker || *worker != job.worker)) return "job " + key + " holds no slot";
    if (job.state == job_state::storing && !writes_.contains(key)) return "job " + key + " has no result to store";
    if (job.state == job_state::running && job.request.measures) ++measuring[job.worker];
    const bool needed = job.state == job_state::queued || job.state == job_state::running;
    // One that runs may have been adopted, and its graph never have been here.
    if (job.state == job_state::queued && !graphs_.contains(job.request.graph_key))
      return "job " + key + " has no graph";
    if (needed) graphs.insert(job.request.graph_key);
    if (job.state == job_state::wants_graph && !graph_asked_.contains(job.request.graph_key)) {
      return "nobody was asked for the graph of job " + key;
    }
  }
  for (const auto& [worker, keep] : kept_) {
    if (keep.number == 0 || !scheduler_.offer_of(worker)) return "worker " + worker + " is kept, and is not there";
  }
  for (const auto& w : scheduler_.workers()) {
    if (w.measuring != measuring[w.id]) return "GPUs of worker " + w.id + " are not those of its jobs";
  }
  std::size_t graph_bytes = 0;
  for (const auto& [key, graph] : graphs_) {
    graph_bytes += graph.data->size();
    if (!graphs.contains(key)) return "graph " + key + " is kept for no job";
  }
  if (graph_bytes != graph_bytes_) return "bytes of graphs are not counted";
  if (graph_bytes != accounts_.held()) return "bytes of graphs are not counted by accounts";

  std::size_t reading = 0, clients = 0, workers = 0, starting = 0, readers = 0, asked = 0, questions = 0;
  for (const auto& [id, p] : peers_) {
    if (p.who.role == "client") ++clients;
    if (scheduler_.offer_of(id)) ++workers;
    if (p.starting_since) ++starting;
    if (p.starting_since.has_value() != starting_.contains(id)) return "worker " + id + " wrongly counts as starting";
    readers += p.reading.size();
    questions += p.graphs_asked.size();
  }
  for (const auto& [key, waiting] : reads_) {
    reading += waiting.size();
    for (const auto& [id, lookup] : waiting) {
      if (!peers_.contains(id) || !peers_.at(id).reading.contains(key)) return "a lookup waits for a peer that left";
    }
  }
  for (const auto& [key, question] : graph_asked_) {
    asked += question.asked.size();
    if (!jobs_.wants(key)) return "graph " + key + " was asked for, and no job wants it";
    if (!ask_again_at_.contains({question.until, key})) return "graph " + key + " will not be asked for again";
  }
  if (ask_again_at_.size() != graph_asked_.size()) return "a question is kept that nobody was asked";
  if (reading != reading_ || reading != readers) return "lookups that wait for the store are not counted";
  if (asked != questions) return "peers do not know what they were asked for";
  if (clients != clients_) return "clients are not counted";
  if (workers != scheduler_.workers().size()) return "the scheduler has a worker that is not connected";
  if (starting != starting_.size()) return "a worker that left counts as starting";
  return writes_.size() == jobs_.count(job_state::storing) ? "" : "a result is kept for no job";
}

}  // namespace fxfarm::actors
