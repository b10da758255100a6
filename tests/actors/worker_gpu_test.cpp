// What a worker says of its GPU and its memory, with engines that only listen.

#include "actors/worker.hpp"
#include "doubles.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;

namespace {

const std::string farm = "tcp://farm", other = "tcp://other";

class worker_gpu_test : public actors_test {
protected:
  void start(const platform& runs_on) {
    worker_options o;
    o.name = "w";
    o.link = link;
    o.slots = 2;
    o.memory_bytes = 4000;
    o.spawn_engine = [this](std::size_t, const engine_owner&) {
      return system.spawn([](engine_actor::pointer self) -> engine_actor::behavior_type {
        return {
            [](engine_job&) {},          [](const engine_cancel&) {},        [](const engine_frame&) {},
            [](const engine_exited&) {}, [](const engine_deadline&) {},      [](const engine_restart&) {},
            [](const engine_change&) {}, [](const engine_kernel_answer&) {}, [self](const drain&) { self->quit(); },
        };
      });
    };
    o.probe = &metrics.worker();
    worker = system.spawn(worker_behavior, std::move(o));
    run();
    tell(worker, farm_found{{farm, other}, {}});
    for (const auto& coordinator : {farm, other}) deliver(worker, came(coordinator));
    for (std::size_t slot = 0; slot < 2; ++slot) tell(worker, engine_state{slot, runs_on, true, std::nullopt});
  }
  void TearDown() override {
    tell(worker, drain{true});
    worker = nullptr;
    actors_test::TearDown();
  }
  void job(const std::string& id, const std::string& from, bool measures, std::uint64_t memory_bytes = 0) {
    net::job m;
    m.id = id;
    m.stage_key = "stage of " + id;
    m.graph_key = "graph of " + id;
    m.deadline_ms = 60'000;
    m.measures = measures;
    m.memory_bytes = memory_bytes;
    deliver(worker, said(from, m, some_bytes("graph")));
  }
  void done(std::size_t slot, const std::string& id) {
    tell(worker, engine_outcome{slot, id, some_bytes("artifact"), {}, std::nullopt});
  }
  // How many GPUs it was last told of, and how many of them others have.
  std::pair<unsigned, unsigned> told(const std::string& coordinator) {
    const auto offers = link->take<net::worker_offer>(coordinator);
    if (offers.empty()) return last[coordinator];
    return last[coordinator] = {offers.back().gpus, offers.back().gpus_taken};
  }
  // Likewise, of bytes of memory.
  std::pair<std::uint64_t, std::uint64_t> memory_told(const std::string& coordinator) {
    const auto offers = link->take<net::worker_offer>(coordinator);
    if (!offers.empty()) memory[coordinator] = {offers.back().memory_bytes, offers.back().memory_taken};
    return memory[coordinator];
  }
  using bytes_of_memory = std::pair<std::uint64_t, std::uint64_t>;
  using gpus = std::pair<unsigned, unsigned>;

  monitoring::metrics metrics{"1", "worker"};
  std::shared_ptr<outbox> link = std::make_shared<outbox>();
  std::map<std::string, gpus> last;
  std::map<std::string, bytes_of_memory> memory;
  worker_actor worker;
};

}  // namespace

TEST_F(worker_gpu_test, offers_the_one_that_its_engines_see) {
  start(gpu_machine());
  EXPECT_EQ(told(farm), (gpus{1, 0}));
}

TEST_F(worker_gpu_test, offers_none_where_its_engines_see_none) {
  start(machine());
  EXPECT_EQ(told(farm), (gpus{0, 0}));
}

TEST_F(worker_gpu_test, tells_each_coordinator_what_jobs_of_others_have) {
  start(gpu_machine());
  job("compiles", farm, false);
  EXPECT_EQ(told(other), (gpus{1, 0})) << "it takes a slot and no GPU";
  job("measures", farm, true);
  EXPECT_EQ(told(farm), (gpus{1, 0})) << "it is its own";
  EXPECT_EQ(told(other), (gpus{1, 1}));
  job("waits", other, true);
  EXPECT_EQ(told(farm), (gpus{1, 1})) << "both had counted on it, and the second has a claim, too";
  done(1, "measures");
  EXPECT_EQ(told(other), (gpus{1, 0}));
  done(1, "waits");
  EXPECT_EQ(told(farm), (gpus{1, 0}));
}

TEST_F(worker_gpu_test, tells_each_coordinator_what_memory_jobs_of_others_have) {
  start(machine());
  EXPECT_EQ(memory_told(farm), (bytes_of_memory{4000, 0}));
  job("one", farm, false, 1000);
  EXPECT_EQ(memory_told(farm), (bytes_of_memory{4000, 0})) << "it is its own";
  EXPECT_EQ(memory_told(other), (bytes_of_memory{4000, 1000}));
  job("waits", other, false, 2000);
  job("waits, too", other, false, 500);
  EXPECT_EQ(memory_told(farm), (bytes_of_memory{4000, 2500}));
  done(0, "one");
  EXPECT_EQ(memory_told(other), (bytes_of_memory{4000, 0}));
}

TEST_F(worker_gpu_test, tells_what_memory_a_job_had_whether_it_is_done_or_failed) {
  start(machine());
  job("one", farm, false);
  job("two", farm, false);
  tell(worker, engine_outcome{0, "one", some_bytes("artifact"), {}, std::nullopt, 77});
  tell(worker, engine_outcome{1, "two", nullptr, {}, error{errc::engine_crashed, "why"}, 88});
  EXPECT_EQ(link->take<net::job_done>(farm).at(0).memory_bytes, 77u);
  EXPECT_EQ(link->take<net::job_failed>(farm).at(0).memory_bytes, 88u);
}
