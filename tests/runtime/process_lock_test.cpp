#include "runtime/process_lock.hpp"

#include "scratch_directory.hpp"

#include <filesystem>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fxfarm;

namespace {

// A process that takes the lock, says whether it has it, and holds it until it is told to end.
class holder {
public:
  explicit holder(const std::string& file) {
    int up[2], down[2];
    if (::pipe(up) != 0 || ::pipe(down) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(down[1]);
      char told = 0;
      {
        auto lock = process_lock::try_take(file);
        const char has_it = lock && *lock ? 'y' : 'n';
        (void)!::write(up[1], &has_it, 1);
        (void)!::read(down[0], &told, 1);
      }
      ::_exit(0);
    }
    ::close(up[1]);
    ::close(down[0]);
    release_ = down[1];
    char answer = 0;
    has_it_ = ::read(up[0], &answer, 1) == 1 && answer == 'y';
    ::close(up[0]);
  }
  ~holder() { end(); }
  bool has_it() const { return has_it_; }
  void end() {
    if (pid_ <= 0) return;
    ::close(release_);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void die() {
    ::kill(pid_, SIGKILL);
    end();
  }

private:
  pid_t pid_ = 0;
  int release_ = -1;
  bool has_it_ = false;
};

}  // namespace

TEST(process_lock, is_held_by_one_process_at_a_time) {
  scratch_directory dir;
  const auto file = (dir.path() / "lock").string();
  holder first(file);
  ASSERT_TRUE(first.has_it());
  auto mine = process_lock::try_take(file);
  ASSERT_TRUE(mine);
  EXPECT_EQ(*mine, nullptr);
  first.end();
  EXPECT_FALSE(std::filesystem::exists(file)) << "its holder removes the file";
  mine = process_lock::try_take(file);
  ASSERT_TRUE(mine);
  EXPECT_NE(*mine, nullptr);
  EXPECT_FALSE(holder(file).has_it());
}

TEST(process_lock, goes_with_a_process_that_is_killed) {
  scratch_directory dir;
  const auto file = (dir.path() / "lock").string();
  holder first(file);
  ASSERT_TRUE(first.has_it());
  first.die();
  EXPECT_TRUE(std::filesystem::exists(file));
  auto mine = process_lock::try_take(file);
  ASSERT_TRUE(mine);
  EXPECT_NE(*mine, nullptr);
}

TEST(process_lock, an_unusable_file_is_an_error_that_names_it) {
  scratch_directory dir;
  const auto absent = (dir.path() / "no" / "lock").string();
  auto taken = process_lock::try_take(absent);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code, errc::io);
  EXPECT_NE(taken.failure().message.find(absent), std::string::npos);

  const auto link = (dir.path() / "link").string();
  std::filesystem::create_symlink(dir.path() / "elsewhere", link);
  EXPECT_FALSE(process_lock::try_take(link)) << "a link may lead into somebody else's files";
}

// Each process enters and leaves many times; a file that only one may create proves that it is alone.
TEST(process_lock, excludes_even_while_holders_remove_the_file) {
  scratch_directory dir;
  const auto file = (dir.path() / "lock").string();
  const auto inside = (dir.path() / "inside").string();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      int entered = 0;
      while (entered < 200) {
        auto lock = process_lock::try_take(file);
        if (!lock) ::_exit(1);
        if (!*lock) continue;
        if (::mkdir(inside.c_str(), 0700) != 0) ::_exit(2);
        ::rmdir(inside.c_str());
        ++entered;
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (auto pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}
