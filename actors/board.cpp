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
  return std::any_of(wanted, stages.end(), [](const stage_status& s) {
    return s.state == stage_state::loaded || s.state == stage_state::rolled_back;
  });
}

}  // namespace

void board::add(graph_status status) {
  auto shared = std::make_shared<const graph_status>(std::move(status));
  std::lock_guard lock(mutex_);
  graphs_[shared->id] = shared;
}

void board::update(graph_status status) {
  auto shared = std::make_shared<const graph_status>(std::move(status));
  {
    std::lock_guard lock(mutex_);
    auto it = graphs_.find(shared->id);
    if (it == graphs_.end()) return;
    it->second = std::move(shared);
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
  // Ids grow, so what is submitted meanwhile comes behind these and is not waited for.
  const auto last = graphs_.empty() ? 0 : graphs_.rbegin()->first;
  auto all_of_them = [&](auto&& is_so) {
    return std::all_of(graphs_.begin(), graphs_.upper_bound(last), [&](const auto& g) { return is_so(*g.second); });
  };
  auto is_there = [&](const graph_status& g) { return reached(g, stage); };
  auto is_over = [&](const graph_status& g) { return g.settled || is_there(g); };
  if (!changed_.wait_for(lock, timeout, [&] { return all_of_them(is_over); })) return wait_result::timed_out;
  return all_of_them(is_there) ? wait_result::reached : wait_result::failed;
}

void board::count(const std::string& name, std::uint64_t by) {
  std::lock_guard lock(mutex_);
  counters_[name] += by;
}

std::map<std::string, std::uint64_t> board::totals() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

std::map<std::string, std::uint64_t> board::stats() const {
  std::lock_guard lock(mutex_);
  auto since = counters_;
  for (const auto& [name, before] : at_reset_) since[name] -= before;
  return since;
}

void board::reset_stats() {
  std::lock_guard lock(mutex_);
  at_reset_ = counters_;
}

}  // namespace fxfarm::actors
