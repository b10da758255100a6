#include "actors/client.hpp"

#include "monitoring/log.hpp"
#include "runtime/limits.hpp"
#include "runtime/rendezvous.hpp"

#include <algorithm>
#include <utility>

#include <caf/send.hpp>

namespace fxfarm::actors {

client_state::~client_state() {
  if (starts_) starts_->close();
}

void client_state::start(pointer self, client_settings settings) {
  self_ = self;
  settings_ = std::move(settings);
  starts_ = std::make_shared<gate<client_actor>>(caf::actor_cast<client_actor>(self_));
  local_delay_ = limits::reconnect_delay_min;
}

void client_state::handle(const link_events& events) {
  std::set<std::string> heard;
  for (const auto& in : *events.batch) {
    if (const auto* up = std::get_if<net::peer_up>(&in.event)) {
      farm_came(in.peer, up->right.scope());
    } else if (const auto* down = std::get_if<net::peer_down>(&in.event)) {
      farm_went(in.peer, down->why);
    } else {
      deliver(in);
      heard.insert(in.peer);
    }
  }
  for (const auto& farm : heard) {
    if (const auto link = up_.find(farm); link != up_.end()) ask(farm, link->second);
  }
}

// --- graphs ----------------------------------------------------------------------------------------------------------

void client_state::submit(const submit_graph& m) {
  output_options options;
  options.id = m.id;
  options.request = std::move(*m.request);
  options.salt = settings_.salt;
  options.space = settings_.space;
  options.fallback = settings_.local_endpoint;
  options.log = settings_.log;
  options.probe = settings_.probe;
  options.signatures = settings_.signatures;
  options.load = settings_.load;
  options.failed = settings_.failed;
  graph g;
  g.key = options.request.graph_key;
  auto owner = caf::actor_cast<output_owner>(self_);
  g.output = self_->spawn(output_behavior, owner, std::move(options));
  by_key_[g.key].insert(m.id);
  auto [it, fresh] = graphs_.emplace(m.id, std::move(g));
  settings_.log->count("graphs");
  assign(it->second, route(it->second));
}

void client_state::release(std::uint64_t id) {
  auto it = graphs_.find(id);
  if (it == graphs_.end()) return;
  release_stages(it->second, id);
  if (const auto link = up_.find(it->second.farm); link != up_.end()) link->second.asking.forget(id);
  auto mine = by_key_.find(it->second.key);
  mine->second.erase(id);
  if (mine->second.empty()) by_key_.erase(mine);
  self_->send_exit(it->second.output, caf::exit_reason::user_shutdown);
  graphs_.erase(it);
  settings_.log->erase(id);
}

void client_state::roll_back(const roll_back_graph& m) {
  auto it = graphs_.find(m.graph);
  if (it != graphs_.end()) self_->send(it->second.output, m.what);
}

void client_state::release_stages(const graph& g, std::uint64_t id) {
  auto status = settings_.log->find(id);
  if (!status || g.settled || !up_.contains(g.farm) || another_waits(g, id)) return;
  net::release m;
  for (const auto& stage : status->stages) m.stage_keys.push_back(stage.stage_key);
  settings_.links->send(g.farm, std::move(m), nullptr);
}

bool client_state::another_waits(const graph& g, std::uint64_t id) const {
  const auto& same_key = by_key_.at(g.key);
  return std::any_of(same_key.begin(), same_key.end(), [&](std::uint64_t other) {
    const auto& o = graphs_.at(other);
    return other != id && !o.settled && o.farm == g.farm;
  });
}

void client_state::settle(std::uint64_t id) {
  auto it = graphs_.find(id);
  if (it != graphs_.end()) it->second.settled = true;
}

void client_state::forward(const to_farm& m) {
  auto it = graphs_.find(m.graph);
  if (it == graphs_.end()) return;
  const auto link = up_.find(it->second.farm);
  if (link == up_.end()) return;  // resubscribe follows when the farm is back
  if (std::holds_alternative<net::lookup>(*m.what)) {
    it->second.lookup = m.what;
    link->second.asking.add(m.graph);
    return ask(link->first, link->second);
  }
  if (const auto* release = std::get_if<net::release>(m.what.get())) {
    if (another_waits(it->second, m.graph)) return;
    settings_.log->count("stages_released", release->stage_keys.size());
    // Behind what asks for these stages, or they would be compiled for nobody.
    if (const auto asked = std::exchange(it->second.lookup, nullptr)) {
      link->second.asking.forget(m.graph);
      settings_.links->send(it->second.farm, *asked, nullptr);
    }
  }
  settings_.links->send(it->second.farm, *m.what, m.attachment);
}

void client_state::ask(const std::string& farm, farm_link& link) {
  const auto now = self_->clock().now();
  for (auto turn = link.asking.take(now); !turn.empty(); turn = link.asking.take(now)) {
    for (const auto id : turn) {
      const auto it = graphs_.find(id);
      if (it == graphs_.end() || it->second.settled || it->second.farm != farm || !it->second.lookup) {
        link.asking.forget(id);  // and the next has its turn
      } else {
        settings_.links->send(farm, *std::exchange(it->second.lookup, nullptr), nullptr);
      }
    }
  }
  const auto next = link.asking.next();
  if (!next || std::exchange(link.later_armed, true)) return;
  self_->delayed_send(self_, std::max(*next - now, std::chrono::steady_clock::duration::zero()),
                      ask_on{farm, link.number});
}

void client_state::ask_later(const ask_on& m) {
  const auto link = up_.find(m.farm);
  if (link == up_.end() || link->second.number != m.link) return;
  link->second.later_armed = false;
  ask(m.farm, link->second);
}

void client_state::deliver(const net::inbound& in) {
  const auto& what = std::get<net::message>(in.event);
  if (const auto* m = std::get_if<net::switch_proposed>(&what)) {
    return settings_.told({m->group, m->stage_key, m->round, "propose", m->call, {}});
  }
  if (const auto* m = std::get_if<net::switch_decided>(&what)) {
    return settings_.told({m->group, m->stage_key, m->round, m->verdict, 0, m->reason});
  }
  const std::string* key = nullptr;
  bool first_only = false, busy = false;
  if (const auto* m = std::get_if<net::stage_ready>(&what)) key = &m->graph_key;
  if (const auto* m = std::get_if<net::stage_failed>(&what)) {
    key = &m->graph_key;
    busy = m->retry_ms > 0;
  }
  if (const auto* m = std::get_if<net::stage_progress>(&what)) key = &m->graph_key;
  if (const auto* m = std::get_if<net::need_graph>(&what)) {
    key = &m->graph_key;
    first_only = true;  // one copy is enough
  }
  if (!key) return settings_.log->count("messages_refused");
  auto found = by_key_.find(*key);
  if (found == by_key_.end()) return;
  const auto link = up_.find(in.peer);
  auto shared = std::make_shared<const net::inbound>(in);
  bool sent = false;
  for (auto id : found->second) {
    auto& g = graphs_.at(id);
    if (g.farm != in.peer) continue;
    if (link != up_.end()) busy ? link->second.asking.turned_away(id) : link->second.asking.answered(id);
    if (first_only && (sent || g.settled)) continue;
    self_->send(g.output, farm_message{shared});
    sent = true;
  }
}

// --- farms -----------------------------------------------------------------------------------------------------------

std::string client_state::route(const graph& g) const {
  if (g.local_only || !settings_.has_farm) return settings_.local_endpoint;
  if (!farm_) return {};
  std::vector<std::string> candidates;
  for (const auto& endpoint : farm_->endpoints) {
    if (!down_.contains(endpoint)) candidates.push_back(endpoint);
  }
  return candidates.empty() ? settings_.local_endpoint : rendezvous_pick(g.key, candidates);
}

void client_state::assign(graph& g, std::string farm) {
  g.farm = std::move(farm);
  if (g.farm.empty()) {
    // Stays so until a farm comes; the graph says meanwhile what it waits for.
    std::string farms = farm_ ? farm_->problem : "its name is being looked up";
    for (const auto& [endpoint, why] : down_) farms += (farms.empty() ? "" : "; ") + endpoint + ": " + to_string(why);
    self_->send(g.output, farm_lost{{errc::unreachable, "no farm can be reached: " + farms}});
  } else if (const auto up = up_.find(g.farm); up != up_.end()) {
    self_->send(g.output, resubscribe{up->second.scope});
  } else if (g.farm == settings_.local_endpoint) {
    need_local();
  }
}

void client_state::find_farm(const farm_found& m) {
  const auto known = std::exchange(farm_, m);
  if (!m.problem.empty()) log::warning("farm: " + m.problem);
  std::set<std::string> gone;
  if (known) gone.insert(known->endpoints.begin(), known->endpoints.end());
  for (const auto& endpoint : m.endpoints) {
    gone.erase(endpoint);
    settings_.links->connect(endpoint);
  }
  for (const auto& endpoint : gone) {
    settings_.links->disconnect(endpoint);
    up_.erase(endpoint);
    down_.erase(endpoint);
  }
  for (auto& [id, g] : graphs_) {
    if (g.settled || (!g.farm.empty() && !gone.contains(g.farm))) continue;
    assign(g, route(g));
  }
}

void client_state::farm_came(const net::peer_id& farm, const std::string& scope) {
  up_.insert_or_assign(farm, farm_link{scope, {}, false, ++links_made_});
  down_.erase(farm);
  if (farm == settings_.local_endpoint) local_delay_ = limits::reconnect_delay_min;
  for (auto& [id, g] : graphs_) {
    if (g.settled || (g.farm != farm && up_.contains(g.farm))) continue;
    // Also for graphs whose farm cannot be reached: they may find another one now.
    if (auto next = route(g); next == farm) assign(g, std::move(next));
  }
}

void client_state::farm_went(const net::peer_id& farm, const error& why) {
  up_.erase(farm);
  const bool news = !down_.contains(farm);
  down_[farm] = why;
  if (farm == settings_.local_endpoint) {
    if (someone_waits_for(farm)) {
      need_local();
    } else {
      // The farm left because it was idle, or died with nothing to do: it is started again when it is needed.
      settings_.links->disconnect(farm);
    }
  } else if (news) {
    log::warning("farm " + farm + " cannot be reached: " + to_string(why));
    settings_.log->count("farms_lost");
  }
  for (auto& [id, g] : graphs_) {
    if (g.settled || g.farm != farm) continue;
    self_->send(g.output, farm_lost{why});
    if (auto next = route(g); next != farm) assign(g, std::move(next));
  }
}

void client_state::fall_back_to_local(const fall_back& m) {
  auto it = graphs_.find(m.graph);
  if (it == graphs_.end()) return;
  settings_.log->count("fallbacks");
  log::warning("the farm cannot serve a graph (" + to_string(m.why) + "), the local farm will");
  auto& g = it->second;
  // What else was asked for there would be compiled for nobody.
  release_stages(g, m.graph);
  g.local_only = true;
  assign(g, settings_.local_endpoint);
}

bool client_state::someone_waits_for(const std::string& farm) const {
  return std::any_of(graphs_.begin(), graphs_.end(),
                     [&](const auto& g) { return !g.second.settled && g.second.farm == farm; });
}

void client_state::need_local() {
  if (local_starting_ || local_check_armed_ || up_.contains(settings_.local_endpoint)) return;
  if (!settings_.start_local) return connect_local();
  local_starting_ = true;
  settings_.log->count("local_farms_started");
  settings_.start_local([starts = starts_](result<void> outcome) {
    starts->send(local_started{std::make_shared<const result<void>>(std::move(outcome))});
  });
}

void client_state::local_farm_started(const result<void>& outcome) {
  local_starting_ = false;
  if (!outcome) log::warning("the local farm could not be started: " + to_string(outcome.failure()));
  if (someone_waits_for(settings_.local_endpoint)) connect_local();
}

// Also when the start has failed: another process may have been luckier.
void client_state::connect_local() {
  settings_.links->connect(settings_.local_endpoint);
  local_check_armed_ = true;
  self_->delayed_send(self_, local_delay_, local_check{});
  local_delay_ = std::min<std::chrono::milliseconds>(2 * local_delay_, limits::reconnect_delay_max);
}

void client_state::check_local() {
  local_check_armed_ = false;
  if (someone_waits_for(settings_.local_endpoint)) need_local();
}

void client_state::end() {
  for (auto& [id, g] : graphs_) self_->send_exit(g.output, caf::exit_reason::user_shutdown);
  graphs_.clear();
  by_key_.clear();
  self_->quit();
}

client_actor::behavior_type client_behavior(client_state::pointer self, client_settings settings) {
  self->state.start(self, std::move(settings));
  return {
      [self](const link_events& m) { self->state.handle(m); },
      [self](const farm_found& m) { self->state.find_farm(m); },
      [self](const submit_graph& m) { self->state.submit(m); },
      [self](const release_graph& m) { self->state.release(m.graph); },
      [self](const roll_back_graph& m) { self->state.roll_back(m); },
      [self](const to_farm& m) { self->state.forward(m); },
      [self](const fall_back& m) { self->state.fall_back_to_local(m); },
      [self](const graph_settled& m) { self->state.settle(m.graph); },
      [self](const local_started& m) { self->state.local_farm_started(*m.outcome); },
      [self](const local_check&) { self->state.check_local(); },
      [self](const ask_on& m) { self->state.ask_later(m); },
      [self](const drain&) { self->state.end(); },
  };
}

}  // namespace fxfarm::actors
