// Lookups: what is answered at once, what becomes a job, and whom its graph is asked from.

#include "actors/coordinator_core.hpp"
#include "runtime/keys.hpp"

#include <algorithm>

namespace fxfarm::actors {

void coordinator_core::on(const net::peer_id& from, const net::lookup& m, time_point now) {
  probe_.lookup_received();
  const auto& sender = peers_.at(from);
  if (!is_proper(sender, m)) return;
  if (!accounts_.take_lookup(sender.account, now)) {
    probe_.quota_passed("lookups");
    return turn_away(from, m, {errc::busy, "the clients of this key have asked as often as they may"}, now);
  }
  const auto& space = sender.right.space.empty() ? m.space : sender.right.space;
  auto& target = peers_.at(from).target;
  if (!target || *target != m.target) target = std::make_shared<const platform>(m.target);
  auto& plan = peers_.at(from).plan;
  plan.resize(m.stages.size());
  bool all_there = true;
  for (unsigned rank = 0; rank < m.stages.size(); ++rank) {
    const auto& stage = m.stages[rank];
    const auto& stage_key = stage_keys_.of(m.graph_key, m.target, stage);
    const bool refused = std::find(m.refused.begin(), m.refused.end(), stage_key) != m.refused.end();
    if (!refused && serve_from_memory(from, m, stage, stage_key, now)) continue;
    all_there = false;
    auto& shared = plan[rank];
    if (!shared || *shared != stage) shared = std::make_shared<const stage_spec>(stage);
    ask_for_stage(from,
                  {stage_key, m.graph_key, m.name, shared, target, rank, space, sender.account,
                   measures(stage, m.stages, m.target)},
                  refused, now);
  }
  book_.asked(m.graph_key, space, m.parts, now);
  if (!all_there) start_jobs(now);
}

bool coordinator_core::is_proper(const peer& sender, const net::lookup& m) {
  if (is_key_within(sender.right.scope(), m.graph_key) && !m.stages.empty() &&
      m.stages.size() <= limits::stages_per_graph_max) {
    return true;
  }
  probe_.message_refused("client");
  return false;
}

void coordinator_core::say_busy(const net::peer_id& from, const net::message& what, time_point now) {
  const error why{errc::busy, "the peers of this key have sent as many messages as they may"};
  if (const auto* m = std::get_if<net::lookup>(&what); m && is_proper(peers_.at(from), *m)) {
    return turn_away(from, *m, why, now);
  }
  const auto* m = std::get_if<net::ask>(&what);
  if (m) send(from, net::answer{m->request, {}, std::string(to_string(why.code)), why.message}, nullptr);
}

void coordinator_core::turn_away(const net::peer_id& from, const net::lookup& m, const error& why, time_point now) {
  for (const auto& stage : m.stages) {
    const auto& stage_key = stage_keys_.of(m.graph_key, m.target, stage);
    book_.note(m.graph_key, stage_key, life_step::turned_away, now, {.text = to_string(why)});
    tell_failure(from, m.graph_key, stage_key, why);
  }
}

bool coordinator_core::serve_from_memory(const net::peer_id& to, const net::lookup& m, const stage_spec& stage,
                                         const std::string& stage_key, time_point now) {
  if (jobs_.find(stage_key) || jobs_.failures().find(stage_key, now)) return false;
  const auto found = port_.find_in_memory(stage_key);
  if (!found) return false;
  auto& entry = book_.touch(m.graph_key, m.name, stage.name, stage_key);
  if (!entry.target) book_.covers(entry, peers_.at(to).target, stage.options);
  note_stored(entry, *found, now);
  send(to, net::stage_ready{m.graph_key, stage_key, found->tier, 0, found->phases, found->signature}, found->data);
  return true;
}

void coordinator_core::ask_for_stage(const net::peer_id& from, job_request request, bool refused, time_point now) {
  auto& entry = book_.touch(request.graph_key, request.name, request.stage->name, request.stage_key);
  book_.covers(entry, request.target, request.stage->options);
  if (jobs_.find(request.stage_key) || jobs_.failures().find(request.stage_key, now)) return admit(from, request, now);
  if (refused && !reads_.contains(request.stage_key)) {
    probe_.artifact_refused();
    book_.note(entry, life_step::refused, now, {.who = name_of(from)});
    port_.remove_stored(request.stage_key);
    return admit(from, request, now);
  }
  auto& reader = peers_.at(from);
  auto it = reads_.find(request.stage_key);
  if (it != reads_.end() && it->second.contains(from)) return;  // asked again while the store is at it
  if (reading_ >= limits::lookups_reading_max || reader.reading.size() >= limits::lookups_reading_per_client_max) {
    const error why{errc::busy, "as many lookups as may wait for the store"};
    book_.note(entry, life_step::turned_away, now, {.text = to_string(why)});
    return tell_failure(from, request.graph_key, request.stage_key, why);
  }
  const bool first = it == reads_.end();
  const auto stage_key = request.stage_key;
  reads_[stage_key].emplace(from, waiting_lookup{std::move(request), refused});
  reader.reading.insert(stage_key);
  ++reading_;
  if (first) port_.read_store(stage_key);
}

void coordinator_core::admit(const net::peer_id& from, const job_request& request, time_point now) {
  auto& entry = book_.touch(request.graph_key, request.name, request.stage->name, request.stage_key);
  if (draining_ && !jobs_.find(request.stage_key)) {
    const error why{errc::shutdown, "the coordinator is draining"};
    book_.note(entry, life_step::turned_away, now, {.text = to_string(why)});
    return tell_failure(from, request.graph_key, request.stage_key, why);
  }
  auto admitted = jobs_.admit(request, from, now);
  if (!admitted) {
    entry.state = "failed";
    entry.error = to_string(admitted.failure());
    const bool full = admitted.failure().code == errc::busy;
    if (full && jobs_.has_all_jobs(request.account)) probe_.quota_passed("jobs");
    book_.note(entry, full ? life_step::turned_away : life_step::remembered, now, {.text = entry.error});
    return tell_failure(from, request.graph_key, request.stage_key, admitted.failure());
  }
  const auto* job = jobs_.find(request.stage_key);
  if (!*admitted) {
    probe_.joined();
    book_.note(entry, life_step::joined, now, {.who = name_of(from)});
    const bool started = job->state == job_state::running || job->state == job_state::storing;
    send(from, net::stage_progress{request.graph_key, request.stage_key, started ? "running" : "queued", job->worker},
         nullptr);
    return;
  }
  entry.state = to_string(job->state);
  entry.error.clear();
  book_.note(entry, life_step::missed, now);
  if (graphs_.contains(request.graph_key)) {
    queue_jobs(jobs_.graph_arrived(request.graph_key, now), now);
  } else if (!graph_asked_.contains(request.graph_key)) {
    ask_for_graph(request.graph_key, now);
  }
}

void coordinator_core::ask_for_graph(const std::string& graph_key, time_point now) {
  auto& question = graph_asked_[graph_key];
  ask_again_at_.erase({question.until, graph_key});
  question.until = now + limits::graph_ask_again;
  const auto peer =
      question.asked.size() < limits::graph_asks_max ? jobs_.next_source(graph_key, question.asked) : net::peer_id();
  if (!peer.empty()) {
    question.asked.insert(peer);
    question.last = peer;
    question.until = now + limits::graph_wait_max;
    peers_.at(peer).graphs_asked.insert(graph_key);
    jobs_.graph_asked(graph_key, now);
    for (const auto& stage_key : jobs_.wanting(graph_key)) {
      book_.note(graph_key, stage_key, life_step::graph_asked, now, {.who = name_of(peer)});
    }
    send(peer, net::need_graph{graph_key}, nullptr);
  }
  ask_again_at_.emplace(question.until, graph_key);
}

void coordinator_core::ask_again(time_point now) {
  while (!ask_again_at_.empty() && ask_again_at_.begin()->first <= now) {
    ask_for_graph(std::string(ask_again_at_.begin()->second), now);
  }
}

void coordinator_core::forget_question(const std::string& graph_key) {
  auto question = graph_asked_.extract(graph_key);
  if (question.empty()) return;
  ask_again_at_.erase({question.mapped().until, graph_key});
  for (const auto& peer : question.mapped().asked) peers_.at(peer).graphs_asked.erase(graph_key);
}

void coordinator_core::expect_no_graph(const net::peer_id& from, const std::string& graph_key, time_point now) {
  auto it = graph_asked_.find(graph_key);
  if (it != graph_asked_.end() && it->second.last == from) ask_for_graph(graph_key, now);
}

void coordinator_core::on(const net::peer_id& from, const net::submit& m, const blob& graph, time_point now) {
  auto asked = graph_asked_.find(m.graph_key);
  if (!graph || asked == graph_asked_.end() || !asked->second.asked.contains(from)) return;  // late, or never asked for
  forget_question(m.graph_key);
  if (!jobs_.wants(m.graph_key)) return;
  const auto& account = peers_.at(from).account;
  std::optional<error> refused;
  if (graph->empty()) {
    refused = {errc::bad_input, "the graph has no bytes"};
  } else if (graph_bytes_ + graph->size() > settings_.graph_bytes_max) {
    refused = {errc::busy, "the coordinator holds as many graph bytes as it may"};
  } else if (!accounts_.hold(account, graph->size())) {
    probe_.quota_passed("graph_bytes");
    refused = {errc::busy, "the clients of this key have as many graph bytes here as they may"};
  }
  if (refused) {
    for (const auto& key : jobs_.wanting(m.graph_key)) {
      auto setback = jobs_.fail_queued(key, *refused, now);
      if (setback) settle({*setback}, now);
    }
    return;
  }
  probe_.graph_received(static_cast<double>(graph->size()));
  graph_bytes_ += graph->size();
  graphs_.emplace(m.graph_key, held_graph{graph, account});
  queue_jobs(jobs_.graph_arrived(m.graph_key, now), now);
  start_jobs(now);
}

void coordinator_core::on(const net::peer_id& from, const net::release& m, time_point now) {
  std::set<std::string> graphs;
  for (const auto& key : m.stage_keys) {
    forget_read(from, key);
    if (const auto* job = jobs_.find(key)) graphs.insert(job->request.graph_key);
  }
  forget_dropped(jobs_.unsubscribe(from, m.stage_keys), now);
  for (const auto& graph_key : graphs) {
    if (!jobs_.is_source(graph_key, from)) expect_no_graph(from, graph_key, now);
  }
}

void coordinator_core::forget_dropped(const std::vector<job_table::dropped_job>& dropped, time_point now) {
  for (const auto& [stage_key, graph_key] : dropped) {
    scheduler_.cancel(stage_key);
    probe_.cancelled();
    if (auto* entry = book_.find(graph_key, stage_key)) {
      entry->state = "released";
      book_.note(*entry, life_step::cancelled, now);
    }
    forget_graph_unless_used(graph_key);
  }
  // A worker may have been kept for one of them.
  if (!dropped.empty()) start_jobs(now);
}

}  // namespace fxfarm::actors
