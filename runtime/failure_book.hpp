#pragma once
// Stages that have failed for good, remembered for a while, so that the next one who asks is answered at once.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <list>
#include <optional>
#include <string>

namespace fxfarm {

class failure_book {
public:
  explicit failure_book(std::chrono::milliseconds memory = limits::failure_memory,
                        std::size_t entries_max = limits::failures_kept_max)
      : memory_(memory), entries_max_(entries_max) {}

  // Past the bound the oldest is forgotten.
  void remember(const std::string& stage_key, error why, time_point now);
  // Forgets it. False when there was none.
  bool forgive(const std::string& stage_key);
  // Null when there is none, or it is too long ago.
  const error* find(const std::string& stage_key, time_point now) const;
  // Until when it is remembered; nothing when it is not.
  std::optional<time_point> until(const std::string& stage_key) const;

  // What is wrong with this book, for tests; empty when nothing is.
  std::string inconsistency() const;

private:
  struct failure {
    error why;
    time_point until;
    std::list<std::string>::iterator place;  // in order_
  };

  std::chrono::milliseconds memory_;
  std::size_t entries_max_;
  text_map<failure> failures_;
  std::list<std::string> order_;  // oldest first
};

}  // namespace fxfarm
