// Peers of a router that break the rules, and those that keep them.
#include "router_fixture.hpp"
#include "runtime/digest.hpp"

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

TEST_F(at_router, answers_a_hello_with_who_it_is_and_how_often_it_wants_to_be_heard) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  peer.send(hello_of("p", "operator"));
  const auto answer = peer.receive_a<welcome>();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->version, wire_version);
  EXPECT_EQ(answer->id, "c1");
  EXPECT_EQ(answer->build, "0.1.0");
  EXPECT_EQ(answer->heartbeat_ms, 2'000U);
}

TEST_F(at_router, rejects_a_peer_whose_hello_is_not_right) {
  const auto with = [](auto change) {
    auto h = hello_of("p");
    change(h);
    return h;
  };
  const struct {
    hello who;
    std::string reason;
  } cases[] = {
      {with([](hello& h) { h.magic = "http"; }), "hello.magic: this is an fxfarm coordinator"},
      {with([](hello& h) { h.version = 2; }), "hello.version: 2, this side speaks 1"},
      {with([](hello& h) { h.role = "king"; }), "hello.role: expected client, worker or operator"},
      {with([](hello& h) { h.id = ""; }), "hello.id: expected 1 to 128 bytes"},
      {with([](hello& h) { h.id = std::string(129, 'x'); }), "hello.id: expected 1 to 128 bytes"},
  };
  auto r = started();
  std::uint64_t count = 0;
  for (const auto& c : cases) {
    bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
    peer.send(c.who);
    const auto no = peer.receive_a<rejected>();
    ASSERT_TRUE(no) << c.reason;
    EXPECT_EQ(no->code, "protocol");
    EXPECT_EQ(no->reason, c.reason);
    EXPECT_EQ(r->counters().rejected_for(errc::protocol), ++count);
  }
  EXPECT_EQ(r->counters().peers_up, 0U);
}

TEST_F(at_router, rejects_whoever_does_not_begin_with_hello) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  peer.send(need_graph{"g"});
  const auto no = peer.receive_a<rejected>();
  ASSERT_TRUE(no);
  EXPECT_EQ(no->reason, "the first message must be hello");
  welcome_to(peer);  // and it may still do so
}

TEST_F(at_router, a_second_hello_replaces_the_first_under_a_new_id) {
  auto r = started();
  bare_peer first(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(first, "same");
  for (const bool same_connection : {true, false}) {
    bare_peer other(zmq::socket_type::dealer, dir.endpoint());
    auto& next = same_connection ? first : other;
    next.send(hello_of("same"));
    const auto down = seen.next();
    ASSERT_TRUE(content_of<peer_down>(down));
    const auto up = seen.next();
    ASSERT_TRUE(content_of<peer_up>(up));
    EXPECT_NE(up->peer, id);
    EXPECT_NE(up->peer, down->peer);
    EXPECT_EQ(r->counters().peers_up, 1U);
  }
}

TEST_F(at_router, has_room_for_so_many_peers) {
  auto r = started({}, 1);
  bare_peer first(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(first, "first");
  bare_peer second(zmq::socket_type::dealer, dir.endpoint());
  second.send(hello_of("second"));
  const auto no = second.receive_a<rejected>();
  ASSERT_TRUE(no);
  EXPECT_EQ(no->code, "busy");
}

TEST_F(at_router, answers_garbage_drops_who_sent_it_and_goes_on_with_the_others) {
  auto r = started();
  bare_peer good(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(good, "good");
  const std::vector<std::vector<std::string>> cases = {{"\xc1garbage"}, {""}, {"two", "parts"}, {"a", "b", "c", "d"}};
  std::uint64_t count = 0;
  for (const auto& parts : cases) {
    bare_peer bad(zmq::socket_type::dealer, dir.endpoint());
    const auto id = welcome_to(bad, "bad");
    bad.send_parts(parts);
    EXPECT_TRUE(bad.receive_a<rejected>());
    const auto event = seen.next();
    const auto down = content_of<peer_down>(event);
    ASSERT_TRUE(down);
    EXPECT_EQ(event->peer, id);
    EXPECT_EQ(down->why.code, errc::protocol);
    EXPECT_EQ(r->counters().rejected_for(errc::protocol), ++count);
  }
  good.send(need_graph{"g"});
  EXPECT_TRUE(next_of<need_graph>(seen));
}

TEST_F(at_router, drops_a_peer_whose_attachment_does_not_match_its_digest) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  const attachment_info info{1, 5, digest_hex(to_bytes("other"))};
  peer.send(submit{"g"}, &info);
  peer.send(chunk{1, 0, to_bytes("bytes")});
  const auto no = peer.receive_a<rejected>();
  ASSERT_TRUE(no);
  EXPECT_EQ(no->code, "corrupt");
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down) << "and the message was not delivered";
  EXPECT_EQ(down->why.code, errc::corrupt);
  EXPECT_EQ(r->counters().rejected_for(errc::corrupt), 1U);
}

TEST_F(at_router, delivers_a_message_when_its_last_chunk_is_there_and_grants_credit_before) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  const auto content = pattern_bytes(2 * limits::credit_bytes_window);
  const attachment_info info{1, content.size(), digest_hex(content)};
  peer.send(submit{"g"}, &info);
  std::size_t at = 0;
  std::size_t allowed = limits::credit_bytes_window;
  while (at < content.size()) {
    while (at == allowed) {
      const auto more = peer.receive_a<credit>();
      ASSERT_TRUE(more);
      allowed += more->bytes;
    }
    const auto piece = byte_view(content).subspan(at, limits::chunk_bytes);
    peer.send(chunk{1, at, bytes(piece.begin(), piece.end())});
    at += limits::chunk_bytes;
  }
  const auto event = seen.next();
  ASSERT_TRUE(content_of<submit>(event));
  EXPECT_EQ(*event->attachment, content);
}

}  // namespace
}  // namespace fxfarm::net
