// The scheduler under thousands of random events.
#include "scheduler_harness.hpp"

#include <map>
#include <random>
#include <set>

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(scheduler, books_agree_whatever_happens) {
  const platform targets[] = {machine(), machine("2.13.0", "x86-64-v2"), machine("2.12.0"), with_gpu(),
                              machine("2.13.0", "x86-64-v4")};
  for (unsigned seed = 1; seed <= 5; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random); };
    const auto worker = [&] { return "w" + std::to_string(pick(6)); };
    scheduler s;
    std::set<std::string> running;
    std::map<std::string, std::uint64_t> told;   // workers that are kept, as far as they know, and by which number
    std::map<std::string, std::uint64_t> ended;  // of these, of which a job that starts there says that it has ended
    for (unsigned i = 0; i < 3'000; ++i) {
      switch (pick(9)) {
        case 0:
        case 1:
          s.enqueue({std::to_string(i), targets[pick(5)], pick(3), "s" + std::to_string(pick(3)),
                     static_cast<double>(pick(3)), time_point(std::chrono::seconds(i / 10)), 0, pick(2) == 0,
                     std::uint64_t{pick(6)} << 29,
                     pick(4) == 0 ? std::vector{worker(), worker()} : std::vector<std::string>()});
          break;
        case 2:
          s.set_worker(worker(), {targets[pick(5)],
                                  pick(4),
                                  pick(3),
                                  pick(8) == 0,
                                  pick(4) == 0 ? "why" : "",
                                  {},
                                  0,
                                  pick(3),
                                  pick(2),
                                  std::uint64_t{pick(5)} << 30,
                                  std::uint64_t{pick(3)} << 29,
                                  pick(2) == 0});
          break;
        case 3: {
          const auto gone = worker();
          told.erase(gone);
          ended.erase(gone);
          s.remove_worker(gone);
        } break;
        case 4:
          s.mark_full(worker());
          break;
        case 5:
          s.cancel(std::to_string(pick(i + 1)));
          break;
        case 6:
          if (!running.empty()) s.release(*std::next(running.begin(), pick(static_cast<unsigned>(running.size()))));
          break;
        case 7:
          // New, or from the queue.
          if (const auto job = std::to_string(pick(2) == 0 ? i : pick(i + 1)); !s.worker_of(job)) {
            s.occupy(job, worker(), "s0", pick(2) == 0, std::uint64_t{pick(4)} << 29);
            running.insert(job);
          }
          break;
        default:
          s.trust_again();
          s.keep_no_longer(worker());
          s.avoid_no_longer(time_point(std::chrono::seconds(i / 20)));
      }
      for (const auto& a : s.assign()) {
        running.insert(a.job);
        if (a.ends_keep == 0) continue;
        ASSERT_EQ(told[a.worker], a.ends_keep);
        ASSERT_TRUE(ended.emplace(a.worker, a.ends_keep).second) << "another job has said so";
      }
      if (pick(3) == 0) {
        for (const auto& change : s.kept_changes()) {
          auto& number = told[change.worker];
          ASSERT_EQ(number, change.kept ? 0 : change.number);
          if (!change.kept) {
            ASSERT_EQ(change.with_job, ended.erase(change.worker) == 1);
          }
          number = change.kept ? change.number : 0;
        }
        ASSERT_TRUE(ended.empty());
      }
      std::erase_if(running, [&](const std::string& job) { return s.worker_of(job) == nullptr; });
      ASSERT_EQ(s.inconsistency(), "") << "seed " << seed << ", step " << i;
      ASSERT_EQ(running.size(), s.running());
    }
    for (unsigned i = 0; i < 3'000; ++i) s.cancel(std::to_string(i));
    for (const auto& job : running) s.release(job);
    for (unsigned w = 0; w < 6; ++w) s.remove_worker("w" + std::to_string(w));
    EXPECT_EQ(s.queued() + s.running() + s.slots() + s.free_slots(), 0u);
    EXPECT_EQ(s.inconsistency(), "");
  }
}
