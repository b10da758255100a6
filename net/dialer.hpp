#pragma once
// A worker's and a client's end of the network: a DEALER socket for each coordinator, and the one thread that owns
// them.

#include "net/curve.hpp"
#include "net/link.hpp"
#include "net/link_counters.hpp"
#include "net/messages.hpp"
#include "net/session.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace fxfarm::net {

struct dialer_options {
  hello self;  // what it says first; magic and version are the wire's
  clock::duration reconnect_delay_min = limits::reconnect_delay_min;
  clock::duration reconnect_delay_max = limits::reconnect_delay_max;
  link_options link = {};
  std::optional<presenting> keys = {};  // none: unencrypted
};

// A peer is known by its endpoint. The dialer keeps trying to reach it, with growing delays, until disconnect().
// peer_down comes once per outage: when the first attempt fails, or when a connection that was up ends.
class dialer final : public connector {
public:
  // The sink is called on the dialer's thread.
  static result<std::unique_ptr<dialer>> start(dialer_options options, inbound_sink sink);
  ~dialer() override;

  void connect(std::string endpoint) override;
  void disconnect(std::string endpoint) override;
  void send(const peer_id& to, message what, blob attachment = nullptr) override;
  // Says goodbye, tells the sink peer_down with `refused`, and connects again after reconnect_delay_max.
  void drop(const peer_id& to, std::string reason) override;

  // Sends what waits, for at most `finish`, says goodbye to everyone and joins the thread; the sink is not called after
  // it. Not from the sink.
  void stop(std::chrono::milliseconds finish = {});

  const link_counters& counters() const;

private:
  class loop;
  explicit dialer(std::unique_ptr<loop> running);

  std::unique_ptr<loop> loop_;
};

}  // namespace fxfarm::net
