#include "runtime/compile_book.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace fxfarm {
namespace {

// Weight of one compile in the average: about the last twenty count.
constexpr double recent_weight = 0.05;

}  // namespace

std::uint64_t compile_book::key_of(const std::string& graph_key, const std::string& stage) {
  return text_hash()(graph_key + '/' + stage);
}

compile_book::compile& compile_book::entry(const std::string& graph_key, const std::string& stage) {
  const auto key = key_of(graph_key, stage);
  const auto [it, fresh] = compiles_.try_emplace(key);
  if (!fresh) return it->second;
  order_.push_back(key);
  if (order_.size() > entries_max_) {
    compiles_.erase(order_.front());
    order_.pop_front();
  }
  return it->second;
}

void compile_book::took(const std::string& graph_key, const std::string& stage, double seconds) {
  assert(seconds >= 0);
  recent_ = recent_ < 0 ? seconds : recent_ + recent_weight * (seconds - recent_);
  entry(graph_key, stage).seconds = static_cast<float>(seconds);
}

double compile_book::expected(const std::string& graph_key, const std::string& stage) const {
  const auto it = compiles_.find(key_of(graph_key, stage));
  const bool known = it != compiles_.end() && it->second.seconds >= 0;
  return known ? it->second.seconds : std::max(recent_, 0.0);
}

void compile_book::memory_seen::add(unsigned step) {
  for (auto& weight : weights_) weight *= static_cast<float>(1 - recent_weight);
  weights_[step] += 1;
}

unsigned compile_book::memory_seen::most() const {
  constexpr float left_out = 0.1F;
  const auto all = std::accumulate(weights_.begin(), weights_.end(), 0.0F);
  float above = 0;
  for (auto step = memory_step_last; step > 0; --step) {
    above += weights_[step];
    if (above > left_out * all) return step;
  }
  return 0;
}

void compile_book::had_memory(const std::string& graph_key, const std::string& stage, std::uint64_t bytes, bool done) {
  if (bytes == 0) return;
  const auto step = memory_step_for(bytes);
  auto& known = entry(graph_key, stage).memory_step;
  // One that was not done would have had more.
  known = static_cast<std::uint8_t>(done ? step : std::max<unsigned>(known, step));
  if (!done) return;
  memory_of_all_.add(step);
  if (memory_of_stages_.size() < limits::stages_measured_max || memory_of_stages_.contains(stage))
    memory_of_stages_[stage].add(step);
}

std::uint64_t compile_book::memory_expected(const std::string& graph_key, const std::string& stage) const {
  const auto it = compiles_.find(key_of(graph_key, stage));
  if (it != compiles_.end() && it->second.memory_step > 0) return memory_step_bytes(it->second.memory_step);
  const auto alike = memory_of_stages_.find(stage);
  const auto step = alike == memory_of_stages_.end() ? memory_of_all_.most() : alike->second.most();
  return step == 0 ? limits::job_memory_bytes : memory_step_bytes(step);
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
  const double seconds =
      std::max(recent_, 0.0) * static_cast<double>(queued) / static_cast<double>(std::max<std::uint64_t>(slots, 1));
  const std::chrono::milliseconds most = limits::busy_retry_max, least = limits::busy_retry_min;
  // Compared as numbers: a long queue may overflow a duration.
  if (seconds * 1000 >= static_cast<double>(most.count())) return most;
  return std::max(least, std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)));
}

}  // namespace fxfarm
