// Which workers can take which jobs: pools of workers that are alike, classes of jobs that are.

#include "runtime/scheduler.hpp"

#include <algorithm>

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
  return platform_name(offer.runs_on) + std::to_string(offer.engine_memory_bytes) + (offer.gpus > 0 ? " gpus" : "");
}
std::string class_name(const platform& p, std::uint64_t memory_above, bool measures) {
  const auto needs = std::to_string(memory_above) + (measures ? " measures" : "");
  if (p.device != "cpu") return platform_name(p) + needs;
  std::string name;
  for (const auto* part : {&p.torch, &p.python, &p.arch, &p.isa, &p.device}) name.append(*part).push_back('\0');
  return name + needs;
}

}  // namespace

bool scheduler::less_scarce(const pool* a, const pool* b) {
  return a->scarcity < b->scarcity;
}

result<void> scheduler::can_take(const pool& p, const platform& target, std::uint64_t memory_above, bool measures) {
  if (auto fit = can_compile_for(p.runs_on, target); !fit) return fit;
  if (measures && !p.gpus) return {errc::refused, "a GPU to measure on wanted, the worker has none"};
  if (p.engine_memory_bytes == 0 || p.engine_memory_bytes > memory_above) return {};
  return {errc::refused, "engine memory of more than " + std::to_string(memory_above) +
                             " bytes wanted, the worker's is " + std::to_string(p.engine_memory_bytes)};
}

scheduler::pool& scheduler::pool_of(const worker_offer& offer) {
  auto name = pool_name(offer);
  auto& p = pools_[name];
  if (p) return *p;
  p = std::make_unique<pool>();
  p->name = std::move(name);
  p->runs_on = offer.runs_on;
  p->engine_memory_bytes = offer.engine_memory_bytes;
  p->gpus = offer.gpus > 0;
  // Without a limit, 0 less one is more than any.
  p->scarcity = {p->runs_on.device != "cpu", isa_rank(p->runs_on.isa), p->engine_memory_bytes - 1};
  for (auto& [key, c] : classes_) {
    if (!can_take(*p, *c)) continue;
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

scheduler::job_class& scheduler::class_of(const platform& target, std::uint64_t memory_above, bool measures) {
  auto name = class_name(target, memory_above, measures);
  auto& c = classes_[name];
  if (c) return *c;
  c = std::make_unique<job_class>();
  c->name = std::move(name);
  c->target = target;
  c->memory_above = memory_above;
  c->measures = measures;
  for (auto& [key, p] : pools_) {
    if (!can_take(*p, *c)) continue;
    p->classes.push_back(c.get());
    c->pools.push_back(p.get());
  }
  std::sort(c->pools.begin(), c->pools.end(), less_scarce);
  return *c;
}

result<void> scheduler::check_fit(const platform& target, std::uint64_t memory_above, bool measures) const {
  if (count(worker_state::starting) > 0) return {};
  auto known = classes_.find(class_name(target, memory_above, measures));
  if (known != classes_.end() && !known->second->pools.empty()) return {};
  std::string missing;
  for (const auto& [name, p] : pools_) {
    auto fit = can_take(*p, target, memory_above, measures);
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

std::vector<std::pair<std::string, error>> scheduler::unplaceable() const {
  std::vector<std::pair<std::string, error>> out;
  for (const auto& [name, c] : classes_) {
    if (!c->pools.empty()) continue;
    auto fit = check_fit(c->target, c->memory_above, c->measures);
    if (fit) continue;
    for (const auto& [since, job] : c->by_age) out.emplace_back(*job, fit.failure());
  }
  return out;
}

}  // namespace fxfarm
