// Kernels that are lent: who has which, for how long, and how many of one job.
#include "runtime/kernel_table.hpp"

#include <algorithm>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

class kernel_table_test : public ::testing::Test {
protected:
  std::string start(const std::string& kernel, const std::string& helper, const std::string& job = "j1") {
    return table.start({"owner", job, kernel}, helper, "key of " + kernel, "scope", now).id;
  }
  static std::string names(std::vector<kernel_table::lent> some) {
    std::sort(some.begin(), some.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    std::string out;
    for (const auto& one : some) out += one.what.kernel;
    return out;
  }

  kernel_table table{"farm", 2, 10s};
  time_point now{std::chrono::seconds(100)};
};

}  // namespace

TEST_F(kernel_table_test, gives_back_what_was_asked_to_the_one_who_has_it) {
  EXPECT_EQ(table.next_id(), "farm-k1");
  const auto id = start("a", "w");
  EXPECT_EQ(id, "farm-k1");
  EXPECT_EQ(table.next_id(), "farm-k2");
  EXPECT_FALSE(table.find("v", id)) << "another worker does not have it";
  EXPECT_FALSE(table.finish("v", id));
  EXPECT_FALSE(table.finish("w", "farm-k2"));
  ASSERT_TRUE(table.find("w", id));
  const auto ended = table.finish("w", id);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->what.owner, "owner");
  EXPECT_EQ(ended->what.job, "j1");
  EXPECT_EQ(ended->what.kernel, "a");
  EXPECT_EQ(ended->key, "key of a");
  EXPECT_FALSE(table.finish("w", id)) << "it ends once";
  EXPECT_TRUE(table.empty());
}

TEST_F(kernel_table_test, lends_no_more_of_one_job_than_it_may) {
  const auto first = start("a", "w");
  EXPECT_TRUE(table.has_room("j1"));
  start("b", "v");
  EXPECT_FALSE(table.has_room("j1"));
  EXPECT_TRUE(table.has_room("j2"));
  table.finish("w", first);
  EXPECT_TRUE(table.has_room("j1"));
  start("c", "w");
  table.worker_lost("v");
  EXPECT_TRUE(table.has_room("j1"));
}

TEST_F(kernel_table_test, lends_none_where_none_may_be) {
  EXPECT_FALSE(kernel_table("farm", 0).has_room("j1"));
}

TEST_F(kernel_table_test, loses_what_a_worker_had_with_it) {
  start("a", "w");
  start("b", "v");
  start("c", "w", "j2");
  EXPECT_EQ(names(table.worker_lost("w")), "ac");
  EXPECT_EQ(names(table.worker_lost("w")), "");
  EXPECT_EQ(table.size(), 1u);
}

TEST_F(kernel_table_test, gives_up_what_takes_too_long) {
  table.start({"owner", "j1", "a"}, "w", "key", "", now, 5s);  // so long its source may take
  now += 1s;
  start("b", "w");
  EXPECT_EQ(names(table.expire(now + 10s - 1ms)), "");
  EXPECT_EQ(names(table.expire(now + 10s)), "b");
  EXPECT_EQ(names(table.expire(now + 14s)), "a");
  EXPECT_TRUE(table.empty());
}

TEST_F(kernel_table_test, remembers_for_a_moment_who_would_take_none) {
  table.refused("w", "tenant");
  table.refused("v", "tenant");
  table.refused("u", "");
  EXPECT_EQ(table.unwilling("tenant"), (std::set<std::string>{"v", "w"}));
  EXPECT_EQ(table.unwilling(""), (std::set<std::string>{"u"}));
  EXPECT_EQ(table.unwilling("other"), std::set<std::string>());
  table.forget_refusals();
  EXPECT_EQ(table.unwilling("tenant"), std::set<std::string>());
}

TEST_F(kernel_table_test, lends_none_of_a_job_whose_kernels_have_cost_engines) {
  for (unsigned i = 0; i < limits::kernel_strikes_max; ++i) {
    EXPECT_TRUE(table.has_room("j1"));
    table.strike("j1");
  }
  EXPECT_FALSE(table.has_room("j1"));
  EXPECT_TRUE(table.has_room("j2"));
  table.forget_strikes_unless([](const std::string& job) { return job == "j1"; });
  EXPECT_FALSE(table.has_room("j1"));
  table.forget_strikes_unless([](const std::string&) { return false; });
  EXPECT_TRUE(table.has_room("j1"));
}
