#include "monitoring/exposer.hpp"

#include "http_get.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;
using fxfarm::http_connect;
using fxfarm::http_get;
using fxfarm::http_request_to;

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
    "fxfarm_worker_messages_refused_total counter",
    "fxfarm_worker_phase_seconds histogram",
    "fxfarm_worker_sandbox gauge",
    "fxfarm_workers gauge",
    "fxfarm_workers_connected_total counter",
    "fxfarm_workers_lost_total counter",
};

void use(coordinator_probe& c) {
  c.lookup_received();
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
  w.coordinators_now(2);
  w.engine_restarted("engine_crashed");
  w.engines_are_in("bubblewrap");
  w.engine_warmed(2);
  w.message_refused();
  w.job_done();
  w.job_failed("compile_failed");
  w.phase_took("default", "codegen", 1);
  w.artifact_made(1e6);
  m.access().keys_now(3);
  m.access().signers_now(1);
  m.access().keys_read(true);
  m.page().questioned("asked");
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

TEST(exposer, serves_every_declared_family_and_no_other) {
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

TEST(exposer, every_verb_shows_in_the_statistics) {
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
                           "engine_restarts",
                           "sandbox_bubblewrap",
                           "quota_refusals_jobs",
                           "worker_jobs_done",
                           "worker_jobs_failed",
                           "worker_phase_seconds_codegen_sum",
                           "worker_artifact_bytes_sum",
                           "link_reconnects",
                           "link_streams_aborted",
                           "link_peers_now",
                           "link_rejected"}) {
    ASSERT_TRUE(before.contains(name)) << name;
    EXPECT_GT(before.at(name), 0) << name;
  }
}

TEST(exposer, says_that_the_process_lives_and_what_it_is) {
  metrics m("1.2.3", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  const auto reply = http_get(e->address(), "/healthz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200"));
  EXPECT_NE(reply.find(R"(fxfarm_build_info{role="worker",version="1.2.3"} 1)"), std::string::npos);
  EXPECT_TRUE(http_get(e->address(), "/other").starts_with("HTTP/1.1 404"));
}

TEST(exposer, says_whether_the_process_can_work_and_what_it_lacks) {
  metrics m("0.1.0", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  auto reply = http_get(e->address(), "/readyz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 503")) << reply;
  EXPECT_TRUE(reply.ends_with("\r\n\r\nrole: it is starting\n")) << reply;
  m.ready()->lacks("engines", "none is warm");
  m.ready()->lacks("role", {});
  EXPECT_TRUE(http_get(e->address(), "/readyz").ends_with("\r\n\r\nengines: none is warm\n"));
  EXPECT_NE(http_get(e->address(), "/metrics").find("\nfxfarm_ready 0\n"), std::string::npos);
  m.ready()->lacks("engines", {});
  reply = http_get(e->address(), "/readyz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_NE(http_get(e->address(), "/metrics").find("\nfxfarm_ready 1\n"), std::string::npos);
}

TEST(exposer, hands_a_request_to_whoever_answers_its_path_and_method) {
  metrics m("0.1.0", "coordinator");
  http_request seen;
  const auto answer = [&](const http_request& r) {
    seen = r;
    return http_answer{200, "application/json", "{}"};
  };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/api/graphs", answer}, {"POST", "/api/drain", answer}});
  ASSERT_TRUE(e) << problem;
  auto reply = http_get(e->address(), "/api/graphs?name=a%20%3Cb%3E+c&state=&x");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_TRUE(reply.ends_with("\r\n\r\n{}")) << reply;
  EXPECT_EQ(seen.parameters, (std::map<std::string, std::string>{{"name", "a <b> c"}, {"state", ""}, {"x", ""}}));
  for (const char* line : {"\r\nContent-Type: application/json\r\n", "\r\nCache-Control: no-store\r\n",
                           "\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; ",
                           "\r\nX-Content-Type-Options: nosniff\r\n"}) {
    EXPECT_NE(reply.find(line), std::string::npos) << line;
  }
  const std::string headers = "Authorization: Bearer x\r\nContent-Type: application/json\r\n";
  reply = http_request_to(e->address(), "POST", "/api/drain", headers, R"({"worker":"w"})");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_EQ(seen.body, R"({"worker":"w"})");
  EXPECT_EQ(seen.authorization, "Bearer x");
  EXPECT_EQ(seen.content_type, "application/json");
  EXPECT_EQ(seen.peer, "127.0.0.1");
}

TEST(exposer, turns_away_what_no_route_is_for_or_is_too_long) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) -> http_answer { throw std::runtime_error("broken"); };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/get", answer}, {"POST", "/post", answer}});
  ASSERT_TRUE(e) << problem;
  const auto status = [&](const std::string& method, const std::string& path, const std::string& body = "") {
    return http_request_to(e->address(), method, path, "", body).substr(0, 12);
  };
  EXPECT_EQ(status("POST", "/get"), "HTTP/1.1 405");
  EXPECT_EQ(status("GET", "/post"), "HTTP/1.1 405");
  EXPECT_EQ(status("DELETE", "/post"), "HTTP/1.1 405");
  EXPECT_EQ(status("GET", "/get/more"), "HTTP/1.1 404");
  EXPECT_EQ(status("GET", "/get"), "HTTP/1.1 500");
  EXPECT_EQ(status("GET", "/get?a=" + std::string(http_parameter_bytes_max + 1, 'x')), "HTTP/1.1 400");
  std::string many = "/get?";
  for (std::size_t i = 0; i <= http_parameters_max; ++i) many += "p" + std::to_string(i) + "=1&";
  EXPECT_EQ(status("GET", many), "HTTP/1.1 400");
  EXPECT_EQ(status("POST", "/post", std::string(http_body_bytes_max + 1, 'x')), "HTTP/1.1 413");
  EXPECT_EQ(status("POST", "/post", std::string(http_body_bytes_max, 'x')), "HTTP/1.1 500");
  EXPECT_FALSE(status("GET", "/" + std::string(http_head_bytes_max, 'x')).starts_with("HTTP/1.1 2"));
}

TEST(exposer, allows_other_sites_nothing) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/api/status", answer}, {"POST", "/api/drain", answer}});
  ASSERT_TRUE(e) << problem;
  const std::string origin = "Origin: http://example.com\r\n";
  const auto preflight = http_request_to(e->address(), "OPTIONS", "/api/drain",
                                         origin +
                                             "Access-Control-Request-Method: POST\r\n"
                                             "Access-Control-Request-Headers: authorization,content-type\r\n",
                                         "");
  EXPECT_TRUE(preflight.starts_with("HTTP/1.1 405")) << preflight;
  for (const auto& reply : {preflight, http_request_to(e->address(), "GET", "/api/status", origin, ""),
                            http_request_to(e->address(), "POST", "/api/drain", origin, "{}"),
                            http_request_to(e->address(), "GET", "/metrics", origin, ""),
                            http_request_to(e->address(), "GET", "/nothing", origin, "")}) {
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 ")) << reply;
    EXPECT_EQ(reply.find("Access-Control-"), std::string::npos) << reply;
  }
}

TEST(exposer, answers_beside_connections_that_say_nothing) {
  metrics m("0.1.0", "coordinator");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  constexpr std::size_t silent_count = 16;
  // Without a free thread an answer comes once one of them has been given up, however often it is tried; with one, a
  // machine that stood still meanwhile has another go.
  bool beside_all = false;
  for (int i = 0; i < 5 && !beside_all; ++i) {
    std::vector<int> silent;
    while (silent.size() < silent_count) silent.push_back(http_connect(e->address()));
    EXPECT_TRUE(http_get(e->address(), "/healthz").starts_with("HTTP/1.1 200"));
    beside_all = std::all_of(silent.begin(), silent.end(), [](int fd) {
      char byte = 0;
      return ::recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
    });
    for (const int fd : silent) ::close(fd);
  }
  EXPECT_TRUE(beside_all);
}

TEST(exposer, has_links_where_there_is_no_page) {
  metrics m("0.1.0", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  const auto reply = http_get(e->address(), "/");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  for (const char* link : {"href=\"metrics\"", "href=\"healthz\"", "href=\"readyz\""}) {
    EXPECT_NE(reply.find(link), std::string::npos) << link;
  }
}
