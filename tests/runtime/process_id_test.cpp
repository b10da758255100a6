#include "runtime/process_id.hpp"

#include <regex>
#include <set>

#include <gtest/gtest.h>
#include <unistd.h>

using namespace fxfarm;

TEST(process_id, says_whose_it_is_and_which_process_and_is_nobody_elses) {
  const std::regex form("worker-box-" + std::to_string(::getpid()) + "-[0-9a-f]{12}");
  std::set<std::string> made;
  for (int i = 0; i < 1'000; ++i) {
    const auto id = process_id("worker-box");
    EXPECT_TRUE(std::regex_match(id, form)) << id;
    made.insert(id);
  }
  EXPECT_EQ(made.size(), 1'000u);
}

TEST(process_id, a_name_of_any_length_leaves_room_for_the_rest) {
  const auto first = process_id(std::string(1'000, 'x')), second = process_id(std::string(1'000, 'x'));
  EXPECT_EQ(first.size(), process_id_bytes_max);
  EXPECT_NE(first, second);
  EXPECT_NE(first.find("-" + std::to_string(::getpid()) + "-"), std::string::npos);
}
