// How a link of a router ends: by whom, how it is noticed, what is said and what is still delivered.
#include "router_fixture.hpp"

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

TEST_F(at_router, knows_at_once_that_a_connection_has_ended_without_a_word) {
  link_options patient;
  patient.heartbeat_period = 1h;
  patient.silence_max = 2h;
  for (const auto& endpoint : {dir.endpoint(), std::string("tcp://127.0.0.1:0")}) {
    auto started = start(endpoint, patient);
    ASSERT_TRUE(started);
    const auto& r = *started;
    bare_peer stays(zmq::socket_type::dealer, r->endpoints().front());
    const auto staying = welcome_to(stays, "stays");
    for (int i = 0; i < 3; ++i) {
      bare_peer goes(zmq::socket_type::dealer, r->endpoints().front());
      const auto going = welcome_to(goes, "goes");
      goes.close();
      const auto down = seen.next();
      ASSERT_TRUE(content_of<peer_down>(down));
      EXPECT_EQ(down->peer, going);
      EXPECT_EQ(content_of<peer_down>(down)->why.message, "the connection is closed");
      EXPECT_EQ(r->counters().read().peers, 1);
    }
    r->send(staying, need_graph{"still there"});
    EXPECT_TRUE(stays.receive_a<need_graph>());
  }
}

TEST_F(at_router, delivers_what_a_connection_carried_before_it_ended) {
  link_options patient;
  patient.heartbeat_period = 1h;
  patient.silence_max = 2h;
  auto r = started(patient);
  bare_peer goes(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(goes);
  constexpr int count = limits::socket_messages_max - 4;  // what ZeroMQ has no room for is lost in it
  for (int i = 0; i < count; ++i) goes.send(need_graph{std::to_string(i)});
  goes.send(goodbye{"done"});
  goes.close_when_sent();
  for (int i = 0; i < count; ++i) {
    const auto came = next_of<need_graph>(seen);
    ASSERT_TRUE(came) << i;
    EXPECT_EQ(came->graph_key, std::to_string(i));
  }
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.message, "done");
}

TEST_F(at_router, notices_a_peer_that_died_without_goodbye) {
  link_options link;
  link.heartbeat_period = 50ms;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  peer.close();
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::unreachable);
}

TEST_F(at_router, notices_a_peer_that_is_there_but_silent) {
  link_options link;
  link.heartbeat_period = 50ms;
  link.silence_max = 200ms;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::timeout);
  EXPECT_TRUE(peer.receive_a<heartbeat>());
  EXPECT_TRUE(peer.receive_a<rejected>()) << "it learns that it must shake hands again";
}

TEST_F(at_router, hears_a_goodbye) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  peer.send(goodbye{"done"});
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::shutdown);
  EXPECT_EQ(down->why.message, "done");
}

TEST_F(at_router, a_drop_tells_the_peer_the_reason_after_what_was_sent_before) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(peer);
  r->send(id, need_graph{"first"});
  r->drop(id, "enough");
  EXPECT_TRUE(peer.receive_a<need_graph>());
  const auto bye = peer.receive_a<goodbye>();
  ASSERT_TRUE(bye);
  EXPECT_EQ(bye->reason, "enough");
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::refused);
  r->send(id, need_graph{"too late"});
  r->drop("nobody", "no effect");
  EXPECT_FALSE(peer.hears(50ms));
}

TEST_F(at_router, says_goodbye_when_it_stops) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  r->stop();
  EXPECT_TRUE(peer.receive_a<goodbye>());
}

}  // namespace
}  // namespace fxfarm::net
