#include "runtime/graph_book.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

stage_entry* find_stage(graph_entry& graph, const std::string& stage_key) {
  auto it = std::find_if(graph.stages.begin(), graph.stages.end(),
                         [&](const stage_entry& s) { return s.stage_key == stage_key; });
  return it == graph.stages.end() ? nullptr : &*it;
}

std::size_t bytes_of(const std::map<std::string, std::string>& texts) {
  std::size_t bytes = 0;
  // A node of the map is its pair and about four words.
  for (const auto& text : texts) bytes += sizeof text + 4 * sizeof(void*) + text.first.size() + text.second.size();
  return bytes;
}

std::size_t bytes_of(const stage_entry& s) {
  return sizeof s + s.name.size() + s.stage_key.size() + bytes_of(s.options) + s.life.bytes();
}

std::size_t bytes_of(const graph_entry& g) {
  std::size_t bytes = sizeof g + g.graph_key.size() + g.name.size() + bytes_of(g.parts);
  for (const auto& space : g.spaces) bytes += sizeof space + 4 * sizeof(void*) + space.size();
  for (const auto& stage : g.stages) bytes += bytes_of(stage);
  return bytes;
}

std::map<std::string, std::string> bounded(const std::map<std::string, std::string>& parts) {
  std::map<std::string, std::string> out;
  for (const auto& [name, digest] : parts) {
    if (out.size() >= limits::key_parts_max) break;
    out.emplace(name.substr(0, limits::key_part_bytes_max), digest.substr(0, limits::key_part_bytes_max));
  }
  return out;
}

}  // namespace

stage_entry& graph_book::touch(const std::string& graph_key, const std::string& graph_name,
                               const std::string& stage_name, const std::string& stage_key) {
  auto found = index_.find(graph_key);
  if (found == index_.end()) {
    if (order_.size() >= graphs_max_) forget_oldest();
    order_.push_front({graph_key, graph_name, {}});
    bytes_ += bytes_of(order_.front());
    found = index_.emplace(graph_key, order_.begin()).first;
  } else {
    order_.splice(order_.begin(), order_, found->second);
  }
  while (bytes_ > bytes_max_ && order_.size() > 1) forget_oldest();
  auto& graph = *found->second;
  if (auto* known = find_stage(graph, stage_key)) return *known;
  // A graph compiled for ever new options or platforms must not grow without end.
  if (graph.stages.size() >= limits::stages_remembered_max) {
    bytes_ -= bytes_of(graph.stages.front());
    graph.stages.erase(graph.stages.begin());
  }
  auto& made = graph.stages.emplace_back(stage_entry{stage_name, stage_key, "looking", {}, {}});
  bytes_ += bytes_of(made);
  return made;
}

void graph_book::forget_oldest() {
  bytes_ -= bytes_of(order_.back());
  index_.erase(order_.back().graph_key);
  order_.pop_back();
}

stage_entry* graph_book::find(const std::string& graph_key, const std::string& stage_key) {
  auto found = index_.find(graph_key);
  return found == index_.end() ? nullptr : find_stage(*found->second, stage_key);
}

void graph_book::asked(const std::string& graph_key, const std::string& space,
                       const std::map<std::string, std::string>& parts, time_point now) {
  auto found = index_.find(graph_key);
  if (found == index_.end()) return;
  auto& graph = *found->second;
  if (graph.lookups++ == 0) graph.first_asked = now;
  graph.last_asked = now;
  const bool new_space = graph.spaces.size() < limits::spaces_remembered_max && !graph.spaces.contains(space);
  const bool new_parts = graph.parts.empty() && !parts.empty();
  if (!new_space && !new_parts) return;
  bytes_ -= bytes_of(graph);
  if (new_space) graph.spaces.insert(space);
  if (new_parts) graph.parts = bounded(parts);
  bytes_ += bytes_of(graph);
}

void graph_book::covers(stage_entry& stage, const std::shared_ptr<const platform>& target,
                        const std::map<std::string, std::string>& options) {
  if (stage.target) return;
  bytes_ -= bytes_of(stage);
  stage.target = target;
  stage.options = options;
  bytes_ += bytes_of(stage);
}

void graph_book::note(stage_entry& stage, life_step step, time_point now, const life_note& what) {
  bytes_ += static_cast<std::uint64_t>(stage.life.add(step, now, what));
}

void graph_book::note(const std::string& graph_key, const std::string& stage_key, life_step step, time_point now,
                      const life_note& what) {
  if (auto* stage = find(graph_key, stage_key)) note(*stage, step, now, what);
}

}  // namespace fxfarm
