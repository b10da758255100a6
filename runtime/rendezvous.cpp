#include "runtime/rendezvous.hpp"

#include "runtime/digest.hpp"

namespace fxfarm {

std::string rendezvous_pick(std::string_view key, const std::vector<std::string>& nodes) {
  std::string best, best_weight;
  for (const auto& node : nodes) {
    digest_builder hash;
    hash.field(node).field(key);
    auto weight = hash.finish();
    if (weight <= best_weight) continue;
    best_weight = std::move(weight);
    best = node;
  }
  return best;
}

}  // namespace fxfarm
