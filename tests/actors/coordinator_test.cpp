#include "actors/coordinator.hpp"

#include "doubles.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

class coordinator_test : public actors_test {
protected:
  store_actor empty_store() {
    return system.spawn([]() -> store_actor::behavior_type {
      return {
          [](const store_read&) {
            return store_found{std::make_shared<const result<std::optional<stored>>>(std::optional<stored>())};
          },
          [](const store_write&) { return store_written{std::make_shared<const result<void>>()}; },
          [](const store_remove&) {},
      };
    });
  }
  void start(std::chrono::milliseconds idle = 0ms) {
    if (!store) store = empty_store();
    coordinator_options o;
    o.settings.id = "farm";
    o.link = link;
    o.artifacts = store;
    o.probe = &metrics.coordinator();
    o.now = [this] { return time_point(sched.clock().now().time_since_epoch()); };
    o.idle_timeout = idle;
    o.on_end = [this] { ++ended; };
    coordinator = system.spawn(coordinator_behavior, std::move(o));
    run();
  }
  void TearDown() override {
    if (ended == 0) tell(coordinator, drain{true});
    coordinator = nullptr;
    end(store);
    actors_test::TearDown();
  }
  void lookup() {
    net::lookup m;
    m.graph_key = hex64('a');
    m.stages = stages({"default"});
    m.target = machine();
    deliver(coordinator, said("a", m));
  }

  monitoring::metrics metrics{"1", "coordinator"};
  std::shared_ptr<outbox> link = std::make_shared<outbox>();
  int ended = 0;
  store_actor store;
  coordinator_actor coordinator;
};

}  // namespace

TEST_F(coordinator_test, a_farm_without_workers_says_so_by_its_own_clock) {
  start();
  deliver(coordinator, came("a", "client"));
  lookup();
  ASSERT_EQ(link->count<net::need_graph>("a"), 1u);
  deliver(coordinator, said("a", net::submit{hex64('a')}, some_bytes()));
  for (int i = 0; i < 3; ++i) pass(1s);
  auto failed = link->take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_EQ(failed[0].reason, "no worker is connected");
}

TEST_F(coordinator_test, leaves_when_it_has_been_idle_and_not_while_a_client_is_there) {
  start(10s);
  deliver(coordinator, came("a", "client"));
  for (int i = 0; i < 10; ++i) pass(10s);
  EXPECT_EQ(ended, 0);
  deliver(coordinator, went("a"));
  pass(9s);
  EXPECT_EQ(ended, 0);
  for (int i = 0; i < 3; ++i) pass(1s);
  EXPECT_EQ(ended, 1);
}

TEST_F(coordinator_test, a_store_that_never_answers_is_a_miss_and_holds_up_no_result) {
  struct silence {
    std::vector<caf::typed_response_promise<store_found>> reads;
    std::vector<caf::typed_response_promise<store_written>> writes;
  };
  store = system.spawn([](store_actor::stateful_pointer<silence> self) -> store_actor::behavior_type {
    return {
        [self](const store_read&) {
          return self->state.reads.emplace_back(self->make_response_promise<store_found>());
        },
        [self](const store_write&) {
          return self->state.writes.emplace_back(self->make_response_promise<store_written>());
        },
        [](const store_remove&) {},
    };
  });
  start();
  deliver(coordinator, came("a", "client"));
  deliver(coordinator, came("w", "worker"));
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 1;
  deliver(coordinator, said("w", offer));
  lookup();
  pass(29s);
  EXPECT_EQ(link->count<net::need_graph>("a"), 0u);
  pass(1s);
  ASSERT_EQ(link->count<net::need_graph>("a"), 1u);
  deliver(coordinator, said("a", net::submit{hex64('a')}, some_bytes()));
  const auto job = link->take<net::job>("w").at(0);
  deliver(coordinator, said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
  EXPECT_EQ(link->count<net::stage_ready>("a"), 0u);
  pass(30s);
  EXPECT_EQ(link->count<net::stage_ready>("a"), 1u);
}

TEST_F(coordinator_test, drains_when_nothing_runs) {
  start();
  deliver(coordinator, came("a", "client"));
  lookup();
  tell(coordinator, drain{});
  EXPECT_EQ(link->take<net::stage_failed>("a").at(0).code, "shutdown");
  EXPECT_EQ(ended, 1);
}

TEST_F(coordinator_test, ends_at_once_while_questions_are_open) {
  start();
  deliver(coordinator, came("a", "client"));
  lookup();
  tell(coordinator, drain{true});
  EXPECT_EQ(ended, 1);
}

TEST_F(coordinator_test, a_store_that_is_gone_is_a_miss_and_keeps_no_job) {
  start();
  caf::anon_send_exit(store, caf::exit_reason::kill);
  run();
  deliver(coordinator, came("a", "client"));
  deliver(coordinator, came("w", "worker"));
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 1;
  deliver(coordinator, said("w", offer));
  lookup();
  ASSERT_EQ(link->count<net::need_graph>("a"), 1u);
  deliver(coordinator, said("a", net::submit{hex64('a')}, some_bytes()));
  const auto job = link->take<net::job>("w").at(0);
  deliver(coordinator, said("w", net::job_done{job.id, job.stage_key, {}}, some_bytes()));
  EXPECT_EQ(link->count<net::stage_ready>("a"), 1u) << "served, though it could not be kept";
}

TEST_F(coordinator_test, answers_questions_of_its_own_process_which_keep_it_no_longer) {
  start(10s);
  const auto ask = [&](const std::string& what) {
    net::answer told;
    tell(coordinator, operator_question{what, {}, [&](net::answer a) { told = std::move(a); }});
    return told;
  };
  EXPECT_EQ(ask("graphs").code, "none");
  EXPECT_EQ(ask("graphs").document, R"({"graphs":[],"known":0,"truncated":false})");
  EXPECT_EQ(ask("nonsense").code, "bad_input");
  pass(9s);
  EXPECT_EQ(ended, 0);
  ask("graphs");
  for (int i = 0; i < 3; ++i) pass(1s);
  EXPECT_EQ(ended, 1);
}
