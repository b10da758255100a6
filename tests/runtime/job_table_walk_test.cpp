// The job table under thousands of random events.
#include "job_table_harness.hpp"

#include <algorithm>
#include <random>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

// Plays clients and workers at random and keeps its own account of what must be so.
class walk {
public:
  explicit walk(unsigned seed) : random_(seed) {}

  void step() {
    now_ += std::chrono::milliseconds(pick(3000));
    switch (pick(10)) {
      case 0:
      case 1:
      case 2: {
        const auto stage = std::to_string(pick(12));
        static_cast<void>(jobs_.admit(wanted(stage, "g" + std::to_string(std::stoi(stage) % 4)), peer(), now_).ok());
        break;
      }
      case 3:
        jobs_.graph_arrived("g" + std::to_string(pick(4)), now_);
        break;
      case 4:
        for (const auto& key : in(job_state::queued)) {
          const auto worker = this->worker();
          held_[jobs_.start(key, worker, now_)] = worker;
          break;
        }
        break;
      case 5:
        for (const auto& key : in(job_state::running)) {
          const auto job = *jobs_.find(key);
          EXPECT_EQ(jobs_.finish("nobody", job.attempt), nullptr);
          EXPECT_NE(jobs_.finish(job.worker, job.attempt), nullptr);
          break;
        }
        break;
      case 6:
        for (const auto& key : in(job_state::storing)) {
          EXPECT_TRUE(jobs_.remove(key));
          break;
        }
        break;
      case 7:
        for (const auto& key : in(job_state::running)) {
          const auto job = *jobs_.find(key);
          const errc codes[] = {errc::engine_crashed, errc::compile_failed, errc::busy};
          EXPECT_TRUE(jobs_.fail(job.worker, job.attempt, {codes[pick(3)], "why"}, now_));
          break;
        }
        break;
      case 8:
        pick(2) == 0 ? static_cast<void>(jobs_.unsubscribe_all(peer()))
                     : static_cast<void>(jobs_.unsubscribe(peer(), {std::to_string(pick(12))}));
        break;
      default:
        pick(2) == 0 ? static_cast<void>(jobs_.expire(now_))
                     : static_cast<void>(jobs_.worker_lost(worker(), {errc::unreachable, "gone"}, now_));
    }
  }

  void check() const {
    std::map<job_state, std::size_t> counted{
        {job_state::wants_graph, 0}, {job_state::queued, 0}, {job_state::running, 0}, {job_state::storing, 0}};
    std::map<std::string, bool> wants, uses;
    for (const auto& [key, job] : jobs_.jobs()) {
      ++counted[job.state];
      EXPECT_EQ(key, job.request.stage_key);
      const bool started = job.state == job_state::running || job.state == job_state::storing;
      EXPECT_EQ(job.worker.empty(), !started);
      EXPECT_EQ(job.attempt.empty(), !started);
      EXPECT_TRUE(started || !job.subscribers.empty()) << "nobody waits for a job that has not started";
      EXPECT_LE(job.attempts, limits::job_attempts_max);
      wants[job.request.graph_key] |= job.state == job_state::wants_graph;
      uses[job.request.graph_key] |= job.state != job_state::storing;
      if (job.state == job_state::running) {
        EXPECT_EQ(held_.at(job.attempt), job.worker);
      }
    }
    EXPECT_EQ(jobs_.inconsistency(), "");
    EXPECT_EQ(jobs_.count_by_state(), counted);
    for (int g = 0; g < 4; ++g) {
      const auto graph = "g" + std::to_string(g);
      EXPECT_EQ(jobs_.wants(graph), wants[graph]);
      EXPECT_EQ(jobs_.uses(graph), uses[graph]);
      EXPECT_EQ(jobs_.next_source(graph, {}).empty(), !wants[graph]);
    }
  }

  // Everyone leaves; what is left must be gone within its own deadlines.
  void end() {
    for (int p = 0; p < 5; ++p) jobs_.unsubscribe_all("p" + std::to_string(p));
    for (int w = 0; w < 3; ++w) jobs_.worker_lost("w" + std::to_string(w), {errc::unreachable, "gone"}, now_);
    for (const auto& key : in(job_state::storing)) jobs_.remove(key);
    EXPECT_TRUE(jobs_.empty());
    EXPECT_EQ(jobs_.inconsistency(), "");
    for (const auto& [attempt, worker] : held_) EXPECT_EQ(jobs_.renew(worker, {attempt}, now_).size(), 1u);
    // Indices that kept something would count it against these clients and graphs.
    for (int p = 0; p < 5; ++p) EXPECT_TRUE(jobs_.unsubscribe_all("p" + std::to_string(p)).empty());
    for (int g = 0; g < 4; ++g) EXPECT_TRUE(jobs_.graph_arrived("g" + std::to_string(g), now_).empty());
  }

private:
  unsigned pick(unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random_); }
  std::string peer() { return "p" + std::to_string(pick(5)); }
  std::string worker() { return "w" + std::to_string(pick(3)); }
  std::vector<std::string> in(job_state state) {
    std::vector<std::string> keys;
    for (const auto& [key, job] : jobs_.jobs()) {
      if (job.state == state) keys.push_back(key);
    }
    std::sort(keys.begin(), keys.end());
    std::shuffle(keys.begin(), keys.end(), random_);
    return keys;
  }

  std::mt19937 random_;
  time_point now_ = start_of_time;
  job_table jobs_{"c", [] {
                    job_limits bounds;
                    bounds.failure_memory = 20s;
                    bounds.failures_max = 5;
                    bounds.jobs_per_client_max = 6;
                    return bounds;
                  }()};
  std::map<std::string, std::string> held_;  // attempt -> worker, all that ever were
};

}  // namespace

TEST(job_table_walk, invariants_hold_at_every_step_and_nothing_stays_behind) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    walk w(seed);
    for (int i = 0; i < 2'000; ++i) {
      w.step();
      w.check();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", step " << i;
    }
    w.end();
  }
}
