// Memory of workers, which jobs take in steps.
#include "scheduler_harness.hpp"

#include <functional>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t MiB = 1 << 20, GiB = 1 << 30;

scheduler::worker_offer with_memory(unsigned slots, std::uint64_t bytes, std::uint64_t taken = 0) {
  auto o = offer(slots);
  o.memory_bytes = bytes;
  o.memory_taken = taken;
  return o;
}

scheduler::request wants(std::string job, std::uint64_t bytes, unsigned rank = 0) {
  auto r = job_of("team", std::move(job), rank);
  r.memory_bytes = bytes;
  return r;
}

std::uint64_t used_on(const scheduler& s, std::size_t worker = 0) {
  return s.workers().at(worker).memory_used;
}

}  // namespace

TEST(memory_steps, round_up_what_is_wanted_and_down_what_is_there) {
  struct {
    std::uint64_t bytes;
    std::uint64_t wanted;
    std::uint64_t there;
  } const cases[] = {
      {0, 0, 0},
      {1, 64 * MiB, 0},
      {64 * MiB - 1, 64 * MiB, 0},
      {64 * MiB, 64 * MiB, 64 * MiB},
      {64 * MiB + 1, 96 * MiB, 64 * MiB},
      {96 * MiB, 96 * MiB, 96 * MiB},
      {127 * MiB, 128 * MiB, 96 * MiB},
      {GiB, GiB, GiB},
      {GiB + 1, 1536 * MiB, GiB},
      {5 * GiB, 6 * GiB, 4 * GiB},
      {2048 * GiB, 2048 * GiB, 2048 * GiB},
      {~std::uint64_t{0}, 2048 * GiB, 2048 * GiB},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(memory_step_bytes(memory_step_for(c.bytes)), c.wanted) << c.bytes;
    EXPECT_EQ(memory_step_bytes(memory_step_within(c.bytes)), c.there) << c.bytes;
  }
  for (unsigned step = 1; step < memory_steps; ++step) {
    EXPECT_GT(memory_step_bytes(step), memory_step_bytes(step - 1));
    EXPECT_EQ(memory_step_for(memory_step_bytes(step)), step);
    EXPECT_EQ(memory_step_within(memory_step_bytes(step)), step);
  }
}

TEST(scheduler_memory, a_worker_gets_as_many_jobs_as_its_memory_is_for) {
  struct {
    const char* what;
    scheduler::worker_offer offer;
    const char* order;
  } const cases[] = {
      {"for two", with_memory(8, 8 * GiB), "a@w b@w"},
      {"for three, and a bit", with_memory(8, 13 * GiB), "a@w b@w c@w"},
      {"for more than there are slots", with_memory(2, 100 * GiB), "a@w b@w"},
      {"not counted", with_memory(3, 0), "a@w b@w c@w"},
      {"another coordinator's jobs have half", with_memory(8, 8 * GiB, 4 * GiB), "a@w"},
      {"or a little, and there is as much no longer", with_memory(8, 8 * GiB, 1), "a@w"},
      {"or all", with_memory(8, 8 * GiB, 8 * GiB), ""},
      {"or more than there is", with_memory(8, 8 * GiB, 9 * GiB), ""},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", c.offer);
    for (const char* job : {"a", "b", "c"}) s.enqueue(wants(job, 3900 * MiB));
    EXPECT_EQ(assigned(s), c.order) << c.what;
    EXPECT_TRUE(s.unplaceable().empty()) << "it will be free again";
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler_memory, small_jobs_go_on_where_a_large_one_has_no_room) {
  scheduler s;
  s.set_worker("w", with_memory(8, 8 * GiB));
  s.enqueue(wants("large", 6 * GiB));
  s.enqueue(wants("also large", 6 * GiB));
  s.enqueue(wants("small", GiB));
  s.enqueue(job_of("team", "counts for nothing"));
  EXPECT_EQ(assigned(s), "large@w small@w counts for nothing@w");
}

TEST(scheduler_memory, goes_to_a_worker_that_has_it_and_leaves_more_to_others) {
  scheduler s;
  s.set_worker("huge", with_memory(4, 64 * GiB));
  s.set_worker("plain", with_memory(4, 4 * GiB));
  s.enqueue(wants("small", GiB));
  s.enqueue(wants("large", 32 * GiB));
  EXPECT_EQ(assigned(s), "small@plain large@huge") << "of those with as many slots the one with less memory";
  s.set_worker("plain", with_memory(8, 4 * GiB));
  s.enqueue(wants("next", 4 * GiB));
  EXPECT_EQ(assigned(s), "next@huge") << "the one with more slots has not got the memory";
}

TEST(scheduler_memory, comes_back_once_however_its_job_ends) {
  struct {
    const char* what;
    std::function<void(scheduler&)> happens;  // to a, which runs on w
    const char* then;                         // with b waiting
    std::uint64_t used;                       // on w
  } const cases[] = {
      {"nothing", [](scheduler&) {}, "", 4 * GiB},
      {"done or failed", [](scheduler& s) { s.release("a"); }, "b@w", 6 * GiB},
      {"told twice",
       [](scheduler& s) {
         s.release("a");
         s.release("a");
         s.release("never heard of");
       },
       "b@w", 6 * GiB},
      {"its lease moves on",
       [](scheduler& s) {
         s.release("a");
         auto again = wants("a", 4 * GiB);
         again.queued_at -= 1s;
         s.enqueue(again);
       },
       "a@w", 4 * GiB},
      {"its worker leaves and comes back",
       [](scheduler& s) {
         s.remove_worker("w");
         s.release("a");
         s.set_worker("w", with_memory(3, 8 * GiB));
       },
       "b@w", 6 * GiB},
      {"its worker offers anew", [](scheduler& s) { s.set_worker("w", with_memory(3, 8 * GiB)); }, "", 4 * GiB},
      {"its worker has more", [](scheduler& s) { s.set_worker("w", with_memory(3, 10 * GiB)); }, "b@w", 10 * GiB},
      {"its worker has less than it takes", [](scheduler& s) { s.set_worker("w", with_memory(3, GiB)); }, "", 4 * GiB},
      {"its worker counts none", [](scheduler& s) { s.set_worker("w", with_memory(3, 0)); }, "b@w", 10 * GiB},
      {"another coordinator gives it back",
       [](scheduler& s) {
         s.set_worker("w", with_memory(3, 8 * GiB, 4 * GiB));
         s.release("a");
         EXPECT_EQ(assigned(s), "") << "that other one's job has it still";
         s.set_worker("w", with_memory(3, 8 * GiB));
       },
       "b@w", 6 * GiB},
      {"a job that waited is cancelled", [](scheduler& s) { s.cancel("b"); }, "", 4 * GiB},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", with_memory(3, 8 * GiB));
    s.enqueue(wants("a", 4 * GiB));
    s.enqueue(wants("b", 6 * GiB));
    ASSERT_EQ(assigned(s), "a@w") << c.what;
    c.happens(s);
    EXPECT_EQ(assigned(s), c.then) << c.what;
    EXPECT_EQ(used_on(s), c.used) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
    for (const char* job : {"a", "b"}) {
      s.cancel(job);
      s.release(job);
    }
    EXPECT_EQ(used_on(s), 0u) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler_memory, a_job_that_was_not_assigned_here_has_it_all_the_same) {
  scheduler s;
  s.occupy("adopted", "w", "team", false, 5 * GiB);
  s.set_worker("w", with_memory(3, 8 * GiB));
  s.enqueue(wants("a", 4 * GiB));
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.inconsistency(), "");
  s.release("adopted");
  EXPECT_EQ(assigned(s), "a@w");
}

TEST(scheduler_memory, more_than_any_worker_has_is_all_that_the_largest_has) {
  scheduler s;
  s.set_worker("small", with_memory(4, 2 * GiB));
  s.set_worker("large", with_memory(4, 10 * GiB));
  s.occupy("little", "large", "team", false, GiB);
  s.enqueue(wants("huge", 100 * GiB));
  EXPECT_EQ(assigned(s), "") << "9 GiB are free of the 10, and it is to be alone";
  EXPECT_TRUE(s.unplaceable().empty());
  EXPECT_TRUE(s.check_fit(machine()));
  s.release("little");
  EXPECT_EQ(assigned(s), "huge@large");
  s.enqueue(wants("next", 64 * MiB));
  s.enqueue(wants("after", 2 * GiB));
  EXPECT_EQ(assigned(s), "next@small") << "nothing beside it";
  EXPECT_EQ(s.inconsistency(), "");
  s.enqueue(wants("also huge", 100 * GiB));
  EXPECT_EQ(assigned(s), "");
  s.remove_worker("large");
  EXPECT_EQ(assigned(s), "");
  s.release("next");
  EXPECT_EQ(assigned(s), "after@small") << "it is older";
  s.release("after");
  EXPECT_EQ(assigned(s), "also huge@small") << "which is the largest now";
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler_memory, where_the_largest_leaves_the_next_one_does) {
  scheduler s;
  s.set_worker("small", with_memory(1, 2 * GiB));
  s.set_worker("large", with_memory(1, 10 * GiB));
  s.enqueue(wants("first", 10 * GiB));
  s.enqueue(wants("second", 10 * GiB));
  ASSERT_EQ(assigned(s), "first@large");
  s.remove_worker("large");
  EXPECT_EQ(assigned(s), "second@small");
}

namespace {

// One worker that small jobs keep half full, and a large one that waits since the beginning.
struct small_and_large {
  small_and_large() {
    s.set_worker("w", with_memory(4, 8 * GiB));
    for (int i = 0; i < 4; ++i) one_more();
    EXPECT_EQ(running.size(), 4u);
    auto large = wants("large", 6 * GiB, 2);
    large.queued_at = begin;
    s.enqueue(large);
  }
  // A small job comes; returns whether one has started.
  bool one_more() {
    auto small = wants("small " + std::to_string(++made), GiB);
    small.queued_at = begin + std::chrono::milliseconds(made);
    s.enqueue(small);
    return start() > 0;
  }
  std::size_t start() {
    const auto got = s.assign();
    for (const auto& a : got) running.push_back(a.job);
    EXPECT_EQ(s.inconsistency(), "");
    return got.size();
  }
  void end_oldest() {
    s.release(running.front());
    running.erase(running.begin());
    EXPECT_EQ(s.inconsistency(), "");
  }
  bool is_kept() const { return !s.workers().at(0).kept_for.empty(); }
  // Small ones come and go until it is kept.
  unsigned until_kept() {
    unsigned started = 0;
    while (!is_kept() && started < 1'000) {
      end_oldest();
      started += one_more();
    }
    return started;
  }

  const time_point begin{1000s};
  scheduler s;
  std::vector<std::string> running;
  int made = 0;
};

class kept_memory : public ::testing::Test, protected small_and_large {};

}  // namespace

TEST_F(kept_memory, is_freed_for_the_oldest_job_that_has_waited_long_enough_for_it) {
  EXPECT_EQ(until_kept(), limits::job_overtakes_max);
  EXPECT_EQ(s.shortage_of("large").memory_bytes, 6 * GiB);
  EXPECT_EQ(s.shortage_of("large").kept, "w");
  EXPECT_EQ(s.workers().at(0).kept_for, "large");
  EXPECT_EQ(running.size(), 3u);
  one_more();
  EXPECT_EQ(running.size(), 3u) << "a slot and memory are free, for the large one";
  end_oldest();
  EXPECT_EQ(start(), 1u) << "6 GiB are free";
  EXPECT_EQ(running.back(), "large");
  EXPECT_FALSE(is_kept());
  EXPECT_EQ(s.workers().at(0).kept_for, "");
  EXPECT_EQ(s.shortage_of("large").memory_bytes, 0u);
  end_oldest();
  EXPECT_EQ(start(), 1u) << "small ones go on";
}

TEST_F(kept_memory, is_kept_no_longer_when_its_job_goes) {
  until_kept();
  s.cancel("large");
  EXPECT_FALSE(is_kept());
  EXPECT_EQ(start(), 1u);
}

TEST(kept_memory_of, a_worker_that_goes_or_cannot_have_as_much_is_kept_no_longer) {
  struct {
    const char* what;
    std::function<void(scheduler&)> happens;
    bool kept;
  } const cases[] = {
      {"it offers anew", [](scheduler& s) { s.set_worker("w", with_memory(4, 8 * GiB)); }, true},
      {"a larger one comes, too", [](scheduler& s) { s.set_worker("v", with_memory(1, 64 * GiB)); }, true},
      {"its memory is less, and another's is not",
       [](scheduler& s) {
         s.set_worker("v", with_memory(1, 64 * GiB));
         s.mark_full("v");
         s.set_worker("w", with_memory(4, 4 * GiB));
       },
       false},
      {"it has slots no longer", [](scheduler& s) { s.set_worker("w", with_memory(0, 8 * GiB)); }, false},
      {"it leaves", [](scheduler& s) { s.remove_worker("w"); }, false},
      {"it is no such machine", [](scheduler& s) { s.set_worker("w", offer(4, machine("2.12.0"))); }, false},
  };
  for (const auto& c : cases) {
    small_and_large f;
    f.until_kept();
    ASSERT_TRUE(f.is_kept()) << c.what;
    c.happens(f.s);
    EXPECT_EQ(f.s.inconsistency(), "") << c.what;
    EXPECT_EQ(!f.s.workers().empty() && !f.s.workers().back().kept_for.empty(), c.kept) << c.what;
  }
}

TEST_F(kept_memory, is_let_go_where_only_jobs_of_others_have_it) {
  until_kept();
  s.set_worker("w", with_memory(4, 8 * GiB, 3 * GiB));
  while (!running.empty()) {
    EXPECT_TRUE(is_kept());
    end_oldest();
  }
  EXPECT_FALSE(is_kept()) << "who knows for how long";
  EXPECT_EQ(start(), 1u) << "small ones have the rest";
  EXPECT_TRUE(one_more()) << "for as often as before";
  s.set_worker("w", with_memory(4, 8 * GiB));
  EXPECT_EQ(start(), 1u);
  EXPECT_EQ(running.back(), "large");
}

TEST_F(kept_memory, goes_by_age_among_those_that_wait_for_it) {
  auto larger = wants("larger", 8 * GiB);
  larger.queued_at = begin - 1s;
  s.enqueue(larger);
  until_kept();
  end_oldest();
  EXPECT_EQ(start(), 0u) << "6 GiB are free, and the larger one is older";
  while (!running.empty()) end_oldest();
  EXPECT_EQ(start(), 1u);
  EXPECT_EQ(running.back(), "larger");
}

TEST_F(kept_memory, is_not_asked_for_while_another_worker_takes_the_job) {
  s.set_worker("v", with_memory(1, 6 * GiB));
  EXPECT_EQ(start(), 1u);
  EXPECT_EQ(running.back(), "large");
}
