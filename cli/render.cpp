#include "cli/render.hpp"

#include "cli/render_parts.hpp"

namespace fxfarm::cli {

using nlohmann::json;

result<std::string> render_status(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  std::string endpoints;
  for (const auto& e : at(*d, "endpoints")) endpoints += (endpoints.empty() ? "" : ", ") + cell(e);
  std::vector<std::vector<std::string>> facts{
      {"role", cell(*d, "role")},
      {"version", cell(*d, "version")},
      {"id", cell(*d, "id")},
      {"uptime", cell(*d, "uptime_seconds") + " s"},
      {"endpoints", endpoints.empty() ? "-" : endpoints},
      {"metrics", cell(*d, "metrics")},
      {"peers", summary(at(*d, "peers"))},
      {"jobs", summary(at(*d, "jobs"))},
      {"store", summary(at(*d, "store"))},
  };
  auto text = render_table(facts);

  const auto& workers = at(*d, "workers");
  if (!workers.is_array() || workers.empty()) return text + "\nno workers\n";
  std::vector<std::vector<std::string>> rows{
      {"WORKER", "STATE", "BUSY", "SLOTS", "GPUS", "MEMORY", "SANDBOX", "RUNS ON"}};
  for (const auto& w : workers) {
    rows.push_back({cell(w, "name"), state_cell(w), cell(w, "busy"), cell(w, "slots"), gpus_cell(w), memory_cell(w),
                    cell(w, "sandbox"), platform_cell(at(w, "runs_on"))});
  }
  return text + "\n" + render_table(rows);
}

result<std::string> render_stats(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  std::vector<std::vector<std::string>> rows{{"NAME", "VALUE"}};
  if (const auto& values = at(*d, "values"); values.is_object()) {
    for (const auto& [name, value] : values.items()) rows.push_back({cell(json(name)), cell(value)});
  }
  return "since " + time_cell(at(*d, "since")) + ", resets " + cell(*d, "resets") + "\n\n" + render_table(rows);
}

result<std::string> render_reset(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  return "statistics are reset (resets so far: " + cell(*d, "resets") + ")\n";
}

result<std::string> render_forgotten(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  return "stages forgotten: " + cell(*d, "stages") + ", of which failed: " + cell(*d, "failures") +
         "; in flight and left alone: " + cell(*d, "in_flight") + "\n";
}

result<std::string> render_graphs(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  const auto& graphs = at(*d, "graphs");
  if (!graphs.is_array() || graphs.empty()) return std::string("no graphs\n");
  std::vector<std::vector<std::string>> rows{
      {"GRAPH", "NAME", "STAGE", "STATE", "SOURCE", "QUEUE s", "COMPILE s", "SUBSCRIBERS", "ERROR"}};
  for (const auto& g : graphs) {
    auto key = key_cell(g, "graph_key");
    auto name = cell(g, "name");
    const auto& stages = at(g, "stages");
    if (!stages.is_array() || stages.empty()) rows.push_back({key, name, "-", "-", "-", "-", "-", "-", "-"});
    if (!stages.is_array()) continue;
    for (const auto& s : stages) {
      rows.push_back({key, name, cell(s, "name"), cell(s, "state"), cell(s, "source"), cell(s, "queue_seconds"),
                      cell(s, "compile_seconds"), cell(s, "subscribers"), cell(s, "error")});
    }
  }
  return render_table(rows);
}

}  // namespace fxfarm::cli
