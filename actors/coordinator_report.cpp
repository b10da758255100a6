// The documents that a coordinator answers the command line with.

#include "actors/coordinator_core.hpp"
#include "actors/life_report.hpp"
#include "runtime/digest.hpp"
#include "runtime/graph_query.hpp"
#include "runtime/keys.hpp"

#include <charconv>

namespace fxfarm::actors {
namespace {

using nlohmann::json;

json to_json(const platform& p) {
  json out = json::object();
  platform::fields(p, [&](std::string_view name, const auto& value) { out[std::string(name)] = value; });
  return out;
}

void answer_with(net::answer& reply, result<std::string> document) {
  if (document) {
    reply.document = *std::move(document);
    return;
  }
  reply.code = to_string(document.failure().code);
  reply.reason = document.failure().message;
}

result<graph_query> query_from(const std::map<std::string, std::string>& arguments) {
  graph_query query;
  for (const auto& [name, value] : arguments) {
    if (name == "state") query.state = value;
    if (name == "name") query.name = value;
    if (name == "key") query.key = value;
    if (name == "stage") query.stage = value;
    if (name == "sort") query.sort = value;
    if (name != "limit") continue;
    const auto* end = value.data() + value.size();
    if (std::from_chars(value.data(), end, query.limit).ptr != end || value.empty()) {
      return {errc::bad_input, "limit: want a number"};
    }
  }
  return query;
}

// An answer is one frame: what fits, and a word that there is more.
class report_room {
public:
  bool takes(const json& entry) {
    bytes_ += text_of(entry).size() + 1;
    return !full();
  }
  bool full() const { return bytes_ > limits::report_bytes_max; }

private:
  std::size_t bytes_ = 0;
};

}  // namespace

void coordinator_core::on(const net::peer_id& from, const net::ask& m, time_point now) {
  send(from, answer_to(m, now), nullptr);
}

net::answer coordinator_core::answer_to(const net::ask& m, time_point now) {
  net::answer reply;
  reply.request = m.request;
  reply.code = to_string(errc::none);
  if (m.what == "status") {
    reply.document = status_document(now);
  } else if (m.what == "graphs") {
    answer_with(reply, graphs_document(m.arguments));
  } else if (m.what == "stats") {
    reply.document = statistics_document();
  } else if (m.what == "reset-stats") {
    statistics_.reset();
    reply.document = text_of(json{{"resets", statistics_.snapshot()["resets"]}});
  } else if (m.what == "forget") {
    answer_with(reply, forget(m.arguments, now));
  } else if (m.what == "explain") {
    answer_with(reply, explain_document(m.arguments, now));
  } else if (m.what == "top") {
    reply.document = top_document(now);
  } else if (m.what == "drain" || m.what == "undrain") {
    answer_with(reply, drain_worker(m.arguments, m.what == "drain"));
  } else {
    reply.code = to_string(errc::bad_input);
    reply.reason = "unknown question '" + m.what +
                   "'; known are status, stats, reset-stats, graphs, explain, top, drain, undrain, forget";
  }
  return reply;
}

json coordinator_core::job_json(const std::string& stage_key) const {
  const auto* job = jobs_.find(stage_key);
  if (!job) return nullptr;
  return {{"graph_key", job->request.graph_key}, {"name", job->request.name}, {"stage", job->request.stage->name}};
}

json coordinator_core::workers_json(bool& truncated) const {
  json workers = json::array();
  report_room room;
  for (const auto& w : scheduler_.workers()) {
    auto it = peers_.find(w.id);
    json entry{{"name", it == peers_.end() ? w.id : it->second.who.id},
               {"host", it == peers_.end() ? "" : it->second.who.host},
               {"pid", it == peers_.end() ? 0 : it->second.who.pid},
               {"state", to_string(state_of(w))},
               {"slots", w.offer.slots},
               {"busy", w.busy},
               {"taken", w.offer.taken},
               {"problem", w.offer.problem},
               {"sandbox", w.offer.sandbox},
               {"engine_memory_bytes", w.offer.engine_memory_bytes},
               {"gpus", w.offer.gpus},
               {"gpus_busy", w.measuring},
               {"memory_bytes", w.offer.memory_bytes},
               {"memory_free_bytes", w.memory_free},
               {"kept", !w.kept_for.empty()},
               {"kept_for", job_json(w.kept_for)},
               {"can_help", w.offer.can_help},
               {"runs_on", to_json(w.offer.runs_on)}};
    if (!room.takes(entry)) break;
    workers.push_back(std::move(entry));
  }
  truncated = room.full();
  return workers;
}

json coordinator_core::jobs_json() const {
  json jobs = json::object();
  for (const auto& [state, count] : jobs_.count_by_state()) jobs[std::string(to_string(state))] = count;
  return jobs;
}

std::string coordinator_core::status_document(time_point now) const {
  bool truncated = false;
  auto workers = workers_json(truncated);
  // The store lives on a thread of its own; its size is known here from its gauges.
  json store = json::object();
  constexpr std::string_view held = "cache_bytes_";
  constexpr std::string_view breaker = "redis_breaker_";
  for (const auto& [name, value] : statistics_.snapshot()) {
    if (name.starts_with(held)) store[name.substr(held.size()) + "_bytes"] = value;
    if (name == "redis_queue_bytes") store[name] = value;
    if (name.starts_with(breaker) && value == 1) store["redis_breaker"] = name.substr(breaker.size());
  }
  json doc{{"role", settings_.role},
           {"id", settings_.id},
           {"version", settings_.version},
           {"pid", settings_.pid},
           {"unix_seconds", settings_.unix_seconds()},
           {"uptime_seconds", std::chrono::duration<double>(now - started_).count()},
           {"draining", draining_},
           {"endpoints", settings_.endpoints},
           {"metrics", settings_.metrics},
           {"peers", {{"clients", clients_}, {"workers", scheduler_.workers().size()}}},
           {"workers", std::move(workers)},
           {"truncated", truncated},
           {"jobs", jobs_json()},
           {"store", store},
           {"graph_bytes", graph_bytes_}};
  if (settings_.signatures) doc["signers"] = settings_.signatures->signers();
  return text_of(doc);
}

result<std::string> coordinator_core::graphs_document(const std::map<std::string, std::string>& arguments) const {
  auto query = query_from(arguments);
  if (!query) return query.failure();
  json graphs = json::array();
  report_room room;
  for (const auto* graph : select(book_, *query)) {
    json stages = json::array();
    for (const auto& s : graph->stages) {
      if (shows(*query, s)) stages.push_back(stage_json(s, jobs_.find(s.stage_key)));
    }
    json entry{{"graph_key", graph->graph_key},
               {"name", graph->name},
               {"lookups", graph->lookups},
               {"stages", std::move(stages)}};
    if (!room.takes(entry)) break;
    graphs.push_back(std::move(entry));
  }
  return text_of(json{{"graphs", graphs}, {"known", book_.graphs().size()}, {"truncated", room.full()}});
}

result<std::string> coordinator_core::forget(const std::map<std::string, std::string>& arguments, time_point now) {
  constexpr std::size_t key_chars_min = 8;
  const auto given = arguments.find("key");
  const std::string key = given == arguments.end() ? "" : given->second;
  if (key.size() < key_chars_min || key.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return {errc::bad_input, "key: want at least " + std::to_string(key_chars_min) + " hex digits"};
  }
  std::map<std::string, std::string> stage_keys;  // -> of their graph
  for (const auto& graph : book_.graphs()) {
    for (const auto& s : graph.stages) {
      if (plain_key(graph.graph_key).starts_with(key) || s.stage_key.starts_with(key)) {
        stage_keys.insert_or_assign(s.stage_key, graph.graph_key);
      }
    }
  }
  // A stage that nobody has asked for since the start may still be stored.
  if (stage_keys.empty() && is_digest(key)) stage_keys.emplace(key, std::string());
  if (stage_keys.empty()) return {errc::not_found, "no graph or stage that was asked for begins with " + key};
  std::size_t failures = 0, in_flight = 0;
  for (const auto& [stage_key, graph_key] : stage_keys) {
    if (jobs_.find(stage_key)) {
      ++in_flight;
      continue;
    }
    if (jobs_.failures().forgive(stage_key)) ++failures;
    port_.remove_stored(stage_key);
    if (auto* entry = book_.find(graph_key, stage_key)) {
      entry->state = "forgotten";
      entry->error.clear();
      book_.note(*entry, life_step::forgotten, now);
    }
  }
  return text_of(json{{"stages", stage_keys.size() - in_flight}, {"failures", failures}, {"in_flight", in_flight}});
}

std::string coordinator_core::statistics_document() const {
  auto values = statistics_.snapshot();
  const auto resets = values.extract("resets");
  const auto since = values.extract("last_reset_timestamp_seconds");
  return text_of(json{{"since", since.empty() ? 0.0 : since.mapped()},
                      {"resets", resets.empty() ? 0.0 : resets.mapped()},
                      {"values", values}});
}

}  // namespace fxfarm::actors
