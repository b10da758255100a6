#include "monitoring/views.hpp"

namespace fxfarm::monitoring {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using counts = std::map<std::string, std::uint64_t>;

counts bounded(const counts& all, label_bound& bound) {
  counts kept;
  for (const auto& [value, count] : all) kept[bound.admit(value)] += count;
  return kept;
}

// One child for each value of `label`; an empty name: the only child has none.
MetricFamily make(std::string name, std::string help, MetricType type, const std::string& label, const counts& values) {
  MetricFamily made{std::move(name), std::move(help), type, {}};
  for (const auto& [value, count] : values) {
    ClientMetric child;
    if (!label.empty()) child.label.push_back({label, value});
    (type == MetricType::Counter ? child.counter.value : child.gauge.value) = static_cast<double>(count);
    made.metric.push_back(std::move(child));
  }
  return made;
}

}  // namespace

// --- link ------------------------------------------------------------------------------------------------------------

std::vector<MetricFamily> link_view::Collect() const {
  std::vector<MetricFamily> all;
  with([&](const link_counters& c) {
    auto rejected = bounded(c.rejected, reasons_);
    rejected.try_emplace("protocol");  // so that a rate has a zero to start from
    all = {
        make("fxfarm_link_messages_total", "Messages of the wire.", MetricType::Counter, "direction",
             {{"received", c.messages_received}, {"sent", c.messages_sent}}),
        make("fxfarm_link_bytes_total", "Bytes of messages.", MetricType::Counter, "direction",
             {{"received", c.bytes_received}, {"sent", c.bytes_sent}}),
        make("fxfarm_link_chunk_bytes_total", "Bytes of graphs and artifacts.", MetricType::Counter, "direction",
             {{"received", c.chunk_bytes_received}, {"sent", c.chunk_bytes_sent}}),
        make("fxfarm_link_rejected_total", "Messages that were not accepted.", MetricType::Counter, "reason", rejected),
        make("fxfarm_link_peers_refused_total", "Connections that did not become a peer's, by why.",
             MetricType::Counter, "reason", c.refused),
        make("fxfarm_link_reconnects_total", "Attempts to connect again.", MetricType::Counter, "",
             {{"", c.reconnects}}),
        make("fxfarm_link_streams_aborted_total", "Graphs and artifacts that were given up on the way.",
             MetricType::Counter, "", {{"", c.streams_aborted}}),
        make("fxfarm_link_peers", "Peers that are connected.", MetricType::Gauge, "", {{"", c.peers}}),
    };
  });
  return all;
}

void link_view::contribute(statistics_map& counters, statistics_map& gauges) const {
  with([&](const link_counters& c) {
    counters["link_messages_received"] += static_cast<double>(c.messages_received);
    counters["link_messages_sent"] += static_cast<double>(c.messages_sent);
    counters["link_bytes_received"] += static_cast<double>(c.bytes_received);
    counters["link_bytes_sent"] += static_cast<double>(c.bytes_sent);
    counters["link_chunk_bytes_received"] += static_cast<double>(c.chunk_bytes_received);
    counters["link_chunk_bytes_sent"] += static_cast<double>(c.chunk_bytes_sent);
    auto& rejected = counters["link_rejected"];
    for (const auto& [reason, count] : c.rejected) rejected += static_cast<double>(count);
    auto& refused = counters["link_peers_refused"];
    for (const auto& [reason, count] : c.refused) refused += static_cast<double>(count);
    counters["link_reconnects"] += static_cast<double>(c.reconnects);
    counters["link_streams_aborted"] += static_cast<double>(c.streams_aborted);
    gauges["link_peers_now"] += static_cast<double>(c.peers);
  });
}

// --- client ----------------------------------------------------------------------------------------------------------

std::vector<MetricFamily> client_view::Collect() const {
  std::vector<MetricFamily> all;
  with([&](const client_counters& c) {
    auto counted = [&](const char* name) -> counts {
      const auto found = c.counted.find(name);
      return {{"", found == c.counted.end() ? 0 : found->second}};
    };
    auto graphs = bounded(c.graphs, stages_);
    graphs.try_emplace("eager");
    all = {
        make("fxfarm_client_calls_total", "Calls of graphs by what they ran.", MetricType::Counter, "ran",
             {{"eager", c.eager_calls}, {"compiled", c.compiled_calls}}),
        make("fxfarm_client_graphs", "Graphs by the stage that their calls run.", MetricType::Gauge, "stage", graphs),
        make("fxfarm_client_graphs_waiting", "Graphs for which a stage is still to come.", MetricType::Gauge, "",
             {{"", c.graphs_waiting}}),
        make("fxfarm_client_lookups_total", "Lookups sent to farms.", MetricType::Counter, "", counted("lookups")),
        make("fxfarm_client_graph_bytes_total", "Bytes of graphs sent to farms.", MetricType::Counter, "",
             counted("graph_bytes")),
        make("fxfarm_client_artifact_bytes_total", "Bytes of artifacts that came.", MetricType::Counter, "",
             counted("artifact_bytes")),
        make("fxfarm_client_artifacts_refused_total", "Artifacts that were corrupt and asked for again.",
             MetricType::Counter, "", counted("artifacts_refused")),
        make("fxfarm_client_artifacts_untrusted_total", "Artifacts that nobody has signed who is accepted.",
             MetricType::Counter, "", counted("artifacts_untrusted")),
        make("fxfarm_client_farms_lost_total", "How often a coordinator could not be reached any longer.",
             MetricType::Counter, "", counted("farms_lost")),
        make("fxfarm_client_fallbacks_total", "Graphs that the local farm serves since the farm could not.",
             MetricType::Counter, "", counted("fallbacks")),
        make("fxfarm_client_local_farms_started_total",
             "Starts of the local farm that were asked for; of several processes one starts it.", MetricType::Counter,
             "", counted("local_farms_started")),
    };
  });
  return all;
}

}  // namespace fxfarm::monitoring
