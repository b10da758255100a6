// Peers of a router that read little or nothing, and what they cost it and others.
#include "router_fixture.hpp"

#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

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

TEST_F(at_router, a_peer_whose_pipe_was_full_when_it_was_dropped_is_told_so_when_it_reads_again) {
  constexpr std::uint64_t in_sockets = 1'000 + limits::socket_messages_max / 2;  // of a bare one, and some in ours
  link_options link;
  link.handshake_timeout = 1h;  // else it would be hung up on
  link.silence_max = 2h;
  auto r = started(link);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  const auto id = welcome_to(peer);
  const std::string large(50'000, 'x');
  for (int i = 0; i < 2'000; ++i) r->send(id, answer{1, large, "none", ""});
  const auto until = clock::now() + patience;
  while (r->counters().messages_out < in_sockets && clock::now() < until) std::this_thread::sleep_for(1ms);
  r->drop(id, "too slow");
  ASSERT_TRUE(next_of<peer_down>(seen));
  const auto bye = peer.receive_a<goodbye>();
  ASSERT_TRUE(bye);
  EXPECT_EQ(bye->reason, "too slow");
  EXPECT_FALSE(welcome_to(peer).empty()) << "and once";
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

TEST_F(at_router, reads_no_more_than_it_may_keep_while_nobody_looks_and_goes_on_when_somebody_has) {
  constexpr std::size_t messages = 500, bytes = 4'000;
  link_options link;
  link.inbound_bytes_max = 10 * bytes;
  std::mutex mutex;
  std::vector<inbound_batch> kept;  // as a busy actor's mailbox has them
  bool keeps = true;
  auto sink = [&, record = seen.sink()](inbound_batch batch) {
    std::lock_guard lock(mutex);
    if (keeps) kept.push_back(batch);
    record(std::move(batch));
  };
  auto r = router::start({{dir.endpoint()}, "c1", "0.1.0", 10, link}, sink);
  ASSERT_TRUE(r);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  peer.send(hello_of("p"));
  const auto up = seen.next();
  ASSERT_TRUE(content_of<peer_up>(up));
  for (std::size_t i = 0; i < messages; ++i) peer.send(need_graph{std::string(bytes, 'x')});
  ASSERT_TRUE(next_of<need_graph>(seen));
  // All else goes on: whoever is sent to hears it.
  for (int i = 0; i < 3; ++i) {
    (*r)->send(up->peer, need_graph{"asked"});
    ASSERT_TRUE(peer.receive_a<need_graph>());
  }
  EXPECT_LE((*r)->counters().bytes_in, link.inbound_bytes_max + 2 * bytes);
  {
    std::lock_guard lock(mutex);
    keeps = false;
    kept.clear();
  }
  for (std::size_t i = 1; i < messages; ++i) ASSERT_TRUE(next_of<need_graph>(seen));
}

TEST_F(at_router, goes_on_reading_after_more_that_told_nothing_than_it_may_keep) {
  constexpr std::size_t messages = 50, bytes = 4'000;
  link_options link;
  link.inbound_bytes_max = 10 * bytes;
  auto r = router::start({{dir.endpoint()}, "c1", "0.1.0", 10, link}, seen.sink());
  ASSERT_TRUE(r);
  bare_peer stranger(zmq::socket_type::dealer, dir.endpoint());
  for (std::size_t i = 0; i < messages; ++i) stranger.send(need_graph{std::string(bytes, 'x')});
  for (std::size_t i = 0; i < messages; ++i) ASSERT_TRUE(stranger.receive_a<rejected>());
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  peer.send(hello_of("p"));
  EXPECT_TRUE(next_of<peer_up>(seen));
}

}  // namespace
}  // namespace fxfarm::net
