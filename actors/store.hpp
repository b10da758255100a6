#pragma once
// The store behind an actor, so that disk and remote tiers never hold up the coordinator.

#include "actors/messages.hpp"

#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

using store_actor = caf::typed_actor<caf::replies_to<store_read>::with<store_found>,
                                     caf::replies_to<store_write>::with<store_written>, caf::reacts_to<store_remove>>;

store_actor::behavior_type store_behavior(store_actor::pointer self, std::shared_ptr<store> where);

}  // namespace fxfarm::actors
