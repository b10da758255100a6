#pragma once
// Decides which queued job goes to which worker. A plain class: no clock, no socket; `order` is what the caller counts
// up.
//
// Jobs are ordered by stage rank (a first stage before anyone's second), then by age. A job goes to the fitting worker
// with the most free slots.

#include "runtime/platform.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace fxfarm {

class scheduler {
public:
  struct worker_offer {
    platform runs_on;
    unsigned slots = 0;
    unsigned taken = 0;  // of these, by jobs that this scheduler has not assigned
    bool draining = false;
    std::string problem;  // why there are no slots, when that is a fault

    // Connected, but its engines have not said yet what they are.
    bool starting() const { return runs_on.torch.empty() && problem.empty() && !draining; }
  };
  struct request {
    std::string job;  // unique
    platform target;
    unsigned rank = 0;  // 0: a graph's first stage
  };
  struct assignment {
    std::string job;
    std::string worker;
  };
  struct worker_view {
    std::string id;
    worker_offer offer;
    unsigned busy = 0;
  };

  // A new worker, or a change of what it offers; jobs that it runs stay counted.
  void set_worker(const std::string& id, worker_offer offer);
  // Its slots are gone; the caller deals with the jobs it ran.
  void remove_worker(const std::string& id);

  // Success when some worker that takes jobs could compile for `target`, busy or not, or one is still starting.
  // Otherwise `no_worker` with what was missing.
  result<void> check_fit(const platform& target) const;

  void enqueue(request r);
  // False when it was not queued.
  bool cancel(const std::string& job);
  // Everything that can start now; each assignment occupies a slot until `release`.
  std::vector<assignment> assign();
  // A slot that a job has which was not assigned here.
  void occupy(const std::string& worker);
  void release(const std::string& worker);

  // Queued jobs that no worker could take even if it were idle, with the reason.
  std::vector<std::pair<std::string, error>> unplaceable() const;

  std::size_t queued() const { return queued_.size(); }
  unsigned free_slots() const;
  std::vector<worker_view> workers() const;

private:
  // Jobs for equal targets share a class, so that fitting is decided once for all of them.
  using queue_position = std::pair<unsigned, std::uint64_t>;  // rank, arrival
  struct job_class {
    platform target;
    std::map<queue_position, std::string> queue;
  };
  struct worker {
    worker_offer offer;
    unsigned busy = 0;
    unsigned free() const {
      const auto used = busy + std::min(offer.taken, offer.slots);
      return offer.draining || used >= offer.slots ? 0 : offer.slots - used;
    }
  };

  std::map<std::string, worker>::iterator best_worker(const platform& target);

  std::map<std::string, worker> workers_;
  std::map<std::string, job_class> classes_;
  std::unordered_map<std::string, std::pair<std::string, queue_position>> queued_;  // job -> its class and position
  std::uint64_t arrivals_ = 0;
};

// What a worker is to people and metrics.
enum class worker_state { starting, idle, busy, draining, unavailable };
worker_state state_of(const scheduler::worker_view& w);
std::string_view to_string(worker_state s);

}  // namespace fxfarm
