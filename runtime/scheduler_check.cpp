// Whether the scheduler's books agree with each other, for tests.

#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {

std::string scheduler::inconsistency() const {
  for (const auto part : {&scheduler::wrong_with_workers, &scheduler::wrong_with_pools, &scheduler::wrong_with_queue,
                          &scheduler::wrong_with_spaces}) {
    if (auto wrong = (this->*part)(); !wrong.empty()) return wrong;
  }
  return "";
}

std::string scheduler::wrong_with(const worker& w) {
  const std::string name = "worker " + *w.id;
  std::size_t measuring = 0;
  std::uint64_t memory = 0;
  for (std::size_t i = 0; i < w.jobs.size(); ++i) {
    const auto& job = *w.jobs[i];
    if (job.by != &w || job.in || job.index != i) return name + " runs " + *job.id + ", which does not run";
    measuring += job.measures;
    memory += job.memory_bytes;
  }
  if (memory != w.memory_used) return name + " does not count the memory that is taken";
  if (measuring != w.measuring) return name + " does not count the GPUs that are taken";
  if ((w.in != nullptr) != w.offer.takes_jobs()) return name + " is in no pool, or should not be";
  if (w.in && w.in->free.contains(w) != (w.free() > 0 && !w.kept_for))
    return name + " is wrongly free or full in its pool";
  if (w.in && w.in->free_to_measure.contains(w) != (w.free_to_measure() && !w.kept_for))
    return "a GPU of " + name + " is wrongly free or taken in its pool";
  if (w.kept_for && (w.kept_for->keeps != &w || !w.in)) return name + " is kept for nobody";
  return "";
}

std::string scheduler::wrong_with_workers() const {
  std::array<std::size_t, worker_states> states{};
  std::uint64_t slots = 0, free_slots = 0;
  std::size_t occupied_slots = 0, kept = 0;
  for (const auto& [id, w] : workers_) {
    if (auto wrong = wrong_with(w); !wrong.empty()) return wrong;
    ++states[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
    if (w.offer.takes_jobs()) slots += w.offer.slots;
    free_slots += w.free();
    occupied_slots += w.jobs.size();
    kept += w.kept_for != nullptr;
    if (w.kept_told != w.kept_as() && std::find(kept_changed_.begin(), kept_changed_.end(), &w) == kept_changed_.end())
      return "nobody is told whether worker " + id + " is kept";
    if (w.full != full_.contains(id)) return "worker " + id + " is wrongly held for full";
  }
  for (const auto& [name, c] : classes_) {
    if (c->keeps && c->keeps->kept_for != c.get()) return "a class keeps a worker that is another's";
    kept -= c->keeps != nullptr;
  }
  if (kept != 0) return "kept workers are not those of the classes";
  if (states != states_) return "workers are not counted by their states";
  if (slots != slots_ || free_slots != free_slots_) return "slots are not counted";
  return occupied_slots == running_ ? "" : "occupied slots are not the running jobs";
}

std::string scheduler::wrong_with_pools() const {
  std::unordered_map<const pool*, std::size_t> members;
  std::unordered_map<const pool*, std::array<std::size_t, memory_steps>> sizes;
  for (const auto& [id, w] : workers_) {
    if (!w.in) continue;
    ++members[w.in];
    ++sizes[w.in][w.size()];
  }
  for (const auto& [name, p] : pools_) {
    if (p->workers == 0 || members[p.get()] != p->workers) return "a pool does not know its workers";
    if (sizes[p.get()] != p->sizes) return "a pool does not know the memory of its workers";
    const auto larger = p->sizes.begin() + p->largest + 1;
    if (p->sizes[p->largest] == 0 || std::any_of(larger, p->sizes.end(), [](auto n) { return n > 0; }))
      return "a pool does not know the largest of its workers";
    for (const auto* rungs : {&p->free, &p->free_to_measure}) {
      if (!rungs->is_consistent()) return "a pool does not know where workers are free";
    }
    const auto fits = std::count_if(classes_.begin(), classes_.end(),
                                    [&at = *p](const auto& c) { return can_take(at, *c.second).ok(); });
    if (p->classes.size() != static_cast<std::size_t>(fits)) return "a pool does not know its classes";
  }
  return "";
}

std::string scheduler::wrong_with_queue() const {
  std::size_t waiting = 0, avoiding = 0;
  for (const auto& [name, c] : classes_) {
    std::size_t in_lanes = 0;
    for (const auto& [rank, in] : c->lanes) {
      if (in.rank != rank || in.lines.empty() || in.lines.size() != in.order.size())
        return "a lane's order is not that of its lines";
      for (const auto& [whose, l] : in.lines) {
        if (l.jobs.empty() || l.whose != whose || l.of != c.get() || l.in != &in) return "a line is misplaced";
        if (l.first != l.jobs.begin()->first.since) return "a line does not know its first job";
        if (whose->lines.at(l.index) != std::pair(const_cast<line*>(&l), l.at.first))
          return "a space does not know where its lines are";
        const auto [runs, since] = turn_of(l);
        if (!l.moved && (runs < l.at.first || since < l.at.second || l.at.first > whose->placed_at))
          return "a line is behind its turn";
        const auto placed = in.order.find(l.at);
        if (placed == in.order.end() || placed->second != &l) return "a line is out of turn";
        in_lanes += l.jobs.size();
      }
    }
    if (in_lanes == 0 || in_lanes != c->by_age.size()) return "a class does not count its jobs";
    if (c->oldest != c->by_age.begin()->first) return "a class does not know its oldest job";
    auto again = job_class();
    again.memory_step = c->memory_step;
    again.pools = c->pools;
    size_up(again);
    if (c->size != again.size || c->from != again.from) return "a class does not know what it takes";
    avoiding += std::find(avoiding_.begin(), avoiding_.end(), c.get()) != avoiding_.end();
    if (can_start(*c) && !c->ready) return "a class could start a job, and will not be looked at";
    if (c->ready != (std::find(ready_.begin(), ready_.end(), c.get()) != ready_.end()))
      return "a class is wrongly ready";
    waiting += in_lanes;
  }
  if (avoiding != avoiding_.size()) return "a class that avoids workers is gone and known";
  return waiting == queued() ? "" : "queued jobs are not those of the classes";
}

std::string scheduler::wrong_with_spaces() const {
  std::unordered_map<const tenant*, std::size_t> running;
  std::size_t lines = 0;
  for (const auto& [id, job] : jobs_) {
    if (*job.id != id || (job.in == nullptr) == (job.by == nullptr)) return "job " + id + " neither waits nor runs";
    if (job.in && job.in->whose != job.whose) return "job " + id + " waits for another space";
    running[job.whose] += job.by != nullptr;
  }
  for (const auto& [name, c] : classes_) {
    for (const auto& [rank, in] : c->lanes) lines += in.lines.size();
  }
  for (const auto& [space, t] : tenants_) {
    if (t.running != running[&t]) return "space " + space + " does not count what it runs";
    if (t.running == 0 && t.lines.empty()) return "space " + space + " has nothing and is kept";
    lines -= t.lines.size();
  }
  return lines == 0 ? "" : "lines are not those of the spaces";
}

}  // namespace fxfarm
