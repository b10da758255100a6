#pragma once
// Which connections a listening socket has: by descriptor, until when each may be there without being a peer's, and by
// key, how many of them have been let in. A plain class: the time is passed in. Private to net/.
//
// ZeroMQ tells of an accepted and an ended connection by its descriptor, and asks whether a key may come in by an
// address without a port: two connections of one address cannot be told apart by then. So who is let in gets a number,
// a ticket, that each of its messages carries; a connection that never says anything keeps its ticket until it must
// have been hung up on.
//
// What the socket tells and what its reader tells come by different ways, in either order: a hello may be read before
// the connection's coming is told, and after its end, when another one has the descriptor. So a descriptor that some
// peer is believed to have is never hung up on; when that peer is found to be gone, whoever has it then has its time.

#include "runtime/limits.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fxfarm::net {

struct connection_bounds {
  std::size_t per_key = limits::connections_per_key + limits::connections_refused_in_words;
  std::size_t unheard_per_address = limits::connections_unheard_per_address;
  // For the handshake, as long again for hello, and as long once it is no peer's any longer.
  std::chrono::steady_clock::duration patience = limits::handshake_timeout;
};

class connection_table {
public:
  using ticket = std::uint64_t;       // 0: none, keys are off
  using peer_number = std::uint64_t;  // of a router, never used again
  struct hang_up {
    int descriptor = -1;
    ino_t inode = 0;  // of what had the descriptor when it was accepted
    bool ever_a_peer = false;
  };

  explicit connection_table(connection_bounds bounds) : bounds_(bounds) {}

  // `address` is empty when it has none. False when its address has as many as it may that are no peer's: it is to be
  // hung up on at once.
  bool accepted(int descriptor, ino_t inode, const std::string& address, time_point now);
  void ended(int descriptor);

  // Whether one more of `key` may come in; its ticket, which is at most as old as its connection.
  std::optional<ticket> let_in(const std::string& key, time_point now);

  // What a hello that came by this descriptor shows.
  void heard(int descriptor, ticket shown);
  // The connection is a peer's, and when it is no longer.
  void joined(int descriptor, peer_number who, ticket shown);
  void left(int descriptor, peer_number who, ticket shown, time_point now);

  // The connections whose time is up; each is told once.
  std::vector<hang_up> take_due(time_point now);
  std::optional<time_point> next_deadline() const;

  std::size_t of_key(const std::string& key) const;
  std::size_t unheard_of(const std::string& address) const;
  std::size_t size() const { return connections_.size(); }

private:
  struct connection {
    ino_t inode = 0;
    std::string address;
    std::optional<time_point> until;  // none: a peer's
    bool ever_a_peer = false;
    ticket shown = 0;
  };
  struct held {
    std::string key;
    std::optional<time_point> until;  // none: a peer's
    bool ended = false;               // its connection has, and its peer will
  };

  void be_a_peers(int descriptor, connection& one);
  void limit(int descriptor, connection& one, std::optional<time_point> until);
  void limit(ticket number, held& one, std::optional<time_point> until);
  void give_back(ticket number);
  void expire_tickets(time_point now);

  connection_bounds bounds_;
  std::unordered_map<int, connection> connections_;
  std::unordered_map<int, peer_number> peers_;  // by the descriptor that each is believed to have
  std::set<std::pair<time_point, int>> due_;
  std::unordered_map<std::string, std::size_t> unheard_;  // by address
  ticket last_ = 0;
  std::unordered_map<ticket, held> held_;
  std::set<std::pair<time_point, ticket>> expiring_;
  std::unordered_map<std::string, std::size_t> of_key_;
};

}  // namespace fxfarm::net
