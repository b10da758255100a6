#include "actors/life_report.hpp"

#include <algorithm>

namespace fxfarm::actors {
namespace {

using nlohmann::json;

double seconds_between(time_point from, time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

struct placed_event {
  const stage_entry* stage;
  const life_event* what;
};

// Of all stages, in the order of time; within a moment those of a stage stay in theirs.
std::vector<placed_event> events_of(const graph_entry& graph) {
  std::vector<placed_event> all;
  for (const auto& stage : graph.stages) {
    for (const auto& event : stage.life.events()) all.push_back({&stage, &event});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const placed_event& a, const placed_event& b) { return a.what->first < b.what->first; });
  return all;
}

}  // namespace

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

json stage_json(const stage_entry& stage, const job_record* job) {
  return {{"name", stage.name},
          {"stage_key", stage.stage_key},
          {"state", stage.state},
          {"source", stage.source},
          {"error", stage.error},
          {"queue_seconds", stage.queue_seconds},
          {"compile_seconds", stage.compile_seconds},
          {"attempts", job ? job->attempts : 0},
          {"subscribers", job ? job->subscribers.size() : 0}};
}

json life_json(const graph_entry& graph, time_point now) {
  json events = json::array();
  for (const auto& [stage, e] : events_of(graph)) {
    events.push_back({{"seconds", seconds_between(graph.first_asked, e->first)},
                      {"stage", stage->name},
                      {"stage_key", stage->stage_key},
                      {"step", to_string(e->step)},
                      {"who", e->who},
                      {"text", e->text},
                      {"took_seconds", e->seconds},
                      {"count", e->count},
                      {"last_seconds", seconds_between(graph.first_asked, e->last)},
                      {"phases", e->phases}});
  }
  std::uint64_t dropped = 0;
  for (const auto& stage : graph.stages) dropped += stage.life.dropped();
  return {{"graph_key", graph.graph_key},
          {"name", graph.name},
          {"spaces", graph.spaces},
          {"lookups", graph.lookups},
          {"age_seconds", seconds_between(graph.first_asked, now)},
          {"asked_seconds_ago", seconds_between(graph.last_asked, now)},
          {"parts", graph.parts},
          {"events", std::move(events)},
          {"dropped", dropped}};
}

json neighbour_json(const neighbour& n) {
  json differ = json::array();
  for (const auto& d : n.differ) differ.push_back({{"part", d.part}, {"here", d.here}, {"there", d.there}});
  return {{"graph_key", n.graph_key}, {"name", n.graph_name}, {"stage", n.stage},
          {"stage_key", n.stage_key}, {"equal", n.equal},     {"differ", std::move(differ)}};
}

}  // namespace fxfarm::actors
