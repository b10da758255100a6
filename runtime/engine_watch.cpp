#include "runtime/engine_watch.hpp"

#include "runtime/limits.hpp"
#include "runtime/process_usage.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

bool passes(std::uint64_t used, std::uint64_t allowed) {
  return allowed > 0 && used > allowed;
}

error past(errc code, const std::string& what, std::uint64_t used, std::uint64_t allowed) {
  return {code, what + ": " + std::to_string(used) + ", " + std::to_string(allowed) + " are allowed"};
}

}  // namespace

void engine_watch::begin(const engine_bounds& bounds, pid_t engine) {
  bounds_ = bounds;
  active_ = bounds.memory_bytes > 0 || bounds.cpu_time.count() > 0 || bounds.processes > 0 || bounds.disk_bytes > 0 ||
            bounds.memory_noted;
  memory_peak_ = 0;
  if (bounds.cpu_time.count() > 0) cpu_before_ = usage_of(engine).cpu;
}

std::optional<error> engine_watch::look(pid_t engine, const std::vector<std::string>& directories) {
  if (!active_) return std::nullopt;
  const auto used = usage_of(engine);
  memory_peak_ = std::max(memory_peak_, used.resident_bytes);
  // First: many processes have much memory, too.
  if (passes(used.processes, bounds_.processes)) {
    return past(errc::too_large, "processes of the engine", used.processes, bounds_.processes);
  }
  const auto threads_allowed = std::uint64_t{bounds_.processes} * limits::engine_threads_per_process;
  if (passes(used.threads, threads_allowed)) {
    return past(errc::too_large, "threads of the engine", used.threads, threads_allowed);
  }
  if (passes(used.resident_bytes, bounds_.memory_bytes)) {
    return past(errc::memory, "bytes of memory of the engine and its compilers", used.resident_bytes,
                bounds_.memory_bytes);
  }
  const auto cpu = static_cast<std::uint64_t>(std::max<std::int64_t>((used.cpu - cpu_before_).count(), 0));
  const auto cpu_allowed = static_cast<std::uint64_t>(bounds_.cpu_time.count());
  if (passes(cpu, cpu_allowed)) return past(errc::deadline, "milliseconds of CPU time of the job", cpu, cpu_allowed);
  if (bounds_.disk_bytes == 0) return std::nullopt;
  const auto taken = disk_usage(directories, bounds_.disk_bytes);
  if (passes(taken, bounds_.disk_bytes)) {
    return past(errc::too_large, "bytes of files of the engine", taken, bounds_.disk_bytes);
  }
  return std::nullopt;
}

void engine_watch::note_memory(pid_t engine) {
  memory_peak_ = std::max(memory_peak_, usage_of(engine).resident_bytes);
}

}  // namespace fxfarm
