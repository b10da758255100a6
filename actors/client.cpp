#include "actors/client.hpp"

#include "monitoring/log.hpp"
#include "runtime/limits.hpp"
#include "runtime/rendezvous.hpp"

#include <algorithm>

#include <caf/send.hpp>

namespace fxfarm::actors {

void client_state::start(pointer self, client_settings settings) {
  self_ = self;
  settings_ = std::move(settings);
  local_delay_ = limits::reconnect_delay_min;
  for (const auto& endpoint : settings_.endpoints) settings_.links->connect(endpoint);
}

void client_state::handle(const link_events& events) {
  for (const auto& in : *events.batch) {
    if (std::holds_alternative<net::peer_up>(in.event)) {
      farm_came(in.peer);
    } else if (const auto* down = std::get_if<net::peer_down>(&in.event)) {
      farm_went(in.peer, down->why);
    } else {
      deliver(in);
    }
  }
}

// --- graphs ----------------------------------------------------------------------------------------------------------

void client_state::submit(const submit_graph& m) {
  output_options options;
  options.id = m.id;
  options.request = std::move(*m.request);
  options.salt = settings_.salt;
  options.space = settings_.space;
  options.has_fallback = !settings_.endpoints.empty() && !settings_.local_endpoint.empty();
  options.log = settings_.log;
  options.load = settings_.load;
  graph g;
  g.key = options.request.graph_key;
  auto owner = caf::actor_cast<output_owner>(self_);
  g.output = self_->spawn(output_behavior, owner, std::move(options));
  by_key_[g.key].insert(m.id);
  auto [it, fresh] = graphs_.emplace(m.id, std::move(g));
  settings_.log->count("graphs");
  assign(it->second, route(it->second.key));
}

void client_state::release(std::uint64_t id) {
  auto it = graphs_.find(id);
  if (it == graphs_.end()) return;
  auto& mine = by_key_[it->second.key];
  mine.erase(id);
  if (mine.empty()) {
    by_key_.erase(it->second.key);
    release_stages(it->second, id);
  }
  self_->send_exit(it->second.output, caf::exit_reason::user_shutdown);
  graphs_.erase(it);
  settings_.log->erase(id);
}

void client_state::release_stages(const graph& g, std::uint64_t id) {
  auto status = settings_.log->find(id);
  if (!status || g.settled || !up_.contains(g.farm)) return;
  net::release m;
  for (const auto& stage : status->stages) m.stage_keys.push_back(stage.stage_key);
  settings_.links->send(g.farm, std::move(m), nullptr);
}

void client_state::settle(std::uint64_t id) {
  auto it = graphs_.find(id);
  if (it != graphs_.end()) it->second.settled = true;
}

void client_state::forward(const to_farm& m) {
  auto it = graphs_.find(m.graph);
  if (it == graphs_.end() || !up_.contains(it->second.farm)) return;  // resubscribe follows when the farm is back
  if (const auto* release = std::get_if<net::release>(m.what.get())) {
    // Another graph of this process may have the same key and still wait.
    if (by_key_[it->second.key].size() > 1) return;
    settings_.log->count("stages_released", release->stage_keys.size());
  }
  settings_.links->send(it->second.farm, *m.what, m.attachment);
}

void client_state::deliver(const net::inbound& in) {
  const auto& what = std::get<net::message>(in.event);
  const std::string* key = nullptr;
  bool first_only = false;
  if (const auto* m = std::get_if<net::stage_ready>(&what)) key = &m->graph_key;
  if (const auto* m = std::get_if<net::stage_failed>(&what)) key = &m->graph_key;
  if (const auto* m = std::get_if<net::stage_progress>(&what)) key = &m->graph_key;
  if (const auto* m = std::get_if<net::need_graph>(&what)) {
    key = &m->graph_key;
    first_only = true;  // one copy is enough
  }
  if (!key) return settings_.log->count("messages_refused");
  auto found = by_key_.find(*key);
  if (found == by_key_.end()) return;
  auto shared = std::make_shared<const net::inbound>(in);
  for (auto id : found->second) {
    auto& g = graphs_.at(id);
    if (g.farm != in.peer || (first_only && g.settled)) continue;
    self_->send(g.output, farm_message{shared});
    if (first_only) break;
  }
}

// --- farms -----------------------------------------------------------------------------------------------------------

std::string client_state::route(const std::string& graph_key) const {
  std::vector<std::string> candidates;
  for (const auto& endpoint : settings_.endpoints) {
    if (!down_.contains(endpoint)) candidates.push_back(endpoint);
  }
  return candidates.empty() ? settings_.local_endpoint : rendezvous_pick(graph_key, candidates);
}

void client_state::assign(graph& g, std::string farm) {
  g.farm = std::move(farm);
  if (g.farm.empty()) {
    // Stays so until a farm comes; the graph says meanwhile what it waits for.
    std::string farms;
    for (const auto& [endpoint, why] : down_) farms += (farms.empty() ? "" : "; ") + endpoint + ": " + to_string(why);
    self_->send(g.output, farm_lost{{errc::unreachable, "no farm can be reached: " + farms}});
  } else if (up_.contains(g.farm)) {
    self_->send(g.output, resubscribe{});
  } else if (g.farm == settings_.local_endpoint) {
    need_local();
  }
}

void client_state::farm_came(const net::peer_id& farm) {
  up_.insert(farm);
  down_.erase(farm);
  if (farm == settings_.local_endpoint) local_delay_ = limits::reconnect_delay_min;
  for (auto& [id, g] : graphs_) {
    if (g.settled) continue;
    if (g.farm.empty()) {
      assign(g, route(g.key));
    } else if (g.farm == farm) {
      self_->send(g.output, resubscribe{});
    }
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
    if (auto next = route(g.key); next != farm) assign(g, std::move(next));
  }
}

void client_state::fall_back_to_local(const fall_back& m) {
  auto it = graphs_.find(m.graph);
  if (it == graphs_.end()) return;
  settings_.log->count("fallbacks");
  log::warning("the farm cannot serve a graph (" + to_string(m.why) + "), the local farm will");
  assign(it->second, settings_.local_endpoint);
}

bool client_state::someone_waits_for(const std::string& farm) const {
  return std::any_of(graphs_.begin(), graphs_.end(),
                     [&](const auto& g) { return !g.second.settled && g.second.farm == farm; });
}

void client_state::need_local() {
  if (local_check_armed_ || up_.contains(settings_.local_endpoint)) return;
  if (settings_.start_local) {
    auto started = settings_.start_local();
    settings_.log->count("local_farm_starts");
    if (!started) log::warning("the local farm could not be started: " + to_string(started.failure()));
  }
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
      [self](const submit_graph& m) { self->state.submit(m); },
      [self](const release_graph& m) { self->state.release(m.graph); },
      [self](const to_farm& m) { self->state.forward(m); },
      [self](const fall_back& m) { self->state.fall_back_to_local(m); },
      [self](const graph_settled& m) { self->state.settle(m.graph); },
      [self](const local_check&) { self->state.check_local(); },
      [self](const drain&) { self->state.end(); },
  };
}

}  // namespace fxfarm::actors
