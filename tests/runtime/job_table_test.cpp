#include "job_table_harness.hpp"

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

class table : public ::testing::Test {
protected:
  void use(job_limits bounds) { jobs = job_table("c", bounds); }
  // A job of client "a", as far as `queued`.
  void queue(const std::string& stage = "s", const std::string& graph = "g") {
    ASSERT_TRUE(jobs.admit(wanted(stage, graph), "a", now));
    jobs.graph_arrived(graph, now);
    ASSERT_EQ(jobs.find(stage)->state, job_state::queued);
  }
  std::string run(const std::string& stage = "s", const std::string& worker = "w") {
    queue(stage);
    return jobs.start(stage, worker, now);
  }

  time_point now = start_of_time;
  job_table jobs{"c"};
};

}  // namespace

TEST_F(table, a_job_goes_from_wanting_its_graph_to_the_end) {
  auto fresh = jobs.admit(wanted("s"), "a", now);
  ASSERT_TRUE(fresh);
  EXPECT_TRUE(*fresh);
  EXPECT_EQ(jobs.find("s")->state, job_state::wants_graph);
  EXPECT_TRUE(jobs.wants("g"));
  EXPECT_TRUE(jobs.uses("g"));

  now += 1s;
  EXPECT_EQ(jobs.graph_arrived("g", now), std::vector<std::string>{"s"});
  EXPECT_EQ(jobs.find("s")->state, job_state::queued);
  EXPECT_FALSE(jobs.wants("g"));
  EXPECT_TRUE(jobs.graph_arrived("g", now).empty()) << "only once";

  now += 2s;
  const auto attempt = jobs.start("s", "w", now);
  EXPECT_EQ(jobs.find("s")->state, job_state::running);
  EXPECT_EQ(jobs.find("s")->attempts, 1u);
  EXPECT_DOUBLE_EQ(jobs.find("s")->queue_seconds(), 2.0);

  const auto* done = jobs.finish("w", attempt);
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->state, job_state::storing);
  EXPECT_FALSE(jobs.uses("g")) << "nothing will be compiled from it any more";

  auto record = jobs.remove("s");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->subscribers, std::set<std::string>{"a"});
  EXPECT_TRUE(jobs.empty());
  EXPECT_FALSE(jobs.remove("s"));
}

TEST_F(table, one_job_is_joined_by_everyone) {
  ASSERT_TRUE(jobs.admit(wanted("s"), "a", now));
  for (const char* peer : {"b", "c", "b"}) {
    auto joined = jobs.admit(wanted("s"), peer, now);
    ASSERT_TRUE(joined);
    EXPECT_FALSE(*joined);
  }
  EXPECT_EQ(jobs.jobs().size(), 1u);
  EXPECT_EQ(jobs.find("s")->subscribers, (std::set<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(jobs.is_source("g", "b"));
  EXPECT_FALSE(jobs.is_source("g", "d"));
  EXPECT_EQ(jobs.next_source("g", {"a", "b"}), "c");
  EXPECT_EQ(jobs.next_source("g", {"a", "b", "c"}), "");
  jobs.graph_arrived("g", now);
  EXPECT_FALSE(jobs.is_source("g", "b")) << "it is here";
  EXPECT_EQ(jobs.next_source("g", {}), "");
}

TEST_F(table, attempts_have_ids_of_their_own) {
  const auto first = run("s");
  const auto second = run("t");
  EXPECT_NE(first, second);
  EXPECT_EQ(first.rfind("c-", 0), 0u);
  jobs.fail("w", first, crash, now);
  EXPECT_NE(jobs.start("s", "w", now), first);
}

TEST_F(table, each_bound_answers_busy) {
  struct {
    const char* what;
    std::size_t jobs, per_client, subscribers;
    const char* peer;
    const char* stage;
    bool busy;
  } const cases[] = {
      {"room for all", 3, 3, 3, "a", "t", false},
      {"the table is full", 1, 3, 3, "b", "t", true},
      {"a full table can be joined", 1, 3, 3, "b", "s", false},
      {"the client has its share", 3, 1, 3, "a", "t", true},
      {"another client has not", 3, 1, 3, "b", "t", false},
      {"the job is full", 3, 3, 1, "b", "s", true},
      {"one of its subscribers may attach again", 3, 3, 1, "a", "s", false},
  };
  for (const auto& c : cases) {
    job_limits bounds;
    bounds.jobs_max = c.jobs;
    bounds.jobs_per_client_max = c.per_client;
    bounds.subscribers_max = c.subscribers;
    use(bounds);
    ASSERT_TRUE(jobs.admit(wanted("s"), "a", now));
    auto admitted = jobs.admit(wanted(c.stage), c.peer, now);
    EXPECT_EQ(!admitted, c.busy) << c.what;
    if (!admitted) {
      EXPECT_EQ(admitted.failure().code, errc::busy) << c.what;
    }
  }
}

TEST_F(table, a_renewed_lease_does_not_run_out) {
  const auto attempt = run();
  for (int i = 0; i < 10; ++i) {
    now += limits::job_lease - 1ms;
    EXPECT_TRUE(jobs.expire(now).empty());
    EXPECT_TRUE(jobs.renew("w", {attempt}, now).empty());
  }
  now += limits::job_lease;
  auto late = jobs.expire(now);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].why.code, errc::timeout);
  EXPECT_EQ(late[0].worker, "w");
  EXPECT_EQ(late[0].attempt, attempt);
  EXPECT_TRUE(late[0].retried);
  EXPECT_EQ(jobs.find("s")->state, job_state::queued);
}

TEST_F(table, a_first_lease_is_longer_by_the_time_that_the_graph_takes) {
  queue();
  const auto attempt = jobs.start("s", "w", now, 60s);
  now += limits::job_lease + 60s - 1ms;
  EXPECT_TRUE(jobs.expire(now).empty());
  EXPECT_TRUE(jobs.renew("w", {attempt}, now).empty());
  now += limits::job_lease;
  EXPECT_EQ(jobs.expire(now).size(), 1u) << "later ones are not";
}

TEST_F(table, renewing_tells_which_leases_are_not_held) {
  const auto attempt = run();
  EXPECT_EQ(jobs.renew("other", {attempt}, now), std::vector<std::string>{attempt});
  EXPECT_EQ(jobs.renew("w", {attempt, "made up"}, now), std::vector<std::string>{"made up"});
  jobs.finish("w", attempt);
  EXPECT_EQ(jobs.renew("w", {attempt}, now), std::vector<std::string>{attempt});
}

TEST_F(table, an_attempt_ends_at_its_deadline_even_under_a_lease) {
  job_limits bounds;
  bounds.deadline = 60s;
  use(bounds);
  const auto attempt = run();
  const auto end = now + 60s;
  for (; now < end; now += 5s) {
    EXPECT_TRUE(jobs.expire(now).empty());
    jobs.renew("w", {attempt}, now);
  }
  auto late = jobs.expire(end);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].why.code, errc::deadline);
  EXPECT_EQ(jobs.finish("w", attempt), nullptr) << "too late";
}

TEST_F(table, a_graph_that_does_not_come_fails_the_job_for_the_moment_only) {
  ASSERT_TRUE(jobs.admit(wanted("s"), "a", now));
  now += limits::graph_wait_max - 1ms;
  EXPECT_TRUE(jobs.expire(now).empty());
  jobs.graph_asked("g", now);
  now += limits::graph_wait_max - 1ms;
  EXPECT_TRUE(jobs.expire(now).empty()) << "another subscriber was asked";
  now += 1ms;
  auto late = jobs.expire(now);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_FALSE(late[0].retried);
  EXPECT_EQ(late[0].subscribers, std::vector<std::string>{"a"});
  EXPECT_TRUE(jobs.admit(wanted("s"), "b", now)) << "not remembered";
}

TEST_F(table, is_retried_up_to_its_last_attempt_and_then_quarantined) {
  run();
  for (unsigned attempt = 1; attempt < limits::job_attempts_max; ++attempt) {
    auto setback = jobs.fail("w", jobs.find("s")->attempt, crash, now);
    ASSERT_TRUE(setback);
    EXPECT_TRUE(setback->retried);
    EXPECT_EQ(jobs.find("s")->state, job_state::queued);
    EXPECT_TRUE(jobs.find("s")->worker.empty());
    jobs.start("s", "w", now);
  }
  auto last = jobs.fail("w", jobs.find("s")->attempt, crash, now);
  ASSERT_TRUE(last);
  EXPECT_FALSE(last->retried);
  EXPECT_EQ(last->why.code, errc::quarantined);
  EXPECT_NE(last->why.message.find("engine_crashed: killed by signal 11"), std::string::npos);
  EXPECT_EQ(last->subscribers, std::vector<std::string>{"a"});
  EXPECT_TRUE(jobs.empty());
  auto again = jobs.admit(wanted("s"), "b", now);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().code, errc::quarantined);
}

TEST_F(table, what_an_attempt_fails_with_decides_what_follows) {
  struct {
    errc code;
    bool retried;
    bool remembered;  // when it failed for good at once
  } const cases[] = {
      {errc::engine_crashed, true, false}, {errc::engine_start, true, false},   {errc::memory, true, false},
      {errc::deadline, true, false},       {errc::timeout, true, false},        {errc::unreachable, true, false},
      {errc::shutdown, true, false},       {errc::corrupt, true, false},        {errc::io, true, false},
      {errc::busy, true, false},           {errc::compile_failed, false, true}, {errc::bad_input, false, true},
      {errc::too_large, false, true},      {errc::no_worker, false, false},     {errc::cancelled, false, false},
  };
  for (const auto& c : cases) {
    use({});
    const auto attempt = run();
    auto setback = jobs.fail("w", attempt, {c.code, "why"}, now);
    ASSERT_TRUE(setback);
    EXPECT_EQ(setback->retried, c.retried) << to_string(c.code);
    EXPECT_EQ(jobs.failures().find("s", now) != nullptr, c.remembered) << to_string(c.code);
  }
}

TEST_F(table, a_full_workers_refusal_is_no_attempt_and_costs_no_age) {
  job_limits bounds;
  bounds.refusals_max = 5;
  use(bounds);
  queue();
  const auto since = jobs.find("s")->queued_at;
  for (unsigned i = 0; i < bounds.refusals_max; ++i) {
    now += 1s;
    auto setback = jobs.fail("w", jobs.start("s", "w", now), {errc::busy, "full"}, now);
    ASSERT_TRUE(setback);
    EXPECT_TRUE(setback->retried);
    EXPECT_EQ(jobs.find("s")->attempts, 0u);
    EXPECT_EQ(jobs.find("s")->queued_at, since);
  }
  for (unsigned i = 1; i <= bounds.attempts_max; ++i) {
    auto setback = jobs.fail("w", jobs.start("s", "w", now), {errc::busy, "full"}, now);
    ASSERT_TRUE(setback);
    EXPECT_EQ(setback->retried, i < bounds.attempts_max) << "one that is always refused does not wait for ever";
  }
}

TEST_F(table, a_crash_that_nobody_waits_for_is_neither_retried_nor_remembered) {
  const auto attempt = run();
  EXPECT_TRUE(jobs.unsubscribe_all("a").empty());
  auto setback = jobs.fail("w", attempt, crash, now);
  ASSERT_TRUE(setback);
  EXPECT_FALSE(setback->retried);
  EXPECT_TRUE(jobs.empty());
  EXPECT_TRUE(jobs.admit(wanted("s"), "b", now)) << "it has attempts left";
}

TEST_F(table, a_failure_is_remembered_for_a_while) {
  jobs.fail("w", run(), compiler_error, now);
  now += limits::failure_memory - 1ms;
  EXPECT_EQ(jobs.failures().find("s", now)->message, "no such operator");
  EXPECT_FALSE(jobs.admit(wanted("s"), "a", now));
  now += 1ms;
  EXPECT_EQ(jobs.failures().find("s", now), nullptr);
  EXPECT_TRUE(jobs.admit(wanted("s"), "a", now));
}

TEST_F(table, a_failure_can_be_forgiven) {
  jobs.fail("w", run(), compiler_error, now);
  EXPECT_TRUE(jobs.failures().forgive("s"));
  EXPECT_FALSE(jobs.failures().forgive("s"));
  EXPECT_TRUE(jobs.admit(wanted("s"), "a", now));
}

TEST_F(table, the_oldest_failure_is_forgotten_past_the_bound) {
  job_limits bounds;
  bounds.failures_max = 2;
  use(bounds);
  for (const char* stage : {"1", "2", "1", "3"}) {
    if (jobs.failures().find(stage, now)) continue;
    jobs.fail("w", run(stage), compiler_error, now);
  }
  EXPECT_EQ(jobs.failures().find("1", now), nullptr);
  EXPECT_NE(jobs.failures().find("2", now), nullptr);
  EXPECT_NE(jobs.failures().find("3", now), nullptr);
}

TEST_F(table, a_lost_workers_jobs_are_retried_elsewhere) {
  run("s", "w");
  run("t", "w");
  run("u", "v");
  jobs.finish("w", jobs.find("t")->attempt);
  auto lost = jobs.worker_lost("w", {errc::unreachable, "silent"}, now);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].stage_key, "s");
  EXPECT_TRUE(lost[0].retried);
  EXPECT_EQ(jobs.find("t")->state, job_state::storing) << "its result is here";
  EXPECT_EQ(jobs.find("u")->state, job_state::running);
}

TEST_F(table, late_and_foreign_results_are_refused) {
  const auto attempt = run();
  EXPECT_EQ(jobs.finish("other", attempt), nullptr);
  EXPECT_EQ(jobs.finish("w", "made up"), nullptr);
  EXPECT_FALSE(jobs.fail("other", attempt, crash, now));
  jobs.worker_lost("w", {errc::unreachable, "silent"}, now);
  EXPECT_EQ(jobs.finish("w", attempt), nullptr);
  const auto next = jobs.start("s", "v", now);
  EXPECT_EQ(jobs.finish("w", attempt), nullptr);
  EXPECT_EQ(jobs.finish("v", attempt), nullptr);
  EXPECT_NE(jobs.finish("v", next), nullptr);
  EXPECT_EQ(jobs.finish("v", next), nullptr) << "only once";
  EXPECT_FALSE(jobs.fail("v", next, crash, now));
}

TEST_F(table, unsubscribing_drops_what_has_not_started_and_nobody_else_wants) {
  queue("queued");
  ASSERT_TRUE(jobs.admit(wanted("wants graph", "other"), "a", now));
  run("running");
  jobs.finish("w", run("storing"));
  queue("shared");
  ASSERT_TRUE(jobs.admit(wanted("shared"), "b", now));
  std::set<std::string> dropped;
  for (const auto& d : jobs.unsubscribe("a", {"queued", "wants graph", "running", "storing", "shared", "unknown"})) {
    dropped.insert(d.stage_key);
  }
  EXPECT_EQ(dropped, (std::set<std::string>{"queued", "wants graph"}));
  EXPECT_EQ(jobs.jobs().size(), 3u);
  EXPECT_TRUE(jobs.unsubscribe_all("a").empty());
  ASSERT_EQ(jobs.unsubscribe_all("b").size(), 1u);
}

TEST_F(table, only_what_has_not_started_can_be_failed_from_the_queue) {
  EXPECT_FALSE(jobs.fail_queued("s", crash, now));
  const auto attempt = run();
  EXPECT_FALSE(jobs.fail_queued("s", crash, now));
  jobs.finish("w", attempt);
  EXPECT_FALSE(jobs.fail_queued("s", crash, now));
  queue("t");
  auto setback = jobs.fail_queued("t", {errc::no_worker, "no worker is connected"}, now);
  ASSERT_TRUE(setback);
  EXPECT_FALSE(setback->retried);
  EXPECT_TRUE(setback->attempt.empty());
  EXPECT_EQ(jobs.find("t"), nullptr);
}
