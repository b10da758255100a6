#include "runtime/graph_book.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

stage_entry* find_stage(graph_entry& graph, const std::string& stage_key) {
  auto it = std::find_if(graph.stages.begin(), graph.stages.end(),
                         [&](const stage_entry& s) { return s.stage_key == stage_key; });
  return it == graph.stages.end() ? nullptr : &*it;
}

}  // namespace

stage_entry& graph_book::touch(const std::string& graph_key, const std::string& graph_name,
                               const std::string& stage_name, const std::string& stage_key) {
  auto found = index_.find(graph_key);
  if (found == index_.end()) {
    if (order_.size() >= graphs_max_) {
      index_.erase(order_.back().graph_key);
      order_.pop_back();
    }
    order_.push_front({graph_key, graph_name, {}});
    found = index_.emplace(graph_key, order_.begin()).first;
  } else {
    order_.splice(order_.begin(), order_, found->second);
  }
  auto& graph = *found->second;
  if (auto* known = find_stage(graph, stage_key)) return *known;
  // A graph compiled for ever new options or platforms must not grow without end.
  if (graph.stages.size() >= limits::stages_remembered_max) graph.stages.erase(graph.stages.begin());
  graph.stages.push_back({stage_name, stage_key, "looking", {}, {}, 0, 0});
  return graph.stages.back();
}

stage_entry* graph_book::find(const std::string& graph_key, const std::string& stage_key) {
  auto found = index_.find(graph_key);
  return found == index_.end() ? nullptr : find_stage(*found->second, stage_key);
}

}  // namespace fxfarm
