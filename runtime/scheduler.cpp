#include "runtime/scheduler.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {

bool scheduler::place::operator<(const place& other) const {
  if (window != other.window) return window < other.window;
  if (seconds_expected != other.seconds_expected) return seconds_expected > other.seconds_expected;
  return since < other.since;
}

scheduler::turn scheduler::turn_of(const line& l) {
  return {l.whose->running, l.jobs.begin()->first.since};
}

bool scheduler::most_free::operator()(const worker* a, const worker* b) const {
  return a->free() != b->free() ? a->free() > b->free() : a->number < b->number;
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
  if (w.free_to_measure()) w.in->free_to_measure.insert(&w);
  for (auto* c : w.in->classes) wake(*c);
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
  w.offer = std::move(offer);
  w.full = false;
  full_.erase(id);
  join(w, w.offer.takes_jobs() ? &pool_of(w.offer) : nullptr);
  put_in(w);
  if (before) drop_if_empty(before);
  let_go_if_useless(w);
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
  for (const auto& job : w.jobs) {
    auto ran = running_.extract(job);
    auto& t = *ran.mapped().whose;
    set_running(t, t.running - 1);
    drop_if_idle(t);
  }
  if (w.kept_for) w.kept_for->keeps = nullptr;
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
    out.push_back({id, w.offer, w.jobs.size(), w.measuring, w.memory_used, w.memory_free(), w.kept_for != nullptr});
  }
  return out;
}

// --- the queue -------------------------------------------------------------------------------------------------------

void scheduler::wake(job_class& c) {
  if (!std::exchange(c.ready, true)) ready_.push_back(&c);
}

scheduler::tenant& scheduler::tenant_of(const std::string& space) {
  auto [it, fresh] = tenants_.try_emplace(space);
  if (fresh) it->second.name = space;
  return it->second;
}

void scheduler::set_running(tenant& t, std::size_t running) {
  t.running = running;
  for (auto* l : t.lines) move(*l);
}

void scheduler::move(line& l) {
  if (!std::exchange(l.moved, true)) l.in->moved.push_back(&l);
}

void scheduler::put_in_order(lane& in) {
  for (auto* l : in.moved) {
    l->moved = false;
    const auto next = turn_of(*l);
    if (next == l->at) continue;
    auto node = in.order.extract(l->at);
    l->at = node.key() = next;
    in.order.insert(std::move(node));
  }
  in.moved.clear();
}

void scheduler::drop_if_idle(tenant& t) {
  if (t.running == 0 && t.lines.empty()) tenants_.erase(std::string(t.name));
}

void scheduler::enqueue(request r) {
  assert(!queued_.contains(r.job) && !running_.contains(r.job));
  auto& c = class_of(r);
  auto& t = tenant_of(r.space);
  auto& in = c.lanes[r.rank];
  in.rank = r.rank;
  auto& l = in.lines[&t];
  const place at{r.queued_at.time_since_epoch() / limits::similar_age, r.seconds_expected, {r.queued_at, arrivals_++}};
  auto queued = queued_.emplace(std::move(r.job), waiting{&l, {}, {}}).first;
  queued->second.at = l.jobs.emplace(at, &queued->first).first;
  queued->second.old = c.by_age.emplace(at.since, &queued->first).first;
  if (l.whose) {
    move(l);
  } else {
    l.whose = &t;
    l.of = &c;
    l.in = &in;
    l.at = turn_of(l);
    l.index = t.lines.size();
    t.lines.push_back(&l);
    in.order.emplace(l.at, &l);
  }
  wake(c);
}

bool scheduler::cancel(const std::string& job) {
  auto found = queued_.find(job);
  if (found == queued_.end()) return false;
  auto& t = *found->second.in->whose;
  unqueue(found);
  drop_if_idle(t);
  return true;
}

void scheduler::unqueue(std::unordered_map<std::string, waiting>::iterator job) {
  auto& l = *job->second.in;
  auto& c = *l.of;
  auto& in = *l.in;
  l.jobs.erase(job->second.at);
  c.by_age.erase(job->second.old);
  queued_.erase(job);
  if (!l.jobs.empty()) return move(l);
  in.order.erase(l.at);
  if (l.moved) std::erase(in.moved, &l);
  auto& lines = l.whose->lines;
  lines[l.index] = lines.back();
  lines[l.index]->index = l.index;
  lines.pop_back();
  in.lines.erase(l.whose);
  if (in.lines.empty()) c.lanes.erase(in.rank);
  if (!c.by_age.empty()) return;
  let_go(c);
  std::erase(ready_, &c);
  std::erase(avoiding_, &c);
  for (auto* p : c.pools) std::erase(p->classes, &c);
  classes_.erase(std::string(c.name));
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
  if (overdue) return a.by_age.begin()->first < b.by_age.begin()->first;
  const auto& [a_rank, a_lane] = *a.lanes.begin();
  const auto& [b_rank, b_lane] = *b.lanes.begin();
  if (a_rank != b_rank) return a_rank < b_rank;
  return a_lane.order.begin()->first < b_lane.order.begin()->first;
}

scheduler::job_class& scheduler::next_class() const {
  return **std::min_element(ready_.begin(), ready_.end(),
                            [this](const job_class* a, const job_class* b) { return goes_before(*a, *b); });
}

const std::string& scheduler::next_job(const job_class& c) const {
  if (c.overtaken >= limits::job_overtakes_max) return *c.by_age.begin()->second;
  return *c.lanes.begin()->second.order.begin()->second->jobs.begin()->second;
}

scheduler::worker* scheduler::best_worker(const job_class& c) {
  if (c.keeps && starts_on(c, *c.keeps)) return c.keeps;
  worker* best = nullptr;
  const auto from = rung_wanted(c);
  const auto& without = avoided_by(c);
  for (const auto* p : c.pools) {
    if (best && less_scarce(best->in, p)) break;
    auto* w = p->takers(c).best(from, without);
    if (w && (!best || most_free()(w, best))) best = w;
  }
  return best;
}

void scheduler::count_overtaken(const age& chosen, const worker& on) {
  for (auto* c : ready_) {
    const auto& oldest = c->by_age.begin()->first;
    if (oldest < chosen) ++c->overtaken;
    if (oldest == chosen) c->overtaken = 0;
  }
  // Those that lack nothing but memory, some of which the chosen one takes.
  for (auto* c : on.in->classes) {
    if (!c->ready && could_have(*c, on) && c->by_age.begin()->first < chosen) ++c->overtaken;
  }
}

std::vector<scheduler::assignment> scheduler::assign() {
  std::vector<assignment> out;
  for (look_at_ready(); !ready_.empty(); look_at_ready()) {
    auto& c = next_class();
    auto* w = best_worker(c);
    if (auto* waiting = keeper_of(*w, c)) {
      keep(*w, *waiting);
      continue;
    }
    auto found = queued_.find(next_job(c));
    const auto job = found->first;
    auto& t = *found->second.in->whose;
    const bool measures = c.measures;
    const auto memory_bytes = memory_step_bytes(c.memory_step);
    count_overtaken(found->second.old->first, *w);
    let_go(c);
    unqueue(found);  // the class goes with its last job
    run(job, *w, t, measures, memory_bytes);
    out.push_back({job, *w->id, memory_bytes});
  }
  return out;
}

void scheduler::run(const std::string& job, worker& w, tenant& t, bool measures, std::uint64_t memory_bytes) {
  set_running(t, t.running + 1);
  take_out(w);
  w.jobs.insert(job);
  if (measures) ++w.measuring;
  w.memory_used += memory_bytes;
  put_in(w);
  running_.emplace(job, occupied{&w, &t, measures, memory_bytes});
}

void scheduler::occupy(const std::string& job, const std::string& worker, const std::string& space, bool measures,
                       std::uint64_t memory_bytes) {
  assert(!running_.contains(job));
  cancel(job);
  if (!workers_.contains(worker)) set_worker(worker, {});
  run(job, workers_.at(worker), tenant_of(space), measures, memory_step_bytes(memory_step_for(memory_bytes)));
}

void scheduler::release(const std::string& job) {
  auto ran = running_.extract(job);
  if (ran.empty()) return;
  auto& [w, t, measured, memory_bytes] = ran.mapped();
  take_out(*w);
  w->jobs.erase(job);
  if (measured) --w->measuring;
  w->memory_used -= memory_bytes;
  w->full = false;
  full_.erase(*w->id);
  put_in(*w);
  let_go_if_useless(*w);
  set_running(*t, t->running - 1);
  drop_if_idle(*t);
}

const std::string* scheduler::worker_of(const std::string& job) const {
  auto it = running_.find(job);
  return it == running_.end() ? nullptr : it->second.by->id;
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
