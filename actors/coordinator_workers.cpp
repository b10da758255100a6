// What workers offer, and what they say of their jobs.

#include "actors/coordinator_core.hpp"
#include "runtime/digest.hpp"
#include "runtime/keys.hpp"

namespace fxfarm::actors {
namespace {

scheduler::worker_offer without_slots(scheduler::worker_offer offer, const error& why) {
  offer.slots = 0;
  offer.problem = to_string(why);
  return offer;
}

// A worker of a version that does not say has the one that its engines see.
unsigned gpus_of(const net::worker_offer& m) {
  return m.gpus == 0 && m.runs_on.device != "cpu" ? 1 : m.gpus;
}

}  // namespace

void coordinator_core::on(const net::peer_id& from, const net::worker_offer& m, time_point now) {
  scheduler::worker_offer offer{
      m.runs_on,  m.slots,      m.taken,        m.draining,     m.problem,     m.sandbox, m.engine_memory_bytes,
      gpus_of(m), m.gpus_taken, m.memory_bytes, m.memory_taken, m.can_be_kept, m.can_help};
  auto& starting_since = peers_.at(from).starting_since;
  if (!offer.starting()) {
    starting_since.reset();
    starting_.erase(from);
  } else if (!starting_since) {
    starting_since = now;
    starting_.insert(from);
  }
  if (auto& passed = peers_.at(from).passed) {
    passed->offered = std::move(offer);
    offer = without_slots(passed->offered, passed->why);
  }
  note_heeded(from, m.heeds, now);
  scheduler_.set_worker(from, std::move(offer));
  for (const auto& unknown : jobs_.renew(from, without_kernels(from, m.running), now)) {
    send(from, net::cancel_job{unknown, "this coordinator knows of no such lease"}, nullptr);
  }
  start_jobs(now);
}

void coordinator_core::on(const net::peer_id& from, const net::job_held& m, time_point now) {
  const auto& job = m.what;
  if (jobs_.renew(from, {job.id}, now).empty()) return;  // said again
  auto refuse = [&](std::string why) { send(from, net::cancel_job{job.id, std::move(why)}, nullptr); };
  const auto graph_key = scoped_key(job.scope, job.graph_key);
  if (leases_) {
    const lease_facts claimed{job.id, job.stage_key, graph_key, peers_.at(from).key};
    if (auto given = leases_->check(claimed, job.ticket, settings_.unix_seconds()); !given) {
      probe_.claim_refused();
      return refuse(given.failure().message);
    }
  }
  if (draining_) return refuse("the coordinator is draining");
  job_request request{job.stage_key,
                      graph_key,
                      job.name,
                      std::make_shared<const stage_spec>(job.stage),
                      std::make_shared<const platform>(job.target),
                      job.rank,
                      job.space,
                      {},
                      job.measures && is_one_gpu(job.target)};
  if (!is_key_within(job.scope, graph_key) ||
      make_stage_key(graph_key, job.target, job.stage, settings_.salt) != job.stage_key) {
    return refuse("its stage key is not this farm's");
  }
  const auto* known = book_.find(graph_key, job.stage_key);
  if (known && known->state == "ready") return refuse("it has been made already");
  if (!jobs_.adopt(request, from, job.id, job.attempts, now))
    return refuse("it is at work elsewhere, or there are too many");
  const auto& adopted = *jobs_.find(job.stage_key);
  // A coordinator of a version that counts no memory has not said.
  scheduler_.occupy(job.stage_key, from, job.space, adopted.request.measures,
                    job.memory_bytes > 0 ? job.memory_bytes : compiles_.memory_expected(graph_key, job.stage.name));
  probe_.adopted();
  tell_running(adopted, life_step::adopted, now);
  forget_graph_unless_used(graph_key);
  start_jobs(now);  // it may have waited here, and a worker have been kept for it
}

void coordinator_core::on(const net::peer_id& from, const net::job_alive& m, time_point now) {
  for (const auto& unknown : jobs_.renew(from, without_kernels(from, m.ids), now)) {
    send(from, net::cancel_job{unknown, "the lease has moved on"}, nullptr);
  }
}

void coordinator_core::on(const net::peer_id& from, const net::job_failed& m, time_point now) {
  if (take_kernel(from, m)) return start_jobs(now);
  const auto code = errc_from_string(m.code);
  if (const auto* job = jobs_.find_attempt(from, m.id))
    compiles_.had_memory(job->request.graph_key, job->request.stage->name, m.memory_bytes, false);
  attempt_failed(from, m.id, {code == errc::none ? errc::protocol : code, m.reason}, fault::of_attempt, now);
}

void coordinator_core::attempt_failed(const net::peer_id& from, const std::string& attempt, const error& why,
                                      fault whose, time_point now) {
  auto setback = jobs_.fail(from, attempt, why, now, whose);
  if (!setback) {
    probe_.result_refused();
    return;
  }
  // The worker knows that its job has ended.
  scheduler_.release(setback->stage_key);
  // What nobody who is accepted has signed is for another worker to make, where there is one.
  if (why.code == errc::busy || why.code == errc::untrusted) scheduler_.mark_full(from);
  setback->attempt.clear();
  settle({*setback}, now);
}

void coordinator_core::pass_over(const net::peer_id& worker, const artifact_signature& by, const error& why) {
  const auto* offer = scheduler_.offer_of(worker);
  auto& passed = peers_.at(worker).passed;
  if (!offer || passed) return;
  passed = passed_over{by, *offer, why};
  passed_over_.insert(worker);
  scheduler_.set_worker(worker, without_slots(*offer, why));
}

void coordinator_core::pass_over_no_longer() {
  std::erase_if(passed_over_, [this](const net::peer_id& id) {
    auto& passed = peers_.at(id).passed;
    if (settings_.signatures->refuses_signer(passed->by)) return false;
    scheduler_.set_worker(id, std::move(passed->offered));
    passed.reset();
    return true;
  });
}

void coordinator_core::tell_kept() {
  for (const auto& [worker, kept, number, with_job] : scheduler_.kept_changes()) {
    if (kept) {
      kept_[worker] = {number, std::nullopt};
    } else {
      kept_.erase(worker);
    }
    if (!with_job) send(worker, net::keep_worker{kept, number}, nullptr);
  }
}

// While others that asked before are heeded no time passes: they have it for `worker_kept_max` each, at most.
void coordinator_core::note_heeded(const net::peer_id& worker, std::uint64_t number, time_point now) {
  const auto it = kept_.find(worker);
  if (it == kept_.end()) return;
  auto& since = it->second.heeded_since;
  if (number != it->second.number) {
    if (since) scheduler_.keep_no_longer(worker);  // its time was up there
  } else if (!since) {
    since = now;
  }
}

// The worker gives it to others by then, or will never have as much.
void coordinator_core::keep_no_longer(time_point now) {
  for (const auto& [worker, keep] : kept_) {
    if (keep.heeded_since && now - *keep.heeded_since >= limits::worker_kept_max) scheduler_.keep_no_longer(worker);
  }
}

// A worker ends and reports an engine that takes too long; one that says nothing must not keep jobs waiting for it.
void coordinator_core::give_up_starting(time_point now) {
  for (const auto& id : starting_) {
    if (now < *peers_.at(id).starting_since + limits::engine_start_max + limits::no_worker_grace) continue;
    auto offer = *scheduler_.offer_of(id);
    if (!offer.starting()) continue;
    offer.problem = to_string(error{errc::engine_start, "its engines have not said in time what they are"});
    scheduler_.set_worker(id, std::move(offer));
  }
}

}  // namespace fxfarm::actors
