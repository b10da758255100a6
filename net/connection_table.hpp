#pragma once
// Which connections a listening socket has: by descriptor, until when each may be there without being a peer's, and by
// key, how many of them have been let in. A plain class: the time is passed in. Private to net/.
//
// ZeroMQ tells of an accepted and an ended connection by its descriptor, and asks whether a key may come in by an
// address without a port: two connections of one address cannot be told apart by then. So who is let in gets a number,
// a ticket, that each of its messages carries; a connection that never says anything keeps its ticket until it must
// have been hung up on.
//
// A descriptor says little: what the socket tells and what its reader tells come by different ways, so a hello may be
// read, or a peer be found to be gone, when another connection has the descriptor; and ZeroMQ does not tell of every
// end. The ticket says which connection is meant. One is let in after its coming was told and before the next one has
// its descriptor, so of all that have had a descriptor the last is meant by a ticket that was given since that one was
// accepted, and by no other. Whoever asks let_in() sees to that order.

#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
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
  // For a connection whose peer has come by a newer one: until what was said to it last is in the network.
  std::chrono::steady_clock::duration last_words = std::chrono::milliseconds(100);
  // Such connections of a key at a time that are there beside `per_key`.
  std::size_t replaced_per_key = limits::connections_refused_in_words;
};

class connection_table {
public:
  using ticket = std::uint64_t;  // 0: none, its connection is not known
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

  // Whether one more of `key` may come in, of which accepted() was told by now; its ticket.
  std::optional<ticket> let_in(const std::string& key, time_point now);

  // Something came by this descriptor that shows this ticket. True the first time, while the connection is there.
  bool heard(int descriptor, ticket shown);
  // The connection is a peer's, and when it is no longer; `replaced` when the peer has come by another one, so that
  // nothing is to be waited for: the key may have one more at once, and this one is soon hung up on.
  void joined(int descriptor, ticket shown);
  void left(int descriptor, ticket shown, time_point now);
  void replaced(int descriptor, ticket shown, time_point now);

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
    ticket last_before = 0;           // given before this one was accepted: neither this nor an earlier one is its own
    std::optional<time_point> until;  // none: a peer's
    bool ever_a_peer = false;
    ticket shown = 0;
  };
  struct held {
    std::string key;
    std::optional<time_point> until;  // none: a peer's
    bool replaced = false;            // counts among those, and not for per_key
  };

  // Null when it has ended, or another one has its descriptor.
  connection* find(int descriptor, ticket shown);
  void leaves(int descriptor, ticket shown, time_point until);
  void limit(int descriptor, connection& one, std::optional<time_point> until);
  void limit(ticket number, held& one, std::optional<time_point> until);
  void give_back(ticket number);
  void expire_tickets(time_point now);

  connection_bounds bounds_;
  std::unordered_map<int, connection> connections_;
  std::set<std::pair<time_point, int>> due_;
  text_map<std::size_t> unheard_;  // by address
  ticket last_ = 0;
  std::unordered_map<ticket, held> held_;
  std::set<std::pair<time_point, ticket>> expiring_;
  text_map<std::size_t> of_key_;
  text_map<std::size_t> replaced_of_key_;
};

}  // namespace fxfarm::net
