#pragma once
// The coordinator's end of the network: a ROUTER socket and the thread that owns it.

#include "net/curve.hpp"
#include "net/link.hpp"
#include "net/link_counters.hpp"
#include "net/session.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/peer_quotas.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::net {

struct router_options {
  std::vector<std::string> endpoints;  // "tcp://host:port", port 0 for any; "ipc://path", its directory is the caller's
  std::string id;                      // told in welcome
  std::string build;
  std::size_t peers_max = limits::peers_max;
  link_options link = {};
  std::optional<accepting> accept = {};  // none: unencrypted, and a peer is what it says it is
  peer_limits quotas = {};
  // Told of each message ("messages") and each peer ("connections") that is refused for its key has as much as it may
  // have. Called on threads of net/.
  std::function<void(std::string_view)> quota_passed = {};
  std::size_t unheard_per_address = limits::connections_unheard_per_address;
};

// Peers are known by an id that is never used again: the hello's id and a number of the connection. A peer that sends
// hello again, or from a new connection, is told as down and then as up.
class router final : public outbound {
public:
  // Binds and starts; `io` names the endpoint that cannot be had and why. The sink is called on the router's thread.
  static result<std::unique_ptr<router>> start(router_options options, inbound_sink sink);
  ~router() override;

  void send(const peer_id& to, message what, blob attachment = nullptr) override;
  // The peer gets goodbye with the reason, the sink peer_down with `refused`.
  void drop(const peer_id& to, std::string reason) override;

  // To be called when other keys are in force: peers whose key, or right, is no longer so are told and dropped.
  void recheck();

  // Sends what waits, for at most `finish`, says goodbye to everyone and joins the thread; the sink is not called after
  // it. Not from the sink.
  void stop(std::chrono::milliseconds finish = {});

  // Where it can be reached, with real port numbers.
  const std::vector<std::string>& endpoints() const;
  const link_counters& counters() const;

private:
  class loop;
  explicit router(std::unique_ptr<loop> running);
  void hold() override;
  void let_go() override;

  std::unique_ptr<loop> loop_;
};

}  // namespace fxfarm::net
