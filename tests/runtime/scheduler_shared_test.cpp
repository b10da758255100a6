// Schedulers that share a worker's memory: each knows what jobs of the others have there, and the worker heeds the one
// that keeps it.
#include "scheduler_harness.hpp"

#include <algorithm>
#include <array>
#include <deque>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t GiB = 1 << 30;

// One worker with four slots and 8 GiB, as three coordinators see it.
class shared_worker {
public:
  explicit shared_worker(bool can_be_kept) : can_be_kept_(can_be_kept) { offer(); }

  void wants(std::size_t who, std::string job, std::uint64_t bytes) {
    auto r = job_of("team", std::move(job));
    r.memory_bytes = bytes;
    r.queued_at = time_point(std::chrono::milliseconds(++made_));
    of[who].enqueue(r);
  }
  // All that can start, and what the worker then says to each.
  void settle() {
    for (bool news = true; news;) {
      news = false;
      for (std::size_t who = 0; who < of.size(); ++who) {
        for (const auto& a : of[who].assign()) {
          running.push_back({who, a.job, a.memory_bytes});
          small_begun += who == 1;
          news = true;
        }
        for (const auto& change : of[who].kept_changes()) {
          const std::pair one(who, change.number);
          change.kept ? kept_by.push_back(one) : void(std::erase(kept_by, one));
          news = true;
        }
        if (news) offer();
        EXPECT_EQ(of[who].inconsistency(), "");
      }
    }
  }
  void end_oldest() {
    const auto ended = running.front();
    running.pop_front();
    of[ended.who].release(ended.job);
    offer();
    settle();
  }
  bool runs(const std::string& job) const {
    return std::any_of(running.begin(), running.end(), [&](const auto& r) { return r.job == job; });
  }
  // The second one always has small jobs to begin; how many begin before that job does, or `most`.
  unsigned small_ones_before(const std::string& job, unsigned most) {
    const auto before = small_begun;
    unsigned begun = 0;
    while (!runs(job) && begun < most) {
      if (running.empty()) return most;
      end_oldest();
      small_one();
      settle();
      begun = small_begun - before;
    }
    return begun;
  }
  void small_one() { wants(1, "small " + std::to_string(made_), 2 * GiB); }
  void small_ones() {
    for (int i = 0; i < 8; ++i) small_one();
    settle();
  }
  bool kept(std::size_t who) const { return !of[who].workers().at(0).kept_for.empty(); }

  struct started {
    std::size_t who;
    std::string job;
    std::uint64_t bytes;
  };
  std::array<scheduler, 3> of;
  std::deque<started> running;                                // oldest first
  std::deque<std::pair<std::size_t, std::uint64_t>> kept_by;  // and the number of the keep; the first is heeded
  unsigned small_begun = 0;                                   // of the second one's jobs, in all

private:
  void offer() {
    for (std::size_t who = 0; who < of.size(); ++who) {
      auto o = fxfarm::offer(4);
      o.memory_bytes = 8 * GiB;
      o.can_be_kept = can_be_kept_;
      for (const auto& r : running) {
        if (r.who == who) continue;
        ++o.taken;
        o.memory_taken += r.bytes;
      }
      if (can_be_kept_ && !kept_by.empty() && kept_by.front().first != who) o.taken = o.slots;
      of[who].set_worker("w", o);
    }
  }

  bool can_be_kept_;
  int made_ = 0;
};

}  // namespace

TEST(shared_memory, goes_to_others_for_ever_where_the_worker_does_not_heed_who_keeps_it) {
  shared_worker w(false);
  w.small_ones();
  ASSERT_EQ(w.running.size(), 4u);
  w.wants(0, "large", 6 * GiB);
  EXPECT_EQ(w.small_ones_before("large", 500), 500u);
}

TEST(shared_memory, is_freed_for_a_large_job_that_others_jobs_have_overtaken_often_enough) {
  shared_worker w(true);
  w.small_ones();
  w.wants(0, "large", 6 * GiB);
  const auto overtaken = w.small_ones_before("large", 500);
  EXPECT_EQ(overtaken, limits::job_overtakes_max);
  EXPECT_TRUE(w.runs("large"));
  EXPECT_FALSE(w.kept(0));
  EXPECT_TRUE(w.kept_by.empty()) << "it has been told so";
  w.end_oldest();
  EXPECT_TRUE(w.runs("large"));
  EXPECT_EQ(w.running.back().who, 1u) << "others go on beside it";
}

TEST(shared_memory, is_freed_for_one_after_the_other) {
  shared_worker w(true);
  w.small_ones();
  for (const char* job : {"first", "second", "third"}) w.wants(0, job, 8 * GiB);
  for (const char* job : {"first", "second", "third"}) EXPECT_LT(w.small_ones_before(job, 500), 500u) << job;
}

TEST(shared_memory, goes_to_who_has_asked_first) {
  shared_worker w(true);
  w.small_ones();
  w.wants(2, "third's", 8 * GiB);
  w.wants(0, "first's", 8 * GiB);
  for (unsigned ended = 0; w.kept_by.size() < 2 && ended < 500; ++ended) {
    w.end_oldest();
    w.small_one();
    w.settle();
  }
  ASSERT_EQ(w.kept_by.size(), 2u) << "both see the same starts";
  const auto first = w.kept_by[0].first, second = w.kept_by[1].first;
  ASSERT_NE(first, second);
  std::vector<std::size_t> order;
  for (unsigned ended = 0; order.size() < 2 && ended < 100 && !w.running.empty(); ++ended) {
    w.end_oldest();
    w.small_one();
    w.settle();
    if (w.running.empty() || w.running.back().bytes < 8 * GiB) continue;
    const auto who = w.running.back().who;
    if (order.empty() || order.back() != who) order.push_back(who);
  }
  EXPECT_EQ(order, (std::vector{first, second}));
  EXPECT_TRUE(w.kept_by.empty());
}

TEST(shared_memory, is_no_longer_kept_when_its_job_goes_or_has_waited_too_long) {
  for (const bool cancelled : {true, false}) {
    shared_worker w(true);
    w.small_ones();
    w.wants(0, "large", 8 * GiB);
    for (int i = 0; i < 100 && !w.kept(0); ++i) {
      w.end_oldest();
      w.small_one();
      w.settle();
    }
    ASSERT_TRUE(w.kept(0));
    ASSERT_EQ(w.kept_by.size(), 1u);
    const auto before = w.running.size();
    w.small_one();
    w.settle();
    ASSERT_EQ(w.running.size(), before) << "others have nothing of it";
    if (cancelled) {
      w.of[0].cancel("large");
    } else {
      w.of[0].keep_no_longer("w");
    }
    w.settle();
    EXPECT_TRUE(w.kept_by.empty());
    EXPECT_EQ(w.running.size(), 4u) << "small ones go on";
    if (!cancelled) {
      EXPECT_LT(w.small_ones_before("large", 500), 500u) << "it has another occasion";
    }
  }
}

TEST(shared_memory, is_kept_although_only_jobs_of_others_have_it) {
  scheduler s;
  auto o = offer(4);
  o.memory_bytes = 8 * GiB;
  o.can_be_kept = true;
  s.set_worker("w", o);
  auto large = job_of("team", "large");
  large.memory_bytes = 6 * GiB;
  const auto others_have = [&](unsigned jobs) {
    o.taken = jobs;
    o.memory_taken = jobs * 2 * GiB;
    s.set_worker("w", o);
  };
  others_have(3);
  s.enqueue(large);
  for (unsigned i = 0; i < limits::job_overtakes_max; ++i) {
    EXPECT_EQ(s.workers().at(0).kept_for, "");
    others_have(3);
    EXPECT_EQ(assigned(s), "");
    others_have(4);
  }
  EXPECT_EQ(s.workers().at(0).kept_for, "large");
  EXPECT_EQ(s.shortage_of("large").kept, "w");
  const auto told = s.kept_changes();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(told[0].kept);
  others_have(2);
  EXPECT_EQ(assigned(s), "");
  EXPECT_TRUE(s.kept_changes().empty()) << "it is told once";
  others_have(1);
  EXPECT_EQ(assigned(s), "large@w");
  EXPECT_FALSE(s.kept_changes().at(0).kept);
}

TEST(shared_memory, the_next_class_that_keeps_a_worker_asks_for_itself) {
  scheduler s;
  auto o = offer(4);
  o.memory_bytes = 8 * GiB;
  o.can_be_kept = true;
  s.set_worker("w", o);
  const auto others_have = [&](unsigned jobs) {
    o.taken = jobs;
    o.memory_taken = jobs * 2 * GiB;
    s.set_worker("w", o);
  };
  const auto wants = [&](const char* job, std::uint64_t bytes, int ms) {
    auto r = job_of("team", job);
    r.memory_bytes = bytes;
    r.queued_at = time_point(std::chrono::milliseconds(ms));
    s.enqueue(r);
  };
  others_have(3);
  wants("first", 4 * GiB, 1);
  wants("second", 8 * GiB, 2);
  for (unsigned i = 0; i < limits::job_overtakes_max; ++i) {
    others_have(3);
    EXPECT_EQ(assigned(s), "");
    others_have(4);
  }
  const auto asked = s.kept_changes();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_NE(asked[0].number, 0u);
  wants("small", 1 * GiB, 3);
  others_have(1);
  const auto started = s.assign();
  ASSERT_EQ(started.size(), 1u);
  EXPECT_EQ(started[0].job, "first");
  EXPECT_EQ(started[0].ends_keep, asked[0].number) << "which is told with the job";
  ASSERT_EQ(s.shortage_of("second").kept, "w");
  const auto told = s.kept_changes();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_FALSE(told[0].kept);
  EXPECT_TRUE(told[0].with_job);
  EXPECT_EQ(told[0].number, asked[0].number);
  EXPECT_TRUE(told[1].kept);
  EXPECT_NE(told[1].number, asked[0].number);
  EXPECT_TRUE(s.kept_changes().empty());
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(shared_memory, one_that_is_kept_no_longer_is_told_so_by_itself_where_no_job_starts_there) {
  shared_worker w(true);
  w.small_ones();
  w.wants(0, "large", 8 * GiB);
  for (int i = 0; i < 100 && !w.kept(0); ++i) {
    w.end_oldest();
    w.small_one();
    w.settle();
  }
  ASSERT_TRUE(w.kept(0));
  const auto number = w.kept_by.at(0).second;
  w.of[0].cancel("large");
  EXPECT_TRUE(w.of[0].assign().empty());
  const auto told = w.of[0].kept_changes();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_FALSE(told[0].kept);
  EXPECT_FALSE(told[0].with_job);
  EXPECT_EQ(told[0].number, number);
}
