#include "runtime/host_resources.hpp"

#include "scratch_directory.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sched.h>

using namespace fxfarm;

namespace {

using files = std::vector<std::pair<const char*, const char*>>;  // below the hierarchies' root

void write(const scratch_directory& root, const files& all) {
  for (const auto& [file, text] : all) {
    const auto path = std::filesystem::path(root.path()) / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
}

}  // namespace

TEST(host_memory, is_the_least_that_the_control_groups_allow) {
  struct {
    const char* what;
    const char* memberships;
    files there;
    std::optional<std::uint64_t> limit;
  } const cases[] = {
      {"no groups", "", {}, std::nullopt},
      {"no limit", "0::/a\n", {{"a/memory.max", "max"}}, std::nullopt},
      {"of the group", "0::/a/b\n", {{"a/b/memory.max", "100"}, {"a/memory.max", "max"}}, 100},
      {"of one around it", "0::/a/b\n", {{"a/b/memory.max", "100"}, {"a/memory.max", "50"}}, 50},
      {"of a container's, whose path is the host's", "0::/pods/x\n", {{"memory.max", "70"}}, 70},
      {"of a container's, which is the top", "0::/\n", {{"memory.max", "70"}}, 70},
      {"of version 1",
       "5:cpu,cpuacct:/a\n4:memory:/a\n",
       {{"memory/a/memory.limit_in_bytes", "30"}, {"cpu/a/memory.limit_in_bytes", "3"}},
       30},
      {"of both", "4:memory:/a\n0::/b\n", {{"memory/a/memory.limit_in_bytes", "30"}, {"b/memory.max", "20"}}, 20},
      {"nonsense", "memory\n:\n0::\n", {{"x/memory.max", "1"}}, std::nullopt},
  };
  for (const auto& c : cases) {
    scratch_directory root;
    write(root, c.there);
    EXPECT_EQ(cgroup_memory_limit(c.memberships, root.path()), c.limit) << c.what;
  }
}

TEST(host_memory, of_this_host_is_known) {
  EXPECT_GT(host_memory_bytes(), 64u << 20);
}

TEST(host_cores, are_as_many_as_the_control_groups_give_time_of) {
  struct {
    const char* what;
    const char* memberships;
    files there;
    std::optional<std::uint64_t> limit;
  } const cases[] = {
      {"no groups", "", {}, std::nullopt},
      {"no limit", "0::/a\n", {{"a/cpu.max", "max 100000"}}, std::nullopt},
      {"two of them", "0::/a\n", {{"a/cpu.max", "200000 100000"}}, 2},
      {"a part of one more", "0::/a\n", {{"a/cpu.max", "250000 100000"}}, 3},
      {"a part of one", "0::/a\n", {{"a/cpu.max", "50000 100000"}}, 1},
      {"of one around it", "0::/a/b\n", {{"a/b/cpu.max", "max 100000"}, {"a/cpu.max", "100000 50000"}}, 2},
      {"of version 1",
       "5:cpu,cpuacct:/a\n",
       {{"cpu/a/cpu.cfs_quota_us", "400000"}, {"cpu/a/cpu.cfs_period_us", "100000"}},
       4},
      {"no limit of version 1",
       "5:cpu,cpuacct:/a\n",
       {{"cpu/a/cpu.cfs_quota_us", "-1"}, {"cpu/a/cpu.cfs_period_us", "100000"}},
       std::nullopt},
      {"nonsense", "0::/a\n", {{"a/cpu.max", "100000"}, {"cpu.max", "100000 0"}}, std::nullopt},
  };
  for (const auto& c : cases) {
    scratch_directory root;
    write(root, c.there);
    EXPECT_EQ(cgroup_cpu_limit(c.memberships, root.path()), c.limit) << c.what;
  }
}

TEST(host_cores, are_those_that_this_process_may_run_on) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_LE(host_cores(), static_cast<unsigned>(CPU_COUNT(&before)));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(host_cores(), 1u);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}
