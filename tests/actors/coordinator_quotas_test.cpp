// What the clients of one key may have in a coordinator together: jobs, lookups a second, bytes of graphs.
#include "coordinator_access_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(coordinator_access_test, the_clients_of_a_key_have_so_many_jobs_together_and_others_have_theirs) {
  jobs_per_key = 2;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  peer("b", "client", "team", false, "bob");
  EXPECT_EQ(ask_for("a1", '1'), "");
  EXPECT_EQ(ask_for("a2", '2'), "");
  const std::string full = "the clients of this key have as many jobs as they may";
  EXPECT_EQ(ask_for("a1", '3'), full);
  EXPECT_EQ(ask_for("a2", '3'), full);
  EXPECT_EQ(counted("quota_refusals_jobs"), 2);
  EXPECT_EQ(ask_for("a1", '2'), "") << "joining one costs nothing";
  EXPECT_EQ(ask_for("b", '3'), "");
  EXPECT_EQ(ask_for("a1", '3'), "") << "now it is another key's job";
  tell(went("a1"));
  EXPECT_EQ(ask_for("a2", '4'), "") << "one of theirs is gone";
  EXPECT_EQ(ask_for("a2", '5'), full);
  EXPECT_EQ(counted("quota_refusals_jobs"), 3);
  EXPECT_EQ(counted("quota_refusals_lookups") + counted("quota_refusals_graph_bytes"), 0);
}

TEST_F(coordinator_access_test, the_clients_of_a_key_ask_so_often_a_second_together) {
  accounts.lookups_per_second = 2;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  peer("b", "client", "team", false, "bob");
  EXPECT_EQ(ask_for("a1", '1'), "");
  EXPECT_EQ(ask_for("a2", '1'), "");
  EXPECT_EQ(ask_for("a1", '1'), "the clients of this key have asked as often as they may");
  EXPECT_EQ(ask_for("b", '1'), "");
  EXPECT_EQ(counted("quota_refusals_lookups"), 1);
  EXPECT_EQ(counted("lookups"), 4);
  now += 500ms;
  EXPECT_EQ(ask_for("a2", '1'), "");
  EXPECT_EQ(counted("quota_refusals_lookups"), 1);
}

TEST_F(coordinator_access_test, the_graphs_of_a_key_take_so_many_bytes_until_their_jobs_end) {
  accounts.graph_bytes = 10;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  EXPECT_EQ(ask_for("a1", '1'), "");
  tell(said("a1", net::submit{hex64('1')}, some_bytes("123456")));
  EXPECT_EQ(ask_for("a2", '2'), "");
  tell(said("a2", net::submit{hex64('2')}, some_bytes("12345")));
  auto told = out.take<net::stage_failed>("a2");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code, "busy");
  EXPECT_GE(told[0].retry_ms, 1000u);
  EXPECT_EQ(told[0].reason, "the clients of this key have as many graph bytes here as they may");
  EXPECT_EQ(counted("quota_refusals_graph_bytes"), 1);

  tell(went("a1"));  // and with it its job, which has not begun
  EXPECT_EQ(ask_for("a2", '2'), "");
  tell(said("a2", net::submit{hex64('2')}, some_bytes("12345")));
  EXPECT_EQ(out.take<net::stage_failed>("a2").size(), 0u);
  EXPECT_EQ(counted("quota_refusals_graph_bytes"), 1);
}
