// When an engine that cannot be started is tried again, under a clock that a test moves.

#include "actors/engine.hpp"
#include "doubles.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

class engine_restart_test : public actors_test {
protected:
  void start() {
    owner = system.spawn([this]() -> engine_owner::behavior_type {
      return {
          [this](const engine_state& s) { problems += s.problem ? 1 : 0; },
          [](const engine_outcome&) {},
          [](const engine_kernel&) {},
      };
    });
    engine_settings settings;
    settings.process.argv = {"/no/such/program"};
    settings.restart_delay_min = 100ms;
    settings.restart_delay_max = 500ms;
    engine = system.spawn(engine_behavior, 0, owner, std::move(settings), &metrics.worker());
    run();
  }
  void TearDown() override {
    tell(engine, drain{});
    engine = nullptr;
    end(owner);
    actors_test::TearDown();
  }

  monitoring::metrics metrics{"1", "worker"};
  int problems = 0;
  engine_owner owner;
  engine_actor engine;
};

}  // namespace

TEST_F(engine_restart_test, delays_double_up_to_their_bound) {
  start();
  int expected = 1;
  EXPECT_EQ(problems, expected);
  for (auto delay : {100ms, 200ms, 400ms, 500ms, 500ms}) {
    pass(delay - 1ms);
    EXPECT_EQ(problems, expected) << delay.count();
    pass(1ms);
    EXPECT_EQ(problems, ++expected) << delay.count();
  }
}

TEST_F(engine_restart_test, an_engine_that_was_told_to_end_is_not_started_again) {
  start();
  tell(engine, drain{});
  pass(1min);
  EXPECT_EQ(problems, 1);
}
