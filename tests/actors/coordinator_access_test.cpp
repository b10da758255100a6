// What a coordinator lets whom do, where keys are on: each right, each namespace, and each attempt to pass them.
#include "coordinator_access_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(coordinator_access_test, a_peer_that_says_what_its_right_does_not_cover_is_told_and_counted) {
  peer("client", "client", "team");
  peer("operator", "operator");
  worker("worker");
  const struct {
    net::peer_id who;
    net::message what;
    std::string tag;
  } attempts[] = {
      {"client", net::job_done{"1", key_of(), {}}, "job_done"},
      {"client", net::job_held{}, "job_held"},
      {"client", net::worker_offer{}, "worker_offer"},
      {"client", net::ask{1, "drain", {{"worker", "worker-id"}}}, "ask"},
      {"client", net::ask{1, "reset-stats", {}}, "ask"},
      {"client", net::ask{1, "forget", {{"key", graph}}}, "ask"},
      {"client", net::ask{1, "status", {}}, "ask"},
      {"worker", question(), "lookup"},
      {"worker", net::submit{graph}, "submit"},
      {"worker", net::ask{1, "drain", {{"worker", "worker-id"}}}, "ask"},
      {"worker", net::set_drain{true}, "set_drain"},
      {"worker", net::keep_worker{true}, "keep_worker"},
      {"operator", question(), "lookup"},
      {"operator", net::job_done{"1", key_of(), {}}, "job_done"},
  };
  for (const auto& a : attempts) {
    const auto before = counted("messages_refused");
    out.sent.clear();
    tell(said(a.who, a.what, some_bytes("x")));
    ASSERT_EQ(out.sent.size(), 1u) << a.tag;
    const auto told = out.take<net::rejected>(a.who);
    ASSERT_EQ(told.size(), 1u) << a.tag;
    EXPECT_EQ(told[0].code, "refused");
    EXPECT_EQ(told[0].reason, "a peer with the right of " + a.who + " may not send " + a.tag);
    EXPECT_EQ(counted("messages_refused"), before + 1);
  }
  EXPECT_TRUE(reads.empty() && writes.empty());
}

TEST_F(coordinator_access_test, the_namespace_is_the_keys_and_not_what_a_client_says) {
  worker("w");
  peer("a", "client", "team-a");
  ask("a");
  submit("a", "graph");
  const auto jobs = out.take<net::job>("w");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].space, "team-a");
  EXPECT_EQ(jobs[0].scope, "");
  EXPECT_EQ(jobs[0].stage_key, key_of());
}

TEST_F(coordinator_access_test, namespaces_that_share_have_one_job) {
  worker("w");
  peer("a", "client", "team-a");
  peer("b", "client", "team-b");
  ask("a");
  ask("b");
  EXPECT_EQ(out.count<net::need_graph>(), 1u);
  submit("a", "graph");
  const auto jobs = out.take<net::job>();
  ASSERT_EQ(jobs.size(), 1u);
  finish("w", jobs[0], "artifact");
  EXPECT_EQ(out.count<net::stage_ready>("a") + out.count<net::stage_ready>("b"), 2u);
}

// The same graph key in three places: neither the graph that one has sent nor what it became reaches another.
TEST_F(coordinator_access_test, an_isolated_namespace_shares_neither_graphs_nor_artifacts) {
  for (const auto* w : {"w1", "w2", "w3"}) worker(w);
  peer("a", "client", "team-a", true);
  peer("b", "client", "team-b", true);
  peer("c", "client", "team-c");
  const std::map<net::peer_id, std::string> scopes{{"a", "team-a"}, {"b", "team-b"}, {"c", ""}};
  for (const auto& [id, scope] : scopes) {
    ask(id);
    const auto wanted = out.take<net::need_graph>(id);
    ASSERT_EQ(wanted.size(), 1u) << id << " is asked for its own graph";
    EXPECT_EQ(wanted[0].graph_key, graph);
  }
  for (const auto& [id, scope] : scopes) {
    submit(id, "graph of " + id);
    std::vector<sent_message> given;
    for (const auto& s : out.sent) {
      if (std::holds_alternative<net::job>(s.what)) given.push_back(s);
    }
    const auto jobs = out.take<net::job>();
    ASSERT_EQ(jobs.size(), 1u);
    EXPECT_EQ(text_of(*given[0].attachment), "graph of " + id);
    EXPECT_EQ(jobs[0].graph_key, graph);
    EXPECT_EQ(jobs[0].scope, scope);
    EXPECT_EQ(jobs[0].stage_key, key_of(scope));
    for (const auto& progress : out.take<net::stage_progress>()) EXPECT_EQ(progress.graph_key, graph);
    finish(given[0].to, jobs[0], id);
    ASSERT_EQ(out.sent.size(), 1u) << "nobody else hears of it";
    EXPECT_EQ(out.sent[0].to, id);
    EXPECT_EQ(text_of(*out.sent[0].attachment), id);
    const auto ready = out.take<net::stage_ready>(id);
    ASSERT_EQ(ready.size(), 1u);
    EXPECT_EQ(ready[0].graph_key, graph);
    EXPECT_EQ(ready[0].stage_key, key_of(scope));
  }
}

TEST_F(coordinator_access_test, nobody_gets_into_a_namespace_by_the_name_of_a_graph) {
  worker("w");
  peer("a", "client", "team-a", true);
  peer("evil", "client", "team-c");
  ask("a");
  out.sent.clear();
  auto m = question();
  m.graph_key = scoped_key("team-a", graph);
  tell(said("evil", m));
  tell(said("evil", net::submit{m.graph_key}, some_bytes("poison")));
  auto armed = net::stage_armed{m.graph_key, "job", hex64('b'), 0, 2, key_of("team-a"), 0, 0, 0};
  tell(said("evil", armed));
  EXPECT_EQ(counted("messages_refused"), 2);
  EXPECT_TRUE(reads.empty());
  EXPECT_TRUE(out.sent.empty());
  submit("a", "graph");
  EXPECT_EQ(out.count<net::job>(), 1u);
}

TEST_F(coordinator_access_test, a_result_without_a_lease_is_not_stored) {
  worker("w");
  worker("thief");
  peer("a", "client", "team");
  ask("a");
  submit("a", "graph");
  std::optional<net::job> job;
  net::peer_id holder;
  for (const auto& s : out.sent) {
    if (const auto* j = std::get_if<net::job>(&s.what)) job = *j, holder = s.to;
  }
  ASSERT_TRUE(job);
  const net::peer_id other = holder == "w" ? "thief" : "w";
  tell(said(other, net::job_done{job->id, job->stage_key, {}}, some_bytes("poison")));
  tell(said(other, net::job_done{"made up", key_of(), {}}, some_bytes("poison")));
  EXPECT_EQ(counted("results_refused"), 2);
  EXPECT_TRUE(writes.empty());
  // Nor for another stage than the one it was given: what is stored goes by the lease.
  tell(said(holder, net::job_done{job->id, hex64('e'), {}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].first, key_of());
}

TEST_F(coordinator_access_test, a_job_that_a_worker_brings_must_have_been_given_to_it) {
  worker("w");
  peer("a", "client", "team-a", true);
  ask("a");
  submit("a", "graph");
  const auto job = out.take<net::job>("w").at(0);
  EXPECT_FALSE(job.ticket.empty());
  core = farm(secret);  // one that takes over
  worker("w");
  worker("thief");
  const struct {
    net::peer_id who;
    std::function<void(net::job&)> change;
    double later;
    std::string why;
  } claims[] = {
      {"w", [](net::job& j) { j.ticket.clear(); }, 0, "it has no ticket of this farm"},
      {"thief", [](net::job&) {}, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.scope.clear(); }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.id += "x"; }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.graph_key = hex64('c'); }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job&) {}, 1e6, "its ticket has expired"},
  };
  double refused = 0;
  for (const auto& c : claims) {
    auto claim = job;
    c.change(claim);
    out.sent.clear();
    unix_seconds += c.later;
    tell(said(c.who, net::job_held{claim}));
    unix_seconds -= c.later;
    const auto told = out.take<net::cancel_job>(c.who);
    ASSERT_EQ(told.size(), 1u) << c.why;
    EXPECT_EQ(told[0].reason, c.why);
    EXPECT_EQ(counted("claims_refused"), ++refused);
    tell(said(c.who, net::job_done{claim.id, claim.stage_key, {}}, some_bytes("poison")));
    EXPECT_TRUE(writes.empty());
  }
  tell(said("w", net::job_held{job}));
  EXPECT_EQ(out.count<net::cancel_job>("w"), 0u);
  EXPECT_EQ(counted("jobs_adopted"), 1);
  finish("w", job, "artifact");
  EXPECT_EQ(counted("claims_refused"), refused);
  ASSERT_EQ(core->find_job(key_of("team-a")), nullptr);
}

TEST_F(coordinator_access_test, without_keys_a_worker_brings_what_it_runs_as_ever) {
  core = farm({});
  worker("w");
  net::job job;
  job.id = "other-1";
  job.stage_key = key_of();
  job.graph_key = graph;
  job.stage = stages({"default"}).front();
  job.target = machine();
  tell(said("w", net::job_held{job}));
  EXPECT_EQ(counted("jobs_adopted"), 1);
  EXPECT_EQ(counted("claims_refused"), 0);
}

TEST_F(coordinator_access_test, a_graph_of_no_bytes_is_refused_and_leaves_nothing_behind) {
  peer("a1", "client", "team", false, "alice");
  EXPECT_EQ(ask_for("a1", '1'), "");
  tell(said("a1", net::submit{hex64('1')}, some_bytes("")));
  const auto told = out.take<net::stage_failed>("a1");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code, "bad_input");
  EXPECT_EQ(told[0].reason, "the graph has no bytes");
  tell(went("a1"));
  now += 2s;
  core->tick(now);
  EXPECT_EQ(core->inconsistency(), "");
}
