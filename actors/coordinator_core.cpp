#include "actors/coordinator_core.hpp"

#include "runtime/digest.hpp"
#include "runtime/keys.hpp"

namespace fxfarm::actors {

coordinator_core::coordinator_core(coordinator_settings settings, coordinator_port& port,
                                   monitoring::coordinator_probe& probe, statistics_access statistics, time_point now)
    : settings_(std::move(settings)),
      port_(port),
      probe_(probe),
      statistics_(std::move(statistics)),
      started_(now),
      leases_(settings_.lease_secret.empty()
                  ? std::nullopt
                  : std::optional<lease_seal>(std::in_place, settings_.lease_secret,
                                              std::chrono::ceil<std::chrono::seconds>(settings_.jobs.deadline))),
      stage_keys_(settings_.salt),
      jobs_(settings_.id, settings_.jobs),
      kernels_(settings_.id, settings_.kernels_per_job),
      scheduler_(settings_.id),
      switches_(settings_.id),
      book_(settings_.history_graphs, settings_.history_bytes),
      accounts_(settings_.accounts) {}

void coordinator_core::handle_message(const net::inbound& in, const net::message& what, time_point now) {
  const auto& from = in.peer;
  if (in.over_quota) return say_busy(from, what, now);
  if (const auto* m = std::get_if<net::lookup>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::submit>(&what)) return on(from, *m, in.attachment, now);
  if (const auto* m = std::get_if<net::release>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::switched>(&what)) {
    note_switch(from, *m, now);
    return on(from, *m);
  }
  if (const auto* m = std::get_if<net::stage_armed>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::switch_vote>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::worker_offer>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::job_held>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::job_alive>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::job_done>(&what)) return on(in, *m, now);
  if (const auto* m = std::get_if<net::job_failed>(&what)) return on(from, *m, now);
  if (const auto* m = std::get_if<net::kernel_wanted>(&what)) return on(from, *m, in.attachment, now);
  if (const auto* m = std::get_if<net::ask>(&what)) return on(from, *m, now);
}

void coordinator_core::peer_left(const net::peer_id& id, const error& why, time_point now) {
  auto it = peers_.find(id);
  if (it == peers_.end()) return;
  const peer gone = std::move(it->second);
  const auto& role = gone.who.role;
  peers_.erase(it);
  if (gone.right.isolated) --isolated_;
  if (role == "client") {
    --clients_;
    accounts_.leave(gone.account);
    for (const auto& key : gone.reading) reading_ -= reads_.at(key).erase(id);
    for (const auto& graph_key : gone.graphs_asked) graph_asked_.at(graph_key).asked.erase(id);
    forget_dropped(jobs_.unsubscribe_all(id), now);
    for (const auto& graph_key : gone.graphs_asked) expect_no_graph(id, graph_key, now);
    switches_.leave(id, now);
    tell_switches();
  } else if (role == "worker") {
    scheduler_.remove_worker(id);
    for (const auto& kernel : kernels_.worker_lost(id)) fail_kernel(kernel, why.with_context("its worker was lost"));
    kept_.erase(id);
    starting_.erase(id);
    passed_over_.erase(id);
    probe_.worker_left();
    settle(jobs_.worker_lost(id, why.with_context("worker lost"), now), now);
    start_jobs(now);
  }
}

void coordinator_core::on(const net::peer_id&, const net::switched& m) {
  for (const double told : {m.request_to_switch_seconds, m.load_seconds, m.prepare_seconds, m.farm_seconds}) {
    if (!is_duration(told)) return probe_.message_refused("client");
  }
  if (m.error == to_string(errc::slower)) return probe_.rolled_back(m.stage);
  if (!m.error.empty()) return probe_.load_failed(m.error, m.stage);
  probe_.request_to_switch(m.stage, m.request_to_switch_seconds);
  probe_.load_took(m.stage, m.load_seconds);
  if (m.farm_seconds == 0) return;  // of a client that does not tell them yet
  probe_.switch_step(m.stage, "prepare", m.prepare_seconds);
  probe_.switch_step(m.stage, "farm", m.farm_seconds);
  probe_.switch_step(m.stage, "load", m.load_seconds);
}

// --- jobs ------------------------------------------------------------------------------------------------------------

void coordinator_core::queue_jobs(const std::vector<std::string>& stage_keys, time_point now) {
  for (const auto& key : stage_keys) {
    const auto* job = jobs_.find(key);
    enqueue(*job);
    probe_.job_queued();
    if (auto* entry = book_.find(job->request.graph_key, key)) {
      entry->state = "queued";
      book_.note(*entry, life_step::queued, now);
    }
    for (const auto& peer : job->subscribers) {
      send(peer, net::stage_progress{job->request.graph_key, key, "queued", {}}, nullptr);
    }
  }
}

void coordinator_core::enqueue(const job_record& job) {
  const auto& r = job.request;
  scheduler_.enqueue({r.stage_key, *r.target, r.rank, r.space, compiles_.expected(r.graph_key, r.stage->name),
                      job.queued_at, compiles_.memory_above(r.graph_key, r.stage->name), r.measures,
                      compiles_.memory_expected(r.graph_key, r.stage->name), job.failed_on});
}

void coordinator_core::start_jobs(time_point now) {
  if (draining_) return tell_kept();
  for (const auto& [key, worker, memory_bytes, ends_keep] : scheduler_.assign()) {
    const auto* job = jobs_.find(key);
    const auto& r = job->request;
    const auto& graph = graphs_.at(r.graph_key).data;
    const auto attempt = jobs_.start(key, worker, now, limits::transfer_time_max(graph->size()));
    probe_.job_started();
    probe_.queue_waited(r.stage->name, job->queue_seconds());
    net::job message{
        attempt,       key,     std::string(plain_key(r.graph_key)), r.name, *r.stage, *r.target, 0, 0, r.rank,
        job->attempts, r.space, std::string(scope_of(r.graph_key)),  {}};
    message.lease_ms = static_cast<std::uint64_t>(settings_.jobs.lease.count());
    message.deadline_ms = static_cast<std::uint64_t>(settings_.jobs.deadline.count());
    message.measures = r.measures;
    message.memory_bytes = memory_bytes;
    // Of a GPU's, the compilers are few and its own.
    if (r.target->device == "cpu" && scheduler_.slots() > 1) message.kernels_elsewhere = settings_.kernels_per_job;
    message.ends_keep = ends_keep;
    if (leases_) message.ticket = ticket_for(worker, message);
    send(worker, std::move(message), graph);
    tell_running(*job, life_step::started, now);
  }
  tell_kept();
}

void coordinator_core::tell_running(const job_record& job, life_step how, time_point now) {
  const auto& r = job.request;
  auto& entry = book_.touch(r.graph_key, r.name, r.stage->name, r.stage_key);
  entry.state = "running";
  entry.source = job.worker;
  entry.error.clear();
  entry.queue_seconds = job.queue_seconds();
  book_.note(entry, how, now, {.who = name_of(job.worker), .seconds = entry.queue_seconds});
  for (const auto& peer : job.subscribers) {
    send(peer, net::stage_progress{r.graph_key, r.stage_key, "running", job.worker}, nullptr);
  }
}

void coordinator_core::settle(const std::vector<job_setback>& setbacks, time_point now) {
  for (const auto& setback : setbacks) {
    if (const auto* by = scheduler_.offer_of(setback.worker); by && setback.why.code == errc::memory)
      compiles_.passed_memory(setback.graph_key, setback.stage, by->engine_memory_bytes);
    if (!setback.attempt.empty()) {
      scheduler_.release(setback.stage_key);
      send(setback.worker, net::cancel_job{setback.attempt, to_string(setback.why)}, nullptr);
    }
    if (setback.retried && draining_) {
      // Nothing is started any more, so it would wait for ever.
      auto last = jobs_.fail_queued(setback.stage_key, {errc::shutdown, "the coordinator is draining"}, now);
      settle({*last}, now);
      continue;
    }
    auto* entry = book_.find(setback.graph_key, setback.stage_key);
    if (setback.retried) {
      probe_.retried(to_string(setback.why.code));
      if (entry) entry->state = "queued";
      note_setback(setback, now);
      queue_again(*jobs_.find(setback.stage_key), now);
      continue;
    }
    scheduler_.cancel(setback.stage_key);
    probe_.job_failed(to_string(setback.why.code), setback.stage);
    if (entry) {
      entry->state = "failed";
      entry->error = to_string(setback.why);
    }
    note_setback(setback, now);
    for (const auto& peer : setback.subscribers) {
      tell_failure(peer, setback.graph_key, setback.stage_key, setback.why);
    }
    forget_graph_unless_used(setback.graph_key);
  }
  if (!setbacks.empty()) start_jobs(now);
}

void coordinator_core::queue_again(const job_record& job, time_point now) {
  const auto& graph_key = job.request.graph_key;
  if (graphs_.contains(graph_key)) return enqueue(job);
  // It was adopted from a worker, so its graph has not been here.
  jobs_.want_graph(job.request.stage_key, now);
  if (!graph_asked_.contains(graph_key)) ask_for_graph(graph_key, now);
}

void coordinator_core::forget_graph_unless_used(const std::string& graph_key) {
  if (!jobs_.wants(graph_key)) forget_question(graph_key);
  if (jobs_.uses(graph_key)) return;
  auto it = graphs_.find(graph_key);
  if (it == graphs_.end()) return;
  graph_bytes_ -= it->second.data->size();
  accounts_.let_go(it->second.account, it->second.data->size());
  graphs_.erase(it);
}

// --- time ------------------------------------------------------------------------------------------------------------

void coordinator_core::tick(time_point now) {
  switches_.tick(now);
  tell_switches();
  ask_again(now);
  settle(jobs_.expire(now), now);
  expire_kernels(now);
  scheduler_.trust_again();
  scheduler_.avoid_no_longer(now - limits::retry_elsewhere);
  keep_no_longer(now);
  pass_over_no_longer();
  accounts_.forget_idle(now);
  start_jobs(now);
  give_up_starting(now);
  fail_unplaceable(now);
  tell_waiting(now);
}

void coordinator_core::tell_waiting(time_point now) const {
  std::map<std::string, monitoring::waiting_jobs> waiting;
  for (const auto& [stage, since] : jobs_.queued_since()) {
    const std::chrono::duration<double> oldest = std::max(now - *since.begin(), time_point::duration(0));
    waiting[stage] = {static_cast<double>(since.size()), oldest.count()};
  }
  probe_.waiting_now(waiting);
}

// A worker that leaves is often back in a moment, so the grace starts when the last one that fits has gone.
void coordinator_core::fail_unplaceable(time_point now) {
  text_map<time_point> since;
  for (const auto& [key, why] : scheduler_.unplaceable()) {
    auto known = unplaceable_since_.find(key);
    const auto first =
        known == unplaceable_since_.end() ? std::max(jobs_.find(key)->queued_at, ticked_) : known->second;
    if (now < first + limits::no_worker_grace) {
      since.emplace(key, first);
    } else if (auto setback = jobs_.fail_queued(key, why, now)) {
      settle({*setback}, now);
    }
  }
  unplaceable_since_ = std::move(since);
  ticked_ = now;
}

void coordinator_core::drain(time_point now) {
  draining_ = true;
  std::vector<std::string> waiting;
  for (const auto& [key, job] : jobs_.jobs()) {
    if (job.state == job_state::queued || job.state == job_state::wants_graph) waiting.push_back(key);
  }
  for (const auto& key : waiting) {
    if (auto setback = jobs_.fail_queued(key, {errc::shutdown, "the coordinator is draining"}, now)) {
      settle({*setback}, now);
    }
  }
}

void coordinator_core::publish_gauges() const {
  for (const auto& [state, count] : jobs_.count_by_state()) {
    probe_.jobs_now(to_string(state), static_cast<double>(count));
  }
  for (std::size_t i = 0; i < worker_states; ++i) {
    const auto state = static_cast<worker_state>(i);
    probe_.workers_now(to_string(state), static_cast<double>(scheduler_.count(state)));
  }
  probe_.clients_now(static_cast<double>(clients_));
  probe_.clients_waiting_now(static_cast<double>(jobs_.peers_waiting()));
  if (jobs_.count(job_state::queued) == 0) probe_.waiting_now({});  // no tick may follow
}

}  // namespace fxfarm::actors
