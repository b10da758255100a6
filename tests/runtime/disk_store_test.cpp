#include "runtime/disk_store.hpp"

#include "scratch_directory.hpp"

#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fxfarm;
namespace fs = std::filesystem;

namespace {

std::string key_of(int i) {
  auto digits = std::to_string(i);
  return std::string(64 - digits.size(), '0') + digits;
}

stored artifact(std::string_view text) {
  return {make_blob(to_bytes(text)), {{"codegen", 1.5}}, "worker-1", ""};
}

struct told {
  std::vector<error> failed;
  int evicted = 0;
  std::uint64_t bytes = 0;

  std::shared_ptr<store_reporter> reporter() {
    auto r = std::make_shared<store_reporter>();
    r->failed = [this](std::string_view, const error& why) { failed.push_back(why); };
    r->evicted = [this](std::string_view, std::uint64_t) { ++evicted; };
    r->resized = [this](std::string_view, std::uint64_t n) { bytes = n; };
    return r;
  }
};

std::unique_ptr<disk_store> open_at(const fs::path& path, std::uint64_t bytes_max = 1 << 20, told* t = nullptr) {
  auto opened = disk_store::open(path, bytes_max, t != nullptr ? t->reporter() : std::make_shared<store_reporter>());
  if (!opened) {
    ADD_FAILURE() << to_string(opened.failure());
    return nullptr;
  }
  return *std::move(opened);
}

fs::path file_of(const fs::path& directory, int i) {
  return directory / key_of(i).substr(0, 2) / key_of(i);
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t temp_files(const fs::path& directory) {
  std::size_t n = 0;
  for (const auto& e : fs::recursive_directory_iterator(directory)) {
    n += e.path().filename().string().starts_with(".tmp-") ? 1 : 0;
  }
  return n;
}

mode_t mode_of(const fs::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
}

// Runs `body` in a child process; its result is the child's exit code.
template <class F>
int in_child(F&& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST(disk_store, keeps_files_for_their_owner_only) {
  scratch_directory dir;
  const auto path = dir.path() / "a" / "store";
  auto s = open_at(path);
  ASSERT_TRUE(s->put(key_of(1), artifact("code")));
  EXPECT_EQ(mode_of(path), 0700u);
  EXPECT_EQ(mode_of(file_of(path, 1).parent_path()), 0700u);
  EXPECT_EQ(mode_of(file_of(path, 1)), 0600u);
  EXPECT_EQ(temp_files(path), 0u);
}

TEST(disk_store, keeps_empty_artifacts_and_odd_attributes) {
  scratch_directory dir;
  auto s = open_at(dir.path());
  stored odd{make_blob({}), {{"", -0.5}, {"a\nb", 1e300}}, std::string("w\0x", 3), ""};
  ASSERT_TRUE(s->put(key_of(1), odd));
  auto found = s->get(key_of(1));
  ASSERT_TRUE(found && *found);
  EXPECT_TRUE((*found)->data->empty());
  EXPECT_EQ((*found)->phases, odd.phases);
  EXPECT_EQ((*found)->made_by, odd.made_by);
}

TEST(disk_store, refuses_attributes_beyond_their_bound) {
  scratch_directory dir;
  auto s = open_at(dir.path());
  auto what = artifact("code");
  what.made_by = std::string(limits::store_attributes_bytes_max, 'w');
  EXPECT_EQ(s->put(key_of(1), what).failure().code, errc::too_large);
}

TEST(disk_store, a_flipped_bit_anywhere_removes_the_file) {
  scratch_directory dir;
  auto s = open_at(dir.path());
  const auto path = file_of(dir.path(), 1);
  ASSERT_TRUE(s->put(key_of(1), artifact("some code")));
  const auto good = read_file(path);
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    write_file(path, bad);
    EXPECT_EQ(s->get(key_of(1)).failure().code, errc::corrupt) << at;
    EXPECT_FALSE(fs::exists(path)) << at;
  }
  EXPECT_FALSE(*s->get(key_of(1)));
}

TEST(disk_store, a_file_that_is_too_short_or_too_long_is_removed) {
  scratch_directory dir;
  auto s = open_at(dir.path());
  const auto path = file_of(dir.path(), 1);
  ASSERT_TRUE(s->put(key_of(1), artifact("some code")));
  const auto good = read_file(path);
  for (std::size_t length = 0; length < good.size(); ++length) {
    write_file(path, good.substr(0, length));
    EXPECT_EQ(s->get(key_of(1)).failure().code, errc::corrupt) << length;
    EXPECT_FALSE(fs::exists(path)) << length;
  }
  write_file(path, good + "x");
  EXPECT_EQ(s->get(key_of(1)).failure().code, errc::corrupt);
}

TEST(disk_store, an_artifact_under_a_wrong_name_is_corrupt) {
  scratch_directory dir;
  auto s = open_at(dir.path());
  ASSERT_TRUE(s->put(key_of(1), artifact("code of 1")));
  fs::rename(file_of(dir.path(), 1), file_of(dir.path(), 2));
  EXPECT_EQ(s->get(key_of(2)).failure().code, errc::corrupt);
}

TEST(disk_store, leaves_foreign_files_alone) {
  scratch_directory dir;
  write_file(dir.path() / "README", "mine");
  write_file(dir.path() / "00" / "notes.txt", std::string(5000, 'x'));
  auto s = open_at(dir.path(), 2000);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(s->put(key_of(i), artifact(std::string(500, 'x'))));
  EXPECT_TRUE(fs::exists(dir.path() / "README"));
  EXPECT_TRUE(fs::exists(dir.path() / "00" / "notes.txt"));
}

TEST(disk_store, works_on_after_its_directory_was_removed) {
  scratch_directory dir;
  const auto path = dir.path() / "store";
  auto s = open_at(path);
  ASSERT_TRUE(s->put(key_of(1), artifact("code")));
  fs::remove_all(path);
  auto missed = s->get(key_of(1));
  ASSERT_TRUE(missed);
  EXPECT_FALSE(*missed);
  EXPECT_TRUE(s->list());
  ASSERT_TRUE(s->put(key_of(1), artifact("code")));
  EXPECT_TRUE(*s->get(key_of(1)));
  EXPECT_EQ(mode_of(path), 0700u);
}

TEST(disk_store, removes_what_was_used_least_recently_down_to_nine_tenths) {
  scratch_directory dir;
  told t;
  auto s = open_at(dir.path(), 1 << 20, &t);
  ASSERT_TRUE(s->put(key_of(0), artifact(std::string(1000, 'x'))));
  const auto each = t.bytes;
  ASSERT_TRUE(s->remove(key_of(0)));
  EXPECT_EQ(t.bytes, 0u);

  s = open_at(dir.path(), 10 * each, &t);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(s->put(key_of(i), artifact(std::string(1000, 'x'))));
  EXPECT_EQ(t.evicted, 0);
  ASSERT_TRUE(*s->get(key_of(0)));
  ASSERT_TRUE(s->put(key_of(10), artifact(std::string(1000, 'x'))));
  EXPECT_EQ(t.evicted, 2);
  EXPECT_EQ(t.bytes, 9 * each);
  for (int i = 0; i <= 10; ++i) EXPECT_EQ((*s->get(key_of(i))).has_value(), i != 1 && i != 2) << i;
}

TEST(disk_store, never_removes_what_was_just_put) {
  scratch_directory dir;
  auto s = open_at(dir.path(), 1500);
  ASSERT_TRUE(s->put(key_of(1), artifact(std::string(300, 'x'))));
  ASSERT_TRUE(s->put(key_of(2), artifact(std::string(1300, 'x'))));  // more than nine tenths by itself
  EXPECT_FALSE(*s->get(key_of(1)));
  EXPECT_TRUE(*s->get(key_of(2)));
  EXPECT_EQ(s->put(key_of(3), artifact(std::string(1500, 'x'))).failure().code, errc::too_large);
  EXPECT_TRUE(*s->get(key_of(2)));
}

TEST(disk_store, makes_room_at_the_start_when_its_bound_was_lowered) {
  scratch_directory dir;
  {
    auto s = open_at(dir.path());
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(s->put(key_of(i), artifact(std::string(1000, 'x'))));
  }
  told t;
  auto s = open_at(dir.path(), 3000, &t);
  EXPECT_LE(t.bytes, 3000u);
  EXPECT_GT(t.bytes, 0u);
  EXPECT_TRUE(*s->get(key_of(9)));
  EXPECT_FALSE(*s->get(key_of(0)));
}

TEST(disk_store, removes_old_leftovers_of_writers_at_the_start_and_spares_young_ones) {
  scratch_directory dir;
  const auto old = dir.path() / "00" / ".tmp-abandoned";
  const auto young = dir.path() / "00" / ".tmp-writing";
  write_file(old, "x");
  write_file(young, "x");
  fs::last_write_time(old, fs::file_time_type::clock::now() - limits::store_temp_age_max - std::chrono::seconds(10));
  open_at(dir.path());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young));
}

TEST(disk_store, says_which_directory_it_cannot_use_and_why) {
  scratch_directory dir;
  write_file(dir.path() / "file", "x");
  for (const auto& path : {dir.path() / "file", dir.path() / "file" / "below"}) {
    auto opened = disk_store::open(path, 1000, std::make_shared<store_reporter>());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.failure().code, errc::io);
    EXPECT_NE(opened.failure().message.find(path.string() + ": Not a directory"), std::string::npos)
        << opened.failure().message;
  }
}

TEST(disk_store, says_that_it_has_no_permission_on_the_directory) {
  scratch_directory dir;
  fs::create_directory(dir.path() / "store");
  ::chmod((dir.path() / "store").c_str(), 0500);
  const auto path = dir.path() / "store";
  ::chmod(dir.path().c_str(), 0755);
  // As somebody else, when the tests run as root, for whom every directory is open.
  const int said_so = in_child([&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) return 2;
    auto opened = disk_store::open(path, 1000, std::make_shared<store_reporter>());
    if (opened) return 3;
    return opened.failure().message.find("no permission on the directory " + path.string()) != std::string::npos ? 0
                                                                                                                 : 4;
  });
  EXPECT_EQ(said_so, 0);
}

TEST(disk_store, a_full_disk_is_an_error_that_leaves_nothing_behind) {
  scratch_directory dir;
  {
    auto s = open_at(dir.path());
    ASSERT_TRUE(s->put(key_of(1), artifact("small")));
  }
  const int went_well = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};  // writes beyond it fail as on a full disk, with another errno
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto s = disk_store::open(dir.path(), 1 << 20, std::make_shared<store_reporter>());
    if (!s) return 2;
    auto put = (*s)->put(key_of(2), artifact(std::string(10'000, 'x')));
    if (put || put.failure().code != errc::io) return 3;
    auto old = (*s)->get(key_of(1));
    return old && *old ? 0 : 4;
  });
  EXPECT_EQ(went_well, 0);
  EXPECT_EQ(temp_files(dir.path()), 0u);
  EXPECT_FALSE(fs::exists(file_of(dir.path(), 2)));
}

TEST(disk_store, is_shared_by_several_processes) {
  scratch_directory dir;
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto s = disk_store::open(dir.path(), 20'000, std::make_shared<store_reporter>());
      if (!s) ::_exit(2);
      for (int i = 0; i < 60; ++i) {
        const auto key = key_of(i % 30);
        if (!(*s)->put(key, artifact(key + std::string(1000, 'x')))) ::_exit(3);
        const auto other = key_of((i * 7 + child) % 30);
        auto found = (*s)->get(other);
        if (!found) ::_exit(4);
        if (*found && text_of(*(*found)->data) != other + std::string(1000, 'x')) ::_exit(5);
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
  EXPECT_EQ(temp_files(dir.path()), 0u);
  told t;
  open_at(dir.path(), 20'000, &t);
  EXPECT_LE(t.bytes, 20'000u);
}
