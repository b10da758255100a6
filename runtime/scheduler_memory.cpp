// Whose memory is free for which jobs, and for whom a worker's is kept.

#include "runtime/scheduler.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

template <class T>
bool holds(const std::vector<T*>& all, const T* one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

// --- workers ---------------------------------------------------------------------------------------------------------

std::uint64_t scheduler::worker::memory_free() const {
  // What others have is the worker's word: any number.
  const auto mine = memory_used >= offer.memory_bytes ? 0 : offer.memory_bytes - memory_used;
  return offer.memory_taken >= mine ? 0 : mine - offer.memory_taken;
}

unsigned scheduler::worker::size() const {
  return offer.memory_bytes == 0 ? memory_step_last : memory_step_within(offer.memory_bytes);
}

scheduler::rung scheduler::worker::at() const {
  if (offer.memory_bytes == 0) return 2 * memory_step_last + 1;
  return 2 * memory_step_within(memory_free()) + (memory_used == 0 && offer.memory_taken == 0 ? 1 : 0);
}

void scheduler::ladder::insert(worker* w) {
  const auto at = w->at();
  rungs_[at].insert(w);
  taken_ |= std::uint64_t{1} << at;
}

void scheduler::ladder::erase(worker* w) {
  const auto at = w->at();
  auto& here = rungs_.at(at);
  here.erase(w);
  if (here.empty()) taken_ &= ~(std::uint64_t{1} << at);
}

bool scheduler::ladder::contains(worker* w) const {
  const auto here = rungs_.find(w->at());
  return here != rungs_.end() && here->second.contains(w);
}

bool scheduler::ladder::is_consistent() const {
  std::uint64_t taken = 0;
  for (const auto& [at, here] : rungs_) {
    if (!here.empty()) taken |= std::uint64_t{1} << at;
    if (std::any_of(here.begin(), here.end(), [at = at](const worker* w) { return w->at() != at; })) return false;
  }
  return taken == taken_;
}

scheduler::worker* scheduler::ladder::best(rung from, const std::vector<worker*>& without) const {
  if (!reaches(from)) return nullptr;
  worker* best = nullptr;
  for (auto it = rungs_.lower_bound(from); it != rungs_.end(); ++it) {
    const auto& here = it->second;
    const auto first = std::find_if(here.begin(), here.end(), [&](worker* w) { return !holds(without, w); });
    if (first != here.end() && (!best || (*first)->free() > best->free())) best = *first;
  }
  return best;
}

unsigned scheduler::pool::largest() const {
  auto step = memory_step_last;
  while (step > 0 && sizes[step] == 0) --step;
  return step;
}

void scheduler::join(worker& w, pool* p) {
  w.in = p;
  if (!p) return;
  ++p->workers;
  ++p->sizes[w.size()];
}

scheduler::pool* scheduler::leave(worker& w) {
  auto* p = std::exchange(w.in, nullptr);
  if (!p) return nullptr;
  --p->workers;
  --p->sizes[w.size()];
  for (auto* c : p->classes) wake(*c);
  return p;
}

// --- jobs ------------------------------------------------------------------------------------------------------------

unsigned scheduler::size_wanted(const job_class& c) {
  unsigned largest = 0;
  for (const auto* p : c.pools) {
    largest = std::max(largest, p->largest());
    if (largest >= c.memory_step) return c.memory_step;
  }
  return largest;
}

scheduler::rung scheduler::rung_wanted(const job_class& c) {
  if (c.memory_step == 0) return 0;
  const auto size = size_wanted(c);
  return 2 * size + (size < c.memory_step ? 1 : 0);
}

bool scheduler::could_have(const job_class& c, const worker& w) {
  if (c.memory_step == 0 || w.offer.memory_bytes == 0 || !w.in) return false;
  if (c.measures && !w.free_to_measure()) return false;
  return w.size() >= size_wanted(c) && holds(c.pools, w.in) && !holds(avoided_by(c), &w);
}

bool scheduler::starts_on(const job_class& c, const worker& w) {
  return (c.measures ? w.free_to_measure() : w.free() > 0) && w.at() >= rung_wanted(c);
}

const std::vector<scheduler::worker*>& scheduler::avoided_by(const job_class& c) {
  static const std::vector<worker*> nobody;
  if (c.avoids.empty()) return nobody;
  const auto size = size_wanted(c);
  std::size_t others = 0;
  for (const auto* p : c.pools) {
    for (auto step = size; step < memory_steps; ++step) others += p->sizes[step];
  }
  const auto avoided = std::count_if(c.avoids.begin(), c.avoids.end(),
                                     [&](const worker* w) { return w->size() >= size && holds(c.pools, w->in); });
  return others > static_cast<std::size_t>(avoided) ? c.avoids : nobody;
}

bool scheduler::can_start(const job_class& c) {
  if (c.keeps && starts_on(c, *c.keeps)) return true;
  const auto from = rung_wanted(c);
  const auto& without = avoided_by(c);
  return std::any_of(c.pools.begin(), c.pools.end(), [&](const pool* p) {
    const auto& takers = p->takers(c);
    return without.empty() ? takers.reaches(from) : takers.best(from, without) != nullptr;
  });
}

// --- workers that are kept -------------------------------------------------------------------------------------------

scheduler::job_class* scheduler::keeper_of(const worker& w, const job_class& instead_of) const {
  // Nothing of ours would leave memory there, so there is nothing to wait for.
  if (w.kept_for || w.jobs.empty()) return nullptr;
  const bool overdue = instead_of.overtaken >= limits::job_overtakes_max;
  job_class* first = nullptr;
  for (auto* c : w.in->classes) {
    if (c->ready || c->keeps || c->overtaken < limits::job_overtakes_max || !could_have(*c, w)) continue;
    const auto& oldest = c->by_age.begin()->first;
    if (overdue && instead_of.by_age.begin()->first < oldest) continue;
    if (!first || oldest < first->by_age.begin()->first) first = c;
  }
  return first;
}

void scheduler::keep(worker& w, job_class& c) {
  take_out(w);
  w.kept_for = &c;
  c.keeps = &w;
  put_in(w);
}

void scheduler::let_go(job_class& c) {
  if (!c.keeps) return;
  auto& w = *std::exchange(c.keeps, nullptr);
  take_out(w);
  w.kept_for = nullptr;
  put_in(w);
}

void scheduler::let_go_if_useless(worker& w) {
  if (!w.kept_for) return;
  auto& c = *w.kept_for;
  const bool fits = w.in && w.size() >= size_wanted(c) && holds(c.pools, w.in) && !holds(avoided_by(c), &w);
  // What jobs of other coordinators have may be theirs for ever: the class waits for another occasion.
  const bool leaves_more = !w.jobs.empty() || starts_on(c, w);
  if (fits && leaves_more) return;
  if (!leaves_more) c.overtaken = 0;
  let_go(c);
}

}  // namespace fxfarm
