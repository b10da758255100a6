// What people ask about a job that waits. Linear in jobs and workers: for a question, not for a decision.

#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {

std::size_t scheduler::ahead_of(const std::string& job) const {
  const auto* found = waiting(job);
  if (!found) return 0;
  const auto* mine = found->in;
  const auto& at = found->at->first;
  const auto competes = [&](const job_class& other) {
    return &other == mine->of || std::any_of(other.pools.begin(), other.pools.end(), [&](const pool* p) {
      const auto& my_pools = mine->of->pools;
      return std::find(my_pools.begin(), my_pools.end(), p) != my_pools.end();
    });
  };
  std::size_t ahead = 0;
  for (const auto& [name, c] : classes_) {
    if (!competes(*c)) continue;
    for (const auto& [rank, l] : c->lanes) {
      if (rank > mine->in->rank) break;
      for (const auto& [tenant, line] : l.lines) {
        if (rank < mine->in->rank) {
          ahead += line.jobs.size();
        } else {
          ahead += static_cast<std::size_t>(
              std::count_if(line.jobs.begin(), line.jobs.end(), [&](const auto& j) { return j.first < at; }));
        }
      }
    }
  }
  return ahead;
}

scheduler::shortage scheduler::shortage_of(const std::string& job) const {
  shortage out;
  const auto* found = waiting(job);
  if (!found) return out;
  const auto& c = *found->in->of;
  if (can_start(c)) return out;
  if (c.keeps) out.kept = *c.keeps->id;
  const auto some = [&](rung from) {
    return std::any_of(c.pools.begin(), c.pools.end(), [&](const pool* p) { return p->takers(c).reaches(from); });
  };
  if (c.memory_step > 0 && (c.keeps || some(0)) && !some(c.from)) out.memory_bytes = memory_step_bytes(c.memory_step);
  for (const auto* w : avoided_by(c)) {
    if (!w->kept_for && starts_on(c, *w)) out.avoids.push_back(*w->id);
  }
  return out;
}

std::size_t scheduler::busy_of(const std::string& worker) const {
  auto it = workers_.find(worker);
  return it == workers_.end() ? 0 : it->second.jobs.size();
}

std::uint64_t scheduler::slots_for(const platform& target, std::uint64_t memory_above, bool measures) const {
  std::map<const pool*, bool> fits;
  std::uint64_t slots = 0;
  for (const auto& [id, w] : workers_) {
    if (w.in == nullptr) continue;
    auto known = fits.find(w.in);
    if (known == fits.end()) {
      known = fits.emplace(w.in, static_cast<bool>(can_take(*w.in, target, memory_above, measures))).first;
    }
    if (known->second) slots += measures ? std::min(w.offer.slots, w.offer.gpus) : w.offer.slots;
  }
  return slots;
}

}  // namespace fxfarm
