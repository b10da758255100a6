// What a coordinator answers to `fxfarm explain`: the life of one graph, and of each stage why nobody runs it yet.

#include "actors/coordinator_core.hpp"
#include "actors/life_report.hpp"
#include "runtime/keys.hpp"
#include "runtime/stage_verdict.hpp"

#include <algorithm>

namespace fxfarm::actors {
namespace {

using nlohmann::json;

double seconds_between(time_point from, time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// "code: message" as to_string writes it.
error error_from(const std::string& text) {
  const auto colon = text.find(": ");
  if (colon == std::string::npos) return {errc_from_string(text), {}};
  return {errc_from_string(text.substr(0, colon)), text.substr(colon + 2)};
}

// What a client last said of the artifact; null: nothing.
const life_event* said_by_client(const stage_life& life) {
  const life_event* latest = nullptr;
  for (const auto& e : life.events()) {
    const bool of_client =
        e.step == life_step::switched || e.step == life_step::load_failed || e.step == life_step::rolled_back;
    if (of_client && (latest == nullptr || e.last >= latest->last)) latest = &e;
  }
  return latest;
}

bool has_key(const graph_entry& graph, const std::string& beginning) {
  return graph.graph_key.starts_with(beginning) || plain_key(graph.graph_key).starts_with(beginning) ||
         std::any_of(graph.stages.begin(), graph.stages.end(),
                     [&](const stage_entry& s) { return s.stage_key.starts_with(beginning); });
}

}  // namespace

result<const graph_entry*> coordinator_core::find_graph(const std::string& wanted) const {
  if (wanted.empty()) return {errc::bad_input, "want a graph's name, or how the key of a graph or stage begins"};
  std::vector<const graph_entry*> found;
  for (const auto& graph : book_.graphs()) {
    if (graph.graph_key == wanted) return &graph;
    if (graph.name == wanted || has_key(graph, wanted)) found.push_back(&graph);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) return {errc::not_found, "no graph that was asked for has that name or key: " + wanted};
  constexpr std::size_t shown_max = 10, key_chars = 16;
  std::string text =
      std::to_string(found.size()) + " graphs are called or begin with " + wanted + "; give the key of one:";
  for (std::size_t i = 0; i < std::min(found.size(), shown_max); ++i) {
    text.append(" ").append(found[i]->graph_key, 0, key_chars).append(" (" + found[i]->name + ")");
  }
  return {errc::bad_input, text + (found.size() > shown_max ? " ..." : "")};
}

stage_facts coordinator_core::facts_of(const stage_entry& stage, time_point now) const {
  stage_facts f;
  f.stage_key = stage.stage_key;
  f.state = stage.state;
  f.source = stage.source;
  f.why = error_from(stage.error);
  f.attempts_max = settings_.jobs.attempts_max;
  f.client = said_by_client(stage.life);
  if (f.client != nullptr) f.client_seconds = seconds_between(f.client->last, now);
  if (auto until = jobs_.failures().until(stage.stage_key))
    f.remembered_seconds = std::max(0.0, seconds_between(now, *until));
  const auto* job = jobs_.find(stage.stage_key);
  if (job == nullptr) return f;
  f.state = to_string(job->state);
  f.attempts = job->attempts;
  f.worker = name_of(job->worker);
  const bool measures = job->request.measures;
  const auto memory_above = compiles_.memory_above(job->request.graph_key, job->request.stage->name);
  switch (job->state) {
    case job_state::wants_graph:
      f.seconds = seconds_between(job->created, now);
      if (auto asked = graph_asked_.find(job->request.graph_key);
          asked != graph_asked_.end() && !asked->second.last.empty())
        f.asked = name_of(asked->second.last);
      break;
    case job_state::queued: {
      f.seconds = seconds_between(job->queued_at, now);
      f.ahead = scheduler_.ahead_of(stage.stage_key);
      f.measures = measures;
      f.slots = scheduler_.slots_for(*job->request.target, memory_above, measures);
      if (auto fits = scheduler_.check_fit(*job->request.target, memory_above, measures); !fits)
        f.missing = fits.failure().message;
      const auto lacks = scheduler_.shortage_of(stage.stage_key);
      f.memory_bytes = lacks.memory_bytes;
      if (!lacks.kept.empty()) f.kept = name_of(lacks.kept);
      if (!lacks.avoids.empty()) f.avoids = name_of(lacks.avoids.front());
      break;
    }
    default:
      f.seconds = seconds_between(job->started_at, now);
  }
  return f;
}

result<std::string> coordinator_core::explain_document(const std::map<std::string, std::string>& arguments,
                                                       time_point now) const {
  const auto given = arguments.find("graph");
  auto found = find_graph(given == arguments.end() ? "" : given->second);
  if (!found) return found.failure();
  const auto& graph = **found;
  json document = life_json(graph, now);
  json stages = json::array();
  for (const auto& s : graph.stages) {
    const auto verdict = judge(facts_of(s, now));
    json stage = stage_json(s, jobs_.find(s.stage_key));
    stage["why"] = verdict.why;
    stage["advice"] = verdict.advice;
    stage["neighbour"] = nullptr;
    if (s.life.last(life_step::missed) != nullptr) {
      if (auto near = nearest(book_, graph, s)) stage["neighbour"] = neighbour_json(*near);
    }
    stages.push_back(std::move(stage));
  }
  document["stages"] = std::move(stages);
  return text_of(document);
}

}  // namespace fxfarm::actors
