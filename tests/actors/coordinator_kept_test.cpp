// A worker that a coordinator keeps for jobs which wait for its memory: what it says to the worker, and for how long.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t MiB = 1 << 20, GiB = 1 << 30;

// One worker with four slots and 8 GiB. Other coordinators' jobs have three of the slots, whatever memory they take.
class coordinator_kept_test : public coordinator_core_test {
protected:
  void SetUp() override {
    client("a");
    tell(came("w", "worker"));
  }
  void others_have(std::uint64_t memory, std::uint64_t heeds = 0, unsigned taken = 3) {
    net::worker_offer m;
    m.runs_on = machine();
    m.slots = 4;
    m.taken = taken;
    m.memory_bytes = 8 * GiB;
    m.memory_taken = memory;
    m.can_be_kept = true;
    m.heeds = heeds;
    tell(said("w", m));
  }
  void ask_for_graph(char digit) {
    net::lookup m;
    m.graph_key = hex64(digit);
    m.name = "model";
    m.stages = stages({"default"});
    m.target = machine();
    tell(said("a", m));
    answer_reads();
    tell(said("a", net::submit{hex64(digit)}, some_bytes("g")));
  }
  std::vector<net::job> given() { return out.take<net::job>("w"); }
  std::vector<net::keep_worker> told() { return out.take<net::keep_worker>("w"); }
  // The number that the worker has been told, after as many starts of others as it takes.
  std::uint64_t until_kept() {
    for (unsigned i = 0; i < limits::job_overtakes_max; ++i) {
      EXPECT_TRUE(told().empty());
      others_have(7 * GiB + 256 * MiB);
      others_have(7 * GiB + 512 * MiB);
    }
    const auto now_told = told();
    EXPECT_EQ(now_told.size(), 1u);
    return now_told.size() == 1 && now_told[0].kept ? now_told[0].number : 0;
  }
  bool kept() { return ask("status")["workers"][0]["kept"]; }
};

}  // namespace

TEST_F(coordinator_kept_test, keeps_it_no_longer_than_may_be) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  ASSERT_NE(number, 0u);
  EXPECT_TRUE(kept());
  others_have(7 * GiB + 512 * MiB, number);
  pass(limits::worker_kept_max - 1s);
  EXPECT_TRUE(told().empty());
  pass(1s);
  const auto last = told();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_FALSE(last[0].kept);
  EXPECT_EQ(last[0].number, number);
  EXPECT_FALSE(kept());
  EXPECT_GT(until_kept(), number) << "on another occasion";
}

TEST_F(coordinator_kept_test, a_job_that_starts_there_says_that_it_is_kept_no_longer) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  others_have(0, number, 1);
  const auto jobs = given();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].ends_keep, number);
  EXPECT_TRUE(told().empty()) << "what has no attachment would come before the job";
  ask_for_graph('2');
  EXPECT_EQ(given().at(0).ends_keep, 0u);
}

TEST_F(coordinator_kept_test, the_time_that_others_are_heeded_does_not_count) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  others_have(7 * GiB + 512 * MiB, 0, 4);
  pass(limits::worker_kept_max);
  EXPECT_TRUE(told().empty());
  others_have(7 * GiB + 512 * MiB, number);
  pass(limits::worker_kept_max - 1s);
  EXPECT_TRUE(told().empty());
  EXPECT_TRUE(kept());
  pass(1s);
  EXPECT_EQ(told().size(), 1u);
}

TEST_F(coordinator_kept_test, is_kept_no_longer_when_the_worker_heeds_it_no_longer) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  others_have(7 * GiB + 512 * MiB, number);
  EXPECT_TRUE(kept());
  others_have(7 * GiB + 512 * MiB);
  EXPECT_FALSE(kept()) << "its time there was up";
}

TEST_F(coordinator_kept_test, is_free_for_others_at_once_when_the_job_it_was_kept_for_is_released) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  tell(said("a", net::release{{make_stage_key(hex64('1'), machine(), stages({"default"}).front(), "salt")}}));
  const auto last = told();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_FALSE(last[0].kept);
  EXPECT_EQ(last[0].number, number);
}

TEST_F(coordinator_kept_test, is_free_for_others_at_once_when_the_client_it_was_kept_for_has_gone) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  client("b");
  const auto number = until_kept();
  tell(went("a"));
  const auto last = told();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_FALSE(last[0].kept);
  EXPECT_EQ(last[0].number, number);
}

TEST_F(coordinator_kept_test, is_free_for_others_at_once_when_another_worker_brings_the_job_it_was_kept_for) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  const auto number = until_kept();
  net::job brought;
  brought.id = "given by another";
  brought.graph_key = hex64('1');
  brought.stage = stages({"default"}).front();
  brought.target = machine();
  brought.stage_key = make_stage_key(brought.graph_key, brought.target, brought.stage, "salt");
  brought.attempts = 1;
  tell(came("v", "worker"));
  tell(said("v", net::job_held{brought}));
  const auto last = told();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_FALSE(last[0].kept);
  EXPECT_EQ(last[0].number, number);
}

TEST_F(coordinator_kept_test, is_kept_for_two_of_its_jobs_in_turn_each_for_its_own_time) {
  others_have(0, 0, 0);
  ask_for_graph('1');
  ask_for_graph('2');
  auto jobs = given();
  ASSERT_EQ(jobs.size(), 2u);
  // They take 4 and 6 GiB from now on, which others' jobs have by then.
  others_have(8 * GiB, 0, 2);
  tell(said("w", net::job_failed{jobs[0].id, jobs[0].stage_key, "engine_crashed", "why", 4 * GiB}));
  tell(said("w", net::job_failed{jobs[1].id, jobs[1].stage_key, "engine_crashed", "why", 6 * GiB}));
  const auto first = until_kept();
  ASSERT_NE(first, 0u);
  others_have(7 * GiB + 512 * MiB, first);
  ask_for_graph('3');
  pass(limits::worker_kept_max - 1s);
  others_have(3 * GiB, first, 1);
  jobs = given();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].graph_key, hex64('1'));
  EXPECT_EQ(jobs[0].ends_keep, first);
  const auto next = told();
  ASSERT_EQ(next.size(), 1u) << "the next one asks for itself";
  EXPECT_TRUE(next[0].kept);
  const auto second = next[0].number;
  EXPECT_NE(second, first);
  // The first one's job has been counted, and another coordinator is heeded, then this one.
  others_have(3 * GiB, first, 3);
  others_have(3 * GiB, 0, 4);
  pass(10s);
  tell(said("w", net::job_alive{{jobs[0].id}}));
  others_have(3 * GiB, second, 3);
  pass(10s);
  EXPECT_TRUE(told().empty()) << "its time has just begun";
  EXPECT_TRUE(given().empty()) << "nothing else starts there";
  others_have(1 * GiB, second, 1);
  tell(said("w", net::job_done{jobs[0].id, jobs[0].stage_key, {}}, some_bytes("artifact")));
  answer_writes();
  jobs = given();
  ASSERT_GE(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].graph_key, hex64('2'));
  EXPECT_EQ(jobs[0].ends_keep, second);
}

TEST_F(coordinator_kept_test, status_and_top_say_for_which_job) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  EXPECT_EQ(ask("status")["workers"][0]["kept_for"], nullptr);
  ASSERT_NE(until_kept(), 0u);
  const nlohmann::json job{{"graph_key", hex64('1')}, {"name", "model"}, {"stage", "default"}};
  EXPECT_EQ(ask("status")["workers"][0]["kept_for"], job);
  EXPECT_EQ(ask("top")["workers"][0]["kept_for"], job);
}

TEST_F(coordinator_kept_test, the_job_that_is_shown_is_the_oldest_of_those_it_is_kept_for) {
  others_have(7 * GiB + 512 * MiB);
  ask_for_graph('1');
  pass(1s);
  ask_for_graph('2');
  ASSERT_NE(until_kept(), 0u);
  EXPECT_EQ(ask("status")["workers"][0]["kept_for"]["graph_key"], hex64('1'));
  tell(said("a", net::release{{make_stage_key(hex64('1'), machine(), stages({"default"}).front(), "salt")}}));
  EXPECT_EQ(ask("status")["workers"][0]["kept_for"]["graph_key"], hex64('2'));
}

TEST_F(coordinator_kept_test, status_says_how_many_slots_others_have) {
  others_have(GiB, 0, 3);
  EXPECT_EQ(ask("status")["workers"][0]["taken"], 3);
}
