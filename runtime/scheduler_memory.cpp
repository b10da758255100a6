// Whose memory is free for which jobs, and for whom a worker's is kept.

#include "runtime/scheduler.hpp"

#include <algorithm>
#include <bit>

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
  rungs_[at].insert(seat_of(*w));
  taken_ |= std::uint64_t{1} << at;
}

void scheduler::ladder::erase(worker* w) {
  const auto at = w->at();
  auto& here = rungs_[at];
  here.erase(seat_of(*w));
  if (here.empty()) taken_ &= ~(std::uint64_t{1} << at);
}

bool scheduler::ladder::contains(const worker& w) const {
  return rungs_[w.at()].contains(seat_of(w));
}

bool scheduler::ladder::is_consistent() const {
  std::uint64_t taken = 0;
  for (rung at = 0; at < rungs_.size(); ++at) {
    const auto& here = rungs_[at];
    if (!here.empty()) taken |= std::uint64_t{1} << at;
    if (std::any_of(here.begin(), here.end(), [&](const seat& s) { return s.of->at() != at; })) return false;
  }
  return taken == taken_;
}

scheduler::worker* scheduler::ladder::best(rung from, const std::vector<worker*>& without) const {
  const seat* best = nullptr;
  for (auto left = taken_ >> from << from; left != 0; left &= left - 1) {
    const auto& here = rungs_[static_cast<rung>(std::countr_zero(left))];
    const auto first = std::find_if(here.begin(), here.end(), [&](const seat& s) { return !holds(without, s.of); });
    if (first != here.end() && (!best || first->free > best->free)) best = &*first;
  }
  return best ? best->of : nullptr;
}

void scheduler::count_sizes(pool& p) {
  auto largest = memory_step_last;
  while (largest > 0 && p.sizes[largest] == 0) --largest;
  if (std::exchange(p.largest, largest) == largest) return;
  for (auto* c : p.classes) {
    const auto before = c->from;
    size_up(*c);
    if (c->from < before) wake(*c);
  }
}

void scheduler::join(worker& w, pool* p) {
  w.in = p;
  if (!p) return;
  ++p->workers;
  ++p->sizes[w.size()];
  count_sizes(*p);
}

scheduler::pool* scheduler::leave(worker& w) {
  auto* p = std::exchange(w.in, nullptr);
  if (!p) return nullptr;
  --p->workers;
  --p->sizes[w.size()];
  count_sizes(*p);
  // Whoever was to avoid others may have nobody else left.
  for (auto* c : p->classes) {
    if (!c->avoids.empty()) wake(*c);
  }
  return p;
}

// --- jobs ------------------------------------------------------------------------------------------------------------

void scheduler::size_up(job_class& c) {
  unsigned largest = 0;
  for (const auto* p : c.pools) largest = std::max(largest, p->largest);
  c.size = std::min(c.memory_step, largest);
  c.from = 2 * c.size + (c.size < c.memory_step ? 1 : 0);
}

bool scheduler::could_have(const job_class& c, const worker& w) {
  if (c.memory_step == 0 || w.offer.memory_bytes == 0 || w.size() < c.size) return false;
  if (c.measures && !w.free_to_measure()) return false;
  return !holds(avoided_by(c), &w);
}

bool scheduler::starts_on(const job_class& c, const worker& w) {
  return (c.measures ? w.free_to_measure() : w.free() > 0) && w.at() >= c.from;
}

const std::vector<scheduler::worker*>& scheduler::avoided_by(const job_class& c) {
  static const std::vector<worker*> nobody;
  if (c.avoids.empty()) return nobody;
  std::size_t others = 0;
  for (const auto* p : c.pools) {
    for (auto step = c.size; step < memory_steps; ++step) others += p->sizes[step];
  }
  const auto avoided = std::count_if(c.avoids.begin(), c.avoids.end(),
                                     [&](const worker* w) { return w->size() >= c.size && holds(c.pools, w->in); });
  return others > static_cast<std::size_t>(avoided) ? c.avoids : nobody;
}

bool scheduler::can_start(const job_class& c) {
  if (c.keeps && starts_on(c, *c.keeps)) return true;
  if (c.avoids.empty())
    return std::any_of(c.pools.begin(), c.pools.end(), [&](const pool* p) { return p->takers(c).reaches(c.from); });
  const auto& without = avoided_by(c);
  return std::any_of(c.pools.begin(), c.pools.end(),
                     [&](const pool* p) { return p->takers(c).best(c.from, without) != nullptr; });
}

// --- workers that are kept -------------------------------------------------------------------------------------------

bool scheduler::leaves_more(const worker& w) {
  return !w.jobs.empty() || (w.offer.can_be_kept && w.offer.taken > 0);
}

scheduler::job_class* scheduler::keeper_of(const worker& w, const job_class* instead_of) {
  // Where nothing leaves memory there is nothing to wait for.
  if (w.kept_for || !leaves_more(w)) return nullptr;
  const bool overdue = instead_of && instead_of->overtaken >= limits::job_overtakes_max;
  job_class* first = nullptr;
  for (auto* c : w.in->classes) {
    if (c->overtaken < limits::job_overtakes_max || c->keeps || !could_have(*c, w) || can_start(*c)) continue;
    if (overdue && instead_of->oldest < c->oldest) continue;
    if (!first || c->oldest < first->oldest) first = c;
  }
  return first;
}

// Which of their jobs are older is not known here; they count as younger, as those of a scheduler that has much to do
// are.
void scheduler::count_overtaken_by_others(worker& w) {
  if (!w.offer.can_be_kept || !w.in || w.kept_for) return;
  for (auto* c : w.in->classes) {
    if (w.at() < c->from && could_have(*c, w) && !can_start(*c)) ++c->overtaken;
  }
  if (auto* waiting = keeper_of(w, nullptr)) keep(w, *waiting, ++keeps_);
}

void scheduler::keep(worker& w, job_class& c, std::uint64_t number) {
  take_out(w);
  w.kept_for = &c;
  w.keep_number = number;
  c.keeps = &w;
  put_in(w);
  tell_kept(w);
}

void scheduler::let_go(job_class& c) {
  if (!c.keeps) return;
  auto& w = *std::exchange(c.keeps, nullptr);
  take_out(w);
  w.kept_for = nullptr;
  put_in(w);
  tell_kept(w);
}

void scheduler::tell_kept(worker& w) {
  if (!holds(kept_changed_, &w)) kept_changed_.push_back(&w);
}

void scheduler::let_go_if_useless(worker& w) {
  if (!w.kept_for) return;
  auto& c = *w.kept_for;
  const bool fits = w.in && w.size() >= c.size && holds(c.pools, w.in) && !holds(avoided_by(c), &w);
  // What jobs of others have may be theirs for ever, where they are not kept from more: the class waits for another
  // occasion.
  const bool waits = leaves_more(w) || starts_on(c, w);
  if (fits && waits) return;
  if (!waits) c.overtaken = 0;
  let_go(c);
}

void scheduler::keep_no_longer(const std::string& worker) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || !it->second.kept_for) return;
  it->second.kept_for->overtaken = 0;
  let_go(*it->second.kept_for);
}

std::vector<scheduler::kept_change> scheduler::kept_changes() {
  std::vector<kept_change> out;
  for (auto* w : std::exchange(kept_changed_, {})) {
    const auto number = w->kept_as();
    const auto told = std::exchange(w->kept_told, number);
    if (told == number) continue;
    if (told != 0) out.push_back({*w->id, false, told, std::exchange(w->end_told, false)});
    if (number != 0) out.push_back({*w->id, true, number});
  }
  return out;
}

// Nothing starts on a worker that is kept, so whatever was told of this one has ended.
std::uint64_t scheduler::ended_by_job(worker& w) {
  return w.kept_told == 0 || std::exchange(w.end_told, true) ? 0 : w.kept_told;
}

}  // namespace fxfarm
