// An engine's life: frames both ways, what ends it and what it then says, and that nothing is left of it.

#include "runtime/engine_process.hpp"

#include "engine_listener.hpp"

#include <filesystem>

#include <signal.h>

using namespace fxfarm;

namespace {

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

}  // namespace

TEST(engine_process, passes_frames_both_ways_and_ends_when_told_to) {
  listener l;
  auto e = start(l, python("while (m := receive()) is not None: send(m.upper())"));
  ASSERT_TRUE(e);
  EXPECT_GT(e->pid(), 0);
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(e->send(to_bytes(text)));
  EXPECT_EQ(l.frame(), "ONE");
  EXPECT_EQ(l.frame(), "TWO");
  EXPECT_EQ(l.frame(), "THREE");
  e->stop();
  const auto report = l.exited();
  EXPECT_EQ(to_string(report), "exited with 0");
  EXPECT_EQ(e->send(to_bytes("late")).failure().code, errc::shutdown);
}

TEST(engine_process, passes_frames_larger_than_any_pipe) {
  listener l;
  auto e = start(l, python(R"(
m = receive()
sys.stdout.buffer.write(len(m).to_bytes(4, "big") + m[::-1])
)"));
  std::string large(3'000'000, 'a');
  large.front() = 'z';
  ASSERT_TRUE(e->send(to_bytes(large)));
  const auto back = l.frame();
  EXPECT_EQ(back.size(), large.size());
  EXPECT_EQ(back.back(), 'z');
}

TEST(engine_process, writes_out_what_is_queued_before_it_closes_the_input) {
  listener l;
  auto options = python("time.sleep(0.05)\nn = 0\nwhile receive() is not None: n += 1\nsend(str(n).encode())");
  options.stop_grace = patience;
  auto e = start(l, std::move(options));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(e->send(bytes(100'000)));
  e->stop();
  EXPECT_EQ(l.frame(), "10");
  EXPECT_EQ(l.exited().code, 0);
}

TEST(engine_process, tells_the_exit_code_once_and_last_with_the_frames_before_it) {
  listener l;
  {
    auto e = start(l, python("send(b'bye'); sys.exit(7)"));
    const auto report = l.exited();
    EXPECT_EQ(report.how, exit_report::ending::exited);
    EXPECT_EQ(report.code, 7);
    EXPECT_EQ(report.cause.code, errc::none);
    EXPECT_EQ(l.frame(), "bye");
    e->kill({errc::deadline, "too late to matter"});
  }
  EXPECT_EQ(l.exits(), 1);
}

TEST(engine_process, tells_that_a_signal_killed_it) {
  listener l;
  auto e = start(l, python("os.kill(os.getpid(), signal.SIGKILL)"));
  const auto report = l.exited();
  EXPECT_EQ(report.how, exit_report::ending::signalled);
  EXPECT_EQ(report.signal, SIGKILL);
  EXPECT_EQ(to_string(report), "killed by signal 9 (Killed)");
}

TEST(engine_process, is_killed_for_a_cause_and_says_the_first) {
  listener l;
  auto e = start(l, python("send(b'up'); signal.pause()"));
  EXPECT_EQ(l.frame(), "up");
  e->kill({errc::deadline, "ran for 5 s"});
  e->kill({errc::cancelled, "nobody waits"});
  const auto report = l.exited();
  EXPECT_EQ(report.signal, SIGTERM);
  EXPECT_EQ(report.cause.code, errc::deadline);
  EXPECT_EQ(to_string(report), "killed by signal 15 (Terminated), because deadline: ran for 5 s");
}

TEST(engine_process, one_that_ignores_sigterm_gets_sigkill) {
  for (bool by_stop : {false, true}) {
    listener l;
    auto e = start(l, python("signal.signal(signal.SIGTERM, signal.SIG_IGN); send(b'up')\nwhile True: signal.pause()"));
    EXPECT_EQ(l.frame(), "up");
    if (by_stop) {
      e->stop();
    } else {
      e->kill({errc::cancelled, "nobody waits"});
    }
    EXPECT_EQ(l.exited().signal, SIGKILL) << by_stop;
  }
}

TEST(engine_process, takes_its_children_with_it_however_it_ends) {
  for (const char* ending : {"sys.exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "signal.pause()"}) {
    listener l;
    auto e = start(l, python(R"(
child = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1000; done"])
send(str(child.pid).encode())
receive()
)" + std::string(ending)));
    const int child = std::stoi(l.frame());
    EXPECT_TRUE(runs(child));
    ASSERT_TRUE(e->send(to_bytes("end")));
    if (ending == std::string("signal.pause()")) e->kill({errc::cancelled, "nobody waits"});
    l.exited();
    EXPECT_TRUE(ends_soon(child)) << ending;
  }
}

TEST(engine_process, the_destructor_kills_reaps_and_tells) {
  listener l;
  auto e = start(l, python("signal.signal(signal.SIGTERM, signal.SIG_IGN); send(b'up')\nwhile True: signal.pause()"));
  EXPECT_EQ(l.frame(), "up");
  const int pid = e->pid();
  e.reset();
  EXPECT_EQ(l.exits(), 1);
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_FALSE(has_children());
}

TEST(engine_process, may_be_destroyed_from_within_its_own_event) {
  std::mutex mutex;
  std::condition_variable changed;
  bool gone = false;
  std::optional<exit_report> report;
  std::unique_ptr<engine_process> e;
  std::unique_lock lock(mutex);  // held until `e` is there
  e = *engine_process::start(python("send(b'up'); signal.pause()"), {[&](bytes) {
                                                                       std::lock_guard inside(mutex);
                                                                       e.reset();
                                                                       gone = true;
                                                                     },
                                                                     [&](exit_report r) {
                                                                       std::lock_guard inside(mutex);
                                                                       report = std::move(r);
                                                                       changed.notify_all();
                                                                     }});
  ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return report.has_value(); }));
  EXPECT_TRUE(gone);
  EXPECT_EQ(report->signal, SIGKILL);
}

TEST(engine_process, is_killed_when_it_breaks_the_framing) {
  for (const char* script : {"print('Traceback, and what follows', flush=True); signal.pause()",
                             "os.write(1, b'\\x00\\x00\\x00\\x00'); signal.pause()",
                             "os.write(1, (2000).to_bytes(4, 'big')); signal.pause()"}) {
    listener l;
    auto options = python(script);
    options.frame_bytes_max = 1000;
    auto e = start(l, std::move(options));
    EXPECT_EQ(l.exited().cause.code, errc::protocol) << script;
    EXPECT_EQ(l.frames_left(), 0u);
  }
}

TEST(engine_process, is_killed_when_it_says_more_than_it_may_between_two_frames_to_it) {
  listener l;
  auto options = python(R"(
for i in range(3): send(b"start")
asked = receive()
for i in range(3): send(asked)
receive()
while True: send(b"more")
)");
  options.frames_unasked_max = 3;
  auto e = start(l, std::move(options));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(l.frame(), "start");
  ASSERT_TRUE(e->send(to_bytes("asked")));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(l.frame(), "asked");
  ASSERT_TRUE(e->send(to_bytes("once more")));
  EXPECT_EQ(to_string(l.exited().cause),
            "protocol: the engine's output: more than 3 frames in a row that nothing was sent for");
  EXPECT_EQ(l.frames_left(), 3u);
}

TEST(engine_process, takes_no_frame_beyond_its_bounds) {
  listener l;
  auto options = python("signal.pause()");
  options.frame_bytes_max = 1000;
  auto e = start(l, std::move(options));
  EXPECT_EQ(e->send({}).failure().code, errc::bad_input);
  EXPECT_EQ(e->send(bytes(1001)).failure().code, errc::too_large);
  // It never reads, so the pipe fills first, and then the queue.
  result<void> sent;
  for (int i = 0; i < 10'000 && sent; ++i) sent = e->send(bytes(1000));
  EXPECT_EQ(sent.failure().code, errc::busy);
}

TEST(engine_process, keeps_the_tail_of_its_log) {
  listener l;
  auto e = start(l, python("sys.stderr.write('first\\n' + 'x' * 300000 + '\\nlast words\\n'); sys.exit(1)"));
  const auto report = l.exited();
  EXPECT_EQ(report.log_tail.size(), limits::engine_log_bytes_max);
  EXPECT_TRUE(report.log_tail.ends_with("x\nlast words\n"));
  EXPECT_EQ(report.log_tail.find("first"), std::string::npos);
}

TEST(engine_process, is_killed_when_it_and_its_children_use_too_much_memory) {
  listener l;
  auto e = start(l, python(R"(
send(b"up")
receive()
child = subprocess.Popen([sys.executable, "-S", "-c", "x = b'x' * (256 << 20); import time; time.sleep(1000) "])
signal.pause()
)"));
  EXPECT_EQ(l.frame(), "up");
  e->watch({.memory_bytes = 200 << 20});
  ASSERT_TRUE(e->send(to_bytes("go")));
  const auto report = l.exited();
  EXPECT_EQ(report.cause.code, errc::memory);
  EXPECT_NE(report.cause.message.find(std::to_string(200 << 20) + " are allowed"), std::string::npos);
}

TEST(engine_process, may_use_memory_while_nobody_watches) {
  listener l;
  auto e = start(l, python("x = b'x' * (64 << 20)\nwhile (m := receive()) is not None: send(m)"));
  e->watch({.memory_bytes = std::uint64_t{1} << 40});
  ASSERT_TRUE(e->send(to_bytes("a")));
  EXPECT_EQ(l.frame(), "a");
  e->watch({});
  ASSERT_TRUE(e->send(to_bytes("b")));
  EXPECT_EQ(l.frame(), "b");
}

TEST(engine_process, tells_the_most_memory_that_it_and_its_children_had_since_it_is_watched) {
  listener l;
  auto e = start(l, python(R"(
send(b"up")
receive()
child = subprocess.Popen([sys.executable, "-S", "-c", "x = b'x' * (128 << 20); print(flush=True); input() "],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
send(b"has it")
receive()
child.communicate(b"\n")
send(b"had it")
while (m := receive()) is not None: send(m)
)"));
  EXPECT_EQ(l.frame(), "up");
  EXPECT_EQ(e->memory_peak(), 0u) << "nobody watches";
  e->watch({.memory_noted = true});
  ASSERT_TRUE(e->send(to_bytes("go")));
  EXPECT_EQ(l.frame(), "has it");
  EXPECT_GT(e->memory_peak(), std::uint64_t{128} << 20);
  ASSERT_TRUE(e->send(to_bytes("go")));
  EXPECT_EQ(l.frame(), "had it");
  EXPECT_GT(e->memory_peak(), std::uint64_t{128} << 20) << "the most of all";
  e->watch({.memory_noted = true});
  ASSERT_TRUE(e->send(to_bytes("next")));
  EXPECT_EQ(l.frame(), "next");
  EXPECT_GT(e->memory_peak(), 0u);
  EXPECT_LT(e->memory_peak(), std::uint64_t{128} << 20) << "of this time";
}

TEST(engine_process, many_lives_leave_no_file_and_no_zombie) {
  const auto before = open_files();
  for (int i = 0; i < 50; ++i) {
    listener l;
    engine_options options;
    options.argv = {"sh", "-c", i % 2 == 0 ? "exit 3" : "exec sleep 1000"};
    auto e = start(l, options);
    ASSERT_TRUE(e);
    if (i % 4 == 1) e->kill({errc::cancelled, "nobody waits"});
    if (i % 4 == 3) e.reset();
    l.exited();
  }
  // Fewer when the detached thread of an earlier test closed its last one meanwhile.
  EXPECT_LE(open_files(), before);
  EXPECT_FALSE(has_children());
}
