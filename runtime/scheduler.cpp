#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

std::string class_name(const platform& target) {
  std::string name;
  platform::fields(target, [&](std::string_view, const auto& value) {
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      name += std::to_string(value);
    } else {
      name += value;
    }
    name += '\0';
  });
  return name;
}

}  // namespace

void scheduler::set_worker(const std::string& id, worker_offer offer) {
  workers_[id].offer = std::move(offer);
}

void scheduler::remove_worker(const std::string& id) {
  workers_.erase(id);
}

result<void> scheduler::check_fit(const platform& target) const {
  std::string missing;
  for (const auto& [id, w] : workers_) {
    if (w.offer.starting()) return {};
    if (w.offer.draining) continue;
    if (w.offer.slots == 0) {
      if (missing.empty()) missing = w.offer.problem;
      continue;
    }
    auto fit = can_compile_for(w.offer.runs_on, target);
    if (fit) return {};
    if (missing.empty()) missing = fit.failure().message;
  }
  if (missing.empty()) missing = workers_.empty() ? "no worker is connected" : "no worker takes jobs at the moment";
  return {errc::no_worker, missing};
}

void scheduler::enqueue(request r) {
  auto name = class_name(r.target);
  auto [it, fresh] = classes_.try_emplace(name);
  if (fresh) it->second.target = std::move(r.target);
  queue_position position{r.rank, arrivals_++};
  it->second.queue.emplace(position, r.job);
  queued_.emplace(std::move(r.job), std::pair{std::move(name), position});
}

bool scheduler::cancel(const std::string& job) {
  auto found = queued_.find(job);
  if (found == queued_.end()) return false;
  const auto& [name, position] = found->second;
  auto cls = classes_.find(name);
  cls->second.queue.erase(position);
  if (cls->second.queue.empty()) classes_.erase(cls);
  queued_.erase(found);
  return true;
}

std::map<std::string, scheduler::worker>::iterator scheduler::best_worker(const platform& target) {
  auto best = workers_.end();
  for (auto it = workers_.begin(); it != workers_.end(); ++it) {
    if (it->second.free() == 0 || (best != workers_.end() && it->second.free() <= best->second.free())) continue;
    if (can_compile_for(it->second.offer.runs_on, target)) best = it;
  }
  return best;
}

std::vector<scheduler::assignment> scheduler::assign() {
  std::vector<assignment> out;
  // Classes whose jobs cannot start now, because every worker that fits is full.
  std::set<std::string> stuck;
  for (;;) {
    auto next = classes_.end();
    for (auto it = classes_.begin(); it != classes_.end(); ++it) {
      if (stuck.contains(it->first)) continue;
      if (next == classes_.end() || it->second.queue.begin()->first < next->second.queue.begin()->first) next = it;
    }
    if (next == classes_.end()) return out;
    auto w = best_worker(next->second.target);
    if (w == workers_.end()) {
      stuck.insert(next->first);
      continue;
    }
    ++w->second.busy;
    std::string job = next->second.queue.begin()->second;
    cancel(job);
    out.push_back({std::move(job), w->first});
  }
}

void scheduler::occupy(const std::string& worker) {
  ++workers_[worker].busy;
}

void scheduler::release(const std::string& worker) {
  auto it = workers_.find(worker);
  if (it != workers_.end() && it->second.busy > 0) --it->second.busy;
}

std::vector<std::pair<std::string, error>> scheduler::unplaceable() const {
  std::vector<std::pair<std::string, error>> out;
  for (const auto& [name, cls] : classes_) {
    auto fit = check_fit(cls.target);
    if (fit) continue;
    for (const auto& [position, job] : cls.queue) out.emplace_back(job, fit.failure());
  }
  return out;
}

unsigned scheduler::free_slots() const {
  unsigned n = 0;
  for (const auto& [id, w] : workers_) n += w.free();
  return n;
}

std::vector<scheduler::worker_view> scheduler::workers() const {
  std::vector<worker_view> out;
  out.reserve(workers_.size());
  for (const auto& [id, w] : workers_) out.push_back({id, w.offer, w.busy});
  return out;
}

worker_state state_of(const scheduler::worker_view& w) {
  if (w.offer.draining) return worker_state::draining;
  if (w.offer.starting()) return worker_state::starting;
  if (w.offer.slots == 0) return worker_state::unavailable;
  return w.busy > 0 ? worker_state::busy : worker_state::idle;
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
