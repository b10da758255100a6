// Results that a coordinator takes where artifacts must be signed: by whom, for which stage, and what comes of others.
#include "coordinator_access_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

TEST_F(coordinator_access_test, a_result_is_taken_when_an_accepted_signer_has_signed_it_for_its_stage) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), stranger = new_signer();
  list.accept({signer.public_key()});
  signatures = list.check();
  const struct {
    const char* reason;
    artifact_signature by;
  } cases[] = {
      {"unsigned", {}},
      {"unknown_signer", signed_by(stranger, key_of(), view_of("code"))},
      {"bad_signature", signed_by(signer, hex64('e'), view_of("code"))},
      {"bad_signature", signed_by(signer, key_of(), view_of("other"))},
  };
  double bad = 0;
  for (const auto& c : cases) {
    core = farm(secret);
    worker("w");
    worker("v");
    peer("a", "client", "team");
    ask("a");
    submit("a", "graph");
    const auto [first, job] = job_sent();
    const auto before = counted((std::string("results_untrusted_") + c.reason).c_str());
    bring(first, job, c.by);
    // Another worker gets the next, where there is one. It is the job's second attempt only when the first might have
    // gone well: whose signer is not accepted brings nothing else.
    EXPECT_EQ(counted((std::string("results_untrusted_") + c.reason).c_str()), before + 1) << c.reason;
    EXPECT_TRUE(writes.empty());
    EXPECT_EQ(out.count<net::stage_ready>(), 0u);
    const auto [second, again] = job_sent();
    EXPECT_NE(second, first) << c.reason;
    EXPECT_EQ(again.attempts, c.reason == std::string("bad_signature") ? 2u : 1u) << c.reason;
    bring(second, again, signed_by(signer, key_of(), view_of("code")));
    ASSERT_EQ(writes.size(), 1u) << c.reason;
    EXPECT_EQ(writes[0].second.signature.signer, signer.public_key());
    core->store_written(key_of(), {}, now);
    writes.clear();
    const auto ready = out.take<net::stage_ready>("a");
    ASSERT_EQ(ready.size(), 1u);
    EXPECT_EQ(ready[0].signature, signed_by(signer, key_of(), view_of("code")));
    ++bad;
  }
  EXPECT_EQ(counted("jobs_retried"), bad);
}

TEST_F(coordinator_access_test, a_result_that_is_never_signed_well_fails_for_good_after_so_many_attempts) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  for (unsigned i = 0; i < limits::job_attempts_max; ++i) {
    const auto [who, job] = job_sent();
    bring(who, job, signed_by(signer, key_of(), view_of("other")));
    now += 1s;
    core->tick(now);  // there is no other worker
  }
  EXPECT_EQ(counted("results_untrusted_bad_signature"), limits::job_attempts_max);
  const auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "quarantined");
  EXPECT_NE(failed[0].reason.find("untrusted: the artifact is not what"), std::string::npos) << failed[0].reason;
}

TEST_F(coordinator_access_test, a_worker_whose_signer_is_not_accepted_gets_no_more_jobs_until_it_is) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), late = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  const auto [who, job] = job_sent();
  bring(who, job, signed_by(late, key_of(), view_of("code")));
  now += 1s;
  core->tick(now);
  offer_slot("w");  // as it says again and again
  EXPECT_EQ(out.count<net::job>("w"), 0u);
  EXPECT_EQ(counted("results_untrusted_unknown_signer"), 1);
  // Its line is added; the job has lost no attempt.
  list.accept({signer.public_key(), late.public_key()});
  now += 1s;
  core->tick(now);
  const auto [same, again] = job_sent();
  EXPECT_EQ(same, "w");
  EXPECT_EQ(again.attempts, 1u);
  bring(same, again, signed_by(late, key_of(), view_of("code")));
  EXPECT_EQ(writes.size(), 1u);
}

TEST_F(coordinator_access_test, where_no_workers_signer_is_accepted_a_job_fails_with_the_reason) {
  using namespace testing_signers;
  signer_list list;
  const auto stranger = new_signer();
  begin_job_under(list);
  const auto [who, job] = job_sent();
  bring(who, job, signed_by(stranger, key_of(), view_of("code")));
  for (auto waited = 0ms; waited <= limits::no_worker_grace; waited += 1s) {
    now += 1s;
    core->tick(now);
  }
  const auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_NE(failed[0].reason.find("who is not accepted"), std::string::npos) << failed[0].reason;
  EXPECT_EQ(counted("results_untrusted_unknown_signer"), 1);
}

TEST_F(coordinator_access_test, where_a_stage_is_said_that_is_not_the_jobs_the_jobs_must_be_signed) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  auto [who, job] = job_sent();
  job.stage_key = hex64('e');
  bring(who, job, signed_by(signer, hex64('e'), view_of("code")));
  EXPECT_EQ(counted("results_untrusted_bad_signature"), 1);
  EXPECT_TRUE(writes.empty());
}
