#include "client/local_farm.hpp"

#include "scripted_farm.hpp"

#include <fstream>
#include <thread>

#include <signal.h>
#include <sys/stat.h>

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(local_farm, a_program_that_detaches_is_started_and_goes_on) {
  scratch_directory directory;
  const auto in = directory.file("in"), out = directory.file("out");
  ASSERT_EQ(::mkfifo(in.c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(out.c_str(), 0600), 0);
  auto started = start_local_farm({"sh", "-c", "(read word <" + in + "; echo $word >" + out + ") & exit 0"});
  ASSERT_TRUE(started) << to_string(started.failure());
  std::ofstream(in) << "hello\n";
  std::string word;
  std::ifstream(out) >> word;
  EXPECT_EQ(word, "hello");
}

TEST(local_farm, a_program_that_cannot_start_says_why) {
  struct {
    std::vector<std::string> command;
    errc code;
    const char* reason;
  } const cases[] = {
      {{}, errc::bad_input, "no command"},
      {{"/no/such/program"}, errc::io, "No such file"},
      {{"sh", "-c", "exit 3"}, errc::io, "exited with 3"},
      {{"sh", "-c", "echo first >&2; echo the reason >&2; echo >&2; exit 3"}, errc::io, "exited with 3: the reason"},
      {{"sh", "-c", "kill -9 $$"}, errc::io, "killed by signal 9"},
      // What takes no more than 4 KiB does not hold the program up either.
      {{"sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 4"}, errc::io, "exited with 4: xxx"},
  };
  for (const auto& c : cases) {
    auto started = start_local_farm(c.command);
    ASSERT_FALSE(started) << c.reason;
    EXPECT_EQ(started.failure().code, c.code);
    EXPECT_NE(started.failure().message.find(c.reason), std::string::npos) << started.failure().message;
  }
}

TEST(local_farm, a_program_that_does_not_detach_is_ended) {
  scratch_directory directory;
  const auto file = directory.file("pid");
  auto started = start_local_farm({"sh", "-c", "echo $$ >" + file + "; exec sleep 1000"}, 500ms);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.failure().code, errc::timeout);
  int pid = 0;
  if (std::ifstream(file) >> pid) {
    EXPECT_EQ(::kill(pid, 0), -1);
  }
}

TEST(local_farm, a_start_apart_reports_from_another_thread) {
  mailbox<std::pair<std::thread::id, result<void>>> reports;
  start_local_farm_apart({"sh", "-c", "exit 3"}, [&](result<void> outcome) {
    reports.put({std::this_thread::get_id(), outcome});
  });
  const auto report = reports.take();
  EXPECT_NE(report.first, std::this_thread::get_id());
  EXPECT_EQ(report.second.failure().code, errc::io);
}
