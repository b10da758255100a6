#include "runtime/stage_plan.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;
using state = stage_plan::state;
using stages = std::vector<std::size_t>;

TEST(stage_plan, the_best_stage_that_is_ready_wins) {
  stage_plan p(3);
  EXPECT_FALSE(p.take_next());
  EXPECT_TRUE(p.mark_ready(0));
  EXPECT_TRUE(p.mark_ready(1));
  EXPECT_EQ(p.take_next(), 1u);
  EXPECT_EQ(p.mark_loaded(1), stages{0});
  EXPECT_EQ(p.current(), 1u);
  EXPECT_EQ(p.at(0), state::superseded);
  EXPECT_FALSE(p.settled()) << "a better one may come";
}

TEST(stage_plan, loads_one_stage_at_a_time) {
  stage_plan p(2);
  p.mark_ready(0);
  EXPECT_EQ(p.take_next(), 0u);
  p.mark_ready(1);
  EXPECT_FALSE(p.take_next());
  EXPECT_TRUE(p.mark_loaded(0).empty());
  EXPECT_EQ(p.take_next(), 1u);
}

TEST(stage_plan, never_goes_back) {
  stage_plan p(3);
  p.mark_ready(2);
  p.take_next();
  EXPECT_EQ(p.mark_loaded(2), (stages{0, 1}));
  EXPECT_FALSE(p.mark_ready(0)) << "superseded";
  EXPECT_FALSE(p.mark_failed(1));
  EXPECT_FALSE(p.take_next());
  EXPECT_EQ(p.current(), 2u);
  EXPECT_TRUE(p.settled());
}

TEST(stage_plan, every_way_of_marking_counts_once) {
  stage_plan p(2);
  EXPECT_TRUE(p.mark_ready(0));
  EXPECT_FALSE(p.mark_ready(0));
  EXPECT_FALSE(p.mark_failed(0)) << "its artifact is here";
  EXPECT_TRUE(p.mark_failed(1));
  EXPECT_FALSE(p.mark_failed(1));
  EXPECT_FALSE(p.mark_ready(1));
}

TEST(stage_plan, a_corrupt_artifact_sends_its_stage_back_to_waiting) {
  stage_plan p(1);
  p.mark_ready(0);
  p.take_next();
  p.mark_load_failed(0, true);
  EXPECT_EQ(p.at(0), state::waiting);
  EXPECT_FALSE(p.settled());
  EXPECT_FALSE(p.take_next());
  EXPECT_TRUE(p.mark_ready(0));
  EXPECT_EQ(p.take_next(), 0u);
  EXPECT_TRUE(p.mark_loaded(0).empty());
  EXPECT_TRUE(p.settled());
}

TEST(stage_plan, a_failed_load_lets_the_next_best_have_its_turn) {
  stage_plan p(2);
  p.mark_ready(0);
  p.mark_ready(1);
  EXPECT_EQ(p.take_next(), 1u);
  p.mark_load_failed(1, false);
  EXPECT_EQ(p.at(1), state::failed);
  EXPECT_EQ(p.take_next(), 0u);
  p.mark_loaded(0);
  EXPECT_EQ(p.current(), 0u);
  EXPECT_TRUE(p.settled());
}

TEST(stage_plan, goes_back_only_from_the_current_stage_and_never_there_again) {
  stage_plan p(4);
  for (std::size_t stage : {0u, 2u}) {
    p.mark_ready(stage);
    p.take_next();
    p.mark_loaded(stage);
  }
  EXPECT_FALSE(p.mark_rolled_back(0)) << "not the current one";
  EXPECT_TRUE(p.mark_rolled_back(2));
  EXPECT_EQ(p.current(), 0u) << "1 was superseded, not loaded";
  EXPECT_EQ(p.at(2), state::rolled_back);
  EXPECT_FALSE(p.mark_rolled_back(2));
  EXPECT_FALSE(p.mark_ready(2));
  EXPECT_FALSE(p.settled());
  p.mark_ready(3);
  EXPECT_EQ(p.take_next(), 3u);
  p.mark_loaded(3);
  EXPECT_TRUE(p.mark_rolled_back(3));
  EXPECT_TRUE(p.mark_rolled_back(0));
  EXPECT_FALSE(p.current());
  EXPECT_TRUE(p.settled());
}

TEST(stage_plan, is_settled_when_nothing_will_change) {
  EXPECT_TRUE(stage_plan(0).settled());
  stage_plan p(2);
  EXPECT_FALSE(p.settled());
  p.mark_failed(1);
  EXPECT_FALSE(p.settled());
  p.mark_failed(0);
  EXPECT_TRUE(p.settled());
  EXPECT_FALSE(p.current());
}
