#include "runtime/work_directory.hpp"

#include "scratch_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fxfarm {
namespace {

std::size_t entries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

TEST(work_directory, goes_with_all_that_is_in_it) {
  scratch_directory scratch;
  auto made = work_directory::make(scratch.path());
  ASSERT_TRUE(made) << to_string(made.failure());
  std::filesystem::create_directories((*made)->path() + "/deep/er");
  std::ofstream((*made)->path() + "/deep/er/file") << "text";
  made->reset();
  EXPECT_EQ(entries(scratch.path()), 0u);
}

TEST(work_directory, several_of_one_process_are_apart) {
  scratch_directory scratch;
  auto one = work_directory::make(scratch.path());
  auto two = work_directory::make(scratch.path());
  ASSERT_TRUE(one && two);
  EXPECT_NE((*one)->path(), (*two)->path());
  EXPECT_TRUE(std::filesystem::is_directory((*one)->path()));
}

TEST(work_directory, of_a_process_that_was_killed_is_removed_by_the_next) {
  scratch_directory scratch;
  const pid_t child = ::fork();
  if (child == 0) {
    auto made = work_directory::make(scratch.path());
    ::_exit(made ? 0 : 1);  // as if killed: nothing is removed
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(entries(scratch.path()), 2u);
  auto made = work_directory::make(scratch.path());
  ASSERT_TRUE(made);
  made->reset();
  EXPECT_EQ(entries(scratch.path()), 0u);
}

TEST(work_directory, that_cannot_be_made_is_an_error_with_its_name) {
  auto made = work_directory::make("/nowhere");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code, errc::io);
  EXPECT_NE(made.failure().message.find("/nowhere/fxfarm-work-"), std::string::npos);
}

}  // namespace
}  // namespace fxfarm
