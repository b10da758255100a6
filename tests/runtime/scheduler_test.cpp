#include "runtime/scheduler.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

platform machine(std::string torch = "2.13.0", std::string isa = "x86-64-v3") {
  platform p;
  p.torch = std::move(torch);
  p.python = "3.11";
  p.isa = std::move(isa);
  return p;
}

scheduler::worker_offer offer(unsigned slots, platform runs_on = machine()) {
  scheduler::worker_offer o;
  o.runs_on = std::move(runs_on);
  o.slots = slots;
  return o;
}

// "job@worker job@worker ...", in the order of assignment.
std::string assigned(scheduler& s) {
  std::string out;
  for (const auto& a : s.assign()) out += (out.empty() ? "" : " ") + a.job + "@" + a.worker;
  return out;
}

}  // namespace

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
  s.release("w");
  EXPECT_EQ(assigned(s), "third@w");
}

TEST(scheduler, a_job_goes_to_the_fitting_worker_with_the_most_free_slots) {
  scheduler s;
  s.set_worker("a", offer(2));
  s.set_worker("b", offer(3));
  s.set_worker("other", offer(9, machine("2.12.0")));
  for (const char* job : {"1", "2", "3", "4", "5", "6"}) s.enqueue({job, machine(), 0});
  EXPECT_EQ(assigned(s), "1@b 2@a 3@b 4@a 5@b");
  EXPECT_EQ(s.free_slots(), 9u);
}

TEST(scheduler, fit_is_by_platform) {
  struct {
    const char* what;
    platform worker;
    platform target;
    const char* missing;  // null: it fits
  } const cases[] = {
      {"same", machine(), machine(), nullptr},
      {"a better CPU", machine("2.13.0", "x86-64-v4"), machine(), nullptr},
      {"a worse CPU", machine("2.13.0", "x86-64-v2"), machine(), "CPU level x86-64-v3 wanted"},
      {"another torch", machine("2.12.0"), machine(), "torch 2.13.0 wanted, the worker has 2.12.0"},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", offer(1, c.worker));
    s.enqueue({"job", c.target, 0});
    EXPECT_EQ(assigned(s), c.missing ? "" : "job@w") << c.what;
    const auto unplaceable = s.unplaceable();
    ASSERT_EQ(unplaceable.size(), c.missing ? 1u : 0u) << c.what;
    if (!c.missing) continue;
    EXPECT_EQ(unplaceable[0].first, "job");
    EXPECT_EQ(unplaceable[0].second.code, errc::no_worker);
    EXPECT_NE(unplaceable[0].second.message.find(c.missing), std::string::npos) << unplaceable[0].second.message;
  }
}

TEST(scheduler, a_stuck_class_does_not_hold_up_the_others) {
  scheduler s;
  s.set_worker("w", offer(1));
  s.enqueue({"fits nobody", machine("2.12.0"), 0});
  s.enqueue({"fits", machine(), 5});
  EXPECT_EQ(assigned(s), "fits@w");
}

TEST(scheduler, says_what_is_missing) {
  const auto draining = [] {
    auto o = offer(2);
    o.draining = true;
    return o;
  }();
  const auto broken = [] {
    scheduler::worker_offer o;
    o.problem = "engine_start: no module named torch";
    return o;
  }();
  struct {
    std::vector<scheduler::worker_offer> workers;
    const char* message;  // null: it fits, or may fit soon
  } const cases[] = {
      {{}, "no worker is connected"},
      {{draining}, "no worker takes jobs at the moment"},
      {{broken}, "engine_start: no module named torch"},
      {{broken, offer(1)}, nullptr},
      {{broken, scheduler::worker_offer{}}, nullptr},
      {{draining, offer(1, machine("2.12.0"))}, "torch 2.13.0 wanted, the worker has 2.12.0"},
  };
  for (const auto& c : cases) {
    scheduler s;
    for (std::size_t i = 0; i < c.workers.size(); ++i) s.set_worker(std::to_string(i), c.workers[i]);
    const auto fit = s.check_fit(machine());
    EXPECT_EQ(fit.ok(), c.message == nullptr) << (c.message ? c.message : "");
    if (c.message && !fit) {
      EXPECT_EQ(fit.failure().message, c.message);
    }
  }
}

TEST(scheduler, jobs_wait_for_a_worker_that_starts) {
  scheduler s;
  s.set_worker("w", {});
  s.enqueue({"job", machine(), 0});
  EXPECT_EQ(assigned(s), "");
  EXPECT_TRUE(s.unplaceable().empty());
  s.set_worker("w", offer(1));
  EXPECT_EQ(assigned(s), "job@w");
}

TEST(scheduler, a_worker_that_drains_gets_nothing_but_keeps_what_it_runs) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.enqueue({"1", machine(), 0});
  EXPECT_EQ(assigned(s), "1@w");
  auto draining = offer(2);
  draining.draining = true;
  s.set_worker("w", draining);
  s.enqueue({"2", machine(), 0});
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_EQ(s.workers().at(0).busy, 1u);
  EXPECT_EQ(s.unplaceable().size(), 1u);
}

TEST(scheduler, fewer_slots_than_jobs_leave_none_free) {
  scheduler s;
  s.set_worker("w", offer(3));
  for (const char* job : {"1", "2", "3", "4"}) s.enqueue({job, machine(), 0});
  EXPECT_EQ(s.assign().size(), 3u);
  s.set_worker("w", offer(1));
  EXPECT_EQ(s.free_slots(), 0u);
  s.release("w");
  s.release("w");
  EXPECT_EQ(assigned(s), "");
  s.release("w");
  EXPECT_EQ(assigned(s), "4@w");
}

TEST(scheduler, a_cancelled_job_is_not_assigned) {
  scheduler s;
  s.enqueue({"1", machine(), 0});
  s.enqueue({"2", machine(), 0});
  EXPECT_TRUE(s.cancel("1"));
  EXPECT_FALSE(s.cancel("1"));
  EXPECT_FALSE(s.cancel("never heard of"));
  EXPECT_EQ(s.queued(), 1u);
  s.set_worker("w", offer(2));
  EXPECT_EQ(assigned(s), "2@w");
  EXPECT_FALSE(s.cancel("2")) << "it is not queued any longer";
}

TEST(scheduler, release_never_goes_below_nothing) {
  scheduler s;
  s.set_worker("w", offer(1));
  s.release("w");
  s.release("never heard of");
  EXPECT_EQ(s.workers().at(0).busy, 0u);
  EXPECT_EQ(s.free_slots(), 1u);
}

TEST(scheduler, a_removed_worker_takes_its_slots_along) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.enqueue({"1", machine(), 0});
  s.enqueue({"2", machine(), 0});
  s.enqueue({"3", machine(), 0});
  s.assign();
  s.remove_worker("w");
  s.release("w");
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.unplaceable().size(), 1u);
  EXPECT_TRUE(s.workers().empty());
}

TEST(scheduler, a_workers_state_has_one_word) {
  struct {
    scheduler::worker_view view;
    const char* word;
  } const cases[] = {
      {{"w", {}, 0}, "starting"},
      {{"w", offer(1), 0}, "idle"},
      {{"w", offer(1), 1}, "busy"},
      {{"w", {machine(), 1, 0, true, {}}, 1}, "draining"},
      {{"w", {{}, 0, 0, false, "no torch"}, 0}, "unavailable"},
  };
  for (const auto& c : cases) EXPECT_EQ(to_string(state_of(c.view)), c.word);
}
