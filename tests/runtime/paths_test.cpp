#include "runtime/paths.hpp"

#include "runtime/limits.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

namespace fs = std::filesystem;

class private_directory : public ::testing::Test {
protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "fxfarm-paths-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path root_;
};

TEST(paths, follow_the_environment) {
  struct row {
    environment env;
    std::string runtime, cache, config;
  };
  const row rows[] = {
      {{{"XDG_RUNTIME_DIR", "/run/user/7"}, {"XDG_CACHE_HOME", "/c"}, {"XDG_CONFIG_HOME", "/etc/x"}, {"HOME", "/h"}},
       "/run/user/7/fxfarm",
       "/c/fxfarm",
       "/etc/x/fxfarm/config.toml"},
      {{{"TMPDIR", "/scratch"}, {"HOME", "/h"}},
       "/scratch/fxfarm-7",
       "/h/.cache/fxfarm",
       "/h/.config/fxfarm/config.toml"},
      {{}, "/tmp/fxfarm-7", "/tmp/fxfarm-7/cache", ""},
      {{{"XDG_RUNTIME_DIR", "relative"}, {"XDG_CACHE_HOME", ""}, {"HOME", "/h"}},
       "/tmp/fxfarm-7",
       "/h/.cache/fxfarm",
       "/h/.config/fxfarm/config.toml"},
  };
  for (const auto& r : rows) {
    EXPECT_EQ(paths::runtime_directory(r.env, 7), r.runtime);
    EXPECT_EQ(paths::cache_directory(r.env, 7), r.cache);
    EXPECT_EQ(paths::default_config_file(r.env), r.config);
  }
}

TEST(paths, a_local_socket_is_named_by_its_environment_and_has_a_lock_beside_it) {
  auto socket = paths::local_socket("/run/user/7/fxfarm", "a1b2");
  ASSERT_TRUE(socket);
  EXPECT_EQ(*socket, "/run/user/7/fxfarm/local-a1b2.sock");
  EXPECT_EQ(paths::lock_beside(*socket), "/run/user/7/fxfarm/local-a1b2.lock");
  EXPECT_EQ(paths::lock_beside("/run/own-name"), "/run/own-name.lock");
}

TEST(paths, an_environment_tag_is_a_plain_word) {
  for (auto tag : {"", "../x", "a/b", "a b", "a."}) {
    auto socket = paths::local_socket("/run", tag);
    ASSERT_FALSE(socket) << tag;
    EXPECT_EQ(socket.failure().code, errc::bad_input) << tag;
  }
}

TEST(paths, a_socket_path_fits_into_a_socket_address) {
  const std::string rest = "/local-t.sock";
  std::string longest(limits::socket_path_bytes_max - rest.size(), 'd');
  EXPECT_TRUE(paths::local_socket(longest, "t"));
  auto longer = paths::local_socket(longest + "d", "t");
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.failure().code, errc::too_large);
}

TEST_F(private_directory, lists_the_sockets_of_local_farms) {
  EXPECT_TRUE(paths::local_sockets(root_ / "missing").empty());
  for (auto name : {"local-b.sock", "local-a.sock", "local-a.lock", "other.sock"}) std::ofstream(root_ / name) << "";
  EXPECT_EQ(paths::local_sockets(root_), (std::vector<std::string>{root_ / "local-a.sock", root_ / "local-b.sock"}));
}

TEST_F(private_directory, is_made_with_its_parents_for_the_owner_only_and_may_exist) {
  auto directory = (root_ / "a" / "b").string();
  for (int round = 0; round < 2; ++round) {
    auto made = paths::make_private(directory);
    ASSERT_TRUE(made) << to_string(made.failure());
  }
  EXPECT_EQ(fs::status(directory).permissions(), fs::perms::owner_all);
}

TEST_F(private_directory, is_refused_when_others_can_enter) {
  fs::create_directory(root_ / "open");
  fs::permissions(root_ / "open", fs::perms::owner_all | fs::perms::group_exec);
  auto made = paths::make_private(root_ / "open");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code, errc::refused);
}

TEST_F(private_directory, is_refused_when_it_is_a_link_or_a_file) {
  fs::create_directory(root_ / "real");
  fs::permissions(root_ / "real", fs::perms::owner_all);
  fs::create_directory_symlink(root_ / "real", root_ / "link");
  auto made = paths::make_private(root_ / "link");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code, errc::refused);

  ASSERT_EQ(::symlink("/dev/null", (root_ / "null").c_str()), 0);
  EXPECT_FALSE(paths::make_private(root_ / "null"));
}

TEST_F(private_directory, is_refused_when_it_belongs_to_someone_else) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  auto directory = (root_ / "theirs").string();
  ASSERT_EQ(::mkdir(directory.c_str(), S_IRWXU), 0);
  ASSERT_EQ(::chown(directory.c_str(), 12345, 12345), 0);
  auto made = paths::make_private(directory);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code, errc::refused);
  EXPECT_NE(made.failure().message.find("12345"), std::string::npos);
}

TEST_F(private_directory, tells_what_the_system_refused) {
  auto made = paths::make_private("/proc/fxfarm/x");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code, errc::io);
}

}  // namespace
}  // namespace fxfarm
