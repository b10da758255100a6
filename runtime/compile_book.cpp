#include "runtime/compile_book.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {
namespace {

// Weight of one compile in the average: about the last twenty count.
constexpr double recent_weight = 0.05;

}  // namespace

std::uint64_t compile_book::key_of(const std::string& graph_key, const std::string& stage) {
  return std::hash<std::string>()(graph_key + '/' + stage);
}

void compile_book::took(const std::string& graph_key, const std::string& stage, double seconds) {
  assert(seconds >= 0);
  recent_ = seconds_.empty() ? seconds : recent_ + recent_weight * (seconds - recent_);
  const auto key = key_of(graph_key, stage);
  if (seconds_.insert_or_assign(key, static_cast<float>(seconds)).second) order_.push_back(key);
  if (order_.size() <= entries_max_) return;
  seconds_.erase(order_.front());
  order_.pop_front();
}

double compile_book::expected(const std::string& graph_key, const std::string& stage) const {
  auto it = seconds_.find(key_of(graph_key, stage));
  return it == seconds_.end() ? recent_ : it->second;
}

void compile_book::passed_memory(const std::string& graph_key, const std::string& stage, std::uint64_t limit_bytes) {
  const auto key = key_of(graph_key, stage);
  const auto [it, fresh] = memory_.try_emplace(key, limit_bytes);
  it->second = std::max(it->second, limit_bytes);
  if (fresh) memory_order_.push_back(key);
  if (memory_order_.size() <= entries_max_) return;
  memory_.erase(memory_order_.front());
  memory_order_.pop_front();
}

std::uint64_t compile_book::memory_above(const std::string& graph_key, const std::string& stage) const {
  auto it = memory_.find(key_of(graph_key, stage));
  return it == memory_.end() ? 0 : it->second;
}

std::chrono::milliseconds compile_book::retry_after(std::size_t queued, std::uint64_t slots) const {
  const double seconds = recent_ * static_cast<double>(queued) / static_cast<double>(std::max<std::uint64_t>(slots, 1));
  const std::chrono::milliseconds most = limits::busy_retry_max, least = limits::busy_retry_min;
  // Compared as numbers: a long queue may overflow a duration.
  if (seconds * 1000 >= static_cast<double>(most.count())) return most;
  return std::max(least, std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)));
}

}  // namespace fxfarm
