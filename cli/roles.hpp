#pragma once
// The roles' composition roots. Each blocks until SIGTERM or SIGINT (cli/signals.hpp), drains, and returns.

#include "runtime/config.hpp"
#include "runtime/error.hpp"

namespace fxfarm::cli {

result<void> run_coordinator(const coordinator_config& config);
result<void> run_worker(const worker_config& config);
// Returns also when it has been idle for config.idle_timeout, and at once when another local farm holds the lock.
result<void> run_local(const local_config& config);

}  // namespace fxfarm::cli
