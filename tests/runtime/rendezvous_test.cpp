#include "runtime/rendezvous.hpp"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

const std::vector<std::string> nodes{"tcp://a:7070", "tcp://b:7070", "tcp://c:7070", "tcp://d:7070"};
constexpr int keys = 10'000;

std::string key(int i) {
  return "graph-" + std::to_string(i);
}

}  // namespace

TEST(rendezvous, picks_nothing_from_nothing_and_the_only_one_there_is) {
  EXPECT_EQ(rendezvous_pick("k", {}), "");
  EXPECT_EQ(rendezvous_pick("k", {"a"}), "a");
  EXPECT_EQ(rendezvous_pick("", {"a", "a"}), "a");
}

TEST(rendezvous, does_not_depend_on_the_order_of_nodes) {
  auto shuffled = nodes;
  std::reverse(shuffled.begin(), shuffled.end());
  for (int i = 0; i < 200; ++i) EXPECT_EQ(rendezvous_pick(key(i), nodes), rendezvous_pick(key(i), shuffled));
}

TEST(rendezvous, only_the_keys_of_a_node_that_leaves_move) {
  auto fewer = nodes;
  const auto gone = fewer.back();
  fewer.pop_back();
  int moved = 0;
  for (int i = 0; i < 2'000; ++i) {
    const auto before = rendezvous_pick(key(i), nodes);
    if (before == gone) {
      ++moved;
    } else {
      EXPECT_EQ(rendezvous_pick(key(i), fewer), before);
    }
  }
  EXPECT_GT(moved, 0);
}

TEST(rendezvous, gives_every_node_about_its_share) {
  std::map<std::string, int> share;
  for (int i = 0; i < keys; ++i) ++share[rendezvous_pick(key(i), nodes)];
  ASSERT_EQ(share.size(), nodes.size());
  // The share of one node has a standard deviation of 43 here; the keys are fixed, so is the outcome.
  for (const auto& [node, count] : share) EXPECT_NEAR(count, keys / 4, 200) << node;
}
