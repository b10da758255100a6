// The worker's decisions, with engines that cannot start: what an engine would say is said by the test.

#include "actors/worker.hpp"

#include "doubles.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

const std::string farm = "tcp://farm";

class worker_test : public actors_test {
protected:
  void start(unsigned slots) {
    worker_options o;
    o.name = "w";
    o.link = link;
    o.slots = slots;
    // Waits for its input to end, which it does when the engine is told to stop.
    o.engine.process.argv = {"cat"};
    o.lease_renewal = 5s;
    o.probe = &metrics.worker();
    o.on_end = [this] { ++ended; };
    worker = system.spawn(worker_behavior, std::move(o));
    run();
    deliver(worker, came(farm));
  }
  void TearDown() override {
    if (ended == 0) tell(worker, drain{true});
    worker = nullptr;
    // Engines end when their processes have: outside of the clock.
    while (system.registry().running() > 0) run();
    actors_test::TearDown();
  }
  void engine_ready(std::size_t slot) {
    tell(worker, engine_state{slot, machine(), false, std::nullopt});
    tell(worker, engine_state{slot, machine(), true, std::nullopt});
  }
  void engine_down(std::size_t slot, errc code) {
    tell(worker, engine_state{slot, std::nullopt, false, error{code, "why"}});
  }
  void job(const std::string& id, const std::string& from = farm) {
    net::job m;
    m.id = id;
    m.stage_key = "stage of " + id;
    m.deadline_ms = 60'000;
    deliver(worker, said(from, m, some_bytes("graph")));
  }
  // What an engine says of a job; its own refusal of it came first and is void by then.
  void outcome(std::size_t slot, const std::string& id, std::optional<error> why = {}) {
    tell(worker, engine_outcome{slot, id, why ? nullptr : some_bytes("artifact"), {}, why});
  }
  net::worker_offer offered(const std::string& to = farm) {
    auto offers = link->take<net::worker_offer>(to);
    EXPECT_EQ(offers.size(), 1u);
    return offers.empty() ? net::worker_offer{} : offers.back();
  }

  monitoring::metrics metrics{"1", "worker"};
  std::shared_ptr<outbox> link = std::make_shared<outbox>();
  int ended = 0;
  worker_actor worker;
};

}  // namespace

TEST_F(worker_test, offers_what_its_engines_are) {
  start(2);
  auto starting = offered();
  EXPECT_EQ(starting.slots, 0u);
  EXPECT_EQ(starting.problem, "");
  EXPECT_EQ(starting.runs_on.torch, "");
  tell(worker, engine_state{0, machine(), false, std::nullopt});
  auto first = offered();
  EXPECT_EQ(first.slots, 1u);
  EXPECT_EQ(first.runs_on, machine());
  tell(worker, engine_state{0, machine(), true, std::nullopt});
  EXPECT_EQ(link->count<net::worker_offer>(), 0u) << "nothing new";
  engine_ready(1);
  EXPECT_EQ(offered().slots, 2u);
  engine_down(0, errc::engine_crashed);
  EXPECT_EQ(link->count<net::worker_offer>(), 0u) << "it will be back in a moment";
  engine_down(0, errc::engine_start);
  EXPECT_EQ(offered().slots, 1u);
  engine_down(1, errc::engine_start);
  auto none = offered();
  EXPECT_EQ(none.slots, 0u);
  EXPECT_EQ(none.problem, "engine_start: why");
}

TEST_F(worker_test, jobs_wait_while_slots_are_busy_and_fail_when_no_engine_will_take_them) {
  start(1);
  job("1");
  job("2");
  auto refused = link->take<net::job_failed>();
  ASSERT_EQ(refused.size(), 1u) << "one more than it could have offered";
  EXPECT_EQ(refused[0].id, "2");
  EXPECT_EQ(refused[0].code, "unreachable");
  engine_down(0, errc::engine_start);
  refused = link->take<net::job_failed>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].id, "1");
  EXPECT_EQ(refused[0].code, "engine_start");
}

TEST_F(worker_test, leases_are_renewed_while_there_are_jobs) {
  start(1);
  pass(5s);
  EXPECT_EQ(link->count<net::job_alive>(), 0u);
  job("1");
  for (int i = 0; i < 3; ++i) {
    pass(4999ms);
    EXPECT_EQ(link->count<net::job_alive>(), 0u);
    pass(1ms);
    auto alive = link->take<net::job_alive>(farm);
    ASSERT_EQ(alive.size(), 1u);
    EXPECT_EQ(alive[0].ids, std::vector<std::string>{"1"});
  }
  deliver(worker, said(farm, net::cancel_job{"1", "why"}));
  pass(5s);
  EXPECT_EQ(link->count<net::job_alive>(), 0u);
}

TEST_F(worker_test, jobs_of_a_coordinator_that_is_gone_are_dropped) {
  start(1);
  job("1");
  deliver(worker, went(farm));
  deliver(worker, came(farm));
  EXPECT_TRUE(link->take<net::worker_offer>().back().running.empty());
  job("2");
  EXPECT_EQ(link->count<net::job_failed>(), 0u) << "there is room again";
}

TEST_F(worker_test, a_coordinator_that_comes_learns_what_runs_for_it) {
  start(1);
  job("1");
  link->sent.clear();
  deliver(worker, came("tcp://other"));
  EXPECT_TRUE(offered("tcp://other").running.empty());
  deliver(worker, came(farm));
  EXPECT_EQ(offered().running, std::vector<std::string>{"1"});
}

TEST_F(worker_test, a_job_without_its_graph_is_refused_and_garbage_counted) {
  start(1);
  deliver(worker, said(farm, net::job{}));
  EXPECT_EQ(link->take<net::job_failed>().at(0).code, "protocol");
  deliver(worker, said(farm, net::lookup{}));
  EXPECT_TRUE(link->take<net::job_failed>().empty());
}

TEST_F(worker_test, an_outcome_goes_to_who_gave_the_job_and_only_once) {
  start(1);
  engine_ready(0);
  // The engine itself has never become ready and refuses; the coordinator hears of it.
  job("1");
  EXPECT_EQ(link->take<net::job_failed>(farm).at(0).code, "engine_start");
  outcome(0, "1");
  EXPECT_EQ(link->count<net::job_done>(), 0u);
}

TEST_F(worker_test, drains_at_once_without_jobs) {
  start(1);
  tell(worker, drain{});
  EXPECT_EQ(ended, 1);
}

TEST_F(worker_test, drains_when_its_last_job_has_ended) {
  start(1);
  job("1");
  link->sent.clear();
  tell(worker, drain{});
  EXPECT_TRUE(offered().draining);
  EXPECT_EQ(ended, 0);
  job("2");
  EXPECT_EQ(link->take<net::job_failed>().at(0).code, "shutdown");
  deliver(worker, said(farm, net::cancel_job{"1", "why"}));
  EXPECT_EQ(ended, 1);
}

TEST_F(worker_test, drains_at_once_when_it_must) {
  start(2);
  job("1");
  tell(worker, drain{true});
  EXPECT_EQ(ended, 1);
}
