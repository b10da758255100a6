#pragma once
// Whether an engine keeps within its bounds, and how much memory it has.

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
  std::optional<error> look(pid_t engine, const std::vector<std::string>& directories);
  // Only how much memory it has.
  void note_memory(pid_t engine);
  // The most resident memory that was seen since `begin`.
  std::uint64_t memory_peak() const { return memory_peak_; }

private:
  engine_bounds bounds_;
  bool active_ = false;
  std::uint64_t memory_peak_ = 0;
  std::chrono::milliseconds cpu_before_{0};  // used when it began
};

}  // namespace fxfarm
