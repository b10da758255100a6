// Memory of workers: what a job is expected to have is its own while it runs, and is given back however it ends. And
// workers on which a job has failed, which it is kept away from.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t MiB = 1 << 20, GiB = 1 << 30;

class coordinator_memory_test : public coordinator_core_test {
protected:
  void offer(const net::peer_id& id, std::uint64_t memory_bytes, std::uint64_t taken = 0, unsigned slots = 4,
             std::vector<std::string> running = {}) {
    net::worker_offer m;
    m.runs_on = machine();
    m.slots = slots;
    m.memory_bytes = memory_bytes;
    m.memory_taken = taken;
    m.running = std::move(running);
    tell(said(id, m));
  }
  void worker_with(const net::peer_id& id, std::uint64_t memory_bytes, unsigned slots = 4) {
    tell(came(id, "worker"));
    offer(id, memory_bytes, 0, slots);
  }
  void ask_for_graph(char digit, const char* stage = "default", const net::peer_id& id = "a") {
    net::lookup m;
    m.graph_key = hex64(digit);
    m.name = "model";
    m.stages = stages({stage});
    m.target = machine();
    tell(said(id, m));
    answer_reads();
    tell(said(id, net::submit{hex64(digit)}, some_bytes("g")));
  }
  // What was given since, as digits of the graphs' keys.
  std::string given(const net::peer_id& to = "w") {
    std::string graphs;
    for (const auto& m : out.take<net::job>(to)) {
      graphs += m.graph_key.front();
      last = m;
    }
    return graphs;
  }
  void finish(const net::job& job, std::uint64_t had = 0, const net::peer_id& worker = "w") {
    net::job_done m{job.id, job.stage_key, {}};
    m.memory_bytes = had;
    tell(said(worker, m, some_bytes("artifact")));
    answer_writes();
  }
  void fail(const net::job& job, errc code = errc::engine_crashed, const net::peer_id& worker = "w",
            std::uint64_t had = 0) {
    tell(said(worker, net::job_failed{job.id, job.stage_key, std::string(to_string(code)), "why", had}));
  }
  std::uint64_t free_of(std::size_t worker = 0) { return ask("status")["workers"][worker]["memory_free_bytes"]; }
  std::string why(char digit) { return ask("explain", {{"graph", hex64(digit)}})["stages"][0]["why"]; }
  // Graph 1 runs on w and has nearly all of its memory; graph 2 waits for it, and there are slots for both.
  net::job start_one() {
    worker_with("w", 1536 * MiB);
    client("a");
    ask_for_graph('1');
    ask_for_graph('2');
    EXPECT_EQ(given(), "1");
    EXPECT_EQ(last.memory_bytes, GiB);
    EXPECT_EQ(free_of(), 512 * MiB);
    return last;
  }
  void nothing_is_left() {
    while (!given().empty()) finish(last);
    EXPECT_EQ(free_of(), 1536 * MiB);
    EXPECT_FALSE(core.busy());
  }

  net::job last;
};

}  // namespace

TEST_F(coordinator_memory_test, a_job_that_waits_for_it_is_told_apart) {
  start_one();
  EXPECT_EQ(why('2'), "waits for 1GiB of a worker's memory, for 0.0 s so far: none with a slot has as much free");
  const auto w = ask("status")["workers"][0];
  EXPECT_EQ(w["memory_bytes"], 1536 * MiB);
  EXPECT_EQ(w["busy"], 1);
}

TEST_F(coordinator_memory_test, comes_back_when_its_job_is_done) {
  finish(start_one());
  EXPECT_EQ(given(), "2");
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_memory_test, comes_back_when_its_job_fails) {
  const auto first = start_one();
  fail(first, errc::compile_failed);
  EXPECT_EQ(given(), "2");
  fail(first, errc::compile_failed);
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_memory_test, comes_back_when_its_job_is_to_be_tried_again) {
  fail(start_one());
  EXPECT_EQ(given(), "2") << "the other is older now";
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_memory_test, comes_back_when_nobody_waits_for_its_job) {
  const auto first = start_one();
  tell(said("a", net::release{{first.stage_key}}));
  EXPECT_EQ(given(), "") << "it is finished all the same";
  finish(first);
  EXPECT_EQ(given(), "2");
  tell(went("a"));
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_memory_test, comes_back_when_a_lease_moves_on) {
  const auto first = start_one();
  pass(limits::job_lease);
  EXPECT_EQ(given(), "2");
  finish(first);
  EXPECT_EQ(given(), "") << "the lease was lost, and with it the memory";
  EXPECT_EQ(free_of(), 512 * MiB);
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_memory_test, goes_with_its_worker) {
  start_one();
  tell(went("w"));
  worker_with("v", GiB);
  EXPECT_EQ(given("v"), "2") << "what is retried is younger";
  finish(last, 0, "v");
  EXPECT_EQ(given("v"), "1");
  finish(last, 0, "v");
  EXPECT_EQ(free_of(), GiB);
}

TEST_F(coordinator_memory_test, is_its_jobs_still_where_a_coordinator_takes_it_over) {
  client("a");
  const auto bring = [&](const net::peer_id& id, char graph, std::uint64_t told) {
    net::job brought;
    brought.id = "other-" + id;
    brought.graph_key = hex64(graph);
    brought.stage = stages({"default"}).front();
    brought.target = machine();
    brought.stage_key = make_stage_key(brought.graph_key, brought.target, brought.stage, "salt");
    brought.attempts = 1;
    brought.memory_bytes = told;
    tell(came(id, "worker"));
    tell(said(id, net::job_held{brought}));
    offer(id, 1536 * MiB, 0, 4, {brought.id});
    return brought;
  };
  const auto on_w = bring("w", '1', 768 * MiB);
  const auto on_v = bring("v", '2', 0);
  EXPECT_EQ(free_of(1), 768 * MiB);
  EXPECT_EQ(free_of(0), 512 * MiB) << "one that is not told is as any";
  ask_for_graph('3');
  EXPECT_EQ(given() + given("v"), "");
  finish(on_v, 0, "v");
  EXPECT_EQ(given("v"), "3");
  finish(on_w);
  EXPECT_EQ(free_of(1), 1536 * MiB);
}

TEST_F(coordinator_memory_test, is_not_given_while_another_coordinators_job_has_it) {
  tell(came("w", "worker"));
  offer("w", 2 * GiB, 1536 * MiB);
  client("a");
  ask_for_graph('1');
  EXPECT_EQ(given(), "");
  offer("w", 2 * GiB);
  EXPECT_EQ(given(), "1");
}

TEST_F(coordinator_memory_test, a_graphs_next_job_takes_what_the_last_one_had) {
  const auto first = start_one();
  finish(first, 200 * MiB);
  ASSERT_EQ(given(), "2");
  finish(last, 300 * MiB);
  ask_for_graph('3');
  ask_for_graph('4', "max-autotune");
  ASSERT_EQ(given(), "34");
  EXPECT_EQ(last.memory_bytes, 384 * MiB) << "as others";
  fail(last, errc::compile_failed, "w", 700 * MiB);
  tell(said("a", net::release{{last.stage_key}}));
  const auto of_three = make_stage_key(hex64('3'), machine(), stages({"default"}).front(), "salt");
  EXPECT_EQ(core.find_job(of_three)->attempts, 1u);
  pass(limits::job_lease);
  ASSERT_EQ(given(), "3") << "again";
  EXPECT_EQ(last.memory_bytes, 384 * MiB);
  // What is made anew, and has had more, gets more.
  pass(limits::failure_memory);
  ask_for_graph('4', "max-autotune");
  ASSERT_EQ(given().back(), '4');
  EXPECT_EQ(last.memory_bytes, 768 * MiB);
}

TEST_F(coordinator_memory_test, a_retry_goes_to_another_worker) {
  worker_with("w", 0, 2);
  worker_with("v", 0, 1);
  client("a");
  ask_for_graph('1');
  ASSERT_EQ(given(), "1") << "which has more slots";
  const auto first = last;
  fail(first);
  EXPECT_EQ(given("v"), "1");
  EXPECT_EQ(given(), "");
  EXPECT_EQ(last.attempts, 2u);
  finish(last, 0, "v");
}

TEST_F(coordinator_memory_test, a_retry_waits_for_another_worker_though_not_for_long) {
  worker_with("w", 0, 1);
  worker_with("v", 0, 1);
  client("a");
  ask_for_graph('1');
  ask_for_graph('2');
  const auto on_v = out.take<net::job>("v").at(0), on_w = out.take<net::job>("w").at(0);
  fail(on_w);
  EXPECT_EQ(given(), "") << "w has a slot, and v will have one";
  EXPECT_EQ(why(on_w.graph_key.front()),
            "is next in the queue, for 0.0 s so far; it has failed on worker w-id and is left to others for 5s");
  const auto a_second = [&] {
    tell(said("v", net::job_alive{{on_v.id}}));
    pass(1s);
  };
  for (auto waited = 1s; waited < limits::retry_elsewhere; waited += 1s) a_second();
  EXPECT_EQ(given(), "");
  a_second();
  EXPECT_EQ(given(), std::string(1, on_w.graph_key.front()));
}

TEST_F(coordinator_memory_test, a_retry_goes_where_it_failed_if_there_is_nobody_else) {
  worker_with("w", 0, 2);
  client("a");
  ask_for_graph('1');
  ASSERT_EQ(given(), "1");
  fail(last);
  EXPECT_EQ(given(), "1");
  fail(last);
  EXPECT_EQ(given(), "1");
}

TEST_F(coordinator_memory_test, a_worker_that_was_full_is_not_one_where_it_failed) {
  worker_with("w", 0, 2);
  worker_with("v", 0, 1);
  client("a");
  ask_for_graph('1');
  ASSERT_EQ(given(), "1");
  fail(last, errc::busy);
  ASSERT_EQ(given("v"), "1") << "since the other says that it is full";
  pass(1s);
  fail(last, errc::engine_crashed, "v");
  EXPECT_EQ(given(), "1");
}
