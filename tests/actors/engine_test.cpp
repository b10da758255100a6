// Real engine processes; the actor runs on real threads here, since what comes from a process comes when it does.

#include "actors/engine.hpp"

#include "actors/system.hpp"
#include "doubles.hpp"
#include "engine_script.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;  // only a broken test waits so long

class engine_test : public ::testing::Test {
protected:
  void start(engine_settings settings) {
    owner = system.spawn([this]() -> engine_owner::behavior_type {
      return {
          [this](const engine_state& s) { keep(states, s); },
          [this](const engine_outcome& o) { keep(outcomes, o); },
          [this](const engine_kernel& k) { keep(kernels, k); },
      };
    });
    engine = system.spawn(engine_behavior, 0, owner, std::move(settings), &metrics.worker());
  }
  void TearDown() override {
    if (!engine) return;
    caf::anon_send(engine, drain{});
    caf::anon_send_exit(owner, caf::exit_reason::user_shutdown);
    engine = nullptr;
    owner = nullptr;
    system.await_all_actors_done();
  }

  template <class T>
  void keep(std::deque<T>& where, const T& what) {
    std::lock_guard lock(mutex);
    where.push_back(what);
    changed.notify_all();
  }
  template <class T>
  T next(std::deque<T>& from) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, patience, [&] { return !from.empty(); })) {
      ADD_FAILURE() << "nothing came";
      return {};
    }
    auto first = std::move(from.front());
    from.pop_front();
    return first;
  }
  engine_state state() { return next(states); }
  engine_outcome outcome() { return next(outcomes); }
  void expect_ready() {
    EXPECT_EQ(state().runs_on, machine());
    EXPECT_TRUE(state().ready);
  }
  void submit(const std::string& id, std::chrono::milliseconds deadline = 60s) {
    caf::anon_send(engine, engine_job{id, "model", {"default", {}}, machine(), some_bytes("graph"), deadline});
  }

  monitoring::metrics metrics{"1", "worker"};
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<engine_state> states;
  std::deque<engine_outcome> outcomes;
  std::deque<engine_kernel> kernels;
  system_config config{2};
  caf::actor_system system{config};
  engine_owner owner;
  engine_actor engine;
};

}  // namespace

TEST_F(engine_test, says_hello_is_ready_and_does_jobs) {
  start(engine_that("serve()"));
  const auto hello = state();
  EXPECT_EQ(hello.runs_on, machine());
  EXPECT_FALSE(hello.ready);
  EXPECT_TRUE(state().ready);
  for (int i = 0; i < 3; ++i) {
    submit("good");
    const auto done = outcome();
    EXPECT_FALSE(done.why);
    ASSERT_TRUE(done.artifact);
    EXPECT_EQ(text_of(*done.artifact), "artifact");
    EXPECT_EQ(done.phases.at("lower"), 0.25);
  }
  submit("bad");
  EXPECT_EQ(to_string(outcome().why.value()), "compile_failed: no such operator");
}

TEST_F(engine_test, a_crash_fails_its_job_and_another_engine_is_started) {
  start(engine_that("serve()"));
  expect_ready();
  for (int i = 0; i < 3; ++i) {
    submit("crash");
    EXPECT_EQ(outcome().why.value().code, errc::engine_crashed);
    EXPECT_EQ(state().problem.value().code, errc::engine_crashed);
    expect_ready();
  }
  submit("good");
  EXPECT_FALSE(outcome().why);
}

TEST_F(engine_test, tells_what_memory_a_job_had_however_it_ends_though_nothing_is_bounded) {
  start(engine_that("x = bytearray(64 << 20)\nserve()"));
  expect_ready();
  for (const char* job : {"good", "bad", "crash"}) {
    submit(job);
    const auto told = outcome().memory_bytes;
    EXPECT_GT(told, std::uint64_t{64} << 20) << job;
    EXPECT_LT(told, std::uint64_t{1} << 30) << job;
  }
}

TEST_F(engine_test, a_job_past_its_deadline_is_killed) {
  start(engine_that("serve()"));
  expect_ready();
  submit("hang", 50ms);
  EXPECT_EQ(outcome().why.value().code, errc::deadline);
  EXPECT_TRUE(state().problem);
  expect_ready();
}

TEST_F(engine_test, a_jobs_kernels_may_be_compiled_elsewhere) {
  const char* asks = R"(
hello(); send(type="ready", platform=platform, warm_seconds=0.5, kernels=True)
while b"shutdown" not in (m := receive()):
    send(type="kernel", id="j", kernel="n", source=b"source")
    answer = receive()
    if b"kernel_done" in answer and b"library" in answer: send(type="done", id="j", artifact=b"artifact", phases={})
    if b"kernel_failed" in answer: send(type="failed", id="j", code="busy", reason="answered")
)";
  start(engine_that(asks));
  EXPECT_FALSE(state().can_help);
  EXPECT_TRUE(state().can_help);
  engine_job job{"j", "model", {"default", {}}, machine(), some_bytes("graph"), 60s};
  job.kernels_elsewhere = 1;
  for (const bool made : {true, false}) {
    caf::anon_send(engine, job);
    const auto wanted = next(kernels);
    EXPECT_EQ(wanted.job + wanted.kernel, "jn");
    EXPECT_EQ(text_of(*wanted.source), "source");
    caf::anon_send(engine, engine_kernel_answer{"another", "n", some_bytes("bytes"), {}});
    caf::anon_send(engine, made ? engine_kernel_answer{"j", "n", some_bytes("library"), {}}
                                : engine_kernel_answer{"j", "n", nullptr, error{errc::busy, "no slot"}});
    EXPECT_EQ(outcome().why.has_value(), !made);
  }
}

TEST_F(engine_test, an_engine_that_asks_for_a_kernel_that_it_may_not_ask_for_is_killed) {
  struct {
    const char* what;
    unsigned kernels_elsewhere;
    std::string asks;
  } const cases[] = {
      {"none may be asked for", 0, "id='j', kernel='n', source=b's'"},
      {"more than may be awaited", 1,
       "id='j', kernel='m', source=b's'); send(type='kernel', id='j', kernel='n', source=b's'"},
      {"of another job", 1, "id='i', kernel='n', source=b's'"},
      {"without a name", 1, "id='j', kernel='', source=b's'"},
      {"with a name that is too long", 1, "id='j', kernel='n' * 65, source=b's'"},
  };
  for (const auto& c : cases) {
    start(engine_that("hello(); ready(); receive(); send(type='kernel', " + c.asks + "); signal.pause()"));
    expect_ready();
    engine_job job{"j", "model", {"default", {}}, machine(), some_bytes("graph"), 60s};
    job.kernels_elsewhere = c.kernels_elsewhere;
    caf::anon_send(engine, job);
    EXPECT_EQ(outcome().why.value().code, errc::protocol) << c.what;
    TearDown();
    states.clear();
  }
}

TEST_F(engine_test, a_job_can_be_cancelled) {
  start(engine_that("serve()"));
  expect_ready();
  submit("hang");
  caf::anon_send(engine, engine_cancel{"another", "why"});
  caf::anon_send(engine, engine_cancel{"hang", "nobody waits"});
  EXPECT_EQ(outcome().why.value().code, errc::cancelled);
  EXPECT_TRUE(state().problem);
  expect_ready();
}

TEST_F(engine_test, a_job_that_cannot_be_taken_is_refused) {
  start(engine_that("hello(); signal.pause()"));
  state();
  submit("good");
  EXPECT_EQ(outcome().why.value().code, errc::engine_start);
}

TEST_F(engine_test, what_dies_before_it_is_ready_could_not_be_started) {
  struct {
    const char* script;
    const char* reason;
  } const cases[] = {
      {"sys.exit(3)", "exited with 3"},
      {"hello(); sys.exit(3)", "exited with 3"},
      {"sys.stderr.write('no module named torch'); sys.exit(1)", "no module named torch"},
      {"send(type='fatal', code='io', reason='no disk'); sys.exit(1)", "no disk"},
      {"hello(2); ready(); signal.pause()", "protocol 2"},
      {"ready(); signal.pause()", "without having said hello"},
      {"os.write(1, b'\\0\\0\\0\\1\\xc1'); signal.pause()", "no msgpack"},
      {"hello(); signal.pause()", "not ready in time"},
  };
  for (const auto& c : cases) {
    auto settings = engine_that(c.script);
    settings.start_max = std::string(c.reason) == "not ready in time" ? 300ms : 60s;
    start(settings);
    for (int times = 0; times < 2; ++times) {
      auto s = state();
      if (!s.problem) s = state();
      EXPECT_FALSE(s.ready) << c.script;
      ASSERT_TRUE(s.problem) << c.script;
      EXPECT_EQ(s.problem->code, errc::engine_start) << c.script;
      EXPECT_NE(s.problem->message.find(c.reason), std::string::npos) << s.problem->message;
    }
    caf::anon_send(engine, drain{});
    caf::anon_send_exit(owner, caf::exit_reason::user_shutdown);
    engine = nullptr;
    owner = nullptr;
    system.await_all_actors_done();
    states.clear();
  }
}

TEST_F(engine_test, what_is_killed_before_it_is_ready_gets_another_chance_though_not_for_ever) {
  start(engine_that("os.kill(os.getpid(), 9)"));
  for (unsigned times = 1; times < limits::engine_starts_max; ++times) {
    EXPECT_EQ(state().problem.value().code, errc::engine_crashed);
  }
  EXPECT_EQ(state().problem.value().code, errc::engine_start);
}

TEST_F(engine_test, a_program_that_is_not_there_is_tried_again) {
  auto settings = engine_that("");
  settings.process.argv = {"/no/such/program"};
  start(settings);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(state().problem.value().code, errc::engine_start);
}

TEST_F(engine_test, jobs_that_kill_engines_do_not_slow_down_their_return) {
  auto settings = engine_that("serve()");
  settings.restart_delay_min = 50ms;
  settings.restart_delay_max = 1h;
  start(settings);
  // If the delay grew, the last engine would be back after minutes.
  for (int i = 0; i < 12; ++i) {
    expect_ready();
    submit("crash");
    EXPECT_TRUE(outcome().why);
    ASSERT_TRUE(state().problem);
  }
}

// A job runs inside its engine, and may have it say what it likes.
TEST_F(engine_test, one_that_gives_itself_out_for_another_in_the_middle_of_a_job_is_ended) {
  for (const std::string again : {"hello()", "ready()"}) {
    start(engine_that("hello(); ready(); receive(); " + again + "; signal.pause()"));
    expect_ready();
    submit("good");
    EXPECT_EQ(outcome().why.value().code, errc::protocol) << again;
    TearDown();
    states.clear();
  }
}

TEST_F(engine_test, garbage_in_the_middle_of_a_job_ends_both) {
  start(engine_that("hello(); ready(); receive(); os.write(1, b'\\0\\0\\0\\1\\xc1'); signal.pause()"));
  expect_ready();
  submit("good");
  EXPECT_EQ(outcome().why.value().code, errc::protocol);
}

TEST_F(engine_test, one_that_says_more_than_a_job_can_have_to_is_ended) {
  const auto phases = [](unsigned count) {
    return "for i in range(" + std::to_string(count) + "): send(type='progress', id='good', phase='lower')\n";
  };
  constexpr auto most = limits::engine_frames_unasked_max;
  start(engine_that("hello(); ready()\nfor count in range(2):\n  receive()\n  " + phases(most - 1) +
                    "  send(type='done', id='good', artifact=b'artifact', phases={})\nreceive()\n" + phases(most + 1) +
                    "signal.pause()"));
  expect_ready();
  for (int i = 0; i < 2; ++i) {
    submit("good");
    EXPECT_FALSE(outcome().why);
  }
  submit("good");
  EXPECT_EQ(outcome().why.value().code, errc::protocol);
  EXPECT_EQ(state().problem.value().code, errc::protocol);
  EXPECT_NE(metrics.text().find("fxfarm_worker_engine_restarts_total{reason=\"protocol\"} 1"), std::string::npos);
}
