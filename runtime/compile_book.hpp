#pragma once
// How long compiles took, so that what takes long is begun early and whoever finds the farm full is told when to come
// again; and which limit of memory they passed, so that they go to workers that allow more.

#include "runtime/limits.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

namespace fxfarm {

class compile_book {
public:
  explicit compile_book(std::size_t entries_max = limits::durations_kept_max) : entries_max_(entries_max) {}

  // A compile of that graph and stage took so many seconds, not negative; past the bound the oldest entry is forgotten.
  void took(const std::string& graph_key, const std::string& stage, double seconds);
  // What it took the last time, or what compiles of all kinds lately took; 0 when nothing is known.
  double expected(const std::string& graph_key, const std::string& stage) const;

  // A compile of that graph and stage passed a limit of so many bytes. Past the bound the oldest entry is forgotten.
  void passed_memory(const std::string& graph_key, const std::string& stage, std::uint64_t limit_bytes);
  // The largest limit that it is known to have passed; 0: none.
  std::uint64_t memory_above(const std::string& graph_key, const std::string& stage) const;

  // When `queued` jobs are likely to have left the queue for `slots`, within limits::busy_retry_min and _max.
  std::chrono::milliseconds retry_after(std::size_t queued, std::uint64_t slots) const;

private:
  // Keys are hashes: an entry is small, and what a collision spoils is an estimate.
  static std::uint64_t key_of(const std::string& graph_key, const std::string& stage);

  std::size_t entries_max_;
  std::unordered_map<std::uint64_t, float> seconds_;
  std::deque<std::uint64_t> order_;  // of seconds_, oldest first
  double recent_ = 0;                // moving average over all
  std::unordered_map<std::uint64_t, std::uint64_t> memory_;
  std::deque<std::uint64_t> memory_order_;  // oldest first
};

}  // namespace fxfarm
