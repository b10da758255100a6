// What a directory of artifacts holds, and what came of working on it.

#include "cli/render.hpp"
#include "cli/render_parts.hpp"

namespace fxfarm::cli {
namespace {

using nlohmann::json;

std::string artifacts_text(const json& artifacts) {
  std::vector<std::vector<std::string>> rows{{"KEY", "SIZE", "LAST USED"}};
  for (const auto& a : artifacts) {
    rows.push_back({cell(a, "key"), byte_cell(at(a, "bytes")), duration_cell(at(a, "used_seconds_ago")) + " ago"});
  }
  return render_table(rows);
}

std::string total(const json& artifacts, const json& bytes) {
  return std::to_string(artifacts.size()) + (artifacts.size() == 1 ? " artifact, " : " artifacts, ") + byte_cell(bytes);
}

}  // namespace

result<std::string> render_artifacts(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  const auto& artifacts = at(*d, "artifacts");
  if (artifacts.empty()) return std::string("no artifacts\n");
  return artifacts_text(artifacts) + total(artifacts, at(*d, "bytes")) + "\n";
}

result<std::string> render_collected(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  const auto& removed = at(*d, "removed");
  const auto head = cell(*d, "dry_run") == "yes" ? std::string("would go: ") : std::string("removed: ");
  return head + total(removed, at(*d, "bytes")) + "\n" + (removed.empty() ? std::string() : artifacts_text(removed));
}

result<std::string> render_directory_report(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  auto text = "whole: " + cell(*d, "artifacts") + ", " + byte_cell(at(*d, "bytes")) + "\n";
  for (const auto& f : at(*d, "faults")) text += cell(f, "key") + ": " + cell(f, "why") + "\n";
  return text;
}

result<std::string> render_drained(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  const auto worker = cell(*d, "worker");
  if (cell(*d, "draining") != "yes") return worker + " takes jobs again\n";
  return worker + " takes no more jobs; it finishes " + cell(*d, "busy") + "\n";
}

}  // namespace fxfarm::cli
