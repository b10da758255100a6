#pragma once
// The life of a graph as JSON, for the command line and the status page. Times are seconds since the graph was first
// asked for.

#include "runtime/graph_book.hpp"
#include "runtime/graph_neighbour.hpp"
#include "runtime/job_table.hpp"

#include <nlohmann/json.hpp>

namespace fxfarm::actors {

// Names come from peers and need not be UTF-8, which JSON must be.
std::string text_of(const nlohmann::json& document);

// {"graph_key", "name", "spaces", "lookups", "age_seconds", "asked_seconds_ago", "parts",
//  "events": [{"seconds", "stage", "stage_key", "step", "who", "text", "took_seconds", "count", "last_seconds",
//              "phases"}], oldest first,
//  "dropped": number of events that are no longer there}
nlohmann::json life_json(const graph_entry& graph, time_point now);

// How far a stage is; `job` is null when none is in flight.
nlohmann::json stage_json(const stage_entry& stage, const job_record* job);

// {"graph_key", "name", "stage", "stage_key", "equal", "differ": [{"part", "here", "there"}]}
nlohmann::json neighbour_json(const neighbour& n);

}  // namespace fxfarm::actors
