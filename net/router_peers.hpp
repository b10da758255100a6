#pragma once
// Who is connected to a router: each peer by its connection, its id and its name, and when its link wants attention. Of
// the router's thread only. Private to net/.

#include "net/link.hpp"
#include "net/session.hpp"
#include "runtime/authorized_keys.hpp"
#include "runtime/peer_quotas.hpp"
#include "runtime/text_map.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace fxfarm::net {

struct router_peer {
  std::string routing;  // ZeroMQ's name of the connection
  peer_id id;
  std::string name;  // hello.id, behind the key where there is one
  std::string key;   // that it has proved to have; empty where keys are off
  key_right right;   // likewise
  session link;
  int descriptor = -1;                      // of its connection; negative when it is not known
  std::uint64_t ticket = 0;                 // likewise, see connection_table
  token_bucket own;                         // messages that it may say though its key has none left
  peer_quotas::account* account = nullptr;  // that it counts for
  std::multimap<time_point, router_peer*>::iterator timer = {};  // router_peers' own
};

// A peer stays where it is in memory until it is removed.
class router_peers {
public:
  std::size_t size() const { return by_routing_.size(); }
  const text_map<std::unique_ptr<router_peer>>& by_routing() const { return by_routing_; }

  // Null: there is none.
  router_peer* with_routing(const std::string& routing) const {
    const auto found = by_routing_.find(routing);
    return found == by_routing_.end() ? nullptr : found->second.get();
  }
  router_peer* with_id(const peer_id& id) const { return find(by_id_, id); }
  router_peer* with_name(const std::string& name) const { return find(by_name_, name); }
  // The one that came last by a connection with this descriptor; it may be gone, and another one may have it.
  router_peer* with_descriptor(int descriptor) const { return find(by_descriptor_, descriptor); }

  // None has its routing, its id or its name.
  router_peer& add(router_peer one) {
    auto owned = std::make_unique<router_peer>(std::move(one));
    auto& p = *owned;
    by_routing_.emplace(p.routing, std::move(owned));
    by_id_.emplace(p.id, &p);
    by_name_.emplace(p.name, &p);
    if (p.descriptor >= 0) by_descriptor_[p.descriptor] = &p;
    p.timer = timers_.emplace(p.link.deadline(), &p);
    return p;
  }

  // To be called when the link's deadline has moved.
  void rearm(router_peer& p) {
    timers_.erase(p.timer);
    p.timer = timers_.emplace(p.link.deadline(), &p);
  }

  // The end of `p`.
  void remove(router_peer& p) {
    timers_.erase(p.timer);
    by_id_.erase(p.id);
    by_name_.erase(p.name);
    if (with_descriptor(p.descriptor) == &p) by_descriptor_.erase(p.descriptor);
    by_routing_.erase(std::string(p.routing));
  }

  // The one whose deadline was first, if it has passed.
  router_peer* due(time_point now) const {
    return timers_.empty() || timers_.begin()->first > now ? nullptr : timers_.begin()->second;
  }
  std::optional<time_point> next_deadline() const {
    return timers_.empty() ? std::nullopt : std::optional(timers_.begin()->first);
  }

private:
  template <class Map>
  static router_peer* find(const Map& in, const typename Map::key_type& what) {
    const auto found = in.find(what);
    return found == in.end() ? nullptr : found->second;
  }

  text_map<std::unique_ptr<router_peer>> by_routing_;
  text_map<router_peer*> by_id_;
  text_map<router_peer*> by_name_;
  std::unordered_map<int, router_peer*> by_descriptor_;
  std::multimap<time_point, router_peer*> timers_;
};

}  // namespace fxfarm::net
