#include "runtime/job_table.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace fxfarm {
namespace {

// Failures that say something about the worker or the moment, not about the graph: worth another attempt.
bool worth_retrying(errc code) {
  switch (code) {
    case errc::engine_crashed:
    case errc::engine_start:
    case errc::memory:
    case errc::deadline:
    case errc::timeout:
    case errc::unreachable:
    case errc::shutdown:
    case errc::busy:
    case errc::corrupt:
    case errc::untrusted:
    case errc::io:
      return true;
    default:
      return false;
  }
}

// Failures of the moment are not held against the next one who asks.
bool worth_remembering(errc code) {
  switch (code) {
    case errc::no_worker:
    case errc::timeout:
    case errc::unreachable:
    case errc::shutdown:
    case errc::busy:
    case errc::cancelled:
      return false;
    default:
      return true;
  }
}

}  // namespace

std::string_view to_string(job_state s) {
  switch (s) {
    case job_state::wants_graph:
      return "wants_graph";
    case job_state::queued:
      return "queued";
    case job_state::running:
      return "running";
    case job_state::storing:
      return "storing";
  }
  return "unknown";
}

job_table::job_table(std::string attempt_prefix, job_limits bounds)
    : attempt_prefix_(std::move(attempt_prefix)),
      bounds_(bounds),
      failures_(bounds.failure_memory, bounds.failures_max) {}

result<bool> job_table::admit(const job_request& request, const std::string& peer, time_point now) {
  if (const auto* why = failures_.find(request.stage_key, now)) return *why;
  failures_.forgive(request.stage_key);
  auto found = jobs_.find(request.stage_key);
  if (found != jobs_.end()) {
    auto& subscribers = found->second.subscribers;
    if (subscribers.size() >= bounds_.subscribers_max && !subscribers.contains(peer)) {
      return {errc::busy, "the job has as many subscribers as it may"};
    }
    subscribers.insert(peer);
    by_peer_[peer].emplace(found->first, &found->second);
    return false;
  }
  if (jobs_.size() >= bounds_.jobs_max) return {errc::busy, "the coordinator has as many jobs as it may"};
  if (auto mine = by_peer_.find(peer); mine != by_peer_.end() && mine->second.size() >= bounds_.jobs_per_client_max) {
    return {errc::busy, "this client has as many jobs as it may"};
  }
  if (has_all_jobs(request.account)) {
    return {errc::busy, "the clients of this key have as many jobs as they may"};
  }
  auto& made = insert(request, now);
  made.subscribers.insert(peer);
  by_peer_[peer].emplace(made.request.stage_key, &made);
  return true;
}

job_record& job_table::insert(const job_request& request, time_point now) {
  job_record job;
  job.request = request;
  job.created = now;
  job.graph_until = now + limits::graph_wait_max;
  auto& made = jobs_.emplace(request.stage_key, std::move(job)).first->second;
  put_in(made);
  ++counts_[job_state::wants_graph];
  if (!request.account.empty()) ++by_account_[request.account];
  made.of_graph = by_graph_.emplace(made.request.graph_key, &made);
  return made;
}

bool job_table::adopt(const job_request& request, const std::string& worker, const std::string& attempt,
                      unsigned attempts, time_point now) {
  auto found = jobs_.find(request.stage_key);
  if (found == jobs_.end() && jobs_.size() >= bounds_.jobs_max) return false;
  auto& job = found == jobs_.end() ? insert(request, now) : found->second;
  if (job.state == job_state::running || job.state == job_state::storing) return false;
  take_out(job);
  if (job.state == job_state::wants_graph) job.queued_at = now;
  // Either's word is enough: who asked here may have had another plan.
  job.request.measures = job.request.measures || request.measures;
  job.attempts = std::max(attempts, job.attempts + 1) - 1;
  run(job, worker, attempt, now, {});
  return true;
}

std::string job_table::start(const std::string& stage_key, const std::string& worker, time_point now,
                             std::chrono::milliseconds transfer) {
  auto& job = jobs_.at(stage_key);
  assert(job.state == job_state::queued);
  take_out(job);
  run(job, worker, attempt_prefix_ + "-" + std::to_string(++attempts_made_), now, transfer);
  return job.attempt;
}

void job_table::run(job_record& job, const std::string& worker, const std::string& attempt, time_point now,
                    std::chrono::milliseconds transfer) {
  move_to(job, job_state::running);
  job.worker = worker;
  job.attempt = attempt;
  job.started_at = now;
  job.lease_until = now + bounds_.lease + transfer;
  ++job.attempts;
  put_in(job);
  by_attempt_[attempt] = job.request.stage_key;
}

job_record* job_table::held(const std::string& worker, const std::string& attempt) {
  return const_cast<job_record*>(std::as_const(*this).find_attempt(worker, attempt));
}

const job_record* job_table::find_attempt(const std::string& worker, const std::string& attempt) const {
  const auto it = by_attempt_.find(attempt);
  if (it == by_attempt_.end()) return nullptr;
  const auto& job = jobs_.at(it->second);
  return job.worker == worker && job.state == job_state::running ? &job : nullptr;
}

std::vector<std::string> job_table::renew(const std::string& worker, const std::vector<std::string>& attempts,
                                          time_point now) {
  std::vector<std::string> unknown;
  for (const auto& attempt : attempts) {
    if (auto* job = held(worker, attempt)) {
      take_out(*job);
      job->lease_until = now + bounds_.lease;
      put_in(*job);
    } else {
      unknown.push_back(attempt);
    }
  }
  return unknown;
}

const job_record* job_table::finish(const std::string& worker, const std::string& attempt) {
  auto* job = held(worker, attempt);
  if (!job) return nullptr;
  take_out(*job);
  move_to(*job, job_state::storing);
  put_in(*job);
  return job;
}

std::optional<job_record> job_table::remove(const std::string& stage_key) {
  auto it = jobs_.find(stage_key);
  if (it == jobs_.end()) return std::nullopt;
  auto job = it->second;
  erase(stage_key);
  return job;
}

std::optional<job_setback> job_table::fail(const std::string& worker, const std::string& attempt, error why,
                                           time_point now, fault whose) {
  auto* job = held(worker, attempt);
  if (!job) return std::nullopt;
  return set_back(*job, std::move(why), now, whose);
}

std::optional<job_setback> job_table::fail_queued(const std::string& stage_key, error why, time_point now) {
  auto it = jobs_.find(stage_key);
  if (it == jobs_.end() || it->second.state == job_state::running || it->second.state == job_state::storing) {
    return std::nullopt;
  }
  return give_up(stage_key, std::move(why), now);
}

std::vector<job_setback> job_table::worker_lost(const std::string& worker, const error& why, time_point now) {
  std::vector<job_setback> out;
  auto held = by_worker_.find(worker);
  if (held == by_worker_.end()) return out;
  for (auto& [key, job] : job_index(held->second)) out.push_back(set_back(*job, why, now));
  return out;
}

std::vector<job_setback> job_table::expire(time_point now) {
  std::vector<job_setback> out;
  while (!due_.empty() && due_.begin()->first.first <= now) {
    auto& job = *due_.begin()->second;
    if (job.state == job_state::wants_graph) {
      out.push_back(give_up(std::string(job.request.stage_key), {errc::timeout, "no subscriber sent the graph"}, now));
    } else if (now >= job.started_at + bounds_.deadline) {
      out.push_back(set_back(job, {errc::deadline, "the compile ran past its deadline on " + job.worker}, now));
    } else {
      out.push_back(set_back(job, {errc::timeout, "worker " + job.worker + " let its lease run out"}, now));
    }
  }
  return out;
}

std::optional<time_point> job_table::due(const job_record& job) const {
  if (job.state == job_state::wants_graph) return job.graph_until;
  if (job.state != job_state::running) return std::nullopt;
  return std::min<time_point>(job.lease_until, job.started_at + bounds_.deadline);
}

void job_table::take_out(job_record& job) {
  if (auto late = due(job)) due_.erase({*late, job.request.stage_key});
  if (job.state == job_state::queued) {
    auto same = queued_since_.find(job.request.stage->name);
    same->second.erase(same->second.find(job.queued_at));
    if (same->second.empty()) queued_since_.erase(same);
  }
  if (job.state != job_state::running) return;
  auto held = by_worker_.find(job.worker);
  held->second.erase(job.request.stage_key);
  if (held->second.empty()) by_worker_.erase(held);
}

void job_table::put_in(job_record& job) {
  const std::string_view key = job.request.stage_key;
  if (auto late = due(job)) due_.emplace(std::pair{*late, key}, &job);
  if (job.state == job_state::queued) queued_since_[job.request.stage->name].insert(job.queued_at);
  if (job.state == job_state::running) by_worker_[job.worker].emplace(key, &job);
}

job_setback job_table::set_back(job_record& job, error why, time_point now, fault whose) {
  const std::string stage_key = job.request.stage_key;
  if (!worth_retrying(why.code)) return give_up(stage_key, std::move(why), now);
  const bool worker_only = why.code == errc::busy || whose == fault::of_worker;
  const bool refused = worker_only && job.refusals < bounds_.refusals_max;
  if (refused) {
    ++job.refusals;
    --job.attempts;
  }
  if (job.attempts >= bounds_.attempts_max) {
    error last{errc::quarantined,
               "given up after " + std::to_string(job.attempts) + " attempts, the last: " + to_string(why)};
    return give_up(stage_key, std::move(last), now);
  }
  if (job.subscribers.empty()) {
    // Another attempt might have gone well: the next one who asks is not told otherwise.
    return give_up(stage_key, {errc::cancelled, "nobody waits for another attempt, the last: " + to_string(why)}, now);
  }
  job_setback out{
      stage_key, job.worker, job.attempt, std::move(why), true, job.request.graph_key, job.request.stage->name, {}};
  by_attempt_.erase(job.attempt);
  take_out(job);
  move_to(job, job_state::queued);
  if (!refused) job.queued_at = now;
  if (out.why.code != errc::busy) {
    std::erase(job.failed_on, job.worker);
    job.failed_on.push_back(job.worker);
    if (job.failed_on.size() > limits::workers_avoided_max) job.failed_on.erase(job.failed_on.begin());
  }
  job.worker.clear();
  job.attempt.clear();
  put_in(job);
  return out;
}

job_setback job_table::give_up(const std::string& stage_key, error why, time_point now) {
  const auto& job = jobs_.at(stage_key);
  job_setback out{stage_key,
                  job.worker,
                  job.attempt,
                  why,
                  false,
                  job.request.graph_key,
                  job.request.stage->name,
                  {job.subscribers.begin(), job.subscribers.end()}};
  if (worth_remembering(why.code)) failures_.remember(stage_key, why, now);
  erase(stage_key);
  return out;
}

std::optional<job_table::dropped_job> job_table::leave(const std::string& peer, const std::string& stage_key) {
  auto it = jobs_.find(stage_key);
  if (it == jobs_.end() || it->second.subscribers.erase(peer) == 0) return std::nullopt;
  const auto& job = it->second;
  // A compile that runs is finished and stored: the next one who asks has it.
  if (!job.subscribers.empty() || job.state == job_state::running || job.state == job_state::storing) {
    return std::nullopt;
  }
  dropped_job dropped{stage_key, job.request.graph_key};
  erase(stage_key);
  return dropped;
}

std::vector<job_table::dropped_job> job_table::unsubscribe(const std::string& peer,
                                                           const std::vector<std::string>& stage_keys) {
  std::vector<dropped_job> out;
  for (const auto& key : stage_keys) {
    if (auto mine = by_peer_.find(peer); mine != by_peer_.end()) {
      mine->second.erase(key);
      if (mine->second.empty()) by_peer_.erase(mine);
    }
    if (auto dropped = leave(peer, key)) out.push_back(std::move(*dropped));
  }
  return out;
}

std::vector<job_table::dropped_job> job_table::unsubscribe_all(const std::string& peer) {
  std::vector<dropped_job> out;
  auto mine = by_peer_.extract(peer);
  if (mine.empty()) return out;
  for (const auto& [key, job] : mine.mapped()) {
    if (auto dropped = leave(peer, std::string(key))) out.push_back(std::move(*dropped));
  }
  return out;
}

void job_table::erase(const std::string& stage_key) {
  auto it = jobs_.find(stage_key);
  auto& job = it->second;
  for (const auto& peer : job.subscribers) {
    auto mine = by_peer_.find(peer);
    if (mine == by_peer_.end()) continue;
    mine->second.erase(stage_key);
    if (mine->second.empty()) by_peer_.erase(mine);
  }
  by_graph_.erase(job.of_graph);
  by_attempt_.erase(job.attempt);
  if (auto ours = by_account_.find(job.request.account); ours != by_account_.end() && --ours->second == 0) {
    by_account_.erase(ours);
  }
  take_out(job);
  --counts_[job.state];
  jobs_.erase(it);
}

void job_table::move_to(job_record& job, job_state next) {
  --counts_[job.state];
  job.state = next;
  ++counts_[next];
}

bool job_table::has_all_jobs(const std::string& account) const {
  const auto ours = by_account_.find(account);
  return ours != by_account_.end() && ours->second >= bounds_.jobs_per_account_max;
}

const job_record* job_table::find(const std::string& stage_key) const {
  auto it = jobs_.find(stage_key);
  return it == jobs_.end() ? nullptr : &it->second;
}

}  // namespace fxfarm
