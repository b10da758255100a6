#include "client_harness.hpp"
#include "runtime/rendezvous.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(client_test, a_graph_goes_to_the_farm_it_belongs_to_once_that_is_up) {
  start({"tcp://a", "tcp://b"});
  const auto mine = rendezvous_pick(hex64('a'), farms);
  const auto other = mine == "tcp://a" ? "tcp://b" : "tcp://a";
  submit(1);
  up(other);
  EXPECT_EQ(links->count<net::lookup>(), 0u);
  up(mine);
  EXPECT_EQ(links->count<net::lookup>(mine), 1u);
  EXPECT_EQ(starts, 0);
}

TEST_F(client_test, a_farm_that_goes_is_replaced_by_the_next_and_then_by_the_local_one) {
  start({"tcp://a", "tcp://b"});
  const auto mine = rendezvous_pick(hex64('a'), farms);
  const auto other = mine == "tcp://a" ? "tcp://b" : "tcp://a";
  up(mine);
  up(other);
  submit(1);
  links->sent.clear();
  down(mine);
  EXPECT_EQ(links->count<net::lookup>(other), 1u);
  EXPECT_EQ(starts, 0);
  down(other);
  EXPECT_EQ(starts, 1);
  EXPECT_TRUE(links->connected.contains(local));
  up(local);
  EXPECT_EQ(links->count<net::lookup>(local), 1u);
}

TEST_F(client_test, a_graph_without_any_farm_is_asked_for_when_one_is_back) {
  start({"tcp://a"}, "");
  submit(1);
  down("tcp://a");
  EXPECT_EQ(log->find(1)->stages.at(0).error, "unreachable: no farm can be reached: tcp://a: unreachable: silent");
  up("tcp://a");
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 1u);
}

TEST_F(client_test, a_graph_that_waits_for_the_local_farm_takes_a_better_one_that_is_back) {
  start({"tcp://a"});
  submit(1);
  down("tcp://a");
  EXPECT_EQ(links->count<net::lookup>(), 0u);
  up("tcp://a");
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 1u);
}

TEST_F(client_test, the_local_farm_is_started_once_and_again_after_it_died) {
  start({});
  EXPECT_EQ(starts, 0) << "nobody needs it yet";
  submit(1);
  submit(2, 'b');
  EXPECT_EQ(starts, 1);
  up(local);
  pass(limits::reconnect_delay_max);
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(links->count<net::lookup>(local), 2u);
  down(local);
  EXPECT_EQ(starts, 2);
  up(local);
  EXPECT_EQ(links->count<net::lookup>(local), 2u);
}

TEST_F(client_test, a_local_farm_that_takes_its_time_is_started_once_and_holds_up_nothing) {
  starts_end = false;
  start({"tcp://a"});
  up("tcp://a");
  down("tcp://a");
  submit(1);
  submit(2, 'b');
  pass(limits::local_start_max);
  EXPECT_EQ(starts, 1);
  EXPECT_FALSE(links->connected.contains(local));
  up("tcp://a");
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 2u) << "served while the local farm starts";
  down("tcp://a");
  starting.at(0)({});
  run();
  EXPECT_TRUE(links->connected.contains(local));
  pass(limits::reconnect_delay_min);
  EXPECT_EQ(starts, 2) << "it does not answer yet";
}

TEST_F(client_test, a_local_farm_that_cannot_be_started_is_tried_again_after_growing_delays) {
  starts_end = false;
  start({});
  submit(1);
  std::vector<int> seen;
  for (std::chrono::milliseconds delay = limits::reconnect_delay_min; seen.size() < 4; delay *= 2) {
    std::exchange(starting, {}).at(0)({errc::io, "no such program"});
    run();
    pass(delay - 1ms);
    EXPECT_TRUE(starting.empty()) << delay.count();
    pass(1ms);
    seen.push_back(starts);
  }
  EXPECT_EQ(seen, (std::vector{2, 3, 4, 5}));
}

TEST_F(client_test, a_local_farm_that_nobody_waits_for_any_more_is_not_connected_to) {
  starts_end = false;
  start({});
  submit(1);
  tell(client, release_graph{1});
  starting.at(0)({});
  run();
  EXPECT_FALSE(links->connected.contains(local));
  submit(2);
  EXPECT_EQ(starts, 2);
}

TEST_F(client_test, ends_while_a_local_farm_starts) {
  starts_end = false;
  start({});
  submit(1);
  tell(client, drain{});
  starting.at(0)({});
  run();
  EXPECT_TRUE(links->connected.empty());
}

TEST_F(client_test, an_idle_local_farm_that_leaves_is_let_go) {
  start({});
  submit(1);
  up(local);
  pass(limits::reconnect_delay_min);
  tell(client, release_graph{1});
  down(local);
  EXPECT_EQ(starts, 1);
  EXPECT_FALSE(links->connected.contains(local));
  submit(2);
  EXPECT_TRUE(links->connected.contains(local));
}

TEST_F(client_test, what_a_farm_cannot_serve_stays_with_the_local_one) {
  start({"tcp://a"});
  up("tcp://a");
  submit(1);
  links->sent.clear();
  no_worker("tcp://a", 1, 0);
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(links->take<net::release>("tcp://a").at(0).stage_keys.size(), 2u) << "nobody waits there any more";
  up(local);
  EXPECT_EQ(links->count<net::lookup>(local), 1u);
  pass(limits::reconnect_delay_min);
  down(local);
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 0u) << "it was abandoned";
  EXPECT_EQ(starts, 2);
  up(local);
  EXPECT_EQ(links->count<net::lookup>(local), 1u);
}

TEST_F(client_test, a_graph_of_the_local_farm_has_nowhere_to_fall_back_to) {
  start({"tcp://a"});
  down("tcp://a");
  submit(1);
  up(local);
  no_worker(local, 1, 0);
  no_worker(local, 1, 1);
  EXPECT_TRUE(log->find(1)->settled);
  EXPECT_EQ(log->find(1)->stages.at(0).state, stage_state::failed);
}

TEST_F(client_test, releasing_the_last_graph_of_a_key_tells_the_farm) {
  start({"tcp://a"});
  up("tcp://a");
  submit(1);
  submit(2);
  tell(client, release_graph{1});
  EXPECT_EQ(links->count<net::release>(), 0u) << "the other one waits";
  EXPECT_EQ(log->graphs().size(), 1u);
  const auto keys = std::vector{stage_key(2, 0), stage_key(2, 1)};
  tell(client, release_graph{2});
  auto released = links->take<net::release>("tcp://a");
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(released[0].stage_keys, keys);
  EXPECT_TRUE(log->graphs().empty());
  tell(client, release_graph{2});
}

TEST_F(client_test, one_graph_of_a_key_answers_for_all) {
  start({"tcp://a"});
  up("tcp://a");
  submit(1);
  submit(2);
  links->sent.clear();
  deliver(client, said("tcp://a", net::need_graph{hex64('a')}));
  EXPECT_EQ(links->count<net::submit>(), 1u);
  deliver(client, said("tcp://a", net::stage_ready{hex64('a'), stage_key(1, 0), "memory", 0, {}}, some_bytes()));
  EXPECT_EQ(loads.size(), 2u);
}

TEST_F(client_test, what_no_farm_may_say_is_counted) {
  start({"tcp://a"});
  up("tcp://a");
  deliver(client, said("tcp://a", net::job{}));
  EXPECT_EQ(log->stats()["messages_refused"], 1u);
}

TEST_F(client_test, what_is_said_of_switches_is_passed_on) {
  start({});
  submit(1);
  up(local);
  deliver(client, said(local, net::switch_proposed{hex64('a'), "group", "stage", "round", 7}));
  deliver(client, said(local, net::switch_decided{hex64('a'), "group", "stage", "round", "abort", "why"}));
  ASSERT_EQ(notices.size(), 2u);
  EXPECT_EQ(notices[0].verdict, "propose");
  EXPECT_EQ(notices[0].call, 7u);
  EXPECT_EQ(notices[1].verdict, "abort");
  EXPECT_EQ(notices[1].reason, "why");
}

TEST_F(client_test, ends_while_a_load_is_pending) {
  start({"tcp://a"});
  up("tcp://a");
  submit(1);
  deliver(client, said("tcp://a", net::stage_ready{hex64('a'), stage_key(1, 0), "memory", 0, {}}, some_bytes()));
  ASSERT_EQ(loads.size(), 1u);
  tell(client, drain{});
  loads[0].done({});
  run();
}

TEST_F(client_test, a_graph_waits_until_the_farm_has_been_found) {
  client_settings s;
  s.probe = &metrics.client();
  s.has_farm = true;
  s.local_endpoint = local;
  s.links = links;
  s.log = log;
  client = system.spawn(client_behavior, std::move(s));
  submit(1);
  EXPECT_TRUE(links->connected.empty());
  EXPECT_EQ(log->find(1)->stages.at(0).error, "unreachable: no farm can be reached: its name is being looked up");
  tell(client, farm_found{{"tcp://a"}, {}});
  EXPECT_EQ(links->connected, std::set<std::string>{"tcp://a"});
  up("tcp://a");
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 1u);
}

TEST_F(client_test, without_an_address_for_the_farm_the_local_one_serves) {
  start({"tcp://a"});
  tell(client, farm_found{{}, "farm:7070: unreachable: no such name"});
  EXPECT_TRUE(links->connected.empty());
  submit(1);
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(links->connected, std::set<std::string>{local});
}

TEST_F(client_test, without_an_address_and_a_local_farm_a_graph_says_why_it_waits) {
  start({"tcp://a"}, "");
  tell(client, farm_found{{}, "farm:7070: unreachable: no such name"});
  submit(1);
  EXPECT_EQ(log->find(1)->stages.at(0).error,
            "unreachable: no farm can be reached: farm:7070: unreachable: no such name");
  tell(client, farm_found{{"tcp://a"}, {}});
  up("tcp://a");
  EXPECT_EQ(links->count<net::lookup>("tcp://a"), 1u);
}

TEST_F(client_test, graphs_leave_a_coordinator_that_has_lost_its_name) {
  start({"tcp://a"});
  up("tcp://a");
  submit(1);
  links->sent.clear();
  tell(client, farm_found{{"tcp://b"}, {}});
  EXPECT_EQ(links->connected, std::set<std::string>{"tcp://b"});
  up("tcp://b");
  EXPECT_EQ(links->count<net::lookup>("tcp://b"), 1u);
}
