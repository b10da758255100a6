#include "runtime/scheduler.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {
namespace {

// Without what can_compile_for does not look at, so that as many as possible are alike.
std::string platform_name(const platform& p) {
  std::string name;
  for (const auto* part : {&p.torch, &p.python, &p.arch, &p.isa, &p.device, &p.triton, &p.gpu, &p.gpu_driver}) {
    name.append(*part).push_back('\0');
  }
  return name;
}
std::string pool_name(const scheduler::worker_offer& offer) {
  return platform_name(offer.runs_on) + std::to_string(offer.engine_memory_bytes);
}
std::string class_name(const platform& p, std::uint64_t memory_above) {
  if (p.device != "cpu") return platform_name(p) + std::to_string(memory_above);
  std::string name;
  for (const auto* part : {&p.torch, &p.python, &p.arch, &p.isa, &p.device}) name.append(*part).push_back('\0');
  return name + std::to_string(memory_above);
}

}  // namespace

bool scheduler::less_scarce(const pool* a, const pool* b) {
  return a->scarcity < b->scarcity;
}

result<void> scheduler::can_take(const pool& p, const platform& target, std::uint64_t memory_above) {
  if (auto fit = can_compile_for(p.runs_on, target); !fit) return fit;
  if (p.engine_memory_bytes == 0 || p.engine_memory_bytes > memory_above) return {};
  return {errc::refused, "engine memory of more than " + std::to_string(memory_above) +
                             " bytes wanted, the worker's is " + std::to_string(p.engine_memory_bytes)};
}

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

// --- workers ---------------------------------------------------------------------------------------------------------

void scheduler::take_out(worker& w) {
  --states_[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
  if (w.offer.takes_jobs()) slots_ -= w.offer.slots;
  free_slots_ -= w.free();
  if (w.in) w.in->free.erase(&w);
}

void scheduler::put_in(worker& w) {
  ++states_[static_cast<std::size_t>(state_of(w.offer, w.jobs.size()))];
  if (w.offer.takes_jobs()) slots_ += w.offer.slots;
  free_slots_ += w.free();
  if (!w.in || w.free() == 0) return;
  w.in->free.insert(&w);
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
  auto* before = w.in;
  w.offer = std::move(offer);
  w.full = false;
  full_.erase(id);
  w.in = w.offer.takes_jobs() ? &pool_of(w.offer) : nullptr;
  if (w.in) ++w.in->workers;
  if (before) --before->workers;
  put_in(w);
  if (before) drop_if_empty(before);
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
  if (w.in) {
    --w.in->workers;
    drop_if_empty(w.in);
  }
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

scheduler::pool& scheduler::pool_of(const worker_offer& offer) {
  auto name = pool_name(offer);
  auto& p = pools_[name];
  if (p) return *p;
  p = std::make_unique<pool>();
  p->name = std::move(name);
  p->runs_on = offer.runs_on;
  p->engine_memory_bytes = offer.engine_memory_bytes;
  // Without a limit, 0 less one is more than any.
  p->scarcity = {p->runs_on.device != "cpu", isa_rank(p->runs_on.isa), p->engine_memory_bytes - 1};
  for (auto& [key, c] : classes_) {
    if (!can_take(*p, c->target, c->memory_above)) continue;
    p->classes.push_back(c.get());
    c->pools.insert(std::upper_bound(c->pools.begin(), c->pools.end(), p.get(), less_scarce), p.get());
  }
  return *p;
}

void scheduler::drop_if_empty(pool* p) {
  if (p->workers > 0) return;
  for (auto* c : p->classes) std::erase(c->pools, p);
  pools_.erase(std::string(p->name));
}

result<void> scheduler::check_fit(const platform& target, std::uint64_t memory_above) const {
  if (count(worker_state::starting) > 0) return {};
  auto known = classes_.find(class_name(target, memory_above));
  if (known != classes_.end() && !known->second->pools.empty()) return {};
  std::string missing;
  for (const auto& [name, p] : pools_) {
    auto fit = can_take(*p, target, memory_above);
    if (fit) return {};
    if (missing.empty()) missing = fit.failure().message;
  }
  if (missing.empty() && !faulty_.empty()) missing = workers_.at(*faulty_.begin()).offer.problem;
  if (missing.empty())
    missing = workers_.empty()                                   ? "no worker is connected"
              : count(worker_state::draining) == workers_.size() ? "every worker is draining"
                                                                 : "no worker takes jobs at the moment";
  return {errc::no_worker, missing};
}

const scheduler::worker_offer* scheduler::offer_of(const std::string& worker) const {
  auto it = workers_.find(worker);
  return it == workers_.end() ? nullptr : &it->second.offer;
}

std::vector<scheduler::worker_view> scheduler::workers() const {
  std::vector<worker_view> out;
  out.reserve(workers_.size());
  for (const auto& [id, w] : workers_) out.push_back({id, w.offer, w.jobs.size()});
  return out;
}

// --- the queue -------------------------------------------------------------------------------------------------------

scheduler::job_class& scheduler::class_of(const platform& target, std::uint64_t memory_above) {
  auto name = class_name(target, memory_above);
  auto& c = classes_[name];
  if (c) return *c;
  c = std::make_unique<job_class>();
  c->name = std::move(name);
  c->target = target;
  c->memory_above = memory_above;
  for (auto& [key, p] : pools_) {
    if (!can_take(*p, c->target, c->memory_above)) continue;
    p->classes.push_back(c.get());
    c->pools.push_back(p.get());
  }
  std::sort(c->pools.begin(), c->pools.end(), less_scarce);
  return *c;
}

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
  auto& c = class_of(r.target, r.memory_above);
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
  std::erase(ready_, &c);
  for (auto* p : c.pools) std::erase(p->classes, &c);
  classes_.erase(std::string(c.name));
}

// --- decisions -------------------------------------------------------------------------------------------------------

void scheduler::look_at_ready() {
  std::erase_if(ready_, [](job_class* c) {
    c->ready = std::any_of(c->pools.begin(), c->pools.end(), [](const pool* p) { return !p->free.empty(); });
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

scheduler::worker* scheduler::best_worker(const job_class& c) const {
  worker* best = nullptr;
  for (const auto* p : c.pools) {
    if (p->free.empty()) continue;
    if (best && less_scarce(best->in, p)) break;
    if (!best || most_free()(*p->free.begin(), best)) best = *p->free.begin();
  }
  return best;
}

void scheduler::count_overtaken(const age& chosen) {
  for (auto* c : ready_) {
    const auto& oldest = c->by_age.begin()->first;
    if (oldest < chosen) ++c->overtaken;
    if (oldest == chosen) c->overtaken = 0;
  }
}

std::vector<scheduler::assignment> scheduler::assign() {
  std::vector<assignment> out;
  for (look_at_ready(); !ready_.empty(); look_at_ready()) {
    auto& c = next_class();
    auto* w = best_worker(c);
    auto found = queued_.find(next_job(c));
    const auto job = found->first;
    auto& t = *found->second.in->whose;
    count_overtaken(found->second.old->first);
    unqueue(found);
    run(job, *w, t);
    out.push_back({job, *w->id});
  }
  return out;
}

void scheduler::run(const std::string& job, worker& w, tenant& t) {
  set_running(t, t.running + 1);
  take_out(w);
  w.jobs.insert(job);
  put_in(w);
  running_.emplace(job, occupied{&w, &t});
}

void scheduler::occupy(const std::string& job, const std::string& worker, const std::string& space) {
  assert(!running_.contains(job));
  cancel(job);
  if (!workers_.contains(worker)) set_worker(worker, {});
  run(job, workers_.at(worker), tenant_of(space));
}

void scheduler::release(const std::string& job) {
  auto ran = running_.extract(job);
  if (ran.empty()) return;
  auto& [w, t] = ran.mapped();
  take_out(*w);
  w->jobs.erase(job);
  w->full = false;
  full_.erase(*w->id);
  put_in(*w);
  set_running(*t, t->running - 1);
  drop_if_idle(*t);
}

const std::string* scheduler::worker_of(const std::string& job) const {
  auto it = running_.find(job);
  return it == running_.end() ? nullptr : it->second.by->id;
}

std::vector<std::pair<std::string, error>> scheduler::unplaceable() const {
  std::vector<std::pair<std::string, error>> out;
  for (const auto& [name, c] : classes_) {
    if (!c->pools.empty()) continue;
    auto fit = check_fit(c->target, c->memory_above);
    if (fit) continue;
    for (const auto& [since, job] : c->by_age) out.emplace_back(*job, fit.failure());
  }
  return out;
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
