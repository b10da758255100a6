// Router and dialer talking to each other over real sockets.
#include "net/dialer.hpp"
#include "net/router.hpp"
#include "peers.hpp"
#include "runtime/digest.hpp"

#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t MiB = limits::MiB;

std::unique_ptr<router> start_router(recorder& seen, std::string endpoint, link_options link = {}) {
  router_options options;
  options.endpoints = {std::move(endpoint)};
  options.id = "coordinator-1";
  options.build = "0.1.0";
  options.link = link;
  auto started = router::start(std::move(options), seen.sink());
  EXPECT_TRUE(started) << to_string(started.failure());
  return started ? std::move(*started) : nullptr;
}

std::unique_ptr<dialer> start_dialer(recorder& seen, link_options link = {}) {
  dialer_options options;
  options.self = hello_of("client-1");
  options.reconnect_delay_min = 20ms;
  options.reconnect_delay_max = 100ms;
  options.link = link;
  auto started = dialer::start(std::move(options), seen.sink());
  EXPECT_TRUE(started);
  return started ? std::move(*started) : nullptr;
}

std::string endpoint_for(const std::string& scheme, const temp_dir& dir) {
  return scheme == "ipc" ? dir.endpoint() : "tcp://127.0.0.1:0";
}

// A router and a dialer that have shaken hands.
struct pair {
  explicit pair(const std::string& scheme = "ipc", link_options link = {}, link_options dialing = {})
      : bound(start_router(at_router, endpoint_for(scheme, dir), link)),
        dialing(start_dialer(at_dialer, dialing)),
        endpoint(bound->endpoints().front()) {
    this->dialing->connect(endpoint);
    const auto up = at_router.next();
    EXPECT_TRUE(content_of<peer_up>(up));
    peer = up ? up->peer : "";
    EXPECT_TRUE(next_of<peer_up>(at_dialer));
  }

  temp_dir dir;
  recorder at_router;
  recorder at_dialer;
  std::unique_ptr<router> bound;
  std::unique_ptr<dialer> dialing;
  std::string endpoint;
  peer_id peer;
};

class link_over : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(transports, link_over, ::testing::Values("ipc", "tcp"),
                         [](const auto& transport) { return transport.param; });

TEST_P(link_over, handshake_tells_each_side_who_the_other_is) {
  temp_dir dir;
  recorder at_router;
  recorder at_dialer;
  auto bound = start_router(at_router, endpoint_for(GetParam(), dir));
  auto dialing = start_dialer(at_dialer);
  dialing->connect(bound->endpoints().front());

  const auto client = next_of<peer_up>(at_router);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->who.id, "client-1");
  EXPECT_EQ(client->who.role, "client");
  const auto event = at_dialer.next();
  const auto coordinator = content_of<peer_up>(event);
  ASSERT_TRUE(coordinator);
  EXPECT_EQ(event->peer, bound->endpoints().front());
  EXPECT_EQ(coordinator->who.id, "coordinator-1");
  EXPECT_EQ(coordinator->who.build, "0.1.0");
  EXPECT_EQ(bound->counters().peers_up, 1U);
  EXPECT_EQ(dialing->counters().peers_up, 1U);
}

TEST_P(link_over, messages_arrive_in_order_in_both_directions) {
  pair p(GetParam());
  constexpr int count = 2'000;
  for (int i = 0; i < count; ++i) {
    p.dialing->send(p.endpoint, need_graph{"up " + std::to_string(i)});
    p.bound->send(p.peer, need_graph{"down " + std::to_string(i)});
  }
  for (int i = 0; i < count; ++i) {
    const auto up = next_of<need_graph>(p.at_router);
    ASSERT_TRUE(up) << i;
    ASSERT_EQ(up->graph_key, "up " + std::to_string(i));
    const auto down = next_of<need_graph>(p.at_dialer);
    ASSERT_TRUE(down) << i;
    ASSERT_EQ(down->graph_key, "down " + std::to_string(i));
  }
}

TEST_P(link_over, a_side_that_stops_in_order_sends_first_what_waits) {
  const auto content = make_blob(pattern_bytes(32 * MiB));
  {
    pair p(GetParam());
    p.bound->send(p.peer, stage_ready{}, content);
    p.bound->stop(patience);
    const auto down = p.at_dialer.next();
    ASSERT_TRUE(content_of<stage_ready>(down));
    EXPECT_TRUE(down->attachment && *down->attachment == *content);
  }
  pair p(GetParam());
  p.dialing->send(p.endpoint, job_done{"job", "stage", {}}, content);
  p.dialing->stop(patience);
  const auto up = p.at_router.next();
  ASSERT_TRUE(content_of<job_done>(up));
  EXPECT_TRUE(up->attachment && *up->attachment == *content);
}

TEST_P(link_over, pieces_of_an_attachment_are_not_what_nobody_has_looked_at) {
  link_options link;
  link.inbound_bytes_max = MiB;
  pair p(GetParam(), link);
  const auto content = make_blob(pattern_bytes(4 * MiB));
  p.dialing->send(p.endpoint, submit{"graph"}, content);
  const auto up = p.at_router.next();
  ASSERT_TRUE(content_of<submit>(up));
  EXPECT_TRUE(up->attachment && *up->attachment == *content);
  p.dialing->send(p.endpoint, need_graph{"after it"});
  EXPECT_TRUE(next_of<need_graph>(p.at_router));
}

TEST_P(link_over, a_large_attachment_passes_in_both_directions_while_messages_go_on) {
  pair p(GetParam());
  const auto content = make_blob(pattern_bytes(32 * MiB));
  p.bound->send(p.peer, job_done{"job", "stage", {}}, content);
  // Right after each other: 32 MiB take far longer than the message needs to follow.
  p.dialing->send(p.endpoint, submit{"graph"}, content);
  p.dialing->send(p.endpoint, need_graph{"meanwhile"});

  const auto meanwhile = next_of<need_graph>(p.at_router);
  ASSERT_TRUE(meanwhile) << "a small message waited for the attachment";
  const auto up = p.at_router.next();
  ASSERT_TRUE(content_of<submit>(up));
  ASSERT_TRUE(up->attachment);
  EXPECT_TRUE(*up->attachment == *content);
  const auto down = p.at_dialer.next();
  ASSERT_TRUE(content_of<job_done>(down));
  ASSERT_TRUE(down->attachment);
  EXPECT_TRUE(*down->attachment == *content);
  EXPECT_EQ(p.bound->counters().chunk_bytes_in, 32 * MiB);
  EXPECT_EQ(p.bound->counters().chunk_bytes_out, 32 * MiB);
}

TEST_P(link_over, more_streams_than_may_be_open_wait_in_line_and_all_arrive) {
  pair p(GetParam());
  constexpr std::size_t count = 3 * limits::streams_per_peer_max;
  std::vector<blob> contents;
  for (std::size_t i = 0; i < count; ++i) {
    contents.push_back(make_blob(pattern_bytes(i * 5'000, static_cast<unsigned>(i))));
    p.bound->send(p.peer, stage_ready{std::to_string(i), "s", "memory", 0, {}}, contents.back());
  }
  std::set<std::size_t> arrived;
  for (std::size_t i = 0; i < count; ++i) {
    const auto event = p.at_dialer.next();
    const auto ready = content_of<stage_ready>(event);
    ASSERT_TRUE(ready);
    const auto which = std::stoul(ready->graph_key);
    arrived.insert(which);
    ASSERT_TRUE(*event->attachment == *contents[which]) << which;
  }
  EXPECT_EQ(arrived.size(), count);
}

TEST_P(link_over, many_threads_may_send) {
  pair p(GetParam());
  constexpr int each = 500;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i)
        p.dialing->send(p.endpoint, need_graph{}, i % 100 == 0 ? make_blob(bytes(10)) : nullptr);
    });
  }
  for (auto& t : threads) t.join();
  for (int i = 0; i < 4 * each; ++i) ASSERT_TRUE(next_of<need_graph>(p.at_router)) << i;
}

// The only timers are the heartbeats, so an attached pair costs no messages in between.
TEST_P(link_over, an_idle_link_is_silent) {
  pair p(GetParam());
  const auto before = p.dialing->counters().messages_out + p.bound->counters().messages_out;
  EXPECT_FALSE(p.at_router.next(300ms));
  EXPECT_EQ(p.dialing->counters().messages_out + p.bound->counters().messages_out, before);
}

TEST_P(link_over, a_router_that_stops_is_told_as_shutdown_and_found_again_when_it_is_back) {
  pair p(GetParam());
  p.bound.reset();
  const auto down = next_of<peer_down>(p.at_dialer);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::shutdown);

  recorder again;
  auto back = start_router(again, p.endpoint);
  ASSERT_TRUE(back);
  EXPECT_TRUE(next_of<peer_up>(p.at_dialer)) << "and no second peer_down";
  EXPECT_TRUE(next_of<peer_up>(again));
  EXPECT_GE(p.dialing->counters().reconnects, 1U);
}

}  // namespace
}  // namespace fxfarm::net
