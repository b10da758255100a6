#include "runtime/graph_neighbour.hpp"

#include <map>

namespace fxfarm {
namespace {

using parts = std::map<std::string, std::string>;

// What the stage's key covers, less the salt, which all keys of a farm have in common.
parts parts_of(const graph_entry& graph, const stage_entry& stage) {
  parts all;
  for (const auto& [name, digest] : graph.parts) all.emplace("graph." + name, digest);
  // A client that says no parts leaves the key as the one part of its graph.
  if (graph.parts.empty()) all.emplace("graph", graph.graph_key);
  for (const auto& [name, value] : stage.options) all.emplace("options." + name, value);
  if (!stage.target) return all;
  platform::fields(*stage.target, [&](std::string_view name, const auto& value) {
    auto& text = all["platform." + std::string(name)];
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      text = std::to_string(value);
    } else {
      text = value;
    }
  });
  return all;
}

std::size_t equal_in(const parts& a, const parts& b) {
  std::size_t equal = 0;
  for (const auto& [name, value] : a) {
    auto other = b.find(name);
    if (other != b.end() && other->second == value) ++equal;
  }
  return equal;
}

std::vector<part_difference> differences(const parts& here, const parts& there) {
  std::map<std::string, part_difference> out;
  for (const auto& [name, value] : here) out[name] = {name, value, {}};
  for (const auto& [name, value] : there) {
    auto& d = out[name];
    d.part = name;
    d.there = value;
  }
  std::vector<part_difference> all;
  for (auto& [name, d] : out) {
    if (d.here != d.there) all.push_back(std::move(d));
  }
  return all;
}

// Nothing when it has no event any more.
const life_event* beginning(const stage_entry& stage) {
  return stage.life.events().empty() ? nullptr : &stage.life.events().front();
}

}  // namespace

std::optional<neighbour> nearest(const graph_book& book, const graph_entry& graph, const stage_entry& stage) {
  const auto here = parts_of(graph, stage);
  const auto* asked = beginning(stage);
  if (asked == nullptr) return std::nullopt;
  std::optional<neighbour> best;
  parts of_best;
  for (const auto& g : book.graphs()) {
    for (const auto& s : g.stages) {
      const auto* known = beginning(s);
      if (known == nullptr || known->first >= asked->first || s.stage_key == stage.stage_key) continue;
      auto there = parts_of(g, s);
      const auto equal = equal_in(here, there);
      if (equal <= (best ? best->equal : 0)) continue;
      best = neighbour{g.graph_key, g.name, s.name, s.stage_key, equal};
      of_best = std::move(there);
    }
  }
  if (best) best->differ = differences(here, of_best);
  return best;
}

}  // namespace fxfarm
