// Links with keys, over real sockets: who gets in, who does not, and what either side is told.
#include "net/curve.hpp"

#include "net/dialer.hpp"
#include "net/router.hpp"
#include "peers.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

key_pair made() {
  auto keys = make_key_pair();
  EXPECT_TRUE(keys);
  return *keys;
}

// Both ends of the encryption must be there, whatever libzmq was built with.
TEST(curve, makes_pairs_that_belong_together) {
  const auto a = made(), b = made();
  EXPECT_TRUE(is_curve_key(a.public_key) && is_curve_key(a.secret_key));
  EXPECT_NE(a.secret_key, b.secret_key);
  EXPECT_TRUE(is_pair(a));
  EXPECT_FALSE(is_pair({a.public_key, b.secret_key}));
}

struct keyed_link : ::testing::Test {
  void authorize(const std::string& text) {
    auto parsed = authorized_keys::parse(text);
    ASSERT_TRUE(parsed) << to_string(parsed.failure());
    keys = std::make_shared<const authorized_keys>(*std::move(parsed));
    if (coordinator) coordinator->recheck();
  }
  void start(const key_pair& server, const std::string& endpoint = "tcp://127.0.0.1:0", link_options link = {}) {
    router_options options{{endpoint}, "c1", "0.1.0",
                           10,         link, accepting{server.secret_key, [this] { return keys.load(); }}};
    auto started = router::start(std::move(options), at_coordinator.sink());
    ASSERT_TRUE(started) << to_string(started.failure());
    coordinator = *std::move(started);
  }
  std::unique_ptr<dialer> dial(recorder& told, const std::string& role, std::optional<presenting> keys) {
    auto options = quick(role);
    options.keys = std::move(keys);
    auto started = dialer::start(std::move(options), told.sink());
    EXPECT_TRUE(started);
    (*started)->connect(coordinator->endpoints().front());
    return *std::move(started);
  }
  static dialer_options quick(const std::string& role) {
    dialer_options options;
    options.self = hello_of("p", role);
    options.reconnect_delay_min = 10ms;
    options.reconnect_delay_max = 50ms;
    return options;
  }
  presenting shows(const key_pair& own, std::vector<std::string> expected) const {
    return {own, std::move(expected), {}};
  }
  std::string why_not(const std::string& role, std::optional<presenting> keys) {
    recorder told;
    auto peer = dial(told, role, std::move(keys));
    const auto down = next_of<peer_down>(told);
    return down ? to_string(down->why) : "it got in";
  }
  std::string said_of(const std::string& code, const std::string& why) const {
    return code + ": " + coordinator->endpoints().front() + ": " + why;
  }
  std::uint64_t refused(refusal why) const { return coordinator->counters().refused_for(why); }
  // A count of the other end comes when that end has seen the connection end.
  bool comes_to(const std::function<std::uint64_t()>& count, std::uint64_t least) const {
    const auto until = clock::now() + patience;
    while (count() < least && clock::now() < until) std::this_thread::sleep_for(1ms);
    return count() >= least;
  }
  bool comes_to(refusal why, std::uint64_t least) const {
    return comes_to([&] { return refused(why); }, least);
  }

  const key_pair server = made(), alice = made(), bob = made();
  std::atomic<std::shared_ptr<const authorized_keys>> keys{std::make_shared<const authorized_keys>()};
  recorder at_coordinator;
  std::unique_ptr<router> coordinator;
};

TEST_F(keyed_link, lets_in_whom_the_keys_name_and_tells_what_right_that_is) {
  authorize("client team-a " + alice.public_key + " alice\n");
  for (const bool ipc : {false, true}) {
    temp_dir dir;
    start(server, ipc ? dir.endpoint() : "tcp://127.0.0.1:0");
    recorder told;
    auto peer = dial(told, "client", shows(alice, {server.public_key}));
    ASSERT_TRUE(next_of<peer_up>(told));
    const auto up = next_of<peer_up>(at_coordinator);
    ASSERT_TRUE(up);
    EXPECT_EQ(up->key, alice.public_key);
    EXPECT_EQ(up->right, (key_right{"client", "team-a", "alice", true}));
    // As much as one message may have, and what goes in chunks.
    const auto large = make_blob(pattern_bytes(3'000'000));
    peer->send(coordinator->endpoints().front(), submit{"g"}, large);
    const auto came = at_coordinator.next();
    ASSERT_TRUE(content_of<submit>(came));
    EXPECT_EQ(*came->attachment, *large);
    coordinator->stop();
    for (const auto why : {refusal::unknown_key, refusal::no_key, refusal::wrong_server_key})
      EXPECT_EQ(refused(why), 0u);
    while (at_coordinator.next(0ms)) {
    }
  }
}

TEST_F(keyed_link, carries_messages_as_large_as_an_unencrypted_one_does) {
  authorize("client a " + alice.public_key);
  start(server);
  recorder told;
  auto peer = dial(told, "client", shows(alice, {server.public_key}));
  ASSERT_TRUE(next_of<peer_up>(told));
  ASSERT_TRUE(next_of<peer_up>(at_coordinator));
  release largest;
  largest.stage_keys.assign(255, std::string(limits::text_bytes_max, 'x'));
  largest.stage_keys.emplace_back(1'000, 'x');
  largest.stage_keys.back().append(limits::frame_bytes_max - encode(largest).size(), 'x');
  ASSERT_EQ(encode(largest).size(), limits::frame_bytes_max);
  peer->send(coordinator->endpoints().front(), largest);
  const auto came = next_of<release>(at_coordinator);
  ASSERT_TRUE(came);
  EXPECT_EQ(came->stage_keys, largest.stage_keys);
}

TEST_F(keyed_link, refuses_a_key_that_is_not_authorized_and_says_which) {
  authorize("client a " + alice.public_key);
  start(server);
  EXPECT_EQ(why_not("client", shows(bob, {server.public_key})),
            said_of("refused",
                    "the coordinator does not know the key " + bob.public_key + "; add it to its authorized keys"));
  EXPECT_TRUE(comes_to(refusal::unknown_key, 1));
  EXPECT_EQ(coordinator->counters().peers_up, 0u);
  EXPECT_FALSE(at_coordinator.next(0ms)) << "nothing of it may reach the coordinator";
}

TEST_F(keyed_link, refuses_who_has_no_key) {
  authorize("client a " + alice.public_key);
  start(server);
  const auto why = why_not("client", std::nullopt);
  // Who is first to see that the other end talks otherwise breaks off.
  EXPECT_TRUE(why == said_of("refused", "the coordinator wants keys; give secret_key and server_public_key") ||
              why == said_of("unreachable",
                             "the other end broke off the handshake; if it wants keys, give secret_key and "
                             "server_public_key"))
      << why;
  const auto without_key = [&] { return refused(refusal::no_key) + refused(refusal::unfinished); };
  EXPECT_TRUE(comes_to(without_key, 1));
  bare_peer bare(zmq::socket_type::dealer, coordinator->endpoints().front());
  bare.send(hello_of("bare"));
  EXPECT_TRUE(comes_to(without_key, 2));
  EXPECT_EQ(coordinator->counters().messages_in, 0u);
}

TEST_F(keyed_link, gives_nothing_to_a_coordinator_without_keys_or_with_another_one) {
  authorize("client a " + alice.public_key);
  start(server);
  EXPECT_EQ(why_not("client", shows(alice, {bob.public_key})),
            said_of("refused",
                    "the coordinator broke off the handshake; its key is perhaps none of server_public_key, or it has "
                    "no room for more connections"));
  EXPECT_TRUE(comes_to(refusal::wrong_server_key, 1));

  recorder seen;
  auto plain = router::start({{"tcp://127.0.0.1:0"}, "c2", "0.1.0", 10, {}, std::nullopt}, seen.sink());
  ASSERT_TRUE(plain);
  coordinator = *std::move(plain);
  const auto why = why_not("client", shows(alice, {server.public_key}));
  EXPECT_TRUE(why == said_of("refused", "the coordinator talks unencrypted, and this side has a key") ||
              why == said_of("refused",
                             "the coordinator broke off the handshake; its key is perhaps none of "
                             "server_public_key, or it has no room for more connections"))
      << why;
  EXPECT_EQ(coordinator->counters().messages_in, 0u);
  EXPECT_FALSE(seen.next(0ms));
}

TEST_F(keyed_link, finds_out_which_of_the_accepted_keys_the_coordinator_has) {
  authorize("worker * " + alice.public_key);
  start(server);
  recorder told;
  auto peer = dial(told, "worker", shows(alice, {bob.public_key, made().public_key, server.public_key}));
  EXPECT_TRUE(next_of<peer_up>(told)) << "and no peer_down before it";
  EXPECT_TRUE(comes_to(refusal::wrong_server_key, 2));
}

TEST_F(keyed_link, goes_on_with_a_coordinator_that_comes_back_with_its_next_key) {
  authorize("worker * " + alice.public_key);
  temp_dir dir;
  start(server, dir.endpoint());
  const auto next_server = made();
  recorder told;
  auto peer = dial(told, "worker", shows(alice, {server.public_key, next_server.public_key}));
  ASSERT_TRUE(next_of<peer_up>(told));
  coordinator.reset();
  ASSERT_TRUE(next_of<peer_down>(told));
  start(next_server, dir.endpoint());
  EXPECT_TRUE(next_of<peer_up>(told));
}

TEST_F(keyed_link, takes_the_role_from_the_key_and_not_from_the_hello) {
  authorize("client a " + alice.public_key + "\nworker * " + bob.public_key + "\noperator * " + bob.public_key);
  start(server);
  EXPECT_EQ(why_not("operator", shows(alice, {server.public_key})),
            said_of("refused", "rejected by the peer: the key " + alice.public_key +
                                   " has no right to be operator; it may be: client"));
  EXPECT_EQ(refused(refusal::wrong_role), 1u);
  EXPECT_EQ(why_not("client", shows(bob, {server.public_key})),
            said_of("refused", "rejected by the peer: the key " + bob.public_key +
                                   " has no right to be client; it may be: worker, operator"));
  EXPECT_EQ(refused(refusal::wrong_role), 2u);
  EXPECT_EQ(coordinator->counters().rejected_for(errc::refused), 2u);
  EXPECT_FALSE(at_coordinator.next(0ms));
}

TEST_F(keyed_link, tells_and_drops_a_peer_whose_key_is_taken_away) {
  authorize("client a " + alice.public_key + "\nclient a " + bob.public_key);
  start(server);
  recorder told, other;
  auto peer = dial(told, "client", shows(alice, {server.public_key}));
  ASSERT_TRUE(next_of<peer_up>(told));
  ASSERT_TRUE(next_of<peer_up>(at_coordinator));
  auto options = quick("client");
  options.self.id = "q";
  options.keys = shows(bob, {server.public_key});
  auto stays = dialer::start(std::move(options), other.sink());
  (*stays)->connect(coordinator->endpoints().front());
  ASSERT_TRUE(next_of<peer_up>(other));
  ASSERT_TRUE(next_of<peer_up>(at_coordinator));

  authorize("client a " + bob.public_key);
  const auto down = next_of<peer_down>(told);
  ASSERT_TRUE(down);
  EXPECT_EQ(to_string(down->why),
            said_of("refused", "rejected by the peer: the key " + alice.public_key + " is not authorized any longer"));
  const auto gone = next_of<peer_down>(at_coordinator);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->why.code, errc::refused);
  EXPECT_EQ(refused(refusal::revoked), 1u);
  EXPECT_TRUE(comes_to(refusal::unknown_key, 1)) << "it tries again, and is not let in";
  EXPECT_EQ(coordinator->counters().peers_up, 1u);
  EXPECT_FALSE(other.next(0ms));
}

TEST_F(keyed_link, has_a_peer_come_in_again_when_its_right_is_another) {
  authorize("client a " + alice.public_key);
  start(server);
  recorder told;
  auto peer = dial(told, "client", shows(alice, {server.public_key}));
  const auto first = next_of<peer_up>(at_coordinator);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->right.scope(), "a");
  const std::pair<std::string, std::string> changes[] = {
      {"client b", "b"}, {"share b c\nclient b", "b+c"}, {"share *\nclient b", ""}};
  for (const auto& [lines, scope] : changes) {
    authorize(lines + " " + alice.public_key);
    ASSERT_TRUE(next_of<peer_down>(at_coordinator)) << lines;
    const auto again = next_of<peer_up>(at_coordinator);
    ASSERT_TRUE(again) << lines;
    EXPECT_EQ(again->right.scope(), scope);
  }
  EXPECT_EQ(refused(refusal::revoked), 0u);
}

TEST_F(keyed_link, lets_nobody_take_a_name_that_another_key_has) {
  authorize("client a " + alice.public_key + "\nclient a " + bob.public_key);
  start(server);
  recorder first, second;
  auto one = dial(first, "client", shows(alice, {server.public_key}));
  ASSERT_TRUE(next_of<peer_up>(at_coordinator));
  auto two = dial(second, "client", shows(bob, {server.public_key}));  // says the same hello.id
  EXPECT_TRUE(next_of<peer_up>(at_coordinator)) << "and no peer_down of the first";
  EXPECT_EQ(coordinator->counters().peers_up, 2u);
}

TEST_F(keyed_link, dials_the_local_farm_without_keys) {
  recorder told;
  temp_dir dir;
  auto plain = router::start({{dir.endpoint()}, "local", "0.1.0", 10, {}, std::nullopt}, at_coordinator.sink());
  ASSERT_TRUE(plain);
  coordinator = *std::move(plain);
  auto keys = shows(alice, {server.public_key});
  keys.plain.insert(dir.endpoint());
  auto peer = dial(told, "client", std::move(keys));
  EXPECT_TRUE(next_of<peer_up>(told));
}

}  // namespace
}  // namespace fxfarm::net
