// Which jobs wait for a graph, and who may be asked for it.

#include "runtime/job_table.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {

template <class F>
bool job_table::some_of(const std::string& graph_key, F&& f) const {
  const auto [first, last] = by_graph_.equal_range(graph_key);
  return std::any_of(first, last, [&](const auto& entry) { return f(*entry.second); });
}

std::vector<job_record*> job_table::wanting_jobs(const std::string& graph_key) const {
  std::vector<job_record*> out;
  const auto [first, last] = by_graph_.equal_range(graph_key);
  for (auto it = first; it != last; ++it) {
    if (it->second->state == job_state::wants_graph) out.push_back(it->second);
  }
  std::sort(out.begin(), out.end(),
            [](const job_record* a, const job_record* b) { return a->request.stage_key < b->request.stage_key; });
  return out;
}

void job_table::want_graph(const std::string& stage_key, time_point now) {
  auto& job = jobs_.at(stage_key);
  assert(job.state == job_state::queued);
  take_out(job);
  move_to(job, job_state::wants_graph);
  job.graph_until = now + limits::graph_wait_max;
  put_in(job);
}

std::vector<std::string> job_table::graph_arrived(const std::string& graph_key, time_point now) {
  std::vector<std::string> queued;
  for (auto* job : wanting_jobs(graph_key)) {
    take_out(*job);
    move_to(*job, job_state::queued);
    job->queued_at = now;
    put_in(*job);
    queued.push_back(job->request.stage_key);
  }
  return queued;
}

void job_table::graph_asked(const std::string& graph_key, time_point now) {
  for (auto* job : wanting_jobs(graph_key)) {
    take_out(*job);
    job->graph_until = now + limits::graph_wait_max;
    put_in(*job);
  }
}

bool job_table::wants(const std::string& graph_key) const {
  return some_of(graph_key, [](const job_record& job) { return job.state == job_state::wants_graph; });
}

std::vector<std::string> job_table::wanting(const std::string& graph_key) const {
  std::vector<std::string> out;
  for (const auto* job : wanting_jobs(graph_key)) out.push_back(job->request.stage_key);
  return out;
}

bool job_table::is_source(const std::string& graph_key, const std::string& peer) const {
  return some_of(graph_key, [&](const job_record& job) {
    return job.state == job_state::wants_graph && job.subscribers.contains(peer);
  });
}

std::string job_table::next_source(const std::string& graph_key, const std::set<std::string>& asked) const {
  for (const auto* job : wanting_jobs(graph_key)) {
    for (const auto& peer : job->subscribers) {
      if (!asked.contains(peer)) return peer;
    }
  }
  return {};
}

bool job_table::uses(const std::string& graph_key) const {
  return some_of(graph_key, [](const job_record& job) { return job.state != job_state::storing; });
}

}  // namespace fxfarm
