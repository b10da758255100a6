// Which workers can take which jobs: pools of workers that are alike, classes of jobs that are.

#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

// Of most names: they are made for each job.
constexpr std::size_t names_reserved = 160;

// Without what can_compile_for does not look at, so that as many as possible are alike.
std::string platform_name(const platform& p) {
  std::string name;
  name.reserve(names_reserved);
  for (const auto* part : {&p.torch, &p.python, &p.arch, &p.isa, &p.device, &p.triton, &p.gpu, &p.gpu_driver}) {
    name.append(*part).push_back('\0');
  }
  return name;
}
std::string pool_name(const scheduler::worker_offer& offer) {
  return platform_name(offer.runs_on) + std::to_string(offer.engine_memory_bytes) + (offer.gpus > 0 ? " gpus" : "") +
         (offer.can_help ? " helps" : "");
}
std::string class_name(const platform& p, const std::string& needs) {
  if (p.device != "cpu") return platform_name(p).append(needs);
  std::string name;
  name.reserve(names_reserved);
  for (const auto* part : {&p.torch, &p.python, &p.arch, &p.isa, &p.device}) name.append(*part).push_back('\0');
  return name.append(needs);
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
  p->can_help = offer.can_help;
  // Without a limit, 0 less one is more than any.
  p->scarcity = {p->runs_on.device != "cpu", isa_rank(p->runs_on.isa), p->engine_memory_bytes - 1};
  for (auto& [key, c] : classes_) {
    if (!can_take(*p, *c)) continue;
    p->classes.push_back(c.get());
    c->pools.insert(std::upper_bound(c->pools.begin(), c->pools.end(), p.get(), less_scarce), p.get());
  }
  return *p;
}

std::string scheduler::lend(const std::string& name, const platform& target, const std::string& space,
                            std::uint64_t memory_bytes, const std::set<std::string>& without) {
  if (free_slots_ == 0) return {};
  std::vector<worker*> passed_over;
  for (const auto& id : without) {
    if (const auto w = workers_.find(id); w != workers_.end()) passed_over.push_back(&w->second);
  }
  worker* best = nullptr;
  for (const auto& [key, p] : pools_) {
    // A class has jobs that wait.
    if (!p->can_help || !p->classes.empty() || (best && less_scarce(best->in, p.get()))) continue;
    if (!can_take(*p, target, 0, false)) continue;
    auto* w = p->free.best(2 * memory_step_for(memory_bytes), passed_over);
    if (w && (!best || less_scarce(p.get(), best->in) || seat_of(*w) < seat_of(*best))) best = w;
  }
  if (!best) return {};
  occupy(name, *best->id, space, false, memory_bytes);
  return *best->id;
}

void scheduler::drop_if_empty(pool* p) {
  if (p->workers > 0) return;
  for (auto* c : p->classes) std::erase(c->pools, p);
  pools_.erase(std::string(p->name));
}

scheduler::job_class& scheduler::class_of(const request& r) {
  const auto step = memory_step_for(r.memory_bytes);
  auto needs = std::to_string(r.memory_above) + (r.measures ? " measures " : " ") + std::to_string(step);
  auto name = class_name(r.target, needs);
  std::vector<worker*> avoids;
  for (const auto& id : std::set<std::string>(r.avoids.begin(), r.avoids.end())) {
    auto w = workers_.find(id);
    if (w == workers_.end()) continue;
    avoids.push_back(&w->second);
    needs += '\0' + id;
  }
  if (!avoids.empty()) {
    auto own = class_name(r.target, needs);
    if (avoiding_.size() < limits::avoiding_classes_max || classes_.contains(own)) {
      name = std::move(own);
    } else {
      avoids.clear();
    }
  }
  auto& c = classes_[name];
  if (c) return *c;
  c = std::make_unique<job_class>();
  c->name = std::move(name);
  c->target = r.target;
  c->memory_above = r.memory_above;
  c->measures = r.measures;
  c->memory_step = step;
  c->avoids = std::move(avoids);
  if (!c->avoids.empty()) avoiding_.push_back(c.get());
  for (auto& [key, p] : pools_) {
    if (!can_take(*p, *c)) continue;
    p->classes.push_back(c.get());
    c->pools.push_back(p.get());
  }
  std::sort(c->pools.begin(), c->pools.end(), less_scarce);
  size_up(*c);
  return *c;
}

void scheduler::avoid_no_longer(time_point since) {
  std::vector<known_job*> late;
  for (const auto* c : avoiding_) {
    for (const auto& [arrived, job] : c->by_age) {
      if (arrived.first > since) break;
      late.push_back(job);
    }
  }
  for (auto* job : late) {
    const auto& in = *job->in;
    auto& before = *in.of;
    const auto id = *job->id;
    const auto& at = job->at->first;
    request r{id,
              in.of->target,
              in.in->rank,
              in.whose->name,
              at.seconds_expected,
              at.since.first,
              in.of->memory_above,
              in.of->measures,
              memory_step_bytes(in.of->memory_step)};
    // The oldest of its class comes first here, and has been overtaken: its turn goes with it.
    const auto overtaken = std::exchange(before.overtaken, 0);
    auto* kept = before.keeps;
    let_go(before);
    unqueue(*job);
    jobs_.erase(jobs_.find(id));
    enqueue(std::move(r));
    auto& now = *jobs_.at(id).in->of;
    now.overtaken = std::max(now.overtaken, overtaken);
    if (!kept || now.keeps) continue;
    keep(*kept, now, kept->keep_number);
    let_go_if_useless(*kept);
  }
}

result<void> scheduler::check_fit(const platform& target, std::uint64_t memory_above, bool measures) const {
  if (count(worker_state::starting) > 0) return {};
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
    for (const auto& [since, job] : c->by_age) out.emplace_back(*job->id, fit.failure());
  }
  return out;
}

}  // namespace fxfarm
