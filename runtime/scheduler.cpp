#include "runtime/scheduler.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {

bool scheduler::seat::operator<(const seat& other) const {
  return free != other.free ? free > other.free : number < other.number;
}

scheduler::seat scheduler::seat_of(const worker& w) {
  return {w.free(), w.number, const_cast<worker*>(&w)};
}

std::size_t scheduler::worker::free() const {
  const auto used = jobs.size() + offer.taken;
  return full || !offer.takes_jobs() || used >= offer.slots ? 0 : offer.slots - used;
}

bool scheduler::worker::free_to_measure() const {
  return free() > 0 && measuring + offer.gpus_taken < offer.gpus;
}

// --- workers ---------------------------------------------------------------------------------------------------------

void scheduler::take_out(worker& w) {
  --states_[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
  if (w.offer.takes_jobs()) slots_ -= w.offer.slots;
  free_slots_ -= w.free();
  if (!w.in || w.kept_for || w.free() == 0) return;
  w.in->free.erase(&w);
  if (w.free_to_measure()) w.in->free_to_measure.erase(&w);
}

void scheduler::put_in(worker& w) {
  ++states_[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
  if (w.offer.takes_jobs()) slots_ += w.offer.slots;
  free_slots_ += w.free();
  if (!w.in || w.free() == 0) return;
  if (w.kept_for) return wake(*w.kept_for);
  w.in->free.insert(&w);
  const bool measuring = w.free_to_measure();
  if (measuring) w.in->free_to_measure.insert(&w);
  // Only those that it is enough for: others look no sooner than something changes for them.
  const auto at = w.at();
  for (auto* c : w.in->classes) {
    if (!c->ready && c->from <= at && (measuring || !c->measures)) wake(*c);
  }
}

void scheduler::set_worker(const std::string& id, worker_offer offer) {
  auto [it, fresh] = workers_.try_emplace(id);
  auto& w = it->second;
  if (fresh) {
    w.id = &it->first;
    w.number = {salt_.empty() ? 0 : std::hash<std::string>()(salt_ + id), arrivals_++};
  } else {
    take_out(w);
  }
  auto* before = leave(w);
  const bool others_began = !fresh && offer.memory_taken > w.offer.memory_taken;
  w.offer = std::move(offer);
  w.full = false;
  full_.erase(id);
  join(w, w.offer.takes_jobs() ? &pool_of(w.offer) : nullptr);
  put_in(w);
  if (before) drop_if_empty(before);
  let_go_if_useless(w);
  if (w.kept_for) tell_kept(w);
  if (others_began) count_overtaken_by_others(w);
  // A larger worker, or another one, may be what they should wait for now.
  if (w.in) {
    for (auto* c : w.in->classes) {
      if (c->keeps) let_go_if_useless(*c->keeps);
    }
  }
  if (w.offer.slots == 0 && !w.offer.draining && !w.offer.problem.empty()) {
    faulty_.insert(id);
  } else {
    faulty_.erase(id);
  }
}

void scheduler::remove_worker(const std::string& id) {
  auto it = workers_.find(id);
  if (it == workers_.end()) return;
  auto& w = it->second;
  take_out(w);
  for (const auto* job : w.jobs) {
    auto& t = *job->whose;
    jobs_.erase(jobs_.find(*job->id));
    --running_;
    set_running(t, t.running - 1);
    drop_if_idle(t);
  }
  if (w.kept_for) w.kept_for->keeps = nullptr;
  std::erase(kept_changed_, &w);
  for (auto* c : avoiding_) std::erase(c->avoids, &w);
  if (auto* before = leave(w)) drop_if_empty(before);
  full_.erase(id);
  faulty_.erase(id);
  workers_.erase(it);
}

void scheduler::mark_full(const std::string& id) {
  auto it = workers_.find(id);
  if (it == workers_.end() || it->second.full) return;
  take_out(it->second);
  it->second.full = true;
  put_in(it->second);
  full_.insert(id);
}

void scheduler::trust_again() {
  for (const auto& id : std::exchange(full_, {})) {
    auto& w = workers_.at(id);
    take_out(w);
    w.full = false;
    put_in(w);
  }
}

const scheduler::worker_offer* scheduler::offer_of(const std::string& worker) const {
  auto it = workers_.find(worker);
  return it == workers_.end() ? nullptr : &it->second.offer;
}

std::vector<scheduler::worker_view> scheduler::workers() const {
  std::vector<worker_view> out;
  out.reserve(workers_.size());
  for (const auto& [id, w] : workers_) {
    const auto kept_for = w.kept_for ? *w.kept_for->by_age.begin()->second->id : std::string();
    out.push_back({id, w.offer, w.jobs.size(), w.measuring, w.memory_used, w.memory_free(), kept_for});
  }
  return out;
}

// --- decisions -------------------------------------------------------------------------------------------------------

void scheduler::look_at_ready() {
  std::erase_if(ready_, [](job_class* c) {
    c->ready = can_start(*c);
    if (c->ready) put_in_order(c->lanes.begin()->second);
    return !c->ready;
  });
}

bool scheduler::goes_before(const job_class& a, const job_class& b) const {
  const bool overdue = a.overtaken >= limits::job_overtakes_max;
  if (overdue != (b.overtaken >= limits::job_overtakes_max)) return overdue;
  if (overdue) return a.oldest < b.oldest;
  const auto& [a_rank, a_lane] = *a.lanes.begin();
  const auto& [b_rank, b_lane] = *b.lanes.begin();
  if (a_rank != b_rank) return a_rank < b_rank;
  return a_lane.order.begin()->first < b_lane.order.begin()->first;
}

scheduler::job_class& scheduler::next_class() const {
  return **std::min_element(ready_.begin(), ready_.end(),
                            [this](const job_class* a, const job_class* b) { return goes_before(*a, *b); });
}

scheduler::known_job& scheduler::next_job(const job_class& c) {
  if (c.overtaken >= limits::job_overtakes_max) return *c.by_age.begin()->second;
  return *c.lanes.begin()->second.order.begin()->second->jobs.begin()->second;
}

scheduler::worker* scheduler::best_worker(const job_class& c) {
  if (c.keeps && starts_on(c, *c.keeps)) return c.keeps;
  worker* best = nullptr;
  const auto& without = avoided_by(c);
  for (const auto* p : c.pools) {
    if (best && less_scarce(best->in, p)) break;
    auto* w = p->takers(c).best(c.from, without);
    if (w && (!best || seat_of(*w) < seat_of(*best))) best = w;
  }
  return best;
}

void scheduler::count_overtaken(const age& chosen, const worker& on) {
  for (auto* c : ready_) {
    if (c->oldest < chosen) ++c->overtaken;
    if (c->oldest == chosen) c->overtaken = 0;
  }
  // Those that lack nothing but memory, some of which the chosen one takes.
  for (auto* c : on.in->classes) {
    if (!c->ready && c->oldest < chosen && could_have(*c, on)) ++c->overtaken;
  }
}

std::vector<scheduler::assignment> scheduler::assign() {
  std::vector<assignment> out;
  for (look_at_ready(); !ready_.empty(); look_at_ready()) {
    auto& c = next_class();
    auto* w = best_worker(c);
    if (auto* waiting = keeper_of(*w, &c)) {
      keep(*w, *waiting, ++keeps_);
      continue;
    }
    auto& job = next_job(c);
    job.measures = c.measures;
    job.memory_bytes = memory_step_bytes(c.memory_step);
    count_overtaken(job.old->first, *w);
    let_go(c);
    unqueue(job);  // the class goes with its last job
    run(job, *w);
    out.push_back({*job.id, *w->id, job.memory_bytes, ended_by_job(*w)});
  }
  return out;
}

void scheduler::run(known_job& job, worker& w) {
  set_running(*job.whose, job.whose->running + 1);
  take_out(w);
  job.by = &w;
  job.index = w.jobs.size();
  w.jobs.push_back(&job);
  if (job.measures) ++w.measuring;
  w.memory_used += job.memory_bytes;
  put_in(w);
  ++running_;
}

void scheduler::occupy(const std::string& job, const std::string& worker, const std::string& space, bool measures,
                       std::uint64_t memory_bytes) {
  cancel(job);
  if (!workers_.contains(worker)) set_worker(worker, {});
  [[maybe_unused]] const auto [at, fresh] = jobs_.try_emplace(job);
  assert(fresh);
  auto& known = at->second;
  known.id = &at->first;
  known.whose = &tenant_of(space);
  known.measures = measures;
  known.memory_bytes = memory_step_bytes(memory_step_for(memory_bytes));
  run(known, workers_.at(worker));
}

void scheduler::release(const std::string& job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end() || !found->second.by) return;
  const auto ran = found->second;
  auto& w = *ran.by;
  take_out(w);
  w.jobs[ran.index] = w.jobs.back();
  w.jobs[ran.index]->index = ran.index;
  w.jobs.pop_back();
  if (ran.measures) --w.measuring;
  w.memory_used -= ran.memory_bytes;
  if (std::exchange(w.full, false)) full_.erase(*w.id);
  jobs_.erase(found);
  --running_;
  put_in(w);
  let_go_if_useless(w);
  set_running(*ran.whose, ran.whose->running - 1);
  drop_if_idle(*ran.whose);
}

const std::string* scheduler::worker_of(const std::string& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() || !it->second.by ? nullptr : it->second.by->id;
}

// --- words -----------------------------------------------------------------------------------------------------------

worker_state state_of(const scheduler::worker_offer& offer, std::size_t busy) {
  if (offer.draining) return worker_state::draining;
  if (offer.starting()) return worker_state::starting;
  if (offer.slots == 0) return worker_state::unavailable;
  return busy > 0 ? worker_state::busy : worker_state::idle;
}

std::string_view to_string(worker_state s) {
  switch (s) {
    case worker_state::starting:
      return "starting";
    case worker_state::idle:
      return "idle";
    case worker_state::busy:
      return "busy";
    case worker_state::draining:
      return "draining";
    case worker_state::unavailable:
      return "unavailable";
  }
  return "unknown";
}

}  // namespace fxfarm
