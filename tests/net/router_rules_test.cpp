// Peers of a router that break the rules, die, or read nothing: it is on one side, a bare socket on the other.
#include "net/router.hpp"
#include "peers.hpp"
#include "runtime/digest.hpp"

#include <atomic>
#include <future>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

struct at_router : ::testing::Test {
  result<std::unique_ptr<router>> start(const std::string& endpoint, link_options link = {},
                                        std::size_t peers_max = 10) {
    return router::start({{endpoint}, "c1", "0.1.0", peers_max, link}, seen.sink());
  }
  std::unique_ptr<router> started(link_options link = {}, std::size_t peers_max = 10) {
    auto one = start(dir.endpoint(), link, peers_max);
    EXPECT_TRUE(one) << to_string(one.failure());
    return one ? std::move(*one) : nullptr;
  }
  // A peer that has shaken hands, and the id the router gave it.
  peer_id welcome_to(bare_peer& peer, const std::string& id = "p") {
    peer.send(hello_of(id));
    EXPECT_TRUE(peer.receive_a<welcome>());
    const auto up = seen.next();
    EXPECT_TRUE(content_of<peer_up>(up));
    return up ? up->peer : "";
  }

  temp_dir dir;
  recorder seen;
};

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

TEST_F(at_router, sends_the_rest_to_a_peer_that_was_slow_while_others_keep_talking) {
  constexpr int count = 4'000;  // of 4 KiB: more than the sockets hold
  auto r = started();
  bare_peer slow(zmq::socket_type::dealer, dir.endpoint());
  bare_peer talker(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(slow, "slow");
  welcome_to(talker, "talker");
  for (int i = 0; i < count; ++i) r->send(id, need_graph{std::string(4'000, 'x') + std::to_string(i)});
  std::atomic<bool> enough{false};
  auto talking = std::async(std::launch::async, [&] {
    while (!enough) talker.send(heartbeat{});
  });
  for (int i = 0; i < count; ++i) {
    const auto came = slow.receive_a<need_graph>();
    EXPECT_TRUE(came) << i;
    if (!came) break;
  }
  enough = true;
  talking.get();
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

TEST_F(at_router, a_peer_that_gives_no_credit_costs_one_window_and_hears_everything_else) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(peer);
  r->send(id, job{}, make_blob(bytes(4 * limits::credit_bytes_window)));
  std::size_t got = 0;
  while (got < limits::credit_bytes_window) {
    const auto piece = peer.receive_a<chunk>();
    ASSERT_TRUE(piece);
    got += piece->data.size();
  }
  r->send(id, need_graph{"after"});
  const auto next = peer.receive();
  ASSERT_TRUE(next);
  EXPECT_TRUE(std::holds_alternative<need_graph>(next->content)) << "no chunk past the window";
  EXPECT_EQ(r->counters().chunk_bytes_out, limits::credit_bytes_window);
}

TEST_F(at_router, heartbeats_go_on_beside_an_attachment_that_is_stuck) {
  link_options link;
  link.heartbeat_period = 30ms;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  r->send(welcome_to(peer), job{}, make_blob(bytes(4 * limits::credit_bytes_window)));
  EXPECT_TRUE(peer.receive_a<chunk>());
  EXPECT_TRUE(peer.receive_a<heartbeat>());
}

TEST_F(at_router, a_peer_that_reads_nothing_is_dropped_past_its_bounds) {
  link_options link;
  link.messages_max = 100;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(peer);
  // More than the sockets of both sides (a bare one holds 1 000) and the system between them can hold.
  const std::string large(50'000, 'x');
  for (int i = 0; i < 2'000; ++i) r->send(id, answer{1, large, "none", ""});
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::too_large);
  EXPECT_EQ(r->counters().peers_up, 0U);
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

TEST_F(at_router, drops_a_peer_for_whom_more_is_sent_than_may_wait) {
  link_options link;
  link.outbox_max = 3;
  std::promise<void> filled;
  auto until = filled.get_future().share();
  auto sink = [record = seen.sink(), until](inbound_batch batch) {
    record(std::move(batch));
    until.wait();  // the socket thread looks at nothing meanwhile
  };
  auto r = router::start({{dir.endpoint()}, "c1", "0.1.0", 10, link}, sink);
  ASSERT_TRUE(r);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  peer.send(hello_of("p"));
  const auto up = seen.next();
  ASSERT_TRUE(content_of<peer_up>(up));
  for (int i = 0; i < 4; ++i) (*r)->send(up->peer, need_graph{std::to_string(i)});
  filled.set_value();
  const auto down = next_of<peer_down>(seen);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::busy);
  const auto no = peer.receive_a<rejected>();
  ASSERT_TRUE(no);
  EXPECT_EQ(no->code, "busy");
}

TEST_F(at_router, says_goodbye_when_it_stops) {
  auto r = started();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  r->stop();
  EXPECT_TRUE(peer.receive_a<goodbye>());
}

TEST_F(at_router, tells_the_sink_in_bounded_batches) {
  link_options link;
  link.batch_max = 8;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  for (int i = 0; i < 100; ++i) peer.send(need_graph{});
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(next_of<need_graph>(seen));
  for (const auto size : seen.batches()) EXPECT_LE(size, 8U);
}

TEST_F(at_router, an_endpoint_that_is_taken_is_an_error_that_names_it) {
  auto tcp = start("tcp://127.0.0.1:0");
  ASSERT_TRUE(tcp);
  const auto endpoint = (*tcp)->endpoints().front();
  EXPECT_FALSE(endpoint.ends_with(":0"));
  const auto second = start(endpoint);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code, errc::io);
  EXPECT_EQ(second.failure().message, endpoint + ": Address already in use");

  auto ipc = start(dir.endpoint());
  ASSERT_TRUE(ipc);
  const auto again = start(dir.endpoint());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().message, dir.endpoint() + ": another process listens there");
  EXPECT_EQ(start("ipc:///nowhere/at/all").failure().code, errc::io);
  EXPECT_EQ(start("nonsense").failure().code, errc::io);
}

TEST_F(at_router, only_the_owner_can_open_its_ipc_socket) {
  auto r = started();
  struct stat info {};
  ASSERT_EQ(::stat(dir.file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(at_router, listens_at_several_endpoints_at_once) {
  auto r = router::start({{dir.endpoint("one"), "tcp://127.0.0.1:0"}, "c1", "0.1.0", 10, {}}, seen.sink());
  ASSERT_TRUE(r);
  for (const auto& endpoint : (*r)->endpoints()) {
    bare_peer peer(zmq::socket_type::dealer, endpoint);
    welcome_to(peer, endpoint);
  }
}

}  // namespace
}  // namespace fxfarm::net
