#include "actors/output.hpp"

#include "doubles.hpp"
#include "runtime/keys.hpp"
#include "tests/runtime/signers.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

const std::string farm = "tcp://farm:7070";
const std::string local = "ipc://local";

class output_test : public actors_test {
protected:
  void start(stage_list wanted = stages({"default", "max-autotune"}), std::string fallback = local) {
    output_options o;
    o.id = 1;
    o.request.graph_key = hex64('a');
    o.request.graph = some_bytes("graph");
    o.request.stages = wanted;
    o.request.target = machine();
    o.request.parts = {{"inputs", "a1"}};
    o.fallback = std::move(fallback);
    o.log = log;
    o.probe = &metrics.client();
    o.signatures = signatures;
    o.now = [this] { return now; };
    o.request.prepare_seconds = 0.5;
    o.load = [this](load_task t) { loads.push_back(std::move(t)); };
    o.failed = [this] { ++failures; };
    graph_status known;
    known.id = 1;
    log->add(known);
    plan = std::move(wanted);
    owner = system.spawn([this]() -> output_owner::behavior_type {
      return {
          [this](const to_farm& m) { out.send("farm", *m.what, m.attachment); },
          [this](const fall_back& m) { fallbacks.push_back(m.why); },
          [this](const graph_settled&) { ++settled; },
      };
    });
    output = system.spawn(output_behavior, owner, std::move(o));
    run();
  }
  void TearDown() override {
    loads.clear();
    end(output);
    end(owner);
    actors_test::TearDown();
  }

  std::string key(std::size_t stage) { return make_stage_key(hex64('a'), machine(), plan.at(stage), ""); }
  void hear(net::message m, blob attachment = nullptr, const std::string& from = farm) {
    tell(output, farm_message{std::make_shared<const net::inbound>(said(from, std::move(m), std::move(attachment)))});
  }
  void ready(std::size_t stage, const std::string& from = farm) {
    hear(net::stage_ready{hex64('a'), key(stage), "memory", 0, {}}, some_bytes("artifact " + std::to_string(stage)),
         from);
  }
  void ready_signed(std::size_t stage, artifact_signature by, std::string_view content = "code") {
    net::stage_ready m{hex64('a'), key(stage), "memory", 0, {}};
    m.signature = std::move(by);
    hear(std::move(m), some_bytes(content));
  }
  void fail(std::size_t stage, errc code, std::uint64_t retry_ms = 0, const std::string& from = farm) {
    hear(net::stage_failed{hex64('a'), key(stage), std::string(to_string(code)), "why", retry_ms}, nullptr, from);
  }
  void loaded(result<void> outcome = {}) {
    auto task = std::move(loads.at(0));
    loads.erase(loads.begin());
    task.done(std::move(outcome));
    run();
  }
  stage_status shown(std::size_t stage) { return log->find(1)->stages.at(stage); }

  std::shared_ptr<const signature_check> signatures;
  stage_list plan;
  outbox out;
  std::vector<error> fallbacks;
  std::vector<load_task> loads;
  int settled = 0;
  int failures = 0;  // that were told
  std::shared_ptr<board> log = std::make_shared<board>();
  monitoring::metrics metrics{"1", "client"};
  std::chrono::steady_clock::time_point now{1000s};
  output_owner owner;
  output_actor output;
};

}  // namespace

TEST_F(output_test, asks_for_all_stages_and_sends_the_graph_when_it_is_needed) {
  start();
  tell(output, resubscribe{});
  auto lookups = out.take<net::lookup>();
  ASSERT_EQ(lookups.size(), 1u);
  EXPECT_EQ(lookups[0].stages, plan);
  EXPECT_EQ(lookups[0].graph_bytes, 5u);
  EXPECT_EQ(lookups[0].parts.at("inputs"), "a1");
  hear(net::need_graph{hex64('a')});
  ASSERT_EQ(out.sent.size(), 1u);
  EXPECT_EQ(text_of(*out.sent[0].attachment), "graph");
}

TEST_F(output_test, loads_the_best_stage_and_releases_worse_ones) {
  start(stages({"a", "b", "c"}));
  tell(output, resubscribe{});
  ready(1);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].stage, 1u);
  EXPECT_EQ(text_of(*loads[0].artifact), "artifact 1");
  loaded();
  EXPECT_EQ(log->find(1)->stage, "b");
  EXPECT_EQ(shown(0).state, stage_state::superseded);
  EXPECT_EQ(out.take<net::release>().at(0).stage_keys, std::vector<std::string>{key(0)});
  EXPECT_EQ(out.take<net::switched>().at(0).stage, "b");
  ready(0);
  EXPECT_TRUE(loads.empty()) << "never a step back";
  EXPECT_EQ(settled, 0);
  ready(2);
  loaded();
  EXPECT_EQ(log->find(1)->stage, "c");
  EXPECT_EQ(settled, 1);
  EXPECT_TRUE(log->find(1)->settled);
}

TEST_F(output_test, tells_the_farm_and_its_own_metrics_how_long_each_step_of_a_switch_took) {
  start(stages({"default"}));
  tell(output, resubscribe{});
  now += 3s;
  ready(0);
  EXPECT_EQ(loads.at(0).told.seconds_to_ready, 3.0);
  EXPECT_EQ(loads.at(0).told.source, shown(0).source);
  now += 250ms;
  loaded();
  const auto told = out.take<net::switched>().at(0);
  EXPECT_EQ(told.request_to_switch_seconds, 3.75);
  EXPECT_EQ(told.prepare_seconds, 0.5);
  EXPECT_EQ(told.farm_seconds, 3);
  EXPECT_EQ(told.load_seconds, 0.25);
  const auto counted = metrics.snapshot();
  EXPECT_EQ(counted.at("client_request_to_switch_seconds_sum"), 3.75);
  EXPECT_EQ(counted.at("client_load_seconds_sum"), 0.25);
  tell(output, rolled_back{0, {errc::slower, "3 ms a call, 2 ms before"}});
  EXPECT_EQ(metrics.snapshot().at("client_stages_rolled_back"), 1);
}

TEST_F(output_test, a_stage_that_was_slower_is_left_and_the_farm_told) {
  start();
  tell(output, resubscribe{});
  for (std::size_t stage : {0u, 1u}) {
    ready(stage);
    loaded();
  }
  out.sent.clear();
  tell(output, rolled_back{0, {errc::slower, "not the current one"}});
  EXPECT_EQ(out.count<net::switched>(), 0u);
  tell(output, rolled_back{7, {errc::slower, "no such stage"}});
  tell(output, rolled_back{1, {errc::slower, "3 ms a call, 2 ms before"}});
  EXPECT_EQ(log->find(1)->stage, "default");
  EXPECT_EQ(shown(1).state, stage_state::rolled_back);
  EXPECT_EQ(shown(1).error, "slower: 3 ms a call, 2 ms before");
  auto reports = out.take<net::switched>();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].error, "slower");
  EXPECT_EQ(log->stats()["stages_rolled_back"], 1u);
  tell(output, rolled_back{0, {errc::slower, "3 ms a call, 2 ms before"}});
  EXPECT_EQ(log->find(1)->stage, "eager");
  EXPECT_TRUE(log->find(1)->settled);
  EXPECT_EQ(failures, 0);
}

TEST_F(output_test, asks_again_for_what_is_missing_after_an_outage) {
  start();
  tell(output, resubscribe{});
  ready(0);
  loaded();
  tell(output, farm_lost{{errc::unreachable, "silent"}});
  EXPECT_EQ(shown(1).error, "unreachable: silent");
  out.sent.clear();
  tell(output, resubscribe{});
  auto lookups = out.take<net::lookup>();
  ASSERT_EQ(lookups.size(), 1u);
  ASSERT_EQ(lookups[0].stages.size(), 1u);
  EXPECT_EQ(lookups[0].stages[0].name, "max-autotune");
  hear(net::stage_progress{hex64('a'), key(1), "running", "w"});
  EXPECT_EQ(shown(1).state, stage_state::running);
  EXPECT_EQ(shown(1).error, "");
}

TEST_F(output_test, asks_again_when_it_hears_nothing_and_not_once_it_is_settled) {
  start(stages({"default"}));
  tell(output, resubscribe{});
  for (int i = 0; i < 3; ++i) {
    out.sent.clear();
    pass(limits::lookup_refresh);
    EXPECT_EQ(out.count<net::lookup>(), 1u);
  }
  fail(0, errc::compile_failed);
  EXPECT_EQ(settled, 1);
  EXPECT_EQ(failures, 1);
  pass(limits::lookup_refresh);
  EXPECT_EQ(out.count<net::lookup>(), 0u);
}

TEST_F(output_test, a_corrupt_artifact_is_asked_for_again_once) {
  start(stages({"default"}));
  tell(output, resubscribe{});
  out.sent.clear();
  ready(0);
  loaded({errc::corrupt, "bad signature"});
  auto lookups = out.take<net::lookup>();
  ASSERT_EQ(lookups.size(), 1u);
  EXPECT_EQ(lookups[0].refused, std::vector<std::string>{key(0)});
  EXPECT_EQ(shown(0).state, stage_state::waiting);
  EXPECT_EQ(failures, 0);
  ready(0);
  loaded({errc::corrupt, "bad signature"});
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(out.count<net::lookup>(), 0u);
  EXPECT_EQ(shown(0).state, stage_state::failed);
  EXPECT_EQ(shown(0).error, "corrupt: bad signature");
  EXPECT_EQ(settled, 1);
}

TEST_F(output_test, a_busy_farm_is_asked_once_for_all_stages_when_it_said) {
  start(stages({"a", "b", "c"}));
  tell(output, resubscribe{});
  for (int round = 0; round < 5; ++round) {
    out.sent.clear();
    for (std::size_t i = 0; i < 3; ++i) fail(i, errc::busy, 1000);
    pass(999ms);
    EXPECT_EQ(out.count<net::lookup>(), 0u);
    pass(1ms);
    auto lookups = out.take<net::lookup>();
    ASSERT_EQ(lookups.size(), 1u) << "round " << round;
    EXPECT_EQ(lookups[0].stages.size(), 3u);
  }
  EXPECT_EQ(settled, 0);
}

TEST_F(output_test, a_retry_in_a_thousand_years_is_one_within_the_refresh) {
  start(stages({"a"}));
  fail(0, errc::busy, ~std::uint64_t{0});
  pass(limits::lookup_refresh);
  EXPECT_EQ(out.count<net::lookup>(), 1u);
}

TEST_F(output_test, falls_back_once_when_the_farm_cannot_serve_it) {
  start();
  tell(output, resubscribe{});
  fail(0, errc::no_worker);
  fail(1, errc::no_worker);
  ASSERT_EQ(fallbacks.size(), 1u);
  EXPECT_EQ(fallbacks[0].code, errc::no_worker);
  EXPECT_EQ(shown(0).state, stage_state::waiting);
  ready(0);
  EXPECT_TRUE(loads.empty()) << "what the abandoned farm still says is void";
  fail(0, errc::no_worker, 0, local);
  EXPECT_EQ(fallbacks.size(), 1u);
  EXPECT_EQ(shown(0).state, stage_state::failed);
  ready(1, local);
  loaded();
  EXPECT_EQ(settled, 1);
}

TEST_F(output_test, does_not_fall_back_to_where_it_is_or_to_nowhere) {
  for (const std::string& fallback : {farm, std::string()}) {
    start(stages({"default"}), fallback);
    fail(0, errc::no_worker);
    EXPECT_TRUE(fallbacks.empty());
    EXPECT_EQ(shown(0).state, stage_state::failed);
    end(output);
    end(owner);
  }
  start(stages({"default"}));
  fail(0, errc::compile_failed);
  EXPECT_TRUE(fallbacks.empty()) << "no farm can do better";
}

TEST_F(output_test, stages_with_equal_options_share_an_artifact) {
  auto twice = stages({"default", "also-default"});
  twice[1].options = twice[0].options;
  start(twice);
  ready(0);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].stage, 1u);
  loaded();
  EXPECT_EQ(settled, 1);
}

TEST_F(output_test, a_load_that_ends_after_its_graph_is_gone_has_no_effect) {
  start(stages({"default"}));
  ready(0);
  auto task = std::move(loads.at(0));
  loads.clear();
  end(output);
  log->erase(1);
  task.done({});
  run();
  EXPECT_TRUE(log->graphs().empty());
}

TEST_F(output_test, loads_what_an_accepted_signer_has_signed_for_that_stage_and_nothing_else) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), stranger = new_signer();
  list.accept({signer.public_key()});
  signatures = list.check();
  start(stages({"a", "b", "c", "d", "e"}));
  tell(output, resubscribe{});
  const auto good = [&](std::size_t stage) { return signed_by(signer, key(stage), view_of("code")); };
  ready_signed(0, {});
  ready_signed(1, signed_by(stranger, key(1), view_of("code")));
  ready_signed(2, good(1));
  ready_signed(3, good(3), "evil");
  EXPECT_TRUE(loads.empty());
  const char* whys[] = {"untrusted: the artifact is not signed", "who is not accepted", "is not what", "is not what"};
  for (std::size_t stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(shown(stage).state, stage_state::failed);
    EXPECT_NE(shown(stage).error.find(whys[stage]), std::string::npos) << shown(stage).error;
  }
  EXPECT_EQ(failures, 4);
  EXPECT_EQ(log->stats()["artifacts_untrusted"], 4u);
  EXPECT_EQ(log->stats()["artifacts"], 0u);
  const auto told = out.take<net::switched>();
  ASSERT_EQ(told.size(), 4u);
  for (const auto& m : told) EXPECT_EQ(m.error, "untrusted");
  EXPECT_TRUE(fallbacks.empty());
  EXPECT_EQ(out.count<net::lookup>(), 1u) << "the farm would give the same again";

  ready_signed(4, good(4));
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].stage, 4u);
  loaded();
  EXPECT_EQ(shown(4).state, stage_state::loaded);
  EXPECT_EQ(settled, 1);
}

TEST_F(output_test, asks_nobodys_word_for_what_the_local_farm_sends) {
  testing_signers::signer_list list;
  signatures = list.check();
  start(stages({"a", "b"}));
  tell(output, resubscribe{});
  ready(0, local);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].stage, 0u);
  ready(1);
  EXPECT_EQ(shown(1).state, stage_state::failed);
}
