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

// One worker with four slots and 8 GiB, as two coordinators see it.
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
        for (const auto& [worker, kept] : of[who].kept_changes()) {
          std::erase(kept_by, who);
          if (kept) kept_by.push_back(who);
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
  bool kept(std::size_t who) const { return of[who].workers().at(0).kept; }

  struct started {
    std::size_t who;
    std::string job;
    std::uint64_t bytes;
  };
  std::array<scheduler, 2> of;
  std::deque<started> running;      // oldest first
  std::deque<std::size_t> kept_by;  // the first is heeded
  unsigned small_begun = 0;         // of the second one's jobs, in all

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
      if (can_be_kept_ && !kept_by.empty() && kept_by.front() != who) o.taken = o.slots;
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
  w.wants(1, "mine", 8 * GiB);
  w.wants(0, "yours", 8 * GiB);
  unsigned begun = 0;
  std::string order;
  for (; order.size() < 10 && begun < 500 && !w.running.empty(); ++begun) {
    w.end_oldest();
    w.small_one();
    w.settle();
    for (const char* job : {"mine", "yours"}) {
      if (w.runs(job) && order.find(job) == std::string::npos) order += job;
    }
    EXPECT_LE(w.kept_by.size(), 2u);
  }
  EXPECT_TRUE(order == "mineyours" || order == "yoursmine") << order;
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
    EXPECT_FALSE(s.workers().at(0).kept);
    others_have(3);
    EXPECT_EQ(assigned(s), "");
    others_have(4);
  }
  EXPECT_TRUE(s.workers().at(0).kept);
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
