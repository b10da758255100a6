// How an engine's process starts: the program, what it may have, and the guard that ends what it leaves behind.

#include "runtime/process_spawn.hpp"

#include "engine_listener.hpp"

#include <array>

#include <fcntl.h>
#include <signal.h>

using namespace fxfarm;

TEST(process_spawn, a_program_that_cannot_run_is_an_error_that_names_it) {
  struct {
    std::vector<std::string> argv;
    std::string directory;
    errc code;
    const char* reason;
  } const cases[] = {
      {{"no-such-program"}, "", errc::engine_start, "'no-such-program': no such program in PATH"},
      {{"/no/such/program"}, "", errc::engine_start, "'/no/such/program': No such file"},
      {{"/etc/passwd"}, "", errc::engine_start, "'/etc/passwd': Permission denied"},
      {{"sh"}, "/no/such/directory", errc::engine_start, "'sh': its directory /no/such/directory: No such file"},
      {{}, "", errc::bad_input, "needs the name of a program"},
  };
  for (const auto& c : cases) {
    listener l;
    engine_options options;
    options.argv = c.argv;
    options.directory = c.directory;
    auto started = engine_process::start(options, l.events());
    ASSERT_FALSE(started) << c.reason;
    EXPECT_EQ(started.failure().code, c.code) << c.reason;
    EXPECT_NE(started.failure().message.find(c.reason), std::string::npos) << started.failure().message;
    EXPECT_EQ(l.exits(), 0);
  }
  EXPECT_FALSE(has_children());
}

TEST(process_spawn, is_nice_as_a_session_where_the_kernel_schedules_by_session) {
  std::ifstream enabled("/proc/sys/kernel/sched_autogroup_enabled");
  int on = 0;
  if (!(enabled >> on) || on == 0) GTEST_SKIP() << "this kernel does not group processes by session";
  listener l;
  auto options = python(R"(send(open("/proc/self/autogroup").read().split()[-1].encode()))");
  options.nice = 7;
  auto e = start(l, std::move(options));
  EXPECT_EQ(l.frame(), std::to_string(::nice(0) + 7));
}

TEST(process_spawn, starts_with_the_options_it_was_given) {
  listener l;
  auto options = python(R"(
import resource
send(os.environ["FXFARM_ADDED"].encode())
send(b"yes" if "PATH" in os.environ else b"no")
send(os.getcwd().encode())
send(str(os.nice(0)).encode())
send(str(len(os.sched_getaffinity(0))).encode())
send(str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode())
send(str(resource.getrlimit(resource.RLIMIT_AS)[0]).encode())
send(b"leader" if os.getpgid(0) == os.getpid() else b"member")
send(",".join(sorted(os.listdir("/proc/self/fd"), key=int)[:3]).encode())
send(str(len(os.listdir("/proc/self/fd"))).encode())
send(str(len(signal.pthread_sigmask(signal.SIG_BLOCK, []))).encode())
)");
  options.argv[1] = "-s";  // with the standard library's compiled modules
  options.environment = {{"FXFARM_ADDED", "a=b"}};
  options.directory = "/";
  options.nice = 5;
  options.cpus = last_cpus(1);
  options.open_files = 64;
  options.address_space_bytes = std::uint64_t{1} << 40;
  const int leaked = ::open("/dev/null", O_RDONLY);  // on purpose without O_CLOEXEC
  auto e = start(l, std::move(options));
  EXPECT_EQ(l.frame(), "a=b");
  EXPECT_EQ(l.frame(), "yes");
  EXPECT_EQ(l.frame(), "/");
  EXPECT_EQ(l.frame(), std::to_string(::nice(0) + 5));
  EXPECT_EQ(l.frame(), "1");
  EXPECT_EQ(l.frame(), "64");
  EXPECT_EQ(l.frame(), std::to_string(std::uint64_t{1} << 40));
  EXPECT_EQ(l.frame(), "leader");
  EXPECT_EQ(l.frame(), "0,1,2");
  EXPECT_EQ(l.frame(), "4") << "its pipes and the directory it lists";
  EXPECT_EQ(l.frame(), "0");
  ::close(leaked);
}

TEST(process_spawn, takes_the_last_cpus) {
  const auto all = last_cpus(1'000'000);
  ASSERT_FALSE(all.empty());
  EXPECT_TRUE(last_cpus(0).empty());
  for (unsigned count = 1; count <= all.size(); ++count) {
    EXPECT_EQ(last_cpus(count), std::vector<unsigned>(all.end() - count, all.end()));
  }
}

TEST(process_spawn, does_not_outlive_the_process_that_owns_it) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    listener l;
    auto options = python(R"(
child = subprocess.Popen(["sleep", "1000"])
send(str(child.pid).encode())
signal.pause()
)");
    options.guard = guard;
    auto e = start(l, std::move(options));
    const std::array pids{e ? e->pid() : 0, std::stoi(l.frame())};
    (void)!::write(fds[1], pids.data(), sizeof(pids));
    ::kill(::getpid(), SIGKILL);
  }
  ::close(fds[1]);
  std::array<int, 2> pids{};
  ASSERT_EQ(::read(fds[0], pids.data(), sizeof(pids)), static_cast<ssize_t>(sizeof(pids)));
  ::close(fds[0]);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  EXPECT_TRUE(ends_soon(pids[0])) << "the engine";
  EXPECT_TRUE(ends_soon(pids[1])) << "what it had started";
}

TEST(process_spawn, a_guard_ends_with_its_engine_and_holds_none_of_its_pipes) {
  listener l;
  auto options = python(R"(
send(b" ".join(str(p).encode() for p in children()))
sys.exit(3)
)");
  options.guard = guard;
  auto e = start(l, std::move(options));
  const int pid = std::stoi(l.frame());
  EXPECT_EQ(l.exited().code, 3);
  EXPECT_TRUE(ends_soon(pid));
}

TEST(process_spawn, tells_which_guard_cannot_be_started) {
  listener l;
  auto options = python("signal.pause()");
  options.guard = {"/no/guard", "guard"};
  auto started = engine_process::start(std::move(options), l.events());
  ASSERT_FALSE(started);
  EXPECT_EQ(started.failure().code, errc::engine_start);
  EXPECT_NE(started.failure().message.find("/no/guard: No such file"), std::string::npos) << started.failure().message;
}
