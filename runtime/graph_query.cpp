#include "runtime/graph_query.hpp"

#include "runtime/keys.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

template <class Value>
double longest(const graph_entry& graph, const graph_query& query, Value&& value) {
  double most = 0;
  for (const auto& stage : graph.stages) {
    if (shows(query, stage)) most = std::max(most, value(stage));
  }
  return most;
}

bool wanted(const graph_entry& graph, const graph_query& query) {
  if (graph.name.find(query.name) == std::string::npos) return false;
  const auto any = [&](auto&& is_so) { return std::any_of(graph.stages.begin(), graph.stages.end(), is_so); };
  const bool key_fits = graph.graph_key.starts_with(query.key) || plain_key(graph.graph_key).starts_with(query.key) ||
                        any([&](const stage_entry& s) { return s.stage_key.starts_with(query.key); });
  if (!key_fits) return false;
  if (query.state.empty() && query.stage.empty()) return true;
  return any([&](const stage_entry& s) { return shows(query, s) && (query.state.empty() || s.state == query.state); });
}

template <class Value>
void sort_by(std::vector<const graph_entry*>& graphs, Value&& value) {
  std::stable_sort(graphs.begin(), graphs.end(),
                   [&](const graph_entry* a, const graph_entry* b) { return value(*a) > value(*b); });
}

}  // namespace

bool shows(const graph_query& query, const stage_entry& stage) {
  return query.stage.empty() || stage.name == query.stage;
}

std::vector<const graph_entry*> select(const graph_book& book, const graph_query& query) {
  std::vector<const graph_entry*> found;
  for (const auto& graph : book.graphs()) {
    if (wanted(graph, query)) found.push_back(&graph);
  }
  if (query.sort == "compile") {
    sort_by(found, [&](const graph_entry& g) {
      return longest(g, query, [](const stage_entry& s) { return s.compile_seconds; });
    });
  } else if (query.sort == "queue") {
    sort_by(found, [&](const graph_entry& g) {
      return longest(g, query, [](const stage_entry& s) { return s.queue_seconds; });
    });
  } else if (query.sort == "lookups") {
    sort_by(found, [](const graph_entry& g) { return g.lookups; });
  } else if (query.sort == "name") {
    std::stable_sort(found.begin(), found.end(),
                     [](const graph_entry* a, const graph_entry* b) { return a->name < b->name; });
  }
  if (found.size() > query.limit) found.resize(query.limit);
  return found;
}

}  // namespace fxfarm
