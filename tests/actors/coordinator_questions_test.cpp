// What a coordinator answers to those who watch it, and what it forgets when it is told to.
#include "coordinator_harness.hpp"

#include <nlohmann/json.hpp>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;
using nlohmann::json;

TEST_F(coordinator_core_test, documents_have_the_fields_that_the_command_line_shows) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  const auto status = ask("status");
  for (const char* field : {"role", "version", "id", "uptime_seconds", "endpoints", "metrics", "peers", "jobs"}) {
    EXPECT_TRUE(status.contains(field)) << field;
  }
  EXPECT_EQ(status["jobs"]["running"], 1);
  ASSERT_EQ(status["workers"].size(), 1u);
  for (const char* field : {"name", "state", "busy", "slots", "runs_on"}) {
    EXPECT_TRUE(status["workers"][0].contains(field)) << field;
  }
  EXPECT_EQ(status["workers"][0]["runs_on"]["torch"], "2.13.0");
  EXPECT_EQ(status["store"], (nlohmann::json{{"disk_bytes", 7}, {"redis_breaker", "open"}, {"redis_queue_bytes", 5}}));

  const auto graphs = ask("graphs", {{"key", graph.substr(0, 5)}});
  ASSERT_EQ(graphs["graphs"].size(), 1u);
  const auto& shown = graphs["graphs"][0];
  EXPECT_EQ(shown["graph_key"], graph);
  EXPECT_EQ(shown["name"], "model");
  for (const char* field : {"name", "state", "source", "queue_seconds", "compile_seconds", "subscribers", "error"}) {
    EXPECT_TRUE(shown["stages"][0].contains(field)) << field;
  }
  EXPECT_EQ(shown["stages"][0]["state"], "running");
  EXPECT_TRUE(ask("graphs", {{"key", "b"}})["graphs"].empty());

  const auto stats = ask("stats");
  EXPECT_EQ(stats["values"]["lookups"], 3);
  EXPECT_EQ(stats["since"], 12);
  EXPECT_EQ(ask("reset-stats")["resets"], 1);
}

TEST_F(coordinator_core_test, an_unknown_question_is_answered_with_the_known_ones) {
  tell(came("o", "operator"));
  tell(said("o", net::ask{1, "meaning of life", {}}));
  auto answer = out.take<net::answer>("o").at(0);
  EXPECT_EQ(answer.code, "bad_input");
  EXPECT_NE(answer.reason.find("status"), std::string::npos);
}

TEST_F(coordinator_core_test, names_that_are_no_text_do_not_break_the_documents) {
  client("a");
  auto m = ask_for();
  m.name = "\xff\xfe";
  tell(said("a", m));
  EXPECT_TRUE(ask("graphs").is_object());
  net::worker_offer offer;
  offer.problem = "\xc3(";
  tell(came("w", "worker"));
  tell(said("w", offer));
  EXPECT_TRUE(ask("status").is_object());
}

TEST_F(coordinator_core_test, a_status_of_more_workers_than_fit_is_cut) {
  constexpr std::size_t count = 300;
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = "w" + std::to_string(i);
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.problem = std::string(limits::text_bytes_max, 'x');
    tell(said(id, offer));
  }
  const auto status = ask("status");
  EXPECT_EQ(status["truncated"], true);
  EXPECT_EQ(status["peers"]["workers"], count);
  EXPECT_LT(status["workers"].size(), count);
  EXPECT_GT(status["workers"].size(), count / 4);
  EXPECT_LT(status.dump().size(), limits::report_bytes_max + 4 * limits::KiB);
}

TEST_F(coordinator_core_test, a_failure_is_forgotten_by_the_beginning_of_a_key) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  auto forget = [&](const std::string& key) { return ask("forget", {{"key", key}}); };
  EXPECT_EQ(forget(graph.substr(0, 8)), (json{{"stages", 0}, {"failures", 0}, {"in_flight", 1}}));
  const auto job = out.take<net::job>("w").at(0);
  tell(said("w", net::job_failed{job.id, key_of(), "compile_failed", "why"}));
  EXPECT_EQ(forget(key_of().substr(0, 8)), (json{{"stages", 1}, {"failures", 1}, {"in_flight", 0}}));
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  lookup_misses("a");
  EXPECT_EQ(out.count<net::need_graph>("a"), 2u) << "it is tried again";
}

TEST_F(coordinator_core_test, what_is_to_be_forgotten_must_be_named) {
  auto refused = [&](std::map<std::string, std::string> arguments) -> std::string {
    tell(came("operator", "operator"));
    tell(said("operator", net::ask{7, "forget", std::move(arguments)}));
    const auto answer = out.take<net::answer>("operator").at(0);
    return answer.reason.empty() ? "" : answer.code + ": " + answer.reason;
  };
  EXPECT_EQ(refused({}), "bad_input: key: want at least 8 hex digits");
  EXPECT_EQ(refused({{"key", "0123456"}}), "bad_input: key: want at least 8 hex digits");
  EXPECT_EQ(refused({{"key", "0123456*"}}), "bad_input: key: want at least 8 hex digits");
  EXPECT_EQ(refused({{"key", "01234567"}}), "not_found: no graph or stage that was asked for begins with 01234567");
  EXPECT_EQ(refused({{"key", hex64('e')}}), "") << "the store may have it since before this coordinator";
  EXPECT_EQ(removed, std::vector<std::string>{hex64('e')});
}
