#pragma once
// How long compiles took, so that what takes long is begun early and whoever finds the farm full is told when to come
// again; how much memory they had, so that it is there when they begin; and which limit of memory they passed, so that
// they go to workers that allow more.

#include "runtime/limits.hpp"
#include "runtime/memory_steps.hpp"
#include "runtime/text_map.hpp"

#include <array>
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

  // A compile of that graph and stage had so many bytes of memory at most, of which it was done or not. 0: not known.
  void had_memory(const std::string& graph_key, const std::string& stage, std::uint64_t bytes, bool done);
  // How much it is likely to have, in memory_steps: what it had the last time; else as much as nine of ten compiles of
  // that stage lately had, or of all stages where that one is new; else limits::job_memory_bytes.
  std::uint64_t memory_expected(const std::string& graph_key, const std::string& stage) const;

  // A compile of that graph and stage passed a limit of so many bytes. Past the bound the oldest entry is forgotten.
  void passed_memory(const std::string& graph_key, const std::string& stage, std::uint64_t limit_bytes);
  // The largest limit that it is known to have passed; 0: none.
  std::uint64_t memory_above(const std::string& graph_key, const std::string& stage) const;

  // When `queued` jobs are likely to have left the queue for `slots`, within limits::busy_retry_min and _max.
  std::chrono::milliseconds retry_after(std::size_t queued, std::uint64_t slots) const;

private:
  // Of one graph's stage, as far as it is known.
  struct compile {
    float seconds = -1;
    std::uint8_t memory_step = 0;
  };
  // How many compiles lately had memory of which step, the latest weighing most.
  class memory_seen {
  public:
    void add(unsigned step);
    unsigned most() const;  // of nine in ten; 0: nothing is known

  private:
    std::array<float, memory_steps> weights_{};
  };
  // Keys are hashes: an entry is small, and what a collision spoils is an estimate.
  static std::uint64_t key_of(const std::string& graph_key, const std::string& stage);
  compile& entry(const std::string& graph_key, const std::string& stage);

  std::size_t entries_max_;
  std::unordered_map<std::uint64_t, compile> compiles_;
  std::deque<std::uint64_t> order_;  // of compiles_, oldest first
  double recent_ = -1;               // seconds, moving average over all; negative: none was there
  memory_seen memory_of_all_;
  text_map<memory_seen> memory_of_stages_;  // by name
  std::unordered_map<std::uint64_t, std::uint64_t> memory_;
  std::deque<std::uint64_t> memory_order_;  // oldest first
};

}  // namespace fxfarm
