#include "monitoring/readiness.hpp"

namespace fxfarm::monitoring {

void readiness::lacks(std::string_view part, std::string_view what) {
  std::lock_guard lock(mutex_);
  if (what.empty()) {
    lacking_.erase(std::string(part));
  } else {
    lacking_.insert_or_assign(std::string(part), std::string(what));
  }
  changed_(lacking_.empty());
}

std::map<std::string, std::string> readiness::lacking() const {
  std::lock_guard lock(mutex_);
  return lacking_;
}

}  // namespace fxfarm::monitoring
