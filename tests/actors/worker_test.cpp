// The worker's decisions about its engines: what it offers, which of them gets a job, what comes of it, and when it
// ends.

#include "tests/runtime/signers.hpp"
#include "worker_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(worker_test, is_ready_with_a_warm_engine_and_a_coordinator) {
  start(1);
  using parts = std::map<std::string, std::string>;
  metrics.ready()->lacks("role", {});
  EXPECT_EQ(metrics.ready()->lacking(), (parts{{"engines", "none is warm"}}));
  engine_ready(0);
  EXPECT_EQ(metrics.ready()->lacking(), parts{});
  EXPECT_EQ(metrics.snapshot().at("worker_coordinators_now"), 1);
  EXPECT_EQ(metrics.snapshot().at("ready"), 1);
  deliver(worker, went(farm));
  EXPECT_EQ(metrics.ready()->lacking(), (parts{{"coordinators", "none is connected"}}));
  EXPECT_EQ(metrics.snapshot().at("ready"), 0);
  deliver(worker, came(farm));
  engine_down(0, errc::engine_crashed);
  EXPECT_EQ(metrics.ready()->lacking(), (parts{{"engines", "none is warm"}}));
}

TEST_F(worker_test, offers_what_its_engines_are) {
  start(2);
  auto starting = offered();
  EXPECT_EQ(starting.slots, 0u);
  EXPECT_EQ(starting.problem, "");
  EXPECT_EQ(starting.runs_on.torch, "");
  tell(worker, engine_state{0, machine(), false, std::nullopt});
  auto first = offered();
  EXPECT_EQ(first.slots, 1u);
  EXPECT_EQ(first.runs_on, machine());
  tell(worker, engine_state{0, machine(), true, std::nullopt});
  EXPECT_EQ(link->count<net::worker_offer>(), 0u) << "nothing new";
  engine_ready(1);
  EXPECT_EQ(offered().slots, 2u);
  engine_down(0, errc::engine_crashed);
  EXPECT_EQ(link->count<net::worker_offer>(), 0u) << "it will be back in a moment";
  engine_down(0, errc::engine_start);
  EXPECT_EQ(offered().slots, 1u);
  engine_down(1, errc::engine_start);
  auto none = offered();
  EXPECT_EQ(none.slots, 0u);
  EXPECT_EQ(none.problem, "engine_start: why");
}

TEST_F(worker_test, jobs_wait_while_slots_are_busy_and_fail_when_no_engine_will_take_them) {
  start(1);
  job("1");
  job("2");
  auto refused = link->take<net::job_failed>();
  ASSERT_EQ(refused.size(), 1u) << "one more than it could have offered";
  EXPECT_EQ(refused[0].id, "2");
  EXPECT_EQ(refused[0].code, "busy");
  engine_down(0, errc::engine_start);
  refused = link->take<net::job_failed>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].id, "1");
  EXPECT_EQ(refused[0].code, "engine_start");
}

TEST_F(worker_test, a_job_without_its_graph_is_refused_and_garbage_counted) {
  start(1);
  deliver(worker, said(farm, net::job{}));
  EXPECT_EQ(link->take<net::job_failed>().at(0).code, "protocol");
  deliver(worker, said(farm, net::lookup{}));
  EXPECT_TRUE(link->take<net::job_failed>().empty());
}

TEST_F(worker_test, an_outcome_goes_to_who_gave_the_job_and_only_once) {
  start(1);
  engine_ready(0);
  job("1");
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].second.id, "1");
  EXPECT_EQ(given[0].second.deadline, 60s);
  EXPECT_EQ(given[0].second.attempts, 2u);
  outcome(0, "2");
  EXPECT_EQ(link->count<net::job_done>(), 0u) << "not the job that it has";
  outcome(0, "1");
  EXPECT_EQ(text_of(*link->sent.back().attachment), "artifact");
  auto done = link->take<net::job_done>(farm);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].stage_key, "stage of 1");
  EXPECT_EQ(done[0].phases.at("lower"), 0.5);
  outcome(0, "1");
  EXPECT_EQ(link->count<net::job_done>(), 0u);
}

TEST_F(worker_test, what_it_has_made_is_signed_for_its_stage) {
  signer = testing_signers::new_signer();
  start(1);
  engine_ready(0);
  job("1");
  outcome(0, "1");
  const auto done = link->take<net::job_done>(farm).at(0);
  EXPECT_EQ(done.signature, testing_signers::signed_by(*signer, "stage of 1", view_of("artifact")));
}

TEST_F(worker_test, a_slot_that_is_done_takes_the_next_job_whoever_it_is_from) {
  start(1);
  deliver(worker, came("tcp://other"));
  engine_ready(0);
  job("1");
  job("2", "tcp://other");
  EXPECT_EQ(given.size(), 1u);
  outcome(0, "1", error{errc::compile_failed, "why"});
  EXPECT_EQ(link->take<net::job_failed>(farm).at(0).code, "compile_failed");
  ASSERT_EQ(given.size(), 2u);
  outcome(0, "2");
  EXPECT_EQ(link->count<net::job_done>("tcp://other"), 1u);
}

TEST_F(worker_test, a_deadline_is_believed_up_to_a_bound) {
  start(1);
  engine_ready(0);
  net::job m;
  m.deadline_ms = ~0ULL;
  deliver(worker, said(farm, m, some_bytes("graph")));
  EXPECT_EQ(given.at(0).second.deadline, limits::job_deadline_max);
}

TEST_F(worker_test, a_job_is_cancelled_only_by_the_coordinator_that_gave_it) {
  start(1);
  deliver(worker, came("tcp://other"));
  engine_ready(0);
  job("1");
  deliver(worker, said("tcp://other", net::cancel_job{"1", "why"}));
  deliver(worker, said(farm, net::cancel_job{"2", "why"}));
  EXPECT_TRUE(cancelled.empty());
  deliver(worker, said(farm, net::cancel_job{"1", "why"}));
  EXPECT_EQ(cancelled, std::vector<std::string>{"1"});
  pass(5s);
  EXPECT_EQ(renewed(), std::vector<std::string>{"1"}) << "held until its engine lets go of it";
}

TEST_F(worker_test, drains_at_once_without_jobs) {
  start(1);
  tell(worker, drain{});
  EXPECT_EQ(ended, 1);
}

TEST_F(worker_test, drains_when_its_last_job_has_ended) {
  start(1);
  job("1");
  link->sent.clear();
  tell(worker, drain{});
  EXPECT_TRUE(offered().draining);
  EXPECT_EQ(ended, 0);
  job("2");
  EXPECT_EQ(link->take<net::job_failed>().at(0).code, "shutdown");
  deliver(worker, said(farm, net::cancel_job{"1", "why"}));
  EXPECT_EQ(ended, 1);
}

TEST_F(worker_test, drains_at_once_when_it_must) {
  start(2);
  job("1");
  tell(worker, drain{true});
  EXPECT_EQ(ended, 1);
}

TEST_F(worker_test, an_operator_has_it_take_no_jobs_and_take_them_again) {
  start(1);
  engine_ready(0);
  deliver(worker, came("tcp://other"));
  job("1");
  link->take<net::worker_offer>();
  deliver(worker, said(farm, net::set_drain{true}));
  EXPECT_TRUE(offered().draining);
  EXPECT_TRUE(offered("tcp://other").draining) << "every coordinator is told";
  job("2", "tcp://other");
  auto refused = link->take<net::job_failed>("tcp://other");
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].code, "busy") << "it was on its way: no attempt of the job's";

  outcome(0, "1");
  EXPECT_EQ(link->count<net::job_done>(farm), 1u) << "what it has it finishes";
  EXPECT_EQ(ended, 0) << "it stays";
  link->take<net::worker_offer>();
  deliver(worker, said("tcp://other", net::set_drain{false}));
  EXPECT_FALSE(offered().draining);
  job("3");
  EXPECT_EQ(given.back().second.id, "3");
}

TEST_F(worker_test, an_engine_that_has_served_a_namespace_is_changed_before_it_serves_another) {
  start(1);
  engine_ready(0);
  job("a", farm, "team-a");
  ASSERT_EQ(given.size(), 1u) << "it has served nobody";
  EXPECT_EQ(given[0].second.tenant, "team-a");
  outcome(0, "a");
  job("a2", farm, "team-a");
  ASSERT_EQ(given.size(), 2u);
  outcome(0, "a2");
  EXPECT_EQ(changed, (changes{})) << "one namespace, one engine";

  job("b", farm, "team-b");
  EXPECT_EQ(changed, (changes{{0, "team-b"}}));
  EXPECT_EQ(given.size(), 2u);
  engine_ready_for(0, "team-a");
  EXPECT_EQ(given.size(), 2u) << "what it said before it heard of the change";
  engine_ready_for(0, "team-b");
  ASSERT_EQ(given.size(), 3u);
  EXPECT_EQ(given[2].second.tenant, "team-b");
  EXPECT_EQ(changed.size(), 1u);
}

TEST_F(worker_test, an_engine_that_has_served_nobody_is_used_before_one_is_changed) {
  start(3);
  for (std::size_t slot : {0, 1, 2}) engine_ready(slot);
  job("a", farm, "team-a");
  outcome(0, "a");
  job("b", farm, "team-b");
  job("a2", farm, "team-a");
  job("c");
  ASSERT_EQ(given.size(), 4u);
  EXPECT_EQ(given[1].first, 1u);
  EXPECT_EQ(given[2].first, 0u) << "the one that has served it before";
  EXPECT_EQ(given[3].first, 2u);
  EXPECT_EQ(changed, (changes{}));
  outcome(1, "b");
  outcome(2, "c");
  job("d", farm, "team-d");
  EXPECT_EQ(changed, (changes{{1, "team-d"}}));
  job("e", farm, "team-e");
  EXPECT_EQ(changed, (changes{{1, "team-d"}, {2, "team-e"}})) << "one for each job that waits";
  job("d2", farm, "team-d");
  EXPECT_EQ(changed.size(), 2u) << "nobody is idle";
}

TEST_F(worker_test, engines_may_be_shared_by_namespaces_when_it_is_wanted_so) {
  shared = true;
  start(1);
  engine_ready(0);
  job("a", farm, "team-a");
  outcome(0, "a");
  job("b", farm, "team-b");
  ASSERT_EQ(given.size(), 2u);
  EXPECT_EQ(given[0].second.tenant, "");
  EXPECT_EQ(given[1].second.tenant, "");
  EXPECT_EQ(changed, (changes{}));
}

TEST_F(worker_test, tells_what_its_engines_are_in) {
  start(1);
  EXPECT_EQ(offered().sandbox, "bubblewrap");
}
