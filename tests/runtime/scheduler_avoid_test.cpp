// Workers that a job is kept away from, since it has failed there.
#include "scheduler_harness.hpp"

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

const time_point begin{1000s};

scheduler::request again(std::string job, std::vector<std::string> avoids, std::uint64_t memory_bytes = 0) {
  auto r = job_of("team", std::move(job));
  r.queued_at = begin;
  r.avoids = std::move(avoids);
  r.memory_bytes = memory_bytes;
  return r;
}

}  // namespace

TEST(scheduler_avoids, a_retry_goes_elsewhere_where_there_is_another_worker) {
  auto gpus = offer(9, with_gpu());
  gpus.gpus = 1;
  auto draining = offer(9);
  draining.draining = true;
  auto large = offer(9), small = offer(1);
  large.memory_bytes = std::uint64_t{16} << 30;
  small.memory_bytes = std::uint64_t{1} << 30;
  struct {
    const char* what;
    std::vector<std::pair<const char*, scheduler::worker_offer>> workers;
    std::vector<std::string> avoids;
    const char* goes_to;
    std::uint64_t memory_bytes = 0;
  } const cases[] = {
      {"another with fewer free slots", {{"a", offer(9)}, {"b", offer(1)}}, {"a"}, "b"},
      {"no other", {{"a", offer(1)}}, {"a"}, "a"},
      {"none that it has not failed on", {{"a", offer(2)}, {"b", offer(1)}}, {"a", "b"}, "a"},
      {"the third", {{"a", offer(9)}, {"b", offer(8)}, {"c", offer(1)}}, {"a", "b"}, "c"},
      {"a scarcer one", {{"a", offer(1)}, {"b", gpus}}, {"a"}, "b"},
      {"another that is no such machine", {{"a", offer(1)}, {"b", offer(1, machine("2.12.0"))}}, {"a"}, "a"},
      {"another that drains", {{"a", offer(1)}, {"b", draining}}, {"a"}, "a"},
      {"another without the memory", {{"a", large}, {"b", small}}, {"a"}, "a", std::uint64_t{8} << 30},
      {"another with the memory", {{"a", large}, {"b", small}}, {"a"}, "b", std::uint64_t{1} << 30},
      {"workers that are gone", {{"b", offer(1)}}, {"a", "c"}, "b"},
  };
  for (const auto& c : cases) {
    scheduler s;
    for (const auto& [id, o] : c.workers) s.set_worker(id, o);
    s.enqueue(again("job", c.avoids, c.memory_bytes));
    EXPECT_EQ(assigned(s), std::string("job@") + c.goes_to) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler_avoids, it_waits_for_another_worker_that_is_busy_though_not_for_long) {
  scheduler s;
  s.set_worker("a", offer(1));
  s.set_worker("b", offer(1));
  s.enqueue(job_of("team", "one"));
  s.enqueue(job_of("team", "two"));
  ASSERT_EQ(assigned(s), "one@a two@b");
  s.enqueue(again("job", {"a"}));
  s.release("one");
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.shortage_of("job").avoids, std::vector<std::string>{"a"});
  s.avoid_no_longer(begin - 1ms);
  EXPECT_EQ(assigned(s), "") << "its time has not come";
  EXPECT_EQ(s.inconsistency(), "");
  s.avoid_no_longer(begin);
  EXPECT_EQ(s.inconsistency(), "");
  EXPECT_EQ(assigned(s), "job@a");
}

TEST(scheduler_avoids, others_take_what_it_leaves) {
  scheduler s;
  s.set_worker("a", offer(1));
  s.set_worker("b", offer(1));
  s.occupy("busy", "b", "team");
  s.enqueue(again("job", {"a"}));
  s.enqueue(job_of("team", "other", 2));
  EXPECT_EQ(assigned(s), "other@a");
  s.release("busy");
  EXPECT_EQ(assigned(s), "job@b");
}

TEST(scheduler_avoids, it_is_content_with_the_same_worker_once_the_others_have_gone) {
  for (const bool leaves : {true, false}) {
    scheduler s;
    s.set_worker("a", offer(1));
    s.set_worker("b", offer(1));
    s.occupy("busy", "b", "team");
    s.enqueue(again("job", {"a"}));
    ASSERT_EQ(assigned(s), "");
    auto o = offer(1);
    o.draining = true;
    leaves ? s.remove_worker("b") : s.set_worker("b", o);
    EXPECT_EQ(assigned(s), "job@a");
    EXPECT_EQ(s.inconsistency(), "");
  }
}

TEST(scheduler_avoids, a_worker_that_has_come_back_is_another) {
  scheduler s;
  s.set_worker("a", offer(1));
  s.set_worker("b", offer(1));
  s.occupy("busy", "b", "team");
  s.enqueue(again("job", {"a"}));
  ASSERT_EQ(assigned(s), "");
  s.remove_worker("a");
  EXPECT_EQ(s.inconsistency(), "");
  s.set_worker("a", offer(1));
  EXPECT_EQ(assigned(s), "job@a");
}

TEST(scheduler_avoids, however_many_fail_there_are_no_more_classes_than_may_be) {
  scheduler s;
  const auto workers = limits::avoiding_classes_max + 5;
  for (std::size_t i = 0; i < workers; ++i) s.set_worker("w" + std::to_string(i), offer(1));
  for (std::size_t i = 0; i < workers; ++i) {
    s.occupy("busy" + std::to_string(i), "w" + std::to_string(i), "team");
    s.enqueue(again("job" + std::to_string(i), {"w" + std::to_string(i)}));
  }
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.inconsistency(), "");
  s.release("busy0");
  s.release("busy" + std::to_string(workers - 1));
  EXPECT_EQ(s.assign().size(), 2u);
  EXPECT_EQ(s.inconsistency(), "");
  s.avoid_no_longer(begin);
  EXPECT_EQ(s.inconsistency(), "");
  EXPECT_EQ(s.queued(), workers - 2);
}

namespace {

constexpr std::uint64_t GiB = 1 << 30;

// A job that has failed on "a", which is full, and waits for more memory of "b" than small ones leave there.
class one_that_is_overtaken {
public:
  one_that_is_overtaken() {
    auto o = offer(4);
    o.memory_bytes = 8 * GiB;
    o.can_be_kept = true;
    for (const char* id : {"a", "b"}) s.set_worker(id, o);
    for (int i = 0; i < 4; ++i) s.occupy("busy" + std::to_string(i), "a", "team", false, 2 * GiB);
    s.enqueue(again("large", {"a"}, 6 * GiB));
    for (int i = 0; i < 4; ++i) s.occupy("small" + std::to_string(made++), "b", "team", false, 2 * GiB);
  }
  bool is_kept() const { return s.shortage_of("large").kept == "b"; }
  // Another one starts on "b", as the oldest there ends; false when it is left to the large one.
  bool small_one() {
    s.release("small" + std::to_string(ended++));
    auto r = job_of("team", "small" + std::to_string(made++));
    r.queued_at = begin + std::chrono::milliseconds(made);
    r.memory_bytes = 2 * GiB;
    s.enqueue(r);
    const bool started = !assigned(s).empty();
    EXPECT_EQ(s.inconsistency(), "");
    return started;
  }
  unsigned small_ones_until_kept() {
    unsigned started = 0;
    while (!is_kept() && started < 100) started += small_one();
    return started;
  }

  scheduler s;
  int made = 0, ended = 0;
};

}  // namespace

TEST(scheduler_avoids, one_that_may_go_anywhere_has_been_overtaken_as_often_as_before) {
  one_that_is_overtaken f;
  for (unsigned i = 0; i + 1 < limits::job_overtakes_max; ++i) EXPECT_TRUE(f.small_one());
  f.s.avoid_no_longer(begin);
  EXPECT_EQ(f.s.inconsistency(), "");
  EXPECT_FALSE(f.is_kept());
  EXPECT_EQ(f.small_ones_until_kept(), 1u);
}

TEST(scheduler_avoids, one_that_may_go_anywhere_still_has_the_worker_that_is_kept_for_it) {
  one_that_is_overtaken f;
  EXPECT_EQ(f.small_ones_until_kept(), limits::job_overtakes_max);
  ASSERT_EQ(f.s.kept_changes().size(), 1u);
  f.s.avoid_no_longer(begin);
  EXPECT_EQ(f.s.inconsistency(), "");
  EXPECT_TRUE(f.is_kept());
  EXPECT_TRUE(f.s.kept_changes().empty()) << "the worker has it in its line as before";
}
