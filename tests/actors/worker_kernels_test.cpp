// Kernels of a worker's jobs that others compile, and of others' jobs that it compiles.
#include "runtime/keys.hpp"
#include "tests/runtime/signers.hpp"
#include "worker_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;

namespace {

class worker_kernels : public worker_test {
protected:
  void start_helping(unsigned slots = 1) {
    start(slots);
    for (std::size_t slot = 0; slot < slots; ++slot) {
      tell(worker, engine_state{slot, machine(), false, std::nullopt});
      tell(worker, engine_state{slot, machine(), true, std::nullopt, std::nullopt, true});
    }
    link->sent.clear();
  }
  static net::job job_named(const std::string& id) {
    net::job m;
    m.id = id;
    m.stage_key = "stage of " + id;
    m.graph_key = "graph of " + id;
    m.stage = {"default", {{"epilogue_fusion", "true"}}};
    m.target = machine();
    m.deadline_ms = 60'000;
    return m;
  }
  // A job that may have kernels elsewhere runs in the first slot.
  void asking_job(unsigned kernels_elsewhere = 2) {
    auto m = job_named("1");
    m.kernels_elsewhere = kernels_elsewhere;
    deliver(worker, said(farm, m, some_bytes("graph")));
  }
  void want(const std::string& kernel, const std::string& job = "1") {
    tell(worker, engine_kernel{0, job, kernel, some_bytes("source of " + kernel)});
  }
  void kernel_job(const std::string& id, const std::string& scope = {}, const std::string& from = farm) {
    auto m = job_named(id);
    m.scope = scope;
    m.kernel = true;
    deliver(worker, said(from, m, some_bytes("source")));
  }
  // Code of what the engine was told last, "library", or nothing.
  std::string told() {
    if (brought.empty()) return {};
    const auto m = brought.back().second;
    brought.clear();
    return m.library ? std::string(text_of(*m.library)) : std::string(to_string(m.why->code));
  }
  double counted(const std::string& name) { return metrics.snapshot()[name]; }
};

}  // namespace

TEST_F(worker_kernels, go_to_the_coordinator_and_come_back) {
  start_helping();
  asking_job();
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].second.kernels_elsewhere, 2u);
  EXPECT_FALSE(given[0].second.kernel);
  want("a");
  want("b");
  const auto wanted = link->take<net::kernel_wanted>(farm);
  ASSERT_EQ(wanted.size(), 2u);
  EXPECT_EQ(wanted[0].job, "1");
  EXPECT_EQ(wanted[0].kernel, "a");
  want("c");
  EXPECT_EQ(told(), "busy") << "there may be two at a time";
  deliver(worker, said(farm, net::kernel_made{"1", "a", {}}, some_bytes("library")));
  EXPECT_EQ(told(), "library");
  deliver(worker, said(farm, net::kernel_unmade{"1", "b", "busy", "no slot is idle"}));
  EXPECT_EQ(told(), "busy");
  want("c");
  EXPECT_EQ(link->count<net::kernel_wanted>(farm), 1u);
  EXPECT_EQ(counted("worker_kernels_borrowed_made"), 1);
  EXPECT_EQ(counted("worker_kernels_borrowed_unmade"), 1);
}

TEST_F(worker_kernels, are_not_asked_for_when) {
  start_helping();
  asking_job(0);
  EXPECT_EQ(given.back().second.kernels_elsewhere, 0u);
  want("a");
  EXPECT_EQ(told(), "busy") << "the coordinator wants it so";
  want("a", "another job");
  EXPECT_EQ(told(), "");
  EXPECT_EQ(link->count<net::kernel_wanted>(), 0u);
}

TEST_F(worker_kernels, are_asked_for_once) {
  start_helping();
  asking_job();
  want("a");
  want("a");
  EXPECT_EQ(told(), "bad_input");
  EXPECT_EQ(link->count<net::kernel_wanted>(farm), 1u);
}

TEST_F(worker_kernels, that_were_not_asked_for_are_not_taken) {
  start_helping();
  asking_job();
  want("a");
  deliver(worker, said(farm, net::kernel_made{"1", "b", {}}, some_bytes("library")));
  deliver(worker, said(farm, net::kernel_unmade{"1", "b", "busy", ""}));
  EXPECT_EQ(counted("worker_messages_refused"), 2);
  deliver(worker, said(farm, net::kernel_made{"2", "a", {}}, some_bytes("library")));
  deliver(worker, came("tcp://other"));
  deliver(worker, said("tcp://other", net::kernel_made{"1", "a", {}}, some_bytes("library")));
  EXPECT_EQ(told(), "") << "another coordinator's";
  deliver(worker, said(farm, net::kernel_made{"1", "a", {}}, nullptr));
  EXPECT_EQ(told(), "protocol");
}

TEST_F(worker_kernels, of_a_job_without_coordinator_are_refused_at_once) {
  start_helping();
  asking_job();
  want("a");
  deliver(worker, went(farm));
  EXPECT_EQ(told(), "busy") << "that was on its way";
  want("b");
  EXPECT_EQ(told(), "busy");
  // Who takes the job over may be of a version that knows nothing of kernels.
  deliver(worker, came("tcp://other"));
  EXPECT_EQ(link->take<net::job_held>("tcp://other").at(0).what.kernels_elsewhere, 0u);
  want("c");
  EXPECT_EQ(told(), "busy");
  EXPECT_EQ(link->count<net::kernel_wanted>("tcp://other"), 0u);
}

TEST_F(worker_kernels, must_be_signed_where_this_worker_signs) {
  using namespace testing_signers;
  const auto friendly = new_signer(), stranger = new_signer();
  signer_list list;
  list.accept({friendly.public_key()});
  signer = new_signer();
  kernel_signers = list.check();
  start_helping();
  asking_job(8);
  const auto signed_for = [&](const artifact_signer& who, const std::string& kernel, std::string_view library) {
    const auto key = make_kernel_key("", *some_bytes("source of " + kernel), machine(), job_named("1").stage);
    return signed_by(who, key, view_of(library));
  };
  struct {
    const char* what;
    const char* kernel;
    artifact_signature by;
    const char* told;
  } const cases[] = {
      {"nobody", "a", {}, "untrusted"},
      {"a stranger", "b", signed_for(stranger, "b", "library"), "untrusted"},
      {"for a stage", "c", signed_by(friendly, "stage of 1", view_of("library")), "untrusted"},
      {"for another kernel", "d", signed_for(friendly, "a", "library"), "untrusted"},
      {"for another library", "e", signed_for(friendly, "e", "other"), "untrusted"},
      {"one of the list", "f", signed_for(friendly, "f", "library"), "library"},
  };
  for (const auto& c : cases) want(c.kernel);
  for (const auto& c : cases) {
    deliver(worker, said(farm, net::kernel_made{"1", c.kernel, c.by}, some_bytes("library")));
    EXPECT_EQ(told(), c.told) << c.what;
  }
  EXPECT_EQ(counted("worker_kernels_borrowed_untrusted"), 5);
  want("g");
  EXPECT_EQ(told(), "busy") << "of such a farm none is asked any more";
}

TEST_F(worker_kernels, are_not_asked_for_by_a_worker_that_signs_and_knows_no_signers) {
  signer = testing_signers::new_signer();
  start_helping();
  asking_job();
  EXPECT_EQ(given.back().second.kernels_elsewhere, 0u);
}

TEST_F(worker_kernels, of_others_are_compiled_and_signed_as_what_they_are) {
  signer = testing_signers::new_signer();
  start_helping();
  kernel_job("k1");
  ASSERT_EQ(given.size(), 1u);
  EXPECT_TRUE(given[0].second.kernel);
  outcome(0, "k1");
  const auto done = link->take<net::job_done>(farm);
  ASSERT_EQ(done.size(), 1u);
  const auto key = make_kernel_key("", *some_bytes("source"), machine(), job_named("k1").stage);
  EXPECT_EQ(done[0].signature, testing_signers::signed_by(*signer, key, view_of("artifact")))
      << "whatever the coordinator calls it";
  EXPECT_EQ(counted("worker_kernels_lent_made"), 1);
  EXPECT_EQ(counted("worker_jobs_done"), 0);
  tell(worker, tick{});
  EXPECT_EQ(renewed(), std::vector<std::string>()) << "it has no lease";
}

TEST_F(worker_kernels, of_others_are_refused_when_no_engine_can_take_them_now) {
  start_helping();
  job("1");
  kernel_job("k1");
  auto failed = link->take<net::job_failed>(farm);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "busy");
  outcome(0, "1");
  kernel_job("k2", "an isolated namespace");
  failed = link->take<net::job_failed>(farm);
  ASSERT_EQ(failed.size(), 1u) << "the engine has served another namespace, and is not ended for it";
  EXPECT_TRUE(changed.empty());
  EXPECT_EQ(counted("worker_kernels_lent_refused"), 2);
  EXPECT_EQ(counted("worker_jobs_failed"), 0);
}

TEST_F(worker_kernels, of_others_fail_with_their_reason) {
  start_helping();
  kernel_job("k1");
  outcome(0, "k1", error{errc::compile_failed, "no such header"});
  EXPECT_EQ(link->take<net::job_failed>(farm).at(0).reason, "no such header");
  EXPECT_EQ(counted("worker_kernels_lent_failed"), 1);
}

TEST_F(worker_kernels, of_a_coordinator_that_is_gone_are_brought_to_nobody) {
  start_helping();
  deliver(worker, came("tcp://other"));
  kernel_job("k1");
  deliver(worker, went(farm));
  EXPECT_EQ(link->count<net::job_held>(), 0u);
  outcome(0, "k1");
  EXPECT_EQ(link->count<net::job_done>(), 0u);
  EXPECT_EQ(link->count<net::job_failed>(), 0u);
  job("2", "tcp://other");
  EXPECT_EQ(given.back().second.id, "2") << "its slot is idle again";
}

TEST_F(worker_kernels, are_offered_to_be_compiled_when_engines_can) {
  start(1);
  engine_ready(0);
  EXPECT_FALSE(link->take<net::worker_offer>(farm).back().can_help);
  tell(worker, engine_state{0, machine(), true, std::nullopt, std::nullopt, true});
  EXPECT_TRUE(link->take<net::worker_offer>(farm).back().can_help);
}
