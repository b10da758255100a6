#include "actors/board.hpp"

#include <algorithm>

namespace fxfarm::actors {
namespace {

// Whether the graph has got as far as `stage` (empty: the last of its plan), counting better stages, too.
bool reached(const graph_status& graph, const std::string& stage) {
  const auto& stages = graph.stages;
  auto wanted = stages.end();
  if (stage.empty()) {
    if (!stages.empty()) wanted = std::prev(stages.end());
  } else {
    wanted = std::find_if(stages.begin(), stages.end(), [&](const stage_status& s) { return s.name == stage; });
  }
  return std::any_of(wanted, stages.end(), [](const stage_status& s) { return s.state == stage_state::loaded; });
}

}  // namespace

void board::put(graph_status status) {
  auto shared = std::make_shared<const graph_status>(std::move(status));
  {
    std::lock_guard lock(mutex_);
    graphs_[shared->id] = shared;
  }
  changed_.notify_all();
}

void board::erase(std::uint64_t graph) {
  {
    std::lock_guard lock(mutex_);
    graphs_.erase(graph);
  }
  changed_.notify_all();
}

std::vector<graph_status> board::graphs() const {
  std::lock_guard lock(mutex_);
  std::vector<graph_status> out;
  out.reserve(graphs_.size());
  for (const auto& [id, graph] : graphs_) out.push_back(*graph);
  return out;
}

std::shared_ptr<const graph_status> board::find(std::uint64_t graph) const {
  std::lock_guard lock(mutex_);
  auto it = graphs_.find(graph);
  return it == graphs_.end() ? nullptr : it->second;
}

wait_result board::wait(const std::string& stage, std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  auto over = [&] {
    return std::all_of(graphs_.begin(), graphs_.end(),
                       [&](const auto& g) { return reached(*g.second, stage) || g.second->settled; });
  };
  if (!changed_.wait_for(lock, timeout, over)) return wait_result::timed_out;
  const bool all =
      std::all_of(graphs_.begin(), graphs_.end(), [&](const auto& g) { return reached(*g.second, stage); });
  return all ? wait_result::reached : wait_result::failed;
}

void board::count(const std::string& name, std::uint64_t by) {
  std::lock_guard lock(mutex_);
  counters_[name] += by;
}

std::map<std::string, std::uint64_t> board::stats() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

void board::reset_stats() {
  std::lock_guard lock(mutex_);
  for (auto& [name, value] : counters_) value = 0;
}

}  // namespace fxfarm::actors
