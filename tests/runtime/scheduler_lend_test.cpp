// Slots that nobody waits for, lent to what helps a job.
#include "scheduler_harness.hpp"

using namespace fxfarm;

namespace {

constexpr std::uint64_t GiB = 1 << 30;

scheduler::worker_offer helper(unsigned slots, platform runs_on = machine()) {
  auto o = offer(slots, std::move(runs_on));
  o.can_help = true;
  return o;
}

class scheduler_lend : public ::testing::Test {
protected:
  std::string lend(const std::string& name, std::uint64_t memory_bytes = 0, const platform& target = machine()) {
    auto worker = s.lend(name, target, "team", memory_bytes);
    EXPECT_EQ(s.inconsistency(), "");
    return worker;
  }

  scheduler s;
};

}  // namespace

TEST_F(scheduler_lend, takes_a_slot_until_it_is_released) {
  EXPECT_EQ(lend("k1"), "");
  s.set_worker("w", helper(2));
  EXPECT_EQ(lend("k1"), "w");
  EXPECT_EQ(lend("k2"), "w");
  EXPECT_EQ(lend("k3"), "") << "none is idle";
  s.enqueue(job_of("team", "job"));
  EXPECT_EQ(assigned(s), "");
  s.release("k1");
  EXPECT_EQ(assigned(s), "job@w");
  s.release("k2");
  s.release("job");
  EXPECT_EQ(s.free_slots(), 2u);
  EXPECT_EQ(s.inconsistency(), "");
}

TEST_F(scheduler_lend, goes_where_most_slots_are_free) {
  s.set_worker("small", helper(1));
  s.set_worker("large", helper(3));
  EXPECT_EQ(lend("k1"), "large");
  EXPECT_EQ(lend("k2"), "large");
  EXPECT_EQ(lend("k3"), "small");
  EXPECT_EQ(lend("k4"), "large");
  EXPECT_EQ(lend("k5"), "");
}

TEST_F(scheduler_lend, passes_over_workers_that) {
  struct {
    const char* what;
    scheduler::worker_offer worker;
  } const cases[] = {
      {"do not know how", offer(1)},
      {"have another torch", helper(1, machine("2.11.0"))},
      {"lack what the target's CPU has", helper(1, machine("2.13.0", "x86-64-v2"))},
      {"drain",
       [] {
         auto o = helper(1);
         o.draining = true;
         return o;
       }()},
      {"have too little memory",
       [] {
         auto o = helper(1);
         o.memory_bytes = 2 * GiB;
         o.memory_taken = GiB + GiB / 2;
         return o;
       }()},
  };
  for (const auto& c : cases) {
    s.set_worker("w", c.worker);
    EXPECT_EQ(lend("k", GiB), "") << c.what;
  }
  s.set_worker("w", helper(1));
  EXPECT_EQ(lend("k", GiB), "w");
}

TEST_F(scheduler_lend, prefers_workers_that_few_others_could_use) {
  s.set_worker("a-gpu", helper(4, with_gpu()));
  s.set_worker("best", helper(2, machine("2.13.0", "x86-64-v4")));
  s.set_worker("plain", helper(1));
  EXPECT_EQ(lend("k1"), "plain");
  EXPECT_EQ(lend("k2"), "best");
}

TEST_F(scheduler_lend, takes_memory_as_a_job_does) {
  auto o = helper(4);
  o.memory_bytes = 2 * GiB;
  s.set_worker("w", o);
  EXPECT_EQ(lend("k1", GiB), "w");
  EXPECT_EQ(lend("k2", GiB), "w");
  EXPECT_EQ(lend("k3", GiB), "");
  s.release("k1");
  EXPECT_EQ(lend("k4", GiB), "w");
}

TEST_F(scheduler_lend, loses_what_was_lent_with_its_worker) {
  s.set_worker("w", helper(1));
  EXPECT_EQ(lend("k1"), "w");
  s.remove_worker("w");
  s.release("k1");
  EXPECT_EQ(s.running(), 0u);
  EXPECT_EQ(s.inconsistency(), "");
}

TEST_F(scheduler_lend, takes_no_memory_that_a_job_waits_for) {
  auto o = helper(4);
  o.memory_bytes = 8 * GiB;
  s.set_worker("w", o);
  auto first = job_of("team", "first");
  first.memory_bytes = 4 * GiB;
  auto large = job_of("team", "large");
  large.memory_bytes = 6 * GiB;
  s.enqueue(first);
  EXPECT_EQ(assigned(s), "first@w");
  s.enqueue(large);
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(lend("k1", GiB), "");
  s.release("first");
  EXPECT_EQ(assigned(s), "large@w");
  EXPECT_EQ(lend("k1", GiB), "w");
}

TEST_F(scheduler_lend, passes_over_whom_it_is_told_to) {
  s.set_worker("small", helper(1));
  s.set_worker("large", helper(3));
  EXPECT_EQ(s.lend("k1", machine(), "team", 0, {"large", "gone"}), "small");
  EXPECT_EQ(s.lend("k2", machine(), "team", 0, {"large", "gone"}), "");
  EXPECT_EQ(lend("k2"), "large");
}
