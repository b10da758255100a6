// Whether the scheduler's books agree with each other, for tests.

#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {

std::string scheduler::inconsistency() const {
  std::array<std::size_t, worker_states> states{};
  std::uint64_t slots = 0, free_slots = 0;
  std::size_t occupied_slots = 0;
  std::size_t kept = 0;
  std::unordered_map<const pool*, std::size_t> members;
  std::unordered_map<const pool*, std::array<std::size_t, memory_steps>> sizes;
  for (const auto& [id, w] : workers_) {
    ++states[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
    if (w.offer.takes_jobs()) slots += w.offer.slots;
    free_slots += w.free();
    occupied_slots += w.jobs.size();
    std::size_t measuring = 0;
    std::uint64_t memory = 0;
    for (const auto& job : w.jobs) {
      auto ran = running_.find(job);
      if (ran == running_.end() || ran->second.by != &w)
        return "worker " + id + " runs " + job + ", which does not run";
      measuring += ran->second.measures;
      memory += ran->second.memory_bytes;
    }
    if (memory != w.memory_used) return "worker " + id + " does not count the memory that is taken";
    if (measuring != w.measuring) return "worker " + id + " does not count the GPUs that are taken";
    if ((w.in != nullptr) != w.offer.takes_jobs()) return "worker " + id + " is in no pool, or should not be";
    if (w.in && w.in->free.contains(const_cast<worker*>(&w)) != (w.free() > 0 && !w.kept_for)) {
      return "worker " + id + " is wrongly free or full in its pool";
    }
    if (w.in && w.in->free_to_measure.contains(const_cast<worker*>(&w)) != (w.free_to_measure() && !w.kept_for)) {
      return "a GPU of worker " + id + " is wrongly free or taken in its pool";
    }
    if (w.kept_for && (w.kept_for->keeps != &w || !w.in)) return "worker " + id + " is kept for nobody";
    kept += w.kept_for != nullptr;
    if (w.in) {
      ++members[w.in];
      ++sizes[w.in][w.size()];
    }
    if (w.full != full_.contains(id)) return "worker " + id + " is wrongly held for full";
  }
  if (states != states_) return "workers are not counted by their states";
  if (slots != slots_ || free_slots != free_slots_) return "slots are not counted";
  if (occupied_slots != running_.size()) return "occupied slots are not the running jobs";

  for (const auto& [name, p] : pools_) {
    if (p->workers == 0 || members[p.get()] != p->workers) return "a pool does not know its workers";
    if (sizes[p.get()] != p->sizes) return "a pool does not know the memory of its workers";
    for (const auto* rungs : {&p->free, &p->free_to_measure}) {
      if (!rungs->is_consistent()) return "a pool does not know where workers are free";
    }
    const auto fits = std::count_if(classes_.begin(), classes_.end(),
                                    [&at = *p](const auto& c) { return can_take(at, *c.second).ok(); });
    if (p->classes.size() != static_cast<std::size_t>(fits)) return "a pool does not know its classes";
  }

  std::size_t queued = 0, lines = 0, avoiding = 0;
  std::unordered_map<const tenant*, std::size_t> running;
  for (const auto& [job, where] : running_) ++running[where.whose];
  for (const auto& [name, c] : classes_) {
    std::size_t in_lanes = 0;
    for (const auto& [rank, in] : c->lanes) {
      if (in.rank != rank || in.lines.empty() || in.lines.size() != in.order.size())
        return "a lane's order is not that of its lines";
      for (const auto& [whose, l] : in.lines) {
        if (l.jobs.empty() || l.whose != whose || l.of != c.get() || l.in != &in) return "a line is misplaced";
        if (!l.moved && l.at != turn_of(l)) return "a line is at another's turn";
        auto placed = in.order.find(l.at);
        if (placed == in.order.end() || placed->second != &l) return "a line is out of turn";
        in_lanes += l.jobs.size();
        ++lines;
      }
    }
    if (in_lanes == 0 || in_lanes != c->by_age.size()) return "a class does not count its jobs";
    if (c->keeps && c->keeps->kept_for != c.get()) return "a class keeps a worker that is another's";
    kept -= c->keeps != nullptr;
    avoiding += std::find(avoiding_.begin(), avoiding_.end(), c.get()) != avoiding_.end();
    if (can_start(*c) && !c->ready) return "a class could start a job, and will not be looked at";
    if (c->ready != (std::find(ready_.begin(), ready_.end(), c.get()) != ready_.end()))
      return "a class is wrongly ready";
    queued += in_lanes;
  }
  if (kept != 0) return "kept workers are not those of the classes";
  if (avoiding != avoiding_.size()) return "a class that avoids workers is gone and known";
  if (queued != queued_.size()) return "queued jobs are not those of the classes";
  for (const auto& [space, t] : tenants_) {
    if (t.running != running[&t]) return "space " + space + " does not count what it runs";
    if (t.running == 0 && t.lines.empty()) return "space " + space + " has nothing and is kept";
    lines -= t.lines.size();
  }
  return lines == 0 ? "" : "lines are not those of the spaces";
}

}  // namespace fxfarm
