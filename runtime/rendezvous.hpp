#pragma once
// Highest random weight hashing (Thaler and Ravishankar, 1998): every client picks the same node for a key without
// talking to anyone, and when a node leaves only its own keys move.

#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

// The node that `key` belongs to; empty when there are no nodes. The order of `nodes` does not matter.
std::string rendezvous_pick(std::string_view key, const std::vector<std::string>& nodes);

}  // namespace fxfarm
