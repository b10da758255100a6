// Whose turn it is.
#include "scheduler_harness.hpp"

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(scheduler, first_stages_go_before_second_ones_and_old_before_young) {
  scheduler s;
  s.enqueue({"second-old", machine(), 1});
  s.enqueue({"first-old", machine(), 0});
  s.enqueue({"first-other-class", machine("2.13.0", "x86-64-v2"), 0});
  s.enqueue({"first-young", machine(), 0});
  s.enqueue({"third", machine(), 2});
  s.set_worker("w", offer(4));
  EXPECT_EQ(assigned(s), "first-old@w first-other-class@w first-young@w second-old@w");
  EXPECT_EQ(s.queued(), 1u);
  s.release("second-old");
  EXPECT_EQ(assigned(s), "third@w");
}

TEST(scheduler, slots_are_shared_between_spaces) {
  struct {
    const char* what;
    std::vector<scheduler::request> jobs;
    const char* order;  // on a worker with room for all
  } const cases[] = {
      {"one that came first with many",
       {job_of("a", "a1"), job_of("a", "a2"), job_of("a", "a3"), job_of("b", "b1")},
       "a1@w b1@w a2@w a3@w"},
      {"three",
       {job_of("a", "a1"), job_of("a", "a2"), job_of("b", "b1"), job_of("b", "b2"), job_of("c", "c1")},
       "a1@w b1@w c1@w a2@w b2@w"},
      {"first stages of all before second ones",
       {job_of("a", "a1"), job_of("a", "a2"), job_of("b", "b second", 1)},
       "a1@w a2@w b second@w"},
  };
  for (const auto& c : cases) {
    scheduler s;
    for (const auto& job : c.jobs) s.enqueue(job);
    s.set_worker("w", offer(9));
    EXPECT_EQ(assigned(s), c.order) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler, a_space_that_has_slots_waits_for_those_that_have_fewer) {
  scheduler s;
  s.set_worker("w", offer(3));
  for (const char* job : {"a1", "a2", "a3", "a4", "a5"}) s.enqueue(job_of("a", job));
  EXPECT_EQ(assigned(s), "a1@w a2@w a3@w");
  for (const char* job : {"b1", "b2", "b3"}) s.enqueue(job_of("b", job));
  s.release("a1");
  EXPECT_EQ(assigned(s), "b1@w") << "a has two";
  s.release("a2");
  EXPECT_EQ(assigned(s), "a4@w") << "both have one, and a waits for longer";
  s.release("b1");
  EXPECT_EQ(assigned(s), "b2@w") << "b has none";
  s.release("a3");
  EXPECT_EQ(assigned(s), "a5@w");
}

TEST(scheduler, spaces_are_shared_across_platforms) {
  scheduler s;
  s.set_worker("w", offer(1, machine("2.13.0", "x86-64-v4")));
  s.enqueue({"a1", machine("2.13.0", "x86-64-v4"), 0, "a"});
  EXPECT_EQ(assigned(s), "a1@w");
  s.set_worker("w", offer(2, machine("2.13.0", "x86-64-v4")));
  s.enqueue({"a2", machine(), 0, "a"});
  s.enqueue({"b1", machine("2.13.0", "x86-64-v2"), 0, "b"});
  EXPECT_EQ(assigned(s), "b1@w");
}

TEST(scheduler, of_jobs_about_as_old_the_longest_comes_first) {
  const time_point begin{100 * limits::similar_age};
  struct {
    const char* what;
    std::chrono::milliseconds after;  // between the short job and the long one
    const char* order;
  } const cases[] = {
      {"at once", 0ms, "long@w short@w"},
      {"soon", limits::similar_age - 1ms, "long@w short@w"},
      {"too late to be preferred", limits::similar_age, "short@w long@w"},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.enqueue({"short", machine(), 0, "", 1.5, begin});
    s.enqueue({"long", machine(), 0, "", 60, begin + c.after});
    s.set_worker("w", offer(2));
    EXPECT_EQ(assigned(s), c.order) << c.what;
  }
}

TEST(scheduler, a_job_that_comes_back_keeps_its_age) {
  scheduler s;
  const time_point begin{1000s};
  s.enqueue({"old", machine(), 0, "", 0, begin});
  s.enqueue({"young", machine(), 0, "", 0, begin + 1ms});
  s.set_worker("w", offer(1));
  EXPECT_EQ(assigned(s), "old@w");
  s.release("old");
  s.enqueue({"old", machine(), 0, "", 0, begin});
  EXPECT_EQ(assigned(s), "old@w");
}

TEST(scheduler, nothing_starves) {
  const time_point begin{1000s};
  struct {
    const char* what;
    scheduler::request waits;
    scheduler::request others;  // of which there is always another
  } const cases[] = {
      {"a second stage behind first ones", {"waits", machine(), 1, "a"}, {"", machine(), 0, "a"}},
      {"behind those of spaces that run nothing", {"waits", machine(), 0, "busy"}, {"", machine(), 0, ""}},
      {"behind others for another platform",
       {"waits", machine("2.13.0", "x86-64-v2"), 1, "a"},
       {"", machine("2.13.0", "x86-64-v3"), 0, "a"}},
  };
  for (const auto& c : cases) {
    scheduler s;
    // A job of the space keeps running, so that every other space has fewer.
    s.set_worker("w", offer(2));
    s.enqueue({"runs on", machine(), 0, "busy", 0, begin});
    ASSERT_EQ(assigned(s), "runs on@w") << c.what;
    auto waits = c.waits;
    waits.queued_at = begin;
    s.enqueue(waits);
    auto next = [&, n = 0]() mutable {
      auto other = c.others;
      other.job = "other" + std::to_string(++n);
      if (other.space.empty()) other.space = "space" + std::to_string(n);
      other.queued_at = begin + std::chrono::milliseconds(n);
      return other;
    };
    unsigned overtakes = 0;
    for (s.enqueue(next()); overtakes < 10 * limits::job_overtakes_max; ++overtakes) {
      s.enqueue(next());
      const auto got = s.assign();
      ASSERT_EQ(got.size(), 1u) << c.what;
      if (got[0].job == "waits") break;
      s.release(got[0].job);
    }
    EXPECT_EQ(overtakes, limits::job_overtakes_max) << c.what;
  }
}

TEST(scheduler, tells_what_goes_before_a_job_and_who_could_take_it) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.set_worker("v", offer(3, machine("2.12.0")));
  s.set_worker("rests", [] {
    auto o = offer(5);
    o.draining = true;
    return o;
  }());
  const time_point start{};
  auto at = [&](const char* job, unsigned rank, int seconds, const char* torch = "2.13.0") {
    s.enqueue({job, machine(torch), rank, "space", 0, start + std::chrono::seconds(seconds)});
  };
  at("second", 0, 200);
  at("first", 0, 100);
  at("later stage", 1, 0);
  at("elsewhere", 0, 0, "2.12.0");
  EXPECT_EQ(s.ahead_of("first"), 0u);
  EXPECT_EQ(s.ahead_of("second"), 1u);
  EXPECT_EQ(s.ahead_of("later stage"), 2u);
  EXPECT_EQ(s.ahead_of("elsewhere"), 0u) << "no worker of the others could take it";
  EXPECT_EQ(s.ahead_of("unknown"), 0u);
  EXPECT_EQ(s.slots_for(machine()), 2u);
  EXPECT_EQ(s.slots_for(machine("2.12.0")), 3u);
  EXPECT_EQ(s.slots_for(machine("2.11.0")), 0u);
  EXPECT_EQ(s.busy_of("w"), 0u);
  s.assign();
  EXPECT_EQ(s.busy_of("w"), 2u);
  EXPECT_EQ(s.busy_of("unknown"), 0u);
}
