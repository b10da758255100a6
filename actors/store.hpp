#pragma once
// The store behind an actor, so that disk and remote tiers never hold up the coordinator.

#include "actors/messages.hpp"
#include "runtime/shared_tier.hpp"

#include <unordered_map>

#include <caf/replies_to.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

namespace fxfarm::actors {

using store_actor = caf::typed_actor<caf::replies_to<store_read>::with<store_found>,
                                     caf::replies_to<store_write>::with<store_written>, caf::reacts_to<store_remove>>;
// With what the shared tier tells it.
using shared_store_actor = store_actor::extend<caf::reacts_to<store_shared>>;

struct store_state {
  store_state() = default;
  static inline const char* name = "store";

  std::uint64_t questions = 0;
  std::unordered_map<std::uint64_t, caf::typed_response_promise<store_found>> asked;  // of the shared tier
};

// `shared`: null when there is none. The tiers of this coordinator come first; only what they miss is asked of it, and
// meanwhile others are answered.
shared_store_actor::behavior_type store_behavior(shared_store_actor::stateful_pointer<store_state> self,
                                                 std::shared_ptr<store> where, std::shared_ptr<shared_tier> shared);

}  // namespace fxfarm::actors
