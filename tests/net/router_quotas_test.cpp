// Peers of a router that send more than they may. What is left of a second's messages depends on the clock, so what is
// sent is far more than could come back meanwhile, and what becomes of each message is counted.
#include "net/dialer.hpp"
#include "net/router.hpp"
#include "peers.hpp"
#include "runtime/digest.hpp"

#include <array>
#include <atomic>
#include <functional>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

constexpr unsigned a_second = 50;
constexpr unsigned far_more = 5'000;

struct at_router_with_quotas : ::testing::Test {
  void start(unsigned messages_per_second = a_second) {
    router_options options{{dir.endpoint()}, "c1", "0.1.0"};
    options.quotas.messages_per_second = messages_per_second;
    options.quota_passed = [this](std::string_view what) { ++passed[what == "messages" ? 0 : 1]; };
    auto started = router::start(std::move(options), seen.sink());
    ASSERT_TRUE(started) << to_string(started.failure());
    r = *std::move(started);
  }
  void welcome_to(bare_peer& peer, const std::string& id = "p") {
    peer.send(hello_of(id));
    ASSERT_TRUE(peer.receive_a<welcome>());
    ASSERT_TRUE(next_of<peer_up>(seen));
  }
  template <class Message>
  void flood(bare_peer& peer, const Message& what) {
    for (unsigned i = 0; i < far_more; ++i) peer.send(what);
  }
  // Of a flood: what was delivered, until the peer is gone.
  struct outcome {
    std::uint64_t heard = 0, over = 0;
    error why;
  };
  outcome until_gone() {
    outcome all;
    while (const auto event = seen.next()) {
      if (const auto down = content_of<peer_down>(event)) {
        all.why = down->why;
        break;
      }
      ++(event->over_quota ? all.over : all.heard);
    }
    return all;
  }
  // All that was sent has been looked at by then, and what became of each of a flood is counted.
  void settle(bare_peer& peer, std::uint64_t sent, const std::function<std::uint64_t()>& counted) const {
    const auto until = clock::now() + patience;
    const auto settled = [&] { return r->counters().messages_in >= sent && counted() >= far_more; };
    while (!settled() && clock::now() < until) peer.hears(1ms);
    EXPECT_EQ(r->counters().messages_in, sent);
    EXPECT_EQ(counted(), far_more);
  }
  std::uint64_t rejected_for(errc code) const { return r->counters().rejected_for(code); }

  temp_dir dir;
  recorder seen;
  std::array<std::atomic<std::uint64_t>, 2> passed{};  // messages, connections
  std::unique_ptr<router> r;
};

TEST_F(at_router_with_quotas, questions_past_them_are_marked_then_the_link_is_closed_and_no_more_is_read) {
  start();
  bare_peer other(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(other, "other");
  for (const message& question : {message(lookup{}), message(ask{})}) {
    SCOPED_TRACE(tag_of(question));
    bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
    welcome_to(peer);
    const auto before = passed[0].load();
    const auto unread_before = rejected_for(errc::protocol);
    const auto read_before = r->counters().messages_in.load();
    flood(peer, question);
    const auto of = until_gone();
    EXPECT_GE(of.heard, 1u);
    EXPECT_GE(of.over, a_second);
    EXPECT_LT(of.heard + of.over, far_more / 2);
    EXPECT_EQ(to_string(of.why), "busy: the peers of this key send more than 50 messages in a second");
    // Each was heard, told to come again, not read, or came when there was no peer and a message was left of a second.
    settle(peer, read_before + far_more,
           [&] { return of.heard + (passed[0] - before) + (rejected_for(errc::protocol) - unread_before); });
    EXPECT_TRUE(peer.receive_a<rejected>());
  }
  other.send(lookup{});
  const auto event = seen.next();
  ASSERT_TRUE(content_of<lookup>(event));
  EXPECT_FALSE(event->over_quota) << "another connection has its own";
  EXPECT_EQ(passed[1], 0u);
}

TEST_F(at_router_with_quotas, what_is_said_again_anyway_is_not_listened_to) {
  start();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  flood(peer, switch_vote{});
  const auto of = until_gone();
  EXPECT_GE(of.heard, 1u);
  EXPECT_EQ(of.over, 0u);
  settle(peer, 1 + far_more, [&] { return of.heard + passed[0] + rejected_for(errc::protocol); });
  EXPECT_EQ(of.why.code, errc::busy);
}

TEST_F(at_router_with_quotas, what_would_be_missed_is_taken_until_the_link_is_closed) {
  for (const message& what : {message(job_done{}), message(job_failed{}), message(job_alive{}), message(job_held{}),
                              message(worker_offer{}), message(submit{}), message(release{})}) {
    SCOPED_TRACE(tag_of(what));
    passed[0] = 0;
    start();
    bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
    welcome_to(peer);
    for (unsigned i = 0; i < 2 * a_second - 1; ++i) peer.send(what);
    for (unsigned i = 0; i < 2 * a_second - 1; ++i) {
      const auto event = seen.next();
      ASSERT_TRUE(event && std::holds_alternative<message>(event->event));
      EXPECT_FALSE(event->over_quota);
    }
    EXPECT_EQ(passed[0], 0u);
    flood(peer, what);
    const auto of = until_gone();
    EXPECT_EQ(of.over, 0u);
    settle(peer, 2 * a_second + far_more, [&] { return of.heard + passed[0] + rejected_for(errc::protocol); });
    r.reset();
    while (seen.next(0ms)) {
    }
  }
}

TEST_F(at_router_with_quotas, an_attachment_has_no_hole_for_it) {
  start(10);
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  welcome_to(peer);
  const auto content = pattern_bytes(15);
  const attachment_info info{1, content.size(), digest_hex(content)};
  peer.send(submit{"g"}, &info);
  for (std::size_t at = 0; at < content.size(); ++at) peer.send(chunk{1, at, bytes(1, content[at])});
  const auto event = seen.next();
  ASSERT_TRUE(content_of<submit>(event)) << "17 of 20 that are not far over";
  EXPECT_EQ(*event->attachment, content);
  EXPECT_EQ(passed[0], 0u);
}

TEST_F(at_router_with_quotas, who_is_no_peer_gets_no_answer_to_what_is_not_read) {
  start();
  bare_peer peer(zmq::socket_type::dealer, dir.endpoint());
  flood(peer, lookup{});
  settle(peer, far_more, [&] { return passed[0] + rejected_for(errc::protocol); });
  EXPECT_LT(rejected_for(errc::protocol), far_more / 2);
  EXPECT_EQ(rejected_for(errc::busy), 0u);
  EXPECT_FALSE(seen.next(0ms));
}

TEST_F(at_router_with_quotas, a_key_has_so_many_peers_and_others_have_theirs) {
  const auto server = *make_key_pair(), alice = *make_key_pair(), bob = *make_key_pair();
  auto parsed = authorized_keys::parse("client a " + alice.public_key + "\nclient b " + bob.public_key + "\n");
  ASSERT_TRUE(parsed);
  const auto keys = std::make_shared<const authorized_keys>(*std::move(parsed));
  router_options options{{dir.endpoint()}, "c1", "0.1.0"};
  options.accept = accepting{server.secret_key, [keys] { return keys; }};
  options.quotas.connections = 1;
  options.quota_passed = [this](std::string_view what) { ++passed[what == "connections" ? 1 : 0]; };
  auto started = router::start(std::move(options), seen.sink());
  ASSERT_TRUE(started) << to_string(started.failure());
  r = *std::move(started);
  const auto dial = [&](recorder& told, const std::string& id, const key_pair& own) {
    dialer_options dialing;
    dialing.self = hello_of(id);
    dialing.keys = presenting{own, {server.public_key}, {}};
    dialing.reconnect_delay_min = dialing.reconnect_delay_max = 10ms;
    auto made = dialer::start(std::move(dialing), told.sink());
    EXPECT_TRUE(made);
    (*made)->connect(dir.endpoint());
    return *std::move(made);
  };
  recorder first, second, of_bob;
  auto in = dial(first, "1", alice);
  ASSERT_TRUE(next_of<peer_up>(first));
  auto out = dial(second, "2", alice);
  const auto down = next_of<peer_down>(second);
  ASSERT_TRUE(down);
  EXPECT_EQ(down->why.code, errc::busy);
  EXPECT_NE(down->why.message.find("no more than 1 peers of one key"), std::string::npos) << down->why.message;
  EXPECT_GE(passed[1], 1u);
  EXPECT_EQ(passed[1], rejected_for(errc::busy));
  auto other = dial(of_bob, "1", bob);
  ASSERT_TRUE(next_of<peer_up>(of_bob));
  EXPECT_EQ(r->counters().peers_up, 2u);
  in.reset();
  EXPECT_TRUE(next_of<peer_up>(second)) << "there is room now";
  EXPECT_EQ(passed[0], 0u);
}

}  // namespace
}  // namespace fxfarm::net
