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

TEST_F(coordinator_access_test, a_question_past_the_messages_of_a_key_is_told_to_come_again_and_nothing_else) {
  peer("a", "client", "team");
  peer("o", "operator");
  const auto past = [&](const net::peer_id& who, net::message what) {
    auto in = said(who, std::move(what));
    in.over_quota = true;
    tell(std::move(in));
  };
  auto m = question();
  m.stages = stages({"default", "max-autotune"});
  past("a", m);
  const auto told = out.take<net::stage_failed>("a");
  ASSERT_EQ(told.size(), 2u) << "each stage";
  for (const auto& one : told) {
    EXPECT_EQ(one.code, "busy");
    EXPECT_EQ(one.reason, "the peers of this key have sent as many messages as they may");
    EXPECT_GE(one.retry_ms, 1000u);
  }
  EXPECT_TRUE(reads.empty());
  EXPECT_EQ(core->find_job(key_of()), nullptr);
  EXPECT_EQ(counted("lookups"), 0) << "it was not looked for";

  past("o", net::ask{7, "status", {}});
  const auto answers = out.take<net::answer>("o");
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].request, 7u);
  EXPECT_EQ(answers[0].code, "busy");
  EXPECT_EQ(answers[0].document, "");
  EXPECT_EQ(counted("quota_refusals_messages"), 0) << "whoever marked it has counted it";

  past("a", net::ask{1, "status", {}});
  EXPECT_EQ(out.take<net::rejected>("a").size(), 1u) << "what a role may not say it may not say now either";
  EXPECT_EQ(ask_for("a", '1'), "") << "the next is heard";
}

TEST_F(coordinator_access_test, a_question_past_the_messages_of_a_key_leads_into_no_other_namespace) {
  peer("a", "client", "team", true);
  auto m = question();
  m.graph_key = "other." + hex64('1');
  auto in = said("a", m);
  in.over_quota = true;
  tell(in);
  EXPECT_EQ(out.take<net::stage_failed>("a").size(), 0u);
  EXPECT_EQ(counted("messages_refused"), 1);
  m.graph_key = graph;
  in = said("a", m);
  in.over_quota = true;
  tell(in);
  const auto told = out.take<net::stage_failed>("a");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].graph_key, graph) << "under the name that it knows";
}
