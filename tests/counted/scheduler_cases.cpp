// A decision in a farm whose every slot is taken, as bench/micro/scheduler_bench.cpp has it.

#include "farm_of.hpp"
#include "hot_path.hpp"
#include "runtime/scheduler.hpp"

namespace fxfarm::counted {
namespace {

constexpr std::size_t workers = 1'000, slots_each = 4, queued = 10'000, spaces = 50, ranks = 3;

class decision final : public hot_path {
public:
  decision() {
    for (std::size_t i = 0; i < workers; ++i) {
      jobs_.set_worker("worker-" + std::to_string(i), {machines_[i % machines_.size()], slots_each, 0, false, {}});
    }
    // Jobs for a worker's own platform first, so that these take all slots.
    for (std::size_t i = 0; i < workers * slots_each; ++i) enqueue(i % workers % machines_.size());
    start();
    for (std::size_t i = 0; i < queued; ++i) enqueue(i % machines_.size());
    start();
  }

  // A job ends, whatever can start does, and another one comes for the same machines.
  void once() override {
    jobs_.release(std::exchange(running_[pick_ = (pick_ * 21 + 7) % running_.size()], std::move(running_.back())));
    running_.pop_back();
    start();
    enqueue(++at_ % machines_.size());
  }
  std::size_t done() const override { return started_; }

private:
  void enqueue(std::size_t machine) {
    const auto n = ++made_;
    jobs_.enqueue({hex64(n), machines_[machine], static_cast<unsigned>(n % ranks),
                   "space-" + std::to_string(n % spaces), static_cast<double>(n % 97),
                   time_point(std::chrono::milliseconds(n))});
  }
  void start() {
    for (auto& [job, on, memory_bytes] : jobs_.assign()) {
      running_.push_back(std::move(job));
      ++started_;
    }
  }

  const std::vector<platform> machines_ = machines();
  scheduler jobs_;
  std::vector<std::string> running_;
  std::uint64_t made_ = 0;
  std::size_t at_ = 0, pick_ = 0, started_ = 0;
};

}  // namespace

std::vector<counted_case> scheduler_cases() {
  return {{"decision_of_10000_jobs", 1'000, made<decision>}};
}

}  // namespace fxfarm::counted
