// What an engine can and cannot do in a sandbox, tried by one in Python; without bubblewrap here it is skipped.

#include "runtime/sandbox.hpp"

#include "engine_listener.hpp"
#include "scratch_directory.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace fxfarm;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using kind = sandbox_mount::kind;

namespace {

std::vector<std::string> words_after(const std::vector<std::string>& args, const std::string& flag) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i + 1 < args.size(); ++i) {
    if (args[i] == flag) out.push_back(args[i + 1]);
  }
  return out;
}

constexpr const char* test_python = "/usr/bin/python3";

std::shared_ptr<sandbox> box_for_python() {
  auto box = std::make_shared<sandbox>();
  box->program = "bwrap";
  box->mounts = system_mounts();
  box->environment = sandbox_environment();
  return box;
}

bool works() {
  static const bool ok =
      std::system(
          "bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev /usr/bin/python3 -c pass >/dev/null 2>&1") == 0;
  return ok;
}

class sandbox_test : public ::testing::Test {
protected:
  void SetUp() override {
    if (!works()) GTEST_SKIP() << "there is no bubblewrap here, or no right to use it";
    auto made = work_directory::make(place.path());
    ASSERT_TRUE(made);
    options.confinement = box_for_python();
    options.scratch = *std::move(made);
    options.guard = guard;
  }
  // What `expression` is inside, as text; "refused: <errno's name>" for an OSError.
  std::string value_of(const std::string& expression) {
    listener l;
    auto told = options;
    told.argv = {test_python, "-S", "-c", engine_prelude + R"(
import errno, socket
try: send(str(()" + expression + R"()).encode())
except OSError as e: send(b"refused: " + errno.errorcode[e.errno].encode())
)"};
    auto e = start(l, std::move(told));
    return e ? l.frame() : "(not started)";
  }

  scratch_directory place;
  engine_options options;
};

}  // namespace

TEST(sandbox, what_lies_in_something_else_is_mounted_after_it) {
  sandbox box;
  box.program = "bwrap";
  box.mounts = {{"/opt/python", kind::read_only}, {"/opt/python/secret", kind::hidden_file}, {"/opt", kind::read_only}};
  const auto args = confined(box, {{"/opt/cache/0"}, {"/opt/cache/headers"}}, {"python", "-m", "engine"});
  EXPECT_EQ(words_after(args, "--ro-bind-try"),
            (std::vector<std::string>{"/opt", "/opt/cache/headers", "/opt/python"}));
  EXPECT_EQ(words_after(args, "--bind"), (std::vector<std::string>{"/opt/cache/0"}));
  EXPECT_LT(std::find(args.begin(), args.end(), "/opt/python"), std::find(args.begin(), args.end(), "/dev/null"));
  EXPECT_EQ(std::vector<std::string>(args.end() - 4, args.end()),
            (std::vector<std::string>{"--", "python", "-m", "engine"}));
}

TEST(sandbox, only_what_can_be_seen_is_hidden) {
  scratch_directory place;
  fs::create_directory(place.path().string() + "/store");
  std::ofstream(place.path().string() + "/key") << "secret";
  const auto mounts = readable({place.path().string()});
  const auto found = hidden({place.path().string() + "/store", place.path().string() + "/key",
                             place.path().string() + "/none", "/etc/shadow"},
                            mounts);
  ASSERT_EQ(found.size() % 2, 0u);
  EXPECT_EQ(found.front().how, kind::hidden_directory);
  EXPECT_EQ(found.back().how, kind::hidden_file);
  for (const auto& m : found) EXPECT_NE(m.path, "/etc/shadow");
  EXPECT_TRUE(readable({"/", "relative", "/no/such/place"}).empty());
}

TEST(sandbox, what_can_be_seen_is_not_mounted_again) {
  scratch_directory place;
  const auto root = fs::canonical(place.path().string()).string();
  fs::create_directories(root + "/usr/tool-1");
  fs::create_symlink("tool-1", root + "/usr/tool");
  fs::create_directory(root + "/usr-other");
  const std::vector<sandbox_mount> seen{{root + "/usr", kind::read_only}, {root + "/usr-oth", kind::writable}};
  const auto found = readable({root + "/usr/tool", root + "/usr", root + "/usr-other"}, seen);
  ASSERT_FALSE(found.empty());
  for (const auto& m : found) EXPECT_EQ(m.path, root + "/usr-other");
}

TEST(sandbox, variables_go_in_by_name_or_beginning) {
  sandbox box;
  box.environment = {"PATH", "LC_*"};
  EXPECT_TRUE(is_inherited(box, "PATH"));
  EXPECT_TRUE(is_inherited(box, "LC_ALL"));
  EXPECT_FALSE(is_inherited(box, "PATHS"));
  EXPECT_FALSE(is_inherited(box, "AWS_SECRET_ACCESS_KEY"));
}

TEST_F(sandbox_test, has_a_scratch_of_its_own_and_nothing_else_to_write_to) {
  EXPECT_EQ(value_of("open(os.environ['TMPDIR'] + '/x', 'w').write('abc')"), "3");
  EXPECT_EQ(value_of("os.environ['HOME'] == os.environ['TMPDIR']"), "True");
  for (const char* path : {"/usr/x", "/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/self/comm"}) {
    EXPECT_EQ(value_of("open('" + std::string(path) + "', 'w')"), "refused: EROFS") << path;
  }
}

TEST_F(sandbox_test, with_cudas_driver_writes_to_its_own_part_of_proc_alone) {
  auto box = box_for_python();
  // There is none here: it is not mounted, and all that comes with it is.
  for (auto& m : device_mounts({"/dev/nvidia-of-a-test"})) box->mounts.push_back(std::move(m));
  options.confinement = box;
  EXPECT_EQ(value_of("open(f'/proc/self/task/{os.getpid()}/comm', 'w').write('abc')"), "3");
  EXPECT_EQ(value_of("os.path.isdir('/sys/bus')"), "True");
  for (const char* path : {"/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity", "/proc/timer_list",
                           "/sys/kernel/x", "/dev/x", "/x"}) {
    EXPECT_EQ(value_of("open('" + std::string(path) + "', 'w')"), "refused: EROFS") << path;
  }
  EXPECT_EQ(value_of("[p.name for p in os.scandir('/proc') if not p.name.isdigit() and not p.is_symlink()"
                     " and not os.statvfs(p.path).f_flag & os.ST_RDONLY]"),
            "[]");
  EXPECT_EQ(value_of("open('/proc/locks')"), "refused: EACCES") << "hidden, as it would tell of processes outside";
}

TEST_F(sandbox_test, another_device_opens_nothing_of_proc) {
  auto box = box_for_python();
  box->mounts.push_back({"/dev/nvidia-of-a-test", kind::device});
  for (auto& m : device_mounts({"/dev/kfd-of-a-test"})) box->mounts.push_back(std::move(m));
  options.confinement = box;
  EXPECT_EQ(value_of("open('/proc/self/comm', 'w')"), "refused: EROFS");
}

TEST_F(sandbox_test, sees_no_other_files) {
  std::ofstream(place.path().string() + "/secret") << "secret";
  EXPECT_EQ(value_of("open('" + place.path().string() + "/secret')"), "refused: ENOENT");
  EXPECT_EQ(value_of("open('/etc/shadow')"), "refused: ENOENT");
  for (const std::string hidden : {"/home", "/root/.ssh"}) {
    EXPECT_EQ(value_of("os.path.exists('" + hidden + "')"), "False") << hidden;
  }
}

TEST_F(sandbox_test, sees_no_other_processes_and_cannot_signal_them) {
  EXPECT_EQ(value_of("max(int(p) for p in os.listdir('/proc') if p.isdigit()) < 10"), "True");
  EXPECT_EQ(value_of("os.kill(" + std::to_string(::getpid()) + ", 0)"), "refused: ESRCH");
}

TEST_F(sandbox_test, has_no_network_and_no_capabilities) {
  EXPECT_EQ(value_of("socket.create_connection(('192.0.2.1', 80), 5)"), "refused: ENETUNREACH");
  EXPECT_EQ(value_of("[n for _, n in socket.if_nameindex()]"), "['lo']");
  EXPECT_EQ(
      value_of("[l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapBnd'))]"),
      "['0000000000000000', '0000000000000000', '0000000000000000']");
}

TEST_F(sandbox_test, has_no_variables_that_are_not_named) {
  ::setenv("FXFARM_TEST_SECRET", "s", 1);
  ::setenv("TORCH_TEST", "t", 1);
  EXPECT_EQ(value_of("(os.environ.get('FXFARM_TEST_SECRET'), os.environ.get('TORCH_TEST'))"), "(None, 't')");
  ::unsetenv("FXFARM_TEST_SECRET");
  ::unsetenv("TORCH_TEST");
}

TEST_F(sandbox_test, a_process_that_detaches_itself_ends_with_the_engine) {
  listener l;
  options.argv = {test_python, "-S", "-c", engine_prelude + R"(
import fcntl
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(0), os.close(2)
        lock = open(os.environ["TMPDIR"] + "/lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        send(os.environ["TMPDIR"].encode()), os.close(1)
        while True: open(os.environ["TMPDIR"] + "/more", "a").write("x"), time.sleep(0.001)
    os._exit(0)
receive()
)"};
  auto e = start(l, options);
  ASSERT_TRUE(e);
  const auto scratch = l.frame();
  ASSERT_TRUE(fs::exists(scratch)) << scratch;
  e->kill({errc::cancelled, "enough"});
  EXPECT_EQ(l.exited().cause.code, errc::cancelled);
  EXPECT_FALSE(fs::exists(scratch)) << "a process was left that writes there";
}

TEST_F(sandbox_test, how_the_engine_ended_is_told_as_without_it) {
  const auto ends = [this](const std::string& how) {
    listener l;
    auto told = options;
    told.argv = {test_python, "-S", "-c", engine_prelude + how};
    auto e = start(l, std::move(told));
    return to_string(l.exited());
  };
  EXPECT_EQ(ends("sys.exit(3)"), "exited with 3");
  EXPECT_EQ(ends("os.kill(os.getpid(), signal.SIGKILL)"), "killed by signal 9 (Killed)");
}
