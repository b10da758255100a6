#include "cli/run_program.hpp"

#include <gtest/gtest.h>

namespace fxfarm::cli {

using namespace std::chrono_literals;

TEST(run_program, gives_what_the_program_printed) {
  const auto said = run_program({"/bin/sh", "-c", "echo \"$1\"; echo aside >&2", "sh", "two words"}, 60s);
  ASSERT_TRUE(said) << to_string(said.failure());
  EXPECT_EQ(*said, "two words\n");
}

TEST(run_program, tells_why_there_is_nothing) {
  EXPECT_EQ(run_program({"/nonexistent/program"}, 60s).failure().code, errc::not_found);
  const auto failed = run_program({"/bin/sh", "-c", "echo first >&2; echo last >&2; exit 3"}, 60s);
  EXPECT_EQ(failed.failure().code, errc::io);
  EXPECT_EQ(failed.failure().message, "/bin/sh: last");
}

TEST(run_program, does_not_wait_for_ever) {
  EXPECT_EQ(run_program({"/bin/sleep", "1000"}, 1ms).failure().code, errc::timeout);
}

}  // namespace fxfarm::cli
