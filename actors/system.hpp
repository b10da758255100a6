#pragma once
// How every role runs CAF: the `sharing` policy costs nothing when idle, and few threads are enough since sockets,
// engines and disks have their own.

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/logger.hpp>

namespace fxfarm::actors {

class system_config : public caf::actor_system_config {
public:
  explicit system_config(std::size_t threads) {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", threads);
  }
};

// A thread that makes a system, or spawns in it, holds the system's logger from then on, and the system's end waits
// until it does no longer (CAF 0.17): on another thread for as long as that one lives. From this call on this thread
// holds none.
inline void let_go_of_system() {
  caf::logger::set_current_actor_system(nullptr);
}

}  // namespace fxfarm::actors
