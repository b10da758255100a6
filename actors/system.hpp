#pragma once
// How every role runs CAF: the `sharing` policy costs nothing when idle, and few threads are enough since sockets,
// engines and disks have their own.

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

namespace fxfarm::actors {

class system_config : public caf::actor_system_config {
public:
  explicit system_config(std::size_t threads) {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", threads);
  }
};

}  // namespace fxfarm::actors
