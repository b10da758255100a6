#include "runtime/host_memory.hpp"

#include "scratch_directory.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

using namespace fxfarm;

TEST(host_memory, is_the_least_that_the_control_groups_allow) {
  struct {
    const char* what;
    const char* memberships;
    std::vector<std::pair<const char*, const char*>> files;  // below the hierarchies' root
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
    for (const auto& [file, text] : c.files) {
      const auto path = std::filesystem::path(root.path()) / file;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << text << "\n";
    }
    EXPECT_EQ(cgroup_memory_limit(c.memberships, root.path()), c.limit) << c.what;
  }
}

TEST(host_memory, of_this_host_is_known) {
  EXPECT_GT(host_memory_bytes(), 64u << 20);
}
