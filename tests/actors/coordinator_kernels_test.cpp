// Kernels of jobs that idle slots compile: who gets them, and what becomes of each.
#include "coordinator_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

class coordinator_kernels_test : public coordinator_core_test {
protected:
  void helper(const net::peer_id& id, unsigned slots = 1) {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = machine();
    offer.slots = slots;
    offer.can_help = true;
    tell(said(id, offer));
  }
  // A job runs on "owner", and "w" is idle.
  net::job start_job() {
    helper("owner");
    client("a");
    lookup_misses("a");
    helper("w");
    submit("a");
    // Whichever has it is the owner.
    auto given = out.take<net::job>();
    EXPECT_EQ(given.size(), 1u);
    return given.at(0);
  }
  void begin() {
    job = start_job();
    owner = core.find_job(job.stage_key)->worker;
    other = owner == "w" ? "owner" : "w";
  }
  void want(const std::string& kernel, const blob& source = some_bytes("source")) {
    tell(said(owner, net::kernel_wanted{job.id, kernel}, source));
  }
  net::job lent(const net::peer_id& to) {
    auto given = out.take<net::job>(to);
    EXPECT_EQ(given.size(), 1u);
    return given.empty() ? net::job() : given.at(0);
  }
  void made(const net::job& kernel, const net::peer_id& by, const blob& library = some_bytes("library")) {
    tell(said(by, net::job_done{kernel.id, kernel.stage_key, {}}, library));
  }
  // "code" of the one that was told.
  std::string unmade() {
    const auto told = out.take<net::kernel_unmade>(owner);
    EXPECT_EQ(told.size(), 1u);
    return told.empty() ? "" : told.at(0).code;
  }
  double ended(const char* outcome) { return metrics.snapshot()["kernels_asked_" + std::string(outcome)]; }

  net::job job;
  net::peer_id owner, other;
};

}  // namespace

TEST_F(coordinator_kernels_test, an_idle_slot_compiles_it) {
  begin();
  EXPECT_EQ(job.kernels_elsewhere, limits::kernels_per_job);
  EXPECT_FALSE(job.kernel);
  want("a");
  const auto kernel = lent(other);
  EXPECT_TRUE(kernel.kernel);
  EXPECT_EQ(kernel.kernels_elsewhere, 0u);
  EXPECT_EQ(kernel.stage, job.stage);
  EXPECT_EQ(kernel.target, job.target);
  EXPECT_EQ(kernel.stage_key, make_kernel_key("", *some_bytes("source"), job.target, job.stage));
  made(kernel, other);
  const auto came = out.take<net::kernel_made>(owner);
  ASSERT_EQ(came.size(), 1u);
  EXPECT_EQ(came[0].job, job.id);
  EXPECT_EQ(came[0].kernel, "a");
  EXPECT_EQ(ended("made"), 1);
  EXPECT_EQ(writes.size(), 0u) << "nothing of it is stored";
  want("b");
  EXPECT_TRUE(lent(other).kernel) << "the slot is idle again";
}

TEST_F(coordinator_kernels_test, is_refused_at_once_where_no_slot_is_idle) {
  begin();
  want("a");
  lent(other);
  want("b");
  EXPECT_EQ(unmade(), "busy");
  EXPECT_EQ(ended("none_idle"), 1);
}

TEST_F(coordinator_kernels_test, is_refused_when_it_is_not_proper) {
  struct {
    const char* what;
    std::string job, kernel;
    blob source;
    const char* code;  // empty: nobody is told
  } const cases[] = {
      {"of a job that it does not hold", "j9", "a", some_bytes("source"), "not_found"},
      {"without a name", "", "", some_bytes("source"), "bad_input"},
      {"with a name that is too long", "", std::string(65, 'a'), some_bytes("source"), ""},
      {"without a source", "", "a", nullptr, "bad_input"},
      {"with an empty source", "", "a", some_bytes(""), "bad_input"},
  };
  begin();
  for (const auto& c : cases) {
    tell(said(owner, net::kernel_wanted{c.job.empty() ? job.id : c.job, c.kernel}, c.source));
    const auto told = out.take<net::kernel_unmade>(owner);
    EXPECT_EQ(told.empty() ? "" : told.at(0).code, c.code) << c.what;
    EXPECT_EQ(out.count<net::job>(), 0u) << c.what;
  }
  EXPECT_EQ(ended("refused"), 5);
  // Who does not run the job has no kernels of it.
  tell(said(other, net::kernel_wanted{job.id, "a"}, some_bytes("source")));
  EXPECT_EQ(out.take<net::kernel_unmade>(other).at(0).code, "not_found");
  EXPECT_EQ(ended("refused"), 6);
}

TEST_F(coordinator_kernels_test, may_be_asked_for_by_workers_alone) {
  begin();
  tell(said("a", net::kernel_wanted{job.id, "a"}, some_bytes("source")));
  EXPECT_EQ(out.count<net::rejected>("a"), 1u);
  EXPECT_EQ(out.count<net::job>(), 0u);
}

TEST_F(coordinator_kernels_test, fails_when_the_helper_does) {
  begin();
  want("a");
  const auto kernel = lent(other);
  tell(said(other, net::job_failed{kernel.id, kernel.stage_key, "compile_failed", "no such header"}));
  EXPECT_EQ(unmade(), "compile_failed");
  EXPECT_EQ(ended("failed"), 1);
  EXPECT_EQ(core.find_job(job.stage_key)->attempts, 1u) << "that is no setback of the job";
}

TEST_F(coordinator_kernels_test, fails_when_the_helper_is_lost) {
  begin();
  want("a");
  lent(other);
  tell(went(other));
  EXPECT_EQ(unmade(), "unreachable");
  EXPECT_EQ(ended("failed"), 1);
}

TEST_F(coordinator_kernels_test, fails_when_the_helper_takes_too_long) {
  begin();
  want("a");
  const auto kernel = lent(other);
  for (auto left = std::chrono::seconds(limits::kernel_deadline); left > 5s; left -= 5s) {
    tell(said(owner, net::job_alive{{job.id}}));
    tell(said(other, net::job_alive{{kernel.id}}));
    pass(5s);
  }
  EXPECT_EQ(out.count<net::cancel_job>(), 0u) << "a kernel needs no lease";
  EXPECT_EQ(out.count<net::kernel_unmade>(), 0u);
  pass(5s);
  EXPECT_EQ(out.take<net::cancel_job>(other).at(0).id, kernel.id);
  EXPECT_EQ(unmade(), "deadline");
  made(kernel, other);
  EXPECT_EQ(out.count<net::kernel_made>(), 0u) << "it comes too late";
}

TEST_F(coordinator_kernels_test, is_nobodys_when_its_job_has_ended) {
  begin();
  want("a");
  const auto kernel = lent(other);
  tell(said(owner, net::job_done{job.id, job.stage_key, {}}, some_bytes("artifact")));
  answer_writes();
  EXPECT_TRUE(core.busy()) << "its slot is taken";
  made(kernel, other);
  EXPECT_EQ(out.count<net::kernel_made>(), 0u);
  EXPECT_EQ(ended("late"), 1);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_kernels_test, is_nobodys_when_its_jobs_worker_is_lost) {
  begin();
  want("a");
  const auto kernel = lent(other);
  tell(went(owner));
  made(kernel, other);
  EXPECT_EQ(ended("late"), 1);
  EXPECT_EQ(lent(other).id.find("-k"), std::string::npos) << "the job itself, once the slot is free";
}

TEST_F(coordinator_kernels_test, waits_for_no_job) {
  begin();
  want("a");
  const auto kernel = lent(other);
  client("b");
  auto more = ask_for();
  more.graph_key = hex64('b');
  tell(said("b", more));
  answer_reads();
  tell(said("b", net::submit{hex64('b')}, some_bytes("graph")));
  EXPECT_EQ(out.count<net::job>(), 0u);
  want("b");
  EXPECT_EQ(unmade(), "busy");
  made(kernel, other);
  EXPECT_FALSE(lent(other).kernel) << "the job that waits has the slot before any kernel";
}

TEST_F(coordinator_kernels_test, an_empty_library_is_none) {
  begin();
  for (const blob& library : {blob(), some_bytes("")}) {
    want("a");
    made(lent(other), other, library);
    EXPECT_EQ(unmade(), "protocol");
  }
}

TEST_F(coordinator_kernels_test, is_lent_to_nobody_while_draining) {
  begin();
  core.drain(now);
  want("a");
  EXPECT_EQ(unmade(), "busy");
}

TEST_F(coordinator_kernels_test, a_farm_with_one_slot_or_none_to_spare_has_none_asked) {
  helper("owner");
  client("a");
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(lent("owner").kernels_elsewhere, 0u) << "there is no other slot";
}

TEST_F(coordinator_kernels_test, goes_to_another_worker_when_one_would_not_take_it) {
  begin();
  helper("large", 2);
  want("a");
  const auto kernel = lent("large");
  tell(said("large", net::job_failed{kernel.id, kernel.stage_key, "busy", "no engine is idle for it"}));
  EXPECT_EQ(unmade(), "busy");
  EXPECT_EQ(ended("none_idle"), 1);
  want("b");
  EXPECT_TRUE(lent(other).kernel);
  pass(1s);
  want("c");
  EXPECT_TRUE(lent("large").kernel) << "it may be willing by now";
}

TEST_F(coordinator_kernels_test, costs_few_engines) {
  begin();
  for (unsigned i = 0; i < limits::kernel_strikes_max; ++i) {
    want("a");
    const auto kernel = lent(other);
    tell(said(other, net::job_failed{kernel.id, kernel.stage_key, "engine_crashed", "killed"}));
    EXPECT_EQ(unmade(), "engine_crashed");
  }
  want("a");
  EXPECT_EQ(unmade(), "busy");
}
