// A worker and its coordinators: what each is told, the leases of its jobs, and what becomes of jobs and results when a
// coordinator goes.

#include "runtime/rendezvous.hpp"
#include "worker_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

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

TEST_F(worker_test, a_job_goes_on_without_its_coordinator_and_is_brought_to_it_when_it_is_back) {
  start(2);
  engine_ready(0);
  job("1");
  job("2");  // waits for the other engine
  deliver(worker, went(farm));
  EXPECT_TRUE(cancelled.empty());
  link->sent.clear();
  deliver(worker, came(farm));
  ASSERT_EQ(link->sent.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<net::job_held>(link->sent[0].what)) << "before it is offered a slot that is taken";
  std::set<std::string> held;
  for (const auto& m : link->take<net::job_held>(farm)) held.insert(m.what.id + " of " + m.what.graph_key);
  EXPECT_EQ(held, (std::set<std::string>{"1 of graph of 1", "2 of graph of 2"}));
  EXPECT_EQ(offered().running, (std::vector<std::string>{"1", "2"}));
  outcome(0, "1");
  EXPECT_EQ(link->take<net::job_done>(farm).at(0).id, "1");
}

TEST_F(worker_test, jobs_without_a_coordinator_are_brought_to_the_one_that_clients_ask_now) {
  start(8);
  deliver(worker, came("tcp://b"));
  deliver(worker, came("tcp://c"));
  for (int i = 0; i < 8; ++i) job(std::to_string(i));
  link->sent.clear();
  deliver(worker, went(farm));
  std::size_t held = 0;
  for (const auto& m : link->sent) {
    const auto* h = std::get_if<net::job_held>(&m.what);
    if (!h) continue;
    ++held;
    EXPECT_EQ(m.to, rendezvous_pick(h->what.graph_key, {"tcp://b", "tcp://c"}));
  }
  EXPECT_EQ(held, 8u);
  link->sent.clear();
  deliver(worker, came(farm));
  EXPECT_EQ(link->count<net::job_held>(), 0u) << "they have found another one";
}

TEST_F(worker_test, a_result_waits_for_a_coordinator) {
  start(1);
  engine_ready(0);
  job("1");
  deliver(worker, went(farm));
  link->sent.clear();
  outcome(0, "1");
  EXPECT_TRUE(link->sent.empty());
  deliver(worker, came("tcp://other"));
  ASSERT_EQ(link->sent.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<net::job_held>(link->sent[0].what));
  EXPECT_EQ(text_of(*link->sent[1].attachment), "artifact");
  EXPECT_EQ(link->take<net::job_done>("tcp://other").at(0).id, "1");
  EXPECT_EQ(offered("tcp://other").running, std::vector<std::string>{"1"}) << "it is on its way";
}

TEST_F(worker_test, works_for_the_coordinators_that_its_names_stand_for) {
  start(1);
  EXPECT_EQ(link->connected, (std::set<std::string>{farm, "tcp://other", "tcp://b", "tcp://c"}));
  job("1");
  deliver(worker, came("tcp://b"));
  link->sent.clear();
  tell(worker, farm_found{{"tcp://b", "tcp://d"}, {}});
  EXPECT_EQ(link->connected, (std::set<std::string>{"tcp://b", "tcp://d"}));
  EXPECT_EQ(link->take<net::job_held>("tcp://b").at(0).what.id, "1") << "as if the one that gave it had died";
  link->sent.clear();
  deliver(worker, came("tcp://other"));
  EXPECT_TRUE(link->sent.empty()) << "it was on its way when it lost its name";
}

TEST_F(worker_test, as_many_results_wait_as_may) {
  const auto many = limits::results_unclaimed_max + 1;
  start(many);
  for (std::size_t i = 0; i < many; ++i) engine_ready(i);
  for (std::size_t i = 0; i < many; ++i) job(std::to_string(i));
  ASSERT_EQ(given.size(), many);
  deliver(worker, went(farm));
  for (const auto& [slot, job] : given) outcome(slot, job.id);
  deliver(worker, came(farm));
  EXPECT_EQ(link->count<net::job_done>(farm), limits::results_unclaimed_max);
}

TEST_F(worker_test, each_coordinator_knows_what_the_others_have_taken) {
  start(2);
  engine_ready(0);
  engine_ready(1);
  deliver(worker, came("tcp://other"));
  link->sent.clear();
  job("1");
  EXPECT_EQ(offered("tcp://other").taken, 1u);
  EXPECT_EQ(link->count<net::worker_offer>(farm), 0u) << "it is its own";
  outcome(0, "1");
  EXPECT_EQ(offered("tcp://other").taken, 0u);
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

TEST_F(worker_test, a_result_on_its_way_keeps_its_lease_until_the_coordinator_has_it) {
  start(1);
  engine_ready(0);
  job("1");
  outcome(0, "1");
  job("2");
  pass(5s);
  EXPECT_EQ(renewed(), (std::vector<std::string>{"2", "1"}));
  deliver(worker, said(farm, net::cancel_job{"1", "no such lease"}));
  pass(5s);
  EXPECT_EQ(renewed(), std::vector<std::string>{"2"});
  EXPECT_TRUE(cancelled.empty());
}

TEST_F(worker_test, a_result_that_cannot_be_on_its_way_any_more_keeps_no_lease) {
  start(1);
  engine_ready(0);
  job("1");
  outcome(0, "1");
  std::chrono::milliseconds passed{0};
  for (; passed < limits::stream_silence_max - 5s; passed += 5s) {
    pass(5s);
    EXPECT_EQ(renewed(), std::vector<std::string>{"1"}) << passed.count();
  }
  pass(5s);
  EXPECT_TRUE(renewed().empty());
  job("2");
  outcome(0, "2");
  deliver(worker, went(farm));
  deliver(worker, came(farm));
  EXPECT_TRUE(link->take<net::worker_offer>().back().running.empty()) << "nor does one that was cut off";
}
