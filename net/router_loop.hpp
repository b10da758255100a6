#pragma once
// The thread behind a router and the socket that it owns. Private to net/: router_loop.cpp moves messages,
// router_admit.cpp decides who is heard.

#include "net/admission.hpp"
#include "net/attachment_digests.hpp"
#include "net/gatekeeper.hpp"
#include "net/outbox.hpp"
#include "net/router.hpp"
#include "net/router_peers.hpp"
#include "net/sockets.hpp"
#include "net/told.hpp"
#include "runtime/text_map.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fxfarm::net {

struct router_command {
  enum class kind : std::uint8_t { send, drop, recheck, ended, stop };
  kind what = kind::stop;
  peer_id peer;
  bytes encoded;
  blob attachment;
  std::string text;  // the attachment's digest, or the reason of a drop
};

class router::loop {
public:
  loop(router_options options, inbound_sink sink);

  result<void> bind();
  void start();
  void stop(clock::duration finish);

  // Any thread.
  void push(router_command what) { outbox_.push(std::move(what)); }
  void hold() { outbox_.hold(); }
  void let_go() { outbox_.let_go(); }
  void push_message(router_command what) { outbox_.push_message(std::move(what), &router_command::peer); }

  attachment_digests digests;
  link_counters counters;
  std::vector<std::string> endpoints;

private:
  using peer = router_peer;
  // What a message shows of the connection by which it came.
  struct arrival {
    int descriptor = -1;
    connection_table::ticket ticket = 0;
  };

  void run();
  // Sleeps until a message, a command or the next timer.
  void wait();
  bool over() const;
  bool unsent() const;

  void take_commands();
  // A connection with this descriptor has ended.
  void note_ended(int descriptor);
  // Whose connection has ended cannot be sent to; another one may have got its descriptor, and hears us once more. What
  // it has sent is read first.
  void try_ended();
  void overrun(peer& p);
  void push(peer& p, bytes encoded, blob attachment = nullptr, std::string digest = {});

  void receive();
  void hear(received& in);
  // That nothing has come by this connection yet.
  bool is_first(arrival by);
  peer_quotas::account& account_of(const std::string& routing, const std::string& key);
  void tell_quota_passed(std::string_view what) const;
  // Its key has sent so much that this message was not looked at. Strangers are told only if they have asked: an answer
  // to each of their messages is what they would like.
  void shut_out(const std::string& routing, peer* from, bool asked = false);
  void greet(const std::string& routing, const hello& who, const std::string& key, arrival by);
  void turn_away(const std::string& routing, const admission& refused);
  // Other keys are in force: who came in by what is no longer so has to come in again, or not at all.
  void recheck();

  void take(peer& p, envelope&& came, bool over_quota);
  void fire_timers();
  void flush(const std::unordered_set<peer*>& some);
  session::write_result write(const std::string& routing, const frame& what);
  // Tells the peer why: at once or, when its pipe is full, as soon as it has read something. Whether it does does not
  // matter, it is not one of ours (any longer).
  void reject(const std::string& routing, const error& why);
  void say_last(const std::string& routing, const message& words);
  void say_unsaid();
  void remove(peer& p, const error& why, const std::optional<message>& last_words = std::nullopt);

  router_options options_;
  outbox<router_command> outbox_{options_.link.outbox_max};
  zmq::context_t context_{1};
  std::unique_ptr<gatekeeper> gate_;
  zmq::socket_t socket_;
  std::thread thread_;

  clock::duration finish_{0};  // written once, before the command to stop
  // From here on only the thread's own.
  std::optional<time_point> stop_at_;
  time_point now_;
  bool unread_ = false;  // for the actors have enough to look at
  std::uint64_t connections_ = 0;
  std::vector<router_command> commands_;
  std::set<std::string> overrun_;
  told told_;
  router_peers peers_;
  struct last_words {
    bytes encoded;
    time_point until;
  };
  text_map<last_words> unsaid_;                       // by routing, of whom there is no peer any longer
  std::deque<std::pair<time_point, peer_id>> ended_;  // their connections, and when to try them
  peer_quotas quotas_{options_.quotas};
  std::unordered_set<peer*> ready_;    // something may be to be sent
  std::unordered_set<peer*> blocked_;  // their pipes are full
};

}  // namespace fxfarm::net
