#pragma once
// Whether an engine keeps within its bounds.

#include "runtime/engine_process.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace fxfarm {

class engine_watch {
public:
  // Nothing is watched until `begin`, and after it only what has a bound.
  void begin(const engine_bounds& bounds, pid_t engine);
  bool active() const { return active_; }
  // The bound that the engine has passed, if any; see engine_process::watch.
  std::optional<error> look(pid_t engine, const std::vector<std::string>& directories) const;

private:
  engine_bounds bounds_;
  bool active_ = false;
  std::chrono::milliseconds cpu_before_{0};  // used when it began
};

}  // namespace fxfarm
