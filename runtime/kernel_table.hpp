#pragma once
// Kernels of jobs that are compiled in slots which nobody else wants, as one coordinator knows them: who waits for
// each, and who has it. A plain class: the time is passed in.
//
// Nothing is tried again and nothing is kept: whoever waits for a kernel compiles it itself when it has nothing else
// to do, so one that is lost costs nothing but time. So there are no leases, only a deadline.

#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fxfarm {

class kernel_table {
public:
  // What a worker has asked for.
  struct wanted {
    std::string owner;   // the worker that runs the job
    std::string job;     // that attempt of it
    std::string kernel;  // what the owner calls it, once within the job
  };
  struct lent {
    std::string id;  // as which its compile is known; unique
    wanted what;
    std::string helper;  // the worker that compiles it
    std::string key;     // what its library is signed as
    std::string scope;   // of its job
    time_point until;
  };

  kernel_table(std::string id_prefix, unsigned per_job, std::chrono::milliseconds deadline = limits::kernel_deadline)
      : id_prefix_(std::move(id_prefix)), per_job_(per_job), deadline_(deadline) {}

  // Whether another kernel of that job may be lent: there are not too many, and they have not cost too many engines.
  bool has_room(const std::string& job) const;
  // Workers that would not take one of that scope a moment ago.
  std::set<std::string> unwilling(const std::string& scope) const;
  void refused(const std::string& worker, const std::string& scope) { unwilling_.emplace(scope, worker); }
  // Whoever was unwilling may be willing now.
  void forget_refusals() { unwilling_.clear(); }
  // One of that job has cost its helper the engine.
  void strike(const std::string& job) { ++strikes_[job]; }
  // Jobs that run no longer have no strikes, either.
  template <class F>
  void forget_strikes_unless(F&& runs) {
    std::erase_if(strikes_, [&](const auto& one) { return !runs(one.first); });
  }
  // The id that the next one is to have.
  std::string next_id() const { return id_prefix_ + "-k" + std::to_string(last_ + 1); }
  // It is with the helper. `transfer`: how long its source may take to get there.
  const lent& start(wanted what, const std::string& helper, std::string key, std::string scope, time_point now,
                    std::chrono::milliseconds transfer = {});

  // The one with this id that `helper` has; null: none.
  const lent* find(const std::string& helper, const std::string& id) const;
  // It has ended, however.
  std::optional<lent> finish(const std::string& helper, const std::string& id);
  // All that a worker which is gone had.
  std::vector<lent> worker_lost(const std::string& helper);
  // All whose time is up.
  std::vector<lent> expire(time_point now);

  std::size_t size() const { return lent_.size(); }
  bool empty() const { return lent_.empty(); }
  const text_map<lent>& all() const { return lent_; }  // by id

private:
  template <class F>
  std::vector<lent> take_if(F&& ended);
  lent take(text_map<lent>::iterator at);

  std::string id_prefix_;
  unsigned per_job_;
  std::chrono::milliseconds deadline_;
  std::uint64_t last_ = 0;
  text_map<lent> lent_;
  text_map<unsigned> of_job_;                                // how many
  text_map<unsigned> strikes_;                               // by job
  std::set<std::pair<std::string, std::string>> unwilling_;  // scopes and workers
};

}  // namespace fxfarm
