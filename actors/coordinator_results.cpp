// What has been compiled: kept in the store, read from it, and given to those who wait.

#include "actors/coordinator_core.hpp"
#include "monitoring/log.hpp"
#include "runtime/digest.hpp"

#include <algorithm>
#include <utility>

namespace fxfarm::actors {
namespace {

double total(const std::map<std::string, double>& phases) {
  double sum = 0;
  for (const auto& [phase, seconds] : phases) sum += is_duration(seconds) ? seconds : 0;
  return sum;
}

}  // namespace

void coordinator_core::forget_read(const net::peer_id& from, const std::string& stage_key) {
  auto it = reads_.find(stage_key);
  if (it == reads_.end() || it->second.erase(from) == 0) return;
  peers_.at(from).reading.erase(stage_key);
  --reading_;
}

void coordinator_core::store_read(const std::string& stage_key, result<std::optional<stored>> found, time_point now) {
  auto waiting = reads_.extract(stage_key);
  if (waiting.empty()) return;
  const bool here = found && found.value().has_value();
  bool removed = false;
  for (const auto& [peer, lookup] : waiting.mapped()) {
    const auto& request = lookup.request;
    peers_.at(peer).reading.erase(stage_key);
    --reading_;
    if (here && lookup.refused && !removed) {
      removed = true;
      probe_.artifact_refused();
      book_.note(request.graph_key, stage_key, life_step::refused, now, {.who = name_of(peer)});
      port_.remove_stored(stage_key);
    }
    if (here && !lookup.refused) {
      const auto& artifact = **found;
      note_stored(book_.touch(request.graph_key, request.name, request.stage->name, stage_key), artifact, now);
      send(peer, net::stage_ready{request.graph_key, stage_key, artifact.tier, 0, artifact.phases, artifact.signature},
           artifact.data);
    } else {
      admit(peer, request, now);
    }
  }
  start_jobs(now);
}

std::optional<signature_check::refusal> coordinator_core::distrust(const net::inbound& in, const net::job_done& m) {
  const auto* job = jobs_.find_attempt(in.peer, m.id);
  return job ? distrust(in, job->request.stage_key, m.signature) : std::nullopt;
}

std::optional<signature_check::refusal> coordinator_core::distrust(const net::inbound& in, const std::string& stage_key,
                                                                   const artifact_signature& by) {
  if (!settings_.signatures) return std::nullopt;
  const artifact_facts made{stage_key, in.digest.empty() ? digest_hex(*in.attachment) : in.digest,
                            in.attachment->size()};
  auto refused = settings_.signatures->refuses(made, by);
  if (!refused) return std::nullopt;
  probe_.result_untrusted(refused->reason);
  log::warning("a result is not taken", {{"worker", name_of(in.peer)}, {"why", to_string(refused->why)}});
  return refused;
}

void coordinator_core::on(const net::inbound& in, const net::job_done& m, time_point now) {
  const auto& from = in.peer;
  const auto& artifact = in.attachment;
  if (take_kernel(in, m)) return start_jobs(now);
  if (!artifact) {
    return on(from, net::job_failed{m.id, m.stage_key, std::string(to_string(errc::protocol)), "no artifact came"},
              now);
  }
  if (const auto refused = distrust(in, m)) {
    // Whose key has no line will bring nothing else; a signature of other bytes says nothing of the next.
    const bool of_worker = settings_.signatures->refuses_signer(m.signature).has_value();
    if (of_worker) pass_over(from, m.signature, refused->why);
    return attempt_failed(from, m.id, refused->why, of_worker ? fault::of_worker : fault::of_attempt, now);
  }
  const auto* job = jobs_.finish(from, m.id);
  if (!job) {
    probe_.result_refused();
    return;
  }
  const auto& request = job->request;
  scheduler_.release(request.stage_key);
  compiles_.took(request.graph_key, request.stage->name,
                 std::chrono::duration<double>(std::max(now - job->started_at, time_point::duration(0))).count());
  compiles_.had_memory(request.graph_key, request.stage->name, m.memory_bytes, true);
  if (m.memory_bytes > 0) probe_.memory_had(request.stage->name, static_cast<double>(m.memory_bytes));
  probe_.job_finished();
  probe_.artifact_made(static_cast<double>(artifact->size()));
  probe_.compiled(request.stage->name, total(m.phases));
  for (const auto& [phase, seconds] : m.phases) {
    if (is_duration(seconds)) probe_.phase_took(request.stage->name, phase, seconds);
  }
  if (auto* entry = book_.find(request.graph_key, request.stage_key)) {
    entry->compile_seconds = total(m.phases);
    book_.note(*entry, life_step::compiled, now,
               {.who = name_of(from), .seconds = entry->compile_seconds, .phases = &m.phases});
  }
  waiting_result done{{artifact, m.phases, name_of(from), {}, m.signature}, job->queue_seconds()};
  const auto stage_key = request.stage_key;
  forget_graph_unless_used(request.graph_key);
  port_.write_store(stage_key, done.artifact);
  writes_.emplace(stage_key, std::move(done));
  start_jobs(now);
}

void coordinator_core::store_written(const std::string& stage_key, const result<void>& outcome, time_point now) {
  auto done = writes_.extract(stage_key);
  auto job = jobs_.remove(stage_key);
  if (done.empty() || !job) return;
  // The store has counted its failure; those who wait are served all the same.
  if (!outcome) log::warning("an artifact could not be stored", {{"why", to_string(outcome.failure())}});
  const auto& artifact = done.mapped().artifact;
  if (auto* entry = book_.find(job->request.graph_key, stage_key)) {
    entry->state = "ready";
    entry->error.clear();
    entry->source = artifact.made_by;
    book_.note(*entry, life_step::answered, now, {.count = job->subscribers.size()});
  }
  bool first = true;  // the others were spared a compile of their own
  for (const auto& peer : job->subscribers) {
    probe_.stage_served("job", static_cast<double>(artifact.data->size()));
    if (!std::exchange(first, false)) probe_.compile_saved("job", total(artifact.phases));
    send(peer,
         net::stage_ready{job->request.graph_key, stage_key, artifact.made_by, done.mapped().queue_seconds,
                          artifact.phases, artifact.signature},
         artifact.data);
  }
}

// Up to half as long again, so that those who are refused together do not come back together.
std::uint64_t coordinator_core::busy_retry_ms(const net::peer_id& to) const {
  constexpr std::size_t steps = 64;
  const auto wait = compiles_.retry_after(scheduler_.queued(), scheduler_.slots());
  return static_cast<std::uint64_t>(wait.count()) * (2 * steps + std::hash<net::peer_id>()(to) % steps) / (2 * steps);
}

void coordinator_core::tell_failure(const net::peer_id& to, const std::string& graph_key, const std::string& stage_key,
                                    const error& why) {
  net::stage_failed m{graph_key, stage_key, std::string(to_string(why.code)), why.message, 0};
  m.reason.resize(std::min(m.reason.size(), limits::text_bytes_max));
  if (why.code == errc::busy) m.retry_ms = busy_retry_ms(to);
  probe_.stage_refused(m.code);
  send(to, std::move(m), nullptr);
}

void coordinator_core::note_stored(stage_entry& entry, const stored& artifact, time_point now) {
  entry.state = "ready";
  entry.error.clear();
  entry.source = artifact.tier;
  book_.note(entry, life_step::hit, now, {.who = artifact.tier});
  entry.compile_seconds = total(artifact.phases);
  probe_.stage_served(artifact.tier, static_cast<double>(artifact.data->size()));
  probe_.compile_saved(artifact.tier, entry.compile_seconds);
}

}  // namespace fxfarm::actors
