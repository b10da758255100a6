// The documents that a coordinator answers the command line with.

#include "actors/coordinator_core.hpp"
#include "runtime/digest.hpp"

#include <nlohmann/json.hpp>

namespace fxfarm::actors {
namespace {

using nlohmann::json;

// Names come from peers and need not be UTF-8, which JSON must be.
std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

json to_json(const platform& p) {
  json out = json::object();
  platform::fields(p, [&](std::string_view name, const auto& value) { out[std::string(name)] = value; });
  return out;
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
  net::answer reply;
  reply.request = m.request;
  reply.code = to_string(errc::none);
  if (m.what == "status") {
    reply.document = status_document(now);
  } else if (m.what == "graphs") {
    reply.document = graphs_document(m.arguments);
  } else if (m.what == "stats") {
    reply.document = statistics_document();
  } else if (m.what == "reset-stats") {
    statistics_.reset();
    reply.document = text_of(json{{"resets", statistics_.snapshot()["resets"]}});
  } else if (m.what == "forget") {
    auto forgotten = forget(m.arguments);
    if (forgotten) {
      reply.document = *std::move(forgotten);
    } else {
      reply.code = to_string(forgotten.failure().code);
      reply.reason = forgotten.failure().message;
    }
  } else {
    reply.code = to_string(errc::bad_input);
    reply.reason = "unknown question '" + m.what + "'; known are status, stats, reset-stats, graphs, forget";
  }
  port_.send(from, std::move(reply), nullptr);
}

std::string coordinator_core::status_document(time_point now) const {
  json workers = json::array();
  const auto known = scheduler_.workers();
  report_room room;
  for (const auto& w : known) {
    auto it = peers_.find(w.id);
    json entry{{"name", it == peers_.end() ? w.id : it->second.who.id},
               {"host", it == peers_.end() ? "" : it->second.who.host},
               {"pid", it == peers_.end() ? 0 : it->second.who.pid},
               {"state", to_string(state_of(w))},
               {"slots", w.offer.slots},
               {"busy", w.busy},
               {"problem", w.offer.problem},
               {"runs_on", to_json(w.offer.runs_on)}};
    if (!room.takes(entry)) break;
    workers.push_back(std::move(entry));
  }
  json jobs = json::object();
  for (const auto& [state, count] : jobs_.count_by_state()) jobs[std::string(to_string(state))] = count;
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
           {"uptime_seconds", std::chrono::duration<double>(now - started_).count()},
           {"draining", draining_},
           {"endpoints", settings_.endpoints},
           {"metrics", settings_.metrics},
           {"peers", {{"clients", clients_}, {"workers", known.size()}}},
           {"workers", workers},
           {"truncated", room.full()},
           {"jobs", jobs},
           {"store", store},
           {"graph_bytes", graph_bytes_}};
  return text_of(doc);
}

std::string coordinator_core::graphs_document(const std::map<std::string, std::string>& arguments) const {
  const auto wanted = arguments.find("key");
  json graphs = json::array();
  report_room room;
  for (const auto& graph : book_.graphs()) {
    if (wanted != arguments.end() && graph.graph_key.rfind(wanted->second, 0) != 0) continue;
    json stages = json::array();
    for (const auto& s : graph.stages) {
      const auto* job = jobs_.find(s.stage_key);
      stages.push_back({{"name", s.name},
                        {"stage_key", s.stage_key},
                        {"state", s.state},
                        {"source", s.source},
                        {"error", s.error},
                        {"queue_seconds", s.queue_seconds},
                        {"compile_seconds", s.compile_seconds},
                        {"attempts", job ? job->attempts : 0},
                        {"subscribers", job ? job->subscribers.size() : 0}});
    }
    json entry{{"graph_key", graph.graph_key}, {"name", graph.name}, {"stages", stages}};
    if (!room.takes(entry)) break;  // the youngest come first
    graphs.push_back(std::move(entry));
  }
  return text_of(json{{"graphs", graphs}, {"truncated", room.full()}});
}

result<std::string> coordinator_core::forget(const std::map<std::string, std::string>& arguments) {
  constexpr std::size_t key_chars_min = 8;
  const auto given = arguments.find("key");
  const std::string key = given == arguments.end() ? "" : given->second;
  if (key.size() < key_chars_min || key.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return {errc::bad_input, "key: want at least " + std::to_string(key_chars_min) + " hex digits"};
  }
  std::set<std::string> stage_keys;
  if (is_digest(key)) stage_keys.insert(key);
  for (const auto& graph : book_.graphs()) {
    for (const auto& s : graph.stages) {
      if (graph.graph_key.starts_with(key) || s.stage_key.starts_with(key)) stage_keys.insert(s.stage_key);
    }
  }
  if (stage_keys.empty()) return {errc::bad_input, "no graph or stage that was asked for begins with " + key};
  std::size_t failures = 0, in_flight = 0;
  for (const auto& stage_key : stage_keys) {
    if (jobs_.find(stage_key)) {
      ++in_flight;
      continue;
    }
    if (jobs_.forgive(stage_key)) ++failures;
    port_.remove_stored(stage_key);
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
