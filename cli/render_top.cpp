#include "cli/render_top.hpp"

#include "cli/render_parts.hpp"

#include <array>

namespace fxfarm::cli {
namespace {

using nlohmann::json;

struct shown_counter {
  const char* name;  // among the statistics
  const char* words;
};
constexpr std::array counters{
    shown_counter{"lookups", "lookups"},           shown_counter{"joined", "joined"},
    shown_counter{"jobs_started", "jobs started"}, shown_counter{"jobs_finished", "jobs finished"},
    shown_counter{"jobs_retried", "jobs retried"}, shown_counter{"jobs_failed", "jobs failed"}};

double number_at(const json& object, const char* key) {
  const auto& value = at(object, key);
  return value.is_number() ? value.get<double>() : 0;
}

// Per second since the look before; null when there was none, or a restart or reset lies between.
json rates_between(const json& before, const json& now) {
  const auto seconds = number_at(now, "uptime_seconds") - number_at(before, "uptime_seconds");
  if (!before.is_object() || seconds <= 0) return nullptr;
  json rates = json::object();
  for (const auto& c : counters) {
    const auto grown = number_at(at(now, "counters"), c.name) - number_at(at(before, "counters"), c.name);
    if (grown < 0) return nullptr;
    rates[c.name] = grown / seconds;
  }
  return rates;
}

std::string throughput(const json& d) {
  const auto& rates = at(d, "rates");
  const auto& from = rates.is_object() ? rates : at(d, "counters");
  std::string text;
  for (const auto& c : counters) text += (text.empty() ? "" : ", ") + std::string(c.words) + " " + cell(from, c.name);
  return text + (rates.is_object() ? " (per second)" : " (since the last reset)");
}

std::string workers_text(const json& workers) {
  if (!workers.is_array() || workers.empty()) return "no workers\n";
  std::vector<std::vector<std::string>> rows{{"WORKER", "STATE", "BUSY", "SLOTS", "GPUS", "MEMORY", "PROBLEM"}};
  for (const auto& w : workers) {
    rows.push_back({cell(w, "name"), state_cell(w), cell(w, "busy"), cell(w, "slots"), gpus_cell(w), memory_cell(w),
                    cell(w, "problem")});
  }
  return render_table(rows);
}

std::string stages_text(const json& stages) {
  if (!stages.is_array() || stages.empty()) return "nothing is queued or running\n";
  std::vector<std::vector<std::string>> rows{{"STAGE", "WANT GRAPH", "QUEUED", "RUNNING", "STORING", "LONGEST WAIT"}};
  for (const auto& s : stages) {
    rows.push_back({cell(s, "name"), cell(s, "wants_graph"), cell(s, "queued"), cell(s, "running"), cell(s, "storing"),
                    duration_cell(at(s, "oldest_seconds"))});
  }
  return render_table(rows);
}

std::string graphs_text(const json& graphs, const char* head) {
  if (!graphs.is_array() || graphs.empty()) return {};
  std::vector<std::vector<std::string>> rows{{head, "STAGE", "WORKER", "TIME", "KEY"}};
  for (const auto& g : graphs) {
    rows.push_back({cell(g, "name"), cell(g, "stage"), cell(g, "worker"), duration_cell(at(g, "seconds")),
                    key_cell(g, "graph_key")});
  }
  return "\n" + render_table(rows);
}

}  // namespace

result<farm_look> look_at_farm(const std::string& document, const std::string& before) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  (*d)["rates"] = rates_between(json::parse(before, nullptr, false), *d);
  std::string text = "up " + duration_cell(at(*d, "uptime_seconds")) + ", clients " + cell(*d, "clients") +
                     (cell(*d, "draining") == "yes" ? ", draining" : "") + "; jobs: " + summary(at(*d, "jobs")) + "\n" +
                     throughput(*d) + "\n\n" + workers_text(at(*d, "workers")) + "\n" + stages_text(at(*d, "stages")) +
                     graphs_text(at(*d, "running"), "RUNNING") + graphs_text(at(*d, "slowest"), "SLOWEST COMPILES");
  return farm_look{d->dump(-1, ' ', false, json::error_handler_t::replace), std::move(text)};
}

}  // namespace fxfarm::cli
