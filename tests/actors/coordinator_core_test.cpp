#include "actors/coordinator_core.hpp"

#include "doubles.hpp"
#include "runtime/keys.hpp"

#include <limits>

#include <nlohmann/json.hpp>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

class coordinator_core_test : public ::testing::Test, public coordinator_port {
protected:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    out.send(to, std::move(what), std::move(attachment));
  }
  std::shared_ptr<const stored> find_in_memory(const std::string& key) override {
    const auto found = memory.find(key);
    return found == memory.end() ? nullptr : std::make_shared<const stored>(found->second);
  }
  void read_store(const std::string& key) override { reads.push_back(key); }
  void write_store(const std::string& key, stored what) override { writes.emplace_back(key, std::move(what)); }
  void remove_stored(const std::string& key) override { removed.push_back(key); }

  void tell(net::inbound in) {
    core.handle(in, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void client(const net::peer_id& id) { tell(came(id, "client")); }
  void worker(const net::peer_id& id, unsigned slots = 1, platform runs_on = machine()) {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = std::move(runs_on);
    offer.slots = slots;
    tell(said(id, offer));
  }
  net::lookup ask_for(stage_list wanted = stages({"default"})) {
    net::lookup m;
    m.graph_key = graph;
    m.name = "model";
    m.stages = std::move(wanted);
    m.target = machine();
    return m;
  }
  std::string key_of(const char* stage = "default") {
    return make_stage_key(graph, machine(), stages({stage}).front(), "salt");
  }
  void answer_reads(result<std::optional<stored>> found = std::optional<stored>()) {
    for (const auto& key : std::exchange(reads, {})) core.store_read(key, found, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void answer_writes(const result<void>& outcome = {}) {
    for (const auto& [key, what] : std::exchange(writes, {})) core.store_written(key, outcome, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void lookup_misses(const net::peer_id& id, stage_list wanted = stages({"default"})) {
    tell(said(id, ask_for(std::move(wanted))));
    answer_reads();
  }
  void submit(const net::peer_id& id) { tell(said(id, net::submit{graph}, some_bytes("graph"))); }
  // Ticks as an actor would while there is something to wait for.
  void pass(std::chrono::milliseconds time) {
    for (const auto end = now + time; now < end;) {
      now += std::min<std::chrono::milliseconds>(1s, std::chrono::ceil<std::chrono::milliseconds>(end - now));
      core.tick(now);
      ASSERT_EQ(core.inconsistency(), "");
    }
  }
  json ask(const std::string& what, std::map<std::string, std::string> arguments = {}) {
    tell(came("operator", "operator"));
    tell(said("operator", net::ask{7, what, std::move(arguments)}));
    auto answers = out.take<net::answer>("operator");
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).request, 7u);
    return json::parse(answers.at(0).document, nullptr, false);
  }

  net::stage_armed armed(unsigned rank) {
    net::stage_armed m;
    m.graph_key = graph;
    m.group = hex64('b');
    m.rank = rank;
    m.world = 2;
    m.stage_key = key_of();
    return m;
  }

  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.version = "1.2.3";
    s.salt = "salt";
    s.endpoints = {"tcp://farm:7070"};
    s.graph_bytes_max = 100;
    return s;
  }

  coordinator_core make_core(coordinator_settings s) {
    return {std::move(s),
            *this,
            metrics.coordinator(),
            {[this] {
               return std::map<std::string, double>{
                   {"lookups", 3},          {"resets", resets},          {"last_reset_timestamp_seconds", 12},
                   {"cache_bytes_disk", 7}, {"redis_breaker_closed", 0}, {"redis_breaker_open", 1},
                   {"redis_queue_bytes", 5}};
             },
             [this] { ++resets; }},
            now};
  }

  const std::string graph = hex64('a');
  time_point now{1000s};
  outbox out;
  std::map<std::string, stored> memory;
  std::vector<std::string> reads, removed;
  std::vector<std::pair<std::string, stored>> writes;
  int resets = 0;
  monitoring::metrics metrics{"1.2.3", "coordinator"};
  coordinator_core core = make_core(settings());
};

}  // namespace

TEST_F(coordinator_core_test, a_miss_is_compiled_stored_and_only_then_announced) {
  worker("w");
  client("a");
  tell(said("a", ask_for()));
  EXPECT_EQ(reads, std::vector<std::string>{key_of()});
  EXPECT_TRUE(core.busy());
  answer_reads();
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  EXPECT_EQ(out.count<net::job>(), 0u);

  submit("a");
  auto jobs = out.take<net::job>("w");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].stage_key, key_of());
  EXPECT_EQ(jobs[0].lease_ms, 15'000u);
  auto progress = out.take<net::stage_progress>("a");
  ASSERT_EQ(progress.size(), 2u);
  EXPECT_EQ(progress[0].state, "queued");
  EXPECT_EQ(progress[1].state, "running");

  tell(said("w", net::job_done{jobs[0].id, key_of(), {{"lower", 1.5}}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].second.made_by, "w-id");
  EXPECT_EQ(out.count<net::stage_ready>(), 0u) << "not durable yet";
  answer_writes();
  ASSERT_EQ(out.sent.size(), 1u);
  EXPECT_EQ(text_of(*out.sent[0].attachment), "artifact");
  auto ready = out.take<net::stage_ready>("a");
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].source, "w-id");
  EXPECT_EQ(ready[0].phases.at("lower"), 1.5);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, eight_lookups_make_one_job_and_one_question) {
  worker("w");
  for (int i = 0; i < 8; ++i) client("c" + std::to_string(i));
  for (int i = 0; i < 4; ++i) tell(said("c" + std::to_string(i), ask_for()));
  EXPECT_EQ(reads.size(), 1u);
  answer_reads();
  for (int i = 4; i < 8; ++i) tell(said("c" + std::to_string(i), ask_for()));
  EXPECT_TRUE(reads.empty()) << "the job is in flight";
  EXPECT_EQ(out.count<net::need_graph>(), 1u);
  submit("c0");
  auto jobs = out.take<net::job>();
  ASSERT_EQ(jobs.size(), 1u);
  tell(said("w", net::job_done{jobs[0].id, key_of(), {}}, some_bytes()));
  answer_writes();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(out.count<net::stage_ready>("c" + std::to_string(i)), 1u) << i;
}

TEST_F(coordinator_core_test, counts_the_compile_time_that_clients_were_spared_and_the_bytes_they_got) {
  worker("w");
  client("a");
  client("b");
  client("c");
  lookup_misses("a");
  lookup_misses("b");
  submit("a");
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {{"lower", 1.5}, {"codegen", 0.5}}}, some_bytes("artifact")));
  answer_writes();
  EXPECT_EQ(metrics.snapshot()["compile_seconds_saved_job"], 2) << "one of the two would have compiled in any case";
  EXPECT_EQ(metrics.snapshot()["served_bytes_job"], 16);
  tell(said("c", ask_for()));
  answer_reads(std::optional<stored>({some_bytes("artifact"), {{"lower", 1.5}, {"codegen", 0.5}}, "w", "disk"}));
  EXPECT_EQ(metrics.snapshot()["compile_seconds_saved_disk"], 2);
  EXPECT_EQ(metrics.snapshot()["served_bytes_disk"], 8);
}

TEST_F(coordinator_core_test, shows_who_waits_for_which_stage_and_for_how_long) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");  // the first stage runs, the second waits
  pass(7s);
  auto shown = metrics.snapshot();
  EXPECT_EQ(shown["clients_waiting_now"], 0) << "told with the gauges";
  core.publish_gauges();
  shown = metrics.snapshot();
  EXPECT_EQ(shown["clients_waiting_now"], 1);
  EXPECT_EQ(shown["jobs_waiting_default"], 0);
  EXPECT_EQ(shown["jobs_waiting_max-autotune"], 1);
  EXPECT_EQ(shown["oldest_job_wait_seconds_max-autotune"], 7);
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {}}, some_bytes()));
  core.publish_gauges();
  shown = metrics.snapshot();
  EXPECT_EQ(shown["jobs_waiting_max-autotune"], 0) << "it runs now, and no tick need follow";
  EXPECT_EQ(shown["oldest_job_wait_seconds_max-autotune"], 0);
  EXPECT_EQ(shown["queue_seconds_sum"], 7);
}

TEST_F(coordinator_core_test, counts_what_a_switch_took_step_by_step) {
  client("a");
  tell(said("a", net::switched{graph, key_of(), "default", 3.75, 0.25, {}, 0.5, 3}));
  auto counted = metrics.snapshot();
  EXPECT_EQ(counted["request_to_switch_seconds_sum"], 3.75);
  EXPECT_EQ(counted["switch_step_seconds_prepare_sum"], 0.5);
  EXPECT_EQ(counted["switch_step_seconds_farm_sum"], 3);
  EXPECT_EQ(counted["switch_step_seconds_load_sum"], 0.25);
  tell(said("a", net::switched{graph, key_of(), "default", 2, 0.25, {}}));
  counted = metrics.snapshot();
  EXPECT_EQ(counted["request_to_switch_seconds_sum"], 5.75);
  EXPECT_EQ(counted["switch_step_seconds_farm_count"], 1) << "an older client tells no steps";
}

TEST_F(coordinator_core_test, a_time_that_cannot_be_one_is_not_counted) {
  worker("w");
  client("a");
  const double odd[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1, 1e300};
  for (const double seconds : odd) {
    tell(said("a", net::switched{graph, key_of(), "default", seconds, 0, {}}));
    tell(said("a", net::switched{graph, key_of(), "default", 1, 1, {}, 0, seconds}));
  }
  EXPECT_EQ(metrics.snapshot()["messages_refused"], 8);
  EXPECT_EQ(metrics.snapshot()["request_to_switch_seconds_count"], 0);
  lookup_misses("a");
  submit("a");
  const auto id = out.take<net::job>().at(0).id;
  tell(said("w", net::job_done{id, key_of(), {{"lower", 1.5}, {"codegen", odd[0]}, {"pack", -2}}}, some_bytes()));
  const auto counted = metrics.snapshot();
  EXPECT_EQ(counted.at("compile_seconds_sum"), 1.5);
  EXPECT_EQ(counted.at("phase_seconds_lower_sum"), 1.5);
  EXPECT_FALSE(counted.contains("phase_seconds_codegen_sum"));
}

TEST_F(coordinator_core_test, a_hit_is_served_to_everyone_who_asked_once) {
  client("a");
  client("b");
  for (const char* id : {"a", "b", "a"}) tell(said(id, ask_for()));
  answer_reads(std::optional<stored>({some_bytes(), {}, "w", "disk"}));
  EXPECT_EQ(out.count<net::need_graph>(), 0u);
  auto ready = out.take<net::stage_ready>("a");
  ASSERT_EQ(ready.size(), 1u) << "asked twice while the store was at it";
  EXPECT_EQ(ready[0].source, "disk");
  EXPECT_EQ(out.count<net::stage_ready>("b"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, an_artifact_in_memory_is_served_at_once_and_shown) {
  memory[key_of()] = {some_bytes("artifact"), {{"lower", 1.5}}, "w", "memory"};
  client("a");
  tell(said("a", ask_for()));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(core.busy());
  ASSERT_EQ(out.sent.size(), 1u);
  EXPECT_EQ(text_of(*out.sent[0].attachment), "artifact");
  EXPECT_EQ(out.take<net::stage_ready>("a").at(0).source, "memory");
  const auto entry = ask("graphs")["graphs"][0]["stages"][0];
  EXPECT_EQ(entry["state"], "ready");
  EXPECT_EQ(entry["compile_seconds"], 1.5);
}

TEST_F(coordinator_core_test, an_artifact_in_memory_that_a_client_refused_is_not_served_to_it) {
  memory[key_of()] = {some_bytes(), {}, "w", "memory"};
  client("a");
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("a", again));
  EXPECT_EQ(out.count<net::stage_ready>(), 0u);
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, a_store_that_fails_is_a_miss) {
  client("a");
  tell(said("a", ask_for()));
  answer_reads(error{errc::timeout, "the store did not answer"});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, an_artifact_that_cannot_be_stored_is_served_all_the_same) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  tell(said("w", net::job_done{out.take<net::job>().at(0).id, key_of(), {}}, some_bytes()));
  answer_writes({errc::io, "disk full"});
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_refused_artifact_is_compiled_again) {
  client("a");
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("a", again));
  EXPECT_TRUE(reads.empty());
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("a"), 1u);
}

TEST_F(coordinator_core_test, an_artifact_refused_while_it_is_read_for_another_is_not_served_again) {
  client("a");
  client("b");
  tell(said("a", ask_for()));
  auto again = ask_for();
  again.refused = {key_of()};
  tell(said("b", again));
  answer_reads(std::optional<stored>({some_bytes(), {}, "w", "disk"}));
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_EQ(out.count<net::stage_ready>("b"), 0u);
  EXPECT_EQ(removed, std::vector<std::string>{key_of()});
  EXPECT_EQ(out.count<net::need_graph>("b"), 1u);
}

TEST_F(coordinator_core_test, a_graph_is_asked_from_another_when_the_first_leaves_releases_or_is_silent) {
  struct {
    const char* what;
    std::function<void()> happens;
  } const cases[] = {
      {"leaves", [&] { tell(went("a")); }},
      {"releases", [&] { tell(said("a", net::release{{key_of()}})); }},
      {"is silent", [&] { pass(limits::graph_wait_max); }},
  };
  worker("w");
  for (const auto& c : cases) {
    client("a");
    client("b");
    lookup_misses("a");
    lookup_misses("b");
    EXPECT_EQ(out.count<net::need_graph>("a"), 1u) << c.what;
    EXPECT_EQ(out.count<net::need_graph>("b"), 0u) << c.what;
    c.happens();
    EXPECT_EQ(out.count<net::need_graph>("b"), 1u) << c.what;
    EXPECT_EQ(out.count<net::stage_failed>(), 0u) << c.what;
    submit("b");
    auto jobs = out.take<net::job>("w");
    ASSERT_EQ(jobs.size(), 1u) << c.what;
    tell(said("w", net::job_done{jobs[0].id, key_of(), {}}, some_bytes()));
    answer_writes();
    EXPECT_EQ(out.count<net::stage_ready>("b"), 1u) << c.what;
    EXPECT_FALSE(core.busy());
    tell(went("a"));
    tell(went("b"));
    out.sent.clear();
  }
}

TEST_F(coordinator_core_test, a_graph_that_nobody_sends_fails_after_a_bounded_number_of_questions) {
  for (int i = 0; i < 6; ++i) {
    client("c" + std::to_string(i));
    lookup_misses("c" + std::to_string(i));
  }
  pass(limits::graph_asks_max * limits::graph_wait_max);
  EXPECT_EQ(out.count<net::need_graph>(), limits::graph_asks_max);
  auto failed = out.take<net::stage_failed>();
  ASSERT_EQ(failed.size(), 6u);
  EXPECT_EQ(failed[0].code, "timeout");
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_graph_that_was_not_asked_for_is_not_taken) {
  worker("w");
  client("a");
  client("b");
  submit("a");
  lookup_misses("a");
  submit("b");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
}

TEST_F(coordinator_core_test, graphs_past_the_bound_are_answered_busy_and_may_come_later) {
  worker("w");
  client("a");
  lookup_misses("a");
  tell(said("a", net::submit{graph}, some_bytes(std::string(101, 'x'))));
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "busy");
  EXPECT_GT(failed[0].retry_ms, 0u);
  EXPECT_FALSE(core.busy());
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}

TEST_F(coordinator_core_test, a_dead_workers_job_is_retried_elsewhere) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  const auto lost = out.take<net::job>("w").at(0);
  worker("v");
  tell(went("w"));
  auto retried = out.take<net::job>("v");
  ASSERT_EQ(retried.size(), 1u);
  EXPECT_NE(retried[0].id, lost.id);
  tell(said("v", net::job_done{lost.id, key_of(), {}}, some_bytes()));
  EXPECT_TRUE(writes.empty()) << "not its attempt";
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
}

TEST_F(coordinator_core_test, a_job_that_passes_a_workers_limit_of_memory_goes_to_one_that_allows_more) {
  const auto with_memory = [&](const net::peer_id& id, std::uint64_t bytes) {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = machine();
    offer.slots = 1;
    offer.engine_memory_bytes = bytes;
    tell(said(id, offer));
  };
  with_memory("small", 100);
  client("a");
  lookup_misses("a");
  submit("a");
  const auto first = out.take<net::job>("small").at(0);
  tell(said("small", net::job_failed{first.id, key_of(), "memory", "too much"}));
  EXPECT_EQ(out.count<net::job>("small"), 0u);
  with_memory("large", 200);
  const auto second = out.take<net::job>("large").at(0);
  tell(said("large", net::job_failed{second.id, key_of(), "memory", "too much"}));
  EXPECT_EQ(out.count<net::job>(), 0u);
  pass(limits::no_worker_grace + 1s);
  const auto failed = out.take<net::stage_failed>("a").at(0);
  EXPECT_EQ(failed.code, "no_worker");
  EXPECT_NE(failed.reason.find("engine memory of more than 200 bytes wanted"), std::string::npos) << failed.reason;

  // Whoever asks next costs no attempt where it cannot end well.
  client("b");
  lookup_misses("b");
  submit("b");
  EXPECT_EQ(out.count<net::job>(), 0u);
  with_memory("larger", 300);
  EXPECT_EQ(out.count<net::job>("larger"), 1u);
}

TEST_F(coordinator_core_test, a_lease_that_runs_out_is_cancelled_and_retried) {
  worker("w", 2);
  client("a");
  lookup_misses("a");
  submit("a");
  const auto first = out.take<net::job>("w").at(0);
  pass(limits::job_lease);
  auto cancelled = out.take<net::cancel_job>("w");
  ASSERT_EQ(cancelled.size(), 1u);
  EXPECT_EQ(cancelled[0].id, first.id);
  EXPECT_EQ(out.count<net::job>("w"), 1u);
  tell(said("w", net::job_alive{{first.id}}));
  EXPECT_EQ(out.count<net::cancel_job>("w"), 1u) << "the lease has moved on";
}

TEST_F(coordinator_core_test, a_job_that_a_full_worker_refuses_goes_elsewhere_and_loses_no_attempt) {
  worker("w", 9);
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  for (unsigned i = 0; i < 2 * limits::job_attempts_max; ++i) {
    auto refused = out.take<net::job>("w");
    ASSERT_EQ(refused.size(), 1u) << "it has the most free slots, as far as it says";
    tell(said("w", net::job_failed{refused[0].id, key_of(), "busy", "full"}));
    auto elsewhere = out.take<net::job>("v");
    ASSERT_EQ(elsewhere.size(), 1u);
    tell(said("v", net::job_failed{elsewhere[0].id, key_of(), "busy", "full"}));
    EXPECT_TRUE(out.take<net::job>().empty()) << "both have said that they are full";
    pass(1s);
  }
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  tell(said("w", net::job_done{out.take<net::job>("w").at(0).id, key_of(), {}}, some_bytes()));
  answer_writes();
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(coordinator_core_test, the_time_to_retry_grows_with_the_queue_and_what_jobs_took) {
  worker("w");
  client("a");
  const auto refused_ms = [&] {
    auto too_large = ask_for(stages({"too large"}));
    too_large.graph_key = hex64('b');
    tell(said("a", too_large));
    answer_reads();
    tell(said("a", net::submit{too_large.graph_key}, some_bytes(std::string(101, 'x'))));
    auto failed = out.take<net::stage_failed>("a");
    EXPECT_EQ(failed.size(), 1u);
    return failed.at(0).retry_ms;
  };
  lookup_misses("a");
  submit("a");
  const std::uint64_t least = std::chrono::milliseconds(limits::busy_retry_min).count();
  const auto unknown = refused_ms();
  EXPECT_GE(unknown, least);
  EXPECT_LE(unknown, 2 * least);
  now += 5s;
  tell(said("w", net::job_done{out.take<net::job>("w").at(0).id, key_of(), {}}, some_bytes()));
  answer_writes();
  lookup_misses("a", stages({"1", "2", "3", "4", "5"}));
  submit("a");
  const auto four_wait_5s_each = refused_ms();
  EXPECT_GE(four_wait_5s_each, 20'000u);
  EXPECT_LE(four_wait_5s_each, 30'000u);
}

TEST_F(coordinator_core_test, slots_are_shared_between_the_spaces_of_lookups) {
  worker("w", 1);
  for (const char* id : {"a", "b"}) client(id);
  const auto asks = [&](const char* id, stage_list wanted) {
    auto m = ask_for(std::move(wanted));
    m.space = id;
    tell(said(id, m));
    answer_reads();
  };
  asks("a", stages({"a1"}));
  submit("a");
  auto running = out.take<net::job>("w").at(0);
  asks("a", stages({"a2"}));
  asks("b", stages({"b1"}));
  worker("v", 1);
  EXPECT_EQ(out.take<net::job>("v").at(0).stage.name, "b1") << "a has a slot";
  tell(said("w", net::job_done{running.id, running.stage_key, {}}, some_bytes()));
  EXPECT_EQ(out.take<net::job>("w").at(0).stage.name, "a2");
}

TEST_F(coordinator_core_test, a_graph_that_took_long_the_last_time_begins_first) {
  worker("w", 2);
  client("a");
  const auto compile = [&](char digit, std::chrono::seconds took) {
    auto m = ask_for();
    m.graph_key = hex64(digit);
    tell(said("a", m));
    answer_reads();
    tell(said("a", net::submit{m.graph_key}, some_bytes("graph")));
    auto job = out.take<net::job>("w").at(0);
    now += took;
    tell(said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
    answer_writes();
  };
  compile('b', 1s);
  compile('c', 9s);
  tell(went("w"));
  out.sent.clear();
  for (char digit : {'b', 'c'}) {
    auto m = ask_for();
    m.graph_key = hex64(digit);
    m.refused = {make_stage_key(m.graph_key, m.target, m.stages[0], "salt")};
    tell(said("a", m));
    tell(said("a", net::submit{m.graph_key}, some_bytes("graph")));
  }
  worker("w", 1);
  EXPECT_EQ(out.take<net::job>("w").at(0).graph_key, hex64('c'));
}

TEST_F(coordinator_core_test, a_compile_error_reaches_everyone_and_is_remembered) {
  worker("w");
  client("a");
  client("b");
  lookup_misses("a");
  lookup_misses("b");
  submit("a");
  tell(said("w", net::job_failed{out.take<net::job>().at(0).id, key_of(), "compile_failed", "no such operator"}));
  for (const char* id : {"a", "b"}) {
    auto failed = out.take<net::stage_failed>(id);
    ASSERT_EQ(failed.size(), 1u);
    EXPECT_EQ(failed[0].code, "compile_failed");
    EXPECT_EQ(failed[0].reason, "no such operator");
    EXPECT_EQ(failed[0].retry_ms, 0u);
  }
  tell(said("a", ask_for()));
  EXPECT_TRUE(reads.empty());
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
}

TEST_F(coordinator_core_test, no_worker_is_said_after_the_grace_with_what_was_missing) {
  client("a");
  worker("other", 1, machine("2.12.0"));
  lookup_misses("a");
  submit("a");
  pass(limits::no_worker_grace - 1ms);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  pass(1ms);
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_EQ(failed[0].reason, "torch 2.13.0 wanted, the worker has 2.12.0");
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, jobs_in_line_survive_a_worker_that_is_back_within_the_grace) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  ASSERT_EQ(out.count<net::job>("w"), 1u);
  for (int i = 0; i < 3; ++i) pass(limits::job_lease / 5);
  tell(went("w"));
  pass(1s);
  worker("w2", 2);
  EXPECT_EQ(out.count<net::job>("w2"), 2u);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
}

TEST_F(coordinator_core_test, a_worker_that_starts_is_waited_for) {
  client("a");
  tell(came("w", "worker"));
  tell(said("w", net::worker_offer{}));
  lookup_misses("a");
  submit("a");
  pass(60s);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  net::worker_offer ready;
  ready.runs_on = machine();
  ready.slots = 1;
  tell(said("w", ready));
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}

TEST_F(coordinator_core_test, ranks_that_have_armed_a_stage_vote_and_are_told_the_verdict) {
  client("a");
  client("b");
  tell(said("a", armed(0)));
  EXPECT_FALSE(core.busy());
  tell(said("b", armed(1)));
  const auto first = out.take<net::switch_proposed>("a");
  const auto second = out.take<net::switch_proposed>("b");
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].call, second[0].call);
  EXPECT_EQ(first[0].graph_key, graph);
  EXPECT_TRUE(core.busy()) << "the votes have a deadline";
  tell(said("a", net::switch_vote{first[0].group, first[0].round, true, 0, 0}));
  tell(said("b", net::switch_vote{first[0].group, first[0].round, true, 0, 0}));
  for (const auto* peer : {"a", "b"}) {
    const auto told = out.take<net::switch_decided>(peer);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].verdict, "commit");
    EXPECT_EQ(told[0].round, first[0].round);
  }
  EXPECT_FALSE(core.busy());
  EXPECT_EQ(metrics.snapshot()["switches_agreed"], 1);
}

TEST_F(coordinator_core_test, a_round_ends_when_a_vote_does_not_come_or_its_rank_goes) {
  client("a");
  client("b");
  tell(said("a", armed(0)));
  tell(said("b", armed(1)));
  pass(limits::switch_vote_max);
  EXPECT_EQ(out.take<net::switch_decided>("a").at(0).verdict, "abort");
  EXPECT_FALSE(core.busy());
  tell(said("a", armed(0)));
  tell(said("b", armed(1)));
  tell(went("b"));
  EXPECT_EQ(out.take<net::switch_decided>("a").at(0).verdict, "abort");
  EXPECT_EQ(metrics.snapshot()["switches_aborted"], 2);
}

TEST_F(coordinator_core_test, a_role_may_only_send_its_own_messages) {
  worker("w");
  client("a");
  tell(came("o", "operator"));
  tell(came("x", "emperor"));
  out.sent.clear();
  const net::message messages[] = {ask_for(),       net::submit{graph},  net::release{},
                                   net::switched{}, net::worker_offer{}, net::job_alive{{"x"}},
                                   net::job_done{}, net::job_failed{},   net::ask{1, "status", {}},
                                   armed(0),        net::switch_vote{}};
  const std::map<std::string, std::set<std::size_t>> theirs{
      {"a", {0, 1, 2, 3, 9, 10}}, {"w", {4, 5, 6, 7}}, {"o", {8}}, {"x", {}}, {"never came", {}}};
  for (const auto& [peer, own] : theirs) {
    for (std::size_t i = 0; i < std::size(messages); ++i) {
      if (own.contains(i)) continue;
      tell(said(peer, messages[i], some_bytes()));
      const std::size_t told = peer == "never came" ? 0 : 1;
      EXPECT_EQ(out.count<net::rejected>(peer), told) << peer << " " << i;
      EXPECT_TRUE(out.sent.empty() && reads.empty() && writes.empty()) << peer << " " << i;
    }
  }
}

TEST_F(coordinator_core_test, garbage_lookups_are_dropped) {
  client("a");
  auto no_key = ask_for();
  no_key.graph_key = "../../etc/passwd";
  tell(said("a", no_key));
  tell(said("a", ask_for({})));
  tell(said("a", ask_for(stage_list(limits::stages_per_graph_max + 1))));
  EXPECT_TRUE(reads.empty());
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, lookups_that_wait_for_the_store_are_bounded_per_client) {
  client("a");
  client("b");
  const auto each = limits::stages_per_graph_max;
  auto many = ask_for(stage_list(each));
  std::size_t asked = 0;
  while (asked < limits::lookups_reading_per_client_max) {
    for (auto& stage : many.stages) stage.options["n"] = std::to_string(asked++);
    tell(said("a", many));
  }
  out.sent.clear();
  for (auto& stage : many.stages) stage.options["n"] = std::to_string(asked++);
  tell(said("a", many));
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), each);
  EXPECT_EQ(failed[0].code, "busy");
  tell(said("b", ask_for()));
  EXPECT_EQ(out.count<net::stage_failed>("b"), 0u) << "another client has a share of its own";
  answer_reads();
  tell(said("a", ask_for(stages({"another"}))));
  EXPECT_EQ(reads.size(), 1u) << "the store has answered";
}

TEST_F(coordinator_core_test, draining_finishes_what_runs_and_refuses_the_rest) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  const auto job = out.take<net::job>("w").at(0);
  core.drain(now);
  EXPECT_EQ(core.inconsistency(), "");
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "shutdown");
  lookup_misses("a", stages({"another"}));
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
  EXPECT_TRUE(core.busy());
  tell(said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
  answer_writes();
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, a_job_that_fails_while_draining_is_not_queued_for_ever) {
  worker("w");
  client("a");
  lookup_misses("a");
  submit("a");
  core.drain(now);
  tell(went("w"));
  EXPECT_EQ(out.count<net::stage_failed>("a"), 1u);
  EXPECT_FALSE(core.busy());
}

TEST_F(coordinator_core_test, nothing_is_left_when_all_have_gone) {
  worker("w");
  client("a");
  lookup_misses("a", stages({"default", "max-autotune"}));
  submit("a");
  tell(said("a", ask_for(stages({"reading"}))));
  tell(went("a"));
  tell(went("w"));
  answer_reads();
  EXPECT_TRUE(core.idle());
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
  const auto document = ask("graphs");
  for (const auto& stage : document["graphs"][0]["stages"]) EXPECT_NE(stage["state"], "queued");
}

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

TEST_F(coordinator_core_test, a_lease_begins_when_the_graph_can_have_reached_the_worker) {
  auto roomy = settings();
  roomy.graph_bytes_max = limits::attachment_bytes_max;
  auto other = make_core(roomy);
  const auto large = make_blob(bytes(10 * limits::MiB));
  for (const char* role : {"client", "worker"}) other.handle(came(role, role), now);
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 1;
  other.handle(said("worker", offer), now);
  other.handle(said("client", ask_for()), now);
  other.store_read(key_of(), std::optional<stored>(), now);
  other.handle(said("client", net::submit{graph}, large), now);
  ASSERT_EQ(out.count<net::job>("worker"), 1u);
  now += limits::job_lease + limits::transfer_time_max(large->size()) - 1ms;
  other.tick(now);
  EXPECT_EQ(out.count<net::cancel_job>("worker"), 0u);
  EXPECT_GE(limits::transfer_time_max(large->size()), 10s);
  now += 1ms;
  other.tick(now);
  EXPECT_EQ(out.count<net::cancel_job>("worker"), 1u);
}

TEST_F(coordinator_core_test, a_worker_whose_engines_never_say_what_they_are_keeps_no_job_waiting) {
  tell(came("w", "worker"));
  tell(said("w", net::worker_offer{}));
  client("a");
  lookup_misses("a");
  submit("a");
  pass(limits::engine_start_max + limits::no_worker_grace - 1s);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u);
  EXPECT_EQ(ask("status")["workers"][0]["state"], "starting");
  tell(said("w", net::worker_offer{}));
  pass(1s + limits::no_worker_grace);
  auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u) << "saying it again gains it no time";
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_NE(failed[0].reason.find("have not said in time"), std::string::npos) << failed[0].reason;
  EXPECT_EQ(ask("status")["workers"][0]["state"], "unavailable");

  net::worker_offer at_last;
  at_last.runs_on = machine();
  at_last.slots = 1;
  tell(said("w", at_last));
  EXPECT_EQ(ask("status")["workers"][0]["state"], "idle");
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

// --- jobs of a coordinator that is gone ------------------------------------------------------------------------------

namespace {

class adoption_test : public coordinator_core_test {
protected:
  net::job_held held(const std::string& id = "other-1", unsigned attempts = 1) {
    net::job what;
    what.id = id;
    what.stage_key = key_of();
    what.graph_key = graph;
    what.name = "model";
    what.stage = stages({"default"}).front();
    what.target = machine();
    what.attempts = attempts;
    return {what};
  }
  void finish(const net::peer_id& worker, const std::string& id = "other-1") {
    tell(said(worker, net::job_done{id, key_of(), {}}, some_bytes("artifact")));
    answer_writes();
  }
  std::vector<std::string> cancelled(const net::peer_id& worker) {
    std::vector<std::string> ids;
    for (const auto& m : out.take<net::cancel_job>(worker)) ids.push_back(m.id);
    return ids;
  }
  double adopted() { return metrics.snapshot()["jobs_adopted"]; }
};

}  // namespace

TEST_F(adoption_test, a_job_that_a_worker_brings_serves_those_who_ask_later) {
  tell(came("w", "worker"));
  tell(said("w", held()));
  worker("w");
  EXPECT_TRUE(cancelled("w").empty());
  EXPECT_EQ(adopted(), 1);
  client("a");
  lookup_misses("a");
  EXPECT_EQ(out.count<net::need_graph>(), 0u) << "it is compiled already";
  EXPECT_EQ(out.take<net::stage_progress>("a").at(0).state, "running");
  EXPECT_EQ(out.count<net::job>(), 0u) << "its slot is taken";
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
  EXPECT_FALSE(core.busy());
  EXPECT_EQ(ask("status")["workers"][0]["busy"], 0);
}

TEST_F(adoption_test, a_job_is_stored_although_nobody_waits_for_it) {
  worker("w");
  tell(said("w", held()));
  tell(said("w", net::job_done{"other-1", key_of(), {}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].first, key_of());
}

TEST_F(adoption_test, a_queued_job_runs_where_it_ran_already) {
  client("a");
  tell(came("w", "worker"));  // has not said what it offers
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.take<net::stage_progress>("a").back().state, "queued");
  tell(said("w", held()));
  EXPECT_EQ(out.take<net::stage_progress>("a").back().state, "running");
  worker("w", 2);
  EXPECT_EQ(out.count<net::job>(), 0u) << "once is enough";
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(adoption_test, a_job_whose_graph_was_asked_for_needs_none_any_more) {
  client("a");
  worker("w");
  lookup_misses("a");
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  tell(said("w", held()));
  submit("a");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(ask("status")["graph_bytes"], 0);
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 1u);
}

TEST_F(adoption_test, what_runs_elsewhere_is_not_taken_over_and_saying_it_again_changes_nothing) {
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  ASSERT_EQ(out.count<net::job>("v"), 1u);
  worker("w");
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_EQ(adopted(), 0);
  EXPECT_EQ(ask("status")["workers"][1]["busy"], 0);
  finish("w");
  EXPECT_EQ(out.count<net::stage_ready>("a"), 0u) << "it holds no lease";
}

TEST_F(adoption_test, what_was_made_meanwhile_is_not_made_again) {
  worker("v");
  client("a");
  lookup_misses("a");
  submit("a");
  worker("w");
  const auto jobs = out.take<net::job>("v");
  ASSERT_EQ(jobs.size(), 1u);
  finish("v", jobs[0].id);
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, said_again_it_is_the_same_job) {
  worker("w", 3);
  tell(said("w", held()));
  tell(said("w", held()));
  EXPECT_TRUE(cancelled("w").empty());
  EXPECT_EQ(ask("status")["workers"][0]["busy"], 1);
}

TEST_F(adoption_test, a_job_of_another_farm_is_refused) {
  worker("w");
  auto other = held();
  other.what.stage_key = hex64('b');
  tell(said("w", other));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  other = held();
  other.what.graph_key = "no digest";
  tell(said("w", other));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, a_draining_coordinator_takes_over_nothing) {
  worker("w");
  core.drain(now);
  tell(said("w", held()));
  EXPECT_EQ(cancelled("w"), std::vector<std::string>{"other-1"});
  EXPECT_FALSE(core.busy());
}

TEST_F(adoption_test, when_its_worker_dies_the_graph_is_asked_for) {
  worker("w");
  worker("v");
  tell(said("w", held()));
  client("a");
  lookup_misses("a");
  tell(went("w"));
  ASSERT_EQ(out.count<net::need_graph>("a"), 1u);
  submit("a");
  auto jobs = out.take<net::job>("v");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].attempts, 2u);
}

TEST_F(adoption_test, attempts_are_counted_on_over_coordinators) {
  worker("w");
  client("a");
  tell(said("w", held("other-1", limits::job_attempts_max)));
  lookup_misses("a");
  tell(said("w", net::job_failed{"other-1", key_of(), "engine_crashed", "again"}));
  EXPECT_EQ(out.take<net::stage_failed>("a").at(0).code, "quarantined");
}

TEST_F(coordinator_core_test, slots_that_others_took_are_not_filled) {
  tell(came("w", "worker"));
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 2;
  offer.taken = 2;
  tell(said("w", offer));
  client("a");
  lookup_misses("a");
  submit("a");
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(out.count<net::stage_failed>(), 0u) << "they will be free again";
  offer.taken = 1;
  tell(said("w", offer));
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}
