#include "cli/render_parts.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace fxfarm::cli {

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

namespace {

std::string number(double value) {
  std::array<char, 64> text{};
  // Counters are whole and may be large; anything else is seconds or a ratio.
  const char* form = value == std::floor(value) && std::abs(value) < 1e15 ? "%.0f" : "%.3f";
  std::snprintf(text.data(), text.size(), form, value);
  return text.data();
}

}  // namespace

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

std::string key_cell(const json& object, const char* field) {
  constexpr std::size_t key_chars = 12;
  const auto key = cell(object, field);
  const auto scope = key.rfind('.');
  return key.substr(scope == std::string::npos ? 0 : scope + 1, key_chars);
}

std::string state_cell(const json& worker) {
  const auto state = cell(worker, "state");
  if (at(worker, "kept") != true) return state;
  const auto& job = at(worker, "kept_for");
  if (!job.is_object()) return state + ", kept";  // the coordinator's version does not say for which
  const auto name = cell(job, "name");
  return state + ", kept for " + (name == "-" ? key_cell(job, "graph_key") : name) + " " + cell(job, "stage");
}

std::string gpus_cell(const json& worker) {
  const auto all = cell(worker, "gpus");
  return all == "-" || all == "0" ? "-" : cell(worker, "gpus_busy") + " of " + all;
}

std::string memory_cell(const json& worker) {
  const auto& all = at(worker, "memory_bytes");
  if (!all.is_number_unsigned() || all == 0) return "-";
  return byte_cell(at(worker, "memory_free_bytes")) + " of " + byte_cell(all) + " free";
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

std::string duration_cell(const json& seconds) {
  if (!seconds.is_number()) return "-";
  const auto value = seconds.get<double>();
  constexpr double minute = 60, hour = 60 * minute, day = 24 * hour;
  std::array<char, 64> text{};
  const auto write = [&](double in, const char* unit) {
    std::snprintf(text.data(), text.size(), in < 10 ? "%.1f %s" : "%.0f %s", in, unit);
    return std::string(text.data());
  };
  if (value < 2 * minute) return write(value, "s");
  if (value < 2 * hour) return write(value / minute, "min");
  return value < 2 * day ? write(value / hour, "h") : write(value / day, "days");
}

std::string summary(const json& object) {
  std::string all;
  if (!object.is_object()) return "-";
  for (const auto& [key, value] : object.items()) {
    bool is_bytes = key.ends_with("_bytes");
    all += (all.empty() ? "" : ", ") + cell(json(key)) + " " + (is_bytes ? byte_cell(value) : cell(value));
  }
  return all.empty() ? "-" : all;
}

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

}  // namespace fxfarm::cli
