// Whether the job table's books agree with each other, for tests.

#include "runtime/job_table.hpp"

namespace fxfarm {

std::string job_table::inconsistency() const {
  std::map<job_state, std::size_t> counts{
      {job_state::wants_graph, 0}, {job_state::queued, 0}, {job_state::running, 0}, {job_state::storing, 0}};
  text_map<std::size_t> accounts;
  std::size_t attempts = 0, due = 0, running = 0, subscriptions = 0;
  for (const auto& [key, job] : jobs_) {
    const auto& r = job.request;
    ++counts[job.state];
    if (!r.account.empty()) ++accounts[r.account];
    if (key != r.stage_key) return "job " + key + " is kept under another key";
    const bool started = job.state == job_state::running || job.state == job_state::storing;
    if (started == job.worker.empty() || started == job.attempt.empty())
      return "job " + key + " has no worker, or one too many";
    if (!started && job.subscribers.empty()) return "nobody waits for job " + key + ", which has not started";
    if (job.attempts > bounds_.attempts_max) return "job " + key + " has had more attempts than it may";
    if (job.of_graph->second != &job || job.of_graph->first.data() != r.graph_key.data())
      return "job " + key + " is not found by its graph";
    for (const auto& peer : job.subscribers) {
      auto mine = by_peer_.find(peer);
      if (mine == by_peer_.end() || !mine->second.contains(key)) return "job " + key + " is not found by " + peer;
      ++subscriptions;
    }
    if (started) {
      auto attempt = by_attempt_.find(job.attempt);
      if (attempt == by_attempt_.end() || attempt->second != key) return "job " + key + " is not found by its attempt";
      ++attempts;
    }
    if (job.state == job_state::running) {
      auto worker = by_worker_.find(job.worker);
      if (worker == by_worker_.end() || !worker->second.contains(key))
        return "job " + key + " is not found by its worker";
      ++running;
    }
    if (job.state == job_state::queued) {
      auto same = queued_since_.find(r.stage->name);
      if (same == queued_since_.end() || !same->second.contains(job.queued_at))
        return "job " + key + " is not found by its age";
    }
    if (auto late = this->due(job)) {
      if (!due_.contains({*late, std::string_view(key)})) return "job " + key + " will not be late";
      ++due;
    }
  }
  const auto total = [](const auto& index) {
    std::size_t n = 0;
    for (const auto& [key, entries] : index) n += entries.size();
    return n;
  };
  if (accounts != by_account_) return "jobs are not counted by their accounts";
  if (counts != counts_) return "jobs are not counted by their states";
  if (by_attempt_.size() != attempts) return "an attempt is kept that no job has";
  if (due_.size() != due) return "a moment is kept at which no job is late";
  if (total(queued_since_) != counts[job_state::queued]) return "an age is kept of a job that is not queued";
  if (total(by_worker_) != running) return "a worker keeps a job that it does not run";
  if (total(by_peer_) != subscriptions) return "a peer keeps a job that it does not wait for";
  if (by_graph_.size() != jobs_.size()) return "a graph keeps a job that is gone";
  return failures_.inconsistency();
}

}  // namespace fxfarm
