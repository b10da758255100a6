// Ranks that agree on when to switch: the table decides, this carries its orders.

#include "actors/coordinator_core.hpp"
#include "runtime/keys.hpp"

namespace fxfarm::actors {
namespace {

net::message message_of(const switch_order& o) {
  const net::switch_decided decided{o.graph_key, o.group, o.stage_key, o.round, {}, o.reason};
  auto with = [&](const char* verdict) {
    auto m = decided;
    m.verdict = verdict;
    return m;
  };
  switch (o.what) {
    case switch_order::kind::propose:
      return net::switch_proposed{o.graph_key, o.group, o.stage_key, o.round, o.call};
    case switch_order::kind::commit:
      return with("commit");
    case switch_order::kind::abort:
      return with("abort");
    case switch_order::kind::pass:
      break;
  }
  return with("pass");
}

}  // namespace

void coordinator_core::on(const net::peer_id& from, const net::stage_armed& m, time_point now) {
  const rank_report report{m.group, m.graph_key, m.rank, m.world, m.stage_key, m.stage, {m.calls, m.calls_per_second}};
  // Ranks of different namespaces never agree, since a group's reports all name one graph.
  const bool mine = scope_of(m.graph_key) == peers_.at(from).right.scope();
  if (!mine || !switches_.arm(from, report, now)) probe_.message_refused("client");
  tell_switches();
}

void coordinator_core::on(const net::peer_id& from, const net::switch_vote& m, time_point now) {
  switches_.vote(from, m.group, m.round, m.yes, {m.calls, m.calls_per_second}, now);
  tell_switches();
}

void coordinator_core::tell_switches() {
  const auto news = switches_.take();
  for (const auto& order : news.orders) send(order.peer, message_of(order), nullptr);
  for (unsigned i = 0; i < news.agreed; ++i) probe_.switch_agreed();
  for (unsigned i = 0; i < news.aborted; ++i) probe_.switch_aborted();
}

}  // namespace fxfarm::actors
