#include "coordinator_harness.hpp"

#include <limits>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(coordinator_core_test, a_miss_is_compiled_stored_and_only_then_announced) {
  worker("w");
  client("a");
  tell(said("a", ask_for()));
  EXPECT_EQ(reads, std::vector<std::string>{key_of()});
  EXPECT_TRUE(core.busy());
  answer_reads();
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  EXPECT_EQ(out.count<net::job>(), 0u);

  submit("a");
  auto jobs = out.take<net::job>("w");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].stage_key, key_of());
  EXPECT_EQ(jobs[0].lease_ms, 15'000u);
  auto progress = out.take<net::stage_progress>("a");
  ASSERT_EQ(progress.size(), 2u);
  EXPECT_EQ(progress[0].state, "queued");
  EXPECT_EQ(progress[1].state, "running");

  tell(said("w", net::job_done{jobs[0].id, key_of(), {{"lower", 1.5}}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].second.made_by, "w-id");
  EXPECT_EQ(out.count<net::stage_ready>(), 0u) << "not durable yet";
  answer_writes();
  ASSERT_EQ(out.sent.size(), 1u);
  EXPECT_EQ(text_of(*out.sent[0].attachment), "artifact");
  auto ready = out.take<net::stage_ready>("a");
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].source, "w-id");
  EXPECT_EQ(ready[0].phases.at("lower"), 1.5);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, eight_lookups_make_one_job_and_one_question) {
  worker("w");
  for (int i = 0; i < 8; ++i) client("c" + std::to_string(i));
  for (int i = 0; i < 4; ++i) tell(said("c" + std::to_string(i), ask_for()));
  EXPECT_EQ(reads.size(), 1u);
  answer_reads();
  for (int i = 4; i < 8; ++i) tell(said("c" + std::to_string(i), ask_for()));
  EXPECT_TRUE(reads.empty()) << "the job is in flight";
  EXPECT_EQ(out.count<net::need_graph>(), 1u);
  submit("c0");
  auto jobs = out.take<net::job>();
  ASSERT_EQ(jobs.size(), 1u);
  tell(said("w", net::job_done{jobs[0].id, key_of(), {}}, some_bytes()));
  answer_writes();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(out.count<net::stage_ready>("c" + std::to_string(i)), 1u) << i;
}

TEST_F(coordinator_core_test, counts_the_compile_time_that_clients_were_spared_and_the_bytes_they_got) {
  worker("w");
  client("a");
  client("b");
  client("c");
  lookup_misses("a");
  lookup_misses("b");
  submit("a");
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {{"lower", 1.5}, {"codegen", 0.5}}}, some_bytes("artifact")));
  answer_writes();
  EXPECT_EQ(metrics.snapshot()["compile_seconds_saved_job"], 2) << "one of the two would have compiled in any case";
  EXPECT_EQ(metrics.snapshot()["served_bytes_job"], 16);
  tell(said("c", ask_for()));
  answer_reads(std::optional<stored>({some_bytes("artifact"), {{"lower", 1.5}, {"codegen", 0.5}}, "w", "disk"}));
  EXPECT_EQ(metrics.snapshot()["compile_seconds_saved_disk"], 2);
  EXPECT_EQ(metrics.snapshot()["served_bytes_disk"], 8);
}

TEST_F(coordinator_core_test, shows_who_waits_for_which_stage_and_for_how_long) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");  // the first stage runs, the second waits
  pass(7s);
  auto shown = metrics.snapshot();
  EXPECT_EQ(shown["clients_waiting_now"], 0) << "told with the gauges";
  core.publish_gauges();
  shown = metrics.snapshot();
  EXPECT_EQ(shown["clients_waiting_now"], 1);
  EXPECT_EQ(shown["jobs_waiting_default"], 0);
  EXPECT_EQ(shown["jobs_waiting_max-autotune"], 1);
  EXPECT_EQ(shown["oldest_job_wait_seconds_max-autotune"], 7);
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {}}, some_bytes()));
  core.publish_gauges();
  shown = metrics.snapshot();
  EXPECT_EQ(shown["jobs_waiting_max-autotune"], 0) << "it runs now, and no tick need follow";
  EXPECT_EQ(shown["oldest_job_wait_seconds_max-autotune"], 0);
  EXPECT_EQ(shown["queue_seconds_sum"], 7);
}

TEST_F(coordinator_core_test, counts_what_a_switch_took_step_by_step) {
  client("a");
  tell(said("a", net::switched{graph, key_of(), "default", 3.75, 0.25, {}, 0.5, 3}));
  auto counted = metrics.snapshot();
  EXPECT_EQ(counted["request_to_switch_seconds_sum"], 3.75);
  EXPECT_EQ(counted["switch_step_seconds_prepare_sum"], 0.5);
  EXPECT_EQ(counted["switch_step_seconds_farm_sum"], 3);
  EXPECT_EQ(counted["switch_step_seconds_load_sum"], 0.25);
  tell(said("a", net::switched{graph, key_of(), "default", 2, 0.25, {}}));
  counted = metrics.snapshot();
  EXPECT_EQ(counted["request_to_switch_seconds_sum"], 5.75);
  EXPECT_EQ(counted["switch_step_seconds_farm_count"], 1) << "an older client tells no steps";
}

TEST_F(coordinator_core_test, a_time_that_cannot_be_one_is_not_counted) {
  worker("w");
  client("a");
  const double odd[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1, 1e300};
  for (const double seconds : odd) {
    tell(said("a", net::switched{graph, key_of(), "default", seconds, 0, {}}));
    tell(said("a", net::switched{graph, key_of(), "default", 1, 1, {}, 0, seconds}));
  }
  EXPECT_EQ(metrics.snapshot()["messages_refused"], 8);
  EXPECT_EQ(metrics.snapshot()["request_to_switch_seconds_count"], 0);
  lookup_misses("a");
  submit("a");
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {{"lower", 1.5}, {"codegen", odd[0]}, {"pack", -2}}}, some_bytes()));
  const auto counted = metrics.snapshot();
  EXPECT_EQ(counted.at("compile_seconds_sum"), 1.5);
  EXPECT_EQ(counted.at("phase_seconds_lower_sum"), 1.5);
  EXPECT_FALSE(counted.contains("phase_seconds_codegen_sum"));
}

TEST_F(coordinator_core_test, a_hit_is_served_to_everyone_who_asked_once) {
  client("a");
  client("b");
  for (const char* id : {"a", "b", "a"}) tell(said(id, ask_for()));
  answer_reads(std::optional<stored>({some_bytes(), {}, "w", "disk"}));
  EXPECT_EQ(out.count<net::need_graph>(), 0u);
  auto ready = out.take<net::stage_ready>("a");
  ASSERT_EQ(ready.size(), 1u) << "asked twice while the store was at it";
  EXPECT_EQ(ready[0].source, "disk");
  EXPECT_EQ(out.count<net::stage_ready>("b"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, an_artifact_in_memory_is_served_at_once_and_shown) {
  memory[key_of()] = {some_bytes("artifact"), {{"lower", 1.5}}, "w", "memory"};
  client("a");
  tell(said("a", ask_for()));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(core.busy());
  ASSERT_EQ(out.sent.size(), 1u);
  EXPECT_EQ(text_of(*out.sent[0].attachment), "artifact");
  EXPECT_EQ(out.take<net::stage_ready>("a").at(0).source, "memory");
  const auto entry = ask("graphs")["graphs"][0]["stages"][0];
  EXPECT_EQ(entry["state"], "ready");
  EXPECT_EQ(entry["compile_seconds"], 1.5);
}

TEST_F(coordinator_core_test, an_artifact_in_memory_that_a_client_refused_is_not_served_to_it) {
  memory[key_of()] = {some_bytes(), {}, "w", "memory"};
  client("a");
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("a", again));
  EXPECT_EQ(out.count<net::stage_ready>(), 0u);
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, a_store_that_fails_is_a_miss) {
  client("a");
  tell(said("a", ask_for()));
  answer_reads(error{errc::timeout, "the store did not answer"});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, an_artifact_that_cannot_be_stored_is_served_all_the_same) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  tell(said("w", net::job_done{out.take<net::job>().at(0).id, key_of(), {}}, some_bytes()));
  answer_writes({errc::io, "disk full"});
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_refused_artifact_is_compiled_again) {
  client("a");
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("a", again));
  EXPECT_TRUE(reads.empty());
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, an_artifact_refused_while_it_is_read_for_another_is_not_served_again) {
  client("a");
  client("b");
  tell(said("a", ask_for()));
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("b", again));
  answer_reads(std::optional<stored>({some_bytes(), {}, "w", "disk"}));
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_EQ(out.count<net::stage_ready>("b"), 0u);
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("b"), 1u);
}

TEST_F(coordinator_core_test, a_graph_is_asked_from_another_when_the_first_leaves_releases_or_is_silent) {
  struct {
    const char* what;
    std::function<void()> happens;
  } const cases[] = {
      {"leaves", [&] { tell(went("a")); }},
      {"releases", [&] { tell(said("a", net::release{{key_of()}})); }},
      {"is silent", [&] { pass(limits::graph_wait_max); }},
  };
  worker("w");
  for (const auto& c : cases) {
    client("a");
    client("b");
    lookup_misses("a");
    lookup_misses("b");
    EXPECT_EQ(out.count<net::need_graph>("a"), 1u) << c.what;
    EXPECT_EQ(out.count<net::need_graph>("b"), 0u) << c.what;
    c.happens();
    EXPECT_EQ(out.count<net::need_graph>("b"), 1u) << c.what;
    EXPECT_EQ(out.count<net::stage_failed>(), 0u) << c.what;
    submit("b");
    auto jobs = out.take<net::job>("w");
    ASSERT_EQ(jobs.size(), 1u) << c.what;
    tell(said("w", net::job_done{jobs[0].id, key_of(), {}}, some_bytes()));
    answer_writes();
    EXPECT_EQ(out.count<net::stage_ready>("b"), 1u) << c.what;
    EXPECT_FALSE(core.busy());
    tell(went("a"));
    tell(went("b"));
    out.sent.clear();
  }
}

TEST_F(coordinator_core_test, a_graph_that_nobody_sends_fails_after_a_bounded_number_of_questions) {
  for (int i = 0; i < 6; ++i) {
    client("c" + std::to_string(i));
    lookup_misses("c" + std::to_string(i));
  }
  pass(limits::graph_asks_max * limits::graph_wait_max);
  EXPECT_EQ(out.count<net::need_graph>(), limits::graph_asks_max);
  auto failed = out.take<net::stage_failed>();
  ASSERT_EQ(failed.size(), 6u);
  EXPECT_EQ(failed[0].code, "timeout");
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_graph_that_was_not_asked_for_is_not_taken) {
  worker("w");
  client("a");
  client("b");
  submit("a");
  lookup_misses("a");
  submit("b");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
}

TEST_F(coordinator_core_test, graphs_past_the_bound_are_answered_busy_and_may_come_later) {
  worker("w");
  client("a");
  lookup_misses("a");
  tell(said("a", net::submit{graph}, some_bytes(std::string(101, 'x'))));
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "busy");
  EXPECT_GT(failed[0].retry_ms, 0u);
  EXPECT_FALSE(core.busy());
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}

TEST_F(coordinator_core_test, ranks_that_have_armed_a_stage_vote_and_are_told_the_verdict) {
  client("a");
  client("b");
  tell(said("a", armed(0)));
  EXPECT_FALSE(core.busy());
  tell(said("b", armed(1)));
  const auto first = out.take<net::switch_proposed>("a");
  const auto second = out.take<net::switch_proposed>("b");
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].call, second[0].call);
  EXPECT_EQ(first[0].graph_key, graph);
  EXPECT_TRUE(core.busy()) << "the votes have a deadline";
  tell(said("a", net::switch_vote{first[0].group, first[0].round, true, 0, 0}));
  tell(said("b", net::switch_vote{first[0].group, first[0].round, true, 0, 0}));
  for (const auto* peer : {"a", "b"}) {
    const auto told = out.take<net::switch_decided>(peer);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].verdict, "commit");
    EXPECT_EQ(told[0].round, first[0].round);
  }
  EXPECT_FALSE(core.busy());
  EXPECT_EQ(metrics.snapshot()["switches_agreed"], 1);
}

TEST_F(coordinator_core_test, a_round_ends_when_a_vote_does_not_come_or_its_rank_goes) {
  client("a");
  client("b");
  tell(said("a", armed(0)));
  tell(said("b", armed(1)));
  pass(limits::switch_vote_max);
  EXPECT_EQ(out.take<net::switch_decided>("a").at(0).verdict, "abort");
  EXPECT_FALSE(core.busy());
  tell(said("a", armed(0)));
  tell(said("b", armed(1)));
  tell(went("b"));
  EXPECT_EQ(out.take<net::switch_decided>("a").at(0).verdict, "abort");
  EXPECT_EQ(metrics.snapshot()["switches_aborted"], 2);
}

TEST_F(coordinator_core_test, a_role_may_only_send_its_own_messages) {
  worker("w");
  client("a");
  tell(came("o", "operator"));
  tell(came("x", "emperor"));
  out.sent.clear();
  const net::message messages[] = {ask_for(),       net::submit{graph},  net::release{},
                                   net::switched{}, net::worker_offer{}, net::job_alive{{"x"}},
                                   net::job_done{}, net::job_failed{},   net::ask{1, "status", {}},
                                   armed(0),        net::switch_vote{}};
  const std::map<std::string, std::set<std::size_t>> theirs{
      {"a", {0, 1, 2, 3, 9, 10}}, {"w", {4, 5, 6, 7}}, {"o", {8}}, {"x", {}}, {"never came", {}}};
  for (const auto& [peer, own] : theirs) {
    for (std::size_t i = 0; i < std::size(messages); ++i) {
      if (own.contains(i)) continue;
      tell(said(peer, messages[i], some_bytes()));
      const std::size_t told = peer == "never came" ? 0 : 1;
      EXPECT_EQ(out.count<net::rejected>(peer), told) << peer << " " << i;
      EXPECT_TRUE(out.sent.empty() && reads.empty() && writes.empty()) << peer << " " << i;
    }
  }
}

TEST_F(coordinator_core_test, garbage_lookups_are_dropped) {
  client("a");
  auto no_key = ask_for();
  no_key.graph_key = "../../etc/passwd";
  tell(said("a", no_key));
  tell(said("a", ask_for({})));
  tell(said("a", ask_for(stage_list(limits::stages_per_graph_max + 1))));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, lookups_that_wait_for_the_store_are_bounded_per_client) {
  client("a");
  client("b");
  const auto each = limits::stages_per_graph_max;
  auto many = ask_for(stage_list(each));
  std::size_t asked = 0;
  while (asked < limits::lookups_reading_per_client_max) {
    for (auto& stage : many.stages) stage.options["n"] = std::to_string(asked++);
    tell(said("a", many));
  }
  out.sent.clear();
  for (auto& stage : many.stages) stage.options["n"] = std::to_string(asked++);
  tell(said("a", many));
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), each);
  EXPECT_EQ(failed[0].code, "busy");
  tell(said("b", ask_for()));
  EXPECT_EQ(out.count<net::stage_failed>("b"), 0u) << "another client has a share of its own";
  answer_reads();
  tell(said("a", ask_for(stages({"another"}))));
  EXPECT_EQ(reads.size(), 1u) << "the store has answered";
}

TEST_F(coordinator_core_test, draining_finishes_what_runs_and_refuses_the_rest) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  const auto job = out.take<net::job>("w").at(0);
  core.drain(now);
  EXPECT_EQ(core.inconsistency(), "");
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "shutdown");
  lookup_misses("a", stages({"another"}));
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
  EXPECT_TRUE(core.busy());
  tell(said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
  answer_writes();
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_job_that_fails_while_draining_is_not_queued_for_ever) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  core.drain(now);
  tell(went("w"));
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, nothing_is_left_when_all_have_gone) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  tell(said("a", ask_for(stages({"reading"}))));
  tell(went("a"));
  tell(went("w"));
  answer_reads();
  EXPECT_TRUE(core.idle());
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
  const auto document = ask("graphs");
  for (const auto& stage : document["graphs"][0]["stages"]) EXPECT_NE(stage["state"], "queued");
}
