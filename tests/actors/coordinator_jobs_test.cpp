// What becomes of a job: who gets it, and what a worker that dies, refuses or is full costs it.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(coordinator_core_test, a_dead_workers_job_is_retried_elsewhere) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  const auto lost = out.take<net::job>("w").at(0);
  worker("v");
  tell(went("w"));
  auto retried = out.take<net::job>("v");
  ASSERT_EQ(retried.size(), 1u);
  EXPECT_NE(retried[0].id, lost.id);
  tell(said("v", net::job_done{lost.id, key_of(), {}}, some_bytes()));
  EXPECT_TRUE(writes.empty()) << "not its attempt";
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
}

TEST_F(coordinator_core_test, a_job_that_passes_a_workers_limit_of_memory_goes_to_one_that_allows_more) {
  const auto with_memory = [&](const net::peer_id& id, std::uint64_t bytes) {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = machine();
    offer.slots = 1;
    offer.engine_memory_bytes = bytes;
    tell(said(id, offer));
  };
  with_memory("small", 100);
  client("a");
  lookup_misses("a");
  submit("a");
  const auto first = out.take<net::job>("small").at(0);
  tell(said("small", net::job_failed{first.id, key_of(), "memory", "too much"}));
  EXPECT_EQ(out.count<net::job>("small"), 0u);
  with_memory("large", 200);
  const auto second = out.take<net::job>("large").at(0);
  tell(said("large", net::job_failed{second.id, key_of(), "memory", "too much"}));
  EXPECT_EQ(out.count<net::job>(), 0u);
  pass(limits::no_worker_grace + 1s);
  const auto failed = out.take<net::stage_failed>("a").at(0);
  EXPECT_EQ(failed.code, "no_worker");
  EXPECT_NE(failed.reason.find("engine memory of more than 200 bytes wanted"), std::string::npos) << failed.reason;

  // Whoever asks next costs no attempt where it cannot end well.
  client("b");
  lookup_misses("b");
  submit("b");
  EXPECT_EQ(out.count<net::job>(), 0u);
  with_memory("larger", 300);
  EXPECT_EQ(out.count<net::job>("larger"), 1u);
}

TEST_F(coordinator_core_test, a_lease_that_runs_out_is_cancelled_and_retried) {
  worker("w", 2);
  client("a");
  lookup_misses("a");
  submit("a");
  const auto first = out.take<net::job>("w").at(0);
  pass(limits::job_lease);
  auto cancelled = out.take<net::cancel_job>("w");
  ASSERT_EQ(cancelled.size(), 1u);
  EXPECT_EQ(cancelled[0].id, first.id);
  EXPECT_EQ(out.count<net::job>("w"), 1u);
  tell(said("w", net::job_alive{{first.id}}));
  EXPECT_EQ(out.count<net::cancel_job>("w"), 1u) << "the lease has moved on";
}

TEST_F(coordinator_core_test, a_job_that_a_full_worker_refuses_goes_elsewhere_and_loses_no_attempt) {
  worker("w", 9);
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  for (unsigned i = 0; i < 2 * limits::job_attempts_max; ++i) {
    auto refused = out.take<net::job>("w");
    ASSERT_EQ(refused.size(), 1u) << "it has the most free slots, as far as it says";
    tell(said("w", net::job_failed{refused[0].id, key_of(), "busy", "full"}));
    auto elsewhere = out.take<net::job>("v");
    ASSERT_EQ(elsewhere.size(), 1u);
    tell(said("v", net::job_failed{elsewhere[0].id, key_of(), "busy", "full"}));
    EXPECT_TRUE(out.take<net::job>().empty()) << "both have said that they are full";
    pass(1s);
  }
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  tell(said("w", net::job_done{out.take<net::job>("w").at(0).id, key_of(), {}}, some_bytes()));
  answer_writes();
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(coordinator_core_test, the_time_to_retry_grows_with_the_queue_and_what_jobs_took) {
  worker("w");
  client("a");
  const auto refused_ms = [&] {
    auto too_large = ask_for(stages({"too large"}));
    too_large.graph_key = hex64('b');
    tell(said("a", too_large));
    answer_reads();
    tell(said("a", net::submit{too_large.graph_key}, some_bytes(std::string(101, 'x'))));
    auto failed = out.take<net::stage_failed>("a");
    EXPECT_EQ(failed.size(), 1u);
    return failed.at(0).retry_ms;
  };
  lookup_misses("a");
  submit("a");
  const std::uint64_t least = std::chrono::milliseconds(limits::busy_retry_min).count();
  const auto unknown = refused_ms();
  EXPECT_GE(unknown, least);
  EXPECT_LE(unknown, 2 * least);
  now += 5s;
  tell(said("w", net::job_done{out.take<net::job>("w").at(0).id, key_of(), {}}, some_bytes()));
  answer_writes();
  lookup_misses("a", stages({"1", "2", "3", "4", "5"}));
  submit("a");
  const auto four_wait_5s_each = refused_ms();
  EXPECT_GE(four_wait_5s_each, 20'000u);
  EXPECT_LE(four_wait_5s_each, 30'000u);
}

TEST_F(coordinator_core_test, slots_are_shared_between_the_spaces_of_lookups) {
  worker("w", 1);
  for (const char* id : {"a", "b"}) client(id);
  const auto asks = [&](const char* id, stage_list wanted) {
    auto m = ask_for(std::move(wanted));
    m.space = id;
    tell(said(id, m));
    answer_reads();
  };
  asks("a", stages({"a1"}));
  submit("a");
  auto running = out.take<net::job>("w").at(0);
  asks("a", stages({"a2"}));
  asks("b", stages({"b1"}));
  worker("v", 1);
  EXPECT_EQ(out.take<net::job>("v").at(0).stage.name, "b1") << "a has a slot";
  tell(said("w", net::job_done{running.id, running.stage_key, {}}, some_bytes()));
  EXPECT_EQ(out.take<net::job>("w").at(0).stage.name, "a2");
}

TEST_F(coordinator_core_test, a_graph_that_took_long_the_last_time_begins_first) {
  worker("w", 2);
  client("a");
  const auto compile = [&](char digit, std::chrono::seconds took) {
    auto m = ask_for();
    m.graph_key = hex64(digit);
    tell(said("a", m));
    answer_reads();
    tell(said("a", net::submit{m.graph_key}, some_bytes("graph")));
    auto job = out.take<net::job>("w").at(0);
    now += took;
    tell(said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
    answer_writes();
  };
  compile('b', 1s);
  compile('c', 9s);
  tell(went("w"));
  out.sent.clear();
  for (char digit : {'b', 'c'}) {
    auto m = ask_for();
    m.graph_key = hex64(digit);
    m.refused = {make_stage_key(m.graph_key, m.target, m.stages[0], "salt")};
    tell(said("a", m));
    tell(said("a", net::submit{m.graph_key}, some_bytes("graph")));
  }
  worker("w", 1);
  EXPECT_EQ(out.take<net::job>("w").at(0).graph_key, hex64('c'));
}

TEST_F(coordinator_core_test, a_compile_error_reaches_everyone_and_is_remembered) {
  worker("w");
  client("a");
  client("b");
  lookup_misses("a");
  lookup_misses("b");
  submit("a");
  tell(said("w", net::job_failed{out.take<net::job>().at(0).id, key_of(), "compile_failed", "no such operator"}));
  for (const char* id : {"a", "b"}) {
    auto failed = out.take<net::stage_failed>(id);
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].code, "compile_failed");
    EXPECT_EQ(failed[0].reason, "no such operator");
    EXPECT_EQ(failed[0].retry_ms, 0u);
  }
  tell(said("a", ask_for()));
  EXPECT_TRUE(reads.empty());
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
}

TEST_F(coordinator_core_test, no_worker_is_said_after_the_grace_with_what_was_missing) {
  client("a");
  worker("other", 1, machine("2.12.0"));
  lookup_misses("a");
  submit("a");
  pass(limits::no_worker_grace - 1ms);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  pass(1ms);
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_EQ(failed[0].reason, "torch 2.13.0 wanted, the worker has 2.12.0");
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, jobs_in_line_survive_a_worker_that_is_back_within_the_grace) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  ASSERT_EQ(out.count<net::job>("w"), 1u);
  for (int i = 0; i < 3; ++i) pass(limits::job_lease / 5);
  tell(went("w"));
  pass(1s);
  worker("w2", 2);
  EXPECT_EQ(out.count<net::job>("w2"), 2u);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
}

TEST_F(coordinator_core_test, a_worker_that_starts_is_waited_for) {
  client("a");
  tell(came("w", "worker"));
  tell(said("w", net::worker_offer{}));
  lookup_misses("a");
  submit("a");
  pass(60s);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  net::worker_offer ready;
  ready.runs_on = machine();
  ready.slots = 1;
  tell(said("w", ready));
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}

TEST_F(coordinator_core_test, a_lease_begins_when_the_graph_can_have_reached_the_worker) {
  auto roomy = settings();
  roomy.graph_bytes_max = limits::attachment_bytes_max;
  auto other = make_core(roomy);
  const auto large = make_blob(bytes(10 * limits::MiB));
  for (const char* role : {"client", "worker"}) other.handle(came(role, role), now);
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 1;
  other.handle(said("worker", offer), now);
  other.handle(said("client", ask_for()), now);
  other.store_read(key_of(), std::optional<stored>(), now);
  other.handle(said("client", net::submit{graph}, large), now);
  ASSERT_EQ(out.count<net::job>("worker"), 1u);
  now += limits::job_lease + limits::transfer_time_max(large->size()) - 1ms;
  other.tick(now);
  EXPECT_EQ(out.count<net::cancel_job>("worker"), 0u);
  EXPECT_GE(limits::transfer_time_max(large->size()), 10s);
  now += 1ms;
  other.tick(now);
  EXPECT_EQ(out.count<net::cancel_job>("worker"), 1u);
}

TEST_F(coordinator_core_test, a_worker_whose_engines_never_say_what_they_are_keeps_no_job_waiting) {
  tell(came("w", "worker"));
  tell(said("w", net::worker_offer{}));
  client("a");
  lookup_misses("a");
  submit("a");
  pass(limits::engine_start_max + limits::no_worker_grace - 1s);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  EXPECT_EQ(ask("status")["workers"][0]["state"], "starting");
  tell(said("w", net::worker_offer{}));
  pass(1s + limits::no_worker_grace);
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u) << "saying it again gains it no time";
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_NE(failed[0].reason.find("have not said in time"), std::string::npos) << failed[0].reason;
  EXPECT_EQ(ask("status")["workers"][0]["state"], "unavailable");

  net::worker_offer at_last;
  at_last.runs_on = machine();
  at_last.slots = 1;
  tell(said("w", at_last));
  EXPECT_EQ(ask("status")["workers"][0]["state"], "idle");
}

TEST_F(coordinator_core_test, slots_that_others_took_are_not_filled) {
  tell(came("w", "worker"));
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 2;
  offer.taken = 2;
  tell(said("w", offer));
  client("a");
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u) << "they will be free again";
  offer.taken = 1;
  tell(said("w", offer));
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}
