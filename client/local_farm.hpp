#pragma once
// Starting the local farm of this user and host.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace fxfarm {

// Runs `command`, which detaches itself from us (`fxfarm local --detach`) and ends at once when another local farm
// already serves the socket; so any number of processes may call this at any time. Returns when the command's first
// process has ended; one that has not by `patience` is ended. Errors: engine_start-like failures as `io` (it cannot be
// run) or `timeout`.
result<void> start_local_farm(const std::vector<std::string>& command,
                              std::chrono::milliseconds patience = limits::local_start_max);

// The same on a thread of its own, which calls `done` at its end and which nobody waits for: `done` must bear being
// called after the caller is gone. Where no thread can be had, `done` is called at once.
void start_local_farm_apart(std::vector<std::string> command, std::function<void(result<void>)> done);

}  // namespace fxfarm
