// A decision in a farm whose every slot is taken, or all memory, where that is counted, as
// bench/micro/scheduler_bench.cpp has it.

#include "farm_of.hpp"
#include "hot_path.hpp"
#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm::counted {
namespace {

constexpr std::size_t workers = 1'000, slots_each = 4, queued = 10'000, spaces = 50, ranks = 3;

// Eight needs, as many jobs for each, of which a worker's slots want 9 GiB together on average.
constexpr std::uint64_t needs = 8, need_step = 512ULL << 20, memory_each = 10ULL << 30;

template <bool counts_memory>
class decision final : public hot_path {
public:
  decision() {
    for (std::size_t i = 0; i < workers; ++i) {
      scheduler::worker_offer offer{machines_[i % machines_.size()], slots_each, 0, false, {}};
      if (counts_memory) offer.memory_bytes = memory_each;
      offer.can_be_kept = true;
      jobs_.set_worker("worker-" + std::to_string(i), std::move(offer));
    }
    // Jobs for a worker's own platform first, so that these take all slots.
    for (std::size_t i = 0; i < workers * slots_each; ++i) enqueue(i % workers % machines_.size());
    start();
    for (std::size_t i = 0; i < queued; ++i) enqueue(i % machines_.size());
    start();
    started_ = 0;
  }

  // A job ends, whatever can start does, and another one comes for the same machines.
  void once() override {
    jobs_.release(std::exchange(running_[pick_ = (pick_ * 21 + 7) % running_.size()], std::move(running_.back())));
    running_.pop_back();
    ++ended_;
    start();
    enqueue(++at_ % machines_.size());
  }
  // Where memory is counted none starts now and then, or two; in the long run it is one for each that ends.
  std::size_t done() const override {
    const auto more = std::max(started_, ended_), less = std::min(started_, ended_);
    return counts_memory && 20 * (more - less) <= more ? ended_ : started_;
  }

private:
  void enqueue(std::size_t machine) {
    const auto n = ++made_;
    scheduler::request wanted{hex64(n),
                              machines_[machine],
                              static_cast<unsigned>(n % ranks),
                              "space-" + std::to_string(n % spaces),
                              static_cast<double>(n % 97),
                              time_point(std::chrono::milliseconds(n))};
    if (counts_memory) wanted.memory_bytes = (n / machines_.size() % needs + 1) * need_step;
    jobs_.enqueue(std::move(wanted));
  }
  void start() {
    for (auto& [job, on, memory_bytes, ends_keep] : jobs_.assign()) {
      running_.push_back(std::move(job));
      ++started_;
    }
    changes_told_ += jobs_.kept_changes().size();
  }

  const std::vector<platform> machines_ = machines();
  scheduler jobs_;
  std::vector<std::string> running_;
  std::uint64_t made_ = 0;
  std::size_t at_ = 0, pick_ = 0, started_ = 0, ended_ = 0, changes_told_ = 0;
};

}  // namespace

std::vector<counted_case> scheduler_cases() {
  return {{"decision_of_10000_jobs", 1'000, made<decision<false>>},
          {"decision_with_memory", 1'000, made<decision<true>>}};
}

}  // namespace fxfarm::counted
