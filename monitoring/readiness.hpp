#pragma once
// Whether a process can do its work now, and what it lacks. Thread-safe.

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace fxfarm::monitoring {

class readiness {
public:
  // `changed` is called, under the lock, with whether anything lacks now.
  explicit readiness(std::function<void(bool ready)> changed = [](bool) {}) : changed_(std::move(changed)) {}

  // That part of the process lacks `what`; nothing when it is empty. The last word on a part counts.
  void lacks(std::string_view part, std::string_view what);
  // Part -> what it lacks; empty: the process is ready.
  std::map<std::string, std::string> lacking() const;

private:
  mutable std::mutex mutex_;
  std::function<void(bool)> changed_;
  std::map<std::string, std::string> lacking_;  // guarded by mutex_
};

}  // namespace fxfarm::monitoring
