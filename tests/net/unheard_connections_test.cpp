// Connections that are nobody's: who has not said hello, was refused, or is no peer any longer. How many a key or an
// address may have of them, and that they are hung up on. And that what becomes of one connection does not touch
// another one that has got its descriptor.
#include "net/curve.hpp"
#include "net/dialer.hpp"
#include "net/router.hpp"
#include "peers.hpp"
#include "raw_peer.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

// Until a connection is hung up on, which tests wait for; and in twice this time those that are not to be must have
// said hello.
constexpr auto hardly = slowness * 1s;
constexpr auto for_ever = 1h;

struct at_the_door : ::testing::Test {
  void start(clock::duration handshake_timeout, router_options options = {}) {
    options.endpoints = {"tcp://127.0.0.1:0"};
    options.id = "c1";
    options.link.handshake_timeout = handshake_timeout;
    options.link.heartbeat_period = for_ever;
    options.link.silence_max = 2 * for_ever;
    options.quota_passed = [this](std::string_view what) {
      passed += what == "connections" ? 1 : 0;
      passed.notify_all();
    };
    auto started = router::start(std::move(options), seen.sink());
    ASSERT_TRUE(started) << to_string(started.failure());
    r = *std::move(started);
    port = port_of(r->endpoints().front());
  }
  std::uint64_t refused(refusal why) const { return r->counters().refused_for(why); }
  // That ZeroMQ has closed a connection which comes from this port. Nobody is told: the peer is gone only later.
  bool is_closed(std::uint16_t from) const {
    const auto until = clock::now() + patience;
    while (descriptor_at(port, from) >= 0) {
      if (clock::now() > until) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  peer_id welcome_to(raw_peer& peer, const std::string& id) {
    peer.send(hello_of(id));
    EXPECT_TRUE(peer.hears("welcome"));
    const auto up = seen.next();
    EXPECT_TRUE(content_of<peer_up>(up));
    return up ? up->peer : "";
  }

  recorder seen;
  std::atomic<unsigned> passed{0};
  std::uint16_t port = 0;
  std::unique_ptr<router> r;  // ends first
};

TEST_F(at_the_door, who_does_not_say_hello_is_hung_up_on_and_counted_and_a_peer_stays) {
  start(hardly);
  raw_peer peer(port);
  const auto id = welcome_to(peer, "p");
  raw_peer silent(port), speechless(port);
  EXPECT_TRUE(silent.is_hung_up_on());
  EXPECT_TRUE(speechless.is_hung_up_on());
  EXPECT_EQ(refused(refusal::no_hello), 2u);
  r->send(id, need_graph{"still there"});
  EXPECT_TRUE(peer.hears("still there"));
}

TEST_F(at_the_door, who_was_refused_is_told_why_and_then_hung_up_on) {
  start(hardly);
  raw_peer peer(port);
  peer.send(hello_of("p", "king"));
  EXPECT_TRUE(peer.hears("rejected"));
  EXPECT_TRUE(peer.is_hung_up_on());
  EXPECT_EQ(refused(refusal::no_hello), 1u);
}

TEST_F(at_the_door, who_is_no_peer_any_longer_is_hung_up_on) {
  start(hardly);
  raw_peer leaves(port);
  welcome_to(leaves, "leaves");
  leaves.send(goodbye{"done"});
  EXPECT_TRUE(next_of<peer_down>(seen));
  EXPECT_TRUE(leaves.is_hung_up_on());
  raw_peer dropped(port);
  r->drop(welcome_to(dropped, "dropped"), "enough");
  EXPECT_TRUE(dropped.hears("enough"));
  EXPECT_TRUE(dropped.is_hung_up_on());
  EXPECT_EQ(refused(refusal::no_hello), 0u) << "they had been peers";
}

TEST_F(at_the_door, an_address_has_so_many_connections_without_hello) {
  router_options options;
  options.unheard_per_address = 2;
  start(for_ever, std::move(options));
  raw_peer first(port), second(port, false);
  ASSERT_TRUE(second.hears("\xff")) << "it is greeted when it has been accepted";
  for (std::uint64_t tried = 1; tried <= 5; ++tried) {
    raw_peer beyond(port);
    EXPECT_TRUE(beyond.is_hung_up_on());
    EXPECT_EQ(refused(refusal::too_many), tried);
  }
  welcome_to(first, "first");
  raw_peer third(port);
  welcome_to(third, "third");
  EXPECT_EQ(refused(refusal::too_many), 5u);
}

// However soon the hello is read, and whoever had the descriptor before.
TEST_F(at_the_door, who_has_said_hello_does_not_count_among_those_who_have_not) {
  router_options options;
  options.unheard_per_address = 1;
  start(for_ever, std::move(options));
  std::vector<std::unique_ptr<raw_peer>> staying;
  for (int i = 0; i < 100; ++i) {
    auto peer = std::make_unique<raw_peer>(port);
    welcome_to(*peer, std::to_string(i));
    if (i % 2 == 0) {
      staying.push_back(std::move(peer));
    } else {
      const auto from = peer->port();
      peer->close();
      ASSERT_TRUE(is_closed(from));
      EXPECT_TRUE(next_of<peer_down>(seen));
    }
  }
  EXPECT_EQ(refused(refusal::too_many), 0u);
  EXPECT_EQ(r->counters().peers_up, staying.size());
}

TEST_F(at_the_door, a_peer_that_comes_by_another_connection_is_told_so_by_the_first_which_is_hung_up_on) {
  start(for_ever);
  raw_peer first(port), second(port);
  welcome_to(first, "p");
  second.send(hello_of("p"));
  EXPECT_TRUE(first.hears("replaced by a newer connection of the same peer"));
  EXPECT_TRUE(first.is_hung_up_on());
  EXPECT_TRUE(next_of<peer_down>(seen));
  const auto up = seen.next();
  ASSERT_TRUE(content_of<peer_up>(up));
  r->send(up->peer, need_graph{"to the second"});
  EXPECT_TRUE(second.hears("to the second"));
  EXPECT_EQ(refused(refusal::no_hello), 0u);
}

// The router learns of an end by a descriptor, and has then what was sent before still to read. Meanwhile the next
// connection can have it.
TEST_F(at_the_door, the_end_of_a_connection_does_not_touch_the_next_one_that_has_its_descriptor) {
  start(for_ever);
  std::vector<std::unique_ptr<raw_peer>> staying;
  std::vector<peer_id> ids;
  for (int i = 0; i < 20; ++i) {
    raw_peer goes(port);
    const auto going = welcome_to(goes, "goes");
    const auto descriptor = descriptor_at(port, goes.port());
    ASSERT_GE(descriptor, 0);
    const auto from = goes.port();
    goes.close();
    ASSERT_TRUE(is_closed(from));
    staying.push_back(std::make_unique<raw_peer>(port));
    auto& stays = *staying.back();
    stays.send(hello_of("stays " + std::to_string(i)));
    ASSERT_TRUE(stays.hears("welcome"));
    EXPECT_EQ(descriptor_at(port, stays.port()), descriptor);
    for (int told = 0; told < 2; ++told) {
      const auto event = seen.next();
      ASSERT_TRUE(event);
      if (content_of<peer_down>(event)) {
        EXPECT_EQ(event->peer, going);
      } else {
        ASSERT_TRUE(content_of<peer_up>(event));
        ids.push_back(event->peer);
      }
    }
  }
  ASSERT_EQ(ids.size(), staying.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    r->send(ids[i], need_graph{"to " + std::to_string(i)});
    EXPECT_TRUE(staying[i]->hears("to " + std::to_string(i)));
  }
  EXPECT_EQ(r->counters().peers_up, ids.size());
}

// A connection of a key without a word, and what became of its handshake.
class silent_key {
public:
  silent_key(const std::string& endpoint, const key_pair& own, const std::string& server)
      : socket_(context_, zmq::socket_type::dealer), monitor_(context_, zmq::socket_type::pair) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::reconnect_ivl, -1);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(patience).count()));
    socket_.set(zmq::sockopt::curve_publickey, own.public_key);
    socket_.set(zmq::sockopt::curve_secretkey, own.secret_key);
    socket_.set(zmq::sockopt::curve_serverkey, server);
    ::zmq_socket_monitor(socket_.handle(), "inproc://events",
                         ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED);
    monitor_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(patience).count()));
    monitor_.connect("inproc://events");
    socket_.connect(endpoint);
  }
  ~silent_key() { close(); }

  // The next event, and its value; 0 when nothing comes.
  std::pair<int, unsigned> next_event() {
    zmq::message_t what, where;
    if (!monitor_.recv(what) || !monitor_.recv(where)) return {};
    std::uint16_t number = 0;
    std::uint32_t value = 0;
    std::memcpy(&number, what.data(), sizeof number);
    std::memcpy(&value, what.data<char>() + sizeof number, sizeof value);
    return {number, value};
  }
  bool gets_in() { return next_event().first == ZMQ_EVENT_HANDSHAKE_SUCCEEDED; }
  void send(const message& what) {
    const auto frame = encode(what);
    socket_.send(zmq::buffer(frame.data(), frame.size()));
  }
  // The tag of the next message.
  std::string hears() {
    zmq::message_t part;
    if (!socket_.recv(part)) return {};
    const auto came = decode(byte_view(static_cast<const std::byte*>(part.data()), part.size()));
    return came ? std::string(tag_of(came->content)) : "garbage";
  }
  void close() {
    if (!socket_) return;
    ::zmq_socket_monitor(socket_.handle(), nullptr, 0);
    socket_.close();
  }

private:
  zmq::context_t context_;
  zmq::socket_t socket_;
  zmq::socket_t monitor_;
};

struct at_the_locked_door : at_the_door {
  void start_locked(clock::duration handshake_timeout, std::size_t unheard_per_address = 1'000) {
    auto parsed = authorized_keys::parse("client a " + alice.public_key + "\nclient b " + bob.public_key + "\n");
    ASSERT_TRUE(parsed);
    const auto keys = std::make_shared<const authorized_keys>(*std::move(parsed));
    router_options options;
    options.accept = accepting{server.secret_key, [keys] { return keys; }};
    options.quotas.connections = 1;
    options.quotas.messages_per_second = messages_per_second;
    options.unheard_per_address = unheard_per_address;
    start(handshake_timeout, std::move(options));
  }
  std::unique_ptr<silent_key> of(const key_pair& own) const {
    return std::make_unique<silent_key>(r->endpoints().front(), own, server.public_key);
  }
  // As many connections of alice as get in, without a word.
  std::vector<std::unique_ptr<silent_key>> fill() const {
    std::vector<std::unique_ptr<silent_key>> in;
    for (unsigned i = 0; i < most; ++i) {
      in.push_back(of(alice));
      EXPECT_TRUE(in.back()->gets_in()) << i;
    }
    return in;
  }
  // When the end of another connection has been seen, of which nobody else is told; so it is asked again and again.
  bool gets_in_at_last(const key_pair& own) const {
    const auto until = clock::now() + patience;
    while (clock::now() < until) {
      if (of(own)->gets_in()) return true;
    }
    return false;
  }
  std::unique_ptr<dialer> dial(recorder& told, const key_pair& own, std::vector<std::string> expected,
                               clock::duration retry = 10ms) const {
    dialer_options dialing;
    dialing.self = hello_of("d");
    dialing.keys = presenting{own, std::move(expected), {}};
    dialing.reconnect_delay_min = dialing.reconnect_delay_max = retry;
    auto made = dialer::start(std::move(dialing), told.sink());
    EXPECT_TRUE(made);
    (*made)->connect(r->endpoints().front());
    return *std::move(made);
  }
  void expect_no_room() const {
    const auto [event, status] = of(alice)->next_event();
    EXPECT_EQ(event, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    EXPECT_EQ(status, 500u);
  }

  unsigned messages_per_second = limits::messages_per_key;
  const key_pair server = *make_key_pair(), alice = *make_key_pair(), bob = *make_key_pair();
  static constexpr unsigned most = 1 + limits::connections_refused_in_words;
};

TEST_F(at_the_locked_door, a_key_has_so_many_connections_also_without_hello_and_others_have_theirs) {
  start_locked(for_ever);
  const auto in = fill();
  for (unsigned tried = 1; tried <= 5; ++tried) {
    expect_no_room();
    EXPECT_EQ(passed, tried);
  }
  EXPECT_TRUE(of(bob)->gets_in());

  // One may be a peer; the next is refused in words, and makes room when it goes.
  in[0]->send(hello_of("1"));
  EXPECT_EQ(in[0]->hears(), "welcome");
  in[1]->send(hello_of("2"));
  EXPECT_EQ(in[1]->hears(), "rejected");
  EXPECT_EQ(passed, 6u);
  expect_no_room();
  in[1]->close();
  EXPECT_TRUE(gets_in_at_last(alice));
  EXPECT_EQ(refused(refusal::unknown_key), 0u);
}

// Ranks whose connections were cut without a word come back at once, while their older connections are still there.
TEST_F(at_the_locked_door, a_peer_that_comes_back_again_and_again_is_let_in_each_time) {
  start_locked(for_ever);
  std::vector<std::unique_ptr<silent_key>> all;
  for (unsigned i = 0; i < most + limits::connections_refused_in_words / 2; ++i) {
    all.push_back(of(alice));
    all.back()->send(hello_of("the same"));
    ASSERT_EQ(all.back()->hears(), "welcome") << i;
  }
  EXPECT_EQ(passed, 0u);
  EXPECT_EQ(r->counters().peers_up, 1u);
}

TEST_F(at_the_locked_door, who_is_refused_in_words_dials_again_with_the_server_key_that_answered) {
  start_locked(for_ever);
  const auto in = fill();
  recorder told;
  const auto beyond = dial(told, alice, {bob.public_key, server.public_key});
  const auto down = next_of<peer_down>(told);
  ASSERT_TRUE(down);
  EXPECT_NE(down->why.message.find("no room for more connections of the key"), std::string::npos) << down->why.message;
  for (unsigned tried = passed; tried < 5; tried = passed) passed.wait(tried);
  EXPECT_EQ(refused(refusal::wrong_server_key), 1u) << "the first that it tried";
}

// Ranks of a job that come at once, while others of their key have asked for more than it may.
TEST_F(at_the_locked_door, who_comes_is_let_in_however_much_its_key_has_said) {
  messages_per_second = 10;
  start_locked(for_ever);
  constexpr unsigned far_more = 1'000;
  const auto floods = of(alice);
  floods->send(hello_of("floods"));
  ASSERT_EQ(floods->hears(), "welcome");
  for (unsigned i = 0; i < far_more; ++i) floods->send(switch_vote{});
  while (floods->hears() != "rejected") {
  }
  const auto comes = of(alice);
  comes->send(hello_of("comes"));
  EXPECT_EQ(comes->hears(), "welcome");
  EXPECT_EQ(r->counters().rejected_for(errc::busy), 1u) << "the one who floods";
}

// That looks like a coordinator with another key.
TEST_F(at_the_locked_door, who_is_hung_up_on_without_a_word_tries_the_server_key_that_answered_once_more) {
  start_locked(for_ever, 1);
  recorder told;
  const auto d = dial(told, alice, {server.public_key, bob.public_key}, slowness * 2s);
  const auto up = seen.next();
  ASSERT_TRUE(content_of<peer_up>(up) && next_of<peer_up>(told));
  raw_peer silent(port, false);
  ASSERT_TRUE(silent.hears("\xff"));
  r->drop(up->peer, "come again");
  ASSERT_TRUE(next_of<peer_down>(told));
  const auto until = clock::now() + patience;
  while (refused(refusal::too_many) == 0 && clock::now() < until) std::this_thread::sleep_for(1ms);
  silent.close();
  EXPECT_TRUE(next_of<peer_up>(told));
  EXPECT_EQ(refused(refusal::too_many), 1u);
  EXPECT_EQ(refused(refusal::wrong_server_key), 0u);
}

TEST_F(at_the_locked_door, they_are_hung_up_on_and_then_there_is_room) {
  start_locked(hardly);
  const auto in = fill();
  expect_no_room();
  for (const auto& one : in) EXPECT_EQ(one->next_event().first, ZMQ_EVENT_DISCONNECTED);
  EXPECT_EQ(refused(refusal::no_hello), most);
  EXPECT_TRUE(gets_in_at_last(alice));
}

}  // namespace
}  // namespace fxfarm::net
