// Jobs of a coordinator that is gone, which the workers that run them bring to another.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

class adoption_test : public coordinator_core_test {
protected:
  net::job_held held(const std::string& id = "other-1", unsigned attempts = 1) {
    net::job what;
    what.id = id;
    what.stage_key = key_of();
    what.graph_key = graph;
    what.name = "model";
    what.stage = stages({"default"}).front();
    what.target = machine();
    what.attempts = attempts;
    return {what};
  }
  void finish(const net::peer_id& worker, const std::string& id = "other-1") {
    tell(said(worker, net::job_done{id, key_of(), {}}, some_bytes("artifact")));
    answer_writes();
  }
  std::vector<std::string> cancelled(const net::peer_id& worker) {
    std::vector<std::string> ids;
    for (const auto& m : out.take<net::cancel_job>(worker)) ids.push_back(m.id);
    return ids;
  }
  double adopted() { return metrics.snapshot()["jobs_adopted"]; }
};

}  // namespace

TEST_F(adoption_test, a_job_that_a_worker_brings_serves_those_who_ask_later) {
  tell(came("w", "worker"));
  tell(said("w", held()));
  worker("w");
  EXPECT_TRUE(cancelled("w").empty());
  EXPECT_EQ(adopted(), 1);
  client("a");
  lookup_misses("a");
  EXPECT_EQ(out.count<net::need_graph>(), 0u) << "it is compiled already";
  EXPECT_EQ(out.take<net::stage_progress>("a").at(0).state, "running");
  EXPECT_EQ(out.count<net::job>(), 0u) << "its slot is taken";
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
  EXPECT_EQ(ask("status")["workers"][0]["busy"], 0);
}

TEST_F(adoption_test, a_job_is_stored_although_nobody_waits_for_it) {
  worker("w");
  tell(said("w", held()));
  tell(said("w", net::job_done{"other-1", key_of(), {}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].first, key_of());
}

TEST_F(adoption_test, a_queued_job_runs_where_it_ran_already) {
  client("a");
  tell(came("w", "worker"));  // has not said what it offers
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.take<net::stage_progress>("a").back().state, "queued");
  tell(said("w", held()));
  EXPECT_EQ(out.take<net::stage_progress>("a").back().state, "running");
  worker("w", 2);
  EXPECT_EQ(out.count<net::job>(), 0u) << "once is enough";
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(adoption_test, a_job_whose_graph_was_asked_for_needs_none_any_more) {
  client("a");
  worker("w");
  lookup_misses("a");
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  tell(said("w", held()));
  submit("a");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(adoption_test, what_runs_elsewhere_is_not_taken_over_and_saying_it_again_changes_nothing) {
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  ASSERT_EQ(out.count<net::job>("v"), 1u);
  worker("w");
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_EQ(adopted(), 0);
  EXPECT_EQ(ask("status")["workers"][1]["busy"], 0);
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 0u) << "it holds no lease";
}

TEST_F(adoption_test, what_was_made_meanwhile_is_not_made_again) {
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  worker("w");
  const auto jobs = out.take<net::job>("v");
  ASSERT_EQ(jobs.size(), 1u);
  finish("v", jobs[0].id);
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, said_again_it_is_the_same_job) {
  worker("w", 3);
  tell(said("w", held()));
  tell(said("w", held()));
  EXPECT_TRUE(cancelled("w").empty());
  EXPECT_EQ(ask("status")["workers"][0]["busy"], 1);
}

TEST_F(adoption_test, a_job_of_another_farm_is_refused) {
  worker("w");
  auto other = held();
  other.what.stage_key = hex64('b');
  tell(said("w", other));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  other = held();
  other.what.graph_key = "no digest";
  tell(said("w", other));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, a_draining_coordinator_takes_over_nothing) {
  worker("w");
  core.drain(now);
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, when_its_worker_dies_the_graph_is_asked_for) {
  worker("w");
  worker("v");
  tell(said("w", held()));
  client("a");
  lookup_misses("a");
  tell(went("w"));
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  submit("a");
  auto jobs = out.take<net::job>("v");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].attempts, 2u);
}

TEST_F(adoption_test, attempts_are_counted_on_over_coordinators) {
  worker("w");
  client("a");
  tell(said("w", held("other-1", limits::job_attempts_max)));
  lookup_misses("a");
  tell(said("w", net::job_failed{"other-1", key_of(), "engine_crashed", "again"}));
  EXPECT_EQ(out.take<net::stage_failed>("a").at(0).code, "quarantined");
}
