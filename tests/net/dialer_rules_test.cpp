// Coordinators that break the rules, die, or are not there: a dialer on one side, a bare socket on the other.
#include "net/dialer.hpp"
#include "peers.hpp"

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

struct at_dialer : ::testing::TestWithParam<std::string> {
  std::unique_ptr<dialer> started(link_options link = {}, std::chrono::milliseconds retry = 20ms) {
    dialer_options options;
    options.self = hello_of("d");
    options.reconnect_delay_min = retry;
    options.reconnect_delay_max = retry * 4;
    options.link = link;
    auto one = dialer::start(std::move(options), seen.sink());
    EXPECT_TRUE(one);
    return one ? std::move(*one) : nullptr;
  }
  std::string where() const { return GetParam() == "ipc" ? dir.endpoint() : "tcp://127.0.0.1:0"; }
  // A coordinator that has answered the dialer's hello; `routing` is its name for it.
  std::unique_ptr<bare_peer> coordinator(dialer& d) {
    auto peer = std::make_unique<bare_peer>(zmq::socket_type::router, where(), true);
    d.connect(peer->endpoint());
    EXPECT_TRUE(peer->receive_a<hello>(&routing));
    peer->send_to(routing, welcome{wire_version, "c", "b", 0});
    EXPECT_TRUE(next_of<peer_up>(seen));
    return peer;
  }

  temp_dir dir;
  recorder seen;
  std::string routing;
};

INSTANTIATE_TEST_SUITE_P(transports, at_dialer, ::testing::Values("ipc", "tcp"),
                         [](const auto& transport) { return transport.param; });

TEST_P(at_dialer, tells_once_that_nobody_answers_and_keeps_trying) {
  auto d = started();
  // A port that was free a moment ago, and a path that is not there.
  std::string endpoint;
  { endpoint = bare_peer(zmq::socket_type::router, where(), true).endpoint(); }
  d->connect(endpoint);
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::unreachable);
  EXPECT_EQ(down->why.message, endpoint + ": nothing answers there");
  EXPECT_FALSE(seen.next(300ms)) << "once per outage";
  EXPECT_GE(d->counters().reconnects, 2U);

  bare_peer back(zmq::socket_type::router, endpoint, true);
  ASSERT_TRUE(back.receive_a<hello>(&routing));
  back.send_to(routing, welcome{});
  EXPECT_TRUE(next_of<peer_up>(seen));
}

TEST_P(at_dialer, sees_at_once_that_the_other_process_died) {
  auto d = started();
  auto peer = coordinator(*d);
  peer->close();
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::unreachable) << "before its silence would have told";
  EXPECT_EQ(d->counters().peers_up, 0U);
}

TEST_P(at_dialer, tells_the_reason_of_a_rejection_and_tries_again_late) {
  auto d = started({}, 10s);
  bare_peer peer(zmq::socket_type::router, where(), true);
  d->connect(peer.endpoint());
  ASSERT_TRUE(peer.receive_a<hello>(&routing));
  peer.send_to(routing, rejected{"protocol", "another version"});
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::protocol);
  EXPECT_EQ(down->why.message, peer.endpoint() + ": rejected by the peer: another version");
  EXPECT_EQ(d->counters().reconnects, 0U);
}

TEST_P(at_dialer, refuses_an_answer_to_hello_that_is_no_welcome) {
  const message answers[] = {need_graph{}, welcome{99, "c", "b", 0}, heartbeat{}};
  for (const auto& answer : answers) {
    auto d = started({}, 10s);
    bare_peer peer(zmq::socket_type::router, where(), true);
    d->connect(peer.endpoint());
    ASSERT_TRUE(peer.receive_a<hello>(&routing));
    peer.send_to(routing, answer);
    const auto down = next_of<peer_down>(seen);
    ASSERT_TRUE(down);
    EXPECT_EQ(down->why.code, errc::protocol) << tag_of(answer);
    EXPECT_EQ(d->counters().rejected_for(errc::protocol), 1U);
  }
}

TEST_P(at_dialer, waits_for_welcome_only_so_long) {
  link_options link;
  link.handshake_timeout = 50ms;
  auto d = started(link);
  bare_peer peer(zmq::socket_type::router, where(), true);
  d->connect(peer.endpoint());
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::timeout);
}

TEST_P(at_dialer, notices_a_silent_coordinator_and_is_heard_itself) {
  link_options link;
  link.heartbeat_period = 30ms;
  link.silence_max = 200ms;
  auto d = started(link);
  auto peer = coordinator(*d);
  EXPECT_TRUE(peer->receive_a<heartbeat>(&routing));
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::timeout);
}

TEST_P(at_dialer, says_goodbye_when_it_disconnects_and_when_it_stops) {
  for (const bool stops : {false, true}) {
    auto d = started();
    auto peer = coordinator(*d);
    if (stops) {
      d->stop();
    } else {
      d->disconnect(peer->endpoint());
    }
    EXPECT_TRUE(peer->receive_a<goodbye>(&routing));
    peer->close();
  }
}

TEST_P(at_dialer, connects_again_after_a_drop) {
  auto d = started();
  auto peer = coordinator(*d);
  d->drop(peer->endpoint(), "enough");
  const auto bye = peer->receive_a<goodbye>(&routing);
  ASSERT_TRUE(bye);
  EXPECT_EQ(bye->reason, "enough");
  EXPECT_TRUE(next_of<peer_down>(seen));
  EXPECT_TRUE(peer->receive_a<hello>(&routing));
}

TEST_P(at_dialer, stops_while_a_peer_cannot_be_reached) {
  auto d = started();
  auto peer = coordinator(*d);
  d->connect("tcp://192.0.2.1:9");  // a network that does not exist (RFC 5737)
  d->connect(dir.endpoint("nobody"));
  d->connect("nonsense");
  d->stop();
  EXPECT_TRUE(peer->receive_a<goodbye>(&routing));
}

}  // namespace
}  // namespace fxfarm::net
