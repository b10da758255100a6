// What a coordinator is at, for `fxfarm top`; and workers that an operator has taken out of work.

#include "actors/coordinator_core.hpp"
#include "actors/life_report.hpp"

#include <algorithm>

namespace fxfarm::actors {
namespace {

using nlohmann::json;

constexpr std::size_t shown_max = 20;  // of the jobs that run longest, and of the slowest compiles

double seconds_between(time_point from, time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

struct stage_row {
  std::map<job_state, std::size_t> jobs{
      {job_state::wants_graph, 0}, {job_state::queued, 0}, {job_state::running, 0}, {job_state::storing, 0}};
  double oldest_seconds = 0;  // that a job waits for a worker
};

json rows_json(const std::map<std::string, stage_row>& stages) {
  json rows = json::array();
  for (const auto& [name, row] : stages) {
    json one{{"name", name}, {"oldest_seconds", row.oldest_seconds}};
    for (const auto& [state, count] : row.jobs) one[std::string(to_string(state))] = count;
    rows.push_back(std::move(one));
  }
  return rows;
}

// The slowest first, as many as are shown.
json slowest_first(std::vector<json> rows) {
  const auto end = rows.begin() + static_cast<std::ptrdiff_t>(std::min(rows.size(), shown_max));
  std::partial_sort(rows.begin(), end, rows.end(), [](const json& a, const json& b) {
    return a["seconds"].get<double>() > b["seconds"].get<double>();
  });
  return json(std::vector<json>(rows.begin(), end));
}

json row_of(const std::string& graph_key, const std::string& name, const std::string& stage, const std::string& worker,
            double seconds) {
  return {{"graph_key", graph_key}, {"name", name}, {"stage", stage}, {"worker", worker}, {"seconds", seconds}};
}

}  // namespace

// Linear in jobs and known graphs.
std::string coordinator_core::top_document(time_point now) const {
  std::map<std::string, stage_row> stages;
  std::vector<json> running, compiled;
  for (const auto& [key, job] : jobs_.jobs()) {
    const auto& r = job.request;
    auto& row = stages[r.stage->name];
    ++row.jobs[job.state];
    if (job.state == job_state::queued)
      row.oldest_seconds = std::max(row.oldest_seconds, seconds_between(job.queued_at, now));
    if (job.state == job_state::running) {
      running.push_back(
          row_of(r.graph_key, r.name, r.stage->name, name_of(job.worker), seconds_between(job.started_at, now)));
    }
  }
  for (const auto& graph : book_.graphs()) {
    for (const auto& s : graph.stages) {
      const auto* made = s.life.last(life_step::compiled);
      if (made != nullptr) compiled.push_back(row_of(graph.graph_key, graph.name, s.name, made->who, made->seconds));
    }
  }
  bool truncated = false;
  json document{{"unix_seconds", settings_.unix_seconds()},
                {"uptime_seconds", seconds_between(started_, now)},
                {"draining", draining_},
                {"clients", clients_},
                {"workers", workers_json(truncated)},
                {"jobs", jobs_json()},
                {"stages", rows_json(stages)},
                {"counters", statistics_.snapshot()},
                {"running", slowest_first(std::move(running))},
                {"slowest", slowest_first(std::move(compiled))}};
  document["truncated"] = truncated;
  return text_of(document);
}

result<net::peer_id> coordinator_core::find_worker(const std::string& wanted) const {
  if (wanted.empty()) return {errc::bad_input, "want the name of a worker, or how it begins"};
  std::vector<net::peer_id> found;
  std::string names;
  for (const auto& w : scheduler_.workers()) {
    const auto& name = name_of(w.id);
    if (name == wanted) return w.id;
    if (!name.starts_with(wanted)) continue;
    found.push_back(w.id);
    if (found.size() <= shown_max) names += " " + name;
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) return {errc::not_found, "no worker is called " + wanted + "; `fxfarm status` lists them"};
  return {errc::bad_input, std::to_string(found.size()) + " workers' names begin with " + wanted + ":" + names};
}

// The worker itself remembers it, so that it holds for every coordinator and whatever happens to this one. Here it
// counts at once, so that no job is on its way to it.
result<std::string> coordinator_core::drain_worker(const std::map<std::string, std::string>& arguments, bool draining) {
  const auto given = arguments.find("worker");
  auto id = find_worker(given == arguments.end() ? "" : given->second);
  if (!id) return id.failure();
  send(*id, net::set_drain{draining}, nullptr);
  auto offer = *scheduler_.offer_of(*id);
  if (draining) {
    offer.draining = true;
    scheduler_.set_worker(*id, offer);
  }
  return text_of(json{{"worker", name_of(*id)}, {"draining", draining}, {"busy", scheduler_.busy_of(*id)}});
}

}  // namespace fxfarm::actors
