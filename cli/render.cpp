#include "cli/render.hpp"

#include "runtime/options.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

using nlohmann::json;

result<json> parse_object(const std::string& document) {
  auto parsed = json::parse(document, nullptr, false);
  if (!parsed.is_object()) return {errc::protocol, "the answer is no JSON object"};
  return parsed;
}

const json& at(const json& object, const char* key) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  auto it = object.find(key);
  return it == object.end() ? nothing : *it;
}

std::string number(double value) {
  std::array<char, 64> text{};
  // Counters are whole and may be large; anything else is seconds or a ratio.
  const char* form = value == std::floor(value) && std::abs(value) < 1e15 ? "%.0f" : "%.3f";
  std::snprintf(text.data(), text.size(), form, value);
  return text.data();
}

std::string cell(const json& value) {
  if (value.is_number()) return number(value.get<double>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) return "-";
  auto text = value.get<std::string>();
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string cell(const json& object, const char* key) {
  return cell(at(object, key));
}

std::string byte_cell(const json& value) {
  if (!value.is_number_unsigned()) return cell(value);
  auto bytes = value.get<std::uint64_t>();
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  double scaled = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; scaled >= 1024 && unit + 1 < units.size(); ++unit) scaled /= 1024;
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", scaled, units.at(unit));
  return text.data();
}

std::string platform_cell(const json& p) {
  if (!p.is_object()) return "-";
  auto gpu = cell(p, "gpu");
  return "torch " + cell(p, "torch") + ", python " + cell(p, "python") + ", " + cell(p, "isa") +
         (gpu == "-" ? "" : ", " + gpu);
}

std::string time_cell(const json& unix_seconds) {
  constexpr double year_9999 = 253'402'300'799;  // what does not fit the form is no time of ours
  if (!unix_seconds.is_number()) return "-";
  auto value = unix_seconds.get<double>();
  if (!(value >= 0 && value <= year_9999)) return "-";
  auto seconds = static_cast<std::time_t>(value);
  std::tm utc{};
  std::array<char, 32> text{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "-";
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

// "name value, name value" for the numbers of an object.
std::string summary(const json& object) {
  std::string all;
  if (!object.is_object()) return "-";
  for (const auto& [key, value] : object.items()) {
    bool is_bytes = key.ends_with("_bytes");
    all += (all.empty() ? "" : ", ") + cell(json(key)) + " " + (is_bytes ? byte_cell(value) : cell(value));
  }
  return all.empty() ? "-" : all;
}

}  // namespace

std::string render_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

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
  std::vector<std::vector<std::string>> rows{{"WORKER", "STATE", "BUSY", "SLOTS", "RUNS ON"}};
  for (const auto& w : workers) {
    rows.push_back(
        {cell(w, "name"), cell(w, "state"), cell(w, "busy"), cell(w, "slots"), platform_cell(at(w, "runs_on"))});
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
  constexpr std::size_t key_chars = 12;
  std::vector<std::vector<std::string>> rows{
      {"GRAPH", "NAME", "STAGE", "STATE", "SOURCE", "QUEUE s", "COMPILE s", "SUBSCRIBERS", "ERROR"}};
  for (const auto& g : graphs) {
    auto key = cell(g, "graph_key").substr(0, key_chars);
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
