// The life of a graph for people: why it is where it is, then all that has happened.

#include "cli/render.hpp"
#include "cli/render_parts.hpp"

#include <array>
#include <cstdio>

namespace fxfarm::cli {
namespace {

using nlohmann::json;

std::string took(const json& seconds) {
  return cell(seconds) + " s";
}

std::string phases_text(const json& phases) {
  std::string all;
  if (!phases.is_object()) return all;
  for (const auto& [name, seconds] : phases.items()) {
    all += (all.empty() ? " (" : ", ") + cell(json(name)) + " " + took(seconds);
  }
  return all.empty() ? all : all + ")";
}

std::string clients(const json& count) {
  const auto n = cell(count);
  return n + (n == "1" ? " client" : " clients");
}

// One event in words, less its time, its stage and how often it happened.
std::string words(const json& e) {
  const auto step = cell(e, "step"), who = cell(e, "who"), text = cell(e, "text");
  const auto client = "client " + who, worker = "worker " + who;
  if (step == "hit") return "found in the store (" + who + ")";
  if (step == "missed") return "in no tier of the store: to be compiled";
  if (step == "refused") return client + " could not use the stored artifact: it is made again";
  if (step == "remembered") return "answered with the earlier failure: " + text;
  if (step == "turned_away") return "turned away: " + text;
  if (step == "joined") return client + " joined the job";
  if (step == "graph_asked") return client + " was asked for the graph";
  if (step == "queued") return "queued";
  if (step == "started") return "given to " + worker + " after " + took(at(e, "took_seconds")) + " in the queue";
  if (step == "adopted") return worker + " brought it along from another coordinator";
  if (step == "compiled")
    return "compiled by " + worker + " in " + took(at(e, "took_seconds")) + phases_text(at(e, "phases"));
  if (step == "retried") return "came to nothing on " + worker + ", queued again: " + text;
  if (step == "answered") return "stored, and sent to " + clients(at(e, "count"));
  if (step == "failed") return "failed: " + text;
  if (step == "quarantined") return "quarantined: " + text;
  if (step == "cancelled") return "nobody waited for it any longer";
  if (step == "forgotten") return "forgotten by an operator";
  if (step == "switched") return client + " runs it, " + took(at(e, "took_seconds")) + " after it asked";
  if (step == "load_failed") return client + " could not load it: " + text;
  if (step == "rolled_back") return client + " left it again: " + text;
  return step;
}

std::string time_of(const json& seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%+10.3f s", seconds.is_number() ? seconds.get<double>() : 0.0);
  return text.data();
}

std::string event_line(const json& e) {
  auto line = words(e);
  const auto& count = at(e, "count");
  // Of an answer the count is in the words.
  if (cell(e, "step") != "answered" && count.is_number_unsigned() && count.get<std::uint64_t>() > 1) {
    line += " (" + cell(count) + " times, the last at" + time_of(at(e, "last_seconds")) + ")";
  }
  return line;
}

std::string difference(const json& d) {
  const auto here = cell(d, "here"), there = cell(d, "there");
  return cell(d, "part") + " (" + here + " here, " + there + " there)";
}

std::string neighbour_lines(const json& n) {
  if (!n.is_object()) return {};
  std::string text = "  nearest: stage " + cell(n, "stage") + " of " + cell(n, "name") + " (" +
                     key_cell(n, "graph_key") + "), " + cell(n, "equal") +
                     " parts of the key are equal; what differs:\n";
  for (const auto& d : at(n, "differ")) text += "    " + difference(d) + "\n";
  return text;
}

std::string stage_lines(const json& s) {
  std::string text =
      cell(s, "name") + " (" + key_cell(s, "stage_key") + "): " + cell(s, "state") + "\n  " + cell(s, "why") + "\n";
  if (const auto advice = cell(s, "advice"); advice != "-") text += "  to do: " + advice + "\n";
  return text + neighbour_lines(at(s, "neighbour"));
}

}  // namespace

result<std::string> render_explanation(const std::string& document) {
  auto d = parse_object(document);
  if (!d) return d.failure();
  std::string spaces;
  for (const auto& s : at(*d, "spaces")) spaces += (spaces.empty() ? "" : ", ") + cell(s);
  auto text =
      render_table({{"graph", cell(*d, "name")},
                    {"key", cell(*d, "graph_key")},
                    {"asked for", cell(*d, "lookups") + " times, first " + duration_cell(at(*d, "age_seconds")) +
                                      " ago, last " + duration_cell(at(*d, "asked_seconds_ago")) + " ago"},
                    {"by spaces", spaces.empty() ? "-" : spaces}});
  for (const auto& s : at(*d, "stages")) text += "\n" + stage_lines(s);

  std::vector<std::vector<std::string>> rows;
  for (const auto& e : at(*d, "events")) rows.push_back({time_of(at(e, "seconds")), cell(e, "stage"), event_line(e)});
  if (const auto& dropped = at(*d, "dropped"); dropped.is_number_unsigned() && dropped.get<std::uint64_t>() > 0) {
    text += "\n" + cell(dropped) + " older events are no longer kept\n";
  }
  return text + "\n" + render_table(rows);
}

}  // namespace fxfarm::cli
