// The jobs that wait, in the order of their turns.

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
  return {l.whose->running, l.first};
}

void scheduler::wake(job_class& c) {
  if (!std::exchange(c.ready, true)) ready_.push_back(&c);
}

scheduler::tenant& scheduler::tenant_of(const std::string& space) {
  auto [it, fresh] = tenants_.try_emplace(space);
  if (fresh) it->second.name = space;
  return it->second;
}

// With more of them its lines come later: that is found out when one comes first. With fewer they may come sooner.
void scheduler::set_running(tenant& t, std::size_t running) {
  t.running = running;
  if (running >= t.placed_at) return;
  for (const auto& [l, placed_at] : t.lines) {
    if (placed_at > running) move(*l);
  }
  t.placed_at = running;
}

void scheduler::move(line& l) {
  if (!std::exchange(l.moved, true)) l.in->moved.push_back(&l);
}

void scheduler::look_at_first(line& l) {
  l.first = l.jobs.begin()->first.since;
  if (l.first < l.at.second) move(l);
}

void scheduler::put_in_order(lane& in) {
  const auto place = [&in](line& l, const turn& next) {
    auto node = in.order.extract(l.at);
    l.at = node.key() = next;
    l.whose->lines[l.index].second = next.first;
    l.whose->placed_at = std::max(l.whose->placed_at, next.first);
    in.order.insert(std::move(node));
  };
  for (auto* l : in.moved) {
    l->moved = false;
    if (const auto next = turn_of(*l); next != l->at) place(*l, next);
    l->whose->placed_at = std::max(l->whose->placed_at, l->at.first);
  }
  in.moved.clear();
  for (;;) {
    auto& first = *in.order.begin()->second;
    const auto next = turn_of(first);
    if (next == first.at) return;
    place(first, next);
  }
}

void scheduler::drop_if_idle(tenant& t) {
  if (t.running == 0 && t.lines.empty()) tenants_.erase(std::string(t.name));
}

void scheduler::enqueue(request r) {
  assert(!jobs_.contains(r.job));
  auto& c = class_of(r);
  auto& t = tenant_of(r.space);
  auto& in = c.lanes[r.rank];
  in.rank = r.rank;
  auto& l = in.lines[&t];
  const place at{r.queued_at.time_since_epoch() / limits::similar_age, r.seconds_expected, {r.queued_at, arrivals_++}};
  const auto known = jobs_.try_emplace(std::move(r.job)).first;
  auto& job = known->second;
  job.id = &known->first;
  job.whose = &t;
  job.in = &l;
  job.at = l.jobs.emplace(at, &job).first;
  // Nearly always the youngest.
  job.old = c.by_age.emplace_hint(c.by_age.end(), at.since, &job);
  c.oldest = c.by_age.begin()->first;
  if (l.whose) {
    look_at_first(l);
  } else {
    l.whose = &t;
    l.of = &c;
    l.in = &in;
    l.first = at.since;
    l.at = turn_of(l);
    t.placed_at = std::max(t.placed_at, t.running);
    l.index = t.lines.size();
    t.lines.emplace_back(&l, t.running);
    in.order.emplace(l.at, &l);
  }
  wake(c);
}

bool scheduler::cancel(const std::string& job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end() || !found->second.in) return false;
  auto& t = *found->second.whose;
  unqueue(found->second);
  jobs_.erase(found);
  drop_if_idle(t);
  return true;
}

const scheduler::known_job* scheduler::waiting(const std::string& job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() || !found->second.in ? nullptr : &found->second;
}

void scheduler::unqueue(known_job& job) {
  auto& l = *std::exchange(job.in, nullptr);
  auto& c = *l.of;
  auto& in = *l.in;
  l.jobs.erase(job.at);
  c.by_age.erase(job.old);
  if (!c.by_age.empty()) c.oldest = c.by_age.begin()->first;
  // Not always younger: what takes longest came first.
  if (!l.jobs.empty()) return look_at_first(l);
  in.order.erase(l.at);
  if (l.moved) std::erase(in.moved, &l);
  auto& lines = l.whose->lines;
  lines[l.index] = lines.back();
  lines[l.index].first->index = l.index;
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

}  // namespace fxfarm
