#include "monitoring/metrics.hpp"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;

namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST(metrics, a_role_shows_the_families_of_its_own_probes_only) {
  metrics m("0.1.0", "worker");
  m.worker();
  EXPECT_NE(m.text().find("fxfarm_worker_jobs_done_total 0"), std::string::npos);
  EXPECT_EQ(m.text().find("fxfarm_lookups_total"), std::string::npos);
  EXPECT_EQ(m.text().find("fxfarm_link_"), std::string::npos);
}

TEST(metrics, verbs_move_their_counters_gauges_and_histograms) {
  metrics m("0.1.0", "coordinator");
  auto& c = m.coordinator();
  c.lookup_received();
  c.lookup_received();
  c.stage_served("disk", 10);
  c.jobs_now("running", 3);
  c.phase_took("default", "codegen", 2);
  c.compiled("default", 3.5);
  m.store().evicted("memory", 1000);
  const auto text = m.text();
  EXPECT_TRUE(has_line(text, "fxfarm_lookups_total 2"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_stages_served_total{source="disk"} 1)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_stages_served_total{source="memory"} 0)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_jobs{state="running"} 3)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_compile_phase_seconds_sum{phase="codegen",stage="default"} 2)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_compile_seconds_count{stage="default"} 1)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_store_evictions_total{tier="memory"} 1)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_store_evicted_bytes_total{tier="memory"} 1000)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_build_info{role="coordinator",version="0.1.0"} 1)"));
}

TEST(metrics, a_tier_that_is_not_always_there_shows_from_when_it_is) {
  metrics m("0.1.0", "coordinator");
  m.store();
  EXPECT_EQ(m.text().find("redis"), std::string::npos);
  m.store().has_tier("redis");
  m.redis().breaker_now("half_open");
  const auto text = m.text();
  EXPECT_TRUE(has_line(text, R"(fxfarm_store_hits_total{tier="redis"} 0)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_redis_breaker{state="half_open"} 1)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_redis_breaker{state="closed"} 0)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_redis_writes_dropped_total{reason="shutdown"} 0)"));
}

TEST(metrics, stages_past_the_bound_wait_together) {
  metrics m("0.1.0", "coordinator");
  std::map<std::string, waiting_jobs> waiting;
  for (int i = 0; i < 40; ++i) waiting["stage" + std::to_string(100 + i)] = {1, 10.0 + i};
  m.coordinator().waiting_now(waiting);
  const auto known = static_cast<int>(label_values_max) - 1;  // with "default", which is always there
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_jobs_waiting{stage="other"} )" + std::to_string(40 - known)));
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_oldest_job_wait_seconds{stage="other"} 49)"));
  m.coordinator().waiting_now({{"stage100", {3, 2}}});
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_jobs_waiting{stage="stage100"} 3)"));
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_jobs_waiting{stage="other"} 0)"));
  m.coordinator().waiting_now({});
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_jobs_waiting{stage="stage100"} 0)"));
}

TEST(metrics, a_probe_is_made_once) {
  metrics m("0.1.0", "local");
  EXPECT_EQ(&m.redis(), &m.redis());
  EXPECT_EQ(&m.coordinator(), &m.coordinator());
  EXPECT_EQ(&m.store(), &m.store());
  EXPECT_EQ(&m.worker(), &m.worker());
  EXPECT_EQ(&m.client(), &m.client());
}

TEST(metrics, a_label_has_a_bounded_number_of_values) {
  metrics m("0.1.0", "coordinator");
  for (int i = 0; i < 200; ++i) m.coordinator().compiled("stage" + std::to_string(i), 1);
  const auto text = m.text();
  const auto kept = label_values_max - 1;  // "default" is always there
  EXPECT_EQ(count(text, "fxfarm_compile_seconds_count{stage=\"stage"), kept);
  EXPECT_TRUE(has_line(text, R"(fxfarm_compile_seconds_count{stage="stage0"} 1)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_compile_seconds_count{stage="other"} )" + std::to_string(200 - kept)));
  EXPECT_EQ(m.snapshot().at("compile_seconds_count"), 200);
}

TEST(metrics, a_label_that_is_empty_too_long_or_not_printable_is_other) {
  metrics m("0.1.0", "coordinator");
  for (const auto& odd :
       {std::string(), std::string(label_bytes_max + 1, 'x'), std::string("a\nb"), std::string("\xff\xfe")}) {
    m.coordinator().compiled(odd, 1);
  }
  EXPECT_TRUE(has_line(m.text(), R"(fxfarm_compile_seconds_count{stage="other"} 4)"));
}

TEST(metrics, a_link_is_read_when_somebody_looks) {
  metrics m("0.1.0", "coordinator");
  link_counters counters;
  m.watch_link([&] { return counters; });
  counters.messages_received = 7;
  counters.chunk_bytes_sent = 1 << 20;
  counters.rejected = {{"protocol", 2}, {"too\nodd", 1}};
  counters.peers = 4;
  counters.reconnects = 5;
  counters.streams_aborted = 6;
  const auto text = m.text();
  EXPECT_TRUE(has_line(text, R"(fxfarm_link_messages_total{direction="received"} 7)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_link_chunk_bytes_total{direction="sent"} 1048576)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_link_rejected_total{reason="protocol"} 2)"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_link_rejected_total{reason="other"} 1)"));
  EXPECT_TRUE(has_line(text, "fxfarm_link_peers 4"));
  EXPECT_TRUE(has_line(text, "fxfarm_link_reconnects_total 5"));
  EXPECT_TRUE(has_line(text, "fxfarm_link_streams_aborted_total 6"));
  EXPECT_EQ(m.snapshot().at("link_rejected"), 3);
  EXPECT_EQ(m.snapshot().at("link_peers_now"), 4);
  m.watch_link(nullptr);
  EXPECT_EQ(m.text().find("fxfarm_link_"), std::string::npos);
}

TEST(statistics, start_again_at_zero_after_a_reset_while_the_metrics_go_on) {
  metrics m("0.1.0", "coordinator");
  link_counters link;
  link.messages_sent = 10;
  m.watch_link([&] { return link; });
  auto& c = m.coordinator();
  c.job_started();
  c.job_failed("deadline", "default");
  c.compiled("default", 4);
  c.jobs_now("queued", 5);
  m.store().hit("memory");
  auto s = m.snapshot();
  EXPECT_EQ(s.at("jobs_started"), 1);
  EXPECT_EQ(s.at("jobs_failed"), 1);
  EXPECT_EQ(s.at("jobs_failed.deadline"), 1);
  EXPECT_EQ(s.at("cache_hits_memory"), 1);
  EXPECT_EQ(s.at("compile_seconds_sum"), 4);
  EXPECT_EQ(s.at("resets"), 0);

  m.reset();
  link.messages_sent = 12;
  c.job_started();
  c.compiled("max-autotune", 2.5);  // a child that did not exist at the reset
  s = m.snapshot();
  EXPECT_EQ(s.at("jobs_started"), 1);
  EXPECT_EQ(s.at("jobs_failed"), 0);
  EXPECT_EQ(s.at("jobs_failed.deadline"), 0);
  EXPECT_EQ(s.at("cache_hits_memory"), 0);
  EXPECT_EQ(s.at("compile_seconds_sum"), 2.5);
  EXPECT_EQ(s.at("compile_seconds_count"), 1);
  EXPECT_EQ(s.at("link_messages_sent"), 2);
  EXPECT_EQ(s.at("jobs_now_queued"), 5) << "a gauge is not a count";
  EXPECT_EQ(s.at("resets"), 1);
  EXPECT_GT(s.at("last_reset_timestamp_seconds"), 1.6e9);

  const auto text = m.text();
  EXPECT_TRUE(has_line(text, "fxfarm_jobs_started_total 2"));
  EXPECT_TRUE(has_line(text, R"(fxfarm_store_hits_total{tier="memory"} 1)"));
  EXPECT_TRUE(has_line(text, "fxfarm_stats_resets_total 1"));
}

TEST(statistics, remember_when_and_how_often_they_were_reset) {
  using namespace std::chrono_literals;
  const std::chrono::system_clock::time_point start{1000s};
  statistics s(start);
  EXPECT_EQ(s.resets().count, 0u);
  EXPECT_EQ(s.resets().last, start);
  s.reset(start + 5s);
  s.reset(start + 9s);
  EXPECT_EQ(s.resets().count, 2u);
  EXPECT_EQ(s.resets().last, start + 9s);
}

TEST(statistics, never_show_less_than_zero_when_a_source_begins_anew) {
  statistics s(std::chrono::system_clock::time_point{});
  double counted = 10;
  s.add_source([&](statistics_map& counters, statistics_map&) { counters["n"] += counted; });
  s.reset({});
  counted = 3;
  EXPECT_EQ(s.snapshot().at("n"), 3);
}

TEST(metrics, are_used_by_several_threads_at_once) {
  metrics m("0.1.0", "local");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        m.coordinator().lookup_received();
        m.coordinator().phase_took("stage" + std::to_string(i), "codegen", 0.5);
        m.store().hit("disk");
        if (i % 50 == 0) {
          (void)m.text();
          (void)m.snapshot();
          m.reset();
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_TRUE(has_line(m.text(), "fxfarm_lookups_total 800"));
  EXPECT_TRUE(has_line(m.text(), "fxfarm_stats_resets_total 16"));
}
