#include "runtime/endpoint_names.hpp"

#include "runtime/limits.hpp"

#include <algorithm>
#include <set>

namespace fxfarm {

endpoint_names::endpoint_names(const std::vector<std::string>& endpoints) {
  for (const auto& endpoint : endpoints) {
    if (endpoint.starts_with(named_scheme)) {
      names_.try_emplace(endpoint.substr(named_scheme.size()));
    } else {
      fixed_.push_back(endpoint);
    }
  }
}

std::vector<std::string> endpoint_names::names() const {
  std::vector<std::string> out;
  for (const auto& [name, state] : names_) out.push_back(name);
  return out;
}

void endpoint_names::answer(const std::string& name, const result<std::vector<std::string>>& endpoints) {
  auto& state = names_.at(name);
  if (!endpoints) {
    state.problem = name + ": " + to_string(endpoints.failure());
    return;
  }
  state.problem.clear();
  for (auto& [endpoint, missed] : state.missed) ++missed;
  for (const auto& endpoint : *endpoints) state.missed[endpoint] = 0;
  std::erase_if(state.missed, [](const auto& known) { return known.second >= limits::name_misses_max; });
}

std::vector<std::string> endpoint_names::endpoints() const {
  std::set<std::string> all(fixed_.begin(), fixed_.end());
  for (const auto& [name, state] : names_) {
    for (const auto& [endpoint, missed] : state.missed) all.insert(endpoint);
  }
  return {all.begin(), all.end()};
}

std::string endpoint_names::problem() const {
  std::string out;
  for (const auto& [name, state] : names_) {
    if (!state.missed.empty() || state.problem.empty()) continue;
    out += (out.empty() ? "" : "; ") + state.problem;
  }
  return out;
}

}  // namespace fxfarm
