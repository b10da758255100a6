#include "actors/worker.hpp"

#include "monitoring/log.hpp"
#include "runtime/digest.hpp"
#include "runtime/keys.hpp"
#include "runtime/rendezvous.hpp"

#include <algorithm>
#include <utility>

namespace fxfarm::actors {
void worker_slots::start(pointer self, worker_options options) {
  self_ = self;
  options_ = std::move(options);
  slots_.resize(options_.slots);
  auto owner = caf::actor_cast<engine_owner>(self_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    auto settings = options_.engine;
    slots_[i].engine = options_.spawn_engine
                           ? options_.spawn_engine(i, owner)
                           : self_->spawn(engine_behavior, i, owner, std::move(settings), options_.probe);
  }
  publish_gauges();
}

void worker_slots::handle(const link_events& events) {
  for (const auto& in : *events.batch) {
    if (std::holds_alternative<net::peer_up>(in.event)) {
      if (!named_.contains(in.peer)) continue;  // its name has just lost it
      coordinators_[in.peer].clear();
      let_go(in.peer, 0, "the coordinator begins anew");
      hand_over_orphans();
    } else if (const auto* down = std::get_if<net::peer_down>(&in.event)) {
      const bool was_up = coordinators_.erase(in.peer) > 0;
      // Also of one that has never let this worker in: told once, until it does.
      if (was_up || named_.contains(in.peer)) log::warning("coordinator " + in.peer + ": " + to_string(down->why));
      if (was_up) lose(in.peer);
    } else if (const auto& m = std::get<net::message>(in.event); const auto* job = std::get_if<net::job>(&m)) {
      take_job(in.peer, *job, in.attachment);
    } else if (const auto* cancel = std::get_if<net::cancel_job>(&m)) {
      cancel_job(in.peer, *cancel);
    } else if (const auto* drained = std::get_if<net::set_drain>(&m)) {
      set_drain(in.peer, *drained);
    } else if (const auto* kept = std::get_if<net::keep_worker>(&m)) {
      keep(in.peer, *kept);
    } else if (const auto* made = std::get_if<net::kernel_made>(&m)) {
      bring_kernel(in, *made);
    } else if (const auto* unmade = std::get_if<net::kernel_unmade>(&m)) {
      bring_no_kernel(in.peer, *unmade);
    } else {
      options_.probe->message_refused();
    }
  }
  settle();
}

void worker_slots::find_coordinators(const farm_found& m) {
  if (!m.problem.empty()) log::warning("coordinators: " + m.problem);
  const auto known = std::exchange(named_, {m.endpoints.begin(), m.endpoints.end()});
  for (const auto& endpoint : named_) options_.link->connect(endpoint);
  for (const auto& endpoint : known) {
    if (named_.contains(endpoint)) continue;
    options_.link->disconnect(endpoint);
    if (coordinators_.erase(endpoint) > 0) lose(endpoint);
  }
  settle();
}

void worker_slots::take_job(const net::peer_id& from, const net::job& m, const blob& graph) {
  accepted_job job{from, m, graph};
  if (auto why = refusal_of(job)) {
    if (m.kernel) options_.probe->helped("refused");
    fail(job, *why);
  } else {
    waiting_.push_back(std::move(job));
    start_waiting();
  }
  // Not before the job is counted: others are offered what is left beside it.
  if (m.ends_keep != 0) let_go(from, m.ends_keep, "its job has come");
}

std::optional<error> worker_slots::refusal_of(const accepted_job& job) {
  if (!job.graph) return error{errc::protocol, "the job came without its graph"};
  if (draining_) return error{errc::shutdown, "the worker is draining"};
  // It was on its way when the operator's word came: no attempt of the job's.
  if (held_back_) return error{errc::busy, "the worker takes no jobs, an operator wants it so"};
  // Whoever wants a kernel compiles it itself sooner than an engine has ended for it.
  if (job.what.kernel && !engine_for(tenant_of(job))) return error{errc::busy, "no engine is idle for it"};
  // Each coordinator sends no more than the slots it was offered.
  if (waiting_.size() >= slots_.size() * std::max<std::size_t>(coordinators_.size(), 1)) {
    return error{errc::busy, "the worker has more jobs than it offered slots"};
  }
  return std::nullopt;
}

void worker_slots::lose(const net::peer_id& coordinator) {
  let_go(coordinator, 0, "the coordinator is gone");
  std::erase_if(sent_, [&](const sent_result& r) { return r.coordinator == coordinator; });
  for (auto& slot : slots_) {
    if (slot.job && slot.job->coordinator == coordinator) expect_no_kernels(slot);
  }
  for_each_job([&](accepted_job& job) {
    if (job.coordinator == coordinator) job.coordinator.clear();
  });
  hand_over_orphans();
}

void worker_slots::hand_over_orphans() {
  for_each_job([this](accepted_job& job) { hand_over(job); });
  std::erase_if(unclaimed_, [this](unclaimed_result& r) {
    if (!hand_over(r.job)) return false;
    deliver(r.job, std::move(r.outcome));
    return true;
  });
}

bool worker_slots::hand_over(accepted_job& job) {
  if (!job.coordinator.empty() || coordinators_.empty() || job.what.kernel) return false;
  std::vector<std::string> up;
  for (const auto& [coordinator, known] : coordinators_) up.push_back(coordinator);
  job.coordinator = rendezvous_pick(job.what.graph_key, up);
  job.what.kernels_elsewhere = 0;  // it may be of a version that knows nothing of them
  options_.link->send(job.coordinator, net::job_held{job.what}, nullptr);
  return true;
}

template <class F>
void worker_slots::for_each_job(F&& f) {
  for (auto& slot : slots_) {
    if (slot.job) f(*slot.job);
  }
  for (auto& job : waiting_) f(job);
}

void worker_slots::refuse_waiting() {
  if (waiting_.empty() || !std::all_of(slots_.begin(), slots_.end(), out_of_order)) return;
  const error why = *slots_.back().problem;
  for (const auto& job : std::exchange(waiting_, {})) fail(job, why);
}

// An engine that died is back in a moment; not so one that cannot start.
bool worker_slots::out_of_order(const slot& s) {
  return s.problem && s.problem->code == errc::engine_start;
}

std::string worker_slots::tenant_of(const accepted_job& job) const {
  return options_.engines_shared ? std::string() : job.what.scope;
}

// One that has served the tenant, else one that has served nobody.
worker_slots::slot* worker_slots::engine_for(const std::string& tenant) {
  slot* unused = nullptr;
  for (auto& slot : slots_) {
    if (!slot.ready || slot.job) continue;
    if (slot.tenant == tenant) return &slot;
    if (!slot.tenant && !unused) unused = &slot;
  }
  return unused;
}

void worker_slots::start_waiting() {
  std::erase_if(waiting_, [this](accepted_job& job) {
    const auto tenant = tenant_of(job);
    auto* slot = engine_for(tenant);
    if (!slot) return false;
    slot->job = std::move(job);
    slot->tenant = tenant;
    const auto& what = slot->job->what;
    // Compared as numbers: a coordinator's may overflow a duration.
    const std::chrono::milliseconds latest = limits::job_deadline_max;
    const auto deadline = std::min<std::uint64_t>(what.deadline_ms, static_cast<std::uint64_t>(latest.count()));
    self_->send(slot->engine, engine_job{what.id, what.name, what.stage, what.target, slot->job->graph,
                                         std::chrono::milliseconds(deadline), tenant, what.attempts, what.kernel,
                                         kernels_elsewhere(what)});
    return true;
  });
  change_engines();
}

void worker_slots::change_engines() {
  std::map<std::string, std::size_t> coming;  // engines by the tenant that they are being started for
  for (const auto& slot : slots_) {
    if (slot.changing) ++coming[*slot.tenant];
  }
  for (const auto& job : waiting_) {
    const auto tenant = tenant_of(job);
    if (auto& left = coming[tenant]; left > 0) {
      --left;
      continue;
    }
    const auto idle = std::find_if(slots_.begin(), slots_.end(), [](const slot& s) { return s.ready && !s.job; });
    if (idle == slots_.end()) return;
    idle->ready = false;
    idle->changing = true;
    idle->tenant = tenant;
    self_->send(idle->engine, engine_change{tenant});
  }
}

void worker_slots::cancel_job(const net::peer_id& from, const net::cancel_job& m) {
  std::erase_if(waiting_, [&](const accepted_job& j) { return j.coordinator == from && j.what.id == m.id; });
  std::erase_if(sent_, [&](const sent_result& r) { return r.coordinator == from && r.id == m.id; });
  for (auto& slot : slots_) {
    if (slot.job && slot.job->coordinator == from && slot.job->what.id == m.id) {
      self_->send(slot.engine, engine_cancel{m.id, m.reason});
    }
  }
}

void worker_slots::set_drain(const net::peer_id& from, const net::set_drain& m) {
  if (std::exchange(held_back_, m.draining) == m.draining) return;
  log::info(m.draining ? "no more jobs are taken" : "jobs are taken again", {{"coordinator", from}});
}

void worker_slots::take_state(const engine_state& m) {
  auto& slot = slots_.at(m.slot);
  if (m.problem) {
    slot.ready = false;
    slot.changing = false;
    slot.problem = m.problem;
  } else {
    slot.runs_on = m.runs_on;
    // What it said before it heard of the change is not of the engine that is waited for.
    const bool as_wanted = !slot.changing || m.tenant == slot.tenant;
    slot.ready = m.ready && as_wanted;
    if (slot.ready) {
      slot.problem.reset();
      slot.can_help = m.can_help;
      slot.changing = false;
      slot.tenant = m.tenant;
    }
  }
  start_waiting();
  refuse_waiting();
  settle();
}

void worker_slots::take_outcome(engine_outcome& m) {
  auto& slot = slots_.at(m.slot);
  if (!slot.job || slot.job->what.id != m.id) return;
  auto job = *std::exchange(slot.job, std::nullopt);
  slot.kernels.clear();
  slot.kernels_asked = 0;
  if (!m.why && !job.what.kernel) {
    options_.probe->job_done();
    options_.probe->artifact_made(static_cast<double>(m.artifact->size()));
    for (const auto& [phase, seconds] : m.phases) options_.probe->phase_took(job.what.stage.name, phase, seconds);
  }
  if (job.what.kernel) options_.probe->helped(m.why ? "failed" : "made");
  if (job.coordinator.empty() && job.what.kernel) {
    // Nobody waits for it any longer.
  } else if (job.coordinator.empty()) {
    if (unclaimed_.size() >= limits::results_unclaimed_max) unclaimed_.pop_front();
    unclaimed_.push_back({std::move(job), std::move(m)});
  } else {
    deliver(job, std::move(m));
  }
  start_waiting();
  settle();
}

void worker_slots::deliver(const accepted_job& job, engine_outcome outcome) {
  if (outcome.why) return fail(job, *outcome.why, outcome.memory_bytes);
  if (!job.what.kernel) track_result(job, outcome.artifact->size());
  net::job_done m{job.what.id, job.what.stage_key, std::move(outcome.phases)};
  m.memory_bytes = outcome.memory_bytes;
  const auto& made = *outcome.artifact;
  // Of a kernel not as what the coordinator calls it: it could be a stage's name.
  const auto key = job.what.kernel ? make_kernel_key(job.what.scope, *job.graph, job.what.target, job.what.stage)
                                   : job.what.stage_key;
  if (options_.signer) m.signature = options_.signer->sign({key, digest_hex(made), made.size()});
  options_.link->send(job.coordinator, std::move(m), outcome.artifact);
}

void worker_slots::track_result(const accepted_job& job, std::size_t bytes) {
  if (!coordinators_.contains(job.coordinator)) return;
  if (sent_.size() >= limits::results_tracked_max) sent_.pop_front();
  sent_.push_back({job.coordinator, job.what.id,
                   self_->clock().now() + limits::stream_silence_max + limits::transfer_time_max(bytes)});
}

void worker_slots::fail(const accepted_job& job, const error& why, std::uint64_t memory_bytes) {
  if (job.what.kernel) {
    log::debug("a kernel of " + job.what.name + ": " + to_string(why));
  } else {
    log::warning("job " + job.what.name + ", stage " + job.what.stage.name + ": " + to_string(why));
    options_.probe->job_failed(to_string(why.code));
  }
  net::job_failed m{job.what.id, job.what.stage_key, std::string(to_string(why.code)), why.message, memory_bytes};
  m.reason.resize(std::min(m.reason.size(), limits::text_bytes_max));
  options_.link->send(job.coordinator, std::move(m), nullptr);
}

void worker_slots::renew_leases() {
  tick_armed_ = false;
  std::erase_if(sent_, [now = self_->clock().now()](const sent_result& r) { return now >= r.until; });
  if (!kept_by_.empty() && self_->clock().now() >= kept_until_) {
    const auto first = kept_by_.front();
    let_go(first.by, first.number, "it was heeded for as long as may be");
  }
  for (const auto& [coordinator, known] : coordinators_) {
    auto held = make_offer(coordinator).running;
    if (!held.empty()) options_.link->send(coordinator, net::job_alive{std::move(held)}, nullptr);
  }
  settle();
}

bool worker_slots::has_jobs() const {
  return !waiting_.empty() ||
         std::any_of(slots_.begin(), slots_.end(), [](const slot& s) { return s.job.has_value(); });
}

void worker_slots::begin_drain(bool at_once) {
  draining_ = true;
  if (at_once) return end();
  settle();
}

void worker_slots::settle() {
  publish_gauges();
  offer_changes();
  const bool working = has_jobs();
  if ((working || !sent_.empty() || !kept_by_.empty()) && !tick_armed_) {
    tick_armed_ = true;
    self_->delayed_send(self_, options_.lease_renewal, tick{});
  }
  if (draining_ && !working) end();
}

void worker_slots::end() {
  if (ended_) return;
  ended_ = true;
  for (auto& slot : slots_) self_->send(slot.engine, drain{});
  if (options_.on_end) options_.on_end();
  self_->quit();
}

void worker_slots::publish_gauges() const {
  double starting = 0, idle = 0, busy = 0, faulty = 0;
  for (const auto& slot : slots_) {
    if (slot.job) {
      ++busy;
    } else if (slot.ready) {
      ++idle;
    } else {
      ++(slot.problem ? faulty : starting);
    }
  }
  options_.probe->engines_now("starting", starting);
  options_.probe->engines_now("idle", idle);
  options_.probe->engines_now("busy", busy);
  options_.probe->engines_now("restarting", faulty);
  options_.probe->jobs_now(busy);
  std::uint64_t taken = 0;
  for (const auto& slot : slots_) taken += slot.job ? memory_of(*slot.job) : 0;
  options_.probe->memory_now(static_cast<double>(options_.memory_bytes), static_cast<double>(taken));
  options_.probe->lacks("engines", idle + busy > 0 ? "" : "none is warm");
  options_.probe->coordinators_now(static_cast<double>(coordinators_.size()));
  options_.probe->lacks("coordinators", coordinators_.empty() ? "none is connected" : "");
}

worker_actor::behavior_type worker_behavior(worker_slots::pointer self, worker_options options) {
  self->state.start(self, std::move(options));
  return {
      [self](const link_events& m) { self->state.handle(m); },
      [self](const farm_found& m) { self->state.find_coordinators(m); },
      [self](const engine_state& m) { self->state.take_state(m); },
      [self](engine_outcome& m) { self->state.take_outcome(m); },
      [self](const engine_kernel& m) { self->state.ask_for_kernel(m); },
      [self](const tick&) { self->state.renew_leases(); },
      [self](const drain& m) { self->state.begin_drain(m.at_once); },
  };
}

}  // namespace fxfarm::actors
