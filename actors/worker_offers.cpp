// What a worker offers to each coordinator, and which of them keeps it.

#include "actors/worker.hpp"
#include "monitoring/log.hpp"
#include "runtime/memory_steps.hpp"

#include <algorithm>

namespace fxfarm::actors {
namespace {

// Equal texts for equal offers, leases aside.
std::string summary(const net::worker_offer& offer) {
  std::string out = std::to_string(offer.slots) + "|" + std::to_string(offer.taken) + "|" +
                    std::to_string(offer.draining) + "|" + std::to_string(offer.can_help) + "|" + offer.problem + "|" +
                    offer.sandbox + "|" + std::to_string(offer.gpus) + "|" + std::to_string(offer.gpus_taken) + "|" +
                    std::to_string(offer.memory_bytes) + "|" + std::to_string(offer.memory_taken) + "|" +
                    std::to_string(offer.heeds);
  platform::fields(offer.runs_on, [&](std::string_view, const auto& value) {
    out += '|';
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      out += std::to_string(value);
    } else {
      out += value;
    }
  });
  return out;
}

}  // namespace

// Whatever a coordinator says, a sum of it stays a number.
std::uint64_t worker_slots::memory_of(const accepted_job& job) {
  return std::min(job.what.memory_bytes, memory_step_bytes(memory_step_last));
}

net::worker_offer worker_slots::make_offer(const net::peer_id& to) const {
  net::worker_offer out;
  out.name = options_.name;
  out.sandbox = options_.sandbox;
  out.engine_memory_bytes = options_.engine.bounds.memory_bytes;
  out.memory_bytes = options_.memory_bytes;
  out.draining = draining_ || held_back_;
  const auto count = [&](const accepted_job& job) {
    if (job.coordinator == to) return out.running.push_back(job.what.id);
    ++out.taken;
    if (job.what.measures) ++out.gpus_taken;
    out.memory_taken += memory_of(job);
  };
  for (const auto& slot : slots_) {
    if (slot.runs_on && !out_of_order(slot)) {
      ++out.slots;
      out.runs_on = *slot.runs_on;
    }
    if (slot.job) count(*slot.job);
  }
  // Engines compile for the first GPU that they see.
  if (out.runs_on.device != "cpu") out.gpus = 1;
  if (!slots_.empty() && std::all_of(slots_.begin(), slots_.end(), out_of_order)) {
    out.problem = to_string(*slots_.back().problem);
  }
  for (const auto& job : waiting_) count(job);
  out.can_be_kept = true;
  out.can_help = std::any_of(slots_.begin(), slots_.end(), [](const slot& s) { return s.can_help; });
  if (kept_from(to)) {
    out.taken = std::max(out.taken, out.slots);
  } else if (!kept_by_.empty()) {
    out.heeds = kept_by_.front().number;
  }
  for (const auto& result : sent_) {
    if (result.coordinator == to) out.running.push_back(result.id);
  }
  out.problem.resize(std::min(out.problem.size(), limits::text_bytes_max));
  return out;
}

void worker_slots::offer(const net::peer_id& to) {
  auto now = make_offer(to);
  coordinators_[to] = summary(now);
  options_.link->send(to, std::move(now), nullptr);
}

void worker_slots::offer_changes() {
  for (const auto& [coordinator, known] : coordinators_) {
    if (summary(make_offer(coordinator)) != known) offer(coordinator);
  }
}

void worker_slots::keep(const net::peer_id& from, const net::keep_worker& m) {
  if (m.number == 0) return options_.probe->message_refused();
  if (!m.kept) return let_go(from, m.number, "the coordinator says so");
  const keep_place place{from, m.number};
  if (!coordinators_.contains(from) || std::find(kept_by_.begin(), kept_by_.end(), place) != kept_by_.end()) return;
  const auto is_of = [&](const keep_place& p) { return p.by == from; };
  if (static_cast<std::size_t>(std::count_if(kept_by_.begin(), kept_by_.end(), is_of)) >= slots_.size()) {
    const auto oldest = std::find_if(kept_by_.begin(), kept_by_.end(), is_of)->number;
    let_go(from, oldest, "the coordinator has asked once for each slot since");
  }
  kept_by_.push_back(place);
  log::info(
      "kept for a job that waits for memory",
      {{"coordinator", from}, {"keep", std::to_string(m.number)}, {"ahead", std::to_string(kept_by_.size() - 1)}});
  if (kept_by_.size() == 1) kept_until_ = self_->clock().now() + limits::worker_kept_max;
}

void worker_slots::let_go(const net::peer_id& coordinator, std::uint64_t number, const char* why) {
  if (kept_by_.empty()) return;
  const auto heeded = kept_by_.front();
  std::erase_if(kept_by_, [&](const keep_place& p) {
    if (p.by != coordinator || (number != 0 && p.number != number)) return false;
    log::info("kept no longer", {{"coordinator", p.by}, {"keep", std::to_string(p.number)}, {"why", why}});
    return true;
  });
  if (!kept_by_.empty() && kept_by_.front() != heeded) kept_until_ = self_->clock().now() + limits::worker_kept_max;
}

bool worker_slots::kept_from(const net::peer_id& coordinator) const {
  return !kept_by_.empty() && kept_by_.front().by != coordinator;
}

}  // namespace fxfarm::actors
