// GPUs, which a job that measures has to itself.
#include "scheduler_harness.hpp"

#include <functional>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

scheduler::worker_offer gpu_offer(unsigned slots, unsigned gpus = 1, unsigned gpus_taken = 0) {
  auto o = offer(slots, with_gpu());
  o.gpus = gpus;
  o.gpus_taken = gpus_taken;
  return o;
}

scheduler::request measuring(std::string job, unsigned rank = 0) {
  return {std::move(job), with_gpu(), rank, "team", 0, {}, 0, true};
}
scheduler::request compiling(std::string job, unsigned rank = 0) {
  return {std::move(job), with_gpu(), rank, "team", 0, {}};
}

}  // namespace

TEST(scheduler_gpu, of_jobs_that_measure_a_worker_gets_as_many_as_it_has_gpus) {
  struct {
    const char* what;
    scheduler::worker_offer offer;
    const char* order;
  } const cases[] = {
      {"one GPU, many slots", gpu_offer(4), "m1@w c1@w c2@w"},
      {"two GPUs", gpu_offer(4, 2), "m1@w m2@w c1@w c2@w"},
      {"more GPUs than slots", gpu_offer(1, 8), "m1@w"},
      {"another coordinator's job has the GPU", gpu_offer(4, 1, 1), "c1@w c2@w"},
      {"or has one of two", gpu_offer(4, 2, 1), "m1@w c1@w c2@w"},
      {"more are taken than there are", gpu_offer(4, 1, 3), "c1@w c2@w"},
  };
  for (const auto& c : cases) {
    scheduler s;
    for (const char* job : {"m1", "m2"}) s.enqueue(measuring(job));
    for (const char* job : {"c1", "c2"}) s.enqueue(compiling(job));
    s.set_worker("w", c.offer);
    EXPECT_EQ(assigned(s), c.order) << c.what;
    EXPECT_TRUE(s.unplaceable().empty()) << "they will be free again";
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler_gpu, goes_to_a_worker_whose_gpu_is_free) {
  scheduler s;
  s.set_worker("a", gpu_offer(4));
  s.set_worker("b", gpu_offer(2));
  s.enqueue(measuring("m1"));
  s.enqueue(measuring("m2"));
  s.enqueue(measuring("m3"));
  EXPECT_EQ(assigned(s), "m1@a m2@b") << "the one with the most free slots has a GPU no longer";
}

TEST(scheduler_gpu, comes_back_once_however_its_job_ends) {
  struct {
    const char* what;
    std::function<void(scheduler&)> happens;  // to m1, which runs on w
    const char* then;                         // with m2 waiting
    std::size_t measuring;                    // on w
  } const cases[] = {
      {"nothing", [](scheduler&) {}, "", 1},
      {"done or failed", [](scheduler& s) { s.release("m1"); }, "m2@w", 1},
      {"told twice",
       [](scheduler& s) {
         s.release("m1");
         s.release("m1");
         s.release("never heard of");
       },
       "m2@w", 1},
      {"another job ends",
       [](scheduler& s) {
         s.enqueue(compiling("c"));
         s.assign();
         s.release("c");
       },
       "", 1},
      {"its lease moves on",
       [](scheduler& s) {
         s.release("m1");
         auto again = measuring("m1");
         again.queued_at -= 1s;
         s.enqueue(again);
       },
       "m1@w", 1},
      {"its worker leaves and comes back",
       [](scheduler& s) {
         s.remove_worker("w");
         s.release("m1");
         s.set_worker("w", gpu_offer(3));
       },
       "m2@w", 1},
      {"its worker offers anew", [](scheduler& s) { s.set_worker("w", gpu_offer(3)); }, "", 1},
      {"its worker has a second GPU", [](scheduler& s) { s.set_worker("w", gpu_offer(3, 2)); }, "m2@w", 2},
      {"its worker is full, and trusted again",
       [](scheduler& s) {
         s.mark_full("w");
         s.trust_again();
       },
       "", 1},
      {"another coordinator gives it back",
       [](scheduler& s) {
         s.set_worker("w", gpu_offer(3, 1, 1));
         s.release("m1");
         EXPECT_EQ(assigned(s), "") << "that other one's job has it still";
         s.set_worker("w", gpu_offer(3));
       },
       "m2@w", 1},
      {"a job that waited is cancelled", [](scheduler& s) { s.cancel("m2"); }, "", 1},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", gpu_offer(3));
    s.enqueue(measuring("m1"));
    s.enqueue(measuring("m2"));
    ASSERT_EQ(assigned(s), "m1@w") << c.what;
    c.happens(s);
    EXPECT_EQ(assigned(s), c.then) << c.what;
    EXPECT_EQ(s.workers().at(0).measuring, c.measuring) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
    for (const char* job : {"m1", "m2"}) {
      s.cancel(job);
      s.release(job);
    }
    EXPECT_EQ(s.workers().at(0).measuring, 0u) << c.what;
    s.enqueue(measuring("last"));
    EXPECT_EQ(assigned(s), "last@w") << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler_gpu, a_job_that_was_not_assigned_here_has_it_all_the_same) {
  scheduler s;
  s.occupy("adopted", "w", "team", true);
  s.set_worker("w", gpu_offer(3));
  s.enqueue(measuring("m"));
  s.enqueue(compiling("c"));
  EXPECT_EQ(assigned(s), "c@w");
  EXPECT_EQ(s.inconsistency(), "");
  s.release("adopted");
  EXPECT_EQ(assigned(s), "m@w");
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler_gpu, whoever_waits_for_one_holds_up_nobody) {
  scheduler s;
  s.set_worker("w", gpu_offer(2));
  s.enqueue(measuring("m1"));
  s.enqueue(measuring("m2"));
  EXPECT_EQ(assigned(s), "m1@w");
  // For long enough that it would be its turn long ago.
  for (unsigned i = 0; i < 10 * limits::job_overtakes_max; ++i) {
    const auto job = "c" + std::to_string(i);
    s.enqueue(compiling(job, 1));
    EXPECT_EQ(assigned(s), job + "@w") << "a later stage, and the slot is free";
    s.release(job);
  }
  s.enqueue(job_of("team", "on a CPU", 2));
  EXPECT_EQ(assigned(s), "on a CPU@w");
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler_gpu, whoever_waits_for_one_has_a_turn_however_much_else_there_is) {
  const time_point begin{1000s};
  scheduler s;
  s.set_worker("w", gpu_offer(2));
  auto waits = measuring("waits", 1);
  waits.queued_at = begin;
  int made = 0;
  const auto next = [&] {
    auto other = compiling("c" + std::to_string(++made));
    other.queued_at = begin + std::chrono::milliseconds(made);
    return other;
  };
  s.enqueue(measuring("has it"));
  s.enqueue(next());
  ASSERT_EQ(assigned(s), "has it@w c1@w");
  s.enqueue(waits);
  // While the GPU is taken, what can run does, and that counts for nothing.
  std::string running = "c1";
  const auto one_more = [&] {
    s.enqueue(next());
    s.release(running);
    const auto got = s.assign();
    EXPECT_EQ(got.size(), 1u);
    running = got.at(0).job;
  };
  for (unsigned i = 0; i < 3 * limits::job_overtakes_max; ++i) one_more();
  EXPECT_TRUE(s.is_queued("waits"));
  // First stages take the slot that comes free with the GPU, and all others, as often as they may.
  s.enqueue(next());
  s.release("has it");
  ASSERT_EQ(s.assign().size(), 1u);
  unsigned overtaken = 1;
  for (; s.is_queued("waits") && overtaken < 10 * limits::job_overtakes_max; ++overtaken) one_more();
  EXPECT_EQ(running, "waits");
  EXPECT_EQ(overtaken, limits::job_overtakes_max + 1);
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler_gpu, where_there_is_none_it_says_so) {
  scheduler s;
  s.set_worker("w", gpu_offer(2, 0));
  s.enqueue(measuring("m"));
  EXPECT_EQ(assigned(s), "");
  ASSERT_EQ(s.unplaceable().size(), 1u);
  EXPECT_EQ(s.unplaceable().front().second.message, "a GPU to measure on wanted, the worker has none");
  EXPECT_TRUE(s.check_fit(with_gpu())) << "it compiles for one";
  EXPECT_EQ(s.slots_for(with_gpu(), 0, true), 0u);
  s.set_worker("w", gpu_offer(2));
  EXPECT_EQ(s.slots_for(with_gpu(), 0, true), 1u);
  EXPECT_EQ(s.slots_for(with_gpu()), 2u);
  EXPECT_EQ(assigned(s), "m@w");
}
