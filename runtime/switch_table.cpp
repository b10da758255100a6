#include "runtime/switch_table.hpp"

#include "runtime/digest.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fxfarm {
namespace {

bool sound(const call_pace& pace) {
  return pace.calls <= limits::switch_calls_max && std::isfinite(pace.calls_per_second) && pace.calls_per_second >= 0 &&
         pace.calls_per_second <= static_cast<double>(limits::switch_calls_max);
}

double seconds(time_point::duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace

bool switch_table::sound(const rank_report& r) {
  return is_digest(r.group) && is_digest(r.stage_key) && r.world >= 2 && r.world <= limits::switch_ranks_max &&
         r.rank < r.world && r.stage < limits::stages_per_graph_max && fxfarm::sound(r.pace);
}

bool switch_table::arm(const std::string& peer, const rank_report& report, time_point now) {
  if (!sound(report)) return false;
  auto it = groups_.find(report.group);
  if (it == groups_.end()) {
    if (groups_.size() >= limits::switch_groups_max) return false;
    it = groups_.emplace(report.group, group{}).first;
    it->second.graph_key = report.graph_key;
    it->second.world = report.world;
  }
  auto& [name, g] = *it;
  if (g.world != report.world || g.graph_key != report.graph_key) return false;
  put(name, g, peer, report, now);
  pass_overtaken(name, g);
  g.tries = 0;
  propose(name, g, now);
  forget_if_empty(name);
  return true;
}

void switch_table::put(const std::string& name, group& g, const std::string& peer, const rank_report& report,
                       time_point now) {
  auto known = g.members.find(report.rank);
  const bool same =
      known != g.members.end() && known->second.peer == peer && known->second.stage_key == report.stage_key;
  if (same) {
    known->second.pace = report.pace;
    known->second.at = now;
    return;
  }
  if (known != g.members.end()) remove(name, g, report.rank);
  // One process is one rank of a group.
  if (auto other = g.ranks.find(peer); other != g.ranks.end()) remove(name, g, other->second);
  if (g.open) abort(name, g, "rank " + std::to_string(report.rank) + " has begun anew", now);
  g.members[report.rank] = {peer, report.stage_key, report.stage, report.pace, now};
  g.ranks[peer] = report.rank;
  groups_of_[peer].insert(name);
}

// Ranks load the best that they have, so some may be past a stage before the others have it.
void switch_table::pass_overtaken(const std::string& name, group& g) {
  unsigned highest = 0;
  for (const auto& [rank, m] : g.members) highest = std::max(highest, m.stage);
  std::vector<unsigned> overtaken;
  for (const auto& [rank, m] : g.members) {
    if (m.stage < highest) overtaken.push_back(rank);
  }
  for (auto rank : overtaken) {
    order(switch_order::kind::pass, name, g, g.members.at(rank), "another rank of the job is past this stage");
    remove(name, g, rank);
  }
}

void switch_table::propose(const std::string& name, group& g, time_point now) {
  if (g.open || g.members.size() != g.world || g.tries >= limits::switch_tries_max) return;
  const auto& stage_key = g.members.begin()->second.stage_key;
  auto differs = [&](const auto& m) { return m.second.stage_key != stage_key; };
  if (std::any_of(g.members.begin(), g.members.end(), differs)) return;
  ++g.tries;
  g.open = round{id_ + "-" + std::to_string(++rounds_), call_ahead(g, now), 0, now + limits::switch_vote_max};
  deadlines_.emplace(g.open->until, name);
  for (auto& [rank, m] : g.members) {
    m.voted = false;
    order(switch_order::kind::propose, name, g, m, {});
  }
}

// A call that none has come to by the time the verdict is known everywhere, by what each has said of its pace.
std::uint64_t switch_table::call_ahead(const group& g, time_point now) const {
  double furthest = 0, fastest = 0;
  for (const auto& [rank, m] : g.members) {
    const auto& p = m.pace;
    furthest = std::max(furthest, static_cast<double>(p.calls) + p.calls_per_second * seconds(now - m.at));
    fastest = std::max(fastest, p.calls_per_second);
  }
  const double margin = seconds(limits::switch_margin) * std::exp2(std::min(g.missed, limits::switch_doublings_max));
  const double calls = std::max(static_cast<double>(limits::switch_calls_min), std::ceil(fastest * margin));
  return static_cast<std::uint64_t>(std::min(furthest + calls, static_cast<double>(limits::switch_calls_max)));
}

void switch_table::vote(const std::string& peer, const std::string& name, const std::string& round, bool yes,
                        call_pace pace, time_point now) {
  auto it = groups_.find(name);
  if (it == groups_.end() || !it->second.open || it->second.open->id != round || !fxfarm::sound(pace)) return;
  auto& g = it->second;
  auto rank = g.ranks.find(peer);
  if (rank == g.ranks.end()) return;
  auto& m = g.members.at(rank->second);
  m.pace = pace;
  m.at = now;
  if (!yes) {
    return abort(name, g, "rank " + std::to_string(rank->second) + " could not switch at that call", now);
  }
  if (!std::exchange(m.voted, true) && ++g.open->yes == g.world) commit(name, g);
}

void switch_table::commit(const std::string& name, group& g) {
  for (const auto& [rank, m] : g.members) order(switch_order::kind::commit, name, g, m, {});
  close(name, g);
  ++news_.agreed;
  while (!g.members.empty()) remove(name, g, g.members.begin()->first);
  g.missed = 0;
  forget_if_empty(name);
}

void switch_table::abort(const std::string& name, group& g, const std::string& reason, time_point now) {
  for (const auto& [rank, m] : g.members) order(switch_order::kind::abort, name, g, m, reason);
  close(name, g);
  ++news_.aborted;
  ++g.missed;
  propose(name, g, now);
}

void switch_table::close(const std::string& name, group& g) {
  deadlines_.erase({g.open->until, name});
  g.open.reset();
}

void switch_table::leave(const std::string& peer, time_point now) {
  auto mine = groups_of_.extract(peer);
  if (mine.empty()) return;
  for (const auto& name : mine.mapped()) {
    auto& g = groups_.at(name);
    const auto rank = g.ranks.at(peer);
    g.members.erase(rank);
    g.ranks.erase(peer);
    if (g.open) abort(name, g, "rank " + std::to_string(rank) + " is gone", now);
    forget_if_empty(name);
  }
}

void switch_table::tick(time_point now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto name = deadlines_.begin()->second;
    auto& g = groups_.at(name);
    std::vector<unsigned> silent;
    for (const auto& [rank, m] : g.members) {
      if (!m.voted) silent.push_back(rank);
    }
    // Told, too: one that was merely slow would else wait for a verdict. It arms again when it likes.
    const auto why = "rank " + std::to_string(silent.front()) + " has not voted in time";
    for (auto rank : silent) {
      order(switch_order::kind::abort, name, g, g.members.at(rank), why);
      remove(name, g, rank);
    }
    abort(name, g, why, now);
    forget_if_empty(name);
  }
}

switch_table::news switch_table::take() {
  return std::exchange(news_, {});
}

void switch_table::remove(const std::string& name, group& g, unsigned rank) {
  const auto peer = g.members.at(rank).peer;
  g.members.erase(rank);
  g.ranks.erase(peer);
  auto of = groups_of_.find(peer);
  of->second.erase(name);
  if (of->second.empty()) groups_of_.erase(of);
}

void switch_table::forget_if_empty(const std::string& name) {
  auto it = groups_.find(name);
  if (it != groups_.end() && it->second.members.empty()) groups_.erase(it);
}

void switch_table::order(switch_order::kind what, const std::string& name, const group& g, const member& to,
                         std::string reason) {
  switch_order o{what, to.peer, name, g.graph_key, to.stage_key, {}, 0, std::move(reason)};
  if (g.open && what != switch_order::kind::pass) {
    o.round = g.open->id;
    o.call = g.open->call;
  }
  news_.orders.push_back(std::move(o));
}

}  // namespace fxfarm
