// Who may say what, and in whose name: rights, namespaces, and the jobs that workers say they were given.

#include "actors/coordinator_core.hpp"
#include "net/codec.hpp"
#include "runtime/keys.hpp"

#include <type_traits>
#include <utility>

namespace fxfarm::actors {
namespace {

template <class... Ts>
bool is_one_of(const net::message& what) {
  return (std::holds_alternative<Ts>(what) || ...);
}

// Everything else is answered and counted.
bool allowed(const std::string& role, const net::message& what) {
  if (role == "client") {
    return is_one_of<net::lookup, net::submit, net::release, net::switched, net::stage_armed, net::switch_vote>(what);
  }
  if (role == "worker") {
    return is_one_of<net::worker_offer, net::job_held, net::job_alive, net::job_done, net::job_failed,
                     net::kernel_wanted>(what);
  }
  return role == "operator" && is_one_of<net::ask>(what);
}

template <class Change>
void change_graph_key(net::message& what, Change&& change) {
  std::visit(
      [&](auto& m) {
        if constexpr (requires { m.graph_key; }) m.graph_key = change(m.graph_key);
      },
      what);
}

}  // namespace

void coordinator_core::handle(const net::inbound& in, time_point now) {
  if (const auto* up = std::get_if<net::peer_up>(&in.event)) {
    peers_[in.peer] = {up->who, up->key, up->right};
    if (up->right.isolated) ++isolated_;
    if (up->who.role == "client") {
      ++clients_;
      auto& client = peers_.at(in.peer);
      client.account = up->key.empty() ? in.peer : up->key;
      accounts_.join(client.account, now);
    }
    if (up->who.role == "worker") probe_.worker_came();
  } else if (const auto* down = std::get_if<net::peer_down>(&in.event)) {
    peer_left(in.peer, down->why, now);
  } else if (auto it = peers_.find(in.peer); it != peers_.end()) {
    const auto& what = std::get<net::message>(in.event);
    const auto& from = it->second;
    if (!allowed(from.who.role, what)) return refuse_message(in.peer, from.who.role, what);
    if (from.right.isolated) return handle_scoped(in, from.right.scope(), what, now);
    handle_message(in, what, now);
  }
}

// The answer ends the connection at the other end, as one does that says how a link was broken.
void coordinator_core::refuse_message(const net::peer_id& from, const std::string& role, const net::message& what) {
  probe_.message_refused(role);
  port_.send(from,
             net::rejected{std::string(to_string(errc::refused)),
                           "a peer with the right of " + role + " may not send " + std::string(net::tag_of(what))},
             nullptr);
}

void coordinator_core::handle_scoped(const net::inbound& in, const std::string& scope, net::message what,
                                     time_point now) {
  change_graph_key(what, [&](const std::string& plain) { return scoped_key(scope, plain); });
  handle_message(in, what, now);
}

void coordinator_core::send(const net::peer_id& to, net::message what, blob attachment) {
  if (isolated_ > 0) {
    const auto it = peers_.find(to);
    if (it != peers_.end() && it->second.right.isolated) {
      change_graph_key(what, [](const std::string& scoped) { return std::string(plain_key(scoped)); });
    }
  }
  port_.send(to, std::move(what), std::move(attachment));
}

std::string coordinator_core::ticket_for(const net::peer_id& worker, const net::job& job) const {
  const auto it = peers_.find(worker);
  const auto key = it == peers_.end() ? std::string() : it->second.key;
  return leases_->seal({job.id, job.stage_key, scoped_key(job.scope, job.graph_key), key}, settings_.unix_seconds());
}

}  // namespace fxfarm::actors
