// Every metric family there is, and every verb that fills one: a table that a new family needs a line in.

#include "http_get.hpp"
#include "monitoring/exposer.hpp"

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;
using fxfarm::http_get;

namespace {

// What dashboards and alert rules rely on.
const char* const families[] = {
    "fxfarm_admin_actions_total counter",
    "fxfarm_artifact_bytes histogram",
    "fxfarm_artifacts_refused_total counter",
    "fxfarm_authorized_keys gauge",
    "fxfarm_authorized_keys_reads_total counter",
    "fxfarm_build_info gauge",
    "fxfarm_claims_refused_total counter",
    "fxfarm_client_artifact_bytes_total counter",
    "fxfarm_client_artifacts_refused_total counter",
    "fxfarm_client_artifacts_untrusted_total counter",
    "fxfarm_client_calls_total counter",
    "fxfarm_client_fallbacks_total counter",
    "fxfarm_client_farms_lost_total counter",
    "fxfarm_client_graph_bytes_total counter",
    "fxfarm_client_graphs gauge",
    "fxfarm_client_graphs_waiting gauge",
    "fxfarm_client_load_seconds histogram",
    "fxfarm_client_local_farms_started_total counter",
    "fxfarm_client_lookups_total counter",
    "fxfarm_client_request_to_switch_seconds histogram",
    "fxfarm_client_stages_failed_total counter",
    "fxfarm_client_stages_rolled_back_total counter",
    "fxfarm_clients gauge",
    "fxfarm_clients_waiting gauge",
    "fxfarm_compile_memory_bytes histogram",
    "fxfarm_compile_phase_seconds histogram",
    "fxfarm_compile_seconds histogram",
    "fxfarm_compile_seconds_saved_total counter",
    "fxfarm_graph_bytes histogram",
    "fxfarm_insecure gauge",
    "fxfarm_job_queue_seconds histogram",
    "fxfarm_jobs gauge",
    "fxfarm_jobs_adopted_total counter",
    "fxfarm_jobs_cancelled_total counter",
    "fxfarm_jobs_failed_total counter",
    "fxfarm_jobs_finished_total counter",
    "fxfarm_jobs_queued_total counter",
    "fxfarm_jobs_retried_total counter",
    "fxfarm_jobs_started_total counter",
    "fxfarm_jobs_waiting gauge",
    "fxfarm_link_bytes_total counter",
    "fxfarm_link_chunk_bytes_total counter",
    "fxfarm_link_messages_total counter",
    "fxfarm_link_peers gauge",
    "fxfarm_link_peers_refused_total counter",
    "fxfarm_kernels_asked_total counter",
    "fxfarm_link_reconnects_total counter",
    "fxfarm_link_rejected_total counter",
    "fxfarm_link_streams_aborted_total counter",
    "fxfarm_load_failures_total counter",
    "fxfarm_stages_rolled_back_total counter",
    "fxfarm_load_seconds histogram",
    "fxfarm_lookups_joined_total counter",
    "fxfarm_lookups_total counter",
    "fxfarm_messages_refused_total counter",
    "fxfarm_oldest_job_wait_seconds gauge",
    "fxfarm_page_questions_total counter",
    "fxfarm_page_refusals_total counter",
    "fxfarm_ready gauge",
    "fxfarm_quota_refusals_total counter",
    "fxfarm_redis_breaker gauge",
    "fxfarm_redis_breaker_opened_total counter",
    "fxfarm_redis_operation_seconds histogram",
    "fxfarm_redis_queue_bytes gauge",
    "fxfarm_redis_queue_entries gauge",
    "fxfarm_redis_writes_dropped_total counter",
    "fxfarm_redis_writes_total counter",
    "fxfarm_request_to_switch_seconds histogram",
    "fxfarm_results_refused_total counter",
    "fxfarm_results_untrusted_total counter",
    "fxfarm_served_bytes_total counter",
    "fxfarm_signers gauge",
    "fxfarm_stages_refused_total counter",
    "fxfarm_stages_served_total counter",
    "fxfarm_stats_last_reset_timestamp_seconds gauge",
    "fxfarm_stats_resets_total counter",
    "fxfarm_store_bytes gauge",
    "fxfarm_store_errors_total counter",
    "fxfarm_store_evicted_bytes_total counter",
    "fxfarm_store_evictions_total counter",
    "fxfarm_store_hits_total counter",
    "fxfarm_store_limit_bytes gauge",
    "fxfarm_store_queries_total counter",
    "fxfarm_store_untrusted_total counter",
    "fxfarm_switch_step_seconds histogram",
    "fxfarm_switches_aborted_total counter",
    "fxfarm_switches_agreed_total counter",
    "fxfarm_worker_artifact_bytes histogram",
    "fxfarm_worker_coordinators gauge",
    "fxfarm_worker_engine_restarts_total counter",
    "fxfarm_worker_engine_warm_seconds histogram",
    "fxfarm_worker_engines gauge",
    "fxfarm_worker_jobs gauge",
    "fxfarm_worker_jobs_done_total counter",
    "fxfarm_worker_jobs_failed_total counter",
    "fxfarm_worker_kernels_borrowed_total counter",
    "fxfarm_worker_kernels_lent_total counter",
    "fxfarm_worker_memory_bytes gauge",
    "fxfarm_worker_messages_refused_total counter",
    "fxfarm_worker_phase_seconds histogram",
    "fxfarm_worker_sandbox gauge",
    "fxfarm_workers gauge",
    "fxfarm_workers_connected_total counter",
    "fxfarm_workers_lost_total counter",
};

void use(coordinator_probe& c) {
  c.lookup_received();
  c.kernel_ended("made");
  c.adopted();
  c.joined();
  c.switch_agreed();
  c.switch_aborted();
  c.stage_served("memory", 1e6);
  c.compile_saved("memory", 2);
  c.job_queued();
  c.job_started();
  c.job_finished();
  c.job_failed("deadline", "default");
  c.retried("busy");
  c.worker_came();
  c.worker_left();
  c.queue_waited("default", 0.1);
  c.waiting_now({{"default", {2, 30}}});
  c.phase_took("default", "codegen", 1);
  c.compiled("default", 2);
  c.memory_had("default", 1e9);
  c.request_to_switch("default", 3);
  c.switch_step("default", "farm", 2);
  c.load_took("default", 0.01);
  c.load_failed("corrupt", "default");
  c.rolled_back("default");
  c.artifact_made(1e6);
  c.stage_refused("no_worker");
  c.message_refused("client");
  c.quota_passed("jobs");
  c.artifact_refused();
  c.result_refused();
  c.result_untrusted("unsigned");
  c.claim_refused();
  c.graph_received(1e4);
  c.cancelled();
  c.clients_now(1);
  c.clients_waiting_now(1);
  c.jobs_now("queued", 1);
  c.workers_now("idle", 1);
}

void use_everything(metrics& m) {
  use(m.coordinator());
  auto& s = m.store();
  s.queried("disk");
  s.hit("disk");
  s.failed("disk");
  s.untrusted("disk", "unsigned");
  s.evicted("disk", 1e6);
  s.size_now("disk", 1e9);
  s.limit_is("disk", 1e10);
  auto& r = m.redis();
  r.breaker_now("open");
  r.breaker_opened();
  r.queue_now(1000, 2);
  r.written();
  r.dropped("full");
  r.took("get", 0.1);
  auto& w = m.worker();
  w.engines_now("idle", 2);
  w.jobs_now(1);
  w.memory_now(4e9, 1e9);
  w.coordinators_now(2);
  w.engine_restarted("engine_crashed");
  w.engines_are_in("bubblewrap");
  w.engine_warmed(2);
  w.message_refused();
  w.job_done();
  w.job_failed("compile_failed");
  w.phase_took("default", "codegen", 1);
  w.artifact_made(1e6);
  w.helped("made");
  w.kernel_came("made");
  m.access().keys_now(3);
  m.access().signers_now(1);
  m.access().keys_read(true);
  m.page().questioned("asked");
  m.page().refused("closed");
  m.page().acted("drain", "done");
  auto& p = m.client();
  p.switched("default", 3);
  p.load_took("default", 0.01);
  p.stage_failed("default", "load_failed");
  p.rolled_back("default");
  m.ready()->lacks("role", {});
  m.watch_client([] { return client_counters{{{"lookups", 3}}, {{"default", 2}}, 1, 10, 20}; });
  m.watch_link([] {
    link_counters counters;
    counters.rejected = {{"protocol", 1}};
    counters.refused = {{"unknown_key", 1}};
    counters.peers = 1;
    counters.reconnects = 1;
    counters.streams_aborted = 1;
    return counters;
  });
}

}  // namespace

TEST(families, every_declared_one_is_served_and_no_other) {
  metrics m("0.1.0", "local");
  use_everything(m);
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  EXPECT_TRUE(e->address().starts_with("127.0.0.1:"));
  EXPECT_FALSE(e->address().ends_with(":0"));
  const auto reply = http_get(e->address(), "/metrics");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply.substr(0, 100);
  for (const auto* f : families) EXPECT_NE(reply.find("\n# TYPE " + std::string(f)), std::string::npos) << f;
  std::size_t shown = 0;
  for (auto at = reply.find("# TYPE fxfarm_"); at != std::string::npos; at = reply.find("# TYPE fxfarm_", at + 1))
    ++shown;
  EXPECT_EQ(shown, std::size(families)) << "a new family needs a line in the table above";
}

TEST(families, every_verb_shows_in_the_statistics) {
  metrics m("0.1.0", "local");
  use_everything(m);
  const auto before = m.snapshot();
  constexpr std::size_t of_a_client = 11;  // which tells its statistics itself
  EXPECT_GE(before.size(), std::size(families) - of_a_client);
  for (const char* name : {"lookups",
                           "jobs_adopted",
                           "joined",
                           "switches_agreed",
                           "switches_aborted",
                           "stages_served_memory",
                           "served_bytes_memory",
                           "compile_seconds_saved_memory",
                           "jobs_waiting_default",
                           "oldest_job_wait_seconds_default",
                           "clients_waiting_now",
                           "switch_step_seconds_farm_sum",
                           "cache_limit_bytes_disk",
                           "worker_coordinators_now",
                           "ready",
                           "jobs_queued",
                           "jobs_started",
                           "jobs_finished",
                           "jobs_failed",
                           "jobs_retried",
                           "workers_connected",
                           "workers_lost",
                           "queue_seconds_count",
                           "phase_seconds_codegen_sum",
                           "compile_seconds_sum",
                           "compile_memory_bytes_sum",
                           "worker_memory_bytes_offered",
                           "worker_memory_bytes_taken",
                           "request_to_switch_seconds_sum",
                           "load_seconds_count",
                           "load_failures",
                           "artifact_bytes_sum",
                           "cache_queries_disk",
                           "cache_hits_disk",
                           "cache_errors_disk",
                           "cache_untrusted_disk",
                           "results_untrusted_unsigned",
                           "cache_evictions_disk",
                           "cache_evicted_bytes_disk",
                           "redis_breaker_open",
                           "redis_opened",
                           "redis_queue_bytes",
                           "redis_queue_entries",
                           "redis_writes",
                           "redis_dropped_full",
                           "redis_seconds_get_sum",
                           "page_questions_asked",
                           "admin_actions_done",
                           "page_refusals_closed",
                           "engine_restarts",
                           "sandbox_bubblewrap",
                           "quota_refusals_jobs",
                           "worker_jobs_done",
                           "worker_jobs_failed",
                           "worker_phase_seconds_codegen_sum",
                           "worker_artifact_bytes_sum",
                           "kernels_asked_made",
                           "worker_kernels_lent_made",
                           "worker_kernels_borrowed_made",
                           "link_reconnects",
                           "link_streams_aborted",
                           "link_peers_now",
                           "link_rejected"}) {
    ASSERT_TRUE(before.contains(name)) << name;
    EXPECT_GT(before.at(name), 0) << name;
  }
}
