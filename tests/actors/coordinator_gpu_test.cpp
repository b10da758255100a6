// GPUs of workers: a job that measures has one to itself, and gives it back however it ends.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

const stage_spec plain{"default", {}};
const stage_spec tuned{"max-autotune", {{"max_autotune", "true"}}};

class coordinator_gpu_test : public coordinator_core_test {
protected:
  static net::lookup ask_for_graph(char digit, stage_list plan, platform target = gpu_machine()) {
    net::lookup m;
    m.graph_key = hex64(digit);
    m.name = "model";
    m.stages = std::move(plan);
    m.target = std::move(target);
    return m;
  }
  // The client's plan for a graph of its own comes to jobs.
  void ask_for_plan(const net::peer_id& id, char digit, stage_list plan, platform target = gpu_machine()) {
    tell(said(id, ask_for_graph(digit, std::move(plan), std::move(target))));
    answer_reads();
    tell(said(id, net::submit{hex64(digit)}, some_bytes("graph")));
  }
  // A job that measures runs on w, another waits, and there are slots for both.
  net::job start_measuring() {
    worker("w", 3, gpu_machine());
    client("a");
    ask_for_plan("a", '1', {tuned});
    ask_for_plan("a", '2', {tuned});
    auto given = out.take<net::job>("w");
    EXPECT_EQ(given.size(), 1u) << "there is one GPU";
    EXPECT_TRUE(given.at(0).measures);
    return given.at(0);
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
  void finish(const net::job& job, const net::peer_id& worker = "w") {
    tell(said(worker, net::job_done{job.id, job.stage_key, {}}, some_bytes("artifact")));
    answer_writes();
  }
  nlohmann::json gpus_of(std::size_t worker = 0) {
    const auto w = ask("status")["workers"][worker];
    return {w["gpus"], w["gpus_busy"]};
  }
  void nothing_is_left() {
    while (!given().empty()) finish(last);
    EXPECT_EQ(gpus_of(), (nlohmann::json{1, 0}));
    EXPECT_FALSE(core.busy());
  }

  net::job last;
};

}  // namespace

TEST_F(coordinator_gpu_test, is_for_the_stages_that_measure) {
  struct {
    const char* what;
    stage_list plan;
    platform target;
    std::vector<bool> measures;  // each job of the plan
  } const cases[] = {
      {"a plan with one that does", {plain, tuned}, gpu_machine(), {false, true}},
      {"one where the process does", {plain}, gpu_machine(), {true}},
      {"one for any such GPU",
       {plain},
       [] {
         auto p = gpu_machine();
         p.gpu = "sm_90";
         return p;
       }(),
       {false}},
      {"one for a CPU", {plain, tuned}, machine(), {false, false}},
  };
  worker("w", 2, gpu_machine());
  client("a");
  char graph = '1';
  for (const auto& c : cases) {
    ask_for_plan("a", graph++, c.plan, c.target);
    std::vector<bool> measures;
    for (const auto& m : out.take<net::job>("w")) {
      measures.push_back(m.measures);
      finish(m);
    }
    EXPECT_EQ(measures, c.measures) << c.what;
  }
}

TEST_F(coordinator_gpu_test, while_one_job_has_it_others_compile) {
  const auto first = start_measuring();
  ask_for_plan("a", '3', {plain, tuned});
  EXPECT_EQ(given(), "3") << "the stage that does not measure";
  EXPECT_EQ(gpus_of(), (nlohmann::json{1, 1}));
  finish(first);
  EXPECT_EQ(given(), "2") << "what waited first";
  finish(last);
  EXPECT_EQ(given(), "3");
  finish(last);
}

TEST_F(coordinator_gpu_test, comes_back_when_its_job_is_done) {
  finish(start_measuring());
  EXPECT_EQ(given(), "2");
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, comes_back_when_its_job_fails) {
  const auto first = start_measuring();
  tell(said("w", net::job_failed{first.id, first.stage_key, "compile_failed", "why"}));
  EXPECT_EQ(given(), "2");
  tell(said("w", net::job_failed{first.id, first.stage_key, "compile_failed", "said again"}));
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, comes_back_when_its_job_is_to_be_tried_again) {
  const auto first = start_measuring();
  tell(said("w", net::job_failed{first.id, first.stage_key, "engine_crashed", "why"}));
  EXPECT_EQ(given(), "2") << "the other is older now";
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, comes_back_when_nobody_waits_for_its_job) {
  const auto first = start_measuring();
  tell(said("a", net::release{{first.stage_key}}));
  EXPECT_EQ(given(), "") << "it is finished all the same";
  finish(first);
  EXPECT_EQ(given(), "2");
  tell(went("a"));
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, comes_back_when_a_lease_moves_on) {
  const auto first = start_measuring();
  pass(limits::job_lease);
  EXPECT_EQ(out.take<net::cancel_job>("w").at(0).id, first.id);
  EXPECT_EQ(given(), "2");
  finish(first);
  EXPECT_EQ(given(), "") << "the lease was lost, and with it the GPU";
  ask_for_plan("a", '3', {tuned});
  EXPECT_EQ(given(), "");
  EXPECT_EQ(gpus_of(), (nlohmann::json{1, 1}));
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, goes_with_its_worker) {
  const auto first = start_measuring();
  tell(went("w"));
  worker("v", 3, gpu_machine());
  EXPECT_EQ(given("v"), "2") << "what is retried is younger";
  finish(last, "v");
  EXPECT_EQ(given("v"), "1");
  finish(last, "v");
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, is_its_jobs_still_where_a_coordinator_takes_it_over) {
  net::job brought;
  brought.id = "other-1";
  brought.graph_key = hex64('1');
  brought.stage = tuned;
  brought.target = gpu_machine();
  brought.stage_key = make_stage_key(brought.graph_key, brought.target, brought.stage, "salt");
  brought.attempts = 1;
  brought.measures = true;
  tell(came("w", "worker"));
  tell(said("w", net::job_held{brought}));
  worker("w", 3, gpu_machine());
  EXPECT_EQ(gpus_of(), (nlohmann::json{1, 1}));
  client("a");
  ask_for_plan("a", '2', {plain, tuned});
  EXPECT_EQ(given(), "2");
  EXPECT_FALSE(last.measures);
  finish(last);
  EXPECT_EQ(given(), "");
  finish(brought);
  EXPECT_EQ(given(), "2");
  finish(last);
  nothing_is_left();
}

TEST_F(coordinator_gpu_test, is_its_jobs_where_whoever_asked_here_knew_of_no_measuring) {
  auto brought = start_measuring();
  brought.id = "other-1";
  brought.graph_key = hex64('3');
  brought.stage = plain;
  brought.stage_key = make_stage_key(brought.graph_key, brought.target, plain, "salt");
  tell(came("v", "worker"));
  tell(said("a", ask_for_graph('3', {plain, tuned})));
  answer_reads();
  tell(said("v", net::job_held{brought}));
  worker("v", 3, gpu_machine());
  EXPECT_EQ(gpus_of(0), (nlohmann::json{1, 1}));
  EXPECT_EQ(gpus_of(1), (nlohmann::json{1, 1}));
  EXPECT_EQ(given("v"), "") << "what waits is for a GPU";
}

TEST_F(coordinator_gpu_test, is_not_wanted_by_a_cpus_job_whatever_its_worker_says) {
  auto brought = start_measuring();
  brought.id = "other-1";
  brought.graph_key = hex64('3');
  brought.target = machine();
  brought.stage = plain;
  brought.stage_key = make_stage_key(brought.graph_key, brought.target, plain, "salt");
  brought.measures = true;
  tell(came("v", "worker"));
  tell(said("a", ask_for_graph('3', {plain}, machine())));
  answer_reads();
  tell(said("v", net::job_held{brought}));
  tell(went("v"));
  tell(said("a", net::submit{hex64('3')}, some_bytes("graph")));
  worker("u", 1, machine());
  EXPECT_EQ(given("u") + given("w"), "3") << "no GPU is free";
}

TEST_F(coordinator_gpu_test, is_not_given_while_another_coordinators_job_has_it) {
  tell(came("w", "worker"));
  net::worker_offer offer;
  offer.runs_on = gpu_machine();
  offer.slots = 3;
  offer.gpus = offer.gpus_taken = offer.taken = 1;
  tell(said("w", offer));
  client("a");
  ask_for_plan("a", '1', {plain, tuned});
  ASSERT_EQ(given(), "1");
  EXPECT_FALSE(last.measures);
  EXPECT_EQ(ask("explain", {{"graph", hex64('1')}})["stages"][1]["state"], "queued");
  offer.gpus_taken = offer.taken = 0;
  offer.running = {last.id};
  tell(said("w", offer));
  EXPECT_EQ(given(), "1");
  EXPECT_TRUE(last.measures);
}
