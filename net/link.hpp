#pragma once
// What actors see of the network: events that come in, and an interface to send with. No sockets here.

#include "net/messages.hpp"
#include "runtime/authorized_keys.hpp"
#include "runtime/bytes.hpp"
#include "runtime/error.hpp"

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace fxfarm::net {

// A coordinator's peer, by an id that is never used again; a client's or worker's peer, by its endpoint.
using peer_id = std::string;

// The handshake with a peer is complete. `who` is its hello (at a coordinator), or holds the coordinator's id and
// build.
struct peer_up {
  hello who;
  // At a coordinator whose keys are on: what the peer has proved to have, and the right that this gives it. At the
  // other end: only what right.scope() says is known.
  std::string key = {};
  key_right right = {};
};

// The peer has left, fell silent, or could not be reached (told once per outage, not per attempt).
struct peer_down {
  error why;
};

// One thing that came in. `attachment` is complete, within bounds, and matches its digest; null when there is none.
struct inbound {
  peer_id peer;
  std::variant<peer_up, peer_down, message> event;
  blob attachment;
  std::string digest = {};  // of the attachment
  // Its key has said as much as it may for now: it is to be told so, and nothing else. Of questions only, see
  // net/over_quota.hpp.
  bool over_quota = false;
};

struct inbound_batch : std::vector<inbound> {
  using std::vector<inbound>::vector;
  // Goes with the batch, and lets its socket read on: see net/backlog.hpp.
  std::shared_ptr<const void> counted = {};
};
// Called on the socket thread; must be quick and must not throw. Actors' composition roots send themselves a message.
using inbound_sink = std::function<void(inbound_batch)>;

// Sends to peers. Thread-safe, never blocks. What is sent to a peer that is not up is dropped: peer_down tells, and
// whoever needs an answer has a deadline. A peer that is too slow for its bounds is dropped with `too_large`.
class outbound {
public:
  virtual ~outbound() = default;
  // Messages to one peer keep their order among themselves; one with an attachment arrives when its last byte has.
  virtual void send(const peer_id& to, message what, blob attachment = nullptr) = 0;
  // Ends the connection, telling the peer why.
  virtual void drop(const peer_id& to, std::string reason) = 0;

private:
  friend class burst;
  virtual void hold() {}
  virtual void let_go() {}
};

// While there is one, what is sent need not go out at once: the socket's thread is woken when it ends, and not by each
// message in turn. To be held for a moment only, by the thread that sends.
class burst {
public:
  explicit burst(outbound& link) : link_(link) { link_.hold(); }
  ~burst() { link_.let_go(); }
  burst(const burst&) = delete;
  burst& operator=(const burst&) = delete;

private:
  outbound& link_;
};

// The end that connects. Its peers are known by their endpoints.
class connector : public outbound {
public:
  // Keeps trying until disconnect(), after which no more is heard of the endpoint than what was on its way.
  // Thread-safe, never block, and do nothing when there is nothing to do.
  virtual void connect(std::string endpoint) = 0;
  virtual void disconnect(std::string endpoint) = 0;
};

}  // namespace fxfarm::net
